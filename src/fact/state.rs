//! What facts add up to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use hashbrown::HashMap;

use super::{Delivery, Fact, Kept, Standing, Target, Terms, Wanted};
use crate::team::{Message, MessageNumber, SessionNumber, Will};
use crate::time::Time;
use crate::wire::PacketId;

/// Where a message stands among all others: the order in which they were kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Order(pub u64);

/// Everything that is kept.
#[derive(Debug)]
pub struct State<M = Arc<Message>> {
    /// Also those of which only what they have is known so far; see [`KeptSession::terms`].
    pub sessions: BTreeMap<SessionNumber, KeptSession>,
    /// All that some session has, or that are retained.
    pub messages: Table<MessageNumber, KeptMessage<M>>,
    /// By full topic.
    pub retained: Table<Arc<str>, KeptRetained>,
    /// The highest numbers that anything was said of.
    pub highest: Highest,
    /// Topics that were cleared, in that order; not many more than can race.
    cleared: VecDeque<Arc<str>>,
    last: Order,
}

/// What is found by a key.
pub type Table<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// The highest numbers that were given out, as far as is known: whoever gives out higher ones uses
/// none again of which anything is still said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Highest {
    /// Of a session; 0: none was.
    pub session: u64,
    /// Of a message; 0: none was.
    pub message: u64,
    /// Of the versions of what is retained; 0: none was.
    pub version: u64,
}

/// What is retained of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptRetained {
    /// The message; `None`: none any more.
    pub message: Option<MessageNumber>,
    /// Of all that was said of the topic.
    pub version: u64,
}

/// How many cleared topics are remembered, so that a retained message of before, which another shard
/// states after, does not come back.
const CLEARED_MAX: usize = 65_536;

/// A session.
#[derive(Clone, Debug, Default)]
pub struct KeptSession {
    /// `None`: nothing was said of it yet, but that messages are for it. What is carried forward in a
    /// log comes later than what builds on it, and shards do not wait for one another; a session that
    /// has none at the end of the log is none.
    pub terms: Option<Box<Terms>>,
    /// When it ends, where it has no connection.
    pub left: Option<Left>,
    /// Its will.
    pub will: Option<Box<Will>>,
    /// What it wants.
    pub subscriptions: BTreeMap<Arc<str>, Wanted>,
    /// Subscriptions that retained messages are on their way to, and how far that is.
    pub replays: BTreeMap<Arc<str>, Standing>,
    /// Messages that it has not acknowledged, oldest first; with the copy of each.
    pub owed: BTreeMap<(Order, u32), Owed>,
    /// QoS 2 messages that its client has, for which PUBREL is owed.
    pub released: BTreeSet<PacketId>,
    /// The last identifier that a message was sent under.
    pub last_id: u16,
    /// QoS 2 identifiers of its client that are in use.
    pub received: BTreeSet<PacketId>,
}

/// When a session without a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// When it ends.
    pub expires: Time,
    /// When its will goes out, if it has one.
    pub will_due: Time,
}

/// A message that a session has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owed {
    /// Which.
    pub message: MessageNumber,
    /// How it is delivered.
    pub target: Target,
    /// It was sent, under this identifier.
    pub sent: Option<PacketId>,
}

/// A message.
#[derive(Clone, Debug)]
pub struct KeptMessage<M> {
    /// The message, or where it is.
    pub message: M,
    /// Among all others.
    pub order: Order,
    /// The sessions that have it, each with its copy, in order.
    pub holders: Vec<(SessionNumber, u32)>,
    /// The full topic whose retained message it is, and the version.
    pub retained: Option<(Arc<str>, u64)>,
}

impl KeptSession {
    /// Nothing was ever said of it but what it had: it was over before that was stated.
    fn is_nothing(&self) -> bool {
        self.terms.is_none()
            && self.owed.is_empty()
            && self.subscriptions.is_empty()
            && self.replays.is_empty()
            && self.released.is_empty()
            && self.received.is_empty()
            && self.will.is_none()
            && self.left.is_none()
    }
}

impl<M> Default for State<M> {
    fn default() -> Self {
        Self {
            sessions: BTreeMap::new(),
            messages: Table::default(),
            retained: Table::default(),
            highest: Highest::default(),
            cleared: VecDeque::new(),
            last: Order::default(),
        }
    }
}

