//! Configuration files and the variables over them: whatever is written, reading ends in problems
//! that say where, or in a configuration that reads back as the same.

use std::ffi::OsString;

use cofferdam::config::Config;
use toml::de::{DeTable, DeValue};

/// The bytes are the file's text; after a NUL follow variables, `NAME=value`, one a line.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let (file, variables) = text.split_once('\0').unwrap_or((text, ""));
    if names_files(file) || is_file_key(variables) {
        return; // the check opens what they name, and that could be anything on this machine
    }
    let variables = variables.lines().filter_map(|line| line.split_once('='));
    let variables = variables.map(|(name, value)| (OsString::from(name), OsString::from(value)));
    match Config::parse("cofferdam.toml", file, variables) {
        Ok(config) => {
            config.warnings();
            let shown = config.to_toml();
            let again = Config::parse("shown.toml", &shown, [])
                .unwrap_or_else(|error| panic!("{error}\n{shown}"));
            assert_eq!(again.to_json(), config.to_json());
            assert_eq!(again.to_toml(), shown);
        }
        Err(errors) => {
            assert!(!errors.problems.is_empty());
            for problem in &errors.problems {
                assert!(
                    !problem.place.is_empty() && !problem.what.is_empty(),
                    "{problem:?}"
                );
            }
        }
    }
}

fn is_file_key(text: &str) -> bool {
    let text = text.to_lowercase();
    let words = ["certificate", "private_key", "client_", "keys"];
    words.iter().any(|word| text.contains(word))
}

fn names_files(text: &str) -> bool {
    fn table(found: &DeTable<'_>) -> bool {
        let mut entries = found.iter();
        entries.any(|(key, inner)| is_file_key(key.get_ref()) || value(inner.get_ref()))
    }
    fn value(found: &DeValue<'_>) -> bool {
        match found {
            DeValue::Table(inner) => table(inner),
            DeValue::Array(entries) => entries.iter().any(|entry| value(entry.get_ref())),
            _ => false,
        }
    }
    table(DeTable::parse_recoverable(text).0.get_ref())
}
