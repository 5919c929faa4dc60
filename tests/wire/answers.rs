//! What the broker says, byte for byte, and as a client reads it.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use cofferdam::wire::client::{self, Property, ServerPacket, read_all};
use cofferdam::wire::encode::{self, ConnAck, PublishHead};
use cofferdam::wire::{PacketId, QoS, ReasonCode, Version};

use super::random::{V, text, version};

const ID: u16 = 0x0102;

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    // Not empty, as an outbox seldom is: each function appends.
    let mut out = b"before".to_vec();
    write(&mut out);
    assert_eq!(out[..6], *b"before");
    out.split_off(6)
}

fn id() -> PacketId {
    PacketId::new(ID).expect("not 0")
}

fn connack(version: Version, reason: ReasonCode, contents: &ConnAck<'_>) -> Vec<u8> {
    written(|out| encode::connack(out, version, reason, contents))
}

#[test]
fn connack_says_in_3_x_what_the_reason_means_there() {
    use ReasonCode as R;
    let codes = [
        (R::Success, 0),
        (R::UnsupportedProtocolVersion, 1),
        (R::ClientIdentifierNotValid, 2),
        (R::ServerUnavailable, 3),
        (R::ServerBusy, 3),
        (R::QuotaExceeded, 3),
        (R::ConnectionRateExceeded, 3),
        (R::BadUserNameOrPassword, 4),
        (R::NotAuthorized, 5),
        (R::Banned, 5),
    ];
    for version in [Version::V31, Version::V311] {
        for (reason, code) in codes {
            let found = connack(version, reason, &ConnAck::default());
            assert_eq!(found, [0x20, 2, 0, code], "{reason:?}");
        }
        // No code of 3.x says this: the connection is closed without a word.
        let found = connack(version, R::MalformedPacket, &ConnAck::default());
        assert!(found.is_empty(), "{found:02x?}");
    }
}

/// Shows: MQTT-3.2.2-1, MQTT-3.2.2-6 (5.0); MQTT-3.2.2-4 (3.1.1)
#[test]
fn connack_tells_of_a_session_only_where_it_may() {
    let with_session = ConnAck {
        session_present: true,
        ..ConnAck::default()
    };
    let success = ReasonCode::Success;
    let refused = ReasonCode::NotAuthorized;
    assert_eq!(
        connack(Version::V31, success, &with_session),
        [0x20, 2, 0, 0]
    );
    assert_eq!(
        connack(Version::V311, success, &with_session),
        [0x20, 2, 1, 0]
    );
    assert_eq!(
        connack(Version::V5, success, &with_session),
        [0x20, 3, 1, 0, 0]
    );
    assert_eq!(
        connack(Version::V311, refused, &with_session),
        [0x20, 2, 0, 5]
    );
    assert_eq!(
        connack(Version::V5, refused, &with_session),
        [0x20, 3, 0, 0x87, 0]
    );
}

#[test]
fn acknowledgements_take_their_shortest_form() {
    type Write = fn(&mut Vec<u8>, Version, PacketId, ReasonCode);
    let forms: [(Write, u8); 4] = [
        (encode::puback, 0x40),
        (encode::pubrec, 0x50),
        (encode::pubrel, 0x62),
        (encode::pubcomp, 0x70),
    ];
    for (write, first) in forms {
        for version in V {
            let found = written(|out| write(out, version, id(), ReasonCode::Success));
            assert_eq!(found, [first, 2, 1, 2]);
        }
        let not_found = ReasonCode::PacketIdentifierNotFound;
        let found = written(|out| write(out, Version::V311, id(), not_found));
        assert_eq!(found, [first, 2, 1, 2]);
        let found = written(|out| write(out, Version::V5, id(), not_found));
        assert_eq!(found, [first, 3, 1, 2, 0x92]);
    }
}

/// Shows: MQTT-2.2.2-1 (5.0); MQTT-3.9.3-2 (3.1.1)
#[test]
fn suback_says_each_refusal_as_the_version_can() {
    use ReasonCode as R;
    let codes = [
        R::Success,
        R::GrantedQoS1,
        R::GrantedQoS2,
        R::NotAuthorized,
        R::TopicFilterInvalid,
    ];
    let suback = |version| written(|out| encode::suback(out, version, id(), &codes));
    assert_eq!(suback(Version::V31), [0x90, 7, 1, 2, 0, 1, 2, 0, 0]);
    assert_eq!(suback(Version::V311), [0x90, 7, 1, 2, 0, 1, 2, 0x80, 0x80]);
    assert_eq!(suback(Version::V5), [0x90, 8, 1, 2, 0, 0, 1, 2, 0x87, 0x8F]);
}

