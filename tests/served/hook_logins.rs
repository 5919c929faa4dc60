//! Logins that the platform's own store judges, over sockets: one question for each CONNECT, no
//! refusing CONNACK where nothing was judged, no answer that makes anybody a member of another team.

use crate::running::{
    Broker, Client, Hook, Login, Mood, Numbers, Setup, World, eventually, lasting,
};
use cofferdam::wire::client::{Connect, Publish, ServerPacket};
use cofferdam::wire::{QoS, ReasonCode, Version};
use serde_json::json;

const STYLES: [&str; 2] = ["emqx", "go-auth"];
const INSTANCE: &str = "project:aTeam00001:11111111-1111-4111-8111-111111111111";

fn broker(hook: &Hook, style: &str, more: &str) -> Broker {
    let lines = Hook::config(hook.address(), style, "unknown");
    Setup::new().and_config(&format!("{lines}{more}")).start()
}

/// What came of a CONNECT: `Ok` with the code of CONNACK, or closed without one.
fn try_login(broker: &Broker, connect: &Connect) -> Option<u8> {
    let mut client = Client::dial(broker, "tcp", connect.version);
    client.send(&connect.encode());
    match client.next() {
        Some(ServerPacket::ConnAck(connack)) => Some(connack.code),
        Some(other) => panic!("not CONNACK: {other:?}"),
        None => None,
    }
}

fn login(username: &str) -> Connect {
    Login::of(username).connect(Version::V5)
}

const REFUSED: Option<u8> = Some(ReasonCode::BadUserNameOrPassword as u8);
const WITHOUT_A_WORD: Option<u8> = None;

fn questions(numbers: &Numbers, result: &str) -> u64 {
    let labels = [("what", "authenticate"), ("result", result)];
    numbers.sum("cofferdam_hook_questions_total", &labels)
}

#[test]
fn every_kind_of_principal_logs_in_by_both_contracts_with_one_question_each() {
    for style in STYLES {
        let hook = Hook::start();
        let broker = broker(&hook, style, "");
        let usernames = [
            "forge_platform",
            INSTANCE,
            "device:aTeam00001:devA000001",
            "frontend:aTeam00001:devA000001",
            "fe-team:user:aTeam00001:tab",
            "expert-client:user:chat",
            "press@aTeam00001",
            "mq:hosted:aTeam00001:11111111-1111-4111-8111-111111111111",
            "mq:remote:aTeam00001:devA000001",
            "agent:watch@aTeam00001",
        ];
        for username in usernames {
            let login = Login::of(username);
            hook.knows(username, &login.password);
            let connect = login.connect(Version::V5);
            assert_eq!(try_login(&broker, &connect), Some(0), "{style} {username}");
            let asked = hook.logins().pop().expect("a question");
            let client_id = if style == "emqx" {
                "clientId"
            } else {
                "clientid"
            };
            let expected = json!({
                "username": username, "password": login.password, client_id: username,
            });
            assert_eq!(asked, expected, "{style}");
            let wrong = Connect {
                password: Some(b"wrong".to_vec()),
                ..connect
            };
            assert_eq!(try_login(&broker, &wrong), REFUSED, "{style} {username}");
        }
        assert_eq!(hook.logins().len(), 2 * usernames.len(), "{style}");
        let row = broker.audited(|row| row["event"] == "connect_refused");
        assert_eq!(
            (&row["detail"]["reason"], &row["level"]),
            (&json!("hook"), &json!("platform"))
        );
        broker.wait_for_numbers(|numbers| match questions(numbers, "allow") {
            10 => Ok(()),
            other => Err(format!("{other} allowed")),
        });
    }
}

#[test]
fn what_the_client_left_out_is_asked_about_as_an_empty_text() {
    for style in STYLES {
        let hook = Hook::start();
        let broker = broker(&hook, style, "");
        for (username, password) in [(Some(INSTANCE), None), (None, Some("x")), (None, None)] {
            let connect = Connect {
                client_id: "c".to_owned(),
                username: username.map(ToOwned::to_owned),
                password: password.map(|it: &str| it.as_bytes().to_vec()),
                ..Connect::new(Version::V5)
            };
            assert_eq!(try_login(&broker, &connect), REFUSED);
            let asked = hook.logins().pop().expect("a question");
            assert_eq!(asked["username"], username.unwrap_or_default(), "{style}");
            assert_eq!(asked["password"], password.unwrap_or_default(), "{style}");
        }
        assert_eq!(hook.logins().len(), 3);
    }
}

