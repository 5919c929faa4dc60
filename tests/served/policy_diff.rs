//! What another policy would decide otherwise, before it is in force.

use cofferdam::wire::client::{Connect, Publish, subscribe};
use cofferdam::wire::{QoS, RetainHandling, SubscriptionOptions, Version};
use serde_json::{Value, json};

use crate::running::{Broker, Client, Document, Place, Setup, World, eventually};

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

fn line_of(text: &str, part: &str) -> u64 {
    let at = text.lines().position(|line| line.contains(part));
    at.expect("a line") as u64 + 1
}

/// What a command printed, a line of JSON each, with its exit code.
fn run(place: &Place, arguments: &[&str]) -> (Option<i32>, Vec<Value>) {
    let output = place.run(&[arguments, &["--json"]].concat());
    let text = String::from_utf8(output.stdout).expect("text");
    let parsed = text.lines().map(serde_json::from_str);
    let lines: Result<_, _> = parsed.collect();
    (output.status.code(), lines.expect("JSON, a line each"))
}

/// The parts of a difference that tests look at, in one text.
fn brief(difference: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let side = |side: &Value| text(&side["ruling"]);
    format!(
        "{} {} {} {} {}",
        text(&difference["client_id"]),
        text(&difference["action"]),
        text(&difference["topic"]),
        side(&difference["old"]),
        side(&difference["new"]),
    )
}

/// Two clients with subscriptions and publishes, on two shards or one.
fn scene() -> (Broker, [Client; 2]) {
    let broker = Setup::new().start();
    broker.place().write("new.toml", &denying("secret/#"));
    let mut alice = Client::login(&broker, "tcp", &World::alice(), Version::V5);
    for filter in ["secret/a", "#", "$share/g/secret/+", "open/#"] {
        alice.subscribe(filter, QoS::AtMostOnce);
    }
    let mut anna = Client::dial(&broker, "tcp", Version::V5);
    anna.connect(&Connect {
        client_id: "anna@red".to_owned(),
        ..World::anna().connect(Version::V5)
    });
    for topic in ["secret/b", "open/b"] {
        anna.publish(Publish {
            qos: QoS::AtLeastOnce,
            ..Publish::new(topic, b"x")
        });
    }
    (broker, [alice, anna])
}

#[test]
fn the_live_subscriptions_and_recent_publishes_that_change_are_listed_with_their_rules() {
    let (broker, _clients) = scene();
    let (code, mut lines) = run(broker.place(), &["policy", "diff", "new.toml"]);
    assert_eq!(code, Some(1));
    let summary = lines.pop().expect("a summary");
    assert_eq!(
        summary,
        json!({
            "source": "live", "sessions": 2, "subscriptions": 4, "publishes": 2, "refusals": 0,
            "differ": 4,
        })
    );
    let mut found: Vec<_> = lines.iter().map(brief).collect();
    found.sort();
    assert_eq!(
        found,
        [
            "alice@red subscribe # allow allow_checked",
            "alice@red subscribe $share/g/secret/+ allow deny",
            "alice@red subscribe secret/a allow deny",
            "anna@red publish secret/b allow deny",
        ]
    );
    let publish = lines
        .iter()
        .find(|line| line["action"] == "publish")
        .expect("listed");
    let rule = &publish["new"]["rule"];
    assert_eq!(rule["file"], json!("new.toml"));
    assert_eq!(
        rule["line"],
        json!(line_of(&denying("secret/#"), "/c/secret/#"))
    );
    assert_eq!(
        publish["old"]["rule"]["text"],
        json!("allow both # (a pattern of anna@red)")
    );

    let text = broker.place().run(&["policy", "diff", "new.toml"]);
    let text = String::from_utf8(text.stdout).expect("text");
    assert!(
        text.contains("anna@red (client id anna@red): publish secret/b: allow -> deny\n"),
        "{text}"
    );
    assert!(
        text.ends_with(
            "2 live sessions with 4 subscriptions and 2 recent publishes, 0 refusals of the last \
             day; 4 answers differ\n"
        ),
        "{text}"
    );
}

