//! What the broker signs: the head of a chain at a time, and the cut that a retention made.

use super::{AuditKey, Hash, Head, PublicKey};
use crate::time::Time;

const CHECKPOINT: &str = "cofferdam audit checkpoint 1";
const TRIM: &str = "cofferdam audit trim 1";

/// "At this time this chain ended with this record", signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Whose.
    pub chain: String,
    /// The last record then.
    pub head: Head,
    /// When.
    pub at: Time,
    /// Whose signature, in base64url.
    pub signer: PublicKey,
    /// In base64url.
    pub signature: String,
}

/// "Up to this record this chain was removed, because it was older than is to be kept", signed. Stands
/// in the detail of the chain's own `retention` record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trim {
    /// Whose.
    pub chain: String,
    /// The last record that was removed.
    pub upto: Head,
    /// Whose signature.
    pub signer: PublicKey,
    /// In base64url.
    pub signature: String,
}

impl Checkpoint {
    /// Signs a head.
    pub fn sign(key: &AuditKey, chain: &str, head: Head, at: Time) -> Self {
        Self {
            chain: chain.to_owned(),
            head,
            at,
            signer: key.public(),
            signature: key.sign(message(CHECKPOINT, chain, head, Some(at)).as_bytes()),
        }
    }

    /// Whether the signature is its signer's.
    pub fn is_signed(&self) -> bool {
        let message = message(CHECKPOINT, &self.chain, self.head, Some(self.at));
        self.signer.has_signed(message.as_bytes(), &self.signature)
    }

    /// For files.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "chain": self.chain,
            "number": self.head.number,
            "hash": self.head.hash.to_string(),
            "time_us": self.at.as_micros(),
            "signer": self.signer.to_string(),
            "signature": self.signature,
        })
    }

    /// What [`to_json`](Self::to_json) gave.
    pub fn from_json(json: &serde_json::Value) -> Option<Self> {
        let text = |key: &str| json.get(key)?.as_str();
        let count = |key: &str| json.get(key)?.as_u64();
        Some(Self {
            chain: text("chain")?.to_owned(),
            head: Head {
                number: count("number")?,
                hash: Hash::parse(text("hash")?)?,
            },
            at: Time::from_micros(count("time_us")?),
            signer: PublicKey::parse(text("signer")?)?,
            signature: text("signature")?.to_owned(),
        })
    }
}

impl Trim {
    /// The event of the record that it stands in.
    pub const EVENT: &'static str = "retention";

    /// Signs a cut.
    pub fn sign(key: &AuditKey, chain: &str, upto: Head) -> Self {
        Self {
            chain: chain.to_owned(),
            upto,
            signer: key.public(),
            signature: key.sign(message(TRIM, chain, upto, None).as_bytes()),
        }
    }

    /// Whether the signature is its signer's.
    pub fn is_signed(&self) -> bool {
        let message = message(TRIM, &self.chain, self.upto, None);
        self.signer.has_signed(message.as_bytes(), &self.signature)
    }

    /// The detail of its record; `removed` is how many records went.
    pub fn to_detail(&self, removed: u64) -> serde_json::Value {
        serde_json::json!({
            "removed": removed,
            "upto": self.upto.number,
            "hash": self.upto.hash.to_string(),
            "signer": self.signer.to_string(),
            "signature": self.signature,
        })
    }

    /// From the detail of a record of `chain`.
    pub fn from_detail(
        chain: &str,
        detail: &serde_json::Map<String, serde_json::Value>,
    ) -> Option<Self> {
        let text = |key: &str| detail.get(key)?.as_str();
        Some(Self {
            chain: chain.to_owned(),
            upto: Head {
                number: detail.get("upto")?.as_u64()?,
                hash: Hash::parse(text("hash")?)?,
            },
            signer: PublicKey::parse(text("signer")?)?,
            signature: text("signature")?.to_owned(),
        })
    }
}

/// One line a field; none of them holds a line end but a chain's name, which comes last.
fn message(what: &str, chain: &str, head: Head, at: Option<Time>) -> String {
    let Head { number, hash } = head;
    let at = at.map_or_else(|| "-".to_owned(), |at| at.as_micros().to_string());
    format!("{what}\n{number}\n{hash}\n{at}\n{chain}")
}
