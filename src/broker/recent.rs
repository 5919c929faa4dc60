//! What is remembered of topics that were published to: by a connection, that it may, and by the
//! shard, who gets the message.
//!
//! The shard's memory owns the matches, so that they are bounded and found once however many
//! publishers a topic has; a connection's memory only points at them.

use std::rc::{Rc, Weak};
use std::sync::Arc;

use hashbrown::HashMap;

use crate::team::{Generation, Group, Matched, Member, Route, Team};
use crate::time::Time;

/// Who gets the messages of one topic: good until the routes change.
#[derive(Debug)]
pub(super) struct Routed {
    /// Full name.
    pub(super) topic: Arc<str>,
    /// Whose topic it is.
    pub(super) team: Arc<Team>,
    /// The routes that `matched` was made from.
    pub(super) generation: Generation,
    /// Who gets it.
    pub(super) matched: Matched,
}

/// A topic that a connection was allowed to publish to.
#[derive(Debug)]
struct Known {
    /// As the client wrote it.
    written: Box<str>,
    under: Conditions,
    /// When it is to be decided anew: an answer from elsewhere holds for so long.
    until: Time,
    /// The policy that is observed would deny it.
    would_deny: bool,
    routed: Weak<Routed>,
}

/// What a decision that is remembered depended on, besides the grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Conditions {
    /// [`Grant::generation`](crate::policy::Grant::generation).
    pub(super) members: u64,
    /// Which policy was observed; see `observe`.
    pub(super) round: u32,
}

/// Topics remembered for a connection. A power of two.
const PLACES: usize = 8;

/// The last topics of one connection, each in the place that its hash gives it. Owns nothing until
/// first used.
#[derive(Debug, Default)]
pub(super) struct Recent {
    places: Option<Box<[Option<Known>; PLACES]>>,
}

/// What a shard remembers at most: topics, and the bytes of all of them with their routes and
/// groups.
const TOPICS_MAX: usize = 65_536;
const BYTES_MAX: usize = 64 << 20;

/// The matches of the topics last published to on one shard.
#[derive(Debug, Default)]
pub(super) struct RouteMemory {
    by_topic: HashMap<Arc<str>, Rc<Routed>, foldhash::fast::RandomState>,
    bytes: usize,
}

impl Routed {
    /// Bytes that remembering it can take. A group's members are among them: while the team's group
    /// is the same they are shared, but once it is another, this is what keeps them.
    fn weight(&self) -> usize {
        let Matched { routes, groups, .. } = &self.matched;
        let members = groups.iter().map(|group| group.members().len());
        size_of::<Self>()
            + self.topic.len()
            + routes.capacity() * size_of::<Route>()
            + groups.capacity() * size_of::<Arc<Group>>()
            + members.sum::<usize>() * size_of::<Member>()
    }
}

impl Recent {
    /// Who gets a topic's messages, where this connection was allowed to publish to it under the
    /// same conditions, and whether the observed policy would deny it. It may be out of date.
    pub(super) fn get(
        &self,
        written: &str,
        under: Conditions,
        now: Time,
    ) -> Option<(Rc<Routed>, bool)> {
        let known = self.places.as_ref()?[topic_place(written, PLACES)].as_ref()?;
        let holds = *known.written == *written && known.under == under && now < known.until;
        let routed = holds.then(|| known.routed.upgrade()).flatten()?;
        Some((routed, known.would_deny))
    }

    /// The topics, as the client wrote them.
    pub(super) fn topics(&self) -> impl Iterator<Item = &str> {
        let places = self.places.iter().flat_map(|places| places.iter());
        places.flatten().map(|known| &*known.written)
    }

    /// Remembers that a topic is allowed, in place of another.
    pub(super) fn put(
        &mut self,
        written: &str,
        under: Conditions,
        until: Time,
        would_deny: bool,
        routed: &Rc<Routed>,
    ) {
        let places = self.places.get_or_insert_default();
        places[topic_place(written, PLACES)] = Some(Known {
            written: written.into(),
            under,
            until,
            would_deny,
            routed: Rc::downgrade(routed),
        });
    }
}

impl RouteMemory {
    /// What is remembered of a topic of this team. It may be out of date.
    pub(super) fn get(&self, team: &Arc<Team>, topic: &str) -> Option<&Rc<Routed>> {
        let routed = self.by_topic.get(topic)?;
        Arc::ptr_eq(&routed.team, team).then_some(routed)
    }

    /// Remembers a topic's matches in place of older ones. When there is no room, all is forgotten:
    /// what is still in use is matched anew.
    pub(super) fn put(&mut self, routed: &Rc<Routed>) {
        let weight = routed.weight();
        if self.by_topic.len() >= TOPICS_MAX || self.bytes + weight > BYTES_MAX {
            self.by_topic.clear();
            self.bytes = 0;
        }
        self.bytes += weight;
        let topic = Arc::clone(&routed.topic);
        if let Some(old) = self.by_topic.insert(topic, Rc::clone(routed)) {
            self.bytes -= old.weight();
        }
    }
}

