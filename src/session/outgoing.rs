//! QoS 1 and 2 towards the client: the inflight window and the queue behind it `[MQTT-4.3]`,
//! `[MQTT-4.4]`, `[MQTT-4.9]`.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::limits::Limits;
use crate::team::{Message, QueuedBytes};
use crate::time::{Span, Time};
use crate::wire::{PacketId, QoS};

/// A message for one client.
#[derive(Clone, Debug)]
pub struct Queued {
    /// Shared with everyone else who waits for it.
    pub message: Arc<Message>,
    /// As it will be delivered: 1 or 2.
    pub qos: QoS,
    /// The flag as it will be delivered.
    pub retain: bool,
    /// Of the subscription that matched; 0: none.
    pub subscription_id: u32,
    /// The number of the shared subscription that it came by; 0: it came by none.
    pub share: u32,
}

/// Both halves: what is in flight, and what waits.
#[derive(Debug)]
pub struct Outgoing {
    /// In the order sent, which is the order of resending. Entries that are done stay until they
    /// reach the front, so that an identifier is found by its distance from the front.
    inflight: VecDeque<Inflight>,
    /// Entries that are not done.
    live: u16,
    /// Entries at the back that are still to be sent again on this connection.
    unsent: usize,
    /// Entries sent on this connection that are not done: what the window bounds
    /// `[MQTT-3.3.4-9]`, anew on each connection (section 4.9).
    under_way: u16,
    last_id: u16,
    queue: VecDeque<Queued>,
    queued_bytes: u64,
    /// Of all queues of the team, this one among them.
    shared: Arc<QueuedBytes>,
    /// No message in the queue expires earlier; [`Time::NEVER`] where none does.
    earliest_expiry: Time,
    /// When a full queue may next be searched for what has expired.
    next_search: Time,
}

/// How often a full queue is searched for what has expired: it can be long.
const SEARCH_EVERY: Span = Span::from_secs(1);

#[derive(Debug)]
struct Inflight {
    id: PacketId,
    state: State,
}

#[derive(Debug)]
enum State {
    /// PUBLISH was sent; PUBACK or PUBREC is awaited.
    Published(Queued),
    /// PUBREL was sent; PUBCOMP is awaited.
    Released,
    /// Acknowledged.
    Done,
}

/// The queue holds as much as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueFull {
    /// This one.
    Own,
    /// All of the team together.
    Team,
}

/// What PUBREC leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PubRecOutcome {
    /// PUBREL goes out.
    Release,
    /// The client refused the message: the flow is over.
    Over,
    /// No such identifier: PUBREL goes out with 0x92.
    Unknown,
}

/// What is sent again when a session is resumed `[MQTT-4.4.0-1]`.
#[derive(Debug)]
pub enum Resend {
    /// PUBLISH with DUP.
    Publish(PacketId, Queued),
    /// PUBREL.
    Release(PacketId),
}

impl Default for Outgoing {
    fn default() -> Self {
        Self {
            inflight: VecDeque::new(),
            live: 0,
            unsent: 0,
            under_way: 0,
            last_id: 0,
            queue: VecDeque::new(),
            queued_bytes: 0,
            shared: Arc::default(),
            earliest_expiry: Time::NEVER,
            next_search: Time::EPOCH,
        }
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.shared.remove(self.queued_bytes);
    }
}

impl Outgoing {
    /// Empty, with a queue that is one of those in `shared`.
    pub fn within(shared: Arc<QueuedBytes>) -> Self {
        let mut empty = Self::default();
        empty.shared = shared;
        empty
    }

    /// Messages in flight and in the queue.
    pub fn waiting(&self) -> usize {
        usize::from(self.live) + self.queue.len()
    }

    /// Messages in flight.
    pub const fn in_flight(&self) -> u16 {
        self.live
    }

    /// Messages in the queue.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// The messages in the queue, oldest first.
    pub fn queue(&self) -> impl ExactSizeIterator<Item = &Queued> {
        self.queue.iter()
    }

