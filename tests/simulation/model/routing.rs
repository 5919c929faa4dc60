//! Who gets a message, and what stays of it.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use cofferdam::policy::TeamId;
use cofferdam::team::{Message as Kept, Walk};
use cofferdam::time::{Span, Time};
use cofferdam::topic::TopicFilter;
use cofferdam::wire::client::{Property, Publish};
use cofferdam::wire::{QoS, ReasonCode};

use super::Subscription;
use super::{Cause, Choice, Entry, Message, Model, Remote, Replay, Retained, Session};
use crate::cast::{TEAMS, matches};

impl Model {
    /// A session publishes. What it is told: success, nobody there, or why not.
    pub fn publish(
        &mut self,
        uid: u64,
        who: usize,
        publish: &Publish,
    ) -> Result<Vec<ReasonCode>, ReasonCode> {
        let rights = self.place(uid).map_or(0, |at| self.sessions[at].rights);
        let person = &self.people[who];
        if !person.may_publish(rights, &publish.topic) {
            return Err(ReasonCode::NotAuthorized);
        }
        self.serials += 1;
        let mount = person.mount.clone();
        let passed_on = |p: &&Property| {
            matches!(
                p,
                Property::PayloadFormat(_)
                    | Property::ContentType(_)
                    | Property::CorrelationData(_)
                    | Property::User(..)
            )
        };
        let expiry = publish.properties.iter().find_map(|p| match p {
            Property::MessageExpiry(secs) => Some(Span::from_secs(u64::from(*secs))),
            _ => None,
        });
        let response_topic = publish.properties.iter().find_map(|p| match p {
            Property::ResponseTopic(topic) => Some(format!("{mount}{topic}")),
            _ => None,
        });
        let message = Rc::new(Message {
            serial: self.serials,
            topic: format!("{mount}{}", publish.topic),
            payload: publish.payload.clone(),
            qos: publish.qos,
            retain: publish.retain,
            expires: expiry.map_or(Time::NEVER, |expiry| self.now + expiry),
            properties: publish
                .properties
                .iter()
                .filter(passed_on)
                .cloned()
                .collect(),
            response_topic,
            publisher: uid,
            nobodys: Cell::new(false),
            receipt: Cell::new(0),
            journaled: self.journal,
        });
        self.turn.accepted.push(Rc::clone(&message));
        if message.retain && !self.retain(&message) {
            return Err(ReasonCode::QuotaExceeded);
        }
        let (any, seen) = self.route(&message);
        Ok(match (any, seen) {
            (false, _) => vec![ReasonCode::NoMatchingSubscribers],
            (true, true) => vec![ReasonCode::Success],
            // Somebody asked for it, and nobody sees it: either is true.
            (true, false) => vec![ReasonCode::Success, ReasonCode::NoMatchingSubscribers],
        })
    }

