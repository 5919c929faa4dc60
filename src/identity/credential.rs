//! What is stored for a member's password, and when it stays as it is.

use std::num::NonZeroU32;

use super::account::Kind;
use super::scram::{self, Verifier};
use super::secret::{SecretError, Secrets};

/// What is stored for one password: each part lets in by one way of logging in. Both are there
/// where the password was given in plain; one of them where it was given as a hash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Credential {
    /// For a password that is sent: its hash, argon2id or BLAKE3.
    pub secret: Option<String>,
    /// For a proof by SCRAM-SHA-256: its verifier, sealed.
    pub scram: Option<String>,
}

/// Iterations of the verifiers made here. The client pays for them, at each login anew, and this
/// broker once, when the password is set.
///
/// They depend on the form of the username and on nothing else, for a challenge tells them to
/// whoever asks: usernames that exist and those that do not are asked for the same. A machine has a
/// token, in which there is nothing to guess, and perhaps a small processor; a client's password
/// may have been chosen by a person.
const fn iterations(kind: Kind) -> NonZeroU32 {
    const CHOSEN_BY_A_PERSON: NonZeroU32 = NonZeroU32::new(16_384).unwrap();
    match kind {
        Kind::Platform | Kind::Instance | Kind::Device => scram::MIN_ITERATIONS,
        Kind::Client => CHOSEN_BY_A_PERSON,
    }
}

impl Credential {
    /// Nobody can log in by it.
    pub fn is_empty(&self) -> bool {
        self.secret.is_none() && self.scram.is_none()
    }
}

impl Secrets {
    /// What to store for `username`'s password in plain, where `stored` is what there is: that, as
    /// far as it is this password's. Takes as long as [`check`](Self::check), and a PBKDF2 more
    /// where the password is new.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn credential(
        &self,
        username: &str,
        plain: &str,
        stored: &Credential,
    ) -> Result<Credential, SecretError> {
        let secret = stored.secret.as_ref();
        let kept = secret.filter(|secret| self.check(plain.as_bytes(), Some(secret)));
        if let Some(secret) = kept {
            // The two parts were made of one password.
            let verifier = stored.scram.as_ref();
            let verifier = verifier.filter(|verifier| self.seal().open(verifier).is_some());
            return Ok(Credential {
                secret: Some(secret.clone()),
                scram: Some(match verifier {
                    Some(verifier) => verifier.clone(),
                    None => self.verifier(username, plain)?,
                }),
            });
        }
        Ok(Credential {
            secret: Some(self.hash(plain)?),
            scram: Some(self.verifier(username, plain)?),
        })
    }

    fn verifier(&self, username: &str, plain: &str) -> Result<String, SecretError> {
        let verifier = Verifier::make(plain, iterations(Kind::of(username)))?;
        self.seal().seal(&verifier)
    }

    /// What to store for a hash made elsewhere, where `stored` is what there is.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn imported(&self, hash: &str, stored: &Credential) -> Result<Credential, SecretError> {
        self.import(hash)?;
        if !hash.starts_with(scram::PREFIX) {
            let is_the_same = stored.secret.as_deref() == Some(hash);
            return Ok(Credential {
                secret: Some(hash.to_owned()),
                scram: stored.scram.clone().filter(|_| is_the_same),
            });
        }
        let verifier: Verifier = hash.parse()?;
        let there = stored.scram.as_ref();
        let there = there.filter(|there| self.seal().open(there).as_ref() == Some(&verifier));
        Ok(Credential {
            secret: None,
            scram: Some(match there {
                Some(there) => there.clone(),
                None => self.seal().seal(&verifier)?,
            }),
        })
    }

    /// What `username` is challenged with, and whether there is a proof that fits it.
    pub(super) fn challenge(&self, username: &str, stored: Option<&str>) -> (Verifier, bool) {
        let iterations = iterations(Kind::of(username));
        self.seal().open_or_decoy(username, iterations, stored)
    }
}
