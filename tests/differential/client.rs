//! A client that answers by itself what the protocol wants answered, and notes what it saw.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use cofferdam::wire::client::{self, Connect, Property, Publish, ServerPacket};
use cofferdam::wire::{QoS, ReasonCode, Version};

/// Noted where a broker took longer than the client waits.
pub const IN_VAIN: &str = "waited for an answer in vain";
pub const CLOSE_IN_VAIN: &str = "waited for the close in vain";

/// What a client saw.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    /// What is not a message comes first; then by topic.
    pub topic: Option<String>,
    /// A message's payload, by which the copies of one are known.
    pub payload: String,
    /// In one line.
    pub line: String,
}

/// A connection.
pub struct Client {
    stream: TcpStream,
    pub version: Version,
    inbox: Vec<u8>,
    pub seen: Vec<Seen>,
    /// The broker has not closed it.
    pub open: bool,
    next_id: u16,
    /// How long the broker may take for anything.
    patience: Duration,
}

impl Client {
    /// Connects and sends CONNECT. CONNACK is noted.
    pub fn connect(address: SocketAddr, patience: Duration, connect: &Connect) -> Self {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_nodelay(true).expect("an option");
        let mut client = Self {
            stream,
            version: connect.version,
            inbox: Vec::new(),
            seen: Vec::new(),
            open: true,
            next_id: 0,
            patience,
        };
        client.send(&connect.encode());
        client.wait(|packet| matches!(packet, ServerPacket::ConnAck(_)));
        client
    }

    pub fn send(&mut self, bytes: &[u8]) {
        if self.stream.write_all(bytes).is_err() {
            self.closed();
        }
    }

    pub fn fresh_id(&mut self) -> u16 {
        self.next_id += 1;
        self.next_id
    }

    /// Publishes to the end of the flow; what comes meanwhile is noted, the answers too.
    pub fn publish(&mut self, mut publish: Publish) {
        if publish.qos == QoS::AtMostOnce {
            self.send(&publish.encode(self.version));
            return self.ping();
        }
        let id = self.fresh_id();
        publish.packet_id = Some(id);
        self.send(&publish.encode(self.version));
        if publish.qos == QoS::AtLeastOnce {
            self.wait(|p| matches!(p, ServerPacket::PubAck { packet_id, .. } if *packet_id == id));
            return;
        }
        let mut refused = false;
        let answered = self.wait(|packet| match packet {
            ServerPacket::PubRec {
                packet_id, reason, ..
            } if *packet_id == id => {
                refused = reason.is_error();
                true
            }
            _ => false,
        });
        if answered && !refused {
            self.send(&client::pubrel(self.version, id, ReasonCode::Success, &[]));
            self.wait(|p| matches!(p, ServerPacket::PubComp { packet_id, .. } if *packet_id == id));
        }
    }

    /// Everything sent so far has been read by the broker.
    pub fn ping(&mut self) {
        self.send(&client::pingreq());
        self.wait(|packet| matches!(packet, ServerPacket::PingResp));
    }

    /// Reads until a packet is the one. Says whether it came; where not, that is noted.
    pub fn wait(&mut self, mut wanted: impl FnMut(&ServerPacket) -> bool) -> bool {
        let came = self.read_until(&mut wanted);
        if !came && self.open {
            self.note(IN_VAIN);
        }
        came
    }

    /// Reads until the broker closes.
    pub fn wait_for_close(&mut self) {
        self.read_until(&mut |_| false);
        if self.open {
            self.note(CLOSE_IN_VAIN);
        }
    }

    fn read_until(&mut self, wanted: &mut dyn FnMut(&ServerPacket) -> bool) -> bool {
        let until = Instant::now() + self.patience;
        loop {
            while let Some(packet) = self.next() {
                self.answer(&packet);
                self.look_at(&packet);
                if wanted(&packet) {
                    return true;
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            if !self.open || left.is_zero() {
                return false;
            }
            self.stream.set_read_timeout(Some(left)).expect("an option");
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer) {
                Ok(0) => self.closed(),
                Ok(count) => self.inbox.extend_from_slice(&buffer[..count]),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => self.closed(),
            }
        }
    }

    /// The next whole packet.
    fn next(&mut self) -> Option<ServerPacket> {
        match client::read(&self.inbox, self.version) {
            Ok(None) => None,
            Ok(Some((packet, length))) => {
                self.inbox.drain(..length);
                Some(packet)
            }
            Err(error) => {
                self.note(&format!("no server says this: {error}"));
                self.inbox.clear();
                self.closed();
                None
            }
        }
    }

    fn answer(&mut self, packet: &ServerPacket) {
        let (version, success) = (self.version, ReasonCode::Success);
        match packet {
            ServerPacket::Publish(publish) => match (publish.qos, publish.packet_id) {
                (QoS::AtLeastOnce, Some(id)) => {
                    self.send(&client::puback(version, id, success, &[]))
                }
                (QoS::ExactlyOnce, Some(id)) => {
                    self.send(&client::pubrec(version, id, success, &[]))
                }
                _ => {}
            },
            ServerPacket::PubRel { packet_id, .. } => {
                self.send(&client::pubcomp(version, *packet_id, success, &[]));
            }
            _ => {}
        }
    }

    fn closed(&mut self) {
        if self.open {
            self.open = false;
            self.note("closed");
        }
    }

    fn note(&mut self, line: &str) {
        self.seen.push(Seen {
            topic: None,
            payload: String::new(),
            line: line.to_owned(),
        });
    }

    /// Notes what a client can make out: packet identifiers, for one, say nothing.
    fn look_at(&mut self, packet: &ServerPacket) {
        let line = match packet {
            ServerPacket::Publish(publish) => {
                return self.seen.push(message(publish));
            }
            ServerPacket::ConnAck(connack) => {
                let present = connack.session_present;
                format!("CONNACK {:#04x} session present: {present}", connack.code)
            }
            ServerPacket::PubAck { reason, .. } => format!("PUBACK {}", reason.as_str()),
            ServerPacket::PubRec { reason, .. } => format!("PUBREC {}", reason.as_str()),
            ServerPacket::PubComp { reason, .. } => format!("PUBCOMP {}", reason.as_str()),
            ServerPacket::SubAck { codes, .. } => format!("SUBACK {codes:?}"),
            ServerPacket::UnsubAck { codes, .. } => format!("UNSUBACK {codes:?}"),
            ServerPacket::Disconnect { reason, .. } => format!("DISCONNECT {}", reason.as_str()),
            ServerPacket::PubRel { .. } | ServerPacket::PingResp | ServerPacket::Auth { .. } => {
                return;
            }
        };
        self.note(&line);
    }
}

fn message(publish: &Publish) -> Seen {
    let payload = String::from_utf8_lossy(&publish.payload);
    let mut line = format!("QoS {} {:?}", publish.qos as u8, payload);
    if publish.retain {
        line += " retain";
    }
    if publish.dup {
        line += " dup";
    }
    let (user, mut rest): (Vec<_>, Vec<_>) = publish
        .properties
        .iter()
        .map(|property| match property {
            // It counts down.
            Property::MessageExpiry(left @ 900..=1000) => {
                Property::MessageExpiry(left.div_ceil(1000))
            }
            other => other.clone(),
        })
        .partition(|property| matches!(property, Property::User(..)));
    rest.sort_by_key(|property| format!("{property:?}"));
    for property in rest.iter().chain(&user) {
        line += &format!(" {property:?}");
    }
    Seen {
        topic: Some(publish.topic.clone()),
        payload: payload.into_owned(),
        line,
    }
}
