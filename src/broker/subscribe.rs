//! SUBSCRIBE and UNSUBSCRIBE.

use std::sync::Arc;

use super::ask::Said;
use super::counters::Drop;
use super::entitlement::{Judged, judge, own};
use super::event::EventKind;
use super::review::Change;
use super::shard::{Shard, who};
use super::share::Left;
use crate::fact::{self, Fact, Facts};
use crate::limits::Limit;
use crate::policy::{Action, Grant, Ruling};
use crate::session::{Queued, Session, Subscription, Subscriptions};
use crate::team::{Member, Route, World};
use crate::time::Time;
use crate::topic::{SharedFilter, TopicFilter, TopicName};
use crate::wire::{
    QoS, ReasonCode, RetainHandling, Subscribe, SubscribeFilter, SubscriptionOptions, Unsubscribe,
    encode,
};

/// A filter that is granted.
pub(super) struct Granted {
    pub(super) key: Arc<str>,
    pub(super) filter: Arc<str>,
    pub(super) subscription: Subscription,
}

/// Why a filter is not granted.
pub(super) struct SubscribeError {
    code: ReasonCode,
    why: &'static str,
}

impl Shard {
    /// SUBSCRIBE: each filter is decided for itself, and none ends the connection.
    pub(super) fn subscribe(
        &mut self,
        index: u32,
        session: u32,
        subscribe: &Subscribe<'_>,
        now: Time,
    ) -> Result<(), ReasonCode> {
        let is_old = self
            .sessions
            .at(session)
            .is_some_and(|it| it.meter.seen != it.team.bounds.generation());
        if is_old {
            self.renew_limits(index, session);
        }
        if self.asks_about_filters(index, session, subscribe, now) {
            return Ok(());
        }
        let mark = self.keeping.facts.len();
        let mut codes = Vec::with_capacity(subscribe.filters.len());
        let mut replayed = Vec::new();
        for asked in &subscribe.filters {
            let id = subscribe.subscription_id.unwrap_or(0);
            let granted = self.grant_filter(index, session, asked, id, now);
            if self.observation.is_on() {
                self.observe_filter(session, asked.filter, &granted, now);
            }
            codes.push(match granted {
                Ok(granted) => {
                    let key = Arc::clone(&granted.key);
                    let (code, replays) = self.add_subscription(session, granted);
                    replayed.extend(replays.then_some(key));
                    code
                }
                Err(refused) => {
                    self.record_refused_subscribe(session, asked.filter, &refused, now);
                    refused.code
                }
            });
        }
        // Only now: what is retained from here on is routed to all of them.
        self.begin_replays(session, replayed);
        self.charge(subscribe.filters.len());
        self.promise(index, Some(mark), |out, version| {
            encode::suback(out, version, subscribe.packet_id, &codes);
        });
        self.pump(session, now);
        Ok(())
    }

    /// What the observed policy says of a filter that was decided on; what has no form, or no room,
    /// was not decided by a policy.
    fn observe_filter(
        &mut self,
        session: u32,
        written: &str,
        decided: &Result<Granted, SubscribeError>,
        now: Time,
    ) {
        let ruled = match decided {
            Ok(granted) if granted.subscription.checked => Ruling::AllowChecked,
            Ok(_) => Ruling::Allow,
            Err(_) => Ruling::Deny,
        };
        let key = match decided {
            Ok(granted) => Some(Arc::clone(&granted.key)),
            Err(refused) if refused.code == ReasonCode::NotAuthorized => self
                .sessions
                .at(session)
                .zip(SharedFilter::parse(written, u16::MAX, u16::MAX).ok())
                .map(|(session, written)| session_key(&session.grant, written)),
            Err(_) => None,
        };
        if let Some(key) = key {
            self.observe_subscribe(session, &key, ruled, now);
        }
    }

