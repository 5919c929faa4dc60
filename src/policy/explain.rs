//! Why a decision is as it is: for operators, in `policy explain` and in the console.
//!
//! Asks the same questions as [`Grant`] does, and of the rules that did not apply, how near they
//! came. Not on the data path.

use std::mem;

use super::Policy;
use super::ask::Standing;
use super::document::Reach;
use super::explanation::{Considered, Explanation, RuleReference};
use super::grant::{Asked, Decision, Grant, Ruling};
use super::members::Directory;
use super::principal::{Action, Pattern};
use super::role::{Rule, permits};
use super::template::Template;
use crate::topic::{SharedFilter, TopicFilter, TopicName, relation};

/// How many rules that did not apply are named.
const NEAREST: usize = 3;

impl Policy {
    /// Decides as at a login under this username, and says why. The topic or filter is as the
    /// client would write it: before its mount, with `$share/…`.
    pub fn explain(
        &self,
        username: &str,
        action: Action,
        asked: &str,
        directory: &dyn Directory,
    ) -> Explanation {
        let refused = |reason: String| Explanation::refused(username, action, asked, reason);
        let Some(principal) = self.principal(username, directory) else {
            return refused("no role of the policy takes such a username".to_owned());
        };
        match self.grant(principal, directory) {
            Ok(grant) => grant.explain(action, asked),
            Err(error) => refused(format!("it cannot log in: {error}")),
        }
    }
}

impl Grant {
    /// Decides, and says why. The topic or filter is as the client would write it: before its
    /// mount, with `$share/…`.
    pub fn explain(&self, action: Action, asked: &str) -> Explanation {
        let mut explanation =
            Explanation::refused(&self.principal.username, action, asked, String::new());
        explanation.role = Some(self.role.name.to_string());
        explanation.role_about = self.role.about.to_string();
        explanation.role_at = format!("{}:{}", self.role.file, self.role.line);
        explanation.policy_version = Some(self.policy_version().to_owned());
        explanation.team = self.team().map(|team| team.as_str().to_owned());
        let bound = self.role.variables.iter().zip(&self.values).skip(2);
        explanation.bindings = bound
            .filter_map(|(name, value)| Some((name.to_string(), value.as_ref()?.to_string())))
            .collect();
        if let Err(reason) = self.decide(action, asked, &mut explanation) {
            explanation.reason = reason;
        }
        explanation
    }

    /// Fills in the decision; an error is the reason for a refusal that no rule was asked about.
    fn decide(&self, action: Action, asked: &str, into: &mut Explanation) -> Result<(), String> {
        let (group, written) = match action {
            Action::Publish => {
                let name = TopicName::parse(asked, u16::MAX, u16::MAX);
                (None, name.map(TopicName::as_str))
            }
            Action::Subscribe => match SharedFilter::parse(asked, u16::MAX, u16::MAX) {
                Ok(shared) => (shared.group, Ok(shared.filter.as_str())),
                Err(error) => (None, Err(error)),
            },
        };
        let written = written.map_err(|error| error.to_string())?;
        let full = format!("{}{written}", self.mount());
        into.topic.clone_from(&full);
        into.group = group.map(ToOwned::to_owned);
        let (decision, standing) = match action {
            Action::Publish => {
                let name = TopicName::parse(&full, u16::MAX, u16::MAX);
                let name = name.map_err(|error| error.to_string())?;
                self.check_reach(self.reaches(name))?;
                (self.publish(name), self.publish_or_ask(name))
            }
            Action::Subscribe => {
                let filter = TopicFilter::parse(&full, u16::MAX, u16::MAX);
                let filter = filter.map_err(|error| error.to_string())?;
                self.check_reach(self.reaches_filter(filter))?;
                let asking = self.subscribe_or_ask(filter, group);
                (self.subscribe(filter, group), asking)
            }
        };
        into.ruling = decision.ruling;
        into.rule = decision
            .rule
            .and_then(|index| self.reference(usize::from(index), action, &Asked::new(self, &full)));
        into.reason = match decision {
            Decision {
                ruling: Ruling::Allow,
                ..
            } => "this rule allows it",
            Decision {
                ruling: Ruling::AllowChecked,
                ..
            } => {
                "this rule allows it; a deny rule covers part of the filter, so each message is \
                 checked and the denied ones are left out"
            }
            Decision { rule: Some(_), .. } => "this rule denies it, and a deny wins",
            Decision { rule: None, .. } => "no rule allows it",
        }
        .to_owned();
        if let Standing::Ask { checked } = standing {
            into.hook_decides = true;
            let left_out = match checked {
                true => "; what a deny rule covers is left out of its messages all the same",
                false => "",
            };
            let own = mem::take(&mut into.reason);
            into.reason =
                format!("the hook decides{left_out}. Where it leaves that to the policy: {own}");
        }
        if decision == Decision::UNRULED {
            into.considered = self.nearest(action, &full, group);
        }
        Ok(())
    }

