//! Part of `serve`: who else vouches for clients, and the files that say so, which take effect again
//! when they change.

use std::time::Duration;

use super::Failure;
use super::serve::failed;
use crate::config::Config;
use crate::identity::{Authenticator, Tokens};

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The judge, with those whom the configuration names.
///
/// # Errors
/// A file that cannot be used.
pub(super) fn attach(judge: Authenticator, config: &Config) -> Result<Authenticator, Failure> {
    let Some(jwt) = &config.identity.jwt else {
        return Ok(judge);
    };
    let (tokens, mut files) = Tokens::open(jwt.clone())
        .map_err(|error| failed(format!("[identity.jwt] keys: {error}")))?;
    let followed = std::sync::Arc::clone(&tokens);
    follow("[identity.jwt] keys", move || {
        followed
            .follow(&mut files)
            .map_err(|error| error.to_string())
    });
    Ok(judge.with_tokens(tokens))
}

/// Looks at files for ever, and says what comes of it: that they were taken up, or once why not.
pub(super) fn follow(
    what: &'static str,
    mut look: impl FnMut() -> Result<bool, String> + Send + 'static,
) {
    tokio::spawn(async move {
        let mut trouble = None;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let looked = tokio::task::spawn_blocking(move || {
                let found = look();
                (look, found)
            });
            let Ok((back, found)) = looked.await else {
                return tracing::error!(what, "changed files are no longer taken up");
            };
            look = back;
            match found {
                Ok(true) => tracing::info!(what, "changed files are in force"),
                Ok(false) => {}
                Err(error) if trouble.as_ref() == Some(&error) => continue,
                Err(error) => {
                    tracing::error!(what, %error, "what was known before stays in force");
                    trouble = Some(error);
                    continue;
                }
            }
            if trouble.take().is_some() {
                tracing::info!(what, "the files can be read again");
            }
        }
    });
}