#[test]
fn two_policies_that_decide_alike_differ_in_nothing() {
    let (broker, _clients) = scene();
    let commented = format!("# Another text.\n{}", denying("secret/#"));
    broker.place().write("same.toml", &commented);
    let (code, lines) = run(broker.place(), &["policy", "diff", "new.toml", "same.toml"]);
    assert_eq!((code, lines.len()), (Some(0), 1), "{lines:?}");
    // From the stricter to the one in force: the answers that come back.
    broker.place().write("old.toml", PROFILE);
    let (code, lines) = run(broker.place(), &["policy", "diff", "new.toml", "old.toml"]);
    assert_eq!((code, lines.len()), (Some(1), 5), "{lines:?}");
    let back = lines.iter().filter(|line| line["new"]["ruling"] == "allow");
    assert_eq!(back.count(), 4);
}

#[test]
fn what_was_refused_of_late_and_would_be_allowed_is_listed_from_the_record() {
    let mut place = Setup::new().place();
    place.write("policy.toml", &denying("secret/#"));
    place.write("new.toml", PROFILE);
    place.set("COFFERDAM__POLICY__FILE", "policy.toml");
    let broker = place.start();
    let mut alice = Client::login(&broker, "tcp", &World::alice(), Version::V5);
    let mut lena = Client::login(&broker, "tcp", &World::lena(), Version::V5);
    let publish = |client: &mut Client, topic| {
        client.send_publish(Publish {
            qos: QoS::AtLeastOnce,
            ..Publish::new(topic, b"x")
        });
        client.packet();
    };
    for topic in ["secret/a", "secret/a", "open"] {
        publish(&mut alice, topic);
    }
    publish(&mut lena, "secret/a");
    let options = SubscriptionOptions {
        qos: QoS::AtMostOnce,
        no_local: false,
        retain_as_published: false,
        retain_handling: RetainHandling::Send,
    };
    let filter = ("$share/g/secret/#", options);
    alice.send(&subscribe(Version::V5, 9, &[filter], &[]));
    alice.packet();
    for (event, count) in [("publish_refused", 3), ("subscribe_refused", 1)] {
        eventually("refusals on record", || {
            let rows = broker.place().audit();
            let found = rows.iter().filter(|row| row["event"] == *event).count();
            (found == count).then_some(()).ok_or(found)
        });
    }
    let (code, mut lines) = run(broker.place(), &["policy", "diff", "new.toml"]);
    assert_eq!(code, Some(1));
    let summary = lines.pop().expect("a summary");
    // Lena's is refused by the new policy too; Alice's two of the same are one.
    assert_eq!(
        (&summary["refusals"], &summary["differ"]),
        (&json!(3), &json!(2))
    );
    let found: Vec<_> = lines
        .iter()
        .map(|line| (brief(line), line["username"].clone()))
        .collect();
    let alices = |text: &str| (text.to_owned(), json!("alice@red"));
    assert_eq!(
        found,
        [
            alices("- publish secret/a deny allow"),
            alices("- subscribe $share/g/secret/# deny allow"),
        ]
    );
    let why = lines[0]["old"]["reason"].as_str().expect("a reason");
    assert!(
        why.starts_with("refused at 2") && why.ends_with(", on record"),
        "{why}"
    );
}

