//! Topic names and filters: what parses, and that matching, containment and overlap agree with one
//! another and with a plain reading of section 4.7.

use cofferdam::topic::{SharedFilter, TopicError, TopicFilter, TopicName};

use super::input::Input;

/// Byte 0: the limits. Then up to three texts, parted by line ends: two filters and a name.
pub fn topics(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (max_length, max_levels) = match input.u8() {
        0 => (u16::MAX, u16::MAX),
        small => (u16::from(small), u16::from(small) % 16),
    };
    let Ok(text) = std::str::from_utf8(input.rest()) else {
        return;
    };
    for text in text.split('\n').take(3) {
        parses(text, max_length, max_levels);
    }
    let mut texts = text.split('\n');
    let (one, other, name) = (texts.next(), texts.next(), texts.next());
    let filter = |text| TopicFilter::parse(text, max_length, max_levels).ok();
    let name = name.and_then(|text| TopicName::parse(text, max_length, max_levels).ok());
    if let (Some(one), Some(name)) = (one.and_then(filter), name) {
        matching(one, name);
    }
    if let (Some(one), Some(other)) = (one.and_then(filter), other.and_then(filter)) {
        related(one, other, name);
        related(other, one, name);
    }
}

fn parses(text: &str, max_length: u16, max_levels: u16) {
    let name = TopicName::parse(text, max_length, max_levels);
    let filter = TopicFilter::parse(text, max_length, max_levels);
    let fits = !text.is_empty()
        && !text.contains('\0')
        && text.len() <= usize::from(max_length)
        && text.split('/').count() <= usize::from(max_levels);
    let levels: Vec<&str> = text.split('/').collect();
    let sound = |(place, level): (usize, &&str)| match *level {
        "+" => true,
        "#" => place + 1 == levels.len(),
        other => !other.contains(['+', '#']),
    };
    assert_eq!(name.is_ok(), fits && !text.contains(['+', '#']));
    assert_eq!(filter.is_ok(), fits && levels.iter().enumerate().all(sound));
    if let Ok(filter) = filter {
        assert_eq!(filter.as_str(), text);
        assert_eq!(filter.is_wild(), name.is_err());
    }
    let is_share = text == "$share" || text.starts_with("$share/");
    match SharedFilter::parse(text, max_length, max_levels) {
        Ok(shared) => match shared.group {
            Some(group) => {
                assert_eq!(format!("$share/{group}/{}", shared.filter.as_str()), text);
                assert!(!group.is_empty() && !group.contains(['/', '+', '#']));
            }
            None => assert!(!is_share && filter == Ok(shared.filter)),
        },
        Err(error) => assert!(is_share || filter == Err(error)),
    }
    if let Err(TopicError::TooLong { limit }) = name {
        assert!(text.len() > usize::from(limit));
    }
}

fn matching(filter: TopicFilter<'_>, name: TopicName<'_>) {
    let found = filter.matches(name);
    assert_eq!(found, matches(filter.as_str(), name.as_str()));
    // A name is also a filter: the one that matches nothing else.
    if let Ok(only) = TopicFilter::parse(name.as_str(), u16::MAX, u16::MAX) {
        assert!(only.matches(name));
        assert_eq!(filter.contains(only), found);
        assert_eq!(filter.overlaps(only), found);
        assert_eq!(only.overlaps(filter), found);
    }
}

/// Section 4.7 in its own words.
fn matches(filter: &str, name: &str) -> bool {
    fn levels(filter: &[&str], name: &[&str]) -> bool {
        match (filter, name) {
            (["#"], _) | ([], []) => true,
            (["+", filter @ ..], [_, name @ ..]) => levels(filter, name),
            ([wanted, filter @ ..], [level, name @ ..]) => wanted == level && levels(filter, name),
            _ => false,
        }
    }
    let hidden = name.starts_with('$') && filter.starts_with(['+', '#']);
    let (filter, name): (Vec<_>, Vec<_>) = (filter.split('/').collect(), name.split('/').collect());
    !hidden && levels(&filter, &name)
}

fn related(one: TopicFilter<'_>, other: TopicFilter<'_>, name: Option<TopicName<'_>>) {
    let (contains, overlaps) = (one.contains(other), one.overlaps(other));
    assert_eq!(overlaps, other.overlaps(one));
    assert!(one.contains(one) && one.overlaps(one));
    assert!(overlaps || !contains, "what it contains it also meets");
    if let Some(name) = name {
        assert!(!contains || !other.matches(name) || one.matches(name));
        assert!(overlaps || !(one.matches(name) && other.matches(name)));
    }
    // Names of `other` in a word that `one` does not know: if it takes those, it takes all.
    let depth = one.as_str().split('/').count();
    if other.as_str().len() < 512 && depth < 32 {
        let covered = |text: &String| is_matched(one, text);
        let names = instances(other.as_str(), &fresh_word(one.as_str()), depth + 1);
        assert!(names.iter().all(|text| is_matched(other, text)));
        assert_eq!(contains, names.iter().all(covered), "{names:?}");
    }
    if overlaps {
        let common = common(one.as_str(), other.as_str());
        assert!(
            is_matched(one, &common) && is_matched(other, &common),
            "{common}"
        );
    }
}

fn is_matched(filter: TopicFilter<'_>, text: &str) -> bool {
    TopicName::parse(text, u16::MAX, u16::MAX).is_ok_and(|name| filter.matches(name))
}

fn fresh_word(filter: &str) -> String {
    let longest = filter.split('/').map(str::len).max().unwrap_or(0);
    "w".repeat(longest + 1)
}

/// Names that a filter matches: `word` for every wildcard, and for `#` no level, one, and so on
/// to `more`.
fn instances(filter: &str, word: &str, more: usize) -> Vec<String> {
    let levels = filter.split('/').map(|level| match level {
        "+" => word,
        other => other,
    });
    let mut levels: Vec<&str> = levels.collect();
    let mut names = Vec::new();
    if levels.last() == Some(&"#") {
        levels.pop();
        for _ in 0..=more {
            names.push(levels.join("/"));
            levels.push(word);
        }
    } else {
        names.push(levels.join("/"));
    }
    names.retain(|name| !name.is_empty());
    names
}

/// A name that both match, if any is.
fn common(one: &str, other: &str) -> String {
    let (mut one, mut other) = (one.split('/').fuse(), other.split('/').fuse());
    let mut name: Vec<&str> = Vec::new();
    loop {
        name.push(match (one.next(), other.next()) {
            (Some("#"), rest) => return end(name, rest, other),
            (rest, Some("#")) => return end(name, rest, one),
            (Some("+"), Some("+")) => "w",
            (Some("+"), Some(level)) | (Some(level), _) => level,
            (None, _) => return name.join("/"),
        });
    }
}

fn end<'a>(
    mut name: Vec<&'a str>,
    next: Option<&'a str>,
    rest: impl Iterator<Item = &'a str>,
) -> String {
    let levels = next.into_iter().chain(rest);
    name.extend(levels.map(|level| match level {
        "+" | "#" => "w",
        other => other,
    }));
    name.join("/")
}
