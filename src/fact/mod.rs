//! What must outlive a crash: the facts that shards state, and the [`State`] that they add up to.
//!
//! A shard states facts as they happen and never waits; the journal keeps them, in order, and says
//! which are kept. On start the same facts are applied to an empty [`State`], and what it then holds
//! goes back to the shards. Sessions and messages have numbers here that are not used again, in
//! later runs neither. Whatever is said of a number that is not known is passed over: a log that is
//! cleaned from its oldest end says such things.
//!
//! Called by `session` and `broker`, which state them, and by `journal`, which keeps them. Facts and state are
//! generic over what stands for a message: the message, or the place in a log where it is.

mod facts;
mod state;

use std::net::SocketAddr;
use std::sync::Arc;

pub use facts::Facts;
pub use state::{Highest, KeptMessage, KeptRetained, KeptSession, Left, Order, Owed, State, Table};

use crate::policy::{KnownBy, Principal};
use crate::team::{Message, MessageNumber, SessionNumber, Will};
use crate::time::{Span, Time};
use crate::wire::{PacketId, QoS, SubscriptionOptions};

/// Something that happened and is to be known after a crash.
#[derive(Clone, Debug)]
pub enum Fact<M = Arc<Message>> {
    /// A session began, or goes on under other terms; it has a connection now.
    Session(SessionNumber, Box<Terms>),
    /// Its connection ended.
    Left {
        /// Whose.
        session: SessionNumber,
        /// When it ends.
        expires: Time,
        /// When its will goes out, if it has one.
        will_due: Time,
    },
    /// It is over, and with it everything that it had.
    Ended(SessionNumber),
    /// It subscribed, or subscribed anew, under this key: the full filter, with `$share/<group>/`
    /// before it where it is shared.
    Subscribed(SessionNumber, Arc<str>, Wanted),
    /// It did not want this key any more.
    Unsubscribed(SessionNumber, Arc<str>),
    /// Retained messages are on their way to this subscription of it, and it has come so far; what it was
    /// sent until there is stated with it.
    Replaying(SessionNumber, Arc<str>, Standing),
    /// They have all been sent.
    Replayed(SessionNumber, Arc<str>),
    /// It has this will now, or none.
    Will(SessionNumber, Option<Box<Will>>),
    /// A message is there for sessions, or as a retained one. One whose number is known is there
    /// for these sessions too.
    Kept(Box<Kept<M>>),
    /// A message went to the session's client under this identifier.
    Sent(Delivery, PacketId),
    /// The client has a QoS 2 message: PUBREC came, PUBREL is owed until PUBCOMP.
    Released(Delivery, PacketId),
    /// The session has no more to do with a message: acknowledged, or let go.
    Done(Delivery),
    /// PUBCOMP came.
    Completed(SessionNumber, PacketId),
    /// A QoS 2 identifier of the client's is in use, though no message was kept for it.
    Received(SessionNumber, PacketId),
    /// PUBREL came: the identifier is free again.
    Freed(SessionNumber, PacketId),
    /// There is no retained message of this full topic any more. Versions of what is retained are
    /// counted up; of two facts about a topic the one with the higher is right, for shards race.
    Cleared(Arc<str>, u64),
}

impl<M> Fact<M> {
    /// The message that it says is there, or the fact, which is about none that stands in it.
    ///
    /// # Errors
    /// It is [`Fact::Kept`].
    pub fn without_message<N>(self) -> Result<Fact<N>, Box<Kept<M>>> {
        Ok(match self {
            Self::Kept(kept) => return Err(kept),
            Self::Session(number, terms) => Fact::Session(number, terms),
            Self::Left {
                session,
                expires,
                will_due,
            } => Fact::Left {
                session,
                expires,
                will_due,
            },
            Self::Ended(number) => Fact::Ended(number),
            Self::Subscribed(number, key, wanted) => Fact::Subscribed(number, key, wanted),
            Self::Unsubscribed(number, key) => Fact::Unsubscribed(number, key),
            Self::Replaying(number, key, standing) => Fact::Replaying(number, key, standing),
            Self::Replayed(number, key) => Fact::Replayed(number, key),
            Self::Will(number, will) => Fact::Will(number, will),
            Self::Sent(delivery, id) => Fact::Sent(delivery, id),
            Self::Released(delivery, id) => Fact::Released(delivery, id),
            Self::Done(delivery) => Fact::Done(delivery),
            Self::Completed(session, id) => Fact::Completed(session, id),
            Self::Received(session, id) => Fact::Received(session, id),
            Self::Freed(session, id) => Fact::Freed(session, id),
            Self::Cleared(topic, version) => Fact::Cleared(topic, version),
        })
    }
}

/// What a session was when it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Within the principal's.
    pub client_id: Arc<str>,
    /// Whose.
    pub principal: Principal,
    /// By what that was known when it logged in.
    pub known_by: KnownBy,
    /// How long it outlives a connection.
    pub expiry: Span,
    /// The listener of its connection, whose limits it has.
    pub listener: Arc<str>,
    /// Where that connection came from.
    pub address: SocketAddr,
}

/// A subscription. What follows from the grant is decided anew after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// As in force.
    pub options: SubscriptionOptions,
    /// 0: none.
    pub id: u32,
    /// Its number among the session's shared subscriptions; 0: not shared.
    pub share: u32,
}

/// A place in a walk through retained messages: over one compartment's after the other, in the order of
/// their roots, those that belong to no team last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The root of the compartment that it has come to; empty: of the commons.
    pub root: Arc<str>,
    /// The last of its topics that was looked at; `None`: none was.
    pub after: Option<Arc<str>>,
}

/// A message that is kept.
#[derive(Clone, Debug)]
pub struct Kept<M = Arc<Message>> {
    /// Its number.
    pub number: MessageNumber,
    /// The message.
    pub message: M,
    /// For whom.
    pub targets: Vec<Target>,
    /// The full topic whose retained message it is, and the version.
    pub retained: Option<(Arc<str>, u64)>,
    /// The QoS 2 identifier under which it came, which is in use now.
    pub receipt: Option<(SessionNumber, PacketId)>,
}

/// One message for one session. Overlapping subscriptions make several of the same two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Delivery {
    /// Whose.
    pub session: SessionNumber,
    /// What.
    pub message: MessageNumber,
    /// Which of them; see [`Message::next_copy`].
    pub copy: u32,
}

/// A session that a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Whose.
    pub session: SessionNumber,
    /// Which of those of this message.
    pub copy: u32,
    /// As it will be delivered: 1 or 2.
    pub qos: QoS,
    /// The flag as it will be delivered.
    pub retain: bool,
    /// 0: none.
    pub subscription_id: u32,
    /// The number of the shared subscription that it came by; 0: it came by none.
    pub share: u32,
}
