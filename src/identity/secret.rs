//! How secrets are stored and checked.
//!
//! Two schemes: a *machine token* (at least 256 random bits, told by its looks) needs no slow hash
//! and gets a keyed BLAKE3, a microsecond; everything else may be guessable and gets argon2id, some
//! twenty milliseconds and 19 MiB. **Which of the two is computed depends on what is presented and
//! on nothing that is stored**: where the stored secret is missing or of the other scheme, a decoy
//! takes its place. So an unknown username, a wrong password and a username without credential
//! cost the same work, and neither time nor memory tells them apart.

use std::sync::atomic::{AtomicU64, Ordering};

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Argon2, Params};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;

use super::scram::{self, Seal, Verifier};
use super::token_key::TokenKey;

/// Longest password in bytes. A longer one is hashed like any other and never matches.
pub const MAX_PASSWORD_BYTES: usize = 1024;
/// What a machine token has after its `_`: 32 bytes in base64url.
const TOKEN_CHARACTERS: usize = 43;
/// Most memory (KiB), passes, and product of the two that an imported argon2id hash may ask for.
const MAX_IMPORTED: (u32, u32, u32) = (128 << 10, 10, 256 << 10);

/// How a secret is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// BLAKE3 under the [`TokenKey`]; written `$blake3$<key id>$<hash in base64url>`.
    Token,
    /// A PHC string.
    Argon2id,
}

impl Scheme {
    /// The scheme for a secret, by its looks: letters, `_`, and at least 43 characters of base64url
    /// are a machine token (`cfd_…` of ours, `ffbp_…` and its like of the platform).
    pub fn of(secret: &[u8]) -> Self {
        let token = secret
            .iter()
            .position(|&byte| byte == b'_')
            .is_some_and(|at| {
                let (prefix, rest) = (&secret[..at], &secret[at + 1..]);
                !prefix.is_empty()
                    && prefix.iter().all(u8::is_ascii_alphabetic)
                    && rest.len() >= TOKEN_CHARACTERS
                    && rest
                        .iter()
                        .all(|&it| it.is_ascii_alphanumeric() || it == b'_' || it == b'-')
            });
        if token { Self::Token } else { Self::Argon2id }
    }
}

/// Why a text cannot be a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Nothing there.
    #[error("a password has at least one character; leave the key out where nobody is to log in")]
    Empty,
    /// More than [`MAX_PASSWORD_BYTES`].
    #[error("a password has at most {MAX_PASSWORD_BYTES} bytes")]
    TooLong,
    /// `$…$`, but none of the known hashes.
    #[error(
        "a text that begins like a hash is taken for one: write $argon2id$v=19$…, $blake3$… or SCRAM-SHA-256$…"
    )]
    UnknownHash,
    /// An argon2id string with something wrong in it.
    #[error("not a complete argon2id hash (version 19, with salt and output): {0}")]
    Argon2id(String),
    /// An argon2id string that would make every login dear.
    #[error(
        "the argon2id hash asks for more than 128 MiB, ten passes, or 256 MiB in all passes together"
    )]
    TooDear,
    /// A token's hash that no token can match.
    #[error("the token hash was made under key {found}, and this broker's key is {own}")]
    OtherKey {
        /// In the text.
        found: String,
        /// Ours.
        own: String,
    },
    /// A SCRAM verifier with something wrong in it.
    #[error("not SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>: {0}")]
    Scram(&'static str),
    /// The system gave no randomness, or hashing failed.
    #[error("hashing failed: {0}")]
    Hashing(String),
}

/// How often each scheme was computed: the work that logins cost.
#[derive(Debug, Default)]
pub struct Work {
    argon2id: AtomicU64,
    token: AtomicU64,
}

impl Work {
    /// Computations so far: argon2id, token.
    pub fn done(&self) -> (u64, u64) {
        (
            self.argon2id.load(Ordering::Relaxed),
            self.token.load(Ordering::Relaxed),
        )
    }
}

/// Hashes and checks secrets.
#[derive(Debug)]
pub struct Secrets {
    key: TokenKey,
    argon2: Argon2<'static>,
    decoy: PasswordHash,
    seal: Seal,
    work: Work,
}

impl Secrets {
    /// With argon2id as OWASP asks for at least (19 MiB, two passes, one lane).
    ///
    /// # Errors
    /// [`SecretError::Hashing`].
    pub fn new(key: TokenKey) -> Result<Self, SecretError> {
        Self::with_params(key, Params::default())
    }

    /// With other parameters for new argon2id hashes.
    ///
    /// # Errors
    /// [`SecretError::Hashing`].
    pub fn with_params(key: TokenKey, params: Params) -> Result<Self, SecretError> {
        let argon2 = Argon2::from(params);
        // Its password is known here, and still nobody gets in by it: `check` says no to a decoy.
        let decoy = argon2.hash_password(b"decoy").map_err(hashing)?;
        let seal = Seal::new(&key)?;
        Ok(Self {
            key,
            argon2,
            decoy,
            seal,
            work: Work::default(),
        })
    }

    /// The key of the token scheme.
    pub fn key(&self) -> &TokenKey {
        &self.key
    }

