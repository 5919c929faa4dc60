//! Whether a PUBLISH that the broker wrote is the one that it owed.

use std::sync::Arc;

use cofferdam::session::Queued;
use cofferdam::time::Time;
use cofferdam::wire::client::{Property, Publish};
use cofferdam::wire::{QoS, Version};

use crate::cast::Person;
use crate::model::Entry;

/// Bytes of an alias in a PUBLISH.
const ALIAS: usize = 3;

/// Who reads.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    pub person: &'a Person,
    pub version: Version,
    pub max_packet: usize,
    pub now: Time,
}

impl Reader<'_> {
    /// Whether `publish`, its alias resolved, is what `entry` has to look like.
    pub fn takes(self, entry: &Entry, publish: &Publish) -> bool {
        let mut wanted = self.publish(entry);
        wanted.packet_id = publish.packet_id;
        wanted.dup = publish.dup;
        let mut found = publish.clone();
        found
            .properties
            .retain(|p| !matches!(p, Property::TopicAlias(_)));
        sort(&mut wanted.properties);
        sort(&mut found.properties);
        wanted == found
    }

    /// The packet without identifier and alias.
    pub fn publish(self, entry: &Entry) -> Publish {
        let message = &entry.message;
        let mut properties = Vec::new();
        if self.version == Version::V5 {
            properties.extend(message.properties.iter().cloned());
            let response = message.response_topic.as_deref();
            let response = response.and_then(|topic| self.person.sees(topic));
            properties.extend(response.map(|topic| Property::ResponseTopic(topic.to_owned())));
            if entry.id > 0 {
                properties.push(Property::SubscriptionId(entry.id));
            }
            if message.expires < Time::NEVER {
                let left = (message.expires - self.now).as_micros().div_ceil(1_000_000);
                properties.push(Property::MessageExpiry(left as u32));
            }
        }
        let topic = self.person.sees(&message.topic);
        Publish {
            dup: false,
            qos: entry.qos,
            retain: entry.retain,
            topic: topic.unwrap_or(&message.topic).to_owned(),
            packet_id: (entry.qos > QoS::AtMostOnce).then_some(1),
            properties,
            payload: message.payload.clone(),
        }
    }

    /// Whether the client may not be sent this, with an alias or without.
    pub fn may_be_too_large(self, entry: &Entry) -> bool {
        self.publish(entry).encode(self.version).len() + ALIAS > self.max_packet
    }
}

/// Whether a message in the broker's queue is this one.
pub fn is_queued(entry: &Entry, queued: &Queued) -> bool {
    let view = queued.message.view();
    let is_known = entry.seen.as_ref();
    let is_other = is_known.is_some_and(|seen| !Arc::ptr_eq(seen, &queued.message));
    !is_other
        && queued.qos == entry.qos
        && queued.retain == entry.retain
        && queued.subscription_id == entry.id
        && queued.share == entry.share
        && view.topic == entry.message.topic
        && view.payload == entry.message.payload
        && view.expires == entry.message.expires
}

/// In an order of their own; user properties keep theirs.
fn sort(properties: &mut [Property]) {
    properties.sort_by_key(|property| match property {
        Property::User(..) => String::from("User"),
        other => format!("{other:?}"),
    });
}
