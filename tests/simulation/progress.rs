//! Sessions after a turn: nothing waits that could be sent.

use std::rc::Rc;

use crate::failure::{Kept, hold};
use crate::model::Entry;
use crate::sim::Sim;

/// Retained messages are sent only while an outbox holds less than this, in bytes.
const REPLAY_AHEAD: usize = 64 << 10;

impl Sim<'_> {
    /// What is in flight; and nothing waits that could be sent.
    pub fn compare_sessions(&mut self, shard: u16) -> Kept {
        for place in 0..self.model.sessions.len() {
            let session = &self.model.sessions[place];
            if session.shard != shard || session.ended {
                continue;
            }
            let who = self.plan.name(session.who);
            let Some(held) = self.held(shard, session.address) else {
                continue;
            };
            let (in_flight, connected) =
                (usize::from(held.outgoing.in_flight()), held.conn.is_some());
            let waiting = held.outgoing.waiting();
            let told = held
                .presence
                .waiting
                .load(std::sync::atomic::Ordering::Relaxed) as usize;
            hold(
                connected == session.line.is_some(),
                "sessions are as they should be",
                || format!("connected: {connected}, in truth {:?}: {who}", session.line),
            )?;
            hold(waiting == told, "sessions are as they should be", || {
                format!("{told} wait for {who} as its share groups see it, in truth {waiting}")
            })?;
            if in_flight < session.flights.len() {
                self.let_go(place, session.flights.len() - in_flight);
            }
            let session = &self.model.sessions[place];
            hold(
                in_flight == session.flights.len(),
                "what is in flight is kept",
                || format!("{in_flight} for {who}, in truth {:?}", session.flights),
            )?;
            let Some(line) = session.line else { continue };
            let outbox = self.outbox(line);
            self.compare_progress(place, line, outbox)?;
        }
        Ok(())
    }

    /// Messages in flight that turn out to be too large for the client are done.
    fn let_go(&mut self, place: usize, count: usize) {
        let Some(line) = self.model.sessions[place].line else {
            return;
        };
        let mut flights = std::mem::take(&mut self.model.sessions[place].flights);
        let mut gone = Vec::new();
        flights.retain(|flight| {
            let reader = self.reader(line);
            let goes = gone.len() < count
                && !flight.sent
                && !flight.released
                && reader.may_be_too_large(&flight.entry);
            if goes {
                gone.push(flight.entry.clone());
            }
            !goes
        });
        self.model.sessions[place].flights = flights;
        let (uid, who) = (
            self.model.sessions[place].uid,
            self.model.sessions[place].who,
        );
        for entry in gone {
            // The client may have had it on an earlier connection.
            let key = (uid, entry.message.payload.clone());
            self.clients[who].undecided.insert(key);
        }
    }

    fn compare_progress(&mut self, place: usize, line: usize, outbox: usize) -> Kept {
        let limit = self.plan.limits.max_outbox_bytes as usize;
        let who = self.name(line);
        hold(outbox <= limit + (16 << 10), "limits hold", || {
            format!("{outbox} bytes wait in the outbox of {who}")
        })?;
        let session = &self.model.sessions[place];
        let room = session.under_way() < session.window;
        let again = session.flights.iter().find(|flight| !flight.sent);
        let behind = self.is_to_be_written(line);
        let stuck = match again {
            // One that was answered late has had its PUBREL.
            Some(_) => room,
            None => room && !session.queue.is_empty(),
        };
        hold(
            !stuck || outbox > limit || behind,
            "no shard stalls",
            || {
                format!(
                    "{who} is sent nothing; outbox {outbox} bytes, window {}, in flight {:?}, queued {:?}",
                    session.window, session.flights, session.queue
                )
            },
        )?;
        let late = session.at_once.iter().any(|(on, _)| *on == line);
        hold(
            !late || outbox > limit / 2 || behind,
            "no shard stalls",
            || format!("{who} is sent nothing of what is late; outbox {outbox} bytes"),
        )?;
        let full = late || outbox > REPLAY_AHEAD.min(limit / 2);
        if again.is_some() || !room || !session.queue.is_empty() || full || behind {
            return Ok(());
        }
        for replay in session.replays.iter().filter(|replay| !replay.over) {
            let missing = replay.due.iter().find(|topic| {
                let Some(message) = self.model.retained_at(topic) else {
                    return false;
                };
                let entry = Entry {
                    message: Rc::clone(message),
                    qos: message.qos.min(replay.of.options.qos),
                    retain: true,
                    id: replay.of.id,
                    share: 0,
                    handed: false,
                    doubtful: false,
                    fresh: false,
                    seen: None,
                };
                let own = replay.of.options.no_local && message.is_of(session.uid);
                !replay.done.contains(topic)
                    && !own
                    && !self.is_expired(&entry)
                    && self.model.is_seen(session, &replay.of, topic)
                    && !self.reader(line).may_be_too_large(&entry)
            });
            hold(
                missing.is_none(),
                "subscribers get what is retained",
                || format!("{who} did not get {missing:?} by {:?}", replay.of),
            )?;
        }
        let replays = &mut self.model.sessions[place].replays;
        replays.iter_mut().for_each(|replay| replay.over = true);
        Ok(())
    }
}
