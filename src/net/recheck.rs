//! Client certificates of those who are connected already, asked about again when a listener's files
//! say something new: whoever would not be let in now is closed.
//!
//! A shard does so a few at a time, with everyone else's turns in between.

use std::sync::Arc;

use tokio::task::yield_now;

use super::reactor::{Reactor, SharedReactor};
use super::tls::ClientVerifier;
use crate::broker::ConnId;

/// Certificates that are asked about in one turn: each costs as much as in its handshake.
const AT_A_TIME: usize = 16;

/// Whose certificates are to be asked about again, and who knows the answer.
#[derive(Clone)]
pub(super) struct Recheck {
    pub(super) listener: Arc<str>,
    pub(super) verifier: Arc<ClientVerifier>,
}

/// Asks again about the certificates of a listener's clients, a few in each turn.
pub(super) async fn recheck_all(reactor: SharedReactor, recheck: Recheck) {
    let mut from = Some(0);
    while let Some(place) = from {
        from = reactor.borrow_mut().recheck(&recheck, place);
        yield_now().await;
    }
}

impl Reactor {
    /// A connection may have come past a recheck on its way between shards.
    pub(super) fn recheck_one(&mut self, conn: ConnId) {
        let Some(link) = self.links.get(conn.index as usize).and_then(Option::as_ref) else {
            return;
        };
        let recheck = self.rechecks.iter().find(|it| it.listener == link.listener);
        let stands = recheck.map(|it| it.verifier.stands(link.layers.certificates()));
        if let Some(Err(fault)) = stands {
            self.core.distrust(conn, fault, self.clock.now());
        }
    }

    /// From now on certificates of a listener's clients are asked about by other files.
    pub(super) fn note_recheck(&mut self, recheck: &Recheck) {
        let is_known = |it: &Recheck| it.listener == recheck.listener;
        if !self.rechecks.iter().any(is_known) {
            self.rechecks.push(recheck.clone());
        }
    }

    /// Asks again about the certificates of a listener's clients, of as many places from this one on
    /// as one turn has time for. Says where to go on.
    fn recheck(&mut self, recheck: &Recheck, from: usize) -> Option<usize> {
        let places = self.links.get(from..).unwrap_or_default().iter();
        let mut checked = 0;
        let mut end = self.links.len();
        let mut distrusted = Vec::new();
        for (place, link) in places.enumerate() {
            let Some(link) = link
                .as_ref()
                .filter(|link| link.listener == recheck.listener)
            else {
                continue;
            };
            if checked == AT_A_TIME {
                end = from + place;
                break;
            }
            checked += 1;
            if let Err(fault) = recheck.verifier.stands(link.layers.certificates()) {
                distrusted.push((link.conn, fault));
            }
        }
        let now = self.clock.now();
        for (conn, fault) in distrusted {
            self.core.distrust(conn, fault, now);
        }
        self.end_turn();
        (end < self.links.len()).then_some(end)
    }
}
