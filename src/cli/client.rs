//! `cofferdam client`: make, list, rotate and revoke the clients of teams.

use std::sync::Arc;

use serde_json::json;

use super::output::{CommandError, Output};
use crate::policy::{Pattern, PatternAction};
use crate::provision::{ClientEntry, Provisioner};

/// Subcommands of `cofferdam client`.
#[derive(clap::Subcommand, Clone, Debug)]
pub enum ClientCommand {
    /// Make a client; prints its password, once
    #[command(after_help = "Examples:\n  \
        cofferdam client add alice@aTeam00001\n  \
        cofferdam client add meter@aTeam00001 --allow publish=meter/# --deny publish=meter/secret/#\n\n\
        Patterns count from the team's own topics: meter/# is ff/v1/<team>/c/meter/#.")]
    Add {
        /// `<name>@<team>`; also the client id that it must use
        client: String,
        /// What it may do, as ACTION=PATTERN; ACTION is publish, subscribe or both. Without --allow
        /// and --deny: both=#, everything among the team's own topics
        #[arg(long, value_name = "ACTION=PATTERN", value_parser = acl)]
        allow: Vec<(PatternAction, String)>,
        /// What it may not do whatever --allow says
        #[arg(long, value_name = "ACTION=PATTERN", value_parser = acl)]
        deny: Vec<(PatternAction, String)>,
    },
    /// List the clients
    #[command(after_help = "Example: cofferdam client list --team aTeam00001")]
    List {
        /// Of this team only
        #[arg(long)]
        team: Option<String>,
    },
    /// Give a client a new password, printed once; the old one ends at once
    #[command(after_help = "Example: cofferdam client rotate alice@aTeam00001")]
    Rotate {
        /// `<name>@<team>`
        client: String,
    },
    /// Remove a client
    #[command(after_help = "Example: cofferdam client revoke alice@aTeam00001")]
    Revoke {
        /// `<name>@<team>`
        client: String,
    },
}

/// Runs `cofferdam client …`.
///
/// # Errors
/// [`CommandError`]; then nothing was changed.
pub async fn run(
    command: &ClientCommand,
    provisioner: &Provisioner<'_>,
    output: &mut Output<'_>,
) -> Result<(), CommandError> {
    match command {
        ClientCommand::Add {
            client,
            allow,
            deny,
        } => {
            let patterns = patterns(allow, deny);
            let (change, password) = provisioner.client_add(client, &patterns).await?;
            output.password(&change, &password)?;
        }
        ClientCommand::Rotate { client } => {
            let (change, password) = provisioner.client_rotate(client).await?;
            output.password(&change, &password)?;
        }
        ClientCommand::Revoke { client } => {
            let change = provisioner.client_revoke(client).await?;
            output.change(Some(&change))?;
        }
        ClientCommand::List { team } => {
            let clients = ClientEntry::list(provisioner.database, team.as_deref()).await?;
            list(&clients, output)?;
        }
    }
    Ok(())
}

fn list(clients: &[ClientEntry], output: &mut Output<'_>) -> Result<(), CommandError> {
    if output.json {
        for client in clients {
            let acl: Vec<_> = client.patterns.iter().map(pattern_json).collect();
            output.line(json!({
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
    Ok(output.table(&["CLIENT", "CAN LOG IN", "MAY", "CHANGED"], &rows)?)
}

/// Everything, where nothing was asked for: `client add` alone gives a client that works.
fn patterns(allow: &[(PatternAction, String)], deny: &[(PatternAction, String)]) -> Vec<Pattern> {
    let pattern = |allow, action, filter: &str| Pattern {
        action,
        allow,
        filter: Arc::from(filter),
    };
    if allow.is_empty() && deny.is_empty() {
        return vec![pattern(true, PatternAction::Both, "#")];
    }
    let allowed = allow
        .iter()
        .map(|(action, filter)| pattern(true, *action, filter));
    let denied = deny
        .iter()
        .map(|(action, filter)| pattern(false, *action, filter));
    allowed.chain(denied).collect()
}

fn acl(text: &str) -> Result<(PatternAction, String), String> {
    let (action, filter) = text.split_once('=').ok_or("write ACTION=PATTERN")?;
    let action = match action {
        "publish" => PatternAction::Publish,
        "subscribe" => PatternAction::Subscribe,
        "both" => PatternAction::Both,
        _ => return Err(format!("{action:?} is not publish, subscribe or both")),
    };
    Ok((action, filter.to_owned()))
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
