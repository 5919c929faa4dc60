//! The end of connections and of sessions, and when the wills follow (`park` publishes them).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::connection::Phase;
use super::credential::CertificateFault;
use super::effect::{Breach, ConnId};
use super::event::{DisconnectCause, EventKind, Refusal};
use super::shard::{Shard, who};
use super::timers::Timer;
use crate::fact::Fact;
use crate::time::{Span, Time};
use crate::wire::{Disconnect, ReasonCode};

impl Shard {
    /// DISCONNECT from the client.
    pub(super) fn disconnect(
        &mut self,
        index: u32,
        session_index: u32,
        disconnect: &Disconnect<'_>,
        now: Time,
    ) -> Result<(), ReasonCode> {
        let Some(session) = self.sessions.at_mut(session_index) else {
            return Ok(());
        };
        if let Some(secs) = disconnect.session_expiry {
            if !session.asked_to_outlive && secs > 0 {
                return Err(ReasonCode::ProtocolError); // [MQTT-3.14.2-2]
            }
            let wanted = Span::from_secs(u64::from(secs));
            session.expiry = wanted.min(session.limits.max_session_expiry);
        }
        if disconnect.reason == ReasonCode::Success {
            self.forget_will(session_index); // [MQTT-3.14.4-3]
        }
        self.detach(
            session_index,
            DisconnectCause::Client(disconnect.reason),
            now,
        );
        self.close(index);
        Ok(())
    }

    /// The client is gone: nothing more comes from it.
    pub fn lost(&mut self, id: ConnId, now: Time) {
        let Some(conn) = self.conns.get(id.index, id.generation) else {
            return;
        };
        match &conn.phase {
            Phase::Active(_) => self.end(id.index, DisconnectCause::Lost, now),
            // A probe that says nothing is nobody's login.
            Phase::Opening if conn.traffic.bytes_in == 0 => self.close(id.index),
            Phase::Opening => self.refuse(id.index, None, Refusal::Gone, None, now),
            Phase::Judging(_) | Phase::Challenged(_) => {
                self.give_up_judging(id.index, Refusal::Gone, now)
            }
            Phase::Closing => {}
        }
    }

    /// The socket is closed, whoever closed it: the connection's place is free.
    pub fn closed(&mut self, id: ConnId, now: Time) {
        self.lost(id, now);
        match self.conns.get_mut(id.index, id.generation) {
            Some(conn) if conn.is_paused() => conn.gone = true,
            Some(_) => {
                self.conns.remove(id.index);
            }
            None => {}
        }
    }

    /// The client broke what lies below MQTT, and was told so there.
    pub fn broken(&mut self, id: ConnId, breach: Breach, now: Time) {
        let Some(conn) = self.conns.get(id.index, id.generation) else {
            return;
        };
        let (refusal, cause) = match breach {
            Breach::Tls => (Refusal::Tls, DisconnectCause::Tls),
            Breach::Certificate(fault) => (Refusal::Certificate(fault), DisconnectCause::Tls),
            Breach::WebSocket(code) => (Refusal::WebSocket(code), DisconnectCause::WebSocket(code)),
        };
        match &conn.phase {
            Phase::Active(_) => self.end(id.index, cause, now),
            Phase::Opening => self.refuse(id.index, None, refusal, None, now),
            Phase::Judging(_) | Phase::Challenged(_) => {
                self.give_up_judging(id.index, refusal, now)
            }
            Phase::Closing => {}
        }
    }

    /// The certificate that the client showed is no longer good: its connection ends.
    pub fn distrust(&mut self, id: ConnId, fault: CertificateFault, now: Time) {
        let Some(conn) = self.conns.get(id.index, id.generation) else {
            return;
        };
        match conn.phase {
            Phase::Active(session) => {
                self.say_goodbye(id.index, ReasonCode::AdministrativeAction);
                self.detach(session, DisconnectCause::Certificate(fault), now);
                self.close(id.index);
            }
            _ => self.broken(id, Breach::Certificate(fault), now),
        }
    }

    /// Everyone goes: the broker is stopping. Wills stay unsent and what is kept stays kept, for
    /// this is not the end of the clients' sessions.
    pub fn stop(&mut self, now: Time) {
        for (index, _) in self.conns.places() {
            match self.conns.at(index).map(|conn| &conn.phase) {
                Some(Phase::Active(session)) => {
                    let session = *session;
                    self.say_goodbye(index, ReasonCode::ServerShuttingDown);
                    self.await_no_commit(index);
                    self.forget_will(session);
                    let cause = DisconnectCause::Server(ReasonCode::ServerShuttingDown);
                    self.detach(session, cause, now);
                    self.close(index);
                }
                Some(Phase::Judging(_) | Phase::Challenged(_)) => {
                    self.give_up_judging(index, Refusal::Stopping, now);
                }
                Some(Phase::Opening) => self.close(index),
                Some(Phase::Closing) => self.await_no_commit(index),
                None => {}
            }
        }
        self.put_crossings_on_record(now);
    }

    /// Nobody says any more how far the journal is: what waits for it goes unsaid. Who waits for CONNACK
    /// gets no DISCONNECT either `[MQTT-3.14.0-1]`.
    fn await_no_commit(&mut self, index: u32) {
        if let Some(conn) = self.conns.at_mut(index) {
            conn.outbox.forget_held();
            conn.outbox.forget_closed(&mut self.pool);
            self.touch(index);
        }
    }

