//! Principals for whom a token or a certificate vouches, instead of a secret in our store.
//!
//! Whoever vouches gives a username; role and team follow from that by the policy alone, read
//! strictly ([`Policy::read_username`](crate::policy::Policy::read_username)). So a token or a
//! certificate is of one team, and a role that spans teams comes of it only where the operator has
//! named that role for it.

use std::sync::Arc;

use super::account::{self, OnRecord};
use super::anonymous::ANONYMOUS;
use super::authenticator::{Declined, Inner};
use super::world::AtLogin;
use crate::broker::{CertificateFault, Login, Refusal, TokenFault};
use crate::config::Mapping;
use crate::policy::{Grant, Pattern, Policy, Principal};
use crate::time::Time;

/// What was proved about somebody.
#[derive(Debug)]
pub(super) struct Vouched<'a> {
    pub(super) username: String,
    /// Beyond those that the username gives.
    pub(super) bindings: Vec<(Arc<str>, Arc<str>)>,
    /// A list of patterns; `None`: what is on record counts.
    pub(super) patterns: Option<Vec<Pattern>>,
    /// Who may come of it.
    pub(super) mapping: &'a Mapping,
    /// When the proof is over.
    pub(super) expires: Time,
}

impl Inner {
    /// Whom the certificate names that the client showed, where certificates name anybody.
    pub(super) fn named_by_certificate(
        &self,
        login: &mut Login,
    ) -> Result<Option<Vouched<'_>>, Declined> {
        let shown = login.certificate.take();
        let (Some(certificates), Some(shown)) = (&self.certificates, shown) else {
            return Ok(None);
        };
        let named = certificates.judge(&shown, login.username.as_deref());
        named
            .map(Some)
            .map_err(|fault| Declined::Refused(Refusal::Certificate(fault)))
    }

    pub(super) async fn by_certificate(
        &self,
        named: Vouched<'_>,
        now: Time,
    ) -> Result<Grant, Declined> {
        // TLS let it in, a moment ago or, where more is asked of a connection, some time.
        if named.expires <= now {
            let fault = CertificateFault::Expired;
            return Err(Declined::Refused(Refusal::Certificate(fault)));
        }
        let unfit = Refusal::Certificate(CertificateFault::Names);
        self.by_voucher(named, unfit).await
    }

    /// A token is judged as one, whoever has the same text for a password.
    pub(super) async fn with_token(
        &self,
        username: Option<&str>,
        token: &[u8],
        now: Time,
    ) -> Result<Grant, Declined> {
        let Some(tokens) = &self.tokens else {
            return Err(Declined::Refused(Refusal::Method));
        };
        match tokens.judge(token, username, now) {
            Ok(vouched) => {
                let unfit = Refusal::Token(TokenFault::Claims);
                self.by_voucher(vouched, unfit).await
            }
            Err(fault) => Err(Declined::Refused(Refusal::Token(fault))),
        }
    }

    /// The grant of somebody who is vouched for. `unfit`: the reason where what was proved makes
    /// nobody.
    async fn by_voucher(&self, vouched: Vouched<'_>, unfit: Refusal) -> Result<Grant, Declined> {
        let (account, revision) = self.find(&vouched.username).await?;
        if account.is_none() && vouched.mapping.on_record {
            return Err(Declined::Refused(Refusal::UnknownUser));
        }
        let nobody = |why: &dyn std::fmt::Display| {
            tracing::debug!(username = vouched.username, %why, "nobody can be vouched for so");
            Declined::Refused(unfit)
        };
        let policy = self.policy.load();
        let mut principal = vouched.principal(&policy).map_err(|why| nobody(&why))?;
        let members = match &principal.team {
            Some(team) => {
                let suspended = match &account {
                    Some(account) => account.suspended,
                    None => self.is_suspended(team).await?,
                };
                if suspended {
                    return Err(Declined::Refused(Refusal::TeamSuspended));
                }
                Some(self.members_of(team, revision).await?)
            }
            None => None,
        };
        if let Some(account) = &account {
            account.record.complete(&mut principal);
        }
        if let Some(patterns) = vouched.patterns {
            principal.patterns = patterns;
        }
        let directory = AtLogin {
            record: &OnRecord::default(),
            members,
        };
        let grant = policy.grant(principal, &directory);
        let grant = grant.map_err(|error| nobody(&error))?;
        let grant = grant.proved().until(vouched.expires);
        Ok(self.with_its_asking(grant))
    }

    /// Whether our own store has a team as suspended.
    pub(super) async fn is_suspended(
        &self,
        team: &crate::policy::TeamId,
    ) -> Result<bool, Declined> {
        let _turn = self.turn().await?;
        Ok(account::is_suspended(self.accounts.database(), team).await?)
    }
}

impl Vouched<'_> {
    /// A grant that was had otherwise on a connection with a certificate: it must be of whom the
    /// certificate names, and ends no later.
    pub(super) fn confirm(&self, grant: Grant) -> Result<Grant, Declined> {
        if *grant.principal().username != *self.username {
            let fault = CertificateFault::Username;
            return Err(Declined::Refused(Refusal::Certificate(fault)));
        }
        let expires = grant.expires().min(self.expires);
        Ok(grant.until(expires))
    }

    /// Who it is, by what was proved alone.
    fn principal(&self, policy: &Policy) -> Result<Principal, String> {
        let nothing = AtLogin {
            record: &OnRecord::default(),
            members: None,
        };
        // The sessions of those who have no name are not to be had by it.
        if self.username.split('@').next() == Some(ANONYMOUS) {
            return Err("the username is the broker's own".to_owned());
        }
        let principal = policy.read_username(&self.username, &nothing);
        let mut principal = principal.map_err(|error| error.to_string())?;
        let is_given = match &self.mapping.roles {
            Some(roles) => roles.iter().any(|role| **role == *principal.role),
            None => principal.team.is_some(),
        };
        if !is_given {
            return Err(format!(
                "the role {} is not among its `roles`",
                principal.role
            ));
        }
        for (name, value) in &self.bindings {
            if principal.binding(name).is_some() {
                return Err(format!("{name} is the username's to say"));
            }
            let binding = (Arc::clone(name), Arc::clone(value));
            principal.bindings.push(binding);
        }
        Ok(principal)
    }
}
