//! What can happen, one step at a time, as plain data: a run is a list of steps, and a shorter list
//! is a run too. A step that makes no sense where it stands does nothing.

use std::fmt::Write;

use cofferdam::wire::{QoS, RetainHandling, SubscriptionOptions, Version};

use crate::plan::Plan;

/// A step. `who` is an index into [`Plan::slots`]; names are indexes into what that one writes.
#[derive(Clone, Debug)]
pub enum Step {
    /// A new connection with a CONNECT, also while the last one is still there.
    Connect {
        who: usize,
        shard: u16,
        hello: Hello,
    },
    Publish {
        who: usize,
        post: Post,
    },
    Subscribe {
        who: usize,
        filters: Vec<(usize, SubscriptionOptions)>,
        id: Option<u32>,
    },
    Unsubscribe {
        who: usize,
        filters: Vec<usize>,
    },
    Ping {
        who: usize,
    },
    /// The client sends this many of the acknowledgements that it owes; the first one may be a
    /// refusal (5.0).
    Acknowledge {
        who: usize,
        count: usize,
        refuse: bool,
    },
    /// From now on it acknowledges at once, or only when told to.
    Prompt {
        who: usize,
        on: bool,
    },
    /// From now on what it sends arrives at once, or byte by byte when told to.
    Trickle {
        who: usize,
        on: bool,
    },
    /// So many bytes arrive.
    Feed {
        who: usize,
        bytes: usize,
    },
    /// It reads all that comes, or nothing.
    Reading {
        who: usize,
        on: bool,
    },
    /// It reads so many bytes.
    Read {
        who: usize,
        bytes: usize,
    },
    /// The network fails after so many more bytes have arrived.
    Cut {
        who: usize,
        bytes: usize,
    },
    Disconnect {
        who: usize,
        with_will: bool,
        expiry: Option<u32>,
    },
    /// Logins are judged at once, or when told to.
    HoldLogins {
        on: bool,
    },
    Judge {
        pick: usize,
    },
    /// What passes between shards arrives at once, or when told to.
    HoldBetween {
        on: bool,
    },
    /// The oldest thing between one pair of shards arrives.
    Deliver {
        pick: usize,
    },
    /// Shards begin a new turn as soon as work waits for it, or when told to.
    HoldTurns {
        on: bool,
    },
    /// A shard has a turn: it goes on with what waits for one.
    GoOn {
        shard: u16,
    },
    /// The operator gives somebody other rights, which count from the next login on.
    Regrant {
        who: usize,
        rights: usize,
    },
    /// The journal keeps what it is handed at once, or when told to.
    HoldJournal {
        on: bool,
    },
    /// The journal keeps so many commits more.
    Keep {
        count: usize,
    },
    /// The journal takes no more messages, or does again.
    Full {
        on: bool,
    },
    /// The broker crashes and starts again. Of the commits that waited so many were kept, in turn.
    Crash {
        kept: usize,
    },
    /// Time passes.
    Pass {
        micros: u64,
    },
    /// Everyone reads and acknowledges until nothing moves.
    Settle,
}

/// A CONNECT.
#[derive(Clone, Debug)]
pub struct Hello {
    pub version: Version,
    pub clean: bool,
    pub expiry: u32,
    pub keep_alive: u16,
    pub receive_maximum: Option<u16>,
    pub max_packet: Option<u32>,
    pub alias_maximum: Option<u16>,
    pub wrong_password: bool,
    pub will: Option<Post>,
    /// Seconds.
    pub will_delay: u32,
    /// Acknowledgements owed on the last connection are still sent on this one.
    pub late_answers: bool,
}

/// A message in the making.
#[derive(Clone, Debug)]
pub struct Post {
    pub topic: usize,
    pub qos: QoS,
    pub retain: bool,
    /// No payload at all.
    pub empty: bool,
    /// Bytes of padding.
    pub padding: usize,
    /// Seconds.
    pub expiry: Option<u32>,
    /// Which properties, as bits.
    pub properties: u8,
    /// Under a topic alias, where the broker takes them.
    pub alias: bool,
}

impl Step {
    /// Whose step it is.
    pub fn who(&self) -> Option<usize> {
        match self {
            Self::Connect { who, .. }
            | Self::Publish { who, .. }
            | Self::Subscribe { who, .. }
            | Self::Unsubscribe { who, .. }
            | Self::Ping { who }
            | Self::Acknowledge { who, .. }
            | Self::Prompt { who, .. }
            | Self::Trickle { who, .. }
            | Self::Feed { who, .. }
            | Self::Reading { who, .. }
            | Self::Read { who, .. }
            | Self::Cut { who, .. }
            | Self::Disconnect { who, .. }
            | Self::Regrant { who, .. } => Some(*who),
            _ => None,
        }
    }

