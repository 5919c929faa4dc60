//! A message out: from the routes into sessions, and from sessions into outboxes.

use std::sync::Arc;

use super::batch::Batch;
use super::connection::Conn;
use super::counters::{Counters, Drop};
use super::effect::ConnId;
use super::form::{Form, Terms};
use super::keep::Keeping;
use super::late::Late;
use super::outbox::BufferPool;
use super::publish::Passing;
use super::shard::Shard;
use super::subscribe::is_wanted;
use super::turn::steps_of;
use crate::fact::{Delivery, Fact, Facts, Target};
use crate::limits::Limit;
use crate::session::{PubRecOutcome, QueueFull, Queued, Resend, Session};
use crate::team::{Matched, Message, Route, Team};
use crate::time::Time;
use crate::wire::{Ack, PacketId, QoS, ReasonCode, encode};

/// What became of one message.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outcome {
    /// Somebody has it, or will.
    taken: bool,
    /// Somebody's queue had no room.
    full: bool,
}

impl Outcome {
    const fn count(&mut self, kept: bool) {
        match kept {
            true => self.taken = true,
            false => self.full = true,
        }
    }

    /// Nobody has it, and that is because there was no room.
    pub(super) const fn is_full(self) -> bool {
        self.full && !self.taken
    }
}

impl Shard {
    /// Gives a message to everyone who matched. Says whether anyone did.
    /// `team` is the one whose topic it is.
    pub(super) fn route(
        &mut self,
        team: &Arc<Team>,
        matched: &Matched,
        passing: &Passing<'_>,
        now: Time,
    ) -> bool {
        self.form.forget();
        for route in &matched.routes {
            self.hand_over(team, *route, passing, now);
        }
        for group in &matched.groups {
            match group.choose(passing.view.topic) {
                Some(member) => self.hand_over(team, member.route, passing, now),
                // Nobody could have it, or nobody sees it.
                None if group.members().iter().any(|member| member.route.checked) => {
                    self.counters.drop(Drop::Denied);
                }
                None => {}
            }
        }
        !matched.routes.is_empty() || !matched.groups.is_empty()
    }

    pub(super) fn hand_over(
        &mut self,
        team: &Arc<Team>,
        route: Route,
        passing: &Passing<'_>,
        now: Time,
    ) {
        if route.session.shard == self.id {
            return self.deliver(route, passing, None, now);
        }
        let view = &passing.view;
        if !route.sees(view.topic) {
            return; // and it is not stated to be for that session
        }
        let qos = view.qos.min(route.qos);
        let is_own = route.no_local && view.publisher == route.session;
        let mut copy = 0;
        if let Some(session) = route.number
            && qos > QoS::AtMostOnce
            && !is_own
            && self.keeping.is_on()
        {
            copy = passing.kept().next_copy();
            self.keeping.facts.target(Target {
                session,
                copy,
                qos,
                retain: view.retain && route.retain_as_published,
                subscription_id: route.subscription_id,
                share: route.share,
            });
        }
        self.send_off(team, passing.kept(), copy, route);
        self.outcome.count(true); // it is not known here
    }

    /// Delivers of a batch until so many steps are done; says how many they were.
    pub(super) fn deliver_some(&mut self, batch: &mut Batch, most: u32, now: Time) -> u32 {
        let mut last: Option<Arc<Message>> = None;
        let (mut steps, before) = (0, batch.len());
        while steps < most
            && let Some((message, copy, route)) = batch.take()
        {
            if !last.is_some_and(|last| Arc::ptr_eq(&last, &message)) {
                self.form.forget();
            }
            self.attend_for(route);
            // It may have been long on the way [MQTT-3.3.2-5].
            if message.expires < now {
                self.counters.drop(Drop::Expired);
                self.state_dropped(route, &message, copy);
            } else if self.has_lost(route, message.topic()) {
                self.counters.drop(Drop::Denied);
                self.state_dropped(route, &message, copy);
            } else {
                self.deliver(route, &Passing::of(&message), Some(copy), now);
            }
            steps += steps_of(message.size());
            last = Some(message);
        }
        self.rest();
        self.caught_up |= batch.team().transit.arrived(before - batch.len());
        steps
    }

    /// Whether a session has lost the right to a message since another shard routed it.
    fn has_lost(&self, route: Route, topic: &str) -> bool {
        let address = route.session;
        let session = self.sessions.get(address.index, address.generation);
        session.is_some_and(|session| {
            let lost = session.lost.as_ref();
            lost.is_some_and(|lost| {
                !is_wanted(&session.subscriptions, &session.grant, lost.iter(), topic)
            })
        })
    }

