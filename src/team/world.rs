//! All compartments: the teams, and the commons between them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use dashmap::DashMap;
use parking_lot::RwLock;

use super::bounds::Bounds;
use super::message::Message;
use super::registry::Registry;
use super::registry::SessionAddress;
use super::retained::{Retained, RetainedFull};
use super::routes::{Group, Matched, Member, Route, Routes};
use super::transit::Transit;
use crate::limits::{Durability, Limit, Limits, TeamLimits};
use crate::policy::{Namespace, Policy, TeamId};
use crate::time::{Span, Time};
use crate::topic::TopicName;

/// One compartment: a team, or the commons.
#[derive(Debug)]
pub struct Team {
    id: Option<TeamId>,
    number: u32,
    root: Arc<str>,
    routes: RwLock<Routes>,
    /// Counts changes of `routes`; what was matched under an older count is matched anew.
    generation: AtomicU64,
    retained: RwLock<Retained>,
    /// Counts what is said of retained messages, of all teams.
    versions: Arc<AtomicU64>,
    /// Who holds which session.
    pub registry: Registry,
    /// Connections that are logged in.
    pub connections: AtomicI64,
    /// Subscriptions of its sessions that stand in the commons.
    in_commons: AtomicU32,
    /// Its deliveries between shards.
    pub transit: Transit,
    /// Its limits, and what is used of them.
    pub bounds: Bounds,
    /// The number of the last review that removes it; 0: none does.
    removed_by: AtomicU64,
}

/// Topics that the platform is to hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reports {
    /// What their names begin with behind a team's root, such as `c/`.
    pub subtrees: Arc<[Box<str>]>,
    /// When one that is in use is to be heard of again.
    pub every: Span,
}

/// All compartments of one broker, shared by its shards.
#[derive(Debug)]
pub struct World {
    teams: DashMap<TeamId, Arc<Team>, foldhash::fast::RandomState>,
    commons: Arc<Team>,
    /// The number of the team made last.
    last_number: AtomicU32,
    /// Teams with deliveries between shards.
    in_transit: Arc<AtomicUsize>,
    /// Counts what is said of retained messages.
    versions: Arc<AtomicU64>,
    entitlements: ArcSwap<Entitlements>,
    /// The limits in force, where the listener has none of its own.
    pub limits: Arc<Limits>,
    listeners: HashMap<Arc<str>, Arc<Limits>>,
    /// `None`: nobody wants to hear of topics.
    pub reports: Option<Reports>,
    namespace: Arc<Namespace>,
}

/// What each team may have and do.
#[derive(Clone, Debug, Default)]
pub struct Entitlements {
    /// Of a team that is not named.
    pub default: Arc<TeamLimits>,
    /// Of those that are.
    pub teams: HashMap<TeamId, Arc<TeamLimits>>,
}

impl Entitlements {
    /// The strictest that any team is promised.
    fn strictest(&self) -> Durability {
        let named = self.teams.values().map(|it| it.durability);
        named.fold(self.default.durability, Durability::max)
    }

    /// Of this team.
    pub fn of(&self, team: &TeamId) -> Arc<TeamLimits> {
        Arc::clone(self.teams.get(team).unwrap_or(&self.default))
    }
}

/// The number of the commons.
const COMMONS: u32 = 1;

impl Team {
    fn new(
        id: Option<TeamId>,
        number: u32,
        root: Arc<str>,
        crowd: &Arc<AtomicUsize>,
        versions: &Arc<AtomicU64>,
    ) -> Self {
        Self {
            id,
            number,
            routes: RwLock::new(Routes::under(&root)),
            root,
            generation: AtomicU64::new(0),
            retained: RwLock::default(),
            versions: Arc::clone(versions),
            registry: Registry::default(),
            connections: AtomicI64::new(0),
            in_commons: AtomicU32::new(0),
            transit: Transit::among(crowd),
            bounds: Bounds::default(),
            removed_by: AtomicU64::new(0),
        }
    }

    /// Whether it is being removed: then nobody comes in, and once everybody is out it goes.
    pub fn is_closed(&self) -> bool {
        self.removed_by.load(Ordering::Acquire) > 0
    }

    /// `None` for the commons.
    pub const fn id(&self) -> Option<&TeamId> {
        self.id.as_ref()
    }

    /// Counts the compartments from 1, which is the commons': a small number to find things by.
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// What all its topics begin with; empty for the commons.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// Adds or replaces a subscription; `filter` begins with the root.
    pub fn subscribe(&self, filter: &Arc<str>, route: Route) {
        debug_assert!(filter.starts_with(&*self.root));
        self.change_routes(|routes| routes.subscribe(filter, route));
    }

