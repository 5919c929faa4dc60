//! Sizes and durations as people write them: `64 KiB`, `10 s`.
//!
//! A whole number and a unit; no fractions and no sums, so that a value has one reading. A library
//! was not worth its weight: those that were found accept far more than this.

use crate::time::Span;

/// Units of size and the bytes they stand for, largest first within each kind.
const SIZES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// Units of time and their milliseconds, largest first.
const SPANS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("min", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Bytes; a number without a unit is bytes.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    parse(text, &SIZES, Some(1)).ok_or_else(|| {
        format!(
            "{text:?} is no size: write a whole number and a unit, such as \"64 KiB\" or \"1 MiB\""
        )
    })
}

/// The unit is never left out.
pub(super) fn parse_span(text: &str) -> Result<Span, String> {
    parse(text, &SPANS, None)
        .map(Span::from_millis)
        .ok_or_else(|| {
            format!(
                "{text:?} is no duration: write a whole number and one of ms, s, min, h, d, \
                 such as \"10 s\""
            )
        })
}

/// Exact, in the largest binary unit that needs no fraction.
pub(super) fn format_size(bytes: u64) -> String {
    let binary = SIZES.iter().filter(|(_, unit)| unit.is_power_of_two());
    format(bytes, binary)
}

/// To the millisecond, in the largest unit that needs no fraction.
pub(super) fn format_span(span: Span) -> String {
    format(span.as_millis(), SPANS.iter())
}

fn parse(text: &str, units: &[(&str, u64)], bare: Option<u64>) -> Option<u64> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '_')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.replace('_', "").parse().ok()?;
    let unit = unit.trim_start();
    let factor = if unit.is_empty() {
        bare?
    } else {
        units
            .iter()
            .find(|(name, _)| unit.eq_ignore_ascii_case(name))?
            .1
    };
    number.checked_mul(factor)
}

fn format<'a>(value: u64, mut units: impl Iterator<Item = &'a (&'a str, u64)>) -> String {
    let fits = |unit: u64| value.is_multiple_of(unit) && (value > 0 || unit == 1);
    match units.find(|(_, unit)| fits(*unit)) {
        Some((name, unit)) => format!("{} {name}", value / unit),
        None => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_read_as_written() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("512 B", 512),
            ("64KiB", 65_536),
            ("1 MiB", 1 << 20),
            ("1 mib", 1 << 20),
            ("1_000 kB", 1_000_000),
            ("2 GB", 2_000_000_000),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for (text, millis) in [("10 s", 10_000), ("7d", 604_800_000), ("250 ms", 250)] {
            assert_eq!(parse_span(text), Ok(Span::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_has_no_single_reading_is_refused() {
        for text in [
            "",
            "MiB",
            "1.5 MiB",
            "-1 B",
            "1 M",
            "1 MiB 2",
            "99999999 TiB",
        ] {
            assert!(parse_size(text).is_err(), "{text}");
        }
        for text in ["10", "10 m", "1 h 30 min", "ten s"] {
            assert!(parse_span(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_shown_reads_back_as_the_same() {
        for bytes in [0, 1, 1000, 1024, 1 << 20, (1 << 20) + 1, 3 << 30] {
            assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
        }
        for millis in [0, 1, 1500, 10_000, 60_000, 86_400_000] {
            let span = Span::from_millis(millis);
            assert_eq!(parse_span(&format_span(span)), Ok(span));
        }
        assert_eq!(format_size(1 << 20), "1 MiB");
        assert_eq!(format_span(Span::from_secs(7 * 86_400)), "7 d");
    }
}
