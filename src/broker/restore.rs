//! Sessions put back as they were kept, before anybody connects.

use std::sync::Arc;

use super::review::{Change, ChangeKind};
use super::shard::Shard;
use super::subscribe::Granted;
use crate::fact::{Fact, KeptSession, Owed, Standing, Terms, Wanted};
use crate::policy::Grant;
use crate::session::{Flight, Peer, Queued, Replay, Session, Subscription};
use crate::team::{
    Claim, Message, MessageNumber, Route, SessionAddress, SessionKey, SessionNumber, Team, World,
};
use crate::time::Time;
use crate::topic::SharedFilter;
use crate::wire::PacketId;

impl Shard {
    /// Puts back a session under the grant that its principal has now. `message` finds what it has.
    /// A session that had a connection has lost it now. Called before the first connection is opened,
    /// with [`with_journal`](Self::with_journal) done. What is due for it comes with the first
    /// [`tick`](Self::tick) and not now: its will, and what it leaves to its share groups, are for sessions
    /// that may not be back yet, on other shards too.
    ///
    /// `false`: there is a session of its key already, which is not touched.
    pub fn restore(
        &mut self,
        number: SessionNumber,
        kept: KeptSession,
        message: impl Fn(MessageNumber) -> Option<Arc<Message>>,
        grant: &Arc<Grant>,
        now: Time,
    ) -> bool {
        let Some(terms) = &kept.terms else {
            return false;
        };
        let team = self.world.home(grant);
        let Some(index) = self.put_back(terms, &team, grant) else {
            return false;
        };
        let Some(session) = self.sessions.at_mut(index) else {
            return false;
        };
        session.keep_as(Some(number));
        session.asked_to_outlive = true;
        session.expiry = terms.expiry;
        session.will = kept.will.map(|will| *will);
        let delay = session.will.as_ref().map(|will| will.delay);
        session.expires = kept.left.map_or(now + terms.expiry, |left| left.expires);
        session.will_due = match (kept.left, delay) {
            (Some(left), _) => left.will_due,
            (None, Some(delay)) => (now + delay).min(session.expires),
            (None, None) => Time::NEVER,
        };
        let left = Fact::Left {
            session: number,
            expires: session.expires,
            will_due: session.will_due,
        };
        let queued = |owed: &Owed| {
            let message = message(owed.message)?;
            message.reserve_copy(owed.target.copy);
            Some(Queued {
                message,
                qos: owed.target.qos,
                retain: owed.target.retain,
                subscription_id: owed.target.subscription_id,
                share: owed.target.share,
                copy: owed.target.copy,
            })
        };
        let mut flights: Vec<(PacketId, Flight)> = Vec::new();
        flights.extend(kept.released.iter().map(|id| (*id, Flight::Released)));
        for owed in kept.owed.values() {
            // Its subscription may be gone: that number is still not another's.
            session.last_share = session.last_share.max(owed.target.share);
            match (queued(owed), owed.sent) {
                (Some(item), Some(id)) => flights.push((id, Flight::Published(item))),
                (Some(item), None) => session.outgoing.restore_queued(item),
                (None, _) => {}
            }
        }
        session.outgoing.restore_flights(flights, kept.last_id);
        for id in &kept.received {
            session.incoming.hold(*id);
        }
        session.publish_waiting();

        let mark = self.keeping.facts.len();
        for (key, wanted) in &kept.subscriptions {
            self.put_subscription_back(index, key, wanted);
        }
        self.keeping.facts.forget_since(mark); // all of that is known
        for (key, standing) in kept.replays {
            self.put_replay_back(index, number, key, &standing);
        }
        if kept.left.is_none() {
            self.keeping.facts.state(left);
        }
        self.rejudge(index, grant, Change::of(ChangeKind::Login), now);
        self.set_session_timer(index);
        true
    }

    /// A session that was kept is nobody's any more.
    pub fn give_up(&mut self, number: SessionNumber) {
        self.keeping.facts.state(Fact::Ended(number));
    }

    fn put_back(&mut self, terms: &Terms, team: &Arc<Team>, grant: &Arc<Grant>) -> Option<u32> {
        let (index, generation) = self.sessions.next_place();
        let address = SessionAddress {
            shard: self.id,
            index,
            generation,
        };
        let key = SessionKey {
            username: Arc::clone(&terms.principal.username),
            client_id: Arc::clone(&terms.client_id),
        };
        if team.registry.claim(&key, address, u32::MAX, u32::MAX) != Claim::New {
            return None;
        }
        let peer = Peer {
            address: terms.address,
            listener: Arc::clone(&terms.listener),
        };
        let limits = team.bounds.narrow(self.world.limits_of(&peer.listener));
        let (team, grant) = (Arc::clone(team), Arc::clone(grant));
        let session = Session::new(key, address, team, grant, peer, limits);
        self.sessions.insert(session);
        Some(index)
    }

    /// Retained messages were on their way to a subscription.
    fn put_replay_back(
        &mut self,
        index: u32,
        number: SessionNumber,
        key: Arc<str>,
        standing: &Standing,
    ) {
        let Some(session) = self.sessions.at_mut(index) else {
            return;
        };
        let subscription = session.subscriptions.get(&key);
        let replay = subscription.and_then(|subscription| {
            let in_commons = subscription.in_commons;
            let teams = self.world.retained_for(&session.team, in_commons);
            Replay::resumed(teams, standing)
        });
        let now = replay.as_ref().and_then(Replay::standing);
        let moved = match now {
            Some(now) if now == *standing => None,
            Some(now) => Some(Fact::Replaying(number, Arc::clone(&key), now)),
            None => Some(Fact::Replayed(number, Arc::clone(&key))),
        };
        self.keeping.facts.extend(moved);
        if let Some(replay) = replay {
            session.replays.insert(key, replay);
        }
    }

    fn put_subscription_back(&mut self, index: u32, key: &Arc<str>, wanted: &Wanted) {
        let Some(session) = self.sessions.at_mut(index) else {
            return;
        };
        let Ok(full) = SharedFilter::parse(key, u16::MAX, u16::MAX) else {
            return;
        };
        session.last_share = session.last_share.max(wanted.share);
        let filter: Arc<str> = Arc::from(full.filter.as_str());
        let own = filter.strip_prefix(session.grant.mount());
        let subscription = Subscription {
            group: full.group.map(Arc::from),
            options: wanted.options,
            id: wanted.id,
            share: wanted.share,
            checked: false,
            hides: Route::hides_some(own.unwrap_or(&filter)),
            in_commons: World::stands_in_commons(&session.team, &filter),
        };
        let key = Arc::clone(key);
        self.put_in_force(
            index,
            Granted {
                key,
                filter,
                subscription,
            },
        );
    }
}
