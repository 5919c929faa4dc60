//! A PostgreSQL of a test's own, which can be killed and comes back.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A server, stopped when it is dropped.
pub struct Postgres {
    folder: PathBuf,
    url: String,
    _parent: tempfile::TempDir,
}

impl Postgres {
    pub fn start() -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let parent = tempfile::tempdir().expect("a temporary folder");
        // The server may run as another user, who has to reach its folder.
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(parent.path(), open).expect("permissions");
        let folder = parent.path().join("postgres");
        let url = run("start", &folder);
        Self {
            folder,
            url,
            _parent: parent,
        }
    }

    /// Where it listens, and as whom one logs in.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Stops it at once, as a power cut would.
    pub fn crash(&self) {
        run("crash", &self.folder);
    }

    /// Starts it again.
    pub fn again(&self) {
        run("again", &self.folder);
    }

    /// From now on it takes connections over TLS only, and shows this.
    pub fn demand_tls(&self, certificate: &str, key: &str) {
        for (name, text) in [("tls.crt", certificate), ("tls.key", key)] {
            std::fs::write(self.folder.join(name), text).expect("a file");
        }
        run("tls", &self.folder);
    }
}

fn run(what: &str, folder: &Path) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/postgres-for-tests.sh");
    let output = Command::new(script).arg(what).arg(folder).output();
    let output = output.expect("the script runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {error}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

impl Drop for Postgres {
    fn drop(&mut self) {
        run("stop", &self.folder);
    }
}
