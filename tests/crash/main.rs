//! The broker is killed while messages pass, and started again where it was, again and again: nothing
//! that it acknowledged is lost, QoS 2 arrives once, order holds, wills go out, and what is retained is
//! the last that was acknowledged. The same where the power fails, and where the disk is full.

#[path = "../running/mod.rs"]
mod running;

mod disk_full;
mod line;
mod power;
mod publisher;
mod subscriber;
mod wills;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cofferdam::wire::{QoS, Version};
use publisher::Publisher;
use running::{Broker, Client, Login, Place, Setup, World};
use subscriber::Subscriber;
use wills::Wills;

/// Kills of a run where nothing else is asked for.
const KILLS: u32 = 50;

/// All who publish, each to a topic of its own.
fn publishers() -> Vec<Publisher> {
    let login = |name: &str| Login::of(&format!("{name}@red"));
    // As project-link nodes have it, and as older devices do.
    let (v5, v311) = (Version::V5, Version::V311);
    vec![
        Publisher::new(login("p1"), v5, "one", QoS::AtLeastOnce),
        Publisher::new(login("p2"), v5, "two", QoS::ExactlyOnce),
        Publisher::new(login("p3"), v311, "old/one", QoS::AtLeastOnce),
        Publisher::new(login("p4"), v311, "old/two", QoS::ExactlyOnce),
        Publisher::new(login("p5"), v5, "kept", QoS::AtLeastOnce).retaining(),
    ]
}

/// One life of the broker: it is killed after some time, another in each.
fn live(
    round: u32,
    broker: &Broker,
    publishers: &mut [Publisher],
    subscribers: &mut [Subscriber],
    wills: &mut Wills,
) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for publisher in publishers {
            scope.spawn(|| publisher.run(broker, &stop));
        }
        // Each is away in some lives, and both are in some.
        for (subscriber, every) in subscribers.iter_mut().zip([2, 3]) {
            if round.is_multiple_of(every) {
                scope.spawn(|| drop(subscriber.run(broker, |_| false)));
            }
        }
        scope.spawn(|| wills.run(round, broker));
        // What counts is that it comes anywhere, so this is no time to wait for something.
        let millis = 100 + u64::from(round) * 131 % 400;
        std::thread::sleep(Duration::from_millis(millis));
        broker.process().signal("KILL");
        stop.store(true, Ordering::Release);
    });
}

/// Kills it so often. `between` is called before the first start, and after each kill with its round.
fn killed_while_messages_pass(rounds: u32, mut between: impl FnMut(&mut Place, Option<u32>)) {
    let mut publishers = publishers();
    let mut wills = Wills::default();
    let mut subscribers = [
        Subscriber::new(World::anna(), Version::V5),
        Subscriber::new(World::alice(), Version::V311),
    ];
    let logins = publishers.iter().map(|it| it.login.clone());
    let provisions: String = logins
        .chain((0..rounds).map(Wills::login))
        .map(|login| login.client("#"))
        .collect();
    let mut place = Setup::new().and(&provisions).place();
    between(&mut place, None);
    let mut broker = place.start();
    for subscriber in &mut subscribers {
        subscriber.subscribe(&broker);
    }
    for round in 0..rounds {
        let before: u64 = publishers.iter().map(Publisher::acknowledged).sum();
        live(
            round,
            &broker,
            &mut publishers,
            &mut subscribers,
            &mut wills,
        );
        let after: u64 = publishers.iter().map(Publisher::acknowledged).sum();
        println!("round {round}: {} acknowledged", after - before);
        broker.process().wait();
        let mut place = broker.into_place();
        between(&mut place, Some(round));
        broker = place.start();
    }

    assert!(publishers.iter().all(|it| it.acknowledged() > 0));
    let (retained, passed) = publishers.split_last().expect("the one that retains");
    for subscriber in &mut subscribers {
        let ended = subscriber.run(&broker, |it| {
            let has_all = |from: &Publisher| it.of(from.topic).last() >= from.last_acknowledged();
            passed.iter().all(has_all) && wills.due.is_subset(&it.wills())
        });
        assert!(
            ended.is_ok(),
            "{ended:?}: {subscriber} of {passed:?}; {:?}; {}",
            wills.due,
            broker.process().whole_log()
        );
        for publisher in passed {
            check(subscriber, publisher);
        }
        subscriber.check_wills();
    }

    let mut reader = Client::login(&broker, "tcp", &retained.login, Version::V5);
    reader.subscribe(retained.topic, QoS::AtMostOnce);
    let payload = reader.receive().payload;
    let found: u64 = String::from_utf8_lossy(&payload).parse().expect("a number");
    assert!(
        Some(&found) >= retained.last_acknowledged() && found <= retained.last_sent(),
        "{found} is retained: {retained:?}"
    );
}

/// What a subscriber got of a publisher: everything acknowledged, perhaps what was under way, each in
/// order, and at QoS 2 once.
fn check(subscriber: &Subscriber, publisher: &Publisher) {
    let came = subscriber.of(publisher.topic);
    let mut firsts: Vec<u64> = Vec::new();
    for number in came {
        if firsts.last().is_none_or(|last| number > last) {
            firsts.push(*number);
        }
    }
    let all: Vec<u64> = (1..=*firsts.last().expect("one")).collect();
    let topic = publisher.topic;
    assert_eq!(
        firsts, all,
        "{topic}: each, and each for the first time in order"
    );
    if publisher.qos == QoS::ExactlyOnce {
        assert_eq!(*came, all, "{topic}: each once");
    }
}

/// How often to kill it.
fn kills() -> u32 {
    let kills = std::env::var("COFFERDAM_TEST_KILLS").ok();
    kills.map_or(KILLS, |kills| kills.parse().expect("how often to kill it"))
}

#[test]
fn nothing_acknowledged_is_lost_wherever_the_broker_is_killed() {
    killed_while_messages_pass(kills(), |_, _| {});
}
