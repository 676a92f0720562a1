//! One client in one namespace: a handle that is cheap to clone.
//!
//! What every socket needs stands in its one allocation; what few need (listeners, data, pending acks) is allocated
//! when it is first used.

use std::{
    fmt,
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU32, Ordering},
    },
};

use hashbrown::HashMap;
use parking_lot::Mutex;
use patio_adapter::{AnswerSink, BroadcastOptions, IntoRooms, Offset, Room};
use patio_proto::{
    encode::Encoded,
    engine::{CloseReason, Protocol, Transport},
    packet::{Kind, Packet},
    payload::Payload,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::{Notify, oneshot};

use crate::{
    ack::AckRequest,
    connection::{Command, Connection},
    engine::{Handshake, flush::Turn, session::Session},
    error::{EmitError, check_event},
    extensions::Extensions,
    handler::{DisconnectHandler, Handler, PacketMiddleware, erased, error::guard},
    hub::Hub,
    listeners::{Listeners, OutgoingListener},
    operator::BroadcastOperator,
    reason::DisconnectReason,
    rooms::Slot,
    server::Server,
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

/// What a restored socket does with live packets until it has what it missed.
struct CatchingUp {
    /// While the history is read: what comes meanwhile.
    held: Option<Vec<Held>>,
    /// How far it was read. What is not later than that is known to the client, also when it arrives late.
    cursor: Option<Offset>,
}

/// A packet that waits until its client has what it missed before.
struct Held {
    encoded: Arc<Encoded>,
    offset: Option<Offset>,
}

/// Who waits for an ack.
pub(crate) enum Waiting {
    One(oneshot::Sender<Payload>),
    Many(AnswerSink),
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
            extensions: session.app.extensions.clone(),
            more: Mutex::new(more),
            session,
        }))
    }

    /// The public id of this socket: 20 characters, one per namespace, not the Engine.IO session id. Clients of
    /// protocol 3 compute theirs from the session id, so it is that, behind `/nsp#` outside the main namespace.
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
        Server::of_engine(self.0.session.engine())
    }

    /// The request with which the client connected. `socket.handshake` in Socket.IO.
    pub fn handshake(&self) -> &Handshake {
        &self.0.session.handshake
    }

    /// What the client sent as `auth`, read as `T`. Errors: it is something else, or absent and `T` needs it.
    /// `socket.handshake.auth` in Socket.IO.
    pub fn auth<T: DeserializeOwned>(&self) -> Result<T, patio_proto::payload::ArgsError> {
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
        with(self.0.more.lock().get_or_insert_default())
    }
}

/// Rooms.
impl Socket {
    /// Joins rooms; at once on this server. After the socket's end this does nothing. `socket.join(rooms)` in Socket.IO.
    pub fn join(&self, rooms: impl IntoRooms) {
        let rooms = rooms.into_rooms();
        match self.status() {
            status::CONNECTING => self.with_more(|more| more.rooms.extend(rooms)),
            status::DISCONNECTED => {}
            _ => self.0.hub.join_socket(self, &rooms),
        }
    }

    /// Leaves a room; at once on this server. `socket.leave(room)` in Socket.IO.
    pub fn leave(&self, room: impl AsRef<str>) {
        match self.status() {
            status::CONNECTING => self.with_more(|more| more.rooms.retain(|other| **other != *room.as_ref())),
            status::DISCONNECTED => {}
            _ => self.0.hub.leave_socket(self, room.as_ref()),
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

/// Sending.
impl Socket {
    /// Sends an event to this client; a tuple is several arguments. Queued when this returns; to a client that has
    /// gone it does nothing. Errors: a reserved name, or data that cannot be serialised.
    /// `socket.emit(event, ...args)` in Socket.IO.
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, data: &T) -> Result<(), EmitError> {
        self.only().emit(event, data)
    }

    /// Sends the event `message`. Errors: as [`Self::emit`]. `socket.send(...args)` in Socket.IO.
    pub fn send<T: Serialize + ?Sized>(&self, data: &T) -> Result<(), EmitError> {
        self.emit("message", data)
    }

    /// Sends an event and asks for an answer, of type `R`: the answer's first argument, or several for a tuple.
    /// Await the result; without [`timeout`](AckRequest::timeout) the server's ack timeout applies.
    /// `socket.emitWithAck(event, ...args)` in Socket.IO.
    pub fn emit_with_ack<R: DeserializeOwned>(
        &self,
        event: &str,
        data: &(impl Serialize + ?Sized),
    ) -> AckRequest<R> {
        AckRequest::send(self, event, data, false)
    }

    /// Emits to this client that are dropped unless they can be written at once.
    /// `socket.volatile` in Socket.IO.
    pub fn volatile(&self) -> SocketEmitter<'_> {
        SocketEmitter { volatile: true, ..self.only() }
    }

    /// Emits to this client that are, or are not, worth being compressed. `socket.compress(value)` in Socket.IO.
    pub fn compress(&self, compress: bool) -> SocketEmitter<'_> {
        SocketEmitter { compress, ..self.only() }
    }

