//! Where attacks are played: team `alpha` at its daily work, and an attacker between its steps.

use std::cell::RefCell;

use crate::cluster::*;
use cofferdam::broker::{Event, EventKind};
use cofferdam::time::Span;
use cofferdam::wire::client::{self as packets, Property, Publish, ServerPacket};
use cofferdam::wire::{QoS, ReasonCode, Version};

/// Stands in every payload of `alpha`'s: who finds it in what it received has broken in.
pub const SECRET: &str = "of alpha";
/// What the attacker sends: nobody of `alpha` ever receives it.
pub const MARK: &str = "attack";
/// How long an attack has, with all delays of its wills: less than an hour in all, when what crosses
/// by rule is told again.
const ATTACK_LASTS: Span = Span::from_secs(600);

pub const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];

/// The attacker's usernames: one of every role that a team or a user can have.
pub const ATTACKERS: [&str; 9] = [
    "alice@beta",
    "mq:hosted:beta:b1",
    "agent:watch@beta",
    "project:beta:b1",
    "device:beta:bd",
    "frontend:beta:bd",
    "fe-team:u:beta:s",
    "expert-client:u:s",
    "expert-agent:u:s",
];

/// Topics that somebody in `alpha` listens to, by their full names.
pub const TARGETS: [&str; 8] = [
    "ff/v1/alpha/c/x",
    "ff/v1/alpha/p/a1/in/x",
    "ff/v1/alpha/p/a1/out/x",
    "ff/v1/alpha/p/a2/res/x",
    "ff/v1/alpha/l/a1/command",
    "ff/v1/alpha/d/ad/command",
    "ff/v1/alpha/d/ad/logs",
    "ff/v1/alpha/t/updated",
];

/// Client ids that `alpha` uses.
pub const CLIENT_IDS: [&str; 4] = [
    "project:alpha:a1",
    "project:alpha:a2:n",
    "device:alpha:ad",
    "alice@alpha",
];

/// Whether a username's topics are below a mount: whatever it writes is a name at home.
pub fn is_mounted(username: &str) -> bool {
    username.ends_with("@beta") || username.starts_with("mq:")
}

/// The team on whose record a username's deeds are.
pub fn team_of(username: &str) -> Option<&'static str> {
    (!username.starts_with("expert")).then_some("beta")
}

/// How a play is set up: on which of two shards the attacker is, and who speaks what.
#[derive(Clone, Copy, Debug)]
pub struct Arrangement {
    pub shard: u16,
    pub attacker: Version,
    pub alpha: Version,
}

/// Both shards (`alpha` is on both), every version of the attacker's and of `alpha`'s.
pub fn arrangements() -> impl Iterator<Item = Arrangement> {
    [0, 1].into_iter().flat_map(|shard| {
        VERSIONS.into_iter().flat_map(move |attacker| {
            VERSIONS.into_iter().map(move |alpha| Arrangement {
                shard,
                attacker,
                alpha,
            })
        })
    })
}

/// When in `alpha`'s day the attacker acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Nobody of `alpha` has ever been here.
    Before,
    /// Everybody is connected.
    During,
    /// Everybody is away; sessions are stored, messages wait in them.
    Away,
    /// Everybody is back.
    After,
}

/// All that `alpha` can see of the world.
#[derive(Debug, PartialEq)]
pub struct View {
    /// Every byte that each of its clients received.
    received: Vec<(String, Vec<u8>)>,
    /// Its record, without the ports of its clients.
    record: Vec<String>,
    /// Subscriptions, places of filters, retained messages and their bytes, sessions, connections;
    /// after each step.
    inventory: Vec<[i64; 6]>,
}

/// The attacker at work.
pub struct Attacker<'c> {
    pub cluster: &'c Cluster,
    pub arrangement: Arrangement,
    pub moment: Moment,
    clients: RefCell<Vec<(String, Client)>>,
}

impl Attacker<'_> {
    /// Logs in under a username, on the attacker's shard and in its version.
    pub fn login(&self, username: &str) -> Client {
        self.connect(client(username))
    }

    /// Logs in.
    #[track_caller]
    pub fn connect(&self, hello: Hello) -> Client {
        let client = self.dial(hello);
        let connack = client.connack();
        assert_eq!(connack.code, 0, "refused: {connack:?}");
        client
    }

    /// Tries to log in, on the attacker's shard and in its version.
    pub fn dial(&self, hello: Hello) -> Client {
        let hello = hello.version(self.arrangement.attacker);
        let name = hello.connect.username.clone().unwrap_or_default();
        let client = self.cluster.dial(self.arrangement.shard, hello);
        self.clients.borrow_mut().push((name, client.clone()));
        client
    }

    /// Its targets at this moment: over the day, all.
    pub fn targets(&self) -> &'static [&'static str] {
        let each = TARGETS.len() / 4;
        &TARGETS[self.moment as usize * each..][..each]
    }

    /// Whether the attacker speaks 5.0.
    pub fn is_v5(&self) -> bool {
        self.arrangement.attacker == Version::V5
    }
}

