//! Emits to the clients of a cluster from a process that is no server of it: `@socket.io/redis-emitter`, and the same for
//! sharded pub/sub and streams.

use std::sync::Arc;

use futures_core::future::BoxFuture;
use patio_adapter::{
    AdapterError, BroadcastOptions, IntoRooms, Payload,
    cluster::{Message, message::SERVER_SIDE_RESERVED},
};
use patio_proto::{decode::RESERVED_EVENTS, payload::EncodeError};
use serde::Serialize;
use tokio::sync::Mutex;

use crate::{
    ConnectOptions, PubSub,
    client::{Client, CommandError, ConnectError, Post, Publisher},
};

/// Emits to the clients of all servers of a cluster: from a worker, a cron job, an API that has no Socket.IO server.
/// `Emitter` of `@socket.io/redis-emitter`, and of `@socket.io/redis-streams-emitter`.
///
/// [`Emitter::new`] is for servers that use [`PubSub`](crate::PubSub) or `@socket.io/redis-adapter`, with Node's defaults.
/// For others, the builder of their adapter makes it: [`PubSubBuilder::emitter`](crate::PubSubBuilder::emitter),
/// [`ShardedBuilder::emitter`](crate::ShardedBuilder::emitter), [`StreamsBuilder::emitter`](crate::StreamsBuilder::emitter).
///
/// Clones share one connection, which is made when it is first needed. The call that finds it lost fails, and the next one
/// makes it anew. Each waits until Redis has taken the message, 5 s at most; how many servers hear it, nobody knows.
///
/// ```no_run
/// use patio_redis::Emitter;
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let io = Emitter::new("redis://127.0.0.1")?;
/// io.to("orders").except("admins").emit("order", &("created", 42)).await?;
/// io.of("/chat").to("user-7").disconnect_sockets(true).await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use = "nothing happens before `emit` or another operation"]
pub struct Emitter {
    connection: Arc<Connection>,
    medium: Arc<dyn Medium>,
    namespace: Arc<str>,
    options: BroadcastOptions,
}

/// How a cluster is told something by somebody who is no server of it.
pub(crate) trait Medium: Send + Sync + 'static {
    /// The message, for a namespace: mostly one post.
    fn posts(&self, namespace: &str, message: &Message) -> Result<Vec<Post>, AdapterError>;
}

/// The one connection, if there is one.
struct Connection {
    client: Client,
    publisher: Mutex<Option<Publisher>>,
}

/// Nothing was emitted, or it is not known whether it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmitterError {
    /// The name of the event is used by Socket.IO itself.
    #[error("the event name `{0}` is reserved")]
    Reserved(String),
    /// The data cannot be serialised.
    #[error(transparent)]
    Encode(EncodeError),
    /// There is no connection to Redis.
    #[error(transparent)]
    Connect(ConnectError),
    /// Redis did not take the message, or not in time; or servers of this [`Dialect`](crate::Dialect) do not know it.
    #[error(transparent)]
    Publish(AdapterError),
}

impl Emitter {
    /// An emitter to everyone in the main namespace, over the Redis server at a [URL](ConnectOptions::url) or as
    /// [`ConnectOptions`] say. Error: the options can never work ([`ConnectError::is_invalid_options`]).
    pub fn new(options: impl Into<ConnectOptions>) -> Result<Self, ConnectError> {
        PubSub::builder(options).emitter()
    }

    pub(crate) fn over(client: Client, medium: impl Medium) -> Self {
        Self {
            connection: Arc::new(Connection { client, publisher: Mutex::new(None) }),
            medium: Arc::new(medium),
            namespace: "/".into(),
            options: BroadcastOptions::everyone(),
        }
    }

    /// Everyone in another namespace; a slash in front is added where it is missing. `of(namespace)` in Socket.IO.
    pub fn of(&self, namespace: &str) -> Self {
        let namespace =
            if namespace.starts_with('/') { namespace.into() } else { format!("/{namespace}").into() };
        Self { namespace, options: BroadcastOptions::everyone(), ..self.clone() }
    }

    /// Adds rooms: sockets in any of them are reached, each once. An empty list reaches nobody. `to(rooms)` in Socket.IO.
    pub fn to(&self, rooms: impl IntoRooms) -> Self {
        let mut emitter = self.clone();
        emitter.options.add_rooms(rooms);
        emitter
    }

