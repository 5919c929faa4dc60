//! The README, as a newcomer follows it from top to bottom, and the commands and links of all
//! pages.

use std::path::{Path, PathBuf};

use clap::Parser as _;
use clap::error::ErrorKind;
use cofferdam::cli::CommandLine;
use cofferdam::wire::client::Publish;
use cofferdam::wire::{QoS, ReasonCode, Version};

use crate::repository;
use crate::running::{Broker, Client, Login, Setup};

/// A block of code in a page: its language and its text.
struct Block<'a> {
    language: &'a str,
    text: &'a str,
}

/// What the README's commands print, in their order: the beginning of the command, and a part of the
/// answer.
const ANSWERS: [(&str, &str); 13] = [
    ("team add acme", "+ team acme\n"),
    ("client add sensor@acme", "password  cfd_"),
    ("client add panel@acme", "password  cfd_"),
    ("client list --team acme", "panel@acme   yes"),
    ("apply teams.toml", "3 changed, 1 as declared\n"),
    (
        "policy explain device:acme:pump1",
        "because this rule allows it\n    config/policy/flowfuse.toml:",
    ),
    ("policy test expectations.tsv", "2 checked, 0 differ\n"),
    ("policy diff new.toml", " 0 answers differ\n"),
    ("policy observe new.toml", "observed "),
    ("policy reload", "nothing has changed\n"),
    ("audit list --team acme", "name=panel@acme"),
    (
        "audit list --event connect_refused",
        "\"reason\":\"wrong_password\"",
    ),
    ("config check", "[[listener]]\nname = \"tcp\"\n"),
];

/// Files that the README's commands name and that it leaves to the reader.
const FILES: [&str; 2] = ["expectations.tsv", "new.toml"];

fn blocks(page: &str) -> Vec<Block<'_>> {
    let fenced = page.split("\n```").skip(1).step_by(2);
    fenced
        .map(|block| {
            let (language, text) = block.split_once('\n').unwrap_or((block, ""));
            Block { language, text }
        })
        .collect()
}

/// A line without the comment at its end.
fn without_comment(line: &str) -> &str {
    line.split(" #").next().unwrap_or_default().trim()
}

/// Carries out one of the README's commands and sees that it answers as a reader expects.
fn carry_out(broker: &Broker, line: &str, answers: &mut std::slice::Iter<(&str, &str)>) -> String {
    let (begins, has) = answers.next().expect("no more commands than answers");
    let command = line.strip_prefix("cofferdam ").expect("a command of ours");
    assert!(command.starts_with(begins), "{line:?} is not {begins:?}");
    let answer = broker.place().paste(line);
    assert!(answer.contains(has), "{line}: {answer}");
    answer
}

/// The client that an answer shows with its password.
fn shown(answer: &str) -> Login {
    let value = |key: &str| {
        let line = answer.lines().find_map(|line| line.strip_prefix(key));
        line.expect("it is shown").trim().to_owned()
    };
    Login {
        username: value("username"),
        password: value("password"),
    }
}

#[test]
fn what_the_readme_shows_works_from_top_to_bottom() {
    let page = repository::read("README.md");
    let blocks = blocks(&page);
    let first: Vec<_> = blocks[0].text.lines().map(without_comment).collect();
    assert_eq!(first, ["cargo run --release", "make test"]);
    assert!(repository::read("Makefile").contains("\ntest: "));

    let policy = repository::read("config/policy/flowfuse.toml");
    let expectations = "sensor@acme\tpublish\tsensors/1\tallow\nsensor@acme\tsubscribe\t#\tdeny\n";
    let broker = Setup::new()
        .file(FILES[0], expectations)
        .file(FILES[1], &policy)
        .start();
    let mut answers = ANSWERS.iter();
    let mut logins = Vec::new();
    for Block { language, text } in &blocks[1..] {
        match *language {
            "sh" => {
                for line in text.lines() {
                    let answer = carry_out(&broker, without_comment(line), &mut answers);
                    if line.contains("client add") {
                        logins.push(shown(&answer));
                    }
                }
            }
            "toml" => {
                let (head, _) = text.split_once('\n').expect("a head");
                let (file, command) = head
                    .strip_prefix("# ")
                    .and_then(|head| head.split_once(": "))
                    .expect("a file and what to do with it");
                broker.place().write(file, text);
                carry_out(&broker, command, &mut answers);
                as_the_readme_says(&broker, &logins);
            }
            other => panic!("a block of {other:?}"),
        }
    }
    assert_eq!(
        answers.len(),
        0,
        "commands that the README does not show any more"
    );
}

