//! Fair share: teams get equal turns of a shard, whatever their number of connections.

use crate::cluster::*;
use cofferdam::limits::Limits;
use cofferdam::wire::Version;
use cofferdam::wire::client::{Publish, ServerPacket, pingreq};

/// What a team's lane may take of an epoch while teams share a shard, and one connection of a visit:
/// as in `broker::lanes`. A publish that nobody hears counts one, for the packet.
const QUANTUM: u64 = 512;
const VISIT: u64 = 256;

/// Messages of all shards that may be on their way to others: as in `team::transit`.
const IN_TRANSIT: usize = 32_768;

fn publishes(topic: &str, count: usize) -> Vec<u8> {
    Publish::new(topic, b"m").encode(Version::V5).repeat(count)
}

/// So many connections of `alpha`, each under a client id of its own.
fn crowd(cluster: &Cluster, shard: u16, count: usize) -> Vec<Client> {
    let one = |place| cluster.connect(shard, anonymous(&format!("crowd{place}")));
    (0..count).map(one).collect()
}

fn roomy() -> Limits {
    Limits {
        max_outbox_bytes: 64 << 20,
        ..Limits::default()
    }
}

#[test]
fn two_hundred_connections_get_no_more_done_in_a_turn_than_their_team_may() {
    let cluster = Cluster::new(1);
    let crowd = crowd(&cluster, 0, 200);
    let other = cluster.connect(0, client("bob@beta"));
    crowd
        .iter()
        .for_each(|one| one.send_later(publishes("x", 1_000)));
    other.send_later(pingreq());
    let before = cluster.counters(0).messages_in[0];
    assert!(cluster.turn());
    assert_eq!(other.answer(), ServerPacket::PingResp);
    let done = cluster.counters(0).messages_in[0] - before;
    // Those who come, until the share is used up; and one round of those who wait.
    let most = 2 * (QUANTUM + VISIT);
    assert!((1..=most).contains(&done), "{done} messages in one turn");
    cluster.run();
    assert_eq!(
        cluster.counters(0).messages_in[0] - before,
        200_000,
        "nothing is lost"
    );
}

#[test]
fn a_team_with_one_connection_gets_as_many_turns_as_one_with_fifty() {
    let cluster = Cluster::new(1);
    let hearers = ["alpha", "beta"].map(|team| {
        let hearer = cluster.connect(0, client(&format!("carol@{team}")));
        hearer.subscribe("#", QOS_0);
        hearer
    });
    let crowd = crowd(&cluster, 0, 50);
    let single = cluster.connect(0, client("bob@beta"));
    crowd
        .iter()
        .for_each(|one| one.send_later(publishes("x", 2_000)));
    single.send_later(publishes("x", 5_000));
    let (mut of_many, mut of_one) = (0, 0);
    while of_one < 5_000 {
        assert!(cluster.turn());
        of_many += hearers[0].messages().len();
        of_one += hearers[1].messages().len();
    }
    let share = of_many as f64 / of_one as f64;
    assert!(
        (0.8..1.25).contains(&share),
        "{of_many} of the many, {of_one} of the one"
    );
}

#[test]
fn the_connections_of_one_team_take_turns_among_themselves() {
    let cluster = Cluster::new(1);
    let hearer = cluster.connect(0, client("carol@alpha"));
    hearer.subscribe("#", QOS_0);
    let crowd = crowd(&cluster, 0, 10);
    for (place, one) in crowd.iter().enumerate() {
        one.send_later(publishes(&place.to_string(), 1_000));
    }
    let mut heard = [0_usize; 10];
    while heard.iter().sum::<usize>() < 5_000 {
        assert!(cluster.turn());
        for message in hearer.messages() {
            heard[message.topic.parse::<usize>().expect("a number")] += 1;
        }
    }
    let (least, most) = (heard.iter().min(), heard.iter().max());
    let apart = most.expect("ten") - least.expect("ten");
    assert!(apart <= VISIT as usize, "{heard:?}");
}

