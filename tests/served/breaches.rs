//! Clients that are logged in and break the protocol: told why in 5.0, closed in every version, on
//! record, and nobody else notices.

use crate::running::{Broker, Bystander, Client, Record, Setup, World};
use cofferdam::wire::client::{Publish, ServerPacket};
use cofferdam::wire::{ReasonCode, Version};
use serde_json::json;

const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];

/// What breaks the protocol once logged in, in which versions, and the reason.
type Breach = (
    &'static str,
    &'static [Version],
    fn(Version) -> Vec<u8>,
    ReasonCode,
);

fn breaches() -> Vec<Breach> {
    const ALL: &[Version] = &VERSIONS;
    const FIVE: &[Version] = &[Version::V5];
    vec![
        (
            "a packet over the limit",
            ALL,
            |version| Publish::new("a", &[0; 200_000]).encode(version),
            ReasonCode::PacketTooLarge,
        ),
        (
            "the head of one",
            ALL,
            |_| vec![0x30, 0xFF, 0xFF, 0xFF, 0x7F],
            ReasonCode::PacketTooLarge,
        ),
        (
            "a length without end",
            ALL,
            |_| vec![0x30, 0xFF, 0xFF, 0xFF, 0xFF],
            ReasonCode::MalformedPacket,
        ),
        (
            "a topic that is no UTF-8",
            ALL,
            |_| vec![0x30, 6, 0, 3, b'a', 0xC3, 0x28, 0],
            ReasonCode::MalformedPacket,
        ),
        (
            "a topic with U+0000",
            ALL,
            |version| Publish::new("a\0b", b"").encode(version),
            ReasonCode::MalformedPacket,
        ),
        (
            "a wildcard in a topic name",
            ALL,
            |version| Publish::new("a/#", b"").encode(version),
            ReasonCode::TopicNameInvalid,
        ),
        (
            "a plus in a topic name",
            ALL,
            |version| Publish::new("a/+", b"").encode(version),
            ReasonCode::TopicNameInvalid,
        ),
        (
            "a second CONNECT",
            ALL,
            |version| World::alice().connect(version).encode(),
            ReasonCode::ProtocolError,
        ),
        (
            "a reserved packet type",
            ALL,
            |_| vec![0, 0],
            ReasonCode::MalformedPacket,
        ),
        (
            "a packet of the server's",
            ALL,
            |_| vec![0xD0, 0],
            ReasonCode::ProtocolError,
        ),
        (
            "QoS 3",
            ALL,
            |_| vec![0x36, 5, 0, 1, b'a', 0, 1],
            ReasonCode::MalformedPacket,
        ),
        (
            "an unknown property",
            FIVE,
            |_| vec![0x30, 6, 0, 1, b'a', 2, 0x7F, 0],
            ReasonCode::MalformedPacket,
        ),
        (
            "AUTH that was not agreed on",
            FIVE,
            |_| vec![0xF0, 0],
            ReasonCode::ProtocolError,
        ),
        (
            "an alias that stands for nothing",
            FIVE,
            |_| vec![0x30, 6, 0, 0, 3, 0x23, 0, 9],
            ReasonCode::ProtocolError,
        ),
        (
            "an alias beyond the maximum",
            FIVE,
            |_| vec![0x30, 7, 0, 1, b'a', 3, 0x23, 0xFF, 0xFF],
            ReasonCode::TopicAliasInvalid,
        ),
    ]
}

#[test]
fn who_breaks_the_protocol_is_told_why_in_5_0_and_disconnected() {
    let broker = Setup::new()
        .variable("COFFERDAM__LIMITS__MAX_PACKET_SIZE", "128 KiB")
        .start();
    let bystander = Bystander::join(&broker);
    for listener in ["tcp", "wss"] {
        let mut record = Record::default();
        for (what, versions, sent, reason) in breaches() {
            for &version in versions {
                let mut client = Client::login(&broker, listener, &World::alice(), version);
                client.send(&sent(version));
                let told = match version {
                    Version::V5 => vec![ServerPacket::Disconnect {
                        reason,
                        properties: vec![],
                    }],
                    _ => vec![],
                };
                let what = format!("{what} in {version:?} over {listener}");
                assert_eq!(client.rest(), told, "{what}");
                let fields = json!({
                    "cause": "protocol", "reason": format!("{reason:?}"), "team": "red", "level": "team",
                    "actor": "alice@red", "client_id": "alice@red",
                });
                record.row(&what, "disconnect", &client.own_address(), fields);
                record.count(
                    "cofferdam_disconnects_total",
                    &[("listener", listener), ("cause", "protocol")],
                );
            }
        }
        record.check(&broker);
    }
    bystander.was_left_alone();
}

#[test]
fn the_goodbye_reaches_a_client_that_is_still_sending() {
    let broker = Broker::start();
    let mut sent = vec![0, 0]; // a reserved packet type
    sent.resize(200_000, 0xFF);
    for listener in ["tcp", "tls", "ws", "wss"] {
        let mut client = Client::login(&broker, listener, &World::alice(), Version::V5);
        client.send(&sent);
        // Closed in order: a socket closed with unread bytes in it would be reset.
        let told = ServerPacket::Disconnect {
            reason: ReasonCode::MalformedPacket,
            properties: vec![],
        };
        assert_eq!(client.rest(), [told], "{listener}");
    }
}
