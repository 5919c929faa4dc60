//! The subscription trie against a linear scan, under any inserts, removals and look-ups.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cofferdam::topic::{TopicFilter, TopicName, Trie};

use super::input::Input;

type Values = BTreeSet<u8>;

/// Byte 0: the prefix. Then steps: what to do, and the levels of a filter or name, each a byte.
pub fn trie(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let prefix = input.pick(&["", "r/", "ff/v1/t/"]);
    let mut trie = Trie::<Values>::under(prefix);
    let mut plain: BTreeMap<String, Values> = BTreeMap::new();
    while !input.is_empty() {
        let step = input.u8();
        let value = step >> 2;
        match step & 3 {
            0 | 1 => {
                let filter = topic(&mut input, prefix, &["a", "b", "", "+", "#"]);
                trie.entry(&Arc::from(filter.as_str())).insert(value);
                plain.entry(filter).or_default().insert(value);
            }
            2 => {
                let filter = topic(&mut input, prefix, &["a", "b", "", "+", "#"]);
                let mut called = false;
                trie.update(&filter, |values| {
                    called = true;
                    values.remove(&value);
                    !values.is_empty()
                });
                assert_eq!(called, plain.contains_key(&filter));
                remove(&mut plain, &filter, value);
            }
            _ => look_up(
                &trie,
                &plain,
                &topic(&mut input, prefix, &["a", "b", "", "c"]),
            ),
        }
        assert_eq!(trie.len(), plain.len());
    }
    for filter in plain.keys() {
        look_up(&trie, &plain, &filter.replace(['+', '#'], "a"));
    }
    for filter in plain.keys() {
        trie.update(filter, |_| false);
    }
    assert!(trie.is_empty());
}

/// Up to seven levels; a byte of 128 and above is the last.
fn topic(input: &mut Input<'_>, prefix: &str, words: &[&str]) -> String {
    let mut levels = Vec::new();
    while levels.len() < 7 {
        let byte = input.u8();
        let word = words[usize::from(byte & 0x7F) % words.len()];
        levels.push(word);
        if byte >= 0x80 || word == "#" || input.is_empty() {
            break;
        }
    }
    let text = format!("{prefix}{}", levels.join("/"));
    if text.is_empty() {
        "a".to_owned()
    } else {
        text
    }
}

fn remove(plain: &mut BTreeMap<String, Values>, filter: &str, value: u8) {
    if let Some(values) = plain.get_mut(filter) {
        values.remove(&value);
        if values.is_empty() {
            plain.remove(filter);
        }
    }
}

fn look_up(trie: &Trie<Values>, plain: &BTreeMap<String, Values>, name: &str) {
    let mut found: Vec<&Values> = Vec::new();
    trie.for_each_match(name, |values| found.push(values));
    let topic = TopicName::parse(name, u16::MAX, u16::MAX).expect("a name");
    let matches = |filter: &str| {
        let filter = TopicFilter::parse(filter, u16::MAX, u16::MAX).expect("a filter");
        filter.matches(topic)
    };
    let expected = plain.iter().filter(|(filter, _)| matches(filter));
    let mut expected: Vec<&Values> = expected.map(|(_, values)| values).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected, "{name}");
}
