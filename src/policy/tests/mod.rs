//! The policy as its callers meet it: from a file's text and a username to decisions.

mod asking;
mod brute_force;
mod decisions;
mod explanations;
mod loading;
mod renew;
mod roles;
mod usernames;

use std::sync::Arc;

use super::{Directory, Grant, Pattern, PatternAction, Policy, Principal, TeamId, TeamMembers};
use crate::topic::{SharedFilter, TopicFilter, TopicName};

pub(super) fn name(text: &str) -> TopicName<'_> {
    TopicName::parse(text, u16::MAX, u16::MAX).expect("a topic name")
}

pub(super) fn filter(text: &str) -> TopicFilter<'_> {
    TopicFilter::parse(text, u16::MAX, u16::MAX).expect("a topic filter")
}

pub(super) fn flowfuse() -> Policy {
    Policy::flowfuse().unwrap_or_else(|error| panic!("{error}"))
}

/// A world of one kind of record: the same members for every team, the same bindings and patterns
/// for every principal.
#[derive(Default)]
pub(super) struct World {
    pub(super) members: Arc<TeamMembers>,
    pub(super) bindings: Vec<(&'static str, &'static str)>,
    pub(super) patterns: Vec<Pattern>,
}

impl Directory for World {
    fn members(&self, _: &TeamId) -> Arc<TeamMembers> {
        Arc::clone(&self.members)
    }

    fn complete(&self, principal: &mut Principal) {
        let bindings = self.bindings.iter();
        let bindings = bindings.map(|(name, value)| (Arc::from(*name), Arc::from(*value)));
        principal.bindings.extend(bindings);
        principal.patterns.clone_from(&self.patterns);
    }
}

impl World {
    pub(super) fn grant(&self, policy: &Policy, username: &str) -> Grant {
        let principal = policy
            .principal(username, self)
            .expect("a role for the username");
        policy
            .grant(principal, self)
            .unwrap_or_else(|error| panic!("{error}"))
    }
}

pub(super) fn pattern(action: PatternAction, allow: bool, filter: &str) -> Pattern {
    Pattern {
        action,
        allow,
        filter: Arc::from(filter),
    }
}

/// A world in which everything is known and every pattern allowed.
pub(super) fn all_patterns() -> World {
    World {
        members: Arc::new(TeamMembers::new(["i1", "i2"])),
        bindings: vec![("owner_type", "instance"), ("owner", "i1")],
        patterns: vec![pattern(PatternAction::Both, true, "#")],
    }
}

/// Whether a client may publish to what it writes.
pub(super) fn may_publish(grant: &Grant, written: &str) -> bool {
    let full = format!("{}{written}", grant.mount());
    grant.reaches(name(&full)) && grant.publish(name(&full)).is_allow()
}

/// Whether a client may subscribe to what it writes, `$share/…` included.
pub(super) fn may_subscribe(grant: &Grant, written: &str) -> bool {
    let shared = SharedFilter::parse(written, u16::MAX, u16::MAX).expect("a filter");
    let full = format!("{}{}", grant.mount(), shared.filter.as_str());
    grant.reaches_filter(filter(&full)) && grant.subscribe(filter(&full), shared.group).is_allow()
}
