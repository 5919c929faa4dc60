//! A CONNECT that waits for its verdict, and what it comes to under a listener's limits. Made and
//! used by `connect`; `authenticate` keeps its exchange here.

use std::sync::Arc;

use super::authenticate::Enhanced;
use super::effect::{Exchange, ExchangeState};
use crate::limits::Limits;
use crate::policy::Grant;
use crate::team::{MessageNumber, MessageView, SessionAddress, Will};
use crate::time::{Span, Time};
use crate::topic::TopicName;
use crate::wire::encode::{ConnAck, PACKET_SIZE_MAX};
use crate::wire::{Connect, PublishProperties, QoS, ReasonCode, Version};

/// A CONNECT that waits for its verdict.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) since: Time,
    /// The number of the last review before it was handed out to be judged.
    pub(super) asked_under: u64,
    /// Bytes of the CONNECT, and of AUTH, that are held here and by whoever judges it, about.
    pub(super) size: usize,
    pub(super) version: Version,
    pub(super) bridge: bool,
    pub(super) clean_start: bool,
    pub(super) keep_alive: u16,
    /// Empty: the server assigns one.
    pub(super) client_id: Arc<str>,
    pub(super) username: Option<Arc<str>>,
    /// The method of enhanced authentication.
    pub(super) method: Option<Arc<str>>,
    /// What the judge gave with its challenge, while the client has it.
    pub(super) state: Option<ExchangeState>,
    /// The method's last word.
    pub(super) last_word: Option<Box<[u8]>>,
    pub(super) session_expiry: u32,
    pub(super) receive_maximum: u16,
    pub(super) max_packet: u32,
    pub(super) topic_alias_maximum: u16,
    pub(super) will: Option<PendingWill>,
}

/// A will before its principal, and so its mount, is known.
#[derive(Debug)]
pub(super) struct PendingWill {
    topic: Box<str>,
    payload: Box<[u8]>,
    qos: QoS,
    retain: bool,
    delay: u32,
    passed_on: Box<[u8]>,
    response_topic: Option<Box<str>>,
    expiry: Option<u32>,
}

/// The largest packet that a client takes: its own limit, or the most that MQTT can frame.
pub(super) fn max_packet(connect: &Connect<'_>) -> u32 {
    let framed = PACKET_SIZE_MAX as u32;
    let own = connect.properties.maximum_packet_size;
    own.map_or(framed, |own| own.min(framed))
}

impl Pending {
    pub(super) fn new(connect: &Connect<'_>, now: Time) -> Self {
        let properties = &connect.properties;
        let session_expiry = match connect.version {
            Version::V5 => properties.session_expiry,
            // In 3.x a session is either the connection's or kept until it is cleaned.
            _ if connect.clean_start => 0,
            _ => u32::MAX,
        };
        let texts = [connect.client_id, connect.username.unwrap_or_default()];
        let texts = texts.iter().map(|text| text.len()).sum::<usize>();
        let password = connect.password.map_or(0, <[u8]>::len);
        let will = connect.will.as_ref().map(PendingWill::new);
        let exchange = properties.authentication_method.map_or(0, str::len)
            + properties.authentication_data.map_or(0, <[u8]>::len);
        Self {
            since: now,
            asked_under: 0,
            size: 2 * texts + password + exchange + will.as_ref().map_or(0, PendingWill::size),
            version: connect.version,
            bridge: connect.bridge,
            clean_start: connect.clean_start,
            keep_alive: connect.keep_alive,
            client_id: Arc::from(connect.client_id),
            username: connect.username.map(Arc::from),
            method: properties.authentication_method.map(Arc::from),
            state: None,
            last_word: None,
            session_expiry,
            receive_maximum: properties.receive_maximum.get(),
            max_packet: max_packet(connect),
            topic_alias_maximum: properties.topic_alias_maximum,
            will,
        }
    }

    /// What the client says in its method, for the judge.
    pub(super) fn exchange(
        &self,
        data: Option<&[u8]>,
        state: Option<ExchangeState>,
    ) -> Option<Exchange> {
        Some(Exchange {
            method: Arc::clone(self.method.as_ref()?),
            data: data.map(Into::into),
            state,
        })
    }

    /// What the connection remembers of its method.
    pub(super) fn enhanced(&self, assigned: bool) -> Option<Box<Enhanced>> {
        let method = Arc::clone(self.method.as_ref()?);
        let client_id = if assigned { "" } else { &*self.client_id };
        Some(Box::new(Enhanced::new(method, client_id.into())))
    }

    /// How long the session is to outlive the connection, within the limit.
    pub(super) fn expiry(&self, limits: &Limits) -> Span {
        Span::from_secs(u64::from(self.session_expiry)).min(limits.max_session_expiry)
    }

