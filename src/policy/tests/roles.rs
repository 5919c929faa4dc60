//! The built-in policy, role by role.

use super::super::{GrantError, Ruling};
use super::{World, all_patterns, filter, flowfuse, may_publish, may_subscribe, name};

/// One username of every role that has one.
const USERNAMES: [(&str, &str); 11] = [
    ("forge_platform", "platform"),
    ("project:t1:i1", "instance"),
    ("device:t1:d1", "device"),
    ("frontend:t1:d1", "device-tab"),
    ("fe-team:u1:t1:session1", "team-tab"),
    ("expert-client:u1:session1", "expert-client"),
    ("expert-agent:api:v1", "expert-agent"),
    ("press@t1", "client"),
    ("mq:hosted:t1:i1", "hosted-nodes"),
    ("mq:remote:t1:d1", "remote-nodes"),
    ("agent:t1@t1", "observer"),
];

#[test]
fn a_username_tells_the_role_and_its_variables() {
    let policy = flowfuse();
    for (username, role) in USERNAMES {
        let principal = policy
            .principal(username, &World::default())
            .expect(username);
        assert_eq!(&*principal.role, role, "{username}");
        let team = principal.team.as_ref().map(|team| team.as_str());
        let spans = matches!(role, "platform" | "expert-client" | "expert-agent");
        assert_eq!(team, (!spans).then_some("t1"), "{username}");
    }
    let tab = policy.principal("fe-team:u1:t1:session1", &World::default());
    let tab = tab.expect("a role");
    let bindings: Vec<(&str, &str)> = tab.bindings.iter().map(|(n, v)| (&**n, &**v)).collect();
    assert_eq!(bindings, [("user", "u1"), ("session", "session1")]);
    let plain = policy
        .principal("plant:press@t1", &World::default())
        .expect("a role");
    assert_eq!(&*plain.role, "client");
    for nobody in [
        "",
        "nobody",
        "forge_platform2",
        "project:",
        "project::",
        "project:t1:",
        "project::i1",
        "project:t1:i1:x",
        "device::",
        "@t1",
        "press@",
        "press@$SYS",
        "press@t/1",
        "pr/ess@t1",
        "mq:hosted:t1:i1:r1",
        "mq:else:t1:i1",
        "project:+:i1",
        "device:t1:#",
    ] {
        assert_eq!(
            policy.principal(nobody, &World::default()),
            None,
            "{nobody}"
        );
    }
}

#[test]
fn a_reserved_segment_is_never_a_team() {
    let policy = flowfuse();
    for username in [
        "project:platform:i1",
        "press@expert",
        "fe-team:u1:browser:s1",
    ] {
        let principal = policy
            .principal(username, &World::default())
            .expect("a role");
        let team = principal.team.clone().expect("a team").shared();
        let error = policy
            .grant(principal, &World::default())
            .expect_err(username);
        assert_eq!(error, GrantError::ReservedTeam(team));
    }
}

#[test]
fn no_principal_of_a_team_reaches_another_team_whatever_it_asks() {
    let policy = flowfuse();
    let world = all_patterns();
    for (username, role) in USERNAMES {
        if role == "platform" {
            continue;
        }
        let grant = world.grant(&policy, username);
        for topic in [
            "ff/v1/t2/c/x",
            "ff/v1/t2/p/i1/in/x",
            "ff/v1/t2/d/d1/status",
            "ff/v1/t1",
            "ff/v1/t11/c/x",
            "ff/v1/platform/sync",
            "$SYS/broker",
            "x",
            "/ff/v1/t1/c/x",
        ] {
            assert!(!grant.reaches(name(topic)), "{username} {topic}");
            assert!(!grant.publish(name(topic)).is_allow(), "{username} {topic}");
        }
        for asked in [
            "#",
            "+/#",
            "ff/#",
            "ff/v1/#",
            "ff/v1/+/c/#",
            "ff/v1/+/c/x",
            "+/v1/t1/c/x",
            "ff/v1/t2/c/x",
            "ff/v1/t2/#",
            "ff/+/t1/c/#",
            "ff/v1/platform/#",
            "$SYS/#",
        ] {
            assert!(!grant.reaches_filter(filter(asked)), "{username} {asked}");
            assert!(
                !grant.subscribe(filter(asked), None).is_allow(),
                "{username} {asked}"
            );
        }
    }
}

