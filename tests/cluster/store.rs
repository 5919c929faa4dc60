//! A journal in memory: what it has taken is kept, the rest is lost with the shards.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use cofferdam::broker::{Commit, Numbers, Shard};
use cofferdam::fact::{Highest, KeptSession, State};
use cofferdam::limits::Durability;
use cofferdam::policy::Grant;
use cofferdam::session::Session;
use cofferdam::team::{MessageView, SessionAddress, World};
use cofferdam::time::Time;

/// What is kept, and what waits to be.
#[derive(Default)]
pub struct Store {
    /// Everything kept.
    pub state: State,
    /// From now on commits wait.
    pub hold: bool,
    /// Commits that wait, each with its shard.
    pub waiting: VecDeque<(u16, Commit)>,
}

impl Store {
    /// Keeps a commit.
    pub fn keep(&mut self, commit: Commit) {
        for fact in commit.facts {
            self.state.apply(fact, &mut Vec::new());
        }
    }

    /// Puts everything kept back into a new world and its shards, as a broker does that starts; what
    /// was not kept is lost. `grant` says what a username may do now.
    pub fn restore(
        &mut self,
        world: &World,
        shards: &mut [Shard],
        grant: impl Fn(&str) -> Grant,
        now: Time,
    ) {
        self.waiting.clear();
        self.state.settle(&mut Vec::new());
        // Nobody is who published it in another life.
        self.state = std::mem::take(&mut self.state).map(|number, message| {
            let publisher = SessionAddress::NOBODY;
            let view = MessageView {
                publisher,
                ..message.view()
            };
            Arc::new(view.keep(number))
        });
        world.restore_versions(self.state.highest.version);
        for (topic, kept) in &self.state.retained {
            let message = kept.message.and_then(|it| self.state.messages.get(&it));
            if let Some(message) = message {
                assert_eq!(message.message.topic(), &**topic);
                world.restore_retained(Arc::clone(&message.message), kept.version);
            }
        }
        for (place, (number, kept)) in self.state.sessions.iter().enumerate() {
            let terms = kept.terms.as_ref().expect("settled");
            let grant = Arc::new(grant(&terms.principal.username));
            let find = |number| {
                let found = self.state.messages.get(&number);
                found.map(|kept| Arc::clone(&kept.message))
            };
            let shard = place % shards.len();
            let restored = shards[shard].restore(*number, kept.clone(), find, &grant, now);
            assert!(restored, "two sessions of {terms:?}");
        }
    }

    /// The highest numbers in use.
    pub const fn highest(&self) -> Highest {
        self.state.highest
    }

    /// Asserts that what is kept is what the shards have.
    pub fn check(&self, shards: &[Shard], world: &World, now: Time) {
        let mut there = BTreeSet::new();
        for session in shards.iter().flat_map(Shard::sessions) {
            if let Some(number) = session.number {
                there.insert(number);
                let kept = self.state.sessions.get(&number);
                same_session(session, kept.expect("a kept session"));
            }
        }
        let kept: BTreeSet<_> = self.state.sessions.keys().copied().collect();
        assert_eq!(
            kept, there,
            "the sessions that are kept are those that are there"
        );
        self.same_retained(world, now);
        for (number, message) in &self.state.messages {
            assert!(
                !message.holders.is_empty() || message.retained.is_some(),
                "{number:?} is kept for nobody"
            );
        }
    }

    fn same_retained(&self, world: &World, now: Time) {
        let mut there = HashMap::new();
        let teams = world.teams();
        let all = teams.iter().chain([world.commons()]);
        for team in all.filter(|it| it.durability() > Durability::Memory) {
            team.with_retained(|retained| {
                for message in retained.iter().filter(|it| it.expires > now) {
                    there.insert(message.topic().to_owned(), message.number);
                }
            });
        }
        let forgetful = teams
            .iter()
            .filter(|it| it.durability() == Durability::Memory);
        let forgetful: Vec<&str> = forgetful.map(|it| it.root()).collect();
        let kept = self.state.retained.iter().filter_map(|(topic, kept)| {
            let number = kept.message?;
            if forgetful.iter().any(|root| topic.starts_with(root)) {
                return None; // of a time when it was promised more
            }
            let message = &self.state.messages.get(&number)?.message;
            (message.expires > now).then(|| (topic.to_string(), number))
        });
        assert_eq!(kept.collect::<HashMap<_, _>>(), there, "what is retained");
    }
}

fn same_session(session: &Session, kept: &KeptSession) {
    let key = &session.key;
    let terms = kept.terms.as_ref().expect("the terms of a session");
    assert_eq!(terms.client_id, key.client_id);
    assert_eq!(terms.principal.username, key.username);
    match kept.left {
        None => assert!(session.conn.is_some(), "{key:?} has left"),
        Some(left) => {
            assert!(session.conn.is_none(), "{key:?} is here");
            assert_eq!(left.expires, session.expires, "{key:?}");
            if session.will.is_some() {
                assert_eq!(left.will_due, session.will_due, "{key:?}");
            }
        }
    }
    assert_eq!(kept.will.is_some(), session.will.is_some(), "{key:?}");
    let wanted = kept.subscriptions.iter();
    let wanted: BTreeSet<_> = wanted
        .map(|(key, it)| {
            (
                key.to_string(),
                it.id,
                it.share,
                format!("{:?}", it.options),
            )
        })
        .collect();
    let there = session.subscriptions.iter();
    let there: BTreeSet<_> = there
        .map(|(key, it)| {
            (
                key.to_string(),
                it.id,
                it.share,
                format!("{:?}", it.options),
            )
        })
        .collect();
    assert_eq!(wanted, there, "the subscriptions of {key:?}");
    let standings = session.replays.iter();
    let standings: BTreeMap<_, _> = standings
        .map(|(key, it)| (Arc::clone(key), it.standing().expect("not at its end")))
        .collect();
    assert_eq!(kept.replays, standings, "what is replayed to {key:?}");

    let outgoing = &session.outgoing;
    let sent: BTreeSet<_> = kept
        .owed
        .iter()
        .filter_map(|((_, copy), owed)| Some((owed.sent?, owed.message, *copy)))
        .collect();
    let flights: BTreeSet<_> = outgoing
        .flights()
        .filter_map(|(id, item)| item.map(|item| (id, item.message.number, item.copy)))
        .collect();
    assert_eq!(sent, flights, "in flight to {key:?}");
    let released = outgoing.flights().filter(|(_, item)| item.is_none());
    let released: BTreeSet<_> = released.map(|(id, _)| id).collect();
    assert_eq!(kept.released, released, "released to {key:?}");
    let owed = kept.owed.iter().filter(|(_, owed)| owed.sent.is_none());
    let owed: BTreeSet<_> = owed
        .map(|((_, copy), owed)| (owed.message, *copy))
        .collect();
    let queue: BTreeSet<_> = outgoing
        .queue()
        .map(|item| (item.message.number, item.copy))
        .collect();
    assert_eq!(owed, queue, "queued for {key:?}");
    let received: BTreeSet<_> = session.incoming.ids().collect();
    assert_eq!(kept.received, received, "received from {key:?}");
}

/// A shard with a journal, which uses no number again.
pub fn shard(id: u16, count: u16, world: &Arc<World>, highest: Highest) -> Shard {
    let (sessions, messages) = (
        Numbers::after(highest.session, id, count),
        Numbers::after(highest.message, id, count),
    );
    Shard::new(id, count, Arc::clone(world), [id as u8; 32]).with_journal(sessions, messages)
}
