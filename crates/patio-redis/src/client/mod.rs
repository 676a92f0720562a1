//! Redis as this crate needs it: for each server one connection to publish and ask, one that subscribes, and for
//! streams one that reads, and one for histories; of a cluster, to
//! each of its masters. The only folder that names the client library.

mod nodes;

use std::{collections::HashSet, error::Error, slice, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_core::future::BoxFuture;
use futures_util::{StreamExt, future::try_join_all};
use patio_adapter::AdapterError;
use redis::{
    AsyncConnectionConfig, Cmd, ConnectionAddr, ErrorKind, IntoConnectionInfo, Msg, ProtocolVersion,
    PushInfo, PushKind, RedisError, RedisResult, ServerErrorKind, Value,
    aio::{MultiplexedConnection, PubSubSink, SendError},
    io::tcp::TcpSettings,
    sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType},
};
use tokio::{sync::Mutex, task::JoinHandle, time::timeout};

use self::nodes::{Another, Nodes};
use crate::connect::{ConnectOptions, Server, Tls};

/// How long making a connection, or an answer to a command, may take. A server that stalls for less loses nothing.
const PATIENCE: Duration = Duration::from_secs(5);

/// There is no connection to Redis, or none that will do.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct ConnectError {
    what: &'static str,
    #[source]
    source: Box<dyn Error + Send + Sync>,
}

const INVALID: &str = "these are no options to connect with";

impl ConnectError {
    /// True when the options can never work. Otherwise Redis may be there at another time.
    pub fn is_invalid_options(&self) -> bool {
        self.what == INVALID
    }

    /// These options can never work, because of `what`.
    pub(crate) fn invalid(what: &'static str) -> Self {
        Self { what: INVALID, source: what.into() }
    }

    /// The server cannot do what is needed.
    pub(crate) fn unable(what: &'static str) -> impl FnOnce(CommandError) -> Self {
        move |error| Self::new(what)(error.0)
    }

    fn new(what: &'static str) -> impl FnOnce(RedisError) -> Self {
        move |source| Self { what, source: source.into() }
    }
}

/// A command failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct CommandError(#[from] RedisError);

impl CommandError {
    /// Whether connections must be made anew. Otherwise the server refused this one command.
    pub(crate) fn is_fatal(&self) -> bool {
        // Which server of a cluster has which slot is found out anew with each connection.
        nodes::has_moved(&self.0) || self.is_lost()
    }

    /// Whether this connection is of no more use.
    pub(crate) fn is_lost(&self) -> bool {
        let Self(error) = self;
        // A new connection leads to the new master, or waits for this one.
        let refused = match error.kind() {
            // A master no more, and maybe without its data yet.
            ErrorKind::Server(
                ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown | ServerErrorKind::BusyLoading,
            ) => true,
            // It does not know who this is; it has become a replica while a command waited.
            _ => matches!(error.code(), Some("NOAUTH" | "UNBLOCKED")),
        };
        refused || error.is_unrecoverable_error() || error.is_io_error() || error.is_timeout()
    }

    /// Whether there was no answer in time.
    pub(crate) fn is_timeout(&self) -> bool {
        self.0.is_timeout()
    }
}

impl From<CommandError> for AdapterError {
    fn from(error: CommandError) -> Self {
        if error.0.is_timeout() { Self::timeout() } else { Self::failed("a command to Redis", error) }
    }
}

/// Who hears what arrives at a subscriber. Called in the task that reads the connection: it must not block.
pub(crate) trait Receive: Send + Sync + 'static {
    /// A message on `channel`, to which `subscription` led.
    fn message(&self, subscription: Subscription<'_>, channel: &[u8], payload: Bytes);

    /// Nothing more comes.
    fn lost(&self);
}

/// What can be subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A channel, by its name.
    Channel,
    /// All channels whose names fit a pattern.
    Pattern,
    /// A channel of sharded pub/sub, which is another one than that of the same name.
    Shard,
}

/// A channel, or a pattern for names of channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subscription<'a> {
    pub(crate) kind: Kind,
    pub(crate) name: &'a [u8],
}

impl<'a> Subscription<'a> {
    pub(crate) const fn channel(name: &'a [u8]) -> Self {
        Self { kind: Kind::Channel, name }
    }

    pub(crate) const fn pattern(name: &'a [u8]) -> Self {
        Self { kind: Kind::Pattern, name }
    }

    pub(crate) const fn shard(name: &'a [u8]) -> Self {
        Self { kind: Kind::Shard, name }
    }
}

