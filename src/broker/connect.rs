//! From CONNECT to CONNACK: the login, the session that is made or resumed, takeover.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::alias::SentAliases;
use super::bound::kept_out;
use super::connection::{Conn, Phase, Traffic};
use super::effect::{ConnId, Effect, Login, Verdict};
use super::event::{DisconnectCause, EventKind, Refusal, Who};
use super::pending::{Pending, max_packet};
use super::review::{Change, ChangeKind};
use super::shard::{Shard, who};
use crate::limits::Limit;
use crate::policy::Grant;
use crate::session::{Peer, Session};
use crate::team::{Claim, SessionAddress, SessionKey, Team};
use crate::time::{Span, Time};
use crate::wire::encode::{self, ConnAck};
use crate::wire::{Connect, ReasonCode, Version};

/// A connection on its way to the shard where its session lives.
#[derive(Debug)]
pub struct Migrant {
    peer: Peer,
    pending: Box<Pending>,
    grant: Arc<Grant>,
    held: Vec<u8>,
    opened: Time,
    traffic: Traffic,
}

impl Shard {
    /// CONNECT came first, as it must. What can be refused without knowing who it is, is.
    pub(super) fn connect(&mut self, index: u32, connect: &Connect<'_>, now: Time) {
        let Some((generation, conn)) = self.conns.entry_mut(index) else {
            return;
        };
        conn.version = connect.version;
        conn.max_packet = max_packet(connect);
        let mut pending = Box::new(Pending::new(connect, now));
        pending.asked_under = self.reviews.number;
        let limits = Arc::clone(&conn.limits);
        if let Err(code) = pending.check(&limits) {
            let refusal = Refusal::Malformed(code);
            return self.refuse(index, Some(&pending), refusal, Some(code), now);
        }
        let login = Login {
            conn: ConnId { index, generation },
            peer: conn.peer.clone(),
            version: connect.version,
            client_id: connect.client_id.into(),
            username: connect.username.map(Into::into),
            password: connect.password.map(Into::into),
            exchange: pending.exchange(connect.properties.authentication_data, None),
            certificate: None,
        };
        conn.phase = Phase::Judging(pending);
        self.effects.push(Effect::Judge(Box::new(login)));
        self.set_conn_timer(index, now + limits.login_timeout);
    }

    /// The verdict on a login. Without effect where the connection has gone or the time was up.
    pub fn judged(&mut self, id: ConnId, verdict: Verdict, now: Time) {
        let Some(conn) = self.conns.get_mut(id.index, id.generation) else {
            return;
        };
        match conn.phase {
            Phase::Judging(_) => self.login_judged(id.index, verdict, now),
            Phase::Active(session) => self.judged_again(id.index, session, verdict, now),
            Phase::Opening | Phase::Challenged(_) | Phase::Closing => {}
        }
    }

    fn login_judged(&mut self, index: u32, verdict: Verdict, now: Time) {
        let Some(mut pending) = self.take_pending(index) else {
            return;
        };
        let goes_on = !matches!(verdict, Verdict::Refuse(_) | Verdict::Undecided(_));
        if goes_on && self.spoke_out_of_turn(index, &pending) {
            let code = ReasonCode::ProtocolError;
            let refusal = Refusal::Malformed(code);
            return self.refuse(index, Some(&pending), refusal, Some(code), now);
        }
        match verdict {
            Verdict::Admit(grant) => self.let_in(index, pending, grant, now),
            Verdict::AdmitWith { grant, data } => {
                pending.last_word = Some(data);
                self.let_in(index, pending, grant, now);
            }
            Verdict::Challenge {
                data,
                state,
                username,
            } => {
                pending.username = pending.username.or(username);
                self.challenge(index, pending, &data, state, now);
            }
            Verdict::Refuse(reason) => {
                self.refuse(index, Some(&pending), reason, Some(reason.told()), now);
            }
            Verdict::Undecided(reason) => self.refuse(index, Some(&pending), reason, None, now),
        }
    }

    fn let_in(&mut self, index: u32, mut pending: Box<Pending>, grant: Arc<Grant>, now: Time) {
        let Some(grant) = self.catch_up(index, &mut pending, grant, now) else {
            return;
        };
        match self.logs_in(&grant, now) {
            Ok(()) => self.admit(index, pending, grant, now),
            Err((reason, told)) => self.refuse(index, Some(&pending), reason, Some(told), now),
        }
    }