    fn only(&self) -> SocketEmitter<'_> {
        SocketEmitter { socket: self, volatile: false, compress: true }
    }

    /// Everyone in these rooms but this client. `socket.to(rooms)` in Socket.IO.
    pub fn to(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.broadcast().to(rooms)
    }

    /// As [`Self::to`]. `socket.in(rooms)` in Socket.IO.
    #[doc(alias = "in")]
    pub fn in_room(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.to(rooms)
    }

    /// Everyone but this client and the members of these rooms. `socket.except(rooms)` in Socket.IO.
    pub fn except(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.broadcast().except(rooms)
    }

    /// Everyone in the namespace but this client. `socket.broadcast` in Socket.IO.
    pub fn broadcast(&self) -> BroadcastOperator {
        let mut options = BroadcastOptions::everyone();
        options.except.push(self.0.id.clone());
        BroadcastOperator::new(self.0.session.engine(), &self.0.hub, options)
    }

    /// Everyone on this server but this client. `socket.local` in Socket.IO.
    pub fn local(&self) -> BroadcastOperator {
        self.broadcast().local()
    }

    /// Waits until everything queued for this client was handed to the operating system, or its connection ended:
    /// the way to send much without filling its queue.
    pub async fn flushed(&self) {
        poll_fn(|cx| self.0.session.poll_flushed(cx)).await;
    }

    /// Waits for the end of this socket.
    pub async fn closed(&self) {
        if self.status() == status::DISCONNECTED {
            return;
        }
        let closed = self.with_more(|more| Arc::clone(more.closed.get_or_insert_default()));
        let mut told = pin!(closed.notified());
        told.as_mut().enable();
        // It may have ended before it could tell.
        if self.status() != status::DISCONNECTED {
            told.await;
        }
    }

    /// Disconnects the client from this namespace; with `close`, from all its namespaces, and closes the connection.
    /// Official clients do not come back by themselves. `socket.disconnect(close)` in Socket.IO.
    pub fn disconnect(&self, close: bool) {
        let turn = Turn::of_caller();
        if close {
            self.0.session.app.disconnect_all(&self.0.session);
        } else {
            self.disconnect_by_server();
        }
        drop(turn);
    }

    pub(crate) fn disconnect_by_server(&self) {
        if self.is_connected() {
            self.deliver_packet(Kind::Disconnect);
            self.end(DisconnectReason::ServerNamespaceDisconnect);
        }
    }
}

/// Emits to one client with modifiers.
#[derive(Clone, Copy)]
#[must_use = "nothing is sent before `emit`"]
pub struct SocketEmitter<'a> {
    socket: &'a Socket,
    volatile: bool,
    compress: bool,
}

impl SocketEmitter<'_> {
    /// As [`Socket::volatile`].
    pub fn volatile(self) -> Self {
        Self { volatile: true, ..self }
    }

    /// As [`Socket::compress`].
    pub fn compress(self, compress: bool) -> Self {
        Self { compress, ..self }
    }

    /// As [`Socket::emit`].
    pub fn emit<T: Serialize + ?Sized>(self, event: &str, data: &T) -> Result<(), EmitError> {
        check_event(event)?;
        let payload = Payload::event(event, data)?;
        let socket = self.socket;
        // A middleware's socket is not known to the adapter yet.
        if socket.0.hub.records() && !self.volatile && socket.status() != status::CONNECTING {
            // A client that comes back must find it: the adapter keeps it.
            let mut options = BroadcastOptions::to(&socket.0.id);
            options.flags.compress = (!self.compress).then_some(false);
            return socket.0.hub.adapter().broadcast(&payload, &options).map_err(EmitError::from);
        }
        let packet = Packet::event(socket.0.hub.nsp(), payload);
        let mut encoded = Encoded::packet_with(socket.0.hub.parser(), &packet);
        if !self.compress {
            encoded = encoded.uncompressed();
        }
        let turn = Turn::of_caller();
        socket.deliver(&Arc::new(encoded), &packet, self.volatile, None);
        drop(turn);
        Ok(())
    }

    /// As [`Socket::emit_with_ack`].
    pub fn emit_with_ack<R: DeserializeOwned>(
        self,
        event: &str,
        data: &(impl Serialize + ?Sized),
    ) -> AckRequest<R> {
        AckRequest::send(self.socket, event, data, self.volatile)
    }

    /// As [`Socket::send`].
    pub fn send<T: Serialize + ?Sized>(self, data: &T) -> Result<(), EmitError> {
        self.emit("message", data)
    }
}

