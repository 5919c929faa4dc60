//! A policy that is observed: it decides beside the one in force, and nothing of what it decides is
//! carried out. Where it would have decided otherwise, that is counted and goes on record.
//!
//! Each session has a grant of the observed policy beside its own, made when it is first needed and
//! again whenever its own is another. So a shard that observes nothing pays one comparison, and
//! where it does, a publish to a topic that a connection remembers pays that one too: what the
//! observed policy says of the topic is remembered with it.

use std::sync::Arc;

use super::event::EventKind;
use super::recent::topic_place;
use super::shard::{Shard, who};
use crate::policy::{Grant, Policy, Ruling, Standing};
use crate::session::Session;
use crate::team::{MessageView, Route};
use crate::time::Time;
use crate::topic::{SharedFilter, TopicName};

/// What was observed on one shard, and what came of it.
#[derive(Debug, Default)]
pub(super) struct Observation {
    policy: Option<Arc<Policy>>,
    /// By the session's index.
    seats: Vec<Option<Seat>>,
    /// Counts policies, so that what was remembered under another is not taken for this one's.
    round: u32,
}

/// Topics of one session that a difference is on record of, at most; others take their places.
const TOLD: usize = 8;

/// What the observed policy has for one session.
#[derive(Debug)]
struct Seat {
    /// The grant that it stands beside: where the session has another, this seat is old.
    beside: Arc<Grant>,
    /// `None`: the principal could not log in.
    grant: Option<Arc<Grant>>,
    /// A subscription may be denied messages by one of the two policies.
    checks: bool,
    /// What is on record already, so that a stream of messages is not a stream of records.
    told: [Option<(Act, Box<str>)>; TOLD],
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// A client publishes.
    Publish,
    /// A client subscribes, or has subscribed.
    Subscribe,
    /// A message is delivered.
    Deliver,
}

impl Act {
    /// The word for it, on record and in metrics: it never changes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
            Self::Deliver => "deliver",
        }
    }
}

/// Decisions that would have been others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Publishes that are allowed and would be denied.
    pub publish_denied: u64,
    /// Publishes that are denied and would be allowed.
    pub publish_allowed: u64,
    /// Filters that are granted and would be refused.
    pub subscribe_denied: u64,
    /// Filters that are refused and would be granted.
    pub subscribe_allowed: u64,
    /// Messages that are delivered and would be left out.
    pub deliver_denied: u64,
    /// Messages that are left out and would be delivered.
    pub deliver_allowed: u64,
}

impl Observed {
    /// As a metric's labels: what is done, what would be, and how often.
    pub fn labelled(&self) -> [(&'static str, &'static str, u64); 6] {
        [
            (Act::Publish.as_str(), "deny", self.publish_denied),
            (Act::Publish.as_str(), "allow", self.publish_allowed),
            (Act::Subscribe.as_str(), "deny", self.subscribe_denied),
            (Act::Subscribe.as_str(), "allow", self.subscribe_allowed),
            (Act::Deliver.as_str(), "deny", self.deliver_denied),
            (Act::Deliver.as_str(), "allow", self.deliver_allowed),
        ]
    }
}

impl Observation {
    /// Whether there is anything to observe.
    pub(super) const fn is_on(&self) -> bool {
        self.policy.is_some()
    }

    /// What decisions are remembered under, as far as this is concerned; 0: nothing is observed.
    pub(super) const fn round(&self) -> u32 {
        match self.policy {
            Some(_) => self.round,
            None => 0,
        }
    }
}

impl Shard {
    /// Observes a policy from now on, in place of the one before; `None`: no longer any.
    pub fn observe(&mut self, policy: Option<Arc<Policy>>) {
        let round = self.observation.round.wrapping_add(1).max(1);
        self.observation = Observation {
            policy,
            seats: Vec::new(),
            round,
        };
    }

    /// The observed grant of a session, made where there is none; what its subscriptions would be is
    /// put on record then.
    fn seat(&mut self, index: u32, now: Time) -> Option<&mut Seat> {
        let policy = Arc::clone(self.observation.policy.as_ref()?);
        let session = self.sessions.at(index)?;
        let place = index as usize;
        let known = self.observation.seats.get(place).and_then(Option::as_ref);
        if !known.is_some_and(|seat| Arc::ptr_eq(&seat.beside, &session.grant)) {
            let (seat, would_end) = Seat::new(&policy, session);
            let who = who(session);
            self.counters.observed.subscribe_denied += would_end.len() as u64;
            for topic in would_end {
                let kind = EventKind::Observed {
                    act: Act::Subscribe,
                    would_allow: false,
                    topic,
                };
                self.record(now, who.clone(), kind);
            }
            let seats = &mut self.observation.seats;
            if seats.len() <= place {
                seats.resize_with(place + 1, || None);
            }
            seats[place] = Some(seat);
        }
        self.observation.seats.get_mut(place)?.as_mut()
    }

    /// A publish to this full topic was decided as `allowed`. Says whether the observed policy would
    /// deny what is allowed, to be remembered with the topic and counted at each publish.
    pub(super) fn observe_publish(
        &mut self,
        index: u32,
        topic: &str,
        allowed: bool,
        now: Time,
    ) -> bool {
        let Some(seat) = self.seat(index, now) else {
            return false;
        };
        let would_allow = seat.would_publish(topic, allowed);
        if would_allow == allowed {
            return false;
        }
        if would_allow {
            self.counters.observed.publish_allowed += 1;
        }
        self.tell(index, Act::Publish, topic, would_allow, now);
        allowed
    }

