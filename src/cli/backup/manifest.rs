//! What a backup is made of: `backup.json`, written last, so that a folder without it is none.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::BackupFault;
use super::create;

/// The list's own name.
const NAME: &str = "backup.json";
/// The form of the list and of what it lists.
const FORMAT: u32 = 1;
/// The database's part of a backup.
pub(super) const DATABASE: &str = "database.jsonl";
/// The data directory's part.
pub(super) const DATA: &str = "data";

/// What is in a backup, and what it was taken without.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    cofferdam_backup: u32,
    /// The version that took it.
    pub cofferdam: String,
    /// When it was begun, as RFC 3339.
    pub taken: String,
    /// The keys that what is in it needs; where they are not among the files, they are to be given.
    pub keys: Vec<Key>,
    /// All of it.
    pub files: Vec<Entry>,
}

/// A key of the broker's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Key {
    /// Its file's name in the data directory.
    pub file: String,
    /// Which it is; gives nothing away.
    pub id: String,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Its place in the folder, with `/`.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// BLAKE3 of it, in hexadecimal.
    pub blake3: String,
}

impl Manifest {
    pub(super) fn new(taken: String) -> Self {
        Self {
            cofferdam_backup: FORMAT,
            cofferdam: env!("CARGO_PKG_VERSION").to_owned(),
            taken,
            keys: Vec::new(),
            files: Vec::new(),
        }
    }

    /// Reads the list of a backup.
    pub(super) fn read(folder: &Path) -> Result<Self, BackupFault> {
        let path = folder.join(NAME);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(BackupFault::Unfinished(folder.to_owned()));
            }
            text => text.map_err(|error| BackupFault::file(&path, error))?,
        };
        #[derive(Deserialize)]
        struct Head {
            cofferdam_backup: u32,
            cofferdam: String,
        }
        let damaged = || BackupFault::Damaged(NAME.to_owned());
        let head: Head = serde_json::from_str(&text).map_err(|_| damaged())?;
        if head.cofferdam_backup > FORMAT {
            return Err(BackupFault::Newer {
                version: head.cofferdam,
            });
        }
        let read: Self = serde_json::from_str(&text).map_err(|_| damaged())?;
        match read.files.iter().all(|it| is_ours(&it.name)) {
            true => Ok(read),
            false => Err(damaged()),
        }
    }

    /// Completes a backup.
    pub(super) fn write(&self, folder: &Path) -> Result<(), BackupFault> {
        let path = folder.join(NAME);
        let draft = folder.join(format!(".{NAME}.draft"));
        let written = || {
            let mut file = create(&draft)?;
            serde_json::to_writer_pretty(&mut file, self)?;
            writeln!(file)?;
            file.sync_all()?;
            fs::rename(&draft, &path)?;
            File::open(folder)?.sync_all()
        };
        written().map_err(|error| BackupFault::file(&path, error))
    }

    /// Whether anything of the data directory is in it.
    pub(super) fn has_data(&self) -> bool {
        self.files.iter().any(|it| it.name != DATABASE)
    }

    /// Whether a file of the data directory is in it.
    pub(super) fn has(&self, in_data_dir: &str) -> bool {
        let name = format!("{DATA}/{in_data_dir}");
        self.files.iter().any(|it| it.name == name)
    }
}

/// Whether it is a place that a backup may name: nothing outside of its folder.
fn is_ours(name: &str) -> bool {
    let is_plain = |path: &Path| {
        path.components()
            .all(|it| matches!(it, Component::Normal(_)))
    };
    match name.strip_prefix("data/") {
        Some(rest) => !rest.is_empty() && is_plain(Path::new(rest)),
        None => name == DATABASE,
    }
}

/// Copies everything that comes; what that was.
pub(super) fn copy(from: &mut dyn Read, to: &mut dyn Write, name: &str) -> io::Result<Entry> {
    let mut to = Hashed::new(to);
    io::copy(from, &mut to)?;
    Ok(to.entry(name))
}

/// Whether a file of a backup is what the list says. `to` has a copy of it afterwards.
pub(super) fn check(folder: &Path, entry: &Entry, to: &mut dyn Write) -> Result<(), BackupFault> {
    let path = folder.join(&entry.name);
    let failed = |error| BackupFault::file(&path, error);
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(BackupFault::Damaged(entry.name.clone()));
        }
        file => file.map_err(failed)?,
    };
    let found = copy(&mut BufReader::new(file), to, &entry.name).map_err(failed)?;
    match found == *entry {
        true => Ok(()),
        false => Err(BackupFault::Damaged(entry.name.clone())),
    }
}

/// A file below a folder, and the folders in between.
pub(super) fn create_below(folder: &Path, name: &str) -> io::Result<(PathBuf, File)> {
    let path = folder.join(name);
    if let Some(parent) = path.parent() {
        super::create_folder(parent)?;
    }
    let file = create(&path)?;
    Ok((path, file))
}

/// Writes on, and knows what was written.
pub(super) struct Hashed<W> {
    to: W,
    hash: blake3::Hasher,
    bytes: u64,
}

impl<W: Write> Hashed<W> {
    pub(super) fn new(to: W) -> Self {
        Self {
            to,
            hash: blake3::Hasher::new(),
            bytes: 0,
        }
    }

    pub(super) fn entry(&self, name: &str) -> Entry {
        Entry {
            name: name.to_owned(),
            bytes: self.bytes,
            blake3: self.hash.finalize().to_hex().to_string(),
        }
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
