//! A team's limits in force, and what of them is used: for all shards at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use hashbrown::HashMap;
use parking_lot::Mutex;

use crate::limits::{Bucket, Durability, Limit, Limits, SharedBucket, Spent, TeamLimits};
use crate::time::Time;

/// A team's limits, and what is used of them.
#[derive(Debug, Default)]
pub struct Bounds {
    limits: ArcSwap<TeamLimits>,
    /// Counts changes of `limits`.
    generation: AtomicU32,
    /// What they leave of the limits of the listeners, by listener; few.
    narrowed: Mutex<Vec<(Arc<Limits>, Arc<Limits>)>>,
    /// PUBLISH packets.
    pub messages: SharedBucket,
    /// Bytes of PUBLISH packets.
    pub bytes: SharedBucket,
    connects: SharedBucket,
    users: Mutex<Users>,
    /// What waits in the queues of its sessions.
    pub queued: Arc<QueuedBytes>,
    hits: [AtomicU64; Limit::ALL.len()],
}

/// Bytes in the queues of all sessions of a team.
#[derive(Debug)]
pub struct QueuedBytes {
    bytes: AtomicU64,
    most: AtomicU64,
}

/// The usernames of a team that are connected, or were a moment ago.
#[derive(Debug, Default)]
struct Users {
    by_name: HashMap<Arc<str>, User, foldhash::fast::RandomState>,
    connections: u32,
}

#[derive(Debug, Default)]
struct User {
    connections: u32,
    connects: Bucket,
    /// What its sessions have spent that were over a rate or have lost their connection, and under
    /// which generation of the limits.
    spent: (u32, Spent),
}

/// Usernames kept beside those that are connected before the others are looked through.
const SPARE_USERS: usize = 1024;

impl Default for QueuedBytes {
    fn default() -> Self {
        Self {
            bytes: AtomicU64::new(0),
            most: AtomicU64::new(TeamLimits::default().max_queued_bytes),
        }
    }
}

impl QueuedBytes {
    /// Bytes now.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Adds so many, unless they would pass the limit.
    pub fn add(&self, bytes: u64) -> bool {
        let (most, order) = (self.most.load(Ordering::Relaxed), Ordering::Relaxed);
        let added = self.bytes.fetch_update(order, order, |there| {
            let sum = there.saturating_add(bytes);
            (sum <= most).then_some(sum)
        });
        added.is_ok()
    }