/// Listening.
impl Socket {
    /// Calls `handler` for each event of this name from this client. `socket.on(event, listener)` in Socket.IO.
    #[track_caller]
    pub fn on<M: 'static, H: Handler<M>>(&self, event: impl Into<String>, handler: H) {
        let handler = erased::EventHandler::new(handler);
        handler.check(self.server().state());
        self.listen(|listeners| listeners.on(event.into(), handler, false));
    }

    /// Calls `handler` for the next event of this name only. `socket.once(event, listener)` in Socket.IO.
    #[track_caller]
    pub fn once<M: 'static, H: Handler<M>>(&self, event: impl Into<String>, handler: H) {
        let handler = erased::EventHandler::new(handler);
        handler.check(self.server().state());
        self.listen(|listeners| listeners.on(event.into(), handler, true));
    }

    /// Removes the listeners that this socket has for an event; those of its namespace stay.
    /// `socket.removeAllListeners(event)` in Socket.IO.
    pub fn off(&self, event: &str) {
        self.with_more(|more| more.listeners.off(event));
    }

    /// Calls `handler` for every event from this client, before others. `socket.onAny(listener)` in Socket.IO.
    #[track_caller]
    pub fn on_any<M: 'static, H: Handler<M>>(&self, handler: H) {
        let handler = erased::EventHandler::new(handler);
        handler.check(self.server().state());
        self.listen(|listeners| listeners.any.push(handler));
    }

    /// Removes the listeners of [`Self::on_any`]. `socket.offAny()` in Socket.IO.
    pub fn off_any(&self) {
        self.with_more(|more| more.listeners.any.clear());
    }

    /// Calls `listener` with the name and the arguments of every event that is sent to this client, broadcasts
    /// included, acks not. It runs inside `emit`, so it must be quick. `socket.onAnyOutgoing(listener)` in Socket.IO.
    pub fn on_any_outgoing(&self, listener: impl Fn(&str, &Payload) + Send + Sync + 'static) {
        let listener: OutgoingListener = Arc::new(listener);
        self.listen(|listeners| listeners.outgoing.push(listener));
    }

    /// Removes the listeners of [`Self::on_any_outgoing`]. `socket.offAnyOutgoing()` in Socket.IO.
    pub fn off_any_outgoing(&self) {
        self.with_more(|more| more.listeners.outgoing.clear());
    }

    /// Lets `middleware` look at every event from this client before its listeners do; an error keeps it from them.
    /// `socket.use(fn)` in Socket.IO.
    #[doc(alias = "use")]
    #[track_caller]
    pub fn middleware<M: 'static, H: PacketMiddleware<M>>(&self, middleware: H) {
        let middleware = erased::PacketMiddleware::new(middleware);
        middleware.check(self.server().state());
        self.listen(|listeners| listeners.middlewares.push(middleware));
    }

    /// Calls `handler` when the socket is about to end; [`Self::rooms`] still tells its rooms.
    /// `socket.on("disconnecting")` in Socket.IO.
    #[track_caller]
    pub fn on_disconnecting<M: 'static, H: DisconnectHandler<M>>(&self, handler: H) {
        let handler = erased::DisconnectHandler::new(handler);
        handler.check(self.server().state());
        self.listen(|listeners| listeners.disconnecting.push(handler));
    }

    /// Calls `handler` when the socket has ended. `socket.on("disconnect")` in Socket.IO.
    #[track_caller]
    pub fn on_disconnect<M: 'static, H: DisconnectHandler<M>>(&self, handler: H) {
        let handler = erased::DisconnectHandler::new(handler);
        handler.check(self.server().state());
        self.listen(|listeners| listeners.disconnect.push(handler));
    }

    /// Adds a listener. A socket that has ended takes none: nobody would call it, and one that holds its own socket, as
    /// connect handlers add them after an await, would keep it alive for ever.
    fn listen(&self, add: impl FnOnce(&mut Listeners)) {
        let mut more = self.0.more.lock();
        // Looked at under the lock, so that `clear` finds the listener or is found here.
        if self.status() != status::DISCONNECTED {
            add(&mut more.get_or_insert_default().listeners);
        }
    }

    /// What this socket has of its own, besides its namespace's.
    pub(crate) fn with_listeners<R>(&self, with: impl FnOnce(&mut Listeners) -> R) -> Option<R> {
        self.0.more.lock().as_mut().map(|more| with(&mut more.listeners))
    }
}

