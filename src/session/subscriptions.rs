//! What one session wants.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::policy::Grant;
use crate::wire::SubscriptionOptions;

/// A session's subscriptions. The key is the full filter, with `$share/<group>/` before it where it
/// is shared: two subscriptions of a session differ exactly when their keys do.
pub type Subscriptions = HashMap<Arc<str>, Subscription, foldhash::fast::RandomState>;

/// One subscription.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// The share group.
    pub group: Option<Arc<str>>,
    /// As asked for in the last SUBSCRIBE.
    pub options: SubscriptionOptions,
    /// 0: none.
    pub id: u32,
    /// Its number among the session's shared subscriptions; 0: not shared.
    pub share: u32,
    /// Each delivery must be checked, for a deny rule overlaps the filter.
    pub checked: bool,
    /// Its leading wildcard hides names that begin with `$`.
    pub hides: bool,
    /// It stands in the commons although the session is a team's.
    pub in_commons: bool,
}

impl Subscription {
    /// After how many bytes of a full name a `$` hides it, where it does: the client's own names begin
    /// there.
    pub fn hidden_after(&self, grant: &Grant) -> Option<u16> {
        let mount = u16::try_from(grant.mount().len());
        self.hides.then_some(mount.unwrap_or(u16::MAX))
    }

    /// The full filter within `key`.
    pub fn filter<'k>(&self, key: &'k str) -> &'k str {
        match &self.group {
            Some(group) => &key["$share/".len() + group.len() + 1..],
            None => key,
        }
    }
}
