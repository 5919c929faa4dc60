//! What a policy must know of the world: who belongs to a team, and what a username alone does not
//! say about its principal.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use hashbrown::HashSet;

use super::principal::{Principal, TeamId};

/// Where principals come from: the store of identities, or a small world in a test. Asked at login
/// and by `policy explain` and `policy test`, never on the data path.
pub trait Directory {
    /// The live members of a team, the same object for every caller; an unknown team has none.
    fn members(&self, team: &TeamId) -> Arc<TeamMembers>;

    /// Adds to a principal made from its username what is on record about it: bindings such as a
    /// device's `owner_type` and `owner`, and its own patterns. What is not on record stays as is.
    fn complete(&self, principal: &mut Principal);
}

/// The ids that belong to one team, for rules that say "any instance of the team".
///
/// Shared by the directory, which changes it, and by the team's grants, which read it on every
/// decision: a new instance counts at once, with no new login. Reading takes no lock.
#[derive(Debug, Default)]
pub struct TeamMembers {
    instances: ArcSwap<HashSet<Box<str>>>,
    generation: AtomicU64,
}

impl TeamMembers {
    /// A team with these instances.
    pub fn new<'a>(instances: impl IntoIterator<Item = &'a str>) -> Self {
        let members = Self::default();
        members.replace_instances(instances);
        members
    }

    /// Whether the team has this instance.
    pub fn has_instance(&self, id: &str) -> bool {
        self.instances.load().contains(id)
    }

    /// The first of the team's instances in the order of their ids, where there is any.
    pub fn any_instance(&self) -> Option<String> {
        let instances = self.instances.load();
        instances.iter().min().map(ToString::to_string)
    }

    /// Adds an instance.
    pub fn add_instance(&self, id: &str) {
        self.change(|instances| instances.insert(Box::from(id)));
    }

    /// Takes an instance out.
    pub fn remove_instance(&self, id: &str) {
        self.change(|instances| instances.remove(id));
    }

    /// Sets all instances at once; many are added much faster this way than one by one.
    pub fn replace_instances<'a>(&self, instances: impl IntoIterator<Item = &'a str>) {
        let new = instances.into_iter().map(Box::from).collect();
        self.instances.store(Arc::new(new));
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Counts the changes: who remembers a decision forgets it when this number is another.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    fn change(&self, edit: impl Fn(&mut HashSet<Box<str>>) -> bool) {
        self.instances.rcu(|instances| {
            let mut instances = HashSet::clone(instances);
            edit(&mut instances);
            instances
        });
        self.generation.fetch_add(1, Ordering::Release);
    }
}
