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
use crate::fact::Fact;
use crate::limits::Durability;
use crate::policy::{Grant, Owner};
use crate::session::Receipt;
use crate::team::{Message, MessageNumber, MessageView, SessionNumber, Team};
use crate::time::{Span, Time};
use crate::topic::TopicName;
use crate::wire::{Ack, PacketId, Publish, QoS, ReasonCode, Version, encode};

/// A message that passes through: borrowed from the publisher's bytes, and kept at most once,
/// when the first who must keep it asks.
pub(super) struct Passing<'a> {
    pub(super) view: MessageView<'a>,
    number: MessageNumber,
    kept: OnceCell<Arc<Message>>,
}

/// Why a publish is not accepted: what the client is told, and in plain words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PublishError {
    pub(super) code: ReasonCode,
    pub(super) why: &'static str,
}

impl<'a> Passing<'a> {
    pub(super) const fn new(view: MessageView<'a>, number: MessageNumber) -> Self {
        Self {
            view,
            number,
            kept: OnceCell::new(),
        }
    }

    /// One that is kept already.
    pub(super) fn of(message: &'a Arc<Message>) -> Self {
        Self {
            view: message.view(),
            number: message.number,
            kept: OnceCell::from(Arc::clone(message)),
        }
    }

    pub(super) fn kept(&self) -> &Arc<Message> {
        self.kept
            .get_or_init(|| Arc::new(self.view.keep(self.number)))
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
        let Some(conn) = self.conns.at_mut(index) else {
            return Ok(());
        };
        // One that had to wait for an answer was counted when it came.
        if conn.asking.is_none() {
            self.counters.message_in(publish.qos, publish.payload.len());
            conn.traffic.messages_in += 1;
        }
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
                // Whether or not the session is kept: the message may be, for others.
                Receipt::Again => {
                    self.promise(index, None, |out, version| {
                        encode::pubrec(out, version, id, ReasonCode::Success);
                    });
                    return Ok(());
                }
            }
        }
        if named != Named::Refused && self.asks_first(index, session, topic, now) {
            return Ok(());
        }
        let mark = self.keeping.facts.len();
        let accepted = match named {
            Named::Refused => Err(PublishError::TOPIC),
            _ => self.accept(index, session, topic, publish, now),
        };
        let answer = match accepted {
            Ok(true) => ReasonCode::Success,
            Ok(false) => ReasonCode::NoMatchingSubscribers,
            Err(refused) => {
                self.record_refused_publish(session, topic, refused, now);
                if self.leaves_unsaid(index, refused) {
                    return Ok(());
                }
                refused.code
            }
        };
        if let Some(id) = publish.packet_id {
            self.acknowledge(index, session, publish.qos, id, answer, mark);
        }
        Ok(())
    }

    /// Whether a refusal is not answered at all: in 3.x, which cannot say no, an acknowledgement would
    /// say that the message is kept. Its publisher has it still, and sends it again when it comes back.
    fn leaves_unsaid(&self, index: u32, refused: PublishError) -> bool {
        let version = self.conns.at(index).map(|conn| conn.version);
        refused == PublishError::DISK_FULL && version != Some(Version::V5)
    }

    /// PUBACK or PUBREC. 3.x has no way to say no: a message that was not accepted is acknowledged
    /// and gone `[MQTT-3.3.5-2]` (3.1.1), unless there is [no room to keep it](Self::leaves_unsaid).
    fn acknowledge(
        &mut self,
        index: u32,
        session: u32,
        qos: QoS,
        id: PacketId,
        answer: ReasonCode,
        mark: usize,
    ) {
        let Some(conn) = self.conns.at(index) else {
            return;
        };
        if qos == QoS::AtLeastOnce {
            return self.promise(index, Some(mark), |out, version| {
                encode::puback(out, version, id, answer)
            });
        }
        // In 5.0 a refusing PUBREC ends the flow [MQTT-4.3.3-9]; otherwise PUBREL is to come.
        if (conn.version != Version::V5 || !answer.is_error())
            && let Some(session) = self.sessions.at_mut(session)
        {
            session.incoming.hold(id);
            // That of a message that was routed stands with that message.
            if let (Some(number), true) = (session.number, answer.is_error()) {
                self.keeping.facts.state(Fact::Received(number, id));
            }
        }
        self.promise(index, Some(mark), |out, version| {
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
        let (known, would_deny) = self.know(index, session_index, written, now)?;
        self.counters.observed.publish_denied += u64::from(would_deny);
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
        if mount.is_empty() {
            self.may_ask(&session.grant, properties.response_topic)?;
        }
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
        let receipt = match publish.qos {
            QoS::ExactlyOnce => session.number.zip(publish.packet_id),
            _ => None,
        };
        let view = MessageView {
            topic: &known.topic,
            passed_on: &passed_on,
            response_topic,
            payload: publish.payload,
            qos: publish.qos,
            retain: publish.retain,
            expires,
            publisher: session.address,
        };
        if self.keeping.is_full() && self.would_be_kept(&known.team, &known.matched, &view, receipt)
        {
            return Err(PublishError::DISK_FULL);
        }
        let passing = Passing::new(view, self.keeping.message());
        self.note_published(session_index, &known.team, &known.topic, now);
        if !publish.retain {
            return self.pass(&known, &passing, None, receipt, now);
        }
        let retained = self.retain(&known.team, &passing, now)?;
        // Only now may the matches be taken for whole: whoever subscribed on another shard in the
        // meantime either stands in the routes now or found the message retained.
        let (known, _) = self.know(index, session_index, written, now)?;
        // It is kept, whoever else has no room for it.
        Ok(self
            .pass(&known, &passing, retained, receipt, now)
            .unwrap_or(true))
    }

    /// Gives a message to everyone who matches. A message that finds no room with anybody is not
    /// accepted: an acknowledgement would say that it is kept.
    fn pass(
        &mut self,
        known: &Routed,
        passing: &Passing<'_>,
        retained: Option<u64>,
        receipt: Option<(SessionNumber, PacketId)>,
        now: Time,
    ) -> Result<bool, PublishError> {
        let steps = steps_of(passing.view.payload.len()) as usize;
        self.charge(known.matched.candidates().saturating_mul(steps));
        self.outcome = Outcome::default();
        self.open_message(&known.team, &known.matched, &passing.view, receipt);
        let matched = self.route(&known.team, &known.matched, passing, now);
        let is_full = self.outcome.is_full() && retained.is_none();
        self.close_message(passing, retained, receipt.filter(|_| !is_full));
        match self.outcome.is_full() {
            true => Err(PublishError::QUEUE_FULL),
            false => Ok(matched),
        }
    }

    /// Who gets a topic's messages, where this session may publish to it: from memory where that
    /// still holds, else decided anew: mount, form, team, policy, routes, in this order. And
    /// whether the observed policy would deny it.
    fn know(
        &mut self,
        index: u32,
        session_index: u32,
        written: &str,
        now: Time,
    ) -> Result<(Rc<Routed>, bool), PublishError> {
        let conn = self.conns.at(index);
        let (Some(conn), Some(session)) = (conn, self.sessions.at(session_index)) else {
            return Err(PublishError::GONE);
        };
        let under = self.conditions(session);
        if let Some(known) = conn.recent.get(written, under, now)
            && self.is_current(&known.0)
        {
            return Ok(known);
        }
        let topic: Cow<'_, str> = match session.grant.mount() {
            "" => Cow::Borrowed(written),
            mount => Cow::Owned(format!("{mount}{written}")),
        };
        let cleared = self.may_publish(index, session, &topic, now);
        let would_deny = self.observation.is_on()
            && self.observe_publish(session_index, &topic, cleared.is_ok(), now);
        let (team, until) = cleared?;
        let was_asked = until < Time::NEVER;
        let until = until.min(self.report_topic(session_index, &team, &topic, was_asked, now));
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
            conn.recent.put(written, under, until, would_deny, &routed);
        }
        Ok((routed, would_deny))
    }

    pub(super) fn is_current(&self, routed: &Routed) -> bool {
        routed.generation == self.world.compartment(&routed.team).generation()
    }

    /// Whether a principal may ask for an answer to a full topic. One in another team is nothing that
    /// anyone of its own team could answer to; somebody who spans teams could, and would be speaking
    /// into that team on behalf of this one.
    pub(super) fn may_ask(
        &self,
        grant: &Grant,
        response_topic: Option<&str>,
    ) -> Result<(), PublishError> {
        let parse = |topic| TopicName::parse(topic, u16::MAX, u16::MAX).ok();
        let Some(name) = response_topic.and_then(parse) else {
            return Ok(());
        };
        let owner = self.world.namespace().owner_of(name);
        match matches!(owner, Owner::Team(_)) && !grant.reaches(name) {
            true => Err(PublishError::RESPONSE),
            false => Ok(()),
        }
    }

    /// Retains or clears the topic's retained message. Returns the version of what is retained, where
    /// it is kept beyond a crash.
    pub(super) fn retain(
        &mut self,
        team: &Team,
        passing: &Passing<'_>,
        now: Time,
    ) -> Result<Option<u64>, PublishError> {
        let retained = team.retain(passing.kept(), &self.world.limits, now);
        let version = retained.map_err(|_| {
            self.counters.drop(Drop::RetainedFull);
            PublishError::RETAINED_FULL
        })?;
        if !self.keeping.is_on() {
            return Ok(None);
        }
        if team.durability() > Durability::Memory {
            return Ok(Some(version));
        }
        // What was kept of the topic, while the team was promised more, is not to come back.
        let topic = Arc::from(passing.view.topic);
        self.keeping.facts.state(Fact::Cleared(topic, version));
        Ok(None)
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
        let number = session.number;
        let mark = self.mark_of(number);
        if let (Some(number), ReasonCode::Success) = (number, code) {
            let freed = Fact::Freed(number, ack.packet_id);
            self.keeping.facts.state(freed);
        }
        self.promise(index, mark, |out, version| {
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
    pub(super) const TOPIC: Self = Self {
        code: ReasonCode::TopicNameInvalid,
        why: "not a topic name within the limits",
    };
    const FORMAT: Self = Self {
        code: ReasonCode::PayloadFormatInvalid,
        why: "said to be UTF-8 and is not",
    };
    pub(super) const OUTSIDE: Self = Self {
        code: ReasonCode::NotAuthorized,
        why: "outside the team",
    };
    const RESPONSE: Self = Self {
        code: ReasonCode::NotAuthorized,
        why: "response topic outside the team",
    };
    pub(super) const POLICY: Self = Self {
        code: ReasonCode::NotAuthorized,
        why: "policy",
    };
    const DISK_FULL: Self = Self {
        code: ReasonCode::QuotaExceeded,
        why: "the journal has no room",
    };
    const QUEUE_FULL: Self = Self {
        code: ReasonCode::QuotaExceeded,
        why: "the queues of all who would get it are full",
    };
    /// Whoever was asked said no.
    pub(super) const HOOK: Self = Self {
        code: ReasonCode::NotAuthorized,
        why: "hook",
    };
    /// Whoever was asked did not answer, and never had: not a no, so it may be tried again.
    pub(super) const UNANSWERED: Self = Self {
        code: ReasonCode::ImplementationSpecificError,
        why: "hook did not answer",
    };
    const RETAINED_FULL: Self = Self {
        code: ReasonCode::QuotaExceeded,
        why: "the team's retained messages are at their limit",
    };
}
