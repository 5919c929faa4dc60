//! Properties of MQTT 5.0 (section 2.2.2): read in one pass, user properties left where they are.

use std::borrow::Cow;

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
    /// Valid as a topic name (UTF-8, no wildcards) `[MQTT-3.3.2-14]`.
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
        let _ = self.section;
        std::iter::empty() // wire: to be written
    }
}

impl<'a> PublishProperties<'a> {
    /// The encoded properties that go to subscribers unaltered and in the order sent: payload
    /// format, content type, correlation data, user properties. Left out are topic alias (a
    /// connection's own), message expiry (counted down) and response topic (mounted anew);
    /// `encode::publish_head` adds those. Borrowed when nothing had to be left out.
    pub fn passed_on(&self) -> Cow<'a, [u8]> {
        todo!("wire")
    }
}