    /// The step in words.
    pub fn tell(&self, plan: &Plan) -> String {
        let name = self.who().map_or(String::new(), |who| plan.name(who));
        let person = |who: &usize| plan.person(*who);
        match self {
            Self::Connect { who, shard, hello } => {
                format!(
                    "{name} connects to shard {shard}: {}",
                    hello.tell(plan, *who)
                )
            }
            Self::Publish { who, post } => format!("{name} publishes {}", post.tell(plan, *who)),
            Self::Subscribe { who, filters, id } => {
                let mut text = format!("{name} subscribes to");
                for (filter, options) in filters {
                    let filter = &person(who).filters[*filter];
                    let _ = write!(text, " {filter:?} ({})", tell_options(*options));
                }
                if let Some(id) = id {
                    let _ = write!(text, " under identifier {id}");
                }
                text
            }
            Self::Unsubscribe { who, filters } => {
                let filters = filters.iter().map(|filter| &person(who).filters[*filter]);
                format!("{name} unsubscribes from {:?}", filters.collect::<Vec<_>>())
            }
            Self::Ping { .. } => format!("{name} pings"),
            Self::Acknowledge { count, refuse, .. } => {
                let refusal = if *refuse {
                    ", the first with an error"
                } else {
                    ""
                };
                format!("{name} sends {count} of the acknowledgements it owes{refusal}")
            }
            Self::Prompt { on: true, .. } => format!("{name} acknowledges at once from now on"),
            Self::Prompt { on: false, .. } => format!("{name} holds acknowledgements back"),
            Self::Trickle { on: true, .. } => format!("{name} sends byte by byte from now on"),
            Self::Trickle { on: false, .. } => format!("{name} sends at once from now on"),
            Self::Feed { bytes, .. } => format!("{bytes} bytes from {name} arrive"),
            Self::Reading { on: true, .. } => format!("{name} reads on"),
            Self::Reading { on: false, .. } => format!("{name} stops reading"),
            Self::Read { bytes, .. } => format!("{name} reads {bytes} bytes"),
            Self::Cut { bytes, .. } => {
                format!("{name} loses its connection, after {bytes} more bytes arrived")
            }
            Self::Disconnect {
                with_will, expiry, ..
            } => {
                let will = if *with_will { " with its will" } else { "" };
                let expiry = expiry.map_or(String::new(), |secs| format!(", expiry {secs} s"));
                format!("{name} disconnects{will}{expiry}")
            }
            Self::HoldLogins { on: true } => "logins wait from now on".to_owned(),
            Self::HoldLogins { on: false } => "logins wait no longer".to_owned(),
            Self::Judge { pick } => format!("a waiting login is judged ({pick})"),
            Self::HoldBetween { on: true } => "shards' inboxes wait from now on".to_owned(),
            Self::HoldBetween { on: false } => "shards' inboxes wait no longer".to_owned(),
            Self::Deliver { pick } => format!("the oldest of one inbox arrives ({pick})"),
            Self::HoldTurns { on: true } => "shards' turns wait from now on".to_owned(),
            Self::HoldTurns { on: false } => "shards' turns wait no longer".to_owned(),
            Self::GoOn { shard } => format!("shard {shard} has a turn"),
            Self::Regrant { who, rights } => {
                let patterns = person(who).rights[*rights].patterns;
                format!("{name} is granted {patterns:?} from its next login on")
            }
            Self::HoldJournal { on: true } => "the journal waits from now on".to_owned(),
            Self::HoldJournal { on: false } => "the journal waits no longer".to_owned(),
            Self::Keep { count } => format!("the journal keeps {count} commits more"),
            Self::Full { on: true } => "the journal is full".to_owned(),
            Self::Full { on: false } => "the journal has room".to_owned(),
            Self::Crash { kept } => {
                format!("the broker crashes; of what waited some was kept ({kept})")
            }
            Self::Pass { micros } => format!("{} ms pass", *micros as f64 / 1000.0),
            Self::Settle => "everything settles".to_owned(),
        }
    }
}

impl Hello {
    fn tell(&self, plan: &Plan, who: usize) -> String {
        let mut text = format!("{:?}", self.version);
        if self.clean {
            text += ", clean";
        }
        if self.version == Version::V5 {
            let _ = write!(text, ", expiry {} s", self.expiry);
            for (what, value) in [
                ("receive maximum", self.receive_maximum.map(u32::from)),
                ("maximum packet size", self.max_packet),
                ("alias maximum", self.alias_maximum.map(u32::from)),
            ] {
                if let Some(value) = value {
                    let _ = write!(text, ", {what} {value}");
                }
            }
        }
        if self.keep_alive > 0 {
            let _ = write!(text, ", keep alive {} s", self.keep_alive);
        }
        if self.wrong_password {
            text += ", wrong password";
        }
        if let Some(will) = &self.will {
            let _ = write!(
                text,
                ", will after {} s: {}",
                self.will_delay,
                will.tell(plan, who)
            );
        }
        text
    }
}

impl Post {
    fn tell(&self, plan: &Plan, who: usize) -> String {
        let topic = &plan.person(who).topics[self.topic];
        let mut text = format!("to {topic:?} at QoS {}", self.qos as u8);
        if self.retain {
            text += ", retained";
        }
        if self.empty {
            text += ", empty";
        }
        if self.padding > 0 {
            let _ = write!(text, ", {} bytes more", self.padding);
        }
        if let Some(expiry) = self.expiry {
            let _ = write!(text, ", expires in {expiry} s");
        }
        if self.properties > 0 {
            let _ = write!(text, ", properties {:#b}", self.properties);
        }
        if self.alias {
            text += ", by alias";
        }
        text
    }
}

fn tell_options(options: SubscriptionOptions) -> String {
    let mut text = format!("QoS {}", options.qos as u8);
    for (on, what) in [
        (options.no_local, "no local"),
        (options.retain_as_published, "retain as published"),
        (
            options.retain_handling == RetainHandling::SendIfNew,
            "retained if new",
        ),
        (
            options.retain_handling == RetainHandling::DoNotSend,
            "no retained",
        ),
    ] {
        if on {
            let _ = write!(text, ", {what}");
        }
    }
    text
}
