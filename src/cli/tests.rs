//! The command line as operators and scripts rely on it.

use clap::CommandFactory as _;

use super::*;

/// Every subcommand, with those below it, by its full name.
fn all() -> Vec<(String, clap::Command)> {
    fn walk(command: &clap::Command, name: &str, into: &mut Vec<(String, clap::Command)>) {
        for sub in command.get_subcommands() {
            let name = format!("{name} {}", sub.get_name()).trim().to_owned();
            into.push((name.clone(), sub.clone()));
            walk(sub, &name, into);
        }
    }
    let mut found = Vec::new();
    walk(&CommandLine::command(), "", &mut found);
    found
}

#[test]
fn the_subcommands_are_those_that_are_fixed() {
    let names: Vec<String> = all().into_iter().map(|(name, _)| name).collect();
    let wanted = "serve, apply, team, team add, team plan, team list, team suspend, team resume, team remove, \
                  client, client add, client list, client rotate, client revoke, policy, \
                  policy explain, policy test, policy diff, policy show, policy reload, policy observe, \
                  audit, audit list, audit export, audit verify, audit reader, audit reader add, \
                  audit reader list, audit reader revoke, backup, restore, config, config check";
    assert_eq!(names.join(", "), wanted);
    CommandLine::command().debug_assert();
}

#[test]
fn every_help_has_an_example_that_parses() {
    for (name, command) in all() {
        let help = command
            .get_after_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        let example = help
            .strip_prefix("Example:\n  ")
            .unwrap_or_else(|| panic!("{name}"));
        assert!(
            example.starts_with(&format!("cofferdam {name}")),
            "{example}"
        );
        for example in example.lines() {
            let words = example.trim().replace("\"Acme Ltd\"", "Acme");
            if let Err(error) = CommandLine::try_parse_from(words.split(' ')) {
                panic!("{example}: {error}");
            }
        }
    }
}

#[test]
fn config_and_json_may_stand_anywhere_and_serve_is_the_default() {
    let line = CommandLine::try_parse_from(["cofferdam"]).expect("serve");
    assert!(line.command.is_none() && line.config.is_none() && !line.json);
    for words in [
        "--config x.toml --json team list",
        "team list --json --config x.toml",
    ] {
        let words = std::iter::once("cofferdam").chain(words.split(' '));
        let line = CommandLine::try_parse_from(words).expect("team list");
        assert_eq!(line.config, Some(PathBuf::from("x.toml")));
        assert!(line.json);
    }
}

#[test]
fn an_entry_of_a_clients_list_is_action_and_pattern() {
    assert_eq!(
        acl("publish=a/=b/#"),
        Ok((Action::Publish, "a/=b/#".to_owned()))
    );
    assert_eq!(acl("both=#"), Ok((Action::Both, "#".to_owned())));
    for wrong in ["publish", "read=a", "=a", "publish="] {
        assert!(acl(wrong).is_err(), "{wrong}");
    }
}
