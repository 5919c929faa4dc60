//! Section 3.15 and 4.12: AUTH where no method was agreed on.

use super::cluster::*;
use super::is_dismissed;
use cofferdam::wire::ReasonCode;
use cofferdam::wire::client::{Property, ServerPacket, auth};

/// Shows: MQTT-4.12.0-6, MQTT-4.12.0-7 (5.0)
#[test]
fn who_named_no_method_is_sent_none_and_may_send_no_auth() {
    let cluster = Cluster::new(1);
    for reason in [
        ReasonCode::ContinueAuthentication,
        ReasonCode::ReAuthenticate,
    ] {
        let client = cluster.dial(0, client("alice@alpha"));
        let [ServerPacket::ConnAck(connack)] = &client.received()[..] else {
            panic!("CONNACK and nothing else");
        };
        let of_auth = |property: &Property| {
            matches!(
                property,
                Property::AuthenticationMethod(_) | Property::AuthenticationData(_)
            )
        };
        assert!(!connack.properties.iter().any(of_auth), "{connack:?}");
        let method = Property::AuthenticationMethod("SCRAM-SHA-256".to_owned());
        client.send(auth(reason, &[method]));
        is_dismissed(&client, 0x82);
    }
}
