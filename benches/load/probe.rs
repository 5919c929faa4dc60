//! One publisher and one subscriber at a fixed rate: how long a message takes from the one's write
//! to the other's read.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

use super::packets::{self, Came};
use super::spread::Spread;

/// A publisher and a subscriber.
pub struct Probe {
    publisher: TcpStream,
    subscriber: mio::net::TcpStream,
    poll: Poll,
    qos: u8,
    next: u64,
    began: Instant,
    came: Vec<u8>,
}

/// What a phase came to.
#[derive(Debug, Default)]
pub struct Heard {
    /// How long each message took.
    pub latency: Spread,
    /// Messages published.
    pub sent: u64,
    /// Messages that did not come, or not in their order.
    pub lost: u64,
}

/// How long the last messages of a phase are waited for.
const PATIENCE: Duration = Duration::from_secs(10);

const PUBLISHER: Token = Token(0);
const SUBSCRIBER: Token = Token(1);

impl Probe {
    /// Connects both.
    pub fn start(address: SocketAddr, qos: u8) -> io::Result<Self> {
        let publisher = packets::open(address, "probe-p", None)?;
        publisher.set_nonblocking(true)?;
        let subscriber = packets::open(address, "probe-s", Some(("probe", qos)))?;
        subscriber.set_nonblocking(true)?;
        let mut subscriber = mio::net::TcpStream::from_std(subscriber);
        let poll = Poll::new()?;
        let mut watched = mio::net::TcpStream::from_std(publisher.try_clone()?);
        poll.registry()
            .register(&mut subscriber, SUBSCRIBER, Interest::READABLE)?;
        poll.registry()
            .register(&mut watched, PUBLISHER, Interest::READABLE)?;
        std::mem::forget(watched); // registered for as long as the publisher lives
        Ok(Self {
            publisher,
            subscriber,
            poll,
            qos,
            next: 0,
            began: Instant::now(),
            came: Vec::new(),
        })
    }

    /// Publishes `rate` messages a second for so long.
    pub fn run(&mut self, rate: u32, time: Duration) -> io::Result<Heard> {
        let mut heard = Heard::default();
        let mut expected = self.next;
        let step = Duration::from_secs(1) / rate;
        let begin = Instant::now();
        let mut due = begin;
        let mut events = Events::with_capacity(8);
        let mut buffer = vec![0; 64 << 10];
        loop {
            let now = Instant::now();
            let over = due - begin >= time;
            if over && (expected == self.next || now > due + PATIENCE) {
                heard.lost += self.next - expected;
                return Ok(heard);
            }
            if !over && now >= due {
                let mut payload = [0; 64];
                payload[..8].copy_from_slice(&self.next.to_be_bytes());
                let stamp = now.duration_since(self.began).as_nanos() as u64;
                payload[8..16].copy_from_slice(&stamp.to_be_bytes());
                let id = (self.next % 65_535) as u16 + 1;
                let packet = packets::publish("probe", self.qos, id, &payload);
                self.publisher.write_all(&packet)?;
                self.next += 1;
                heard.sent += 1;
                due += step;
                continue;
            }
            let wait = due
                .saturating_duration_since(now)
                .max(Duration::from_micros(50));
            self.poll.poll(&mut events, Some(wait))?;
            for event in &events {
                match event.token() {
                    PUBLISHER => while self.publisher.read(&mut buffer).is_ok_and(|n| n > 0) {},
                    _ => self.hear(&mut buffer, &mut expected, &mut heard)?,
                }
            }
        }
    }

    fn hear(&mut self, buffer: &mut [u8], expected: &mut u64, heard: &mut Heard) -> io::Result<()> {
        loop {
            match self.subscriber.read(buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => self.came.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        let now = self.began.elapsed();
        let came = std::mem::take(&mut self.came);
        let mut rest = &came[..];
        while let Some((packet, length)) = packets::next(rest) {
            if let Came::Publish { id, payload } = packet {
                let word = |at: usize| {
                    let bytes = payload[at..at + 8].try_into().unwrap_or_default();
                    u64::from_be_bytes(bytes)
                };
                let number = word(0);
                heard.lost += number.abs_diff(*expected);
                *expected = number + 1;
                heard
                    .latency
                    .add(now.saturating_sub(Duration::from_nanos(word(8))));
                if let Some(id) = id {
                    self.subscriber.write_all(&packets::puback(id))?;
                }
            }
            rest = &rest[length..];
        }
        self.came = rest.to_vec();
        Ok(())
    }
}
