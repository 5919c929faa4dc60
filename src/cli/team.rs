//! `cofferdam team`: make, list, suspend, resume and remove teams.

use super::output::{CommandError, Output, cell};
use crate::provision::{Provisioner, TeamEntry};

/// Subcommands of `cofferdam team`.
#[derive(clap::Subcommand, Clone, Debug)]
pub enum TeamCommand {
    /// Make a team
    #[command(after_help = "Example: cofferdam team add aTeam00001 --name \"Team A\"")]
    Add {
        /// Letters, digits, `.`, `_` and `-`; stands in topics and usernames
        id: String,
        /// What people call it [default: the id]
        #[arg(long)]
        name: Option<String>,
    },
    /// List the teams
    #[command(after_help = "Example: cofferdam team list --json")]
    List,
    /// Bar a team's members from logging in
    #[command(after_help = "Example: cofferdam team suspend aTeam00001")]
    Suspend {
        /// The team's id
        id: String,
    },
    /// Let a suspended team's members log in again
    #[command(after_help = "Example: cofferdam team resume aTeam00001")]
    Resume {
        /// The team's id
        id: String,
    },
    /// Remove a team with all its instances, devices and clients; its audit records stay
    #[command(after_help = "Example: cofferdam team remove aTeam00001")]
    Remove {
        /// The team's id
        id: String,
    },
}

/// Runs `cofferdam team …`.
///
/// # Errors
/// [`CommandError`]; then nothing was changed.
pub async fn run(
    command: &TeamCommand,
    provisioner: &Provisioner<'_>,
    output: &mut Output<'_>,
) -> Result<(), CommandError> {
    let change = match command {
        TeamCommand::List => return list(provisioner, output).await,
        TeamCommand::Add { id, name } => Some(provisioner.team_add(id, name.as_deref()).await?),
        TeamCommand::Suspend { id } => provisioner.team_suspend(id, true).await?,
        TeamCommand::Resume { id } => provisioner.team_suspend(id, false).await?,
        TeamCommand::Remove { id } => Some(provisioner.team_remove(id).await?),
    };
    Ok(output.change(change.as_ref())?)
}

async fn list(provisioner: &Provisioner<'_>, output: &mut Output<'_>) -> Result<(), CommandError> {
    let teams = TeamEntry::list(provisioner.database).await?;
    if output.json {
        for team in &teams {
            output.line(serde_json::json!(team))?;
        }
        return Ok(());
    }
    let rows: Vec<_> = teams
        .iter()
        .map(|team| {
            vec![
                team.id.clone(),
                cell(Some(&team.name)),
                if team.suspended {
                    "suspended"
                } else {
                    "active"
                }
                .to_owned(),
                team.instances.to_string(),
                team.devices.to_string(),
                team.clients.to_string(),
                team.created.clone(),
            ]
        })
        .collect();
    let head = [
        "TEAM",
        "NAME",
        "STATE",
        "INSTANCES",
        "DEVICES",
        "CLIENTS",
        "CREATED",
    ];
    Ok(output.table(&head, &rows)?)
}
