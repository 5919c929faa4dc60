//! From CONNECT to CONNACK: the login, the session that is made or resumed, takeover.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::alias::SentAliases;
use super::connection::{Conn, Phase, Traffic};
use super::effect::{ConnId, Effect, Login, Verdict};
use super::event::{DisconnectCause, EventKind, Refusal, Who};
use super::shard::{Shard, who};
use crate::limits::Limits;
use crate::policy::Grant;
use crate::session::{Peer, Session, Will};
use crate::team::{Claim, MessageView, SessionAddress, SessionKey, Team};
use crate::time::{Span, Time};
use crate::topic::TopicName;
use crate::wire::encode::{self, ConnAck};
use crate::wire::{Connect, PublishProperties, QoS, ReasonCode, Version};

/// A CONNECT that waits for its verdict.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) since: Time,
    /// Bytes of the CONNECT that are held here and by whoever judges it, about.
    pub(super) size: usize,
    version: Version,
    clean_start: bool,
    keep_alive: u16,
    /// Empty: the server assigns one.
    client_id: Arc<str>,
    username: Option<Arc<str>>,
    session_expiry: u32,
    receive_maximum: u16,
    max_packet: u32,
    topic_alias_maximum: u16,
    will: Option<PendingWill>,
}

/// A will before its principal, and so its mount, is known.
#[derive(Debug)]
struct PendingWill {
    topic: Box<str>,
    payload: Box<[u8]>,
    qos: QoS,
    retain: bool,
    delay: u32,
    passed_on: Box<[u8]>,
    response_topic: Option<Box<str>>,
    expiry: Option<u32>,
}

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
        conn.max_packet = connect.properties.maximum_packet_size.unwrap_or(u32::MAX);
        let pending = Box::new(Pending::new(connect, now));
        if let Err(code) = pending.check(connect, &self.world.limits) {
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
        };
        conn.phase = Phase::Judging(pending);
        self.effects.push(Effect::Judge(Box::new(login)));
        self.set_conn_timer(index, now + self.world.limits.login_timeout);
    }

    /// The verdict on a login. Without effect where the connection has gone or the time was up.
    pub fn judged(&mut self, id: ConnId, verdict: Verdict, now: Time) {
        let Some(conn) = self.conns.get_mut(id.index, id.generation) else {
            return;
        };
        if !matches!(conn.phase, Phase::Judging(_)) {
            return;
        }
        match verdict {
            Verdict::Undecided(refusal) => self.give_up_judging(id.index, refusal, now),
            Verdict::Refuse(refusal) => {
                let pending = self.take_pending(id.index);
                let told = Some(ReasonCode::BadUserNameOrPassword);
                self.refuse(id.index, pending.as_deref(), refusal, told, now);
            }
            Verdict::Admit(grant) => {
                if let Some(pending) = self.take_pending(id.index) {
                    self.admit(id.index, pending, grant, now);
                }
            }
        }
    }

    /// Nothing could be judged: closed without CONNACK, for a refusing one can be final.
    pub(super) fn give_up_judging(&mut self, index: u32, refusal: Refusal, now: Time) {
        let pending = self.take_pending(index);
        self.refuse(index, pending.as_deref(), refusal, None, now);
    }

    fn take_pending(&mut self, index: u32) -> Option<Box<Pending>> {
        let conn = self.conns.at_mut(index)?;
        match std::mem::replace(&mut conn.phase, Phase::Opening) {
            Phase::Judging(pending) => Some(pending),
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

    /// Takes in a connection from another shard: its session lives here.
    pub fn adopt(&mut self, migrant: Migrant, now: Time) -> ConnId {
        let mut conn = Conn::new(migrant.peer, migrant.opened);
        conn.heard = now;
        conn.version = migrant.pending.version;
        conn.held = migrant.held;
        conn.traffic = migrant.traffic;
        self.sweep_timers();
        let (index, generation) = self.conns.insert(conn);
        self.admit(index, migrant.pending, migrant.grant, now);
        ConnId { index, generation }
    }

    /// The login is good: finds or makes the session and answers.
    fn admit(&mut self, index: u32, mut pending: Box<Pending>, grant: Arc<Grant>, now: Time) {
        let assigned = pending.client_id.is_empty();
        if assigned {
            pending.client_id = self.new_client_id();
        }
        if !pending
            .will
            .as_ref()
            .is_none_or(|will| self.can_mount(will, &grant))
        {
            let code = ReasonCode::TopicNameInvalid;
            return self.refuse(
                index,
                Some(&pending),
                Refusal::Malformed(code),
                Some(code),
                now,
            );
        }
        let limits = &self.world.limits;
        let mut connack = Vec::new();
        let success = pending.connack(false, assigned, limits);
        encode::connack(&mut connack, pending.version, ReasonCode::Success, &success);
        if connack.len() > pending.max_packet as usize {
            let code = ReasonCode::PacketTooLarge;
            let refusal = Refusal::Malformed(code);
            return self.refuse(index, Some(&pending), refusal, Some(code), now);
        }
        let team = match grant.team() {
            Some(id) => self.world.team(id, grant.root()),
            None => Arc::clone(self.world.commons()),
        };
        let key = SessionKey {
            username: Arc::clone(&grant.principal().username),
            client_id: Arc::clone(&pending.client_id),
        };
        let Some(peer) = self.conns.at(index).map(|conn| conn.peer.clone()) else {
            return;
        };
        let (session, present) = match self.claim(&peer, &key, &team, &grant, &pending, now) {
            Claimed::Session { index, present } => (index, present),
            Claimed::Elsewhere(shard) => {
                return self.send_away(index, shard, pending, grant);
            }
            Claimed::Full => {
                let told = Some(ReasonCode::QuotaExceeded);
                return self.refuse(index, Some(&pending), Refusal::Quota, told, now);
            }
        };
        self.begin(index, session, present, assigned, *pending, now);
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
            let held =
                match team
                    .registry
                    .claim(key, address, self.world.limits.max_sessions_per_team)
                {
                    Claim::Full => return Claimed::Full,
                    Claim::New => {
                        let (team, grant) = (Arc::clone(team), Arc::clone(grant));
                        let session = Session::new(key.clone(), address, team, grant, peer.clone());
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
            if !pending.clean_start {
                if let Some(session) = self.sessions.at_mut(held.index) {
                    session.peer = peer.clone();
                }
                self.rejudge(held.index, grant);
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

    /// Joins connection and session, answers CONNACK and sends what waited.
    fn begin(
        &mut self,
        index: u32,
        session_index: u32,
        present: bool,
        assigned: bool,
        mut pending: Pending,
        now: Time,
    ) {
        let limits = self.world.limits.clone();
        let expiry = pending.expiry(&limits);
        let keep_alive = pending.keep_alive(&limits);
        let will = pending.will.take();
        let Some(session) = self.sessions.at_mut(session_index) else {
            return;
        };
        session.attach(Some(index));
        session.window = pending.receive_maximum.min(limits.max_inflight);
        session.expiry = expiry;
        session.expires = Time::NEVER;
        session.will = will.map(|will| will.mounted(session.grant.mount()));
        session.will_due = Time::NEVER;
        session.team.connections.fetch_add(1, Ordering::Relaxed);

        let Some(conn) = self.conns.at_mut(index) else {
            return;
        };
        conn.phase = Phase::Active(session_index);
        // The client counts from CONNACK, however long the login was judged.
        conn.heard = now;
        conn.max_packet = pending.max_packet;
        let aliases = pending.topic_alias_maximum.min(limits.topic_alias_maximum);
        conn.sent_aliases = SentAliases::up_to(aliases);
        conn.patience = Span::from_millis(u64::from(keep_alive) * 1500);
        let due = conn.heard + conn.patience;
        if keep_alive > 0 {
            self.set_conn_timer(index, due);
        }

        let connack = pending.connack(present, assigned, &limits);
        self.write(index, |out, version| {
            encode::connack(out, version, ReasonCode::Success, &connack);
        });
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

    /// Whether the will's topic is one, with the mount before it. Whether it may be published is
    /// decided when it is.
    fn can_mount(&self, will: &PendingWill, grant: &Grant) -> bool {
        let limits = &self.world.limits;
        let topic = format!("{}{}", grant.mount(), will.topic);
        TopicName::parse(&topic, limits.max_topic_length, limits.max_topic_levels).is_ok()
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
    Full,
}

impl Pending {
    fn new(connect: &Connect<'_>, now: Time) -> Self {
        let properties = &connect.properties;
        let session_expiry = match connect.version {
            Version::V5 => properties.session_expiry,
            // In 3.x a session is either the connection's or kept until it is cleaned.
            _ if connect.clean_start => 0,
            _ => u32::MAX,
        };
        let texts = [connect.client_id, connect.username.unwrap_or_default()];
        let texts = texts.iter().map(|text| text.len()).sum::<usize>();
        let password = connect.password.map_or(0, <[u8]>::len);
        let will = connect.will.as_ref().map(PendingWill::new);
        Self {
            since: now,
            size: 2 * texts + password + will.as_ref().map_or(0, PendingWill::size),
            version: connect.version,
            clean_start: connect.clean_start,
            keep_alive: connect.keep_alive,
            client_id: Arc::from(connect.client_id),
            username: connect.username.map(Arc::from),
            session_expiry,
            receive_maximum: properties.receive_maximum.get(),
            max_packet: properties.maximum_packet_size.unwrap_or(u32::MAX),
            topic_alias_maximum: properties.topic_alias_maximum,
            will,
        }
    }

    /// How long the session is to outlive the connection, within the limit.
    fn expiry(&self, limits: &Limits) -> Span {
        Span::from_secs(u64::from(self.session_expiry)).min(limits.max_session_expiry)
    }

    /// Seconds in force.
    fn keep_alive(&self, limits: &Limits) -> u16 {
        match limits.max_keep_alive_s {
            // A client of 3.x cannot be told another, so that its own holds.
            Some(max)
                if self.version == Version::V5
                    && (self.keep_alive == 0 || self.keep_alive > max) =>
            {
                max
            }
            _ => self.keep_alive,
        }
    }

    /// CONNACK with success: what is not as the client asked, and limits that differ from the
    /// standard's default.
    fn connack(&self, session_present: bool, assigned: bool, limits: &Limits) -> ConnAck<'_> {
        let (expiry, keep_alive) = (self.expiry(limits), self.keep_alive(limits));
        let wanted = Span::from_secs(u64::from(self.session_expiry));
        let unless = |default: u16, value: u16| (value != default).then_some(value);
        ConnAck {
            session_present,
            session_expiry: (expiry < wanted).then(|| expiry.as_secs() as u32),
            receive_maximum: unless(u16::MAX, limits.receive_maximum),
            maximum_packet_size: Some(limits.max_packet_size),
            assigned_client_id: assigned.then_some(&*self.client_id),
            topic_alias_maximum: unless(0, limits.topic_alias_maximum),
            server_keep_alive: unless(self.keep_alive, keep_alive),
            ..ConnAck::default()
        }
    }

    fn check(&self, connect: &Connect<'_>, limits: &Limits) -> Result<(), ReasonCode> {
        if connect.properties.authentication_method.is_some() {
            return Err(ReasonCode::BadAuthenticationMethod);
        }
        let nameless = self.client_id.is_empty();
        let may_be_nameless =
            self.version == Version::V5 || self.version == Version::V311 && self.clean_start;
        if nameless && !may_be_nameless
            || self.client_id.len() > usize::from(limits.max_client_id_length)
        {
            return Err(ReasonCode::ClientIdentifierNotValid); // [MQTT-3.1.3-8]
        }
        Ok(())
    }
}

impl PendingWill {
    fn new(will: &crate::wire::Will<'_>) -> Self {
        let PublishProperties {
            response_topic,
            message_expiry,
            ..
        } = will.properties;
        Self {
            topic: will.topic.into(),
            payload: will.payload.into(),
            qos: will.qos,
            retain: will.retain,
            delay: will.delay,
            passed_on: will.properties.passed_on().into(),
            response_topic: response_topic.map(Into::into),
            expiry: message_expiry,
        }
    }

    fn size(&self) -> usize {
        let response = self.response_topic.as_ref().map_or(0, |topic| topic.len());
        self.topic.len() + self.payload.len() + self.passed_on.len() + response
    }

    /// With the mount before its topics, ready to be published.
    fn mounted(self, mount: &str) -> Will {
        let response = self.response_topic.map(|topic| format!("{mount}{topic}"));
        let view = MessageView {
            topic: &format!("{mount}{}", self.topic),
            passed_on: &self.passed_on,
            response_topic: response
                .as_deref()
                .filter(|topic| topic.len() <= usize::from(u16::MAX)),
            payload: &self.payload,
            qos: self.qos,
            retain: self.retain,
            expires: Time::NEVER,
            publisher: SessionAddress::NOBODY,
        };
        Will {
            message: view.keep(),
            expiry: self.expiry.map(|secs| Span::from_secs(u64::from(secs))),
            delay: Span::from_secs(u64::from(self.delay)),
        }
    }
}
