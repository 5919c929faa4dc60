//! All names there are: enough of them that any difference between two templates or filters of the
//! model shows in one.
//!
//! Templates and filters have at most two levels and a `#` behind their root, so names have three
//! levels. `z` is a word that no template names; `pa` and `p` tell `p{any}` from its neighbours; the
//! empty word tells `+` from `{any}`.

use std::collections::HashMap;
use std::rc::Rc;

/// The levels behind a root.
const WORDS: [&str; 6] = ["", "a", "b", "z", "p", "pa"];
/// Two teams, one whose name begins another's, no team at all, a word that is no team's, and
/// another tree; and a mount within each team.
const ROOTS: [&str; 9] = [
    "n/t/", "n/u/", "n/tt/", "n//", "n/k/", "m/t/", "n/t/m/", "n/u/m/", "n/tt/m/",
];
/// What lies above the roots.
const ABOVE: [&str; 12] = [
    "n/", "m/t", "m/", "n", "m", "n/t", "n/u", "n/tt", "n/k", "n/t/m", "n/u/m", "n/tt/m",
];

/// A set of names, a bit each.
pub type Names = Rc<[u64]>;

/// Every name, and sets of them.
pub struct Universe {
    names: Vec<String>,
    found: HashMap<String, Names>,
}

impl Universe {
    pub fn new() -> Self {
        let mut suffixes: Vec<String> = Vec::new();
        let mut last = vec![String::new()];
        for depth in 0..3 {
            let longer = last.iter().flat_map(|head| {
                WORDS.map(|word| match depth {
                    0 => word.to_owned(),
                    _ => format!("{head}/{word}"),
                })
            });
            last = longer.collect();
            suffixes.extend(last.iter().cloned());
        }
        let below = ROOTS
            .iter()
            .flat_map(|root| suffixes.iter().map(move |suffix| format!("{root}{suffix}")));
        let above = ABOVE.iter().map(ToString::to_string);
        Self {
            names: above.chain(below).collect(),
            found: HashMap::new(),
        }
    }

    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The names that a pattern matches: a filter, or a template whose variables are filled in.
    pub fn matched(&mut self, pattern: &str) -> Names {
        self.those(pattern, |name| matches(pattern, name))
    }

    /// The names for which something holds; found once for each `what`.
    pub fn those(&mut self, what: &str, holds: impl Fn(&str) -> bool) -> Names {
        if let Some(found) = self.found.get(what) {
            return Rc::clone(found);
        }
        let mut set = vec![0; self.names.len().div_ceil(64)];
        for (place, _) in self
            .names
            .iter()
            .enumerate()
            .filter(|(_, name)| holds(name))
        {
            set[place / 64] |= 1 << (place % 64);
        }
        let set: Names = set.into();
        self.found.insert(what.to_owned(), Rc::clone(&set));
        set
    }
}

/// Whether all of `inner` are in `outer`.
pub fn contains(outer: &Names, inner: &Names) -> bool {
    outer
        .iter()
        .zip(inner.iter())
        .all(|(outer, inner)| inner & !outer == 0)
}

/// Whether some are in both.
pub fn overlaps(one: &Names, other: &Names) -> bool {
    one.iter()
        .zip(other.iter())
        .any(|(one, other)| one & other != 0)
}

pub fn is_empty(names: &Names) -> bool {
    names.iter().all(|word| *word == 0)
}

/// Section 4.7 and the policy's own placeholders, in plain words.
pub fn matches(pattern: &str, name: &str) -> bool {
    fn walk(pattern: &[&str], name: &[&str]) -> bool {
        match (pattern, name) {
            (["#"], _) | ([], []) => true,
            ([p, pattern @ ..], [n, name @ ..]) => level(p, n) && walk(pattern, name),
            _ => false,
        }
    }
    let pattern: Vec<&str> = pattern.split('/').collect();
    let name: Vec<&str> = name.split('/').collect();
    walk(&pattern, &name)
}

/// One level: `+`, `{any}` with what stands around it, `{a|b}` for one of several, or itself.
fn level(pattern: &str, word: &str) -> bool {
    let Some((before, rest)) = pattern.split_once('{') else {
        return pattern == "+" || pattern == word;
    };
    let (inside, after) = rest.split_once('}').expect("a closing brace");
    let Some(middle) = word
        .strip_prefix(before)
        .and_then(|rest| rest.strip_suffix(after))
    else {
        return false;
    };
    match inside {
        "any" => !middle.is_empty(),
        several => several.split('|').any(|one| one == middle),
    }
}

/// Those in both.
pub fn both(one: &Names, other: &Names) -> Names {
    one.iter().zip(other.iter()).map(|(a, b)| a & b).collect()
}
