//! The limits of teams and clients, where they meet a connection: at its login, with each PUBLISH,
//! and when they change.
//!
//! A client that is over a rate is slowed: what it has sent stays counted in full, nothing is lost,
//! and nothing more is read from it until that is paid for. It stands by with one timer, and is not
//! taken for silent. A new connection is no way round that: its first PUBLISH waits until what its team
//! and its client owe is paid.

use std::sync::Arc;

use super::effect::ConnId;
use super::event::{EventKind, Refusal};
use super::shard::{Shard, who};
use super::turn::Waiting;
use crate::limits::{LOOK_AGAIN, Limit, OverRate};
use crate::policy::Grant;
use crate::session::Over;
use crate::time::Time;
use crate::wire::ReasonCode;

impl Shard {
    /// Counts a login that is good against its team's rates. A login is counted once, though its
    /// connection may move to another shard for its session.
    pub(super) fn logs_in(&self, grant: &Grant, now: Time) -> Result<(), (Refusal, ReasonCode)> {
        let team = self.world.home(grant);
        let counted = team.bounds.log_in(&grant.principal().username, now);
        counted.map_err(|limit| (Refusal::Limit(limit), ReasonCode::ConnectionRateExceeded))
    }

    /// Counts one PUBLISH, of so many bytes as it was sent, against the rates. An error ends the
    /// connection with that reason code.
    pub(super) fn meter(
        &mut self,
        index: u32,
        session_index: u32,
        length: usize,
        now: Time,
    ) -> Result<(), ReasonCode> {
        let Some(session) = self.sessions.at_mut(session_index) else {
            return Ok(());
        };
        let bounds = &session.team.bounds;
        if session.meter.seen != bounds.generation() {
            self.renew_limits(index, session_index);
        }
        let Some(session) = self.sessions.at_mut(session_index) else {
            return Ok(());
        };
        if !session.meter.is_on {
            return Ok(());
        }
        let Some(over) = session.meter.count(&session.team.bounds, length, now) else {
            return Ok(());
        };
        self.note_hit(session_index, over.limit, now);
        match over.then {
            OverRate::Disconnect => Err(ReasonCode::MessageRateTooHigh),
            OverRate::Slow => {
                self.slow_down(index, over, now);
                Ok(())
            }
        }
    }

    fn note_hit(&mut self, session: u32, limit: Limit, now: Time) {
        let Some(session) = self.sessions.at_mut(session) else {
            return;
        };
        let (bounds, meter) = (&session.team.bounds, &mut session.meter);
        bounds.hit(limit);
        bounds.note_spent(&session.key.username, meter.seen, meter.spent(), now);
        if let Some(count) = meter.tell(now) {
            let who = who(session);
            self.record(now, who, EventKind::LimitHit { limit, count });
        }
    }

    /// A new session begins with what the client has spent in others.
    pub(super) fn inherit_spent(&mut self, index: u32, session_index: u32) {
        self.renew_limits(index, session_index);
        if let Some(session) = self.sessions.at_mut(session_index)
            && session.meter.is_on
        {
            let bounds = &session.team.bounds;
            let spent = bounds.spent(&session.key.username, session.meter.seen);
            session.meter.inherit(spent);
        }
    }

    /// Whether a PUBLISH, the first on its connection, has to wait until something is paid; then it
    /// does. Later ones do not: whoever waited once has its turn, however much others owe by then.
    pub(super) fn pays_first(&mut self, index: u32, session_index: u32, now: Time) -> bool {
        match self.conns.at_mut(index) {
            Some(conn) if !conn.has_published => conn.has_published = true,
            _ => return false,
        }
        let Some(session) = self.sessions.at_mut(session_index) else {
            return false;
        };
        if session.meter.seen != session.team.bounds.generation() {
            self.renew_limits(index, session_index);
        }
        let Some(session) = self.sessions.at_mut(session_index) else {
            return false;
        };
        if !session.meter.is_on {
            return false;
        }
        match session.meter.owes(&session.team.bounds, now) {
            Some(over) if over.then == OverRate::Slow => {
                self.note_hit(session_index, over.limit, now);
                self.slow_down(index, over, now);
                true
            }
            _ => false, // or it is cut, when it is counted
        }
    }

    /// Takes over what the team's limits are now.
    pub(super) fn renew_limits(&mut self, index: u32, session: u32) {
        let (Some(conn), Some(session)) = (self.conns.at_mut(index), self.sessions.at_mut(session))
        else {
            return;
        };
        let bounds = &session.team.bounds;
        let generation = bounds.generation();
        session.meter.renew(generation, &bounds.limits());
        let listener = self.world.limits_of(&conn.peer.listener);
        session.limits = bounds.narrow(listener);
        conn.limits = Arc::clone(&session.limits);
    }

    /// Nothing more is served of this connection until it has paid.
    fn slow_down(&mut self, index: u32, over: Over, now: Time) {
        let Some(conn) = self.conns.at_mut(index) else {
            return;
        };
        conn.slowed_until = over.until;
        (conn.paused, conn.awaits_turn) = (true, true);
        self.visit.stop();
        self.set_conn_timer(index, over.until.min(now + LOOK_AGAIN));
    }

    /// A slowed connection's timer fired. Returns when it is to be looked at again.
    pub(super) fn look_at_slowed(&mut self, index: u32, now: Time) -> Time {
        let Some((generation, conn)) = self.conns.entry_mut(index) else {
            return Time::NEVER;
        };
        if conn.slowed_until == Time::EPOCH {
            return Time::NEVER;
        }
        let session = conn.session().and_then(|session| self.sessions.at(session));
        let same = session.is_some_and(|it| it.meter.seen == it.team.bounds.generation());
        if same && now < conn.slowed_until {
            return conn.slowed_until.min(now + LOOK_AGAIN);
        }
        conn.slowed_until = Time::EPOCH;
        let lane = conn.lane;
        let id = ConnId { index, generation };
        self.lanes.wait(lane, Waiting::Reader(id));
        Time::NEVER
    }
}

/// What a client is told that a limit on connections or sessions keeps out.
pub(super) const fn kept_out(limit: Limit) -> (Refusal, ReasonCode) {
    let refusal = match limit {
        Limit::Sessions => Refusal::Quota,
        other => Refusal::Limit(other),
    };
    (refusal, ReasonCode::QuotaExceeded)
}