/// What the layers around a socket do with it.
impl Socket {
    pub(crate) fn with_state<T: Clone + 'static>(&self) -> Option<T> {
        self.0.session.engine().shared.state.get::<T>().cloned()
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.0.hub
    }

    pub(crate) fn session(&self) -> &Arc<Session<Connection>> {
        &self.0.session
    }

    /// Queues an event for the client. With `offset` it is in the history, too.
    pub(crate) fn deliver(
        &self,
        encoded: &Arc<Encoded>,
        packet: &Packet,
        volatile: bool,
        offset: Option<&Offset>,
    ) {
        if self.status() == status::DISCONNECTED {
            return;
        }
        let outgoing = match self.0.more.lock().as_deref_mut() {
            None => Vec::new(),
            Some(more) => {
                if let Some(catching_up) = &mut more.catching_up {
                    if let Some(held) = &mut catching_up.held {
                        if held.len() >= self.0.session.engine().config.limits.outbound_packets {
                            self.0.session.close(CloseReason::SlowClient);
                        } else if !volatile {
                            held.push(Held { encoded: Arc::clone(encoded), offset: offset.cloned() });
                        }
                        return;
                    }
                    if let Some(offset) = offset {
                        if Some(offset) <= catching_up.cursor.as_ref() {
                            return;
                        }
                        // Offsets come in order: from here on all are later.
                        more.catching_up = None;
                    }
                }
                more.listeners.outgoing.clone()
            }
        };
        self.tell_outgoing(outgoing, packet);
        self.0.session.send(encoded, volatile);
    }

    /// Queues a packet that is for this client only.
    pub(crate) fn deliver_packet(&self, kind: Kind) {
        let packet = Packet::new(self.0.hub.nsp(), kind);
        self.0.session.send(&Arc::new(Encoded::packet_with(self.0.hub.parser(), &packet)), false);
    }

    /// A listener that panics keeps the event from nobody.
    fn tell_outgoing(&self, outgoing: Vec<OutgoingListener>, packet: &Packet) {
        let Some(payload) = packet.payload().filter(|_| !outgoing.is_empty()) else { return };
        let name = payload.event_name().unwrap_or_default();
        for listener in outgoing {
            if let Err(error) = guard(|| listener(&name, payload)) {
                self.server().handler_failed(self, Some(&name), &error);
            }
        }
    }

    /// Keeps back what is sent to this socket from now on, until [`Self::release`].
    pub(crate) fn hold(&self) {
        let catching_up = CatchingUp { held: Some(Vec::new()), cursor: None };
        self.with_more(|more| more.catching_up = Some(Box::new(catching_up)));
    }

    /// Sends what was kept back, without what the history had up to `cursor`; that is left out from now on, too.
    pub(crate) fn release(&self, cursor: &Offset) {
        loop {
            let held = {
                let mut more = self.0.more.lock();
                let Some(catching_up) = more.as_mut().and_then(|more| more.catching_up.as_mut()) else {
                    return;
                };
                catching_up.cursor = Some(cursor.clone());
                let held = catching_up.held.take().unwrap_or_default();
                if held.is_empty() {
                    return;
                }
                // What comes while these are sent comes after them.
                catching_up.held = Some(Vec::new());
                held
            };
            for Held { encoded, offset } in held {
                if offset.is_none_or(|offset| offset > *cursor) {
                    self.0.session.send(&encoded, false);
                }
            }
        }
    }

    pub(crate) fn send_ack(&self, id: u64, payload: Payload) {
        if self.is_connected() {
            let turn = Turn::of_caller();
            self.deliver_packet(Kind::Ack { id, payload });
            drop(turn);
        }
    }

    /// Remembers who waits for an ack. False: the socket has ended.
    pub(crate) fn expect_ack(&self, id: u64, waiting: Waiting) -> bool {
        let mut more = self.0.more.lock();
        // Looked at under the lock, so that the end of the socket finds the entry or is found here.
        if self.status() == status::DISCONNECTED {
            return false;
        }
        more.get_or_insert_default().acks.insert(id, waiting);
        true
    }

    pub(crate) fn forget_ack(&self, id: u64) -> bool {
        self.0.more.lock().as_mut().is_some_and(|more| more.acks.remove(&id).is_some())
    }

    /// An ack came.
    pub(crate) fn acknowledged(&self, id: u64, answer: Payload) {
        let waiting = self.0.more.lock().as_mut().and_then(|more| more.acks.remove(&id));
        match waiting {
            // Who waited may have given up.
            Some(Waiting::One(waiting)) => drop(waiting.send(answer)),
            Some(Waiting::Many(sink)) => sink.answer(self.0.id.clone(), answer),
            None => self.0.session.engine().counters.unknown_acks.add(1),
        }
    }

    /// How many acks of this client are waited for: for the tests that none is remembered for ever.
    #[doc(hidden)]
    pub fn pending_acks(&self) -> usize {
        self.0.more.lock().as_ref().map_or(0, |more| more.acks.len())
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

    /// The socket is in the index from now on. The rooms that were joined before are joined now.
    pub(crate) fn set_connected(&self, slot: Slot, recovered: bool) -> Vec<Room> {
        self.0.slot.store(slot.raw(), Ordering::Relaxed);
        let rooms =
            self.0.more.lock().as_mut().map(|more| std::mem::take(&mut more.rooms)).unwrap_or_default();
        let status = if recovered { status::RECOVERED } else { status::CONNECTED };
        self.0.status.store(status, Ordering::Release);
        rooms
    }

    pub(crate) fn set_setup(&self, setup: u8) {
        self.0.setup.store(setup, Ordering::Relaxed);
    }

    pub(crate) fn setup(&self) -> u8 {
        self.0.setup.load(Ordering::Relaxed)
    }

    /// Ends the socket here and now: it receives nothing more and is in no room. Its handlers are run by the driver.
    /// False: it had ended already, or never was connected.
    pub(crate) fn end(&self, reason: DisconnectReason) -> bool {
        let rooms = {
            let mut more = self.0.more.lock();
            let was = self.0.status.swap(status::DISCONNECTED, Ordering::AcqRel);
            if was == status::DISCONNECTED || was == status::CONNECTING {
                return false;
            }
            let closed = more.as_mut().and_then(|more| more.closed.take());
            drop(more);
            if let Some(closed) = closed {
                closed.notify_waiters();
            }
            self.0.hub.remove(self)
        };
        let acks = self.with_more(|more| {
            more.rooms = rooms;
            std::mem::take(&mut more.acks)
        });
        for (_, waiting) in acks {
            if let Waiting::Many(sink) = waiting {
                sink.gone(self.0.id.clone());
            }
        }
        self.0.session.app.command(Command::Ended(self.clone(), reason));
        self.0.session.wake();
        true
    }

    /// A restored socket whose client does not get it: it leaves, and nobody hears of it.
    pub(crate) fn withdraw(&self) {
        let more = self.0.more.lock();
        let was = self.0.status.swap(status::DISCONNECTED, Ordering::AcqRel);
        drop(more);
        // Who ended it meanwhile has taken it out, and its place may be another's by now.
        if matches!(was, status::CONNECTED | status::RECOVERED) {
            self.0.hub.remove(self);
        }
        self.clear();
    }

    /// A socket whose CONNECT was refused, or that is gone: its listeners are let go, so that a closure which holds
    /// its own socket does not keep it alive. Its data stay for handlers that still run.
    pub(crate) fn clear(&self) {
        self.0.status.store(status::DISCONNECTED, Ordering::Release);
        let gone = self.0.more.lock().as_mut().map(|more| {
            more.catching_up = None;
            (std::mem::take(&mut more.listeners), std::mem::take(&mut more.acks), more.closed.take())
        });
        if let Some((_, _, Some(closed))) = &gone {
            closed.notify_waiters();
        }
        // Dropped here, after the lock: what closures hold is user code.
        drop(gone);
    }
}

/// The connection under a socket: `socket.conn` in Socket.IO.
pub struct Conn<'a>(&'a Arc<Session<Connection>>);

impl Conn<'_> {
    /// The Engine.IO session id. It is secret: whoever knows it can take part in the session.
    pub fn id(&self) -> &str {
        self.0.sid()
    }

    /// The revision of Engine.IO: 3 for clients 1.x and 2.x, 4 for clients 3.x and 4.x.
    pub fn protocol(&self) -> Protocol {
        self.0.protocol()
    }

    /// How packets travel at this moment; it changes from polling to WebSocket by an upgrade.
    pub fn transport(&self) -> Transport {
        self.0.transport()
    }

    /// The peer's address, where the server knows it.
    pub fn remote_address(&self) -> Option<std::net::SocketAddr> {
        self.0.handshake.address()
    }

    /// Closes the connection without a word to the namespaces' clients, who come back by themselves.
    pub fn close(&self) {
        self.0.close(CloseReason::ForcedClose);
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
