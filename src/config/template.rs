//! Templates that make a username, or another fact, of what a token or a certificate says.

use std::fmt;

use crate::policy::{TemplatePart, template_parts};

/// Text with names in braces, such as `device:{team}:{device}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    written: String,
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Name(String),
}

/// Why a template makes nothing of what was said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// Nothing was said under this name.
    #[error("there is no {0}")]
    Missing(String),
    /// What was said could be taken for more than it is.
    #[error("the value of {0} has a character that parts usernames")]
    Parting(String),
}

impl Template {
    /// Takes a template apart.
    ///
    /// # Errors
    /// A sentence about what is wrong with it.
    pub fn parse(written: &str) -> Result<Self, String> {
        let wrong = || format!("{written:?} is no template: write \"{{name}}@{{team}}\"");
        let parts = template_parts(written).map_err(|_| wrong())?;
        if parts.is_empty() {
            return Err(wrong());
        }
        let piece = |part: TemplatePart<'_>| match part {
            TemplatePart::Literal(text) => Piece::Text(text.to_owned()),
            TemplatePart::Placeholder(name) => Piece::Name(name.to_owned()),
        };
        Ok(Self {
            written: written.to_owned(),
            pieces: parts.into_iter().map(piece).collect(),
        })
    }

    /// The names that it asks for.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Name(name) => Some(name.as_str()),
            Piece::Text(_) => None,
        })
    }

    /// The text that `said` makes of it. A value that is only a part of the text has no `:` and no
    /// `@`: with one in it, what was said under one name could pass for what is said under another.
    ///
    /// # Errors
    /// [`ExpandError`].
    pub fn expand(&self, said: impl Fn(&str) -> Option<String>) -> Result<String, ExpandError> {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Name(name) => {
                    let value = said(name).filter(|value| !value.is_empty());
                    let value = value.ok_or_else(|| ExpandError::Missing(name.clone()))?;
                    if self.pieces.len() > 1 && value.contains([':', '@']) {
                        return Err(ExpandError::Parting(name.clone()));
                    }
                    text.push_str(&value);
                }
            }
        }
        Ok(text)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_pass_for_the_next_one() {
        let template = Template::parse("device:{team}:{device}").expect("a template");
        let expand = |team: &str, device: &str| {
            let said = |name: &str| match name {
                "team" => Some(team.to_owned()),
                "device" => Some(device.to_owned()),
                _ => None,
            };
            template.expand(said)
        };
        assert_eq!(expand("red", "d1").as_deref(), Ok("device:red:d1"));
        assert_eq!(
            expand("red:x", "d1"),
            Err(ExpandError::Parting("team".to_owned()))
        );
        assert_eq!(
            expand("red", "d1@blue"),
            Err(ExpandError::Parting("device".to_owned()))
        );
        assert_eq!(
            expand("red", ""),
            Err(ExpandError::Missing("device".to_owned()))
        );
        let whole = Template::parse("{sub}").expect("a template");
        let said = |_: &str| Some("alice@red".to_owned());
        assert_eq!(whole.expand(said).as_deref(), Ok("alice@red"));
    }

    #[test]
    fn braces_must_hold_a_name() {
        for wrong in ["", "{}", "{a", "a}", "{a{b}}"] {
            assert!(Template::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