    /// What is in flight, in the order sent; `None` where only PUBCOMP is awaited.
    pub fn flights(&self) -> impl Iterator<Item = (PacketId, Option<&Queued>)> {
        self.inflight.iter().filter_map(|entry| match &entry.state {
            State::Published(item) => Some((entry.id, Some(item))),
            State::Released => Some((entry.id, None)),
            State::Done => None,
        })
    }

    /// Bytes in the queue.
    pub const fn queued_bytes(&self) -> u64 {
        self.queued_bytes
    }

    /// Whether a message could be sent at once, overtaking none.
    pub fn is_open(&self, window: u16) -> bool {
        self.queue.is_empty() && self.has_room(window)
    }

    /// Whether anything waits that could be sent once there is room.
    pub fn is_waiting(&self) -> bool {
        self.unsent > 0 || !self.queue.is_empty()
    }

    /// The window alone is not enough: with one entry stuck at the front, done entries behind it
    /// would grow in number until the identifiers run out. And nothing new overtakes what is to be
    /// sent again.
    fn has_room(&self, window: u16) -> bool {
        self.unsent == 0 && self.under_way < window && self.inflight.len() < usize::from(u16::MAX)
    }

    /// Puts a message in flight and gives it an identifier.
    pub fn start(&mut self, item: Queued) -> PacketId {
        let id = self.next_id();
        self.inflight.push_back(Inflight {
            id,
            state: State::Published(item),
        });
        self.live += 1;
        self.under_way += 1;
        id
    }

    /// Puts a message in the queue. In a full one, those that have expired make room; they are
    /// added to `expired`.
    ///
    /// # Errors
    /// [`QueueFull`]: the message was not taken.
    pub fn enqueue(
        &mut self,
        item: Queued,
        limits: &Limits,
        now: Time,
        expired: &mut u64,
    ) -> Result<(), QueueFull> {
        let size = item.message.size() as u64;
        let mut room = self.take_room(size, limits);
        if room.is_err() {
            *expired += self.forget_expired(now);
            room = self.take_room(size, limits);
        }
        room?;
        self.earliest_expiry = self.earliest_expiry.min(item.message.expires);
        self.queued_bytes += size;
        self.queue.push_back(item);
        Ok(())
    }

    fn take_room(&self, size: u64, limits: &Limits) -> Result<(), QueueFull> {
        if !self.fits(size, limits) {
            return Err(QueueFull::Own);
        }
        match self.shared.add(size) {
            true => Ok(()),
            false => Err(QueueFull::Team),
        }
    }

    fn fits(&self, size: u64, limits: &Limits) -> bool {
        self.queue.len() < limits.max_queued_messages as usize
            && self.queued_bytes + size <= limits.max_queued_bytes
    }

    /// Takes out what has expired, as far as it is time to search again. Says how many.
    fn forget_expired(&mut self, now: Time) -> u64 {
        if now < self.earliest_expiry.max(self.next_search) {
            return 0;
        }
        let before = self.queue.len();
        self.queue.retain(|item| item.message.expires > now);
        let left = self.queue.iter().map(|item| &item.message);
        let bytes = left.clone().map(|message| message.size() as u64).sum();
        self.shared.remove(self.queued_bytes - bytes);
        self.queued_bytes = bytes;
        self.earliest_expiry = left
            .map(|message| message.expires)
            .min()
            .unwrap_or(Time::NEVER);
        self.next_search = now + SEARCH_EVERY;
        (before - self.queue.len()) as u64
    }

    /// Moves the next message from the queue into flight. Messages that have expired are left out
    /// and added to `expired`.
    pub fn next(
        &mut self,
        window: u16,
        now: Time,
        expired: &mut u64,
    ) -> Option<(PacketId, &Queued)> {
        while self.has_room(window) {
            let item = self.queue.pop_front()?;
            self.queued_bytes -= item.message.size() as u64;
            self.shared.remove(item.message.size() as u64);
            if item.message.expires <= now {
                *expired += 1;
                continue;
            }
            let id = self.start(item);
            return match self.inflight.back() {
                Some(Inflight {
                    state: State::Published(item),
                    ..
                }) => Some((id, item)),
                _ => None,
            };
        }
        None
    }

