//! What a message system must do so that [`Cluster`](super::Cluster) can build on it.

use std::{
    collections::HashSet,
    sync::{Arc, Weak},
    time::Duration,
};

use futures_core::future::BoxFuture;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::message::{Incoming, Message, RequestId, Sender};
use crate::{
    AdapterError, NodeId, Offset, Replayed, Restored, Room, SessionRecord, counters::Counters,
    options::DEFAULT_TIMEOUT,
};

/// One namespace's place in a message system that reaches the same namespace on other servers.
///
/// A broker owns the codec, the choice of channel, how servers are counted, whether its own messages come back, and
/// how a published packet gets its offset. [`Cluster`](super::Cluster) owns everything else. No method blocks.
pub trait Broker: Send + Sync + 'static {
    /// This server's id in this namespace. Messages that carry it are its own.
    fn node(&self) -> &NodeId;

    /// Subscribes and gives what arrives to `inbox`, in the order of arrival. The work begins at the call; the future
    /// ends when this server is subscribed, that is, counted by the others and ready to answer.
    fn open(&self, inbox: Inbox) -> BoxFuture<'static, Result<(), AdapterError>>;

    /// Queues a message for the other servers. The queue is bounded: when it is full, that is an error.
    fn publish(&self, message: &Message) -> Result<(), AdapterError>;

    /// As [`publish`](Self::publish); the future ends when the message system has taken it. If it fails, at once or later, the
    /// broker itself puts a command that would have looped back into the inbox, without offset.
    fn publish_confirmed(&self, message: &Message) -> BoxFuture<'static, Result<(), AdapterError>>;

    /// Queues an answer for the server that sent a question.
    fn respond(&self, to: &Sender, message: &Message) -> Result<(), AdapterError>;

    /// Who knows the other servers.
    fn membership(&self) -> Membership {
        Membership::Broker
    }

    /// The other servers, for [`Membership::Broker`].
    fn others(&self) -> BoxFuture<'static, Result<Others, AdapterError>>;

    /// True when `message`, a [command](Message::is_command), comes back to its sender through the inbox. Then it is
    /// applied to this server's sockets when it comes back, and not before. If publishing fails after
    /// [`publish`](Self::publish) said Ok, the broker must put the message into the inbox itself, without offset.
    fn loops_back(&self, message: &Message) -> bool {
        let _ = message;
        false
    }

    /// Whether all servers of this namespace understand `query` now, which Node's cluster protocol lacks.
    fn supports(&self, query: Query) -> BoxFuture<'static, bool> {
        let _ = query;
        Box::pin(std::future::ready(false))
    }

    /// How long questions to all servers wait when the caller names no time. Node's `requestsTimeout`.
    fn requests_timeout(&self) -> Duration {
        DEFAULT_TIMEOUT
    }

    /// A new id for a question.
    fn request_id(&self) -> RequestId {
        RequestId::random()
    }

    /// A room has got its first member on this server.
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

    /// Waits until this server is subscribed to those of `rooms` that have a member here: somebody has joined them and wants
    /// to be reached there. That they have come may not have been [told](Self::room_created) yet.
    fn joined(&self, rooms: &[Room]) -> BoxFuture<'static, ()> {
        let _ = rooms;
        Box::pin(std::future::ready(()))
    }

    /// Connection state recovery, if the message system can keep sessions and packets.
    fn recovery(&self) -> Option<&dyn Recovery> {
        None
    }

    /// Unsubscribes. What was queued is still sent.
    fn close(&self) -> BoxFuture<'static, ()>;
}

/// Queries of our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query {
    /// [`Message::CountSockets`]. Without it sockets are fetched and counted.
    Count,
    /// [`Message::AllRooms`]. Without it `all_rooms` is unsupported.
    AllRooms,
}

/// Who knows which other servers there are.
#[derive(Clone, Copy, Debug)]
pub enum Membership {
    /// The message system: [`Broker::others`].
    Broker,
    /// Servers tell each other that they are there.
    Heartbeat(Heartbeat),
}

/// The rhythm of heartbeats.
#[derive(Clone, Copy, Debug)]
pub struct Heartbeat {
    /// After so long without any message of its own a server says that it is there. Node's `heartbeatInterval`; 5 s.
    pub interval: Duration,
    /// A server that is silent for so long has gone. Node's `heartbeatTimeout`; 10 s.
    pub timeout: Duration,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self { interval: Duration::from_secs(5), timeout: Duration::from_secs(10) }
    }
}

/// The other servers of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Others {
    /// Their number is all that is known.
    Count(usize),
    /// Their ids.
    Nodes(HashSet<NodeId>),
}

