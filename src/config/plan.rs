//! `[plan.<name>]`: what teams may have and do. The same keys change a plan for one team alone, in
//! the file of `apply` and in the database.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::quantity::format_size;
use super::section::{Section, nearest};
use super::{ConfigErrors, problem, tree};
use crate::limits::{Durability, OverRate, Rate, TeamLimits};

/// The plan of teams that refer to none.
pub const DEFAULT: &str = "default";

/// All plans by name; [`DEFAULT`] is among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plans {
    by_name: BTreeMap<String, Arc<TeamLimits>>,
    /// Of the broker, which a plan has that says nothing else.
    durability: Durability,
}

/// A plan that no `[plan.<name>]` of the configuration has, and the name that may have been meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no plan {name:?} in the configuration{near}")]
pub struct UnknownPlan {
    name: String,
    near: String,
}

/// A field of [`TeamLimits`], by the kind of value it takes.
enum Slot<'a> {
    Count(&'a mut u32),
    Size32(&'a mut u32),
    Size64(&'a mut u64),
    /// With the key of its burst.
    Rate(&'a mut Option<Rate>, &'static str),
    /// As `Rate`, in bytes.
    ByteRate(&'a mut Option<Rate>, &'static str),
    OverRate(&'a mut OverRate),
    Durability(&'a mut Durability),
}

const OVER_RATES: [(&str, OverRate); 2] = [
    ("slow", OverRate::Slow),
    ("disconnect", OverRate::Disconnect),
];

/// The levels by name.
pub(super) const DURABILITIES: [(&str, Durability); 3] = [
    (Durability::Disk.as_str(), Durability::Disk),
    (Durability::Os.as_str(), Durability::Os),
    (Durability::Memory.as_str(), Durability::Memory),
];

const COUNTS: RangeInclusive<u64> = 0..=u32::MAX as u64;
const PACKETS: RangeInclusive<u64> = 256..=268_435_460;
const BYTES: RangeInclusive<u64> = 0..=1 << 50;
/// 0 stands for no limit.
const RATES: RangeInclusive<u64> = 0..=1_000_000_000_000;
const BURSTS: RangeInclusive<u64> = 1..=1_000_000_000_000;

impl Default for Plans {
    fn default() -> Self {
        Self {
            by_name: BTreeMap::from([(DEFAULT.to_owned(), Arc::default())]),
            durability: Durability::default(),
        }
    }
}

impl Plans {
    /// The plan of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<TeamLimits>> {
        self.by_name.get(name)
    }

    /// Checks that there is a plan of this name.
    ///
    /// # Errors
    /// [`UnknownPlan`].
    pub fn known(&self, name: &str) -> Result<(), UnknownPlan> {
        match self.by_name.contains_key(name) {
            true => Ok(()),
            false => Err(UnknownPlan {
                name: name.to_owned(),
                near: nearest(name, self.names()),
            }),
        }
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// What a team with this plan (`None`: the default) and these changes to it, as [`changes`] wrote
    /// them, may have and do. Also says what is wrong with either, in which case it counts as left
    /// out.
    pub fn resolve(&self, plan: Option<&str>, changes: &str) -> (Arc<TeamLimits>, Option<String>) {
        let named = plan.unwrap_or(DEFAULT);
        let mut wrong = None;
        let base = self.get(named).or_else(|| {
            wrong = Some(format!("there is no plan {named:?}"));
            self.get(DEFAULT)
        });
        let base = base.cloned().unwrap_or_default();
        if changes.is_empty() {
            return (base, wrong);
        }
        let mut report = problem::Report::new("limits");
        let table = tree::parse(changes, &mut report);
        let limits = read(Section::top(table, &report), &base, self.durability);
        match report.into_result(limits) {
            Ok(limits) => (Arc::new(limits), wrong),
            Err(error) => (base, Some(error.to_string())),
        }
    }

    pub(super) fn show(&self) -> Map<String, Value> {
        let default = self.get(DEFAULT).cloned().unwrap_or_default();
        let none = TeamLimits {
            durability: self.durability,
            ..unlimited()
        };
        let shown = |(name, limits): (&String, &Arc<TeamLimits>)| {
            let base = if name == DEFAULT { &none } else { &*default };
            (name.clone(), Value::Object(show(limits, base, None)))
        };
        self.by_name.iter().map(shown).collect()
    }
}

/// Reads every `[plan.<name>]`. What a plan leaves out is as in the default plan, and that one is as
/// durable as the broker.
pub(super) fn read_all(top: &mut Section<'_>, durability: Durability) -> Plans {
    let base = TeamLimits {
        durability,
        ..TeamLimits::default()
    };
    let mut sections = top.named("plan");
    let first = sections.iter().position(|(name, _)| name == DEFAULT);
    let default = match first.map(|place| sections.swap_remove(place)) {
        Some((_, section)) => read(section, &base, durability),
        None => base,
    };
    let mut plans = BTreeMap::new();
    for (name, section) in sections {
        let limits = read(section, &default, durability);
        plans.insert(name, Arc::new(limits));
    }
    plans.insert(DEFAULT.to_owned(), Arc::new(default));
    Plans {
        by_name: plans,
        durability,
    }
}

/// Reads the changes to a plan for one team, and writes them as they are stored: only what was said,
/// in the keys' own order.
pub(crate) fn changes(section: Section<'_>, plans: &Plans) -> String {
    let base = TeamLimits {
        durability: plans.durability,
        ..TeamLimits::default()
    };
    let mut said = section.keys();
    let limits = read(section, &base, plans.durability);
    said.sort_unstable();
    let shown = show(&limits, &base, Some(&said));
    let mut out = String::new();
    for (key, value) in shown.iter().filter(|(_, value)| !value.is_object()) {
        out += &format!("{key} = {value}\n");
    }
    if let Some(Value::Object(client)) = shown.get("client") {
        for (key, value) in client {
            out += &format!("client.{key} = {value}\n");
        }
    }
    out
}

/// Reads changes that were written as text, such as `max_connections = 5`.
///
/// # Errors
/// What is wrong with them.
pub(crate) fn parse_changes(name: &str, text: &str, plans: &Plans) -> Result<String, ConfigErrors> {
    let mut report = problem::Report::new(name);
    let table = tree::parse(text, &mut report);
    let changes = changes(Section::top(table, &report), plans);
    report.into_result(changes)
}

fn read(mut section: Section<'_>, base: &TeamLimits, broker: Durability) -> TeamLimits {
    let mut limits = base.clone();
    fill_all(&mut section, team_rows(&mut limits));
    if broker == Durability::Memory && limits.durability > broker {
        let why = "the broker keeps nothing: there is no journal where [journal] durability is \"memory\"";
        section.problem("durability", why.to_owned());
    }
    let mut client = section.section("client");
    fill_all(&mut client, client_rows(&mut limits));
    client.finish();
    section.finish();
    limits
}

fn team_rows(limits: &mut TeamLimits) -> Vec<(&'static str, Slot<'_>)> {
    // Taken apart by name, so that a field without a key does not compile.
    let TeamLimits {
        max_connections,
        connect_rate,
        message_rate,
        byte_rate,
        max_subscriptions,
        max_sessions,
        max_queued_bytes,
        max_retained_messages,
        max_retained_bytes,
        max_packet_size,
        over_rate,
        durability,
        client: _,
    } = limits;
    vec![
        ("max_connections", Slot::Count(max_connections)),
        ("connect_rate", Slot::Rate(connect_rate, "connect_burst")),
        ("message_rate", Slot::Rate(message_rate, "message_burst")),
        ("byte_rate", Slot::ByteRate(byte_rate, "byte_burst")),
        ("max_subscriptions", Slot::Count(max_subscriptions)),
        ("max_sessions", Slot::Count(max_sessions)),
        ("max_queued_bytes", Slot::Size64(max_queued_bytes)),
        ("max_retained_messages", Slot::Count(max_retained_messages)),
        ("max_retained_bytes", Slot::Size64(max_retained_bytes)),
        ("max_packet_size", Slot::Size32(max_packet_size)),
        ("over_rate", Slot::OverRate(over_rate)),
        ("durability", Slot::Durability(durability)),
    ]
}

fn client_rows(limits: &mut TeamLimits) -> Vec<(&'static str, Slot<'_>)> {
    let crate::limits::ClientLimits {
        max_connections,
        max_sessions,
        connect_rate,
        message_rate,
        byte_rate,
        max_subscriptions,
        max_queued_messages,
        max_queued_bytes,
    } = &mut limits.client;
    vec![
        ("max_connections", Slot::Count(max_connections)),
        ("max_sessions", Slot::Count(max_sessions)),
        ("connect_rate", Slot::Rate(connect_rate, "connect_burst")),
        ("message_rate", Slot::Rate(message_rate, "message_burst")),
        ("byte_rate", Slot::ByteRate(byte_rate, "byte_burst")),
        ("max_subscriptions", Slot::Count(max_subscriptions)),
        ("max_queued_messages", Slot::Count(max_queued_messages)),
        ("max_queued_bytes", Slot::Size64(max_queued_bytes)),
    ]
}

fn fill_all(section: &mut Section<'_>, rows: Vec<(&'static str, Slot<'_>)>) {
    // The ranges keep every value within its field; saturation is never reached.
    let narrow = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    for (key, slot) in rows {
        match slot {
            Slot::Count(field) => set(field, section.integer(key, &COUNTS).map(narrow)),
            Slot::Size32(field) => set(field, section.size(key, &PACKETS).map(narrow)),
            Slot::Size64(field) => set(field, section.size(key, &BYTES)),
            Slot::OverRate(field) => set(field, section.choice(key, &OVER_RATES)),
            Slot::Durability(field) => set(field, section.choice(key, &DURABILITIES)),
            Slot::Rate(field, burst) => {
                let (rate, most) = (
                    section.integer(key, &RATES),
                    section.integer(burst, &BURSTS),
                );
                set_rate(section, field, rate, (burst, most));
            }
            Slot::ByteRate(field, burst) => {
                let (rate, most) = (section.size(key, &RATES), section.size(burst, &BURSTS));
                set_rate(section, field, rate, (burst, most));
            }
        }
    }
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

/// A rate that is said without a burst has the burst of one second.
fn set_rate(
    section: &Section<'_>,
    field: &mut Option<Rate>,
    rate: Option<u64>,
    (key, burst): (&str, Option<u64>),
) {
    match rate {
        Some(0) => *field = None,
        Some(rate) => *field = Some(Rate::per_second(rate)),
        None => {}
    }
    match (field, burst) {
        (Some(rate), Some(burst)) => rate.burst = burst,
        (None, Some(_)) => section.problem(key, "has no use without a rate"),
        (_, None) => {}
    }
}

/// What differs from `base`, or what is `said`.
fn show(limits: &TeamLimits, base: &TeamLimits, said: Option<&[String]>) -> Map<String, Value> {
    let (mut limits, mut none) = (limits.clone(), base.clone());
    let within = |prefix: &str, key: &str| {
        said.map(|said| said.binary_search(&format!("{prefix}{key}")).is_ok())
    };
    let team = team_rows(&mut limits).into_iter().zip(team_rows(&mut none));
    let mut shown = show_rows(team, |key| within("", key));
    let client = client_rows(&mut limits)
        .into_iter()
        .zip(client_rows(&mut none));
    let client = show_rows(client, |key| within("client.", key));
    if !client.is_empty() {
        shown.insert("client".to_owned(), Value::Object(client));
    }
    shown
}

fn unlimited() -> TeamLimits {
    TeamLimits {
        max_queued_bytes: u64::MAX,
        ..TeamLimits::default()
    }
}

type Row<'a> = (&'static str, Slot<'a>);

fn show_rows<'a>(
    rows: impl Iterator<Item = (Row<'a>, Row<'a>)>,
    said: impl Fn(&str) -> Option<bool>,
) -> Map<String, Value> {
    let mut shown = Map::new();
    for ((key, slot), (_, none)) in rows {
        let mut put = |key: &str, value: Value, differs: bool| {
            if said(key).unwrap_or(differs) {
                shown.insert(key.to_owned(), value);
            }
        };
        match (slot, none) {
            (Slot::Count(it), Slot::Count(none)) => put(key, json!(*it), it != none),
            (Slot::Size32(it), Slot::Size32(none)) => {
                put(key, json!(format_size(u64::from(*it))), it != none);
            }
            (Slot::Size64(it), Slot::Size64(none)) => {
                put(key, json!(format_size(*it)), it != none);
            }
            (Slot::OverRate(it), Slot::OverRate(none)) => {
                let name = OVER_RATES.iter().find(|(_, value)| value == it);
                let name = name.map_or("slow", |(name, _)| *name);
                put(key, json!(name), it != none);
            }
            (Slot::Durability(it), Slot::Durability(none)) => {
                put(key, json!(it.as_str()), it != none);
            }
            (Slot::Rate(it, burst), Slot::Rate(none, _)) => {
                let rate = it.map_or(0, |rate| rate.per_second);
                put(key, json!(rate), it != none);
                if let Some(rate) = it {
                    put(burst, json!(rate.burst), rate.burst != rate.per_second);
                }
            }
            (Slot::ByteRate(it, burst), Slot::ByteRate(none, _)) => {
                let rate = it.map_or(0, |rate| rate.per_second);
                put(key, json!(format_size(rate)), it != none);
                if let Some(rate) = it {
                    let differs = rate.burst != rate.per_second;
                    put(burst, json!(format_size(rate.burst)), differs);
                }
            }
            _ => {}
        }
    }
    shown
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
