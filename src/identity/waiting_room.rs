//! A place for slow work: so many at work, so many waiting, and nobody else let in.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bounds both how many work at once and how many wait for it.
#[derive(Debug)]
pub(super) struct WaitingRoom {
    seats: Arc<Semaphore>,
    waiting: AtomicUsize,
    waiting_max: usize,
}

/// The room has no place left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// One who waits; leaves when dropped, also when the wait is given up.
struct Waiting<'a>(&'a AtomicUsize);

impl WaitingRoom {
    pub(super) fn new(seats: usize, waiting_max: usize) -> Self {
        Self {
            seats: Arc::new(Semaphore::new(seats.max(1))),
            waiting: AtomicUsize::new(0),
            waiting_max,
        }
    }

    /// A seat, first come first served. It is taken until the permit is dropped: whoever starts
    /// work that cannot be given up hands the permit to that work.
    pub(super) async fn enter(&self) -> Result<OwnedSemaphorePermit, Full> {
        if let Ok(permit) = Arc::clone(&self.seats).try_acquire_owned() {
            return Ok(permit);
        }
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.waiting_max {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(Full);
        }
        let _waiting = Waiting(&self.waiting);
        // The semaphore is never closed; were it, nobody could be served.
        Arc::clone(&self.seats)
            .acquire_owned()
            .await
            .map_err(|_| Full)
    }

    /// How many wait now.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_more_than_the_room_holds_is_turned_away_and_who_leaves_makes_room() {
        let room = Arc::new(WaitingRoom::new(1, 2));
        let seated = room.enter().await.unwrap();
        let mut waiting: Vec<_> = (0..2)
            .map(|_| {
                let room = Arc::clone(&room);
                tokio::spawn(async move { room.enter().await.map(drop) })
            })
            .collect();
        while room.waiting() < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(room.enter().await.map(drop), Err(Full));

        let gave_up = waiting.pop().unwrap();
        gave_up.abort();
        let _ = gave_up.await;
        assert_eq!(room.waiting(), 1);

        drop(seated);
        assert_eq!(waiting.pop().unwrap().await.unwrap(), Ok(()));
        assert_eq!(room.waiting(), 0);
    }
}
