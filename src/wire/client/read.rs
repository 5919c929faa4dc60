//! What a client reads. Strict: a packet that no server may send is an error, so that a test which
//! reads the broker's answers also checks their form.

use super::{Property, Publish};
use crate::wire::decode::{DecodeError, Framing, frame};
use crate::wire::packet::{QoS, Version};
use crate::wire::reader::Reader;
use crate::wire::reason::ReasonCode;
use crate::wire::rule::{self, Read};
use crate::wire::section::Section;

/// A packet that a server sent. Reasons are [`ReasonCode::Success`] where 3.x has none.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // the names are the standard's
pub enum ServerPacket {
    ConnAck(ConnAck),
    Publish(Publish),
    PubAck {
        packet_id: u16,
        reason: ReasonCode,
        properties: Vec<Property>,
    },
    PubRec {
        packet_id: u16,
        reason: ReasonCode,
        properties: Vec<Property>,
    },
    PubRel {
        packet_id: u16,
        reason: ReasonCode,
        properties: Vec<Property>,
    },
    PubComp {
        packet_id: u16,
        reason: ReasonCode,
        properties: Vec<Property>,
    },
    SubAck {
        packet_id: u16,
        codes: Vec<ReasonCode>,
        properties: Vec<Property>,
    },
    UnsubAck {
        packet_id: u16,
        codes: Vec<ReasonCode>,
        properties: Vec<Property>,
    },
    PingResp,
    Disconnect {
        reason: ReasonCode,
        properties: Vec<Property>,
    },
    Auth {
        reason: ReasonCode,
        properties: Vec<Property>,
    },
}

/// CONNACK.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnAck {
    /// The server had a session.
    pub session_present: bool,
    /// Reason code (5.0) or return code (3.x, 0 to 5).
    pub code: u8,
    /// Empty in 3.x.
    pub properties: Vec<Property>,
}

const MISFORMED: DecodeError = DecodeError {
    code: ReasonCode::MalformedPacket,
    what: "no server sends this",
    statement: "section 2.1.2",
};

/// Reads the packet at the front of `bytes` and says how many bytes it took; `None` when more are
/// needed.
///
/// # Errors
/// When no server may send this in `version`.
pub fn read(bytes: &[u8], version: Version) -> Result<Option<(ServerPacket, usize)>, DecodeError> {
    let Framing::Whole(frame) = frame(bytes, u32::MAX)? else {
        return Ok(None);
    };
    let mut body = Reader::new(frame.body);
    let packet = packet(frame.first, &mut body, version).map_err(|error| *error)?;
    body.end().map_err(|error| *error)?;
    Ok(Some((packet, frame.length)))
}

/// Reads all that `bytes` holds, which must end with a packet's end.
///
/// # Errors
/// As [`read`], or when the last packet is incomplete.
pub fn read_all(mut bytes: &[u8], version: Version) -> Result<Vec<ServerPacket>, DecodeError> {
    let mut packets = Vec::new();
    while !bytes.is_empty() {
        let (packet, length) = read(bytes, version)?.ok_or(rule::SHORT)?;
        packets.push(packet);
        bytes = &bytes[length..];
    }
    Ok(packets)
}

fn packet(first: u8, body: &mut Reader<'_>, version: Version) -> Read<ServerPacket> {
    let v5 = version == Version::V5;
    match first {
        0x20 => connack(body, version),
        0x30..=0x3F => publish(first, body, version),
        0x40 | 0x50 | 0x62 | 0x70 => ack(first, body, version),
        0x90 => {
            let (packet_id, properties) = id_and_properties(body, version)?;
            let codes = codes(body, |code| match version {
                Version::V31 => matches!(code.as_byte(), 0..=2),
                Version::V311 => matches!(code.as_byte(), 0..=2 | 0x80),
                Version::V5 => code.fits_suback(),
            })?;
            if codes.is_empty() {
                return Err(&MISFORMED);
            }
            Ok(ServerPacket::SubAck {
                packet_id,
                codes,
                properties,
            })
        }
        0xB0 => {
            let (packet_id, properties) = id_and_properties(body, version)?;
            let codes = codes(body, |code| v5 && code.fits_unsuback())?;
            if codes.is_empty() == v5 {
                return Err(&MISFORMED);
            }
            Ok(ServerPacket::UnsubAck {
                packet_id,
                codes,
                properties,
            })
        }
        0xD0 => Ok(ServerPacket::PingResp),
        0xE0 if v5 => {
            let (reason, properties) = reason(body, version, ReasonCode::fits_server_disconnect)?;
            Ok(ServerPacket::Disconnect { reason, properties })
        }
        0xF0 if v5 => {
            let (reason, properties) = reason(body, version, ReasonCode::fits_server_auth)?;
            Ok(ServerPacket::Auth { reason, properties })
        }
        _ => Err(&MISFORMED),
    }
}

