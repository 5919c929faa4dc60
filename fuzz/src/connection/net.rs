//! Two shards, the world that they share, and what passes between them and their clients.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use cofferdam::broker::{
    Batch, Breach, ConnId, Effect, EventKind, ExchangeState, Login, Migrant, Peer, Refusal, Shard,
    Verdict,
};
use cofferdam::limits::Limits;
use cofferdam::policy::Policy;
use cofferdam::team::World;
use cofferdam::time::{Span, Time};
use cofferdam::wire::{QoS, ReasonCode, Version};

mod check;

use super::client::Client;
use super::directory::Directory;
use super::mark::Mark;

const SHARDS: usize = 2;
const CLIENTS: usize = 4;

/// Bytes of one read, as of a shell with a small buffer.
const READ_MAX: usize = 512;

/// What passes between two shards.
enum Between {
    Batch(Batch),
    /// The connection of this client, by number.
    Migrant(u64, Box<Migrant>),
}

/// All of it.
pub struct Net {
    policy: Arc<Policy>,
    directory: Directory,
    world: Arc<World>,
    shards: Vec<Shard>,
    clients: [Option<Client>; CLIENTS],
    opened: u64,
    now: Time,
    /// Logins wait for `hold_logins` to answer them.
    holds_logins: bool,
    logins: VecDeque<(u16, Box<Login>)>,
    holds_between: bool,
    /// From, to, what.
    between: VecDeque<(usize, Between)>,
    /// Connections admitted less those that ended, as the records have it.
    admitted: i64,
}

/// So small that scripts reach them.
fn limits() -> Limits {
    Limits {
        max_packet_size: 1024,
        max_unauthenticated_bytes: 600,
        max_topic_length: 64,
        max_topic_levels: 8,
        max_client_id_length: 32,
        receive_maximum: 3,
        max_inflight: 3,
        max_queued_messages: 4,
        max_queued_bytes: 2048,
        max_outbox_bytes: 1024,
        max_subscriptions: 4,
        topic_alias_maximum: 4,
        max_session_expiry: Span::from_secs(600),
        max_keep_alive_s: Some(120),
        max_retained_messages: 3,
        max_retained_bytes: 1500,
        max_sessions_per_team: 3,
        max_connections: 3,
        ..Limits::default()
    }
}

impl Net {
    pub fn new() -> Self {
        static POLICY: LazyLock<Arc<Policy>> = LazyLock::new(|| {
            Arc::new(Policy::flowfuse().unwrap_or_else(|error| panic!("{error}")))
        });
        let policy = Arc::clone(&POLICY);
        let tight = Limits {
            max_qos: QoS::AtLeastOnce,
            retain_available: false,
            check_payload_format: true,
            ..limits()
        };
        let world = World::new(limits(), &policy);
        let world = Arc::new(world.with_listener(&Arc::from("tight"), tight));
        let shard = |id| Shard::new(id as u16, SHARDS as u16, Arc::clone(&world), [id as u8; 32]);
        Self {
            policy,
            directory: Directory::demo(),
            shards: (0..SHARDS).map(shard).collect(),
            world,
            clients: [const { None }; CLIENTS],
            opened: 0,
            now: Time::from_micros(1_000_000_000),
            holds_logins: false,
            logins: VecDeque::new(),
            holds_between: false,
            between: VecDeque::new(),
            admitted: 0,
        }
    }

    /// A new connection in place of the client's old one, which is lost.
    pub fn open(&mut self, who: usize) {
        self.cut(who);
        let shard = who % SHARDS;
        let peer = Peer {
            address: SocketAddr::from(([192, 0, 2, 1], 1000 + who as u16)),
            listener: Arc::from(if who == CLIENTS - 1 { "tight" } else { "open" }),
        };
        let conn = self.shards[shard].open(peer, self.now);
        self.opened += 1;
        self.clients[who] = conn.map(|conn| Client::new(self.opened, (shard as u16, conn)));
    }

    /// A new connection of somebody who cannot turn out to be somebody else.
    pub fn open_as(&mut self, who: usize, username: &str) {
        self.open(who);
        if let Some(client) = &mut self.clients[who] {
            client.says_who(username);
        }
    }

    /// What the client puts into all that it publishes.
    pub fn mark(&self, who: usize) -> Option<Mark> {
        self.clients[who].as_ref().and_then(Client::mark)
    }

