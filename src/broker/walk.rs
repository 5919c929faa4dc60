//! A review carried out: those whom a change concerns are judged anew, so many in each turn.
//!
//! **Nobody slips through.** A session is found by its team's registry, or in the shard's own table
//! where everyone is meant. It carries the number of the last review that its grant takes account
//! of, so that one made while a walk is under way is neither missed nor judged twice. A login notes
//! that number when it is handed out to be judged; the reviews that come before its verdict are held
//! against the verdict, and those that come while the connection moves to another shard, there. A
//! session that is resumed before the walk has reached it is judged at that moment.
//!
//! **A removed team leaves nothing.** It is closed first: nobody comes in. Each shard ends its
//! sessions; the last one to be through clears what is retained and takes the team out of the world.
//! Only then can there be another of its id, and it begins with nothing.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use super::event::{DisconnectCause, EventKind};
use super::recent::Recent;
use super::review::{Change, ChangeKind, Key, Outcome, Review};
use super::shard::{Shard, who};
use crate::fact::Fact;
use crate::policy::{Grant, TeamId};
use crate::team::{Retained, SessionKey, Team};
use crate::time::{Span, Time};

/// What reviews may cost in one turn: sessions looked at, and of those that are judged anew the
/// subscriptions and what waits; each counts one. The session that passes it is still judged.
pub(super) const REVIEW_STEPS: usize = 2048;

/// What it counts to end a connection or a session: there is a socket to be closed as well.
const END_STEPS: usize = 64;

/// Sessions of a team that are looked up at a time: its registry is locked meanwhile.
const LOOKED_UP: usize = 64;

/// How long a review is held against logins that were handed out before it. They have less time
/// than that; one that took longer all the same is to try again.
const REMEMBERED: Span = Span::from_secs(60);

/// Most reviews that are remembered, and most principals in all of them.
const REMEMBERED_MAX: usize = 1024;
const REMEMBERED_PRINCIPALS_MAX: usize = 65_536;

/// The reviews of one shard.
#[derive(Debug, Default)]
pub(super) struct Reviews {
    /// The number of the last one: the same on every shard for the same review.
    pub(super) number: u64,
    /// The last ones, without a gap.
    recent: VecDeque<Remembered>,
    /// Principals in them.
    remembered: usize,
    /// Those that not everybody has been judged by.
    under_way: VecDeque<Walk>,
}

#[derive(Debug)]
struct Remembered {
    since: Time,
    review: Arc<Review>,
}

/// A review on its way through the sessions.
#[derive(Debug)]
struct Walk {
    number: u64,
    review: Arc<Review>,
    place: Place,
}

/// Where a walk has come to.
#[derive(Debug)]
enum Place {
    /// The shard's table, from this index on.
    Everyone(u32),
    /// A team's sessions after this one.
    Team(TeamId, Option<SessionKey>),
    /// All sessions of this removed team have ended; its retained messages go.
    Remains(Arc<Team>),
    /// A principal's sessions after this one.
    Principal(Key, Option<SessionKey>),
}

/// What a login was judged by is not so any more.
#[derive(Debug)]
pub(super) struct Overtaken;

impl Reviews {
    /// The grant of somebody whose login was handed out after review `asked_under`, in the light of
    /// those that came since.
    ///
    /// # Errors
    /// [`Overtaken`] where it would not be let in any more, or that cannot be told.
    pub(super) fn catch_up(
        &self,
        mut grant: Arc<Grant>,
        client_id: &str,
        asked_under: u64,
    ) -> Result<Arc<Grant>, Overtaken> {
        let missed = match self.number.checked_sub(asked_under) {
            Some(0) => return Ok(grant),
            Some(missed) if missed <= self.recent.len() as u64 => missed as usize,
            // Too long ago; or it comes from a shard that is ahead of this one, where a session that
            // it may resume has not been judged yet.
            _ => return Err(Overtaken),
        };
        for Remembered { review, .. } in self.recent.iter().skip(self.recent.len() - missed) {
            match review.outcome(&grant, client_id) {
                None => {}
                Some((Outcome::Granted(new), _)) => grant = new,
                Some((Outcome::Out(_) | Outcome::Gone, _)) => return Err(Overtaken),
            }
        }
        Ok(grant)
    }

    fn remember(&mut self, review: &Arc<Review>, now: Time) {
        self.remembered += review.principals();
        self.recent.push_back(Remembered {
            since: now,
            review: Arc::clone(review),
        });
        while let Some(oldest) = self.recent.front()
            && (self.recent.len() > REMEMBERED_MAX
                || self.remembered > REMEMBERED_PRINCIPALS_MAX
                || oldest.since + REMEMBERED < now)
        {
            self.remembered -= oldest.review.principals();
            self.recent.pop_front();
        }
    }
}

