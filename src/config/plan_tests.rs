//! Plans, and what changes them for one team.

use super::super::Config;
use super::*;

const LISTENER: &str =
    "[[listener]]\nname = \"a\"\ntransport = \"tcp\"\nbind = \"127.0.0.1:1883\"\n";

fn parse(plans: &str) -> Result<Config, ConfigErrors> {
    Config::parse("test.toml", &format!("{LISTENER}{plans}"), [])
}

const PLANS: &str = r#"
[plan.default]
max_connections = 100
message_rate = 1000

[plan.small]
max_connections = 5
message_rate = 0
byte_rate = "1 MiB"
byte_burst = "8 MiB"
over_rate = "disconnect"
[plan.small.client]
connect_rate = 2
max_queued_bytes = "1 MiB"
"#;

#[test]
fn a_plan_begins_as_the_default_plan_and_that_one_without_limits() {
    let plans = parse(PLANS).expect("sound").plans;
    assert_eq!(plans.names().collect::<Vec<_>>(), ["default", "small"]);
    let default = TeamLimits {
        max_connections: 100,
        message_rate: Some(Rate::per_second(1000)),
        ..TeamLimits::default()
    };
    assert_eq!(plans.get("default").map(|it| &**it), Some(&default));
    let small = TeamLimits {
        max_connections: 5,
        message_rate: None,
        byte_rate: Some(Rate {
            per_second: 1 << 20,
            burst: 8 << 20,
        }),
        over_rate: OverRate::Disconnect,
        client: crate::limits::ClientLimits {
            connect_rate: Some(Rate::per_second(2)),
            max_queued_bytes: 1 << 20,
            ..Default::default()
        },
        ..default
    };
    assert_eq!(plans.get("small").map(|it| &**it), Some(&small));
    let none = parse("").expect("sound").plans;
    assert_eq!(none, Plans::default());
}

#[test]
fn what_is_shown_of_plans_reads_back_as_the_same_plans() {
    let config = parse(PLANS).expect("sound");
    let again = Config::parse("shown", &config.to_toml(), []).expect("sound");
    assert_eq!(again.plans, config.plans);
}

#[test]
fn mistakes_in_a_plan_are_named_with_line_and_key() {
    let cases = [
        (
            "max_conections = 5",
            "plan.x.max_conections: unknown key; did you mean `max_connections`?",
        ),
        (
            "message_burst = 5",
            "plan.x.message_burst: has no use without a rate",
        ),
        (
            "over_rate = \"cut\"",
            "plan.x.over_rate: \"cut\" is not one of slow, disconnect",
        ),
        (
            "client.max_sessions = 5",
            "plan.x.client.max_sessions: unknown key",
        ),
        (
            "max_packet_size = 5",
            "plan.x.max_packet_size: 5 B is not between 256 B and 268435460 B",
        ),
    ];
    for (line, wanted) in cases {
        let errors = parse(&format!("[plan.x]\n{line}\n")).expect_err(line);
        let found: Vec<_> = errors.problems.iter().map(ToString::to_string).collect();
        assert!(
            found.len() == 1 && found[0].starts_with("test.toml:6: "),
            "{found:?}"
        );
        assert!(found[0].contains(wanted), "{found:?}");
    }
    assert!(parse("plan.x = 5\n").is_err());
}

#[test]
fn changes_hold_what_was_said_and_nothing_else_and_change_the_plan_by_that() {
    let text = "client.message_rate = 10\nmax_connections = 7\nmessage_rate = 0\n";
    let changes = parse_changes("test", text, &Plans::default()).expect("sound");
    assert_eq!(
        changes,
        "max_connections = 7\nmessage_rate = 0\nclient.message_rate = 10\n"
    );
    assert_eq!(
        parse_changes("test", &changes, &Plans::default()).expect("sound"),
        changes
    );
    assert_eq!(
        parse_changes("test", "", &Plans::default()).expect("sound"),
        ""
    );

    let plans = parse(PLANS).expect("sound").plans;
    let (limits, wrong) = plans.resolve(Some("default"), &changes);
    let mut expected = (**plans.get("default").expect("there")).clone();
    expected.max_connections = 7;
    expected.message_rate = None;
    expected.client.message_rate = Some(Rate::per_second(10));
    assert_eq!((&*limits, wrong), (&expected, None));
}

#[test]
fn a_team_whose_plan_is_gone_has_the_default_one_and_the_operator_is_told() {
    let plans = parse(PLANS).expect("sound").plans;
    let (limits, wrong) = plans.resolve(Some("large"), "max_connections = 1\n");
    assert_eq!(wrong.as_deref(), Some("there is no plan \"large\""));
    assert_eq!(limits.max_connections, 1);
    assert_eq!(limits.message_rate, Some(Rate::per_second(1000)));
    let (limits, wrong) = plans.resolve(None, "no = 1");
    assert!(wrong.is_some());
    assert_eq!(Some(&limits), plans.get("default"));
}

#[test]
fn a_plan_is_as_durable_as_the_broker_unless_it_says_otherwise() {
    let journal = "[journal]\ndurability = \"os\"\n";
    let text = "[plan.bank]\ndurability = \"disk\"\n[plan.toys]\ndurability = \"memory\"\n";
    let plans = parse(&format!("{journal}{text}")).expect("sound").plans;
    let of = |plan: &str| plans.get(plan).map(|it| it.durability);
    assert_eq!(of("default"), Some(Durability::Os));
    assert_eq!(of("bank"), Some(Durability::Disk));
    assert_eq!(of("toys"), Some(Durability::Memory));
    let (own, wrong) = plans.resolve(Some("toys"), "durability = \"disk\"");
    assert_eq!((own.durability, wrong), (Durability::Disk, None));
    let (own, _) = plans.resolve(None, "max_connections = 3");
    assert_eq!(own.durability, Durability::Os);
}

#[test]
fn a_team_cannot_be_more_durable_than_a_broker_that_keeps_nothing() {
    let journal = "[journal]\ndurability = \"memory\"\n";
    let refused = parse(&format!("{journal}[plan.bank]\ndurability = \"os\"\n"));
    let said = refused.expect_err("nothing is kept").to_string();
    assert!(said.contains("plan.bank.durability"), "{said}");
    assert!(said.contains("the broker keeps nothing"), "{said}");
    // Nor one team alone; as it was stored before, it counts as left out.
    let plans = parse(journal).expect("sound").plans;
    let said = parse_changes("--set", "durability = \"disk\"", &plans);
    let said = said.expect_err("nothing is kept").to_string();
    assert!(said.contains("the broker keeps nothing"), "{said}");
    let (own, wrong) = plans.resolve(None, "durability = \"disk\"");
    assert_eq!(own.durability, Durability::Memory);
    assert!(wrong.is_some_and(|it| it.contains("the broker keeps nothing")));
    parse(&format!("{journal}[plan.toys]\ndurability = \"memory\"\n")).expect("the same");
}
