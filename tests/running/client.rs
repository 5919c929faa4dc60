//! An MQTT client that does one thing at a time and reads what it is told to read.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use cofferdam::wire::client::{
    self, ConnAck, Connect, Property, Publish, ServerPacket, pingreq, puback, pubcomp, pubrec,
    pubrel, subscribe,
};
use cofferdam::wire::{QoS, ReasonCode, RetainHandling, SubscriptionOptions, Version};
use tungstenite::client::IntoClientRequest as _;
use tungstenite::{Message, WebSocket};

use super::{Broker, Login, Stream, World};

/// What a client's packets travel in.
pub enum Link {
    Bare(Stream),
    Web(Box<WebSocket<Stream>>),
}

/// A client.
pub struct Client {
    pub link: Link,
    pub version: Version,
    /// Bytes that came and were not read as packets yet.
    came: Vec<u8>,
    next_id: u16,
}

impl Link {
    /// Goes on as a WebSocket at `path` where the listener is one.
    pub fn open(listener: &str, path: &str, stream: Stream) -> Self {
        if !matches!(listener, "ws" | "wss" | "origins") {
            return Self::Bare(stream);
        }
        let mut request = format!("ws://localhost{path}")
            .into_client_request()
            .expect("a request");
        let headers = request.headers_mut();
        headers.insert("Sec-WebSocket-Protocol", "mqtt".parse().expect("a value"));
        let (websocket, _) = tungstenite::client(request, stream).expect("an upgrade");
        Self::Web(Box::new(websocket))
    }

    pub fn stream(&self) -> &Stream {
        match self {
            Self::Bare(stream) => stream,
            Self::Web(websocket) => websocket.get_ref(),
        }
    }

    /// Reads what comes next; `false`: the broker closed.
    fn read(&mut self, into: &mut Vec<u8>) -> bool {
        match self {
            Self::Bare(stream) => {
                let mut buffer = [0; 64 << 10];
                let length = stream.read(&mut buffer).expect("something comes in time");
                into.extend_from_slice(&buffer[..length]);
                length > 0
            }
            Self::Web(websocket) => match websocket.read() {
                Ok(Message::Binary(bytes)) => {
                    into.extend_from_slice(&bytes);
                    true
                }
                Ok(Message::Close(_)) | Err(tungstenite::Error::ConnectionClosed) => false,
                Ok(Message::Ping(_) | Message::Pong(_)) => true,
                other => panic!("not what an MQTT broker sends: {other:?}"),
            },
        }
    }
}

impl Client {
    /// Over a link that is ready for MQTT.
    pub fn over(link: Link, version: Version) -> Self {
        Self {
            link,
            version,
            came: Vec::new(),
            next_id: 0,
        }
    }

    /// Connected to a listener's socket; nothing of MQTT is said yet.
    pub fn dial(broker: &Broker, listener: &str, version: Version) -> Self {
        let stream = broker.dial(listener);
        Self::over(Link::open(listener, "/mqtt", stream), version)
    }

    /// Logged in, with a clean session.
    pub fn login(broker: &Broker, listener: &str, login: &Login, version: Version) -> Self {
        let mut client = Self::dial(broker, listener, version);
        let connack = client.connect(&login.connect(version));
        assert!(!connack.session_present);
        client
    }

    pub fn own_address(&self) -> String {
        self.link.stream().own_address()
    }

    pub fn socket(&self) -> &TcpStream {
        self.link.stream().socket()
    }

    /// Sends bytes: one write, or one frame.
    pub fn send(&mut self, bytes: &[u8]) {
        match &mut self.link {
            Link::Bare(stream) => stream.write_all(bytes).expect("sent"),
            Link::Web(websocket) => websocket
                .send(Message::Binary(bytes.to_vec().into()))
                .expect("sent"),
        }
    }

    /// The next packet; `None`: the broker closed.
    pub fn next(&mut self) -> Option<ServerPacket> {
        loop {
            let read = client::read(&self.came, self.version)
                .unwrap_or_else(|error| panic!("{error:?} in {:02x?}", self.came));
            if let Some((packet, length)) = read {
                self.came.drain(..length);
                return Some(packet);
            }
            if !self.link.read(&mut self.came) {
                assert!(self.came.is_empty(), "half a packet: {:02x?}", self.came);
                return None;
            }
        }
    }

    /// The next packet.
    pub fn packet(&mut self) -> ServerPacket {
        self.next().expect("a packet before the end")
    }

    /// Everything until the broker closes.
    pub fn rest(&mut self) -> Vec<ServerPacket> {
        std::iter::from_fn(|| self.next()).collect()
    }

    /// Sends CONNECT and reads CONNACK, which must say yes.
    pub fn connect(&mut self, connect: &Connect) -> ConnAck {
        self.send(&connect.encode());
        match self.packet() {
            ServerPacket::ConnAck(connack) if connack.code == 0 => connack,
            other => panic!("not let in: {other:?}"),
        }
    }

    /// Subscribes, and reads what is granted.
    pub fn subscribe(&mut self, filter: &str, qos: QoS) {
        assert_eq!(self.try_subscribe(filter, qos), qos as u8);
    }

