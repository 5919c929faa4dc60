//! Answers that could tell whether a team, a client, a topic or a session of another team exists:
//! the attacker asks for one that does and for one that does not, and gets the same bytes.

use crate::cluster::*;
use crate::stage::*;
use cofferdam::wire::client::{self as packets, Connect, Property, Publish, Will};
use cofferdam::wire::{ReasonCode, Version};

/// `alpha` at work: subscribed, retained, with stored sessions.
fn inhabited() -> Cluster {
    let cluster = Cluster::new(2);
    let member = cluster.connect(0, client("alice@alpha").kept(1_000));
    for filter in ["x", "$share/g/x", "#"] {
        member.subscribe(filter, QOS_2);
    }
    let instance = cluster.connect(1, instance("alpha", "a1").kept(1_000));
    instance.subscribe("ff/v1/alpha/p/a1/in/#", QOS_2);
    cluster.connect(0, client("bob@alpha")).retain("x", "kept");
    member.cut();
    cluster
}

/// What exists in `alpha`, and what is like it but is not there.
const PAIRS: [(&str, &str); 5] = [
    ("ff/v1/alpha/c/x", "ff/v1/gamma/c/x"),
    ("ff/v1/alpha/c/x", "ff/v1/alpha/c/y"),
    ("ff/v1/alpha/p/a1/in/x", "ff/v1/alpha/p/a9/in/x"),
    ("ff/v1/alpha/d/ad/command", "ff/v1/alpha/d/a9/command"),
    ("ff/v1/alpha/l/a1/command", "ff/v1/gamma/l/g1/command"),
];

/// Everything that a client can say of a topic.
fn questions(version: Version, topic: &str) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for qos in [QOS_0, QOS_1, QOS_2] {
        for (id, retain, payload) in [(1, false, "?"), (2, true, "?"), (3, true, "")] {
            let publish = Publish {
                retain,
                ..Publish::new(topic, payload.as_bytes())
            };
            let publish = match qos {
                QOS_0 => publish,
                qos => publish.at(qos, id),
            };
            all.push(publish.encode(version));
            if qos == QOS_2 {
                all.push(packets::pubrel(version, id, ReasonCode::Success, &[]));
            }
        }
    }
    for form in ["{}", "{}/#", "{}/+", "$share/g/{}", "$share/nobody/{}"] {
        let filter = form.replace("{}", topic);
        let options = options(QOS_1);
        all.push(packets::subscribe(version, 9, &[(&filter, options)], &[]));
        all.push(packets::unsubscribe(version, 9, &[&filter], &[]));
    }
    if version == Version::V5 {
        let ask = |properties| Publish {
            properties,
            ..Publish::new("ff/v1/beta/c/x", b"?").at(QOS_1, 5)
        };
        all.push(ask(vec![Property::ResponseTopic(topic.to_owned())]).encode(version));
    }
    all
}

#[test]
fn no_answer_tells_whether_a_topic_a_client_or_a_team_exists() {
    let cluster = inhabited();
    for username in ATTACKERS {
        for version in VERSIONS {
            let attacker = cluster.connect(0, client(username).version(version));
            for (there, nowhere) in PAIRS {
                let [there, nowhere] = [there, nowhere].map(|topic| {
                    let answer = |question: Vec<u8>| {
                        attacker.send(question);
                        attacker.bytes()
                    };
                    let questions = questions(version, topic).into_iter();
                    questions.map(answer).collect::<Vec<_>>()
                });
                assert_eq!(there, nowhere, "{username} in {version:?}");
            }
            assert!(attacker.is_open());
        }
    }
    // At home the difference is told.
    let attacker = cluster.connect(0, instance("beta", "b1"));
    attacker.subscribe("ff/v1/beta/p/b1/in/#", QOS_0);
    assert_ne!(
        attacker.publish_at(QOS_1, "ff/v1/beta/p/b1/in/x", "?"),
        attacker.publish_at(QOS_1, "ff/v1/beta/p/b2/in/x", "?"),
        "the control"
    );
}

#[test]
fn no_refused_login_tells_why() {
    let cluster = inhabited();
    cluster.directory().suspend("gamma");
    cluster.directory().client("sam@gamma", &[]);
    let nobody = Connect {
        password: Some(b"a guess".to_vec()),
        ..Connect::new(Version::V5)
    };
    let will = |topic: &str| Will {
        topic: topic.to_owned(),
        payload: b"?".to_vec(),
        qos: QOS_1,
        retain: true,
        properties: vec![],
    };
    for version in VERSIONS {
        let mut answers = Vec::new();
        for username in [
            "alice@alpha",      // exists, away, with a stored session
            "project:alpha:a1", // exists, connected
            "nobody@alpha",     // no such client
            "project:alpha:a9", // no such instance
            "alice@omega",      // no such team
            "sam@gamma",        // suspended
            "anonymous@alpha",  // never logs in by name
            "no role has this", // no form of a username
            "forge_platform",   // exists
            "\u{FEFF}alice@alpha",
        ] {
            for client_id in ["alice@alpha", "project:alpha:a1", "somebody else's", ""] {
                for topic in [None, Some("ff/v1/alpha/c/x"), Some("ff/v1/omega/c/x")] {
                    let connect = Connect {
                        version,
                        username: Some(username.to_owned()),
                        client_id: client_id.to_owned(),
                        will: topic.map(will),
                        ..nobody.clone()
                    };
                    let hello = Hello {
                        connect,
                        ..client(username)
                    };
                    answers.push(cluster.dial(1, hello).bytes());
                }
            }
        }
        // A right password with a client id that the role does not take is no exception.
        let hello = client("alice@beta").id("alice@alpha").version(version);
        answers.push(cluster.dial(0, hello).bytes());
        let suspended = client("sam@gamma").version(version);
        answers.push(cluster.dial(0, suspended).bytes());
        // 3.1 and 3.1.1 refuse an empty client id that asks for a session before any login.
        answers.retain(|answer| answer.get(3) != Some(&2) || version == Version::V5);
        assert!(answers.len() > 80);
        for answer in &answers {
            assert_eq!(answer, &answers[0], "{version:?}");
            assert!(!answer.is_empty());
        }
    }
    let told = cluster.record();
    let reasons: std::collections::BTreeSet<_> = told.iter().map(reason).collect();
    for reason in [
        "unknown_user",
        "wrong_password",
        "client_id",
        "team_suspended",
    ] {
        assert!(
            reasons.contains(reason),
            "{reason} is on record: {reasons:?}"
        );
    }
}

#[test]
fn a_login_answers_the_same_whatever_others_keep_under_its_client_id() {
    for version in VERSIONS {
        let answer = |cluster: &Cluster| {
            let hello = client("project:beta:b1").id("project:alpha:a1");
            let hello = hello.kept(100).version(version);
            cluster.dial(0, hello).bytes()
        };
        assert_eq!(
            answer(&Cluster::new(2)),
            answer(&inhabited()),
            "{version:?}"
        );
    }
}
