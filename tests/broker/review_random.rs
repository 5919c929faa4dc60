//! Changes at random moments: revoked, made again, given other rights, whole teams removed; while
//! logins are judged, connections move between shards, and each shard hears of a change when it
//! does. When all is said and done, everybody who is in may be in, and may do what is on record now.
//!
//! A failure names its seed; `SEED=n cargo test --test broker review_random` runs that one alone,
//! and `SEEDS=n` the first n.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::cluster::*;
use crate::review::{principal, removed, revoked, team_id};
use cofferdam::broker::{ChangeKind, Review, Standing, Verdict};
use cofferdam::wire::client;

const SHARDS: u16 = 3;
const USERS: [&str; 4] = ["alice@alpha", "bob@alpha", "carol@alpha", "alice@beta"];

/// A world in which changes are on their way.
struct Changing {
    cluster: Cluster,
    random: Random,
    /// What each shard has not heard of yet.
    untold: Vec<VecDeque<Arc<Review>>>,
    /// Judged, and the verdict not given.
    judged: Vec<(HeldLogin, Verdict)>,
    /// The one filter that each user may use, where the user is on record. No two times the same.
    rights: BTreeMap<&'static str, String>,
    names: usize,
    clients: Vec<Client>,
}

impl Changing {
    fn new(seed: u64) -> Self {
        let cluster = Cluster::new(SHARDS);
        cluster.hold_logins();
        cluster.hold_between();
        let mut changing = Self {
            cluster,
            random: Random::new(seed),
            untold: (0..SHARDS).map(|_| VecDeque::new()).collect(),
            judged: Vec::new(),
            rights: BTreeMap::new(),
            names: 0,
            clients: Vec::new(),
        };
        USERS.iter().for_each(|user| changing.put_on_record(user));
        changing
    }

    fn put_on_record(&mut self, user: &'static str) {
        self.names += 1;
        let filter = format!("v{}", self.names);
        let pattern = format!("allow both {filter}");
        self.cluster.directory().client(user, &[&pattern]);
        self.rights.insert(user, filter);
    }

    fn tell(&mut self, review: Review) {
        let review = Arc::new(review);
        for untold in &mut self.untold {
            untold.push_back(Arc::clone(&review));
        }
    }

    fn hear(&mut self, shard: usize) {
        if let Some(review) = self.untold[shard].pop_front() {
            self.cluster.hand_review(shard as u16, &review);
        }
    }

    fn change(&mut self) {
        let user = *self.random.choose(&USERS);
        match self.random.below(6) {
            0 => {
                self.cluster.directory().revoke(user);
                self.rights.remove(user);
                self.tell(revoked(user));
            }
            1 => {
                let gone = USERS.into_iter().filter(|user| user.ends_with("alpha"));
                for user in gone {
                    self.cluster.directory().revoke(user);
                    self.rights.remove(user);
                }
                self.tell(removed("alpha"));
            }
            2 | 3 if self.rights.contains_key(user) => {
                self.put_on_record(user);
                let standing = Standing::Granted(self.cluster.grant(user));
                self.tell(principal(user, standing, ChangeKind::Rights));
            }
            _ if !self.rights.contains_key(user) => self.put_on_record(user),
            _ => {}
        }
    }

    fn step(&mut self) {
        match self.random.below(12) {
            0 | 1 => self.change(),
            2..=4 => {
                let shard = self.random.below(usize::from(SHARDS));
                self.hear(shard);
            }
            5 | 6 => {
                let user = *self.random.choose(&USERS);
                let shard = self.random.below(usize::from(SHARDS)) as u16;
                let client = self.cluster.dial(shard, client_of(user));
                // Sent ahead of CONNACK.
                if let Some(filter) = self.rights.get(user) {
                    let asked = [(filter.as_str(), options(QOS_1))];
                    client.send(client::subscribe(client.version(), 1, &asked, &[]));
                }
                self.clients.push(client);
            }
            7 => {
                if let Some(login) = self.cluster.next_login() {
                    let verdict = self.cluster.judge(&login);
                    self.judged.push((login, verdict));
                }
            }
            8 if !self.judged.is_empty() => {
                let place = self.random.below(self.judged.len());
                let (login, verdict) = self.judged.remove(place);
                self.cluster.answer(&login, verdict);
            }
            9 => {
                let waiting = self.cluster.waiting_between();
                if !waiting.is_empty() {
                    let (from, to) = *self.random.choose(&waiting);
                    self.cluster.deliver_between(from, to);
                }
            }
            10 if !self.clients.is_empty() => {
                let place = self.random.below(self.clients.len());
                self.clients.swap_remove(place).cut();
            }
            _ => {
                self.cluster.turn();
            }
        }
    }

    /// Everybody has heard of everything.
    fn settle(&mut self) {
        while let Some(login) = self.cluster.next_login() {
            let verdict = self.cluster.judge(&login);
            self.judged.push((login, verdict));
        }
        while self.random.one_in(2) {
            let shard = self.random.below(usize::from(SHARDS));
            self.hear(shard);
        }
        for (login, verdict) in std::mem::take(&mut self.judged) {
            self.cluster.answer(&login, verdict);
        }
        for shard in 0..usize::from(SHARDS) {
            while !self.untold[shard].is_empty() {
                self.hear(shard);
            }
        }
        self.cluster.release_between();
        self.cluster.release_logins();
        self.cluster.run();
    }

    /// Says how many sessions there were.
    fn check(&self) -> usize {
        let world = self.cluster.world();
        let mut sessions = 0;
        self.cluster.each_session(|session| {
            sessions += 1;
            let user = &*session.key.username;
            let filter = self.rights.get(user);
            let filter = filter.unwrap_or_else(|| panic!("{user} is in and not on record"));
            let patterns = &session.grant.principal().patterns;
            assert_eq!(&*patterns[0].filter, filter, "{user} has old rights");
            for key in session.subscriptions.keys() {
                assert!(
                    key.ends_with(&format!("/c/{filter}")),
                    "{user} subscribes to {key}"
                );
            }
            let team = session.team.id().expect("a team");
            let current = world.find(team).expect("the team of somebody who is in");
            assert!(
                Arc::ptr_eq(&current, &session.team),
                "in a team that was removed"
            );
            assert!(!current.is_closed());
        });
        let registered: usize = world.teams().iter().map(|team| team.registry.len()).sum();
        assert_eq!(sessions, registered);
        if let Some(alpha) = world.find(&team_id("alpha")) {
            assert!(!alpha.is_closed(), "closed for ever");
        }
        for user in self.rights.keys() {
            let client = self.cluster.connect(0, client_of(user).clean());
            assert!(client.is_open());
        }
        sessions
    }
}

fn client_of(user: &str) -> Hello {
    client(user).kept(100_000)
}

#[test]
fn everybody_who_is_in_may_be_in_whenever_who_hears_of_a_change() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(60),
    };
    let mut sessions = 0;
    for seed in seeds.clone() {
        let run = std::panic::AssertUnwindSafe(|| {
            let mut changing = Changing::new(seed);
            for _ in 0..150 {
                changing.step();
            }
            changing.settle();
            changing.check()
        });
        match std::panic::catch_unwind(run) {
            Ok(found) => sessions += found,
            Err(panic) => {
                eprintln!("SEED={seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    assert!(sessions > 0, "nobody was in: this shows nothing");
}
