//! Many refusals of one kind become one row a second with a count.
//!
//! A client may be refused as often as it can send; its team's row need not be as many. The first
//! [`ROWS`] refusals of a kind go on record at once, those that follow are counted until the writer
//! [`sweep`](Folds::sweep)s, once a second: one row with the count and the last of them. A kind is
//! forgotten when a whole second brought none. Limits that a client hits are told once, and then summed up
//! by the minute. Each connection's are told apart: it has a row for its
//! connect as well.
//!
//! Refused connections need no login, so they are folded by the address they come from, those
//! beyond [`CONNECTS`] a second. What does not fit the table is counted by team and event alone.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::budget::Budget;
use super::record::MAX_TEXT_BYTES;
use crate::broker::{Event, EventKind, network};
use crate::policy::TeamId;
use crate::time::Time;

/// Refused connections of one address that are rows of their own, between two sweeps.
const CONNECTS: u32 = 10;
/// Refusals of one kind that are rows of their own, between two sweeps: what one SUBSCRIBE of an
/// honest client can be refused is told in full.
const ROWS: u32 = 16;
/// Rows of their own of a limit that one client hits, in its minute.
const LIMIT_ROWS: u32 = 1;
/// The name of that event.
const LIMIT_HIT: &str = "limit_hit";
/// Sweeps, one a second, after which limits that were hit become rows.
const LIMIT_SWEEPS: u32 = 60;
/// Most addresses whose refused connections are counted, between two sweeps.
const CALLERS_MAX: usize = 4_096;
/// Most kinds of refusal that are told apart.
const FOLDS_MAX: usize = 4_096;
/// Most bytes of text that they hold.
const FOLDS_BYTES_MAX: usize = 8 << 20;

/// What is being folded.
#[derive(Debug)]
pub(super) struct Folds {
    folds: HashMap<Key, Fold>,
    room: Budget,
    /// Refused connections by address since the last sweep.
    callers: HashMap<IpAddr, u32>,
    /// Since limits became rows.
    sweeps: u32,
}

/// Several refusals in one.
#[derive(Debug)]
pub(super) struct Folded {
    /// The last of them.
    pub(super) event: Box<Event>,
    /// How many.
    pub(super) count: u64,
    /// When the first of them was.
    pub(super) since: Time,
    pub(super) scope: Scope,
}

/// What folded refusals have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// Whose they are, and the reason.
    Client,
    /// Address and reason; the usernames differ.
    Address,
    /// Team and event only: the table was full.
    Team,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Client {
        team: Option<TeamId>,
        username: Option<Arc<str>>,
        client_id: Option<Arc<str>>,
        remote: SocketAddr,
        event: &'static str,
        why: &'static str,
    },
    Address {
        team: Option<TeamId>,
        from: IpAddr,
        why: &'static str,
    },
    Team {
        team: Option<TeamId>,
        event: &'static str,
    },
}

#[derive(Debug)]
struct Fold {
    scope: Scope,
    since: Time,
    count: u64,
    last: Option<Box<Event>>,
    /// What it has of the table's bytes.
    bytes: usize,
    /// Rows of their own since it came into the table; 0 where none are to be.
    rows: u32,
}

impl Folds {
    pub(super) fn new() -> Self {
        Self {
            folds: HashMap::new(),
            room: Budget::new(FOLDS_MAX, FOLDS_BYTES_MAX),
            callers: HashMap::new(),
            sweeps: 0,
        }
    }

    /// Returns what goes on record at once, keeps what is to be counted.
    pub(super) fn admit(&mut self, event: Box<Event>) -> Option<Box<Event>> {
        let Some(key) = Key::of(&event) else {
            return Some(event);
        };
        if let Key::Address { from, .. } = key
            && self.is_rare(from)
        {
            return Some(event);
        }
        if let Some(fold) = self.folds.get_mut(&key) {
            if fold.rows > 0 && fold.rows < key.rows() {
                fold.rows += 1;
                return Some(event);
            }
            fold.add(event);
            return None;
        }
        let bytes = MAX_TEXT_BYTES + names(&event);
        if !self.room.take(&event.who.team, bytes) {
            self.add_to_rest(event);
            return None;
        }
        let scope = Scope::Client; // until an address gives a second username
        let mut fold = Fold::new(scope, bytes);
        let at_once = match key {
            Key::Address { .. } => {
                fold.add(event);
                None
            }
            _ => {
                fold.rows = 1;
                Some(event)
            }
        };
        self.folds.insert(key, fold);
        at_once
    }

    /// What was counted since the last call, one for each kind; limits that were hit, once a minute.
    pub(super) fn sweep(&mut self) -> Vec<Folded> {
        self.sweeps += 1;
        let is_minute = self.sweeps >= LIMIT_SWEEPS;
        self.take(is_minute)
    }

    /// Everything that was counted.
    pub(super) fn sweep_all(&mut self) -> Vec<Folded> {
        self.take(true)
    }

    fn take(&mut self, limits: bool) -> Vec<Folded> {
        if limits {
            self.sweeps = 0;
        }
        let mut counted = Vec::new();
        self.callers.clear();
        let room = &mut self.room;
        self.folds.retain(|key, fold| {
            if key.is_limit() && !limits {
                return true;
            }
            let folded = fold.take();
            let is_live = folded.is_some();
            counted.extend(folded);
            if !is_live && fold.bytes > 0 {
                room.give_back(key.team(), fold.bytes);
            }
            is_live
        });
        counted
    }

