//! Who answers the shards' questions: at once, as the test says, or when it says.

use std::collections::VecDeque;

use super::Cluster;
use cofferdam::broker::{Answer, Question};
use cofferdam::policy::{Action, Ask};
use cofferdam::time::Span;

/// A question that waits for the test's answer.
pub struct HeldQuestion {
    pub shard: u16,
    pub question: Box<Question>,
}

type Opinion = Box<dyn Fn(&Question) -> Answer>;

/// Answers, or keeps questions.
pub(super) struct Oracle {
    opinion: Opinion,
    holds: bool,
    held: VecDeque<HeldQuestion>,
    asked: Vec<Question>,
    pub(super) reported: Vec<Question>,
}

impl Default for Oracle {
    fn default() -> Self {
        Self {
            opinion: Box::new(|question| panic!("nobody should ask: {question:?}")),
            holds: false,
            held: VecDeque::new(),
            asked: Vec::new(),
            reported: Vec::new(),
        }
    }
}

impl Oracle {
    /// A question, and its answer where it is not held.
    pub(super) fn hear(&mut self, held: HeldQuestion) -> Option<(HeldQuestion, Answer)> {
        self.asked.push(held.question.as_ref().clone());
        if self.holds {
            self.held.push_back(held);
            return None;
        }
        let answer = (self.opinion)(&held.question);
        Some((held, answer))
    }
}

/// `alice@alpha publish a/b`.
pub fn as_text(question: &Question) -> String {
    let Question {
        username,
        action,
        topic,
        ..
    } = question;
    format!("{username} {} {topic}", action.as_str())
}

impl Cluster {
    /// From now on those who log in are asked about.
    pub fn ask(&self, ask: Ask, opinion: impl Fn(&Question) -> Answer + 'static) {
        self.directory().ask = ask;
        self.opinion(opinion);
    }

    /// Nothing is known any more of those who log in but their usernames.
    pub fn know_names_only(&self) {
        self.directory().by_name_only = true;
    }

    /// What is answered from now on.
    pub fn opinion(&self, opinion: impl Fn(&Question) -> Answer + 'static) {
        self.net.borrow_mut().oracle.opinion = Box::new(opinion);
    }

    /// From now on questions wait for [`reply`](Self::reply).
    pub fn hold_questions(&self) {
        self.net.borrow_mut().oracle.holds = true;
    }

    /// The question that has waited longest.
    pub fn next_question(&self) -> HeldQuestion {
        let held = self.net.borrow_mut().oracle.held.pop_front();
        held.expect("a question that waits")
    }

    /// All questions that wait.
    pub fn held_questions(&self) -> Vec<HeldQuestion> {
        self.net.borrow_mut().oracle.held.drain(..).collect()
    }

    /// The answer to a question that was held.
    pub fn reply(&self, held: &HeldQuestion, answer: Answer) {
        let mut net = self.net.borrow_mut();
        net.answer(held, answer);
        net.run();
    }

    /// What was asked since the last call, as [`as_text`] has it.
    pub fn asked(&self) -> Vec<String> {
        let asked = std::mem::take(&mut self.net.borrow_mut().oracle.asked);
        asked.iter().map(as_text).collect()
    }

    /// What was reported since the last call.
    pub fn reported(&self) -> Vec<String> {
        let reported = std::mem::take(&mut self.net.borrow_mut().oracle.reported);
        reported.iter().map(as_text).collect()
    }

    /// Questions that no shard has an answer to.
    pub fn open_questions(&self) -> usize {
        let net = self.net.borrow();
        net.shards.iter().map(|shard| shard.open_questions()).sum()
    }
}

/// A yes for a minute.
pub const YES: Answer = Answer::Yes(Span::from_secs(60));
/// A no for ten seconds.
pub const NO: Answer = Answer::No(Span::from_secs(10));
/// Not theirs to say.
pub const OWN: Answer = Answer::Own(Span::from_secs(10));
/// No answer, and none before a second has passed.
pub const MISSING: Answer = Answer::Missing(Span::from_secs(1));

/// Whether it is about publishing.
pub fn is_publish(question: &Question) -> bool {
    question.action == Action::Publish
}
