//! Verifiers at rest, and what stands in for one that is not there.
//!
//! A verifier lets whoever reads it try passwords at the price of PBKDF2, which would undo what
//! argon2id is there for. So it is stored sealed (AES-256-GCM) under a key that lies beside the
//! database and not in it: who reads the database alone has nothing to try a password against.

use std::fmt;
use std::num::NonZeroU32;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::verifier::{MIN_ITERATIONS, SALT_BYTES, Verifier};
use crate::identity::{SecretError, TokenKey};

/// Seals verifiers: `$scram$<key id>$<nonce and sealed text in base64url>`.
pub(in crate::identity) struct Seal {
    key: RandomizedNonceKey,
    key_id: String,
    decoy_key: [u8; 32],
    /// Nobody's verifier, sealed.
    decoy: String,
}

impl Seal {
    /// With keys derived from the token key.
    pub(in crate::identity) fn new(key: &TokenKey) -> Result<Self, SecretError> {
        let sealing = key.derive("cofferdam 2026 scram verifiers at rest");
        let sealing = RandomizedNonceKey::new(&AES_256_GCM, &sealing);
        let mut seal = Self {
            key: sealing.map_err(|_| SecretError::Hashing("no key to seal with".to_owned()))?,
            key_id: key.id().to_owned(),
            decoy_key: key.derive("cofferdam 2026 scram salts of nobody"),
            decoy: String::new(),
        };
        seal.decoy = seal.seal(&seal.decoy("", MIN_ITERATIONS))?;
        Ok(seal)
    }

    /// What to store.
    pub(in crate::identity) fn seal(&self, verifier: &Verifier) -> Result<String, SecretError> {
        let mut sealed = verifier.to_string().into_bytes();
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::empty(), &mut sealed)
            .map_err(|_| SecretError::Hashing("sealing failed".to_owned()))?;
        let whole = [nonce.as_ref().as_slice(), &sealed].concat();
        let text = BASE64_URL_SAFE_NO_PAD.encode(whole);
        Ok(format!("$scram${}${text}", self.key_id))
    }

    /// What was sealed; `None` where it was not, not here, or was changed since.
    pub(in crate::identity) fn open(&self, stored: &str) -> Option<Verifier> {
        let (id, text) = stored.strip_prefix("$scram$")?.split_once('$')?;
        if id != self.key_id {
            return None;
        }
        let mut whole = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        let (nonce, sealed) = whole.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let opened = self.key.open_in_place(nonce, Aad::empty(), sealed).ok()?;
        std::str::from_utf8(opened).ok()?.parse().ok()
    }

    /// What to challenge a username with, and whether a proof can fit it: what is `stored`, or,
    /// where that is nothing, or nothing that can be opened, a decoy. Both are made in either case,
    /// so that they cost the same.
    pub(in crate::identity) fn open_or_decoy(
        &self,
        username: &str,
        iterations: NonZeroU32,
        stored: Option<&str>,
    ) -> (Verifier, bool) {
        let decoy = self.decoy(username, iterations);
        let opened = self.open(stored.unwrap_or(&self.decoy));
        match opened.filter(|_| stored.is_some()) {
            Some(verifier) => (verifier, true),
            None => (decoy, false),
        }
    }

    /// Always the same for a username, and nothing that a real one could not be. No password fits.
    fn decoy(&self, username: &str, iterations: NonZeroU32) -> Verifier {
        let mut bytes = [0; SALT_BYTES + 64];
        let mut hash = blake3::Hasher::new_keyed(&self.decoy_key);
        hash.update(username.as_bytes());
        hash.finalize_xof().fill(&mut bytes);
        let (salt, keys) = bytes.split_at(SALT_BYTES);
        let mut verifier = Verifier {
            iterations: iterations.get(),
            salt: salt.into(),
            stored_key: [0; 32],
            server_key: [0; 32],
        };
        verifier.stored_key.copy_from_slice(&keys[..32]);
        verifier.server_key.copy_from_slice(&keys[32..]);
        verifier
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal")
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}
