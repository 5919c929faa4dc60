//! The bodies of records: facts, and what only the journal says, as bytes and back.
//!
//! Whole numbers are LEB128 (seven bits a byte, low ones first), texts and bytes have their length
//! before them, and a message ends the body that it stands in. A new kind, or a new shape of one, is a
//! new version of the format; see [`segment`](super::segment).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::bytes::{Malformed, Reader, put_bytes, put_number, put_text};
use crate::fact::{
    Delivery, Fact, Kept, KeptSession, Left, Order, Standing, Target, Terms, Wanted,
};
use crate::policy::{KnownBy, Pattern, PatternAction, Principal, TeamId};
use crate::team::{Message, MessageNumber, MessageView, SessionAddress, SessionNumber, Will};
use crate::time::{Span, Time};
use crate::wire::{PacketId, QoS, RetainHandling, SubscriptionOptions};

/// What a record is.
pub(super) mod kind {
    pub const SESSION: u8 = 1;
    pub const LEFT: u8 = 2;
    pub const ENDED: u8 = 3;
    pub const SUBSCRIBED: u8 = 4;
    pub const UNSUBSCRIBED: u8 = 5;
    pub const WILL: u8 = 6;
    /// A message; also one that was carried forward.
    pub const KEPT: u8 = 7;
    /// More targets of a message that stands before.
    pub const KNOWN: u8 = 8;
    pub const SENT: u8 = 9;
    pub const RELEASED: u8 = 10;
    pub const DONE: u8 = 11;
    pub const COMPLETED: u8 = 12;
    pub const RECEIVED: u8 = 13;
    pub const FREED: u8 = 14;
    pub const CLEARED: u8 = 15;
    /// A session with all it has but messages, carried forward.
    pub const CARRIED: u8 = 16;
    /// How far the segment was on disk.
    pub const MARK: u8 = 17;
    pub const REPLAYING: u8 = 18;
    pub const REPLAYED: u8 = 19;
    /// As [`CARRIED`], of one that retained messages are on their way to.
    pub const CARRIED_REPLAYING: u8 = 20;
}

/// What a record says.
#[derive(Debug)]
pub(super) enum Entry {
    /// A fact other than [`Fact::Kept`].
    Fact(Fact<Message>),
    /// A message at its place among all others, with the identifiers that its targets were sent under.
    Kept(Order, Kept<Message>, Vec<Option<PacketId>>),
    /// More of a message that stands before.
    Known(Known),
    /// A session that was carried forward.
    Carried(SessionNumber, Box<KeptSession>),
    /// Everything before is on disk but for so many bytes that stand right before this record.
    Mark(u64),
}

/// More of a message that stands before.
#[derive(Debug)]
pub(super) struct Known {
    pub number: MessageNumber,
    pub targets: Vec<Target>,
    pub retained: Option<(Arc<str>, u64)>,
    pub receipt: Option<(SessionNumber, PacketId)>,
}

/// A message's record but for the message itself.
pub(super) struct Envelope<'a> {
    pub order: Order,
    pub number: MessageNumber,
    pub targets: &'a [Target],
    /// In the order of the targets; may be shorter.
    pub sent: &'a [Option<PacketId>],
    pub retained: Option<&'a (Arc<str>, u64)>,
    pub receipt: Option<(SessionNumber, PacketId)>,
}

