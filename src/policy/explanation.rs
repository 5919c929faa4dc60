//! The path to a decision, as operators and machines read it. `explain` finds it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::grant::Ruling;
use super::principal::Action;

/// The path to a decision.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Explanation {
    /// Who asked.
    pub username: String,
    /// The role of that username, where there is one.
    pub role: Option<String>,
    /// What the policy says about the role.
    pub role_about: String,
    /// Where the policy defines it: file and line.
    pub role_at: String,
    /// The version of the policy that decided, where there is a role.
    pub policy_version: Option<String>,
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
    /// What was decided here.
    pub ruling: Ruling,
    /// Somebody else is asked, and `ruling` counts only where they leave it to the policy.
    #[serde(default)]
    pub hook_decides: bool,
    /// Why, in one sentence.
    pub reason: String,
    /// The rule that decided.
    pub rule: Option<RuleReference>,
    /// Where no rule applied: those that came nearest, the nearest first.
    pub considered: Vec<Considered>,
}

/// A rule and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct RuleReference {
    /// The role it belongs to.
    pub role: String,
    /// Its index, as in [`Decision::rule`].
    pub index: usize,
    /// What it says; of several topics, the one that decided or came nearest.
    pub text: String,
    /// The operator's note on it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// The policy file; `None` for one of the principal's own patterns.
    pub file: Option<String>,
    /// The line of that topic in the file.
    pub line: Option<u32>,
}

/// A rule that did not apply.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Considered {
    /// The rule.
    pub rule: RuleReference,
    /// Why it did not apply.
    pub why: String,
}

impl Explanation {
    /// A refusal by no rule.
    pub(super) fn refused(username: &str, action: Action, asked: &str, reason: String) -> Self {
        Self {
            username: username.to_owned(),
            role: None,
            role_about: String::new(),
            role_at: String::new(),
            policy_version: None,
            team: None,
            bindings: BTreeMap::new(),
            action,
            asked: asked.to_owned(),
            topic: asked.to_owned(),
            group: None,
            ruling: Ruling::Deny,
            hook_decides: false,
            reason,
            rule: None,
            considered: Vec::new(),
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ruling = match self.hook_decides {
            true => "ask the hook",
            false => self.ruling.words(),
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
        write!(f, "  role {role} ({})", self.role_at)?;
        if let Some(team) = &self.team {
            write!(f, ", team = {team}")?;
        }
        for (name, value) in &self.bindings {
            write!(f, ", {name} = {value}")?;
        }
        writeln!(f)?;
        if let Some(version) = &self.policy_version {
            writeln!(f, "  policy {version}")?;
        }
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
