//! What was kept is there before the first client is heard, on every shard.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use cofferdam::fact::{Fact, Kept, Target, Terms};
use cofferdam::journal::{Commit, Journal, Settings};
use cofferdam::policy::{Principal, TeamId};
use cofferdam::team::{MessageNumber, MessageView, SessionAddress, SessionNumber};
use cofferdam::time::{Span, Time};
use cofferdam::wire::client::ServerPacket;
use cofferdam::wire::{QoS, Version};

use crate::running::{Client, Login, Place, Setup, World, lasting};

const SESSION: fn(u64) -> SessionNumber = |it| SessionNumber(NonZeroU64::new(it).expect("one"));

/// A session that `login` has left, with so many messages.
fn left_by(login: &Login, number: SessionNumber, messages: u64) -> Vec<Fact> {
    let (_, team) = login.username.split_once('@').expect("name@team");
    let terms = Terms {
        client_id: Arc::from(&*login.username),
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
        facts,
    });
    journal.finish(Duration::from_secs(60)).expect("written");
}

/// One shard has a session back at once, the other is busy with a long queue: whichever of them hears
/// a client first must know of its session.
#[test]
fn no_client_is_heard_before_every_session_is_back() {
    let place = Setup::new().place();
    let (quick, slow) = (World::anna(), World::alice());
    let mut facts = left_by(&quick, SESSION(1), 0);
    facts.extend(left_by(&slow, SESSION(2), 100_000));
    write(&place, facts);

    let broker = place.start();
    let mut clients: Vec<_> = (0..12)
        .map(|_| Client::dial(&broker, "tcp", Version::V5))
        .collect();
    let connect = lasting(slow.connect(Version::V5), 3600).encode();
    for client in &mut clients {
        client.send(&connect);
    }
    for client in &mut clients {
        match client.packet() {
            ServerPacket::ConnAck(connack) => assert!(connack.session_present),
            other => panic!("no CONNACK: {other:?}"),
        }
    }
}