    /// Form, mount, team, policy, limit; in this order.
    fn grant_filter(
        &self,
        index: u32,
        session: u32,
        asked: &SubscribeFilter<'_>,
        id: u32,
        now: Time,
    ) -> Result<Granted, SubscribeError> {
        let Some(session) = self.sessions.at(session) else {
            return Err(SubscribeError::GONE);
        };
        let limits = &session.limits;
        let parse =
            |text| SharedFilter::parse(text, limits.max_topic_length, limits.max_topic_levels);
        let written = parse(asked.filter).map_err(|_| SubscribeError::FILTER)?;
        let key = session_key(&session.grant, written);
        let full = parse(&key).map_err(|_| SubscribeError::FILTER)?;
        let checked = match judge(&session.grant, full.filter, full.group)? {
            Judged::Granted { checked } => checked,
            Judged::Asks { checked } => {
                let heard = self.heard(index, Action::Subscribe, &key, now);
                match heard.map(|heard| heard.said) {
                    Some(Said::Yes) => checked,
                    Some(Said::Own) => own(&session.grant, full.filter, full.group)?,
                    Some(Said::No) => return Err(SubscribeError::HOOK),
                    Some(Said::Missing) => return Err(SubscribeError::UNANSWERED),
                    None => return Err(SubscribeError::TOO_MANY),
                }
            }
        };
        if !session.subscriptions.contains_key(&key)
            && session.subscriptions.len() >= limits.max_subscriptions as usize
        {
            session.team.bounds.hit(Limit::ClientSubscriptions);
            return Err(SubscribeError::QUOTA);
        }
        if !session.subscriptions.contains_key(&key)
            && session.team.own_subscriptions()
                >= session.team.bounds.limits().max_subscriptions as usize
        {
            session.team.bounds.hit(Limit::Subscriptions);
            return Err(SubscribeError::TEAM_QUOTA);
        }
        let filter = match full.group {
            Some(_) => Arc::from(full.filter.as_str()),
            None => Arc::clone(&key),
        };
        let subscription = Subscription {
            group: full.group.map(Arc::from),
            options: SubscriptionOptions {
                qos: asked.options.qos.min(limits.max_qos),
                // A share group has no publisher of its own [MQTT-3.8.3-4].
                no_local: asked.options.no_local || session.bridge && full.group.is_none(),
                retain_as_published: asked.options.retain_as_published || session.bridge,
                ..asked.options
            },
            id,
            share: 0,
            checked,
            hides: Route::hides_some(written.filter.as_str()),
            in_commons: World::stands_in_commons(&session.team, &filter),
        };
        Ok(Granted {
            key,
            filter,
            subscription,
        })
    }

    /// Adds a granted subscription, or replaces the session's own of the same name. Returns what the
    /// client is told, and whether it is to get the retained messages.
    fn add_subscription(&mut self, index: u32, mut granted: Granted) -> (ReasonCode, bool) {
        let Granted {
            key, subscription, ..
        } = &mut granted;
        let Some(session) = self.sessions.at_mut(index) else {
            return (ReasonCode::UnspecifiedError, false);
        };
        // A subscription that replaces another goes on under its number.
        subscription.share = match session.subscriptions.get(&*key) {
            _ if subscription.group.is_none() => 0,
            Some(old) => old.share,
            None => {
                session.last_share = session.last_share.wrapping_add(1);
                session.last_share
            }
        };
        let (options, shared) = (subscription.options, subscription.group.is_some());
        let is_new = self.put_in_force(index, granted);
        let wanted = match options.retain_handling {
            RetainHandling::Send => true,
            RetainHandling::SendIfNew => is_new,
            RetainHandling::DoNotSend => false,
        };
        // A shared subscription gets no retained messages [MQTT-3.8.3.1].
        let code = match options.qos {
            QoS::AtMostOnce => ReasonCode::Success,
            QoS::AtLeastOnce => ReasonCode::GrantedQoS1,
            QoS::ExactlyOnce => ReasonCode::GrantedQoS2,
        };
        (code, wanted && !shared)
    }

