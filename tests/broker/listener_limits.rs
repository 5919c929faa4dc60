//! Limits of a listener's own: told in CONNACK, enforced, and nobody else's.

use crate::cluster::*;
use cofferdam::limits::Limits;
use cofferdam::time::Span;
use cofferdam::wire::client::{Property, Publish, ServerPacket, subscribe};
use cofferdam::wire::{QoS, ReasonCode, RetainHandling, SubscriptionOptions, Version};

/// A cluster whose listener `narrow` has these limits; all other listeners have the defaults.
fn narrow(change: impl FnOnce(&mut Limits)) -> Cluster {
    let mut limits = Limits::default();
    change(&mut limits);
    Cluster::with_listener(2, "narrow", limits)
}

#[track_caller]
fn goodbye(client: &Client) -> ReasonCode {
    let Some(ServerPacket::Disconnect { reason, .. }) = client.received().pop() else {
        panic!("no DISCONNECT");
    };
    assert!(!client.is_open());
    reason
}

/// Shows: MQTT-3.2.2-9, MQTT-3.2.2-10, MQTT-3.2.2-11, MQTT-3.2.2-12 (5.0)
#[test]
fn a_highest_qos_is_told_and_enforced_where_it_is_set() {
    let cluster = narrow(|limits| limits.max_qos = QoS::AtLeastOnce);
    let limited = cluster.dial(0, client("alice@alpha").on("narrow"));
    let properties = limited.connack().properties;
    assert!(
        properties.contains(&Property::MaximumQoS(true)),
        "{properties:?}"
    );
    let free = cluster.dial(1, client("bob@alpha"));
    let properties = free.connack().properties;
    assert!(
        !properties
            .iter()
            .any(|p| matches!(p, Property::MaximumQoS(_))),
        "{properties:?}"
    );

    // A subscription gets what is served; a publish above it ends the connection.
    let options = SubscriptionOptions {
        qos: QoS::ExactlyOnce,
        no_local: false,
        retain_as_published: false,
        retain_handling: RetainHandling::Send,
    };
    limited.send(subscribe(Version::V5, 7, &[("a", options)], &[]));
    let ServerPacket::SubAck { codes, .. } = limited.answer() else {
        panic!("no SUBACK");
    };
    assert_eq!(codes, [ReasonCode::GrantedQoS1]);
    assert_eq!(free.publish_at(QOS_2, "a", "x"), ReasonCode::Success);
    assert_eq!(limited.messages()[0].qos, QoS::AtLeastOnce);
    limited.put(Publish::new("a", b"x").at(QoS::ExactlyOnce, 1));
    assert_eq!(goodbye(&limited), ReasonCode::QoSNotSupported);

    let with_will = client("alice@alpha")
        .on("narrow")
        .with_will("w", "x", QOS_2, false, vec![]);
    assert_eq!(
        cluster.dial(0, with_will).connack().code,
        ReasonCode::QoSNotSupported.as_byte()
    );
}

/// Shows: MQTT-3.2.2-13, MQTT-3.2.2-14 (5.0)
#[test]
fn a_listener_without_retained_messages_says_so_and_takes_none() {
    let cluster = narrow(|limits| limits.retain_available = false);
    let limited = cluster.dial(0, client("alice@alpha").on("narrow"));
    let properties = limited.connack().properties;
    assert!(
        properties.contains(&Property::RetainAvailable(false)),
        "{properties:?}"
    );
    limited.retain("a", "x");
    assert_eq!(goodbye(&limited), ReasonCode::RetainNotSupported);
    let with_will = client("alice@alpha")
        .on("narrow")
        .with_will("w", "x", QOS_0, true, vec![]);
    assert_eq!(
        cluster.dial(0, with_will).connack().code,
        ReasonCode::RetainNotSupported.as_byte()
    );

    let free = cluster.connect(0, client("bob@alpha"));
    free.retain("a", "kept");
    free.subscribe("a", QOS_0);
    assert_eq!(free.heard(), ["a kept"]);
}

#[test]
fn sizes_counts_and_times_are_those_of_the_listener() {
    let cluster = narrow(|limits| {
        limits.max_packet_size = 300;
        limits.max_subscriptions = 1;
        limits.topic_alias_maximum = 3;
        limits.receive_maximum = 5;
        limits.max_session_expiry = Span::from_secs(60);
        limits.max_keep_alive_s = Some(20);
    });
    let hello = |name: &str| client(name).kept(3600).keep_alive(600);
    let limited = cluster.dial(0, hello("alice@alpha").on("narrow"));
    let properties = limited.connack().properties;
    for told in [
        Property::MaximumPacketSize(300),
        Property::TopicAliasMaximum(3),
        Property::ReceiveMaximum(5),
        Property::SessionExpiry(60),
        Property::ServerKeepAlive(20),
    ] {
        assert!(properties.contains(&told), "{told:?} of {properties:?}");
    }
    let free = cluster.connect(0, hello("bob@alpha"));
    for client in [&limited, &free] {
        client.subscribe("a", QOS_0);
    }
    let options = SubscriptionOptions {
        qos: QoS::AtMostOnce,
        no_local: false,
        retain_as_published: false,
        retain_handling: RetainHandling::Send,
    };
    for (client, reason) in [
        (&limited, ReasonCode::QuotaExceeded),
        (&free, ReasonCode::Success),
    ] {
        client.send(subscribe(Version::V5, 9, &[("b", options)], &[]));
        let ServerPacket::SubAck { codes, .. } = client.answer() else {
            panic!("no SUBACK");
        };
        assert_eq!(codes, [reason]);
    }
    free.publish("c", &"x".repeat(1000));
    assert!(free.is_open());
    limited.publish("c", &"x".repeat(1000));
    assert_eq!(goodbye(&limited), ReasonCode::PacketTooLarge);
    // The stored session is bounded as it was told.
    cluster.pass_secs(61);
    assert!(
        !cluster
            .dial(0, hello("alice@alpha"))
            .connack()
            .session_present
    );
}

#[test]
fn a_payload_that_is_said_to_be_text_is_held_to_it_where_that_is_asked_for() {
    let cluster = narrow(|limits| limits.check_payload_format = true);
    let strict = cluster.connect(0, client("alice@alpha").on("narrow"));
    let free = cluster.connect(0, client("bob@alpha"));
    let publish = |payload: &[u8], said: bool| {
        let mut publish = Publish::new("a", payload).at(QoS::AtLeastOnce, 1);
        publish.properties.push(Property::PayloadFormat(said));
        publish
    };
    let invalid = ReasonCode::PayloadFormatInvalid;
    for (client, payload, said, answer) in [
        (&strict, &b"\xFF"[..], true, invalid),
        (&strict, b"\xFF", false, ReasonCode::NoMatchingSubscribers),
        (
            &strict,
            "\u{e4}".as_bytes(),
            true,
            ReasonCode::NoMatchingSubscribers,
        ),
        (&free, b"\xFF", true, ReasonCode::NoMatchingSubscribers),
    ] {
        assert_eq!(
            client.complete(publish(payload, said)),
            answer,
            "{payload:x?} {said}"
        );
        assert!(client.is_open());
    }
}
