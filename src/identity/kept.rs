//! The grants of sessions that were kept beyond a restart: what their principals may do now, whatever
//! it was then. Called once, before the shards start.

use std::collections::HashMap;
use std::sync::Arc;

use super::account::{self, Account};
use super::authenticator::{Authenticator, Inner};
use crate::database::DatabaseError;
use crate::fact::Terms;
use crate::policy::{Directory, Grant, KnownBy, Principal, TeamId, TeamMembers};

/// What was on record about a principal, as it was kept with its session.
struct AsKept<'a> {
    members: Option<Arc<TeamMembers>>,
    principal: &'a Principal,
}

impl Directory for AsKept<'_> {
    fn members(&self, _team: &TeamId) -> Arc<TeamMembers> {
        self.members.clone().unwrap_or_default()
    }

    fn complete(&self, principal: &mut Principal) {
        principal.bindings.clone_from(&self.principal.bindings);
        principal.patterns.clone_from(&self.principal.patterns);
    }
}

impl Authenticator {
    /// The grant of each of these sessions, in their order. Who is on record has what it may do by that
    /// now; for whom somebody else vouched, and would again, it is what that was. `None`: nobody's.
    ///
    /// # Errors
    /// [`DatabaseError`]: nothing is known of anybody.
    pub async fn grants_of(
        &self,
        sessions: &[&Terms],
        revision: i64,
    ) -> Result<Vec<Option<Arc<Grant>>>, DatabaseError> {
        let inner = &self.inner;
        let usernames = sessions.iter().map(|it| &*it.principal.username);
        let usernames: Vec<_> = usernames.collect();
        let accounts = account::find_all(inner.accounts.database(), &usernames).await?;
        // One for all sessions of somebody, where it follows from the username.
        let mut known = HashMap::new();
        let mut grants = Vec::with_capacity(sessions.len());
        for session in sessions {
            let key = (&*session.principal.username, session.known_by);
            let grant = match known.get(&key) {
                Some(grant) => Option::clone(grant),
                None => {
                    let account = accounts.get(&*session.principal.username);
                    let grant = inner.grant_as_kept(session, account, revision).await?;
                    grant.map(Arc::new)
                }
            };
            if session.known_by != KnownBy::Proof {
                known.insert(key, grant.clone());
            }
            grants.push(grant);
        }
        Ok(grants)
    }
}

impl Inner {
    async fn grant_as_kept(
        &self,
        session: &Terms,
        account: Option<&Result<Account, DatabaseError>>,
        revision: i64,
    ) -> Result<Option<Grant>, DatabaseError> {
        let principal = &session.principal;
        match (session.known_by, account) {
            (KnownBy::Name, _) => {
                let hook = self.asked_about_logins();
                Ok(hook.and_then(|hook| self.grant_by_name(hook, &principal.username).ok()))
            }
            (KnownBy::Proof, _) if self.tokens.is_some() || self.certificates.is_some() => {
                let grant = self.grant_of_before(principal, revision).await?;
                Ok(grant.map(Grant::proved))
            }
            (_, Some(Ok(account))) if account.team == principal.team => {
                let members = self.members_at_start(principal, revision).await?;
                Ok(self.bind(&principal.username, account, members).ok())
            }
            (_, Some(Ok(_))) => Ok(None), // it is another team's now
            (_, Some(Err(error))) => {
                tracing::error!(username = %principal.username, %error, "rights that cannot be read");
                Ok(None)
            }
            (_, None) if self.is_still_anonymous(principal) => {
                self.grant_of_before(principal, revision).await
            }
            (_, None) => Ok(None),
        }
    }

    /// By what was known of it when it logged in.
    async fn grant_of_before(
        &self,
        principal: &Principal,
        revision: i64,
    ) -> Result<Option<Grant>, DatabaseError> {
        let members = self.members_at_start(principal, revision).await?;
        let directory = AsKept { members, principal };
        let grant = self.policy.load().grant(principal.clone(), &directory);
        Ok(grant.ok().map(|grant| self.with_its_asking(grant)))
    }

    async fn members_at_start(
        &self,
        principal: &Principal,
        revision: i64,
    ) -> Result<Option<Arc<TeamMembers>>, DatabaseError> {
        let Some(team) = &principal.team else {
            return Ok(None);
        };
        let database = self.accounts.database();
        self.members.of(database, team, revision).await.map(Some)
    }
}