impl<M> State<M> {
    /// The place that the next message has.
    pub const fn next_order(&self) -> Order {
        Order(self.last.0 + 1)
    }

    /// Adds a fact. Messages that nobody has any more are added to `dead`.
    ///
    /// Of a session that is not known only messages can be noted: all else that is said of it before
    /// its terms is said again with them, where a log was cleaned.
    pub fn apply(&mut self, fact: Fact<M>, dead: &mut Vec<M>) {
        match fact {
            Fact::Session(number, terms) => {
                let session = self.session(number);
                session.terms = Some(terms);
                session.left = None;
            }
            Fact::Left {
                session,
                expires,
                will_due,
            } => {
                let left = Left { expires, will_due };
                self.of(session, |session| session.left = Some(left));
            }
            Fact::Ended(number) => self.end(number, dead),
            Fact::Subscribed(number, key, wanted) => {
                self.of(number, |session| session.subscriptions.insert(key, wanted));
            }
            Fact::Unsubscribed(number, key) => {
                self.of(number, |session| {
                    session.replays.remove(&key);
                    session.subscriptions.remove(&key)
                });
            }
            Fact::Replaying(number, key, standing) => {
                self.of(number, |session| session.replays.insert(key, standing));
            }
            Fact::Replayed(number, key) => {
                self.of(number, |session| session.replays.remove(&key));
            }
            Fact::Will(number, will) => self.of(number, |session| session.will = will),
            Fact::Kept(kept) => {
                let known = self.messages.get(&kept.number);
                let order = known.map_or(self.next_order(), |known| known.order);
                self.keep(order, *kept, &[], dead);
            }
            Fact::Sent(delivery, id) => {
                if let Some(owed) = self.owed(delivery) {
                    owed.sent = Some(id);
                }
                self.of(delivery.session, |session| session.last_id = id.get());
            }
            Fact::Released(delivery, id) => {
                self.of(delivery.session, |session| session.released.insert(id));
                self.done(delivery, dead);
            }
            Fact::Done(delivery) => self.done(delivery, dead),
            Fact::Completed(session, id) => {
                self.of(session, |session| session.released.remove(&id));
            }
            Fact::Received(session, id) => {
                self.of(session, |session| session.received.insert(id));
            }
            Fact::Freed(session, id) => {
                self.of(session, |session| session.received.remove(&id));
            }
            Fact::Cleared(topic, version) => {
                self.retain(&topic, None, version, dead);
                self.forget_cleared(topic);
            }
        }
    }

    /// Adds a message that has this place among all others, whatever has come since. `sent` says of
    /// its targets, in their order, under which identifier they were sent; it may be shorter. What
    /// stood for a message that is known is added to `dead`: this stands for it now. One that is known
    /// in another place had gone before it came again, even where a log does not say any more how.
    pub fn keep(
        &mut self,
        order: Order,
        kept: Kept<M>,
        sent: &[Option<PacketId>],
        dead: &mut Vec<M>,
    ) {
        let Kept {
            number,
            message,
            targets,
            retained,
            receipt,
        } = kept;
        self.last = self.last.max(order);
        if self
            .messages
            .get(&number)
            .is_some_and(|known| known.order != order)
        {
            self.drop_message(number, dead);
        }
        match self.messages.get_mut(&number) {
            Some(known) => dead.push(std::mem::replace(&mut known.message, message)),
            None => {
                let message = KeptMessage {
                    message,
                    order,
                    holders: Vec::new(),
                    retained: None,
                };
                self.messages.insert(number, message);
            }
        }
        self.add(number, &targets, sent, retained, receipt, dead);
    }

    /// A message that is known is for these too, or retained; one that is not is left alone, but the
    /// receipt counts.
    pub fn keep_known(
        &mut self,
        number: MessageNumber,
        targets: &[Target],
        retained: Option<(Arc<str>, u64)>,
        receipt: Option<(SessionNumber, PacketId)>,
        dead: &mut Vec<M>,
    ) {
        if self.messages.contains_key(&number) {
            self.add(number, targets, &[], retained, receipt, dead);
        } else {
            self.highest.message = self.highest.message.max(number.0);
            self.receive(receipt);
        }
    }

