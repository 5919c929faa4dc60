//! Questions under random delays, cuts and answers: what each client publishes arrives in its order,
//! all of it that was allowed and nothing that was not, and nothing in another team.
//!
//! A failure names its seed; `SEED=n cargo test --test broker ask_random` runs that one alone, and
//! `SEEDS=n` the first n.

use std::collections::BTreeMap;

use crate::cluster::*;
use cofferdam::policy::Ask;
use cofferdam::wire::client::Publish;

const SHARDS: usize = 2;
const STEPS: usize = 300;
const TEAMS: [&str; 2] = ["alpha", "beta"];
const NAMES: [&str; 3] = ["bob", "carol", "dave"];

/// Which topics are allowed is for good, so that what must arrive is known.
fn is_allowed(topic: &str) -> bool {
    !topic.starts_with("no")
}

struct Publisher {
    name: String,
    line: Client,
    next: u32,
    /// What must arrive of it, in order.
    due: Vec<String>,
}

fn run(seed: u64) {
    let mut random = Random::new(seed);
    let cluster = Cluster::new(SHARDS as u16);
    cluster.ask(Ask::Always, |_| YES);
    let readers: Vec<Client> = TEAMS
        .iter()
        .map(|team| {
            let reader = cluster.connect(0, client(&format!("alice@{team}")));
            reader.subscribe("#", QOS_0);
            reader
        })
        .collect();
    cluster.hold_questions();
    let connect = |name: &str, random: &mut Random| {
        cluster.connect(random.below(SHARDS) as u16, client(name))
    };
    let names = TEAMS
        .iter()
        .flat_map(|team| NAMES.map(|name| format!("{name}@{team}")));
    let mut publishers: Vec<Publisher> = names
        .map(|name| Publisher {
            line: connect(&name, &mut random),
            name,
            next: 0,
            due: Vec::new(),
        })
        .collect();
    let mut waiting = Vec::new();
    for _ in 0..STEPS {
        let who = random.below(publishers.len());
        let publisher = &mut publishers[who];
        match random.below(10) {
            0..6 => {
                let topic = *random.choose(&["a", "b", "c/d", "no", "no/x"]);
                let payload = format!("{} {}", publisher.name, publisher.next);
                publisher.next += 1;
                let publish = Publish::new(topic, payload.as_bytes());
                publisher.line.put(publish);
                if is_allowed(topic) {
                    publisher.due.push(format!("{topic} {payload}"));
                }
            }
            6 => {
                // What the broker has of it when it leaves is still published.
                while publisher.line.unread() > 0 && publisher_waits(&cluster, &mut waiting) {
                    answer(&cluster, &mut waiting, &mut random);
                }
                publisher.line.cut();
                while publisher_waits(&cluster, &mut waiting) {
                    answer(&cluster, &mut waiting, &mut random);
                }
                publisher.line = connect(&publisher.name, &mut random);
            }
            7 => cluster.pass_secs(random.below(40) as u64),
            _ => {
                publisher_waits(&cluster, &mut waiting);
                answer(&cluster, &mut waiting, &mut random);
            }
        }
    }
    while publisher_waits(&cluster, &mut waiting) {
        answer(&cluster, &mut waiting, &mut random);
    }
    assert_eq!(cluster.open_questions(), 0, "seed {seed}");
    for (team, reader) in TEAMS.iter().zip(&readers) {
        let mut heard: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for message in reader.heard() {
            let name = message.split(' ').nth(1).expect("a name").to_owned();
            heard.entry(name).or_default().push(message);
        }
        for publisher in &publishers {
            let own = publisher.name.ends_with(team);
            let due = if own {
                publisher.due.clone()
            } else {
                Vec::new()
            };
            let got = heard.remove(&publisher.name).unwrap_or_default();
            assert_eq!(got, due, "seed {seed}: {} in {team}", publisher.name);
        }
    }
}

/// Takes what was asked since; whether there is something to answer.
fn publisher_waits(cluster: &Cluster, waiting: &mut Vec<HeldQuestion>) -> bool {
    waiting.extend(cluster.held_questions());
    !waiting.is_empty()
}

/// Answers any one of them.
fn answer(cluster: &Cluster, waiting: &mut Vec<HeldQuestion>, random: &mut Random) {
    if waiting.is_empty() {
        return;
    }
    let held = waiting.swap_remove(random.below(waiting.len()));
    let answer = match is_allowed(&held.question.topic) {
        true => YES,
        false => NO,
    };
    cluster.reply(&held, answer);
}

#[test]
fn whatever_is_asked_and_answered_when_what_is_allowed_arrives_in_order_and_nothing_else() {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    match number("SEED") {
        Some(seed) => run(seed),
        None => (0..number("SEEDS").unwrap_or(40)).for_each(run),
    }
}