    /// Subscribes; gives the answer's code.
    pub fn try_subscribe(&mut self, filter: &str, qos: QoS) -> u8 {
        let options = SubscriptionOptions {
            qos,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::Send,
        };
        let id = self.new_id();
        self.send(&subscribe(self.version, id, &[(filter, options)], &[]));
        match self.packet() {
            ServerPacket::SubAck {
                packet_id, codes, ..
            } => {
                assert_eq!((packet_id, codes.len()), (id, 1));
                codes[0].as_byte()
            }
            other => panic!("no SUBACK: {other:?}"),
        }
    }

    /// Publishes, and sees the flow through to its end.
    pub fn publish(&mut self, publish: Publish) {
        let id = self.send_publish(publish);
        let Some((qos, id)) = id else { return };
        self.see_through(qos, id);
    }

    /// Sends a PUBLISH under a packet identifier of its own where it needs one.
    pub fn send_publish(&mut self, publish: Publish) -> Option<(QoS, u16)> {
        let qos = publish.qos;
        let publish = match qos {
            QoS::AtMostOnce => publish,
            qos => {
                let id = self.new_id();
                publish.at(qos, id)
            }
        };
        self.send(&publish.encode(self.version));
        publish.packet_id.map(|id| (qos, id))
    }

    /// Reads the acknowledgements of a PUBLISH, none of which may say no.
    pub fn see_through(&mut self, qos: QoS, id: u16) {
        match (qos, self.packet()) {
            (
                QoS::AtLeastOnce,
                ServerPacket::PubAck {
                    packet_id, reason, ..
                },
            ) => {
                assert!(packet_id == id && !reason.is_error(), "{reason:?}");
            }
            (
                QoS::ExactlyOnce,
                ServerPacket::PubRec {
                    packet_id, reason, ..
                },
            ) => {
                assert!(packet_id == id && !reason.is_error(), "{reason:?}");
                self.send(&pubrel(self.version, id, ReasonCode::Success, &[]));
                match self.packet() {
                    ServerPacket::PubComp {
                        packet_id, reason, ..
                    } => {
                        assert_eq!((packet_id, reason), (id, ReasonCode::Success));
                    }
                    other => panic!("no PUBCOMP: {other:?}"),
                }
            }
            (_, other) => panic!("no acknowledgement: {other:?}"),
        }
    }

    /// Reads a message, and acknowledges it to the end.
    pub fn receive(&mut self) -> Publish {
        let ServerPacket::Publish(publish) = self.packet() else {
            panic!("no message");
        };
        self.acknowledge(&publish);
        publish
    }

    /// Acknowledges a message to the end.
    pub fn acknowledge(&mut self, publish: &Publish) {
        let Some(id) = publish.packet_id else { return };
        if publish.qos == QoS::AtLeastOnce {
            return self.send(&puback(self.version, id, ReasonCode::Success, &[]));
        }
        self.send(&pubrec(self.version, id, ReasonCode::Success, &[]));
        match self.packet() {
            ServerPacket::PubRel { packet_id, .. } => assert_eq!(packet_id, id),
            other => panic!("no PUBREL: {other:?}"),
        }
        self.send(&pubcomp(self.version, id, ReasonCode::Success, &[]));
    }

    /// Sends the first acknowledgement of a message; gives its identifier where more is to come.
    pub fn begin_acknowledging(&mut self, publish: &Publish) -> Option<u16> {
        let id = publish.packet_id?;
        if publish.qos == QoS::AtLeastOnce {
            self.send(&puback(self.version, id, ReasonCode::Success, &[]));
            return None;
        }
        self.send(&pubrec(self.version, id, ReasonCode::Success, &[]));
        Some(id)
    }

    /// Sends the last acknowledgement of a message at QoS 2.
    pub fn complete(&mut self, id: u16) {
        self.send(&pubcomp(self.version, id, ReasonCode::Success, &[]));
    }

    /// Sends PINGREQ and gives what comes before its answer; `None`: the broker closed.
    pub fn ping(&mut self) -> Option<Vec<ServerPacket>> {
        self.send(&pingreq());
        let mut before = Vec::new();
        loop {
            match self.next()? {
                ServerPacket::PingResp => return Some(before),
                packet => before.push(packet),
            }
        }
    }

    /// Nothing came, and the broker still answers.
    pub fn assert_quiet(&mut self) {
        assert_eq!(self.ping(), Some(vec![]));
    }

    fn new_id(&mut self) -> u16 {
        self.next_id = self.next_id % u16::MAX + 1;
        self.next_id
    }
}

/// A client of another team, which must not notice anything of what a test does.
pub struct Bystander(Client);

impl Bystander {
    pub fn join(broker: &Broker) -> Self {
        let mut client = Client::login(broker, "tcp", &World::bob(), Version::V5);
        client.subscribe("#", QoS::ExactlyOnce);
        Self(client)
    }

    /// Nothing reached it, and it is still served.
    pub fn was_left_alone(mut self) {
        self.0.assert_quiet();
        self.0.publish(Publish::new("self", b"served"));
        assert_eq!(self.0.receive().payload, b"served");
    }
}

/// A session that outlives its connection by this many seconds, in the version's own way.
pub fn lasting(connect: Connect, seconds: u32) -> Connect {
    Connect {
        clean_start: false,
        properties: vec![Property::SessionExpiry(seconds)],
        ..connect
    }
}
