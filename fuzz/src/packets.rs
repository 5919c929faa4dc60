//! Packets: bytes to packets and back, in both directions.
//!
//! What decodes is encoded anew, as the other end would write it, and must then decode to the same.

use cofferdam::wire::client::{self, Property, ServerPacket};
use cofferdam::wire::decode::{self, DecodeError, Frame, Framing};
use cofferdam::wire::encode::{self, ConnAck, PublishHead};
use cofferdam::wire::{Ack, Packet, PacketId, Publish, ReasonCode, Version};

use super::as_sent::{connect_as_sent, publish_as_sent, user_as_sent};
use super::input::Input;

/// The largest packet taken, in bytes.
const MAX_PACKET_SIZE: u32 = 1 << 16;

const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];

/// The first byte chooses what the others are: the first packet of a connection, those after an
/// accepted CONNECT of each version, or what a server of each version says.
pub fn packets(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    match input.u8() % 7 {
        0 => first(input.rest()),
        kind @ 1..4 => later(input, VERSIONS[usize::from(kind) - 1]),
        kind => said(input, VERSIONS[usize::from(kind) - 4]),
    }
}

fn first(bytes: &[u8]) {
    let Some(frame) = next(bytes) else { return };
    match read(frame, None) {
        Ok(packet) => survives(&packet, None),
        Err(_) => {
            decode::answer_version(frame);
        }
    }
}

fn later(mut input: Input<'_>, version: Version) {
    while let Some(frame) = next(input.rest()) {
        input.take(frame.length);
        match read(frame, Some(version)) {
            Ok(packet) => survives(&packet, Some(version)),
            Err(_) => return,
        }
    }
}

fn said(mut input: Input<'_>, version: Version) {
    while let Ok(Some((packet, length))) = client::read(input.rest(), version) {
        assert!((2..=input.rest().len()).contains(&length));
        input.take(length);
        if let Some((again, expected)) = said_again(&packet, version) {
            assert_eq!(client::read_all(&again, version), Ok(vec![expected]));
        }
    }
}

/// The whole packet at the front.
fn next(bytes: &[u8]) -> Option<Frame<'_>> {
    match decode::frame(bytes, MAX_PACKET_SIZE) {
        Ok(Framing::Whole(frame)) => {
            assert!(frame.length <= bytes.len() && frame.body.len() < frame.length);
            Some(frame)
        }
        Ok(Framing::Partial(needed)) => {
            assert!(needed.is_none_or(|needed| needed > bytes.len()));
            None
        }
        Err(error) => {
            is_a_rule(error);
            None
        }
    }
}