    /// Adds or replaces a member of a share group.
    pub fn join(&self, filter: &Arc<str>, group: &Arc<str>, member: Member) {
        debug_assert!(filter.starts_with(&*self.root));
        self.change_routes(|routes| routes.join(filter, group, member));
    }

    /// Removes a subscription.
    pub fn unsubscribe(&self, filter: &str, group: Option<&str>, session: SessionAddress) {
        self.change_routes(|routes| match group {
            Some(group) => routes.leave(filter, group, session),
            None => routes.unsubscribe(filter, session),
        });
    }

    /// Removes all subscriptions of a session that ends, in one change.
    pub fn unsubscribe_all<'f>(
        &self,
        filters: impl Iterator<Item = (&'f str, Option<&'f str>)>,
        session: SessionAddress,
    ) {
        self.change_routes(|routes| {
            for (filter, group) in filters {
                match group {
                    Some(group) => routes.leave(filter, group, session),
                    None => routes.unsubscribe(filter, session),
                }
            }
        });
    }

    fn change_routes(&self, change: impl FnOnce(&mut Routes)) {
        let mut routes = self.routes.write();
        change(&mut routes);
        // Still under the lock: whoever reads the new count and then matches sees the change.
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Counts changes of the routes.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Adds to `matched` whoever of this compartment is to have the topic's messages.
    pub(super) fn matches(&self, topic: &str, matched: &mut Matched) {
        self.routes.read().matches(topic, matched);
    }

    /// A share group.
    pub fn group(&self, filter: &str, name: &str) -> Option<Arc<Group>> {
        self.routes.read().group(filter, name)
    }

    /// What an acknowledgement to its clients is worth.
    pub fn durability(&self) -> Durability {
        self.bounds.durability()
    }

    /// Puts other limits in force, at once.
    pub fn set_limits(&self, limits: Arc<TeamLimits>) {
        self.bounds.set(limits);
    }

    /// Number of subscriptions that stand here.
    pub fn subscriptions(&self) -> usize {
        self.routes.read().len()
    }

    /// Number of subscriptions of its own sessions: those that stand here, and those among topics that
    /// belong to no team.
    pub fn own_subscriptions(&self) -> usize {
        self.subscriptions() + self.in_commons.load(Ordering::Relaxed) as usize
    }

    /// One of its sessions has so many more subscriptions in the commons.
    pub fn subscribed_in_commons(&self, count: u32) {
        self.in_commons.fetch_add(count, Ordering::Relaxed);
    }

    /// One of its sessions has so many less.
    pub fn unsubscribed_in_commons(&self, count: u32) {
        self.in_commons.fetch_sub(count, Ordering::Relaxed);
    }

    /// Places held in the trie of filters.
    pub fn nodes(&self) -> usize {
        self.routes.read().nodes()
    }

    /// The retained messages, to read.
    pub fn with_retained<T>(&self, read: impl FnOnce(&Retained) -> T) -> T {
        read(&self.retained.read())
    }

    /// Clears up to `count` retained messages, whichever. Returns them, and the version in which
    /// they are gone.
    pub fn clear_retained(&self, count: usize) -> (Vec<Arc<Message>>, u64) {
        let cleared = self.retained.write().clear_some(count);
        (cleared, self.next_version())
    }

    fn next_version(&self) -> u64 {
        self.versions.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Puts back a retained message that was kept beyond a crash.
    pub fn restore_retained(&self, message: Arc<Message>, version: u64) {
        self.versions.fetch_max(version, Ordering::AcqRel);
        self.retained.write().restore(message);
    }

    /// Clears a retained message that has expired, unless another has taken its place.
    pub fn forget_expired(&self, message: &Arc<Message>) {
        self.retained.write().clear_if(message);
    }

    /// Retains a message; one without a payload clears the topic's `[MQTT-3.3.1-6]`.
    ///
    /// # Errors
    /// [`RetainedFull`]: a limit of the team.
    pub fn retain(
        &self,
        message: &Arc<Message>,
        limits: &Limits,
        now: Time,
    ) -> Result<u64, RetainedFull> {
        let mut retained = self.retained.write();
        if message.view().payload.is_empty() {
            retained.clear(message.topic());
            return Ok(self.next_version());
        }
        let own = self.bounds.limits();
        let max = limits.max_retained_messages.min(own.max_retained_messages);
        let max_bytes = limits.max_retained_bytes.min(own.max_retained_bytes);
        let kept = retained.set(Arc::clone(message), max, max_bytes, now);
        if kept.is_err() {
            self.bounds.hit(Limit::Retained);
        }
        kept?;
        Ok(self.next_version())
    }
}

impl World {
    /// No teams yet.
    pub fn new(limits: Limits, policy: &Policy) -> Self {
        let in_transit = Arc::default();
        let versions = Arc::default();
        let commons = Arc::new(Team::new(
            None,
            COMMONS,
            Arc::from(""),
            &in_transit,
            &versions,
        ));
        Self {
            teams: DashMap::default(),
            commons,
            last_number: AtomicU32::new(COMMONS),
            in_transit,
            versions,
            entitlements: ArcSwap::default(),
            limits: Arc::new(limits),
            listeners: HashMap::new(),
            reports: None,
            namespace: Arc::clone(policy.namespace()),
        }
    }

    /// The same world, with limits of its own for what comes by this listener.
    pub fn with_listener(mut self, name: &Arc<str>, limits: Limits) -> Self {
        self.listeners.insert(Arc::clone(name), Arc::new(limits));
        self
    }

    /// The same world, with topics that are reported.
    pub fn with_reports(mut self, reports: Reports) -> Self {
        self.reports = Some(reports);
        self
    }

    /// The limits for what comes by this listener.
    pub fn limits_of(&self, listener: &str) -> &Arc<Limits> {
        self.listeners.get(listener).unwrap_or(&self.limits)
    }

    /// Whose topic is whose.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The team, made on first use. `root` is its subtree by the policy's namespace.
    pub fn team(&self, id: &TeamId, root: &str) -> Arc<Team> {
        if let Some(team) = self.teams.get(id) {
            return Arc::clone(&team);
        }
        let new = || {
            let number = self.last_number.fetch_add(1, Ordering::Relaxed) + 1;
            let team = Team::new(
                Some(id.clone()),
                number,
                Arc::from(root),
                &self.in_transit,
                &self.versions,
            );
            // Whoever replaces them from now on finds the team.
            team.set_limits(self.entitlements.load().of(id));
            Arc::new(team)
        };
        Arc::clone(&self.teams.entry(id.clone()).or_insert_with(new))
    }

    /// Puts the limits of all teams in force, of those that are there at once.
    pub fn entitle(&self, entitlements: Entitlements) {
        self.entitlements.store(Arc::new(entitlements));
        let entitlements = self.entitlements.load();
        for team in &self.teams {
            team.set_limits(entitlements.of(team.key()));
        }
        self.commons.set_limits(Arc::new(TeamLimits {
            durability: entitlements.default.durability,
            ..TeamLimits::default()
        }));
    }

    /// The strictest that any team is promised.
    pub fn strictest(&self) -> Durability {
        let entitlements = self.entitlements.load();
        entitlements.strictest()
    }

    /// The team, where there is one.
    pub fn find(&self, id: &TeamId) -> Option<Arc<Team>> {
        self.teams.get(id).map(|team| Arc::clone(&team))
    }

    /// The team is removed by the review of this number (from 1): nobody comes in any more. Where
    /// there is none it is made, closed, so that there is no other before [`forget`](Self::forget).
    pub fn close(&self, id: &TeamId, review: u64) {
        let team = self.team(id, &self.namespace.root(id));
        team.removed_by.fetch_max(review, Ordering::AcqRel);
    }

    /// Every shard is through with this review: a team that it closed goes, unless a later one has
    /// closed it too. The next team of its id begins with nothing.
    pub fn forget(&self, team: &Arc<Team>, review: u64) {
        if let Some(id) = team.id() {
            self.teams.remove_if(id, |_, known| {
                Arc::ptr_eq(known, team) && known.removed_by.load(Ordering::Acquire) == review
            });
        }
    }

    /// The compartment of principals that span teams and of topics that belong to none: for who
    /// counts what there is. Whoever routes asks what `commons.rs` has for it.
    pub const fn commons(&self) -> &Arc<Team> {
        &self.commons
    }

    /// What is said of retained messages from now on counts from here.
    pub fn restore_versions(&self, last: u64) {
        self.versions.fetch_max(last, Ordering::AcqRel);
    }

    /// Puts back a retained message that was kept beyond a crash, where its topic is somebody's.
    pub fn restore_retained(&self, message: Arc<Message>, version: u64) {
        let name = TopicName::parse(message.topic(), u16::MAX, u16::MAX);
        let owner = name.ok().and_then(|name| self.owner(&self.commons, name));
        if let Some(owner) = owner {
            owner.restore_retained(message, version);
        }
    }

    /// All teams there are now, the commons not among them.
    pub fn teams(&self) -> Vec<Arc<Team>> {
        self.teams.iter().map(|team| Arc::clone(&team)).collect()
    }
}
