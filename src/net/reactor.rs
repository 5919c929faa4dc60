//! The loop that drives one shard: sockets in, core, sockets out.
//!
//! One task a connection waits for its socket and reads it into the shard's scratch buffer. What
//! the core then has to say stays in outboxes until the tasks that were ready at the same time have
//! had their turn; then one more task writes each touched outbox once. So a subscriber is written
//! to without waking its task, and once however many publishers had something for it.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use tokio::net::TcpStream;

use super::addresses::{Addresses, Seat};
use super::clock::Clock;
use super::held::{Held, Release};
use super::kept::Ledger;
use super::layers::{Ending, Heard, Layers};
use super::link::{Link, State};
use super::peers::Peers;
use super::recheck::Recheck;
use super::services::Services;
use super::visit::Visit;
use crate::audit::{Kept, Spooled};
use crate::broker::{
    Answer, Batch, ConnId, Effect, EventKind, Migrant, Peer, Refusal, Review, Shard, Verdict,
};
use crate::journal::Told;
use crate::time::Time;

/// Bytes read from a socket at a time, and the most that one connection gets in one turn.
const SCRATCH: usize = 64 << 10;

/// A shard with its sockets, shared by the tasks of its thread.
pub(super) type SharedReactor = Rc<RefCell<Reactor>>;

/// A shard with its sockets.
pub(super) struct Reactor {
    pub(super) core: Shard,
    /// By the core's connection index; the table is as dense as the core's.
    pub(super) links: Vec<Option<Box<Link>>>,
    raw: Vec<u8>,
    plain: Vec<u8>,
    addresses: Addresses,
    pub(super) clock: Clock,
    services: Services,
    peers: Peers,
    held: Held,
    /// Who may be admitted in this turn.
    at_the_door: Option<ConnId>,
    touched: Vec<ConnId>,
    flusher: Waker,
    flush_due: bool,
    /// When the first bytes since the last flush were read.
    turn_began: Option<Instant>,
    /// `None`: nothing is kept.
    ledger: Option<Ledger>,
    /// Messages delivered before this turn.
    delivered: u64,
    timekeeper: Waker,
    /// What the timekeeper waits for.
    alarm: Option<Time>,
    new_links: Vec<ConnId>,
    /// Listeners whose clients' certificates have been asked about again.
    pub(super) rechecks: Vec<Recheck>,
    stopping: bool,
    /// Who waits for the last connection to go.
    emptied: Waker,
}

/// What a connection's turn comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is over, or it went to another shard.
    Gone,
    /// It is ending: from now on it has only so much time. Said once.
    Ending,
}

/// A connection on its way between shards, socket and all.
pub(super) struct Arrival {
    pub(super) tcp: std::net::TcpStream,
    pub(super) layers: Layers,
    pub(super) listener: Arc<str>,
    pub(super) seat: Option<Seat>,
    pub(super) migrant: Box<Migrant>,
}

impl Reactor {
    pub(super) fn new(
        core: Shard,
        addresses: Addresses,
        clock: Clock,
        services: Services,
        peers: Peers,
        ledger: Option<Ledger>,
        held: Held,
    ) -> Self {
        Self {
            core,
            links: Vec::new(),
            raw: vec![0; SCRATCH],
            plain: vec![0; SCRATCH],
            addresses,
            clock,
            services,
            peers,
            held,
            at_the_door: None,
            touched: Vec::new(),
            flusher: Waker::noop().clone(),
            flush_due: false,
            turn_began: None,
            ledger,
            delivered: 0,
            timekeeper: Waker::noop().clone(),
            alarm: None,
            new_links: Vec::new(),
            rechecks: Vec::new(),
            stopping: false,
            emptied: Waker::noop().clone(),
        }
    }

    /// A socket was accepted. `None`: there are too many, or the broker is stopping.
    /// The address of a listed proxy is nobody's: it has no seat.
    pub(super) fn accept(
        &mut self,
        tcp: TcpStream,
        peer: Peer,
        is_proxy: bool,
        layers: Layers,
    ) -> Option<ConnId> {
        if self.stopping {
            return None;
        }
        let (listener, now) = (Arc::clone(&peer.listener), self.clock.now());
        let seat = match is_proxy {
            true => None,
            false => match self.addresses.admit(peer.address.ip(), now) {
                Ok(seat) => Some(seat),
                Err(refusal) => {
                    self.turn_away(peer, refusal);
                    return None;
                }
            },
        };
        let Some(conn) = self.core.open(peer, now) else {
            self.end_turn(); // there is something for the record
            return None;
        };
        self.put(Link::new(conn, tcp, layers, listener, seat));
        self.end_turn();
        Some(conn)
    }

