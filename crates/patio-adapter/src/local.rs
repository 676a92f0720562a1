//! What the cluster may ask of a namespace on this server.
//!
//! The hub of the server crate implements [`Local`]; adapters call it, for their own server's operations and for
//! those that arrive from other servers. Adapters never see a socket: they see ids, rooms and payloads.

use std::{fmt, sync::Arc};

use crate::{Payload, options::BroadcastOptions, recovery::Offset, room::Room, snapshot::SocketSnapshot};

/// One namespace on this server, as its adapter sees it.
///
/// Every method resolves the sockets of *this server* that `options` mean (the flag `local` is not looked at) and
/// returns without waiting for anything. Adapters call these from any task, also from the one that reads from the
/// broker, and `broadcast` in the order of a recorded history: user code that runs inside (`on_any_outgoing`) may
/// send again, but must not wait for another thread, and event handlers get a turn of their own. An implementation
/// must not hold a lock that it takes in these methods while it calls its adapter.
pub trait Local: Send + Sync + 'static {
    /// The name of the namespace, with its leading slash.
    fn name(&self) -> &str;

    /// What the ids of this server's sockets begin with, so that an adapter can hear of all of them with one subscription:
    /// such an id has 20 characters. There may be other ids: of older clients, or restored ones. Empty: there is no tag.
    fn id_tag(&self) -> &str;

    /// Queues an event for the sockets. It is encoded here, once, after the offset is known: with an `offset` that
    /// text is appended as a last argument, which recovery-capable clients remember.
    fn broadcast(&self, payload: &Payload, options: &BroadcastOptions, offset: Option<&Offset>);

    /// Queues an event with an ack id for the sockets and says whom it asked. Each answer goes to `answers`, as does
    /// the end of a socket that still owed one. When the returned [`Asked`] is dropped, nobody waits any more: the
    /// question must be forgotten. There is no other deadline.
    fn broadcast_with_ack(&self, payload: &Payload, options: &BroadcastOptions, answers: AnswerSink)
    -> Asked;

    /// How many sockets are meant.
    fn count(&self, options: &BroadcastOptions) -> usize;

    /// The ids of the sockets.
    fn socket_ids(&self, options: &BroadcastOptions) -> Vec<Room>;

    /// What is known of the sockets.
    fn fetch_sockets(&self, options: &BroadcastOptions) -> Vec<SocketSnapshot>;

    /// The sockets join `rooms`.
    fn join(&self, options: &BroadcastOptions, rooms: &[Room]);

    /// The sockets leave `rooms`.
    fn leave(&self, options: &BroadcastOptions, rooms: &[Room]);

    /// The sockets leave the namespace; with `close` their whole connection ends.
    fn disconnect(&self, options: &BroadcastOptions, close: bool);

    /// The rooms that have a member here, the sockets' own ones among them.
    fn rooms(&self) -> Vec<Room>;

    /// Whether somebody is in this room here. Brokers ask it before they read a message for one room.
    fn has_room(&self, room: &str) -> bool;

    /// An event that another server sent to servers (`serverSideEmit`): `["name", …arguments]`. With a `reply` the
    /// sender waits for an answer.
    fn server_side_emit(&self, payload: Payload, reply: Option<Reply>);
}

/// Takes the answers to one [`Local::broadcast_with_ack`]. Cheap to clone; never blocks.
#[derive(Clone)]
pub struct AnswerSink(Arc<dyn Fn(Room, Option<Payload>) + Send + Sync>);

impl AnswerSink {
    /// A sink that calls `take` with the socket's id and the arguments of its ack, or `None` when the socket went
    /// away without an answer.
    pub fn new(take: impl Fn(Room, Option<Payload>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(take))
    }

    /// The socket `sid` answered with `arguments`, an array. Only its first answer counts.
    pub fn answer(&self, sid: Room, arguments: Payload) {
        (self.0)(sid, Some(arguments));
    }

    /// The socket `sid` will not answer any more: it has gone.
    pub fn gone(&self, sid: Room) {
        (self.0)(sid, None);
    }
}

impl fmt::Debug for AnswerSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnswerSink")
    }
}

/// The sockets that a [`Local::broadcast_with_ack`] asked. Owned by whoever waits for the answers; dropping it makes
/// the namespace forget the question.
pub struct Asked {
    sids: Vec<Room>,
    forget: Option<Box<dyn FnOnce() + Send>>,
}

impl Asked {
    /// The sockets `sids` were asked; `forget` runs once, when the answers are not awaited any more.
    pub fn new(sids: Vec<Room>, forget: impl FnOnce() + Send + 'static) -> Self {
        Self { sids, forget: Some(Box::new(forget)) }
    }

    /// No socket matched.
    pub fn nobody() -> Self {
        Self { sids: Vec::new(), forget: None }
    }

    /// The ids of the sockets.
    pub fn sids(&self) -> &[Room] {
        &self.sids
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if let Some(forget) = self.forget.take() {
            forget();
        }
    }
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Asked").field(&self.sids).finish()
    }
}

/// The way back to the server that sent a `serverSideEmit` with ack. Answers at most once; dropping it is no answer.
pub struct Reply(Box<dyn FnOnce(Payload) + Send>);

impl Reply {
    /// A reply that hands the arguments to `send`.
    pub fn new(send: impl FnOnce(Payload) + Send + 'static) -> Self {
        Self(Box::new(send))
    }

    /// Answers with `arguments`, an array; only its first element travels.
    pub fn send(self, arguments: Payload) {
        (self.0)(arguments);
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reply")
    }
}
