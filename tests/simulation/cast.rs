//! Who takes part: principals of several teams, the names that they use, and by hand, without
//! asking the policy, which of them they may.

use crate::directory::{Directory, PASSWORD};

/// The teams. Their members have the same names on purpose.
pub const TEAMS: [&str; 3] = ["alpha", "beta", "gamma"];

/// A principal.
#[derive(Clone, Debug)]
pub struct Person {
    pub username: String,
    /// `None`: the platform, which spans teams.
    pub team: Option<&'static str>,
    /// What the broker puts before the names that it writes.
    pub mount: String,
    /// Client ids that it may come under.
    pub client_ids: Vec<String>,
    /// Topics as it writes them, and whether it may publish there.
    pub topics: Vec<(String, bool)>,
    /// Filters as it writes them, and whether it may subscribe.
    pub filters: Vec<(String, bool)>,
    /// Topics, as it writes them, that are kept from it whatever wider filter it has.
    pub hidden: Option<&'static str>,
}

impl Person {
    /// A full name as this principal sees it, where it can.
    pub fn sees<'t>(&self, topic: &'t str) -> Option<&'t str> {
        topic.strip_prefix(&*self.mount)
    }

    /// Whether a deny pattern keeps the full name from it.
    pub fn is_denied(&self, topic: &str) -> bool {
        let own = self.sees(topic);
        own.is_some_and(|own| self.hidden.is_some_and(|hidden| matches(hidden, own)))
    }
}

/// Whether a filter matches a name, level by level (section 4.7).
pub fn matches(filter: &str, topic: &str) -> bool {
    let mut names = topic.split('/');
    for level in filter.split('/') {
        if level == "#" {
            return true;
        }
        match names.next() {
            Some(name) if level == "+" || level == name => {}
            _ => return false,
        }
    }
    names.next().is_none()
}

/// Everyone, and the directory that knows them.
pub fn cast() -> (Vec<Person>, Directory) {
    let mut directory = Directory::default();
    let mut people = Vec::new();
    for (team, other) in TEAMS.iter().zip(TEAMS.iter().cycle().skip(1)) {
        people.extend(clients(team, &mut directory));
        people.extend(instances(team, other, &mut directory));
        people.push(device(team, other, &mut directory));
    }
    people.push(platform(&mut directory));
    (people, directory)
}

fn names(names: &[(&str, bool)]) -> Vec<(String, bool)> {
    let own = |(name, allowed): &(&str, bool)| ((*name).to_owned(), *allowed);
    names.iter().map(own).collect()
}

const CLIENT_TOPICS: [(&str, bool); 10] = [
    ("a", true),
    ("a/b", true),
    ("a/b/c", true),
    ("b", true),
    ("b/a", true),
    ("s/x", true),
    ("w/x", true),
    ("$x/y", true),
    ("a//b", true),
    ("/b", true),
];

const CLIENT_FILTERS: [(&str, bool); 19] = [
    ("#", true),
    ("+", true),
    ("a/#", true),
    ("a/+", true),
    ("+/b", true),
    ("a/b", true),
    ("+/+/c", true),
    ("b/#", true),
    ("$x/#", true),
    ("s/#", true),
    ("+/x", true),
    ("/+", true),
    ("a//b", true),
    ("a/#/b", false),
    ("$share/g/a/#", true),
    ("$share/g/+/b", true),
    ("$share/h/a/#", true),
    ("$share/h/#", true),
    ("$share/h/a/b", true),
];

/// Of the team broker: mounted, each with its own patterns.
fn clients(team: &'static str, directory: &mut Directory) -> Vec<Person> {
    let mount = format!("ff/v1/{team}/c/");
    let person = |username: String| Person {
        client_ids: vec![username.clone()],
        username,
        team: Some(team),
        mount: mount.clone(),
        topics: names(&CLIENT_TOPICS),
        filters: names(&CLIENT_FILTERS),
        hidden: None,
    };
    let ann = person(format!("ann@{team}"));
    directory.client(&ann.username, &["allow both #"]);

    let mut ben = person(format!("ben@{team}"));
    ben.hidden = Some("s/#");
    for (name, allowed) in &mut ben.topics {
        *allowed &= !name.starts_with("w/");
    }
    for (name, allowed) in &mut ben.filters {
        *allowed &= !name.starts_with("s/");
    }
    let patterns = ["allow both #", "deny subscribe s/#", "deny publish w/+"];
    directory.client(&ben.username, &patterns);

    let mut cat = person(format!("cat@{team}"));
    for (name, allowed) in &mut cat.topics {
        *allowed = name.starts_with('b');
    }
    for (name, allowed) in &mut cat.filters {
        let bare = name
            .strip_prefix("$share/g/")
            .or(name.strip_prefix("$share/h/"));
        let bare = bare.unwrap_or(name);
        *allowed &= bare.starts_with("a/") || bare == "$x/#";
    }
    let patterns = [
        "allow publish b/#",
        "allow subscribe a/#",
        "allow subscribe $x/#",
    ];
    directory.client(&cat.username, &patterns);

    let mut nodes = person(format!("mq:hosted:{team}:n1"));
    nodes.client_ids.push(format!("{}:2", nodes.username));
    directory.client(&nodes.username, &["allow both #"]);
    vec![ann, ben, cat, nodes]
}

