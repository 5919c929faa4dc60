//! What a test did, to be found in the audit store and in the metrics: each once, and no more.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Broker, eventually};

/// Notes of what must be on record.
#[derive(Default)]
pub struct Record {
    rows: Vec<Wanted>,
    counts: BTreeMap<Series, u64>,
}

/// A metric, and labels with their values.
type Series = (&'static str, Vec<(&'static str, String)>);

struct Wanted {
    what: String,
    event: &'static str,
    remote: String,
    fields: Value,
}

impl Record {
    /// Whoever came from `remote` left one row of this event. `fields` are columns or keys of the
    /// detail.
    pub fn row(&mut self, what: &str, event: &'static str, remote: &str, fields: Value) {
        self.rows.push(Wanted {
            what: what.to_owned(),
            event,
            remote: remote.to_owned(),
            fields,
        });
    }

    /// A metric went up by one.
    pub fn count(&mut self, metric: &'static str, labels: &[(&'static str, &str)]) {
        let labels = labels
            .iter()
            .map(|(key, value)| (*key, (*value).to_owned()));
        *self.counts.entry((metric, labels.collect())).or_default() += 1;
    }

    /// Waits until all of it is there, and fails where something is there twice or otherwise.
    pub fn check(&self, broker: &Broker) {
        let events: Vec<_> = self.rows.iter().map(|row| row.event).collect();
        let rows = eventually("all audit rows", || {
            let rows = broker.place().audit();
            let found = rows.iter().filter(|row| {
                let remote = self
                    .rows
                    .iter()
                    .any(|wanted| row["remote"] == *wanted.remote);
                remote && events.iter().any(|event| row["event"] == *event)
            });
            let (found, wanted) = (found.count(), self.rows.len());
            if found < wanted {
                Err(format!("{found} of {wanted}: {rows:#?}"))
            } else {
                Ok(rows)
            }
        });
        let wrong: Vec<_> = self
            .rows
            .iter()
            .filter_map(|wanted| wanted.differs(&rows))
            .collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        broker.wait_for_numbers(|numbers| {
            self.counts
                .iter()
                .try_for_each(|((metric, labels), count)| {
                    let labels: Vec<_> =
                        labels.iter().map(|(key, value)| (*key, &**value)).collect();
                    numbers.check(metric, &labels, *count)
                })
        });
    }
}

impl Wanted {
    fn differs(&self, rows: &[Value]) -> Option<String> {
        let own = |row: &&Value| row["remote"] == *self.remote && row["event"] == self.event;
        let own: Vec<_> = rows.iter().filter(own).collect();
        let [row] = own[..] else {
            let Self { what, event, .. } = self;
            return Some(format!(
                "{what}: {event} stands there {} times: {own:#?}",
                own.len()
            ));
        };
        let fields = self.fields.as_object().expect("an object");
        let wrong: Vec<_> = fields
            .iter()
            .filter(|(key, value)| {
                let found = row.get(*key).unwrap_or(&row["detail"][*key]);
                found != *value
            })
            .collect();
        (!wrong.is_empty()).then(|| format!("{}: wanted {wrong:?} in {row:#}", self.what))
    }
}
