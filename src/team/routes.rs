//! The subscriptions of one compartment, and what a topic matches among them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::registry::{SessionAddress, SessionNumber};
use crate::policy::Grant;
use crate::topic::{TopicName, Trie};
use crate::wire::QoS;

/// One subscription, as a publisher sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Whose.
    pub session: SessionAddress,
    /// The most that is delivered.
    pub qos: QoS,
    /// Not to the session that published it.
    pub no_local: bool,
    /// The retain flag as published.
    pub retain_as_published: bool,
    /// Each delivery must be checked, for a deny rule overlaps the filter.
    pub checked: bool,
    /// It begins with a wildcard where the client's own names begin, which is after so many bytes: a
    /// name that has a `$` there is hidden from it `[MQTT-4.7.2-1]`.
    pub hides: Option<u16>,
    /// 0: none.
    pub subscription_id: u32,
    /// The number of a shared subscription among its session's; 0: not shared.
    pub share: u32,
    /// Of a session that is kept beyond a crash.
    pub number: Option<SessionNumber>,
}

/// What the members of a share group need to know of each other's sessions, wherever they live.
#[derive(Debug, Default)]
pub struct Presence {
    /// A connection is on the session.
    pub connected: AtomicBool,
    /// Messages in its queue and in flight.
    pub waiting: AtomicU32,
}

/// A member of a share group.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its subscription.
    pub route: Route,
    /// Its session's state.
    pub presence: Arc<Presence>,
    /// What its session may do, where that must be asked for each message.
    pub grant: Option<Arc<Grant>>,
}

/// A share group: each message goes to one member. A change of members makes a new one.
#[derive(Debug)]
pub struct Group {
    name: Arc<str>,
    members: Vec<Member>,
    turn: AtomicU32,
}

/// Everything that one topic matches in one compartment.
#[derive(Debug, Default)]
pub struct Matched {
    /// Each gets the message.
    pub routes: Vec<Route>,
    /// One member of each gets it.
    pub groups: Vec<Arc<Group>>,
    /// Some of those who get it span teams.
    pub crosses: bool,
    /// Places of the tries that were visited to find them.
    pub visited: usize,
}

impl Matched {
    /// Whether a session is among them that is kept beyond a crash.
    pub fn is_kept(&self) -> bool {
        let of_groups = self.groups.iter().flat_map(|group| group.members());
        let routes = self.routes.iter().chain(of_groups.map(|it| &it.route));
        routes
            .into_iter()
            .any(|route| route.number.is_some() && route.qos > QoS::AtMostOnce)
    }
}

/// What stands under one filter.
#[derive(Debug, Default)]
struct Subscribers {
    /// By session: a filter can have very many, and when they all go each must be found.
    routes: Vec<Route>,
    groups: Vec<Arc<Group>>,
}

/// The subscriptions of one compartment.
#[derive(Debug)]
pub struct Routes {
    filters: Trie<Subscribers>,
    count: usize,
}

impl Route {
    /// Whether its session sees a topic that matches at all.
    pub fn sees(&self, topic: &str) -> bool {
        let Some(mount) = self.hides else {
            return true;
        };
        // A mounted client has no name for the mount itself.
        let own = topic.get(usize::from(mount)..);
        own.is_some_and(|topic| !topic.is_empty() && !topic.starts_with('$'))
    }

    /// Whether a filter, as a client wrote it, matches more below a mount than it does by itself:
    /// `[MQTT-4.7.2-1]`, and the empty name, which `/#` means as the parent of what is below it.
    pub fn hides_some(written: &str) -> bool {
        written.starts_with(['+', '#']) || written == "/#"
    }

    /// Whether no deny rule of the session whose grant this is keeps the topic from it.
    pub fn permits(&self, topic: &str, grant: &Grant) -> bool {
        !self.checked
            || TopicName::parse(topic, u16::MAX, u16::MAX).is_ok_and(|name| grant.may_receive(name))
    }
}

impl Member {
    fn takes(&self, topic: &str) -> bool {
        self.grant
            .as_deref()
            .is_none_or(|grant| self.route.sees(topic) && self.route.permits(topic, grant))
    }
}

impl Group {
    /// The member that gets the next message, which is one that may have it: of those connected
    /// the one with the least waiting, in turn among equals; where none is connected, the next in
    /// turn (its session keeps QoS 1 and 2 messages for it).
    pub fn choose(&self, topic: &str) -> Option<&Member> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) as usize;
        let count = self.members.len();
        let in_turn = (0..count)
            .map(|step| &self.members[(turn + step) % count])
            .filter(|member| member.takes(topic));
        in_turn
            .clone()
            .filter(|member| member.presence.connected.load(Ordering::Relaxed))
            .min_by_key(|member| member.presence.waiting.load(Ordering::Relaxed))
            .or_else(|| in_turn.clone().next())
    }

    /// Whether a member that may have this topic's messages is connected.
    pub fn has_connected(&self, topic: &str) -> bool {
        let connected = |member: &&Member| member.presence.connected.load(Ordering::Relaxed);
        self.members
            .iter()
            .filter(connected)
            .any(|member| member.takes(topic))
    }

    /// The members.
    pub fn members(&self) -> &[Member] {
        &self.members
    }
}

