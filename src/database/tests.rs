//! Opening a database.

use super::testing::{TestDatabase, each_database, settings};
use super::*;

async fn open(url: &str) -> Result<Database, DatabaseError> {
    Database::open(url, &settings()).await
}

each_database! {
    async fn many_that_open_a_database_at_once_migrate_it_once(database) {
        let url = if database.backend() == Backend::Sqlite {
            format!("sqlite://{}/fresh/deep/new file.db", database.folder().display())
        } else {
            database.url().to_owned()
        };
        let mut opening = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let url = url.clone();
            opening.spawn(async move { open(&url).await.map(drop) });
        }
        let opened = opening.join_all().await;
        assert!(opened.iter().all(Result::is_ok), "{opened:?}");

        let database = open(&url).await.unwrap();
        let migrations: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM _sqlx_migrations")
            .fetch_one(database.pool())
            .await
            .unwrap();
        let known = i64::try_from(MIGRATIONS.iter().count()).unwrap();
        assert_eq!(migrations, known);
        let teams: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM team")
            .fetch_one(database.pool())
            .await
            .unwrap();
        assert_eq!(teams, 0);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_new_sqlite_file_is_its_owners_alone_and_kept_on_disk() {
    use std::os::unix::fs::PermissionsExt as _;

    let database = TestDatabase::sqlite().await;
    let mode = |name: &str| {
        let path = database.folder().join(name);
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    sqlx::query("INSERT INTO team (id, name, created_us) VALUES ('a', 'A', 1)")
        .execute(database.pool())
        .await
        .unwrap();
    assert_eq!([mode("test.db"), mode("test.db-wal")], [0o600, 0o600]);

    let journal: String = sqlx::query_scalar("PRAGMA journal_mode")
        .fetch_one(database.pool())
        .await
        .unwrap();
    let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous")
        .fetch_one(database.pool())
        .await
        .unwrap();
    assert_eq!((journal.as_str(), synchronous), ("wal", 2));
}

#[tokio::test]
async fn a_database_that_cannot_be_opened_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plain.txt");
    std::fs::write(
        &file,
        "this is a text and not a database, whatever its name",
    )
    .unwrap();
    let file = file.display();

    let not_a_database = open(&format!("sqlite://{file}")).await.unwrap_err();
    let message = not_a_database.to_string();
    assert!(
        message.contains(&format!("SQLite file {file}")),
        "{message}"
    );
    assert!(
        message.contains("see that the file is a database"),
        "{message}"
    );

    let no_folder = open(&format!("sqlite://{file}/below.db"))
        .await
        .unwrap_err();
    assert!(
        matches!(no_folder, DatabaseError::Create { .. }),
        "{no_folder}"
    );

    // Port 1 on loopback: nobody listens there.
    let no_server = open("postgres://me:secret@127.0.0.1:1/shop")
        .await
        .unwrap_err();
    let message = no_server.to_string();
    assert!(
        message.contains("PostgreSQL database shop at 127.0.0.1:1 as me"),
        "{message}"
    );
    assert!(message.contains("refused"), "{message}");
    assert!(!message.contains("secret"), "{message}");

    for url in [
        "mysql://here",
        "sqlite::memory:",
        "sqlite://",
        "sqlite://a?mode=ro",
    ] {
        let error = open(url).await.unwrap_err();
        assert!(matches!(error, DatabaseError::Url { .. }), "{url}: {error}");
    }
}
