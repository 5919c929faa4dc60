//! Changes followed while the broker runs: what is done in the database by another process
//! (`cofferdam client revoke`, `team suspend`, `apply` …), and policies that are loaded anew.
//!
//! The log of changes is asked five times a second, by one small query, where it ends. What has
//! changed is looked up, put into a [`Review`] and handed to the shards. While the database is away
//! the place in the log is kept, and nothing is lost. Logins need nothing of this: they read the
//! database each time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{MissedTickBehavior, interval};

use super::account::{self, Account, team_id};
use super::authenticator::Authenticator;
use crate::broker::{Change, ChangeKind, Judge, Review, Standing, TeamStanding};
use crate::database::{Concerned, DatabaseError, News, Place};
use crate::policy::{Policy, ReplaceError, TeamId, TeamMembers};
use crate::telemetry::metric as m;

/// How often the log is asked.
const EVERY: Duration = Duration::from_millis(200);

/// Where reviews go: to every shard, in the order of the calls.
pub type HandOver = Arc<dyn Fn(Review) + Send + Sync>;

/// Follows changes. One for a broker.
pub struct Follower {
    judge: Authenticator,
    /// Held from the look at the policy of now until grants made under it are handed over, so that
    /// none of an older policy comes after the review of a newer one.
    hand_over: Mutex<HandOver>,
    place: tokio::sync::Mutex<Place>,
}

/// What was looked up for a review.
#[derive(Default)]
struct Facts {
    accounts: HashMap<String, Result<Account, DatabaseError>>,
    members: HashMap<TeamId, Arc<TeamMembers>>,
}

impl Follower {
    /// Follows from `place` on, which must have been read before the first login was judged.
    pub fn new(judge: Authenticator, place: Place, hand_over: HandOver) -> Self {
        Self {
            judge,
            hand_over: Mutex::new(hand_over),
            place: tokio::sync::Mutex::new(place),
        }
    }

