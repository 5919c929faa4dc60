//! A cluster in memory: real shards over one world, a clock that the test owns, and clients that
//! speak real packets. For the broker's tests and the simulation; nothing here knows a socket.
//!
//! ```ignore
//! let cluster = Cluster::new(2);
//! let alice = cluster.connect(0, client("alice@alpha").v5());
//! let bob = cluster.connect(1, client("bob@alpha").v311());
//! bob.subscribe("a/+", QOS_1);
//! alice.publish("a/b", "hello");
//! assert_eq!(bob.heard(), ["a/b hello"]);
//! ```
//!
//! After every step the cluster is run until nothing moves, but for what a test holds back:
//! logins ([`Cluster::hold_logins`]), what passes between shards ([`Cluster::hold_between`]), and
//! bytes for a client that does not read ([`Client::stop_reading`]).
//!
//! `net` carries bytes and effects, `client` is one client's end, `hello` says who connects and
//! how, `directory` knows who there is, `oracle` answers what shards ask, `random` makes up what happens next.

#![allow(dead_code, unused_imports)] // each test takes what it needs

mod client;
mod directory;
mod hello;
mod net;
mod oracle;
mod random;
mod store;

use std::cell::{Ref, RefCell, RefMut};
use std::rc::Rc;
use std::sync::Arc;

pub use client::{Client, options};
pub use directory::{Directory, PASSWORD, RIDDLE};
pub use hello::{Hello, anonymous, client, device, instance, platform};
pub use net::{Between, HeldLogin};
pub use oracle::{HeldQuestion, MISSING, NO, OWN, YES, as_text, is_publish};
pub use random::Random;

use cofferdam::broker::{Counters, Drop, Event, EventKind, Page, Review, Shard, Verdict, Wanted};
use cofferdam::limits::Limits;
use cofferdam::policy::{Grant, Policy, TeamId};
use cofferdam::session::Session;
use cofferdam::team::{Reports, Team, World};
use cofferdam::time::{Span, Time};
use cofferdam::wire::QoS;
use net::Net;

/// At most once.
pub const QOS_0: QoS = QoS::AtMostOnce;
/// At least once.
pub const QOS_1: QoS = QoS::AtLeastOnce;
/// Exactly once.
pub const QOS_2: QoS = QoS::ExactlyOnce;

/// No bytes at all.
pub const NOTHING: [u8; 0] = [];

/// Shards, the world that they share, and the clients between them.
pub struct Cluster {
    net: Rc<RefCell<Net>>,
}

impl Cluster {
    /// `count` shards with the default limits, the built-in policy and [`Directory::demo`].
    pub fn new(count: u16) -> Self {
        Self::limited(count, Limits::default())
    }

    /// The same under other limits.
    pub fn limited(count: u16, limits: Limits) -> Self {
        let policy = Policy::flowfuse().unwrap_or_else(|error| panic!("{error}"));
        Self::with_policy(count, limits, policy)
    }

    /// The same under another policy.
    pub fn with_policy(count: u16, limits: Limits, policy: Policy) -> Self {
        let net = Net::new(count, limits, Arc::new(policy), |world| world);
        let net = Rc::new(RefCell::new(net));
        Self { net }
    }

    /// The default limits, but for what comes by the listener `name`.
    pub fn with_listener(count: u16, name: &str, limits: Limits) -> Self {
        let policy = Policy::flowfuse().unwrap_or_else(|error| panic!("{error}"));
        let name: Arc<str> = Arc::from(name);
        let net = Net::new(count, Limits::default(), Arc::new(policy), move |world| {
            world.with_listener(&name, limits.clone())
        });
        let net = Rc::new(RefCell::new(net));
        Self { net }
    }

    /// The default limits, and topics that are reported.
    pub fn reporting(count: u16, reports: Reports) -> Self {
        let policy = Policy::flowfuse().unwrap_or_else(|error| panic!("{error}"));
        let net = Net::new(count, Limits::default(), Arc::new(policy), move |world| {
            world.with_reports(reports.clone())
        });
        let net = Rc::new(RefCell::new(net));
        Self { net }
    }

    /// A client that has logged in; its CONNACK is read and was a success.
    #[track_caller]
    pub fn connect(&self, shard: u16, hello: Hello) -> Client {
        let client = self.dial(shard, hello);
        let connack = client.connack();
        assert_eq!(connack.code, 0, "refused: {connack:?}");
        client
    }

    /// A client that has sent its CONNECT, whatever came of it.
    pub fn dial(&self, shard: u16, hello: Hello) -> Client {
        let client = self.open(shard, &hello);
        client.send(hello.connect.encode());
        client
    }

