//! The socket itself, its server, and why it left.

use std::convert::Infallible;

use super::{FromParts, Needs};
use crate::{handler::Call, reason::DisconnectReason, server::Server, socket::Socket};

impl FromParts for Socket {
    type Rejection = Infallible;

    fn from_parts(call: &mut Call) -> Result<Self, Infallible> {
        Ok(call.socket.clone())
    }
}

impl FromParts for Server {
    type Rejection = Infallible;

    fn from_parts(call: &mut Call) -> Result<Self, Infallible> {
        Ok(call.socket.server())
    }
}

/// There is no reason: the socket was not disconnected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no reason: the socket was not disconnected")]
pub struct NoReason;

impl FromParts for DisconnectReason {
    type Rejection = NoReason;

    fn from_parts(call: &mut Call) -> Result<Self, NoReason> {
        call.reason.ok_or(NoReason)
    }

    fn needs(needs: &mut Needs) {
        needs.reason();
    }
}

impl FromParts for Option<DisconnectReason> {
    type Rejection = Infallible;

    fn from_parts(call: &mut Call) -> Result<Self, Infallible> {
        Ok(call.reason)
    }
}
