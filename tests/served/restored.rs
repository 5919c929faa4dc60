//! What was kept is there before the first client is heard, on every shard.

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use cofferdam::fact::{Fact, Kept, Target, Terms};
use cofferdam::journal::{Commit, Journal, Settings};
use cofferdam::policy::{KnownBy, Principal, TeamId};
use cofferdam::team::{MessageNumber, MessageView, SessionAddress, SessionNumber};
use cofferdam::time::{Span, Time};
use cofferdam::wire::{QoS, Version};

use crate::running::{Client, Hook, Link, Login, Place, Setup, Stream, World, eventually, lasting};

const SESSION: fn(u64) -> SessionNumber = |it| SessionNumber(NonZeroU64::new(it).expect("one"));

/// A session that `login` has left, with so many messages.
fn left_by(login: &Login, number: SessionNumber, messages: u64) -> Vec<Fact> {
    let (_, team) = login.username.split_once('@').expect("name@team");
    let terms = Terms {
        client_id: Arc::from(&*login.username),
        known_by: KnownBy::Record,
        principal: Principal {
            username: Arc::from(&*login.username),
            role: Arc::from("client"),
            team: Some(TeamId::new(team).expect("a team")),
            bindings: Vec::new(),
            patterns: Vec::new(),
        },
        expiry: Span::from_secs(3600),
        listener: Arc::from("tcp"),
        address: ([127, 0, 0, 1], 1).into(),
    };
    let mut facts = vec![Fact::Session(number, Box::new(terms))];
    for each in 1..=messages {
        let view = MessageView {
            topic: &format!("{team}/late"),
            passed_on: &[],
            response_topic: None,
            payload: &each.to_be_bytes(),
            qos: QoS::AtLeastOnce,
            retain: false,
            expires: Time::NEVER,
            publisher: SessionAddress {
                shard: 0,
                index: 0,
                generation: 0,
            },
        };
        facts.push(Fact::Kept(Box::new(Kept {
            number: MessageNumber(each),
            message: Arc::new(view.keep(MessageNumber(each))),
            targets: vec![Target {
                session: number,
                copy: 0,
                qos: QoS::AtLeastOnce,
                retain: false,
                subscription_id: 0,
                share: 0,
            }],
            retained: None,
            receipt: None,
        })));
    }
    facts
}

fn write(place: &Place, facts: Vec<Fact>) {
    let opened = Journal::open(
        &place.path("data/journal"),
        Settings::default(),
        &mut |_| {},
    );
    let opened = opened.expect("a journal");
    let journal = opened.log.start(1, Box::new(|_, _| {})).expect("a thread");
    journal.commit(Commit {
        shard: 0,
        number: 1,
        sync: true,
        hasty: false,
        facts,
    });
    journal.finish(Duration::from_secs(60)).expect("written");
}

/// Asked of the system, and not by connecting: a socket may connect to itself.
fn is_listening(address: SocketAddr) -> Result<(), String> {
    let sockets = std::fs::read_to_string("/proc/net/tcp").expect("the system's sockets");
    let listens = format!(":{:04X} 00000000:0000 0A", address.port());
    match sockets.contains(&listens) {
        true => Ok(()),
        false => Err(sockets),
    }
}

/// One shard has its sessions back at once, the other is busy with a long queue: whichever of them
/// hears a client first must know of its session. The clients are there as soon as the socket is.
#[test]
fn no_client_is_heard_before_every_session_is_back() {
    let address = Hook::nowhere();
    let listener =
        format!("[[listener]]\nname = \"early\"\ntransport = \"tcp\"\nbind = \"{address}\"\n");
    let place = Setup::new().and_config(&listener).place();
    // Dealt out in turn: the second shard has the long queue, and after it the session in question.
    let last = World::alice();
    let mut facts = left_by(&World::anna(), SESSION(1), 0);
    facts.extend(left_by(&World::bob(), SESSION(2), 100_000));
    facts.extend(left_by(&World::lena(), SESSION(3), 0));
    facts.extend(left_by(&last, SESSION(4), 0));
    write(&place, facts);

    let connect = lasting(last.connect(Version::V5), 3600);
    let answers: Vec<_> = std::thread::scope(|scope| {
        let early = || {
            eventually("a socket that listens", || is_listening(address));
            let link = Link::open("early", "/mqtt", Stream::tcp(address));
            Client::over(link, Version::V5).connect(&connect)
        };
        let clients: Vec<_> = (0..12).map(|_| scope.spawn(early)).collect();
        let broker = place.start();
        let answers = clients.into_iter().map(|it| it.join().expect("let in"));
        let answers = answers.collect();
        drop(broker);
        answers
    });
    assert!(answers.iter().all(|it| it.session_present), "{answers:?}");
}
