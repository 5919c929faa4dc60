//! The steps of a script: the first byte says who (two bits) and what, the next ones how.

use cofferdam::time::Span;
use cofferdam::wire::client::{self, Connect, Property, Publish, Will};
use cofferdam::wire::{QoS, ReasonCode, RetainHandling, SubscriptionOptions, Version};

use super::super::input::Input;
use super::directory::{PASSWORD, RIDDLE};
use super::mark::Mark;
use super::net::Net;

const USERNAMES: [&str; 16] = [
    "alice@alpha",
    "bob@alpha",
    "alice@beta",
    "forge_platform",
    "project:alpha:a1",
    "device:alpha:ad",
    "",
    "nobody@alpha",
    "bob@beta",
    "project:beta:b1",
    "device:beta:bd",
    "mq:hosted:alpha:a1",
    "mq:hosted:beta:b1",
    "agent:watch@beta",
    "project:alpha:a2",
    "expert-agent:u:s",
];

/// `@` is for the mark of the client's team.
const NAMES: [&str; 16] = [
    "a",
    "a/b",
    "",
    "/",
    "b",
    "ff/v1/alpha/c/a",
    "ff/v1/alpha/p/a1/out/x",
    "$x/a",
    "@",
    "a/@",
    "ff/v1/alpha/p/a1/in/@",
    "ff/v1/alpha/d/ad/status",
    "ff/v1/beta/c/a",
    "ff/v1/beta/p/b1/in/@",
    "ff/v1/beta/p/b1/out/x",
    "ff/v1/beta/d/bd/command",
];

const FILTERS: [&str; 24] = [
    "a",
    "#",
    "+",
    "a/#",
    "+/b",
    "$share/g/a/#",
    "$share/g/#",
    "$share/h/+",
    "/",
    "ff/v1/alpha/#",
    "ff/v1/+/c/#",
    "$x/#",
    "a/+/c",
    "a#",
    "",
    "$share/g",
    "ff/v1/+/p/+/out/#",
    "ff/v1/+/d/+/status",
    "ff/v1/alpha/p/+/out/#",
    "ff/v1/alpha/c/#",
    "$share/a1/ff/v1/alpha/p/a1/in/#",
    "ff/v1/beta/#",
    "ff/v1/beta/p/+/out/#",
    "ff/v1/beta/c/#",
];

/// What clients say in AUTH.
const ANSWERS: [&str; 4] = [PASSWORD, "alice@alpha", "nobody", ""];

const REASONS: [ReasonCode; 6] = [
    ReasonCode::Success,
    ReasonCode::DisconnectWithWill,
    ReasonCode::UnspecifiedError,
    ReasonCode::NoMatchingSubscribers,
    ReasonCode::PacketIdentifierNotFound,
    ReasonCode::QuotaExceeded,
];

/// Does the next step.
pub fn step(net: &mut Net, input: &mut Input<'_>) {
    let first = input.u8();
    let who = usize::from(first & 3);
    match first >> 2 & 0x0F {
        0 => {
            let length = input.u8();
            net.say_anything(who, input.take(usize::from(length)));
        }
        1 => {
            let connect = connect(input);
            match names_itself(&connect) {
                Some(username) => net.open_as(who, username),
                None => net.open(who),
            }
            net.say(who, |_| connect.encode());
        }
        2 => subscribe(net, who, input),
        3 => {
            let (id, filter) = (1 + u16::from(input.u8()), input.pick(&FILTERS));
            net.say(who, |version| {
                client::unsubscribe(version, id, &[filter], &[])
            });
        }
        4 | 5 => publish(net, who, input),
        6 => {
            let (which, reason) = (input.u8(), input.pick(&REASONS));
            net.acknowledge_one(who, usize::from(which), reason);
        }
        7 => net.acknowledge_all(who),
        8 => {
            let (id, reason) = (1 + u16::from(input.u8()), input.pick(&REASONS));
            net.say(who, |version| client::pubrel(version, id, reason, &[]));
        }
        9 => {
            let (reason, expiry) = (input.pick(&REASONS), input.u8());
            let properties = match expiry {
                0 => vec![],
                secs => vec![Property::SessionExpiry(u32::from(secs) - 1)],
            };
            net.say(who, |version| {
                client::disconnect(version, reason, &properties)
            });
        }
        10 => net.cut(who),
        11 => match input.u8() {
            255 => net.read(who, usize::MAX),
            few => net.read(who, 8 * usize::from(few)),
        },
        12 => {
            let units = [
                Span::from_millis(1),
                Span::from_secs(1),
                Span::from_secs(60),
            ];
            let unit = units[who % units.len()];
            net.pass(Span::from_micros(unit.as_micros() * u64::from(input.u8())));
        }
        13 => net.hold_logins(input.u8()),
        14 => net.hold_between(input.u8() & 1 == 0),
        _ => match input.u8() {
            0 => net.stop(),
            1 => net.say(who, |_| client::pingreq()),
            2 => {
                let reason = match input.u8() & 1 {
                    0 => ReasonCode::ContinueAuthentication,
                    _ => ReasonCode::ReAuthenticate,
                };
                let said = authentication(input.pick(&ANSWERS));
                net.say(who, |_| client::auth(reason, &said));
            }
            how => net.break_off(who, how),
        },
    }
}

