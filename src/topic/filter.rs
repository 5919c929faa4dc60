//! Topic filters, and shared subscriptions' way of writing them.

use super::name::check_size;
use super::{TopicError, TopicName, relation};

/// A topic filter without `$share/…`: one that exists has been validated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TopicFilter<'a>(&'a str);

/// What a SUBSCRIBE names: a filter, perhaps in a share group `[MQTT-4.8.2]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SharedFilter<'a> {
    /// The share name, where there is one.
    pub group: Option<&'a str>,
    /// The filter proper.
    pub filter: TopicFilter<'a>,
}

impl<'a> TopicFilter<'a> {
    /// Checks `text`.
    ///
    /// # Errors
    /// [`TopicError`], the first that applies.
    pub fn parse(text: &'a str, max_length: u16, max_levels: u16) -> Result<Self, TopicError> {
        check_size(text, max_length, max_levels)?;
        let mut levels = text.split('/').peekable();
        while let Some(level) = levels.next() {
            let last = levels.peek().is_none();
            let sound = match level {
                "+" => true,
                "#" => last,
                _ => !level.bytes().any(|b| matches!(b, b'+' | b'#')),
            };
            if !sound {
                return Err(TopicError::MisplacedWildcard);
            }
        }
        Ok(Self(text))
    }

    /// The text.
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// Whether it has a wildcard.
    pub fn is_wild(self) -> bool {
        self.0.contains(['+', '#'])
    }

    /// Whether the name matches (section 4.7); a leading wildcard hides names that begin with `$`
    /// `[MQTT-4.7.2-1]`.
    pub fn matches(self, name: TopicName<'_>) -> bool {
        !relation::hides(self.0, name.as_str()) && relation::matches(self.0, name.as_str())
    }

    /// Whether every name that `other` matches is matched by `self`.
    pub fn contains(self, other: TopicFilter<'_>) -> bool {
        !relation::hides(self.0, other.0)
            && relation::contains(self.0, relation::spell_out(other.0))
    }

    /// Whether some name is matched by both.
    pub fn overlaps(self, other: TopicFilter<'_>) -> bool {
        !relation::hides(self.0, other.0)
            && !relation::hides(other.0, self.0)
            && relation::overlaps(relation::spell_out(self.0), relation::spell_out(other.0))
    }
}

impl<'a> SharedFilter<'a> {
    /// Checks `text`, which may begin with `$share/`. The limits hold for the filter proper and,
    /// in bytes, for the share name.
    ///
    /// # Errors
    /// [`TopicError`], the first that applies.
    pub fn parse(text: &'a str, max_length: u16, max_levels: u16) -> Result<Self, TopicError> {
        let Some(rest) = text.strip_prefix("$share") else {
            let filter = TopicFilter::parse(text, max_length, max_levels)?;
            return Ok(Self {
                group: None,
                filter,
            });
        };
        let (group, filter) = match rest.strip_prefix('/') {
            Some(rest) => rest.split_once('/').ok_or(TopicError::Share)?,
            None if rest.is_empty() => return Err(TopicError::Share),
            // `$shared/…` and the like: an ordinary filter.
            None => {
                let filter = TopicFilter::parse(text, max_length, max_levels)?;
                return Ok(Self {
                    group: None,
                    filter,
                });
            }
        };
        if group.is_empty() || group.contains(['+', '#']) || filter.is_empty() {
            return Err(TopicError::Share);
        }
        check_size(group, max_length, 1)?;
        let filter = TopicFilter::parse(filter, max_length, max_levels)?;
        Ok(Self {
            group: Some(group),
            filter,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_alone_in_their_level_and_the_multi_level_one_stands_last() {
        let parse = |text| TopicFilter::parse(text, 16, 4).map(TopicFilter::as_str);
        for good in ["#", "+", "/", "a/+/b", "+/+/#", "a//#", "//+", "$SYS/#"] {
            assert_eq!(parse(good), Ok(good));
        }
        for bad in [
            "a+", "+a", "a#", "#/", "#/a", "a/b#", "a/+b/c", "++", "##", "a/#/#",
        ] {
            assert_eq!(parse(bad), Err(TopicError::MisplacedWildcard), "{bad}");
        }
        assert_eq!(parse(""), Err(TopicError::Empty));
        assert_eq!(parse("a\0"), Err(TopicError::Null));
        assert_eq!(parse("a/b/c/d"), Ok("a/b/c/d"));
        assert_eq!(
            parse("a/b/c/d/#"),
            Err(TopicError::TooManyLevels { limit: 4 })
        );
        assert_eq!(
            parse("12345678901234567"),
            Err(TopicError::TooLong { limit: 16 })
        );
    }

    #[test]
    fn a_shared_filter_names_its_group_and_a_filter() {
        let parse = |text| {
            SharedFilter::parse(text, 16, 4).map(|shared| (shared.group, shared.filter.as_str()))
        };
        assert_eq!(parse("a/b"), Ok((None, "a/b")));
        assert_eq!(parse("$share/g/a/+/#"), Ok((Some("g"), "a/+/#")));
        assert_eq!(parse("$share/g//"), Ok((Some("g"), "/")));
        assert_eq!(parse("$shared/g/a"), Ok((None, "$shared/g/a")));
        for bad in [
            "$share",
            "$share/",
            "$share/g",
            "$share/g/",
            "$share//a",
            "$share/+/a",
        ] {
            assert_eq!(parse(bad), Err(TopicError::Share), "{bad}");
        }
        assert_eq!(parse("$share/g#/a"), Err(TopicError::Share));
        assert_eq!(parse("$share/g\0/a"), Err(TopicError::Null));
        assert_eq!(parse("$share/g/a#"), Err(TopicError::MisplacedWildcard));
        let long = format!("$share/{}/a", "g".repeat(17));
        assert_eq!(parse(&long), Err(TopicError::TooLong { limit: 16 }));
        let limit = format!("$share/group/{}", "a".repeat(16));
        assert_eq!(parse(&limit), Ok((Some("group"), &*"a".repeat(16))));
    }
}
