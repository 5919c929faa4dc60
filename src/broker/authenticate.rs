//! Enhanced authentication (section 4.12): the challenges between CONNECT and CONNACK, and the
//! re-authentication of a connection that is logged in.
//!
//! The core knows no method. It hands the judge what the client says and the client what the judge
//! says, keeps what the judge wants back in between, and sees to it that both sides speak in turn,
//! in time, and of one method.

use std::mem;
use std::sync::Arc;

use super::connection::Phase;
use super::effect::{ConnId, Effect, Exchange, ExchangeState, Login, Verdict};
use super::event::{DisconnectCause, EventKind, Refusal};
use super::pending::Pending;
use super::recent::Recent;
use super::review::{Change, ChangeKind};
use super::shard::{Shard, who};
use crate::policy::Grant;
use crate::time::Time;
use crate::wire::{Auth, ReasonCode, encode};

/// The first byte of DISCONNECT: all that a client may send while the server has the word.
const DISCONNECT: u8 = 0xE0;

/// How a connection logged in, for it may have to do so again `[MQTT-4.12.1-1]`.
#[derive(Debug)]
pub(super) struct Enhanced {
    method: Arc<str>,
    /// As CONNECT had it: empty where the server assigned one.
    client_id: Box<str>,
    turn: Turn,
    /// The number of the last review before it was last handed out to be judged.
    asked_under: u64,
    /// When the re-authentication must be over; never where there is none.
    pub(super) ends: Time,
}

/// Who has the word in a re-authentication.
#[derive(Debug)]
enum Turn {
    /// There is none.
    Nobody,
    Judge,
    Client(ExchangeState),
}

impl Enhanced {
    pub(super) fn new(method: Arc<str>, client_id: Box<str>) -> Self {
        Self {
            method,
            client_id,
            turn: Turn::Nobody,
            asked_under: 0,
            ends: Time::NEVER,
        }
    }
}

impl Shard {
    /// The login needs more from the client: AUTH with the judge's challenge `[MQTT-4.12.0-2]`.
    pub(super) fn challenge(
        &mut self,
        index: u32,
        mut pending: Box<Pending>,
        data: &[u8],
        state: ExchangeState,
        now: Time,
    ) {
        let Some(method) = pending.method.clone() else {
            debug_assert!(false, "a challenge in a login without a method");
            return self.refuse(index, Some(&pending), Refusal::Unavailable, None, now);
        };
        let mut auth = Vec::new();
        let code = ReasonCode::ContinueAuthentication;
        encode::auth(&mut auth, code, &method, Some(data));
        let Some((generation, conn)) = self.conns.entry_mut(index) else {
            return;
        };
        if auth.len() > conn.max_packet as usize {
            let code = ReasonCode::PacketTooLarge;
            let refusal = Refusal::Malformed(code);
            return self.refuse(index, Some(&pending), refusal, Some(code), now);
        }
        pending.state = Some(state);
        conn.phase = Phase::Challenged(pending);
        let held = mem::take(&mut conn.held);
        self.write(index, |out, _| out.extend_from_slice(&auth));
        self.consume_held(ConnId { index, generation }, held, now);
    }

    /// The client answers a challenge of its login. An error ends the connection with that code.
    pub(super) fn answer_challenge(
        &mut self,
        index: u32,
        auth: &Auth<'_>,
    ) -> Result<(), ReasonCode> {
        let Some((generation, conn)) = self.conns.entry_mut(index) else {
            return Ok(());
        };
        let Phase::Challenged(pending) = &mut conn.phase else {
            return Err(ReasonCode::ProtocolError);
        };
        if auth.reason != ReasonCode::ContinueAuthentication {
            return Err(ReasonCode::ProtocolError); // [MQTT-4.12.0-3]
        }
        if auth.method != pending.method.as_deref() {
            return Err(ReasonCode::BadAuthenticationMethod); // [MQTT-4.12.0-5]
        }
        pending.size += auth.data.map_or(0, <[u8]>::len);
        let state = pending.state.take();
        let login = Login {
            conn: ConnId { index, generation },
            peer: conn.peer.clone(),
            version: conn.version,
            client_id: (&*pending.client_id).into(),
            username: pending.username.as_deref().map(Into::into),
            password: None,
            exchange: pending.exchange(auth.data, state),
            certificate: None,
        };
        if let Phase::Challenged(mut pending) = mem::replace(&mut conn.phase, Phase::Opening) {
            pending.asked_under = self.reviews.number;
            conn.phase = Phase::Judging(pending);
        }
        self.effects.push(Effect::Judge(Box::new(login)));
        Ok(())
    }

    /// Whether a client that named a method in CONNECT has sent more although it was not its turn;
    /// it may but go `[MQTT-3.1.2-30]`.
    pub(super) fn spoke_out_of_turn(&self, index: u32, pending: &Pending) -> bool {
        let conn = self.conns.at(index);
        let next = conn.and_then(|conn| conn.held.first());
        pending.method.is_some() && next.is_some_and(|first| *first != DISCONNECT)
    }