    /// Adds so many that were there before a crash, whatever the limit is now.
    pub fn restore(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Takes off so many that were added.
    pub fn remove(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Bounds {
    /// The limits in force.
    pub fn limits(&self) -> Arc<TeamLimits> {
        self.limits.load_full()
    }

    /// What an acknowledgement is worth now.
    pub fn durability(&self) -> Durability {
        self.limits.load().durability
    }

    /// Counts how often they have changed.
    pub fn generation(&self) -> u32 {
        self.generation.load(Ordering::Acquire)
    }

    /// Puts other limits in force, at once and for everybody who is there.
    pub(super) fn set(&self, limits: Arc<TeamLimits>) {
        if **self.limits.load() == *limits {
            return;
        }
        let most = limits.max_queued_bytes;
        self.limits.store(limits);
        self.queued.most.store(most, Ordering::Relaxed);
        self.messages.refill();
        self.bytes.refill();
        self.connects.refill();
        self.narrowed.lock().clear();
        // Last: who sees the new count finds the rest.
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// What they leave of a listener's limits.
    pub fn narrow(&self, listener: &Arc<Limits>) -> Arc<Limits> {
        let limits = self.limits.load();
        let mut narrowed = self.narrowed.lock();
        if let Some((_, known)) = narrowed.iter().find(|(of, _)| Arc::ptr_eq(of, listener)) {
            return Arc::clone(known);
        }
        let made = limits.narrow(listener);
        let made = match made == **listener {
            true => Arc::clone(listener),
            false => Arc::new(made),
        };
        narrowed.push((Arc::clone(listener), Arc::clone(&made)));
        made
    }

    /// A login under this name that is good so far.
    ///
    /// # Errors
    /// The rate that it is over.
    pub fn log_in(&self, username: &Arc<str>, now: Time) -> Result<(), Limit> {
        let limits = self.limits.load();
        if let Some(rate) = limits.client.connect_rate {
            let mut users = self.users.lock();
            users.make_room(now);
            let user = users.by_name.entry(Arc::clone(username)).or_default();
            if !user.connects.try_take(rate, now) {
                return Err(self.hit(Limit::ClientConnectRate));
            }
        }
        match limits.connect_rate {
            Some(rate) if !self.connects.try_take(rate, now) => Err(self.hit(Limit::ConnectRate)),
            _ => Ok(()),
        }
    }

    /// A connection under this name takes its place, which it [`leave`](Self::leave)s in the end.
    ///
    /// # Errors
    /// The limit that keeps it out.
    pub fn enter(&self, username: &Arc<str>, now: Time) -> Result<(), Limit> {
        let limits = self.limits.load();
        let mut users = self.users.lock();
        if users.connections >= limits.max_connections {
            return Err(self.hit(Limit::Connections));
        }
        users.make_room(now);
        let user = users.by_name.entry(Arc::clone(username)).or_default();
        if user.connections >= limits.client.max_connections {
            return Err(self.hit(Limit::ClientConnections));
        }
        user.connections += 1;
        users.connections += 1;
        Ok(())
    }

    /// A connection under this name has ended.
    pub fn leave(&self, username: &str, now: Time) {
        let mut users = self.users.lock();
        users.connections = users.connections.saturating_sub(1);
        if let Some(user) = users.by_name.get_mut(username) {
            user.connections = user.connections.saturating_sub(1);
            if !user.is_needed(now) {
                users.by_name.remove(username);
            }
        }
    }

    /// A session of somebody connected under this name has spent so much, under this generation of
    /// the limits.
    pub fn note_spent(&self, username: &str, generation: u32, spent: Spent, now: Time) {
        if spent.is_paid(now) {
            return;
        }
        let mut users = self.users.lock();
        if let Some(user) = users.by_name.get_mut(username) {
            user.spent = match user.spent.0 == generation {
                true => (generation, user.spent.1.or_more(spent)),
                false => (generation, spent),
            };
        }
    }

    /// What sessions under this name have spent that another would begin with.
    pub fn spent(&self, username: &str, generation: u32) -> Spent {
        let users = self.users.lock();
        let user = users.by_name.get(username);
        let spent = user.map(|user| user.spent);
        let (_, spent) = spent
            .filter(|(of, _)| *of == generation)
            .unwrap_or_default();
        spent
    }

    /// Counts that a limit was hit.
    pub fn hit(&self, limit: Limit) -> Limit {
        self.hits[limit as usize].fetch_add(1, Ordering::Relaxed);
        limit
    }

    /// How often each limit was hit; those that never were are left out.
    pub fn hits(&self) -> impl Iterator<Item = (Limit, u64)> {
        let counts = Limit::ALL.into_iter().zip(&self.hits);
        counts
            .map(|(limit, count)| (limit, count.load(Ordering::Relaxed)))
            .filter(|(_, count)| *count > 0)
    }
}

impl User {
    /// Whether it differs from a new one.
    const fn is_needed(&self, now: Time) -> bool {
        self.connections > 0 || !self.connects.is_full(now) || !self.spent.1.is_paid(now)
    }
}

impl Users {
    /// Forgets names that nobody is connected under and whose rate is as for a new one, once they can
    /// be many.
    fn make_room(&mut self, now: Time) {
        if self.by_name.len() > 2 * self.connections as usize + SPARE_USERS {
            self.by_name.retain(|_, user| user.is_needed(now));
        }
    }
}
