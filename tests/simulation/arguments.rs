//! The command line: that of the ordinary test harness as far as `cargo test` and CI use it, and
//! `--seed N`, `--seeds N`, `--seconds N`, `--steps N`.

/// The one test.
pub const NAME: &str = "simulation::the_core_keeps_its_promises";

/// Runs that `cargo test` makes.
const SEEDS: u64 = 2000;

/// Steps of a run.
const STEPS: usize = 500;

/// What is asked for.
pub struct Arguments {
    pub first: u64,
    pub wanted: Wanted,
    pub steps: usize,
    pub threads: usize,
    pub list: bool,
    /// The test's name fits the filters.
    pub selected: bool,
}

/// How long.
pub enum Wanted {
    Seeds(u64),
    Seconds(u64),
}

impl Arguments {
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let threads = std::thread::available_parallelism().map_or(1, |count| count.get());
        let mut found = Self {
            first: 0,
            wanted: Wanted::Seeds(SEEDS),
            steps: STEPS,
            threads: threads.min(8),
            list: false,
            selected: true,
        };
        let (mut filters, mut skipped, mut exact, mut ignored) =
            (Vec::new(), Vec::new(), false, false);
        while let Some(word) = words.next() {
            let (flag, mut value) = match word.split_once('=') {
                Some((flag, value)) => (flag.to_owned(), Some(value.to_owned())),
                None => (word, None),
            };
            let mut number = || -> Result<u64, String> {
                let text = value.take().or_else(|| words.next()).unwrap_or_default();
                text.parse()
                    .map_err(|_| format!("{flag} wants a number, not {text:?}"))
            };
            match &*flag {
                "--seed" => {
                    found.first = number()?;
                    (found.wanted, found.threads) = (Wanted::Seeds(1), 1);
                }
                "--from" => found.first = number()?,
                "--seeds" => found.wanted = Wanted::Seeds(number()?),
                "--seconds" => found.wanted = Wanted::Seconds(number()?),
                "--steps" => found.steps = number()? as usize,
                "--test-threads" => found.threads = (number()? as usize).max(1),
                "--list" => found.list = true,
                "--exact" => exact = true,
                "--ignored" => ignored = true,
                "--skip" => skipped.extend(value.take().or_else(|| words.next())),
                "--format" | "--color" | "--logfile" | "-Z" | "--report-time" => {
                    if value.is_none() {
                        words.next();
                    }
                }
                flag if flag.starts_with('-') => {} // of the ordinary harness, without meaning here
                filter => filters.push(filter.to_owned()),
            }
        }
        let fits = |filter: &String| match exact {
            true => NAME == filter,
            false => NAME.contains(&**filter),
        };
        found.selected = !ignored
            && (filters.is_empty() || filters.iter().any(fits))
            && !skipped.iter().any(fits);
        Ok(found)
    }
}
