//! The metrics page after traffic that is known to the last byte: what it says is what happened.

use crate::running::{Broker, Client, Numbers, Setup, World, lasting};
use cofferdam::wire::client::Publish;
use cofferdam::wire::{QoS, Version};

const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

/// A series, as Prometheus would ask for it, and its value.
type Series = (&'static str, &'static [(&'static str, &'static str)], u64);

fn check(numbers: &Numbers, wanted: &[Series]) -> Result<(), String> {
    let mut checks = wanted.iter();
    checks.try_for_each(|(name, labels, value)| numbers.check(name, labels, *value))
}

/// One message at QoS 0, two at 1, three at 2, of 3, 5 and 7 bytes.
fn speak(client: &mut Client) {
    for (qos, payload) in QOS.into_iter().zip([&b"abc"[..], b"abcde", b"abcdefg"]) {
        for _ in 0..=qos as usize {
            client.publish(Publish {
                qos,
                ..Publish::new("said", payload)
            });
        }
    }
}

#[test]
fn messages_and_bytes_are_counted_each_way_by_qos_and_routing_by_its_time() {
    let broker = Broker::start();
    let mut reader = Client::login(&broker, "wss", &World::anna(), Version::V311);
    reader.subscribe("said", QoS::AtLeastOnce);
    let mut writer = Client::login(&broker, "tcp", &World::alice(), Version::V5);
    speak(&mut writer);
    for _ in 0..6 {
        reader.receive();
    }
    reader.assert_quiet();
    broker.wait_for_numbers(|numbers| {
        check(
            numbers,
            &[
                ("cofferdam_messages_received_total", &[("qos", "0")], 1),
                ("cofferdam_messages_received_total", &[("qos", "1")], 2),
                ("cofferdam_messages_received_total", &[("qos", "2")], 3),
                (
                    "cofferdam_messages_received_bytes_total",
                    &[("qos", "0")],
                    3,
                ),
                (
                    "cofferdam_messages_received_bytes_total",
                    &[("qos", "1")],
                    10,
                ),
                (
                    "cofferdam_messages_received_bytes_total",
                    &[("qos", "2")],
                    21,
                ),
                // What was sent at QoS 2 is received at the QoS that was granted.
                ("cofferdam_messages_sent_total", &[("qos", "0")], 1),
                ("cofferdam_messages_sent_total", &[("qos", "1")], 5),
                ("cofferdam_messages_sent_total", &[("qos", "2")], 0),
                ("cofferdam_messages_sent_bytes_total", &[("qos", "0")], 3),
                ("cofferdam_messages_sent_bytes_total", &[("qos", "1")], 31),
                ("cofferdam_messages_sent_bytes_total", &[("qos", "2")], 0),
                ("cofferdam_routing_duration_seconds_count", &[], 6),
            ],
        )
    });
}

#[test]
fn the_bytes_of_a_listener_are_those_on_its_connections_records() {
    let broker = Broker::start();
    let mut reader = Client::login(&broker, "wss", &World::anna(), Version::V311);
    reader.subscribe("said", QoS::AtLeastOnce);
    let mut writer = Client::login(&broker, "tcp", &World::alice(), Version::V5);
    speak(&mut writer);
    for _ in 0..6 {
        reader.receive();
    }
    for (mut client, listener) in [(writer, "tcp"), (reader, "wss")] {
        client.assert_quiet();
        drop(client);
        let row = broker.audited(|row| row["event"] == "disconnect" && row["listener"] == listener);
        let bytes = |way: &str| row["detail"][way].as_u64().expect("bytes");
        assert!(bytes("bytes_in") > 60 && bytes("bytes_out") > 20, "{row}");
        broker.wait_for_numbers(|numbers| {
            let of = [("listener", listener)];
            numbers.check("cofferdam_received_bytes_total", &of, bytes("bytes_in"))?;
            numbers.check("cofferdam_sent_bytes_total", &of, bytes("bytes_out"))
        });
    }
}

