//! Enhanced authentication: challenges on the way in, and the proof renewed while logged in.

use crate::cluster::*;
use cofferdam::broker::{DisconnectCause, EventKind, ExchangeState, Refusal, Verdict};
use cofferdam::limits::Limits;
use cofferdam::time::Span;
use cofferdam::wire::client::{Property, ServerPacket};
use cofferdam::wire::{ReasonCode, Version, client as packets};

const CONTINUE: ReasonCode = ReasonCode::ContinueAuthentication;
const AGAIN: ReasonCode = ReasonCode::ReAuthenticate;

fn alice() -> Hello {
    client("alice@alpha").riddle()
}

/// AUTH of the directory's method.
fn auth(reason: ReasonCode, data: &str) -> Vec<u8> {
    auth_by(RIDDLE, reason, data)
}

fn auth_by(method: &str, reason: ReasonCode, data: &str) -> Vec<u8> {
    packets::auth(reason, &properties(method, data))
}

fn properties(method: &str, data: &str) -> Vec<Property> {
    vec![
        Property::AuthenticationMethod(method.to_owned()),
        Property::AuthenticationData(data.as_bytes().to_owned()),
    ]
}

/// What a server's AUTH of the directory's method is read as.
fn told(reason: ReasonCode, data: &str) -> ServerPacket {
    ServerPacket::Auth {
        reason,
        properties: properties(RIDDLE, data),
    }
}

fn goodbye(reason: ReasonCode) -> ServerPacket {
    ServerPacket::Disconnect {
        reason,
        properties: Vec::new(),
    }
}

fn refused(reason: Refusal, told: Option<ReasonCode>) -> EventKind {
    EventKind::ConnectRefused { reason, told }
}

fn not_renewed(reason: Refusal, told: ReasonCode) -> EventKind {
    EventKind::ReauthenticationRefused { reason, told }
}

/// A client that has been asked and has not answered.
#[track_caller]
fn challenged(cluster: &Cluster, shard: u16, hello: Hello) -> Client {
    let client = cluster.dial(shard, hello);
    assert_eq!(client.answer(), told(CONTINUE, "riddle"));
    client
}

/// A client that has come in by the directory's method.
#[track_caller]
fn come_in(cluster: &Cluster, shard: u16, hello: Hello) -> Client {
    let client = challenged(cluster, shard, hello);
    client.send(auth(CONTINUE, PASSWORD));
    assert_eq!(client.connack().code, 0);
    cluster.events();
    client
}

/// The cause with which the only connection ended, and what stood on record before.
#[track_caller]
fn ended(cluster: &Cluster) -> (Vec<EventKind>, DisconnectCause) {
    let mut record = cluster.record();
    record.retain(|kind| !matches!(kind, EventKind::WillSent { .. }));
    match record.pop() {
        Some(EventKind::Disconnected { cause, .. }) => (record, cause),
        other => panic!("not ended: {record:?} {other:?}"),
    }
}

/// Shows: MQTT-4.12.0-1 (5.0)
#[test]
fn a_method_that_is_not_known_is_named_so() {
    let cluster = Cluster::new(1);
    let client = cluster.dial(0, client("alice@alpha").method("CROSSWORD"));
    assert_eq!(client.bytes(), [0x20, 3, 0, 0x8C, 0]);
    assert!(!client.is_open());
    let code = ReasonCode::BadAuthenticationMethod;
    assert_eq!(cluster.record(), [refused(Refusal::Method, Some(code))]);
}

/// Shows: MQTT-3.15.2-1, MQTT-3.15.2-2, MQTT-3.15.2-3, MQTT-4.12.0-2, MQTT-4.12.0-5 (5.0)
#[test]
fn a_challenge_that_is_answered_leads_to_a_connack_with_the_method_and_its_last_word() {
    let cluster = Cluster::new(1);
    let client = challenged(&cluster, 0, alice());
    assert!(cluster.record().is_empty(), "nobody is in yet");
    client.send(auth(CONTINUE, PASSWORD));
    let connack = client.connack();
    assert_eq!(connack.code, 0);
    for property in properties(RIDDLE, "solved") {
        assert!(connack.properties.contains(&property), "{connack:?}");
    }
    let events = cluster.events();
    assert!(matches!(events[0].kind, EventKind::Connected { .. }));
    assert_eq!(events[0].who.username.as_deref(), Some("alice@alpha"));
    client.subscribe("a", QOS_1);
    client.publish("a", "served like everybody");
    assert_eq!(client.heard(), ["a served like everybody"]);
}