fn version(bits: u8) -> Version {
    [Version::V5, Version::V311, Version::V31][usize::from(bits) % 3]
}

fn qos(bits: u8) -> QoS {
    [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][usize::from(bits) % 3]
}

fn connect(input: &mut Input<'_>) -> Connect {
    let (username, flags) = (input.pick(&USERNAMES), input.u8());
    let mut connect = Connect::new(version(flags & 3));
    connect.clean_start = flags & 4 == 0;
    connect.keep_alive = u16::from(input.u8());
    connect.client_id = match username {
        _ if flags & 128 != 0 => "the same".to_owned(),
        "forge_platform" => "forge_platform:1".to_owned(),
        name => name.to_owned(),
    };
    if !username.is_empty() {
        connect.username = Some(username.to_owned());
        connect.password = Some(PASSWORD.into());
    }
    let expiry = input.u8();
    connect.properties = vec![Property::SessionExpiry(match expiry {
        255 => u32::MAX,
        secs => u32::from(secs),
    })];
    if flags & 8 != 0 {
        let maximum = 1 + u16::from(input.u8() & 3);
        connect.properties.push(Property::ReceiveMaximum(maximum));
    }
    if flags & 16 != 0 {
        let maximum = 1 + 2 * u32::from(input.u8());
        connect
            .properties
            .push(Property::MaximumPacketSize(maximum));
    }
    if flags & 64 != 0 {
        connect.properties.extend(authentication(username));
    }
    let mark = names_itself(&connect).and_then(Mark::named_in);
    if flags & 32 != 0 {
        let how = input.u8();
        connect.will = Some(Will {
            topic: name(input, mark),
            payload: vec![mark.map_or(b'w', Mark::byte); usize::from(how >> 4)],
            qos: qos(how & 3),
            retain: how & 4 != 0,
            properties: match input.u8() {
                0 => vec![],
                delay => vec![Property::WillDelay(u32::from(delay))],
            },
        });
    }
    connect
}

/// The username, where nothing but that says who it is.
fn names_itself(connect: &Connect) -> Option<&str> {
    let proves = |property: &Property| matches!(property, Property::AuthenticationMethod(_));
    let username = connect.username.as_deref();
    username.filter(|_| !connect.properties.iter().any(proves))
}

fn name(input: &mut Input<'_>, mark: Option<Mark>) -> String {
    let mark = mark.map_or("m".to_owned(), Mark::text);
    input.pick(&NAMES).replace('@', &mark)
}

fn authentication(said: &str) -> Vec<Property> {
    vec![
        Property::AuthenticationMethod(RIDDLE.to_owned()),
        Property::AuthenticationData(said.into()),
    ]
}

fn subscribe(net: &mut Net, who: usize, input: &mut Input<'_>) {
    let (id, filter, bits) = (1 + u16::from(input.u8()), input.pick(&FILTERS), input.u8());
    let handling = [
        RetainHandling::Send,
        RetainHandling::SendIfNew,
        RetainHandling::DoNotSend,
    ];
    let options = SubscriptionOptions {
        qos: qos(bits & 3),
        no_local: bits & 4 != 0,
        retain_as_published: bits & 8 != 0,
        retain_handling: handling[usize::from(bits >> 4 & 3) % 3],
    };
    let properties = match bits & 0x80 {
        0 => vec![],
        _ => vec![Property::SubscriptionId(u32::from(id))],
    };
    net.say(who, |version| {
        client::subscribe(version, id, &[(filter, options)], &properties)
    });
}

fn publish(net: &mut Net, who: usize, input: &mut Input<'_>) {
    let mark = net.mark(who);
    let (name, bits) = (name(input, mark), input.u8());
    let filling = mark.map_or(b'p', Mark::byte);
    let payload = vec![filling; 8 * usize::from(input.u8() & 0x7F)];
    let mut publish = Publish {
        retain: bits & 4 != 0,
        ..Publish::new(&name, &payload)
    };
    if bits & 3 > 0 {
        publish = publish.at(qos(bits & 3), 1 + u16::from(input.u8()));
        // QoS 3 bits are for the codec's targets; here 3 is 0 again.
        if publish.qos == QoS::AtMostOnce {
            publish.packet_id = None;
        }
        publish.dup = bits & 8 != 0 && publish.packet_id.is_some();
    }
    if bits & 16 != 0 {
        publish
            .properties
            .push(Property::MessageExpiry(u32::from(input.u8())));
    }
    if bits & 32 != 0 {
        publish
            .properties
            .push(Property::TopicAlias(1 + u16::from(input.u8() & 7)));
    }
    if bits & 64 != 0 {
        publish
            .properties
            .push(Property::ResponseTopic(name.clone()));
        publish
            .properties
            .push(Property::User("k".to_owned(), name));
    }
    net.say(who, |version| publish.encode(version));
}