/// Appends a fact's body, but for [`Fact::Kept`], which needs to be told what is known; its kind.
pub(super) fn put_fact<M>(out: &mut Vec<u8>, fact: &Fact<M>) -> Option<u8> {
    Some(match fact {
        Fact::Session(number, terms) => {
            put_session_number(out, *number);
            put_terms(out, terms);
            kind::SESSION
        }
        Fact::Left {
            session,
            expires,
            will_due,
        } => {
            put_session_number(out, *session);
            put_time(out, *expires);
            put_time(out, *will_due);
            kind::LEFT
        }
        Fact::Ended(number) => {
            put_session_number(out, *number);
            kind::ENDED
        }
        Fact::Subscribed(number, key, wanted) => {
            put_session_number(out, *number);
            put_text(out, key);
            put_wanted(out, *wanted);
            kind::SUBSCRIBED
        }
        Fact::Unsubscribed(number, key) => {
            put_session_number(out, *number);
            put_text(out, key);
            kind::UNSUBSCRIBED
        }
        Fact::Replaying(number, key, standing) => {
            put_session_number(out, *number);
            put_text(out, key);
            put_standing(out, standing);
            kind::REPLAYING
        }
        Fact::Replayed(number, key) => {
            put_session_number(out, *number);
            put_text(out, key);
            kind::REPLAYED
        }
        Fact::Will(number, will) => {
            put_session_number(out, *number);
            put_will(out, will.as_deref());
            kind::WILL
        }
        Fact::Kept(_) => return None,
        Fact::Sent(delivery, id) => {
            put_delivery(out, *delivery);
            put_number(out, u64::from(id.get()));
            kind::SENT
        }
        Fact::Released(delivery, id) => {
            put_delivery(out, *delivery);
            put_number(out, u64::from(id.get()));
            kind::RELEASED
        }
        Fact::Done(delivery) => {
            put_delivery(out, *delivery);
            kind::DONE
        }
        Fact::Completed(session, id) => put_id(out, *session, *id, kind::COMPLETED),
        Fact::Received(session, id) => put_id(out, *session, *id, kind::RECEIVED),
        Fact::Freed(session, id) => put_id(out, *session, *id, kind::FREED),
        Fact::Cleared(topic, version) => {
            put_text(out, topic);
            put_number(out, *version);
            kind::CLEARED
        }
    })
}

/// Appends what stands before the message in its record.
pub(super) fn put_envelope(out: &mut Vec<u8>, envelope: &Envelope<'_>) {
    put_number(out, envelope.order.0);
    put_number(out, envelope.number.0);
    put_more(
        out,
        envelope.targets,
        envelope.sent,
        envelope.retained,
        envelope.receipt,
    );
}

/// Appends the body of [`kind::KNOWN`].
pub(super) fn put_known(out: &mut Vec<u8>, known: &Known) {
    put_number(out, known.number.0);
    let retained = known.retained.as_ref();
    put_more(out, &known.targets, &[], retained, known.receipt);
}

/// Appends a message, to the end of a body.
pub(super) fn put_message(out: &mut Vec<u8>, message: &MessageView<'_>) {
    let bits = message.qos as u8
        | u8::from(message.retain) << 2
        | u8::from(message.response_topic.is_some()) << 3;
    out.push(bits);
    put_time(out, message.expires);
    put_text(out, message.topic);
    put_bytes(out, message.passed_on);
    if let Some(topic) = message.response_topic {
        put_text(out, topic);
    }
    out.extend_from_slice(message.payload);
}

/// What a session is carried as.
pub(super) fn kind_of(session: &KeptSession) -> u8 {
    match session.replays.is_empty() {
        true => kind::CARRIED,
        false => kind::CARRIED_REPLAYING,
    }
}

/// Appends the body of [`kind_of`] this session.
pub(super) fn put_carried(out: &mut Vec<u8>, number: SessionNumber, session: &KeptSession) {
    put_session_number(out, number);
    let bits = u8::from(session.terms.is_some()) | u8::from(session.left.is_some()) << 1;
    out.push(bits);
    if let Some(terms) = &session.terms {
        put_terms(out, terms);
    }
    if let Some(left) = session.left {
        put_time(out, left.expires);
        put_time(out, left.will_due);
    }
    put_number(out, u64::from(session.last_id));
    put_ids(out, &session.released);
    put_ids(out, &session.received);
    put_number(out, session.subscriptions.len() as u64);
    for (key, wanted) in &session.subscriptions {
        put_text(out, key);
        put_wanted(out, *wanted);
    }
    if !session.replays.is_empty() {
        put_number(out, session.replays.len() as u64);
        for (key, standing) in &session.replays {
            put_text(out, key);
            put_standing(out, standing);
        }
    }
    put_will(out, session.will.as_deref());
}

/// What stands before the message in a body of [`kind::KEPT`] is passed over: the rest.
pub(super) fn message_of(body: &[u8]) -> Result<&[u8], Malformed> {
    let mut from = Reader::new(body);
    from.number()?;
    from.number()?;
    more(&mut from)?;
    Ok(from.rest())
}

