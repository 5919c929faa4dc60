//! The shards' threads: starting, stopping.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, Barrier};
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::task::{LocalSet, spawn_local, yield_now};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::addresses::Addresses;
use super::clock::Clock;
use super::held::Held;
use super::kept::Share;
use super::listener::{self, accept};
use super::peers::{Inbound, Peers};
use super::reactor::{Outcome, Reactor, SharedReactor};
use super::recheck::{Recheck, recheck_all};
use super::services::Services;
use super::tls::ClientVerifier;
use crate::audit::Spooled;
use crate::broker::{Answer, ConnId, Review, Shard, Verdict};
use crate::journal::{Journal, Unfinished};
use crate::team::World;
use crate::telemetry::Reporter;

pub use super::desk::{Asked, Brought, Desk};
pub use super::kept::Kept;
pub use super::listener::{ListenerSpec, TlsInForce};
pub use super::services::{Record, Request};
pub use super::visit::Shards;

/// How long an ending connection may take to take our last words and say its own.
const ENDING: Duration = Duration::from_secs(2);

/// How long a stopping shard waits for its connections.
const STOPPING: Duration = Duration::from_millis(500);

/// How long a stopping broker waits for its journal.
const KEEPING: Duration = Duration::from_secs(10);

/// How often a shard leaves its counts for the metrics page.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// What the names of the shards' threads begin with.
pub const SHARD_THREAD: &str = "shard-";

/// What a server is made of.
pub struct Parts {
    /// What the shards share.
    pub world: Arc<World>,
    /// One reporter a shard; their number is the number of shards.
    pub reporters: Vec<Reporter>,
    /// Where clients connect; as many sockets each as there are reporters.
    pub listeners: Bound,
    /// Who connects from where.
    pub addresses: Addresses,
    /// Where the time comes from.
    pub clock: Clock,
    /// Where logins go.
    pub judge: mpsc::Sender<Request>,
    /// Where questions go about what clients may do; `None`: nobody can be asked.
    pub desk: Option<Desk>,
    /// Where events go.
    pub record: Record,
    /// What was kept, and the journal; `None`: nothing is kept beyond a restart.
    pub kept: Option<Kept>,
    /// Nobody is admitted whose connect is not on record.
    pub strict: bool,
}

/// Listeners whose addresses are ours. Clients may connect; they wait until the shards run.
pub struct Bound(Vec<(ListenerSpec, Vec<TcpListener>)>);

