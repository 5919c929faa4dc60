//! What a session publishes, against the rates of its client and of its team.

use crate::limits::{ClientLimits, Limit, OverRate, Spent, TeamLimits};
use crate::team::Bounds;
use crate::time::{Span, Time};

/// How often one session's hits of a limit go on record.
const TOLD_EVERY: Span = Span::from_secs(1);

/// The buckets of one session, and which limits they are held against.
#[derive(Debug, Default)]
pub struct Meter {
    /// [`Bounds::generation`] as last looked at.
    pub seen: u32,
    /// Some rate is set.
    pub is_on: bool,
    spent: Spent,
    /// Hits that are not on record.
    untold: u64,
    /// When they may next go on record.
    tell_at: Time,
}

/// A rate was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Over {
    /// Which; of several, the one that takes longest.
    pub limit: Limit,
    /// When the client may go on.
    pub until: Time,
    /// What becomes of it.
    pub then: OverRate,
}

impl Meter {
    /// Other limits are in force.
    pub fn renew(&mut self, generation: u32, limits: &TeamLimits) {
        self.seen = generation;
        self.is_on = limits.is_metered();
        self.spent = Spent::default();
    }

    /// Counts one PUBLISH of so many bytes. It is counted in full, over a rate or not.
    pub fn count(&mut self, bounds: &Bounds, length: usize, now: Time) -> Option<Over> {
        self.take(bounds, (1, length as u64), now)
    }

    /// Whether something is still to be paid for before anything more is published.
    pub fn owes(&mut self, bounds: &Bounds, now: Time) -> Option<Over> {
        self.take(bounds, (0, 0), now)
    }

    /// What its client has spent.
    pub const fn spent(&self) -> Spent {
        self.spent
    }

    /// A session begins with what its client has spent in others: another session is no way round a
    /// rate.
    pub const fn inherit(&mut self, spent: Spent) {
        self.spent = self.spent.or_more(spent);
    }

    fn take(&mut self, bounds: &Bounds, (messages, bytes): (u64, u64), now: Time) -> Option<Over> {
        let limits = bounds.limits();
        let ClientLimits {
            message_rate,
            byte_rate,
            ..
        } = limits.client;
        let taken = [
            (
                Limit::ClientMessageRate,
                message_rate.map(|rate| self.spent.messages.take(rate, messages, now)),
            ),
            (
                Limit::ClientByteRate,
                byte_rate.map(|rate| self.spent.bytes.take(rate, bytes, now)),
            ),
            (
                Limit::MessageRate,
                (limits.message_rate).map(|rate| bounds.messages.take(rate, messages, now)),
            ),
            (
                Limit::ByteRate,
                (limits.byte_rate).map(|rate| bounds.bytes.take(rate, bytes, now)),
            ),
        ];
        let ready = taken
            .into_iter()
            .filter_map(|(limit, until)| Some((until?, limit)));
        let (until, limit) = ready.max_by_key(|(until, _)| *until)?;
        (until > now).then_some(Over {
            limit,
            until,
            then: limits.over_rate,
        })
    }

    /// A limit was hit. Returns how many hits are to go on record now: a client that is slowed is over
    /// its rate with every message.
    pub fn tell(&mut self, now: Time) -> Option<u64> {
        self.untold += 1;
        if now < self.tell_at {
            return None;
        }
        self.tell_at = now + TOLD_EVERY;
        Some(std::mem::take(&mut self.untold))
    }
}
