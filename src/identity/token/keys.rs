//! The public keys of an issuer, from PEM files and JWK sets (RFC 7517).
//!
//! A key is bound to one algorithm by what kind of key it is, before any token is seen; so no token
//! can choose how it is checked.

use std::path::PathBuf;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::{self, PemObject as _};
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_PKCS1_RSAENCRYPTION, OID_SIG_ED25519, Oid,
};
use x509_parser::prelude::{FromDer as _, SubjectPublicKeyInfo};

use crate::config::FollowError;

/// The algorithms that are taken.
pub(super) const ALGORITHMS: [Algorithm; 3] =
    [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];

/// Most keys of an issuer: a token without a key id is tried with each.
const KEYS_MAX: usize = 64;

/// An issuer's keys.
pub(super) struct Keys(Vec<Key>);

/// One of them.
pub(super) struct Key {
    /// Its name in tokens; keys from PEM files have none.
    id: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// A file could not be read.
    #[error(transparent)]
    Read(#[from] FollowError),
    /// A file holds something else.
    #[error("{path}: {fault}")]
    Key {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        fault: KeyFault,
    },
    /// There are too many.
    #[error("an issuer has at most {KEYS_MAX} keys")]
    TooMany,
}

/// What is wrong with a file of keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyFault {
    /// Neither form.
    #[error(
        "holds no public key: it must have blocks `-----BEGIN PUBLIC KEY-----` or be a JWK set \
         with keys for RS256, ES256 or EdDSA"
    )]
    None,
    /// No PEM.
    #[error("is not PEM: {0}")]
    Pem(pem::Error),
    /// A PEM key that no algorithm is taken with.
    #[error("holds a key for another algorithm than RS256, ES256 (P-256) and EdDSA (Ed25519)")]
    Kind,
    /// No JWK set.
    #[error("is not a JWK set: {0}")]
    Json(serde_json::Error),
    /// A key of a JWK set.
    #[error("holds a key that cannot be used: {0}")]
    Jwk(jsonwebtoken::errors::Error),
}

impl Keys {
    /// From the contents of files.
    pub(super) fn read(files: Vec<(PathBuf, Vec<u8>)>) -> Result<Self, KeysError> {
        let mut keys = Vec::new();
        for (path, bytes) in files {
            let found = read(&bytes).map_err(|fault| KeysError::Key { path, fault })?;
            keys.extend(found);
        }
        match keys.len() > KEYS_MAX {
            true => Err(KeysError::TooMany),
            false => Ok(Self(keys)),
        }
    }

    /// The keys that a token with this key id may be signed with: the one of that name, or those
    /// that have none; without an id, all of them.
    pub(super) fn candidates<'a>(&'a self, id: Option<&'a str>) -> impl Iterator<Item = &'a Key> {
        let named = move |key: &Key| key.id.as_deref() == id;
        let is_known = id.is_some() && self.0.iter().any(named);
        self.0.iter().filter(move |key| match (id, is_known) {
            (None, _) => true,
            (Some(_), true) => named(key),
            (Some(_), false) => key.id.is_none(),
        })
    }
}

fn read(bytes: &[u8]) -> Result<Vec<Key>, KeyFault> {
    let keys = match bytes.trim_ascii_start().first() {
        Some(b'{') => from_set(bytes)?,
        _ => from_pem(bytes)?,
    };
    match keys.is_empty() {
        true => Err(KeyFault::None),
        false => Ok(keys),
    }
}

fn from_pem(bytes: &[u8]) -> Result<Vec<Key>, KeyFault> {
    let blocks = SubjectPublicKeyInfoDer::pem_slice_iter(bytes);
    let key = |block: Result<SubjectPublicKeyInfoDer<'_>, pem::Error>| {
        let block = block.map_err(KeyFault::Pem)?;
        let (algorithm, key) = from_info(&block).ok_or(KeyFault::Kind)?;
        Ok(Key {
            id: None,
            algorithm,
            key,
        })
    };
    blocks.map(key).collect()
}

/// A key of a kind that is taken, and the algorithm that it is for.
fn from_info(der: &[u8]) -> Option<(Algorithm, DecodingKey)> {
    let (rest, info) = SubjectPublicKeyInfo::from_der(der).ok()?;
    let kind = &info.algorithm.algorithm;
    let curve = info.algorithm.parameters.as_ref();
    let curve = curve.and_then(|parameters| Oid::try_from(parameters).ok());
    let key = &*info.subject_public_key.data;
    let found = if *kind == OID_PKCS1_RSAENCRYPTION {
        (Algorithm::RS256, DecodingKey::from_rsa_der(key))
    } else if *kind == OID_KEY_TYPE_EC_PUBLIC_KEY && curve == Some(OID_EC_P256) {
        (Algorithm::ES256, DecodingKey::from_ec_der(key))
    } else if *kind == OID_SIG_ED25519 {
        (Algorithm::EdDSA, DecodingKey::from_ed_der(key))
    } else {
        return None;
    };
    rest.is_empty().then_some(found)
}

/// Keys of a set that are for other things are passed over, as RFC 7517 section 5 asks.
fn from_set(bytes: &[u8]) -> Result<Vec<Key>, KeyFault> {
    let set: JwkSet = serde_json::from_slice(bytes).map_err(KeyFault::Json)?;
    let mut keys = Vec::new();
    for jwk in set.keys {
        let Some(algorithm) = algorithm(&jwk) else {
            continue;
        };
        keys.push(Key {
            key: DecodingKey::from_jwk(&jwk).map_err(KeyFault::Jwk)?,
            id: jwk.common.key_id,
            algorithm,
        });
    }
    Ok(keys)
}

/// The algorithm that a key is for; `None`: none of ours, or not for signatures.
fn algorithm(jwk: &Jwk) -> Option<Algorithm> {
    let common = &jwk.common;
    let is_for_signatures = common
        .public_key_use
        .as_ref()
        .is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            Algorithm::ES256
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            Algorithm::EdDSA
        }
        _ => return None,
    };
    let stated = common.key_algorithm.as_ref().map(ToString::to_string);
    let agrees = stated.is_none_or(|stated| stated == format!("{algorithm:?}"));
    (is_for_signatures && agrees).then_some(algorithm)
}