/// Plays `attack` in every arrangement and at every moment; fails where `alpha` notices anything,
/// or where one of the attacker's clients received anything of `alpha`'s. `attack` gets the events
/// of its own deeds by [`Attacker::cluster`]; those of `alpha` meanwhile must be none.
#[track_caller]
pub fn unnoticed(attack: impl Fn(&Attacker<'_>)) {
    unnoticed_under(|| Cluster::new(2), attack);
}

/// The same in a cluster of another make.
#[track_caller]
pub fn unnoticed_under(make: impl Fn() -> Cluster, attack: impl Fn(&Attacker<'_>)) {
    let mut plays = 0;
    // Without an attacker, its place and version make no difference.
    let mut alone_in: [Option<View>; 3] = [None, None, None];
    for arrangement in arrangements() {
        let place = VERSIONS.iter().position(|it| *it == arrangement.alpha);
        let alone = alone_in[place.expect("a version")]
            .get_or_insert_with(|| play(&make(), arrangement, &|_| {}));
        assert!(!alone.received.is_empty() && !alone.record.is_empty());
        let attacked = play(&make(), arrangement, &attack);
        assert!(
            *alone == attacked,
            "alpha noticed in {arrangement:?}: {}",
            difference(alone, &attacked)
        );
        plays += 1;
    }
    assert_eq!(plays, 2 * 3 * 3);
}

/// One day of `alpha`'s.
fn play(cluster: &Cluster, arrangement: Arrangement, attack: &dyn Fn(&Attacker<'_>)) -> View {
    let mut day = Day {
        cluster,
        version: arrangement.alpha,
        members: Vec::new(),
        record: Vec::new(),
        inventory: Vec::new(),
    };
    let strike = |day: &mut Day<'_>, moment| {
        day.note();
        let attacker = Attacker {
            cluster,
            arrangement,
            moment,
            clients: RefCell::default(),
        };
        let end = cluster.now() + ATTACK_LASTS;
        attack(&attacker);
        cluster.pass_secs(60);
        for (name, client) in attacker.clients.into_inner() {
            let bytes = client.bytes();
            let found = bytes
                .windows(SECRET.len())
                .any(|it| it == SECRET.as_bytes());
            assert!(!found, "{name} received {bytes:02x?} in {arrangement:?}");
            client.cut();
        }
        assert!(cluster.now() < end, "the attack takes too long");
        cluster.pass(end - cluster.now());
        day.note();
    };
    strike(&mut day, Moment::Before);
    day.everybody_connects();
    day.everybody_talks();
    strike(&mut day, Moment::During);
    day.everybody_talks();
    day.everybody_leaves();
    strike(&mut day, Moment::Away);
    day.everybody_connects();
    strike(&mut day, Moment::After);
    day.everybody_talks();
    day.somebody_new_asks_for_everything();
    day.note();
    day.view()
}

/// A client of `alpha`'s.
struct Member {
    name: &'static str,
    client: Client,
    received: Vec<u8>,
}

struct Day<'c> {
    cluster: &'c Cluster,
    version: Version,
    members: Vec<Member>,
    record: Vec<String>,
    inventory: Vec<[i64; 6]>,
}

/// Everybody in `alpha`, under which client id, with all that the role may subscribe to. The
/// platform is with them: what it reads of `alpha` is part of what can be seen there.
const EVERYBODY: [(&str, &str, &[&str]); 8] = [
    ("alice@alpha", "alice@alpha", &["#", "$share/g/#"]),
    ("bob@alpha", "bob@alpha", &["$share/g/#", "$SYS/#"]),
    (
        "project:alpha:a1",
        "project:alpha:a1",
        &[
            "ff/v1/alpha/c/#",
            "ff/v1/alpha/p/+/out/#",
            "$share/a1/ff/v1/alpha/p/a1/in/#",
            "ff/v1/alpha/l/a1/command",
        ],
    ),
    (
        "project:alpha:a2",
        "project:alpha:a2:n",
        &["ff/v1/alpha/p/a2/in/#", "ff/v1/alpha/p/a2/res/#"],
    ),
    (
        "device:alpha:ad",
        "device:alpha:ad",
        &["ff/v1/alpha/d/ad/command", "ff/v1/alpha/c/#"],
    ),
    ("frontend:alpha:ad", "tab", &["ff/v1/alpha/d/+/logs"]),
    ("fe-team:u:alpha:s", "tab", &["ff/v1/alpha/t/updated"]),
    ("forge_platform", "forge_platform:1", &["ff/v1/+/d/+/logs"]),
];

impl Day<'_> {
    fn everybody_connects(&mut self) {
        for (place, (username, id, filters)) in EVERYBODY.into_iter().enumerate() {
            let will = ("will", format!("{username}'s will {SECRET}"));
            let mut hello = client(username).id(id).kept(3_600).version(self.version);
            if username == "bob@alpha" {
                hello = hello.with_will(will.0, &will.1, QOS_1, false, vec![]);
            }
            let shard = (place % 2) as u16;
            let client = self.cluster.dial(shard, hello);
            match self.members.get_mut(place) {
                Some(member) => member.client = client,
                None => self.members.push(Member {
                    name: username,
                    client,
                    received: Vec::new(),
                }),
            }
            for filter in filters {
                let member = &self.members[place];
                let id = member.client.fresh_id();
                let filters = [(*filter, options(QOS_2))];
                let bytes = packets::subscribe(self.version, id, &filters, &[]);
                member.client.send(bytes);
            }
            self.read();
        }
    }

    /// Every way in which messages of `alpha` go, at every QoS, retained and not.
    fn everybody_talks(&mut self) {
        let ways = [
            ("alice@alpha", "x"),
            ("bob@alpha", "$SYS/x"),
            ("project:alpha:a1", "ff/v1/alpha/p/a1/out/x"),
            ("project:alpha:a1", "ff/v1/alpha/p/a2/res/x"),
            ("project:alpha:a2", "ff/v1/alpha/p/a1/in/x"),
            ("device:alpha:ad", "ff/v1/alpha/d/ad/logs"),
            ("device:alpha:ad", "ff/v1/alpha/c/x"),
            ("forge_platform", "ff/v1/alpha/d/ad/command"),
            ("forge_platform", "ff/v1/alpha/l/a1/command"),
            ("forge_platform", "ff/v1/alpha/t/updated"),
        ];
        for (who, topic) in ways {
            for (qos, retain) in [(QOS_0, true), (QOS_1, false), (QOS_2, false)] {
                self.says(who, topic, qos, retain);
            }
        }
        // Somebody's answer where another has asked for it, and a will.
        self.says("project:alpha:a1", "ff/v1/alpha/c/ask", QOS_1, false);
        let bob = &self.members[1];
        assert!(bob.client.is_open(), "bob was cut");
    }

    fn says(&mut self, who: &str, topic: &str, qos: QoS, retain: bool) {
        let member = self.members.iter().find(|member| member.name == who);
        let client = member.expect("a member").client.clone();
        let packet_id = (qos > QOS_0).then(|| client.fresh_id());
        let payload = format!("{qos:?} {retain} {SECRET}");
        let mount = if who.ends_with("@alpha") {
            ""
        } else {
            "ff/v1/alpha/c/"
        };
        client.put(Publish {
            qos,
            retain,
            packet_id,
            properties: vec![Property::ResponseTopic(format!("{mount}answer"))],
            ..Publish::new(topic, payload.as_bytes())
        });
        self.read();
    }

    /// The network fails for everybody; what the platform and a visitor say waits in the sessions.
    fn everybody_leaves(&mut self) {
        for place in 0..self.members.len() {
            self.members[place].client.cut();
            self.read();
        }
        let visitor = client("carol@alpha").version(self.version);
        let visitor = self.cluster.connect(0, visitor);
        for qos in [QOS_1, QOS_2] {
            visitor.publish_at(qos, "x", &format!("for later {SECRET}"));
        }
        visitor.disconnect();
    }

    fn somebody_new_asks_for_everything(&mut self) {
        let client = client("dave@alpha").version(self.version);
        let client = self.cluster.connect(1, client);
        client.subscribe("#", QOS_2);
        self.members.push(Member {
            name: "dave@alpha",
            client,
            received: Vec::new(),
        });
        self.read();
        assert!(
            self.members
                .iter()
                .all(|member| !member.received.is_empty())
        );
    }

    /// Everybody reads what has come and acknowledges it, until no more comes.
    fn read(&mut self) {
        let mut quiet = false;
        while !quiet {
            quiet = true;
            for member in &mut self.members {
                let bytes = member.client.bytes();
                quiet &= bytes.is_empty();
                let version = member.client.version();
                let came = packets::read_all(&bytes, version).expect("whole packets");
                member.received.extend_from_slice(&bytes);
                came.iter()
                    .filter_map(|packet| acknowledgement(packet, version))
                    .for_each(|answer| member.client.send(answer));
            }
        }
    }

    /// Notes what `alpha`'s record and compartment have come to.
    fn note(&mut self) {
        self.read();
        let events = self.cluster.events();
        self.record.extend(events.iter().filter(of_alpha).map(told));
        let team = self.cluster.team("alpha");
        let retained = team.with_retained(|it| (it.len() as i64, it.bytes() as i64));
        self.inventory.push([
            team.subscriptions() as i64,
            team.nodes() as i64,
            retained.0,
            retained.1,
            team.registry.len() as i64,
            team.connections.load(std::sync::atomic::Ordering::Relaxed),
        ]);
    }

    fn view(self) -> View {
        let received = self.members.into_iter();
        View {
            received: received
                .map(|member| (member.name.to_owned(), member.received))
                .collect(),
            record: self.record,
            inventory: self.inventory,
        }
    }
}

