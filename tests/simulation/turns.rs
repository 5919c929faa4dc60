//! The turns of a shard: what it does not do at once it goes on with in turn, team by team.
//!
//! Whose turn it is among teams the broker decides, by what their work has cost. Within one team
//! whoever waits first is served first, and nobody who waits is forgotten: that is held here, at each
//! thing that is served. The model is told in the same order.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU16;

use cofferdam::broker::{Awaited, Batch, ConnId};
use cofferdam::session::Receipt;
use cofferdam::wire::client::{ServerPacket, read};
use cofferdam::wire::{PacketId, QoS, ReasonCode, Version};

use crate::failure::{Kept, hold};
use crate::model::{Phase, Said};
use crate::sim::{Deliveries, Sim};

/// What waits in a shard, by lane.
type Lanes = HashMap<u32, VecDeque<Awaited>>;

impl Sim<'_> {
    /// The broker was given what a connection sent: the model takes the packets that it took.
    pub fn consume(&mut self, line: usize) {
        let Some((shard, conn)) = self.wires[line].at.or(self.wires[line].lingers) else {
            return;
        };
        let waiting = self.shards[usize::from(shard)].unread(conn);
        self.hear(line, shard, conn, waiting);
        self.model.consume(line, waiting);
    }

    /// A shard has a turn: everything that is served in it is compared for itself.
    pub fn go_on(&mut self, shard: u16) -> Kept {
        self.shards[usize::from(shard)].begin_turn();
        loop {
            let before = self.lanes(shard);
            self.model.begin_turn(shard, self.now);
            let served = self.shards[usize::from(shard)].serve_one(self.now);
            let Some((lane, served)) = served else {
                break;
            };
            self.compare_lanes(shard, before, lane, served)?;
            match served {
                Awaited::Reader(conn) => self.called(shard, conn),
                Awaited::Writer(_) => {}
                Awaited::Batch(count) => self.delivered(shard, lane, count),
            }
            self.end_turn(shard)?;
        }
        self.shards[usize::from(shard)].read_on();
        self.end_turn(shard)
    }

    fn lanes(&self, shard: u16) -> Lanes {
        let mut lanes = Lanes::new();
        for (lane, awaited) in self.shards[usize::from(shard)].awaited() {
            lanes.entry(lane).or_default().push_back(awaited);
        }
        lanes
    }

    /// The first of a lane was served, and all others that waited still do, in the same order.
    fn compare_lanes(&self, shard: u16, before: Lanes, lane: u32, served: Awaited) -> Kept {
        let after = self.lanes(shard);
        for (of, mut waited) in before {
            let mut waits = after.get(&of).cloned().unwrap_or_default();
            if of == lane {
                let first = waited.pop_front();
                hold(first == Some(served), "teams' turns are in order", || {
                    format!("{served:?} of lane {lane} before {first:?}")
                })?;
                // What is left of a batch comes first again.
                if deliveries_in(&waits) > deliveries_in(&waited) {
                    waits.pop_front();
                }
            }
            let still = waits.iter().take(waited.len()).eq(&waited);
            hold(still, "teams' turns are in order", || {
                format!("in lane {of} waited {waited:?}, now {waits:?}")
            })?;
        }
        Ok(())
    }

    /// A connection is to be read, or what it had sent was served.
    fn called(&mut self, shard: u16, conn: ConnId) {
        let Some(line) = self.line_of(shard, conn) else {
            return; // it is over
        };
        let on = &mut self.model.lines[line];
        on.heard = self.now;
        if !on.paused {
            return;
        }
        self.consume(line);
        let on = &mut self.model.lines[line];
        if on.gone && !on.paused {
            // Its outbox went with it.
            self.model.turn.unseen.extend(on.session);
            self.model.lost(line);
            self.model.lines[line].closes = true;
        }
    }

    /// A batch arrives. Where nobody of its team waits, a part of it is delivered at once.
    pub fn hand_over(&mut self, to: u16, batch: Batch, deliveries: Deliveries) -> Kept {
        let (lane, count) = (batch.team().number(), batch.len());
        let waited = self.lanes(to).remove(&lane).unwrap_or_default();
        self.shards[usize::from(to)].deliver_batch(batch, self.now);
        let mut waits = self.lanes(to).remove(&lane).unwrap_or_default();
        let queue = self.undelivered.entry((to, lane)).or_default();
        queue.extend(deliveries);
        let still = waits.iter().take(waited.len()).eq(&waited);
        hold(still, "teams' turns are in order", || {
            format!("in lane {lane} waited {waited:?}, now {waits:?}")
        })?;
        let left = match waits.drain(waited.len()..).next() {
            Some(Awaited::Batch(left)) => left,
            _ => 0,
        };
        hold(
            left == count || waited.is_empty(),
            "teams' turns are in order",
            || format!("{left} of {count} are left of a batch that came after {waited:?}"),
        )?;
        if waited.is_empty() {
            self.arrive(to, lane, count - left);
        }
        Ok(())
    }

    /// The batch of so many deliveries at the front of a lane had a turn.
    fn delivered(&mut self, shard: u16, lane: u32, count: usize) {
        let queue = self.undelivered.get(&(shard, lane));
        let before = queue.map_or(0, VecDeque::len);
        let waits = self.lanes(shard).remove(&lane).unwrap_or_default();
        let after = deliveries_in(&waits);
        self.arrive(shard, lane, before.saturating_sub(after).min(count));
    }

    fn arrive(&mut self, shard: u16, lane: u32, count: usize) {
        let queue = self.undelivered.entry((shard, lane)).or_default();
        let arrived: Vec<_> = queue.drain(..count).flatten().collect();
        for (uid, entry) in arrived {
            self.model.arrive(uid, entry);
        }
    }

    /// Whether a shard has still to write what waits for a connection.
    pub fn is_to_be_written(&self, line: usize) -> bool {
        let Some((shard, conn)) = self.wires[line].at.or(self.wires[line].lingers) else {
            return false;
        };
        let mut awaited = self.shards[usize::from(shard)].awaited();
        awaited.any(|(_, awaited)| awaited == Awaited::Writer(conn))
    }

    /// Notes who is not read before it is called.
    pub fn note_awaited(&mut self, shard: u16) {
        for &line in &self.busy {
            if let Some((at, conn)) = self.wires[line].at
                && at == shard
            {
                self.model.lines[line].awaited = self.shards[usize::from(at)].is_awaited(conn);
            }
        }
    }

    /// Reads, before the model is told what a connection sent, how it was answered: where nobody has
    /// room for a message is not the model's to know.
    fn hear(&mut self, line: usize, shard: u16, conn: ConnId, waiting: usize) {
        let on = &mut self.model.lines[line];
        on.acks.clear();
        if on.version != Version::V5 || on.phase != Phase::Active {
            return;
        }
        if let Some(outbox) = self.shards[usize::from(shard)].outbox(conn) {
            let wire = &self.wires[line];
            let bytes: Vec<u8> = outbox.encoded_pieces().flatten().copied().collect();
            let held = outbox.held_bytes();
            let news = [
                &bytes[wire.looked.min(bytes.len())..],
                &held[wire.looked_held.min(held.len())..],
            ];
            for mut rest in news {
                // What is wrong with it is told later.
                while let Ok(Some((packet, length))) = read(rest, Version::V5) {
                    rest = &rest[length..];
                    if let ServerPacket::PubAck {
                        packet_id, reason, ..
                    }
                    | ServerPacket::PubRec {
                        packet_id, reason, ..
                    } = packet
                    {
                        on.acks.push_back((packet_id, reason));
                    }
                }
            }
            return;
        }
        // Of a connection that has gone it shows in what is held.
        let read = on.read - waiting;
        let said = on.said.iter().take_while(|(end, _)| *end <= read);
        let ids: Vec<u16> = said
            .filter_map(|(_, said)| match said {
                Said::Publish(publish) if publish.qos == QoS::ExactlyOnce => publish.packet_id,
                _ => None,
            })
            .collect();
        let address = on
            .session
            .and_then(|uid| self.model.place(uid))
            .and_then(|place| self.model.sessions[place].address);
        let Some(held) = self.held(shard, address) else {
            return;
        };
        let acks = ids.into_iter().filter_map(|id| {
            let id_held = PacketId(NonZeroU16::new(id)?);
            let reason = match held.incoming.judge(id_held, u16::MAX) {
                Receipt::Again => ReasonCode::Success,
                Receipt::New | Receipt::TooMany => ReasonCode::QuotaExceeded,
            };
            Some((id, reason))
        });
        let acks = acks.collect();
        self.model.lines[line].acks = acks;
    }
}

fn deliveries_in(lane: &VecDeque<Awaited>) -> usize {
    let deliveries = |awaited: &Awaited| match awaited {
        Awaited::Batch(count) => *count,
        Awaited::Reader(_) | Awaited::Writer(_) => 0,
    };
    lane.iter().map(deliveries).sum()
}
