//! What the model knows of a session, and of the messages in it.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use cofferdam::team::{Message as Kept, SessionAddress};
use cofferdam::time::{Span, Time};
use cofferdam::wire::client::{Property, Publish};
use cofferdam::wire::{QoS, SubscriptionOptions};

use crate::cast::TEAMS;

/// A message that was accepted.
pub struct Message {
    /// In the order of acceptance; a message that a client sent twice at QoS 1 has two.
    pub serial: u64,
    /// Full name.
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: QoS,
    pub retain: bool,
    pub expires: Time,
    /// Those that are passed on, in order.
    pub properties: Vec<Property>,
    /// Full name.
    pub response_topic: Option<String>,
    /// The session that published it.
    pub publisher: u64,
    /// It outlived a crash: who published it is not known any more, for no local.
    pub nobodys: Cell<bool>,
    /// The place in the journal of its publisher's receipt, at QoS 2; [`IN_THIS_TURN`]; 0: none.
    pub receipt: Cell<u64>,
    /// There is a journal: what waits for it may be overtaken at another QoS.
    pub journaled: bool,
}

/// The place of what is being stated in this turn.
pub const IN_THIS_TURN: u64 = u64::MAX;

/// A message on its way to one session, by one subscription.
#[derive(Clone)]
pub struct Entry {
    pub message: Rc<Message>,
    pub qos: QoS,
    pub retain: bool,
    /// 0: none.
    pub id: u32,
    /// The number of the shared subscription that it came by; 0: it came by none.
    pub share: u32,
    /// Another member of its group was to have it: it comes when it comes.
    pub handed: bool,
    /// It was on its way when its receiver lost the right to it: whether it arrives is left open.
    pub doubtful: bool,
    /// It arrived in this turn.
    pub fresh: bool,
    /// As the core was seen to hold it, so that it is known again among others that look alike.
    pub seen: Option<Arc<Kept>>,
}

/// A QoS 1 or 2 message that was sent and is not yet acknowledged.
#[derive(Clone, Debug)]
pub struct Flight {
    pub id: u16,
    pub entry: Entry,
    /// PUBREC came.
    pub released: bool,
    /// On the present connection.
    pub sent: bool,
    /// First sent in this turn.
    pub fresh: bool,
    /// The place in the journal of what was last stated of it; 0: nothing.
    pub stated: u64,
}

/// What has an order.
pub type Order = (u64, Option<&'static str>, Option<(QoS, QoS)>);

/// A subscription.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// Full filter.
    pub filter: String,
    pub group: Option<String>,
    pub options: SubscriptionOptions,
    /// 0: none.
    pub id: u32,
    /// Of a shared one: its number within the session, which is not used again.
    pub share: u32,
    /// It begins with a wildcard.
    pub hides: bool,
}

/// Retained messages that a SUBSCRIBE asked for.
#[derive(Clone, Debug)]
pub struct Replay {
    pub of: Subscription,
    /// Topics sent.
    pub done: Vec<String>,
    /// Topics that were retained when it began.
    pub due: Vec<String>,
    /// Its subscription is gone: it may have been sent in this turn, and no longer.
    pub over: bool,
}

/// A will.
#[derive(Clone, Debug)]
pub struct Will {
    pub publish: Publish,
    pub delay: Span,
}

/// A session.
#[derive(Clone, Debug)]
pub struct Session {
    /// Never used again.
    pub uid: u64,
    /// It is kept beyond a crash; it ever was.
    pub kept: bool,
    pub was_kept: bool,
    /// What its queue held after a crash, whatever the limits: messages and bytes.
    pub surplus: (usize, u64),
    pub who: usize,
    /// Which of its person's rights it has.
    pub rights: usize,
    pub shard: u16,
    pub address: Option<SessionAddress>,
    pub line: Option<usize>,
    /// The connection that it lost in this turn.
    pub was_on: Option<usize>,
    pub expiry: Span,
    pub expires: Time,
    pub will: Option<Will>,
    pub will_due: Time,
    pub window: usize,
    pub subscriptions: Vec<Subscription>,
    /// Those that it lost with its rights, ever.
    pub lost: Vec<Subscription>,
    /// The number of the last shared subscription.
    pub last_share: u32,
    pub flights: Vec<Flight>,
    pub queue: Vec<Entry>,
    /// Those of the queue that the core has in its own, while a turn is compared.
    pub waits: Vec<Entry>,
    /// QoS 0 messages that must have been sent when the turn ends, or wait for a slow reader; by line,
    /// oldest first.
    pub at_once: Vec<(usize, Entry)>,
    /// Those of them that the core has waiting, while a turn is compared.
    pub late: Vec<(usize, Entry)>,
    /// The last of them that were sent, by line and order.
    pub sent_at_once: HashMap<(usize, Order), u64>,
    /// QoS 2 identifiers received and not released, with the place of the receipt in the journal.
    pub held: Vec<(u16, u64)>,
    pub replays: Vec<Replay>,
    pub ended: bool,
    /// How often each message was to be delivered at QoS 1 or 2, by payload and QoS.
    pub owed: HashMap<(Vec<u8>, QoS), usize>,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let payload = String::from_utf8_lossy(&self.payload);
        write!(
            f,
            "{payload:.20?} to {:?} at QoS {}",
            self.topic, self.qos as u8
        )?;
        if self.expires < Time::NEVER {
            write!(f, " until {}", self.expires.as_micros())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{:?}, as QoS {}", self.message, self.qos as u8)?;
        for (on, what) in [(self.retain, "retained"), (self.fresh, "fresh")] {
            if on {
                write!(f, ", {what}")?;
            }
        }
        if self.id > 0 {
            write!(f, ", identifier {}", self.id)?;
        }
        write!(f, ">")
    }
}

