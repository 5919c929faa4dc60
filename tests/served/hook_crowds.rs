//! One team's questions to the platform's store, however many, and however slow it is: they are in
//! no other team's way.

use crate::running::{Broker, Client, Hook, Login, Mood, Setup};
use cofferdam::wire::client::{Publish, ServerPacket, subscribe};
use cofferdam::wire::{QoS, ReasonCode, RetainHandling, SubscriptionOptions, Version};

const LOUD: &str = "project:aTeam00001:11111111-1111-4111-8111-111111111111";
const QUIET: &str = "press@bTeam00002";
const OPTIONS: SubscriptionOptions = SubscriptionOptions {
    qos: QoS::AtLeastOnce,
    no_local: false,
    retain_as_published: false,
    retain_handling: RetainHandling::Send,
};

fn start(hook: &Hook, more: &str) -> Broker {
    let lines = Hook::config(hook.address(), "emqx", "unknown");
    Setup::new().and_config(&format!("{lines}{more}")).start()
}

/// Another of a principal's connections.
fn join(broker: &Broker, hook: &Hook, username: &str, client_id: &str) -> Client {
    let login = Login::of(username);
    hook.knows(username, &login.password);
    let mut connect = login.connect(Version::V5);
    connect.client_id = client_id.to_owned();
    let mut client = Client::dial(broker, "tcp", Version::V5);
    client.connect(&connect);
    client
}

/// One SUBSCRIBE to so many filters of which no rule speaks.
fn ask_about(client: &mut Client, filters: usize) {
    let filters = (0..filters).map(|index| format!("ff/v1/aTeam00001/x/{index}"));
    let filters: Vec<String> = filters.collect();
    let asked: Vec<_> = filters.iter().map(|it| (&**it, OPTIONS)).collect();
    client.send(&subscribe(Version::V5, 7, &asked, &[]));
}

fn codes(client: &mut Client) -> Vec<ReasonCode> {
    match client.packet() {
        ServerPacket::SubAck { codes, .. } => codes,
        other => panic!("not SUBACK: {other:?}"),
    }
}

fn send_publish(client: &mut Client) {
    client.send_publish(Publish {
        qos: QoS::AtLeastOnce,
        ..Publish::new("a", b"x")
    });
}

fn published(client: &mut Client) -> ReasonCode {
    match client.packet() {
        ServerPacket::PubAck { reason, .. } => reason,
        other => panic!("not PUBACK: {other:?}"),
    }
}

#[test]
fn clients_that_ask_the_same_thousand_things_keep_no_other_team_from_asking() {
    const EACH: usize = 1024;
    const TEAM_MAX: usize = 4096;
    let hook = Hook::start();
    let broker = start(&hook, "deadline = \"1 min\"\n");
    hook.allows(|_, _, _| true);
    let mut quiet = join(&broker, &hook, QUIET, QUIET);
    let mut loud: Vec<Client> = (0..33)
        .map(|index| join(&broker, &hook, LOUD, &format!("{LOUD}:{index}")))
        .collect();
    hook.mood(Mood::Silent);
    for client in &mut loud {
        ask_about(client, EACH);
    }
    let crowded = [("what", "authorize"), ("result", "crowded")];
    broker.wait_for_numbers(|numbers| {
        let wanted = loud.len() * EACH - TEAM_MAX;
        numbers.check("cofferdam_hook_questions_total", &crowded, wanted as u64)
    });
    send_publish(&mut quiet);
    // It waits its turn behind none but those that are on their way.
    broker.wait_for_numbers(|numbers| {
        let misses = [("result", "miss")];
        numbers.check("cofferdam_hook_cache_total", &misses, EACH as u64 + 1)
    });
    hook.mood(Mood::Well);
    assert_eq!(published(&mut quiet), ReasonCode::Success);
    let unanswered = ReasonCode::ImplementationSpecificError;
    let answers: Vec<ReasonCode> = loud.iter_mut().flat_map(codes).collect();
    let count = |wanted| answers.iter().filter(|code| **code == wanted).count();
    assert_eq!(count(ReasonCode::GrantedQoS1), TEAM_MAX);
    assert_eq!(count(unanswered), answers.len() - TEAM_MAX);
}

#[test]
fn a_team_that_asks_more_than_can_be_answered_in_time_does_not_make_the_hook_be_away() {
    let hook = Hook::start();
    let broker = start(&hook, "deadline = \"2 s\"\nconnections = 8\n");
    hook.allows(|_, _, _| true);
    let mut quiet = join(&broker, &hook, QUIET, QUIET);
    let mut loud = join(&broker, &hook, LOUD, LOUD);
    hook.mood(Mood::Slow(std::time::Duration::from_millis(100)));
    ask_about(&mut loud, 400);
    let codes = codes(&mut loud);
    let granted = |code: &&ReasonCode| **code == ReasonCode::GrantedQoS1;
    let granted = codes.iter().filter(granted).count();
    assert!((8..400).contains(&granted), "{granted} of {}", codes.len());
    send_publish(&mut quiet);
    assert_eq!(published(&mut quiet), ReasonCode::Success);
    broker.wait_for_numbers(|numbers| {
        let labels = |result| [("what", "authorize"), ("result", result)];
        let questions = "cofferdam_hook_questions_total";
        numbers.check(questions, &labels("timeout"), 0)?;
        numbers.check(questions, &labels("crowded"), (400 - granted) as u64)?;
        numbers.check("cofferdam_hook_away", &[("what", "authorize")], 0)
    });
    let rows = broker.place().audit();
    assert!(rows.iter().all(|row| row["event"] != "hook_down"));
}
