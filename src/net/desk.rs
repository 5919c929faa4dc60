//! Where shards bring the questions that somebody else answers, and how many may be open: of all
//! teams, and of each. Called by `services`; whoever answers has the other end (`cli::hook`).
//!
//! A question takes its place before it leaves its shard and keeps it until it is answered, also
//! where it only joins another that is the same. So what one team asks is never in another's way.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::broker::{Answer, Question};
use crate::policy::TeamId;
use crate::time::Span;

/// Questions that may be open at once.
const OPEN_MAX: usize = 32_768;

/// Of them, those that go to whoever comes first; the others are for teams that have few.
const SHARED_MAX: usize = 16_384;

/// Questions of one team that may be open at once; those of principals that span teams count as one
/// team's.
const TEAM_MAX: usize = 4096;

/// As many a team may have however many others have.
const TEAM_MIN: usize = 16;

/// New topics that may wait to be reported; beyond it they are dropped.
const REPORTS_MAX: usize = 4096;

/// Before something is asked again that could not be.
pub(super) const ASK_AGAIN: Span = Span::from_secs(1);

/// A question, and the shard that asks it.
pub struct Asked {
    /// Where the answer goes.
    pub shard: u16,
    /// What is asked.
    pub question: Box<Question>,
    /// To be kept until it is answered.
    pub place: Place,
}

/// Where questions go. Cheap to clone.
#[derive(Clone)]
pub struct Desk {
    ask: mpsc::Sender<Asked>,
    report: mpsc::Sender<Box<Question>>,
    places: Arc<Places>,
}

/// The other end of a desk.
pub struct Brought {
    /// Questions that a client waits for.
    pub asked: mpsc::Receiver<Asked>,
    /// Those by which the platform hears of a topic.
    pub topics: mpsc::Receiver<Box<Question>>,
}

/// An open question's place among those of its team. Dropped, it is free.
pub struct Place {
    places: Arc<Places>,
    team: Option<TeamId>,
}

#[derive(Default)]
struct Places(Mutex<Open>);

/// How many questions are open.
#[derive(Default)]
struct Open {
    all: usize,
    teams: HashMap<Option<TeamId>, usize>,
}

impl Desk {
    /// A desk, and its other end.
    pub fn new() -> (Self, Brought) {
        // As many as there are places, so there is always room for who has one.
        let (ask, asked) = mpsc::channel(OPEN_MAX);
        let (report, topics) = mpsc::channel(REPORTS_MAX);
        let places = Arc::default();
        let desk = Self {
            ask,
            report,
            places,
        };
        (desk, Brought { asked, topics })
    }

    /// Has a question answered. Where its team has too many open already there is no answer.
    pub(super) fn ask(&self, shard: u16, question: Box<Question>) -> Result<(), Answer> {
        let missing = Answer::Missing(ASK_AGAIN);
        let place = Places::take(&self.places, question.team.as_ref()).ok_or(missing)?;
        let asked = Asked {
            shard,
            question,
            place,
        };
        self.ask.try_send(asked).map_err(|_| missing)
    }

    /// Lets the platform hear of a topic; says whether there was room.
    pub(super) fn report(&self, question: Box<Question>) -> bool {
        self.report.try_send(question).is_ok()
    }
}

impl Places {
    /// A team has at most as many of the shared places as are free after it, so whoever comes first
    /// leaves some to who comes next; and a few that no other can take.
    fn take(this: &Arc<Self>, team: Option<&TeamId>) -> Option<Place> {
        let team = team.cloned();
        let mut open = this.0.lock();
        let free = SHARED_MAX.saturating_sub(open.all);
        let of_team = open.teams.get(&team).copied().unwrap_or_default();
        if of_team >= free.clamp(TEAM_MIN, TEAM_MAX) || open.all >= OPEN_MAX {
            return None;
        }
        open.all += 1;
        *open.teams.entry(team.clone()).or_default() += 1;
        drop(open);
        let places = Arc::clone(this);
        Some(Place { places, team })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.places.0.lock();
        open.all = open.all.saturating_sub(1);
        if let Some(of_team) = open.teams.get_mut(&self.team) {
            *of_team -= 1;
            if *of_team == 0 {
                open.teams.remove(&self.team);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn team(name: &str) -> TeamId {
        TeamId::new(name).expect("a team")
    }

    /// Has a team open as many questions as it can.
    fn fill(places: &Arc<Places>, team: &TeamId) -> Vec<Place> {
        std::iter::from_fn(|| Places::take(places, Some(team))).collect()
    }

    #[test]
    fn however_many_teams_take_all_they_can_there_is_room_for_the_next() {
        let places = Arc::default();
        let mut held = Vec::new();
        for loud in 0..1000 {
            let taken = fill(&places, &team(&format!("loud{loud}")));
            assert!(!taken.is_empty(), "after {loud} others");
            assert!(taken.len() <= TEAM_MAX);
            if loud == 0 {
                assert_eq!(taken.len(), TEAM_MAX);
            }
            held.extend(taken);
        }
        assert!(Places::take(&places, Some(&team("quiet"))).is_some());
        assert!(Places::take(&places, None).is_some());
        assert!(held.len() <= OPEN_MAX);
        drop(held);
        let open = places.0.lock();
        assert_eq!(
            (open.all, open.teams.len()),
            (0, 0),
            "nothing is left of it"
        );
    }

    #[test]
    fn who_has_a_place_is_heard() {
        let (desk, mut brought) = Desk::new();
        let question = |name: &str| {
            Box::new(Question {
                team: Some(team(name)),
                ..Question::about("u", "c", crate::policy::Action::Publish, "t")
            })
        };
        let asked = (0..2 * TEAM_MAX).map(|_| desk.ask(0, question("loud")));
        let asked: Vec<_> = asked.collect();
        let (heard, not) = asked.split_at(TEAM_MAX);
        assert!(heard.iter().all(Result::is_ok));
        assert!(not.iter().all(|it| *it == Err(Answer::Missing(ASK_AGAIN))));
        assert_eq!(desk.ask(0, question("quiet")), Ok(()));
        drop(brought.asked.try_recv().expect("the first"));
        assert_eq!(desk.ask(0, question("loud")), Ok(()), "its place is free");
    }
}
