//! The spool's writing end: one write and one sync for each batch.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use super::frame::{self, HEADER_BYTES};
use super::{Bounds, Segment, Spool};

/// Appends to the spool. There is one; dropped, the spool is closed.
#[derive(Debug)]
pub(in crate::audit) struct Appender {
    spool: Spool,
    bounds: Bounds,
    run: i64,
    /// The number of the next record.
    next: i64,
    /// The name of the next segment.
    ordinal: u64,
    /// The segment that is written to, and its synced length.
    open: Option<(File, u64)>,
    bytes: Vec<u8>,
    /// Tests make writing fail.
    #[cfg(test)]
    pub(in crate::audit) broken: std::sync::Arc<std::sync::atomic::AtomicBool>,
    /// Tests make it hang.
    #[cfg(test)]
    pub(in crate::audit) stuck: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

/// Why a batch is not in the spool. It may be tried again; its numbers stay the same.
#[derive(Debug, thiserror::Error)]
pub(in crate::audit) enum AppendError {
    /// As large as it may be.
    #[error("the audit spool is full: the database has not taken {bytes} bytes of it")]
    Full {
        /// On disk.
        bytes: u64,
    },
    /// The disk.
    #[error("the audit spool cannot be written: {0}")]
    Disk(#[from] io::Error),
}

impl Appender {
    pub(super) fn new(spool: Spool, bounds: Bounds, run: i64, ordinal: u64) -> Self {
        Self {
            spool,
            bounds,
            run,
            next: 0,
            ordinal,
            open: None,
            bytes: Vec::new(),
            #[cfg(test)]
            broken: Default::default(),
            #[cfg(test)]
            stuck: Default::default(),
        }
    }

    /// Appends records and syncs them: when this returns, they outlive the machine. After an error
    /// none of them counts.
    pub(in crate::audit) fn append(&mut self, payloads: &[Vec<u8>]) -> Result<(), AppendError> {
        self.bytes.clear();
        let mut number = self.next;
        for payload in payloads {
            frame::put(&mut self.bytes, number, payload);
            number += 1;
        }
        let held = self.spool.bytes();
        let more = (self.bytes.len() + HEADER_BYTES) as u64;
        if held + more > self.bounds.total && held > 0 {
            // The open segment could not be deleted; the next one is begun when there is room.
            self.roll();
            return Err(AppendError::Full { bytes: held });
        }
        let written = self.write();
        match written {
            Ok(length) => {
                self.next = number;
                self.publish(length);
                if length >= self.bounds.segment {
                    self.roll();
                }
                Ok(())
            }
            Err(error) => {
                // What a failed sync leaves in memory and on disk is not to be known: this segment
                // ends where it was good, and what is tried again goes to another.
                if let Some((file, good)) = self.open.take() {
                    let _ = file.set_len(good);
                }
                self.close_segment();
                Err(error.into())
            }
        }
    }

    /// Waits until there may be room again, or for so long.
    pub(in crate::audit) fn wait_for_room(&self, patience: Duration) {
        let mut segments = self.spool.0.segments.lock();
        self.spool.0.freed.wait_for(&mut segments, patience);
    }

    /// The run that it writes.
    pub(in crate::audit) fn run(&self) -> i64 {
        self.run
    }

    /// The number of the next record.
    #[cfg(test)]
    pub(in crate::audit) fn next_number(&self) -> i64 {
        self.next
    }

    /// The synced length of the open segment after the write.
    fn write(&mut self) -> io::Result<u64> {
        #[cfg(test)]
        if self.broken.load(std::sync::atomic::Ordering::Acquire) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        #[cfg(test)]
        while self.stuck.load(std::sync::atomic::Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(1));
        }
        if self.open.is_none() {
            let path = self.spool.path(self.ordinal);
            self.ordinal += 1;
            let file = begin(&path, self.run)?;
            self.open = Some((file, HEADER_BYTES as u64));
            let segment = Segment {
                ordinal: self.ordinal - 1,
                run: self.run,
                length: HEADER_BYTES as u64,
                open: true,
            };
            self.spool.0.segments.lock().known.push_back(segment);
        }
        let Some((file, length)) = &mut self.open else {
            return Err(io::ErrorKind::NotFound.into());
        };
        file.write_all(&self.bytes)?;
        file.sync_data()?;
        *length += self.bytes.len() as u64;
        Ok(*length)
    }

    /// Lets the cursors see what was synced.
    fn publish(&self, length: u64) {
        if let Some(segment) = self.spool.0.segments.lock().known.back_mut() {
            segment.length = length;
        }
        self.spool.0.grown.send_replace(());
    }

    /// The next record begins a new segment.
    fn roll(&mut self) {
        self.open = None;
        self.close_segment();
    }

    fn close_segment(&self) {
        let mut segments = self.spool.0.segments.lock();
        if let Some(segment) = segments.known.back_mut() {
            segment.open = false;
        }
        self.spool.drop_read(&mut segments);
    }
}

impl Drop for Appender {
    fn drop(&mut self) {
        self.roll();
        self.spool.0.segments.lock().closed = true;
        self.spool.0.grown.send_replace(());
    }
}

/// A new segment whose name outlives the machine.
fn begin(path: &Path, run: i64) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    let begun = file
        .write_all(&frame::header(run))
        .and_then(|()| file.sync_all())
        .and_then(|()| sync_directory(path));
    if let Err(error) = begun {
        let _ = std::fs::remove_file(path);
        return Err(error);
    }
    Ok(file)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}
