//! A world and what happens in it, made from a seed.

use cofferdam::broker::Allowance;
use cofferdam::limits::Limits;
use cofferdam::time::Span;
use cofferdam::wire::{QoS, RetainHandling, SubscriptionOptions, Version};

use crate::cast::{self, Person};
use crate::random::Random;
use crate::step::{Hello, Post, Step};

/// A run: who there is, the limits, and the steps.
#[derive(Clone)]
pub struct Plan {
    pub shards: u16,
    pub limits: Limits,
    pub people: Vec<Person>,
    /// Clients: a person and which of its client ids.
    pub slots: Vec<(usize, usize)>,
    /// What is done at a time.
    pub allowance: Allowance,
    /// What clients have unacknowledged at most.
    pub client_window: usize,
    pub steps: Vec<Step>,
    /// There is a journal.
    pub journal: bool,
    /// Everything is compared after each step, not only now and then.
    pub thorough: bool,
}

const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

impl Plan {
    /// The run of a seed.
    pub fn of(seed: u64, length: usize) -> Self {
        let mut random = Random::new(seed);
        let (people, _) = cast::cast();
        let mut all: Vec<(usize, usize)> = (0..people.len())
            .flat_map(|person| (0..people[person].client_ids.len()).map(move |id| (person, id)))
            .collect();
        let count = 3 + random.below(10);
        let mut slots = Vec::new();
        // Most of them in one team, so that they meet.
        let home = cast::TEAMS[random.below(cast::TEAMS.len())];
        while slots.len() < count && !all.is_empty() {
            let slot = all.swap_remove(random.below(all.len()));
            if people[slot.0].team.is_none_or(|team| team == home) || random.percent(30) {
                slots.push(slot);
            }
        }
        let mut plan = Self {
            shards: 1 + random.below(4) as u16,
            limits: limits(&mut random),
            allowance: Allowance {
                packets: *random.choose(&[1, 4, 30, 16_384]),
                retained: *random.choose(&[1, 3, 1024]),
                share: *random.choose(&[1, 10, 100, 16_384]),
            },
            people,
            slots,
            client_window: 0,
            steps: Vec::new(),
            journal: random.percent(85),
            thorough: false,
        };
        let mut writer = Writer::new(&plan, &mut random);
        let window = match writer.versions.contains(&Version::V5) {
            true => usize::from(plan.limits.receive_maximum),
            false => 60_000,
        };
        let steps = (0..length).map(|_| writer.step()).collect();
        (plan.client_window, plan.steps) = (window, steps);
        plan
    }

    /// The world in words: what is not as usual.
    pub fn tell(&self) -> String {
        let limits = &self.limits;
        let shards = self.shards;
        let journal = if self.journal { "a" } else { "no" };
        format!(
            "{shards} shards, {journal} journal; receive maximum {}, inflight {}, queue {} messages and {} bytes, \
             outbox {} bytes,\nsubscriptions {}, aliases {}, session expiry {} s, keep alive {:?}, \
             retained {} messages and {} bytes, sessions {}, a turn's packets {}, retained {} and \
             share {}\n",
            limits.receive_maximum,
            limits.max_inflight,
            limits.max_queued_messages,
            limits.max_queued_bytes,
            limits.max_outbox_bytes,
            limits.max_subscriptions,
            limits.topic_alias_maximum,
            limits.max_session_expiry.as_secs(),
            limits.max_keep_alive_s,
            limits.max_retained_messages,
            limits.max_retained_bytes,
            limits.max_sessions_per_team,
            self.allowance.packets,
            self.allowance.retained,
            self.allowance.share,
        )
    }

    /// The person in a slot.
    pub fn person(&self, who: usize) -> &Person {
        &self.people[self.slots[who].0]
    }

    /// The client id of a slot.
    pub fn client_id(&self, who: usize) -> &str {
        &self.person(who).client_ids[self.slots[who].1]
    }