/// Shows: MQTT-4.12.0-6 (5.0)
#[test]
fn a_connack_names_no_method_where_connect_did_not() {
    let cluster = Cluster::new(1);
    let connack = cluster.dial(0, client("alice@alpha")).connack();
    let named = |property: &Property| matches!(property, Property::AuthenticationMethod(_));
    assert!(!connack.properties.iter().any(named), "{connack:?}");
}

/// Shows: MQTT-4.12.0-4 (5.0)
#[test]
fn a_wrong_answer_is_told_like_any_wrong_password_and_recorded_under_the_name_that_was_claimed() {
    let cluster = Cluster::new(1);
    cluster.directory().suspend("beta");
    for (username, answer, reason) in [
        ("alice@alpha", "wrong", Refusal::WrongPassword),
        ("nobody@alpha", PASSWORD, Refusal::UnknownUser),
        ("alice@beta", PASSWORD, Refusal::TeamSuspended),
    ] {
        let client = challenged(&cluster, 0, client(username).riddle());
        client.send(auth(CONTINUE, answer));
        assert_eq!(client.bytes(), [0x20, 3, 0, 0x86, 0], "{username}");
        assert!(!client.is_open());
        let events = cluster.events();
        let code = ReasonCode::BadUserNameOrPassword;
        assert_eq!(events[0].kind, refused(reason, Some(code)));
        assert_eq!(events[0].who.username.as_deref(), Some(username));
        assert_eq!(events.len(), 1);
    }
    assert_eq!((cluster.connections(), cluster.sessions()), (0, 0));
}

#[test]
fn the_judge_gets_back_what_it_gave_with_each_challenge() {
    let cluster = Cluster::new(1);
    cluster.hold_logins();
    let client = cluster.dial(0, alice().id("a client id"));
    for round in 0..5_u32 {
        let held = cluster.next_login().expect("a step to judge");
        let exchange = held.login.exchange.as_ref().expect("an exchange");
        let state = exchange.state.as_ref().map(|state| state.get::<u32>());
        assert_eq!(state, round.checked_sub(1).as_ref().map(Some));
        assert_eq!(&*held.login.client_id, "a client id");
        assert_eq!(held.login.password, None);
        let said = exchange.data.as_deref();
        let expected = match round {
            0 => "alice@alpha".to_owned(),
            _ => format!("answer {}", round - 1),
        };
        assert_eq!(said, Some(expected.as_bytes()));
        cluster.answer(
            &held,
            Verdict::Challenge {
                data: format!("question {round}").into_bytes().into(),
                state: ExchangeState::new(round),
                username: None,
            },
        );
        assert_eq!(
            client.answer(),
            told(CONTINUE, &format!("question {round}"))
        );
        client.send(auth(CONTINUE, &format!("answer {round}")));
    }
}

#[test]
fn an_auth_before_connect_is_closed_without_a_word() {
    let cluster = Cluster::new(1);
    let client = cluster.open(0, &alice());
    client.send(auth(CONTINUE, PASSWORD));
    assert_eq!(client.bytes(), NOTHING);
    assert!(!client.is_open());
    let malformed = Refusal::Malformed(ReasonCode::ProtocolError);
    assert_eq!(cluster.record(), [refused(malformed, None)]);
}

