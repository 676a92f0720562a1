//! The adapter over Redis streams: `@socket.io/redis-streams-adapter`.

mod broker;
mod history;
mod lane;
mod names;
mod tail;

use std::{
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};

use bytes::Bytes;
use patio_adapter::{
    Adapter, AdapterError, AdapterFactory, Cluster, Local, Watcher,
    cluster::{Message, broker::Heartbeat},
    options::DEFAULT_TIMEOUT,
};
use patio_proto::msgpack;

use self::{
    broker::StreamsBroker,
    names::{Names, stream_of},
    tail::Tail,
};
use crate::{
    ConnectOptions, Emitter,
    client::{Client, ConnectError, Post},
    defaults,
    emitter::Medium,
    link::Link,
    wire::cluster::{Encoder, Fields},
};

/// The field of our own entries by which they are known again, which others ignore.
const NUMBER: &str = "patio";

/// The adapter that speaks what `@socket.io/redis-streams-adapter` speaks: broadcasts are entries of a stream, which every
/// server reads. A server that was cut off from Redis goes on where it was; what it missed comes late, but it comes, if the
/// stream still has it. And a client that was cut off can have on any server what it missed: connection state recovery.
///
/// Node's servers of the same names are in the same cluster. The `channel_prefix` must differ from the `key` of a
/// [`PubSub`](crate::PubSub) cluster on the same Redis: Node's servers there would crash on messages of this one.
///
/// It makes three connections to Redis when the first namespace is there, and one more when the first client comes back; in a
/// Redis Cluster two to each master, and one more, and one for each stream. Of Node's options, `blockTimeInMs` is 5 s here, and there is no `onlyPlaintext`.
///
/// ```no_run
/// use patio::{ConnectionStateRecovery, Server};
/// use patio_redis::Streams;
///
/// # async fn start() -> Result<(), Box<dyn std::error::Error>> {
/// let io = Server::builder()
///     .adapter(Streams::connect("redis://127.0.0.1").await?)
///     .connection_state_recovery(ConnectionStateRecovery::default())
///     .build()?;
/// # Ok(()) }
/// ```
///
/// # With connection state recovery
///
/// Every event without an ack has its place in the stream, which clients get with it. So that all have the same order, also
/// this server's own events go to its clients only when they are read from the stream, one round trip later; so do joins,
/// leaves and disconnections of many sockets. While Redis is away they take effect at once, without a place. Sessions are
/// kept in Redis, for as long as the server says, when a connection is lost or the server closes; those of a server that was
/// killed are not there, and the client is told that it begins anew. So it is when entries that it may have missed have left
/// the stream (`max_len`), and when there are more than some 50,000 of them, or 64 MiB, for whomever they are. Volatile events are not brought later, as Node's do.
pub struct Streams {
    link: Arc<Link>,
    tail: Arc<Tail>,
    settings: Arc<Settings>,
    /// How long sessions are kept; set when the server restores them.
    max_disconnection: OnceLock<Duration>,
}

/// What [`Streams`] is told, before it connects.
#[derive(Clone, Debug)]
pub struct StreamsBuilder {
    options: ConnectOptions,
    settings: Settings,
}

/// The versions of Node's adapter, which say different things in different places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StreamsVersion {
    /// `@socket.io/redis-streams-adapter` 0.3: what is for one moment, questions to servers and their answers, goes by
    /// pub/sub.
    #[default]
    V0_3,
    /// `@socket.io/redis-streams-adapter` 0.2: everything is in the stream, and servers know each other by heartbeats.
    /// Questions do not pass between servers of both versions.
    V0_2,
}

#[derive(Clone, Debug)]
struct Settings {
    version: StreamsVersion,
    stream_name: String,
    stream_count: u32,
    channel_prefix: String,
    sharded_pub_sub: bool,
    max_len: usize,
    read_count: usize,
    session_key_prefix: String,
    heartbeat: Heartbeat,
    requests_timeout: Duration,
    max_message_bytes: usize,
}

