//! What a client said when it connected.

use std::{
    fmt,
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use http::request::Parts;

use crate::http::{headers::CompactHeaders, query::Query, remote_addr::Secure};

/// The request that opened a session: `socket.handshake` in Socket.IO, without `auth`, which belongs to a namespace.
///
/// It is kept for as long as the client is connected, in one small allocation for the headers and one for the URL.
pub struct Handshake {
    headers: CompactHeaders,
    url: Box<str>,
    address: Option<SocketAddr>,
    /// Milliseconds since 1970.
    issued: u64,
    secure: bool,
}

impl Handshake {
    pub(crate) fn new(parts: &Parts, address: Option<SocketAddr>) -> Self {
        let url = parts.uri.path_and_query().map_or("/", |url| url.as_str());
        let issued = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            headers: CompactHeaders::from(&parts.headers),
            url: url.into(),
            address,
            issued: u64::try_from(issued.as_millis()).unwrap_or(u64::MAX),
            secure: parts.extensions.get::<Secure>().map_or_else(
                || parts.uri.scheme() == Some(&http::uri::Scheme::HTTPS),
                |&Secure(secure)| secure,
            ),
        }
    }

    /// The address that the stream itself knows; a proxy's word that the server trusts comes first.
    pub(crate) fn set_address(&mut self, address: SocketAddr) {
        self.address.get_or_insert(address);
    }

    /// The request's headers; names are lower-case.
    pub fn headers(&self) -> &CompactHeaders {
        &self.headers
    }

    /// The request's path and query, as sent.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The decoded query, `EIO` and `transport` included.
    pub fn query(&self) -> Query {
        Query::parse(self.url.split_once('?').map_or("", |(_, query)| query))
    }

    /// The peer's address, where the server knows it: with `patio::serve`, for a WebSocket on a plain TCP
    /// stream, or where a [`RemoteAddr`](crate::RemoteAddr) was put into the request's extensions.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// When the request came.
    pub fn time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.issued)
    }

    /// When the request came, in milliseconds since 1970.
    pub fn issued(&self) -> u64 {
        self.issued
    }

    /// Whether the request came over TLS, as far as the server knows.
    pub fn secure(&self) -> bool {
        self.secure
    }

    /// Whether the request had an `Origin`.
    pub fn xdomain(&self) -> bool {
        self.headers.get("origin").is_some()
    }
}

/// Names only: values may hold secrets.
impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake")
            .field("headers", &self.headers)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}
