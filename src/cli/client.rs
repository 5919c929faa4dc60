//! `client`: make, list, rotate and revoke the clients of teams.

use std::process::ExitCode;
use std::sync::Arc;

use serde_json::json;

use super::answer::Answer;
use super::store::{failed, with_store};
use super::{Action, ClientAdd, ClientCommand, Context, Failure};
use crate::policy::{Pattern, PatternAction};
use crate::provision::{ClientEntry, Provisioner};

pub(super) fn run(context: &Context, command: &ClientCommand) -> Result<ExitCode, Failure> {
    with_store(context, async |store, answer| {
        carry_out(command, &store.provisioner()?, answer).await
    })
}

pub(crate) async fn carry_out(
    command: &ClientCommand,
    provisioner: &Provisioner<'_>,
    answer: &mut Answer<'_>,
) -> Result<(), Failure> {
    match command {
        ClientCommand::Add(add) => {
            let made = provisioner.client_add(&add.username, &patterns(add)).await;
            let (change, password) = made?;
            answer.password(&change, &password).map_err(failed)
        }
        ClientCommand::Rotate { username } => {
            let (change, password) = provisioner.client_rotate(username).await?;
            answer.password(&change, &password).map_err(failed)
        }
        ClientCommand::Revoke { username } => {
            let change = provisioner.client_revoke(username).await?;
            answer.change(Some(&change)).map_err(failed)
        }
        ClientCommand::List { team } => {
            let clients = ClientEntry::list(provisioner.database, team.as_deref()).await;
            list(&clients.map_err(failed)?, answer).map_err(failed)
        }
    }
}

fn list(clients: &[ClientEntry], answer: &mut Answer<'_>) -> std::io::Result<()> {
    if answer.json {
        for client in clients {
            let acl: Vec<_> = client.patterns.iter().map(pattern_json).collect();
            answer.line(json!({
                "username": client.username,
                "team": client.team,
                "acl": acl,
                "can_log_in": client.can_log_in,
                "created": client.created,
                "changed": client.changed,
            }))?;
        }
        return Ok(());
    }
    let rows: Vec<_> = clients
        .iter()
        .map(|client| {
            let acl: Vec<_> = client.patterns.iter().map(pattern_text).collect();
            vec![
                client.username.clone(),
                if client.can_log_in { "yes" } else { "no" }.to_owned(),
                if acl.is_empty() {
                    "nothing".to_owned()
                } else {
                    acl.join(", ")
                },
                client.changed.clone(),
            ]
        })
        .collect();
    answer.table(&["CLIENT", "CAN LOG IN", "MAY", "CHANGED"], &rows)
}

/// Everything, where nothing was asked for: `client add` alone gives a client that works.
fn patterns(add: &ClientAdd) -> Vec<Pattern> {
    if add.allow.is_empty() && add.deny.is_empty() {
        return vec![pattern(true, &(Action::Both, "#".to_owned()))];
    }
    let allowed = add.allow.iter().map(|entry| pattern(true, entry));
    let denied = add.deny.iter().map(|entry| pattern(false, entry));
    allowed.chain(denied).collect()
}

fn pattern(allow: bool, (action, filter): &(Action, String)) -> Pattern {
    Pattern {
        action: match action {
            Action::Publish => PatternAction::Publish,
            Action::Subscribe => PatternAction::Subscribe,
            Action::Both => PatternAction::Both,
        },
        allow,
        filter: Arc::from(filter.as_str()),
    }
}

fn action_word(action: PatternAction) -> &'static str {
    match action {
        PatternAction::Publish => "publish",
        PatternAction::Subscribe => "subscribe",
        PatternAction::Both => "both",
    }
}

fn effect_word(pattern: &Pattern) -> &'static str {
    if pattern.allow { "allow" } else { "deny" }
}

fn pattern_text(pattern: &Pattern) -> String {
    let (effect, action) = (effect_word(pattern), action_word(pattern.action));
    format!("{effect} {action}={}", pattern.filter)
}

fn pattern_json(pattern: &Pattern) -> serde_json::Value {
    json!({
        "action": action_word(pattern.action),
        "effect": effect_word(pattern),
        "pattern": &*pattern.filter,
    })
}
