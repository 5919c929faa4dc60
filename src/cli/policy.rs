//! `policy`: explain one decision, or hold the policy to a file of expectations.
//!
//! Both decide as the broker would for whoever is on record in the database; a username that fits
//! a role but is not on record is decided by its name alone, which the answer says.

use std::process::ExitCode;

use super::answer::Answer;
use super::store::{Store, failed, read, with_store};
use super::{Access, Context, Failure, PolicyCommand};
use crate::identity::World;
use crate::policy::Action;

pub(super) fn run(context: &Context, command: &PolicyCommand) -> Result<ExitCode, Failure> {
    let mut met = true;
    let done = with_store(context, async |store, answer| {
        let world = World::load(store.database()).await.map_err(failed)?;
        match command {
            PolicyCommand::Explain {
                username,
                action,
                topic,
            } => explain(store, answer, &world, username, *action, topic),
            PolicyCommand::Test { file } => {
                met = test(store, answer, &world, &read(file)?)?;
                Ok(())
            }
        }
    })?;
    Ok(if met { done } else { ExitCode::from(1) })
}

fn explain(
    store: &Store,
    answer: &mut Answer<'_>,
    world: &World,
    username: &str,
    access: Access,
    topic: &str,
) -> Result<(), Failure> {
    let action = match access {
        Access::Publish => Action::Publish,
        Access::Subscribe => Action::Subscribe,
    };
    let explanation = store.policy().explain(username, action, topic, world);
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
fn test(
    store: &Store,
    answer: &mut Answer<'_>,
    world: &World,
    expectations: &str,
) -> Result<bool, Failure> {
    let found = store
        .policy()
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