    /// Puts a numbered subscription in force. Says whether there was none of its name.
    pub(super) fn put_in_force(&mut self, index: u32, granted: Granted) -> bool {
        let Granted {
            key,
            filter,
            subscription,
        } = granted;
        let world = Arc::clone(&self.world);
        let Some(session) = self.sessions.at_mut(index) else {
            return false;
        };
        let options = subscription.options;
        let route = Route {
            session: session.address,
            qos: options.qos,
            no_local: options.no_local,
            retain_as_published: options.retain_as_published,
            checked: subscription.checked,
            hides: subscription.hidden_after(&session.grant),
            subscription_id: subscription.id,
            share: subscription.share,
            number: session.number,
        };
        if let Some(number) = session.number {
            let wanted = fact::Wanted {
                options,
                id: subscription.id,
                share: subscription.share,
            };
            let key = Arc::clone(&key);
            self.keeping
                .facts
                .state(Fact::Subscribed(number, key, wanted));
        }
        let team = world.standing(&session.team, subscription.in_commons);
        match &subscription.group {
            Some(group) => {
                let ask = subscription.checked || subscription.hides;
                let member = Member {
                    route,
                    presence: Arc::clone(&session.presence),
                    grant: ask.then(|| Arc::clone(&session.grant)),
                };
                team.join(&filter, group, member);
            }
            None => team.subscribe(&filter, route),
        }
        let in_commons = subscription.in_commons;
        let is_new = session.subscriptions.insert(key, subscription).is_none();
        if is_new && in_commons {
            session.team.subscribed_in_commons(1);
        }
        is_new
    }

    /// UNSUBSCRIBE.
    pub(super) fn unsubscribe(
        &mut self,
        index: u32,
        session: u32,
        unsubscribe: &Unsubscribe<'_>,
        now: Time,
    ) -> Result<(), ReasonCode> {
        let number = self.sessions.at(session).and_then(|it| it.number);
        let mark = self.mark_of(number);
        let mut codes = Vec::with_capacity(unsubscribe.filters.len());
        for written in &unsubscribe.filters {
            codes.push(self.remove_written(session, written, now));
        }
        self.charge(unsubscribe.filters.len());
        self.promise(index, mark, |out, version| {
            encode::unsuback(out, version, unsubscribe.packet_id, &codes);
        });
        Ok(())
    }

    fn remove_written(&mut self, index: u32, written: &str, now: Time) -> ReasonCode {
        let Some(session) = self.sessions.at(index) else {
            return ReasonCode::UnspecifiedError;
        };
        let Ok(written) = SharedFilter::parse(written, u16::MAX, u16::MAX) else {
            return ReasonCode::TopicFilterInvalid;
        };
        let key = session_key(&session.grant, written);
        if self.remove_subscription(index, &key) {
            return ReasonCode::Success;
        }
        self.record_foreign_unsubscribe(index, &key, now);
        ReasonCode::NoSubscriptionExisted
    }

    /// Who tries to end what only another team's could have gets the answer that it would get
    /// anyhow, and a row.
    fn record_foreign_unsubscribe(&mut self, index: u32, key: &str, now: Time) {
        let Some(session) = self.sessions.at(index) else {
            return;
        };
        let full = SharedFilter::parse(key, u16::MAX, u16::MAX);
        if !full.is_ok_and(|full| session.grant.reaches_filter(full.filter)) {
            let SubscribeError { why, .. } = SubscribeError::OUTSIDE;
            let (filter, reason) = (Box::from(key), ReasonCode::NoSubscriptionExisted);
            let kind = EventKind::UnsubscribeRefused {
                filter,
                reason,
                why,
            };
            self.record(now, who(session), kind);
        }
    }

    /// Ends one subscription. Says whether there was one.
    fn remove_subscription(&mut self, index: u32, key: &str) -> bool {
        let world = Arc::clone(&self.world);
        let Some(session) = self.sessions.at_mut(index) else {
            return false;
        };
        session.replays.remove(key);
        let Some((key, subscription)) = session.subscriptions.remove_entry(key) else {
            return false;
        };
        if let Some(number) = session.number {
            let ended = Fact::Unsubscribed(number, Arc::clone(&key));
            self.keeping.facts.state(ended);
        }
        if subscription.in_commons {
            session.team.unsubscribed_in_commons(1);
        }
        let team = world.standing(&session.team, subscription.in_commons);
        team.unsubscribe(
            subscription.filter(&key),
            subscription.group.as_deref(),
            session.address,
        );
        true
    }