    /// Nothing could be judged: closed without CONNACK, for a refusing one can be final.
    pub(super) fn give_up_judging(&mut self, index: u32, refusal: Refusal, now: Time) {
        let pending = self.take_pending(index);
        self.refuse(index, pending.as_deref(), refusal, None, now);
    }

    /// The login that this connection waits with, whoever has the word.
    pub(super) fn take_pending(&mut self, index: u32) -> Option<Box<Pending>> {
        let conn = self.conns.at_mut(index)?;
        match std::mem::replace(&mut conn.phase, Phase::Opening) {
            Phase::Judging(pending) | Phase::Challenged(pending) => Some(pending),
            other => {
                conn.phase = other;
                None
            }
        }
    }

    /// Ends a connection that is not admitted; the record has the true reason, the client is told
    /// `told`.
    pub(super) fn refuse(
        &mut self,
        index: u32,
        pending: Option<&Pending>,
        reason: Refusal,
        told: Option<ReasonCode>,
        now: Time,
    ) {
        let told = told.filter(|code| self.can_tell(index, *code));
        if let Some(code) = told {
            let connack = ConnAck::default();
            self.write(index, |out, version| {
                encode::connack(out, version, code, &connack)
            });
        }
        self.record_refusal(index, pending, reason, told, now);
        self.close(index);
    }

    /// Whether a refusing CONNACK can say this: 3.x has not a word for everything, and 5.0 clients
    /// that take next to nothing.
    fn can_tell(&self, index: u32, code: ReasonCode) -> bool {
        self.conns.at(index).is_some_and(|conn| match conn.version {
            Version::V5 => conn.max_packet >= 5,
            _ => code.connect_return_code().is_some(),
        })
    }

    pub(super) fn record_refusal(
        &mut self,
        index: u32,
        pending: Option<&Pending>,
        reason: Refusal,
        told: Option<ReasonCode>,
        now: Time,
    ) {
        let Some(conn) = self.conns.at(index) else {
            return;
        };
        let who = Who {
            team: None,
            username: pending.and_then(|pending| pending.username.clone()),
            client_id: pending.map(|pending| Arc::clone(&pending.client_id)),
            peer: conn.peer.clone(),
        };
        self.record(now, who, EventKind::ConnectRefused { reason, told });
    }

    /// A verdict is as old as its question, and this one may have been on its way for long: the grant
    /// in the light of what has changed since, or a refusal.
    fn catch_up(
        &mut self,
        index: u32,
        pending: &mut Pending,
        grant: Arc<Grant>,
        now: Time,
    ) -> Option<Arc<Grant>> {
        let caught_up = self
            .reviews
            .catch_up(grant, &pending.client_id, pending.asked_under);
        pending.asked_under = self.reviews.number;
        if caught_up.is_err() {
            self.refuse(index, Some(pending), Refusal::Changed, None, now);
        }
        caught_up.ok()
    }

    /// Takes in a connection from another shard: its session lives here.
    pub fn adopt(&mut self, migrant: Migrant, now: Time) -> ConnId {
        let limits = Arc::clone(self.world.limits_of(&migrant.peer.listener));
        let mut conn = Conn::new(migrant.peer, limits, migrant.opened);
        conn.heard = now;
        conn.version = migrant.pending.version;
        conn.max_packet = migrant.pending.max_packet;
        conn.held = migrant.held;
        conn.traffic = migrant.traffic;
        let (index, generation) = self.conns.insert(conn);
        let mut pending = migrant.pending;
        if let Some(grant) = self.catch_up(index, &mut pending, migrant.grant, now) {
            self.admit(index, pending, grant, now);
        }
        ConnId { index, generation }
    }