/// What the README says of the clients that it has made: one speaks, the other hears everything but
/// the secrets; a wrong password is refused.
fn as_the_readme_says(broker: &Broker, logins: &[Login]) {
    let [sensor, panel] = logins else {
        panic!("{logins:?}");
    };
    let mut panel = Client::login(broker, "tls", panel, Version::V5);
    panel.subscribe("#", QoS::AtLeastOnce);
    let mut speaker = Client::login(broker, "wss", sensor, Version::V311);
    for topic in ["sensors/secret/1", "elsewhere", "sensors/1"] {
        speaker.publish(Publish {
            qos: QoS::AtLeastOnce,
            ..Publish::new(topic, topic.as_bytes())
        });
    }
    assert_eq!(panel.receive().topic, "sensors/1");
    panel.assert_quiet();

    let mut instance = Login::of("project:acme:11111111-1111-4111-8111-111111111111");
    instance.password = "a long random secret".to_owned();
    let mut instance = Client::login(broker, "tcp", &instance, Version::V5);
    instance.subscribe("ff/v1/acme/c/sensors/#", QoS::AtMostOnce);
    speaker.publish(Publish::new("sensors/2", b"everybody's name for it"));
    assert_eq!(instance.receive().topic, "ff/v1/acme/c/sensors/2");

    let wrong = Login {
        password: "guessed".to_owned(),
        ..sensor.clone()
    };
    let mut guesser = Client::dial(broker, "tcp", Version::V5);
    guesser.send(&wrong.connect(Version::V5).encode());
    match &guesser.rest()[..] {
        [cofferdam::wire::client::ServerPacket::ConnAck(connack)] => {
            assert_eq!(connack.code, ReasonCode::BadUserNameOrPassword.as_byte());
        }
        other => panic!("{other:?}"),
    }
    broker.audited(|row| row["event"] == "connect_refused" && row["actor"] == "sensor@acme");
}

/// Every page, by its path in the repository.
fn pages() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![
        PathBuf::new(),
        PathBuf::from("docs"),
        PathBuf::from("tests/clients"),
    ];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(repository::root().join(&folder)).expect("a folder");
        for entry in entries.map(|entry| entry.expect("an entry")) {
            let path = folder.join(entry.file_name());
            if folder.starts_with("docs") && entry.path().is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "md") {
                found.push(path);
            }
        }
    }
    assert!(found.len() > 20, "{found:?}");
    found
}

/// How a heading is linked to.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    let text: String = heading.to_lowercase().chars().filter(kept).collect();
    text.trim().replace(' ', "-")
}

/// What is wrong with a link of a page, if anything.
fn broken(page: &Path, link: &str) -> Option<String> {
    if link.starts_with("https://") {
        return None;
    }
    let (file, at) = link.split_once('#').unwrap_or((link, ""));
    let target = match file {
        "" => page.to_owned(),
        _ => page.parent().unwrap_or(Path::new("")).join(file),
    };
    let there = repository::root().join(&target);
    if !there.exists() {
        return Some(format!("{}: no {link}", page.display()));
    }
    let has = |text: String| {
        let headings = text
            .lines()
            .filter_map(|line| Some(line.split_once("# ")?.1));
        headings.map(anchor).any(|anchor| anchor == at)
    };
    let found = at.is_empty() || has(std::fs::read_to_string(there).expect("a page"));
    (!found).then(|| format!("{}: no heading for {link}", page.display()))
}

