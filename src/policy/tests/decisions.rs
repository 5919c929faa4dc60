//! What grants decide: conditions, patterns, denies, shares, and what changes under them.

use super::super::{Action, Grant, GrantError, PatternAction, Policy, Ruling};
use super::{World, all_patterns, filter, flowfuse, may_publish, may_subscribe, name, pattern};

#[test]
fn patterns_are_matched_before_the_mount_and_contain_what_is_subscribed() {
    let world = World {
        patterns: vec![
            pattern(PatternAction::Both, true, "hall/+"),
            pattern(PatternAction::Publish, true, "log/#"),
            pattern(PatternAction::Subscribe, true, "news"),
        ],
        ..World::default()
    };
    let policy = flowfuse();
    for username in ["press@t1", "mq:hosted:t1:i1", "mq:remote:t1:d1"] {
        let grant = world.grant(&policy, username);
        assert!(may_publish(&grant, "hall/1") && may_publish(&grant, "log"));
        assert!(!may_publish(&grant, "news") && !may_publish(&grant, "hall/1/x"));
        assert!(may_subscribe(&grant, "hall/+") && may_subscribe(&grant, "$share/g/hall/2"));
        assert!(!may_subscribe(&grant, "hall/#"), "the platform's hole");
        assert!(!may_subscribe(&grant, "#") && !may_subscribe(&grant, "log/#"));
    }
    let observer = world.grant(&policy, "agent:t1@t1");
    assert!(may_subscribe(&observer, "#"));
    assert!(
        !may_publish(&observer, "hall/1"),
        "patterns are not for its role"
    );
}

#[test]
fn a_deny_wins_and_where_it_only_overlaps_the_denied_messages_are_left_out() {
    let world = World {
        patterns: vec![
            pattern(PatternAction::Both, true, "#"),
            pattern(PatternAction::Subscribe, false, "hall/secret/#"),
            pattern(PatternAction::Publish, false, "alarm"),
        ],
        ..World::default()
    };
    let grant = world.grant(&flowfuse(), "press@t1");
    let subscribe = |text: &str| {
        let decision = grant.subscribe(filter(&format!("ff/v1/t1/c/{text}")), None);
        (decision.ruling, decision.rule)
    };
    assert_eq!(subscribe("hall/+"), (Ruling::AllowChecked, Some(0)));
    assert_eq!(subscribe("#"), (Ruling::AllowChecked, Some(0)));
    assert_eq!(subscribe("door/#"), (Ruling::Allow, Some(0)));
    assert_eq!(subscribe("hall/secret/+"), (Ruling::Deny, Some(1)));
    assert_eq!(
        subscribe("alarm"),
        (Ruling::Allow, Some(0)),
        "the deny is on publishing"
    );
    assert!(!grant.may_receive(name("ff/v1/t1/c/hall/secret")));
    assert!(!grant.may_receive(name("ff/v1/t1/c/hall/secret/1")));
    assert!(grant.may_receive(name("ff/v1/t1/c/hall/1")));
    assert!(grant.may_receive(name("ff/v1/t1/c/alarm")));
    assert!(may_publish(&grant, "hall/secret/1") && !may_publish(&grant, "alarm"));
}

#[test]
fn a_shared_subscription_needs_a_rule_that_permits_its_group() {
    let grant = all_patterns().grant(&flowfuse(), "project:t1:i1");
    for (asked, expected) in [
        ("$share/i1/ff/v1/t1/p/i1/in/+/#", true),
        ("$share/platform/ff/v1/t1/p/+/out/x", true),
        ("$share/i2/ff/v1/t1/p/i1/in/+/#", false),
        ("$share/other/ff/v1/t1/p/+/out/x", false),
        ("$share/i1/ff/v1/t1/p/i1/res/x", false),
        ("$share/i1/ff/v1/t1/c/x", false),
        ("ff/v1/t1/p/i1/res/x", true),
    ] {
        assert_eq!(may_subscribe(&grant, asked), expected, "{asked}");
    }
    // What Node-RED really subscribes to is not slowed by a check on each delivery.
    let granted = grant.subscribe(filter("ff/v1/t1/p/+/out/+/#"), Some("i1"));
    assert_eq!(granted.ruling, Ruling::Allow);
    let granted = grant.subscribe(filter("ff/v1/t1/p/i1/in/#"), Some("i1"));
    assert_eq!(granted.ruling, Ruling::Allow);
}

#[test]
fn an_instance_that_comes_or_goes_counts_at_once_for_the_devices_of_its_team() {
    let world = all_patterns();
    let grant = world.grant(&flowfuse(), "device:t1:d1");
    let decide = |grant: &Grant| {
        let topic = "ff/v1/t1/p/i3/in/x";
        (may_publish(grant, topic), may_subscribe(grant, topic))
    };
    let before = grant.generation();
    assert_eq!(decide(&grant), (false, false));
    world.members.add_instance("i3");
    assert_eq!(decide(&grant), (true, true));
    let added = grant.generation();
    assert_ne!(added, before, "remembered decisions are out of date");
    world.members.remove_instance("i3");
    assert_eq!(decide(&grant), (false, false));
    assert_ne!(grant.generation(), added);
    let removed = grant.generation();
    world.members.replace_instances(["i3"]);
    assert_ne!(grant.generation(), removed);
    assert_eq!(decide(&grant), (true, true));
    assert!(!may_publish(&grant, "ff/v1/t1/p/i1/in/x"));
}

