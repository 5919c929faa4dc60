//! What stands on a shard, read page by page for whoever asks about it from outside.
//!
//! Called by the shell for the control API, between two turns. A page is small, so that the shard
//! goes on in between; what was read is judged elsewhere.

use std::sync::Arc;

use super::shard::Shard;
use crate::policy::{Grant, TeamId};
use crate::session::{Peer, Session};
use crate::team::SessionKey;

/// Places of the shard's table that one page looks at, at most.
const PLACES_MAX: u32 = 4_096;
/// Texts (subscriptions and topics) after which a page ends.
const TEXTS_MAX: usize = 4_096;

/// Which sessions are wanted; what is `None` asks for nothing.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Of this client identifier.
    pub client_id: Option<Box<str>>,
    /// Of this team.
    pub team: Option<TeamId>,
    /// Only those that are connected.
    pub connected: bool,
}

/// One session as it stands.
#[derive(Clone, Debug)]
pub struct Found {
    /// Whose.
    pub key: SessionKey,
    /// The grant in force.
    pub grant: Arc<Grant>,
    /// Where it is connected from, or was last.
    pub peer: Peer,
    /// Whether it is connected now.
    pub connected: bool,
    /// Its subscriptions: full filters, with `$share/<group>/` before them where they are shared.
    pub subscriptions: Vec<Arc<str>>,
    /// The topics that it was last allowed to publish to, as the client wrote them.
    pub published: Vec<Box<str>>,
}

/// Some of a shard's sessions.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Those that were wanted.
    pub sessions: Vec<Found>,
    /// Where the next page begins; `None`: this is the last.
    pub next: Option<u32>,
}

impl Shard {
    /// The wanted sessions from place `from` on; 0 is the first.
    pub fn survey(&self, from: u32, wanted: &Wanted) -> Page {
        let mut page = Page::default();
        let (mut place, mut texts) = (from, 0);
        while place < self.sessions.end() {
            if place - from >= PLACES_MAX || texts >= TEXTS_MAX {
                page.next = Some(place);
                break;
            }
            if let Some(session) = self.sessions.at(place).filter(|it| wanted.is(it)) {
                let found = self.found(session);
                texts += 1 + found.subscriptions.len() + found.published.len();
                page.sessions.push(found);
            }
            place += 1;
        }
        page
    }

    fn found(&self, session: &Session) -> Found {
        let conn = session.conn.and_then(|conn| self.conns.at(conn));
        let published = conn.map(|conn| conn.recent.topics().map(Box::from).collect());
        Found {
            key: session.key.clone(),
            grant: Arc::clone(&session.grant),
            peer: session.peer.clone(),
            connected: session.conn.is_some(),
            subscriptions: session.subscriptions.keys().cloned().collect(),
            published: published.unwrap_or_default(),
        }
    }
}

impl Wanted {
    fn is(&self, session: &Session) -> bool {
        let id = self.client_id.as_deref();
        (!self.connected || session.conn.is_some())
            && id.is_none_or(|id| *session.key.client_id == *id)
            && (self.team.as_ref()).is_none_or(|team| session.grant.team() == Some(team))
    }
}
