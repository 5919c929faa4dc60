//! The grants of sessions that were kept beyond a restart: what their principals may do now, whatever
//! it was then. Called once, before the shards start.

use std::collections::HashMap;
use std::sync::Arc;

use super::account;
use super::authenticator::Authenticator;
use crate::database::DatabaseError;
use crate::policy::{Directory, Grant, Principal, TeamId, TeamMembers};

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
    /// The grants of these principals, by username. Who is not on record any more has none, unless
    /// somebody else vouches for it at its next login: then it is what it was.
    ///
    /// # Errors
    /// [`DatabaseError`]: nothing is known of anybody.
    pub async fn grants_of(
        &self,
        principals: &[&Principal],
        revision: i64,
    ) -> Result<HashMap<Arc<str>, Arc<Grant>>, DatabaseError> {
        let inner = &self.inner;
        let usernames: Vec<_> = principals.iter().map(|it| &*it.username).collect();
        let accounts = account::find_all(inner.accounts.database(), &usernames).await?;
        let mut grants = HashMap::with_capacity(principals.len());
        for principal in principals {
            let grant = match accounts.get(&*principal.username) {
                Some(Ok(account)) if account.team == principal.team => inner
                    .grant(&principal.username, account, revision)
                    .await
                    .ok(),
                Some(Ok(_)) => None, // it is another team's now
                Some(Err(error)) => {
                    tracing::error!(username = %principal.username, %error, "rights that cannot be read");
                    None
                }
                None if inner.is_vouched_for(principal) => {
                    let members = match &principal.team {
                        Some(team) => Some(
                            inner
                                .members
                                .of(inner.accounts.database(), team, revision)
                                .await?,
                        ),
                        None => None,
                    };
                    let directory = AsKept { members, principal };
                    let grant = inner.policy.load().grant((*principal).clone(), &directory);
                    grant.ok().map(|grant| inner.with_its_asking(grant))
                }
                None => None,
            };
            if let Some(grant) = grant {
                grants.insert(Arc::clone(&principal.username), Arc::new(grant));
            }
        }
        Ok(grants)
    }
}
