//! The adapter over Redis' sharded pub/sub: `createShardedAdapter` of `@socket.io/redis-adapter`.

mod broker;
mod channels;

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use patio_adapter::{
    Adapter, AdapterError, AdapterFactory, Cluster, Local, NodeId, Watcher, cluster::Message,
    options::DEFAULT_TIMEOUT,
};
use patio_proto::msgpack;

use self::{broker::ShardedBroker, channels::Channels};
use crate::{
    ConnectOptions, Emitter,
    client::{Client, ConnectError, Post},
    defaults,
    emitter::Medium,
    link::Link,
    wire::{self, cluster::Encoder},
};

/// The adapter that speaks what `createShardedAdapter` of `@socket.io/redis-adapter` speaks: sharded pub/sub (Redis 7 and
/// newer), where a server can listen to the rooms that it has, and to no others. Node's servers of the same
/// `channel_prefix` and a compatible mode are in the same cluster.
///
/// It needs RESP3. Give one to each server, with `Server::builder().adapter(…)`. It makes two connections to Redis, or two to
/// each master of a Redis Cluster, when the first namespace is there.
///
/// ```no_run
/// use patio::Server;
/// use patio_redis::{Sharded, SubscriptionMode};
///
/// # async fn start() -> Result<(), Box<dyn std::error::Error>> {
/// let redis = Sharded::builder("redis://127.0.0.1").subscription_mode(SubscriptionMode::Static).connect().await?;
/// let io = Server::builder().adapter(redis).build()?;
/// # Ok(()) }
/// ```
pub struct Sharded {
    link: Arc<Link>,
    settings: Arc<Settings>,
}

/// What [`Sharded`] is told, before it connects.
#[derive(Clone, Debug)]
pub struct ShardedBuilder {
    options: ConnectOptions,
    settings: Settings,
}

/// To which channels servers listen. All servers of a cluster must have modes that fit: what [`Dynamic`](Self::Dynamic)
/// ones send to a room is not heard by [`Static`](Self::Static) ones, and what
/// [`DynamicPrivate`](Self::DynamicPrivate) ones send to a socket is not heard by [`Dynamic`](Self::Dynamic) ones.
/// `subscriptionMode` in Node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SubscriptionMode {
    /// Two channels for each namespace: all servers hear all broadcasts. `static` in Node.
    Static,
    /// The two of [`Static`](Self::Static), and one for each room that has a member here, except names of 20 characters, the
    /// length of ids of sockets: those go to all servers. What is sent to a room is heard by the servers that have it. Between a join and Redis' confirmation it is missed: where that
    /// matters, `socket.join(room).await` waits for it. `dynamic` in Node.
    #[default]
    Dynamic,
    /// As [`Dynamic`](Self::Dynamic), and one for each socket too. `dynamic-private` in Node.
    DynamicPrivate,
}

#[derive(Clone, Debug)]
struct Settings {
    channel_prefix: String,
    /// `None`: nobody said. Servers take the default, emitters what all modes hear.
    mode: Option<SubscriptionMode>,
    requests_timeout: Duration,
    max_message_bytes: usize,
}

impl Sharded {
    /// Connects to Redis, at a [URL](ConnectOptions::url) or as [`ConnectOptions`] say, with Node's defaults: [`builder`](Self::builder) and
    /// [`connect`](ShardedBuilder::connect).
    pub async fn connect(url: impl Into<ConnectOptions>) -> Result<Self, ConnectError> {
        Self::builder(url).connect().await
    }

    /// The adapter for the Redis server at a [URL](ConnectOptions::url), or as [`ConnectOptions`] say.
    pub fn builder(options: impl Into<ConnectOptions>) -> ShardedBuilder {
        let settings = Settings {
            channel_prefix: defaults::KEY.into(),
            mode: None,
            requests_timeout: DEFAULT_TIMEOUT,
            max_message_bytes: defaults::MAX_MESSAGE_BYTES,
        };
        ShardedBuilder { options: options.into(), settings }
    }
}