#[test]
fn the_platform_reaches_every_team_and_is_bound_by_its_rules() {
    let grant = World::default().grant(&flowfuse(), "forge_platform");
    assert_eq!((grant.root(), grant.mount(), grant.team()), ("", "", None));
    // What it subscribes to at its start: one of nine is refused, as by the platform's own rules.
    let asked = [
        ("$share/platform/ff/v1/+/l/+/status", true),
        ("$share/platform/ff/v1/+/d/+/status", true),
        ("ff/v1/+/d/+/response/0b0c", true),
        ("ff/v1/+/d/+/logs/heartbeat", true),
        ("ff/v1/+/d/+/resources/heartbeat", true),
        ("ff/v1/platform/sync", true),
        ("$share/expert/ff/v1/expert/+/+/platform/+/request", false),
        ("$share/browser/ff/v1/+/u/+/s/+/+", true),
        ("ff/v1/mcp/0b0c/+/+/response", true),
    ];
    for (asked, expected) in asked {
        assert_eq!(may_subscribe(&grant, asked), expected, "{asked}");
    }
    assert!(may_publish(&grant, "ff/v1/platform/leader"), "its will");
    assert!(!may_subscribe(&grant, "ff/v1/+/c/#"));
    assert!(!may_subscribe(&grant, "#"));
    assert!(!may_publish(&grant, "ff/v1/t1/c/x"));
}

#[test]
fn a_browser_tab_watches_its_team_and_speaks_for_its_own_session() {
    let grant = World::default().grant(&flowfuse(), "fe-team:u1:t1:session1");
    for topic in [
        "ff/v1/t1/u/u1/s/session1/heartbeat",
        "ff/v1/t1/u/u1/s/session1/disconnected",
        "ff/v1/browser/tab-presence/u1/session1/context",
        "ff/v1/expert/u1/session1/p/i1/mcp/inflight/x/response",
    ] {
        assert!(may_publish(&grant, topic), "{topic}");
    }
    for topic in [
        "ff/v1/t1/u/u2/s/session1/heartbeat",
        "ff/v1/t1/u/u1/s/session2/heartbeat",
        "ff/v1/t1/u/u1/s/session1/other",
        "ff/v1/browser/tab-presence/u2/session1/context",
        "ff/v1/t1/t/updated",
    ] {
        assert!(!may_publish(&grant, topic), "{topic}");
    }
    assert!(may_subscribe(&grant, "ff/v1/t1/p/+/state"));
    assert!(may_subscribe(
        &grant,
        "ff/v1/expert/u1/session1/+/+/mcp/inflight/+/request"
    ));
    assert!(!may_subscribe(
        &grant,
        "ff/v1/expert/u1/+/+/+/mcp/inflight/+/request"
    ));
    assert!(!may_subscribe(&grant, "ff/v1/t1/u/+/membership"));
    assert!(!may_subscribe(&grant, "$share/browser/ff/v1/t1/p/+/state"));
}

#[test]
fn a_tab_for_a_device_that_is_not_assigned_sees_nothing() {
    let policy = flowfuse();
    let assigned = all_patterns().grant(&policy, "frontend:t1:d1");
    assert!(may_subscribe(&assigned, "ff/v1/t1/d/+/logs"));
    let unassigned = World::default().grant(&policy, "frontend:t1:d1");
    assert!(!may_subscribe(&unassigned, "ff/v1/t1/d/+/logs"));
    assert!(!may_publish(&unassigned, "ff/v1/t1/d/d1/logs/heartbeat"));
}

