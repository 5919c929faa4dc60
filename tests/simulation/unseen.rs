//! What does not show in the packets: which of two messages that look alike is in flight, and what
//! was written to a connection that nobody could look at any more.

use cofferdam::session::Queued;

use crate::expected::is_queued;
use crate::failure::{Failure, Kept, broken};
use crate::model::{Cause, Entry, Flight};
use crate::promises::in_turn;
use crate::sim::Sim;

impl Sim<'_> {
    /// What a session of the core has in flight under this identifier.
    pub fn carried(&self, place: usize, id: Option<u16>) -> Option<Queued> {
        let session = &self.model.sessions[place];
        let held = self.held(session.shard, session.address)?;
        let mut flights = held.outgoing.flights();
        let found = flights.find(|(other, _)| Some(other.get()) == id)?;
        found.1.cloned()
    }

    /// What was written to a connection that was gone by the end of the turn shows in what is in
    /// flight.
    pub fn look_at_unseen(&mut self, shard: u16) -> Kept {
        for uid in self.model.turn.unseen.clone() {
            let Some(place) = self.model.place(uid) else {
                continue;
            };
            let session = &self.model.sessions[place];
            let Some(held) = self.held(shard, session.address).filter(|_| !session.ended) else {
                continue;
            };
            let flights = held.outgoing.flights();
            let new = flights.filter_map(|(id, item)| Some((id.get(), item?.clone())));
            let new: Vec<(u16, Queued)> = new
                .filter(|(id, _)| session.flight(*id).is_none())
                .collect();
            // Of QoS 0 it does not: which retained messages were sent is left open.
            let replays = &mut self.model.sessions[place].replays;
            replays.iter_mut().for_each(|replay| replay.due.clear());
            for (id, item) in new {
                let entry = self.sent_unseen(place, &item)?;
                let stated = in_turn(self.model.sessions[place].kept);
                self.model.sessions[place].flights.push(Flight {
                    id,
                    entry,
                    released: false,
                    sent: false,
                    fresh: true,
                    stated,
                });
            }
        }
        Ok(())
    }

    fn sent_unseen(&mut self, place: usize, item: &Queued) -> Result<Entry, Failure> {
        let queue = &mut self.model.sessions[place].queue;
        if let Some(at) = queue.iter().position(|entry| is_queued(entry, item)) {
            return Ok(queue.remove(at));
        }
        let uid = self.model.sessions[place].uid;
        let mut left = self.model.turn.choices.iter_mut();
        let left = left.find_map(|choice| match &mut choice.cause {
            Cause::Left(left) if left.from == uid && is_queued(&left.entry, item) => Some(left),
            _ => None,
        });
        if let Some(left) = left {
            left.sent = true;
            let entry = left.entry.clone();
            self.model.sessions[place].owe(&entry);
            return Ok(entry);
        }
        let mut entry = self.choose(uid, true, |entry| is_queued(entry, item))?;
        if entry.is_none() {
            entry = self.replayed(place, |entry| is_queued(entry, item));
        }
        let entry = entry.ok_or_else(|| {
            let who = self.plan.name(self.model.sessions[place].who);
            broken(
                "nobody gets what is not his",
                format!("in flight for {who}: {item:?}"),
            )
        })?;
        self.model.sessions[place].owe(&entry);
        Ok(entry)
    }
}

/// Whether a message in flight, where it is known, is this one.
pub fn is_carried(entry: &Entry, carried: &Option<Queued>) -> bool {
    carried.as_ref().is_none_or(|item| is_queued(entry, item))
}
