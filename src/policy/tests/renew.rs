//! The same principal under another policy.

use std::sync::Arc;

use super::super::{GrantError, PatternAction, Policy, Principal, TeamId};
use super::*;

const HEAD: &str = "[namespace]\nteam = \"n/{team}/\"\n";

fn policy(roles: &str) -> Policy {
    Policy::parse("p.toml", &format!("{HEAD}{roles}")).unwrap_or_else(|error| panic!("{error}"))
}

/// Devices that may publish where their owner says, and clients with patterns.
fn before() -> Policy {
    policy(
        "[role.device]\nusername = [\"d:{team}:{device}\"]\nbindings = [\"owner\"]\n\
         [[role.device.rules]]\nallow = \"publish\"\ntopics = [\"n/{team}/{owner}/{device}\"]\n\
         [role.client]\nusername = [\"{client}@{team}\"]\nmount = \"n/{team}/c/\"\npatterns = {}\n\
         [role.free]\n[[role.free.rules]]\nallow = \"both\"\ntopics = [\"n/{team}/#\"]\n",
    )
}

fn world() -> World {
    World {
        members: Arc::new(TeamMembers::new(["i1"])),
        bindings: vec![("owner", "o1")],
        patterns: vec![pattern(PatternAction::Both, true, "mine/#")],
    }
}

#[test]
fn what_is_on_record_about_a_principal_counts_under_the_other_policy_too() {
    let after = policy(
        "[role.device]\nusername = [\"d:{team}:{device}\"]\nbindings = [\"owner\"]\n\
         [[role.device.rules]]\nallow = \"publish\"\ntopics = [\"n/{team}/of/{owner}\", \"n/{team}/{instances}\"]\n\
         [role.client]\nusername = [\"{client}@{team}\"]\nmount = \"n/{team}/c/\"\npatterns = {}\n\
         [[role.client.rules]]\ndeny = \"publish\"\ntopics = [\"n/{team}/c/mine/not\"]\n",
    );
    let world = world();
    let device = world.grant(&before(), "d:a:d1");
    assert!(may_publish(&device, "n/a/o1/d1"));
    let again = after.renew(&device).expect("a grant");
    assert_eq!(again.policy_version(), after.version());
    assert!(!may_publish(&again, "n/a/o1/d1"));
    assert!(may_publish(&again, "n/a/of/o1"));
    assert!(may_publish(&again, "n/a/i1"));
    world.members.add_instance("i2");
    assert!(
        may_publish(&again, "n/a/i2"),
        "its team's members are those of now"
    );
    let client = world.grant(&before(), "c@a");
    let over = crate::time::Time::from_micros(7);
    let client = client.until(over);
    let again = after.renew(&client).expect("a grant");
    assert_eq!(
        again.expires(),
        over,
        "what was proved holds no longer than before"
    );
    assert!(may_publish(&again, "mine/yes"));
    assert!(!may_publish(&again, "mine/not"));
}

#[test]
fn a_username_is_read_by_the_other_policy() {
    let other = policy(
        "[role.other]\nusername = [\"d:{team}:{thing}\"]\n\
         [[role.other.rules]]\nallow = \"publish\"\ntopics = [\"n/{team}/{thing}\"]\n",
    );
    let again = other.renew(&world().grant(&before(), "d:a:d1"));
    let again = again.expect("a grant");
    assert_eq!(&*again.principal().role, "other");
    assert!(may_publish(&again, "n/a/d1"));
    let nobody = other.renew(&world().grant(&before(), "c@a"));
    let error = nobody.map(|_| ()).expect_err("no role");
    assert_eq!(error, GrantError::Username(Arc::from("c@a")));
}

#[test]
fn who_is_somebody_without_a_username_of_the_role_stays_that() {
    let principal = Principal {
        username: Arc::from("d:a:d1"),
        role: Arc::from("free"),
        team: TeamId::new("a"),
        bindings: Vec::new(),
        patterns: Vec::new(),
    };
    let world = world();
    let free = before().grant(principal, &world).expect("a grant");
    let narrower = policy(
        "[role.device]\nusername = [\"d:{team}:{device}\"]\n\
         [role.free]\n[[role.free.rules]]\nallow = \"both\"\ntopics = [\"n/{team}/x\"]\n",
    );
    let again = narrower.renew(&free).expect("a grant");
    assert_eq!(&*again.principal().role, "free");
    assert!(may_publish(&again, "n/a/x") && !may_publish(&again, "n/a/y"));
    let without = policy("[role.device]\nusername = [\"d:{team}:{device}\"]\n");
    let error = without.renew(&free).map(|_| ()).expect_err("no role");
    assert_eq!(error, GrantError::UnknownRole(Arc::from("free")));
}
