//! What a crash, a full spool or a store that is away leave behind, and what becomes of it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::spool::{self, Bounds};
use super::tests::{
    PATIENCE, all, block, connected, event, events, lost, main_store, settings, times, verified,
};
use super::*;
use crate::broker::{EventKind, Refusal};
use crate::database::testing::{TestDatabase, each_database};

fn open(database: &TestDatabase, data: &Path, settings: Settings) -> (AuditSink, AuditWriter) {
    let key = AuditKey::load(data, None).unwrap();
    super::tests::start_in(database, data, key, settings)
}

/// A spool as a broker leaves it that was killed: records that nobody has taken.
fn abandoned(data: &Path, range: std::ops::Range<u64>) {
    let bounds = Bounds {
        total: 1 << 30,
        segment: 4_096,
    };
    let (_, mut appender, _) = spool::open(&data.join("audit"), bounds).unwrap();
    for at in range {
        appender
            .append(&[Record::from(&*lost(at)).to_spool()])
            .unwrap();
    }
}

async fn recovered(database: &TestDatabase) -> Vec<serde_json::Value> {
    let records = all(database).await;
    let found = records
        .into_iter()
        .filter(|it| it.event == "audit_recovered");
    found.map(|it| it.detail.into()).collect()
}

each_database! {
    async fn what_a_crash_left_in_the_spool_is_written_first_and_said(database) {
        let data = database.folder().join("data");
        abandoned(&data, 0..100);
        abandoned(&data, 100..150); // and once more
        let (sink, writer) = open(&database, &data, settings());
        for at in 150..160 {
            sink.record(lost(at));
        }
        while recovered(&database).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        writer.finish(PATIENCE).await;
        let mut found = times(&database).await;
        found.retain(|at| *at < 160);
        assert_eq!(found, (0..160).collect::<Vec<_>>());
        let said = serde_json::json!({"records": 150, "cut_bytes": 0, "damaged_segments": 0});
        assert_eq!(recovered(&database).await, [said]);
        assert_eq!(verified(&database).await, Vec::<String>::new());
        // Nothing is left, and nothing is said a second time.
        let (_sink, writer) = open(&database, &data, settings());
        writer.finish(PATIENCE).await;
        assert_eq!(recovered(&database).await.len(), 1);
    }

    async fn a_spool_that_the_store_has_already_adds_nothing(database) {
        let data = database.folder().join("data");
        abandoned(&data, 0..50);
        let copy = database.folder().join("copy");
        std::fs::create_dir_all(copy.join("audit")).unwrap();
        for entry in std::fs::read_dir(data.join("audit")).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), copy.join("audit").join(entry.file_name())).unwrap();
        }
        for data in [&data, &copy] {
            let (_sink, writer) = open(&database, data, settings());
            writer.finish(PATIENCE).await;
        }
        let mut found = times(&database).await;
        found.retain(|at| *at < 50);
        assert_eq!(found, (0..50).collect::<Vec<_>>());
        assert_eq!(recovered(&database).await.len(), 1);
    }

    async fn a_stop_while_the_store_is_away_loses_nothing(database) {
        let data = database.folder().join("data");
        let (sink, writer) = open(&database, &data, settings());
        let blocking = block(&database).await;
        for at in 0..500 {
            sink.record(lost(at));
        }
        let finished = writer.finish(Duration::from_millis(300)).await;
        let expected = Finished::Incomplete {
            cause: Cause::Away,
            written: 0,
            spooled: 500,
            lost: 0,
        };
        assert_eq!(finished, expected);
        drop(sink);
        blocking.rollback().await.unwrap();
        let (_sink, writer) = open(&database, &data, settings());
        writer.finish(PATIENCE).await;
        let mut found = times(&database).await;
        found.retain(|at| *at < 500);
        assert_eq!(found, (0..500).collect::<Vec<_>>());
    }

    async fn a_spool_that_is_full_counts_what_it_cannot_take_and_recovers(database) {
        let data = database.folder().join("data");
        let small = Settings {
            spool_bytes_max: 64 << 10,
            segment_bytes: 8 << 10,
            queue_max: 400,
            ..settings()
        };
        let (sink, writer) = open(&database, &data, small);
        let told = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let seen = Arc::clone(&told);
        sink.on_spooled(move |it| {
            seen.fetch_or(!it.is_kept, std::sync::atomic::Ordering::AcqRel);
        });
        let blocking = block(&database).await;
        for at in 0..5_000 {
            sink.record(lost(at));
            if at % 50 == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        assert!(sink.is_failing());
        assert!(told.load(std::sync::atomic::Ordering::Acquire));
        let bytes: u64 = std::fs::read_dir(data.join("audit"))
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .sum();
        assert!(bytes <= 80 << 10, "{bytes}");
        blocking.rollback().await.unwrap();
        while sink.is_failing() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        writer.finish(PATIENCE).await;
        let records = all(&database).await;
        assert_eq!(records.iter().map(events).sum::<u64>(), 5_000);
        assert!(records.iter().any(|it| it.event == "gap"));
        let connects: Vec<_> = records.iter().filter(|it| it.event == "disconnect").collect();
        assert!(connects.is_sorted_by_key(|it| it.at));
        assert_eq!(verified(&database).await, Vec::<String>::new());
    }

    async fn a_storm_of_twenty_thousand_connects_and_disconnects_is_recorded_in_full(database) {
        let data = database.folder().join("data");
        let (sink, writer) = open(&database, &data, settings());
        let storm = tokio::task::spawn_blocking(move || {
            for at in 0..40_000 {
                let mut event = lost(at);
                if at % 2 == 0 {
                    event.kind = super::tests::connected();
                }
                while sink.shared().len() > 20_000 {
                    std::thread::sleep(Duration::from_millis(1)); // as fast as the disk, no faster
                }
                sink.record(event);
            }
        });
        storm.await.unwrap();
        assert_eq!(writer.finish(PATIENCE * 3).await, Finished::Whole { written: 40_000 });
        assert_eq!(times(&database).await, (0..40_000).collect::<Vec<_>>());
        assert_eq!(verified(&database).await, Vec::<String>::new());
    }

    async fn a_teams_records_stay_in_its_region_and_nowhere_else(database) {
        sqlx::query("INSERT INTO team (id, name, created_us) VALUES ('b', 'B', 1)")
            .execute(database.pool()).await.unwrap();
        sqlx::query("INSERT INTO principal (username, kind, team, id, created_us, changed_us) \
                     VALUES ('bob@b', 'client', 'b', 'bob', 1, 1)")
            .execute(database.pool()).await.unwrap();
        let abroad = TestDatabase::sqlite().await;
        let data = database.folder().join("data");
        let begin = || {
            let stores = vec![
                main_store(&database),
                Store { region: Some(Arc::from("eu")), database: crate::database::Database::clone(&abroad) },
            ];
            let regions = Regions::new([("b".to_owned(), Arc::from("eu"))]);
            let key = AuditKey::load(&data, None).unwrap();
            start(stores, regions, &data, key, settings()).unwrap()
        };
        let refused = |at, name| event(at, None, name, EventKind::ConnectRefused {
            reason: Refusal::WrongPassword,
            told: None,
        });
        // The region's database is away at first: that holds nobody else up.
        let blocking = block(&abroad).await;
        let (sink, writer) = begin();
        for at in 1..=100 {
            sink.record(lost(at)); // of team a
            sink.record(event(at, Some("b"), "bob@b", connected()));
        }
        sink.record(refused(101, "bob@b"));
        sink.record(refused(102, "nobody@b"));
        sink.record(refused(103, "nobody@a"));
        while all(&database).await.len() < 101 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let finished = writer.finish(Duration::from_millis(300)).await;
        assert!(matches!(finished, Finished::Incomplete { spooled: 203, lost: 0, .. }), "{finished:?}");
        blocking.rollback().await.unwrap();
        let (_sink, writer) = begin();
        writer.finish(PATIENCE).await;

        let of = |records: &[Record], team: Option<&str>| {
            records.iter().filter(|it| it.team.as_deref() == team).count()
        };
        let here = all(&database).await;
        let there = all(&abroad).await;
        assert_eq!((of(&here, Some("a")), of(&here, Some("b"))), (100, 0));
        assert_eq!((of(&there, Some("a")), of(&there, Some("b"))), (0, 101));
        let names = |records: &[Record]| -> Vec<_> {
            let refused = records.iter().filter(|it| it.event == "connect_refused");
            refused.map(|it| (it.actor.clone().unwrap(), it.team.clone())).collect()
        };
        assert_eq!(names(&here), [("nobody@a".to_owned(), None)]);
        let b = Some("b".to_owned());
        assert_eq!(names(&there), [("bob@b".to_owned(), b), ("nobody@b".to_owned(), None)]);
        for database in [&database, &abroad] {
            assert_eq!(verified(database).await, Vec::<String>::new());
        }
    }

    async fn records_of_before_there_were_chains_are_linked_at_the_first_start(database) {
        sqlx::query(
            "CREATE TABLE IF NOT EXISTS audit_unlinked (run BIGINT, seq BIGINT, at_us BIGINT, \
             level TEXT, team TEXT, event TEXT, actor TEXT, client_id TEXT, remote TEXT, \
             listener TEXT, detail TEXT)",
        )
        .execute(database.pool())
        .await
        .unwrap();
        for at in 0..2_500_i64 {
            sqlx::query(
                "INSERT INTO audit_unlinked (run, seq, at_us, level, team, event, detail) \
                 VALUES (1, $1, $1, 'team', 'a', 'connect', '{}')",
            )
            .bind(at)
            .execute(database.pool())
            .await
            .unwrap();
        }
        let data = database.folder().join("data");
        for _ in 0..2 {
            let (_sink, writer) = open(&database, &data, settings());
            writer.finish(PATIENCE * 3).await;
        }
        assert_eq!(times(&database).await, (0..2_500).collect::<Vec<_>>());
        assert_eq!(verified(&database).await, Vec::<String>::new());
    }
}
