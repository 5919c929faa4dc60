//! What can be wrong with a token or a certificate, for the record: the judge says which, and
//! clients are told none of it.

/// Why a token lets nobody in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenFault {
    /// Not a signed token, or one that asks for what is not understood here (`crit`).
    Malformed,
    /// Signed by an algorithm that is not taken: `none`, a shared secret, another than its key is
    /// for.
    Algorithm,
    /// Signed with a key that is not known.
    UnknownKey,
    /// The signature is not its key's.
    Signature,
    /// Of another issuer, or of none.
    Issuer,
    /// For somebody else.
    Audience,
    /// Over.
    Expired,
    /// Not valid yet.
    NotYet,
    /// Its claims make nobody: one is missing, or names a role that its issuer may not give.
    Claims,
    /// The username that came with it is another's.
    Username,
}

/// Why a client's certificate lets nobody in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CertificateFault {
    /// There is none, and its listener wants one.
    Missing,
    /// Not a certificate, not for clients, or the client has not its key.
    Bad,
    /// Of none of the listener's authorities.
    UnknownAuthority,
    /// Over, or not valid yet.
    Expired,
    /// Its authority has taken it back, or says nothing current about it.
    Revoked,
    /// It is good and its names make nobody.
    Names,
    /// The username that came with it is another's.
    Username,
}

impl TokenFault {
    /// The name on record and in metrics: it never changes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "token_malformed",
            Self::Algorithm => "token_algorithm",
            Self::UnknownKey => "token_unknown_key",
            Self::Signature => "token_signature",
            Self::Issuer => "token_issuer",
            Self::Audience => "token_audience",
            Self::Expired => "token_expired",
            Self::NotYet => "token_not_yet_valid",
            Self::Claims => "token_claims",
            Self::Username => "token_username",
        }
    }
}

impl CertificateFault {
    /// The name on record and in metrics: it never changes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "certificate_missing",
            Self::Bad => "certificate_bad",
            Self::UnknownAuthority => "certificate_unknown_ca",
            Self::Expired => "certificate_expired",
            Self::Revoked => "certificate_revoked",
            Self::Names => "certificate_names",
            Self::Username => "certificate_username",
        }
    }
}
