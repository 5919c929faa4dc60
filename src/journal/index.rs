//! What of the log is live, and where.
//!
//! A message is live where its record is, until nobody has it. A session is *anchored* in the segment
//! of the oldest record that anything live of it may be in: cleaning that segment carries the whole
//! session forward. What only says that something is over is never live: by the time its segment is
//! the oldest, what it speaks of is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::fact::{Delivery, Fact, Kept, KeptSession, Order, State, Table};
use crate::team::{MessageNumber, SessionNumber};
use crate::wire::PacketId;

use super::codec::Known;

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub segment: u32,
    /// Of the whole record, in bytes.
    pub length: u32,
    /// From the segment's beginning.
    pub offset: u64,
}

/// What stands for a message and knows where its record is.
pub(super) trait Placed {
    fn place(&self) -> Place;
}

impl Placed for Place {
    fn place(&self) -> Place {
        *self
    }
}

/// The state, and where it is.
#[derive(Debug)]
pub(super) struct Index<M> {
    pub state: State<M>,
    anchors: Table<SessionNumber, Anchor>,
    usage: BTreeMap<u32, Usage>,
    /// Bytes that all would take, were it carried forward now.
    live: u64,
    dead: Vec<M>,
}

/// Where a session is, and roughly how large.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    segment: u32,
    terms: u32,
    will: u32,
    subscriptions: u32,
}

/// What of a segment is live.
#[derive(Debug, Default)]
struct Usage {
    messages: u64,
    sessions: BTreeSet<SessionNumber>,
}

impl Anchor {
    const fn at(segment: u32) -> Self {
        Self {
            segment,
            terms: 0,
            will: 0,
            subscriptions: 0,
        }
    }

    const fn size(&self) -> u64 {
        self.terms as u64 + self.will as u64 + self.subscriptions as u64
    }
}

impl<M> Default for Index<M> {
    fn default() -> Self {
        Self {
            state: State::default(),
            anchors: Table::default(),
            usage: BTreeMap::new(),
            live: 0,
            dead: Vec::new(),
        }
    }
}

impl<M: Placed> Index<M> {
    /// Bytes that all would take, were it carried forward now.
    pub(super) const fn live(&self) -> u64 {
        self.live
    }

    /// Whether nothing in a segment is live.
    pub(super) fn is_dead(&self, segment: u32) -> bool {
        let usage = self.usage.get(&segment);
        usage.is_none_or(|it| it.messages == 0 && it.sessions.is_empty())
    }

    /// A session that is anchored in a segment.
    pub(super) fn anchored(&self, segment: u32) -> Option<SessionNumber> {
        self.usage.get(&segment)?.sessions.first().copied()
    }

    /// Adds a fact that stands in a record of this length, and is no [`Fact::Kept`].
    pub(super) fn apply(&mut self, fact: Fact<M>, segment: u32, length: u32) {
        match &fact {
            Fact::Session(number, _) => self.resize(*number, Some(segment), |it| it.terms = length),
            Fact::Ended(number) => self.unanchor(*number),
            Fact::Will(number, will) => {
                let length = if will.is_some() { length } else { 0 };
                self.resize(*number, None, |it| it.will = length);
            }
            Fact::Subscribed(number, key, _) if !self.wants(*number, key) => {
                let size = subscription_size(key);
                self.resize(*number, None, |it| it.subscriptions += size);
            }
            Fact::Unsubscribed(number, key) if self.wants(*number, key) => {
                let size = subscription_size(key);
                self.resize(*number, None, |it| {
                    it.subscriptions = it.subscriptions.saturating_sub(size);
                });
            }
            _ => {}
        }
        self.state.apply(fact, &mut self.dead);
        self.bury();
    }

    /// Adds a message; one whose number is known is here from now on.
    pub(super) fn keep(&mut self, order: Order, kept: Kept<M>, sent: &[Option<PacketId>]) {
        self.add(kept.message.place());
        self.state.keep(order, kept, sent, &mut self.dead);
        self.bury();
    }

    /// Adds to a message that is known.
    pub(super) fn keep_known(&mut self, known: Known) {
        let Known {
            number,
            targets,
            retained,
            receipt,
        } = known;
        let dead = &mut self.dead;
        self.state
            .keep_known(number, &targets, retained, receipt, dead);
        self.bury();
    }

    /// A session stands here as a whole, and is like this.
    pub(super) fn restore(
        &mut self,
        number: SessionNumber,
        session: KeptSession,
        segment: u32,
        length: u32,
    ) {
        self.state.restore(number, session);
        self.anchor_again(number, segment, length);
    }

    /// A session was carried forward to this segment.
    pub(super) fn anchor_again(&mut self, number: SessionNumber, segment: u32, length: u32) {
        self.unanchor(number);
        let subscriptions = self.state.sessions.get(&number).map_or(0, |session| {
            session
                .subscriptions
                .keys()
                .map(|it| subscription_size(it))
                .sum()
        });
        self.resize(number, Some(segment), |it| {
            it.subscriptions = subscriptions;
            it.terms = length.saturating_sub(subscriptions);
        });
    }