    /// A filter, full and with its share group, was decided so.
    pub(super) fn observe_subscribe(&mut self, index: u32, key: &str, ruled: Ruling, now: Time) {
        let Some(seat) = self.seat(index, now) else {
            return;
        };
        let would = seat.would_subscribe(key, ruled);
        seat.checks |= [ruled, would].contains(&Ruling::AllowChecked);
        let would_allow = would != Ruling::Deny;
        if would_allow == (ruled != Ruling::Deny) {
            return;
        }
        match would_allow {
            true => self.counters.observed.subscribe_allowed += 1,
            false => self.counters.observed.subscribe_denied += 1,
        }
        self.tell(index, Act::Subscribe, key, would_allow, now);
    }

    /// A message is about to be delivered by this route, or left out.
    pub(super) fn observe_delivery(&mut self, route: Route, view: &MessageView<'_>, now: Time) {
        let (address, topic) = (route.session, view.topic);
        let index = address.index;
        let Some(session) = self.sessions.get(index, address.generation) else {
            return;
        };
        if route.no_local && view.publisher == address || !route.sees(topic) {
            return;
        }
        let delivered = route.permits(topic, &session.grant);
        let Some(seat) = self.seat(index, now) else {
            return;
        };
        if !seat.checks {
            return;
        }
        let would_deliver = seat.would_deliver(topic);
        if would_deliver == delivered {
            return;
        }
        match would_deliver {
            true => self.counters.observed.deliver_allowed += 1,
            false => self.counters.observed.deliver_denied += 1,
        }
        self.tell(index, Act::Deliver, topic, would_deliver, now);
    }

    /// Puts a difference on record, unless it was among the last ones.
    fn tell(&mut self, index: u32, act: Act, topic: &str, would_allow: bool, now: Time) {
        let Some(Some(seat)) = self.observation.seats.get_mut(index as usize) else {
            return;
        };
        let told = &mut seat.told[topic_place(topic, TOLD)];
        if matches!(told, Some((what, known)) if *what == act && **known == *topic) {
            return;
        }
        *told = Some((act, topic.into()));
        if let Some(session) = self.sessions.at(index) {
            let kind = EventKind::Observed {
                act,
                would_allow,
                topic: topic.into(),
            };
            self.record(now, who(session), kind);
        }
    }
}

impl Seat {
    /// With the filters of the session that the observed policy would not grant.
    fn new(policy: &Policy, session: &Session) -> (Self, Vec<Box<str>>) {
        let grant = policy.renew(&session.grant).ok().map(Arc::new);
        let mut seat = Self {
            beside: Arc::clone(&session.grant),
            grant,
            checks: false,
            told: Default::default(),
        };
        let mut would_end = Vec::new();
        for (key, subscription) in &session.subscriptions {
            let ruled = match subscription.checked {
                true => Ruling::AllowChecked,
                false => Ruling::Allow,
            };
            let would = seat.would_subscribe(key, ruled);
            seat.checks |= subscription.checked || would == Ruling::AllowChecked;
            if would == Ruling::Deny {
                would_end.push(Box::from(&**key));
            }
        }
        (seat, would_end)
    }

    /// The observed grant, where names mean under it what they mean now.
    fn grant(&self) -> Option<&Grant> {
        let same_names = |grant: &&Arc<Grant>| {
            grant.mount() == self.beside.mount() && grant.root() == self.beside.root()
        };
        self.grant.as_ref().filter(same_names).map(|grant| &**grant)
    }

    /// Where somebody else is asked, they say what they have said.
    fn would_publish(&self, topic: &str, allowed: bool) -> bool {
        let Ok(name) = TopicName::parse(topic, u16::MAX, u16::MAX) else {
            return false;
        };
        let grant = self.grant().filter(|grant| grant.reaches(name));
        grant.is_some_and(|grant| match grant.publish_or_ask(name) {
            Standing::Decided(decision) => decision.is_allow(),
            Standing::Ask { .. } => allowed,
        })
    }

    fn would_subscribe(&self, key: &str, ruled: Ruling) -> Ruling {
        let Ok(full) = SharedFilter::parse(key, u16::MAX, u16::MAX) else {
            return Ruling::Deny;
        };
        let reaches = |grant: &&Grant| grant.reaches_filter(full.filter);
        let grant = self.grant().filter(reaches);
        grant.map_or(Ruling::Deny, |grant| {
            match grant.subscribe_or_ask(full.filter, full.group) {
                Standing::Decided(decision) => decision.ruling,
                Standing::Ask { .. } if ruled == Ruling::Deny => Ruling::Deny,
                Standing::Ask { checked: true } => Ruling::AllowChecked,
                Standing::Ask { checked: false } => Ruling::Allow,
            }
        })
    }

    fn would_deliver(&self, topic: &str) -> bool {
        let Ok(name) = TopicName::parse(topic, u16::MAX, u16::MAX) else {
            return false;
        };
        self.grant().is_some_and(|grant| grant.may_receive(name))
    }
}
