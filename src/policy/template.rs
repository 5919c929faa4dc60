//! Templates of topic filters, and how they relate to names and filters for one principal.
//!
//! A template is a filter (section 4.7) whose levels may also hold one variable (`dev:{device}`),
//! `{any}` (one or more characters: `{any}`, `res-{any}`) or `{instances}` (any instance of the
//! principal's team). A template of a team's role is kept without the team's root, which is
//! compared once for all of them; it is *rooted*.

use super::error::Fault;
use super::members::TeamMembers;
use super::text::{Part, Slot, Values, parts};
use crate::topic::{TopicError, TopicFilter};

/// Most levels of a template, a rooted one's root not counted.
pub(super) const MAX_LEVELS: usize = 16;

/// What stands in the variables' places: for one principal, now.
#[derive(Clone, Copy)]
pub(super) struct Bound<'a> {
    pub(super) values: &'a Values,
    pub(super) members: Option<&'a TeamMembers>,
}

/// A compiled template.
#[derive(Debug)]
pub(super) struct Template {
    /// As it stands in the policy.
    pub(super) written: Box<str>,
    /// The line it stands on.
    pub(super) line: u32,
    /// Whether the levels begin behind the team's root.
    pub(super) rooted: bool,
    /// Without a last `#`.
    levels: Box<[Level]>,
    /// Whether a `#` stands last.
    open: bool,
}

#[derive(Debug)]
enum Level {
    /// This text.
    Literal(Box<str>),
    /// Any text: `+`.
    One,
    /// Something that varies.
    Whole(Middle),
    /// Something that varies, between fixed texts.
    Mixed {
        before: Box<str>,
        middle: Middle,
        after: Box<str>,
    },
}

#[derive(Clone, Copy, Debug)]
enum Middle {
    Variable(Slot),
    Any,
    Instance,
}

/// A name or filter taken apart, as far as a template can reach.
pub(super) struct Levels<'a> {
    first: [&'a str; MAX_LEVELS],
    /// How many there are in all, without a last `#`.
    count: usize,
    /// Whether a `#` stood last.
    open: bool,
}

impl<'a> Levels<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        let mut first = [""; MAX_LEVELS];
        let mut count = 0;
        let mut start = 0;
        // By bytes: for the few short levels of a topic that is faster than a search for each `/`.
        for (place, byte) in text.bytes().enumerate() {
            if byte == b'/' {
                if let Some(level) = first.get_mut(count) {
                    *level = &text[start..place];
                }
                count += 1;
                start = place + 1;
            }
        }
        let last = &text[start..];
        let open = last == "#";
        if !open {
            if let Some(level) = first.get_mut(count) {
                *level = last;
            }
            count += 1;
        }
        Self { first, count, open }
    }
}

impl Template {
    /// Compiles `levels`, the part of `written` behind the root where it is rooted.
    pub(super) fn compile(
        written: &str,
        line: u32,
        levels: &str,
        rooted: bool,
        mut slot: impl FnMut(&str) -> Result<Slot, Fault>,
    ) -> Result<Self, Fault> {
        let (body, open) = match levels.strip_suffix('#') {
            Some("") => (None, true),
            Some(before) if before.ends_with('/') => (before.strip_suffix('/'), true),
            _ => (Some(levels), false),
        };
        let mut compiled = Vec::new();
        for level in body.into_iter().flat_map(|body| body.split('/')) {
            compiled.push(Level::compile(level, &mut slot)?);
        }
        if compiled.len() > MAX_LEVELS {
            return Err(Fault::TooManyLevels { limit: MAX_LEVELS });
        }
        // What stands outside the braces must be a filter as any other.
        let plain = written.replace(['{', '}'], "");
        TopicFilter::parse(&plain, u16::MAX, u16::MAX).map_err(Fault::Filter)?;
        Ok(Self {
            written: Box::from(written),
            line,
            rooted,
            levels: compiled.into(),
            open,
        })
    }

    /// Whether what it stands for depends on who belongs to the team.
    pub(super) fn needs_members(&self) -> bool {
        let middle = |level: &Level| match level {
            Level::Whole(middle) | Level::Mixed { middle, .. } => Some(*middle),
            Level::Literal(_) | Level::One => None,
        };
        let mut middles = self.levels.iter().filter_map(middle);
        middles.any(|middle| matches!(middle, Middle::Instance))
    }

    /// Whether it matches a name.
    pub(super) fn matches(&self, name: &Levels<'_>, bound: Bound<'_>) -> bool {
        self.length_fits(name)
            && !self.hides(name)
            // From the right: templates of one role begin alike and end apart.
            && (self.levels.iter().zip(&name.first).rev()).all(|(level, text)| level.is(text, bound))
    }

    /// Whether it matches every name that the filter matches.
    pub(super) fn contains(&self, filter: &Levels<'_>, bound: Bound<'_>) -> bool {
        if !self.rooted && filter.open && filter.count == 0 {
            // A whole filter `#` is `+/#`; see `topic::relation`.
            return self.open
                && self.levels.iter().all(|level| matches!(level, Level::One))
                && self.levels.len() <= 1;
        }
        (self.open || !filter.open)
            && self.length_fits(filter)
            && !self.hides(filter)
            && (self.levels.iter().zip(&filter.first)).all(|(level, text)| match *text {
                "+" => matches!(level, Level::One),
                text => level.is(text, bound),
            })
    }