    /// A message was carried forward: it is here from now on.
    pub(super) fn replace(&mut self, number: MessageNumber, message: M) {
        self.add(message.place());
        self.dead.extend(self.state.replace(number, message));
        self.bury();
    }

    /// What is left when the log has been read to its end. Returns the sessions of which it never says
    /// what they are.
    pub(super) fn settle(&mut self) -> Vec<SessionNumber> {
        let unknown = self.state.settle(&mut self.dead);
        self.bury();
        unknown
    }

    /// The same with something else for each message.
    pub(super) fn map<N>(self, mut into: impl FnMut(M) -> N) -> Index<N> {
        Index {
            state: self.state.map(|_, message| into(message)),
            anchors: self.anchors,
            usage: self.usage,
            live: self.live,
            dead: Vec::new(),
        }
    }

    fn wants(&self, number: SessionNumber, key: &str) -> bool {
        let session = self.state.sessions.get(&number);
        session.is_some_and(|it| it.subscriptions.contains_key(key))
    }

    /// Changes what is known of a session's size. Without a segment, only where it has an anchor.
    fn resize(
        &mut self,
        number: SessionNumber,
        segment: Option<u32>,
        change: impl FnOnce(&mut Anchor),
    ) {
        if let Some(segment) = segment.filter(|_| !self.anchors.contains_key(&number)) {
            let usage = self.usage.entry(segment).or_default();
            usage.sessions.insert(number);
            self.anchors.insert(number, Anchor::at(segment));
        }
        let Some(anchor) = self.anchors.get_mut(&number) else {
            return;
        };
        self.live -= anchor.size();
        change(anchor);
        self.live += anchor.size();
    }

    fn unanchor(&mut self, number: SessionNumber) {
        if let Some(anchor) = self.anchors.remove(&number) {
            self.live -= anchor.size();
            if let Some(usage) = self.usage.get_mut(&anchor.segment) {
                usage.sessions.remove(&number);
            }
        }
    }

    fn add(&mut self, place: Place) {
        self.live += u64::from(place.length);
        self.usage.entry(place.segment).or_default().messages += 1;
    }

    fn bury(&mut self) {
        for message in self.dead.drain(..) {
            let place = message.place();
            self.live -= u64::from(place.length);
            if let Some(usage) = self.usage.get_mut(&place.segment) {
                usage.messages -= 1;
            }
        }
    }
}

impl Index<Place> {
    /// That the counts are those of what is there.
    #[cfg(test)]
    pub(super) fn check(&self) {
        let messages = self.state.messages.values().map(|kept| kept.message);
        let sizes: u64 = messages.clone().map(|it| u64::from(it.length)).sum();
        let anchors: u64 = self.anchors.values().map(Anchor::size).sum();
        assert_eq!(self.live, sizes + anchors);
        for (segment, usage) in &self.usage {
            let there = messages.clone().filter(|it| it.segment == *segment);
            assert_eq!(usage.messages, there.count() as u64, "{segment}");
        }
        let sessions = self.state.sessions.iter();
        let known = sessions.filter(|(_, it)| it.terms.is_some()).count();
        assert_eq!(self.anchors.len(), known);
        let anchored: usize = self.usage.values().map(|it| it.sessions.len()).sum();
        assert_eq!(anchored, known);
    }

    /// A segment is gone.
    pub(super) fn forget(&mut self, segment: u32) {
        debug_assert!(self.is_dead(segment), "only what is dead is forgotten");
        self.usage.remove(&segment);
    }

    /// What is live of the messages in a segment cannot be read: it is over. How many those were.
    pub(super) fn abandon(&mut self, segment: u32) -> usize {
        let lost = self.state.messages.iter();
        let lost: Vec<_> = lost
            .filter(|(_, kept)| kept.message.segment == segment)
            .map(|(number, kept)| (*number, kept.holders.clone(), kept.retained.clone()))
            .collect();
        for (message, holders, retained) in &lost {
            for (session, copy) in holders {
                let delivery = Delivery {
                    session: *session,
                    message: *message,
                    copy: *copy,
                };
                self.state.apply(Fact::Done(delivery), &mut self.dead);
            }
            if let Some((topic, version)) = retained {
                let cleared = Fact::Cleared(Arc::clone(topic), *version);
                self.state.apply(cleared, &mut self.dead);
            }
        }
        self.bury();
        lost.len()
    }

    /// What stands in `from` from `start` on stands in segment `to` now, where it begins at `begins`.
    pub(super) fn shift(&mut self, from: u32, start: u64, to: u32, begins: u64) {
        let mut moved = 0;
        for kept in self.state.messages.values_mut() {
            let place = &mut kept.message;
            if place.segment == from && place.offset >= start {
                place.segment = to;
                place.offset = place.offset - start + begins;
                moved += 1;
            }
        }
        if let Some(usage) = self.usage.get_mut(&from) {
            usage.messages -= moved;
        }
        self.usage.entry(to).or_default().messages += moved;
    }
}

/// About as many bytes as a subscription takes.
const fn subscription_size(key: &str) -> u32 {
    key.len() as u32 + 16
}
