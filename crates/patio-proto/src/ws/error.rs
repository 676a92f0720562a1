//! What a peer can do wrong on a WebSocket, and the close code that answers it.

use super::CloseCode;

/// Why received bytes were refused. The connection is to be closed with [`Error::close_code`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Error {
    /// A message is longer than the limit, or a frame declares 2^53 bytes or more: 1009.
    #[error("the message is too big")]
    TooBig,
    /// A message has more than [`MAX_FRAGMENTS`](super::MAX_FRAGMENTS) frames: 1008.
    #[error("the message has too many fragments")]
    TooManyFragments,
    /// A text message or the reason of a close frame is not UTF-8: 1007.
    #[error("text is not valid UTF-8")]
    InvalidUtf8,
    /// A compressed message cannot be inflated: 1007.
    #[error("compressed data is invalid")]
    InvalidDeflate,
    /// The frame breaks RFC 6455: 1002.
    #[error("invalid WebSocket frame: {0}")]
    Protocol(Violation),
}

/// The rule of RFC 6455 that a frame breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Violation {
    /// A reserved bit is set that no negotiated extension gives a meaning to.
    #[error("a reserved bit is set")]
    ReservedBit,
    /// The opcode is one of 3–7 or 11–15.
    #[error("the opcode is reserved")]
    ReservedOpcode,
    /// A continuation frame without a message to continue.
    #[error("nothing to continue")]
    UnexpectedContinuation,
    /// A text or binary frame before the last fragment of the message before it.
    #[error("the message before is unfinished")]
    UnfinishedMessage,
    /// A control frame without the FIN bit.
    #[error("a control frame is fragmented")]
    FragmentedControl,
    /// A control frame with more than 125 bytes.
    #[error("a control frame is too long")]
    LongControl,
    /// A client's frame without a mask.
    #[error("the frame is not masked")]
    Unmasked,
    /// A server's frame with a mask.
    #[error("the frame is masked")]
    Masked,
    /// A close frame with a payload of one byte.
    #[error("the close code is cut")]
    CutCloseCode,
    /// A close code that must not be sent.
    #[error("the close code is invalid")]
    InvalidCloseCode,
}

impl Error {
    /// The code that answers this error, as Node's `ws` sends it.
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::TooBig => CloseCode::TOO_BIG,
            Self::TooManyFragments => CloseCode::POLICY,
            Self::InvalidUtf8 | Self::InvalidDeflate => CloseCode::INVALID_PAYLOAD,
            Self::Protocol(_) => CloseCode::PROTOCOL,
        }
    }
}

impl From<Violation> for Error {
    fn from(violation: Violation) -> Self {
        Self::Protocol(violation)
    }
}
