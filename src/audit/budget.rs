//! Room that teams share: for the events that wait and for the folds.
//!
//! A team may hold as much as is free and no more ("dynamic thresholds", Choudhury and Hahne 1998):
//! alone it gets half, two get a third each, and there is always room left for one more.

use std::collections::HashMap;

use crate::policy::TeamId;

/// Room, and who has how much of it.
#[derive(Debug)]
pub(super) struct Budget {
    free: Amount,
    /// Only teams that hold something; `None` is whoever has no team.
    held: HashMap<Option<TeamId>, Amount>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Amount {
    count: usize,
    bytes: usize,
}

impl Budget {
    pub(super) fn new(count: usize, bytes: usize) -> Self {
        let free = Amount { count, bytes };
        let held = HashMap::new();
        Self { free, held }
    }

    /// Room for one more of `bytes`. `false`: the team has its share, or there is none.
    pub(super) fn take(&mut self, team: &Option<TeamId>, bytes: usize) -> bool {
        let held = self.held.get(team).copied().unwrap_or_default();
        if held.count >= self.free.count || held.bytes.saturating_add(bytes) > self.free.bytes {
            return false;
        }
        self.free.count -= 1;
        self.free.bytes -= bytes;
        let after = Amount {
            count: held.count + 1,
            bytes: held.bytes + bytes,
        };
        match self.held.get_mut(team) {
            Some(held) => *held = after,
            None => drop(self.held.insert(team.clone(), after)),
        }
        true
    }

    /// Gives back what [`take`](Self::take) gave.
    pub(super) fn give_back(&mut self, team: &Option<TeamId>, bytes: usize) {
        let Some(held) = self.held.get_mut(team) else {
            return;
        };
        held.count = held.count.saturating_sub(1);
        held.bytes = held.bytes.saturating_sub(bytes);
        self.free.count += 1;
        self.free.bytes += bytes;
        if held.count == 0 {
            self.held.remove(team);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take_all(budget: &mut Budget, team: &str) -> usize {
        (0..1_000)
            .take_while(|_| budget.take(&TeamId::new(team), 1))
            .count()
    }

    #[test]
    fn one_team_gets_half_and_leaves_room_for_the_next() {
        let mut budget = Budget::new(100, 1_000);
        assert_eq!(take_all(&mut budget, "a"), 50);
        assert_eq!(take_all(&mut budget, "b"), 25);
        assert!(budget.take(&None, 1));
        for _ in 0..50 {
            budget.give_back(&TeamId::new("a"), 1);
        }
        assert_eq!(take_all(&mut budget, "b"), 25);
    }

    #[test]
    fn bytes_are_shared_like_places() {
        let mut budget = Budget::new(100, 30);
        let a = TeamId::new("a");
        assert!(budget.take(&a, 13));
        assert!(!budget.take(&a, 13));
        assert!(budget.take(&None, 13));
        budget.give_back(&None, 13);
        budget.give_back(&a, 13);
        assert_eq!(budget.free.bytes, 30);
        assert!(budget.held.is_empty());
    }
}
