//! What waits for the journal: an acknowledgement means that the thing is kept, and nothing waits
//! longer than that.
//!
//! What was written is compared in the turn in which it was written, whether it may leave by then or
//! not. What has to be kept before it leaves is noted with it, and held against the journal when the
//! client could see it.

use std::rc::Rc;

use crate::failure::{Kept, hold};
use crate::model::{Entry, IN_THIS_TURN, Message, Phase, Promise};
use crate::sim::Sim;
use cofferdam::wire::QoS;

/// What has to be kept before a packet leaves.
#[derive(Clone, Debug, Default)]
pub struct Seal {
    promise: Promise,
    /// Up to this place in the journal; [`IN_THIS_TURN`].
    place: u64,
    /// The receipt of this message.
    receipt: Option<Rc<Message>>,
}

/// The place of what a turn states, of a session that is kept or not.
pub const fn in_turn(is_kept: bool) -> u64 {
    if is_kept { IN_THIS_TURN } else { 0 }
}

impl Seal {
    /// Nothing.
    pub const NONE: Self = Self {
        promise: Promise::Nothing,
        place: 0,
        receipt: None,
    };

    pub const fn of_answer(promise: Promise) -> Self {
        Self {
            promise,
            place: 0,
            receipt: None,
        }
    }

    /// A message goes out: QoS 2 under an identifier that outlives a crash, and when it cannot come
    /// twice.
    pub fn of_flight(entry: &Entry, stated: u64) -> Self {
        match entry.qos {
            QoS::ExactlyOnce => Self {
                promise: Promise::Nothing,
                place: stated,
                receipt: Some(Rc::clone(&entry.message)),
            },
            _ => Self::NONE,
        }
    }

    /// What is retained comes to each subscription anew, whoever published it.
    pub fn of_retained(self) -> Self {
        let receipt = None;
        Self { receipt, ..self }
    }

    pub const fn of_release(stated: u64) -> Self {
        Self {
            promise: Promise::Nothing,
            place: stated,
            receipt: None,
        }
    }
}

impl Sim<'_> {
    /// Notes where in the journal stands what a turn has stated, once it is known.
    pub fn note_places(&mut self, shard: u16) {
        let place = self.storage.latest(shard);
        for message in &self.model.turn.accepted {
            if message.receipt.get() == IN_THIS_TURN {
                message.receipt.set(place);
            }
        }
        let held = self.model.sessions.iter_mut();
        for (_, receipt) in held.flat_map(|session| &mut session.held) {
            if *receipt == IN_THIS_TURN {
                *receipt = place;
            }
        }
        let flights = self.model.sessions.iter_mut();
        for flight in flights.flat_map(|session| &mut session.flights) {
            if flight.stated == IN_THIS_TURN {
                flight.stated = place;
            }
        }
        for line in self.lines_on(shard) {
            if self.wires[line]
                .at
                .or(self.wires[line].lingers)
                .is_none_or(|(at, _)| at != shard)
            {
                continue;
            }
            let model = &self.model;
            for written in self.wires[line].written() {
                let seal = &mut written.seal;
                let promise = std::mem::take(&mut seal.promise);
                if let Promise::Place(place) = promise {
                    seal.place = place;
                }
                let is_stated = match promise {
                    Promise::Nothing | Promise::Place(_) => seal.place == IN_THIS_TURN,
                    Promise::Turn => true,
                    Promise::Message(serial) => model.is_for_kept(serial),
                };
                if is_stated {
                    seal.place = place;
                }
            }
        }
    }

    /// What a client can see is kept; and where everything is, nothing waits for it.
    pub fn compare_promises(&mut self, shard: u16) -> Kept {
        let is_all_told = self.storage.has_told_all(shard);
        for line in self.lines_on(shard) {
            let Some((at, conn)) = self.wires[line].at.or(self.wires[line].lingers) else {
                continue;
            };
            if at != shard {
                continue;
            }
            let Some(outbox) = self.shards[usize::from(at)].outbox(conn) else {
                continue;
            };
            let (ready, held) = (outbox.ready(), outbox.is_held());
            let wire = &mut self.wires[line];
            let open = if ready > 0 { wire.untaken.len() } else { 0 };
            let shown = wire.untaken.iter_mut().take(open);
            for written in shown.filter(|written| !written.is_shown) {
                written.is_shown = true;
                let seal = &written.seal;
                let receipt = seal.receipt.as_ref().map_or(0, |it| it.receipt.get());
                let is_kept = self.storage.is_kept(seal.place) && self.storage.is_kept(receipt);
                hold(is_kept, "an acknowledgement means that it is kept", || {
                    let name = self.plan.name(self.model.lines[line].who);
                    format!(
                        "{name} is sent {:?} before {seal:?} is kept",
                        written.packet
                    )
                })?;
            }
            let is_over = self.model.lines[line].phase != Phase::Active;
            hold(!held || !is_all_told || is_over, "no shard stalls", || {
                let name = self.plan.name(self.model.lines[line].who);
                format!("what is for {name} waits for a journal that has kept everything")
            })?;
        }
        Ok(())
    }
}
