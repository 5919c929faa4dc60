//! Connections and sessions: how they begin, pass from hand to hand, and end; wills.

use std::rc::Rc;

use cofferdam::time::{Span, Time};
use cofferdam::wire::client::{Connect, Property};
use cofferdam::wire::{ReasonCode, Version};

use super::{Answer, Model, Phase, Promise, Session, Will};

impl Model {
    /// A login was judged: admitted with these rights, or refused.
    pub fn judged(&mut self, line: usize, rights: Option<usize>) {
        if self.lines[line].phase != Phase::Judging {
            return;
        }
        let Some(rights) = rights else {
            return self.refuse(line, ReasonCode::BadUserNameOrPassword, 4);
        };
        self.lines[line].rights = rights;
        self.admit(line);
    }

    fn refuse(&mut self, line: usize, code: ReasonCode, return_code: u8) {
        let code = match self.lines[line].version {
            Version::V5 => code.as_byte(),
            _ => return_code,
        };
        let answer = Answer {
            kind: "CONNACK",
            id: 0,
            codes: vec![code],
            properties: vec![],
            promise: Promise::Nothing,
        };
        self.lines[line].answers.push_back(answer);
        self.turn.records.refused += 1;
        self.close(line);
    }

    fn close(&mut self, line: usize) {
        self.lines[line].phase = Phase::Closing;
        self.lines[line].paused = false;
        self.lines[line].closes = true;
    }

    /// The login is good: the session is found or made, on the shard where it lives.
    pub fn admit(&mut self, line: usize) {
        let who = self.lines[line].who;
        let hello = self.lines[line].hello.take().expect("CONNECT came");
        self.lines[line].shard = self.shard;
        loop {
            let found = self.live().find(|session| session.who == who);
            let Some(session) = found else {
                let team = self.people[who].team;
                let of_team = self
                    .live()
                    .filter(|other| self.people[other.who].team == team);
                if of_team.count() >= self.limits.max_sessions_per_team as usize {
                    return self.refuse(line, ReasonCode::QuotaExceeded, 3);
                }
                let uid = self.make_session(who);
                return self.begin(line, uid, false, &hello);
            };
            let (uid, shard, held_by) = (session.uid, session.shard, session.line);
            if shard != self.shard {
                self.lines[line].phase = Phase::Moving;
                self.lines[line].moves = Some(shard);
                self.lines[line].hello = Some(hello);
                return;
            }
            if let Some(old) = held_by {
                self.turn.records.taken_over += 1;
                self.dismiss(old, ReasonCode::SessionTakenOver);
            } else if hello.clean_start {
                let kept = self
                    .live()
                    .any(|session| session.uid == uid && session.kept);
                self.lines[line].begins_anew |= kept;
                self.end(uid);
            } else {
                return self.begin(line, uid, true, &hello);
            }
        }
    }

    fn make_session(&mut self, who: usize) -> u64 {
        self.uids += 1;
        self.sessions.push(Session {
            uid: self.uids,
            kept: false,
            was_kept: false,
            surplus: (0, 0),
            who,
            shard: self.shard,
            address: None,
            line: None,
            was_on: None,
            expiry: Span::ZERO,
            expires: Time::NEVER,
            will: None,
            will_due: Time::NEVER,
            window: 0,
            rights: 0,
            subscriptions: Vec::new(),
            lost: Vec::new(),
            last_share: 0,
            flights: Vec::new(),
            queue: Vec::new(),
            waits: Vec::new(),
            at_once: Vec::new(),
            late: Vec::new(),
            sent_at_once: Default::default(),
            held: Vec::new(),
            replays: Vec::new(),
            ended: false,
            owed: Default::default(),
        });
        self.uids
    }

