//! Part of `serve`: who else vouches for clients, and the files that say so, which take effect again
//! when they change.

use std::sync::Arc;
use std::time::Duration;

use super::Failure;
use super::serve::failed;
use crate::config::{Config, Followed};
use crate::identity::{Authenticator, Certificates, Tokens};
use crate::net::server::Verdicts;
use crate::net::tls::ClientVerifier;

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The judge, with those whom the configuration names.
///
/// # Errors
/// A file that cannot be used.
pub(super) fn attach(judge: Authenticator, config: &Config) -> Result<Authenticator, Failure> {
    let judge = match &config.identity.certificate {
        Some(mapping) => judge.with_certificates(Certificates::new(mapping.clone())),
        None => judge,
    };
    let Some(jwt) = &config.identity.jwt else {
        return Ok(judge);
    };
    let (tokens, mut files) = Tokens::open(jwt.clone())
        .map_err(|error| failed(format!("[identity.jwt] keys: {error}")))?;
    let followed = Arc::clone(&tokens);
    follow("[identity.jwt] keys".to_owned(), move || {
        followed
            .follow(&mut files)
            .map_err(|error| error.to_string())
    });
    Ok(judge.with_tokens(tokens))
}

/// Who checks client certificates, by listener.
#[derive(Clone)]
pub(super) struct ClientVerifiers(Vec<(Arc<str>, Arc<ClientVerifier>)>);

/// For the listeners whose clients show certificates, and the files of each.
///
/// # Errors
/// A file that cannot be used.
pub(super) fn client_verifiers(
    config: &Config,
) -> Result<(ClientVerifiers, Vec<Followed>), Failure> {
    let (mut verifiers, mut followed) = (Vec::new(), Vec::new());
    for listener in &config.listeners {
        if let Some(clients) = &listener.client_certificates {
            let (verifier, files) = ClientVerifier::open(clients.clone())
                .map_err(|error| failed(format!("listener `{}`: {error}", listener.name)))?;
            verifiers.push((Arc::clone(&listener.name), verifier));
            followed.push(files);
        }
    }
    Ok((ClientVerifiers(verifiers), followed))
}

impl ClientVerifiers {
    /// Who checks the certificates of this listener's clients.
    pub(super) fn of(&self, listener: &str) -> Option<Arc<ClientVerifier>> {
        let found = self.0.iter().find(|(name, _)| **name == *listener);
        found.map(|(_, verifier)| Arc::clone(verifier))
    }

    /// From now on changed files are taken up, by those who are connected too.
    pub(super) fn follow(self, files: Vec<Followed>, shards: &Verdicts) {
        for ((listener, verifier), mut files) in self.0.into_iter().zip(files) {
            let shards = shards.clone();
            let what = format!("client_ca and client_crl of listener `{listener}`");
            follow(what, move || {
                let changed = verifier.follow(&mut files);
                let changed = changed.map_err(|error| error.to_string())?;
                if changed {
                    shards.recheck(Arc::clone(&listener), Arc::clone(&verifier));
                }
                Ok(changed)
            });
        }
    }
}

/// Looks at files for ever, and says what comes of it: that they were taken up, or once why not.
pub(super) fn follow(
    what: String,
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
