//! All that the broker holds, compared with the model: now and then, and at the end.

use std::collections::HashSet;

use cofferdam::policy::TeamId;
use cofferdam::team::Team;
use cofferdam::time::Time;
use cofferdam::topic::TopicFilter;
use cofferdam::wire::QoS;

use crate::cast::TEAMS;
use crate::client::Unacked;
use crate::failure::{Kept, hold};
use crate::model::{Phase, first_match};
use crate::sim::Sim;

/// Timers that may be set without an owner, beside a few for each that there is.
const SPARE_TIMERS: usize = 256;

impl Sim<'_> {
    /// Forgets retained messages that have expired and the broker has forgotten.
    pub fn forget_retained(&mut self) {
        let world = std::sync::Arc::clone(&self.world);
        self.model.now = self.now;
        self.model.forget_retained(|team, topic| {
            let filter = TopicFilter::parse(topic, u16::MAX, u16::MAX);
            let found = |team: &Team| {
                filter.is_ok_and(|f| team.with_retained(|kept| first_match(kept, f).is_some()))
            };
            match team.and_then(TeamId::new) {
                Some(id) => found(&world.team(&id, &world.namespace().root(&id))),
                None => found(world.commons()),
            }
        });
    }

    /// Compares everything that can be compared at any time.
    pub fn compare_state(&mut self) -> Kept {
        for session in self.model.live() {
            let who = self.plan.name(session.who);
            let Some(held) = self.held(session.shard, session.address) else {
                continue;
            };
            hold(
                held.subscriptions.len() == session.subscriptions.len()
                    && held.subscriptions.len() <= self.plan.limits.max_subscriptions as usize
                    && session.subscriptions.iter().all(|wanted| {
                        let key = match &wanted.group {
                            Some(group) => format!("$share/{group}/{}", wanted.filter),
                            None => wanted.filter.clone(),
                        };
                        let found = held.subscriptions.get(&*key);
                        found.is_some_and(|found| {
                            found.options.qos == wanted.options.qos && found.id == wanted.id
                        })
                    }),
                "sessions are as they should be",
                || {
                    format!(
                        "{who}: {:?}, in truth {:?}",
                        held.subscriptions, session.subscriptions
                    )
                },
            )?;
            let expires = if session.line.is_some() {
                Time::NEVER
            } else {
                session.expires
            };
            hold(
                held.incoming.len() == session.held.len()
                    && held.will.is_some() == session.will.is_some()
                    && held.expires == expires
                    && held.number.is_some() == session.kept
                    // Of one that waits only when it ends is kept.
                    && (held.expiry == session.expiry || session.line.is_none()),
                "sessions are as they should be",
                || format!("{who}: {held:?}, in truth {session:?}"),
            )?;
        }
        for (at, shard) in self.shards.iter().enumerate() {
            let counters = shard.counters();
            let sessions = self
                .model
                .live()
                .filter(|s| usize::from(s.shard) == at)
                .count() as u64;
            let connections = self
                .wires
                .iter()
                .filter_map(|wire| wire.at.or(wire.lingers));
            let connections = connections.filter(|(on, _)| usize::from(*on) == at).count() as u64;
            hold(
                (counters.sessions, counters.connections) == (sessions, connections),
                "gauges are right",
                || {
                    format!(
                        "shard {at}: {counters:?}; in truth {sessions} sessions, {connections} connections"
                    )
                },
            )?;
            let owners = (sessions + connections) as usize;
            hold(
                shard.timers() <= 4 * owners + SPARE_TIMERS,
                "limits hold",
                || {
                    format!(
                        "{} timers for {owners} sessions and connections",
                        shard.timers()
                    )
                },
            )?;
        }
        self.compare_kept();
        for team in TEAMS {
            if let Some(id) = TeamId::new(team) {
                let root = self.world.namespace().root(&id);
                self.compare_team(Some(team), &self.world.team(&id, &root))?;
            }
        }
        self.compare_team(None, self.world.commons())
    }

    fn compare_team(&self, name: Option<&'static str>, team: &Team) -> Kept {
        let of_team = |who: usize| self.model.people[who].team == name;
        let sessions: Vec<_> = self
            .model
            .live()
            .filter(|session| of_team(session.who))
            .collect();
        let sessions = sessions.into_iter();
        let connected = sessions
            .clone()
            .filter(|session| session.line.is_some())
            .count();
        let connections = team.connections.load(std::sync::atomic::Ordering::Relaxed);
        let subscriptions: usize = sessions.clone().map(|s| s.subscriptions.len()).sum();
        hold(
            team.registry.len() == sessions.clone().count()
                && connections == connected as i64
                && team.subscriptions() == subscriptions,
            "gauges are right",
            || {
                format!(
                    "{name:?}: {} sessions, {connections} connections, {} subscriptions; in truth {}, {connected}, {subscriptions}",
                    team.registry.len(),
                    team.subscriptions(),
                    sessions.clone().count(),
                )
            },
        )?;
        let levels = sessions.flat_map(|session| &session.subscriptions);
        let levels: usize = levels.map(|wanted| wanted.filter.split('/').count()).sum();
        hold(team.nodes() <= 1 + levels, "limits hold", || {
            format!("{} nodes for filters of {levels} levels", team.nodes())
        })?;
        let kept: Vec<_> = self
            .model
            .retained
            .iter()
            .filter(|kept| kept.team == name)
            .collect();
        let bytes: usize = kept.iter().map(|kept| kept.message.size()).sum();
        team.with_retained(|held| {
            let same = kept.iter().all(|kept| {
                let filter = TopicFilter::parse(&kept.message.topic, u16::MAX, u16::MAX);
                let found = filter.ok().and_then(|filter| first_match(held, filter));
                found.is_some_and(|found| found.view().payload == kept.message.payload)
            });
            hold(
                same && held.len() == kept.len() && held.bytes() == bytes as u64,
                "retained is the last retained",
                || format!("{name:?}: {held:?}, in truth {kept:?}"),
            )
        })
    }

    /// Compares what must be so when nothing moves and everybody has read and answered.
    pub fn compare_rest(&self) -> Kept {
        for line in 0..self.wires.len() {
            let wire = &self.wires[line];
            hold(
                wire.lingers.is_none() && (self.unread(line) == 0 || wire.at.is_none()),
                "no shard stalls",
                || {
                    format!(
                        "{} bytes of {} are not read",
                        self.unread(line),
                        self.name(line)
                    )
                },
            )?;
        }
        for session in self.model.live() {
            let name = self.plan.name(session.who);
            let client = &self.clients[session.who];
            if client.line != session.line || session.line.is_none() {
                continue;
            }
            let is_unsaid = |unacked: &Unacked| {
                let id = unacked.publish.packet_id.unwrap_or(0);
                let on = session.line.map(|line| &self.model.lines[line]);
                on.is_some_and(|on| on.unsaid.contains(&id))
            };
            let ready = session
                .line
                .is_some_and(|l| self.model.lines[l].phase == Phase::Active);
            hold(
                !ready
                    || session.queue.is_empty()
                        && session.flights.is_empty()
                        && client.unacked.iter().all(is_unsaid),
                "no shard stalls",
                || {
                    format!(
                        "{name}: {session:?}; {} not acknowledged",
                        client.unacked.len()
                    )
                },
            )?;
            let owed: HashSet<_> = session.owed.keys().collect();
            for key in owed {
                let (payload, qos) = key;
                let given = client.given.get(&(session.uid, payload.clone(), *qos));
                let (given, owed) = (given.copied().unwrap_or(0), session.owed[key]);
                let undecided = client.undecided.contains(&(session.uid, payload.clone()));
                let right = match qos {
                    QoS::ExactlyOnce => given == owed,
                    _ => given >= owed,
                };
                let (promise, text) = match qos {
                    QoS::ExactlyOnce => ("exactly once", String::from_utf8_lossy(payload)),
                    _ => (
                        "QoS 1 and 2 arrive at least once",
                        String::from_utf8_lossy(payload),
                    ),
                };
                hold(right || undecided, promise, || {
                    format!("{name} was given {text:.20?} {given} times, owed was {owed}")
                })?;
            }
        }
        Ok(())
    }
}
