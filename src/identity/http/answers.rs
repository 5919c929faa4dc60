//! What the hook said about topics, for a while; and who waits for what it is being asked.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::contract::Said;
use crate::broker::Question;
use crate::policy::Action;

/// Most bytes of the questions whose answers are remembered.
const BYTES_MAX: usize = 64 << 20;

/// What one answer is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    username: Arc<str>,
    /// Where the contract asks about it.
    client_id: Option<Arc<str>>,
    action: Action,
    topic: Box<str>,
}

/// A bounded memory in two generations: when the younger is full the older is forgotten, and what is
/// asked for moves to the younger.
#[derive(Debug)]
pub(super) struct Answers {
    state: Mutex<State>,
    yes: Duration,
    no: Duration,
    /// Entries, and bytes, of one generation.
    entries: usize,
}

#[derive(Debug, Default)]
struct State {
    young: HashMap<Key, Kept>,
    old: HashMap<Key, Kept>,
    /// Of the younger.
    bytes: usize,
    /// Who waits for an answer that is on its way.
    asked: HashMap<Key, Vec<oneshot::Sender<Option<Said>>>>,
}

#[derive(Clone, Copy, Debug)]
struct Kept {
    said: Said,
    until: Instant,
}

/// A question on its way. However that ends, nobody is left waiting.
pub(super) struct Asking {
    answers: Arc<Answers>,
    key: Option<Key>,
}

/// What is known of a question.
#[derive(Debug)]
pub(super) enum Found {
    /// This was said, and holds for so long.
    Known(Said, Duration),
    /// It is being asked: the answer comes here.
    Asked(oneshot::Receiver<Option<Said>>),
    /// Nothing: whoever gets this asks, and tells [`Answers::learn`]. The answer comes here too.
    Unknown(oneshot::Receiver<Option<Said>>),
}

impl Key {
    pub(super) fn of(question: &Question, with_client_id: bool) -> Self {
        Self {
            username: Arc::clone(&question.username),
            client_id: with_client_id.then(|| Arc::clone(&question.client_id)),
            action: question.action,
            topic: question.topic.clone(),
        }
    }

    fn size(&self) -> usize {
        let client_id = self.client_id.as_ref().map_or(0, |id| id.len());
        size_of::<(Self, Kept)>() + self.username.len() + client_id + self.topic.len()
    }
}

impl Answers {
    /// Remembers a yes and a no for so long, and so many of them.
    pub(super) fn new(yes: Duration, no: Duration, entries: usize) -> Self {
        Self {
            state: Mutex::default(),
            yes,
            no,
            entries: (entries / 2).max(1),
        }
    }

    pub(super) fn find(&self, key: &Key, now: Instant) -> Found {
        let mut state = self.state.lock();
        if let Some(kept) = state.recall(key, self.entries)
            && kept.until > now
        {
            return Found::Known(kept.said, kept.until - now);
        }
        let (sender, receiver) = oneshot::channel();
        match state.asked.get_mut(key) {
            Some(waiting) => {
                waiting.push(sender);
                Found::Asked(receiver)
            }
            None => {
                state.asked.insert(key.clone(), vec![sender]);
                Found::Unknown(receiver)
            }
        }
    }

    /// Whether an answer is remembered.
    pub(super) fn knows(&self, key: &Key, now: Instant) -> bool {
        let kept = self.state.lock().recall(key, self.entries);
        kept.is_some_and(|kept| kept.until > now)
    }

    /// The answer has come, or none: everyone who waits is told, and what was said is remembered.
    pub(super) fn learn(&self, key: Key, said: Option<Said>, now: Instant) {
        let lifetime = self.lifetime(said);
        let mut state = self.state.lock();
        let waiting = state.asked.remove(&key).unwrap_or_default();
        if let Some(said) = said
            && !lifetime.is_zero()
        {
            let until = now + lifetime;
            state.keep(key, Kept { said, until }, self.entries);
        }
        drop(state);
        for waiting in waiting {
            // Whoever is gone needs nothing any more.
            let _ = waiting.send(said);
        }
    }

    /// How long an answer holds from when it is given.
    pub(super) fn lifetime(&self, said: Option<Said>) -> Duration {
        match said {
            Some(Said::Yes) => self.yes,
            Some(Said::No | Said::Own) => self.no,
            None => Duration::ZERO,
        }
    }
}

impl Asking {
    pub(super) fn new(answers: Arc<Answers>, key: Key) -> Self {
        Self {
            answers,
            key: Some(key),
        }
    }

    /// The answer, or none.
    pub(super) fn ends(mut self, said: Option<Said>) {
        if let Some(key) = self.key.take() {
            self.answers.learn(key, said, Instant::now());
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.answers.learn(key, None, Instant::now());
        }
    }
}

