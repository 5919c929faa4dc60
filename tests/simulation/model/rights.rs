//! A session that comes back with other rights than it left with.

use super::{Model, Session, Subscription};
use crate::cast::{Person, matches};

impl Model {
    /// A session goes on with these rights: subscriptions that they do not grant end, on record, and
    /// with them goes what came by them and what may not be read any more, some of which may have
    /// come from another shard since the rights were last judged.
    pub fn judge_again(&mut self, uid: u64, rights: usize) {
        let Some(place) = self.place(uid) else { return };
        let session = &mut self.sessions[place];
        let changed = std::mem::replace(&mut session.rights, rights) != rights;
        if changed {
            self.turn.judged_again.push(uid);
        }
        let person = &self.people[session.who];
        let written = |subscription: &Subscription| {
            let bare = person.sees(&subscription.filter).unwrap_or_default();
            match &subscription.group {
                Some(group) => format!("$share/{group}/{bare}"),
                None => bare.to_owned(),
            }
        };
        let all = std::mem::take(&mut session.subscriptions);
        let (stay, end): (Vec<_>, Vec<_>) = all
            .into_iter()
            .partition(|subscription| person.may_subscribe(rights, &written(subscription)));
        self.turn.records.ended += end.len();
        session.subscriptions = stay;
        session.lost.extend(end.iter().cloned());
        self.hand_on_left(place, &end);
        let session = &mut self.sessions[place];
        let person = &self.people[session.who];
        let (queue, flights) = (
            std::mem::take(&mut session.queue),
            std::mem::take(&mut session.flights),
        );
        let goes = |topic: &str| {
            let may_read = person.may_read(rights, topic);
            !session.lets_through(person, topic) && (came_by(&end, topic) || !may_read)
        };
        let (goes_of_queue, queue): (Vec<_>, Vec<_>) = queue
            .into_iter()
            .partition(|entry| goes(&entry.message.topic));
        let (goes_of_flights, flights): (Vec<_>, Vec<_>) = flights
            .into_iter()
            .partition(|flight| !flight.released && goes(&flight.entry.message.topic));
        (session.queue, session.flights) = (queue, flights);
        for entry in &goes_of_queue {
            session.owe_no_longer(entry);
            self.turn.left.push((uid, entry.message.size()));
            self.turn.fresh_left += u64::from(entry.fresh);
        }
        let withdrawn = goes_of_flights
            .into_iter()
            .map(|flight| (uid, flight.entry));
        self.turn.withdrawn.extend(withdrawn);
        for replay in session.replays.iter_mut().filter(|_| changed) {
            // It may have passed over some of them, and that was right.
            replay.due.clear();
            replay.over |= end.iter().any(|ended| replay.of.is_named_as(ended));
        }
    }
}

impl Session {
    /// Whether a subscription that it has lets a topic through: by whichever a message came, then.
    fn lets_through(&self, person: &Person, topic: &str) -> bool {
        came_by(&self.subscriptions, topic) && !person.is_denied(self.rights, topic)
    }

    /// Whether it ever lost the right to what a message on its way may have come by.
    pub fn has_lost(&self, person: &Person, topic: &str) -> bool {
        came_by(&self.lost, topic) && !self.lets_through(person, topic)
    }
}

fn came_by(subscriptions: &[Subscription], topic: &str) -> bool {
    let mut subscriptions = subscriptions.iter();
    subscriptions.any(|subscription| matches(&subscription.filter, topic))
}
