//! What is wrong with a configuration, and where.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A line of the file, from 1.
    Line(usize),
    /// A variable, by its name.
    Variable(Arc<str>),
    /// The file as a whole: something is missing.
    File,
}

/// One problem, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// File and line (`cofferdam.toml:12`), or the variable's name.
    pub place: String,
    /// The key with its section, such as `listener.wss.bind`; empty where there is none.
    pub key: String,
    /// What is wrong and how to mend it.
    pub what: String,
}

/// Every problem of a configuration, in the order found; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors {
    /// The problems.
    pub problems: Vec<Problem>,
}

/// Collects problems while a configuration is read.
pub(crate) struct Report {
    file: String,
    problems: RefCell<Vec<Problem>>,
}

impl Report {
    pub(crate) fn new(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            problems: RefCell::default(),
        }
    }

    pub(crate) fn add(&self, origin: &Origin, key: impl Into<String>, what: impl Into<String>) {
        let place = match origin {
            Origin::Line(line) => format!("{}:{line}", self.file),
            Origin::Variable(name) => name.to_string(),
            Origin::File => self.file.clone(),
        };
        self.problems.borrow_mut().push(Problem {
            place,
            key: key.into(),
            what: what.into(),
        });
    }

    /// `value`, unless there was a problem.
    pub(crate) fn into_result<T>(self, value: T) -> Result<T, ConfigErrors> {
        let problems = self.problems.into_inner();
        if problems.is_empty() {
            Ok(value)
        } else {
            Err(ConfigErrors { problems })
        }
    }
}

impl ConfigErrors {
    pub(crate) fn unreadable(file: &str, error: &std::io::Error) -> Self {
        Self {
            problems: vec![Problem {
                place: file.to_owned(),
                key: String::new(),
                what: format!("cannot be read: {error}"),
            }],
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            write!(f, "{}: {}", self.place, self.what)
        } else {
            write!(f, "{}: {}: {}", self.place, self.key, self.what)
        }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let end = if index == 0 { "" } else { "\n" };
            write!(f, "{end}{problem}")?;
        }
        Ok(())
    }
}
