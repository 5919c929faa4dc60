//! Logins, judged against a database.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use argon2::Params;

mod follow;
mod proofs;
mod vouchers;

use super::*;
use crate::audit;
use crate::broker::{ConnId, Login, Peer, Verdict};
use crate::config::Plans;
use crate::database::Database;
use crate::database::testing::{TestDatabase, each_database, settings as database_settings};
use crate::policy::{Policy, TeamId};
use crate::provision::Provisioner;
use crate::time::Time;
use crate::topic::TopicName;
use crate::wire::Version;

const TOKEN: &str = "ffbp_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG";
const OTHER_TOKEN: &str = "ffbp_0123456789abcdefghijklmnopqrstuvwxyzABCDEFX";
const INSTANCE: &str = "project:a:i1";

const WORLD: &str = r##"
    [[team]]
    id = "a"
    [[team]]
    id = "b"
    [[instance]]
    id = "i1"
    team = "a"
    password = "ffbp_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"
    [[device]]
    id = "d1"
    team = "a"
    owner = { type = "instance", id = "i1" }
    password = "device password"
    [[client]]
    name = "alice"
    team = "a"
    password = "correct horse"
    acl = [{ action = "both", effect = "allow", pattern = "#" },
           { action = "publish", effect = "deny", pattern = "secret/#" }]
    [[client]]
    name = "mute"
    team = "a"
    [[client]]
    name = "bob"
    team = "b"
    password = "battery staple"
    [platform]
    password = "platform password"
"##;

/// Usernames, passwords, and what comes of them while team `b` is suspended, however the password is
/// shown to be known.
const SENT_OR_PROVED: [(&str, &str, &str); 10] = [
    (INSTANCE, TOKEN, "admit project:a:i1"),
    ("device:a:d1", "device password", "admit device:a:d1"),
    ("alice@a", "correct horse", "admit alice@a"),
    (
        "forge_platform",
        "platform password",
        "admit forge_platform",
    ),
    (INSTANCE, OTHER_TOKEN, "refuse wrong_password"),
    ("alice@a", "Correct horse", "refuse wrong_password"),
    ("alice@a", TOKEN, "refuse wrong_password"),
    ("mute@a", "correct horse", "refuse no_credential"),
    ("bob@b", "battery staple", "refuse team_suspended"),
    ("bob@b", "wrong", "refuse wrong_password"),
];

/// Everything that a test of the judge needs.
struct Court {
    database: Database,
    secrets: Arc<Secrets>,
    policy: Arc<Policy>,
    plans: Plans,
    judge: Authenticator,
}

fn quick() -> Settings {
    Settings {
        deadline: Duration::from_secs(20),
        refusal_step: Duration::ZERO,
        hashing_at_once: 2,
        ..Settings::default()
    }
}

impl Court {
    async fn open(database: &TestDatabase, settings: Settings) -> Self {
        Self::with_params(database, settings, Params::new(8, 1, 1, None).unwrap()).await
    }

    async fn with_params(database: &TestDatabase, settings: Settings, params: Params) -> Self {
        let key = TokenKey::load(database.folder(), None).unwrap();
        let secrets = Arc::new(Secrets::with_params(key, params).unwrap());
        let policy = Arc::new(Policy::flowfuse().unwrap());
        let database = Database::clone(database);
        let judge = Authenticator::new(
            database.clone(),
            Arc::clone(&policy),
            Arc::clone(&secrets),
            HashMap::from([(Arc::from("open"), TeamId::new("dev").unwrap())]),
            settings,
        )
        .unwrap();
        let court = Self {
            database,
            secrets,
            policy,
            plans: Plans::default(),
            judge,
        };
        court.provision().apply("world.toml", WORLD).await.unwrap();
        court
    }

