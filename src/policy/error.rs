//! What can be wrong with a policy, and with making a grant from it.

use std::sync::Arc;

use crate::topic::TopicError;

/// Everything that is wrong with a policy, in the order of its lines; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyErrors(pub Vec<PolicyError>);

impl std::error::Error for PolicyErrors {}

impl std::fmt::Display for PolicyErrors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

/// One thing that is wrong with a policy: where, what and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError {
    /// The file's name, as it was given.
    pub file: Arc<str>,
    /// The line, where it is known; the first is 1.
    pub line: Option<u32>,
    /// The key, such as `role.device.rules[3].topics[0]`; empty where the file is no TOML.
    pub key: String,
    /// What is wrong.
    pub fault: Fault,
}

impl std::error::Error for PolicyError {}

impl std::fmt::Display for PolicyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.fault)
    }
}

/// What is wrong with a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Not TOML, or not the keys of a policy.
    #[error("{0}")]
    Document(String),
    /// `{` without `}`, or the reverse, or nothing between them.
    #[error("braces go in pairs around a variable's name: write {{name}}")]
    Braces,
    /// A template without text.
    #[error("the template is empty: write a text, or leave the key out")]
    EmptyTemplate,
    /// Two `{any}` in one text.
    #[error("{{any}} may stand once: fix one of the two places")]
    SecondAny,
    /// Two variables in one topic level.
    #[error("a level has at most one {{…}}: spread them over two levels")]
    SecondPlaceholder,
    /// `{username}` in a topic, where it could hold a `/`.
    #[error("{{username}} cannot stand in a topic: use the variables of the username template")]
    UsernameInTopic,
    /// A variable that the role does not have.
    #[error("unknown variable {{{name}}}: this role has {known}; list others under `bindings`")]
    UnknownVariable {
        /// As written.
        name: String,
        /// What there is.
        known: String,
    },
    /// A variable named twice, or with a name that is taken.
    #[error("the variable {{{0}}} is there already: give it another name")]
    VariableTwice(String),
    /// More variables than a role can have.
    #[error("a role has at most {limit} variables")]
    TooManyVariables {
        /// The most there can be.
        limit: usize,
    },
    /// Not a topic filter.
    #[error("not a topic filter: {0}")]
    Filter(TopicError),
    /// A template with too many levels.
    #[error("a template has at most {limit} levels behind the team's; end it with # sooner")]
    TooManyLevels {
        /// The most there can be.
        limit: usize,
    },
    /// A rule or mount of a team's role that is not bound to the team.
    #[error(
        "could reach beyond the team: begin it with {root}, or with a segment listed under \
         namespace.commons, or give the role `reach = \"all\"`"
    )]
    BeyondTeam {
        /// How it must begin.
        root: String,
    },
    /// A rule of a role that reaches only the commons.
    #[error("beyond the commons: begin it with a segment listed under namespace.commons")]
    BeyondCommons,
    /// A role of a team whose usernames do not say which.
    #[error("a role that reaches one team has {{team}} in each username template")]
    NoTeamInUsername,
    /// A role of no team with a team in its usernames.
    #[error("a role that does not reach one team has no {{team}}: leave out `reach`, or {{team}}")]
    TeamWithoutReach,
    /// A mount that is no place in the team's subtree.
    #[error("a mount begins with {root}, has only {{team}} as a variable, and ends with /")]
    Mount {
        /// How it must begin.
        root: String,
    },
    /// Two roles for one username.
    #[error("role.{other} takes the same usernames: make one of the two differ")]
    SameUsername {
        /// The other role.
        other: String,
    },
    /// Neither `allow` nor `deny`, or both.
    #[error("a rule has either `allow` or `deny`, with \"publish\", \"subscribe\" or \"both\"")]
    Effect,
    /// A rule about no topic.
    #[error("a rule names at least one topic filter")]
    NoTopics,
    /// `share` where it has no meaning.
    #[error("only a rule that allows to subscribe has `share`: a deny is for every share group")]
    ShareWithoutSubscribe,
    /// `overlap` where it has no meaning.
    #[error("only a rule that denies to subscribe has `overlap`")]
    OverlapWithoutDeny,
    /// More rules than a role can have.
    #[error("a role has at most {limit} rules: put topics with the same effect into one rule")]
    TooManyRules {
        /// The most there can be.
        limit: usize,
    },
    /// `when` names something that is no variable of the role's.
    #[error("unknown variable {name}: this role has {known}; list others under `bindings`")]
    UnknownCondition {
        /// As written.
        name: String,
        /// What there is.
        known: String,
    },
    /// A namespace that is not of the form that the broker keeps teams apart by.
    #[error("write the team's subtree as \"some/levels/{{team}}/\", without wildcards")]
    Namespace,
    /// A reserved segment that cannot be one.
    #[error("a reserved segment is one level without wildcards or braces")]
    Commons,
}

/// Why a policy cannot take the place of another while the broker runs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplaceError {
    /// Topics would belong to other teams.
    #[error("the namespace is another one, which needs a restart")]
    Namespace,
    /// The topics of connected clients would have other names.
    #[error("the mount of role {0} is another one, which needs a restart")]
    Mount(Arc<str>),
}

/// Why a principal gets no grant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// The policy has no such role.
    #[error("the policy has no role {0}")]
    UnknownRole(Arc<str>),
    /// No role's username template fits.
    #[error("no role of the policy takes the username {0}")]
    Username(Arc<str>),
    /// A principal of a team's role without a team, or the reverse.
    #[error("the role {0} and the team do not go together")]
    Team(Arc<str>),
    /// The team's id is a reserved segment of the namespace.
    #[error("{0} is reserved and cannot be a team's id")]
    ReservedTeam(Arc<str>),
    /// A binding that could not stand as a level of a topic.
    #[error("the value of {0} cannot stand in a topic")]
    Binding(Arc<str>),
    /// More patterns than a principal can have.
    #[error("a client has at most {limit} patterns")]
    TooManyPatterns {
        /// The most there can be.
        limit: usize,
    },
    /// One of the principal's own patterns is no filter.
    #[error("the pattern {pattern} is not a topic filter: {error}")]
    Pattern {
        /// As the user wrote it.
        pattern: Arc<str>,
        /// What is wrong with it.
        error: TopicError,
    },
}
