//! Each PUBLISH that a shard wrote: whether it is owed, and what follows from it.

use std::rc::Rc;

use cofferdam::session::Queued;
use cofferdam::time::Time;
use cofferdam::wire::QoS;
use cofferdam::wire::client::{Property, Publish};

use crate::cast::matches;
use crate::expected::{Reader, is_queued};
use crate::failure::{Failure, Kept, broken, hold};
use crate::late::EACH_LATE;
use crate::model::{Entry, Flight};
use crate::promises::{Seal, in_turn};
use crate::sim::Sim;
use crate::unseen::is_carried;

impl Sim<'_> {
    pub fn judge_publish(&mut self, line: usize, mut publish: Publish) -> Result<Seal, Failure> {
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
        let again = publish
            .packet_id
            .and_then(|id| self.model.sessions[place].flight(id));
        hold(again.is_none(), "what is sent again says so", || {
            format!(
                "{} was sent {publish:?} without DUP; its identifier is in use",
                self.name(line)
            )
        })?;
        let now = self.now;
        let carried = self.carried(place, publish.packet_id);
        let session = &self.model.sessions[place];
        let late = |entry: &Entry| entry.message.expires < now;
        if publish.qos == QoS::AtMostOnce {
            let size = publish.encode(reader.version).len() + reader.person.mount.len() + EACH_LATE;
            let at = session
                .at_once
                .iter()
                .position(|(on, entry)| *on == line && reader.takes(entry, &publish));
            *self.model.turn.at_once.entry(line).or_default() += size;
            if let Some(at) = at {
                let (_, entry) = self.model.sessions[place].at_once.remove(at);
                self.model.fate(entry.message.serial).taken = true;
                self.note_sent_at_once(line, place, &entry)?;
                hold(!late(&entry), "expired messages are not sent", || {
                    format!("{} was sent {publish:?}", self.name(line))
                })?;
                return Ok(Seal::NONE);
            }
        } else if let Some(at) = session
            .queue
            .iter()
            .position(|entry| reader.takes(entry, &publish) && is_carried(entry, &carried))
        {
            let entry = session.queue[at].clone();
            let sent = session.flights.iter().filter(|flight| flight.fresh);
            let (mut sent, mut waits) = (sent.map(|flight| &flight.entry), session.waits.iter());
            let overtaken = waits
                .find(|other| other.is_before(&entry))
                .filter(|other| other.message.expires > now)
                .or(sent.find(|other| entry.is_before(other)));
            hold(overtaken.is_none(), "order is kept", || {
                format!(
                    "{} was sent {payload:?} on the wrong side of {:?}",
                    self.name(line),
                    overtaken
                )
            })?;
            hold(!late(&entry), "expired messages are not sent", || {
                format!("{} was sent {publish:?}", self.name(line))
            })?;
            self.model.sessions[place].queue.remove(at);
            if self.model.sessions[place].ended {
                self.left_like(uid, &entry);
            }
            return self.fly(line, place, entry, &publish);
        } else if let Some(entry) = self.sent_before(line, uid, &publish, &carried) {
            self.model.sessions[place].owe(&entry);
            return self.fly(line, place, entry, &publish);
        }
        self.judge_other(line, place, &publish, &carried)
    }

    /// A QoS 0 message was sent: after those before it, and before those behind it.
    fn note_sent_at_once(&mut self, line: usize, place: usize, entry: &Entry) -> Kept {
        let Some(order) = entry.order() else {
            return Ok(());
        };
        let sent = &mut self.model.sessions[place].sent_at_once;
        let last = sent.entry((line, order)).or_default();
        let overtaken = *last > entry.message.serial;
        *last = entry.message.serial;
        hold(!overtaken, "order is kept", || {
            format!("{} was sent {entry:?} behind a later one", self.name(line))
        })
    }

    /// What is neither due at once nor queued: of a share group, or retained.
    fn judge_other(
        &mut self,
        line: usize,
        place: usize,
        publish: &Publish,
        carried: &Option<Queued>,
    ) -> Result<Seal, Failure> {
        let uid = self.model.sessions[place].uid;
        let mut chosen = Ok(None);
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
            chosen = self.choose(uid, true, |entry| {
                reader.takes(entry, publish) && is_carried(entry, carried)
            });
        }
        let mut entry = chosen.as_ref().ok().cloned().flatten();
        if let Some(entry) = entry.as_ref().filter(|it| it.qos == QoS::AtMostOnce) {
            self.note_sent_at_once(line, place, entry)?;
        }
        let is_replay = entry.is_none();
        if is_replay && publish.retain {
            let person = self.model.people[self.model.lines[line].who].clone();
            let on = &self.model.lines[line];
            let reader = Reader {
                person: &person,
                version: on.version,
                max_packet: on.max_packet,
                now: self.now,
            };
            entry = self.replayed(place, |entry| {
                reader.takes(entry, publish) && is_carried(entry, carried)
            });
        }
        if entry.is_none() {
            chosen?;
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
            return Ok(Seal::NONE);
        }
        self.model.sessions[place].owe(&entry);
        let seal = self.fly(line, place, entry, publish)?;
        Ok(if is_replay { seal.of_retained() } else { seal })
    }

    /// The retained message that this is, where one is due.
    ///
    /// Where several SUBSCRIBEs of one turn asked for it in the same form it may be for any of
    /// them; the one that needs it most is thought to have it.
    pub fn replayed(&mut self, place: usize, is_it: impl Fn(&Entry) -> bool) -> Option<Entry> {
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
                    share: 0,
                    handed: false,
                    doubtful: false,
                    fresh: false,
                    seen: None,
                };
                let own = of.options.no_local && message.is_of(session.uid);
                if !own
                    && matches(&of.filter, &message.topic)
                    && !replay.done.contains(&message.topic)
                    && message.expires > self.now
                    && self.model.is_seen(session, of, &message.topic)
                    && is_it(&entry)
                {
                    found.push((at, entry));
                }
            }
        }
        let replays = &mut self.model.sessions[place].replays;
        // One subscription is served after the other, in the order of their names.
        found.sort_by(|(one, _), (other, _)| {
            replays[*one].of.filter.cmp(&replays[*other].of.filter)
        });
        let needs = |(at, entry): &&(usize, Entry)| {
            !replays[*at].over && replays[*at].due.contains(&entry.message.topic)
        };
        let is_over = |(at, _): &&(usize, Entry)| replays[*at].over;
        let mut found_over = found.iter().filter(is_over);
        let best = found.iter().find(needs).or(found_over.next());
        let (at, entry) = best.or(found.first())?;
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
    fn fly(
        &mut self,
        line: usize,
        place: usize,
        entry: Entry,
        publish: &Publish,
    ) -> Result<Seal, Failure> {
        let seal = Seal::of_flight(&entry, in_turn(self.model.sessions[place].kept));
        let id = publish.packet_id.unwrap_or(0);
        let name = self.name(line);
        let session = &self.model.sessions[place];
        let behind = session.line == Some(line) && self.waits_again(line, &session.flights);
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
            stated: in_turn(session.kept),
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
        )?;
        Ok(seal)
    }

    /// A message was sent again.
    fn judge_again(
        &mut self,
        line: usize,
        place: usize,
        publish: &Publish,
    ) -> Result<Seal, Failure> {
        let (name, reader) = (self.name(line), self.reader(line));
        let session = &self.model.sessions[place];
        let (uid, id) = (session.uid, publish.packet_id);
        let mut answered = self.model.turn.answered.iter();
        if answered.any(|(of, flight)| *of == uid && Some(flight.id) == id && !flight.released) {
            let mut flights = self.model.sessions[place].flights.iter_mut();
            if let Some(flight) = flights.find(|flight| Some(flight.id) == id) {
                flight.sent = true;
                return Ok(Seal::of_flight(&flight.entry, flight.stated));
            }
            return Ok(Seal::NONE);
        }
        let at = session
            .flights
            .iter()
            .position(|flight| !flight.sent && Some(flight.id) == id && !flight.released);
        let right = at.is_some_and(|at| {
            let earlier = &session.flights[..at];
            !self.waits_again(line, earlier) && reader.takes(&session.flights[at].entry, publish)
        });
        hold(right, "what was sent is sent again once, in order", || {
            format!(
                "{name} was sent again {publish:?}; in flight: {:?}",
                session.flights
            )
        })?;
        let session = &mut self.model.sessions[place];
        let mut seal = Seal::NONE;
        if let Some(at) = at {
            let flight = &mut session.flights[at];
            flight.sent = true;
            seal = Seal::of_flight(&flight.entry, flight.stated);
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
        )?;
        Ok(seal)
    }

    /// Whether any of these is still to be sent again; what may be too large now is not.
    pub fn waits_again(&self, line: usize, flights: &[Flight]) -> bool {
        let reader = self.reader(line);
        flights.iter().any(|flight| {
            !flight.sent && (flight.released || !reader.may_be_too_large(&flight.entry))
        })
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

    /// Whether a queued message is one that a share group or a SUBSCRIBE led to.
    pub fn adopt_queued(
        &mut self,
        place: usize,
        queued: &Queued,
    ) -> Result<Option<Entry>, Failure> {
        let uid = self.model.sessions[place].uid;
        let found = self.choose(uid, false, |entry| is_queued(entry, queued))?;
        if let Some(entry) = &found {
            self.model.sessions[place].owe(entry);
        }
        Ok(found)
    }

    /// Whether a message has expired.
    pub fn is_expired(&self, entry: &Entry) -> bool {
        entry.message.expires < Time::NEVER && entry.message.expires <= self.now
    }
}
