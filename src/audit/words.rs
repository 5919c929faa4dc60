//! The words in which events and reasons stand on record. They are part of what operators search
//! and alert on: never changed, only added to.

use crate::broker::{DisconnectCause, EventKind, Refusal};
use crate::wire::{ReasonCode, Version};

/// The event's name.
pub(super) fn event_word(kind: &EventKind) -> &'static str {
    match kind {
        EventKind::Connected { .. } => "connect",
        EventKind::ConnectRefused { .. } => "connect_refused",
        EventKind::Disconnected { .. } => "disconnect",
        EventKind::TakenOver { .. } => "takeover",
        EventKind::PublishRefused { .. } => "publish_refused",
        EventKind::SubscribeRefused { .. } => "subscribe_refused",
    }
}

/// The true reason of a refused connection; also good as a metric's label.
pub fn refusal_word(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::UnknownUser => "unknown_user",
        Refusal::NoCredential => "no_credential",
        Refusal::WrongPassword => "wrong_password",
        Refusal::Anonymous => "anonymous",
        Refusal::TeamSuspended => "team_suspended",
        Refusal::ClientId => "client_id",
        Refusal::Unavailable => "unavailable",
        Refusal::Busy => "busy",
        Refusal::ConnectTimeout => "connect_timeout",
        Refusal::Malformed(_) => "malformed",
        Refusal::Quota => "quota",
        Refusal::Gone => "gone",
        Refusal::Stopping => "stopping",
    }
}

/// Why a connection ended, and the reason code that went with it.
pub(super) fn cause_word(cause: DisconnectCause) -> (&'static str, Option<ReasonCode>) {
    match cause {
        DisconnectCause::Client(code) => ("client", Some(code)),
        DisconnectCause::Lost => ("lost", None),
        DisconnectCause::KeepAlive => ("keep_alive", None),
        DisconnectCause::TakenOver => ("taken_over", None),
        DisconnectCause::Protocol(code) => ("protocol", Some(code)),
        DisconnectCause::Server(code) => ("server", Some(code)),
    }
}

/// The version as people write it.
pub(super) fn version_word(version: Version) -> &'static str {
    match version {
        Version::V31 => "3.1",
        Version::V311 => "3.1.1",
        Version::V5 => "5.0",
    }
}
