//! The broker crashes and starts again from what was kept; and the journal's pace until then.

use std::sync::Arc;

use cofferdam::broker::Shard;
use cofferdam::fact::Highest;
use cofferdam::team::World;

use crate::failure::{Failure, Kept, hold};
use crate::model::Snapshot;
use crate::plan::Plan;
use crate::sim::{Between, Sim};
use crate::store;

/// A batch that a shard keeps to itself until a commit is kept: which, for whom, and what is in it.
pub type Withheld = (u64, u16, crate::sim::Deliveries);

/// The shards of a plan. `highest`: the numbers in use, where there is a journal.
pub fn shards(plan: &Plan, world: &Arc<World>, highest: Option<Highest>) -> Vec<Shard> {
    let count = plan.shards;
    let shard = |id: u16| match highest {
        Some(highest) => store::shard(id, count, world, highest),
        None => Shard::new(id, count, Arc::clone(world), [id as u8; 32]),
    };
    (0..count)
        .map(|id| shard(id).with_allowance(plan.allowance))
        .collect()
}

impl Sim<'_> {
    /// What is true now, of what is to outlive a crash.
    pub fn snapshot(&self) -> Snapshot {
        let between = self.between.values().flatten();
        let between = between.flat_map(|between| match between {
            Between::Batch(_, entries) => &entries[..],
            Between::Migrant(..) => &[],
        });
        let withheld = self.withheld.values().flatten();
        let withheld = withheld.flat_map(|(_, _, entries)| entries);
        let arrived = self.undelivered.values().flatten();
        let under_way = between.chain(withheld).chain(arrived).flatten();
        self.model.snapshot(under_way.chain(&self.stranded))
    }

    /// From now on what shards state waits to be kept, or not.
    pub fn hold_journal(&mut self, on: bool) {
        let now = (on && !self.storage.hold && self.storage.is_quiet()).then(|| self.snapshot());
        self.storage.set_hold(on, || now.unwrap_or_default());
    }

    /// The journal takes no more messages, or does again.
    pub fn set_full(&mut self, on: bool) {
        if self.storage.store.is_some() {
            self.storage.is_full = on;
            self.model.is_full = on;
            self.shards.iter_mut().for_each(|shard| shard.set_full(on));
        }
    }

    /// Keeps so many commits more, at most, and tells whose they are. Says whether there were any.
    pub fn keep(&mut self, count: usize) -> Result<bool, Failure> {
        let count = count.min(self.storage.waiting());
        for (shard, number) in self.storage.keep(count) {
            self.tell_kept(shard, number)?;
        }
        Ok(count > 0)
    }

    /// A shard hears that its commits up to this one are kept.
    fn tell_kept(&mut self, shard: u16, number: u64) -> Kept {
        self.model.begin_turn(shard, self.now);
        self.storage.tell(shard, number);
        let core = &mut self.shards[usize::from(shard)];
        core.committed(number);
        let batches: Vec<_> = core.take_batches().collect();
        let withheld = self.withheld.entry(shard).or_default();
        let mut due = Vec::new();
        while let Some(next) = withheld.pop_front_if(|it| it.0 <= number) {
            due.push(next);
        }
        let right = batches.len() == due.len();
        hold(right, "what waits for a commit goes with it", || {
            format!("{batches:?}, in truth {due:?}")
        })?;
        for ((to, batch), (_, due_to, entries)) in batches.into_iter().zip(due) {
            let right = to == due_to && batch.len() == entries.len();
            hold(right, "what waits for a commit goes with it", || {
                format!("{batch:?} for shard {to}, in truth {entries:?} for {due_to}")
            })?;
            let queue = self.between.entry((shard, to)).or_default();
            queue.push_back(Between::Batch(batch, entries));
        }
        self.end_turn(shard)
    }

    /// What shards hold is what is kept, when nothing is under way.
    pub fn compare_kept(&self) {
        let moves = self.between.values().flatten().next().is_some()
            || self.undelivered.values().flatten().next().is_some();
        if let Some(store) = &self.storage.store
            && self.storage.is_quiet()
            && !moves
        {
            store.check(&self.shards, &self.world);
        }
    }

    /// The broker crashes. Of the commits that waited, some were kept all the same. Every connection
    /// is lost, and all that was on its way.
    pub fn crash(&mut self, pick: usize) -> Kept {
        let kept = pick % (self.storage.waiting() + 1);
        let now = self.storage.is_quiet().then(|| self.snapshot());
        let after = self.storage.crash(kept, || now.unwrap_or_default());
        self.wires.iter_mut().for_each(|wire| wire.lose());
        self.clients.iter_mut().for_each(|client| client.crashed());
        self.between.clear();
        self.withheld.clear();
        self.undelivered.clear();
        self.logins.clear();
        self.by_conn.clear();
        self.busy.clear();

        let world = World::new(self.plan.limits.clone(), &self.policy);
        self.world = Arc::new(world);
        let highest = self.storage.store.as_ref().map(|store| store.highest());
        self.shards = shards(self.plan, &self.world, highest);
        if let Some(store) = &mut self.storage.store {
            let grant = |username: &str| self.directory.grant(&self.policy, username);
            store.restore(&self.world, &mut self.shards, grant, self.now);
        }
        self.counted = self.shards.iter().map(Shard::counters).collect();
        self.stranded = self.model.crash(after, Arc::clone(&self.world));
        self.find_sessions()?;
        for shard in 0..self.plan.shards {
            self.model.begin_turn(shard, self.now);
            self.stranded = self
                .model
                .restart(&self.rights, std::mem::take(&mut self.stranded));
            self.end_turn(shard)?;
        }
        Ok(())
    }

    /// Every session that the model has is there again, and no other.
    fn find_sessions(&mut self) -> Kept {
        let held = self.shards.iter().flat_map(Shard::sessions);
        let held: Vec<_> = held
            .map(|session| (session.key.clone(), session.address))
            .collect();
        for session in &mut self.model.sessions {
            let who = session.who;
            let (username, id) = (&self.plan.person(who).username, self.plan.client_id(who));
            let found = held
                .iter()
                .find(|(key, _)| *key.username == **username && *key.client_id == *id);
            hold(found.is_some(), "sessions outlive a crash", || {
                format!("that of {} is gone: {session:?}", self.plan.name(who))
            })?;
            if let Some((_, address)) = found {
                (session.shard, session.address) = (address.shard, Some(*address));
            }
        }
        let count = self.model.sessions.len();
        hold(held.len() == count, "sessions outlive a crash", || {
            format!("{held:?}, in truth {:?}", self.model.sessions)
        })
    }
}
