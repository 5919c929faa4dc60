//! The command line: what there is to call, and which file answers it.
//!
//! Every subcommand has a file of its own with `run`, which takes the [`Context`] and its
//! arguments from here. What it prints goes to standard output, what it logs to standard error.
//! Exit codes: 0 done; 1 failed, or what was compared differs; 2 the command line or the
//! configuration is wrong.

mod answer;
pub(crate) mod apply;
pub(crate) mod audit;
mod backup;
mod certificates;
mod chronicle;
pub(crate) mod client;
mod config;
mod control;
mod data_dir;
mod descriptors;
mod hook;
mod keep;
mod output;
mod panics;
mod policy;
mod serve;
mod steering;
mod store;
pub(crate) mod team;
pub mod vouchers;
mod welcome;

#[cfg(test)]
pub(crate) use answer::Answer;

use std::error::Error;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Config, ConfigErrors};
pub use output::print;
pub use policy::PolicyCommand;

/// An MQTT broker that keeps teams apart and puts every connection on record.
#[derive(Debug, Parser)]
#[command(version, after_help = "Example:\n  cofferdam --config cofferdam.toml")]
pub struct CommandLine {
    /// The configuration file [default: cofferdam.toml where it exists, else the built-in one].
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print JSON for machines instead of text for people.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do; serve where left out.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the broker (the default).
    #[command(after_help = "Example:\n  cofferdam serve --config cofferdam.toml")]
    Serve,
    /// Make teams, instances, devices and clients as a TOML file says, and print what changed.
    #[command(after_help = "Example:\n  cofferdam apply teams.toml")]
    Apply {
        /// The file; a mistake in it changes nothing at all.
        file: PathBuf,
    },
    /// Make, list, suspend, resume and remove teams.
    #[command(after_help = "Example:\n  cofferdam team add acme --name \"Acme Ltd\"")]
    Team {
        /// What to do.
        #[command(subcommand)]
        command: TeamCommand,
    },
    /// Make, list, rotate and revoke clients of teams.
    #[command(
        after_help = "Example:\n  cofferdam client add sensor@acme --allow publish=sensors/#"
    )]
    Client {
        /// What to do.
        #[command(subcommand)]
        command: ClientCommand,
    },
    /// Explain and test what the policy decides; read it again, observe another.
    #[command(after_help = "Example:\n  cofferdam policy explain sensor@acme publish sensors/1")]
    Policy {
        /// What to do.
        #[command(subcommand)]
        command: PolicyCommand,
    },
    /// Read the audit store.
    #[command(after_help = "Example:\n  cofferdam audit list --team acme --since 2026-11-01")]
    Audit {
        /// What to do.
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// Write the database and the data directory to a new folder; the broker may run meanwhile.
    #[command(after_help = "Example:\n  cofferdam backup /var/backups/cofferdam/today")]
    Backup {
        /// The folder, which is made.
        folder: PathBuf,
        /// What goes into it.
        #[command(flatten)]
        extent: BackupExtent,
    },
    /// Read a backup into an empty database and an empty data directory, with no broker running.
    #[command(after_help = "Example:\n  cofferdam restore /var/backups/cofferdam/today")]
    Restore {
        /// The folder that `backup` made.
        folder: PathBuf,
        /// What of it is read.
        #[command(flatten)]
        extent: BackupExtent,
    },
    /// Check the configuration.
    #[command(after_help = "Example:\n  cofferdam config check --config cofferdam.toml")]
    Config {
        /// What to do.
        #[command(subcommand)]
        command: ConfigCommand,
    },
}

/// `team …`
#[derive(Debug, Subcommand)]
pub enum TeamCommand {
    /// Make a team.
    #[command(after_help = "Example:\n  cofferdam team add acme --name \"Acme Ltd\"")]
    Add {
        /// As it stands in topics and usernames.
        id: String,
        /// For people [default: the id].
        #[arg(long)]
        name: Option<String>,
        /// A plan of the configuration [default: the plan `default`].
        #[arg(long)]
        plan: Option<String>,
    },
    /// Give a team another plan, and say what differs from it; what is left out is as in the plan.
    #[command(
        after_help = "Example:\n  cofferdam team plan acme small --set max_connections=50 --set client.message_rate=10"
    )]
    Plan {
        /// Which team.
        id: String,
        /// A plan of the configuration [default: the plan `default`].
        plan: Option<String>,
        /// A key of a plan and its value, as in the configuration. May be repeated.
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<String>,
    },
    /// List all teams.
    #[command(after_help = "Example:\n  cofferdam team list --json")]
    List,
    /// Refuse a team's logins and end its connections; its sessions wait for it to be resumed.
    #[command(after_help = "Example:\n  cofferdam team suspend acme")]
    Suspend {
        /// Which team.
        id: String,
    },
    /// Let a suspended team in again.
    #[command(after_help = "Example:\n  cofferdam team resume acme")]
    Resume {
        /// Which team.
        id: String,
    },
    /// Remove a team with its credentials, connections and sessions; its audit records stay.
    #[command(after_help = "Example:\n  cofferdam team remove acme")]
    Remove {
        /// Which team.
        id: String,
    },
}

