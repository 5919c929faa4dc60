//! From a topic name to what stands under the filters that match it.
//!
//! Filters without a wildcard, nearly all of them in practice, live in one hash map: an exact match
//! costs one look-up whatever its depth. Filters with a wildcard form a trie of levels whose edges
//! share a second map, so that a level costs one look-up and a node a few dozen bytes.
//!
//! The trie knows nothing of `$`-names: hiding them from a leading wildcard `[MQTT-4.7.2-1]` is for
//! its owner, which may hold filters relative to a prefix. `team::routes` is that owner.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use hashbrown::{Equivalent, HashMap};
use slab::Slab;

/// Values by topic filter.
#[derive(Debug)]
pub struct Trie<V> {
    prefix: usize,
    exact: HashMap<Arc<str>, V, foldhash::fast::RandomState>,
    nodes: Slab<Node<V>>,
    edges: HashMap<Edge, u32, foldhash::fast::RandomState>,
    wild: usize,
}

/// One place in the trie: what has been matched so far.
#[derive(Debug)]
struct Node<V> {
    /// The filter that ends here.
    here: Option<V>,
    /// The filter that goes on with `#`.
    rest: Option<V>,
    /// Where `+` leads; `NONE`: nowhere.
    plus: u32,
    /// Literal edges that leave.
    edges: u32,
}

/// The literal edge that leaves `from` under `level`.
#[derive(Debug, PartialEq, Eq)]
struct Edge {
    from: u32,
    level: Box<str>,
}

/// An [`Edge`] that owns nothing, to look one up.
struct EdgeRef<'a> {
    from: u32,
    level: &'a str,
}

const ROOT: u32 = 0;
const NONE: u32 = u32::MAX;

impl Hash for Edge {
    fn hash<H: Hasher>(&self, state: &mut H) {
        EdgeRef {
            from: self.from,
            level: &self.level,
        }
        .hash(state);
    }
}

impl Hash for EdgeRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u32(self.from);
        state.write(self.level.as_bytes());
    }
}

impl Equivalent<Edge> for EdgeRef<'_> {
    fn equivalent(&self, edge: &Edge) -> bool {
        self.from == edge.from && *self.level == *edge.level
    }
}

impl<V> Node<V> {
    const fn new() -> Self {
        Self {
            here: None,
            rest: None,
            plus: NONE,
            edges: 0,
        }
    }

    const fn is_bare(&self) -> bool {
        self.here.is_none() && self.rest.is_none() && self.plus == NONE && self.edges == 0
    }
}

impl<V> Trie<V> {
    /// An empty trie for filters and names that all begin with `prefix`, which is empty or ends
    /// with `/`. The wildcard part leaves the prefix out, so that its levels cost nothing.
    pub fn under(prefix: &str) -> Self {
        let mut nodes = Slab::new();
        nodes.insert(Node::new());
        Self {
            prefix: prefix.len(),
            exact: HashMap::default(),
            nodes,
            edges: HashMap::default(),
            wild: 0,
        }
    }

    /// Number of filters.
    pub fn len(&self) -> usize {
        self.exact.len() + self.wild
    }

    /// Places held for filters with wildcards, the root among them: what the trie costs.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is no filter.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value under `filter`, made where there is none.
    pub fn entry(&mut self, filter: &Arc<str>) -> &mut V
    where
        V: Default,
    {
        if !is_wild(filter) {
            return self.exact.entry(Arc::clone(filter)).or_default();
        }
        let (node, rest) = self.path(&filter[self.prefix..]);
        let node = &mut self.nodes[node as usize];
        let place = if rest { &mut node.rest } else { &mut node.here };
        if place.is_none() {
            self.wild += 1;
        }
        place.get_or_insert_default()
    }