    fn provision(&self) -> Provisioner<'_> {
        Provisioner {
            database: &self.database,
            secrets: &self.secrets,
            policy: &self.policy,
            plans: &self.plans,
            actor: "test",
            now: Time::from_micros(1),
        }
    }

    async fn judge(&self, username: &str, password: &str) -> String {
        said(
            self.judge
                .judge(login(username, password), Time::from_micros(2))
                .await,
        )
    }

    /// What the login cost in argon2id and token hashes, and how it ended.
    async fn cost(&self, username: &str, password: &str) -> (String, (u64, u64)) {
        let before = self.secrets.work().done();
        let said = self.judge(username, password).await;
        let after = self.secrets.work().done();
        (said, (after.0 - before.0, after.1 - before.1))
    }
}

/// A verdict in words.
fn said(verdict: Verdict) -> String {
    match verdict {
        Verdict::Admit(grant) => format!("admit {}", grant.principal().username),
        Verdict::AdmitWith { grant, .. } => format!("admit {}", grant.principal().username),
        Verdict::Challenge { .. } => "challenge".to_owned(),
        Verdict::Refuse(refusal) => format!("refuse {}", refusal.as_str()),
        Verdict::Undecided(refusal) => format!("undecided {}", refusal.as_str()),
    }
}

/// With the username as the client id.
fn login(username: &str, password: &str) -> Login {
    Login {
        conn: ConnId {
            index: 0,
            generation: 0,
        },
        peer: Peer {
            address: "192.0.2.7:1234".parse().unwrap(),
            listener: Arc::from("devices"),
        },
        version: Version::V5,
        client_id: Box::from(username),
        username: Some(Box::from(username)),
        password: Some(Box::from(password.as_bytes())),
        exchange: None,
        certificate: None,
    }
}

fn anonymous(listener: &str) -> Login {
    let mut login = login("free", "");
    (login.username, login.password) = (None, None);
    login.peer.listener = Arc::from(listener);
    login
}