#[test]
fn a_credential_for_one_login_is_asked_about_once_and_is_gone_then() {
    let hook = Hook::start();
    let broker = broker(&hook, "emqx", "");
    let tab = Login::of("fe-team:user:aTeam00001:tab");
    hook.knows_once(&tab.username, &tab.password);
    let mut first = Client::login(&broker, "ws", &tab, Version::V5);
    assert_eq!(hook.logins().len(), 1);
    first.assert_quiet();
    assert_eq!(try_login(&broker, &tab.connect(Version::V5)), REFUSED);
    assert_eq!(hook.logins().len(), 2, "a login is never remembered");
    first.assert_quiet();
}

#[test]
fn a_login_that_could_not_succeed_is_not_spent_on_a_question() {
    let hook = Hook::start();
    let broker = broker(&hook, "emqx", "");
    hook.mood(Mood::Lying(""));
    // The role asks for another client id.
    let other_id = Connect {
        client_id: "other".to_owned(),
        ..login("press@aTeam00001")
    };
    assert_eq!(try_login(&broker, &other_id), REFUSED);
    for username in [
        "nobody",
        "project:aTeam00001:x@bTeam00002",
        "a@aTeam00001@bTeam00002",
        "project:+:x",
        "device::",
        "press@aTeam00001/c",
        "press@platform",
        "anonymous@open",
        "sam@grey", // known here, and suspended
        "other@grey",
    ] {
        assert_eq!(try_login(&broker, &login(username)), REFUSED, "{username}");
    }
    assert_eq!(hook.logins(), Vec::<serde_json::Value>::new());
}

#[test]
fn whom_the_own_store_knows_nobody_else_judges() {
    let hook = Hook::start();
    let broker = broker(&hook, "emqx", "");
    let alice = World::alice();
    hook.mood(Mood::Lying(""));
    let wrong = Connect {
        password: Some(b"let me in".to_vec()),
        ..alice.connect(Version::V5)
    };
    assert_eq!(try_login(&broker, &wrong), REFUSED);
    let mut own = Client::login(&broker, "tcp", &alice, Version::V5);
    own.subscribe("#", QoS::AtLeastOnce);
    own.publish(Publish::new("x", b"1"));
    assert_eq!(own.receive().payload, b"1");
    let mut open = Client::dial(&broker, "open", Version::V5);
    open.connect(&Connect::new(Version::V5));
    assert_eq!(hook.logins().len(), 0);
    assert!(
        hook.topics()
            .iter()
            .all(|asked| asked.ends_with("publish x")),
        "only reports"
    );
}

#[test]
fn an_answer_with_a_mount_of_another_team_lets_nobody_in_and_is_on_record() {
    let hook = Hook::start();
    let broker = broker(&hook, "emqx", "");
    let lies = [
        ("press@aTeam00001", "ff/v1/bTeam00002/c/"),
        ("press@aTeam00001", "ff/v1/aTeam00001/"),
        ("press@aTeam00001", "#"),
        (INSTANCE, "ff/v1/bTeam00002/c/"),
        ("forge_platform", "ff/v1/aTeam00001/c/"),
    ];
    for (username, mount) in lies {
        hook.mood(Mood::Lying(mount));
        assert_eq!(
            try_login(&broker, &login(username)),
            REFUSED,
            "{username} {mount}"
        );
    }
    let row = broker.audited(|row| row["detail"]["reason"] == "hook_lied");
    assert_eq!(row["event"], "connect_refused");
    broker.wait_for_numbers(|numbers| numbers.check("cofferdam_hook_lies_total", &[], 5));
    hook.mood(Mood::Lying("ff/v1/aTeam00001/c/"));
    assert_eq!(try_login(&broker, &login("press@aTeam00001")), Some(0));
}