    /// A session is like this, whatever was said of it so far; what it owes is left as it is.
    pub fn restore(&mut self, number: SessionNumber, session: KeptSession) {
        let known = self.session(number);
        let owed = std::mem::take(&mut known.owed);
        *known = KeptSession { owed, ..session };
    }

    /// Whether something later was said of this topic's retained message.
    pub fn is_outdated(&self, topic: &str, version: u64) -> bool {
        let known = self.retained.get(topic);
        known.is_some_and(|known| known.version > version)
    }

    /// Puts something else in a message's stead; what stood for it.
    pub fn replace(&mut self, number: MessageNumber, message: M) -> Option<M> {
        let known = self.messages.get_mut(&number)?;
        Some(std::mem::replace(&mut known.message, message))
    }

    /// Only sessions whose terms are known, and only messages that they have or that are retained:
    /// what is left at the end of a log. Returns the others, which are over.
    pub fn settle(&mut self, dead: &mut Vec<M>) -> Vec<SessionNumber> {
        let unknown = self.sessions.iter().filter(|(_, it)| it.terms.is_none());
        let unknown: Vec<_> = unknown.map(|(number, _)| *number).collect();
        for number in &unknown {
            self.end(*number, dead);
        }
        unknown
    }

    /// The same state with something else for each message.
    pub fn map<N>(self, mut into: impl FnMut(MessageNumber, M) -> N) -> State<N> {
        let messages = self.messages.into_iter().map(|(number, kept)| {
            let kept = KeptMessage {
                message: into(number, kept.message),
                order: kept.order,
                holders: kept.holders,
                retained: kept.retained,
            };
            (number, kept)
        });
        State {
            messages: messages.collect(),
            sessions: self.sessions,
            retained: self.retained,
            highest: self.highest,
            cleared: self.cleared,
            last: self.last,
        }
    }

    /// A copy of it with something else for each message.
    pub fn copy<N>(&self, mut into: impl FnMut(&KeptMessage<M>) -> N) -> State<N> {
        let messages = self.messages.iter().map(|(number, kept)| {
            let kept = KeptMessage {
                message: into(kept),
                order: kept.order,
                holders: kept.holders.clone(),
                retained: kept.retained.clone(),
            };
            (*number, kept)
        });
        State {
            messages: messages.collect(),
            sessions: self.sessions.clone(),
            retained: self.retained.clone(),
            highest: self.highest,
            cleared: self.cleared.clone(),
            last: self.last,
        }
    }

    /// The counts go on from here, where they are lower.
    pub fn advance(&mut self, order: Order, highest: Highest) {
        self.last = self.last.max(order);
        let own = &mut self.highest;
        own.session = own.session.max(highest.session);
        own.message = own.message.max(highest.message);
        own.version = own.version.max(highest.version);
    }

    /// Adds to a message that is known.
    fn add(
        &mut self,
        number: MessageNumber,
        targets: &[Target],
        sent: &[Option<PacketId>],
        retained: Option<(Arc<str>, u64)>,
        receipt: Option<(SessionNumber, PacketId)>,
        dead: &mut Vec<M>,
    ) {
        self.highest.message = self.highest.message.max(number.0);
        self.receive(receipt);
        let Some(message) = self.messages.get_mut(&number) else {
            return;
        };
        let order = message.order;
        let before = message.holders.len();
        message
            .holders
            .extend(targets.iter().map(|it| (it.session, it.copy)));
        if before > 0 || targets.len() > 1 {
            message.holders.sort_unstable();
            message.holders.dedup();
        }
        for (place, target) in targets.iter().enumerate() {
            let owed = Owed {
                message: number,
                target: *target,
                sent: sent.get(place).copied().flatten(),
            };
            let session = self.session(target.session);
            session.owed.insert((order, target.copy), owed);
        }
        if let Some((topic, version)) = retained {
            self.retain(&topic, Some(number), version, dead);
        }
        self.bury(number, dead);
    }

    fn receive(&mut self, receipt: Option<(SessionNumber, PacketId)>) {
        if let Some((session, id)) = receipt {
            self.of(session, |session| session.received.insert(id));
        }
    }