    /// One message for one session. That it is for that session was stated with this copy, by another
    /// shard; `None`: it is stated here.
    pub(super) fn deliver(
        &mut self,
        route: Route,
        passing: &Passing<'_>,
        stated: Option<u32>,
        now: Time,
    ) {
        let is_its = self.deliver_to(route, passing, stated, now);
        if let (false, Some(copy)) = (is_its, stated) {
            self.state_dropped(route, passing.kept(), copy);
        }
    }

    /// What another shard has stated to be for a session here did not get there.
    fn state_dropped(&mut self, route: Route, message: &Message, copy: u32) {
        if let Some(session) = route.number
            && message.qos.min(route.qos) > QoS::AtMostOnce
        {
            self.keeping.facts.state(Fact::Done(Delivery {
                session,
                message: message.number,
                copy,
            }));
        }
    }

    /// Says whether it is a kept session that has it now, which states what becomes of it.
    fn deliver_to(
        &mut self,
        route: Route,
        passing: &Passing<'_>,
        stated: Option<u32>,
        now: Time,
    ) -> bool {
        let address = route.session;
        if self.observation.is_on() {
            self.observe_delivery(route, &passing.view, now);
        }
        let Some(mut session) = self.sessions.get_mut(address.index, address.generation) else {
            self.counters.drop(Drop::Gone);
            return false;
        };
        let view = &passing.view;
        if route.no_local && view.publisher == address {
            return false; // [MQTT-3.8.3-3]
        }
        if !route.sees(view.topic) {
            return false;
        }
        if !route.permits(view.topic, &session.grant) {
            self.counters.drop(Drop::Denied);
            return false;
        }
        if session.team.id().is_none() {
            self.note_received(address.index, view.topic, now);
            match self.sessions.at_mut(address.index) {
                Some(same) => session = same,
                None => return false,
            }
        }
        let qos = view.qos.min(route.qos);
        let kept_as = session.number.filter(|_| qos > QoS::AtMostOnce);
        let terms = Terms {
            qos,
            retain: view.retain && route.retain_as_published,
            subscription_id: route.subscription_id,
            share: route.share,
            copy: match (stated, kept_as) {
                (Some(copy), _) => copy,
                (None, Some(_)) => passing.kept().next_copy(),
                (None, None) => 0,
            },
        };
        let target = kept_as.filter(|_| stated.is_none()).map(|session| Target {
            session,
            copy: terms.copy,
            qos,
            retain: terms.retain,
            subscription_id: terms.subscription_id,
            share: terms.share,
        });
        let facts = &mut self.keeping.facts;
        let conn = session.conn.and_then(|conn| self.conns.entry_mut(conn));
        let Some((generation, conn)) = conn else {
            if terms.qos == QoS::AtMostOnce {
                return false;
            }
            let kept = enqueue(session, passing, terms, &mut self.counters, facts, now);
            if let (true, Some(target)) = (kept, target) {
                facts.target(target);
            }
            session.publish_waiting();
            self.outcome.count(kept);
            return kept && kept_as.is_some();
        };
        let has_room = !conn.is_full();
        if terms.qos > QoS::AtMostOnce && !(has_room && session.outgoing.is_open(session.window)) {
            let kept = enqueue(session, passing, terms, &mut self.counters, facts, now);
            if let (true, Some(target)) = (kept, target) {
                facts.target(target);
            }
            session.publish_waiting();
            self.outcome.count(kept);
            return kept && kept_as.is_some();
        }
        if terms.qos == QoS::AtMostOnce
            && (conn.late.is_some() || conn.outbox.len() > conn.soft_limit())
        {
            self.outcome.count(true);
            keep_for_later(conn, session, passing, terms, &mut self.counters);
            return false;
        }
        let may_wait =
            terms.qos == QoS::ExactlyOnce && self.keeping.may_hold(kept_as.is_some(), &conn.outbox);
        if !self.form.fit(session, conn, view, terms, may_wait, now) {
            self.counters.drop(Drop::TooLarge);
            return false;
        }
        let facts = &mut self.keeping.facts;
        if let Some(target) = target {
            facts.target(target);
        }
        let id = (terms.qos > QoS::AtMostOnce).then(|| {
            let message = Arc::clone(passing.kept());
            let id = session.outgoing.start(terms.queued(message), facts);
            session.publish_waiting();
            id
        });
        let index = session.conn.unwrap_or_default();
        let to = ConnId { index, generation };
        let held = match terms.qos {
            QoS::ExactlyOnce => self.keeping.hold(kept_as.is_some(), &conn.outbox, to),
            _ => None,
        };
        self.form
            .push(session, conn, &mut self.pool, passing, id, false, held);
        self.outcome.count(true);
        conn.traffic.messages_out += 1;
        self.counters.message_out(terms.qos, view.payload.len());
        if !conn.touched && held.is_none() {
            conn.touched = true;
            self.touched.push(to);
        }
        kept_as.is_some()
    }

