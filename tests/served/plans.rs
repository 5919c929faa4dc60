//! Plans in the running broker: from the configuration and the database to those who are connected.

use crate::running::{Broker, Client, Setup, World, lasting};
use cofferdam::wire::client::{Connect, Publish, ServerPacket, unsubscribe};
use cofferdam::wire::{QoS, Version};

const V5: Version = Version::V5;

/// A plan of the operator's, beside every listener.
const PLANS: &str = "
[plan.small]
max_connections = 1

[plan.slow.client]
message_rate = 20
message_burst = 5

[plan.crawling.client]
message_rate = 1
message_burst = 5
";

fn start() -> Broker {
    Setup::new().and_config(PLANS).start()
}

/// Waits until a plan is in force: logins of `red` are refused with this code, or let in with 0.
fn until_logins_get(broker: &Broker, code: u8) {
    crate::running::eventually("another plan", || {
        let mut client = Client::dial(broker, "tcp", V5);
        client.send(&World::anna().connect(V5).encode());
        let found = match client.packet() {
            ServerPacket::ConnAck(connack) => connack.code,
            other => panic!("not CONNACK: {other:?}"),
        };
        match found == code {
            true => Ok(()),
            false => Err(format!("{found} and not {code}")),
        }
    });
}

#[test]
fn a_plan_given_while_the_broker_runs_holds_within_a_second_for_new_logins() {
    let broker = start();
    let _there = Client::login(&broker, "tcp", &World::alice(), V5);
    until_logins_get(&broker, 0);
    broker.place().run_well(&["team", "plan", "red", "small"]);
    until_logins_get(&broker, 0x97);
    // Another team has its own.
    Client::login(&broker, "tcp", &World::bob(), V5);
    broker.audited(|row| {
        row["event"] == "connect_refused" && row["detail"]["reason"] == "connections"
    });
    broker.wait_for_numbers(|numbers| {
        let labels = [("team", "red"), ("limit", "connections")];
        match numbers.sum("cofferdam_limit_hits_total", &labels) {
            0 => Err("no hit is counted".to_owned()),
            _ => Ok(()),
        }
    });
    let set = [
        "team",
        "plan",
        "red",
        "small",
        "--set",
        "max_connections=10",
    ];
    broker.place().run_well(&set);
    until_logins_get(&broker, 0);
}

/// Declares the team `red` with these keys.
fn apply(broker: &Broker, keys: &str) {
    let text = format!("[[team]]\nid = \"red\"\nname = \"Red\"\n{keys}\n");
    broker.place().write("plan.toml", &text);
    let file = broker.place().path("plan.toml");
    let file = file.to_str().expect("text");
    broker.place().run_well(&["apply", file]);
}

#[test]
fn what_apply_changes_of_a_plan_holds_for_those_who_are_connected() {
    let broker = start();
    let mut client = Client::login(&broker, "wss", &World::alice(), V5);
    let mut neighbour = Client::login(&broker, "tcp", &World::bob(), V5);
    client.subscribe("first", QoS::AtMostOnce);
    let mut until_answered = |broker: &Broker, keys: &str, code: u8| {
        apply(broker, keys);
        crate::running::eventually(keys, || {
            let found = client.try_subscribe("second", QoS::AtMostOnce);
            client.send(&unsubscribe(V5, 1, &["second"], &[]));
            assert!(matches!(client.packet(), ServerPacket::UnsubAck { .. }));
            match found == code {
                true => Ok(()),
                false => Err(format!("{found} and not {code}")),
            }
        });
    };
    until_answered(
        &broker,
        "limits = { client = { max_subscriptions = 1 } }",
        0x97,
    );
    neighbour.subscribe("first", QoS::AtMostOnce);
    neighbour.subscribe("second", QoS::AtMostOnce);
    until_answered(&broker, "limits = { max_subscriptions = 2 }", 0);
    until_answered(&broker, "limits = { max_subscriptions = 1 }", 0x97);
    until_answered(&broker, "", 0);

    // A rate at which what it has sent takes minutes, and that is taken back.
    apply(&broker, "plan = \"crawling\"");
    crate::running::eventually("it is slowed", || {
        for _ in 0..100 {
            client.send(&Publish::new("elsewhere", b"x").encode(V5));
        }
        let labels = [("team", "red"), ("limit", "client_message_rate")];
        match broker.numbers().sum("cofferdam_limit_hits_total", &labels) {
            0 => Err("no hit is counted"),
            _ => Ok(()),
        }
    });
    apply(&broker, "");
    client.assert_quiet();
    neighbour.assert_quiet();
    let rows = broker.place().audit();
    let connects = rows.iter().filter(|row| row["event"] == "connect").count();
    assert_eq!(connects, 2, "nobody had to come again");
}

