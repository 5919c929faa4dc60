//! Share groups when a member goes: what it was to have goes to another.

use cofferdam::wire::QoS;

use super::{Cause, Choice, Entry, Left, Model, Subscription};
use crate::cast::matches;

impl Model {
    /// A session has lost its connection: what waits for it goes to members that are connected.
    pub fn hand_on_queue(&mut self, place: usize) {
        let subscriptions = self.sessions[place].subscriptions.clone();
        self.hand_on(place, &subscriptions, false);
    }

    /// These subscriptions of a session have ended, for it may not have them any more: what waits for
    /// it by the shared ones goes to members that are connected.
    pub fn hand_on_left(&mut self, place: usize, ended: &[Subscription]) {
        self.hand_on(place, ended, false);
    }

    /// A session has ended: what it had not acknowledged goes to other members, but for QoS 2
    /// messages that were sent.
    pub fn hand_on_all(&mut self, place: usize, subscriptions: &[Subscription]) {
        let from = self.sessions[place].uid;
        for choice in &mut self.turn.choices {
            match &mut choice.cause {
                Cause::Left(left) if left.from == from => left.ended = true,
                Cause::Perhaps {
                    from: of, ended, ..
                } if *of == from => *ended = true,
                _ => {}
            }
        }
        self.hand_on(place, subscriptions, true);
    }

    fn hand_on(&mut self, place: usize, subscriptions: &[Subscription], ended: bool) {
        self.hand_on_undecided(place, subscriptions, ended);
        let session = &mut self.sessions[place];
        let from = session.uid;
        let flights = if ended {
            std::mem::take(&mut session.flights)
        } else {
            Vec::new()
        };
        let sent = flights
            .into_iter()
            .filter(|flight| !flight.released && flight.entry.qos == QoS::AtLeastOnce);
        let mut orphans: Vec<Entry> = sent.map(|flight| flight.entry).collect();
        let queue = std::mem::take(&mut session.queue);
        let mut stays = Vec::new();
        for entry in queue {
            let goes = subscriptions.iter().any(|of| {
                let is_of = entry.share > 0 && of.share == entry.share;
                is_of && (ended || self.has_connected(from, of, &entry.message.topic))
            });
            match goes {
                true => {
                    self.sessions[place].owe_no_longer(&entry);
                    self.turn.left.push((from, entry.message.size()));
                    orphans.push(entry);
                }
                false => stays.push(entry),
            }
        }
        self.sessions[place].queue = stays;
        for entry in orphans {
            let of = subscriptions
                .iter()
                .find(|of| of.share == entry.share && of.share > 0);
            let Some(of) = of else { continue };
            let members = self.others(from, of, &entry);
            let cause = Cause::Left(Left {
                from,
                entry,
                ended,
                sent: false,
                perhaps: false,
            });
            self.turn.choices.push(choice(of, members, cause));
        }
    }

    /// Messages of this very turn that it may have been chosen for.
    fn hand_on_undecided(&mut self, place: usize, subscriptions: &[Subscription], ended: bool) {
        let uid = self.sessions[place].uid;
        for of in 0..self.turn.choices.len() {
            let earlier = &self.turn.choices[of];
            let Some(entry) = earlier.offer(uid, |_| true).cloned() else {
                continue;
            };
            let again = self.turn.choices.iter().any(|choice| {
                matches!(choice.cause, Cause::Perhaps { of: other, from, .. } if other == of && from == uid)
            });
            let by = subscriptions.iter().find(|by| by.share == entry.share);
            let Some(by) = by.filter(|_| !again && entry.qos > QoS::AtMostOnce) else {
                continue;
            };
            if !ended && !self.has_connected(uid, by, &entry.message.topic) {
                continue;
            }
            let members = self.others(uid, by, &entry);
            let cause = Cause::Perhaps {
                of,
                from: uid,
                ended,
            };
            self.turn.choices.push(choice(by, members, cause));
        }
    }

    /// Whether another member is connected that sees the topic.
    fn has_connected(&self, uid: u64, of: &Subscription, topic: &str) -> bool {
        self.live().any(|session| {
            let mut subscriptions = session.subscriptions.iter();
            session.uid != uid
                && session.line.is_some()
                && subscriptions.any(|own| own.is_named_as(of) && self.is_seen(session, own, topic))
        })
    }

    /// The other members that see a message, and how they would get it.
    fn others(&self, uid: u64, of: &Subscription, entry: &Entry) -> Vec<(u64, bool, Entry)> {
        let mut members = Vec::new();
        let message = &entry.message;
        for session in self.live().filter(|session| session.uid != uid) {
            for own in session
                .subscriptions
                .iter()
                .filter(|own| own.is_named_as(of))
            {
                if matches(&own.filter, &message.topic)
                    && self.is_seen(session, own, &message.topic)
                {
                    let entry = Entry {
                        message: message.clone(),
                        qos: message.qos.min(own.options.qos),
                        retain: message.retain && own.options.retain_as_published,
                        id: own.id,
                        share: own.share,
                        handed: true,
                        doubtful: false,
                        fresh: true,
                        seen: None,
                    };
                    members.push((session.uid, session.line.is_some(), entry));
                }
            }
        }
        members
    }
}

fn choice(of: &Subscription, members: Vec<(u64, bool, Entry)>, cause: Cause) -> Choice {
    Choice {
        group: of.group.clone().unwrap_or_default(),
        filter: of.filter.clone(),
        members,
        taken: None,
        cause,
    }
}
