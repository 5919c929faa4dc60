//! The journal for `serve`: opened, read back, and what it held made ready for the shards.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::Failure;
use super::serve::failed;
use crate::config::{Config, Durability};
use crate::fact::State;
use crate::identity::Authenticator;
use crate::journal::{Journal, Opened, Progress, Recovery, Settings};
use crate::net::server::Kept;
use crate::team::{Message, World};

/// Where it is, within the data directory.
pub(super) const FOLDER: &str = "journal";

/// Seconds between two words about how far the reading is.
const WORD_EVERY: u64 = 2;

/// Where it is.
pub(super) fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join(FOLDER)
}

/// Opens the journal and reads it back; `None`: nothing is to be kept.
pub(super) fn open(config: &Config) -> Result<Option<Opened>, Failure> {
    if config.journal.durability == Durability::Memory {
        return Ok(None);
    }
    let folder = folder(&config.data_dir);
    tracing::info!(folder = %folder.display(), "reading the journal");
    let begun = Instant::now();
    let mut words = 0;
    let mut progress = |at: Progress| {
        let due = begun.elapsed().as_secs() / WORD_EVERY;
        if due > words {
            words = due;
            let (mib, of_mib) = (at.bytes >> 20, at.of >> 20);
            tracing::info!(mib, of_mib, messages = at.messages, "reading the journal");
        }
    };
    let opened = Journal::open(&folder, Settings::default(), &mut progress).map_err(failed)?;
    report(&opened.report, begun);
    Ok(Some(opened))
}

fn report(found: &Recovery, begun: Instant) {
    if let Some(torn) = &found.torn {
        tracing::warn!(file = %torn.file, offset = torn.offset, bytes = torn.bytes,
            "the end of the journal was cut: it was being written when the broker stopped, and \
             nobody was told that it was kept");
    }
    for damage in &found.damaged {
        let kept_in = damage.kept_in.as_deref().unwrap_or("nowhere");
        tracing::error!(file = %damage.file, offset = damage.offset, bytes = damage.bytes, kept_in,
            "a part of the journal cannot be read and was set aside; everything else serves");
    }
    for file in &found.missing {
        tracing::error!(
            file,
            "a file of the journal is missing; everything else serves"
        );
    }
    tracing::info!(
        sessions = found.sessions,
        messages = found.messages,
        mib = found.bytes >> 20,
        ms = begun.elapsed().as_millis(),
        "the journal is read"
    );
}

/// Puts retained messages back, and has the sessions ready for their shards. Sessions whose principal
/// is nobody's any more are ended.
pub(super) async fn restore(
    opened: Opened,
    world: &World,
    judge: &Authenticator,
    revision: i64,
) -> Result<Kept, Failure> {
    let Opened { state, log, .. } = opened;
    let State {
        sessions,
        messages,
        retained,
        highest,
        ..
    } = state;
    let messages: HashMap<_, Arc<Message>> = messages
        .into_iter()
        .map(|(number, kept)| (number, kept.message))
        .collect();
    world.restore_versions(highest.version);
    for (_, kept) in retained {
        if let Some(message) = kept.message.and_then(|number| messages.get(&number)) {
            world.restore_retained(Arc::clone(message), kept.version);
        }
    }
    let terms = sessions.values().filter_map(|kept| kept.terms.as_ref());
    let terms: Vec<_> = terms.map(|terms| &**terms).collect();
    let grants = judge.grants_of(&terms, revision).await.map_err(failed)?;
    let mut grants = grants.into_iter();
    let (mut ready, mut ended) = (Vec::with_capacity(sessions.len()), Vec::new());
    for (number, kept) in sessions {
        let grant = match kept.terms {
            Some(_) => grants.next().flatten(),
            None => None,
        };
        match grant {
            Some(grant) => ready.push((number, kept, grant)),
            None => ended.push(number),
        }
    }
    if !ended.is_empty() {
        tracing::info!(
            sessions = ended.len(),
            "sessions ended, whose clients are gone"
        );
    }
    Ok(Kept {
        log,
        sessions: ready,
        ended,
        messages: Arc::new(messages),
        highest,
    })
}
