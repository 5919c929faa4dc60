//! An authority that makes certificates for clients and takes them back.

#![allow(dead_code)] // each test takes what it needs

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SanType, SerialNumber,
};
use time::{Duration, OffsetDateTime};

/// An authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate of a client's, with its key.
pub struct Badge {
    pub certificate: String,
    pub der: Vec<u8>,
    pub key: String,
    pub serial: u64,
}

/// What a certificate is to say.
#[derive(Clone)]
pub struct Wanted {
    pub serial: u64,
    /// Attributes of the subject: `cn`, `o`, `ou`.
    pub subject: Vec<(&'static str, String)>,
    /// Alternative names: `dns`, `uri`, `email`.
    pub names: Vec<(&'static str, String)>,
    /// From when until when it is good, in seconds from now.
    pub good: (i64, i64),
    /// For clients, and not for servers.
    pub for_clients: bool,
}

impl Wanted {
    /// For a day, by its common name.
    pub fn cn(serial: u64, name: &str) -> Self {
        Self {
            serial,
            subject: vec![("cn", name.to_owned())],
            names: Vec::new(),
            good: (-3600, 86_400),
            for_clients: true,
        }
    }
}

fn in_secs(secs: i64) -> OffsetDateTime {
    OffsetDateTime::now_utc() + Duration::seconds(secs)
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Self {
            pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        }
    }

    /// Its own certificate.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Makes a certificate.
    pub fn badge(&self, wanted: &Wanted) -> Badge {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in &wanted.subject {
            let kind = match *kind {
                "cn" => DnType::CommonName,
                "o" => DnType::OrganizationName,
                _ => DnType::OrganizationalUnitName,
            };
            params.distinguished_name.push(kind, value.as_str());
        }
        for (kind, value) in &wanted.names {
            let value = value.as_str().try_into().expect("ASCII");
            params.subject_alt_names.push(match *kind {
                "dns" => SanType::DnsName(value),
                "uri" => SanType::URI(value),
                _ => SanType::Rfc822Name(value),
            });
        }
        params.serial_number = Some(SerialNumber::from(wanted.serial));
        params.not_before = in_secs(wanted.good.0);
        params.not_after = in_secs(wanted.good.1);
        params.extended_key_usages = vec![match wanted.for_clients {
            true => ExtendedKeyUsagePurpose::ClientAuth,
            false => ExtendedKeyUsagePurpose::ServerAuth,
        }];
        let key = KeyPair::generate().expect("a key");
        let made = params.signed_by(&key, &self.issuer).expect("a certificate");
        Badge {
            certificate: made.pem(),
            der: made.der().to_vec(),
            key: key.serialize_pem(),
            serial: wanted.serial,
        }
    }

    /// The list of what it has taken back, good for so many seconds.
    pub fn crl(&self, revoked: &[&Badge], good_for: i64) -> String {
        let revoked = revoked.iter().map(|badge| RevokedCertParams {
            serial_number: SerialNumber::from(badge.serial),
            revocation_time: in_secs(-60),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: in_secs(-3600),
            next_update: in_secs(good_for),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.issuer).expect("a list");
        list.pem().expect("PEM")
    }
}
