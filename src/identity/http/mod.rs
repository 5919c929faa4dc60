//! The platform's own store, asked over HTTP: may this client log in, may it publish or subscribe.
//!
//! Both contracts of such platforms are spoken ([`contract`](self)). The hook is asked by the
//! services' runtime, never on a shard's thread: `Authenticator` asks about logins, the desk in
//! `cli::serve` about what shards want to know ([`Question`]).
//!
//! **A login is asked about once.** Some credentials are deleted at their first success, so the
//! question is repeated only where it was not heard: no connection was made, or the hook said that
//! it is too busy (429). What was heard and not answered leaves the login undecided.
//!
//! **Answers about topics are remembered**, a no more briefly than a yes; equal questions that are
//! asked at the same time are asked once. **A hook that is away costs little**: after some failures
//! in a row only one question a second is tried; logins wait for that up to their deadline, what
//! shards ask is unanswered at once and they keep the decisions they have.
//!
//! **Teams take turns**: of the questions that wait for their turn, each team's is next in order,
//! however many it has. Logins of teams of whom nobody was let in yet have one turn together.
//!
//! Nothing that a hook says crosses teams: who a principal is, is read from its username by the
//! policy, and the structural check comes before any answer counts.

mod answers;
mod breaker;
mod budget;
mod client;
mod contract;
mod endpoint;
mod proved;
#[cfg(test)]
mod tests;
mod turns;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::broker::{Answer, Question};
use crate::config::{self, Style};
use crate::policy::Ask;
use crate::telemetry::metric as m;
use crate::time::Span;

use answers::{Answers, Asking, Found, Key};
pub use client::ClientError;
use client::{Client, Failure, Reply};
use contract::Contract;
pub(super) use contract::{Login, Said, Statement};
use endpoint::Endpoint;
use proved::Proved;

/// Changes of whether the hook can be reached that may wait to be written down.
const NEWS_MAX: usize = 64;

/// How long an answer that was not had keeps from asking again.
const MISSING: Span = Span::from_secs(1);

/// The hook. Cheap to share.
pub struct Hook {
    contract: Contract,
    authenticate: Option<Endpoint>,
    authorize: Option<Endpoint>,
    ask: Ask,
    deadline: Duration,
    answers: Arc<Answers>,
    proved: Proved,
}

/// The hook can be reached again, or no longer: something for the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// What it is asked for: `authenticate` or `authorize`.
    pub what: &'static str,
    /// Whether it can be reached.
    pub up: bool,
    /// Why not, in plain words.
    pub why: String,
}

impl Hook {
    /// A hook as configured, and where it says whether it can be reached.
    ///
    /// # Errors
    /// [`ClientError`]: the certificate authorities.
    pub fn new(config: &config::Hook) -> Result<(Arc<Self>, mpsc::Receiver<News>), ClientError> {
        let client = Client::new(config.ca.as_deref())?;
        let (news, heard) = mpsc::channel(NEWS_MAX);
        let endpoint = |what, uri: &Option<http::Uri>| {
            let uri = uri.clone()?;
            let connections = usize::from(config.connections);
            Some(Endpoint::new(
                what,
                uri,
                client.clone(),
                connections,
                duration(config.deadline),
                news.clone(),
            ))
        };
        let hook = Self {
            contract: match config.style {
                Style::Emqx => Contract::Emqx,
                Style::GoAuth => Contract::GoAuth,
            },
            authenticate: endpoint("authenticate", &config.authenticate),
            authorize: endpoint("authorize", &config.authorize),
            ask: config.ask,
            deadline: duration(config.deadline),
            answers: Arc::new(Answers::new(
                duration(config.cache),
                duration(config.cache_refusals),
                config.cache_entries as usize,
            )),
            proved: Proved::default(),
        };
        Ok((Arc::new(hook), heard))
    }

    /// Whether it knows who may log in.
    pub(super) fn authenticates(&self) -> bool {
        self.authenticate.is_some()
    }

    /// Whether it knows what a principal may do.
    pub fn authorizes(&self) -> bool {
        self.authorize.is_some()
    }

    /// When it is asked what a principal may do.
    pub(super) fn ask(&self) -> Ask {
        self.ask
    }