    /// A connection was closed unheard.
    pub(super) fn turn_away(&mut self, peer: Peer, reason: Refusal) {
        self.core.turn_away(peer, reason, self.clock.now());
        self.end_turn();
    }

    /// A connection comes from another shard, because its session lives here.
    pub(super) fn arrive(&mut self, arrival: Arrival) -> io::Result<()> {
        let tcp = TcpStream::from_std(arrival.tcp)?;
        let conn = self.core.adopt(*arrival.migrant, self.clock.now());
        // The core may have sent it on already; then its effect finds the link and takes it along.
        let Arrival {
            layers,
            listener,
            seat,
            ..
        } = arrival;
        self.put(Link::new(conn, tcp, layers, listener, seat));
        self.new_links.push(conn);
        self.recheck_one(conn);
        self.at_the_door = Some(conn);
        self.end_turn();
        Ok(())
    }

    /// Connections that need a task.
    pub(super) fn take_new_links(&mut self) -> Vec<ConnId> {
        std::mem::take(&mut self.new_links)
    }

    pub(super) fn judged(&mut self, conn: ConnId, verdict: Verdict) {
        self.core.judged(conn, verdict, self.clock.now());
        self.wake(conn);
        self.at_the_door = Some(conn);
        self.end_turn();
    }

    /// What a client waits to know is known.
    pub(super) fn answered(&mut self, ticket: u64, answer: Answer) {
        self.turn_began.get_or_insert_with(Instant::now);
        self.core.answered(ticket, answer, self.clock.now());
        self.end_turn();
    }

    /// Those whom a change concerns are judged anew, in this turn and the next ones.
    pub(super) fn review(&mut self, review: Arc<Review>) {
        self.core.review(review, self.clock.now());
        self.end_turn();
    }

    /// Another shard's turn had this for sessions here.
    pub(super) fn deliver(&mut self, batch: Batch) {
        self.turn_began.get_or_insert_with(Instant::now);
        self.core.deliver_batch(batch, self.clock.now());
        self.end_turn();
    }

    /// Those whose events are on record go on. Where events cannot be put there, nobody waits, and who
    /// may not be admitted without goes.
    pub(super) fn spooled(&mut self, spooled: Spooled) {
        while let Some((conn, release)) = self.held.next(spooled) {
            let Some(link) = self.link(conn) else {
                continue;
            };
            link.held = link.held.saturating_sub(1);
            match release {
                Release::GoOn => self.touched.push(conn),
                Release::TurnAway => link.state = State::Over,
            }
            self.wake(conn);
        }
        self.end_turn();
    }

    /// Nothing leaves for this connection until its event is on record.
    fn hold(&mut self, conn: ConnId, kept: Kept, is_admission: bool) {
        if self.stopping {
            return;
        }
        let is_strict = self.held.is_strict() && is_admission;
        match kept {
            Kept::At(ticket) => {
                if let Some(link) = self.link(conn) {
                    link.held += 1;
                    self.held.put(ticket, conn, is_admission);
                }
            }
            Kept::LeftOut if is_strict => {
                if let Some(link) = self.link(conn) {
                    link.state = State::Over;
                }
                self.wake(conn);
            }
            Kept::LeftOut | Kept::Folded => {}
        }
    }

    /// Somebody asks from outside.
    pub(super) fn visit(&mut self, visit: Visit) {
        visit(&mut self.core, self.clock.now());
        self.end_turn();
    }

    /// The journal has kept something, or cannot.
    pub(super) fn told(&mut self, told: Told) {
        match told {
            Told::Written(number) => self.core.written(number),
            Told::Committed(number) => self.core.committed(number),
            Told::Full => self.core.set_full(true),
            Told::Roomy => self.core.set_full(false),
        }
        self.end_turn();
    }

    /// Hands what was stated to the journal.
    pub(super) fn keep(&mut self) {
        if let Some(ledger) = &self.ledger {
            ledger.keep(&mut self.core);
        }
    }