/// The number of the message in a body of [`kind::KEPT`].
pub(super) fn number_of(body: &[u8]) -> Result<MessageNumber, Malformed> {
    let mut from = Reader::new(body);
    from.number()?;
    from.number().map(MessageNumber)
}

/// What a record says.
pub(super) fn read(kind: u8, body: &[u8]) -> Result<Entry, Malformed> {
    let mut from = Reader::new(body);
    let from = &mut from;
    let entry = match kind {
        kind::SESSION => {
            let number = session_number(from)?;
            Entry::Fact(Fact::Session(number, Box::new(terms(from)?)))
        }
        kind::LEFT => Entry::Fact(Fact::Left {
            session: session_number(from)?,
            expires: time(from)?,
            will_due: time(from)?,
        }),
        kind::ENDED => Entry::Fact(Fact::Ended(session_number(from)?)),
        kind::SUBSCRIBED => {
            let number = session_number(from)?;
            let key = from.text()?.into();
            Entry::Fact(Fact::Subscribed(number, key, wanted(from)?))
        }
        kind::UNSUBSCRIBED => {
            let number = session_number(from)?;
            Entry::Fact(Fact::Unsubscribed(number, from.text()?.into()))
        }
        kind::REPLAYING => {
            let number = session_number(from)?;
            let key = from.text()?.into();
            Entry::Fact(Fact::Replaying(number, key, standing(from)?))
        }
        kind::REPLAYED => {
            let number = session_number(from)?;
            Entry::Fact(Fact::Replayed(number, from.text()?.into()))
        }
        kind::WILL => {
            let number = session_number(from)?;
            return Ok(Entry::Fact(Fact::Will(number, will(from)?)));
        }
        kind::KEPT => return kept(from),
        kind::KNOWN => {
            let number = MessageNumber(from.number()?);
            let (targets, _, retained, receipt) = more(from)?;
            Entry::Known(Known {
                number,
                targets,
                retained,
                receipt,
            })
        }
        kind::SENT => Entry::Fact(Fact::Sent(delivery(from)?, id(from)?)),
        kind::RELEASED => Entry::Fact(Fact::Released(delivery(from)?, id(from)?)),
        kind::DONE => Entry::Fact(Fact::Done(delivery(from)?)),
        kind::COMPLETED => Entry::Fact(Fact::Completed(session_number(from)?, id(from)?)),
        kind::RECEIVED => Entry::Fact(Fact::Received(session_number(from)?, id(from)?)),
        kind::FREED => Entry::Fact(Fact::Freed(session_number(from)?, id(from)?)),
        kind::CLEARED => Entry::Fact(Fact::Cleared(from.text()?.into(), from.number()?)),
        kind::CARRIED | kind::CARRIED_REPLAYING => {
            return carried(from, kind == kind::CARRIED_REPLAYING);
        }
        kind::MARK => Entry::Mark(from.number()?),
        _ => return Err(Malformed),
    };
    match from.rest() {
        [] => Ok(entry),
        _ => Err(Malformed),
    }
}

fn kept(from: &mut Reader<'_>) -> Result<Entry, Malformed> {
    let order = Order(from.number()?);
    let number = MessageNumber(from.number()?);
    let (targets, sent, retained, receipt) = more(from)?;
    let kept = Kept {
        number,
        message: message(from)?.keep(number),
        targets,
        retained,
        receipt,
    };
    Ok(Entry::Kept(order, kept, sent))
}

