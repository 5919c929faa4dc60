//! A message that nobody has room for is refused with 0x97, and none that somebody has is.

use std::ops::RangeInclusive;

use crate::failure::{Failure, hold};
use crate::model::{Cause, Entry};
use crate::sim::Sim;

impl Sim<'_> {
    /// A message is not in the queue that it was for.
    pub fn note_lost(&mut self, entry: &Entry, by_limit: bool, surely: bool) {
        let fate = self.model.fate(entry.message.serial);
        fate.lost |= surely;
        fate.perhaps_lost |= by_limit;
        fate.perhaps_taken |= !surely;
    }

    /// Each publisher was told the truth about whether anybody has its message. Returns how many
    /// refusals may have been told where nobody could see it.
    pub fn compare_room(&mut self) -> Result<RangeInclusive<usize>, Failure> {
        self.note_fates();
        let (mut at_least, mut at_most) = (0, 0);
        for posted in std::mem::take(&mut self.model.turn.posted) {
            let fate = *self.model.fate(posted.serial);
            let may_be_refused = (fate.lost || fate.perhaps_lost) && !fate.taken;
            let must_be_refused = fate.lost && !fate.taken && !fate.perhaps_taken;
            match posted.refused {
                Some(true) => hold(may_be_refused, "what is acknowledged is kept", || {
                    format!(
                        "message {} was refused for want of room: {fate:?}",
                        posted.serial
                    )
                })?,
                Some(false) => hold(!must_be_refused, "what is acknowledged is kept", || {
                    format!("nobody has message {}, which was accepted", posted.serial)
                })?,
                None => {
                    at_least += usize::from(must_be_refused);
                    at_most += usize::from(may_be_refused);
                }
            }
        }
        Ok(at_least..=at_most)
    }

    /// What became of the messages of this turn, but for those lost.
    fn note_fates(&mut self) {
        let mut taken = Vec::new();
        let mut perhaps = Vec::new();
        for session in &self.model.sessions {
            let queue = session.queue.iter().filter(|entry| entry.fresh);
            let flights = session.flights.iter().filter(|flight| flight.fresh);
            let kept = queue.chain(flights.map(|flight| &flight.entry));
            let serials = kept.map(|entry| entry.message.serial);
            match session.ended {
                true => perhaps.extend(serials),
                false => taken.extend(serials),
            }
        }
        for choice in &self.model.turn.chosen {
            match (&choice.cause, &choice.taken) {
                (Cause::Published, Some((_, entry, _))) => taken.push(entry.message.serial),
                (Cause::Published, None) => {
                    perhaps.extend(choice.members.first().map(|(.., it)| it.message.serial));
                }
                (Cause::Left(left), _) => perhaps.push(left.entry.message.serial),
                (Cause::Perhaps { .. }, _) => {
                    perhaps.extend(choice.members.first().map(|(.., it)| it.message.serial));
                }
            }
        }
        for serial in taken {
            self.model.fate(serial).taken = true;
        }
        for serial in perhaps {
            let fate = self.model.fate(serial);
            (fate.perhaps_taken, fate.perhaps_lost) = (true, true);
        }
    }
}
