//! The policy in force: read again while the broker runs, or tried beside another.
//!
//! A policy is taken as a whole or not at all: whatever is wrong with a new one, the old one stays,
//! and log, metric and audit say so. Changes are made one after the other. Called by the API and, on
//! SIGHUP, by `cli::serve`.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::audit::{AuditSink, Record};
use crate::net::clock::Clock;
use crate::net::server::Shards;
use crate::policy::{Policy, PolicyErrors, ReplaceError};
use crate::telemetry::Snapshot;
use crate::telemetry::metric as m;
use crate::time::Time;

/// Largest policy file, in bytes.
const FILE_MAX: u64 = 1 << 20;
/// Most mistakes of one file that a record names; the answer and the log have all.
const RECORDED_MAX: usize = 10;

/// Puts a policy in force for new logins and for those who are in.
pub type PutInForce = Box<dyn Fn(Arc<Policy>) -> Result<(), ReplaceError> + Send + Sync>;

/// What a rulebook works with.
pub struct Tools {
    /// Where the policy is read from; `None`: it is the built-in profile, which never changes.
    pub file: Option<PathBuf>,
    /// Carries a new policy out.
    pub put_in_force: PutInForce,
    /// Observe a policy.
    pub shards: Shards,
    /// Where changes go on record.
    pub sink: AuditSink,
    /// When.
    pub clock: Clock,
}

/// A policy, and since when it has been in its place.
#[derive(Clone, Debug)]
pub struct Since {
    /// The policy.
    pub policy: Arc<Policy>,
    /// Since when.
    pub since: Time,
}

/// The policy in force, and the one that is observed beside it.
pub struct Rulebook {
    tools: Tools,
    in_force: ArcSwap<Since>,
    observed: ArcSwapOption<Since>,
    changing: Mutex<()>,
}

/// What became of a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reloaded {
    /// The new policy is in force.
    Changed {
        /// The version before.
        from: String,
        /// The version now.
        to: String,
    },
    /// The file says what is in force already.
    Unchanged {
        /// The version.
        version: String,
    },
}

/// Why a policy was not taken. The one before stays.
#[derive(Debug, thiserror::Error)]
pub enum PolicyRefused {
    /// Its file.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// More text than a policy has.
    #[error("{file}: a policy has at most {FILE_MAX} bytes")]
    TooLarge {
        /// The file, as it was named.
        file: String,
    },
    /// Mistakes in it.
    #[error(transparent)]
    Invalid(#[from] PolicyErrors),
    /// It can come in force only with a restart.
    #[error("{file}: {why}")]
    NeedsRestart {
        /// The file, as it was named.
        file: String,
        /// Why.
        why: ReplaceError,
    },
}

impl Rulebook {
    /// `policy` is in force, and none is observed.
    pub fn new(policy: Arc<Policy>, tools: Tools) -> Self {
        let since = tools.clock.now();
        // On the page from the start, so that the first of each is seen to have come.
        for result in ["loaded", "unchanged", "refused"] {
            m::POLICY_RELOADS.count(&[result], 0);
        }
        Self {
            in_force: ArcSwap::from_pointee(Since { policy, since }),
            observed: ArcSwapOption::empty(),
            changing: Mutex::new(()),
            tools,
        }
    }

    /// The policy in force.
    pub fn in_force(&self) -> Arc<Since> {
        self.in_force.load_full()
    }

    /// The policy that is observed, where there is one.
    pub fn observed(&self) -> Option<Arc<Since>> {
        self.observed.load_full()
    }

    /// Reads the policy's file again and puts it in force: for new logins, and everybody who is in
    /// is judged anew. `actor` asked for it.
    ///
    /// # Errors
    /// [`PolicyRefused`]; the policy before stays in force.
    pub async fn reload(&self, actor: &str) -> Result<Reloaded, PolicyRefused> {
        let _alone = self.changing.lock().await;
        let before = self.in_force();
        let version = before.policy.version().to_owned();
        let Some(path) = &self.tools.file else {
            return Ok(Reloaded::Unchanged { version });
        };
        let policy = match read(path)
            .await
            .and_then(|policy| self.put_in_force(policy))
        {
            Ok(policy) => policy,
            Err(refused) => {
                self.refuse("reload", &path.display().to_string(), &refused, actor);
                return Err(refused);
            }
        };
        if policy.version() == version {
            m::POLICY_RELOADS.count(&["unchanged"], 1);
            tracing::info!(file = %path.display(), version, "the policy is unchanged");
            return Ok(Reloaded::Unchanged { version });
        }
        let since = self.tools.clock.now();
        let to = policy.version().to_owned();
        self.in_force.store(Arc::new(Since { policy, since }));
        m::POLICY_RELOADS.count(&["loaded"], 1);
        tracing::info!(file = %path.display(), from = version, to, "a new policy is in force");
        let detail = json!({ "file": path, "from": version, "to": to });
        self.note("policy_reload", actor, detail);
        Ok(Reloaded::Changed { from: version, to })
    }

