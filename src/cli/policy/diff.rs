//! `policy diff`: what another policy would decide otherwise. Over what stands in the running broker;
//! without one, over the principals on record; or over a file of expectations.

use std::path::PathBuf;
use std::process::ExitCode;

use hyper::Method;
use serde_json::{Value, json};

use super::super::answer::Answer;
use super::super::control::{Control, ControlError};
use super::super::store::{Store, failed, policy_text, read, with_store};
use super::super::{Context, Failure};
use super::arguments::Diff;
use super::refusals;
use crate::identity::World;
use crate::policy::{Changed, Expectation, Pair, Policy, Side, expectations};

/// A policy as it was given.
struct Given {
    file: String,
    text: String,
    policy: Policy,
}

/// The two that are compared; no old one: that in force in the running broker.
struct Compared {
    old: Option<Given>,
    new: Given,
}

pub(super) fn run(context: &Context, asked: &Diff) -> Result<ExitCode, Failure> {
    let given = |file: &PathBuf| Given::parse(file, read(file)?);
    let compared = match asked.files.as_slice() {
        [old, new] => Compared {
            old: Some(given(old)?),
            new: given(new)?,
        },
        [new] => Compared {
            old: None,
            new: given(new)?,
        },
        _ => return Err(Failure::Usage("write one policy or two".to_owned())),
    };
    let mut differ = 0;
    let done = with_store(context, async |store, answer| {
        differ = match &asked.expectations {
            Some(file) => expected(context, store, answer, &compared, &read(file)?).await?,
            None => match live(context, store, answer, &compared).await? {
                Some(differ) => differ,
                None => on_record(context, store, answer, &compared).await?,
            },
        };
        Ok(())
    })?;
    Ok(if differ == 0 { done } else { ExitCode::from(1) })
}

impl Given {
    fn parse(file: &std::path::Path, text: String) -> Result<Self, Failure> {
        let file = file.display().to_string();
        let policy = Policy::parse(&file, &text);
        let policy = policy.map_err(|errors| Failure::Usage(errors.to_string()))?;
        Ok(Self { file, text, policy })
    }

    fn document(&self) -> Value {
        json!({ "file": self.file, "text": self.text })
    }
}

impl Compared {
    /// The old policy, or the one that the configuration names.
    fn old(&self, context: &Context) -> Result<Policy, Failure> {
        let (file, text) = match &self.old {
            Some(old) => (old.file.clone(), old.text.clone()),
            None => policy_text(&context.config)?,
        };
        let policy = Policy::parse(&file, &text);
        policy.map_err(|errors| Failure::Usage(errors.to_string()))
    }
}

/// Over what stands in the running broker; `None`: there is no such broker.
async fn live(
    context: &Context,
    store: &Store,
    answer: &mut Answer<'_>,
    compared: &Compared,
) -> Result<Option<usize>, Failure> {
    let control = Control::new(&context.config.data_dir);
    let mut question = json!({
        "old": compared.old.as_ref().map(Given::document), "new": compared.new.document(),
    });
    let (mut differ, mut looked_at) = (0, [0; 3]);
    const LOOKED_AT: [&str; 3] = ["sessions", "subscriptions", "publishes"];
    loop {
        let asked = control
            .ask(Method::POST, "/policy/diff", Some(&question))
            .await;
        let mut page = match asked {
            Err(ControlError::NotRunning { .. }) => return Ok(None),
            asked => asked?,
        };
        for difference in page["differences"].as_array().into_iter().flatten() {
            differ += 1;
            let changed = serde_json::from_value(difference.clone()).map_err(failed)?;
            let at = difference["client_id"].as_str().unwrap_or_default();
            say(
                answer,
                &changed,
                &format!(" (client id {})", at.escape_debug()),
                difference,
            )?;
        }
        for (sum, what) in looked_at.iter_mut().zip(LOOKED_AT) {
            *sum += page["looked_at"][what].as_u64().unwrap_or(0);
        }
        question["after"] = page["next"].take();
        if question["after"].is_null() {
            break;
        }
    }
    let (allowed, refusals) = refusals::allowed_by(&compared.new.policy, store).await?;
    for changed in &allowed {
        differ += 1;
        say(answer, changed, "", &json!(changed))?;
    }
    let [sessions, subscriptions, publishes] = looked_at;
    let summary = json!({
        "source": "live", "sessions": sessions, "subscriptions": subscriptions,
        "publishes": publishes, "refusals": refusals, "differ": differ,
    });
    let text = format!(
        "{sessions} live sessions with {subscriptions} subscriptions and {publishes} recent \
         publishes, {refusals} refusals of the last day; {differ} answers differ"
    );
    sum_up(answer, &summary, &text)?;
    Ok(Some(differ))
}

