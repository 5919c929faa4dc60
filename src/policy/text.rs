//! Templates of whole texts: usernames, client ids, names of share groups, mounts.
//!
//! `project:{team}:{instance}` has literals and variables; `{any}` stands for one or more
//! characters. Topics have templates of their own, which know levels (`template`).

use std::sync::Arc;

use super::error::Fault;

/// Place of a variable in its role's table.
pub(super) type Slot = u8;

/// The values of a role's variables for one principal, by slot.
pub(super) type Values = [Option<Arc<str>>];

/// One piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// This text.
    Literal(&'a str),
    /// `{name}`
    Placeholder(&'a str),
}

/// Takes a template apart.
///
/// # Errors
/// [`Fault::Braces`].
pub fn parts(text: &str) -> Result<Vec<Part<'_>>, Fault> {
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let literal = rest.find(['{', '}']).unwrap_or(rest.len());
        if literal > 0 {
            parts.push(Part::Literal(&rest[..literal]));
            rest = &rest[literal..];
            continue;
        }
        let name = rest
            .strip_prefix('{')
            .and_then(|rest| rest.split_once('}'))
            .filter(|(name, _)| !name.is_empty() && !name.contains('{'));
        let Some((name, after)) = name else {
            return Err(Fault::Braces);
        };
        parts.push(Part::Placeholder(name));
        rest = after;
    }
    Ok(parts)
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(Box<str>),
    Variable(Slot),
    Any,
}

/// A compiled template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Text {
    written: Box<str>,
    pieces: Box<[Piece]>,
}

impl Text {
    /// Compiles; `slot` finds a variable's place, or says why it has none.
    pub(super) fn compile(
        written: &str,
        mut slot: impl FnMut(&str) -> Result<Slot, Fault>,
    ) -> Result<Self, Fault> {
        let mut pieces = Vec::new();
        for part in parts(written)? {
            pieces.push(match part {
                Part::Literal(text) => Piece::Literal(Box::from(text)),
                Part::Placeholder("any") => Piece::Any,
                Part::Placeholder(name) => Piece::Variable(slot(name)?),
            });
        }
        if pieces.is_empty() {
            return Err(Fault::EmptyTemplate);
        }
        let anys = pieces.iter().filter(|piece| **piece == Piece::Any);
        if anys.count() > 1 {
            return Err(Fault::SecondAny);
        }
        Ok(Self {
            written: Box::from(written),
            pieces: pieces.into(),
        })
    }

    /// As it stands in the policy.
    pub(super) fn as_str(&self) -> &str {
        &self.written
    }

    /// How many characters it fixes: of two that fit a text, the one that fixes more is meant.
    pub(super) fn literal_length(&self) -> usize {
        let lengths = self.pieces.iter().map(|piece| match piece {
            Piece::Literal(text) => text.len(),
            Piece::Variable(_) | Piece::Any => 0,
        });
        lengths.sum()
    }

    /// Its literals in order, with nothing of what stands between them but that it does.
    pub(super) fn shape(&self) -> String {
        let pieces = self.pieces.iter().map(|piece| match piece {
            Piece::Literal(text) => text,
            Piece::Variable(_) | Piece::Any => "{}",
        });
        pieces.collect()
    }

    /// The text for these values; `None` where one is missing.
    pub(super) fn expand(&self, values: &Values) -> Option<String> {
        let mut text = String::new();
        for piece in &self.pieces {
            text.push_str(piece.fixed(values)?);
        }
        Some(text)
    }

    /// Whether it stands for this text.
    pub(super) fn fits(&self, text: &str, values: &Values) -> bool {
        let any = self.pieces.iter().position(|piece| *piece == Piece::Any);
        let (before, after) = match any {
            Some(place) => (&self.pieces[..place], &self.pieces[place + 1..]),
            None => (&*self.pieces, &[] as &[Piece]),
        };
        let mut rest = text;
        for piece in before {
            let fixed = piece.fixed(values);
            match fixed.and_then(|fixed| rest.strip_prefix(fixed)) {
                Some(behind) => rest = behind,
                None => return false,
            }
        }
        for piece in after.iter().rev() {
            let fixed = piece.fixed(values);
            match fixed.and_then(|fixed| rest.strip_suffix(fixed)) {
                Some(ahead) => rest = ahead,
                None => return false,
            }
        }
        any.is_some() != rest.is_empty()
    }

