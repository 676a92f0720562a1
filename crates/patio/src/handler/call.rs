//! What happened to a socket: made by the hub for one handler, read by extractors.

use std::borrow::Cow;

use patio_proto::payload::Payload;

use crate::{reason::DisconnectReason, socket::Socket};

/// What a handler is called for, and where extractors find what they give.
#[derive(Clone)]
pub struct Call {
    pub(crate) socket: Socket,
    /// Name and arguments of an event; none when a socket connects or disconnects.
    pub(crate) payload: Option<Payload>,
    /// The id under which the client waits for an answer, until somebody takes it to answer.
    pub(crate) ack_id: Option<u64>,
    /// Why the socket was disconnected.
    pub(crate) reason: Option<DisconnectReason>,
}

impl Call {
    /// An event of `socket`.
    pub(crate) fn event(socket: Socket, payload: Payload, ack_id: Option<u64>) -> Self {
        Self { socket, payload: Some(payload), ack_id, reason: None }
    }

    /// `socket` asks to join its namespace, or has joined it.
    pub(crate) fn connect(socket: Socket) -> Self {
        Self { socket, payload: None, ack_id: None, reason: None }
    }

    /// `socket` leaves its namespace.
    pub(crate) fn disconnect(socket: Socket, reason: DisconnectReason) -> Self {
        Self { socket, payload: None, ack_id: None, reason: Some(reason) }
    }

    /// The socket that this is about.
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// The name of the event; `None` when a socket connects or disconnects.
    pub fn event_name(&self) -> Option<Cow<'_, str>> {
        self.payload.as_ref()?.event_name()
    }

    /// The name and the arguments of the event; `None` when a socket connects or disconnects.
    pub fn payload(&self) -> Option<&Payload> {
        self.payload.as_ref()
    }

    /// Why the socket was disconnected; `None` for everything else.
    pub fn reason(&self) -> Option<DisconnectReason> {
        self.reason
    }
}
