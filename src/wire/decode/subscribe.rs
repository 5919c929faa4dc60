//! SUBSCRIBE and UNSUBSCRIBE (sections 3.8 and 3.10).

use super::super::packet::{
    QoS, RetainHandling, Subscribe, SubscribeFilter, SubscriptionOptions, Unsubscribe, Version,
};
use super::super::property::UserProperties;
use super::super::reader::Reader;
use super::super::rule::{self, Read};
use super::super::section::{Property, Section};

pub(super) fn subscribe(body: &[u8], version: Version) -> Read<Subscribe<'_>> {
    let mut reader = Reader::new(body);
    let packet_id = reader.packet_id()?;
    let (subscription_id, user) = match version {
        Version::V5 => subscribe_properties(reader.properties()?)?,
        _ => (None, UserProperties::default()),
    };
    if reader.is_empty() {
        return Err(&rule::SUBSCRIBE_EMPTY);
    }
    let mut filters = Vec::new();
    while !reader.is_empty() {
        let filter = reader.text()?;
        let options = options(reader.u8()?, version)?;
        if options.no_local && filter.starts_with("$share/") {
            return Err(&rule::NO_LOCAL_SHARED);
        }
        filters.push(SubscribeFilter { filter, options });
    }
    Ok(Subscribe {
        packet_id,
        subscription_id,
        user,
        filters,
    })
}

pub(super) fn unsubscribe(body: &[u8], version: Version) -> Read<Unsubscribe<'_>> {
    let mut reader = Reader::new(body);
    let packet_id = reader.packet_id()?;
    let user = match version {
        Version::V5 => unsubscribe_properties(reader.properties()?)?,
        _ => UserProperties::default(),
    };
    if reader.is_empty() {
        return Err(&rule::UNSUBSCRIBE_EMPTY);
    }
    let mut filters = Vec::new();
    while !reader.is_empty() {
        filters.push(reader.text()?);
    }
    Ok(Unsubscribe {
        packet_id,
        user,
        filters,
    })
}

/// Section 3.8.3.1. In 3.x all but the QoS is reserved `[3.1.1: MQTT-3-8.3-4]`.
fn options(bits: u8, version: Version) -> Read<SubscriptionOptions> {
    let reserved = match version {
        Version::V5 => 0xC0,
        _ => 0xFC,
    };
    if bits & reserved != 0 {
        return Err(&rule::SUBSCRIPTION_OPTIONS);
    }
    Ok(SubscriptionOptions {
        qos: QoS::from_bits(bits & 0x03).ok_or(&rule::SUBSCRIPTION_QOS_3)?,
        no_local: bits & 0x04 != 0,
        retain_as_published: bits & 0x08 != 0,
        retain_handling: match bits >> 4 & 0x03 {
            0 => RetainHandling::Send,
            1 => RetainHandling::SendIfNew,
            2 => RetainHandling::DoNotSend,
            _ => return Err(&rule::RETAIN_HANDLING_3),
        },
    })
}

fn subscribe_properties(bytes: &[u8]) -> Read<(Option<u32>, UserProperties<'_>)> {
    let mut subscription_id = None;
    let mut section = Section::new(bytes);
    while let Some(property) = section.next()? {
        match property {
            Property::SubscriptionId(id) => subscription_id = Some(id),
            Property::User(..) => {}
            _ => return Err(&rule::PROPERTY_MISPLACED),
        }
    }
    Ok((subscription_id, UserProperties { section: bytes }))
}

fn unsubscribe_properties(bytes: &[u8]) -> Read<UserProperties<'_>> {
    let mut section = Section::new(bytes);
    while let Some(property) = section.next()? {
        if !matches!(property, Property::User(..)) {
            return Err(&rule::PROPERTY_MISPLACED);
        }
    }
    Ok(UserProperties { section: bytes })
}
