//! Two plays of one script, side by side.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::client::{CLOSE_IN_VAIN, IN_VAIN};
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
    /// Compared, up to the end or to a difference that is one.
    pub steps: usize,
    /// How often each of the known differences was seen.
    pub known: BTreeMap<&'static str, usize>,
    /// Others, told at length.
    pub unknown: Vec<String>,
    /// Something was waited for that the peer had not done.
    in_vain: bool,
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
        let (alike, scripts, steps) = (self.alike, self.scripts, self.steps);
        writeln!(
            f,
            "{alike} of {scripts} scripts alike, {steps} steps compared"
        )?;
        for (what, count) in &self.known {
            writeln!(f, "{count} times: {what}")?;
        }
        Ok(())
    }
}

impl Tally {
    /// With those of another script.
    pub fn add(&mut self, other: Self) {
        self.scripts += other.scripts;
        self.alike += other.alike;
        self.steps += other.steps;
        for (what, count) in other.known {
            *self.known.entry(what).or_default() += count;
        }
        self.unknown.extend(other.unknown);
    }

    /// A difference that is no more is taken off the list.
    pub fn every_difference_occurred(&self, known: &[Difference]) {
        let missing = known.iter().filter(|it| !self.known.contains_key(it.what));
        let missing: Vec<_> = missing.map(|it| it.what).collect();
        assert!(missing.is_empty(), "no longer seen: {missing:#?}");
    }
}

/// Plays a script against both, up to the first difference that leaves the two in different states.
pub fn compare(seed: u64, ours: &Peer, theirs: &Peer, known: &'static [Difference]) -> Tally {
    let tally = once(
        &format!("s{seed}"),
        seed,
        [ours, theirs],
        theirs.patience,
        known,
    );
    if tally.unknown.is_empty() || !tally.in_vain {
        return tally;
    }
    // Perhaps the peer was only slow.
    once(
        &format!("again{seed}"),
        seed,
        [ours, theirs],
        ours.patience,
        known,
    )
}

fn once(
    name: &str,
    seed: u64,
    [ours, theirs]: [&Peer; 2],
    patience: Duration,
    known: &'static [Difference],
) -> Tally {
    let script = script(seed);
    let mut here = Play::new(name, ours, ours.patience);
    let mut there = Play::new(name, theirs, patience);
    let mut tally = Tally {
        scripts: 1,
        alike: 1,
        ..Tally::default()
    };
    for step in 0..script.len() {
        tally.steps += 1;
        let mut ends = false;
        let (here, there) = (here.step(&script[step]), there.step(&script[step]));
        for client in 0..=CLIENTS.len() {
            let found = Found {
                script: &script[..=step],
                client,
                ours: &here[client],
                theirs: &there[client],
            };
            if found.ours == found.theirs && !is_in_vain(found.ours) {
                continue;
            }
            tally.alike = 0;
            tally.in_vain |= is_in_vain(found.theirs);
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
    tally
}

fn is_in_vain(view: &View) -> bool {
    let lines = [IN_VAIN, CLOSE_IN_VAIN];
    view.iter().any(|seen| lines.contains(&seen.line.as_str()))
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
    (amended == *found.ours && !is_in_vain(&amended)).then_some(judged)
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
