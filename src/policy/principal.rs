//! Who is connected: a role plus its bindings.

use std::sync::Arc;

/// A team's id, as it stands in topics and usernames. Never empty, no `/`, `+`, `#` or NUL.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TeamId(Arc<str>);

/// A principal: what the login of one username amounts to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// As it logged in; two principals with different usernames never share a session.
    pub username: Arc<str>,
    /// The name of a role in the policy.
    pub role: Arc<str>,
    /// `None` for principals that span teams (the platform).
    pub team: Option<TeamId>,
    /// Template variables beyond `team`: `instance`, `device`, `client`, `owner_type`, `owner`,
    /// `application`, `user`, `session` …
    pub bindings: Vec<(Arc<str>, Arc<str>)>,
    /// The principal's own list, where its role has one (team-broker clients), as the user wrote
    /// it: before the mount.
    pub patterns: Vec<Pattern>,
}

/// One entry of a client's own list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// What it is about.
    pub action: PatternAction,
    /// `true` allows, `false` denies; a deny wins over every allow.
    pub allow: bool,
    /// A topic filter, before the mount.
    pub filter: Arc<str>,
}

/// What a pattern or rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PatternAction {
    /// Publishing.
    Publish,
    /// Subscribing.
    Subscribe,
    /// Either.
    Both,
}

impl PatternAction {
    /// Whether it is about this.
    pub fn covers(self, action: Action) -> bool {
        match self {
            Self::Publish => action == Action::Publish,
            Self::Subscribe => action == Action::Subscribe,
            Self::Both => true,
        }
    }

    /// The word for it in a policy.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
            Self::Both => "both",
        }
    }
}

/// What somebody wants to do.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Deserialize, serde::Serialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Publish to a topic.
    Publish,
    /// Subscribe to a filter.
    Subscribe,
}

impl Action {
    /// From `publish` or `subscribe`.
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "publish" => Some(Self::Publish),
            "subscribe" => Some(Self::Subscribe),
            _ => None,
        }
    }

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
        }
    }
}

impl Principal {
    /// The value that a template variable has for this principal.
    pub fn binding(&self, name: &str) -> Option<&Arc<str>> {
        let found = self.bindings.iter().find(|(bound, _)| **bound == *name);
        found.map(|(_, value)| value)
    }
}

impl TeamId {
    /// `None` where the text could not stand as one level of a topic.
    pub fn new(id: &str) -> Option<Self> {
        Self::is_valid(id).then(|| Self(Arc::from(id)))
    }

    /// Whether the text could stand as one level of a topic, and is no word of the broker's own.
    pub(super) fn is_valid(id: &str) -> bool {
        !(id.is_empty() || id.contains(['/', '+', '#', '\0']) || id.starts_with('$'))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, shared.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}
