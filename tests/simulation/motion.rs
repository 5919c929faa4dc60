//! What moves by itself: time and its timers, and all that nobody holds back.

use cofferdam::broker::Shard;
use cofferdam::time::Span;

use crate::failure::{Failure, Kept, broken};
use crate::sim::Sim;

impl Sim<'_> {
    /// Time passes; what falls due on the way happens at its own time.
    pub fn pass(&mut self, micros: u64) -> Kept {
        let end = self.now + Span::from_micros(micros);
        for _ in 0..100_000 {
            let timers = self.shards.iter().filter_map(Shard::next_timer);
            let next = timers.chain(self.model.next_due()).min();
            let Some(next) = next.filter(|next| *next <= end) else {
                self.now = end;
                return Ok(());
            };
            self.now = self.now.max(next);
            for shard in 0..self.plan.shards {
                let lines = self.lines_by_place(shard);
                self.model.begin_turn(shard, self.now);
                self.shards[usize::from(shard)].tick(self.now);
                self.model.tick(&lines);
                self.end_turn(shard)?;
            }
            self.run()?;
        }
        Err(broken("no shard stalls", "a timer fires for ever"))
    }

    /// The lines of a shard, in the order of their places in its table.
    fn lines_by_place(&self, shard: u16) -> Vec<usize> {
        let on = |line: &usize| self.wires[*line].at.or(self.wires[*line].lingers);
        let mut lines: Vec<usize> = self.busy.clone();
        lines.retain(|line| on(line).is_some_and(|(at, _)| at == shard));
        lines.sort_by_key(|line| on(line).map(|(_, conn)| conn.index));
        lines
    }

    /// Carries everything to where it goes, but for what is held back.
    pub fn run(&mut self) -> Kept {
        for _ in 0..100_000 {
            if !self.run_once()? {
                return Ok(());
            }
        }
        Err(broken("no shard stalls", "the world never comes to rest"))
    }

    fn run_once(&mut self) -> Result<bool, Failure> {
        let mut moved = false;
        self.busy.retain(|line| {
            let wire = &self.wires[*line];
            wire.at.is_some() || wire.open || wire.lingers.is_some()
        });
        for line in self.busy.clone() {
            let who = self.model.lines[line].who;
            let is_latest = self.clients[who].line == Some(line);
            if is_latest && self.clients[who].prompt && self.clients[who].ready {
                moved |= self.answer(who, usize::MAX, false);
            }
            if !(is_latest && self.clients[who].trickle) {
                moved |= self.feed(line, usize::MAX)?;
            }
            let client = &mut self.clients[who];
            if !is_latest || client.reading {
                moved |= self.flush(line, usize::MAX)?;
            } else if client.room > 0 {
                let room = std::mem::take(&mut client.room);
                moved |= self.flush(line, room)?;
            }
        }
        while !self.hold_logins && !self.logins.is_empty() {
            moved = true;
            self.judge(0)?;
        }
        for shard in 0..self.plan.shards {
            if self.hold_turns {
                break;
            }
            if self.shards[usize::from(shard)].has_output()
                || self.shards[usize::from(shard)].has_unread()
            {
                moved = true;
                self.go_on(shard)?;
            }
        }
        if !self.hold_between {
            for pair in self.waiting() {
                moved = true;
                self.deliver(pair)?;
            }
        }
        if !self.storage.hold {
            moved |= self.keep(usize::MAX)?;
        }
        Ok(moved)
    }
}
