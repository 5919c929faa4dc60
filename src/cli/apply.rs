//! `cofferdam apply`: provision teams and their members from a file.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::output::{CommandError, Output};
use crate::provision::{Change, Provisioner};

const EXAMPLES: &str = r##"What the file names is made, or changed to be as the file says; what it does not name stays as it
is. A bad file changes nothing. Every change goes on record (cofferdam audit list).

Example: cofferdam apply teams.toml, with teams.toml:

  [[team]]
  id = "aTeam00001"
  name = "Team A"

  [[instance]]
  id = "11111111-1111-4111-8111-111111111111"
  team = "aTeam00001"
  password = "ffbp_…"

  [[device]]
  id = "devA000001"
  team = "aTeam00001"
  owner = { type = "instance", id = "11111111-1111-4111-8111-111111111111" }
  password = "ffbd_…"

  [[client]]
  name = "alice"
  team = "aTeam00001"
  password = "$argon2id$v=19$…"
  acl = [
    { action = "both", effect = "allow", pattern = "#" },
    { action = "publish", effect = "deny", pattern = "alarms/#" },
  ]

  [platform]
  password = "ffbpl_…"

A password is given in plain, as a hash ($argon2id$… or $blake3$…), or left out: then nobody can
log in. Without acl a client may do nothing."##;

/// Arguments of `cofferdam apply`.
#[derive(clap::Args, Clone, Debug)]
#[command(about = "Provision teams, instances, devices and clients from a file", after_help = EXAMPLES)]
pub struct ApplyArgs {
    /// The file, in TOML; `-` reads standard input
    pub file: PathBuf,
}

/// Runs `cofferdam apply`.
///
/// # Errors
/// [`CommandError`]; then nothing was changed.
pub async fn run(
    args: &ApplyArgs,
    provisioner: &Provisioner<'_>,
    output: &mut Output<'_>,
) -> Result<(), CommandError> {
    let text = if args.file.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(&args.file)
    };
    let text = text.map_err(|source| CommandError::File {
        path: args.file.clone(),
        source,
    })?;
    let applied = provisioner
        .apply(&args.file.display().to_string(), &text)
        .await?;
    if output.json {
        let changes: Vec<Value> = applied.changes.iter().map(Change::to_json).collect();
        output.line(json!({
            "changes": changes,
            "unchanged": applied.unchanged,
            "notes": applied.notes,
        }))?;
        return Ok(());
    }
    for change in &applied.changes {
        output.line(change)?;
    }
    for note in &applied.notes {
        output.line(format_args!("note: {note}"))?;
    }
    let (changed, unchanged) = (applied.changes.len(), applied.unchanged);
    output.line(format_args!("{changed} changed, {unchanged} as declared"))?;
    Ok(())
}