    /// The login is good: finds or makes the session and answers.
    fn admit(&mut self, index: u32, mut pending: Box<Pending>, grant: Arc<Grant>, now: Time) {
        let team = self.world.home(&grant);
        if team.is_closed() {
            return self.refuse(index, Some(&pending), Refusal::Changed, None, now);
        }
        let Some(conn) = self.conns.at_mut(index) else {
            return;
        };
        let limits = team
            .bounds
            .narrow(self.world.limits_of(&conn.peer.listener));
        conn.limits = Arc::clone(&limits);
        conn.expires = grant.expires();
        let peer = conn.peer.clone();
        let assigned = pending.client_id.is_empty();
        if assigned {
            pending.client_id = self.new_client_id();
        }
        if !pending.can_mount_will(&grant, &limits) {
            let code = ReasonCode::TopicNameInvalid;
            return self.refuse(
                index,
                Some(&pending),
                Refusal::Malformed(code),
                Some(code),
                now,
            );
        }
        let mut connack = Vec::new();
        let success = pending.connack(false, assigned, &limits);
        encode::connack(&mut connack, pending.version, ReasonCode::Success, &success);
        if connack.len() > pending.max_packet as usize {
            let code = ReasonCode::PacketTooLarge;
            let refusal = Refusal::Malformed(code);
            return self.refuse(index, Some(&pending), refusal, Some(code), now);
        }
        let key = SessionKey {
            username: Arc::clone(&grant.principal().username),
            client_id: Arc::clone(&pending.client_id),
        };
        let mark = self.keeping.facts.len();
        let (session, present) = match self.claim(&peer, &key, &team, &grant, &pending, now) {
            Claimed::Session { index, present } => (index, present),
            Claimed::Elsewhere(shard) => {
                return self.send_away(index, shard, pending, grant);
            }
            Claimed::KeptOut(limit) => {
                let (reason, told) = kept_out(limit);
                return self.refuse(index, Some(&pending), reason, Some(told), now);
            }
        };
        self.begin(index, session, present, assigned, *pending, mark, now);
    }

    /// Makes or resumes the session of `key`, ending what stands in its way.
    fn claim(
        &mut self,
        peer: &Peer,
        key: &SessionKey,
        team: &Arc<Team>,
        grant: &Arc<Grant>,
        pending: &Pending,
        now: Time,
    ) -> Claimed {
        loop {
            let (index, generation) = self.sessions.next_place();
            let address = SessionAddress {
                shard: self.id,
                index,
                generation,
            };
            let limits = team.bounds.narrow(self.world.limits_of(&peer.listener));
            let most = limits.max_sessions_per_team;
            let most_own = team.bounds.limits().client.max_sessions;
            let held = match team.registry.claim(key, address, most, most_own) {
                Claim::Full => return Claimed::KeptOut(team.bounds.hit(Limit::Sessions)),
                Claim::PrincipalFull => {
                    return Claimed::KeptOut(team.bounds.hit(Limit::ClientSessions));
                }
                Claim::New => {
                    if let Err(limit) = team.bounds.enter(&key.username, now) {
                        team.registry.release(key, address);
                        return Claimed::KeptOut(limit);
                    }
                    let (team, grant) = (Arc::clone(team), Arc::clone(grant));
                    let key = key.clone();
                    let mut session = Session::new(key, address, team, grant, peer.clone(), limits);
                    session.reviewed = self.reviews.number;
                    self.sessions.insert(session);
                    return Claimed::Session {
                        index,
                        present: false,
                    };
                }
                Claim::Held(held) if held.shard != self.id => {
                    return Claimed::Elsewhere(held.shard);
                }
                Claim::Held(held) => held,
            };
            let Some(session) = self.sessions.get(held.index, held.generation) else {
                // A registry entry without its session would lock the client out for ever.
                debug_assert!(false, "a session left its place in the registry");
                team.registry.release(key, held);
                continue;
            };
            if let Some(old) = session.conn {
                self.take_over(old, held.index, peer, now);
                continue; // the session may have ended with its connection
            }
            if session.reviewed < self.reviews.number {
                self.review_now(held.index, now);
                if let Some(session) = self.sessions.get_mut(held.index, held.generation) {
                    session.reviewed = self.reviews.number;
                }
                continue; // it may have ended
            }
            if !pending.clean_start {
                if let Err(limit) = team.bounds.enter(&key.username, now) {
                    return Claimed::KeptOut(limit);
                }
                if let Some(session) = self.sessions.at_mut(held.index) {
                    session.peer = peer.clone();
                    session.limits = limits;
                }
                let change = Change::of(ChangeKind::Login);
                self.rejudge(held.index, grant, change, now);
                return Claimed::Session {
                    index: held.index,
                    present: true,
                };
            }
            self.end_session(held.index, now);
        }
    }

    /// Ends the connection `old` because another takes its session `[MQTT-3.1.4-3]`.
    fn take_over(&mut self, old: u32, session: u32, by: &Peer, now: Time) {
        if let Some(session) = self.sessions.at(session) {
            self.record(now, who(session), EventKind::TakenOver { by: by.address });
        }
        self.say_goodbye(old, ReasonCode::SessionTakenOver);
        self.detach(session, DisconnectCause::TakenOver, now);
        self.close(old);
    }

