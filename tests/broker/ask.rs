//! What somebody else decides: the packet waits, the others go on, the answer is remembered for as
//! long as it holds, and no answer crosses teams.

use crate::cluster::*;
use cofferdam::broker::{Answer, EventKind, Question};
use cofferdam::policy::{Ask, Policy};
use cofferdam::team::Reports;
use cofferdam::time::Span;
use cofferdam::wire::client::{self as packets, Publish, ServerPacket};
use cofferdam::wire::{ReasonCode, Version};

const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];
const NONE: [&str; 0] = [];

fn always(opinion: impl Fn(&Question) -> Answer + 'static) -> Cluster {
    let cluster = Cluster::new(2);
    cluster.ask(Ask::Always, opinion);
    cluster
}

/// The reasons of what was refused, in order.
fn refused(cluster: &Cluster) -> Vec<(String, &'static str, bool)> {
    let events = cluster.record().into_iter();
    let refusals = events.filter_map(|event| match event {
        EventKind::PublishRefused {
            topic, why, will, ..
        } => Some((topic.to_string(), why, will)),
        EventKind::SubscribeRefused { filter, why, .. }
        | EventKind::SubscriptionEnded { filter, why, .. } => {
            Some((filter.to_string(), why, false))
        }
        _ => None,
    });
    refusals.collect()
}

#[test]
fn a_publish_waits_for_its_answer_in_its_place_while_others_go_on() {
    let cluster = always(|_| YES);
    let reader = cluster.connect(1, client("alice@alpha"));
    let other = cluster.connect(0, client("carol@alpha"));
    reader.subscribe("#", QOS_0);
    other.publish("known", "before");
    assert_eq!(reader.heard(), ["known before"]);
    cluster.hold_questions();
    let publisher = cluster.connect(0, client("bob@alpha"));
    for (topic, payload) in [("a", "1"), ("b", "2"), ("a", "3")] {
        publisher.publish(topic, payload);
    }
    publisher.send(packets::pingreq());
    assert_eq!(publisher.received(), [], "nothing behind it is answered");
    other.publish("known", "meanwhile");
    assert_eq!(reader.heard(), ["known meanwhile"]);

    cluster.reply(&cluster.next_question(), YES);
    assert_eq!(reader.heard(), ["a 1"]);
    cluster.reply(&cluster.next_question(), YES);
    assert_eq!(
        reader.heard(),
        ["b 2", "a 3"],
        "what is known is not asked again"
    );
    assert_eq!(publisher.answer(), ServerPacket::PingResp);
    assert_eq!(cluster.open_questions(), 0);
}

#[test]
fn a_no_is_told_in_the_versions_own_way_never_ends_the_connection_and_is_on_record() {
    for version in VERSIONS {
        let cluster = always(|question| if is_publish(question) { NO } else { YES });
        let reader = cluster.connect(1, client("alice@alpha").v5());
        reader.subscribe("#", QOS_2);
        let publisher = cluster.connect(0, client("bob@alpha").version(version));
        cluster.record();
        let told = match version {
            Version::V5 => ReasonCode::NotAuthorized,
            _ => ReasonCode::Success,
        };
        assert_eq!(publisher.publish_at(QOS_1, "a", "x"), told, "{version:?}");
        assert_eq!(publisher.publish_at(QOS_2, "b", "x"), told, "{version:?}");
        assert!(publisher.is_open());
        assert_eq!(reader.heard(), NONE);
        let full = |topic: &str| (format!("ff/v1/alpha/c/{topic}"), "hook", false);
        assert_eq!(refused(&cluster), [full("a"), full("b")], "{version:?}");
    }
}

