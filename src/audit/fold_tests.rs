//! What folding keeps, and what it counts.

use super::*;
use crate::audit::record::Record;
use crate::broker::{Peer, Refusal, Who};
use crate::wire::ReasonCode;

fn event(at: u64, team: &str, client: &str, from: &str, kind: EventKind) -> Box<Event> {
    Box::new(Event {
        at: Time::from_micros(at),
        who: Who {
            team: TeamId::new(team),
            username: Some(Arc::from(format!("{client}@{team}"))),
            client_id: Some(Arc::from(client)),
            peer: Peer {
                address: from.parse().unwrap(),
                listener: Arc::from("devices"),
            },
        },
        kind,
    })
}

fn publish(at: u64, team: &str, client: &str, why: &'static str) -> Box<Event> {
    let kind = EventKind::PublishRefused {
        topic: format!("t/{at}").into(),
        reason: ReasonCode::NotAuthorized,
        why,
        will: false,
    };
    event(at, team, client, "192.0.2.1:1", kind)
}

fn connect(at: u64, client: &str, from: &str) -> Box<Event> {
    let kind = EventKind::ConnectRefused {
        reason: Refusal::WrongPassword,
        told: None,
    };
    event(at, "", client, from, kind)
}

/// Count, time of the first, time of the last, scope; in order of time.
fn swept(folds: &mut Folds) -> Vec<(u64, u64, u64, Scope)> {
    let mut all: Vec<_> = folds
        .sweep()
        .iter()
        .map(|it| {
            let (since, at) = (it.since.as_micros(), it.event.at.as_micros());
            (it.count, since, at, it.scope)
        })
        .collect();
    all.sort_unstable_by_key(|it| it.1);
    all
}

#[test]
fn some_refusals_are_on_record_at_once_and_more_like_them_once_a_sweep_with_their_count() {
    let mut folds = Folds::new();
    let own = u64::from(ROWS);
    for at in 1..=own {
        assert!(folds.admit(publish(at, "a", "x", "policy")).is_some());
    }
    for at in own + 1..=1_000 {
        assert_eq!(folds.admit(publish(at, "a", "x", "policy")), None);
    }
    assert_eq!(folds.waiting(), 1_000 - own);
    assert_eq!(
        swept(&mut folds),
        [(1_000 - own, own + 1, 1_000, Scope::Client)]
    );
    // Still within a second of the row.
    assert_eq!(folds.admit(publish(1_001, "a", "x", "policy")), None);
    assert_eq!(swept(&mut folds), [(1, 1_001, 1_001, Scope::Client)]);
    // Quiet for a sweep: forgotten, and the next is a first again.
    assert_eq!(swept(&mut folds), []);
    assert!(folds.folds.is_empty());
    assert!(folds.admit(publish(2_000, "a", "x", "policy")).is_some());
}

#[test]
fn refusals_of_other_teams_clients_and_reasons_are_told_apart() {
    let mut folds = Folds::new();
    for (team, client, why) in [
        ("a", "x", "policy"),
        ("b", "x", "policy"),
        ("a", "y", "policy"),
        ("a", "x", "quota"),
    ] {
        assert!(folds.admit(publish(1, team, client, why)).is_some());
    }
}

#[test]
fn a_table_that_one_team_has_filled_counts_the_rest_by_team_and_has_room_for_others() {
    let mut folds = Folds::new();
    let clients = FOLDS_MAX as u64;
    let at_once = (0..clients)
        .filter(|at| {
            let client = at.to_string();
            folds.admit(publish(*at, "a", &client, "policy")).is_some()
        })
        .count() as u64;
    assert!(at_once >= clients / 4 && at_once < clients, "{at_once}");
    let first = folds.admit(publish(clients, "b", "x", "policy"));
    assert!(first.is_some());
    let rest = clients - at_once;
    assert_eq!(
        swept(&mut folds),
        [(rest, at_once, clients - 1, Scope::Team)]
    );
}

#[test]
fn refused_connections_of_one_address_are_counted_beyond_ten_a_sweep() {
    let mut folds = Folds::new();
    for round in 0..2 {
        for at in 0..100 {
            let first = folds.admit(connect(at, "x", &format!("192.0.2.1:{}", at + 1)));
            assert_eq!(first.is_some(), at < 10, "{round} {at}");
        }
        assert!(folds.admit(connect(200, "x", "192.0.2.2:1")).is_some());
        assert_eq!(swept(&mut folds), [(90, 10, 99, Scope::Client)]);
    }
}

#[test]
fn refused_connections_under_several_names_are_nobodys() {
    let mut folds = Folds::new();
    for at in 0..12 {
        let client = at.to_string();
        folds.admit(connect(at, &client, "[2001:db8::1]:1"));
    }
    // The neighbour in its network is the same caller.
    folds.admit(connect(12, "x", "[2001:db8::2]:1"));
    let folded = folds.sweep().remove(0);
    assert_eq!((folded.count, folded.scope), (3, Scope::Address));
    assert_eq!(
        (folded.event.who.username, folded.event.who.client_id),
        (None, None)
    );
}

#[test]
fn a_fold_keeps_no_more_of_a_topic_than_a_row_does() {
    let mut folds = Folds::new();
    for _ in 0..=ROWS {
        let kind = EventKind::SubscribeRefused {
            filter: "ÿ".repeat(30_000).into(),
            reason: ReasonCode::NotAuthorized,
            why: "policy",
        };
        folds.admit(event(1, "a", "x", "192.0.2.1:1", kind));
    }
    let EventKind::SubscribeRefused { filter, .. } = &folds.sweep()[0].event.kind else {
        panic!("another event");
    };
    assert_eq!(filter.len(), MAX_TEXT_BYTES + 2);
}

#[test]
fn a_limit_that_is_hit_is_told_once_and_then_by_the_minute_with_its_count() {
    let mut folds = Folds::new();
    let hit = |at: u64, count: u64| {
        let limit = crate::limits::Limit::MessageRate;
        let kind = EventKind::LimitHit { limit, count };
        event(at, "a", "x", "192.0.2.1:1", kind)
    };
    assert!(folds.admit(hit(1, 1)).is_some());
    for at in 2..LIMIT_SWEEPS {
        assert!(folds.admit(hit(u64::from(at), 10)).is_none());
        assert_eq!(folds.sweep().len(), 0);
    }
    let mut folded = folds.sweep();
    folded.extend(folds.sweep());
    assert_eq!(folded.len(), 1);
    let told = Record::folded(&folded[0]);
    assert_eq!(told.detail["hits"], 10 * (u64::from(LIMIT_SWEEPS) - 2));
    // What is left at the end need not wait for its minute.
    assert!(folds.admit(hit(99, 3)).is_none());
    assert_eq!(folds.sweep_all().len(), 1);
}
