//! Decides on the text of a policy by trying every name there is. Knows nothing of how the broker
//! does it: the text is read as TOML, templates are filled in as text, and one filter contains
//! another where all names say so.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use super::universe::{Names, Universe, both, contains, is_empty, matches, overlaps};
use super::world::Record;

/// What was decided on a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    Allow,
    /// Each delivery is checked.
    AllowChecked,
    Deny,
}

/// One principal as it logged in: by the text of the policy then, and by what was on record of it.
pub struct Reference {
    role: Table,
    team: Option<String>,
    variables: BTreeMap<String, String>,
    /// The principal's own, where the role has a list: allow, action, filter.
    patterns: Option<Vec<(bool, String, String)>>,
    mount: String,
    commons: Vec<String>,
}

/// A rule or pattern that is about what is asked.
struct About {
    allow: bool,
    topics: Vec<String>,
    shares: Vec<String>,
    is_checked: bool,
}

impl Reference {
    /// Reads a policy for one principal.
    pub fn read(policy: &Table, username: &str, record: &Record) -> Self {
        let roles = policy["role"].as_table().expect("roles");
        let (role, mut variables) = roles
            .values()
            .find_map(|role| Some((role, read_username(role, username)?)))
            .expect("a role");
        let role = role.as_table().expect("a role").clone();
        if let Some((kind, id)) = variables
            .get("device")
            .and_then(|it| record.owners.get(&**it))
        {
            variables.insert("owner_type".to_owned(), (*kind).to_owned());
            variables.insert("owner".to_owned(), (*id).to_owned());
        }
        let team = variables.get("team").cloned();
        let patterns = role.get("patterns").map(|_| {
            let own = record.patterns.get(username).into_iter().flatten();
            let words = own.map(|text| text.splitn(3, ' ').collect::<Vec<_>>());
            words
                .map(|words| {
                    (
                        words[0] == "allow",
                        words[1].to_owned(),
                        words[2].to_owned(),
                    )
                })
                .collect()
        });
        let mount = role
            .get("mount")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let mount = mount.replace("{team}", team.as_deref().unwrap_or_default());
        let commons = policy["namespace"]["commons"].as_array().expect("a list");
        let commons = commons.iter().filter_map(Value::as_str);
        Self {
            commons: commons.map(str::to_owned).collect(),
            role,
            team,
            variables,
            patterns,
            mount,
        }
    }

    /// What stands before what the client writes; empty: nothing.
    pub fn mount(&self) -> &str {
        &self.mount
    }

    /// Whether a name is within what the role can reach at all, whatever its rules say.
    pub fn reaches(&self, name: &str) -> bool {
        let levels: Vec<&str> = name.split('/').collect();
        let place = match levels[..] {
            ["n", place, _, ..] => place,
            _ => "",
        };
        let in_commons = || self.commons.iter().any(|it| it == place) && self.names_commons(place);
        match self.role.get("reach").and_then(Value::as_str) {
            Some("all") => true,
            Some("commons") => in_commons(),
            _ => !place.is_empty() && Some(place) == self.team.as_deref() || in_commons(),
        }
    }

    /// May it publish to this full name?
    pub fn publish(&self, name: &str, members: &BTreeSet<&str>) -> bool {
        let abouts = self.about("publish", members);
        let hits = |allow: bool| {
            let mut same = abouts.iter().filter(|about| about.allow == allow);
            same.any(|about| about.topics.iter().any(|topic| matches(topic, name)))
        };
        let own = |allow: bool| {
            self.own(allow, "publish")
                .any(|it| self.matches_own(&it, name))
        };
        self.reaches(name) && !hits(false) && !own(false) && (hits(true) || own(true))
    }

    /// May it subscribe to this full filter, in this group?
    pub fn subscribe(
        &self,
        filter: &str,
        group: Option<&str>,
        members: &BTreeSet<&str>,
        universe: &mut Universe,
    ) -> Ruling {
        let asked = universe.matched(filter);
        if !self.reaches_all(&asked, universe) {
            return Ruling::Deny;
        }
        let abouts = self.about("subscribe", members);
        let contained = |about: &About, universe: &mut Universe| {
            let mut topics = about.topics.iter();
            topics.any(|topic| contains(&universe.matched(topic), &asked))
        };
        // What a mounted client asks for is below its mount; the name above it is no name of its.
        let asked_below = both(&asked, &self.own_names("#", universe));
        let mut own = |allow: bool| -> Vec<Names> {
            let own = self.own(allow, "subscribe");
            own.map(|pattern| self.own_names(&pattern, universe))
                .collect()
        };
        let (own_allows, own_denies) = (own(true), own(false));
        let own_contains = |set: &Names| contains(set, &asked_below);
        let denied = abouts.iter().filter(|about| !about.allow);
        if denied.clone().any(|about| contained(about, universe))
            || own_denies.iter().any(own_contains)
        {
            return Ruling::Deny;
        }
        let permits = |shares: &[String]| {
            group.is_none_or(|group| shares.iter().any(|share| matches(share, group)))
        };
        let mut allowed = abouts
            .iter()
            .filter(|about| about.allow && permits(&about.shares));
        let by_rule = allowed.any(|about| contained(about, universe));
        let by_own = permits(&self.own_shares()) && own_allows.iter().any(own_contains);
        if !by_rule && !by_own {
            return Ruling::Deny;
        }
        let mut checked = denied.filter(|about| about.is_checked);
        let met = checked.any(|about| {
            let mut topics = about.topics.iter();
            topics.any(|topic| overlaps(&universe.matched(topic), &asked))
        });
        match met || own_denies.iter().any(|set| overlaps(set, &asked_below)) {
            true => Ruling::AllowChecked,
            false => Ruling::Allow,
        }
    }

