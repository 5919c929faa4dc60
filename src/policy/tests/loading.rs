//! A policy that cannot be used is refused with the place and the remedy.

use super::super::Policy;

const HEAD: &str = "[namespace]\nteam = \"n/{team}/\"\ncommons = [\"all\"]\n";

fn error(rest: &str) -> String {
    let text = format!("{HEAD}{rest}");
    Policy::parse("p.toml", &text)
        .map(|_| ())
        .expect_err(rest)
        .to_string()
}

/// A role with one rule, which begins on line 7.
fn rule(rule: &str) -> String {
    error(&format!(
        "[role.r]\nusername = [\"r:{{team}}:{{x}}\"]\n[[role.r.rules]]\n{rule}\n"
    ))
}

fn holds(error: &str, parts: &[&str]) {
    for part in parts {
        assert!(error.contains(part), "{error}\nlacks {part}");
    }
}

#[test]
fn an_unknown_key_is_refused_with_the_known_ones() {
    let error = rule("alow = \"publish\"");
    holds(&error, &["p.toml:7: ", "alow", "`allow`", "`topics`"]);
    holds(
        &rule("allow = \"read\""),
        &["p.toml:7: ", "read", "`publish`"],
    );
    holds(&error_in_toml(), &["p.toml:4: "]);
}

#[test]
fn everything_that_is_wrong_is_said_at_once_in_the_order_of_the_lines() {
    let text = "[namespace]\nteam = \"n/{team}/\"\n\
        [role.z]\nusername = [\"z:{team}\"]\n[[role.z.rules]]\nallow = \"both\"\n\
        topics = [\"n/{team}/{y}\", \"m/x\", \"n/{team}/fine\"]\nwhen = { owner = true }\n\
        [[role.z.rules]]\ntopics = [\"n/{team}/x\"]\n\
        [role.a]\nusername = [\"a:{x}\"]\n[role.b]\nusername = [\"z:{team}\"]\nmount = \"n/\"\n";
    let errors = Policy::parse("p.toml", text).map(|_| ()).expect_err("none");
    let places: Vec<_> = errors
        .0
        .iter()
        .map(|it| (it.line, it.key.as_str()))
        .collect();
    assert_eq!(
        places,
        [
            (Some(4), "role.z.username[0]"), // taken by b, which comes before z
            (Some(5), "role.z.rules[0].when"),
            (Some(7), "role.z.rules[0].topics[0]"),
            (Some(7), "role.z.rules[0].topics[1]"),
            (Some(9), "role.z.rules[1]"),
            (Some(12), "role.a.username[0]"),
            (Some(15), "role.b.mount"),
        ]
    );
    assert_eq!(
        errors.to_string().lines().count(),
        7,
        "a line each: {errors}"
    );
}

#[test]
fn a_version_is_that_of_the_text_and_of_nothing_else() {
    let policy = |file, rest: &str| Policy::parse(file, &format!("{HEAD}{rest}")).expect("fine");
    let one = policy("a.toml", "");
    assert_eq!(one.version().len(), 16);
    assert_eq!(one.version(), policy("b.toml", "").version());
    assert_ne!(one.version(), policy("a.toml", "# a comment\n").version());
}

fn error_in_toml() -> String {
    error("[role\n")
}

#[test]
fn brackets_without_end_are_refused() {
    let long = ["a"; 79].join(".");
    let mut text = "1".to_owned();
    for _ in 0..79 {
        text = format!("{{ {long} = {text} }}");
    }
    holds(
        &error(&format!("\nx = {text}\n")),
        &["p.toml:5: ", "6 deep"],
    );
}

#[test]
fn a_role_that_is_defined_twice_is_refused() {
    holds(
        &error("[role.r]\n[role.r]\n"),
        &["p.toml:5: ", "duplicate key"],
    );
    let same = error("[role.a]\nusername = [\"x:{team}\"]\n[role.b]\nusername = [\"x:{team}\"]\n");
    holds(
        &same,
        &["p.toml:7: role.b.username[0]: ", "role.a takes the same"],
    );
}

#[test]
fn a_team_role_that_could_reach_beyond_its_team_is_refused() {
    for topic in [
        "#",
        "+/#",
        "n/+/x",
        "n/#",
        "n/other/x",
        "n/{x}/y",
        "n/{team}",
        "m/{team}/x",
        "n/{team}x/y",
        "all/x",
    ] {
        let error = rule(&format!("allow = \"publish\"\ntopics = [\"{topic}\"]"));
        let place = "p.toml:8: role.r.rules[0].topics[0]: could reach beyond the team";
        holds(&error, &[place, "begin it with n/{team}/"]);
    }
    let fine = format!(
        "{HEAD}[role.r]\nusername = [\"r:{{team}}:{{x}}\"]\n[[role.r.rules]]\n\
         allow = \"both\"\ntopics = [\"n/{{team}}/#\", \"n/all/{{x}}\"]\n"
    );
    assert!(Policy::parse("p.toml", &fine).is_ok());
}