    fn begin(&mut self, line: usize, uid: u64, present: bool, hello: &Connect) {
        let version = hello.version;
        let find = |wanted: fn(&Property) -> Option<u32>| match version {
            Version::V5 => hello.properties.iter().find_map(wanted),
            _ => None,
        };
        let wanted = match version {
            Version::V5 => find(|p| match p {
                Property::SessionExpiry(secs) => Some(*secs),
                _ => None,
            })
            .unwrap_or(0),
            _ if hello.clean_start => 0,
            _ => u32::MAX,
        };
        let receive_maximum = find(|p| match p {
            Property::ReceiveMaximum(maximum) => Some(u32::from(*maximum)),
            _ => None,
        });
        let max_packet = find(|p| match p {
            Property::MaximumPacketSize(bytes) => Some(*bytes),
            _ => None,
        });
        let alias_maximum = find(|p| match p {
            Property::TopicAliasMaximum(maximum) => Some(u32::from(*maximum)),
            _ => None,
        });
        let limits = self.limits.clone();
        let max_expiry = limits.max_session_expiry.as_secs();
        let expiry = u64::from(wanted).min(max_expiry);
        let keep_alive = match limits.max_keep_alive_s {
            Some(max) if version == Version::V5 => match hello.keep_alive {
                0 => max,
                asked => asked.min(max),
            },
            _ => hello.keep_alive,
        };

        let mut properties = Vec::new();
        if version == Version::V5 {
            properties.push(Property::MaximumPacketSize(limits.max_packet_size));
            if expiry < u64::from(wanted) {
                properties.push(Property::SessionExpiry(expiry as u32));
            }
            if limits.receive_maximum < u16::MAX {
                properties.push(Property::ReceiveMaximum(limits.receive_maximum));
            }
            if limits.topic_alias_maximum > 0 {
                properties.push(Property::TopicAliasMaximum(limits.topic_alias_maximum));
            }
            if keep_alive != hello.keep_alive {
                properties.push(Property::ServerKeepAlive(keep_alive));
            }
        }
        let mut properties: Vec<String> = properties.iter().map(|p| format!("{p:?}")).collect();
        properties.sort();
        let told = present && version != Version::V31;
        let now = self.now;
        let on = &mut self.lines[line];
        let (kind, id, codes) = ("CONNACK", u16::from(told), vec![0]);
        let is_kept = expiry > 0 && self.journal;
        let was_kept = self.sessions.iter().any(|it| it.uid == uid && it.kept);
        on.answers.push_back(Answer {
            kind,
            id,
            codes,
            properties,
            promise: match is_kept || was_kept || on.begins_anew {
                true => Promise::Turn,
                false => Promise::Nothing,
            },
        });
        on.phase = Phase::Active;
        on.session = Some(uid);
        on.heard = now;
        on.patience = Span::from_millis(u64::from(keep_alive) * 1500);
        on.max_packet = max_packet.map_or(usize::MAX, |bytes| bytes as usize);
        on.alias_maximum = alias_maximum.unwrap_or(0) as u16;

        let rights = self.lines[line].rights;
        self.judge_again(uid, rights);
        let place = self.place(uid).expect("a session");
        let session = &mut self.sessions[place];
        session.line = Some(line);
        let window = receive_maximum.unwrap_or(u32::from(u16::MAX));
        session.window = window.min(u32::from(limits.max_inflight)) as usize;
        session.expiry = Span::from_secs(expiry);
        session.kept = is_kept;
        session.was_kept |= is_kept;
        (session.expires, session.will_due) = (Time::NEVER, Time::NEVER);
        session.will = hello.will.as_ref().map(|will| {
            let properties = match version {
                Version::V5 => will.properties.clone(),
                _ => Vec::new(),
            };
            let delay = properties.iter().find_map(|p| match p {
                Property::WillDelay(secs) => Some(*secs),
                _ => None,
            });
            Will {
                publish: cofferdam::wire::client::Publish {
                    dup: false,
                    qos: will.qos,
                    retain: will.retain,
                    topic: will.topic.clone(),
                    packet_id: None,
                    properties,
                    payload: will.payload.clone(),
                },
                delay: Span::from_secs(u64::from(delay.unwrap_or(0))),
            }
        });
        self.turn.records.connected += 1;
    }

    /// The broker ends a connection: 5.0 is told why, where it is still there.
    pub fn dismiss(&mut self, line: usize, code: ReasonCode) {
        if self.lines[line].version == Version::V5 && !self.lines[line].gone {
            self.answer(line, "DISCONNECT", 0, &[code]);
        }
        self.detach(line);
        self.close(line);
    }