#[test]
fn a_subscription_waits_for_all_its_answers_and_each_filter_gets_its_own() {
    for (version, no) in [(Version::V5, 0x87), (Version::V311, 0x80)] {
        let cluster = always(|question| match &*question.topic {
            "no" => NO,
            "missing" => MISSING,
            "$share/g/own" => OWN,
            _ => YES,
        });
        cluster.hold_questions();
        let reader = cluster.connect(0, client("alice@alpha").version(version));
        let filters = ["yes/+", "no", "missing", "$share/g/own", "bad/#/filter"];
        let asked: Vec<_> = filters.map(|filter| (filter, options(QOS_1))).to_vec();
        reader.send(packets::subscribe(version, 7, &asked, &[]));
        let questions: Vec<_> = (0..4).map(|_| cluster.next_question()).collect();
        let texts: Vec<_> = questions
            .iter()
            .map(|held| as_text(&held.question))
            .collect();
        let wanted = filters[..4]
            .iter()
            .map(|it| format!("alice@alpha subscribe {it}"));
        assert_eq!(texts, wanted.collect::<Vec<_>>());
        for (held, answer) in questions.iter().zip([YES, NO, MISSING]) {
            cluster.reply(held, answer);
            assert_eq!(reader.received(), [], "not before all are there");
        }
        cluster.reply(&questions[3], OWN);
        let ServerPacket::SubAck {
            packet_id, codes, ..
        } = reader.answer()
        else {
            panic!("not SUBACK");
        };
        let codes: Vec<u8> = codes.iter().map(|code| code.as_byte()).collect();
        let (missing, bad) = match version {
            Version::V5 => (0x83, 0x8f),
            _ => (0x80, 0x80),
        };
        assert_eq!((packet_id, codes), (7, vec![1, no, missing, 1, bad]));
        assert!(reader.is_open());
    }
}

#[test]
fn the_platforms_nine_filters_get_eight_yes_and_one_no_in_one_suback() {
    let cluster = always(
        |question| match question.topic.starts_with("$share/expert/") {
            true => NO,
            false => YES,
        },
    );
    let platform = cluster.connect(0, platform());
    let filters = [
        "$share/platform/ff/v1/+/l/+/status",
        "$share/platform/ff/v1/+/d/+/status",
        "ff/v1/+/d/+/response/0b0c",
        "ff/v1/+/d/+/logs/heartbeat",
        "ff/v1/+/d/+/resources/heartbeat",
        "ff/v1/platform/sync",
        "$share/expert/ff/v1/expert/+/+/platform/+/request",
        "$share/browser/ff/v1/+/u/+/s/+/+",
        "ff/v1/mcp/0b0c/+/+/response",
    ];
    let asked: Vec<_> = filters
        .iter()
        .map(|filter| (*filter, options(QOS_0)))
        .collect();
    let codes = platform.try_subscribe(&asked, &[]);
    let codes: Vec<u8> = codes.iter().map(|code| code.as_byte()).collect();
    assert_eq!(codes, [0, 0, 0, 0, 0, 0, 0x87, 0, 0]);
}

#[test]
fn a_hook_that_allows_everything_opens_nothing_of_another_team() {
    let cluster = always(|_| YES);
    let beta = cluster.connect(1, client("alice@beta"));
    beta.subscribe("#", QOS_0);
    beta.retain("secret", "of beta");
    assert_eq!(beta.heard(), ["secret of beta"]);
    cluster.asked();
    for hello in [
        instance("alpha", "a1"),
        device("alpha", "ad"),
        client("fe-team:u:alpha:s").id("tab"),
        client("frontend:alpha:ad").id("tab"),
    ] {
        let thief = cluster.connect(0, hello.will("ff/v1/beta/c/will", "from alpha"));
        for filter in [
            "#",
            "+/#",
            "ff/v1/+/c/#",
            "ff/v1/beta/#",
            "ff/v1/beta/c/secret",
            "$share/platform/ff/v1/beta/c/#",
            "$share/g/#",
            "ff/v1/platform/#",
            "$SYS/#",
        ] {
            let code = thief.try_subscribe(&[(filter, options(QOS_0))], &[]);
            assert_eq!(code, [ReasonCode::NotAuthorized], "{filter}");
        }
        for topic in [
            "ff/v1/beta/c/x",
            "ff/v1/beta/p/b1/in/x",
            "ff/v1/platform/sync",
            "x",
        ] {
            let code = thief.publish_at(QOS_1, topic, "from alpha");
            assert_eq!(code, ReasonCode::NotAuthorized, "{topic}");
        }
        thief.cut();
        assert_eq!(cluster.asked(), NONE, "none of it is even asked");
    }
    assert_eq!(beta.heard(), NONE);
    // Within the mount every name is the own team's, whatever it looks like.
    let mounted = cluster.connect(0, client("bob@alpha"));
    mounted.subscribe("#", QOS_0);
    mounted.publish("ff/v1/beta/c/x", "at home");
    assert_eq!(mounted.heard(), ["ff/v1/beta/c/x at home"]);
    assert_eq!(beta.heard(), NONE);
}