    /// Sends what waits, as far as the window and the outbox allow: first, again, what was in flight
    /// when the last connection ended `[MQTT-4.4.0-1]`, then the queue, then retained messages.
    pub(super) fn pump(&mut self, index: u32, now: Time) {
        let Some(session) = self.sessions.at_mut(index) else {
            return;
        };
        let Some(conn_index) = session.conn else {
            return;
        };
        let Some((generation, conn)) = self.conns.entry_mut(conn_index) else {
            return;
        };
        let waits = session.outgoing.is_waiting() || conn.late.is_some();
        if !waits && session.replays.is_empty() {
            return;
        }
        let mut expired = 0;
        let limit = conn.limits.max_outbox_bytes as usize;
        let before = conn.outbox.len();
        let id = ConnId {
            index: conn_index,
            generation,
        };
        let mut sending = Sending {
            form: &mut self.form,
            pool: &mut self.pool,
            counters: &mut self.counters,
            keeping: &mut self.keeping,
            to: id,
            now,
        };
        while conn.outbox.len() <= limit
            && let Some(again) = session.outgoing.resend(session.window)
        {
            match again {
                Resend::Publish(id, item) => sending.send(session, conn, &item, id, true),
                Resend::Release(id) => sending.release(session, conn, id),
            }
        }
        while conn.outbox.len() <= limit
            && let facts = &mut sending.keeping.facts
            && let Some((id, item)) =
                session
                    .outgoing
                    .next(session.window, now, &mut expired, facts)
        {
            let item = item.clone();
            sending.send(session, conn, &item, id, false);
        }
        sending.send_late(session, conn);
        self.counters.dropped[Drop::Expired as usize] += expired;
        session.publish_waiting();
        let added = conn.outbox.len() - before;
        self.visit.steps += steps_of(added);
        if added > 0 {
            self.touch(conn_index);
        }
        self.replay(index, now);
    }

    /// PUBACK.
    pub(super) fn puback(&mut self, session: u32, ack: Ack, now: Time) -> Result<(), ReasonCode> {
        let Some(state) = self.sessions.at_mut(session) else {
            return Ok(());
        };
        if state
            .outgoing
            .puback(ack.packet_id, &mut self.keeping.facts)
        {
            state.publish_waiting();
            self.pump(session, now);
        }
        Ok(())
    }

    /// PUBREC.
    pub(super) fn pubrec(
        &mut self,
        index: u32,
        session: u32,
        ack: Ack,
        now: Time,
    ) -> Result<(), ReasonCode> {
        let Some(state) = self.sessions.at_mut(session) else {
            return Ok(());
        };
        let accepted = !ack.reason.is_error();
        let is_kept = state.number.is_some();
        let facts = &mut self.keeping.facts;
        let code = match state.outgoing.pubrec(ack.packet_id, accepted, facts) {
            PubRecOutcome::Release => ReasonCode::Success,
            PubRecOutcome::Unknown if ack.reason.is_error() => return Ok(()),
            PubRecOutcome::Unknown => ReasonCode::PacketIdentifierNotFound,
            PubRecOutcome::Over => {
                state.publish_waiting();
                self.pump(session, now);
                return Ok(());
            }
        };
        let pubrel = |out: &mut Vec<u8>, version| {
            encode::pubrel(out, version, ack.packet_id, code);
        };
        match is_kept {
            true => self.promise(index, None, pubrel),
            false => self.write(index, pubrel),
        }
        Ok(())
    }

    /// PUBCOMP.
    pub(super) fn pubcomp(&mut self, session: u32, ack: Ack, now: Time) -> Result<(), ReasonCode> {
        let Some(state) = self.sessions.at_mut(session) else {
            return Ok(());
        };
        if state
            .outgoing
            .pubcomp(ack.packet_id, &mut self.keeping.facts)
        {
            state.publish_waiting();
            self.pump(session, now);
        }
        Ok(())
    }
}

/// A QoS 0 message for a client that is behind.
fn keep_for_later(
    conn: &mut Conn,
    session: &Session,
    passing: &Passing<'_>,
    terms: Terms,
    counters: &mut Counters,
) {
    let most = conn.soft_limit();
    forget_foreign(conn, session, counters);
    let late = conn.late.get_or_insert_with(|| Late::under(&session.grant));
    let dropped = late.push(passing.kept(), terms, most);
    counters.dropped[Drop::SlowConsumer as usize] += dropped;
}

