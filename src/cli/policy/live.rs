//! The policies of the running broker: shown, read again, observed; and decisions for connections
//! that are there.

use std::path::PathBuf;
use std::process::ExitCode;

use hyper::Method;
use serde_json::{Value, json};

use super::super::control::Control;
use super::super::store::{failed, read};
use super::super::{Context, Failure, print};
use crate::policy::Action;

pub(super) fn show(context: &Context) -> Result<ExitCode, Failure> {
    let policy = ask(context, Method::GET, "/policy", None)?;
    told(context, &policy, &described(&policy))
}

pub(super) fn reload(context: &Context) -> Result<ExitCode, Failure> {
    let policy = ask(context, Method::POST, "/policy/reload", None)?;
    let what = match policy["changed"].as_bool() {
        Some(true) => "a new policy is in force",
        _ => "nothing has changed",
    };
    told(context, &policy, &format!("{what}\n{}", described(&policy)))
}

pub(super) fn observe(context: &Context, file: Option<&PathBuf>) -> Result<ExitCode, Failure> {
    let policy = match file {
        Some(file) => {
            let document = json!({ "file": file.display().to_string(), "text": read(file)? });
            ask(context, Method::PUT, "/policy/observed", Some(&document))?
        }
        None => ask(context, Method::DELETE, "/policy/observed", None)?,
    };
    told(context, &policy, &described(&policy))
}

pub(super) fn explain(
    context: &Context,
    client_id: &str,
    team: Option<&str>,
    action: Action,
    topic: &str,
) -> Result<ExitCode, Failure> {
    let question = json!({
        "client_id": client_id, "team": team, "action": action, "topic": topic,
    });
    let answer = ask(context, Method::POST, "/policy/explain", Some(&question))?;
    let mut text = String::new();
    for connection in answer["connections"].as_array().into_iter().flatten() {
        if context.json {
            text.push_str(&format!("{connection}\n"));
            continue;
        }
        let explanation = serde_json::from_value(connection["explanation"].clone());
        let explanation: crate::policy::Explanation = explanation.map_err(failed)?;
        let says = |key: &str| {
            connection[key]
                .as_str()
                .unwrap_or_default()
                .escape_debug()
                .to_string()
        };
        text.push_str(&explanation.to_string());
        text.push_str(&format!(
            "  client id {} at {}, listener {}, shard {}\n",
            says("client_id"),
            says("remote"),
            says("listener"),
            connection["shard"],
        ));
    }
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn ask(
    context: &Context,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let control = Control::new(&context.config.data_dir);
    Ok(runtime.block_on(control.ask(method, path, body))?)
}

fn told(context: &Context, policy: &Value, text: &str) -> Result<ExitCode, Failure> {
    match context.json {
        true => print(&policy.to_string())?,
        false => print(text)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn described(policy: &Value) -> String {
    let line = |what: &str, policy: &Value| {
        let says = |key: &str| {
            policy[key]
                .as_str()
                .unwrap_or("-")
                .escape_debug()
                .to_string()
        };
        format!(
            "{what}  {}  {}  since {}\n",
            says("version"),
            says("file"),
            says("since")
        )
    };
    let observed = match &policy["observed"] {
        Value::Null => String::new(),
        observed => line("observed", observed),
    };
    line("in force", policy) + &observed
}
