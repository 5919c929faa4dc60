//! What moves bytes and effects between clients and shards: the shell's part, in memory.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use super::directory::Directory;
use super::hello::Hello;
use super::oracle::{HeldQuestion, Oracle};
use super::store::{self, Store};
use cofferdam::broker::{
    Answer, Batch, ConnId, Effect, Event, Login, Migrant, Peer, Shard, Verdict,
};
use cofferdam::fact::Highest;
use cofferdam::limits::Limits;
use cofferdam::policy::Policy;
use cofferdam::team::World;
use cofferdam::time::{Span, Time};
use cofferdam::wire::Version;

/// Something on its way from one shard to another.
pub enum Between {
    /// Messages.
    Batch(Batch),
    /// A connection, by its wire.
    Migrant(usize, Box<Migrant>),
}

/// A login that waits for the test's verdict.
pub struct HeldLogin {
    /// Who asks.
    pub shard: u16,
    /// What is asked.
    pub login: Box<Login>,
}

/// One client's line to the broker.
pub(super) struct Wire {
    /// Shard and connection; `None` while it moves and when it is closed.
    pub(super) at: Option<(u16, ConnId)>,
    /// Neither side has closed it.
    pub(super) open: bool,
    pub(super) version: Version,
    /// What the broker sent and the client has not looked at.
    pub(super) inbox: Vec<u8>,
    /// What the client sent and the broker has not read.
    pub(super) unread: VecDeque<u8>,
    /// Bytes that the client will still take.
    pub(super) room: usize,
    pub(super) next_id: u16,
}

pub(super) struct Net {
    pub(super) now: Time,
    pub(super) world: Arc<World>,
    pub(super) policy: Arc<Policy>,
    pub(super) shards: Vec<Shard>,
    pub(super) directory: Directory,
    pub(super) wires: Vec<Wire>,
    by_conn: HashMap<(u16, ConnId), usize>,
    /// Connections that the broker ends, whose last words wait for the journal.
    ending: HashSet<(u16, ConnId)>,
    pub(super) hold_logins: bool,
    pub(super) logins: VecDeque<HeldLogin>,
    pub(super) hold_between: bool,
    pub(super) between: BTreeMap<(u16, u16), VecDeque<Between>>,
    pub(super) events: Vec<Event>,
    /// Who answers questions.
    pub(super) oracle: Oracle,
    /// Turns in which something moved.
    pub(super) turns: u64,
    pub(super) store: Store,
    limits: Limits,
    make_world: Box<dyn Fn(World) -> World>,
}

impl Net {
    pub(super) fn new(
        count: u16,
        limits: Limits,
        policy: Arc<Policy>,
        make_world: impl Fn(World) -> World + 'static,
    ) -> Self {
        let world = Arc::new(make_world(World::new(limits.clone(), &policy)));
        let shards = (0..count).map(|id| store::shard(id, count, &world, Highest::default()));
        Self {
            // Some time that is not the epoch, and not on a whole second.
            now: Time::from_micros(1_700_000_000_123_456),
            shards: shards.collect(),
            world,
            policy,
            directory: Directory::demo(),
            wires: Vec::new(),
            by_conn: HashMap::new(),
            ending: HashSet::new(),
            hold_logins: false,
            logins: VecDeque::new(),
            hold_between: false,
            between: BTreeMap::new(),
            events: Vec::new(),
            oracle: Oracle::default(),
            turns: 0,
            store: Store::default(),
            limits,
            make_world: Box::new(make_world),
        }
    }

    pub(super) fn crash(&mut self, count: u16) {
        for wire in &mut self.wires {
            wire.open = false;
            wire.at = None;
        }
        self.by_conn.clear();
        self.ending.clear();
        self.between.clear();
        self.logins.clear();
        let world = (self.make_world)(World::new(self.limits.clone(), &self.policy));
        self.world = Arc::new(world);
        let highest = self.store.highest();
        let shards = (0..count).map(|id| store::shard(id, count, &self.world, highest));
        self.shards = shards.collect();
        let grant = |username: &str| self.directory.grant(&self.policy, username);
        self.store
            .restore(&self.world, &mut self.shards, grant, self.now);
        for shard in &mut self.shards {
            shard.tick(self.now);
        }
        self.run();
    }

    pub(super) fn write_waiting(&mut self) {
        let waiting = self.store.waiting.iter();
        let waiting: Vec<_> = waiting.map(|(shard, it)| (*shard, it.number)).collect();
        for (shard, number) in waiting {
            self.shards[usize::from(shard)].written(number);
        }
    }