    /// A session goes on under another grant: what that one does not grant ends, on record, and
    /// what it grants is in force on its terms. What waits by a shared subscription that has ended goes
    /// to another member. Other messages that came by what has ended, or that it may no longer read,
    /// are let go; others stay, also those whose subscription the client has ended
    /// `[MQTT-3.10.4-3]`. `change` is why.
    pub(super) fn rejudge(&mut self, index: u32, grant: &Arc<Grant>, change: Change, now: Time) {
        let Some(session) = self.sessions.at_mut(index) else {
            return;
        };
        session.grant = Arc::clone(grant);
        let keys: Vec<Arc<str>> = session.subscriptions.keys().cloned().collect();
        let (mut ended, mut left) = (Vec::new(), Vec::new());
        for key in keys {
            if let Some((filter, of)) = self.rejudge_subscription(index, &key, change, now) {
                ended.push(filter);
                left.extend(of);
            }
        }
        self.pass_on_left(index, &left, now);
        self.note_lost(index, &ended);
        self.drop_unwanted(index, &ended);
    }

    /// Notes that a session may see less, for what is on its way to it.
    pub(super) fn note_lost(&mut self, index: u32, ended: &[Arc<str>]) {
        if !ended.is_empty()
            && let Some(session) = self.sessions.at_mut(index)
        {
            let lost = session.lost.get_or_insert_default();
            lost.extend(ended.iter().cloned());
        }
    }

    /// Lets go of messages that came by these filters, which have ended, or may not be read any more.
    pub(super) fn drop_unwanted(&mut self, index: u32, ended: &[Arc<str>]) {
        if let Some(session) = self.sessions.at_mut(index)
            && session.outgoing.waiting() > 0
        {
            let gone = let_go_of_unwanted(session, ended, &mut self.keeping.facts);
            session.publish_waiting();
            self.counters.dropped[Drop::Denied as usize] += gone;
        }
    }

    /// Returns the filter of a subscription that is no longer granted, and the group that it was of.
    fn rejudge_subscription(
        &mut self,
        index: u32,
        key: &Arc<str>,
        change: Change,
        now: Time,
    ) -> Option<(Arc<str>, Option<Left>)> {
        let session = self.sessions.at(index)?;
        let subscription = session.subscriptions.get(key)?;
        let filter: Arc<str> = Arc::from(subscription.filter(key));
        let mount = session.grant.mount();
        let verdict = match filter.strip_prefix(mount) {
            Some(_) => TopicFilter::parse(&filter, u16::MAX, u16::MAX)
                .map_err(|_| SubscribeError::FILTER)
                .and_then(|parsed| judge(&session.grant, parsed, subscription.group.as_deref())),
            None => Err(SubscribeError::OUTSIDE),
        };
        let (checked, asks) = match verdict {
            Ok(Judged::Granted { checked }) => (checked, false),
            // It holds until somebody says otherwise.
            Ok(Judged::Asks { checked }) => (checked, true),
            Err(refused) => {
                let left = self.end_subscription(index, key, &refused, change, now);
                return Some((filter, left));
            }
        };
        if asks {
            self.ask_about_subscription(index, key);
        }
        let session = self.sessions.at(index)?;
        let (mount, subscription) = (session.grant.mount(), session.subscriptions.get(key)?);
        let hides = Route::hides_some(&filter[mount.len()..]);
        let before = (subscription.checked, subscription.hides);
        // A share group has the grant that it asks; that one is another now.
        let asked = subscription.group.is_some() && (checked || hides);
        if asked || before != (checked, hides) {
            let mut subscription = subscription.clone();
            if let (true, Some(session)) = (checked, self.sessions.at_mut(index)) {
                session.lost.get_or_insert_default();
            }
            (subscription.checked, subscription.hides) = (checked, hides);
            subscription.options.retain_handling = RetainHandling::DoNotSend;
            let key = Arc::clone(key);
            let granted = Granted {
                key,
                filter,
                subscription,
            };
            self.add_subscription(index, granted);
        }
        None
    }

    /// Ends a subscription that is no longer granted, on record. Returns the group that it was of.
    pub(super) fn end_subscription(
        &mut self,
        index: u32,
        key: &str,
        refused: &SubscribeError,
        change: Change,
        now: Time,
    ) -> Option<Left> {
        let session = self.sessions.at(index)?;
        let left = Left::by(key, session.subscriptions.get(key)?);
        let kind = EventKind::SubscriptionEnded {
            filter: Box::from(key),
            why: refused.why,
            change,
        };
        self.record(now, who(session), kind);
        self.remove_subscription(index, key);
        left
    }

