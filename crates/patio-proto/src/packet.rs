//! Socket.IO packets: what [`decode`](crate::decode) makes of received text and what [`encode`](crate::encode)
//! writes for receivers.

use crate::{Text, payload::Payload};

/// The id of an ACK that named none, or one beyond `u64`: it never answers anything.
pub const UNKNOWN_ID: u64 = u64::MAX;

const MAIN_NAMESPACE: Text = Text::from_static("/");

/// One Socket.IO packet: what happens, in which namespace.
#[derive(Clone, Debug, PartialEq)]
pub struct Packet {
    /// The namespace with its leading slash, `/` when the wire names none. Sent literally by the peer: a query string
    /// of a client 1.x or 2.x is still in it, see [`split_query`].
    pub nsp: Text,
    /// What the packet says.
    pub kind: Kind,
}

/// What a packet says, with its data.
///
/// BINARY_EVENT and BINARY_ACK are not kinds of their own: an event or ack whose [`Payload`] has attachments is one.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// CONNECT: a client asks for a namespace (auth data), a server agrees (`sid` data).
    Connect(Option<Payload>),
    /// DISCONNECT: leaves the namespace, the transport stays.
    Disconnect,
    /// EVENT or BINARY_EVENT: `["name", …args]`, with an id when an ack is asked for.
    Event {
        /// The id the ACK shall carry.
        id: Option<u64>,
        /// Name and arguments.
        payload: Payload,
    },
    /// ACK or BINARY_ACK: `[…args]`.
    Ack {
        /// The id of the event that is answered; [`UNKNOWN_ID`] when the peer gave none.
        id: u64,
        /// The arguments.
        payload: Payload,
    },
    /// CONNECT_ERROR (v4: ERROR): the namespace is refused, with an object (v4: or a string).
    ConnectError(Payload),
}

/// The packet type, as its wire digit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PacketType {
    /// `0`
    Connect = 0,
    /// `1`
    Disconnect = 1,
    /// `2`
    Event = 2,
    /// `3`
    Ack = 3,
    /// `4`, named ERROR for clients 1.x and 2.x
    ConnectError = 4,
    /// `5`: an event with attachments
    BinaryEvent = 5,
    /// `6`: an ack with attachments
    BinaryAck = 6,
}

impl Packet {
    /// A packet for the namespace `nsp`.
    pub fn new(nsp: impl Into<Text>, kind: Kind) -> Self {
        Self { nsp: nsp.into(), kind }
    }

    /// A packet for the main namespace, `/`.
    pub fn main(kind: Kind) -> Self {
        Self { nsp: MAIN_NAMESPACE, kind }
    }

    /// An EVENT that asks for no ack.
    pub fn event(nsp: impl Into<Text>, payload: Payload) -> Self {
        Self::new(nsp, Kind::Event { id: None, payload })
    }

    /// The type digit this packet has on the wire; the payload's attachments decide between text and binary types.
    pub fn packet_type(&self) -> PacketType {
        match &self.kind {
            Kind::Connect(_) => PacketType::Connect,
            Kind::Disconnect => PacketType::Disconnect,
            Kind::Event { payload, .. } if payload.attachments().is_empty() => PacketType::Event,
            Kind::Event { .. } => PacketType::BinaryEvent,
            Kind::Ack { payload, .. } if payload.attachments().is_empty() => PacketType::Ack,
            Kind::Ack { .. } => PacketType::BinaryAck,
            Kind::ConnectError(_) => PacketType::ConnectError,
        }
    }

    /// The data, when the packet has any.
    pub fn payload(&self) -> Option<&Payload> {
        match &self.kind {
            Kind::Connect(payload) => payload.as_ref(),
            Kind::Disconnect => None,
            Kind::Event { payload, .. } | Kind::Ack { payload, .. } | Kind::ConnectError(payload) => {
                Some(payload)
            }
        }
    }
}

impl PacketType {
    /// The type of a wire digit.
    pub const fn from_digit(digit: u8) -> Option<Self> {
        Some(match digit {
            b'0' => Self::Connect,
            b'1' => Self::Disconnect,
            b'2' => Self::Event,
            b'3' => Self::Ack,
            b'4' => Self::ConnectError,
            b'5' => Self::BinaryEvent,
            b'6' => Self::BinaryAck,
            _ => return None,
        })
    }

    /// The wire digit, `b'0'` to `b'6'`.
    pub const fn digit(self) -> u8 {
        b'0' + self as u8
    }
}

/// Splits the namespace of a client 1.x or 2.x at its first `?`: `/a?x=1` is `/a` and the query `x=1`.
pub fn split_query(nsp: &str) -> (&str, Option<&str>) {
    match nsp.split_once('?') {
        Some((name, query)) => (name, Some(query)),
        None => (nsp, None),
    }
}
