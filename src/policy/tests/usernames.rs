//! Names that were let in elsewhere: read in one way or not at all.

use super::super::UsernameError::{Ambiguous, Character, EmptyPart, SecondAt, TooLong, Unknown};
use super::super::{Policy, Principal, USERNAME_MAX, UsernameError};
use super::{World, flowfuse};

fn read(policy: &Policy, username: &str) -> Result<Principal, UsernameError> {
    policy.read_username(username, &World::default())
}

#[test]
fn every_username_of_the_platform_gives_its_role_team_and_bindings() {
    let policy = flowfuse();
    let instance = "11111111-1111-4111-8111-111111111111";
    let hosted = format!("mq:hosted:aTeam00001:{instance}");
    let project = format!("project:aTeam00001:{instance}");
    let named: [(&str, &str, Option<&str>, &[(&str, &str)]); 11] = [
        ("forge_platform", "platform", None, &[]),
        (
            &project,
            "instance",
            Some("aTeam00001"),
            &[("instance", instance)],
        ),
        ("device:t:d", "device", Some("t"), &[("device", "d")]),
        ("frontend:t:d", "device-tab", Some("t"), &[("device", "d")]),
        (
            "fe-team:u:t:s",
            "team-tab",
            Some("t"),
            &[("user", "u"), ("session", "s")],
        ),
        (
            "expert-client:u:s",
            "expert-client",
            None,
            &[("user", "u"), ("session", "s")],
        ),
        (
            "expert-agent:u:s",
            "expert-agent",
            None,
            &[("user", "u"), ("session", "s")],
        ),
        (
            "press.1_b-c@t",
            "client",
            Some("t"),
            &[("client", "press.1_b-c")],
        ),
        (
            &hosted,
            "hosted-nodes",
            Some("aTeam00001"),
            &[("instance", instance)],
        ),
        (
            "mq:remote:t:d",
            "remote-nodes",
            Some("t"),
            &[("device", "d")],
        ),
        (
            "agent:watch@t",
            "observer",
            Some("t"),
            &[("agent", "watch")],
        ),
    ];
    for (username, role, team, bindings) in named {
        let principal = read(&policy, username).unwrap_or_else(|e| panic!("{username}: {e}"));
        assert_eq!(&*principal.role, role, "{username}");
        assert_eq!(
            principal.team.as_ref().map(|it| it.as_str()),
            team,
            "{username}"
        );
        let found: Vec<(&str, &str)> = principal
            .bindings
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        assert_eq!(found, bindings, "{username}");
    }
}

#[test]
fn words_of_other_roles_may_be_names_of_clients_and_other_words_may_stand_before_a_colon() {
    let policy = flowfuse();
    for client in [
        "project@t",
        "agent@t",
        "mq@t",
        "forge_platform@t",
        "plant:press@t",
    ] {
        assert_eq!(
            &*read(&policy, client).expect(client).role,
            "client",
            "{client}"
        );
    }
}

#[test]
fn a_username_that_could_be_read_in_two_ways_or_reach_beyond_a_level_is_nobodys() {
    let policy = flowfuse();
    let long = format!("{}@t", "x".repeat(USERNAME_MAX));
    let refused: [(&str, UsernameError); 33] = [
        ("", EmptyPart),
        ("nobody", Unknown),
        ("forge_platform2", Unknown),
        ("forge_platform:", EmptyPart),
        ("forge_platform:x", Unknown),
        ("project:t", Unknown),
        ("project:t:i:x", Unknown),
        ("project::i", EmptyPart),
        ("project:t:", EmptyPart),
        (":t:i", EmptyPart),
        ("@t", EmptyPart),
        ("press@", EmptyPart),
        ("a@@t", EmptyPart),
        ("a@t1@t2", SecondAt),
        ("agent:a@t1@t2", SecondAt),
        // Begin as one role's and have another's form.
        ("project:t1:i@t2", Ambiguous),
        ("device:t1:d@t2", Ambiguous),
        ("project:x@t2", Ambiguous),
        ("mq:hosted:t1:i@t2", Ambiguous),
        ("mq:else@t2", Ambiguous),
        ("fe-team:u:t1:s@t2", Ambiguous),
        ("expert-agent:u:s@t2", Ambiguous),
        ("project:t/1:i", Character),
        ("press@t/c", Character),
        ("pr/ess@t", Character),
        ("project:+:i", Character),
        ("device:t:#", Character),
        ("press@{team}", Character),
        ("press@t\0", Character),
        ("press@t\n", Character),
        ("press @t", Character),
        ("press@$SYS", Unknown),
        (&long, TooLong),
    ];
    for (username, expected) in refused {
        assert_eq!(read(&policy, username), Err(expected), "{username:?}");
    }
}
