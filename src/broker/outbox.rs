//! Bytes on their way to one client.

use std::collections::VecDeque;

use bytes::Bytes;

/// What was encoded for a connection and its socket has not taken yet: small packets one after the
/// other in one buffer, large payloads shared with everyone else who gets them.
///
/// An empty outbox owns no memory: its buffer is lent by the shard while there is something in it.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Encoded bytes; those before `taken` have left.
    buffer: Vec<u8>,
    taken: usize,
    /// Shared payloads, each after the byte of `buffer` at which it belongs.
    shared: VecDeque<(usize, Bytes)>,
    shared_length: usize,
    /// What waits for the journal.
    held: Option<Box<Held>>,
}

/// Bytes that may leave only when the journal has kept what they promise.
#[derive(Debug, Default)]
struct Held {
    /// Nothing at all leaves before this commit is kept; `None`: it is.
    opens: Option<Due>,
    bytes: Vec<u8>,
    /// How many of the bytes wait for which commit, in the order of both.
    marks: VecDeque<(Due, usize)>,
}

/// What something waits for: a commit, and that it is as sure as that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// The commit.
    pub commit: u64,
    /// It is to be synced; otherwise the system is to have it.
    pub synced: bool,
}

/// How far the journal is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// The system has everything up to this commit.
    pub written: u64,
    /// It is as sure as was asked for.
    pub kept: u64,
}

impl Due {
    /// Whether it need not wait any longer.
    pub(super) const fn is_met(self, at: Progress) -> bool {
        self.commit <= at.kept || !self.synced && self.commit <= at.written
    }
}

/// Payloads from this length on are shared rather than copied: below it the copy is cheaper than
/// the reference count and the extra piece of a vectored write.
pub(super) const SHARE_FROM: usize = 4096;

/// A buffer above this capacity is not kept for the next outbox.
const KEEP_CAPACITY: usize = 64 << 10;

/// Empty buffers that wait for an outbox with something in it.
#[derive(Debug, Default)]
pub(super) struct BufferPool {
    free: Vec<Vec<u8>>,
}

impl Outbox {
    /// Bytes that wait.
    pub fn len(&self) -> usize {
        let held = self.held.as_ref().map_or(0, |held| held.bytes.len());
        self.encoded() + held
    }

    /// Whether some of them wait for the journal.
    pub const fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Whether nothing leaves before this is met anyway.
    pub(super) fn is_closed_until(&self, due: Due) -> bool {
        let opens = self.held.as_ref().and_then(|held| held.opens);
        opens.is_some_and(|opens| opens.commit >= due.commit && opens.synced >= due.synced)
    }

    /// Whether something waits that is not to be overtaken.
    pub(super) fn has_held(&self) -> bool {
        self.held
            .as_ref()
            .is_some_and(|held| !held.marks.is_empty())
    }

    /// Nothing leaves until this is met.
    pub(super) fn close_until(&mut self, due: Due) {
        self.held.get_or_insert_default().opens = Some(due);
    }

    /// Adds what may leave when this is met, whose commit is none before that of what was added last.
    /// Nothing overtakes what is held.
    pub(super) fn hold(&mut self, due: Due, encode: impl FnOnce(&mut Vec<u8>)) {
        let held = self.held.get_or_insert_default();
        encode(&mut held.bytes);
        match held.marks.back_mut() {
            Some((last, end)) if *last == due => *end = held.bytes.len(),
            _ => held.marks.push_back((due, held.bytes.len())),
        }
    }

    /// What waits for commits of its own does not leave any more.
    pub(super) fn forget_held(&mut self) {
        if let Some(held) = &mut self.held {
            held.bytes = Vec::new();
            held.marks.clear();
        }
        self.held.take_if(|held| held.opens.is_none());
    }

    /// Nothing leaves any more, where nothing may leave yet.
    pub(super) fn forget_closed(&mut self, pool: &mut BufferPool) {
        if self.held.take_if(|held| held.opens.is_some()).is_some() {
            self.advance(self.encoded());
            self.settle(pool);
        }
    }

    /// The journal is so far. Says whether something may leave now.
    pub(super) fn release(&mut self, at: Progress, pool: &mut BufferPool) -> bool {
        let Some(mut held) = self.held.take() else {
            return false;
        };
        held.opens = held.opens.filter(|due| !due.is_met(at));
        let mut length = 0;
        while let Some((_, end)) = held.marks.pop_front_if(|mark| mark.0.is_met(at)) {
            length = end;
        }
        if length > 0 {
            self.buffer(pool).extend_from_slice(&held.bytes[..length]);
            held.bytes.drain(..length);
            for (_, end) in &mut held.marks {
                *end -= length;
            }
        }
        let is_open = held.opens.is_none();
        if !(is_open && held.marks.is_empty()) {
            self.held = Some(held);
        }
        self.ready() > 0
    }

