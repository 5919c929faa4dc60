//! Clients without a name, at the one listener that takes them: they act for its team, among its
//! clients' topics, and nowhere else.

use cofferdam::wire::client::{Connect, Publish, ServerPacket};
use cofferdam::wire::{QoS, ReasonCode, Version};

use crate::running::{Broker, Bystander, Client, Login, Setup};

/// A client that says no more than its client id.
fn nameless(broker: &Broker, client_id: &str, version: Version) -> Client {
    let mut client = Client::dial(broker, "open", version);
    client.connect(&Connect {
        client_id: client_id.to_owned(),
        ..Connect::new(version)
    });
    client
}

#[test]
fn who_has_no_name_acts_for_the_listeners_team_which_is_made_and_for_no_other() {
    let broker = Broker::start();
    let bystander = Bystander::join(&broker);
    let teams = || broker.place().run_well(&["team", "list", "--json"]);
    assert!(!teams().contains("\"id\":\"open\""));
    let mut reader = nameless(&broker, "reader", Version::V311);
    assert!(teams().contains("\"id\":\"open\""));
    let row = broker.audited(|row| row["event"] == "connect" && row["client_id"] == "reader");
    assert_eq!(
        (&row["team"], &row["level"]),
        (&"open".into(), &"team".into())
    );

    // Any topic of its team's own clients, under the name that they have for it.
    let added = ["client", "add", "named@open", "--json"];
    let added = broker.place().run_well(&added);
    let added: serde_json::Value = serde_json::from_str(&added).expect("JSON");
    let named = Login {
        username: "named@open".to_owned(),
        password: added["password"].as_str().expect("a password").to_owned(),
    };
    let mut named = Client::login(&broker, "tls", &named, Version::V5);
    let mut writer = nameless(&broker, "writer", Version::V5);
    for client in [&mut reader, &mut named] {
        client.subscribe("#", QoS::AtLeastOnce);
    }
    for topic in ["any/topic", "ff/v1/blue/c/x", "another"] {
        writer.publish(Publish {
            qos: QoS::AtLeastOnce,
            ..Publish::new(topic, topic.as_bytes())
        });
        for client in [&mut reader, &mut named] {
            assert_eq!(client.receive().topic, topic);
        }
    }
    bystander.was_left_alone();
}

#[test]
fn a_name_is_still_held_to_its_password_where_none_is_needed() {
    let broker = Setup::new().start();
    let bystander = Bystander::join(&broker);
    let wrong = Login {
        password: "guessed".to_owned(),
        ..Login::of("alice@red")
    };
    let mut client = Client::dial(&broker, "open", Version::V5);
    client.send(&wrong.connect(Version::V5).encode());
    match &client.rest()[..] {
        [ServerPacket::ConnAck(connack)] => {
            assert_eq!(connack.code, ReasonCode::BadUserNameOrPassword.as_byte());
        }
        other => panic!("{other:?}"),
    }
    let mut alice = Client::login(&broker, "open", &Login::of("alice@red"), Version::V5);
    alice.assert_quiet();
    let row = broker.audited(|row| row["event"] == "connect" && row["listener"] == "open");
    assert_eq!(row["team"], "red");
    bystander.was_left_alone();
}
