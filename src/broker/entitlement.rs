//! Whether a session may have a subscription: by the policy, or by what somebody else says. Called by
//! `subscribe`, before a packet is handled and when it is, and by `ask` with what was answered.

use std::sync::Arc;

use hashbrown::HashSet;

use super::ask::{Heard, Purpose, QUESTIONS_MAX, Question, Said, Wanted};
use super::review::{Change, ChangeKind};
use super::shard::Shard;
use super::subscribe::{SubscribeError, session_key};
use crate::policy::{Action, Ask, Grant, Ruling, Standing};
use crate::team::SessionAddress;
use crate::time::Time;
use crate::topic::{SharedFilter, TopicFilter};
use crate::wire::Subscribe;

impl Shard {
    /// Whether somebody else must be asked about filters of a SUBSCRIBE; then they are, about all of
    /// them at once, and the packet waits.
    pub(super) fn asks_about_filters(
        &mut self,
        index: u32,
        session_index: u32,
        subscribe: &Subscribe<'_>,
        now: Time,
    ) -> bool {
        let Some(session) = self.sessions.at(session_index) else {
            return false;
        };
        let (grant, limits) = (&session.grant, &session.limits);
        if grant.ask() == Ask::Never || self.has_answers(index) {
            return false;
        }
        let (length, levels) = (limits.max_topic_length, limits.max_topic_levels);
        let mut wanted: Vec<Wanted> = Vec::new();
        let mut keys = HashSet::new();
        for asked in &subscribe.filters {
            let Ok(written) = SharedFilter::parse(asked.filter, length, levels) else {
                continue;
            };
            let key = session_key(grant, written);
            let asks = SharedFilter::parse(&key, length, levels).is_ok_and(|full| {
                let standing = judge(grant, full.filter, full.group);
                matches!(standing, Ok(Judged::Asks { .. }))
            });
            let is_known = self.heard(index, Action::Subscribe, &key, now).is_some();
            if asks && !is_known && keys.insert(Arc::clone(&key)) {
                let (about, written) = (key.as_ref().into(), asked.filter.into());
                wanted.push(Wanted { about, written });
            }
            if wanted.len() == QUESTIONS_MAX {
                break;
            }
        }
        if wanted.is_empty() {
            return false;
        }
        self.wait_for_answers(index, session_index, Action::Subscribe, wanted);
        true
    }

    /// Asks in the background whether a subscription may stay.
    pub(super) fn ask_about_subscription(&mut self, index: u32, key: &Arc<str>) {
        let ticket = self.next_ticket();
        let Some(session) = self.sessions.at(index) else {
            return;
        };
        let written = written_key(&session.grant, key);
        let question = Question::of(session, ticket, Action::Subscribe, written);
        let purpose = Purpose::Subscription {
            session: session.address,
            key: Arc::clone(key),
        };
        self.ask_for(question, purpose);
    }

    /// Whether a subscription may stay is known. Where there is no answer it does.
    pub(super) fn subscription_answered(
        &mut self,
        address: SessionAddress,
        key: &Arc<str>,
        heard: Heard,
        now: Time,
    ) {
        let Some(session) = self.sessions.get(address.index, address.generation) else {
            return;
        };
        let Some(subscription) = session.subscriptions.get(key) else {
            return;
        };
        let filter = TopicFilter::parse(subscription.filter(key), u16::MAX, u16::MAX);
        let refused = match (heard.said, filter) {
            (Said::Yes | Said::Missing, _) => return,
            (Said::No, _) => SubscribeError::HOOK,
            (Said::Own, Ok(filter)) => {
                match own(&session.grant, filter, subscription.group.as_deref()) {
                    Ok(_) => return,
                    Err(refused) => refused,
                }
            }
            (Said::Own, Err(_)) => SubscribeError::FILTER,
        };
        let ended: Arc<str> = Arc::from(subscription.filter(key));
        let change = Change::of(ChangeKind::Answer);
        let left = self.end_subscription(address.index, key, &refused, change, now);
        self.pass_on_left(address.index, left.as_slice(), now);
        self.note_lost(address.index, std::slice::from_ref(&ended));
        self.drop_unwanted(address.index, &[ended]);
    }
}

/// What a subscription's key is to the client: without the mount.
fn written_key(grant: &Grant, key: &str) -> Box<str> {
    match SharedFilter::parse(key, u16::MAX, u16::MAX) {
        Ok(shared) => {
            let full = shared.filter.as_str();
            let filter = full.strip_prefix(grant.mount()).unwrap_or(full);
            match shared.group {
                Some(group) => format!("$share/{group}/{filter}").into(),
                None => filter.into(),
            }
        }
        Err(_) => key.into(),
    }
}

/// What is decided here about a full filter that may be subscribed to, for all that is known here.
pub(super) enum Judged {
    /// It may; `checked`: each delivery must be checked.
    Granted { checked: bool },
    /// It may where somebody else says so.
    Asks { checked: bool },
}

/// Whether a full filter may be subscribed to.
pub(super) fn judge(
    grant: &Grant,
    filter: TopicFilter<'_>,
    group: Option<&str>,
) -> Result<Judged, SubscribeError> {
    // The structural check comes before any rule is asked.
    if !grant.reaches_filter(filter) {
        return Err(SubscribeError::OUTSIDE);
    }
    match grant.subscribe_or_ask(filter, group) {
        Standing::Ask { checked } => Ok(Judged::Asks { checked }),
        Standing::Decided(decision) => match decision.ruling {
            Ruling::Allow => Ok(Judged::Granted { checked: false }),
            Ruling::AllowChecked => Ok(Judged::Granted { checked: true }),
            Ruling::Deny => Err(SubscribeError::POLICY),
        },
    }
}

/// What the policy alone says of a full filter; `true`: each delivery must be checked.
pub(super) fn own(
    grant: &Grant,
    filter: TopicFilter<'_>,
    group: Option<&str>,
) -> Result<bool, SubscribeError> {
    match grant.subscribe(filter, group).ruling {
        Ruling::Allow => Ok(false),
        Ruling::AllowChecked => Ok(true),
        Ruling::Deny => Err(SubscribeError::POLICY),
    }
}
