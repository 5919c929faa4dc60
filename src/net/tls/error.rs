//! What can be wrong with certificates: which file, what, and how to mend it.

use std::io;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem;

use crate::config::CertificateFiles;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file could not be read.
    #[error("{path} cannot be read: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file could not be written.
    #[error("{path} cannot be written: {source}")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file holds no PEM of the kind that is needed.
    #[error(
        "{path} holds no {kind} in PEM form: it must have a block `-----BEGIN {block}-----` ({source})"
    )]
    Pem {
        /// Which.
        path: PathBuf,
        /// What was sought: `certificate` or `private key`.
        kind: &'static str,
        /// How its block begins.
        block: &'static str,
        /// What the parser said.
        source: pem::Error,
    },
    /// The key is another certificate's.
    #[error(
        "{private_key} is not the key of the first certificate in {certificate}: put the server's \
         own certificate first and name its key"
    )]
    Mismatch {
        /// The certificate chain.
        certificate: PathBuf,
        /// The key.
        private_key: PathBuf,
    },
    /// The pair is readable but cannot serve.
    #[error("{certificate} with {private_key} cannot serve TLS: {source}")]
    Unusable {
        /// The certificate chain.
        certificate: PathBuf,
        /// The key.
        private_key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// The CA's key is gone, and the server certificate is due.
    #[error(
        "{ca} is there but its key {key} is not, and the server certificate is missing, stale or \
         for other names: restore the key, or remove {ca} to have a new CA made (clients must then \
         be given the new one)"
    )]
    CaKeyMissing {
        /// The CA's certificate.
        ca: PathBuf,
        /// Where its key should be.
        key: PathBuf,
    },
    /// The CA's key is there and is none.
    #[error(
        "{key} is no usable key ({source}): restore it, or remove the CA's two files to have a new one made"
    )]
    CaKey {
        /// Which file.
        key: PathBuf,
        /// Why.
        source: rcgen::Error,
    },
    /// Making a certificate failed.
    #[error("a development certificate could not be made: {0}")]
    Make(#[from] rcgen::Error),
}

impl TlsError {
    pub(super) fn pem(path: &Path, source: pem::Error, kind: &'static str) -> Self {
        let path = path.to_owned();
        match source {
            pem::Error::Io(source) => Self::Read { path, source },
            source => Self::Pem {
                path,
                kind,
                block: if kind == "certificate" {
                    "CERTIFICATE"
                } else {
                    "PRIVATE KEY"
                },
                source,
            },
        }
    }

    pub(super) fn unusable(files: &CertificateFiles, source: rustls::Error) -> Self {
        let CertificateFiles {
            certificate,
            private_key,
        } = files.clone();
        match source {
            rustls::Error::InconsistentKeys(_) => Self::Mismatch {
                certificate,
                private_key,
            },
            source => Self::Unusable {
                certificate,
                private_key,
                source,
            },
        }
    }
}
