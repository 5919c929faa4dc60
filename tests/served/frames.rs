//! WebSocket frames over real sockets: how they carry packets, and their own ways of saying things
//! (RFC 6455).

use std::io::Write as _;

use crate::running::web::{
    self, ACCEPT, BINARY, CLOSE, CONTINUATION, Frame, PING, PONG, closing, frame, request,
};
use crate::running::{Broker, Client, Stream, World};
use cofferdam::wire::client::{Connect, Publish, ServerPacket, Will, pingreq, read_all};
use cofferdam::wire::{QoS, Version};

const V5: Version = Version::V5;

/// The packets in binary frames until a PINGRESP, and all other frames among them.
fn until_pingresp(stream: &mut Stream) -> (Vec<ServerPacket>, Vec<Frame>) {
    let (mut bytes, mut others) = (Vec::new(), Vec::new());
    loop {
        let frame = web::next(stream).expect("open");
        if frame.opcode != BINARY {
            others.push(frame);
            continue;
        }
        bytes.extend(frame.payload);
        if let Ok(mut packets) = read_all(&bytes, V5)
            && packets.last() == Some(&ServerPacket::PingResp)
        {
            packets.pop();
            return (packets, others);
        }
    }
}

/// A WebSocket over `listener` on which alice is logged in.
fn logged_in(broker: &Broker, listener: &str) -> Stream {
    let mut stream = web::open(broker.dial(listener));
    let connect = [World::alice().connect(V5).encode(), pingreq()].concat();
    stream
        .write_all(&frame(BINARY, true, &connect))
        .expect("sent");
    let (packets, others) = until_pingresp(&mut stream);
    assert!(
        matches!(&packets[..], [ServerPacket::ConnAck(it)] if it.code == 0),
        "{packets:?}"
    );
    assert_eq!(others, []);
    stream
}

/// Shows: MQTT-6.0.0-4 (5.0); MQTT-6.0.0-4 (3.1.1)
#[test]
fn both_paths_and_both_subprotocols_are_served_and_the_first_known_one_is_chosen() {
    let broker = Broker::start();
    for listener in ["ws", "wss"] {
        for path in ["/", "/mqtt", "/mqtt?from=here"] {
            for (offered, chosen) in [
                ("mqtt", "mqtt"),
                ("mqttv3.1", "mqttv3.1"),
                ("chat, mqttv3.1, mqtt", "mqttv3.1"),
            ] {
                let fields = format!("Sec-WebSocket-Protocol: {offered}\r\n");
                let mut stream = broker.dial(listener);
                let answer = web::ask(&mut stream, &request(path, &fields));
                assert_eq!(
                    answer.head,
                    format!(
                        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                         Connection: Upgrade\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\
                         Sec-WebSocket-Protocol: {chosen}\r\n\r\n"
                    )
                );
            }
        }
    }
}

#[test]
fn a_client_need_not_wait_for_the_upgrade_to_send_frames() {
    let broker = Broker::start();
    for listener in ["ws", "wss"] {
        let mut stream = broker.dial(listener);
        let mut all = request("/", "Sec-WebSocket-Protocol: mqtt\r\n");
        all.extend(frame(PING, true, b"early"));
        all.extend(frame(BINARY, true, &World::alice().connect(V5).encode()));
        all.extend(frame(BINARY, true, &pingreq()));
        stream.write_all(&all).expect("sent");
        assert_eq!(web::answer(&mut stream).status, 101);
        let (packets, others) = until_pingresp(&mut stream);
        assert!(matches!(&packets[..], [ServerPacket::ConnAck(it)] if it.code == 0));
        let payload = b"early".to_vec();
        assert_eq!(
            others,
            [Frame {
                opcode: PONG,
                payload
            }]
        );
    }
}

