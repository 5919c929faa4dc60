//! A policy read again and a policy observed, in the running broker: by command, API and signal.

use cofferdam::wire::client::{Publish, ServerPacket};
use cofferdam::wire::{QoS, ReasonCode, Version};
use serde_json::{Value, json};

use crate::running::{Broker, Client, Login, Place, Setup, World, eventually};

const PROFILE: &str = include_str!("../../config/policy/flowfuse.toml");
/// Comes after the table of `[role.client]`.
const NEXT_ROLE: &str = "[role.hosted-nodes]";

/// The built-in profile with one more deny rule for clients of a team.
fn denying(topic: &str) -> String {
    let rule = format!(
        "[[role.client.rules]]\ndeny = \"both\"\ntopics = [\"ff/v1/{{team}}/c/{topic}\"]\n\n{NEXT_ROLE}"
    );
    PROFILE.replacen(NEXT_ROLE, &rule, 1)
}

/// A broker's place whose policy is a file.
fn place() -> Place {
    let mut place = Setup::new().place();
    place.write("policy.toml", PROFILE);
    place.set("COFFERDAM__POLICY__FILE", "policy.toml");
    place
}

fn login(broker: &Broker, login: &Login) -> Client {
    Client::login(broker, "tcp", login, Version::V5)
}

/// What a publish at QoS 1 is answered.
fn publish(client: &mut Client, topic: &str) -> ReasonCode {
    client.send_publish(Publish {
        qos: QoS::AtLeastOnce,
        ..Publish::new(topic, b"x")
    });
    match client.packet() {
        ServerPacket::PubAck { reason, .. } => reason,
        other => panic!("no PUBACK: {other:?}"),
    }
}

fn version(broker: &Broker) -> String {
    let policy = broker.control("GET", "/policy", "").body;
    policy["version"].as_str().expect("a version").to_owned()
}

fn reloads(broker: &Broker, result: &str) -> u64 {
    let name = "cofferdam_policy_reloads_total";
    broker.numbers().sum(name, &[("result", result)])
}

/// The audit row of this event whose detail has this.
fn row(broker: &Broker, event: &str, key: &str, value: &str) -> Value {
    broker.audited(|row| row["event"] == *event && row["detail"][key] == *value)
}

#[test]
fn a_policy_is_read_again_by_command_by_api_and_by_signal() {
    let broker = place().start();
    let first = version(&broker);
    let mut early = login(&broker, &World::alice());
    for topic in ["one", "two", "three"] {
        assert!(!publish(&mut early, topic).is_error());
    }

    let unchanged = broker.place().run_well(&["policy", "reload"]);
    assert!(unchanged.starts_with(&format!(
        "nothing has changed\nin force  {first}  policy.toml"
    )));

    broker.place().write("policy.toml", &denying("one"));
    let changed = broker.place().run_well(&["policy", "reload", "--json"]);
    let changed: Value = serde_json::from_str(&changed).expect("JSON");
    let second = version(&broker);
    assert_eq!(changed["changed"], json!(true));
    assert_eq!(
        (changed["version"].as_str(), second == first),
        (Some(&*second), false)
    );
    assert_eq!(
        row(&broker, "policy_reload", "to", &second)["detail"]["from"],
        json!(first)
    );
    let mut late = login(&broker, &World::anna());
    assert_eq!(publish(&mut late, "one"), ReasonCode::NotAuthorized);

    broker.place().write("policy.toml", &denying("two"));
    let answer = broker.control("POST", "/policy/reload", "");
    assert_eq!(
        (answer.status, &answer.body["changed"]),
        (200, &json!(true))
    );
    let third = version(&broker);
    assert_eq!(
        row(&broker, "policy_reload", "to", &third)["actor"],
        json!("tester")
    );

    broker.place().write("policy.toml", &denying("three"));
    broker.process().signal("HUP");
    let fourth = eventually("another version", || match version(&broker) {
        same if same == third => Err(same),
        other => Ok(other),
    });
    assert_eq!(
        row(&broker, "policy_reload", "to", &fourth)["actor"],
        json!("SIGHUP")
    );
    let mut last = login(&broker, &World::lena());
    assert_eq!(
        publish(&mut last, "own/1"),
        ReasonCode::NoMatchingSubscribers
    );

    assert_eq!(reloads(&broker, "loaded"), 3);
    assert_eq!(reloads(&broker, "unchanged"), 1);
    assert_eq!(reloads(&broker, "refused"), 0);
    let info = |version: &str| {
        let labels = [
            ("use", "in_force"),
            ("file", "policy.toml"),
            ("version", version),
        ];
        broker.numbers().sum("cofferdam_policy_info", &labels)
    };
    assert_eq!((info(&fourth), info(&third)), (1, 0));
}