/// `client …`
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Make a client and show its password once.
    #[command(
        after_help = "Example:\n  cofferdam client add sensor@acme --allow publish=sensors/# --deny publish=sensors/secret/#"
    )]
    Add(ClientAdd),
    /// List clients.
    #[command(after_help = "Example:\n  cofferdam client list --team acme")]
    List {
        /// Only this team's.
        #[arg(long)]
        team: Option<String>,
    },
    /// Give a client a new password and show it once; its connections end, its sessions wait.
    #[command(after_help = "Example:\n  cofferdam client rotate sensor@acme")]
    Rotate {
        /// NAME@TEAM
        username: String,
    },
    /// Remove a client with its credential, connections and sessions.
    #[command(after_help = "Example:\n  cofferdam client revoke sensor@acme")]
    Revoke {
        /// NAME@TEAM
        username: String,
    },
}

/// `client add`
#[derive(Debug, Args)]
pub struct ClientAdd {
    /// NAME@TEAM
    pub username: String,
    /// What it may do: publish, subscribe or both, and a topic filter, without the mount. May be
    /// repeated [default, without any --allow or --deny: both=#].
    #[arg(long, value_name = "ACTION=PATTERN", value_parser = acl)]
    pub allow: Vec<(Action, String)>,
    /// What it may not do, whatever is allowed. May be repeated.
    #[arg(long, value_name = "ACTION=PATTERN", value_parser = acl)]
    pub deny: Vec<(Action, String)>,
}

/// What an entry of a client's list is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Action {
    /// Publishing.
    Publish,
    /// Subscribing.
    Subscribe,
    /// Either.
    Both,
}

/// `audit …`
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// List events, the latest last.
    #[command(
        after_help = "Example:\n  cofferdam audit list --team acme --event connect_refused --since 2026-11-01T12:00:00Z"
    )]
    List(AuditList),
    /// Write events to a file or to standard output, oldest first, of any number.
    #[command(
        after_help = "Example:\n  cofferdam audit export --team acme --format csv --output acme.csv"
    )]
    Export(AuditExport),
    /// Check that no record was altered, removed, put in or moved; exit code 1 where one was.
    #[command(after_help = "Example:\n  cofferdam audit verify")]
    Verify(AuditVerify),
    /// Make, list and revoke tokens that read one team's audit over the API.
    #[command(after_help = "Example:\n  cofferdam audit reader add acme \"Acme Ltd\"")]
    Reader {
        /// What to do.
        #[command(subcommand)]
        command: ReaderCommand,
    },
}

/// `audit export`
#[derive(Debug, Args)]
pub struct AuditExport {
    /// As what.
    #[arg(long, value_enum, default_value_t = ExportFormat::Jsonl)]
    pub format: ExportFormat,
    /// The file [default: standard output].
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Which.
    #[command(flatten)]
    pub which: AuditWhich,
}

/// What an export is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// JSON Lines, which `audit verify --file` checks.
    Jsonl,
    /// CSV, for spreadsheets.
    Csv,
}

/// `audit verify`
#[derive(Debug, Args)]
pub struct AuditVerify {
    /// An export in JSON Lines [default: the database].
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The database of this region [default: the main one].
    #[arg(long, conflicts_with = "file")]
    pub region: Option<String>,
    /// The public key of the broker that signed [default: that of the key in the data directory].
    /// May be repeated.
    #[arg(long, value_name = "KEY")]
    pub key: Vec<String>,
    /// The export was made with filters: what it leaves out is not missing.
    #[arg(long, requires = "file")]
    pub part: bool,
}

/// `audit reader …`
#[derive(Debug, Subcommand)]
pub enum ReaderCommand {
    /// Make a reader and show its token once.
    #[command(after_help = "Example:\n  cofferdam audit reader add acme \"Acme Ltd\"")]
    Add {
        /// Whose audit it reads.
        team: String,
        /// Its name, for people.
        name: String,
    },
    /// List readers.
    #[command(after_help = "Example:\n  cofferdam audit reader list")]
    List,
    /// Remove a reader: its token opens nothing any more.
    #[command(after_help = "Example:\n  cofferdam audit reader revoke acme \"Acme Ltd\"")]
    Revoke {
        /// Whose audit it reads.
        team: String,
        /// Its name.
        name: String,
    },
}

/// `audit list`
#[derive(Debug, Args)]
pub struct AuditList {
    /// Which.
    #[command(flatten)]
    pub which: AuditWhich,
    /// At most so many, the latest of them.
    #[arg(long, default_value_t = 100)]
    pub limit: u32,
}