    /// What each variable stands for in a username, or `None` where the username is of another
    /// form. A value is never empty and could stand as a level of a topic. The last one has no `:`
    /// and no `@` either, so that a longer username is not taken for a shorter one's.
    pub(super) fn capture<'t>(&self, text: &'t str) -> Option<Vec<(Slot, &'t str)>> {
        let mut found = Vec::new();
        let mut rest = text;
        for (index, piece) in self.pieces.iter().enumerate() {
            let slot = match piece {
                Piece::Literal(literal) => {
                    rest = rest.strip_prefix(&**literal)?;
                    continue;
                }
                Piece::Variable(slot) => Some(*slot),
                Piece::Any => None,
            };
            let value = match self.pieces.get(index + 1) {
                Some(Piece::Literal(next)) => &rest[..rest.find(&**next)?],
                Some(_) => return None,
                None if rest.contains([':', '@']) => return None,
                None => rest,
            };
            if value.is_empty() || value.contains(['/', '+', '#', '\0']) {
                return None;
            }
            rest = &rest[value.len()..];
            if let Some(slot) = slot {
                found.push((slot, value));
            }
        }
        rest.is_empty().then_some(found)
    }
}

impl Piece {
    fn fixed<'a>(&'a self, values: &'a Values) -> Option<&'a str> {
        match self {
            Self::Literal(text) => Some(text),
            Self::Variable(slot) => values.get(usize::from(*slot))?.as_deref(),
            Self::Any => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(written: &str) -> Text {
        let names = ["team", "client"];
        Text::compile(written, |name| {
            let slot = names.iter().position(|known| *known == name);
            slot.map(|slot| slot as Slot).ok_or(Fault::Braces)
        })
        .expect("a template")
    }

    #[test]
    fn a_username_gives_its_variables_or_is_of_another_form() {
        let project = text("project:{team}:{client}");
        assert_eq!(
            project.capture("project:t:i"),
            Some(vec![(0, "t"), (1, "i")])
        );
        for other in [
            "project:",
            "project::",
            "project:t:",
            "project::i",
            "project:t",
            "project:t:i:x",
            "project:t:i@u",
            "Project:t:i",
            "project:t/u:i",
            "project:t:+",
            "xproject:t:i",
            "",
        ] {
            assert_eq!(project.capture(other), None, "{other}");
        }
        let client = text("{client}@{team}");
        assert_eq!(client.capture("a:b@t"), Some(vec![(1, "a:b"), (0, "t")]));
        for other in ["@t", "a@", "a@b@t", "a", "a/b@t"] {
            assert_eq!(client.capture(other), None, "{other}");
        }
    }

    #[test]
    fn a_text_fits_where_only_the_any_part_is_free() {
        let values = [Some(Arc::from("t")), None];
        assert!(text("{team}").fits("t", &values));
        assert!(!text("{team}").fits("tt", &values));
        assert!(!text("{client}").fits("", &values), "unbound fits nothing");
        assert!(text("{team}:{any}").fits("t:x", &values));
        assert!(
            !text("{team}:{any}").fits("t:", &values),
            "any is not nothing"
        );
        assert!(text("{any}-{team}").fits("x-t", &values));
        assert!(!text("a{any}a").fits("aa", &values));
        assert!(!text("a{any}a").fits("a", &values), "ends must not overlap");
        assert_eq!(text("m/{team}/").expand(&values).as_deref(), Some("m/t/"));
        assert_eq!(text("{client}").expand(&values), None);
    }
}