fn read(frame: Frame<'_>, version: Option<Version>) -> Result<Packet<'_>, DecodeError> {
    decode::packet(frame, version).inspect_err(|error| is_a_rule(*error))
}

fn is_a_rule(error: DecodeError) {
    assert!(error.code.is_error() && decode::RULES.contains(&error));
}

/// Encoded as a client would and decoded again, the packet is what it was.
fn survives(packet: &Packet<'_>, version: Option<Version>) {
    let sent = sent_again(packet, version);
    let frame = next(&sent).expect("a whole packet");
    let again = decode::packet(frame, version).expect("a packet that a client wrote");
    assert_eq!(sent_again(&again, version), sent);
    if let (Packet::Publish(publish), Some(version)) = (packet, version) {
        is_passed_on(publish, version);
    }
}

/// As a client would write it. The reason strings of acknowledgements, which nobody reads, are left
/// out.
fn sent_again(packet: &Packet<'_>, version: Option<Version>) -> Vec<u8> {
    if let Packet::Connect(connect) = packet {
        return connect_as_sent(connect).encode();
    }
    let version = version.expect("CONNECT comes first");
    let ack = |write: WriteAck, ack: &Ack| write(version, ack.packet_id.get(), ack.reason, &[]);
    match packet {
        Packet::Connect(_) => Vec::new(),
        Packet::Publish(publish) => publish_as_sent(publish).encode(version),
        Packet::PubAck(packet) => ack(client::puback, packet),
        Packet::PubRec(packet) => ack(client::pubrec, packet),
        Packet::PubRel(packet) => ack(client::pubrel, packet),
        Packet::PubComp(packet) => ack(client::pubcomp, packet),
        Packet::Subscribe(packet) => {
            let mut properties: Vec<Property> = Vec::new();
            properties.extend(packet.subscription_id.map(Property::SubscriptionId));
            properties.extend(user_as_sent(&packet.user));
            let filters = packet.filters.iter();
            let filters: Vec<_> = filters.map(|asked| (asked.filter, asked.options)).collect();
            client::subscribe(version, packet.packet_id.get(), &filters, &properties)
        }
        Packet::Unsubscribe(packet) => {
            let user: Vec<Property> = user_as_sent(&packet.user).collect();
            client::unsubscribe(version, packet.packet_id.get(), &packet.filters, &user)
        }
        Packet::PingReq => client::pingreq(),
        Packet::Disconnect(packet) => {
            let mut properties: Vec<Property> = Vec::new();
            properties.extend(packet.session_expiry.map(Property::SessionExpiry));
            properties.extend(user_as_sent(&packet.user));
            client::disconnect(version, packet.reason, &properties)
        }
        Packet::Auth(packet) => {
            let method = packet.method.expect("AUTH has a method");
            let mut properties = vec![Property::AuthenticationMethod(method.into())];
            let data = packet.data.map(Vec::from);
            properties.extend(data.map(Property::AuthenticationData));
            properties.extend(user_as_sent(&packet.user));
            client::auth(packet.reason, &properties)
        }
    }
}

type WriteAck = fn(Version, u16, ReasonCode, &[Property]) -> Vec<u8>;

/// A message reaches a subscriber with all that it was published with.
fn is_passed_on(publish: &Publish<'_>, version: Version) {
    if publish.topic.is_empty() {
        return; // the session knows what the alias stands for
    }
    let properties = &publish.properties;
    let passed_on = properties.passed_on();
    let head = PublishHead {
        version,
        dup: publish.dup,
        qos: publish.qos,
        retain: publish.retain,
        topic: publish.topic,
        packet_id: publish.packet_id,
        topic_alias: None,
        message_expiry: properties.message_expiry,
        response_topic: properties.response_topic,
        subscription_id: None,
        passed_on: &passed_on,
        payload_length: publish.payload.len(),
    };
    let mut said = Vec::new();
    encode::publish_head(&mut said, &head);
    said.extend_from_slice(publish.payload);
    assert_eq!(said.len(), encode::publish_length(&head));
    let mut expected = publish_as_sent(publish);
    let own = |property: &Property| {
        // Said by its absence where it is 0, so that both ways of saying it are the same.
        !matches!(
            property,
            Property::TopicAlias(_) | Property::PayloadFormat(_)
        )
    };
    expected.properties.retain(own);
    sort(&mut expected.properties);
    match client::read_all(&said, version).as_deref() {
        Ok([ServerPacket::Publish(found)]) => {
            let mut found = found.clone();
            let utf8 = found.properties.contains(&Property::PayloadFormat(true));
            assert_eq!(utf8, properties.payload_is_utf8);
            found.properties.retain(own);
            sort(&mut found.properties);
            assert_eq!(found, expected);
        }
        other => panic!("not passed on: {other:?}"),
    }
}

/// In an order of its own, but for the user properties among themselves, whose order counts.
fn sort(properties: &mut [Property]) {
    properties.sort_by_key(|property| match property {
        Property::User(..) => String::from("User"),
        other => format!("{other:?}"),
    });
}

/// What the broker's encoders make of a packet, and how that reads: as the packet, less what the
/// broker never says. `None` where it never says the packet at all.
fn said_again(packet: &ServerPacket, version: Version) -> Option<(Vec<u8>, ServerPacket)> {
    let mut out = Vec::new();
    let mut expected = packet.clone();
    let id = |id: &u16| PacketId::new(*id).expect("the reader refuses 0");
    match (packet, &mut expected) {
        (ServerPacket::ConnAck(connack), ServerPacket::ConnAck(expected)) => {
            if version != Version::V5 && connack.code != 0 {
                return None;
            }
            let reason = ReasonCode::from_byte(connack.code).expect("the reader refuses others");
            let said = connack_of(connack, &mut expected.properties);
            encode::connack(&mut out, version, reason, &said);
        }
        (ServerPacket::Publish(_), _) => return None, // `is_passed_on` has this way
        (
            ServerPacket::PubAck {
                packet_id, reason, ..
            },
            ServerPacket::PubAck { properties, .. },
        ) => {
            properties.clear();
            encode::puback(&mut out, version, id(packet_id), *reason);
        }
        (
            ServerPacket::PubRec {
                packet_id, reason, ..
            },
            ServerPacket::PubRec { properties, .. },
        ) => {
            properties.clear();
            encode::pubrec(&mut out, version, id(packet_id), *reason);
        }
        (
            ServerPacket::PubRel {
                packet_id, reason, ..
            },
            ServerPacket::PubRel { properties, .. },
        ) => {
            properties.clear();
            encode::pubrel(&mut out, version, id(packet_id), *reason);
        }
        (
            ServerPacket::PubComp {
                packet_id, reason, ..
            },
            ServerPacket::PubComp { properties, .. },
        ) => {
            properties.clear();
            encode::pubcomp(&mut out, version, id(packet_id), *reason);
        }
        (
            ServerPacket::SubAck {
                packet_id, codes, ..
            },
            ServerPacket::SubAck { properties, .. },
        ) => {
            properties.clear();
            encode::suback(&mut out, version, id(packet_id), codes);
        }
        (
            ServerPacket::UnsubAck {
                packet_id, codes, ..
            },
            ServerPacket::UnsubAck { properties, .. },
        ) => {
            properties.clear();
            encode::unsuback(&mut out, version, id(packet_id), codes);
        }
        (ServerPacket::PingResp, _) => encode::pingresp(&mut out),
        (ServerPacket::Disconnect { reason, .. }, ServerPacket::Disconnect { properties, .. }) => {
            properties.retain(|property| matches!(property, Property::ReasonString(_)));
            let why = properties.iter().find_map(|property| match property {
                Property::ReasonString(why) => Some(why.as_str()),
                _ => None,
            });
            encode::disconnect(&mut out, version, *reason, why);
        }
        (ServerPacket::Auth { reason, .. }, ServerPacket::Auth { properties, .. }) => {
            properties.retain(|property| {
                matches!(
                    property,
                    Property::AuthenticationMethod(_) | Property::AuthenticationData(_)
                )
            });
            let (mut method, mut data) = (None, None);
            for property in properties.iter() {
                match property {
                    Property::AuthenticationMethod(text) => method = Some(text.as_str()),
                    Property::AuthenticationData(bytes) => data = Some(bytes.as_slice()),
                    _ => {}
                }
            }
            encode::auth(&mut out, *reason, method?, data);
            properties.sort_by_key(|property| matches!(property, Property::AuthenticationData(_)));
        }
        _ => unreachable!("a packet is of its own kind"),
    }
    Some((out, expected))
}

/// The CONNACK as the broker has it; of `properties` stay those that it can say, in its order.
fn connack_of<'a>(packet: &'a client::ConnAck, properties: &mut Vec<Property>) -> ConnAck<'a> {
    let mut said = ConnAck {
        session_present: packet.session_present,
        ..ConnAck::default()
    };
    for property in &packet.properties {
        match property {
            Property::SessionExpiry(v) => said.session_expiry = Some(*v),
            Property::ReceiveMaximum(v) => said.receive_maximum = Some(*v),
            Property::MaximumQoS(v) => said.maximum_qos = Some(u8::from(*v)),
            Property::RetainAvailable(v) => said.retain_available = Some(*v),
            Property::MaximumPacketSize(v) => said.maximum_packet_size = Some(*v),
            Property::AssignedClientId(v) => said.assigned_client_id = Some(v),
            Property::TopicAliasMaximum(v) => said.topic_alias_maximum = Some(*v),
            Property::ReasonString(v) => said.reason_string = Some(v),
            Property::ServerKeepAlive(v) => said.server_keep_alive = Some(*v),
            Property::ResponseInformation(v) => said.response_information = Some(v),
            Property::AuthenticationMethod(v) => said.authentication_method = Some(v),
            Property::AuthenticationData(v) => said.authentication_data = Some(v),
            _ => {}
        }
    }
    let place = |property: &Property| {
        Some(match property {
            Property::SessionExpiry(_) => 0,
            Property::AssignedClientId(_) => 1,
            Property::ServerKeepAlive(_) => 2,
            Property::AuthenticationMethod(_) => 3,
            Property::AuthenticationData(_) => 4,
            Property::ResponseInformation(_) => 5,
            Property::ReasonString(_) => 6,
            Property::ReceiveMaximum(_) => 7,
            Property::TopicAliasMaximum(_) => 8,
            Property::MaximumQoS(_) => 9,
            Property::RetainAvailable(_) => 10,
            Property::MaximumPacketSize(_) => 11,
            _ => return None,
        })
    };
    properties.retain(|property| place(property).is_some());
    properties.sort_by_key(|property| place(property));
    said
}
