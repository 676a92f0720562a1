//! The request that opened the connection.

use std::{convert::Infallible, fmt, ops::Deref};

use super::FromParts;
use crate::{engine, handler::Call, socket::Socket};

/// The request that opened the socket's connection: `socket.handshake` in Socket.IO. [`Auth`](super::Auth) is apart.
#[derive(Clone)]
pub struct Handshake(Socket);

impl Deref for Handshake {
    type Target = engine::Handshake;

    fn deref(&self) -> &engine::Handshake {
        self.0.handshake()
    }
}

impl FromParts for Handshake {
    type Rejection = Infallible;

    fn from_parts(call: &mut Call) -> Result<Self, Infallible> {
        Ok(Self(call.socket.clone()))
    }
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
