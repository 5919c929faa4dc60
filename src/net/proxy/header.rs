//! The PROXY protocol's header, version 1 and 2 (`proxy-protocol.txt` of HAProxy, sections 2.1 and
//! 2.2), from bytes.
//!
//! Strict: what is not exactly as the specification has it is an error, for only listed proxies
//! are asked for a header and those can be mended. Bounded: no more than [`LENGTH_MAX`] bytes are
//! ever waited for, and what begins otherwise is refused at its first byte that differs. Of the crates
//! that read it, none does all the specification asks of a receiver: pass over the family of a
//! LOCAL header, check the checksum, and take version 1 by the letter. One of them is a second
//! opinion in the tests.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use crc::{CRC_32_ISCSI, Crc, Digest};

use super::canonical;

/// The longest header that is taken, in bytes. One of version 2 could say 65,551; what proxies add
/// to the addresses (a name, a unique id, a client's certificate) fits this many times over.
pub const LENGTH_MAX: usize = 16 + 8 * 1024;

/// The longest header of version 1, with its end of line.
const TEXT_MAX: usize = 107;
const TEXT_MARK: &[u8] = b"PROXY ";
const BINARY_MARK: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Mark, version and command, family and transport, length.
const BINARY_HEAD: usize = 16;

/// Two addresses and two ports; of UNIX sockets two paths.
const INET: usize = 2 * (4 + 2);
const INET6: usize = 2 * (16 + 2);
const UNIX: usize = 2 * 108;

/// Type and length of an extension.
const EXTENSION_HEAD: usize = 3;
const CHECKSUM: u8 = 0x03;
/// CRC32c, as SCTP has it (RFC 4960).
static CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// How far a header is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// What is there may be the front of a header, all of it.
    Partial,
    /// A header.
    Whole(Header),
}

/// A header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes that it takes; the client's begin behind them.
    pub length: usize,
    /// Whom the proxy speaks for. `None`: itself (a health check), or somebody whose address it
    /// does not say; the connection's own address holds.
    pub client: Option<SocketAddr>,
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// They begin otherwise.
    #[error("the connection does not begin with a PROXY header")]
    Missing,
    /// They begin as a header and go on otherwise.
    #[error("the PROXY header is malformed: {0}")]
    Malformed(&'static str),
    /// Longer than version 1 allows, or than [`LENGTH_MAX`].
    #[error("the PROXY header is too long")]
    TooLong,
    /// The checksum is of another header.
    #[error("the checksum of the PROXY header does not match")]
    Checksum,
}

/// Reads the header at the front of `bytes`. Works on the longest front that is there: for bytes
/// that come in pieces it is asked again with more of them.
///
/// # Errors
/// [`HeaderError`]; more bytes would not change it.
pub fn parse(bytes: &[u8]) -> Result<Progress, HeaderError> {
    let begins_as = |mark: &[u8]| mark.iter().zip(bytes).all(|(mark, byte)| mark == byte);
    if begins_as(BINARY_MARK) {
        binary(bytes)
    } else if begins_as(TEXT_MARK) {
        text(bytes)
    } else {
        Err(HeaderError::Missing)
    }
}

/// Version 1: `PROXY TCP4 192.0.2.1 192.0.2.2 56324 8883` and an end of line.
fn text(bytes: &[u8]) -> Result<Progress, HeaderError> {
    let line = &bytes[..bytes.len().min(TEXT_MAX)];
    let Some(end) = line.iter().position(|byte| *byte == b'\n') else {
        return match bytes.len() < TEXT_MAX {
            true => Ok(Progress::Partial),
            false => Err(HeaderError::TooLong),
        };
    };
    let words = line[TEXT_MARK.len()..=end].strip_suffix(b"\r\n");
    let words = words.filter(|words| !words.contains(&b'\r'));
    let words = words.and_then(|words| std::str::from_utf8(words).ok());
    let words = words.ok_or(HeaderError::Malformed("its line does not end as it must"))?;
    Ok(Progress::Whole(Header {
        length: end + 1,
        client: client(words)?,
    }))
}