    fn record_refused_subscribe(
        &mut self,
        session: u32,
        written: &str,
        refused: &SubscribeError,
        now: Time,
    ) {
        let Some(session) = self.sessions.at(session) else {
            return;
        };
        let filter = match SharedFilter::parse(written, u16::MAX, u16::MAX) {
            Ok(written) => session_key(&session.grant, written).as_ref().into(),
            Err(_) => written.into(),
        };
        let (reason, why) = (refused.code, refused.why);
        self.record(
            now,
            who(session),
            EventKind::SubscribeRefused {
                filter,
                reason,
                why,
            },
        );
    }
}

/// The key of a subscription: its full filter, and its share group before it.
pub(super) fn session_key(grant: &Grant, written: SharedFilter<'_>) -> Arc<str> {
    let (mount, filter) = (grant.mount(), written.filter.as_str());
    match written.group {
        Some(group) => Arc::from(format!("$share/{group}/{mount}{filter}")),
        None if mount.is_empty() => Arc::from(filter),
        None => Arc::from(format!("{mount}{filter}")),
    }
}

impl SubscribeError {
    const GONE: Self = Self {
        code: ReasonCode::UnspecifiedError,
        why: "the session has ended",
    };
    pub(super) const FILTER: Self = Self {
        code: ReasonCode::TopicFilterInvalid,
        why: "not a topic filter within the limits",
    };
    pub(super) const OUTSIDE: Self = Self {
        code: ReasonCode::NotAuthorized,
        why: "outside the team",
    };
    pub(super) const POLICY: Self = Self {
        code: ReasonCode::NotAuthorized,
        why: "policy",
    };
    const TEAM_QUOTA: Self = Self {
        code: ReasonCode::QuotaExceeded,
        why: "the team's subscriptions are at their limit",
    };
    /// Whoever was asked said no.
    pub(super) const HOOK: Self = Self {
        code: ReasonCode::NotAuthorized,
        why: "hook",
    };
    /// Whoever was asked did not answer: not a no, so it may be tried again.
    const UNANSWERED: Self = Self {
        code: ReasonCode::ImplementationSpecificError,
        why: "hook did not answer",
    };
    const TOO_MANY: Self = Self {
        code: ReasonCode::QuotaExceeded,
        why: "more filters to ask about than one packet may have",
    };
    const QUOTA: Self = Self {
        code: ReasonCode::QuotaExceeded,
        why: "the session's subscriptions are at their limit",
    };
}

/// Lets go of what none of a session's subscriptions lets through any more, where it came by one of
/// those that were `ended` or the grant keeps it from the session. Returns how many messages that
/// were.
fn let_go_of_unwanted(session: &mut Session, ended: &[Arc<str>], facts: &mut Facts) -> u64 {
    let Session {
        subscriptions,
        outgoing,
        grant,
        ..
    } = session;
    let wanted =
        |item: &Queued| is_wanted(subscriptions, grant, ended.iter(), item.message.topic());
    outgoing.let_go_of(|item| !wanted(item), facts)
}

/// Whether a session may still have a message of this full topic that was for it.
pub(super) fn is_wanted<'e>(
    subscriptions: &Subscriptions,
    grant: &Grant,
    mut ended: impl Iterator<Item = &'e Arc<str>>,
    topic: &str,
) -> bool {
    let Ok(name) = TopicName::parse(topic, u16::MAX, u16::MAX) else {
        return false;
    };
    let matches = |filter: &str| {
        let filter = TopicFilter::parse(filter, u16::MAX, u16::MAX);
        filter.is_ok_and(|filter| filter.matches(name))
    };
    let let_through = subscriptions.iter().any(|(key, subscription)| {
        matches(subscription.filter(key)) && (!subscription.checked || grant.may_receive(name))
    });
    // The client itself may have ended the one by which it came: what is on its way stays.
    let_through || !ended.any(|filter| matches(filter)) && grant.could_receive(name)
}