    /// Leaves out the sockets in any of these rooms. `except(rooms)` in Socket.IO.
    pub fn except(&self, rooms: impl IntoRooms) -> Self {
        let emitter = self.clone();
        Self { options: emitter.options.except(rooms), ..emitter }
    }

    /// Drops the event for a receiver to whom it cannot be written at once. `volatile` in Socket.IO.
    pub fn volatile(&self) -> Self {
        let mut emitter = self.clone();
        emitter.options.flags.volatile = true;
        emitter
    }

    /// Whether the event is worth being compressed, where that is on. `compress(value)` in Socket.IO.
    pub fn compress(&self, compress: bool) -> Self {
        let mut emitter = self.clone();
        emitter.options.flags.compress = Some(compress);
        emitter
    }

    /// Sends an event to the chosen sockets; a tuple is several arguments. Errors: a reserved name, data that cannot be
    /// serialised, Redis. `emit(event, ...args)` in Socket.IO.
    pub async fn emit<T: Serialize + ?Sized>(&self, event: &str, data: &T) -> Result<(), EmitterError> {
        let payload = payload(event, data, &RESERVED_EVENTS)?;
        self.send(Message::Broadcast { payload, options: self.options.clone(), request: None }).await
    }

    /// Makes the chosen sockets join rooms. `socketsJoin(rooms)` in Socket.IO.
    pub async fn sockets_join(&self, rooms: impl IntoRooms) -> Result<(), EmitterError> {
        let rooms = rooms.into_rooms().into_vec();
        self.send(Message::Join { options: self.options.clone(), rooms }).await
    }

    /// Makes the chosen sockets leave rooms. `socketsLeave(rooms)` in Socket.IO.
    pub async fn sockets_leave(&self, rooms: impl IntoRooms) -> Result<(), EmitterError> {
        let rooms = rooms.into_rooms().into_vec();
        self.send(Message::Leave { options: self.options.clone(), rooms }).await
    }

    /// Disconnects the chosen sockets; with `close`, closes their connections. `disconnectSockets(close)` in Socket.IO.
    pub async fn disconnect_sockets(&self, close: bool) -> Result<(), EmitterError> {
        self.send(Message::Disconnect { options: self.options.clone(), close }).await
    }

    /// Sends an event to the servers themselves, whatever rooms were chosen. Errors: a name that servers use among themselves
    /// (`error` would end one of Node), data that cannot be serialised, Redis, a dialect that has none. `serverSideEmit(event, ...args)` in Socket.IO.
    pub async fn server_side_emit<T: Serialize + ?Sized>(
        &self,
        event: &str,
        data: &T,
    ) -> Result<(), EmitterError> {
        let payload = payload(event, data, &SERVER_SIDE_RESERVED)?;
        self.publish(&Message::ServerSideEmit { payload, request: None }).await
    }

    async fn send(&self, command: Message) -> Result<(), EmitterError> {
        if self.options.is_nobody() {
            return Ok(());
        }
        self.publish(&command).await
    }

    async fn publish(&self, message: &Message) -> Result<(), EmitterError> {
        let posts = self.medium.posts(&self.namespace, message).map_err(EmitterError::Publish)?;
        // Boxed as in `Client::in_time`.
        let connecting: BoxFuture<'_, Result<Publisher, ConnectError>> =
            Box::pin(self.connection.publisher());
        let publisher = connecting.await.map_err(EmitterError::Connect)?;
        let published: Result<(), CommandError> =
            publisher.publish(posts.iter()).await.and_then(|results| results.into_iter().collect());
        if let Err(error) = published {
            if error.is_fatal() {
                *self.connection.publisher.lock().await = None;
            }
            return Err(EmitterError::Publish(error.into()));
        }
        Ok(())
    }
}

impl Connection {
    async fn publisher(&self) -> Result<Publisher, ConnectError> {
        let mut publisher = self.publisher.lock().await;
        if let Some(publisher) = &*publisher {
            return Ok(publisher.clone());
        }
        Ok(publisher.insert(self.client.publisher().await?).clone())
    }
}

fn payload<T: Serialize + ?Sized>(event: &str, data: &T, reserved: &[&str]) -> Result<Payload, EmitterError> {
    if reserved.contains(&event) {
        return Err(EmitterError::Reserved(event.to_owned()));
    }
    Payload::event(event, data).map_err(EmitterError::Encode)
}