/// Over the principals on record, each asked what the rules of either policy speak of.
async fn on_record(
    context: &Context,
    store: &Store,
    answer: &mut Answer<'_>,
    compared: &Compared,
) -> Result<usize, Failure> {
    let world = World::load(store.database()).await.map_err(failed)?;
    let old = compared.old(context)?;
    if !answer.json {
        let note = "no broker runs here: asking for the principals on record what the rules of \
                    either policy speak of";
        answer.line(note).map_err(failed)?;
    }
    let (mut principals, mut questions, mut differ) = (0, 0, 0);
    for username in world.usernames() {
        let pair = Pair::of(&old, &compared.new.policy, username, &world);
        principals += 1;
        for (action, topic) in pair.questions() {
            questions += 1;
            if let Some(changed) = pair.ask(action, &topic) {
                differ += 1;
                say(answer, &changed, "", &json!(changed))?;
            }
        }
    }
    let summary = json!({
        "source": "on_record", "principals": principals, "questions": questions, "differ": differ,
    });
    let text = format!(
        "{principals} principals on record, {questions} questions; {differ} answers differ"
    );
    sum_up(answer, &summary, &text)?;
    Ok(differ)
}

/// Over a file of expectations.
async fn expected(
    context: &Context,
    store: &Store,
    answer: &mut Answer<'_>,
    compared: &Compared,
    text: &str,
) -> Result<usize, Failure> {
    let world = World::load(store.database()).await.map_err(failed)?;
    let old = compared.old(context)?;
    let (mut checked, mut differ) = (0, 0);
    for expectation in expectations(text) {
        let expectation = expectation.map_err(|error| Failure::Usage(error.to_string()))?;
        let Expectation {
            line,
            username,
            action,
            topic,
            allow,
        } = expectation;
        checked += 1;
        let pair = Pair::of(&old, &compared.new.policy, username, &world);
        if let Some(changed) = pair.ask(action, topic) {
            differ += 1;
            let mut difference = json!(changed);
            difference["line"] = line.into();
            difference["expected_allow"] = allow.into();
            let expected = if allow { "allow" } else { "deny" };
            say(
                answer,
                &changed,
                &format!(" (line {line}, expected {expected})"),
                &difference,
            )?;
        }
    }
    let summary = json!({ "source": "expectations", "checked": checked, "differ": differ });
    sum_up(
        answer,
        &summary,
        &format!("{checked} checked; {differ} answers differ"),
    )?;
    Ok(differ)
}

/// One difference: who, what, old and new, and by which rules.
fn say(
    answer: &mut Answer<'_>,
    changed: &Changed,
    where_from: &str,
    json: &Value,
) -> Result<(), Failure> {
    if answer.json {
        return answer.line(json).map_err(failed);
    }
    let Changed {
        username,
        action,
        topic,
        old,
        new,
        ..
    } = changed;
    let line = format!(
        "{}{where_from}: {} {}: {} -> {}\n    old: {}\n    new: {}",
        username.escape_debug(),
        action.as_str(),
        topic.escape_debug(),
        old.ruling.words(),
        new.ruling.words(),
        because(old),
        because(new),
    );
    answer.line(line).map_err(failed)
}

fn because(side: &Side) -> String {
    match &side.rule {
        Some(rule) => rule.to_string(),
        None => side.reason.clone(),
    }
}

fn sum_up(answer: &mut Answer<'_>, summary: &Value, text: &str) -> Result<(), Failure> {
    match answer.json {
        true => answer.line(summary),
        false => answer.line(text),
    }
    .map_err(failed)
}
