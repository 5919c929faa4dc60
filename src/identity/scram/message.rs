//! What a client may say (RFC 5802, section 7), checked to the letter before the library sees it.
//!
//! rsasl 2.3 takes these messages apart with slices that panic where a part is too short, and
//! leaves extensions out of what is signed. What passes here does neither harm.

use std::str;

/// Longest message of a client, in bytes.
const MAX_BYTES: usize = 2048;
/// SHA-256's 32 bytes in base64.
const PROOF_CHARACTERS: usize = 44;

/// The username in a client's first message; `None` where it is not one that is understood.
///
/// Nobody may act for another: an authorization identity must be the username.
pub(in crate::identity) fn client_first(message: &[u8]) -> Option<String> {
    let mut parts = parts(message)?;
    // `p`: with a channel binding, which this method does not have.
    if !matches!(parts.next()?, "n" | "y") {
        return None;
    }
    let authorization = match parts.next()? {
        "" => None,
        text => Some(name(text.strip_prefix("a=")?)?),
    };
    let username = name(parts.next()?.strip_prefix("n=")?)?;
    let nonce = parts.next()?.strip_prefix("r=")?;
    let is_right = is_nonce(nonce)
        && parts.next().is_none()
        && authorization.is_none_or(|authorization| authorization == username);
    is_right.then_some(username)
}

/// Whether it is a client's final message.
pub(in crate::identity) fn client_final(message: &[u8]) -> bool {
    let is_right = || {
        let mut parts = parts(message)?;
        let binding = parts.next()?.strip_prefix("c=")?;
        let nonce = parts.next()?.strip_prefix("r=")?;
        let proof = parts.next()?.strip_prefix("p=")?;
        let is_right = is_base64(binding)
            && is_nonce(nonce)
            && is_base64(proof)
            && proof.len() == PROOF_CHARACTERS
            && parts.next().is_none();
        Some(is_right)
    };
    is_right() == Some(true)
}

fn parts(message: &[u8]) -> Option<str::Split<'_, char>> {
    let text = (message.len() <= MAX_BYTES).then_some(message)?;
    Some(str::from_utf8(text).ok()?.split(','))
}

/// A `saslname`: `=2C` and `=3D` stand for comma and equals sign.
fn name(text: &str) -> Option<String> {
    if text.is_empty() || text.contains('\0') {
        return None;
    }
    let mut pieces = text.split('=');
    let mut name = pieces.next()?.to_owned();
    for piece in pieces {
        let (sign, rest) = match piece.strip_prefix("2C") {
            Some(rest) => (',', rest),
            None => ('=', piece.strip_prefix("3D")?),
        };
        name.push(sign);
        name.push_str(rest);
    }
    Some(name)
}

/// Printable ASCII but for the comma, at which the message was split.
fn is_nonce(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_base64(text: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    !text.is_empty() && text.bytes().all(is_digit)
}
