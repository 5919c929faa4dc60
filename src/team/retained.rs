//! The retained messages of one team, ordered by topic.
//!
//! An ordered map serves a filter by walking the range under its literal prefix and, where a level
//! does not match, skipping to the next that can; it can stop anywhere and go on later from the
//! last topic, which is how a large set is handed to a client without ever queueing it whole.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use super::message::Message;
use crate::time::{Span, Time};
use crate::topic::{TopicFilter, TopicName};

/// Retained messages by topic.
#[derive(Debug)]
pub struct Retained {
    by_topic: BTreeSet<ByTopic>,
    bytes: u64,
    /// None of them expires earlier; [`Time::NEVER`] where none does.
    earliest_expiry: Time,
    /// When they may next be searched for what has expired.
    next_search: Time,
}

/// How often full ones are searched for what has expired: there can be many.
const SEARCH_EVERY: Span = Span::from_secs(1);

/// The team's limit on retained messages or bytes would be passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetainedFull;

/// What a walk over the retained messages came to.
#[derive(Clone, Debug)]
pub enum Walk {
    /// The next match.
    Found(Arc<Message>),
    /// Nothing matches after where the walk began.
    End,
    /// The steps are used up; nothing up to this topic matches.
    GoOn(Box<str>),
}

/// A message that compares by its topic.
#[derive(Debug)]
struct ByTopic(Arc<Message>);

impl PartialEq for ByTopic {
    fn eq(&self, other: &Self) -> bool {
        self.0.topic() == other.0.topic()
    }
}

impl Eq for ByTopic {}

impl PartialOrd for ByTopic {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByTopic {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.topic().cmp(other.0.topic())
    }
}

impl Borrow<str> for ByTopic {
    fn borrow(&self) -> &str {
        self.0.topic()
    }
}

impl Default for Retained {
    fn default() -> Self {
        Self {
            by_topic: BTreeSet::new(),
            bytes: 0,
            earliest_expiry: Time::NEVER,
            next_search: Time::EPOCH,
        }
    }
}

impl Retained {
    /// Number of messages.
    pub fn len(&self) -> usize {
        self.by_topic.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_topic.is_empty()
    }

