//! What lies between a socket and MQTT: TLS, WebSocket, both, or nothing.
//!
//! Both are state machines without I/O of their own: bytes read are handed in, plain MQTT comes
//! out; `link` writes what they have to say. So the shard's one scratch buffer serves all
//! connections and a connection owns bytes only while a record or a frame is incomplete.

use std::io::{self, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ServerConnection;
use rustls::pki_types::CertificateDer;

use super::proxy;
use super::tls::fault;
use super::websocket::{
    Accepted, CloseCode, Decoder, End, Handshake, Pong, Progress, binary_head, close_frame,
};
use crate::broker::Breach;
use crate::config::{Proxies, WebSocket};

const TLS: Ending = Ending::Breach(Breach::Tls);

/// How the client broke TLS.
fn broken(error: &rustls::Error) -> Ending {
    Ending::Breach(fault(error).map_or(Breach::Tls, Breach::Certificate))
}

/// The layers of one connection.
#[derive(Debug)]
pub(super) struct Layers {
    pub(super) tls: Option<Box<ServerConnection>>,
    pub(super) websocket: Option<Box<WebSocketLayer>>,
}

/// WebSocket's state on one connection.
#[derive(Debug)]
pub(super) struct WebSocketLayer {
    rules: Arc<WebSocket>,
    /// Where the connection comes from, and who of those that come from there is believed.
    peer: SocketAddr,
    proxies: Proxies,
    phase: WebSocketPhase,
    /// What goes out next: a response, control frames, the head of a data frame.
    head: Vec<u8>,
    /// Bytes of the outgoing data frame that are still to be written.
    frame_left: usize,
    /// The handshake's response, or a close frame: they wait for the end of the data frame.
    control: Vec<u8>,
    /// The answer to the latest ping, which waits likewise. One is all that is held, whatever a
    /// client sends that never reads, and all that it may expect (RFC 6455 section 5.5.3).
    pong: Option<Box<Pong>>,
    /// A close frame was sent or stands in `control`; nothing may follow it.
    closed: bool,
}

#[derive(Debug)]
enum WebSocketPhase {
    Handshake(Handshake),
    Frames(Decoder),
    Over,
}

/// What comes out of the layers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Heard<'a> {
    /// A listed proxy said whom it speaks for. Before anything of MQTT, once or never.
    From(SocketAddr),
    /// Plain MQTT.
    Mqtt(&'a [u8]),
}

/// What ends a connection below MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The peer broke the protocol of a layer.
    Breach(Breach),
    /// The peer said goodbye in a layer's way.
    Goodbye,
}