/// Shows: MQTT-3.1.2-30 (5.0)
#[test]
fn between_connect_and_connack_a_client_with_a_method_may_send_nothing_but_auth_and_disconnect() {
    let cluster = Cluster::new(1);
    let others = [
        packets::Publish::new("a", b"x").encode(Version::V5),
        packets::subscribe(Version::V5, 1, &[("a", options(QOS_0))], &[]),
        vec![0xC0, 0],
        alice().connect.encode(),
        vec![0x30], // its rest is not waited for
        vec![0x00],
    ];
    let code = ReasonCode::ProtocolError;
    let expected = [refused(Refusal::Malformed(code), Some(code))];
    for other in &others {
        let client = challenged(&cluster, 0, alice());
        client.send(other);
        assert_eq!(client.bytes(), [0x20, 3, 0, 0x82, 0], "{other:02x?}");
        assert!(!client.is_open());
        assert_eq!(cluster.record(), expected);

        let hasty = cluster.open(0, &alice());
        hasty.send([alice().connect.encode(), other.clone()].concat());
        assert_eq!(hasty.bytes(), [0x20, 3, 0, 0x82, 0], "{other:02x?}");
        assert_eq!(cluster.record(), expected);

        let hasty = challenged(&cluster, 0, alice());
        hasty.send([auth(CONTINUE, PASSWORD), other.clone()].concat());
        assert_eq!(hasty.bytes(), [0x20, 3, 0, 0x82, 0], "{other:02x?}");
        assert_eq!(cluster.record(), expected);
    }
    let client = challenged(&cluster, 0, alice());
    client.disconnect();
    assert_eq!(client.bytes(), NOTHING);
    assert_eq!(cluster.record(), [refused(Refusal::Gone, None)]);
}

/// Shows: MQTT-4.12.0-3, MQTT-4.12.0-4 (5.0)
#[test]
fn an_exchange_keeps_to_its_method_and_to_its_reason_code() {
    let cluster = Cluster::new(1);
    for (answer, code) in [
        (
            auth_by("OTHER", CONTINUE, PASSWORD),
            ReasonCode::BadAuthenticationMethod,
        ),
        (auth(AGAIN, PASSWORD), ReasonCode::ProtocolError),
        (packets::auth(CONTINUE, &[]), ReasonCode::ProtocolError),
        (vec![0xF1, 0], ReasonCode::MalformedPacket),
    ] {
        let client = challenged(&cluster, 0, alice());
        client.send(&answer);
        let byte = code.as_byte();
        assert_eq!(client.bytes(), [0x20, 3, 0, byte, 0], "{answer:02x?}");
        assert!(!client.is_open());
        assert_eq!(
            cluster.record(),
            [refused(Refusal::Malformed(code), Some(code))]
        );
    }
}

#[test]
fn the_time_for_a_login_counts_over_the_whole_exchange() {
    let cluster = Cluster::new(1);
    cluster.hold_logins();
    let client = cluster.dial(0, alice());
    let question = || Verdict::Challenge {
        data: Box::from(*b"?"),
        state: ExchangeState::new(()),
        username: None,
    };
    for _ in 0..3 {
        cluster.pass_secs(3);
        let held = cluster.next_login().expect("a step to judge");
        cluster.answer(&held, question());
        client.send(auth(CONTINUE, "!"));
    }
    let held = cluster.next_login().expect("a step to judge");
    cluster.answer(&held, question());
    client.bytes();
    cluster.pass(Span::from_micros(999_999));
    assert!(client.is_open());
    cluster.pass(Span::from_micros(1));
    assert!(!client.is_open());
    assert_eq!(client.bytes(), NOTHING);
    assert_eq!(cluster.record(), [refused(Refusal::ExchangeTimeout, None)]);
}

#[test]
fn what_a_client_can_make_the_broker_hold_stays_bounded_during_an_exchange() {
    let cluster = Cluster::new(1);
    let limit = Limits::default().max_unauthenticated_bytes as usize;
    let client = challenged(&cluster, 0, alice());
    // The front of an AUTH as large as a packet may be, for which no room is left.
    let mut endless = vec![0xF0, 0xDC, 0xFF, 0x03];
    endless.resize(2 * limit, b'x');
    client.send(&endless);
    assert!(client.is_open());
    assert!(client.unread() > limit, "{}", client.unread());
    cluster.pass_secs(10);
    assert!(!client.is_open());

    let client = challenged(&cluster, 0, alice());
    client.send([0xF0, 0xFF, 0xFF, 0xFF, 0x7F]);
    assert_eq!(
        client.bytes(),
        [0x20, 3, 0, 0x95, 0],
        "an AUTH beyond the limit"
    );
}

/// Shows: MQTT-3.1.2-24 (5.0)
#[test]
fn a_challenge_that_the_client_would_not_take_is_not_sent() {
    let cluster = Cluster::new(1);
    let client = cluster.dial(0, alice().with(Property::MaximumPacketSize(20)));
    assert_eq!(client.bytes(), [0x20, 3, 0, 0x95, 0]);
    assert!(!client.is_open());
}

