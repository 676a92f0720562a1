//! Engine.IO: packets, polling payloads, the handshake and the session, of both protocol revisions.
//!
//! Bodies of polling requests enter through [`payload`] (revision 3's own forms are in `v3`, its form posts in
//! [`jsonp`]), WebSocket frames through [`Packet::decode_text`] and [`Packet::decode_binary`]. What comes out is a
//! [`Packet`]; its [`Message`] goes on to the Socket.IO decoder. In the other direction packets are encoded by
//! [`crate::encode`], with the chunk encoders of the same modules.

pub mod error;
pub mod handshake;
pub mod jsonp;
pub mod packet;
pub mod payload;
pub mod session;
#[cfg(feature = "v3")]
pub mod v3;

use bytes::Bytes;

pub use error::{DecodeError, ErrorCode};
pub use packet::Packet;
pub use session::{CloseReason, Session, Timing};

use crate::Text;

/// The revision of the Engine.IO protocol that a client speaks, from the query parameter `EIO`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Revision 3, of the Socket.IO clients 1.x and 2.x: the client pings.
    V3,
    /// Revision 4, of the Socket.IO clients 3.x and 4.x: the server pings.
    V4,
}

impl Protocol {
    /// The protocol that a request's `EIO` parameter asks for: exactly `4` is revision 4, and everything else,
    /// its absence included, is revision 3.
    pub fn from_query(eio: Option<&str>) -> Self {
        if eio == Some("4") { Self::V4 } else { Self::V3 }
    }

    /// The revision as a number, `3` or `4`: `socket.conn.protocol`.
    pub const fn number(self) -> u8 {
        match self {
            Self::V3 => 3,
            Self::V4 => 4,
        }
    }
}

/// How packets travel: `socket.conn.transport.name`, and the query parameter `transport`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// HTTP long-polling: GET receives, POST sends, several packets in one payload.
    Polling,
    /// One WebSocket, one packet a frame.
    WebSocket,
}

impl Transport {
    /// The transport that a request's `transport` parameter names, if there is such a one.
    pub fn from_query(transport: Option<&str>) -> Option<Self> {
        match transport? {
            "polling" => Some(Self::Polling),
            "websocket" => Some(Self::WebSocket),
            _ => None,
        }
    }

    /// The transport's name on the wire: `polling` or `websocket`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Polling => "polling",
            Self::WebSocket => "websocket",
        }
    }
}

/// What a packet of type `message` carries: the unit that Engine.IO's user sends and receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Text, without the packet's type digit.
    Text(Text),
    /// Bytes, without revision 3's type byte and without base64.
    Binary(Bytes),
}

impl Message {
    /// Length in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
