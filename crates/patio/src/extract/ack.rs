//! The right to answer an event: taken from the call by the `Ack` extractor, or else by the handler's return value.

use std::{convert::Infallible, fmt};

use patio_proto::payload::{EncodeError, Payload};
use serde::Serialize;

use super::FromParts;
use crate::{handler::Call, socket::Socket};

/// Answers the client's event, once, at any time, from any task: the callback of Socket.IO.
///
/// A handler that extracts it does not answer with its return value. If it is dropped unused the client gets no answer.
/// If the client asked for none, or has gone, sending does nothing.
#[must_use = "the client gets no answer unless it is sent"]
pub struct Ack {
    waiting: Option<(Socket, u64)>,
}

impl Ack {
    /// Takes what nobody has taken.
    pub(crate) fn take(call: &mut Call) -> Self {
        Self { waiting: call.ack_id.take().map(|id| (call.socket.clone(), id)) }
    }

    /// Whether the client waits for an answer.
    pub fn is_requested(&self) -> bool {
        self.waiting.is_some()
    }

    /// Answers. A tuple is several arguments, `()` none, anything else is one.
    ///
    /// # Errors
    /// If `arguments` cannot be serialised; the client gets no answer then.
    pub fn send<T: Serialize + ?Sized>(self, arguments: &T) -> Result<(), EncodeError> {
        if let Some((socket, id)) = self.waiting {
            socket.send_ack(id, Payload::args(arguments)?);
        }
        Ok(())
    }

    /// Answers with arguments that are serialised already.
    pub fn send_payload(self, arguments: Payload) {
        if let Some((socket, id)) = self.waiting {
            socket.send_ack(id, arguments);
        }
    }
}

/// The first `Ack` of a handler gets it.
impl FromParts for Ack {
    type Rejection = Infallible;

    fn from_parts(call: &mut Call) -> Result<Self, Infallible> {
        Ok(Self::take(call))
    }
}

impl fmt::Debug for Ack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ack").field("id", &self.waiting.as_ref().map(|(_, id)| id)).finish()
    }
}
