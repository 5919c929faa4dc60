//! Grants against the reference: what a principal may publish, subscribe to and be handed, through
//! changes of members (which live grants see), records and the policy itself (by a new login).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::reference::{Reference, Ruling};
use super::universe::Universe;
use super::world::{self, ASKED_GROUPS, IDS, PolicyText, Record, TEAMS};
use crate::cluster::{Directory, Random};
use cofferdam::policy::{self, Grant, Policy};
use cofferdam::topic::{TopicFilter, TopicName};
use toml::Table;

/// Decisions in one run, at the least.
const DECISIONS_MIN: u64 = 100_000;
const WORLDS: u64 = 12;
/// Changes in one world.
const STEPS: usize = 10;
/// Questions of each kind to each principal after a change.
const QUESTIONS: usize = 24;

/// One question.
#[derive(Clone, Debug)]
enum Question {
    Publish(String),
    Subscribe(String, Option<&'static str>),
    Receive(String),
}

/// An answer, as broker and reference both can give it.
#[derive(Debug, PartialEq, Eq)]
struct Answer(&'static str);

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Publish(topic) => write!(f, "publish {topic:?}"),
            Self::Subscribe(filter, group) => write!(f, "subscribe {filter:?} in {group:?}"),
            Self::Receive(topic) => write!(f, "receive {topic:?}"),
        }
    }
}

fn yes_or_no(yes: bool) -> Answer {
    Answer(if yes { "yes" } else { "no" })
}

fn by_grant(grant: &Grant, question: &Question) -> Answer {
    let name = |text| TopicName::parse(text, u16::MAX, u16::MAX).expect("a name");
    match question {
        Question::Publish(topic) => {
            let name = name(topic);
            yes_or_no(grant.reaches(name) && grant.publish(name).is_allow())
        }
        Question::Subscribe(text, group) => {
            let filter = TopicFilter::parse(text, u16::MAX, u16::MAX).expect("a filter");
            if !grant.reaches_filter(filter) {
                return Answer("no");
            }
            match grant.subscribe(filter, *group).ruling {
                policy::Ruling::Allow => Answer("yes"),
                policy::Ruling::AllowChecked => Answer("checked"),
                policy::Ruling::Deny => Answer("no"),
            }
        }
        Question::Receive(topic) => yes_or_no(grant.may_receive(name(topic))),
    }
}

fn by_text(
    reference: &Reference,
    question: &Question,
    members: &BTreeSet<&str>,
    universe: &mut Universe,
) -> Answer {
    match question {
        Question::Publish(topic) => yes_or_no(reference.publish(topic, members)),
        Question::Subscribe(filter, group) => {
            match reference.subscribe(filter, *group, members, universe) {
                Ruling::Allow => Answer("yes"),
                Ruling::AllowChecked => Answer("checked"),
                Ruling::Deny => Answer("no"),
            }
        }
        Question::Receive(topic) => yes_or_no(reference.may_receive(topic, members)),
    }
}

/// Puts on the directory's record what the world has.
pub(super) fn put_on_record(record: &Record, directory: &mut Directory) {
    for team in TEAMS {
        for id in IDS {
            match record.members[team].contains(id) {
                true => directory.instance(team, id),
                false => directory.remove_instance(team, id),
            }
            match record.owners.get(id) {
                Some((kind, owner)) => directory.device(team, id, (kind, owner)),
                None => directory.disown(id),
            }
        }
    }
    for (username, patterns) in &record.patterns {
        let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
        directory.client(username, &patterns);
    }
}

/// A world under way.
struct Run {
    random: Random,
    universe: Universe,
    text: PolicyText,
    policy: Policy,
    /// The same text, read for the reference.
    read: Table,
    record: Record,
    directory: Directory,
    /// By username: the grant, and the reference for the same login.
    logins: BTreeMap<String, (Grant, Reference)>,
    asked: u64,
}

fn login(policy: &Policy, directory: &Directory, username: &str) -> Grant {
    let principal = policy.principal(username, directory).expect("a role");
    policy.grant(principal, directory).expect("a grant")
}

impl Run {
    fn begin(seed: u64, universe: Universe) -> Self {
        let mut random = Random::new(seed);
        let text = world::policy(&mut random);
        let record = world::record(&mut random);
        let policy = parse(&text.whole());
        let mut run = Self {
            random,
            universe,
            read: read(&text.whole()),
            text,
            policy,
            record,
            directory: Directory::default(),
            logins: BTreeMap::new(),
            asked: 0,
        };
        put_on_record(&run.record, &mut run.directory);
        for username in world::usernames() {
            run.log_in(username);
        }
        run
    }

    fn log_in(&mut self, username: String) {
        let grant = login(&self.policy, &self.directory, &username);
        let reference = Reference::read(&self.read, &username, &self.record);
        self.logins.insert(username, (grant, reference));
    }

