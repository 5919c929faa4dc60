//! QoS 0 for those who read too slowly: the newest messages wait, the oldest are dropped and counted.

use cofferdam::broker::Drop;
use cofferdam::session::Queued;
use cofferdam::wire::QoS;

use crate::expected::is_queued;
use crate::failure::{Kept, broken, hold};
use crate::model::{Choice, Entry, Phase};
use crate::sim::Sim;

/// What a message that waits counts beside its bytes.
pub const EACH_LATE: usize = 64;

impl Sim<'_> {
    /// What waits for each reader, which is of that owed to it.
    pub fn look_at_late(&mut self, shard: u16) -> Kept {
        for place in 0..self.model.sessions.len() {
            let session = &self.model.sessions[place];
            let Some(line) = session.line.filter(|_| session.shard == shard) else {
                continue;
            };
            let late: Vec<Queued> = match self.wires[line].at.or(self.wires[line].lingers) {
                Some((at, conn)) => self.shards[usize::from(at)].late(conn).collect(),
                None => continue,
            };
            let bytes: usize = late.iter().map(|it| it.message.size() + EACH_LATE).sum();
            hold(bytes <= self.late_at_most(), "limits hold", || {
                format!("{bytes} bytes are late for {}", self.name(line))
            })?;
            for item in late.iter().rev() {
                let entry = self.match_late(place, line, item)?;
                let mut after = self.model.sessions[place].late.iter();
                let overtaken = after.find(|(on, other)| *on == line && other.is_before(&entry));
                hold(overtaken.is_none(), "order is kept", || {
                    format!("late after what came later: {entry:?}, {overtaken:?}")
                })?;
                self.model.sessions[place].late.push((line, entry));
            }
            self.model.sessions[place].late.reverse();
        }
        Ok(())
    }

    fn match_late(
        &mut self,
        place: usize,
        line: usize,
        item: &Queued,
    ) -> Result<Entry, crate::failure::Failure> {
        let at_once = &mut self.model.sessions[place].at_once;
        let is_it = |(on, entry): &(usize, Entry)| *on == line && is_queued(entry, item);
        let is_known = |it: &(usize, Entry)| it.1.seen.is_some() && is_it(it);
        let found = at_once.iter().rposition(is_known);
        let found = found.or_else(|| at_once.iter().rposition(is_it));
        let mut entry = match found {
            Some(at) => at_once.remove(at).1,
            None => {
                let uid = self.model.sessions[place].uid;
                let chosen = self.choose(uid, false, |entry| is_queued(entry, item))?;
                chosen.ok_or_else(|| {
                    let name = self.name(line);
                    broken(
                        "nobody gets what is not his",
                        format!("late for {name}: {item:?}"),
                    )
                })?
            }
        };
        entry.seen = Some(std::sync::Arc::clone(&item.message));
        Ok(entry)
    }

    /// What is neither late nor was sent has a reason for it.
    pub fn compare_late(&mut self, shard: u16) -> Kept {
        let (mut dropped, mut perhaps) = (0, 0);
        for place in 0..self.model.sessions.len() {
            let session = &mut self.model.sessions[place];
            if session.shard != shard {
                continue;
            }
            let late = std::mem::take(&mut session.late);
            for (_, entry) in &late {
                let fate = self.model.turn.fates.entry(entry.message.serial);
                fate.or_default().taken = true;
            }
            let lost = std::mem::replace(&mut session.at_once, late);
            let who = self.plan.name(session.who);
            let given = given_at_once(&self.model.turn.choices, session.uid);
            for (line, entry) in &lost {
                let over = self.model.lines[*line].phase != Phase::Active;
                let too_large = self.reader(*line).may_be_too_large(entry);
                let others = lost.iter().filter(|(on, _)| on == line);
                let others = others.map(|(_, entry)| entry).chain(&given);
                let is_full = self.may_drop_late(place, *line, others);
                perhaps += u64::from(is_full);
                let fate = self.model.fate(entry.message.serial);
                fate.perhaps_taken = true;
                if over || entry.doubtful || self.is_expired(entry) || too_large {
                    continue;
                }
                self.model.fate(entry.message.serial).taken = true;
                dropped += 1;
                hold(is_full, "QoS 0 reaches those who read", || {
                    format!("{who} loses {entry:?}")
                })?;
                let mut kept = self.model.sessions[place].at_once.iter();
                let older = kept.find(|(on, other)| on == line && other.is_before(entry));
                hold(older.is_none(), "the oldest are dropped", || {
                    format!("{who} loses {entry:?} and keeps {older:?}")
                })?;
            }
            for (line, entry) in lost {
                let bytes = self.model.turn.at_once.entry(line).or_default();
                *bytes += entry.message.size() + EACH_LATE;
            }
        }
        let told = self.counted(shard, Drop::SlowConsumer);
        let of_groups = self.model.turn.choices.iter();
        let of_groups = of_groups
            .filter(|choice| choice.taken.is_none() && !choice.members.is_empty())
            .count() as u64;
        hold(
            (dropped..=perhaps + of_groups).contains(&told),
            "drops are counted",
            || {
                format!(
                    "{told} for slow readers, in truth {dropped} to {}",
                    perhaps + of_groups
                )
            },
        )
    }

    /// Whether some of these, all for one line, may have been dropped to make room for newer ones.
    pub fn may_drop_late<'e>(
        &'e self,
        place: usize,
        line: usize,
        more: impl Iterator<Item = &'e Entry>,
    ) -> bool {
        let waits = self.model.sessions[place].at_once.iter();
        let waits = waits.filter(|(on, _)| *on == line);
        let bytes: usize = waits
            .map(|(_, entry)| entry)
            .chain(more)
            .map(|entry| entry.message.size() + EACH_LATE)
            .sum();
        let sent = self.model.turn.at_once.get(&line).copied().unwrap_or(0);
        bytes + sent > self.late_at_most()
    }

    /// Bytes that may be late for one connection.
    const fn late_at_most(&self) -> usize {
        self.plan.limits.max_outbox_bytes as usize / 2
    }

    /// How often something was counted as dropped in this turn.
    pub fn counted(&self, shard: u16, why: Drop) -> u64 {
        let now = self.shards[usize::from(shard)].counters();
        let before = &self.counted[usize::from(shard)];
        now.dropped[why as usize] - before.dropped[why as usize]
    }
}

/// What share groups gave, or may have given, to a session and it does not have: it may have driven
/// others out, and been too large itself.
pub fn given_at_once(choices: &[Choice], uid: u64) -> Vec<Entry> {
    let open = choices.iter().filter(|choice| choice.taken.is_none());
    let given = open.filter_map(|choice| choice.offer(uid, |it| it.qos == QoS::AtMostOnce));
    given.cloned().collect()
}