#[test]
fn a_hook_that_allows_everything_opens_nothing_in_the_commons() {
    for ask in [Ask::Unknown, Ask::Always] {
        let cluster = Cluster::new(2);
        cluster.ask(ask, |_| YES);
        cluster.know_names_only();
        let tab = client("fe-team:u:alpha:s").id("tab").v5();
        let victim = cluster.connect(0, tab);
        victim.subscribe("ff/v1/expert/u/s/+/+/mcp/inflight/+/request", QOS_1);
        let agent = cluster.connect(1, client("expert-agent:x:y").v5());
        agent.subscribe("ff/v1/expert/+/+/+/+/support/chat/request", QOS_1);
        let presence = cluster.connect(1, platform());
        presence.subscribe("ff/v1/browser/tab-presence/+/+/+", QOS_1);
        cluster.asked();
        let thieves = [
            (
                "fe-team:v:beta:w",
                vec![
                    "ff/v1/expert/+/+/+/+/mcp/inflight/+/request",
                    "ff/v1/expert/#",
                    "ff/v1/browser/tab-presence/+/+/+",
                ],
                vec![
                    "ff/v1/expert/u/s/a/b/mcp/inflight/c/request",
                    "ff/v1/expert/u/s/a/x/support/chat/request",
                    "ff/v1/browser/tab-presence/u/s/heartbeat",
                ],
            ),
            (
                "expert-client:v:w",
                vec!["ff/v1/expert/+/+/+/+/support/chat/request"],
                vec!["ff/v1/expert/u/s/a/x/support/chat/request"],
            ),
        ];
        for (username, filters, topics) in thieves {
            let thief = cluster.connect(0, client(username).id("thief").v5());
            for filter in filters {
                let code = thief.try_subscribe(&[(filter, options(QOS_0))], &[]);
                assert_eq!(
                    code,
                    [ReasonCode::NotAuthorized],
                    "{ask:?} {username} {filter}"
                );
            }
            for topic in topics {
                let code = thief.publish_at(QOS_1, topic, "forged");
                assert_eq!(
                    code,
                    ReasonCode::NotAuthorized,
                    "{ask:?} {username} {topic}"
                );
            }
        }
        assert_eq!(cluster.asked(), NONE, "none of it is even asked");
        for heard in [victim.heard(), agent.heard(), presence.heard()] {
            assert_eq!(heard, NONE);
        }
    }
}

#[test]
fn a_hook_may_take_away_what_a_rule_gives_in_the_commons() {
    let cluster = always(|question| match question.topic.contains("/s/") {
        true => NO,
        false => YES,
    });
    for (session, wanted) in [("s", ReasonCode::NotAuthorized), ("t", ReasonCode::Success)] {
        let tab = client(&format!("fe-team:u:alpha:{session}")).id("tab").v5();
        let tab = cluster.connect(0, tab);
        let filter = format!("ff/v1/expert/u/{session}/+/+/mcp/inflight/+/request");
        let code = tab.try_subscribe(&[(&filter, options(QOS_0))], &[]);
        assert_eq!(code, [wanted], "{session}");
    }
    assert_eq!(cluster.asked().len(), 2);
}

#[test]
fn a_deny_rule_of_ours_holds_whatever_is_answered() {
    let cluster = always(|_| YES);
    cluster.directory().client(
        "alice@alpha",
        &["deny subscribe secret/#", "deny publish closed"],
    );
    let reader = cluster.connect(0, client("alice@alpha"));
    cluster.asked();
    let code = reader.try_subscribe(&[("secret/x", options(QOS_0))], &[]);
    assert_eq!(code, [ReasonCode::NotAuthorized]);
    assert_eq!(
        reader.publish_at(QOS_1, "closed", "x"),
        ReasonCode::NotAuthorized
    );
    assert_eq!(cluster.asked(), NONE);
    reader.subscribe("#", QOS_0);
    let publisher = cluster.connect(1, client("bob@alpha"));
    publisher.publish("secret/x", "hidden");
    publisher.publish("open", "seen");
    assert_eq!(reader.heard(), ["open seen"]);
}