    /// Something changes; who has to log in for it does. What members a team has shows at once in
    /// grants that live.
    fn change(&mut self) {
        let random = &mut self.random;
        let mut again = Vec::new();
        match random.below(4) {
            0 | 1 => drop(world::change_members(random, &mut self.record)),
            2 => {
                let device = *random.choose(&["a", "b"]);
                world::change_owner(random, &mut self.record, device);
                let mine = format!(":{device}");
                again.extend(self.logins.keys().filter(|it| it.ends_with(&mine)).cloned());
                let username = format!("m:{}:x", random.choose(&TEAMS));
                let patterns = world::patterns(random);
                self.record.patterns.insert(username.clone(), patterns);
                again.push(username);
            }
            _ => {
                self.text = world::policy(random);
                self.policy = parse(&self.text.whole());
                self.read = read(&self.text.whole());
                again.extend(self.logins.keys().cloned());
            }
        }
        put_on_record(&self.record, &mut self.directory);
        again.into_iter().for_each(|username| self.log_in(username));
    }

    fn ask_everybody(&mut self, seed: u64, step: usize) {
        for (username, (grant, reference)) in &self.logins {
            let team = username.split(':').nth(1).unwrap_or_default();
            let nobody = BTreeSet::new();
            let members = self.record.members.get(team).unwrap_or(&nobody);
            for _ in 0..QUESTIONS {
                let random = &mut self.random;
                let names = self.universe.names();
                let topic = |random: &mut Random| world::asked_topic(random, username, names);
                let questions = [
                    Question::Publish(topic(random)),
                    Question::Receive(topic(random)),
                    Question::Subscribe(
                        world::asked_filter(random, username),
                        *random.choose(&ASKED_GROUPS),
                    ),
                ];
                for question in questions {
                    if !grant.mount().is_empty() && !below(&question, grant.mount()) {
                        continue; // it has no name for it
                    }
                    self.asked += 1;
                    let told = by_grant(grant, &question);
                    let expected = by_text(reference, &question, members, &mut self.universe);
                    if told != expected {
                        let smaller = shrink(&self.text, &self.record, username, &question);
                        panic!(
                            "seed {seed}, step {step}: {username} {question}: the grant says \
                             {told:?}, the text {expected:?}\n{smaller}\n{:?} {:?} {:?}",
                            self.record.members, self.record.owners, self.record.patterns
                        );
                    }
                }
            }
        }
    }
}

fn below(question: &Question, mount: &str) -> bool {
    let (Question::Publish(text) | Question::Receive(text) | Question::Subscribe(text, _)) =
        question;
    text.len() > mount.len() && text.starts_with(mount)
}

fn read(text: &str) -> Table {
    text.parse().expect("TOML")
}

fn parse(text: &str) -> Policy {
    Policy::parse("random.toml", text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The policy without the rules that the difference does not need.
fn shrink(text: &PolicyText, record: &Record, username: &str, question: &Question) -> String {
    let mut rules = text.rules.clone();
    let mut directory = Directory::default();
    put_on_record(record, &mut directory);
    let team = username.split(':').nth(1).unwrap_or_default();
    let nobody = BTreeSet::new();
    let members = record.members.get(team).unwrap_or(&nobody);
    let mut universe = Universe::new();
    let mut differs = |rules: &[String]| {
        let whole = format!("{}\n{}", text.head, rules.join("\n"));
        let grant = login(&parse(&whole), &directory, username);
        let reference = Reference::read(&read(&whole), username, record);
        by_grant(&grant, question) != by_text(&reference, question, members, &mut universe)
    };
    let mut place = 0;
    while place < rules.len() {
        let mut fewer = rules.clone();
        fewer.remove(place);
        match differs(&fewer) {
            true => rules = fewer,
            false => place += 1,
        }
    }
    rules.join("\n")
}

#[test]
fn every_decision_is_the_one_that_the_text_of_the_policy_gives() {
    let mut asked = 0;
    let mut answers: BTreeMap<&str, u64> = BTreeMap::new();
    let mut universe = Universe::new();
    let worlds = super::plan(WORLDS);
    let whole = worlds.end - worlds.start >= WORLDS;
    for seed in worlds {
        let mut run = Run::begin(seed, universe);
        run.ask_everybody(seed, 0);
        for step in 1..=STEPS {
            run.change();
            run.ask_everybody(seed, step);
        }
        asked += run.asked;
        for (grant, _) in run.logins.values() {
            for filter in ["n/t/#", "n/t/a", "n/k/+", "n/+/a"] {
                let question = Question::Subscribe(filter.to_owned(), None);
                *answers.entry(by_grant(grant, &question).0).or_default() += 1;
            }
        }
        universe = run.universe;
    }
    assert!(asked >= DECISIONS_MIN || !whole, "only {asked} decisions");
    assert!(
        answers.len() == 3 || !whole,
        "all kinds of answers: {answers:?}"
    );
}