#[test]
fn a_plan_that_the_configuration_does_not_have_is_refused_with_the_nearest_that_it_has() {
    let place = Setup::new().and_config(PLANS).place();
    let refused = |arguments: &[&str]| {
        let output = place.run(arguments);
        assert!(!output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).expect("text")
    };
    place.write("plan.toml", "[[team]]\nid = \"green\"\nplan = \"smal\"\n");
    let file = place.path("plan.toml");
    let wanted = "there is no plan \"smal\" in the configuration; did you mean `small`?";
    for arguments in [
        &["apply", file.to_str().expect("text")][..],
        &["team", "add", "green", "--plan", "smal"],
        &["team", "plan", "red", "smal"],
    ] {
        let told = refused(arguments);
        assert!(told.contains(wanted), "{told}");
    }
    let teams = place.run_well(&["team", "list", "--json"]);
    assert!(
        !teams.contains("green") && !teams.contains("smal"),
        "{teams}"
    );
}

#[test]
fn a_client_over_its_rate_is_read_later_and_everything_arrives_in_order() {
    for listener in ["tcp", "wss"] {
        let broker = start();
        let mut reader = Client::login(&broker, listener, &World::anna(), V5);
        reader.subscribe("line", QoS::AtMostOnce);
        broker.place().run_well(&["team", "plan", "red", "slow"]);
        let mut writer = Client::login(&broker, listener, &World::alice(), V5);
        let began = std::time::Instant::now();
        let mut sent = 0..;
        // Until the plan holds, and then thirty more.
        let mut left = 30;
        while left > 0 {
            for number in sent.by_ref().take(10) {
                let payload = number.to_string();
                writer.send(&Publish::new("line", payload.as_bytes()).encode(V5));
            }
            let labels = [("team", "red"), ("limit", "client_message_rate")];
            if broker.numbers().sum("cofferdam_limit_hits_total", &labels) > 0 {
                left -= 10;
            }
        }
        for number in 0..sent.start {
            let publish = reader.receive();
            assert_eq!(publish.payload, number.to_string().into_bytes());
        }
        // Thirty at twenty a second take more than a second, whatever else is slow.
        assert!(began.elapsed().as_secs_f64() > 1.0, "{:?}", began.elapsed());
        let row = broker.audited(|row| row["event"] == "limit_hit");
        assert_eq!(row["team"], "red");
        assert_eq!(row["detail"]["limit"], "client_message_rate");
    }
}

/// What each team was promised is what a killed broker gives back to it.
#[test]
fn a_team_has_after_a_kill_what_its_plan_promised() {
    let plans = "
[plan.toys]
durability = \"memory\"
[plan.logs]
durability = \"os\"
";
    let mut place = Setup::new().and_config(plans).place();
    let logins = [World::alice(), World::bob()];
    // Red's own plan, what is changed of it for red alone, and whether a session outlives a kill. Blue
    // has what the broker has.
    for (plan, own, outlives) in [
        ("toys", "", false),
        ("logs", "", true),
        ("logs", "limits = { durability = \"memory\" }", false),
        ("toys", "limits = { durability = \"disk\" }", true),
    ] {
        let team = format!("[[team]]\nid = \"red\"\nplan = \"{plan}\"\n{own}\n");
        place.write("plan.toml", &team);
        place.run_well(&["apply", "plan.toml"]);
        let broker = place.start();
        for login in &logins {
            let mut client = Client::dial(&broker, "tcp", V5);
            let begun = Connect {
                clean_start: true,
                ..lasting(login.connect(V5), 3600)
            };
            assert!(!client.connect(&begun).session_present);
        }
        broker.process().signal("KILL");
        broker.process().wait();
        let broker = broker.into_place().start();
        let present = logins.clone().map(|login| {
            let mut client = Client::dial(&broker, "tcp", V5);
            let again = lasting(login.connect(V5), 3600);
            client.connect(&again).session_present
        });
        assert_eq!(present, [outlives, true], "{plan} {own}");
        place = broker.stop().0;
    }
}

#[test]
fn a_team_cannot_be_promised_more_than_a_broker_keeps() {
    let place = Setup::new()
        .and_config("[journal]\ndurability = \"memory\"\n[plan.bank]\ndurability = \"disk\"\n")
        .empty()
        .place();
    let refused = place.run(&["config", "check"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("plan.bank.durability"), "{said}");
    assert!(said.contains("the broker keeps nothing"), "{said}");
}
