//! The key that signs checkpoints: an Ed25519 key in `<data_dir>/audit.key`, for its owner alone, or
//! in the environment. Out of the database's reach, for it vouches for what is there.

use std::fmt;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

/// Signs. Brokers that share a database share the key.
#[derive(Clone)]
pub struct AuditKey {
    pair: Arc<Ed25519KeyPair>,
    seed: [u8; 32],
}

/// Who signed. Written as 43 characters of base64url.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum AuditKeyError {
    /// Text that is no key.
    #[error("{place} is not an audit key: it takes 32 bytes as 43 characters of base64url")]
    Text {
        /// The file or variable.
        place: String,
    },
    /// The file could not be read or made.
    #[error(
        "cannot use the audit key {path}: {source}; make its folder readable and writable for the user that runs cofferdam, or set COFFERDAM_AUDIT_KEY"
    )]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The system gave no randomness.
    #[error("the system gives no random bytes: {0}")]
    Random(getrandom::Error),
}

impl AuditKey {
    /// The environment variable that comes before the file.
    pub const VARIABLE: &'static str = "COFFERDAM_AUDIT_KEY";
    /// The file's name in the data directory.
    pub const FILE: &'static str = "audit.key";

    /// The key of `variable` where it is set, else of the file in `data_dir`.
    ///
    /// # Errors
    /// [`AuditKeyError`]. Without either, the error is of a file that is not found.
    pub fn read(data_dir: &Path, variable: Option<&str>) -> Result<Self, AuditKeyError> {
        if let Some(text) = variable {
            return Self::parse(text, Self::VARIABLE);
        }
        let path = data_dir.join(Self::FILE);
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text, &path.display().to_string()),
            Err(source) => Err(AuditKeyError::File { path, source }),
        }
    }

    /// The same, and a new key in the file where there is none. The data directory is its caller's
    /// alone.
    ///
    /// # Errors
    /// [`AuditKeyError`].
    pub fn load(data_dir: &Path, variable: Option<&str>) -> Result<Self, AuditKeyError> {
        match Self::read(data_dir, variable) {
            Err(AuditKeyError::File { path, source }) if source.kind() == ErrorKind::NotFound => {
                let made = Self::random()?;
                let written = made.write(data_dir, &path);
                written.map_err(|source| AuditKeyError::File { path, source })?;
                Ok(made)
            }
            other => other,
        }
    }

    /// A new key.
    ///
    /// # Errors
    /// [`AuditKeyError::Random`].
    pub fn random() -> Result<Self, AuditKeyError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(AuditKeyError::Random)?;
        Self::new(seed).ok_or_else(|| AuditKeyError::Text {
            place: "a new seed".to_owned(),
        })
    }

    fn new(seed: [u8; 32]) -> Option<Self> {
        let pair = Arc::new(Ed25519KeyPair::from_seed_unchecked(&seed).ok()?);
        Some(Self { pair, seed })
    }

    fn parse(text: &str, place: &str) -> Result<Self, AuditKeyError> {
        BASE64_URL_SAFE_NO_PAD
            .decode(text.trim())
            .ok()
            .and_then(|bytes| Self::new(bytes.try_into().ok()?))
            .ok_or_else(|| AuditKeyError::Text {
                place: place.to_owned(),
            })
    }

    fn write(&self, data_dir: &Path, path: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(data_dir)?;
        let draft = data_dir.join(format!(".{}.draft", Self::FILE));
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&draft)?;
        writeln!(file, "{}", BASE64_URL_SAFE_NO_PAD.encode(self.seed))?;
        file.sync_all()?;
        std::fs::rename(&draft, path)
    }

    /// What others check signatures with.
    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.pair.public_key().as_ref());
        PublicKey(bytes)
    }

    /// A key for another purpose, which `context` names.
    pub fn derive(&self, context: &str) -> [u8; 32] {
        blake3::derive_key(context, &self.seed)
    }

    pub(super) fn sign(&self, message: &[u8]) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.pair.sign(message).as_ref())
    }
}

impl fmt::Debug for AuditKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditKey")
            .field("public", &self.public())
            .finish_non_exhaustive()
    }
}

impl PublicKey {
    /// From its text.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        bytes.try_into().ok().map(Self)
    }

    pub(super) fn has_signed(&self, message: &[u8], signature: &str) -> bool {
        let Ok(signature) = BASE64_URL_SAFE_NO_PAD.decode(signature) else {
            return false;
        };
        let key = UnparsedPublicKey::new(&ED25519, self.0);
        key.verify(message, &signature).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64_URL_SAFE_NO_PAD.encode(self.0))
    }
}