#[test]
fn a_client_that_goes_or_a_broker_that_stops_ends_an_exchange() {
    let cluster = Cluster::new(1);
    challenged(&cluster, 0, alice()).cut();
    assert_eq!(cluster.record(), [refused(Refusal::Gone, None)]);
    let client = challenged(&cluster, 0, alice());
    cluster.stop();
    assert!(!client.is_open());
    assert_eq!(cluster.record(), [refused(Refusal::Stopping, None)]);
}

#[test]
fn a_connection_that_moves_to_its_session_answers_with_the_last_word_and_remembers_its_method() {
    let cluster = Cluster::new(2);
    let hello = alice().kept(60);
    let first = come_in(&cluster, 0, hello.clone());
    first.subscribe("a", QOS_1);
    first.cut();

    let client = challenged(&cluster, 1, hello);
    client.send(auth(CONTINUE, PASSWORD));
    assert_eq!(client.shard(), Some(0));
    let connack = client.connack();
    assert!(connack.session_present);
    for property in properties(RIDDLE, "solved") {
        assert!(connack.properties.contains(&property), "{connack:?}");
    }
    client.send(auth(AGAIN, "alice@alpha"));
    assert_eq!(client.answer(), told(CONTINUE, "riddle"));
    client.send(auth(CONTINUE, PASSWORD));
    assert_eq!(client.answer(), told(ReasonCode::Success, "solved"));
}

/// Shows: MQTT-3.15.2-1, MQTT-4.12.0-5, MQTT-4.12.1-1 (5.0)
#[test]
fn a_client_can_prove_itself_again_while_its_messages_pass() {
    let cluster = Cluster::new(1);
    let client = come_in(&cluster, 0, alice());
    client.subscribe("a", QOS_1);
    for _ in 0..2 {
        client.send(auth(AGAIN, "alice@alpha"));
        assert_eq!(client.answer(), told(CONTINUE, "riddle"));
        client.publish("a", "meanwhile");
        assert_eq!(client.heard(), ["a meanwhile"]);
        client.send(auth(CONTINUE, PASSWORD));
        assert_eq!(client.answer(), told(ReasonCode::Success, "solved"));
        let events = cluster.events();
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].kind, EventKind::Reauthenticated);
        assert_eq!(events[0].who.username.as_deref(), Some("alice@alpha"));
        assert_eq!(
            events[0].who.team.as_ref().map(|id| id.as_str()),
            Some("alpha")
        );
    }
    cluster.pass_secs(3600);
    assert!(
        client.is_open(),
        "nothing of a proof that was given is still due"
    );
    client.publish("a", "on it goes");
    assert_eq!(client.heard(), ["a on it goes"]);
}

#[test]
fn what_a_client_was_allowed_to_publish_is_decided_anew_after_a_proof() {
    let cluster = Cluster::new(1);
    let reader = cluster.connect(0, client("bob@alpha"));
    reader.subscribe("#", QOS_1);
    let client = come_in(&cluster, 0, alice());
    // Twice, so that the decision is remembered.
    for _ in 0..2 {
        client.publish("out", "x");
    }
    assert_eq!(reader.heard(), ["out x", "out x"]);
    let now = ["allow publish other"];
    cluster.directory().client("alice@alpha", &now);
    client.publish("out", "the old grant holds until then");
    assert_eq!(reader.heard().len(), 1);
    prove_again(&client);
    client.publish("out", "no more");
    client.publish("other", "y");
    assert_eq!(reader.heard(), ["other y"]);
}

#[test]
fn a_subscription_that_is_not_granted_anew_ends_with_a_proof() {
    let cluster = Cluster::new(1);
    let writer = cluster.connect(0, client("bob@alpha"));
    let client = come_in(&cluster, 0, alice());
    for filter in ["kept", "lost"] {
        client.subscribe(filter, QOS_1);
    }
    let now = ["allow subscribe kept"];
    cluster.directory().client("alice@alpha", &now);
    prove_again(&client);
    for topic in ["kept", "lost"] {
        writer.publish(topic, "z");
    }
    assert_eq!(client.heard(), ["kept z"]);
}

