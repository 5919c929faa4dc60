//! The reference model: what a broker owes to whom, in lists and linear scans.
//!
//! It is told each packet when the broker takes it, and each moment that passes; it says what has
//! to come of it. How the broker does it (tries, batches, shared bytes) it does not know. What it
//! does know is the contract between shards: a session lives on one shard, what is for another
//! shard's sessions goes there in one batch a turn, and order within one pair of shards holds.

mod life;
mod packets;
mod routing;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use cofferdam::limits::Limits;
use cofferdam::team::{SessionAddress, World};
use cofferdam::time::{Span, Time};
use cofferdam::wire::client::{Connect, Property, Publish};
use cofferdam::wire::{QoS, ReasonCode, SubscriptionOptions, Version};

use crate::cast::Person;
use crate::plan::Plan;

/// A message that was accepted.
pub struct Message {
    /// In the order of acceptance; a message that a client sent twice at QoS 1 has two.
    pub serial: u64,
    /// Full name.
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: QoS,
    pub retain: bool,
    pub expires: Time,
    /// Those that are passed on, in order.
    pub properties: Vec<Property>,
    /// Full name.
    pub response_topic: Option<String>,
    /// The session that published it.
    pub publisher: u64,
}

/// A message on its way to one session, by one subscription.
#[derive(Clone)]
pub struct Entry {
    pub message: Rc<Message>,
    pub qos: QoS,
    pub retain: bool,
    /// 0: none.
    pub id: u32,
    /// It arrived in this turn.
    pub fresh: bool,
}

/// A QoS 1 or 2 message that was sent and is not yet acknowledged.
#[derive(Clone, Debug)]
pub struct Flight {
    pub id: u16,
    pub entry: Entry,
    /// PUBREC came.
    pub released: bool,
    /// On the present connection.
    pub sent: bool,
    /// First sent in this turn.
    pub fresh: bool,
}

/// A subscription.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// Full filter.
    pub filter: String,
    pub group: Option<String>,
    pub options: SubscriptionOptions,
    /// 0: none.
    pub id: u32,
    /// It begins with a wildcard.
    pub hides: bool,
}

/// Retained messages that a SUBSCRIBE asked for.
#[derive(Clone, Debug)]
pub struct Replay {
    pub of: Subscription,
    /// Topics sent.
    pub done: Vec<String>,
    /// Topics that were retained when it began.
    pub due: Vec<String>,
    /// Its subscription is gone: it may have been sent in this turn, and no longer.
    pub over: bool,
}

/// A will.
#[derive(Clone, Debug)]
pub struct Will {
    pub publish: Publish,
    pub delay: Span,
}

/// A session.
#[derive(Debug)]
pub struct Session {
    /// Never used again.
    pub uid: u64,
    pub who: usize,
    pub shard: u16,
    pub address: Option<SessionAddress>,
    pub line: Option<usize>,
    pub expiry: Span,
    pub expires: Time,
    pub will: Option<Will>,
    pub will_due: Time,
    pub window: usize,
    pub subscriptions: Vec<Subscription>,
    pub flights: Vec<Flight>,
    pub queue: Vec<Entry>,
    /// QoS 0 messages that must have been sent when the turn ends, by line.
    pub at_once: Vec<(usize, Entry)>,
    /// QoS 2 identifiers received and not released.
    pub held: Vec<u16>,
    pub replays: Vec<Replay>,
    pub ended: bool,
    /// How often each message was to be delivered at QoS 1 or 2, by payload and QoS.
    pub owed: HashMap<(Vec<u8>, QoS), usize>,
}

/// A message for one member of a share group.
#[derive(Debug)]
pub struct Choice {
    pub group: String,
    pub filter: String,
    /// Sessions, whether they were connected, and how they would get it.
    pub members: Vec<(u64, bool, Entry)>,
    /// Who has it.
    pub taken: Option<(u64, Entry)>,
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

/// An answer that the broker owes to a connection.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub kind: &'static str,
    /// Packet identifier; of CONNACK, session present.
    pub id: u16,
    pub codes: Vec<u8>,
    /// CONNACK's, as text, sorted.
    pub properties: Vec<String>,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Phase {
    Opening,
    Judging,
    Moving,
    Active,
    Closing,
    Closed,
}

/// What a client said.
#[derive(Clone, Debug)]
pub enum Said {
    Connect(Box<Connect>),
    Publish(Publish),
    PubAck(u16),
    PubRec(u16, ReasonCode),
    PubRel(u16),
    PubComp(u16),
    Subscribe(u16, Vec<(String, SubscriptionOptions)>, Option<u32>),
    Unsubscribe(u16, Vec<String>),
    Ping,
    Disconnect(ReasonCode, Option<u32>),
}

/// A connection, as the broker has to see it.
#[derive(Debug)]
pub struct Line {
    pub who: usize,
    pub version: Version,
    pub shard: u16,
    pub phase: Phase,
    pub opened: Time,
    /// When CONNECT came.
    pub judging: Time,
    pub heard: Time,
    pub patience: Span,
    pub hello: Option<Box<Connect>>,
    /// Packets that the broker has not handled, each with the byte at which it ends.
    pub said: VecDeque<(usize, Said)>,
    /// Bytes that the broker has read.
    pub read: usize,
    pub session: Option<u64>,
    pub max_packet: usize,
    pub alias_maximum: u16,
    /// Aliases that the client set.
    pub aliases: HashMap<u16, String>,
    pub answers: VecDeque<Answer>,
    /// PUBRELs that are owed for PUBRECs.
    pub releases: Vec<(u16, ReasonCode)>,
    /// It must be closed in this turn.
    pub closes: bool,
    /// It must move in this turn.
    pub moves: Option<u16>,
}

/// A retained message.
#[derive(Debug)]
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
}

