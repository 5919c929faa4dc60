//! A connection as the broker has to see it: what its client said, and the answers that it is owed.

use std::collections::{HashMap, VecDeque};

use cofferdam::time::{Span, Time};
use cofferdam::wire::client::{Connect, Publish};
use cofferdam::wire::{ReasonCode, SubscriptionOptions, Version};

/// An answer that the broker owes to a connection.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub kind: &'static str,
    /// Packet identifier; of CONNACK, session present.
    pub id: u16,
    pub codes: Vec<u8>,
    /// CONNACK's, as text, sorted.
    pub properties: Vec<String>,
    /// What is to be kept before it is said.
    pub promise: Promise,
}

/// What somebody is told may have to outlive a crash.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Promise {
    /// It has not.
    #[default]
    Nothing,
    /// What was stated in the turn.
    Turn,
    /// What stands at this place.
    Place(u64),
    /// What was stated of this message in the turn, if a session that is kept has it.
    Message(u64),
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
    /// What its principal was found to have at the login.
    pub rights: usize,
    /// The rest of what it sent waits for another turn.
    pub paused: bool,
    /// It was lost while it was paused.
    pub gone: bool,
    /// It is not read before it is called.
    pub awaited: bool,
    /// The answers that it was sent to what it published, where that could be seen: packet identifier
    /// and reason.
    pub acks: VecDeque<(u16, ReasonCode)>,
    pub max_packet: usize,
    pub alias_maximum: u16,
    /// Aliases that the client set.
    pub aliases: HashMap<u16, String>,
    pub answers: VecDeque<Answer>,
    /// Messages that were not answered, for want of a word for no and of room for a yes.
    pub unsaid: Vec<u16>,
    /// A session that was kept has ended for it.
    pub begins_anew: bool,
    /// PUBRELs that are owed for PUBRECs.
    pub releases: Vec<(u16, ReasonCode)>,
    /// It must be closed in this turn.
    pub closes: bool,
    /// It must move in this turn.
    pub moves: Option<u16>,
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
            rights: 0,
            paused: false,
            gone: false,
            awaited: false,
            acks: VecDeque::new(),
            max_packet: usize::MAX,
            alias_maximum: 0,
            aliases: HashMap::new(),
            answers: VecDeque::new(),
            unsaid: Vec::new(),
            begins_anew: false,
            releases: Vec::new(),
            closes: false,
            moves: None,
        }
    }
}
