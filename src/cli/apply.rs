//! `apply`: provision teams and their members from a file.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::answer::Answer;
use super::store::{failed, read, with_store};
use super::{Context, Failure};
use crate::provision::{Change, Provisioner};

/// Applies `file`; see `provision` for what that means.
pub(super) fn run(context: &Context, file: &PathBuf) -> Result<ExitCode, Failure> {
    let text = read(file)?;
    with_store(context, async |store, answer| {
        apply(
            &file.display().to_string(),
            &text,
            &store.provisioner()?,
            answer,
        )
        .await
    })
}

pub(crate) async fn apply(
    file: &str,
    text: &str,
    provisioner: &Provisioner<'_>,
    answer: &mut Answer<'_>,
) -> Result<(), Failure> {
    let applied = provisioner.apply(file, text).await?;
    if answer.json {
        let changes: Vec<Value> = applied.changes.iter().map(Change::to_json).collect();
        let document = json!({
            "changes": changes,
            "unchanged": applied.unchanged,
            "notes": applied.notes,
        });
        return answer.line(document).map_err(failed);
    }
    let (changed, unchanged) = (applied.changes.len(), applied.unchanged);
    let changes = applied.changes.iter().map(Change::to_string);
    let notes = applied.notes.iter().map(|note| format!("note: {note}"));
    let end = format!("{changed} changed, {unchanged} as declared");
    for line in changes.chain(notes).chain([end]) {
        answer.line(line).map_err(failed)?;
    }
    Ok(())
}