#[test]
fn an_answer_is_remembered_as_long_as_it_holds_and_no_longer() {
    let cluster = always(|question| {
        if is_publish(question) {
            Answer::Yes(Span::from_secs(30))
        } else {
            YES
        }
    });
    let publisher = cluster.connect(0, client("bob@alpha"));
    let reader = cluster.connect(1, client("alice@alpha"));
    reader.subscribe("#", QOS_0);
    cluster.asked();
    for _ in 0..100 {
        publisher.publish("a", "x");
    }
    assert_eq!(cluster.asked(), ["bob@alpha publish a"]);
    assert_eq!(reader.heard().len(), 100);
    cluster.opinion(|_| NO);
    cluster.pass_secs(29);
    publisher.publish("a", "still");
    assert_eq!((cluster.asked().len(), reader.heard().len()), (0, 1));
    cluster.pass_secs(1);
    publisher.publish("a", "no longer");
    assert_eq!(cluster.asked(), ["bob@alpha publish a"]);
    publisher.publish("a", "nor again");
    assert_eq!(cluster.asked(), NONE, "a no is remembered too");
    assert_eq!(reader.heard(), NONE);
    cluster.opinion(|_| YES);
    cluster.pass_secs(10);
    publisher.publish("a", "again");
    assert_eq!(reader.heard(), ["a again"]);
}

#[test]
fn while_nobody_answers_live_connections_keep_what_they_were_told_and_nothing_new_is_allowed() {
    let cluster = always(|_| YES);
    let publisher = cluster.connect(0, client("bob@alpha").v5());
    let reader = cluster.connect(1, client("alice@alpha"));
    reader.subscribe("#", QOS_0);
    publisher.publish("old", "1");
    cluster.opinion(|_| MISSING);
    cluster.pass_secs(61);
    for _ in 0..3 {
        publisher.publish("old", "2");
        cluster.pass_secs(2);
    }
    assert_eq!(reader.heard(), ["old 1", "old 2", "old 2", "old 2"]);
    let unanswered = ReasonCode::ImplementationSpecificError;
    assert_eq!(publisher.publish_at(QOS_1, "new", "x"), unanswered);
    cluster.asked();
    assert_eq!(publisher.publish_at(QOS_1, "new", "x"), unanswered);
    assert_eq!(cluster.asked(), NONE, "not asked again at once");
    let code = reader.try_subscribe(&[("more", options(QOS_0))], &[]);
    assert_eq!(code, [unanswered]);
    cluster.opinion(|_| YES);
    cluster.pass_secs(1);
    assert_eq!(publisher.publish_at(QOS_1, "new", "x"), ReasonCode::Success);
    assert_eq!(reader.heard(), ["new x"]);
}

#[test]
fn where_it_is_not_theirs_to_say_the_policy_decides() {
    let cluster = always(|_| OWN);
    cluster.directory().client(
        "bob@alpha",
        &["allow publish own/#", "allow subscribe own/#"],
    );
    let bob = cluster.connect(0, client("bob@alpha").v5());
    bob.subscribe("own/#", QOS_0);
    assert_eq!(bob.publish_at(QOS_1, "own/x", "1"), ReasonCode::Success);
    assert_eq!(
        bob.publish_at(QOS_1, "other", "1"),
        ReasonCode::NotAuthorized
    );
    let code = bob.try_subscribe(&[("other", options(QOS_0))], &[]);
    assert_eq!(code, [ReasonCode::NotAuthorized]);
}

#[test]
fn where_the_policy_speaks_nobody_is_asked_and_where_it_does_not_somebody_is() {
    let cluster = Cluster::new(1);
    cluster.ask(Ask::Unknown, |question| match &*question.username {
        "device:alpha:ad" => YES,
        _ => NO,
    });
    cluster.know_names_only();
    let one = cluster.connect(0, instance("alpha", "a1"));
    one.subscribe("ff/v1/alpha/p/a1/in/#", QOS_2);
    one.subscribe("ff/v1/alpha/p/+/out/#", QOS_2);
    let two = cluster.connect(0, instance("alpha", "a2"));
    assert_eq!(
        two.publish_at(QOS_2, "ff/v1/alpha/p/a1/in/x", "1"),
        ReasonCode::Success
    );
    assert_eq!(
        two.publish_at(QOS_2, "ff/v1/alpha/p/a2/out/x", "2"),
        ReasonCode::Success
    );
    assert_eq!(one.heard().len(), 2);
    assert_eq!(cluster.asked(), NONE, "the usual traffic asks nobody");
    let device = cluster.connect(0, device("alpha", "ad"));
    device.publish("ff/v1/alpha/d/ad/status", "1");
    assert_eq!(cluster.asked(), NONE);
    device.publish("ff/v1/alpha/p/a1/in/x", "3");
    assert_eq!(one.heard(), ["ff/v1/alpha/p/a1/in/x 3"]);
    assert_eq!(
        cluster.asked(),
        ["device:alpha:ad publish ff/v1/alpha/p/a1/in/x"]
    );
    let code = two.publish_at(QOS_1, "ff/v1/alpha/p/a1/out/x", "4");
    assert_eq!(
        code,
        ReasonCode::NotAuthorized,
        "no rule speaks, and they say no"
    );
}

