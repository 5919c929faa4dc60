//! Whether a session may publish to a topic: by the policy, or by what somebody else says. Called by
//! `publish`, before a packet is handled and when it is, and by `park` for wills.

use std::sync::Arc;

use super::ask::{Said, Wanted};
use super::publish::PublishError;
use super::recent::Conditions;
use super::shard::Shard;
use crate::policy::{Action, Ask, Standing};
use crate::session::Session;
use crate::team::Team;
use crate::time::Time;
use crate::topic::TopicName;

impl Shard {
    /// What a decision depends on besides the grant.
    pub(super) fn conditions(&self, session: &Session) -> Conditions {
        Conditions {
            members: session.grant.generation(),
            round: self.observation.round(),
        }
    }

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
        let recent = conn.recent.get(written, self.conditions(session), now);
        if recent.is_some_and(|(routed, _)| self.is_current(&routed)) {
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
        let team = self.world.owner(&session.team, name);
        Ok((team.ok_or(PublishError::OUTSIDE)?, until))
    }
}

/// A full topic within the session's limits.
fn full_name<'t>(session: &Session, topic: &'t str) -> Result<TopicName<'t>, PublishError> {
    let limits = &session.limits;
    TopicName::parse(topic, limits.max_topic_length, limits.max_topic_levels)
        .map_err(|_| PublishError::TOPIC)
}
