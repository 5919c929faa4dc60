//! Every transport carries MQTT: TCP, TLS 1.2 and 1.3, WebSocket, secure WebSocket, in every
//! version, over two shards.

use crate::running::{Broker, Client, Link, Login, Stream, Tls, World};
use cofferdam::wire::client::{Connect, Publish, Will};
use cofferdam::wire::{QoS, Version};
use rustls::ProtocolVersion;

const EVERY_QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];

/// A listener, and the TLS version of those that have one.
const TRANSPORTS: [(&str, Option<Tls>); 6] = [
    ("tcp", None),
    ("tls", Some(Tls::V12)),
    ("tls", Some(Tls::V13)),
    ("ws", None),
    ("wss", Some(Tls::V12)),
    ("wss", Some(Tls::V13)),
];

/// A client over a transport that has not said anything yet.
fn dial(broker: &Broker, (listener, tls): (&str, Option<Tls>), version: Version) -> Client {
    let stream = match tls {
        None => broker.dial(listener),
        Some(tls) => Stream::tls(broker.address(listener), &broker.tls(tls)),
    };
    let agreed = match tls {
        None => None,
        Some(Tls::V12) => Some(ProtocolVersion::TLSv1_2),
        Some(_) => Some(ProtocolVersion::TLSv1_3),
    };
    assert_eq!(stream.tls_version(), agreed);
    Client::over(Link::open(listener, "/mqtt", stream), version)
}

fn login(
    broker: &Broker,
    transport: (&str, Option<Tls>),
    login: &Login,
    version: Version,
) -> Client {
    let mut client = dial(broker, transport, version);
    client.connect(&login.connect(version));
    client
}