/// Something for Redis to hand on or to keep.
#[derive(Clone, Debug)]
pub(crate) enum Post {
    Publish {
        channel: Bytes,
        payload: Bytes,
    },
    ShardPublish {
        channel: Bytes,
        payload: Bytes,
    },
    /// An entry at the end of a stream, which is cut to about `max_len` entries.
    Append {
        stream: Bytes,
        max_len: usize,
        fields: Vec<(&'static str, Bytes)>,
    },
    /// A value that is kept for some time.
    Keep {
        key: Bytes,
        value: Bytes,
        time: Duration,
    },
}

impl Post {
    /// In bytes.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Publish { channel, payload } | Self::ShardPublish { channel, payload } => {
                channel.len() + payload.len()
            }
            Self::Append { stream, fields, .. } => {
                stream.len() + fields.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
            }
            Self::Keep { key, value, .. } => key.len() + value.len(),
        }
    }

    /// By what a cluster decides who takes it. `None`: any server does.
    fn key(&self) -> Option<&[u8]> {
        match self {
            Self::Publish { .. } => None,
            Self::ShardPublish { channel: key, .. }
            | Self::Append { stream: key, .. }
            | Self::Keep { key, .. } => Some(key),
        }
    }

    fn add_to(&self, pipeline: &mut redis::Pipeline) {
        // With room for all of it, the names and numbers of commands included: not grown argument by argument.
        let mut command = Cmd::with_capacity(16, self.size() + 64);
        match self {
            Self::Publish { channel, payload } => command.arg("PUBLISH").arg(&channel[..]).arg(&payload[..]),
            Self::ShardPublish { channel, payload } => {
                command.arg("SPUBLISH").arg(&channel[..]).arg(&payload[..])
            }
            Self::Append { stream, max_len, fields } => {
                command.arg("XADD").arg(&stream[..]).arg("MAXLEN").arg("~").arg(*max_len).arg("*");
                fields.iter().fold(&mut command, |command, (name, value)| command.arg(*name).arg(&value[..]))
            }
            Self::Keep { key, value, time } => {
                let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
                command.arg("SET").arg(&key[..]).arg(&value[..]).arg("PX").arg(millis)
            }
        };
        pipeline.add_command(command);
    }
}

/// An entry of a stream, with its fields in their order.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) fields: Vec<(Bytes, Bytes)>,
}

impl Entry {
    pub(crate) fn field(&self, name: &str) -> Option<&Bytes> {
        self.fields.iter().find(|(field, _)| field == name.as_bytes()).map(|(_, value)| value)
    }

    /// In bytes.
    pub(crate) fn size(&self) -> usize {
        self.id.len() + self.fields.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
    }
}

/// Makes connections to a server of Redis.
pub(crate) struct Client {
    source: Source,
    resp2: bool,
}

/// How the server is found.
enum Source {
    Known(redis::Client),
    /// Locked while the sentinels are asked.
    Sentinel(Mutex<SentinelClient>),
    /// Some servers of a cluster.
    Cluster(Vec<redis::Client>),
}

impl Client {
    pub(crate) fn new(options: &ConnectOptions) -> Result<Self, ConnectError> {
        check(options).map_err(ConnectError::invalid)?;
        Ok(Self { source: source(options).map_err(ConnectError::new(INVALID))?, resp2: options.resp2 })
    }

    /// Makes both connections, to the same server; of a cluster, to each master. One that has no data yet, since it loads
    /// them or waits for its master, is not there yet.
    pub(crate) async fn connect(&self, receive: Arc<dyn Receive>) -> Result<Connections, ConnectError> {
        self.in_time(async {
            if let Source::Cluster(seeds) = &self.source {
                let subscriber = Subscriber::of_cluster(seeds, receive).await?;
                let publisher = Publisher::of_cluster(seeds).await?;
                publisher.ping().await.map_err(|error| error.0)?;
                return Ok(Connections { publisher, subscriber });
            }
            let client = self.client().await?;
            let subscriber = match self.resp2 {
                false => Subscriber::pushed(&client, receive).await?,
                true => Subscriber::streamed(&client, receive).await?,
            };
            let publisher = Publisher::of(&client).await?;
            publisher.ping().await.map_err(|error| error.0)?;
            Ok(Connections { publisher, subscriber })
        })
        .await
    }

    /// Whether the server is a replica, to which nothing can be written, as far as it can be known: not by RESP2, which is
    /// for servers and proxies that do not know the question.
    pub(crate) async fn is_replica(&self, publisher: &Publisher) -> Result<bool, CommandError> {
        let Target::Server(connection) = &publisher.0 else { return Ok(false) };
        if self.resp2 {
            return Ok(false);
        }
        let said = redis::cmd("HELLO").query_async(&mut connection.clone()).await?;
        let is_role = |(name, _): &(Value, Value)| bytes(name.clone()) == "role";
        let role = pairs(said).into_iter().find(is_role).map(|(_, role)| bytes(role));
        Ok(role.is_some_and(|role| role == "replica" || role == "slave"))
    }