    /// Keeps, replaces or clears. `false`: no room.
    fn retain(&mut self, message: &Rc<Message>) -> bool {
        let team = TEAMS
            .into_iter()
            .find(|team| message.topic.starts_with(&format!("ff/v1/{team}/")));
        let others = self
            .retained
            .iter()
            .filter(|kept| kept.team == team && kept.message.topic != message.topic);
        let others: Vec<&Message> = others.map(|kept| &*kept.message).collect();
        let fits = |others: &[&Message]| {
            let bytes: usize = others.iter().map(|other| other.size()).sum();
            others.len() < self.limits.max_retained_messages as usize
                && (bytes + message.size()) as u64 <= self.limits.max_retained_bytes
        };
        if !message.payload.is_empty() && !fits(&others) {
            // What has expired makes room, but the broker need not look for it every time.
            let alive = others.into_iter().filter(|other| other.expires > self.now);
            if !fits(&alive.collect::<Vec<_>>()) || !self.is_kept(team, message) {
                return false;
            }
            let is_gone = |kept: &Retained| {
                let expired = kept.team == team && kept.message.expires <= self.now;
                let held = || self.held(team, &kept.message.topic);
                expired && !held().is_some_and(|held| kept.message.is(&held))
            };
            let gone: Vec<bool> = self.retained.iter().map(is_gone).collect();
            let mut gone = gone.into_iter();
            let gone = self.retained.extract_if(.., |_| gone.next() == Some(true));
            self.forgotten.extend(gone);
        }
        let before = self.retained_at(&message.topic).cloned();
        let before = before.filter(|kept| kept.expires > self.now && !message.payload.is_empty());
        for session in &mut self.sessions {
            let small = |line: usize| self.lines[line].max_packet < usize::MAX;
            let small = session.line.is_some_and(small);
            for replay in &mut session.replays {
                // It may have come to the topic already and found none, or one that it passed over.
                let own =
                    |kept: &Rc<Message>| replay.of.options.no_local && kept.is_of(session.uid);
                if small || before.as_ref().is_none_or(own) {
                    replay.due.retain(|due| *due != message.topic);
                }
            }
        }
        for kept in [&mut self.retained, &mut self.forgotten] {
            kept.retain(|kept| kept.message.topic != message.topic);
        }
        if !message.payload.is_empty() {
            self.retained.push(Retained {
                team,
                message: Rc::clone(message),
            });
            self.turn.retained.push(Rc::clone(message));
        }
        true
    }

    /// Whether the broker took this message, or one of the same turn that replaced it, as retained.
    fn is_kept(&self, team: Option<&str>, message: &Message) -> bool {
        let before = self.retained_at(&message.topic);
        let found = self.held(team, &message.topic);
        found.is_some_and(|found| !before.is_some_and(|before| before.is(&found)))
    }

    /// What the broker has retained for a topic.
    fn held(&self, team: Option<&str>, topic: &str) -> Option<Arc<Kept>> {
        let filter = TopicFilter::parse(topic, u16::MAX, u16::MAX).ok()?;
        let find = |kept: &cofferdam::team::Retained| first_match(kept, filter);
        match team.and_then(TeamId::new) {
            None => self.world.commons().with_retained(find),
            Some(id) => {
                let root = self.world.namespace().root(&id);
                self.world.team(&id, &root).with_retained(find)
            }
        }
    }

    /// Whether the broker takes a topic to be wanted by a session that is kept.
    pub fn is_kept_anyhow(&self, who: usize, topic: &str) -> bool {
        let matches = |team: &_| self.world.compartment(team).matches(topic).1.is_kept();
        match self.people[who].team.and_then(TeamId::new) {
            None => matches(self.world.commons()),
            Some(id) => matches(&self.world.team(&id, &self.world.namespace().root(&id))),
        }
    }

    /// Says whether a filter matched, and whether anyone sees it.
    fn route(&mut self, message: &Rc<Message>) -> (bool, bool) {
        let mut direct = Vec::new();
        let mut choices: Vec<Choice> = Vec::new();
        let mut any = false;
        for session in self.live() {
            for subscription in &session.subscriptions {
                if !matches(&subscription.filter, &message.topic) {
                    continue;
                }
                any = true;
                let entry = Entry {
                    message: Rc::clone(message),
                    qos: message.qos.min(subscription.options.qos),
                    retain: message.retain && subscription.options.retain_as_published,
                    id: subscription.id,
                    share: subscription.share,
                    handed: false,
                    doubtful: false,
                    fresh: true,
                    seen: None,
                };
                let own = subscription.options.no_local && message.publisher == session.uid;
                let hidden = own || !self.is_seen(session, subscription, &message.topic);
                let Some(group) = &subscription.group else {
                    direct.push((session.uid, session.shard, entry, hidden));
                    continue;
                };
                let same = |choice: &&mut Choice| {
                    choice.group == *group && choice.filter == subscription.filter
                };
                let member = (session.uid, session.line.is_some(), entry);
                let member = (!hidden).then_some(member);
                match choices.iter_mut().find(same) {
                    Some(choice) => choice.members.extend(member),
                    None => choices.push(Choice {
                        group: group.clone(),
                        filter: subscription.filter.clone(),
                        members: member.into_iter().collect(),
                        taken: None,
                        cause: Cause::Published,
                    }),
                }
            }
        }
        let seen = direct.iter().any(|(.., hidden)| !hidden)
            || choices.iter().any(|choice| !choice.members.is_empty());
        for (uid, to, entry, hidden) in direct {
            if to != self.shard {
                // Whether there is room it is not known here: that counts as if there were.
                let fate = self.fate(message.serial);
                fate.taken |= !hidden;
                fate.perhaps_taken = true;
                let remote = Remote {
                    to,
                    uid,
                    entry,
                    hidden,
                    gone: false,
                };
                self.turn.remote.push(remote);
            } else if !hidden {
                self.arrive(uid, entry);
            }
        }
        self.turn.choices.extend(choices);
        (any, seen)
    }

