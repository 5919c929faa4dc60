//! What one connection may make its shard do before the others have their turn.

use crate::cluster::*;
use cofferdam::broker::Drop;
use cofferdam::limits::Limits;
use cofferdam::wire::client::{Property, Publish, ServerPacket, disconnect, pingreq, subscribe};
use cofferdam::wire::{ReasonCode, Version};

/// What the packets of one connection may cost in one visit at most, and how many retained messages
/// it may have looked at: as in `broker::lanes` and `broker::turn`.
const PACKET_STEPS: usize = 4096;
const RETAINED_STEPS: u64 = 1024;

/// Filters of ten levels that all match `x/x/x/x/x/x/x/x/x/<anything>`, nine levels of which are
/// either as written or a wildcard.
fn filters(count: usize) -> Vec<String> {
    let level = |filter: usize, place: usize| match filter >> place & 1 {
        0 => "x/",
        _ => "+/",
    };
    let filter = |i| (0..9).map(|place| level(i, place)).collect::<String>() + "+";
    (0..count).map(filter).collect()
}

fn subscribe_all(client: &Client, filters: &[String]) {
    let asked: Vec<_> = filters.iter().map(|f| (&**f, options(QOS_0))).collect();
    for part in asked.chunks(100) {
        let codes = client.try_subscribe(part, &[]);
        assert!(codes.iter().all(|code| !code.is_error()), "{codes:?}");
    }
}

fn roomy() -> Limits {
    Limits {
        max_outbox_bytes: 64 << 20,
        ..Limits::default()
    }
}

fn turns_of(cluster: &Cluster, act: impl FnOnce()) -> u64 {
    let before = cluster.turns();
    act();
    cluster.turns() - before
}

/// The turns that it takes to do all that was sent; in the first of them another is served too.
fn turns_that_leave_room_for(other: &Client, cluster: &Cluster) -> u64 {
    other.send_later(pingreq());
    turns_of(cluster, || {
        assert!(cluster.turn());
        assert_eq!(other.answer(), ServerPacket::PingResp);
        cluster.run();
    })
}

#[test]
fn filters_that_match_no_retained_message_do_not_keep_the_others_waiting() {
    let cluster = Cluster::new(1);
    let keeper = cluster.connect(0, client("alice@alpha"));
    for i in 0..2000 {
        keeper.retain(&format!("r{i}/a"), "1");
    }
    let greedy = cluster.connect(0, client("bob@alpha"));
    let other = cluster.connect(0, client("carol@beta"));
    let filters: Vec<String> = (0..50).map(|i| format!("+/z{i}")).collect();
    let asked: Vec<_> = filters.iter().map(|f| (&**f, options(QOS_0))).collect();
    greedy.send_later(subscribe(Version::V5, 1, &asked, &[]));
    let turns = turns_that_leave_room_for(&other, &cluster);
    assert!(turns + 3 >= 50 * 2000 / RETAINED_STEPS, "{turns} turns");
    assert!(matches!(greedy.answer(), ServerPacket::SubAck { codes, .. } if codes.len() == 50));
}

#[test]
fn retained_messages_that_are_not_handed_out_count_as_well() {
    let cluster = Cluster::new(1);
    let keeper = cluster.connect(0, client("alice@alpha"));
    for i in 0..5000 {
        keeper.put(Publish {
            retain: true,
            properties: vec![Property::MessageExpiry(1)],
            ..Publish::new(&format!("r{i}"), b"1")
        });
    }
    cluster.pass_secs(2);
    let late = cluster.connect(0, client("bob@alpha"));
    let turns = turns_of(&cluster, || late.subscribe("#", QOS_0));
    assert!(turns >= 5000 / RETAINED_STEPS, "{turns} turns");
    assert_eq!(late.messages(), []);
    let kept = cluster.team("alpha").with_retained(|kept| kept.len());
    assert_eq!(kept, 0, "all were found to have expired");
}

#[test]
fn a_reader_who_takes_everything_at_once_does_not_get_a_large_set_at_once() {
    let cluster = Cluster::new(1);
    let keeper = cluster.connect(0, client("alice@alpha"));
    let payload = "p".repeat(10_000);
    for i in 0..100 {
        keeper.retain(&format!("r{i:02}"), &payload);
    }
    let late = cluster.connect(0, client("bob@alpha"));
    let turns = turns_of(&cluster, || late.subscribe("#", QOS_0));
    assert_eq!(late.messages().len(), 100);
    // 64 KiB and one message are encoded ahead.
    assert!(turns >= 100 * 10_000 / (65_536 + 10_050), "{turns} turns");
}

