//! `policy`: explain one decision, hold the policy to a file of expectations, and steer the policy
//! of the running broker.
//!
//! `explain` by username and `test` decide as the broker would for whoever is on record in the
//! database; a username that fits a role but is not on record is decided by its name alone, which
//! the answer says. What asks the running broker is in `live`.

mod arguments;
mod diff;
mod live;
mod refusals;

use std::path::Path;
use std::process::ExitCode;

use super::answer::Answer;
use super::store::{Store, failed, policy_at, read, with_store};
use super::{Context, Failure};
use crate::identity::World;
use crate::policy::{Action, Policy};
use arguments::{Explain, Whose};

pub use arguments::PolicyCommand;

pub(super) fn run(context: &Context, command: &PolicyCommand) -> Result<ExitCode, Failure> {
    match command {
        PolicyCommand::Explain(asked) => explain(context, asked),
        PolicyCommand::Test { file, policy } => test(context, &read(file)?, policy.as_deref()),
        PolicyCommand::Diff(asked) => diff::run(context, asked),
        PolicyCommand::Show => live::show(context),
        PolicyCommand::Reload => live::reload(context),
        PolicyCommand::Observe { file, stop: _ } => live::observe(context, file.as_ref()),
    }
}

fn explain(context: &Context, asked: &Explain) -> Result<ExitCode, Failure> {
    match asked.read()? {
        (Whose::ClientId(id), action, topic) => {
            live::explain(context, id, asked.team.as_deref(), action, topic)
        }
        (Whose::Username(username), action, topic) => with_store(context, async |store, answer| {
            let world = World::load(store.database()).await.map_err(failed)?;
            explain_username(store, answer, &world, username, action, topic)
        }),
    }
}

fn test(context: &Context, expectations: &str, policy: Option<&Path>) -> Result<ExitCode, Failure> {
    let given = match policy {
        Some(path) => Some(policy_at(path)?),
        None => None,
    };
    let mut met = true;
    let done = with_store(context, async |store, answer| {
        let world = World::load(store.database()).await.map_err(failed)?;
        let policy = match &given {
            Some(policy) => policy,
            None => store.policy()?,
        };
        met = meets(policy, answer, &world, expectations)?;
        Ok(())
    })?;
    Ok(if met { done } else { ExitCode::from(1) })
}

fn explain_username(
    store: &Store,
    answer: &mut Answer<'_>,
    world: &World,
    username: &str,
    action: Action,
    topic: &str,
) -> Result<(), Failure> {
    let explanation = store.policy()?.explain(username, action, topic, world);
    let on_record = world.knows(username);
    if answer.json {
        let mut json = serde_json::json!(explanation);
        json["on_record"] = on_record.into();
        return answer.line(json).map_err(failed);
    }
    answer.line(&explanation).map_err(failed)?;
    if !on_record {
        answer
            .line("note: this username is not on record and cannot log in")
            .map_err(failed)?;
    }
    Ok(())
}

/// Says whether every line was decided as expected.
fn meets(
    policy: &Policy,
    answer: &mut Answer<'_>,
    world: &World,
    expectations: &str,
) -> Result<bool, Failure> {
    let found = policy
        .meets(expectations, world)
        .map_err(|error| Failure::Usage(error.to_string()))?;
    for difference in &found.differences {
        if answer.json {
            answer.line(serde_json::json!(difference)).map_err(failed)?;
            continue;
        }
        let expected = if difference.expected_allow {
            "allow"
        } else {
            "deny"
        };
        let (line, why) = (difference.line, &difference.explanation);
        answer
            .line(format_args!("line {line}: expected {expected}; {why}"))
            .map_err(failed)?;
    }
    let (checked, differ) = (found.checked, found.differences.len());
    if answer.json {
        let summary = serde_json::json!({ "checked": checked, "differ": differ });
        answer.line(summary).map_err(failed)?;
    } else {
        answer
            .line(format_args!("{checked} checked, {differ} differ"))
            .map_err(failed)?;
    }
    Ok(differ == 0)
}
