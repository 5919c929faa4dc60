//! What a turn led to, compared with what the model says that it had to.

use std::rc::Rc;

use cofferdam::broker::{Batch, Effect, EventKind};
use cofferdam::session::Queued;
use cofferdam::time::Time;
use cofferdam::wire::client::{Property, Publish, ServerPacket, read};
use cofferdam::wire::{QoS, ReasonCode};

use crate::cast::matches;
use crate::expected::{Reader, is_queued};
use crate::failure::{Failure, Kept, broken, hold};
use crate::model::{Answer, Entry, Flight, Phase, Records};
use crate::sim::Sim;

/// A batch for a shard, and what the model knows of what is in it.
type Carried = (u16, Batch, Vec<(u64, Entry)>);

impl Sim<'_> {
    /// Compares everything. Returns the batches with what they have to carry.
    pub fn observe(
        &mut self,
        shard: u16,
        batches: Vec<(u16, Batch)>,
        effects: &[Effect],
    ) -> Result<Vec<Carried>, Failure> {
        self.meet_new_sessions(shard);
        let written = self.look_at_outboxes(shard)?;
        for (line, packet) in written {
            self.judge_packet(line, packet)?;
        }
        self.compare_queues(shard)?;
        let carried = self.compare_batches(shard, batches)?;
        self.compare_choices(shard)?;
        self.compare_effects(shard, effects)?;
        self.compare_lines(shard)?;
        self.compare_sessions(shard)?;
        self.counted[usize::from(shard)] = self.shards[usize::from(shard)].counters();
        self.model.sessions.retain(|session| !session.ended);
        for session in &mut self.model.sessions {
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

    /// Reads what was written to the outboxes since they were last looked at; those of connections
    /// that are over come first.
    fn look_at_outboxes(&mut self, shard: u16) -> Result<Vec<(usize, ServerPacket)>, Failure> {
        let mut touched = Vec::new();
        self.shards[usize::from(shard)].take_touched(&mut touched);
        let mut written = Vec::new();
        for conn in touched {
            let Some(line) = self.line_of(shard, conn) else {
                continue;
            };
            let Some(outbox) = self.shards[usize::from(shard)].outbox(conn) else {
                continue;
            };
            let wire = &mut self.wires[line];
            let bytes: Vec<u8> = outbox.pieces().flatten().copied().collect();
            let (version, max) = {
                let line = &self.model.lines[line];
                (line.version, line.max_packet)
            };
            while wire.looked < bytes.len() {
                let packet = read(&bytes[wire.looked..], version);
                let packet =
                    packet.map_err(|error| broken("packets are right", format!("{error}")))?;
                let (packet, length) = packet
                    .ok_or_else(|| broken("packets are right", "half a packet was written"))?;
                hold(length <= max, "maximum packet size", || {
                    format!("{length} bytes for a client that takes {max}: {packet:?}")
                })?;
                wire.looked += length;
                wire.untaken.push_back((length, packet.clone()));
                written.push((line, packet));
            }
        }
        let model = &self.model;
        written.sort_by_key(|(line, _)| model.lines[*line].phase == Phase::Active);
        for line in 0..self.wires.len() {
            if let Some((at, conn)) = self.wires[line].at.filter(|(at, _)| *at == shard) {
                let outbox = self.shards[usize::from(at)].outbox(conn);
                let length = outbox.map_or(0, |outbox| outbox.len());
                hold(length == self.wires[line].looked, "no effect lost", || {
                    format!("bytes for {} that nobody is told of", self.name(line))
                })?;
            }
        }
        Ok(written)
    }

    /// Whose line it is, in words.
    pub fn name(&self, line: usize) -> String {
        self.plan.name(self.model.lines[line].who)
    }

    fn reader(&self, line: usize) -> Reader<'_> {
        let on = &self.model.lines[line];
        Reader {
            person: &self.model.people[on.who],
            version: on.version,
            max_packet: on.max_packet,
            now: self.now,
        }
    }

    fn judge_packet(&mut self, line: usize, packet: ServerPacket) -> Kept {
        let answer = |kind, id, codes: &[ReasonCode]| Answer {
            kind,
            id,
            codes: codes.iter().map(|code| code.as_byte()).collect(),
            properties: Vec::new(),
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
        let owed = self.model.lines[line].answers.pop_front();
        let right = owed.as_ref().is_some_and(|owed| match owed.kind {
            "PUBACK" | "PUBREC" => {
                let same = (owed.kind, owed.id) == (found.kind, found.id);
                same && owed.codes.contains(&found.codes[0])
            }
            _ => *owed == found,
        });
        hold(right, "answers are right", || {
            format!("{} was sent {found:?}, owed was {owed:?}", self.name(line))
        })
    }

    fn judge_release(&mut self, line: usize, id: u16, reason: ReasonCode) -> Kept {
        let releases = &mut self.model.lines[line].releases;
        let asked = releases
            .iter()
            .position(|(asked, code)| *asked == id && *code == reason);
        if let Some(at) = asked {
            releases.remove(at);
            return Ok(());
        }
        let place = self.model.lines[line]
            .session
            .and_then(|uid| self.model.place(uid));
        let next = place.and_then(|place| {
            let flights = &mut self.model.sessions[place].flights;
            flights.iter_mut().find(|flight| !flight.sent)
        });
        match next {
            Some(flight) if flight.released && flight.id == id => {
                flight.sent = true;
                Ok(())
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

    fn judge_publish(&mut self, line: usize, mut publish: Publish) -> Kept {
        self.resolve_alias(line, &mut publish)?;
        let reader = self.reader(line);
        let payload = String::from_utf8_lossy(&publish.payload).into_owned();
        let from = payload.split(' ').nth(1);
        let (own, platform) = (reader.person.team, Some("platform"));
        hold(
            from.is_none() || own.is_none() || from == own || from == platform,
            "teams are apart",
            || format!("{} was sent {publish:?}", self.name(line)),
        )?;
        let uid = self.model.lines[line].session.unwrap_or(0);
        let Some(place) = self.model.place(uid) else {
            return Err(broken(
                "nobody gets what is not his",
                format!("{publish:?} without session"),
            ));
        };
        if publish.dup {
            return self.judge_again(line, place, &publish);
        }
        let now = self.now;
        let session = &self.model.sessions[place];
        let late = |entry: &Entry| entry.message.expires < now;
        if publish.qos == QoS::AtMostOnce {
            let at = session
                .at_once
                .iter()
                .position(|(on, entry)| *on == line && reader.takes(entry, &publish));
            if let Some(at) = at {
                let (_, entry) = self.model.sessions[place].at_once.remove(at);
                return hold(!late(&entry), "expired messages are not sent", || {
                    format!("{} was sent {publish:?}", self.name(line))
                });
            }
        } else if let Some(at) = session.queue.iter().position(|e| reader.takes(e, &publish)) {
            let entry = session.queue[at].clone();
            let overtaken = session.queue[..at].iter().find(|earlier| {
                earlier.message.publisher == entry.message.publisher
                    && earlier.message.serial < entry.message.serial
                    && earlier.message.expires > now
                    && !reader.may_be_too_large(earlier)
            });
            hold(overtaken.is_none(), "order is kept", || {
                format!(
                    "{} was sent {payload:?} before {:?}",
                    self.name(line),
                    overtaken
                )
            })?;
            hold(!late(&entry), "expired messages are not sent", || {
                format!("{} was sent {publish:?}", self.name(line))
            })?;
            self.model.sessions[place].queue.remove(at);
            return self.fly(line, place, entry, &publish);
        }
        self.judge_other(line, place, &publish)
    }

    /// What is neither due at once nor queued: of a share group, or retained.
    fn judge_other(&mut self, line: usize, place: usize, publish: &Publish) -> Kept {
        let uid = self.model.sessions[place].uid;
        let mut entry = None;
        if !self.model.turn.choices.is_empty() {
            let person = self.model.people[self.model.lines[line].who].clone();
            let on = &self.model.lines[line];
            let (version, max_packet, now) = (on.version, on.max_packet, self.now);
            let reader = Reader {
                person: &person,
                version,
                max_packet,
                now,
            };
            entry = self.choose(uid, |entry| reader.takes(entry, publish))?;
        }
        if entry.is_none() && publish.retain {
            entry = self.replayed(line, place, publish);
        }
        let Some(entry) = entry else {
            let session = &self.model.sessions[place];
            return Err(broken(
                "nobody gets what is not his",
                format!(
                    "{} was sent {publish:?}; owed at once: {:?}; queued: {:?}; retained: {:?}",
                    self.name(line),
                    session.at_once,
                    session.queue,
                    session.replays,
                ),
            ));
        };
        if publish.qos == QoS::AtMostOnce {
            return Ok(());
        }
        self.model.sessions[place].owe(&entry);
        self.fly(line, place, entry, publish)
    }

    /// The retained message that this is, where one is due.
    ///
    /// Where several SUBSCRIBEs of one turn asked for it in the same form it may be for any of
    /// them; the one that needs it most is thought to have it.
    fn replayed(&mut self, line: usize, place: usize, publish: &Publish) -> Option<Entry> {
        let reader = self.reader(line);
        let session = &self.model.sessions[place];
        let mut found: Vec<(usize, Entry)> = Vec::new();
        for (at, replay) in session.replays.iter().enumerate() {
            let of = &replay.of;
            for message in &self.model.turn.retained {
                let entry = Entry {
                    message: Rc::clone(message),
                    qos: message.qos.min(of.options.qos),
                    retain: true,
                    id: of.id,
                    fresh: false,
                };
                let own = of.options.no_local && message.publisher == session.uid;
                if !own
                    && matches(&of.filter, &message.topic)
                    && !replay.done.contains(&message.topic)
                    && message.expires > self.now
                    && self.model.is_seen(session.who, of, &message.topic)
                    && reader.takes(&entry, publish)
                {
                    found.push((at, entry));
                }
            }
        }
        let replays = &mut self.model.sessions[place].replays;
        let needs = |(at, entry): &&(usize, Entry)| {
            !replays[*at].over && replays[*at].due.contains(&entry.message.topic)
        };
        let (at, entry) = found.iter().find(needs).or(found.first())?;
        let is_over = replays[*at].over;
        let is_sure = is_over || !found.iter().any(|(other, _)| replays[*other].over);
        let topic = &entry.message.topic;
        let filter = replays[*at].of.filter.clone();
        for (other, replay) in replays.iter_mut().enumerate() {
            // What was sent on the terms before is not sent again on those that replaced them.
            if other == *at || is_over && replay.of.filter == filter {
                replay.due.retain(|due| due != topic);
            }
        }
        if is_sure {
            replays[*at].done.push(topic.clone());
        }
        Some(entry.clone())
    }

    /// A message was sent for the first time.
    fn fly(&mut self, line: usize, place: usize, entry: Entry, publish: &Publish) -> Kept {
        let id = publish.packet_id.unwrap_or(0);
        let name = self.name(line);
        let (session, reader) = (&self.model.sessions[place], self.reader(line));
        hold(session.flight(id).is_none(), "identifiers are free", || {
            format!("{name} was sent {publish:?} while {id} is in use")
        })?;
        let waits = |flight: &Flight| {
            !flight.sent && (flight.released || !reader.may_be_too_large(&flight.entry))
        };
        let behind = session.flights.iter().any(waits) && session.line == Some(line);
        hold(!behind, "order is kept", || {
            format!("{name} was sent {publish:?} before what was to be sent again")
        })?;
        let session = &mut self.model.sessions[place];
        let sent = session.line == Some(line);
        session.flights.push(Flight {
            id,
            entry,
            released: false,
            sent,
            fresh: true,
        });
        hold(
            session.under_way() <= session.window,
            "receive maximum",
            || {
                format!(
                    "{name} was sent {publish:?} beyond its window of {}",
                    session.window
                )
            },
        )
    }

    /// A message was sent again.
    fn judge_again(&mut self, line: usize, place: usize, publish: &Publish) -> Kept {
        let (name, reader) = (self.name(line), self.reader(line));
        let session = &self.model.sessions[place];
        let too_large = |flight: &&Flight| {
            !flight.sent && (flight.released || !reader.may_be_too_large(&flight.entry))
        };
        let at = session.flights.iter().position(|flight| {
            !flight.sent && Some(flight.id) == publish.packet_id && !flight.released
        });
        let first = session
            .flights
            .iter()
            .find(too_large)
            .map(|flight| flight.id);
        let right = at.is_some_and(|at| {
            // Message expiry is told as it is now, and how it was then does not matter.
            reader.takes(&session.flights[at].entry, publish) && first == publish.packet_id
        });
        hold(right, "what was sent is sent again once, in order", || {
            format!(
                "{name} was sent again {publish:?}; in flight: {:?}",
                session.flights
            )
        })?;
        let session = &mut self.model.sessions[place];
        if let Some(at) = at {
            session.flights[at].sent = true;
        }
        hold(
            session.under_way() <= session.window,
            "receive maximum",
            || {
                format!(
                    "{name} was sent again {publish:?} beyond its window of {}",
                    session.window
                )
            },
        )
    }

    fn resolve_alias(&mut self, line: usize, publish: &mut Publish) -> Kept {
        let alias = publish.properties.iter().find_map(|p| match p {
            Property::TopicAlias(alias) => Some(*alias),
            _ => None,
        });
        let Some(alias) = alias else { return Ok(()) };
        let max = self.model.lines[line].alias_maximum;
        hold(alias <= max, "topic alias maximum", || {
            format!("alias {alias} for a client that takes {max}")
        })?;
        let aliases = &mut self.wires[line].aliases;
        if !publish.topic.is_empty() {
            aliases.insert(alias, publish.topic.clone());
            return Ok(());
        }
        let known = aliases.get(&alias).cloned();
        publish.topic = known.ok_or_else(|| broken("topic alias maximum", "an unknown alias"))?;
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
                    // No client of the simulation proves itself again.
                    EventKind::Reauthenticated | EventKind::ReauthenticationRefused { .. } => {}
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
                Effect::Judge(_) => {}
            }
        }
        let due = self.model.turn.records;
        hold(found == due, "everything goes on record", || {
            format!("recorded {found:?}, due was {due:?}")
        })
    }

    /// Whether a queued message is one that a share group or a SUBSCRIBE led to.
    pub fn adopt_queued(
        &mut self,
        place: usize,
        queued: &Queued,
    ) -> Result<Option<Entry>, Failure> {
        let uid = self.model.sessions[place].uid;
        let found = self.choose(uid, |entry| is_queued(entry, queued))?;
        if let Some(entry) = &found {
            self.model.sessions[place].owe(entry);
        }
        Ok(found)
    }

    /// Whether a message has expired.
    pub fn is_expired(&self, entry: &Entry) -> bool {
        entry.message.expires < Time::NEVER && entry.message.expires <= self.now
    }

    pub fn reader_of(&self, line: usize) -> Reader<'_> {
        self.reader(line)
    }
}