#[test]
fn who_is_in_is_judged_anew_and_goes_on_under_the_new_policy() {
    let broker = place().start();
    let mut alice = login(&broker, &World::alice());
    alice.subscribe("one", QoS::AtMostOnce);
    alice.subscribe("two", QoS::AtMostOnce);
    let mut anna = login(&broker, &World::anna());
    assert!(!publish(&mut anna, "one").is_error());
    assert_eq!(alice.receive().topic, "one");
    broker.place().write("policy.toml", &denying("one"));
    broker.place().run_well(&["policy", "reload"]);
    let ended = broker.audited(|row| row["event"] == "subscription_ended");
    assert_eq!(ended["actor"], json!("alice@red"));
    let detail = json!({ "filter": "ff/v1/red/c/one", "why": "policy", "change": "policy" });
    assert_eq!(ended["detail"], detail);
    // What was remembered as allowed is asked about again.
    assert_eq!(publish(&mut anna, "one"), ReasonCode::NotAuthorized);
    assert_eq!(publish(&mut anna, "two"), ReasonCode::Success);
    assert_eq!(alice.receive().topic, "two");
    let explain = [
        "policy",
        "explain",
        "--json",
        "--client-id",
        "alice@red",
        "publish",
        "one",
    ];
    let said: Value = serde_json::from_str(&broker.place().run_well(&explain)).expect("JSON");
    let explanation = &said["explanation"];
    assert_eq!(explanation["ruling"], json!("deny"));
    assert_eq!(explanation["policy_version"], json!(version(&broker)));
    assert_eq!(explanation["rule"]["file"], json!("policy.toml"));
}

#[test]
fn who_could_not_log_in_under_the_new_policy_is_disconnected() {
    let broker = place().start();
    let mut alice = login(&broker, &World::alice());
    let mut instance = login(&broker, &World::instance());
    let other = "username = [\"c:{client}@{team}\"]";
    let policy = PROFILE.replacen("username = [\"{client}@{team}\"]", other, 1);
    broker.place().write("policy.toml", &policy);
    broker.place().run_well(&["policy", "reload"]);
    let told = ServerPacket::Disconnect {
        reason: ReasonCode::NotAuthorized,
        properties: vec![],
    };
    assert_eq!(alice.rest(), [told]);
    instance.assert_quiet();
    let row = broker.audited(|row| row["event"] == "disconnect" && row["actor"] == "alice@red");
    assert_eq!(row["detail"]["change"], json!("policy"));
}

#[test]
fn a_bad_policy_is_refused_as_a_whole_with_all_that_is_wrong_and_the_old_one_stays() {
    let broker = place().start();
    let before = version(&broker);
    let bad = denying("one").replacen("reach = \"all\"", "reach = \"everything\"", 1);
    assert_ne!(bad, denying("one"), "spoilt");
    broker.place().write("policy.toml", &bad);
    let refused = broker.place().run(&["policy", "reload"]);
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(
        said.contains("The policy was refused; nothing is changed:\npolicy.toml:"),
        "{said}"
    );

    // Two mistakes in two roles, and a good rule between them that must not count.
    let bad = denying("one").replacen(
        NEXT_ROLE,
        "[[role.client.rules]]\nallow = \"both\"\ntopics = [\"elsewhere/#\"]\n\
         [role.mine]\nusername = [\"mine:{team}\"]\nmount = \"nowhere/\"\n[role.hosted-nodes]",
        1,
    );
    broker.place().write("policy.toml", &bad);
    let answer = broker.control("POST", "/policy/reload", "");
    assert_eq!(answer.status, 422);
    let errors = answer.body["errors"].as_array().expect("errors");
    let keys: Vec<_> = errors.iter().map(|error| error["key"].as_str()).collect();
    assert_eq!(
        keys,
        [
            Some("role.client.rules[1].topics[0]"),
            Some("role.mine.mount")
        ]
    );
    let lines: Vec<_> = errors.iter().map(|error| error["line"].as_u64()).collect();
    let line_of = |text: &str| {
        bad.lines()
            .position(|line| line.contains(text))
            .map(|at| at as u64 + 1)
    };
    assert_eq!(lines, [line_of("elsewhere"), line_of("nowhere")]);
    let row = broker.audited(|row| row["event"] == "policy_refused" && row["detail"]["count"] == 2);
    assert_eq!(row["detail"]["for"], json!("reload"));
    assert!(
        row["detail"]["errors"][1]
            .as_str()
            .is_some_and(|it| it.contains("role.mine.mount"))
    );

    // Teams cannot be moved while they are there.
    let moved = PROFILE.replace("ff/v1/", "ff/v2/");
    broker.place().write("policy.toml", &moved);
    let answer = broker.control("POST", "/policy/reload", "");
    assert_eq!(answer.status, 422);
    assert!(
        answer.body["detail"]
            .as_str()
            .is_some_and(|it| it.contains("the namespace is another one"))
    );

    std::fs::remove_file(broker.place().path("policy.toml")).expect("removed");
    broker.process().signal("HUP");
    eventually("four refusals", || match reloads(&broker, "refused") {
        4 => Ok(()),
        count => Err(count.to_string()),
    });
    assert_eq!(version(&broker), before);
    let mut client = login(&broker, &World::alice());
    assert!(!publish(&mut client, "one").is_error());
    let log = broker.process().log();
    assert!(
        log.contains("role.mine.mount") && log.contains("policy.toml cannot be read"),
        "{log}"
    );
}