    /// Makes only the one that publishes.
    pub(crate) async fn publisher(&self) -> Result<Publisher, ConnectError> {
        self.in_time(async {
            match &self.source {
                Source::Cluster(seeds) => Publisher::of_cluster(seeds).await,
                _ => Publisher::of(&self.client().await?).await,
            }
        })
        .await
    }

    /// Makes connections that wait at these streams: one for all, in a cluster one for each. A wait may take `patience`,
    /// and an answer some time more.
    pub(crate) async fn stream_readers(
        &self,
        streams: &[Bytes],
        patience: Duration,
    ) -> Result<Vec<(StreamReader, Vec<Bytes>)>, ConnectError> {
        let config = config().set_response_timeout(Some(patience + PATIENCE));
        self.in_time(async {
            if let Source::Cluster(seeds) = &self.source {
                // One command takes only streams of one slot.
                let nodes = Nodes::connect(seeds.clone(), crate::client::config()).await?;
                let each = streams.iter().map(async |stream| {
                    let another = nodes.another(stream, &config).await?;
                    RedisResult::Ok((StreamReader::Cluster(Box::new(another)), vec![stream.clone()]))
                });
                return try_join_all(each).await;
            }
            let connection =
                self.client().await?.get_multiplexed_async_connection_with_config(&config).await?;
            Ok(vec![(StreamReader::Server(connection), streams.to_vec())])
        })
        .await
    }

    /// Whether the server still answers. One that was a master, and `was_replica` is not true, must be one still: a replica
    /// takes what is published too, but only its own subscribers hear of it.
    pub(crate) async fn stays(&self, publisher: &Publisher, was_replica: bool) -> Result<(), CommandError> {
        publisher.ping().await?;
        match !was_replica && self.is_replica(publisher).await? {
            true => Err(RedisError::from((ErrorKind::Io, "the server has become a replica")).into()),
            false => Ok(()),
        }
    }

    async fn client(&self) -> RedisResult<redis::Client> {
        match &self.source {
            Source::Known(client) => Ok(client.clone()),
            Source::Sentinel(sentinels) => sentinels.lock().await.async_get_client().await,
            Source::Cluster(_) => Err((ErrorKind::InvalidClientConfig, "a cluster is no one server").into()),
        }
    }

    async fn in_time<T>(
        &self,
        connecting: impl Future<Output = RedisResult<T>> + Send,
    ) -> Result<T, ConnectError> {
        // Boxed: the library's futures are so deeply nested that those of users would be too deep for the compiler.
        let connecting: BoxFuture<'_, RedisResult<T>> = Box::pin(connecting);
        let connected = timeout(PATIENCE, connecting).await;
        let connected =
            connected.unwrap_or_else(|_| Err((ErrorKind::Io, "it did not answer in time").into()));
        connected.map_err(|error| {
            let what = match error.kind() {
                ErrorKind::RESP3NotSupported => {
                    "Redis does not speak RESP3, as 6.0 and newer do: choose RESP2"
                }
                _ => "cannot connect to Redis",
            };
            ConnectError::new(what)(error)
        })
    }
}

/// Refuses what would be ignored otherwise: a password in clear where somebody asked for TLS.
fn check(options: &ConnectOptions) -> Result<(), &'static str> {
    let Tls { on, root_certificates, client } = &options.tls;
    let is_encrypted = match &options.server {
        Server::Url(url) => url.starts_with("rediss://"),
        Server::Sentinel { .. } => *on,
        Server::Cluster { urls } => urls.iter().all(|url| url.starts_with("rediss://")),
    };
    match &options.server {
        Server::Cluster { .. } if options.resp2 => Err("a cluster needs RESP3"),
        Server::Cluster { .. } if *on && !is_encrypted => Err("with a URL, TLS is chosen by rediss://"),
        Server::Cluster { .. } if options.sentinel_password.is_some() => Err("there are no sentinels"),
        Server::Url(_) if *on && !is_encrypted => Err("with a URL, TLS is chosen by rediss://"),
        Server::Url(_) if options.sentinel_password.is_some() => Err("there are no sentinels"),
        _ if !is_encrypted && (root_certificates.is_some() || client.is_some()) => {
            Err("certificates are for TLS")
        }
        _ => Ok(()),
    }
}

fn protocol(options: &ConnectOptions) -> ProtocolVersion {
    if options.resp2 { ProtocolVersion::RESP2 } else { ProtocolVersion::RESP3 }
}

fn tcp() -> TcpSettings {
    TcpSettings::default().set_nodelay(true)
}

/// The server at a URL.
fn known(url: &str, options: &ConnectOptions) -> RedisResult<redis::Client> {
    let info = url.into_connection_info()?;
    // One command less, and one right less.
    let mut settings = info.redis_settings().clone().set_protocol(protocol(options)).set_skip_set_lib_name();
    if let Some(username) = &options.username {
        settings = settings.set_username(username);
    }
    if let Some(password) = &options.password {
        settings = settings.set_password(password);
    }
    open(info.set_redis_settings(settings).set_tcp_settings(tcp()), options)
}

