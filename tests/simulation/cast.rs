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
    /// Topics as it writes them.
    pub topics: Vec<String>,
    /// Filters as it writes them.
    pub filters: Vec<String>,
    /// What it may do: at first the first of them, then as the operator likes.
    pub rights: Vec<Rights>,
}

/// What a principal may do with the names that it writes.
#[derive(Clone, Debug)]
pub struct Rights {
    /// Of each topic: whether it may publish there.
    topics: Vec<bool>,
    /// Of each filter: whether it may subscribe to it.
    filters: Vec<bool>,
    /// Topics, as it writes them, that are kept from it whatever wider filter it has.
    hidden: Option<&'static str>,
    /// The same in the words of the directory; empty where its role says it all.
    pub patterns: &'static [&'static str],
}

impl Person {
    /// Whether it may publish to a topic that it writes so.
    pub fn may_publish(&self, rights: usize, written: &str) -> bool {
        let at = self.topics.iter().position(|topic| topic == written);
        at.is_some_and(|at| self.rights[rights].topics[at])
    }

    /// Whether it may subscribe to a filter that it writes so.
    pub fn may_subscribe(&self, rights: usize, written: &str) -> bool {
        let at = self.filters.iter().position(|filter| filter == written);
        at.is_some_and(|at| self.rights[rights].filters[at])
    }

    /// Whether it may read a topic, given by its full name, at all: by a filter that its rights
    /// contain.
    pub fn may_read(&self, rights: usize, topic: &str) -> bool {
        let filters = self.filters.iter().zip(&self.rights[rights].filters);
        let mut granted = filters.filter(|(_, granted)| **granted);
        self.sees(topic).is_some_and(|own| {
            granted.any(|(filter, _)| !filter.starts_with("$share/") && matches(filter, own))
        }) && !self.is_denied(rights, topic)
    }

