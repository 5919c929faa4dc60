//! What one team can use up: `beta` fills everything that it has a share of, and `alpha` notices
//! nothing, byte for byte.

use crate::cluster::*;
use crate::stage::*;
use cofferdam::limits::Limits;
use cofferdam::wire::ReasonCode;
use cofferdam::wire::client::{Property, Publish};

/// Just enough for `alpha`'s day.
fn tight() -> Cluster {
    Cluster::limited(
        2,
        Limits {
            max_sessions_per_team: 10,
            max_retained_messages: 9,
            max_retained_bytes: 600,
            max_subscriptions: 5,
            max_queued_messages: 20,
            max_queued_bytes: 1_200,
            max_outbox_bytes: 16 << 10,
            topic_alias_maximum: 4,
            ..Limits::default()
        },
    )
}

#[test]
fn a_team_that_fills_all_its_limits_takes_nothing_from_another() {
    unnoticed_under(tight, |attacker| {
        let logins: Vec<Client> = (0..10)
            .map(|n| instance("beta", "b1").id(&format!("greedy {n}")).kept(50))
            .map(|hello| attacker.dial(hello))
            .collect();
        let full = attacker.dial(instance("beta", "b2").id("one too many"));
        assert!(!full.is_open(), "beta's sessions are used up");
        let sent: Vec<&Client> = logins.iter().filter(|it| it.is_open()).collect();
        assert_eq!(sent.len(), 10);
        for (n, client) in sent.iter().enumerate() {
            client.bytes();
            client.try_subscribe(&[("ff/v1/beta/c/#", options(QOS_2))], &[]);
            for topic in 0..8 {
                let topic = format!("ff/v1/beta/c/{n}/{topic}");
                client.try_subscribe(&[(&topic, options(QOS_2))], &[]);
                client.retain(&topic, "greed");
            }
        }
        // A slow reader's outbox, and the queues of those that are away.
        sent[0].stop_reading();
        for away in &sent[1..9] {
            away.cut();
        }
        for _ in 0..64 {
            let publish = Publish {
                properties: vec![Property::TopicAlias(1)],
                ..Publish::new("ff/v1/beta/c/9/0", &[b'g'; 1_000])
            };
            let answer = sent[9].complete(Publish {
                qos: QOS_1,
                ..publish
            });
            assert_eq!(answer, ReasonCode::Success);
        }
        let told: Vec<_> = deeds(attacker, "project:beta:b1");
        let count = |event: &str| told.iter().filter(|deed| deed.0 == event).count();
        assert!(
            count("publish_refused") > 0 && count("subscribe_refused") > 0,
            "{told:?}"
        );
        let dropped = cofferdam::broker::Drop::QueueFull;
        assert!(attacker.cluster.dropped(dropped) > 0);
        sent[0].read_on();
        let team = attacker.cluster.team("beta");
        team.with_retained(|kept| assert!(kept.len() <= 9 && kept.bytes() <= 600));
        attacker.cluster.pass_secs(60);
        for topic in (0..10).flat_map(|n| (0..8).map(move |topic| format!("{n}/{topic}"))) {
            sent[9].retain(&format!("ff/v1/beta/c/{topic}"), "");
        }
        sent[9].disconnect();
    });
}

#[test]
fn what_a_shard_remembers_of_one_teams_topics_does_not_show_in_anothers_answers() {
    unnoticed(|attacker| {
        let client = attacker.login("alice@beta");
        client.subscribe("x", QOS_0);
        // The same written names as alpha's, through the same memory of recent topics.
        for topic in ["x", "$SYS/x", "ask", "will", "answer", "ff/v1/alpha/c/x"] {
            for _ in 0..3 {
                client.publish(topic, MARK);
            }
        }
        assert_eq!(client.heard().len(), 3);
        client.unsubscribe(&["x"]);
    });
}