fn source(options: &ConnectOptions) -> RedisResult<Source> {
    let ConnectOptions { username, password, .. } = options;
    match &options.server {
        Server::Url(url) => known(url, options).map(Source::Known),
        Server::Cluster { urls } => {
            urls.iter().map(|url| known(url, options)).collect::<RedisResult<_>>().map(Source::Cluster)
        }
        Server::Sentinel { addresses, master } => {
            let addresses =
                addresses.iter().map(|address| sentinel(address)).collect::<RedisResult<Vec<_>>>()?;
            let mut builder = SentinelClientBuilder::new(addresses, master, SentinelServerType::Master)?
                .set_client_to_redis_protocol(protocol(options))
                .set_client_to_redis_tcp_settings(tcp());
            if let Some(username) = username {
                builder = builder.set_client_to_redis_username(username);
            }
            if let Some(password) = password {
                builder = builder.set_client_to_redis_password(password);
            }
            if let Some(password) = &options.sentinel_password {
                builder = builder.set_client_to_sentinel_password(password);
            }
            Ok(Source::Sentinel(Mutex::new(encrypted(builder, options)?.build()?)))
        }
    }
}

fn sentinel(address: &str) -> RedisResult<ConnectionAddr> {
    let parts = address.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    let (host, port) = parts.ok_or((ErrorKind::InvalidClientConfig, "a sentinel's address is host:port"))?;
    Ok(ConnectionAddr::Tcp(host.to_owned(), port))
}

#[cfg(feature = "tls")]
fn open(info: redis::ConnectionInfo, options: &ConnectOptions) -> RedisResult<redis::Client> {
    match info.addr() {
        ConnectionAddr::TcpTls { .. } => {
            choose_crypto();
            redis::Client::build_with_tls(info, certificates(options))
        }
        _ => redis::Client::open(info),
    }
}

#[cfg(feature = "tls")]
fn encrypted(builder: SentinelClientBuilder, options: &ConnectOptions) -> RedisResult<SentinelClientBuilder> {
    if !options.tls.on {
        return Ok(builder);
    }
    choose_crypto();
    Ok(builder
        .set_client_to_redis_tls_mode(redis::TlsMode::Secure)
        .set_client_to_redis_certificates(certificates(options)))
}

#[cfg(feature = "tls")]
fn certificates(options: &ConnectOptions) -> redis::TlsCertificates {
    let client = options.tls.client.clone();
    redis::TlsCertificates {
        client_tls: client
            .map(|(client_cert, client_key)| redis::ClientTlsConfig { client_cert, client_key }),
        root_cert: options.tls.root_certificates.clone(),
    }
}

/// The client library takes the process' own cryptography. Where there is none yet, it is ring.
#[cfg(feature = "tls")]
fn choose_crypto() {
    // An error says that somebody was faster, whose choice is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

#[cfg(not(feature = "tls"))]
fn open(info: redis::ConnectionInfo, _options: &ConnectOptions) -> RedisResult<redis::Client> {
    redis::Client::open(info)
}

#[cfg(not(feature = "tls"))]
fn encrypted(builder: SentinelClientBuilder, options: &ConnectOptions) -> RedisResult<SentinelClientBuilder> {
    match options.tls.on {
        true => Err((ErrorKind::InvalidClientConfig, "TLS needs the feature `tls`").into()),
        false => Ok(builder),
    }
}

fn config() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(PATIENCE))
}

/// The two connections of a server. Dropping them closes them.
pub(crate) struct Connections {
    pub(crate) publisher: Publisher,
    pub(crate) subscriber: Subscriber,
}

/// Publishes and asks. Clones share the connection.
#[derive(Clone)]
pub(crate) struct Publisher(Target);

#[derive(Clone)]
enum Target {
    Server(MultiplexedConnection),
    Cluster(Arc<Nodes>),
}

impl Publisher {
    async fn of(client: &redis::Client) -> RedisResult<Self> {
        let connection = client.get_multiplexed_async_connection_with_config(&config()).await?;
        Ok(Self(Target::Server(connection)))
    }

    async fn of_cluster(seeds: &[redis::Client]) -> RedisResult<Self> {
        let nodes = Nodes::connect(seeds.to_vec(), config()).await?;
        Ok(Self(Target::Cluster(Arc::new(nodes))))
    }

    /// What who has this key answers to these commands.
    async fn query(
        &self,
        key: &[u8],
        mut commands: redis::Pipeline,
    ) -> Result<Vec<RedisResult<Value>>, CommandError> {
        commands.ignore_errors();
        Ok(match &self.0 {
            Target::Server(connection) => commands.query_async(&mut connection.clone()).await?,
            Target::Cluster(nodes) => nodes.query(key, &commands).await?,
        })
    }

