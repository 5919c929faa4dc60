//! One client's end of the line.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::net::Net;
use cofferdam::wire::client::{self, ConnAck, Property, Publish, ServerPacket};
use cofferdam::wire::{QoS, ReasonCode, RetainHandling, SubscriptionOptions, Version};

/// A client. When it is let go its connection stays as it is.
#[derive(Clone)]
pub struct Client {
    net: Rc<RefCell<Net>>,
    wire: usize,
}

/// Subscription options with nothing but a QoS.
pub const fn options(qos: QoS) -> SubscriptionOptions {
    SubscriptionOptions {
        qos,
        no_local: false,
        retain_as_published: false,
        retain_handling: RetainHandling::Send,
    }
}

impl Client {
    pub(super) const fn new(net: Rc<RefCell<Net>>, wire: usize) -> Self {
        Self { net, wire }
    }

    /// The version that it speaks.
    pub fn version(&self) -> Version {
        self.net.borrow().wires[self.wire].version
    }

    /// Sends bytes.
    pub fn send(&self, bytes: impl AsRef<[u8]>) {
        self.net.borrow_mut().send(self.wire, bytes.as_ref());
    }

    /// Sends bytes that the broker does not read before its next turn.
    pub fn send_later(&self, bytes: impl AsRef<[u8]>) {
        let mut net = self.net.borrow_mut();
        net.wires[self.wire].unread.extend(bytes.as_ref());
    }

    /// Bytes that it sent and the broker has not read.
    pub fn unread(&self) -> usize {
        self.net.borrow().wires[self.wire].unread.len()
    }

    /// Neither side has closed the connection.
    pub fn is_open(&self) -> bool {
        self.net.borrow().wires[self.wire].open
    }

    /// The shard where its connection is.
    pub fn shard(&self) -> Option<u16> {
        let net = self.net.borrow();
        net.wires[self.wire].at.map(|(shard, _)| shard)
    }

    /// Bytes that wait for it in the broker.
    pub fn outbox(&self) -> usize {
        let mut net = self.net.borrow_mut();
        let at = net.wires[self.wire].at;
        let outbox = at.and_then(|(shard, conn)| {
            let outbox = net.shards[usize::from(shard)].outbox(conn)?;
            Some(outbox.len())
        });
        outbox.unwrap_or(0)
    }

    /// The network fails: the connection ends without DISCONNECT.
    pub fn cut(&self) {
        self.net.borrow_mut().cut(self.wire);
    }

    /// DISCONNECT; the broker closes.
    #[track_caller]
    pub fn disconnect(&self) {
        self.disconnect_with(ReasonCode::Success, &[]);
    }

    /// DISCONNECT with a reason and properties; the broker closes without a word.
    #[track_caller]
    pub fn disconnect_with(&self, reason: ReasonCode, properties: &[Property]) {
        self.send(client::disconnect(self.version(), reason, properties));
        assert!(!self.is_open(), "the broker closes after DISCONNECT");
    }

    /// Takes no more bytes until [`read_on`](Self::read_on).
    pub fn stop_reading(&self) {
        self.net.borrow_mut().make_room(self.wire, 0);
    }

    /// Takes so many bytes and then no more.
    pub fn read_some(&self, count: usize) {
        self.net.borrow_mut().make_room(self.wire, count);
    }

    /// Takes everything again.
    pub fn read_on(&self) {
        self.net.borrow_mut().make_room(self.wire, usize::MAX);
    }

    /// The bytes received since they were last looked at.
    pub fn bytes(&self) -> Vec<u8> {
        std::mem::take(&mut self.net.borrow_mut().wires[self.wire].inbox)
    }

    /// The packets received since they were last looked at; nothing is acknowledged.
    #[track_caller]
    pub fn received(&self) -> Vec<ServerPacket> {
        let mut net = self.net.borrow_mut();
        let line = &mut net.wires[self.wire];
        let mut packets = Vec::new();
        let mut used = 0;
        loop {
            match client::read(&line.inbox[used..], line.version) {
                Ok(Some((packet, length))) => {
                    packets.push(packet);
                    used += length;
                }
                Ok(None) => break,
                Err(error) => panic!("{error}: {:02x?}", &line.inbox[used..]),
            }
        }
        line.inbox.drain(..used);
        packets
    }

    /// The one packet received.
    #[track_caller]
    pub fn answer(&self) -> ServerPacket {
        let mut packets = self.received();
        assert_eq!(packets.len(), 1, "one packet and no more: {packets:?}");
        packets.remove(0)
    }

    /// The one packet received, which must be CONNACK.
    #[track_caller]
    pub fn connack(&self) -> ConnAck {
        match self.answer() {
            ServerPacket::ConnAck(connack) => connack,
            other => panic!("not CONNACK: {other:?}"),
        }
    }

    /// A packet identifier that it has not used for long.
    pub fn fresh_id(&self) -> u16 {
        let mut net = self.net.borrow_mut();
        let next = &mut net.wires[self.wire].next_id;
        *next = next.checked_add(1).unwrap_or(1);
        *next
    }

    /// Subscribes and is granted what it asked for. Retained messages stay in the inbox.
    #[track_caller]
    pub fn subscribe(&self, filter: &str, qos: QoS) {
        let codes = self.try_subscribe(&[(filter, options(qos))], &[]);
        assert_eq!(codes[0].as_byte(), qos as u8, "{filter}: {codes:?}");
    }

    /// Subscribes, under a subscription identifier.
    #[track_caller]
    pub fn subscribe_as(&self, filter: &str, qos: QoS, id: u32) {
        let codes = self.try_subscribe(&[(filter, options(qos))], &[Property::SubscriptionId(id)]);
        assert_eq!(codes[0].as_byte(), qos as u8, "{filter}: {codes:?}");
    }

