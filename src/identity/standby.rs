//! Who may log in while the database is away: the broker's own copy of teams and principals.
//!
//! Only for a database that is a server's; a file is as near as the copy would be. The copy is another
//! SQLite file in the data directory, with the same tables, so that the same queries answer from it. It
//! is brought up to date within seconds of every change, and serves for a stated time after it was last
//! known to be current: by then, what has been revoked since may matter more than who is kept out.
//!
//! [`Accounts`] says where a login is looked up; one task keeps the copy ([`Accounts::keep`]).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{Instant, timeout};

use crate::database::{Backend, Database, DatabaseError, Place, Settings, refresh_accounts};
use crate::telemetry::metric as m;
use crate::time::{Span, Time};

/// The copy's file in the data directory.
const FILE: &str = "accounts.db";
/// When the copy was last known to be current, in microseconds since the Unix epoch.
const CONFIRMED: &str = "accounts.at";
/// How often it is asked whether the database is there and the copy current.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often that is written down.
const CONFIRM_EVERY: Duration = Duration::from_secs(10);
/// Copying takes at most one part in so many of the time.
const REST: u32 = 20;

/// Where logins are looked up. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Accounts(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    primary: Database,
    copy: Option<Database>,
    confirmed_at: PathBuf,
    serve_without: Span,
    /// Microseconds since the Unix epoch; 0: there is nothing in the copy.
    confirmed_us: AtomicU64,
    is_away: AtomicBool,
}

impl From<Database> for Accounts {
    fn from(primary: Database) -> Self {
        Self::without_copy(primary)
    }
}

/// What the keeper has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// The database answers.
    There,
    /// It does not, and logins are looked up in the copy until then.
    Copied {
        /// Why.
        why: String,
        /// When the copy is too old.
        until: Time,
    },
    /// It does not, and nobody can log in.
    Away {
        /// Why.
        why: String,
    },
}