    fn check_reach(&self, reaches: bool) -> Result<(), String> {
        if reaches {
            return Ok(());
        }
        Err(match self.role.reach {
            Reach::Team => format!("it is outside the team's subtree {}", self.root()),
            Reach::Commons | Reach::All => "it is outside what the role can reach".to_owned(),
        })
    }

    /// The allow rules and patterns that came nearest to applying.
    fn nearest(&self, action: Action, full: &str, group: Option<&str>) -> Vec<Considered> {
        let asked = Asked::new(self, full);
        let rules = self.role.rules.iter().enumerate();
        let rules = rules.filter(|(_, rule)| rule.allow && rule.is_for(action));
        let rules = rules.filter_map(|(index, rule)| {
            let (nearness, why) = self.shortfall(action, index, rule, &asked, group)?;
            Some((nearness, index, why))
        });
        let patterns = self.principal.patterns.iter().enumerate();
        let patterns = patterns.filter(|_| self.role.pattern_shares.is_some());
        let patterns = patterns.filter_map(|(index, pattern)| {
            let (nearness, why) = self.pattern_shortfall(action, pattern, full, group)?;
            Some((nearness, self.role.rules.len() + index, why))
        });
        let mut found: Vec<(usize, usize, String)> = rules.chain(patterns).collect();
        found.sort_by_key(|(nearness, index, _)| (usize::MAX - nearness, *index));
        found.truncate(NEAREST);
        let considered = found.into_iter().filter_map(|(_, index, why)| {
            let rule = self.reference(index, action, &asked)?;
            Some(Considered { rule, why })
        });
        considered.collect()
    }

    /// How near an allow rule came, and what it fell short of.
    fn shortfall(
        &self,
        action: Action,
        index: usize,
        rule: &Rule,
        asked: &Asked<'_>,
        group: Option<&str>,
    ) -> Option<(usize, String)> {
        const RELATED: usize = 1000;
        let relates = match action {
            Action::Publish => asked.any(rule, Template::matches),
            Action::Subscribe => asked.any(rule, Template::contains),
        };
        if relates && self.active >> index & 1 == 0 {
            let mut conditions = rule.conditions.iter();
            let unmet = conditions.find(|condition| !condition.holds(&self.values))?;
            let why = format!("applies only where {}", unmet.describe(&self.role));
            return Some((RELATED + 2, why));
        }
        if relates && !rule.permits(group, &self.values) {
            return Some((RELATED + 3, not_shared(group)));
        }
        if action == Action::Subscribe && asked.any(rule, Template::overlaps) {
            return Some((RELATED + 1, PARTLY.to_owned()));
        }
        let nearest = closest(action, rule, asked).filter(|topic| topic.rooted == asked.rooted)?;
        let agreement = nearest.agreement(&asked.levels, asked.bound);
        let place = if asked.rooted {
            self.root().matches('/').count() + agreement
        } else {
            agreement
        };
        let level = |text: &str| {
            let level = text.split('/').nth(place);
            level.map_or("nothing".to_owned(), |level| format!("`{level}`"))
        };
        let why = format!(
            "level {} is {}, the rule has {}",
            place + 1,
            level(asked.text),
            level(&nearest.written),
        );
        Some((agreement, why))
    }

