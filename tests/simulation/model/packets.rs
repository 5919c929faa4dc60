//! What each packet of a client has to lead to.

use cofferdam::wire::client::Publish;
use cofferdam::wire::{QoS, ReasonCode, RetainHandling, SubscriptionOptions, Version};

use super::{IN_THIS_TURN, Model, Phase, Posted, Promise, Said, Subscription};
use crate::cast::matches;
use crate::promises::in_turn;

impl Model {
    /// The broker took bytes of a connection: the packets that are whole now, but for those that
    /// wait in the last so many bytes.
    pub fn consume(&mut self, line: usize, waiting: usize) {
        self.lines[line].paused = false;
        loop {
            let on = &mut self.lines[line];
            if !matches!(on.phase, Phase::Opening | Phase::Active) {
                break;
            }
            let read = on.read - waiting;
            let Some((_, said)) = on.said.pop_front_if(|(end, _)| *end <= read) else {
                break;
            };
            self.packet(line, said);
        }
        self.lines[line].paused = waiting > 0;
    }

    fn packet(&mut self, line: usize, said: Said) {
        if let Said::Connect(hello) = said {
            let on = &mut self.lines[line];
            on.hello = Some(hello);
            on.judging = self.now;
            on.phase = Phase::Judging;
            return;
        }
        let uid = self.lines[line].session.expect("logged in");
        let place = self.place(uid).expect("a session");
        if let Said::PubAck(id) | Said::PubRec(id, _) | Said::PubComp(id) = said {
            let session = &self.sessions[place];
            let late = session.flight(id).map(|at| &session.flights[at]);
            let late = late.filter(|flight| !flight.sent).cloned();
            self.turn.answered.extend(late.map(|flight| (uid, flight)));
        }
        match said {
            Said::Connect(_) => unreachable!("handled above"),
            Said::Publish(publish) => self.published(line, place, publish),
            Said::PubAck(id) => {
                let session = &mut self.sessions[place];
                if let Some(at) = session.flight(id)
                    && session.flights[at].entry.qos == QoS::AtLeastOnce
                {
                    session.flights.remove(at);
                }
            }
            Said::PubRec(id, reason) => {
                let session = &mut self.sessions[place];
                let at = session.flight(id);
                match at {
                    Some(at) if reason.is_error() && !session.flights[at].released => {
                        session.flights.remove(at);
                    }
                    _ if reason.is_error() => {}
                    Some(at) => {
                        if session.kept && !session.flights[at].released {
                            session.flights[at].stated = IN_THIS_TURN;
                        }
                        session.flights[at].released = true;
                        self.lines[line].releases.push((id, ReasonCode::Success));
                    }
                    None => {
                        let code = match self.lines[line].version {
                            Version::V5 => ReasonCode::PacketIdentifierNotFound,
                            _ => ReasonCode::Success, // 3.x has no way to say so
                        };
                        self.lines[line].releases.push((id, code));
                    }
                }
            }
            Said::PubRel(id) => {
                let held = &mut self.sessions[place].held;
                let before = held.len();
                held.retain(|(other, _)| *other != id);
                let code = match held.len() < before {
                    true => ReasonCode::Success,
                    false => ReasonCode::PacketIdentifierNotFound,
                };
                self.answer(line, "PUBCOMP", id, &[code]);
                self.promise_turn(line, place, code == ReasonCode::Success);
            }
            Said::PubComp(id) => {
                let session = &mut self.sessions[place];
                if let Some(at) = session.flight(id)
                    && session.flights[at].released
                {
                    session.flights.remove(at);
                }
            }
            Said::Subscribe(id, filters, subscription) => {
                let subscription = match self.lines[line].version {
                    Version::V5 => subscription.unwrap_or(0),
                    _ => 0,
                };
                let codes: Vec<ReasonCode> = filters
                    .iter()
                    .map(|(filter, options)| {
                        self.subscribed(line, place, filter, *options, subscription)
                    })
                    .collect();
                self.answer(line, "SUBACK", id, &codes);
                self.promise_turn(line, place, codes.iter().any(|code| !code.is_error()));
            }
            Said::Unsubscribe(id, filters) => {
                let codes: Vec<ReasonCode> = filters
                    .iter()
                    .map(|filter| self.unsubscribed(place, filter))
                    .collect();
                self.answer(line, "UNSUBACK", id, &codes);
                self.promise_turn(line, place, codes.contains(&ReasonCode::Success));
            }
            Said::Ping => self.answer(line, "PINGRESP", 0, &[]),
            Said::Disconnect(reason, expiry) => self.disconnected(line, reason, expiry),
        }
    }