each_database! {
    async fn each_refusal_has_its_true_reason(database) {
        let court = Court::open(&database, quick()).await;
        court.provision().team_suspend("b", true).await.unwrap();
        for (username, password, verdict) in [
            (INSTANCE, "correct horse", "refuse wrong_password"),
            ("alice@a", "", "refuse wrong_password"),
            ("alice@b", "correct horse", "refuse unknown_user"),
            ("", "correct horse", "refuse unknown_user"),
            ("alice@a\0", "correct horse", "refuse unknown_user"),
            ("mute@a", "", "refuse no_credential"),
        ].into_iter().chain(SENT_OR_PROVED) {
            assert_eq!(court.judge(username, password).await, verdict, "{username} {password}");
        }

        let mut other_id = login("alice@a", "correct horse");
        other_id.client_id = Box::from("someone else");
        assert_eq!(said(court.judge.judge(other_id, Time::EPOCH).await), "refuse client_id");
        let mut free_id = login(INSTANCE, TOKEN);
        free_id.client_id = Box::from("project:a:i1:n");
        assert_eq!(said(court.judge.judge(free_id, Time::EPOCH).await), "admit project:a:i1");
        let mut no_name = login("", TOKEN);
        no_name.username = None;
        assert_eq!(said(court.judge.judge(no_name, Time::EPOCH).await), "refuse unknown_user");
        let nobody = court.judge.judge(anonymous("devices"), Time::EPOCH).await;
        assert_eq!(said(nobody), "refuse anonymous");
    }

    async fn whoever_is_refused_costs_the_same_work(database) {
        let court = Court::open(&database, quick()).await;
        // All of them have been in: what is remembered must not make a refusal cheaper.
        assert_eq!(court.judge("bob@b", "battery staple").await, "admit bob@b");
        assert_eq!(court.judge("alice@a", "correct horse").await, "admit alice@a");
        court.provision().team_suspend("b", true).await.unwrap();
        for (username, password, verdict, work) in [
            ("nobody@a", "some password", "refuse unknown_user", (1, 0)),
            ("alice@a", "some password", "refuse wrong_password", (1, 0)),
            ("mute@a", "some password", "refuse no_credential", (1, 0)),
            (INSTANCE, "some password", "refuse wrong_password", (1, 0)),
            ("bob@b", "some password", "refuse wrong_password", (1, 0)),
            ("bob@b", "battery staple", "refuse team_suspended", (1, 0)),
            ("nobody@a", OTHER_TOKEN, "refuse unknown_user", (0, 1)),
            ("alice@a", OTHER_TOKEN, "refuse wrong_password", (0, 1)),
            ("mute@a", OTHER_TOKEN, "refuse no_credential", (0, 1)),
            (INSTANCE, OTHER_TOKEN, "refuse wrong_password", (0, 1)),
            ("bob@b", OTHER_TOKEN, "refuse wrong_password", (0, 1)),
        ] {
            let cost = court.cost(username, password).await;
            assert_eq!(cost, (verdict.to_owned(), work), "{username} {password}");
        }
    }

    async fn a_password_that_was_right_is_not_hashed_again_until_it_is_rotated(database) {
        let court = Court::open(&database, quick()).await;
        let admitted = |work| ("admit alice@a".to_owned(), work);
        assert_eq!(court.cost("alice@a", "correct horse").await, admitted((1, 0)));
        assert_eq!(court.cost("alice@a", "correct horse").await, admitted((0, 0)));
        let wrong = court.cost("alice@a", "Correct horse").await;
        assert_eq!(wrong, ("refuse wrong_password".to_owned(), (1, 0)));

        let (_, rotated) = court.provision().client_rotate("alice@a").await.unwrap();
        let old = court.cost("alice@a", "correct horse").await;
        assert_eq!(old, ("refuse wrong_password".to_owned(), (1, 0)));
        assert_eq!(court.cost("alice@a", &rotated).await, admitted((0, 1)));

        // The same password again, under another salt: another stored hash.
        court.provision().apply("world.toml", WORLD).await.unwrap();
        assert_eq!(court.cost("alice@a", "correct horse").await, admitted((1, 0)));
    }

    async fn a_grant_has_what_is_on_record(database) {
        let court = Court::open(&database, quick()).await;
        let grant = async |username, password| {
            match court.judge.judge(login(username, password), Time::EPOCH).await {
                Verdict::Admit(grant) => grant,
                other => panic!("{other:?}"),
            }
        };
        let may_publish = |grant: &crate::policy::Grant, topic| {
            let topic = TopicName::parse(topic, 1000, 100).unwrap();
            grant.publish(topic).ruling != crate::policy::Ruling::Deny
        };
        let alice = grant("alice@a", "correct horse").await;
        assert_eq!((alice.root(), alice.mount()), ("ff/v1/a/", "ff/v1/a/c/"));
        assert!(may_publish(&alice, "ff/v1/a/c/news"));
        assert!(!may_publish(&alice, "ff/v1/a/c/secret/news"));

        let device = grant("device:a:d1", "device password").await;
        assert!(may_publish(&device, "ff/v1/a/p/i1/in/x"));
        assert!(!may_publish(&device, "ff/v1/a/p/i2/in/x"));

        // An instance that another process adds counts for live grants and for new ones.
        let more = "[[instance]]\nid = 'i2'\nteam = 'a'";
        court.provision().apply("more.toml", more).await.unwrap();
        let again = grant("device:a:d1", "device password").await;
        assert!(may_publish(&again, "ff/v1/a/p/i2/in/x"));
        assert!(may_publish(&device, "ff/v1/a/p/i2/in/x"));
    }

    async fn live_grants_follow_changes_without_a_login(database) {
        let court = Court::open(&database, quick()).await;
        let judged = court.judge.judge(login("device:a:d1", "device password"), Time::EPOCH).await;
        let Verdict::Admit(grant) = judged else { panic!("{judged:?}") };
        let before = grant.generation();
        let following = court.follower().await.0;
        let more = "[[instance]]\nid = 'i2'\nteam = 'a'";
        court.provision().apply("more.toml", more).await.unwrap();
        let topic = TopicName::parse("ff/v1/a/p/i2/in/x", 1000, 100).unwrap();
        following.catch_up().await.unwrap();
        assert_eq!(grant.publish(topic).ruling, crate::policy::Ruling::Allow);
        assert_ne!(grant.generation(), before);
    }

    async fn an_anonymous_client_acts_for_its_listeners_team_which_is_made_if_missing(database) {
        let court = Court::open(&database, quick()).await;
        let logins: Vec<_> = (0..20)
            .map(|_| {
                let judge = court.judge.clone();
                tokio::spawn(async move { judge.judge(anonymous("open"), Time::EPOCH).await })
            })
            .collect();
        for login in logins {
            let Verdict::Admit(grant) = login.await.unwrap() else { panic!("not admitted") };
            assert_eq!(grant.mount(), "ff/v1/dev/c/");
            assert_eq!(&*grant.principal().role, "anonymous");
            let topic = TopicName::parse("ff/v1/dev/c/anything", 1000, 100).unwrap();
            assert_eq!(grant.publish(topic).ruling, crate::policy::Ruling::Allow);
        }
        let filter = audit::Filter {
            team: Some("dev".to_owned()),
            ..audit::Filter::default()
        };
        let records = audit::latest(&court.database, &filter, 10).await.unwrap();
        let events: Vec<_> = records.iter().map(|it| it.record.event.as_str()).collect();
        assert_eq!(events, ["team_add"]);

        // Whoever gives a name or a password is judged by it, also there.
        let mut named = login("alice@a", "wrong");
        named.peer.listener = Arc::from("open");
        assert_eq!(said(court.judge.judge(named, Time::EPOCH).await), "refuse wrong_password");

        court.provision().team_suspend("dev", true).await.unwrap();
        let suspended = court.judge.judge(anonymous("open"), Time::EPOCH).await;
        assert_eq!(said(suspended), "refuse team_suspended");
    }

    async fn ten_thousand_devices_that_come_back_at_once_all_get_in(database) {
        let court = Court::open(&database, quick()).await;
        let mut logins = tokio::task::JoinSet::new();
        for _ in 0..10_000 {
            let judge = court.judge.clone();
            logins.spawn(async move { said(judge.judge(login(INSTANCE, TOKEN), Time::EPOCH).await) });
        }
        let mut connections = 0;
        let mut verdicts = HashMap::new();
        while let Some(verdict) = logins.join_next().await {
            connections = connections.max(court.database.pool().size());
            *verdicts.entry(verdict.unwrap()).or_insert(0) += 1;
        }
        assert_eq!(verdicts, HashMap::from([("admit project:a:i1".to_owned(), 10_000)]));
        let most = database_settings().max_connections;
        assert!(connections <= most, "{connections} connections");
    }

    async fn more_logins_than_may_be_judged_at_once_are_turned_away_undecided(database) {
        let court = Court::open(&database, Settings { judging_max: 3, ..quick() }).await;
        let held = hold_all_connections(&court.database).await;
        let judge = court.judge.clone();
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let judge = judge.clone();
                tokio::spawn(async move { said(judge.judge(login(INSTANCE, TOKEN), Time::EPOCH).await) })
            })
            .collect();
        while court.judge.being_judged() < 3 {
            tokio::task::yield_now().await;
        }
        assert_eq!(court.judge(INSTANCE, TOKEN).await, "undecided busy");
        drop(held);
        for login in waiting {
            assert_eq!(login.await.unwrap(), "admit project:a:i1");
        }
    }

    async fn a_database_that_does_not_answer_leaves_the_login_undecided(database) {
        let settings = Settings { deadline: Duration::from_millis(200), ..quick() };
        let court = Court::open(&database, settings).await;
        let held = hold_all_connections(&court.database).await;
        assert_eq!(court.judge(INSTANCE, TOKEN).await, "undecided unavailable");
        assert_eq!(court.judge.being_judged(), 0);
        drop(held);
        assert_eq!(court.judge(INSTANCE, TOKEN).await, "admit project:a:i1");
        court.database.close().await;
        assert_eq!(court.judge(INSTANCE, TOKEN).await, "undecided unavailable");
    }

    async fn tokens_of_another_key_are_counted_and_do_not_match(database) {
        let court = Court::open(&database, quick()).await;
        let count = async |key: &TokenKey| tokens_under_another_key(&court.database, key).await;
        assert_eq!(count(court.secrets.key()).await.unwrap(), 0);
        let other = TokenKey::random().unwrap();
        assert_eq!(count(&other).await.unwrap(), 1);
    }

    async fn a_username_that_reads_as_another_team_than_is_on_record_does_not_get_in(database) {
        let court = Court::open(&database, quick()).await;
        sqlx::query("UPDATE principal SET team = 'b' WHERE username = 'alice@a'")
            .execute(court.database.pool())
            .await
            .unwrap();
        assert_eq!(court.judge("alice@a", "correct horse").await, "undecided unavailable");
    }

    async fn a_world_read_at_once_answers_for_every_username(database) {
        let court = Court::open(&database, quick()).await;
        let world = World::load(&court.database).await.unwrap();
        assert!(world.knows("alice@a") && !world.knows("alice@b"));
        let device = court.policy.principal("device:a:d1", &world).unwrap();
        assert_eq!(device.binding("owner").map(|it| &**it), Some("i1"));
        let grant = court.policy.grant(device, &world).unwrap();
        let topic = TopicName::parse("ff/v1/a/p/i1/in/x", 1000, 100).unwrap();
        assert_eq!(grant.publish(topic).ruling, crate::policy::Ruling::Allow);
        let alice = court.policy.principal("alice@a", &world).unwrap();
        assert_eq!(alice.patterns.len(), 2);
    }
}