/// What one call of a shard has to lead to.
#[derive(Debug, Default)]
pub struct Turn {
    pub remote: Vec<Remote>,
    pub choices: Vec<Choice>,
    /// Messages that were retained at some moment of it.
    pub retained: Vec<Rc<Message>>,
    pub records: Records,
}

/// Everything.
#[derive(Debug)]
pub struct Model {
    /// Asked only where the broker may do either.
    world: Arc<World>,
    pub limits: Limits,
    /// By slot.
    pub people: Vec<Person>,
    pub sessions: Vec<Session>,
    pub lines: Vec<Line>,
    pub retained: Vec<Retained>,
    pub turn: Turn,
    pub now: Time,
    /// Whose turn it is.
    pub shard: u16,
    uids: u64,
    serials: u64,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let payload = String::from_utf8_lossy(&self.payload);
        write!(
            f,
            "{payload:.20?} to {:?} at QoS {}",
            self.topic, self.qos as u8
        )?;
        if self.expires < Time::NEVER {
            write!(f, " until {}", self.expires.as_micros())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{:?}, as QoS {}", self.message, self.qos as u8)?;
        for (on, what) in [(self.retain, "retained"), (self.fresh, "fresh")] {
            if on {
                write!(f, ", {what}")?;
            }
        }
        if self.id > 0 {
            write!(f, ", identifier {}", self.id)?;
        }
        write!(f, ">")
    }
}

impl Message {
    /// Bytes as limits count them: topics, passed-on properties, payload.
    pub fn size(&self) -> usize {
        let property = |property: &Property| match property {
            Property::PayloadFormat(_) => 2,
            Property::ContentType(text) => 3 + text.len(),
            Property::CorrelationData(data) => 3 + data.len(),
            Property::User(name, value) => 5 + name.len() + value.len(),
            other => unreachable!("not passed on: {other:?}"),
        };
        self.topic.len()
            + self.payload.len()
            + self.response_topic.as_ref().map_or(0, String::len)
            + self.properties.iter().map(property).sum::<usize>()
    }
}

impl Entry {
    /// Whether the two are the same to who gets them.
    pub fn is_like(&self, other: &Self) -> bool {
        let terms = |entry: &Self| (entry.qos, entry.retain, entry.id);
        Rc::ptr_eq(&self.message, &other.message) && terms(self) == terms(other)
    }
}

impl Line {
    /// A connection that was just accepted.
    pub fn new(who: usize, version: Version, shard: u16, now: Time) -> Self {
        Self {
            who,
            version,
            shard,
            phase: Phase::Opening,
            opened: now,
            judging: now,
            heard: now,
            patience: Span::ZERO,
            hello: None,
            said: VecDeque::new(),
            read: 0,
            session: None,
            max_packet: usize::MAX,
            alias_maximum: 0,
            aliases: HashMap::new(),
            answers: VecDeque::new(),
            releases: Vec::new(),
            closes: false,
            moves: None,
        }
    }
}

impl Session {
    /// Messages sent on this connection and not acknowledged.
    pub fn under_way(&self) -> usize {
        self.flights.iter().filter(|flight| flight.sent).count()
    }

    /// A message that is to reach the client at least once.
    pub fn owe(&mut self, entry: &Entry) {
        let key = (entry.message.payload.clone(), entry.qos);
        *self.owed.entry(key).or_default() += 1;
    }

    /// A message that was dropped, and rightly.
    pub fn owe_no_longer(&mut self, entry: &Entry) {
        let key = (entry.message.payload.clone(), entry.qos);
        *self.owed.entry(key).or_default() -= 1;
    }

    /// The place of a flight.
    pub fn flight(&self, id: u16) -> Option<usize> {
        self.flights.iter().position(|flight| flight.id == id)
    }
}

impl Model {
    pub fn new(plan: &Plan, world: Arc<World>) -> Self {
        Self {
            world,
            limits: plan.limits.clone(),
            people: (0..plan.slots.len())
                .map(|who| plan.person(who).clone())
                .collect(),
            sessions: Vec::new(),
            lines: Vec::new(),
            retained: Vec::new(),
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
            Phase::Active if line.patience > Span::ZERO => line.heard + line.patience,
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
        };
        self.lines[line].answers.push_back(answer);
    }
}