#[test]
fn every_link_of_the_documentation_leads_somewhere() {
    let mut wrong = Vec::new();
    let mut links = 0;
    for page in pages() {
        let text = repository::read(page.to_str().expect("UTF-8"));
        for rest in text.split("](").skip(1) {
            let link = rest.split([')', ' ']).next().unwrap_or_default();
            links += 1;
            wrong.extend(broken(&page, link));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(links > 30, "{links}");
    let index = repository::read("docs/README.md");
    for page in pages() {
        let Ok(page) = page.strip_prefix("docs") else {
            continue;
        };
        let listed = format!("({})", page.display());
        let own = page.parent() == Some(Path::new("")) && page != Path::new("README.md");
        assert!(
            !own || index.contains(&listed),
            "docs/README.md does not list {listed}"
        );
    }
    let readme = Path::new("README.md");
    assert_eq!(broken(readme, "docs/policy.md#why-is-it-so"), None);
    assert!(broken(readme, "docs/policy.md#why-not").is_some());
    assert!(broken(readme, "docs/none.md").is_some());
}

#[test]
fn every_target_of_the_makefile_explains_itself() {
    let makefile = repository::read("Makefile");
    let lines: Vec<_> = makefile.lines().collect();
    let mut targets = 0;
    for pair in lines.windows(2) {
        let Some(target) = pair[0].strip_prefix(".PHONY: ") else {
            continue;
        };
        let explained = pair[1].strip_prefix(&format!("{target}:"));
        let explained = explained.is_some_and(|rest| rest.contains("## "));
        assert!(
            explained,
            "{target} does not say what it does, as `make help` shows it"
        );
        targets += 1;
    }
    assert!(targets > 10, "{targets}");
    for command in [
        "cargo fmt --check",
        "cargo clippy --locked --all-targets -- -D warnings",
        "cargo deny --locked check bans licenses sources",
    ] {
        assert!(makefile.contains(&format!("\n\t{command}\n")), "{command}");
    }
    let ci = repository::read(".ci/run");
    assert!(ci.contains("step make check\nstep make test\n"), "{ci}");
}

#[test]
fn a_clone_stands_alone() {
    for file in [
        "LICENSE",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "CHANGELOG.md",
        "Cargo.lock",
        "deny.toml",
        "Makefile",
        "tests/data/flowfuse/acl-vectors.tsv",
        "tests/data/flowfuse/acl-world.json",
    ] {
        assert!(repository::root().join(file).exists(), "{file}");
    }
    let license = repository::read("LICENSE");
    assert!(license.contains("Apache License") && license.contains("Version 2.0, January 2004"));
    assert!(repository::read("Cargo.toml").contains("rust-version = \""));
    let beside = concat!("..", "/shared");
    repository::each_rust_file(|name, text| {
        assert!(
            !text.contains(beside),
            "{name} reads what is not in a clone"
        );
    });
}

/// The words of a command, as a shell would part them.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut open, mut quote) = (vec![String::new()], false, None);
    for c in line.chars() {
        let word = words.last_mut().expect("one at least");
        match (quote, c) {
            (None, '\'' | '"') => (quote, open) = (Some(c), true),
            (Some(end), c) if c == end => quote = None,
            (None, ' ') if open || !word.is_empty() => {
                words.push(String::new());
                open = false;
            }
            (None, ' ') => {}
            _ => word.push(c),
        }
    }
    words
}

/// Whether the program takes a command; where only its name is mentioned, whether there is such a one.
fn is_taken(command: &str, mentioned: bool) -> bool {
    match CommandLine::try_parse_from(words(command)) {
        Ok(_) => true,
        Err(error) => {
            let is_name = matches!(
                error.kind(),
                ErrorKind::MissingRequiredArgument
                    | ErrorKind::MissingSubcommand
                    | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
            );
            mentioned && is_name
        }
    }
}

#[test]
fn every_command_that_the_documentation_shows_is_one_that_the_program_takes() {
    let mut wrong = Vec::new();
    let mut commands = 0;
    let mut check = |page: &Path, command: &str, mentioned| {
        commands += 1;
        if !is_taken(command, mentioned) {
            wrong.push(format!("{}: {command}", page.display()));
        }
    };
    for page in pages() {
        let text = repository::read(page.to_str().expect("UTF-8"));
        for line in blocks(&text).iter().flat_map(|block| block.text.lines()) {
            let line = line.trim_start_matches("$ ");
            let line = line.trim_start_matches("docker compose exec broker ");
            if line.starts_with("cofferdam ") {
                check(&page, without_comment(line), false);
            }
        }
        for span in text.split('`').skip(1).step_by(2) {
            if span.starts_with("cofferdam ") && !span.contains(['\n', '…']) {
                check(&page, span, true);
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(commands > 30, "{commands}");
    assert!(is_taken(
        "cofferdam team add acme --name \"Acme Ltd\"",
        false
    ));
    assert!(!is_taken("cofferdam team add", false));
    assert!(!is_taken("cofferdam team new", true));
}