#[test]
fn where_nothing_was_judged_the_connection_closes_without_connack_and_is_not_asked_about_again() {
    let body = |text: &str| Mood::Body("application/json", text.to_owned());
    let huge = format!("{{\"result\":\"allow\",\"x\":\"{}\"}}", "x".repeat(1 << 20));
    let moods = [
        Mood::Status(500),
        Mood::Status(503),
        Mood::Status(404),
        Mood::Status(302),
        Mood::Closing,
        body("{\"result\":"),
        body("{\"result\":\"yes\"}"),
        body("null"),
        body(""),
        body(&huge),
        Mood::Body("text/html", "{\"result\":\"allow\"}".to_owned()),
    ];
    for style in STYLES {
        let hook = Hook::start();
        let broker = broker(&hook, style, "");
        hook.knows(INSTANCE, &Login::of(INSTANCE).password);
        for mood in &moods {
            // In the other contract the status is the answer, but for a body without an end.
            let is_an_answer = matches!(mood, Mood::Body(_, text) if text.len() < 1000);
            if style == "go-auth" && is_an_answer {
                continue;
            }
            let before = hook.logins().len();
            hook.mood(mood.clone());
            assert_eq!(
                try_login(&broker, &login(INSTANCE)),
                WITHOUT_A_WORD,
                "{style} {mood:?}"
            );
            assert_eq!(hook.logins().len(), before + 1, "{style} {mood:?}");
        }
        hook.mood(Mood::Well);
        let mut client = Client::dial(&broker, "tcp", Version::V5);
        client.connect(&login(INSTANCE));
        let row = broker.audited(|row| row["event"] == "connect_refused");
        assert_eq!(row["detail"]["reason"], "unavailable");
        assert_eq!(row["detail"]["told"], json!(null));
    }
}

#[test]
fn too_many_requests_means_later_and_not_no() {
    for style in STYLES {
        let hook = Hook::start();
        let broker = broker(&hook, style, "");
        let tab = Login::of("frontend:aTeam00001:devA000001");
        hook.knows_once(&tab.username, &tab.password);
        hook.mood(Mood::TooBusy(3));
        assert_eq!(
            try_login(&broker, &tab.connect(Version::V5)),
            Some(0),
            "{style}"
        );
        assert_eq!(hook.logins().len(), 1, "it was heard once");
        broker.wait_for_numbers(|numbers| match questions(numbers, "later") {
            3 => Ok(()),
            other => Err(format!("{other} later")),
        });
    }
}

#[test]
fn a_login_that_came_before_the_hook_waits_for_it() {
    let address = Hook::nowhere();
    let lines = Hook::config(address, "emqx", "unknown");
    let broker = Setup::new()
        .and_config(&format!("{lines}deadline = \"8 s\"\n"))
        .start();
    let platform = Login::of("forge_platform");
    let mut client = Client::dial(&broker, "tcp", Version::V5);
    client.send(&platform.connect(Version::V5).encode());
    broker.wait_for_numbers(|numbers| {
        match questions(numbers, "unreached") {
            0 => Err("not tried yet"),
            _ => Ok(()),
        }
        .map_err(ToOwned::to_owned)
    });
    let hook = Hook::at(address);
    hook.knows(&platform.username, &platform.password);
    let ServerPacket::ConnAck(connack) = client.packet() else {
        panic!("not CONNACK");
    };
    assert_eq!(connack.code, 0);
}

