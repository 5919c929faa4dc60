//! What was refused of late and another policy would allow: connections remember only what they were
//! allowed, so the audit says what they were not.

use std::collections::BTreeSet;

use super::super::Failure;
use super::super::store::{Store, failed};
use crate::audit::{Filter, Record, latest, rfc3339};
use crate::identity::World;
use crate::policy::{Action, Changed, Grant, Policy, Ruling, Side};
use crate::time::{Span, Time};

/// How far back the audit is read.
const LATELY: Span = Span::from_secs(24 * 3600);
/// Most records of each kind that are looked at, the latest.
const RECORDS_MAX: u32 = 1_000;
/// The kinds, and under which key their detail has the topic.
const KINDS: [(&str, Action, &str); 2] = [
    ("publish_refused", Action::Publish, "topic"),
    ("subscribe_refused", Action::Subscribe, "filter"),
];

/// The refusals of the last day that this policy would not make, and how many were looked at.
pub(super) async fn allowed_by(
    policy: &Policy,
    store: &Store,
) -> Result<(Vec<Changed>, usize), Failure> {
    let world = World::load(store.database()).await.map_err(failed)?;
    let since = Time::from_micros(store.now().as_micros().saturating_sub(LATELY.as_micros()));
    let (mut known, mut changed) = (BTreeSet::new(), Vec::new());
    for (event, action, key) in KINDS {
        let filter = Filter {
            event: Some(event.to_owned()),
            since: Some(since),
            ..Filter::default()
        };
        let records = latest(store.database(), &filter, RECORDS_MAX)
            .await
            .map_err(failed)?;
        // The latest first: of the same refusal, that is the one which is told.
        let records = records.iter().rev().map(|linked| &linked.record);
        for record in records.filter(|record| by_policy(record)) {
            let topic = record.detail.get(key).and_then(|topic| topic.as_str());
            let (Some(username), Some(topic)) = (&record.actor, topic) else {
                continue;
            };
            if known.insert((action, username.clone(), topic.to_owned())) {
                let principal = policy.principal(username, &world);
                let grant = principal.and_then(|principal| policy.grant(principal, &world).ok());
                changed.extend(grant.and_then(|grant| judge(&grant, action, topic, record)));
            }
        }
    }
    Ok((changed, known.len()))
}

/// Whether a rule or the structural check refused it, and not its form or a limit.
fn by_policy(record: &Record) -> bool {
    let reason = record
        .detail
        .get("reason")
        .and_then(|reason| reason.as_str());
    reason == Some("NotAuthorized")
}

/// `None`: it would be refused again.
fn judge(grant: &Grant, action: Action, topic: &str, record: &Record) -> Option<Changed> {
    let written = grant.unmounted(topic)?;
    let new = Side::from(grant.explain(action, &written));
    (new.ruling != Ruling::Deny).then(|| Changed {
        username: grant.principal().username.to_string(),
        team: grant.team().map(|team| team.as_str().to_owned()),
        action,
        topic: written,
        old: Side {
            ruling: Ruling::Deny,
            reason: format!("refused at {}, on record", rfc3339(record.at)),
            rule: None,
        },
        new,
    })
}
