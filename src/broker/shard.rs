//! A shard: its tables, and the bytes that come in.

use std::net::SocketAddr;
use std::sync::Arc;

use hashbrown::HashMap;

use super::ask::Purpose;
use super::batch::Batch;
use super::connection::{Conn, Phase};
use super::counters::Counters;
use super::crossing::Crossings;
use super::deliver::Outcome;
use super::effect::{ConnId, Effect};
use super::event::{DisconnectCause, Event, EventKind, Refusal, Who};
use super::form::Form;
use super::keep::Keeping;
use super::lanes::Lanes;
use super::observe::Observation;
use super::outbox::{BufferPool, Outbox};
use super::park::Parking;
use super::recent::RouteMemory;
use super::report::Reported;
use super::table::Table;
use super::timers::{Timer, Timers};
use super::turn::{Allowance, Visit, Waiting};
use super::walk::Reviews;
use crate::session::{Peer, Session};
use crate::team::{Message, Route, Team, World};
use crate::time::Time;
use crate::wire::decode::{self, Framing};
use crate::wire::{Packet, ReasonCode, Version, encode};

/// One thread's part of the broker: the connections that it accepted and the sessions that live
/// here.
#[derive(Debug)]
pub struct Shard {
    pub(super) id: u16,
    pub(super) world: Arc<World>,
    pub(super) conns: Table<Conn>,
    pub(super) sessions: Table<Session>,
    pub(super) timers: Timers,
    pub(super) effects: Vec<Effect>,
    pub(super) touched: Vec<ConnId>,
    /// Counts turns.
    pub(super) turn: u64,
    /// What a connection may spend in one visit.
    pub(super) allowance: Allowance,
    /// What waits for a turn, by team.
    pub(super) lanes: Lanes<Waiting>,
    /// What is being done for one connection.
    pub(super) visit: Visit,
    /// What became of the message that is being routed.
    pub(super) outcome: Outcome,
    /// Connections that the shell may read again.
    pub(super) hungry: Vec<ConnId>,
    /// Connections that are not read until another shard has caught up.
    pub(super) stalled: Vec<ConnId>,
    /// Others that wait for this shard to catch up may go on.
    pub(super) caught_up: bool,
    /// For other shards, in the order of their making.
    pub(super) batches: Vec<(u16, Batch)>,
    /// The team whose message was last put there, and whether in this visit.
    pub(super) fed: Option<Arc<Team>>,
    pub(super) fed_now: bool,
    pub(super) count: u16,
    pub(super) pool: BufferPool,
    pub(super) form: Form,
    pub(super) routes: RouteMemory,
    /// What was asked elsewhere and is not answered, by ticket.
    pub(super) questions: HashMap<u64, Purpose, foldhash::fast::RandomState>,
    /// The last ticket given out.
    pub(super) tickets: u64,
    pub(super) parking: Parking,
    pub(super) reported: Reported,
    pub(super) reviews: Reviews,
    pub(super) keeping: Keeping,
    pub(super) counters: Counters,
    pub(super) crossings: Crossings,
    pub(super) observation: Observation,
    pub(super) seed: [u8; 32],
    pub(super) assigned_ids: u64,
}

impl Shard {
    /// Shard `id` of `count`. `seed` makes the client ids that it assigns; no two shards have the
    /// same, and nobody else knows it.
    pub fn new(id: u16, count: u16, world: Arc<World>, seed: [u8; 32]) -> Self {
        Self {
            id,
            world,
            conns: Table::new(),
            sessions: Table::new(),
            timers: Timers::default(),
            effects: Vec::new(),
            touched: Vec::new(),
            turn: 0,
            allowance: Allowance::default(),
            lanes: Lanes::default(),
            visit: Visit::default(),
            outcome: Outcome::default(),
            hungry: Vec::new(),
            stalled: Vec::new(),
            caught_up: false,
            batches: Vec::new(),
            fed: None,
            fed_now: false,
            count,
            pool: BufferPool::default(),
            form: Form::default(),
            routes: RouteMemory::default(),
            questions: HashMap::default(),
            tickets: 0,
            parking: Parking::default(),
            reported: Reported::default(),
            reviews: Reviews::default(),
            keeping: Keeping::default(),
            counters: Counters::default(),
            crossings: Crossings::default(),
            observation: Observation::default(),
            seed,
            assigned_ids: 0,
        }
    }

