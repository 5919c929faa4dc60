//! `backup` and `restore`: the database into a folder, and back into an empty one.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Write as _};
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::store::{failed, unreadable, with_store};
use super::{Context, Failure};

/// The database's part of a backup.
const DATABASE: &str = "database.jsonl";

/// Writes a backup to `folder`, which must be new or empty.
pub(super) fn back_up(context: &Context, folder: &Path) -> Result<ExitCode, Failure> {
    prepare(folder)?;
    with_store(context, async |store, answer| {
        let path = folder.join(DATABASE);
        let draft = folder.join(format!(".{DATABASE}.draft"));
        let file = create(&draft).map_err(|error| unreadable(&draft, &error))?;
        let mut file = BufWriter::new(file);
        let rows = store.database().back_up(&mut file).await.map_err(failed)?;
        file.flush()
            .and_then(|()| file.get_ref().sync_all())
            .and_then(|()| fs::rename(&draft, &path))
            .and_then(|()| File::open(folder)?.sync_all())
            .map_err(|error| unreadable(&path, &error))?;
        match answer.json {
            true => answer.line(json!({ "file": path, "rows": rows })),
            false => answer.line(format_args!("{rows} rows in {}", path.display())),
        }
        .map_err(failed)
    })
}

/// Reads a backup of `folder` into the configured database.
pub(super) fn restore(context: &Context, folder: &Path) -> Result<ExitCode, Failure> {
    let path = folder.join(DATABASE);
    let file = File::open(&path).map_err(|error| unreadable(&path, &error))?;
    with_store(context, async |store, answer| {
        let rows = store.database().restore(BufReader::new(file)).await;
        let rows = rows.map_err(failed)?;
        match answer.json {
            true => answer.line(json!({ "file": path, "rows": rows })),
            false => answer.line(format_args!("{rows} rows from {}", path.display())),
        }
        .map_err(failed)
    })
}

/// What is in a backup is as secret as what it is of.
fn create(path: &Path) -> std::io::Result<File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn prepare(folder: &Path) -> Result<(), Failure> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .create(folder)
        .map_err(|error| unreadable(folder, &error))?;
    let used = fs::read_dir(folder).map_err(|error| unreadable(folder, &error))?;
    match used.count() {
        0 => Ok(()),
        _ => Err(Failure::Usage(format!(
            "{} is not empty: a backup goes to a folder of its own",
            folder.display()
        ))),
    }
}