    /// The socket goes to the shard where the session lives.
    fn send_away(&mut self, index: u32, to: u16, pending: Box<Pending>, grant: Arc<Grant>) {
        let Some((generation, _)) = self.conns.entry_mut(index) else {
            return;
        };
        let Some(conn) = self.conns.remove(index) else {
            return;
        };
        let migrant = Migrant {
            peer: conn.peer,
            pending,
            grant,
            held: conn.held,
            opened: conn.opened,
            traffic: conn.traffic,
        };
        let conn = ConnId { index, generation };
        self.effects.push(Effect::Move {
            conn,
            to,
            migrant: Box::new(migrant),
        });
    }

    /// Joins connection and session, answers CONNACK and sends what waited. What was stated since
    /// `mark` facts were ended what stood in the session's way.
    #[allow(clippy::too_many_arguments)] // what `admit` has found out
    fn begin(
        &mut self,
        index: u32,
        session_index: u32,
        present: bool,
        assigned: bool,
        mut pending: Pending,
        mark: usize,
        now: Time,
    ) {
        let Some(limits) = self.conns.at(index).map(|conn| Arc::clone(&conn.limits)) else {
            return;
        };
        let expiry = pending.expiry(&limits);
        let keep_alive = pending.keep_alive(&limits);
        let will = pending.will.take();
        let number = self.keeping.message();
        let Some(session) = self.sessions.at_mut(session_index) else {
            return;
        };
        session.attach(Some(index));
        session.window = pending.receive_maximum.min(limits.max_inflight);
        session.expiry = expiry;
        session.asked_to_outlive = pending.session_expiry > 0;
        session.expires = Time::NEVER;
        session.will = will.map(|will| will.mounted(session.grant.mount(), number));
        session.will_due = Time::NEVER;
        // 5.0 lets it ask for each subscription.
        session.bridge = pending.bridge && pending.version != Version::V5;
        session.team.connections.fetch_add(1, Ordering::Relaxed);
        let lane = session.team.number();

        let Some(conn) = self.conns.at_mut(index) else {
            return;
        };
        conn.phase = Phase::Active(session_index);
        conn.lane = lane;
        conn.max_received = limits.max_packet_size;
        // The client counts from CONNACK, however long the login was judged.
        conn.heard = now;
        conn.max_packet = pending.max_packet;
        conn.enhanced = pending.enhanced(assigned);
        let aliases = pending.topic_alias_maximum.min(limits.topic_alias_maximum);
        conn.sent_aliases = SentAliases::up_to(aliases);
        conn.patience = Span::from_millis(u64::from(keep_alive) * 1500);
        let due = conn.silence_ends().min(conn.expires);
        self.set_conn_timer(index, due);

        if !present {
            self.inherit_spent(index, session_index);
        }
        let connack = pending.connack(present, assigned, &limits);
        self.write(index, |out, version| {
            encode::connack(out, version, ReasonCode::Success, &connack);
        });
        self.keep_session(session_index, present, mark);
        if let Some(session) = self.sessions.at(session_index) {
            let kind = EventKind::Connected {
                version: pending.version,
                clean_start: pending.clean_start,
                session_present: present,
                keep_alive,
                session_expiry: expiry,
            };
            self.record(now, who(session), kind);
        }
        if let Some(session) = self.sessions.at_mut(session_index) {
            session.outgoing.resume();
            self.pump(session_index, now);
        }
        // What the client sent without waiting for CONNACK [MQTT-3.1.4-5].
        if let Some((generation, conn)) = self.conns.entry_mut(index) {
            let held = std::mem::take(&mut conn.held);
            self.consume_held(ConnId { index, generation }, held, now);
        }
    }

    /// A client id for a client that sent none `[MQTT-3.1.3-6]`: 128 bits that cannot be told from
    /// the ones before, for who knows a client id of its own principal can take the session.
    fn new_client_id(&mut self) -> Arc<str> {
        self.assigned_ids += 1;
        let hash = blake3::keyed_hash(&self.seed, &self.assigned_ids.to_le_bytes());
        Arc::from(format!("auto-{}", &hash.to_hex()[..32]))
    }
}

/// What claiming a session came to.
enum Claimed {
    Session { index: u32, present: bool },
    Elsewhere(u16),
    KeptOut(Limit),
}
