//! The world that runs: real shards, the clients, and what lies between; all of it moved by steps
//! and by a clock that only steps move.
//!
//! Every call of a shard is one *turn*: the core is called, the model is told the same, and
//! [`observe`](crate::observe) compares what the two have to say.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use cofferdam::broker::{Batch, ConnId, Counters, Effect, Login, Migrant, Peer, Shard, Verdict};
use cofferdam::fact::Highest;
use cofferdam::policy::Policy;
use cofferdam::team::World;
use cofferdam::time::Time;
use cofferdam::wire::Version;
use cofferdam::wire::client::ServerPacket;

use crate::cast;
use crate::client::{self, Client};
use crate::crash::{self, Withheld};
use crate::directory::Directory;
use crate::failure::{Failure, Kept, broken};
use crate::model::{Entry, Line, Model, Phase, Said};
use crate::plan::Plan;
use crate::storage::Storage;
use crate::wire::{Wire, Written};

/// What the model knows of each delivery of a batch, in order: for which session, and what; `None`:
/// nobody may have it.
pub type Deliveries = Vec<Option<(u64, Entry)>>;

/// On its way between two shards.
pub enum Between {
    Batch(Batch, Deliveries),
    Migrant(usize, Box<Migrant>),
}

pub struct Sim<'p> {
    pub plan: &'p Plan,
    pub now: Time,
    pub world: Arc<World>,
    pub policy: Arc<Policy>,
    pub directory: Directory,
    pub shards: Vec<Shard>,
    pub wires: Vec<Wire>,
    pub by_conn: HashMap<(u16, ConnId), usize>,
    pub clients: Vec<Client>,
    pub model: Model,
    pub between: BTreeMap<(u16, u16), VecDeque<Between>>,
    /// What shards keep to themselves until commits are kept, by shard.
    pub withheld: BTreeMap<u16, VecDeque<Withheld>>,
    /// What a crash has caught under way to sessions that are not back yet.
    pub stranded: Vec<(u64, Entry)>,
    /// What has arrived and waits for its team's turn, by shard and lane.
    pub undelivered: HashMap<(u16, u32), VecDeque<Option<(u64, Entry)>>>,
    pub logins: VecDeque<(u16, Box<Login>)>,
    pub hold_logins: bool,
    pub hold_between: bool,
    pub hold_turns: bool,
    /// By slot, which of its person's rights the directory gives it.
    pub rights: Vec<usize>,
    /// Lines that may still move.
    pub busy: Vec<usize>,
    pub counted: Vec<Counters>,
    pub storage: Storage,
    pub numbers: u64,
}

impl<'p> Sim<'p> {
    pub fn new(plan: &'p Plan, policy: &Arc<Policy>) -> Self {
        let policy = Arc::clone(policy);
        let world = Arc::new(World::new(plan.limits.clone(), &policy));
        let shards = crash::shards(plan, &world, plan.journal.then(Highest::default));
        Self {
            plan,
            // Some time that is not the epoch, and not on a whole second.
            now: Time::from_micros(1_700_000_000_123_456),
            policy,
            directory: cast::cast().1,
            counted: shards.iter().map(Shard::counters).collect(),
            shards,
            wires: Vec::new(),
            by_conn: HashMap::new(),
            clients: plan
                .slots
                .iter()
                .map(|_| Client::new(plan.client_window))
                .collect(),
            model: Model::new(plan, Arc::clone(&world)),
            world,
            between: BTreeMap::new(),
            withheld: BTreeMap::new(),
            stranded: Vec::new(),
            undelivered: HashMap::new(),
            logins: VecDeque::new(),
            hold_logins: false,
            hold_between: false,
            hold_turns: false,
            rights: vec![0; plan.slots.len()],
            busy: Vec::new(),
            storage: Storage::new(plan.journal),
            numbers: 0,
        }
    }

    /// A client opens a connection. `None`: it was turned away.
    pub fn open(&mut self, who: usize, shard: u16, version: Version) -> Option<usize> {
        let line = self.wires.len();
        let peer = Peer {
            address: SocketAddr::from(([192, 0, 2, 1], 1 + (line % 60_000) as u16)),
            listener: Arc::from("main"),
        };
        let conn = self.shards[usize::from(shard)].open(peer, self.now)?;
        self.by_conn.insert((shard, conn), line);
        self.busy.push(line);
        self.wires.push(Wire {
            at: Some((shard, conn)),
            open: true,
            lingers: None,
            pipe: VecDeque::new(),
            sent: 0,
            looked: 0,
            looked_held: 0,
            ready: 0,
            untaken: VecDeque::new(),
            held: VecDeque::new(),
            taken: 0,
            aliases: HashMap::new(),
        });
        self.model
            .lines
            .push(Line::new(who, version, shard, self.now));
        Some(line)
    }

