//! SUBSCRIBE and UNSUBSCRIBE.

use std::sync::Arc;

use super::counters::Drop;
use super::event::EventKind;
use super::shard::{Shard, who};
use crate::limits::Limit;
use crate::policy::{Grant, Ruling};
use crate::session::{Queued, Session, Subscription};
use crate::team::{Member, Route};
use crate::time::Time;
use crate::topic::{SharedFilter, TopicFilter, TopicName};
use crate::wire::{
    QoS, ReasonCode, RetainHandling, Subscribe, SubscribeFilter, SubscriptionOptions, Unsubscribe,
    encode,
};

/// A filter that is granted.
struct Granted {
    key: Arc<str>,
    filter: Arc<str>,
    subscription: Subscription,
}

/// Why a filter is not granted.
struct SubscribeError {
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
        let mut codes = Vec::with_capacity(subscribe.filters.len());
        let mut replayed = Vec::new();
        for asked in &subscribe.filters {
            let id = subscribe.subscription_id.unwrap_or(0);
            codes.push(match self.grant_filter(session, asked, id) {
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
        self.write(index, |out, version| {
            encode::suback(out, version, subscribe.packet_id, &codes);
        });
        self.pump(session, now);
        Ok(())
    }

    /// Form, mount, team, policy, limit; in this order.
    fn grant_filter(
        &self,
        session: u32,
        asked: &SubscribeFilter<'_>,
        id: u32,
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
        let checked = judge(&session.grant, full.filter, full.group)?;
        if !session.subscriptions.contains_key(&key)
            && session.subscriptions.len() >= limits.max_subscriptions as usize
        {
            session.team.bounds.hit(Limit::ClientSubscriptions);
            return Err(SubscribeError::QUOTA);
        }
        if !session.subscriptions.contains_key(&key)
            && session.team.subscriptions()
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
            hides: written.filter.as_str().starts_with(['+', '#']),
            in_commons: !filter.starts_with(session.team.root()),
        };
        Ok(Granted {
            key,
            filter,
            subscription,
        })
    }

    /// Puts a granted subscription in force, in place of the session's own of the same name. Returns
    /// what the client is told, and whether it is to get the retained messages.
    fn add_subscription(&mut self, index: u32, granted: Granted) -> (ReasonCode, bool) {
        let Granted {
            key,
            filter,
            mut subscription,
        } = granted;
        let commons = Arc::clone(self.world.commons());
        let Some(session) = self.sessions.at_mut(index) else {
            return (ReasonCode::UnspecifiedError, false);
        };
        // A subscription that replaces another goes on under its number.
        subscription.share = match session.subscriptions.get(&key) {
            _ if subscription.group.is_none() => 0,
            Some(old) => old.share,
            None => {
                session.last_share = session.last_share.wrapping_add(1);
                session.last_share
            }
        };
        let options = subscription.options;
        let route = Route {
            session: session.address,
            qos: options.qos,
            no_local: options.no_local,
            retain_as_published: options.retain_as_published,
            checked: subscription.checked,
            hides: subscription.hides,
            subscription_id: subscription.id,
            share: subscription.share,
        };
        let team = if subscription.in_commons {
            &commons
        } else {
            &session.team
        };
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
        let shared = subscription.group.is_some();
        let is_new = session
            .subscriptions
            .insert(Arc::clone(&key), subscription)
            .is_none();
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

    /// UNSUBSCRIBE.
    pub(super) fn unsubscribe(
        &mut self,
        index: u32,
        session: u32,
        unsubscribe: &Unsubscribe<'_>,
    ) -> Result<(), ReasonCode> {
        let mut codes = Vec::with_capacity(unsubscribe.filters.len());
        for written in &unsubscribe.filters {
            codes.push(self.remove_written(session, written));
        }
        self.charge(unsubscribe.filters.len());
        self.write(index, |out, version| {
            encode::unsuback(out, version, unsubscribe.packet_id, &codes);
        });
        Ok(())
    }

    fn remove_written(&mut self, index: u32, written: &str) -> ReasonCode {
        let Some(session) = self.sessions.at(index) else {
            return ReasonCode::UnspecifiedError;
        };
        let Ok(written) = SharedFilter::parse(written, u16::MAX, u16::MAX) else {
            return ReasonCode::TopicFilterInvalid;
        };
        let key = session_key(&session.grant, written);
        match self.remove_subscription(index, &key) {
            true => ReasonCode::Success,
            false => ReasonCode::NoSubscriptionExisted,
        }
    }

    /// Ends one subscription. Says whether there was one.
    fn remove_subscription(&mut self, index: u32, key: &str) -> bool {
        let commons = Arc::clone(self.world.commons());
        let Some(session) = self.sessions.at_mut(index) else {
            return false;
        };
        session.replays.remove(key);
        let Some(subscription) = session.subscriptions.remove(key) else {
            return false;
        };
        let team = if subscription.in_commons {
            &commons
        } else {
            &session.team
        };
        team.unsubscribe(
            subscription.filter(key),
            subscription.group.as_deref(),
            session.address,
        );
        true
    }

    /// A session goes on under another grant: what that one does not grant ends, on record, and
    /// what it grants is in force on its terms. Messages that came by what has ended, or that a
    /// deny rule now keeps from it, are let go.
    pub(super) fn rejudge(&mut self, index: u32, grant: &Arc<Grant>, now: Time) {
        let Some(session) = self.sessions.at_mut(index) else {
            return;
        };
        if Arc::ptr_eq(&session.grant, grant) {
            return;
        }
        session.grant = Arc::clone(grant);
        let keys: Vec<Arc<str>> = session.subscriptions.keys().cloned().collect();
        let mut narrower = false;
        for key in keys {
            narrower |= self.rejudge_subscription(index, &key, now);
        }
        if narrower && let Some(session) = self.sessions.at_mut(index) {
            let gone = let_go_of_unwanted(session);
            session.publish_waiting();
            self.counters.dropped[Drop::Denied as usize] += gone;
        }
    }

    /// Says whether it lets less through than before.
    fn rejudge_subscription(&mut self, index: u32, key: &Arc<str>, now: Time) -> bool {
        let Some(session) = self.sessions.at(index) else {
            return false;
        };
        let Some(subscription) = session.subscriptions.get(key) else {
            return false;
        };
        let filter: Arc<str> = Arc::from(subscription.filter(key));
        let mount = session.grant.mount();
        let verdict = match filter.strip_prefix(mount) {
            Some(_) => TopicFilter::parse(&filter, u16::MAX, u16::MAX)
                .map_err(|_| SubscribeError::FILTER)
                .and_then(|parsed| judge(&session.grant, parsed, subscription.group.as_deref())),
            None => Err(SubscribeError::OUTSIDE),
        };
        let checked = match verdict {
            Ok(checked) => checked,
            Err(refused) => {
                let (filter, reason, why) = (Box::from(&**key), refused.code, refused.why);
                let kind = EventKind::SubscribeRefused {
                    filter,
                    reason,
                    why,
                };
                self.record(now, who(session), kind);
                self.remove_subscription(index, key);
                return true;
            }
        };
        let hides = filter[mount.len()..].starts_with(['+', '#']);
        let before = (subscription.checked, subscription.hides);
        // A share group has the grant that it asks; that one is another now.
        let asked = subscription.group.is_some() && (checked || hides);
        if asked || before != (checked, hides) {
            let mut subscription = subscription.clone();
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
        checked
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
fn session_key(grant: &Grant, written: SharedFilter<'_>) -> Arc<str> {
    let (mount, filter) = (grant.mount(), written.filter.as_str());
    match written.group {
        Some(group) => Arc::from(format!("$share/{group}/{mount}{filter}")),
        None if mount.is_empty() => Arc::from(filter),
        None => Arc::from(format!("{mount}{filter}")),
    }
}

/// Whether a full filter may be subscribed to; `true`: each delivery must be checked.
fn judge(
    grant: &Grant,
    filter: TopicFilter<'_>,
    group: Option<&str>,
) -> Result<bool, SubscribeError> {
    // The structural check comes before any rule is asked.
    if !grant.reaches_filter(filter) {
        return Err(SubscribeError::OUTSIDE);
    }
    match grant.subscribe(filter, group).ruling {
        Ruling::Allow => Ok(false),
        Ruling::AllowChecked => Ok(true),
        Ruling::Deny => Err(SubscribeError::POLICY),
    }
}

impl SubscribeError {
    const GONE: Self = Self {
        code: ReasonCode::UnspecifiedError,
        why: "the session has ended",
    };
    const FILTER: Self = Self {
        code: ReasonCode::TopicFilterInvalid,
        why: "not a topic filter within the limits",
    };
    const OUTSIDE: Self = Self {
        code: ReasonCode::NotAuthorized,
        why: "outside the team",
    };
    const POLICY: Self = Self {
        code: ReasonCode::NotAuthorized,
        why: "policy",
    };
    const TEAM_QUOTA: Self = Self {
        code: ReasonCode::QuotaExceeded,
        why: "the team's subscriptions are at their limit",
    };
    const QUOTA: Self = Self {
        code: ReasonCode::QuotaExceeded,
        why: "the session's subscriptions are at their limit",
    };
}

/// Lets go of what none of a session's subscriptions lets through any more. Returns how many
/// messages that were.
fn let_go_of_unwanted(session: &mut Session) -> u64 {
    let Session {
        subscriptions,
        outgoing,
        grant,
        ..
    } = session;
    let wanted = |item: &Queued| {
        let Ok(name) = TopicName::parse(item.message.topic(), u16::MAX, u16::MAX) else {
            return false;
        };
        subscriptions.iter().any(|(key, subscription)| {
            let filter = TopicFilter::parse(subscription.filter(key), u16::MAX, u16::MAX);
            filter.is_ok_and(|filter| filter.matches(name))
                && (!subscription.checked || grant.may_receive(name))
        })
    };
    outgoing.let_go_of(|item| !wanted(item))
}