/// The place of a topic among so many, a power of two. The last bytes of a topic are those that
/// differ between a publisher's topics.
pub(super) fn topic_place(topic: &str, places: usize) -> usize {
    let tail = topic.as_bytes().iter().rev().take(8);
    let hash = tail.fold(topic.len() as u32, |hash, byte| {
        hash.wrapping_mul(31) ^ u32::from(*byte)
    });
    (hash ^ hash >> 7) as usize & (places - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::policy::{Policy, TeamId};
    use crate::team::{Presence, SessionAddress, World};
    use crate::wire::QoS;

    const ROUTE: Route = Route {
        number: None,
        session: SessionAddress::NOBODY,
        qos: QoS::AtMostOnce,
        no_local: false,
        retain_as_published: false,
        checked: false,
        hides: None,
        subscription_id: 0,
        share: 0,
    };

    fn routed(world: &World, topic: &str, routes: usize) -> Rc<Routed> {
        let id = TeamId::new("t").expect("an id");
        let team = world.team(&id, "ff/v1/t/");
        let (generation, mut matched) = world.compartment(&team).matches(topic);
        matched.routes = vec![ROUTE; routes];
        let topic = Arc::from(topic);
        Rc::new(Routed {
            topic,
            team,
            generation,
            matched,
        })
    }

    fn world() -> World {
        let policy = Policy::flowfuse().expect("the built-in policy");
        World::new(Limits::default(), &policy)
    }

    #[test]
    fn a_shard_remembers_no_more_routes_than_its_bound() {
        let world = world();
        let mut memory = RouteMemory::default();
        let half = BYTES_MAX / 2 / size_of::<Route>() - 100;
        for topic in ["ff/v1/t/a", "ff/v1/t/b", "ff/v1/t/b", "ff/v1/t/c"] {
            memory.put(&routed(&world, topic, half));
            let held: usize = memory.by_topic.values().map(|r| r.weight()).sum();
            assert_eq!(held, memory.bytes);
            assert!((half * size_of::<Route>()..=BYTES_MAX).contains(&held));
        }
        let team = Arc::clone(&routed(&world, "ff/v1/t/c", 0).team);
        assert!(
            memory.get(&team, "ff/v1/t/c").is_some(),
            "the last one is there"
        );
        assert!(
            memory.get(world.commons(), "ff/v1/t/c").is_none(),
            "another compartment's is not"
        );
    }

    #[test]
    fn long_topics_and_the_members_of_groups_weigh_as_much_as_routes() {
        let world = world();
        let mut memory = RouteMemory::default();
        for i in 0..20_000 {
            memory.put(&routed(&world, &format!("{i}{}", "t".repeat(8192)), 0));
        }
        let bytes: usize = memory.by_topic.keys().map(|topic| topic.len()).sum();
        assert!(bytes <= BYTES_MAX, "{bytes} bytes of topics");

        let mut memory = RouteMemory::default();
        let filter = Arc::from("ff/v1/t/#");
        let team = Arc::clone(&routed(&world, "ff/v1/t/a", 0).team);
        let sessions = 2000;
        for index in 0..sessions {
            let session = SessionAddress {
                index,
                ..SessionAddress::NOBODY
            };
            let member = Member {
                route: Route { session, ..ROUTE },
                presence: Arc::new(Presence::default()),
                grant: None,
            };
            team.join(&filter, &Arc::from("group"), member);
            memory.put(&routed(&world, &format!("ff/v1/t/{index}"), 0));
        }
        let groups = memory.by_topic.values().flat_map(|r| &r.matched.groups);
        let members: usize = groups.map(|group| group.members().len()).sum();
        assert!(members > 0);
        let bytes = members * size_of::<Member>();
        assert!(bytes <= BYTES_MAX, "{bytes} bytes of members");
    }

    #[test]
    fn a_connection_forgets_what_the_shard_forgot_and_what_holds_no_longer() {
        let world = world();
        let (mut memory, mut recent) = (RouteMemory::default(), Recent::default());
        let first = routed(&world, "ff/v1/t/a", 1);
        let (now, until) = (Time::from_micros(1), Time::from_micros(10));
        memory.put(&first);
        let under = |members, round| Conditions { members, round };
        let same = under(0, 0);
        recent.put("a", same, until, false, &first);
        drop(first);
        assert!(recent.get("a", same, now).is_some());
        assert!(recent.get("a", same, until).is_none(), "to be decided anew");
        assert!(
            recent.get("a", under(1, 0), now).is_none(),
            "decided under other conditions"
        );
        assert!(
            recent.get("a", under(0, 1), now).is_none(),
            "observed since"
        );
        assert!(recent.get("b", same, now).is_none());
        memory.put(&routed(&world, "ff/v1/t/a", 2));
        assert!(recent.get("a", same, now).is_none(), "replaced");
    }
}