/// Which events; what is left out filters nothing.
#[derive(Debug, Default, Args)]
pub struct AuditWhich {
    /// In this region's database [default: the one of the team that is asked for, or the main one].
    #[arg(long)]
    pub region: Option<String>,
    /// Only this team's events.
    #[arg(long)]
    pub team: Option<String>,
    /// Only events of this level.
    #[arg(long, value_enum)]
    pub level: Option<LevelName>,
    /// Only events of this kind: connect, connect_refused, disconnect, takeover, publish_refused …
    #[arg(long)]
    pub event: Option<String>,
    /// Only of this client id.
    #[arg(long)]
    pub client: Option<String>,
    /// Only by this username, or by this person at the command line.
    #[arg(long)]
    pub username: Option<String>,
    /// Only from this address or network: 192.0.2.7, 192.0.2.0/24, 2001:db8::/32.
    #[arg(long)]
    pub address: Option<String>,
    /// Not before this time: RFC 3339, a date, or how long ago (90s, 15m, 2h, 7d).
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Before this time: likewise.
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
}

/// Whose business an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LevelName {
    /// The operator's.
    Platform,
    /// A team's.
    Team,
}

impl From<LevelName> for crate::audit::Level {
    fn from(name: LevelName) -> Self {
        match name {
            LevelName::Platform => Self::Platform,
            LevelName::Team => Self::Team,
        }
    }
}

/// How much `backup` writes and `restore` reads.
#[derive(Clone, Copy, Debug, Args)]
pub struct BackupExtent {
    /// One of its parts alone; the other has a backup of its own, or stays as it is.
    #[arg(long, value_enum)]
    pub only: Option<BackupPart>,
    /// Go without token.key, audit.key and the development CA: they are kept elsewhere, or given up.
    #[arg(long)]
    pub without_keys: bool,
}

/// A part of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BackupPart {
    /// Teams, credentials and the audit.
    Database,
    /// Sessions and messages, what of the audit is not in the database yet, keys.
    DataDir,
}

/// `config …`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the configuration in force, or everything that is wrong with it.
    #[command(after_help = "Example:\n  cofferdam config check --config cofferdam.toml")]
    Check,
}

/// What every subcommand is given.
#[derive(Debug)]
pub struct Context {
    /// Read and checked.
    pub config: Config,
    /// Print JSON.
    pub json: bool,
}

/// Why a subcommand did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration is wrong: exit code 2.
    #[error("the configuration is wrong:\n{0}")]
    Config(#[from] ConfigErrors),
    /// The command line, or a file that it names, is wrong: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// It was tried and failed: exit code 1.
    #[error(transparent)]
    Failed(#[from] Box<dyn Error + Send + Sync>),
}

/// Runs what the process's command line asks for.
pub fn run() -> ExitCode {
    let line = CommandLine::parse();
    let json = line.json;
    match dispatch(line) {
        Ok(code) => code,
        Err(failure) => {
            output::failure(&failure, json);
            failure.exit_code()
        }
    }
}

fn dispatch(line: CommandLine) -> Result<ExitCode, Failure> {
    let config = Config::load(line.config.as_deref(), std::env::vars_os())?;
    let context = Context {
        config,
        json: line.json,
    };
    let command = line.command.unwrap_or(Command::Serve);
    let filter = match command {
        Command::Serve => &context.config.log.filter,
        // A database that is made is one that somebody may have looked for elsewhere.
        _ => "warn,cofferdam::database=info",
    };
    log_to_stderr(filter);
    match command {
        Command::Serve => serve::run(&context),
        Command::Apply { file } => apply::run(&context, &file),
        Command::Team { command } => team::run(&context, &command),
        Command::Client { command } => client::run(&context, &command),
        Command::Policy { command } => policy::run(&context, &command),
        Command::Audit { command } => audit::run(&context, &command),
        Command::Backup { folder, extent } => backup::back_up(&context, &folder, extent),
        Command::Restore { folder, extent } => backup::restore(&context, &folder, extent),
        Command::Config {
            command: ConfigCommand::Check,
        } => config::check(&context),
    }
}

/// One line an event, compact, in colour where somebody looks on.
fn log_to_stderr(filter: &str) {
    // The configuration was checked to hold a filter; `info` is for the case that it changed since.
    let info = Targets::new().with_default(LevelFilter::INFO);
    let filter = filter.parse().unwrap_or(info);
    let lines = tracing_subscriber::fmt::layer()
        .compact()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .init();
}

/// `publish=sensors/#`
fn acl(text: &str) -> Result<(Action, String), String> {
    let (action, pattern) = text
        .split_once('=')
        .ok_or("write ACTION=PATTERN, such as publish=sensors/#")?;
    let action = Action::from_str(action, false)
        .map_err(|_| format!("{action:?} is none of publish, subscribe, both"))?;
    if pattern.is_empty() {
        return Err("the pattern is empty".to_owned());
    }
    Ok((action, pattern.to_owned()))
}

impl Failure {
    fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Config(_) | Self::Usage(_) => 2,
            Self::Failed(_) => 1,
        })
    }
}

#[cfg(test)]
mod tests;
