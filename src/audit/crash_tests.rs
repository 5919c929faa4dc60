//! The audit and the judge while a real PostgreSQL is killed and comes back.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::tests::{lost, settings, times, verified};
use super::*;
use crate::database::Database;

/// A server of this test's own, stopped when dropped.
struct Server {
    folder: std::path::PathBuf,
    _parent: tempfile::TempDir,
}

impl Server {
    fn start() -> (Self, String) {
        let parent = tempfile::tempdir().expect("a temporary folder");
        #[cfg(unix)]
        {
            // The server may run as another user, who has to reach its folder.
            use std::os::unix::fs::PermissionsExt as _;
            let open = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(parent.path(), open).expect("permissions");
        }
        let server = Self {
            folder: parent.path().join("postgres"),
            _parent: parent,
        };
        let url = server.run("start");
        (server, url)
    }

    fn run(&self, what: &str) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/postgres-for-tests.sh");
        let output = Command::new(script)
            .arg(what)
            .arg(&self.folder)
            .output()
            .expect("the script runs");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{what}: {error}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.run("stop");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: make test"]
async fn a_server_that_is_killed_and_comes_back_has_every_event_once_and_in_order() {
    let (server, url) = Server::start();
    let database = Database::open(&url, &crate::database::testing::settings())
        .await
        .unwrap();
    let small = Settings {
        batch_max: 20,
        ..settings()
    };
    let data = tempfile::tempdir().expect("a folder");
    let key = AuditKey::random().unwrap();
    let (sink, writer) = start(
        vec![super::tests::main_store(&database)],
        Regions::default(),
        data.path(),
        key,
        small,
    )
    .unwrap();
    let feeding = tokio::task::spawn_blocking(move || {
        for at in 0..3_000 {
            sink.record(lost(at));
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    while times(&database).await.len() < 200 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.run("crash");
    assert!(database.ping().await.is_err());
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.run("again");
    feeding.await.unwrap();
    let finished = writer.finish(Duration::from_secs(30)).await;
    assert_eq!(finished, Finished::Whole { written: 3_000 });
    assert_eq!(times(&database).await, (0..3_000).collect::<Vec<_>>());
    assert_eq!(verified(&database).await, Vec::<String>::new());
}
