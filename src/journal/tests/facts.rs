//! Random facts, as shards state them: mostly in order, sometimes as races leave them.

use std::num::NonZeroU64;
use std::sync::Arc;

use super::random::Random;
use crate::fact::{Delivery, Fact, Kept, Standing, State, Target, Terms, Wanted};
use crate::policy::{KnownBy, Pattern, PatternAction, Principal, TeamId};
use crate::team::{Message, MessageNumber, MessageView, SessionAddress, SessionNumber, Will};
use crate::time::{Span, Time};
use crate::wire::{PacketId, QoS, RetainHandling, SubscriptionOptions};

/// What the facts so far were about.
pub(super) struct Stating {
    pub random: Random,
    sessions: Vec<SessionNumber>,
    /// Not over yet, mostly.
    deliveries: Vec<Delivery>,
    messages: Vec<Arc<Message>>,
    last_session: u64,
    last_message: u64,
    last_version: u64,
    /// How large payloads are at most.
    pub payload: u64,
    /// In a hundred, how many facts end a delivery rather than make one.
    pub ending: u64,
}

impl Stating {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: Random(seed),
            sessions: Vec::new(),
            deliveries: Vec::new(),
            messages: Vec::new(),
            last_session: 0,
            last_message: 0,
            last_version: 0,
            payload: 200,
            ending: 50,
        }
    }

    /// After a restart shards know what was kept, and nothing else; no number is used again.
    pub(super) fn restart(&mut self, state: &State<Arc<Message>>) {
        self.sessions = state.sessions.keys().copied().collect();
        let mut messages: Vec<_> = state.messages.values().collect();
        messages.sort_by_key(|kept| kept.order);
        let messages = messages.into_iter().rev().take(20);
        self.messages = messages.map(|kept| Arc::clone(&kept.message)).collect();
        for (number, kept) in &state.messages {
            for (session, copy) in &kept.holders {
                kept.message.reserve_copy(*copy);
                self.deliveries.push(Delivery {
                    session: *session,
                    message: *number,
                    copy: *copy,
                });
            }
        }
        self.deliveries.sort_unstable();
        self.deliveries.dedup();
        self.last_session = self.last_session.max(state.highest.session);
        self.last_message = self.last_message.max(state.highest.message);
        self.last_version = self.last_version.max(state.highest.version);
    }

    /// The facts of a turn.
    pub(super) fn commit(&mut self) -> Vec<Fact> {
        let count = 1 + self.random.below(6);
        let mut facts: Vec<_> = (0..count).filter_map(|_| self.fact()).collect();
        // Two shards said something of one topic, and the later came first.
        if self.random.percent(20) && facts.len() > 1 {
            let is_about_topic = |fact: &Fact| match fact {
                Fact::Kept(kept) => kept.retained.is_some(),
                Fact::Cleared(..) => true,
                _ => false,
            };
            let last = facts.len() - 1;
            if is_about_topic(&facts[last]) && is_about_topic(&facts[last - 1]) {
                facts.swap(last, last - 1);
            }
        }
        facts
    }

    fn fact(&mut self) -> Option<Fact> {
        if self.random.percent(60) {
            return match self.random.percent(self.ending) {
                true => self.end_delivery(),
                false => Some(self.keep()),
            };
        }
        let session = self.session();
        let id = self.id();
        Some(match self.random.below(14) {
            0 => Fact::Session(session?, self.terms()),
            1 | 2 => self.begin(),
            3 => Fact::Left {
                session: session?,
                expires: Time::from_micros(self.random.next()),
                will_due: Time::NEVER,
            },
            4 if self.random.percent(50) => {
                let session = session?;
                self.sessions.retain(|it| *it != session);
                Fact::Ended(session)
            }
            4 | 5 => Fact::Will(session?, self.will()),
            6 => Fact::Subscribed(session?, self.topic(), self.wanted()),
            7 => Fact::Unsubscribed(session?, self.topic()),
            8 => Fact::Received(session?, id),
            9 => Fact::Freed(session?, id),
            10 => Fact::Completed(session?, id),
            11 | 12 => self.replay(session?),
            _ => {
                self.last_version += 1;
                Fact::Cleared(self.topic(), self.last_version)
            }
        })
    }

    fn replay(&mut self, session: SessionNumber) -> Fact {
        let key = self.topic();
        match self.random.percent(30) {
            true => Fact::Replayed(session, key),
            false => {
                let root = self.topic();
                let after = self.topic();
                let after = Some(after).filter(|_| self.random.percent(50));
                Fact::Replaying(session, key, Standing { root, after })
            }
        }
    }

    fn begin(&mut self) -> Fact {
        self.last_session += 1;
        let number = number(self.last_session);
        self.sessions.push(number);
        Fact::Session(number, self.terms())
    }

    fn end_delivery(&mut self) -> Option<Fact> {
        let delivery = self.random.pick(&self.deliveries)?;
        let id = self.id();
        if self.random.percent(30) {
            return Some(Fact::Sent(delivery, id));
        }
        if self.random.percent(90) {
            self.deliveries.retain(|it| *it != delivery);
        }
        Some(match self.random.percent(30) {
            true => Fact::Released(delivery, id),
            false => Fact::Done(delivery),
        })
    }

    fn keep(&mut self) -> Fact {
        let known = self.random.pick(&self.messages);
        let known = known.filter(|_| self.random.percent(20));
        let message = known.unwrap_or_else(|| {
            self.last_message += 1;
            let message = self.message(self.last_message);
            self.messages.push(Arc::clone(&message));
            if self.messages.len() > 20 {
                self.messages.remove(0);
            }
            message
        });
        let number = message.number;
        let targets = (0..self.random.below(4)).filter_map(|_| self.target(&message));
        let targets: Vec<_> = targets.collect();
        let retained = self.random.percent(25).then(|| {
            self.last_version += 1;
            let topic = Arc::from(message.topic());
            (topic, self.last_version)
        });
        let session = self.session().filter(|_| self.random.percent(20));
        Fact::Kept(Box::new(Kept {
            number,
            message,
            targets,
            retained,
            receipt: session.map(|session| (session, self.id())),
        }))
    }

    fn target(&mut self, message: &Message) -> Option<Target> {
        // Of a session that another shard has begun, and not stated yet.
        let early = number(self.last_session + 1);
        let session = match self.random.percent(3) {
            true => Some(early),
            false => self.session(),
        }?;
        let target = Target {
            session,
            copy: message.next_copy(),
            qos: self.qos(),
            retain: self.random.percent(30),
            subscription_id: self.random.below(3) as u32,
            share: self.random.below(2) as u32,
        };
        // What becomes of it is for the session's own shard to say, which states the session first.
        if session != early {
            self.deliveries.push(Delivery {
                session,
                message: message.number,
                copy: target.copy,
            });
        }
        Some(target)
    }

    fn message(&mut self, number: u64) -> Arc<Message> {
        let payload = vec![number as u8; self.random.below(self.payload + 1) as usize];
        let response = self.topic();
        let view = MessageView {
            topic: &self.topic(),
            passed_on: &[3, 1, 4][..self.random.below(4) as usize],
            response_topic: Some(&*response).filter(|_| self.random.percent(30)),
            payload: &payload,
            qos: self.qos(),
            retain: self.random.percent(50),
            expires: match self.random.percent(50) {
                true => Time::NEVER,
                false => Time::from_micros(self.random.next() >> 8),
            },
            publisher: SessionAddress::NOBODY,
        };
        Arc::new(view.keep(MessageNumber(number)))
    }

    fn session(&mut self) -> Option<SessionNumber> {
        self.random.pick(&self.sessions)
    }

    fn id(&mut self) -> PacketId {
        PacketId::new(self.random.below(9) as u16 + 1).expect("not 0")
    }

    fn qos(&mut self) -> QoS {
        match self.random.percent(50) {
            true => QoS::AtLeastOnce,
            false => QoS::ExactlyOnce,
        }
    }

    fn topic(&mut self) -> Arc<str> {
        format!("ff/v1/red/{}", self.random.below(8)).into()
    }

    fn wanted(&mut self) -> Wanted {
        let options = SubscriptionOptions {
            qos: self.qos(),
            no_local: self.random.percent(50),
            retain_as_published: self.random.percent(50),
            retain_handling: match self.random.below(3) {
                0 => RetainHandling::Send,
                1 => RetainHandling::SendIfNew,
                _ => RetainHandling::DoNotSend,
            },
        };
        Wanted {
            options,
            id: self.random.below(3) as u32,
            share: self.random.below(3) as u32,
        }
    }

    fn will(&mut self) -> Option<Box<Will>> {
        self.random.percent(60).then(|| {
            Box::new(Will {
                message: self.message(0),
                expiry: self.random.percent(50).then(|| Span::from_secs(7)),
                delay: Span::from_secs(self.random.below(9)),
            })
        })
    }

    fn terms(&mut self) -> Box<Terms> {
        let text = |what: &str, random: &mut Random| format!("{what}{}", random.below(5)).into();
        let random = &mut self.random;
        let patterns = [
            PatternAction::Publish,
            PatternAction::Subscribe,
            PatternAction::Both,
        ];
        let pattern = |action| Pattern {
            action,
            allow: action != PatternAction::Both,
            filter: "a/+/#".into(),
        };
        Box::new(Terms {
            client_id: text("client", random),
            expiry: Span::from_secs(random.below(100)),
            listener: text("listener", random),
            address: match random.percent(50) {
                true => ([10, 0, 0, 1], 1883).into(),
                false => ([0xFE80, 0, 0, 0, 0, 0, 0, 1], 8883).into(),
            },
            known_by: [KnownBy::Record, KnownBy::Proof, KnownBy::Name][random.below(3) as usize],
            principal: Principal {
                username: text("user", random),
                role: text("role", random),
                team: TeamId::new("red").filter(|_| random.percent(80)),
                bindings: vec![(text("name", random), text("value", random))],
                patterns: patterns[..random.below(4) as usize]
                    .iter()
                    .map(|it| pattern(*it))
                    .collect(),
            },
        })
    }
}

fn number(number: u64) -> SessionNumber {
    SessionNumber(NonZeroU64::new(number).expect("counts from 1"))
}
