//! `cofferdam audit`: read what is on record.

use super::output::{CommandError, Output, cell};
use crate::audit::{Filter, Record, list, parse_time, rfc3339};
use crate::database::Database;
use crate::time::Time;

/// Subcommands of `cofferdam audit`.
#[derive(clap::Subcommand, Clone, Debug)]
pub enum AuditCommand {
    /// List records, newest last
    #[command(after_help = "Examples:\n  \
        cofferdam audit list --since 15m\n  \
        cofferdam audit list --team aTeam00001 --event connect_refused --limit 20\n  \
        cofferdam audit list --client meter-7 --since 2026-11-30T08:00:00Z --json\n\n\
        Events: connect, connect_refused, disconnect, takeover, publish_refused, subscribe_refused,\n\
        gap, and <what>_<change>: team_add, team_suspend, client_rotate, device_change …")]
    List(ListArgs),
}

/// Arguments of `cofferdam audit list`.
#[derive(clap::Args, Clone, Debug)]
pub struct ListArgs {
    /// Of this team
    #[arg(long)]
    pub team: Option<String>,
    /// Of this kind
    #[arg(long)]
    pub event: Option<String>,
    /// With this client id
    #[arg(long, value_name = "CLIENT_ID")]
    pub client: Option<String>,
    /// By this username
    #[arg(long)]
    pub username: Option<String>,
    /// Not before: a time in RFC 3339, or how long ago (90s, 15m, 2h, 7d)
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Before: likewise
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// At most so many, the latest
    #[arg(long, default_value_t = 100)]
    pub limit: u32,
}

/// Runs `cofferdam audit …`; `now` is what "ago" counts from.
///
/// # Errors
/// [`CommandError`].
pub async fn run(
    command: &AuditCommand,
    database: &Database,
    now: Time,
    output: &mut Output<'_>,
) -> Result<(), CommandError> {
    let AuditCommand::List(args) = command;
    let time = |text: &Option<String>| {
        let parsed = text.as_deref().map(|text| parse_time(text, now));
        parsed.transpose().map_err(CommandError::Argument)
    };
    let filter = Filter {
        team: args.team.clone(),
        event: args.event.clone(),
        client_id: args.client.clone(),
        actor: args.username.clone(),
        since: time(&args.since)?,
        until: time(&args.until)?,
        limit: args.limit,
    };
    let records = list(database, &filter).await?;
    if output.json {
        for record in &records {
            output.line(record.to_json())?;
        }
        return Ok(());
    }
    let rows: Vec<_> = records.iter().map(row).collect();
    let head = [
        "TIME",
        "LEVEL",
        "TEAM",
        "EVENT",
        "ACTOR",
        "CLIENT ID",
        "REMOTE",
        "LISTENER",
        "DETAIL",
    ];
    Ok(output.table(&head, &rows)?)
}

fn row(record: &Record) -> Vec<String> {
    let detail: Vec<_> = record
        .detail
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(key, value)| match value.as_str() {
            Some(text) if !text.contains(' ') => format!("{key}={text}"),
            _ => format!("{key}={value}"),
        })
        .collect();
    vec![
        rfc3339(record.at),
        record.level.as_str().to_owned(),
        cell(record.team.as_deref()),
        cell(Some(&record.event)),
        cell(record.actor.as_deref()),
        cell(record.client_id.as_deref()),
        cell(record.remote.as_deref()),
        cell(record.listener.as_deref()),
        cell(Some(&detail.join(" "))),
    ]
}
