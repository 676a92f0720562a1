//! WebSocket (RFC 6455): frames, masks, close codes and the handshake.
//!
//! Bytes that a socket has read go through [`Decoder`] and come out as [`Message`]s. What is sent is written by
//! [`header`] and [`encode`]; a server's frames are unmasked, so one encoded frame serves any number of receivers.

mod assembly;
mod close;
mod decode;
#[cfg(feature = "deflate")]
pub mod deflate;
mod error;
mod frame;
pub mod handshake;
#[cfg(feature = "deflate")]
mod inflate;
#[cfg(not(feature = "deflate"))]
#[path = "no_inflate.rs"]
mod inflate;
pub mod mask;

use bytes::Bytes;

use crate::Text;

pub use close::{CloseCode, CloseFrame, close_frame};
pub use decode::{Decoder, MAX_FRAGMENTS};
pub use error::{Error, Violation};
pub use frame::{Header, MAX_HEADER, Opcode, binary_frame, encode, encode_message, header, text_frame};

/// Whose side we are: it decides who masks. Frames from a client are masked, frames from a server are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// We are the server: received frames must be masked, sent ones are not.
    Server,
    /// We are the client: received frames must not be masked, sent ones are.
    Client,
}

/// A whole message (its fragments joined) or a control frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A text message: valid UTF-8.
    Text(Text),
    /// A binary message.
    Binary(Bytes),
    /// A ping, at most 125 bytes; it is to be answered by a pong with the same bytes.
    Ping(Bytes),
    /// A pong, at most 125 bytes.
    Pong(Bytes),
    /// The peer's last frame; `None` when it names no code (what JavaScript shows as 1005).
    Close(Option<CloseFrame>),
}
