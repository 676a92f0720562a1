//! The adapter over Redis' PUBLISH and SUBSCRIBE: `@socket.io/redis-adapter`.

mod broker;
mod subscriptions;

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use patio_adapter::{
    Adapter, AdapterError, AdapterFactory, Cluster, Local, NodeId, Watcher, cluster::Message,
    options::DEFAULT_TIMEOUT,
};

use self::broker::PubSubBroker;
pub use self::subscriptions::Subscriptions;
use crate::{
    ConnectOptions, Dialect, Emitter,
    channels::Channels,
    client::{Client, ConnectError, Post},
    defaults,
    emitter::Medium,
    link::Link,
    wire::{self, classic::Encoder},
};

/// The adapter that speaks what `@socket.io/redis-adapter` speaks: every server hears every broadcast over Redis' pub/sub.
/// Node's servers of the same `key` are in the same cluster, and so is every emitter for that adapter.
///
/// Give one to each server, with `Server::builder().adapter(…)`. It makes two connections to Redis
/// when the first namespace is there.
///
/// ```no_run
/// use patio::Server;
/// use patio_redis::{Dialect, PubSub};
///
/// # async fn start() -> Result<(), Box<dyn std::error::Error>> {
/// let redis = PubSub::builder("redis://127.0.0.1").dialect(Dialect::V7).connect().await?;
/// let io = Server::builder()
///     .adapter(redis)
///     .on_adapter_error(|error| eprintln!("alone: {error}"))
///     .on_adapter_reconnected(|| eprintln!("together again: load anew what may have been missed"))
///     .build()?;
/// # Ok(()) }
/// ```
pub struct PubSub {
    link: Arc<Link>,
    settings: Arc<Settings>,
}

/// What [`PubSub`] is told, before it connects.
#[derive(Clone, Debug)]
pub struct PubSubBuilder {
    options: ConnectOptions,
    settings: Settings,
}

#[derive(Clone, Debug)]
struct Settings {
    key: String,
    dialect: Dialect,
    requests_timeout: Duration,
    specific_responses: bool,
    subscriptions: Subscriptions,
    max_message_bytes: usize,
}

impl PubSub {
    /// Connects to Redis, at a [URL](ConnectOptions::url) or as [`ConnectOptions`] say, with Node's defaults: [`builder`](Self::builder) and
    /// [`connect`](PubSubBuilder::connect).
    pub async fn connect(url: impl Into<ConnectOptions>) -> Result<Self, ConnectError> {
        Self::builder(url).connect().await
    }

    /// The adapter for the Redis server at a [URL](ConnectOptions::url), or as [`ConnectOptions`] say. The number of a
    /// database means nothing to pub/sub: give clusters that share a Redis different [keys](PubSubBuilder::key).
    pub fn builder(options: impl Into<ConnectOptions>) -> PubSubBuilder {
        let settings = Settings {
            key: defaults::KEY.into(),
            dialect: Dialect::default(),
            requests_timeout: DEFAULT_TIMEOUT,
            specific_responses: false,
            subscriptions: Subscriptions::default(),
            max_message_bytes: defaults::MAX_MESSAGE_BYTES,
        };
        PubSubBuilder { options: options.into(), settings }
    }
}

impl PubSubBuilder {
    /// What all channels begin with. Default: `socket.io`. `key` in Node.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.settings.key = key.into();
        self
    }

    /// Whose messages are written: those of the oldest version among the other servers. Default: [`Dialect::V8`].
    pub fn dialect(mut self, dialect: Dialect) -> Self {
        self.settings.dialect = dialect;
        self
    }

    /// How long questions to all servers wait (`fetch_sockets`, `count_sockets`, `all_rooms`) where the call names no time.
    /// Default: 5 s. `requestsTimeout` in Node.
    pub fn requests_timeout(mut self, timeout: Duration) -> Self {
        self.settings.requests_timeout = timeout;
        self
    }

    /// Answers on the channel of the server that asked, so that the others need not read it; servers of version 7.0 and
    /// older do not listen there. Default: false. `publishOnSpecificResponseChannel` in Node.
    pub fn publish_on_specific_response_channel(mut self, specific: bool) -> Self {
        self.settings.specific_responses = specific;
        self
    }

    /// Which emits to rooms this server hears of: all, or those that its clients are in. Default:
    /// [`Subscriptions::Pattern`], as Node does.
    pub fn subscriptions(mut self, subscriptions: Subscriptions) -> Self {
        self.settings.subscriptions = subscriptions;
        self
    }

    /// The most bytes of a message that is read; a larger one is dropped and counted. Default: 64 MiB.
    pub fn max_message_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_message_bytes = bytes;
        self
    }

    /// The adapter, if Redis can be reached now. Errors: the options can never work, nobody answers within 5 s, the server
    /// refuses us, or it does not speak RESP3.
    pub async fn connect(self) -> Result<PubSub, ConnectError> {
        let client = Client::new(&self.options)?;
        client.publisher().await?;
        Ok(self.over(client))
    }

    /// The adapter, whether Redis can be reached or not: it is connected to as soon as it can. Error: the options can never work ([`ConnectError::is_invalid_options`]).
    pub fn build(self) -> Result<PubSub, ConnectError> {
        let client = Client::new(&self.options)?;
        Ok(self.over(client))
    }

    /// An [`Emitter`] to the clients of such a cluster; of the settings it uses the key and the dialect. It connects when it is
    /// first used. Error: the options can never work ([`ConnectError::is_invalid_options`]).
    pub fn emitter(self) -> Result<Emitter, ConnectError> {
        Ok(Emitter::over(Client::new(&self.options)?, self.settings))
    }

    fn over(self, client: Client) -> PubSub {
        PubSub { link: Link::new(client), settings: Arc::new(self.settings) }
    }
}

impl Medium for Settings {
    fn posts(&self, namespace: &str, message: &Message) -> Result<Vec<Post>, AdapterError> {
        let node = NodeId::new(wire::EMITTER);
        let channels = Channels::new(&self.key, namespace, &node, None);
        let encoder = Encoder { node, namespace: namespace.to_owned(), dialect: self.dialect };
        if let Message::Broadcast { payload, options, request: None } = message {
            encoder.check_except(options, |_| false)?;
            let payload = encoder.broadcast(payload, options)?;
            return Ok(vec![Post::Publish { channel: channels.broadcast(options), payload }]);
        }
        let requests = encoder.requests(message, |_| false)?.into_iter();
        Ok(requests.map(|payload| Post::Publish { channel: channels.requests.clone(), payload }).collect())
    }
}

impl AdapterFactory for PubSub {
    fn create(&self, name: &str, local: Weak<dyn Local>) -> Arc<dyn Adapter> {
        let broker = PubSubBroker::new(self.link.clone(), self.settings.clone(), name);
        Arc::new(Cluster::new(local, broker))
    }

    fn watch(&self, watcher: Watcher) {
        self.link.watch(watcher);
    }
}