impl Accounts {
    /// Opens the database at `url`, and the copy of it in `data_dir`. A server that is away is no
    /// error where the copy may be served from.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn open(
        url: &str,
        settings: &Settings,
        data_dir: &Path,
        serve_without: Span,
    ) -> Result<Self, DatabaseError> {
        let opened = Database::open(url, settings).await;
        let is_file = opened
            .as_ref()
            .is_ok_and(|database| database.backend() == Backend::Sqlite);
        if is_file || serve_without == Span::ZERO {
            return opened.map(Self::without_copy);
        }
        let confirmed_at = data_dir.join(CONFIRMED);
        let confirmed = read_confirmed(&confirmed_at);
        let serves = now().since(confirmed) <= serve_without && confirmed > Time::EPOCH;
        let (primary, is_away) = match opened {
            Ok(primary) => (primary, false),
            Err(error @ DatabaseError::Unreachable { .. }) if serves => {
                tracing::warn!(%error, "starting all the same: who was known before can log in");
                (Database::open_later(url, settings)?, true)
            }
            Err(error) => return Err(error),
        };
        let file = format!("sqlite://{}", data_dir.join(FILE).display());
        let copy = Database::open(&file, settings).await?;
        let accounts = Self(Arc::new(Shared {
            primary,
            copy: Some(copy),
            confirmed_at,
            serve_without,
            confirmed_us: AtomicU64::new(confirmed.as_micros()),
            is_away: AtomicBool::new(is_away),
        }));
        Ok(accounts)
    }

    /// Only the database, away or not.
    pub fn without_copy(primary: Database) -> Self {
        Self(Arc::new(Shared {
            primary,
            copy: None,
            confirmed_at: PathBuf::new(),
            serve_without: Span::ZERO,
            confirmed_us: AtomicU64::new(0),
            is_away: AtomicBool::new(false),
        }))
    }

    /// The database itself, for all that is no login.
    pub fn primary(&self) -> &Database {
        &self.0.primary
    }

    /// Whether the database did not answer when it was last asked.
    pub fn is_away(&self) -> bool {
        self.0.is_away.load(Ordering::Acquire)
    }

    /// Where to look a login up now.
    pub fn database(&self) -> &Database {
        match self.is_away() {
            true => self.copy_in_time().unwrap_or(&self.0.primary),
            false => &self.0.primary,
        }
    }

    /// Where to look it up instead, after this error.
    pub(super) fn instead(&self, error: &DatabaseError) -> Option<&Database> {
        if !error.may_pass() || self.is_away() {
            return None;
        }
        let copy = self.copy_in_time()?;
        self.0.is_away.store(true, Ordering::Release);
        Some(copy)
    }

    fn copy_in_time(&self) -> Option<&Database> {
        (now() <= self.until()).then_some(self.0.copy.as_ref())?
    }

    /// When the copy is too old to be served from.
    fn until(&self) -> Time {
        match self.0.confirmed_us.load(Ordering::Acquire) {
            0 => Time::EPOCH,
            confirmed => Time::from_micros(confirmed) + self.0.serve_without,
        }
    }

    /// Keeps the copy current, and says what it finds each time, for ever.
    pub async fn keep(self, mut found: impl FnMut(Presence) + Send) {
        let mut keeper = Keeper {
            copied: None,
            is_migrated: !self.is_away(),
            next_copy: Instant::now(),
            next_note: Instant::now(),
        };
        loop {
            let looked = keeper.look(&self.0).await;
            let is_away = looked.is_err();
            self.0.is_away.store(is_away, Ordering::Release);
            m::DATABASE_AWAY.set(&[], f64::from(u8::from(is_away)));
            found(match looked {
                Ok(()) => Presence::There,
                Err(why) if self.copy_in_time().is_some() => Presence::Copied {
                    why,
                    until: self.until(),
                },
                Err(why) => Presence::Away { why },
            });
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

struct Keeper {
    /// The revision that the copy has.
    copied: Option<i64>,
    is_migrated: bool,
    next_copy: Instant,
    next_note: Instant,
}

impl Keeper {
    async fn look(&mut self, shared: &Shared) -> Result<(), String> {
        let patience = LOOK_EVERY * 5;
        let end = timeout(patience, Place::end(&shared.primary)).await;
        let end = end.map_err(|_| "it does not answer".to_owned())?;
        if !self.is_migrated {
            // Away at the start: its tables may be of an older version.
            shared
                .primary
                .migrate()
                .await
                .map_err(|error| error.to_string())?;
            self.is_migrated = true;
        }
        let revision = end.map_err(|error| error.to_string())?.revision;
        let Some(copy) = &shared.copy else {
            return Ok(());
        };
        if self.copied != Some(revision) && Instant::now() >= self.next_copy {
            let began = Instant::now();
            match refresh_accounts(&shared.primary, copy).await {
                Ok(copied) => self.copied = Some(copied),
                Err(error) => tracing::warn!(%error, "the copy of who may log in is not current"),
            }
            self.next_copy = Instant::now() + began.elapsed() * REST;
        }
        if self.copied == Some(revision) {
            let now = now();
            shared
                .confirmed_us
                .store(now.as_micros(), Ordering::Release);
            if Instant::now() >= self.next_note {
                self.next_note = Instant::now() + CONFIRM_EVERY;
                if let Err(error) = write_confirmed(&shared.confirmed_at, now) {
                    tracing::warn!(%error, "it is not noted that the copy is current");
                }
            }
        }
        Ok(())
    }
}

fn read_confirmed(path: &Path) -> Time {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let micros = text.trim().parse().unwrap_or(0);
    // A clock that was set back makes no copy younger.
    Time::from_micros(micros).min(now())
}

fn write_confirmed(path: &Path, at: Time) -> std::io::Result<()> {
    let draft = path.with_extension("draft");
    std::fs::write(&draft, format!("{}\n", at.as_micros()))?;
    std::fs::rename(draft, path)
}

fn now() -> Time {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH);
    let micros = passed.map_or(0, |passed| passed.as_micros());
    Time::from_micros(u64::try_from(micros).unwrap_or(0))
}