    pub(super) fn keep_one(&mut self) {
        if let Some((shard, commit)) = self.store.waiting.pop_front() {
            let number = commit.number;
            self.store.keep(commit);
            self.shards[usize::from(shard)].committed(number);
        }
    }

    /// Hands what a shard has stated to the journal.
    fn commit(&mut self, shard: u16) -> bool {
        let Some(commit) = self.shards[usize::from(shard)].take_commit() else {
            return false;
        };
        self.store.waiting.push_back((shard, commit));
        if !self.store.hold {
            self.keep_one();
        }
        true
    }

    pub(super) fn open(&mut self, shard: u16, hello: &Hello) -> Option<usize> {
        let wire = self.wires.len();
        let port = 10_000 + (wire % 50_000) as u16;
        let peer = Peer {
            address: SocketAddr::from(([192, 0, 2, 1], port)),
            listener: Arc::clone(&hello.listener),
        };
        let conn = self.shards[usize::from(shard)].open(peer, self.now)?;
        self.by_conn.insert((shard, conn), wire);
        self.wires.push(Wire {
            at: Some((shard, conn)),
            open: true,
            version: hello.connect.version,
            inbox: Vec::new(),
            unread: VecDeque::new(),
            room: usize::MAX,
            next_id: 0,
        });
        Some(wire)
    }

    pub(super) fn judge(&self, login: &Login) -> Verdict {
        self.directory.judge(&self.policy, login)
    }

    pub(super) fn answer(&mut self, held: &HeldQuestion, answer: Answer) {
        let shard = &mut self.shards[usize::from(held.shard)];
        shard.answered(held.question.ticket, answer, self.now);
    }

    /// The client sends.
    pub(super) fn send(&mut self, wire: usize, bytes: &[u8]) {
        if self.wires[wire].open {
            self.wires[wire].unread.extend(bytes);
            self.run();
        }
    }

    /// The client's end of the line is gone, and the broker notices at once.
    pub(super) fn cut(&mut self, wire: usize) {
        self.wires[wire].open = false;
        if let Some((shard, conn)) = self.wires[wire].at.take() {
            self.by_conn.remove(&(shard, conn));
            self.shards[usize::from(shard)].closed(conn, self.now);
            self.run();
        }
    }

    /// The client takes so many bytes more.
    pub(super) fn make_room(&mut self, wire: usize, room: usize) {
        self.wires[wire].room = room;
        if let Some((shard, conn)) = self.wires[wire].at {
            self.flush(shard, conn);
            self.run();
        }
    }