fn carried(from: &mut Reader<'_>, replays: bool) -> Result<Entry, Malformed> {
    let number = session_number(from)?;
    let bits = from.byte()?;
    let terms = match bits & 1 {
        0 => None,
        _ => Some(Box::new(terms(from)?)),
    };
    let left = match bits & 2 {
        0 => None,
        _ => Some(Left {
            expires: time(from)?,
            will_due: time(from)?,
        }),
    };
    let last_id = from.small()?;
    let released = ids(from)?;
    let received = ids(from)?;
    let subscriptions = (0..from.number()?)
        .map(|_| Ok((from.text()?.into(), wanted(from)?)))
        .collect::<Result<_, Malformed>>()?;
    let count = if replays { from.number()? } else { 0 };
    let replays = (0..count)
        .map(|_| Ok((from.text()?.into(), standing(from)?)))
        .collect::<Result<_, Malformed>>()?;
    let session = KeptSession {
        terms,
        left,
        will: will(from)?,
        subscriptions,
        replays,
        released,
        last_id,
        received,
        ..KeptSession::default()
    };
    Ok(Entry::Carried(number, Box::new(session)))
}

fn put_standing(out: &mut Vec<u8>, standing: &Standing) {
    put_text(out, &standing.root);
    out.push(u8::from(standing.after.is_some()));
    put_text(out, standing.after.as_deref().unwrap_or_default());
}

fn standing(from: &mut Reader<'_>) -> Result<Standing, Malformed> {
    let root = from.text()?.into();
    let is_some = from.byte()? != 0;
    let after = Some(from.text()?.into()).filter(|_| is_some);
    Ok(Standing { root, after })
}

fn put_session_number(out: &mut Vec<u8>, number: SessionNumber) {
    put_number(out, number.0.get());
}

fn session_number(from: &mut Reader<'_>) -> Result<SessionNumber, Malformed> {
    let number = from.number()?.try_into().map_err(|_| Malformed)?;
    Ok(SessionNumber(number))
}

fn put_time(out: &mut Vec<u8>, time: Time) {
    // NEVER is the most common and the largest; plus one it is the smallest.
    put_number(out, time.as_micros().wrapping_add(1));
}

fn time(from: &mut Reader<'_>) -> Result<Time, Malformed> {
    Ok(Time::from_micros(from.number()?.wrapping_sub(1)))
}

fn put_id(out: &mut Vec<u8>, session: SessionNumber, id: PacketId, kind: u8) -> u8 {
    put_session_number(out, session);
    put_number(out, u64::from(id.get()));
    kind
}

fn id(from: &mut Reader<'_>) -> Result<PacketId, Malformed> {
    PacketId::new(from.small()?).ok_or(Malformed)
}

fn put_ids(out: &mut Vec<u8>, ids: &std::collections::BTreeSet<PacketId>) {
    put_number(out, ids.len() as u64);
    for id in ids {
        put_number(out, u64::from(id.get()));
    }
}

fn ids(from: &mut Reader<'_>) -> Result<std::collections::BTreeSet<PacketId>, Malformed> {
    (0..from.number()?).map(|_| id(from)).collect()
}

fn put_delivery(out: &mut Vec<u8>, delivery: Delivery) {
    put_session_number(out, delivery.session);
    put_number(out, delivery.message.0);
    put_number(out, u64::from(delivery.copy));
}

fn delivery(from: &mut Reader<'_>) -> Result<Delivery, Malformed> {
    Ok(Delivery {
        session: session_number(from)?,
        message: MessageNumber(from.number()?),
        copy: from.small()?,
    })
}

/// Targets with what was sent, the topic whose retained message it is, and the receipt.
type More = (
    Vec<Target>,
    Vec<Option<PacketId>>,
    Option<(Arc<str>, u64)>,
    Option<(SessionNumber, PacketId)>,
);

fn put_more(
    out: &mut Vec<u8>,
    targets: &[Target],
    sent: &[Option<PacketId>],
    retained: Option<&(Arc<str>, u64)>,
    receipt: Option<(SessionNumber, PacketId)>,
) {
    out.push(u8::from(retained.is_some()) | u8::from(receipt.is_some()) << 1);
    put_number(out, targets.len() as u64);
    for (place, target) in targets.iter().enumerate() {
        put_target(out, target, sent.get(place).copied().flatten());
    }
    if let Some((topic, version)) = retained {
        put_text(out, topic);
        put_number(out, *version);
    }
    if let Some((session, id)) = receipt {
        put_session_number(out, session);
        put_number(out, u64::from(id.get()));
    }
}

