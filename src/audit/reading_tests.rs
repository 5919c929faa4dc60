//! Who reads sees what is theirs, all of it and nothing else.

use super::tests::{PATIENCE, all, connected, event, lost, settings, start};
use super::*;
use crate::database::Database;
use crate::database::testing::{TestDatabase, each_database};
use crate::time::Time;

/// Records of two teams and the platform, mixed.
async fn mixed(database: &TestDatabase, count: u64) {
    let (sink, writer) = start(database, settings());
    for at in 0..count {
        sink.record(lost(at));
        sink.record(event(at, Some("b"), "bob@b", connected()));
        sink.record(event(at, None, "forge_platform", connected()));
    }
    for (at, team) in [(1, "a"), (2, "b")] {
        let detail = serde_json::json!({});
        // Of level platform, about a team.
        let at = Time::from_micros(at);
        sink.note(Record::administration(
            at,
            "team_suspend",
            Some(team),
            "me",
            detail,
        ));
    }
    writer.finish(PATIENCE).await;
}

async fn pages(
    database: &TestDatabase,
    scope: &Scope,
    filter: &Filter,
    way: Way,
    limit: u32,
) -> Vec<Linked> {
    let mut found = Vec::new();
    let mut cursor = None;
    loop {
        let page = page(database, scope, filter, way, cursor, limit)
            .await
            .unwrap();
        assert!(page.records.len() <= limit as usize);
        found.extend(page.records);
        cursor = page.next;
        if cursor.is_none() {
            return found;
        }
    }
}

async fn exported(database: &TestDatabase, scope: Scope, format: Format) -> String {
    let database = Database::clone(database);
    let mut export = Export::new(database, scope, Filter::default(), format);
    let mut text = String::new();
    while let Some(piece) = export.next().await.unwrap() {
        text.push_str(&piece);
    }
    text
}

each_database! {
    async fn pages_of_any_size_give_every_record_once_either_way(database) {
        mixed(&database, 20).await;
        let whole = all(&database).await;
        assert_eq!(whole.len(), 62);
        for limit in [1, 7, 62, 1_000] {
            let all = (Scope::All, Filter::default());
            let forward = pages(&database, &all.0, &all.1, Way::Forward, limit).await;
            let mut backward = pages(&database, &all.0, &all.1, Way::Backward, limit).await;
            backward.reverse();
            assert_eq!(forward, backward);
            let records: Vec<_> = forward.into_iter().map(|it| it.record).collect();
            assert_eq!(records, whole, "{limit}");
        }
    }

    async fn a_teams_reader_sees_its_own_chain_and_nothing_else_whatever_it_asks(database) {
        mixed(&database, 20).await;
        let scope = Scope::Team("a".to_owned());
        let text = |text: &str| Some(text.to_owned());
        let none = Filter::default;
        for filter in [
            none(),
            Filter { team: text("b"), ..none() },
            Filter { team: text("a"), ..none() },
            Filter { level: Some(Level::Platform), ..none() },
            Filter { event: text("team_suspend"), ..none() },
            Filter { actor: text("bob@b"), ..none() },
            Filter { actor: text("x' OR '1'='1"), ..none() },
            Filter { team: text("$platform"), ..none() },
        ] {
            let found = pages(&database, &scope, &filter, Way::Forward, 7).await;
            let own = |it: &Linked| {
                it.chain == "a" && it.record.team.as_deref() == Some("a")
                    && it.record.level == Level::Team
            };
            assert!(found.iter().all(own), "{filter:?}");
            let is_open = filter == none() || filter.team.as_deref() == Some("a");
            let expected = if is_open { 20 } else { 0 };
            assert_eq!(found.len(), expected, "{filter:?}");
        }
        // Cursors count its own records: they say nothing of what others do.
        let first = page(&database, &scope, &none(), Way::Forward, None, 5).await.unwrap();
        assert_eq!(first.next.unwrap().to_string(), "c5");
        // A name that is made to look like the platform's chain opens nothing.
        let platform = Scope::Team(PLATFORM.to_owned());
        assert_eq!(pages(&database, &platform, &none(), Way::Forward, 7).await, []);
        for format in [Format::JsonLines, Format::Csv] {
            let text = exported(&database, scope.clone(), format).await;
            assert_eq!(text.matches("alice@a").count(), 20, "{text}");
            for foreign in ["bob@b", "forge_platform", "team_suspend", "$platform"] {
                assert!(!text.contains(foreign), "{foreign} in {text}");
            }
        }
    }

    async fn an_export_has_everything_and_a_teams_alone_can_be_verified(database) {
        mixed(&database, 700).await; // more than a page
        let text = exported(&database, Scope::All, Format::JsonLines).await;
        let records = text.lines().filter(|line| !line.starts_with("{\"checkpoint\""));
        assert_eq!(records.count(), 2_102);
        for scope in [Scope::All, Scope::Team("b".to_owned())] {
            let text = exported(&database, scope, Format::JsonLines).await;
            let verdict = verify_export(text.as_bytes(), vec![], None, false).unwrap();
            assert_eq!(verdict.problems, []);
            assert_eq!(verdict.tally.signed, verdict.tally.records);
        }
        let csv = exported(&database, Scope::All, Format::Csv).await;
        assert_eq!(csv.lines().count(), 2_103);
        assert!(csv.starts_with("chain,number,time,level,team,event,"), "{csv}");
        let wrong = verify_export(csv.as_bytes(), vec![], None, false).unwrap_err();
        assert!(matches!(wrong, ExportError::Line { line: 1 }), "{wrong}");
    }

    async fn what_is_personal_is_nowhere_and_can_still_be_looked_for(database) {
        let personal = Personal { addresses: true, usernames: true };
        let data = database.folder().join("data");
        let key = AuditKey::load(&data, None).unwrap();
        let names = Pseudonyms::of(&key, personal).unwrap();
        let hidden = Settings { personal, ..settings() };
        let (sink, writer) = super::tests::start_in(&database, &data, key, hidden);
        sink.record(lost(1));
        let by = "192.0.2.7:99".parse().unwrap();
        sink.record(event(2, Some("a"), "bob@a", crate::broker::EventKind::TakenOver { by }));
        writer.finish(PATIENCE).await;
        let text = exported(&database, Scope::All, Format::JsonLines).await;
        for secret in ["alice", "bob", "192.0.2.7", "\"client\""] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        let count = async |filter: Filter| latest(&database, &filter, 10).await.unwrap().len();
        let mut from = Filter::default();
        from.from("192.0.2.7", Some(&names)).unwrap();
        assert_eq!(count(from).await, 2);
        let by = Filter { actor: Some(names.name("alice@a")), ..Filter::default() };
        assert_eq!(count(by).await, 1);
        let mut network = Filter::default();
        assert!(network.from("192.0.2.0/24", Some(&names)).is_err());
        assert_eq!(super::tests::verified(&database).await, Vec::<String>::new());
    }
}
