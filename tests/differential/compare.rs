//! Two plays of one script, side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::differences::Difference;
use super::peers::Peer;
use super::play::{Play, View, order};
use super::script::{Act, CLIENTS, Step, script};

use cofferdam::wire::{SubscriptionOptions, Version};

/// How the scripts went.
#[derive(Default)]
pub struct Tally {
    pub scripts: usize,
    /// Without any difference.
    pub alike: usize,
    /// How often each of the known differences was seen.
    pub known: BTreeMap<&'static str, usize>,
    /// Others, told at length.
    pub unknown: Vec<String>,
}

/// A step in which some client saw something else.
pub struct Found<'a> {
    /// The script up to there, that step last.
    pub script: &'a [Step],
    /// Who; past the last, the witness.
    pub client: usize,
    pub ours: &'a View,
    pub theirs: &'a View,
}

impl Found<'_> {
    /// What the step did.
    pub fn act(&self) -> &Act {
        &self.script[self.script.len() - 1].act
    }

    /// Who did it.
    pub fn actor(&self) -> usize {
        self.script[self.script.len() - 1].client
    }

    /// What the client speaks that saw it; the witness speaks 3.1.1.
    pub fn version(&self) -> Version {
        CLIENTS.get(self.client).copied().unwrap_or(Version::V311)
    }

    /// The last CONNECT of a client before this step.
    pub fn connected(&self, client: usize) -> Option<&Act> {
        let before = &self.script[..self.script.len() - 1];
        let acts = before.iter().rev().filter(|step| step.client == client);
        acts.map(|step| &step.act)
            .find(|act| matches!(act, Act::Connect { .. }))
    }

    /// Whether a message is one that this client published itself.
    pub fn published_by(&self, client: usize, payload: &str) -> bool {
        let own = self.script.iter().filter(|step| step.client == client);
        own.into_iter().any(|step| match &step.act {
            Act::Publish(message) => message.payload == payload,
            _ => false,
        })
    }

    /// What the will of a client's last connection says.
    pub fn will_of(&self, client: usize) -> &str {
        match self.connected(client) {
            Some(Act::Connect { will, .. }) => &will.payload,
            _ => "",
        }
    }

    /// Whether the step publishes a message with properties, perhaps as a will.
    pub fn has_properties_on_the_way(&self) -> bool {
        let of_will = |act: &Act| match act {
            Act::Connect { will, .. } => !will.properties.is_empty(),
            _ => false,
        };
        match self.act() {
            Act::Publish(message) => !message.properties.is_empty(),
            act => of_will(act) || self.connected(self.actor()).is_some_and(of_will),
        }
    }

    /// Whether a client subscribed to one filter with different options.
    pub fn subscribed_again(&self, client: usize) -> bool {
        let own = self.script.iter().filter(|step| step.client == client);
        let mut before: BTreeMap<&str, SubscriptionOptions> = BTreeMap::new();
        own.into_iter().any(|step| match &step.act {
            Act::Subscribe {
                filter, options, ..
            } => before
                .insert(filter, *options)
                .is_some_and(|old| old != *options),
            _ => false,
        })
    }

    /// Whether a client subscribed to one filter more than once.
    pub fn subscribed_twice(&self, client: usize) -> bool {
        let own = self.script.iter().filter(|step| step.client == client);
        let mut before = BTreeSet::new();
        own.into_iter().any(|step| match &step.act {
            Act::Subscribe { filter, .. } => !before.insert(filter),
            _ => false,
        })
    }

    /// Whether the step is a SUBSCRIBE to a filter that its client subscribed to before.
    pub fn subscribes_again(&self) -> bool {
        let Act::Subscribe { filter, .. } = self.act() else {
            return false;
        };
        let before = &self.script[..self.script.len() - 1];
        let mut own = before.iter().filter(|step| step.client == self.actor());
        own.any(|step| matches!(&step.act, Act::Subscribe { filter: old, .. } if old == filter))
    }

    /// Whether a client has subscribed with no local.
    pub fn wants_nothing_of_its_own(&self, client: usize) -> bool {
        let mut own = self.script.iter().filter(|step| step.client == client);
        own.any(|step| matches!(&step.act, Act::Subscribe { options, .. } if options.no_local))
    }

    /// The step is a CONNECT that takes over a connection; the CONNECT of that one.
    pub fn taken_over(&self) -> Option<&Act> {
        let before = &self.script[..self.script.len() - 1];
        let last = before.iter().rfind(|step| step.client == self.actor())?;
        let is_connected = !matches!(last.act, Act::Cut | Act::Disconnect { .. });
        let takes_over = is_connected && matches!(self.act(), Act::Connect { .. });
        takes_over.then(|| self.connected(self.actor()))?
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} of {} scripts alike", self.alike, self.scripts)?;
        for (what, count) in &self.known {
            writeln!(f, "{count} times: {what}")?;
        }
        Ok(())
    }
}

impl Tally {
    /// A difference that is no more is taken off the list.
    pub fn every_difference_occurred(&self, known: &[Difference]) {
        let missing = known.iter().filter(|it| !self.known.contains_key(it.what));
        let missing: Vec<_> = missing.map(|it| it.what).collect();
        assert!(missing.is_empty(), "no longer seen: {missing:#?}");
    }
}

/// Plays a script against both, up to the first difference that leaves the two in different states.
pub fn compare(
    seed: u64,
    ours: &Peer,
    theirs: &Peer,
    known: &'static [Difference],
    tally: &mut Tally,
) {
    let script = script(seed);
    let (mut here, mut there) = (Play::new(seed, ours), Play::new(seed, theirs));
    tally.scripts += 1;
    let mut alike = true;
    for step in 0..script.len() {
        let mut ends = false;
        let (here, there) = (here.step(&script[step]), there.step(&script[step]));
        for client in 0..=CLIENTS.len() {
            let found = Found {
                script: &script[..=step],
                client,
                ours: &here[client],
                theirs: &there[client],
            };
            if found.ours == found.theirs {
                continue;
            }
            alike = false;
            match judge(&found, known) {
                Some(judged) => {
                    ends |= judged.iter().any(|it| it.ends);
                    for it in judged {
                        *tally.known.entry(it.what).or_default() += 1;
                    }
                }
                None => {
                    ends = true;
                    let told = told(&found, theirs.name);
                    tally.unknown.push(format!("seed {seed}: {told}"));
                }
            }
        }
        if ends {
            break;
        }
    }
    tally.alike += usize::from(alike);
}

/// The known differences that together make up this one; `None` where they do not.
fn judge(found: &Found<'_>, known: &'static [Difference]) -> Option<Vec<&'static Difference>> {
    let mut amended = found.theirs.clone();
    let mut judged = Vec::new();
    for it in known {
        let before = amended.clone();
        (it.amend)(found, &mut amended);
        order(&mut amended);
        if amended != before {
            judged.push(it);
        }
    }
    (amended == *found.ours).then_some(judged)
}

fn told(found: &Found<'_>, name: &str) -> String {
    let steps: Vec<String> = found.script.iter().map(Step::to_string).collect();
    let view = |view: &View| {
        let line = |seen: &super::client::Seen| {
            format!(
                "    {} {}\n",
                seen.topic.as_deref().unwrap_or("-"),
                seen.line
            )
        };
        view.iter().map(line).collect::<String>()
    };
    let who = match found.client {
        client if client < CLIENTS.len() => format!("c{client}"),
        _ => "the witness".to_owned(),
    };
    format!(
        "after\n{}\n{who} saw of cofferdam\n{}  and of {name}\n{}",
        steps.join("\n"),
        view(found.ours),
        view(found.theirs)
    )
}
