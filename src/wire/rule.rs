//! The rules that a packet can break: what a decoder says when it refuses one.
//!
//! `tests/data/packets.tsv` has a case for each of them.

use super::ReasonCode;
use super::decode::DecodeError;

/// What the readers return. An error is one of the rules below, so that it takes one word.
pub(super) type Read<T> = Result<T, &'static DecodeError>;

macro_rules! rules {
    ($($name:ident: $code:ident, $statement:literal, $what:literal;)*) => {
        $(
            pub(super) const $name: DecodeError = DecodeError {
                code: ReasonCode::$code,
                what: $what,
                statement: $statement,
            };
        )*

        /// Every rule that a packet can break.
        pub const RULES: &[DecodeError] = &[$($name,)*];
    };
}

rules! {
    // Any packet
    REMAINING_LENGTH: MalformedPacket, "MQTT-1.5.5-1", "the remaining length takes more than four bytes";
    TOO_LARGE: PacketTooLarge, "MQTT-3.2.2-15", "the packet is larger than the server takes";
    SHORT: MalformedPacket, "section 2.1.4", "the packet ends within a field";
    TRAILING: MalformedPacket, "section 2.1.4", "the packet goes on after its last field";
    RESERVED_TYPE: MalformedPacket, "section 2.1.2", "the packet type is reserved";
    RESERVED_FLAGS: MalformedPacket, "MQTT-2.1.3-1", "the flags in the fixed header are not those of the packet type";
    SERVER_ONLY: ProtocolError, "section 2.1.2", "only a server sends this packet";
    NOT_UTF8: MalformedPacket, "MQTT-1.5.4-1", "a string is not well-formed UTF-8";
    NUL: MalformedPacket, "MQTT-1.5.4-2", "a string contains U+0000";
    VARIABLE_BYTE_INTEGER: MalformedPacket, "MQTT-1.5.5-1", "a variable byte integer is longer than its value needs";
    PACKET_ID_0: ProtocolError, "MQTT-2.2.1-3", "the packet identifier is 0";

    // Properties
    PROPERTY_UNKNOWN: MalformedPacket, "section 2.2.2.2", "a property is unknown";
    PROPERTY_MISPLACED: MalformedPacket, "section 2.2.2.2", "a property does not belong to this packet";
    PROPERTY_TWICE: ProtocolError, "section 2.2.2.2", "a property stands twice";
    PAYLOAD_FORMAT: ProtocolError, "section 3.3.2.3.2", "the payload format indicator is neither 0 nor 1";
    SUBSCRIPTION_ID_0: ProtocolError, "section 3.8.2.1.2", "the subscription identifier is 0";
    RECEIVE_MAXIMUM_0: ProtocolError, "section 3.1.2.11.3", "the receive maximum is 0";
    MAXIMUM_PACKET_SIZE_0: ProtocolError, "section 3.1.2.11.4", "the maximum packet size is 0";
    TOPIC_ALIAS_0: TopicAliasInvalid, "MQTT-3.3.2-8", "the topic alias is 0";
    NOT_BOOLEAN: ProtocolError, "section 2.2.2.2", "a property that says yes or no is neither 0 nor 1";

    // CONNECT
    FIRST_PACKET: ProtocolError, "MQTT-3.1.0-1", "the first packet is not CONNECT";
    PROTOCOL_NAME: UnsupportedProtocolVersion, "MQTT-3.1.2-1", "the protocol name is not MQTT's";
    PROTOCOL_LEVEL: UnsupportedProtocolVersion, "MQTT-3.1.2-2", "the protocol version is not served";
    CONNECT_FLAG: MalformedPacket, "MQTT-3.1.2-3", "the reserved flag of CONNECT is set";
    WILL_QOS_WITHOUT_WILL: MalformedPacket, "MQTT-3.1.2-11", "a will QoS without a will";
    WILL_QOS_3: MalformedPacket, "MQTT-3.1.2-12", "the will QoS is 3";
    WILL_RETAIN_WITHOUT_WILL: MalformedPacket, "MQTT-3.1.2-13", "a will retain flag without a will";
    PASSWORD_WITHOUT_USERNAME: MalformedPacket, "3.1.1: MQTT-3.1.2-22", "a password without a user name";
    WILL_TOPIC_EMPTY: TopicNameInvalid, "MQTT-4.7.3-1", "the will topic is empty";
    WILL_TOPIC_WILD: TopicNameInvalid, "MQTT-4.7.0-1", "the will topic has a wildcard";
    AUTHENTICATION_DATA_ALONE: ProtocolError, "section 3.1.2.11.10", "authentication data without a method";

    // PUBLISH
    QOS_3: MalformedPacket, "MQTT-3.3.1-4", "the QoS is 3";
    DUP_AT_QOS_0: MalformedPacket, "MQTT-3.3.1-2", "the DUP flag is set at QoS 0";
    TOPIC_WILD: TopicNameInvalid, "MQTT-3.3.2-2", "the topic name has a wildcard";
    TOPIC_EMPTY: TopicNameInvalid, "MQTT-4.7.3-1", "the topic name is empty";
    TOPIC_AND_ALIAS_MISSING: ProtocolError, "section 3.3.2.1", "neither a topic name nor a topic alias";
    RESPONSE_TOPIC_WILD: ProtocolError, "MQTT-3.3.2-14", "the response topic has a wildcard";
    RESPONSE_TOPIC_EMPTY: ProtocolError, "MQTT-4.7.3-1", "the response topic is empty";
    SUBSCRIPTION_ID_IN_PUBLISH: ProtocolError, "MQTT-3.3.4-6", "a subscription identifier in a client's PUBLISH";

    // Acknowledgements
    PUBACK_REASON: ProtocolError, "MQTT-3.4.2-1", "not a reason code of PUBACK";
    PUBREC_REASON: ProtocolError, "MQTT-3.5.2-1", "not a reason code of PUBREC";
    PUBREL_REASON: ProtocolError, "MQTT-3.6.2-1", "not a reason code of PUBREL";
    PUBCOMP_REASON: ProtocolError, "MQTT-3.7.2-1", "not a reason code of PUBCOMP";

    // SUBSCRIBE, UNSUBSCRIBE
    SUBSCRIBE_EMPTY: ProtocolError, "MQTT-3.8.3-2", "SUBSCRIBE without a topic filter";
    SUBSCRIPTION_OPTIONS: MalformedPacket, "MQTT-3.8.3-5", "reserved bits of the subscription options are set";
    SUBSCRIPTION_QOS_3: ProtocolError, "section 3.8.3.1", "the QoS asked for is 3";
    RETAIN_HANDLING_3: ProtocolError, "section 3.8.3.1", "the retain handling is 3";
    NO_LOCAL_SHARED: ProtocolError, "MQTT-3.8.3-4", "no local on a shared subscription";
    UNSUBSCRIBE_EMPTY: ProtocolError, "MQTT-3.10.3-2", "UNSUBSCRIBE without a topic filter";

    // DISCONNECT, AUTH
    DISCONNECT_REASON: ProtocolError, "MQTT-3.14.2-1", "not a reason code of a client's DISCONNECT";
    SERVER_REFERENCE: ProtocolError, "section 3.14.2.2.5", "a server reference from a client";
    AUTH_REASON: ProtocolError, "MQTT-3.15.2-1", "not a reason code of a client's AUTH";
    AUTH_METHOD: ProtocolError, "section 3.15.2.2.2", "AUTH without an authentication method";
}
