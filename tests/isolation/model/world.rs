//! A random world: the text of a policy, and what is on record of its principals.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::cluster::Random;

pub const TEAMS: [&str; 3] = ["t", "u", "tt"];
/// What instances and owners can be called: words of the universe.
pub const IDS: [&str; 3] = ["a", "b", "pa"];
/// A level of a template. `{device}` is bound to `b` or `a`, `{owner}` to a word or to nothing.
const LEVELS: [&str; 9] = [
    "",
    "a",
    "b",
    "+",
    "{any}",
    "p{any}",
    "{instances}",
    "{device}",
    "{owner}",
];
/// The same for roles without a team.
const COMMON_LEVELS: [&str; 6] = ["", "a", "b", "+", "{any}", "p{any}"];
/// A level of what a client asks for or has as its own pattern.
const ASKED: [&str; 7] = ["", "a", "b", "z", "p", "pa", "+"];
const GROUPS: [&str; 4] = ["g", "{device}", "{any}", "h-{device}"];
pub const ASKED_GROUPS: [Option<&str>; 5] = [None, None, Some("g"), Some("b"), Some("h-b")];

/// Everybody: of each team two of role `r`, one of role `q`, two mounted clients; two principals of
/// the commons and one that spans teams.
pub fn usernames() -> Vec<String> {
    let teams = TEAMS.iter().flat_map(|team| {
        ["r:{}:a", "r:{}:b", "q:{}:b", "m:{}:x", "m:{}:y"].map(|form| form.replace("{}", team))
    });
    let others = ["c:a", "c:b", "all"].map(str::to_owned);
    teams.chain(others).collect()
}

/// What is on record.
#[derive(Clone, Default)]
pub struct Record {
    pub members: BTreeMap<&'static str, BTreeSet<&'static str>>,
    /// By device, as the platform has it: type and id.
    pub owners: BTreeMap<&'static str, (&'static str, &'static str)>,
    /// By username; `allow both a/#`.
    pub patterns: BTreeMap<String, Vec<String>>,
}

/// The rules of one role, each the lines of one table.
pub struct PolicyText {
    pub head: String,
    pub rules: Vec<String>,
}

impl PolicyText {
    pub fn whole(&self) -> String {
        format!("{}\n{}", self.head, self.rules.join("\n"))
    }
}

/// A filter of up to two of these levels, perhaps with a `#`.
fn levels(random: &mut Random, from: &[&str]) -> String {
    let count = random.below(3);
    let mut levels: Vec<&str> = (0..count).map(|_| *random.choose(from)).collect();
    if levels.is_empty() || random.one_in(2) {
        levels.push("#");
    }
    levels.join("/")
}

/// A policy over the same usernames and places as every other.
pub fn policy(random: &mut Random) -> PolicyText {
    let shares = random.choose(&["\"g\"", "\"{any}\"", ""]);
    let head = format!(
        "[namespace]\nteam = \"n/{{team}}/\"\ncommons = [\"k\"]\n\
         [role.r]\nusername = [\"r:{{team}}:{{device}}\"]\nbindings = [\"owner_type\", \"owner\"]\n\
         [role.q]\nusername = [\"q:{{team}}:{{device}}\"]\nbindings = [\"owner_type\", \"owner\"]\n\
         [role.m]\nusername = [\"m:{{team}}:{{client}}\"]\nmount = \"n/{{team}}/m/\"\n\
         patterns = {{ share = [{shares}] }}\n\
         [role.c]\nusername = [\"c:{{user}}\"]\nreach = \"commons\"\n\
         [role.all]\nusername = [\"all\"]\nreach = \"all\"\n"
    );
    let mut rules = Vec::new();
    for (role, most) in [("r", 7), ("q", 6), ("m", 3), ("c", 4), ("all", 6)] {
        // Where much is allowed, what is denied shows.
        if random.one_in(2) {
            let root = if role == "c" { "n/k/" } else { "n/{team}/" };
            let root = if role == "all" { "n/+/" } else { root };
            rules.push(format!(
                "[[role.{role}.rules]]\nallow = \"both\"\ntopics = [\"{root}#\"]\nshare = [\"{{any}}\"]\n"
            ));
        }
        for _ in 0..random.below(most + 1) {
            rules.push(rule(random, role));
        }
    }
    PolicyText { head, rules }
}

