//! The shared table of packets, every line of it over a real connection: the broker does what the
//! table says, in the version's own words, and goes on serving everybody else.

use std::io::Write as _;

use crate::packets::{Case, MAX_PACKET_SIZE, cases};
use crate::running::{Broker, Bystander, Client, Setup, Stream};
use cofferdam::wire::client::{Connect, ServerPacket};
use cofferdam::wire::decode::{Framing, frame, packet};
use cofferdam::wire::{Packet, QoS, ReasonCode, Version};

fn version(case: &Case) -> Version {
    match case.version {
        "3.1" => Version::V31,
        "3.1.1" => Version::V311,
        "5" => Version::V5,
        other => panic!("no version: {other}"),
    }
}

/// A right packet, as the broker reads it.
fn decoded(case: &Case) -> Packet<'_> {
    let settled = (!case.first).then(|| version(case));
    match frame(&case.bytes, MAX_PACKET_SIZE) {
        Ok(Framing::Whole(frame)) => packet(frame, settled).expect("the table says so"),
        other => panic!("the table says that it is whole: {other:?}"),
    }
}

/// Shows: MQTT-1.5.4-1, MQTT-1.5.4-2, MQTT-1.5.5-1, MQTT-1.5.7-1, MQTT-2.1.3-1, MQTT-2.2.1-3,
/// MQTT-3.1.0-1, MQTT-3.1.2-1, MQTT-3.1.2-2, MQTT-3.1.2-3, MQTT-3.1.2-9, MQTT-3.1.2-11,
/// MQTT-3.1.2-12, MQTT-3.1.2-13, MQTT-3.1.2-17, MQTT-3.1.2-19, MQTT-3.1.3-1, MQTT-3.1.3-3,
/// MQTT-3.1.3-4, MQTT-3.1.3-11, MQTT-3.1.3-12, MQTT-3.1.4-1, MQTT-3.2.2-15, MQTT-3.3.1-2,
/// MQTT-3.3.1-4, MQTT-3.3.2-1, MQTT-3.3.2-2, MQTT-3.3.2-8, MQTT-3.3.2-14, MQTT-3.3.2-19,
/// MQTT-3.3.4-6, MQTT-3.4.2-1, MQTT-3.5.2-1, MQTT-3.6.2-1, MQTT-3.7.2-1, MQTT-3.8.3-1,
/// MQTT-3.8.3-2, MQTT-3.8.3-4, MQTT-3.8.3-5, MQTT-3.10.3-1, MQTT-3.10.3-2, MQTT-3.14.2-1,
/// MQTT-3.15.2-1, MQTT-4.7.0-1, MQTT-4.7.3-1, MQTT-4.13.1-1 (5.0); MQTT-1.5.3-1, MQTT-1.5.3-2,
/// MQTT-2.2.2-1, MQTT-2.2.2-2, MQTT-2.3.1-1, MQTT-3.1.0-1, MQTT-3.1.2-1, MQTT-3.1.2-2,
/// MQTT-3.1.2-3, MQTT-3.1.2-9, MQTT-3.1.2-13, MQTT-3.1.2-14, MQTT-3.1.2-15, MQTT-3.1.2-19,
/// MQTT-3.1.2-21, MQTT-3.1.2-22, MQTT-3.1.3-1, MQTT-3.1.3-3, MQTT-3.1.3-4, MQTT-3.1.3-10,
/// MQTT-3.1.3-11, MQTT-3.1.4-1, MQTT-3.3.1-2, MQTT-3.3.1-4, MQTT-3.3.2-1, MQTT-3.3.2-2,
/// MQTT-3.8.3-1, MQTT-3.8.3-3, MQTT-3.8.3-4, MQTT-3.10.3-1, MQTT-3.10.3-2, MQTT-4.7.1-1,
/// MQTT-4.7.3-1, MQTT-4.8.0-1 (3.1.1); PEER-18
#[test]
fn every_packet_of_the_table_gets_its_answer_and_harms_nobody() {
    // PINGRESP ends what is read, and must not overtake an acknowledgement that waits for the disk.
    let memory = ("COFFERDAM__JOURNAL__DURABILITY", "memory");
    let broker = Setup::new().variable(memory.0, memory.1).start();
    let bystander = Bystander::join(&broker);
    let wrong: Vec<_> = cases()
        .iter()
        .filter_map(|case| {
            let outcome = if case.first {
                first(&broker, case)
            } else {
                later(&broker, case)
            };
            let Case {
                name,
                version,
                expected,
                ..
            } = case;
            outcome
                .err()
                .map(|found| format!("{name} ({version}, {expected}): {found}"))
        })
        .collect();
    assert!(
        wrong.is_empty(),
        "{} are wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    bystander.was_left_alone();
}

fn same<T: PartialEq + std::fmt::Debug>(found: T, wanted: T) -> Result<(), String> {
    if found == wanted {
        Ok(())
    } else {
        Err(format!("found {found:02x?}, not {wanted:02x?}"))
    }
}

/// A case that comes before any other packet.
fn first(broker: &Broker, case: &Case) -> Result<(), String> {
    let mut stream = broker.dial("open");
    stream
        .write_all(&case.bytes)
        .map_err(|error| error.to_string())?;
    if let Some(code) = case.refusal() {
        return refused_first(&stream.read_to_close(), case, code);
    }
    if !case.is_valid() {
        return is_waited_for(stream);
    }
    let Packet::Connect(connect) = decoded(case) else {
        return Err("only CONNECT comes first".to_owned());
    };
    let nameless = connect.client_id.is_empty();
    let code = if connect.properties.authentication_method.is_some() {
        0x8C
    } else if nameless
        && (version(case) == Version::V31 || version(case) == Version::V311 && !connect.clean_start)
    {
        2
    } else if connect.username.is_some() || connect.password.is_some() {
        if version(case) == Version::V5 {
            0x86
        } else {
            4
        }
    } else {
        0
    };
    let mut client = Client::over(crate::running::Link::Bare(stream), version(case));
    // No CONNACK is as short as that [MQTT-3.1.2-24].
    if connect.properties.maximum_packet_size == Some(1) {
        return same(client.next(), None);
    }
    match client.next() {
        Some(ServerPacket::ConnAck(connack)) => same(connack.code, code)?,
        other => return Err(format!("no CONNACK: {other:?}")),
    }
    match code {
        0 => same(client.ping(), Some(vec![])),
        _ => same(client.next(), None),
    }
}

/// What comes back for a first packet that is refused with `code`: a CONNACK where the sender is
/// known to understand it, and in 3.x has a word for it, else nothing.
fn refused_first(seen: &[u8], case: &Case, code: u8) -> Result<(), String> {
    let connack_5 = [0x20, 3, 0, code, 0];
    let connack_3 = [0x20, 2, 0, 1];
    let says_5 = case.bytes[0] == 0x10 && case.bytes.windows(7).any(|it| it == b"\0\x04MQTT\x05");
    let reason = ReasonCode::from_byte(code).expect("a code of the table");
    match reason {
        ReasonCode::UnsupportedProtocolVersion if seen.is_empty() => {
            same(case.name.starts_with("CONNECT: protocol name"), true)
        }
        ReasonCode::UnsupportedProtocolVersion if seen.len() == 4 => same(seen, &connack_3[..]),
        ReasonCode::UnsupportedProtocolVersion => same(seen, &connack_5[..]),
        _ if says_5 => {
            same(reason.fits_connack(), true)?;
            same(seen, &connack_5[..])
        }
        _ => same(seen, &[][..]),
    }
}

/// A packet that is not complete is neither answered nor taken for an error.
fn is_waited_for(mut stream: Stream) -> Result<(), String> {
    stream.finish();
    same(stream.read_to_close(), vec![])
}

/// A case that comes after a CONNECT that was accepted.
fn later(broker: &Broker, case: &Case) -> Result<(), String> {
    let version = version(case);
    let mut client = Client::dial(broker, "open", version);
    let connect = Connect {
        client_id: "table".to_owned(),
        ..Connect::new(version)
    };
    client.connect(&connect);
    client.send(&case.bytes);
    if let Some(code) = case.refusal() {
        return ends_with(&mut client, code);
    }
    if !case.is_valid() {
        let crate::running::Link::Bare(stream) = client.link else {
            return Err("not over TCP".to_owned());
        };
        return is_waited_for(stream);
    }
    match decoded(case) {
        Packet::Disconnect(disconnect) if disconnect.session_expiry.is_none() => {
            same(client.rest(), vec![])
        }
        // Against what CONNECT settled: [MQTT-3.14.2-2], [MQTT-4.12.0-7], [MQTT-3.1.0-2].
        Packet::Disconnect(_) | Packet::Auth(_) | Packet::Connect(_) => {
            ends_with(&mut client, 0x82)
        }
        Packet::Publish(publish) if publish.properties.topic_alias.is_some_and(|it| it > 64) => {
            ends_with(&mut client, 0x94)
        }
        Packet::Publish(publish) if publish.topic.is_empty() => ends_with(&mut client, 0x82),
        packet => {
            let answers = client.ping().ok_or("closed")?;
            // Retained messages of the lines before may come with a subscription.
            let answers = answers
                .into_iter()
                .filter(|it| !matches!(it, ServerPacket::Publish(_)));
            let mut answers: Vec<_> = answers.collect();
            if packet == Packet::PingReq {
                // The answer to this one; that to ours is yet to come.
                answers.extend(client.next());
            }
            same(answers, answers_to(&packet, version))
        }
    }
}

/// The broker closes; in 5.0 it says why.
fn ends_with(client: &mut Client, code: u8) -> Result<(), String> {
    let reason = ReasonCode::from_byte(code).filter(|it| it.fits_server_disconnect());
    let reason = reason.unwrap_or(ReasonCode::ProtocolError);
    let told = match client.version {
        Version::V5 => vec![ServerPacket::Disconnect {
            reason,
            properties: vec![],
        }],
        _ => vec![],
    };
    same(client.rest(), told)
}

/// The answers to a right packet on a connection that has nothing under way.
fn answers_to(packet: &Packet<'_>, version: Version) -> Vec<ServerPacket> {
    let properties = vec![];
    let in_5 = |reason| {
        if version == Version::V5 {
            reason
        } else {
            ReasonCode::Success
        }
    };
    match packet {
        Packet::Publish(publish) => {
            let Some(id) = publish.packet_id else {
                return vec![];
            };
            let (packet_id, reason) = (id.0.get(), in_5(ReasonCode::NoMatchingSubscribers));
            vec![match publish.qos {
                QoS::ExactlyOnce => ServerPacket::PubRec {
                    packet_id,
                    reason,
                    properties,
                },
                _ => ServerPacket::PubAck {
                    packet_id,
                    reason,
                    properties,
                },
            }]
        }
        Packet::PubRec(ack) if !ack.reason.is_error() => {
            let (packet_id, reason) = (
                ack.packet_id.0.get(),
                in_5(ReasonCode::PacketIdentifierNotFound),
            );
            vec![ServerPacket::PubRel {
                packet_id,
                reason,
                properties,
            }]
        }
        Packet::PubRel(ack) => {
            let (packet_id, reason) = (
                ack.packet_id.0.get(),
                in_5(ReasonCode::PacketIdentifierNotFound),
            );
            vec![ServerPacket::PubComp {
                packet_id,
                reason,
                properties,
            }]
        }
        Packet::Subscribe(subscribe) => {
            let codes =
                subscribe
                    .filters
                    .iter()
                    .map(|asked| match (asked.filter, asked.options.qos) {
                        ("a/#/b" | "", _) if version == Version::V5 => {
                            ReasonCode::TopicFilterInvalid
                        }
                        ("a/#/b" | "", _) if version == Version::V311 => {
                            ReasonCode::UnspecifiedError
                        }
                        // 3.1 has no word for it: the least that it can grant.
                        ("a/#/b" | "", _) => ReasonCode::Success,
                        (_, QoS::AtMostOnce) => ReasonCode::Success,
                        (_, QoS::AtLeastOnce) => ReasonCode::GrantedQoS1,
                        (_, QoS::ExactlyOnce) => ReasonCode::GrantedQoS2,
                    });
            let packet_id = subscribe.packet_id.0.get();
            vec![ServerPacket::SubAck {
                packet_id,
                codes: codes.collect(),
                properties,
            }]
        }
        Packet::Unsubscribe(unsubscribe) => {
            let codes = match version {
                Version::V5 => vec![ReasonCode::NoSubscriptionExisted; unsubscribe.filters.len()],
                _ => vec![],
            };
            let packet_id = unsubscribe.packet_id.0.get();
            vec![ServerPacket::UnsubAck {
                packet_id,
                codes,
                properties,
            }]
        }
        Packet::PingReq => vec![ServerPacket::PingResp],
        _ => vec![],
    }
}
