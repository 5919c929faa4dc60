//! Kept sessions under random cuts, reconnects on other shards, late acknowledgements, slow readers
//! and delay between shards: QoS 1 arrives at least once, QoS 2 exactly once, each in order, and
//! nothing arrives in another team.
//!
//! A failure names its seed; `SEED=n cargo test --test broker_random` runs that one alone, and
//! `SEEDS=n` the first n.

use std::collections::{BTreeMap, HashSet, VecDeque};

use crate::cluster::*;
use cofferdam::wire::client::{Property, Publish, ServerPacket, puback, pubcomp, pubrec, pubrel};
use cofferdam::wire::{QoS, ReasonCode, Version};

const SHARDS: usize = 3;
const NAMES: [&str; 3] = ["alice", "bob", "carol"];
const OK: ReasonCode = ReasonCode::Success;

/// A client that does as the standard says, at its leisure.
struct Peer {
    name: String,
    hello: Hello,
    line: Option<Client>,
    /// CONNACK came on this line.
    ready: bool,
    subscribed: bool,
    /// Sent and not acknowledged, in order; `None` for the message once PUBREC came.
    under_way: VecDeque<(u16, Option<Publish>)>,
    next_id: u16,
    next_number: u32,
    /// Acknowledgements that it has not got round to.
    owed: VecDeque<Vec<u8>>,
    /// QoS 2 identifiers between PUBLISH and PUBREL.
    held: HashSet<u16>,
    /// By topic and QoS, the numbers in the order received.
    got: BTreeMap<(String, u8), Vec<u32>>,
}

impl Peer {
    fn new(name: String, random: &mut Random) -> Self {
        let version = *random.choose(&[Version::V311, Version::V5]);
        let maximum = 1 + random.below(5) as u16;
        let hello = client(&name)
            .version(version)
            .kept(100_000)
            .with(Property::ReceiveMaximum(maximum));
        Self {
            name,
            hello,
            line: None,
            ready: false,
            subscribed: false,
            under_way: VecDeque::new(),
            next_id: 0,
            next_number: 0,
            owed: VecDeque::new(),
            held: HashSet::new(),
            got: BTreeMap::new(),
        }
    }

    fn version(&self) -> Version {
        self.hello.connect.version
    }

    fn connect(&mut self, cluster: &Cluster, shard: u16) {
        self.owed.clear();
        self.ready = false;
        self.line = Some(cluster.dial(shard, self.hello.clone()));
    }

    /// CONNACK came: subscribes once, and sends again what was not acknowledged.
    fn begin(&mut self, session_present: bool) {
        let Some(line) = &self.line else { return };
        assert_eq!(session_present, self.subscribed, "{}", self.name);
        let version = self.version();
        self.ready = true;
        if !self.subscribed {
            self.subscribed = true;
            let filters = [("t/#", options(QOS_2))];
            line.send(cofferdam::wire::client::subscribe(
                version,
                60_000,
                &filters,
                &[],
            ));
        }
        for (id, message) in &self.under_way {
            line.send(match message {
                Some(publish) => Publish {
                    dup: true,
                    ..publish.clone()
                }
                .encode(version),
                None => pubrel(version, *id, OK, &[]),
            });
        }
    }

    fn publish(&mut self, qos: QoS) {
        let Some(line) = &self.line else { return };
        if !self.ready || self.under_way.len() > 20 {
            return;
        }
        self.next_id = self.next_id % 50_000 + 1;
        self.next_number += 1;
        let topic = format!("t/{}/{}", self.name.replace('@', "-"), qos as u8);
        let publish = Publish::new(&topic, self.next_number.to_string().as_bytes());
        let publish = publish.at(qos, self.next_id);
        line.put(publish.clone());
        self.under_way.push_back((self.next_id, Some(publish)));
    }

    /// Reads what came, and notes what it owes.
    fn read(&mut self) {
        let Some(line) = self.line.clone() else {
            return;
        };
        let version = self.version();
        for packet in line.received() {
            match packet {
                ServerPacket::ConnAck(connack) => self.begin(connack.session_present),
                ServerPacket::SubAck { .. } => {}
                ServerPacket::PubAck { packet_id, .. }
                | ServerPacket::PubComp { packet_id, .. } => {
                    self.under_way.retain(|(id, _)| *id != packet_id);
                }
                ServerPacket::PubRec { packet_id, .. } => {
                    let found = self.under_way.iter_mut().find(|(id, _)| *id == packet_id);
                    if let Some((_, message)) = found {
                        *message = None;
                    }
                    self.owed.push_back(pubrel(version, packet_id, OK, &[]));
                }
                ServerPacket::Publish(publish) => self.take(publish),
                ServerPacket::PubRel { packet_id, .. } => {
                    self.held.remove(&packet_id);
                    self.owed.push_back(pubcomp(version, packet_id, OK, &[]));
                }
                // An earlier connection of its own came late to the session's shard.
                ServerPacket::Disconnect {
                    reason: ReasonCode::SessionTakenOver,
                    ..
                } => self.line = None,
                other => panic!("{}: {other:?}", self.name),
            }
        }
        self.line = self.line.take().filter(Client::is_open);
    }