    /// Bytes that may leave now: those in [`pieces`](Self::pieces).
    pub fn ready(&self) -> usize {
        match &self.held {
            Some(held) if held.opens.is_some() => 0,
            _ => self.encoded(),
        }
    }

    /// Bytes that wait for no commit of their own.
    fn encoded(&self) -> usize {
        self.buffer.len() - self.taken + self.shared_length
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What may leave, in pieces, in order; none of them is empty.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let is_open = self.held.as_ref().is_none_or(|held| held.opens.is_none());
        self.encoded_pieces().filter(move |_| is_open)
    }

    /// The same, also of what waits with the whole outbox for a commit; to look at.
    pub fn encoded_pieces(&self) -> impl Iterator<Item = &[u8]> {
        let ends = self
            .shared
            .iter()
            .map(|(end, _)| *end)
            .chain([self.buffer.len()]);
        let payloads = self
            .shared
            .iter()
            .map(|(_, bytes)| &bytes[..])
            .chain([&[][..]]);
        let mut start = self.taken;
        ends.zip(payloads)
            .flat_map(move |(end, payload)| {
                let packed = &self.buffer[start..end];
                start = end;
                [packed, payload]
            })
            .filter(|piece| !piece.is_empty())
    }

    /// What waits for commits of its own, in order, and leaves after what is encoded by then; to look
    /// at.
    pub fn held_bytes(&self) -> &[u8] {
        self.held.as_ref().map_or(&[], |held| &held.bytes)
    }

    /// `count` bytes have left; at most as many as wait.
    pub fn advance(&mut self, mut count: usize) {
        while count > 0 {
            let end = self
                .shared
                .front()
                .map_or(self.buffer.len(), |(end, _)| *end);
            let packed = count.min(end - self.taken);
            self.taken += packed;
            count -= packed;
            let Some((_, payload)) = self.shared.front_mut() else {
                break;
            };
            if self.taken == end {
                let part = count.min(payload.len());
                bytes::Buf::advance(payload, part);
                count -= part;
                self.shared_length -= part;
                if payload.is_empty() {
                    self.shared.pop_front();
                }
            }
        }
    }

    /// Where packets are encoded.
    pub(super) fn buffer(&mut self, pool: &mut BufferPool) -> &mut Vec<u8> {
        if self.buffer.capacity() == 0 {
            self.buffer = pool.free.pop().unwrap_or_default();
        }
        &mut self.buffer
    }

    /// Adds a payload without copying it, after all that is there.
    pub(super) fn share(&mut self, payload: Bytes) {
        self.shared_length += payload.len();
        self.shared.push_back((self.buffer.len(), payload));
    }

    /// Gives the buffer back when nothing waits.
    pub(super) fn settle(&mut self, pool: &mut BufferPool) {
        if self.encoded() == 0 {
            self.taken = 0;
            self.shared = VecDeque::new();
            let mut buffer = std::mem::take(&mut self.buffer);
            if (1..=KEEP_CAPACITY).contains(&buffer.capacity()) && pool.free.len() < 256 {
                buffer.clear();
                pool.free.push(buffer);
            }
        } else if self.taken > self.buffer.len() / 2 {
            // A slow reader's buffer must not grow by what has long left.
            self.buffer.drain(..self.taken);
            for (end, _) in &mut self.shared {
                *end -= self.taken;
            }
            self.taken = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_byte_leaves_once_and_in_order(
            pieces in prop::collection::vec((any::<bool>(), 0usize..40), 0..30),
            steps in prop::collection::vec(0usize..25, 0..200),
        ) {
            let mut pool = BufferPool::default();
            let mut outbox = Outbox::default();
            let mut expected = Vec::new();
            let mut left = Vec::new();
            let mut pieces = pieces.into_iter();
            for step in steps.into_iter().chain([usize::MAX]) {
                if let Some((shared, length)) = pieces.next() {
                    let bytes: Vec<u8> = (0..length).map(|i| (expected.len() + i) as u8).collect();
                    expected.extend_from_slice(&bytes);
                    match shared {
                        true => outbox.share(Bytes::from(bytes)),
                        false => outbox.buffer(&mut pool).extend_from_slice(&bytes),
                    }
                }
                let count = step.min(outbox.len());
                let all: Vec<u8> = outbox.pieces().flatten().copied().collect();
                prop_assert_eq!(all.len(), outbox.len());
                left.extend_from_slice(&all[..count]);
                outbox.advance(count);
                outbox.settle(&mut pool);
                let packed = outbox.len() - outbox.shared_length;
                prop_assert!(outbox.buffer.len() <= 2 * packed, "what has left is kept");
            }
            prop_assert_eq!(left, expected);
            prop_assert!(outbox.is_empty() && outbox.buffer.capacity() == 0);
        }
    }
}
