//! A script, played against one broker.
//!
//! Between steps everything comes to rest by events, not by time: a client of the play's own
//! publishes to a topic that each client is subscribed to, twice, and each reads until it has seen
//! that. A second one, the witness, sees every message of the script: a lost connection is over when
//! the witness has its will.

use std::time::Duration;

use cofferdam::wire::client::{self, Connect, Property, Publish, ServerPacket, Will};
use cofferdam::wire::{QoS, ReasonCode, RetainHandling, SubscriptionOptions, Version};

use super::client::{Client, Seen};
use super::peers::Peer;
use super::script::{Act, CLIENTS, Message, Step};

/// What one client saw in one step, sorted by topic.
pub type View = Vec<Seen>;

const PLAIN: SubscriptionOptions = SubscriptionOptions {
    qos: QoS::AtMostOnce,
    no_local: false,
    retain_as_published: false,
    retain_handling: RetainHandling::DoNotSend,
};

/// A script under way.
pub struct Play<'a> {
    peer: &'a Peer,
    patience: Duration,
    prefix: String,
    clients: [Option<Client>; CLIENTS.len()],
    /// What the clients' wills say.
    wills: [String; CLIENTS.len()],
    /// Subscribed to all of the script's topics.
    witness: Client,
    /// Tells everybody that a step is over.
    fencer: Client,
    fences: u32,
}

impl<'a> Play<'a> {
    /// Nobody has connected but the play's own. What the broker has not done within `patience` is
    /// noted as missing. `name` is of this play alone: topics and client identifiers have it.
    pub fn new(name: &str, peer: &'a Peer, patience: Duration) -> Self {
        let own = |role: &str| {
            let connect = Connect {
                client_id: format!("{role}{name}"),
                keep_alive: 600, // rumqttd refuses 0
                ..Connect::new(Version::V311)
            };
            Client::connect(peer.address(Version::V311), patience, &connect)
        };
        let mut play = Self {
            peer,
            patience,
            clients: [const { None }; CLIENTS.len()],
            wills: Default::default(),
            witness: own("witness"),
            fencer: own("fencer"),
            fences: 0,
            prefix: format!("{name}/"),
        };
        play.attend_witness();
        play
    }

    fn attend_witness(&mut self) {
        let all = format!("{}#", self.prefix);
        let options = SubscriptionOptions {
            qos: QoS::ExactlyOnce,
            ..PLAIN
        };
        let fence = self.fence_topic(CLIENTS.len());
        for (filter, options) in [(all, options), (fence, PLAIN)] {
            subscribe(&mut self.witness, &filter, options, &[]);
        }
    }

    fn fence_topic(&self, client: usize) -> String {
        format!("fence/{}{client}", self.prefix)
    }

    /// Does one step. What each client saw of it, the witness last.
    pub fn step(&mut self, step: &Step) -> Vec<View> {
        self.act(step.client, &step.act);
        self.rest();
        self.rest();
        let all = self.clients.iter_mut().map(Option::as_mut);
        let all = all.chain([Some(&mut self.witness)]);
        let views =
            all.map(|client| client.map_or_else(Vec::new, |it| std::mem::take(&mut it.seen)));
        let mut views: Vec<View> = views.collect();
        for view in &mut views {
            let own = |seen: &Seen| {
                !seen
                    .topic
                    .as_ref()
                    .is_some_and(|it| it.starts_with("fence/"))
            };
            view.retain(own);
            order(view);
        }
        for client in &mut self.clients {
            *client = client.take().filter(|client| client.open);
        }
        views
    }

    fn act(&mut self, who: usize, act: &Act) {
        match act {
            Act::Connect { clean, kept, will } => self.connect(who, *clean, *kept, will),
            Act::Disconnect { with_will } => {
                let reason = match with_will {
                    true => ReasonCode::DisconnectWithWill,
                    false => ReasonCode::Success,
                };
                if let Some(client) = &mut self.clients[who] {
                    client.send(&client::disconnect(client.version, reason, &[]));
                    client.wait_for_close();
                    if *with_will {
                        self.await_will(who);
                    }
                }
            }
            Act::Cut => {
                if self.clients[who].take().is_some() {
                    self.await_will(who);
                }
            }
            Act::Subscribe {
                filter,
                options,
                id,
            } => {
                let filter = format!("{}{filter}", self.prefix);
                let properties: Vec<_> = id.map(Property::SubscriptionId).into_iter().collect();
                if let Some(client) = &mut self.clients[who] {
                    subscribe(client, &filter, *options, &properties);
                }
            }
            Act::Unsubscribe { filter } => {
                let filter = format!("{}{filter}", self.prefix);
                if let Some(client) = &mut self.clients[who] {
                    let id = client.fresh_id();
                    client.send(&client::unsubscribe(client.version, id, &[&filter], &[]));
                    client.wait(|packet| matches!(packet, ServerPacket::UnsubAck { .. }));
                }
            }
            Act::Publish(message) => {
                let publish = self.message(message);
                if let Some(client) = &mut self.clients[who] {
                    client.publish(publish);
                }
            }
        }
    }

