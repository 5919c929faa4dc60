//! Why a decision is as it is: for operators, in `policy explain` and in the console.
//!
//! Asks the same questions as [`Grant`] does, and of the rules that did not apply, how near they
//! came. Not on the data path.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::Policy;
use super::document::Reach;
use super::grant::{Asked, Decision, Grant, Ruling};
use super::members::Directory;
use super::principal::{Action, Pattern};
use super::role::{Rule, permits};
use super::template::Template;
use crate::topic::{SharedFilter, TopicFilter, TopicName, relation};

/// How many rules that did not apply are named.
const NEAREST: usize = 3;

/// The path to a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Who asked.
    pub username: String,
    /// The role of that username, where there is one.
    pub role: Option<String>,
    /// The team, where there is one.
    pub team: Option<String>,
    /// What the other variables stand for.
    pub bindings: BTreeMap<String, String>,
    /// What was asked.
    pub action: Action,
    /// The topic or filter as the client would write it, `$share/…` included.
    pub asked: String,
    /// The full name or filter that was decided on, mount included.
    pub topic: String,
    /// The share group, where there is one.
    pub group: Option<String>,
    /// What was decided.
    pub ruling: Ruling,
    /// Why, in one sentence.
    pub reason: String,
    /// The rule that decided.
    pub rule: Option<RuleReference>,
    /// Where no rule applied: those that came nearest, the nearest first.
    pub considered: Vec<Considered>,
}

/// A rule and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleReference {
    /// The role it belongs to.
    pub role: String,
    /// Its index, as in [`Decision::rule`].
    pub index: usize,
    /// What it says.
    pub text: String,
    /// The operator's note on it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// The policy file; `None` for one of the principal's own patterns.
    pub file: Option<String>,
    /// The line in that file.
    pub line: Option<u32>,
}

/// A rule that did not apply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Considered {
    /// The rule.
    pub rule: RuleReference,
    /// Why it did not apply.
    pub why: String,
}

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
        let decision = match action {
            Action::Publish => {
                let name = TopicName::parse(&full, u16::MAX, u16::MAX);
                let name = name.map_err(|error| error.to_string())?;
                self.check_reach(self.reaches(name))?;
                self.publish(name)
            }
            Action::Subscribe => {
                let filter = TopicFilter::parse(&full, u16::MAX, u16::MAX);
                let filter = filter.map_err(|error| error.to_string())?;
                self.check_reach(self.reaches_filter(filter))?;
                self.subscribe(filter, group)
            }
        };
        into.ruling = decision.ruling;
        into.rule = decision
            .rule
            .and_then(|index| self.reference(usize::from(index)));
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
            let rule = self.reference(index)?;
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
        let alike = rule
            .topics
            .iter()
            .filter(|topic| topic.rooted == asked.rooted);
        let nearest = alike.max_by_key(|topic| topic.agreement(&asked.levels, asked.bound))?;
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

    fn reference(&self, index: usize) -> Option<RuleReference> {
        if let Some(rule) = self.role.rules.get(index) {
            return Some(RuleReference {
                role: self.role.name.to_string(),
                index,
                text: self.describe(rule),
                note: rule.note.to_string(),
                file: Some(self.role.file.to_string()),
                line: Some(rule.topics.first().map_or(rule.line, |topic| topic.line)),
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

    fn describe(&self, rule: &Rule) -> String {
        let effect = if rule.allow { "allow" } else { "deny" };
        let topics: Vec<&str> = rule.topics.iter().map(|topic| &*topic.written).collect();
        let mut text = format!("{effect} {} {}", rule.action.as_str(), topics.join(", "));
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

const PARTLY: &str = "allows only a part of this filter: subscribe to no more than that";

fn not_shared(group: Option<&str>) -> String {
    format!(
        "may not be shared in the group `{}`",
        group.unwrap_or_default()
    )
}

impl Explanation {
    fn refused(username: &str, action: Action, asked: &str, reason: String) -> Self {
        Self {
            username: username.to_owned(),
            role: None,
            team: None,
            bindings: BTreeMap::new(),
            action,
            asked: asked.to_owned(),
            topic: asked.to_owned(),
            group: None,
            ruling: Ruling::Deny,
            reason,
            rule: None,
            considered: Vec::new(),
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ruling = match self.ruling {
            Ruling::Allow => "allow",
            Ruling::AllowChecked => "allow, each delivery checked",
            Ruling::Deny => "deny",
        };
        writeln!(
            f,
            "{ruling}: {} {} {}",
            self.username,
            self.action.as_str(),
            self.asked
        )?;
        writeln!(f, "  because {}", self.reason)?;
        if let Some(rule) = &self.rule {
            writeln!(f, "    {rule}")?;
        }
        for considered in &self.considered {
            writeln!(f, "    {}", considered.rule)?;
            writeln!(f, "      {}", considered.why)?;
        }
        let Some(role) = &self.role else {
            return Ok(());
        };
        write!(f, "  role {role}")?;
        if let Some(team) = &self.team {
            write!(f, ", team = {team}")?;
        }
        for (name, value) in &self.bindings {
            write!(f, ", {name} = {value}")?;
        }
        writeln!(f)?;
        if self.topic != self.asked {
            writeln!(f, "  decided on {}", self.topic)?;
        }
        Ok(())
    }
}

impl fmt::Display for RuleReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(file), Some(line)) = (&self.file, self.line) {
            write!(f, "{file}:{line}: ")?;
        }
        f.write_str(&self.text)?;
        if !self.note.is_empty() {
            write!(f, " ({})", self.note)?;
        }
        Ok(())
    }
}
