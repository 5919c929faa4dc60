//! The audit from a shard's event to the row.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use super::spool::Bounds;
use super::*;
use crate::broker::{DisconnectCause, Event, EventKind, Peer, Refusal, Who};
use crate::database::testing::{TestDatabase, each_database};
use crate::database::{Database, Transaction};
use crate::policy::TeamId;
use crate::time::{Span, Time};
use crate::wire::{ReasonCode, Version};

pub(super) const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn settings() -> Settings {
    Settings {
        retry_first: Duration::from_millis(5),
        retry_max: Duration::from_millis(20),
        ..Settings::default()
    }
}

pub(super) fn event(at: u64, team: Option<&str>, username: &str, kind: EventKind) -> Box<Event> {
    Box::new(Event {
        at: Time::from_micros(at),
        who: Who {
            team: team.and_then(TeamId::new),
            username: Some(Arc::from(username)),
            client_id: Some(Arc::from("client")),
            peer: Peer {
                address: "192.0.2.7:1234".parse().unwrap(),
                listener: Arc::from("devices"),
            },
        },
        kind,
    })
}

pub(super) fn lost(at: u64) -> Box<Event> {
    let kind = EventKind::Disconnected {
        cause: DisconnectCause::Lost,
        duration: Span::from_millis(1_500),
        messages_in: 1,
        messages_out: 2,
        bytes_in: 3,
        bytes_out: 4,
    };
    event(at, Some("a"), "alice@a", kind)
}

pub(super) fn connected() -> EventKind {
    EventKind::Connected {
        version: Version::V5,
        clean_start: true,
        session_present: false,
        keep_alive: 45,
        session_expiry: Span::ZERO,
    }
}

fn refused_publish() -> EventKind {
    EventKind::PublishRefused {
        topic: "ff/v1/x".into(),
        reason: ReasonCode::NotAuthorized,
        why: "policy",
        will: false,
    }
}

/// Starts the audit with a spool of its own.
pub(super) fn start(database: &TestDatabase, settings: Settings) -> (AuditSink, AuditWriter) {
    let (sink, writer, _) = breakable(database, settings);
    (sink, writer)
}

/// The same, with a switch that makes the spool's disk fail.
fn breakable(
    database: &TestDatabase,
    settings: Settings,
) -> (AuditSink, AuditWriter, Arc<AtomicBool>) {
    let name = format!("spool-{:016x}", getrandom::u64().unwrap());
    let directory = database.folder().join(name);
    let opened = spool::open(&directory, BOUNDS).unwrap();
    let broken = Arc::clone(&opened.1.broken);
    let (sink, writer) = started(database, &directory, settings, opened);
    (sink, writer, broken)
}

fn started(
    database: &TestDatabase,
    directory: &std::path::Path,
    settings: Settings,
    opened: (spool::Spool, spool::Appender, spool::Found),
) -> (AuditSink, AuditWriter) {
    let key = AuditKey::random().unwrap();
    let database = Database::clone(database);
    let stores = vec![main_store(&database)];
    writer::start_with(stores, Regions::default(), directory, key, settings, opened).unwrap()
}

pub(super) fn main_store(database: &Database) -> Store {
    Store {
        region: None,
        database: database.clone(),
    }
}

/// The audit with one store.
pub(super) fn start_in(
    database: &TestDatabase,
    data: &std::path::Path,
    key: AuditKey,
    settings: Settings,
) -> (AuditSink, AuditWriter) {
    let stores = vec![main_store(database)];
    super::start(stores, Regions::default(), data, key, settings).unwrap()
}

const BOUNDS: Bounds = Bounds {
    total: 64 << 20,
    segment: 1 << 20,
};

/// How many events a record stands for.
pub(super) fn events(record: &Record) -> u64 {
    let count = |key| record.detail.get(key).and_then(serde_json::Value::as_u64);
    count("dropped").or(count("count")).unwrap_or(1)
}

