//! Publishes, wills and subscriptions that are refused: the connection stays, the answer is the version's
//! own, nobody gets anything, and the refusal is on record.

use crate::running::{Broker, Bystander, Client, Login, Record, World};
use cofferdam::wire::client::{Connect, Publish, ServerPacket, Will, pubrel, subscribe};
use cofferdam::wire::{QoS, ReasonCode, RetainHandling, SubscriptionOptions, Version};
use serde_json::json;

const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];

/// Who asks for which topic, under which full name, and why it is refused.
struct Case {
    login: Login,
    topic: String,
    full: String,
    why: &'static str,
    reason: ReasonCode,
}

const POLICY: &str = "policy";
const OUTSIDE: &str = "outside the team";

fn cases(too_deep: ReasonCode, why_too_deep: &'static str) -> Vec<Case> {
    let case = |login: Login, mount: &str, topic: &str, why, reason| Case {
        login,
        topic: topic.to_owned(),
        full: format!("{mount}{topic}"),
        why,
        reason,
    };
    let own = "ff/v1/red/c/";
    let deep = vec!["level"; 70].join("/");
    let blue = "ff/v1/blue/p/00000000-0000-4000-8000-000000000002/in/inbox";
    vec![
        case(
            World::lena(),
            own,
            "not/own",
            POLICY,
            ReasonCode::NotAuthorized,
        ),
        case(World::alice(), own, &deep, why_too_deep, too_deep),
        case(
            World::instance(),
            "",
            blue,
            OUTSIDE,
            ReasonCode::NotAuthorized,
        ),
        case(
            World::instance(),
            "",
            "ff/v1/blue/c/talk",
            OUTSIDE,
            ReasonCode::NotAuthorized,
        ),
        case(
            World::instance(),
            "",
            "elsewhere",
            OUTSIDE,
            ReasonCode::NotAuthorized,
        ),
        case(
            World::instance(),
            "",
            "ff/v1/red/l/other/command",
            POLICY,
            ReasonCode::NotAuthorized,
        ),
    ]
}

#[test]
fn a_refused_publish_never_ends_the_connection_and_reaches_nobody() {
    let broker = Broker::start();
    let bystander = Bystander::join(&broker);
    let mut reader = Client::login(&broker, "tcp", &World::anna(), Version::V5);
    reader.subscribe("#", QoS::ExactlyOnce);
    let mut record = Record::default();
    for version in VERSIONS {
        for case in cases(
            ReasonCode::TopicNameInvalid,
            "not a topic name within the limits",
        ) {
            for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
                let mut client = Client::login(&broker, "tcp", &case.login, version);
                let publish = Publish {
                    retain: true,
                    qos,
                    ..Publish::new(&case.topic, b"x")
                };
                let sent = client.send_publish(publish);
                let what = format!("{} at {qos:?} in {version:?}", case.topic);
                let answers = client.ping().expect(&what);
                assert_eq!(answers, answers_to(sent, version, case.reason), "{what}");
                if let Some((QoS::ExactlyOnce, id)) = sent {
                    // 3.x cannot be told, so its flow goes on; in 5.0 the identifier is free.
                    client.send(&pubrel(version, id, ReasonCode::Success, &[]));
                    let reason = match version {
                        Version::V5 => ReasonCode::PacketIdentifierNotFound,
                        _ => ReasonCode::Success,
                    };
                    let completed = ServerPacket::PubComp {
                        packet_id: id,
                        reason,
                        properties: vec![],
                    };
                    assert_eq!(client.ping(), Some(vec![completed]), "{what}");
                }
                let fields = json!({
                    "topic": case.full, "reason_code": case.reason.as_byte(), "why": case.why, "will": false,
                    "actor": case.login.username, "client_id": case.login.username,
                    "team": "red", "level": "team", "listener": "tcp",
                });
                record.row(&what, "publish_refused", &client.own_address(), fields);
                record.count("cofferdam_publishes_refused_total", &[("reason", case.why)]);
            }
        }
    }
    record.check(&broker);
    reader.assert_quiet();
    reader.subscribe("#", QoS::ExactlyOnce); // nothing was retained either
    reader.assert_quiet();
    bystander.was_left_alone();
}

