//! The reference model: what a broker owes to whom, in lists and linear scans.
//!
//! It is told each packet when the broker takes it, and each moment that passes; it says what has
//! to come of it. How the broker does it (tries, batches, shared bytes) it does not know. What it
//! does know is the contract between shards: a session lives on one shard, what is for another
//! shard's sessions goes there in one batch a turn, and order within one pair of shards holds.

mod crash;
mod handing;
mod life;
mod line;
mod packets;
mod rights;
mod routing;
mod session;

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use cofferdam::limits::Limits;
use cofferdam::team::World;
use cofferdam::time::{Span, Time};
use cofferdam::wire::{QoS, ReasonCode, Version};

use crate::cast::Person;
use crate::plan::Plan;

pub use crash::Snapshot;
pub use line::{Answer, Line, Phase, Promise, Said};
pub use routing::first_match;
pub use session::{Entry, Flight, IN_THIS_TURN, Message, Replay, Session, Subscription, Will};

/// A message for one member of a share group.
#[derive(Debug)]
pub struct Choice {
    pub group: String,
    pub filter: String,
    /// Sessions, whether they were connected, and how they would get it.
    pub members: Vec<(u64, bool, Entry)>,
    /// Who has it, and whether it was sent to it and does not wait for it.
    pub taken: Option<(u64, Entry, bool)>,
    pub cause: Cause,
}

/// Why a share group has a message to give.
#[derive(Debug)]
pub enum Cause {
    /// It was published.
    Published,
    /// It waited for a member that has gone.
    Left(Left),
    /// It was published, and a member that may have been chosen left in the same turn: then it goes
    /// on to another, unless that one was sent it.
    Perhaps {
        /// Index of the choice between them.
        of: usize,
        from: u64,
        ended: bool,
    },
}

/// A message that a member of a share group left behind.
#[derive(Debug)]
pub struct Left {
    pub from: u64,
    pub entry: Entry,
    /// The session ended, not only its connection.
    pub ended: bool,
    /// It turned out to have been sent before, in the same turn.
    pub sent: bool,
    /// It may have been another that looked alike.
    pub perhaps: bool,
}

/// A delivery to a session on another shard.
#[derive(Debug)]
pub struct Remote {
    pub to: u16,
    pub uid: u64,
    pub entry: Entry,
    /// The receiver does not see it: it need not go.
    pub hidden: bool,
    pub gone: bool,
}

/// A message at QoS 1 or 2 that is kept for nobody but its subscribers.
#[derive(Debug)]
pub struct Posted {
    pub serial: u64,
    /// Whether the answer was 0x97; `None`: there was none to be seen, or its version has no word for
    /// it.
    pub refused: Option<bool>,
}

/// What became of a message where its publisher's shard could tell.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fate {
    /// Somebody has it or will: surely, perhaps.
    pub taken: bool,
    pub perhaps_taken: bool,
    /// Somebody's queue had no room: surely, perhaps.
    pub lost: bool,
    pub perhaps_lost: bool,
}

/// A retained message.
#[derive(Clone, Debug)]
pub struct Retained {
    /// `None`: of no team.
    pub team: Option<&'static str>,
    pub message: Rc<Message>,
}

/// What goes on record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Records {
    pub connected: usize,
    pub refused: usize,
    pub disconnected: usize,
    pub taken_over: usize,
    pub publishes: usize,
    pub subscribes: usize,
    /// Subscriptions.
    pub ended: usize,
}

/// What one call of a shard has to lead to.
#[derive(Debug, Default)]
pub struct Turn {
    pub remote: Vec<Remote>,
    pub choices: Vec<Choice>,
    /// Those that have been compared.
    pub chosen: Vec<Choice>,
    /// Messages that were retained at some moment of it.
    pub retained: Vec<Rc<Message>>,
    pub records: Records,
    /// What was answered, late, before it was to be sent again: by then it may have been sent.
    pub answered: Vec<(u64, Flight)>,
    /// What left queues unsent: of which session, and its size.
    pub left: Vec<(u64, usize)>,
    /// How many messages arrived and were let go of in the same turn.
    pub fresh_left: u64,
    /// Sessions whose last packets nobody saw.
    pub unseen: Vec<u64>,
    /// Sessions that got other rights.
    pub judged_again: Vec<u64>,
    /// Messages in flight that their receivers have lost the right to.
    pub withdrawn: Vec<(u64, Entry)>,
    /// What may be refused for want of room, and what its publisher was told.
    pub posted: Vec<Posted>,
    /// Messages that were accepted in it.
    pub accepted: Vec<Rc<Message>>,
    /// What became of messages of this turn, by serial number.
    pub fates: HashMap<u64, Fate>,
    /// Bytes of QoS 0 messages written in it, by line.
    pub at_once: HashMap<usize, usize>,
}