    /// Sets a value for a time; with `if_absent` only if there is none. False: there was one.
    pub(crate) async fn keep(
        &self,
        key: &str,
        value: &[u8],
        time: Duration,
        if_absent: bool,
    ) -> Result<bool, CommandError> {
        let mut command = redis::cmd("SET");
        command.arg(key).arg(value);
        if if_absent {
            command.arg("NX");
        }
        command.arg("PX").arg(u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1));
        Ok(self.query_one(key.as_bytes(), command).await? != Value::Nil)
    }

    /// The answer to one command.
    async fn query_one(&self, key: &[u8], command: Cmd) -> Result<Value, CommandError> {
        let mut commands = redis::pipe();
        commands.add_command(command);
        let answer = self.query(key, commands).await?.pop();
        Ok(answer.unwrap_or_else(|| Err((ErrorKind::UnexpectedReturnType, "there is no answer").into()))?)
    }

    /// The connection to who has this key.
    fn connection(&self, key: &[u8]) -> RedisResult<MultiplexedConnection> {
        match &self.0 {
            Target::Server(connection) => Ok(connection.clone()),
            Target::Cluster(nodes) => nodes.of(key),
        }
    }

    fn connections(&self) -> Vec<MultiplexedConnection> {
        match &self.0 {
            Target::Server(connection) => vec![connection.clone()],
            Target::Cluster(nodes) => nodes.all(),
        }
    }

    /// Hands them over in this order, in one go. What became of each; an error if nobody knows.
    pub(crate) async fn publish<'a>(
        &self,
        posts: impl Iterator<Item = &'a Post>,
    ) -> Result<Vec<Result<(), CommandError>>, CommandError> {
        // Boxed as in `Client::in_time`, once for many messages.
        type Each<'a> = BoxFuture<'a, RedisResult<Vec<RedisResult<Value>>>>;
        let published = match &self.0 {
            Target::Server(connection) => {
                let mut pipeline = redis::pipe();
                pipeline.ignore_errors();
                posts.for_each(|post| post.add_to(&mut pipeline));
                let mut connection = connection.clone();
                let published: Each<'_> =
                    Box::pin(async move { pipeline.query_async(&mut connection).await });
                published.await
            }
            Target::Cluster(nodes) => {
                let posts: Vec<_> = posts.collect();
                let published: Each<'_> = Box::pin(nodes.publish(&posts));
                published.await
            }
        };
        Ok(published?.into_iter().map(|one| one.map(drop).map_err(CommandError)).collect())
    }

    /// How many connections subscribe to each of these channels by its name.
    pub(crate) async fn subscribers<const N: usize>(
        &self,
        channels: [&[u8]; N],
    ) -> Result<[usize; N], CommandError> {
        // Each server of a cluster knows only its own.
        let each = self.connections().into_iter().map(|connection| count(connection, "NUMSUB", &channels));
        let each = try_join_all(each).await?;
        Ok(std::array::from_fn(|n| each.iter().map(|counts| counts[n]).sum()))
    }

    /// As [`subscribers`](Self::subscribers), to channels of sharded pub/sub.
    pub(crate) async fn shard_subscribers<const N: usize>(
        &self,
        channels: [&[u8]; N],
    ) -> Result<[usize; N], CommandError> {
        let each = channels.map(|channel| async move {
            let counts = count(self.connection(channel)?, "SHARDNUMSUB", &[channel]).await?;
            RedisResult::Ok(counts[0])
        });
        let each = try_join_all(each).await?;
        Ok(std::array::from_fn(|n| each[n]))
    }

    pub(crate) async fn ping(&self) -> Result<(), CommandError> {
        ping(self.connections()).await
    }

    /// The entries of a stream from `start` to `end`, both included, at most so many.
    pub(crate) async fn range(
        &self,
        stream: &[u8],
        start: &str,
        end: &str,
        most: usize,
    ) -> Result<Vec<Entry>, CommandError> {
        let mut command = redis::cmd("XRANGE");
        command.arg(stream).arg(start).arg(end).arg("COUNT").arg(most);
        Ok(entries(self.query_one(stream, command).await?))
    }

    /// The last entry of a stream.
    pub(crate) async fn last(&self, stream: &[u8]) -> Result<Option<Entry>, CommandError> {
        let mut command = redis::cmd("XREVRANGE");
        command.arg(stream).arg("+").arg("-").arg("COUNT").arg(1);
        Ok(entries(self.query_one(stream, command).await?).pop())
    }

    /// A value that is kept.
    pub(crate) async fn kept(&self, key: &str) -> Result<Option<Vec<u8>>, CommandError> {
        let mut command = redis::cmd("GET");
        command.arg(key);
        Ok(value(self.query_one(key.as_bytes(), command).await?)?)
    }

    /// Takes a value that was kept: whoever comes next finds none.
    pub(crate) async fn take(&self, key: &str) -> Result<Option<Vec<u8>>, CommandError> {
        // Not the library's transaction: while a slot is on its way, ASKING must come before it.
        let mut transaction = redis::pipe();
        transaction.cmd("MULTI").cmd("GET").arg(key).cmd("DEL").arg(key).cmd("EXEC");
        let answers = self.query(key.as_bytes(), transaction).await?;
        // The first error says why, the last only that there was one.
        match answers.into_iter().collect::<RedisResult<Vec<_>>>()?.pop() {
            Some(Value::Array(answers)) => Ok(answers.into_iter().next().map_or(Ok(None), value)?),
            _ => Ok(None),
        }
    }
}