/// The acknowledgement, if one is due.
fn answers_to(sent: Option<(QoS, u16)>, version: Version, reason: ReasonCode) -> Vec<ServerPacket> {
    let reason = if version == Version::V5 {
        reason
    } else {
        ReasonCode::Success
    };
    let properties = vec![];
    match sent {
        None => vec![],
        Some((QoS::AtLeastOnce, packet_id)) => {
            vec![ServerPacket::PubAck {
                packet_id,
                reason,
                properties,
            }]
        }
        Some((_, packet_id)) => vec![ServerPacket::PubRec {
            packet_id,
            reason,
            properties,
        }],
    }
}

#[test]
fn a_refused_filter_is_refused_alone_and_the_others_of_its_packet_are_granted() {
    let broker = Broker::start();
    let bystander = Bystander::join(&broker);
    let mut record = Record::default();
    for version in VERSIONS {
        for case in cases(
            ReasonCode::TopicFilterInvalid,
            "not a topic filter within the limits",
        ) {
            let mut client = Client::login(&broker, "tcp", &case.login, version);
            let own = match case.login.username.starts_with("project:") {
                true => "ff/v1/red/c/own/#",
                false => "own/#",
            };
            let options = SubscriptionOptions {
                qos: QoS::AtLeastOnce,
                no_local: false,
                retain_as_published: false,
                retain_handling: RetainHandling::Send,
            };
            let filters = [(own, options), (&case.topic, options), (own, options)];
            client.send(&subscribe(version, 5, &filters, &[]));
            let told = match version {
                Version::V5 => case.reason,
                Version::V311 => ReasonCode::UnspecifiedError, // 0x80, its only failure
                Version::V31 => ReasonCode::Success, // it has none: the least that it can grant
            };
            let what = format!("{} in {version:?}", case.topic);
            assert_eq!(
                client.ping(),
                Some(vec![ServerPacket::SubAck {
                    packet_id: 5,
                    codes: vec![ReasonCode::GrantedQoS1, told, ReasonCode::GrantedQoS1],
                    properties: vec![],
                }]),
                "{what}"
            );
            let fields = json!({
                "filter": case.full, "reason_code": case.reason.as_byte(), "why": case.why,
                "actor": case.login.username, "team": "red", "level": "team",
            });
            record.row(&what, "subscribe_refused", &client.own_address(), fields);
            record.count(
                "cofferdam_subscribes_refused_total",
                &[("reason", case.why)],
            );
        }
    }
    record.check(&broker);
    bystander.was_left_alone();
}

#[test]
fn a_will_that_may_not_be_published_is_refused_when_it_is_due() {
    let broker = Broker::start();
    let mut reader = Client::login(&broker, "tcp", &World::alice(), Version::V5);
    reader.subscribe("#", QoS::AtMostOnce);
    let mut record = Record::default();
    for version in VERSIONS {
        let mut doomed = Client::dial(&broker, "tcp", version);
        doomed.connect(&Connect {
            will: Some(Will {
                topic: "not/own".to_owned(),
                payload: b"x".to_vec(),
                qos: QoS::AtLeastOnce,
                retain: true,
                properties: vec![],
            }),
            ..World::lena().connect(version)
        });
        let address = doomed.own_address();
        drop(doomed);
        let fields = json!({
            "topic": "ff/v1/red/c/not/own", "reason": "NotAuthorized", "why": "policy", "will": true,
            "actor": "lena@red", "team": "red",
        });
        record.row("a will", "publish_refused", &address, fields);
        record.count("cofferdam_publishes_refused_total", &[("reason", "policy")]);
        broker.audited(|row| row["event"] == "publish_refused" && row["remote"] == *address);
    }
    record.check(&broker);
    reader.assert_quiet();
}
