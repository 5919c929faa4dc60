//! A whole cluster against the reference: everybody of a random world is connected, subscribes and
//! publishes, while policy, members, owners and patterns change under them. Who gets which message,
//! by which subscription, is what the text of the policy gives.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use toml::Table;

use super::grants::put_on_record;
use super::reference::{Reference, Ruling};
use super::universe::{Universe, matches};
use super::world::{self, ASKED_GROUPS, PolicyText, Record, TEAMS};
use crate::cluster::*;
use cofferdam::broker::{Change, ChangeKind, Review, Standing, TeamStanding};
use cofferdam::limits::Limits;
use cofferdam::policy::{Grant, Policy, TeamId};
use cofferdam::wire::client::{Property, Publish};
use cofferdam::wire::{ReasonCode, RetainHandling, SubscriptionOptions};

const WORLDS: u64 = 10;
const STEPS: usize = 500;
/// Deliveries that were expected, or expected not to be, in one run at the least.
const DECISIONS_MIN: u64 = 15_000;

/// A subscription: its share group, and its full filter.
type Key = (Option<&'static str>, String);

struct Subscription {
    id: u32,
    checked: bool,
}

/// A client and what the reference knows of it: as of its last login.
struct Life {
    username: String,
    client: Client,
    reference: Reference,
    subscriptions: BTreeMap<Key, Subscription>,
}

/// One copy of a message, by who has it and under which subscription.
type Copy = (String, u32);

struct Run {
    random: Random,
    cluster: Cluster,
    universe: Universe,
    text: PolicyText,
    read: Table,
    record: Record,
    lives: Vec<Life>,
    ids: BTreeMap<Key, u32>,
    decided: u64,
    delivered: u64,
    withheld: u64,
}

fn hello(username: &str) -> Hello {
    client(username).kept(10_000)
}

fn members<'r>(record: &'r Record, username: &str) -> BTreeSet<&'r str> {
    let team = username.split(':').nth(1).unwrap_or_default();
    record.members.get(team).cloned().unwrap_or_default()
}

/// The team in whose compartment a subscription stands; `None`: in the commons.
fn standing<'u>(username: &'u str, filter: &str) -> Option<&'u str> {
    let team = username.split(':').nth(1).filter(|it| TEAMS.contains(it))?;
    filter.starts_with(&format!("n/{team}/")).then_some(team)
}

impl Life {
    /// Whether the client is handed a topic's messages under one of its subscriptions.
    fn takes(&self, key: &Key, topic: &str, record: &Record) -> bool {
        let Subscription { checked, .. } = self.subscriptions[key];
        let mount = self.reference.mount();
        let is_named = topic.starts_with(mount) && topic.len() > mount.len();
        let stands_there = match standing(&self.username, &key.1) {
            // What has no level behind the team's is no team's.
            Some(team) => topic.starts_with(&format!("n/{team}/")),
            None => true,
        };
        let members = members(record, &self.username);
        let permitted = !checked || self.reference.may_receive(topic, &members);
        is_named && stands_there && matches(&key.1, topic) && permitted
    }
}

impl Run {
    fn begin(seed: u64, universe: Universe) -> Self {
        let mut random = Random::new(seed);
        let text = world::policy(&mut random);
        let record = world::record(&mut random);
        let policy = Policy::parse("random.toml", &text.whole()).expect("a policy");
        let cluster = Cluster::with_policy(2, Limits::default(), policy);
        put_on_record(&record, &mut cluster.directory());
        let mut run = Self {
            random,
            read: text.whole().parse().expect("TOML"),
            cluster,
            universe,
            text,
            record,
            lives: Vec::new(),
            ids: BTreeMap::new(),
            decided: 0,
            delivered: 0,
            withheld: 0,
        };
        for username in world::usernames() {
            run.cluster.directory().password(&username, PASSWORD);
            let shard = run.random.below(2) as u16;
            let client = run.cluster.connect(shard, hello(&username));
            run.lives.push(Life {
                reference: Reference::read(&run.read, &username, &run.record),
                client,
                username,
                subscriptions: BTreeMap::new(),
            });
        }
        run
    }

    fn step(&mut self) {
        match self.random.below(24) {
            0..=5 => self.subscribe(),
            6 => self.change(),
            7 => {
                let place = self.random.below(self.lives.len());
                self.log_in_again(place);
            }
            _ => self.publish(),
        }
    }