    /// Another shard has caught up: its publishers are read again.
    pub(super) fn resume(&mut self) {
        self.core.resume();
        self.end_turn();
    }

    /// Everyone is told to go.
    pub(super) fn stop(&mut self) {
        self.stopping = true;
        // Nobody tells how far the spool is any more, and it is written to its end behind us.
        self.spooled(Spooled {
            upto: u64::MAX,
            is_kept: true,
        });
        self.core.stop(self.clock.now());
        self.end_turn();
    }

    /// Waits until no connection is left.
    pub(super) fn poll_empty(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.links.iter().all(Option::is_none) {
            return Poll::Ready(());
        }
        self.emptied = cx.waker().clone();
        Poll::Pending
    }

    /// Leaves the counts for the metrics page.
    pub(super) fn report(&self) {
        self.services.report(&self.core.counters());
    }

    /// One connection's turn: reads while there is something, up to a scratch buffer's worth.
    pub(super) fn poll_link(&mut self, conn: ConnId, cx: &mut Context<'_>) -> Poll<Outcome> {
        loop {
            let Some(link) = self.link(conn) else {
                return Poll::Ready(Outcome::Gone);
            };
            link.waker.clone_from(cx.waker());
            if link.held > 0 && link.state == State::Open {
                return Poll::Pending;
            }
            if link.blocked && link.tcp.poll_write_ready(cx).is_ready() {
                link.blocked = false;
                self.flush(conn);
                self.end_turn();
                continue;
            }
            if link.state != State::Open && !link.ending {
                link.ending = true;
                return Poll::Ready(Outcome::Ending);
            }
            let appetite = match link.state {
                State::Over => {
                    self.drop_link(conn);
                    return Poll::Ready(Outcome::Gone);
                }
                State::Lingering { .. } => SCRATCH,
                State::Finishing => 0,
                State::Open => {
                    let most = self.core.read_size().min(SCRATCH);
                    self.core.appetite(conn).min(most)
                }
            };
            if appetite == 0 {
                return self.leave_unread(conn);
            }
            let Some(link) = self.link(conn) else {
                return Poll::Ready(Outcome::Gone);
            };
            if link.tcp.poll_read_ready(cx).is_pending() {
                return Poll::Pending;
            }
            if self.read(conn, appetite) {
                cx.waker().wake_by_ref(); // the others have their turn first
                return Poll::Pending;
            }
        }
    }

    /// A link is not read now: until it is its turn, where that is why, or it has been written to.
    fn leave_unread(&mut self, conn: ConnId) -> Poll<Outcome> {
        if let Some(link) = self.link(conn)
            && link.state == State::Open
        {
            link.sated = true;
            self.core.await_turn(conn);
            self.end_turn();
        }
        Poll::Pending
    }

    /// Whether those who come should wait to be accepted until the others have had their turn.
    pub(super) fn accepts_later(&self) -> bool {
        self.core.accepts_later()
    }

    /// Reads once. `true`: the buffer was filled, and there may be more.
    fn read(&mut self, conn: ConnId, appetite: usize) -> bool {
        let now = self.clock.now();
        let Some(link) = self
            .links
            .get_mut(conn.index as usize)
            .and_then(Option::as_mut)
        else {
            return false;
        };
        let raw = &mut self.raw[..appetite];
        let length = match link.read(raw) {
            Ok(None) => return false,
            Ok(Some(length)) => length,
            Err(_) => {
                link.state = State::Over;
                return false;
            }
        };
        if matches!(link.state, State::Lingering { .. }) {
            link.discard(length);
            return false;
        }
        if length == 0 {
            // It may have closed its side alone and still wait for answers.
            self.core.lost(conn, now);
            self.finish(conn);
            self.end_turn();
            return false;
        }
        self.turn_began.get_or_insert_with(Instant::now);
        let shook = link.layers.is_shaking_hands();
        let (core, addresses) = (&mut self.core, &self.addresses);
        let Link { layers, seat, .. } = &mut **link;
        let ended = layers.ingest(&mut raw[..length], &mut self.plain, |heard| match heard {
            Heard::From(client) => {
                core.seen_from(conn, client);
                match addresses.admit(client.ip(), now) {
                    Ok(of_client) => *seat = Some(of_client),
                    Err(refusal) => core.shut_out(conn, refusal, now),
                }
            }
            Heard::Mqtt(mqtt) => core.received(conn, mqtt, now),
        });
        if shook {
            core.shook_hands(conn);
            if !link.layers.is_shaking_hands() {
                self.services.count_handshake(&link.listener, "ok");
            }
        }
        match ended {
            Ok(()) => {}
            Err(Ending::Breach(breach)) => {
                self.services.count_breach(&link.listener, breach);
                self.core.broken(conn, breach, now);
                self.finish(conn);
            }
            Err(Ending::Goodbye) => {
                self.core.lost(conn, now);
                self.finish(conn);
            }
        }
        // The layers may have something to say that the core knows nothing of.
        self.touched.push(conn);
        self.end_turn();
        length == appetite
    }

