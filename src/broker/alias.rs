//! Topic aliases of one connection `[MQTT-3.3.2.3.4]`: those that the client sets, and ours.

use std::rc::Rc;

use crate::limits::Limits;
use crate::wire::{Publish, ReasonCode};

/// Topics that the client has given an alias, by alias less one.
#[derive(Debug, Default)]
pub(super) struct ReceivedAliases {
    topics: Vec<Received>,
}

/// What an alias stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Received {
    /// The client never set it.
    #[default]
    Unset,
    /// A topic.
    Topic(Rc<str>),
    /// A topic that is longer than any may be: nothing of it is kept, and what is published to it
    /// is refused like the publish that set it.
    TooLong,
}

/// The topic that a PUBLISH is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// The packet names it.
    InPacket,
    /// An alias stands for it.
    ByAlias(Rc<str>),
    /// An alias stands for one that was refused for its length.
    Refused,
}

/// Topics that we have given an alias towards the client.
///
/// A topic's hash says which alias it would have, so there is nothing to look for and nothing to
/// make room for: a topic takes its alias from the one that had it, at the cost of three bytes more
/// than no alias. All receivers with the same maximum use the same alias for a topic, and so share
/// its encoded form.
#[derive(Debug, Default)]
pub(super) struct SentAliases {
    maximum: u16,
    /// Empty until the first is set.
    topics: Vec<Option<Box<str>>>,
}

/// An alias for one PUBLISH to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Alias {
    /// From 1 up to the client's maximum.
    pub(super) number: u16,
    /// The client knows it: the topic itself need not be sent.
    pub(super) is_known: bool,
}

/// Below this length, in bytes, a topic is cheaper than its alias.
const WORTH_IT: usize = 5;

impl ReceivedAliases {
    /// The topic that an alias stands for, after setting it where the packet does
    /// `[MQTT-3.3.2-12]`. `None`: the packet names its topic itself.
    pub(super) fn resolve(
        &mut self,
        publish: &Publish<'_>,
        limits: &Limits,
    ) -> Result<Named, ReasonCode> {
        let Some(alias) = publish.properties.topic_alias else {
            return Ok(Named::InPacket);
        };
        if alias > limits.topic_alias_maximum {
            return Err(ReasonCode::TopicAliasInvalid);
        }
        let place = usize::from(alias) - 1;
        if publish.topic.is_empty() {
            return match self.topics.get(place) {
                Some(Received::Topic(topic)) => Ok(Named::ByAlias(Rc::clone(topic))),
                Some(Received::TooLong) => Ok(Named::Refused),
                Some(Received::Unset) | None => Err(ReasonCode::ProtocolError),
            };
        }
        if self.topics.len() <= place {
            self.topics.resize(place + 1, Received::Unset);
        }
        let too_long = publish.topic.len() > usize::from(limits.max_topic_length);
        match &mut self.topics[place] {
            place if too_long => *place = Received::TooLong,
            Received::Topic(topic) if **topic == *publish.topic => {}
            place => *place = Received::Topic(Rc::from(publish.topic)),
        }
        Ok(Named::InPacket)
    }
}

impl SentAliases {
    /// For a client that takes aliases up to `maximum`; 0: none.
    pub(super) const fn up_to(maximum: u16) -> Self {
        Self {
            maximum,
            topics: Vec::new(),
        }
    }

    /// The alias that `topic` goes under.
    pub(super) fn choose(&self, topic: &str) -> Option<Alias> {
        if self.maximum == 0 || topic.len() < WORTH_IT {
            return None;
        }
        let place = (hash(topic) % u32::from(self.maximum)) as usize;
        let known = self.topics.get(place).and_then(Option::as_deref);
        Some(Alias {
            number: place as u16 + 1,
            is_known: known == Some(topic),
        })
    }

    /// The client was told that `number` stands for `topic`.
    pub(super) fn set(&mut self, number: u16, topic: &str) {
        if self.topics.is_empty() {
            self.topics.resize(usize::from(self.maximum), None);
        }
        self.topics[usize::from(number) - 1] = Some(topic.into());
    }
}

/// FNV-1a (Fowler, Noll and Vo 1991): the same for every connection and shard, and good enough
/// where a client that finds collisions harms nobody.
fn hash(topic: &str) -> u32 {
    let fold = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    topic.as_bytes().iter().fold(0x811C_9DC5, fold)
}
