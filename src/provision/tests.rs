//! Provisioning against a database.

use argon2::Params;
use serde_json::json;
use sqlx::Row as _;

use super::*;
use crate::audit::{Filter, Record, latest};
use crate::cli::{
    Answer, AuditList, AuditWhich, ClientCommand, TeamCommand, apply, audit, client, team,
};
use crate::config::Config;
use crate::database::testing::{TestDatabase, each_database};
use crate::identity::TokenKey;

const TOKEN: &str = "ffbp_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG";

const WORLD: &str = r##"
[[team]]
id = "a"
name = "Team A"

[[instance]]
id = "i1"
team = "a"
password = "ffbp_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"

[[device]]
id = "d1"
team = "a"
owner = { type = "instance", id = "i1" }

[[client]]
name = "alice"
team = "a"
password = "correct horse"
acl = [{ action = "both", effect = "allow", pattern = "#" }]

[platform]
password = "platform password"
"##;

/// A configuration with a plan.
const PLANS: &str = "[[listener]]\nname = \"a\"\ntransport = \"tcp\"\n\
                     bind = \"127.0.0.1:1883\"\n[plan.small]\nmax_connections = 5\n";

struct Office {
    database: Database,
    secrets: Secrets,
    policy: Policy,
    plans: Plans,
}

impl Office {
    fn open(database: &TestDatabase) -> Self {
        let key = TokenKey::load(database.folder(), None).unwrap();
        let params = Params::new(8, 1, 1, None).unwrap();
        Self {
            database: Database::clone(database),
            secrets: Secrets::with_params(key, params).unwrap(),
            policy: Policy::flowfuse().unwrap(),
            plans: Config::parse("plans.toml", PLANS, []).unwrap().plans,
        }
    }

    fn at(&self, micros: u64) -> Provisioner<'_> {
        Provisioner {
            database: &self.database,
            secrets: &self.secrets,
            policy: &self.policy,
            plans: &self.plans,
            actor: "cli:root",
            now: Time::from_micros(micros),
        }
    }

    /// What `apply` says it changed.
    async fn apply(&self, text: &str) -> Vec<String> {
        let applied = self.at(1).apply("file.toml", text).await.unwrap();
        applied.changes.iter().map(Change::to_string).collect()
    }

    async fn records(&self) -> Vec<Record> {
        let linked = latest(&self.database, &Filter::default(), 1000)
            .await
            .unwrap();
        linked.into_iter().map(|linked| linked.record).collect()
    }

    async fn events(&self) -> Vec<String> {
        self.records()
            .await
            .into_iter()
            .map(|it| it.event)
            .collect()
    }

    /// Everything in the tables but the audit, as text.
    async fn contents(&self) -> Vec<String> {
        let mut contents = Vec::new();
        for sql in [
            "SELECT id || ' ' || name || ' ' || suspended FROM team ORDER BY 1",
            "SELECT username || ' ' || id || ' ' || COALESCE(team, '-') || ' ' || \
             COALESCE(owner_type, '-') || ' ' || COALESCE(owner, '-') || ' ' || patterns || ' ' || \
             COALESCE(secret, '-') || ' ' || changed_us FROM principal ORDER BY 1",
            "SELECT CAST(value AS TEXT) FROM revision",
        ] {
            for row in sqlx::query(sql)
                .fetch_all(self.database.pool())
                .await
                .unwrap()
            {
                contents.push(row.try_get(0).unwrap());
            }
        }
        contents
    }

    fn matches(&self, password: &str, stored: Option<&str>) -> bool {
        self.secrets.check(password.as_bytes(), stored)
    }

    async fn secret(&self, username: &str) -> Option<String> {
        sqlx::query_scalar("SELECT secret FROM principal WHERE username = $1")
            .bind(username)
            .fetch_one(self.database.pool())
            .await
            .unwrap()
    }
}

