//! Signed tokens as passwords (JWT, RFC 7519; JWS, RFC 7515), of one issuer whose public keys are
//! in files.
//!
//! A token decides by itself: its signature, by a key and the one algorithm that this key is for
//! (RS256, ES256, EdDSA; RFC 8725 section 3.1), its issuer, its audience and its time. What it then
//! says of its bearer becomes a principal by a template and the policy ([`vouched`](super::vouched)).
//! The connection ends when the token does; a client of 5.0 that named the method [`METHOD`] can
//! show a new one before.
//!
//! Signatures are the library's. The clock is not: `now` comes from the caller, here as everywhere.

mod keys;

use std::sync::Arc;

use arc_swap::ArcSwap;
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Algorithm, Header, Validation, decode, decode_header};
use serde_json::{Map, Value};

use self::keys::{Key, Keys};
pub use self::keys::{KeyFault, KeysError};
use super::vouched::Vouched;
use crate::broker::TokenFault;
use crate::config::{Followed, Jwt};
use crate::policy::Pattern;
use crate::time::Time;

/// The authentication method under which a client of 5.0 sends its token as authentication data,
/// and a fresh one later. Others call it so too.
pub(super) const METHOD: &str = "OAUTH2-JWT";

/// The longest token, in bytes.
const TOKEN_MAX: usize = 16 * 1024;
/// How every token begins: `{"` in base64url.
const BEGINNING: &[u8] = b"eyJ";

/// An issuer of tokens.
pub struct Tokens {
    config: Jwt,
    keys: ArcSwap<Keys>,
}

/// What a good token says.
#[derive(Debug)]
struct Claims {
    said: Map<String, Value>,
    /// When it is over, leeway included.
    expires: Time,
}

/// Whether a password is a token: no other kind of password begins so and has two dots. Then it is
/// judged as a token and nothing else.
pub(super) fn is_token(password: &[u8]) -> bool {
    let is_text = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    password.starts_with(BEGINNING)
        && password.iter().filter(|byte| **byte == b'.').count() == 2
        && password.iter().all(is_text)
}

impl Tokens {
    /// The issuer's keys as they are in its files now.
    ///
    /// # Errors
    /// [`KeysError`].
    pub fn open(config: Jwt) -> Result<(Arc<Self>, Followed), KeysError> {
        let mut files = Followed::new(config.keys.clone());
        let keys = Keys::read(files.changed()?.unwrap_or_default())?;
        let keys = ArcSwap::from_pointee(keys);
        Ok((Arc::new(Self { config, keys }), files))
    }

    /// Takes the keys that are in the files now, where they are others. Blocks for a moment. What
    /// cannot be read or holds no key leaves the known ones in force.
    ///
    /// # Errors
    /// [`KeysError`].
    pub fn follow(&self, files: &mut Followed) -> Result<bool, KeysError> {
        let Some(contents) = files.changed()? else {
            return Ok(false);
        };
        let keys = Keys::read(contents).inspect_err(|_| files.forget())?;
        self.keys.store(Arc::new(keys));
        Ok(true)
    }

