//! The metrics page, read.

use std::collections::BTreeMap;

/// Every sample of a scrape, by its series as written: name, then labels in braces.
#[derive(Clone, Debug)]
pub struct Numbers(BTreeMap<String, f64>);

impl Numbers {
    pub fn parse(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let samples = samples.filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let value = value
                .parse()
                .unwrap_or_else(|_| panic!("no number: {line}"));
            Some((series.to_owned(), value))
        });
        Self(samples.collect())
    }

    /// The sum of the series of a metric that have all these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let has = |series: &str, (key, value): &(&str, &str)| {
            series.contains(&format!("{{{key}=\"{value}\""))
                || series.contains(&format!(",{key}=\"{value}\""))
        };
        let named = self.0.iter().filter(|(series, _)| {
            let own = series.split('{').next();
            own == Some(name) && labels.iter().all(|label| has(series, label))
        });
        named.map(|(_, value)| *value).sum::<f64>() as u64
    }

    /// Says what is wrong unless the sum of these series is `wanted`.
    pub fn check(&self, name: &str, labels: &[(&str, &str)], wanted: u64) -> Result<(), String> {
        let found = self.sum(name, labels);
        if found == wanted {
            return Ok(());
        }
        let all: Vec<_> = self
            .0
            .iter()
            .filter(|(series, _)| series.starts_with(name))
            .collect();
        Err(format!(
            "{name}{labels:?} is {found} and not {wanted}: {all:#?}"
        ))
    }
}