    /// The client sends a packet.
    pub fn say(&mut self, who: usize, packet: impl FnOnce(Version) -> Vec<u8>) {
        if let Some(client) = &mut self.clients[who] {
            let bytes = packet(client.version());
            client.sends(&bytes);
            client.unread.extend(bytes);
        }
    }

    /// The client sends whatever, but no marks.
    pub fn say_anything(&mut self, who: usize, bytes: &[u8]) {
        if self.clients[who].is_none() {
            self.open(who);
        }
        if let Some(client) = &mut self.clients[who] {
            let bytes = Mark::without(bytes);
            client.sends(&bytes);
            client.goes_wild();
            client.unread.extend(bytes);
        }
    }

    /// The client answers one message.
    pub fn acknowledge_one(&mut self, who: usize, which: usize, reason: ReasonCode) {
        let answer = |client: &mut Client| client.answer(which, reason);
        if let Some(answer) = self.clients[who].as_mut().and_then(answer) {
            self.say(who, |_| answer);
        }
    }

    /// The client answers every message that it has read.
    pub fn acknowledge_all(&mut self, who: usize) {
        for which in 0..self.clients[who].as_ref().map_or(0, Client::unanswered) {
            self.acknowledge_one(who, which, ReasonCode::Success);
        }
    }

    /// The client will read so many bytes more.
    pub fn read(&mut self, who: usize, room: usize) {
        if let Some(client) = &mut self.clients[who] {
            client.room = room;
            if let Some((shard, conn)) = client.at {
                self.flush(usize::from(shard), conn);
            }
        }
    }

    /// The client's end is gone.
    pub fn cut(&mut self, who: usize) {
        if let Some(mut client) = self.clients[who].take()
            && let Some((shard, conn)) = client.at
        {
            client.ends(false);
            self.shards[usize::from(shard)].closed(conn, self.now);
        }
    }

    /// The client breaks what lies below MQTT, or is gone in one direction.
    pub fn break_off(&mut self, who: usize, how: u8) {
        let at = self.clients[who].as_ref().and_then(|client| client.at);
        let Some((shard, conn)) = at else { return };
        let shard = &mut self.shards[usize::from(shard)];
        match how % 3 {
            0 => shard.lost(conn, self.now),
            1 => shard.broken(conn, Breach::Tls, self.now),
            _ => shard.broken(conn, Breach::WebSocket(1002), self.now),
        }
    }

    pub fn pass(&mut self, span: Span) {
        self.now = self.now + span;
        for shard in &mut self.shards {
            shard.tick(self.now);
            let next = shard.next_timer();
            assert!(
                next.is_none_or(|next| next > self.now),
                "a timer that does not fire"
            );
        }
    }

    /// 0: from now on logins wait. Else the first that waits is answered.
    pub fn hold_logins(&mut self, how: u8) {
        self.holds_logins = how == 0;
        if let Some((shard, login)) = self.logins.pop_front().filter(|_| how > 0) {
            let verdict = match how % 4 {
                0 => Verdict::Refuse(Refusal::WrongPassword),
                1 => Verdict::Undecided(Refusal::Busy),
                2 if login.exchange.is_some() => Verdict::Challenge {
                    data: Box::from(*b"again"),
                    state: ExchangeState::new("alice@alpha".to_owned()),
                    username: None,
                },
                _ => self.directory.judge(&self.policy, &login),
            };
            self.judged(usize::from(shard), login.conn, verdict);
        }
    }

    fn judged(&mut self, shard: usize, conn: ConnId, verdict: Verdict) {
        if let Verdict::Admit(grant) | Verdict::AdmitWith { grant, .. } = &verdict
            && let Some(client) = self.client_at(shard, conn)
        {
            client.is_admitted(grant);
        }
        self.shards[shard].judged(conn, verdict, self.now);
    }

    pub fn hold_between(&mut self, hold: bool) {
        self.holds_between = hold;
    }

    pub fn stop(&mut self) {
        self.shards
            .iter_mut()
            .for_each(|shard| shard.stop(self.now));
    }

    /// Carries everything to where it goes, until nothing moves.
    pub fn run(&mut self) {
        for turn in 0.. {
            assert!(turn < 10_000, "it never comes to rest");
            if !self.turn() {
                break;
            }
        }
    }

