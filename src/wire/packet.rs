//! The packets, as types. Every borrowed field points into the bytes read.

use std::num::NonZeroU16;

use super::property::{PublishProperties, UserProperties};
use super::reason::ReasonCode;

/// The protocol versions that a CONNECT can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// `MQIsdp`, level 3.
    V31,
    /// `MQTT`, level 4.
    V311,
    /// `MQTT`, level 5.
    V5,
}

/// Quality of service `[MQTT-4.3]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum QoS {
    /// At most once.
    AtMostOnce = 0,
    /// At least once.
    AtLeastOnce = 1,
    /// Exactly once.
    ExactlyOnce = 2,
}

/// A packet identifier, never zero `[MQTT-2.2.1-3]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId(pub NonZeroU16);

/// A packet that a client sent.
///
/// A packet that only a server may send decodes to an error.
#[derive(Clone, Debug, PartialEq)]
pub enum Packet<'a> {
    /// First packet of every connection.
    Connect(Box<Connect<'a>>),
    /// A message.
    Publish(Publish<'a>),
    /// Answer to a QoS 1 PUBLISH.
    PubAck(Ack),
    /// First answer to a QoS 2 PUBLISH.
    PubRec(Ack),
    /// Second packet of the QoS 2 sender.
    PubRel(Ack),
    /// Last packet of the QoS 2 flow.
    PubComp(Ack),
    /// Wants messages.
    Subscribe(Subscribe<'a>),
    /// Wants them no more.
    Unsubscribe(Unsubscribe<'a>),
    /// Is alive.
    PingReq,
    /// Is going.
    Disconnect(Disconnect<'a>),
    /// Enhanced authentication (5.0).
    Auth(Auth<'a>),
}

/// CONNECT.
#[derive(Clone, Debug, PartialEq)]
pub struct Connect<'a> {
    /// The version asked for.
    pub version: Version,
    /// The high bit of the protocol level was set: a bridge (mosquitto's convention).
    pub bridge: bool,
    /// Clean session (3.x), clean start (5.0).
    pub clean_start: bool,
    /// Seconds; 0 is off.
    pub keep_alive: u16,
    /// May be empty: the server assigns one where the version allows.
    pub client_id: &'a str,
    /// The will, when there is one.
    pub will: Option<Will<'a>>,
    /// User name.
    pub username: Option<&'a str>,
    /// Password, any bytes.
    pub password: Option<&'a [u8]>,
    /// 5.0; the defaults of the standard otherwise.
    pub properties: ConnectProperties<'a>,
}

/// Properties of CONNECT, absent ones at the standard's default.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectProperties<'a> {
    /// Seconds that the session outlives the connection; `u32::MAX` is for ever. Absent: 0.
    pub session_expiry: u32,
    /// QoS 1 and 2 messages that the client takes at a time. Absent: 65,535.
    pub receive_maximum: NonZeroU16,
    /// Largest packet that the client takes. Absent: no limit.
    pub maximum_packet_size: Option<u32>,
    /// Topic aliases that the client takes. Absent: 0.
    pub topic_alias_maximum: u16,
    /// The client wants Response Information in CONNACK. Absent: false.
    pub request_response_information: bool,
    /// The client takes Reason Strings and User Properties on any packet. Absent: true.
    pub request_problem_information: bool,
    /// User properties.
    pub user: UserProperties<'a>,
    /// Enhanced authentication's method.
    pub authentication_method: Option<&'a str>,
    /// Enhanced authentication's data.
    pub authentication_data: Option<&'a [u8]>,
}

/// The will message in a CONNECT.
#[derive(Clone, Debug, PartialEq)]
pub struct Will<'a> {
    /// Where it goes.
    pub topic: &'a str,
    /// What it says.
    pub payload: &'a [u8],
    /// Its quality of service.
    pub qos: QoS,
    /// Whether it is retained.
    pub retain: bool,
    /// Seconds between the connection's end and the will (5.0). Absent: 0.
    pub delay: u32,
    /// The properties that travel with it. A topic alias or a subscription identifier does not
    /// belong here: malformed (section 2.2.2.2).
    pub properties: PublishProperties<'a>,
}

/// PUBLISH, as a client sends it.
#[derive(Clone, Debug, PartialEq)]
pub struct Publish<'a> {
    /// A second try at the same packet identifier.
    pub dup: bool,
    /// Quality of service.
    pub qos: QoS,
    /// To be retained.
    pub retain: bool,
    /// Valid UTF-8 without U+0000 or wildcards; may be empty when a topic alias stands for it.
    pub topic: &'a str,
    /// Present exactly when `qos` is above 0.
    pub packet_id: Option<PacketId>,
    /// 5.0.
    pub properties: PublishProperties<'a>,
    /// Any bytes.
    pub payload: &'a [u8],
}

/// PUBACK, PUBREC, PUBREL, PUBCOMP. What they carry beside these is read over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Which message.
    pub packet_id: PacketId,
    /// Success in 3.x and where left out.
    pub reason: ReasonCode,
}

