//! One client in one namespace: a handle that is cheap to clone.
//!
//! What every socket needs stands in its one allocation; what few need (listeners, data, pending acks) is allocated
//! when it is first used.

// What it does, one file for each.
mod acks;
mod conn;
mod deliver;
mod emit;
mod joined;
mod life;
mod listen;
mod listeners;

use std::{fmt, sync::Arc};

use hashbrown::HashMap;
use patio_adapter::{IntoRooms, Room};
use patio_proto::payload::{ArgsError, Payload};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::Notify;

pub(crate) use self::acks::Waiting;
pub use self::{conn::Conn, emit::SocketEmitter, joined::Joined};
use self::{deliver::CatchingUp, listeners::Listeners};
use crate::{
    connection::Connection,
    engine::{Handshake, session::Session},
    extensions::Extensions,
    hub::Hub,
    rooms::Slot,
    server::Server,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering},
    },
};

/// One client in one namespace. Clones are the same socket.
#[derive(Clone)]
pub struct Socket(Arc<Inner>);

struct Inner {
    id: Room,
    hub: Arc<Hub>,
    session: Arc<Session<Connection>>,
    slot: AtomicU32,
    status: AtomicU8,
    /// Whether the connect handlers run: an event without a listener waits for them. The driver's alone.
    setup: AtomicU8,
    /// Whether there is anything in `more`: without, an event or a broadcast need not lock it.
    has_more: AtomicBool,
    extensions: Extensions,
    /// What few sockets need.
    more: Mutex<Option<Box<More>>>,
}

/// The states of a socket, in their order.
mod status {
    pub(super) const CONNECTING: u8 = 0;
    pub(super) const CONNECTED: u8 = 1;
    pub(super) const RECOVERED: u8 = 2;
    pub(super) const DISCONNECTED: u8 = 3;
}

/// How far the connect handlers are.
pub(crate) mod setup {
    pub(crate) const DONE: u8 = 0;
    pub(crate) const RUNNING: u8 = 1;
    /// They run, and some event waits for them: what comes after it waits behind it.
    pub(crate) const AWAITED: u8 = 2;
}

#[derive(Default)]
struct More {
    /// The data of the client's CONNECT.
    auth: Option<Payload>,
    /// The private id by which the client may come back.
    pid: Option<String>,
    data: serde_json::Map<String, serde_json::Value>,
    listeners: Listeners,
    /// Who waits for which ack. Each entry goes with its answer, its time limit, or the socket.
    acks: HashMap<u64, Waiting>,
    /// Tells those who wait for the end of this socket.
    closed: Option<Arc<Notify>>,
    /// Whether a restored socket still catches up with the history.
    catching_up: Option<Box<CatchingUp>>,
    /// Before the socket is connected: rooms to join then. After its end: the rooms it was in.
    rooms: Vec<Room>,
}

impl Socket {
    pub(crate) fn new(
        id: Room,
        hub: Arc<Hub>,
        session: Arc<Session<Connection>>,
        auth: Option<Payload>,
    ) -> Self {
        let more = auth.map(|auth| Box::new(More { auth: Some(auth), ..More::default() }));
        Self(Arc::new(Inner {
            id,
            hub,
            slot: AtomicU32::new(u32::MAX),
            status: AtomicU8::new(status::CONNECTING),
            setup: AtomicU8::new(setup::DONE),
            has_more: AtomicBool::new(more.is_some()),
            extensions: session.app.extensions.clone(),
            more: Mutex::new(more),
            session,
        }))
    }

    /// The public id of this socket: 20 characters, one per namespace, not the Engine.IO session id. Clients 1.x
    /// and 2.x compute theirs from the session id, so it is that, behind `/nsp#` outside the main namespace.
    ///
    /// `socket.id` in Socket.IO.
    pub fn id(&self) -> &Room {
        &self.0.id
    }

    /// The namespace, such as `/chat`. `socket.nsp.name` in Socket.IO.
    pub fn namespace(&self) -> &str {
        self.0.hub.name()
    }

    /// The server. `socket.server` in Socket.IO.
    pub fn server(&self) -> Server {
        Server::from_engine(Arc::clone(self.0.session.engine()))
    }

    /// The request with which the client connected. `socket.handshake` in Socket.IO.
    pub fn handshake(&self) -> &Handshake {
        &self.0.session.handshake
    }

    /// What the client sent as `auth`, read as `T`. Errors: it is something else, or absent and `T` needs it.
    /// `socket.handshake.auth` in Socket.IO.
    pub fn auth<T: DeserializeOwned>(&self) -> Result<T, ArgsError> {
        match self.auth_payload() {
            Some(auth) => auth.read_value(),
            // Node gives an empty object.
            None => Payload::value(&serde_json::json!({})).unwrap_or_default().read_value(),
        }
    }

    /// The data of the client's CONNECT, if it sent any.
    pub(crate) fn auth_payload(&self) -> Option<Payload> {
        self.0.more.lock().as_ref()?.auth.clone()
    }

