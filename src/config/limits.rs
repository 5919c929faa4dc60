//! `[limits]`: one table of the keys, for reading and for showing.

use std::ops::RangeInclusive;

use super::section::Section;
use crate::limits::Limits;
use crate::time::Span;
use crate::wire::QoS;

/// The largest packet that MQTT can frame: four bytes of remaining length and the fixed header.
const LARGEST_PACKET: u64 = 268_435_455 + 5;
/// Matching a topic goes one call deeper for each of its levels.
const LEVELS_MOST: u64 = 256;
const DAY_MS: u64 = 24 * 3600 * 1000;

/// A field of [`Limits`], by the kind of value it takes.
pub(super) enum Slot<'a> {
    Size32(&'a mut u32),
    Size64(&'a mut u64),
    Count16(&'a mut u16),
    Count32(&'a mut u32),
    Span(&'a mut Span),
    QoS(&'a mut QoS),
    Flag(&'a mut bool),
    /// A duration of whole seconds; left out: no limit.
    Seconds(&'a mut Option<u16>),
}

/// A key, its field and what it may be: bytes, counts, or milliseconds.
type Row<'a> = (&'static str, Slot<'a>, RangeInclusive<u64>);

/// Every key of `[limits]`, in the order in which they are shown.
pub(super) fn rows(limits: &mut Limits) -> Vec<Row<'_>> {
    // Taken apart by name, so that a field without a key does not compile.
    let Limits {
        max_packet_size,
        max_unauthenticated_bytes,
        connect_timeout,
        login_timeout,
        max_topic_length,
        max_topic_levels,
        max_client_id_length,
        receive_maximum,
        max_inflight,
        max_queued_messages,
        max_queued_bytes,
        max_outbox_bytes,
        max_subscriptions,
        topic_alias_maximum,
        max_qos,
        retain_available,
        check_payload_format,
        max_session_expiry,
        max_keep_alive_s,
        max_retained_messages,
        max_retained_bytes,
        max_sessions_per_team,
        max_connections,
    } = limits;
    let count16 = 1..=u64::from(u16::MAX);
    let count32 = 1..=u64::from(u32::MAX);
    let bytes32 = 1024..=u64::from(u32::MAX);
    let bytes64 = 1024..=1 << 50;
    let wait = 100..=600_000;
    vec![
        (
            "max_packet_size",
            Slot::Size32(max_packet_size),
            256..=LARGEST_PACKET,
        ),
        (
            "max_unauthenticated_bytes",
            Slot::Size32(max_unauthenticated_bytes),
            1024..=LARGEST_PACKET,
        ),
        ("connect_timeout", Slot::Span(connect_timeout), wait.clone()),
        ("login_timeout", Slot::Span(login_timeout), wait),
        (
            "max_topic_length",
            Slot::Count16(max_topic_length),
            64..=65_535,
        ),
        (
            "max_topic_levels",
            Slot::Count16(max_topic_levels),
            8..=LEVELS_MOST,
        ),
        (
            "max_client_id_length",
            Slot::Count16(max_client_id_length),
            23..=65_535,
        ),
        (
            "receive_maximum",
            Slot::Count16(receive_maximum),
            count16.clone(),
        ),
        ("max_inflight", Slot::Count16(max_inflight), count16),
        (
            "max_queued_messages",
            Slot::Count32(max_queued_messages),
            count32.clone(),
        ),
        (
            "max_queued_bytes",
            Slot::Size64(max_queued_bytes),
            bytes64.clone(),
        ),
        ("max_outbox_bytes", Slot::Size32(max_outbox_bytes), bytes32),
        (
            "max_subscriptions",
            Slot::Count32(max_subscriptions),
            count32.clone(),
        ),
        (
            "topic_alias_maximum",
            Slot::Count16(topic_alias_maximum),
            0..=65_535,
        ),
        ("max_qos", Slot::QoS(max_qos), 0..=2),
        ("retain_available", Slot::Flag(retain_available), 0..=1),
        (
            "check_payload_format",
            Slot::Flag(check_payload_format),
            0..=1,
        ),
        (
            "max_session_expiry",
            Slot::Span(max_session_expiry),
            0..=36_500 * DAY_MS,
        ),
        (
            "max_keep_alive",
            Slot::Seconds(max_keep_alive_s),
            1_000..=65_535_000,
        ),
        (
            "max_retained_messages",
            Slot::Count32(max_retained_messages),
            0..=u64::from(u32::MAX),
        ),
        (
            "max_retained_bytes",
            Slot::Size64(max_retained_bytes),
            0..=1 << 50,
        ),
        (
            "max_sessions_per_team",
            Slot::Count32(max_sessions_per_team),
            count32.clone(),
        ),
        ("max_connections", Slot::Count32(max_connections), count32),
    ]
}

/// Keys that a listener's own limits cannot have: they bound a team, or the broker.
const BROKER_WIDE: [&str; 4] = [
    "max_retained_messages",
    "max_retained_bytes",
    "max_sessions_per_team",
    "max_connections",
];

/// The limits of a section, those left out as in `base`.
pub(super) fn read(section: &mut Section<'_>, base: &Limits) -> Limits {
    read_rows(section, base, |_| true)
}

/// The limits of a listener, those left out as in `base`, the broker's.
pub(super) fn read_listener(section: &mut Section<'_>, base: &Limits) -> Limits {
    read_rows(section, base, |key| !BROKER_WIDE.contains(&key))
}

fn read_rows(section: &mut Section<'_>, base: &Limits, known: fn(&str) -> bool) -> Limits {
    let mut limits = base.clone();
    for (key, slot, range) in rows(&mut limits) {
        if known(key) {
            fill(section, key, slot, &range);
        }
    }
    limits
}

fn fill(section: &mut Section<'_>, key: &'static str, slot: Slot<'_>, range: &RangeInclusive<u64>) {
    // The range keeps every value within its field; saturation is never reached.
    let narrow = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    let narrower = |value: u64| u16::try_from(value).unwrap_or(u16::MAX);
    match slot {
        Slot::Size32(field) => set(field, section.size(key, range).map(narrow)),
        Slot::Size64(field) => set(field, section.size(key, range)),
        Slot::Count16(field) => set(field, section.integer(key, range).map(narrower)),
        Slot::Count32(field) => set(field, section.integer(key, range).map(narrow)),
        Slot::Span(field) => set(field, section.span(key, range)),
        Slot::QoS(field) => {
            let bits = section.integer(key, range).map(|qos| qos as u8);
            set(field, bits.and_then(QoS::from_bits));
        }
        Slot::Flag(field) => set(field, section.boolean(key)),
        Slot::Seconds(field) => set(
            field,
            section
                .span(key, range)
                .map(|span| Some(narrower(span.as_secs()))),
        ),
    }
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}
