//! A publisher that does what the standard asks of a client whose connection breaks.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use cofferdam::wire::client::{Property, Publish, ServerPacket, pubrel};
use cofferdam::wire::{QoS, ReasonCode, Version};

use crate::line::Line;
use crate::running::{Broker, Login};

/// Messages that it has under way at a time.
const WINDOW: usize = 8;

/// What project-link nodes put on their messages.
pub const USER_PROPERTIES: [(&str, &str); 2] = [("_msgid", "x"), ("_links", "1")];

/// Publishes 1, 2, 3 … to one topic, each again until it is acknowledged.
#[derive(Debug)]
pub struct Publisher {
    pub login: Login,
    version: Version,
    pub topic: &'static str,
    pub qos: QoS,
    retain: bool,
    window: usize,
    next: u64,
    under_way: VecDeque<UnderWay>,
    last_acknowledged: Option<u64>,
}

#[derive(Debug)]
struct UnderWay {
    number: u64,
    /// PUBREC came for it.
    is_received: bool,
    /// PUBREL went out on a connection that broke: perhaps the broker has it.
    is_again: bool,
}

impl Publisher {
    pub fn new(login: Login, version: Version, topic: &'static str, qos: QoS) -> Self {
        Self {
            login,
            version,
            topic,
            qos,
            retain: false,
            window: WINDOW,
            next: 1,
            under_way: VecDeque::new(),
            last_acknowledged: None,
        }
    }

    /// To be retained: one at a time, so that the last acknowledged is known.
    pub fn retaining(self) -> Self {
        Self {
            retain: true,
            window: 1,
            ..self
        }
    }

    /// How many were acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.next - 1 - self.under_way.len() as u64
    }

    pub const fn last_acknowledged(&self) -> Option<&u64> {
        self.last_acknowledged.as_ref()
    }

    pub const fn last_sent(&self) -> u64 {
        self.next - 1
    }

    /// Publishes until the connection breaks.
    pub fn run(&mut self, broker: &Broker, stop: &AtomicBool) {
        let _ = self.until_it_breaks(broker, stop);
    }

    fn until_it_breaks(&mut self, broker: &Broker, stop: &AtomicBool) -> io::Result<()> {
        let (mut line, present) = Line::open(broker, &self.login, self.version)?;
        // A session that has answered is there; its identifiers with it.
        let was_there =
            self.last_acknowledged.is_some() || self.under_way.iter().any(|it| it.is_received);
        assert!(present || !was_there, "{}'s session", self.topic);
        for it in &mut self.under_way {
            it.is_again = it.is_received;
        }
        for it in &self.under_way {
            line.send(&match it.is_received {
                true => self.release(it.number),
                false => self.publish(it.number, true),
            })?;
        }
        while !stop.load(Ordering::Acquire) {
            self.fill_window(&mut line, u64::MAX)?;
            self.answer(&mut line)?;
        }
        Ok(())
    }

    /// Until so many are acknowledged in all.
    pub fn run_until(&mut self, broker: &Broker, count: u64) {
        let (mut line, _) = Line::open(broker, &self.login, self.version).expect("a session");
        while self.acknowledged() < count {
            self.fill_window(&mut line, count).expect("sent");
            self.answer(&mut line).expect("acknowledged");
        }
    }

    fn fill_window(&mut self, line: &mut Line, last: u64) -> io::Result<()> {
        while self.under_way.len() < self.window && self.next <= last {
            let number = self.next;
            // Under way from here on: the broker may have it whatever the socket says.
            self.next += 1;
            self.under_way.push_back(UnderWay {
                number,
                is_received: false,
                is_again: false,
            });
            line.send(&self.publish(number, false))?;
        }
        Ok(())
    }

    /// Takes one answer, and gives the next packet where one is due.
    fn answer(&mut self, line: &mut Line) -> io::Result<()> {
        match line.packet()? {
            ServerPacket::PubAck { packet_id, .. } if self.qos == QoS::AtLeastOnce => {
                self.finish(packet_id);
            }
            ServerPacket::PubRec {
                packet_id, reason, ..
            } => {
                assert!(!reason.is_error(), "{reason:?}");
                let place = self.place(packet_id);
                let it = &mut self.under_way[place];
                it.is_received = true;
                let number = it.number;
                line.send(&self.release(number))?;
            }
            ServerPacket::PubComp {
                packet_id, reason, ..
            } => {
                let is_again = self.under_way[self.place(packet_id)].is_again;
                let may_be_unknown = is_again && reason == ReasonCode::PacketIdentifierNotFound;
                assert!(!reason.is_error() || may_be_unknown, "{reason:?}");
                self.finish(packet_id);
            }
            other => panic!("{}: no acknowledgement: {other:?}", self.topic),
        }
        Ok(())
    }

    fn finish(&mut self, id: u16) {
        let place = self.place(id);
        let number = self.under_way.remove(place).map(|it| it.number);
        self.last_acknowledged = self.last_acknowledged.max(number);
    }

    fn place(&self, id: u16) -> usize {
        let place = self.under_way.iter().position(|it| id_of(it.number) == id);
        place.unwrap_or_else(|| panic!("{}: {id} is not under way", self.topic))
    }

    fn publish(&self, number: u64, dup: bool) -> Vec<u8> {
        let mut properties = vec![Property::MessageExpiry(120)];
        let users = USER_PROPERTIES.map(|(key, value)| Property::User(key.into(), value.into()));
        properties.extend(users);
        let publish = Publish {
            dup,
            retain: self.retain,
            properties,
            ..Publish::new(self.topic, number.to_string().as_bytes()).at(self.qos, id_of(number))
        };
        publish.encode(self.version)
    }

    fn release(&self, number: u64) -> Vec<u8> {
        pubrel(self.version, id_of(number), ReasonCode::Success, &[])
    }
}

const fn id_of(number: u64) -> u16 {
    (number % 60_000) as u16 + 1
}