#[test]
fn a_packet_that_is_dear_is_paid_for_before_its_team_goes_on() {
    let cluster = Cluster::limited(1, roomy());
    for part in 0..20 {
        let fan = cluster.connect(0, anonymous(&format!("fan{part}")));
        for filter in ["a/+", "a/#", "a/b"] {
            fan.subscribe(filter, QOS_0);
        }
    }
    let dear = cluster.connect(0, client("alice@alpha"));
    let cheap = cluster.connect(0, client("bob@beta"));
    let hearer = cluster.connect(0, client("carol@beta"));
    hearer.subscribe("#", QOS_0);
    // Each counts 1 for the packet and 60 deliveries; of the others each counts 2.
    dear.send_later(publishes("a/b", 1_000));
    cheap.send_later(publishes("x", 4_000));
    let before = cluster.counters(0).messages_out[0];
    let mut heard = 0;
    while heard < 4_000 {
        assert!(cluster.turn());
        heard += hearer.messages().len();
    }
    let of_dear = (cluster.counters(0).messages_out[0] - before) as usize - heard;
    assert!(
        of_dear > 0 && of_dear <= 2 * 4_000 * 5 / 4,
        "{of_dear} deliveries beside {heard}"
    );
}

#[test]
fn what_one_team_sends_between_shards_does_not_keep_another_teams_messages_waiting() {
    let cluster = Cluster::limited(2, roomy());
    let [far_alpha, far_beta] = ["alpha", "beta"].map(|team| {
        let far = cluster.connect(1, client(&format!("carol@{team}")));
        far.subscribe("x", QOS_0);
        far
    });
    let crowd = crowd(&cluster, 0, 20);
    let quiet = cluster.connect(0, client("bob@beta"));
    cluster.hold_between();
    crowd
        .iter()
        .for_each(|one| one.send_later(publishes("x", 5_000)));
    cluster.run();
    let under_way: usize = cluster.batches_between(0, 1).iter().sum();
    let bound = IN_TRANSIT + 2 * (QUANTUM + VISIT) as usize;
    assert!(
        (IN_TRANSIT..=bound).contains(&under_way),
        "{under_way} on their way"
    );
    let served = cluster.counters(0).messages_in[0];
    assert!(served < 20 * 5_000, "publishers wait");

    quiet.publish("x", "hello");
    assert_eq!(
        cluster.batches_between(0, 1).iter().sum::<usize>(),
        under_way + 1,
        "it does not"
    );
    cluster.hand_over_between();
    assert!(cluster.turn());
    assert_eq!(far_beta.heard(), ["x hello"], "in the first turn");
    assert!(far_alpha.messages().len() <= 2 * (QUANTUM + VISIT) as usize);
    cluster.release_between();
    assert_eq!(cluster.counters(0).messages_in[0], 20 * 5_000 + 1);
    assert_eq!(
        cluster.counters(1).messages_out[0],
        20 * 5_000 + 1,
        "nothing is lost"
    );
    assert_eq!(cluster.team("alpha").transit.count(), 0);
}

#[test]
fn a_client_that_waits_for_its_teams_turn_is_not_taken_for_silent() {
    let cluster = Cluster::limited(2, roomy());
    let far = cluster.connect(1, client("carol@alpha"));
    far.subscribe("x", QOS_0);
    let loud = cluster.connect(0, client("alice@alpha").keep_alive(10));
    cluster.hold_between();
    loud.send(publishes("x", 2 * IN_TRANSIT));
    cluster.pass_secs(60);
    assert!(loud.is_open());
    cluster.release_between();
    assert_eq!(far.messages().len(), 2 * IN_TRANSIT);
    cluster.pass_secs(60);
    assert!(!loud.is_open(), "now it is");
}

#[test]
fn those_who_are_not_logged_in_share_one_teams_part() {
    let cluster = Cluster::new(1);
    let member = cluster.connect(0, client("alice@alpha"));
    cluster.hold_logins();
    let strangers: Vec<_> = (0..2_000)
        .map(|_| {
            let stranger = cluster.open(0, &client("bob@beta"));
            stranger.send_later(client("bob@beta").connect.encode());
            stranger
        })
        .collect();
    member.send_later(pingreq());
    assert!(cluster.turn());
    assert_eq!(member.answer(), ServerPacket::PingResp);
    let heard = strangers.iter().filter(|one| one.unread() == 0).count();
    assert!(
        (1..=2 * QUANTUM as usize).contains(&heard),
        "{heard} were read in one turn"
    );
    cluster.run();
    assert!(strangers.iter().all(|one| one.unread() == 0));
}
