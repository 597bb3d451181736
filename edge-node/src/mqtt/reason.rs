//! Reasons: why something was refused, or how it was done, in the numbers of version 5.
//!
//! Version 3.1.1 has few numbers, and only in CONNACK and SUBACK; a reason says which of them it
//! becomes there. A violation of version 3.1.1 has a reason too, for logs and counters.

use super::packet::QoS;
use std::fmt;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        /// A reason code of version 5. From 0x80 on it says that something failed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Reason {
            $($(#[$doc])* $name = $code,)*
        }

        impl Reason {
            /// All of them, in the order of their codes.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The reason with this code, if there is one.
            #[must_use]
            pub const fn from_code(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// Its name, in words of the standard.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

reasons! {
    /// It was done; in DISCONNECT, a normal end without the will; in SUBACK, QoS 0 is granted.
    Success = 0x00, "success";
    /// QoS 1 is granted.
    GrantedQos1 = 0x01, "granted QoS 1";
    /// QoS 2 is granted.
    GrantedQos2 = 0x02, "granted QoS 2";
    /// The client leaves and wants its will published.
    DisconnectWithWill = 0x04, "disconnect with will message";
    /// The message was taken and nobody waits for it.
    NoMatchingSubscribers = 0x10, "no matching subscribers";
    /// There was no such subscription.
    NoSubscriptionExisted = 0x11, "no subscription existed";
    /// The next step of authentication is due.
    ContinueAuthentication = 0x18, "continue authentication";
    /// Authentication begins anew.
    ReAuthenticate = 0x19, "re-authenticate";
    /// No reason is given.
    Unspecified = 0x80, "unspecified error";
    /// The packet cannot be parsed.
    MalformedPacket = 0x81, "malformed packet";
    /// The packet can be parsed and must not be sent like that.
    ProtocolError = 0x82, "protocol error";
    /// This server does not do that.
    ImplementationSpecific = 0x83, "implementation specific error";
    /// The server does not speak that version.
    UnsupportedVersion = 0x84, "unsupported protocol version";
    /// The client identifier is not accepted.
    ClientIdInvalid = 0x85, "client identifier not valid";
    /// User name and password are not accepted.
    BadUserNameOrPassword = 0x86, "bad user name or password";
    /// The client may not do that.
    NotAuthorized = 0x87, "not authorized";
    /// The server is not available.
    ServerUnavailable = 0x88, "server unavailable";
    /// The server has too much to do.
    ServerBusy = 0x89, "server busy";
    /// The client has been banned.
    Banned = 0x8A, "banned";
    /// The server stops.
    ServerShuttingDown = 0x8B, "server shutting down";
    /// The authentication method is not accepted.
    BadAuthenticationMethod = 0x8C, "bad authentication method";
    /// No packet came for one and a half times the keep alive.
    KeepAliveTimeout = 0x8D, "keep alive timeout";
    /// Another connection uses the client identifier.
    SessionTakenOver = 0x8E, "session taken over";
    /// The topic filter is not accepted.
    TopicFilterInvalid = 0x8F, "topic filter invalid";
    /// The topic name is not accepted.
    TopicNameInvalid = 0x90, "topic name invalid";
    /// The packet identifier is in use.
    PacketIdInUse = 0x91, "packet identifier in use";
    /// The packet identifier is not known.
    PacketIdNotFound = 0x92, "packet identifier not found";
    /// More is in flight than was allowed.
    ReceiveMaximumExceeded = 0x93, "receive maximum exceeded";
    /// The topic alias is zero, too great or not known.
    TopicAliasInvalid = 0x94, "topic alias invalid";
    /// The packet is larger than was allowed.
    PacketTooLarge = 0x95, "packet too large";
    /// Messages come too fast.
    MessageRateTooHigh = 0x96, "message rate too high";
    /// A limit of this server is reached.
    QuotaExceeded = 0x97, "quota exceeded";
    /// Somebody ended the connection by hand.
    AdministrativeAction = 0x98, "administrative action";
    /// The payload is not what its format says.
    PayloadFormatInvalid = 0x99, "payload format invalid";
    /// The server retains nothing.
    RetainNotSupported = 0x9A, "retain not supported";
    /// The server does not do that QoS.
    QosNotSupported = 0x9B, "QoS not supported";
    /// Another server is to be used for now.
    UseAnotherServer = 0x9C, "use another server";
    /// Another server is to be used for good.
    ServerMoved = 0x9D, "server moved";
    /// The server has no shared subscriptions.
    SharedNotSupported = 0x9E, "shared subscriptions not supported";
    /// Connections come too fast.
    ConnectionRateExceeded = 0x9F, "connection rate exceeded";
    /// The connection lasted as long as it may.
    MaximumConnectTime = 0xA0, "maximum connect time";
    /// The server has no subscription identifiers.
    SubscriptionIdsNotSupported = 0xA1, "subscription identifiers not supported";
    /// The server has no wildcards.
    WildcardsNotSupported = 0xA2, "wildcard subscriptions not supported";
}

impl Reason {
    /// The code as it is written.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Whether it says that something failed.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        self.code() >= 0x80
    }

    /// What SUBACK says when `qos` is granted.
    #[must_use]
    pub const fn granted(qos: QoS) -> Self {
        match qos {
            QoS::AtMostOnce => Self::Success,
            QoS::AtLeastOnce => Self::GrantedQos1,
            QoS::ExactlyOnce => Self::GrantedQos2,
        }
    }

    /// The return code of a CONNACK of version 3.1.1, from 0 to 5. What has no code of its own
    /// there is 5, not authorized, if waiting does not help, and else 3, server unavailable.
    #[must_use]
    pub const fn connack_311(self) -> u8 {
        match self {
            reason if !reason.is_failure() => 0,
            Self::UnsupportedVersion => 1,
            Self::ClientIdInvalid => 2,
            Self::BadUserNameOrPassword => 4,
            Self::NotAuthorized
            | Self::Banned
            | Self::BadAuthenticationMethod
            | Self::TopicNameInvalid
            | Self::PacketTooLarge
            | Self::RetainNotSupported
            | Self::QosNotSupported => 5,
            _ => 3,
        }
    }

    /// The reason that a return code of a CONNACK of version 3.1.1 stands for.
    #[must_use]
    pub const fn from_connack_311(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Success),
            1 => Some(Self::UnsupportedVersion),
            2 => Some(Self::ClientIdInvalid),
            3 => Some(Self::ServerUnavailable),
            4 => Some(Self::BadUserNameOrPassword),
            5 => Some(Self::NotAuthorized),
            _ => None,
        }
    }

    /// What DISCONNECT says of a connection that a server ends for this: not every reason may stand
    /// there.
    #[must_use]
    pub const fn disconnect(self) -> Self {
        match self {
            Self::ServerUnavailable => Self::ServerBusy,
            Self::Banned | Self::BadUserNameOrPassword => Self::NotAuthorized,
            Self::UnsupportedVersion
            | Self::ClientIdInvalid
            | Self::PacketIdInUse
            | Self::PacketIdNotFound => Self::ProtocolError,
            other => other,
        }
    }

    /// The return code of a SUBACK of version 3.1.1: the QoS, or 0x80 for every failure.
    #[must_use]
    pub const fn suback_311(self) -> u8 {
        if self.is_failure() { 0x80 } else { self.code() }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (0x{:02X})", self.name(), self.code())
    }
}
