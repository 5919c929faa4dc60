//! The one door between teams (`src/team/commons.rs`): what the platform may crosses, each crossing
//! is counted and on the crossed team's record, and nothing else passes.

use std::path::Path;

use crate::cluster::*;
use crate::stage::*;
use cofferdam::broker::{Event, EventKind, Way};
use cofferdam::wire::ReasonCode;
use cofferdam::wire::Version;
use cofferdam::wire::client::{Property, Publish, subscribe};

const NONE: [&str; 0] = [];

/// The crossings on record since the last look: team, who, which way, topic, how many.
fn crossings(cluster: &Cluster) -> Vec<(String, String, Way, String, u64)> {
    let events = cluster.events();
    let found = events.iter().filter_map(|Event { who, kind, .. }| {
        let EventKind::Crossed {
            way,
            topic,
            count,
            rule,
            ..
        } = kind
        else {
            return None;
        };
        assert!(
            rule.contains("config/policy/flowfuse.toml:"),
            "the rule: {rule}"
        );
        let team = who.team.as_ref().map_or("", |team| team.as_str());
        let username = who.username.as_deref().unwrap_or_default();
        let (team, username) = (team.to_owned(), username.to_owned());
        Some((team, username, *way, topic.to_string(), *count))
    });
    found.collect()
}

fn row(team: &str, way: Way, topic: &str, count: u64) -> (String, String, Way, String, u64) {
    let who = "forge_platform".to_owned();
    (team.to_owned(), who, way, topic.to_owned(), count)
}

fn counted(cluster: &Cluster) -> [u64; 2] {
    let [one, other] = [0, 1].map(|shard| cluster.counters(shard).crossings);
    [one[0] + other[0], one[1] + other[1]]
}

#[test]
fn what_the_platform_may_crosses_on_record_and_nothing_else_does() {
    let cluster = Cluster::new(2);
    let platform = cluster.connect(0, platform());
    platform.subscribe("ff/v1/+/d/+/logs", QOS_1);
    let tab = cluster.connect(0, client("frontend:alpha:ad"));
    tab.subscribe("ff/v1/alpha/d/+/logs", QOS_1);
    let [alpha, beta] = [("alpha", "ad"), ("beta", "bd")].map(|(team, id)| {
        let device = cluster.connect(1, device(team, id));
        device.subscribe(&format!("ff/v1/{team}/d/{id}/command"), QOS_1);
        device
    });
    // Out of each team to the platform.
    alpha.publish_at(QOS_1, "ff/v1/alpha/d/ad/logs", "from alpha");
    beta.publish_at(QOS_1, "ff/v1/beta/d/bd/logs", "from beta");
    assert_eq!(
        platform.heard(),
        [
            "ff/v1/alpha/d/ad/logs from alpha",
            "ff/v1/beta/d/bd/logs from beta"
        ]
    );
    assert_eq!(tab.heard(), ["ff/v1/alpha/d/ad/logs from alpha"]);
    // Into one team, and into that one only.
    let command = "ff/v1/alpha/d/ad/command";
    assert_eq!(
        platform.publish_at(QOS_1, command, "restart"),
        ReasonCode::Success
    );
    assert_eq!(alpha.heard(), [format!("{command} restart")]);
    assert_eq!(beta.heard(), NONE);
    assert_eq!(
        crossings(&cluster),
        [
            row("alpha", Way::OutOf, "ff/v1/alpha/d/ad/logs", 1),
            row("beta", Way::OutOf, "ff/v1/beta/d/bd/logs", 1),
            row("alpha", Way::Into, command, 1),
        ]
    );
    // What no rule names does not cross, in either direction.
    for topic in ["ff/v1/alpha/c/x", "ff/v1/alpha/p/a1/in/x"] {
        assert_eq!(
            platform.publish_at(QOS_1, topic, "x"),
            ReasonCode::NotAuthorized
        );
        let codes = platform.try_subscribe(&[(topic, options(QOS_0))], &[]);
        assert_eq!(codes, [ReasonCode::NotAuthorized]);
    }
    assert_eq!(alpha.heard(), NONE);
    let events = cluster.events();
    assert_eq!(events.len(), 4);
    assert!(
        events.iter().all(|event| event.who.team.is_none()),
        "the platform's own record"
    );
    assert_eq!(counted(&cluster), [1, 2]);
}

#[test]
fn crossings_that_repeat_are_counted_each_and_told_once_an_hour() {
    let cluster = Cluster::new(1);
    let platform = cluster.connect(0, platform());
    platform.subscribe("ff/v1/+/d/+/logs", QOS_0);
    let device = cluster.connect(0, device("alpha", "ad"));
    let logs = "ff/v1/alpha/d/ad/logs";
    let log = |times: usize| (0..times).for_each(|_| device.publish(logs, "a line"));
    log(1);
    assert_eq!(
        crossings(&cluster),
        [row("alpha", Way::OutOf, logs, 1)],
        "at once"
    );
    log(99);
    cluster.pass_secs(3_599);
    assert_eq!(crossings(&cluster), []);
    cluster.pass_secs(1);
    assert_eq!(crossings(&cluster), [row("alpha", Way::OutOf, logs, 99)]);
    log(5);
    // It stops: nothing of what was counted is lost.
    cluster.stop();
    assert_eq!(crossings(&cluster), [row("alpha", Way::OutOf, logs, 5)]);
    assert_eq!(cluster.counters(0).crossings, [0, 105]);
}

