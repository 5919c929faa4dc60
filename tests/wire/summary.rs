//! A packet in one line, as the shared table writes it: fields at their default are left out.

use std::fmt::Write;

use cofferdam::wire::{
    Ack, Auth, Connect, Disconnect, Packet, Publish, PublishProperties, ReasonCode, RetainHandling,
    Subscribe, SubscriptionOptions, Unsubscribe, UserProperties, Version,
};

/// The line.
pub fn of(packet: &Packet<'_>) -> String {
    let mut line = Line(String::new());
    match packet {
        Packet::Connect(packet) => line.connect(packet),
        Packet::Publish(packet) => line.publish(packet),
        Packet::PubAck(packet) => line.ack("puback", *packet),
        Packet::PubRec(packet) => line.ack("pubrec", *packet),
        Packet::PubRel(packet) => line.ack("pubrel", *packet),
        Packet::PubComp(packet) => line.ack("pubcomp", *packet),
        Packet::Subscribe(packet) => line.subscribe(packet),
        Packet::Unsubscribe(packet) => line.unsubscribe(packet),
        Packet::PingReq => line.word("pingreq"),
        Packet::Disconnect(packet) => line.disconnect(packet),
        Packet::Auth(packet) => line.auth(packet),
    }
    line.0
}

struct Line(String);

impl Line {
    fn word(&mut self, word: &str) {
        if !self.0.is_empty() && !self.0.ends_with('[') {
            self.0.push(' ');
        }
        self.0.push_str(word);
    }

    fn flag(&mut self, name: &str, set: bool) {
        if set {
            self.word(name);
        }
    }

    fn number(&mut self, name: &str, value: impl Into<Option<u32>>) {
        if let Some(value) = value.into() {
            self.word(&format!("{name}={value}"));
        }
    }

    fn unless(&mut self, default: u32, name: &str, value: u32) {
        self.number(name, (value != default).then_some(value));
    }

    fn text(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.word(&format!("{name}={}", quoted(value)));
        }
    }

    fn bytes(&mut self, name: &str, value: Option<&[u8]>) {
        if let Some(value) = value {
            self.word(&format!("{name}={}", hex(value)));
        }
    }

    fn reason(&mut self, reason: ReasonCode) {
        if reason != ReasonCode::Success {
            self.word(&format!("reason=0x{:02X}", reason.as_byte()));
        }
    }

    fn user(&mut self, user: &UserProperties<'_>) {
        let pairs: Vec<_> = user
            .iter()
            .map(|(name, value)| format!("{}={}", quoted(name), quoted(value)))
            .collect();
        if !pairs.is_empty() {
            self.word(&format!("user[{}]", pairs.join(" ")));
        }
    }

    fn connect(&mut self, packet: &Connect<'_>) {
        self.word("connect");
        self.word(match packet.version {
            Version::V31 => "3.1",
            Version::V311 => "3.1.1",
            Version::V5 => "5",
        });
        self.flag("bridge", packet.bridge);
        self.flag("clean", packet.clean_start);
        self.unless(0, "keep_alive", packet.keep_alive.into());
        self.text("client", Some(packet.client_id));
        if let Some(will) = &packet.will {
            self.word("will[");
            self.unless(0, "qos", will.qos as u32);
            self.flag("retain", will.retain);
            self.text("topic", Some(will.topic));
            self.unless(0, "delay", will.delay);
            self.message_properties(&will.properties);
            self.bytes("payload", Some(will.payload));
            self.0.push(']');
        }
        self.text("username", packet.username);
        self.bytes("password", packet.password);
        let properties = &packet.properties;
        self.unless(0, "session_expiry", properties.session_expiry);
        let receive_maximum = properties.receive_maximum.get().into();
        self.unless(65_535, "receive_maximum", receive_maximum);
        self.number("maximum_packet_size", properties.maximum_packet_size);
        let aliases = properties.topic_alias_maximum.into();
        self.unless(0, "topic_alias_maximum", aliases);
        self.flag(
            "request_response_information",
            properties.request_response_information,
        );
        self.flag(
            "no_problem_information",
            !properties.request_problem_information,
        );
        self.text("method", properties.authentication_method);
        self.bytes("data", properties.authentication_data);
        self.user(&properties.user);
    }

    fn publish(&mut self, packet: &Publish<'_>) {
        self.word("publish");
        self.flag("dup", packet.dup);
        self.unless(0, "qos", packet.qos as u32);
        self.flag("retain", packet.retain);
        self.number("id", packet.packet_id.map(|id| id.get().into()));
        self.text("topic", Some(packet.topic));
        self.message_properties(&packet.properties);
        self.bytes("payload", Some(packet.payload));
    }

    fn message_properties(&mut self, properties: &PublishProperties<'_>) {
        self.number("alias", properties.topic_alias.map(u32::from));
        self.flag("utf8", properties.payload_is_utf8);
        self.number("expiry", properties.message_expiry);
        self.text("response", properties.response_topic);
        self.bytes("correlation", properties.correlation_data);
        self.text("content", properties.content_type);
        self.user(&properties.user);
        let passed_on = properties.passed_on();
        self.bytes("passed_on", Some(&*passed_on).filter(|b| !b.is_empty()));
    }

    fn ack(&mut self, name: &str, packet: Ack) {
        self.word(name);
        self.number("id", u32::from(packet.packet_id.get()));
        self.reason(packet.reason);
    }

    fn subscribe(&mut self, packet: &Subscribe<'_>) {
        self.word("subscribe");
        self.number("id", u32::from(packet.packet_id.get()));
        self.number("sid", packet.subscription_id);
        self.user(&packet.user);
        for filter in &packet.filters {
            self.word(&quoted(filter.filter));
            self.0.push_str(&options(filter.options));
        }
    }

    fn unsubscribe(&mut self, packet: &Unsubscribe<'_>) {
        self.word("unsubscribe");
        self.number("id", u32::from(packet.packet_id.get()));
        self.user(&packet.user);
        for filter in &packet.filters {
            self.word(&quoted(filter));
        }
    }

    fn disconnect(&mut self, packet: &Disconnect<'_>) {
        self.word("disconnect");
        self.reason(packet.reason);
        self.number("session_expiry", packet.session_expiry);
        self.user(&packet.user);
    }

    fn auth(&mut self, packet: &Auth<'_>) {
        self.word("auth");
        self.reason(packet.reason);
        self.text("method", packet.method);
        self.bytes("data", packet.data);
        self.user(&packet.user);
    }
}

fn options(options: SubscriptionOptions) -> String {
    let mut text = format!(":{}", options.qos as u8);
    if options.no_local {
        text.push_str(",no_local");
    }
    if options.retain_as_published {
        text.push_str(",as_published");
    }
    text.push_str(match options.retain_handling {
        RetainHandling::Send => "",
        RetainHandling::SendIfNew => ",send_if_new",
        RetainHandling::DoNotSend => ",do_not_send",
    });
    text
}

fn quoted(text: &str) -> String {
    format!("{text:?}")
}

/// Hex digits; `-` for nothing at all.
fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    if text.is_empty() { "-".into() } else { text }
}
