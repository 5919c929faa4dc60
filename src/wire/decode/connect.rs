//! CONNECT (section 3.1).

use std::num::NonZeroU16;

use super::super::packet::{Connect, ConnectProperties, QoS, Version, Will};
use super::super::property::UserProperties;
use super::super::reader::Reader;
use super::super::rule::{self, Read};
use super::super::section::{Property, Section};
use super::publish::{NO_PROPERTIES, is_wild, will_properties};

const RESERVED: u8 = 0x01;
const CLEAN_START: u8 = 0x02;
const WILL: u8 = 0x04;
const WILL_RETAIN: u8 = 0x20;
const PASSWORD: u8 = 0x40;
const USERNAME: u8 = 0x80;

/// The level's high bit, by which bridges tell that they are one.
const BRIDGE: u8 = 0x80;

pub(super) fn connect(body: &[u8]) -> Read<Box<Connect<'_>>> {
    let mut reader = Reader::new(body);
    let name = reader.text()?;
    let level = reader.u8()?;
    let version = match (name, level & !BRIDGE) {
        ("MQIsdp", 3) => Version::V31,
        ("MQTT", 4) => Version::V311,
        ("MQTT", 5) => Version::V5,
        ("MQTT" | "MQIsdp", _) => return Err(&rule::PROTOCOL_LEVEL),
        _ => return Err(&rule::PROTOCOL_NAME),
    };
    let flags = reader.u8()?;
    check_flags(flags, version)?;
    let keep_alive = reader.u16()?;
    let properties = match version {
        Version::V5 => properties(reader.properties()?)?,
        _ => ConnectProperties::default(),
    };
    let client_id = reader.text()?;
    let will = match flags & WILL {
        0 => None,
        _ => Some(will(&mut reader, flags, version)?),
    };
    let username = match is_there(flags & USERNAME, reader, version) {
        true => Some(reader.text()?),
        false => None,
    };
    let password = match is_there(flags & PASSWORD, reader, version) {
        true => Some(reader.binary()?),
        false => None,
    };
    reader.end()?;
    Ok(Box::new(Connect {
        version,
        bridge: level & BRIDGE != 0,
        clean_start: flags & CLEAN_START != 0,
        keep_alive,
        client_id,
        will,
        username,
        password,
        properties,
    }))
}

/// See `decode::answer_version`.
pub(super) fn answer_version(body: &[u8]) -> Option<Version> {
    let mut reader = Reader::new(body);
    let name = reader.text().ok()?;
    let level = reader.u8().ok()? & !BRIDGE;
    match (name, level) {
        ("MQTT", 0..=4) => Some(Version::V311),
        ("MQTT", _) => Some(Version::V5),
        ("MQIsdp", _) => Some(Version::V31),
        _ => None,
    }
}

/// Sections 3.1.2.3 to 3.1.2.9.
fn check_flags(flags: u8, version: Version) -> Read<()> {
    // In 3.1 the bit is unused, not reserved.
    if flags & RESERVED != 0 && version != Version::V31 {
        return Err(&rule::CONNECT_FLAG);
    }
    let will_qos = will_qos_bits(flags);
    if flags & WILL == 0 && will_qos != 0 {
        return Err(&rule::WILL_QOS_WITHOUT_WILL);
    }
    if flags & WILL == 0 && flags & WILL_RETAIN != 0 {
        return Err(&rule::WILL_RETAIN_WITHOUT_WILL);
    }
    if will_qos == 3 {
        return Err(&rule::WILL_QOS_3);
    }
    if flags & (USERNAME | PASSWORD) == PASSWORD && version != Version::V5 {
        return Err(&rule::PASSWORD_WITHOUT_USERNAME);
    }
    Ok(())
}

const fn will_qos_bits(flags: u8) -> u8 {
    flags >> 3 & 0x03
}

/// Whether the field follows whose flag is given. In 3.1 the packet's end outranks the flag:
/// user name and password may be announced and missing (3.1, section 3.1, "User name and password
/// flags").
fn is_there(flag: u8, reader: Reader<'_>, version: Version) -> bool {
    flag != 0 && !(version == Version::V31 && reader.is_empty())
}

/// Sections 3.1.3.2 to 3.1.3.4.
fn will<'a>(reader: &mut Reader<'a>, flags: u8, version: Version) -> Read<Will<'a>> {
    let (delay, properties) = match version {
        Version::V5 => will_properties(reader.properties()?)?,
        _ => (0, NO_PROPERTIES),
    };
    let topic = reader.text()?;
    if topic.is_empty() {
        return Err(&rule::WILL_TOPIC_EMPTY);
    }
    if is_wild(topic) {
        return Err(&rule::WILL_TOPIC_WILD);
    }
    Ok(Will {
        topic,
        payload: reader.binary()?,
        qos: QoS::from_bits(will_qos_bits(flags)).ok_or(&rule::WILL_QOS_3)?,
        retain: flags & WILL_RETAIN != 0,
        delay,
        properties,
    })
}

/// Section 3.1.2.11.
fn properties(bytes: &[u8]) -> Read<ConnectProperties<'_>> {
    let mut properties = ConnectProperties {
        user: UserProperties { section: bytes },
        ..ConnectProperties::default()
    };
    let mut section = Section::new(bytes);
    while let Some(property) = section.next()? {
        match property {
            Property::SessionExpiry(seconds) => properties.session_expiry = seconds,
            Property::ReceiveMaximum(maximum) => {
                properties.receive_maximum =
                    NonZeroU16::new(maximum).ok_or(&rule::RECEIVE_MAXIMUM_0)?;
            }
            Property::MaximumPacketSize(size) => properties.maximum_packet_size = Some(size),
            Property::TopicAliasMaximum(maximum) => properties.topic_alias_maximum = maximum,
            Property::RequestResponseInformation(wanted) => {
                properties.request_response_information = wanted;
            }
            Property::RequestProblemInformation(wanted) => {
                properties.request_problem_information = wanted;
            }
            Property::User(..) => {}
            Property::AuthenticationMethod(method) => {
                properties.authentication_method = Some(method);
            }
            Property::AuthenticationData(data) => properties.authentication_data = Some(data),
            _ => return Err(&rule::PROPERTY_MISPLACED),
        }
    }
    if properties.authentication_data.is_some() && properties.authentication_method.is_none() {
        return Err(&rule::AUTHENTICATION_DATA_ALONE);
    }
    Ok(properties)
}
