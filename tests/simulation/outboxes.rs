//! What shards wrote to their connections' outboxes since they were last looked at, whether it may
//! leave yet or waits for the journal.

use cofferdam::wire::client::{ServerPacket, read};

use crate::failure::{Failure, broken, hold};
use crate::model::Phase;
use crate::sim::Sim;

/// A packet that was written: for which line, whether it is held, and its length.
pub type News = (usize, bool, usize, ServerPacket);

impl Sim<'_> {
    /// Reads what was written to the outboxes since they were last looked at; those of connections
    /// that are over come first.
    pub fn look_at_outboxes(&mut self, shard: u16) -> Result<Vec<News>, Failure> {
        let mut touched = Vec::new();
        self.shards[usize::from(shard)].take_touched(&mut touched);
        let mut written = Vec::new();
        for line in self.lines_on(shard) {
            let wire = &self.wires[line];
            let Some((at, conn)) = wire.at.or(wire.lingers).filter(|(at, _)| *at == shard) else {
                continue;
            };
            let (looked, looked_held) = (wire.looked, wire.looked_held);
            let Some(outbox) = self.shards[usize::from(at)].outbox(conn) else {
                continue;
            };
            let (ready, held) = (outbox.ready(), outbox.held_bytes().len());
            let encoded = outbox.len() - held;
            if (encoded, held, ready) == (looked, looked_held, wire.ready) {
                continue;
            }
            let bytes: Vec<u8> = outbox.encoded_pieces().flatten().copied().collect();
            let held_bytes = outbox.held_bytes().to_vec();
            let is_told = ready <= self.wires[line].ready || touched.contains(&conn);
            hold(is_told, "no effect lost", || {
                format!("bytes for {} that nobody is told of", self.name(line))
            })?;
            self.release(line, encoded, held);
            let looked = self.wires[line].looked;
            let looked_held = self.wires[line].looked_held;
            let rest = bytes.get(looked..).unwrap_or_default();
            let at_once = self.read_packets(line, false, rest)?;
            let rest = held_bytes.get(looked_held..).unwrap_or_default();
            let later = self.read_packets(line, true, rest)?;
            let wire = &mut self.wires[line];
            (wire.looked, wire.looked_held, wire.ready) = (encoded, held, ready);
            written.extend(self.in_order(line, at_once, later));
        }
        let model = &self.model;
        written.sort_by_key(|(line, ..)| model.lines[*line].phase == Phase::Active);
        Ok(written)
    }

    /// What was held leaves behind what was there: so much of it is held still. Or it does not leave
    /// any more, for DISCONNECT is the last word, which is shorter than anything that is held.
    fn release(&mut self, line: usize, encoded: usize, held: usize) {
        let wire = &mut self.wires[line];
        if encoded < wire.looked + wire.looked_held.saturating_sub(held) {
            wire.held.clear();
            wire.looked_held = 0;
        }
        while wire.looked_held > held
            && let Some(released) = wire.held.pop_front()
        {
            wire.looked_held = wire.looked_held.saturating_sub(released.length);
            wire.looked += released.length;
            wire.untaken.push_back(released);
        }
    }

    fn read_packets(
        &self,
        line: usize,
        is_held: bool,
        mut rest: &[u8],
    ) -> Result<Vec<News>, Failure> {
        let on = &self.model.lines[line];
        let (version, max) = (on.version, on.max_packet);
        let mut news = Vec::new();
        while !rest.is_empty() {
            let packet = read(rest, version);
            let packet = packet.map_err(|error| broken("packets are right", format!("{error}")))?;
            let (packet, length) =
                packet.ok_or_else(|| broken("packets are right", "half a packet was written"))?;
            hold(length <= max, "maximum packet size", || {
                format!("{length} bytes for a client that takes {max}: {packet:?}")
            })?;
            rest = &rest[length..];
            news.push((line, is_held, length, packet));
        }
        Ok(news)
    }

    /// What was written in one turn, some of it to leave later: as it was written, as far as that
    /// shows. What is sent again comes first, in the order in which it was sent.
    fn in_order(&self, line: usize, at_once: Vec<News>, later: Vec<News>) -> Vec<News> {
        if at_once.is_empty() || later.is_empty() {
            return at_once.into_iter().chain(later).collect();
        }
        let uid = self.model.lines[line].session;
        let place = uid.and_then(|uid| self.model.place(uid));
        let again = |(.., packet): &News| {
            let session = &self.model.sessions[place?];
            let id = match packet {
                ServerPacket::Publish(publish) if publish.dup => publish.packet_id?,
                ServerPacket::PubRel { packet_id, .. } => *packet_id,
                _ => return None,
            };
            let at = session.flight(id)?;
            (!session.flights[at].sent).then_some(at)
        };
        let key = |news: &News| again(news).unwrap_or(usize::MAX);
        let (mut at_once, mut later) =
            (at_once.into_iter().peekable(), later.into_iter().peekable());
        let mut merged = Vec::new();
        loop {
            let is_later = match (at_once.peek(), later.peek()) {
                (Some(one), Some(other)) => key(other) < key(one),
                (one, _) => one.is_none(),
            };
            match if is_later {
                later.next()
            } else {
                at_once.next()
            } {
                Some(news) => merged.push(news),
                None => return merged,
            }
        }
    }
}
