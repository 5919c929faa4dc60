//! The key under which machine tokens are hashed.
//!
//! It lies beside the database and not in it (`<data_dir>/token.key`, for its owner alone, or the
//! environment variable [`TokenKey::VARIABLE`]), so that who reads the database alone learns
//! nothing that helps to guess or to test a token. Brokers that share a database share the key.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

/// 32 random bytes. Never printed.
#[derive(Clone)]
pub struct TokenKey {
    key: [u8; 32],
    id: String,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum TokenKeyError {
    /// Text that is no key.
    #[error("{place} is not a token key: it takes 32 bytes as 43 characters of base64url")]
    Text {
        /// The file or variable.
        place: String,
    },
    /// The file could not be read or made.
    #[error(
        "cannot use the token key {path}: {source}; make its folder readable and writable for the user that runs cofferdam, or set COFFERDAM_TOKEN_KEY"
    )]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The system gave no randomness.
    #[error("the system gives no random bytes: {0}")]
    Randomness(getrandom::Error),
}

impl TokenKey {
    /// The environment variable that comes before the file.
    pub const VARIABLE: &'static str = "COFFERDAM_TOKEN_KEY";
    /// The file's name in the data directory.
    pub const FILE: &'static str = "token.key";

    /// The key of [`Self::VARIABLE`] (`variable`, its value, where it is set), else of the file in
    /// `data_dir`, which is made where it is missing. Of several processes that make it at once,
    /// one succeeds and all return its key.
    ///
    /// # Errors
    /// [`TokenKeyError`].
    pub fn load(data_dir: &Path, variable: Option<&str>) -> Result<Self, TokenKeyError> {
        let (path, source) = match Self::read(data_dir, variable) {
            Err(TokenKeyError::File { path, source }) => (path, source),
            other => return other,
        };
        let failed = |source| TokenKeyError::File {
            path: path.clone(),
            source,
        };
        if source.kind() != ErrorKind::NotFound {
            return Err(failed(source));
        }
        let made = Self::random()?;
        match made.write(data_dir, &path) {
            Ok(()) => Ok(made),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let text = std::fs::read_to_string(&path).map_err(failed)?;
                Self::parse(&text, &path.display().to_string())
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// The same, and none is made.
    ///
    /// # Errors
    /// [`TokenKeyError`]. Without either, the error is of a file that is not found.
    pub fn read(data_dir: &Path, variable: Option<&str>) -> Result<Self, TokenKeyError> {
        if let Some(text) = variable {
            return Self::parse(text, Self::VARIABLE);
        }
        let path = data_dir.join(Self::FILE);
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text, &path.display().to_string()),
            Err(source) => Err(TokenKeyError::File { path, source }),
        }
    }

    /// A new key.
    ///
    /// # Errors
    /// [`TokenKeyError::Randomness`].
    pub fn random() -> Result<Self, TokenKeyError> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(TokenKeyError::Randomness)?;
        Ok(Self::new(key))
    }

    fn new(key: [u8; 32]) -> Self {
        let id = blake3::derive_key("cofferdam 2026 token key id", &key);
        Self {
            key,
            id: blake3::Hash::from_bytes(id).to_hex()[..8].to_owned(),
        }
    }

    fn parse(text: &str, place: &str) -> Result<Self, TokenKeyError> {
        BASE64_URL_SAFE_NO_PAD
            .decode(text.trim())
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self::new)
            .ok_or_else(|| TokenKeyError::Text {
                place: place.to_owned(),
            })
    }

    /// Linked into place when it is whole and on disk: nobody ever reads half a key.
    fn write(&self, data_dir: &Path, path: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(data_dir)?;
        let draft = data_dir.join(format!(
            ".{}.{:016x}",
            Self::FILE,
            getrandom::u64().unwrap_or(u64::from(std::process::id()))
        ));
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let written = options.open(&draft).and_then(|mut file| {
            writeln!(file, "{}", BASE64_URL_SAFE_NO_PAD.encode(self.key))?;
            file.sync_all()?;
            std::fs::hard_link(&draft, path)
        });
        let _ = std::fs::remove_file(&draft);
        written
    }

    /// Which key it is, in eight characters that give nothing away; stored beside each hash.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// A key for another purpose, which `context` names.
    pub(super) fn derive(&self, context: &str) -> [u8; 32] {
        blake3::derive_key(context, &self.key)
    }

    /// The keyed hash of a token.
    pub(super) fn hash(&self, token: &[u8]) -> [u8; 32] {
        *blake3::keyed_hash(&self.key, token).as_bytes()
    }
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let made: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| TokenKey::load(&data, None).unwrap()))
                .collect();
            threads
                .into_iter()
                .map(|it| it.join().unwrap().key)
                .collect()
        });
        let kept = TokenKey::load(&data, None).unwrap();
        assert_eq!(made, vec![kept.key; 8]);
        let names: Vec<_> = std::fs::read_dir(&data)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["token.key"]);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(data.join("token.key"))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn the_variable_comes_first_and_must_be_a_key() {
        let folder = tempfile::tempdir().unwrap();
        let text = BASE64_URL_SAFE_NO_PAD.encode([7; 32]);
        let key = TokenKey::load(folder.path(), Some(&text)).unwrap();
        assert_eq!(key.key, [7; 32]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);

        let error = TokenKey::load(folder.path(), Some("short")).unwrap_err();
        assert!(
            error.to_string().starts_with("COFFERDAM_TOKEN_KEY is not"),
            "{error}"
        );
        std::fs::write(folder.path().join("token.key"), "").unwrap();
        let error = TokenKey::load(folder.path(), None).unwrap_err();
        assert!(
            error.to_string().contains("token.key is not a token key"),
            "{error}"
        );
    }

    #[test]
    fn a_key_is_not_printed() {
        let key = TokenKey::new([7; 32]);
        assert_eq!(
            format!("{key:?}"),
            format!("TokenKey {{ id: {:?}, .. }}", key.id)
        );
    }
}
