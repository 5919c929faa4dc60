//! Where peers differ from Cofferdam, and who is right by the standard.

use super::client::{CLOSE_IN_VAIN, IN_VAIN, Seen};
use super::compare::Found;
use super::play::View;
use super::script::Act;
use cofferdam::wire::{RetainHandling, Version};

/// A way in which a peer differs.
pub struct Difference {
    /// What the peer does.
    pub what: &'static str,
    /// What the standard says, and who is right by it.
    #[allow(dead_code)] // for those who read
    pub standard: &'static str,
    /// It leaves the two in different states, so that the rest of the script shows nothing more.
    pub ends: bool,
    /// Makes of what the peer's client saw what it would have seen without this difference, where
    /// the difference can be at work.
    pub amend: fn(&Found<'_>, &mut View),
}

const NOT_TOLD: Difference = Difference {
    what: "the connection that loses its session is not told",
    standard: "MQTT-3.1.4-3: DISCONNECT 0x8E before the close. Cofferdam is right.",
    ends: false,
    amend: |found, theirs| {
        let dismissed = |seen: &Seen| seen.line == "DISCONNECT session_taken_over";
        if found.taken_over().is_some() && !theirs.iter().any(dismissed) {
            let missing = found.ours.iter().filter(|seen| dismissed(seen)).cloned();
            theirs.splice(0..0, missing);
        }
    },
};

const NO_WILL_AT_TAKEOVER: Difference = Difference {
    what: "no will where the session is taken over and goes on",
    standard: "MQTT-3.1.2-8, and the note under MQTT-3.1.4-3: with a will delay of 0 the will is \
               sent, as the connection is closed without DISCONNECT of the client's (3.1.1: \
               MQTT-3.1.2-8). Cofferdam is right.",
    ends: true,
    amend: |found, theirs| {
        let Some(Act::Connect { will, .. }) = found.taken_over() else {
            return;
        };
        if !theirs.iter().any(|seen| seen.payload == will.payload) {
            add_missing(found, theirs, |seen| seen.payload == will.payload);
        }
    },
};

/// mosquitto 2.0.
pub const MOSQUITTO: &[Difference] = &[
    NOT_TOLD,
    NO_WILL_AT_TAKEOVER,
    Difference {
        what: "one copy for overlapping subscriptions of a 3.1.1 client",
        standard: "3.1.1: MQTT-3.3.5-1: one copy at the highest QoS granted, and further copies at \
                   will. Both are right.",
        ends: false,
        amend: |found, theirs| copies(found, theirs, |kept, missing| kept >= missing),
    },
    Difference {
        what: "one copy at less than the highest QoS of the overlapping subscriptions",
        standard: "3.1.1: MQTT-3.3.5-1: at the highest QoS granted. Cofferdam is right.",
        ends: false,
        amend: |found, theirs| copies(found, theirs, |kept, missing| kept < missing),
    },
    Difference {
        what: "a session that ended with the connection that was taken over has its subscriptions",
        standard: "MQTT-4.1.0-2, MQTT-3.2.2-3 (3.1.1: MQTT-3.1.2-6): it ended, as CONNACK says, and \
                   the new one begins without. Cofferdam is right.",
        ends: true,
        amend: |found, theirs| {
            let Some(Act::Connect {
                kept: false, will, ..
            }) = found.taken_over()
            else {
                return;
            };
            if found.client == found.actor() {
                theirs.retain(|seen| seen.payload != will.payload || found.ours.contains(seen));
            }
        },
    },
    Difference {
        what: "no local does not keep a client's own retained messages from it",
        standard: "MQTT-3.8.3-3: what a connection of the same client id published is not forwarded \
                   to it; retained messages are not excepted. Cofferdam is right.",
        ends: false,
        amend: |found, theirs| {
            if matches!(found.act(), Act::Subscribe { options, .. } if options.no_local) {
                theirs.retain(|seen| {
                    let own = found.published_by(found.client, &seen.payload);
                    !(own && seen.line.contains(" retain")) || found.ours.contains(seen)
                });
            }
        },
    },
    Difference {
        what: "a subscription that is made again keeps no local and retain as published",
        standard: "MQTT-3.8.4-3: it is replaced, its options with it. Cofferdam is right.",
        ends: true,
        amend: |found, theirs| {
            if !found.subscribed_again(found.client) {
                return;
            }
            let own = |seen: &Seen| found.published_by(found.client, &seen.payload);
            let bare = |seen: &Seen| seen.line.replace(" retain", "");
            for seen in found.ours.iter().filter(|seen| seen.topic.is_some()) {
                match theirs.iter_mut().find(|it| bare(it) == bare(seen)) {
                    Some(same) => same.clone_from(seen),
                    None if own(seen) => theirs.push(seen.clone()),
                    None => {}
                }
            }
            theirs.retain(|seen| found.ours.contains(seen) || !own(seen));
        },
    },
];

/// Adds the copies of messages that the peer's 3.1.1 client has one of, where their QoS, as first
/// in their line, compare so.
fn copies(found: &Found<'_>, theirs: &mut View, so: impl Fn(&str, &str) -> bool) {
    if found.version() != Version::V311 {
        return;
    }
    for seen in found.ours {
        let same = |it: &&Seen| it.topic == seen.topic && it.payload == seen.payload;
        let (ours, kept) = (found.ours.iter().filter(same), theirs.iter().filter(same));
        let (ours, kept): (Vec<&Seen>, Vec<&Seen>) = (ours.collect(), kept.collect());
        let [one] = kept[..] else { continue };
        let highest = ours
            .iter()
            .map(|it| it.line.as_str())
            .max()
            .unwrap_or_default();
        if seen.topic.is_some() && ours.len() > 1 && so(&one.line, highest) {
            let mut ours: Vec<Seen> = ours.into_iter().cloned().collect();
            if let Some(place) = ours.iter().position(|it| it == one) {
                ours.remove(place);
                theirs.extend(ours);
            }
        }
    }
}

/// Each message that Cofferdam's client did not get so, made more like what it got in its place:
/// the line that `right` makes of the two, where they belong together.
fn put_right(found: &Found<'_>, theirs: &mut View, right: impl Fn(&str, &str) -> Option<String>) {
    let mut left = found.ours.clone();
    let mut others = Vec::new();
    for seen in theirs.iter_mut() {
        match left.iter().position(|ours| ours == seen) {
            Some(place) => drop(left.swap_remove(place)),
            None if seen.topic.is_some() => others.push(seen),
            None => {}
        }
    }
    for seen in others {
        let of_it = left.iter().enumerate().find_map(|(place, ours)| {
            let line = right(&ours.line, &seen.line)?;
            (ours.topic == seen.topic).then_some((place, line))
        });
        if let Some((place, line)) = of_it {
            left.swap_remove(place);
            seen.line = line;
        }
    }
}

/// A message's line without what the subscription says of it.
fn bare(line: &str) -> String {
    let words = line.split(' ').skip(2);
    let words = words.filter(|word| *word != "retain" && !word.starts_with("SubscriptionId("));
    words.collect::<Vec<_>>().join(" ")
}

/// What Cofferdam's client saw of these and the peer's did not, in place of its waiting in vain.
fn add_missing(found: &Found<'_>, theirs: &mut View, these: impl Fn(&Seen) -> bool) {
    let missing = found.ours.iter().filter(|seen| these(seen));
    let missing: Vec<Seen> = missing
        .filter(|seen| !theirs.contains(seen))
        .cloned()
        .collect();
    theirs.extend(missing);
    theirs.retain(|seen| seen.line != IN_VAIN);
}

/// rumqttd 0.20. Nearly every script meets one of these; what is compared is what comes before.
pub const RUMQTTD: &[Difference] = &[
    NOT_TOLD,
    Difference {
        what: "at a takeover the will of the new connection is sent, and not that of the old",
        standard: "MQTT-3.1.2-8: it is the old connection that was closed. Cofferdam is right.",
        ends: true,
        amend: |found, theirs| {
            if let (Some(Act::Connect { will: old, .. }), Act::Connect { will: new, .. }) =
                (found.taken_over(), found.act())
                && theirs.iter().any(|seen| seen.payload == new.payload)
            {
                theirs.retain(|seen| seen.payload != new.payload);
                add_missing(found, theirs, |seen| seen.payload == old.payload);
            }
        },
    },
    NO_WILL_AT_TAKEOVER,
    Difference {
        what: "retain as published is not heeded",
        standard: "MQTT-3.3.1-13: the flag is as published. Cofferdam is right.",
        ends: false,
        amend: |found, theirs| {
            put_right(found, theirs, |ours, theirs| {
                let flagged = ours.get(5..)?;
                let same =
                    Some(flagged.replacen(" retain", "", 1)) == theirs.get(5..).map(str::to_owned);
                same.then(|| format!("{}{flagged}", &theirs[..5]))
            });
        },
    },
    Difference {
        what: "a message comes at the QoS of the subscription, higher than published",
        standard: "MQTT-3.8.4-8: at the lower of the two. Cofferdam is right.",
        ends: false,
        amend: |found, theirs| {
            put_right(found, theirs, |ours, theirs| {
                let same = ours < theirs && ours.get(5..) == theirs.get(5..);
                same.then(|| ours.to_owned())
            });
        },
    },
    Difference {
        what: "no local is not heeded",
        standard: "MQTT-3.8.3-3: what the client published itself is not forwarded to it. Cofferdam is \
                   right.",
        ends: false,
        amend: |found, theirs| {
            if found.wants_nothing_of_its_own(found.client) {
                theirs.retain(|seen| {
                    !found.published_by(found.client, &seen.payload) || found.ours.contains(seen)
                });
            }
        },
    },
    Difference {
        what: "subscribed to again, a filter's retained messages do not come again",
        standard: "3.1.1: MQTT-3.8.4-3; 5.0: MQTT-3.8.4-4: they do. Cofferdam is \
                   right.",
        ends: false,
        amend: |found, theirs| {
            if found.subscribes_again() {
                add_missing(found, theirs, |seen| seen.line.contains(" retain"));
            }
        },
    },
    Difference {
        what: "a subscription that is made again keeps its QoS, its options and its identifier",
        standard: "MQTT-3.8.4-3: it is replaced. Cofferdam is right.",
        ends: true,
        amend: |found, theirs| {
            if found.subscribed_again(found.client) {
                put_right(found, theirs, |ours, theirs| {
                    (bare(ours) == bare(theirs)).then(|| ours.to_owned())
                });
            }
        },
    },
    Difference {
        what: "a session whose expiry interval is 0 outlives its connection",
        standard: "MQTT-4.1.0-2, MQTT-3.2.2-3: it ends with it. Cofferdam is right.",
        ends: true,
        amend: |found, theirs| {
            let before = found.connected(found.actor());
            let ended = matches!(before, Some(Act::Connect { kept: false, .. }));
            if ended && matches!(found.act(), Act::Connect { .. }) && found.client == found.actor()
            {
                for seen in theirs {
                    seen.line = seen.line.replace("present: true", "present: false");
                }
            }
        },
    },
    Difference {
        what: "sessions of 5.0 are lost",
        standard: "MQTT-3.1.2-23, MQTT-3.2.2-3: kept for the session expiry interval and told of. \
                   Cofferdam is right.",
        ends: true,
        amend: |found, theirs| {
            let present = |seen: &&Seen| seen.line == "CONNACK 0x00 session present: true";
            let missing = found.ours.iter().find(present);
            let lost = |seen: &Seen| seen.line == "CONNACK 0x00 session present: false";
            if let (Some(present), Some(place)) = (missing, theirs.iter().position(lost))
                && found.version() == Version::V5
            {
                theirs[place] = present.clone();
                add_missing(found, theirs, |_| true);
            }
        },
    },
    Difference {
        what: "retain handling is not heeded",
        standard: "MQTT-3.3.1-10, MQTT-3.3.1-11: none where they exist already (1), none at all (2). \
                   Cofferdam is right.",
        ends: false,
        amend: |found, theirs| {
            let Act::Subscribe { options, .. } = found.act() else {
                return;
            };
            if options.retain_handling != RetainHandling::Send {
                theirs.retain(|seen| !seen.line.contains(" retain") || found.ours.contains(seen));
            }
        },
    },
    Difference {
        what: "UNSUBSCRIBE of what was not subscribed to is not answered",
        standard: "MQTT-3.10.4-5 (3.1.1: MQTT-3.10.4-5): UNSUBACK all the same. Cofferdam is right.",
        ends: true,
        amend: |found, theirs| {
            if matches!(found.act(), Act::Unsubscribe { .. }) && found.client == found.actor() {
                add_missing(found, theirs, |seen| seen.line.starts_with("UNSUBACK"));
            }
        },
    },
    Difference {
        what: "a client of 3.1.1 is cut off by a message with properties of 5.0",
        standard: "3.1.1 has no properties, and a message goes to every subscription (3.1.1: \
                   MQTT-3.3.5-1). Cofferdam is right.",
        ends: true,
        amend: |found, theirs| {
            let closed = theirs.iter().position(|seen| seen.line == "closed");
            if let (Version::V311, Some(place)) = (found.version(), closed)
                && found.has_properties_on_the_way()
            {
                theirs.remove(place);
                add_missing(found, theirs, |_| true);
            }
        },
    },
    Difference {
        what: "DISCONNECT 0x04 is answered neither with the will nor with the close",
        standard: "MQTT-3.14.4-1 and -2 bind the client; MQTT-3.1.2-8: the will is sent. Cofferdam is \
                   right.",
        ends: true,
        amend: |found, theirs| {
            if matches!(found.act(), Act::Disconnect { with_will: true }) {
                let will = found.will_of(found.actor());
                add_missing(found, theirs, |seen| {
                    seen.line == "closed" || seen.payload == will
                });
                theirs.retain(|seen| seen.line != CLOSE_IN_VAIN);
            }
        },
    },
];
