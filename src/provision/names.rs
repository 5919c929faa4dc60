//! Which ids and names can be: they stand in usernames between `:` and `@`, and in topics.

use crate::identity::ANONYMOUS;
use crate::policy::{Policy, TeamId};

/// Longest id or name, in bytes (all of them are ASCII).
const MAX_NAME: usize = 64;

/// Why a text is no id or name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// A character, or a length, that cannot be.
    #[error(
        "{0:?} cannot be an id or name: it takes 1 to {MAX_NAME} letters, digits, `.`, `_` and `-`"
    )]
    Text(String),
    /// A team's id that the policy's topic space has another use for.
    #[error("{0:?} cannot be a team: the topic space has another use for this word")]
    Reserved(String),
    /// A client's name that is the broker's own.
    #[error("no client can be called {ANONYMOUS:?}: clients without a password have this name")]
    Anonymous,
    /// Not `<name>@<team>`.
    #[error("{0:?} is no client: write <name>@<team>")]
    Client(String),
}

/// Checks an id or name.
pub(super) fn name(text: &str) -> Result<(), NameError> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(known) {
        Ok(())
    } else {
        Err(NameError::Text(text.to_owned()))
    }
}

/// Checks a team's id.
pub(super) fn team(text: &str, policy: &Policy) -> Result<TeamId, NameError> {
    name(text)?;
    let team = TeamId::new(text).filter(|_| !policy.namespace().is_commons(text));
    team.ok_or_else(|| NameError::Reserved(text.to_owned()))
}

/// Checks a client's name.
pub(super) fn client(text: &str) -> Result<(), NameError> {
    match text {
        ANONYMOUS => Err(NameError::Anonymous),
        _ => name(text),
    }
}

/// Name and team of `<name>@<team>`.
pub(super) fn client_username(text: &str) -> Result<(&str, &str), NameError> {
    let parts = text.rsplit_once('@');
    let (id, team) = parts.ok_or_else(|| NameError::Client(text.to_owned()))?;
    client(id)?;
    name(team)?;
    Ok((id, team))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_can_be_read_as_part_of_another_username_or_topic() {
        let policy = Policy::flowfuse().unwrap();
        for good in [
            "aTeam00001",
            "dev",
            "a.b_c-d",
            "11111111-1111-4111-8111-111111111111",
        ] {
            assert_eq!(name(good), Ok(()), "{good}");
            assert!(team(good, &policy).is_ok(), "{good}");
        }
        let long = "x".repeat(MAX_NAME + 1);
        for bad in [
            "", "a:b", "a@b", "a/b", "+", "#", "a b", "a\0", "ä", "$SYS", "a\n", &long,
        ] {
            assert_eq!(name(bad), Err(NameError::Text(bad.to_owned())), "{bad}");
        }
        for word in ["platform", "expert", "mcp", "browser"] {
            assert_eq!(
                team(word, &policy),
                Err(NameError::Reserved(word.to_owned()))
            );
        }
        assert_eq!(client("anonymous"), Err(NameError::Anonymous));
        assert_eq!(client_username("alice@demo"), Ok(("alice", "demo")));
        assert_eq!(
            client_username("alice"),
            Err(NameError::Client("alice".to_owned()))
        );
        assert!(client_username("a@b@demo").is_err());
    }
}