impl Message {
    /// Whether the broker's is this one, as far as can be told.
    pub fn is(&self, held: &Kept) -> bool {
        let is_nobodys = held.publisher == SessionAddress::NOBODY;
        self.payload == held.view().payload
            && self.expires == held.expires
            && self.nobodys.get() == is_nobodys // who sent it again after a crash is known
    }

    /// Whether this session published it, as far as is known.
    pub fn is_of(&self, session: u64) -> bool {
        self.publisher == session && !self.nobodys.get()
    }

    /// Bytes as limits count them: topics, passed-on properties, payload.
    pub fn size(&self) -> usize {
        let property = |property: &Property| match property {
            Property::PayloadFormat(_) => 2,
            Property::ContentType(text) => 3 + text.len(),
            Property::CorrelationData(data) => 3 + data.len(),
            Property::User(name, value) => 5 + name.len() + value.len(),
            other => unreachable!("not passed on: {other:?}"),
        };
        self.topic.len()
            + self.payload.len()
            + self.response_topic.as_ref().map_or(0, String::len)
            + self.properties.iter().map(property).sum::<usize>()
    }
}

impl Entry {
    /// Whether a client could not tell the two apart, be it one of 3.x, which is shown no
    /// identifier.
    pub fn is_like(&self, other: &Self) -> bool {
        let terms = |entry: &Self| (entry.qos, entry.retain);
        Rc::ptr_eq(&self.message, &other.message) && terms(self) == terms(other)
    }
}

impl Entry {
    /// Messages of which the order is known, and promised, have the same: those of one publisher to
    /// topics of one team, and where some of them wait for a journal, of one QoS on both sides
    /// `[MQTT-4.6.0-6]`. What a principal that spans teams says to two of them has turns of either.
    pub fn order(&self) -> Option<Order> {
        let Message {
            publisher,
            topic,
            journaled,
            ..
        } = &*self.message;
        let mut teams = TEAMS.into_iter();
        let team = teams.find(|team| topic.starts_with(&format!("ff/v1/{team}/")));
        // Without a payload they cannot be told apart.
        let is_known = !self.handed && !self.message.payload.is_empty();
        let qos = (*journaled).then_some((self.message.qos, self.qos));
        is_known.then_some((*publisher, team, qos))
    }

    /// Whether it has an order with another that was accepted later.
    pub fn is_before(&self, other: &Self) -> bool {
        self.order().is_some()
            && self.order() == other.order()
            && self.message.serial < other.message.serial
    }
}

impl Subscription {
    /// Whether the one takes the other's place.
    pub fn is_named_as(&self, other: &Self) -> bool {
        self.filter == other.filter && self.group == other.group
    }
}

impl Session {
    /// Messages sent on this connection and not acknowledged.
    pub fn under_way(&self) -> usize {
        self.flights.iter().filter(|flight| flight.sent).count()
    }

    /// A message that is to reach the client at least once.
    pub fn owe(&mut self, entry: &Entry) {
        let key = (entry.message.payload.clone(), entry.qos);
        *self.owed.entry(key).or_default() += 1;
    }

    /// A message that was dropped, and rightly.
    pub fn owe_no_longer(&mut self, entry: &Entry) {
        let key = (entry.message.payload.clone(), entry.qos);
        *self.owed.entry(key).or_default() -= 1;
    }

    /// The queue is what waits. Returns the rest.
    pub fn end_queue(&mut self) -> Vec<Entry> {
        let waits = std::mem::take(&mut self.waits);
        std::mem::replace(&mut self.queue, waits)
    }

    /// What was sent in this turn is in the order in which it was sent, whichever was seen first.
    pub fn sort_fresh(&mut self) {
        let old = self.flights.iter().take_while(|flight| !flight.fresh);
        let (from, mut ids) = (old.count(), self.flights.iter().map(|flight| flight.id));
        // Identifiers are given out in turn, and nothing here uses them up.
        if ids.all(|id| id < u16::MAX / 2) {
            self.flights[from..].sort_by_key(|flight| flight.id);
        }
    }

    /// The place of a flight.
    pub fn flight(&self, id: u16) -> Option<usize> {
        self.flights.iter().position(|flight| flight.id == id)
    }
}