/// Shows: MQTT-2.2.2-1 (5.0)
#[test]
fn unsuback_has_codes_in_5_0_only() {
    let codes = [ReasonCode::Success, ReasonCode::NoSubscriptionExisted];
    let unsuback = |version| written(|out| encode::unsuback(out, version, id(), &codes));
    assert_eq!(unsuback(Version::V31), [0xB0, 2, 1, 2]);
    assert_eq!(unsuback(Version::V311), [0xB0, 2, 1, 2]);
    assert_eq!(unsuback(Version::V5), [0xB0, 5, 1, 2, 0, 0, 0x11]);
}

#[test]
fn disconnect_takes_its_shortest_form_and_is_not_said_in_3_x() {
    let disconnect =
        |version, reason, why| written(|out| encode::disconnect(out, version, reason, why));
    let taken = ReasonCode::SessionTakenOver;
    assert_eq!(
        disconnect(Version::V5, ReasonCode::Success, None),
        [0xE0, 0]
    );
    assert_eq!(disconnect(Version::V5, taken, None), [0xE0, 1, 0x8E]);
    assert_eq!(
        disconnect(Version::V5, taken, Some("ab")),
        [0xE0, 7, 0x8E, 5, 0x1F, 0, 2, b'a', b'b']
    );
    assert!(disconnect(Version::V31, taken, Some("ab")).is_empty());
    assert!(disconnect(Version::V311, taken, None).is_empty());
}

#[test]
fn pingresp_is_two_bytes() {
    assert_eq!(written(encode::pingresp), [0xD0, 0]);
}

#[test]
fn a_publish_is_written_byte_for_byte_as_the_standard_has_it() {
    let head = PublishHead {
        version: Version::V5,
        dup: true,
        qos: QoS::ExactlyOnce,
        retain: true,
        topic: "a/b",
        packet_id: Some(id()),
        topic_alias: Some(3),
        message_expiry: Some(4),
        response_topic: Some("r"),
        subscription_id: Some(300),
        passed_on: &[0x01, 1],
        payload_length: 2,
    };
    let mut place = None;
    let mut found = written(|out| place = encode::publish_head(out, &head).map(|place| place - 6));
    found.extend(b"hi");
    #[rustfmt::skip]
    let expected = [
        0x3D, 27,
        0, 3, b'a', b'/', b'b',
        1, 2,
        17, 0x02, 0, 0, 0, 4, 0x23, 0, 3, 0x0B, 0xAC, 2, 0x08, 0, 1, b'r', 0x01, 1,
        b'h', b'i',
    ];
    assert_eq!(found, expected);
    assert_eq!(place, Some(7));
    assert_eq!(encode::publish_length(&head), expected.len());

    let v311 = PublishHead {
        version: Version::V311,
        ..head
    };
    let found = written(|out| {
        encode::publish_head(out, &v311);
    });
    assert_eq!(found, [0x3D, 9, 0, 3, b'a', b'/', b'b', 1, 2]);
    assert_eq!(encode::publish_length(&v311), 11);
}

#[test]
fn a_client_refuses_what_no_server_may_say() {
    for (bytes, versions) in [
        (&[0x20, 2, 2, 0][..], &V[1..2]),        // reserved CONNACK flag
        (&[0x20, 2, 1, 5], &V[1..2]),            // a session in a refusal
        (&[0x20, 2, 1, 0], &V[..1]),             // a session in 3.1
        (&[0x20, 2, 0, 6], &V[..2]),             // no such return code
        (&[0x20, 3, 0, 0x8D, 0], &V[2..]),       // no reason of CONNACK
        (&[0x21, 2, 0, 0], &V[..2]),             // flags
        (&[0x90, 3, 0, 1, 0x80], &V[..1]),       // no refusal in 3.1
        (&[0x90, 3, 0, 1, 0x87], &V[1..2]),      // 0x80 in 3.1.1
        (&[0x90, 2, 0, 1], &V[..2]),             // no code at all
        (&[0xB0, 3, 0, 1, 0], &V[..2]),          // codes in 3.x
        (&[0xB0, 3, 0, 1, 0], &V[2..]),          // no codes in 5.0
        (&[0xE0, 0], &V[..2]),                   // no DISCONNECT in 3.x
        (&[0xE0, 1, 0x04], &V[2..]),             // for clients only
        (&[0xD0, 1, 0], &V[..]),                 // trailing
        (&[0xC0, 0], &V[..]),                    // for clients only
        (&[0x30, 3, 0, 1, b'#'], &V[..2]),       // wildcard
        (&[0x30, 3, 0, 0, 0], &V[2..]),          // neither topic nor alias
        (&[0x36, 5, 0, 1, b'a', 0, 1], &V[..2]), // QoS 3
        (&[0x38, 3, 0, 1, b'a'], &V[..2]),       // DUP at QoS 0
        (&[0x32, 5, 0, 1, b'a', 0, 0], &V[..2]), // packet identifier 0
        (&[0xD0], &V[..]),                       // incomplete
    ] {
        for version in versions {
            assert!(
                read_all(bytes, *version).is_err(),
                "{bytes:02x?} in {version:?}"
            );
        }
    }
}

