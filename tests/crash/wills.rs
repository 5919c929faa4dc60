//! In each life of the broker somebody with a will connects, and is never heard of again.

use std::collections::BTreeSet;

use cofferdam::wire::client::{Connect, Property, Will};
use cofferdam::wire::{QoS, Version};

use crate::line::Line;
use crate::running::{Broker, Login, lasting};

/// Where wills go.
pub const TOPIC: &str = "will";

/// The rounds whose client was let in.
#[derive(Debug, Default)]
pub struct Wills {
    pub due: BTreeSet<u64>,
}

impl Wills {
    /// Each round has its own, so that nobody comes back and takes a will back.
    pub fn login(round: u32) -> Login {
        Login::of(&format!("w{round}@red"))
    }

    /// Connects, and goes without a word: at once, or when the broker is killed. The will is due
    /// then, or a second later, in another life of the broker.
    pub fn run(&mut self, round: u32, broker: &Broker) {
        let connect = Self::login(round).connect(Version::V5);
        let connect = Connect {
            will: Some(Will {
                topic: TOPIC.to_owned(),
                payload: round.to_string().into_bytes(),
                qos: QoS::ExactlyOnce,
                retain: false,
                properties: vec![Property::WillDelay(round % 2)],
            }),
            ..lasting(connect, 3600)
        };
        let Ok((mut line, _)) = Line::with(broker, &connect) else {
            return;
        };
        self.due.insert(round.into());
        if round % 4 < 2 {
            assert!(line.packet().is_err(), "nothing comes until the end");
        }
    }
}