    /// The messages, in the order of their topics.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Message>> {
        self.by_topic.iter().map(|kept| &kept.0)
    }

    /// Bytes of topics, properties and payloads.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Keeps `message` as its topic's retained message. Where there is no room, those that have
    /// expired by `now` make it; they are added to `gone`, whatever comes of it.
    ///
    /// # Errors
    /// [`RetainedFull`] where that would pass a limit; what was retained and has not expired stays.
    pub fn set(
        &mut self,
        message: Arc<Message>,
        max: u32,
        max_bytes: u64,
        now: Time,
        gone: &mut Vec<Arc<Message>>,
    ) -> Result<(), RetainedFull> {
        let mut room = self.room(&message, max, max_bytes);
        if room.is_err() && self.forget_expired(now, gone) {
            room = self.room(&message, max, max_bytes);
        }
        self.bytes = room?;
        self.earliest_expiry = self.earliest_expiry.min(message.expires);
        self.by_topic.replace(ByTopic(message));
        Ok(())
    }

    /// The bytes that there would be with `message`.
    fn room(&self, message: &Message, max: u32, max_bytes: u64) -> Result<u64, RetainedFull> {
        let old = self
            .by_topic
            .get(message.topic())
            .map(|old| old.0.size() as u64);
        let count = self.by_topic.len() + usize::from(old.is_none());
        let bytes = self.bytes - old.unwrap_or(0) + message.size() as u64;
        if count > max as usize || bytes > max_bytes {
            return Err(RetainedFull);
        }
        Ok(bytes)
    }

    /// Moves what has expired to `gone`, as far as it is time to search again. Says whether it
    /// searched.
    fn forget_expired(&mut self, now: Time, gone: &mut Vec<Arc<Message>>) -> bool {
        if now < self.earliest_expiry.max(self.next_search) {
            return false;
        }
        let expired = self.by_topic.extract_if(.., |kept| kept.0.expires <= now);
        gone.extend(expired.map(|kept| kept.0));
        let left = self.by_topic.iter().map(|kept| &kept.0);
        self.bytes = left.clone().map(|message| message.size() as u64).sum();
        self.earliest_expiry = left
            .map(|message| message.expires)
            .min()
            .unwrap_or(Time::NEVER);
        self.next_search = now + SEARCH_EVERY;
        true
    }

    /// Forgets the topic's retained message. Says whether there was one.
    pub fn clear(&mut self, topic: &str) -> bool {
        match self.by_topic.take(topic) {
            Some(old) => {
                self.bytes -= old.0.size() as u64;
                true
            }
            None => false,
        }
    }

    /// Forgets `message`, unless another has taken its topic's place. Says whether it was there.
    pub fn clear_if(&mut self, message: &Arc<Message>) -> bool {
        let there = self.by_topic.get(message.topic());
        there.is_some_and(|kept| Arc::ptr_eq(&kept.0, message)) && self.clear(message.topic())
    }

    /// Forgets the first `count` messages, and returns them.
    pub fn clear_some(&mut self, count: usize) -> Vec<Arc<Message>> {
        let gone = std::iter::from_fn(|| self.by_topic.pop_first()).take(count);
        let gone: Vec<_> = gone.map(|kept| kept.0).collect();
        self.bytes -= gone
            .iter()
            .map(|message| message.size() as u64)
            .sum::<u64>();
        gone
    }

    /// Keeps a message that was kept before, whatever the limits are now.
    pub fn restore(&mut self, message: Arc<Message>) {
        self.bytes += message.size() as u64;
        self.earliest_expiry = self.earliest_expiry.min(message.expires);
        if let Some(old) = self.by_topic.replace(ByTopic(message)) {
            self.bytes -= old.0.size() as u64;
        }
    }

    /// The first match of `filter` after the topic `after` (from the beginning: `None`). Each topic
    /// that is looked at is taken off `steps`, and at least one is; when there are no more, the walk
    /// stops wherever it is, so that nobody holds the team's lock for long.
    pub fn next_match(
        &self,
        filter: TopicFilter<'_>,
        after: Option<&str>,
        steps: &mut u32,
    ) -> Walk {
        let literal = literal_prefix(filter.as_str());
        let mut from = match after {
            Some(topic) if topic >= literal => Bound::Excluded(topic.to_owned()),
            _ => Bound::Included(literal.to_owned()),
        };
        loop {
            let range = (from.as_ref().map(String::as_str), Bound::Unbounded);
            *steps = steps.saturating_sub(1);
            let Some(ByTopic(found)) = self.by_topic.range::<str, _>(range).next() else {
                return Walk::End;
            };
            let topic = found.topic();
            if !topic.starts_with(literal) {
                return Walk::End;
            }
            if TopicName::parse(topic, u16::MAX, u16::MAX).is_ok_and(|name| filter.matches(name)) {
                return Walk::Found(Arc::clone(found));
            }
            let Some(next) = skip_past(filter.as_str(), topic) else {
                return Walk::End;
            };
            if *steps == 0 {
                return Walk::GoOn(topic.into());
            }
            from = next;
        }
    }
}

/// What every match begins with: the text before the first wildcard, without the slash before a
/// final `#`, which matches the parent level as well.
fn literal_prefix(filter: &str) -> &str {
    let literal = &filter[..filter.find(['+', '#']).unwrap_or(filter.len())];
    match filter[literal.len()..].starts_with('#') {
        true => literal.strip_suffix('/').unwrap_or(literal),
        false => literal,
    }
}

/// The next place where a match can be, given that `topic` is none; `None`: nowhere.
///
/// Topics are ordered by their bytes, so those below one level are together, but `a-b` stands
/// between `a` and `a/b`.
fn skip_past(filter: &str, topic: &str) -> Option<Bound<String>> {
    let mut start = 0;
    let mut wanted = filter.split('/');
    for level in topic.split('/') {
        match wanted.next() {
            Some(w) if w == "+" || w == level => {}
            Some(w) => {
                let exact = format!("{}{w}", &topic[..start]);
                let below = format!("{exact}/");
                return if *exact > *topic {
                    Some(Bound::Included(exact))
                } else if *below > *topic {
                    Some(Bound::Included(below))
                } else {
                    past_all_below(&topic[..start])
                };
            }
            None => return past_all_below(&topic[..start]),
        }
        start += level.len() + 1;
    }
    Some(Bound::Excluded(topic.to_owned()))
}

