//! PUBLISH, the hot path, and the properties that a will shares with it.

use super::super::packet::{Publish, QoS, Version};
use super::super::property::{PublishProperties, UserProperties};
use super::super::reader::Reader;
use super::super::rule::{self, Read};
use super::super::section::{Borrowed, Property, Section};

/// Section 3.3. `flags` are the lower four bits of the fixed header.
#[inline]
pub(super) fn publish(flags: u8, body: &[u8], version: Version) -> Read<Publish<'_>> {
    let qos = QoS::from_bits(flags >> 1 & 0x03).ok_or(&rule::QOS_3)?;
    let dup = flags & 0x08 != 0;
    if dup && qos == QoS::AtMostOnce {
        return Err(&rule::DUP_AT_QOS_0);
    }
    let mut reader = Reader::new(body);
    let topic = reader.text()?;
    if is_wild(topic) {
        return Err(&rule::TOPIC_WILD);
    }
    let packet_id = match qos {
        QoS::AtMostOnce => None,
        _ => Some(reader.packet_id()?),
    };
    let properties = match version {
        Version::V5 => match reader.properties()? {
            [] => NO_PROPERTIES,
            section => properties(section)?,
        },
        _ => NO_PROPERTIES,
    };
    if topic.is_empty() {
        topic_may_be_empty(version, &properties)?;
    }
    Ok(Publish {
        dup,
        qos,
        retain: flags & 0x01 != 0,
        topic,
        packet_id,
        properties,
        payload: reader.rest(),
    })
}

pub(super) const NO_PROPERTIES: PublishProperties<'_> = PublishProperties {
    payload_is_utf8: false,
    message_expiry: None,
    topic_alias: None,
    response_topic: None,
    correlation_data: None,
    content_type: None,
    user: UserProperties { section: &[] },
    all_passed_on: true,
};

/// Whether a topic has a wildcard, which no topic name may. No early exit: so the compiler compares
/// many bytes at a time, and a topic of 100 bytes costs a third of what it would.
#[inline]
pub(super) fn is_wild(topic: &str) -> bool {
    topic
        .bytes()
        .fold(false, |wild, byte| wild | (byte == b'+') | (byte == b'#'))
}

/// Only where a topic alias stands for it.
#[cold]
fn topic_may_be_empty(version: Version, properties: &PublishProperties<'_>) -> Read<()> {
    match (version, properties.topic_alias) {
        (Version::V5, Some(_)) => Ok(()),
        (Version::V5, None) => Err(&rule::TOPIC_AND_ALIAS_MISSING),
        (Version::V31 | Version::V311, _) => Err(&rule::TOPIC_EMPTY),
    }
}

/// Section 3.3.2.3.
fn properties(bytes: &[u8]) -> Read<PublishProperties<'_>> {
    let mut properties = NO_PROPERTIES;
    properties.user = UserProperties { section: bytes };
    let mut section = Section::new(bytes);
    while let Some(property) = section.next()? {
        match property {
            Property::TopicAlias(alias) => {
                properties.topic_alias = Some(alias);
                properties.all_passed_on = false;
            }
            Property::SubscriptionId(_) => return Err(&rule::SUBSCRIPTION_ID_IN_PUBLISH),
            other => shared_with_will(&mut properties, other)?,
        }
    }
    Ok(properties)
}

/// Section 3.1.3.2: the delay, and what travels with the will.
pub(super) fn will_properties(bytes: &[u8]) -> Read<(u32, PublishProperties<'_>)> {
    let mut delay = 0;
    let mut properties = NO_PROPERTIES;
    properties.user = UserProperties { section: bytes };
    let mut section = Section::new(bytes);
    while let Some(property) = section.next()? {
        match property {
            Property::WillDelay(seconds) => {
                delay = seconds;
                properties.all_passed_on = false;
            }
            other => shared_with_will(&mut properties, other)?,
        }
    }
    Ok((delay, properties))
}

#[inline]
fn shared_with_will<'a>(
    properties: &mut PublishProperties<'a>,
    property: Borrowed<'a>,
) -> Read<()> {
    match property {
        Property::User(..) => {}
        Property::PayloadFormat(utf8) => properties.payload_is_utf8 = utf8,
        Property::ContentType(text) => properties.content_type = Some(text),
        Property::CorrelationData(data) => properties.correlation_data = Some(data),
        Property::MessageExpiry(seconds) => {
            properties.message_expiry = Some(seconds);
            properties.all_passed_on = false;
        }
        Property::ResponseTopic("") => return Err(&rule::RESPONSE_TOPIC_EMPTY),
        Property::ResponseTopic(topic) if is_wild(topic) => return Err(&rule::RESPONSE_TOPIC_WILD),
        Property::ResponseTopic(topic) => {
            properties.response_topic = Some(topic);
            properties.all_passed_on = false;
        }
        _ => return Err(&rule::PROPERTY_MISPLACED),
    }
    Ok(())
}
