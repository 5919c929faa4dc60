//! How a filter relates to a name and to another filter: matching, containment and overlap, level
//! by level and without allocating.
//!
//! The functions take texts that have been validated, and leave the `$` rule to [`hides`], because
//! `policy` also relates parts of topics, in which no level is the first. A `#` also matches its
//! parent level, and an empty level is a level like any other.

/// Whether a leading wildcard of `filter` hides `other`, a name or filter that begins with `$`
/// `[MQTT-4.7.2-1]`.
pub(crate) fn hides(filter: &str, other: &str) -> bool {
    filter.starts_with(['+', '#']) && other.starts_with('$')
}

/// Whether the filter matches the name.
pub(crate) fn matches(filter: &str, name: &str) -> bool {
    let mut name = name.split('/');
    for wanted in filter.split('/') {
        if wanted == "#" {
            return true; // also where no level is left: the parent
        }
        match name.next() {
            Some(level) if wanted == "+" || wanted == level => {}
            _ => return false,
        }
    }
    name.next().is_none()
}

/// The levels of a whole filter, with `#` spelt `+/#` and `/#` spelt `/+/#`. Each pair matches the
/// same, as the parent that the `#` would also match is the empty text, which is no name.
pub(crate) fn spell_out(filter: &str) -> impl Iterator<Item = &str> {
    let (head, tail): (&[&str], &str) = match filter {
        "#" => (&["+"], "#"),
        "/#" => (&["", "+"], "#"),
        _ => (&[], filter),
    };
    head.iter().copied().chain(tail.split('/'))
}

/// Whether every name matched by the filter of the levels `inner` is matched by `outer`.
///
/// Level by level is exact because there is always one more word than a filter names, so that no
/// level but a wildcard can stand for every word.
pub(crate) fn contains<'a>(outer: &str, inner: impl Iterator<Item = &'a str>) -> bool {
    let mut inner = inner;
    for wanted in outer.split('/') {
        if wanted == "#" {
            return true;
        }
        match inner.next() {
            // `#` also matches the parent and everything below; one level never covers that.
            None | Some("#") => return false,
            Some(level) if wanted == "+" || wanted == level => {}
            Some(_) => return false,
        }
    }
    inner.next().is_none()
}

/// Whether some name is matched by both filters, given as levels.
pub(crate) fn overlaps<'a>(
    one: impl Iterator<Item = &'a str>,
    other: impl Iterator<Item = &'a str>,
) -> bool {
    let (mut one, mut other) = (one.fuse(), other.fuse());
    loop {
        match (one.next(), other.next()) {
            // `a/#` meets `a` too: there the other side has ended.
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (None, Some(_)) | (Some(_), None) => return false,
            (Some(a), Some(b)) if a == "+" || b == "+" || a == b => {}
            (Some(_), Some(_)) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::topic::{TopicFilter, TopicName};

    fn name(text: &str) -> TopicName<'_> {
        TopicName::parse(text, 100, 10).expect("a name")
    }

    fn filter(text: &str) -> TopicFilter<'_> {
        TopicFilter::parse(text, 100, 10).expect("a filter")
    }

    #[test]
    fn the_examples_of_the_standard_hold() {
        for (f, n, expected) in [
            ("sport/tennis/player1/#", "sport/tennis/player1", true),
            (
                "sport/tennis/player1/#",
                "sport/tennis/player1/ranking",
                true,
            ),
            (
                "sport/tennis/player1/#",
                "sport/tennis/player1/score/wimbledon",
                true,
            ),
            ("sport/#", "sport", true),
            ("sport/tennis/+", "sport/tennis/player1", true),
            ("sport/tennis/+", "sport/tennis/player1/ranking", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("#", "$SYS/broker", false),
            ("+/monitor/Clients", "$SYS/monitor/Clients", false),
            ("$SYS/#", "$SYS/broker", true),
            ("$SYS/monitor/+", "$SYS/monitor/Clients", true),
            ("ACCOUNTS", "Accounts", false),
        ] {
            assert_eq!(filter(f).matches(name(n)), expected, "{f} and {n}");
        }
    }

    /// Every sequence of 1 to `depth` words, joined, without the text that is no topic at all.
    fn sequences(words: &[&str], depth: usize) -> Vec<String> {
        let mut all = Vec::new();
        let mut last: Vec<String> = words.iter().map(ToString::to_string).collect();
        for _ in 0..depth {
            all.extend(last.iter().filter(|text| !text.is_empty()).cloned());
            last = last
                .iter()
                .flat_map(|head| words.iter().map(move |word| format!("{head}/{word}")))
                .collect();
        }
        all
    }

    /// Section 4.7 in its own words, by recursion: the reference for everything below.
    fn plainly_matches(filter: &[&str], name: &[&str]) -> bool {
        match (filter, name) {
            (["#"], _) | ([], []) => true,
            ([f, filter @ ..], [n, name @ ..]) => {
                (*f == "+" || f == n) && plainly_matches(filter, name)
            }
            _ => false,
        }
    }

    fn reference(filter: &str, name: &str) -> bool {
        if name.starts_with('$') && (filter.starts_with('+') || filter.starts_with('#')) {
            return false;
        }
        let filter: Vec<&str> = filter.split('/').collect();
        let name: Vec<&str> = name.split('/').collect();
        plainly_matches(&filter, &name)
    }

    /// All filters up to three levels against all names up to four: a difference between two
    /// filters shows in a name at most one level deeper, and `b` is the word no filter names.
    #[test]
    fn matching_containment_and_overlap_agree_with_every_name_there_is() {
        let names = sequences(&["", "a", "b", "$x"], 4);
        let filters: Vec<String> = sequences(&["", "a", "$x", "+", "#"], 3)
            .into_iter()
            .filter(|text| TopicFilter::parse(text, 100, 10).is_ok())
            .collect();
        assert!(
            names.len() > 300 && filters.len() > 100,
            "{}",
            filters.len()
        );
        let matched: Vec<Vec<bool>> = filters
            .iter()
            .map(|f| names.iter().map(|n| reference(f, n)).collect())
            .collect();
        for (f, row) in filters.iter().zip(&matched) {
            for (n, expected) in names.iter().zip(row) {
                assert_eq!(filter(f).matches(name(n)), *expected, "{f} matches {n}");
            }
        }
        for (f, of_f) in filters.iter().zip(&matched) {
            for (g, of_g) in filters.iter().zip(&matched) {
                let contained = of_f.iter().zip(of_g).all(|(f, g)| *f || !*g);
                let common = of_f.iter().zip(of_g).any(|(f, g)| *f && *g);
                assert_eq!(filter(f).contains(filter(g)), contained, "{f} contains {g}");
                assert_eq!(filter(f).overlaps(filter(g)), common, "{f} overlaps {g}");
            }
        }
    }

    #[test]
    fn a_leading_wildcard_neither_contains_nor_meets_what_begins_with_a_dollar() {
        assert!(!filter("#").contains(filter("$SYS/#")));
        assert!(!filter("#").overlaps(filter("$SYS/#")));
        assert!(!filter("$SYS/#").overlaps(filter("+/broker")));
        assert!(filter("a/#").contains(filter("a/$x")));
        assert!(filter("+/#").contains(filter("#")), "they match the same");
        assert!(!filter("a/+/#").contains(filter("a/#")), "`a` is missing");
    }
}