    fn subscribe(&mut self) {
        let place = self.random.below(self.lives.len());
        let life = &self.lives[place];
        let filter = world::asked_filter(&mut self.random, &life.username);
        let group = *self.random.choose(&ASKED_GROUPS);
        let mount = life.reference.mount();
        let Some(written) = filter.strip_prefix(mount) else {
            return; // it has no name for it
        };
        let written = match group {
            Some(group) => format!("$share/{group}/{written}"),
            None => written.to_owned(),
        };
        let next = self.ids.len() as u32 + 1;
        let key = (group, filter);
        let id = *self.ids.entry(key.clone()).or_insert(next);
        let options = SubscriptionOptions {
            retain_handling: RetainHandling::DoNotSend,
            ..options(QOS_1)
        };
        let with = [Property::SubscriptionId(id)];
        let code = life.client.try_subscribe(&[(&written, options)], &with)[0];
        let members = members(&self.record, &life.username);
        let ruling = life
            .reference
            .subscribe(&key.1, group, &members, &mut self.universe);
        let expected = match ruling {
            Ruling::Deny => ReasonCode::NotAuthorized,
            Ruling::Allow | Ruling::AllowChecked => ReasonCode::GrantedQoS1,
        };
        assert_eq!(code, expected, "{} subscribes to {written}", life.username);
        self.decided += 1;
        if ruling != Ruling::Deny {
            let checked = ruling == Ruling::AllowChecked;
            let subscription = Subscription { id, checked };
            self.lives[place].subscriptions.insert(key, subscription);
        }
    }

    fn publish(&mut self) {
        let keys = self.lives.iter().flat_map(|life| life.subscriptions.keys());
        let keys: Vec<&Key> = keys.collect();
        let mut place = self.random.below(self.lives.len());
        // Mostly what somebody has subscribed to, by somebody who may name it.
        let topic = if keys.is_empty() || self.random.one_in(4) {
            let username = &self.lives[place].username;
            world::asked_topic(&mut self.random, username, self.universe.names())
        } else {
            let key = *self.random.choose(&keys);
            let topic = world::topic_of(&mut self.random, &key.1);
            let near =
                |place: &usize| topic.starts_with(&world::home(&self.lives[*place].username));
            let near: Vec<usize> = (0..self.lives.len()).filter(near).collect();
            if !near.is_empty() {
                place = *self.random.choose(&near);
            }
            topic
        };
        let username = self.lives[place].username.clone();
        let life = &self.lives[place];
        let Some(written) = topic.strip_prefix(life.reference.mount()) else {
            return;
        };
        if written.is_empty() {
            return;
        }
        let members = members(&self.record, &username);
        let allowed = life.reference.publish(&topic, &members);
        let message = Publish {
            qos: QOS_1,
            ..Publish::new(written, b"x")
        };
        let answer = life.client.complete(message);
        assert_eq!(
            answer.is_error(),
            !allowed,
            "{username} publishes to {topic}: {answer:?}"
        );
        self.decided += 1;
        let mut heard = self.heard(&topic);
        if allowed {
            self.compare(&username, &topic, &mut heard);
        }
        assert_eq!(
            heard,
            BTreeMap::new(),
            "{username} publishes to {topic}: nobody else"
        );
    }

    /// Every copy that anyone received since the last look, and how often.
    fn heard(&self, topic: &str) -> BTreeMap<Copy, u32> {
        let mut heard = BTreeMap::new();
        for life in &self.lives {
            assert!(life.client.is_open(), "{} was cut", life.username);
            for message in life.client.messages() {
                let [Property::SubscriptionId(id)] = message.properties[..] else {
                    panic!("one identifier: {message:?}");
                };
                let full = format!("{}{}", life.reference.mount(), message.topic);
                assert_eq!(full, topic, "{}", life.username);
                *heard.entry((life.username.clone(), id)).or_default() += 1;
            }
        }
        heard
    }

    /// Takes what was expected out of what was heard; what is left is too much.
    fn compare(&mut self, publisher: &str, topic: &str, heard: &mut BTreeMap<Copy, u32>) {
        type GroupKey<'a> = (Option<&'a str>, &'a Key);
        let mut groups: BTreeMap<GroupKey<'_>, Vec<(&str, u32)>> = BTreeMap::new();
        let (mut decided, mut delivered, mut withheld) = (0, 0, 0);
        let mut take = |username: &str, id: u32| {
            let copy = (username.to_owned(), id);
            let found = heard.get_mut(&copy)?;
            *found -= 1;
            if *found == 0 {
                heard.remove(&copy);
            }
            Some(())
        };
        for life in &self.lives {
            for (key, subscription) in &life.subscriptions {
                let takes = life.takes(key, topic, &self.record);
                decided += 1;
                withheld += u64::from(matches(&key.1, topic) && !takes);
                match key.0 {
                    _ if !takes => {}
                    Some(_) => {
                        let group = (standing(&life.username, &key.1), key);
                        let member = (&*life.username, subscription.id);
                        groups.entry(group).or_default().push(member);
                    }
                    None => {
                        delivered += 1;
                        let got = take(&life.username, subscription.id);
                        assert!(
                            got.is_some(),
                            "{publisher} publishes to {topic}: {} misses it by {key:?}",
                            life.username
                        );
                    }
                }
            }
        }
        for (group, members) in groups {
            delivered += 1;
            let got = members
                .iter()
                .filter(|(name, id)| take(name, *id).is_some());
            assert_eq!(
                got.count(),
                1,
                "{publisher} publishes to {topic}: one of {group:?}"
            );
        }
        self.decided += decided;
        self.delivered += delivered;
        self.withheld += withheld;
    }