/// Shows: MQTT-6.0.0-2 (5.0); MQTT-6.0.0-2 (3.1.1)
#[test]
fn two_hundred_packets_may_come_in_one_frame() {
    let broker = Broker::start();
    for listener in ["ws", "wss"] {
        let mut stream = logged_in(&broker, listener);
        let mut packets = Vec::new();
        for id in 1..=200 {
            let publish = Publish::new("many", b"one of many").at(QoS::AtLeastOnce, id);
            packets.extend(publish.encode(V5));
        }
        packets.extend(pingreq());
        stream
            .write_all(&frame(BINARY, true, &packets))
            .expect("sent");
        let (answers, _) = until_pingresp(&mut stream);
        let ids: Vec<_> = answers
            .iter()
            .map(|answer| match answer {
                ServerPacket::PubAck { packet_id, .. } => *packet_id,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(ids, Vec::from_iter(1..=200));
    }
}

/// Shows: MQTT-6.0.0-2 (5.0); MQTT-6.0.0-2 (3.1.1)
#[test]
fn a_packet_in_fragments_with_pings_between_them_arrives_and_each_ping_is_answered() {
    let broker = Broker::start();
    for listener in ["ws", "wss"] {
        let mut stream = logged_in(&broker, listener);
        let publish = Publish::new("parts", &[7; 1000]).at(QoS::AtLeastOnce, 9);
        let packets = [publish.encode(V5), pingreq()].concat();
        let pieces: Vec<_> = packets.chunks(100).collect();
        let mut pongs = Vec::new();
        for (place, piece) in pieces.iter().enumerate() {
            let opcode = if place == 0 { BINARY } else { CONTINUATION };
            let last = place == pieces.len() - 1;
            if !last {
                stream
                    .write_all(&frame(opcode, false, piece))
                    .expect("sent");
                let payload = format!("ping {place}").into_bytes();
                stream
                    .write_all(&frame(PING, true, &payload))
                    .expect("sent");
                let opcode = PONG;
                pongs.push(Frame { opcode, payload });
                assert_eq!(web::next(&mut stream).as_ref(), pongs.last());
            } else {
                stream.write_all(&frame(opcode, true, piece)).expect("sent");
            }
        }
        let (answers, others) = until_pingresp(&mut stream);
        assert!(
            matches!(answers[..], [ServerPacket::PubAck { packet_id: 9, .. }]),
            "{answers:?}"
        );
        assert_eq!(others, []);
    }
}

#[test]
fn of_pings_that_come_faster_than_answers_leave_the_latest_is_answered() {
    let broker = Broker::start();
    for listener in ["ws", "wss"] {
        let mut stream = logged_in(&broker, listener);
        for number in 0..50_u8 {
            let ping = frame(PING, true, &[number; 125]);
            stream.write_all(&ping).expect("sent");
        }
        stream
            .write_all(&frame(BINARY, true, &pingreq()))
            .expect("sent");
        let (_, others) = until_pingresp(&mut stream);
        let latest = Frame {
            opcode: PONG,
            payload: vec![49; 125],
        };
        assert_eq!(others.last(), Some(&latest), "{others:?}");
    }
}

#[test]
fn a_ping_is_answered_between_the_frames_of_a_reader_that_was_slow() {
    let broker = Broker::start();
    for listener in ["ws", "wss"] {
        let mut slow = logged_in(&broker, listener);
        let subscribe = [&[0x82, 13, 0, 1, 0, 0, 7][..], b"large/+\x01", &pingreq()];
        slow.write_all(&frame(BINARY, true, &subscribe.concat()))
            .expect("sent");
        until_pingresp(&mut slow);
        let mut writer = Client::login(&broker, "tcp", &World::anna(), V5);
        let payload = vec![1; 900 << 10];
        for number in 0..20 {
            let publish = Publish::new(&format!("large/{number}"), &payload);
            writer.publish(Publish {
                qos: QoS::AtLeastOnce,
                ..publish
            });
        }
        // By now far more waits than sockets hold: the broker is in the middle of a frame.
        for number in 0..3 {
            slow.write_all(&frame(PING, true, &[number])).expect("sent");
        }
        let (mut bytes, mut pongs) = (Vec::new(), Vec::new());
        while bytes.len() < 20 * payload.len() || pongs.last() != Some(&vec![2]) {
            let frame = web::next(&mut slow).expect("open");
            match frame.opcode {
                BINARY => bytes.extend(frame.payload),
                PONG => pongs.push(frame.payload),
                other => panic!("opcode {other}"),
            }
        }
        let topics: Vec<_> = read_all(&bytes, V5)
            .expect("whole packets")
            .into_iter()
            .map(|packet| match packet {
                ServerPacket::Publish(publish) if publish.payload == payload => publish.topic,
                other => panic!("{other:?}"),
            })
            .collect();
        let sent: Vec<_> = (0..20).map(|number| format!("large/{number}")).collect();
        assert_eq!(topics, sent);
    }
}

#[test]
fn a_close_is_answered_with_its_code_and_counts_as_a_lost_connection() {
    let broker = Broker::start();
    let mut reader = Client::login(&broker, "tcp", &World::anna(), V5);
    reader.subscribe("gone", QoS::AtMostOnce);
    for listener in ["ws", "wss"] {
        for code in [1000_u16, 1001, 3000, 4999] {
            let mut stream = web::open(broker.dial(listener));
            let connect = Connect {
                will: Some(Will {
                    topic: "gone".to_owned(),
                    payload: code.to_string().into_bytes(),
                    qos: QoS::AtMostOnce,
                    retain: false,
                    properties: vec![],
                }),
                ..World::alice().connect(V5)
            };
            let packets = [connect.encode(), pingreq()].concat();
            stream
                .write_all(&frame(BINARY, true, &packets))
                .expect("sent");
            until_pingresp(&mut stream);
            let goodbye = [&code.to_be_bytes()[..], b"bye"].concat();
            stream
                .write_all(&frame(CLOSE, true, &goodbye))
                .expect("sent");
            assert_eq!(web::rest(&mut stream), [closing(code)]);
            assert_eq!(reader.receive().payload, code.to_string().into_bytes());
        }
    }
}

#[test]
fn after_disconnect_the_broker_closes_the_websocket_in_order() {
    let broker = Broker::start();
    for listener in ["ws", "wss"] {
        let mut stream = logged_in(&broker, listener);
        stream
            .write_all(&frame(BINARY, true, &[0xE0, 0]))
            .expect("sent");
        assert_eq!(web::rest(&mut stream), [closing(1000)]);
    }
}

#[test]
fn a_disconnect_from_the_broker_comes_before_its_close() {
    let broker = Broker::start();
    for listener in ["ws", "wss"] {
        let mut stream = logged_in(&broker, listener);
        // A second CONNECT.
        let connect = World::alice().connect(V5).encode();
        stream
            .write_all(&frame(BINARY, true, &connect))
            .expect("sent");
        let told = Frame {
            opcode: BINARY,
            payload: vec![0xE0, 1, 0x82],
        };
        let frames = web::rest(&mut stream);
        assert_eq!(frames, [told, closing(1000)]);
    }
}
