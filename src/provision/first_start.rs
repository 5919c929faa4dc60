//! Something to try at once, where a database is new.

use std::sync::Arc;

use super::{Change, ProvisionError, Provisioner, Verb, member};
use crate::policy::{Pattern, PatternAction};

/// The team that a first start makes.
const TEAM: &str = "demo";
/// Its clients.
const CLIENTS: [&str; 2] = ["alice", "bob"];

/// What a first start made; to be shown once.
#[derive(Clone, PartialEq, Eq)]
pub struct FirstStart {
    /// The team's id.
    pub team: &'static str,
    /// Its two clients.
    pub clients: [FirstClient; 2],
}

/// A client with its password.
#[derive(Clone, PartialEq, Eq)]
pub struct FirstClient {
    /// `<name>@<team>`; also its client id.
    pub username: String,
    /// In plain, and kept nowhere else.
    pub password: String,
}

impl std::fmt::Debug for FirstClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FirstClient")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for FirstStart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FirstStart")
            .field("team", &self.team)
            .field("clients", &self.clients)
            .finish()
    }
}

impl Provisioner<'_> {
    /// Makes a team with two clients that may do everything in it, where the database never had a
    /// team; `None` where it did.
    ///
    /// # Errors
    /// [`ProvisionError`].
    pub async fn first_start(&self) -> Result<Option<FirstStart>, ProvisionError> {
        let mut transaction = self.database.begin_administration().await?;
        // The revision counts every change ever made: a team that was removed stays removed.
        let revision: i64 = sqlx::query_scalar("SELECT value FROM revision")
            .fetch_one(&mut *transaction)
            .await?;
        if revision > 0 {
            return Ok(None);
        }
        member::insert_team(&mut transaction, TEAM, "Demo", self.now_us()).await?;
        let everything = [Pattern {
            action: PatternAction::Both,
            allow: true,
            filter: Arc::from("#"),
        }];
        let mut changes = vec![Change {
            verb: Verb::Add,
            what: "team",
            name: TEAM.to_owned(),
            team: Some(TEAM.to_owned()),
            fields: Vec::new(),
        }];
        let [first, second] = CLIENTS.map(|name| format!("{name}@{TEAM}"));
        let mut clients = Vec::with_capacity(2);
        for username in [&first, &second] {
            let (change, password) = self
                .insert_client(&mut transaction, username, &everything)
                .await?;
            changes.push(change);
            clients.push(password);
        }
        self.commit(transaction, &changes, "first_start").await?;
        let mut passwords = clients.into_iter();
        let mut client = |username| FirstClient {
            username,
            password: passwords.next().unwrap_or_default(),
        };
        Ok(Some(FirstStart {
            team: TEAM,
            clients: [client(first), client(second)],
        }))
    }
}
