//! Share groups: of the members one gets each message, and who that is the broker decides. When that
//! one goes another gets it.

use crate::expected::Reader;
use crate::failure::{Failure, Kept, broken, hold};
use crate::late::given_at_once;
use crate::model::{Cause, Choice, Entry};
use crate::sim::Sim;
use crate::unseen::is_carried;
use cofferdam::session::Queued;
use cofferdam::wire::QoS;
use cofferdam::wire::client::Publish;

/// Whether somebody must, may, or must not have what a group has to give.
#[derive(Clone, Copy, PartialEq)]
enum Due {
    Must,
    May,
    MustNot,
}

impl Choice {
    /// How a session would get the message, if it is one that may: where a member is connected,
    /// one that is.
    pub fn offer(&self, uid: u64, is_it: impl Fn(&Entry) -> bool) -> Option<&Entry> {
        let mut members = self.candidates();
        let found = members.find(|(member, _, entry)| *member == uid && is_it(entry));
        found.map(|(_, _, entry)| entry)
    }

    /// Those that may be chosen.
    fn candidates(&self) -> impl Iterator<Item = &(u64, bool, Entry)> {
        let any = self.members.iter().any(|(_, connected, _)| *connected);
        let members = self.members.iter();
        members.filter(move |(_, connected, _)| *connected || !any)
    }
}

