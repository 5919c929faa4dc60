//! The turns of a shard: what its connections may not do in one it goes on with in the next.

use cofferdam::broker::ConnId;

use crate::failure::Kept;
use crate::sim::Sim;

impl Sim<'_> {
    /// The broker was given what a connection sent: the model takes the packets that it took.
    pub fn consume(&mut self, line: usize) {
        let Some((shard, conn)) = self.wires[line].at.or(self.wires[line].lingers) else {
            return;
        };
        let mut unread = self.shards[usize::from(shard)].unread();
        let waiting = unread.find(|(id, _)| *id == conn);
        let waiting = waiting.map_or(0, |(_, bytes)| bytes);
        self.model.consume(line, waiting);
    }

    /// A shard begins a turn: it goes on with what waits to be sent.
    pub fn go_on(&mut self, shard: u16) -> Kept {
        self.model.begin_turn(shard, self.now);
        self.shards[usize::from(shard)].go_on(self.now);
        let lines = self.model.lines.iter_mut();
        lines
            .filter(|line| line.shard == shard)
            .for_each(|line| line.behind = false);
        self.end_turn(shard)
    }

    /// A shard goes on with what it had read.
    pub fn read_on(&mut self, shard: u16) -> Kept {
        self.model.begin_turn(shard, self.now);
        let core = &mut self.shards[usize::from(shard)];
        let unread: Vec<ConnId> = core.unread().map(|(conn, _)| conn).collect();
        core.read_on(self.now);
        for conn in unread {
            let Some(line) = self.line_of(shard, conn) else {
                continue;
            };
            if !self.model.lines[line].paused {
                continue; // it is over
            }
            self.model.lines[line].heard = self.now;
            self.consume(line);
            if self.model.lines[line].gone && !self.model.lines[line].paused {
                // Its outbox went with it.
                self.model
                    .turn
                    .unseen
                    .extend(self.model.lines[line].session);
                self.model.lost(line);
                self.model.lines[line].closes = true;
            }
        }
        self.end_turn(shard)
    }
}
