//! Where somebody else may be asked: what is decided here all the same, and what is left open.

use super::super::{Ask, Grant, Policy, Standing};
use super::{World, all_patterns, filter, flowfuse, name};

fn by_name(policy: &Policy, username: &str, ask: Ask) -> Grant {
    let nothing = World::default();
    nothing
        .grant(policy, username)
        .known_by_name_only()
        .asking(ask)
}

/// `yes`, `no`, or `ask`.
fn publish(grant: &Grant, topic: &str) -> &'static str {
    word(grant.publish_or_ask(name(topic)))
}

fn subscribe(grant: &Grant, asked: &str, group: Option<&str>) -> &'static str {
    word(grant.subscribe_or_ask(filter(asked), group))
}

fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Decided(decision) if decision.is_allow() => "yes",
        Standing::Decided(_) => "no",
        Standing::Ask { .. } => "ask",
    }
}

#[test]
fn a_grant_that_never_asks_decides_everything() {
    let policy = flowfuse();
    let device = by_name(&policy, "device:t1:d1", Ask::Never);
    assert_eq!(publish(&device, "ff/v1/t1/d/d1/status"), "yes");
    assert_eq!(
        publish(&device, "ff/v1/t1/p/i1/in/x"),
        "no",
        "no owner is known"
    );
    assert_eq!(subscribe(&device, "ff/v1/t1/a/app/command", None), "no");
}

#[test]
fn the_usual_traffic_of_an_instance_is_decided_without_a_question() {
    let policy = flowfuse();
    let instance = by_name(&policy, "project:t1:i1", Ask::Unknown);
    for topic in [
        "ff/v1/t1/p/i2/in/x",
        "ff/v1/t1/p/i1/out/x/y",
        "ff/v1/t1/p/i2/res-1/x",
        "ff/v1/t1/l/i1/status",
        "ff/v1/t1/c/x",
    ] {
        assert_eq!(publish(&instance, topic), "yes", "{topic}");
    }
    for asked in [
        "ff/v1/t1/p/i1/in/#",
        "ff/v1/t1/p/+/out/#",
        "ff/v1/t1/p/i1/res-9/#",
    ] {
        assert_eq!(subscribe(&instance, asked, None), "yes", "{asked}");
    }
    assert_eq!(
        subscribe(&instance, "ff/v1/t1/p/i1/in/#", Some("i1")),
        "yes"
    );
    assert_eq!(
        subscribe(&instance, "ff/v1/t1/p/i1/in/#", Some("other")),
        "ask"
    );
    assert_eq!(
        subscribe(&instance, "ff/v1/t1/c", None),
        "no",
        "a deny rule holds"
    );
    assert_eq!(
        publish(&instance, "ff/v1/t1/p/i2/out/x"),
        "ask",
        "no rule speaks"
    );
}

#[test]
fn what_depends_on_an_unknown_owner_on_unknown_members_or_on_unknown_patterns_is_asked() {
    let policy = flowfuse();
    let device = by_name(&policy, "device:t1:d1", Ask::Unknown);
    assert_eq!(publish(&device, "ff/v1/t1/d/d1/status"), "yes");
    assert_eq!(publish(&device, "ff/v1/t1/c/x"), "yes");
    assert_eq!(publish(&device, "ff/v1/t1/p/i1/in/x"), "ask");
    assert_eq!(subscribe(&device, "ff/v1/t1/p/+/out/#", None), "ask");
    assert_eq!(subscribe(&device, "ff/v1/t1/a/app/command", None), "ask");
    let client = by_name(&policy, "press@t1", Ask::Unknown);
    assert_eq!(publish(&client, "ff/v1/t1/c/x"), "ask");
    assert_eq!(subscribe(&client, "ff/v1/t1/c/#", Some("any")), "ask");

    // The same principals of whom all is known.
    let known = all_patterns();
    for (username, topic, expected) in [
        ("device:t1:d1", "ff/v1/t1/p/i1/in/x", "yes"),
        ("device:t1:d1", "ff/v1/t1/p/i9/in/x", "ask"),
        ("press@t1", "ff/v1/t1/c/x", "yes"),
    ] {
        let grant = known.grant(&policy, username).asking(Ask::Unknown);
        assert_eq!(publish(&grant, topic), expected, "{username} {topic}");
    }
}

const CONDITIONAL: &str = r#"
[namespace]
team = "t/{team}/"

[role.device]
username = ["device:{team}:{device}"]
bindings = ["owner", "site"]

