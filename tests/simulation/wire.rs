//! One connection's bytes, and the packets in them.

use std::collections::{HashMap, VecDeque};

use cofferdam::broker::ConnId;
use cofferdam::wire::client::ServerPacket;

use crate::promises::Seal;

/// One connection: its bytes.
pub struct Wire {
    /// Shard and connection; `None` while it moves and once it is closed.
    pub at: Option<(u16, ConnId)>,
    /// The client has not lost it, and the broker has not closed it.
    pub open: bool,
    /// The client has gone, and the broker still reads what it sent.
    pub lingers: Option<(u16, ConnId)>,
    /// Sent by the client, not read by the broker.
    pub pipe: VecDeque<u8>,
    /// Bytes that the client has sent.
    pub sent: usize,
    /// Bytes of the outbox that were looked at: of those that wait for no commit of their own.
    pub looked: usize,
    /// Of those that do.
    pub looked_held: usize,
    /// Bytes that could leave when it was looked at.
    pub ready: usize,
    /// What was seen in the outbox and the client has not taken.
    pub untaken: VecDeque<Written>,
    /// What comes behind it when commits are kept.
    pub held: VecDeque<Written>,
    /// Bytes that the client took of the first of them.
    pub taken: usize,
    /// Aliases that the broker set.
    pub aliases: HashMap<u16, String>,
}

/// A packet that a shard wrote.
#[derive(Debug)]
pub struct Written {
    /// In bytes.
    pub length: usize,
    pub packet: ServerPacket,
    /// What is to be kept before it leaves.
    pub seal: Seal,
    /// The client can see it.
    pub is_shown: bool,
}

impl Wire {
    /// The broker has crashed.
    pub fn lose(&mut self) {
        (self.at, self.open, self.lingers) = (None, false, None);
        self.pipe.clear();
        self.untaken.clear();
        self.held.clear();
        (self.looked, self.looked_held, self.ready, self.taken) = (0, 0, 0, 0);
    }

    /// What was written and is not taken.
    pub fn written(&mut self) -> impl Iterator<Item = &mut Written> {
        self.untaken.iter_mut().chain(&mut self.held)
    }
}
