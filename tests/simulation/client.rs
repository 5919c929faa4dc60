//! A client: an honest one, but slow to read, slow to answer, and often gone.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use cofferdam::wire::client::{self, Property, Publish, ServerPacket};
use cofferdam::wire::{QoS, ReasonCode, Version};

use crate::model::Said;

/// A client of one principal under one client id.
pub struct Client {
    /// Its connection, the latest.
    pub line: Option<usize>,
    pub version: Version,
    /// CONNACK came.
    pub ready: bool,
    /// It acknowledges at once.
    pub prompt: bool,
    /// What it sends arrives byte by byte.
    pub trickle: bool,
    pub reading: bool,
    /// Bytes that it reads nevertheless.
    pub room: usize,
    /// QoS 1 and 2 messages that it has unacknowledged at most. It holds to the broker's receive
    /// maximum also in 3.x where it may come back in 5.0.
    window: usize,
    pub alias_maximum: u16,
    /// Session expiry is not zero, so that DISCONNECT may change it.
    pub keeps: bool,
    /// The model's session that it had last.
    pub session: Option<u64>,
    /// What it sent at QoS 1 and 2 and is not done with, in order.
    pub unacked: Vec<Unacked>,
    /// Answers that it owes.
    owed: VecDeque<Said>,
    /// QoS 2 messages received and not released.
    received: BTreeSet<u16>,
    /// What its application was given at QoS 1 and 2, by session.
    pub given: HashMap<(u64, Vec<u8>, QoS), usize>,
    /// Messages that it refused, or that became too large for it on the way: whether it has them
    /// is the network's luck.
    pub undecided: HashSet<(u64, Vec<u8>)>,
    /// Identifiers of QoS 2 messages received, and what they carry.
    carried: HashMap<u16, Vec<u8>>,
    aliases: HashMap<String, u16>,
    last_id: u16,
}

/// A message on its way to the broker.
pub struct Unacked {
    pub publish: Publish,
    /// PUBREC came.
    received: bool,
}

impl Client {
    /// `window`: the most that it ever has unacknowledged.
    pub fn new(window: usize) -> Self {
        Self {
            line: None,
            version: Version::V5,
            ready: false,
            prompt: true,
            trickle: false,
            reading: true,
            room: 0,
            window,
            alias_maximum: 0,
            keeps: false,
            session: None,
            unacked: Vec::new(),
            owed: VecDeque::new(),
            received: BTreeSet::new(),
            given: HashMap::new(),
            undecided: HashSet::new(),
            carried: HashMap::new(),
            aliases: HashMap::new(),
            last_id: 0,
        }
    }

    /// It begins a new connection.
    pub fn connect(&mut self, line: usize, version: Version, keeps: bool, late_answers: bool) {
        self.line = Some(line);
        (self.version, self.keeps, self.ready) = (version, keeps, false);
        self.aliases.clear();
        if !late_answers {
            self.owed.clear();
        }
    }

    /// Its connection has ended.
    pub fn closed(&mut self) {
        self.line = None;
        self.ready = false;
    }

    /// The broker has crashed. What it got at QoS 1 and has not acknowledged comes again, and under
    /// that identifier perhaps something else.
    pub fn crashed(&mut self) {
        self.closed();
        self.owed
            .retain(|answer| !matches!(answer, Said::PubAck(_)));
    }

    /// CONNACK came. What it has to send again.
    pub fn resume(&mut self, session: u64, properties: &[Property]) -> Vec<Said> {
        self.ready = true;
        let alias_maximum = properties.iter().find_map(|property| match property {
            Property::TopicAliasMaximum(maximum) => Some(*maximum),
            _ => None,
        });
        self.alias_maximum = alias_maximum.unwrap_or(0);
        if self.session != Some(session) {
            self.session = Some(session);
            self.unacked.clear();
            self.owed.clear();
            self.received.clear();
            return Vec::new();
        }
        self.owed
            .retain(|answer| !matches!(answer, Said::PubRel(_)));
        if self.version != Version::V5 {
            let publishes = self.unacked.iter_mut().map(|unacked| &mut unacked.publish);
            publishes.for_each(|publish| publish.properties.clear());
        }
        let again = |unacked: &Unacked| match unacked.received {
            true => Said::PubRel(unacked.publish.packet_id.unwrap_or(0)),
            false => Said::Publish(Publish {
                dup: true,
                ..unacked.publish.clone()
            }),
        };
        self.unacked.iter().map(again).collect()
    }

    /// Whether it may send another message at this QoS.
    pub fn has_room(&self, qos: QoS) -> bool {
        qos == QoS::AtMostOnce || self.unacked.len() < self.window
    }