each_database! {
    async fn what_is_applied_twice_changes_nothing_the_second_time(database) {
        let office = Office::open(&database);
        assert_eq!(office.apply(WORLD).await, [
            "+ team a",
            "+ instance project:a:i1",
            "+ device device:a:d1",
            "+ client alice@a",
            "+ platform forge_platform",
        ]);
        let contents = office.contents().await;
        let records = office.records().await;

        let again = office.at(9).apply("file.toml", WORLD).await.unwrap();
        assert_eq!(again, Applied { changes: vec![], unchanged: 5, notes: vec![] });
        assert_eq!(office.contents().await, contents);
        assert_eq!(office.records().await, records);
    }

    async fn each_change_is_on_record_with_who_made_it(database) {
        let office = Office::open(&database);
        office.apply(WORLD).await;
        let told: Vec<_> = office
            .records()
            .await
            .into_iter()
            .map(|it| (it.event, it.level.as_str(), it.team, it.actor, it.detail.into()))
            .collect();
        let record = |event: &str, level, team: Option<&str>, name: &str| {
            let actor = Some("cli:root".to_owned());
            let detail = json!({"name": name, "via": "apply", "revision": 1});
            (event.to_owned(), level, team.map(str::to_owned), actor, detail)
        };
        assert_eq!(told, [
            record("team_add", "platform", Some("a"), "a"),
            record("instance_add", "team", Some("a"), "project:a:i1"),
            record("device_add", "team", Some("a"), "device:a:d1"),
            record("client_add", "team", Some("a"), "alice@a"),
            record("platform_add", "platform", None, "forge_platform"),
        ]);
        for record in office.records().await {
            let text = record.to_json().to_string();
            assert!(!text.contains("horse") && !text.contains("argon2"), "{text}");
        }
    }

    async fn a_change_names_what_is_different_and_leaves_the_rest(database) {
        let office = Office::open(&database);
        office.apply(WORLD).await;
        let i1 = office.secret("project:a:i1").await;
        assert_eq!(office.apply(r##"
            [[team]]
            id = "a"
            name = "Team Alpha"
            [[team]]
            id = "b"
            [[device]]
            id = "d1"
            team = "a"
            owner = { type = "application", id = "app1" }
            password = "now it has one"
            [[client]]
            name = "alice"
            team = "a"
            acl = [{ action = "publish", effect = "deny", pattern = "x/#" }]
            [platform]
            password = "another"
        "##).await, [
            "~ team a: name",
            "+ team b",
            "~ device device:a:d1: owner, password set",
            "~ client alice@a: acl, password removed",
            "~ platform forge_platform: password",
        ]);
        assert_eq!(office.secret("project:a:i1").await, i1);
        assert_eq!(office.secret("alice@a").await, None);
        assert!(office.matches("another", office.secret("forge_platform").await.as_deref()));
    }

    async fn a_machine_that_moves_to_another_team_leaves_nothing_behind(database) {
        let office = Office::open(&database);
        office.apply(WORLD).await;
        let moved = "[[team]]\nid = 'b'\n[[instance]]\nid = 'i1'\nteam = 'b'\npassword = 'x'";
        assert_eq!(office.apply(moved).await, [
            "+ team b",
            "~ instance project:b:i1: moved from team a, password",
        ]);
        let instances: Vec<String> =
            sqlx::query_scalar("SELECT username FROM principal WHERE kind = 'instance'")
                .fetch_all(database.pool()).await.unwrap();
        assert_eq!(instances, ["project:b:i1"]);
    }

    async fn a_bad_file_changes_nothing_at_all_and_says_where_it_is_bad(database) {
        let office = Office::open(&database);
        office.apply(WORLD).await;
        let contents = office.contents().await;
        let records = office.records().await;
        let good = "[[team]]\nid = 'new'\n";
        for (bad, problem) in [
            ("[[team]\nid = 'x'", "file.toml:3: "),
            ("[[teams]]\nid = 'x'", "file.toml:3: teams: unknown key; did you mean `team`?"),
            ("[[team]]\nname = 'x'", "file.toml:3: team.x.id: is missing"),
            ("[[team]]\nid = 'new'", "file.toml:4: team.new.id: team new is declared twice"),
            ("[[team]]\nid = 'a/b'", "file.toml:4: team.a/b.id: \"a/b\" cannot be an id or name"),
            ("[[team]]\nid = 'platform'", "the topic space has another use for this word"),
            ("[[team]]\nid = 7", "file.toml:4: team.1.id: expected text in quotes, found 7"),
            ("[[client]]\nname = 'x'\nteam = 'new'\npasswort = 'x'",
             "file.toml:6: client.x.passwort: unknown key; did you mean `password`?"),
            ("[[client]]\nname = 'x'\nteam = 'nowhere'",
             "file.toml:5: client.x.team: there is no team \"nowhere\""),
            ("[[client]]\nname = 'anonymous'\nteam = 'new'", "no client can be called"),
            ("[[client]]\nname = 'x'\nteam = 'new'\npassword = '$2b$12$abc'",
             "file.toml:6: client.x.password: a text that begins like a hash"),
            ("[[client]]\nname = 'x'\nteam = 'new'\npassword = ''",
             "file.toml:6: client.x.password: is empty"),
            ("[[client]]\nname = 'x'\nteam = 'new'\nacl = [{action='both', effect='alow', pattern='#'}]",
             "client.x.acl.0.effect: \"alow\" is not one of allow, deny; did you mean `allow`?"),
            ("[[client]]\nname = 'x'\nteam = 'new'\nacl = [{action='both', effect='allow', pattern='a/#/b'}]",
             "client.x.acl.0.pattern: # and + stand alone in their level, and # stands last"),
            ("[[client]]\nname = 'x'\nteam = 'new'\nacl = [{action='both', effect='allow', pattern='$share/g/a'}]",
             "a pattern has no $share/<group>/ before it"),
            ("[[client]]\nname = 'x'\nteam = 'new'\n[[client]]\nname = 'x'\nteam = 'new'",
             "file.toml:7: client.x.name: client x@new is declared twice"),
            ("[[device]]\nid = 'd'\nteam = 'new'\nowner = { type = 'instance', id = 'i1' }",
             "file.toml:6: device.d.owner: the instance belongs to the team \"a\""),
            ("[[device]]\nid = 'd'\nteam = 'new'\nowner = { kind = 'instance', id = 'i1' }",
             "device.d.owner.type: is missing"),
            ("[[instance]]\nid = 'i'\nteam = 'new'\nowner = { type = 'instance', id = 'i1' }",
             "file.toml:6: instance.i.owner: unknown key"),
            ("[platform]\npasword = 'x'", "file.toml:4: platform.pasword: unknown key; did you mean `password`?"),
        ] {
            let error = office.at(2).apply("file.toml", &format!("{good}{bad}")).await.unwrap_err();
            let message = error.to_string();
            assert!(matches!(error, ProvisionError::File(_)), "{message}");
            assert!(message.contains(problem), "{bad}\n{message}");
            assert!(message.ends_with("nothing was changed"), "{message}");
            assert_eq!(office.contents().await, contents, "{bad}");
            assert_eq!(office.records().await, records, "{bad}");
        }
    }

    async fn every_problem_of_a_file_is_reported_at_once(database) {
        let office = Office::open(&database);
        let bad = "[[team]]\nid = 'a b'\n[[client]]\nname = 'x'\nteam = 'a'\ncolour = 1\n[what]\n";
        let error = office.at(1).apply("file.toml", bad).await.unwrap_err();
        assert_eq!(error.to_string().lines().count(), 4, "{error}");
    }

    async fn a_password_may_be_given_as_a_hash(database) {
        let office = Office::open(&database);
        let password = office.secrets.hash("from elsewhere").unwrap();
        let token = office.secrets.hash(TOKEN).unwrap();
        let file = format!(
            "[[team]]\nid = 'a'\n\
             [[client]]\nname = 'x'\nteam = 'a'\npassword = '{password}'\n\
             [[instance]]\nid = 'i'\nteam = 'a'\npassword = '{token}'\n"
        );
        assert_eq!(office.apply(&file).await.len(), 3);
        assert_eq!(office.secret("x@a").await, Some(password));
        assert_eq!(office.secret("project:a:i").await, Some(token));
        assert_eq!(office.apply(&file).await, Vec::<String>::new());
    }

    async fn two_that_apply_at_once_do_not_mix(database) {
        let office = std::sync::Arc::new(Office::open(&database));
        let mut applying = tokio::task::JoinSet::new();
        for _ in 0..6 {
            let office = std::sync::Arc::clone(&office);
            applying.spawn(async move { office.apply(WORLD).await.len() });
        }
        let mut changed = applying.join_all().await;
        changed.sort_unstable();
        assert_eq!(changed, [0, 0, 0, 0, 0, 5]);
        assert_eq!(office.events().await.len(), 5);
    }

    async fn a_file_declares_a_teams_plan_and_what_differs_from_it(database) {
        let office = Office::open(&database);
        let stored = async || {
            let team = TeamEntry::list(&database).await.unwrap().remove(0);
            (team.plan, team.limits)
        };
        let declare = async |more: &str| {
            let text = format!("[[team]]\nid = \"t\"\n{more}");
            let applied = office.at(1).apply("t.toml", &text).await;
            applied.map(|it| it.changes.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        let small = "plan = \"small\"\nlimits = { max_connections = 5, client = { message_rate = 9 } }\n";
        assert_eq!(declare(small).await.unwrap(), ["+ team t"]);
        let limits = "max_connections = 5\nclient.message_rate = 9\n".to_owned();
        assert_eq!(stored().await, (Some("small".to_owned()), limits));
        assert_eq!(declare(small).await.unwrap(), [""; 0]);
        let wrong = declare("limits = { max_connections = -1, no = 1 }\n").await.unwrap_err();
        let wrong = wrong.to_string();
        assert!(wrong.contains("t.toml:3: team.t.limits.max_connections"), "{wrong}");
        assert!(wrong.contains("team.t.limits.no: unknown key"), "{wrong}");
        // With everything else that is wrong, at its place; and nothing was changed by it.
        let unknown = declare("plan = \"smalll\"\n[[team]]\nid = \"u\"\nplan = \"tiny\"\n").await;
        let unknown = unknown.unwrap_err().to_string();
        let lines: Vec<_> = unknown.lines().collect();
        assert_eq!(lines[..2], [
            "t.toml:3: team.t.plan: there is no plan \"smalll\" in the configuration; did you mean `small`?",
            "t.toml:6: team.u.plan: there is no plan \"tiny\" in the configuration",
        ]);
        assert_eq!(stored().await.0.as_deref(), Some("small"));
        // What it leaves out counts as said.
        assert_eq!(declare("").await.unwrap(), ["~ team t: plan, limits"]);
        assert_eq!(stored().await, (None, String::new()));
    }

    async fn a_teams_life_from_add_to_remove(database) {
        let office = Office::open(&database);
        let at = office.at(1);
        assert_eq!(at.team_add("t", Some("Tea"), None).await.unwrap().to_string(), "+ team t");
        assert!(matches!(at.team_add("t", None, None).await, Err(ProvisionError::Exists { .. })));
        assert!(matches!(at.team_add("a/b", None, None).await, Err(ProvisionError::Name(_))));
        at.client_add("c@t", &[]).await.unwrap();
        let suspend = async |yes| at.team_suspend("t", yes).await.unwrap().map(|it| it.to_string());
        assert_eq!(suspend(true).await.as_deref(), Some("~ team t"));
        assert_eq!(suspend(true).await, None);
        let plan = async |plan, set| {
            let changed = at.team_plan("t", plan, set).await;
            changed.map(|change| change.map(|it| it.to_string()))
        };
        let set = "max_connections = 5";
        let changed = plan(Some("small"), set).await.unwrap();
        assert_eq!(changed.as_deref(), Some("~ team t: plan, limits"));
        assert_eq!(plan(Some("small"), set).await.unwrap(), None);
        let wrong = plan(Some("small"), "max_conections = 5").await.unwrap_err().to_string();
        assert!(wrong.contains("did you mean `max_connections`?"), "{wrong}");
        for unknown in [
            plan(Some("smal"), "").await.err(),
            at.team_add("u", None, Some("smal")).await.err(),
        ] {
            let unknown = unknown.unwrap().to_string();
            assert_eq!(unknown, "there is no plan \"smal\" in the configuration; did you mean `small`?");
        }
        let teams = TeamEntry::list(&database).await.unwrap();
        assert_eq!(teams, [TeamEntry {
            id: "t".to_owned(),
            name: "Tea".to_owned(),
            plan: Some("small".to_owned()),
            limits: "max_connections = 5\n".to_owned(),
            suspended: true,
            instances: 0,
            devices: 0,
            clients: 1,
            created: "1970-01-01T00:00:00.000001Z".to_owned(),
        }]);
        assert_eq!(suspend(false).await.as_deref(), Some("~ team t"));
        let removed = at.team_remove("t").await.unwrap().to_string();
        assert_eq!(removed, "- team t: with 1 members");
        for gone in [
            at.team_remove("t").await.err(),
            at.team_suspend("t", true).await.err(),
            at.team_plan("t", None, "").await.err(),
        ] {
            assert!(matches!(gone, Some(ProvisionError::Missing { what: "team", .. })), "{gone:?}");
        }
        assert_eq!(ClientEntry::list(&database, None).await.unwrap(), []);
        let mut events = office.events().await;
        events.sort_unstable();
        assert_eq!(events, ["client_add", "team_add", "team_change", "team_remove", "team_resume", "team_suspend"]);
    }

    async fn a_clients_life_from_add_to_revoke(database) {
        let office = Office::open(&database);
        let at = office.at(1);
        let missing = at.client_add("c@t", &[]).await.unwrap_err();
        assert_eq!(missing.to_string(), "there is no team t; `cofferdam team list` shows what there is");
        at.team_add("t", None, None).await.unwrap();
        let (_, password) = at.client_add("c@t", &[]).await.unwrap();
        let first = office.secret("c@t").await;
        assert!(password.starts_with("cfd_") && office.matches(&password, first.as_deref()));
        assert!(matches!(at.client_add("c@t", &[]).await, Err(ProvisionError::Exists { .. })));

        let (_, rotated) = at.client_rotate("c@t").await.unwrap();
        let second = office.secret("c@t").await;
        assert!(!office.matches(&password, second.as_deref()));
        assert!(office.matches(&rotated, second.as_deref()));

        assert_eq!(at.client_revoke("c@t").await.unwrap().to_string(), "- client c@t");
        for gone in [at.client_rotate("c@t").await.err(), at.client_revoke("c@t").await.err()] {
            assert!(matches!(gone, Some(ProvisionError::Missing { what: "client", .. })), "{gone:?}");
        }
        for bad in ["c", "c@", "@t", "a:b@t", "anonymous@t", "x@y@t"] {
            let error = at.client_add(bad, &[]).await.unwrap_err();
            assert!(matches!(error, ProvisionError::Name(_)), "{bad}: {error}");
        }
    }

    async fn the_first_start_makes_a_team_to_try_and_the_next_does_not(database) {
        let office = Office::open(&database);
        let made = office.at(1).first_start().await.unwrap().unwrap();
        assert_eq!(made.team, "demo");
        let clients = [&made.publisher, &made.subscriber];
        assert_eq!(clients.map(|it| it.username.as_str()), ["sensor@demo", "viewer@demo"]);
        assert_ne!(made.publisher.password, made.subscriber.password);
        for client in clients {
            let stored = office.secret(&client.username).await;
            assert!(office.matches(&client.password, stored.as_deref()));
            assert!(!format!("{made:?}").contains(&client.password));
        }
        assert_eq!(office.events().await, ["team_add", "client_add", "client_add"]);
        assert_eq!(office.at(2).first_start().await.unwrap(), None);
        office.at(3).team_remove("demo").await.unwrap();
        assert_eq!(office.at(4).first_start().await.unwrap(), None);
    }

    async fn the_commands_answer_for_people_and_for_programs(database) {
        let office = Office::open(&database);
        let at = office.at(1_000_000);
        let answer = async |json: bool, what: &str| {
            let mut text = Vec::new();
            let mut answer = Answer { json, to: &mut text };
            match what {
                "apply" => apply::apply("world.toml", WORLD, &at, &mut answer).await,
                "teams" => team::carry_out(&TeamCommand::List, &at, &mut answer).await,
                "clients" => {
                    let list = ClientCommand::List { team: None };
                    client::carry_out(&list, &at, &mut answer).await
                }
                "rotate" => {
                    let rotate = ClientCommand::Rotate { username: "alice@a".to_owned() };
                    client::carry_out(&rotate, &at, &mut answer).await
                }
                _ => {
                    let list = AuditList {
                        which: AuditWhich {
                            team: Some("a".to_owned()),
                            event: Some("client_add".to_owned()),
                            since: Some("5s".to_owned()),
                            ..AuditWhich::default()
                        },
                        limit: 5,
                    };
                    audit::show(&list, at.database, at.now, None, &mut answer).await
                }
            }
            .unwrap();
            String::from_utf8(text).unwrap()
        };
        let parsed = |text: String| -> Vec<serde_json::Value> {
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        let applied = answer(false, "apply").await;
        assert!(applied.starts_with("+ team a\n+ instance project:a:i1\n"), "{applied}");
        assert!(applied.ends_with("5 changed, 0 as declared\n"), "{applied}");
        let again = parsed(answer(true, "apply").await);
        assert_eq!(again, [json!({"changes": [], "unchanged": 5, "notes": []})]);

        assert_eq!(answer(false, "teams").await,
            "TEAM  NAME    PLAN  STATE   INSTANCES  DEVICES  CLIENTS  CREATED\n\
             a     Team A  -     active  1          1        1        1970-01-01T00:00:01Z\n");
        assert_eq!(parsed(answer(true, "teams").await), [json!({"id": "a", "name": "Team A",
            "plan": null, "limits": "", "suspended": false, "instances": 1, "devices": 1, "clients": 1,
            "created": "1970-01-01T00:00:01Z"})]);
        assert_eq!(answer(false, "clients").await,
            "CLIENT   CAN LOG IN  MAY           CHANGED\n\
             alice@a  yes         allow both=#  1970-01-01T00:00:01Z\n");
        assert_eq!(parsed(answer(true, "clients").await), [json!({"username": "alice@a",
            "team": "a", "acl": [{"action": "both", "effect": "allow", "pattern": "#"}],
            "can_log_in": true, "created": "1970-01-01T00:00:01Z",
            "changed": "1970-01-01T00:00:01Z"})]);

        let rotated = parsed(answer(true, "rotate").await);
        let password = rotated[0]["password"].as_str().unwrap();
        assert!(office.matches(password, office.secret("alice@a").await.as_deref()));
        assert_eq!(rotated[0]["username"], "alice@a");

        assert_eq!(answer(false, "audit").await,
            "TIME                  LEVEL  TEAM  EVENT       ACTOR     CLIENT ID  REMOTE  LISTENER  DETAIL\n\
             1970-01-01T00:00:01Z  team   a     client_add  cli:root  -          -       -         name=alice@a revision=1 via=apply\n");
        let mut records = parsed(answer(true, "audit").await);
        let hash = records[0].as_object_mut().unwrap().remove("hash");
        assert_eq!(hash.unwrap().as_str().unwrap().len(), 64);
        assert_eq!(records, [json!({"chain": "a", "number": 3,
            "time": "1970-01-01T00:00:01Z", "time_us": 1_000_000,
            "level": "team", "team": "a", "event": "client_add", "actor": "cli:root",
            "client_id": null, "remote": null, "listener": null,
            "detail": {"name": "alice@a", "via": "apply", "revision": 1}})]);
    }
}
