//! Logins by the certificate that the client showed in its TLS handshake.
//!
//! TLS has checked it: its chain, its times, that it is not revoked, that the client has its key.
//! Here its names become a principal ([`vouched`](super::vouched)). A connection with a certificate
//! is whom that names and nobody else, whatever username or password comes with it.

use std::sync::Arc;

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use super::vouched::Vouched;
use crate::broker::CertificateFault;
use crate::config::Mapping;
use crate::time::{Span, Time};

/// Says whom certificates name.
#[derive(Debug)]
pub struct Certificates {
    mapping: Mapping,
}

impl Certificates {
    /// By the configuration.
    pub fn new(mapping: Mapping) -> Arc<Self> {
        Arc::new(Self { mapping })
    }

    /// Whom a certificate names, where a login under this username may be by it.
    pub(super) fn judge(
        &self,
        der: &[u8],
        username: Option<&str>,
    ) -> Result<Vouched<'_>, CertificateFault> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|_| CertificateFault::Bad)?;
        let said = |name: &str| single(&certificate, name);
        let mapping = &self.mapping;
        let own = mapping.username.expand(said).map_err(|error| {
            tracing::debug!(%error, "a certificate's names make nobody");
            CertificateFault::Names
        })?;
        if username.is_some_and(|username| !username.is_empty() && username != own) {
            return Err(CertificateFault::Username);
        }
        let mut bindings = Vec::new();
        for (name, template) in &mapping.bindings {
            if let Ok(value) = template.expand(said) {
                bindings.push((Arc::clone(name), Arc::from(value)));
            }
        }
        let ends = certificate.validity().not_after.timestamp();
        Ok(Vouched {
            username: own,
            bindings,
            patterns: None,
            mapping,
            expires: Time::EPOCH + Span::from_secs(u64::try_from(ends).unwrap_or(0)),
        })
    }
}

/// The names that templates can ask for, besides those of the subject's attributes.
const DNS: &str = "dns";
const URI: &str = "uri";
const EMAIL: &str = "email";

/// What a certificate says under a name, where it says one thing: of two common names or two DNS
/// names, which of them is the client is anybody's guess.
fn single(certificate: &X509Certificate<'_>, name: &str) -> Option<String> {
    let found = match name {
        DNS | URI | EMAIL => alternatives(certificate, name),
        _ => attributes(certificate.subject(), name),
    };
    match <[String; 1]>::try_from(found) {
        Ok([value]) => Some(value),
        Err(_) => None,
    }
}

/// Subject alternative names of one kind.
fn alternatives(certificate: &X509Certificate<'_>, kind: &str) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let names = extension.value.general_names.iter();
    let of_kind = names.filter_map(|name| match (kind, name) {
        (DNS, GeneralName::DNSName(name))
        | (URI, GeneralName::URI(name))
        | (EMAIL, GeneralName::RFC822Name(name)) => Some((*name).to_owned()),
        _ => None,
    });
    of_kind.collect()
}

/// Attributes of the subject, by the short names that they have everywhere.
fn attributes(subject: &X509Name<'_>, name: &str) -> Vec<String> {
    let text = |attribute: &AttributeTypeAndValue<'_>| attribute.as_str().ok().map(str::to_owned);
    match name {
        "cn" => subject.iter_common_name().filter_map(text).collect(),
        "o" => subject.iter_organization().filter_map(text).collect(),
        "ou" => subject
            .iter_organizational_unit()
            .filter_map(text)
            .collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
