//! Grants of random policies against an evaluator that tries every name there is.
//!
//! Templates and filters have at most two levels and a `#`, so that every difference between two
//! of them shows in a name of three levels over the words below; `z` is the word that no template
//! names, and `pa` and `p` tell `p{any}` from its neighbours.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::select;

use super::super::{Pattern, PatternAction, Policy, Ruling, TeamMembers};
use super::{World, filter, name, pattern};

const WORDS: [&str; 6] = ["", "a", "b", "z", "p", "pa"];
/// `{instances}` are `a`, and `{x}` is `b`.
const TEMPLATES: [&str; 8] = ["", "a", "b", "+", "{any}", "p{any}", "{instances}", "{x}"];
const FILTERS: [&str; 6] = ["", "a", "b", "z", "pa", "+"];
/// Stands for the name above all templates, which a `#` right behind the root also matches: it has
/// no level there.
const PARENT: &str = "(parent)";
const GROUPS: [Option<&str>; 3] = [None, Some("g"), Some("h")];

#[derive(Clone, Debug)]
struct TestRule {
    allow: bool,
    action: PatternAction,
    topics: Vec<String>,
    shared: bool,
    /// A condition, and whether it holds.
    when: Option<(&'static str, bool)>,
    check: bool,
}

fn joined(levels: &'static [&'static str]) -> impl Strategy<Value = String> {
    (prop::collection::vec(select(levels), 0..=2), any::<bool>()).prop_map(|(mut levels, open)| {
        if open || levels.is_empty() {
            levels.push("#");
        }
        levels.join("/")
    })
}

fn action() -> impl Strategy<Value = PatternAction> {
    select(
        &[
            PatternAction::Publish,
            PatternAction::Subscribe,
            PatternAction::Both,
        ][..],
    )
}

fn test_rule() -> impl Strategy<Value = TestRule> {
    let when = [
        None,
        Some(("x = \"b\"", true)),
        Some(("x = \"a\"", false)),
        Some(("y = true", false)),
        Some(("y = false", true)),
    ];
    let topics = prop::collection::vec(joined(&TEMPLATES), 1..=2);
    (
        prop::bool::weighted(0.6),
        action(),
        topics,
        any::<bool>(),
        select(when.to_vec()),
        any::<bool>(),
    )
        .prop_map(|(allow, action, topics, shared, when, check)| TestRule {
            allow,
            action,
            topics,
            shared,
            when,
            check,
        })
}

fn policy_text(rules: &[TestRule]) -> String {
    let mut text = String::from(
        "[namespace]\nteam = \"n/{team}/\"\n[role.r]\nusername = [\"r:{team}:{x}\"]\n\
         bindings = [\"y\"]\n[role.m]\nusername = [\"m:{team}\"]\nmount = \"n/{team}/m/\"\n\
         patterns = { share = [\"g\"] }\n",
    );
    for rule in rules {
        let effect = if rule.allow { "allow" } else { "deny" };
        let topics: Vec<String> = rule
            .topics
            .iter()
            .map(|topic| format!("\"n/{{team}}/{topic}\""))
            .collect();
        text += &format!(
            "[[role.r.rules]]\n{effect} = \"{}\"\ntopics = [{}]\n",
            rule.action.as_str(),
            topics.join(", ")
        );
        let subscribes = rule.action != PatternAction::Publish;
        if rule.allow && subscribes && rule.shared {
            text += "share = [\"g\"]\n";
        }
        if !rule.allow && subscribes && !rule.check {
            text += "overlap = \"grant\"\n";
        }
        if let Some((when, _)) = rule.when {
            text += &format!("when = {{ {when} }}\n");
        }
    }
    text
}

fn names() -> Vec<String> {
    let mut all: Vec<String> = WORDS.iter().map(ToString::to_string).collect();
    let mut last = all.clone();
    for _ in 0..2 {
        let longer = last
            .iter()
            .flat_map(|head| WORDS.map(|word| format!("{head}/{word}")));
        last = longer.collect();
        all.extend(last.iter().cloned());
    }
    all
}

