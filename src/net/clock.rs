//! Where the core's time comes from: the wall clock once, the monotonic clock from then on.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::time::Time;

/// Reads the time. All shards share one reading of the wall clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    /// Microseconds since the Unix epoch at `started`.
    epoch_us: u64,
}

impl Clock {
    /// Starts with the wall clock's reading.
    pub fn start() -> Self {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            started: Instant::now(),
            epoch_us: wall.as_micros() as u64,
        }
    }

    /// The time now.
    pub fn now(&self) -> Time {
        Time::from_micros(self.epoch_us + self.started.elapsed().as_micros() as u64)
    }

    /// The instant that `time` stands for, for a runtime's timers.
    pub fn instant(&self, time: Time) -> Instant {
        let since = time.as_micros().saturating_sub(self.epoch_us);
        // A timer a year ahead is as good as none, and no platform's clock overflows by it.
        let year_us = 365 * 24 * 3600 * 1_000_000;
        self.started + std::time::Duration::from_micros(since.min(year_us))
    }
}
