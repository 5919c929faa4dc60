//! A PUBLISH towards clients, encoded once for all who see it alike.

use std::sync::Arc;

use super::alias::Alias;
use super::connection::Conn;
use super::outbox::{BufferPool, Due, SHARE_FROM};
use super::publish::Passing;
use crate::session::{Queued, Session};
use crate::team::{Message, MessageView};
use crate::time::Time;
use crate::wire::encode::{self, PublishHead};
use crate::wire::{PacketId, QoS, Version};

/// A message as encoded last. Receivers that see it in the same form get the same bytes, but for
/// the packet identifier.
#[derive(Debug, Default)]
pub(super) struct Form {
    of: Option<FormKey>,
    bytes: Vec<u8>,
    /// Where the packet identifier lies.
    id_at: Option<usize>,
    /// The payload is not in `bytes` but follows them.
    shares_payload: bool,
}

/// What makes two receivers' bytes differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FormKey {
    version: Version,
    qos: QoS,
    retain: bool,
    subscription_id: u32,
    mount_length: usize,
    alias: Option<Alias>,
}

/// How one receiver gets a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) subscription_id: u32,
    pub(super) share: u32,
    pub(super) copy: u32,
}

/// A packet identifier to encode before the true one is known.
const ANY_ID: PacketId = PacketId::MIN;

impl Terms {
    pub(super) const fn queued(self, message: Arc<Message>) -> Queued {
        Queued {
            message,
            qos: self.qos,
            retain: self.retain,
            subscription_id: self.subscription_id,
            share: self.share,
            copy: self.copy,
        }
    }
}

impl Form {
    /// Encodes the message as this receiver sees it, unless it already is. `may_wait`: other packets
    /// may overtake it, so that it can have no part in topic aliases. `false`: the packet is larger
    /// than the client takes.
    pub(super) fn fit(
        &mut self,
        session: &Session,
        conn: &Conn,
        view: &MessageView<'_>,
        terms: Terms,
        may_wait: bool,
        now: Time,
    ) -> bool {
        let alias = match may_wait {
            true => None,
            false => conn.sent_aliases.choose(seen_as(session, view.topic)),
        };
        let key = FormKey {
            version: conn.version,
            qos: terms.qos,
            retain: terms.retain,
            subscription_id: terms.subscription_id,
            mount_length: session.grant.mount().len(),
            alias,
        };
        if self.of != Some(key) {
            self.encode(session, view, key, now);
        }
        let payload = if self.shares_payload {
            view.payload.len()
        } else {
            0
        };
        self.bytes.len() + payload <= conn.max_packet as usize
    }

    fn encode(&mut self, session: &Session, view: &MessageView<'_>, key: FormKey, now: Time) {
        let topic = seen_as(session, view.topic);
        let head = PublishHead {
            version: key.version,
            dup: false,
            qos: key.qos,
            retain: key.retain,
            topic: if key.alias.is_some_and(|alias| alias.is_known) {
                ""
            } else {
                topic
            },
            packet_id: (key.qos > QoS::AtMostOnce).then_some(ANY_ID),
            topic_alias: key.alias.map(|alias| alias.number),
            message_expiry: seconds_left(view.expires, now),
            response_topic: view.response_topic.and_then(|topic| session.unmount(topic)),
            subscription_id: (key.subscription_id != 0).then_some(key.subscription_id),
            passed_on: view.passed_on,
            payload_length: view.payload.len(),
        };
        self.bytes.clear();
        self.id_at = encode::publish_head(&mut self.bytes, &head);
        self.shares_payload = view.payload.len() >= SHARE_FROM;
        if !self.shares_payload {
            self.bytes.extend_from_slice(view.payload);
        }
        self.of = Some(key);
    }

    /// Adds the encoded message to an outbox, under the receiver's packet identifier; `held` until
    /// that commit is kept.
    #[allow(clippy::too_many_arguments)] // the parts of a shard, borrowed one by one
    pub(super) fn push(
        &self,
        session: &Session,
        conn: &mut Conn,
        pool: &mut BufferPool,
        passing: &Passing<'_>,
        id: Option<PacketId>,
        dup: bool,
        held: Option<Due>,
    ) {
        let head = |out: &mut Vec<u8>| {
            let start = out.len();
            out.extend_from_slice(&self.bytes);
            if let (Some(at), Some(id)) = (self.id_at, id) {
                out[start + at..start + at + 2].copy_from_slice(&id.get().to_be_bytes());
            }
            if dup {
                out[start] |= 0x08;
            }
        };
        match held {
            Some(due) => conn.outbox.hold(due, |out| {
                head(out);
                if self.shares_payload {
                    out.extend_from_slice(passing.view.payload);
                }
            }),
            None => {
                head(conn.outbox.buffer(pool));
                if self.shares_payload {
                    conn.outbox.share(passing.kept().payload());
                }
            }
        }
        if let Some(alias) = self.of.and_then(|key| key.alias)
            && !alias.is_known
        {
            conn.sent_aliases
                .set(alias.number, seen_as(session, passing.view.topic));
        }
    }

    /// Another message comes.
    pub(super) const fn forget(&mut self) {
        self.of = None;
    }
}

/// The topic as the session's client sees it. Routes of a mounted session lie below its mount.
fn seen_as<'t>(session: &Session, topic: &'t str) -> &'t str {
    session.unmount(topic).unwrap_or(topic)
}

/// Message expiry as the receiver is told it `[MQTT-3.3.2-6]`: what is left, in seconds, begun
/// ones counted whole so that a message passed on at once keeps its number.
fn seconds_left(expires: Time, now: Time) -> Option<u32> {
    if expires == Time::NEVER {
        return None;
    }
    let left = (expires - now).as_micros().div_ceil(1_000_000);
    Some(u32::try_from(left).unwrap_or(u32::MAX))
}
