//! A subscriber with a stored session, and with the memory that a client has to have.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;

use cofferdam::wire::client::{
    Property, Publish, ServerPacket, puback, pubcomp, pubrec, subscribe,
};
use cofferdam::wire::{QoS, ReasonCode, RetainHandling, SubscriptionOptions, Version};

use crate::line::Line;
use crate::publisher::USER_PROPERTIES;
use crate::running::{Broker, Login};
use crate::wills;

const OK: ReasonCode = ReasonCode::Success;

/// Takes what comes.
pub struct Subscriber {
    login: Login,
    version: Version,
    /// QoS 2 identifiers that were received and not released.
    held: BTreeSet<u16>,
    /// The numbers that came, by topic.
    came: BTreeMap<String, Vec<u64>>,
}

impl Subscriber {
    pub fn new(login: Login, version: Version) -> Self {
        Self {
            login,
            version,
            held: BTreeSet::new(),
            came: BTreeMap::new(),
        }
    }

    /// What came of a topic, as it came.
    pub fn of(&self, topic: &str) -> &Vec<u64> {
        const NOTHING: &Vec<u64> = &Vec::new();
        self.came.get(topic).unwrap_or(NOTHING)
    }

    /// The rounds whose will came.
    pub fn wills(&self) -> BTreeSet<u64> {
        self.of(wills::TOPIC).iter().copied().collect()
    }

    pub fn check_wills(&self) {
        let came = self.of(wills::TOPIC);
        assert_eq!(came.len(), self.wills().len(), "each will once: {came:?}");
    }

    /// Begins the session.
    pub fn subscribe(&mut self, broker: &Broker) {
        let (mut line, _) = Line::open(broker, &self.login, self.version).expect("a session");
        let options = SubscriptionOptions {
            qos: QoS::ExactlyOnce,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::DoNotSend,
        };
        let wanted = ["one", "two", "old/#", wills::TOPIC].map(|topic| (topic, options));
        line.send(&subscribe(self.version, 1, &wanted, &[]))
            .expect("sent");
        let suback = line.packet().expect("SUBACK");
        assert!(matches!(suback, ServerPacket::SubAck { .. }), "{suback:?}");
    }

    /// Takes what comes until it is enough, or the connection breaks.
    pub fn run(&mut self, broker: &Broker, enough: impl Fn(&Self) -> bool) -> io::Result<()> {
        let (mut line, present) = Line::open(broker, &self.login, self.version)?;
        assert!(present, "{}'s session", self.login.username);
        while !enough(self) {
            match line.packet()? {
                ServerPacket::Publish(publish) => {
                    let id = publish.packet_id.expect("an identifier");
                    let is_first = match publish.qos {
                        QoS::ExactlyOnce => self.held.insert(id),
                        _ => true,
                    };
                    let answer = match publish.qos {
                        QoS::ExactlyOnce => pubrec(self.version, id, OK, &[]),
                        _ => puback(self.version, id, OK, &[]),
                    };
                    if is_first {
                        self.take(publish);
                    }
                    line.send(&answer)?;
                }
                ServerPacket::PubRel { packet_id, .. } => {
                    self.held.remove(&packet_id);
                    line.send(&pubcomp(self.version, packet_id, OK, &[]))?;
                }
                other => panic!("not for a subscriber: {other:?}"),
            }
        }
        Ok(())
    }

    fn take(&mut self, publish: Publish) {
        let number = String::from_utf8_lossy(&publish.payload).parse();
        if self.version == Version::V5 && matches!(&*publish.topic, "one" | "two") {
            check_properties(&publish);
        }
        let came = self.came.entry(publish.topic).or_default();
        came.push(number.expect("a number"));
    }
}

/// All that a message had when it came, it has when it goes, after whatever crash.
fn check_properties(publish: &Publish) {
    let expires = |it: &Property| matches!(it, Property::MessageExpiry(1..=120));
    assert!(publish.properties.iter().any(expires), "{publish:?}");
    let users = publish.properties.iter().filter_map(|it| match it {
        Property::User(key, value) => Some((&**key, &**value)),
        _ => None,
    });
    assert!(users.eq(USER_PROPERTIES), "{publish:?}");
}

impl fmt::Display for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} held {:?}", self.login.username, self.held)?;
        for (topic, came) in &self.came {
            write!(f, ", {topic} {} to {:?}", came.len(), came.last())?;
        }
        Ok(())
    }
}