fn more(from: &mut Reader<'_>) -> Result<More, Malformed> {
    let bits = from.byte()?;
    let count = from.number()?;
    let (mut targets, mut sent) = (Vec::new(), Vec::new());
    for place in 0..count {
        let (target, id) = target(from)?;
        targets.push(target);
        if id.is_some() {
            sent.resize(place as usize, None);
            sent.push(id);
        }
    }
    let retained = match bits & 1 {
        0 => None,
        _ => Some((from.text()?.into(), from.number()?)),
    };
    let receipt = match bits & 2 {
        0 => None,
        _ => Some((session_number(from)?, id(from)?)),
    };
    Ok((targets, sent, retained, receipt))
}

fn put_target(out: &mut Vec<u8>, target: &Target, sent: Option<PacketId>) {
    let bits = target.qos as u8
        | u8::from(target.retain) << 2
        | u8::from(target.copy != 0) << 3
        | u8::from(target.subscription_id != 0) << 4
        | u8::from(target.share != 0) << 5
        | u8::from(sent.is_some()) << 6;
    out.push(bits);
    put_session_number(out, target.session);
    let rest = [
        target.copy,
        target.subscription_id,
        target.share,
        sent.map_or(0, |id| u32::from(id.get())),
    ];
    for number in rest.into_iter().filter(|number| *number != 0) {
        put_number(out, u64::from(number));
    }
}

fn target(from: &mut Reader<'_>) -> Result<(Target, Option<PacketId>), Malformed> {
    let bits = from.byte()?;
    let session = session_number(from)?;
    let mut number = |bit: u8| match bits & 1 << bit {
        0 => Ok(0_u32),
        _ => from.small(),
    };
    let target = Target {
        session,
        copy: number(3)?,
        qos: QoS::from_bits(bits & 3).ok_or(Malformed)?,
        retain: bits & 4 != 0,
        subscription_id: number(4)?,
        share: number(5)?,
    };
    let sent = number(6)?.try_into().map_err(|_| Malformed)?;
    Ok((target, PacketId::new(sent)))
}

fn put_wanted(out: &mut Vec<u8>, wanted: Wanted) {
    let options = wanted.options;
    let bits = options.qos as u8
        | u8::from(options.no_local) << 2
        | u8::from(options.retain_as_published) << 3
        | (options.retain_handling as u8) << 4;
    out.push(bits);
    put_number(out, u64::from(wanted.id));
    put_number(out, u64::from(wanted.share));
}

fn wanted(from: &mut Reader<'_>) -> Result<Wanted, Malformed> {
    let bits = from.byte()?;
    let options = SubscriptionOptions {
        qos: QoS::from_bits(bits & 3).ok_or(Malformed)?,
        no_local: bits & 4 != 0,
        retain_as_published: bits & 8 != 0,
        retain_handling: match bits >> 4 {
            0 => RetainHandling::Send,
            1 => RetainHandling::SendIfNew,
            2 => RetainHandling::DoNotSend,
            _ => return Err(Malformed),
        },
    };
    Ok(Wanted {
        options,
        id: from.small()?,
        share: from.small()?,
    })
}

fn put_will(out: &mut Vec<u8>, will: Option<&Will>) {
    let Some(will) = will else {
        return out.push(0);
    };
    out.push(1 | u8::from(will.expiry.is_some()) << 1);
    put_number(out, will.delay.as_micros());
    if let Some(expiry) = will.expiry {
        put_number(out, expiry.as_micros());
    }
    put_number(out, will.message.number.0);
    put_message(out, &will.message.view());
}

fn will(from: &mut Reader<'_>) -> Result<Option<Box<Will>>, Malformed> {
    let bits = from.byte()?;
    if bits == 0 {
        return Ok(None);
    }
    let delay = Span::from_micros(from.number()?);
    let expiry = match bits & 2 {
        0 => None,
        _ => Some(Span::from_micros(from.number()?)),
    };
    let number = MessageNumber(from.number()?);
    let message = Arc::new(message(from)?.keep(number));
    Ok(Some(Box::new(Will {
        message,
        expiry,
        delay,
    })))
}

