//! What a client sends. Nothing is checked: a test may well want to send what no client should.

use super::Property;
use crate::wire::packet::{QoS, SubscriptionOptions, Version};
use crate::wire::reason::ReasonCode;
use crate::wire::writer::{put_binary, put_text, put_u16, put_variable_byte_integer};

/// CONNECT.
#[derive(Clone, Debug, PartialEq)]
pub struct Connect {
    /// Settles name and level of the protocol.
    pub version: Version,
    /// Sets the level's high bit, as bridges do.
    pub bridge: bool,
    /// Clean session (3.x), clean start (5.0).
    pub clean_start: bool,
    /// Seconds; 0 is off.
    pub keep_alive: u16,
    /// Empty: the server is to assign one.
    pub client_id: String,
    /// The will.
    pub will: Option<Will>,
    /// User name.
    pub username: Option<String>,
    /// Password.
    pub password: Option<Vec<u8>>,
    /// Written in 5.0 only.
    pub properties: Vec<Property>,
}

/// The will in a CONNECT.
#[derive(Clone, Debug, PartialEq)]
pub struct Will {
    /// Where it goes.
    pub topic: String,
    /// What it says.
    pub payload: Vec<u8>,
    /// Its quality of service.
    pub qos: QoS,
    /// Whether it is retained.
    pub retain: bool,
    /// Written in 5.0 only.
    pub properties: Vec<Property>,
}

/// PUBLISH, sent or received.
#[derive(Clone, Debug, PartialEq)]
pub struct Publish {
    /// A second try.
    pub dup: bool,
    /// Quality of service.
    pub qos: QoS,
    /// To be retained, or from a retained message.
    pub retain: bool,
    /// Empty where a topic alias stands for it.
    pub topic: String,
    /// Written exactly when it is there.
    pub packet_id: Option<u16>,
    /// Written in 5.0 only.
    pub properties: Vec<Property>,
    /// Any bytes.
    pub payload: Vec<u8>,
}

impl Connect {
    /// Clean start, no keep alive, an empty client id and nothing else.
    pub const fn new(version: Version) -> Self {
        Self {
            version,
            bridge: false,
            clean_start: true,
            keep_alive: 0,
            client_id: String::new(),
            will: None,
            username: None,
            password: None,
            properties: Vec::new(),
        }
    }

    /// The whole packet.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        let (name, level) = match self.version {
            Version::V31 => ("MQIsdp", 3),
            Version::V311 => ("MQTT", 4),
            Version::V5 => ("MQTT", 5),
        };
        put_text(&mut body, name);
        body.push(level | u8::from(self.bridge) << 7);
        body.push(self.flags());
        put_u16(&mut body, self.keep_alive);
        put_properties(&mut body, self.version, &self.properties);
        put_text(&mut body, &self.client_id);
        if let Some(will) = &self.will {
            put_properties(&mut body, self.version, &will.properties);
            put_text(&mut body, &will.topic);
            put_binary(&mut body, &will.payload);
        }
        if let Some(username) = &self.username {
            put_text(&mut body, username);
        }
        if let Some(password) = &self.password {
            put_binary(&mut body, password);
        }
        packet(0x10, &body)
    }

    fn flags(&self) -> u8 {
        let will = self.will.as_ref().map_or(0, |will| {
            0x04 | (will.qos as u8) << 3 | u8::from(will.retain) << 5
        });
        u8::from(self.clean_start) << 1
            | will
            | u8::from(self.password.is_some()) << 6
            | u8::from(self.username.is_some()) << 7
    }
}

impl Publish {
    /// QoS 0, not retained, no properties.
    pub fn new(topic: &str, payload: &[u8]) -> Self {
        Self {
            dup: false,
            qos: QoS::AtMostOnce,
            retain: false,
            topic: topic.to_owned(),
            packet_id: None,
            properties: Vec::new(),
            payload: payload.to_owned(),
        }
    }

    /// The same at QoS 1 or 2 under a packet identifier.
    pub fn at(self, qos: QoS, packet_id: u16) -> Self {
        Self {
            qos,
            packet_id: Some(packet_id),
            ..self
        }
    }

