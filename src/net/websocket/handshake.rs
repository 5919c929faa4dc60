//! The HTTP/1.1 request that becomes a WebSocket (RFC 6455 section 4.2).
//!
//! What is sent back tells a person with a browser or `curl` what is wrong, and never repeats what
//! the client sent.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use httparse::{EMPTY_HEADER, Header, Request, Status};

use crate::config::WebSocket;

/// The longest request head, in bytes; also the most that a handshake holds.
const HEAD_MAX: usize = 8 * 1024;
/// The most header fields.
const FIELDS_MAX: usize = 64;
const HEAD_END: &[u8] = b"\r\n\r\n";
/// Section 1.3.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// What MQTT is called: by its own standard, and by clients of version 3.1.
const SUBPROTOCOLS: [&str; 2] = ["mqtt", "mqttv3.1"];

/// Sixteen bytes; the bits that padding leaves over are not looked at, as most servers do not.
const KEY: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// A handshake under way. Holds what has come of the request's head.
#[derive(Debug, Default)]
pub struct Handshake {
    held: Vec<u8>,
}

/// How far it is.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// Everything given was taken; the head is not complete.
    NeedMore,
    /// Send the response and go on with frames.
    Accept(Accepted),
    /// Send the response and close.
    Refuse(Refused),
}

/// A connection that is a WebSocket from here on.
#[derive(Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The bytes to send: 101.
    pub response: Vec<u8>,
    /// How many of the bytes given last belonged to the request; frames may follow them.
    pub consumed: usize,
    /// The subprotocol chosen: the first that the client named and we know.
    pub subprotocol: &'static str,
    /// The fields `X-Forwarded-For`, joined by `, `: to be believed only from a listed proxy.
    pub forwarded_for: Option<Box<str>>,
}

/// A request that is answered with an error.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    /// The bytes to send.
    pub response: Vec<u8>,
    /// The HTTP status in them.
    pub status: u16,
    /// Why, as the client is told.
    pub why: &'static str,
    /// As in [`Accepted`]; `None` also where the request could not be read.
    pub forwarded_for: Option<Box<str>>,
}

/// A refusal before it is written out.
#[derive(Debug)]
struct No {
    status: &'static str,
    /// A field that the status asks for, with its line end.
    field: &'static str,
    why: &'static str,
}

impl Handshake {
    /// For a connection that has sent nothing yet.
    pub const fn new() -> Self {
        Self { held: Vec::new() }
    }

    /// Takes `bytes`, as read from the socket.
    pub fn advance(&mut self, bytes: &[u8], rules: &WebSocket) -> Progress {
        let before = self.held.len();
        // The end may lie across the seam. The search never sees a byte more than four times.
        self.held
            .extend_from_slice(&bytes[..bytes.len().min(HEAD_MAX - before)]);
        let from = before.saturating_sub(HEAD_END.len() - 1);
        let end = self.held[from..]
            .windows(HEAD_END.len())
            .position(|w| w == HEAD_END);
        // MQTT or TLS sent to the wrong port need not wait for the deadline. Asked first, so that the
        // answer does not depend on how the bytes were split.
        let is_http = self.held.first().is_none_or(u8::is_ascii_uppercase);
        let progress = match end {
            _ if !is_http => Progress::Refuse(NOT_HTTP.written(None)),
            Some(at) => {
                let head = from + at + HEAD_END.len();
                judge(&self.held[..head], head - before, rules)
            }
            None if self.held.len() == HEAD_MAX => Progress::Refuse(TOO_LARGE.written(None)),
            None => return Progress::NeedMore,
        };
        self.held = Vec::new();
        progress
    }
}

const TOO_LARGE: No = No {
    status: "431 Request Header Fields Too Large",
    field: "",
    why: "The request is too large.",
};
const NOT_HTTP: No = No::bad("This is not an HTTP/1.1 request.");
const NOT_AN_UPGRADE: No = No {
    status: "426 Upgrade Required",
    field: "Upgrade: websocket\r\n",
    why: "This is the WebSocket address of an MQTT broker: connect with an MQTT client.",
};
const WRONG_VERSION: No = No {
    status: "426 Upgrade Required",
    field: "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
    why: "Only version 13 of WebSocket is spoken here.",
};
const WRONG_METHOD: No = No {
    status: "405 Method Not Allowed",
    field: "Allow: GET\r\n",
    why: "A WebSocket begins with GET.",
};
const WRONG_PATH: No = No {
    status: "404 Not Found",
    field: "",
    why: "There is nothing at this path.",
};
const WRONG_ORIGIN: No = No {
    status: "403 Forbidden",
    field: "",
    why: "Pages of this origin may not connect.",
};

/// Judges a complete head, of whose bytes `consumed` came last.
fn judge(head: &[u8], consumed: usize, rules: &WebSocket) -> Progress {
    let mut fields = [EMPTY_HEADER; FIELDS_MAX];
    let mut request = Request::new(&mut fields);
    let unreadable = match request.parse(head) {
        Ok(Status::Complete(length)) if length == head.len() => None,
        Err(httparse::Error::TooManyHeaders) => Some(TOO_LARGE),
        // A head that ends elsewhere than we say (bare line feeds) is read in two ways: refused.
        _ => Some(NOT_HTTP),
    };
    if let Some(no) = unreadable {
        return Progress::Refuse(no.written(None));
    }
    let forwarded_for = forwarded_for(Fields(request.headers));
    match accept(&request, rules) {
        Ok((key, subprotocol)) => Progress::Accept(Accepted {
            response: switching(key, subprotocol),
            consumed,
            subprotocol,
            forwarded_for,
        }),
        Err(no) => Progress::Refuse(no.written(forwarded_for)),
    }
}

