//! Questions that somebody else answers: may this principal publish here, may it subscribe to that.
//!
//! Where a grant leaves a decision open ([`Standing::Ask`](crate::policy::Standing)) the shard asks
//! ([`Effect::Ask`](super::Effect)) and goes on with everybody else. Who is asked, and how long that
//! takes, is the shell's business; it always answers, with [`Shard::answered`].
//!
//! The packet that is asked about stays where it is, at the front of what the connection has sent,
//! and nothing behind it is read, so that the order of packets holds and nothing is kept twice. When
//! all its answers are there it is handled from its beginning, as if it had just come. A will has no
//! connection any more; it is parked until its answer comes. A subscription that a session brings
//! along is asked about in the background, again where there is no answer, and ends when it is no.
//!
//! The structural check is made before anything is asked and no answer can widen it. Called by
//! `publish`, `subscribe` and `depart`; `shard` and `turn` keep the connection's place.

use std::sync::Arc;

use hashbrown::HashMap;

use super::effect::{ConnId, Effect};
use super::park::Parked;
use super::shard::Shard;
use crate::policy::{Action, TeamId};
use crate::session::Session;
use crate::team::SessionAddress;
use crate::time::{Span, Time};

/// Most questions that one SUBSCRIBE may cause; filters beyond it are refused.
pub(super) const QUESTIONS_MAX: usize = 1024;

/// Most topics whose answers one connection remembers, and bytes of them.
const TOLD_MAX: usize = 256;
const TOLD_BYTES_MAX: usize = 64 << 10;

/// Something to ask elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Comes back with the answer. No two questions of a shard have the same.
    pub ticket: u64,
    /// Whose business it is; `None` for principals that span teams.
    pub team: Option<TeamId>,
    /// Who wants to.
    pub username: Arc<str>,
    /// From which client.
    pub client_id: Arc<str>,
    /// What it wants to do.
    pub action: Action,
    /// With what, as the client writes it: without its mount, and of a shared subscription with
    /// `$share/<group>/`.
    pub topic: Box<str>,
}

/// What came of a question, and how long that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It may.
    Yes(Span),
    /// It may not.
    No(Span),
    /// Not for them to say: the policy decides.
    Own(Span),
    /// There was no answer; it should not be asked for again before this. What was decided before
    /// holds on, and what was not is refused.
    Missing(Span),
}

/// An answer without how long it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Yes,
    No,
    Own,
    Missing,
}

/// An answer that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) said: Said,
    pub(super) until: Time,
}

/// A packet that waits for answers, or has them.
#[derive(Debug, Default)]
pub(super) struct Asking {
    /// Answers that have not come.
    open: usize,
    /// By what is asked about: a full topic, or the key of a subscription.
    heard: HashMap<Box<str>, Heard, foldhash::fast::RandomState>,
}

/// What a connection was told about topics that it published to.
#[derive(Debug, Default)]
pub(super) struct Told {
    by_topic: HashMap<Box<str>, Heard, foldhash::fast::RandomState>,
    bytes: usize,
}

/// What a question is for.
#[derive(Debug)]
pub(super) enum Purpose {
    /// A packet of this connection's, about this full topic or key.
    Packet {
        conn: ConnId,
        action: Action,
        about: Box<str>,
    },
    /// A will.
    Will(Box<Parked>),
    /// A subscription that a session brought along, by its key.
    Subscription {
        session: SessionAddress,
        key: Arc<str>,
        /// How often it had no answer.
        tries: u32,
    },
}

/// Something that a packet must know first: what it is about, and how the client writes it.
pub(super) struct Wanted {
    pub(super) about: Box<str>,
    pub(super) written: Box<str>,
}

impl Question {
    /// A question that nobody waits for.
    pub fn about(username: &str, client_id: &str, action: Action, topic: &str) -> Self {
        Self {
            ticket: 0,
            team: None,
            username: Arc::from(username),
            client_id: Arc::from(client_id),
            action,
            topic: Box::from(topic),
        }
    }

    pub(super) fn of(session: &Session, ticket: u64, action: Action, topic: Box<str>) -> Self {
        Self {
            ticket,
            team: session.grant.team().cloned(),
            username: Arc::clone(&session.key.username),
            client_id: Arc::clone(&session.key.client_id),
            action,
            topic,
        }
    }
}

impl Answer {
    pub(super) fn heard(self, now: Time) -> Heard {
        let (said, span) = match self {
            Self::Yes(span) => (Said::Yes, span),
            Self::No(span) => (Said::No, span),
            Self::Own(span) => (Said::Own, span),
            Self::Missing(span) => (Said::Missing, span),
        };
        let until = now + span;
        Heard { said, until }
    }
}

impl Asking {
    /// Whether an answer has still to come.
    pub(super) const fn is_open(&self) -> bool {
        self.open > 0
    }

    fn heard(&self, about: &str) -> Option<Heard> {
        self.heard.get(about).copied()
    }
}

impl Told {
    /// What it was told about this topic, if that still holds.
    pub(super) fn get(&self, topic: &str, now: Time) -> Option<Heard> {
        let heard = self.by_topic.get(topic)?;
        (now < heard.until).then_some(*heard)
    }

