//! Where Redis is, and how to get in.

use std::fmt;

/// How to connect to Redis or Valkey. A URL alone will do for most: `PubSub::connect("redis://…")`.
///
/// ```
/// use patio_redis::{ConnectOptions, PubSub};
///
/// let behind_sentinels = ConnectOptions::sentinel(["10.0.0.1:26379", "10.0.0.2:26379"], "mymaster")
///     .password("secret");
/// let redis = PubSub::builder(behind_sentinels).build()?;
/// # Ok::<_, patio_redis::ConnectError>(())
/// ```
#[derive(Clone)]
pub struct ConnectOptions {
    pub(crate) server: Server,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) sentinel_password: Option<String>,
    pub(crate) tls: Tls,
    pub(crate) resp2: bool,
}

#[derive(Clone)]
pub(crate) enum Server {
    Url(String),
    Sentinel { addresses: Vec<String>, master: String },
    Cluster { urls: Vec<String> },
}

/// What TLS needs, in PEM.
#[derive(Clone, Default)]
pub(crate) struct Tls {
    /// With Sentinel, which has no URL to say so.
    pub(crate) on: bool,
    pub(crate) root_certificates: Option<Vec<u8>>,
    pub(crate) client: Option<(Vec<u8>, Vec<u8>)>,
}

impl ConnectOptions {
    /// The server at `url`: `redis://[user[:password]@]host[:port]`, `rediss://…` with TLS (feature `tls`), or
    /// `unix:///path`. The number of a database means nothing to pub/sub; streams and their
    /// sessions are in it.
    pub fn url(url: impl Into<String>) -> Self {
        Self::new(Server::Url(url.into()))
    }

    /// The master that the sentinels at these addresses (`host:port`) know as `master`. After a failover the connection is
    /// made to its successor.
    pub fn sentinel<A: Into<String>>(
        addresses: impl IntoIterator<Item = A>,
        master: impl Into<String>,
    ) -> Self {
        let addresses = addresses.into_iter().map(Into::into).collect();
        Self::new(Server::Sentinel { addresses, master: master.into() })
    }

    /// The Redis Cluster that the servers at these URLs belong to: one will do, several serve when one is away. It needs RESP3.
    ///
    /// Each of its masters is connected to. When one of these connections is lost, or a slot has moved in which something is
    /// subscribed, all are made anew, and the application is told as of any loss.
    pub fn cluster<U: Into<String>>(urls: impl IntoIterator<Item = U>) -> Self {
        Self::new(Server::Cluster { urls: urls.into_iter().map(Into::into).collect() })
    }

    fn new(server: Server) -> Self {
        Self {
            server,
            username: None,
            password: None,
            sentinel_password: None,
            tls: Tls::default(),
            resp2: false,
        }
    }

    /// The name to log in with, in place of one in the URL. Default: `default`, Redis' own.
    pub fn username(mut self, username: impl Into<String>) -> Self {
        self.username = Some(username.into());
        self
    }

    /// The password to log in with, in place of one in the URL.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// The password of the sentinels, if they have one. They are reached without TLS, and without a name.
    pub fn sentinel_password(mut self, password: impl Into<String>) -> Self {
        self.sentinel_password = Some(password.into());
        self
    }

    /// Connects with TLS to the master that sentinels know. With a URL it is `rediss://` that says so, and this is an
    /// error.
    pub fn tls(mut self) -> Self {
        self.tls.on = true;
        self
    }

    /// Certificates, in PEM, of the authorities that are trusted in place of the system's.
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.tls.root_certificates = Some(pem.into());
        self
    }

    /// The certificate and its key, in PEM, by which Redis knows this client.
    pub fn client_certificate(mut self, pem: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.tls.client = Some((pem.into(), key.into()));
        self
    }

    /// Speaks the older protocol of Redis, for servers before 6.0 and for proxies that know no other. What arrives passes
    /// one more task then, through a queue of the client library that has no bound. Not for
    /// [`Sharded`](crate::Sharded), [`StreamsBuilder::sharded_pub_sub`](crate::StreamsBuilder::sharded_pub_sub) and
    /// [`cluster`](Self::cluster): building fails.
    pub fn resp2(mut self) -> Self {
        self.resp2 = true;
        self
    }
}

/// [`ConnectOptions::url`].
impl From<&str> for ConnectOptions {
    fn from(url: &str) -> Self {
        Self::url(url)
    }
}

/// [`ConnectOptions::url`].
impl From<String> for ConnectOptions {
    fn from(url: String) -> Self {
        Self::url(url)
    }
}

/// [`ConnectOptions::url`].
impl From<&String> for ConnectOptions {
    fn from(url: &String) -> Self {
        Self::url(url)
    }
}

/// Without what must not be in a log: a URL may hold a password.
impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut options = f.debug_struct("ConnectOptions");
        if let Server::Sentinel { addresses, master } = &self.server {
            options.field("addresses", addresses).field("master", master);
        }
        options.field("resp2", &self.resp2).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_shown() {
        let options = ConnectOptions::url("redis://user:secret@host").password("secret");
        assert!(!format!("{options:?}").contains("secret"));
    }
}