fn acknowledgement(packet: &ServerPacket, version: Version) -> Option<Vec<u8>> {
    let ok = ReasonCode::Success;
    Some(match packet {
        ServerPacket::Publish(publish) => match (publish.qos, publish.packet_id?) {
            (QoS::ExactlyOnce, id) => packets::pubrec(version, id, ok, &[]),
            (_, id) => packets::puback(version, id, ok, &[]),
        },
        ServerPacket::PubRec { packet_id, .. } => packets::pubrel(version, *packet_id, ok, &[]),
        ServerPacket::PubRel { packet_id, .. } => packets::pubcomp(version, *packet_id, ok, &[]),
        _ => return None,
    })
}

fn of_alpha(event: &&Event) -> bool {
    event
        .who
        .team
        .as_ref()
        .is_some_and(|it| it.as_str() == "alpha")
}

/// An event as `alpha` reads it, but for addresses: ports are counted over all teams.
fn told(event: &Event) -> String {
    let kind = match &event.kind {
        EventKind::TakenOver { .. } => "TakenOver".to_owned(),
        kind => format!("{kind:?}"),
    };
    let who = (&event.who.username, &event.who.client_id);
    format!("{:?} {who:?} {kind}", event.at)
}

/// Where two views part.
fn difference(one: &View, other: &View) -> String {
    for ((name, one), (_, other)) in one.received.iter().zip(&other.received) {
        if let Some(at) = one.iter().zip(other).position(|(a, b)| a != b) {
            let end = |it: &[u8]| it[at..it.len().min(at + 60)].to_vec();
            return format!(
                "{name}, byte {at}: {:?} and not {:?}",
                String::from_utf8_lossy(&end(other)),
                String::from_utf8_lossy(&end(one))
            );
        }
        if one.len() != other.len() {
            return format!("{name}: {} bytes and not {}", other.len(), one.len());
        }
    }
    for (one, other) in one.record.iter().zip(&other.record) {
        if one != other {
            return format!("on record: {other} and not {one}");
        }
    }
    format!(
        "{} rows and not {}; {:?} and not {:?}",
        other.record.len(),
        one.record.len(),
        other.inventory,
        one.inventory
    )
}