#[test]
fn the_assistant_and_its_users_stay_in_the_commons() {
    let policy = flowfuse();
    let user = World::default().grant(&policy, "expert-client:u1:session1");
    assert!(may_subscribe(
        &user,
        "ff/v1/expert/u1/session1/+/+/support/chat/response"
    ));
    assert!(!may_subscribe(
        &user,
        "ff/v1/expert/u2/session1/+/+/support/chat/response"
    ));
    assert!(may_publish(
        &user,
        "ff/v1/expert/u1/session1/t/t1/support/chat/request"
    ));
    assert!(!may_publish(
        &user,
        "ff/v1/expert/u1/session1/x/t1/support/chat/request"
    ));
    assert!(
        !user.reaches(name("ff/v1/mcp/x/y/z/request")),
        "no rule of its names it"
    );
    let agent = World::default().grant(&policy, "expert-agent:api:v1");
    assert!(may_subscribe(
        &agent,
        "ff/v1/expert/+/+/platform/+/response"
    ));
    assert!(may_publish(
        &agent,
        "ff/v1/expert/u1/session1/t/t1/support/chat/response"
    ));
    assert!(may_publish(
        &agent,
        "ff/v1/expert/expert-agent/bridge/platform/heartbeat/request"
    ));
    assert!(!may_publish(
        &agent,
        "ff/v1/expert/forge_platform/bridge/platform/heartbeat/request"
    ));
}

#[test]
fn a_client_without_patterns_may_do_nothing_and_an_anonymous_one_anything_in_its_mount() {
    let policy = flowfuse();
    let client = World::default().grant(&policy, "press@t1");
    assert_eq!(
        (client.root(), client.mount()),
        ("ff/v1/t1/", "ff/v1/t1/c/")
    );
    assert!(!may_publish(&client, "x") && !may_subscribe(&client, "x"));
    let mut principal = client.principal().clone();
    principal.role = "anonymous".into();
    let anonymous = policy.grant(principal, &World::default()).expect("a grant");
    assert_eq!(anonymous.mount(), "ff/v1/t1/c/");
    for asked in ["#", "+", "x/#", "$share/any/x", "ff/v1/t2/#"] {
        assert!(may_subscribe(&anonymous, asked), "{asked}");
    }
    assert!(may_publish(&anonymous, "a/b") && may_publish(&anonymous, "$x"));
    assert!(!anonymous.publish(name("ff/v1/t1/p/i1/in/x")).is_allow());
    assert!(!anonymous.subscribe(filter("ff/v1/t1/#"), None).is_allow());
}

#[test]
fn a_client_id_is_the_username_where_the_role_says_so() {
    let policy = flowfuse();
    let accepts = |username: &str, id: &str| {
        World::default()
            .grant(&policy, username)
            .accepts_client_id(id)
    };
    assert!(accepts("press@t1", "press@t1"));
    assert!(!accepts("press@t1", "press@t1:1") && !accepts("press@t1", ""));
    assert!(accepts("mq:hosted:t1:i1", "mq:hosted:t1:i1"));
    assert!(accepts("mq:hosted:t1:i1", "mq:hosted:t1:i1:a1"));
    assert!(!accepts("mq:hosted:t1:i1", "mq:hosted:t1:i1:"));
    assert!(!accepts("mq:remote:t1:d1", "mq:remote:t1:d1:a1"));
    assert!(accepts("project:t1:i1", "anything"));
}

#[test]
fn instances_and_devices_may_not_ask_for_names_without_a_topic() {
    let policy = flowfuse();
    for username in ["project:t1:i1", "device:t1:d1"] {
        let grant = all_patterns().grant(&policy, username);
        for topic in [
            "c",
            "c/",
            "c//x",
            "p/i1/in",
            "p/i1/in/",
            "p/i1/in//x",
            "p/i1/out",
            "p/i2/out/",
            "p//out/x",
            "p/i1/res",
            "p/i1/res/",
        ] {
            let full = format!("ff/v1/t1/{topic}");
            assert!(!may_subscribe(&grant, &full), "{username} {topic}");
            assert!(!may_publish(&grant, &full), "{username} {topic}");
        }
        for asked in [
            "c/#",
            "c/+",
            "c/x//y",
            "p/i1/in/#",
            "p/i1/in/+/#",
            "p/+/out/#",
            "p/i1/res/+",
        ] {
            let decision = grant.subscribe(filter(&format!("ff/v1/t1/{asked}")), None);
            assert_eq!(decision.ruling, Ruling::Allow, "{username} {asked}");
        }
    }
}