#[test]
fn a_role_of_the_commons_that_goes_beyond_them_is_refused() {
    let error = error(
        "[role.r]\nreach = \"commons\"\nusername = [\"r:{x}\"]\n[[role.r.rules]]\n\
         allow = \"publish\"\ntopics = [\"n/all/x\", \"n/{x}/y\"]\n",
    );
    holds(
        &error,
        &["p.toml:9: role.r.rules[0].topics[1]: beyond the commons"],
    );
}

#[test]
fn usernames_and_reach_go_together() {
    let no_team = error("[role.r]\nusername = [\"r:{x}\"]\n");
    holds(
        &no_team,
        &["p.toml:5: role.r.username[0]: ", "{team} in each username"],
    );
    let team = error("[role.r]\nreach = \"all\"\nusername = [\"r:{team}\"]\n");
    holds(&team, &["p.toml:6: role.r.username[0]: ", "has no {team}"]);
    let twice = error("[role.r]\nusername = [\"{x}:{x}@{team}\"]\n");
    holds(&twice, &["p.toml:5: ", "{x} is there already"]);
}

#[test]
fn templates_are_checked() {
    let topic = |topic: &str| {
        rule(&format!(
            "allow = \"publish\"\ntopics = [\"n/{{team}}/{topic}\"]"
        ))
    };
    holds(
        &topic("{y}"),
        &[
            "p.toml:8: ",
            "unknown variable {y}",
            "team, username, x",
            "bindings",
        ],
    );
    holds(
        &topic("{username}"),
        &["{username} cannot stand in a topic"],
    );
    holds(&topic("{x}{any}"), &["at most one"]);
    holds(&topic("{x"), &["braces go in pairs"]);
    holds(&topic("x}"), &["braces go in pairs"]);
    holds(&topic("{}"), &["braces go in pairs"]);
    holds(&topic("a+"), &["not a topic filter: # and + stand alone"]);
    holds(&topic("{x}+"), &["not a topic filter: # and + stand alone"]);
    holds(&topic("#/a"), &["not a topic filter: # and + stand alone"]);
    holds(
        &topic("{any}#"),
        &["not a topic filter: # and + stand alone"],
    );
    holds(&topic(&"a/".repeat(16)), &["at most 16 levels"]);
}

#[test]
fn a_rule_is_checked() {
    let topics = "topics = [\"n/{team}/x\"]";
    holds(
        &rule(topics),
        &["p.toml:6: role.r.rules[0]: ", "either `allow` or `deny`"],
    );
    let both = rule(&format!("allow = \"both\"\ndeny = \"both\"\n{topics}"));
    holds(&both, &["either `allow` or `deny`"]);
    holds(
        &rule("allow = \"both\""),
        &["role.r.rules[0].topics: ", "at least one"],
    );
    let share = rule(&format!("allow = \"publish\"\n{topics}\nshare = [\"g\"]"));
    holds(
        &share,
        &["p.toml:9: role.r.rules[0].share: only a rule that allows to subscribe"],
    );
    let overlap = rule(&format!(
        "allow = \"subscribe\"\n{topics}\noverlap = \"grant\""
    ));
    holds(
        &overlap,
        &["role.r.rules[0].overlap: only a rule that denies to subscribe"],
    );
    let when = rule(&format!(
        "allow = \"both\"\n{topics}\nwhen = {{ z = true }}"
    ));
    holds(
        &when,
        &[
            "role.r.rules[0].when: unknown variable z: ",
            "team, username, x",
        ],
    );
    let many = format!("[[role.r.rules]]\nallow = \"both\"\n{topics}\n").repeat(65);
    let many = error(&format!("[role.r]\nusername = [\"r:{{team}}\"]\n{many}"));
    holds(&many, &["at most 64 rules"]);
}

#[test]
fn mounts_and_the_namespace_are_checked() {
    for mount in [
        "n/{team}/c",
        "c/",
        "n/{team}/{x}/",
        "n/all/",
        "n/{team}/+/",
        "n/{x}/",
    ] {
        let error = error(&format!(
            "[role.r]\nusername = [\"r:{{team}}:{{x}}\"]\nmount = \"{mount}\"\n"
        ));
        holds(
            &error,
            &["p.toml:6: role.r.mount: ", "begins with n/{team}/"],
        );
    }
    for team in [
        "n/{team}",
        "{x}/",
        "n{team}/",
        "n/+/{team}/",
        "n/{team}/c/",
        "",
    ] {
        let text = format!("[namespace]\nteam = \"{team}\"\n");
        let error = Policy::parse("p.toml", &text)
            .map(|_| ())
            .expect_err(team)
            .to_string();
        holds(
            &error,
            &["p.toml:2: namespace.team: ", "some/levels/{team}/"],
        );
    }
    let text = "[namespace]\nteam = \"{team}/\"\ncommons = [\"a\", \"b/c\"]\n";
    let error = Policy::parse("p.toml", text)
        .map(|_| ())
        .expect_err("commons")
        .to_string();
    holds(&error, &["p.toml:3: namespace.commons[1]: "]);
}