/// The running shards.
pub struct Server {
    threads: Vec<JoinHandle<()>>,
    peers: Peers,
    addresses: Vec<(Arc<str>, SocketAddr)>,
    journal: Option<Journal>,
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A listener's socket.
    #[error("listener `{name}` cannot use {address}: {source}")]
    Bind {
        /// The listener.
        name: Arc<str>,
        /// Its address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// A thread or its runtime.
    #[error("a shard cannot start: {0}")]
    Shard(#[source] io::Error),
    /// The system's source of randomness.
    #[error("the system gives no random bytes: {0}")]
    Random(#[source] getrandom::Error),
}

/// Answers logins and questions: gives each verdict to the shard that waits for it. Cheap to clone.
#[derive(Clone)]
pub struct Verdicts(Peers);

/// Hands reviews to all shards, in one order. Cheap to clone.
#[derive(Clone)]
pub struct Reviews(Arc<Mutex<Peers>>);

/// Tells all shards how far events are on record. Cheap to clone.
#[derive(Clone)]
pub struct Spooling(Arc<Mutex<Peers>>);

/// One shard's share of the parts.
struct ShardParts {
    id: u16,
    runtime: Runtime,
    core_seed: [u8; 32],
    world: Arc<World>,
    count: u16,
    addresses: Addresses,
    clock: Clock,
    services: Services,
    peers: Peers,
    inbox: UnboundedReceiver<Inbound>,
    sockets: Vec<(ListenerSpec, TcpListener)>,
    share: Option<Share>,
    /// Passed when every shard has its sessions back, by all of them and by who starts them: until then
    /// a client would be told that there is none of its own, and a message would miss those to come.
    restored: Arc<Barrier>,
    strict: bool,
}

impl Bound {
    /// Binds every listener for so many shards. Comes before anything that a start changes for
    /// good, so that an address in use is found while nothing has happened.
    ///
    /// # Errors
    /// [`ServerError::Bind`]; nothing is left bound.
    pub fn bind(specs: Vec<ListenerSpec>, shards: usize) -> Result<Self, ServerError> {
        let bind = |spec: ListenerSpec| {
            let sockets =
                listener::bind(spec.bind, shards).map_err(|source| ServerError::Bind {
                    name: Arc::clone(&spec.name),
                    address: spec.bind,
                    source,
                })?;
            Ok((spec, sockets))
        };
        specs
            .into_iter()
            .map(bind)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl Server {
    /// Starts the shards. Blocks until each of them has its sessions back.
    ///
    /// # Errors
    /// [`ServerError`]; nothing is left running.
    pub fn start(parts: Parts) -> Result<Self, ServerError> {
        let count = parts.reporters.len();
        let mut sockets: Vec<Vec<(ListenerSpec, TcpListener)>> =
            (0..count).map(|_| Vec::new()).collect();
        let mut addresses = Vec::new();
        for (spec, bound) in parts.listeners.0 {
            let address = bound[0].local_addr().map_err(ServerError::Shard)?;
            addresses.push((Arc::clone(&spec.name), address));
            for (shard, socket) in sockets.iter_mut().zip(bound) {
                shard.push((spec.clone(), socket));
            }
        }
        let (senders, inboxes): (Vec<_>, Vec<_>) =
            (0..count).map(|_| mpsc::unbounded_channel()).unzip();
        let peers = Peers::new(senders);
        let own = peers[0].clone();
        let (journal, shares) = match parts.kept {
            Some(kept) => {
                let told = own.clone();
                let tell = Box::new(move |shard, what| told.send(shard, Inbound::Told(what)));
                let started = kept.start(count as u16, tell);
                let (journal, shares) = started.map_err(ServerError::Shard)?;
                (Some(journal), shares.into_iter().map(Some).collect())
            }
            None => (None, Vec::new()),
        };
        let mut shares = shares.into_iter();
        let restored = Arc::new(Barrier::new(count + 1));
        let mut ready = Vec::with_capacity(count);
        let shards = peers
            .into_iter()
            .zip(inboxes)
            .zip(sockets)
            .zip(parts.reporters);
        for (id, (((peers, inbox), sockets), reporter)) in shards.enumerate() {
            let id = id as u16;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(ServerError::Shard)?;
            let mut core_seed = [0; 32];
            getrandom::fill(&mut core_seed).map_err(ServerError::Random)?;
            let (judge, record) = (parts.judge.clone(), Arc::clone(&parts.record));
            let desk = parts.desk.clone();
            let services = Services::new(id, judge, desk, record, reporter);
            let (world, clock) = (Arc::clone(&parts.world), parts.clock);
            let addresses = parts.addresses.clone();
            ready.push(ShardParts {
                id,
                runtime,
                core_seed,
                world,
                count: count as u16,
                addresses,
                clock,
                services,
                peers,
                inbox,
                sockets,
                share: shares.next().flatten(),
                restored: Arc::clone(&restored),
                strict: parts.strict,
            });
        }
        let mut threads = Vec::with_capacity(count);
        for shard in ready {
            let thread = std::thread::Builder::new()
                .name(format!("{SHARD_THREAD}{}", shard.id))
                .spawn(move || run(shard));
            threads.push(thread.map_err(ServerError::Shard)?);
        }
        restored.wait();
        Ok(Self {
            threads,
            peers: own,
            addresses,
            journal,
        })
    }

    /// Where each listener listens, in the configuration's order.
    pub fn addresses(&self) -> &[(Arc<str>, SocketAddr)] {
        &self.addresses
    }

    /// Where verdicts go.
    pub fn verdicts(&self) -> Verdicts {
        Verdicts(self.peers.clone())
    }

    /// Who is asked what stands on the shards.
    pub fn shards(&self) -> Shards {
        Shards(self.peers.clone())
    }

    /// Where it is told how far events are on record.
    pub fn spooling(&self) -> Spooling {
        Spooling(Arc::new(Mutex::new(self.peers.clone())))
    }

    /// Where reviews go.
    pub fn reviews(&self) -> Reviews {
        Reviews(Arc::new(Mutex::new(self.peers.clone())))
    }

    /// Tells every client to go, waits for the shards to end, and then for the journal. Blocks, for
    /// less than a second where the journal's disk takes what it is given.
    ///
    /// # Errors
    /// [`Unfinished`]: the journal is not whole.
    pub fn stop(self) -> Result<(), Unfinished> {
        self.peers.send_to_all(|| Inbound::Stop);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a shard had panicked");
            }
        }
        self.journal
            .map_or(Ok(()), |journal| journal.finish(KEEPING))
    }
}

impl Verdicts {
    /// The client certificates of a listener are checked by other files from now on: connections
    /// whose certificate is no longer good end.
    pub fn recheck(&self, listener: Arc<str>, verifier: Arc<ClientVerifier>) {
        self.0.recheck(&Recheck { listener, verifier });
    }

    /// Gives a verdict to the shard that waits for it.
    pub fn give(&self, shard: u16, conn: ConnId, verdict: Verdict) {
        self.0.send(shard, Inbound::Judged(conn, verdict));
    }

    /// Gives an answer to the shard that asked.
    pub fn answer(&self, shard: u16, ticket: u64, answer: Answer) {
        self.0.send(shard, Inbound::Answered(ticket, answer));
    }
}

impl Reviews {
    /// Hands a review to every shard. Verdicts that are given from here on come after it.
    pub fn hand_over(&self, review: Review) {
        let review = Arc::new(review);
        let peers = self.0.lock();
        peers.send_to_all(|| Inbound::Review(Arc::clone(&review)));
    }
}

impl Spooling {
    /// Connections that wait for that go on, or end.
    pub fn tell(&self, spooled: Spooled) {
        self.0.lock().send_to_all(|| Inbound::Spooled(spooled));
    }
}

/// One shard's thread.
fn run(parts: ShardParts) {
    let ShardParts {
        id,
        runtime,
        core_seed,
        world,
        count,
        addresses,
        clock,
        services,
        peers,
        inbox,
        sockets,
        share,
        restored,
        strict,
    } = parts;
    let core = Shard::new(id, count, world, core_seed);
    let (core, ledger) = match share {
        Some(share) => {
            let (core, ledger) = share.restore(core, id, count, clock.now());
            (core, Some(ledger))
        }
        None => (core, None),
    };
    restored.wait();
    let reactor = Rc::new(RefCell::new(Reactor::new(
        core,
        addresses,
        clock,
        services,
        peers,
        ledger,
        Held::new(strict),
    )));
    let local = LocalSet::new();
    local.block_on(&runtime, async move {
        reactor.borrow_mut().tick(); // what became due while nobody was there, before anybody is
        let tasks: Vec<_> = sockets
            .into_iter()
            .map(|(spec, socket)| spawn_local(accept(spec, socket, Rc::clone(&reactor))))
            .collect();
        spawn_local(flush(Rc::clone(&reactor)));
        spawn_local(keep_time(Rc::clone(&reactor)));
        spawn_local(report(Rc::clone(&reactor)));
        serve_inbox(inbox, &reactor).await;
        for task in tasks {
            task.abort();
        }
        reactor.borrow_mut().stop();
        let _ = timeout(STOPPING, poll_fn(|cx| reactor.borrow_mut().poll_empty(cx))).await;
        reactor.borrow_mut().keep();
    });
}

/// What comes from outside, until the broker stops.
async fn serve_inbox(mut inbox: UnboundedReceiver<Inbound>, reactor: &SharedReactor) {
    while let Some(inbound) = inbox.recv().await {
        let mut reactor_now = reactor.borrow_mut();
        match inbound {
            Inbound::Judged(conn, verdict) => reactor_now.judged(conn, verdict),
            Inbound::Answered(ticket, answer) => reactor_now.answered(ticket, answer),
            Inbound::Batch(batch) => reactor_now.deliver(batch),
            Inbound::Arrival(arrival) => {
                if let Err(error) = reactor_now.arrive(*arrival) {
                    tracing::warn!(%error, "a connection was lost between shards");
                }
                for conn in reactor_now.take_new_links() {
                    spawn_local(drive(Rc::clone(reactor), conn));
                }
            }
            Inbound::Recheck(recheck) => {
                reactor_now.note_recheck(&recheck);
                spawn_local(recheck_all(Rc::clone(reactor), recheck));
            }
            Inbound::Review(review) => reactor_now.review(review),
            Inbound::Told(told) => reactor_now.told(told),
            Inbound::Resume => reactor_now.resume(),
            Inbound::Spooled(spooled) => reactor_now.spooled(spooled),
            Inbound::Visit(visit) => reactor_now.visit(visit),
            Inbound::Stop => return,
        }
    }
}

/// One connection, from its first byte to its last.
pub(super) async fn drive(reactor: SharedReactor, conn: ConnId) {
    let outcome = poll_fn(|cx| reactor.borrow_mut().poll_link(conn, cx)).await;
    if outcome == Outcome::Ending {
        let rest = poll_fn(|cx| reactor.borrow_mut().poll_link(conn, cx));
        if timeout(ENDING, rest).await.is_err() {
            reactor.borrow_mut().give_up(conn);
        }
    }
}

/// Writes what was touched, when those who were ready have had their turn.
async fn flush(reactor: SharedReactor) {
    loop {
        poll_fn(|cx| reactor.borrow_mut().poll_flush(cx)).await;
        // Not only the tasks that are ready have their turn now: sockets are asked for news as well.
        yield_now().await;
    }
}

/// Tells the core that time has passed, when it asked to be told.
async fn keep_time(reactor: SharedReactor) {
    let mut sleep = pin!(sleep_until(Instant::now()));
    poll_fn(|cx| {
        loop {
            let mut reactor = reactor.borrow_mut();
            let Some(alarm) = reactor.next_alarm(cx.waker()) else {
                return Poll::<()>::Pending;
            };
            sleep.as_mut().reset(alarm.into());
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            reactor.tick();
        }
    })
    .await;
}

async fn report(reactor: SharedReactor) {
    let mut every = interval(REPORT_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        reactor.borrow_mut().report();
    }
}
