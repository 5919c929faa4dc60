//! SCRAM-SHA-256 (RFC 5802, RFC 7677): the client proves that it knows the password and does not
//! send it, and the server proves that it knows the client.
//!
//! Used by [`Secrets`](super::Secrets), which makes and keeps what a proof is checked against, and
//! by the [`Authenticator`](super::Authenticator), which answers the two messages of a client.
//!
//! One file a concern: `verifier` (what is stored of a password), `seal` (how, and what stands in
//! for a user who is not there), `message` (what a client may say), `exchange` (the two steps).
//!
//! No channel binding: the method is `SCRAM-SHA-256`, not `SCRAM-SHA-256-PLUS`.

mod exchange;
mod message;
mod seal;
mod verifier;

pub(super) use exchange::{Begun, begin};
pub(super) use message::{client_final, client_first};
pub(super) use seal::Seal;
pub(super) use verifier::{MIN_ITERATIONS, PREFIX, Verifier};

/// The method's name in CONNECT and AUTH.
pub(super) const METHOD: &str = "SCRAM-SHA-256";

#[cfg(test)]
mod tests;