impl Matched {
    /// How many sessions each message goes to or may go to, which is what it costs to hand it over.
    pub fn candidates(&self) -> usize {
        let members = self.groups.iter().map(|group| group.members.len());
        self.routes.len() + members.sum::<usize>()
    }
}

impl Subscribers {
    fn is_empty(&self) -> bool {
        self.routes.is_empty() && self.groups.is_empty()
    }

    /// Where the session's route stands, or would.
    fn place_of(&self, session: SessionAddress) -> Result<usize, usize> {
        (self.routes).binary_search_by_key(&session, |route| route.session)
    }

    /// The group's members without `session`'s, and where the group stands.
    fn members_without(&self, name: &str, session: SessionAddress) -> (Option<usize>, Vec<Member>) {
        let place = self.groups.iter().position(|group| *group.name == *name);
        let members = place.map(|place| &self.groups[place].members);
        let others = members
            .into_iter()
            .flatten()
            .filter(|m| m.route.session != session);
        (place, others.cloned().collect())
    }
}

impl Routes {
    /// No subscriptions yet; all filters and names will begin with `root`.
    pub fn under(root: &str) -> Self {
        Self {
            filters: Trie::under(root),
            count: 0,
        }
    }

    /// Number of subscriptions.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Places held in the trie of filters.
    pub fn nodes(&self) -> usize {
        self.filters.nodes()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds a subscription, or replaces the session's own under the same filter.
    pub fn subscribe(&mut self, filter: &Arc<str>, route: Route) {
        let subscribers = self.filters.entry(filter);
        match subscribers.place_of(route.session) {
            Ok(place) => subscribers.routes[place] = route,
            Err(place) => {
                subscribers
                    .routes
                    .reserve_exact(usize::from(subscribers.routes.is_empty()));
                subscribers.routes.insert(place, route);
                self.count += 1;
            }
        }
    }

    /// Adds a member to the group `name` under `filter`, or replaces it.
    pub fn join(&mut self, filter: &Arc<str>, name: &Arc<str>, member: Member) {
        let subscribers = self.filters.entry(filter);
        let (place, mut members) = subscribers.members_without(name, member.route.session);
        let before = place.map_or(0, |place| subscribers.groups[place].members.len());
        members.push(member);
        self.count += members.len() - before;
        let group = Arc::new(Group {
            name: Arc::clone(name),
            members,
            turn: AtomicU32::new(0),
        });
        match place {
            Some(place) => subscribers.groups[place] = group,
            None => subscribers.groups.push(group),
        }
    }

    /// Removes the session's subscription under `filter`.
    pub fn unsubscribe(&mut self, filter: &str, session: SessionAddress) {
        let mut removed = 0;
        self.filters.update(filter, |subscribers| {
            if let Ok(place) = subscribers.place_of(session) {
                subscribers.routes.remove(place);
                removed = 1;
            }
            !subscribers.is_empty()
        });
        self.count -= removed;
    }

    /// Removes the session from the group `name` under `filter`.
    pub fn leave(&mut self, filter: &str, name: &str, session: SessionAddress) {
        let mut removed = 0;
        self.filters.update(filter, |subscribers| {
            let (place, members) = subscribers.members_without(name, session);
            let Some(place) = place else {
                return !subscribers.is_empty();
            };
            let old = &subscribers.groups[place];
            removed = old.members.len() - members.len();
            if members.is_empty() {
                subscribers.groups.remove(place);
            } else {
                let turn = AtomicU32::new(old.turn.load(Ordering::Relaxed));
                let group = Group {
                    name: Arc::clone(&old.name),
                    members,
                    turn,
                };
                subscribers.groups[place] = Arc::new(group);
            }
            !subscribers.is_empty()
        });
        self.count -= removed;
    }

    /// The group `name` under `filter`.
    pub fn group(&self, filter: &str, name: &str) -> Option<Arc<Group>> {
        let groups = &self.filters.get(filter)?.groups;
        groups.iter().find(|group| *group.name == *name).cloned()
    }

    /// Adds to `matched` what `topic` matches.
    pub fn matches(&self, topic: &str, matched: &mut Matched) {
        let Matched {
            routes,
            groups,
            visited,
            crosses: _,
        } = matched;
        *visited += self.filters.for_each_match(topic, |subscribers| {
            routes.extend_from_slice(&subscribers.routes);
            groups.extend(subscribers.groups.iter().cloned());
        });
    }
}
