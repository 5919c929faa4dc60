//! MQTT 3.1.1 packets as bytes, and the few words of the answers that a generator needs.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The first byte of PUBLISH at QoS 0, without flags.
const PUBLISH: u8 = 0x30;

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    let mut length = body.len();
    loop {
        let more = length >= 128;
        out.push((length % 128) as u8 | if more { 128 } else { 0 });
        length /= 128;
        if !more {
            break;
        }
    }
    out.extend_from_slice(body);
    out
}

fn text(text: &str) -> Vec<u8> {
    let mut out = (text.len() as u16).to_be_bytes().to_vec();
    out.extend_from_slice(text.as_bytes());
    out
}

/// CONNECT without a keep alive, with a clean session or one that outlives the connection.
pub fn connect(client_id: &str, is_clean: bool) -> Vec<u8> {
    let head = [&text("MQTT")[..], &[4, u8::from(is_clean) << 1, 0, 0]].concat();
    packet(0x10, &[head, text(client_id)].concat())
}

/// SUBSCRIBE to one filter.
pub fn subscribe(filter: &str, qos: u8) -> Vec<u8> {
    packet(0x82, &[vec![0, 1], text(filter), vec![qos]].concat())
}

/// PUBLISH; the identifier counts from QoS 1 on.
pub fn publish(topic: &str, qos: u8, id: u16, payload: &[u8]) -> Vec<u8> {
    let mut body = text(topic);
    if qos > 0 {
        body.extend(id.to_be_bytes());
    }
    body.extend_from_slice(payload);
    packet(PUBLISH | qos << 1, &body)
}

/// PUBACK.
pub const fn puback(id: [u8; 2]) -> [u8; 4] {
    [0x40, 2, id[0], id[1]]
}

/// PUBREC.
pub const fn pubrec(id: [u8; 2]) -> [u8; 4] {
    [0x50, 2, id[0], id[1]]
}

/// PUBREL.
pub const fn pubrel(id: [u8; 2]) -> [u8; 4] {
    [0x62, 2, id[0], id[1]]
}

/// PUBCOMP.
pub const fn pubcomp(id: [u8; 2]) -> [u8; 4] {
    [0x70, 2, id[0], id[1]]
}

/// A whole packet at the front of what came.
#[derive(Clone, Copy, Debug)]
pub enum Came<'a> {
    /// PUBLISH, with its identifier from QoS 1 on.
    Publish {
        /// To acknowledge.
        id: Option<[u8; 2]>,
        /// Behind topic and identifier.
        payload: &'a [u8],
    },
    /// PUBACK.
    PubAck,
    /// PUBREC of this identifier.
    PubRec([u8; 2]),
    /// PUBREL of this identifier.
    PubRel([u8; 2]),
    /// PUBCOMP.
    PubComp,
    /// Any other.
    Other,
}

/// The packet at the front of `bytes` and its length; `None`: it is not whole yet.
pub fn next(bytes: &[u8]) -> Option<(Came<'_>, usize)> {
    let first = *bytes.first()?;
    let (mut length, mut at) = (0, 1);
    loop {
        let byte = *bytes.get(at)?;
        length |= usize::from(byte & 127) << (7 * (at - 1));
        at += 1;
        if byte & 128 == 0 {
            break;
        }
    }
    let body = bytes.get(at..at + length)?;
    let came = match first >> 4 {
        3 => {
            let topic = usize::from(u16::from_be_bytes([body[0], body[1]]));
            let rest = &body[2 + topic..];
            match first & 6 {
                0 => Came::Publish {
                    id: None,
                    payload: rest,
                },
                _ => Came::Publish {
                    id: Some([rest[0], rest[1]]),
                    payload: &rest[2..],
                },
            }
        }
        4 => Came::PubAck,
        5 => Came::PubRec([body[0], body[1]]),
        6 => Came::PubRel([body[0], body[1]]),
        7 => Came::PubComp,
        _ => Came::Other,
    };
    Some((came, at + length))
}

/// A connection that has logged in with a clean session and, with a filter, subscribed.
pub fn open(
    address: SocketAddr,
    client_id: &str,
    filter: Option<(&str, u8)>,
) -> io::Result<TcpStream> {
    open_with(address, &connect(client_id, true), filter)
}

/// The same with a session that outlives the connection.
pub fn open_kept(
    address: SocketAddr,
    client_id: &str,
    filter: Option<(&str, u8)>,
) -> io::Result<TcpStream> {
    open_with(address, &connect(client_id, false), filter)
}

fn open_with(
    address: SocketAddr,
    connect: &[u8],
    filter: Option<(&str, u8)>,
) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(connect)?;
    let mut connack = [0; 4];
    stream.read_exact(&mut connack)?;
    if connack[3] != 0 {
        return Err(io::Error::other(format!("refused: {connack:?}")));
    }
    if let Some((filter, qos)) = filter {
        stream.write_all(&subscribe(filter, qos))?;
        let mut suback = [0; 5];
        stream.read_exact(&mut suback)?;
        if suback[4] & 0x80 != 0 {
            return Err(io::Error::other(format!("not granted: {suback:?}")));
        }
    }
    Ok(stream)
}