    /// A full name as this principal sees it, where it can.
    pub fn sees<'t>(&self, topic: &'t str) -> Option<&'t str> {
        topic.strip_prefix(&*self.mount)
    }

    /// Whether a deny pattern keeps the full name from it.
    pub fn is_denied(&self, rights: usize, topic: &str) -> bool {
        let (own, hidden) = (self.sees(topic), self.rights[rights].hidden);
        own.is_some_and(|own| hidden.is_some_and(|hidden| matches(hidden, own)))
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

/// Names, and rights that never change.
fn fixed(
    topics: Vec<(String, bool)>,
    filters: Vec<(String, bool)>,
) -> (Vec<String>, Vec<String>, Vec<Rights>) {
    let ((topics, may_publish), (filters, may_subscribe)) =
        (topics.into_iter().unzip(), filters.into_iter().unzip());
    let rights = Rights {
        topics: may_publish,
        filters: may_subscribe,
        hidden: None,
        patterns: &[],
    };
    (topics, filters, vec![rights])
}

fn names(names: &[(&str, bool)]) -> Vec<(String, bool)> {
    let own = |(name, allowed): &(&str, bool)| ((*name).to_owned(), *allowed);
    names.iter().map(own).collect()
}

const CLIENT_TOPICS: [&str; 10] = [
    "a", "a/b", "a/b/c", "b", "b/a", "s/x", "w/x", "$x/y", "a//b", "/b",
];

const CLIENT_FILTERS: [&str; 19] = [
    "#",
    "+",
    "a/#",
    "a/+",
    "+/b",
    "a/b",
    "+/+/c",
    "b/#",
    "$x/#",
    "s/#",
    "+/x",
    "/+",
    "a//b",
    "a/#/b",
    "$share/g/a/#",
    "$share/g/+/b",
    "$share/h/a/#",
    "$share/h/#",
    "$share/h/a/b",
];

/// What the clients of a team broker may do: everything; almost everything; little.
fn client_rights() -> [Rights; 3] {
    let rights = |publish: fn(&str) -> bool, subscribe: fn(&str) -> bool, hidden, patterns| {
        let bare = |name: &&str| {
            let group = name
                .strip_prefix("$share/g/")
                .or(name.strip_prefix("$share/h/"));
            let bare = group.unwrap_or(name);
            bare != "a/#/b" && subscribe(bare)
        };
        Rights {
            topics: CLIENT_TOPICS.iter().map(|name| publish(name)).collect(),
            filters: CLIENT_FILTERS.iter().map(bare).collect(),
            hidden,
            patterns,
        }
    };
    [
        rights(|_| true, |_| true, None, &["allow both #"]),
        rights(
            |name| !name.starts_with("w/"),
            |name| !name.starts_with("s/"),
            Some("s/#"),
            &["allow both #", "deny subscribe s/#", "deny publish w/+"],
        ),
        rights(
            |name| name.starts_with('b'),
            |name| name.starts_with("a/") || name == "$x/#",
            None,
            &[
                "allow publish b/#",
                "allow subscribe a/#",
                "allow subscribe $x/#",
            ],
        ),
    ]
}

/// Of the team broker: mounted, each with its own patterns, which may change.
fn clients(team: &'static str, directory: &mut Directory) -> Vec<Person> {
    let names = ["ann", "ben", "cat"].map(|name| format!("{name}@{team}"));
    let names = names.into_iter().chain([format!("mq:hosted:{team}:n1")]);
    let mut clients = Vec::new();
    for (place, username) in names.enumerate() {
        let mut rights = client_rights();
        rights.rotate_left(place % 3);
        directory.client(&username, rights[0].patterns);
        clients.push(Person {
            client_ids: vec![username.clone()],
            username,
            team: Some(team),
            mount: format!("ff/v1/{team}/c/"),
            topics: CLIENT_TOPICS.map(str::to_owned).to_vec(),
            filters: CLIENT_FILTERS.map(str::to_owned).to_vec(),
            rights: rights.to_vec(),
        });
    }
    // Of the MQTT nodes there may be several at a time.
    let second = format!("{}:2", clients[3].username);
    clients[3].client_ids.push(second);
    clients
}

/// Instances use full names, and try those of another team too.
fn instances(team: &'static str, other: &str, directory: &mut Directory) -> Vec<Person> {
    let instance = |id: &str, peer: &str, directory: &mut Directory| {
        directory.instance(team, id);
        let own = |rest: &str| format!("ff/v1/{team}/{rest}");
        let foreign = |rest: &str| format!("ff/v1/{other}/{rest}");
        let username = format!("project:{team}:{id}");
        let (topics, filters, rights) = fixed(
            vec![
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
            vec![
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
        );
        Person {
            client_ids: vec!["link".to_owned(), format!("{username}:n")],
            username,
            team: Some(team),
            mount: String::new(),
            topics,
            filters,
            rights,
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
    let (topics, filters, rights) = fixed(
        vec![
            (own("d/d1/status"), true),
            (own("d/d1/logs"), true),
            (own("p/n2/in/x"), true),
            (own("p/n1/out/x"), true),
            (own("c/b/a"), true),
            (own("d/d2/status"), false),
            (format!("ff/v1/{other}/d/d1/status"), false),
        ],
        vec![
            (own("d/d1/command"), true),
            (own("p/n1/command"), true),
            (own("p/+/out/#"), true),
            (own("p/n2/in/#"), true),
            (own("c/#"), true),
            (own("d/d2/command"), false),
            (format!("ff/v1/{other}/p/+/out/#"), false),
        ],
    );
    Person {
        client_ids: vec![username.clone(), "link".to_owned()],
        username,
        team: Some(team),
        mount: String::new(),
        topics,
        filters,
        rights,
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
    let (topics, filters, rights) = fixed(
        topics,
        names(&[
            ("ff/v1/+/l/+/status", true),
            ("$share/platform/ff/v1/+/l/+/status", true),
            ("ff/v1/+/d/+/logs", true),
            ("ff/v1/+/d/+/status", true),
            ("ff/v1/platform/leader", true),
            ("ff/v1/platform/sync", true),
            ("ff/v1/+/c/#", false),
            ("#", false),
        ]),
    );
    Person {
        username: "forge_platform".to_owned(),
        team: None,
        mount: String::new(),
        client_ids: vec!["forge_platform:1".to_owned(), "forge_platform:2".to_owned()],
        topics,
        filters,
        rights,
    }
}
