//! What can be wrong: with a request ([`ErrorCode`], answered over HTTP) or with received bytes ([`DecodeError`],
//! which ends the session with the reason `parse error`).

/// Why a handshake or a request of a session is refused: the `code` of Engine.IO's error answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The query parameter `transport` is missing, unknown or not allowed.
    UnknownTransport = 0,
    /// No session has the given `sid`.
    UnknownSid = 1,
    /// A handshake by another method than GET.
    BadHandshakeMethod = 2,
    /// Anything else: a wrong transport for the session, a bad header, a failed middleware.
    BadRequest = 3,
    /// `allowRequest` said no.
    Forbidden = 4,
    /// Revision 3 without `allowEIO3`.
    UnsupportedProtocol = 5,
}

impl ErrorCode {
    /// Every code, in the order of its number.
    pub const ALL: [Self; 6] = [
        Self::UnknownTransport,
        Self::UnknownSid,
        Self::BadHandshakeMethod,
        Self::BadRequest,
        Self::Forbidden,
        Self::UnsupportedProtocol,
    ];

    /// The code's number.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The text that goes with the code. It is also the whole body of a refused WebSocket upgrade.
    pub const fn message(self) -> &'static str {
        match self {
            Self::UnknownTransport => "Transport unknown",
            Self::UnknownSid => "Session ID unknown",
            Self::BadHandshakeMethod => "Bad handshake method",
            Self::BadRequest => "Bad request",
            Self::Forbidden => "Forbidden",
            Self::UnsupportedProtocol => "Unsupported protocol version",
        }
    }

    /// HTTP status of the answer to a plain request. A refused WebSocket upgrade is 400 whatever the code.
    pub const fn status(self) -> u16 {
        match self {
            Self::Forbidden => 403,
            _ => 400,
        }
    }

    /// JSON body of the answer to a plain request: `{"code":1,"message":"Session ID unknown"}`.
    pub fn body(self) -> String {
        self.body_with(self.message())
    }

    /// The same body with another text, such as the one that `allowRequest` gave.
    pub fn body_with(self, message: &str) -> String {
        let message = serde_json::Value::from(message);
        format!(r#"{{"code":{},"message":{message}}}"#, self.number())
    }
}

/// Why received bytes are no Engine.IO packet or payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum DecodeError {
    /// A packet without even a type, or a body without a packet.
    #[error("empty packet or payload")]
    Empty,
    /// The packet's type is none of 0 to 6.
    #[error("unknown packet type")]
    UnknownType,
    /// Text is not UTF-8.
    #[error("text is not valid UTF-8")]
    InvalidUtf8,
    /// Revision 3: the length in front of a packet is missing, malformed, or ends inside a character.
    #[error("malformed packet length")]
    BadLength,
    /// Revision 3: the payload ends before a packet does.
    #[error("payload ends inside a packet")]
    Truncated,
    /// The payload holds more packets than the caller allows.
    #[error("too many packets in one payload")]
    TooManyPackets,
    /// JSONP: the form has no field `d`.
    #[error("form without the field d")]
    MissingField,
    /// Revision 3 is not compiled in (feature `v3`).
    #[error("protocol revision not supported")]
    Unsupported,
}
