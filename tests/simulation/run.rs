//! Runs a plan from the first step to the last, and then until nothing is left.

use std::sync::Arc;

use cofferdam::policy::Policy;
use cofferdam::wire::client::{Connect, Property, Publish, Will};
use cofferdam::wire::{ReasonCode, Version};

use crate::directory::PASSWORD;
use crate::failure::{Failure, Kept, broken, hold};
use crate::model::Said;
use crate::plan::Plan;
use crate::sim::Sim;
use crate::step::{Hello, Post, Step};

/// The whole state is compared every so many steps.
const COMPARE_EVERY: usize = 16;

/// No turn is held up for longer, in microseconds.
const TURN_MAX: u64 = 60_000_000;

/// Runs a plan. The error says at which step a promise was broken.
pub fn run(plan: &Plan, policy: &Arc<Policy>) -> Result<(), (usize, Failure)> {
    let mut sim = Sim::new(plan, policy);
    for (at, step) in plan.steps.iter().enumerate() {
        sim.step(at, step).map_err(|failure| (at, failure))?;
    }
    sim.finish().map_err(|failure| (plan.steps.len(), failure))
}

impl Sim<'_> {
    fn step(&mut self, at: usize, step: &Step) -> Kept {
        // No two things happen at the same moment.
        self.pass(3 + at as u64 % 7)?;
        self.act(step)?;
        self.run()?;
        self.forget_retained();
        if self.plan.thorough || at.is_multiple_of(COMPARE_EVERY) {
            self.compare_state()?;
        }
        Ok(())
    }

    fn act(&mut self, step: &Step) -> Kept {
        let line = step.who().and_then(|who| self.clients[who].line);
        match step {
            Step::Connect { who, shard, hello } => return self.connect(*who, *shard, hello),
            Step::Publish { who, post } => self.publish(*who, post),
            Step::Subscribe { who, filters, id } => {
                let wanted = |(filter, options): &(usize, _)| {
                    (self.plan.person(*who).filters[*filter].clone(), *options)
                };
                let filters = filters.iter().map(wanted).collect();
                let packet = self.clients[*who].fresh_id();
                self.tell(*who, Said::Subscribe(packet, filters, *id));
            }
            Step::Unsubscribe { who, filters } => {
                let written = |filter: &usize| self.plan.person(*who).filters[*filter].clone();
                let filters = filters.iter().map(written).collect();
                let packet = self.clients[*who].fresh_id();
                self.tell(*who, Said::Unsubscribe(packet, filters));
            }
            Step::Ping { who } => self.tell(*who, Said::Ping),
            Step::Acknowledge { who, count, refuse } => {
                self.answer(*who, *count, *refuse);
            }
            Step::Prompt { who, on } => self.clients[*who].prompt = *on,
            Step::Trickle { who, on } => self.clients[*who].trickle = *on,
            Step::Reading { who, on } => self.clients[*who].reading = *on,
            Step::Read { who, bytes } => self.clients[*who].room = *bytes,
            Step::Feed { bytes, .. } => {
                if let Some(line) = line {
                    self.feed(line, *bytes)?;
                }
            }
            Step::Cut { bytes, .. } => {
                if let Some(line) = line {
                    self.feed(line, *bytes)?;
                    self.cut(line)?;
                }
            }
            Step::Disconnect {
                who,
                with_will,
                expiry,
            } => {
                let v5 = self.clients[*who].version == Version::V5;
                let reason = match *with_will && v5 {
                    true => ReasonCode::DisconnectWithWill,
                    false => ReasonCode::Success,
                };
                let expiry = expiry.filter(|_| v5 && self.clients[*who].keeps);
                self.tell(*who, Said::Disconnect(reason, expiry));
            }
            Step::HoldLogins { on } => self.hold_logins = *on,
            Step::Judge { pick } => return self.judge(*pick),
            Step::HoldBetween { on } => self.hold_between = *on,
            Step::Deliver { pick } => {
                let waiting = self.waiting();
                if !waiting.is_empty() {
                    return self.deliver(waiting[pick % waiting.len()]);
                }
            }
            Step::HoldTurns { on } => self.hold_turns = *on,
            Step::GoOn { shard } => return self.go_on(*shard),
            Step::Regrant { who, rights } => self.regrant(*who, *rights),
            Step::HoldJournal { on } => self.hold_journal(*on),
            Step::Keep { count } => {
                self.keep(*count)?;
            }
            Step::Full { on } => self.set_full(*on),
            Step::Crash { kept } => return self.crash(*kept),
            Step::Pass { micros } => {
                if *micros > TURN_MAX {
                    self.hold_turns = false;
                    self.run()?;
                }
                return self.pass(*micros);
            }
            Step::Settle => return self.settle(),
        }
        Ok(())
    }

    /// A client that is logged in says something.
    fn tell(&mut self, who: usize, said: Said) {
        if let Some(line) = self.clients[who].line.filter(|_| self.clients[who].ready) {
            self.say(line, said);
        }
    }

    fn connect(&mut self, who: usize, shard: u16, hello: &Hello) -> Kept {
        let Some(line) = self.open(who, shard, hello.version) else {
            return Err(broken("connections are accepted", "one was turned away"));
        };
        let v5 = hello.version == Version::V5;
        let keeps = v5 && hello.expiry > 0;
        self.clients[who].connect(line, hello.version, keeps, hello.late_answers);
        let mut properties = vec![Property::SessionExpiry(hello.expiry)];
        properties.extend(hello.receive_maximum.map(Property::ReceiveMaximum));
        properties.extend(hello.max_packet.map(Property::MaximumPacketSize));
        properties.extend(hello.alias_maximum.map(Property::TopicAliasMaximum));
        let will = hello.will.as_ref().map(|post| {
            let mut will = self.message(who, post);
            if hello.will_delay > 0 {
                will.properties.push(Property::WillDelay(hello.will_delay));
            }
            Will {
                topic: will.topic,
                payload: will.payload,
                qos: will.qos,
                retain: will.retain,
                properties: if v5 { will.properties } else { Vec::new() },
            }
        });
        let password = if hello.wrong_password {
            "wrong"
        } else {
            PASSWORD
        };
        let connect = Connect {
            version: hello.version,
            bridge: false,
            clean_start: hello.clean,
            keep_alive: hello.keep_alive,
            client_id: self.plan.client_id(who).to_owned(),
            will,
            username: Some(self.plan.person(who).username.clone()),
            password: Some(password.as_bytes().to_owned()),
            properties: if v5 { properties } else { Vec::new() },
        };
        self.say(line, Said::Connect(Box::new(connect)));
        Ok(())
    }

    fn publish(&mut self, who: usize, post: &Post) {
        let client = &self.clients[who];
        if !client.ready || !client.has_room(post.qos) {
            return;
        }
        let mut message = self.message(who, post);
        if self.clients[who].version != Version::V5 {
            message.properties.clear();
        }
        let said = self.clients[who].publish(message, post.alias);
        self.tell(who, said);
    }

    /// A message with a payload of its own.
    fn message(&mut self, who: usize, post: &Post) -> Publish {
        let person = self.plan.person(who);
        self.numbers += 1;
        let payload = match post.empty {
            true => String::new(),
            false => {
                let from = person.team.unwrap_or("platform");
                format!("{} {from} {}", self.numbers, "x".repeat(post.padding))
            }
        };
        let text = |text: &str| text.to_owned();
        let all = [
            Property::PayloadFormat(true),
            Property::ContentType(text("text/plain")),
            Property::ResponseTopic(text("r/s")),
            Property::CorrelationData(vec![0, 1, 255]),
            Property::User(text("b"), text("1")),
        ];
        let chosen = all.into_iter().enumerate();
        let chosen = chosen.filter(|(bit, _)| post.properties >> bit & 1 == 1);
        let mut properties: Vec<Property> = chosen.map(|(_, property)| property).collect();
        if post.properties >> 4 & 1 == 1 {
            properties.push(Property::User(text("a"), text("2")));
        }
        properties.extend(post.expiry.map(Property::MessageExpiry));
        Publish {
            dup: false,
            qos: post.qos,
            retain: post.retain,
            topic: person.topics[post.topic].clone(),
            packet_id: None,
            properties,
            payload: payload.into_bytes(),
        }
    }

    /// Everyone reads and answers until nothing moves.
    fn settle(&mut self) -> Kept {
        let held = (self.hold_logins, self.hold_between, self.hold_turns);
        let held_journal = self.storage.hold;
        self.hold_journal(false);
        (self.hold_logins, self.hold_between, self.hold_turns) = (false, false, false);
        let modes: Vec<_> = self
            .clients
            .iter()
            .map(|c| (c.prompt, c.trickle, c.reading))
            .collect();
        for client in &mut self.clients {
            (client.prompt, client.trickle, client.reading) = (true, false, true);
        }
        self.run()?;
        // Connections that their clients have given up.
        for line in 0..self.wires.len() {
            let who = self.model.lines[line].who;
            if self.wires[line].at.is_some() && self.clients[who].line != Some(line) {
                // At moments of their own, so that what follows has an order.
                self.pass(5)?;
                self.cut(line)?;
            }
        }
        self.run()?;
        self.forget_retained();
        self.compare_state()?;
        self.compare_rest()?;
        for (client, mode) in self.clients.iter_mut().zip(modes) {
            (client.prompt, client.trickle, client.reading) = mode;
        }
        (self.hold_logins, self.hold_between, self.hold_turns) = held;
        self.hold_journal(held_journal);
        Ok(())
    }

    /// Everyone goes, and after long enough nothing is left.
    fn finish(&mut self) -> Kept {
        self.settle()?;
        self.hold_journal(false);
        (self.hold_logins, self.hold_between, self.hold_turns) = (false, false, false);
        for line in 0..self.wires.len() {
            if self.wires[line].at.is_some() {
                // At moments of their own, so that what follows has an order.
                self.pass(5)?;
                self.cut(line)?;
            }
        }
        self.run()?;
        self.pass(8 * 24 * 3600 * 1_000_000)?;
        self.forget_retained();
        self.compare_state()?;
        let left = self.model.live().count();
        let timers: usize = self.shards.iter().map(|shard| shard.timers()).sum();
        hold(left == 0 && timers == 0, "nothing is left", || {
            format!("{left} sessions and {timers} timers")
        })
    }
}