/// All that is left is one. Who published it is not known any more: that was a connection of before.
fn message<'a>(from: &mut Reader<'a>) -> Result<MessageView<'a>, Malformed> {
    let bits = from.byte()?;
    let expires = time(from)?;
    let topic = from.text()?;
    let passed_on = from.bytes()?;
    let response_topic = match bits & 8 {
        0 => None,
        _ => Some(from.text()?),
    };
    // Lengths of texts are kept in 16 bits.
    if topic.len().max(response_topic.map_or(0, str::len)) > usize::from(u16::MAX) {
        return Err(Malformed);
    }
    Ok(MessageView {
        topic,
        passed_on,
        response_topic,
        payload: from.take_rest(),
        qos: QoS::from_bits(bits & 3).ok_or(Malformed)?,
        retain: bits & 4 != 0,
        expires,
        publisher: SessionAddress::NOBODY,
    })
}

fn put_terms(out: &mut Vec<u8>, terms: &Terms) {
    put_text(out, &terms.client_id);
    put_number(out, terms.expiry.as_micros());
    put_text(out, &terms.listener);
    match terms.address.ip() {
        IpAddr::V4(address) => put_bytes(out, &address.octets()),
        IpAddr::V6(address) => put_bytes(out, &address.octets()),
    }
    // Above the port's bits there was nothing in version 1.
    let known = match terms.known_by {
        KnownBy::Record => 0,
        KnownBy::Proof => 1,
        KnownBy::Name => 2,
    };
    put_number(out, u64::from(terms.address.port()) | known << 16);
    let principal = &terms.principal;
    put_text(out, &principal.username);
    put_text(out, &principal.role);
    // No team's id is empty.
    put_text(out, principal.team.as_ref().map_or("", TeamId::as_str));
    put_number(out, principal.bindings.len() as u64);
    for (name, value) in &principal.bindings {
        put_text(out, name);
        put_text(out, value);
    }
    put_number(out, principal.patterns.len() as u64);
    for pattern in &principal.patterns {
        out.push(pattern.action as u8 | u8::from(pattern.allow) << 2);
        put_text(out, &pattern.filter);
    }
}

fn terms(from: &mut Reader<'_>) -> Result<Terms, Malformed> {
    let client_id = from.text()?.into();
    let expiry = Span::from_micros(from.number()?);
    let listener = from.text()?.into();
    let ip = ip(from)?;
    let port = from.number()?;
    Ok(Terms {
        client_id,
        expiry,
        listener,
        address: SocketAddr::new(ip, port as u16),
        known_by: match port >> 16 {
            0 => KnownBy::Record,
            1 => KnownBy::Proof,
            2 => KnownBy::Name,
            _ => return Err(Malformed),
        },
        principal: principal(from)?,
    })
}

fn ip(from: &mut Reader<'_>) -> Result<IpAddr, Malformed> {
    let octets = from.bytes()?;
    match (<[u8; 4]>::try_from(octets), <[u8; 16]>::try_from(octets)) {
        (Ok(v4), _) => Ok(IpAddr::from(v4)),
        (_, Ok(v6)) => Ok(IpAddr::from(v6)),
        _ => Err(Malformed),
    }
}

fn principal(from: &mut Reader<'_>) -> Result<Principal, Malformed> {
    let username = from.text()?.into();
    let role = from.text()?.into();
    let team = match from.text()? {
        "" => None,
        team => Some(TeamId::new(team).ok_or(Malformed)?),
    };
    let bindings = (0..from.number()?)
        .map(|_| Ok((from.text()?.into(), from.text()?.into())))
        .collect::<Result<_, Malformed>>()?;
    let patterns = (0..from.number()?)
        .map(|_| pattern(from))
        .collect::<Result<_, Malformed>>()?;
    Ok(Principal {
        username,
        role,
        team,
        bindings,
        patterns,
    })
}

fn pattern(from: &mut Reader<'_>) -> Result<Pattern, Malformed> {
    let bits = from.byte()?;
    Ok(Pattern {
        action: match bits & 3 {
            0 => PatternAction::Publish,
            1 => PatternAction::Subscribe,
            2 => PatternAction::Both,
            _ => return Err(Malformed),
        },
        allow: bits & 4 != 0,
        filter: from.text()?.into(),
    })
}