impl Others {
    /// Their number.
    pub fn len(&self) -> usize {
        match self {
            Self::Count(n) => *n,
            Self::Nodes(nodes) => nodes.len(),
        }
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Connection state recovery of a broker: the same operations as in [`Adapter`](crate::Adapter).
pub trait Recovery: Send + Sync {
    /// Keeps a session.
    fn persist(&self, session: SessionRecord);

    /// Looks for a session and for what it missed.
    fn restore(&self, pid: &str, offset: &str) -> BoxFuture<'static, Option<Restored>>;

    /// What a socket in `rooms` would have got after `cursor`.
    fn replay(&self, cursor: &Offset, rooms: &[Room]) -> BoxFuture<'static, Option<Replayed>>;
}

/// Where a broker puts what arrives. Cheap to clone; does not keep the namespace alive.
#[derive(Clone)]
pub struct Inbox {
    receiver: Weak<dyn Receive>,
    counters: Arc<Counters>,
    log: Arc<Throttle>,
}

/// Says when something may be said again.
#[derive(Default)]
struct Throttle(Mutex<Option<Instant>>);

impl Throttle {
    fn due(&self, now: Instant) -> bool {
        let mut last = self.0.lock();
        let due = last.is_none_or(|last| now.duration_since(last) >= Duration::from_secs(60));
        if due {
            *last = Some(now);
        }
        due
    }
}

/// The receiving side of [`Cluster`](super::Cluster), without its broker type.
pub(super) trait Receive: Send + Sync {
    fn deliver(self: Arc<Self>, incoming: Incoming);
    fn left(&self, node: &NodeId);
    fn waits_for(&self, request: &RequestId) -> bool;
    fn has_room(&self, room: &str) -> bool;
    fn rooms(&self) -> Vec<Room>;
    fn id_tag(&self) -> String;
    fn rooms_of(&self, socket: &str) -> Option<Vec<Room>>;
}

impl Inbox {
    pub(super) fn new(receiver: Weak<dyn Receive>, counters: Arc<Counters>) -> Self {
        Self { receiver, counters, log: Arc::default() }
    }

    /// Whether an answer to this question means anything here. Where all servers hear all answers, most belong to others.
    pub fn waits_for(&self, request: &RequestId) -> bool {
        self.receiver.upgrade().is_some_and(|receiver| receiver.waits_for(request))
    }

    /// Whether a socket of this server is in the room. A message for nobody here need not be read. False once the adapter
    /// is closed, so that no broker subscribes any more.
    pub fn has_room(&self, room: &str) -> bool {
        self.receiver.upgrade().is_some_and(|receiver| receiver.has_room(room))
    }

    /// The rooms that have a member on this server: those that came before [`Broker::open`] among them.
    pub fn rooms(&self) -> Vec<Room> {
        self.receiver.upgrade().map(|receiver| receiver.rooms()).unwrap_or_default()
    }

    /// The rooms of a socket of this server; `None` if it has none of this id.
    pub fn rooms_of(&self, socket: &str) -> Option<Vec<Room>> {
        self.receiver.upgrade().and_then(|receiver| receiver.rooms_of(socket))
    }

    /// What the ids of this server's sockets begin with: [`Local::id_tag`](crate::Local::id_tag).
    pub fn id_tag(&self) -> String {
        self.receiver.upgrade().map(|receiver| receiver.id_tag()).unwrap_or_default()
    }

    /// Handles a message, before it returns. Nothing waits in here; answers go to [`Broker::respond`]. Must not be
    /// called while holding a lock that the broker takes in `publish` or `respond`.
    pub fn deliver(&self, incoming: Incoming) {
        if let Some(receiver) = self.receiver.upgrade() {
            receiver.deliver(incoming);
        }
    }

    /// Another server has left, by what the message system says: nobody waits for its answers any more.
    pub fn left(&self, node: &NodeId) {
        if let Some(receiver) = self.receiver.upgrade() {
            receiver.left(node);
        }
    }

    /// Counts a message that could not be understood because of `what`, and says so in the log, once a minute at most.
    pub fn garbage(&self, what: &dyn std::fmt::Display) {
        self.counters.garbage.add();
        if self.log.due(Instant::now()) {
            let so_far = self.counters.garbage.get();
            tracing::warn!(%what, so_far, "a message of another server cannot be understood");
        }
    }

    /// Counts a message that was queued but could not be handed to the message system.
    pub fn publish_failed(&self) {
        self.counters.failed_publishes.add();
    }

    /// Counts that messages left the recorded history before they were read here.
    pub fn missed_history(&self) {
        self.counters.missed_history.add();
    }

    /// Counts that what other servers record could not be read. It is tried again.
    pub fn read_failed(&self) {
        self.counters.failed_reads.add();
    }

    /// False when the namespace has gone: the broker may forget it.
    pub fn is_alive(&self) -> bool {
        self.receiver.strong_count() > 0
    }
}