    /// The value under `filter`.
    pub fn get(&self, filter: &str) -> Option<&V> {
        if !is_wild(filter) {
            return self.exact.get(filter);
        }
        let mut node = ROOT;
        for level in filter.get(self.prefix..)?.split('/') {
            let at = &self.nodes[node as usize];
            node = match level {
                "#" => return at.rest.as_ref(),
                "+" if at.plus == NONE => return None,
                "+" => at.plus,
                _ => *self.edges.get(&EdgeRef { from: node, level })?,
            };
        }
        self.nodes[node as usize].here.as_ref()
    }

    /// Hands the value under `filter` to `change`, and takes it out when `change` says `false`.
    pub fn update(&mut self, filter: &str, change: impl FnOnce(&mut V) -> bool) {
        if !is_wild(filter) {
            if let Some(value) = self.exact.get_mut(filter)
                && !change(value)
            {
                self.exact.remove(filter);
            }
            return;
        }
        let (levels, rest) = match filter[self.prefix..].strip_suffix('#') {
            Some(levels) => (levels.strip_suffix('/'), true),
            None => (Some(&filter[self.prefix..]), false),
        };
        let taken = self.update_below(ROOT, levels, rest, change);
        self.wild -= usize::from(taken);
    }

    /// Calls `found` with the value of every filter that matches `name`. Returns how many places of
    /// the trie were visited: the cost, which is at most one a level of every filter.
    pub fn for_each_match<'a>(&'a self, name: &str, mut found: impl FnMut(&'a V)) -> usize {
        if let Some(value) = self.exact.get(name) {
            found(value);
        }
        if self.wild > 0
            && let Some(levels) = name.get(self.prefix..)
        {
            return self.visit(ROOT, Some(levels), &mut found);
        }
        0
    }

    /// Makes the nodes of `filter`; says whether it goes on with `#` from the last of them.
    fn path(&mut self, filter: &str) -> (u32, bool) {
        let mut node = ROOT;
        for level in filter.split('/') {
            node = match level {
                "#" => return (node, true),
                "+" => self.plus_of(node),
                literal => self.edge_of(node, literal),
            };
        }
        (node, false)
    }

    fn plus_of(&mut self, from: u32) -> u32 {
        if self.nodes[from as usize].plus == NONE {
            let node = self.nodes.insert(Node::new()) as u32;
            self.nodes[from as usize].plus = node;
        }
        self.nodes[from as usize].plus
    }

    fn edge_of(&mut self, from: u32, level: &str) -> u32 {
        if let Some(&node) = self.edges.get(&EdgeRef { from, level }) {
            return node;
        }
        let node = self.nodes.insert(Node::new()) as u32;
        self.edges.insert(
            Edge {
                from,
                level: level.into(),
            },
            node,
        );
        self.nodes[from as usize].edges += 1;
        node
    }

    /// Follows `levels` from `at`, applies `change` at their end, and on the way back removes what
    /// has become bare. Returns whether the value was taken out.
    fn update_below(
        &mut self,
        at: u32,
        levels: Option<&str>,
        rest: bool,
        change: impl FnOnce(&mut V) -> bool,
    ) -> bool {
        let Some(levels) = levels else {
            let node = &mut self.nodes[at as usize];
            let place = if rest { &mut node.rest } else { &mut node.here };
            let Some(value) = place.as_mut() else {
                return false;
            };
            let taken = !change(value);
            if taken {
                *place = None;
            }
            return taken;
        };
        let (level, deeper) = split_level(levels);
        let next = match level {
            "+" => self.nodes[at as usize].plus,
            _ => self
                .edges
                .get(&EdgeRef { from: at, level })
                .copied()
                .unwrap_or(NONE),
        };
        if next == NONE {
            return false;
        }
        let taken = self.update_below(next, deeper, rest, change);
        if taken && self.nodes[next as usize].is_bare() {
            self.nodes.remove(next as usize);
            if level == "+" {
                self.nodes[at as usize].plus = NONE;
            } else {
                self.edges.remove(&EdgeRef { from: at, level });
                self.nodes[at as usize].edges -= 1;
            }
        }
        taken
    }

