//! Share groups: of the members one gets each message, and who that is the broker decides.

use crate::failure::{Failure, broken};
use crate::model::{Choice, Entry};
use crate::sim::Sim;

impl Choice {
    /// How a session would get the message, if it is one that may: where a member is connected,
    /// one that is.
    pub fn offer(&self, uid: u64, is_it: impl Fn(&Entry) -> bool) -> Option<&Entry> {
        let any = self.members.iter().any(|(_, connected, _)| *connected);
        let mut members = self
            .members
            .iter()
            .filter(|(_, connected, _)| *connected || !any);
        let found = members.find(|(member, _, entry)| *member == uid && is_it(entry));
        found.map(|(_, _, entry)| entry)
    }
}

impl Sim<'_> {
    /// A session has what no subscription of its own led to. Where a share group offered it such a
    /// message, returns how: nobody else of the group may have it.
    ///
    /// Two groups can offer a session the same message in the same form; then it may have come from
    /// either, and who was thought to have it from the one may have it from the other.
    pub fn choose(
        &mut self,
        uid: u64,
        is_it: impl Fn(&Entry) -> bool,
    ) -> Result<Option<Entry>, Failure> {
        let choices = &mut self.model.turn.choices;
        let open = |choice: &Choice| choice.taken.is_none();
        let free = choices
            .iter_mut()
            .find(|choice| open(choice) && choice.offer(uid, &is_it).is_some());
        if let Some(choice) = free {
            let entry = choice.offer(uid, &is_it).cloned();
            choice.taken = entry.clone().map(|entry| (uid, entry));
            return Ok(entry);
        }
        for at in 0..choices.len() {
            let (Some(entry), Some((taker, had))) = (
                choices[at].offer(uid, &is_it).cloned(),
                choices[at].taken.clone(),
            ) else {
                continue;
            };
            let is_had = |entry: &Entry| entry.is_like(&had);
            let other = choices
                .iter_mut()
                .find(|choice| open(choice) && choice.offer(taker, is_had).is_some());
            if let Some(other) = other {
                other.taken = Some((taker, had));
                choices[at].taken = Some((uid, entry.clone()));
                return Ok(Some(entry));
            }
        }
        let mut members = choices.iter().flat_map(|choice| &choice.members);
        if !members.any(|(member, _, entry)| *member == uid && is_it(entry)) {
            return Ok(None);
        }
        Err(broken(
            "one member of a share group, one that is connected",
            format!("session {uid} got it too, or in a connected one's place: {choices:?}"),
        ))
    }
}