    fn turn(&mut self) -> bool {
        let mut moved = false;
        for who in 0..CLIENTS {
            moved |= self.hand_over(who);
        }
        for shard in 0..SHARDS {
            for effect in self.shards[shard].take_effects() {
                moved = true;
                self.carry_out(shard, effect);
            }
            let mut touched = Vec::new();
            self.shards[shard].take_touched(&mut touched);
            for conn in touched {
                moved |= self.flush(shard, conn);
            }
            let batches: Vec<_> = self.shards[shard].take_batches().collect();
            for (to, batch) in batches {
                moved = true;
                self.between
                    .push_back((usize::from(to), Between::Batch(batch)));
            }
            let core = &mut self.shards[shard];
            moved |= core.has_output() || core.has_unread();
            core.go_on(self.now);
            core.read_on();
            if core.take_caught_up() {
                moved = true;
                self.shards.iter_mut().for_each(Shard::resume);
            }
        }
        if !self.holds_between
            && let Some((to, what)) = self.between.pop_front()
        {
            moved = true;
            self.deliver(to, what);
        }
        moved
    }

    fn deliver(&mut self, to: usize, what: Between) {
        let shard = &mut self.shards[to];
        match what {
            Between::Batch(batch) => shard.deliver_batch(batch, self.now),
            Between::Migrant(number, migrant) => {
                let conn = shard.adopt(*migrant, self.now);
                let mut clients = self.clients.iter_mut().flatten();
                match clients.find(|client| client.number == number) {
                    Some(client) => client.at = Some((to as u16, conn)),
                    None => shard.closed(conn, self.now), // it has left meanwhile
                }
            }
        }
    }

    fn carry_out(&mut self, shard: usize, effect: Effect) {
        match effect {
            Effect::Judge(login) => {
                if let Some(client) = self.client_at(shard, login.conn) {
                    client.is_judged(&login);
                }
                if self.holds_logins {
                    self.logins.push_back((shard as u16, login));
                } else {
                    let verdict = self.directory.judge(&self.policy, &login);
                    self.judged(shard, login.conn, verdict);
                }
            }
            Effect::Record(event) => match event.kind {
                EventKind::Connected { .. } => self.admitted += 1,
                EventKind::Disconnected { .. } => self.admitted -= 1,
                _ => {}
            },
            Effect::Close(conn) => {
                self.flush(shard, conn);
                let left = self.shards[shard]
                    .outbox(conn)
                    .map_or(0, |outbox| outbox.len());
                self.shards[shard].closed(conn, self.now);
                if let Some(client) = self.client_at(shard, conn) {
                    client.ends(left == 0);
                }
            }
            // Nobody is asked here: every grant decides for itself.
            Effect::Ask(_) | Effect::Report(_) => {}
            Effect::Move { conn, to, migrant } => {
                // A client that left on the way here is no longer known.
                let number = self.client_at(shard, conn).map_or(0, |client| {
                    client.at = None;
                    client.number
                });
                let what = Between::Migrant(number, migrant);
                self.between.push_back((usize::from(to), what));
            }
        }
    }

    fn client_at(&mut self, shard: usize, conn: ConnId) -> Option<&mut Client> {
        let at = Some((shard as u16, conn));
        self.clients
            .iter_mut()
            .flatten()
            .find(|client| client.at == at)
    }

    /// The broker reads what a client sent, as far as it wants to.
    fn hand_over(&mut self, who: usize) -> bool {
        let Some(client) = &mut self.clients[who] else {
            return false;
        };
        let Some((shard, conn)) = client.at else {
            return false;
        };
        let shard = &mut self.shards[usize::from(shard)];
        let count = shard.appetite(conn).min(client.unread.len()).min(READ_MAX);
        if count == 0 {
            shard.await_turn(conn);
            return false;
        }
        let bytes: Vec<u8> = client.unread.drain(..count).collect();
        shard.received(conn, &bytes, self.now);
        self.check();
        true
    }

    /// The client takes what the broker has for it, as far as it has room.
    fn flush(&mut self, shard: usize, conn: ConnId) -> bool {
        let at = Some((shard as u16, conn));
        let mut clients = self.clients.iter_mut().flatten();
        let Some(client) = clients.find(|client| client.at == at) else {
            return false;
        };
        let mut moved = false;
        while let Some(outbox) = self.shards[shard].outbox(conn) {
            let mut said = Vec::new();
            for piece in outbox.pieces() {
                assert!(!piece.is_empty());
                let taken = piece.len().min(client.room - said.len());
                said.extend_from_slice(&piece[..taken]);
            }
            if said.is_empty() {
                break;
            }
            if client.room != usize::MAX {
                client.room -= said.len();
            }
            client.reads(&said);
            self.shards[shard].flushed(conn, said.len());
            moved = true;
        }
        moved
    }
}