    /// A connection was accepted. `None`: there are as many as there may be, which goes on record;
    /// close it.
    pub fn open(&mut self, peer: Peer, now: Time) -> Option<ConnId> {
        if self.conns.len() >= self.world.limits.max_connections as usize {
            self.turn_away(peer, Refusal::TooManyConnections, now);
            return None;
        }
        let limits = Arc::clone(self.world.limits_of(&peer.listener));
        let due = now + limits.connect_timeout;
        let (index, generation) = self.conns.insert(Conn::new(peer, limits, now));
        self.set_conn_timer(index, due);
        Some(ConnId { index, generation })
    }

    /// A connection was closed before it was [`open`](Self::open), for this reason.
    pub fn turn_away(&mut self, peer: Peer, reason: Refusal, now: Time) {
        self.counters.turned_away += 1;
        let who = Who {
            team: None,
            username: None,
            client_id: None,
            peer,
        };
        self.record(now, who, EventKind::ConnectRefused { reason, told: None });
    }

    /// A listed proxy has told whom it speaks for, before anything of MQTT came.
    pub fn seen_from(&mut self, id: ConnId, address: SocketAddr) {
        if let Some(conn) = self.conns.get_mut(id.index, id.generation) {
            conn.peer.address = address;
        }
    }

    /// A connection that has said nothing of MQTT yet is closed for this reason.
    pub fn shut_out(&mut self, id: ConnId, reason: Refusal, now: Time) {
        let conn = self.conns.get(id.index, id.generation);
        if conn.is_some_and(|conn| matches!(conn.phase, Phase::Opening)) {
            self.counters.turned_away += 1;
            self.refuse(id.index, None, reason, None, now);
        }
    }

    /// How many bytes the shell may read and hand over now; 0: stop reading. Bounds what a client
    /// can make the broker hold before it is logged in, and stops a client that does not take its
    /// answers from asking for more.
    pub fn appetite(&self, id: ConnId) -> usize {
        let Some(conn) = self.conns.get(id.index, id.generation) else {
            return 0;
        };
        match self.has_turn(conn) {
            true => Self::wants(conn),
            false => 0,
        }
    }

    /// How much to read from a connection at a time, whatever its appetite: less while teams share
    /// the shard.
    pub fn read_size(&self) -> usize {
        self.lanes.pace().read
    }

    /// Whether a connection may be read though others wait.
    pub(super) fn has_turn(&self, conn: &Conn) -> bool {
        conn.called || !conn.awaits_turn && self.lanes.is_open(conn.lane) && !conn.is_stalled()
    }

    /// How many bytes a connection may be read if it is its turn.
    pub(super) fn wants(conn: &Conn) -> usize {
        let limits = &conn.limits;
        match conn.phase {
            Phase::Opening => {
                (limits.max_unauthenticated_bytes as usize).saturating_sub(conn.held.len())
            }
            Phase::Judging(ref pending) | Phase::Challenged(ref pending) => {
                (limits.max_unauthenticated_bytes as usize)
                    .saturating_sub(conn.held.len() + pending.size)
            }
            Phase::Active(_) if conn.is_paused() => 0,
            Phase::Active(_) if conn.is_full() => 0,
            Phase::Active(_) => usize::MAX,
            Phase::Closing => 0,
        }
    }

    /// Bytes came from a client: at most as many as its [`appetite`](Self::appetite).
    pub fn received(&mut self, id: ConnId, bytes: &[u8], now: Time) {
        let Some(conn) = self.conns.get_mut(id.index, id.generation) else {
            return;
        };
        conn.heard = now;
        conn.called = false;
        self.lanes.charge(conn.lane, 1 + (bytes.len() >> 10) as u32);
        conn.traffic.bytes_in += bytes.len() as u64;
        self.counters.bytes_of(&conn.peer.listener).received += bytes.len() as u64;
        if conn.is_paused() {
            conn.held.extend_from_slice(bytes);
        } else if conn.held.is_empty() {
            let (used, needed) = self.consume(id, bytes, now);
            self.hold(id, &bytes[used..], needed);
        } else {
            let mut held = std::mem::take(&mut conn.held);
            held.extend_from_slice(bytes);
            self.consume_held(id, held, now);
        }
    }

