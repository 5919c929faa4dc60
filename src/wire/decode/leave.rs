//! DISCONNECT and AUTH (sections 3.14 and 3.15).

use super::super::packet::{Auth, Disconnect, Version};
use super::super::property::UserProperties;
use super::super::reader::Reader;
use super::super::reason::ReasonCode;
use super::super::rule::{self, Read};
use super::super::section::{Property, Section};
use super::ack::{reason, trailing_properties};

pub(super) fn disconnect(body: &[u8], version: Version) -> Read<Disconnect<'_>> {
    let mut reader = Reader::new(body);
    let mut disconnect = Disconnect {
        reason: ReasonCode::Success,
        session_expiry: None,
        user: UserProperties::default(),
    };
    if version == Version::V5 && !reader.is_empty() {
        disconnect.reason = reason(
            &mut reader,
            ReasonCode::fits_client_disconnect,
            &rule::DISCONNECT_REASON,
        )?;
        let bytes = trailing_properties(&mut reader)?;
        disconnect.user = UserProperties { section: bytes };
        let mut section = Section::new(bytes);
        while let Some(property) = section.next()? {
            match property {
                Property::SessionExpiry(seconds) => disconnect.session_expiry = Some(seconds),
                Property::ReasonString(_) | Property::User(..) => {}
                Property::ServerReference(_) => return Err(&rule::SERVER_REFERENCE),
                _ => return Err(&rule::PROPERTY_MISPLACED),
            }
        }
    }
    reader.end()?;
    Ok(disconnect)
}

pub(super) fn auth(body: &[u8]) -> Read<Auth<'_>> {
    let mut reader = Reader::new(body);
    if reader.is_empty() {
        // Left out is Success (section 3.15.2.1), which only a server says.
        return Err(&rule::AUTH_REASON);
    }
    let reason = reason(
        &mut reader,
        ReasonCode::fits_client_auth,
        &rule::AUTH_REASON,
    )?;
    let bytes = trailing_properties(&mut reader)?;
    let mut auth = Auth {
        reason,
        method: None,
        data: None,
        user: UserProperties { section: bytes },
    };
    let mut section = Section::new(bytes);
    while let Some(property) = section.next()? {
        match property {
            Property::AuthenticationMethod(method) => auth.method = Some(method),
            Property::AuthenticationData(data) => auth.data = Some(data),
            Property::ReasonString(_) | Property::User(..) => {}
            _ => return Err(&rule::PROPERTY_MISPLACED),
        }
    }
    reader.end()?;
    if auth.method.is_none() {
        return Err(&rule::AUTH_METHOD);
    }
    Ok(auth)
}
