//! What has changed outside the core, and what it means for those who are in already.
//!
//! A grant is made once, at the login, and nothing is asked after that. So when a credential is
//! revoked, a team suspended or a policy replaced, somebody must go through the sessions: the shell
//! puts what was changed into a [`Review`] and hands it to **every shard, in the same order**
//! ([`Shard::review`](super::Shard::review)); `walk` has what the shards do with it. Everything in a
//! review is decided without I/O, so new grants are made before it is handed over, or by a
//! [`Judge`] that has all it needs.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::policy::{Grant, KnownBy, TeamId};
use crate::wire::ReasonCode;

/// What somebody is after a change.
#[derive(Clone, Debug)]
pub enum Standing {
    /// Still in, and may do this: subscriptions that it does not grant end.
    Granted(Arc<Grant>),
    /// Still somebody, but must log in again: connections end and sessions wait, under this grant
    /// where there is a new one.
    Out(Option<Arc<Grant>>),
    /// Nobody any more: connections end, and sessions with all that is in them.
    Gone,
}

/// What a whole team is after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TeamStanding {
    /// Its members are others (`TeamMembers` knows them already): grants stay, and subscriptions
    /// are judged anew.
    Members,
    /// Suspended: connections end, sessions wait.
    Suspended,
    /// Removed: nothing of it stays in memory.
    Removed,
}

/// Says what becomes of somebody with this grant. Called for every session, in the shards' threads:
/// no I/O, and little work.
pub type Judge = Arc<dyn Fn(&Arc<Grant>) -> Standing + Send + Sync>;

/// What was changed, for the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Change {
    /// What.
    pub kind: ChangeKind,
    /// The number under which whoever made the change has it on record; 0: none.
    pub number: u64,
}

/// What was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// The client logged in again, and by then had other rights.
    Login,
    /// The policy.
    Policy,
    /// Who belongs to the team.
    Members,
    /// What this principal may do: its patterns, its owner.
    Rights,
    /// Its credential: rotated, or taken away.
    Credential,
    /// It belongs to another team now.
    Moved,
    /// It was removed.
    Revoked,
    /// Its team is suspended.
    TeamSuspended,
    /// Its team was removed.
    TeamRemoved,
    /// Somebody else, who was asked about a subscription that a session brought along, said no.
    Answer,
    /// The broker could not follow the changes and knows that it has missed some.
    Unknown,
}

/// A whole team's part of a review.
#[derive(Debug)]
struct TeamReview {
    standing: TeamStanding,
    change: Change,
    /// Shards that are through with it.
    through: AtomicUsize,
}

/// What has changed, and for whom. Where several parts concern a session, the sternest counts; of
/// new grants, the principal's own.
#[derive(Default)]
pub struct Review {
    everyone: Option<(Judge, Change)>,
    teams: BTreeMap<TeamId, TeamReview>,
    principals: BTreeMap<Key, (Standing, Change)>,
}

/// A principal: its team and its username.
pub(super) type Key = (Option<TeamId>, Arc<str>);

/// What a review means for one session.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Goes on under this grant.
    Granted(Arc<Grant>),
    /// Its connection ends; it goes on under this grant, where there is a new one.
    Out(Option<Arc<Grant>>),
    /// It ends.
    Gone,
}

impl Change {
    /// A change that nobody has numbered.
    pub const fn of(kind: ChangeKind) -> Self {
        Self { kind, number: 0 }
    }

    /// What the client is told: 0x98 where somebody decided about it or its credential, 0x87 where
    /// the rules do not let it in any more.
    pub const fn told(self) -> ReasonCode {
        match self.kind {
            ChangeKind::Login
            | ChangeKind::Policy
            | ChangeKind::Members
            | ChangeKind::Rights
            | ChangeKind::Answer => ReasonCode::NotAuthorized,
            ChangeKind::Credential
            | ChangeKind::Moved
            | ChangeKind::Revoked
            | ChangeKind::TeamSuspended
            | ChangeKind::TeamRemoved
            | ChangeKind::Unknown => ReasonCode::AdministrativeAction,
        }
    }
}

