//! Publishers at full speed: as fast as the broker reads them.

use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::packets::{self, Came};

/// What is published.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Connections; each publishes to a topic of its own and hears that of its neighbour.
    pub connections: usize,
    /// Of publishers and subscriptions.
    pub qos: u8,
    /// Bytes of payload.
    pub payload: usize,
    /// At QoS 1: messages of one publisher that are not acknowledged.
    pub window: usize,
}

/// Publishers in a thread of their own, which ends with this.
pub struct Flood {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

#[derive(Default)]
struct Shared {
    flows: AtomicBool,
    over: AtomicBool,
    sent: AtomicU64,
    received: AtomicU64,
}

struct Line {
    stream: TcpStream,
    /// Messages, encoded; written again and again.
    chunk: Vec<u8>,
    /// Messages in it.
    batch: usize,
    written: usize,
    readable: bool,
    writable: bool,
    /// Not acknowledged.
    open: usize,
    /// The front of a packet whose rest has not come.
    came: Vec<u8>,
    /// Acknowledgements that the socket has not taken.
    due: Vec<u8>,
}

/// Messages in one chunk, which is written with one call.
const fn batch(qos: u8) -> usize {
    if qos == 0 { 512 } else { 32 }
}

impl Flood {
    /// Connects everybody. They are silent until [`open`](Self::open).
    pub fn start(address: SocketAddr, shape: Shape) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut lines = Vec::with_capacity(shape.connections);
        for place in 0..shape.connections {
            let neighbour = (place + 1) % shape.connections;
            let filter = format!("flood/{neighbour}");
            let stream = packets::open(address, &format!("f{place}"), Some((&filter, shape.qos)))?;
            stream.set_nonblocking(true)?;
            let payload = vec![b'x'; shape.payload];
            let one = |id| packets::publish(&format!("flood/{place}"), shape.qos, id, &payload);
            let mut stream = TcpStream::from_std(stream);
            let both = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut stream, Token(place), both)?;
            lines.push(Line {
                stream,
                chunk: (1..=batch(shape.qos) as u16).flat_map(one).collect(),
                batch: batch(shape.qos),
                written: 0,
                readable: false,
                writable: true,
                open: 0,
                came: Vec::new(),
                due: Vec::new(),
            });
        }
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        let thread = std::thread::spawn(move || run(poll, lines, shape, &own));
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// From now on they publish.
    pub fn open(&self) {
        self.shared.flows.store(true, Ordering::Relaxed);
    }

    /// From now on they are silent; what is on its way arrives.
    pub fn close(&self) {
        self.shared.flows.store(false, Ordering::Relaxed);
    }

    /// Messages that their subscriptions have got.
    pub fn received(&self) -> u64 {
        self.shared.received.load(Ordering::Relaxed)
    }

    /// Messages that they have written.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => eprintln!("the flood broke off: {error}"),
                Err(_) => eprintln!("the flood panicked"),
            }
        }
    }
}

fn run(mut poll: Poll, mut lines: Vec<Line>, shape: Shape, shared: &Shared) -> io::Result<()> {
    // The broker and the probe come first: the flood is as fast as the broker reads.
    let _ = rustix::process::nice(5);
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; 64 << 10];
    while !shared.over.load(Ordering::Relaxed) {
        let flows = shared.flows.load(Ordering::Relaxed);
        let busy = |line: &Line| line.readable || flows && line.may_write(shape);
        let wait = match lines.iter().any(busy) {
            true => Duration::ZERO,
            false => Duration::from_millis(10),
        };
        poll.poll(&mut events, Some(wait))?;
        for event in &events {
            let line = &mut lines[event.token().0];
            line.readable |= event.is_readable();
            line.writable |= event.is_writable();
        }
        let (mut sent, mut received) = (0, 0);
        for line in &mut lines {
            if line.readable {
                received += line.read(&mut buffer)?;
            }
            if !line.due.is_empty() && line.writable {
                line.acknowledge()?;
            }
            if flows && line.may_write(shape) {
                sent += line.write()?;
            }
        }
        shared.sent.fetch_add(sent, Ordering::Relaxed);
        shared.received.fetch_add(received, Ordering::Relaxed);
    }
    Ok(())
}

impl Line {
    fn may_write(&self, shape: Shape) -> bool {
        let has_room =
            shape.qos == 0 || self.written > 0 || self.open + batch(shape.qos) <= shape.window;
        self.writable && self.due.is_empty() && has_room
    }

    /// Writes once; says how many messages were begun.
    fn write(&mut self) -> io::Result<u64> {
        let begun = if self.written == 0 { self.batch } else { 0 };
        match self.stream.write(&self.chunk[self.written..]) {
            Ok(count) => {
                self.open += begun;
                self.written += count;
                self.writable = self.written == self.chunk.len();
                if self.writable {
                    self.written = 0;
                }
                Ok(begun as u64)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.writable = false;
                Ok(0)
            }
            Err(error) => Err(error),
        }
    }

    fn acknowledge(&mut self) -> io::Result<()> {
        if self.written > 0 {
            return Ok(()); // not into the midst of a message
        }
        match self.stream.write(&self.due) {
            Ok(count) => {
                self.due.drain(..count);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.writable = false;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Reads once; says how many messages came.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<u64> {
        let length = match self.stream.read(buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                return Ok(0);
            }
            Err(error) => return Err(error),
        };
        self.readable = length == buffer.len();
        let mut bytes = &buffer[..length];
        let joined;
        if !self.came.is_empty() {
            self.came.extend_from_slice(bytes);
            joined = std::mem::take(&mut self.came);
            bytes = &joined;
        }
        let mut messages = 0;
        while let Some((came, length)) = packets::next(bytes) {
            match came {
                Came::Publish { id, .. } => {
                    messages += 1;
                    self.due
                        .extend(id.map(packets::puback).into_iter().flatten());
                }
                Came::PubAck => self.open = self.open.saturating_sub(1),
                _ => {}
            }
            bytes = &bytes[length..];
        }
        self.came = bytes.to_vec();
        Ok(messages)
    }
}