pub(super) async fn all(database: &Database) -> Vec<Record> {
    let linked = latest(database, &Filter::default(), 1_000_000)
        .await
        .unwrap();
    linked.into_iter().map(|linked| linked.record).collect()
}

pub(super) async fn times(database: &Database) -> Vec<u64> {
    let records = all(database).await;
    records.iter().map(|record| record.at.as_micros()).collect()
}

/// Waits for something that another task is about to do.
async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Holds the database so that nobody else writes to `audit`.
pub(super) async fn block(database: &Database) -> Transaction {
    let mut transaction = database.begin().await.unwrap();
    if database.backend() == crate::database::Backend::Postgres {
        sqlx::query("LOCK TABLE audit IN EXCLUSIVE MODE")
            .execute(&mut *transaction)
            .await
            .unwrap();
    }
    transaction
}

each_database! {
    async fn every_kind_of_event_becomes_a_row_with_all_that_is_known(database) {
        let (sink, writer) = start(&database, settings());
        let connected = EventKind::Connected {
            version: Version::V5,
            clean_start: false,
            session_present: true,
            keep_alive: 45,
            session_expiry: Span::from_secs(120),
        };
        sink.record(event(1, Some("a"), "alice@a", connected));
        sink.record(event(2, None, "forge_platform", EventKind::ConnectRefused {
            reason: Refusal::Malformed(ReasonCode::MalformedPacket),
            told: None,
        }));
        sink.record(lost(3));
        sink.record(event(4, Some("a"), "alice@a", EventKind::TakenOver {
            by: "192.0.2.8:99".parse().unwrap(),
        }));
        sink.record(event(5, Some("a"), "alice@a", EventKind::PublishRefused {
            topic: "ff/v1/a/c/x".into(),
            reason: ReasonCode::NotAuthorized,
            why: "policy",
            will: true,
        }));
        sink.record(event(6, Some("a"), "alice@a", EventKind::SubscribeRefused {
            filter: "ff/v1/b/#".into(),
            reason: ReasonCode::NotAuthorized,
            why: "outside the team",
        }));
        assert_eq!(writer.finish(PATIENCE).await, Finished::Whole { written: 6 });

        let records = all(&database).await;
        let told: Vec<_> = records
            .iter()
            .map(|it| (it.event.as_str(), it.level, it.team.as_deref(), it.detail.clone().into()))
            .collect();
        let a = Some("a");
        assert_eq!(told, [
            ("connect", Level::Team, a, json!({"version": "5.0", "clean_start": false,
                "session_present": true, "keep_alive_s": 45, "session_expiry_ms": 120_000})),
            ("connect_refused", Level::Platform, None, json!({"reason": "malformed",
                "malformed": "MalformedPacket", "told": null, "told_code": null})),
            ("disconnect", Level::Team, a, json!({"cause": "lost", "duration_ms": 1500,
                "messages_in": 1, "messages_out": 2, "bytes_in": 3, "bytes_out": 4})),
            ("takeover", Level::Team, a, json!({"by": "192.0.2.8:99"})),
            ("publish_refused", Level::Team, a, json!({"topic": "ff/v1/a/c/x",
                "reason": "NotAuthorized", "reason_code": 135, "why": "policy", "will": true})),
            ("subscribe_refused", Level::Team, a, json!({"filter": "ff/v1/b/#",
                "reason": "NotAuthorized", "reason_code": 135, "why": "outside the team"})),
        ]);
        let first = &records[0];
        assert_eq!(
            [&first.actor, &first.client_id, &first.remote, &first.listener]
                .map(|it| it.as_deref().unwrap()),
            ["alice@a", "client", "192.0.2.7:1234", "devices"]
        );
        assert_eq!(first.at, Time::from_micros(1));
    }

    async fn a_refused_login_is_on_record_under_the_team_of_its_username(database) {
        sqlx::query("INSERT INTO team (id, name, created_us) VALUES ('a', 'A', 1)")
            .execute(database.pool()).await.unwrap();
        sqlx::query("INSERT INTO principal (username, kind, team, id, created_us, changed_us) \
                     VALUES ('alice@a', 'client', 'a', 'alice', 1, 1)")
            .execute(database.pool()).await.unwrap();
        let (sink, writer) = start(&database, settings());
        for (at, username) in [(1, "alice@a"), (2, "nobody@a")] {
            sink.record(event(at, None, username, EventKind::ConnectRefused {
                reason: Refusal::WrongPassword,
                told: Some(ReasonCode::BadUserNameOrPassword),
            }));
        }
        writer.finish(PATIENCE).await;
        let told: Vec<_> = all(&database).await.into_iter().map(|it| (it.level, it.team)).collect();
        assert_eq!(told, [(Level::Team, Some("a".to_owned())), (Level::Platform, None)]);
    }

    async fn a_refused_login_is_its_teams_also_where_its_username_is_a_pseudonym(database) {
        sqlx::query("INSERT INTO team (id, name, created_us) VALUES ('a', 'A', 1)")
            .execute(database.pool()).await.unwrap();
        sqlx::query("INSERT INTO principal (username, kind, team, id, created_us, changed_us) \
                     VALUES ('alice@a', 'client', 'a', 'alice', 1, 1)")
            .execute(database.pool()).await.unwrap();
        let personal = Personal { addresses: true, usernames: true };
        let (sink, writer) = start(&database, Settings { personal, ..settings() });
        for (at, username) in [(1, "alice@a"), (2, "nobody@a"), (3, "alice@b")] {
            sink.record(event(at, None, username, EventKind::ConnectRefused {
                reason: Refusal::WrongPassword,
                told: None,
            }));
        }
        writer.finish(PATIENCE).await;
        let records = all(&database).await;
        let told: Vec<_> = records.iter().map(|it| (it.level, it.team.as_deref())).collect();
        let nobodys = (Level::Platform, None);
        assert_eq!(told, [(Level::Team, Some("a")), nobodys, nobodys]);
        assert!(records.iter().all(|it| it.actor.as_ref().is_some_and(|it| it.starts_with('~'))));
        assert_eq!(verified(&database).await, Vec::<String>::new());
    }

    async fn events_are_written_in_order_and_in_batches(database) {
        let few = Settings { batch_max: 64, ..settings() };
        let (sink, writer) = start(&database, few);
        for at in 0..1_000 {
            sink.record(lost(at));
        }
        assert_eq!(writer.finish(PATIENCE).await, Finished::Whole { written: 1_000 });
        assert_eq!(times(&database).await, (0..1_000).collect::<Vec<_>>());
        let numbers: Vec<i64> = sqlx::query_scalar("SELECT number FROM audit ORDER BY at_us")
            .fetch_all(database.pool()).await.unwrap();
        assert_eq!(numbers, (1..=1_000).collect::<Vec<_>>());
    }

    async fn an_event_does_not_wait_for_others_for_ever(database) {
        let (sink, _writer) = start(&database, settings());
        sink.record(lost(7));
        while times(&database).await != [7] {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn what_happens_while_the_store_is_blocked_is_written_afterwards_in_order(database) {
        let (sink, writer) = start(&database, settings());
        let blocking = block(&database).await;
        for at in 0..100 {
            sink.record(lost(at));
        }
        // Longer than SQLite's busy timeout of the tests: the writer has to try again.
        tokio::time::sleep(Duration::from_millis(700)).await;
        assert_eq!(times(&database).await, Vec::<u64>::new());
        blocking.rollback().await.unwrap();
        assert_eq!(writer.finish(PATIENCE).await, Finished::Whole { written: 100 });
        assert_eq!(times(&database).await, (0..100).collect::<Vec<_>>());
    }

    async fn what_had_to_be_left_out_is_counted_on_record_in_its_place(database) {
        // Thirty places are for what is no refusal; one team has half of them.
        let small = Settings { queue_max: 40, ..settings() };
        let (sink, writer, broken) = breakable(&database, small);
        broken.store(true, Ordering::Release);
        sink.record(lost(1));
        until(|| sink.shared().len() == 0).await;
        // The spool's thread has the first in hand; the ring keeps fifteen more.
        for at in 2..=100 {
            sink.record(lost(at));
        }
        broken.store(false, Ordering::Release);
        until(|| sink.shared().len() < 15).await;
        sink.record(lost(101));
        assert_eq!(writer.finish(PATIENCE).await, Finished::Whole { written: 18 });

        let mut expected: Vec<_> = (1..=16).collect();
        expected.extend([100, 101]);
        let written: Vec<i64> = sqlx::query_scalar("SELECT at_us FROM audit ORDER BY position")
            .fetch_all(database.pool())
            .await
            .unwrap();
        assert_eq!(written, expected);
        let gap = all(&database).await.swap_remove(16);
        assert_eq!((gap.event.as_str(), gap.level), ("gap", Level::Team));
        assert_eq!((gap.team.as_deref(), gap.actor), (Some("a"), None));
        let at = |at| rfc3339(Time::from_micros(at));
        let detail = json!({"dropped": 84, "first": at(17), "last": at(100)});
        assert_eq!(serde_json::Value::from(gap.detail), detail);
    }

    async fn a_gap_is_on_record_also_when_nothing_comes_after_it(database) {
        // Each event has 13 bytes of text: of 75 bytes for what is no refusal, one team has two.
        let small = Settings { queue_bytes_max: 60, ..settings() };
        let (sink, _writer, broken) = breakable(&database, small);
        broken.store(true, Ordering::Release);
        sink.record(lost(1));
        until(|| sink.shared().len() == 0).await;
        for at in 2..=4 {
            sink.record(lost(at));
        }
        broken.store(false, Ordering::Release);
        while all(&database).await.last().is_none_or(|last| last.event != "gap") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(times(&database).await, [1, 2, 3, 4]);
    }

    async fn one_teams_refusals_take_no_other_event_off_the_record(database) {
        let small = Settings { queue_max: 200, ..settings() };
        let (sink, writer, broken) = breakable(&database, small);
        broken.store(true, Ordering::Release);
        sink.record(lost(0)); // keeps the spool's thread busy
        until(|| sink.shared().len() == 0).await;
        // As many clients as it takes to leave the queue no room, if it were one.
        for at in 0..100_000 {
            let mut refused = event(at, Some("loud"), "eve@loud", refused_publish());
            refused.who.client_id = Some(Arc::from((at % 1_000).to_string()));
            sink.record(refused);
        }
        for at in 0..20 {
            sink.record(event(at, Some("b"), "bob@b", connected()));
            sink.record(event(at, Some("loud"), "eve@loud", connected()));
        }
        broken.store(false, Ordering::Release);
        let Finished::Whole { .. } = writer.finish(PATIENCE).await else { panic!("incomplete") };

        let records = all(&database).await;
        let count = |team, event| {
            let of = |it: &&Record| it.team.as_deref() == Some(team) && it.event == event;
            records.iter().filter(of).map(events).sum::<u64>()
        };
        assert_eq!((count("b", "connect"), count("loud", "connect")), (20, 20));
        assert_eq!(count("b", "gap"), 0);
        // All is counted: in rows, or in a gap.
        assert_eq!(count("loud", "publish_refused") + count("loud", "gap"), 100_000);
    }

    async fn one_teams_connects_leave_room_for_those_of_another(database) {
        let small = Settings { queue_max: 200, ..settings() };
        let (sink, writer, broken) = breakable(&database, small);
        broken.store(true, Ordering::Release);
        sink.record(lost(0)); // keeps the spool's thread busy
        until(|| sink.shared().len() == 0).await;
        for at in 0..1_000 {
            sink.record(event(at, Some("loud"), "eve@loud", connected()));
        }
        for at in 0..20 {
            sink.record(event(at, Some("b"), "bob@b", connected()));
        }
        broken.store(false, Ordering::Release);
        writer.finish(PATIENCE).await;
        let records = all(&database).await;
        let own = |it: &&Record| it.team.as_deref() == Some("b") && it.event == "connect";
        assert_eq!(records.iter().filter(own).count(), 20);
        assert_eq!(records.iter().map(events).sum::<u64>(), 1_021);
    }

    async fn folded_refusals_are_on_record_once_a_while_and_at_the_end_with_their_count(database) {
        let often = Settings { fold_every: Duration::from_millis(20), ..settings() };
        let (sink, _writer) = start(&database, often);
        for at in 1..=50 {
            sink.record(event(at, Some("a"), "alice@a", refused_publish()));
        }
        while all(&database).await.iter().map(events).sum::<u64>() < 50 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (sink, writer) = start(&database, settings());
        for at in 51..=85 {
            sink.record(event(at, Some("b"), "bob@b", refused_publish()));
        }
        // Sixteen rows of their own, and one for the rest.
        assert_eq!(writer.finish(PATIENCE).await, Finished::Whole { written: 17 });
        let records = all(&database).await;
        let last = records.last().unwrap();
        assert_eq!(last.at, Time::from_micros(85));
        assert_eq!(
            [&last.team, &last.actor, &last.client_id].map(|it| it.as_deref().unwrap()),
            ["b", "bob@b", "client"]
        );
        let since = rfc3339(Time::from_micros(67));
        assert_eq!(last.to_json()["detail"], json!({"topic": "ff/v1/x", "will": false,
            "reason": "NotAuthorized", "reason_code": 135, "why": "policy",
            "count": 19, "since": since}));
    }

    async fn a_batch_that_is_sent_twice_is_kept_once(database) {
        let keyed = |at: u64| store::Keyed {
            run: 7,
            number: at as i64,
            record: Record::from(&*lost(at)),
            is_ours: true,
        };
        // The second has seen half of them, and the third sees nothing new.
        for (range, fresh) in [(0..250, 250), (125..375, 125), (0..375, 0)] {
            let records: Vec<_> = range.map(keyed).collect();
            let mut transaction = database.begin().await.unwrap();
            let written = store::take(&mut transaction, &records).await.unwrap();
            transaction.commit().await.unwrap();
            assert_eq!(written.get(&7).copied().unwrap_or(0), fresh);
        }
        assert_eq!(times(&database).await, (0..375).collect::<Vec<_>>());
        assert_eq!(verified(&database).await, Vec::<String>::new());
    }

    async fn a_store_that_stays_away_does_not_hold_up_the_end(database) {
        let (sink, writer) = start(&database, settings());
        let _blocking = block(&database).await;
        sink.record(lost(1));
        sink.record(event(2, Some("a"), "alice@a", refused_publish()));
        sink.record(event(3, Some("a"), "alice@a", refused_publish()));
        let finished = writer.finish(Duration::from_millis(300)).await;
        let expected = Finished::Incomplete {
            cause: Cause::Away,
            written: 0,
            spooled: 3,
            lost: 0,
        };
        assert_eq!(finished, expected);
    }

    async fn a_store_that_is_slow_is_not_called_away(database) {
        let single = Settings { batch_max: 1, queue_max: 1_000_000, ..settings() };
        let (sink, writer) = start(&database, single);
        for at in 0..20_000 {
            sink.record(lost(at));
        }
        let shared = Arc::clone(sink.shared());
        until(|| shared.spooled.load(Ordering::Relaxed) == 20_000).await;
        until(|| shared.written.load(Ordering::Relaxed) > 0).await;
        let finished = writer.finish(Duration::from_millis(100)).await;
        let Finished::Incomplete { cause: Cause::Slow, written, spooled, lost: 0 } = finished else {
            panic!("{finished:?}");
        };
        // The last may have come through when it was given up.
        assert_eq!(written + spooled, 20_000);
        let there = times(&database).await.len() as u64;
        assert!(there == written || there == written + 1, "{there} {written}");
    }

    async fn the_list_filters_and_shows_the_latest_last(database) {
        let (sink, writer) = start(&database, settings());
        for at in 1..=5 {
            sink.record(lost(at));
        }
        sink.record(event(6, Some("b"), "bob@b", EventKind::TakenOver {
            by: "192.0.2.8:99".parse().unwrap(),
        }));
        writer.finish(PATIENCE).await;
        let text = |text: &str| Some(text.to_owned());
        let at = |at| Some(Time::from_micros(at));
        let every = Filter::default;
        for (filter, limit, expected) in [
            (every(), 100, vec![1, 2, 3, 4, 5, 6]),
            (every(), 2, vec![5, 6]),
            (Filter { team: text("a"), ..every() }, 2, vec![4, 5]),
            (Filter { team: text("c"), ..every() }, 100, vec![]),
            (Filter { level: Some(Level::Platform), ..every() }, 100, vec![]),
            (Filter { event: text("takeover"), ..every() }, 100, vec![6]),
            (Filter { client_id: text("client"), since: at(5), ..every() }, 100, vec![5, 6]),
            (Filter { actor: text("alice@a"), since: at(2), until: at(4), ..every() }, 100,
                vec![2, 3]),
            (Filter { actor: text("' OR 1=1 --"), ..every() }, 100, vec![]),
            (Filter { actor: text("a\0b"), ..every() }, 100, vec![]),
            (Filter { address: Some(Range::parse("192.0.2.0/24").unwrap()), ..every() }, 3,
                vec![4, 5, 6]),
            (Filter { address: Some(Range::parse("192.0.2.8").unwrap()), ..every() }, 100, vec![]),
        ] {
            let records = latest(&database, &filter, limit).await.unwrap();
            let times: Vec<_> = records.iter().map(|it| it.record.at.as_micros()).collect();
            assert_eq!(times, expected, "{filter:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_event_is_synced_at_once_and_those_of_a_storm_share_a_sync() {
    let database = TestDatabase::sqlite().await;
    let data = database.folder().join("data");
    let key = AuditKey::load(&data, None).unwrap();
    let rarely = Settings {
        sync_every: Duration::from_secs(3_600),
        ..settings()
    };
    let (sink, writer) = start_in(&database, &data, key, rarely);
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    sink.on_spooled(move |spooled| told.send(spooled.upto).unwrap());
    sink.record(lost(1));
    assert_eq!(heard.recv().await, Some(1));
    // Not the second at once: it is told with all those that make a sync worth while.
    sink.record(lost(2));
    let early = tokio::time::timeout(Duration::from_millis(50), heard.recv()).await;
    assert!(early.is_err(), "synced on its own: {early:?}");
    for at in 3..=257 {
        sink.record(lost(at));
    }
    assert_eq!(heard.recv().await, Some(257));
    // And nobody waits at the end.
    sink.record(lost(258));
    let whole = Finished::Whole { written: 258 };
    assert_eq!(writer.finish(PATIENCE).await, whole);
    assert_eq!(heard.recv().await, Some(258));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_hangs_holds_nobody_up_for_long() {
    let database = TestDatabase::sqlite().await;
    let directory = database.folder().join("spool");
    let opened = spool::open(&directory, BOUNDS).unwrap();
    let stuck = Arc::clone(&opened.1.stuck);
    stuck.store(true, Ordering::Release);
    let (sink, writer) = started(&database, &directory, settings(), opened);
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    sink.on_spooled(move |spooled| {
        let _ = told.send(spooled);
    });
    let Kept::At(ticket) = sink.record(lost(1)) else {
        panic!("no room")
    };
    let first = heard.recv().await.unwrap();
    assert!(!first.is_kept && first.upto >= ticket, "{first:?}");
    assert!(sink.is_failing());
    stuck.store(false, Ordering::Release);
    while !heard.recv().await.unwrap().is_kept {}
    assert!(!sink.is_failing());
    let whole = Finished::Whole { written: 1 };
    assert_eq!(writer.finish(PATIENCE).await, whole);
}

/// The problems of all chains.
pub(super) async fn verified(database: &Database) -> Vec<String> {
    let verdict = verify(database, vec![], None).await.unwrap();
    verdict.problems.iter().map(ToString::to_string).collect()
}
