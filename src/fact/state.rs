//! What facts add up to.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use super::{Delivery, Fact, Kept, Target, Terms, Wanted};
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
    pub messages: HashMap<MessageNumber, KeptMessage<M>>,
    /// By full topic.
    pub retained: HashMap<Arc<str>, KeptRetained>,
    /// Topics that were cleared, in that order; not many more than can race.
    cleared: VecDeque<Arc<str>>,
    last: Order,
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
    /// `None`: nothing was said of it yet. What is carried forward in a log comes later than what
    /// builds on it; a session that has none at the end of the log is none.
    pub terms: Option<Box<Terms>>,
    /// When it ends, where it has no connection.
    pub left: Option<Left>,
    /// Its will.
    pub will: Option<Box<Will>>,
    /// What it wants.
    pub subscriptions: BTreeMap<Arc<str>, Wanted>,
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
#[derive(Debug)]
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
            messages: HashMap::new(),
            retained: HashMap::new(),
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
            } => self.session(session).left = Some(Left { expires, will_due }),
            Fact::Ended(number) => self.end(number, dead),
            Fact::Subscribed(number, key, wanted) => {
                self.session(number).subscriptions.insert(key, wanted);
            }
            Fact::Unsubscribed(number, key) => {
                self.session(number).subscriptions.remove(&key);
            }
            Fact::Will(number, will) => self.session(number).will = will,
            Fact::Kept(kept) => self.keep(self.next_order(), *kept, dead),
            Fact::Sent(delivery, id) => {
                if let Some(owed) = self.owed(delivery) {
                    owed.sent = Some(id);
                }
                if let Some(session) = self.sessions.get_mut(&delivery.session) {
                    session.last_id = id.get();
                }
            }
            Fact::Released(delivery, id) => {
                if self.owed(delivery).is_some() {
                    self.done(delivery, dead);
                    self.session(delivery.session).released.insert(id);
                }
            }
            Fact::Done(delivery) => self.done(delivery, dead),
            Fact::Completed(session, id) => {
                self.session(session).released.remove(&id);
            }
            Fact::Received(session, id) => {
                self.session(session).received.insert(id);
            }
            Fact::Freed(session, id) => {
                self.session(session).received.remove(&id);
            }
            Fact::Cleared(topic, version) => {
                self.retain(&topic, None, version, dead);
                self.cleared.push_back(topic);
                if self.cleared.len() > CLEARED_MAX
                    && let Some(oldest) = self.cleared.pop_front()
                    && self
                        .retained
                        .get(&oldest)
                        .is_some_and(|it| it.message.is_none())
                {
                    self.retained.remove(&oldest);
                }
            }
        }
    }

    /// Adds a message that has this place among all others, whatever has come since.
    pub fn keep(&mut self, order: Order, kept: Kept<M>, dead: &mut Vec<M>) {
        let Kept {
            number,
            message,
            targets,
            retained,
            receipt,
        } = kept;
        if let Some((session, id)) = receipt {
            self.session(session).received.insert(id);
        }
        self.last = self.last.max(order);
        let order = match self.messages.get_mut(&number) {
            Some(known) => known.order,
            None => {
                let message = KeptMessage {
                    message,
                    order,
                    holders: Vec::new(),
                    retained: None,
                };
                self.messages.insert(number, message);
                order
            }
        };
        for target in &targets {
            let owed = Owed {
                message: number,
                target: *target,
                sent: None,
            };
            let session = self.session(target.session);
            session.owed.insert((order, target.copy), owed);
        }
        if let Some(message) = self.messages.get_mut(&number) {
            let holders = targets.iter().map(|it| (it.session, it.copy));
            message.holders.extend(holders);
            message.holders.sort_unstable();
            message.holders.dedup();
        }
        if let Some((topic, version)) = retained {
            self.retain(&topic, Some(number), version, dead);
        }
        self.bury(number, dead);
    }

    /// Only sessions whose terms are known, and only messages that they have or that are retained:
    /// what is left at the end of a log.
    pub fn settle(&mut self, dead: &mut Vec<M>) {
        let unknown = self.sessions.iter().filter(|(_, it)| it.terms.is_none());
        for number in unknown.map(|(number, _)| *number).collect::<Vec<_>>() {
            self.end(number, dead);
        }
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
            cleared: self.cleared,
            last: self.last,
        }
    }

    fn session(&mut self, number: SessionNumber) -> &mut KeptSession {
        self.sessions.entry(number).or_default()
    }

    fn end(&mut self, number: SessionNumber, dead: &mut Vec<M>) {
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

    fn unretain(&mut self, number: MessageNumber, dead: &mut Vec<M>) {
        if let Some(kept) = self.messages.get_mut(&number) {
            kept.retained = None;
            self.bury(number, dead);
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
