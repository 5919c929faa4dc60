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

/// What a pattern is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatternAction {
    /// Publishing.
    Publish,
    /// Subscribing.
    Subscribe,
    /// Either.
    Both,
}

impl TeamId {
    /// `None` where the text could not stand as one level of a topic.
    pub fn new(id: &str) -> Option<Self> {
        let bad = id.is_empty() || id.contains(['/', '+', '#', '\0']) || id.starts_with('$');
        (!bad).then(|| Self(Arc::from(id)))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
