//! The connection under a socket.

use std::sync::Arc;

use patio_proto::engine::{CloseReason, Protocol, Transport};

use crate::{connection::Connection, engine::session::Session};

/// The connection under a socket: `socket.conn` in Socket.IO.
pub struct Conn<'a>(pub(super) &'a Arc<Session<Connection>>);

impl Conn<'_> {
    /// The Engine.IO session id. It is secret: whoever knows it can take part in the session.
    pub fn id(&self) -> &str {
        self.0.sid()
    }

    /// The revision of Engine.IO: 3 for clients 1.x and 2.x, 4 for clients 3.x and 4.x.
    pub fn protocol(&self) -> Protocol {
        self.0.protocol()
    }

    /// How packets travel at this moment; it changes from polling to WebSocket by an upgrade.
    pub fn transport(&self) -> Transport {
        self.0.transport()
    }

    /// The peer's address, where the server knows it.
    pub fn remote_address(&self) -> Option<std::net::SocketAddr> {
        self.0.handshake.address()
    }

    /// Closes the connection without a word to the namespaces' clients, who come back by themselves.
    pub fn close(&self) {
        self.0.close(CloseReason::ForcedClose);
    }
}