fn level_matches(template: &str, word: &str) -> bool {
    match template {
        "+" => true,
        "{any}" => !word.is_empty(),
        "p{any}" => word.len() > 1 && word.starts_with('p'),
        "{instances}" => word == "a",
        "{x}" => word == "b",
        literal => literal == word,
    }
}

fn matches(template: &str, name: &str) -> bool {
    fn walk(template: &[&str], name: &[&str]) -> bool {
        match (template, name) {
            (["#"], _) | ([], []) => true,
            ([t, template @ ..], [n, name @ ..]) => level_matches(t, n) && walk(template, name),
            _ => false,
        }
    }
    let template: Vec<&str> = template.split('/').collect();
    let name: Vec<&str> = name.split('/').filter(|_| name != PARENT).collect();
    walk(&template, &name)
}

/// How a template relates to a filter, by trying all names.
struct Relation {
    contains: bool,
    overlaps: bool,
}

fn relate(template: &str, asked: &str, names: &[String]) -> Relation {
    let mut of_asked = names.iter().filter(|name| matches(asked, name));
    let overlaps = of_asked.clone().any(|name| matches(template, name));
    let contains = of_asked.all(|name| matches(template, name));
    Relation { contains, overlaps }
}

/// A rule or pattern as the evaluator sees it, with its place in the grant.
struct Plain<'a> {
    place: u16,
    allow: bool,
    action: PatternAction,
    topics: Vec<&'a str>,
    shared: bool,
    check: bool,
}

fn is_about(rule: &Plain<'_>, action: PatternAction) -> bool {
    rule.action == action || rule.action == PatternAction::Both
}

