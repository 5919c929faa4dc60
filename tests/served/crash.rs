//! The broker is killed while messages pass, and started again where it was: nothing that it
//! acknowledged is lost, QoS 2 arrives once, and order holds.

use std::collections::BTreeSet;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::running::{Broker, Client, Login, Setup, World, lasting};
use cofferdam::wire::client::{
    self, Publish, ServerPacket, puback, pubcomp, pubrec, pubrel, subscribe,
};
use cofferdam::wire::{QoS, ReasonCode, RetainHandling, SubscriptionOptions, Version};

const V5: Version = Version::V5;
const OK: ReasonCode = ReasonCode::Success;

/// Kills of a run where nothing else is asked for.
const SHORT: u32 = 4;

/// A connection that may break anywhere.
struct Line {
    stream: TcpStream,
    came: Vec<u8>,
}

impl Line {
    /// Logs in to a session that is kept; whether there was one.
    fn open(broker: &Broker, login: &Login) -> io::Result<(Self, bool)> {
        let stream = TcpStream::connect(broker.address("tcp"))?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.set_nodelay(true)?;
        let came = Vec::new();
        let mut line = Self { stream, came };
        line.send(&lasting(login.connect(V5), 3600).encode())?;
        match line.packet()? {
            ServerPacket::ConnAck(connack) => {
                assert_eq!(connack.code, 0);
                Ok((line, connack.session_present))
            }
            other => panic!("no CONNACK: {other:?}"),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    fn packet(&mut self) -> io::Result<ServerPacket> {
        loop {
            let read = client::read(&self.came, V5).expect("a packet");
            if let Some((packet, length)) = read {
                self.came.drain(..length);
                return Ok(packet);
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => self.came.extend_from_slice(&buffer[..length]),
            }
        }
    }
}

/// Publishes 1, 2, 3 … to one topic, each again until it is acknowledged.
struct Publisher {
    login: Login,
    topic: &'static str,
    qos: QoS,
    retain: bool,
    /// The number that is under way, and whether PUBREC came for it.
    under_way: u64,
    is_received: bool,
    /// It was sent before, on a connection that broke.
    again: bool,
}

impl Publisher {
    fn new(login: Login, topic: &'static str, qos: QoS, retain: bool) -> Self {
        Self {
            login,
            topic,
            qos,
            retain,
            under_way: 1,
            is_received: false,
            again: false,
        }
    }

    fn acknowledged(&self) -> u64 {
        self.under_way - 1
    }

    fn run(&mut self, broker: &Broker, stop: &AtomicBool) {
        let _ = self.until_it_breaks(broker, stop);
        self.again = true;
    }

    fn until_it_breaks(&mut self, broker: &Broker, stop: &AtomicBool) -> io::Result<()> {
        let (mut line, present) = Line::open(broker, &self.login)?;
        // A session that was acknowledged is there; its identifiers with it.
        assert!(present || !self.is_received, "{}'s session", self.topic);
        while !stop.load(Ordering::Acquire) {
            self.one(&mut line)?;
        }
        Ok(())
    }

    fn one(&mut self, line: &mut Line) -> io::Result<()> {
        let id = (self.under_way % 60_000) as u16 + 1;
        let payload = self.under_way.to_string();
        if !self.is_received {
            let publish = Publish {
                dup: self.again,
                retain: self.retain,
                ..Publish::new(self.topic, payload.as_bytes()).at(self.qos, id)
            };
            line.send(&publish.encode(V5))?;
            match line.packet()? {
                ServerPacket::PubAck { packet_id, .. } => assert_eq!(packet_id, id),
                ServerPacket::PubRec { packet_id, .. } => {
                    assert_eq!(packet_id, id);
                    self.is_received = true;
                }
                other => panic!("no acknowledgement: {other:?}"),
            }
        }
        if self.is_received {
            line.send(&pubrel(V5, id, OK, &[]))?;
            match line.packet()? {
                ServerPacket::PubComp { packet_id, .. } => assert_eq!(packet_id, id),
                other => panic!("no PUBCOMP: {other:?}"),
            }
        }
        self.is_received = false;
        self.again = false;
        self.under_way += 1;
        Ok(())
    }
}

/// Takes what comes, with the memory that a client has to have.
#[derive(Default)]
struct Subscriber {
    /// QoS 2 identifiers that were received and not released.
    held: BTreeSet<u16>,
    one: Vec<u64>,
    two: Vec<u64>,
}

impl Subscriber {
    /// Returns what broke it, where it did not get enough.
    fn run(&mut self, broker: &Broker, enough: &dyn Fn(&Self) -> bool) -> io::Result<()> {
        self.until_it_breaks(broker, enough)
    }

    fn until_it_breaks(
        &mut self,
        broker: &Broker,
        enough: &dyn Fn(&Self) -> bool,
    ) -> io::Result<()> {
        let (mut line, _) = Line::open(broker, &World::anna())?;
        while !enough(self) {
            match line.packet()? {
                ServerPacket::Publish(publish) => {
                    let number = String::from_utf8_lossy(&publish.payload).parse();
                    let number = number.expect("a number");
                    let id = publish.packet_id.expect("an identifier");
                    if publish.qos == QoS::AtLeastOnce {
                        self.one.push(number);
                        line.send(&puback(V5, id, OK, &[]))?;
                    } else {
                        if self.held.insert(id) {
                            self.two.push(number);
                        }
                        line.send(&pubrec(V5, id, OK, &[]))?;
                    }
                }
                ServerPacket::PubRel { packet_id, .. } => {
                    self.held.remove(&packet_id);
                    line.send(&pubcomp(V5, packet_id, OK, &[]))?;
                }
                other => panic!("not for a subscriber: {other:?}"),
            }
        }
        Ok(())
    }
}

fn killed_while_messages_pass(rounds: u32) {
    let publishers = ["p1", "p2", "p3"].map(|name| Login::of(&format!("{name}@red")));
    let provisions: String = publishers.iter().map(|it| it.client("#")).collect();
    let mut place = Setup::new().and(&provisions).place();
    let broker = place.start();
    // The session that everything is for.
    let (mut line, _) = Line::open(&broker, &World::anna()).expect("a session");
    let options = SubscriptionOptions {
        qos: QoS::ExactlyOnce,
        no_local: false,
        retain_as_published: false,
        retain_handling: RetainHandling::DoNotSend,
    };
    let wanted = ["one", "two"].map(|topic| (topic, options));
    line.send(&subscribe(V5, 1, &wanted, &[])).expect("sent");
    let suback = line.packet().expect("SUBACK");
    assert!(matches!(suback, ServerPacket::SubAck { .. }), "{suback:?}");
    drop(line);

    let [p1, p2, p3] = publishers;
    let mut one = Publisher::new(p1, "one", QoS::AtLeastOnce, false);
    let mut two = Publisher::new(p2, "two", QoS::ExactlyOnce, false);
    let mut kept = Publisher::new(p3, "kept", QoS::AtLeastOnce, true);
    let mut subscriber = Subscriber::default();
    let mut broker = Some(broker);
    for round in 0..rounds {
        let running = broker.take().expect("a broker");
        let stop = AtomicBool::new(false);
        let before = one.acknowledged() + two.acknowledged() + kept.acknowledged();
        std::thread::scope(|scope| {
            scope.spawn(|| one.run(&running, &stop));
            scope.spawn(|| two.run(&running, &stop));
            scope.spawn(|| kept.run(&running, &stop));
            // In every other life there is nobody to take them; in a short run in none, see
            // `docs/durability.md`.
            if rounds > SHORT && round % 2 == 0 {
                scope.spawn(|| drop(subscriber.run(&running, &|_| false)));
            }
            // Some time that is another in each round; what counts is that it comes anywhere.
            let millis = 100 + u64::from(round) * 131 % 400;
            std::thread::sleep(Duration::from_millis(millis));
            running.process().signal("KILL");
            stop.store(true, Ordering::Release);
        });
        let after = one.acknowledged() + two.acknowledged() + kept.acknowledged();
        println!("round {round}: {} acknowledged", after - before);
        running.process().wait();
        place = running.into_place();
        broker = Some(place.start());
    }

    let broker = broker.take().expect("a broker");
    // Everything acknowledged, and perhaps the one that was under way.
    let (ones, twos) = (one.acknowledged(), two.acknowledged());
    assert!(
        ones > 0 && twos > 0 && kept.acknowledged() > 0,
        "nothing passed"
    );
    let ended = subscriber.run(&broker, &|it| {
        it.one.contains(&ones) && it.two.contains(&twos)
    });
    assert!(
        ended.is_ok(),
        "{ended:?}: of {ones} acknowledged at QoS 1 the last to come was {:?}, of {twos} at QoS 2 {:?}; \
         held {:?}; {}",
        subscriber.one.last(),
        subscriber.two.last(),
        subscriber.held,
        broker.process().whole_log(),
    );
    let mut firsts = Vec::new();
    for number in &subscriber.one {
        if firsts.last().is_none_or(|last| number > last) {
            firsts.push(*number);
        }
    }
    let all: Vec<u64> = (1..=*firsts.last().expect("one")).collect();
    assert_eq!(
        firsts, all,
        "QoS 1: each, and each for the first time in order"
    );
    assert!(firsts.len() as u64 >= ones);
    let all: Vec<u64> = (1..=subscriber.two.len() as u64).collect();
    assert_eq!(subscriber.two, all, "QoS 2: each once and in order");
    assert!(subscriber.two.len() as u64 >= twos);

    let mut reader = Client::login(&broker, "tcp", &World::alice(), V5);
    reader.subscribe("kept", QoS::AtMostOnce);
    let retained = String::from_utf8_lossy(&reader.receive().payload).parse();
    let retained: u64 = retained.expect("a number");
    let last = kept.acknowledged();
    assert!(
        retained == last || retained == last + 1,
        "{retained}, {last}"
    );
}

#[test]
fn nothing_acknowledged_is_lost_wherever_the_broker_is_killed() {
    let kills = std::env::var("COFFERDAM_TEST_KILLS").ok();
    let kills = kills.map_or(SHORT, |kills| kills.parse().expect("how often to kill it"));
    killed_while_messages_pass(kills);
}