    /// PUBACK came. Says whether it was awaited.
    pub fn puback(&mut self, id: PacketId) -> bool {
        self.finish(
            id,
            |state| matches!(state, State::Published(item) if item.qos == QoS::AtLeastOnce),
        )
    }

    /// PUBREC came; `accepted` is false for a reason code of 0x80 and above.
    pub fn pubrec(&mut self, id: PacketId, accepted: bool) -> PubRecOutcome {
        let Some(place) = self.find(id) else {
            return PubRecOutcome::Unknown;
        };
        let state = &mut self.inflight[place].state;
        match state {
            State::Published(item) if item.qos == QoS::ExactlyOnce => {}
            State::Released if accepted => return PubRecOutcome::Release,
            _ => return PubRecOutcome::Unknown,
        }
        if accepted {
            *state = State::Released;
            return PubRecOutcome::Release;
        }
        self.finish(id, |_| true);
        PubRecOutcome::Over
    }

    /// PUBCOMP came. Says whether it was awaited.
    pub fn pubcomp(&mut self, id: PacketId) -> bool {
        self.finish(id, |state| matches!(state, State::Released))
    }

    /// Takes out of the queue what `taken` says `true` to.
    pub fn take_queued(&mut self, mut taken: impl FnMut(&Queued) -> bool) {
        let (bytes, shared) = (&mut self.queued_bytes, &self.shared);
        self.queue.retain(|item| {
            let goes = taken(item);
            if goes {
                *bytes -= item.message.size() as u64;
                shared.remove(item.message.size() as u64);
            }
            !goes
        });
    }

    /// Lets go of everything that `unwanted` says `true` to, sent or not, and says how many those
    /// were. QoS 2 messages that the client has received are completed all the same.
    pub fn let_go_of(&mut self, unwanted: impl Fn(&Queued) -> bool) -> u64 {
        let mut gone = 0;
        self.take_queued(|item| {
            let goes = unwanted(item);
            gone += u64::from(goes);
            goes
        });
        let sent = self.inflight.iter().filter_map(|entry| match &entry.state {
            State::Published(item) if unwanted(item) => Some(entry.id),
            _ => None,
        });
        for id in sent.collect::<Vec<_>>() {
            gone += 1;
            self.let_go(id);
        }
        gone
    }

    /// Takes out everything that somebody else may have instead: QoS 1 messages in flight and the
    /// whole queue, in order. For a session that ends.
    pub fn take_unacknowledged(&mut self) -> Vec<Queued> {
        let in_flight = std::mem::take(&mut self.inflight).into_iter();
        let sent = in_flight.filter_map(|entry| match entry.state {
            State::Published(item) if item.qos == QoS::AtLeastOnce => Some(item),
            _ => None,
        });
        self.shared.remove(std::mem::take(&mut self.queued_bytes));
        sent.chain(std::mem::take(&mut self.queue)).collect()
    }

    /// Lets a message go as if the client had acknowledged it.
    pub fn let_go(&mut self, id: PacketId) {
        self.finish(id, |_| true);
    }

    /// A new connection: all that is in flight is to be sent again on it.
    pub fn resume(&mut self) {
        self.unsent = self.inflight.len();
        self.under_way = 0;
    }

    /// What is next to be sent again, in the order first sent; `None` when all is, or the window
    /// is full.
    pub fn resend(&mut self, window: u16) -> Option<Resend> {
        loop {
            let next = self.inflight.len() - self.unsent;
            let resend = match self.inflight.get(next)? {
                Inflight {
                    state: State::Done, ..
                } => {
                    self.unsent -= 1;
                    continue;
                }
                Inflight {
                    id,
                    state: State::Released,
                } => Resend::Release(*id),
                Inflight { .. } if self.under_way >= window => return None,
                Inflight {
                    id,
                    state: State::Published(item),
                } => Resend::Publish(*id, item.clone()),
            };
            self.unsent -= 1;
            self.under_way += 1;
            return Some(resend);
        }
    }