impl ChangeKind {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::Login,
        Self::Policy,
        Self::Members,
        Self::Rights,
        Self::Credential,
        Self::Moved,
        Self::Revoked,
        Self::TeamSuspended,
        Self::TeamRemoved,
        Self::Answer,
        Self::Unknown,
    ];

    /// From its name.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// Its name on record and in metrics: it never changes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Policy => "policy",
            Self::Members => "members",
            Self::Rights => "rights",
            Self::Credential => "credential",
            Self::Moved => "moved",
            Self::Revoked => "revoked",
            Self::TeamSuspended => "team_suspended",
            Self::TeamRemoved => "team_removed",
            Self::Answer => "answer",
            Self::Unknown => "unknown",
        }
    }
}

impl Review {
    /// Everybody is judged by `judge`.
    pub fn everyone(&mut self, judge: Judge, change: Change) {
        self.everyone = Some((judge, change));
    }

    /// A team has this standing, unless it is known to have a sterner one.
    pub fn team(&mut self, id: TeamId, standing: TeamStanding, change: Change) {
        let known = self.teams.get(&id).map(|team| team.standing);
        if known.is_none_or(|known| known < standing) {
            let through = AtomicUsize::new(0);
            let review = TeamReview {
                standing,
                change,
                through,
            };
            self.teams.insert(id, review);
        }
    }

    /// A principal has this standing: with others that it is known to have, the sternest, under the
    /// last of the grants.
    pub fn principal(
        &mut self,
        team: Option<TeamId>,
        username: Arc<str>,
        standing: Standing,
        change: Change,
    ) {
        let key = (team, username);
        let both = match self.principals.remove(&key) {
            None => (standing, change),
            Some((known, by)) => match (known, standing) {
                (Standing::Gone, _) => (Standing::Gone, by),
                (_, Standing::Gone) => (Standing::Gone, change),
                (Standing::Out(old), Standing::Out(new)) => (Standing::Out(new.or(old)), by),
                (Standing::Out(_), Standing::Granted(new)) => (Standing::Out(Some(new)), by),
                (Standing::Granted(old), Standing::Out(new)) => {
                    (Standing::Out(new.or(Some(old))), change)
                }
                (Standing::Granted(_), new @ Standing::Granted(_)) => (new, change),
            },
        };
        self.principals.insert(key, both);
    }

    /// Whether it concerns nobody.
    pub fn is_empty(&self) -> bool {
        self.everyone.is_none() && self.teams.is_empty() && self.principals.is_empty()
    }

    /// How many principals it names.
    pub(super) fn principals(&self) -> usize {
        self.principals.len()
    }

    pub(super) const fn is_for_everyone(&self) -> bool {
        self.everyone.is_some()
    }

    /// The team that is reviewed after this one.
    pub(super) fn next_team(&self, after: Option<&TeamId>) -> Option<&TeamId> {
        next(&self.teams, after)
    }

    /// The principal that is reviewed after this one.
    pub(super) fn next_principal(&self, after: Option<&Key>) -> Option<&Key> {
        next(&self.principals, after)
    }

    /// The teams that it removes.
    pub(super) fn removed(&self) -> impl Iterator<Item = &TeamId> {
        let removed = |team: &TeamReview| team.standing == TeamStanding::Removed;
        let teams = self.teams.iter();
        teams
            .filter(move |(_, team)| removed(team))
            .map(|(id, _)| id)
    }

    pub(super) fn removes(&self, team: &TeamId) -> bool {
        let known = self.teams.get(team);
        known.is_some_and(|team| team.standing == TeamStanding::Removed)
    }

    /// One more shard is through with a team. Says whether all `count` of them are.
    pub(super) fn is_through(&self, team: &TeamId, count: usize) -> bool {
        let Some(team) = self.teams.get(team) else {
            return false;
        };
        team.through.fetch_add(1, Ordering::AcqRel) + 1 == count
    }

