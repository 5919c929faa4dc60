//! A policy that takes the place of another while the broker runs.
//!
//! Called by whoever reloads the policy: [`Policy::may_replace`] says whether that can be done
//! without a restart, [`Policy::renew`] makes the grants of those who are logged in anew.

use std::sync::Arc;

use super::error::{GrantError, ReplaceError};
use super::grant::Grant;
use super::members::{Directory, TeamMembers};
use super::principal::{Pattern, Principal, TeamId};
use super::text::Text;
use super::{Policy, Role};

/// What is on record about the principal of a grant, as far as the grant has it.
struct Recorded<'a> {
    members: Option<&'a Arc<TeamMembers>>,
    bindings: Vec<(Arc<str>, Arc<str>)>,
    patterns: &'a [Pattern],
}

impl Directory for Recorded<'_> {
    fn members(&self, _team: &TeamId) -> Arc<TeamMembers> {
        self.members.cloned().unwrap_or_default()
    }

    fn complete(&self, principal: &mut Principal) {
        principal.bindings.extend(self.bindings.iter().cloned());
        principal.patterns = self.patterns.to_vec();
    }
}

impl Policy {
    /// Whether this policy can take the place of another while clients are connected: topics must
    /// keep their full names, so the namespace and the mounts of roles must be the same.
    ///
    /// # Errors
    /// [`ReplaceError`]: what is not the same.
    pub fn may_replace(&self, other: &Self) -> Result<(), ReplaceError> {
        if self.namespace != other.namespace {
            return Err(ReplaceError::Namespace);
        }
        for role in &self.roles {
            let known = other.role(&role.name);
            if known.is_some_and(|known| written(known) != written(role)) {
                return Err(ReplaceError::Mount(Arc::clone(&role.name)));
            }
        }
        Ok(())
    }

    /// The grant that a login of the same principal would get under this policy, as far as is known
    /// without asking anybody: its username is read anew, and what was on record about it is taken
    /// from its old grant.
    ///
    /// # Errors
    /// [`GrantError`], where it could not log in any more.
    pub fn renew(&self, grant: &Grant) -> Result<Grant, GrantError> {
        let old = &grant.principal;
        let read = read_from_username(&grant.role, &old.username);
        let recorded = Recorded {
            members: grant.members.as_ref(),
            bindings: match &read {
                None => Vec::new(),
                Some(read) => {
                    let bindings = old.bindings.iter().cloned();
                    bindings.filter(|(name, _)| !read.contains(name)).collect()
                }
            },
            patterns: &old.patterns,
        };
        let principal = match read {
            Some(_) => self
                .principal(&old.username, &recorded)
                .ok_or_else(|| GrantError::Username(Arc::clone(&old.username)))?,
            // Somebody else said who this is, such as a listener of its clients without a name.
            None => old.clone(),
        };
        if principal.team != old.team {
            return Err(GrantError::Team(principal.role));
        }
        let renewed = self.grant(principal, &recorded)?;
        Ok(renewed.asking_like(grant).until(grant.expires()))
    }
}

/// The names of the variables that the role reads from a username; `None`: it takes no such one.
fn read_from_username(role: &Role, username: &str) -> Option<Vec<Arc<str>>> {
    let mut templates = role.usernames.iter();
    let found = templates.find_map(|template| template.capture(username))?;
    let names = found.into_iter();
    let names = names.filter_map(|(slot, _)| role.variables.get(usize::from(slot)));
    Some(names.cloned().collect())
}

/// A role's mount as it stands in the file.
fn written(role: &Role) -> Option<&str> {
    role.mount.as_ref().map(Text::as_str)
}