#[test]
fn a_hook_that_is_away_or_silent_refuses_nobody_and_is_on_record_when_it_goes_and_comes() {
    let address = Hook::nowhere();
    let lines = Hook::config(address, "emqx", "unknown");
    let broker = Setup::new()
        .and_config(&format!("{lines}deadline = \"1 s\"\n"))
        .start();
    for _ in 0..2 {
        assert_eq!(try_login(&broker, &login(INSTANCE)), WITHOUT_A_WORD);
    }
    let down = broker.audited(|row| row["event"] == "hook_down");
    assert_eq!(down["detail"]["what"], "authenticate");
    let away = [("what", "authenticate")];
    broker.wait_for_numbers(|numbers| numbers.check("cofferdam_hook_away", &away, 1));

    let hook = Hook::at(address);
    hook.knows(INSTANCE, &Login::of(INSTANCE).password);
    eventually("the hook is asked again", || {
        match try_login(&broker, &login(INSTANCE)) {
            Some(0) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    broker.audited(|row| row["event"] == "hook_up");
    broker.wait_for_numbers(|numbers| numbers.check("cofferdam_hook_away", &away, 0));

    hook.mood(Mood::Silent);
    let before = hook.logins().len();
    assert_eq!(try_login(&broker, &login(INSTANCE)), WITHOUT_A_WORD);
    assert_eq!(
        hook.logins().len(),
        before + 1,
        "what may have been heard is not asked again"
    );
}

#[test]
fn logins_that_wait_for_a_silent_hook_hold_up_nobody_else() {
    let hook = Hook::start();
    let broker = broker(&hook, "emqx", "");
    let mut alice = Client::login(&broker, "tcp", &World::alice(), Version::V5);
    alice.subscribe("#", QoS::AtLeastOnce);
    hook.mood(Mood::Silent);
    let mut waiting: Vec<Client> = (0..20)
        .map(|_| {
            let mut client = Client::dial(&broker, "tcp", Version::V5);
            client.send(&login(INSTANCE).encode());
            client
        })
        .collect();
    hook.wait_for_logins(20);
    alice.publish(Publish::new("x", b"served"));
    assert_eq!(alice.receive().payload, b"served");
    let mut anna = Client::login(&broker, "tcp", &World::anna(), Version::V5);
    anna.assert_quiet();
    hook.knows(INSTANCE, &Login::of(INSTANCE).password);
    hook.mood(Mood::Well);
    // All are the same client: each takes the session of the one before.
    let mut let_in = 0;
    for client in &mut waiting {
        match client.next() {
            Some(ServerPacket::ConnAck(connack)) => {
                assert_eq!(connack.code, 0);
                let_in += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(let_in, 20);
}

#[test]
fn a_hook_behind_tls_is_believed_with_the_authority_of_the_configuration_and_with_no_other() {
    let (hook, certificate) = Hook::behind_tls();
    let port = hook.address().port();
    hook.knows(INSTANCE, &Login::of(INSTANCE).password);
    let lines = |host: &str, more: &str| {
        format!(
            "\n[identity.http]\nstyle = \"emqx\"\ndeadline = \"1 s\"\n\
             authenticate = \"https://{host}:{port}/api/comms/v2/auth\"\n{more}"
        )
    };
    let ca = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(ca.path(), certificate).expect("written");
    let ca = format!("ca = \"{}\"\n", ca.path().display());
    for (host, more, expected) in [
        ("localhost", ca.as_str(), Some(0)),
        ("127.0.0.1", ca.as_str(), WITHOUT_A_WORD), // a name that it does not have
        ("localhost", "", WITHOUT_A_WORD),          // an authority of the public web
    ] {
        let broker = Setup::new().and_config(&lines(host, more)).start();
        assert_eq!(
            try_login(&broker, &login(INSTANCE)),
            expected,
            "{host} {more}"
        );
    }
    assert_eq!(
        hook.logins().len(),
        1,
        "no password left without a certificate"
    );
}

#[test]
fn what_only_the_hook_granted_is_there_after_a_restart_and_what_waits_for_it_too() {
    let hook = Hook::start();
    let lasting_login = lasting(login("press@aTeam00001"), 3600);
    hook.knows("press@aTeam00001", &Login::of("press@aTeam00001").password);
    hook.knows("desk@aTeam00001", &Login::of("desk@aTeam00001").password);
    hook.allows(|_, _, _| true);
    let broker = broker(&hook, "emqx", "");
    let mut press = Client::dial(&broker, "tcp", Version::V5);
    press.connect(&lasting_login);
    press.subscribe("news", QoS::ExactlyOnce);
    drop(press);
    let mut desk = Client::login(&broker, "tcp", &Login::of("desk@aTeam00001"), Version::V5);
    desk.publish(Publish::new("news", b"first").at(QoS::ExactlyOnce, 1));
    drop(desk);

    let (place, _) = broker.stop();
    let broker = place.start();
    let mut press = Client::dial(&broker, "tcp", Version::V5);
    assert!(press.connect(&lasting_login).session_present);
    assert_eq!(press.receive().payload, b"first");
    let mut desk = Client::login(&broker, "tcp", &Login::of("desk@aTeam00001"), Version::V5);
    desk.publish(Publish::new("news", b"second").at(QoS::ExactlyOnce, 1));
    assert_eq!(press.receive().payload, b"second");
}
