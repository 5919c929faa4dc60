//! The same principal under another policy: for a policy that is compared, observed or put in force
//! while principals are connected.

use std::sync::Arc;

use super::error::GrantError;
use super::members::{Directory, TeamMembers};
use super::principal::{Principal, TeamId};
use super::{Grant, Policy};

/// What a grant knows of its principal, in place of the store that it came from.
struct Known<'a>(&'a Grant);

impl Directory for Known<'_> {
    fn members(&self, _team: &TeamId) -> Arc<TeamMembers> {
        self.0.members.clone().unwrap_or_default()
    }

    fn complete(&self, principal: &mut Principal) {
        let known = &self.0.principal;
        for (name, value) in &known.bindings {
            if principal.binding(name).is_none() {
                let binding = (Arc::clone(name), Arc::clone(value));
                principal.bindings.push(binding);
            }
        }
        principal.patterns.clone_from(&known.patterns);
    }
}

impl Policy {
    /// What the principal of `grant`, which another policy made, may do under this one: decided
    /// without I/O, from what was on record at its login and who belongs to its team now.
    ///
    /// # Errors
    /// [`GrantError`], where this policy has no place for it.
    pub fn grant_again(&self, grant: &Grant) -> Result<Grant, GrantError> {
        let (known, directory) = (&grant.principal, Known(grant));
        let mut templates = grant.role.usernames.iter();
        let by_name = templates.any(|template| template.capture(&known.username).is_some());
        // Others are somebody by what their token says, or the broker, as anonymous clients.
        let principal = match by_name {
            true => self.principal(&known.username, &directory),
            false => Some(known.clone()),
        };
        let username = || GrantError::Username(Arc::clone(&known.username));
        self.grant(principal.ok_or_else(username)?, &directory)
    }
}