    /// AUTH from a client that is logged in: it begins a re-authentication or goes on with one.
    /// What else it sends is served meanwhile.
    pub(super) fn authenticate_again(
        &mut self,
        index: u32,
        auth: &Auth<'_>,
        now: Time,
    ) -> Result<(), ReasonCode> {
        let Some((generation, conn)) = self.conns.entry_mut(index) else {
            return Ok(());
        };
        let Some(enhanced) = &mut conn.enhanced else {
            return Err(ReasonCode::ProtocolError); // [MQTT-4.12.0-7]
        };
        if auth.method != Some(&*enhanced.method) {
            // DISCONNECT has no 0x8C.
            return Err(ReasonCode::ProtocolError); // [MQTT-4.12.1-1]
        }
        let state = match (auth.reason, mem::replace(&mut enhanced.turn, Turn::Judge)) {
            (ReasonCode::ReAuthenticate, Turn::Nobody) => {
                enhanced.ends = now + conn.limits.login_timeout;
                None
            }
            (ReasonCode::ContinueAuthentication, Turn::Client(state)) => Some(state),
            _ => return Err(ReasonCode::ProtocolError),
        };
        let login = Login {
            conn: ConnId { index, generation },
            peer: conn.peer.clone(),
            version: conn.version,
            client_id: enhanced.client_id.clone(),
            username: None,
            password: None,
            exchange: Some(Exchange {
                method: Arc::clone(&enhanced.method),
                data: auth.data.map(Into::into),
                state,
            }),
            certificate: None,
        };
        enhanced.asked_under = self.reviews.number;
        let ends = enhanced.ends;
        self.effects.push(Effect::Judge(Box::new(login)));
        self.set_conn_timer(index, ends);
        Ok(())
    }

    /// The verdict on a step of a re-authentication; one on a login that is over has no effect.
    pub(super) fn judged_again(&mut self, index: u32, session: u32, verdict: Verdict, now: Time) {
        let conn = self.conns.at_mut(index);
        let Some(enhanced) = conn.and_then(|conn| conn.enhanced.as_mut()) else {
            return;
        };
        if !matches!(enhanced.turn, Turn::Judge) {
            return;
        }
        match verdict {
            Verdict::Challenge { data, state, .. } => {
                let method = Arc::clone(&enhanced.method);
                enhanced.turn = Turn::Client(state);
                let code = ReasonCode::ContinueAuthentication;
                self.write(index, |out, _| {
                    encode::auth(out, code, &method, Some(&data))
                });
            }
            Verdict::Admit(grant) => self.renew(index, session, &grant, None, now),
            Verdict::AdmitWith { grant, data } => {
                self.renew(index, session, &grant, Some(&data), now);
            }
            Verdict::Refuse(reason) => {
                self.end_unproven(index, session, reason, ReasonCode::NotAuthorized, now);
            }
            Verdict::Undecided(reason) => {
                self.end_unproven(index, session, reason, ReasonCode::ServerBusy, now);
            }
        }
    }

    /// The client has proved again who it is: from here on the grant of now is in force.
    fn renew(
        &mut self,
        index: u32,
        session_index: u32,
        grant: &Arc<Grant>,
        data: Option<&[u8]>,
        now: Time,
    ) {
        let Some(session) = self.sessions.at(session_index) else {
            return;
        };
        let (who, client_id) = (who(session), &session.key.client_id);
        let is_the_same = session.key.username == grant.principal().username
            && session.grant.team() == grant.team();
        if !is_the_same {
            let told = ReasonCode::NotAuthorized;
            return self.end_unproven(index, session_index, Refusal::OtherPrincipal, told, now);
        }
        let conn = self.conns.at(index);
        let Some(asked_under) = conn.and_then(|conn| Some(conn.enhanced.as_ref()?.asked_under))
        else {
            return;
        };
        let grant = Arc::clone(grant);
        let Ok(grant) = self.reviews.catch_up(grant, client_id, asked_under) else {
            let told = ReasonCode::ServerBusy;
            return self.end_unproven(index, session_index, Refusal::Changed, told, now);
        };
        let change = Change::of(ChangeKind::Login);
        self.rejudge(session_index, &grant, change, now);
        if let Some(session) = self.sessions.at_mut(session_index) {
            session.reviewed = self.reviews.number;
        }
        let Some(conn) = self.conns.at_mut(index) else {
            return;
        };
        // What it was allowed to publish, it was allowed by the grant before.
        conn.recent = Recent::default();
        let Some(enhanced) = &mut conn.enhanced else {
            return;
        };
        (enhanced.turn, enhanced.ends) = (Turn::Nobody, Time::NEVER);
        let method = Arc::clone(&enhanced.method);
        conn.expires = grant.expires();
        let due = conn.silence_ends().min(conn.expires);
        self.set_conn_timer(index, due);
        self.write(index, |out, _| {
            encode::auth(out, ReasonCode::Success, &method, data);
        });
        self.record(now, who, EventKind::Reauthenticated);
    }

    /// A connection that could not prove again who it is ends `[MQTT-4.12.1-2]`.
    fn end_unproven(
        &mut self,
        index: u32,
        session_index: u32,
        reason: Refusal,
        told: ReasonCode,
        now: Time,
    ) {
        if let Some(session) = self.sessions.at(session_index) {
            let kind = EventKind::ReauthenticationRefused { reason, told };
            self.record(now, who(session), kind);
        }
        self.say_goodbye(index, told);
        self.detach(session_index, DisconnectCause::Server(told), now);
        self.close(index);
    }

    /// A re-authentication was not over in time.
    pub(super) fn give_up_renewal(&mut self, index: u32, session: u32, now: Time) {
        let conn = self.conns.at(index);
        let turn = conn.and_then(|conn| Some(&conn.enhanced.as_ref()?.turn));
        let (reason, told) = match turn {
            Some(Turn::Client(_)) => (Refusal::ExchangeTimeout, ReasonCode::NotAuthorized),
            _ => (Refusal::Unavailable, ReasonCode::ServerBusy),
        };
        self.end_unproven(index, session, reason, told, now);
    }
}
