//! Properties of MQTT 5.0 (section 2.2.2): read in one pass, user properties left where they are.

use std::borrow::Cow;

use super::section::{Property, Section};

/// The user properties of a packet, in the order sent, duplicates kept `[MQTT-3.3.2-18]`.
///
/// Holds the packet's checked property section and walks it on demand; nothing is allocated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserProperties<'a> {
    pub(super) section: &'a [u8],
}

/// The properties of a PUBLISH or a will.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PublishProperties<'a> {
    /// The payload is said to be UTF-8 (payload format indicator 1).
    pub payload_is_utf8: bool,
    /// Seconds.
    pub message_expiry: Option<u32>,
    /// Never 0 here: 0 is refused in decoding `[MQTT-3.3.2-8]`.
    pub topic_alias: Option<u16>,
    /// Valid as a topic name (UTF-8, not empty, no wildcards) `[MQTT-3.3.2-14]`.
    pub response_topic: Option<&'a str>,
    /// Any bytes.
    pub correlation_data: Option<&'a [u8]>,
    /// Any text.
    pub content_type: Option<&'a str>,
    /// User properties.
    pub user: UserProperties<'a>,
    /// The section holds nothing but what is passed on as it is.
    pub(super) all_passed_on: bool,
}

impl<'a> UserProperties<'a> {
    /// Name and value, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        // Decoding walked the section, so an error does not occur; if it did, the walk would end.
        let mut section = Section::from_server(self.section);
        std::iter::from_fn(move || section.next().ok().flatten()).filter_map(|property| {
            match property {
                Property::User(name, value) => Some((name, value)),
                _ => None,
            }
        })
    }
}

impl<'a> PublishProperties<'a> {
    /// The encoded properties that go to subscribers unaltered and in the order sent: payload
    /// format, content type, correlation data, user properties. Left out are topic alias (a
    /// connection's own), message expiry (counted down), response topic (mounted anew) and a
    /// will's delay; `encode::publish_head` adds those that a subscriber gets. Borrowed when
    /// nothing had to be left out.
    pub fn passed_on(&self) -> Cow<'a, [u8]> {
        if self.all_passed_on || self.user.section.is_empty() {
            Cow::Borrowed(self.user.section)
        } else {
            Cow::Owned(kept(self.user.section))
        }
    }
}

/// The properties of `bytes`, a checked section, that are passed on as they are.
fn kept(bytes: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(bytes.len());
    let mut section = Section::new(bytes);
    loop {
        let before = section.rest();
        let Ok(Some(property)) = section.next() else {
            return kept;
        };
        if is_passed_on(&property) {
            let length = before.len() - section.rest().len();
            kept.extend_from_slice(&before[..length]);
        }
    }
}

/// Whether a PUBLISH's or a will's property reaches subscribers as it is.
const fn is_passed_on<T, B>(property: &Property<T, B>) -> bool {
    matches!(
        property,
        Property::PayloadFormat(_)
            | Property::ContentType(_)
            | Property::CorrelationData(_)
            | Property::User(..)
    )
}
