//! DISCONNECT and AUTH (sections 3.14 and 3.15).

use super::super::packet::Version;
use super::super::reason::ReasonCode;
use super::super::section::Borrowed;
use super::super::writer::{
    fitting_binary, fitting_text, put_variable_byte_integer, variable_byte_integer_length,
};

/// Appends DISCONNECT; nothing in 3.x, where a server has none.
pub fn disconnect(
    out: &mut Vec<u8>,
    version: Version,
    reason: ReasonCode,
    reason_string: Option<&str>,
) {
    if version != Version::V5 {
        return;
    }
    match reason_string {
        None if reason == ReasonCode::Success => out.extend_from_slice(&[0xE0, 0]),
        None => out.extend_from_slice(&[0xE0, 1, reason.as_byte()]),
        Some(text) => {
            let length = 3 + fitting_text(text).len();
            put_head(out, 0xE0, reason, length);
            Borrowed::ReasonString(text).write(out);
        }
    }
}

/// Appends AUTH (5.0).
pub fn auth(out: &mut Vec<u8>, reason: ReasonCode, method: &str, data: Option<&[u8]>) {
    let length =
        3 + fitting_text(method).len() + data.map_or(0, |data| 3 + fitting_binary(data).len());
    put_head(out, 0xF0, reason, length);
    Borrowed::AuthenticationMethod(method).write(out);
    if let Some(data) = data {
        Borrowed::AuthenticationData(data).write(out);
    }
}

/// All but the properties, which take `length` bytes.
fn put_head(out: &mut Vec<u8>, first: u8, reason: ReasonCode, length: usize) {
    let remaining = 1 + variable_byte_integer_length(length) + length;
    out.reserve(5 + remaining);
    out.push(first);
    put_variable_byte_integer(out, remaining);
    out.push(reason.as_byte());
    put_variable_byte_integer(out, length);
}