fn expected_publish(rules: &[Plain<'_>], asked: &str) -> (Ruling, Option<u16>) {
    let matching = |allow: bool| {
        let rules = rules.iter();
        let mut rules = rules.filter(|r| r.allow == allow && is_about(r, PatternAction::Publish));
        rules.find(|rule| rule.topics.iter().any(|topic| matches(topic, asked)))
    };
    match (matching(false), matching(true)) {
        (Some(deny), _) => (Ruling::Deny, Some(deny.place)),
        (None, Some(allow)) => (Ruling::Allow, Some(allow.place)),
        (None, None) => (Ruling::Deny, None),
    }
}

fn expected_subscribe(
    rules: &[Plain<'_>],
    asked: &str,
    group: Option<&str>,
    names: &[String],
) -> (Ruling, Option<u16>) {
    let about = || {
        rules
            .iter()
            .filter(|rule| is_about(rule, PatternAction::Subscribe))
    };
    let contains = |rule: &&Plain<'_>| {
        rule.topics
            .iter()
            .any(|topic| relate(topic, asked, names).contains)
    };
    if let Some(deny) = about().filter(|rule| !rule.allow).find(contains) {
        return (Ruling::Deny, Some(deny.place));
    }
    let permitted = |rule: &&Plain<'_>| group.is_none() || (rule.shared && group == Some("g"));
    let Some(allow) = about()
        .filter(|rule| rule.allow)
        .filter(permitted)
        .find(contains)
    else {
        return (Ruling::Deny, None);
    };
    let checked = about()
        .filter(|rule| !rule.allow && rule.check)
        .any(|rule| {
            rule.topics
                .iter()
                .any(|topic| relate(topic, asked, names).overlaps)
        });
    let ruling = if checked {
        Ruling::AllowChecked
    } else {
        Ruling::Allow
    };
    (ruling, Some(allow.place))
}

fn expected_delivery(rules: &[Plain<'_>], topic: &str) -> bool {
    let denies = rules.iter().filter(|rule| !rule.allow && rule.check);
    let mut denies = denies.filter(|rule| is_about(rule, PatternAction::Subscribe));
    !denies.any(|rule| rule.topics.iter().any(|template| matches(template, topic)))
}

/// Compares all decisions of a grant whose topics lie under `place`.
fn compare(
    world: &World,
    policy: &Policy,
    username: &str,
    place: &str,
    rules: &[Plain<'_>],
    asked: &[String],
    names: &[String],
) -> Result<(), TestCaseError> {
    let grant = world.grant(policy, username);
    for topic in names.iter().filter(|topic| *topic != PARENT) {
        let full = format!("{place}{topic}");
        let decision = grant.publish(name(&full));
        let expected = expected_publish(rules, topic);
        prop_assert_eq!(
            (decision.ruling, decision.rule),
            expected,
            "publish {:?}",
            &full
        );
        prop_assert_eq!(
            grant.may_receive(name(&full)),
            expected_delivery(rules, topic),
            "deliver {:?}",
            &full
        );
        let foreign = format!("n/u/{topic}");
        prop_assert!(!grant.publish(name(&foreign)).is_allow(), "{}", foreign);
        prop_assert!(!grant.reaches(name(&foreign)), "{}", foreign);
    }
    for written in asked {
        for group in GROUPS {
            let full = format!("{place}{written}");
            let decision = grant.subscribe(filter(&full), group);
            let expected = expected_subscribe(rules, written, group, names);
            prop_assert_eq!(
                (decision.ruling, decision.rule),
                expected,
                "subscribe {:?} {:?}",
                &full,
                group
            );
            let foreign = format!("n/+/{written}");
            prop_assert!(
                !grant.subscribe(filter(&foreign), group).is_allow(),
                "{}",
                foreign
            );
            prop_assert!(!grant.reaches_filter(filter(&foreign)), "{}", foreign);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_grant_decides_as_the_rules_read(
        rules in prop::collection::vec(test_rule(), 0..6),
        asked in prop::collection::vec(joined(&FILTERS), 8),
    ) {
        let text = policy_text(&rules);
        let policy = Policy::parse("random.toml", &text)
            .map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        let world = World {
            members: Arc::new(TeamMembers::new(["a"])),
            ..World::default()
        };
        let plain: Vec<Plain<'_>> = rules.iter().zip(0..)
            .filter(|(rule, _)| rule.when.is_none_or(|(_, holds)| holds))
            .map(|(rule, place)| Plain {
                place,
                allow: rule.allow,
                action: rule.action,
                topics: rule.topics.iter().map(String::as_str).collect(),
                shared: rule.shared,
                check: rule.check,
            })
            .collect();
        let mut names = names();
        names.push(PARENT.to_owned());
        compare(&world, &policy, "r:t:b", "n/t/", &plain, &asked, &names)?;
    }

    #[test]
    fn a_client_gets_what_its_patterns_read(
        written in prop::collection::vec((action(), prop::bool::weighted(0.6), joined(&FILTERS)), 0..6),
        asked in prop::collection::vec(joined(&FILTERS), 8),
    ) {
        let written: Vec<_> = written.into_iter().filter(|(_, _, text)| !text.is_empty()).collect();
        let asked: Vec<String> = asked.into_iter().filter(|text| !text.is_empty()).collect();
        let names: Vec<String> = names().into_iter().filter(|text| !text.is_empty()).collect();
        let policy = Policy::parse("random.toml", &policy_text(&[])).expect("a policy");
        let patterns = written.iter();
        let patterns: Vec<Pattern> =
            patterns.map(|(action, allow, text)| pattern(*action, *allow, text)).collect();
        let world = World { patterns, ..World::default() };
        let plain: Vec<Plain<'_>> = written.iter().zip(0..)
            .map(|((action, allow, text), place)| Plain {
                place,
                allow: *allow,
                action: *action,
                topics: vec![text],
                shared: true,
                check: true,
            })
            .collect();
        compare(&world, &policy, "m:t", "n/t/m/", &plain, &asked, &names)?;
    }
}
