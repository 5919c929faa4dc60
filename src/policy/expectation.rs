//! Expectations of a policy, to be tried before it goes live: `policy test FILE`.
//!
//! A line is an expectation: username, `publish` or `subscribe`, topic or filter (as the client
//! writes it), `allow` or `deny`, with tabs between. The first line may be a header; empty lines
//! and lines that begin with `#` are passed over.

use hashbrown::HashMap;
use serde::Serialize;

use super::members::Directory;
use super::principal::Action;
use super::{Explanation, Grant, Policy, Ruling};

/// The outcome of a file of expectations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Expectations {
    /// How many there were.
    pub checked: usize,
    /// Those that were not met.
    pub differences: Vec<Difference>,
}

/// An expectation that was not met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The line in the file; the first is 1.
    pub line: usize,
    /// Whether `allow` was expected.
    pub expected_allow: bool,
    /// What was decided, and why.
    pub explanation: Explanation,
}

/// One line of such a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expectation<'a> {
    /// The line in the file; the first is 1.
    pub line: usize,
    /// Who asks.
    pub username: &'a str,
    /// What is asked.
    pub action: Action,
    /// As the client writes it.
    pub topic: &'a str,
    /// Whether `allow` is expected.
    pub allow: bool,
}

/// A line that is no expectation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "line {line}: expected username, publish or subscribe, topic, and allow or deny, with tabs \
     between; found {found:?}"
)]
pub struct ExpectationError {
    /// The line in the file; the first is 1.
    pub line: usize,
    /// What stands there.
    pub found: String,
}

impl Policy {
    /// Tries the policy on every expectation in the text.
    ///
    /// # Errors
    /// [`ExpectationError`] for the first line that is none.
    pub fn meets(
        &self,
        expectations: &str,
        directory: &dyn Directory,
    ) -> Result<Expectations, ExpectationError> {
        let mut grants: HashMap<&str, Option<Grant>> = HashMap::new();
        let mut outcome = Expectations {
            checked: 0,
            differences: Vec::new(),
        };
        for expectation in self::expectations(expectations) {
            let Expectation {
                line,
                username,
                action,
                topic: asked,
                allow: expected_allow,
            } = expectation?;
            let grant = grants.entry(username).or_insert_with(|| {
                let principal = self.principal(username, directory)?;
                self.grant(principal, directory).ok()
            });
            let explanation = match grant {
                Some(grant) => grant.explain(action, asked),
                None => self.explain(username, action, asked, directory),
            };
            outcome.checked += 1;
            if (explanation.ruling != Ruling::Deny) != expected_allow {
                outcome.differences.push(Difference {
                    line,
                    expected_allow,
                    explanation,
                });
            }
        }
        Ok(outcome)
    }
}

/// The expectations of a file, line by line.
pub fn expectations(text: &str) -> impl Iterator<Item = Result<Expectation<'_>, ExpectationError>> {
    let lines = text.lines().enumerate().filter(|(index, text)| {
        !(text.trim().is_empty() || text.starts_with('#') || *index == 0 && is_header(text))
    });
    lines.map(|(index, text)| {
        let line = index + 1;
        read(text, line).ok_or_else(|| ExpectationError {
            line,
            found: text.to_owned(),
        })
    })
}

fn is_header(text: &str) -> bool {
    text.split('\t').next() == Some("username")
}

fn read(text: &str, line: usize) -> Option<Expectation<'_>> {
    let mut columns = text.split('\t');
    let expectation = Expectation {
        line,
        username: columns.next()?,
        action: Action::from_word(columns.next()?)?,
        topic: columns.next()?,
        allow: match columns.next()? {
            "allow" => true,
            "deny" => false,
            _ => return None,
        },
    };
    columns.next().is_none().then_some(expectation)
}
