//! One client's end of the line: what it read, and what it may expect to read.

use std::collections::BTreeMap;
use std::collections::VecDeque;

use cofferdam::broker::{ConnId, Login};
use cofferdam::policy::Grant;
use cofferdam::wire::client::{self, Property, Publish, ServerPacket};
use cofferdam::wire::{QoS, ReasonCode, Version};

use super::mark::Mark;

/// A client.
pub struct Client {
    /// No other client has it.
    pub number: u64,
    /// The shard and connection, while it has one.
    pub at: Option<(u16, ConnId)>,
    /// What it sent and the broker has not read.
    pub unread: VecDeque<u8>,
    /// Bytes that it will read.
    pub room: usize,
    /// What CONNECT asked for, once the broker has taken it up.
    version: Option<Version>,
    home: Home,
    /// Bytes of the packet under way to it.
    inbox: Vec<u8>,
    /// Messages that the broker sent and it has not answered, by identifier.
    unanswered: BTreeMap<u16, Awaited>,
    /// It sent bytes that nobody keeps account of, so that `unanswered` says nothing.
    wild: bool,
    /// What it told in CONNECT.
    receive_maximum: usize,
    max_packet_size: usize,
    session_present: bool,
    /// CONNACK came.
    welcome: bool,
    /// DISCONNECT came.
    dismissed: bool,
}

/// Whose messages may reach a client.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Home {
    /// Nobody's yet; where it can be told, those of this team are to.
    Outside(Option<Mark>),
    /// This team's.
    Team(Mark),
    /// Everybody's.
    All,
}

#[derive(Clone, Copy, PartialEq)]
enum Awaited {
    Ack,
    Received,
    Complete,
}

impl Client {
    pub fn new(number: u64, at: (u16, ConnId)) -> Self {
        Self {
            number,
            at: Some(at),
            unread: VecDeque::new(),
            room: usize::MAX,
            version: None,
            home: Home::Outside(None),
            inbox: Vec::new(),
            unanswered: BTreeMap::new(),
            wild: false,
            receive_maximum: usize::from(u16::MAX),
            max_packet_size: usize::MAX,
            session_present: false,
            welcome: false,
            dismissed: false,
        }
    }

    /// What to write in; 5.0 before CONNECT.
    pub fn version(&self) -> Version {
        self.version.unwrap_or(Version::V5)
    }

    /// The broker has its CONNECT, or a step of its authentication.
    pub fn is_judged(&mut self, login: &Login) {
        let before = self.version.replace(login.version);
        assert!(before.is_none_or(|before| before == login.version));
        assert!(
            before.is_none() || login.exchange.is_some(),
            "one CONNECT a connection"
        );
    }

    /// It logs in under this username, and cannot turn out to be somebody else.
    pub fn says_who(&mut self, username: &str) {
        self.home = Home::Outside(Mark::named_in(username));
    }

    /// It may come in.
    pub fn is_admitted(&mut self, grant: &Grant) {
        // Whoever proves to be somebody else later stays who it is, or is sent away.
        let Home::Outside(told) = self.home else {
            return;
        };
        let mark = Mark::named_in(grant.root());
        assert!(
            told.is_none() || told == mark,
            "{told:?} comes in as {mark:?}"
        );
        self.home = mark.map_or(Home::All, Home::Team);
    }

    /// What it puts into all that it publishes.
    pub const fn mark(&self) -> Option<Mark> {
        match self.home {
            Home::Outside(told) => told,
            Home::Team(mark) => Some(mark),
            Home::All => None,
        }
    }

    /// It is about to send this CONNECT, or something that may be one.
    pub fn sends(&mut self, bytes: &[u8]) {
        use cofferdam::wire::Packet;
        use cofferdam::wire::decode::{self, Framing};
        // Only the first packet is looked at, and only when it comes in one piece.
        if self.version.is_some() || self.wild {
            return;
        }
        if let Ok(Framing::Whole(frame)) = decode::frame(bytes, u32::MAX)
            && let Ok(Packet::Connect(connect)) = decode::packet(frame, None)
        {
            let properties = &connect.properties;
            self.receive_maximum = usize::from(properties.receive_maximum.get());
            let maximum = properties.maximum_packet_size;
            self.max_packet_size = maximum.map_or(usize::MAX, |size| size as usize);
        }
    }

    /// From now on nobody keeps account of what it sends.
    pub fn goes_wild(&mut self) {
        self.wild = true;
    }