#[test]
fn a_will_is_asked_about_when_it_is_due_and_needs_no_session() {
    for kept in [0, 60] {
        let cluster = always(|_| YES);
        let reader = cluster.connect(1, client("alice@alpha"));
        reader.subscribe("#", QOS_0);
        cluster.hold_questions();
        for (answer, heard) in [(YES, vec!["will gone"]), (NO, vec![]), (MISSING, vec![])] {
            let leaver = client("bob@alpha").will("will", "gone").kept(kept);
            let leaver = cluster.connect(0, leaver);
            cluster.record();
            cluster.asked();
            leaver.cut();
            assert_eq!(cluster.asked(), ["bob@alpha publish will"], "{kept}");
            assert_eq!(reader.heard(), NONE, "not before the answer");
            cluster.reply(&cluster.next_question(), answer);
            assert_eq!(reader.heard(), heard, "{kept} {answer:?}");
            let why = match answer {
                Answer::Yes(_) => vec![],
                Answer::No(_) => vec![("ff/v1/alpha/c/will".to_owned(), "hook", true)],
                _ => vec![("ff/v1/alpha/c/will".to_owned(), "hook did not answer", true)],
            };
            assert_eq!(refused(&cluster), why, "{kept}");
            assert_eq!(cluster.open_questions(), 0);
        }
    }
}

#[test]
fn a_will_that_another_team_would_get_is_never_asked_about() {
    let cluster = always(|_| YES);
    let beta = cluster.connect(1, client("alice@beta"));
    beta.subscribe("#", QOS_0);
    let leaver = cluster.connect(0, instance("alpha", "a1").will("ff/v1/beta/c/x", "gone"));
    cluster.record();
    cluster.asked();
    leaver.cut();
    assert_eq!(cluster.asked(), NONE);
    assert_eq!(beta.heard(), NONE);
    assert_eq!(
        refused(&cluster),
        [("ff/v1/beta/c/x".to_owned(), "outside the team", true)]
    );
}

#[test]
fn who_leaves_while_a_publish_waits_has_still_published_it_and_the_will_comes_after() {
    let cluster = always(|_| YES);
    let reader = cluster.connect(1, client("alice@alpha"));
    reader.subscribe("#", QOS_0);
    cluster.hold_questions();
    let leaver = cluster.connect(0, client("bob@alpha").will("will", "gone"));
    leaver.publish("a", "1");
    leaver.cut();
    assert_eq!(reader.heard(), NONE);
    cluster.reply(&cluster.next_question(), YES);
    assert_eq!(reader.heard(), ["a 1"]);
    cluster.reply(&cluster.next_question(), YES);
    assert_eq!(reader.heard(), ["will gone"]);
    assert_eq!((cluster.connections(), cluster.open_questions()), (1, 0));
}

#[test]
fn an_answer_that_comes_after_a_takeover_has_no_effect() {
    let cluster = always(|_| YES);
    let reader = cluster.connect(1, client("alice@alpha"));
    reader.subscribe("#", QOS_0);
    cluster.hold_questions();
    let first = cluster.connect(0, client("bob@alpha").kept(60));
    first.publish("a", "1");
    let second = cluster.connect(0, client("bob@alpha").kept(60));
    assert!(!first.is_open() && second.is_open());
    cluster.reply(&cluster.next_question(), YES);
    assert_eq!(reader.heard(), NONE);
    assert_eq!((cluster.connections(), cluster.open_questions()), (2, 0));
    second.publish("a", "2");
    cluster.reply(&cluster.next_question(), YES);
    assert_eq!(reader.heard(), ["a 2"]);
}

