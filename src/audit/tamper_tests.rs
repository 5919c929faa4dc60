//! Somebody with the database's password is at the records.

use super::chain::Fault;
use super::tests::{PATIENCE, event, lost, settings};
use super::upkeep::{Witness, remove_old, sign_heads};
use super::*;
use crate::broker::EventKind;
use crate::database::Database;
use crate::database::testing::{TestDatabase, each_database};
use crate::time::{Span, Time};

/// A database with ten records of each of two teams and two of the platform, all signed.
struct Scene {
    database: TestDatabase,
    key: AuditKey,
    data: std::path::PathBuf,
}

impl Scene {
    async fn new(database: TestDatabase) -> Self {
        let data = database.folder().join("data");
        let key = AuditKey::load(&data, None).unwrap();
        let (sink, writer) = super::tests::start_in(&database, &data, key.clone(), settings());
        for at in 1..=10 {
            sink.record(lost(at));
            let by = "192.0.2.8:99".parse().unwrap();
            sink.record(event(at, Some("b"), "bob@b", EventKind::TakenOver { by }));
        }
        for at in 1..=2 {
            let detail = serde_json::json!({});
            sink.note(Record::administration(
                Time::from_micros(at),
                "x",
                None,
                "me",
                detail,
            ));
        }
        let finished = writer.finish(PATIENCE).await;
        assert_eq!(finished, Finished::Whole { written: 22 });
        Self {
            database,
            key,
            data,
        }
    }

    async fn run(&self, sql: &'static str) {
        let done = sqlx::query(sql)
            .execute(self.database.pool())
            .await
            .unwrap();
        assert!(done.rows_affected() > 0, "{sql}");
    }

    /// With the checkpoints in the database alone.
    async fn found(&self) -> Vec<(String, u64, Fault)> {
        self.found_with(None).await
    }

    async fn found_with(&self, witness: Option<&std::path::Path>) -> Vec<(String, u64, Fault)> {
        let trusted = vec![self.key.public()];
        let verdict = verify(&self.database, trusted, witness).await.unwrap();
        let problems = verdict.problems.into_iter();
        problems.map(|it| (it.chain, it.number, it.fault)).collect()
    }

    /// The export of everything, line by line.
    async fn exported(&self) -> Vec<String> {
        let database = Database::clone(&self.database);
        let mut export = Export::new(database, Scope::All, Filter::default(), Format::JsonLines);
        let mut text = String::new();
        while let Some(piece) = export.next().await.unwrap() {
            text.push_str(&piece);
        }
        text.lines().map(str::to_owned).collect()
    }

    fn found_in(&self, lines: &[String]) -> Vec<(String, u64, Fault)> {
        let text = lines.join("\n");
        let verdict = verify_export(text.as_bytes(), vec![self.key.public()], None, false).unwrap();
        let problems = verdict.problems.into_iter();
        problems.map(|it| (it.chain, it.number, it.fault)).collect()
    }
}

fn one(chain: &str, number: u64, fault: Fault) -> Vec<(String, u64, Fault)> {
    vec![(chain.to_owned(), number, fault)]
}

