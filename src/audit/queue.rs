//! The events that wait for the writer, and the counts of those that found no room.
//!
//! Refusals have a quarter of the room and never more, so that a connect or a disconnect does not
//! lose its place to them; and no team has more of either part than it leaves free.

use std::collections::{HashMap, VecDeque};

use super::budget::Budget;
use super::fold::Folded;
use super::record::Record;
use crate::broker::{Event, EventKind, Who};
use crate::policy::TeamId;
use crate::time::Time;

/// The share of refusals: one part in so many.
const REFUSALS: usize = 4;

/// Most administrative records that wait: people make them, one by one.
const NOTES_MAX: usize = 1_024;

/// What waits, in order.
#[derive(Debug)]
pub(super) struct Queue {
    entries: VecDeque<Entry>,
    refusals: Budget,
    others: Budget,
    /// Administrative records among the entries.
    notes: usize,
    /// By team; of teams that have lost something.
    gaps: HashMap<Option<TeamId>, Gap>,
    /// Entries that were ever queued, and those of them that were taken out.
    pushed: u64,
    popped: u64,
    /// So many entries somebody waits for; 0: nobody does.
    awaited: usize,
    closed: bool,
}

/// What waits in the queue.
#[derive(Debug)]
pub(super) enum Entry {
    Event(Box<Event>),
    Folded(Box<Folded>),
    /// Of an administrative change that has no transaction of its own.
    Note(Box<Record>),
    Gap(Gap),
}

/// Events of one team that had to be left out.
#[derive(Clone, Debug)]
pub(super) struct Gap {
    pub(super) team: Option<TeamId>,
    pub(super) count: u64,
    pub(super) first: Time,
    pub(super) last: Time,
}

impl Queue {
    pub(super) fn new(events: usize, bytes: usize) -> Self {
        let refusals = Budget::new(events / REFUSALS, bytes / REFUSALS);
        let others = Budget::new(events - events / REFUSALS, bytes - bytes / REFUSALS);
        Self {
            entries: VecDeque::new(),
            refusals,
            others,
            notes: 0,
            gaps: HashMap::new(),
            pushed: 0,
            popped: 0,
            awaited: 0,
            closed: false,
        }
    }

    /// Queues an entry, after the count of what its team lost before it. Returns its ticket: it is
    /// taken out once [`popped`](Self::popped) has come so far. `None`: there is no room, and it
    /// was counted.
    pub(super) fn push(&mut self, entry: Entry) -> Option<u64> {
        if matches!(entry, Entry::Note(_)) {
            if self.closed || self.notes >= NOTES_MAX {
                self.leave_out(&entry);
                return None;
            }
            self.notes += 1;
        }
        if let Some(event) = entry.event() {
            let budget = match is_refusal(&event.kind) {
                true => &mut self.refusals,
                false => &mut self.others,
            };
            let team = &event.who.team;
            if self.closed || !budget.take(team, weight(event)) {
                self.leave_out(&entry);
                return None;
            }
            if !self.gaps.is_empty()
                && let Some(gap) = self.gaps.remove(team)
            {
                self.pushed += 1;
                self.entries.push_back(Entry::Gap(gap));
            }
        }
        self.pushed += 1;
        self.entries.push_back(entry);
        Some(self.pushed)
    }

    /// Appends up to `max` entries to `into`.
    pub(super) fn pop(&mut self, into: &mut Vec<Entry>, max: usize) {
        let count = max.min(self.entries.len());
        self.popped += count as u64;
        for entry in self.entries.drain(..count) {
            if let Some(event) = entry.event() {
                let budget = match is_refusal(&event.kind) {
                    true => &mut self.refusals,
                    false => &mut self.others,
                };
                budget.give_back(&event.who.team, weight(event));
            }
            self.notes -= usize::from(matches!(entry, Entry::Note(_)));
            into.push(entry);
        }
        // With nothing left to come before them, the counts are next.
        if self.entries.is_empty() {
            into.extend(self.gaps.drain().map(|(_, gap)| Entry::Gap(gap)));
        }
    }