impl Streams {
    /// Connects to Redis, at a [URL](ConnectOptions::url) or as [`ConnectOptions`] say, with Node's defaults: [`builder`](Self::builder) and
    /// [`connect`](StreamsBuilder::connect).
    pub async fn connect(url: impl Into<ConnectOptions>) -> Result<Self, ConnectError> {
        Self::builder(url).connect().await
    }

    /// The adapter for the Redis server at a [URL](ConnectOptions::url), or as [`ConnectOptions`] say.
    pub fn builder(options: impl Into<ConnectOptions>) -> StreamsBuilder {
        let settings = Settings {
            version: StreamsVersion::default(),
            stream_name: defaults::KEY.into(),
            stream_count: 1,
            channel_prefix: defaults::KEY.into(),
            sharded_pub_sub: false,
            max_len: 10_000,
            read_count: 100,
            session_key_prefix: "sio:session:".into(),
            heartbeat: Heartbeat::default(),
            requests_timeout: DEFAULT_TIMEOUT,
            max_message_bytes: defaults::MAX_MESSAGE_BYTES,
        };
        StreamsBuilder { options: options.into(), settings }
    }
}

impl StreamsBuilder {
    /// Which version the Node servers have. Default: [`StreamsVersion::V0_3`].
    pub fn version(mut self, version: StreamsVersion) -> Self {
        self.settings.version = version;
        self
    }

    /// The stream's key, or what the keys begin with if there are several. Default: `socket.io`. `streamName` in Node.
    pub fn stream_name(mut self, name: impl Into<String>) -> Self {
        self.settings.stream_name = name.into();
        self
    }

    /// Over how many streams namespaces are spread, at least one. Default: 1. `streamCount` in Node (0.3). Node's own servers
    /// lose the broadcasts of some namespaces where there are several, those whose hash is negative: servers like this one
    /// hear each other there.
    pub fn stream_count(mut self, count: u32) -> Self {
        self.settings.stream_count = count.max(1);
        self
    }

    /// What the channels begin with. Default: `socket.io`. `channelPrefix` in Node (0.3).
    pub fn channel_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.settings.channel_prefix = prefix.into();
        self
    }

    /// Whether questions go by sharded pub/sub, which needs RESP3 and Redis 7. Default: false. `useShardedPubSub` in Node
    /// (0.3).
    pub fn sharded_pub_sub(mut self, sharded: bool) -> Self {
        self.settings.sharded_pub_sub = sharded;
        self
    }

    /// About how many entries a stream keeps. So far back a server or a client can come back without a loss. Every
    /// entry cuts the stream: the least of all servers and emitters counts. Default:
    /// 10,000. `maxLen` in Node.
    pub fn max_len(mut self, entries: usize) -> Self {
        self.settings.max_len = entries;
        self
    }

    /// How many entries are read in one go, at least one. Default: 100. `readCount` in Node.
    pub fn read_count(mut self, entries: usize) -> Self {
        self.settings.read_count = entries.max(1);
        self
    }

    /// What the keys of sessions begin with. Default: `sio:session:`. `sessionKeyPrefix` in Node.
    pub fn session_key_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.settings.session_key_prefix = prefix.into();
        self
    }

    /// The rhythm of heartbeats of [`StreamsVersion::V0_2`]. Default: one after 5 s, gone after 10 s. `heartbeatInterval` and
    /// `heartbeatTimeout` in Node.
    pub fn heartbeat(mut self, interval: Duration, timeout: Duration) -> Self {
        self.settings.heartbeat = Heartbeat { interval, timeout };
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

    /// The adapter, if Redis can be reached now. Errors: the options can never work, nobody answers within 5 s, the server refuses
    /// us, or it does not speak RESP3.
    pub async fn connect(self) -> Result<Streams, ConnectError> {
        let client = self.client()?;
        client.publisher().await?;
        Ok(self.over(client))
    }

    /// The adapter, whether Redis can be reached or not: it is connected to as soon as it can. Error: the options can never work ([`ConnectError::is_invalid_options`]).
    pub fn build(self) -> Result<Streams, ConnectError> {
        let client = self.client()?;
        Ok(self.over(client))
    }

    /// An [`Emitter`] to the clients of such a cluster: `@socket.io/redis-streams-emitter`. Give it the settings of the servers,
    /// `max_len` too. It connects when it is first used. Error: the options can never work ([`ConnectError::is_invalid_options`]).
    pub fn emitter(self) -> Result<Emitter, ConnectError> {
        Ok(Emitter::over(self.client()?, self.settings))
    }

    fn client(&self) -> Result<Client, ConnectError> {
        if self.options.resp2 && self.settings.sharded_pub_sub {
            return Err(ConnectError::invalid("sharded pub/sub needs RESP3"));
        }
        Client::new(&self.options)
    }

    fn over(self, client: Client) -> Streams {
        let settings = Arc::new(self.settings);
        let names = Names::new(&settings.stream_name, settings.stream_count);
        let tail = Arc::new(Tail::new(&names, settings.read_count, settings.max_len));
        Streams {
            link: Link::with(client, Some(tail.clone())),
            tail,
            settings,
            max_disconnection: OnceLock::new(),
        }
    }
}