each_database! {
    async fn a_database_that_nobody_touched_is_whole_and_every_record_signed(database) {
        let scene = Scene::new(database).await;
        let trusted = vec![scene.key.public()];
        let witness = witness_of(&scene.data, None);
        let verdict = verify(&scene.database, trusted, Some(&witness)).await.unwrap();
        let tally = Tally { chains: 3, records: 22, signed: 22 };
        assert_eq!((verdict.tally, verdict.problems.len()), (tally, 0));
        let lines = scene.exported().await;
        assert_eq!(lines.len(), 3 + 22);
        assert_eq!(scene.found_in(&lines), []);
    }

    async fn an_altered_row_is_named(database) {
        let scene = Scene::new(database).await;
        scene.run("UPDATE audit SET actor = 'mallory' WHERE chain = 'a' AND number = 4").await;
        assert_eq!(scene.found().await, one("a", 4, Fault::Altered));
        scene.run("UPDATE audit SET actor = 'alice@a' WHERE chain = 'a' AND number = 4").await;
        assert_eq!(scene.found().await, []);
        scene.run("UPDATE audit SET detail = '{' WHERE chain = 'b' AND number = 7").await;
        scene.run("UPDATE audit SET address = NULL WHERE chain = 'a' AND number = 2").await;
        let both = [one("a", 2, Fault::Altered), one("b", 7, Fault::Altered)].concat();
        assert_eq!(scene.found().await, both);
    }

    async fn a_removed_row_is_named(database) {
        let scene = Scene::new(database).await;
        scene.run("DELETE FROM audit WHERE chain = 'a' AND number = 4").await;
        scene.run("DELETE FROM audit WHERE chain = 'b' AND number = 1").await;
        let both = [one("a", 4, Fault::Missing), one("b", 1, Fault::Missing)].concat();
        assert_eq!(scene.found().await, both);
    }

    async fn an_inserted_row_is_named(database) {
        let scene = Scene::new(database).await;
        scene.run(
            "INSERT INTO audit SELECT position, chain, 11, hash, at_us, level, team, event, actor, \
             client_id, remote, address, listener, detail FROM audit WHERE chain = 'a' \
             AND number = 10",
        ).await;
        assert_eq!(scene.found().await[0].1, 11);
        scene.run("DELETE FROM audit WHERE number = 11").await;
        // A second one with the same number, at another time.
        scene.run(
            "INSERT INTO audit SELECT position, chain, number, hash, at_us + 1, level, team, event, \
             actor, client_id, remote, address, listener, detail FROM audit WHERE chain = 'a' \
             AND number = 5",
        ).await;
        assert_eq!(scene.found().await, one("a", 5, Fault::OutOfPlace));
        // In a chain of its own.
        scene.run(
            "INSERT INTO audit SELECT position, 'ghost', 1, hash, at_us, level, 'ghost', event, \
             actor, client_id, remote, address, listener, detail FROM audit WHERE chain = 'b' \
             AND number = 5",
        ).await;
        assert_eq!(scene.found().await[1].0, "ghost");
    }

    async fn swapped_rows_are_named_also_between_teams(database) {
        let scene = Scene::new(database).await;
        scene.run("UPDATE audit SET number = number + 100 WHERE chain = 'a' AND number IN (3, 6)").await;
        scene.run("UPDATE audit SET number = 6 WHERE chain = 'a' AND number = 103").await;
        scene.run("UPDATE audit SET number = 3 WHERE chain = 'a' AND number = 106").await;
        assert_eq!(scene.found().await, one("a", 3, Fault::Altered));
        scene.run("UPDATE audit SET number = number + 100 WHERE chain = 'a' AND number IN (3, 6)").await;
        scene.run("UPDATE audit SET number = 3 WHERE chain = 'a' AND number = 106").await;
        scene.run("UPDATE audit SET number = 6 WHERE chain = 'a' AND number = 103").await;
        assert_eq!(scene.found().await, []);

        scene.run("UPDATE audit SET chain = 'x', team = 'x' WHERE chain = 'a' AND number = 8").await;
        scene.run("UPDATE audit SET chain = 'a', team = 'a' WHERE chain = 'b' AND number = 8").await;
        scene.run("UPDATE audit SET chain = 'b', team = 'b' WHERE chain = 'x'").await;
        let both = [one("a", 8, Fault::Altered), one("b", 8, Fault::Altered)].concat();
        assert_eq!(scene.found().await, both);
    }

    async fn a_row_that_was_moved_in_the_order_of_reading_is_named(database) {
        let scene = Scene::new(database).await;
        scene.run("UPDATE audit SET position = 0 WHERE chain = 'a' AND number = 5").await;
        assert_eq!(scene.found().await, one("a", 5, Fault::OutOfPlace));
    }

    async fn a_tail_that_was_cut_off_is_missing_whatever_was_mended(database) {
        let scene = Scene::new(database).await;
        scene.run("DELETE FROM audit WHERE chain = 'a' AND number > 7").await;
        assert_eq!(scene.found().await, one("a", 8, Fault::Missing)); // the head says so
        scene.run(
            "UPDATE audit_chain SET number = 7, signed = 7, hash = \
             (SELECT hash FROM audit WHERE chain = 'a' AND number = 7) WHERE chain = 'a'",
        ).await;
        assert_eq!(scene.found().await, one("a", 8, Fault::Missing)); // the checkpoint does
        scene.run("DELETE FROM audit_checkpoint WHERE chain = 'a'").await;
        assert_eq!(scene.found().await, []);
        let witness = witness_of(&scene.data, None); // and the broker's own copy of it
        assert_eq!(scene.found_with(Some(&witness)).await, one("a", 8, Fault::Missing));
        // A chain that went as a whole.
        for sql in ["DELETE FROM audit WHERE chain = 'b'",
            "DELETE FROM audit_chain WHERE chain = 'b'"] {
            scene.run(sql).await;
        }
        assert_eq!(scene.found().await, one("b", 1, Fault::Missing));
    }

    async fn an_export_that_was_altered_is_named_line_by_line(database) {
        let scene = Scene::new(database).await;
        let lines = scene.exported().await;
        let place = |chain: &str, number: u64| {
            let wanted = |line: &&String| {
                let json: serde_json::Value = serde_json::from_str(line).unwrap();
                json["chain"] == chain && json["number"] == number
            };
            let found = lines.iter().find(wanted).unwrap();
            lines.iter().position(|line| line == found).unwrap()
        };
        let (four, six) = (place("a", 4), place("a", 6));
        let mut altered = lines.clone();
        altered[four] = altered[four].replace("alice@a", "malory@a");
        assert_eq!(scene.found_in(&altered), one("a", 4, Fault::Altered));
        let mut removed = lines.clone();
        removed.remove(four);
        assert_eq!(scene.found_in(&removed), one("a", 4, Fault::Missing));
        let mut inserted = lines.clone();
        inserted.insert(six, lines[four].clone());
        assert_eq!(scene.found_in(&inserted), one("a", 4, Fault::OutOfPlace));
        let mut swapped = lines.clone();
        swapped.swap(four, six);
        assert_eq!(scene.found_in(&swapped), one("a", 4, Fault::Missing));
        let ten = place("a", 10);
        let mut cut = lines.clone();
        cut.remove(ten);
        assert_eq!(scene.found_in(&cut), one("a", 10, Fault::Missing));
    }

    async fn what_is_too_old_goes_and_the_chain_can_still_be_checked(database) {
        let scene = Scene::new(database).await;
        let kept = Span::from_micros(100);
        let now = Time::from_micros(105); // the first four are too old
        let removed = remove_old(&scene.database, &scene.key, kept, now).await.unwrap();
        assert_eq!(removed, 4 + 4 + 1); // the platform's last record stays
        assert_eq!(scene.found().await, []);
        let mut witness = Witness::open(witness_of(&scene.data, None));
        sign_heads(&scene.database, &scene.key, &mut witness, now).await.unwrap();
        assert_eq!(scene.found_with(Some(&witness_of(&scene.data, None))).await, []);
        assert_eq!(scene.found_in(&scene.exported().await), []);
        let first: i64 = sqlx::query_scalar("SELECT MIN(number) FROM audit WHERE chain = 'a'")
            .fetch_one(scene.database.pool()).await.unwrap();
        assert_eq!(first, 5);
        // Again, with what the first time left: now the platform has a younger record.
        let now = Time::from_micros(107);
        assert_eq!(remove_old(&scene.database, &scene.key, kept, now).await.unwrap(), 5);
        assert_eq!(scene.found().await, []);
        // Somebody removes more by hand.
        scene.run("DELETE FROM audit WHERE chain = 'a' AND number = 7").await;
        assert_eq!(scene.found().await, one("a", 7, Fault::Missing));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: make test"]
async fn on_postgresql_every_month_is_a_table_that_goes_when_it_is_empty() {
    let database = TestDatabase::postgres().await;
    let day = 86_400 * 1_000_000;
    let november = 1_796_025_600_000_000; // 2026-11-30
    let data = database.folder().join("data");
    let key = AuditKey::load(&data, None).unwrap();
    let (sink, writer) = super::tests::start_in(&database, &data, key.clone(), settings());
    for at in [
        november - day,
        november,
        november + day,
        november + 40 * day,
        5,
    ] {
        sink.record(lost(at));
    }
    writer.finish(PATIENCE).await;
    let parts = async || -> Vec<String> {
        sqlx::query_scalar(
            "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
             WHERE i.inhparent = to_regclass('audit') ORDER BY 1",
        )
        .fetch_all(database.pool())
        .await
        .unwrap()
    };
    let all = [
        "audit_rest",
        "audit_y2026m11",
        "audit_y2026m12",
        "audit_y2027m01",
    ];
    assert_eq!(parts().await, all);
    let rest: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM audit_rest")
        .fetch_one(database.pool())
        .await
        .unwrap();
    assert_eq!(rest, 1);
    // The record without a sensible time is last: only what stands before it can go.
    let now = Time::from_micros(november + 60 * day);
    remove_old(&database, &key, Span::from_secs(40 * 86_400), now)
        .await
        .unwrap();
    assert_eq!(
        parts().await,
        ["audit_rest", "audit_y2026m12", "audit_y2027m01"]
    );
    let verdict = verify(&database, vec![key.public()], None).await.unwrap();
    assert_eq!(verdict.problems, []);
}