    /// Whether some name is matched by both it and the filter. Where `{instances}` meets a
    /// wildcard the answer is yes, whatever instances there are.
    pub(super) fn overlaps(&self, filter: &Levels<'_>, bound: Bound<'_>) -> bool {
        let lengths = match (self.open, filter.open) {
            (true, true) => true,
            (true, false) => filter.count >= self.levels.len(),
            (false, true) => self.levels.len() >= filter.count,
            (false, false) => self.levels.len() == filter.count,
        };
        let hidden = self.hides(filter)
            || (!self.rooted
                && (filter.first[0] == "+" || filter.count == 0)
                && matches!(self.levels.first(), Some(Level::Literal(text)) if text.starts_with('$')));
        let common = filter.first.iter().take(filter.count);
        lengths
            && !hidden
            // A variable that is not known stands for nothing, also where the filter leaves it open.
            && self.levels.iter().all(|level| level.is_possible(bound))
            && (self.levels.iter().zip(common)).all(|(level, text)| match *text {
                "+" => level.is_possible(bound),
                text => level.is(text, bound),
            })
    }

    /// The filter that it stands for, without its root where it is rooted: for `{any}` some text, for
    /// `{instances}` one of them, if there is any. `None`: a variable has no value, so for nothing.
    pub(super) fn example(&self, bound: Bound<'_>) -> Option<String> {
        let levels = self.levels.iter().map(|level| level.example(bound));
        let mut levels = levels.collect::<Option<Vec<_>>>()?;
        if self.open {
            levels.push("#".to_owned());
        }
        Some(levels.join("/"))
    }

    /// How many levels from the left could be those of this name or filter, for `explain`.
    pub(super) fn agreement(&self, other: &Levels<'_>, bound: Bound<'_>) -> usize {
        let pairs = self.levels.iter().zip(other.first.iter().take(other.count));
        let agreeing = pairs.take_while(|(level, text)| match **text {
            "+" => level.is_possible(bound),
            text => level.is(text, bound),
        });
        agreeing.count()
    }

    fn length_fits(&self, other: &Levels<'_>) -> bool {
        if self.open {
            other.count >= self.levels.len()
        } else {
            other.count == self.levels.len()
        }
    }

    /// `[MQTT-4.7.2-1]`: a leading wildcard does not match `$…`.
    fn hides(&self, other: &Levels<'_>) -> bool {
        let leads_wild = matches!(
            self.levels.first(),
            None | Some(Level::One | Level::Whole(Middle::Any))
        );
        !self.rooted && leads_wild && other.first[0].starts_with('$')
    }
}

impl Level {
    fn compile(
        level: &str,
        slot: &mut impl FnMut(&str) -> Result<Slot, Fault>,
    ) -> Result<Self, Fault> {
        let mut mixed = None;
        let (mut before, mut after) = ("", "");
        for part in parts(level)? {
            match part {
                Part::Literal(text) if mixed.is_none() => before = text,
                Part::Literal(text) => after = text,
                Part::Placeholder(_) if mixed.is_some() => return Err(Fault::SecondPlaceholder),
                Part::Placeholder("any") => mixed = Some(Middle::Any),
                Part::Placeholder("instances") => mixed = Some(Middle::Instance),
                Part::Placeholder("username") => return Err(Fault::UsernameInTopic),
                Part::Placeholder(name) => mixed = Some(Middle::Variable(slot(name)?)),
            }
        }
        if mixed.is_some() && level.contains(['+', '#']) {
            return Err(Fault::Filter(TopicError::MisplacedWildcard));
        }
        Ok(match mixed {
            Some(middle) if before.is_empty() && after.is_empty() => Self::Whole(middle),
            Some(middle) => Self::Mixed {
                before: Box::from(before),
                middle,
                after: Box::from(after),
            },
            None if level == "+" => Self::One,
            None => Self::Literal(Box::from(level)),
        })
    }

    fn is(&self, text: &str, bound: Bound<'_>) -> bool {
        match self {
            Self::Literal(literal) => **literal == *text,
            Self::One => true,
            Self::Whole(middle) => middle.is(text, bound),
            Self::Mixed {
                before,
                middle,
                after,
            } => {
                let inner = text.strip_prefix(&**before);
                match inner.and_then(|inner| inner.strip_suffix(&**after)) {
                    Some(inner) => middle.is(inner, bound),
                    None => false,
                }
            }
        }
    }

    fn example(&self, bound: Bound<'_>) -> Option<String> {
        match self {
            Self::Literal(text) => Some(text.to_string()),
            Self::One => Some("+".to_owned()),
            Self::Whole(middle) => middle.example(bound),
            Self::Mixed {
                before,
                middle,
                after,
            } => Some(format!("{before}{}{after}", middle.example(bound)?)),
        }
    }

    /// Whether there is any text it matches.
    fn is_possible(&self, bound: Bound<'_>) -> bool {
        match self {
            Self::Whole(Middle::Variable(slot))
            | Self::Mixed {
                middle: Middle::Variable(slot),
                ..
            } => bound.value(*slot).is_some(),
            _ => true,
        }
    }
}

impl Middle {
    fn example(self, bound: Bound<'_>) -> Option<String> {
        match self {
            Self::Variable(slot) => bound.value(slot).map(ToOwned::to_owned),
            Self::Any => Some("any".to_owned()),
            Self::Instance => bound.members.and_then(TeamMembers::any_instance),
        }
    }

    fn is(self, text: &str, bound: Bound<'_>) -> bool {
        match self {
            Self::Variable(slot) => bound.value(slot) == Some(text),
            Self::Any => !text.is_empty(),
            Self::Instance => bound
                .members
                .is_some_and(|members| members.has_instance(text)),
        }
    }
}

impl<'a> Bound<'a> {
    fn value(self, slot: Slot) -> Option<&'a str> {
        self.values.get(usize::from(slot))?.as_deref()
    }
}