impl Sim<'_> {
    /// A session has, or was sent, what no subscription of its own led to. Where a share group
    /// offered it such a message, returns how: nobody else of the group may have it.
    ///
    /// Two groups can offer a session the same message in the same form; then it may have come from
    /// either, and who was thought to have it from the one may have it from the other.
    pub fn choose(
        &mut self,
        uid: u64,
        sent: bool,
        is_it: impl Fn(&Entry) -> bool,
    ) -> Result<Option<Entry>, Failure> {
        let choices = &mut self.model.turn.choices;
        let open = |choice: &Choice| choice.taken.is_none();
        let free = choices
            .iter_mut()
            .find(|choice| open(choice) && choice.offer(uid, &is_it).is_some());
        if let Some(choice) = free {
            let entry = choice.offer(uid, &is_it).cloned();
            choice.taken = entry.clone().map(|entry| (uid, entry, sent));
            return Ok(entry);
        }
        for at in 0..choices.len() {
            let (Some(entry), Some((taker, had, was_sent))) = (
                choices[at].offer(uid, &is_it).cloned(),
                choices[at].taken.clone(),
            ) else {
                continue;
            };
            let is_had = |entry: &Entry| entry.is_like(&had);
            let other = choices
                .iter_mut()
                .find(|choice| open(choice) && choice.offer(taker, is_had).is_some());
            if let Some(other) = other {
                other.taken = Some((taker, had, was_sent));
                choices[at].taken = Some((uid, entry.clone(), sent));
                return Ok(Some(entry));
            }
        }
        let mut members = choices.iter().flat_map(|choice| &choice.members);
        if !members.any(|(member, _, entry)| *member == uid && is_it(entry)) {
            return Ok(None);
        }
        Err(broken(
            "one member of a share group, one that is connected",
            format!("session {uid} got it too, or in a connected one's place: {choices:?}"),
        ))
    }

    /// A session that left a share group in this turn was sent a message before.
    pub fn sent_before(
        &mut self,
        line: usize,
        uid: u64,
        publish: &Publish,
        carried: &Option<Queued>,
    ) -> Option<Entry> {
        let person = self.model.people[self.model.lines[line].who].clone();
        let on = &self.model.lines[line];
        let (version, max_packet, now) = (on.version, on.max_packet, self.now);
        let reader = Reader {
            person: &person,
            version,
            max_packet,
            now,
        };
        self.model.turn.choices.iter_mut().find_map(|choice| {
            let Cause::Left(left) = &mut choice.cause else {
                return None;
            };
            let is_it = left.from == uid && !left.sent && is_carried(&left.entry, carried);
            (is_it && reader.takes(&left.entry, publish)).then(|| {
                left.sent = true;
                left.entry.clone()
            })
        })
    }

    /// A session that has ended was sent this, or what it left behind and looks alike.
    pub fn left_like(&mut self, uid: u64, entry: &Entry) {
        for choice in &mut self.model.turn.choices {
            if let Cause::Left(left) = &mut choice.cause {
                left.perhaps |= left.from == uid && left.entry.is_like(entry);
            }
        }
    }

    /// Each share group gave its message to somebody, or had a reason not to.
    pub fn compare_choices(&mut self, shard: u16) -> Kept {
        let choices = std::mem::take(&mut self.model.turn.choices);
        for (at, choice) in choices.iter().enumerate() {
            let due = due(&choices, choice, &self.model.turn.unseen)?;
            let promise = "one member of a share group";
            hold(
                due != Due::MustNot || choice.taken.is_none(),
                promise,
                || format!("another, too: {choice:?}"),
            )?;
            if due != Due::Must || choice.taken.is_some() || self.excuse(shard, &choices, at) {
                continue;
            }
            // What another group was thought to have given may have come from this one.
            let mut swapped = false;
            for (place, other) in choices.iter().enumerate() {
                swapped |= other.taken.as_ref().is_some_and(|(uid, had, _)| {
                    choice.offer(*uid, |entry| entry.is_like(had)).is_some()
                }) && self.excuse(shard, &choices, place);
            }
            hold(swapped, promise, || format!("nobody: {choice:?}"))?;
        }
        self.model.turn.chosen = choices;
        Ok(())
    }

    /// Whether a share group may have given a message to a member that then lost it.
    fn excuse(&mut self, shard: u16, choices: &[Choice], at: usize) -> bool {
        let mut candidates = choices[at].candidates().peekable();
        if candidates.peek().is_none() {
            return true;
        }
        let mut excused = false;
        if let Cause::Left(left) = &choices[at].cause
            && let Some(place) = self.model.place(left.from)
        {
            // It may never have got into the queue that it is thought to have left.
            excused |= left.entry.fresh && self.would_overflow(place, &[]);
        }
        for (uid, connected, entry) in candidates {
            let onwards = choices.iter().position(|choice| {
                let Cause::Perhaps { of, from, .. } = choice.cause else {
                    return false;
                };
                of == at && from == *uid
            });
            let has_ended = self
                .model
                .place(*uid)
                .is_none_or(|at| self.model.sessions[at].ended);
            excused |= match onwards {
                Some(next) if choices[next].taken.is_some() => true,
                Some(next) => self.excuse(shard, choices, next),
                None => has_ended,
            };
            // It may have been sent what nobody saw.
            excused |= self.model.turn.unseen.contains(uid)
                && (has_ended && entry.qos == QoS::ExactlyOnce || entry.qos == QoS::AtMostOnce);
            // It may have waited for it when it lost the right to it.
            excused |= self.model.turn.judged_again.contains(uid);
            let offline = !connected && entry.qos == QoS::AtMostOnce;
            excused |= offline || self.may_lose(shard, choices, *uid, entry);
        }
        excused
    }

    fn may_lose(&mut self, shard: u16, choices: &[Choice], uid: u64, entry: &Entry) -> bool {
        let Some(place) = self.model.place(uid) else {
            return true;
        };
        let session = &self.model.sessions[place];
        if self.is_expired(entry) {
            return true;
        }
        if session.shard != shard {
            return false;
        }
        let is_too_large = |line| self.reader(line).may_be_too_large(entry);
        let too_large = session.line.or(session.was_on).is_some_and(is_too_large);
        let Some(line) = session.line else {
            // It has gone, perhaps in this very turn.
            return too_large
                || entry.qos == QoS::AtMostOnce
                || self.would_overflow(place, std::slice::from_ref(entry));
        };
        too_large
            || match entry.qos {
                // It is one of these.
                QoS::AtMostOnce => {
                    self.may_drop_late(place, line, given_at_once(choices, uid).iter())
                }
                _ => self.would_overflow(place, std::slice::from_ref(entry)),
            }
    }
}

/// Whether somebody has to have it.
fn due(choices: &[Choice], choice: &Choice, unseen: &[u64]) -> Result<Due, Failure> {
    let stays_or_not = |qos, ended| match qos {
        QoS::AtLeastOnce if ended => Due::Must,
        _ => Due::MustNot,
    };
    Ok(match &choice.cause {
        Cause::Published => Due::Must,
        Cause::Left(left) if left.perhaps => Due::May,
        Cause::Left(left) if unseen.contains(&left.from) && left.ended => match left.entry.qos {
            QoS::AtLeastOnce => Due::Must,
            _ => Due::May,
        },
        Cause::Left(left) if left.sent => stays_or_not(left.entry.qos, left.ended),
        Cause::Left(_) => Due::Must,
        Cause::Perhaps { of, from, ended } => match &choices[*of].taken {
            Some((uid, entry, true)) if uid == from => stays_or_not(entry.qos, *ended),
            Some((uid, ..)) if uid == from => {
                return Err(broken(
                    "one member of a share group, one that is connected",
                    format!("it stays with one that has gone: {choice:?}"),
                ));
            }
            Some(_) => Due::MustNot,
            None => Due::May,
        },
    })
}
