//! Policy files: whatever the text, reading it ends in a policy or an error that says where; and
//! what a policy decides agrees with itself.

use std::sync::Arc;

use cofferdam::policy::{
    Action, Directory, Grant, Owner, Pattern, PatternAction, Policy, Principal, Ruling, TeamId,
    TeamMembers,
};
use cofferdam::topic::{SharedFilter, TopicFilter, TopicName};

/// Texts that are looked at in one policy, at most.
const TEXTS: usize = 24;

/// The bytes are the file's text.
pub fn policy(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let policy = match Policy::parse("policy.toml", text) {
        Ok(policy) => policy,
        Err(errors) => {
            let lines = text.split('\n').count();
            assert!(!errors.0.is_empty(), "refused for nothing");
            for error in errors.0 {
                let line = error.line.unwrap_or(1) as usize;
                assert!(
                    (1..=lines).contains(&line),
                    "line {line} of {lines}: {error}"
                );
            }
            return;
        }
    };
    let texts = texts(text);
    for username in &texts {
        let Some(principal) = policy.principal(username, &World) else {
            continue;
        };
        if let Ok(grant) = policy.grant(principal, &World) {
            decisions(&policy, &grant, &texts);
        }
    }
}

/// The texts in quotes, with every `{…}` filled in, and some that any policy could meet.
fn texts(policy: &str) -> Vec<String> {
    let quoted = policy.split('"').skip(1).step_by(2);
    let mut texts: Vec<String> = quoted.take(TEXTS).map(filled_in).collect();
    texts.extend(
        [
            "t",
            "alice@t",
            "device:t:d",
            "ff/v1/t/c/x",
            "#",
            "+/#",
            "$share/g/t/#",
        ]
        .map(String::from),
    );
    texts.sort();
    texts.dedup();
    texts
}

fn filled_in(template: &str) -> String {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        text.push('t');
        rest = after.split_once('}').map_or("", |(_, after)| after);
    }
    text.push_str(rest);
    text
}

fn decisions(policy: &Policy, grant: &Grant, texts: &[String]) {
    assert!(grant.mount().starts_with(grant.root()) || grant.mount().is_empty());
    let full = texts.iter().map(|text| format!("{}{text}", grant.mount()));
    let full: Vec<String> = texts.iter().cloned().chain(full).collect();
    let names = full
        .iter()
        .filter_map(|text| TopicName::parse(text, 4096, 64).ok());
    let names: Vec<TopicName<'_>> = names.collect();
    for name in &names {
        let (reaches, decision) = (grant.reaches(*name), grant.publish(*name));
        let owner = policy.namespace().owner_of(*name);
        if let (true, Some(team)) = (reaches, grant.team()) {
            let own = owner == Owner::Team(team.as_str());
            assert!(
                own || matches!(owner, Owner::Commons(_)),
                "{owner:?} from {team:?}"
            );
        }
        assert_ne!(decision.ruling, Ruling::AllowChecked);
    }
    for text in &full {
        subscription(grant, text, &names);
    }
    for text in texts {
        explanations(grant, text);
    }
}

fn subscription(grant: &Grant, text: &str, names: &[TopicName<'_>]) {
    let Ok(shared) = SharedFilter::parse(text, 4096, 64) else {
        return;
    };
    let decision = grant.subscribe(shared.filter, shared.group);
    if decision.ruling != Ruling::Allow {
        return;
    }
    if !grant.reaches_filter(shared.filter) {
        return;
    }
    // Granted without a check for each delivery: then there is nothing to check.
    for name in names.iter().filter(|name| shared.filter.matches(**name)) {
        assert!(grant.may_receive(*name), "{text} {name:?}");
    }
}

/// What is explained is what is decided.
fn explanations(grant: &Grant, written: &str) {
    let full = format!("{}{written}", grant.mount());
    let asked = TopicName::parse(written, u16::MAX, u16::MAX);
    if let (Ok(_), Ok(name)) = (asked, TopicName::parse(&full, u16::MAX, u16::MAX)) {
        let decided = match grant.reaches(name) {
            true => grant.publish(name).ruling,
            false => Ruling::Deny,
        };
        let explained = grant.explain(Action::Publish, written);
        assert_eq!(
            explained.ruling, decided,
            "publish {written:?}: {explained}"
        );
    }
    let Ok(shared) = SharedFilter::parse(written, u16::MAX, u16::MAX) else {
        grant.explain(Action::Subscribe, written);
        return;
    };
    let full = format!("{}{}", grant.mount(), shared.filter.as_str());
    if let Ok(filter) = TopicFilter::parse(&full, u16::MAX, u16::MAX) {
        let decided = match grant.reaches_filter(filter) {
            true => grant.subscribe(filter, shared.group).ruling,
            false => Ruling::Deny,
        };
        let explained = grant.explain(Action::Subscribe, written);
        assert_eq!(
            explained.ruling, decided,
            "subscribe {written:?}: {explained}"
        );
    }
}

/// A world with one instance `t`, in which every principal has the same bindings and patterns.
struct World;

impl Directory for World {
    fn members(&self, _: &TeamId) -> Arc<TeamMembers> {
        Arc::new(TeamMembers::new(["t"]))
    }

    fn complete(&self, principal: &mut Principal) {
        let bindings = [
            ("owner_type", "instance"),
            ("owner", "t"),
            ("application", "a"),
        ];
        let bindings = bindings.map(|(name, value)| (Arc::from(name), Arc::from(value)));
        principal.bindings.extend(bindings);
        let pattern = |allow, filter| Pattern {
            action: PatternAction::Both,
            allow,
            filter: Arc::from(filter),
        };
        principal.patterns = vec![pattern(true, "#"), pattern(false, "t/+")];
    }
}
