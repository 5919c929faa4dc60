//! The configuration as a tree of values that know where they came from: the file's text, overlaid
//! with variables.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Origin, Report};
use crate::policy::nesting;

/// What a variable's name begins with, and what parts its pieces.
const PREFIX: &str = "COFFERDAM__";
const SEPARATOR: &str = "__";
/// How deep sections are read, which is more than any key stands.
const DEPTH_MAX: usize = 8;
/// The key whose tables form a list.
const LISTENER: &str = "listener";

/// Keys and values of one table.
pub(crate) type Table = BTreeMap<String, Node>;

/// A value and where it came from.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) origin: Origin,
}

/// The kinds of value that the configuration uses.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(String),
    Integer(i64),
    Boolean(bool),
    List(Vec<Node>),
    Table(Table),
    /// A kind that no key takes, by its name.
    Other(&'static str),
}

/// Reads TOML, keeping what could be read where some of it could not.
pub(crate) fn parse(text: &str, report: &mut Report) -> Table {
    let lines = Lines::of(text);
    if let Some(byte) = nesting::too_deep(text) {
        report.add(&Origin::Line(lines.at(byte)), "", nesting::TOO_DEEP);
        return Table::new();
    }
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let line = error.span().map_or(1, |span| lines.at(span.start));
        report.add(&Origin::Line(line), "", error.message().trim_end());
    }
    convert(table.into_inner(), 0, &lines)
}

/// Sets what the variables say.
pub(crate) fn overlay(
    mut table: Table,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    report: &mut Report,
) -> Table {
    let mut ours: Vec<(String, OsString)> = variables
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| name.starts_with(PREFIX))
        .collect();
    ours.sort(); // the environment has no order; the report has
    for (name, value) in ours {
        let origin = Origin::Variable(Arc::from(name.as_str()));
        let Ok(value) = value.into_string() else {
            report.add(&origin, "", "is not UTF-8");
            continue;
        };
        let path = name[PREFIX.len()..].to_ascii_lowercase();
        let path: Vec<&str> = path.split(SEPARATOR).collect();
        if path.len() > DEPTH_MAX {
            report.add(&origin, "", "names no key");
            continue;
        }
        if let Err(what) = set(&mut table, &path, value, &origin) {
            report.add(&origin, "", what);
        }
    }
    table
}

fn set(table: &mut Table, path: &[&str], value: String, origin: &Origin) -> Result<(), String> {
    let (&key, rest) = path.split_first().ok_or("names no key")?;
    if rest.is_empty() {
        table.insert(
            key.to_owned(),
            Node {
                value: Value::Text(value),
                origin: origin.clone(),
            },
        );
        return Ok(());
    }
    let node = table.entry(key.to_owned()).or_insert_with(|| Node {
        value: Value::Table(Table::new()),
        origin: origin.clone(),
    });
    match &mut node.value {
        Value::Table(inner) if key != LISTENER => set(inner, rest, value, origin),
        Value::List(entries) if key == LISTENER => {
            let entry = listener(entries, rest[0])?;
            if !(2..=3).contains(&rest.len()) {
                return Err("is written COFFERDAM__LISTENER__<name>__<KEY>".to_owned());
            }
            set(entry, &rest[1..], value, origin)
        }
        _ if key == LISTENER => Err("the file has no listener that it could change".to_owned()),
        _ => Err(format!("`{key}` is not a section")),
    }
}

/// The listener that a variable means, by place or by name.
fn listener<'a>(entries: &'a mut [Node], wanted: &str) -> Result<&'a mut Table, String> {
    let names: Vec<String> = entries.iter().map(name_of).collect();
    let place = wanted
        .parse()
        .ok()
        .filter(|place: &usize| *place < names.len())
        .or_else(|| names.iter().position(|name| name == wanted));
    match place.and_then(|place| entries.get_mut(place)) {
        Some(Node {
            value: Value::Table(table),
            ..
        }) => Ok(table),
        _ => Err(format!(
            "the file has no listener `{wanted}`; it has {}",
            names.join(", ")
        )),
    }
}

/// A listener's name as a variable spells it, in small letters.
fn name_of(entry: &Node) -> String {
    let Value::Table(table) = &entry.value else {
        return String::new();
    };
    match table.get("name").map(|node| &node.value) {
        Some(Value::Text(name)) => name.to_ascii_lowercase().replace('-', "_"),
        _ => String::new(),
    }
}

fn convert(table: DeTable<'_>, depth: usize, lines: &Lines) -> Table {
    table
        .into_iter()
        .map(|(key, value)| {
            let origin = Origin::Line(lines.at(key.span().start));
            let mut node = convert_value(value, depth + 1, lines);
            node.origin = origin; // the key's line: where an operator looks
            (key.into_inner().into_owned(), node)
        })
        .collect()
}

fn convert_value(value: Spanned<DeValue<'_>>, depth: usize, lines: &Lines) -> Node {
    let origin = Origin::Line(lines.at(value.span().start));
    let value = match value.into_inner() {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Boolean(value) => Value::Boolean(value),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(Value::Other("a number out of range"), Value::Integer),
        DeValue::Array(_) | DeValue::Table(_) if depth > DEPTH_MAX => {
            Value::Other("a section too deep in others")
        }
        DeValue::Array(entries) => Value::List(
            entries
                .into_iter()
                .map(|entry| convert_value(entry, depth + 1, lines))
                .collect(),
        ),
        DeValue::Table(table) => Value::Table(convert(table, depth, lines)),
        DeValue::Float(_) => Value::Other("a number with a fraction"),
        DeValue::Datetime(_) => Value::Other("a date"),
    };
    Node { value, origin }
}

/// Where lines begin, to tell a line from a byte.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self(ends.map(|(at, _)| at).collect())
    }

    /// From 1.
    fn at(&self, byte: usize) -> usize {
        self.0.partition_point(|end| *end < byte) + 1
    }
}
