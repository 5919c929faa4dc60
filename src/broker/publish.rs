//! A message in: from PUBLISH to the routes, and the answers that its QoS asks for.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::Arc;

use super::alias::Named;
use super::counters::Drop;
use super::deliver::Outcome;
use super::event::EventKind;
use super::recent::Routed;
use super::shard::{Shard, who};
use super::turn::steps_of;
use crate::policy::{Owner, Ruling, TeamId};
use crate::session::Receipt;
use crate::team::{Message, MessageView, Team};
use crate::time::{Span, Time};
use crate::topic::TopicName;
use crate::wire::{Ack, PacketId, Publish, QoS, ReasonCode, Version, encode};

/// A message that passes through: borrowed from the publisher's bytes, and kept at most once,
/// when the first who must keep it asks.
pub(super) struct Passing<'a> {
    pub(super) view: MessageView<'a>,
    kept: OnceCell<Arc<Message>>,
}

/// Why a publish is not accepted: what the client is told, and in plain words.
#[derive(Clone, Copy, Debug)]
pub(super) struct PublishError {
    pub(super) code: ReasonCode,
    pub(super) why: &'static str,
}

impl<'a> Passing<'a> {
    pub(super) const fn new(view: MessageView<'a>) -> Self {
        Self {
            view,
            kept: OnceCell::new(),
        }
    }

    /// One that is kept already.
    pub(super) fn of(message: &'a Arc<Message>) -> Self {
        Self {
            view: message.view(),
            kept: OnceCell::from(Arc::clone(message)),
        }
    }

    pub(super) fn kept(&self) -> &Arc<Message> {
        self.kept.get_or_init(|| Arc::new(self.view.keep()))
    }
}

impl Shard {
    /// PUBLISH. A message that is not accepted never ends the connection; bad packets do.
    pub(super) fn publish(
        &mut self,
        index: u32,
        session: u32,
        publish: &Publish<'_>,
        now: Time,
    ) -> Result<(), ReasonCode> {
        self.counters.message_in(publish.qos, publish.payload.len());
        let Some(conn) = self.conns.at_mut(index) else {
            return Ok(());
        };
        conn.traffic.messages_in += 1;
        if publish.qos > conn.limits.max_qos {
            return Err(ReasonCode::QoSNotSupported); // [MQTT-3.2.2-11]
        }
        if publish.retain && !conn.limits.retain_available {
            return Err(ReasonCode::RetainNotSupported); // [MQTT-3.2.2-14]
        }
        let named = conn.received_aliases.resolve(publish, &conn.limits)?;
        // 3.x has no Receive Maximum: its clients may use every identifier there is.
        let receive_maximum = match conn.version {
            Version::V5 => conn.limits.receive_maximum,
            Version::V31 | Version::V311 => u16::MAX,
        };
        let topic = match &named {
            Named::ByAlias(topic) => topic,
            Named::InPacket | Named::Refused => publish.topic,
        };

        if let (QoS::ExactlyOnce, Some(id)) = (publish.qos, publish.packet_id) {
            let Some(session) = self.sessions.at_mut(session) else {
                return Ok(());
            };
            match session.incoming.judge(id, receive_maximum) {
                Receipt::New => {}
                Receipt::TooMany => return Err(ReasonCode::ReceiveMaximumExceeded),
                Receipt::Again => {
                    self.write(index, |out, version| {
                        encode::pubrec(out, version, id, ReasonCode::Success);
                    });
                    return Ok(());
                }
            }
        }
        let accepted = match named {
            Named::Refused => Err(PublishError::TOPIC),
            _ => self.accept(index, session, topic, publish, now),
        };
        let answer = match accepted {
            Ok(true) => ReasonCode::Success,
            Ok(false) => ReasonCode::NoMatchingSubscribers,
            Err(refused) => {
                self.record_refused_publish(session, topic, refused, now);
                refused.code
            }
        };
        if let Some(id) = publish.packet_id {
            self.acknowledge(index, session, publish.qos, id, answer);
        }
        Ok(())
    }

