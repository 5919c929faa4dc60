//! The development CA and the server certificate that it signs, under `<data_dir>/tls/`.
//!
//! The CA is made once and kept, so that clients need its certificate once. The server certificate
//! is made again when a client that trusts the CA would soon refuse it: when it nears its end, when
//! the machine's name changed, when a file is missing or they do not belong together. That question
//! is put to the same verifier that such a client would use.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::{ServerName, UnixTime};
use time::OffsetDateTime;

use super::{TlsError, certificates, private_key, provider};
use crate::config::CertificateFiles;

const DAY: Duration = Duration::from_secs(24 * 3600);
const CA_LIFE: Duration = Duration::from_secs(3650 * 24 * 3600);
/// What Apple's and other platforms take at most from any CA is 398 days.
const SERVER_LIFE: Duration = Duration::from_secs(397 * 24 * 3600);
/// A server certificate with less than this left is made again.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 24 * 3600);
/// The CA is known by its key: the same name and key give the same issuer.
const CA_NAME: &str = "Cofferdam development CA";

/// The files of the development certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Development {
    /// The CA's certificate: what clients trust.
    pub ca: PathBuf,
    /// The server's certificate and key: what listeners use.
    pub files: CertificateFiles,
    /// What was made on this start.
    pub made: Made,
}

/// What a start had to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// Nothing: all was there and good.
    Nothing,
    /// The server certificate, signed by the CA that was there.
    Server,
    /// A CA and a server certificate.
    Authority,
}

/// Where the files are.
struct Place {
    ca: PathBuf,
    ca_key: PathBuf,
    server: CertificateFiles,
}

impl Development {
    /// Finds the development certificate under `<data_dir>/tls/`, and makes what is missing or due
    /// at `now`. `hostname` is what the machine is called, where that is known.
    ///
    /// # Errors
    /// [`TlsError`] names the file and how to mend it.
    pub fn prepare(
        data_dir: &Path,
        hostname: Option<&str>,
        now: SystemTime,
    ) -> Result<Self, TlsError> {
        let place = Place::under(&data_dir.join("tls"))?;
        let names = names(hostname);
        let made = if place.is_good(&names, now) {
            Made::Nothing
        } else {
            place.make(&names, now)?
        };
        Ok(Self {
            ca: place.ca,
            files: place.server,
            made,
        })
    }
}

impl Place {
    fn under(dir: &Path) -> Result<Self, TlsError> {
        fs::create_dir_all(dir).map_err(|source| TlsError::Write {
            path: dir.to_owned(),
            source,
        })?;
        Ok(Self {
            ca: dir.join("ca.pem"),
            ca_key: dir.join("ca.key"),
            server: CertificateFiles {
                certificate: dir.join("server.pem"),
                private_key: dir.join("server.key"),
            },
        })
    }

    /// Whether a client that trusts the CA would accept the server, under each of its names, until
    /// well after `now`.
    fn is_good(&self, names: &[ServerName<'static>], now: SystemTime) -> bool {
        self.judge(names, now).is_some()
    }

    fn judge(&self, names: &[ServerName<'static>], now: SystemTime) -> Option<()> {
        let mut roots = RootCertStore::empty();
        roots
            .add(certificates(&self.ca).ok()?.into_iter().next()?)
            .ok()?;
        let roots = Arc::new(roots);
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider())
            .build()
            .ok()?;
        let chain = certificates(&self.server.certificate).ok()?;
        let (own, others) = chain.split_first()?;
        let since_epoch = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).ok();
        for at in [since_epoch(now)?, since_epoch(now)? + RENEW_BEFORE] {
            let at = UnixTime::since_unix_epoch(at);
            for name in names {
                verifier
                    .verify_server_cert(own, others, name, &[], at)
                    .ok()?;
            }
        }
        let key = private_key(&self.server.private_key).ok()?;
        rustls::sign::CertifiedKey::from_der(chain, key, &provider())
            .ok()
            .map(|_| ())
    }

    fn make(&self, names: &[ServerName<'static>], now: SystemTime) -> Result<Made, TlsError> {
        let (authority, made) = match (self.ca.exists(), self.ca_key.exists()) {
            (true, false) => {
                return Err(TlsError::CaKeyMissing {
                    ca: self.ca.clone(),
                    key: self.ca_key.clone(),
                });
            }
            (_, true) => (self.known_authority()?, Made::Server),
            (false, false) => (KeyPair::generate()?, Made::Authority),
        };
        // The key is written first: a start that was cut short here goes on with it next time.
        if made == Made::Authority {
            write_secret(&self.ca_key, &authority.serialize_pem())?;
        }
        if !self.ca.exists() {
            let certificate = authority_params(now).self_signed(&authority)?;
            write_public(&self.ca, &certificate.pem())?;
        }
        let issuer = Issuer::new(authority_params(now), authority);
        let key = KeyPair::generate()?;
        let certificate = server_params(names, now).signed_by(&key, &issuer)?;
        write_secret(&self.server.private_key, &key.serialize_pem())?;
        write_public(&self.server.certificate, &certificate.pem())?;
        Ok(made)
    }

    fn known_authority(&self) -> Result<KeyPair, TlsError> {
        let pem = fs::read_to_string(&self.ca_key).map_err(|source| TlsError::Read {
            path: self.ca_key.clone(),
            source,
        })?;
        KeyPair::from_pem(&pem).map_err(|source| TlsError::CaKey {
            key: self.ca_key.clone(),
            source,
        })
    }
}

/// What clients call this machine.
fn names(hostname: Option<&str>) -> Vec<ServerName<'static>> {
    let named = [Some("localhost"), hostname]
        .into_iter()
        .flatten()
        .filter_map(|name| ServerName::try_from(name.to_ascii_lowercase()).ok());
    let addresses = [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ];
    let mut names: Vec<_> = named.chain(addresses.map(ServerName::from)).collect();
    names.dedup();
    names
}

fn authority_params(now: SystemTime) -> CertificateParams {
    let mut params = params(CA_NAME, now, CA_LIFE);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn server_params(names: &[ServerName<'static>], now: SystemTime) -> CertificateParams {
    let mut params = params("Cofferdam development server", now, SERVER_LIFE);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.subject_alt_names = names
        .iter()
        .filter_map(|name| match name {
            ServerName::DnsName(name) => Some(SanType::DnsName(name.as_ref().try_into().ok()?)),
            ServerName::IpAddress(address) => Some(SanType::IpAddress((*address).into())),
            _ => None,
        })
        .collect();
    params
}

fn params(name: &str, now: SystemTime, life: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    // A clock that is a little behind ours still finds it valid.
    params.not_before = OffsetDateTime::from(now - DAY);
    params.not_after = OffsetDateTime::from(now + life);
    params
}

fn write_secret(path: &Path, text: &str) -> Result<(), TlsError> {
    write(path, text, 0o600)
}

fn write_public(path: &Path, text: &str) -> Result<(), TlsError> {
    write(path, text, 0o644)
}

/// Whole or not at all: a start that is cut short leaves no half of a file.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), TlsError> {
    let beside = path.with_extension("new");
    let written = || -> io::Result<()> {
        if let Err(error) = fs::remove_file(&beside)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
        let mut file = options.open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    #[cfg(not(unix))]
    let _ = mode;
    written().map_err(|source| TlsError::Write {
        path: path.to_owned(),
        source,
    })
}