    /// Goes on with what was held back.
    pub(super) fn consume_held(&mut self, id: ConnId, mut held: Vec<u8>, now: Time) {
        let (used, needed) = self.consume(id, &held, now);
        if used == held.len() {
            return;
        }
        if used > 0 {
            return self.hold(id, &held[used..], needed);
        }
        if let Some(conn) = self.conns.get_mut(id.index, id.generation) {
            let room = conn.room_for(needed);
            held.reserve_exact(room.saturating_sub(held.len()));
            conn.held = held;
        }
    }

    /// Keeps the rest of what came, with room for the packet that it begins.
    fn hold(&mut self, id: ConnId, rest: &[u8], needed: usize) {
        if rest.is_empty() {
            return;
        }
        if let Some(conn) = self.conns.get_mut(id.index, id.generation)
            && !matches!(conn.phase, Phase::Closing)
        {
            conn.held = Vec::with_capacity(conn.room_for(needed).max(rest.len()));
            conn.held.extend_from_slice(rest);
        }
    }

    /// Handles the whole packets at the front of `bytes`, as many as one visit has room for. Returns
    /// how many bytes they took, and the length of the packet that comes next where that is known.
    fn consume(&mut self, id: ConnId, bytes: &[u8], now: Time) -> (usize, usize) {
        let outer = self.begin_visit(id);
        let result = self.consume_within(id, bytes, now);
        self.end_visit(id, outer);
        result
    }

    fn consume_within(&mut self, id: ConnId, bytes: &[u8], now: Time) -> (usize, usize) {
        let mut used = 0;
        while used < bytes.len() {
            if self.visit.is_over() && self.pauses(id) {
                return (used, 0);
            }
            let Some(conn) = self.conns.get(id.index, id.generation) else {
                break;
            };
            if conn.is_asking() {
                return (used, 0);
            }
            if let Phase::Active(session) = conn.phase
                && bytes[used] >> 4 == 3
                && !conn.has_published
                && self.pays_first(id.index, session, now)
            {
                return (used, 0);
            }
            let Some(conn) = self.conns.get(id.index, id.generation) else {
                break;
            };
            let begin = used;
            let early = (conn.limits.max_unauthenticated_bytes).min(conn.limits.max_packet_size);
            let (max, version) = match conn.phase {
                Phase::Opening => (early, None),
                Phase::Challenged(_) => (early, Some(conn.version)),
                Phase::Active(_) => (conn.max_received, Some(conn.version)),
                Phase::Judging(_) | Phase::Closing => return (used, 0),
            };
            // What has no place between CONNECT and CONNACK is not waited for [MQTT-3.1.2-30].
            if matches!(conn.phase, Phase::Challenged(_)) && !matches!(bytes[used] >> 4, 14 | 15) {
                self.fail(id.index, ReasonCode::ProtocolError, version, now);
                return (bytes.len(), 0);
            }
            let mut answer_in = version;
            // What does not begin as CONNECT does is not waited for [MQTT-3.1.0-1].
            let handled = if version.is_none() && bytes[used] >> 4 != 1 {
                Err(ReasonCode::ProtocolError)
            } else {
                match decode::frame(&bytes[used..], max) {
                    Ok(Framing::Partial(needed)) => return (used, needed.unwrap_or(0)),
                    Ok(Framing::Whole(frame)) => {
                        used += frame.length;
                        let length = frame.length;
                        decode::packet(frame, version)
                            .inspect_err(|_| answer_in = decode::answer_version(frame))
                            .map_err(|error| error.code)
                            .and_then(|packet| self.handle(id.index, packet, length, now))
                    }
                    Err(error) => Err(error.code),
                }
            };
            if let Err(code) = handled {
                self.fail(id.index, code, answer_in, now);
                return (bytes.len(), 0);
            }
            if let Some(conn) = self.conns.get_mut(id.index, id.generation) {
                if conn.is_asking() {
                    // Handled again from its beginning, once the answers are there.
                    return (begin, 0);
                }
                conn.asking = None;
            }
        }
        (used, 0)
    }

    /// One packet, of so many bytes. An error ends the connection with that reason code.
    fn handle(
        &mut self,
        index: u32,
        packet: Packet<'_>,
        length: usize,
        now: Time,
    ) -> Result<(), ReasonCode> {
        let Some(session) = self.conns.at(index).and_then(Conn::session) else {
            return self.handle_login(index, packet, now);
        };
        self.charge(1);
        self.attend(session);
        let handled = self.handle_active(index, session, packet, length, now);
        self.rest();
        handled
    }

