//! A policy file as it is written. `compile` checks it and makes a `Policy` of it.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::principal::PatternAction;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    pub(super) namespace: NamespaceTable,
    #[serde(default)]
    pub(super) role: BTreeMap<String, Spanned<RoleTable>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NamespaceTable {
    /// A team's subtree, with `{team}` as its last level.
    pub(super) team: Spanned<String>,
    /// Words in the team's place that belong to no team.
    #[serde(default)]
    pub(super) commons: Vec<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RoleTable {
    #[serde(default)]
    pub(super) about: String,
    #[serde(default)]
    pub(super) username: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) bindings: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) reach: Reach,
    pub(super) mount: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) client_id: Vec<Spanned<String>>,
    pub(super) patterns: Option<PatternsTable>,
    #[serde(default)]
    pub(super) rules: Vec<Spanned<RuleTable>>,
}

/// How far a role's rules may reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Reach {
    /// The subtree of the principal's team, and the commons that a rule names.
    #[default]
    Team,
    /// The commons that a rule names.
    Commons,
    /// Every topic of every team.
    All,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PatternsTable {
    #[serde(default)]
    pub(super) share: Vec<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleTable {
    pub(super) allow: Option<PatternAction>,
    pub(super) deny: Option<PatternAction>,
    #[serde(default)]
    pub(super) topics: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) share: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) when: BTreeMap<String, Wanted>,
    pub(super) overlap: Option<Overlap>,
    #[serde(default)]
    pub(super) note: String,
}

/// What a condition asks of a binding.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(super) enum Wanted {
    /// That it is there, or is not.
    Bound(bool),
    /// That it has this value.
    Value(Box<str>),
}

/// What becomes of a filter that a deny meets but does not contain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Overlap {
    /// Granted; each delivery is checked and the denied messages are left out.
    #[default]
    Check,
    /// Granted as it is: for names that nobody may publish to anyhow.
    Grant,
}
