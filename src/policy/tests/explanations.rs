//! What an operator reads.

use std::sync::Arc;

use super::super::{Action, PatternAction, Ruling, TeamMembers};
use super::{World, flowfuse, pattern};

const FILE: &str = include_str!("../../../config/policy/flowfuse.toml");

fn world() -> World {
    World {
        members: Arc::new(TeamMembers::new(["i1"])),
        bindings: vec![("owner_type", "instance"), ("owner", "i1")],
        patterns: vec![
            pattern(PatternAction::Both, true, "hall/#"),
            pattern(PatternAction::Subscribe, false, "hall/secret"),
        ],
    }
}

#[test]
fn an_admission_names_the_rule_and_where_it_stands() {
    let policy = flowfuse();
    let topic = "ff/v1/t1/p/i1/out/x";
    let explanation = policy.explain("project:t1:i1", Action::Publish, topic, &world());
    assert_eq!(explanation.ruling, Ruling::Allow);
    assert_eq!(explanation.role.as_deref(), Some("instance"));
    assert_eq!(
        explanation.bindings.get("instance").map(String::as_str),
        Some("i1")
    );
    let rule = explanation.rule.clone().expect("a rule");
    assert_eq!(
        rule.text,
        "allow publish ff/v1/{team}/p/{instance}/out/{any}/#"
    );
    assert_eq!(rule.note, "its own broadcasts");
    let line = FILE
        .lines()
        .nth(rule.line.expect("a line") as usize - 1)
        .expect("the line");
    assert!(
        line.contains("ff/v1/{team}/p/{instance}/out/{any}/#"),
        "{line}"
    );
    let shown = explanation.to_string();
    assert!(
        shown.starts_with("allow: project:t1:i1 publish ff/v1/t1/p/i1/out/x\n"),
        "{shown}"
    );
    assert!(shown.contains("config/policy/flowfuse.toml:"), "{shown}");
    let json = serde_json::to_value(&explanation).expect("JSON");
    assert_eq!(json["ruling"], "allow");
    assert_eq!(json["action"], "publish");
    assert_eq!(json["rule"]["note"], "its own broadcasts");
}

#[test]
fn a_refusal_names_the_rules_that_came_nearest_and_what_they_lacked() {
    let policy = flowfuse();
    let nearest = |username: &str, action, topic: &str, world: &World| {
        let explanation = policy.explain(username, action, topic, world);
        assert_eq!(explanation.ruling, Ruling::Deny);
        assert_eq!(explanation.reason, "no rule allows it");
        let first = explanation
            .considered
            .first()
            .expect("a rule that came near")
            .clone();
        (first.rule.text, first.why)
    };
    let topic = "ff/v1/t1/p/i2/out/x";
    let explanation = policy.explain("project:t1:i1", Action::Publish, topic, &world());
    let considered = explanation.considered.iter();
    let considered: Vec<(&str, &str)> = considered
        .map(|near| (&*near.rule.note, &*near.why))
        .collect();
    assert_eq!(
        considered[..2],
        [
            (
                "messages and answers to any instance or device of its team",
                "level 6 is `out`, the rule has `in`"
            ),
            (
                "its own broadcasts",
                "level 5 is `i2`, the rule has `{instance}`"
            ),
        ]
    );

    let broadcast = "ff/v1/t1/p/i1/out/x";
    let (_, why) = nearest(
        "device:t1:d1",
        Action::Subscribe,
        broadcast,
        &World::default(),
    );
    assert_eq!(why, "applies only where owner is known");

    let group = "$share/mine/ff/v1/t1/p/i1/in/x";
    let (_, why) = nearest("project:t1:i1", Action::Subscribe, group, &world());
    assert_eq!(why, "may not be shared in the group `mine`");

    let (rule, why) = nearest("press@t1", Action::Subscribe, "#", &world());
    assert_eq!(rule, "allow both hall/# (a pattern of press@t1)");
    assert_eq!(
        why,
        "allows only a part of this filter: subscribe to no more than that"
    );

    let (_, why) = nearest(
        "device:t1:d1",
        Action::Publish,
        "ff/v1/t1/d/d2/status",
        &world(),
    );
    assert_eq!(why, "level 5 is `d2`, the rule has `{device}`");

    // Of a rule with several topics, the one that decides is named, with its own line.
    let topic = "ff/v1/t1/p/i1/res/x";
    let explanation = policy.explain("project:t1:i2", Action::Publish, topic, &world());
    let rule = explanation.rule.expect("a rule");
    assert_eq!(rule.text, "allow publish ff/v1/{team}/p/{any}/res/{any}/#");
    let line = FILE.lines().nth(rule.line.expect("a line") as usize - 1);
    assert_eq!(
        line.map(str::trim),
        Some("\"ff/v1/{team}/p/{any}/res/{any}/#\",")
    );
}

#[test]
fn refusals_before_any_rule_say_what_they_are() {
    let policy = flowfuse();
    let reason = |username: &str, action, topic: &str| {
        let explanation = policy.explain(username, action, topic, &world());
        assert_eq!((explanation.ruling, explanation.rule), (Ruling::Deny, None));
        explanation.reason
    };
    let outside = reason("project:t1:i1", Action::Publish, "ff/v1/t2/c/x");
    assert_eq!(outside, "it is outside the team's subtree ff/v1/t1/");
    let unknown = reason("nobody", Action::Publish, "x");
    assert_eq!(unknown, "no role of the policy takes such a username");
    let wild = reason("project:t1:i1", Action::Publish, "ff/v1/t1/c/#");
    assert_eq!(wild, "a topic name has no wildcard");
    let share = reason("project:t1:i1", Action::Subscribe, "$share/g");
    assert_eq!(share, "a shared subscription is $share/<name>/<filter>");
    let reserved = reason("press@mcp", Action::Publish, "x");
    assert_eq!(
        reserved,
        "it cannot log in: mcp is reserved and cannot be a team's id"
    );
}

#[test]
fn a_mounted_client_is_answered_in_its_own_topics_and_told_of_its_denies() {
    let policy = flowfuse();
    let explain = |asked: &str| policy.explain("press@t1", Action::Subscribe, asked, &world());
    let granted = explain("$share/g/hall/+");
    assert_eq!(granted.ruling, Ruling::AllowChecked);
    assert_eq!(granted.topic, "ff/v1/t1/c/hall/+");
    assert_eq!(granted.group.as_deref(), Some("g"));
    let shown = granted.to_string();
    assert!(shown.contains("decided on ff/v1/t1/c/hall/+"), "{shown}");
    let denied = explain("hall/secret");
    assert_eq!(denied.ruling, Ruling::Deny);
    let rule = denied.rule.expect("the deny");
    assert_eq!(
        rule.text,
        "deny subscribe hall/secret (a pattern of press@t1)"
    );
    assert_eq!((rule.file, rule.line), (None, None));
}