    /// PUBACK or PUBREC. 3.x has no way to say no: a message that was not accepted is acknowledged
    /// and gone `[MQTT-3.3.5-2]` (3.1.1).
    fn acknowledge(
        &mut self,
        index: u32,
        session: u32,
        qos: QoS,
        id: PacketId,
        answer: ReasonCode,
    ) {
        let Some(conn) = self.conns.at(index) else {
            return;
        };
        if qos == QoS::AtLeastOnce {
            return self.write(index, |out, version| {
                encode::puback(out, version, id, answer)
            });
        }
        // In 5.0 a refusing PUBREC ends the flow [MQTT-4.3.3-9]; otherwise PUBREL is to come.
        if (conn.version != Version::V5 || !answer.is_error())
            && let Some(session) = self.sessions.at_mut(session)
        {
            session.incoming.hold(id);
        }
        self.write(index, |out, version| {
            encode::pubrec(out, version, id, answer)
        });
    }

    /// Checks, retains and routes a client's message. Says whether it matched anyone.
    fn accept(
        &mut self,
        index: u32,
        session_index: u32,
        written: &str,
        publish: &Publish<'_>,
        now: Time,
    ) -> Result<bool, PublishError> {
        let known = self.know(index, session_index, written)?;
        let Some(session) = self.sessions.at(session_index) else {
            return Ok(false);
        };
        let properties = &publish.properties;
        if properties.payload_is_utf8
            && session.limits.check_payload_format
            && std::str::from_utf8(publish.payload).is_err()
        {
            return Err(PublishError::FORMAT);
        }
        let mount = session.grant.mount();
        let mounted;
        let response_topic = match properties.response_topic {
            Some(topic) if !mount.is_empty() => {
                mounted = format!("{mount}{topic}");
                Some(&*mounted).filter(|topic| topic.len() <= usize::from(u16::MAX))
            }
            other => other,
        };
        let expires = match properties.message_expiry {
            Some(secs) => now + Span::from_secs(u64::from(secs)),
            None => Time::NEVER,
        };
        let passed_on = properties.passed_on();
        let passing = Passing::new(MessageView {
            topic: &known.topic,
            passed_on: &passed_on,
            response_topic,
            payload: publish.payload,
            qos: publish.qos,
            retain: publish.retain,
            expires,
            publisher: session.address,
        });
        if !publish.retain {
            return self.pass(&known, &passing, now);
        }
        self.retain(&known.team, &passing, now)?;
        // Only now may the matches be taken for whole: whoever subscribed on another shard in the
        // meantime either stands in the routes now or found the message retained.
        let known = self.know(index, session_index, written)?;
        // It is kept, whoever else has no room for it.
        Ok(self.pass(&known, &passing, now).unwrap_or(true))
    }

    /// Gives a message to everyone who matches. A message that finds no room with anybody is not
    /// accepted: an acknowledgement would say that it is kept.
    fn pass(
        &mut self,
        known: &Routed,
        passing: &Passing<'_>,
        now: Time,
    ) -> Result<bool, PublishError> {
        let steps = steps_of(passing.view.payload.len()) as usize;
        self.charge(known.matched.candidates().saturating_mul(steps));
        self.outcome = Outcome::default();
        let matched = self.route(&known.team, &known.matched, passing, now);
        match self.outcome.is_full() {
            true => Err(PublishError::QUEUE_FULL),
            false => Ok(matched),
        }
    }