fn client(words: &str) -> Result<Option<SocketAddr>, HeaderError> {
    const MALFORMED: HeaderError = HeaderError::Malformed("its line is not as version 1 has it");
    // Whatever follows UNKNOWN is to be passed over.
    if words == "UNKNOWN" || words.starts_with("UNKNOWN ") {
        return Ok(None);
    }
    let mut words = words.split(' ');
    let mut next = || words.next().ok_or(MALFORMED);
    let (family, source, target) = (next()?, next()?, next()?);
    let (source_port, target_port) = (port(next()?), port(next()?));
    let (Some(source_port), Some(_), None) = (source_port, target_port, words.next()) else {
        return Err(MALFORMED);
    };
    let source = match family {
        "TCP4" => addresses::<Ipv4Addr>(source, target).map(Into::into),
        "TCP6" => addresses::<Ipv6Addr>(source, target).map(Into::into),
        _ => None,
    };
    let source = source.ok_or(MALFORMED)?;
    Ok(Some(canonical(SocketAddr::new(source, source_port))))
}

/// The first of two addresses, where both are of this family.
fn addresses<T: std::str::FromStr>(source: &str, target: &str) -> Option<T> {
    target.parse::<T>().ok()?;
    source.parse().ok()
}

/// Decimal, without a sign and without zeros in front.
fn port(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let is_padded = text.len() > 1 && text.starts_with('0');
    text.parse().ok().filter(|_| is_plain && !is_padded)
}

/// Version 2.
fn binary(bytes: &[u8]) -> Result<Progress, HeaderError> {
    let Some((head, rest)) = bytes.split_first_chunk::<BINARY_HEAD>() else {
        return Ok(Progress::Partial);
    };
    let [.., command, family, high, low] = *head;
    let is_local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(HeaderError::Malformed("its version or command is unknown")),
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if BINARY_HEAD + length > LENGTH_MAX {
        return Err(HeaderError::TooLong);
    }
    let Some(body) = rest.get(..length) else {
        return Ok(Progress::Partial);
    };
    let length = BINARY_HEAD + length;
    let header = |client| Ok(Progress::Whole(Header { length, client }));
    if is_local {
        return header(None); // whatever the rest says, the family too
    }
    const SHORT: HeaderError = HeaderError::Malformed("it is too short for its addresses");
    let (size, client) = match family {
        0x00 => (0, None),
        0x11 => (INET, Some(inet(body).ok_or(SHORT)?)),
        0x21 => (INET6, Some(inet6(body).ok_or(SHORT)?)),
        0x31 => (UNIX, None),
        // Datagrams, among others: they never come over TCP.
        _ => return Err(HeaderError::Malformed("its family or transport is none")),
    };
    let extensions = body.get(size..).ok_or(SHORT)?;
    check_sum(&bytes[..length], extensions)?;
    header(client.map(canonical))
}

fn inet(body: &[u8]) -> Option<SocketAddr> {
    let (body, _) = body.split_first_chunk::<INET>()?;
    let (source, rest) = body.split_first_chunk::<4>()?;
    let (_, rest) = rest.split_first_chunk::<4>()?;
    let (port, _) = rest.split_first_chunk::<2>()?;
    Some((Ipv4Addr::from(*source), u16::from_be_bytes(*port)).into())
}

fn inet6(body: &[u8]) -> Option<SocketAddr> {
    let (body, _) = body.split_first_chunk::<INET6>()?;
    let (source, rest) = body.split_first_chunk::<16>()?;
    let (_, rest) = rest.split_first_chunk::<16>()?;
    let (port, _) = rest.split_first_chunk::<2>()?;
    Some((Ipv6Addr::from(*source), u16::from_be_bytes(*port)).into())
}

/// Holds a header with a checksum to it (section 2.2.3), and every extension to its length. What
/// else they say is passed over: a client's certificate is believed only where we have checked it.
fn check_sum(header: &[u8], extensions: &[u8]) -> Result<(), HeaderError> {
    const MALFORMED: HeaderError = HeaderError::Malformed("an extension does not fit in it");
    let mut rest = extensions;
    while !rest.is_empty() {
        let (&[kind, high, low], behind) = rest
            .split_first_chunk::<EXTENSION_HEAD>()
            .ok_or(MALFORMED)?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (value, behind) = behind.split_at_checked(length).ok_or(MALFORMED)?;
        if kind == CHECKSUM {
            let told: [u8; 4] = value.try_into().map_err(|_| MALFORMED)?;
            // Of the header as it was before the sum was put into it.
            let after = behind.len();
            let before = header.len() - after - told.len();
            let mut sum: Digest<'_, u32> = CRC32C.digest();
            sum.update(&header[..before]);
            sum.update(&[0; 4]);
            sum.update(behind);
            if sum.finalize() != u32::from_be_bytes(told) {
                return Err(HeaderError::Checksum);
            }
        }
        rest = behind;
    }
    Ok(())
}
