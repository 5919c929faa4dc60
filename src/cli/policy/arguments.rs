//! `policy …`: what there is to call.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::super::Failure;
use crate::policy::Action;

/// `policy …`
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Say whether a user may publish to a topic or subscribe to a filter, and by which rule.
    #[command(
        after_help = "Example:\n  cofferdam policy explain sensor@acme publish sensors/1\n  cofferdam policy explain --client-id sensor-7 publish sensors/1"
    )]
    Explain(Explain),
    /// Compare decisions with a file: username, action, topic, allow or deny, separated by tabs.
    #[command(
        after_help = "Example:\n  cofferdam policy test expectations.tsv --policy new-policy.toml"
    )]
    Test {
        /// The file.
        file: PathBuf,
        /// The policy to test [default: the one of the configuration].
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
    },
    /// List live subscriptions and recent publishes that two policies answer differently.
    #[command(
        after_help = "Example:\n  cofferdam policy diff new-policy.toml\n  cofferdam policy diff old-policy.toml new-policy.toml --expectations expectations.tsv"
    )]
    Diff(Diff),
    /// Show which policy is in force in the running broker, and which is observed.
    #[command(after_help = "Example:\n  cofferdam policy show")]
    Show,
    /// Have the running broker read its policy file again; a bad one is refused and the old stays.
    #[command(after_help = "Example:\n  cofferdam policy reload")]
    Reload,
    /// Have a policy decide beside the one in force: what would be otherwise is counted and on
    /// record, and nothing else comes of it.
    #[command(
        after_help = "Example:\n  cofferdam policy observe new-policy.toml\n  cofferdam policy observe --stop"
    )]
    Observe {
        /// The policy to observe.
        #[arg(required_unless_present = "stop")]
        file: Option<PathBuf>,
        /// Observe none any more.
        #[arg(long, conflicts_with = "file")]
        stop: bool,
    },
}

/// `policy explain`
#[derive(Debug, Args)]
#[command(
    override_usage = "cofferdam policy explain USERNAME publish|subscribe TOPIC\n       \
                            cofferdam policy explain --client-id ID [--team TEAM] publish|subscribe TOPIC"
)]
pub struct Explain {
    /// The username as it logs in (not with --client-id); what it wants; and the topic or filter as
    /// the client writes it, without its mount, with $share/… where it is shared.
    #[arg(required = true, num_args = 2..=3, value_names = ["USERNAME", "ACTION", "TOPIC"])]
    pub words: Vec<String>,
    /// Ask the running broker about the connection with this client identifier: by the grant that
    /// is in force there.
    #[arg(long, value_name = "ID")]
    pub client_id: Option<String>,
    /// Of this team alone.
    #[arg(long, requires = "client_id")]
    pub team: Option<String>,
}

/// `policy diff`
#[derive(Debug, Args)]
#[command(override_usage = "cofferdam policy diff [OLD] NEW [--expectations FILE]")]
pub struct Diff {
    /// The old policy (left out: the one in force) and the new one.
    #[arg(required = true, num_args = 1..=2, value_names = ["OLD", "NEW"])]
    pub files: Vec<PathBuf>,
    /// Compare for the lines of a file as `policy test` takes it, and not for what is live.
    #[arg(long, value_name = "FILE")]
    pub expectations: Option<PathBuf>,
}

/// Whose decision is to be explained.
pub(super) enum Whose<'a> {
    /// Of whoever logs in under this name.
    Username(&'a str),
    /// Of whoever is connected with this client identifier.
    ClientId(&'a str),
}

impl Explain {
    /// The words in their roles.
    pub(super) fn read(&self) -> Result<(Whose<'_>, Action, &str), Failure> {
        let (whose, action, topic) = match (&self.client_id, self.words.as_slice()) {
            (Some(id), [action, topic]) => (Whose::ClientId(id), action, topic),
            (None, [username, action, topic]) => (Whose::Username(username), action, topic),
            (Some(_), _) => {
                return Err(usage(
                    "with --client-id, write publish or subscribe, and the topic",
                ));
            }
            (None, _) => {
                return Err(usage(
                    "write a username, publish or subscribe, and the topic",
                ));
            }
        };
        let action = Action::from_word(action)
            .ok_or_else(|| usage(&format!("{action:?} is neither publish nor subscribe")))?;
        Ok((whose, action, topic))
    }
}

fn usage(what: &str) -> Failure {
    Failure::Usage(what.to_owned())
}