    /// The connection under this socket. `socket.conn` in Socket.IO.
    pub fn conn(&self) -> Conn<'_> {
        Conn(&self.0.session)
    }

    /// Whether the socket is connected. `socket.connected` in Socket.IO.
    pub fn is_connected(&self) -> bool {
        matches!(self.status(), status::CONNECTED | status::RECOVERED)
    }

    /// Whether the client came back to the state it had: its id, rooms and data, and what it missed.
    /// `socket.recovered` in Socket.IO.
    pub fn recovered(&self) -> bool {
        self.status() == status::RECOVERED
    }

    fn status(&self) -> u8 {
        self.0.status.load(Ordering::Acquire)
    }

    /// Values of any type that stay with the socket on this server.
    pub fn extensions(&self) -> &Extensions {
        &self.0.extensions
    }

    /// A copy of the socket's data: a JSON object that other servers see in `fetch_sockets`, and that a recovered
    /// socket has again. `socket.data` in Socket.IO.
    pub fn data(&self) -> serde_json::Value {
        let more = self.0.more.lock();
        serde_json::Value::Object(more.as_ref().map(|more| more.data.clone()).unwrap_or_default())
    }

    /// One field of the socket's data.
    pub fn get_data(&self, key: &str) -> Option<serde_json::Value> {
        self.0.more.lock().as_ref()?.data.get(key).cloned()
    }

    /// Sets one field of the socket's data. Errors: the value cannot be serialised.
    pub fn set_data<T: Serialize + ?Sized>(&self, key: &str, value: &T) -> Result<(), serde_json::Error> {
        let value = serde_json::to_value(value)?;
        self.with_more(|more| more.data.insert(key.to_owned(), value));
        Ok(())
    }

    /// Removes one field of the socket's data; what it held.
    pub fn remove_data(&self, key: &str) -> Option<serde_json::Value> {
        self.0.more.lock().as_mut()?.data.remove(key)
    }

    fn with_more<R>(&self, with: impl FnOnce(&mut More) -> R) -> R {
        with(self.made(&mut self.0.more.lock()))
    }

    /// What few sockets need, made if this is the first that this one needs of it.
    fn made<'a>(&self, more: &'a mut Option<Box<More>>) -> &'a mut More {
        self.0.has_more.store(true, Ordering::Release);
        more.get_or_insert_default()
    }

    /// The same, if there is any.
    fn if_more<R>(&self, with: impl FnOnce(&mut More) -> R) -> Option<R> {
        if !self.0.has_more.load(Ordering::Acquire) {
            return None;
        }
        self.0.more.lock().as_deref_mut().map(with)
    }
}

/// Rooms.
impl Socket {
    /// Joins rooms; at once on this server, for its own emits. After the socket's end this does nothing.
    /// `socket.join(rooms)` in Socket.IO.
    ///
    /// What is returned need not be looked at. With an adapter that subscribes to rooms, such as that of `patio-redis` with
    /// `Subscriptions::Exact`, it [can be awaited](Joined) until what other servers send there arrives too.
    pub fn join(&self, rooms: impl IntoRooms) -> Joined {
        let rooms = rooms.into_rooms();
        match self.status() {
            status::CONNECTING => self.with_more(|more| more.rooms.extend(rooms)),
            status::DISCONNECTED => {}
            _ => {
                self.0.hub.join_socket(self, &rooms);
                if self.0.hub.adapter().subscribes_to_rooms() {
                    return Joined(Some((Arc::clone(&self.0.hub), rooms)));
                }
            }
        }
        Joined(None)
    }

    /// Leaves a room; at once on this server. `socket.leave(room)` in Socket.IO.
    pub fn leave(&self, room: impl AsRef<str>) {
        let room = room.as_ref();
        match self.status() {
            status::CONNECTING => self.with_more(|more| more.rooms.retain(|other| **other != *room)),
            status::DISCONNECTED => {}
            _ => self.0.hub.leave_socket(self, room),
        }
    }

    /// The rooms that the socket is in, the one named by its id among them; in a `disconnecting`
    /// handler, the rooms it was in until now. `socket.rooms` in Socket.IO.
    pub fn rooms(&self) -> Vec<Room> {
        if self.is_connected() {
            return self.0.hub.rooms_of(self);
        }
        self.0.more.lock().as_ref().map(|more| more.rooms.clone()).unwrap_or_default()
    }

    /// After the `disconnecting` handlers have started: the socket is in no room.
    pub(crate) fn forget_rooms(&self) {
        self.with_more(|more| more.rooms.clear());
    }

    pub(crate) fn slot(&self) -> Slot {
        Slot::from_raw(self.0.slot.load(Ordering::Relaxed))
    }
}

/// What the layers around a socket ask of it.
impl Socket {
    pub(crate) fn with_state<T: Clone + 'static>(&self) -> Option<T> {
        self.0.session.engine().shared.state.get::<T>().cloned()
    }

    /// Brings it into the cache, where the reference count is near.
    pub(crate) fn touch(&self) {
        std::hint::black_box(self.0.status.load(Ordering::Relaxed));
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.0.hub
    }

    pub(crate) fn session(&self) -> &Arc<Session<Connection>> {
        &self.0.session
    }

    pub(crate) fn set_pid(&self, pid: String) {
        self.with_more(|more| more.pid = Some(pid));
    }

    pub(crate) fn pid(&self) -> Option<String> {
        self.0.more.lock().as_ref()?.pid.clone()
    }

    pub(crate) fn restore_data(&self, data: serde_json::Value) {
        if let serde_json::Value::Object(data) = data {
            self.with_more(|more| more.data = data);
        }
    }
}

impl PartialEq for Socket {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Socket {}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("id", &self.0.id).field("namespace", &self.namespace()).finish()
    }
}
