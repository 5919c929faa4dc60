//! Our WebSocket codec against another's: tungstenite plays the client, and the judge of heads.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::rc::Rc;

use cofferdam::config;
use cofferdam::net::websocket::{
    Accepted, CloseCode, Decoder, End, Handshake, Progress, binary_head,
};
use proptest::prelude::*;
use tungstenite::client::{IntoClientRequest as _, client};
use tungstenite::error::ProtocolError;
use tungstenite::handshake::HandshakeError;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{CloseCode as TheirCode, Data, OpCode};
use tungstenite::protocol::{CloseFrame, Role};
use tungstenite::{Error, Message, WebSocket};

/// Both directions of a connection in memory.
#[derive(Clone, Default)]
struct Wire(Rc<RefCell<Directions>>);

#[derive(Default)]
struct Directions {
    to_server: Vec<u8>,
    to_client: VecDeque<u8>,
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.borrow_mut().to_client.read(buffer) {
            Ok(0) => Err(io::ErrorKind::WouldBlock.into()),
            read => read,
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().to_server.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Our side: sends back what it decodes, a frame a read.
struct Server {
    wire: Wire,
    decoder: Decoder,
    end: Option<End>,
}

impl Server {
    /// Takes what the client wrote, in reads of at most the given sizes in turn.
    fn serve(&mut self, reads: &[usize]) {
        let bytes = std::mem::take(&mut self.wire.0.borrow_mut().to_server);
        let mut rest = bytes.as_slice();
        for size in reads.iter().cycle() {
            let (read, behind) = rest.split_at(rest.len().min(*size));
            if read.is_empty() {
                return;
            }
            self.take(read.to_vec());
            rest = behind;
        }
    }

    fn take(&mut self, mut read: Vec<u8>) {
        let decoded = self.decoder.decode(&mut read);
        let mut out = Vec::new();
        if !decoded.data.is_empty() {
            out.extend_from_slice(binary_head(decoded.data.len()).as_ref());
            out.extend_from_slice(&read[decoded.data]);
        }
        if let Some(pong) = decoded.pong {
            pong.append_to(&mut out);
        }
        if let Some(end) = decoded.end {
            out.extend_from_slice(end.answer().as_ref());
            self.end = Some(end);
        }
        self.wire.0.borrow_mut().to_client.extend(out);
    }
}

/// A client and a server whose handshake, read in pieces of `size`, is done.
fn connected(size: usize) -> (WebSocket<Wire>, Server) {
    let rules = config::WebSocket {
        paths: vec!["/mqtt".to_owned()],
        allowed_origins: Vec::new(),
        listed_origins_only: false,
        max_frame_size: 1 << 20,
    };
    let mut request = "ws://localhost/mqtt"
        .into_client_request()
        .expect("a request");
    let mqtt = "mqtt".parse().expect("a value");
    request.headers_mut().insert("Sec-WebSocket-Protocol", mqtt);
    let wire = Wire::default();
    let Err(HandshakeError::Interrupted(waiting)) = client(request, wire.clone()) else {
        panic!("the client waits for an answer");
    };
    let sent = std::mem::take(&mut wire.0.borrow_mut().to_server);
    let mut handshake = Handshake::new();
    let accepted = sent
        .chunks(size)
        .find_map(|piece| match handshake.advance(piece, &rules) {
            Progress::NeedMore => None,
            progress => Some(progress),
        });
    let Some(Progress::Accept(Accepted { response, .. })) = accepted else {
        panic!("{accepted:?}");
    };
    wire.0.borrow_mut().to_client.extend(response);
    let (client, _) = waiting.handshake().expect("the client is content");
    let server = Server {
        wire,
        decoder: Decoder::new(1 << 20),
        end: None,
    };
    (client, server)
}

/// What the client does.
#[derive(Clone, Debug)]
enum Act {
    Message(Vec<u8>),
    Fragments(Vec<Vec<u8>>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
}

fn act() -> impl Strategy<Value = Act> {
    let bytes = |most: usize| prop::collection::vec(any::<u8>(), 0..most);
    prop_oneof![
        bytes(200).prop_map(Act::Message),
        (0..70_000_usize).prop_map(|length| Act::Message(vec![0xA5; length])),
        prop::collection::vec(bytes(300), 2..5).prop_map(Act::Fragments),
        bytes(126).prop_map(Act::Ping),
        bytes(126).prop_map(Act::Pong),
    ]
}

impl Act {
    fn play(&self, client: &mut WebSocket<Wire>) {
        let mut send = |message| client.send(message).expect("sent");
        match self {
            Self::Message(payload) => send(Message::binary(payload.clone())),
            Self::Ping(payload) => send(Message::Ping(payload.clone().into())),
            Self::Pong(payload) => send(Message::Pong(payload.clone().into())),
            Self::Fragments(parts) => {
                for (index, part) in parts.iter().enumerate() {
                    let data = if index == 0 {
                        Data::Binary
                    } else {
                        Data::Continue
                    };
                    let last = index + 1 == parts.len();
                    let frame = Frame::message(part.clone(), OpCode::Data(data), last);
                    send(Message::Frame(frame));
                }
            }
        }
    }

    fn payload(&self) -> Vec<u8> {
        match self {
            Self::Message(payload) => payload.clone(),
            Self::Fragments(parts) => parts.concat(),
            Self::Ping(_) | Self::Pong(_) => Vec::new(),
        }
    }
}

/// What the client hears until nothing more is there.
fn hear(client: &mut WebSocket<Wire>) -> Vec<Message> {
    let mut heard = Vec::new();
    loop {
        match client.read() {
            Ok(message) => heard.push(message),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return heard,
            Err(Error::ConnectionClosed) => return heard,
            Err(error) => panic!("{error}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn another_client_and_our_codec_understand_each_other(
        acts in prop::collection::vec(act(), 0..8),
        reads in prop::collection::vec(1..5_000_usize, 1..6),
        code in prop::sample::select(vec![1000_u16, 1001, 1011, 3000, 4999]),
    ) {
        let (mut client, mut server) = connected(reads[0]);
        let (mut sent, mut received) = (Vec::new(), Vec::new());
        for act in &acts {
            act.play(&mut client);
            server.serve(&reads);
            sent.extend(act.payload());
            let mut pongs = Vec::new();
            for message in hear(&mut client) {
                match message {
                    Message::Binary(payload) => received.extend_from_slice(&payload),
                    Message::Pong(payload) => pongs.push(payload.to_vec()),
                    other => prop_assert!(false, "{other:?}"),
                }
            }
            match act {
                Act::Ping(payload) => prop_assert_eq!(pongs, vec![payload.clone()]),
                _ => prop_assert!(pongs.is_empty()),
            }
        }
        prop_assert!(received == sent, "{} bytes for {}", received.len(), sent.len());

        let close = CloseFrame { code: TheirCode::from(code), reason: "done".into() };
        client.close(Some(close)).expect("closed");
        server.serve(&reads);
        prop_assert_eq!(server.end, Some(End::Closed(Some(code))));
        let heard = hear(&mut client);
        let Some(Message::Close(Some(echo))) = heard.last() else {
            return Err(TestCaseError::fail(format!("{heard:?}")));
        };
        prop_assert_eq!(u16::from(echo.code), code);
    }
}

#[test]
fn our_refusal_of_text_reaches_the_client_as_its_close_code() {
    let (mut client, mut server) = connected(1000);
    client.send(Message::text("CONNECT")).expect("sent");
    server.serve(&[1000]);
    assert_eq!(server.end, Some(End::Failed(CloseCode::Unsupported)));
    let heard = hear(&mut client);
    assert!(
        matches!(heard.as_slice(), [Message::Close(Some(frame))] if frame.code == TheirCode::Unsupported),
        "{heard:?}"
    );
}

/// Whether tungstenite, as a server, takes the frame whose first bytes these are.
fn they_accept(bytes: &[u8]) -> bool {
    let wire = Wire::default();
    wire.0.borrow_mut().to_client.extend(bytes);
    let mut server = WebSocket::from_raw_socket(wire, Role::Server, None);
    loop {
        match server.read() {
            Ok(_) => {}
            Err(Error::Io(_)) => return true,
            Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => return true,
            Err(Error::ConnectionClosed) => return true,
            Err(_) => return false,
        }
    }
}

#[test]
fn every_head_of_two_bytes_is_judged_as_another_judges_it() {
    let open_message = [0x02, 0x80, 0, 0, 0, 0];
    for before in [&[][..], &open_message] {
        for head in 0..=u16::MAX {
            let [first, second] = head.to_be_bytes();
            let (text, close) = (first & 0x0F == 0x1, first & 0x0F == 0x8);
            // A longer length than needed, a close code of 0, text: judged more strictly here.
            if second & 0x7F >= 126 || text || (close && second & 0x7F > 0) {
                continue;
            }
            let mut bytes = before.to_vec();
            bytes.extend([first, second]);
            bytes.extend([0; 4 + 125][..4 + usize::from(second & 0x7F)].iter());
            let ours = Decoder::new(1 << 20).decode(&mut bytes.clone()).end;
            let accepted = !matches!(ours, Some(End::Failed(_)));
            assert_eq!(
                accepted,
                they_accept(&bytes),
                "{before:02x?} {head:04x}: {ours:?}"
            );
        }
    }
}
