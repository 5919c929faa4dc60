//! What a turn led to, compared with what the model says that it had to.

use std::ops::RangeInclusive;

use cofferdam::broker::{Batch, Effect, EventKind};
use cofferdam::wire::client::ServerPacket;
use cofferdam::wire::{ReasonCode, Version};

use crate::expected::Reader;
use crate::failure::{Failure, Kept, broken, hold};
use crate::model::{Answer, Promise, Records};
use crate::promises::{Seal, in_turn};
use crate::sim::{Deliveries, Sim};
use crate::wire::Written;

/// A batch for a shard, and what the model knows of what is in it.
type Carried = (u16, Batch, Deliveries);

impl Sim<'_> {
    /// Compares everything. Returns the batches with what they have to carry.
    pub fn observe(
        &mut self,
        shard: u16,
        batches: Vec<(u16, Batch)>,
        effects: &[Effect],
        commit: Option<u64>,
    ) -> Result<Vec<Carried>, Failure> {
        self.meet_new_sessions(shard);
        self.forget_withdrawn();
        self.look_at_queues(shard)?;
        self.look_at_late(shard)?;
        let written = self.look_at_outboxes(shard)?;
        for (line, is_held, length, packet) in written {
            let seal = self.judge_packet(line, packet.clone())?;
            let written = Written {
                length,
                packet,
                seal,
                is_shown: false,
            };
            let wire = &mut self.wires[line];
            match is_held {
                true => wire.held.push_back(written),
                false => wire.untaken.push_back(written),
            }
        }
        self.look_at_unseen(shard)?;
        self.compare_queues(shard)?;
        self.compare_late(shard)?;
        let carried = self.compare_batches(shard, batches, commit)?;
        self.compare_choices(shard)?;
        let refused_unseen = self.compare_room()?;
        self.compare_refusals(effects, refused_unseen)?;
        self.compare_effects(shard, effects)?;
        self.compare_lines(shard)?;
        self.compare_sessions(shard)?;
        self.note_places(shard);
        self.compare_promises(shard)?;
        self.counted[usize::from(shard)] = self.shards[usize::from(shard)].counters();
        self.model.sessions.retain(|session| !session.ended);
        for session in &mut self.model.sessions {
            session.sort_fresh();
            session.was_on = None;
            session.replays.retain(|replay| !replay.over);
            session
                .queue
                .iter_mut()
                .for_each(|entry| entry.fresh = false);
            session
                .flights
                .iter_mut()
                .for_each(|flight| flight.fresh = false);
        }
        Ok(carried)
    }

    /// Whether a client had a message before it lost the right to it is the network's luck.
    fn forget_withdrawn(&mut self) {
        for (uid, entry) in std::mem::take(&mut self.model.turn.withdrawn) {
            if let Some(place) = self.model.place(uid) {
                let who = self.model.sessions[place].who;
                let payload = entry.message.payload.clone();
                self.clients[who].undecided.insert((uid, payload));
            }
        }
    }

    /// Notes where sessions live that the model has just made.
    fn meet_new_sessions(&mut self, shard: u16) {
        let core = &self.shards[usize::from(shard)];
        let new = self.model.sessions.iter_mut();
        for session in new.filter(|s| s.address.is_none() && s.shard == shard) {
            let (person, id) = (
                self.plan.person(session.who),
                self.plan.client_id(session.who),
            );
            let found = core
                .sessions()
                .find(|held| *held.key.username == *person.username && *held.key.client_id == *id);
            session.address = found.map(|held| held.address);
        }
    }

    /// Whose line it is, in words.
    pub fn name(&self, line: usize) -> String {
        self.plan.name(self.model.lines[line].who)
    }

    /// Who reads on a line.
    pub fn reader(&self, line: usize) -> Reader<'_> {
        let on = &self.model.lines[line];
        Reader {
            person: &self.model.people[on.who],
            version: on.version,
            max_packet: on.max_packet,
            now: self.now,
        }
    }

    fn judge_packet(&mut self, line: usize, packet: ServerPacket) -> Result<Seal, Failure> {
        let answer = |kind, id, codes: &[ReasonCode]| Answer {
            kind,
            id,
            codes: codes.iter().map(|code| code.as_byte()).collect(),
            properties: Vec::new(),
            promise: Promise::Nothing,
        };
        let found = match packet {
            ServerPacket::Publish(publish) => return self.judge_publish(line, publish),
            ServerPacket::PubRel {
                packet_id, reason, ..
            } => {
                return self.judge_release(line, packet_id, reason);
            }
            ServerPacket::ConnAck(connack) => {
                let mut properties: Vec<String> = connack
                    .properties
                    .iter()
                    .map(|p| format!("{p:?}"))
                    .collect();
                properties.sort();
                if connack.code != 0 {
                    properties.clear();
                }
                Answer {
                    kind: "CONNACK",
                    id: u16::from(connack.session_present),
                    codes: vec![connack.code],
                    properties,
                    promise: Promise::Nothing,
                }
            }
            ServerPacket::PubAck {
                packet_id, reason, ..
            } => answer("PUBACK", packet_id, &[reason]),
            ServerPacket::PubRec {
                packet_id, reason, ..
            } => answer("PUBREC", packet_id, &[reason]),
            ServerPacket::PubComp {
                packet_id, reason, ..
            } => answer("PUBCOMP", packet_id, &[reason]),
            ServerPacket::SubAck {
                packet_id, codes, ..
            } => answer("SUBACK", packet_id, &codes),
            ServerPacket::UnsubAck {
                packet_id, codes, ..
            } => answer("UNSUBACK", packet_id, &codes),
            ServerPacket::PingResp => answer("PINGRESP", 0, &[]),
            ServerPacket::Disconnect { reason, .. } => answer("DISCONNECT", 0, &[reason]),
            ServerPacket::Auth { .. } => return Err(broken("answers are right", "AUTH")),
        };
        let answers = &mut self.model.lines[line].answers;
        // What waits for the journal is overtaken by what does not.
        let at = answers
            .iter()
            .position(|owed| (owed.kind, owed.id) == (found.kind, found.id));
        let at = at.filter(|_| self.model.journal).unwrap_or(0);
        let owed = answers.remove(at);
        let promise = owed.as_ref().map_or(Promise::Nothing, |owed| owed.promise);
        let right = owed.as_ref().is_some_and(|owed| match owed.kind {
            "PUBACK" | "PUBREC" => {
                let same = (owed.kind, owed.id) == (found.kind, found.id);
                same && owed.codes.contains(&found.codes[0])
            }
            _ => {
                *owed
                    == Answer {
                        promise,
                        ..found.clone()
                    }
            }
        });
        hold(right, "answers are right", || {
            format!("{} was sent {found:?}, owed was {owed:?}", self.name(line))
        })?;
        Ok(Seal::of_answer(promise))
    }

    fn judge_release(&mut self, line: usize, id: u16, reason: ReasonCode) -> Result<Seal, Failure> {
        let uid = self.model.lines[line].session;
        let place = uid.and_then(|uid| self.model.place(uid));
        let at = place.and_then(|place| Some((place, self.model.sessions[place].flight(id)?)));
        let releases = &mut self.model.lines[line].releases;
        let asked = releases
            .iter()
            .position(|(asked, code)| *asked == id && *code == reason);
        if let Some(asked) = asked {
            releases.remove(asked);
            let is_kept = place.is_some_and(|place| self.model.sessions[place].kept);
            return Ok(Seal::of_release(match (reason, at) {
                (ReasonCode::Success, Some((place, at))) => {
                    self.model.sessions[place].flights[at].stated
                }
                // PUBCOMP has come in the same turn.
                (ReasonCode::Success, None) if self.model.lines[line].version == Version::V5 => {
                    in_turn(is_kept)
                }
                _ => 0,
            }));
        }
        let mut answered = self.model.turn.answered.iter();
        if answered.any(|(of, flight)| Some(*of) == uid && flight.id == id && flight.released) {
            return Ok(Seal::NONE);
        }
        match at {
            Some((place, at)) if self.is_release_due(line, place, at) => {
                let flight = &mut self.model.sessions[place].flights[at];
                flight.sent = true;
                Ok(Seal::of_release(flight.stated))
            }
            _ => Err(broken(
                "exactly once",
                format!(
                    "{} was sent PUBREL {id}, which nothing asks for",
                    self.name(line)
                ),
            )),
        }
    }

    /// Whether a PUBREL is due again, and everything before it was sent again.
    fn is_release_due(&self, line: usize, place: usize, at: usize) -> bool {
        let flights = &self.model.sessions[place].flights;
        flights[at].released && !flights[at].sent && !self.waits_again(line, &flights[..at])
    }

    /// Publishes refused on record: those that the model knows of, and some whose answer was not to be
    /// seen.
    fn compare_refusals(&mut self, effects: &[Effect], unseen: RangeInclusive<usize>) -> Kept {
        let refused = |effect: &&Effect| match effect {
            Effect::Record(event) => matches!(event.kind, EventKind::PublishRefused { .. }),
            _ => false,
        };
        let found = effects.iter().filter(refused).count();
        let due = &mut self.model.turn.records.publishes;
        let more = found.saturating_sub(*due);
        hold(unseen.contains(&more), "everything goes on record", || {
            format!("{found} publishes refused, due were {due} and of others {unseen:?}")
        })?;
        *due += more;
        Ok(())
    }

    fn compare_effects(&mut self, shard: u16, effects: &[Effect]) -> Kept {
        let mut found = Records::default();
        for effect in effects {
            match effect {
                Effect::Record(event) => match event.kind {
                    EventKind::Connected { .. } => found.connected += 1,
                    EventKind::ConnectRefused { .. } => found.refused += 1,
                    EventKind::Disconnected { .. } => found.disconnected += 1,
                    EventKind::TakenOver { .. } => found.taken_over += 1,
                    EventKind::PublishRefused { .. } => found.publishes += 1,
                    EventKind::SubscribeRefused { .. } => found.subscribes += 1,
                    EventKind::SubscriptionEnded { .. } => found.ended += 1,
                    // What wills and expiry do is compared where it shows.
                    EventKind::WillSent { .. } | EventKind::SessionExpired { .. } => {}
                    // The platform's, folded by the hour.
                    EventKind::Crossed { .. } => {}
                    EventKind::UnsubscribeRefused { .. } => {}
                    // Nobody here has a method, watches, or rules, or has a rate.
                    EventKind::Reauthenticated
                    | EventKind::LimitHit { .. }
                    | EventKind::ReauthenticationRefused { .. }
                    | EventKind::Observed { .. }
                    | EventKind::AdminRefused { .. } => {
                        return Err(broken("everything goes on record", format!("{event:?}")));
                    }
                },
                Effect::Close(conn) => {
                    let line = self.line_of(shard, *conn);
                    let due =
                        line.is_some_and(|line| std::mem::take(&mut self.model.lines[line].closes));
                    hold(
                        due || line.is_none(),
                        "connections end when they must",
                        || {
                            format!(
                                "{} was closed",
                                line.map_or(String::new(), |line| self.name(line))
                            )
                        },
                    )?;
                }
                Effect::Move { conn, to, .. } => {
                    let line = self.line_of(shard, *conn);
                    let due = line.and_then(|line| self.model.lines[line].moves.take());
                    hold(due == Some(*to), "sessions are found again", || {
                        format!("sent to shard {to}, not to {due:?}")
                    })?;
                }
                Effect::Judge(_) | Effect::Ask(_) | Effect::Report(_) => {}
            }
        }
        let due = self.model.turn.records;
        hold(found == due, "everything goes on record", || {
            format!("recorded {found:?}, due was {due:?}")
        })
    }
}