/// Everything.
#[derive(Debug)]
pub struct Model {
    /// There is a journal.
    pub journal: bool,
    /// It takes no more messages.
    pub is_full: bool,
    /// Asked only where the broker may do either.
    world: Arc<World>,
    pub limits: Limits,
    /// By slot.
    pub people: Vec<Person>,
    pub sessions: Vec<Session>,
    pub lines: Vec<Line>,
    pub retained: Vec<Retained>,
    /// What has expired and the broker has forgotten; the journal may not have.
    pub forgotten: Vec<Retained>,
    pub turn: Turn,
    pub now: Time,
    /// Whose turn it is.
    pub shard: u16,
    uids: u64,
    serials: u64,
}

impl Model {
    pub fn new(plan: &Plan, world: Arc<World>) -> Self {
        Self {
            world,
            journal: plan.journal,
            is_full: false,
            limits: plan.limits.clone(),
            people: (0..plan.slots.len())
                .map(|who| plan.person(who).clone())
                .collect(),
            sessions: Vec::new(),
            lines: Vec::new(),
            retained: Vec::new(),
            forgotten: Vec::new(),
            turn: Turn::default(),
            now: Time::EPOCH,
            shard: 0,
            uids: 0,
            serials: 0,
        }
    }

    /// A call of a shard begins.
    pub fn begin_turn(&mut self, shard: u16, now: Time) {
        (self.shard, self.now) = (shard, now);
        let retained = self.retained.iter().map(|kept| Rc::clone(&kept.message));
        self.turn = Turn {
            retained: retained.collect(),
            ..Turn::default()
        };
    }

    /// Whether a session that is kept has a message of this turn, or will.
    pub fn is_for_kept(&self, serial: u64) -> bool {
        let is_it = |entry: &Entry| entry.message.serial == serial && entry.qos > QoS::AtMostOnce;
        let is_kept = |uid: u64| self.place(uid).is_some_and(|at| self.sessions[at].kept);
        let chosen = self
            .turn
            .chosen
            .iter()
            .filter_map(|choice| choice.taken.as_ref());
        let mut sessions = self.live().filter(|session| session.kept);
        sessions.any(|session| {
            let sent = session.flights.iter().filter(|flight| flight.fresh);
            let sent = sent.map(|flight| &flight.entry);
            session.queue.iter().chain(sent).any(is_it)
        }) || self
            .turn
            .remote
            .iter()
            .any(|remote| !remote.hidden && is_it(&remote.entry) && is_kept(remote.uid))
            || chosen
                .into_iter()
                .any(|(uid, entry, _)| is_it(entry) && is_kept(*uid))
    }

    /// What became of a message.
    pub fn fate(&mut self, serial: u64) -> &mut Fate {
        self.turn.fates.entry(serial).or_default()
    }

    /// A live session.
    pub fn live(&self) -> impl Iterator<Item = &Session> {
        self.sessions.iter().filter(|session| !session.ended)
    }

    /// The place of a session.
    pub fn place(&self, uid: u64) -> Option<usize> {
        self.sessions.iter().position(|session| session.uid == uid)
    }

    /// What is due first.
    pub fn next_due(&self) -> Option<Time> {
        let sessions = self.live().filter(|session| session.line.is_none());
        let sessions = sessions.map(|session| session.expires.min(session.will_due));
        let lines = self.lines.iter().map(|line| self.line_due(line));
        sessions.chain(lines).filter(|due| *due < Time::NEVER).min()
    }

    /// When a connection must end by itself.
    fn line_due(&self, line: &Line) -> Time {
        match line.phase {
            Phase::Opening => line.opened + self.limits.connect_timeout,
            Phase::Judging => line.judging + self.limits.login_timeout,
            // Who may not speak is not silent.
            Phase::Active if line.patience > Span::ZERO && !line.paused && !line.awaited => {
                line.heard + line.patience
            }
            _ => Time::NEVER,
        }
    }

    fn answer(&mut self, line: usize, kind: &'static str, id: u16, codes: &[ReasonCode]) {
        let version = self.lines[line].version;
        let code = |code: &ReasonCode| match (version, kind) {
            (Version::V5, _) => Some(code.as_byte()),
            (_, "SUBACK") if !code.is_error() => Some(code.as_byte()),
            (Version::V311, "SUBACK") => Some(0x80),
            (_, "SUBACK" | "PUBACK" | "PUBREC" | "PUBCOMP") => Some(0),
            _ => None,
        };
        let codes = codes.iter().filter_map(code).collect();
        let answer = Answer {
            kind,
            id,
            codes,
            properties: Vec::new(),
            promise: Promise::Nothing,
        };
        self.lines[line].answers.push_back(answer);
    }

    /// The last answer promises something, if so.
    fn promise(&mut self, line: usize, promise: Option<Promise>) {
        if let (Some(answer), Some(promise)) = (self.lines[line].answers.back_mut(), promise) {
            answer.promise = promise;
        }
    }
}
