//! Logins by enhanced authentication: SCRAM-SHA-256, in two steps; a token, in one.
//!
//! As with passwords, nobody learns who exists. A username without a verifier is challenged like
//! any other, always with the same salt, and refused when its proof comes, after the same work and
//! at the same time as a wrong one. What is on record is read at each step: a password that was
//! rotated between challenge and proof lets nobody in.

use std::sync::Arc;

use super::account::Account;
use super::authenticator::{Declined, Inner, Judged};
use super::guard::Caller;
use super::scram::{self, Begun};
use super::token;
use crate::broker::{Exchange, ExchangeState, Login, Refusal};
use crate::time::Time;

impl Inner {
    /// One step of the exchange.
    pub(super) async fn by_exchange(
        &self,
        login: &Login,
        exchange: Exchange,
        caller: Caller,
        now: Time,
    ) -> Result<Judged, Declined> {
        if &*exchange.method == token::METHOD && self.tokens.is_some() {
            let token = exchange.data.as_deref().unwrap_or_default();
            let username = login.username.as_deref();
            let grant = self.with_token(username, token, now).await?;
            self.fits(&grant, login)?;
            return Ok(Judged::In {
                grant,
                last_word: None,
            });
        }
        if &*exchange.method != scram::METHOD {
            return Err(Declined::Refused(Refusal::Method));
        }
        let said = exchange.data.as_deref().unwrap_or_default();
        match exchange.state {
            None => self.challenge(login, said).await,
            Some(state) => match state.into::<Begun>() {
                Some(begun) => {
                    let may_guess = self.guard.may_hash(caller, now);
                    self.prove(login, begun, said, may_guess).await
                }
                None => Err(Declined::Undecided(Refusal::Unavailable)),
            },
        }
    }

    async fn challenge(&self, login: &Login, said: &[u8]) -> Result<Judged, Declined> {
        let malformed = Declined::Refused(Refusal::Exchange);
        let Some(username) = scram::client_first(said) else {
            return Err(malformed);
        };
        // One connection is one client: CONNECT may leave the name out, not give another.
        if login.username.as_deref().is_some_and(|it| it != username) {
            return Err(malformed);
        }
        let username: Arc<str> = username.into();
        let (account, _) = self.find(&username).await?;
        let stored = account.and_then(|account| account.scram);
        let (verifier, is_real) = self.secrets.challenge(&username, stored.as_deref());
        if stored.is_some() && !is_real {
            tracing::warn!(%username, "its SCRAM verifier was sealed under another token key");
        }
        let stored = stored.filter(|_| is_real);
        let (data, begun) =
            scram::begin(said, Arc::clone(&username), stored, verifier).ok_or(malformed)?;
        Ok(Judged::Challenge {
            data,
            state: ExchangeState::new(begun),
            username,
        })
    }

    /// A proof costs next to nothing to check, and yet one of a person's password is none to check
    /// without end: whoever does not wait for refusals would guess as fast as the network is. So where
    /// a password may not be hashed, none is proved either. A token cannot be guessed.
    async fn prove(
        &self,
        login: &Login,
        begun: Begun,
        said: &[u8],
        may_guess: bool,
    ) -> Result<Judged, Declined> {
        let refused = |refusal| Err(Declined::Refused(refusal));
        let (username, stored) = (Arc::clone(&begun.username), begun.stored.clone());
        let (account, revision) = self.find(&username).await?;
        if !scram::client_final(said) {
            return refused(Refusal::Exchange);
        }
        // Before anything is refused: all refusals take the same work.
        let last_word = begun.finish(said);
        if !may_guess && !account.as_ref().is_some_and(Account::has_token) {
            return refused(Refusal::TooManyFailures);
        }
        match (account, last_word) {
            (None, _) => refused(Refusal::UnknownUser),
            // It had none when it was challenged, or one that could not be opened.
            (Some(_), _) if stored.is_none() => refused(Refusal::NoCredential),
            (Some(Account { scram, .. }), _) if scram != stored => refused(Refusal::WrongPassword),
            (Some(_), None) => refused(Refusal::WrongPassword),
            (Some(account), _) if account.suspended => refused(Refusal::TeamSuspended),
            (Some(account), Some(last_word)) => {
                let grant = self.grant(&username, &account, revision).await?;
                self.fits(&grant, login)?;
                Ok(Judged::In {
                    grant,
                    last_word: Some(last_word),
                })
            }
        }
    }
}
