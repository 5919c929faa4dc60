//! Shared subscriptions when a member goes: what it was to have goes to another `[MQTT-4.8.2]`.

use std::sync::Arc;

use super::publish::Passing;
use super::shard::Shard;
use crate::session::{Queued, Session, Subscription, Subscriptions};
use crate::team::{Group, Team};
use crate::time::Time;

/// A message that came by a shared subscription, and where its group is found.
struct Orphan {
    item: Queued,
    group: Arc<str>,
    filter: Arc<str>,
    in_commons: bool,
}

impl Shard {
    /// The connection of a session is lost. What was never sent to it goes at once to members that
    /// are connected; what was sent stays, for the client may have handled it and come back.
    pub(super) fn pass_on_queue(&mut self, index: u32, now: Time) {
        let commons = Arc::clone(self.world.commons());
        let Some(session) = self.sessions.at_mut(index) else {
            return;
        };
        let (shares, subscriptions) = (&session.shares, &session.subscriptions);
        let team = Arc::clone(&session.team);
        let mut orphans = Vec::new();
        session.outgoing.take_queued(|item| {
            let key = shares.key(item.share)?;
            let subscription = subscriptions.get(key)?;
            let orphan = Orphan::new(item.clone(), key, subscription)?;
            let group = orphan.group_in(&team, &commons)?;
            group
                .has_connected(item.message.topic())
                .then(|| orphans.push(orphan))
        });
        session.publish_waiting();
        self.adopt_orphans(orphans, &team, now);
    }

    /// A session has ended and left its groups. What it had not acknowledged goes to other members,
    /// but for QoS 2 messages that were sent: only that client may complete them `[MQTT-4.8.2-5]`.
    pub(super) fn pass_on_all(&mut self, mut session: Session, now: Time) {
        let items = session.outgoing.take_unacknowledged();
        let subscriptions: &Subscriptions = &session.subscriptions;
        let orphan = |item: Queued| {
            let key = session.shares.key(item.share)?;
            Orphan::new(item, key, subscriptions.get(key)?)
        };
        let orphans = items.into_iter().filter_map(orphan).collect();
        self.adopt_orphans(orphans, &session.team, now);
    }

    fn adopt_orphans(&mut self, orphans: Vec<Orphan>, team: &Team, now: Time) {
        let commons = Arc::clone(self.world.commons());
        for orphan in orphans {
            let message = &orphan.item.message;
            if message.expires <= now {
                continue;
            }
            let group = orphan.group_in(team, &commons);
            let member = group
                .as_ref()
                .and_then(|group| group.choose(message.topic()));
            if let Some(member) = member {
                self.form.forget();
                self.hand_over(member.route, &Passing::of(message), now);
            }
        }
    }
}

impl Orphan {
    fn new(item: Queued, key: &str, subscription: &Subscription) -> Option<Self> {
        Some(Self {
            item,
            group: Arc::clone(subscription.group.as_ref()?),
            filter: Arc::from(subscription.filter(key)),
            in_commons: subscription.in_commons,
        })
    }

    fn group_in(&self, team: &Team, commons: &Team) -> Option<Arc<Group>> {
        let team = if self.in_commons { commons } else { team };
        team.group(&self.filter, &self.group)
    }
}
