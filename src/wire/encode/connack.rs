//! CONNACK (section 3.2).

use super::super::packet::Version;
use super::super::reason::ReasonCode;
use super::super::section::{Borrowed, Property};
use super::super::writer::{put_variable_byte_integer, variable_byte_integer_length};

/// CONNACK's contents. Fields at the standard's default are not written.
#[derive(Clone, Debug, Default)]
pub struct ConnAck<'a> {
    /// A session was there.
    pub session_present: bool,
    /// Seconds, where it differs from what the client asked for.
    pub session_expiry: Option<u32>,
    /// Where below 65,535.
    pub receive_maximum: Option<u16>,
    /// Where QoS 2 is not served: 0 or 1.
    pub maximum_qos: Option<u8>,
    /// Where retained messages are not served: false.
    pub retain_available: Option<bool>,
    /// Largest packet that the server takes.
    pub maximum_packet_size: Option<u32>,
    /// Where the server gave one.
    pub assigned_client_id: Option<&'a str>,
    /// Topic aliases that the server takes.
    pub topic_alias_maximum: Option<u16>,
    /// For people.
    pub reason_string: Option<&'a str>,
    /// Seconds, where the server decides.
    pub server_keep_alive: Option<u16>,
    /// Basis for response topics.
    pub response_information: Option<&'a str>,
    /// Enhanced authentication's method.
    pub authentication_method: Option<&'a str>,
    /// Enhanced authentication's data.
    pub authentication_data: Option<&'a [u8]>,
}

/// Appends CONNACK. In 3.x `reason` becomes the return code that means the same; where 3.x has
/// none, nothing is appended, and the connection is to be closed without a word
/// (`ReasonCode::connect_return_code`).
pub fn connack(out: &mut Vec<u8>, version: Version, reason: ReasonCode, connack: &ConnAck<'_>) {
    // No session is present in a refusal [MQTT-3.2.2-6], and 3.1 has no such flag.
    let session_present =
        connack.session_present && reason == ReasonCode::Success && version != Version::V31;
    if version == Version::V5 {
        let section = connack.section();
        let remaining = 2 + variable_byte_integer_length(section.len()) + section.len();
        out.reserve(5 + remaining);
        out.push(0x20);
        put_variable_byte_integer(out, remaining);
        out.extend([u8::from(session_present), reason.as_byte()]);
        put_variable_byte_integer(out, section.len());
        out.extend_from_slice(&section);
    } else if let Some(code) = reason.connect_return_code() {
        out.extend([0x20, 2, u8::from(session_present), code]);
    }
}

impl<'a> ConnAck<'a> {
    /// The encoded properties. Once a connection, so a buffer of its own does not matter.
    fn section(&self) -> Vec<u8> {
        let mut section = Vec::new();
        for property in self.properties().into_iter().flatten() {
            property.write(&mut section);
        }
        section
    }

    /// In the order of the standard's table of properties.
    fn properties(&self) -> [Option<Borrowed<'a>>; 12] {
        [
            self.session_expiry.map(Property::SessionExpiry),
            self.assigned_client_id.map(Property::AssignedClientId),
            self.server_keep_alive.map(Property::ServerKeepAlive),
            self.authentication_method
                .map(Property::AuthenticationMethod),
            self.authentication_data.map(Property::AuthenticationData),
            self.response_information.map(Property::ResponseInformation),
            self.reason_string.map(Property::ReasonString),
            self.receive_maximum.map(Property::ReceiveMaximum),
            self.topic_alias_maximum.map(Property::TopicAliasMaximum),
            self.maximum_qos.map(|qos| Property::MaximumQoS(qos != 0)),
            self.retain_available.map(Property::RetainAvailable),
            self.maximum_packet_size.map(Property::MaximumPacketSize),
        ]
    }
}