impl Layers {
    /// Bytes read from the socket go up; what comes out of them is handed to `heard`. `plain` is
    /// scratch for decrypted bytes.
    pub(super) fn ingest(
        &mut self,
        raw: &mut [u8],
        plain: &mut [u8],
        mut heard: impl FnMut(Heard<'_>),
    ) -> Result<(), Ending> {
        let Some(tls) = &mut self.tls else {
            return unframe(&mut self.websocket, raw, &mut heard);
        };
        let mut rest = &*raw;
        while !rest.is_empty() {
            tls.read_tls(&mut rest).map_err(|_| TLS)?;
            tls.process_new_packets().map_err(|error| broken(&error))?;
            loop {
                match tls.reader().read(plain) {
                    Ok(0) => return Err(Ending::Goodbye),
                    Ok(length) => unframe(&mut self.websocket, &mut plain[..length], &mut heard)?,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(_) => return Err(TLS),
                }
            }
        }
        Ok(())
    }

    /// The certificates that the client showed and TLS has checked, its own first.
    pub(super) fn certificates(&self) -> &[CertificateDer<'static>] {
        let tls = self.tls.as_ref();
        let shown = tls.and_then(|tls| tls.peer_certificates());
        shown.unwrap_or_default()
    }

    /// The TLS handshake is under way.
    pub(super) fn is_shaking_hands(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// Says goodbye in the layers' own words, once, after all else that was to be written;
    /// `stopping`: because the broker is. `true`: there is something to write for it.
    pub(super) fn say_goodbye(&mut self, stopping: bool) -> bool {
        let code = match stopping {
            true => CloseCode::GoingAway,
            false => CloseCode::Normal,
        };
        self.websocket
            .as_mut()
            .is_some_and(|websocket| websocket.close(code))
    }
}

/// WebSocket frames in, MQTT out; without a WebSocket layer the bytes are MQTT already.
fn unframe(
    layer: &mut Option<Box<WebSocketLayer>>,
    bytes: &mut [u8],
    heard: &mut impl FnMut(Heard<'_>),
) -> Result<(), Ending> {
    let Some(layer) = layer else {
        heard(Heard::Mqtt(bytes));
        return Ok(());
    };
    let start = match &mut layer.phase {
        WebSocketPhase::Over => return Ok(()),
        WebSocketPhase::Frames(_) => 0,
        WebSocketPhase::Handshake(handshake) => match handshake.advance(bytes, &layer.rules) {
            Progress::NeedMore => return Ok(()),
            Progress::Refuse(refused) => {
                layer.tell_client(refused.forwarded_for, heard);
                layer.control = refused.response;
                layer.closed = true;
                layer.phase = WebSocketPhase::Over;
                return Err(Ending::Breach(Breach::WebSocket(refused.status)));
            }
            Progress::Accept(Accepted {
                response,
                consumed,
                forwarded_for,
                ..
            }) => {
                layer.tell_client(forwarded_for, heard);
                layer.control = response;
                layer.phase = WebSocketPhase::Frames(Decoder::new(layer.rules.max_frame_size));
                consumed
            }
        },
    };
    let WebSocketPhase::Frames(decoder) = &mut layer.phase else {
        return Ok(());
    };
    let bytes = &mut bytes[start..];
    let decoded = decoder.decode(bytes);
    if !decoded.data.is_empty() {
        heard(Heard::Mqtt(&bytes[decoded.data]));
    }
    if let Some(pong) = decoded.pong
        && !layer.closed
    {
        layer.pong = Some(Box::new(pong));
    }
    let Some(end) = decoded.end else {
        return Ok(());
    };
    if !layer.closed {
        layer.close_with(end.answer().as_ref());
    }
    layer.phase = WebSocketPhase::Over;
    Err(match end {
        End::Closed(_) => Ending::Goodbye,
        End::Failed(code) => Ending::Breach(Breach::WebSocket(code.code())),
    })
}

impl WebSocketLayer {
    pub(super) fn new(rules: Arc<WebSocket>, peer: SocketAddr, proxies: Proxies) -> Self {
        Self {
            rules,
            peer,
            proxies,
            phase: WebSocketPhase::Handshake(Handshake::new()),
            head: Vec::new(),
            frame_left: 0,
            control: Vec::new(),
            pong: None,
            closed: false,
        }
    }

    /// Says whom the request is from, where a listed proxy has written that into it.
    fn tell_client(&self, forwarded_for: Option<Box<str>>, heard: &mut impl FnMut(Heard<'_>)) {
        let Some(forwarded_for) = forwarded_for else {
            return;
        };
        let client = proxy::client_of(self.peer, &forwarded_for, &self.proxies);
        if client != self.peer {
            heard(Heard::From(client));
        }
    }

    /// What is to be written next: these bytes, then as many of the outbox's, of which `waiting`
    /// are there. All that waits becomes one frame; what comes later is in the next.
    pub(super) fn next_frame(&mut self, waiting: usize) -> (&[u8], usize) {
        if self.frame_left == 0 {
            let may_send = waiting > 0 && self.is_open();
            self.head.append(&mut self.control);
            if let Some(pong) = self.pong.take() {
                pong.append_to(&mut self.head);
            }
            if may_send {
                self.head.extend_from_slice(binary_head(waiting).as_ref());
                self.frame_left = waiting;
            }
        }
        (&self.head, self.frame_left)
    }

    /// `taken` bytes of what `next_frame` named have left. Returns how many were the outbox's.
    pub(super) fn advance(&mut self, taken: usize) -> usize {
        let of_head = taken.min(self.head.len());
        self.head.drain(..of_head);
        self.frame_left -= taken - of_head;
        taken - of_head
    }

    /// Frames may be sent: the handshake is over and no close frame was sent.
    const fn is_open(&self) -> bool {
        matches!(self.phase, WebSocketPhase::Frames(_)) && !self.closed
    }

    fn close(&mut self, code: CloseCode) -> bool {
        let open = self.is_open();
        if open {
            self.close_with(close_frame(Some(code.code())).as_ref());
        }
        open
    }

    /// The last frame of all; a pong that is due goes before it.
    fn close_with(&mut self, frame: &[u8]) {
        if let Some(pong) = self.pong.take() {
            pong.append_to(&mut self.control);
        }
        self.control.extend_from_slice(frame);
        self.closed = true;
    }
}

/// Writes to a socket through TLS where there is TLS. `WouldBlock` means that nothing was taken.
pub(super) fn write_through(
    tls: Option<&mut ServerConnection>,
    socket: &mut impl Write,
    pieces: &[IoSlice<'_>],
) -> io::Result<usize> {
    let Some(tls) = tls else {
        return socket.write_vectored(pieces);
    };
    // What was sealed before goes first; while the socket does not take it, nothing new is sealed.
    drain_tls(tls, socket)?;
    let taken = tls.writer().write_vectored(pieces)?;
    if taken == 0 {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    match drain_tls(tls, socket) {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        _ => Ok(taken),
    }
}

/// Writes sealed records until there are none or the socket takes no more.
pub(super) fn drain_tls(tls: &mut ServerConnection, socket: &mut impl Write) -> io::Result<()> {
    while tls.wants_write() {
        if tls.write_tls(socket)? == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
    }
    Ok(())
}