impl State {
    fn recall(&mut self, key: &Key, entries: usize) -> Option<Kept> {
        if let Some(kept) = self.young.get(key) {
            return Some(*kept);
        }
        let (key, kept) = self.old.remove_entry(key)?;
        self.keep(key, kept, entries);
        Some(kept)
    }

    fn keep(&mut self, key: Key, kept: Kept, entries: usize) {
        if self.young.len() >= entries || self.bytes >= BYTES_MAX / 2 {
            self.old = mem::take(&mut self.young);
            self.bytes = 0;
        }
        let size = key.size();
        if self.young.insert(key, kept).is_none() {
            self.bytes += size;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YES: Duration = Duration::from_secs(60);
    const NO: Duration = Duration::from_secs(10);

    fn key(topic: &str) -> Key {
        Key::of(&Question::about("u@t", "c", Action::Publish, topic), false)
    }

    fn known(answers: &Answers, topic: &str, now: Instant) -> Option<(Said, u64)> {
        match answers.find(&key(topic), now) {
            Found::Known(said, left) => Some((said, left.as_secs())),
            Found::Unknown(_) | Found::Asked(_) => {
                answers.learn(key(topic), None, now);
                None
            }
        }
    }

    #[test]
    fn a_no_is_remembered_more_briefly_than_a_yes_and_a_missing_answer_not_at_all() {
        let (answers, now) = (Answers::new(YES, NO, 100), Instant::now());
        for (topic, said) in [("yes", Said::Yes), ("no", Said::No), ("own", Said::Own)] {
            answers.learn(key(topic), Some(said), now);
        }
        answers.learn(key("missing"), None, now);
        assert_eq!(known(&answers, "yes", now), Some((Said::Yes, 60)));
        assert_eq!(known(&answers, "no", now), Some((Said::No, 10)));
        assert_eq!(known(&answers, "own", now), Some((Said::Own, 10)));
        assert_eq!(known(&answers, "missing", now), None);
        let now = now + NO;
        assert_eq!(known(&answers, "yes", now), Some((Said::Yes, 50)));
        assert_eq!(known(&answers, "no", now), None);
        let now = now + (YES - NO);
        assert_eq!(known(&answers, "yes", now), None);
    }

    #[tokio::test]
    async fn equal_questions_at_the_same_time_are_asked_once_and_all_hear_the_answer() {
        let answers = Answers::new(YES, NO, 100);
        let Found::Unknown(first) = answers.find(&key("a"), Instant::now()) else {
            panic!("nobody asked before");
        };
        let Found::Asked(second) = answers.find(&key("a"), Instant::now()) else {
            panic!("it is being asked");
        };
        assert!(
            matches!(answers.find(&key("b"), Instant::now()), Found::Unknown(_)),
            "another question"
        );
        answers.learn(key("a"), Some(Said::No), Instant::now());
        assert_eq!(first.await, Ok(Some(Said::No)));
        assert_eq!(second.await, Ok(Some(Said::No)));
    }

    #[tokio::test]
    async fn a_question_that_comes_to_nothing_leaves_nobody_waiting() {
        let answers = Arc::new(Answers::new(YES, NO, 100));
        let Found::Unknown(waiting) = answers.find(&key("a"), Instant::now()) else {
            panic!("nobody asked before");
        };
        drop(Asking::new(Arc::clone(&answers), key("a")));
        assert_eq!(waiting.await, Ok(None));
        assert!(matches!(
            answers.find(&key("a"), Instant::now()),
            Found::Unknown(_)
        ));
    }

    #[test]
    fn what_is_used_stays_and_the_rest_is_forgotten() {
        let (answers, now) = (Answers::new(YES, NO, 100), Instant::now());
        answers.learn(key("daily"), Some(Said::Yes), now);
        for other in 0..10_000 {
            answers.learn(key(&format!("topic {other}")), Some(Said::Yes), now);
            assert!(
                known(&answers, "daily", now).is_some(),
                "after {other} others"
            );
            let state = answers.state.lock();
            assert!(state.young.len() + state.old.len() <= 100);
        }
        assert!(known(&answers, "topic 0", now).is_none());
        let long = "x".repeat(60_000);
        let answers = Answers::new(YES, NO, 1_000_000);
        for other in 0..1500 {
            answers.learn(key(&format!("{long}{other}")), Some(Said::Yes), now);
        }
        let state = answers.state.lock();
        let bytes = state.young.keys().chain(state.old.keys()).map(Key::size);
        assert!(bytes.sum::<usize>() <= BYTES_MAX + 2 * 61_000);
    }

    #[test]
    fn with_a_contract_that_asks_about_them_client_ids_have_their_own_answers() {
        let question = |id| Question::about("u@t", id, Action::Publish, "a");
        assert_eq!(
            Key::of(&question("1"), false),
            Key::of(&question("2"), false)
        );
        assert_ne!(Key::of(&question("1"), true), Key::of(&question("2"), true));
    }
}