fn value(answer: Value) -> RedisResult<Option<Vec<u8>>> {
    Ok(redis::from_redis_value(answer)?)
}

/// How many connections subscribe to each of these channels on one server.
async fn count(
    mut connection: MultiplexedConnection,
    what: &str,
    channels: &[&[u8]],
) -> RedisResult<Vec<usize>> {
    let mut command = redis::cmd("PUBSUB");
    command.arg(what).arg(channels);
    let counts: Vec<(Vec<u8>, usize)> = command.query_async(&mut connection).await?;
    let count = |channel: &&[u8]| counts.iter().find(|(name, _)| name == channel).map_or(0, |(_, n)| *n);
    Ok(channels.iter().map(count).collect())
}

async fn ping(connections: Vec<MultiplexedConnection>) -> Result<(), CommandError> {
    let each = connections
        .into_iter()
        .map(async |mut connection| redis::cmd("PING").exec_async(&mut connection).await);
    try_join_all(each).await?;
    Ok(())
}

/// Waits for what is appended to streams.
pub(crate) enum StreamReader {
    Server(MultiplexedConnection),
    /// To one stream.
    Cluster(Box<Another>),
}

impl StreamReader {
    /// The entries after these ids, at most `most` of each stream; waits up to `patience` for the first, if it is told to
    /// wait. In the order of their stream.
    pub(crate) async fn read(
        &self,
        after: &[(Bytes, String)],
        most: usize,
        patience: Option<Duration>,
    ) -> Result<Vec<(Bytes, Vec<Entry>)>, CommandError> {
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(most);
        if let Some(patience) = patience {
            command.arg("BLOCK").arg(u64::try_from(patience.as_millis()).unwrap_or(u64::MAX));
        }
        command.arg("STREAMS");
        after.iter().for_each(|(stream, _)| _ = command.arg(&stream[..]));
        after.iter().for_each(|(_, id)| _ = command.arg(id));
        let answer: Value = match self {
            Self::Server(connection) => command.query_async(&mut connection.clone()).await?,
            Self::Cluster(another) => another.query(&command).await?,
        };
        Ok(pairs(answer).into_iter().map(|(stream, read)| (bytes(stream), entries(read))).collect())
    }
}

/// The elements of an answer that is a map: as such in RESP3, as pairs or one after the other in RESP2.
fn pairs(value: Value) -> Vec<(Value, Value)> {
    match value {
        Value::Map(pairs) => pairs,
        Value::Array(values)
            if values.iter().all(|value| matches!(value, Value::Array(pair) if pair.len() == 2)) =>
        {
            values.into_iter().flat_map(pairs).collect()
        }
        Value::Array(values) => {
            let mut values = values.into_iter();
            std::iter::from_fn(|| Some((values.next()?, values.next()?))).collect()
        }
        _ => Vec::new(),
    }
}

/// The entries that a command about a stream answers with: `[id, [field, value, …]]`.
fn entries(value: Value) -> Vec<Entry> {
    let Value::Array(values) = value else { return Vec::new() };
    let entry = |value| {
        let (id, fields) = pairs(Value::Array(vec![value])).pop()?;
        // Fields of an entry that was deleted are nil.
        let fields = match fields {
            Value::Array(fields) => {
                let mut fields = fields.into_iter().map(bytes);
                std::iter::from_fn(|| Some((fields.next()?, fields.next()?))).collect()
            }
            _ => Vec::new(),
        };
        Some(Entry { id: String::from_utf8_lossy(&bytes(id)).into_owned(), fields })
    };
    values.into_iter().filter_map(entry).collect()
}

fn bytes(value: Value) -> Bytes {
    match value {
        Value::BulkString(bytes) => bytes.into(),
        Value::SimpleString(text) => text.into(),
        _ => Bytes::new(),
    }
}

/// Holds subscriptions. What they bring goes to its [`Receive`].
pub(crate) struct Subscriber(Feed);

