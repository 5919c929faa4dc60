//! The judge of logins.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::account::{self, Account, OnRecord};
use super::anonymous::{ANONYMOUS, is_suspended};
use super::certificate::Certificates;
use super::guard::{Caller, Guard};
use super::http::Hook;
use super::memo::Memo;
use super::secret::{Scheme, SecretError, Secrets};
use super::standby::Accounts;
use super::token::{Tokens, is_token};
use super::waiting_room::WaitingRoom;
use super::world::{AtLogin, Members};
use crate::broker::{ExchangeState, Login, Refusal, Verdict};
use crate::config::LoginLimits;
use crate::database::DatabaseError;
use crate::policy::{Grant, Policy, Principal, TeamId, TeamMembers};
use crate::telemetry::metric as m;
use crate::time::Time;

/// Bounds of the judge.
#[derive(Clone, Debug)]
pub struct Settings {
    /// A login that is not judged by then is [`Verdict::Undecided`].
    pub deadline: Duration,
    /// Most logins that are being judged, waiting included. What each holds is bounded by the
    /// packet that it came in.
    pub judging_max: usize,
    /// Passwords hashed at once; each takes one core and some 19 MiB.
    pub hashing_at_once: usize,
    /// Most logins that wait for their password to be hashed.
    pub hashing_waiting_max: usize,
    /// Usernames whose last successful password is remembered (hashed).
    pub memo_capacity: usize,
    /// A refusal leaves at a multiple of this after the login came in, so that small differences
    /// in the work done do not show.
    pub refusal_step: Duration,
    /// What becomes of failed logins.
    pub logins: LoginLimits,
}

impl Default for Settings {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            deadline: Duration::from_secs(9),
            judging_max: 16_384,
            // Half the cores at most: the shards keep serving while passwords are guessed.
            hashing_at_once: (cores / 2).max(1),
            hashing_waiting_max: 256,
            memo_capacity: 65_536,
            refusal_step: Duration::from_millis(250),
            logins: LoginLimits::default(),
        }
    }
}

/// Judges logins against the database. Cheap to clone; runs on an ordinary tokio runtime, never on
/// a shard's thread.
#[derive(Clone)]
pub struct Authenticator {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) accounts: Accounts,
    pub(super) policy: ArcSwap<Policy>,
    pub(super) secrets: Arc<Secrets>,
    anonymous: HashMap<Arc<str>, TeamId>,
    settings: Settings,
    memo: Memo,
    pub(super) guard: Guard,
    hashing: WaitingRoom,
    judging: AtomicUsize,
    /// One for each connection that logins may use at once. Waiting for one's turn counts against
    /// the login's deadline only, so that a crowd is not taken for a database that is away; and a
    /// connection is left for the audit.
    turns: Semaphore,
    pub(super) members: Members,
    /// Who knows the usernames that the database does not.
    pub(super) hook: Option<Arc<Hook>>,
    /// Whose tokens are passwords.
    pub(super) tokens: Option<Arc<Tokens>>,
    /// Whom certificates name.
    pub(super) certificates: Option<Arc<Certificates>>,
}

/// A login, or a step of one, that may go on.
pub(super) enum Judged {
    /// Comes in.
    In {
        grant: Grant,
        /// Of its method, where it has one.
        last_word: Option<Box<[u8]>>,
    },
    /// Is asked for more.
    Challenge {
        data: Box<[u8]>,
        state: ExchangeState,
        username: Arc<str>,
    },
}

impl From<Judged> for Verdict {
    fn from(judged: Judged) -> Self {
        match judged {
            Judged::In { grant, last_word } => match (Arc::new(grant), last_word) {
                (grant, None) => Self::Admit(grant),
                (grant, Some(data)) => Self::AdmitWith { grant, data },
            },
            Judged::Challenge {
                data,
                state,
                username,
            } => Self::Challenge {
                data,
                state,
                username: Some(username),
            },
        }
    }
}

/// A login that is not admitted.
pub(super) enum Declined {
    Refused(Refusal),
    Undecided(Refusal),
}

impl From<DatabaseError> for Declined {
    fn from(error: DatabaseError) -> Self {
        tracing::warn!(%error, "a login could not be judged");
        Self::Undecided(Refusal::Unavailable)
    }
}

/// Counts one login among those being judged.
struct Judging<'a>(&'a AtomicUsize);

