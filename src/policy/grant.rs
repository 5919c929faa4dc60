//! A policy instantiated for one principal.

use std::sync::Arc;

use super::principal::{Principal, TeamId};
use crate::topic::{TopicFilter, TopicName};

/// What one connection may do, decided without I/O. Cheap to share, never changed: when policy or
/// principal change, a new grant is made and the session re-judged.
#[derive(Debug)]
pub struct Grant {
    principal: Principal,
    /// `ff/v1/<team>/`; empty for principals that span teams.
    root: Arc<str>,
    /// `ff/v1/<team>/c/` for mounted clients; empty otherwise.
    mount: Arc<str>,
}

/// A decision and the rule that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What was decided.
    pub ruling: Ruling,
    /// Index of the rule within the grant, for `explain`; `None` where no rule applied.
    pub rule: Option<u16>,
}

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// Yes.
    Allow,
    /// Yes, but a deny rule overlaps the filter: ask [`Grant::may_receive`] for each delivery.
    AllowChecked,
    /// No.
    Deny,
}

impl Grant {
    /// Who this is.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The team, where there is one.
    pub fn team(&self) -> Option<&TeamId> {
        self.principal.team.as_ref()
    }

    /// The team's subtree, such as `ff/v1/<team>/`; empty for principals that span teams.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// What is put before the client's own topics and taken off on delivery; empty: nothing.
    pub fn mount(&self) -> &str {
        &self.mount
    }

    /// May it publish to this full name?
    pub fn publish(&self, topic: TopicName<'_>) -> Decision {
        let _ = topic;
        todo!("policy")
    }

    /// May it subscribe to this full filter, in this share group?
    pub fn subscribe(&self, filter: TopicFilter<'_>, group: Option<&str>) -> Decision {
        let _ = (filter, group);
        todo!("policy")
    }

    /// May a message on this full name be delivered to it? Asked only for subscriptions that were
    /// granted as [`Ruling::AllowChecked`].
    pub fn may_receive(&self, topic: TopicName<'_>) -> bool {
        let _ = topic;
        todo!("policy")
    }
}
