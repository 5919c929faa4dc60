//! Shared subscriptions when a member goes, or may be one no longer: what it was to have goes to
//! another `[MQTT-4.8.2]`.

use std::sync::Arc;

use hashbrown::HashMap;

use super::counters::Drop;
use super::publish::Passing;
use super::shard::Shard;
use crate::fact::Fact;
use crate::session::{Queued, Session, Subscription};
use crate::team::{Group, Team, World};
use crate::time::Time;
use crate::topic::{TopicFilter, TopicName};

/// The groups of one session, by the numbers of its shared subscriptions, each with its filter.
type Groups = HashMap<u32, (Arc<str>, Arc<Group>)>;

/// What a session was a member of by a shared subscription that has ended.
pub(super) struct Left {
    share: u32,
    filter: Arc<str>,
    name: Arc<str>,
    in_commons: bool,
}

impl Left {
    /// By this subscription; `None`: it is not a shared one.
    pub(super) fn by(key: &str, subscription: &Subscription) -> Option<Self> {
        Some(Self {
            share: subscription.share,
            filter: Arc::from(subscription.filter(key)),
            name: Arc::clone(subscription.group.as_ref()?),
            in_commons: subscription.in_commons,
        })
    }
}

impl Shard {
    /// The connection of a session is lost. What was never sent to it goes at once to members that
    /// are connected; what was sent stays, for the client may have handled it and come back.
    pub(super) fn pass_on_queue(&mut self, index: u32, now: Time) {
        let Some(session) = self.sessions.at(index) else {
            return;
        };
        if session.outgoing.queued() == 0 {
            return;
        }
        let groups = groups(session, &self.world);
        self.pass_on_queued(index, &groups, now);
    }

    /// These shared subscriptions of a session have ended, for it may not have them any more. What
    /// waits for it by them goes to members that are connected.
    pub(super) fn pass_on_left(&mut self, index: u32, left: &[Left], now: Time) {
        let Some(session) = self.sessions.at(index) else {
            return;
        };
        if session.outgoing.queued() == 0 {
            return;
        }
        let groups = left.iter().filter_map(|left| {
            let team = self.world.standing(&session.team, left.in_commons);
            let group = team.group(&left.filter, &left.name)?;
            Some((left.share, (Arc::clone(&left.filter), group)))
        });
        let groups = groups.collect();
        self.pass_on_queued(index, &groups, now);
    }

    fn pass_on_queued(&mut self, index: u32, groups: &Groups, now: Time) {
        if groups.is_empty() {
            return;
        }
        let Some(session) = self.sessions.at_mut(index) else {
            return;
        };
        let team = Arc::clone(&session.team);
        let mut orphans = Vec::new();
        session.outgoing.take_queued(|item| {
            let topic = item.message.topic();
            let goes = group_of(groups, item).is_some_and(|group| group.has_connected(topic));
            if goes {
                orphans.push(item.clone());
            }
            goes
        });
        session.publish_waiting();
        let done: Vec<_> = orphans
            .iter()
            .filter_map(|orphan| session.outgoing.delivery(orphan))
            .collect();
        self.adopt_orphans(&team, &orphans, groups, now);
        // Only now, so that there is no time at which nobody has them.
        for delivery in done {
            self.keeping.facts.state(Fact::Done(delivery));
        }
    }

    /// A session has ended and left its groups. What it had not acknowledged goes to other members,
    /// but for QoS 2 messages that were sent: only that client may complete them `[MQTT-4.8.2-5]`.
    pub(super) fn pass_on_all(&mut self, mut session: Session, now: Time) {
        let groups = groups(&session, &self.world);
        if !groups.is_empty() {
            let orphans = session.outgoing.take_unacknowledged();
            self.adopt_orphans(&session.team, &orphans, &groups, now);
        }
    }

    fn adopt_orphans(&mut self, team: &Arc<Team>, orphans: &[Queued], groups: &Groups, now: Time) {
        for orphan in orphans {
            let message = &orphan.message;
            let Some(group) = group_of(groups, orphan) else {
                continue;
            };
            if message.expires <= now {
                self.counters.drop(Drop::Expired);
            } else if let Some(member) = group.choose(message.topic()) {
                let passing = Passing::of(message);
                self.form.forget();
                self.open_delivery(&passing.view, true);
                self.hand_over(team, member.route, &passing, now);
                self.close_message(&passing, None, None);
            }
        }
    }
}

/// The groups that a session is, or was, a member of.
fn groups(session: &Session, world: &World) -> Groups {
    let shared = session
        .subscriptions
        .iter()
        .filter_map(|(key, subscription)| {
            let name = subscription.group.as_ref()?;
            let team = world.standing(&session.team, subscription.in_commons);
            let filter = subscription.filter(key);
            let group = team.group(filter, name)?;
            Some((subscription.share, (Arc::from(filter), group)))
        });
    shared.collect()
}

/// The group that a queued message came by. That its filter matches is asked once more: nobody
/// gets by a group what the group is not for, whatever became of the subscription since.
fn group_of<'g>(groups: &'g Groups, item: &Queued) -> Option<&'g Arc<Group>> {
    let (filter, group) = groups.get(&item.share)?;
    let filter = TopicFilter::parse(filter, u16::MAX, u16::MAX).ok()?;
    let name = TopicName::parse(item.message.topic(), u16::MAX, u16::MAX).ok()?;
    filter.matches(name).then_some(group)
}
