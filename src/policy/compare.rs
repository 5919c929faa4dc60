//! Two policies side by side, for the same principals: what one decides otherwise than the other.
//!
//! For `policy diff`, over what stands in a running broker, what is on record, or a file of
//! expectations. Not on the data path.

use serde::{Deserialize, Serialize};

use super::explanation::{Explanation, RuleReference};
use super::members::Directory;
use super::principal::Action;
use super::{Grant, GrantError, Policy, Principal, Ruling};

/// One policy's answer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Side {
    /// What is decided.
    pub ruling: Ruling,
    /// Why, in one sentence.
    pub reason: String,
    /// The rule that decided.
    pub rule: Option<RuleReference>,
}

/// A question that the two answer differently.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Changed {
    /// Who asks.
    pub username: String,
    /// Its team, where there is one.
    pub team: Option<String>,
    /// What is asked.
    pub action: Action,
    /// As the client writes it, `$share/…` included.
    pub topic: String,
    /// By the old policy.
    pub old: Side,
    /// By the new one.
    pub new: Side,
}

/// The two grants of one principal.
#[derive(Debug)]
pub struct Pair {
    username: String,
    team: Option<String>,
    old: Result<Grant, GrantError>,
    new: Result<Grant, GrantError>,
}

impl Pair {
    /// For the principal of a grant that is in force somewhere.
    pub fn again(old: &Policy, new: &Policy, grant: &Grant) -> Self {
        Self {
            username: grant.principal().username.to_string(),
            team: grant.team().map(|team| team.as_str().to_owned()),
            old: old.renew(grant),
            new: new.renew(grant),
        }
    }

    /// For whoever would log in under this name.
    pub fn of(old: &Policy, new: &Policy, username: &str, directory: &dyn Directory) -> Self {
        let grant = |policy: &Policy| {
            let nobody = || GrantError::Username(username.into());
            let principal: Principal = policy.principal(username, directory).ok_or_else(nobody)?;
            policy.grant(principal, directory)
        };
        let (old, new) = (grant(old), grant(new));
        let either = old.as_ref().or(new.as_ref()).ok();
        let team = either.and_then(Grant::team);
        Self {
            username: username.to_owned(),
            team: team.map(|team| team.as_str().to_owned()),
            old,
            new,
        }
    }

    /// What both say to what a client writes; `None`: the same.
    pub fn ask(&self, action: Action, topic: &str) -> Option<Changed> {
        let [old, new] = [&self.old, &self.new].map(|grant| side(grant, action, topic));
        self.changed(action, topic, old, new)
    }

    /// What both say to a subscription that stands: its full filter, with `$share/<group>/` before it
    /// where it is shared. Under another mount it does not stand any longer.
    pub fn stands(&self, key: &str, mount: &str) -> Option<Changed> {
        let written = unmounted(key, mount)?;
        let [old, new] = [&self.old, &self.new].map(|grant| match grant {
            Ok(grant) if grant.mount() != mount => Side {
                ruling: Ruling::Deny,
                reason: format!("topics are under another mount: `{}`", grant.mount()),
                rule: None,
            },
            grant => side(grant, Action::Subscribe, &written),
        });
        self.changed(Action::Subscribe, &written, old, new)
    }

    /// Questions that the rules of either policy speak of, as this principal would ask them.
    pub fn questions(&self) -> Vec<(Action, String)> {
        let grants = [&self.old, &self.new].into_iter().flatten();
        let mut questions: Vec<_> = grants.flat_map(Grant::questions).collect();
        questions.sort();
        questions.dedup();
        questions
    }

    fn changed(&self, action: Action, topic: &str, old: Side, new: Side) -> Option<Changed> {
        (old.ruling != new.ruling).then(|| Changed {
            username: self.username.clone(),
            team: self.team.clone(),
            action,
            topic: topic.to_owned(),
            old,
            new,
        })
    }
}

impl Grant {
    /// A full topic, or a subscription's key, as the client would write it; `None`: it has no name
    /// for it.
    pub fn unmounted(&self, full: &str) -> Option<String> {
        unmounted(full, self.mount())
    }

    /// One question for each topic of a rule whose conditions hold, and for each own pattern: the
    /// filter itself, and a name that it matches.
    fn questions(&self) -> Vec<(Action, String)> {
        let rules = self.role.rules.iter().enumerate();
        let rules = rules.filter(|(index, _)| self.active >> index & 1 == 1);
        let of_rules = rules.flat_map(|(_, rule)| {
            let topics = rule.topics.iter();
            topics.filter_map(|topic| {
                let levels = topic.example(self.bound())?;
                let full = match topic.rooted {
                    true => format!("{}{levels}", self.root()),
                    false => levels,
                };
                let written = full.strip_prefix(self.mount())?.to_owned();
                Some((rule.action, written))
            })
        });
        let patterns = self.principal.patterns.iter();
        let patterns = patterns.filter(|_| self.role.pattern_shares.is_some());
        let of_patterns = patterns.map(|pattern| (pattern.action, pattern.filter.to_string()));
        let mut questions = Vec::new();
        for (action, filter) in of_rules.chain(of_patterns) {
            if action.covers(Action::Publish) {
                let name = filter.split('/').map(|level| match level {
                    "+" | "#" => "any",
                    level => level,
                });
                let name: Vec<_> = name.collect();
                questions.push((Action::Publish, name.join("/")));
            }
            if action.covers(Action::Subscribe) {
                questions.push((Action::Subscribe, filter));
            }
        }
        questions
    }
}

fn side(grant: &Result<Grant, GrantError>, action: Action, topic: &str) -> Side {
    match grant {
        Ok(grant) => grant.explain(action, topic).into(),
        Err(error) => Side {
            ruling: Ruling::Deny,
            reason: format!("it cannot log in: {error}"),
            rule: None,
        },
    }
}

impl From<Explanation> for Side {
    fn from(explanation: Explanation) -> Self {
        let Explanation {
            ruling,
            reason,
            rule,
            ..
        } = explanation;
        Self {
            ruling,
            reason,
            rule,
        }
    }
}

/// The key of a subscription as its client wrote it.
fn unmounted(key: &str, mount: &str) -> Option<String> {
    if mount.is_empty() {
        return Some(key.to_owned());
    }
    match key.strip_prefix("$share/") {
        Some(shared) => {
            let (group, filter) = shared.split_once('/')?;
            Some(format!("$share/{group}/{}", filter.strip_prefix(mount)?))
        }
        None => key.strip_prefix(mount).map(ToOwned::to_owned),
    }
}
