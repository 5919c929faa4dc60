//! Topic names.

/// A topic name: at least one character, no wildcard, no U+0000 (`wire` saw to that), within the
/// limits. One that exists has been validated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicName<'a>(&'a str);

/// Why a text is no topic name or filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// `[MQTT-4.7.3-1]`
    #[error("a topic has at least one character")]
    Empty,
    /// `[MQTT-3.3.2-2]`
    #[error("a topic name has no wildcard")]
    Wildcard,
    /// `[MQTT-4.7.1-1]`, `[MQTT-4.7.1-2]`
    #[error("# and + stand alone in their level, and # stands last")]
    MisplacedWildcard,
    /// `[MQTT-4.7.3-2]`
    #[error("a topic has no null character")]
    Null,
    /// `[MQTT-4.7.3-3]` and `max_topic_length`
    #[error("the topic is longer than {limit} bytes")]
    TooLong {
        /// The limit in force.
        limit: u16,
    },
    /// `max_topic_levels`
    #[error("the topic has more than {limit} levels")]
    TooManyLevels {
        /// The limit in force.
        limit: u16,
    },
    /// `[MQTT-4.8.2-1]`, `[MQTT-4.8.2-2]`
    #[error("a shared subscription is $share/<name>/<filter>")]
    Share,
}

impl<'a> TopicName<'a> {
    /// Checks `text`.
    ///
    /// # Errors
    /// [`TopicError`], the first that applies.
    pub fn parse(text: &'a str, max_length: u16, max_levels: u16) -> Result<Self, TopicError> {
        check_size(text, max_length, max_levels)?;
        if text.bytes().any(|b| matches!(b, b'+' | b'#')) {
            return Err(TopicError::Wildcard);
        }
        Ok(Self(text))
    }

    /// The text.
    pub const fn as_str(self) -> &'a str {
        self.0
    }
}

/// What names and filters have in common: not empty, no null character, within the limits.
pub(super) fn check_size(text: &str, max_length: u16, max_levels: u16) -> Result<(), TopicError> {
    if text.is_empty() {
        return Err(TopicError::Empty);
    }
    // Length before content: what is too long is never scanned.
    if text.len() > usize::from(max_length) {
        return Err(TopicError::TooLong { limit: max_length });
    }
    let mut levels = 1_usize;
    for byte in text.bytes() {
        match byte {
            0 => return Err(TopicError::Null),
            b'/' => levels += 1,
            _ => {}
        }
    }
    if levels > usize::from(max_levels) {
        return Err(TopicError::TooManyLevels { limit: max_levels });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_characters_no_wildcard_no_null_and_stays_within_the_limits() {
        let parse = |text| TopicName::parse(text, 8, 3).map(TopicName::as_str);
        assert_eq!(parse(""), Err(TopicError::Empty));
        assert_eq!(parse("a\0b"), Err(TopicError::Null));
        assert_eq!(parse("a/+"), Err(TopicError::Wildcard));
        assert_eq!(parse("a/b#"), Err(TopicError::Wildcard));
        assert_eq!(parse("12345678"), Ok("12345678"));
        assert_eq!(parse("123456789"), Err(TopicError::TooLong { limit: 8 }));
        assert_eq!(parse("ääää"), Ok("ääää"), "the limit counts bytes");
        assert_eq!(parse("ääää1"), Err(TopicError::TooLong { limit: 8 }));
        assert_eq!(parse("//"), Ok("//"), "empty levels are levels");
        assert_eq!(parse("///"), Err(TopicError::TooManyLevels { limit: 3 }));
        assert_eq!(parse("$SYS/x"), Ok("$SYS/x"));
        assert_eq!(parse(" "), Ok(" "));
    }
}
