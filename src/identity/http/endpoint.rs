//! One address of the hook: how many questions are on their way to it, and whether any should be.

use std::time::Duration;

use http::Uri;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::News;
use super::breaker::{Breaker, Pass};
use super::budget::Budget;
use super::client::{Client, Failure, Reply};
use super::contract::Said;
use super::turns::Turns;
use crate::telemetry::metric as m;

/// Before a question is repeated that was not heard.
const AGAIN: Duration = Duration::from_millis(100);

/// An address.
pub(super) struct Endpoint {
    what: &'static str,
    uri: Uri,
    client: Client,
    turns: Turns,
    breaker: Breaker,
    budget: Budget,
    /// Of a deadline: what the hook itself must have had before its silence counts.
    fair: Duration,
    news: mpsc::Sender<News>,
}

impl Endpoint {
    pub(super) fn new(
        what: &'static str,
        uri: Uri,
        client: Client,
        connections: usize,
        deadline: Duration,
        news: mpsc::Sender<News>,
    ) -> Self {
        m::HOOK_AWAY.set(&[what], 0.0);
        Self {
            what,
            uri,
            client,
            turns: Turns::new(connections),
            breaker: Breaker::default(),
            budget: Budget::new(Instant::now()),
            fair: deadline / 2,
            news,
        }
    }

    /// Asks, unless the hook is away.
    pub(super) async fn ask(
        &self,
        team: &str,
        body: &[u8],
        until: Instant,
    ) -> Result<Reply, Failure> {
        let pass = self
            .breaker
            .admit(Instant::now())
            .map_err(|_| Failure::Away)?;
        self.ask_with(pass, team, body, until).await
    }

    /// Asks as soon as the hook is not away.
    pub(super) async fn ask_when_up(
        &self,
        team: &str,
        body: &[u8],
        until: Instant,
    ) -> Result<Reply, Failure> {
        let pass = self.breaker.admit_by(until).await.ok_or(Failure::Away)?;
        self.ask_with(pass, team, body, until).await
    }

    async fn ask_with(
        &self,
        pass: Pass<'_>,
        team: &str,
        body: &[u8],
        until: Instant,
    ) -> Result<Reply, Failure> {
        // Waiting for one's turn says nothing about the hook; it takes no more than half of what is
        // left, so that nothing is posted for whose answer there is no time.
        let now = Instant::now();
        let for_turn = now + until.saturating_duration_since(now) / 2;
        let Ok(Ok(_turn)) = timeout_at(for_turn, self.turns.wait(team)).await else {
            return Err(self.crowded());
        };
        self.budget.earn();
        let begun = Instant::now();
        let asked = timeout_at(until, self.client.post(&self.uri, body)).await;
        m::HOOK_DURATION.observe(begun.elapsed());
        let asked = match asked {
            Ok(asked) => asked,
            // Its time went elsewhere: to a limiter, or to waiting for the hook to come back.
            Err(_) if begun + self.fair > until => return Err(self.crowded()),
            Err(_) => Err(Failure::Timeout),
        };
        match &asked {
            Err(failure) if failure.is_the_hooks_absence() => {
                m::HOOK_QUESTIONS.count(&[self.what, failure.word()], 1);
                tracing::debug!(what = self.what, %failure, "the hook was not had");
                if pass.failed(Instant::now()) {
                    self.tell(false, failure.to_string());
                }
            }
            // Whatever it says, it is there. A question that it chokes on says nothing about others.
            Err(failure) => {
                m::HOOK_QUESTIONS.count(&[self.what, failure.word()], 1);
                tracing::warn!(what = self.what, %failure, "the hook gave no answer");
                self.is_there(pass);
            }
            Ok(_) => self.is_there(pass),
        }
        asked
    }

    /// Too much is asked for this question to be answered in time.
    fn crowded(&self) -> Failure {
        m::HOOK_QUESTIONS.count(&[self.what, Failure::Crowded.word()], 1);
        Failure::Crowded
    }

    fn is_there(&self, pass: Pass<'_>) {
        if pass.succeeded() {
            self.tell(true, String::new());
        }
    }

    fn tell(&self, up: bool, why: String) {
        m::HOOK_AWAY.set(&[self.what], if up { 0.0 } else { 1.0 });
        match up {
            true => tracing::info!(what = self.what, "the hook is back"),
            false => tracing::error!(what = self.what, uri = %self.uri, why, "the hook is away"),
        }
        let what = self.what;
        // Where so many wait to be written down, the log has the rest.
        let _ = self.news.try_send(News { what, up, why });
    }

    /// Whether the hook is away.
    pub(super) fn is_down(&self) -> bool {
        self.breaker.is_open()
    }

    /// Counts an answer; `None`: it meant nothing.
    pub(super) fn count(&self, said: Option<Said>) {
        let word = said.map_or("malformed", Said::word);
        if said.is_none() {
            tracing::warn!(what = self.what, "the hook's answer means nothing");
        }
        m::HOOK_QUESTIONS.count(&[self.what, word], 1);
    }

    /// Waits until the hook can be asked, or may be tried.
    pub(super) async fn wait_until_up(&self) {
        while self.breaker.is_open() {
            // Whoever gets leave and does not use it leaves it to the next.
            if self.breaker.admit(Instant::now()).is_ok() {
                return;
            }
            self.breaker.wait().await;
        }
    }

    /// Waits as long as a question should before it is repeated, and for the budget to allow it.
    pub(super) async fn wait_to_retry(&self, failure: &Failure, until: Instant) {
        let pause = match failure {
            Failure::Later(pause) => *pause,
            _ => AGAIN,
        };
        loop {
            sleep_until((Instant::now() + pause).min(until)).await;
            if Instant::now() >= until || self.budget.spend(Instant::now()) {
                return;
            }
        }
    }
}

impl Failure {
    /// Whether it says that there is no hook to be had, for anybody.
    fn is_the_hooks_absence(&self) -> bool {
        matches!(self, Self::Unreached(_) | Self::Gateway(_) | Self::Timeout)
    }

    /// Whether a question that may have been heard could get an answer the next time.
    pub(super) fn is_worth_another_try(&self) -> bool {
        !matches!(self, Self::Away | Self::Crowded | Self::Timeout)
    }

    /// As metrics name it.
    fn word(&self) -> &'static str {
        match self {
            Self::Unreached(_) => "unreached",
            Self::Later(_) => "later",
            Self::Away => "away",
            Self::Crowded => "crowded",
            Self::NoAnswer(_) => "no_answer",
            Self::Gateway(_) => "gateway",
            Self::Timeout => "timeout",
        }
    }
}
