//! `[limits.address]` and `[limits.login]`: what one source address may do, and what becomes of those
//! who guess.

use serde_json::{Map, Value, json};

use super::quantity::format_span;
use super::section::Section;
use crate::limits::Rate;
use crate::time::Span;

/// What one source address may do; of IPv6, one network of 64 bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressLimits {
    /// Connections at once, logged in or not.
    pub max_connections: u32,
    /// Connections that are accepted.
    pub connect_rate: Option<Rate>,
}

/// What becomes of failed logins, counted for each address and for each username.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginLimits {
    /// Failures before answers are delayed.
    pub free_failures: u32,
    /// Delay of the answer to the next one; each that follows has twice the delay.
    pub delay: Span,
    /// The longest delay.
    pub max_delay: Span,
    /// Failures from which on passwords are no longer hashed.
    pub max_failures: u32,
    /// After so long one failure is forgotten, and after as long again the next.
    pub forget_after: Span,
}

impl Default for AddressLimits {
    fn default() -> Self {
        Self {
            max_connections: 100_000,
            connect_rate: None,
        }
    }
}

impl Default for LoginLimits {
    fn default() -> Self {
        Self {
            free_failures: 5,
            delay: Span::from_millis(500),
            max_delay: Span::from_secs(8),
            max_failures: 50,
            forget_after: Span::from_secs(30),
        }
    }
}

const COUNTS: std::ops::RangeInclusive<u64> = 1..=u32::MAX as u64;

pub(super) fn addresses(mut section: Section<'_>) -> AddressLimits {
    let mut limits = AddressLimits::default();
    let narrow = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    if let Some(most) = section.integer("max_connections", &COUNTS) {
        limits.max_connections = narrow(most);
    }
    match section.integer("connect_rate", &(0..=1_000_000)) {
        Some(0) => limits.connect_rate = None, // no limit
        Some(rate) => limits.connect_rate = Some(Rate::per_second(rate)),
        None => {}
    }
    let burst = section.integer("connect_burst", &COUNTS);
    match (&mut limits.connect_rate, burst) {
        (Some(rate), Some(burst)) => rate.burst = burst,
        (None, Some(_)) => section.problem("connect_burst", "has no use without a rate"),
        (_, None) => {}
    }
    section.finish();
    limits
}

pub(super) fn logins(mut section: Section<'_>) -> LoginLimits {
    let mut limits = LoginLimits::default();
    let narrow = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    for (key, field) in [
        ("free_failures", &mut limits.free_failures),
        ("max_failures", &mut limits.max_failures),
    ] {
        if let Some(count) = section.integer(key, &COUNTS) {
            *field = narrow(count);
        }
    }
    for (key, field, range) in [
        ("delay", &mut limits.delay, 0..=8_000),
        // An answer later than that would find the login given up.
        ("max_delay", &mut limits.max_delay, 0..=8_000),
        ("forget_after", &mut limits.forget_after, 100..=86_400_000),
    ] {
        if let Some(span) = section.span(key, &range) {
            *field = span;
        }
    }
    section.finish();
    limits
}

pub(super) fn show(addresses: &AddressLimits, logins: &LoginLimits) -> [(&'static str, Value); 2] {
    let mut address = Map::new();
    address.insert(
        "max_connections".to_owned(),
        json!(addresses.max_connections),
    );
    let rate = addresses.connect_rate;
    address.insert(
        "connect_rate".to_owned(),
        json!(rate.map_or(0, |rate| rate.per_second)),
    );
    if let Some(rate) = rate {
        address.insert("connect_burst".to_owned(), json!(rate.burst));
    }
    let login = json!({
        "free_failures": logins.free_failures,
        "delay": format_span(logins.delay),
        "max_delay": format_span(logins.max_delay),
        "max_failures": logins.max_failures,
        "forget_after": format_span(logins.forget_after),
    });
    [("address", Value::Object(address)), ("login", login)]
}