    pub(super) fn pass(&mut self, span: Span) {
        let end = self.now + span;
        loop {
            let next = self.shards.iter().filter_map(Shard::next_timer).min();
            let Some(next) = next.filter(|next| *next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            let now = self.now;
            self.shards.iter_mut().for_each(|shard| shard.tick(now));
            self.run();
        }
        self.now = end;
    }

    pub(super) fn deliver_between(&mut self, from: u16, to: u16) {
        let now = self.now;
        let queue = self.between.entry((from, to)).or_default();
        let shard = &mut self.shards[usize::from(to)];
        match queue.pop_front() {
            None => {}
            Some(Between::Batch(batch)) => shard.deliver_batch(batch, now),
            Some(Between::Migrant(wire, migrant)) => {
                let conn = shard.adopt(*migrant, now);
                if self.wires[wire].open {
                    self.by_conn.insert((to, conn), wire);
                    self.wires[wire].at = Some((to, conn));
                } else {
                    shard.closed(conn, now);
                }
            }
        }
    }

    /// Carries everything to where it goes, until nothing moves.
    pub(super) fn run(&mut self) {
        let mut turns = 0;
        while self.turn() {
            turns += 1;
            self.turns += 1;
            assert!(turns < 1_000_000, "the cluster never comes to rest");
        }
        // Looking at everything is dear where there is much.
        let many = self.store.state.sessions.len() + self.store.state.messages.len();
        let is_due = self.turns.is_multiple_of(1 + many as u64 / 4);
        let is_quiet = self.between.values().all(VecDeque::is_empty);
        if is_due && is_quiet && self.store.waiting.is_empty() {
            self.store.check(&self.shards, &self.world, self.now);
        }
    }

    /// Says whether anything moved.
    pub(super) fn turn(&mut self) -> bool {
        let mut moved = false;
        for wire in 0..self.wires.len() {
            moved |= self.read(wire);
        }
        for shard in 0..self.shards.len() as u16 {
            moved |= self.commit(shard);
            for effect in self.shards[usize::from(shard)].take_effects() {
                moved = true;
                self.carry_out(shard, effect);
            }
            let mut touched = Vec::new();
            self.shards[usize::from(shard)].take_touched(&mut touched);
            for conn in touched {
                moved |= self.flush(shard, conn);
                if self.ending.contains(&(shard, conn)) {
                    self.finish(shard, conn);
                }
            }
            let batches: Vec<_> = self.shards[usize::from(shard)].take_batches().collect();
            for (to, batch) in batches {
                moved = true;
                let queue = self.between.entry((shard, to)).or_default();
                queue.push_back(Between::Batch(batch));
            }
            let core = &mut self.shards[usize::from(shard)];
            moved |= core.has_output() || core.has_unread();
            core.go_on(self.now);
            core.read_on();
            if core.take_caught_up() {
                moved = true;
                self.shards.iter_mut().for_each(Shard::resume);
            }
        }
        if !self.hold_between {
            let waiting = self.between.iter().filter(|(_, queue)| !queue.is_empty());
            let waiting: Vec<_> = waiting.map(|(pair, _)| *pair).collect();
            for (from, to) in waiting {
                moved = true;
                self.deliver_between(from, to);
            }
        }
        moved
    }

    fn carry_out(&mut self, shard: u16, effect: Effect) {
        match effect {
            Effect::Judge(login) if self.hold_logins => {
                self.logins.push_back(HeldLogin { shard, login });
            }
            Effect::Judge(login) => {
                let verdict = self.judge(&login);
                self.shards[usize::from(shard)].judged(login.conn, verdict, self.now);
            }
            Effect::Ask(question) => {
                let held = HeldQuestion { shard, question };
                if let Some((held, answer)) = self.oracle.hear(held) {
                    self.answer(&held, answer);
                }
            }
            Effect::Report(question) => self.oracle.reported.push(*question),
            Effect::Record(event) => self.events.push(*event),
            Effect::Close(conn) => {
                self.flush(shard, conn);
                self.finish(shard, conn);
            }
            Effect::Move { conn, to, migrant } => {
                let wire = self
                    .by_conn
                    .remove(&(shard, conn))
                    .expect("a wire that moves");
                self.wires[wire].at = None;
                let queue = self.between.entry((shard, to)).or_default();
                queue.push_back(Between::Migrant(wire, migrant));
            }
        }
    }

    /// The broker closes a connection that it has ended, unless its last words wait for the journal.
    fn finish(&mut self, shard: u16, conn: ConnId) {
        let outbox = self.shards[usize::from(shard)].outbox(conn);
        if outbox.is_some_and(|outbox| outbox.is_held()) {
            self.ending.insert((shard, conn));
            return;
        }
        self.ending.remove(&(shard, conn));
        if let Some(wire) = self.by_conn.remove(&(shard, conn)) {
            self.shards[usize::from(shard)].closed(conn, self.now);
            self.wires[wire].at = None;
            self.wires[wire].open = false;
        }
    }

    /// The broker reads what a client sent, as far as it wants to.
    fn read(&mut self, wire: usize) -> bool {
        let line = &mut self.wires[wire];
        let Some((shard, conn)) = line.at.filter(|_| !line.unread.is_empty()) else {
            return false;
        };
        let core = &mut self.shards[usize::from(shard)];
        let count = core.appetite(conn).min(line.unread.len());
        if count == 0 {
            core.await_turn(conn);
            return false;
        }
        let bytes: Vec<u8> = line.unread.drain(..count).collect();
        core.received(conn, &bytes, self.now);
        true
    }

    /// The client takes what the broker has for it, as far as it has room.
    fn flush(&mut self, shard: u16, conn: ConnId) -> bool {
        let Some(&wire) = self.by_conn.get(&(shard, conn)) else {
            return false;
        };
        let mut moved = false;
        loop {
            let line = &mut self.wires[wire];
            let core = &mut self.shards[usize::from(shard)];
            let Some(outbox) = core.outbox(conn) else {
                return moved;
            };
            let mut count = 0;
            for piece in outbox.pieces() {
                let taken = piece.len().min(line.room - count);
                line.inbox.extend_from_slice(&piece[..taken]);
                count += taken;
            }
            if count == 0 {
                return moved;
            }
            if line.room != usize::MAX {
                line.room -= count;
            }
            core.flushed(conn, count);
            moved = true;
        }
    }
}