    /// May a message on this full name be handed to it, where each delivery is checked?
    pub fn may_receive(&self, name: &str, members: &BTreeSet<&str>) -> bool {
        let abouts = self.about("subscribe", members);
        let mut denies = abouts
            .iter()
            .filter(|about| !about.allow && about.is_checked);
        let denied = denies.any(|about| about.topics.iter().any(|topic| matches(topic, name)));
        let own = self
            .own(false, "subscribe")
            .any(|it| self.matches_own(&it, name));
        !denied && !own
    }

    /// Whether a filter matches names, and none that the role cannot reach; but for the team's own
    /// name without anything behind it, to which nobody can publish.
    fn reaches_all(&self, asked: &Names, universe: &mut Universe) -> bool {
        let key = |what: &str| format!("{what} {:?} {:?}", self.team, self.reach());
        let reached = universe.those(&key("reached"), |name| self.reaches(name));
        let either = universe.those(&key("reached or above"), |name| {
            let above = name.matches('/').count() == 1 && self.reaches(&format!("{name}/x"));
            above || self.reaches(name)
        });
        contains(&either, asked) && !is_empty(&both(asked, &reached))
    }

    /// How far the role goes, and whether it has a rule for each of the commons.
    fn reach(&self) -> (&str, Vec<bool>) {
        let reach = self.role.get("reach").and_then(Value::as_str);
        let commons = self.commons.iter().map(|it| self.names_commons(it));
        (reach.unwrap_or("team"), commons.collect())
    }

    fn names_commons(&self, place: &str) -> bool {
        let root = format!("n/{place}/");
        let mut topics = self.rules().iter().flat_map(topics);
        topics.any(|topic| topic.starts_with(&root))
    }

    /// The names below the mount, if there is one, that a pattern of the principal's own matches.
    fn own_names(&self, pattern: &str, universe: &mut Universe) -> Names {
        let key = format!("{} below {:?}", pattern, self.mount);
        universe.those(&key, |name| self.matches_own(pattern, name))
    }

    fn rules(&self) -> &[Value] {
        let rules = self.role.get("rules").and_then(Value::as_array);
        rules.map_or(&[], Vec::as_slice)
    }

    /// The rules whose conditions hold and which are about this action, filled in.
    fn about(&self, action: &str, members: &BTreeSet<&str>) -> Vec<About> {
        let rules = self.rules().iter().filter(|rule| self.holds(rule));
        let about = rules.filter_map(|rule| {
            let word = |key: &str| rule.get(key).and_then(Value::as_str);
            let allow = word("allow").is_some();
            let of = word("allow").or(word("deny")).expect("an effect");
            if of != action && of != "both" {
                return None;
            }
            Some(About {
                allow,
                topics: topics(rule)
                    .filter_map(|it| self.fill(it, members))
                    .collect(),
                shares: strings(rule.get("share"))
                    .filter_map(|it| self.fill(it, members))
                    .collect(),
                is_checked: word("overlap") != Some("grant"),
            })
        });
        about.collect()
    }

    fn holds(&self, rule: &Value) -> bool {
        let when = rule.get("when").and_then(Value::as_table);
        when.into_iter().flatten().all(|(name, wanted)| {
            let value = self.variables.get(name);
            match wanted {
                Value::Boolean(known) => value.is_some() == *known,
                wanted => value.map(String::as_str) == wanted.as_str(),
            }
        })
    }

    /// A template with its variables filled in; `None` where one is not known.
    fn fill(&self, template: &str, members: &BTreeSet<&str>) -> Option<String> {
        let members: Vec<&str> = members.iter().copied().collect();
        let mut text = template.replace("{instances}", &format!("{{{}}}", members.join("|")));
        for (name, value) in &self.variables {
            text = text.replace(&format!("{{{name}}}"), value);
        }
        let open = ["{owner}", "{device}", "{team}"];
        (!open.iter().any(|variable| text.contains(variable))).then_some(text)
    }

    /// The principal's own patterns about an action.
    fn own(&self, allow: bool, action: &str) -> impl Iterator<Item = String> {
        let patterns = self.patterns.iter().flatten();
        patterns
            .filter(move |(it, about, _)| *it == allow && (about == action || about == "both"))
            .map(|(_, _, filter)| filter.clone())
    }

    fn own_shares(&self) -> Vec<String> {
        let shares = self.role.get("patterns").and_then(|it| it.get("share"));
        strings(shares).map(str::to_owned).collect()
    }

    /// A pattern is about what the client writes: what stands behind the mount.
    fn matches_own(&self, pattern: &str, name: &str) -> bool {
        let written = name.strip_prefix(&self.mount);
        written.is_some_and(|written| !written.is_empty() && matches(pattern, written))
    }
}

fn topics(rule: &Value) -> impl Iterator<Item = &str> {
    strings(rule.get("topics"))
}

fn strings(list: Option<&Value>) -> impl Iterator<Item = &str> {
    let list = list.and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str)
}

/// The variables of a username, where it is of a role's form.
fn read_username(role: &Value, username: &str) -> Option<BTreeMap<String, String>> {
    let template = strings(role.get("username")).next()?;
    let (wanted, found) = (template.split(':'), username.split(':'));
    if wanted.clone().count() != found.clone().count() {
        return None;
    }
    let mut variables = BTreeMap::new();
    for (wanted, found) in wanted.zip(found) {
        match wanted.strip_prefix('{').and_then(|it| it.strip_suffix('}')) {
            Some(name) => drop(variables.insert(name.to_owned(), found.to_owned())),
            None if wanted == found => {}
            None => return None,
        }
    }
    Some(variables)
}
