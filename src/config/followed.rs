//! Files that the configuration names and that take effect again when they change: the public keys
//! of an issuer of tokens, the authorities of client certificates and what they have revoked.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;

/// The longest file that is read, in bytes: a revocation list of some hundred thousand certificates.
pub const FILE_MAX: u64 = 16 << 20;

/// Some files, and what was last read of them.
#[derive(Debug)]
pub struct Followed {
    paths: Vec<PathBuf>,
    /// Of the last contents that were handed out.
    seen: Option<blake3::Hash>,
}

/// A file that could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{path} cannot be read: {source}")]
pub struct FollowError {
    /// Which.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

impl Followed {
    /// These files, of which nothing was read yet.
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self { paths, seen: None }
    }

    /// What is in them, by path, where that is not what it was the last time. Blocks. The contents
    /// decide, and not their times: a copy may keep those, and a file that is swapped by a symbolic
    /// link has another's.
    ///
    /// # Errors
    /// [`FollowError`]; the next call looks again.
    pub fn changed(&mut self) -> Result<Option<Vec<(PathBuf, Vec<u8>)>>, FollowError> {
        let mut contents = Vec::with_capacity(self.paths.len());
        let mut hasher = blake3::Hasher::new();
        for path in &self.paths {
            let bytes = read(path).map_err(|source| FollowError {
                path: path.clone(),
                source,
            })?;
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(&bytes);
            contents.push((path.clone(), bytes));
        }
        let now = hasher.finalize();
        if self.seen == Some(now) {
            return Ok(None);
        }
        self.seen = Some(now);
        Ok(Some(contents))
    }

    /// The contents were of no use: the next call hands them out again.
    pub fn forget(&mut self) {
        self.seen = None;
    }
}

fn read(path: &PathBuf) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(FILE_MAX + 1)
        .read_to_end(&mut bytes)?;
    match bytes.len() as u64 > FILE_MAX {
        true => Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it is longer than {FILE_MAX} bytes"),
        )),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_handed_out_once_and_again_when_they_change() {
        let dir = tempfile::tempdir().expect("a directory");
        let [a, b] = ["a", "b"].map(|name| dir.path().join(name));
        std::fs::write(&a, "1").expect("written");
        let mut followed = Followed::new(vec![a.clone(), b.clone()]);
        let error = followed.changed().expect_err("b is missing");
        assert_eq!(error.path, b);
        std::fs::write(&b, "2").expect("written");
        let found = followed.changed().expect("both are there");
        assert_eq!(
            found,
            Some(vec![(a.clone(), b"1".to_vec()), (b.clone(), b"2".to_vec())])
        );
        assert_eq!(followed.changed().expect("there"), None);
        // The same bytes, parted otherwise.
        std::fs::write(&a, "12").expect("written");
        std::fs::write(&b, "").expect("written");
        assert!(followed.changed().expect("there").is_some());
    }
}