/// Instances use full names, and try those of another team too.
fn instances(team: &'static str, other: &str, directory: &mut Directory) -> Vec<Person> {
    let instance = |id: &str, peer: &str, directory: &mut Directory| {
        directory.instance(team, id);
        let own = |rest: &str| format!("ff/v1/{team}/{rest}");
        let foreign = |rest: &str| format!("ff/v1/{other}/{rest}");
        let username = format!("project:{team}:{id}");
        Person {
            client_ids: vec!["link".to_owned(), format!("{username}:n")],
            username,
            team: Some(team),
            mount: String::new(),
            topics: vec![
                (own(&format!("p/{id}/out/x")), true),
                (own(&format!("p/{peer}/in/x")), true),
                (own(&format!("p/{id}/in/y")), true),
                (own(&format!("p/{peer}/res/z")), true),
                (own("c/a/b"), true),
                (own(&format!("l/{id}/status")), true),
                (own(&format!("p/{peer}/out/x")), false),
                (foreign(&format!("p/{id}/in/x")), false),
                (foreign("c/a/b"), false),
                ("ff/v1/platform/leader".to_owned(), false),
            ],
            filters: vec![
                (own(&format!("p/{id}/in/#")), true),
                (
                    format!("$share/{id}/{}", own(&format!("p/{id}/in/#"))),
                    true,
                ),
                (format!("$share/{id}/{}", own("p/+/out/#")), true),
                (own("p/+/out/#"), true),
                (own(&format!("p/{id}/res/#")), true),
                (own(&format!("l/{id}/command")), true),
                (own("c/#"), true),
                (own("c/a/+"), true),
                (own(&format!("p/{peer}/in/#")), false),
                (foreign("c/#"), false),
                ("ff/v1/+/c/#".to_owned(), false),
                ("#".to_owned(), false),
                (
                    format!("$share/zzz/{}", own(&format!("p/{id}/in/#"))),
                    false,
                ),
            ],
            hidden: None,
        }
    };
    vec![
        instance("n1", "n2", directory),
        instance("n2", "n1", directory),
    ]
}

/// A device of the instance `n1`.
fn device(team: &'static str, other: &str, directory: &mut Directory) -> Person {
    directory.device(team, "d1", ("instance", "n1"));
    let own = |rest: &str| format!("ff/v1/{team}/{rest}");
    let username = format!("device:{team}:d1");
    Person {
        client_ids: vec![username.clone(), "link".to_owned()],
        username,
        team: Some(team),
        mount: String::new(),
        topics: vec![
            (own("d/d1/status"), true),
            (own("d/d1/logs"), true),
            (own("p/n2/in/x"), true),
            (own("p/n1/out/x"), true),
            (own("c/b/a"), true),
            (own("d/d2/status"), false),
            (format!("ff/v1/{other}/d/d1/status"), false),
        ],
        filters: vec![
            (own("d/d1/command"), true),
            (own("p/n1/command"), true),
            (own("p/+/out/#"), true),
            (own("p/n2/in/#"), true),
            (own("c/#"), true),
            (own("d/d2/command"), false),
            (format!("ff/v1/{other}/p/+/out/#"), false),
        ],
        hidden: None,
    }
}

/// The one principal that spans teams.
fn platform(directory: &mut Directory) -> Person {
    directory.password("forge_platform", PASSWORD);
    let mut topics = names(&[
        ("ff/v1/platform/leader", true),
        ("ff/v1/platform/sync", true),
        ("ff/v1/alpha/c/a/b", false),
    ]);
    for team in TEAMS {
        topics.push((format!("ff/v1/{team}/l/n1/command"), true));
        topics.push((format!("ff/v1/{team}/d/d1/command"), true));
    }
    Person {
        username: "forge_platform".to_owned(),
        team: None,
        mount: String::new(),
        client_ids: vec!["forge_platform:1".to_owned(), "forge_platform:2".to_owned()],
        topics,
        filters: names(&[
            ("ff/v1/+/l/+/status", true),
            ("$share/platform/ff/v1/+/l/+/status", true),
            ("ff/v1/+/d/+/logs", true),
            ("ff/v1/+/d/+/status", true),
            ("ff/v1/platform/leader", true),
            ("ff/v1/platform/sync", true),
            ("ff/v1/+/c/#", false),
            ("#", false),
        ]),
        hidden: None,
    }
}
