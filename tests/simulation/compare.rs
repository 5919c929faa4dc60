//! The queues, batches and sessions after a turn, compared with the model's.

use std::collections::HashMap;
use std::sync::Arc;

use cofferdam::broker::{Batch, Drop};
use cofferdam::session::{Queued, Session};
use cofferdam::team::{Message, Route, SessionAddress};

use crate::expected::is_queued;
use crate::failure::{Failure, Kept, broken, hold};
use crate::model::{Entry, Phase, Remote};
use crate::sim::{Deliveries, Sim};

impl Sim<'_> {
    /// A session of the core.
    pub fn held(&self, shard: u16, address: Option<SessionAddress>) -> Option<&Session> {
        let mut sessions = self.shards[usize::from(shard)].sessions();
        sessions.find(|session| Some(session.address) == address)
    }

    /// Bytes in the outbox of a line.
    pub fn outbox(&mut self, line: usize) -> usize {
        let Some((shard, conn)) = self.wires[line].at.or(self.wires[line].lingers) else {
            return 0;
        };
        let outbox = self.shards[usize::from(shard)].outbox(conn);
        outbox.map_or(0, |outbox| outbox.len())
    }

    /// What waits in each session's queue, which is of those owed to it. Looked at before what was
    /// sent, for here no two messages look alike, as they do to a client of 3.x.
    pub fn look_at_queues(&mut self, shard: u16) -> Kept {
        for place in 0..self.model.sessions.len() {
            let session = &self.model.sessions[place];
            let held = self.held(session.shard, session.address);
            let Some(held) = held.filter(|_| session.shard == shard && !session.ended) else {
                continue;
            };
            let queued: Vec<Queued> = held.outgoing.queue().cloned().collect();
            let bytes = held.outgoing.queued_bytes();
            let limits = &self.plan.limits;
            hold(
                queued.len() <= (limits.max_queued_messages as usize).max(session.surplus.0)
                    && bytes <= limits.max_queued_bytes.max(session.surplus.1),
                "limits hold",
                || {
                    let who = self.plan.name(session.who);
                    format!("{} messages and {bytes} bytes wait for {who}", queued.len())
                },
            )?;
            self.match_queue(place, &queued)?;
        }
        Ok(())
    }

    /// What is neither in a queue nor was sent has a reason for it.
    pub fn compare_queues(&mut self, shard: u16) -> Kept {
        let (mut full, mut full_at_most) = (0, self.model.turn.fresh_left);
        for place in 0..self.model.sessions.len() {
            let session = &self.model.sessions[place];
            if session.ended {
                full_at_most += session.queue.iter().filter(|entry| entry.fresh).count() as u64;
            }
            if session.shard != shard || session.ended {
                continue;
            }
            let who = self.plan.name(session.who);
            let Some(held) = self.held(shard, session.address) else {
                return Err(broken(
                    "sessions are kept",
                    format!("that of {who} is gone"),
                ));
            };
            let bytes = held.outgoing.queued_bytes();
            let lost = self.model.sessions[place].end_queue();
            let session = &self.model.sessions[place];
            let sizes = session
                .queue
                .iter()
                .map(|entry| entry.message.size() as u64);
            hold(sizes.sum::<u64>() == bytes, "limits hold", || {
                format!(
                    "{bytes} bytes are counted in the queue of {who}: {:?}",
                    session.queue
                )
            })?;
            let is_full = self.would_overflow(place, &lost);
            let line = session.line.or(session.was_on);
            for entry in lost {
                let too_large = line.is_some_and(|line| self.reader(line).may_be_too_large(&entry));
                let by_limit = entry.fresh && is_full;
                let by_right = entry.doubtful;
                full_at_most += u64::from(by_limit);
                let sure = by_limit && !too_large && !by_right;
                let sure = sure && !self.is_expired(&entry);
                full += u64::from(sure);
                self.note_lost(&entry, by_limit, sure);
                hold(
                    self.is_expired(&entry) || too_large || by_limit || by_right,
                    "QoS 1 and 2 arrive at least once",
                    || format!("{who} loses {entry:?}; its queue holds {bytes} bytes"),
                )?;
                let session = &mut self.model.sessions[place];
                session.owe_no_longer(&entry);
                // It had a place in the queue, if it got there.
                let left = (session.uid, entry.message.size());
                self.model.turn.left.push(left);
            }
        }
        let choices = self.model.turn.choices.iter();
        let of_groups = choices
            .filter(|choice| choice.taken.is_none() && !choice.members.is_empty())
            .count();
        let (now, before) = (
            self.shards[usize::from(shard)].counters(),
            &self.counted[usize::from(shard)],
        );
        let counted = |why: Drop| now.dropped[why as usize] - before.dropped[why as usize];
        let told = counted(Drop::QueueFull);
        hold(
            (full..=full_at_most + of_groups as u64).contains(&told),
            "drops are counted",
            || format!("{told} for a full queue, in truth {full} to {full_at_most}"),
        )
    }

    /// Notes of the model's queue what the core has in its own, from the back: of two that are
    /// alike the later one waits.
    fn match_queue(&mut self, place: usize, queued: &[Queued]) -> Kept {
        let mut last = HashMap::new();
        for item in queued.iter().rev() {
            let queue = &mut self.model.sessions[place].queue;
            let known = |entry: &Entry| entry.seen.is_some() && is_queued(entry, item);
            let found = queue.iter().rposition(known);
            let found = found.or_else(|| queue.iter().rposition(|entry| is_queued(entry, item)));
            let mut entry = match found {
                Some(at) => queue.remove(at),
                None => self.adopt_queued(place, item)?.ok_or_else(|| {
                    let who = self.plan.name(self.model.sessions[place].who);
                    broken(
                        "nobody gets what is not his",
                        format!("queued for {who}: {item:?}"),
                    )
                })?,
            };
            entry.seen = Some(Arc::clone(&item.message));
            if let Some(order) = entry.order() {
                let after = last.insert(order, entry.message.serial);
                let right = after.is_none_or(|after| after >= entry.message.serial);
                hold(right, "order is kept", || {
                    format!("queued after what came later: {entry:?}")
                })?;
            }
            self.model.sessions[place].waits.push(entry);
        }
        self.model.sessions[place].waits.reverse();
        Ok(())
    }

    /// What goes to other shards: at once, and when the commit of this number is kept.
    pub fn compare_batches(
        &mut self,
        shard: u16,
        batches: Vec<(u16, Batch)>,
        commit: Option<u64>,
    ) -> Result<Vec<(u16, Batch, Deliveries)>, Failure> {
        let list = |batch: &Batch| -> Vec<(Arc<Message>, Route)> {
            let deliveries = batch.deliveries();
            deliveries
                .map(|(message, route)| (Arc::clone(message), route))
                .collect()
        };
        let withheld = self.shards[usize::from(shard)].withheld();
        let withheld = withheld.filter(|(of, ..)| Some(*of) == commit);
        let withheld: Vec<_> = withheld
            .map(|(of, to, batch)| (of, to, list(batch)))
            .collect();
        for (of, to, deliveries) in withheld {
            let entries = self.compare_batch(shard, to, &deliveries)?;
            let queue = self.withheld.entry(shard).or_default();
            queue.push_back((of, to, entries));
        }
        let mut carried = Vec::new();
        for (to, batch) in batches {
            let entries = self.compare_batch(shard, to, &list(&batch))?;
            carried.push((to, batch, entries));
        }
        let lost = self
            .model
            .turn
            .remote
            .iter()
            .find(|remote| !remote.gone && !remote.hidden);
        hold(lost.is_none(), "every subscriber gets it", || {
            format!("shard {shard} forgets {lost:?}")
        })?;
        Ok(carried)
    }

    /// One batch: what the model knows of each delivery.
    fn compare_batch(
        &mut self,
        shard: u16,
        to: u16,
        deliveries: &[(Arc<Message>, Route)],
    ) -> Result<Deliveries, Failure> {
        let mut entries = Vec::new();
        for (message, route) in deliveries {
            let view = message.view();
            let mut sessions = self.model.sessions.iter();
            let session = sessions.find(|session| session.address == Some(route.session));
            let uid = session.map_or(0, |session| session.uid);
            let denied = session.is_some_and(|session| {
                let person = &self.model.people[session.who];
                person.is_denied(session.rights, view.topic)
            });
            let is_it = |entry: &Entry| {
                entry.message.topic == view.topic
                    && entry.message.payload == view.payload
                    && entry.message.expires == view.expires
                    && entry.qos == view.qos.min(route.qos)
                    && entry.retain == (view.retain && route.retain_as_published)
                    && entry.id == route.subscription_id
                    && entry.share == route.share
            };
            // One that is not seen may look like one that is, and they arrive one by one.
            let own = route.no_local && view.publisher == route.session;
            let hidden = self.held(to, Some(route.session)).is_some_and(|held| {
                own || !route.sees(view.topic) || !route.permits(view.topic, &held.grant)
            });
            let remotes = &mut self.model.turn.remote;
            let is_open = |remote: &Remote| {
                !remote.gone && remote.uid == uid && remote.to == to && is_it(&remote.entry)
            };
            let found = remotes
                .iter()
                .position(|remote| is_open(remote) && remote.hidden == hidden);
            let found = found.or_else(|| remotes.iter().position(is_open));
            if let Some(remote) = found.map(|at| &mut remotes[at]) {
                remote.gone = true;
                // What it may not read now it may when it arrives.
                let arrives = (!remote.hidden || denied).then(|| {
                    let doubtful = remote.hidden;
                    let entry = remote.entry.clone();
                    (uid, Entry { doubtful, ..entry })
                });
                entries.push(arrives);
                continue;
            }
            let Some(entry) = self.choose(uid, false, is_it)? else {
                return Err(broken(
                    "nobody gets what is not his",
                    format!("shard {shard} has {message:?} for session {uid} on shard {to}"),
                ));
            };
            entries.push(Some((uid, entry)));
        }
        Ok(entries)
    }

    /// Whether a session's queue could not have held these too at some moment of the turn: what
    /// was queued in it may have been sent in it.
    pub fn would_overflow(&self, place: usize, more: &[Entry]) -> bool {
        let session = &self.model.sessions[place];
        let sent = session.flights.iter().filter(|flight| flight.fresh);
        let sent = sent.map(|flight| &flight.entry);
        let all = session.queue.iter().chain(more).chain(sent);
        let left = self.model.turn.left.iter();
        let left = left.filter(|(uid, _)| *uid == session.uid);
        let bytes: usize = all.clone().map(|entry| entry.message.size()).sum::<usize>()
            + left.clone().map(|(_, size)| size).sum::<usize>();
        all.count() + left.count() > self.plan.limits.max_queued_messages as usize
            || bytes as u64 > self.plan.limits.max_queued_bytes
    }

    /// Every connection was answered and, where it must, closed.
    pub fn compare_lines(&mut self, shard: u16) -> Kept {
        for &line in &self.busy {
            let on = &self.model.lines[line];
            if on.shard != shard || on.phase == Phase::Closed {
                continue;
            }
            hold(on.answers.is_empty(), "every packet is answered", || {
                format!("{} waits for {:?}", self.name(line), on.answers)
            })?;
            hold(
                on.releases.is_empty() || on.phase != Phase::Active,
                "exactly once",
                || format!("{} waits for PUBREL {:?}", self.name(line), on.releases),
            )?;
            hold(!on.closes, "connections end when they must", || {
                format!("{} was not closed", self.name(line))
            })?;
            hold(on.moves.is_none(), "sessions are found again", || {
                format!("{} was not sent to shard {:?}", self.name(line), on.moves)
            })?;
        }
        Ok(())
    }
}