impl Walk {
    fn new(number: u64, review: Arc<Review>) -> Option<Self> {
        let place = match review.is_for_everyone() {
            true => Place::Everyone(0),
            false => first_team(&review, None).or_else(|| first_principal(&review, None))?,
        };
        Some(Self {
            number,
            review,
            place,
        })
    }

    /// Where it goes on when it is through with where it is.
    fn next_place(&self) -> Option<Place> {
        let review = &self.review;
        let after_teams = || match review.is_for_everyone() {
            true => None, // that was everybody
            false => first_principal(review, None),
        };
        match &self.place {
            Place::Everyone(_) => first_team(review, None).or_else(after_teams),
            Place::Team(id, _) => first_team(review, Some(id)).or_else(after_teams),
            Place::Remains(team) => first_team(review, team.id()).or_else(after_teams),
            Place::Principal(key, _) => first_principal(review, Some(key)),
        }
    }
}

fn first_team(review: &Review, after: Option<&TeamId>) -> Option<Place> {
    Some(Place::Team(review.next_team(after)?.clone(), None))
}

fn first_principal(review: &Review, after: Option<&Key>) -> Option<Place> {
    let key = review.next_principal(after)?.clone();
    Some(Place::Principal(key, None))
}

impl Shard {
    /// Something has changed: everybody whom it concerns is judged anew, in this turn and the next
    /// ones. Every shard must be handed every review, in the same order.
    pub fn review(&mut self, review: Arc<Review>, now: Time) {
        self.reviews.number += 1;
        let number = self.reviews.number;
        for id in review.removed() {
            self.world.close(id, number);
        }
        self.reviews.remember(&review, now);
        let walk = Walk::new(number, review);
        self.reviews.under_way.extend(walk);
    }

    /// Whether somebody is still to be judged anew.
    pub fn is_reviewing(&self) -> bool {
        !self.reviews.under_way.is_empty()
    }

    /// Goes on with the reviews, as far as one turn has room for.
    pub(super) fn review_on(&mut self, now: Time) {
        let mut steps = REVIEW_STEPS;
        while steps > 0
            && let Some(mut walk) = self.reviews.under_way.pop_front()
        {
            let is_through = self.walk(&mut walk, &mut steps, now);
            if is_through {
                match walk.next_place() {
                    Some(place) => walk.place = place,
                    None => continue,
                }
            }
            self.reviews.under_way.push_front(walk);
        }
    }

    /// Goes on within one place. Says whether it is through with that.
    fn walk(&mut self, walk: &mut Walk, steps: &mut usize, now: Time) -> bool {
        match &mut walk.place {
            Place::Everyone(next) => {
                while *next < self.sessions.end() {
                    if *steps == 0 {
                        return false;
                    }
                    let cost = self.judge_anew(*next, &walk.review, walk.number, now);
                    *next += 1;
                    *steps = steps.saturating_sub(1 + cost);
                }
                true
            }
            Place::Team(id, after) => {
                let Some(team) = self.world.find(id) else {
                    *steps -= 1;
                    return true; // not one that is removed: those stay until all are through
                };
                let (review, number) = (&walk.review, walk.number);
                if !self.walk_registry(&team, None, after, review, number, steps, now) {
                    return false;
                }
                if !walk.review.removes(id) || !walk.review.is_through(id, usize::from(self.count))
                {
                    return true;
                }
                walk.place = Place::Remains(team);
                false
            }
            Place::Remains(team) => {
                let (cleared, version) = team.clear_retained(*steps);
                if self.keeping.is_on() {
                    for message in cleared {
                        let topic = Arc::from(message.topic());
                        self.keeping.facts.state(Fact::Cleared(topic, version));
                    }
                }
                *steps = 0;
                let cleared = team.with_retained(Retained::is_empty);
                if cleared {
                    self.world.forget(team, walk.number);
                }
                cleared
            }
            Place::Principal((id, username), after) => {
                let Some(team) = self.world.find_home(id.as_ref()) else {
                    *steps -= 1;
                    return true;
                };
                let (review, number) = (&walk.review, walk.number);
                let of = Some(&*username);
                self.walk_registry(&team, of, after, review, number, steps, now)
            }
        }
    }

