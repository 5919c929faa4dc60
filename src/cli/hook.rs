//! The platform's own store at work: carries questions from the shards to it and answers back, and
//! puts on record when it cannot be reached. Called by `serve`.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::{Semaphore, mpsc};

use super::{Failure, serve::failed};
use crate::audit::{AuditSink, Record};
use crate::broker::Question;
use crate::config::{self, Config};
use crate::identity::{Hook, News};
use crate::net::clock::Clock;
use crate::net::server::{Asked, Brought, Desk, Verdicts};
use crate::team::{Reports, World};
use crate::telemetry::metric as m;

/// Reports that are on their way at once: they are in no hurry, and clients are.
const REPORTS_AT_ONCE: usize = 2;

/// A hook, before there are shards that ask.
pub(super) struct Opened {
    pub(super) hook: Arc<Hook>,
    news: mpsc::Receiver<News>,
    brought: Brought,
    desk: Desk,
}

/// The hook of the configuration, if it has one.
pub(super) fn open(config: &Config) -> Result<Option<Opened>, Failure> {
    let Some(config) = &config.identity.http else {
        return Ok(None);
    };
    let (hook, news) = Hook::new(config).map_err(failed)?;
    let (desk, brought) = Desk::new();
    Ok(Some(Opened {
        hook,
        news,
        brought,
        desk,
    }))
}

/// A world in which new topics are reported, where the hook can be told of them.
pub(super) fn with_reports(world: World, config: &Config) -> World {
    let hook = config.identity.http.as_ref();
    let hook = hook.filter(|hook| hook.authorize.is_some() && !hook.report_topics.is_empty());
    match hook {
        Some(config::Hook {
            report_topics,
            report_every,
            ..
        }) => world.with_reports(Reports {
            subtrees: report_topics.iter().map(|it| it.as_str().into()).collect(),
            every: *report_every,
        }),
        None => world,
    }
}

impl Opened {
    /// Where shards bring their questions.
    pub(super) fn desk(&self) -> Desk {
        self.desk.clone()
    }

    /// Answers questions from now on, for ever.
    pub(super) fn serve(self, verdicts: Verdicts, sink: AuditSink, clock: Clock) {
        let Self {
            hook,
            news,
            brought: Brought { asked, topics },
            ..
        } = self;
        tokio::spawn(answer(Arc::clone(&hook), asked, verdicts));
        tokio::spawn(report(hook, topics));
        tokio::spawn(put_on_record(news, sink, clock));
    }
}

/// Each question in a task of its own; how many there are the desk bounds.
async fn answer(hook: Arc<Hook>, mut asked: mpsc::Receiver<Asked>, verdicts: Verdicts) {
    while let Some(asked) = asked.recv().await {
        let (hook, verdicts) = (Arc::clone(&hook), verdicts.clone());
        tokio::spawn(async move {
            let Asked {
                shard,
                question,
                place,
            } = asked;
            let answer = hook.answer(&question).await;
            verdicts.answer(shard, question.ticket, answer);
            drop(place);
        });
    }
}

async fn report(hook: Arc<Hook>, mut topics: mpsc::Receiver<Box<Question>>) {
    let places = Arc::new(Semaphore::new(REPORTS_AT_ONCE));
    loop {
        // A place first: what waits is in the channel, which is bounded.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let Some(question) = topics.recv().await else {
            return;
        };
        let hook = Arc::clone(&hook);
        tokio::spawn(async move {
            let result = match hook.report(&question).await {
                true => "ok",
                false => "failed",
            };
            m::HOOK_REPORTS.count(&[result], 1);
            drop(place);
        });
    }
}

/// That the hook went and came back.
async fn put_on_record(mut news: mpsc::Receiver<News>, sink: AuditSink, clock: Clock) {
    while let Some(News { what, up, why }) = news.recv().await {
        let (event, detail) = match up {
            true => ("hook_up", json!({ "what": what })),
            false => ("hook_down", json!({ "what": what, "why": why })),
        };
        let record = Record::administration(clock.now(), event, None, "cofferdam", detail);
        sink.note(record);
    }
}
