//! The built-in policy decides as the platform does, on every recorded decision.

use std::collections::HashMap;
use std::sync::Arc;

use cofferdam::policy::{Directory, Policy, Principal, TeamId, TeamMembers};
use serde::Deserialize;

#[derive(Deserialize)]
struct World {
    instances: Vec<Instance>,
    devices: Vec<Device>,
}

#[derive(Deserialize)]
struct Instance {
    id: String,
    team: String,
}

#[derive(Deserialize)]
struct Device {
    id: String,
    owner: Option<DeviceOwner>,
}

#[derive(Deserialize)]
struct DeviceOwner {
    r#type: String,
    id: String,
}

/// The recorded world as a directory.
struct Recorded {
    members: HashMap<String, Arc<TeamMembers>>,
    owners: HashMap<String, DeviceOwner>,
}

impl Recorded {
    fn read() -> Self {
        let world: World = serde_json::from_str(include_str!("data/flowfuse/acl-world.json"))
            .expect("acl-world.json has instances and devices");
        let mut members: HashMap<String, Arc<TeamMembers>> = HashMap::new();
        for instance in &world.instances {
            let team = members.entry(instance.team.clone()).or_default();
            team.add_instance(&instance.id);
        }
        let owners = world.devices.into_iter();
        let owners = owners.filter_map(|device| Some((device.id, device.owner?)));
        Self {
            members,
            owners: owners.collect(),
        }
    }
}

impl Directory for Recorded {
    fn members(&self, team: &TeamId) -> Arc<TeamMembers> {
        self.members.get(team.as_str()).cloned().unwrap_or_default()
    }

    fn complete(&self, principal: &mut Principal) {
        let device = principal.binding("device").map(|id| id.to_string());
        if let Some(owner) = device.and_then(|device| self.owners.get(&device)) {
            principal
                .bindings
                .push(("owner_type".into(), owner.r#type.as_str().into()));
            principal
                .bindings
                .push(("owner".into(), owner.id.as_str().into()));
        }
    }
}

#[test]
fn the_built_in_policy_agrees_with_every_recorded_decision_of_the_platform() {
    let policy = Policy::flowfuse().unwrap_or_else(|error| panic!("{error}"));
    let vectors = include_str!("data/flowfuse/acl-vectors.tsv");
    let outcome = policy
        .meets(vectors, &Recorded::read())
        .expect("four columns a line");
    assert_eq!(outcome.checked, 5_210);
    let differences = outcome.differences.iter();
    let differences: Vec<String> = differences
        .map(|difference| format!("line {}: {}", difference.line, difference.explanation))
        .collect();
    assert!(
        differences.is_empty(),
        "{} lines differ:\n{}",
        differences.len(),
        differences.join("\n")
    );
}

#[test]
fn an_expectation_that_is_not_met_is_reported_with_its_line() {
    let policy = Policy::flowfuse().unwrap_or_else(|error| panic!("{error}"));
    let expectations = "username\taction\ttopic\tdecision\n\
                        # a comment\n\
                        forge_platform\tpublish\tff/v1/platform/sync\tallow\n\
                        \n\
                        nobody\tsubscribe\t#\tallow\n";
    let outcome = policy
        .meets(expectations, &Recorded::read())
        .expect("expectations");
    assert_eq!(outcome.checked, 2);
    let lines: Vec<usize> = outcome
        .differences
        .iter()
        .map(|difference| difference.line)
        .collect();
    assert_eq!(lines, [5]);
    let error = policy.meets("nobody\tread\t#\tallow\n", &Recorded::read());
    assert_eq!(error.expect_err("no such action").line, 1);
}
