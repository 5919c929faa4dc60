//! PUBACK, PUBREC, PUBREL and PUBCOMP (sections 3.4 to 3.7), which are one form.

use super::super::packet::{Ack, Version};
use super::super::reader::Reader;
use super::super::reason::ReasonCode;
use super::super::rule::{self, Read};
use super::super::section::{Property, Section};
use super::DecodeError;

pub(super) fn puback(body: &[u8], version: Version) -> Read<Ack> {
    ack(body, version, ReasonCode::fits_puback, &rule::PUBACK_REASON)
}

pub(super) fn pubrec(body: &[u8], version: Version) -> Read<Ack> {
    ack(body, version, ReasonCode::fits_puback, &rule::PUBREC_REASON)
}

pub(super) fn pubrel(body: &[u8], version: Version) -> Read<Ack> {
    ack(body, version, ReasonCode::fits_pubrel, &rule::PUBREL_REASON)
}

pub(super) fn pubcomp(body: &[u8], version: Version) -> Read<Ack> {
    ack(
        body,
        version,
        ReasonCode::fits_pubrel,
        &rule::PUBCOMP_REASON,
    )
}

#[inline]
fn ack(
    body: &[u8],
    version: Version,
    fits: fn(ReasonCode) -> bool,
    misfit: &'static DecodeError,
) -> Read<Ack> {
    let mut reader = Reader::new(body);
    let packet_id = reader.packet_id()?;
    // Reason and properties may be left out (section 3.4.2.1), and nearly always are.
    let reason = if version == Version::V5 && !reader.is_empty() {
        let reason = reason(&mut reader, fits, misfit)?;
        let section = trailing_properties(&mut reader)?;
        only_said_to_people(section)?;
        reason
    } else {
        ReasonCode::Success
    };
    reader.end()?;
    Ok(Ack { packet_id, reason })
}

/// A reason code that `fits` the packet; any other is a `misfit`.
pub(super) fn reason(
    reader: &mut Reader<'_>,
    fits: fn(ReasonCode) -> bool,
    misfit: &'static DecodeError,
) -> Read<ReasonCode> {
    ReasonCode::from_byte(reader.u8()?)
        .filter(|reason| fits(*reason))
        .ok_or(misfit)
}

/// The property section at a packet's end, which may be left out.
pub(super) fn trailing_properties<'a>(reader: &mut Reader<'a>) -> Read<&'a [u8]> {
    if reader.is_empty() {
        Ok(&[])
    } else {
        reader.properties()
    }
}

/// Reason string and user properties may stand here; the broker has no use for them.
fn only_said_to_people(bytes: &[u8]) -> Read<()> {
    let mut section = Section::new(bytes);
    while let Some(property) = section.next()? {
        if !matches!(property, Property::ReasonString(_) | Property::User(..)) {
            return Err(&rule::PROPERTY_MISPLACED);
        }
    }
    Ok(())
}
