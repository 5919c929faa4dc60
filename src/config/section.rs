//! One table of the configuration while it is read: keys are taken out one by one, and what is left
//! at the end is unknown.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use super::problem::{Origin, Report};
use super::quantity;
use super::tree::{Node, Table, Value};
use crate::time::Span;

/// A table being read. Problems go to the report; a value with a problem reads as absent, so that
/// reading goes on and finds the rest.
pub(crate) struct Section<'r> {
    /// With its trailing dot; empty at the top.
    path: String,
    table: Table,
    origin: Origin,
    /// Every key that was asked for, with where it came from if it was there.
    asked: Vec<(&'static str, Option<Origin>)>,
    report: &'r Report,
}

impl<'r> Section<'r> {
    pub(crate) fn top(table: Table, report: &'r Report) -> Self {
        Self {
            path: String::new(),
            table,
            origin: Origin::File,
            asked: Vec::new(),
            report,
        }
    }

    /// The table under `key`; an empty one where it is absent.
    pub(crate) fn section(&mut self, key: &'static str) -> Section<'r> {
        let path = format!("{}{key}.", self.path);
        let (table, origin) = match self.take(key) {
            Some(Node {
                value: Value::Table(table),
                origin,
            }) => (table, origin),
            Some(node) => {
                self.wrong(key, &node.origin, &expected("a section", &node));
                (Table::new(), node.origin)
            }
            None => (Table::new(), Origin::File),
        };
        Section {
            path,
            table,
            origin,
            asked: Vec::new(),
            report: self.report,
        }
    }

    /// The tables under `[key.<name>]`, by name.
    pub(crate) fn named(&mut self, key: &'static str) -> Vec<(String, Section<'r>)> {
        let within = self.section(key);
        let mut named = Vec::new();
        for (name, node) in within.table {
            let path = format!("{}{name}.", within.path);
            match node.value {
                Value::Table(table) => named.push((
                    name,
                    Section {
                        path,
                        table,
                        origin: node.origin,
                        asked: Vec::new(),
                        report: self.report,
                    },
                )),
                _ => self.report.add(
                    &node.origin,
                    path.trim_end_matches('.'),
                    expected("a section", &node),
                ),
            }
        }
        named
    }

    /// The keys that are there, those of sections within behind theirs and a dot.
    pub(crate) fn keys(&self) -> Vec<String> {
        let mut keys = Vec::new();
        for (key, node) in &self.table {
            match &node.value {
                Value::Table(table) => keys.extend(table.keys().map(|k| format!("{key}.{k}"))),
                _ => keys.push(key.clone()),
            }
        }
        keys
    }

    /// The tables under `[[key]]`, each called by its `name` or `id` in problems.
    pub(crate) fn sections(&mut self, key: &'static str) -> Vec<Section<'r>> {
        let Some(node) = self.take(key) else {
            return Vec::new();
        };
        let Value::List(entries) = node.value else {
            self.wrong(key, &node.origin, &format!("is a list: write [[{key}]]"));
            return Vec::new();
        };
        let mut sections = Vec::new();
        for (index, entry) in entries.into_iter().enumerate() {
            let Value::Table(table) = entry.value else {
                self.wrong(key, &entry.origin, &expected("a section", &entry));
                continue;
            };
            let name = table.get("name").or_else(|| table.get("id"));
            let called = match name.map(|node| &node.value) {
                Some(Value::Text(name)) => name.clone(),
                _ => index.to_string(),
            };
            sections.push(Section {
                path: format!("{}{key}.{called}.", self.path),
                table,
                origin: entry.origin,
                asked: Vec::new(),
                report: self.report,
            });
        }
        sections
    }

    pub(crate) fn text(&mut self, key: &'static str) -> Option<String> {
        self.read(key, |node| match &node.value {
            Value::Text(text) if text.is_empty() => Err("is empty".to_owned()),
            Value::Text(text) => Ok(text.clone()),
            _ => Err(expected("text in quotes", node)),
        })
    }

    pub(crate) fn path(&mut self, key: &'static str) -> Option<PathBuf> {
        self.text(key).map(PathBuf::from)
    }

    pub(crate) fn address(&mut self, key: &'static str) -> Option<SocketAddr> {
        let text = self.text(key)?;
        let address = text.parse().map_err(|_| {
            format!("{text:?} is no address: write \"127.0.0.1:8883\", \"[::1]:8883\" or \"0.0.0.0:8883\"")
        });
        self.keep(key, address)
    }

    pub(crate) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        self.read(key, |node| match (&node.value, &node.origin) {
            (Value::Boolean(value), _) => Ok(*value),
            (Value::Text(text), Origin::Variable(_)) => text
                .parse()
                .map_err(|_| format!("{text:?} is neither true nor false")),
            _ => Err(expected("true or false", node)),
        })
    }

    /// One of `choices`, by name.
    pub(crate) fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&'static str, T)],
    ) -> Option<T> {
        let text = self.text(key)?;
        let found = choices.iter().find(|(name, _)| *name == text);
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let value = found.map(|(_, value)| *value).ok_or_else(|| {
            let near = nearest(&text, names.iter().copied());
            format!("{text:?} is not one of {}{near}", names.join(", "))
        });
        self.keep(key, value)
    }