    /// Remembers an answer. Where there is none the last one holds on. Returns what is in force.
    fn learn(&mut self, topic: &str, heard: Heard) -> Heard {
        if let Some(known) = self.by_topic.get_mut(topic) {
            *known = match heard.said {
                Said::Missing => Heard {
                    until: heard.until,
                    ..*known
                },
                _ => heard,
            };
            return *known;
        }
        if self.by_topic.len() >= TOLD_MAX || self.bytes + topic.len() > TOLD_BYTES_MAX {
            self.by_topic.clear();
            self.bytes = 0;
        }
        self.bytes += topic.len();
        self.by_topic.insert(topic.into(), heard);
        heard
    }
}

impl Shard {
    /// A question was answered. Without effect where whoever asked has gone.
    pub fn answered(&mut self, ticket: u64, answer: Answer, now: Time) {
        let heard = answer.heard(now);
        match self.questions.remove(&ticket) {
            None => {}
            Some(Purpose::Packet {
                conn,
                action,
                about,
            }) => self.packet_answered(conn, action, about, heard, now),
            Some(Purpose::Will(parked)) => self.will_answered(*parked, heard, now),
            Some(Purpose::Subscription {
                session,
                key,
                tries,
            }) => self.subscription_answered(session, &key, tries, heard, now),
        }
    }

    fn packet_answered(
        &mut self,
        id: ConnId,
        action: Action,
        about: Box<str>,
        heard: Heard,
        now: Time,
    ) {
        let Some(conn) = self.conns.get_mut(id.index, id.generation) else {
            return;
        };
        let Some(asking) = conn.asking.as_mut() else {
            return;
        };
        let heard = match action {
            Action::Publish => conn.told.get_or_insert_default().learn(&about, heard),
            Action::Subscribe => heard,
        };
        asking.heard.insert(about, heard);
        asking.open = asking.open.saturating_sub(1);
        if asking.is_open() {
            return;
        }
        self.go_on_after_answers(id, now);
    }

    /// Has a connection wait until it is known what its packet wants to know. The caller returns,
    /// and is called again with the same packet.
    pub(super) fn wait_for_answers(
        &mut self,
        index: u32,
        session: u32,
        action: Action,
        wanted: Vec<Wanted>,
    ) {
        let Some(session) = self.sessions.at(session) else {
            return;
        };
        let Some((generation, conn)) = self.conns.entry_mut(index) else {
            return;
        };
        conn.asking.get_or_insert_default().open += wanted.len();
        let conn = ConnId { index, generation };
        for Wanted { about, written } in wanted {
            self.tickets += 1;
            let question = Question::of(session, self.tickets, action, written);
            let purpose = Purpose::Packet {
                conn,
                action,
                about,
            };
            self.questions.insert(self.tickets, purpose);
            self.effects.push(Effect::Ask(Box::new(question)));
        }
    }

    /// Asks for a session, in the background.
    pub(super) fn ask_for(&mut self, question: Question, purpose: Purpose) {
        self.questions.insert(question.ticket, purpose);
        self.effects.push(Effect::Ask(Box::new(question)));
    }

    /// A ticket that no question has had.
    pub(super) fn next_ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    /// Whether this connection has asked for its packet already; it is not asked for more.
    pub(super) fn has_answers(&self, conn: u32) -> bool {
        self.conns
            .at(conn)
            .is_some_and(|conn| conn.asking.is_some())
    }

    /// What this connection was told about something: with the packet in hand, or before.
    pub(super) fn heard(&self, conn: u32, action: Action, about: &str, now: Time) -> Option<Heard> {
        let conn = self.conns.at(conn)?;
        let asking = conn.asking.as_ref();
        let with_packet = asking.and_then(|asking| asking.heard(about));
        with_packet.or_else(|| match action {
            Action::Publish => conn.told.as_ref()?.get(about, now),
            Action::Subscribe => None,
        })
    }

    /// Questions that are not answered.
    pub fn open_questions(&self) -> usize {
        self.questions.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(said: Said, until: u64) -> Heard {
        let until = Time::from_micros(until);
        Heard { said, until }
    }

    #[test]
    fn where_there_is_no_answer_the_last_one_holds_on() {
        let mut told = Told::default();
        let now = Time::from_micros;
        assert_eq!(told.learn("a", heard(Said::Yes, 10)), heard(Said::Yes, 10));
        assert_eq!(told.get("a", now(9)), Some(heard(Said::Yes, 10)));
        assert_eq!(told.get("a", now(10)), None, "to be asked again");
        assert_eq!(
            told.learn("a", heard(Said::Missing, 20)),
            heard(Said::Yes, 20)
        );
        assert_eq!(told.get("a", now(19)), Some(heard(Said::Yes, 20)));
        assert_eq!(told.learn("a", heard(Said::No, 30)), heard(Said::No, 30));
        let never = heard(Said::Missing, 5);
        assert_eq!(told.learn("b", never), never);
    }

    #[test]
    fn a_connection_remembers_so_much_and_no_more() {
        let mut told = Told::default();
        for topic in 0..10 * TOLD_MAX {
            told.learn(&format!("{topic}"), heard(Said::Yes, 1));
            assert!(told.by_topic.len() <= TOLD_MAX);
        }
        let long = "x".repeat(TOLD_BYTES_MAX / 10);
        for topic in 0..100 {
            told.learn(&format!("{long}{topic}"), heard(Said::Yes, 1));
            let bytes: usize = told.by_topic.keys().map(|topic| topic.len()).sum();
            assert_eq!(bytes, told.bytes);
            assert!(bytes <= TOLD_BYTES_MAX);
        }
    }
}
