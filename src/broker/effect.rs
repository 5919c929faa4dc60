//! What a shard asks its shell to do.

use std::any::Any;
use std::sync::Arc;

use super::ask::Question;
use super::connect::Migrant;
use super::credential::CertificateFault;
use super::event::{Event, Refusal};
use crate::policy::Grant;
use crate::session::Peer;
use crate::wire::Version;

/// A connection within one shard. Ids are used again, generations are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId {
    /// Place in the shard's table.
    pub index: u32,
    /// Which occupant of that place.
    pub generation: u32,
}

/// Something that the shell is to do.
#[derive(Debug)]
pub enum Effect {
    /// Judge a login, elsewhere, and answer with `Shard::judged`.
    Judge(Box<Login>),
    /// Write what the outbox holds, then close the socket.
    Close(ConnId),
    /// Hand the socket to another shard, which takes the rest with `Shard::adopt`: the session
    /// that this client comes back to lives there. The connection is gone here.
    Move {
        /// Whose socket.
        conn: ConnId,
        /// The other shard.
        to: u16,
        /// What the core knows of the connection.
        migrant: Box<Migrant>,
    },
    /// Ask elsewhere whether a principal may do something, and answer with `Shard::answered`, by
    /// the time that a client can be made to wait.
    Ask(Box<Question>),
    /// Let the platform know of a topic by asking about it; no answer is wanted.
    Report(Box<Question>),
    /// Put an event on record.
    Record(Box<Event>),
}

/// How a client can break what lies below MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breach {
    /// The TLS handshake, or a record after it.
    Tls,
    /// The certificate that a client showed in the TLS handshake, or should have.
    Certificate(CertificateFault),
    /// WebSocket: the HTTP status or the close code that the client was told.
    WebSocket(u16),
}

/// A login to judge. Holds a secret: never printed, dropped once judged.
pub struct Login {
    /// Whose.
    pub conn: ConnId,
    /// From where.
    pub peer: Peer,
    /// The version that CONNECT asked for.
    pub version: Version,
    /// As sent; empty where the server is to assign one.
    pub client_id: Box<str>,
    /// As sent.
    pub username: Option<Box<str>>,
    /// As sent; never there beyond the first step of an exchange.
    pub password: Option<Box<[u8]>>,
    /// Enhanced authentication, where the client asked for it: then this decides, and the password
    /// does not.
    pub exchange: Option<Exchange>,
    /// The certificate that the client showed and TLS has checked, in DER. The core knows none: the
    /// shell adds it.
    pub certificate: Option<Box<[u8]>>,
}

/// One step of an enhanced authentication (section 4.12), from the client's side.
pub struct Exchange {
    /// The method that CONNECT named.
    pub method: Arc<str>,
    /// As sent.
    pub data: Option<Box<[u8]>>,
    /// What the judge gave along with its last challenge; `None`: the exchange begins.
    pub state: Option<ExchangeState>,
}

/// What a judge wants back with the answer to its challenge. The core keeps it and never looks
/// inside; with the connection it is gone, so that no table of exchanges has to be kept or bounded.
pub struct ExchangeState(Box<dyn Any + Send + Sync>);

/// What a login amounts to.
#[derive(Debug)]
pub enum Verdict {
    /// Comes in, with this grant.
    Admit(Arc<Grant>),
    /// Comes in, and its method has a last word for it, which proves the server to the client.
    AdmitWith {
        /// What it may do.
        grant: Arc<Grant>,
        /// Goes into CONNACK, or into the AUTH that ends a re-authentication.
        data: Box<[u8]>,
    },
    /// The method needs more from the client. Only for a login with an [`Exchange`].
    Challenge {
        /// Goes to the client.
        data: Box<[u8]>,
        /// Comes back with the client's answer.
        state: ExchangeState,
        /// Who the client says it is, for the record.
        username: Option<Arc<str>>,
    },
    /// Judged and refused. The client is told 0x86 (5.0) or return code 4 (3.x) whatever the
    /// reason, but for [`Refusal::Method`]; the true one goes on record.
    Refuse(Refusal),
    /// Nothing could be judged (database away, queue full): closed without CONNACK, so that the
    /// client tries again.
    Undecided(Refusal),
}

impl ExchangeState {
    /// Wraps what the judge wants back.
    pub fn new<T: Any + Send + Sync>(state: T) -> Self {
        Self(Box::new(state))
    }

    /// What was wrapped, where it was a `T`.
    pub fn get<T: Any>(&self) -> Option<&T> {
        self.0.downcast_ref()
    }

    /// Unwraps a `T`; `None` where it is something else.
    pub fn into<T: Any>(self) -> Option<T> {
        self.0.downcast().ok().map(|state| *state)
    }
}

impl std::fmt::Debug for ExchangeState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ExchangeState(..)")
    }
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login")
            .field("conn", &self.conn)
            .field("peer", &self.peer)
            .field("client_id", &self.client_id)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}
