//! What is stored of a password so that a proof can be checked, and from which nobody can make one.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::identity::SecretError;

/// How the text of a verifier begins.
pub(in crate::identity) const PREFIX: &str = "SCRAM-SHA-256$";

/// The fewest iterations that RFC 7677 allows (section 4).
pub(in crate::identity) const MIN_ITERATIONS: NonZeroU32 = NonZeroU32::new(4096).unwrap();
/// The most that a verifier made elsewhere may ask of its client: some seconds of a fast machine.
const MAX_ITERATIONS: u32 = 10_000_000;
/// Bytes of the salts made here.
pub(super) const SALT_BYTES: usize = 16;
/// Bytes of a salt made elsewhere.
const SALTS: std::ops::RangeInclusive<usize> = 8..=64;

/// The keys of one password (RFC 5802, section 3). Its text is
/// `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`, as PostgreSQL writes it.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::identity) struct Verifier {
    pub(super) iterations: u32,
    pub(super) salt: Box<[u8]>,
    pub(super) stored_key: [u8; 32],
    pub(super) server_key: [u8; 32],
}

impl Verifier {
    /// Of a password, under a new salt. Takes as long as the iterations say.
    pub(in crate::identity) fn make(
        password: &str,
        iterations: NonZeroU32,
    ) -> Result<Self, SecretError> {
        let mut salt = [0; SALT_BYTES];
        getrandom::fill(&mut salt).map_err(|error| SecretError::Hashing(error.to_string()))?;
        Ok(Self::derive(password, iterations, &salt))
    }

    /// RFC 5802, section 3. A password that SASLprep has no form for counts as it is, as in
    /// PostgreSQL: what matters is that the client does the same.
    pub(super) fn derive(password: &str, iterations: NonZeroU32, salt: &[u8]) -> Self {
        let prepared = stringprep::saslprep(password);
        let password = prepared.as_deref().unwrap_or(password);
        let mut salted = [0; 32];
        let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
        pbkdf2::derive(
            algorithm,
            iterations,
            salt,
            password.as_bytes(),
            &mut salted,
        );
        let key = hmac::Key::new(hmac::HMAC_SHA256, &salted);
        let client_key = hmac::sign(&key, b"Client Key");
        let stored_key = digest::digest(&digest::SHA256, client_key.as_ref());
        let server_key = hmac::sign(&key, b"Server Key");
        Self {
            iterations: iterations.get(),
            salt: salt.into(),
            stored_key: bytes(stored_key.as_ref()),
            server_key: bytes(server_key.as_ref()),
        }
    }
}

/// SHA-256's 32 bytes.
fn bytes(output: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(output);
    bytes
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes: &[u8]| BASE64_STANDARD.encode(bytes);
        let (salt, stored) = (text(&self.salt), text(&self.stored_key));
        let server = text(&self.server_key);
        write!(f, "{PREFIX}{}:{salt}${stored}:{server}", self.iterations)
    }
}

impl FromStr for Verifier {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        let wrong = |why: &'static str| SecretError::Scram(why);
        let parts = text.strip_prefix(PREFIX).and_then(|rest| {
            let (head, keys) = rest.split_once('$')?;
            Some((head.split_once(':')?, keys.split_once(':')?))
        });
        let Some(((iterations, salt), (stored, server))) = parts else {
            return Err(wrong("it has another form"));
        };
        let iterations = iterations
            .parse()
            .map_err(|_| wrong("the iterations are no number"))?;
        if !(MIN_ITERATIONS.get()..=MAX_ITERATIONS).contains(&iterations) {
            return Err(wrong("it takes 4,096 to 10,000,000 iterations"));
        }
        let read = |text: &str| BASE64_STANDARD.decode(text).ok();
        let salt = read(salt).filter(|salt| SALTS.contains(&salt.len()));
        let key = |text: &str| <[u8; 32]>::try_from(read(text)?).ok();
        Ok(Self {
            iterations,
            salt: salt
                .ok_or(wrong("the salt takes 8 to 64 bytes in base64"))?
                .into(),
            stored_key: key(stored).ok_or(wrong("StoredKey takes 32 bytes in base64"))?,
            server_key: key(server).ok_or(wrong("ServerKey takes 32 bytes in base64"))?,
        })
    }
}

/// Says nothing of the keys.
impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}
