//! What going through the sessions after a change may cost in one turn.

use crate::cluster::*;
use crate::review::{NODES, node, revoked, team};
use cofferdam::broker::{ChangeKind, TeamStanding};
use cofferdam::limits::Limits;
use cofferdam::wire::client::{ServerPacket, pingreq};

/// As in `broker::walk`.
const REVIEW_STEPS: u64 = 2048;
const END_STEPS: u64 = 64;

/// One shard with so many sessions of `alpha`, all of one client.
fn crowd(count: usize) -> (Cluster, Vec<Client>) {
    let limits = Limits {
        max_connections: u32::MAX,
        ..Limits::default()
    };
    let cluster = Cluster::limited(1, limits);
    let connect = |number: usize| {
        let client = cluster.connect(0, node(number));
        client.subscribe("a", QOS_0);
        client
    };
    let clients = (0..count).map(connect).collect();
    (cluster, clients)
}

#[test]
fn going_through_a_large_team_is_spread_over_turns_and_keeps_nobody_waiting() {
    let (cluster, clients) = crowd(3000);
    let other = cluster.connect(0, client("alice@beta"));
    let reviewed = || cluster.counters(0).sessions_reviewed;
    let review = team("alpha", TeamStanding::Members, ChangeKind::Members).into();
    cluster.hand_review(0, &review);
    other.send_later(pingreq());
    let (mut last, mut turns) = (0, 0);
    while last < clients.len() as u64 {
        assert!(cluster.turn());
        let now = reviewed();
        // A session and its one subscription count two.
        assert!(
            now - last <= REVIEW_STEPS / 2 + 1,
            "{} in a turn",
            now - last
        );
        (last, turns) = (now, turns + 1);
        if turns == 1 {
            assert_eq!(other.answer(), ServerPacket::PingResp);
        }
    }
    assert!(
        turns <= 2 + clients.len() as u64 * 2 / (REVIEW_STEPS - 64),
        "{turns} turns"
    );
}

#[test]
fn ending_a_crowd_is_spread_over_more_turns() {
    let (cluster, clients) = crowd(1000);
    let review = revoked(NODES).into();
    cluster.hand_review(0, &review);
    let open = || clients.iter().filter(|client| client.is_open()).count() as u64;
    let mut last = open();
    while last > 0 {
        assert!(cluster.turn());
        let now = open();
        assert!(
            last - now <= REVIEW_STEPS / END_STEPS + 1,
            "{} in a turn",
            last - now
        );
        last = now;
    }
    assert_eq!(cluster.sessions(), 0);
}

#[test]
fn one_principal_is_found_without_looking_at_everybody() {
    let (cluster, _clients) = crowd(1000);
    let bob = cluster.connect(0, client("bob@alpha"));
    let review = revoked("bob@alpha").into();
    cluster.hand_review(0, &review);
    cluster.turn();
    assert_eq!(cluster.counters(0).sessions_reviewed, 1);
    cluster.turn();
    assert!(!bob.is_open());
}