impl ShardedBuilder {
    /// What all channels begin with. Default: `socket.io`. `channelPrefix` in Node.
    pub fn channel_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.settings.channel_prefix = prefix.into();
        self
    }

    /// To which channels this server listens, and on which it sends. Default: [`SubscriptionMode::Dynamic`].
    /// `subscriptionMode` in Node.
    pub fn subscription_mode(mut self, mode: SubscriptionMode) -> Self {
        self.settings.mode = Some(mode);
        self
    }

    /// How long questions to all servers wait (`fetch_sockets`, `count_sockets`, `all_rooms`) where the call names no time.
    /// Default: 5 s. Node has no option for it.
    pub fn requests_timeout(mut self, timeout: Duration) -> Self {
        self.settings.requests_timeout = timeout;
        self
    }

    /// The most bytes of a message that is read; a larger one is dropped and counted. Default: 64 MiB. Node has no
    /// option for it.
    pub fn max_message_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_message_bytes = bytes;
        self
    }

    /// The adapter, if Redis can be reached now. Errors: the options can never work, as RESP2 cannot here, nobody
    /// answers within 5 s, the server refuses us, it does not speak RESP3, or it has no sharded pub/sub.
    pub async fn connect(self) -> Result<Sharded, ConnectError> {
        let client = self.client()?;
        let publisher = client.publisher().await?;
        let asked = publisher.shard_subscribers([self.settings.channel_prefix.as_bytes()]).await;
        asked.map_err(ConnectError::unable("Redis has no sharded pub/sub for us, as 7.0 and newer have"))?;
        Ok(self.over(client))
    }

    /// The adapter, whether Redis can be reached or not: it is connected to as soon as it can. Error: the options can never
    /// work, as RESP2 cannot here ([`ConnectError::is_invalid_options`]).
    pub fn build(self) -> Result<Sharded, ConnectError> {
        let client = self.client()?;
        Ok(self.over(client))
    }

    /// An [`Emitter`] to the clients of such a cluster, which no package for Node is. Without a
    /// [mode](Self::subscription_mode) it sends everything to all servers, which those of every mode hear; with one, to a
    /// room's own channel. It connects when it is first used. Error: the options can never work ([`ConnectError::is_invalid_options`]).
    pub fn emitter(self) -> Result<Emitter, ConnectError> {
        Ok(Emitter::over(self.client()?, self.settings))
    }

    fn client(&self) -> Result<Client, ConnectError> {
        if self.options.resp2 {
            return Err(ConnectError::invalid("sharded pub/sub needs RESP3"));
        }
        Client::new(&self.options)
    }

    fn over(self, client: Client) -> Sharded {
        Sharded { link: Link::new(client), settings: Arc::new(self.settings) }
    }
}

impl Medium for Settings {
    fn posts(&self, namespace: &str, message: &Message) -> Result<Vec<Post>, AdapterError> {
        let node = NodeId::new(wire::EMITTER);
        let mode = self.mode.unwrap_or(SubscriptionMode::Static);
        let channels = Channels::new(&self.channel_prefix, namespace, &node, mode);
        let channel = match message {
            Message::Broadcast { options, .. } => channels.broadcast(options),
            _ => channels.common,
        };
        let encoder = Encoder::of_emitter(namespace, msgpack::Dialect::Notepack3);
        Ok(vec![Post::ShardPublish { channel, payload: encoder.message(message)? }])
    }
}

impl AdapterFactory for Sharded {
    fn create(&self, name: &str, local: Weak<dyn Local>) -> Arc<dyn Adapter> {
        let broker = ShardedBroker::new(self.link.clone(), self.settings.clone(), name);
        Arc::new(Cluster::new(local, broker))
    }

    fn watch(&self, watcher: Watcher) {
        self.link.watch(watcher);
    }
}