/// The attacker's deeds on record since the last look: those of `username`, as event and reason.
/// None of anybody's may be on `alpha`'s.
#[track_caller]
pub fn deeds(attacker: &Attacker<'_>, username: &str) -> Vec<(&'static str, String)> {
    let events = attacker.cluster.events();
    let noticed = events.iter().find(of_alpha);
    assert_eq!(noticed, None, "on alpha's record");
    let own = events
        .iter()
        .filter(|event| event.who.username.as_deref() == Some(username));
    own.map(|event| {
        if !event.kind.as_str().starts_with("connect_refused") {
            let team = event.who.team.as_ref().map(|team| team.as_str());
            assert_eq!(team, team_of(username), "{event:?}");
        }
        (event.kind.as_str(), reason(&event.kind))
    })
    .collect()
}

/// Why something was refused, as it stands on record.
pub fn reason(kind: &EventKind) -> String {
    match kind {
        EventKind::PublishRefused { why, .. }
        | EventKind::SubscribeRefused { why, .. }
        | EventKind::UnsubscribeRefused { why, .. } => (*why).to_owned(),
        EventKind::ConnectRefused { reason, .. }
        | EventKind::ReauthenticationRefused { reason, .. } => reason.as_str().to_owned(),
        EventKind::Disconnected { cause, .. } => cause.as_str().to_owned(),
        _ => String::new(),
    }
}
