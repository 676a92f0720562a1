//! Why a socket left its namespace: made where a connection ends or a namespace is left, shown to disconnect handlers.

use std::fmt;

use patio_proto::engine::CloseReason;

/// Why a socket was disconnected: the `reason` of Socket.IO's `disconnect` event.
///
/// `Display` gives Socket.IO's words, those that Node.js servers use. As an [extractor](crate::extract) it is for
/// disconnect handlers only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// `transport close`: the client's connection ended, or the client closed it.
    TransportClose,
    /// `transport error`: the connection failed, or the client broke a rule of the transport.
    TransportError,
    /// `ping timeout`: the client did not answer a heartbeat in time.
    PingTimeout,
    /// `parse error`: an Engine.IO packet could not be read.
    ParseError,
    /// `forced close`: the server closed the connection, also because a Socket.IO packet could not be read.
    ForcedClose,
    /// `forced server close`: the server closed the connection because of a packet that was not allowed, and the client
    /// hears of it with its next poll.
    ForcedServerClose,
    /// `server shutting down`: the whole server is closing.
    ServerShuttingDown,
    /// `client namespace disconnect`: the client called `socket.disconnect()`.
    ClientNamespaceDisconnect,
    /// `server namespace disconnect`: this server, or another one of the cluster, disconnected the socket.
    ServerNamespaceDisconnect,
    /// `slow client`: more was waiting to be sent than the client's queue may hold. Not a reason of Node.js, where that
    /// queue has no bound.
    SlowClient,
}

impl DisconnectReason {
    /// The word, as `Display` gives it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TransportClose => CloseReason::TransportClose.as_str(),
            Self::TransportError => CloseReason::TransportError.as_str(),
            Self::PingTimeout => CloseReason::PingTimeout.as_str(),
            Self::ParseError => CloseReason::ParseError.as_str(),
            Self::ForcedClose => CloseReason::ForcedClose.as_str(),
            Self::ForcedServerClose => CloseReason::ForcedServerClose.as_str(),
            Self::ServerShuttingDown => CloseReason::ServerShuttingDown.as_str(),
            Self::ClientNamespaceDisconnect => "client namespace disconnect",
            Self::ServerNamespaceDisconnect => "server namespace disconnect",
            Self::SlowClient => CloseReason::SlowClient.as_str(),
        }
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<CloseReason> for DisconnectReason {
    fn from(reason: CloseReason) -> Self {
        match reason {
            CloseReason::TransportClose => Self::TransportClose,
            CloseReason::TransportError => Self::TransportError,
            CloseReason::PingTimeout => Self::PingTimeout,
            CloseReason::ParseError => Self::ParseError,
            CloseReason::ForcedClose => Self::ForcedClose,
            CloseReason::ForcedServerClose => Self::ForcedServerClose,
            CloseReason::ServerShuttingDown => Self::ServerShuttingDown,
            CloseReason::SlowClient => Self::SlowClient,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn displays_the_words_of_socket_io() {
        let words = [
            (CloseReason::TransportClose, "transport close"),
            (CloseReason::TransportError, "transport error"),
            (CloseReason::PingTimeout, "ping timeout"),
            (CloseReason::ParseError, "parse error"),
            (CloseReason::ForcedClose, "forced close"),
            (CloseReason::ForcedServerClose, "forced server close"),
            (CloseReason::ServerShuttingDown, "server shutting down"),
        ];
        for (reason, word) in words {
            assert_eq!(DisconnectReason::from(reason).to_string(), word);
        }
        assert_eq!(DisconnectReason::ClientNamespaceDisconnect.to_string(), "client namespace disconnect");
        assert_eq!(DisconnectReason::ServerNamespaceDisconnect.to_string(), "server namespace disconnect");
        assert_eq!(DisconnectReason::SlowClient.to_string(), "slow client");
    }
}