    /// Returns how many nodes were visited.
    fn visit<'a>(&'a self, at: u32, levels: Option<&str>, found: &mut impl FnMut(&'a V)) -> usize {
        let node = &self.nodes[at as usize];
        if let Some(value) = &node.rest {
            found(value); // `#` matches what follows, and the parent itself (section 4.7.1.2)
        }
        let Some(levels) = levels else {
            if let Some(value) = &node.here {
                found(value);
            }
            return 1;
        };
        let (level, deeper) = split_level(levels);
        let mut visited = 1;
        if node.edges > 0
            && let Some(&next) = self.edges.get(&EdgeRef { from: at, level })
        {
            visited += self.visit(next, deeper, found);
        }
        if node.plus != NONE {
            visited += self.visit(node.plus, deeper, found);
        }
        visited
    }
}

fn is_wild(filter: &str) -> bool {
    filter.contains(['+', '#'])
}

/// The first level, and the levels after it.
fn split_level(levels: &str) -> (&str, Option<&str>) {
    match levels.split_once('/') {
        Some((level, deeper)) => (level, Some(deeper)),
        None => (levels, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(filter: &str, name: &str) -> bool {
        let (mut filter, mut name) = (filter.split('/'), name.split('/'));
        loop {
            match (filter.next(), name.next()) {
                (Some("#"), _) | (None, None) => return true,
                (Some("+"), Some(_)) => {}
                (Some(f), Some(n)) if f == n => {}
                _ => return false,
            }
        }
    }

    fn found(trie: &Trie<Vec<usize>>, name: &str) -> Vec<usize> {
        let mut all = Vec::new();
        trie.for_each_match(name, |values| all.extend(values));
        all.sort_unstable();
        all
    }

    fn filter() -> impl Strategy<Value = String> {
        let level = prop_oneof![Just("a"), Just("b"), Just(""), Just("+")];
        (prop::collection::vec(level, 1..5), any::<bool>()).prop_map(|(mut levels, rest)| {
            if rest {
                levels.push("#");
            }
            format!("r/{}", levels.join("/"))
        })
    }

    fn name() -> impl Strategy<Value = String> {
        let level = prop_oneof![Just("a"), Just("b"), Just(""), Just("c")];
        prop::collection::vec(level, 1..5).prop_map(|levels| format!("r/{}", levels.join("/")))
    }

    proptest! {
        #[test]
        fn a_trie_finds_what_a_linear_scan_finds_after_any_inserts_and_removals(
            filters in prop::collection::vec(filter(), 1..40),
            removed in prop::collection::vec(any::<prop::sample::Index>(), 0..30),
            names in prop::collection::vec(name(), 1..20),
        ) {
            let mut trie = Trie::<Vec<usize>>::under("r/");
            let mut kept: Vec<Option<&str>> = filters.iter().map(|f| Some(f.as_str())).collect();
            for (value, filter) in filters.iter().enumerate() {
                trie.entry(&Arc::from(filter.as_str())).push(value);
            }
            for index in removed {
                let value = index.index(filters.len());
                if let Some(filter) = kept[value].take() {
                    trie.update(filter, |values| {
                        values.retain(|v| *v != value);
                        !values.is_empty()
                    });
                }
            }
            for filter in &filters {
                let scan: Vec<usize> =
                    (0..kept.len()).filter(|&v| kept[v] == Some(filter.as_str())).collect();
                prop_assert_eq!(trie.get(filter), Some(&scan).filter(|scan| !scan.is_empty()));
            }
            for name in &names {
                let scan: Vec<usize> = (0..kept.len())
                    .filter(|&v| kept[v].is_some_and(|filter| matches(filter, name)))
                    .collect();
                prop_assert_eq!(found(&trie, name), scan);
            }
            for (value, filter) in kept.iter_mut().enumerate() {
                if let Some(filter) = filter.take() {
                    trie.update(filter, |values| {
                        values.retain(|v| *v != value);
                        !values.is_empty()
                    });
                }
            }
            prop_assert!(trie.is_empty());
            prop_assert_eq!(trie.nodes.len(), 1, "bare nodes stay behind");
            prop_assert!(trie.edges.is_empty());
        }
    }
}