    pub(crate) fn texts(&mut self, key: &'static str) -> Option<Vec<String>> {
        self.read(key, |node| match (&node.value, &node.origin) {
            (Value::Text(text), Origin::Variable(_)) => Ok(text
                .split(',')
                .map(|part| part.trim().to_owned())
                .filter(|part| !part.is_empty())
                .collect()),
            (Value::List(entries), _) => entries
                .iter()
                .map(|entry| match &entry.value {
                    Value::Text(text) => Ok(text.clone()),
                    _ => Err(expected("a list of texts", entry)),
                })
                .collect(),
            _ => Err(expected("a list of texts", node)),
        })
    }

    pub(crate) fn integer(
        &mut self,
        key: &'static str,
        range: &RangeInclusive<u64>,
    ) -> Option<u64> {
        self.within(key, range, u64::to_string, |node| {
            let number = match (&node.value, &node.origin) {
                (Value::Integer(number), _) => u64::try_from(*number).ok(),
                (Value::Text(text), Origin::Variable(_)) => text.trim().parse().ok(),
                _ => None,
            };
            number.ok_or_else(|| expected("a whole number", node))
        })
    }

    /// Bytes, from `"64 KiB"` or a plain number.
    pub(crate) fn size(&mut self, key: &'static str, range: &RangeInclusive<u64>) -> Option<u64> {
        let show = |bytes: &u64| quantity::format_size(*bytes);
        self.within(key, range, show, |node| match &node.value {
            Value::Text(text) => quantity::parse_size(text),
            Value::Integer(number) => {
                u64::try_from(*number).map_err(|_| expected("a size such as \"64 KiB\"", node))
            }
            _ => Err(expected("a size such as \"64 KiB\"", node)),
        })
    }

    /// From `"10 s"`; the range is in milliseconds.
    pub(crate) fn span(&mut self, key: &'static str, range: &RangeInclusive<u64>) -> Option<Span> {
        let show = |millis: &u64| quantity::format_span(Span::from_millis(*millis));
        let millis = self.within(key, range, show, |node| match &node.value {
            Value::Text(text) => quantity::parse_span(text).map(Span::as_millis),
            _ => Err(expected("a duration such as \"10 s\"", node)),
        });
        millis.map(Span::from_millis)
    }

    /// What stands before a key in problems, such as `listener.wss.`; empty at the top.
    pub(crate) fn path_prefix(&self) -> &str {
        &self.path
    }

    /// Where `key` stands; the section itself where it was left out.
    pub(crate) fn origin(&self, key: &str) -> &Origin {
        let asked = self.asked.iter().find(|(name, _)| *name == key);
        asked
            .and_then(|(_, origin)| origin.as_ref())
            .unwrap_or(&self.origin)
    }

    /// Whether `key` was there, with a good value or a bad one.
    pub(crate) fn has(&self, key: &str) -> bool {
        let there = |(name, origin): &(&str, Option<Origin>)| *name == key && origin.is_some();
        self.table.contains_key(key) || self.asked.iter().any(there)
    }

    /// Reports a problem of `key`.
    pub(crate) fn problem(&self, key: &str, what: impl Into<String>) {
        self.wrong(key, self.origin(key), &what.into());
    }

    /// Keeps a value that was checked further, or reports why not.
    pub(crate) fn keep<T>(&self, key: &str, value: Result<T, String>) -> Option<T> {
        value.map_err(|what| self.problem(key, what)).ok()
    }

    /// Reports every key that nothing asked for.
    pub(crate) fn finish(self) {
        for (key, node) in &self.table {
            let known = self.asked.iter().map(|(name, _)| *name);
            let near = nearest(key, known);
            self.wrong(key, &node.origin, &format!("unknown key{near}"));
        }
    }

    fn within(
        &mut self,
        key: &'static str,
        range: &RangeInclusive<u64>,
        show: impl Fn(&u64) -> String,
        convert: impl FnOnce(&Node) -> Result<u64, String>,
    ) -> Option<u64> {
        self.read(key, |node| {
            let value = convert(node)?;
            if range.contains(&value) {
                return Ok(value);
            }
            let (low, high) = (show(range.start()), show(range.end()));
            Err(format!("{} is not between {low} and {high}", show(&value)))
        })
    }

    fn read<T>(
        &mut self,
        key: &'static str,
        convert: impl FnOnce(&Node) -> Result<T, String>,
    ) -> Option<T> {
        let node = self.take(key)?;
        self.keep(key, convert(&node))
    }

    fn take(&mut self, key: &'static str) -> Option<Node> {
        let node = self.table.remove(key);
        self.asked
            .push((key, node.as_ref().map(|node| node.origin.clone())));
        node
    }

    fn wrong(&self, key: &str, origin: &Origin, what: &str) {
        self.report.add(origin, format!("{}{key}", self.path), what);
    }
}

fn expected(what: &str, node: &Node) -> String {
    let found = match &node.value {
        Value::Text(text) => format!("{text:?}"),
        Value::Integer(number) => number.to_string(),
        Value::Boolean(value) => value.to_string(),
        Value::List(_) => "a list".to_owned(),
        Value::Table(_) => "a section".to_owned(),
        Value::Other(kind) => (*kind).to_owned(),
    };
    format!("expected {what}, found {found}")
}

/// `; did you mean …?` where one of `known` is close enough to be meant, else nothing.
pub(crate) fn nearest<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> String {
    let likeness = |name: &str| strsim::jaro_winkler(key, name);
    let best = known
        .map(|name| (likeness(name), name))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match best {
        Some((likeness, name)) if likeness > 0.75 => format!("; did you mean `{name}`?"),
        _ => String::new(),
    }
}
