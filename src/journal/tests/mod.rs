//! The journal against a disk that crashes, tears, fills and fails.

mod crash;
mod facts;
mod random;
mod snapshot;
mod told;

use std::sync::Arc;

use super::disk::Memory;
use super::log::Log;
use super::{Journal, Opened, Recovery, Settings};
use crate::fact::{Fact, State};
use crate::team::{Message, MessageView, SessionAddress};

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
