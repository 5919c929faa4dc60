//! A session that comes back with other rights than it left with.

use super::{Model, Subscription};
use crate::cast::matches;

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
        let by = |all: &[Subscription], topic: &str| all.iter().any(|s| matches(&s.filter, topic));
        let (stay, who) = (&session.subscriptions, session.who);
        let goes = |topic: &str| {
            // By whichever subscription it came: what one lets through need not go.
            let through = by(stay, topic) && !self.people[who].is_denied(rights, topic);
            !through && (by(&end, topic) || !self.people[who].may_read(rights, topic))
        };
        let (goes_of_queue, queue): (Vec<_>, Vec<_>) = std::mem::take(&mut session.queue)
            .into_iter()
            .partition(|entry| goes(&entry.message.topic));
        session.queue = queue;
        let (goes_of_flights, flights): (Vec<_>, Vec<_>) = std::mem::take(&mut session.flights)
            .into_iter()
            .partition(|flight| !flight.released && goes(&flight.entry.message.topic));
        session.flights = flights;
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