/// Judges a request; gives its key and the subprotocol that is chosen.
fn accept<'a>(
    request: &'a Request<'_, 'a>,
    rules: &WebSocket,
) -> Result<(&'a [u8], &'static str), No> {
    let fields = Fields(request.headers);
    if request.method != Some("GET") {
        return Err(WRONG_METHOD);
    }
    check_path(request.path.unwrap_or_default(), rules)?;
    check_upgrade(request.version, fields)?;
    check_origin(fields, rules)?;
    Ok((key(fields)?, subprotocol(fields)?))
}

fn check_path(target: &str, rules: &WebSocket) -> Result<(), No> {
    let path = target.split('?').next().unwrap_or_default();
    if rules.paths.iter().any(|known| known == path) {
        Ok(())
    } else {
        Err(WRONG_PATH)
    }
}

fn check_upgrade(minor_version: Option<u8>, fields: Fields<'_>) -> Result<(), No> {
    if !fields.lists("Upgrade", "websocket") {
        return Err(NOT_AN_UPGRADE);
    }
    if minor_version != Some(1) {
        return Err(NOT_HTTP);
    }
    if !fields.lists("Connection", "upgrade") {
        return Err(No::bad("The field Connection does not say Upgrade."));
    }
    fields
        .one("Host")
        .map_err(|()| No::bad("The field Host is missing."))?;
    if fields.all("Transfer-Encoding").next().is_some()
        || fields.all("Content-Length").any(|length| length != b"0")
    {
        return Err(No::bad("The request has a body."));
    }
    match fields.one("Sec-WebSocket-Version") {
        Ok(b"13") => Ok(()),
        _ => Err(WRONG_VERSION),
    }
}

/// A page sends where it is from; what is no page does not, and is not judged by it.
fn check_origin(fields: Fields<'_>, rules: &WebSocket) -> Result<(), No> {
    let allowed = |origin: &[u8]| {
        let same = |known: &String| known.as_bytes().eq_ignore_ascii_case(origin);
        rules.allowed_origins.iter().any(same)
    };
    let any = rules.allowed_origins.is_empty() && !rules.listed_origins_only;
    if any || fields.all("Origin").all(allowed) {
        Ok(())
    } else {
        Err(WRONG_ORIGIN)
    }
}

fn key<'a>(fields: Fields<'a>) -> Result<&'a [u8], No> {
    const BAD: No = No::bad("The field Sec-WebSocket-Key is not 16 bytes in base64.");
    let key: &'a [u8] = fields.one("Sec-WebSocket-Key").map_err(|()| BAD)?;
    match KEY.decode(key) {
        Ok(bytes) if bytes.len() == 16 => Ok(key),
        _ => Err(BAD),
    }
}

fn subprotocol(fields: Fields<'_>) -> Result<&'static str, No> {
    fields
        .elements("Sec-WebSocket-Protocol")
        .find_map(|named| {
            SUBPROTOCOLS
                .into_iter()
                .find(|known| known.as_bytes() == named)
        })
        .ok_or(No::bad("The subprotocol must be mqtt."))
}

/// What is no text in it is the client's own, before what proxies have added: it may not hide that.
fn forwarded_for(fields: Fields<'_>) -> Option<Box<str>> {
    let values = fields.all("X-Forwarded-For").map(String::from_utf8_lossy);
    let values: Vec<_> = values.collect();
    (!values.is_empty()).then(|| values.join(", ").into_boxed_str())
}

fn switching(key: &[u8], subprotocol: &str) -> Vec<u8> {
    let mut sha1 = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    sha1.update(key);
    sha1.update(GUID.as_bytes());
    let accept = STANDARD.encode(sha1.finish());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
    )
    .into_bytes()
}

impl No {
    const fn bad(why: &'static str) -> Self {
        Self {
            status: "400 Bad Request",
            field: "",
            why,
        }
    }

    fn written(&self, forwarded_for: Option<Box<str>>) -> Refused {
        let Self { status, field, why } = self;
        let response = format!(
            "HTTP/1.1 {status}\r\n{field}Content-Type: text/plain\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{why}\n",
            why.len() + 1
        );
        let code = status.split(' ').next().and_then(|code| code.parse().ok());
        Refused {
            response: response.into_bytes(),
            status: code.unwrap_or(400),
            why,
            forwarded_for,
        }
    }
}

/// The fields of a request.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a [Header<'a>]);

impl<'a> Fields<'a> {
    /// Every value of a field, in order.
    fn all(self, name: &'static str) -> impl Iterator<Item = &'a [u8]> {
        let named = move |field: &&Header<'_>| field.name.eq_ignore_ascii_case(name);
        self.0
            .iter()
            .filter(named)
            .map(|field| field.value.trim_ascii())
    }

    /// The value of a field that is there once.
    fn one(self, name: &'static str) -> Result<&'a [u8], ()> {
        let mut all = self.all(name);
        match (all.next(), all.next()) {
            (Some(value), None) => Ok(value),
            _ => Err(()),
        }
    }

    /// The elements of a field that is a list, over all its values.
    fn elements(self, name: &'static str) -> impl Iterator<Item = &'a [u8]> {
        let split = |value: &'a [u8]| value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        self.all(name).flat_map(split)
    }

    /// Whether a list has an element, in capitals or not.
    fn lists(self, name: &'static str, element: &str) -> bool {
        self.elements(name)
            .any(|found| found.eq_ignore_ascii_case(element.as_bytes()))
    }
}

#[cfg(test)]
mod tests;
