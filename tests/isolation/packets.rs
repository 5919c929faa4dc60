//! Every packet of a client's, and every field and property of it that can carry a topic, a client
//! id, a share group, a response topic, an alias, a will or a name: each in turn names what is
//! `alpha`'s.

use crate::cluster::*;
use crate::stage::*;
use cofferdam::wire::client::{self as packets, Property, Publish};
use cofferdam::wire::{ReasonCode, Version};

/// What an attack leaves on the attacker's record.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Left {
    /// A refusal: event and reason.
    Refused(&'static str, &'static str),
    /// Its connection ended for this cause, for it broke the protocol.
    Cut,
    /// It came in, to a session of its own.
    Connected,
    /// Nothing beyond its connection: the packet names nothing that could be anybody's.
    Nothing,
}

const OUTSIDE: &str = "outside the team";
const PUBLISH: Left = Left::Refused("publish_refused", OUTSIDE);
const RESPONSE: Left = Left::Refused("publish_refused", "response topic outside the team");
const SUBSCRIBE: Left = Left::Refused("subscribe_refused", OUTSIDE);
const UNSUBSCRIBE: Left = Left::Refused("unsubscribe_refused", OUTSIDE);
const GUESS: Left = Left::Refused("connect_refused", "wrong_password");

/// What is done with one target, a topic of `alpha`'s.
type Deed = fn(&Attacker<'_>, &str, &str);

/// A field of a packet.
struct Field {
    packet: &'static str,
    field: &'static str,
    /// Only in 5.0.
    v5: bool,
    deed: Deed,
    /// What it leaves where names are full names.
    left: Left,
    /// What it leaves where names are below a mount, so that a name of `alpha`'s is one at home.
    left_by_mounted: Left,
}

const fn field(packet: &'static str, field: &'static str, deed: Deed, left: Left) -> Field {
    Field {
        packet,
        field,
        v5: false,
        deed,
        left,
        left_by_mounted: Left::Nothing,
    }
}

impl Field {
    const fn v5(self) -> Self {
        Self { v5: true, ..self }
    }

    const fn and_by_mounted(self) -> Self {
        Self {
            left_by_mounted: self.left,
            ..self
        }
    }
}

/// All fields, in the order of section 3 of the standard.
fn fields() -> Vec<Field> {
    vec![
        field("CONNECT", "client id", client_id, Left::Connected).and_by_mounted(),
        field("CONNECT", "user name", user_name, GUESS).and_by_mounted(),
        field("CONNECT", "will topic", will_topic, PUBLISH),
        field("CONNECT", "will topic, retained", retained_will, PUBLISH),
        field("CONNECT", "will topic, delayed", delayed_will, PUBLISH).v5(),
        field("CONNECT", "will response topic", will_response, RESPONSE).v5(),
        field(
            "CONNECT",
            "will user property",
            will_property,
            Left::Nothing,
        )
        .v5(),
        field(
            "CONNECT",
            "user property",
            connect_property,
            Left::Connected,
        )
        .v5()
        .and_by_mounted(),
        field("CONNECT", "authentication data", method, GUESS)
            .v5()
            .and_by_mounted(),
        field("PUBLISH", "topic", topic, PUBLISH),
        field("PUBLISH", "topic, retained", retained, PUBLISH),
        field("PUBLISH", "topic, to clear", cleared, PUBLISH),
        field("PUBLISH", "topic alias", alias, PUBLISH).v5(),
        field("PUBLISH", "response topic", response, RESPONSE).v5(),
        field("PUBLISH", "subscription id", identifier, Left::Cut)
            .v5()
            .and_by_mounted(),
        field("PUBLISH", "user property", publish_property, Left::Nothing).v5(),
        field(
            "PUBACK, PUBREC, PUBREL, PUBCOMP",
            "packet id",
            acks,
            Left::Nothing,
        ),
        field("SUBSCRIBE", "filter", filter, SUBSCRIBE),
        field("SUBSCRIBE", "filter, wildcards", wild, SUBSCRIBE),
        field("SUBSCRIBE", "share group", share, SUBSCRIBE),
        field("SUBSCRIBE", "subscription id", filter_id, SUBSCRIBE).v5(),
        field("UNSUBSCRIBE", "filter", unfilter, UNSUBSCRIBE),
        field("UNSUBSCRIBE", "share group", unshare, UNSUBSCRIBE),
        field("PINGREQ", "nothing", ping, Left::Nothing),
        field("DISCONNECT", "session expiry", disconnect, Left::Nothing),
        field("DISCONNECT", "server reference", reference, Left::Cut)
            .v5()
            .and_by_mounted(),
        field("AUTH", "authentication data", authenticate, Left::Cut)
            .v5()
            .and_by_mounted(),
    ]
}

#[test]
fn no_field_of_any_packet_reaches_another_team() {
    let fields = fields();
    unnoticed(|attacker| {
        for username in ATTACKERS {
            for field in fields.iter().filter(|field| !field.v5 || attacker.is_v5()) {
                attacker.cluster.events();
                for target in attacker.targets() {
                    (field.deed)(attacker, username, target);
                }
                check(attacker, username, field);
            }
        }
    });
}

/// What stands on the attacker's record is what the table says, once for each target at least.
fn check(attacker: &Attacker<'_>, username: &str, field: &Field) {
    let what = format!("{} {} by {username}", field.packet, field.field);
    let deeds = deeds(attacker, username);
    let left = match is_mounted(username) {
        true => field.left_by_mounted,
        false => field.left,
    };
    let count = |event: &str, reason: &str| {
        let same = |deed: &&(&str, String)| deed.0 == event && deed.1 == reason;
        deeds.iter().filter(same).count()
    };
    let refused = deeds
        .iter()
        .filter(|(event, _)| event.ends_with("_refused"));
    match left {
        Left::Refused("connect_refused", _) => {} // on nobody's record: see below
        Left::Refused(event, reason) => {
            assert!(
                count(event, reason) >= attacker.targets().len(),
                "{what}: {deeds:?}"
            );
        }
        Left::Cut => assert!(count("disconnect", "protocol") > 0, "{what}: {deeds:?}"),
        Left::Connected => assert!(count("connect", "") > 0, "{what}: {deeds:?}"),
        Left::Nothing => {
            let allowed = |deed: &(&str, String)| deed.1 == "policy"; // at home, what it may not there
            let refused: Vec<_> = refused.filter(|deed| !allowed(deed)).collect();
            assert!(refused.is_empty(), "{what}: {refused:?}");
        }
    }
}

fn put(attacker: &Attacker<'_>, username: &str, publish: &Publish) {
    let client = attacker.login(username);
    for qos in [QOS_0, QOS_1, QOS_2] {
        client.complete(Publish {
            qos,
            ..publish.clone()
        });
    }
}

fn topic(attacker: &Attacker<'_>, username: &str, target: &str) {
    put(attacker, username, &Publish::new(target, MARK.as_bytes()));
}

fn retained(attacker: &Attacker<'_>, username: &str, target: &str) {
    let publish = Publish {
        retain: true,
        ..Publish::new(target, MARK.as_bytes())
    };
    put(attacker, username, &publish);
}

fn cleared(attacker: &Attacker<'_>, username: &str, target: &str) {
    let publish = Publish {
        retain: true,
        ..Publish::new(target, b"")
    };
    put(attacker, username, &publish);
}

fn with(property: Property, topic: &str) -> Publish {
    Publish {
        qos: QOS_1,
        properties: vec![property],
        ..Publish::new(topic, MARK.as_bytes())
    }
}

fn alias(attacker: &Attacker<'_>, username: &str, target: &str) {
    let client = attacker.login(username);
    // Set with a refused topic, used; set anew with one of its own, and moved back.
    for topic in [target, "", at_home(username), "", target, ""] {
        client.complete(with(Property::TopicAlias(1), topic));
    }
}

fn response(attacker: &Attacker<'_>, username: &str, target: &str) {
    let client = attacker.login(username);
    client.complete(with(
        Property::ResponseTopic(target.to_owned()),
        at_home(username),
    ));
    if username == "agent:watch@beta" {
        return; // publishes nothing
    }
    assert!(client.is_open());
}

fn identifier(attacker: &Attacker<'_>, username: &str, target: &str) {
    let client = attacker.login(username);
    client.put(with(Property::SubscriptionId(1), target));
    assert!(!client.is_open(), "[MQTT-3.3.4-6]");
}

fn publish_property(attacker: &Attacker<'_>, username: &str, target: &str) {
    let client = attacker.login(username);
    let property = Property::User("topic".to_owned(), target.to_owned());
    client.complete(with(property, at_home(username)));
}

fn acks(attacker: &Attacker<'_>, username: &str, _: &str) {
    let client = attacker.login(username);
    let (version, ok) = (client.version(), ReasonCode::Success);
    for id in 1..=8 {
        for ack in [
            packets::puback,
            packets::pubrec,
            packets::pubrel,
            packets::pubcomp,
        ] {
            client.send(ack(version, id, ok, &[]));
        }
    }
}

fn subscribe(attacker: &Attacker<'_>, username: &str, filters: &[String], with: &[Property]) {
    let client = attacker.login(username);
    for filter in filters {
        client.try_subscribe(&[(filter, options(QOS_2))], with);
    }
}

fn filter(attacker: &Attacker<'_>, username: &str, target: &str) {
    subscribe(attacker, username, &[target.to_owned()], &[]);
}

fn wild(attacker: &Attacker<'_>, username: &str, target: &str) {
    let levels: Vec<&str> = target.split('/').collect();
    let mut filters: Vec<String> = ["#", "+/#", "ff/#", "ff/v1/#", "ff/v1/+/#", "ff/v1/alpha/#"]
        .map(str::to_owned)
        .into();
    for place in 0..levels.len() {
        let mut one = levels.clone();
        one[place] = "+";
        filters.push(one.join("/"));
        let all = [&levels[..place], &["#"]].concat();
        filters.push(all.join("/"));
    }
    // A filter that leaves the team open at the attacker's own place is as foreign.
    filters.push(target.replace("alpha", "+"));
    subscribe(attacker, username, &filters, &[]);
}

fn share(attacker: &Attacker<'_>, username: &str, target: &str) {
    let groups = ["g", "a1", "platform", "browser"];
    let filters = groups.map(|group| format!("$share/{group}/{target}"));
    subscribe(attacker, username, &filters, &[]);
    let open = groups.map(|group| format!("$share/{group}/ff/v1/+/d/+/logs"));
    subscribe(attacker, username, &open, &[]);
}

fn filter_id(attacker: &Attacker<'_>, username: &str, target: &str) {
    let id = Property::SubscriptionId(1);
    subscribe(attacker, username, &[target.to_owned()], &[id]);
}

fn unfilter(attacker: &Attacker<'_>, username: &str, target: &str) {
    let codes = attacker
        .login(username)
        .unsubscribe(&[target, "ff/v1/alpha/#"]);
    if attacker.is_v5() {
        assert_eq!(codes, [ReasonCode::NoSubscriptionExisted; 2]);
    }
}

fn unshare(attacker: &Attacker<'_>, username: &str, target: &str) {
    let shared = ["g", "a1"].map(|group| format!("$share/{group}/{target}"));
    let client = attacker.login(username);
    client.unsubscribe(&shared.each_ref().map(String::as_str));
}

fn client_id(attacker: &Attacker<'_>, username: &str, _: &str) {
    for id in CLIENT_IDS {
        for kept in [0, 3_600] {
            let hello = client(username).id(id).kept(kept);
            let taken = attacker.dial(hello);
            let came = taken.received();
            assert!(
                matches!(came[..], [packets::ServerPacket::ConnAck(_)]),
                "{username} as {id} got {came:?}"
            );
            if taken.is_open() {
                taken.disconnect();
            }
        }
    }
    // Those whose role names the client id were refused: they log in as they may.
    attacker.login(username);
}

fn user_name(attacker: &Attacker<'_>, _: &str, _: &str) {
    for victim in [
        "alice@alpha",
        "project:alpha:a1",
        "device:alpha:ad",
        "forge_platform",
    ] {
        let guess = attacker.dial(client(victim).password("a guess"));
        assert!(!guess.is_open());
        let told: Vec<_> = deeds(attacker, victim);
        assert_eq!(told, [("connect_refused", "wrong_password".to_owned())]);
    }
}

fn connect_property(attacker: &Attacker<'_>, username: &str, target: &str) {
    let property = Property::User("team".to_owned(), target.to_owned());
    attacker.connect(client(username).with(property));
}

fn method(attacker: &Attacker<'_>, username: &str, _: &str) {
    let challenged = attacker.dial(client("alice@alpha").id(username).riddle());
    challenged.send(packets::auth(
        ReasonCode::ContinueAuthentication,
        &[
            Property::AuthenticationMethod(RIDDLE.to_owned()),
            Property::AuthenticationData(b"a guess".to_vec()),
        ],
    ));
    assert!(!challenged.is_open());
    let told: Vec<_> = deeds(attacker, "alice@alpha");
    assert_eq!(told, [("connect_refused", "wrong_password".to_owned())]);
}

fn die(attacker: &Attacker<'_>, username: &str, topic: &str, retain: bool, with: Vec<Property>) {
    let hello = client(username)
        .id(&client_id_of(username))
        .kept(10)
        .clean();
    attacker
        .connect(hello.with_will(topic, MARK, QOS_2, retain, with))
        .cut();
}

/// A client id of its own for each will, where the role leaves it free.
fn client_id_of(username: &str) -> String {
    match is_mounted(username) {
        true => username.to_owned(),
        false => format!("{username}'s will"),
    }
}

fn will_topic(attacker: &Attacker<'_>, username: &str, target: &str) {
    die(attacker, username, target, false, vec![]);
}

fn retained_will(attacker: &Attacker<'_>, username: &str, target: &str) {
    die(attacker, username, target, true, vec![]);
}

fn delayed_will(attacker: &Attacker<'_>, username: &str, target: &str) {
    die(
        attacker,
        username,
        target,
        true,
        vec![Property::WillDelay(1)],
    );
    attacker.cluster.pass_secs(2);
}

fn will_response(attacker: &Attacker<'_>, username: &str, target: &str) {
    let response = Property::ResponseTopic(target.to_owned());
    die(attacker, username, at_home(username), false, vec![response]);
}

fn will_property(attacker: &Attacker<'_>, username: &str, target: &str) {
    let property = Property::User("topic".to_owned(), target.to_owned());
    die(attacker, username, at_home(username), false, vec![property]);
}

fn ping(attacker: &Attacker<'_>, username: &str, _: &str) {
    attacker.login(username).send(packets::pingreq());
}

fn disconnect(attacker: &Attacker<'_>, username: &str, _: &str) {
    let expiry: &[Property] = match attacker.is_v5() {
        true => &[Property::SessionExpiry(0)],
        false => &[],
    };
    let client = attacker.login(username);
    client.disconnect_with(ReasonCode::Success, expiry);
}

fn reference(attacker: &Attacker<'_>, username: &str, target: &str) {
    let client = attacker.login(username);
    let reference = Property::ServerReference(target.to_owned());
    client.send(packets::disconnect(
        Version::V5,
        ReasonCode::Success,
        &[reference],
    ));
    assert!(!client.is_open());
}

fn authenticate(attacker: &Attacker<'_>, username: &str, _: &str) {
    let client = attacker.login(username);
    client.send(packets::auth(
        ReasonCode::ReAuthenticate,
        &[
            Property::AuthenticationMethod(RIDDLE.to_owned()),
            Property::AuthenticationData(b"alice@alpha".to_vec()),
        ],
    ));
    assert!(!client.is_open(), "it logged in without a method");
}

/// A topic that the username may publish to.
fn at_home(username: &str) -> &'static str {
    match username {
        "project:beta:b1" | "device:beta:bd" => "ff/v1/beta/c/x",
        "frontend:beta:bd" => "ff/v1/beta/d/bd/logs/heartbeat",
        "fe-team:u:beta:s" => "ff/v1/beta/u/u/s/s/heartbeat",
        "expert-client:u:s" => "ff/v1/expert/u/s/a/x/support/chat/request",
        "expert-agent:u:s" => "ff/v1/expert/u/s/a/x/support/chat/response",
        _ => "x",
    }
}
