//! Random packets, as proptest's strategies, and how to get back from what was decoded to what was
//! sent.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use cofferdam::wire::client::{self, Property};
use cofferdam::wire::{QoS, RetainHandling, SubscriptionOptions, Version};

pub const V: [Version; 3] = [Version::V31, Version::V311, Version::V5];

pub fn version() -> impl Strategy<Value = Version> {
    select(&V[..])
}

pub fn qos() -> impl Strategy<Value = QoS> {
    select(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][..])
}

pub fn text() -> impl Strategy<Value = String> {
    "[^\0]{0,40}"
}

/// Some are long enough for a remaining length of three bytes.
pub fn topic() -> impl Strategy<Value = String> {
    prop_oneof![
        9 => "[^\0+#]{1,40}",
        1 => "[a-z/]{16300,16500}",
    ]
}

pub fn data() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        9 => vec(any::<u8>(), 0..200),
        1 => vec(any::<u8>(), 16_300..16_500),
    ]
}

pub fn user() -> impl Strategy<Value = Vec<Property>> {
    vec(
        (text(), text()).prop_map(|(name, value)| Property::User(name, value)),
        0..4,
    )
}

/// The properties of a PUBLISH or a will, in the order in which `as_sent` gives them back.
pub fn message_properties() -> impl Strategy<Value = Vec<Property>> {
    (
        option::of(any::<u32>()),
        option::of(topic().prop_map(|mut topic| {
            topic.truncate(topic.floor_char_boundary(60));
            topic
        })),
        option::of(vec(any::<u8>(), 0..40)),
        option::of(text()),
        any::<bool>(),
        user(),
    )
        .prop_map(|(expiry, response, correlation, content, utf8, user)| {
            let mut properties = Vec::new();
            properties.extend(utf8.then_some(Property::PayloadFormat(true)));
            properties.extend(expiry.map(Property::MessageExpiry));
            properties.extend(content.map(Property::ContentType));
            properties.extend(response.map(Property::ResponseTopic));
            properties.extend(correlation.map(Property::CorrelationData));
            properties.extend(user);
            properties
        })
}

pub fn connect() -> impl Strategy<Value = client::Connect> {
    let will = (
        topic(),
        data(),
        qos(),
        any::<bool>(),
        option::of(1..=u32::MAX),
        message_properties(),
    )
        .prop_map(|(topic, payload, qos, retain, delay, message)| {
            let mut properties: Vec<_> = delay.map(Property::WillDelay).into_iter().collect();
            properties.extend(message);
            client::Will {
                topic,
                payload,
                qos,
                retain,
                properties,
            }
        });
    let properties = (
        option::of(1..=u32::MAX),
        option::of(1..u16::MAX),
        option::of(1..=u32::MAX),
        option::of(1..=u16::MAX),
        any::<(bool, bool)>(),
        option::of((text(), option::of(data()))),
        user(),
    )
        .prop_map(
            |(expiry, receive, size, aliases, (response, problem), auth, user)| {
                let mut properties = Vec::new();
                properties.extend(expiry.map(Property::SessionExpiry));
                properties.extend(receive.map(Property::ReceiveMaximum));
                properties.extend(size.map(Property::MaximumPacketSize));
                properties.extend(aliases.map(Property::TopicAliasMaximum));
                properties.extend(response.then_some(Property::RequestResponseInformation(true)));
                properties.extend(problem.then_some(Property::RequestProblemInformation(false)));
                if let Some((method, data)) = auth {
                    properties.push(Property::AuthenticationMethod(method));
                    properties.extend(data.map(Property::AuthenticationData));
                }
                properties.extend(user);
                properties
            },
        );
    (
        (version(), any::<(bool, bool, u16)>(), text()),
        (option::of(will), option::of(text()), option::of(data())),
        properties,
    )
        .prop_map(
            |(
                (version, (bridge, clean_start, keep_alive), client_id),
                (mut will, username, password),
                properties,
            )| {
                let v5 = version == Version::V5;
                if let Some(will) = will.as_mut().filter(|_| !v5) {
                    will.properties.clear();
                }
                client::Connect {
                    version,
                    bridge,
                    clean_start,
                    keep_alive,
                    client_id,
                    will,
                    password: password.filter(|_| v5 || username.is_some()),
                    username,
                    properties: if v5 { properties } else { Vec::new() },
                }
            },
        )
}

pub fn publish() -> impl Strategy<Value = (Version, client::Publish)> {
    (
        version(),
        any::<(bool, bool)>(),
        qos(),
        topic(),
        1..=u16::MAX,
        option::of(1..=u16::MAX),
        message_properties(),
        data(),
    )
        .prop_map(
            |(version, (dup, retain), qos, topic, id, alias, message, payload)| {
                let above_0 = qos != QoS::AtMostOnce;
                let mut properties: Vec<_> = alias.map(Property::TopicAlias).into_iter().collect();
                properties.extend(message);
                if version != Version::V5 {
                    properties.clear();
                }
                let publish = client::Publish {
                    dup: dup && above_0,
                    qos,
                    retain,
                    topic,
                    packet_id: above_0.then_some(id),
                    properties,
                    payload,
                };
                (version, publish)
            },
        )
}

pub fn options() -> impl Strategy<Value = SubscriptionOptions> {
    let handling = [
        RetainHandling::Send,
        RetainHandling::SendIfNew,
        RetainHandling::DoNotSend,
    ];
    (qos(), any::<(bool, bool)>(), select(handling.to_vec())).prop_map(
        |(qos, (no_local, retain_as_published), retain_handling)| SubscriptionOptions {
            qos,
            no_local,
            retain_as_published,
            retain_handling,
        },
    )
}