    fn connect(&mut self, who: usize, clean: bool, kept: bool, will: &Message) {
        let version = CLIENTS[who];
        let Publish {
            topic,
            payload,
            qos,
            retain,
            properties,
            ..
        } = self.message(will);
        let will = Will {
            topic,
            payload,
            qos,
            retain,
            properties,
        };
        let said = String::from_utf8_lossy(&will.payload).into_owned();
        let connect = Connect {
            clean_start: clean,
            client_id: format!("c{who}of{}", self.prefix.trim_end_matches('/')),
            keep_alive: 600,
            will: Some(will),
            properties: vec![Property::SessionExpiry(if kept { 1000 } else { 0 })],
            ..Connect::new(version)
        };
        let client = Client::connect(self.peer.address(version), self.patience, &connect);
        if let Some(mut old) = self.clients[who].replace(client) {
            // What the connection that lost the session saw stands before what the new one did.
            old.wait_for_close();
            self.await_will(who);
            if let Some(client) = &mut self.clients[who] {
                old.seen.append(&mut client.seen);
                client.seen = old.seen;
            }
        }
        self.wills[who] = said;
        let fence = self.fence_topic(who);
        if let Some(client) = self.clients[who].as_mut().filter(|client| client.open) {
            let before = client.seen.len();
            subscribe(client, &fence, PLAIN, &[]);
            let answer = |seen: &Seen| seen.topic.is_none() && seen.line.starts_with("SUBACK");
            let place = client.seen[before..].iter().position(answer);
            place.map(|place| client.seen.remove(before + place));
        }
    }

    /// Waits until the witness has the will of a connection that is over.
    fn await_will(&mut self, who: usize) {
        let will = &self.wills[who];
        let is_it = |line: &str| line.contains(&format!("\"{will}\""));
        if self.witness.seen.iter().any(|seen| is_it(&seen.line)) {
            return;
        }
        let payload = will.as_bytes();
        self.witness
            .wait(|packet| matches!(packet, ServerPacket::Publish(it) if it.payload == payload));
    }

    fn message(&self, message: &Message) -> Publish {
        let mut publish = Publish::new(
            &format!("{}{}", self.prefix, message.topic),
            message.payload.as_bytes(),
        );
        publish.qos = message.qos;
        publish.retain = message.retain;
        publish.properties.clone_from(&message.properties);
        publish
    }

    /// Everybody reads what was sent before this.
    fn rest(&mut self) {
        self.fences += 1;
        let mark = self.fences.to_string();
        for who in 0..=CLIENTS.len() {
            let topic = self.fence_topic(who);
            let client = match self.clients.get_mut(who) {
                Some(client) => client.as_mut().filter(|client| client.open),
                None => Some(&mut self.witness),
            };
            let Some(client) = client else { continue };
            self.fencer
                .send(&Publish::new(&topic, mark.as_bytes()).encode(Version::V311));
            client.wait(|packet| match packet {
                ServerPacket::Publish(it) => it.topic == topic && it.payload == mark.as_bytes(),
                _ => false,
            });
        }
    }
}

/// Puts a view in an order of its own where the brokers are free in theirs: what is no message
/// first, then by topic; within a topic as it came, but for the copies of one message that
/// overlapping subscriptions get, which may come in any order.
pub fn order(view: &mut View) {
    view.sort_by(|one, other| one.topic.cmp(&other.topic));
    let came: Vec<Seen> = view.clone();
    let place = |seen: &Seen| {
        let same = |it: &Seen| it.topic == seen.topic && it.payload == seen.payload;
        came.iter().position(same)
    };
    view.sort_by_key(|seen| (place(seen), seen.topic.is_some().then(|| seen.line.clone())));
}

fn subscribe(
    client: &mut Client,
    filter: &str,
    options: SubscriptionOptions,
    properties: &[Property],
) {
    let id = client.fresh_id();
    client.send(&client::subscribe(
        client.version,
        id,
        &[(filter, options)],
        properties,
    ));
    client.wait(
        |packet| matches!(packet, ServerPacket::SubAck { packet_id, .. } if *packet_id == id),
    );
}