/// How messages come.
enum Feed {
    /// RESP3: messages are handed over where they are read.
    Pushed(MultiplexedConnection),
    /// The same from each master of a cluster.
    Cluster {
        nodes: Box<Nodes>,
        /// What is being unsubscribed: what else is unsubscribed has moved to another server.
        leaving: Arc<parking_lot::Mutex<HashSet<Vec<u8>>>>,
    },
    /// RESP2: a connection that knows only subscriptions.
    Streamed { sink: Mutex<PubSubSink>, reader: JoinHandle<()> },
}

impl Subscriber {
    async fn pushed(client: &redis::Client, receive: Arc<dyn Receive>) -> RedisResult<Self> {
        let config = config().set_push_sender(move |push: PushInfo| {
            hand_on(&*receive, push);
            // An error would be no way to say anything: the library goes on as before.
            Ok::<_, SendError>(())
        });
        client.get_multiplexed_async_connection_with_config(&config).await.map(Feed::Pushed).map(Self)
    }

    async fn of_cluster(seeds: &[redis::Client], receive: Arc<dyn Receive>) -> RedisResult<Self> {
        let leaving = Arc::<parking_lot::Mutex<HashSet<Vec<u8>>>>::default();
        let expected = leaving.clone();
        let config = config().set_push_sender(move |push: PushInfo| {
            if let (PushKind::SUnsubscribe, Some(Value::BulkString(name))) = (&push.kind, push.data.first())
                && !expected.lock().remove(name)
            {
                receive.lost();
            }
            hand_on(&*receive, push);
            Ok::<_, SendError>(())
        });
        let nodes = Nodes::connect(seeds.to_vec(), config).await?;
        Ok(Self(Feed::Cluster { nodes: Box::new(nodes), leaving }))
    }

    async fn streamed(client: &redis::Client, receive: Arc<dyn Receive>) -> RedisResult<Self> {
        let (sink, mut messages) = client.get_async_pubsub().await?.split();
        let reader = tokio::spawn(async move {
            while let Some(message) = messages.next().await {
                hand_on_message(&*receive, &message);
            }
            receive.lost();
        });
        Ok(Self(Feed::Streamed { sink: Mutex::new(sink), reader }))
    }

    /// Subscribes, and waits until the server has confirmed it.
    pub(crate) async fn subscribe(&self, kind: Kind, names: &[Vec<u8>]) -> Result<(), CommandError> {
        match &self.0 {
            Feed::Pushed(connection) => change(connection.clone(), "", kind, names).await?,
            Feed::Cluster { nodes, .. } if kind == Kind::Shard => {
                change_shards(nodes, "", names).await?;
            }
            Feed::Cluster { nodes, .. } => change(nodes.any(), "", kind, names).await?,
            Feed::Streamed { sink, .. } => {
                let mut sink = sink.lock().await;
                confirmed(async {
                    match kind {
                        Kind::Channel => sink.subscribe(names).await,
                        Kind::Pattern => sink.psubscribe(names).await,
                        Kind::Shard => Err(no_shards()),
                    }
                })
                .await?;
            }
        }
        Ok(())
    }

    /// Unsubscribes, and waits until the server has confirmed it.
    pub(crate) async fn unsubscribe(&self, kind: Kind, names: &[Vec<u8>]) -> Result<(), CommandError> {
        match &self.0 {
            Feed::Pushed(connection) => change(connection.clone(), "UN", kind, names).await?,
            Feed::Cluster { nodes, leaving } if kind == Kind::Shard => {
                leaving.lock().extend(names.iter().cloned());
                change_shards(nodes, "UN", names).await?;
            }
            Feed::Cluster { nodes, .. } => change(nodes.any(), "UN", kind, names).await?,
            Feed::Streamed { sink, .. } => {
                let mut sink = sink.lock().await;
                confirmed(async {
                    match kind {
                        Kind::Channel => sink.unsubscribe(names).await,
                        Kind::Pattern => sink.punsubscribe(names).await,
                        Kind::Shard => Err(no_shards()),
                    }
                })
                .await?;
            }
        }
        Ok(())
    }