    /// Who gets a topic's messages, where this session may publish to it: from memory where that
    /// still holds, else decided anew: mount, form, team, policy, routes, in this order.
    fn know(
        &mut self,
        index: u32,
        session: u32,
        written: &str,
    ) -> Result<Rc<Routed>, PublishError> {
        let (Some(conn), Some(session)) = (self.conns.at(index), self.sessions.at(session)) else {
            return Err(PublishError::GONE);
        };
        let granted_under = session.grant.generation();
        if let Some(routed) = conn.recent.get(written, granted_under)
            && self.is_current(&routed)
        {
            return Ok(routed);
        }
        let topic: Cow<'_, str> = match session.grant.mount() {
            "" => Cow::Borrowed(written),
            mount => Cow::Owned(format!("{mount}{written}")),
        };
        let team = self.may_publish(session, &topic)?;
        let remembered = self.routes.get(&team, &topic).map(Rc::clone);
        let routed = match remembered.filter(|routed| self.is_current(routed)) {
            Some(routed) => routed,
            None => {
                let (generation, matched) = self.world.compartment(&team).matches(&topic);
                self.charge(matched.visited);
                let topic = Arc::from(topic);
                let routed = Rc::new(Routed {
                    topic,
                    team,
                    generation,
                    matched,
                });
                self.routes.put(&routed);
                routed
            }
        };
        if let Some(conn) = self.conns.at_mut(index) {
            conn.recent.put(written, granted_under, &routed);
        }
        Ok(routed)
    }

    fn is_current(&self, routed: &Routed) -> bool {
        routed.generation == self.world.compartment(&routed.team).generation()
    }

    /// Whether a session may publish to a full topic; the compartment that it belongs to.
    pub(super) fn may_publish(
        &self,
        session: &crate::session::Session,
        topic: &str,
    ) -> Result<Arc<Team>, PublishError> {
        let limits = &session.limits;
        let name = TopicName::parse(topic, limits.max_topic_length, limits.max_topic_levels)
            .map_err(|_| PublishError::TOPIC)?;
        let grant = &session.grant;
        // The structural check: before any rule is asked, so that no rule can be wrong about it.
        if !grant.reaches(name) {
            return Err(PublishError::OUTSIDE);
        }
        if grant.publish(name).ruling == Ruling::Deny {
            return Err(PublishError::POLICY);
        }
        if grant.team().is_some() && topic.starts_with(grant.root()) {
            return Ok(Arc::clone(&session.team));
        }
        Ok(match self.world.namespace().owner_of(name) {
            Owner::Team(id) => match TeamId::new(id) {
                Some(id) => self.world.team(&id, &self.world.namespace().root(&id)),
                None => return Err(PublishError::OUTSIDE),
            },
            Owner::Commons(_) | Owner::Spanning | Owner::Outside => {
                Arc::clone(self.world.commons())
            }
        })
    }

    /// Keeps or clears the topic's retained message.
    pub(super) fn retain(
        &mut self,
        team: &Team,
        passing: &Passing<'_>,
        now: Time,
    ) -> Result<(), PublishError> {
        team.retain(passing.kept(), &self.world.limits, now)
            .map_err(|_| {
                self.counters.drop(Drop::RetainedFull);
                PublishError::RETAINED_FULL
            })
    }

    pub(super) fn record_refused_publish(
        &mut self,
        session: u32,
        written: &str,
        refused: PublishError,
        now: Time,
    ) {
        let Some(session) = self.sessions.at(session) else {
            return;
        };
        let topic = format!("{}{written}", session.grant.mount()).into_boxed_str();
        let PublishError { code: reason, why } = refused;
        self.record(
            now,
            who(session),
            EventKind::PublishRefused {
                topic,
                reason,
                why,
                will: false,
            },
        );
    }

    /// PUBREL: the identifier is free again.
    pub(super) fn pubrel(&mut self, index: u32, session: u32, ack: Ack) -> Result<(), ReasonCode> {
        let Some(session) = self.sessions.at_mut(session) else {
            return Ok(());
        };
        let code = match session.incoming.release(ack.packet_id) {
            true => ReasonCode::Success,
            false => ReasonCode::PacketIdentifierNotFound,
        };
        self.write(index, |out, version| {
            encode::pubcomp(out, version, ack.packet_id, code)
        });
        Ok(())
    }
}

impl PublishError {
    const GONE: Self = Self {
        code: ReasonCode::UnspecifiedError,
        why: "the session has ended",
    };
    const TOPIC: Self = Self {
        code: ReasonCode::TopicNameInvalid,
        why: "not a topic name within the limits",
    };
    const FORMAT: Self = Self {
        code: ReasonCode::PayloadFormatInvalid,
        why: "said to be UTF-8 and is not",
    };
    const OUTSIDE: Self = Self {
        code: ReasonCode::NotAuthorized,
        why: "outside the team",
    };
    const POLICY: Self = Self {
        code: ReasonCode::NotAuthorized,
        why: "policy",
    };
    const QUEUE_FULL: Self = Self {
        code: ReasonCode::QuotaExceeded,
        why: "the queues of all who would get it are full",
    };
    const RETAINED_FULL: Self = Self {
        code: ReasonCode::QuotaExceeded,
        why: "the team's retained messages are at their limit",
    };
}
