//! What clients may do, as the platform's own store says over sockets: asked once, remembered for as
//! long as it holds, kept while nobody answers; and the topics that the platform is to hear of.

use crate::running::{Broker, Client, Hook, Login, Mood, Setup, eventually};
use cofferdam::wire::client::{Publish, ServerPacket, Will, subscribe};
use cofferdam::wire::{QoS, ReasonCode, RetainHandling, SubscriptionOptions, Version};

const STYLES: [&str; 2] = ["emqx", "go-auth"];
const TEAM: &str = "aTeam00001";
const OTHER: &str = "bTeam00002";

fn instance(team: &str, digit: char) -> Login {
    let part = |count: usize| digit.to_string().repeat(count);
    let id = format!(
        "{}-{}-4{}-8{}-{}",
        part(8),
        part(4),
        part(3),
        part(3),
        part(12)
    );
    Login::of(&format!("project:{team}:{id}"))
}

fn client(name: &str, team: &str) -> Login {
    Login::of(&format!("{name}@{team}"))
}

fn broker(hook: &Hook, style: &str, ask: &str, more: &str) -> Broker {
    let lines = Hook::config(hook.address(), style, ask);
    Setup::new().and_config(&format!("{lines}{more}")).start()
}

fn join(broker: &Broker, hook: &Hook, login: &Login) -> Client {
    hook.knows(&login.username, &login.password);
    Client::login(broker, "tcp", login, Version::V5)
}

fn will(topic: &str) -> Will {
    Will {
        topic: topic.to_owned(),
        payload: b"gone".to_vec(),
        qos: QoS::AtMostOnce,
        retain: false,
        properties: vec![],
    }
}

/// Publishes at QoS 1 and gives the code of PUBACK.
fn publish(client: &mut Client, topic: &str) -> ReasonCode {
    client.send_publish(Publish {
        qos: QoS::AtLeastOnce,
        ..Publish::new(topic, b"x")
    });
    match client.packet() {
        ServerPacket::PubAck { reason, .. } => reason,
        other => panic!("not PUBACK: {other:?}"),
    }
}

/// Subscribes and gives the codes of SUBACK.
fn ask_for(client: &mut Client, filters: &[&str]) -> Vec<ReasonCode> {
    let options = SubscriptionOptions {
        qos: QoS::AtLeastOnce,
        no_local: false,
        retain_as_published: false,
        retain_handling: RetainHandling::Send,
    };
    let filters: Vec<_> = filters.iter().map(|filter| (*filter, options)).collect();
    client.send(&subscribe(client.version, 77, &filters, &[]));
    match client.packet() {
        ServerPacket::SubAck { codes, .. } => codes,
        other => panic!("not SUBACK: {other:?}"),
    }
}

#[test]
fn a_mounted_client_is_asked_about_in_its_own_words_and_never_cut_by_a_no() {
    for style in STYLES {
        let hook = Hook::start();
        let broker = broker(&hook, style, "always", "");
        hook.allows(|_, _, topic| topic.starts_with("in/") || topic.starts_with("$share/g/in/"));
        let mut press = join(&broker, &hook, &client("press", TEAM));
        assert_eq!(
            ask_for(&mut press, &["in/#", "$share/g/in/x", "out"]),
            [
                ReasonCode::GrantedQoS1,
                ReasonCode::GrantedQoS1,
                ReasonCode::NotAuthorized
            ]
        );
        assert_eq!(publish(&mut press, "out"), ReasonCode::NotAuthorized);
        let mut asked = hook.topics();
        asked.sort();
        let text = |rest: &str| format!("press@{TEAM} {rest}");
        let expected = [
            text("publish out"),
            text("subscribe $share/g/in/x"),
            text("subscribe in/#"),
            text("subscribe out"),
        ];
        assert_eq!(asked, expected, "{style}");
        press.assert_quiet();
        let row = broker.audited(|row| row["event"] == "publish_refused");
        assert_eq!(row["detail"]["why"], "hook");
        assert_eq!(row["detail"]["topic"], format!("ff/v1/{TEAM}/c/out"));
        broker.audited(|row| row["event"] == "subscribe_refused");
    }
}

