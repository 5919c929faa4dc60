//! Scripts: random, and legal for any broker.

use std::fmt;

use cofferdam::wire::client::Property;
use cofferdam::wire::{QoS, RetainHandling, SubscriptionOptions, Version};

/// Clients of a script, and what each speaks.
pub const CLIENTS: [Version; 4] = [Version::V5, Version::V311, Version::V5, Version::V311];

/// Names below the play's own.
const NAMES: [&str; 6] = ["a", "a/b", "a/b/c", "b", "a//b", "b/"];
const FILTERS: [&str; 9] = ["a", "a/b", "a/#", "#", "+", "a/+", "+/b", "a/+/c", "+/#"];

/// Steps of a script.
const LENGTH: usize = 14;

/// What one client does.
#[derive(Clone)]
pub struct Step {
    pub client: usize,
    pub act: Act,
}

#[derive(Clone, Debug)]
pub enum Act {
    /// Connects, also where it is connected already.
    Connect {
        clean: bool,
        /// The session outlives the connection (5.0; in 3.1.1 it is what `clean` says).
        kept: bool,
        will: Message,
    },
    /// Goes; `with_will`: DISCONNECT 0x04.
    Disconnect {
        with_will: bool,
    },
    /// Its connection is lost.
    Cut,
    Subscribe {
        filter: String,
        options: SubscriptionOptions,
        id: Option<u32>,
    },
    Unsubscribe {
        filter: String,
    },
    Publish(Message),
}

/// Published at once or as a will.
#[derive(Clone, Debug)]
pub struct Message {
    pub topic: String,
    pub qos: QoS,
    pub retain: bool,
    pub payload: String,
    pub properties: Vec<Property>,
}

/// What the maker of a script knows of a client.
#[derive(Clone, Copy, Default)]
struct Known {
    connected: bool,
    /// What it subscribed to last.
    filter: Option<&'static str>,
}

/// A script's steps.
pub fn script(seed: u64) -> Vec<Step> {
    let mut maker = Maker {
        random: Random(seed.wrapping_mul(0xD6E8_FEB8_6659_FD93)),
        clients: [Known::default(); CLIENTS.len()],
        payloads: 0,
        properties: seed.is_multiple_of(2),
    };
    (0..LENGTH).map(|_| maker.step()).collect()
}

struct Maker {
    random: Random,
    clients: [Known; CLIENTS.len()],
    payloads: u32,
    /// Messages of 5.0 may have some.
    properties: bool,
}

impl Maker {
    fn step(&mut self) -> Step {
        let client = self.random.below(CLIENTS.len());
        let act = match self.clients[client].connected {
            false => self.connect(client),
            true => match self.random.below(20) {
                0 => self.connect(client),
                1 => self.disconnect(client),
                2 => self.cut(client),
                3..=7 => self.subscribe(client),
                8 => Act::Unsubscribe {
                    filter: self.random.of(&FILTERS).to_owned(),
                },
                _ => Act::Publish(self.message(client)),
            },
        };
        Step { client, act }
    }

    fn connect(&mut self, client: usize) -> Act {
        self.clients[client].connected = true;
        let clean = self.random.chance(50);
        let kept = match CLIENTS[client] {
            Version::V5 => self.random.chance(60),
            _ => !clean,
        };
        let mut will = self.message(client);
        // A will is what tells that a connection is over, so it has a payload.
        will.payload = self.payload();
        Act::Connect { clean, kept, will }
    }

    fn disconnect(&mut self, client: usize) -> Act {
        self.clients[client].connected = false;
        let with_will = CLIENTS[client] == Version::V5 && self.random.chance(30);
        Act::Disconnect { with_will }
    }

    fn cut(&mut self, client: usize) -> Act {
        self.clients[client].connected = false;
        Act::Cut
    }

    fn subscribe(&mut self, client: usize) -> Act {
        let v5 = CLIENTS[client] == Version::V5;
        let handling = [
            RetainHandling::Send,
            RetainHandling::SendIfNew,
            RetainHandling::DoNotSend,
        ];
        let options = SubscriptionOptions {
            qos: self.qos(),
            no_local: v5 && self.random.chance(35),
            retain_as_published: v5 && self.random.chance(30),
            retain_handling: match v5 {
                true => handling[self.random.below(3)],
                false => RetainHandling::Send,
            },
        };
        let filter = match self.clients[client].filter {
            Some(again) if self.random.chance(25) => again,
            _ => self.random.of(&FILTERS),
        };
        self.clients[client].filter = Some(filter);
        let id = (v5 && self.random.chance(40)).then(|| 1 + self.random.below(300) as u32);
        Act::Subscribe {
            filter: filter.to_owned(),
            options,
            id,
        }
    }

    fn message(&mut self, client: usize) -> Message {
        let retain = self.random.chance(30);
        let payload = match retain && self.random.chance(25) {
            true => String::new(),
            false => self.payload(),
        };
        let mut properties = Vec::new();
        if self.properties && CLIENTS[client] == Version::V5 && self.random.chance(40) {
            let text = |text: &str| text.to_owned();
            properties.push(Property::PayloadFormat(true));
            properties.push(Property::ContentType(text("text/plain")));
            properties.push(Property::ResponseTopic(text("r/x")));
            properties.push(Property::CorrelationData(vec![0, 1, 255]));
            properties.push(Property::User(text("k"), text("1")));
            properties.push(Property::User(text("k"), text("0")));
            properties.push(Property::MessageExpiry(1000));
        }
        Message {
            topic: self.random.of(&NAMES).to_owned(),
            qos: self.qos(),
            retain,
            payload,
            properties,
        }
    }

    /// No two messages of a script say the same.
    fn payload(&mut self) -> String {
        self.payloads += 1;
        format!("m{}", self.payloads)
    }

    fn qos(&mut self) -> QoS {
        [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][self.random.below(3)]
    }
}

/// splitmix64
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((bits ^ bits >> 31) % end as u64) as usize
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn of(&mut self, texts: &[&'static str]) -> &'static str {
        texts[self.below(texts.len())]
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = CLIENTS[self.client].as_str();
        write!(f, "c{} ({version}) {:?}", self.client, self.act)
    }
}