    fn published(&mut self, line: usize, place: usize, mut publish: Publish) {
        self.resolve_alias(line, &mut publish);
        let id = publish.packet_id.unwrap_or(0);
        let told = self.told(line, id);
        let mut held = self.sessions[place].held.iter();
        if publish.qos == QoS::ExactlyOnce
            && let Some((_, receipt)) = held.find(|(held, _)| *held == id).copied()
        {
            self.answer(line, "PUBREC", id, &[ReasonCode::Success]);
            return self.promise(line, Some(Promise::Place(receipt)));
        }
        let (uid, who) = (self.sessions[place].uid, self.sessions[place].who);
        let answers = match self.is_out_of_space(place, &publish, told) {
            // Told nothing that it could take for a yes, it sends it again when it comes back.
            true if self.lines[line].version != Version::V5 => {
                self.turn.records.publishes += 1;
                self.lines[line].unsaid.push(id);
                return;
            }
            true => Err(ReasonCode::QuotaExceeded),
            false => self.publish(uid, who, &publish),
        };
        let accepted = answers.is_ok();
        let codes = match answers {
            Err(refused) => {
                self.turn.records.publishes += 1;
                vec![refused]
            }
            // Where nobody has room for it, it is refused; whether that is so is compared later.
            Ok(codes) if publish.qos > QoS::AtMostOnce && !publish.retain => {
                let refused = match (self.lines[line].version, told) {
                    (Version::V5, Some(told)) => Some(told == ReasonCode::QuotaExceeded),
                    _ => None,
                };
                let serial = self.serials;
                self.turn.posted.push(Posted { serial, refused });
                match refused {
                    Some(true) => {
                        self.turn.records.publishes += 1;
                        vec![ReasonCode::QuotaExceeded]
                    }
                    _ => codes,
                }
            }
            Ok(codes) => codes,
        };
        let refused = codes[0].is_error() && self.lines[line].version == Version::V5;
        match publish.qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => self.answer(line, "PUBACK", id, &codes),
            QoS::ExactlyOnce => {
                if !refused {
                    let session = &mut self.sessions[place];
                    session.held.push((id, in_turn(session.kept)));
                }
                self.answer(line, "PUBREC", id, &codes);
            }
        }
        let is_receipt = publish.qos == QoS::ExactlyOnce && self.sessions[place].kept && !refused;
        let promise = match accepted && !refused {
            _ if publish.qos == QoS::AtMostOnce || !self.journal => None,
            _ if is_receipt => Some(Promise::Turn),
            true if publish.retain => Some(Promise::Turn),
            true => Some(Promise::Message(self.serials)),
            false => None,
        };
        self.promise(line, promise);
        if let (true, true, Some(message)) = (accepted, is_receipt, self.turn.accepted.last()) {
            message.receipt.set(IN_THIS_TURN);
        }
    }

    /// Whether what is accepted would have to be kept, and the journal is full.
    fn is_out_of_space(&self, place: usize, publish: &Publish, told: Option<ReasonCode>) -> bool {
        let session = &self.sessions[place];
        let person = &self.people[session.who];
        if !self.is_full || !person.may_publish(session.rights, &publish.topic) {
            return false;
        }
        let topic = format!("{}{}", person.mount, publish.topic);
        let is_wanted_by = |other: &super::Session| {
            let mut wants = other.subscriptions.iter();
            wants.any(|it| it.options.qos > QoS::AtMostOnce && matches(&it.filter, &topic))
        };
        let qos = publish.qos;
        let is_receipt = qos == QoS::ExactlyOnce && session.kept;
        let mut live = self.live().filter(|_| qos > QoS::AtMostOnce);
        if publish.retain || is_receipt || live.any(|it| it.kept && is_wanted_by(it)) {
            return true;
        }
        // Whose session was kept and is no more may still be taken for one that is.
        let mut live = self.live().filter(|_| qos > QoS::AtMostOnce);
        live.any(|it| it.was_kept && is_wanted_by(it))
            && match told {
                Some(told) => told == ReasonCode::QuotaExceeded,
                None => self.is_kept_anyhow(session.who, &topic),
            }
    }

    /// A kept session's answer promises what was stated in this turn, if so.
    fn promise_turn(&mut self, line: usize, place: usize, does: bool) {
        let promise = (does && self.sessions[place].kept).then_some(Promise::Turn);
        self.promise(line, promise);
    }

    /// What the client was told of a message that it published, where that could be seen.
    fn told(&mut self, line: usize, id: u16) -> Option<ReasonCode> {
        let acks = &mut self.lines[line].acks;
        let at = acks.iter().position(|(of, _)| *of == id)?;
        acks.remove(at).map(|(_, code)| code)
    }

    fn resolve_alias(&mut self, line: usize, publish: &mut Publish) {
        use cofferdam::wire::client::Property;
        let alias = publish.properties.iter().find_map(|p| match p {
            Property::TopicAlias(alias) => Some(*alias),
            _ => None,
        });
        let Some(alias) = alias else { return };
        let aliases = &mut self.lines[line].aliases;
        if publish.topic.is_empty() {
            publish.topic.clone_from(&aliases[&alias]);
        } else {
            aliases.insert(alias, publish.topic.clone());
        }
    }

    fn subscribed(
        &mut self,
        line: usize,
        place: usize,
        written: &str,
        options: SubscriptionOptions,
        id: u32,
    ) -> ReasonCode {
        let session = &self.sessions[place];
        let person = &self.people[session.who];
        if written.contains("#/") {
            self.turn.records.subscribes += 1;
            return ReasonCode::TopicFilterInvalid;
        }
        if !person.may_subscribe(session.rights, written) {
            self.turn.records.subscribes += 1;
            return ReasonCode::NotAuthorized;
        }
        let options = match self.lines[line].version {
            Version::V5 => options,
            _ => SubscriptionOptions {
                qos: options.qos,
                no_local: false,
                retain_as_published: false,
                retain_handling: RetainHandling::Send,
            },
        };
        let (group, bare) = split(written);
        let mut subscription = Subscription {
            filter: format!("{}{bare}", person.mount),
            group: group.map(str::to_owned),
            options,
            id,
            share: 0,
            hides: bare.starts_with(['+', '#']),
        };
        let session = &mut self.sessions[place];
        let same = |other: &Subscription| {
            other.filter == subscription.filter && other.group == subscription.group
        };
        let old = session.subscriptions.iter().position(same);
        match old {
            Some(at) => {
                subscription.share = session.subscriptions[at].share;
                session.subscriptions[at] = subscription.clone();
            }
            None if session.subscriptions.len() >= self.limits.max_subscriptions as usize => {
                self.turn.records.subscribes += 1;
                return ReasonCode::QuotaExceeded;
            }
            None => {
                if group.is_some() {
                    session.last_share += 1;
                    subscription.share = session.last_share;
                }
                session.subscriptions.push(subscription.clone());
            }
        }
        let wanted = match options.retain_handling {
            RetainHandling::Send => true,
            RetainHandling::SendIfNew => old.is_none(),
            RetainHandling::DoNotSend => false,
        };
        if wanted && group.is_none() {
            self.begin_replay(place, &subscription);
        } else {
            self.change_replay(place, &subscription);
        }
        [
            ReasonCode::Success,
            ReasonCode::GrantedQoS1,
            ReasonCode::GrantedQoS2,
        ][options.qos as usize]
    }

    fn unsubscribed(&mut self, place: usize, written: &str) -> ReasonCode {
        if written.contains("#/") {
            return ReasonCode::TopicFilterInvalid;
        }
        let mount = &self.people[self.sessions[place].who].mount;
        let (group, bare) = split(written);
        let filter = format!("{mount}{bare}");
        let subscriptions = &mut self.sessions[place].subscriptions;
        let same = |other: &Subscription| other.filter == filter && other.group.as_deref() == group;
        let Some(at) = subscriptions.iter().position(same) else {
            return ReasonCode::NoSubscriptionExisted;
        };
        let old = subscriptions.remove(at);
        self.end_replay(place, &old);
        ReasonCode::Success
    }
}

/// The share group, and the filter behind it.
fn split(written: &str) -> (Option<&str>, &str) {
    match written
        .strip_prefix("$share/")
        .and_then(|rest| rest.split_once('/'))
    {
        Some((group, filter)) => (Some(group), filter),
        None => (None, written),
    }
}