    /// Seconds in force.
    pub(super) fn keep_alive(&self, limits: &Limits) -> u16 {
        match limits.max_keep_alive_s {
            // A client of 3.x cannot be told another, so that its own holds.
            Some(max)
                if self.version == Version::V5
                    && (self.keep_alive == 0 || self.keep_alive > max) =>
            {
                max
            }
            _ => self.keep_alive,
        }
    }

    /// CONNACK with success: what is not as the client asked, and limits that differ from the
    /// standard's default.
    pub(super) fn connack(
        &self,
        session_present: bool,
        assigned: bool,
        limits: &Limits,
    ) -> ConnAck<'_> {
        let (expiry, keep_alive) = (self.expiry(limits), self.keep_alive(limits));
        let wanted = Span::from_secs(u64::from(self.session_expiry));
        let unless = |default: u16, value: u16| (value != default).then_some(value);
        ConnAck {
            session_present,
            session_expiry: (expiry < wanted).then(|| expiry.as_secs() as u32),
            receive_maximum: unless(u16::MAX, limits.receive_maximum),
            maximum_packet_size: Some(limits.max_packet_size),
            assigned_client_id: assigned.then_some(&*self.client_id),
            topic_alias_maximum: unless(0, limits.topic_alias_maximum),
            maximum_qos: (limits.max_qos < QoS::ExactlyOnce).then_some(limits.max_qos as u8),
            retain_available: (!limits.retain_available).then_some(false),
            server_keep_alive: unless(self.keep_alive, keep_alive),
            authentication_method: self.method.as_deref(), // [MQTT-4.12.0-5]
            authentication_data: self.last_word.as_deref(),
            ..ConnAck::default()
        }
    }

    pub(super) fn check(&self, limits: &Limits) -> Result<(), ReasonCode> {
        let nameless = self.client_id.is_empty();
        let may_be_nameless =
            self.version == Version::V5 || self.version == Version::V311 && self.clean_start;
        if nameless && !may_be_nameless
            || self.client_id.len() > usize::from(limits.max_client_id_length)
        {
            return Err(ReasonCode::ClientIdentifierNotValid); // [MQTT-3.1.3-8]
        }
        let Some(will) = &self.will else {
            return Ok(());
        };
        if will.qos > limits.max_qos {
            return Err(ReasonCode::QoSNotSupported); // [MQTT-3.2.2-12]
        }
        if will.retain && !limits.retain_available {
            return Err(ReasonCode::RetainNotSupported); // [MQTT-3.2.2-13]
        }
        Ok(())
    }

    /// Whether the will's topic, if there is a will, is one with the mount before it. Whether it may
    /// be published is decided when it is.
    pub(super) fn can_mount_will(&self, grant: &Grant, limits: &Limits) -> bool {
        let (max_length, max_levels) = (limits.max_topic_length, limits.max_topic_levels);
        self.will.as_ref().is_none_or(|will| {
            let topic = format!("{}{}", grant.mount(), will.topic);
            TopicName::parse(&topic, max_length, max_levels).is_ok()
        })
    }
}

impl PendingWill {
    pub(super) fn new(will: &crate::wire::Will<'_>) -> Self {
        let PublishProperties {
            response_topic,
            message_expiry,
            ..
        } = will.properties;
        Self {
            topic: will.topic.into(),
            payload: will.payload.into(),
            qos: will.qos,
            retain: will.retain,
            delay: will.delay,
            passed_on: will.properties.passed_on().into(),
            response_topic: response_topic.map(Into::into),
            expiry: message_expiry,
        }
    }

    pub(super) fn size(&self) -> usize {
        let response = self.response_topic.as_ref().map_or(0, |topic| topic.len());
        self.topic.len() + self.payload.len() + self.passed_on.len() + response
    }

    /// With the mount before its topics, ready to be published.
    pub(super) fn mounted(self, mount: &str, number: MessageNumber) -> Will {
        let response = self.response_topic.map(|topic| format!("{mount}{topic}"));
        let view = MessageView {
            topic: &format!("{mount}{}", self.topic),
            passed_on: &self.passed_on,
            response_topic: response
                .as_deref()
                .filter(|topic| topic.len() <= usize::from(u16::MAX)),
            payload: &self.payload,
            qos: self.qos,
            retain: self.retain,
            expires: Time::NEVER,
            publisher: SessionAddress::NOBODY,
        };
        Will {
            message: Arc::new(view.keep(number)),
            expiry: self.expiry.map(|secs| Span::from_secs(u64::from(secs))),
            delay: Span::from_secs(u64::from(self.delay)),
        }
    }
}