/// Shows: MQTT-4.12.1-2 (5.0)
#[test]
fn a_client_that_fails_to_prove_itself_again_is_cut_and_its_will_goes_out() {
    let cluster = Cluster::new(1);
    let reader = cluster.connect(0, client("bob@alpha"));
    reader.subscribe("will", QOS_0);
    let hello = |username: &str| client(username).riddle().will("will", "gone");
    let not_authorized = ReasonCode::NotAuthorized;
    for (username, answer, reason) in [
        ("alice@alpha", "wrong", Refusal::WrongPassword),
        ("bob@alpha", PASSWORD, Refusal::ClientId),
        ("nobody@alpha", PASSWORD, Refusal::UnknownUser),
    ] {
        let client = come_in(&cluster, 0, hello("alice@alpha"));
        client.send(auth(AGAIN, username));
        assert_eq!(client.answer(), told(CONTINUE, "riddle"));
        client.send(auth(CONTINUE, answer));
        assert_eq!(client.answer(), goodbye(not_authorized), "{username}");
        assert!(!client.is_open());
        assert_eq!(reader.heard(), ["will gone"]);
        let expected = vec![not_renewed(reason, not_authorized)];
        assert_eq!(
            ended(&cluster),
            (expected, DisconnectCause::Server(not_authorized))
        );
    }
}

#[test]
fn nobody_becomes_somebody_else_by_a_proof() {
    let cluster = Cluster::new(1);
    let not_authorized = ReasonCode::NotAuthorized;
    // Roles that ask for no client id of their own: only the core stands between them.
    for (first, then) in [
        (instance("alpha", "a1"), "project:alpha:a2"),
        (instance("alpha", "a1"), "project:beta:b1"),
        (instance("alpha", "a1"), "forge_platform"),
    ] {
        let client = come_in(&cluster, 0, first.riddle().kept(60));
        client.send(auth(AGAIN, then));
        assert_eq!(client.answer(), told(CONTINUE, "riddle"));
        client.send(auth(CONTINUE, PASSWORD));
        assert_eq!(client.answer(), goodbye(not_authorized), "{then}");
        assert!(!client.is_open());
        let expected = vec![not_renewed(Refusal::OtherPrincipal, not_authorized)];
        assert_eq!(
            ended(&cluster),
            (expected, DisconnectCause::Server(not_authorized))
        );
    }
}

#[test]
fn where_a_proof_could_not_be_judged_the_client_is_told_that_the_server_is_busy() {
    let cluster = Cluster::new(1);
    let client = come_in(&cluster, 0, alice());
    cluster.hold_logins();
    client.send(auth(AGAIN, "alice@alpha"));
    let held = cluster.next_login().expect("a step to judge");
    cluster.answer(&held, Verdict::Undecided(Refusal::Unavailable));
    let busy = ReasonCode::ServerBusy;
    assert_eq!(client.answer(), goodbye(busy));
    assert!(!client.is_open());
    let expected = vec![not_renewed(Refusal::Unavailable, busy)];
    assert_eq!(ended(&cluster), (expected, DisconnectCause::Server(busy)));
}

#[test]
fn a_proof_has_as_much_time_as_a_login() {
    let cluster = Cluster::new(1);
    let silent = come_in(&cluster, 0, alice().keep_alive(60));
    silent.send(auth(AGAIN, "alice@alpha"));
    assert_eq!(silent.answer(), told(CONTINUE, "riddle"));
    cluster.pass(Span::from_micros(9_999_999));
    silent.send([0xC0, 0]);
    assert_eq!(silent.answer(), ServerPacket::PingResp);
    cluster.pass(Span::from_micros(1));
    let not_authorized = ReasonCode::NotAuthorized;
    assert_eq!(silent.answer(), goodbye(not_authorized));
    let expected = vec![not_renewed(Refusal::ExchangeTimeout, not_authorized)];
    assert_eq!(
        ended(&cluster),
        (expected, DisconnectCause::Server(not_authorized))
    );

    let client = come_in(&cluster, 0, alice());
    cluster.hold_logins();
    client.send(auth(AGAIN, "alice@alpha"));
    let late = cluster.next_login().expect("a step to judge");
    cluster.pass_secs(10);
    let busy = ReasonCode::ServerBusy;
    assert_eq!(client.answer(), goodbye(busy));
    let expected = vec![not_renewed(Refusal::Unavailable, busy)];
    assert_eq!(ended(&cluster), (expected, DisconnectCause::Server(busy)));
    let verdict = cluster.judge(&late);
    cluster.answer(&late, verdict);
    assert!(
        cluster.record().is_empty(),
        "a verdict that comes too late has no effect"
    );
}