    /// A client sends a packet.
    pub fn say(&mut self, line: usize, said: Said) {
        let wire = &mut self.wires[line];
        if wire.open {
            let bytes = client::encode(&said, self.model.lines[line].version);
            wire.sent += bytes.len();
            wire.pipe.extend(bytes);
            self.model.lines[line].said.push_back((wire.sent, said));
        }
    }

    /// Up to so many bytes of a connection reach the broker. Says whether any did.
    pub fn feed(&mut self, line: usize, bytes: usize) -> Result<bool, Failure> {
        let wire = &mut self.wires[line];
        let Some((shard, conn)) = wire.at else {
            return Ok(false);
        };
        let core = &mut self.shards[usize::from(shard)];
        let count = bytes.min(wire.pipe.len()).min(core.appetite(conn));
        if count == 0 {
            if bytes.min(wire.pipe.len()) > 0 {
                core.await_turn(conn);
                self.model.lines[line].awaited = core.is_awaited(conn);
            }
            return Ok(false);
        }
        let bytes: Vec<u8> = wire.pipe.drain(..count).collect();
        self.model.begin_turn(shard, self.now);
        core.received(conn, &bytes, self.now);
        self.model.lines[line].read += count;
        self.model.lines[line].heard = self.now;
        self.consume(line);
        self.end_turn(shard)?;
        Ok(true)
    }

    /// The client takes up to so many bytes. Says whether it took any.
    pub fn flush(&mut self, line: usize, room: usize) -> Result<bool, Failure> {
        let Some((shard, conn)) = self.wires[line].at else {
            return Ok(false);
        };
        let core = &mut self.shards[usize::from(shard)];
        let ready = core.outbox(conn).map_or(0, |outbox| outbox.ready());
        let count = ready.min(room);
        if count == 0 {
            return Ok(false);
        }
        self.model.begin_turn(shard, self.now);
        core.flushed(conn, count);
        self.take(line, count);
        self.end_turn(shard)?;
        Ok(true)
    }

    /// The client has these bytes.
    fn take(&mut self, line: usize, count: usize) {
        let who = self.model.lines[line].who;
        let wire = &mut self.wires[line];
        wire.looked -= count;
        wire.ready -= count;
        wire.taken += count;
        let mut said = Vec::new();
        while let Some(first) = wire.untaken.front()
            && first.length <= wire.taken
            && let Some(Written { length, packet, .. }) = wire.untaken.pop_front()
        {
            wire.taken -= length;
            let client = &mut self.clients[who];
            match packet {
                _ if client.line != Some(line) => {}
                ServerPacket::ConnAck(connack) if connack.code == 0 => {
                    let session = self.model.lines[line].session.unwrap_or(0);
                    said.extend(client.resume(session, &connack.properties));
                }
                packet => client.read(packet),
            }
        }
        for said in said {
            self.say(line, said);
        }
    }

    /// The network fails. The broker notices at once.
    pub fn cut(&mut self, line: usize) -> Kept {
        let wire = &mut self.wires[line];
        wire.open = false;
        wire.pipe.clear();
        let who = self.model.lines[line].who;
        if self.clients[who].line == Some(line) {
            self.clients[who].closed();
        }
        let Some((shard, conn)) = self.wires[line].at.take() else {
            return Ok(());
        };
        if self.model.lines[line].paused {
            self.wires[line].lingers = Some((shard, conn));
        } else {
            self.by_conn.remove(&(shard, conn));
        }
        self.model.begin_turn(shard, self.now);
        self.shards[usize::from(shard)].closed(conn, self.now);
        self.model.lost(line);
        self.end_turn(shard)
    }

    /// A client sends answers that it owes. Says whether it sent any.
    pub fn answer(&mut self, who: usize, count: usize, mut refuse: bool) -> bool {
        let Some(line) = self.clients[who].line.filter(|_| self.clients[who].ready) else {
            return false;
        };
        for sent in 0..count {
            let Some(said) = self.clients[who].next_answer(refuse) else {
                return sent > 0;
            };
            refuse = false;
            self.say(line, said);
        }
        count > 0
    }

    /// A login that waits is judged.
    pub fn judge(&mut self, pick: usize) -> Kept {
        let place = pick % self.logins.len().max(1);
        let Some((shard, login)) = self.logins.remove(place) else {
            return Ok(());
        };
        let verdict = self.directory.judge(&self.policy, &login);
        let admitted = matches!(verdict, Verdict::Admit(_));
        self.model.begin_turn(shard, self.now);
        self.shards[usize::from(shard)].judged(login.conn, verdict, self.now);
        if let Some(&line) = self.by_conn.get(&(shard, login.conn)) {
            let rights = self.rights[self.model.lines[line].who];
            self.model.judged(line, admitted.then_some(rights));
            self.consume(line);
        }
        self.end_turn(shard)
    }