    /// The client said goodbye.
    pub fn disconnected(&mut self, line: usize, reason: ReasonCode, expiry: Option<u32>) {
        let Some(place) = self.lines[line].session.and_then(|uid| self.place(uid)) else {
            return;
        };
        if let Some(secs) = expiry {
            let max = self.limits.max_session_expiry;
            self.sessions[place].expiry = Span::from_secs(u64::from(secs)).min(max);
        }
        if reason == ReasonCode::Success {
            self.sessions[place].will = None;
        }
        self.detach(line);
        self.close(line);
    }

    /// The connection is gone, whatever came before.
    pub fn lost(&mut self, line: usize) {
        if self.lines[line].paused {
            self.lines[line].gone = true;
            return;
        }
        match self.lines[line].phase {
            Phase::Active => self.detach(line),
            Phase::Opening if self.lines[line].read == 0 => {}
            Phase::Opening | Phase::Judging => self.turn.records.refused += 1,
            Phase::Moving | Phase::Closing | Phase::Closed => {}
        }
        self.lines[line].phase = Phase::Closed;
    }

    fn detach(&mut self, line: usize) {
        let Some(place) = self.lines[line].session.and_then(|uid| self.place(uid)) else {
            return;
        };
        self.turn.records.disconnected += 1;
        let small = self.lines[line].max_packet < usize::MAX;
        let session = &mut self.sessions[place];
        if small {
            // Some retained messages may have been passed over as too large for this connection.
            session
                .replays
                .iter_mut()
                .for_each(|replay| replay.due.clear());
        }
        session.was_on = session.line.take();
        session
            .flights
            .iter_mut()
            .for_each(|flight| flight.sent = false);
        session.expires = self.now + session.expiry;
        session.will_due = match &session.will {
            Some(will) => (self.now + will.delay).min(session.expires),
            None => Time::NEVER,
        };
        let uid = session.uid;
        self.hand_on_queue(place);
        self.settle(uid);
    }

    /// What is due for a session without a connection.
    fn settle(&mut self, uid: u64) {
        let Some(place) = self.place(uid) else { return };
        if self.sessions[place].expires <= self.now {
            self.end(uid);
        } else if self.sessions[place].will_due <= self.now {
            self.send_will(place);
        }
    }

    fn end(&mut self, uid: u64) {
        let Some(place) = self.place(uid) else { return };
        let subscriptions = std::mem::take(&mut self.sessions[place].subscriptions);
        self.send_will(place);
        self.sessions[place].ended = true;
        self.hand_on_all(place, &subscriptions);
    }

    fn send_will(&mut self, place: usize) {
        self.sessions[place].will_due = Time::NEVER;
        let Some(will) = self.sessions[place].will.take() else {
            return;
        };
        let (uid, who) = (self.sessions[place].uid, self.sessions[place].who);
        if self.publish(uid, who, &will.publish).is_err() {
            self.turn.records.publishes += 1;
        }
    }

    /// Time has passed on this shard. What is due at the same moment has the order of these lines,
    /// and then of the sessions' places.
    pub fn tick(&mut self, lines: &[usize]) {
        for &line in lines {
            if self.lines[line].shard != self.shard || self.line_due(&self.lines[line]) > self.now {
                continue;
            }
            match self.lines[line].phase {
                Phase::Active => self.dismiss(line, ReasonCode::KeepAliveTimeout),
                _ => {
                    self.turn.records.refused += 1;
                    self.close(line);
                }
            }
        }
        let waiting = self
            .live()
            .filter(|session| session.shard == self.shard && session.line.is_none());
        let mut due: Vec<_> = waiting
            .map(|session| (session.address.map(|address| address.index), session.uid))
            .collect();
        due.sort_unstable();
        for (_, uid) in due {
            self.settle(uid);
        }
    }

    /// Forgets what has expired and the broker has forgotten too.
    pub fn forget_retained(&mut self, is_kept: impl Fn(Option<&'static str>, &str) -> bool) {
        let now = self.now;
        let is_gone = |kept: &mut super::Retained| {
            kept.message.expires <= now && !is_kept(kept.team, &kept.message.topic)
        };
        self.forgotten.extend(self.retained.extract_if(.., is_gone));
    }

    /// The messages retained for a topic.
    pub fn retained_at(&self, topic: &str) -> Option<&Rc<super::Message>> {
        let found = self
            .retained
            .iter()
            .find(|kept| kept.message.topic == topic);
        found.map(|kept| &kept.message)
    }
}
