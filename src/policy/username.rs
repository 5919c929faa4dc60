//! Principals from a username alone, for logins that are judged elsewhere (an HTTP hook, a
//! certificate, a token), so that nothing of ours vouches for the form of the name.
//!
//! The own store only holds names that were checked when they were provisioned. Here a name is
//! whatever the far side let in, so it is read strictly: one that could be read in two ways, or that
//! could be more than one level of a topic, is refused and never guessed at.

use super::Policy;
use super::members::Directory;
use super::principal::Principal;

/// Longest username that is read, in bytes. Clients of the team broker have at most 128 characters.
pub const USERNAME_MAX: usize = 512;

/// Why a username is nobody's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsernameError {
    /// Longer than [`USERNAME_MAX`] bytes.
    #[error("the username is longer than {USERNAME_MAX} bytes")]
    TooLong,
    /// A character that cannot stand in a level of a topic, or that nobody can see.
    #[error("the username has a character that cannot stand in a topic")]
    Character,
    /// Nothing stands before, after or between `:` and `@`.
    #[error("a part of the username is empty")]
    EmptyPart,
    /// More than one `@`: which of them the team follows is anybody's guess.
    #[error("the username has more than one @")]
    SecondAt,
    /// No role takes such a username.
    #[error("no role of the policy takes this username")]
    Unknown,
    /// It begins as the usernames of one role do and is of the form of another's, or fits two.
    #[error("the username could be of more than one role")]
    Ambiguous,
}

impl Policy {
    /// Who a username is, by its form alone: the role, the team and the bindings that its template
    /// gives, and what `directory` adds. Says nothing about whether there is such a principal.
    ///
    /// # Errors
    /// [`UsernameError`], where it is nobody's or could be more than one principal's.
    pub fn read_username(
        &self,
        username: &str,
        directory: &dyn Directory,
    ) -> Result<Principal, UsernameError> {
        check_form(username)?;
        let mut fitting: Vec<usize> = Vec::new();
        let word = first_word(username);
        let mut is_claimed = false;
        for role in &self.roles {
            for template in &role.usernames {
                let fits = template.capture(username).is_some();
                let claims = word.is_some_and(|word| template.as_str().starts_with(word));
                is_claimed |= claims && !fits;
                if fits {
                    fitting.push(template.literal_length());
                }
            }
        }
        let best = fitting.iter().max().ok_or(UsernameError::Unknown)?;
        let is_the_best = fitting.iter().filter(|length| *length == best).count() == 1;
        let principal = self.principal(username, directory);
        let principal = principal.ok_or(UsernameError::Unknown)?;
        // `project:x@t` begins as an instance's does and would be read as a client's.
        let own = |word| self.begins_with(&principal.role, word);
        let is_stray = is_claimed && !word.is_some_and(own);
        if is_stray || !is_the_best {
            return Err(UsernameError::Ambiguous);
        }
        Ok(principal)
    }

    /// Whether a role has a username that begins with this word.
    fn begins_with(&self, role: &str, word: &str) -> bool {
        let role = self.role(role).into_iter();
        let mut usernames = role.flat_map(|role| &role.usernames);
        usernames.any(|template| template.as_str().starts_with(word))
    }
}

fn check_form(username: &str) -> Result<(), UsernameError> {
    let bad = |character: char| {
        character.is_control() || character.is_whitespace() || "/+#{}".contains(character)
    };
    if username.len() > USERNAME_MAX {
        Err(UsernameError::TooLong)
    } else if username.contains(bad) {
        Err(UsernameError::Character)
    } else if username.split([':', '@']).any(str::is_empty) {
        Err(UsernameError::EmptyPart)
    } else if username.matches('@').count() > 1 {
        Err(UsernameError::SecondAt)
    } else {
        Ok(())
    }
}

/// What stands before the first `:`, and the `:`.
fn first_word(username: &str) -> Option<&str> {
    let end = username.find(':')?;
    Some(&username[..=end])
}