    /// The operator gives a principal other rights.
    pub fn regrant(&mut self, who: usize, rights: usize) {
        let person = self.plan.person(who);
        if person.rights.len() > 1 {
            let patterns = person.rights[rights].patterns;
            self.directory.client(&person.username, patterns);
            for (slot, own) in self.rights.iter_mut().enumerate() {
                if self.plan.slots[slot].0 == self.plan.slots[who].0 {
                    *own = rights;
                }
            }
        }
    }

    /// The pairs of shards between which something waits.
    pub fn waiting(&self) -> Vec<(u16, u16)> {
        let waiting = self.between.iter().filter(|(_, queue)| !queue.is_empty());
        waiting.map(|(pair, _)| *pair).collect()
    }

    /// The oldest thing between two shards arrives.
    pub fn deliver(&mut self, (from, to): (u16, u16)) -> Kept {
        let queue = self.between.entry((from, to)).or_default();
        let Some(between) = queue.pop_front() else {
            return Ok(());
        };
        self.model.begin_turn(to, self.now);
        let core = &mut self.shards[usize::from(to)];
        match between {
            Between::Batch(batch, deliveries) => {
                self.hand_over(to, batch, deliveries)?;
                self.end_turn(to)
            }
            Between::Migrant(line, migrant) => {
                let conn = core.adopt(*migrant, self.now);
                self.by_conn.insert((to, conn), line);
                self.wires[line].at = Some((to, conn));
                self.model.admit(line);
                self.consume(line);
                self.end_turn(to)?;
                match self.wires[line].open {
                    true => Ok(()),
                    false => self.cut(line),
                }
            }
        }
    }

    /// A shard was called: what it has to say is compared with the model and carried out.
    pub fn end_turn(&mut self, shard: u16) -> Kept {
        let core = &mut self.shards[usize::from(shard)];
        let commit = self.storage.turn(shard, core);
        let effects = core.take_effects();
        let batches: Vec<_> = core.take_batches().collect();
        self.note_awaited(shard);
        let batches = self.observe(shard, batches, &effects, commit)?;
        for (to, batch, entries) in batches {
            let queue = self.between.entry((shard, to)).or_default();
            queue.push_back(Between::Batch(batch, entries));
        }
        for effect in effects {
            self.carry_out(shard, effect)?;
        }
        if commit.is_some() && self.storage.hold {
            let after = self.snapshot();
            self.storage.note(|| after);
        }
        Ok(())
    }

    fn carry_out(&mut self, shard: u16, effect: Effect) -> Kept {
        match effect {
            Effect::Judge(login) => self.logins.push_back((shard, login)),
            // Nobody is asked here: every grant decides for itself.
            Effect::Record(_) | Effect::Ask(_) | Effect::Report(_) => {}
            Effect::Close(conn) => {
                let Some(line) = self.by_conn.remove(&(shard, conn)) else {
                    return Ok(());
                };
                let who = self.model.lines[line].who;
                let core = &mut self.shards[usize::from(shard)];
                if self.clients[who].line != Some(line) || self.clients[who].reading {
                    let count = core.outbox(conn).map_or(0, |outbox| outbox.ready());
                    self.take(line, count);
                }
                if self.clients[who].line == Some(line) {
                    self.clients[who].closed();
                }
                let wire = &mut self.wires[line];
                if wire.lingers.is_none() {
                    self.shards[usize::from(shard)].closed(conn, self.now);
                }
                (wire.at, wire.open, wire.lingers) = (None, false, None);
                self.model.lines[line].phase = Phase::Closed;
            }
            Effect::Move { conn, to, migrant } => {
                let line = self.by_conn.remove(&(shard, conn));
                let line = line.ok_or_else(|| broken("no effect lost", "an unknown one moves"))?;
                self.wires[line].at = None;
                let queue = self.between.entry((shard, to)).or_default();
                queue.push_back(Between::Migrant(line, migrant));
            }
        }
        Ok(())
    }

    /// The line of a connection.
    pub fn line_of(&self, shard: u16, conn: ConnId) -> Option<usize> {
        self.by_conn.get(&(shard, conn)).copied()
    }

    /// The lines of a shard's connections.
    pub fn lines_on(&self, shard: u16) -> Vec<usize> {
        let own = self.by_conn.iter().filter(|((at, _), _)| *at == shard);
        let mut lines: Vec<usize> = own.map(|(_, line)| *line).collect();
        lines.sort_unstable();
        lines
    }

    /// Bytes that a client sent and the broker has not read.
    pub fn unread(&self, line: usize) -> usize {
        self.wires[line].pipe.len()
    }
}