    /// Somebody waits until there are `count` entries.
    pub(super) fn await_entries(&mut self, count: usize) {
        self.awaited = count;
    }

    /// Whether what is waited for is there; true once, for then it is no longer waited for.
    pub(super) fn has_awaited(&mut self) -> bool {
        let has = self.awaited != 0 && self.entries.len() >= self.awaited;
        if has {
            self.awaited = 0;
        }
        has
    }

    /// The ticket of the last entry that was taken out.
    pub(super) fn popped(&self) -> u64 {
        self.popped
    }

    /// From now on everything is counted only.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.gaps.is_empty()
    }

    /// How many events are not on record yet, also those that were left out.
    pub(super) fn waiting(&self) -> u64 {
        let gaps = self.gaps.values().map(|gap| gap.count).sum::<u64>();
        gaps + self.entries.iter().map(Entry::count).sum::<u64>()
    }

    fn leave_out(&mut self, entry: &Entry) {
        let (team, since, last) = match entry {
            Entry::Event(event) => (&event.who.team, event.at, event.at),
            Entry::Folded(folded) => (&folded.event.who.team, folded.since, folded.event.at),
            Entry::Note(record) => (&None, record.at, record.at),
            Entry::Gap(_) => return,
        };
        let gap = match self.gaps.get_mut(team) {
            Some(gap) => gap,
            None => self.gaps.entry(team.clone()).or_insert(Gap {
                team: team.clone(),
                count: 0,
                first: since,
                last,
            }),
        };
        gap.count += entry.count();
        gap.first = gap.first.min(since);
        gap.last = gap.last.max(last);
    }
}

impl Entry {
    /// How many events it stands for.
    pub(super) fn count(&self) -> u64 {
        match self {
            Self::Event(_) | Self::Note(_) => 1,
            Self::Folded(folded) => folded.count,
            Self::Gap(gap) => gap.count,
        }
    }

    fn event(&self) -> Option<&Event> {
        match self {
            Self::Event(event) => Some(event),
            Self::Folded(folded) => Some(&folded.event),
            Self::Note(_) | Self::Gap(_) => None,
        }
    }
}

impl From<Entry> for Record {
    fn from(entry: Entry) -> Self {
        match entry {
            Entry::Event(event) => Self::from(&*event),
            Entry::Folded(folded) => Self::folded(&folded),
            Entry::Note(record) => *record,
            Entry::Gap(gap) => Self::gap(&gap),
        }
    }
}

/// What a client can bring about as often as it likes.
pub(super) fn is_refusal(kind: &EventKind) -> bool {
    match kind {
        EventKind::ConnectRefused { .. }
        | EventKind::PublishRefused { .. }
        | EventKind::SubscribeRefused { .. }
        | EventKind::LimitHit { .. }
        | EventKind::UnsubscribeRefused { .. }
        | EventKind::Observed { .. }
        | EventKind::AdminRefused { .. }
        | EventKind::ReauthenticationRefused { .. } => true,
        EventKind::Connected { .. }
        | EventKind::Disconnected { .. }
        | EventKind::TakenOver { .. }
        | EventKind::WillSent { .. }
        | EventKind::SessionExpired { .. }
        | EventKind::Crossed { .. }
        | EventKind::SubscriptionEnded { .. }
        | EventKind::Reauthenticated => false,
    }
}

/// The texts of an event, in bytes; the event itself is small and bounded by the queue's length.
fn weight(event: &Event) -> usize {
    let Who {
        username,
        client_id,
        ..
    } = &event.who;
    let text = match &event.kind {
        EventKind::PublishRefused { topic, .. }
        | EventKind::WillSent { topic, .. }
        | EventKind::Observed { topic, .. } => topic.len(),
        EventKind::SubscribeRefused { filter, .. }
        | EventKind::UnsubscribeRefused { filter, .. }
        | EventKind::SubscriptionEnded { filter, .. } => filter.len(),
        EventKind::Crossed { topic, rule, .. } => topic.len() + rule.len(),
        _ => 0,
    };
    username.as_ref().map_or(0, |it| it.len()) + client_id.as_ref().map_or(0, |it| it.len()) + text
}