fn codes(fits: fn(ReasonCode) -> bool) -> Vec<ReasonCode> {
    ReasonCode::ALL
        .iter()
        .copied()
        .filter(|code| fits(*code))
        .collect()
}

proptest! {
    #[test]
    fn a_connack_arrives_as_it_was_said(
        reason in select(codes(ReasonCode::fits_connack)),
        present in any::<bool>(),
        numbers in (option::of(any::<u32>()), option::of(1..=u16::MAX), option::of(0..=1_u8),
            option::of(any::<bool>()), option::of(1..=u32::MAX), option::of(any::<u16>()), option::of(any::<u16>())),
        texts in (option::of(text()), option::of(text()), option::of(text()), option::of(text())),
        data in option::of(vec(any::<u8>(), 0..300)),
    ) {
        let (expiry, receive, qos, retain, size, aliases, keep_alive) = numbers;
        let (client_id, why, response, method) = texts;
        let bytes = connack(Version::V5, reason, &ConnAck {
            session_present: present,
            session_expiry: expiry,
            receive_maximum: receive,
            maximum_qos: qos,
            retain_available: retain,
            maximum_packet_size: size,
            assigned_client_id: client_id.as_deref(),
            topic_alias_maximum: aliases,
            reason_string: why.as_deref(),
            server_keep_alive: keep_alive,
            response_information: response.as_deref(),
            authentication_method: method.as_deref(),
            authentication_data: data.as_deref(),
        });
        let mut properties = Vec::new();
        properties.extend(expiry.map(Property::SessionExpiry));
        properties.extend(client_id.map(Property::AssignedClientId));
        properties.extend(keep_alive.map(Property::ServerKeepAlive));
        properties.extend(method.map(Property::AuthenticationMethod));
        properties.extend(data.map(Property::AuthenticationData));
        properties.extend(response.map(Property::ResponseInformation));
        properties.extend(why.map(Property::ReasonString));
        properties.extend(receive.map(Property::ReceiveMaximum));
        properties.extend(aliases.map(Property::TopicAliasMaximum));
        properties.extend(qos.map(|qos| Property::MaximumQoS(qos == 1)));
        properties.extend(retain.map(Property::RetainAvailable));
        properties.extend(size.map(Property::MaximumPacketSize));
        prop_assert_eq!(read_all(&bytes, Version::V5), Ok(vec![ServerPacket::ConnAck(client::ConnAck {
            session_present: present && reason == ReasonCode::Success,
            code: reason.as_byte(),
            properties,
        })]));
    }

    #[test]
    fn a_row_of_answers_arrives_in_order(
        version in version(),
        packet_id in 1..=u16::MAX,
        sub in vec(select(codes(ReasonCode::fits_suback)), 1..200),
        unsub in vec(select(codes(ReasonCode::fits_unsuback)), 1..200),
        ack in select(codes(ReasonCode::fits_puback)),
        bye in select(codes(ReasonCode::fits_server_disconnect)),
        why in option::of(text()),
        method in text(),
        data in option::of(vec(any::<u8>(), 0..300)),
    ) {
        let id = PacketId::new(packet_id).expect("not 0");
        let v5 = version == Version::V5;
        let bytes = written(|out| {
            encode::suback(out, version, id, &sub);
            encode::unsuback(out, version, id, &unsub);
            encode::pubrec(out, version, id, ack);
            encode::pingresp(out);
            if v5 {
                encode::auth(out, ReasonCode::ContinueAuthentication, &method, data.as_deref());
            }
            encode::disconnect(out, version, bye, why.as_deref());
        });
        let said = |code: &ReasonCode| match version {
            Version::V5 => *code,
            _ if !code.is_error() => *code,
            Version::V311 => ReasonCode::UnspecifiedError,
            Version::V31 => ReasonCode::Success,
        };
        let mut expected = vec![
            ServerPacket::SubAck { packet_id, codes: sub.iter().map(said).collect(), properties: vec![] },
            ServerPacket::UnsubAck { packet_id, codes: if v5 { unsub } else { vec![] }, properties: vec![] },
            ServerPacket::PubRec { packet_id, reason: if v5 { ack } else { ReasonCode::Success }, properties: vec![] },
            ServerPacket::PingResp,
        ];
        if v5 {
            let mut properties = vec![Property::AuthenticationMethod(method)];
            properties.extend(data.map(Property::AuthenticationData));
            expected.push(ServerPacket::Auth { reason: ReasonCode::ContinueAuthentication, properties });
            let properties = why.map(Property::ReasonString).into_iter().collect();
            expected.push(ServerPacket::Disconnect { reason: bye, properties });
        }
        prop_assert_eq!(read_all(&bytes, version), Ok(expected));
    }
}