    /// Judges a token that came with this username, of which there may be none.
    pub(super) fn judge(
        &self,
        token: &[u8],
        username: Option<&str>,
        now: Time,
    ) -> Result<Vouched<'_>, TokenFault> {
        let claims = self.check(token, now)?;
        let said = |name: &str| claims.text(name);
        let unsaid = |error| {
            tracing::debug!(%error, "a token's claims make nobody");
            TokenFault::Claims
        };
        let mapping = &self.config.mapping;
        let own = mapping.username.expand(said).map_err(unsaid)?;
        let stands_for_it = |name: &str| {
            let mut placeholders = self.config.placeholders.iter();
            name.is_empty() || name == own || placeholders.any(|it| it == name)
        };
        if !username.is_none_or(stands_for_it) {
            return Err(TokenFault::Username);
        }
        let mut bindings = Vec::new();
        for (name, template) in &mapping.bindings {
            // A claim that is not there is a binding that is not known, as for a device without owner.
            if template.names().all(|name| claims.text(name).is_some()) {
                let value = template.expand(said).map_err(unsaid)?;
                bindings.push((Arc::clone(name), Arc::from(value)));
            }
        }
        let patterns = match &self.config.patterns {
            Some(claim) => claims.patterns(claim)?,
            None => None,
        };
        Ok(Vouched {
            username: own,
            bindings,
            patterns,
            mapping,
            expires: claims.expires,
        })
    }

    /// What a token says, if it is to be believed.
    fn check(&self, token: &[u8], now: Time) -> Result<Claims, TokenFault> {
        if token.len() > TOKEN_MAX || !is_token(token) {
            return Err(TokenFault::Malformed);
        }
        let header = decode_header(token).map_err(|error| match error.kind() {
            // Of the header's fields only `alg` has words that can be wrong.
            ErrorKind::Json(_) | ErrorKind::InvalidAlgorithmName => TokenFault::Algorithm,
            _ => TokenFault::Malformed,
        })?;
        if header.crit.is_some() {
            return Err(TokenFault::Malformed); // RFC 7515 section 4.1.11
        }
        if !keys::ALGORITHMS.contains(&header.alg) {
            return Err(TokenFault::Algorithm);
        }
        let keys = self.keys.load();
        let said = self.verify(token, &header, &keys)?;
        let time = |claim: &str| said.get(claim).map(|value| value.as_f64());
        let leeway = self.config.leeway;
        let Some(Some(ends)) = time("exp") else {
            return Err(TokenFault::Malformed);
        };
        let begins = match time("nbf") {
            None => 0.0,
            Some(None) => return Err(TokenFault::Malformed),
            Some(Some(begins)) => begins,
        };
        let expires = seconds(ends) + leeway;
        if expires <= now {
            return Err(TokenFault::Expired);
        }
        if seconds(begins) > now + leeway {
            return Err(TokenFault::NotYet);
        }
        Ok(Claims { said, expires })
    }

    /// The claims, once a key's signature, the issuer and the audience are right.
    fn verify(
        &self,
        token: &[u8],
        header: &Header,
        keys: &Keys,
    ) -> Result<Map<String, Value>, TokenFault> {
        let candidates: Vec<&Key> = keys.candidates(header.kid.as_deref()).collect();
        if candidates.is_empty() {
            return Err(TokenFault::UnknownKey);
        }
        let mut fault = TokenFault::Algorithm; // no candidate is for it
        for key in candidates {
            if key.algorithm != header.alg {
                continue;
            }
            match decode::<Map<String, Value>>(token, &key.key, &self.validation(key.algorithm)) {
                Ok(decoded) => return Ok(decoded.claims),
                Err(error) => fault = self::fault(&error),
            }
            if fault != TokenFault::Signature {
                break; // it was this key's
            }
        }
        Err(fault)
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.set_issuer(&[&self.config.issuer]);
        validation.set_audience(&self.config.audience);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        // Against our own time, afterwards.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation
    }
}

fn fault(error: &Error) -> TokenFault {
    match error.kind() {
        ErrorKind::InvalidSignature => TokenFault::Signature,
        ErrorKind::InvalidIssuer => TokenFault::Issuer,
        ErrorKind::InvalidAudience => TokenFault::Audience,
        ErrorKind::MissingRequiredClaim(claim) if claim == "iss" => TokenFault::Issuer,
        ErrorKind::MissingRequiredClaim(claim) if claim == "aud" => TokenFault::Audience,
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidKeyFormat => TokenFault::Algorithm,
        _ => TokenFault::Malformed,
    }
}

/// The time so many seconds after the Unix epoch: a NumericDate, which may have a fraction. What is
/// beyond what a time can say is the nearest that it can.
fn seconds(seconds: f64) -> Time {
    Time::from_micros((seconds * 1e6) as u64)
}

impl Claims {
    /// A claim that is text, or a whole number.
    fn text(&self, name: &str) -> Option<String> {
        match self.said.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) if !number.is_f64() => Some(number.to_string()),
            _ => None,
        }
    }

    /// A client's own list, where there is one, written as in `apply`'s files.
    fn patterns(&self, claim: &str) -> Result<Option<Vec<Pattern>>, TokenFault> {
        let Some(value) = self.said.get(claim) else {
            return Ok(None);
        };
        let patterns = super::account::patterns_of(value.clone());
        patterns.map(Some).map_err(|error| {
            tracing::debug!(%error, claim, "a token's patterns are not a list of patterns");
            TokenFault::Claims
        })
    }
}

#[cfg(test)]
mod tests;
