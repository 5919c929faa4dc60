//! What one end writes, the other reads.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use cofferdam::wire::client::{self, Property, ServerPacket};
use cofferdam::wire::decode::{self, Framing};
use cofferdam::wire::encode::{self, PublishHead};
use cofferdam::wire::{Packet, ReasonCode, RetainHandling, SubscriptionOptions, Version};

use super::as_sent::{connect_as_sent, publish_as_sent, read, user_as_sent};
use super::random::{connect, options, publish, user, version};

proptest! {
    #[test]
    fn a_connect_arrives_as_it_was_sent(sent in connect()) {
        let bytes = sent.encode();
        let Packet::Connect(connect) = read(&bytes, None) else { panic!("no CONNECT") };
        prop_assert_eq!(connect_as_sent(&connect), sent);
    }

    #[test]
    fn a_publish_arrives_as_it_was_sent((version, sent) in publish()) {
        let bytes = sent.encode(version);
        let Packet::Publish(publish) = read(&bytes, Some(version)) else { panic!("no PUBLISH") };
        prop_assert_eq!(publish_as_sent(&publish), sent);
    }

    /// From one client through decoding and encoding to another, as the broker does it.
    #[test]
    fn a_publish_is_passed_on_with_all_that_must_be(
        (version, sent) in publish(),
        subscription_id in option::of(1..=268_435_455_u32),
        alias in option::of(1..=u16::MAX),
        expiry in option::of(any::<u32>()),
    ) {
        let bytes = sent.encode(version);
        let Packet::Publish(publish) = read(&bytes, Some(version)) else { panic!("no PUBLISH") };
        let passed_on = publish.properties.passed_on();
        let head = PublishHead {
            version,
            dup: publish.dup,
            qos: publish.qos,
            retain: publish.retain,
            topic: publish.topic,
            packet_id: publish.packet_id,
            topic_alias: alias,
            message_expiry: expiry,
            response_topic: publish.properties.response_topic,
            subscription_id,
            passed_on: &passed_on,
            payload_length: publish.payload.len(),
        };
        let mut out = b"before".to_vec();
        let place = encode::publish_head(&mut out, &head);
        if let Some(id) = publish.packet_id {
            let place = place.expect("a place for the packet identifier");
            prop_assert_eq!(out[place..place + 2].to_vec(), id.get().to_be_bytes().to_vec());
        } else {
            prop_assert_eq!(place, None);
        }
        out.extend_from_slice(publish.payload);
        prop_assert_eq!(encode::publish_length(&head), out.len() - 6);

        let mut expected = sent.clone();
        if version == Version::V5 {
            let as_it_is = |property: &Property| matches!(
                property,
                Property::PayloadFormat(_) | Property::ContentType(_)
                    | Property::CorrelationData(_) | Property::User(..)
            );
            let response = |property: &Property| matches!(property, Property::ResponseTopic(_));
            expected.properties = Vec::new();
            expected.properties.extend(expiry.map(Property::MessageExpiry));
            expected.properties.extend(alias.map(Property::TopicAlias));
            expected.properties.extend(subscription_id.map(Property::SubscriptionId));
            expected.properties.extend(sent.properties.iter().filter(|p| response(p)).cloned());
            expected.properties.extend(sent.properties.iter().filter(|p| as_it_is(p)).cloned());
        }
        prop_assert_eq!(
            client::read_all(&out[6..], version),
            Ok(vec![ServerPacket::Publish(expected)])
        );
    }

    #[test]
    fn a_subscribe_arrives_as_it_was_sent(
        version in version(),
        id in 1..=u16::MAX,
        filters in vec(("[^\0$]{0,20}", options()), 1..8),
        subscription_id in option::of(1..=268_435_455_u32),
        user in user(),
    ) {
        let borrowed: Vec<_> = filters.iter().map(|(text, options)| (text.as_str(), *options)).collect();
        let mut properties: Vec<_> = subscription_id.map(Property::SubscriptionId).into_iter().collect();
        properties.extend(user.clone());
        let bytes = client::subscribe(version, id, &borrowed, &properties);
        let Packet::Subscribe(packet) = read(&bytes, Some(version)) else { panic!("no SUBSCRIBE") };
        let v5 = version == Version::V5;
        prop_assert_eq!(packet.packet_id.get(), id);
        prop_assert_eq!(packet.subscription_id, subscription_id.filter(|_| v5));
        let user = if v5 { user } else { Vec::new() };
        prop_assert_eq!(user_as_sent(&packet.user).collect::<Vec<_>>(), user);
        let expected: Vec<_> = borrowed.iter().map(|(text, options)| (*text, if v5 { *options } else {
            SubscriptionOptions {
                qos: options.qos,
                no_local: false,
                retain_as_published: false,
                retain_handling: RetainHandling::Send,
            }
        })).collect();
        let found: Vec<_> = packet.filters.iter().map(|found| (found.filter, found.options)).collect();
        prop_assert_eq!(found, expected);

        let texts: Vec<_> = filters.iter().map(|(text, _)| text.as_str()).collect();
        let bytes = client::unsubscribe(version, id, &texts, &[]);
        let Packet::Unsubscribe(packet) = read(&bytes, Some(version)) else { panic!("no UNSUBSCRIBE") };
        prop_assert_eq!((packet.packet_id.get(), packet.filters), (id, texts));
    }
}

#[test]
fn every_reason_code_arrives_in_every_acknowledgement_it_fits() {
    type Fits = fn(ReasonCode) -> bool;
    type Send = fn(Version, u16, ReasonCode, &[Property]) -> Vec<u8>;
    let forms: [(Send, Fits); 4] = [
        (client::puback, ReasonCode::fits_puback),
        (client::pubrec, ReasonCode::fits_puback),
        (client::pubrel, ReasonCode::fits_pubrel),
        (client::pubcomp, ReasonCode::fits_pubrel),
    ];
    for (send, fits) in forms {
        for &code in ReasonCode::ALL {
            for properties in [vec![], vec![Property::ReasonString("why".into())]] {
                let bytes = send(Version::V5, 7, code, &properties);
                let Ok(Framing::Whole(frame)) = decode::frame(&bytes, 100) else {
                    panic!("no whole packet");
                };
                let found =
                    decode::packet(frame, Some(Version::V5))
                        .ok()
                        .map(|packet| match packet {
                            Packet::PubAck(ack)
                            | Packet::PubRec(ack)
                            | Packet::PubRel(ack)
                            | Packet::PubComp(ack) => (ack.packet_id.get(), ack.reason),
                            other => panic!("no acknowledgement: {other:?}"),
                        });
                assert_eq!(found, fits(code).then_some((7, code)));
            }
        }
    }
}