    /// Changes a session, where it is known.
    fn of<R>(&mut self, number: SessionNumber, change: impl FnOnce(&mut KeptSession) -> R) {
        self.highest.session = self.highest.session.max(number.0.get());
        if let Some(session) = self.sessions.get_mut(&number) {
            change(session);
        }
    }

    fn session(&mut self, number: SessionNumber) -> &mut KeptSession {
        self.highest.session = self.highest.session.max(number.0.get());
        self.sessions.entry(number).or_default()
    }

    fn end(&mut self, number: SessionNumber, dead: &mut Vec<M>) {
        self.highest.session = self.highest.session.max(number.0.get());
        let Some(session) = self.sessions.remove(&number) else {
            return;
        };
        for ((_, copy), owed) in session.owed {
            let message = owed.message;
            let session = number;
            self.leave(
                Delivery {
                    session,
                    message,
                    copy,
                },
                dead,
            );
        }
    }

    fn owed(&mut self, delivery: Delivery) -> Option<&mut Owed> {
        let order = self.messages.get(&delivery.message)?.order;
        let session = self.sessions.get_mut(&delivery.session)?;
        session.owed.get_mut(&(order, delivery.copy))
    }

    fn done(&mut self, delivery: Delivery, dead: &mut Vec<M>) {
        self.highest.message = self.highest.message.max(delivery.message.0);
        if let Some(message) = self.messages.get(&delivery.message)
            && let Some(session) = self.sessions.get_mut(&delivery.session)
        {
            session.owed.remove(&(message.order, delivery.copy));
            if session.is_nothing() {
                self.sessions.remove(&delivery.session);
            }
        }
        self.leave(delivery, dead);
    }

    fn leave(&mut self, delivery: Delivery, dead: &mut Vec<M>) {
        if let Some(kept) = self.messages.get_mut(&delivery.message)
            && let Ok(place) = kept
                .holders
                .binary_search(&(delivery.session, delivery.copy))
        {
            kept.holders.remove(place);
            self.bury(delivery.message, dead);
        }
    }

    fn retain(
        &mut self,
        topic: &Arc<str>,
        message: Option<MessageNumber>,
        version: u64,
        dead: &mut Vec<M>,
    ) {
        self.highest.version = self.highest.version.max(version);
        let before = self.retained.get(topic).copied();
        if before.is_some_and(|before| before.version > version) {
            return;
        }
        let now = KeptRetained { message, version };
        self.retained.insert(Arc::clone(topic), now);
        if let Some(before) = before.and_then(|before| before.message)
            && Some(before) != message
        {
            self.unretain(before, dead);
        }
        if let Some(kept) = message.and_then(|number| self.messages.get_mut(&number)) {
            kept.retained = Some((Arc::clone(topic), version));
        }
    }

    fn forget_cleared(&mut self, topic: Arc<str>) {
        self.cleared.push_back(topic);
        if self.cleared.len() > CLEARED_MAX
            && let Some(oldest) = self.cleared.pop_front()
            && let Some(known) = self.retained.get(&oldest)
            && known.message.is_none()
        {
            self.retained.remove(&oldest);
        }
    }

    fn unretain(&mut self, number: MessageNumber, dead: &mut Vec<M>) {
        if let Some(kept) = self.messages.get_mut(&number) {
            kept.retained = None;
            self.bury(number, dead);
        }
    }

    /// Nobody has a message any more.
    fn drop_message(&mut self, message: MessageNumber, dead: &mut Vec<M>) {
        let Some(known) = self.messages.get(&message) else {
            return;
        };
        let retained = known.retained.clone();
        for (session, copy) in known.holders.clone() {
            let delivery = Delivery {
                session,
                message,
                copy,
            };
            self.done(delivery, dead);
        }
        if let Some((topic, version)) = retained {
            self.retain(&topic, None, version, dead);
            self.forget_cleared(topic);
        }
    }

    fn bury(&mut self, number: MessageNumber, dead: &mut Vec<M>) {
        let nobody = |it: &KeptMessage<M>| it.holders.is_empty() && it.retained.is_none();
        if self.messages.get(&number).is_some_and(nobody)
            && let Some(gone) = self.messages.remove(&number)
        {
            dead.push(gone.message);
        }
    }
}
