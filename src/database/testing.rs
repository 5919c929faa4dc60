//! Databases for tests: a fresh one for each test, on SQLite always and on PostgreSQL where
//! `COFFERDAM_TEST_POSTGRES` names a server (`make test` starts one and sets it).

use std::ops::Deref;
use std::path::Path;
use std::time::Duration;

use sqlx::migrate::MigrateDatabase as _;

use super::{Database, Settings};

/// Runs each test on both databases, as `<name>::on_sqlite` and `<name>::on_postgres`.
macro_rules! each_database {
    ($($(#[$attribute:meta])* async fn $name:ident($database:ident) $body:block)*) => {$(
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            $(#[$attribute])*
            async fn claim($database: $crate::database::testing::TestDatabase) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() {
                claim($crate::database::testing::TestDatabase::sqlite().await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = "needs PostgreSQL: make test"]
            async fn on_postgres() {
                claim($crate::database::testing::TestDatabase::postgres().await).await;
            }
        }
    )*};
}
pub(crate) use each_database;

/// An empty database with the current schema, gone when dropped.
pub(crate) struct TestDatabase {
    database: Database,
    url: String,
    folder: tempfile::TempDir,
    postgres: bool,
}

/// Short waits: a test that takes the database away should not take long.
pub(crate) fn settings() -> Settings {
    Settings {
        max_connections: 4,
        acquire_timeout: Duration::from_secs(2),
        busy_timeout: Duration::from_millis(500),
    }
}

impl TestDatabase {
    pub(crate) async fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let url = format!("sqlite://{}", folder.path().join("test.db").display());
        Self::open(url, folder, false).await
    }

    pub(crate) async fn postgres() -> Self {
        let server = std::env::var("COFFERDAM_TEST_POSTGRES").expect(
            "COFFERDAM_TEST_POSTGRES is not set: `make test` starts a PostgreSQL and sets it",
        );
        sqlx::any::install_default_drivers();
        let name = format!(
            "cofferdam_test_{:016x}",
            getrandom::u64().expect("randomness")
        );
        let (base, options) = server.split_once('?').unwrap_or((&server, ""));
        let (base, _) = base
            .rsplit_once('/')
            .expect("a URL that ends in /<database>");
        let url = format!("{base}/{name}?{options}");
        sqlx::Any::create_database(&url)
            .await
            .expect("a new database");
        Self::open(url, tempfile::tempdir().expect("a temporary folder"), true).await
    }

    async fn open(url: String, folder: tempfile::TempDir, postgres: bool) -> Self {
        let database = Database::open(&url, &settings()).await.expect("a database");
        Self {
            database,
            url,
            folder,
            postgres,
        }
    }

    /// A folder of the test's own, for keys and files.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The URL it was opened with.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

impl Deref for TestDatabase {
    type Target = Database;

    fn deref(&self) -> &Database {
        &self.database
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        if self.postgres {
            let url = self.url.clone();
            // A thread of its own: the test's runtime is not to be blocked from within.
            let _ = std::thread::spawn(move || {
                if let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                {
                    let _ = runtime.block_on(sqlx::Any::force_drop_database(&url));
                }
            })
            .join();
        }
    }
}