    /// One packet of a connection that is logged in.
    fn handle_active(
        &mut self,
        index: u32,
        session: u32,
        packet: Packet<'_>,
        length: usize,
        now: Time,
    ) -> Result<(), ReasonCode> {
        match packet {
            Packet::Publish(publish) => {
                // One that had to wait for an answer was counted when it came.
                if !self.has_answers(index) {
                    self.meter(index, session, length, now)?;
                }
                self.publish(index, session, &publish, now)
            }
            Packet::PubAck(ack) => self.puback(session, ack, now),
            Packet::PubRec(ack) => self.pubrec(index, session, ack, now),
            Packet::PubRel(ack) => self.pubrel(index, session, ack),
            Packet::PubComp(ack) => self.pubcomp(session, ack, now),
            Packet::Subscribe(subscribe) => self.subscribe(index, session, &subscribe, now),
            Packet::Unsubscribe(unsubscribe) => self.unsubscribe(index, session, &unsubscribe, now),
            Packet::PingReq => {
                self.write(index, |out, _| encode::pingresp(out));
                Ok(())
            }
            Packet::Disconnect(disconnect) => self.disconnect(index, session, &disconnect, now),
            Packet::Auth(auth) => self.authenticate_again(index, &auth, now),
            Packet::Connect(_) => Err(ReasonCode::ProtocolError), // [MQTT-3.1.0-2]
        }
    }

    /// One packet of a connection that is not logged in.
    fn handle_login(
        &mut self,
        index: u32,
        packet: Packet<'_>,
        now: Time,
    ) -> Result<(), ReasonCode> {
        let challenged = matches!(
            self.conns.at(index).map(|conn| &conn.phase),
            Some(Phase::Challenged(_))
        );
        match packet {
            Packet::Connect(connect) if !challenged => self.connect(index, &connect, now),
            Packet::Auth(auth) if challenged => return self.answer_challenge(index, &auth),
            Packet::Disconnect(_) if challenged => {
                self.give_up_judging(index, Refusal::Gone, now);
            }
            _ => return Err(ReasonCode::ProtocolError), // [MQTT-3.1.0-1], [MQTT-3.1.2-30]
        }
        Ok(())
    }

    /// Ends a connection that broke the protocol. Before login only a CONNECT is answered, in
    /// `answer_in`, the version that its sender will understand; all else is closed without a word.
    fn fail(&mut self, index: u32, code: ReasonCode, answer_in: Option<Version>, now: Time) {
        match self.conns.at(index).map(|conn| &conn.phase) {
            Some(Phase::Active(session)) => {
                let session = *session;
                // A second CONNECT can be wrong in ways that DISCONNECT has no word for.
                let code = match code.fits_server_disconnect() {
                    true => code,
                    false => ReasonCode::ProtocolError,
                };
                self.say_goodbye(index, code);
                self.detach(session, DisconnectCause::Protocol(code), now);
                self.close(index);
            }
            Some(Phase::Opening) => {
                let told = answer_in.filter(|_| code.fits_connack()).map(|version| {
                    if let Some(conn) = self.conns.at_mut(index) {
                        conn.version = version;
                    }
                    code
                });
                self.refuse(index, None, Refusal::Malformed(code), told, now);
            }
            Some(Phase::Challenged(_)) => {
                let pending = self.take_pending(index);
                let told = Some(code).filter(|code| code.fits_connack());
                self.refuse(
                    index,
                    pending.as_deref(),
                    Refusal::Malformed(code),
                    told,
                    now,
                );
            }
            _ => {}
        }
    }

    /// Encodes one packet into a connection's outbox, unless it is larger than the client takes
    /// `[MQTT-3.1.2-24]`.
    pub(super) fn write(&mut self, index: u32, encode: impl FnOnce(&mut Vec<u8>, Version)) {
        if let Some(conn) = self.conns.at_mut(index) {
            let out = conn.outbox.buffer(&mut self.pool);
            let before = out.len();
            encode(out, conn.version);
            if out.len() - before > conn.max_packet as usize {
                out.truncate(before);
            }
            self.touch(index);
        }
    }