    /// Goes on through the sessions of a team, or of one principal in it. Says whether it is through.
    #[allow(clippy::too_many_arguments)] // the parts of a walk, borrowed one by one
    fn walk_registry(
        &mut self,
        team: &Team,
        of: Option<&Arc<str>>,
        after: &mut Option<SessionKey>,
        review: &Arc<Review>,
        number: u64,
        steps: &mut usize,
        now: Time,
    ) -> bool {
        while *steps > 0 {
            let found = team.registry.next(of, after.as_ref(), LOOKED_UP);
            let is_last = found.len() < LOOKED_UP;
            *steps -= 1;
            for (key, address) in found {
                if *steps == 0 {
                    return false; // from `after` on in the next turn
                }
                *after = Some(key);
                let cost = match address.shard == self.id {
                    true => self.judge_anew(address.index, review, number, now),
                    false => 0,
                };
                *steps = steps.saturating_sub(1 + cost);
            }
            if is_last {
                return true;
            }
        }
        false
    }

    /// Judges a session by the reviews that have not reached it, for it is about to be resumed. It
    /// may have ended then.
    pub(super) fn review_now(&mut self, index: u32, now: Time) {
        let under_way = self.reviews.under_way.iter();
        let waiting: Vec<_> = under_way
            .map(|walk| (walk.number, Arc::clone(&walk.review)))
            .collect();
        for (number, review) in waiting {
            self.judge_anew(index, &review, number, now);
        }
    }

    /// Judges one session by one review, once. Returns what it cost.
    fn judge_anew(&mut self, index: u32, review: &Arc<Review>, number: u64, now: Time) -> usize {
        let Some(session) = self.sessions.at_mut(index) else {
            return 0;
        };
        if session.reviewed >= number {
            return 0;
        }
        session.reviewed = number;
        let Some((outcome, change)) = review.outcome(&session.grant, &session.key.client_id) else {
            return 0;
        };
        self.counters.sessions_reviewed += 1;
        let cost = session.subscriptions.len() + session.outgoing.waiting();
        match outcome {
            Outcome::Granted(grant) => self.go_on_under(index, &grant, change, now),
            Outcome::Out(grant) => {
                if let Some(grant) = grant {
                    self.rejudge(index, &grant, change, now);
                }
                self.put_out(index, change, now);
                return cost + END_STEPS;
            }
            Outcome::Gone => {
                let removed = (session.team.id()).is_some_and(|id| review.removes(id));
                if removed {
                    // There is nobody left to whom it could be sent.
                    self.withdraw_will(index, change, "the team was removed", now);
                } else if change.kind == ChangeKind::Policy {
                    // Its grant is the replaced policy's: that one has no say any more.
                    self.withdraw_will(index, change, "policy", now);
                }
                self.remove_session(index, change, now);
                return cost + END_STEPS;
            }
        }
        cost
    }

    /// A session goes on under another grant, with its connection if it has one.
    fn go_on_under(&mut self, index: u32, grant: &Arc<Grant>, change: Change, now: Time) {
        self.rejudge(index, grant, change, now);
        let session = self.sessions.at(index);
        if let Some(conn) = session.and_then(|session| session.conn)
            && let Some(conn) = self.conns.at_mut(conn)
        {
            // What it was allowed to publish, it was allowed by the grant before.
            conn.recent = Recent::default();
        }
        // What was let go of has left room.
        self.pump(index, now);
    }

    /// Ends a session's connection, if it has one.
    fn put_out(&mut self, index: u32, change: Change, now: Time) {
        if let Some(conn) = self.sessions.at(index).and_then(|session| session.conn) {
            self.say_goodbye(conn, change.told());
            self.detach(index, DisconnectCause::Review(change), now);
            self.close(conn);
        }
    }

    /// Ends a session, and its connection if it has one. Its will goes out as at the end of any.
    fn remove_session(&mut self, index: u32, change: Change, now: Time) {
        let Some(session) = self.sessions.at_mut(index) else {
            return;
        };
        session.expiry = Span::ZERO;
        match session.conn {
            Some(_) => self.put_out(index, change, now),
            None => self.end_session(index, now),
        }
    }

    /// The will of a session that is about to end is not to go out.
    fn withdraw_will(&mut self, index: u32, change: Change, why: &'static str, now: Time) {
        let Some(session) = self.sessions.at_mut(index) else {
            return;
        };
        let who = who(session);
        let Some(will) = mem::take(&mut session.will) else {
            return;
        };
        let kind = EventKind::PublishRefused {
            topic: will.message.topic().into(),
            reason: change.told(),
            why,
            will: true,
        };
        self.record(now, who, kind);
    }
}