    /// A client that has sent nothing; of `hello` only the listener and the version count.
    pub fn open(&self, shard: u16, hello: &Hello) -> Client {
        let wire = self
            .net
            .borrow_mut()
            .open(shard, hello)
            .expect("room for a connection");
        Client::new(Rc::clone(&self.net), wire)
    }

    /// Tries to open a connection; `false`: there are as many as there may be.
    pub fn has_room(&self, shard: u16, hello: &Hello) -> bool {
        self.net.borrow_mut().open(shard, hello).is_some()
    }

    /// The time now.
    pub fn now(&self) -> Time {
        self.net.borrow().now
    }

    /// Lets time pass. Every timer that falls due on the way fires at its own time.
    pub fn pass(&self, span: Span) {
        self.net.borrow_mut().pass(span);
    }

    /// Lets seconds pass.
    pub fn pass_secs(&self, secs: u64) {
        self.pass(Span::from_secs(secs));
    }

    /// From now on logins wait for [`answer`](Self::answer).
    pub fn hold_logins(&self) {
        self.net.borrow_mut().hold_logins = true;
    }

    /// From now on logins are judged at once again; those that wait are forgotten.
    pub fn release_logins(&self) {
        let mut net = self.net.borrow_mut();
        net.hold_logins = false;
        net.logins.clear();
    }

    /// The longest-waiting login.
    pub fn next_login(&self) -> Option<HeldLogin> {
        self.net.borrow_mut().logins.pop_front()
    }

    /// What the directory says of a login.
    pub fn judge(&self, login: &HeldLogin) -> Verdict {
        self.net.borrow().judge(&login.login)
    }

    /// The verdict on a login that was held.
    pub fn answer(&self, login: &HeldLogin, verdict: Verdict) {
        let mut net = self.net.borrow_mut();
        let now = net.now;
        net.shards[usize::from(login.shard)].judged(login.login.conn, verdict, now);
        net.run();
    }

    /// From now on what one shard has for another waits for [`deliver_between`](Self::deliver_between)
    /// or [`release_between`](Self::release_between).
    pub fn hold_between(&self) {
        self.net.borrow_mut().hold_between = true;
    }

    /// The pairs of shards, from and to, between which something waits.
    pub fn waiting_between(&self) -> Vec<(u16, u16)> {
        let net = self.net.borrow();
        let waiting = net.between.iter().filter(|(_, queue)| !queue.is_empty());
        waiting.map(|(pair, _)| *pair).collect()
    }

    /// Delivers the oldest thing that waits between two shards.
    pub fn deliver_between(&self, from: u16, to: u16) {
        let mut net = self.net.borrow_mut();
        net.deliver_between(from, to);
        net.run();
    }

    /// Hands over all that waits between shards; it is served when the shards have their turn.
    pub fn hand_over_between(&self) {
        let pairs = self.waiting_between();
        let mut net = self.net.borrow_mut();
        for (from, to) in pairs {
            while net
                .between
                .get(&(from, to))
                .is_some_and(|queue| !queue.is_empty())
            {
                net.deliver_between(from, to);
            }
        }
    }

    /// Holds back no longer what passes between shards, and delivers what waited.
    pub fn release_between(&self) {
        let mut net = self.net.borrow_mut();
        net.hold_between = false;
        net.run();
    }

    /// Runs one turn only: everybody is read once and written to once. Says whether anything moved.
    pub fn turn(&self) -> bool {
        self.net.borrow_mut().turn()
    }

    /// Runs until nothing moves.
    pub fn run(&self) {
        self.net.borrow_mut().run();
    }

    /// Deliveries in each batch that waits between two shards.
    pub fn batches_between(&self, from: u16, to: u16) -> Vec<usize> {
        let net = self.net.borrow();
        let queue = net.between.get(&(from, to)).into_iter().flatten();
        let length = |between: &Between| match between {
            Between::Batch(batch) => Some(batch.len()),
            Between::Migrant(..) => None,
        };
        queue.filter_map(length).collect()
    }

    /// Turns of the shards so far in which something moved.
    pub fn turns(&self) -> u64 {
        self.net.borrow().turns
    }

    /// What went on record since the last call.
    pub fn events(&self) -> Vec<Event> {
        std::mem::take(&mut self.net.borrow_mut().events)
    }

    /// What went on record since the last call, without by whom and when.
    pub fn record(&self) -> Vec<EventKind> {
        self.events().into_iter().map(|event| event.kind).collect()
    }

    /// Puts another policy in force; counts for logins from now on. Its namespace is the same.
    pub fn set_policy(&self, policy: Policy) {
        self.net.borrow_mut().policy = Arc::new(policy);
    }

    /// Something has changed: every shard goes through those whom it concerns.
    pub fn review(&self, review: Review) {
        let review = Arc::new(review);
        let count = self.net.borrow().shards.len() as u16;
        for shard in 0..count {
            self.hand_review(shard, &review);
        }
        self.run();
    }