#[test]
fn nothing_is_left_of_one_that_left_while_it_waited_and_was_taken_over() {
    let cluster = always(|_| YES);
    cluster.hold_questions();
    let first = cluster.connect(0, client("bob@alpha").kept(60));
    first.publish("a", "1");
    first.cut();
    assert_eq!(
        cluster.connections(),
        1,
        "what came before is not forgotten"
    );
    let second = cluster.connect(0, client("bob@alpha").kept(60));
    assert_eq!(cluster.connections(), 1);
    cluster.reply(&cluster.next_question(), YES);
    second.disconnect();
    assert_eq!(cluster.connections(), 0);
}

#[test]
fn what_a_waiting_client_goes_on_sending_stays_with_it() {
    let cluster = always(|_| YES);
    cluster.hold_questions();
    let publisher = cluster.connect(0, client("bob@alpha"));
    let packet = Publish::new("a", &[b'x'; 1000]).encode(Version::V5);
    publisher.put(Publish::new("a", b"first"));
    let rest: Vec<u8> = std::iter::repeat_n(packet, 1000).flatten().collect();
    publisher.send(&rest);
    assert_eq!(publisher.unread(), rest.len(), "none of it is read");
    cluster.pass_secs(5);
    assert!(publisher.is_open());
    cluster.reply(&cluster.next_question(), YES);
    assert_eq!(publisher.unread(), 0);
    assert_eq!(
        cluster.counters(0).messages_in[0],
        1001,
        "each is counted once"
    );
}

#[test]
fn a_client_that_waits_for_an_answer_is_not_silent() {
    let cluster = always(|_| YES);
    cluster.hold_questions();
    let publisher = cluster.connect(0, client("bob@alpha").keep_alive(10));
    publisher.publish("a", "1");
    cluster.pass_secs(60);
    assert!(publisher.is_open());
    cluster.reply(&cluster.next_question(), YES);
    cluster.pass_secs(30);
    assert!(!publisher.is_open(), "now it is");
}

#[test]
fn a_message_of_qos_2_that_waited_is_delivered_once_however_often_it_is_sent() {
    let cluster = always(|_| YES);
    let reader = cluster.connect(1, client("alice@alpha").v5());
    reader.subscribe("#", QOS_2);
    cluster.hold_questions();
    let publisher = cluster.connect(0, client("bob@alpha").v5().kept(60));
    let publish = Publish {
        qos: QOS_2,
        packet_id: Some(9),
        ..Publish::new("a", b"once")
    };
    publisher.put(publish.clone());
    publisher.cut();
    cluster.reply(&cluster.next_question(), YES);
    assert_eq!(reader.heard(), ["a once"]);
    let publisher = cluster.connect(0, client("bob@alpha").v5().kept(60));
    publisher.put(Publish {
        dup: true,
        ..publish
    });
    let ServerPacket::PubRec {
        packet_id: 9,
        reason,
        ..
    } = publisher.answer()
    else {
        panic!("not PUBREC");
    };
    assert_eq!(reason, ReasonCode::Success);
    assert_eq!(cluster.open_questions(), 0, "what is held needs no answer");
    assert_eq!(reader.heard(), NONE);
}

#[test]
fn what_a_session_brings_along_is_asked_about_again_and_ends_with_a_no() {
    let cluster = always(|_| YES);
    let kept = || client("alice@alpha").v5().kept(600);
    let reader = cluster.connect(0, kept());
    for filter in ["a/#", "$share/g/b"] {
        reader.subscribe(filter, QOS_1);
    }
    reader.cut();
    cluster.hold_questions();
    cluster.asked();
    // Another grant of the same principal's: whatever is on record may have changed.
    let reader = cluster.connect(0, kept());
    let mut asked = cluster.asked();
    asked.sort();
    assert_eq!(
        asked,
        [
            "alice@alpha subscribe $share/g/b",
            "alice@alpha subscribe a/#"
        ]
    );
    let publisher = cluster.connect(1, client("bob@alpha"));
    cluster.opinion(|_| YES);
    for _ in 0..2 {
        let held = cluster.next_question();
        let answer = match held.question.topic.contains("share") {
            true => MISSING,
            false => NO,
        };
        cluster.reply(&held, answer);
    }
    assert_eq!(
        refused(&cluster),
        [("ff/v1/alpha/c/a/#".to_owned(), "hook", false)]
    );
    for topic in ["a/x", "b"] {
        publisher.publish(topic, "x");
        cluster.reply(&cluster.next_question(), YES);
    }
    assert_eq!(reader.heard(), ["b x"], "where nobody answers it stays");
}

