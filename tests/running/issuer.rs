//! An issuer of tokens with keys of its own, which also signs what it should not. Its signatures are
//! not made by the library that checks them.

#![allow(dead_code)] // each test takes what it needs

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

pub const ISSUER: &str = "https://id.example.com";
pub const AUDIENCE: &str = "cofferdam";

/// An issuer with one key of each kind.
pub struct Issuer {
    rsa: rcgen::KeyPair,
    ec: rcgen::KeyPair,
    ed: rcgen::KeyPair,
}

impl Issuer {
    pub fn new() -> Self {
        let make = |algorithm| rcgen::KeyPair::generate_for(algorithm).expect("a key");
        Self {
            rsa: make(&rcgen::PKCS_RSA_SHA256),
            ec: make(&rcgen::PKCS_ECDSA_P256_SHA256),
            ed: make(&rcgen::PKCS_ED25519),
        }
    }

    fn key(&self, algorithm: &str) -> &rcgen::KeyPair {
        match algorithm {
            "RS256" => &self.rsa,
            "ES256" => &self.ec,
            "EdDSA" => &self.ed,
            other => panic!("no key for {other}"),
        }
    }

    /// A public key as PEM.
    pub fn pem(&self, algorithm: &str) -> String {
        self.key(algorithm).public_key_pem()
    }

    /// All public keys as PEM.
    pub fn pems(&self) -> String {
        ["RS256", "ES256", "EdDSA"].map(|it| self.pem(it)).concat()
    }

    /// Some public keys as a JWK set, each under its algorithm's name with `-` and `suffix`.
    pub fn jwks(&self, algorithms: &[&str], suffix: &str) -> Value {
        let keys = algorithms.iter().map(|algorithm| {
            let mut jwk = self.jwk(algorithm);
            jwk["kid"] = json!(format!("{algorithm}-{suffix}"));
            jwk
        });
        json!({ "keys": keys.collect::<Vec<_>>() })
    }

    fn jwk(&self, algorithm: &str) -> Value {
        match algorithm {
            "RS256" => {
                let pair = RsaKeyPair::from_pkcs8(self.rsa.serialized_der()).expect("a key");
                let public = pair.public_key();
                let n = public.modulus().big_endian_without_leading_zero();
                let e = public.exponent().big_endian_without_leading_zero();
                json!({ "kty": "RSA", "n": base64(n), "e": base64(e), "use": "sig" })
            }
            "ES256" => {
                let point = self.ec.public_key_raw();
                let (x, y) = point[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "x": base64(x), "y": base64(y) })
            }
            _ => {
                let x = base64(self.ed.public_key_raw());
                json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "alg": "EdDSA" })
            }
        }
    }

    /// A token with these claims, and those that every good one has.
    pub fn token(&self, algorithm: &str, expires_s: u64, claims: Value) -> String {
        let mut all = json!({ "iss": ISSUER, "aud": AUDIENCE, "exp": expires_s });
        let all_of = all.as_object_mut().expect("an object");
        all_of.extend(claims.as_object().expect("an object").clone());
        self.sign(algorithm, &json!({ "alg": algorithm, "typ": "JWT" }), &all)
    }

    /// Whatever header and claims, signed with the key for an algorithm.
    pub fn sign(&self, algorithm: &str, header: &Value, claims: &Value) -> String {
        let parts = [header, claims].map(|part| base64(part.to_string().as_bytes()));
        let message = parts.join(".");
        let signature = self.signature(algorithm, message.as_bytes());
        format!("{message}.{}", base64(&signature))
    }

    fn signature(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let key = self.key(algorithm).serialized_der();
        match algorithm {
            "RS256" => {
                let pair = RsaKeyPair::from_pkcs8(key).expect("a key");
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .expect("signed");
                signature
            }
            "ES256" => {
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key);
                let signature = pair.expect("a key").sign(&random, message);
                signature.expect("signed").as_ref().to_vec()
            }
            _ => {
                let pair = Ed25519KeyPair::from_pkcs8(key).expect("a key");
                pair.sign(message).as_ref().to_vec()
            }
        }
    }
}

pub fn base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
