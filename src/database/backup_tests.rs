//! Backups between both kinds of database.

use std::collections::BTreeSet;
use std::io::BufReader;

use super::copy::ALL;
use super::testing::{TestDatabase, each_database};
use super::*;

async fn filled(database: &Database) {
    for sql in [
        "INSERT INTO team (id, name, created_us) VALUES ('a', 'Zoë \"A\"', 1), ('b', 'B', 2)",
        "INSERT INTO principal (username, kind, team, id, secret, created_us, changed_us) \
         VALUES ('x@a', 'client', 'a', 'x', 's', 1, 1), ('y@b', 'client', 'b', 'y', NULL, 1, 1)",
        "UPDATE revision SET value = 7",
    ] {
        sqlx::query(sql).execute(database.pool()).await.unwrap();
    }
    for round in 0..25 {
        let mut transaction = database.begin().await.unwrap();
        let record = |at: u64| {
            let at = crate::time::Time::from_micros(round * 100 + at);
            let detail = serde_json::json!({ "n": at.as_micros() });
            crate::audit::Record::administration(at, "client_add", Some("a"), "me", detail)
        };
        let records = (0..100).map(record).collect(); // more than a page in all
        crate::audit::insert(&mut transaction, records)
            .await
            .unwrap();
        transaction.commit().await.unwrap();
    }
}

async fn taken(database: &Database) -> String {
    let mut bytes = Vec::new();
    database.back_up(&mut bytes).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

async fn restored(text: &str, database: &Database) -> Result<u64, BackupError> {
    database.restore(BufReader::new(text.as_bytes())).await
}

each_database! {
    async fn a_backup_comes_back_into_either_kind_of_database_as_it_was(database) {
        filled(&database).await;
        let text = taken(&database).await;
        let second = TestDatabase::sqlite().await;
        let rows = restored(&text, &second).await.unwrap();
        assert_eq!(rows, 2 + 2 + 1 + 2_500 + 1 + 1);
        assert_eq!(taken(&second).await, text);
        let verdict = crate::audit::verify(&second, vec![], None).await.unwrap();
        assert_eq!((verdict.tally.records, verdict.problems), (2_500, vec![]));
        // And from there into this kind again.
        let third = match database.backend() {
            Backend::Sqlite => TestDatabase::sqlite().await,
            Backend::Postgres => TestDatabase::postgres().await,
        };
        restored(&taken(&second).await, &third).await.unwrap();
        assert_eq!(taken(&third).await, text);
    }

    async fn what_is_no_whole_backup_changes_nothing(database) {
        let source = TestDatabase::sqlite().await;
        filled(&source).await;
        let text = taken(&source).await;
        let empty = taken(&database).await;
        let lines: Vec<_> = text.lines().collect();
        let without_end = lines[..lines.len() - 1].join("\n");
        let without_one = [&lines[..3], &lines[4..]].concat().join("\n");
        let without_head = lines[1..].join("\n");
        let newer = text.replacen("\"tables\":", "\"tables\":9", 1);
        let foreign = text.replacen("\"table\":\"team\"", "\"table\":\"sqlite_master\"", 1);
        let sly = text.replacen("\"created_us\"", "\"id) VALUES ('q'); --\"", 1);
        for (what, text) in [
            ("no end", without_end), ("a row less", without_one), ("no head", without_head),
            ("newer", newer), ("another table", foreign), ("a column that is none", sly),
            ("nothing", String::new()), ("no JSON", "hello\n".to_owned()),
        ] {
            assert!(restored(&text, &database).await.is_err(), "{what}");
            assert_eq!(taken(&database).await, empty, "{what}");
        }
        restored(&text, &database).await.unwrap();
        let again = restored(&text, &database).await.unwrap_err();
        assert!(matches!(again, BackupError::NotEmpty { table: "team" }), "{again}");
    }

    async fn a_backup_has_every_table(database) {
        let sql = match database.backend() {
            Backend::Sqlite => "SELECT name FROM sqlite_master WHERE type = 'table'",
            Backend::Postgres => "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'",
        };
        let tables: Vec<String> = sqlx::query_scalar(sql).fetch_all(database.pool()).await.unwrap();
        // The migrations' own, what an old version left until it is linked, and parts by month.
        let is_data = |name: &&str| {
            !name.starts_with("_sqlx") && !name.starts_with("sqlite_")
                && *name != "audit_unlinked" && !name.starts_with("audit_rest")
        };
        let found: BTreeSet<_> = tables.iter().map(String::as_str).filter(is_data).collect();
        assert_eq!(found, ALL.iter().map(|table| table.name).collect());
    }

    async fn a_copy_of_the_accounts_is_as_they_are_and_follows_them(database) {
        filled(&database).await;
        let copy = TestDatabase::sqlite().await;
        for id in ["c", "d"] {
            assert_eq!(refresh_accounts(&database, &copy).await.unwrap(), 7);
            let names = |it: Database| async move {
                sqlx::query_scalar::<_, String>("SELECT id FROM team ORDER BY id")
                    .fetch_all(it.pool()).await.unwrap()
            };
            assert_eq!(names(Database::clone(&copy)).await, names(Database::clone(&database)).await);
            sqlx::query("INSERT INTO team (id, name, created_us) VALUES ($1, 'C', 3)")
                .bind(id).execute(database.pool()).await.unwrap();
            sqlx::query("DELETE FROM team WHERE id = 'a'")
                .execute(database.pool()).await.unwrap();
        }
    }
}
