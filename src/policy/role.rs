//! A compiled role: what all its principals share.

use std::sync::Arc;

use super::document::{Overlap, Reach, Wanted};
use super::namespace::Namespace;
use super::principal::{Action, PatternAction};
use super::template::Template;
use super::text::{Slot, Text, Values};

/// Most rules of one role: a grant keeps one bit for each.
pub(super) const MAX_RULES: usize = 64;
/// Most patterns of one principal's own: each decision may look at all of them.
pub(super) const MAX_PATTERNS: usize = 1000;
/// Most variables of one role.
pub(super) const MAX_VARIABLES: usize = 32;
/// Every role's first variable.
pub(super) const TEAM: Slot = 0;
/// Every role's second variable.
pub(super) const USERNAME: Slot = 1;

#[derive(Debug)]
pub(super) struct Role {
    pub(super) name: Arc<str>,
    pub(super) about: Box<str>,
    /// The file it stands in.
    pub(super) file: Arc<str>,
    pub(super) line: u32,
    /// Of the policy that it is part of.
    pub(super) policy_version: Arc<str>,
    pub(super) namespace: Arc<Namespace>,
    pub(super) reach: Reach,
    /// Names of the variables, by slot.
    pub(super) variables: Box<[Arc<str>]>,
    pub(super) usernames: Box<[Text]>,
    pub(super) client_ids: Box<[Text]>,
    pub(super) mount: Option<Text>,
    /// `Some`: its principals have patterns of their own, which may be shared in these groups.
    pub(super) pattern_shares: Option<Box<[Text]>>,
    /// The commons that a rule names, such as `ff/v1/browser/`.
    pub(super) commons: Box<[Box<str>]>,
    pub(super) rules: Box<[Rule]>,
}

#[derive(Debug)]
pub(super) struct Rule {
    pub(super) allow: bool,
    pub(super) action: PatternAction,
    pub(super) topics: Box<[Template]>,
    pub(super) shares: Box<[Text]>,
    pub(super) conditions: Box<[Condition]>,
    pub(super) overlap: Overlap,
    pub(super) note: Box<str>,
}

#[derive(Debug)]
pub(super) struct Condition {
    pub(super) variable: Slot,
    pub(super) wanted: Wanted,
}

impl Role {
    /// One bit for each rule whose conditions hold for these values.
    pub(super) fn active_rules(&self, values: &Values) -> u64 {
        let bits = self.rules.iter().enumerate().map(|(index, rule)| {
            let holds = rule
                .conditions
                .iter()
                .all(|condition| condition.holds(values));
            u64::from(holds) << index
        });
        bits.fold(0, |all, bit| all | bit)
    }
}

impl Condition {
    pub(super) fn holds(&self, values: &Values) -> bool {
        let value = values
            .get(usize::from(self.variable))
            .and_then(Option::as_deref);
        match &self.wanted {
            Wanted::Bound(wanted) => value.is_some() == *wanted,
            Wanted::Value(wanted) => value == Some(wanted),
        }
    }

    /// As it stands in the policy.
    pub(super) fn describe(&self, role: &Role) -> String {
        let name = &role.variables[usize::from(self.variable)];
        match &self.wanted {
            Wanted::Bound(true) => format!("{name} is known"),
            Wanted::Bound(false) => format!("{name} is not known"),
            Wanted::Value(value) => format!("{name} = \"{value}\""),
        }
    }
}

impl Rule {
    pub(super) fn is_for(&self, action: Action) -> bool {
        self.action.covers(action)
    }

    /// Whether it permits the share group; no group is always permitted.
    pub(super) fn permits(&self, group: Option<&str>, values: &Values) -> bool {
        permits(&self.shares, group, values)
    }
}

/// Whether one of the templates stands for the share group; no group is always permitted.
pub(super) fn permits(shares: &[Text], group: Option<&str>, values: &Values) -> bool {
    group.is_none_or(|group| shares.iter().any(|share| share.fits(group, values)))
}