    fn pattern_shortfall(
        &self,
        action: Action,
        pattern: &Pattern,
        full: &str,
        group: Option<&str>,
    ) -> Option<(usize, String)> {
        if !pattern.allow || !pattern.action.covers(action) {
            return None;
        }
        let text = full.strip_prefix(self.mount())?;
        if action == Action::Publish {
            return Some((0, "does not match".to_owned()));
        }
        let spelt = || relation::spell_out(text);
        if relation::contains(&pattern.filter, spelt()) {
            let shared = permits(self.pattern_shares(), group, &self.values);
            return (!shared).then(|| (4, not_shared(group)));
        }
        if relation::overlaps(relation::spell_out(&pattern.filter), spelt()) {
            return Some((3, PARTLY.to_owned()));
        }
        Some((0, "does not match".to_owned()))
    }

    /// The rule or pattern of this index, with the one of its topics that is closest.
    fn reference(&self, index: usize, action: Action, asked: &Asked<'_>) -> Option<RuleReference> {
        if let Some(rule) = self.role.rules.get(index) {
            let topic = closest(action, rule, asked)?;
            return Some(RuleReference {
                role: self.role.name.to_string(),
                index,
                text: self.describe(rule, topic),
                note: rule.note.to_string(),
                file: Some(self.role.file.to_string()),
                line: Some(topic.line),
            });
        }
        let pattern = self.principal.patterns.get(index - self.role.rules.len())?;
        let effect = if pattern.allow { "allow" } else { "deny" };
        Some(RuleReference {
            role: self.role.name.to_string(),
            index,
            text: format!(
                "{effect} {} {} (a pattern of {})",
                pattern.action.as_str(),
                pattern.filter,
                self.principal.username
            ),
            note: String::new(),
            file: None,
            line: None,
        })
    }

    fn describe(&self, rule: &Rule, topic: &Template) -> String {
        let effect = if rule.allow { "allow" } else { "deny" };
        let mut text = format!("{effect} {} {}", rule.action.as_str(), topic.written);
        if !rule.shares.is_empty() {
            let shares: Vec<&str> = rule.shares.iter().map(super::text::Text::as_str).collect();
            text += &format!(" (also shared in {})", shares.join(", "));
        }
        if !rule.conditions.is_empty() {
            let conditions = rule.conditions.iter();
            let conditions: Vec<String> = conditions
                .map(|condition| condition.describe(&self.role))
                .collect();
            text += &format!(" where {}", conditions.join(" and "));
        }
        text
    }
}

/// Of a rule's topics, the first that decides; where none does, the one that comes nearest.
fn closest<'a>(action: Action, rule: &'a Rule, asked: &Asked<'_>) -> Option<&'a Template> {
    let relates = match action {
        Action::Publish => Template::matches,
        Action::Subscribe => Template::contains,
    };
    let nearness = |topic: &&Template| {
        let alike = topic.rooted == asked.rooted;
        let decides = alike && relates(topic, &asked.levels, asked.bound);
        let meets = alike && topic.overlaps(&asked.levels, asked.bound);
        (
            decides,
            meets,
            alike,
            topic.agreement(&asked.levels, asked.bound),
        )
    };
    // Of several that are as near, `max_by_key` takes the last, and the first is meant.
    rule.topics.iter().rev().max_by_key(nearness)
}

const PARTLY: &str = "allows only a part of this filter: subscribe to no more than that";

fn not_shared(group: Option<&str>) -> String {
    format!(
        "may not be shared in the group `{}`",
        group.unwrap_or_default()
    )
}