    /// Follows, for ever: to be spawned beside the broker.
    pub async fn follow(&self) {
        let mut every = interval(EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_away = false;
        loop {
            every.tick().await;
            match self.catch_up().await {
                Ok(()) if std::mem::take(&mut is_away) => {
                    tracing::info!("changes of teams and members are followed again");
                }
                Err(error) if !std::mem::replace(&mut is_away, true) => {
                    tracing::warn!(%error, "changes of teams and members cannot be followed now");
                }
                _ => {}
            }
        }
    }

    /// Acts on everything that stands in the log.
    ///
    /// # Errors
    /// [`DatabaseError`]; what was not acted on is read again the next time.
    pub async fn catch_up(&self) -> Result<(), DatabaseError> {
        let mut place = self.place.lock().await;
        loop {
            match place.news(self.judge.inner.accounts.primary()).await? {
                News::None => return Ok(()),
                News::Missed(next) => {
                    tracing::warn!(
                        "changes were missed: every connection is ended, to be judged anew"
                    );
                    let mut review = Review::default();
                    let judge: Judge = Arc::new(|_| Standing::Out(None));
                    review.everyone(judge, Change::of(ChangeKind::Unknown));
                    (self.hand_over.lock())(review);
                    *place = next;
                }
                News::Changes(changes, next) => {
                    let facts = self.look_up(&changes).await?;
                    let hand_over = self.hand_over.lock();
                    let review = self.review(&changes, &facts);
                    if !review.is_empty() {
                        hand_over(review);
                    }
                    *place = next;
                }
            }
        }
    }

    /// Another policy for logins from now on, and for those who are in. One that cannot take the
    /// place of the one in force changes nothing.
    ///
    /// # Errors
    /// [`ReplaceError`]: it needs a restart.
    pub fn reload(&self, policy: Arc<Policy>) -> Result<(), ReplaceError> {
        let hand_over = self.hand_over.lock();
        let inner = &self.judge.inner;
        policy.may_replace(&inner.policy.load())?;
        inner.policy.store(Arc::clone(&policy));
        let judge: Judge = Arc::new(move |grant| match policy.renew(grant) {
            Ok(grant) => Standing::Granted(Arc::new(grant)),
            Err(_) => Standing::Gone,
        });
        let mut review = Review::default();
        review.everyone(judge, Change::of(ChangeKind::Policy));
        hand_over(review);
        Ok(())
    }

    /// The policy in force.
    pub fn policy(&self) -> Arc<Policy> {
        self.judge.inner.policy.load_full()
    }

    /// All that a review of these changes asks of the database.
    async fn look_up(&self, changes: &[(i64, Concerned)]) -> Result<Facts, DatabaseError> {
        let (database, members) = (
            self.judge.inner.accounts.primary(),
            &self.judge.inner.members,
        );
        let mut facts = Facts::default();
        let mut usernames = Vec::new();
        for (revision, concerned) in changes {
            match (concerned.kind, &concerned.username) {
                (ChangeKind::Members, _) => {
                    if let Some(team) = team_of(concerned) {
                        members.renew(database, &team, *revision).await?;
                    }
                }
                (ChangeKind::Rights, Some(username)) => usernames.push(username.as_str()),
                _ => {}
            }
        }
        facts.accounts = account::find_all(database, &usernames).await?;
        let revision = changes.iter().map(|(revision, _)| *revision).max();
        for account in facts.accounts.values().flatten() {
            if let Some(team) = &account.team
                && !facts.members.contains_key(team)
            {
                let of = members.of(database, team, revision.unwrap_or(0)).await?;
                facts.members.insert(team.clone(), of);
            }
        }
        Ok(facts)
    }

    fn review(&self, changes: &[(i64, Concerned)], facts: &Facts) -> Review {
        let mut review = Review::default();
        for (revision, concerned) in changes {
            let change = Change {
                kind: concerned.kind,
                number: u64::try_from(*revision).unwrap_or(0),
            };
            m::CHANGES.count(&[change.kind.as_str()], 1);
            let team = team_of(concerned);
            if team.is_none() && concerned.team.is_some() {
                continue; // no such team can have anybody logged in
            }
            match (&concerned.username, team) {
                (Some(username), team) => {
                    let standing = match change.kind {
                        ChangeKind::Revoked | ChangeKind::Moved => Standing::Gone,
                        ChangeKind::Rights => self.standing(username, team.as_ref(), facts),
                        _ => Standing::Out(None),
                    };
                    review.principal(team, Arc::from(username.as_str()), standing, change);
                }
                (None, Some(team)) => {
                    let standing = match change.kind {
                        ChangeKind::TeamRemoved => TeamStanding::Removed,
                        ChangeKind::Members => TeamStanding::Members,
                        _ => TeamStanding::Suspended,
                    };
                    review.team(team, standing, change);
                }
                (None, None) => {}
            }
        }
        review
    }

    /// What somebody whose rights are others may do now.
    fn standing(&self, username: &str, team: Option<&TeamId>, facts: &Facts) -> Standing {
        let account = match facts.accounts.get(username) {
            Some(Ok(account)) => account,
            Some(Err(error)) => {
                tracing::error!(username, %error, "rights that cannot be read");
                return Standing::Out(None);
            }
            None => return Standing::Gone,
        };
        if account.team.as_ref() != team {
            return Standing::Gone;
        }
        let members = team.and_then(|team| facts.members.get(team).cloned());
        match self.judge.inner.bind(username, account, members) {
            Ok(grant) if account.suspended => Standing::Out(Some(Arc::new(grant))),
            Ok(grant) => Standing::Granted(Arc::new(grant)),
            Err(_) => Standing::Gone, // the reason was logged
        }
    }
}

fn team_of(concerned: &Concerned) -> Option<TeamId> {
    team_id(concerned.team.as_deref()?).ok()
}
