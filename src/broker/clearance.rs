//! Whether a session may publish to a topic: by the policy, or by what somebody else says. Called by
//! `publish`, before a packet is handled and when it is, and by `park` for wills.

use std::sync::Arc;

use super::ask::{Said, Wanted};
use super::publish::PublishError;
use super::shard::Shard;
use crate::policy::{Action, Ask, Grant, Owner, Standing, TeamId};
use crate::session::Session;
use crate::team::Team;
use crate::time::Time;
use crate::topic::TopicName;

impl Shard {
    /// Whether somebody else must be asked before this can be published; then they are, and the
    /// packet waits.
    pub(super) fn asks_first(
        &mut self,
        index: u32,
        session_index: u32,
        written: &str,
        now: Time,
    ) -> bool {
        let (Some(conn), Some(session)) = (self.conns.at(index), self.sessions.at(session_index))
        else {
            return false;
        };
        let grant = &session.grant;
        if grant.ask() == Ask::Never {
            return false;
        }
        let recent = conn.recent.get(written, grant.generation(), now);
        if recent.is_some_and(|routed| self.is_current(&routed)) {
            return false;
        }
        let topic = format!("{}{written}", grant.mount());
        let asks = full_name(session, &topic).is_ok_and(|name| {
            grant.reaches(name) && matches!(grant.publish_or_ask(name), Standing::Ask { .. })
        });
        if !asks || self.heard(index, Action::Publish, &topic, now).is_some() {
            return false;
        }
        let wanted = Wanted {
            about: topic.into(),
            written: written.into(),
        };
        self.wait_for_answers(index, session_index, Action::Publish, vec![wanted]);
        true
    }

    /// Whether a session may publish to a full topic: the compartment that it belongs to, and until
    /// when that holds.
    pub(super) fn may_publish(
        &self,
        conn: u32,
        session: &Session,
        topic: &str,
        now: Time,
    ) -> Result<(Arc<Team>, Time), PublishError> {
        let name = full_name(session, topic)?;
        let grant = &session.grant;
        // The structural check: before any rule is asked, so that no rule can be wrong about it.
        if !grant.reaches(name) {
            return Err(PublishError::OUTSIDE);
        }
        let until = match grant.publish_or_ask(name) {
            Standing::Decided(decision) if decision.is_allow() => Time::NEVER,
            Standing::Decided(_) => return Err(PublishError::POLICY),
            Standing::Ask { .. } => {
                let heard = self.heard(conn, Action::Publish, topic, now);
                let heard = heard.ok_or(PublishError::UNANSWERED)?;
                match heard.said {
                    Said::Yes => heard.until,
                    Said::Own if grant.publish(name).is_allow() => heard.until,
                    Said::Own => return Err(PublishError::POLICY),
                    Said::No => return Err(PublishError::HOOK),
                    Said::Missing => return Err(PublishError::UNANSWERED),
                }
            }
        };
        let team = self.compartment_of(grant, &session.team, topic)?;
        Ok((team, until))
    }

    /// The compartment that a full topic belongs to, which the grant reaches; `own` is that of its
    /// principal.
    pub(super) fn compartment_of(
        &self,
        grant: &Grant,
        own: &Arc<Team>,
        topic: &str,
    ) -> Result<Arc<Team>, PublishError> {
        if grant.team().is_some() && topic.starts_with(grant.root()) {
            return Ok(Arc::clone(own));
        }
        let name = TopicName::parse(topic, u16::MAX, u16::MAX).map_err(|_| PublishError::TOPIC)?;
        Ok(match self.world.namespace().owner_of(name) {
            Owner::Team(id) => match TeamId::new(id) {
                Some(id) => self.world.team(&id, &self.world.namespace().root(&id)),
                None => return Err(PublishError::OUTSIDE),
            },
            Owner::Commons(_) | Owner::Spanning | Owner::Outside => {
                Arc::clone(self.world.commons())
            }
        })
    }
}

/// A full topic within the session's limits.
fn full_name<'t>(session: &Session, topic: &'t str) -> Result<TopicName<'t>, PublishError> {
    let limits = &session.limits;
    TopicName::parse(topic, limits.max_topic_length, limits.max_topic_levels)
        .map_err(|_| PublishError::TOPIC)
}
