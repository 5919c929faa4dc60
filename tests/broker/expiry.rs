//! Logins that hold until a time: the connection ends with the token or certificate that made it.

use crate::cluster::*;
use cofferdam::broker::{DisconnectCause, EventKind};
use cofferdam::time::Span;
use cofferdam::wire::client::{self as packets, Property, ServerPacket};
use cofferdam::wire::{ReasonCode, Version};

/// In so many seconds, `alice@alpha`'s next login is over.
fn alice_for(cluster: &Cluster, secs: u64) {
    let expires = cluster.now() + Span::from_secs(secs);
    cluster.directory().until("alice@alpha", expires);
}

/// The causes with which connections ended since the last call.
fn causes(cluster: &Cluster) -> Vec<DisconnectCause> {
    let record = cluster.record().into_iter();
    let causes = record.filter_map(|kind| match kind {
        EventKind::Disconnected { cause, .. } => Some(cause),
        _ => None,
    });
    causes.collect()
}

fn goodbye() -> ServerPacket {
    ServerPacket::Disconnect {
        reason: ReasonCode::MaximumConnectTime,
        properties: Vec::new(),
    }
}

#[test]
fn a_connection_ends_when_its_login_is_over_and_not_before() {
    for version in [Version::V31, Version::V311, Version::V5] {
        for keep_alive in [0, 5, 3600] {
            let cluster = Cluster::new(1);
            alice_for(&cluster, 60);
            let hello = client("alice@alpha").version(version);
            let alice = cluster.connect(0, hello.keep_alive(keep_alive));
            for _ in 0..59 {
                cluster.pass_secs(1);
                alice.send(packets::pingreq());
                assert_eq!(alice.received(), [ServerPacket::PingResp]);
            }
            cluster.pass_secs(1);
            let told = alice.received();
            match version {
                Version::V5 => assert_eq!(told, [goodbye()]),
                _ => assert_eq!(told, []),
            }
            assert!(!alice.is_open());
            assert_eq!(causes(&cluster), [DisconnectCause::Expired]);
        }
    }
}

#[test]
fn its_will_goes_out_its_session_waits_and_nobody_else_notices() {
    let cluster = Cluster::new(1);
    let bob = cluster.connect(0, client("bob@alpha"));
    bob.subscribe("will", QOS_0);
    alice_for(&cluster, 60);
    let hello = client("alice@alpha").kept(3600).will("will", "gone");
    let alice = cluster.connect(0, hello.clone());
    alice.subscribe("a", QOS_1);
    cluster.pass_secs(60);
    assert!(!alice.is_open() && bob.is_open());
    assert_eq!(bob.heard(), ["will gone"]);
    assert_eq!(bob.publish_at(QOS_1, "a", "waits"), ReasonCode::Success);
    alice_for(&cluster, 60);
    let again = cluster.dial(0, hello);
    match &again.received()[..] {
        [ServerPacket::ConnAck(connack), ServerPacket::Publish(kept)] => {
            assert!(connack.session_present);
            assert_eq!(kept.payload, b"waits");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn it_ends_on_the_shard_that_its_session_lives_on_too() {
    let cluster = Cluster::new(2);
    let hello = client("alice@alpha").kept(3600);
    cluster.connect(0, hello.clone()).cut();
    alice_for(&cluster, 60);
    let alice = cluster.dial(1, hello);
    assert!(alice.connack().session_present);
    assert_eq!(alice.shard(), Some(0));
    cluster.events();
    cluster.pass_secs(59);
    assert!(alice.is_open());
    cluster.pass_secs(1);
    assert!(!alice.is_open());
    assert_eq!(causes(&cluster), [DisconnectCause::Expired]);
}

#[test]
fn a_proof_that_is_renewed_in_time_renews_the_connection() {
    let cluster = Cluster::new(1);
    let said = |data: &str| {
        vec![
            Property::AuthenticationMethod(RIDDLE.to_owned()),
            Property::AuthenticationData(data.as_bytes().to_owned()),
        ]
    };
    alice_for(&cluster, 60);
    let alice = cluster.dial(0, client("alice@alpha").riddle());
    alice.received();
    let answer = || packets::auth(ReasonCode::ContinueAuthentication, &said(PASSWORD));
    alice.send(answer());
    assert_eq!(alice.connack().code, 0);
    for _ in 0..3 {
        cluster.pass_secs(50);
        alice_for(&cluster, 60);
        alice.send(packets::auth(
            ReasonCode::ReAuthenticate,
            &said("alice@alpha"),
        ));
        alice.send(answer());
        alice.received();
    }
    cluster.pass_secs(59);
    assert!(alice.is_open());
    cluster.pass_secs(1);
    assert_eq!(alice.received(), [goodbye()]);
    assert_eq!(causes(&cluster), [DisconnectCause::Expired]);
}