impl Drop for Judging<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Authenticator {
    /// `anonymous` says, by listener, which team takes clients that give neither username nor
    /// password.
    ///
    /// # Errors
    /// Where the system has no randomness.
    pub fn new(
        accounts: impl Into<Accounts>,
        policy: Arc<Policy>,
        secrets: Arc<Secrets>,
        anonymous: HashMap<Arc<str>, TeamId>,
        settings: Settings,
    ) -> Result<Self, SecretError> {
        let accounts = accounts.into();
        let mut memo_key = [0; 32];
        getrandom::fill(&mut memo_key).map_err(|error| SecretError::Hashing(error.to_string()))?;
        Ok(Self {
            inner: Arc::new(Inner {
                memo: Memo::new(memo_key, settings.memo_capacity),
                guard: Guard::new(settings.logins.clone()),
                hashing: WaitingRoom::new(settings.hashing_at_once, settings.hashing_waiting_max),
                judging: AtomicUsize::new(0),
                turns: Semaphore::new(
                    accounts
                        .primary()
                        .max_connections()
                        .saturating_sub(1)
                        .max(1),
                ),
                members: Members::new(),
                hook: None,
                tokens: None,
                certificates: None,
                accounts,
                policy: ArcSwap::new(policy),
                secrets,
                anonymous,
                settings,
            }),
        })
    }

    /// The same judge, with somebody to ask about usernames that the database does not know. To be
    /// called before it is shared.
    pub fn with_hook(mut self, hook: Arc<Hook>) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.hook = Some(hook);
        }
        self
    }

    /// The same judge, which takes an issuer's tokens as passwords. To be called before it is shared.
    pub fn with_tokens(mut self, tokens: Arc<Tokens>) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.tokens = Some(tokens);
        }
        self
    }

    /// The same judge, for which certificates name principals. To be called before it is shared.
    pub fn with_certificates(mut self, certificates: Arc<Certificates>) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.certificates = Some(certificates);
        }
        self
    }

    /// Judges a login, or one step of it, that came in at `now`. Always answers, by the deadline.
    pub async fn judge(&self, mut login: Login, now: Time) -> Verdict {
        let begun = Instant::now();
        let Settings {
            deadline,
            refusal_step,
            ..
        } = self.inner.settings;
        let guard = &self.inner.guard;
        let caller = guard.caller(login.peer.address.ip(), login.username.as_deref());
        let judged =
            tokio::time::timeout(deadline, self.inner.decide(&mut login, caller, now)).await;
        drop(login);
        m::LOGIN_DURATION.observe(begun.elapsed());
        match judged {
            Ok(Ok(judged)) => {
                if matches!(judged, Judged::In { .. }) {
                    guard.let_in(caller);
                }
                judged.into()
            }
            Ok(Err(Declined::Refused(refusal))) => {
                let delay = guard.refused(caller, refusal, now);
                let departure = departure(begun.elapsed().max(delay), refusal_step, deadline);
                tokio::time::sleep_until(begun + departure).await;
                Verdict::Refuse(refusal)
            }
            Ok(Err(Declined::Undecided(refusal))) => Verdict::Undecided(refusal),
            Err(_) => Verdict::Undecided(Refusal::Unavailable),
        }
    }
}

#[cfg(test)]
impl Authenticator {
    pub(super) fn being_judged(&self) -> usize {
        self.inner.judging.load(Ordering::Relaxed)
    }

    pub(super) fn waiting_for_hashing(&self) -> usize {
        self.inner.hashing.waiting()
    }
}