    /// Something changes. Grants that live know of members at once and of nothing else. Half of the
    /// changes are told to the shards, which judge everybody anew whom they concern; of the others
    /// a client learns when it logs in, now or later.
    fn change(&mut self) {
        let random = &mut self.random;
        let mut review = Review::default();
        let mut concerned: Vec<usize> = Vec::new();
        let mut again = false;
        match random.below(4) {
            0 => {
                let (team, _) = world::change_members(random, &mut self.record);
                let id = TeamId::new(team).expect("a team id");
                let change = Change::of(ChangeKind::Members);
                review.team(id, TeamStanding::Members, change);
                concerned = self.those(|username| username.split(':').nth(1) == Some(team));
            }
            1 => {
                let device = *random.choose(&["a", "b"]);
                world::change_owner(random, &mut self.record, device);
                let of_device = |username: &str| {
                    username.starts_with(['r', 'q']) && username.split(':').nth(2) == Some(device)
                };
                concerned = self.those(of_device);
                again = true;
            }
            2 => {
                let name = *random.choose(&["x", "y"]);
                let username = format!("m:{}:{name}", random.choose(&TEAMS));
                let patterns = world::patterns(random);
                self.record.patterns.insert(username.clone(), patterns);
                concerned = self.those(|it| it == username);
                again = true;
            }
            _ => {
                self.text = world::policy(random);
                let policy = Policy::parse("random.toml", &self.text.whole());
                self.cluster.set_policy(policy.expect("a policy"));
                self.read = self.text.whole().parse().expect("TOML");
            }
        }
        put_on_record(&self.record, &mut self.cluster.directory());
        if self.random.one_in(2) {
            for place in 0..self.lives.len() {
                if self.random.one_in(2) {
                    self.log_in_again(place);
                }
            }
            return;
        }
        if concerned.is_empty() {
            let grants = self.lives.iter().map(|life| &life.username);
            let grants: HashMap<String, Arc<Grant>> = grants
                .map(|username| (username.clone(), self.cluster.grant(username)))
                .collect();
            let judge = move |grant: &Arc<Grant>| {
                let username = &*grant.principal().username;
                Standing::Granted(Arc::clone(&grants[username]))
            };
            review.everyone(Arc::new(judge), Change::of(ChangeKind::Policy));
            concerned = self.those(|_| true);
            again = true;
        } else if again {
            for &place in &concerned {
                let username = &self.lives[place].username;
                let grant = self.cluster.grant(username);
                let (team, change) = (grant.team().cloned(), Change::of(ChangeKind::Rights));
                review.principal(
                    team,
                    username.as_str().into(),
                    Standing::Granted(grant),
                    change,
                );
            }
        }
        self.cluster.review(review);
        for place in concerned {
            if again {
                let life = &mut self.lives[place];
                life.reference = Reference::read(&self.read, &life.username, &self.record);
            }
            self.rejudge(place);
        }
    }

    fn those(&self, concerned: impl Fn(&str) -> bool) -> Vec<usize> {
        let lives = self.lives.iter().enumerate();
        lives
            .filter(|(_, life)| concerned(&life.username))
            .map(|(place, _)| place)
            .collect()
    }

    /// Comes back to its session, on any shard, under the rights of now.
    fn log_in_again(&mut self, place: usize) {
        let life = &mut self.lives[place];
        life.client.cut();
        let shard = self.random.below(2) as u16;
        life.client = self.cluster.dial(shard, hello(&life.username));
        let connack = life.client.connack();
        assert!(connack.code == 0 && connack.session_present, "{connack:?}");
        life.reference = Reference::read(&self.read, &life.username, &self.record);
        self.rejudge(place);
    }

    /// What the reference does not grant any more is gone.
    fn rejudge(&mut self, place: usize) {
        let Life {
            username,
            reference,
            subscriptions,
            ..
        } = &mut self.lives[place];
        let members = members(&self.record, username);
        self.decided += subscriptions.len() as u64;
        subscriptions.retain(|(group, filter), subscription| {
            let ruling = reference.subscribe(filter, *group, &members, &mut self.universe);
            subscription.checked = ruling == Ruling::AllowChecked;
            ruling != Ruling::Deny
        });
    }
}

/// Says which world it was when a test fails in it.
struct Seed(u64);

impl std::ops::Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("in the world of COFFERDAM_MODEL_SEED={}", self.0);
        }
    }
}

#[test]
fn everybody_gets_what_the_text_of_the_policy_gives_and_nothing_else() {
    let mut universe = Universe::new();
    let worlds = super::plan(WORLDS);
    let whole = worlds.end - worlds.start >= WORLDS;
    let (mut decided, mut delivered, mut withheld) = (0, 0, 0);
    for seed in worlds {
        let _seed = Seed(seed);
        let mut run = Run::begin(seed, universe);
        for _ in 0..STEPS {
            run.step();
        }
        decided += run.decided;
        delivered += run.delivered;
        withheld += run.withheld;
        universe = run.universe;
    }
    let all = format!("{decided} decisions, {delivered} deliveries, {withheld} withheld");
    let enough = decided >= DECISIONS_MIN && delivered > 1_000 && withheld > 50;
    assert!(enough || !whole, "{all}");
}
