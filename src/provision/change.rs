//! What was changed, for people, programs and the record.

use std::fmt;

use serde_json::{Value, json};

use crate::audit::Record;
use crate::broker::ChangeKind;
use crate::database::Concerned;
use crate::time::Time;

/// What was done to one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Made.
    Add,
    /// Made different.
    Change,
    /// Barred from logging in, with all its members.
    Suspend,
    /// No longer barred.
    Resume,
    /// Given a new password.
    Rotate,
    /// Taken away, so that it cannot log in.
    Revoke,
    /// Taken away with all its members.
    Remove,
}

impl Verb {
    /// As in the event's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Change => "change",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::Rotate => "rotate",
            Self::Revoke => "revoke",
            Self::Remove => "remove",
        }
    }

    fn sign(self) -> char {
        match self {
            Self::Add => '+',
            Self::Revoke | Self::Remove => '-',
            _ => '~',
        }
    }
}

/// One thing that was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What was done.
    pub verb: Verb,
    /// `team`, `instance`, `device`, `client` or `platform`.
    pub what: &'static str,
    /// A team's id or a member's username.
    pub name: String,
    /// The team that it belongs to or is.
    pub team: Option<String>,
    /// What is different, where something was there before; for what is new, what is worth a word.
    pub fields: Vec<String>,
}

impl Change {
    /// For programs.
    pub fn to_json(&self) -> Value {
        json!({
            "change": self.verb.as_str(),
            "what": self.what,
            "name": self.name,
            "team": self.team,
            "fields": self.fields,
        })
    }

    /// Whom it concerns who may be connected; what is new concerns nobody but as a member. For what
    /// is made different, `apply` knows more.
    pub(super) fn concerned(&self) -> Option<Concerned> {
        let kind = match (self.verb, self.what) {
            (Verb::Suspend, _) => ChangeKind::TeamSuspended,
            (Verb::Remove, _) => ChangeKind::TeamRemoved,
            (Verb::Rotate, _) => ChangeKind::Credential,
            (Verb::Revoke, _) => ChangeKind::Revoked,
            (Verb::Add, "instance") => ChangeKind::Members,
            (Verb::Add | Verb::Change | Verb::Resume, _) => return None,
        };
        let username = match kind {
            ChangeKind::Credential | ChangeKind::Revoked => Some(self.name.clone()),
            _ => None,
        };
        Some(Concerned {
            kind,
            team: self.team.clone(),
            username,
        })
    }

    pub(super) fn record(&self, now: Time, actor: &str, via: &str, revision: i64) -> Record {
        let event = format!("{}_{}", self.what, self.verb.as_str());
        let mut detail = json!({"name": self.name, "via": via, "revision": revision});
        if !self.fields.is_empty() {
            detail["fields"] = json!(self.fields);
        }
        Record::administration(now, &event, self.team.as_deref(), actor, detail)
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.verb.sign(), self.what, self.name)?;
        if self.fields.is_empty() {
            Ok(())
        } else {
            write!(f, ": {}", self.fields.join(", "))
        }
    }
}