#[test]
fn publishes_that_are_dear_to_match_are_spread_over_turns() {
    let cluster = Cluster::limited(1, roomy());
    let greedy = cluster.connect(0, client("bob@alpha"));
    let wanted: Vec<String> = filters(512).iter().map(|f| format!("{f}/no")).collect();
    subscribe_all(&greedy, &wanted);
    let other = cluster.connect(0, client("carol@beta"));
    // 1,023 nodes above the last wildcard, and 512 below it.
    let publishes: Vec<u8> = (0..200)
        .map(|i| Publish::new(&format!("{}{i}", "x/".repeat(9)), b"").encode(Version::V5))
        .collect::<Vec<_>>()
        .concat();
    greedy.send_later(publishes);
    let turns = turns_that_leave_room_for(&other, &cluster);
    assert!(
        turns >= 200 * 1535 / (PACKET_STEPS as u64 + 1535),
        "{turns} turns"
    );
    assert!(greedy.is_open());
    assert_eq!(cluster.counters(0).messages_in[0], 200);
}

#[test]
fn no_batch_for_another_shard_is_larger_than_a_turn_allows() {
    let cluster = Cluster::limited(2, roomy());
    let wide = cluster.connect(1, client("bob@alpha"));
    subscribe_all(&wide, &filters(512));
    let loud = cluster.connect(0, client("alice@alpha"));
    let topic = format!("{}1", "x/".repeat(9));
    let first = Publish {
        properties: vec![Property::TopicAlias(1)],
        ..Publish::new(&topic, b"m")
    };
    let again = Publish {
        properties: vec![Property::TopicAlias(1)],
        ..Publish::new("", b"m")
    };
    let mut packets = first.encode(Version::V5);
    (1..200).for_each(|_| packets.extend(again.encode(Version::V5)));
    cluster.hold_between();
    loud.send(packets);
    let batches = cluster.batches_between(0, 1);
    let largest = batches.iter().max().copied().unwrap_or(0);
    let under_way = batches.iter().sum::<usize>();
    assert!(
        (512..=PACKET_STEPS + 512).contains(&largest),
        "{largest} deliveries in one batch"
    );
    assert!(under_way < 200 * 512, "no more than may be on its way");
    cluster.release_between();
    assert_eq!(wide.messages().len(), 200 * 512);
}

/// A publisher who has sent more than one turn allows, in the midst of it; who hears it; and how
/// many messages that will be.
fn paused(cluster: &Cluster, end: &[u8]) -> (Client, Client, usize) {
    let hearer = cluster.connect(0, client("bob@alpha"));
    let wanted = filters(512);
    subscribe_all(&hearer, &wanted);
    hearer.subscribe("will", QOS_0);
    let loud = client("alice@alpha").will("will", "gone");
    let loud = cluster.connect(0, loud);
    let topic = format!("{}1", "x/".repeat(9));
    let mut packets = Publish::new(&topic, b"m").encode(Version::V5).repeat(100);
    packets.extend(end);
    loud.send_later(packets);
    assert!(cluster.turn());
    let heard = hearer.messages();
    assert!(
        !heard.is_empty() && heard.len() < 100 * 512,
        "{}",
        heard.len()
    );
    (loud, hearer, 100 * 512 - heard.len())
}

#[test]
fn what_was_sent_before_the_connection_was_lost_is_served_before_its_will() {
    let cluster = Cluster::limited(1, roomy());
    let (loud, hearer, left) = paused(&cluster, &[]);
    loud.cut();
    let heard = hearer.messages();
    assert_eq!(heard.len(), left + 1);
    assert_eq!(heard.last(), Some(&Publish::new("will", b"gone")));
    assert_eq!(cluster.connections(), 1, "the other's place is free");
}

#[test]
fn a_disconnect_behind_them_is_heeded() {
    let cluster = Cluster::limited(1, roomy());
    let bye = disconnect(Version::V5, ReasonCode::Success, &[]);
    let (loud, hearer, left) = paused(&cluster, &bye);
    loud.cut();
    assert_eq!(hearer.messages().len(), left, "and no will");
    assert_eq!(cluster.connections(), 1);
}

#[test]
fn who_is_taken_over_in_the_midst_of_it_is_gone_and_what_it_sent_with_it() {
    let cluster = Cluster::limited(1, roomy());
    let (loud, hearer, left) = paused(&cluster, &[]);
    let again = cluster.dial(0, client("alice@alpha"));
    assert!(!loud.is_open());
    assert_eq!(again.connack().code, 0);
    assert!(hearer.messages().len() <= left + 1);
    assert_eq!(cluster.connections(), 2);
    assert_eq!(cluster.dropped(Drop::Gone), 0);
}
