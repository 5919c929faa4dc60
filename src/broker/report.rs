//! Topics that the platform is to hear of although nobody asks it: it lists the topics of its teams
//! from the questions about publishing that it is asked.
//!
//! A topic is reported when it is new here, and again when [`Reports::every`] has passed. Called by
//! `publish`, which remembers a topic no longer than that; the shell sends the reports.

use std::hash::BuildHasher as _;
use std::mem;

use hashbrown::HashMap;

use super::ask::Question;
use super::effect::Effect;
use super::shard::Shard;
use crate::policy::Action;
use crate::team::{Reports, Team};
use crate::time::Time;

/// Most topics of which a shard remembers that they were reported. Beyond it the oldest are new.
const TOPICS_MAX: usize = 131_072;

/// When topics are due again, by their hash (of two that share one, one may go unreported), in two
/// generations: when the younger is full the older
/// is forgotten.
#[derive(Debug, Default)]
pub(super) struct Reported {
    young: HashMap<u64, Time, foldhash::fast::RandomState>,
    old: HashMap<u64, Time, foldhash::fast::RandomState>,
    hashes: foldhash::quality::RandomState,
}

impl Reported {
    /// Notes that a topic is being used. Returns whether it is to be reported, and when it is next.
    fn note(&mut self, topic: &str, reports: &Reports, now: Time) -> (bool, Time) {
        let key = self.hashes.hash_one(topic);
        let known = self.young.get(&key).or_else(|| self.old.get(&key));
        if let Some(due) = known.filter(|due| now < **due) {
            return (false, *due);
        }
        if self.young.len() >= TOPICS_MAX / 2 {
            self.old = mem::take(&mut self.young);
        }
        let due = now + reports.every;
        self.young.insert(key, due);
        (true, due)
    }
}

impl Shard {
    /// Reports a topic of `team` that this session publishes to, if it is new; not where the
    /// platform was `asked` about it anyhow. Returns when it will be new again.
    pub(super) fn report_topic(
        &mut self,
        session: u32,
        team: &Team,
        topic: &str,
        asked: bool,
        now: Time,
    ) -> Time {
        let Some(reports) = &self.world.reports else {
            return Time::NEVER;
        };
        let within = topic.strip_prefix(team.root()).unwrap_or_default();
        let is_listed = reports.subtrees.iter().any(|it| within.starts_with(&**it));
        if team.id().is_none() || !is_listed {
            return Time::NEVER;
        }
        let (is_new, due) = self.reported.note(topic, reports, now);
        if is_new
            && !asked
            && let Some(session) = self.sessions.at(session)
        {
            let written = topic.strip_prefix(session.grant.mount()).unwrap_or(topic);
            let question = Question::of(session, 0, Action::Publish, written.into());
            self.effects.push(Effect::Report(Box::new(question)));
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Span;

    #[test]
    fn a_topic_is_new_once_in_a_while_and_the_memory_of_it_is_bounded() {
        let reports = Reports {
            subtrees: [].into(),
            every: Span::from_secs(60),
        };
        let (mut reported, now) = (Reported::default(), Time::from_micros(1));
        assert_eq!(
            reported.note("a", &reports, now),
            (true, now + reports.every)
        );
        let later = now + Span::from_secs(59);
        assert_eq!(
            reported.note("a", &reports, later),
            (false, now + reports.every)
        );
        assert!(reported.note("b", &reports, later).0);
        assert!(reported.note("a", &reports, now + reports.every).0);
        for topic in 0..2 * TOPICS_MAX {
            reported.note(&topic.to_string(), &reports, now);
            assert!(reported.young.len() + reported.old.len() <= TOPICS_MAX);
        }
    }
}
