//! The address a request came from.
//!
//! Put into a request's extensions by whoever accepts its connection, [`crate::serve()`] or the user's own server; read
//! by the handshake (`handshake.address` in Socket.IO).

use std::net::SocketAddr;

/// The other end of the TCP connection on which a request came: the client, or the proxy nearest to this server.
///
/// `patio::serve` puts it into the [extensions](http::Request::extensions) of each request. Servers with an
/// accept loop of their own may do the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RemoteAddr(pub SocketAddr);

/// Whether a request came over TLS, for `handshake.secure()`: an accept loop that speaks TLS, or a middleware that knows
/// what a trusted proxy says, puts it into the extensions of each request. Without it the scheme of the request's URL
/// counts, which HTTP/1 does not send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Secure(pub bool);
