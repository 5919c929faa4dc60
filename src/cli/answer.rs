//! How the subcommands that read and change the database answer: for people or for machines.

use std::io::{self, Write};

use serde_json::Value;

use crate::provision::Change;

/// Where a command's answer goes, and in which form.
pub(crate) struct Answer<'a> {
    /// For machines: one JSON document a line.
    pub(crate) json: bool,
    /// Standard output, or a test's buffer.
    pub(crate) to: &'a mut dyn Write,
}

impl Answer<'_> {
    /// One line.
    pub(super) fn line(&mut self, text: impl std::fmt::Display) -> io::Result<()> {
        writeln!(self.to, "{text}")
    }

    /// A change, or that there was none.
    pub(super) fn change(&mut self, change: Option<&Change>) -> io::Result<()> {
        match (self.json, change) {
            (true, Some(change)) => self.line(change.to_json()),
            (true, None) => self.line(Value::Null),
            (false, Some(change)) => self.line(change),
            (false, None) => self.line("nothing to change"),
        }
    }

    /// A client's change with its new password.
    pub(super) fn password(&mut self, change: &Change, password: &str) -> io::Result<()> {
        if self.json {
            let mut json = change.to_json();
            json["username"] = Value::from(change.name.as_str());
            json["password"] = Value::from(password);
            return self.line(json);
        }
        self.line(change)?;
        self.line(format_args!("username  {}", change.name))?;
        self.line(format_args!("client id {}", change.name))?;
        self.line(format_args!("password  {password}"))?;
        self.line("The password is stored as a hash only: it cannot be shown again.")
    }

    /// A table with a headline; what does not fit is not cut.
    pub(super) fn table(&mut self, head: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
        let width = |column: usize| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
            widest.max(head.get(column).map_or(0, |name| name.len()))
        };
        let widths: Vec<_> = (0..head.len()).map(width).collect();
        let head: Vec<_> = head.iter().map(|&name| name.to_owned()).collect();
        for row in std::iter::once(&head).chain(rows) {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&format!("{cell:width$}  "));
            }
            self.line(line.trim_end())?;
        }
        Ok(())
    }
}

/// A cell's text. What a client sent may hold control characters, which a terminal must not obey,
/// and characters that nobody sees or that turn the line around, which a reader must not believe.
pub(super) fn cell(text: Option<&str>) -> String {
    let text = text.unwrap_or("-");
    if text.chars().any(|c| c.is_control() || is_unseen(c)) {
        text.escape_debug().to_string()
    } else {
        text.to_owned()
    }
}

/// The same for a name that a client chose and that stands between other columns: with a space in
/// it, it is quoted, for it must not look like two.
pub(super) fn name_cell(text: Option<&str>) -> String {
    match text {
        Some(text) if text.is_empty() || text.contains(char::is_whitespace) => format!("{text:?}"),
        text => cell(text),
    }
}

/// Zero-width characters, and those that set the direction of text (Unicode, chapter 23).
const fn is_unseen(c: char) -> bool {
    matches!(c, '\u{AD}' | '\u{61C}' | '\u{180E}' | '\u{200B}'..='\u{200F}'
        | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}')
}
