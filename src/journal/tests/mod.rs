//! The journal against a disk that crashes, tears, fills and fails.

mod committer;
mod crash;
mod damage;
mod facts;
mod full;
mod random;
mod snapshot;
mod space;
mod told;

use std::num::NonZeroU64;
use std::sync::Arc;

use super::disk::Memory;
use super::log::Log;
use super::{Journal, JournalError, Opened, Recovery, Settings};
use crate::fact::{Delivery, Fact, Kept, State, Target, Terms};
use crate::policy::{KnownBy, Principal};
use crate::team::{Message, MessageNumber, MessageView, SessionAddress, SessionNumber};
use crate::time::{Span, Time};
use crate::wire::QoS;

/// As no client knows it.
const SALT: u32 = 0x0BAD_5EED;

/// Reads back what a disk has.
fn open(disk: &Memory, segment_bytes: u64) -> (Log, State<Arc<Message>>, Recovery) {
    let settings = Settings { segment_bytes };
    let opened = Journal::open_on(Box::new(disk.clone()), settings, SALT, &mut |_| {});
    let Opened { state, report, log } = opened.expect("a journal");
    (log.0, state, report)
}

/// Adds commits to a state.
fn add<'a>(state: &mut State<Arc<Message>>, commits: impl IntoIterator<Item = &'a Vec<Fact>>) {
    let mut dead = Vec::new();
    for fact in commits.into_iter().flatten() {
        state.apply(fact.clone(), &mut dead);
    }
}

/// A session that goes on for ever.
fn begun(number: u64) -> Fact {
    let terms = Terms {
        client_id: format!("client-{number}").into(),
        known_by: KnownBy::Record,
        principal: Principal {
            username: "instance:1@red".into(),
            role: "instance".into(),
            team: None,
            bindings: Vec::new(),
            patterns: Vec::new(),
        },
        expiry: Span::from_secs(1),
        listener: "tls".into(),
        address: ([127, 0, 0, 1], 1).into(),
    };
    Fact::Session(session(number), Box::new(terms))
}

fn session(number: u64) -> SessionNumber {
    SessionNumber(NonZeroU64::new(number).expect("counts from 1"))
}

/// A message for sessions.
fn kept(number: u64, sessions: &[u64], payload: usize) -> Fact {
    let payload = vec![number as u8; payload];
    let view = MessageView {
        topic: "ff/v1/red/a",
        passed_on: &[],
        response_topic: None,
        payload: &payload,
        qos: QoS::AtLeastOnce,
        retain: false,
        expires: Time::NEVER,
        publisher: SessionAddress::NOBODY,
    };
    let target = |number: &u64| Target {
        session: session(*number),
        copy: 0,
        qos: QoS::AtLeastOnce,
        retain: false,
        subscription_id: 0,
        share: 0,
    };
    Fact::Kept(Box::new(Kept {
        number: MessageNumber(number),
        message: Arc::new(view.keep(MessageNumber(number))),
        targets: sessions.iter().map(target).collect(),
        retained: None,
        receipt: None,
    }))
}

/// A session has acknowledged a message.
fn done(number: u64, of: u64) -> Fact {
    Fact::Done(Delivery {
        session: session(of),
        message: MessageNumber(number),
        copy: 0,
    })
}

/// The numbers of the messages that a state has, in their order.
fn numbers(state: &State<Arc<Message>>) -> Vec<u64> {
    let mut kept: Vec<_> = state.messages.iter().collect();
    kept.sort_by_key(|(_, kept)| kept.order);
    kept.into_iter().map(|(number, _)| number.0).collect()
}

/// What a state is after a crash, had it been kept.
fn settled(state: &State<Arc<Message>>) -> State<Arc<Message>> {
    let mut state = state.copy(|kept| Arc::clone(&kept.message));
    state.settle(&mut Vec::new());
    state
}

/// Everything that is to be the same after a crash, a line each. Of places among all others only the
/// order is; who published a message is not known any more.
fn lines(state: &State<Arc<Message>>) -> Vec<String> {
    let view = |message: &Message| {
        let number = message.number;
        let payload = message.payload();
        let view = MessageView {
            publisher: SessionAddress::NOBODY,
            payload: payload.get(..1).unwrap_or_default(),
            ..message.view()
        };
        assert!(payload.iter().all(|it| it == &payload[0]), "{number:?}");
        format!("{number:?} {view:?} of {}", payload.len())
    };
    let mut lines = Vec::new();
    for (number, it) in &state.sessions {
        let Some(terms) = &it.terms else { continue };
        let will = it.will.as_ref().map(|will| {
            let message = view(&will.message);
            format!("{message} {:?} {:?}", will.expiry, will.delay)
        });
        lines.push(format!(
            "{number:?} {terms:?} left {:?} will {will:?} last {} released {:?} received {:?}",
            it.left, it.last_id, it.released, it.received
        ));
        for (key, wanted) in &it.subscriptions {
            lines.push(format!("{number:?} wants {key} {wanted:?}"));
        }
        for (key, standing) in &it.replays {
            lines.push(format!("{number:?} is replayed {key} {standing:?}"));
        }
        for owed in it.owed.values() {
            lines.push(format!("{number:?} is owed {owed:?}"));
        }
    }
    let mut messages: Vec<_> = state.messages.iter().collect();
    messages.sort_by_key(|(_, kept)| kept.order);
    for (number, kept) in messages {
        let message = view(&kept.message);
        let (holders, retained) = (&kept.holders, &kept.retained);
        lines.push(format!("{number:?}: {message} {holders:?} {retained:?}"));
    }
    let mut retained: Vec<_> = state.retained.iter().collect();
    retained.sort_by_key(|(topic, _)| Arc::clone(topic));
    let retained = retained.into_iter().filter(|(_, it)| it.message.is_some());
    lines.extend(retained.map(|(topic, it)| format!("{topic} {it:?}")));
    lines
}