    /// Notes that a connection has something to flush.
    pub(super) fn touch(&mut self, index: u32) {
        let Some((generation, conn)) = self.conns.entry_mut(index) else {
            return;
        };
        if !conn.touched {
            conn.touched = true;
            self.touched.push(ConnId { index, generation });
        }
    }

    /// DISCONNECT from the server, where the version has one: the last word `[MQTT-3.14.4-1]`. What
    /// waits for the journal goes unsaid: a message that was not acknowledged comes again, one of QoS 2
    /// that was not sent is sent when its session is resumed.
    pub(super) fn say_goodbye(&mut self, index: u32, code: ReasonCode) {
        if let Some(conn) = self.conns.at_mut(index) {
            conn.outbox.forget_held();
        }
        self.write(index, |out, version| {
            encode::disconnect(out, version, code, None)
        });
    }

    /// Nothing more comes from or goes to this connection but what its outbox holds.
    pub(super) fn close(&mut self, index: u32) {
        let Some((generation, conn)) = self.conns.entry_mut(index) else {
            return;
        };
        if !matches!(conn.phase, Phase::Closing) {
            conn.phase = Phase::Closing;
            conn.held = Vec::new();
            conn.paused = false;
            conn.asking = None;
            let gone = conn.gone;
            self.effects
                .push(Effect::Close(ConnId { index, generation }));
            if gone {
                self.conns.remove(index); // the shell has said so, and will not again
            }
        }
    }

    /// Connections with something in their outbox since the last call, each once.
    pub fn take_touched(&mut self, into: &mut Vec<ConnId>) {
        into.append(&mut self.touched);
        for id in into {
            if let Some(conn) = self.conns.get_mut(id.index, id.generation) {
                conn.touched = false;
            }
        }
    }

    /// Whether there is something for the shell to do.
    pub fn has_output(&self) -> bool {
        !self.touched.is_empty()
            || self.lanes.has_waiting()
            || !self.effects.is_empty()
            || !self.batches.is_empty()
            || self.has_commit()
            || self.is_reviewing()
    }

