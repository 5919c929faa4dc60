//! Whose a topic is, by its place in the broker-wide topic space.

use super::principal::TeamId;
use crate::topic::TopicName;

/// The layout of the topic space: `ff/v1/<team>/…`, where some words in the team's place belong to
/// no team.
#[derive(Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Up to the team's level: `ff/v1/`. Ends with `/` or is empty.
    prefix: Box<str>,
    commons: Box<[Box<str>]>,
}

/// Whose a topic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner<'a> {
    /// The team of this id, whether or not there is one.
    Team(&'a str),
    /// No team: a reserved word stands in the team's place.
    Commons(&'a str),
    /// Nobody's: not of the form that the namespace gives.
    Outside,
}

impl Namespace {
    pub(super) fn new(prefix: &str, commons: Vec<Box<str>>) -> Self {
        Self {
            prefix: Box::from(prefix),
            commons: commons.into(),
        }
    }

    /// A team's subtree, such as `ff/v1/<team>/`.
    pub fn root(&self, team: &TeamId) -> String {
        format!("{}{}/", self.prefix, team.as_str())
    }

    /// Whether this word in the team's place belongs to no team.
    pub fn is_commons(&self, word: &str) -> bool {
        self.commons.iter().any(|common| **common == *word)
    }

    /// Whose the topic of a full name is.
    pub fn owner_of<'a>(&self, topic: TopicName<'a>) -> Owner<'a> {
        match topic.as_str().strip_prefix(&*self.prefix) {
            Some(rest) => self.owner_of_rest(rest),
            None => Owner::Outside,
        }
    }

    /// The commons that a full topic, filter or template lies in, with the prefix and `/` behind.
    pub(super) fn commons_root<'a>(&self, text: &'a str) -> Option<&'a str> {
        let rest = text.strip_prefix(&*self.prefix)?;
        let (word, _) = rest.split_once('/')?;
        self.is_commons(word)
            .then(|| &text[..self.prefix.len() + word.len() + 1])
    }

    fn owner_of_rest<'a>(&self, rest: &'a str) -> Owner<'a> {
        match rest.split_once('/') {
            Some((word, _)) if self.is_commons(word) => Owner::Commons(word),
            Some((word, _)) if TeamId::is_valid(word) => Owner::Team(word),
            _ => Owner::Outside,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_belongs_to_the_team_whose_id_stands_in_its_place() {
        let namespace = Namespace::new("ff/v1/", vec!["platform".into()]);
        let name = |text| namespace.owner_of(TopicName::parse(text, 99, 9).expect("a name"));
        assert_eq!(name("ff/v1/t1/c/x"), Owner::Team("t1"));
        assert_eq!(name("ff/v1/t1/"), Owner::Team("t1"));
        assert_eq!(name("ff/v1/t1"), Owner::Outside, "above the team's subtree");
        assert_eq!(name("ff/v1/platform/sync"), Owner::Commons("platform"));
        assert_eq!(name("ff/v1/$x/y"), Owner::Outside);
        for outside in [
            "ff/v1",
            "ff/v1/",
            "ff/v1//c",
            "ff/v2/t1/c",
            "/ff/v1/t1/c",
            "$SYS/x",
        ] {
            assert_eq!(name(outside), Owner::Outside, "{outside}");
        }
    }
}