    /// It takes bytes in.
    pub fn reads(&mut self, bytes: &[u8]) {
        self.inbox.extend_from_slice(bytes);
        let Some(version) = self.version else {
            return; // what is said before login is looked at in the end
        };
        let mut used = 0;
        loop {
            match client::read(&self.inbox[used..], version) {
                Ok(Some((packet, length))) => {
                    self.may_have(&self.inbox[used..used + length], &packet);
                    self.reads_packet(packet, length);
                    used += length;
                }
                Ok(None) => break,
                Err(error) => panic!("{error}: {:02x?}", &self.inbox[used..]),
            }
        }
        self.inbox.drain(..used);
    }

    /// The connection is over: nothing is left half said.
    pub fn ends(&mut self, took_all: bool) {
        self.at = None;
        if !took_all {
            return;
        }
        if self.version.is_some() {
            assert!(self.inbox.is_empty(), "half a packet: {:02x?}", self.inbox);
            return;
        }
        // A refusal, in the version that the client seemed to speak.
        let refused = |version| {
            let said = client::read_all(&self.inbox, version);
            matches!(said.as_deref(), Ok([] | [ServerPacket::ConnAck(_)]))
        };
        let versions = [Version::V31, Version::V311, Version::V5];
        assert!(versions.into_iter().any(refused), "{:02x?}", self.inbox);
    }

    fn may_have(&self, bytes: &[u8], packet: &ServerPacket) {
        let foreign = match self.home {
            Home::Outside(_) => matches!(packet, ServerPacket::Publish(_)),
            Home::Team(mark) => mark.is_not_that_in(bytes),
            Home::All => false,
        };
        assert!(!foreign, "{:?} is handed {packet:?}", self.home);
    }

    fn reads_packet(&mut self, packet: ServerPacket, length: usize) {
        assert!(!self.dismissed, "after DISCONNECT: {packet:?}");
        // Until CONNACK there is nothing but the steps of an authentication.
        let is_welcome = matches!(packet, ServerPacket::ConnAck(_));
        let is_step = matches!(packet, ServerPacket::Auth { .. });
        assert!(self.welcome != is_welcome || is_step, "{packet:?}");
        match packet {
            ServerPacket::ConnAck(connack) => {
                self.welcome = true;
                self.session_present = connack.session_present;
            }
            ServerPacket::Publish(publish) => self.reads_message(&publish, length),
            ServerPacket::PubRel {
                packet_id,
                reason: ReasonCode::Success,
                ..
            } => {
                self.unanswered.insert(packet_id, Awaited::Complete);
            }
            ServerPacket::Disconnect { .. } => self.dismissed = true,
            _ => {}
        }
    }

    fn reads_message(&mut self, publish: &Publish, length: usize) {
        assert!(
            length <= self.max_packet_size || self.wild,
            "{length} bytes: {publish:?}"
        );
        // 3.1 cannot say that a session is present.
        let resumed = self.session_present || self.version == Some(Version::V31);
        assert!(!publish.dup || resumed, "a second try of nothing");
        let alias = |property: &Property| matches!(property, Property::TopicAlias(_));
        assert!(
            !publish.properties.iter().any(alias),
            "no alias was agreed on"
        );
        let Some(id) = publish.packet_id else { return };
        let awaited = match publish.qos {
            QoS::ExactlyOnce => Awaited::Received,
            _ => Awaited::Ack,
        };
        let before = self.unanswered.insert(id, awaited);
        if !self.wild {
            assert!(before.is_none(), "the identifier is in use: {publish:?}");
            let under_way = self.unanswered.values();
            let under_way = under_way
                .filter(|awaited| **awaited != Awaited::Complete)
                .count();
            assert!(
                under_way <= self.receive_maximum,
                "over the receive maximum"
            );
        }
    }

    /// The answer to one of the messages that wait for one.
    pub fn answer(&mut self, which: usize, reason: ReasonCode) -> Option<Vec<u8>> {
        let version = self.version();
        let place = which.checked_rem(self.unanswered.len())?;
        let (&id, &awaited) = self.unanswered.iter().nth(place)?;
        let refused = reason.is_error() && version == Version::V5;
        // A reason that does not fit the packet ends the connection, which is as good.
        let answer = match awaited {
            Awaited::Ack => client::puback(version, id, reason, &[]),
            Awaited::Received => client::pubrec(version, id, reason, &[]),
            Awaited::Complete => client::pubcomp(version, id, reason, &[]),
        };
        match awaited {
            // PUBREL follows.
            Awaited::Received if !refused => {}
            _ => {
                self.unanswered.remove(&id);
            }
        }
        Some(answer)
    }

    /// Messages that wait for an answer.
    pub fn unanswered(&self) -> usize {
        self.unanswered.len()
    }
}