    /// How many events are counted and not on record.
    pub(super) fn waiting(&self) -> u64 {
        self.folds.values().map(|fold| fold.count).sum()
    }

    /// Counts a refused connection. `true`: its address has had few.
    fn is_rare(&mut self, from: IpAddr) -> bool {
        let has_room = self.callers.len() < CALLERS_MAX;
        match self.callers.get_mut(&from) {
            Some(count) => {
                *count = count.saturating_add(1);
                *count <= CONNECTS
            }
            None if has_room => {
                self.callers.insert(from, 1);
                true
            }
            None => false,
        }
    }

    /// One for each team and event, whatever else; teams are as many as the operator made.
    fn add_to_rest(&mut self, event: Box<Event>) {
        let key = Key::Team {
            team: event.who.team.clone(),
            event: event.kind.as_str(),
        };
        let fold = self.folds.entry(key);
        fold.or_insert_with(|| Fold::new(Scope::Team, 0)).add(event);
    }
}

impl Fold {
    fn new(scope: Scope, bytes: usize) -> Self {
        Self {
            scope,
            since: Time::EPOCH,
            count: 0,
            last: None,
            bytes,
            rows: 0,
        }
    }

    fn add(&mut self, mut event: Box<Event>) {
        match &self.last {
            None => self.since = event.at,
            Some(last) if last.who.username != event.who.username => {
                self.scope = match self.scope {
                    Scope::Team => Scope::Team,
                    Scope::Client | Scope::Address => Scope::Address,
                };
            }
            Some(last) if last.who.client_id != event.who.client_id => event.who.client_id = None,
            Some(_) => {}
        }
        if self.scope != Scope::Client {
            (event.who.username, event.who.client_id) = (None, None);
        }
        shorten(&mut event.kind);
        if let EventKind::LimitHit { count, .. } = &mut event.kind
            && let Some(EventKind::LimitHit { count: before, .. }) =
                self.last.as_ref().map(|last| &last.kind)
        {
            *count += before;
        }
        self.count += 1;
        self.last = Some(event);
    }

    fn take(&mut self) -> Option<Folded> {
        let event = self.last.take()?;
        let scope = self.scope;
        if scope == Scope::Address {
            self.scope = Scope::Client;
        }
        Some(Folded {
            event,
            count: std::mem::take(&mut self.count),
            since: self.since,
            scope,
        })
    }
}

impl Key {
    /// `None`: no refusal, and never folded.
    fn of(event: &Event) -> Option<Self> {
        let why = match &event.kind {
            EventKind::PublishRefused { why, .. }
            | EventKind::SubscribeRefused { why, .. }
            | EventKind::UnsubscribeRefused { why, .. } => why,
            EventKind::ReauthenticationRefused { reason, .. } => reason.as_str(),
            EventKind::LimitHit { limit, .. } => limit.as_str(),
            EventKind::ConnectRefused { reason, .. } => {
                return Some(Self::Address {
                    team: event.who.team.clone(),
                    from: network(event.who.peer.address.ip()),
                    why: reason.as_str(),
                });
            }
            EventKind::Observed { act, .. } => act.as_str(),
            EventKind::AdminRefused { why } => {
                return Some(Self::Address {
                    team: None,
                    from: network(event.who.peer.address.ip()),
                    why,
                });
            }
            EventKind::Connected { .. }
            | EventKind::Disconnected { .. }
            | EventKind::TakenOver { .. }
            | EventKind::WillSent { .. }
            | EventKind::SessionExpired { .. }
            | EventKind::Crossed { .. }
            | EventKind::SubscriptionEnded { .. }
            | EventKind::Reauthenticated => return None,
        };
        Some(Self::Client {
            team: event.who.team.clone(),
            username: event.who.username.clone(),
            client_id: event.who.client_id.clone(),
            remote: event.who.peer.address,
            event: event.kind.as_str(),
            why,
        })
    }

    fn is_limit(&self) -> bool {
        matches!(
            self,
            Self::Client {
                event: LIMIT_HIT,
                ..
            } | Self::Team {
                event: LIMIT_HIT,
                ..
            }
        )
    }

    /// Most rows of their own, between two sweeps that concern them.
    fn rows(&self) -> u32 {
        if self.is_limit() { LIMIT_ROWS } else { ROWS }
    }

    fn team(&self) -> &Option<TeamId> {
        match self {
            Self::Client { team, .. } | Self::Address { team, .. } | Self::Team { team, .. } => {
                team
            }
        }
    }
}

/// Bytes of the names that a fold keeps.
fn names(event: &Event) -> usize {
    let names = [&event.who.username, &event.who.client_id];
    names.into_iter().flatten().map(|name| name.len()).sum()
}

/// Keeps no more of a text than a row does, and a byte to show that there was more.
fn shorten(kind: &mut EventKind) {
    let text = match kind {
        EventKind::PublishRefused { topic, .. } => topic,
        EventKind::SubscribeRefused { filter, .. }
        | EventKind::UnsubscribeRefused { filter, .. } => filter,
        EventKind::Observed { topic, .. } => topic,
        _ => return,
    };
    if text.len() > MAX_TEXT_BYTES + 8 {
        let mut end = MAX_TEXT_BYTES + 1;
        while !text.is_char_boundary(end) {
            end += 1;
        }
        *text = Box::from(&text[..end]);
    }
}

#[cfg(test)]
#[path = "fold_tests.rs"]
mod tests;