    fn take(&mut self, publish: Publish) {
        let id = publish.packet_id.expect("nothing is published at QoS 0");
        let answer = match publish.qos {
            QoS::ExactlyOnce => pubrec(self.version(), id, OK, &[]),
            _ => puback(self.version(), id, OK, &[]),
        };
        self.owed.push_back(answer);
        if publish.qos == QoS::ExactlyOnce && !self.held.insert(id) {
            assert!(
                publish.dup,
                "{}: an identifier in use without DUP",
                self.name
            );
            return;
        }
        let number = String::from_utf8_lossy(&publish.payload)
            .parse()
            .expect("a number");
        let key = (publish.topic, publish.qos as u8);
        self.got.entry(key).or_default().push(number);
    }

    /// Sends the oldest acknowledgement that it owes.
    fn acknowledge(&mut self) {
        if let (Some(line), Some(bytes)) = (&self.line, self.owed.pop_front()) {
            line.send(bytes);
        }
    }

    fn cut(&mut self) {
        if let Some(line) = self.line.take() {
            line.cut();
        }
    }
}

fn run(seed: u64) {
    let mut random = Random::new(seed);
    let cluster = Cluster::new(SHARDS as u16);
    cluster.hold_between();
    let mut peers: Vec<Peer> = ["alpha", "beta"]
        .iter()
        .flat_map(|team| NAMES.map(|name| format!("{name}@{team}")))
        .map(|name| Peer::new(name, &mut random))
        .collect();
    // All are there before the first message.
    for peer in &mut peers {
        peer.connect(&cluster, random.below(SHARDS) as u16);
        peer.read();
        peer.read();
    }
    for _ in 0..400 {
        let count = peers.len();
        let peer = &mut peers[random.below(count)];
        match random.below(20) {
            0 => peer.cut(),
            1 | 2 if peer.line.is_none() => peer.connect(&cluster, random.below(SHARDS) as u16),
            // It comes again before the broker knows that it has gone.
            1 if random.one_in(4) => peer.connect(&cluster, random.below(SHARDS) as u16),
            3 => cluster.pass_secs(1),
            4 => {
                if let Some(line) = &peer.line {
                    line.read_some(random.below(60));
                }
            }
            5 => {
                if let Some(line) = &peer.line {
                    line.read_on();
                }
            }
            6..=9 => peer.publish(*random.choose(&[QOS_1, QOS_2])),
            10..=12 => {
                if let [_, ..] = cluster.waiting_between()[..] {
                    let (from, to) = *random.choose(&cluster.waiting_between());
                    cluster.deliver_between(from, to);
                }
            }
            13..=15 => peer.read(),
            _ => peer.acknowledge(),
        }
    }
    // Calm returns.
    cluster.release_between();
    for peer in &mut peers {
        peer.cut();
        peer.connect(&cluster, random.below(SHARDS) as u16);
    }
    for _ in 0..2_000 {
        for peer in &mut peers {
            peer.read();
            peer.acknowledge();
        }
    }
    check(&peers);
    let dropped: u64 = (0..SHARDS as u16)
        .map(|shard| cluster.counters(shard).dropped.iter().sum::<u64>())
        .sum();
    assert_eq!(dropped, 0);
}

fn check(peers: &[Peer]) {
    for peer in peers {
        assert!(
            peer.owed.is_empty() && peer.under_way.is_empty(),
            "{} is not done",
            peer.name
        );
        let team = peer.name.split_once('@').expect("name@team").1;
        for ((topic, qos), numbers) in &peer.got {
            assert!(
                topic.contains(&format!("-{team}/")),
                "{} got {topic}",
                peer.name
            );
            let mut first: Vec<u32> = Vec::new();
            for number in numbers {
                if !first.contains(number) {
                    first.push(*number);
                } else {
                    assert_ne!(*qos, 2, "{} got {topic} {number} twice", peer.name);
                }
            }
            assert!(
                first.is_sorted(),
                "{} got {topic} out of order: {first:?}",
                peer.name
            );
        }
        for publisher in peers.iter().filter(|other| other.name.ends_with(team)) {
            let topic = |qos| (format!("t/{}/{qos}", publisher.name.replace('@', "-")), qos);
            let distinct: HashSet<u32> = [1, 2]
                .iter()
                .filter_map(|qos| peer.got.get(&topic(*qos)))
                .flatten()
                .copied()
                .collect();
            assert_eq!(
                distinct.len() as u32,
                publisher.next_number,
                "{} misses messages of {}",
                peer.name,
                publisher.name
            );
        }
    }
}

#[test]
fn every_message_arrives_as_often_as_its_qos_says_whatever_happens_on_the_way() {
    let set = |name| std::env::var(name).ok()?.parse().ok();
    if let Some(seed) = set("SEED") {
        return run(seed);
    }
    for seed in 0..set("SEEDS").unwrap_or(150) {
        if std::panic::catch_unwind(|| run(seed)).is_err() {
            panic!("seed {seed}");
        }
    }
}