    pub(super) fn seal(&self) -> &Seal {
        &self.seal
    }

    /// What was computed so far.
    pub fn work(&self) -> &Work {
        &self.work
    }

    /// What to store for a secret in plain. Takes as long as [`Self::check`].
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn hash(&self, secret: &str) -> Result<String, SecretError> {
        match secret.len() {
            0 => return Err(SecretError::Empty),
            1..=MAX_PASSWORD_BYTES => {}
            _ => return Err(SecretError::TooLong),
        }
        Ok(match Scheme::of(secret.as_bytes()) {
            Scheme::Token => format!(
                "$blake3${}${}",
                self.key.id(),
                BASE64_URL_SAFE_NO_PAD.encode(self.key.hash(secret.as_bytes()))
            ),
            Scheme::Argon2id => self
                .argon2
                .hash_password(secret.as_bytes())
                .map_err(hashing)?
                .to_string(),
        })
    }

    /// Whether `presented` is the secret whose hash is `stored`. Blocks for the time of one
    /// argon2id where `presented` is not a token: not for a thread that others wait for.
    pub fn check(&self, presented: &[u8], stored: Option<&str>) -> bool {
        match Scheme::of(presented) {
            Scheme::Token => {
                self.work.token.fetch_add(1, Ordering::Relaxed);
                let expected = stored.and_then(|stored| self.token_hash(stored).ok());
                let known = expected.is_some();
                let same = self
                    .key
                    .hash(presented)
                    .ct_eq(&expected.unwrap_or_default());
                bool::from(same) & known
            }
            Scheme::Argon2id => {
                self.work.argon2id.fetch_add(1, Ordering::Relaxed);
                let expected = stored
                    .filter(|stored| stored.starts_with("$argon2id$"))
                    .and_then(|stored| PasswordHash::new(stored).ok());
                let known = expected.is_some() && presented.len() <= MAX_PASSWORD_BYTES;
                let expected = expected.as_ref().unwrap_or(&self.decoy);
                let presented = &presented[..presented.len().min(MAX_PASSWORD_BYTES)];
                self.argon2.verify_password(presented, expected).is_ok() & known
            }
        }
    }

    /// Whether `text` is to be taken for a hash: `$<letters and digits>$…`, or a SCRAM verifier. So
    /// a hash of a kind unknown here is refused, and never taken for a password in plain.
    pub fn is_hash(text: &str) -> bool {
        let is_verifier = text.starts_with(scram::PREFIX);
        is_verifier
            || text
                .strip_prefix('$')
                .and_then(|rest| rest.split_once('$'))
                .is_some_and(|(name, _)| {
                    !name.is_empty()
                        && name
                            .bytes()
                            .all(|it| it.is_ascii_alphanumeric() || it == b'-')
                })
    }

    /// Checks that a hash made elsewhere can be stored.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn import(&self, hash: &str) -> Result<(), SecretError> {
        if is_of_token(hash) {
            return self.token_hash(hash).map(drop);
        }
        if hash.starts_with(scram::PREFIX) {
            return hash.parse::<Verifier>().map(drop);
        }
        if !hash.starts_with("$argon2id$") {
            return Err(SecretError::UnknownHash);
        }
        let wrong = |why: &str| SecretError::Argon2id(why.to_owned());
        let parsed = PasswordHash::new(hash).map_err(|error| wrong(&error.to_string()))?;
        let params = Params::try_from(&parsed).map_err(|error| wrong(&error.to_string()))?;
        if parsed.version != Some(19) {
            return Err(wrong("it has another version"));
        }
        if parsed.salt.is_none() || parsed.hash.is_none() {
            return Err(wrong("salt or output is missing"));
        }
        let (memory_kib, passes) = (params.m_cost(), params.t_cost());
        let dear = memory_kib > MAX_IMPORTED.0
            || passes > MAX_IMPORTED.1
            || memory_kib.saturating_mul(passes) > MAX_IMPORTED.2;
        if dear {
            Err(SecretError::TooDear)
        } else {
            Ok(())
        }
    }

    fn token_hash(&self, stored: &str) -> Result<[u8; 32], SecretError> {
        let (id, hash) = stored
            .strip_prefix("$blake3$")
            .and_then(|rest| rest.split_once('$'))
            .ok_or(SecretError::UnknownHash)?;
        if id != self.key.id() {
            return Err(SecretError::OtherKey {
                found: id.to_owned(),
                own: self.key.id().to_owned(),
            });
        }
        BASE64_URL_SAFE_NO_PAD
            .decode(hash)
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(SecretError::UnknownHash)
    }
}

/// Whether what is stored is the hash of a machine token.
pub(super) fn is_of_token(stored: &str) -> bool {
    stored.starts_with("$blake3$")
}

/// A new machine token: `cfd_` and 32 random bytes.
///
/// # Errors
/// [`SecretError::Hashing`] where the system has no randomness.
pub fn random_token() -> Result<String, SecretError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(hashing)?;
    Ok(format!("cfd_{}", BASE64_URL_SAFE_NO_PAD.encode(bytes)))
}

fn hashing(error: impl std::fmt::Display) -> SecretError {
    SecretError::Hashing(error.to_string())
}

#[cfg(test)]
mod tests;
