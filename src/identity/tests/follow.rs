//! Changes followed: each comes once, in order, also after the database was away.

use parking_lot::Mutex;

use super::*;
use crate::broker::Review;
use crate::database::Place;

/// Reviews that were handed over, as they print.
type Handed = Arc<Mutex<Vec<String>>>;

impl Court {
    /// Follows from now on; what is handed over is kept.
    pub(super) async fn follower(&self) -> (Follower, Handed) {
        let place = Place::end(&self.database).await.unwrap();
        let handed = Handed::default();
        let kept = Arc::clone(&handed);
        let keep = move |review: Review| kept.lock().push(format!("{review:?}"));
        let follower = Follower::new(self.judge.clone(), place, Arc::new(keep));
        (follower, handed)
    }
}

fn took(handed: &Handed) -> Vec<String> {
    std::mem::take(&mut handed.lock())
}

/// What one change is handed over as.
async fn one(follower: &Follower, handed: &Handed) -> String {
    follower.catch_up().await.unwrap();
    let mut reviews = took(handed);
    assert_eq!(reviews.len(), 1, "{reviews:?}");
    reviews.remove(0)
}

each_database! {
    async fn each_change_is_handed_over_once_and_to_whom_it_concerns(database) {
        let court = Court::open(&database, quick()).await;
        let (follower, handed) = court.follower().await;
        follower.catch_up().await.unwrap();
        assert_eq!(took(&handed), Vec::<String>::new(), "nothing of what was before");

        court.provision().client_rotate("alice@a").await.unwrap();
        assert_eq!(one(&follower, &handed).await, "principal a alice@a: out (credential 2)");
        court.provision().client_revoke("mute@a").await.unwrap();
        assert_eq!(one(&follower, &handed).await, "principal a mute@a: gone (revoked 3)");
        court.provision().team_suspend("b", true).await.unwrap();
        assert_eq!(one(&follower, &handed).await, "team b: suspended (team_suspended 4)");
        court.provision().team_suspend("b", false).await.unwrap();
        follower.catch_up().await.unwrap();
        assert_eq!(took(&handed), Vec::<String>::new(), "that they may log in ends nothing");
        court.provision().team_remove("b").await.unwrap();
        assert_eq!(one(&follower, &handed).await, "team b: removed (team_removed 6)");

        let apply = async |text: &str| {
            court.provision().apply("change.toml", text).await.unwrap();
        };
        apply("[[instance]]\nid = 'i2'\nteam = 'a'").await;
        assert_eq!(one(&follower, &handed).await, "team a: members (members 7)");
        let d1 = "[[device]]\nid = 'd1'\nteam = 'a'\npassword = 'device password'\n";
        apply(&format!("{d1}owner = {{ type = 'instance', id = 'i2' }}")).await;
        assert_eq!(one(&follower, &handed).await, "principal a device:a:d1: granted (rights 8)");
        apply(&d1.replace("device password", "another password")).await;
        let both = "principal a device:a:d1: out under a new grant (credential 9)";
        assert_eq!(one(&follower, &handed).await, both);
        apply("[[team]]\nid = 'b'\n[[instance]]\nid = 'i2'\nteam = 'b'").await;
        let moved = "team a: members (members 10), team b: members (members 10), \
             principal a project:a:i2: gone (moved 10)";
        assert_eq!(one(&follower, &handed).await, moved);
        apply("[platform]\npassword = 'another password'").await;
        assert_eq!(one(&follower, &handed).await, "principal - forge_platform: out (credential 11)");
    }

    async fn what_changes_while_the_database_is_away_is_handed_over_when_it_is_back(database) {
        let court = Court::open(&database, quick()).await;
        let (follower, handed) = court.follower().await;
        let run = async |sql: &'static str| {
            sqlx::query(sql).execute(court.database.pool()).await.unwrap();
        };
        court.provision().client_revoke("alice@a").await.unwrap();
        run("ALTER TABLE revision RENAME TO away").await;
        for _ in 0..2 {
            follower.catch_up().await.unwrap_err();
        }
        run("ALTER TABLE away RENAME TO revision").await;
        court.provision().client_revoke("mute@a").await.unwrap();
        assert_eq!(
            one(&follower, &handed).await,
            "principal a alice@a: gone (revoked 2), principal a mute@a: gone (revoked 3)"
        );
        // Half way through: the log is there, the members are not.
        apply_rights(&court).await;
        run("ALTER TABLE principal RENAME TO away").await;
        follower.catch_up().await.unwrap_err();
        assert_eq!(took(&handed), Vec::<String>::new());
        run("ALTER TABLE away RENAME TO principal").await;
        assert_eq!(one(&follower, &handed).await, "principal b bob@b: granted (rights 4)");
    }

    async fn a_broker_that_was_away_for_too_long_ends_every_connection(database) {
        let court = Court::open(&database, quick()).await;
        let (follower, handed) = court.follower().await;
        let (other, others) = court.follower().await;
        court.provision().client_revoke("alice@a").await.unwrap();
        other.catch_up().await.unwrap();
        took(&others);
        let later = Provisioner {
            now: Time::from_micros(2) + crate::database::KEPT,
            ..court.provision()
        };
        later.client_revoke("mute@a").await.unwrap();
        assert_eq!(one(&follower, &handed).await, "everyone (unknown 0)");
        assert_eq!(one(&other, &others).await, "principal a mute@a: gone (revoked 3)");
        // As with an older copy of the database.
        let sql = "UPDATE revision SET value = 1";
        sqlx::query(sql).execute(court.database.pool()).await.unwrap();
        assert_eq!(one(&other, &others).await, "everyone (unknown 0)");
        other.catch_up().await.unwrap();
        assert_eq!(took(&others), Vec::<String>::new());
    }

    async fn more_changes_than_are_read_at_once_all_come(database) {
        let court = Court::open(&database, quick()).await;
        let (follower, handed) = court.follower().await;
        let instances = (0..1500).map(|n| format!("[[instance]]\nid = 'n{n}'\nteam = 'a'\n"));
        let text: String = instances.collect();
        court.provision().apply("many.toml", &text).await.unwrap();
        court.provision().client_revoke("alice@a").await.unwrap();
        follower.catch_up().await.unwrap();
        assert_eq!(took(&handed), [
            "team a: members (members 2)",
            "team a: members (members 2), principal a alice@a: gone (revoked 3)",
        ]);
    }

    async fn a_policy_that_is_loaded_anew_counts_for_logins_and_is_refused_where_names_change(database) {
        let court = Court::open(&database, quick()).await;
        let (follower, handed) = court.follower().await;
        let text = include_str!("../../../config/policy/flowfuse.toml");
        let parse = |text: &str| Arc::new(Policy::parse("new.toml", text).unwrap());
        let renamed = text.replace("team = \"ff/v1/{team}/\"", "team = \"gg/v1/{team}/\"");
        let renamed = renamed.replace("\"ff/v1/", "\"gg/v1/");
        let refused = follower.reload(parse(&renamed)).unwrap_err();
        assert_eq!(refused.to_string(), "the namespace is another one, which needs a restart");
        let mount = "mount = \"ff/v1/{team}/c/\"";
        assert!(text.contains(mount));
        let remounted = parse(&text.replace(mount, "mount = \"ff/v1/{team}/\""));
        assert!(follower.reload(remounted).unwrap_err().to_string().contains("mount of role"));
        assert_eq!(took(&handed), Vec::<String>::new());
        assert_eq!(court.judge("alice@a", "correct horse").await, "admit alice@a");

        let strict = text.replace("client_id = [\"{username}\"]", "client_id = [\"x{username}\"]");
        follower.reload(parse(&strict)).unwrap();
        assert_eq!(took(&handed), ["everyone (policy 0)"]);
        assert_eq!(court.judge("alice@a", "correct horse").await, "refuse client_id");
    }
}

async fn apply_rights(court: &Court) {
    let text = "[[client]]\nname = 'bob'\nteam = 'b'\npassword = 'battery staple'\n\
        acl = [{ action = 'both', effect = 'allow', pattern = 'x' }]";
    court.provision().apply("bob.toml", text).await.unwrap();
}