    /// Has a policy decide beside the one in force, of which nothing is carried out: what it would
    /// have decided otherwise is counted and goes on record.
    ///
    /// # Errors
    /// [`PolicyRefused`]; what was observed before still is.
    pub async fn observe(
        &self,
        file: &str,
        text: &str,
        actor: &str,
    ) -> Result<Arc<Since>, PolicyRefused> {
        let _alone = self.changing.lock().await;
        let policy = match parse(file, text).and_then(|policy| self.check(policy)) {
            Ok(policy) => policy,
            Err(refused) => {
                self.refuse("observe", file, &refused, actor);
                return Err(refused);
            }
        };
        let (version, since) = (policy.version().to_owned(), self.tools.clock.now());
        let observed = Arc::new(Since { policy, since });
        self.set_observed(Some(Arc::clone(&observed))).await;
        tracing::info!(
            file,
            version,
            "a policy is observed beside the one in force"
        );
        let detail = json!({ "file": file, "version": version });
        self.note("policy_observe", actor, detail);
        Ok(observed)
    }

    /// Ends observing. Says what was observed.
    pub async fn stop_observing(&self, actor: &str) -> Option<Arc<Since>> {
        let _alone = self.changing.lock().await;
        let before = self.observed()?;
        self.set_observed(None).await;
        let (file, version) = (before.policy.file(), before.policy.version());
        tracing::info!(file, version, "the policy is no longer observed");
        let detail = json!({ "file": file, "version": version });
        self.note("policy_observe_end", actor, detail);
        Some(before)
    }

    async fn set_observed(&self, observed: Option<Arc<Since>>) {
        for shard in 0..self.tools.shards.count() {
            let policy = observed.as_ref().map(|it| Arc::clone(&it.policy));
            let visit = self
                .tools
                .shards
                .visit(shard, move |shard, _| shard.observe(policy));
            visit.await;
        }
        self.observed.store(observed);
    }

    /// What the metrics page says about it.
    pub fn count(&self, snapshot: &mut Snapshot) {
        let now = self.in_force();
        let (file, version) = (now.policy.file(), now.policy.version());
        snapshot.add(&m::POLICY_INFO, &["in_force", file, version], 1);
        snapshot.add(&m::POLICY_SINCE, &[], now.since.as_micros() / 1_000_000);
        if let Some(observed) = self.observed() {
            let (file, version) = (observed.policy.file(), observed.policy.version());
            snapshot.add(&m::POLICY_INFO, &["observed", file, version], 1);
        }
    }

    /// Carries a policy out, unless it is the one in force.
    fn put_in_force(&self, policy: Policy) -> Result<Arc<Policy>, PolicyRefused> {
        let policy = self.check(policy)?;
        if policy.version() != self.in_force().policy.version() {
            let put = (self.tools.put_in_force)(Arc::clone(&policy));
            put.map_err(|why| PolicyRefused::needs_restart(&policy, why))?;
        }
        Ok(policy)
    }

    /// What no policy that comes later may change.
    fn check(&self, policy: Policy) -> Result<Arc<Policy>, PolicyRefused> {
        let replaced = policy.may_replace(&self.in_force().policy);
        match replaced {
            Ok(()) => Ok(Arc::new(policy)),
            Err(why) => Err(PolicyRefused::needs_restart(&policy, why)),
        }
    }

    fn refuse(&self, what: &str, file: &str, refused: &PolicyRefused, actor: &str) {
        tracing::error!(
            file,
            "the policy was refused and nothing is changed:\n{refused}"
        );
        if what == "reload" {
            m::POLICY_RELOADS.count(&["refused"], 1);
        }
        let all = refused.to_string();
        let errors: Vec<_> = all.lines().take(RECORDED_MAX).collect();
        let detail = json!({
            "for": what, "file": file, "errors": errors, "count": all.lines().count(),
        });
        self.note("policy_refused", actor, detail);
    }

    fn note(&self, event: &str, actor: &str, detail: Value) {
        let at = self.tools.clock.now();
        let record = Record::administration(at, event, None, actor, detail);
        self.tools.sink.note(record);
    }
}

impl PolicyRefused {
    fn needs_restart(policy: &Policy, why: ReplaceError) -> Self {
        let file = policy.file().to_owned();
        Self::NeedsRestart { file, why }
    }
}

/// Reads and compiles a policy file, which is no larger than [`FILE_MAX`].
async fn read(path: &Path) -> Result<Policy, PolicyRefused> {
    let path = path.to_owned();
    let reading = path.clone();
    let text = tokio::task::spawn_blocking(move || read_text(&reading)).await;
    let text = text.map_err(io::Error::other).and_then(|text| text);
    match text {
        Ok(text) => parse(&path.display().to_string(), &text),
        Err(source) => Err(PolicyRefused::Unreadable { path, source }),
    }
}

/// Compiles a policy's text, which is no longer than [`FILE_MAX`].
pub(super) fn parse(file: &str, text: &str) -> Result<Policy, PolicyRefused> {
    if text.len() as u64 > FILE_MAX {
        let file = file.to_owned();
        return Err(PolicyRefused::TooLarge { file });
    }
    Ok(Policy::parse(file, text)?)
}

/// A file's text, and of one that is too large no more than shows that.
fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let limited = File::open(path)?.take(FILE_MAX + 1);
    io::BufReader::new(limited).read_to_string(&mut text)?;
    Ok(text)
}