#[test]
fn after_an_hour_without_a_crossing_the_next_is_told_at_once_again() {
    let cluster = Cluster::new(1);
    let platform = cluster.connect(0, platform());
    let updated = "ff/v1/beta/t/updated";
    platform.publish(updated, "news");
    cluster.pass_secs(3_600);
    assert_eq!(crossings(&cluster), [row("beta", Way::Into, updated, 1)]);
    platform.publish(updated, "news");
    assert_eq!(crossings(&cluster), [row("beta", Way::Into, updated, 1)]);
    cluster.pass_secs(7_200);
    assert_eq!(crossings(&cluster), [], "nothing to tell");
}

#[test]
fn inside_a_team_and_in_the_commons_nothing_crosses() {
    let cluster = Cluster::new(2);
    let platform = cluster.connect(0, platform());
    platform.subscribe("ff/v1/browser/tab-presence/+/+/+", QOS_1);
    platform.subscribe("ff/v1/platform/leader", QOS_1);
    let alice = cluster.connect(0, client("alice@alpha"));
    alice.subscribe("#", QOS_1);
    let instance = cluster.connect(1, instance("alpha", "a1"));
    instance.publish_at(QOS_1, "ff/v1/alpha/c/x", "inside");
    platform.publish_at(QOS_1, "ff/v1/platform/leader", "me");
    let tab = cluster.connect(1, client("fe-team:u:alpha:s"));
    tab.publish_at(QOS_1, "ff/v1/browser/tab-presence/u/s/heartbeat", "here");
    assert_eq!(
        (alice.heard().len(), platform.heard().len()),
        (1, 2),
        "the control"
    );
    assert_eq!(crossings(&cluster), []);
    assert_eq!(counted(&cluster), [0, 0]);
}

#[test]
fn the_platform_gets_what_each_team_retained_and_a_team_only_its_own() {
    let cluster = Cluster::new(2);
    for (team, id) in [("alpha", "ad"), ("beta", "bd")] {
        let device = cluster.connect(0, device(team, id));
        device.retain(&format!("ff/v1/{team}/d/{id}/logs"), team);
    }
    cluster.events();
    let platform = cluster.connect(1, platform());
    platform.subscribe("ff/v1/+/d/+/logs", QOS_0);
    let mut heard = platform.heard();
    heard.sort_unstable();
    assert_eq!(
        heard,
        ["ff/v1/alpha/d/ad/logs alpha", "ff/v1/beta/d/bd/logs beta"]
    );
    let mut told = crossings(&cluster);
    told.sort_by_key(|row| row.0.clone());
    let logs = ["ff/v1/alpha/d/ad/logs", "ff/v1/beta/d/bd/logs"];
    let rows = [("alpha", logs[0]), ("beta", logs[1])];
    assert_eq!(
        told,
        rows.map(|(team, topic)| row(team, Way::OutOf, topic, 1))
    );
    let tab = cluster.connect(1, client("frontend:beta:bd"));
    tab.subscribe("ff/v1/beta/d/+/logs", QOS_0);
    assert_eq!(tab.heard(), ["ff/v1/beta/d/bd/logs beta"]);
}

#[test]
fn what_lies_in_the_commons_is_seen_by_those_alone_whom_a_rule_names() {
    let cluster = Cluster::new(2);
    let platform = cluster.connect(0, platform());
    platform.subscribe("ff/v1/browser/tab-presence/+/+/+", QOS_1);
    let tabs =
        ["alpha", "beta"].map(|team| cluster.connect(1, client(&format!("fe-team:u:{team}:s"))));
    let presence = "ff/v1/browser/tab-presence/u/s/heartbeat";
    for tab in &tabs {
        let codes = tab.try_subscribe(&[(presence, options(QOS_0))], &[]);
        assert_eq!(codes, [ReasonCode::NotAuthorized]);
    }
    assert_eq!(
        tabs[0].publish_at(QOS_1, presence, "here"),
        ReasonCode::Success
    );
    assert_eq!(platform.heard(), [format!("{presence} here")]);
    assert_eq!(tabs[1].heard(), NONE);
}