fn connack(body: &mut Reader<'_>, version: Version) -> Read<ServerPacket> {
    let (flags, code) = (body.u8()?, body.u8()?);
    let known = if version == Version::V5 {
        ReasonCode::from_byte(code).is_some_and(ReasonCode::fits_connack)
    } else {
        code <= 5
    };
    // A session is present only where the connection is accepted [MQTT-3.2.2-6], and 3.1 has no
    // such flag.
    let flag_allowed = code == 0 && version != Version::V31;
    if !known || flags > u8::from(flag_allowed) {
        return Err(&MISFORMED);
    }
    Ok(ServerPacket::ConnAck(ConnAck {
        session_present: flags == 1,
        code,
        properties: properties(body, version)?,
    }))
}

fn publish(first: u8, body: &mut Reader<'_>, version: Version) -> Read<ServerPacket> {
    let qos = QoS::from_bits(first >> 1 & 3).ok_or(&rule::QOS_3)?;
    let topic = body.text()?.to_owned();
    if topic.contains(['+', '#']) {
        return Err(&rule::TOPIC_WILD);
    }
    let packet_id = match qos {
        QoS::AtMostOnce => None,
        _ => Some(body.packet_id()?.get()),
    };
    let dup = first & 0x08 != 0;
    if dup && packet_id.is_none() {
        return Err(&rule::DUP_AT_QOS_0);
    }
    let properties = properties(body, version)?;
    let aliased = |p: &Property| matches!(p, Property::TopicAlias(_));
    if topic.is_empty() && !properties.iter().any(aliased) {
        return Err(&rule::TOPIC_AND_ALIAS_MISSING);
    }
    Ok(ServerPacket::Publish(Publish {
        dup,
        qos,
        retain: first & 0x01 != 0,
        topic,
        packet_id,
        properties,
        payload: body.take(body.rest().len())?.to_owned(),
    }))
}

fn ack(first: u8, body: &mut Reader<'_>, version: Version) -> Read<ServerPacket> {
    let packet_id = body.packet_id()?.get();
    let fits = match first {
        0x40 | 0x50 => ReasonCode::fits_puback,
        _ => ReasonCode::fits_pubrel,
    };
    let (reason, properties) = reason(body, version, fits)?;
    Ok(match first {
        0x40 => ServerPacket::PubAck {
            packet_id,
            reason,
            properties,
        },
        0x50 => ServerPacket::PubRec {
            packet_id,
            reason,
            properties,
        },
        0x62 => ServerPacket::PubRel {
            packet_id,
            reason,
            properties,
        },
        _ => ServerPacket::PubComp {
            packet_id,
            reason,
            properties,
        },
    })
}

fn id_and_properties(body: &mut Reader<'_>, version: Version) -> Read<(u16, Vec<Property>)> {
    Ok((body.packet_id()?.get(), properties(body, version)?))
}

/// All bytes that are left, each a code that `fits`.
fn codes(body: &mut Reader<'_>, fits: impl Fn(ReasonCode) -> bool) -> Read<Vec<ReasonCode>> {
    let bytes = body.take(body.rest().len())?;
    let code = |&byte| {
        ReasonCode::from_byte(byte)
            .filter(|code| fits(*code))
            .ok_or(&MISFORMED)
    };
    bytes.iter().map(code).collect()
}

/// Reason and properties at a packet's end, either of which may be left out.
fn reason(
    body: &mut Reader<'_>,
    version: Version,
    fits: fn(ReasonCode) -> bool,
) -> Read<(ReasonCode, Vec<Property>)> {
    if version != Version::V5 || body.is_empty() {
        return Ok((ReasonCode::Success, Vec::new()));
    }
    let reason = ReasonCode::from_byte(body.u8()?)
        .filter(|reason| fits(*reason))
        .ok_or(&MISFORMED)?;
    let properties = if body.is_empty() {
        Vec::new()
    } else {
        properties(body, version)?
    };
    Ok((reason, properties))
}

fn properties(body: &mut Reader<'_>, version: Version) -> Read<Vec<Property>> {
    let mut properties = Vec::new();
    if version == Version::V5 {
        let mut section = Section::from_server(body.properties()?);
        while let Some(property) = section.next()? {
            properties.push(property.into_owned());
        }
    }
    Ok(properties)
}
