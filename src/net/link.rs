//! One socket and what its connection has still to say.

use std::io::{self, IoSlice, Write};
use std::sync::Arc;
use std::task::Waker;

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::addresses::Seat;
use super::layers::{Layers, drain_tls, write_through};
use crate::broker::{ConnId, Outbox};

/// A connection's socket.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) conn: ConnId,
    pub(super) tcp: TcpStream,
    pub(super) layers: Layers,
    /// The listener's name.
    pub(super) listener: Arc<str>,
    /// Its place among the connections of its address; a listed proxy has none.
    pub(super) seat: Option<Seat>,
    /// The task that waits for the socket.
    pub(super) waker: Waker,
    pub(super) state: State,
    /// The socket took no more: its task waits until it does.
    pub(super) blocked: bool,
    /// Its task knows that it is ending.
    pub(super) ending: bool,
    /// Events of its own that are not on record yet, and that it is not to be seen before.
    pub(super) held: u32,
    /// Not read because the core wanted no more; read again when it has been written to.
    pub(super) sated: bool,
}

/// How far a link has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Open,
    /// The core is done with it: what is left is written, then our side is closed.
    Finishing,
    /// Our side is closed. What still comes is read and thrown away for a while, for a socket
    /// closed with unread bytes in it is reset, and a reset can overtake our last packet.
    Lingering {
        discarded: usize,
    },
    /// Of no more use.
    Over,
}

/// Pieces in one vectored write.
const PIECES: usize = 32;

/// What a lingering link reads at most.
const LINGER_BYTES: usize = 256 << 10;

/// A socket as rustls and vectored writes want it.
struct Sink<'a>(&'a TcpStream);

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match pieces {
            [one] => self.0.try_write(one),
            _ => self.0.try_write_vectored(pieces),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Link {
    pub(super) fn new(
        conn: ConnId,
        tcp: TcpStream,
        layers: Layers,
        listener: Arc<str>,
        seat: Option<Seat>,
    ) -> Self {
        Self {
            conn,
            tcp,
            layers,
            listener,
            seat,
            waker: Waker::noop().clone(),
            state: State::Open,
            blocked: false,
            ending: false,
            held: 0,
            sated: false,
        }
    }

    /// Reads once. `None`: nothing is there. A short read says that nothing is left, and clears
    /// the readiness without asking the socket again.
    pub(super) fn read(&self, into: &mut [u8]) -> io::Result<Option<usize>> {
        match self.tcp.try_read(into) {
            Ok(length) => {
                if length > 0 && length < into.len() {
                    // Epoll reports an edge: bytes that come from now on are reported again.
                    let _: io::Result<()> = self
                        .tcp
                        .try_io(Interest::READABLE, || Err(io::ErrorKind::WouldBlock.into()));
                }
                Ok(Some(length))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes once what the layers and the outbox have to say. Returns how many of the outbox's
    /// bytes have left; `None`: there was nothing, or the socket takes no more (`blocked`).
    pub(super) fn write(&mut self, outbox: Option<&Outbox>) -> io::Result<Option<usize>> {
        match self.write_once(outbox) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.blocked = true;
                Ok(None)
            }
            other => other,
        }
    }

    fn write_once(&mut self, outbox: Option<&Outbox>) -> io::Result<Option<usize>> {
        let Layers { tls, websocket } = &mut self.layers;
        let mut sink = Sink(&self.tcp);
        let waiting = outbox.map_or(0, Outbox::ready);
        let (head, limit) = match websocket {
            Some(websocket) => websocket.next_frame(waiting),
            None => (&[][..], waiting),
        };
        if head.is_empty() && limit == 0 {
            tls.as_mut()
                .map_or(Ok(()), |tls| drain_tls(tls, &mut sink))?;
            return Ok(None);
        }
        let (pieces, count) = pieces(head, outbox, limit);
        let taken = write_through(tls.as_deref_mut(), &mut sink, &pieces[..count])?;
        let taken = websocket
            .as_mut()
            .map_or(taken, |websocket| websocket.advance(taken));
        Ok(Some(taken))
    }

    /// Closes our side; what the peer still sends is thrown away.
    pub(super) fn finish(&mut self) {
        if let Some(tls) = &mut self.layers.tls {
            tls.send_close_notify();
            let _ = drain_tls(tls, &mut Sink(&self.tcp));
        }
        self.state = match SockRef::from(&self.tcp).shutdown(std::net::Shutdown::Write) {
            Ok(()) => State::Lingering { discarded: 0 },
            Err(_) => State::Over,
        };
    }

    /// Counts what a lingering link has thrown away.
    pub(super) fn discard(&mut self, length: usize) {
        if let State::Lingering { discarded } = &mut self.state {
            *discarded += length;
            if length == 0 || *discarded > LINGER_BYTES {
                self.state = State::Over;
            }
        }
    }
}

/// `head`, then at most `limit` bytes of the outbox.
fn pieces<'a>(
    head: &'a [u8],
    outbox: Option<&'a Outbox>,
    mut limit: usize,
) -> ([IoSlice<'a>; PIECES], usize) {
    let mut pieces = [IoSlice::new(&[]); PIECES];
    let mut count = 0;
    if !head.is_empty() {
        pieces[0] = IoSlice::new(head);
        count = 1;
    }
    for piece in outbox.into_iter().flat_map(Outbox::pieces) {
        if limit == 0 || count == PIECES {
            break;
        }
        let piece = &piece[..piece.len().min(limit)];
        limit -= piece.len();
        pieces[count] = IoSlice::new(piece);
        count += 1;
    }
    (pieces, count)
}