#[test]
fn an_observed_policy_is_on_record_and_in_the_metrics_and_decides_nothing() {
    let broker = place().start();
    let before = version(&broker);
    broker.place().write("new.toml", &denying("secret/#"));
    let shown = broker.place().run_well(&["policy", "observe", "new.toml"]);
    assert!(shown.contains("\nobserved  "), "{shown}");

    let mut alice = login(&broker, &World::alice());
    let mut anna = login(&broker, &World::anna());
    anna.subscribe("#", QoS::AtLeastOnce);
    for _ in 0..3 {
        assert_eq!(publish(&mut alice, "secret/1"), ReasonCode::Success);
        assert_eq!(anna.receive().topic, "secret/1");
    }
    broker.wait_for_numbers(|numbers| {
        let name = "cofferdam_policy_observed_total";
        numbers.check(name, &[("action", "publish"), ("would", "deny")], 3)?;
        numbers.check(name, &[("action", "deliver"), ("would", "deny")], 3)?;
        numbers.check(name, &[("would", "allow")], 0)
    });
    for (action, actor) in [("publish", "alice@red"), ("deliver", "anna@red")] {
        let row = row(&broker, "policy_observed", "action", action);
        assert_eq!(row["actor"], json!(actor));
        assert_eq!(row["level"], json!("team"));
        assert_eq!(
            row["detail"],
            json!({ "action": action, "would": "deny", "topic": "ff/v1/red/c/secret/1" })
        );
    }
    let shown: Value =
        serde_json::from_str(&broker.place().run_well(&["policy", "show", "--json"]))
            .expect("JSON");
    assert_eq!(shown["version"], json!(before));
    assert_eq!(shown["observed"]["file"], json!("new.toml"));

    // A bad one takes nobody's place.
    broker
        .place()
        .write("bad.toml", "[namespace]\nteam = \"no\"\n");
    let refused = broker.place().run(&["policy", "observe", "bad.toml"]);
    assert_eq!(refused.status.code(), Some(2));
    let observed = broker.control("GET", "/policy", "").body["observed"].clone();
    assert_eq!(observed, shown["observed"]);

    broker.place().run_well(&["policy", "observe", "--stop"]);
    assert!(!publish(&mut alice, "secret/1").is_error());
    anna.receive();
    broker.audited(|row| row["event"] == "policy_observe_end");
    let again = broker.place().run(&["policy", "observe", "--stop"]);
    assert_eq!(again.status.code(), Some(1));
    let counted = broker.numbers().sum("cofferdam_policy_observed_total", &[]);
    assert_eq!(counted, 6, "nothing is observed any more");
}

#[test]
fn a_policy_can_be_observed_from_the_start_and_a_bad_one_keeps_the_broker_from_starting() {
    let mut place = place();
    place.write("new.toml", &denying("secret/#"));
    place.set("COFFERDAM__POLICY__OBSERVE", "new.toml");
    let broker = place.start();
    let observed = broker.control("GET", "/policy", "").body["observed"]["file"].clone();
    assert_eq!(observed, json!("new.toml"));
    let row = row(&broker, "policy_observe", "file", "new.toml");
    assert_eq!(row["actor"], json!("configuration"));

    let (place, _) = broker.stop();
    place.write("new.toml", "[namespace]\nteam = \"no\"\n");
    let refused = place.run(&["serve"]);
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("new.toml:2: namespace.team: "), "{said}");
}
