//! One connection, as the core sees it.

use std::sync::Arc;

use super::alias::{ReceivedAliases, SentAliases};
use super::ask::{Asking, Told};
use super::authenticate::Enhanced;
use super::event::DisconnectCause;
use super::lanes::NOBODY;
use super::late::Late;
use super::outbox::Outbox;
use super::pending::Pending;
use super::recent::Recent;
use super::turn::Spent;
use crate::limits::Limits;
use crate::session::Peer;
use crate::team::Team;
use crate::time::{Span, Time};
use crate::wire::Version;

/// A connection.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) peer: Peer,
    /// Of its listener, and of its team where that is stricter.
    pub(super) limits: Arc<Limits>,
    pub(super) phase: Phase,
    /// Settled by CONNECT.
    pub(super) version: Version,
    pub(super) outbox: Outbox,
    /// QoS 0 messages that wait until the outbox has room.
    pub(super) late: Option<Box<Late>>,
    /// It stands in the shard's list of outboxes to flush.
    pub(super) touched: bool,
    /// The front of a packet whose rest has not come, or what came while the login is judged, or
    /// what is left for the next turn.
    pub(super) held: Vec<u8>,
    pub(super) spent: Spent,
    /// What is held waits for a later turn.
    pub(super) paused: bool,
    /// It is served or read when it is called: it stands in its lane, or is slowed.
    pub(super) awaits_turn: bool,
    /// It is over a rate, and slowed until then; the epoch: it is not.
    pub(super) slowed_until: Time,
    /// It has come to its first PUBLISH.
    pub(super) has_published: bool,
    /// It is its turn to be read.
    pub(super) called: bool,
    /// The number of its team; of nobody until it is logged in.
    pub(super) lane: u32,
    /// A team that its messages went to on other shards, since it last waited for them.
    pub(super) fed: Option<Arc<Team>>,
    /// Its session is to be looked after in a later turn.
    pub(super) waiting: bool,
    /// What its first packet waits for, or was answered. Apart from `paused`: each has its own end.
    pub(super) asking: Option<Box<Asking>>,
    /// What it was told about topics.
    pub(super) told: Option<Box<Told>>,
    /// It ended while paused, for this cause.
    pub(super) ended: Option<DisconnectCause>,
    /// Its socket was closed while it was paused.
    pub(super) gone: bool,
    pub(super) opened: Time,
    /// When something last came.
    pub(super) heard: Time,
    /// One and a half times the keep alive `[MQTT-3.1.2-22]`; zero: off.
    pub(super) patience: Span,
    /// When what it logged in with is over.
    pub(super) expires: Time,
    /// The earliest timer set for it.
    pub(super) timer: Time,
    /// Largest packet that the client takes.
    pub(super) max_packet: u32,
    /// Largest packet that it may send, as it was told.
    pub(super) max_received: u32,
    /// Topics that the client has given an alias.
    pub(super) received_aliases: ReceivedAliases,
    /// Topics that we have given an alias towards the client.
    pub(super) sent_aliases: SentAliases,
    pub(super) recent: Recent,
    pub(super) traffic: Traffic,
    /// How it logged in, where CONNECT named a method.
    pub(super) enhanced: Option<Box<Enhanced>>,
}

/// How far a connection has come.
#[derive(Debug)]
pub(super) enum Phase {
    /// No CONNECT yet.
    Opening,
    /// CONNECT came and is being judged elsewhere.
    Judging(Box<Pending>),
    /// The login needs more from the client: its AUTH is waited for.
    Challenged(Box<Pending>),
    /// Logged in; the index of its session.
    Active(u32),
    /// Over; what the outbox holds is still to be written.
    Closing,
}

/// What went through, for the record of its end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Traffic {
    pub(super) messages_in: u64,
    pub(super) messages_out: u64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

impl Conn {
    pub(super) fn new(peer: Peer, limits: Arc<Limits>, now: Time) -> Self {
        Self {
            peer,
            limits,
            phase: Phase::Opening,
            version: Version::V311,
            outbox: Outbox::default(),
            late: None,
            touched: false,
            held: Vec::new(),
            spent: Spent::default(),
            paused: false,
            awaits_turn: false,
            slowed_until: Time::EPOCH,
            has_published: false,
            called: false,
            lane: NOBODY,
            fed: None,
            waiting: false,
            asking: None,
            told: None,
            ended: None,
            gone: false,
            opened: now,
            heard: now,
            patience: Span::ZERO,
            expires: Time::NEVER,
            timer: Time::NEVER,
            max_packet: crate::wire::encode::PACKET_SIZE_MAX as u32,
            max_received: u32::MAX,
            received_aliases: ReceivedAliases::default(),
            sent_aliases: SentAliases::default(),
            recent: Recent::default(),
            traffic: Traffic::default(),
            enhanced: None,
        }
    }

    /// Whether an answer must come before its next packet is handled.
    pub(super) fn is_asking(&self) -> bool {
        self.asking.as_ref().is_some_and(|asking| asking.is_open())
    }

    /// Whether what it has sent is still to be handled, for whatever reason: its share of the turn
    /// or its rate is spent, or an answer must come first.
    pub(super) fn is_paused(&self) -> bool {
        self.paused || self.is_asking()
    }

    /// When the client has been silent for too long; never where it needs not speak.
    pub(super) fn silence_ends(&self) -> Time {
        match self.patience {
            Span::ZERO => Time::NEVER,
            patience => self.heard + patience,
        }
    }

    /// When the re-authentication must be over; never where there is none.
    pub(super) fn renewal_ends(&self) -> Time {
        let enhanced = self.enhanced.as_ref();
        enhanced.map_or(Time::NEVER, |enhanced| enhanced.ends)
    }

    /// More waits for it than it takes.
    pub(super) fn is_full(&self) -> bool {
        self.outbox.len() > self.limits.max_outbox_bytes as usize
    }

    /// Bytes in the outbox beyond which QoS 0 messages wait outside.
    pub(super) fn soft_limit(&self) -> usize {
        self.limits.max_outbox_bytes as usize / 2
    }

    /// Other shards have too much waiting of a team that it sent to.
    pub(super) fn is_stalled(&self) -> bool {
        let fed = self.fed.as_ref();
        fed.is_some_and(|team| team.transit.is_behind())
    }

    /// The session's index, while logged in.
    pub(super) const fn session(&self) -> Option<u32> {
        match self.phase {
            Phase::Active(session) => Some(session),
            _ => None,
        }
    }

    /// Room to set aside for a packet that begins here and takes `needed` bytes. Who has not logged
    /// in gets none in advance: else four bytes would cost as much as the largest CONNECT.
    pub(super) const fn room_for(&self, needed: usize) -> usize {
        match self.phase {
            Phase::Active(_) => needed,
            Phase::Opening | Phase::Judging(_) | Phase::Challenged(_) | Phase::Closing => 0,
        }
    }
}