    /// What is to be done since the last call.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// What is for other shards since the last call: to be handed over in this order.
    pub fn take_batches(&mut self) -> impl Iterator<Item = (u16, Batch)> + '_ {
        self.batches.drain(..)
    }

    /// Whether the other shards are to be told that they may [`resume`](Self::resume), since the last
    /// call.
    pub fn take_caught_up(&mut self) -> bool {
        std::mem::take(&mut self.caught_up)
    }

    /// Puts a delivery into the batch for another shard.
    pub(super) fn send_off(
        &mut self,
        team: &Arc<Team>,
        message: &Arc<Message>,
        copy: u32,
        route: Route,
    ) {
        let to = route.session.shard;
        if to >= self.count {
            return;
        }
        team.transit.left(1);
        self.fed_now = true;
        if !self.fed.as_ref().is_some_and(|fed| Arc::ptr_eq(fed, team)) {
            self.fed = Some(Arc::clone(team));
        }
        let batches = match self.keeping.is_careful {
            true => &mut self.keeping.careful,
            false => &mut self.batches,
        };
        let mut latest = batches.iter_mut().rev().take(usize::from(self.count));
        match latest.find(|(shard, _)| *shard == to) {
            Some((_, batch)) if Arc::ptr_eq(batch.team(), team) => {
                batch.push(message, copy, route);
            }
            _ => {
                let mut batch = Batch::new(Arc::clone(team));
                batch.push(message, copy, route);
                batches.push((to, batch));
            }
        }
    }

    /// A connection's outbox, to write from.
    pub fn outbox(&mut self, id: ConnId) -> Option<&mut Outbox> {
        self.conns
            .get_mut(id.index, id.generation)
            .map(|conn| &mut conn.outbox)
    }

    /// The shell wrote `count` bytes of the outbox: there may be room for what waits. That comes in
    /// the next turn, so that a client that takes everything at once does not get everything at once.
    pub fn flushed(&mut self, id: ConnId, count: usize) {
        let Some(conn) = self.conns.get_mut(id.index, id.generation) else {
            return;
        };
        conn.traffic.bytes_out += count as u64;
        self.counters.bytes_of(&conn.peer.listener).sent += count as u64;
        conn.outbox.advance(count);
        conn.outbox.settle(&mut self.pool);
        let is_behind = conn.late.is_some();
        if let Some(session) = conn.session().and_then(|session| self.sessions.at(session))
            && (is_behind || session.outgoing.is_waiting() || !session.replays.is_empty())
        {
            self.pump_later(id.index);
        }
    }

    /// What was counted.
    pub fn counters(&self) -> Counters {
        Counters {
            sessions: self.sessions.len() as u64,
            connections: self.conns.len() as u64,
            waited: self.lanes.waited(),
            ..self.counters.clone()
        }
    }

    /// Messages delivered since the shard began.
    pub fn delivered(&self) -> u64 {
        self.counters.messages_out.iter().sum()
    }

    /// What all shards share.
    pub fn world(&self) -> &Arc<World> {
        &self.world
    }

    /// The sessions that live here, in no order, to read.
    pub fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.sessions.iter()
    }

    /// Timers set, those among them whose owner is gone.
    pub fn timers(&self) -> usize {
        self.timers.len()
    }

    /// When [`tick`](Self::tick) is due.
    pub fn next_timer(&self) -> Option<Time> {
        self.timers.next()
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Time) {
        while let Some(timer) = self.timers.pop(now) {
            match timer {
                Timer::Conn { index, generation } => self.conn_timer(index, generation, now),
                Timer::Session { index, generation } => self.session_timer(index, generation, now),
                Timer::Crossings => self.crossings_timer(now),
            }
        }
    }

    pub(super) fn set_conn_timer(&mut self, index: u32, at: Time) {
        if let Some((generation, conn)) = self.conns.entry_mut(index) {
            self.timers
                .set(Timer::Conn { index, generation }, at, &mut conn.timer);
            self.sweep_timers();
        }
    }

    /// A connection's timer fired: for CONNECT, for the login, or for the keep alive.
    fn conn_timer(&mut self, index: u32, generation: u32, now: Time) {
        let Some(conn) = self.conns.get_mut(index, generation) else {
            return;
        };
        if conn.is_paused() || conn.awaits_turn {
            conn.heard = now; // what it sent is still being read
        }
        conn.timer = Time::NEVER;
        let slowed = self.look_at_slowed(index, now);
        let Some(conn) = self.conns.get_mut(index, generation) else {
            return;
        };
        let limits = &conn.limits;
        let due = match &conn.phase {
            Phase::Opening => conn.opened + limits.connect_timeout,
            Phase::Judging(pending) | Phase::Challenged(pending) => {
                pending.since + limits.login_timeout
            }
            Phase::Active(_) => conn
                .silence_ends()
                .min(conn.renewal_ends())
                .min(conn.expires)
                .min(slowed),
            Phase::Closing => return,
        };
        if due == Time::NEVER {
            return;
        }
        if now < due {
            return self.set_conn_timer(index, due);
        }
        match conn.phase {
            Phase::Opening => self.refuse(index, None, Refusal::ConnectTimeout, None, now),
            Phase::Judging(_) => self.give_up_judging(index, Refusal::Unavailable, now),
            Phase::Challenged(_) => self.give_up_judging(index, Refusal::ExchangeTimeout, now),
            Phase::Active(session) if conn.expires <= now => {
                self.say_goodbye(index, ReasonCode::MaximumConnectTime);
                self.detach(session, DisconnectCause::Expired, now);
                self.close(index);
            }
            Phase::Active(session) if conn.renewal_ends() <= now => {
                self.give_up_renewal(index, session, now);
            }
            Phase::Active(session) => {
                self.say_goodbye(index, ReasonCode::KeepAliveTimeout);
                self.detach(session, DisconnectCause::KeepAlive, now);
                self.close(index);
            }
            Phase::Closing => {}
        }
    }

    /// Puts an event on record.
    pub(super) fn record(&mut self, at: Time, who: Who, kind: EventKind) {
        self.effects
            .push(Effect::Record(Box::new(Event { at, who, kind })));
    }
}

/// Whose events a session's are.
pub(super) fn who(session: &Session) -> Who {
    Who {
        team: session.grant.team().cloned(),
        username: Some(Arc::clone(&session.key.username)),
        client_id: Some(Arc::clone(&session.key.client_id)),
        peer: session.peer.clone(),
    }
}
