//! What is left after a crash: what was true when the last commit was handed over that is kept, of
//! all that is kept at all.

use std::sync::Arc;

use cofferdam::team::World;
use cofferdam::time::Time;

use super::{Entry, Model, Phase, Retained, Session};

/// What is true at some moment, of what is kept.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    sessions: Vec<Session>,
    retained: Vec<Retained>,
    forgotten: Vec<Retained>,
    /// What was for a session and had not reached it.
    under_way: Vec<(u64, Entry)>,
}

impl Model {
    /// What is true now. `under_way`: what is on its way between shards.
    pub fn snapshot<'e>(&self, under_way: impl Iterator<Item = &'e (u64, Entry)>) -> Snapshot {
        let kept = self.live().filter(|session| session.kept);
        Snapshot {
            sessions: kept.cloned().collect(),
            retained: self.retained.clone(),
            forgotten: self.forgotten.clone(),
            under_way: under_way.cloned().collect(),
        }
    }

    /// The broker crashes, and this is what is true afterwards. Returns what has still to be put into
    /// queues.
    pub fn crash(&mut self, after: Snapshot, world: Arc<World>) -> Vec<(u64, Entry)> {
        (self.world, self.is_full) = (world, false);
        for line in &mut self.lines {
            line.lose();
        }
        (self.sessions, self.retained) = (after.sessions, after.retained);
        // What has expired may be there again, until somebody comes upon it.
        self.retained.extend(after.forgotten);
        self.forgotten.clear();
        // Who published them is not known any more.
        for kept in &self.retained {
            kept.message.nobodys.set(true);
        }
        after.under_way
    }

    /// The sessions of one shard are back, under the rights that their principals have now. What was
    /// under way to them is in their queues. Returns what was under way to others.
    pub fn restart(&mut self, rights: &[usize], under_way: Vec<(u64, Entry)>) -> Vec<(u64, Entry)> {
        let (now, shard) = (self.now, self.shard);
        let mut back = Vec::new();
        let mut left = under_way;
        for session in self.sessions.iter_mut().filter(|it| it.shard == shard) {
            if session.line.take().is_some() {
                session.expires = now + session.expiry;
                session.will_due = match &session.will {
                    Some(will) => (now + will.delay).min(session.expires),
                    None => Time::NEVER,
                };
            }
            let (own, others) = left.into_iter().partition(|(uid, _)| *uid == session.uid);
            left = others;
            session.come_back(own);
            back.push((session.uid, rights[session.who]));
        }
        for (uid, rights) in back {
            self.judge_again(uid, rights);
        }
        left
    }
}

impl Session {
    /// Back after a crash: nothing of its connection is left.
    fn come_back(&mut self, under_way: Vec<(u64, Entry)>) {
        self.was_on = None;
        self.at_once.clear();
        self.late.clear();
        self.waits.clear();
        self.replays.retain(|replay| !replay.over);
        self.lost.clear();
        for flight in &mut self.flights {
            (flight.sent, flight.fresh, flight.stated) = (false, false, 0);
            flight.entry.seen = None;
        }
        for (_, entry) in under_way.into_iter().filter(|(_, it)| it.qos as u8 > 0) {
            self.owe(&entry);
            self.queue.push(entry);
        }
        let shares = self.subscriptions.iter().map(|it| it.share);
        let flights = self.flights.iter().filter(|it| !it.released);
        let owed = self.queue.iter().chain(flights.map(|it| &it.entry));
        self.last_share = shares.chain(owed.map(|it| it.share)).max().unwrap_or(0);
        // Oldest first, however they came.
        self.queue.sort_by_key(|entry| entry.message.serial);
        for entry in &mut self.queue {
            (entry.fresh, entry.seen) = (false, None);
            entry.message.nobodys.set(true);
        }
        self.surplus = (
            self.queue.len(),
            self.queue.iter().map(|it| it.message.size() as u64).sum(),
        );
    }
}

impl super::Line {
    /// Gone with the broker.
    fn lose(&mut self) {
        self.phase = Phase::Closed;
        self.said.clear();
        self.acks.clear();
        self.answers.clear();
        self.releases.clear();
        (self.paused, self.gone, self.awaited, self.closes) = (false, false, false, false);
        self.moves = None;
    }
}
