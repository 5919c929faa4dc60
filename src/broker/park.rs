//! Wills that are due and wait for an answer: their session has no connection, and may be gone.

use std::sync::Arc;

use super::ask::{Heard, Purpose, Question, Said};
use super::event::{EventKind, Who};
use super::publish::{Passing, PublishError};
use super::shard::{Shard, who};
use crate::policy::{Action, Grant, Standing};
use crate::team::{MessageView, SessionAddress, Team, Will};
use crate::time::Time;
use crate::topic::TopicName;

/// Most wills that one shard parks, and bytes of them.
const WILLS_MAX: usize = 65_536;
const BYTES_MAX: usize = 64 << 20;

/// A will that waits, with all that is needed to publish it.
#[derive(Debug)]
pub(super) struct Parked {
    will: Will,
    expires: Time,
    /// Its session, which may be gone when the answer comes, and what was that session's.
    pub(super) publisher: SessionAddress,
    pub(super) grant: Arc<Grant>,
    pub(super) team: Arc<Team>,
    pub(super) who: Who,
}

impl Parked {
    /// Full name.
    pub(super) fn topic(&self) -> &str {
        self.will.message.topic()
    }
}

/// How much is parked.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Parking {
    wills: usize,
    bytes: usize,
}

impl Parking {
    fn has_room_for(self, bytes: usize) -> bool {
        self.wills < WILLS_MAX && self.bytes + bytes <= BYTES_MAX
    }
}

impl Shard {
    /// Publishes a will, or has it wait until it is known whether it may be. It is checked like any
    /// publish, at the time that it goes out.
    pub(super) fn publish_will(&mut self, index: u32, will: Will, now: Time) {
        let Some(session) = self.sessions.at(index) else {
            return;
        };
        let expires = will.expiry.map_or(Time::NEVER, |expiry| now + expiry);
        let parked = Parked {
            expires,
            publisher: session.address,
            grant: Arc::clone(&session.grant),
            team: Arc::clone(&session.team),
            who: who(session),
            will,
        };
        let limits = &session.limits;
        let topic = parked.will.message.topic();
        let name = TopicName::parse(topic, limits.max_topic_length, limits.max_topic_levels);
        let standing = match name {
            Err(_) => Err(PublishError::TOPIC),
            Ok(name) if !parked.grant.reaches(name) => Err(PublishError::OUTSIDE),
            Ok(name) => Ok(parked.grant.publish_or_ask(name)),
        };
        if let Ok(Standing::Decided(decision)) = &standing
            && self.observation.is_on()
            && self.observe_publish(index, parked.topic(), decision.is_allow(), now)
        {
            self.counters.observed.publish_denied += 1;
        }
        match standing {
            Ok(Standing::Decided(decision)) if decision.is_allow() => self.send_will(&parked, now),
            Ok(Standing::Decided(_)) => self.refuse_will(&parked, PublishError::POLICY, now),
            Ok(Standing::Ask { .. }) => self.park(index, parked, now),
            Err(error) => self.refuse_will(&parked, error, now),
        }
    }

    fn park(&mut self, index: u32, parked: Parked, now: Time) {
        let size = parked.will.message.size();
        if !self.parking.has_room_for(size) {
            return self.refuse_will(&parked, PublishError::UNANSWERED, now);
        }
        let ticket = self.next_ticket();
        let Some(session) = self.sessions.at(index) else {
            return;
        };
        let topic = parked.will.message.topic();
        let written = topic.strip_prefix(parked.grant.mount()).unwrap_or(topic);
        let question = Question::of(session, ticket, Action::Publish, written.into());
        self.parking.wills += 1;
        self.parking.bytes += size;
        self.ask_for(question, Purpose::Will(Box::new(parked)));
    }

    pub(super) fn will_answered(&mut self, parked: Parked, heard: Heard, now: Time) {
        self.parking.wills = self.parking.wills.saturating_sub(1);
        let size = parked.will.message.size();
        self.parking.bytes = self.parking.bytes.saturating_sub(size);
        let topic = parked.will.message.topic();
        let own = || {
            let name = TopicName::parse(topic, u16::MAX, u16::MAX);
            name.is_ok_and(|name| parked.grant.publish(name).is_allow())
        };
        match heard.said {
            Said::Yes => self.send_will(&parked, now),
            Said::Own if own() => self.send_will(&parked, now),
            Said::Own => self.refuse_will(&parked, PublishError::POLICY, now),
            Said::No => self.refuse_will(&parked, PublishError::HOOK, now),
            Said::Missing => self.refuse_will(&parked, PublishError::UNANSWERED, now),
        }
    }

    fn send_will(&mut self, parked: &Parked, now: Time) {
        if parked.expires < now {
            return;
        }
        let view = MessageView {
            expires: parked.expires,
            publisher: parked.publisher,
            ..parked.will.message.view()
        };
        let passing = Passing::new(view, self.keeping.message());
        if let Err(refused) = self.pass_on_will(parked, &passing, now) {
            self.refuse_will(parked, refused, now);
        }
    }

    fn pass_on_will(
        &mut self,
        parked: &Parked,
        passing: &Passing<'_>,
        now: Time,
    ) -> Result<(), PublishError> {
        let view = &passing.view;
        let name = TopicName::parse(view.topic, u16::MAX, u16::MAX);
        let name = name.map_err(|_| PublishError::TOPIC)?;
        let team = self.world.owner(&parked.team, name);
        let team = team.ok_or(PublishError::OUTSIDE)?;
        self.may_ask(&parked.grant, view.response_topic)?;
        // Retained first, as in `accept`.
        let retained = match view.retain {
            true => self.retain(&team, passing, now)?,
            false => None,
        };
        let (_, matched) = self.world.compartment(&team).matches(view.topic);
        self.open_message(&team, &matched, view, None);
        self.route(&team, &matched, passing, now);
        self.close_message(passing, retained, None);
        self.note_will(parked, &team, now);
        let kind = EventKind::WillSent {
            topic: view.topic.into(),
            retain: view.retain,
        };
        self.record(now, parked.who.clone(), kind);
        Ok(())
    }

    fn refuse_will(&mut self, parked: &Parked, refused: PublishError, now: Time) {
        let kind = EventKind::PublishRefused {
            topic: parked.will.message.topic().into(),
            reason: refused.code,
            why: refused.why,
            will: true,
        };
        self.record(now, parked.who.clone(), kind);
    }
}
