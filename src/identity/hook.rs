//! Logins of usernames that our store does not know, where the platform's own store may.
//!
//! Who somebody would be is settled before the hook is asked, by the username alone: role, team and
//! client id. So a credential that is good for one login is not spent on one that could not succeed,
//! and no answer can make anybody a member of another team.

use std::sync::Arc;

use super::anonymous::ANONYMOUS;
use super::authenticator::{Declined, Inner};
use super::http::{self, Hook, Said};
use crate::broker::{Login, Refusal};
use crate::policy::{Ask, Directory, Grant, Principal, TeamId, TeamMembers};
use crate::telemetry::metric as m;

/// A store that knows nothing beyond the username.
struct NothingKnown;

impl Directory for NothingKnown {
    fn members(&self, _: &TeamId) -> Arc<TeamMembers> {
        Arc::default()
    }

    fn complete(&self, _: &mut Principal) {}
}

impl Inner {
    /// The hook, where it is asked about logins.
    pub(super) fn asked_about_logins(&self) -> Option<&Arc<Hook>> {
        self.hook.as_ref().filter(|hook| hook.authenticates())
    }

    /// The grant of somebody whom our own store vouches for. A hook that lets clients in of its own
    /// knows nothing of ours: it is not asked what they may do.
    pub(super) fn with_its_asking(&self, grant: Grant) -> Grant {
        match &self.hook {
            Some(hook) if !hook.authenticates() => grant.asking(hook.ask()),
            _ => grant,
        }
    }

    /// Has the hook judge a login.
    pub(super) async fn by_hook(
        &self,
        hook: &Hook,
        login: &Login,
        username: &str,
        password: &[u8],
    ) -> Result<Grant, Declined> {
        let refused = |refusal| Err(Declined::Refused(refusal));
        let Ok(password) = std::str::from_utf8(password) else {
            return refused(Refusal::WrongPassword); // it cannot even be asked about
        };
        let grant = match username {
            // Nobody; but that is for the hook to say, and to count.
            "" => None,
            _ => Some(self.grant_by_name(hook, username)?),
        };
        if let Some(grant) = &grant {
            self.fits(grant, login)?;
            // Most often our own store does not know the team.
            if let Some(team) = grant.team()
                && self.is_suspended(team).await?
            {
                return refused(Refusal::TeamSuspended);
            }
        }
        let team = grant.as_ref().and_then(Grant::team);
        let team = team.map_or("", |team| team.as_str()).to_owned();
        let asked = http::Login {
            username,
            password,
            client_id: &login.client_id,
        };
        let Some(statement) = hook.login(&asked, &team).await else {
            return Err(Declined::Undecided(Refusal::Unavailable));
        };
        match (statement.said, grant) {
            (Said::No, _) => refused(Refusal::Hook),
            (Said::Own, _) | (Said::Yes, None) => refused(Refusal::UnknownUser),
            (Said::Yes, Some(grant)) => {
                let mount = statement.mount.as_deref().unwrap_or_default();
                if mount.is_empty() || mount == grant.mount() {
                    return Ok(grant);
                }
                m::HOOK_LIES.count(&[], 1);
                tracing::error!(
                    username,
                    mount,
                    "the hook gave a client another mount than its username has: refused"
                );
                refused(Refusal::HookLied)
            }
        }
    }

    /// What a username that was let in elsewhere may do.
    pub(super) fn grant_by_name(&self, hook: &Hook, username: &str) -> Result<Grant, Declined> {
        let unknown = |why: &dyn std::fmt::Display| {
            tracing::debug!(username, %why, "a username that is nobody's");
            Declined::Refused(Refusal::UnknownUser)
        };
        // The name of those who have none: their sessions are not to be had by it.
        if username.split('@').next() == Some(ANONYMOUS) {
            return Err(unknown(&"it is the broker's own"));
        }
        let policy = self.policy.load();
        let principal = policy.read_username(username, &NothingKnown);
        let principal = principal.map_err(|error| unknown(&error))?;
        let grant = policy.grant(principal, &NothingKnown);
        let grant = grant.map_err(|error| unknown(&error))?;
        let ask = match hook.authorizes() {
            true => hook.ask(),
            false => Ask::Never,
        };
        Ok(grant.known_by_name_only().asking(ask))
    }
}