impl Inner {
    async fn decide(
        &self,
        login: &mut Login,
        caller: Caller,
        now: Time,
    ) -> Result<Judged, Declined> {
        let before = self.judging.fetch_add(1, Ordering::Relaxed);
        let _judging = Judging(&self.judging);
        if before >= self.settings.judging_max {
            return Err(Declined::Undecided(Refusal::Busy));
        }
        let named = self.named_by_certificate(login)?;
        if let Some(exchange) = login.exchange.take() {
            let judged = self.by_exchange(login, exchange, caller, now).await?;
            return match (judged, named) {
                (Judged::In { grant, last_word }, Some(named)) => {
                    let grant = named.confirm(grant)?;
                    Ok(Judged::In { grant, last_word })
                }
                (judged, _) => Ok(judged),
            };
        }
        if let Some(named) = named {
            let grant = self.by_certificate(named, now).await?;
            self.fits(&grant, login)?;
            return Ok(Judged::In {
                grant,
                last_word: None,
            });
        }
        let grant = match (&login.username, &login.password) {
            (None, None) if self.takes_anonymous(login) => self.anonymous(login, now).await?,
            (None, None) if self.asked_about_logins().is_none() => {
                return Err(Declined::Refused(Refusal::Anonymous));
            }
            (username, Some(password)) if self.tokens.is_some() && is_token(password) => {
                self.with_token(username.as_deref(), password, now).await?
            }
            (username, password) => {
                let username = username.as_deref().unwrap_or_default();
                let password = password.as_deref().unwrap_or_default();
                let may_hash = self.guard.may_hash(caller, now);
                self.with_password(login, username, password, may_hash)
                    .await?
            }
        };
        self.fits(&grant, login)?;
        Ok(Judged::In {
            grant,
            last_word: None,
        })
    }

    /// The role may ask for a client id of its own.
    pub(super) fn fits(&self, grant: &Grant, login: &Login) -> Result<(), Declined> {
        match grant.accepts_client_id(&login.client_id) {
            true => Ok(()),
            false => Err(Declined::Refused(Refusal::ClientId)),
        }
    }

    /// Where the password may not be hashed, only what costs next to nothing to check can be good.
    async fn with_password(
        &self,
        login: &Login,
        username: &str,
        password: &[u8],
        may_hash: bool,
    ) -> Result<Grant, Declined> {
        let (account, revision) = self.find(username).await?;
        if account.is_none()
            && let Some(hook) = self.asked_about_logins()
        {
            return self.by_hook(hook, login, username, password).await;
        }
        let stored = account.as_ref().and_then(|it| it.secret.as_deref());
        // Whoever is going to be refused whatever the password gets no short cut: it would show.
        let welcome = account.as_ref().is_some_and(|it| !it.suspended);
        let checked = self.check(username, password, stored, welcome, may_hash);
        let matches = checked.await?;
        let refused = |refusal| Err(Declined::Refused(refusal));
        match account {
            None => refused(Refusal::UnknownUser),
            Some(Account { secret: None, .. }) => refused(Refusal::NoCredential),
            Some(_) if !matches => refused(Refusal::WrongPassword),
            Some(account) if account.suspended => refused(Refusal::TeamSuspended),
            Some(account) => self.grant(username, &account, revision).await,
        }
    }

    /// No username that PostgreSQL would choke on is on record.
    pub(super) async fn find(&self, username: &str) -> Result<(Option<Account>, i64), Declined> {
        let username = if username.contains('\0') {
            ""
        } else {
            username
        };
        let _turn = self.turn().await?;
        match account::find(self.accounts.database(), username).await {
            Err(error) => match self.accounts.instead(&error) {
                Some(copy) => Ok(account::find(copy, username).await?),
                None => Err(error.into()),
            },
            found => Ok(found?),
        }
    }

