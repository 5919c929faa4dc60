//! What happened: the events that go on record.

use std::net::SocketAddr;
use std::sync::Arc;

use super::credential::{CertificateFault, TokenFault};
use super::observe::Act;
use crate::limits::Limit;
use crate::policy::TeamId;
use crate::session::Peer;
use crate::time::{Span, Time};
use crate::wire::{ReasonCode, Version};

use super::review::Change;

/// One event of the data path.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When.
    pub at: Time,
    /// Whose.
    pub who: Who,
    /// What.
    pub kind: EventKind,
}

/// Whose event it is, as far as known.
#[derive(Clone, Debug, PartialEq)]
pub struct Who {
    /// The compartment; `None` for principals that span teams and for logins that were refused
    /// before a team was known.
    pub team: Option<TeamId>,
    /// As sent, judged or not.
    pub username: Option<Arc<str>>,
    /// As sent or assigned.
    pub client_id: Option<Arc<str>>,
    /// From where.
    pub peer: Peer,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum EventKind {
    /// CONNACK with success was sent.
    Connected {
        /// MQTT version.
        version: Version,
        /// Clean start or session.
        clean_start: bool,
        /// A session was resumed.
        session_present: bool,
        /// Seconds in force.
        keep_alive: u16,
        /// How long the session outlives the connection.
        session_expiry: Span,
    },
    /// A connection ended before it was admitted.
    ConnectRefused {
        /// The true reason, which the client is not told.
        reason: Refusal,
        /// What the client was told; `None`: closed without a word.
        told: Option<ReasonCode>,
    },
    /// An admitted connection ended.
    Disconnected {
        /// Why.
        cause: DisconnectCause,
        /// How long it lasted.
        duration: Span,
        /// Messages that the client published.
        messages_in: u64,
        /// Messages delivered to it.
        messages_out: u64,
        /// Bytes of MQTT it sent.
        bytes_in: u64,
        /// Bytes of MQTT sent to it.
        bytes_out: u64,
    },
    /// A connection that is logged in proved again who it is; its grant is the one of now.
    Reauthenticated,
    /// It could not, and was cut.
    ReauthenticationRefused {
        /// The true reason, which the client is not told.
        reason: Refusal,
        /// What the client was told.
        told: ReasonCode,
    },
    /// Another connection took the session; recorded for the one that lost it.
    TakenOver {
        /// The address of the connection that took it.
        by: SocketAddr,
    },
    /// A will went out, because the client's connection or session ended without its word.
    WillSent {
        /// Full name.
        topic: Box<str>,
        /// It is kept for those who subscribe later.
        retain: bool,
    },
    /// A session ended because its time without a connection was over; recorded with the address of its
    /// last connection.
    SessionExpired {
        /// How long it was kept.
        after: Span,
    },
    /// A client was over a rate: it was slowed, or cut.
    LimitHit {
        /// Of the client, or of its team.
        limit: Limit,
        /// How often since the last such event of this session.
        count: u64,
    },
    /// A publish (or, with `will`, a will) was not accepted.
    PublishRefused {
        /// Full name.
        topic: Box<str>,
        /// What the client was told, or would have been at QoS 0.
        reason: ReasonCode,
        /// In plain words: `policy`, `outside the team`, `quota` …
        why: &'static str,
        /// It was the will.
        will: bool,
    },
    /// An UNSUBSCRIBE named a filter that no session of this team can have; the client was told
    /// what is true, that there was no such subscription.
    UnsubscribeRefused {
        /// Full filter.
        filter: Box<str>,
        /// What the client was told.
        reason: ReasonCode,
        /// In plain words.
        why: &'static str,
    },
    /// Messages crossed a team's border because a rule says so; recorded for that team.
    Crossed {
        /// Which way.
        way: Way,
        /// Full name; of several, the last.
        topic: Box<str>,
        /// The rule, and where it stands in the policy.
        rule: Arc<str>,
        /// How many messages.
        count: u64,
        /// When the first of them crossed.
        since: Time,
    },
    /// A policy that is observed would have decided otherwise; nothing came of that.
    Observed {
        /// What was done.
        act: Act,
        /// What the observed policy would have decided; the one in force decided the opposite.
        would_allow: bool,
        /// Full name, or full filter with its share group.
        topic: Box<str>,
    },
    /// Somebody asked for the admin API and did not show the token. Made by the shell.
    AdminRefused {
        /// `no_token` or `wrong_token`.
        why: &'static str,
    },
    /// A filter of a SUBSCRIBE was not granted.
    SubscribeRefused {
        /// Full filter.
        filter: Box<str>,
        /// What the client was told.
        reason: ReasonCode,
        /// In plain words.
        why: &'static str,
    },
    /// A subscription that had been granted is not any more.
    SubscriptionEnded {
        /// Full filter, with the share group before it where there is one.
        filter: Box<str>,
        /// In plain words, as of a filter that is refused.
        why: &'static str,
        /// What was changed.
        change: Change,
    },
}

/// Which way a message crosses a team's border.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum Way {
    /// Into the team, published by somebody who is not of it.
    Into,
    /// Out of the team, to somebody who is not of it.
    OutOf,
}