fn rule(random: &mut Random, role: &str) -> String {
    let allow = !random.one_in(3);
    let action = *random.choose(&["publish", "subscribe", "both"]);
    let of_team = matches!(role, "r" | "q");
    let topics: Vec<String> = (0..=random.below(2))
        .map(|_| {
            let root = match role {
                "c" => "n/k/",
                "all" => *random.choose(&["n/+/", "n/{any}/", "n/t/", "n/k/"]),
                "m" => *random.choose(&["n/{team}/m/", "n/{team}/"]),
                _ if random.one_in(4) => "n/k/",
                _ => "n/{team}/",
            };
            let from = if of_team { &LEVELS[..] } else { &COMMON_LEVELS };
            format!("\"{root}{}\"", levels(random, from))
        })
        .collect();
    let effect = if allow { "allow" } else { "deny" };
    let mut text = format!(
        "[[role.{role}.rules]]\n{effect} = \"{action}\"\ntopics = [{}]\n",
        topics.join(", ")
    );
    let mut add = |line: String| writeln!(text, "{line}").expect("a string");
    if action != "publish" && allow && of_team && random.one_in(2) {
        add(format!("share = [\"{}\"]", random.choose(&GROUPS)));
    }
    if action != "publish" && !allow && random.one_in(3) {
        add("overlap = \"grant\"".to_owned());
    }
    if of_team && random.one_in(3) {
        let conditions = [
            "owner = true",
            "owner = false",
            "owner = \"a\"",
            "owner_type = \"instance\"",
            "device = \"b\"",
        ];
        add(format!("when = {{ {} }}", random.choose(&conditions)));
    }
    text
}

/// What is on record at first.
pub fn record(random: &mut Random) -> Record {
    let mut record = Record::default();
    for team in TEAMS {
        record
            .members
            .insert(team, BTreeSet::from([*random.choose(&IDS)]));
        for name in ["x", "y"] {
            let patterns = patterns(random);
            record.patterns.insert(format!("m:{team}:{name}"), patterns);
        }
    }
    for device in ["a", "b"] {
        change_owner(random, &mut record, device);
    }
    record
}

pub fn change_owner(random: &mut Random, record: &mut Record, device: &'static str) {
    let kind = *random.choose(&["instance", "application"]);
    match random.one_in(3) {
        true => record.owners.remove(device),
        false => record.owners.insert(device, (kind, *random.choose(&IDS))),
    };
}

/// Adds a member to a team or takes one out; one always stays.
pub fn change_members(random: &mut Random, record: &mut Record) -> (&'static str, &'static str) {
    let (team, id) = (*random.choose(&TEAMS), *random.choose(&IDS));
    let members = record.members.get_mut(team).expect("a team");
    if !members.insert(id) && members.len() > 1 {
        members.remove(id);
    }
    (team, id)
}

pub fn patterns(random: &mut Random) -> Vec<String> {
    let count = random.below(6);
    let pattern = |random: &mut Random| {
        let effect = if random.one_in(3) { "deny" } else { "allow" };
        let action = *random.choose(&["publish", "subscribe", "both"]);
        let filter = match levels(random, &ASKED) {
            empty if empty.is_empty() => "#".to_owned(),
            filter => filter,
        };
        format!("{effect} {action} {filter}")
    };
    (0..count).map(|_| pattern(random)).collect()
}

/// A full filter that somebody asks for: mostly near home.
pub fn asked_filter(random: &mut Random, username: &str) -> String {
    let home = home(username);
    let root = match random.below(8) {
        0 => "n/+/".to_owned(),
        1 => format!("n/{}/", random.choose(&TEAMS)),
        2 => "n/k/".to_owned(),
        3 if !home.ends_with("/m/") => (*random.choose(&["", "m/t/", "+/t/", "n//"])).to_owned(),
        _ => home,
    };
    match levels(random, &ASKED) {
        // A mounted client cannot ask for nothing.
        nothing if nothing.is_empty() && root.is_empty() => "#".to_owned(),
        nothing if nothing.is_empty() && root.ends_with("/m/") => format!("{root}#"),
        levels => format!("{root}{levels}"),
    }
}

/// A full topic that somebody publishes to: mostly near home.
pub fn asked_topic(random: &mut Random, username: &str, names: &[String]) -> String {
    let home = home(username);
    loop {
        let name = random.choose(names);
        if name.starts_with(&home) && name.len() > home.len() || random.one_in(8) {
            return name.clone();
        }
    }
}

/// A topic that a filter matches.
pub fn topic_of(random: &mut Random, filter: &str) -> String {
    let mut topic = Vec::new();
    for (place, level) in filter.split('/').enumerate() {
        match level {
            // The first levels are the namespace's.
            "+" if place == 0 => topic.push("n"),
            "+" if place == 1 => topic.push(*random.choose(&TEAMS)),
            "+" => topic.push(*random.choose(&ASKED[..6])),
            "#" if place < 2 => topic.extend(["n", "t", "a"].iter().skip(place)),
            "#" => {
                let more = random.below(3);
                topic.extend((0..more).map(|_| *random.choose(&ASKED[..6])));
            }
            level => topic.push(level),
        }
    }
    topic.join("/")
}

/// Where somebody's topics mostly are: the mount, the team, or the commons.
pub fn home(username: &str) -> String {
    let mut parts = username.split(':');
    match (parts.next(), parts.next()) {
        (Some("m"), Some(team)) => format!("n/{team}/m/"),
        (Some("r" | "q"), Some(team)) => format!("n/{team}/"),
        (Some("c"), _) => "n/k/".to_owned(),
        _ => "n/t/".to_owned(),
    }
}
