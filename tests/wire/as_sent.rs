//! From what was decoded back to what was sent, so that a test can compare the whole of it.

use cofferdam::wire::client::{self, Property};
use cofferdam::wire::decode::{self, Framing};
use cofferdam::wire::{
    Connect, Packet, PacketId, Publish, PublishProperties, UserProperties, Version,
};

/// Reads one packet, which must take all of `bytes`.
pub fn read(bytes: &[u8], version: Option<Version>) -> Packet<'_> {
    match decode::frame(bytes, u32::MAX) {
        Ok(Framing::Whole(frame)) => {
            assert_eq!(frame.length, bytes.len());
            decode::packet(frame, version).expect("a valid packet")
        }
        other => panic!("no whole packet: {other:?}"),
    }
}

pub fn user_as_sent(user: &UserProperties<'_>) -> impl Iterator<Item = Property> {
    user.iter()
        .map(|(name, value)| Property::User(name.into(), value.into()))
}

pub fn message_as_sent(message: &PublishProperties<'_>) -> Vec<Property> {
    let mut properties = Vec::new();
    properties.extend(message.topic_alias.map(Property::TopicAlias));
    properties.extend(
        message
            .payload_is_utf8
            .then_some(Property::PayloadFormat(true)),
    );
    properties.extend(message.message_expiry.map(Property::MessageExpiry));
    properties.extend(
        message
            .content_type
            .map(|text| Property::ContentType(text.into())),
    );
    properties.extend(
        message
            .response_topic
            .map(|text| Property::ResponseTopic(text.into())),
    );
    properties.extend(
        message
            .correlation_data
            .map(|data| Property::CorrelationData(data.into())),
    );
    properties.extend(user_as_sent(&message.user));
    properties
}

pub fn connect_as_sent(connect: &Connect<'_>) -> client::Connect {
    let held = &connect.properties;
    let mut properties = Vec::new();
    let expiry = Some(held.session_expiry).filter(|expiry| *expiry != 0);
    properties.extend(expiry.map(Property::SessionExpiry));
    let receive = Some(held.receive_maximum.get()).filter(|maximum| *maximum != u16::MAX);
    properties.extend(receive.map(Property::ReceiveMaximum));
    properties.extend(held.maximum_packet_size.map(Property::MaximumPacketSize));
    let aliases = Some(held.topic_alias_maximum).filter(|maximum| *maximum != 0);
    properties.extend(aliases.map(Property::TopicAliasMaximum));
    let response = held.request_response_information;
    properties.extend(response.then_some(Property::RequestResponseInformation(true)));
    let no_problem = !held.request_problem_information;
    properties.extend(no_problem.then_some(Property::RequestProblemInformation(false)));
    properties.extend(
        held.authentication_method
            .map(|text| Property::AuthenticationMethod(text.into())),
    );
    properties.extend(
        held.authentication_data
            .map(|data| Property::AuthenticationData(data.into())),
    );
    properties.extend(user_as_sent(&held.user));
    client::Connect {
        version: connect.version,
        bridge: connect.bridge,
        clean_start: connect.clean_start,
        keep_alive: connect.keep_alive,
        client_id: connect.client_id.into(),
        will: connect.will.as_ref().map(|will| {
            let delay = Some(will.delay).filter(|delay| *delay != 0);
            let mut properties: Vec<_> = delay.map(Property::WillDelay).into_iter().collect();
            properties.extend(message_as_sent(&will.properties));
            client::Will {
                topic: will.topic.into(),
                payload: will.payload.into(),
                qos: will.qos,
                retain: will.retain,
                properties,
            }
        }),
        username: connect.username.map(Into::into),
        password: connect.password.map(Into::into),
        properties,
    }
}

pub fn publish_as_sent(publish: &Publish<'_>) -> client::Publish {
    client::Publish {
        dup: publish.dup,
        qos: publish.qos,
        retain: publish.retain,
        topic: publish.topic.into(),
        packet_id: publish.packet_id.map(PacketId::get),
        properties: message_as_sent(&publish.properties),
        payload: publish.payload.into(),
    }
}