#[test]
fn a_wrong_policy_is_refused_before_anything_is_compared() {
    let (broker, _clients) = scene();
    broker
        .place()
        .write("bad.toml", "[namespace]\nteam = \"no\"\n");
    for files in [
        &["bad.toml"][..],
        &["bad.toml", "new.toml"],
        &["new.toml", "bad.toml"],
    ] {
        let output = broker.place().run(&[&["policy", "diff"], files].concat());
        assert_eq!(output.status.code(), Some(2), "{files:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("bad.toml:2: namespace.team: "), "{said}");
    }
}

#[test]
fn every_page_is_as_the_document_says_and_every_session_is_on_one_of_them() {
    let (broker, _clients) = scene();
    let document = Document(broker.control("GET", "/openapi.json", "").body);
    let file = json!({ "file": "new.toml", "text": denying("secret/#") });
    let (mut after, mut sessions, mut pages) = (Value::Null, 0, 0);
    loop {
        let question = json!({ "new": file, "after": after });
        let answer = broker.control("POST", "/policy/diff", &question.to_string());
        assert_eq!(answer.status, 200);
        document.check("POST", "/policy/diff", 200, &answer.media, &answer.body);
        sessions += answer.body["looked_at"]["sessions"]
            .as_u64()
            .expect("a count");
        pages += 1;
        after = answer.body["next"].clone();
        if after.is_null() {
            break;
        }
    }
    assert_eq!((sessions, pages), (2, 2), "a page a shard");
    let beyond = json!({ "new": file, "after": { "shard": 9, "place": 0 } });
    let bad = json!({ "new": { "file": "x", "text": "y" } });
    for (question, status) in [(beyond, 400), (bad, 422)] {
        let answer = broker.control("POST", "/policy/diff", &question.to_string());
        assert_eq!(answer.status, status);
        document.check("POST", "/policy/diff", status, &answer.media, &answer.body);
    }
}

#[test]
fn without_a_broker_the_principals_on_record_are_asked_and_that_is_said() {
    let place = Setup::new().place();
    place.write("new.toml", &denying("own/#"));
    let output = place.run(&["policy", "diff", "new.toml"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(
        text.starts_with("no broker runs here: asking for the principals on record "),
        "{text}"
    );

    let (code, mut lines) = run(&place, &["policy", "diff", "new.toml"]);
    assert_eq!(code, Some(1));
    let summary = lines.pop().expect("a summary");
    assert_eq!(summary["source"], json!("on_record"));
    assert_eq!(summary["differ"], json!(lines.len()));
    let of = |username: &str| {
        let own = lines.iter().filter(|line| line["username"] == *username);
        let mut own: Vec<_> = own.map(brief).collect();
        own.sort();
        own
    };
    // Its pattern is `own/#`; the rule's own topic is asked too, and the name that it matches.
    assert_eq!(
        of("lena@red"),
        [
            "- publish own/any allow deny",
            "- subscribe own/# allow deny"
        ]
    );
    assert_eq!(
        of("alice@red"),
        [
            "- publish own/any allow deny",
            "- subscribe # allow allow_checked",
            "- subscribe own/# allow deny",
        ]
    );
    assert_eq!(of(&World::instance().username), [""; 0]);
}

#[test]
fn expectations_are_compared_line_by_line() {
    let place = Setup::new().place();
    place.write("new.toml", &denying("own/#"));
    let lines = "# comment\nlena@red\tpublish\town/1\tallow\nlena@red\tpublish\tother\tdeny\n\
                 alice@red\tsubscribe\t#\tallow\n";
    place.write("expected.tsv", lines);
    let arguments = [
        "policy",
        "diff",
        "new.toml",
        "--expectations",
        "expected.tsv",
    ];
    let (code, found) = run(&place, &arguments);
    assert_eq!(code, Some(1));
    let differing: Vec<_> = found.iter().map(|line| line["line"].as_u64()).collect();
    assert_eq!(differing, [Some(2), Some(4), None]);
    assert_eq!(found[0]["new"]["ruling"], json!("deny"));
    assert_eq!(found[1]["new"]["ruling"], json!("allow_checked"));
    assert_eq!(
        found[2],
        json!({ "source": "expectations", "checked": 3, "differ": 2 })
    );
    place.write("expected.tsv", "lena@red\tpublish\n");
    let wrong = place.run(&arguments);
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn a_policy_is_tested_before_it_is_the_configured_one() {
    let place = Setup::new().place();
    place.write("new.toml", &denying("own/#"));
    place.write("expected.tsv", "lena@red\tpublish\town/1\tallow\n");
    let test = ["policy", "test", "expected.tsv"];
    assert_eq!(place.run(&test).status.code(), Some(0));
    let (code, found) = run(&place, &[&test[..], &["--policy", "new.toml"]].concat());
    assert_eq!(code, Some(1));
    let rule = &found[0]["explanation"]["rule"];
    assert_eq!(rule["file"], json!("new.toml"));
    assert_eq!(rule["line"], json!(line_of(&denying("own/#"), "/c/own/#")));
    assert_eq!(found[1], json!({ "checked": 1, "differ": 1 }));
}
