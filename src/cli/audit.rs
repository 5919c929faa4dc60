//! `audit`: read, export and verify what is on record, and say who may read a team's part of it.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::process::ExitCode;

use serde_json::json;

use super::answer::{Answer, cell, name_cell};
use super::chronicle::pseudonyms;
use super::store::{Store, failed, unreadable, with_store};
use super::{
    AuditCommand, AuditExport, AuditList, AuditVerify, AuditWhich, Context, ExportFormat, Failure,
    ReaderCommand,
};
use crate::audit::{
    AuditKey, Export, Filter, Format, Linked, Pseudonyms, PublicKey, Record, Scope, Verdict,
    latest, parse_time, rfc3339, verify, verify_export, witness_of,
};
use crate::config::{Config, Region};
use crate::database::Database;
use crate::provision::Reader;
use crate::time::Time;

/// More rows than anybody looks at, and few enough to be held at once.
const LIST_MAX: u32 = 1_000_000;

pub(super) fn run(context: &Context, command: &AuditCommand) -> Result<ExitCode, Failure> {
    let names = pseudonyms(&context.config);
    match command {
        AuditCommand::List(args) => {
            with_store(&of_region(context, &args.which)?, async |store, answer| {
                let names = names.as_ref();
                show(args, store.database(), store.now(), names, answer).await
            })
        }
        AuditCommand::Export(args) => {
            with_store(&of_region(context, &args.which)?, async |store, answer| {
                export(args, store, names.as_ref(), answer).await
            })
        }
        AuditCommand::Verify(args) => check(context, args),
        AuditCommand::Reader { command } => with_store(context, async |store, answer| {
            readers(command, store, answer).await
        }),
    }
}

/// The same, on the database where the records that are asked for are.
fn of_region(context: &Context, which: &AuditWhich) -> Result<Context, Failure> {
    let regions = &context.config.audit.regions;
    let has_team = |region: &&Region| {
        let team = which.team.as_ref();
        team.is_some_and(|team| region.teams.contains(team))
    };
    match (&which.region, regions.iter().find(has_team)) {
        (Some(name), _) => in_region(context, Some(name)),
        (None, of_team) => in_region(context, of_team.map(|region| region.name.as_str())),
    }
}

fn in_region(context: &Context, name: Option<&str>) -> Result<Context, Failure> {
    let mut config = context.config.clone();
    if let Some(name) = name {
        let regions = &context.config.audit.regions;
        let Some(region) = regions.iter().find(|region| region.name == name) else {
            return Err(Failure::Usage(format!("there is no [audit.region.{name}]")));
        };
        config.database.url = region.url.clone();
    }
    Ok(Context {
        config,
        json: context.json,
    })
}

