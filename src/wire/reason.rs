//! Reason codes (section 2.4), where each may stand, and what 3.x says in their place.

macro_rules! reason_codes {
    ($($name:ident = $byte:literal, $label:literal;)*) => {
        /// A reason code of MQTT 5.0. One byte has one name here even where the standard gives it
        /// a name for each packet (0x00 is also "Normal disconnection" and "Granted QoS 0").
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        #[allow(missing_docs)] // the names are the standard's
        pub enum ReasonCode {
            $($name = $byte,)*
        }

        impl ReasonCode {
            /// Every reason code, in ascending order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// `None` for a byte that the standard gives no meaning.
            pub const fn from_byte(byte: u8) -> Option<Self> {
                match byte {
                    $($byte => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// For metrics' labels and the audit log: the standard's name in snake case.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $label,)*
                }
            }
        }
    };
}

reason_codes! {
    Success = 0x00, "success";
    GrantedQoS1 = 0x01, "granted_qos_1";
    GrantedQoS2 = 0x02, "granted_qos_2";
    DisconnectWithWill = 0x04, "disconnect_with_will";
    NoMatchingSubscribers = 0x10, "no_matching_subscribers";
    NoSubscriptionExisted = 0x11, "no_subscription_existed";
    ContinueAuthentication = 0x18, "continue_authentication";
    ReAuthenticate = 0x19, "re_authenticate";
    UnspecifiedError = 0x80, "unspecified_error";
    MalformedPacket = 0x81, "malformed_packet";
    ProtocolError = 0x82, "protocol_error";
    ImplementationSpecificError = 0x83, "implementation_specific_error";
    UnsupportedProtocolVersion = 0x84, "unsupported_protocol_version";
    ClientIdentifierNotValid = 0x85, "client_identifier_not_valid";
    BadUserNameOrPassword = 0x86, "bad_user_name_or_password";
    NotAuthorized = 0x87, "not_authorized";
    ServerUnavailable = 0x88, "server_unavailable";
    ServerBusy = 0x89, "server_busy";
    Banned = 0x8A, "banned";
    ServerShuttingDown = 0x8B, "server_shutting_down";
    BadAuthenticationMethod = 0x8C, "bad_authentication_method";
    KeepAliveTimeout = 0x8D, "keep_alive_timeout";
    SessionTakenOver = 0x8E, "session_taken_over";
    TopicFilterInvalid = 0x8F, "topic_filter_invalid";
    TopicNameInvalid = 0x90, "topic_name_invalid";
    PacketIdentifierInUse = 0x91, "packet_identifier_in_use";
    PacketIdentifierNotFound = 0x92, "packet_identifier_not_found";
    ReceiveMaximumExceeded = 0x93, "receive_maximum_exceeded";
    TopicAliasInvalid = 0x94, "topic_alias_invalid";
    PacketTooLarge = 0x95, "packet_too_large";
    MessageRateTooHigh = 0x96, "message_rate_too_high";
    QuotaExceeded = 0x97, "quota_exceeded";
    AdministrativeAction = 0x98, "administrative_action";
    PayloadFormatInvalid = 0x99, "payload_format_invalid";
    RetainNotSupported = 0x9A, "retain_not_supported";
    QoSNotSupported = 0x9B, "qos_not_supported";
    UseAnotherServer = 0x9C, "use_another_server";
    ServerMoved = 0x9D, "server_moved";
    SharedSubscriptionsNotSupported = 0x9E, "shared_subscriptions_not_supported";
    ConnectionRateExceeded = 0x9F, "connection_rate_exceeded";
    MaximumConnectTime = 0xA0, "maximum_connect_time";
    SubscriptionIdentifiersNotSupported = 0xA1, "subscription_identifiers_not_supported";
    WildcardSubscriptionsNotSupported = 0xA2, "wildcard_subscriptions_not_supported";
}

impl ReasonCode {
    /// As on the wire.
    pub const fn as_byte(self) -> u8 {
        self as u8
    }

    /// 0x80 and above: the operation failed.
    pub const fn is_error(self) -> bool {
        self.as_byte() >= 0x80
    }

    /// May stand in CONNACK `[MQTT-3.2.2-8]`.
    pub const fn fits_connack(self) -> bool {
        matches!(
            self.as_byte(),
            0x00 | 0x80..=0x8A | 0x8C | 0x90 | 0x95 | 0x97 | 0x99..=0x9D | 0x9F
        )
    }

    /// May stand in PUBACK and PUBREC `[MQTT-3.4.2-1]`, `[MQTT-3.5.2-1]`. 0x10 is for servers
    /// only, but harmless from a client that relays another server's answer.
    pub const fn fits_puback(self) -> bool {
        matches!(
            self.as_byte(),
            0x00 | 0x10 | 0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x97 | 0x99
        )
    }

    /// May stand in PUBREL and PUBCOMP `[MQTT-3.6.2-1]`, `[MQTT-3.7.2-1]`.
    pub const fn fits_pubrel(self) -> bool {
        matches!(self.as_byte(), 0x00 | 0x92)
    }

    /// May stand in SUBACK `[MQTT-3.9.3-2]`.
    pub const fn fits_suback(self) -> bool {
        matches!(
            self.as_byte(),
            0x00..=0x02 | 0x80 | 0x83 | 0x87 | 0x8F | 0x91 | 0x97 | 0x9E | 0xA1 | 0xA2
        )
    }

    /// May stand in UNSUBACK `[MQTT-3.11.3-2]`.
    pub const fn fits_unsuback(self) -> bool {
        matches!(
            self.as_byte(),
            0x00 | 0x11 | 0x80 | 0x83 | 0x87 | 0x8F | 0x91
        )
    }

    /// May stand in a client's DISCONNECT `[MQTT-3.14.2-1]`.
    pub const fn fits_client_disconnect(self) -> bool {
        matches!(self.as_byte(), 0x00 | 0x04 | 0x80..=0x83 | 0x90 | 0x93..=0x99)
    }

    /// May stand in a server's DISCONNECT `[MQTT-3.14.2-1]`.
    pub const fn fits_server_disconnect(self) -> bool {
        matches!(
            self.as_byte(),
            0x00 | 0x80..=0x83 | 0x87 | 0x89 | 0x8B | 0x8D..=0x90 | 0x93..=0xA2
        )
    }

    /// May stand in a client's AUTH `[MQTT-3.15.2-1]`.
    pub const fn fits_client_auth(self) -> bool {
        matches!(self.as_byte(), 0x18 | 0x19)
    }

    /// May stand in a server's AUTH `[MQTT-3.15.2-1]`.
    pub const fn fits_server_auth(self) -> bool {
        matches!(self.as_byte(), 0x00 | 0x18)
    }

    /// The CONNACK return code of 3.x that means the same (3.1.1, table 3.1). `None` where 3.x has
    /// no such code: the connection is then closed without CONNACK `[3.1.1: MQTT-3.2.2-6]`.
    pub const fn connect_return_code(self) -> Option<u8> {
        match self {
            Self::Success => Some(0),
            Self::UnsupportedProtocolVersion => Some(1),
            Self::ClientIdentifierNotValid => Some(2),
            Self::ServerUnavailable
            | Self::ServerBusy
            | Self::ServerShuttingDown
            | Self::QuotaExceeded
            | Self::ConnectionRateExceeded
            | Self::UseAnotherServer
            | Self::ServerMoved => Some(3),
            Self::BadUserNameOrPassword => Some(4),
            Self::NotAuthorized | Self::Banned => Some(5),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ReasonCode;

    #[test]
    fn every_byte_is_one_code_or_none() {
        let known: Vec<_> = (0..=u8::MAX).filter_map(ReasonCode::from_byte).collect();
        assert_eq!(known, ReasonCode::ALL);
        for code in known {
            assert_eq!(ReasonCode::from_byte(code.as_byte()), Some(code));
        }
    }

    /// Where each code may stand, from the standard's table of reason codes (2.4): C CONNACK,
    /// P PUBACK and PUBREC, R PUBREL and PUBCOMP, S SUBACK, U UNSUBACK, and of DISCONNECT and AUTH
    /// d, a those of a client and D, A those of a server.
    const PLACES: &str = "\
        00 CPRSUdDA, 01 S, 02 S, 04 d, 10 P, 11 U, 18 aA, 19 a, 80 CPSUdD, 81 CdD, 82 CdD, \
        83 CPSUdD, 84 C, 85 C, 86 C, 87 CPSUD, 88 C, 89 CD, 8a C, 8b D, 8c C, 8d D, 8e D, 8f SUD, \
        90 CPdD, 91 PSU, 92 R, 93 dD, 94 dD, 95 CdD, 96 dD, 97 CPSdD, 98 dD, 99 CPdD, 9a CD, \
        9b CD, 9c CD, 9d CD, 9e SD, 9f CD, a0 D, a1 SD, a2 SD";

    /// Shows: MQTT-3.2.2-8, MQTT-3.4.2-1, MQTT-3.5.2-1, MQTT-3.6.2-1, MQTT-3.7.2-1, MQTT-3.9.3-2,
    /// MQTT-3.11.3-2, MQTT-3.14.2-1, MQTT-3.15.2-1 (5.0)
    #[test]
    fn each_code_stands_where_the_standard_lets_it() {
        type Fits = fn(ReasonCode) -> bool;
        let places: [(char, Fits); 9] = [
            ('C', ReasonCode::fits_connack),
            ('P', ReasonCode::fits_puback),
            ('R', ReasonCode::fits_pubrel),
            ('S', ReasonCode::fits_suback),
            ('U', ReasonCode::fits_unsuback),
            ('d', ReasonCode::fits_client_disconnect),
            ('D', ReasonCode::fits_server_disconnect),
            ('a', ReasonCode::fits_client_auth),
            ('A', ReasonCode::fits_server_auth),
        ];
        let found: Vec<String> = ReasonCode::ALL
            .iter()
            .map(|code| {
                let fitting = places.iter().filter(|(_, fits)| fits(*code));
                let letters: String = fitting.map(|(letter, _)| *letter).collect();
                format!("{:02x} {letters}", code.as_byte())
            })
            .collect();
        assert_eq!(found.join(", "), PLACES);
    }

    #[test]
    fn labels_are_distinct_snake_case() {
        let mut labels: Vec<_> = ReasonCode::ALL.iter().map(|code| code.as_str()).collect();
        for label in &labels {
            assert!(
                label
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'),
                "{label}"
            );
        }
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), ReasonCode::ALL.len());
    }

    #[test]
    fn only_codes_from_0x80_up_are_errors() {
        for code in ReasonCode::ALL {
            assert_eq!(code.is_error(), code.as_byte() >= 0x80, "{code:?}");
        }
        assert!(!ReasonCode::ReAuthenticate.is_error());
        assert!(ReasonCode::UnspecifiedError.is_error());
    }
}
