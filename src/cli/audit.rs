//! `audit`: read what is on record.

use std::process::ExitCode;

use super::answer::{Answer, cell, name_cell};
use super::store::{failed, with_store};
use super::{AuditCommand, AuditList, Context, Failure};
use crate::audit::{Filter, Record, list, parse_time, rfc3339};
use crate::database::Database;
use crate::time::Time;

pub(super) fn run(context: &Context, command: &AuditCommand) -> Result<ExitCode, Failure> {
    let AuditCommand::List(args) = command;
    with_store(context, async |store, answer| {
        show(args, store.database(), store.now(), answer).await
    })
}

/// Lists records; `now` is what "ago" counts from.
pub(crate) async fn show(
    args: &AuditList,
    database: &Database,
    now: Time,
    answer: &mut Answer<'_>,
) -> Result<(), Failure> {
    let time = |text: &Option<String>| {
        let parsed = text.as_deref().map(|text| parse_time(text, now));
        parsed.transpose().map_err(Failure::Usage)
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
    let records = list(database, &filter).await.map_err(failed)?;
    if answer.json {
        for record in &records {
            answer.line(record.to_json()).map_err(failed)?;
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
    answer.table(&head, &rows).map_err(failed)
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
        name_cell(record.actor.as_deref()),
        name_cell(record.client_id.as_deref()),
        cell(record.remote.as_deref()),
        cell(record.listener.as_deref()),
        cell(Some(&detail.join(" "))),
    ]
}