    fn finish(&mut self, id: PacketId, awaited: impl Fn(&State) -> bool) -> bool {
        let Some(place) = self.find(id) else {
            return false;
        };
        let entry = &mut self.inflight[place];
        if !awaited(&entry.state) {
            return false;
        }
        entry.state = State::Done;
        self.live -= 1;
        // An answer from before the connection was lost can come for what was not yet sent again.
        if place < self.inflight.len() - self.unsent {
            self.under_way -= 1;
        }
        while let Some(Inflight {
            state: State::Done, ..
        }) = self.inflight.front()
        {
            self.inflight.pop_front();
        }
        self.unsent = self.unsent.min(self.inflight.len());
        true
    }

    /// Identifiers are given out in turn and entries leave at the front only, so an entry stands
    /// as far from the front as its identifier is from the front's.
    fn find(&self, id: PacketId) -> Option<usize> {
        let front = self.inflight.front()?.id.get();
        // Zero is no identifier: one place is missing wherever the count wrapped.
        let wrapped = usize::from(id.get() < front);
        let distance = usize::from(id.get().wrapping_sub(front)) - wrapped;
        (self.inflight.get(distance)?.id == id).then_some(distance)
    }

    /// The identifier after the last. It is free: fewer than 65,535 entries stand in a row.
    fn next_id(&mut self) -> PacketId {
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        PacketId::new(self.last_id).expect("counted up from zero and never wrapped to it")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::team::{MessageView, SessionAddress};
    use std::collections::HashSet;

    fn item(qos: QoS) -> Queued {
        let view = MessageView {
            topic: "t",
            passed_on: &[],
            response_topic: None,
            payload: b"1234",
            qos,
            retain: false,
            expires: Time::NEVER,
            publisher: SessionAddress::NOBODY,
        };
        Queued {
            message: Arc::new(view.keep()),
            qos,
            retain: false,
            subscription_id: 0,
            share: 0,
        }
    }

    fn enqueue(outgoing: &mut Outgoing, limits: &Limits) -> Result<(), QueueFull> {
        outgoing.enqueue(item(QoS::AtLeastOnce), limits, Time::EPOCH, &mut 0)
    }

    fn id(id: u16) -> PacketId {
        PacketId::new(id).expect("not zero")
    }

    /// Shows: MQTT-2.2.1-4, MQTT-4.3.2-1, MQTT-4.3.3-1 (5.0); MQTT-2.3.1-4, MQTT-4.3.2-1,
    /// MQTT-4.3.3-1 (3.1.1)
    #[test]
    fn identifiers_are_never_zero_and_never_in_use_twice() {
        let mut outgoing = Outgoing::default();
        let stuck = outgoing.start(item(QoS::AtLeastOnce));
        let mut in_use = HashSet::from([stuck]);
        for _ in 0..200_000 {
            let fresh = outgoing.start(item(QoS::AtLeastOnce));
            assert!(in_use.insert(fresh), "{fresh:?} is in use");
            if outgoing.in_flight() > 10 {
                let done = *in_use
                    .iter()
                    .find(|id| **id != stuck)
                    .expect("more than one");
                assert!(outgoing.puback(done));
                in_use.remove(&done);
            }
            if !outgoing.has_room(u16::MAX) {
                // Done entries behind the stuck one fill the table; its acknowledgement frees all.
                assert!(outgoing.puback(stuck));
                return;
            }
        }
        panic!("the table never filled");
    }

    #[test]
    fn a_qos_2_message_is_released_and_completed_once() {
        let mut outgoing = Outgoing::default();
        let a = outgoing.start(item(QoS::ExactlyOnce));
        assert!(!outgoing.puback(a), "PUBACK is not QoS 2's answer");
        assert!(!outgoing.pubcomp(a), "PUBCOMP before PUBREC");
        assert_eq!(outgoing.pubrec(a, true), PubRecOutcome::Release);
        assert_eq!(
            outgoing.pubrec(a, true),
            PubRecOutcome::Release,
            "PUBREC sent again"
        );
        outgoing.resume();
        assert!(matches!(outgoing.resend(1), Some(Resend::Release(again)) if again == a));
        assert!(outgoing.resend(1).is_none());
        assert!(outgoing.pubcomp(a));
        assert!(!outgoing.pubcomp(a));
        assert_eq!(outgoing.pubrec(a, true), PubRecOutcome::Unknown);
        assert_eq!(outgoing.waiting(), 0);
    }

    #[test]
    fn what_is_sent_again_stays_within_the_window_and_nothing_new_overtakes_it() {
        let mut outgoing = Outgoing::default();
        for _ in 0..4 {
            outgoing.start(item(QoS::AtLeastOnce));
        }
        outgoing.resume();
        assert!(
            !outgoing.is_open(10),
            "nothing new overtakes what is sent again"
        );
        let sent = |outgoing: &mut Outgoing| match outgoing.resend(2) {
            Some(Resend::Publish(id, _)) => Some(id.get()),
            Some(Resend::Release(_)) => panic!("nothing was released"),
            None => None,
        };
        assert_eq!(sent(&mut outgoing), Some(1));
        assert!(
            outgoing.puback(id(3)),
            "an answer from before the connection was lost"
        );
        assert_eq!(sent(&mut outgoing), Some(2));
        assert_eq!(sent(&mut outgoing), None);
        assert!(outgoing.puback(id(1)));
        assert!(outgoing.puback(id(2)));
        assert_eq!(sent(&mut outgoing), Some(4), "3 is done");
        assert_eq!(sent(&mut outgoing), None);
        assert!(outgoing.is_open(2) && !outgoing.is_open(1));
        assert_eq!(outgoing.in_flight(), 1);
    }

    #[test]
    fn a_refused_qos_2_message_is_over() {
        let mut outgoing = Outgoing::default();
        let a = outgoing.start(item(QoS::ExactlyOnce));
        assert_eq!(outgoing.pubrec(a, false), PubRecOutcome::Over);
        assert_eq!(outgoing.waiting(), 0);
        outgoing.resume();
        assert!(outgoing.resend(1).is_none());
    }

    #[test]
    fn the_queue_has_bounds_in_messages_and_in_bytes() {
        let limits = Limits {
            max_queued_messages: 2,
            max_queued_bytes: 9,
            ..Limits::default()
        };
        let mut outgoing = Outgoing::default();
        assert_eq!(enqueue(&mut outgoing, &limits), Ok(()));
        assert_eq!(enqueue(&mut outgoing, &limits), Err(QueueFull::Own));
        let limits = Limits {
            max_queued_bytes: 100,
            ..limits
        };
        assert_eq!(enqueue(&mut outgoing, &limits), Ok(()));
        assert_eq!(enqueue(&mut outgoing, &limits), Err(QueueFull::Own));
        assert_eq!((outgoing.queued(), outgoing.queued_bytes()), (2, 10));
    }

    #[test]
    fn the_window_holds_the_queue_back_and_order_holds() {
        let mut outgoing = Outgoing::default();
        for _ in 0..3 {
            enqueue(&mut outgoing, &Limits::default()).expect("room");
        }
        let mut expired = 0;
        let next = |outgoing: &mut Outgoing, expired: &mut u64| {
            outgoing.next(2, Time::EPOCH, expired).map(|(id, _)| id)
        };
        assert_eq!(next(&mut outgoing, &mut expired), Some(id(1)));
        assert_eq!(next(&mut outgoing, &mut expired), Some(id(2)));
        assert_eq!(next(&mut outgoing, &mut expired), None);
        assert!(outgoing.puback(id(2)), "acknowledged out of order");
        assert_eq!(next(&mut outgoing, &mut expired), Some(id(3)));
        assert_eq!((expired, outgoing.queued_bytes()), (0, 0));
    }
}