    /// The whole packet.
    pub fn encode(&self, version: Version) -> Vec<u8> {
        let mut body = Vec::new();
        put_text(&mut body, &self.topic);
        if let Some(id) = self.packet_id {
            put_u16(&mut body, id);
        }
        put_properties(&mut body, version, &self.properties);
        body.extend_from_slice(&self.payload);
        let flags = u8::from(self.dup) << 3 | (self.qos as u8) << 1 | u8::from(self.retain);
        packet(0x30 | flags, &body)
    }
}

/// PUBACK. As with all acknowledgements: the shortest form that says it.
pub fn puback(version: Version, id: u16, reason: ReasonCode, properties: &[Property]) -> Vec<u8> {
    ack(0x40, version, id, reason, properties)
}

/// PUBREC.
pub fn pubrec(version: Version, id: u16, reason: ReasonCode, properties: &[Property]) -> Vec<u8> {
    ack(0x50, version, id, reason, properties)
}

/// PUBREL.
pub fn pubrel(version: Version, id: u16, reason: ReasonCode, properties: &[Property]) -> Vec<u8> {
    ack(0x62, version, id, reason, properties)
}

/// PUBCOMP.
pub fn pubcomp(version: Version, id: u16, reason: ReasonCode, properties: &[Property]) -> Vec<u8> {
    ack(0x70, version, id, reason, properties)
}

/// SUBSCRIBE. Only the QoS of the options is written in 3.x.
pub fn subscribe(
    version: Version,
    id: u16,
    filters: &[(&str, SubscriptionOptions)],
    properties: &[Property],
) -> Vec<u8> {
    let mut body = Vec::new();
    put_u16(&mut body, id);
    put_properties(&mut body, version, properties);
    for (filter, options) in filters {
        put_text(&mut body, filter);
        let rest = u8::from(options.no_local) << 2
            | u8::from(options.retain_as_published) << 3
            | (options.retain_handling as u8) << 4;
        body.push(options.qos as u8 | if version == Version::V5 { rest } else { 0 });
    }
    packet(0x82, &body)
}

/// UNSUBSCRIBE.
pub fn unsubscribe(
    version: Version,
    id: u16,
    filters: &[&str],
    properties: &[Property],
) -> Vec<u8> {
    let mut body = Vec::new();
    put_u16(&mut body, id);
    put_properties(&mut body, version, properties);
    for filter in filters {
        put_text(&mut body, filter);
    }
    packet(0xA2, &body)
}

/// PINGREQ.
pub fn pingreq() -> Vec<u8> {
    vec![0xC0, 0]
}

/// DISCONNECT; reason and properties in 5.0 only.
pub fn disconnect(version: Version, reason: ReasonCode, properties: &[Property]) -> Vec<u8> {
    let mut body = Vec::new();
    put_reason(&mut body, version, reason, properties);
    packet(0xE0, &body)
}

/// AUTH (5.0).
pub fn auth(reason: ReasonCode, properties: &[Property]) -> Vec<u8> {
    let mut body = Vec::new();
    put_reason(&mut body, Version::V5, reason, properties);
    packet(0xF0, &body)
}

fn ack(
    first: u8,
    version: Version,
    id: u16,
    reason: ReasonCode,
    properties: &[Property],
) -> Vec<u8> {
    let mut body = Vec::new();
    put_u16(&mut body, id);
    put_reason(&mut body, version, reason, properties);
    packet(first, &body)
}

fn put_reason(body: &mut Vec<u8>, version: Version, reason: ReasonCode, properties: &[Property]) {
    if version != Version::V5 || (reason == ReasonCode::Success && properties.is_empty()) {
        return;
    }
    body.push(reason.as_byte());
    if !properties.is_empty() {
        put_properties(body, version, properties);
    }
}

fn put_properties(body: &mut Vec<u8>, version: Version, properties: &[Property]) {
    if version != Version::V5 {
        return;
    }
    let mut section = Vec::new();
    for property in properties {
        property.write(&mut section);
    }
    put_variable_byte_integer(body, section.len());
    body.extend_from_slice(&section);
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 5);
    out.push(first);
    put_variable_byte_integer(&mut out, body.len());
    out.extend_from_slice(body);
    out
}