#[test]
fn the_keep_alive_still_holds_after_a_proof() {
    let cluster = Cluster::new(1);
    let client = come_in(&cluster, 0, alice().keep_alive(20));
    prove_again(&client);
    cluster.pass(Span::from_micros(29_999_999));
    assert!(client.is_open());
    cluster.pass(Span::from_micros(1));
    assert_eq!(client.answer(), goodbye(ReasonCode::KeepAliveTimeout));
}

/// Shows: MQTT-4.12.0-7, MQTT-4.12.1-1 (5.0)
#[test]
fn an_auth_that_does_not_fit_ends_a_connection_that_is_logged_in() {
    let cluster = Cluster::new(1);
    let plain = cluster.connect(0, client("alice@alpha"));
    cluster.events();
    plain.send(auth(AGAIN, "alice@alpha"));
    let code = ReasonCode::ProtocolError;
    assert_eq!(plain.answer(), goodbye(code), "CONNECT named no method");
    let protocol = (vec![], DisconnectCause::Protocol(code));
    assert_eq!(ended(&cluster), protocol);

    for auth in [
        auth(CONTINUE, PASSWORD),
        auth_by("OTHER", AGAIN, "alice@alpha"),
        [auth(AGAIN, "alice@alpha"), auth(AGAIN, "alice@alpha")].concat(),
        [auth(AGAIN, "alice@alpha"), auth(CONTINUE, PASSWORD)].concat(),
    ] {
        let client = come_in(&cluster, 0, alice());
        cluster.hold_logins();
        client.send(&auth);
        assert_eq!(client.answer(), goodbye(code), "{auth:02x?}");
        assert!(!client.is_open());
        assert_eq!(ended(&cluster), protocol);
        cluster.release_logins();
    }
    let client = come_in(&cluster, 0, alice());
    client.send(auth(AGAIN, "alice@alpha"));
    client.received();
    client.send(auth(AGAIN, "alice@alpha"));
    assert_eq!(
        client.answer(),
        goodbye(code),
        "a challenge is not answered by beginning anew"
    );
}

#[test]
fn a_proof_is_judged_under_the_client_id_that_the_client_gave() {
    let cluster = Cluster::new(1);
    for (hello, expected) in [
        (instance("alpha", "a1").riddle().id("an id"), "an id"),
        (instance("alpha", "a1").riddle().id(""), ""),
    ] {
        let client = come_in(&cluster, 0, hello);
        cluster.hold_logins();
        client.send(auth(AGAIN, "project:alpha:a1"));
        let held = cluster.next_login().expect("a step to judge");
        assert_eq!(&*held.login.client_id, expected);
        cluster.release_logins();
    }
}

#[test]
fn what_a_slow_reader_may_no_longer_have_is_not_sent_to_it() {
    let limits = cofferdam::limits::Limits {
        max_outbox_bytes: 10_000,
        ..Default::default()
    };
    let cluster = Cluster::limited(1, limits);
    let publisher = cluster.connect(0, client("bob@alpha"));
    let slow = come_in(&cluster, 0, client("alice@alpha").riddle());
    slow.subscribe("#", QOS_0);
    slow.stop_reading();
    for number in 0..20 {
        publisher.publish("secret", &format!("{number:01000}"));
    }
    let encoded = slow.outbox() / 1_000;
    let patterns = ["allow both #", "deny subscribe secret"];
    cluster.directory().client("alice@alpha", &patterns);
    slow.send(auth(AGAIN, "alice@alpha"));
    slow.send(auth(CONTINUE, PASSWORD));
    slow.read_on();
    let packets = slow.received();
    let messages = packets
        .iter()
        .filter(|packet| matches!(packet, ServerPacket::Publish(_)));
    assert_eq!(messages.count(), encoded);
    assert_eq!(packets.len(), encoded + 2, "and the two answers");
    assert!(cluster.dropped(cofferdam::broker::Drop::Denied) > 0);
}

/// The whole of a re-authentication.
#[track_caller]
fn prove_again(client: &Client) {
    client.send(auth(AGAIN, "alice@alpha"));
    assert_eq!(client.answer(), told(CONTINUE, "riddle"));
    client.send(auth(CONTINUE, PASSWORD));
    assert_eq!(client.answer(), told(ReasonCode::Success, "solved"));
}
