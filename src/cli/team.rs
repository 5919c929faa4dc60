//! `team`: make, list, suspend, resume and remove teams, and give them plans.

use std::process::ExitCode;

use super::answer::{Answer, cell};
use super::store::{failed, with_store};
use super::{Context, Failure, TeamCommand};
use crate::provision::{Provisioner, TeamEntry};

pub(super) fn run(context: &Context, command: &TeamCommand) -> Result<ExitCode, Failure> {
    with_store(context, async |store, answer| {
        carry_out(command, &store.provisioner()?, answer).await
    })
}

pub(crate) async fn carry_out(
    command: &TeamCommand,
    provisioner: &Provisioner<'_>,
    answer: &mut Answer<'_>,
) -> Result<(), Failure> {
    let change = match command {
        TeamCommand::List => return list(provisioner, answer).await,
        TeamCommand::Add { id, name, plan } => {
            let (name, plan) = (name.as_deref(), plan.as_deref());
            Some(provisioner.team_add(id, name, plan).await?)
        }
        TeamCommand::Plan { id, plan, set } => {
            let changes = set.join("\n");
            provisioner.team_plan(id, plan.as_deref(), &changes).await?
        }
        TeamCommand::Suspend { id } => provisioner.team_suspend(id, true).await?,
        TeamCommand::Resume { id } => provisioner.team_suspend(id, false).await?,
        TeamCommand::Remove { id } => Some(provisioner.team_remove(id).await?),
    };
    answer.change(change.as_ref()).map_err(failed)
}

async fn list(provisioner: &Provisioner<'_>, answer: &mut Answer<'_>) -> Result<(), Failure> {
    let teams = TeamEntry::list(provisioner.database)
        .await
        .map_err(failed)?;
    if answer.json {
        for team in &teams {
            answer.line(serde_json::json!(team)).map_err(failed)?;
        }
        return Ok(());
    }
    let rows: Vec<_> = teams
        .iter()
        .map(|team| {
            vec![
                team.id.clone(),
                cell(Some(&team.name)),
                cell(team.plan.as_deref()),
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
        "PLAN",
        "STATE",
        "INSTANCES",
        "DEVICES",
        "CLIENTS",
        "CREATED",
    ];
    answer.table(&head, &rows).map_err(failed)
}
