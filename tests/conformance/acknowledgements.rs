//! Sections 3.2 and 3.4 to 3.11: what every answer may and may not carry.

use super::cluster::*;
use super::is_dismissed;
use cofferdam::limits::Limits;
use cofferdam::wire::client::{Property, Publish, pubrec, pubrel, subscribe, unsubscribe};
use cofferdam::wire::{QoS, ReasonCode, Version};

const V5: Version = Version::V5;

/// The answers of the broker to one client, good and bad, byte for byte: neither a reason string
/// nor a user property is in any of them, so that none is ever too long for it.
///
/// Shows: MQTT-3.1.2-29, MQTT-3.2.2-19, MQTT-3.2.2-20, MQTT-3.4.2-1, MQTT-3.4.2-2, MQTT-3.4.2-3,
/// MQTT-3.5.2-1, MQTT-3.5.2-2, MQTT-3.5.2-3, MQTT-3.6.2-1, MQTT-3.6.2-2, MQTT-3.6.2-3,
/// MQTT-3.7.2-1, MQTT-3.7.2-2, MQTT-3.7.2-3, MQTT-3.9.2-1, MQTT-3.9.2-2, MQTT-3.9.3-2,
/// MQTT-3.11.2-1, MQTT-3.11.2-2, MQTT-3.11.3-2, MQTT-3.14.2-3, MQTT-3.14.2-4 (5.0)
#[test]
fn answers_are_codes_and_nothing_more() {
    let limits = Limits {
        max_subscriptions: 2,
        max_retained_messages: 1,
        ..Limits::default()
    };
    for wants_more in [true, false] {
        let cluster = Cluster::limited(1, limits.clone());
        cluster
            .directory()
            .client("alice@alpha", &["allow both ok/#"]);
        let hello = client("alice@alpha")
            .with(Property::RequestProblemInformation(wants_more))
            .with(Property::MaximumPacketSize(20));
        let client = cluster.dial(0, hello);
        // Receive maximum, topic alias maximum, maximum packet size.
        let connack = b"\x20\x0E\x00\x00\x0B\x21\x04\x00\x22\x00\x40\x27\x00\x10\x00\x00";
        assert_eq!(client.bytes(), connack);
        let says = |bytes: Vec<u8>, answer: &[u8]| {
            client.send(&bytes);
            assert_eq!(client.bytes(), answer, "to {bytes:02x?}");
        };
        let publish = |qos: QoS, topic: &str| Publish::new(topic, b"x").at(qos, 9).encode(V5);
        let retain = |topic: &str| {
            Publish {
                retain: true,
                ..Publish::new(topic, b"x").at(QOS_1, 9)
            }
            .encode(V5)
        };
        let one = |filter| subscribe(V5, 9, &[(filter, options(QOS_2))], &[]);

        says(publish(QOS_1, "ok/a"), &[0x40, 3, 0, 9, 0x10]);
        says(publish(QOS_1, "no"), &[0x40, 3, 0, 9, 0x87]);
        says(retain("ok/kept"), &[0x40, 3, 0, 9, 0x10]);
        says(retain("ok/too/many"), &[0x40, 3, 0, 9, 0x97]);
        says(publish(QOS_2, "no"), &[0x50, 3, 0, 9, 0x87]);
        says(publish(QOS_2, "ok/a"), &[0x50, 3, 0, 9, 0x10]);
        says(pubrel(V5, 9, ReasonCode::Success, &[]), &[0x70, 2, 0, 9]);
        says(
            pubrel(V5, 9, ReasonCode::Success, &[]),
            &[0x70, 3, 0, 9, 0x92],
        );
        says(
            pubrec(V5, 9, ReasonCode::Success, &[]),
            &[0x62, 3, 0, 9, 0x92],
        );
        says(one("ok/a"), &[0x90, 4, 0, 9, 0, 2]);
        says(one("no"), &[0x90, 4, 0, 9, 0, 0x87]);
        says(one("ok/#/a"), &[0x90, 4, 0, 9, 0, 0x8F]);
        says(one("ok/b"), &[0x90, 4, 0, 9, 0, 2]);
        says(one("ok/c"), &[0x90, 4, 0, 9, 0, 0x97]);
        says(
            unsubscribe(V5, 9, &["ok/a", "ok/none", "ok/#/a"], &[]),
            &[0xB0, 6, 0, 9, 0, 0, 0x11, 0x8F],
        );
        client.send([0, 0]);
        is_dismissed(&client, 0x81);
    }
}