/// Past every topic that begins with `parent`, which ends with `/` or is empty.
fn past_all_below(parent: &str) -> Option<Bound<String>> {
    let parent = parent.strip_suffix('/')?;
    Some(Bound::Included(format!("{parent}0"))) // `0` is the character after `/`
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::team::message::{MessageNumber, MessageView};
    use crate::team::registry::SessionAddress;
    use crate::wire::QoS;
    use proptest::prelude::*;

    fn message(topic: &str, payload: &[u8]) -> Arc<Message> {
        let view = MessageView {
            topic,
            passed_on: &[],
            response_topic: None,
            payload,
            qos: QoS::AtMostOnce,
            retain: true,
            expires: Time::NEVER,
            publisher: SessionAddress::NOBODY,
        };
        Arc::new(view.keep(MessageNumber(0)))
    }

    /// The topics that a walk finds which stops after so many steps and goes on.
    fn walk(retained: &Retained, filter: &str, at_a_time: u32) -> Vec<String> {
        let filter = TopicFilter::parse(filter, u16::MAX, u16::MAX).expect("a valid filter");
        let mut all: Vec<String> = Vec::new();
        let mut after: Option<Box<str>> = None;
        loop {
            let mut steps = at_a_time;
            after = match retained.next_match(filter, after.as_deref(), &mut steps) {
                Walk::End => return all,
                Walk::GoOn(topic) => {
                    assert_eq!(steps, 0);
                    Some(topic)
                }
                Walk::Found(message) => {
                    all.push(message.topic().to_owned());
                    Some(message.topic().into())
                }
            };
        }
    }

    #[test]
    fn a_walk_that_finds_nothing_stops_when_its_steps_are_used_up() {
        let mut retained = Retained::default();
        for i in 0..100 {
            let message = message(&format!("r{i:02}/a"), b"1");
            retained
                .set(message, 100, 1000, Time::EPOCH, &mut Vec::new())
                .expect("within limits");
        }
        let filter = TopicFilter::parse("+/z", 64, 8).expect("a valid filter");
        let (mut after, mut calls) = (None, 0);
        loop {
            calls += 1;
            match retained.next_match(filter, after.as_deref(), &mut 10) {
                Walk::GoOn(topic) => after = Some(topic),
                Walk::End => break,
                Walk::Found(message) => panic!("{message:?}"),
            }
        }
        // To skip from one topic to the next can take two steps.
        assert!((11..=21).contains(&calls), "{calls}");
    }

    #[test]
    fn a_limit_refuses_and_keeps_what_was_there() {
        let mut retained = Retained::default();
        assert_eq!(
            retained.set(message("a", b"12"), 1, 5, Time::EPOCH, &mut Vec::new()),
            Ok(())
        );
        assert_eq!(
            retained.set(message("b", b""), 1, 5, Time::EPOCH, &mut Vec::new()),
            Err(RetainedFull)
        );
        assert_eq!(
            retained.set(message("a", b"12345"), 1, 5, Time::EPOCH, &mut Vec::new()),
            Err(RetainedFull)
        );
        assert_eq!(
            retained.set(message("a", b"1234"), 1, 5, Time::EPOCH, &mut Vec::new()),
            Ok(())
        );
        assert_eq!((retained.len(), retained.bytes()), (1, 5));
        assert!(retained.clear("a"));
        assert!(!retained.clear("a"));
        assert_eq!((retained.len(), retained.bytes()), (0, 0));
    }

    fn levels(last: Vec<&'static str>) -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(last), 1..5).prop_map(|levels| levels.join("/"))
    }

    proptest! {
        #[test]
        fn walking_a_filter_visits_every_match_once_and_in_order(
            topics in prop::collection::btree_set(levels(vec!["a", "a-", "a0", "b", ""]), 0..60),
            filter in levels(vec!["a", "a-", "b", "", "+", "+"]),
            rest in any::<bool>(),
            at_a_time in 1u32..5,
        ) {
            let filter = if rest { format!("{filter}/#") } else { filter };
            prop_assume!(!filter.is_empty());
            let mut retained = Retained::default();
            for topic in topics.iter().filter(|topic| !topic.is_empty()) {
                retained.set(message(topic, b""), u32::MAX, u64::MAX, Time::EPOCH, &mut Vec::new()).expect("within limits");
            }
            let parsed = TopicFilter::parse(&filter, u16::MAX, u16::MAX).expect("a valid filter");
            let scan: Vec<String> = topics
                .iter()
                .filter(|topic| {
                    TopicName::parse(topic, u16::MAX, u16::MAX).is_ok_and(|name| parsed.matches(name))
                })
                .cloned()
                .collect();
            prop_assert_eq!(walk(&retained, &filter, at_a_time), scan);
        }
    }
}