    /// What a slot is called in a story.
    pub fn name(&self, who: usize) -> String {
        let (username, id) = (&self.person(who).username, self.client_id(who));
        match username == id {
            true => username.clone(),
            false => format!("{username} as {id:?}"),
        }
    }
}

/// Small ones, so that they are hit.
fn limits(random: &mut Random) -> Limits {
    Limits {
        max_unauthenticated_bytes: 2048,
        receive_maximum: *random.choose(&[2, 5, 1024]),
        max_inflight: *random.choose(&[1, 2, 5, 1024]),
        max_queued_messages: *random.choose(&[2, 8, 50, 100_000]),
        max_queued_bytes: *random.choose(&[300, 20_000, 1 << 20]),
        max_outbox_bytes: *random.choose(&[100, 400, 1_000, 4 << 20]),
        max_subscriptions: *random.choose(&[3, 10_000]),
        topic_alias_maximum: *random.choose(&[0, 3, 64]),
        max_session_expiry: Span::from_secs(*random.choose(&[50, 7 * 24 * 3600])),
        max_keep_alive_s: *random.choose(&[None, Some(20)]),
        max_retained_messages: *random.choose(&[2, 1_000]),
        max_retained_bytes: *random.choose(&[200, 1 << 20]),
        max_sessions_per_team: *random.choose(&[3, 1_000]),
        ..Limits::default()
    }
}

/// Writes steps that make sense more often than not.
struct Writer<'a> {
    plan: &'a Plan,
    random: &'a mut Random,
    /// Of a hundred connections, those that ask for something unusual.
    oddity: usize,
    /// Of a hundred messages, those retained.
    retained: usize,
    /// Whether time may jump by hours.
    leaps: bool,
    versions: Vec<Version>,
}

impl<'a> Writer<'a> {
    fn new(plan: &'a Plan, random: &'a mut Random) -> Self {
        let all = vec![Version::V31, Version::V311, Version::V5, Version::V5];
        let versions = match random.below(4) {
            0 => vec![Version::V5],
            1 => vec![Version::V311],
            _ => all,
        };
        Self {
            oddity: *random.choose(&[0, 20, 60]),
            retained: *random.choose(&[5, 30]),
            leaps: random.percent(50),
            versions,
            plan,
            random,
        }
    }

    fn step(&mut self) -> Step {
        let who = self.random.below(self.plan.slots.len());
        match self.random.below(1040) {
            0..110 => self.connect(who),
            110..480 => Step::Publish {
                who,
                post: self.post(who),
            },
            480..580 => self.subscribe(who),
            580..600 => {
                let count = 1 + self.random.below(2);
                let filters = (0..count).map(|_| self.filter(who)).collect();
                Step::Unsubscribe { who, filters }
            }
            600..610 => Step::Ping { who },
            610..690 => {
                let count = 1 + self.random.below(4);
                Step::Acknowledge {
                    who,
                    count,
                    refuse: self.random.percent(5),
                }
            }
            690..715 => Step::Prompt {
                who,
                on: self.random.percent(50),
            },
            715..735 => Step::Trickle {
                who,
                on: self.random.percent(40),
            },
            735..790 => Step::Feed {
                who,
                bytes: 1 + self.random.below(60),
            },
            790..815 => Step::Reading {
                who,
                on: self.random.percent(60),
            },
            815..840 => Step::Read {
                who,
                bytes: 1 + self.random.below(200),
            },
            840..875 => Step::Cut {
                who,
                bytes: self.random.below(40),
            },
            875..895 => Step::Disconnect {
                who,
                with_will: self.random.percent(30),
                expiry: self.some(20, &[0, 5, 100]),
            },
            895..900 => Step::HoldLogins {
                on: self.random.percent(40),
            },
            900..910 => Step::Judge {
                pick: self.random.below(8),
            },
            910..918 => Step::HoldBetween {
                on: self.random.percent(70),
            },
            918..945 => Step::Deliver {
                pick: self.random.below(16),
            },
            945..950 => Step::HoldTurns {
                on: self.random.percent(60),
            },
            950..966 => Step::GoOn {
                shard: self.shard(),
            },
            966..970 => Step::Regrant {
                who,
                rights: self.random.below(self.plan.person(who).rights.len()),
            },
            970..992 => Step::Pass {
                micros: self.span(),
            },
            992..1000 => Step::Settle,
            1000..1012 => Step::HoldJournal {
                on: self.random.percent(60),
            },
            1012..1030 => Step::Keep {
                count: 1 + self.random.below(4),
            },
            1030..1035 => Step::Full {
                on: self.random.percent(40),
            },
            _ => Step::Crash {
                kept: self.random.below(64),
            },
        }
    }