    /// Parts a session from its connection, whose socket the caller closes. A will that the client
    /// did not take back goes out, now or after its delay; a session without expiry ends.
    pub(super) fn detach(&mut self, index: u32, cause: DisconnectCause, now: Time) {
        let Some(session) = self.sessions.at(index) else {
            return;
        };
        let Some(conn_index) = session.conn else {
            return;
        };
        self.record_departure(index, conn_index, cause, now);

        let Some(session) = self.sessions.at_mut(index) else {
            return;
        };
        session.team.connections.fetch_sub(1, Ordering::Relaxed);
        let (bounds, meter) = (&session.team.bounds, &session.meter);
        bounds.note_spent(&session.key.username, meter.seen, meter.spent(), now);
        bounds.leave(&session.key.username, now);
        session.attach(None);
        session.expires = match session.expiry {
            Span::ZERO => now,
            expiry => now + expiry,
        };
        if let Some(will) = &session.will {
            session.will_due = (now + will.delay).min(session.expires);
        }
        if let Some(number) = session.number {
            self.keeping.facts.state(Fact::Left {
                session: number,
                expires: session.expires,
                will_due: session.will_due,
            });
        }
        self.pass_on_queue(index, now);
        self.settle_session(index, now);
    }

    /// Does what is due for a session without a connection and sets a timer for the rest.
    pub(super) fn settle_session(&mut self, index: u32, now: Time) {
        let Some(session) = self.sessions.at_mut(index) else {
            return;
        };
        if session.conn.is_some() {
            return;
        }
        if session.expires <= now {
            let after = session.expiry;
            if after > Span::ZERO {
                self.counters.sessions_expired += 1;
                let who = who(session);
                self.record(now, who, EventKind::SessionExpired { after });
            }
            return self.end_session(index, now);
        }
        if session.will_due <= now {
            session.will_due = Time::NEVER;
            let number = session.number;
            if let Some(will) = session.will.take() {
                self.publish_will(index, will, now);
                // Only now, so that there is no time at which it is nowhere.
                self.keeping
                    .facts
                    .extend(number.map(|it| Fact::Will(it, None)));
            }
        }
        self.set_session_timer(index);
    }

    /// Has the session looked after when something is due for it.
    pub(super) fn set_session_timer(&mut self, index: u32) {
        if let Some(session) = self.sessions.at_mut(index) {
            let (due, generation) = (session.due(), session.address.generation);
            self.timers.set(
                Timer::Session { index, generation },
                due,
                &mut session.timer,
            );
            self.sweep_timers();
        }
    }

    /// The client took its will back, or nobody is to have it.
    pub(super) fn forget_will(&mut self, index: u32) {
        if let Some(session) = self.sessions.at_mut(index)
            && session.will.take().is_some()
            && let Some(number) = session.number
        {
            self.keeping.facts.state(Fact::Will(number, None));
        }
    }

    pub(super) fn session_timer(&mut self, index: u32, generation: u32, now: Time) {
        if let Some(session) = self.sessions.get_mut(index, generation) {
            session.timer = Time::NEVER;
            self.settle_session(index, now);
        }
    }

    /// Ends a session that has no connection: its subscriptions and its place in the registry go,
    /// and its will does not outlive it `[MQTT-3.1.2-8]`. The subscriptions go first: the will is for
    /// others, and a share group must not hand it to the member that is just leaving.
    pub(super) fn end_session(&mut self, index: u32, now: Time) {
        let Some(session) = self.sessions.at_mut(index) else {
            return;
        };
        debug_assert!(
            session.conn.is_none(),
            "a session ends without a connection"
        );
        let will = session.will.take();
        let subscriptions = std::mem::take(&mut session.subscriptions);
        let (team, address) = (Arc::clone(&session.team), session.address);
        let in_commons = subscriptions.values().filter(|it| it.in_commons).count();
        team.unsubscribed_in_commons(u32::try_from(in_commons).unwrap_or(u32::MAX));
        for in_commons in [false, true] {
            let standing = || {
                let all = subscriptions.iter();
                all.filter(|(_, subscription)| subscription.in_commons == in_commons)
                    .map(|(key, subscription)| {
                        (subscription.filter(key), subscription.group.as_deref())
                    })
            };
            if standing().next().is_some() {
                let place = self.world.standing(&team, in_commons);
                place.unsubscribe_all(standing(), address);
            }
        }
        if let Some(will) = will {
            self.publish_will(index, will, now);
        }
        if let Some(mut session) = self.sessions.remove(index) {
            team.registry.release(&session.key, address);
            session.subscriptions = subscriptions;
            let number = session.number;
            self.pass_on_all(session, now);
            self.keeping.facts.extend(number.map(Fact::Ended));
        }
    }

    fn record_departure(&mut self, session: u32, conn: u32, cause: DisconnectCause, now: Time) {
        let Some(who) = self.sessions.at(session).map(who) else {
            return;
        };
        let Some(conn) = self.conns.at(conn) else {
            return;
        };
        let kind = EventKind::Disconnected {
            cause,
            duration: now - conn.opened,
            messages_in: conn.traffic.messages_in,
            messages_out: conn.traffic.messages_out,
            bytes_in: conn.traffic.bytes_in,
            // What is in the outbox was sent as far as the session is concerned.
            bytes_out: conn.traffic.bytes_out + conn.outbox.len() as u64,
        };
        self.record(now, who, kind);
    }
}