#[test]
fn one_packet_asks_so_much_and_what_is_beyond_is_refused() {
    let cluster = always(|_| YES);
    let reader = cluster.connect(0, client("alice@alpha").v5());
    cluster.asked();
    let filters: Vec<String> = (0..1030).map(|index| format!("f/{index}")).collect();
    let asked: Vec<_> = filters
        .iter()
        .map(|filter| (&**filter, options(QOS_0)))
        .collect();
    let codes = reader.try_subscribe(&asked, &[]);
    assert_eq!(cluster.asked().len(), 1024);
    let granted = codes.iter().take_while(|code| !code.is_error()).count();
    assert_eq!(granted, 1024);
    assert!(
        codes[1024..]
            .iter()
            .all(|code| *code == ReasonCode::QuotaExceeded)
    );
}

#[test]
fn the_same_filter_twice_in_one_packet_is_asked_about_once() {
    let cluster = always(|_| YES);
    let reader = cluster.connect(0, client("alice@alpha").v5());
    cluster.asked();
    let codes = reader.try_subscribe(&[("a", options(QOS_0)), ("a", options(QOS_1))], &[]);
    assert_eq!(codes, [ReasonCode::Success, ReasonCode::GrantedQoS1]);
    assert_eq!(cluster.asked(), ["alice@alpha subscribe a"]);
}

fn reporting() -> Cluster {
    Cluster::reporting(
        2,
        Reports {
            subtrees: ["c/".into()].into(),
            every: Span::from_secs(1800),
        },
    )
}

#[test]
fn a_new_topic_of_the_team_broker_is_reported_once_and_again_after_half_an_hour() {
    let cluster = reporting();
    let mounted = cluster.connect(0, client("alice@alpha"));
    let full = cluster.connect(0, instance("alpha", "a1"));
    for _ in 0..50 {
        mounted.publish("x/y", "1");
        mounted.publish("z", "1");
        full.publish("ff/v1/alpha/c/x/y", "1");
        full.publish("ff/v1/alpha/p/a1/out/x", "1");
    }
    assert_eq!(
        cluster.reported(),
        ["alice@alpha publish x/y", "alice@alpha publish z"]
    );
    full.publish("ff/v1/alpha/c/new", "1");
    assert_eq!(
        cluster.reported(),
        ["project:alpha:a1 publish ff/v1/alpha/c/new"]
    );
    cluster.pass_secs(1799);
    mounted.publish("z", "1");
    assert_eq!(cluster.reported(), NONE);
    cluster.pass_secs(1);
    mounted.publish("z", "1");
    mounted.publish("z", "1");
    assert_eq!(cluster.reported(), ["alice@alpha publish z"]);
}

#[test]
fn what_is_refused_or_was_asked_about_is_not_reported() {
    let cluster = reporting();
    cluster
        .directory()
        .client("bob@alpha", &["allow publish own"]);
    let bob = cluster.connect(0, client("bob@alpha"));
    bob.publish("other", "1");
    bob.publish("$SYS/x", "1");
    assert_eq!(cluster.reported(), NONE);
    cluster.ask(Ask::Always, |_| YES);
    let asked = cluster.connect(0, client("bob@alpha").id("bob@alpha"));
    asked.publish("own", "1");
    assert_eq!(cluster.asked(), ["bob@alpha publish own"]);
    assert_eq!(cluster.reported(), NONE);
}

#[test]
fn a_policy_that_is_observed_has_no_word_where_somebody_else_decides() {
    let cluster = always(|question| match &*question.topic {
        "no" => NO,
        _ => YES,
    });
    cluster.know_names_only();
    let policy = Policy::flowfuse().expect("the built-in policy");
    cluster.observe(Some(policy));
    let client = cluster.connect(0, client("alice@alpha").v5());
    client.subscribe("yes/#", QOS_0);
    client.try_subscribe(&[("no", options(QOS_0))], &[]);
    client.publish("yes/x", "1");
    client.publish("no", "1");
    assert_eq!(client.heard(), ["yes/x 1"]);
    let observed = |event: &EventKind| matches!(event, EventKind::Observed { .. });
    assert!(!cluster.record().iter().any(observed));
}