async fn hold_all_connections(database: &Database) -> Vec<sqlx::pool::PoolConnection<sqlx::Any>> {
    let mut held = Vec::new();
    for _ in 0..database_settings().max_connections {
        held.push(database.pool().acquire().await.unwrap());
    }
    held
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guesses_beyond_the_waiting_room_are_turned_away_and_the_known_still_get_in() {
    let database = TestDatabase::sqlite().await;
    let settings = Settings {
        hashing_at_once: 1,
        hashing_waiting_max: 3,
        ..quick()
    };
    // Slow enough that all guesses meet in the waiting room.
    let slow = Params::new(16 << 10, 8, 1, None).unwrap();
    let court = Court::with_params(&database, settings, slow).await;
    assert_eq!(
        court.judge("alice@a", "correct horse").await,
        "admit alice@a"
    );

    let before = court.secrets.work().done();
    let mut guesses = tokio::task::JoinSet::new();
    for guess in 0..50 {
        let judge = court.judge.clone();
        let login = login("alice@a", &format!("guess {guess}"));
        guesses.spawn(async move { said(judge.judge(login, Time::EPOCH).await) });
    }
    while court.judge.waiting_for_hashing() < 3 {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        court.judge("alice@a", "correct horse").await,
        "admit alice@a"
    );
    assert_eq!(court.judge(INSTANCE, TOKEN).await, "admit project:a:i1");
    let verdicts = guesses.join_all().await;
    let refused = verdicts
        .iter()
        .filter(|it| *it == "refuse wrong_password")
        .count();
    let busy = verdicts.iter().filter(|it| *it == "undecided busy").count();
    assert_eq!(refused + busy, 50, "{verdicts:?}");
    assert!(busy > 0 && refused >= 4, "{refused} refused, {busy} busy");
    let hashed = court.secrets.work().done().0 - before.0;
    assert_eq!(hashed, refused as u64);
}

#[test]
fn a_refusal_leaves_on_a_grid_of_time() {
    let ms = Duration::from_millis;
    let after = |passed| authenticator::departure(ms(passed), ms(250), ms(9_000));
    assert_eq!(
        [0, 1, 249, 250, 260, 8_900, 9_500].map(after),
        [250, 250, 250, 500, 500, 9_000, 9_000].map(ms)
    );
    assert_eq!(authenticator::departure(ms(3), ms(0), ms(9_000)), ms(0));
}
