//! What a namespace asks of the cluster.
//!
//! The hub of the server crate holds one `Arc<dyn Adapter>` per namespace. Its operators call it; the adapter calls
//! back into [`Local`] for this server's sockets and tells the other servers. [`memory`](crate::memory) knows no
//! other servers, [`cluster`](crate::cluster) reaches them through a broker.

use std::{
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use compact_str::CompactString;
use futures_core::{future::BoxFuture, stream::BoxStream};

use crate::{
    Payload,
    counters::Stats,
    error::AdapterError,
    local::Local,
    options::BroadcastOptions,
    recovery::{Offset, Replayed, Restored, SessionRecord},
    room::Room,
    snapshot::SocketSnapshot,
};

/// Makes the adapters of one server: one for each of its namespaces.
pub trait AdapterFactory: Send + Sync + 'static {
    /// An adapter for the namespace `name`. `local` may not be upgradable before the namespace is fully built; it is
    /// first used by [`Adapter::init`].
    fn create(&self, name: &str, local: Weak<dyn Local>) -> Arc<dyn Adapter>;

    /// Whether the adapters it makes can restore sessions.
    fn recovery(&self) -> bool {
        false
    }

    /// Has the adapters restore sessions, which are kept for `max_disconnection`. A server with connection state recovery
    /// calls this once, before it asks for adapters.
    fn enable_recovery(&self, max_disconnection: Duration) {
        let _ = max_disconnection;
    }

    /// Has `watcher` called when the connection to other servers is lost and when it is back. A server calls this once,
    /// when it is built.
    fn watch(&self, watcher: Watcher) {
        let _ = watcher;
    }
}

/// Who is told of [`AdapterEvent`]s. It must not block.
pub type Watcher = Arc<dyn Fn(&AdapterEvent) + Send + Sync>;

/// What became of the connection to other servers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum AdapterEvent {
    /// It is lost, or could not be made. Told once, not for each further attempt. Until [`Reconnected`](Self::Reconnected),
    /// nothing passes between this server and the others.
    Failed(AdapterError),
    /// It is there again, and everything is subscribed: what other servers sent meanwhile did not come here, and what
    /// comes from now on is not lost.
    Reconnected,
}

impl<F: AdapterFactory + ?Sized> AdapterFactory for Arc<F> {
    fn create(&self, name: &str, local: Weak<dyn Local>) -> Arc<dyn Adapter> {
        (**self).create(name, local)
    }

    fn recovery(&self) -> bool {
        (**self).recovery()
    }

    fn enable_recovery(&self, max_disconnection: Duration) {
        (**self).enable_recovery(max_disconnection);
    }

    fn watch(&self, watcher: Watcher) {
        (**self).watch(watcher);
    }
}