    /// Whether a subscriber sees the topic at all.
    pub fn is_seen(&self, session: &Session, subscription: &Subscription, topic: &str) -> bool {
        let person = &self.people[session.who];
        let dollar = person.sees(topic).is_none_or(|own| own.starts_with('$'));
        !(person.is_denied(session.rights, topic) || subscription.hides && dollar)
    }

    /// A message reaches the shard where its receiver lives, whose rights may be others by then.
    pub fn arrive(&mut self, uid: u64, mut entry: Entry) {
        let Some(place) = self.place(uid) else { return };
        let session = &mut self.sessions[place];
        if session.ended {
            return;
        }
        let (person, topic) = (&self.people[session.who], &entry.message.topic);
        if session.has_lost(person, topic)
            || entry.doubtful && person.is_denied(session.rights, topic)
        {
            return;
        }
        entry.fresh = true;
        entry.doubtful |= !person.may_read(session.rights, topic);
        match (entry.qos, session.line) {
            (QoS::AtMostOnce, Some(line)) => session.at_once.push((line, entry)),
            (QoS::AtMostOnce, None) => {}
            _ => {
                session.owe(&entry);
                session.queue.push(entry);
            }
        }
    }

    /// Retained messages that a subscription asks for.
    pub fn begin_replay(&mut self, place: usize, subscription: &Subscription) {
        let now = self.now;
        let kept = self.retained.iter().map(|kept| &kept.message);
        let due = kept
            .filter(|kept| kept.expires > now && matches(&subscription.filter, &kept.topic))
            .map(|kept| kept.topic.clone())
            .collect();
        self.end_replay(place, subscription);
        let of = subscription.clone();
        let replay = Replay {
            of,
            done: Vec::new(),
            due,
            over: false,
        };
        self.sessions[place].replays.push(replay);
    }

    /// The subscription was replaced by one that asks for no retained messages: what is still to be
    /// sent for the old one goes on, on the terms of the new one.
    pub fn change_replay(&mut self, place: usize, subscription: &Subscription) {
        let replays = &mut self.sessions[place].replays;
        let old = replays.iter_mut().find(|replay| {
            let same = replay.of.filter == subscription.filter;
            !replay.over && same && replay.of.group == subscription.group
        });
        if let Some(old) = old {
            old.over = true;
            let of = subscription.clone();
            let mut replay = Replay {
                of,
                over: false,
                ..old.clone()
            };
            if old.of.options.no_local {
                replay.due.clear(); // it may have passed over some of them, and that was right
            }
            replays.push(replay);
        }
    }

    /// The subscription is gone or begins anew.
    pub fn end_replay(&mut self, place: usize, subscription: &Subscription) {
        for replay in &mut self.sessions[place].replays {
            let same = replay.of.filter == subscription.filter;
            replay.over |= same && replay.of.group == subscription.group;
        }
    }
}

/// The first message that is retained for a filter.
pub fn first_match(kept: &cofferdam::team::Retained, filter: TopicFilter<'_>) -> Option<Arc<Kept>> {
    match kept.next_match(filter, None, &mut { u32::MAX }) {
        Walk::Found(message) => Some(message),
        Walk::End | Walk::GoOn(_) => None,
    }
}