/// Runs `test` for every transport in every version, on one broker.
fn everywhere(test: impl Fn(&Broker, (&'static str, Option<Tls>), Version)) {
    let broker = Broker::start();
    for transport in TRANSPORTS {
        for version in VERSIONS {
            println!("{transport:?}, {version:?}"); // shown where it fails
            test(&broker, transport, version);
        }
    }
}

fn message(topic: &str, payload: &[u8], retain: bool, qos: QoS) -> Publish {
    Publish {
        retain,
        qos,
        ..Publish::new(topic, payload)
    }
}

/// What of a received message does not depend on the version.
fn seen(publish: &Publish) -> (&str, &[u8], QoS, bool) {
    let Publish {
        topic,
        payload,
        qos,
        retain,
        ..
    } = publish;
    (topic, payload, *qos, *retain)
}

/// Shows: MQTT-4.2.0-1 (5.0); MQTT-7.0.0-2, MQTT-7.1.1-1 (3.1.1)
#[test]
fn messages_pass_at_every_qos_over_every_transport() {
    everywhere(|broker, transport, version| {
        let mut reader = login(broker, transport, &World::anna(), version);
        let mut writer = login(broker, transport, &World::alice(), version);
        for granted in EVERY_QOS {
            reader.subscribe("talk/#", granted);
            for sent in EVERY_QOS {
                let payload = format!("{sent:?} as {granted:?}");
                writer.publish(message("talk/1", payload.as_bytes(), false, sent));
                let received = reader.receive();
                let qos = sent.min(granted);
                assert_eq!(seen(&received), ("talk/1", payload.as_bytes(), qos, false));
            }
        }
        reader.assert_quiet();
        writer.assert_quiet();
    });
}

#[test]
fn retained_messages_are_kept_and_cleared_over_every_transport() {
    everywhere(|broker, transport, version| {
        let mut reader = login(broker, transport, &World::anna(), version);
        let mut writer = login(broker, transport, &World::alice(), version);
        for qos in EVERY_QOS {
            let topic = format!("kept/{qos:?}");
            writer.publish(message(&topic, b"still here", true, qos));
            writer.assert_quiet(); // at QoS 0: it is there by now
            reader.subscribe(&topic, QoS::ExactlyOnce);
            let received = reader.receive();
            assert_eq!(seen(&received), (&*topic, &b"still here"[..], qos, true));
            writer.publish(message(&topic, b"", true, qos));
            assert_eq!(seen(&reader.receive()), (&*topic, &b""[..], qos, false));
            reader.subscribe(&topic, QoS::ExactlyOnce);
            reader.assert_quiet();
        }
    });
}

#[test]
fn wills_are_published_when_a_socket_breaks_over_every_transport() {
    everywhere(|broker, transport, version| {
        let mut reader = login(broker, transport, &World::anna(), version);
        reader.subscribe("gone/#", QoS::ExactlyOnce);
        for qos in EVERY_QOS {
            let mut doomed = dial(broker, transport, version);
            doomed.connect(&Connect {
                will: Some(Will {
                    topic: "gone/alice".to_owned(),
                    payload: b"farewell".to_vec(),
                    qos,
                    retain: false,
                    properties: vec![],
                }),
                ..World::alice().connect(version)
            });
            let socket = doomed.socket();
            socket.shutdown(std::net::Shutdown::Both).expect("cut");
            let received = reader.receive();
            assert_eq!(
                seen(&received),
                ("gone/alice", &b"farewell"[..], qos, false)
            );
        }
        reader.assert_quiet();
    });
}

#[test]
fn one_message_reaches_subscribers_of_every_transport_and_version() {
    let mut setup = crate::running::Setup::new();
    let everyone: Vec<_> = TRANSPORTS
        .iter()
        .flat_map(|transport| VERSIONS.map(|version| (*transport, version)))
        .enumerate()
        .map(|(place, kind)| (kind, Login::of(&format!("c{place}@red"))))
        .collect();
    for (_, client) in &everyone {
        setup = setup.and(&client.client("#"));
    }
    let broker = setup.start();
    let mut readers: Vec<_> = everyone
        .iter()
        .map(|((transport, version), client)| {
            let mut reader = login(&broker, *transport, client, *version);
            reader.subscribe("news", QoS::AtLeastOnce);
            reader
        })
        .collect();
    // Large enough to be shared between outboxes, and small enough to be copied.
    for size in [10, 100_000] {
        let payload: Vec<u8> = (0..size).map(|place| place as u8).collect();
        let mut writer = Client::login(&broker, "tcp", &World::alice(), Version::V5);
        writer.publish(message("news", &payload, false, QoS::AtLeastOnce));
        for reader in &mut readers {
            assert_eq!(
                seen(&reader.receive()),
                ("news", &payload[..], QoS::AtLeastOnce, false)
            );
        }
    }
}

#[test]
fn a_payload_of_900_kib_passes_both_ways_over_every_transport() {
    let broker = Broker::start();
    let payload: Vec<u8> = (0..900 << 10)
        .map(|place: u32| (place % 251) as u8)
        .collect();
    for transport in TRANSPORTS {
        println!("{transport:?}");
        let mut client = login(&broker, transport, &World::alice(), Version::V5);
        client.subscribe("large", QoS::AtLeastOnce);
        for _ in 0..3 {
            let sent = message("large", &payload, false, QoS::AtLeastOnce);
            let (qos, id) = client.send_publish(sent).expect("an identifier");
            // The message and its acknowledgement come in this order or the other.
            let mut acknowledged = false;
            let mut received = false;
            while !(acknowledged && received) {
                match client.packet() {
                    cofferdam::wire::client::ServerPacket::Publish(publish) => {
                        assert_eq!(seen(&publish), ("large", &payload[..], qos, false));
                        client.acknowledge(&publish);
                        received = true;
                    }
                    cofferdam::wire::client::ServerPacket::PubAck { packet_id, .. } => {
                        assert_eq!(packet_id, id);
                        acknowledged = true;
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}

/// Shows: MQTT-6.0.0-2 (5.0); MQTT-6.0.0-2 (3.1.1)
#[test]
fn a_client_that_sends_a_byte_at_a_time_is_served_over_every_transport() {
    everywhere(|broker, transport, version| {
        let mut client = dial(broker, transport, version);
        let mut all = World::alice().connect(version).encode();
        all.extend(
            Publish::new("slow", b"x")
                .at(QoS::AtLeastOnce, 7)
                .encode(version),
        );
        for byte in &all {
            client.send(std::slice::from_ref(byte)); // a segment, a record, a frame
        }
        let connack = client.packet();
        assert!(
            matches!(&connack, cofferdam::wire::client::ServerPacket::ConnAck(it) if it.code == 0),
            "{connack:?}"
        );
        client.see_through(QoS::AtLeastOnce, 7);
    });
}

#[test]
fn a_client_that_closes_its_side_still_gets_its_answers() {
    use std::io::{Read as _, Write as _};

    let broker = Broker::start();
    let mut stream = broker.dial("open");
    stream
        .write_all(&Connect::new(Version::V5).encode())
        .expect("sent");
    let mut connack = [0; 2];
    stream.read_exact(&mut connack).expect("CONNACK");
    let mut sent = Vec::new();
    let mut rest = vec![0; usize::from(connack[1])];
    stream.read_exact(&mut rest).expect("the rest of CONNACK");
    for id in 1..=200 {
        let publish = Publish::new("a/b", &[b'x'; 100]).at(QoS::AtLeastOnce, id);
        sent.extend(publish.encode(Version::V5));
    }
    stream.write_all(&sent).expect("sent");
    stream.finish();
    let answers = stream.read_to_close();
    let packets = cofferdam::wire::client::read_all(&answers, Version::V5).expect("packets");
    assert_eq!(packets.len(), 200, "every PUBACK");
}