/// SUBSCRIBE: at least one filter.
#[derive(Clone, Debug, PartialEq)]
pub struct Subscribe<'a> {
    /// To answer with.
    pub packet_id: PacketId,
    /// 1 to 268,435,455 (5.0).
    pub subscription_id: Option<u32>,
    /// User properties.
    pub user: UserProperties<'a>,
    /// In the packet's order.
    pub filters: Vec<SubscribeFilter<'a>>,
}

/// One filter of a SUBSCRIBE. Its text is UTF-8 without U+0000; its form is for `topic` to judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscribeFilter<'a> {
    /// As written, `$share/…` included.
    pub filter: &'a str,
    /// And how.
    pub options: SubscriptionOptions,
}

/// Subscription options `[MQTT-3.8.3.1]`; in 3.x all but `qos` are at their defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscriptionOptions {
    /// The most that is delivered.
    pub qos: QoS,
    /// Not to the connection that published it.
    pub no_local: bool,
    /// The retain flag as the publisher set it.
    pub retain_as_published: bool,
    /// When retained messages are sent.
    pub retain_handling: RetainHandling,
}

/// When a subscription is answered with retained messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RetainHandling {
    /// At every SUBSCRIBE.
    Send = 0,
    /// Where the subscription did not exist before.
    SendIfNew = 1,
    /// Never.
    DoNotSend = 2,
}

/// UNSUBSCRIBE: at least one filter.
#[derive(Clone, Debug, PartialEq)]
pub struct Unsubscribe<'a> {
    /// To answer with.
    pub packet_id: PacketId,
    /// User properties.
    pub user: UserProperties<'a>,
    /// In the packet's order, as written.
    pub filters: Vec<&'a str>,
}

/// DISCONNECT, as a client sends it.
#[derive(Clone, Debug, PartialEq)]
pub struct Disconnect<'a> {
    /// Normal disconnection in 3.x and where left out.
    pub reason: ReasonCode,
    /// A new session expiry, in seconds.
    pub session_expiry: Option<u32>,
    /// User properties.
    pub user: UserProperties<'a>,
}

/// AUTH (5.0).
#[derive(Clone, Debug, PartialEq)]
pub struct Auth<'a> {
    /// 0x18 or 0x19; 0x00 is for servers.
    pub reason: ReasonCode,
    /// The method; always there, for AUTH without one is refused.
    pub method: Option<&'a str>,
    /// Its data.
    pub data: Option<&'a [u8]>,
    /// User properties.
    pub user: UserProperties<'a>,
}

impl QoS {
    /// From its two bits; 3 is malformed `[MQTT-3.3.1-4]`.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }
}

impl Version {
    /// As people write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V31 => "3.1",
            Self::V311 => "3.1.1",
            Self::V5 => "5.0",
        }
    }
}

impl PacketId {
    /// 1.
    pub const MIN: Self = Self(NonZeroU16::MIN);

    /// `None` for 0.
    pub const fn new(id: u16) -> Option<Self> {
        match NonZeroU16::new(id) {
            Some(id) => Some(Self(id)),
            None => None,
        }
    }

    /// As on the wire.
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl Default for ConnectProperties<'_> {
    fn default() -> Self {
        Self {
            session_expiry: 0,
            receive_maximum: NonZeroU16::MAX,
            maximum_packet_size: None,
            topic_alias_maximum: 0,
            request_response_information: false,
            request_problem_information: true,
            user: UserProperties::default(),
            authentication_method: None,
            authentication_data: None,
        }
    }
}
