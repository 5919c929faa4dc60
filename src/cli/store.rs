//! What the subcommands that read or change the database share: open it, run to the end, close it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::answer::Answer;
use super::{Context, Failure, print};
use crate::config::{Config, Plans};
use crate::database::{Database, Settings};
use crate::identity::{Secrets, TokenKey};
use crate::policy::Policy;
use crate::provision::{ProvisionError, Provisioner};
use crate::time::Time;

/// Everything that a change takes.
pub(super) struct Store {
    database: Database,
    secrets: Secrets,
    /// Or why there is none: what needs none works all the same.
    policy: Result<Arc<Policy>, String>,
    plans: Plans,
    actor: String,
    now: Time,
}

impl Store {
    async fn open(config: &Config) -> Result<Self, Failure> {
        let variable = std::env::var(TokenKey::VARIABLE).ok();
        let database = Database::open(config.database.url.expose(), &Settings::default()).await;
        Ok(Self {
            database: database.map_err(failed)?,
            secrets: TokenKey::load(&config.data_dir, variable.as_deref())
                .map_err(failed)
                .and_then(|key| Secrets::new(key).map_err(failed))?,
            policy: policy(config)
                .map(Arc::new)
                .map_err(|failure| failure.to_string()),
            plans: config.plans.clone(),
            actor: actor(),
            now: now(),
        })
    }

    pub(super) fn database(&self) -> &Database {
        &self.database
    }

    pub(super) fn now(&self) -> Time {
        self.now
    }

    pub(super) fn policy(&self) -> Result<&Policy, Failure> {
        let policy = self.policy.as_ref();
        policy
            .map(|policy| &**policy)
            .map_err(|why| Failure::Usage(why.clone()))
    }

    pub(super) fn provisioner(&self) -> Result<Provisioner<'_>, Failure> {
        Ok(Provisioner {
            database: &self.database,
            secrets: &self.secrets,
            policy: self.policy()?,
            plans: &self.plans,
            actor: &self.actor,
            now: self.now,
        })
    }
}

/// Runs `command` on the configured database and prints its answer.
pub(super) fn with_store<F>(context: &Context, command: F) -> Result<ExitCode, Failure>
where
    F: AsyncFnOnce(&Store, &mut Answer<'_>) -> Result<(), Failure>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let mut text = Vec::new();
    runtime.block_on(async {
        let store = Store::open(&context.config).await?;
        let mut answer = Answer {
            json: context.json,
            to: &mut text,
        };
        let done = command(&store, &mut answer).await;
        store.database.close().await;
        done
    })?;
    if !text.is_empty() {
        print(&String::from_utf8_lossy(&text))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The policy that the configuration names, or the built-in one.
pub(super) fn policy(config: &Config) -> Result<Policy, Failure> {
    let (file, text) = policy_text(config)?;
    let policy = Policy::parse(&file, &text);
    policy.map_err(|errors| Failure::Usage(errors.to_string()))
}

/// The policy in this file.
pub(super) fn policy_at(path: &std::path::Path) -> Result<Policy, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
    let policy = Policy::parse(&path.display().to_string(), &text);
    policy.map_err(|errors| Failure::Usage(errors.to_string()))
}

/// The name and the text of the policy that the configuration names, or of the built-in one.
pub(super) fn policy_text(config: &Config) -> Result<(String, String), Failure> {
    let Some(path) = &config.policy.file else {
        let (file, text) = Policy::FLOWFUSE;
        return Ok((file.to_owned(), text.to_owned()));
    };
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
    Ok((path.display().to_string(), text))
}

pub(super) fn unreadable(path: &std::path::Path, error: &std::io::Error) -> Failure {
    Failure::Usage(format!("{} cannot be read: {error}", path.display()))
}

pub(super) fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::Failed(Box::new(error))
}

impl From<ProvisionError> for Failure {
    fn from(error: ProvisionError) -> Self {
        match error {
            ProvisionError::File(_)
            | ProvisionError::Name(_)
            | ProvisionError::ReaderName
            | ProvisionError::Pattern { .. } => Self::Usage(error.to_string()),
            _ => failed(error),
        }
    }
}

/// Who changes something, for the record: the login name, or at least that it was the command line.
pub(super) fn actor() -> String {
    let name = ["SUDO_USER", "USER", "LOGNAME"]
        .into_iter()
        .filter_map(|variable| std::env::var(variable).ok())
        .find(|name| !name.is_empty());
    name.map_or_else(|| "cli".to_owned(), |name| format!("cli:{name}"))
}

fn now() -> Time {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH);
    let micros = passed.map_or(0, |passed| passed.as_micros());
    Time::from_micros(u64::try_from(micros).unwrap_or(0))
}

/// The text of a file, or of standard input where it is `-`.
pub(super) fn read(file: &PathBuf) -> Result<String, Failure> {
    let text = if file.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(file)
    };
    text.map_err(|error| unreadable(file, &error))
}