/// Why a connection was not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// No such username.
    UnknownUser,
    /// The username has no credential: it cannot log in.
    NoCredential,
    /// The password does not match.
    WrongPassword,
    /// Neither username nor password, and the listener takes no anonymous clients.
    Anonymous,
    /// The authentication method is none that is known here.
    Method,
    /// What the client sent is not as its authentication method has it.
    Exchange,
    /// The client did not answer its authentication method's challenge in time.
    ExchangeTimeout,
    /// The token that it sent.
    Token(TokenFault),
    /// The certificate that it showed, or should have.
    Certificate(CertificateFault),
    /// Proved to be somebody, but not who the connection was logged in as.
    OtherPrincipal,
    /// The platform's own store, asked over HTTP, said no.
    Hook,
    /// It said yes and gave the client another mount than the policy gives its username.
    HookLied,
    /// The team is suspended.
    TeamSuspended,
    /// The role demands another client id.
    ClientId,
    /// The login could not be judged in time or at all.
    Unavailable,
    /// Too many logins wait to be judged.
    Busy,
    /// No complete CONNECT in time.
    ConnectTimeout,
    /// Not MQTT, or not as the standard has it.
    Malformed(ReasonCode),
    /// The TLS handshake failed, or a record after it.
    Tls,
    /// The WebSocket upgrade was answered with this HTTP status, or the frames before CONNECT
    /// with this close code (RFC 6455).
    WebSocket(u16),
    /// Its listener is for listed proxies, and it came from elsewhere; closed unheard.
    UnlistedProxy,
    /// A listed proxy did not begin with a PROXY header; closed unheard.
    ProxyHeader,
    /// The limit on a team's sessions.
    Quota,
    /// Another limit of the team or client.
    Limit(Limit),
    /// The broker has as many connections as it may; closed unheard.
    TooManyConnections,
    /// The address has as many connections as it may; closed unheard.
    AddressConnections,
    /// The address connects too often; closed unheard.
    AddressConnectRate,
    /// Too many logins from this address or under this username failed: the password was not looked
    /// at.
    TooManyFailures,
    /// What it was judged by changed meanwhile; the client is to try again.
    Changed,
    /// The client went away first.
    Gone,
    /// The broker is stopping.
    Stopping,
}

/// Why an admitted connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DisconnectCause {
    /// DISCONNECT with this reason.
    Client(ReasonCode),
    /// The socket closed without DISCONNECT.
    Lost,
    /// Nothing came for one and a half times the keep alive.
    KeepAlive,
    /// Another connection took the session.
    TakenOver,
    /// The client broke the protocol; it was told this.
    Protocol(ReasonCode),
    /// The broker ended it; it was told this.
    Server(ReasonCode),
    /// The token or certificate that it logged in with is over; it was told 0xA0.
    Expired,
    /// The certificate that it logged in with is no longer good: revoked, most often. It was told
    /// 0x98.
    Certificate(CertificateFault),
    /// Something was changed, and it may not go on; it was told what
    /// [`Change::told`](super::Change::told) says.
    Review(Change),
    /// The client broke TLS.
    Tls,
    /// The client broke RFC 6455, or sent what is not MQTT; it was told this close code.
    WebSocket(u16),
}