    /// The answer to a SUBSCRIBE. What else comes stays in the inbox.
    #[track_caller]
    pub fn try_subscribe(
        &self,
        filters: &[(&str, SubscriptionOptions)],
        properties: &[Property],
    ) -> Vec<ReasonCode> {
        let id = self.fresh_id();
        self.send(client::subscribe(self.version(), id, filters, properties));
        self.take(|packet| match packet {
            ServerPacket::SubAck {
                packet_id, codes, ..
            } if packet_id == id => Some(codes),
            _ => None,
        })
    }

    /// The answer to an UNSUBSCRIBE; in 3.x there are no codes.
    #[track_caller]
    pub fn unsubscribe(&self, filters: &[&str]) -> Vec<ReasonCode> {
        let id = self.fresh_id();
        self.send(client::unsubscribe(self.version(), id, filters, &[]));
        self.take(|packet| match packet {
            ServerPacket::UnsubAck {
                packet_id, codes, ..
            } if packet_id == id => Some(codes),
            _ => None,
        })
    }

    /// Takes the first packet that `wanted` knows out of the inbox.
    #[track_caller]
    fn take<T>(&self, wanted: impl Fn(ServerPacket) -> Option<T>) -> T {
        let mut net = self.net.borrow_mut();
        let line = &mut net.wires[self.wire];
        let mut start = 0;
        while let Ok(Some((packet, length))) = client::read(&line.inbox[start..], line.version) {
            if let Some(found) = wanted(packet) {
                line.inbox.drain(start..start + length);
                return found;
            }
            start += length;
        }
        panic!("the answer did not come: {:02x?}", line.inbox);
    }

    /// Publishes at QoS 0.
    pub fn publish(&self, topic: &str, payload: &str) {
        self.put(Publish::new(topic, payload.as_bytes()));
    }

    /// Publishes at QoS 0, to be retained.
    pub fn retain(&self, topic: &str, payload: &str) {
        self.put(Publish {
            retain: true,
            ..Publish::new(topic, payload.as_bytes())
        });
    }

    /// Publishes at any QoS to the end of the flow, and says what the answer was.
    #[track_caller]
    pub fn publish_at(&self, qos: QoS, topic: &str, payload: &str) -> ReasonCode {
        self.complete(Publish {
            qos,
            ..Publish::new(topic, payload.as_bytes())
        })
    }

    /// Sends PUBLISH as it is.
    pub fn put(&self, publish: Publish) {
        self.send(publish.encode(self.version()));
    }

    /// Publishes under a fresh identifier to the end of the flow, and says what the answer was.
    /// What else comes meanwhile stays in the inbox.
    #[track_caller]
    pub fn complete(&self, mut publish: Publish) -> ReasonCode {
        let version = self.version();
        if publish.qos == QoS::AtMostOnce {
            self.put(publish);
            return ReasonCode::Success;
        }
        let id = self.fresh_id();
        publish.packet_id = Some(id);
        let qos = publish.qos;
        self.put(publish);
        let reason = self.take_ack(id, if qos == QoS::AtLeastOnce { 0x40 } else { 0x50 });
        if qos == QoS::ExactlyOnce && !reason.is_error() {
            self.send(client::pubrel(version, id, ReasonCode::Success, &[]));
            assert_eq!(self.take_ack(id, 0x70), ReasonCode::Success);
        }
        reason
    }

    /// Takes the acknowledgement of this kind out of the inbox.
    #[track_caller]
    fn take_ack(&self, id: u16, kind: u8) -> ReasonCode {
        let (acknowledged, reason) = self.take(|packet| match packet {
            ServerPacket::PubAck {
                packet_id, reason, ..
            } if kind == 0x40 => Some((packet_id, reason)),
            ServerPacket::PubRec {
                packet_id, reason, ..
            } if kind == 0x50 => Some((packet_id, reason)),
            ServerPacket::PubComp {
                packet_id, reason, ..
            } if kind == 0x70 => Some((packet_id, reason)),
            _ => None,
        });
        assert_eq!(acknowledged, id, "the acknowledgement of another message");
        reason
    }

    /// The messages received, each acknowledged to the end of its flow, and those that follow
    /// thereupon; nothing else may have come.
    #[track_caller]
    pub fn messages(&self) -> Vec<Publish> {
        let version = self.version();
        let mut messages = Vec::new();
        let mut packets = VecDeque::from(self.received());
        while let Some(packet) = packets.pop_front() {
            match packet {
                ServerPacket::Publish(publish) => {
                    let id = publish.packet_id.unwrap_or_default();
                    match publish.qos {
                        QoS::AtMostOnce => {}
                        QoS::AtLeastOnce => {
                            self.send(client::puback(version, id, ReasonCode::Success, &[]));
                        }
                        QoS::ExactlyOnce => {
                            self.send(client::pubrec(version, id, ReasonCode::Success, &[]));
                        }
                    }
                    messages.push(publish);
                }
                ServerPacket::PubRel {
                    packet_id, reason, ..
                } => {
                    assert_eq!(reason, ReasonCode::Success);
                    self.send(client::pubcomp(
                        version,
                        packet_id,
                        ReasonCode::Success,
                        &[],
                    ));
                }
                other => panic!("no message: {other:?}"),
            }
            packets.extend(self.received());
        }
        messages
    }

    /// The [`messages`](Self::messages), each as topic and payload.
    #[track_caller]
    pub fn heard(&self) -> Vec<String> {
        let messages = self.messages().into_iter();
        let told = messages.map(|message| {
            format!(
                "{} {}",
                message.topic,
                String::from_utf8_lossy(&message.payload)
            )
        });
        told.collect()
    }
}