    fn shard(&mut self) -> u16 {
        self.random.below(usize::from(self.plan.shards)) as u16
    }

    fn some<T: Copy>(&mut self, percent: usize, values: &[T]) -> Option<T> {
        self.random
            .percent(percent)
            .then(|| *self.random.choose(values))
    }

    fn span(&mut self) -> u64 {
        let seconds = match self.random.below(10) {
            0..5 => self.random.below(3),
            5..9 => self.random.below(30),
            _ if self.leaps => self.random.below(8 * 24 * 3600),
            _ => 1,
        };
        seconds as u64 * 1_000_000 + self.random.below(1_000_000) as u64
    }

    fn connect(&mut self, who: usize) -> Step {
        let odd = self.oddity;
        let will = self.random.percent(40).then(|| Post {
            padding: 0,
            ..self.post(who)
        });
        Step::Connect {
            who,
            shard: self.shard(),
            hello: Hello {
                version: self.versions[self.random.below(self.versions.len())],
                clean: self.random.percent(25),
                expiry: *self.random.choose(&[0, 3, 30, 120, 120, u32::MAX]),
                keep_alive: self.some(odd / 2, &[2, 30, 65_535]).unwrap_or(0),
                receive_maximum: self.some(odd, &[1, 2, 10]),
                max_packet: self.some(odd / 2, &[70, 150, 1000]),
                alias_maximum: self.some(odd, &[1, 2, 20]),
                wrong_password: self.random.percent(2),
                will,
                will_delay: *self.random.choose(&[0, 0, 2, 10, 200]),
                late_answers: self.random.percent(30),
            },
        }
    }

    fn post(&mut self, who: usize) -> Post {
        Post {
            topic: self.random.below(self.plan.person(who).topics.len()),
            qos: *self.random.choose(&QOS),
            retain: self.random.percent(self.retained),
            empty: self.random.percent(4),
            padding: match self.random.below(20) {
                0 => 5_000,
                1..4 => self.random.below(120),
                _ => 0,
            },
            expiry: self.some(15, &[0, 1, 5, 60]),
            properties: match self.random.percent(20) {
                true => self.random.below(32) as u8,
                false => 0,
            },
            alias: self.random.percent(20),
        }
    }

    fn filter(&mut self, who: usize) -> usize {
        self.random.below(self.plan.person(who).filters.len())
    }

    fn subscribe(&mut self, who: usize) -> Step {
        let count = 1 + self.random.below(3);
        let handling = [
            RetainHandling::Send,
            RetainHandling::SendIfNew,
            RetainHandling::DoNotSend,
        ];
        let filters = (0..count).map(|_| {
            let filter = self.filter(who);
            let shared = self.plan.person(who).filters[filter].starts_with("$share/");
            let options = SubscriptionOptions {
                qos: *self.random.choose(&QOS),
                no_local: !shared && self.random.percent(20),
                retain_as_published: self.random.percent(40),
                retain_handling: *self.random.choose(&handling),
            };
            (filter, options)
        });
        let filters = filters.collect();
        Step::Subscribe {
            who,
            filters,
            id: self.some(40, &[1, 2, 3, 200]),
        }
    }
}
