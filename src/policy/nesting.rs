//! How deep TOML may nest: looked at before a file is parsed, as the parser's own limits multiply
//! (80 brackets within one another, each with keys of 80 parts), and what reads, converts and drops
//! tables calls itself for each. Called by `compile` and by the configuration.

use toml_parser::parser::{EventReceiver, parse_document};
use toml_parser::{ErrorSink, Source, Span};

/// Brackets within one another, which is twice what any of our files needs.
const BRACKETS_MAX: usize = 6;

/// What to say of it.
pub(crate) const TOO_DEEP: &str = "brackets stand more than 6 deep in one another";

/// Where brackets stand deeper than is allowed, as a byte of `text`.
pub(crate) fn too_deep(text: &str) -> Option<usize> {
    let tokens = Source::new(text).lex().into_vec();
    let mut brackets = Brackets::default();
    // What else is wrong, parsing tells.
    parse_document(&tokens, &mut brackets, &mut ());
    brackets.too_deep
}

#[derive(Default)]
struct Brackets {
    open: usize,
    too_deep: Option<usize>,
}

impl Brackets {
    /// Says whether to look inside.
    fn open(&mut self, span: Span) -> bool {
        self.open += 1;
        let fits = self.open <= BRACKETS_MAX;
        if !fits && self.too_deep.is_none() {
            self.too_deep = Some(span.start());
        }
        fits
    }

    fn close(&mut self) {
        self.open = self.open.saturating_sub(1);
    }
}

impl EventReceiver for Brackets {
    fn inline_table_open(&mut self, span: Span, _: &mut dyn ErrorSink) -> bool {
        self.open(span)
    }

    fn inline_table_close(&mut self, _: Span, _: &mut dyn ErrorSink) {
        self.close();
    }

    fn array_open(&mut self, span: Span, _: &mut dyn ErrorSink) -> bool {
        self.open(span)
    }

    fn array_close(&mut self, _: Span, _: &mut dyn ErrorSink) {
        self.close();
    }
}