impl Settings {
    /// Where this version takes a message: the channel of all servers, or the stream.
    fn goes_by_pub_sub(&self, message: &Message) -> bool {
        self.version == StreamsVersion::V0_3
            && matches!(
                message,
                Message::Broadcast { request: Some(_), .. }
                    | Message::FetchSockets { .. }
                    | Message::ServerSideEmit { .. }
            )
    }

    fn publish(&self, channel: Bytes, payload: Bytes) -> Post {
        match self.sharded_pub_sub {
            true => Post::ShardPublish { channel, payload },
            false => Post::Publish { channel, payload },
        }
    }

    fn append(
        &self,
        encoder: &Encoder,
        message: &Message,
        number: Option<u64>,
    ) -> Result<Post, AdapterError> {
        let Fields { kind, data } = encoder.fields(message)?;
        let mut fields = vec![
            ("uid", Bytes::copy_from_slice(encoder.node.as_str().as_bytes())),
            ("nsp", Bytes::copy_from_slice(encoder.namespace.as_bytes())),
            ("type", kind.to_string().into()),
        ];
        fields.extend(data.map(|data| ("data", data.into())));
        fields.extend(number.map(|number| (NUMBER, number.to_string().into())));
        let stream = stream_of(&self.stream_name, self.stream_count, &encoder.namespace);
        Ok(Post::Append { stream, max_len: self.max_len, fields })
    }
}

impl Medium for Settings {
    fn posts(&self, namespace: &str, message: &Message) -> Result<Vec<Post>, AdapterError> {
        let encoder = Encoder::of_emitter(namespace, msgpack::Dialect::MsgpackJs);
        if self.goes_by_pub_sub(message) {
            let channel = format!("{}#{namespace}#", self.channel_prefix).into();
            return Ok(vec![self.publish(channel, encoder.message_msgpack(message)?)]);
        }
        Ok(vec![self.append(&encoder, message, None)?])
    }
}

impl AdapterFactory for Streams {
    fn create(&self, name: &str, local: Weak<dyn Local>) -> Arc<dyn Adapter> {
        let max_disconnection = self.max_disconnection.get().copied();
        let broker = StreamsBroker::new(
            self.link.clone(),
            self.tail.clone(),
            self.settings.clone(),
            name,
            max_disconnection,
        );
        Arc::new(Cluster::new(local, broker))
    }

    fn recovery(&self) -> bool {
        true
    }

    fn enable_recovery(&self, max_disconnection: Duration) {
        let _ = self.max_disconnection.set(max_disconnection);
    }

    fn watch(&self, watcher: Watcher) {
        self.link.watch(watcher);
    }
}
