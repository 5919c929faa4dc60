//! Client certificates: who vouches for them, and what has been taken back.
//!
//! The verifier stays the same for a listener's whole life; what it goes by is swapped when the
//! files change, so that the next handshake goes by the new ones. Connections that stand already
//! are asked about again ([`ClientVerifier::stands`]). Nothing is resumed on such a listener: a
//! session ticket would let a certificate in that has been revoked since.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::pem;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};

use super::provider;
use crate::broker::CertificateFault;
use crate::config::{ClientCertificates, FollowError, Followed};

/// Checks client certificates for one listener. Cheap to share.
pub struct ClientVerifier {
    config: ClientCertificates,
    current: ArcSwap<Current>,
}

/// What it goes by now.
struct Current(Arc<dyn ClientCertVerifier>);

/// Why client certificates cannot be checked.
#[derive(Debug, thiserror::Error)]
pub enum ClientVerifierError {
    /// A file could not be read.
    #[error(transparent)]
    Read(#[from] FollowError),
    /// A file is not PEM.
    #[error("{path} is not PEM: {source}")]
    Pem {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// The authorities' file has no certificate.
    #[error("{path} holds no certificate: it must have blocks `-----BEGIN CERTIFICATE-----`")]
    NoAuthority {
        /// Which.
        path: PathBuf,
    },
    /// The list's file has none.
    #[error("{path} holds no revocation list: it must have blocks `-----BEGIN X509 CRL-----`")]
    NoList {
        /// Which.
        path: PathBuf,
    },
    /// A certificate or list that is none inside.
    #[error("client_ca or client_crl cannot be used: {0}")]
    Unusable(String),
}

impl ClientVerifier {
    /// By the files as they are now; also says where to look for changes.
    ///
    /// # Errors
    /// [`ClientVerifierError`].
    pub fn open(config: ClientCertificates) -> Result<(Arc<Self>, Followed), ClientVerifierError> {
        let paths = [Some(config.ca.clone()), config.crl.clone()];
        let mut files = Followed::new(paths.into_iter().flatten().collect());
        let contents = files.changed()?.unwrap_or_default();
        let current = ArcSwap::from_pointee(current(&config, &contents)?);
        Ok((Arc::new(Self { config, current }), files))
    }

    /// Goes by what is in the files now, where that has changed. Blocks for a moment. What cannot
    /// be used leaves the known in force.
    ///
    /// # Errors
    /// [`ClientVerifierError`].
    pub fn follow(&self, files: &mut Followed) -> Result<bool, ClientVerifierError> {
        let Some(contents) = files.changed()? else {
            return Ok(false);
        };
        let current = current(&self.config, &contents).inspect_err(|_| files.forget())?;
        self.current.store(Arc::new(current));
        Ok(true)
    }

    /// Whether a chain, its client's own certificate first, would be let in now.
    ///
    /// # Errors
    /// [`CertificateFault`], why not.
    pub fn stands(&self, chain: &[CertificateDer<'_>]) -> Result<(), CertificateFault> {
        let Some((own, others)) = chain.split_first() else {
            return Ok(()); // nobody showed one, and nobody had to
        };
        let judged = self.verify_client_cert(own, others, UnixTime::now());
        judged.map(drop).map_err(|error| {
            // Whatever else: it does not stand.
            fault(&error).unwrap_or(CertificateFault::Bad)
        })
    }
}

/// What is wrong with the client's certificate, where that is what ended a handshake.
pub fn fault(error: &Error) -> Option<CertificateFault> {
    use CertificateError as E;
    Some(match error {
        Error::NoCertificatesPresented => CertificateFault::Missing,
        Error::InvalidCertificate(error) => match error {
            E::Expired
            | E::ExpiredContext { .. }
            | E::NotValidYet
            | E::NotValidYetContext { .. } => CertificateFault::Expired,
            E::Revoked
            | E::UnknownRevocationStatus
            | E::ExpiredRevocationList
            | E::ExpiredRevocationListContext { .. } => CertificateFault::Revoked,
            E::UnknownIssuer => CertificateFault::UnknownAuthority,
            _ => CertificateFault::Bad,
        },
        Error::InvalidCertRevocationList(_) => CertificateFault::Bad,
        _ => return None,
    })
}

fn current(
    config: &ClientCertificates,
    contents: &[(PathBuf, Vec<u8>)],
) -> Result<Current, ClientVerifierError> {
    let unusable = |error: &dyn fmt::Display| ClientVerifierError::Unusable(error.to_string());
    let of = |path: &Path| {
        let found = contents.iter().find(|(known, _)| known == path);
        found.map_or(&[][..], |(_, bytes)| bytes)
    };
    let ca = &config.ca;
    let mut roots = RootCertStore::empty();
    for certificate in items::<CertificateDer<'static>>(ca, of(ca))? {
        roots.add(certificate).map_err(|error| unusable(&error))?;
    }
    if roots.is_empty() {
        return Err(ClientVerifierError::NoAuthority { path: ca.clone() });
    }
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    if let Some(crl) = &config.crl {
        let lists = items::<CertificateRevocationListDer<'static>>(crl, of(crl))?;
        if lists.is_empty() {
            return Err(ClientVerifierError::NoList { path: crl.clone() });
        }
        // A list that is out of date says nothing, and what it says nothing of is not let in.
        builder = builder.with_crls(lists).enforce_revocation_expiration();
    }
    if !config.required {
        builder = builder.allow_unauthenticated();
    }
    builder
        .build()
        .map(Current)
        .map_err(|error| unusable(&error))
}

fn items<T: pem::PemObject>(path: &Path, bytes: &[u8]) -> Result<Vec<T>, ClientVerifierError> {
    let items = T::pem_slice_iter(bytes).collect::<Result<_, _>>();
    items.map_err(|source| ClientVerifierError::Pem {
        path: path.to_owned(),
        source,
    })
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.config.required
    }

    /// No hints: they would be those of the start, and a client sends its certificate without.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let current = self.current.load();
        current.0.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let current = self.current.load();
        current.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let current = self.current.load();
        current.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.current.load().0.supported_verify_schemes()
    }
}

impl fmt::Debug for ClientVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientVerifier")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