    pub(super) async fn turn(&self) -> Result<SemaphorePermit<'_>, Declined> {
        let turn = self.turns.acquire().await;
        turn.map_err(|_| Declined::Undecided(Refusal::Unavailable))
    }

    async fn check(
        &self,
        username: &str,
        password: &[u8],
        stored: Option<&str>,
        welcome: bool,
        may_hash: bool,
    ) -> Result<bool, Declined> {
        if Scheme::of(password) == Scheme::Token {
            return Ok(self.secrets.check(password, stored));
        }
        if let Some(stored) = stored
            && welcome
            && self.memo.knows(username, password, stored)
        {
            return Ok(true);
        }
        if !may_hash {
            return Err(Declined::Refused(Refusal::TooManyFailures));
        }
        let Ok(seat) = self.hashing.enter().await else {
            return Err(Declined::Undecided(Refusal::Busy));
        };
        m::LOGINS_WAITING.set(&[], self.hashing.waiting() as f64);
        let secrets = Arc::clone(&self.secrets);
        let (presented, against) = (password.to_vec(), stored.map(str::to_owned));
        // The seat goes with the work: a login that is given up does not make it stop.
        let hashed = tokio::task::spawn_blocking(move || {
            let matches = secrets.check(&presented, against.as_deref());
            drop(seat);
            matches
        });
        let matches = hashed.await.map_err(|error| {
            tracing::error!(%error, "hashing a password failed");
            Declined::Undecided(Refusal::Unavailable)
        })?;
        if let Some(stored) = stored
            && matches
        {
            self.memo.learn(username, password, stored);
        }
        Ok(matches)
    }

    pub(super) async fn grant(
        &self,
        username: &str,
        account: &Account,
        revision: i64,
    ) -> Result<Grant, Declined> {
        let members = match &account.team {
            Some(team) => Some(self.members_of(team, revision).await?),
            None => None,
        };
        self.bind(username, account, members)
    }

    pub(super) async fn members_of(
        &self,
        team: &TeamId,
        revision: i64,
    ) -> Result<Arc<TeamMembers>, Declined> {
        let (accounts, members) = (&self.accounts, &self.members);
        match members.of(accounts.database(), team, revision).await {
            Err(error) => match accounts.instead(&error) {
                Some(copy) => Ok(members.of(copy, team, revision).await?),
                None => Err(error.into()),
            },
            found => Ok(found?),
        }
    }

    /// The grant of what is on record, under the policy of now.
    pub(super) fn bind(
        &self,
        username: &str,
        account: &Account,
        members: Option<Arc<TeamMembers>>,
    ) -> Result<Grant, Declined> {
        let directory = AtLogin {
            record: &account.record,
            members,
        };
        let policy = self.policy.load();
        let Some(principal) = policy.principal(username, &directory) else {
            return Err(unfit(username, "no role of the policy takes this username"));
        };
        // The same fact from two sources: the template's reading of the name, and the record.
        if principal.team != account.team {
            return Err(unfit(
                username,
                "the policy reads another team in it than is on record",
            ));
        }
        let grant = policy.grant(principal, &directory);
        let grant = grant.map_err(|error| unfit(username, &error.to_string()))?;
        Ok(self.with_its_asking(grant))
    }

    /// Whether it has no name, and a listener takes such into its team.
    pub(super) fn is_still_anonymous(&self, principal: &Principal) -> bool {
        let mut teams = self.anonymous.values();
        &*principal.role == ANONYMOUS && teams.any(|team| principal.team.as_ref() == Some(team))
    }

    fn takes_anonymous(&self, login: &Login) -> bool {
        self.anonymous.contains_key(&login.peer.listener)
    }

    async fn anonymous(&self, login: &Login, now: Time) -> Result<Grant, Declined> {
        let Some(team) = self.anonymous.get(&login.peer.listener) else {
            return Err(Declined::Refused(Refusal::Anonymous));
        };
        let turn = self.turn().await?;
        let suspended = match self.accounts.is_away() {
            // Where the team is to be made, that can wait.
            true => account::is_suspended(self.accounts.database(), team).await?,
            false => is_suspended(self.accounts.primary(), team, now).await?,
        };
        drop(turn);
        if suspended {
            return Err(Declined::Refused(Refusal::TeamSuspended));
        }
        let directory = AtLogin {
            record: &OnRecord::default(),
            members: None,
        };
        let principal = Principal {
            username: Arc::from(format!("{}@{}", ANONYMOUS, team.as_str())),
            role: Arc::from(ANONYMOUS),
            team: Some(team.clone()),
            bindings: Vec::new(),
            patterns: Vec::new(),
        };
        let policy = self.policy.load();
        let grant = policy.grant(principal, &directory);
        let grant = grant.map_err(|error| unfit(ANONYMOUS, &error.to_string()))?;
        Ok(self.with_its_asking(grant))
    }
}

/// A principal on record with whom the policy can do nothing: the operator's to mend, and not the
/// client's fault.
fn unfit(username: &str, why: &str) -> Declined {
    tracing::error!(username, why, "policy and database do not fit together");
    Declined::Undecided(Refusal::Unavailable)
}

/// When after its arrival a refusal leaves: the next multiple of `step`, but not past the deadline.
pub(super) fn departure(passed: Duration, step: Duration, deadline: Duration) -> Duration {
    let steps = passed.as_micros() / step.as_micros().max(1) + 1;
    let steps = u32::try_from(steps).unwrap_or(u32::MAX);
    step.saturating_mul(steps).min(deadline)
}
