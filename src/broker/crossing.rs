//! Crossings on record: a message that goes into a team from somebody who is not of it, or out of it
//! to somebody who is not, because a rule says so (the platform's).
//!
//! Each is counted. The first of a principal, a team and a way goes on the team's record at once,
//! with the rule; those that follow become one row an hour with their count, as a platform reads
//! its teams' logs all day. Called by `publish`, `park` (wills) and `deliver`.

use std::sync::Arc;

use hashbrown::HashMap;

use super::event::{EventKind, Way, Who};
use super::park::Parked;
use super::shard::{Shard, who};
use super::timers::Timer;
use crate::policy::{Action, Grant, Owner, TeamId};
use crate::team::{Team, World};
use crate::time::{Span, Time};
use crate::topic::TopicName;

/// How often repeated crossings are put on record.
const EVERY: Span = Span::from_secs(3_600);
/// Most tallies kept; beyond that all are put on record and begin anew.
const TALLIES_MAX: usize = 16_384;

/// What has crossed since it was last put on record, by team.
#[derive(Debug)]
pub(super) struct Crossings {
    by_team: HashMap<Arc<str>, Vec<Tally>, foldhash::fast::RandomState>,
    tallies: usize,
    /// The earliest timer set.
    pub(super) timer: Time,
}

/// The crossings of one session in one way.
#[derive(Debug)]
struct Tally {
    /// Place and generation of the session.
    session: (u32, u32),
    way: Way,
    who: Who,
    /// The last topic.
    topic: Box<str>,
    rule: Arc<str>,
    count: u64,
    since: Time,
}

/// Whoever crosses.
struct Crosser<'a> {
    /// Place and generation of the session.
    session: (u32, u32),
    grant: &'a Grant,
    who: &'a Who,
}

impl Default for Crossings {
    fn default() -> Self {
        Self {
            by_team: HashMap::default(),
            tallies: 0,
            timer: Time::NEVER,
        }
    }
}

impl Tally {
    fn kind(&mut self, since: Time) -> EventKind {
        EventKind::Crossed {
            way: self.way,
            topic: self.topic.clone(),
            rule: Arc::clone(&self.rule),
            count: std::mem::take(&mut self.count),
            since,
        }
    }
}

impl Shard {
    /// A session publishes to a topic of `owner`'s.
    pub(super) fn note_published(&mut self, session: u32, owner: &Team, topic: &str, now: Time) {
        let Some(home) = self.sessions.at(session).map(|it| Arc::clone(&it.team)) else {
            return;
        };
        if let Some(team) = World::crossed(&home, owner) {
            self.note_of(session, Way::Into, team.as_str(), topic, now);
        }
    }

    /// A will whose session may be gone is published to a topic of `owner`'s.
    pub(super) fn note_will(&mut self, parked: &Parked, owner: &Team, now: Time) {
        if let Some(team) = World::crossed(&parked.team, owner) {
            let by = Crosser {
                session: (parked.publisher.index, parked.publisher.generation),
                grant: &parked.grant,
                who: &parked.who,
            };
            self.note(&by, Way::Into, team.as_str(), parked.topic(), now);
        }
    }

    /// A session that is at home in no team is handed a message.
    pub(super) fn note_received(&mut self, session: u32, topic: &str, now: Time) {
        let world = Arc::clone(&self.world);
        let name = TopicName::parse(topic, u16::MAX, u16::MAX);
        if let Ok(Owner::Team(team)) = name.map(|name| world.namespace().owner_of(name)) {
            self.note_of(session, Way::OutOf, team, topic, now);
        }
    }

    fn note_of(&mut self, index: u32, way: Way, team: &str, topic: &str, now: Time) {
        let Some(session) = self.sessions.at(index) else {
            return;
        };
        let by = Crosser {
            session: (index, session.address.generation),
            grant: &Arc::clone(&session.grant),
            who: &who(session),
        };
        self.note(&by, way, team, topic, now);
    }

    fn note(&mut self, by: &Crosser<'_>, way: Way, team: &str, topic: &str, now: Time) {
        self.counters.crossings[way as usize] += 1;
        let place = by.session;
        let tallies = self.crossings.by_team.get_mut(team).into_iter().flatten();
        let known = tallies
            .filter(|tally| tally.session == place && tally.way == way)
            .last();
        if let Some(tally) = known {
            if tally.count == 0 {
                tally.since = now;
            }
            tally.count += 1;
            if *tally.topic != *topic {
                tally.topic = topic.into();
            }
            return;
        }
        let action = match way {
            Way::Into => Action::Publish,
            Way::OutOf => Action::Subscribe,
        };
        let rule = by.grant.explain(action, topic).rule;
        let mut tally = Tally {
            session: place,
            way,
            who: Who {
                team: TeamId::new(team),
                ..by.who.clone()
            },
            topic: topic.into(),
            rule: rule.map_or_else(|| Arc::from(""), |rule| Arc::from(rule.to_string())),
            count: 1,
            since: now,
        };
        if self.crossings.tallies >= TALLIES_MAX {
            self.put_crossings_on_record(now);
            self.crossings.by_team.clear();
            self.crossings.tallies = 0;
        }
        let (who, kind) = (tally.who.clone(), tally.kind(now));
        self.record(now, who, kind);
        let Crossings {
            by_team, tallies, ..
        } = &mut self.crossings;
        by_team.entry(Arc::from(team)).or_default().push(tally);
        *tallies += 1;
        self.timers
            .set(Timer::Crossings, now + EVERY, &mut self.crossings.timer);
    }

    /// The hour is over: what has repeated goes on record, what has not is forgotten.
    pub(super) fn crossings_timer(&mut self, now: Time) {
        self.crossings.timer = Time::NEVER;
        self.put_crossings_on_record(now);
        if self.crossings.tallies > 0 {
            self.timers
                .set(Timer::Crossings, now + EVERY, &mut self.crossings.timer);
        }
    }

    /// Puts on record what was counted and is not, and forgets what did not cross since last time.
    pub(super) fn put_crossings_on_record(&mut self, now: Time) {
        let mut repeated = Vec::new();
        self.crossings.by_team.retain(|_, tallies| {
            tallies.retain_mut(|tally| {
                let goes_on = tally.count > 0;
                if goes_on {
                    let since = tally.since;
                    repeated.push((tally.who.clone(), tally.kind(since)));
                }
                goes_on
            });
            !tallies.is_empty()
        });
        self.crossings.tallies = self.crossings.by_team.values().map(Vec::len).sum();
        for (who, kind) in repeated {
            self.record(now, who, kind);
        }
    }
}
