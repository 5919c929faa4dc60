//! Every recorded decision of the platform, answered over HTTP by a server that replays them: the
//! broker agrees with each, whichever contract it speaks and however much it decides by itself.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::running::{Broker, Client, Hook, Login, Setup};
use cofferdam::wire::client::{Publish, ServerPacket, subscribe};
use cofferdam::wire::{QoS, RetainHandling, SubscriptionOptions, Version};

const VECTORS: &str = include_str!("../data/flowfuse/acl-vectors.tsv");

/// Filters of one SUBSCRIBE.
const AT_ONCE: usize = 200;

struct Vector {
    action: &'static str,
    topic: &'static str,
    allowed: bool,
}

/// By username.
fn vectors() -> BTreeMap<&'static str, Vec<Vector>> {
    let mut vectors: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for line in VECTORS.lines().skip(1) {
        let [username, action, topic, decision] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("four columns: {line}")
        };
        vectors.entry(username).or_default().push(Vector {
            action,
            topic,
            allowed: decision == "allow",
        });
    }
    vectors
}

/// The platform, as far as it was recorded: everybody is let in.
fn platform() -> Hook {
    let hook = Hook::start();
    let mut answers: HashMap<(String, String, String), bool> = HashMap::new();
    for (username, vectors) in vectors() {
        hook.knows(username, &Login::of(username).password);
        for vector in vectors {
            let key = (
                username.to_owned(),
                vector.action.to_owned(),
                vector.topic.to_owned(),
            );
            answers.insert(key, vector.allowed);
        }
    }
    let answers = Arc::new(answers);
    hook.allows(move |username, action, topic| {
        let key = (username.to_owned(), action.to_owned(), topic.to_owned());
        *answers
            .get(&key)
            .unwrap_or_else(|| panic!("not recorded: {key:?}"))
    });
    hook
}

/// Tries everything that was recorded of one username; gives what differs.
fn compare(broker: &Broker, username: &str, vectors: &[Vector]) -> Vec<String> {
    let login = Login::of(username);
    let mut client = Client::dial(broker, "tcp", Version::V5);
    client.send(&login.connect(Version::V5).encode());
    let ServerPacket::ConnAck(connack) = client.packet() else {
        panic!("not CONNACK");
    };
    let differs = |vector: &Vector, found: bool| {
        let Vector { action, topic, .. } = vector;
        (found != vector.allowed).then(|| format!("{username} {action} {topic}: {found}"))
    };
    if connack.code != 0 {
        return vectors
            .iter()
            .filter_map(|vector| differs(vector, false))
            .collect();
    }
    let mut different = Vec::new();
    let (publishes, subscriptions): (Vec<_>, Vec<_>) = vectors
        .iter()
        .partition(|vector| vector.action == "publish");
    for vector in publishes {
        client.send_publish(Publish {
            qos: QoS::AtLeastOnce,
            ..Publish::new(vector.topic, b"x")
        });
        let ServerPacket::PubAck { reason, .. } = client.packet() else {
            panic!("not PUBACK");
        };
        different.extend(differs(vector, !reason.is_error()));
    }
    let options = SubscriptionOptions {
        qos: QoS::AtMostOnce,
        no_local: false,
        retain_as_published: false,
        retain_handling: RetainHandling::Send,
    };
    for some in subscriptions.chunks(AT_ONCE) {
        let filters: Vec<_> = some.iter().map(|vector| (vector.topic, options)).collect();
        client.send(&subscribe(Version::V5, 1, &filters, &[]));
        let ServerPacket::SubAck { codes, .. } = client.packet() else {
            panic!("not SUBACK");
        };
        let pairs = some.iter().zip(codes);
        different.extend(pairs.filter_map(|(vector, code)| differs(vector, !code.is_error())));
    }
    different
}

/// How many questions about topics it took.
fn agree(style: &str, ask: &str) -> usize {
    let hook = platform();
    let lines = Hook::config(hook.address(), style, ask);
    let broker = Setup::new()
        .and_config(&format!("{lines}report_topics = []\n"))
        .start();
    let (mut checked, mut different) = (0, Vec::new());
    for (username, vectors) in vectors() {
        checked += vectors.len();
        different.extend(compare(&broker, username, &vectors));
    }
    assert_eq!(checked, 5210);
    let differ = different.len();
    assert!(
        different.is_empty(),
        "{style} {ask}: {differ} differ:\n{}",
        different.join("\n")
    );
    hook.topics().len()
}

#[test]
fn asking_about_everything_in_the_one_contract_agrees_with_every_recorded_decision() {
    assert!(agree("emqx", "always") > 1000);
}

#[test]
fn asking_about_everything_in_the_other_contract_agrees_with_every_recorded_decision() {
    assert!(agree("go-auth", "always") > 1000);
}

#[test]
fn asking_only_where_no_rule_speaks_agrees_too_and_asks_less() {
    let questions = agree("emqx", "unknown");
    assert!(questions > 100, "{questions}");
}