    /// Carries out what the core asked for, and sees to it that outboxes are written soon.
    pub(super) fn end_turn(&mut self) {
        let mut last = Kept::Folded;
        loop {
            let effects = self.core.take_effects();
            if effects.is_empty() {
                break;
            }
            for effect in effects {
                match effect {
                    Effect::Record(event) => {
                        let is_admission = matches!(event.kind, EventKind::Connected { .. });
                        let kept = self.services.record(event);
                        if let (true, Some(conn)) = (is_admission, self.at_the_door) {
                            self.hold(conn, kept, true);
                        }
                        if matches!(kept, Kept::At(_)) {
                            last = kept;
                        }
                    }
                    Effect::Judge(mut login) => {
                        let conn = login.conn;
                        login.certificate = self.certificate(conn);
                        if let Err(verdict) = self.services.judge(login) {
                            self.core.judged(conn, verdict, self.clock.now());
                        }
                    }
                    Effect::Close(conn) => {
                        self.count_unfinished_handshake(conn);
                        // What the end was put on record by came just before it.
                        self.hold(conn, last, false);
                        self.finish(conn);
                    }
                    Effect::Ask(question) => {
                        let ticket = question.ticket;
                        if let Err(answer) = self.services.ask(question) {
                            self.core.answered(ticket, answer, self.clock.now());
                        }
                    }
                    Effect::Report(question) => self.services.report_topic(question),
                    Effect::Move { conn, to, migrant } => self.move_link(conn, to, migrant),
                }
            }
        }
        self.at_the_door = None;
        if self.core.take_caught_up() {
            self.peers.resume_all();
            self.core.resume();
        }
        if !self.flush_due && self.needs_flush() {
            self.flush_due = true;
            self.flusher.wake_by_ref();
        }
        let next = self.core.next_timer();
        if next.is_some_and(|next| self.alarm.is_none_or(|alarm| next < alarm)) {
            self.timekeeper.wake_by_ref();
        }
    }

    /// Whether there is something for the flusher to do.
    fn needs_flush(&self) -> bool {
        self.core.has_output() || !self.touched.is_empty() || self.core.has_unread()
    }

