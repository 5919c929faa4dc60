//! Which teams there are: those of whom somebody was let in. What a username says before it is judged
//! is anybody's invention, and gets no turn of its own. Called by the hook's logins.

use std::collections::HashSet;
use std::mem;

use parking_lot::Mutex;

/// Most teams of one generation.
const TEAMS_MAX: usize = 16_384;

/// Whose turn it is for logins of teams that nobody knows yet: no team can be called so.
const UNPROVED: &str = "/";

/// A bounded memory in two generations: when the younger is full the older is forgotten, and who is
/// let in again moves to the younger.
#[derive(Debug, Default)]
pub(super) struct Proved(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: HashSet<Box<str>>,
    old: HashSet<Box<str>>,
}

impl Proved {
    /// Whose turn a login of this team waits for.
    pub(super) fn turn<'a>(&self, team: &'a str) -> &'a str {
        let teams = self.0.lock();
        match teams.young.contains(team) || teams.old.contains(team) {
            true => team,
            false => UNPROVED,
        }
    }

    /// Somebody of this team was let in.
    pub(super) fn learn(&self, team: &str) {
        let mut teams = self.0.lock();
        if teams.young.contains(team) {
            return;
        }
        if teams.young.len() >= TEAMS_MAX {
            teams.old = mem::take(&mut teams.young);
        }
        teams.young.insert(team.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn teams_that_strangers_invent_have_one_turn_together() {
        let proved = Proved::default();
        assert_eq!(proved.turn("invented1"), proved.turn("invented2"));
        proved.learn("real");
        assert_eq!(proved.turn("real"), "real");
        assert_ne!(proved.turn("invented1"), "real");
        // Principals that span teams have theirs as well, once one of them was let in.
        assert_eq!(proved.turn(""), UNPROVED);
        proved.learn("");
        assert_eq!(proved.turn(""), "");
        assert!(crate::policy::TeamId::new(UNPROVED).is_none());
    }

    #[test]
    fn what_is_remembered_has_a_bound_and_who_comes_again_stays() {
        let proved = Proved::default();
        for other in 0..3 * TEAMS_MAX {
            proved.learn("daily");
            proved.learn(&format!("team {other}"));
            assert_eq!(proved.turn("daily"), "daily", "after {other} others");
        }
        assert_eq!(proved.turn("team 0"), UNPROVED);
        let teams = proved.0.lock();
        assert!(teams.young.len() + teams.old.len() <= 2 * TEAMS_MAX);
    }
}