#[test]
fn the_usual_traffic_between_instances_asks_nothing() {
    let hook = Hook::start();
    let broker = broker(&hook, "emqx", "unknown", "");
    let (one, two) = (instance(TEAM, '1'), instance(TEAM, '2'));
    let id = one.username.rsplit(':').next().expect("an id").to_owned();
    let mut reader = join(&broker, &hook, &one);
    reader.subscribe(&format!("ff/v1/{TEAM}/p/{id}/in/#"), QoS::ExactlyOnce);
    reader.subscribe(&format!("ff/v1/{TEAM}/p/+/out/#"), QoS::ExactlyOnce);
    let mut writer = join(&broker, &hook, &two);
    for index in 0..20 {
        let topic = format!("ff/v1/{TEAM}/p/{id}/in/t{index}");
        writer.publish(Publish {
            qos: QoS::ExactlyOnce,
            ..Publish::new(&topic, b"x")
        });
        assert_eq!(reader.receive().topic, topic);
    }
    assert_eq!(hook.topics(), Vec::<String>::new());
    assert_eq!(hook.logins().len(), 2);
}

#[test]
fn an_answer_is_asked_for_once_and_again_when_it_holds_no_longer() {
    let hook = Hook::start();
    let broker = broker(
        &hook,
        "emqx",
        "always",
        "cache = \"1 s\"\ncache_refusals = \"500 ms\"\n",
    );
    hook.allows(|_, _, _| true);
    let mut press = join(&broker, &hook, &client("press", TEAM));
    for _ in 0..50 {
        assert!(!publish(&mut press, "a").is_error());
    }
    assert_eq!(hook.topics().len(), 1);
    hook.allows(|_, _, _| false);
    eventually("the new answer is in force", || {
        match publish(&mut press, "a") {
            ReasonCode::NotAuthorized => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    assert_eq!(hook.topics().len(), 2);
    hook.allows(|_, _, _| true);
    eventually("so is the next", || {
        match publish(&mut press, "a").is_error() {
            false => Ok(()),
            true => Err("refused"),
        }
    });
}

#[test]
fn clients_that_ask_the_same_at_once_cost_one_question() {
    let hook = Hook::start();
    let broker = broker(&hook, "emqx", "always", "");
    hook.allows(|_, _, _| true);
    let nodes = Login::of(&format!("mq:hosted:{TEAM}:i"));
    hook.knows(&nodes.username, &nodes.password);
    let mut replicas: Vec<Client> = (0..10)
        .map(|index| {
            let mut connect = nodes.connect(Version::V5);
            connect.client_id = format!("{}:{index}", nodes.username);
            let mut client = Client::dial(&broker, "tcp", Version::V5);
            client.connect(&connect);
            client
        })
        .collect();
    hook.mood(Mood::Silent);
    for replica in &mut replicas {
        replica.send_publish(Publish {
            qos: QoS::AtLeastOnce,
            ..Publish::new("a", b"x")
        });
    }
    let joined = |result| [("result", result)];
    broker.wait_for_numbers(|numbers| {
        numbers.check("cofferdam_hook_cache_total", &joined("joined"), 9)
    });
    hook.mood(Mood::Well);
    for replica in &mut replicas {
        let ServerPacket::PubAck { reason, .. } = replica.packet() else {
            panic!("not PUBACK");
        };
        assert!(!reason.is_error());
    }
    assert_eq!(hook.topics().len(), 1);
}

#[test]
fn a_hook_that_allows_everything_carries_nothing_to_another_team() {
    for (style, ask) in [
        ("emqx", "always"),
        ("emqx", "unknown"),
        ("go-auth", "always"),
    ] {
        let hook = Hook::start();
        let broker = broker(&hook, style, ask, "");
        hook.mood(Mood::Lying(""));
        let victim = instance(OTHER, '3');
        let mut victim = Client::login(&broker, "tcp", &victim, Version::V5);
        victim.subscribe(&format!("ff/v1/{OTHER}/c/#"), QoS::AtLeastOnce);
        let thief = instance(TEAM, '1');
        let mut connect = thief.connect(Version::V5);
        connect.will = Some(will(&format!("ff/v1/{OTHER}/c/will")));
        let mut thief = Client::dial(&broker, "tcp", Version::V5);
        thief.connect(&connect);
        let before = hook.topics().len();
        let filters = [
            "#",
            "ff/v1/+/c/#",
            "ff/v1/bTeam00002/c/#",
            "$share/g/ff/v1/bTeam00002/c/#",
            "ff/v1/platform/#",
        ];
        let codes = ask_for(&mut thief, &filters);
        assert_eq!(
            codes,
            vec![ReasonCode::NotAuthorized; filters.len()],
            "{style} {ask}"
        );
        for topic in [
            "ff/v1/bTeam00002/c/x",
            "ff/v1/bTeam00002/p/i/in/x",
            "ff/v1/platform/sync",
        ] {
            assert_eq!(
                publish(&mut thief, topic),
                ReasonCode::NotAuthorized,
                "{topic}"
            );
        }
        assert_eq!(hook.topics().len(), before, "none of it is even asked");
        drop(thief);
        broker.audited(|row| row["detail"]["will"] == true);
        victim.assert_quiet();
        let rows = broker.place().audit();
        let outside = |row: &&serde_json::Value| row["detail"]["why"] == "outside the team";
        assert!(
            rows.iter().filter(outside).all(|row| row["team"] == TEAM),
            "{rows:#?}"
        );
        let why = [("reason", "outside the team")];
        broker.wait_for_numbers(|numbers| {
            numbers.check("cofferdam_publishes_refused_total", &why, 4)?;
            numbers.check(
                "cofferdam_subscribes_refused_total",
                &why,
                filters.len() as u64,
            )
        });
    }
}

#[test]
fn while_the_hook_is_away_live_connections_go_on_with_what_they_have() {
    let address = Hook::nowhere();
    let hook = Hook::at(address);
    hook.allows(|_, _, _| true);
    let more = "cache = \"200 ms\"\ncache_refusals = \"200 ms\"\ndeadline = \"1 s\"\n";
    let broker = broker(&hook, "emqx", "always", more);
    let mut reader = join(&broker, &hook, &client("reader", TEAM));
    reader.subscribe("#", QoS::AtMostOnce);
    let mut press = join(&broker, &hook, &client("press", TEAM));
    assert!(!publish(&mut press, "old").is_error());
    reader.receive();
    drop(hook);
    // Old answers hold no longer, but there are no new ones.
    broker.wait_for_numbers(|numbers| {
        assert!(!publish(&mut press, "old").is_error());
        reader.receive();
        numbers.check("cofferdam_hook_away", &[("what", "authorize")], 1)
    });
    assert_eq!(
        publish(&mut press, "new"),
        ReasonCode::ImplementationSpecificError
    );
    assert_eq!(
        ask_for(&mut press, &["new"]),
        [ReasonCode::ImplementationSpecificError]
    );
    assert!(!publish(&mut press, "old").is_error());
    reader.receive();
    broker.audited(|row| row["event"] == "hook_down" && row["detail"]["what"] == "authorize");
    let hook = Hook::at(address);
    hook.allows(|_, _, _| true);
    eventually("what was unanswered is answered", || {
        match publish(&mut press, "new").is_error() {
            false => Ok(()),
            true => Err("not yet"),
        }
    });
}

#[test]
fn a_tab_that_vanishes_leaves_a_will_that_was_asked_about() {
    let hook = Hook::start();
    let broker = broker(&hook, "emqx", "always", "");
    hook.allows(|_, _, _| true);
    let mut platform = join(&broker, &hook, &Login::of("forge_platform"));
    platform.subscribe("ff/v1/+/u/+/s/+/+", QoS::AtMostOnce);
    let tab = Login::of(&format!("fe-team:user:{TEAM}:tab"));
    hook.knows_once(&tab.username, &tab.password);
    let topic = format!("ff/v1/{TEAM}/u/user/s/tab/disconnected");
    let mut connect = tab.connect(Version::V5);
    connect.will = Some(will(&topic));
    let mut client = Client::dial(&broker, "ws", Version::V5);
    client.connect(&connect);
    drop(client);
    let will = platform.receive();
    assert_eq!(
        (will.topic, will.payload),
        (topic.clone(), b"gone".to_vec())
    );
    assert!(
        hook.topics()
            .contains(&format!("{} publish {topic}", tab.username))
    );
}

#[test]
fn a_new_topic_of_the_team_broker_reaches_the_platform_though_nobody_asks_it() {
    for (style, ask) in [("emqx", "never"), ("go-auth", "unknown")] {
        let hook = Hook::start();
        let broker = broker(
            &hook,
            style,
            ask,
            "report_every = \"1 s\"\ncache = \"0 s\"\n",
        );
        let one = instance(TEAM, '1');
        let mut writer = join(&broker, &hook, &one);
        let topic = format!("ff/v1/{TEAM}/c/plant/press");
        for _ in 0..10 {
            assert!(!publish(&mut writer, &topic).is_error());
        }
        let wanted = format!("{} publish {topic}", one.username);
        hook.wait_for_topic(&wanted);
        eventually("it is heard of again", || {
            publish(&mut writer, &topic);
            match hook.topics().len() {
                0 | 1 => Err("once so far"),
                _ => Ok(()),
            }
        });
        assert!(
            hook.topics().iter().all(|asked| *asked == wanted),
            "{:?}",
            hook.topics()
        );
        broker.wait_for_numbers(|numbers| {
            match numbers.sum("cofferdam_hook_reports_total", &[("result", "ok")]) {
                0 | 1 => Err("not counted".to_owned()),
                _ => Ok(()),
            }
        });
    }
}

#[test]
fn too_many_requests_about_topics_means_later_and_not_no() {
    for style in STYLES {
        let hook = Hook::start();
        let broker = broker(&hook, style, "always", "");
        hook.allows(|_, _, _| true);
        let mut press = join(&broker, &hook, &client("press", TEAM));
        hook.mood(Mood::TooBusy(3));
        assert_eq!(
            ask_for(&mut press, &["a"]),
            [ReasonCode::GrantedQoS1],
            "{style}"
        );
        assert_eq!(hook.topics().len(), 1, "it was heard once");
    }
}

#[test]
fn what_means_nothing_allows_nothing() {
    let body = |text: &str| Mood::Body("application/json", text.to_owned());
    let hook = Hook::start();
    let more = "cache = \"0 s\"\ndeadline = \"2 s\"\n";
    let broker = broker(&hook, "emqx", "always", more);
    hook.allows(|_, _, _| true);
    let mut press = join(&broker, &hook, &client("press", TEAM));
    let huge = format!("{{\"result\":\"allow\",\"x\":\"{}\"}}", "x".repeat(1 << 20));
    let moods = [
        Mood::Status(404),
        body("{\"result\":\"allow\""),
        body("{\"result\":1}"),
        body(&huge),
        Mood::Body("text/html", "{\"result\":\"allow\"}".to_owned()),
    ];
    for mood in moods {
        hook.mood(mood.clone());
        let code = ask_for(&mut press, &["a/#"]);
        assert_eq!(code, [ReasonCode::ImplementationSpecificError], "{mood:?}");
    }
    hook.mood(Mood::Well);
    assert_eq!(ask_for(&mut press, &["a/#"]), [ReasonCode::GrantedQoS1]);
    press.assert_quiet();
}
