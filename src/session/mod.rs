//! One session's protocol state `[MQTT-4.1]`: subscriptions, the two QoS flows, the queue, the will.
//!
//! A session knows nothing of sockets, bytes or other sessions; `broker` moves its messages and
//! tells it the time. It outlives its connection for as long as its expiry says.

mod incoming;
mod meter;
mod outgoing;
mod subscriptions;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub use incoming::{Incoming, Receipt};
pub use meter::{Meter, Over};
pub use outgoing::{Flight, Outgoing, PubRecOutcome, QueueFull, Queued, Resend};
pub use subscriptions::{Subscription, Subscriptions};

use crate::fact::Standing;
use crate::limits::Limits;
use crate::policy::Grant;
use crate::team::{Presence, SessionAddress, SessionKey, SessionNumber, Team, Will};
use crate::time::{Span, Time};

/// The far end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The client's address (the true one, where a listed proxy told it).
    pub address: SocketAddr,
    /// The listener's name in the configuration.
    pub listener: Arc<str>,
}

/// What an address counts as where callers are counted: who has one address of IPv6 has the other 2^64
/// of its network.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

/// A session.
#[derive(Debug)]
pub struct Session {
    /// Whose, within the team.
    pub key: SessionKey,
    /// Where it lives.
    pub address: SessionAddress,
    /// The compartment that it belongs to: its team, or the commons.
    pub team: Arc<Team>,
    /// What it may do; that of the connection, or of the last one.
    pub grant: Arc<Grant>,
    /// The number of the last review that the grant takes account of.
    pub reviewed: u64,
    /// Index of its connection.
    pub conn: Option<u32>,
    /// The far end of its connection, or of the last one.
    pub peer: Peer,
    /// Of the listener of that connection, or of the team where that is stricter.
    pub limits: Arc<Limits>,
    /// What it has published, against its rates.
    pub meter: Meter,
    /// Its connection is another broker's of 3.x, which cannot ask for no local and retain as
    /// published and needs both: without them its messages come back, and retained ones go on as
    /// others.
    pub bridge: bool,
    /// QoS 1 and 2 messages in flight towards the client at a time.
    pub window: u16,
    /// CONNECT asked for it to outlive the connection, whatever the limit made of that.
    pub asked_to_outlive: bool,
    /// How long it outlives a connection.
    pub expiry: Span,
    /// When it ends, while it has no connection.
    pub expires: Time,
    /// The will of the connection, or of the last one while it is delayed.
    pub will: Option<Will>,
    /// When the will goes out, while it is delayed.
    pub will_due: Time,
    /// The earliest timer set for it.
    pub timer: Time,
    /// What it wants.
    pub subscriptions: Subscriptions,
    /// The number of the last shared subscription made; numbers are not used again.
    pub last_share: u32,
    /// QoS 1 and 2 towards the client.
    pub outgoing: Outgoing,
    /// QoS 2 from the client.
    pub incoming: Incoming,
    /// Retained messages still to be sent, by the subscription's key in [`Subscriptions`].
    pub replays: BTreeMap<Arc<str>, Replay>,
    /// What share groups know of it.
    pub presence: Arc<Presence>,
    /// It may see less than before, and no more what came by these filters: what was on its way from
    /// another shard then is looked at once more. `None`: it never lost anything.
    pub lost: Option<Box<BTreeSet<Arc<str>>>>,
    /// What it is called where it is kept beyond a crash; `None`: it is not.
    pub number: Option<SessionNumber>,
}

/// Retained messages on their way to a new subscription: a place in a walk over one team's after
/// the other.
#[derive(Debug)]
pub struct Replay {
    /// Whose retained messages.
    pub teams: Arc<[Arc<Team>]>,
    /// The team that the walk has come to.
    pub place: usize,
    /// The last of its topics that was looked at.
    pub after: Option<Box<str>>,
}

impl Replay {
    /// Where it stands, as it is kept. `None`: at its end.
    pub fn standing(&self) -> Option<Standing> {
        Some(Standing {
            root: self.teams.get(self.place)?.root().into(),
            after: self.after.as_deref().map(Arc::from),
        })
    }

    /// Over these teams, from where it stood before a crash. `None`: there is nothing left.
    pub fn resumed(teams: Arc<[Arc<Team>]>, standing: &Standing) -> Option<Self> {
        // The commons, whose root is empty, come last.
        let rank = |root: &str| (root.is_empty(), root.to_owned());
        let reached = rank(&standing.root);
        let place = teams.iter().position(|it| rank(it.root()) >= reached)?;
        let is_same = teams[place].root() == &*standing.root;
        let after = standing.after.as_deref().filter(|_| is_same);
        let after = after.map(Box::from);
        Some(Self {
            teams,
            place,
            after,
        })
    }
}

impl Session {
    /// A session without anything in it.
    pub fn new(
        key: SessionKey,
        address: SessionAddress,
        team: Arc<Team>,
        grant: Arc<Grant>,
        peer: Peer,
        limits: Arc<Limits>,
    ) -> Self {
        let outgoing = Outgoing::within(Arc::clone(&team.bounds.queued));
        Self {
            key,
            address,
            team,
            grant,
            reviewed: 0,
            conn: None,
            peer,
            limits,
            meter: Meter::default(),
            bridge: false,
            window: 0,
            asked_to_outlive: false,
            expiry: Span::ZERO,
            expires: Time::NEVER,
            will: None,
            will_due: Time::NEVER,
            timer: Time::NEVER,
            subscriptions: Subscriptions::default(),
            last_share: 0,
            outgoing,
            incoming: Incoming::default(),
            replays: BTreeMap::new(),
            presence: Arc::default(),
            lost: None,
            number: None,
        }
    }

    /// From now on it is kept under this number, or not at all.
    pub const fn keep_as(&mut self, number: Option<SessionNumber>) {
        self.number = number;
        self.outgoing.keep_as(number);
    }

    /// A connection came or went.
    pub fn attach(&mut self, conn: Option<u32>) {
        self.conn = conn;
        self.presence
            .connected
            .store(conn.is_some(), Ordering::Relaxed);
    }

    /// Tells share groups how much waits.
    pub fn publish_waiting(&self) {
        let waiting = u32::try_from(self.outgoing.waiting()).unwrap_or(u32::MAX);
        self.presence.waiting.store(waiting, Ordering::Relaxed);
    }

    /// The next time at which something is due while there is no connection.
    pub fn due(&self) -> Time {
        match self.conn {
            Some(_) => Time::NEVER,
            None => self.expires.min(self.will_due),
        }
    }

    /// A full topic as this session's client sees it: its mount taken off. `None` where it lies
    /// outside the mount, or is the mount itself, so that the client has no name for it: an empty
    /// one would be a protocol error of ours `[MQTT-4.7.3-1]`.
    pub fn unmount<'t>(&self, topic: &'t str) -> Option<&'t str> {
        let own = topic.strip_prefix(self.grant.mount());
        own.filter(|own| !own.is_empty())
    }
}