/// The connection of one namespace to the same namespace on other servers.
///
/// Whatever concerns this server's own sockets is done before a method returns; only what concerns other servers is
/// in the futures and streams. They own what they need (`'static`), and dropping them gives up the wait. With the
/// flag `local`, or with options that mean nobody, nothing is sent to other servers.
pub trait Adapter: Send + Sync + 'static {
    /// Joins the cluster. The namespace calls it once, when it is ready to answer. The work begins at the call; the
    /// future ends when other servers can reach this one.
    fn init(&self) -> BoxFuture<'static, Result<(), AdapterError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Sends an event (`["name", …arguments]`) to the sockets. This server's have it queued when this returns. Never
    /// waits: for other servers it is queued too. An error concerns only them, and is counted.
    fn broadcast(&self, payload: &Payload, options: &BroadcastOptions) -> Result<(), AdapterError>;

    /// As [`broadcast`](Self::broadcast), which happens at the call; the future ends when the broker has taken it.
    fn broadcast_confirmed(
        &self,
        payload: &Payload,
        options: &BroadcastOptions,
    ) -> BoxFuture<'static, Result<(), AdapterError>>;

    /// Sends an event that asks for an ack, at the call, and returns the answers as they come. The stream ends when
    /// all have answered, and at the latest after `options.flags.timeout` (default 5 s); whoever did not answer is in
    /// the last item, [`AckEvent::Missing`]. Without it, all answered.
    fn broadcast_with_ack(
        &self,
        payload: &Payload,
        options: &BroadcastOptions,
    ) -> BoxStream<'static, AckEvent>;

    /// The sockets join `rooms`.
    fn join(&self, options: &BroadcastOptions, rooms: &[Room]) -> Result<(), AdapterError>;

    /// The sockets leave `rooms`.
    fn leave(&self, options: &BroadcastOptions, rooms: &[Room]) -> Result<(), AdapterError>;

    /// The sockets leave the namespace; with `close` their whole connection ends.
    fn disconnect(&self, options: &BroadcastOptions, close: bool) -> Result<(), AdapterError>;

    /// What is known of the sockets. Servers that do not answer within `options.flags.timeout` (default 5 s) are
    /// counted in `missing`; it is an error only if the others could not be asked at all.
    fn fetch_sockets(&self, options: &BroadcastOptions) -> BoxFuture<'static, Result<Fetched, AdapterError>>;

    /// How many sockets are meant, without transferring them where the other servers understand that.
    fn count(&self, options: &BroadcastOptions) -> BoxFuture<'static, Result<Counted, AdapterError>>;

    /// The rooms of the namespace on all servers, each once, the sockets' own ones among them (`allRooms()`).
    fn all_rooms(&self) -> BoxFuture<'static, Result<AllRooms, AdapterError>>;

    /// Sends an event to the other servers, not to this one. Without other servers it reaches nobody.
    fn server_side_emit(&self, payload: &Payload) -> Result<(), AdapterError>;

    /// As [`server_side_emit`](Self::server_side_emit), with one answer from each other server. The stream ends when
    /// all have answered, and at the latest after `timeout`.
    fn server_side_emit_with_ack(
        &self,
        payload: &Payload,
        timeout: Duration,
    ) -> BoxStream<'static, ServerAnswer>;

    /// How many servers have this namespace, this one included.
    fn server_count(&self) -> BoxFuture<'static, Result<usize, AdapterError>>;

    /// A room has got its first member on this server. Adapters that subscribe to rooms begin here.
    fn room_created(&self, room: &Room) {
        let _ = room;
    }

    /// A room has lost its last member on this server.
    fn room_deleted(&self, room: &Room) {
        let _ = room;
    }

    /// Whether there is anything to wait for in [`joined`](Self::joined).
    fn subscribes_to_rooms(&self) -> bool {
        false
    }

    /// Waits until what other servers send to those of `rooms` that have a member here arrives here. While the broker is
    /// away, that is when it is back.
    fn joined(&self, rooms: &[Room]) -> BoxFuture<'static, ()> {
        let _ = rooms;
        Box::pin(std::future::ready(()))
    }

    /// Whether [`persist`](Self::persist) and [`restore`](Self::restore) do anything. With it, every event without
    /// ack, also one to a single socket, should pass through [`broadcast`](Self::broadcast), to be recorded.
    fn recovery(&self) -> bool {
        false
    }

    /// Keeps the session of a socket that has disconnected for a recoverable reason.
    fn persist(&self, session: SessionRecord) {
        let _ = session;
    }

    /// Looks for the session of a returning client, and for what it missed after `offset`. `None`: it begins anew,
    /// because the session is unknown or too old, or because the history since `offset` is not complete any more.
    fn restore(&self, pid: &str, offset: &str) -> BoxFuture<'static, Option<Restored>> {
        let _ = (pid, offset);
        Box::pin(std::future::ready(None))
    }

    /// What a socket in `rooms` would have got after `cursor`. It closes the gap of [`restore`](Self::restore): join
    /// the rooms while holding back live packets, replay from the restored cursor, send what was missed, then of
    /// the held and later packets those whose offset is greater than the new cursor. `None`: not complete any more.
    fn replay(&self, cursor: &Offset, rooms: &[Room]) -> BoxFuture<'static, Option<Replayed>> {
        let _ = (cursor, rooms);
        Box::pin(std::future::ready(None))
    }

    /// What was dropped, refused or failed so far.
    fn stats(&self) -> Stats {
        Stats::default()
    }

    /// Leaves the cluster. Further calls act on this server only. Idempotent.
    fn close(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// The id of a server within its cluster: Node's `uid`. One server has a different one in each namespace.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(CompactString);

impl NodeId {
    /// The server called `id`.
    pub fn new(id: impl AsRef<str>) -> Self {
        Self(CompactString::new(id))
    }

    /// 16 random lower-case hex characters, as Node's cluster adapters choose them.
    pub fn random() -> Self {
        Self(crate::cluster::random_id())
    }

    /// The id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// What happens while a broadcast waits for its acks.
#[derive(Clone, Debug, PartialEq)]
pub enum AckEvent {
    /// A server has asked `n` sockets, perhaps none. This server's own report comes first.
    Expected {
        /// The server; `None` when the protocol does not tell.
        node: Option<NodeId>,
        /// How many answers may come from it.
        n: usize,
    },
    /// A socket has answered.
    Answer {
        /// The socket; `None` when it is on another server whose protocol does not tell.
        sid: Option<Room>,
        /// The arguments of its ack, an array. From another server only the first one comes.
        value: Payload,
    },
    /// The last item, if anybody did not answer.
    Missing {
        /// The sockets of this server that did not answer, or went away.
        sids: Vec<Room>,
        /// How many sockets of other servers did not answer.
        unknown: usize,
        /// How many servers did not even report how many sockets they asked.
        servers: usize,
    },
}

/// What happens while a `serverSideEmit` waits for its answers.
#[derive(Clone, Debug, PartialEq)]
pub enum ServerAnswer {
    /// A server has answered.
    Answer {
        /// The server; `None` when the protocol does not tell.
        node: Option<NodeId>,
        /// Its answer: an array of one value, or an empty one.
        value: Payload,
    },
    /// The last item, if that many servers did not answer.
    Missing(usize),
}

/// Sockets of all servers that answered.
#[derive(Clone, Debug, Default)]
pub struct Fetched {
    /// The sockets; this server's first.
    pub sockets: Vec<SocketSnapshot>,
    /// How many servers did not answer in time.
    pub missing: usize,
}

/// Number of sockets on all servers that answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// The number of sockets.
    pub sockets: usize,
    /// How many servers did not answer in time.
    pub missing: usize,
}

/// Rooms of all servers that answered.
#[derive(Clone, Debug, Default)]
pub struct AllRooms {
    /// The rooms, each once, in no order.
    pub rooms: Vec<Room>,
    /// How many servers did not answer in time.
    pub missing: usize,
}