/// What was let through by another grant than the session's of now is not delivered any more.
fn forget_foreign(conn: &mut Conn, session: &Session, counters: &mut Counters) {
    let foreign = conn.late.take_if(|late| !late.is_under(&session.grant));
    let gone = foreign.map_or(0, |late| late.len() as u64);
    counters.dropped[Drop::Denied as usize] += gone;
}

/// Says whether there was room.
fn enqueue(
    session: &mut Session,
    passing: &Passing<'_>,
    terms: Terms,
    counters: &mut Counters,
    facts: &mut Facts,
    now: Time,
) -> bool {
    let item = terms.queued(Arc::clone(passing.kept()));
    let expired = &mut counters.dropped[Drop::Expired as usize];
    let Session {
        outgoing,
        limits,
        team,
        ..
    } = session;
    if let Err(full) = outgoing.enqueue(item, limits, now, expired, facts) {
        counters.drop(Drop::QueueFull);
        let limit = match full {
            QueueFull::Own => Limit::ClientQueue,
            QueueFull::Team => Limit::Queued,
        };
        team.bounds.hit(limit);
        return false;
    }
    true
}

/// The parts of a shard that messages leave by, towards one connection.
struct Sending<'s> {
    form: &'s mut Form,
    pool: &'s mut BufferPool,
    counters: &'s mut Counters,
    keeping: &'s mut Keeping,
    to: ConnId,
    now: Time,
}

impl Sending<'_> {
    /// Encodes a queued or inflight message under its identifier. One that is larger than the client
    /// takes is let go as if it had been delivered `[MQTT-3.1.2-25]`.
    fn send(
        &mut self,
        session: &mut Session,
        conn: &mut Conn,
        item: &Queued,
        id: PacketId,
        dup: bool,
    ) {
        let terms = Terms {
            qos: item.qos,
            retain: item.retain,
            subscription_id: item.subscription_id,
            share: item.share,
            copy: item.copy,
        };
        let passing = Passing::of(&item.message);
        self.form.forget();
        // It may have come while its receipt was not kept, whoever's session this is.
        let waits = self.keeping.is_on();
        let may_wait = terms.qos == QoS::ExactlyOnce && self.keeping.may_hold(waits, &conn.outbox);
        let view = &passing.view;
        if !self
            .form
            .fit(session, conn, view, terms, may_wait, self.now)
        {
            session.outgoing.let_go(id, &mut self.keeping.facts);
            return self.counters.drop(Drop::TooLarge);
        }
        let held = match terms.qos {
            QoS::ExactlyOnce => self.keeping.hold(waits, &conn.outbox, self.to),
            _ => None,
        };
        self.form
            .push(session, conn, self.pool, &passing, Some(id), dup, held);
        conn.traffic.messages_out += 1;
        self.counters
            .message_out(terms.qos, passing.view.payload.len());
    }

    /// Sends PUBREL again.
    fn release(&mut self, session: &Session, conn: &mut Conn, id: PacketId) {
        let is_kept = session.number.is_some();
        let version = conn.version;
        match self.keeping.hold(is_kept, &conn.outbox, self.to) {
            Some(due) => conn.outbox.hold(due, |out| {
                encode::pubrel(out, version, id, ReasonCode::Success);
            }),
            None => encode::pubrel(
                conn.outbox.buffer(self.pool),
                version,
                id,
                ReasonCode::Success,
            ),
        }
    }

    /// Encodes what waits for a client that was behind, as far as it has caught up.
    fn send_late(&mut self, session: &Session, conn: &mut Conn) {
        forget_foreign(conn, session, self.counters);
        while conn.outbox.len() <= conn.soft_limit()
            && let Some(late) = &mut conn.late
        {
            let Some((message, terms)) = late.pop() else {
                conn.late = None;
                return;
            };
            if message.expires <= self.now {
                self.counters.drop(Drop::Expired);
                continue;
            }
            let passing = Passing::of(&message);
            self.form.forget();
            if self
                .form
                .fit(session, conn, &passing.view, terms, false, self.now)
            {
                self.form
                    .push(session, conn, self.pool, &passing, None, false, None);
                conn.traffic.messages_out += 1;
                self.counters
                    .message_out(terms.qos, passing.view.payload.len());
            } else {
                self.counters.drop(Drop::TooLarge);
            }
        }
        conn.late.take_if(|late| late.len() == 0);
    }
}