    /// Hands a review to one shard, which begins with it in its next turn.
    pub fn hand_review(&self, shard: u16, review: &Arc<Review>) {
        let mut net = self.net.borrow_mut();
        let now = net.now;
        net.shards[usize::from(shard)].review(Arc::clone(review), now);
    }

    /// The grant that a login of this username would get now.
    pub fn grant(&self, username: &str) -> Arc<Grant> {
        let net = self.net.borrow();
        Arc::new(net.directory.grant(&net.policy, username))
    }

    /// Changes who there is and what they may do; counts for logins from now on, and for those who
    /// are in with a [`review`](Self::review).
    pub fn directory(&self) -> RefMut<'_, Directory> {
        RefMut::map(self.net.borrow_mut(), |net| &mut net.directory)
    }

    /// What all shards share.
    pub fn world(&self) -> Arc<World> {
        Arc::clone(&self.net.borrow().world)
    }

    /// A team that someone has connected to.
    pub fn team(&self, id: &str) -> Arc<Team> {
        let world = self.world();
        let id = TeamId::new(id).expect("a team id");
        let root = world.namespace().root(&id);
        world.team(&id, &root)
    }

    /// One shard's counters.
    pub fn counters(&self, shard: u16) -> Counters {
        self.net.borrow().shards[usize::from(shard)].counters()
    }

    /// Messages dropped for one reason, on all shards.
    pub fn dropped(&self, why: Drop) -> u64 {
        let net = self.net.borrow();
        let shards = net.shards.iter();
        shards
            .map(|shard| shard.counters().dropped[why as usize])
            .sum()
    }

    /// Looks at every session.
    pub fn each_session(&self, look: impl FnMut(&Session)) {
        let net = self.net.borrow();
        net.shards.iter().flat_map(Shard::sessions).for_each(look);
    }

    /// Sessions on all shards.
    pub fn sessions(&self) -> u64 {
        let net = self.net.borrow();
        net.shards
            .iter()
            .map(|shard| shard.counters().sessions)
            .sum()
    }

    /// Connections on all shards, logged in or not.
    pub fn connections(&self) -> u64 {
        let net = self.net.borrow();
        let shards = net.shards.iter();
        shards.map(|shard| shard.counters().connections).sum()
    }

    /// A page of what stands on a shard.
    pub fn survey(&self, shard: u16, from: u32, wanted: &Wanted) -> Page {
        self.net.borrow().shards[usize::from(shard)].survey(from, wanted)
    }

    /// Every shard observes a policy from now on, or none.
    pub fn observe(&self, policy: Option<Policy>) {
        let policy = policy.map(Arc::new);
        for shard in &mut self.net.borrow_mut().shards {
            shard.observe(policy.clone());
        }
    }

    /// From now on what is stated waits to be kept for [`keep_one`](Self::keep_one) or
    /// [`release_journal`](Self::release_journal).
    pub fn hold_journal(&self) {
        self.net.borrow_mut().store.hold = true;
    }

    /// Commits that wait, and of which shards.
    pub fn waiting_commits(&self) -> Vec<u16> {
        let net = self.net.borrow();
        net.store.waiting.iter().map(|(shard, _)| *shard).collect()
    }

    /// Of each commit that waits, whether it is to be synced, and whether somebody waits for less.
    pub fn waiting_syncs(&self) -> Vec<(bool, bool)> {
        let net = self.net.borrow();
        let waiting = net.store.waiting.iter();
        waiting.map(|(_, it)| (it.sync, it.hasty)).collect()
    }

    /// The system has every commit that waits, and none is synced.
    pub fn write_waiting(&self) {
        let mut net = self.net.borrow_mut();
        net.write_waiting();
        net.run();
    }

    /// Keeps the commit that has waited longest.
    pub fn keep_one(&self) {
        let mut net = self.net.borrow_mut();
        net.keep_one();
        net.run();
    }

    /// Holds back no longer what is stated, and keeps what waited.
    pub fn release_journal(&self) {
        let mut net = self.net.borrow_mut();
        net.store.hold = false;
        while !net.store.waiting.is_empty() {
            net.keep_one();
        }
        net.run();
    }

    /// The journal takes no more, or does again.
    pub fn set_full(&self, is_full: bool) {
        for shard in &mut self.net.borrow_mut().shards {
            shard.set_full(is_full);
        }
    }

    /// The broker crashes and starts again, with as many shards, from what was kept. Every line is
    /// cut; what was not kept, or was between shards, is lost.
    pub fn crash(&self, count: u16) {
        self.net.borrow_mut().crash(count);
    }

    /// The broker stops.
    pub fn stop(&self) {
        let mut net = self.net.borrow_mut();
        let now = net.now;
        for shard in &mut net.shards {
            shard.stop(now);
        }
        net.run();
    }
}