    pub(crate) async fn ping(&self) -> Result<(), CommandError> {
        match &self.0 {
            Feed::Pushed(connection) => ping(vec![connection.clone()]).await,
            Feed::Cluster { nodes, .. } => ping(nodes.all()).await,
            Feed::Streamed { sink, .. } => {
                let answered = timeout(PATIENCE, async { sink.lock().await.ping::<Value>().await }).await;
                let late = |_| RedisError::from((ErrorKind::Io, "no answer to a ping"));
                Ok(answered.map_err(late)?.map(drop)?)
            }
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        if let Self::Streamed { reader, .. } = self {
            reader.abort();
        }
    }
}

/// A change of subscriptions over RESP3: `SUBSCRIBE`, or with `UN` in it.
async fn change(
    mut connection: MultiplexedConnection,
    un: &str,
    kind: Kind,
    names: &[Vec<u8>],
) -> RedisResult<()> {
    let prefix = match kind {
        Kind::Channel => "",
        Kind::Pattern => "P",
        Kind::Shard => "S",
    };
    redis::cmd(&format!("{prefix}{un}SUBSCRIBE")).arg(names).exec_async(&mut connection).await
}

/// The same in a cluster, where each name may be on another server, and one command takes only names of one slot.
async fn change_shards(nodes: &Nodes, un: &str, names: &[Vec<u8>]) -> RedisResult<()> {
    let each =
        names.iter().map(async |name| change(nodes.of(name)?, un, Kind::Shard, slice::from_ref(name)).await);
    try_join_all(each).await.map(drop)
}

/// A change of subscriptions over RESP2, whose library waits without end.
async fn confirmed(change: impl Future<Output = RedisResult<()>>) -> RedisResult<()> {
    let late = |_| Err((ErrorKind::Io, "no answer to a subscription").into());
    timeout(PATIENCE, change).await.unwrap_or_else(late)
}

fn no_shards() -> RedisError {
    (ErrorKind::InvalidClientConfig, "sharded pub/sub needs RESP3").into()
}

fn hand_on(receive: &dyn Receive, PushInfo { kind, data }: PushInfo) {
    let mut parts = data.into_iter().map(|part| match part {
        Value::BulkString(bytes) => bytes,
        Value::SimpleString(text) => text.into_bytes(),
        _ => Vec::new(),
    });
    let mut next = || parts.next().unwrap_or_default();
    match kind {
        PushKind::Message => {
            let (channel, payload) = (next(), next());
            receive.message(Subscription::channel(&channel), &channel, payload.into());
        }
        PushKind::PMessage => {
            let (pattern, channel, payload) = (next(), next(), next());
            receive.message(Subscription::pattern(&pattern), &channel, payload.into());
        }
        PushKind::SMessage => {
            let (channel, payload) = (next(), next());
            receive.message(Subscription::shard(&channel), &channel, payload.into());
        }
        PushKind::Disconnection => receive.lost(),
        _ => {}
    }
}

fn hand_on_message(receive: &dyn Receive, message: &Msg) {
    let channel: Vec<u8> = message.get_channel().unwrap_or_default();
    let payload = Bytes::copy_from_slice(message.get_payload_bytes());
    match message.get_pattern::<Option<Vec<u8>>>() {
        Ok(Some(pattern)) => receive.message(Subscription::pattern(&pattern), &channel, payload),
        _ => receive.message(Subscription::channel(&channel), &channel, payload),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_not_the_one_that_is_needed_is_left() {
        let error = |line: &str| {
            let answer = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
            CommandError(answer.extract_error().unwrap_err())
        };
        for lost in [
            "READONLY You can't write against a read only replica.",
            "LOADING Redis is loading the dataset in memory",
            "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
            "NOAUTH Authentication required.",
            "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
        ] {
            assert!(error(lost).is_lost() && error(lost).is_fatal(), "{lost}");
        }
        for moved in ["MOVED 1 127.0.0.1:1", "CLUSTERDOWN Hash slot not served"] {
            assert!(!error(moved).is_lost() && error(moved).is_fatal(), "{moved}");
        }
        for refused in [
            "ERR syntax error",
            "WRONGTYPE Operation against a key holding the wrong kind of value",
            "NOPERM No permissions to access a key",
            "OOM command not allowed when used memory > 'maxmemory'.",
            "MISCONF Redis is configured to save RDB snapshots",
            "NOREPLICAS Not enough good replicas to write.",
            "TRYAGAIN Multiple keys request during rehashing of slot",
            "ASK 1 127.0.0.1:1",
        ] {
            assert!(!error(refused).is_fatal(), "{refused}");
        }
    }

    #[test]
    fn what_would_be_ignored_is_refused() {
        let url = |url: &str| ConnectOptions::url(url);
        let sentinels = || ConnectOptions::sentinel(["127.0.0.1:1"], "master");
        for wrong in [
            url("redis://localhost").tls(),
            url("redis://localhost").root_certificates("pem"),
            url("redis://localhost").client_certificate("pem", "key"),
            url("redis://localhost").sentinel_password("secret"),
            sentinels().root_certificates("pem"),
            ConnectOptions::sentinel(["127.0.0.1"], "master"),
            url("http://localhost"),
        ] {
            assert!(Client::new(&wrong).is_err_and(|error| error.is_invalid_options()), "{wrong:?}");
        }
        for right in [url("redis://localhost"), sentinels().password("a").sentinel_password("b")] {
            assert!(Client::new(&right).is_ok(), "{right:?}");
        }
    }
}