/// Lists records; `now` is what "ago" counts from.
pub(crate) async fn show(
    args: &AuditList,
    database: &Database,
    now: Time,
    names: Option<&Pseudonyms>,
    answer: &mut Answer<'_>,
) -> Result<(), Failure> {
    let filter = filter(&args.which, now, names)?;
    let limit = args.limit.min(LIST_MAX);
    let records = latest(database, &filter, limit).await.map_err(failed)?;
    if answer.json {
        for linked in &records {
            answer.line(linked.to_json()).map_err(failed)?;
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

/// What the options ask for. Names and addresses are looked for as they stand on record.
fn filter(args: &AuditWhich, now: Time, names: Option<&Pseudonyms>) -> Result<Filter, Failure> {
    let time = |text: &Option<String>| {
        let parsed = text.as_deref().map(|text| parse_time(text, now));
        parsed.transpose().map_err(Failure::Usage)
    };
    let name = |name: &Option<String>| {
        let name = name.as_ref()?;
        Some(names.map_or_else(|| name.clone(), |names| names.name(name)))
    };
    let mut filter = Filter {
        team: args.team.clone(),
        level: args.level.map(Into::into),
        event: args.event.clone(),
        client_id: name(&args.client),
        actor: name(&args.username),
        since: time(&args.since)?,
        until: time(&args.until)?,
        ..Filter::default()
    };
    if let Some(address) = &args.address {
        filter.from(address, names).map_err(Failure::Usage)?;
    }
    Ok(filter)
}

fn row(linked: &Linked) -> Vec<String> {
    let record: &Record = &linked.record;
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

/// Writes everything, piece by piece.
async fn export(
    args: &AuditExport,
    store: &Store,
    names: Option<&Pseudonyms>,
    answer: &mut Answer<'_>,
) -> Result<(), Failure> {
    let mut wanted = filter(&args.which, store.now(), names)?;
    // A team's whole chain can be verified; a team's records among all the rest cannot.
    let scope = match wanted.team.take() {
        Some(team) => Scope::Team(team),
        None => Scope::All,
    };
    let format = match args.format {
        ExportFormat::Jsonl => Format::JsonLines,
        ExportFormat::Csv => Format::Csv,
    };
    let mut file = match &args.output {
        None => None,
        Some(path) => {
            let file = File::create(path).map_err(|error| unreadable(path, &error))?;
            Some(BufWriter::new(file))
        }
    };
    let mut export = Export::new(store.database().clone(), scope, wanted, format);
    while let Some(piece) = export.next().await.map_err(failed)? {
        match &mut file {
            Some(file) => file.write_all(piece.as_bytes()),
            None => answer.to.write_all(piece.as_bytes()),
        }
        .map_err(failed)?;
    }
    match &mut file {
        Some(file) => file.flush().and_then(|()| file.get_ref().sync_all()),
        None => answer.to.flush(),
    }
    .map_err(failed)
}

/// Verifies the database, or an export without one.
fn check(context: &Context, args: &AuditVerify) -> Result<ExitCode, Failure> {
    let trusted = trusted(&context.config, &args.key)?;
    let vouched = !trusted.is_empty();
    let region = args.region.as_deref();
    let witness = witness_of(&context.config.data_dir, region);
    let context = &in_region(context, region)?;
    let verdict = match &args.file {
        Some(path) => {
            let file = File::open(path).map_err(|error| unreadable(path, &error))?;
            let is_part = args.part;
            // The broker's own copy is of its own database, which the export may not be of.
            verify_export(BufReader::new(file), trusted, None, is_part).map_err(failed)?
        }
        None => {
            let mut verdict = None;
            with_store(context, async |store, _| {
                let found = verify(store.database(), trusted, Some(&witness)).await;
                verdict = Some(found.map_err(failed)?);
                Ok(())
            })?;
            match verdict {
                Some(verdict) => verdict,
                None => return Ok(ExitCode::FAILURE),
            }
        }
    };
    super::print(&told(&verdict, vouched, context.json))?;
    match verdict.problems.is_empty() {
        true => Ok(ExitCode::SUCCESS),
        false => Ok(ExitCode::FAILURE),
    }
}

/// Whose signatures count: those named, or the broker's own.
fn trusted(config: &Config, named: &[String]) -> Result<Vec<PublicKey>, Failure> {
    if named.is_empty() {
        let variable = std::env::var(AuditKey::VARIABLE).ok();
        let own = AuditKey::read(&config.data_dir, variable.as_deref());
        return Ok(own.iter().map(AuditKey::public).collect());
    }
    let parsed = named.iter().map(|text| {
        let key = PublicKey::parse(text);
        key.ok_or_else(|| Failure::Usage(format!("{text:?} is no public key of an audit")))
    });
    parsed.collect()
}

fn told(verdict: &Verdict, vouched: bool, json: bool) -> String {
    let Verdict { tally, problems } = verdict;
    if json {
        let problems = problems
            .iter()
            .map(|it| json!({"chain": it.chain, "number": it.number, "problem": it.to_string()}));
        let value = json!({
            "whole": verdict.problems.is_empty(),
            "chains": tally.chains, "records": tally.records, "signed": tally.signed,
            "problems": problems.collect::<Vec<_>>(),
        });
        return format!("{value}\n");
    }
    let mut text = String::new();
    for problem in problems {
        text.push_str(&format!("{problem}\n"));
    }
    let (chains, records, signed) = (tally.chains, tally.records, tally.signed);
    let result = match problems.len() {
        0 => "as they were written".to_owned(),
        1 => "1 chain is not as it was written".to_owned(),
        more => format!("{more} chains are not as they were written"),
    };
    text.push_str(&format!(
        "{records} records in {chains} chains, {signed} of them under a checkpoint: {result}\n"
    ));
    if !vouched {
        text.push_str(
            "No key was given and there is none in the data directory: whoever wrote the records may \
             have signed them too. Name the broker's by --key.\n",
        );
    }
    text
}

/// Makes, lists and removes readers of a team.
async fn readers(
    command: &ReaderCommand,
    store: &Store,
    answer: &mut Answer<'_>,
) -> Result<(), Failure> {
    match command {
        ReaderCommand::Add { team, name } => {
            let (reader, token) = store.provisioner()?.reader_add(team, name).await?;
            if answer.json {
                let mut json = reader.to_json();
                json["token"] = token.into();
                return answer.line(json).map_err(failed);
            }
            let text = format!(
                "reader {} of team {}\ntoken {token}\n\
                 The token is stored as a hash only: it cannot be shown again.",
                reader.name, reader.team
            );
            answer.line(text).map_err(failed)
        }
        ReaderCommand::List => {
            let readers = Reader::list(store.database()).await.map_err(failed)?;
            if answer.json {
                for reader in &readers {
                    answer.line(reader.to_json()).map_err(failed)?;
                }
                return Ok(());
            }
            let rows: Vec<_> = readers
                .iter()
                .map(|it| {
                    vec![
                        it.team.clone(),
                        name_cell(Some(&it.name)),
                        it.created.clone(),
                    ]
                })
                .collect();
            answer
                .table(&["TEAM", "NAME", "CREATED"], &rows)
                .map_err(failed)
        }
        ReaderCommand::Revoke { team, name } => {
            store.provisioner()?.reader_revoke(team, name).await?;
            let text = format!("reader {name} of team {team} is removed");
            answer.line(text).map_err(failed)
        }
    }
}