    /// What it means for the session, or the login, of somebody with this grant and this client id;
    /// `None`: nothing.
    pub(super) fn outcome(&self, grant: &Arc<Grant>, client_id: &str) -> Option<(Outcome, Change)> {
        let (standing, change) = self.standing(grant)?;
        let granted = |new: &Arc<Grant>| {
            // Who this is and where it lives is settled for as long as a session lasts.
            let principal = new.principal();
            principal.username == grant.principal().username && new.team() == grant.team()
        };
        // Whatever changed, what it logged in with is over when it is.
        let no_longer = |new: Arc<Grant>| match grant.expires() < new.expires() {
            true => Arc::new((*new).clone().until(grant.expires())),
            false => new,
        };
        let outcome = match standing {
            Standing::Gone => Outcome::Gone,
            Standing::Granted(new) | Standing::Out(Some(new)) if !granted(&new) => Outcome::Gone,
            // Under another mount, topics have other names: the client must learn that.
            Standing::Granted(new)
                if new.mount() == grant.mount() && new.accepts_client_id(client_id) =>
            {
                Outcome::Granted(no_longer(new))
            }
            Standing::Granted(new) => Outcome::Out(Some(new)),
            Standing::Out(new) => Outcome::Out(new),
        };
        Some((outcome, change))
    }

    fn standing(&self, grant: &Arc<Grant>) -> Option<(Standing, Change)> {
        let key = (
            grant.team().cloned(),
            Arc::clone(&grant.principal().username),
        );
        let is_vouched = grant.known_by() != KnownBy::Record;
        let own = match self.principals.get(&key) {
            // What is on record is not all that it logged in with: it has to show that again.
            Some((Standing::Granted(_) | Standing::Out(_), change)) if is_vouched => {
                Some((Standing::Out(None), *change))
            }
            Some((standing, change)) => Some((standing.clone(), *change)),
            None => {
                let everyone = self.everyone.as_ref();
                everyone.map(|(judge, change)| (judge(grant), *change))
            }
        };
        let Some(team) = grant.team().and_then(|team| self.teams.get(team)) else {
            return own;
        };
        Some(match (team.standing, own) {
            (TeamStanding::Removed, _) => (Standing::Gone, team.change),
            (_, Some((Standing::Gone, change))) => (Standing::Gone, change),
            (TeamStanding::Suspended, Some((Standing::Granted(new), _))) => {
                (Standing::Out(Some(new)), team.change)
            }
            (TeamStanding::Suspended, Some((Standing::Out(new), _))) => {
                (Standing::Out(new), team.change)
            }
            (TeamStanding::Suspended, None) => (Standing::Out(None), team.change),
            (TeamStanding::Members, Some(own)) => own,
            (TeamStanding::Members, None) => (Standing::Granted(Arc::clone(grant)), team.change),
        })
    }
}

fn next<'m, K: Ord, V>(map: &'m BTreeMap<K, V>, after: Option<&K>) -> Option<&'m K> {
    use std::ops::Bound;
    let after = after.map_or(Bound::Unbounded, Bound::Excluded);
    map.range((after, Bound::Unbounded))
        .next()
        .map(|(key, _)| key)
}

/// Whom it concerns and how, in one line: for logs, and for tests.
impl fmt::Debug for Review {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let everyone = self.everyone.iter();
        let everyone = everyone.map(|(_, change)| format!("everyone ({change})"));
        let teams = self.teams.iter().map(|(id, team)| {
            let (standing, change) = (team.standing.as_str(), team.change);
            format!("team {}: {standing} ({change})", id.as_str())
        });
        let principals = self.principals.iter();
        let principals = principals.map(|((team, username), (standing, change))| {
            let team = team.as_ref().map_or("-", |team| team.as_str());
            format!(
                "principal {team} {username}: {} ({change})",
                standing.as_str()
            )
        });
        let all: Vec<_> = everyone.chain(teams).chain(principals).collect();
        f.write_str(&all.join(", "))
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.number)
    }
}

impl Standing {
    const fn as_str(&self) -> &'static str {
        match self {
            Self::Granted(_) => "granted",
            Self::Out(None) => "out",
            Self::Out(Some(_)) => "out under a new grant",
            Self::Gone => "gone",
        }
    }
}

impl TeamStanding {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Members => "members",
            Self::Suspended => "suspended",
            Self::Removed => "removed",
        }
    }
}