    /// The flusher's turn: every outbox that was touched is written once, and then what waited for a
    /// new turn goes on. Ready: there is more to do, once the others have had their turn.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.flusher.clone_from(cx.waker());
        if !self.flush_due {
            return Poll::Pending;
        }
        let now = self.clock.now();
        // First, so that a message is known before what another shard does with it.
        self.keep();
        for (shard, batch) in self.core.take_batches() {
            self.peers.send_batch(shard, batch);
        }
        let mut touched = std::mem::take(&mut self.touched);
        self.core.take_touched(&mut touched);
        for conn in touched.drain(..) {
            self.flush(conn);
        }
        // What flushing made room for is written in the next turn, after everyone else's.
        if self.touched.capacity() == 0 {
            self.touched = touched;
        }
        if let Some(began) = self.turn_began.take() {
            let messages = self.core.delivered();
            self.services
                .routed(began.elapsed(), messages - self.delivered);
            self.delivered = messages;
        }
        if self.core.has_unread() {
            self.turn_began.get_or_insert_with(Instant::now);
        }
        self.core.go_on(now);
        for conn in self.core.read_on() {
            self.wake(conn);
        }
        self.end_turn();
        self.flush_due = self.needs_flush();
        match self.flush_due {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// When the timekeeper is to call [`tick`](Self::tick).
    pub(super) fn next_alarm(&mut self, waker: &Waker) -> Option<Instant> {
        self.timekeeper.clone_from(waker);
        self.alarm = self.core.next_timer();
        self.alarm.map(|at| self.clock.instant(at))
    }

    /// What was due is done.
    pub(super) fn tick(&mut self) {
        self.core.tick(self.clock.now());
        self.end_turn();
    }

    /// Writes what a link has to say until there is nothing left or its socket takes no more.
    fn flush(&mut self, conn: ConnId) {
        loop {
            let Some(link) = self
                .links
                .get_mut(conn.index as usize)
                .and_then(Option::as_mut)
            else {
                return;
            };
            if link.conn != conn || link.blocked || link.held > 0 {
                return;
            }
            match link.write(self.core.outbox(conn).map(|outbox| &*outbox)) {
                Ok(Some(count)) => self.core.flushed(conn, count),
                Ok(None) => break,
                Err(_) => {
                    link.state = State::Over;
                    break;
                }
            }
        }
        let stopping = self.stopping;
        let is_held = self
            .core
            .outbox(conn)
            .is_some_and(|outbox| outbox.is_held());
        let Some(link) = self.link(conn) else { return };
        if link.blocked {
            return link.waker.wake_by_ref();
        }
        if is_held && link.state == State::Finishing {
            return; // its last words wait for the journal
        }
        match link.state {
            State::Finishing if link.layers.say_goodbye(stopping) => self.flush(conn),
            State::Finishing => {
                link.finish();
                self.wake(conn);
            }
            State::Over => self.wake(conn),
            State::Open if std::mem::take(&mut link.sated) => self.wake(conn),
            State::Open | State::Lingering { .. } => {}
        }
    }

    /// The core closes a connection that stands in the middle of its TLS handshake: its time for
    /// the whole of logging in was over. A handshake that failed has been ended before.
    fn count_unfinished_handshake(&mut self, conn: ConnId) {
        let Some(link) = self.link(conn) else { return };
        if link.state == State::Open && link.layers.is_shaking_hands() {
            let listener = Arc::clone(&link.listener);
            self.services.count_handshake(&listener, "timeout");
        }
    }

    /// The core is done with a connection.
    fn finish(&mut self, conn: ConnId) {
        let Some(link) = self.link(conn) else { return };
        if link.state == State::Open {
            link.state = State::Finishing;
            self.touched.push(conn);
        }
    }

    /// The link has had its time to end.
    pub(super) fn give_up(&mut self, conn: ConnId) {
        if self.link(conn).is_some() {
            self.drop_link(conn);
        }
    }

    /// The certificate that the client showed.
    fn certificate(&mut self, conn: ConnId) -> Option<Box<[u8]>> {
        let shown = self.link(conn)?.layers.certificates().first();
        shown.map(|certificate| certificate.as_ref().into())
    }

    fn move_link(&mut self, conn: ConnId, to: u16, migrant: Box<Migrant>) {
        let Some(link) = self.take(conn) else { return };
        let Link {
            tcp,
            layers,
            waker,
            listener,
            seat,
            ..
        } = *link;
        if let Ok(tcp) = tcp.into_std() {
            self.peers.send_arrival(
                to,
                Arrival {
                    tcp,
                    layers,
                    listener,
                    seat,
                    migrant,
                },
            );
        }
        waker.wake(); // its task here finds nothing and ends
    }

    fn drop_link(&mut self, conn: ConnId) {
        self.take(conn);
        self.core.closed(conn, self.clock.now());
        self.end_turn();
        if self.stopping {
            self.emptied.wake_by_ref();
        }
    }

    fn put(&mut self, link: Link) {
        let index = link.conn.index as usize;
        if self.links.len() <= index {
            self.links.resize_with(index + 1, || None);
        }
        self.links[index] = Some(Box::new(link));
    }

    fn take(&mut self, conn: ConnId) -> Option<Box<Link>> {
        let place = self.links.get_mut(conn.index as usize)?;
        place.take_if(|link| link.conn == conn)
    }

    fn link(&mut self, conn: ConnId) -> Option<&mut Link> {
        let link = self.links.get_mut(conn.index as usize)?.as_deref_mut()?;
        (link.conn == conn).then_some(link)
    }

    fn wake(&mut self, conn: ConnId) {
        if let Some(link) = self.link(conn) {
            link.waker.wake_by_ref();
        }
    }
}
