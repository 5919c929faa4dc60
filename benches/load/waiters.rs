//! Publishers that wait: each has so many messages unacknowledged at most, and sends the next when one is
//! acknowledged. Subscribers, where there are any, take and acknowledge what they get.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::packets::{self, Came};
use super::spread::Spread;

/// Who publishes what.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Connections that publish.
    pub publishers: usize,
    /// Topics that they take turns at: `wait/0`, `wait/1` and so on. Each has one subscriber.
    pub topics: usize,
    /// Of all messages.
    pub qos: u8,
    /// Bytes of payload.
    pub payload: usize,
    /// Messages of one publisher that are not acknowledged, at most.
    pub window: usize,
}

/// When it is enough.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// After so long.
    Over(Duration),
    /// When so many are acknowledged.
    Acknowledged(u64),
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Sum {
    /// Messages acknowledged to their publishers.
    pub acknowledged: u64,
    /// Messages that subscribers got.
    pub received: u64,
    /// How long it took.
    pub took: Duration,
    /// From PUBLISH to the last acknowledgement.
    pub latency: Spread,
}

/// Publishers, and perhaps subscribers, that are logged in.
pub struct Waiters {
    poll: Poll,
    lines: Vec<Line>,
    shape: Shape,
}

struct Line {
    stream: TcpStream,
    /// The front of a packet whose rest has not come.
    came: Vec<u8>,
    /// What the socket has not taken.
    due: Vec<u8>,
    role: Role,
}

enum Role {
    Publisher {
        topic: String,
        next_id: u16,
        /// When those were sent that are not acknowledged to the end, oldest first.
        open: VecDeque<Instant>,
    },
    Subscriber,
}

/// Makes sessions of their own for the subscribers that outlive their connections, and leaves them.
pub fn store_sessions(address: SocketAddr, shape: Shape) -> io::Result<()> {
    for topic in 0..shape.topics {
        subscriber(address, shape, topic)?;
    }
    Ok(())
}

fn subscriber(address: SocketAddr, shape: Shape, topic: usize) -> io::Result<std::net::TcpStream> {
    let filter = format!("wait/{topic}");
    packets::open_kept(
        address,
        &format!("w-sub-{topic}"),
        Some((&filter, shape.qos)),
    )
}

impl Waiters {
    /// Connects all publishers and, with `live`, all subscribers.
    pub fn connect(address: SocketAddr, shape: Shape, live: bool) -> io::Result<Self> {
        Self::connect_all(address, shape, live, 0)
    }

    /// Connects all publishers; the first of them at this topic, the others at those after it.
    pub fn connect_from(address: SocketAddr, shape: Shape, first: usize) -> io::Result<Self> {
        Self::connect_all(address, shape, false, first)
    }

    fn connect_all(
        address: SocketAddr,
        shape: Shape,
        live: bool,
        first: usize,
    ) -> io::Result<Self> {
        let mut found = Vec::new();
        for place in first..first + shape.publishers {
            let stream = packets::open(address, &format!("w-pub-{place}"), None)?;
            let role = Role::Publisher {
                topic: format!("wait/{}", place % shape.topics),
                next_id: 0,
                open: VecDeque::new(),
            };
            found.push((stream, role));
        }
        for topic in 0..shape.topics * usize::from(live) {
            found.push((subscriber(address, shape, topic)?, Role::Subscriber));
        }
        let poll = Poll::new()?;
        let mut lines = Vec::with_capacity(found.len());
        for (place, (stream, role)) in found.into_iter().enumerate() {
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            let both = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut stream, Token(place), both)?;
            lines.push(Line {
                stream,
                came: Vec::new(),
                due: Vec::new(),
                role,
            });
        }
        Ok(Self { poll, lines, shape })
    }

    /// Publishes until it is enough, and waits for what is under way.
    pub fn run(&mut self, until: Until) -> io::Result<Sum> {
        let payload = vec![b'x'; self.shape.payload];
        let mut came = Sum::default();
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; 64 << 10];
        let begun = Instant::now();
        let mut is_over = false;
        let mut open = 0;
        let mut sent = 0;
        for line in &mut self.lines {
            for _ in 0..self.shape.window {
                let more = line.publish(self.shape.qos, &payload);
                open += usize::from(more);
                sent += u64::from(more);
            }
            line.flush()?;
        }
        while open > 0 {
            self.poll.poll(&mut events, Some(Duration::from_secs(20)))?;
            if events.is_empty() {
                let what = format!("{open} messages are not acknowledged");
                return Err(io::Error::new(io::ErrorKind::TimedOut, what));
            }
            for event in &events {
                let line = &mut self.lines[event.token().0];
                if event.is_readable() {
                    let done = line.read(&mut buffer, &mut came)?;
                    open -= done;
                    is_over |= match until {
                        Until::Over(time) => begun.elapsed() >= time,
                        Until::Acknowledged(count) => sent >= count,
                    };
                    if !is_over {
                        for _ in 0..done {
                            line.publish(self.shape.qos, &payload);
                        }
                        open += done;
                        sent += done as u64;
                    }
                }
                line.flush()?;
            }
        }
        came.took = begun.elapsed();
        Ok(came)
    }
}

impl Line {
    /// Has a message ready to be written; whether this is a publisher.
    fn publish(&mut self, qos: u8, payload: &[u8]) -> bool {
        let Role::Publisher {
            topic,
            next_id,
            open,
        } = &mut self.role
        else {
            return false;
        };
        *next_id = *next_id % 60_000 + 1;
        let packet = packets::publish(topic, qos, *next_id, payload);
        self.due.extend_from_slice(&packet);
        open.push_back(Instant::now());
        true
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.due.is_empty() {
            match self.stream.write(&self.due) {
                Ok(written) => drop(self.due.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads all there is; how many messages were acknowledged to the end.
    fn read(&mut self, buffer: &mut [u8], sum: &mut Sum) -> io::Result<usize> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => {
                    self.came.extend_from_slice(&buffer[..length]);
                    if length < buffer.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        let came = std::mem::take(&mut self.came);
        let mut rest = &came[..];
        let mut done = 0;
        while let Some((packet, length)) = packets::next(rest) {
            let is_last = match packet {
                Came::PubAck | Came::PubComp => true,
                Came::PubRec(id) => {
                    self.due.extend(packets::pubrel(id));
                    false
                }
                Came::PubRel(id) => {
                    self.due.extend(packets::pubcomp(id));
                    false
                }
                Came::Publish { id, .. } => {
                    sum.received += 1;
                    if let Some(id) = id {
                        let is_two = rest[0] & 4 != 0;
                        self.due.extend(match is_two {
                            true => packets::pubrec(id),
                            false => packets::puback(id),
                        });
                    }
                    false
                }
                Came::Other => false,
            };
            if let (true, Role::Publisher { open, .. }) = (is_last, &mut self.role) {
                let begun = open.pop_front();
                sum.latency
                    .add(begun.map(|it| it.elapsed()).unwrap_or_default());
                sum.acknowledged += 1;
                done += 1;
            }
            rest = &rest[length..];
        }
        self.came = rest.to_vec();
        Ok(done)
    }
}
