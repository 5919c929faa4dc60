//! Retained messages on their way to new subscriptions.
//!
//! A SUBSCRIBE only notes who is to get them; how many there are, and whether any, shows as they are
//! walked, so far in each turn and as fast as the client takes them.

use std::sync::Arc;

use super::publish::Passing;
use super::shard::Shard;
use crate::fact::{Fact, Standing};
use crate::session::{Replay, Session};
use crate::team::{Message, Route, Team, Walk};
use crate::time::Time;
use crate::topic::TopicFilter;

/// Retained messages are encoded ahead up to here; the rest waits until the client has taken them.
const REPLAY_AHEAD: usize = 64 << 10;

impl Shard {
    /// Starts to hand the matching retained messages to subscriptions: those of their own team, or,
    /// of a principal that spans teams, those of every team that it reaches.
    pub(super) fn begin_replays(&mut self, index: u32, keys: Vec<Arc<str>>) {
        let Some(session) = self.sessions.at_mut(index) else {
            return;
        };
        if keys.is_empty() {
            return;
        }
        let [at_home, in_commons] =
            [false, true].map(|in_commons| self.world.retained_for(&session.team, in_commons));
        for key in keys {
            let Some(subscription) = session.subscriptions.get(&key) else {
                continue;
            };
            let teams = match subscription.in_commons {
                true => &in_commons,
                false => &at_home,
            };
            let replay = Replay {
                teams: Arc::clone(teams),
                place: 0,
                after: None,
            };
            let stated = session.number.and_then(|number| match replay.standing() {
                Some(standing) => Some(Fact::Replaying(number, Arc::clone(&key), standing)),
                None => {
                    let was_there = session.replays.contains_key(&key);
                    was_there.then(|| Fact::Replayed(number, Arc::clone(&key)))
                }
            });
            self.keeping.facts.extend(stated);
            match teams.is_empty() {
                true => session.replays.remove(&key),
                false => session.replays.insert(key, replay),
            };
        }
    }

    /// Goes on handing retained messages to new subscriptions: as far as the client takes them, and
    /// as many steps as its connection has left in this turn.
    ///
    /// How far that is, is stated in one commit with what was sent: after a crash it goes on where the
    /// last commit left it, and nothing is sent twice that was not under way.
    pub(super) fn replay(&mut self, index: u32, now: Time) {
        let Some(session) = self.sessions.at(index) else {
            return;
        };
        if session.replays.is_empty() {
            return;
        }
        let (number, before) = (session.number, place_of(session));
        let mut over = Vec::new();
        self.replay_on(index, &mut over, now);
        let (Some(number), Some(session)) = (number, self.sessions.at(index)) else {
            return;
        };
        let after = place_of(session).filter(|after| Some(after) != before.as_ref());
        let facts = &mut self.keeping.facts;
        over.into_iter()
            .for_each(|key| facts.state(Fact::Replayed(number, key)));
        facts.extend(after.map(|(key, standing)| Fact::Replaying(number, key, standing)));
    }

    fn replay_on(&mut self, index: u32, over: &mut Vec<Arc<str>>, now: Time) {
        loop {
            let Some(session) = self.sessions.at_mut(index) else {
                return;
            };
            let Some(conn_index) = session.conn else {
                return;
            };
            let Some(conn) = self.conns.at_mut(conn_index) else {
                return;
            };
            // Beyond that a message would wait, and perhaps be dropped, as for a slow reader.
            let ahead = REPLAY_AHEAD.min(conn.soft_limit());
            if conn.late.is_some()
                || conn.outbox.len() > ahead
                || !session.outgoing.is_open(session.window)
            {
                return;
            }
            let Some(allowed) = conn.spent.retained_left(self.turn, self.allowance) else {
                return match session.replays.is_empty() {
                    true => {}
                    false => self.pump_later(conn_index),
                };
            };
            let mut left = allowed;
            let found = next(session, &mut left, over);
            conn.spent.charge_retained(self.turn, allowed - left);
            self.visit.steps += allowed - left;
            let Some((route, team, message)) = found else {
                if session.replays.is_empty() {
                    return;
                }
                continue;
            };
            if message.expires <= now {
                team.forget_expired(&message);
                continue;
            }
            self.form.forget();
            let passing = Passing::of(&message);
            self.open_delivery(&passing.view, false);
            self.deliver(route, &passing, None, now);
            self.close_message(&passing, None, None);
        }
    }
}

/// Which replay is under way, and where it stands.
fn place_of(session: &Session) -> Option<(Arc<str>, Standing)> {
    let (key, replay) = session.replays.first_key_value()?;
    Some((Arc::clone(key), replay.standing()?))
}

/// The next retained message for a session, on what terms, and whose it is. `None`: the steps are
/// used up, or nothing is left of the first replay, which is added to `over` then.
fn next(
    session: &mut Session,
    steps: &mut u32,
    over: &mut Vec<Arc<str>>,
) -> Option<(Route, Arc<Team>, Arc<Message>)> {
    let mut entry = session.replays.first_entry()?;
    let walk = session.subscriptions.get(entry.key()).and_then(|wanted| {
        let filter = wanted.filter(entry.key());
        let filter = TopicFilter::parse(filter, u16::MAX, u16::MAX).ok()?;
        let team = entry.get().teams.get(entry.get().place)?;
        let after = entry.get().after.as_deref();
        let walk = team.with_retained(|kept| kept.next_match(filter, after, steps));
        Some((wanted, Arc::clone(team), walk))
    });
    let Some((subscription, team, walk)) = walk else {
        over.push(entry.remove_entry().0);
        return None;
    };
    let replay = entry.get_mut();
    match walk {
        Walk::End => {
            replay.place += 1;
            replay.after = None;
            if replay.place == replay.teams.len() {
                over.push(entry.remove_entry().0);
            }
            None
        }
        Walk::GoOn(topic) => {
            replay.after = Some(topic);
            None
        }
        Walk::Found(message) => {
            replay.after = Some(message.topic().into());
            let route = Route {
                session: session.address,
                qos: subscription.options.qos,
                no_local: subscription.options.no_local,
                retain_as_published: true, // retained messages are sent as such [MQTT-3.3.1-8]
                checked: subscription.checked,
                hides: subscription.hidden_after(&session.grant),
                subscription_id: subscription.id,
                share: 0, // a shared subscription gets no retained messages
                number: session.number,
            };
            Some((route, team, message))
        }
    }
}
