//! TLS for listeners: certificates from PEM files, or a development CA of our own.
//!
//! TLS 1.2 and 1.3 by rustls with aws-lc-rs; session tickets, but where clients show certificates
//! ([`client`]). Called when the broker starts; the shard loop wraps sockets with what comes out.

pub mod client;
mod development;
mod error;

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;

use crate::config::{CertificateFiles, Transport};

pub use client::{ClientVerifier, fault};
pub use development::{Development, Made};
pub use error::TlsError;

/// What a client that speaks ALPN may ask for on a plain TLS listener: MQTT's registered name.
const ALPN_MQTT: &[u8] = b"mqtt";
/// What it may ask for where a WebSocket begins.
const ALPN_HTTP: &[u8] = b"http/1.1";

/// What a listener's TLS is made of: `files`, for `transport`; `clients` checks the certificates of
/// clients, where they are to show some. A client that sends no ALPN is
/// served; one whose ALPN names something else is refused in the handshake (RFC 7301).
///
/// # Errors
/// [`TlsError`] names the file and how to mend it.
pub fn server_config(
    files: &CertificateFiles,
    transport: Transport,
    clients: Option<Arc<ClientVerifier>>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates(&files.certificate)?;
    let key = private_key(&files.private_key)?;
    let wrong = |source| TlsError::unusable(files, source);
    let shows_certificates = clients.is_some();
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(wrong)?;
    let builder = match clients {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(wrong)?;
    if shows_certificates {
        // A resumed session is not asked for its certificate again.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    } else {
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(wrong)?;
    }
    config.alpn_protocols = vec![if transport.is_websocket() {
        ALPN_HTTP.to_vec()
    } else {
        ALPN_MQTT.to_vec()
    }];
    Ok(Arc::new(config))
}

/// What this machine is called; `None` where that is no UTF-8.
pub fn hostname() -> Option<String> {
    gethostname::gethostname().into_string().ok()
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// The certificates of a PEM file, in its order; at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = |source| TlsError::pem(path, source, "certificate");
    let chain = CertificateDer::pem_file_iter(path)
        .map_err(pem)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(pem)?;
    if chain.is_empty() {
        return Err(pem(pem::Error::NoItemsFound));
    }
    Ok(chain)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|source| TlsError::pem(path, source, "private key"))
}

#[cfg(test)]
mod tests;
