//! What was measured to go wrong in other brokers, and must not here. The list is the last table of
//! `docs/conformance.md`; most of it is shown by other tests.

use crate::cluster::*;
use cofferdam::broker::Drop;
use cofferdam::wire::client::{Property, ServerPacket, puback, pubcomp, pubrec};
use cofferdam::wire::{QoS, ReasonCode, Version};

/// An acknowledgement in the making.
type Answer = fn(Version, u16, ReasonCode, &[Property]) -> Vec<u8>;

const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];

/// Shows: PEER-1, PEER-14
#[test]
fn a_packet_that_only_servers_send_ends_its_connection_and_harms_nobody_else() {
    let from_servers: [&[u8]; 6] = [
        b"\x20\x02\x00\x00",     // CONNACK
        b"\x20\x03\x00\x00\x00", // CONNACK of 5.0
        b"\x90\x03\x00\x01\x00", // SUBACK
        b"\xB0\x02\x00\x01",     // UNSUBACK
        b"\xD0\x00",             // PINGRESP
        b"\xD0\x00\xD0\x00\xD0\x00",
    ];
    for version in VERSIONS {
        let cluster = Cluster::new(2);
        let others = [0, 1].map(|shard| {
            let other = cluster.connect(shard, instance("alpha", "a1").id(&shard.to_string()));
            other.subscribe("ff/v1/alpha/c/x", QOS_1);
            other
        });
        for bytes in from_servers {
            for shard in [0, 1] {
                let hello = client("alice@alpha").version(version).kept(60);
                let unknown = cluster.open(shard, &hello);
                unknown.send(bytes);
                assert_eq!(unknown.bytes(), NOTHING);
                assert!(!unknown.is_open());

                let known = cluster.connect(shard, hello.clone());
                known.send(bytes);
                let goodbye: &[u8] = match version {
                    Version::V5 => &[0xE0, 1, 0x82],
                    _ => &[],
                };
                assert_eq!(known.bytes(), goodbye);
                assert!(!known.is_open());

                let again = cluster.connect(shard, hello);
                again.publish_at(QOS_1, "x", "still here");
                again.disconnect();
                for other in &others {
                    assert_eq!(other.heard(), ["ff/v1/alpha/c/x still here"]);
                }
            }
        }
    }
}

/// Shows: PEER-12
#[test]
fn messages_beyond_a_small_receive_maximum_wait_and_all_arrive() {
    const COUNT: usize = 300;
    for window in 1..=3 {
        let cluster = Cluster::new(2);
        let publisher = cluster.connect(0, client("alice@alpha"));
        let hello = client("bob@alpha").with(Property::ReceiveMaximum(window));
        let slow = cluster.connect(1, hello);
        slow.subscribe("a", QOS_2);
        for n in 0..COUNT {
            let qos = if n % 2 == 0 { QOS_1 } else { QOS_2 };
            publisher.publish_at(qos, "a", &n.to_string());
        }
        let (mut got, mut under_way) = (Vec::new(), 0);
        let mut packets = slow.received();
        while !packets.is_empty() {
            for packet in packets {
                let (id, answer) = match packet {
                    ServerPacket::Publish(publish) => {
                        under_way += 1;
                        assert!(under_way <= window, "{under_way} are under way");
                        got.push(String::from_utf8(publish.payload).expect("a number"));
                        let at_1 = publish.qos == QoS::AtLeastOnce;
                        under_way -= u16::from(at_1);
                        let id = publish.packet_id.expect("an identifier");
                        (id, if at_1 { puback as Answer } else { pubrec })
                    }
                    ServerPacket::PubRel { packet_id, .. } => {
                        under_way -= 1;
                        (packet_id, pubcomp as Answer)
                    }
                    other => panic!("{other:?}"),
                };
                slow.send(answer(Version::V5, id, ReasonCode::Success, &[]));
            }
            packets = slow.received();
        }
        let all: Vec<String> = (0..COUNT).map(|n| n.to_string()).collect();
        assert_eq!(got, all);
        assert_eq!(cluster.dropped(Drop::QueueFull), 0);
    }
}

/// Bytes of address space that this process takes.
fn address_space() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = statm.split(' ').next().expect("a number");
    pages.parse::<usize>().expect("pages") * 4096
}

/// Shows: PEER-19
#[test]
fn first_packets_that_announce_much_and_bring_little_cost_little() {
    const COUNT: usize = 2_000;
    let cluster = Cluster::new(1);
    let hello = client("alice@alpha");
    let before = address_space();
    for first in [
        &b"\xFF\xFF\xFF\xFF"[..],
        b"\x00\xFF\xFF\xFF\x7F",
        b"\x30\xFF\xFF\xFF\x7F",
        b"\x10\xFF\xFF\xFF\x7F",
        b"\x10\xFF\xFF\xFF\xFF\x7F",
        b"\x10\x80\x80\x80\x01",
    ] {
        for _ in 0..COUNT / 10 {
            let garbage = cluster.open(0, &hello);
            garbage.send(first);
            assert_eq!(garbage.bytes(), NOTHING);
            assert!(!garbage.is_open(), "{first:02x?} is not waited for");
        }
    }
    assert_eq!(cluster.connections(), 0);
    // What may become a CONNECT is waited for, but not paid for in advance.
    for announced in [&b"\x10\xF0\xFF\x03"[..], b"\x10\xF0\xFF\x03\x00\x04MQTT"] {
        for _ in 0..COUNT {
            let waiting = cluster.open(0, &hello);
            waiting.send(announced);
            assert!(waiting.is_open());
        }
    }
    let grown = address_space().saturating_sub(before);
    let each = grown / (2 * COUNT);
    assert!(each < 8 << 10, "{each} bytes of address space for each");
    cluster.connect(0, hello).disconnect();
}