[[role.device.rules]]
allow = "both"
topics = ["t/{team}/#"]

[[role.device.rules]]
when = { owner = "nobody" }
deny = "publish"
topics = ["t/{team}/secret"]

[[role.device.rules]]
when = { site = false }
deny = "subscribe"
topics = ["t/{team}/{instances}/#"]
"#;

#[test]
fn a_deny_that_may_hold_is_a_reason_to_ask_and_one_that_holds_is_no_question() {
    let policy = Policy::parse("test", CONDITIONAL).expect("a policy");
    let by_name = by_name(&policy, "device:a:d", Ask::Unknown);
    assert_eq!(publish(&by_name, "t/a/x"), "ask");
    assert_eq!(subscribe(&by_name, "t/a/x", None), "ask");
    let mut world = World {
        bindings: vec![("owner", "somebody"), ("site", "here")],
        ..World::default()
    };
    let known = world.grant(&policy, "device:a:d").asking(Ask::Unknown);
    assert_eq!(publish(&known, "t/a/secret"), "yes");
    assert_eq!(subscribe(&known, "t/a/x", None), "yes");
    world.bindings = vec![("owner", "nobody"), ("site", "here")];
    for ask in [Ask::Unknown, Ask::Always] {
        let denied = world.grant(&policy, "device:a:d").asking(ask);
        assert_eq!(publish(&denied, "t/a/secret"), "no", "{ask:?}");
    }
}

#[test]
fn always_asks_about_all_but_what_a_rule_denies_and_still_checks_deliveries() {
    let policy = flowfuse();
    let known = all_patterns();
    let instance = known.grant(&policy, "project:t1:i1").asking(Ask::Always);
    assert_eq!(publish(&instance, "ff/v1/t1/p/i1/out/x"), "ask");
    assert_eq!(subscribe(&instance, "ff/v1/t1/c/#", None), "ask");
    assert_eq!(subscribe(&instance, "ff/v1/t1/c", None), "no");
    let patterns = vec![super::pattern(
        super::PatternAction::Subscribe,
        false,
        "secret/#",
    )];
    let world = World {
        patterns,
        ..World::default()
    };
    let client = world.grant(&policy, "press@t1").asking(Ask::Always);
    let asked = |text| client.subscribe_or_ask(filter(text), None);
    assert_eq!(asked("ff/v1/t1/c/#"), Standing::Ask { checked: true });
    assert_eq!(asked("ff/v1/t1/c/x"), Standing::Ask { checked: false });
    assert_eq!(subscribe(&client, "ff/v1/t1/c/secret/x", None), "no");
}

#[test]
fn outside_the_own_team_there_is_nothing_to_ask_about_but_what_a_rule_allows() {
    let policy = flowfuse();
    let own = "ff/v1/expert/u/s/+/+/mcp/inflight/+/request";
    let everybodys = "ff/v1/expert/+/+/+/+/mcp/inflight/+/request";
    for (ask, allowed) in [(Ask::Unknown, "yes"), (Ask::Always, "ask")] {
        let tab = by_name(&policy, "fe-team:u:t1:s", ask);
        assert_eq!(subscribe(&tab, own, None), allowed, "{ask:?}");
        assert_eq!(subscribe(&tab, everybodys, None), "no", "{ask:?}");
        let heartbeat = |user| format!("ff/v1/browser/tab-presence/{user}/s/heartbeat");
        assert_eq!(publish(&tab, &heartbeat("u")), allowed, "{ask:?}");
        assert_eq!(publish(&tab, &heartbeat("v")), "no", "{ask:?}");
        assert_eq!(publish(&tab, "ff/v1/t1/x"), "ask", "at home: {ask:?}");
        assert!(!tab.could_receive(name("ff/v1/expert/v/w/a/b/mcp/inflight/c/request")));
        assert!(tab.could_receive(name("ff/v1/t1/x")));

        // They belong to no team at all.
        let chat = by_name(&policy, "expert-client:u:s", ask);
        assert_eq!(subscribe(&chat, "ff/v1/expert/#", None), "no", "{ask:?}");
        let platform = by_name(&policy, "forge_platform", ask);
        assert_eq!(subscribe(&platform, "ff/v1/+/c/#", None), "no", "{ask:?}");
        let status = "ff/v1/+/l/+/status";
        assert_eq!(subscribe(&platform, status, None), allowed, "{ask:?}");
    }
}
