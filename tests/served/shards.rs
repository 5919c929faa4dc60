//! Two shards that look like one broker: sessions found again, taken over and served in order,
//! wherever the system puts their connections; and many clients at once, within bounds.

use std::io::Write as _;
use std::time::Duration;

use crate::running::{Broker, Client, Hook, Login, Mood, Setup, World, allow_sockets, lasting};
use cofferdam::wire::client::{Connect, Property, Publish, ServerPacket};
use cofferdam::wire::{QoS, ReasonCode, Version};
use serde_json::Value;

const V5: Version = Version::V5;

/// With two shards and connections spread by chance, all of so many land on one side once in
/// 2^39 runs.
const OFTEN: usize = 40;

/// A connection with its layers goes from shard to shard: each kind in turn.
const LISTENERS: [&str; 4] = ["tcp", "tls", "ws", "wss"];

fn numbered(topic: &str, number: usize, qos: QoS) -> Publish {
    let payload = number.to_string().into_bytes();
    Publish {
        qos,
        ..Publish::new(topic, &payload)
    }
}

fn number(publish: &Publish) -> usize {
    let text = std::str::from_utf8(&publish.payload).expect("digits");
    text.parse().expect("a number")
}

#[test]
fn a_session_is_resumed_wherever_its_client_comes_back_and_loses_nothing() {
    let broker = Broker::start();
    let mut writer = Client::login(&broker, "tcp", &World::alice(), V5);
    let connect = lasting(World::anna().connect(V5), 120);
    let mut next = 0;
    for round in 0..OFTEN {
        let mut reader = Client::dial(&broker, LISTENERS[round % 4], V5);
        let connack = reader.connect(&connect);
        assert_eq!(connack.session_present, round > 0, "round {round}");
        if round == 0 {
            reader.subscribe("line", QoS::ExactlyOnce);
        } else {
            // What was published meanwhile, once and in order.
            let mut open = Vec::new();
            let mut expected = next - 3..next;
            while !expected.is_empty() || !open.is_empty() {
                match reader.packet() {
                    ServerPacket::Publish(publish) => {
                        let found = (Some(number(&publish)), publish.dup);
                        assert_eq!(found, (expected.next(), false), "round {round}");
                        open.extend(reader.begin_acknowledging(&publish));
                    }
                    ServerPacket::PubRel { packet_id, .. } => {
                        reader.complete(packet_id);
                        open.retain(|id| *id != packet_id);
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        reader.assert_quiet();
        reader.send(&cofferdam::wire::client::disconnect(
            V5,
            ReasonCode::Success,
            &[],
        ));
        assert_eq!(reader.next(), None);
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce, QoS::AtLeastOnce] {
            writer.publish(numbered("line", next, qos));
            next += 1;
        }
    }
}

#[test]
fn a_client_that_comes_a_second_time_takes_its_session_from_the_first() {
    let broker = Broker::start();
    let mut writer = Client::login(&broker, "tcp", &World::alice(), V5);
    let connect = lasting(World::anna().connect(V5), 120);
    let mut before = Client::dial(&broker, "tcp", V5);
    before.connect(&connect);
    before.subscribe("line", QoS::AtLeastOnce);
    for round in 0..OFTEN {
        let mut after = Client::dial(&broker, LISTENERS[round % 4], V5);
        assert!(after.connect(&connect).session_present);
        let told = ServerPacket::Disconnect {
            reason: ReasonCode::SessionTakenOver,
            properties: vec![],
        };
        assert_eq!(before.rest(), [told], "round {round}");
        writer.publish(numbered("line", round, QoS::AtLeastOnce));
        assert_eq!(number(&after.receive()), round);
        after.assert_quiet();
        before = after;
    }
    let takeovers = |rows: &[Value]| rows.iter().filter(|row| row["event"] == "takeover").count();
    crate::running::eventually("takeovers on record", || {
        match takeovers(&broker.place().audit()) {
            OFTEN => Ok(()),
            found => Err(format!("{found} of {OFTEN}")),
        }
    });
}

/// Clients `c0@red` to `c<count - 1>@red`, who may do everything in their team.
fn crowd(count: usize) -> (Setup, Vec<Login>) {
    let logins: Vec<_> = (0..count)
        .map(|place| Login::of(&format!("c{place}@red")))
        .collect();
    let lines: String = logins.iter().map(|login| login.client("#")).collect();
    (Setup::new().and(&lines), logins)
}

#[test]
fn every_reader_gets_every_writers_messages_in_the_order_in_which_they_were_sent() {
    const READERS: usize = 6;
    const WRITERS: usize = 8;
    const MESSAGES: usize = 200;
    let (setup, logins) = crowd(READERS + WRITERS);
    let broker = setup.start();
    let (readers, writers) = logins.split_at(READERS);
    let qos = |place: usize| [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][place % 3];
    let readers: Vec<_> = readers
        .iter()
        .enumerate()
        .map(|(place, login)| {
            let mut reader = Client::login(&broker, LISTENERS[place % 4], login, V5);
            reader.subscribe("from/+", qos(place));
            reader
        })
        .collect();
    std::thread::scope(|scope| {
        for (place, login) in writers.iter().enumerate() {
            let mut writer = Client::login(&broker, LISTENERS[place % 4], login, V5);
            scope.spawn(move || {
                let topic = format!("from/{place}");
                for number in 0..MESSAGES {
                    writer.publish(numbered(&topic, number, qos(place)));
                }
            });
        }
        for mut reader in readers {
            scope.spawn(move || {
                let mut next = [0; WRITERS];
                let mut open = Vec::new();
                while next.iter().sum::<usize>() < WRITERS * MESSAGES || !open.is_empty() {
                    match reader.packet() {
                        ServerPacket::Publish(publish) => {
                            let writer = publish
                                .topic
                                .strip_prefix("from/")
                                .expect("a topic of ours");
                            let next = &mut next[writer.parse::<usize>().expect("a number")];
                            assert_eq!(number(&publish), *next, "{}", publish.topic);
                            *next += 1;
                            open.extend(reader.begin_acknowledging(&publish));
                        }
                        ServerPacket::PubRel { packet_id, .. } => {
                            reader.complete(packet_id);
                            open.retain(|id| *id != packet_id);
                        }
                        other => panic!("{other:?}"),
                    }
                }
                assert_eq!(next, [MESSAGES; WRITERS]);
                reader.assert_quiet();
            });
        }
    });
}

#[test]
fn a_reader_that_does_not_read_holds_up_nobody_else() {
    let broker = Broker::start();
    // By their number both shards have some.
    let mut slow = Vec::new();
    for _ in 0..OFTEN / 2 {
        let mut reader = Client::dial(&broker, "open", V5);
        reader.connect(&Connect::new(V5));
        reader.subscribe("flood", QoS::AtMostOnce);
        slow.push(reader);
    }
    let mut writer = Client::dial(&broker, "open", V5);
    writer.connect(&Connect::new(V5));
    let mut quick = Client::dial(&broker, "open", V5);
    quick.connect(&Connect::new(V5));
    quick.subscribe("flood", QoS::AtLeastOnce);
    let payload = vec![7; 256 << 10];
    for _ in 0..80 {
        let flood = Publish {
            qos: QoS::AtLeastOnce,
            ..Publish::new("flood", &payload)
        };
        writer.publish(flood);
        assert_eq!(quick.receive().payload.len(), payload.len());
    }
    // 20 MiB for each is more than its socket and its outbox hold: the rest was dropped, counted.
    broker.wait_for_numbers(|numbers| {
        let dropped = numbers.sum(
            "cofferdam_messages_dropped_total",
            &[("reason", "slow_consumer")],
        );
        (dropped > 0)
            .then_some(())
            .ok_or("nothing was dropped".to_owned())
    });
    for reader in &mut slow {
        let first = reader.packet();
        assert!(matches!(first, ServerPacket::Publish(_)), "still connected");
    }
}

#[test]
fn five_hundred_clients_log_in_at_once_and_all_are_served() {
    const CLIENTS: usize = 500;
    let (setup, logins) = crowd(CLIENTS);
    let broker = setup.start();
    allow_sockets(2 * CLIENTS);
    let mut clients: Vec<_> = logins
        .iter()
        .map(|login| {
            let mut client = Client::dial(&broker, "tcp", V5);
            client.send(&login.connect(V5).encode());
            client
        })
        .collect();
    for client in &mut clients {
        let answer = client.packet();
        assert!(
            matches!(&answer, ServerPacket::ConnAck(it) if it.code == 0),
            "{answer:?}"
        );
    }
    for client in &mut clients {
        client.subscribe("all", QoS::AtMostOnce);
    }
    clients[0].publish(Publish::new("all", b"here"));
    for client in &mut clients {
        assert_eq!(client.receive().payload, b"here");
    }
    broker.wait_for_numbers(|numbers| {
        let red = [("listener", "tcp"), ("team", "red")];
        numbers.check("cofferdam_connections", &red, CLIENTS as u64)
    });
    drop(clients);
    broker
        .wait_for_numbers(|numbers| numbers.check("cofferdam_connections", &[("team", "red")], 0));
}

/// Shows: PEER-19
#[test]
fn a_thousand_clients_that_never_finish_their_login_cost_a_bounded_amount() {
    const CLIENTS: usize = 1000;
    /// Of MQTT, for each that has not logged in.
    const HELD: usize = 64 << 10;
    /// What a connection is beside that, without and with TLS.
    const CONNECTION: [usize; 2] = [4 << 10, 48 << 10];
    /// What the broker grows by meanwhile, however many they are: the audit's spool and store.
    const OWN: usize = 4 << 20;
    let broker = Setup::new()
        .variable("COFFERDAM__LIMITS__CONNECT_TIMEOUT", "8 s")
        .start();
    allow_sockets(2 * CLIENTS);
    // A CONNECT of almost as much as may be held, but for its last byte.
    let mut connect = Connect {
        properties: vec![Property::User("k".to_owned(), "v".repeat(60_000))],
        ..World::alice().connect(V5)
    }
    .encode();
    assert!(connect.pop().is_some() && connect.len() > 60_000);
    let before = broker.process().memory();
    let mut stalled: Vec<_> = (0..CLIENTS)
        .map(|place| {
            let mut client = Client::dial(&broker, LISTENERS[place % 4], V5);
            client.send(&connect);
            client
        })
        .collect();
    // Everybody else is served all the while.
    let mut client = Client::login(&broker, "tcp", &World::alice(), V5);
    let mut most = 0;
    broker.wait_for_numbers(|numbers| {
        client.assert_quiet();
        most = most.max(broker.process().memory());
        let timeouts = [("reason", "connect_timeout")];
        numbers.check(
            "cofferdam_connects_refused_total",
            &timeouts,
            CLIENTS as u64,
        )
    });
    let held = most.saturating_sub(before) as usize;
    let bound = CLIENTS * (HELD + (CONNECTION[0] + CONNECTION[1]) / 2) + OWN;
    println!("{held} bytes of {bound}");
    assert!(held > bound / 4, "only {held} bytes: this measures nothing");
    assert!(held < bound, "{held} bytes, and not {bound}");
    for client in &mut stalled {
        assert_eq!(client.next(), None);
    }
}

#[test]
fn what_is_sent_while_a_login_is_judged_is_held_within_bounds() {
    const CLIENTS: usize = 20;
    const EACH: usize = 20 << 20;
    // Somebody else judges, and takes his time.
    let hook = Hook::start();
    let lines = Hook::config(hook.address(), "emqx", "unknown");
    let broker = Setup::new().and_config(&lines).start();
    hook.mood(Mood::Silent);
    let connect = Login::of("forge_platform").connect(V5).encode();
    let mut streams: Vec<_> = (0..CLIENTS)
        .map(|place| {
            let mut stream = broker.dial(["tcp", "tls"][place % 2]);
            stream.write_all(&connect).expect("sent");
            stream
        })
        .collect();
    hook.wait_for_logins(CLIENTS);
    let before = broker.process().memory();
    let mut most = before;
    std::thread::scope(|scope| {
        let sending: Vec<_> = streams
            .iter_mut()
            .map(|stream| {
                // Nothing more is taken, for as long as this or for ever.
                let enough = Some(Duration::from_millis(500));
                stream.socket().set_write_timeout(enough).expect("a socket");
                scope.spawn(move || {
                    let piece = vec![0xFF; 64 << 10];
                    let sent = (0..EACH / piece.len())
                        .take_while(|_| stream.write_all(&piece).is_ok())
                        .count();
                    sent * piece.len()
                })
            })
            .collect();
        while sending.iter().any(|thread| !thread.is_finished()) {
            most = most.max(broker.process().memory());
        }
        for thread in sending {
            let sent = thread.join().expect("it ends");
            assert!(sent < EACH, "all of it was taken");
        }
    });
    // 64 KiB each, TLS, and what allocators keep.
    let (held, bound) = ((most - before) as usize, CLIENTS * (64 << 10) + (16 << 20));
    println!("{held} bytes of {bound}");
    assert!(held < bound, "{held} bytes, and not {bound}");
    hook.mood(Mood::Well);
    broker.wait_for_numbers(|numbers| {
        numbers.check("cofferdam_connects_refused_total", &[], CLIENTS as u64)
    });
}

#[test]
fn a_client_whose_outbox_overflows_within_a_turn_is_read_again() {
    let broker = Setup::new()
        .variable("COFFERDAM__LIMITS__MAX_PACKET_SIZE", "4 KiB")
        .variable("COFFERDAM__LIMITS__MAX_OUTBOX_BYTES", "16 KiB")
        .start();
    let mut client = Client::dial(&broker, "open", Version::V5);
    client.connect(&Connect::new(Version::V5));
    client.subscribe("x", QoS::AtMostOnce);
    for _ in 0..20 {
        let mut burst = Vec::new();
        for _ in 0..40 {
            burst.extend(Publish::new("x", &[b'x'; 1024]).encode(Version::V5));
        }
        client.send(&burst);
        assert!(client.ping().is_some(), "the broker reads on");
    }
}