    /// Asks whether a client may log in, when it is the turn of the team that its username names.
    /// `None`: nobody judged it by the deadline.
    pub(super) async fn login(&self, login: &Login<'_>, team: &str) -> Option<Statement> {
        let endpoint = self.authenticate.as_ref()?;
        let until = Instant::now() + self.deadline;
        let body = self.contract.login(login);
        loop {
            // A login that cannot be asked about now waits for the hook to come back.
            let turn = self.proved.turn(team);
            match endpoint.ask_when_up(turn, &body, until).await {
                Ok(reply) => {
                    let statement = self.contract.read(&reply);
                    if statement.as_ref().is_some_and(|it| it.said == Said::Yes) {
                        self.proved.learn(team);
                    }
                    endpoint.count(statement.as_ref().map(|it| it.said));
                    return statement;
                }
                Err(failure @ (Failure::Unreached(_) | Failure::Later(_))) => {
                    endpoint.wait_to_retry(&failure, until).await;
                    if Instant::now() >= until {
                        return None;
                    }
                }
                Err(_) => return None,
            }
        }
    }

    /// Answers what a shard wants to know: from memory, or from the hook.
    pub async fn answer(self: &Arc<Self>, question: &Question) -> Answer {
        let key = self.key(question);
        let (word, waiting) = match self.answers.find(&key, Instant::now()) {
            Found::Known(said, left) => {
                m::HOOK_CACHE.count(&["hit"], 1);
                return answer(Some(said), left);
            }
            Found::Asked(waiting) => ("joined", waiting),
            Found::Unknown(waiting) => {
                // Whoever asked may go away: the answer is for all who wait for it.
                let (hook, question) = (Arc::clone(self), question.clone());
                let asking = Asking::new(Arc::clone(&self.answers), key);
                tokio::spawn(async move { asking.ends(hook.decide(&question).await) });
                ("miss", waiting)
            }
        };
        m::HOOK_CACHE.count(&[word], 1);
        let said = waiting.await.ok().flatten();
        answer(said, self.answers.lifetime(said))
    }

    async fn decide(&self, question: &Question) -> Option<Said> {
        let endpoint = self.authorize.as_ref()?;
        let until = Instant::now() + self.deadline;
        let body = self.contract.question(question);
        loop {
            match endpoint.ask(team(question), &body, until).await {
                Ok(reply) => return self.hear(endpoint, &reply),
                // Asking twice what is only a question does no harm.
                Err(failure) if failure.is_worth_another_try() && !endpoint.is_down() => {
                    endpoint.wait_to_retry(&failure, until).await;
                    if Instant::now() >= until {
                        return None;
                    }
                }
                Err(_) => return None,
            }
        }
    }

    /// Lets the platform know of a topic, by asking about it. Waits for the hook where that is away
    /// or busy; whoever calls this bounds how many wait. Says whether it got through.
    pub async fn report(&self, question: &Question) -> bool {
        let key = self.key(question);
        let Some(endpoint) = self.authorize.as_ref() else {
            return false;
        };
        if self.answers.knows(&key, Instant::now()) {
            return true;
        }
        let body = self.contract.question(question);
        loop {
            // As one question among others; only the waiting for it has no end.
            endpoint.wait_until_up().await;
            let until = Instant::now() + self.deadline;
            match endpoint.ask(team(question), &body, until).await {
                Ok(reply) => {
                    let said = self.hear(endpoint, &reply);
                    // What means nothing is no answer to those who ask the same just now: theirs is
                    // still to come.
                    if said.is_some() {
                        self.answers.learn(key, said, Instant::now());
                    }
                    return said.is_some();
                }
                Err(Failure::NoAnswer(_)) => return false,
                Err(failure) => {
                    let at_last = Instant::now() + self.deadline;
                    endpoint.wait_to_retry(&failure, at_last).await;
                }
            }
        }
    }

    fn hear(&self, endpoint: &Endpoint, reply: &Reply) -> Option<Said> {
        let said = self.contract.read(reply).map(|it| it.said);
        endpoint.count(said);
        said
    }

    fn key(&self, question: &Question) -> Key {
        Key::of(question, self.contract == Contract::GoAuth)
    }
}

/// The team whose turn it must be; principals that span teams are as one.
fn team(question: &Question) -> &str {
    question.team.as_ref().map_or("", |team| team.as_str())
}

fn answer(said: Option<Said>, left: Duration) -> Answer {
    let left = Span::from_micros(u64::try_from(left.as_micros()).unwrap_or(u64::MAX));
    match said {
        Some(Said::Yes) => Answer::Yes(left),
        Some(Said::No) => Answer::No(left),
        Some(Said::Own) => Answer::Own(left),
        None => Answer::Missing(MISSING),
    }
}

fn duration(span: Span) -> Duration {
    Duration::from_micros(span.as_micros())
}
