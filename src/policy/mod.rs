//! Roles and rules as data; from them, the grant of one connection.
//!
//! A policy is read from TOML (`config/policy/flowfuse.toml` is the built-in one), checked and
//! compiled once. At CONNECT it is instantiated for one principal: the [`Grant`] then decides every
//! publish and subscribe of that connection without I/O. All decisions are made on full topic
//! names, mount included. Called by `identity` (which makes principals and asks for grants) and
//! `broker` (which asks grants).
//!
//! A login that was judged elsewhere brings a name that nobody here has checked:
//! [`Policy::read_username`] makes a principal of it, and refuses what could be read in two ways.
//!
//! From a username to a decision: [`Policy::principal`] finds the role whose username template fits
//! and lets the [`Directory`] add what is on record; [`Policy::grant`] binds the role's templates to
//! that principal; [`Grant::reaches`] is the structural check, which keeps teams apart whatever the
//! rules say; [`Grant::publish`] and [`Grant::subscribe`] ask the rules; [`Grant::explain`] says why.

mod ask;
mod compare;
mod compile;
mod document;
mod error;
mod expectation;
mod explain;
mod explanation;
mod grant;
mod members;
mod namespace;
pub(crate) mod nesting;
mod principal;
mod renew;
mod role;
mod template;
mod text;
mod username;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use ask::{Ask, Standing};
pub use compare::{Changed, Pair, Side};
pub use error::{Fault, GrantError, PolicyError, PolicyErrors, ReplaceError};
pub use expectation::{Difference, Expectation, ExpectationError, Expectations, expectations};
pub use explanation::{Considered, Explanation, RuleReference};
pub use grant::{Decision, Grant, KnownBy, Ruling};
pub use members::{Directory, TeamMembers};
pub use namespace::{Namespace, Owner};
pub use principal::{Action, Pattern, PatternAction, Principal, TeamId};
pub use text::{Part as TemplatePart, parts as template_parts};
pub use username::{USERNAME_MAX, UsernameError};

use role::{Role, TEAM};

/// Hexadecimal digits of a version.
const VERSION: usize = 16;

/// Roles and rules, checked and compiled.
#[derive(Debug)]
pub struct Policy {
    file: Arc<str>,
    version: Arc<str>,
    namespace: Arc<Namespace>,
    roles: Vec<Arc<Role>>,
}

impl Policy {
    /// Name and text of the built-in profile for a FlowFuse-style platform.
    pub const FLOWFUSE: (&str, &str) = (
        "config/policy/flowfuse.toml",
        include_str!("../../config/policy/flowfuse.toml"),
    );

    /// Compiles the text of a policy file; `file` is the name that errors and explanations give it.
    ///
    /// # Errors
    /// [`PolicyErrors`]: everything that is wrong with it.
    pub fn parse(file: &str, text: &str) -> Result<Self, PolicyErrors> {
        let version: Arc<str> = Arc::from(&blake3::hash(text.as_bytes()).to_hex()[..VERSION]);
        let (namespace, roles) = compile::compile(file, &version, text)?;
        Ok(Self {
            file: Arc::from(file),
            version,
            namespace,
            roles,
        })
    }

    /// The built-in profile for a FlowFuse-style platform.
    ///
    /// # Errors
    /// None in a broker whose tests passed: the file is part of it.
    pub fn flowfuse() -> Result<Self, PolicyErrors> {
        let (file, text) = Self::FLOWFUSE;
        Self::parse(file, text)
    }

    /// The name of the file it was read from, as it was given.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Which text it was made of: the first digits of its BLAKE3 hash. Two policies with the same
    /// version decide alike.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The layout of the topic space.
    pub fn namespace(&self) -> &Arc<Namespace> {
        &self.namespace
    }

    /// Who a username is: the role whose template fits it best, the variables in it, and what the
    /// directory adds. `None` where no role takes such a username. Says nothing about whether the
    /// username is on record: a password decides that.
    pub fn principal(&self, username: &str, directory: &dyn Directory) -> Option<Principal> {
        let fitting = self.roles.iter().flat_map(|role| {
            let fitting = role.usernames.iter();
            fitting.filter_map(move |template| Some((role, template, template.capture(username)?)))
        });
        let (role, _, found) = fitting.max_by_key(|(_, template, _)| template.literal_length())?;
        let mut principal = Principal {
            username: Arc::from(username),
            role: Arc::clone(&role.name),
            team: None,
            bindings: Vec::new(),
            patterns: Vec::new(),
        };
        for (slot, value) in found {
            if slot == TEAM {
                principal.team = Some(TeamId::new(value)?);
            } else {
                let name = Arc::clone(role.variables.get(usize::from(slot))?);
                principal.bindings.push((name, Arc::from(value)));
            }
        }
        directory.complete(&mut principal);
        Some(principal)
    }

    /// What the principal may do. Patterns of a principal whose role has no list of its own do not
    /// count.
    ///
    /// # Errors
    /// [`GrantError`], where role, team, bindings and patterns do not make sense together.
    pub fn grant(
        &self,
        principal: Principal,
        directory: &dyn Directory,
    ) -> Result<Grant, GrantError> {
        let role = self.role(&principal.role);
        let role = role.ok_or_else(|| GrantError::UnknownRole(Arc::clone(&principal.role)))?;
        let members = principal.team.as_ref().map(|team| directory.members(team));
        Grant::new(Arc::clone(role), principal, members)
    }

    fn role(&self, name: &str) -> Option<&Arc<Role>> {
        self.roles.iter().find(|role| *role.name == *name)
    }
}