#[test]
fn connections_sessions_subscriptions_and_retained_messages_are_those_that_there_are() {
    let broker = Setup::new()
        .variable("COFFERDAM__LIMITS__MAX_QUEUED_MESSAGES", "2")
        .start();
    let mut absent = Client::dial(&broker, "ws", Version::V5);
    absent.connect(&lasting(World::lena().connect(Version::V5), 1000));
    absent.subscribe("own/#", QoS::AtLeastOnce);
    drop(absent);
    broker.audited(|row| row["event"] == "disconnect" && row["actor"] == "lena@red");
    let mut alice = Client::login(&broker, "tcp", &World::alice(), Version::V5);
    let mut anna = Client::login(&broker, "tls", &World::anna(), Version::V311);
    let mut bob = Client::login(&broker, "wss", &World::bob(), Version::V5);
    alice.subscribe("a/+", QoS::AtMostOnce);
    alice.subscribe("b/#", QoS::AtMostOnce);
    bob.subscribe("#", QoS::AtMostOnce);
    for name in ["kept/1", "kept/2", "kept/3"] {
        anna.publish(Publish {
            retain: true,
            ..Publish::new(name, b"kept")
        });
    }
    // Five messages for a session whose queue takes two.
    for _ in 0..5 {
        anna.publish(Publish {
            qos: QoS::AtLeastOnce,
            ..Publish::new("own/inbox", b"waits")
        });
    }
    let wanted: &[Series] = &[
        (
            "cofferdam_connections",
            &[("listener", "tcp"), ("team", "red")],
            1,
        ),
        (
            "cofferdam_connections",
            &[("listener", "tls"), ("team", "red")],
            1,
        ),
        ("cofferdam_connections", &[("listener", "ws")], 0),
        (
            "cofferdam_connections",
            &[("listener", "wss"), ("team", "blue")],
            1,
        ),
        ("cofferdam_connections", &[], 3),
        (
            "cofferdam_connects_total",
            &[("listener", "ws"), ("version", "5.0")],
            1,
        ),
        (
            "cofferdam_connects_total",
            &[("listener", "tls"), ("version", "3.1.1")],
            1,
        ),
        ("cofferdam_connects_total", &[], 4),
        (
            "cofferdam_sessions",
            &[("team", "red"), ("state", "connected")],
            2,
        ),
        (
            "cofferdam_sessions",
            &[("team", "red"), ("state", "stored")],
            1,
        ),
        (
            "cofferdam_sessions",
            &[("team", "blue"), ("state", "connected")],
            1,
        ),
        (
            "cofferdam_sessions",
            &[("team", "blue"), ("state", "stored")],
            0,
        ),
        ("cofferdam_subscriptions", &[("team", "red")], 3),
        ("cofferdam_subscriptions", &[("team", "blue")], 1),
        ("cofferdam_retained_messages", &[("team", "red")], 3),
        ("cofferdam_retained_messages", &[("team", "blue")], 0),
        (
            "cofferdam_messages_dropped_total",
            &[("reason", "queue_full")],
            3,
        ),
        ("cofferdam_messages_dropped_total", &[], 3),
    ];
    broker.wait_for_numbers(|numbers| check(numbers, wanted));

    drop((alice, anna, bob));
    broker.wait_for_numbers(|numbers| {
        check(
            numbers,
            &[
                ("cofferdam_connections", &[], 0),
                ("cofferdam_sessions", &[("state", "connected")], 0),
                ("cofferdam_sessions", &[], 1),
                ("cofferdam_subscriptions", &[], 1),
                ("cofferdam_retained_messages", &[], 3),
            ],
        )
    });
}

#[test]
fn what_waits_for_the_audit_store_and_what_is_in_it_is_counted() {
    let broker = Broker::start();
    // The broker and its listeners are on record too.
    let own = 1 + 6 + 2;
    broker.wait_for_numbers(|numbers| {
        numbers.check("cofferdam_audit_written_events_total", &[], own)
    });
    let before = broker.place().audit().len() as u64;
    for _ in 0..3 {
        drop(Client::login(&broker, "tcp", &World::alice(), Version::V5));
    }
    broker.wait_for_numbers(|numbers| {
        check(
            numbers,
            &[
                ("cofferdam_audit_queue_events", &[], 0),
                ("cofferdam_audit_written_events_total", &[], own + 6),
                ("cofferdam_audit_spooled_events_total", &[], own + 6),
                ("cofferdam_audit_spool_failing", &[], 0),
                ("cofferdam_audit_dropped_events_total", &[], 0),
                ("cofferdam_audit_write_failures_total", &[], 0),
            ],
        )
    });
    assert_eq!(broker.place().audit().len() as u64, before + 6);
    let (_, page) = broker.get("/metrics");
    for name in [
        "queue_events",
        "dropped_events_total",
        "write_failures_total",
    ] {
        let line = format!("\ncofferdam_audit_{name} 0\n");
        assert!(page.contains(&line), "{page}");
    }
}