impl EventKind {
    /// The event's name on record: operators search and alert on it, so it never changes.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Connected { .. } => "connect",
            Self::ConnectRefused { .. } => "connect_refused",
            Self::Disconnected { .. } => "disconnect",
            Self::Reauthenticated => "reauthenticate",
            Self::ReauthenticationRefused { .. } => "reauthenticate_refused",
            Self::TakenOver { .. } => "takeover",
            Self::WillSent { .. } => "will_sent",
            Self::SessionExpired { .. } => "session_expired",
            Self::LimitHit { .. } => "limit_hit",
            Self::PublishRefused { .. } => "publish_refused",
            Self::SubscribeRefused { .. } => "subscribe_refused",
            Self::UnsubscribeRefused { .. } => "unsubscribe_refused",
            Self::Crossed { .. } => "crossing",
            Self::Observed { .. } => "policy_observed",
            Self::AdminRefused { .. } => "admin_refused",
            Self::SubscriptionEnded { .. } => "subscription_ended",
        }
    }
}

impl Way {
    /// The ways' names on record and in metrics, by index: they never change.
    pub const LABELS: [&'static str; 2] = ["into", "out_of"];

    /// The way's name.
    pub const fn as_str(self) -> &'static str {
        Self::LABELS[self as usize]
    }
}

impl Refusal {
    /// What a client that was judged and refused is told: the same whatever the reason, except
    /// that a method may be named unknown (section 4.12), which says nothing about anybody.
    pub const fn told(self) -> ReasonCode {
        match self {
            Self::Method => ReasonCode::BadAuthenticationMethod,
            _ => ReasonCode::BadUserNameOrPassword,
        }
    }

    /// The reason's name on record and in metrics: it never changes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownUser => "unknown_user",
            Self::NoCredential => "no_credential",
            Self::WrongPassword => "wrong_password",
            Self::Anonymous => "anonymous",
            Self::Method => "method",
            Self::Exchange => "exchange",
            Self::ExchangeTimeout => "exchange_timeout",
            Self::Token(fault) => fault.as_str(),
            Self::Certificate(fault) => fault.as_str(),
            Self::OtherPrincipal => "other_principal",
            Self::Hook => "hook",
            Self::HookLied => "hook_lied",
            Self::TeamSuspended => "team_suspended",
            Self::ClientId => "client_id",
            Self::Unavailable => "unavailable",
            Self::Busy => "busy",
            Self::ConnectTimeout => "connect_timeout",
            Self::Malformed(_) => "malformed",
            Self::Tls => "tls",
            Self::WebSocket(_) => "websocket",
            Self::UnlistedProxy => "unlisted_proxy",
            Self::ProxyHeader => "proxy_header",
            Self::Quota => "quota",
            Self::Limit(limit) => limit.as_str(),
            Self::TooManyConnections => "too_many_connections",
            Self::AddressConnections => "address_connections",
            Self::AddressConnectRate => "address_connect_rate",
            Self::TooManyFailures => "too_many_failures",
            Self::Changed => "changed",
            Self::Gone => "gone",
            Self::Stopping => "stopping",
        }
    }
}

impl DisconnectCause {
    /// The cause's name on record and in metrics: it never changes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client(_) => "client",
            Self::Lost => "lost",
            Self::KeepAlive => "keep_alive",
            Self::TakenOver => "taken_over",
            Self::Protocol(_) => "protocol",
            Self::Server(_) => "server",
            Self::Expired => "expired",
            Self::Certificate(fault) => fault.as_str(),
            Self::Review(_) => "review",
            Self::Tls => "tls",
            Self::WebSocket(_) => "websocket",
        }
    }
}