#[test]
fn a_response_topic_does_not_make_the_platform_speak_for_one_team_into_another() {
    let cluster = Cluster::new(2);
    let platform = cluster.connect(0, platform());
    platform.subscribe("ff/v1/+/d/+/logs", QOS_1);
    let device = cluster.connect(1, device("beta", "bd"));
    let ask = |response: &str| {
        device.complete(Publish {
            qos: QOS_1,
            properties: vec![Property::ResponseTopic(response.to_owned())],
            ..Publish::new("ff/v1/beta/d/bd/logs", b"?")
        })
    };
    for foreign in [
        "ff/v1/alpha/d/ad/command",
        "ff/v1/alpha/x",
        "ff/v1/gamma/t/updated",
    ] {
        assert_eq!(ask(foreign), ReasonCode::NotAuthorized);
        assert_eq!(platform.heard(), NONE);
    }
    let refused = cluster.record();
    let refused = refused
        .iter()
        .filter(|kind| reason(kind) == "response topic outside the team");
    assert_eq!(refused.count(), 3);
    // One at home, and one that is no team's, are passed on as they are.
    for own in ["ff/v1/beta/d/bd/response", "elsewhere", "ff/v1/platform/x"] {
        assert_eq!(ask(own), ReasonCode::Success);
        let asked = platform.messages().remove(0);
        assert_eq!(asked.properties, [Property::ResponseTopic(own.to_owned())]);
    }
    // Below a mount it stays there.
    let mounted = cluster.connect(0, client("alice@beta"));
    let witness = cluster.connect(1, instance("beta", "b1"));
    witness.subscribe("ff/v1/beta/c/ask", QOS_1);
    for lure in [
        "ff/v1/alpha/c/x",
        "../../alpha/c/x",
        "/ff/v1/alpha/c/x",
        "x",
    ] {
        mounted.put(Publish {
            properties: vec![Property::ResponseTopic(lure.to_owned())],
            ..Publish::new("ask", b"?")
        });
        let full = Property::ResponseTopic(format!("ff/v1/beta/c/{lure}"));
        assert_eq!(witness.messages().remove(0).properties, [full]);
    }
}

#[test]
fn a_platform_group_is_the_platforms_alone() {
    unnoticed(|attacker| {
        for username in ATTACKERS {
            let spy = attacker.login(username);
            for group in ["platform", "browser"] {
                let filter = format!("$share/{group}/ff/v1/+/l/+/status");
                let one = [(&*filter, options(QOS_1))];
                spy.send(subscribe(spy.version(), 1, &one, &[]));
            }
            let refused = deeds(attacker, username);
            let refused = refused
                .iter()
                .filter(|it| it.1 == "outside the team")
                .count();
            assert_eq!(
                refused,
                if is_mounted(username) { 0 } else { 2 },
                "{username}"
            );
        }
        let world = attacker.cluster.world();
        assert_eq!(world.commons().subscriptions(), platforms(attacker));
    });
}

/// What the platform itself has subscribed to by then.
fn platforms(attacker: &Attacker<'_>) -> usize {
    usize::from(attacker.moment != Moment::Before)
}

/// The source files that may name the commons besides the door itself, and why.
const MAY_NAME_IT: [(&str, &str); 2] = [
    ("cli/serve.rs", "counts what each compartment holds"),
    (
        "broker/walk.rs",
        "finds the sessions of a principal that spans teams, to judge them anew",
    ),
];

#[test]
fn no_other_code_looks_into_the_commons() {
    fn walk(directory: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, found);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let code = text
                .split("#[cfg(test)]\nmod tests")
                .next()
                .unwrap_or_default();
            if code.contains(".commons()") {
                let below = path.strip_prefix(root()).expect("below");
                found.push(below.to_string_lossy().replace('\\', "/"));
            }
        }
    }
    let mut found = Vec::new();
    walk(&root(), &mut found);
    let door = found.iter().position(|file| file == "team/commons.rs");
    found.remove(door.expect("the door itself"));
    found.retain(|file| !MAY_NAME_IT.iter().any(|(may, _)| may == file));
    assert!(
        found.is_empty(),
        "{found:?}: ask `World::home`, `owner` or `standing` of team/commons.rs instead"
    );
}

fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The versions of the platform's that exist speak 5.0; another would be no way around it.
#[test]
fn a_platform_of_another_version_is_held_to_the_same_rules() {
    for version in [Version::V31, Version::V311] {
        let cluster = Cluster::new(1);
        let platform = cluster.connect(0, platform().version(version));
        let alice = cluster.connect(0, client("alice@alpha"));
        alice.subscribe("#", QOS_1);
        for qos in [QOS_0, QOS_1, QOS_2] {
            platform.publish_at(qos, "ff/v1/alpha/c/x", "x");
        }
        platform.try_subscribe(&[("ff/v1/alpha/c/x", options(QOS_0))], &[]);
        alice.publish("x", SECRET);
        assert_eq!(alice.heard(), [format!("x {SECRET}")]);
        assert_eq!(platform.heard(), NONE);
        let refused = cluster.record();
        let refused = refused.iter().filter(|it| reason(it) == "policy").count();
        assert_eq!(refused, 4);
    }
}
