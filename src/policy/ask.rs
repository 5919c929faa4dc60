//! What a grant says where somebody else may be asked: the platform's own store, over HTTP.
//!
//! The order is always the same. The structural check comes first ([`Grant::reaches`]) and is the
//! caller's, so that no answer crosses teams. A deny rule of ours holds whatever anybody answers.
//! Outside the own team, in commons where principals of all teams meet, an answer can only take
//! away: what no rule of ours allows there is nobody's to give. What is left is decided here or
//! asked, as [`Ask`] says. Called by `broker`.

use super::Grant;
use super::grant::{Asked, Decision, KnownBy, Ruling};
use super::principal::Action;
use super::role::{Condition, Role, Rule};
use super::template::Template;
use crate::topic::{TopicFilter, TopicName};

/// When somebody else is asked whether a principal may publish or subscribe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ask {
    /// Never: the policy decides all of it.
    #[default]
    Never,
    /// Where no rule of the policy speaks, or one might that depends on what is not known here.
    Unknown,
    /// Always, but for what a rule denies.
    Always,
}

/// What a grant says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is decided.
    Decided(Decision),
    /// It is for somebody else to say.
    Ask {
        /// Of a subscription that is then allowed: a deny rule overlaps the filter, so ask
        /// [`Grant::may_receive`] for each delivery.
        checked: bool,
    },
}

impl Grant {
    /// The same grant, with somebody to ask.
    pub fn asking(mut self, ask: Ask) -> Self {
        self.ask = ask;
        self
    }

    /// The same grant, of a principal that the own store does not know: neither its bindings beyond
    /// the username, nor its patterns, nor who belongs to its team. Rules that depend on those
    /// neither allow nor deny; with [`Ask::Unknown`] they are a reason to ask.
    pub fn known_by_name_only(mut self) -> Self {
        self.active &= !unsure_rules(&self.role, &self.values);
        self.known_by = KnownBy::Name;
        self
    }

    /// The same grant, with what `other`, an earlier one of the same principal, says about asking
    /// and about what is known.
    pub fn asking_like(self, other: &Self) -> Self {
        let grant = self.asking(other.ask);
        match other.known_by {
            KnownBy::Record => grant,
            KnownBy::Proof => grant.proved(),
            KnownBy::Name => grant.known_by_name_only(),
        }
    }

    /// Who is asked, and when.
    pub const fn ask(&self) -> Ask {
        self.ask
    }

    /// May it publish to this full name, which [it reaches](Self::reaches)?
    pub fn publish_or_ask(&self, topic: TopicName<'_>) -> Standing {
        let decision = self.publish(topic);
        if self.leaves_open(Action::Publish, topic.as_str(), decision) {
            Standing::Ask { checked: false }
        } else {
            Standing::Decided(decision)
        }
    }

    /// May it subscribe to this full filter, which [it reaches](Self::reaches_filter), in this share
    /// group?
    pub fn subscribe_or_ask(&self, filter: TopicFilter<'_>, group: Option<&str>) -> Standing {
        let decision = self.subscribe(filter, group);
        if !self.leaves_open(Action::Subscribe, filter.as_str(), decision) {
            return Standing::Decided(decision);
        }
        let asked = Asked::new(self, filter.as_str());
        let checked = decision.ruling == Ruling::AllowChecked || self.is_met_by_a_deny(&asked);
        Standing::Ask { checked }
    }

    fn leaves_open(&self, action: Action, text: &str, decision: Decision) -> bool {
        let is_denied = decision.ruling == Ruling::Deny && decision.rule.is_some();
        if is_denied || !(decision.is_allow() || self.is_at_home(text)) {
            return false;
        }
        match self.ask {
            Ask::Never => false,
            Ask::Always => true,
            Ask::Unknown => decision.rule.is_none() || self.might_deny(action),
        }
    }

    /// Whether a rule that may or may not hold would deny this kind of thing.
    fn might_deny(&self, action: Action) -> bool {
        if self.known_by != KnownBy::Name {
            return false;
        }
        let unsure = unsure_rules(&self.role, &self.values);
        let rules = self.role.rules.iter().enumerate();
        let mut rules = rules.filter(|(index, _)| unsure >> index & 1 == 1);
        rules.any(|(_, rule)| !rule.allow && rule.is_for(action))
    }
}

/// One bit for each rule that depends on what a username alone does not say.
fn unsure_rules(role: &Role, values: &super::text::Values) -> u64 {
    let unknown = |condition: &Condition| {
        let value = values.get(usize::from(condition.variable));
        value.is_none_or(Option::is_none)
    };
    let unsure = |rule: &Rule| {
        rule.conditions.iter().any(unknown) || rule.topics.iter().any(Template::needs_members)
    };
    let bits = role.rules.iter().enumerate();
    bits.fold(0, |bits, (index, rule)| {
        bits | u64::from(unsure(rule)) << index
    })
}
