//! A message out: from the routes into sessions, and from sessions into outboxes.

use std::sync::Arc;

use super::batch::Batch;
use super::connection::Conn;
use super::counters::{Counters, Drop};
use super::form::{Form, Terms};
use super::late::Late;
use super::outbox::BufferPool;
use super::publish::Passing;
use super::shard::Shard;
use super::turn::steps_of;
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
            self.deliver(route, passing, now);
        } else {
            self.send_off(team, passing.kept(), route);
            self.outcome.count(true); // it is not known here
        }
    }

    /// Delivers of a batch until so many steps are done; says how many they were.
    pub(super) fn deliver_some(&mut self, batch: &mut Batch, most: u32, now: Time) -> u32 {
        let mut last: Option<Arc<Message>> = None;
        let (mut steps, before) = (0, batch.len());
        while steps < most
            && let Some((message, route)) = batch.take()
        {
            if !last.is_some_and(|last| Arc::ptr_eq(&last, &message)) {
                self.form.forget();
            }
            // It may have been long on the way [MQTT-3.3.2-5].
            if message.expires < now {
                self.counters.drop(Drop::Expired);
            } else {
                self.deliver(route, &Passing::of(&message), now);
            }
            steps += steps_of(message.size());
            last = Some(message);
        }
        self.caught_up |= batch.team().transit.arrived(before - batch.len());
        steps
    }

    /// One message for one session.
    pub(super) fn deliver(&mut self, route: Route, passing: &Passing<'_>, now: Time) {
        let address = route.session;
        if self.observation.is_on() {
            self.observe_delivery(route, &passing.view, now);
        }
        let Some(mut session) = self.sessions.get_mut(address.index, address.generation) else {
            return self.counters.drop(Drop::Gone);
        };
        let view = &passing.view;
        if route.no_local && view.publisher == address {
            return; // [MQTT-3.8.3-3]
        }
        if !route.sees(view.topic, &session.grant) {
            return;
        }
        if !route.permits(view.topic, &session.grant) {
            return self.counters.drop(Drop::Denied);
        }
        if session.team.id().is_none() {
            self.note_received(address.index, view.topic, now);
            match self.sessions.at_mut(address.index) {
                Some(same) => session = same,
                None => return,
            }
        }
        let terms = Terms {
            qos: view.qos.min(route.qos),
            retain: view.retain && route.retain_as_published,
            subscription_id: route.subscription_id,
            share: route.share,
        };
        let conn = session.conn.and_then(|conn| self.conns.entry_mut(conn));
        let Some((generation, conn)) = conn else {
            if terms.qos > QoS::AtMostOnce {
                let kept = enqueue(session, passing, terms, &mut self.counters, now);
                session.publish_waiting();
                self.outcome.count(kept);
            }
            return;
        };
        let has_room = !conn.is_full();
        if terms.qos > QoS::AtMostOnce && !(has_room && session.outgoing.is_open(session.window)) {
            let kept = enqueue(session, passing, terms, &mut self.counters, now);
            session.publish_waiting();
            self.outcome.count(kept);
            return;
        }
        if terms.qos == QoS::AtMostOnce
            && (conn.late.is_some() || conn.outbox.len() > conn.soft_limit())
        {
            self.outcome.count(true);
            return keep_for_later(conn, session, passing, terms, &mut self.counters);
        }
        if !self.form.fit(session, conn, view, terms, now) {
            return self.counters.drop(Drop::TooLarge);
        }
        let id = (terms.qos > QoS::AtMostOnce).then(|| {
            let message = Arc::clone(passing.kept());
            let id = session.outgoing.start(terms.queued(message));
            session.publish_waiting();
            id
        });
        self.form
            .push(session, conn, &mut self.pool, passing, id, false);
        self.outcome.count(true);
        conn.traffic.messages_out += 1;
        self.counters.message_out(terms.qos, view.payload.len());
        if !conn.touched {
            conn.touched = true;
            let index = session.conn.unwrap_or_default();
            self.touched.push(super::ConnId { index, generation });
        }
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
        let Some(conn) = self.conns.at_mut(conn_index) else {
            return;
        };
        let waits = session.outgoing.is_waiting() || conn.late.is_some();
        if !waits && session.replays.is_empty() {
            return;
        }
        let mut expired = 0;
        let limit = conn.limits.max_outbox_bytes as usize;
        let before = conn.outbox.len();
        while conn.outbox.len() <= limit
            && let Some(again) = session.outgoing.resend(session.window)
        {
            match again {
                Resend::Publish(id, item) => send(
                    &mut self.form,
                    &mut self.pool,
                    &mut self.counters,
                    session,
                    conn,
                    &item,
                    id,
                    true,
                    now,
                ),
                Resend::Release(id) => {
                    let out = conn.outbox.buffer(&mut self.pool);
                    encode::pubrel(out, conn.version, id, ReasonCode::Success);
                }
            }
        }
        while conn.outbox.len() <= limit
            && let Some((id, item)) = session.outgoing.next(session.window, now, &mut expired)
        {
            let item = item.clone();
            send(
                &mut self.form,
                &mut self.pool,
                &mut self.counters,
                session,
                conn,
                &item,
                id,
                false,
                now,
            );
        }
        send_late(
            &mut self.form,
            &mut self.pool,
            &mut self.counters,
            session,
            conn,
            now,
        );
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
        if state.outgoing.puback(ack.packet_id) {
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
        let code = match state.outgoing.pubrec(ack.packet_id, !ack.reason.is_error()) {
            PubRecOutcome::Release => ReasonCode::Success,
            PubRecOutcome::Unknown if ack.reason.is_error() => return Ok(()),
            PubRecOutcome::Unknown => ReasonCode::PacketIdentifierNotFound,
            PubRecOutcome::Over => {
                state.publish_waiting();
                self.pump(session, now);
                return Ok(());
            }
        };
        self.write(index, |out, version| {
            encode::pubrel(out, version, ack.packet_id, code)
        });
        Ok(())
    }

    /// PUBCOMP.
    pub(super) fn pubcomp(&mut self, session: u32, ack: Ack, now: Time) -> Result<(), ReasonCode> {
        let Some(state) = self.sessions.at_mut(session) else {
            return Ok(());
        };
        if state.outgoing.pubcomp(ack.packet_id) {
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

/// Encodes what waits for a client that was behind, as far as it has caught up.
fn send_late(
    form: &mut Form,
    pool: &mut BufferPool,
    counters: &mut Counters,
    session: &Session,
    conn: &mut Conn,
    now: Time,
) {
    forget_foreign(conn, session, counters);
    while conn.outbox.len() <= conn.soft_limit()
        && let Some(late) = &mut conn.late
    {
        let Some((message, terms)) = late.pop() else {
            conn.late = None;
            return;
        };
        if message.expires <= now {
            counters.drop(Drop::Expired);
            continue;
        }
        let passing = Passing::of(&message);
        form.forget();
        if form.fit(session, conn, &passing.view, terms, now) {
            form.push(session, conn, pool, &passing, None, false);
            conn.traffic.messages_out += 1;
            counters.message_out(terms.qos, passing.view.payload.len());
        } else {
            counters.drop(Drop::TooLarge);
        }
    }
    conn.late.take_if(|late| late.len() == 0);
}

/// Says whether there was room.
fn enqueue(
    session: &mut Session,
    passing: &Passing<'_>,
    terms: Terms,
    counters: &mut Counters,
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
    if let Err(full) = outgoing.enqueue(item, limits, now, expired) {
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

/// Encodes a queued or inflight message under its identifier. One that is larger than the client
/// takes is let go as if it had been delivered `[MQTT-3.1.2-25]`.
#[allow(clippy::too_many_arguments)] // the parts of a shard, borrowed one by one
fn send(
    form: &mut Form,
    pool: &mut BufferPool,
    counters: &mut Counters,
    session: &mut Session,
    conn: &mut Conn,
    item: &Queued,
    id: PacketId,
    dup: bool,
    now: Time,
) {
    let terms = Terms {
        qos: item.qos,
        retain: item.retain,
        subscription_id: item.subscription_id,
        share: item.share,
    };
    let passing = Passing::of(&item.message);
    form.forget();
    if form.fit(session, conn, &passing.view, terms, now) {
        form.push(session, conn, pool, &passing, Some(id), dup);
        conn.traffic.messages_out += 1;
        counters.message_out(terms.qos, passing.view.payload.len());
    } else {
        session.outgoing.let_go(id);
        counters.drop(Drop::TooLarge);
    }
}