#[test]
fn a_grant_is_refused_where_role_team_bindings_and_patterns_do_not_fit() {
    let policy = flowfuse();
    let base = policy
        .principal("press@t1", &World::default())
        .expect("a role");
    let grant = |edit: &dyn Fn(&mut super::Principal)| {
        let mut principal = base.clone();
        edit(&mut principal);
        policy.grant(principal, &World::default()).map(|_| ())
    };
    assert_eq!(grant(&|_| ()), Ok(()));
    let error = grant(&|principal| principal.role = "x".into());
    assert_eq!(error, Err(GrantError::UnknownRole("x".into())));
    let error = grant(&|principal| principal.team = None);
    assert_eq!(error, Err(GrantError::Team("client".into())));
    let error = grant(&|principal| principal.role = "platform".into());
    assert_eq!(error, Err(GrantError::Team("platform".into())));
    let error = grant(&|principal| principal.bindings[0].1 = "a/+".into());
    assert_eq!(error, Err(GrantError::Binding("client".into())));
    let error = grant(&|principal| {
        principal
            .patterns
            .push(pattern(PatternAction::Both, true, "a#"));
    });
    assert!(
        matches!(error, Err(GrantError::Pattern { .. })),
        "{error:?}"
    );
}

#[test]
fn a_grant_costs_little_beyond_its_principal() {
    let own = size_of::<Grant>() - size_of::<super::Principal>();
    assert!(own <= 72, "{own} bytes in itself");
    let grant = all_patterns().grant(&flowfuse(), "device:t1:d1");
    let behind = size_of_val(&*grant.values) + grant.mount().len().max(grant.root().len());
    assert!(behind <= 120, "{behind} bytes behind it");
}

#[test]
fn when_asks_whether_a_binding_is_known_and_what_it_is() {
    let text = r#"
        [namespace]
        team = "n/{team}/"
        [role.r]
        username = ["r:{team}"]
        bindings = ["kind"]
        [[role.r.rules]]
        when = { kind = false }
        allow = "publish"
        topics = ["n/{team}/unknown"]
        [[role.r.rules]]
        when = { kind = true }
        allow = "publish"
        topics = ["n/{team}/known", "n/{team}/{kind}"]
        [[role.r.rules]]
        when = { kind = "a" }
        allow = "publish"
        topics = ["n/{team}/is-a"]
    "#;
    let policy = Policy::parse("test.toml", text).unwrap_or_else(|error| panic!("{error}"));
    let may = |bindings: &[(&'static str, &'static str)]| {
        let world = World {
            bindings: bindings.to_vec(),
            ..World::default()
        };
        let grant = world.grant(&policy, "r:t");
        ["unknown", "known", "is-a", "a", "b"]
            .map(|word| may_publish(&grant, &format!("n/t/{word}")))
    };
    assert_eq!(may(&[]), [true, false, false, false, false]);
    assert_eq!(may(&[("kind", "a")]), [false, true, true, true, false]);
    assert_eq!(may(&[("kind", "b")]), [false, true, false, false, true]);
}

#[test]
fn an_action_has_one_word() {
    for action in [Action::Publish, Action::Subscribe] {
        assert_eq!(Action::from_word(action.as_str()), Some(action));
    }
    assert_eq!(Action::from_word("both"), None);
}

#[test]
fn a_leading_wildcard_of_a_rule_does_not_reach_what_begins_with_a_dollar() {
    let text = r##"
        [namespace]
        team = "n/{team}/"
        [role.root]
        username = ["root"]
        reach = "all"
        [[role.root.rules]]
        allow = "both"
        topics = ["#", "$own/+"]
        [[role.root.rules]]
        deny = "subscribe"
        topics = ["+/secret", "$own/b"]
    "##;
    let policy = Policy::parse("test.toml", text).unwrap_or_else(|error| panic!("{error}"));
    let grant = World::default().grant(&policy, "root");
    assert!(may_publish(&grant, "x/y") && may_publish(&grant, "$own/a"));
    assert!(!may_publish(&grant, "$SYS/x") && !may_subscribe(&grant, "$SYS/#"));
    let ruling = |asked: &str| grant.subscribe(filter(asked), None).ruling;
    assert_eq!(ruling("#"), Ruling::AllowChecked);
    assert_eq!(ruling("x/secret"), Ruling::Deny);
    assert_eq!(
        ruling("$own/+"),
        Ruling::AllowChecked,
        "for $own/b, not for +/secret"
    );
    assert_eq!(ruling("$own/secret"), Ruling::Allow);
    assert_eq!(ruling("+/b"), Ruling::Allow, "$own/b is hidden from it");
    assert_eq!(ruling("x/y"), Ruling::Allow);
    assert!(grant.may_receive(name("$own/secret")) && !grant.may_receive(name("x/secret")));
}
