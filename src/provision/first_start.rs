//! Something to try at once, where a database is new.

use std::sync::Arc;

use super::{Change, ProvisionError, Provisioner, Verb, member};
use crate::policy::{Pattern, PatternAction};

/// The team that a first start makes.
const TEAM: &str = "demo";
/// The client that publishes in the examples, and the one that subscribes.
const CLIENTS: [&str; 2] = ["sensor", "viewer"];

/// What a first start made, so that there is something to try; to be shown once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstStart {
    /// The team's id.
    pub team: String,
    /// A client that publishes in the examples.
    pub publisher: DemoClient,
    /// A client that subscribes in them.
    pub subscriber: DemoClient,
}

/// A client with its password, which is kept nowhere else.
#[derive(Clone, PartialEq, Eq)]
pub struct DemoClient {
    /// `<name>@<team>`; also the client id that it must use.
    pub username: String,
    /// In plain: for this one time.
    pub password: String,
}

impl std::fmt::Debug for DemoClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DemoClient")
            .field("username", &self.username)
            .finish_non_exhaustive()
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
        let team = member::TeamRow {
            name: "Demo".to_owned(),
            ..member::TeamRow::default()
        };
        member::insert_team(&mut transaction, TEAM, &team, self.now_us()).await?;
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
        let mut made = Vec::with_capacity(CLIENTS.len());
        for name in CLIENTS {
            let username = format!("{name}@{TEAM}");
            let (change, password) = self
                .insert_client(&mut transaction, &username, &everything)
                .await?;
            changes.push(change);
            made.push(DemoClient { username, password });
        }
        self.commit(transaction, &changes, "first_start").await?;
        let made: Option<[DemoClient; 2]> = made.try_into().ok();
        Ok(made.map(|[publisher, subscriber]| FirstStart {
            team: TEAM.to_owned(),
            publisher,
            subscriber,
        }))
    }
}
