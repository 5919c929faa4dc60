//! Section 4.7: topic names and filters.

use super::cluster::*;
use super::{VERSIONS, is_dismissed};
use cofferdam::limits::Limits;
use cofferdam::wire::Version;

/// Shows: MQTT-4.7.0-1, MQTT-3.3.2-2 (5.0); MQTT-4.7.1-1, MQTT-3.3.2-2 (3.1.1)
#[test]
fn a_topic_name_with_a_wildcard_ends_the_connection() {
    let cluster = Cluster::new(1);
    let watcher = cluster.connect(0, client("bob@alpha"));
    watcher.subscribe("#", QOS_0);
    for version in VERSIONS {
        for topic in ["+", "#", "a/+", "a/#", "a/+/b", "a+", "a#b"] {
            let client = cluster.connect(0, client("alice@alpha").version(version));
            client.publish(topic, "x");
            is_dismissed(&client, 0x90);
        }
    }
    assert_eq!(watcher.messages(), []);
}

/// Shows: MQTT-4.7.1-1, MQTT-4.7.1-2, MQTT-4.7.3-1 (5.0); MQTT-4.7.1-2, MQTT-4.7.1-3,
/// MQTT-4.7.3-1 (3.1.1)
#[test]
fn wildcards_fill_a_level_the_multi_level_one_the_last_and_no_filter_is_empty() {
    let cluster = Cluster::new(1);
    for version in VERSIONS {
        let client = cluster.connect(0, client("alice@alpha").version(version));
        let granted = |filter: &str| {
            let codes = client.try_subscribe(&[(filter, options(QOS_1))], &[]);
            assert!(client.is_open());
            codes[0].as_byte()
        };
        for good in [
            "#", "+", "a/#", "a/+", "+/b", "a/+/b", "+/+", "/+", "+/#", "/", " ",
        ] {
            assert_eq!(granted(good), 1, "{good}");
        }
        let refused = match version {
            Version::V5 => 0x8F,
            Version::V311 => 0x80,
            Version::V31 => 0, // it has no word for it
        };
        for bad in [
            "", "a#", "#a", "a/#/b", "#/", "a+", "+a", "a/b+", "++", "+#",
        ] {
            assert_eq!(granted(bad), refused, "{bad}");
        }
        assert_eq!(cluster.team("alpha").subscriptions(), 11);
        client.disconnect();
    }
}

/// Shows: MQTT-4.7.3-1, MQTT-4.7.3-2 (5.0); MQTT-1.5.3-2, MQTT-4.7.3-1, MQTT-4.7.3-2 (3.1.1)
#[test]
fn an_empty_topic_name_and_u_0000_anywhere_end_the_connection() {
    let cluster = Cluster::new(1);
    for version in VERSIONS {
        let none: &[u8] = match version {
            Version::V5 => &[0],
            _ => &[],
        };
        for (front, back, code) in [
            (&b"\x30\x00\x00"[..], &b""[..], [0x90, 0x82]),
            (b"\x30\x00\x03a\0b", b"", [0x81; 2]),
            (b"\x82\x00\x01", b"\x00\x03a\0b\x00", [0x81; 2]),
            (b"\xA2\x00\x01", b"\x00\x03a\0b", [0x81; 2]),
        ] {
            let client = cluster.connect(0, client("alice@alpha").version(version));
            let body = [&front[1..], none, back].concat();
            client.send([&[front[0], body.len() as u8], &body[..]].concat());
            // In 5.0 an alias could stand for the name: what is missing is either of the two.
            is_dismissed(&client, code[usize::from(version == Version::V5)]);
        }
    }
}

/// Shows: MQTT-3.3.2-3, MQTT-4.7.3-4 (5.0); MQTT-3.3.2-3, MQTT-4.7.3-4 (3.1.1)
#[test]
fn names_are_compared_character_by_character() {
    let cluster = Cluster::new(1);
    let names = [
        "a",
        "A",
        "a ",
        " a",
        "a/",
        "/a",
        "a//",
        "é",
        "e\u{301}",
        "\u{212B}",
        "Å",
        "a\u{200B}",
        "\u{FFFD}",
        "\u{10FFFF}",
        "ﬁ",
        "fi",
    ];
    let publisher = cluster.connect(0, client("alice@alpha"));
    for version in VERSIONS {
        let listener = cluster.connect(0, client("bob@alpha").version(version));
        for name in names {
            listener.subscribe(name, QOS_0);
            for other in names {
                publisher.publish(other, "x");
            }
            assert_eq!(listener.heard(), [format!("{name} x")]);
            listener.unsubscribe(&[name]);
        }
        listener.disconnect();
    }
}

/// Shows: MQTT-4.7.2-1 (5.0); MQTT-4.7.2-1 (3.1.1)
#[test]
fn a_leading_wildcard_does_not_match_names_that_begin_with_a_dollar() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    for version in VERSIONS {
        let listener = cluster.connect(0, client("bob@alpha").version(version));
        for (filter, hidden) in [
            ("#", true),
            ("+/x", true),
            ("+/#", true),
            ("$own/#", false),
            ("$own/+", false),
            ("$own/x", false),
        ] {
            listener.subscribe(filter, QOS_0);
            publisher.publish("$own/x", "1");
            assert_eq!(listener.heard().is_empty(), hidden, "{filter}");
            listener.unsubscribe(&[filter]);
        }
        listener.disconnect();
    }
}

/// Shows: MQTT-4.7.3-3 (5.0); MQTT-4.7.3-3 (3.1.1)
#[test]
fn a_topic_name_may_have_65_535_bytes() {
    let limits = Limits {
        max_topic_length: u16::MAX,
        ..Limits::default()
    };
    let cluster = Cluster::limited(1, limits);
    let topic = format!("{:x<65535}", "ff/v1/alpha/c/");
    for version in VERSIONS {
        let hello = |id: &str| instance("alpha", "a1").id(id).version(version);
        let (publisher, listener) = (
            cluster.connect(0, hello("1")),
            cluster.connect(0, hello("2")),
        );
        for filter in [&*topic, "ff/v1/alpha/c/#"] {
            listener.subscribe(filter, QOS_0);
            publisher.publish(&topic, "whole");
            let [message] = &listener.messages()[..] else {
                panic!("one message by {:.20}", filter);
            };
            assert!(message.topic == topic && message.payload == b"whole");
            listener.unsubscribe(&[filter]);
        }
        publisher.disconnect();
        listener.disconnect();
    }
}
