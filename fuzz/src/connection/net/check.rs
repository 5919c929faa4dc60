//! What holds after every step, and in the end.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use cofferdam::team::Team;

use super::{CLIENTS, Net, READ_MAX};

impl Net {
    fn teams(&self) -> Vec<Arc<Team>> {
        let mut teams = self.world.teams();
        teams.push(Arc::clone(self.world.commons()));
        teams
    }

    /// Every limit holds.
    pub fn check(&mut self) {
        let limits = &self.world.limits;
        for client in self.clients.iter().flatten() {
            let Some((shard, conn)) = client.at else {
                continue;
            };
            let shard = &mut self.shards[usize::from(shard)];
            let appetite = shard.appetite(conn);
            let waits = shard.outbox(conn).map_or(0, |outbox| outbox.len());
            let most = limits.max_unauthenticated_bytes as usize;
            assert!(
                appetite <= most || appetite == usize::MAX,
                "appetite {appetite}"
            );
            // One message over the limit, and the answers to one read.
            let most = (limits.max_outbox_bytes + 2 * limits.max_packet_size) as usize;
            assert!(waits <= most + 2 * READ_MAX, "{waits} bytes in the outbox");
        }
        for shard in &self.shards {
            let counters = shard.counters();
            assert!(counters.connections <= u64::from(limits.max_connections) + CLIENTS as u64);
        }
        for team in self.teams() {
            assert!(team.registry.len() <= limits.max_sessions_per_team as usize);
            let most = limits.max_sessions_per_team * limits.max_subscriptions;
            assert!(team.subscriptions() <= CLIENTS * most as usize);
            let kept = team.with_retained(|retained| retained.len());
            assert!(
                kept <= limits.max_retained_messages as usize,
                "{kept} retained"
            );
        }
    }

    /// Everybody goes and time passes: nothing stays behind.
    pub fn end(mut self) {
        self.holds_between = false;
        for who in 0..CLIENTS {
            self.cut(who);
            self.run();
        }
        let connected: i64 = self
            .teams()
            .iter()
            .map(|t| t.connections.load(Ordering::Relaxed))
            .sum();
        assert_eq!(
            (self.admitted, connected),
            (0, 0),
            "connections by record, and by team"
        );
        // Delayed wills and sessions, each in its turn, for the longest time that any may stay.
        for _ in 0..3 {
            self.pass(self.world.limits.max_session_expiry);
            self.run();
        }
        for shard in &self.shards {
            let counters = shard.counters();
            assert_eq!((counters.connections, counters.sessions), (0, 0));
            assert!(!shard.has_output());
        }
        for team in self.teams() {
            assert!(team.registry.is_empty() && team.subscriptions() == 0);
        }
    }
}