    /// Sends a message; by alias where that is wanted and allowed.
    pub fn publish(&mut self, mut publish: Publish, by_alias: bool) -> Said {
        if publish.qos > QoS::AtMostOnce {
            publish.packet_id = Some(self.fresh_id());
            self.unacked.push(Unacked {
                publish: publish.clone(),
                received: false,
            });
        }
        if by_alias && self.version == Version::V5 && self.alias_maximum > 0 {
            let next = self.aliases.len() as u16 + 1;
            if let Some(alias) = self.aliases.get(&publish.topic) {
                publish.properties.push(Property::TopicAlias(*alias));
                publish.topic.clear();
            } else if next <= self.alias_maximum {
                self.aliases.insert(publish.topic.clone(), next);
                publish.properties.push(Property::TopicAlias(next));
            }
        }
        Said::Publish(publish)
    }

    /// An identifier that is not in use.
    pub fn fresh_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            let id = Some(self.last_id);
            if !self
                .unacked
                .iter()
                .any(|unacked| unacked.publish.packet_id == id)
            {
                return self.last_id;
            }
        }
    }

    /// A packet came. Its answer is owed.
    pub fn read(&mut self, packet: ServerPacket) {
        match packet {
            ServerPacket::Publish(publish) => self.take(publish),
            ServerPacket::PubAck { packet_id, .. } | ServerPacket::PubComp { packet_id, .. } => {
                self.done(packet_id);
            }
            ServerPacket::PubRec {
                packet_id, reason, ..
            } if reason.is_error() => {
                self.done(packet_id);
            }
            ServerPacket::PubRec { packet_id, .. } => {
                let id = Some(packet_id);
                let found = self
                    .unacked
                    .iter_mut()
                    .find(|sent| sent.publish.packet_id == id);
                if let Some(unacked) = found {
                    unacked.received = true;
                    self.owe(Said::PubRel(packet_id));
                }
            }
            ServerPacket::PubRel { packet_id, .. } => {
                self.received.remove(&packet_id);
                self.owe(Said::PubComp(packet_id));
            }
            _ => {}
        }
    }

    fn take(&mut self, publish: Publish) {
        let id = publish.packet_id.unwrap_or(0);
        let first = match publish.qos {
            QoS::AtMostOnce => return,
            QoS::AtLeastOnce => {
                self.owe(Said::PubAck(id));
                true
            }
            QoS::ExactlyOnce => {
                self.owe(Said::PubRec(id, ReasonCode::Success));
                self.carried.insert(id, publish.payload.clone());
                self.received.insert(id)
            }
        };
        if let (true, Some(session)) = (first, self.session) {
            let key = (session, publish.payload, publish.qos);
            *self.given.entry(key).or_default() += 1;
        }
    }

    fn owe(&mut self, answer: Said) {
        let same = |owed: &Said| match (owed, &answer) {
            (Said::PubAck(one), Said::PubAck(other))
            | (Said::PubRec(one, _), Said::PubRec(other, _))
            | (Said::PubRel(one), Said::PubRel(other))
            | (Said::PubComp(one), Said::PubComp(other)) => one == other,
            _ => false,
        };
        if !self.owed.iter().any(same) {
            self.owed.push_back(answer);
        }
    }

    fn done(&mut self, id: u16) {
        self.unacked
            .retain(|sent| sent.publish.packet_id != Some(id));
    }

    /// The next answer that it owes; `refuse`: an error, where there is one.
    pub fn next_answer(&mut self, refuse: bool) -> Option<Said> {
        let answer = self.owed.pop_front()?;
        Some(match answer {
            Said::PubRec(id, _) if refuse && self.version == Version::V5 => {
                self.received.remove(&id);
                if let (Some(payload), Some(session)) = (self.carried.remove(&id), self.session) {
                    self.undecided.insert((session, payload));
                }
                Said::PubRec(id, ReasonCode::ImplementationSpecificError)
            }
            other => other,
        })
    }
}

/// A packet as bytes.
pub fn encode(said: &Said, version: Version) -> Vec<u8> {
    match said {
        Said::Connect(connect) => connect.encode(),
        Said::Publish(publish) => publish.encode(version),
        Said::PubAck(id) => client::puback(version, *id, ReasonCode::Success, &[]),
        Said::PubRec(id, reason) => client::pubrec(version, *id, *reason, &[]),
        Said::PubRel(id) => client::pubrel(version, *id, ReasonCode::Success, &[]),
        Said::PubComp(id) => client::pubcomp(version, *id, ReasonCode::Success, &[]),
        Said::Subscribe(id, filters, subscription) => {
            let filters: Vec<_> = filters.iter().map(|(f, o)| (f.as_str(), *o)).collect();
            let properties: Vec<_> = subscription
                .map(Property::SubscriptionId)
                .into_iter()
                .collect();
            client::subscribe(version, *id, &filters, &properties)
        }
        Said::Unsubscribe(id, filters) => {
            let filters: Vec<_> = filters.iter().map(String::as_str).collect();
            client::unsubscribe(version, *id, &filters, &[])
        }
        Said::Ping => client::pingreq(),
        Said::Disconnect(reason, expiry) => {
            let properties: Vec<_> = expiry.map(Property::SessionExpiry).into_iter().collect();
            client::disconnect(version, *reason, &properties)
        }
    }
}
