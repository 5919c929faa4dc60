//! The one door between teams.
//!
//! Principals that span teams (the platform) and topics that belong to no team have a compartment
//! of their own: the commons. Whoever asks where a principal is at home, whose a topic is, where a
//! subscription stands, who is to have a message or whose retained messages it is to be handed,
//! asks here, and gets one compartment; that a publish looks into the commons besides its own team
//! is done in [`Compartment::matches`] and nowhere else. Nothing in `broker` names the commons, so
//! this page and `tests/isolation/commons.rs` are all there is to read of crossings. What does
//! cross goes on record: see `broker::crossing`.

use std::sync::Arc;

use super::routes::Matched;
use super::world::{Team, World};
use crate::limits::Durability;
use crate::policy::{Grant, Owner, TeamId};
use crate::topic::TopicName;

/// The compartment that a topic belongs to, and the commons, where it is looked up besides.
#[derive(Clone, Copy, Debug)]
pub struct Compartment<'a> {
    own: &'a Team,
    commons: &'a Team,
}

/// State of the routes that a match was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation {
    own: u64,
    commons: u64,
}

impl World {
    /// Where the sessions of a principal live: in its team, or, where it has none, in the commons.
    pub fn home(&self, grant: &Grant) -> Arc<Team> {
        match grant.team() {
            Some(id) => self.team(id, grant.root()),
            None => Arc::clone(self.commons()),
        }
    }

    /// Where the sessions of principals of this team live, or of those without one, where there are
    /// any.
    pub fn find_home(&self, team: Option<&TeamId>) -> Option<Arc<Team>> {
        match team {
            Some(id) => self.find(id),
            None => Some(Arc::clone(self.commons())),
        }
    }

    /// The compartment that a full topic belongs to, whoever asks from `home`. `None`: it is in a
    /// team's place and could be no team's. Says nothing about who may publish there.
    pub fn owner(&self, home: &Arc<Team>, topic: TopicName<'_>) -> Option<Arc<Team>> {
        if home.id().is_some() && topic.as_str().starts_with(home.root()) {
            return Some(Arc::clone(home));
        }
        match self.namespace().owner_of(topic) {
            Owner::Team(id) => {
                let id = TeamId::new(id)?;
                Some(self.team(&id, &self.namespace().root(&id)))
            }
            Owner::Commons(_) | Owner::Outside => Some(Arc::clone(self.commons())),
        }
    }

    /// The team that is crossed into where somebody from `home` deals with a topic of `owner`'s:
    /// `owner`, if it is a team and not `home` itself.
    pub fn crossed<'a>(home: &Team, owner: &'a Team) -> Option<&'a TeamId> {
        owner.id().filter(|_| !std::ptr::eq(home, owner))
    }

    /// Whether a full filter that somebody from `home` was granted stands in the commons rather
    /// than at home.
    pub fn stands_in_commons(home: &Team, filter: &str) -> bool {
        !filter.starts_with(home.root())
    }

    /// The compartment whose routes hold a subscription of somebody from `home`.
    pub fn standing<'a>(&'a self, home: &'a Arc<Team>, in_commons: bool) -> &'a Arc<Team> {
        match in_commons {
            true => self.commons(),
            false => home,
        }
    }

    /// The compartments whose retained messages a new subscription of somebody from `home` is
    /// handed, as far as its filter matches them: the one where it stands, or, for somebody who
    /// spans teams, all. Those without any are left out.
    pub fn retained_for(&self, home: &Arc<Team>, in_commons: bool) -> Arc<[Arc<Team>]> {
        let mut all = match home.id() {
            Some(_) => vec![Arc::clone(self.standing(home, in_commons))],
            None => {
                let mut all = self.teams();
                // So that a place in the walk means the same after a restart.
                all.sort_unstable_by(|one, other| one.root().cmp(other.root()));
                all.push(Arc::clone(self.commons()));
                all
            }
        };
        all.retain(|team| team.with_retained(|kept| !kept.is_empty()));
        all.into()
    }

    /// What an acknowledgement of a message of `team`'s is worth: the strictest that any of those is
    /// promised who are to have it.
    pub fn durability_of(&self, team: &Team, matched: &Matched) -> Durability {
        match matched.crosses {
            true => team.durability().max(self.commons().durability()),
            false => team.durability(),
        }
    }

    /// Where a topic of `team` is routed: in the team, and among those who span teams.
    pub fn compartment<'a>(&'a self, team: &'a Team) -> Compartment<'a> {
        Compartment {
            own: team,
            commons: self.commons(),
        }
    }
}

impl Compartment<'_> {
    /// The state of the routes now.
    pub fn generation(self) -> Generation {
        Generation {
            own: self.own.generation(),
            commons: self.commons.generation(),
        }
    }

    /// What `topic` matches. The generation is read first: a change in between makes the result
    /// look old, never new.
    pub fn matches(self, topic: &str) -> (Generation, Matched) {
        let generation = self.generation();
        let mut matched = Matched::default();
        self.own.matches(topic, &mut matched);
        if self.own.id().is_some() {
            let before = (matched.routes.len(), matched.groups.len());
            self.commons.matches(topic, &mut matched);
            matched.crosses = (matched.routes.len(), matched.groups.len()) != before;
        }
        (generation, matched)
    }
}
