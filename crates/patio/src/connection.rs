//! One client's connection and the namespaces it is in: Socket.IO packets in, handlers started, the end told.
//!
//! Everything here but [`Connection::command`] runs in the connection's driver. Handlers of one socket start in the
//! order of their packets: each is polled once where it stands, and those that wait go on in a set of bounded size.
//! At the bound further events are parked, in order, while acks, disconnects and heartbeats are still taken; when too
//! much is parked, the driver stops reading.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
};

use futures_util::{
    FutureExt, Stream,
    future::{BoxFuture, join_all},
    stream::FuturesUnordered,
    task::noop_waker_ref,
};
use parking_lot::Mutex;
use patio_adapter::{Replayed, Restored, Room};
use patio_proto::{
    Text,
    decode::Decoder,
    encode::Parser,
    engine::{CloseReason, Message, Protocol, Transport},
    packet::{Kind, Packet, split_query},
    payload::Payload,
};
use smallvec::SmallVec;
use tokio::time::Instant;

use crate::{
    engine::{Application, Engine, flush::Turn, session::Session},
    extensions::Extensions,
    handler::{
        Call, HandlerError,
        erased::{self, EventHandler},
        kind::{Kind as HandlerKind, Running},
    },
    http::query::Query,
    hub::Hub,
    reason::DisconnectReason,
    refusal::Refusal,
    server::Shared,
    socket::{Socket, setup},
};

/// What a client has on this server besides its session.
#[derive(Default)]
pub(crate) struct Connection {
    state: Mutex<State>,
    /// What is kept of the request's extensions.
    pub(crate) extensions: Extensions,
}

#[derive(Default)]
struct State {
    /// The namespaces that the client is in, or asks for. Few, so a list.
    namespaces: SmallVec<[Member; 1]>,
    /// What other tasks want the driver to do.
    commands: Vec<Command>,
}

enum Member {
    Connecting(Text),
    /// It is listed under the id and in the rooms that it had, and catches up with what it missed.
    Restoring(Socket),
    Connected(Socket),
}

/// What only the driver may do, asked for by others.
pub(crate) enum Command {
    /// The socket has ended: run its handlers.
    Ended(Socket, DisconnectReason),
}

/// What only the driver touches.
#[derive(Default)]
pub(crate) struct Inbox {
    decoder: Decoder,
    /// Handlers and middlewares that wait for something. Made when the first one does.
    running: Option<Box<FuturesUnordered<Job>>>,
    /// Events that wait for a place among the running, or for their socket's connect handlers.
    #[expect(clippy::box_collection, reason = "an idle connection pays 8 bytes for it instead of 32")]
    parked: Option<Box<VecDeque<Event>>>,
    parked_bytes: usize,
    /// Too much is parked.
    full: bool,
    /// Until when a first namespace must be joined.
    connect_by: Option<Instant>,
    /// Until when the attachments of a packet must be here.
    attachments_by: Option<Instant>,
}

/// An event from the client.
struct Event {
    socket: Socket,
    id: Option<u64>,
    payload: Payload,
}

impl Event {
    fn name(&self) -> Box<str> {
        self.payload.event_name().unwrap_or_default().into()
    }
}

/// Something that runs for a connection.
struct Job(Work);

enum Work {
    /// One handler of one event. The event's name, for what goes wrong, stands here once the handler waits.
    Event {
        socket: Socket,
        event: Box<str>,
        future: Running<Result<(), HandlerError>>,
    },
    Flow(BoxFuture<'static, Done>),
}

/// What a job led to.
enum Done {
    Nothing,
    /// A handler of an event has failed.
    Failed {
        socket: Socket,
        event: Box<str>,
        error: HandlerError,
    },
    /// The middlewares have spoken about a CONNECT.
    Connect {
        socket: Socket,
        verdict: Result<(), Refusal>,
        restored: Option<Restored>,
    },
    /// The history was read up to the present for a client that came back; `None`: it is not complete.
    Replayed {
        socket: Socket,
        restored: Restored,
        replayed: Option<Replayed>,
    },
    /// The connect handlers have ended.
    SetUp(Socket),
    /// The packet middlewares let an event pass.
    Pass(Event),
}

impl Future for Job {
    type Output = Done;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Done> {
        match &mut self.0 {
            Work::Event { socket, event, future } => {
                let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
                let polled = polled.unwrap_or_else(|panic| Poll::Ready(Err(HandlerError::panicked(panic))));
                polled.map(|outcome| match outcome {
                    Ok(()) => Done::Nothing,
                    Err(error) => {
                        Done::Failed { socket: socket.clone(), event: std::mem::take(event), error }
                    }
                })
            }
            // Flows catch the panics of what they run themselves.
            Work::Flow(future) => future.as_mut().poll(cx),
        }
    }
}

impl Connection {
    /// Asks the driver for something. It must be woken too.
    pub(crate) fn command(&self, command: Command) {
        self.state.lock().commands.push(command);
    }

    /// Disconnects all sockets of this connection, and closes it.
    pub(crate) fn disconnect_all(&self, session: &Arc<Session<Self>>) {
        for socket in self.sockets() {
            socket.disconnect_by_server();
        }
        session.close(CloseReason::ForcedClose);
    }

    /// The sockets that are connected.
    pub(crate) fn sockets(&self) -> Vec<Socket> {
        let state = self.state.lock();
        let connected = state.namespaces.iter().filter_map(|member| match member {
            Member::Connected(socket) => Some(socket.clone()),
            Member::Connecting(_) | Member::Restoring(_) => None,
        });
        connected.collect()
    }

    /// The sockets that were about to be restored leave again.
    fn withdraw(&self, keep: bool) {
        let restoring: Vec<_> = {
            let state = self.state.lock();
            let restoring = state.namespaces.iter().filter_map(|member| match member {
                Member::Restoring(socket) => Some(socket.clone()),
                Member::Connecting(_) | Member::Connected(_) => None,
            });
            restoring.collect()
        };
        for socket in restoring {
            let record = socket.hub().record(&socket, socket.rooms()).filter(|_| keep);
            socket.withdraw();
            // The adapter may have given it away for good: the client has not got it.
            if let Some(record) = record {
                socket.hub().adapter().persist(record);
            }
        }
    }
}

impl State {
    fn find(&self, nsp: &str) -> Option<&Member> {
        self.namespaces.iter().find(|member| member.nsp() == nsp)
    }

    /// Changes what the client is in a namespace.
    fn set(&mut self, member: Member) {
        if let Some(other) = self.namespaces.iter_mut().find(|other| other.nsp() == member.nsp()) {
            *other = member;
        }
    }

    fn remove(&mut self, nsp: &str) {
        self.namespaces.retain(|member| member.nsp() != nsp);
    }
}

impl Member {
    fn nsp(&self) -> &str {
        match self {
            Self::Connecting(nsp) => nsp,
            Self::Restoring(socket) | Self::Connected(socket) => socket.namespace(),
        }
    }
}

impl Application for Connection {
    type Shared = Shared;
    type Inbox = Inbox;

    fn new(engine: &Arc<Engine<Self>>, request: &::http::Extensions) -> Self {
        let connection = Self::default();
        engine.shared.pickers.pick(request, &connection.extensions);
        connection
    }

    fn opened(session: &Arc<Session<Self>>, inbox: &mut Inbox) {
        inbox.connect_by = Some(Instant::now() + session.engine().config.connect_timeout);
        let mut driver = Driver { session, inbox };
        driver.set_deadline();
        if session.protocol() == Protocol::V3 {
            driver.connect(Text::from_static("/"), None);
        }
    }

    fn message(session: &Arc<Session<Self>>, inbox: &mut Inbox, message: Message) {
        Driver { session, inbox }.message(message);
    }

    fn wants_more(inbox: &Inbox) -> bool {
        !inbox.full
    }

    fn poll(session: &Arc<Session<Self>>, inbox: &mut Inbox, cx: &mut Context<'_>) -> Poll<()> {
        Driver { session, inbox }.run(cx)
    }

    fn due(session: &Arc<Session<Self>>, inbox: &mut Inbox) {
        Driver { session, inbox }.due();
    }

    fn closed(session: &Arc<Session<Self>>, inbox: &mut Inbox, reason: CloseReason) {
        inbox.connect_by = None;
        inbox.attachments_by = None;
        let mut driver = Driver { session, inbox };
        for socket in session.app.sockets() {
            let record =
                driver.recoverable(reason).then(|| socket.hub().record(&socket, socket.rooms())).flatten();
            if socket.end(reason.into())
                && let Some(record) = record
            {
                socket.hub().adapter().persist(record);
            }
        }
        session.app.withdraw(driver.recoverable(reason));
        driver.commands();
        session.app.state.lock().namespaces.clear();
        driver.forget_parked();
    }

    fn abandoned(session: &Arc<Session<Self>>, inbox: &mut Inbox) {
        for socket in session.app.sockets() {
            socket.end(DisconnectReason::ServerShuttingDown);
            socket.clear();
        }
        session.app.withdraw(false);
        let commands = {
            let mut state = session.app.state.lock();
            state.namespaces.clear();
            std::mem::take(&mut state.commands)
        };
        drop(commands);
        inbox.running = None;
        inbox.parked = None;
    }
}

/// The driver's hand on a connection.
struct Driver<'a> {
    session: &'a Arc<Session<Connection>>,
    inbox: &'a mut Inbox,
}

/// Packets.
impl Driver<'_> {
    fn engine(&self) -> &Arc<Engine<Connection>> {
        self.session.engine()
    }

    fn message(&mut self, message: Message) {
        let config = &self.session.engine().config;
        let limits = &config.limits.packet;
        let packet = match (config.parser, message) {
            (Parser::Json, Message::Text(text)) => self.inbox.decoder.text(text, limits),
            (Parser::Json, Message::Binary(bytes)) => self.inbox.decoder.binary(bytes, limits),
            #[cfg(feature = "msgpack")]
            (Parser::MsgPack, Message::Binary(bytes)) => {
                patio_proto::msgpack::decode(bytes, limits).map(Some)
            }
            #[cfg(feature = "msgpack")]
            (Parser::MsgPack, Message::Text(_)) => Err(patio_proto::decode::DecodeError::UnexpectedText),
        };
        let waits = self.inbox.decoder.is_waiting();
        if waits != self.inbox.attachments_by.is_some() {
            let time = config.limits.attachment_timeout;
            self.inbox.attachments_by = waits.then(|| Instant::now() + time);
            self.set_deadline();
        }
        match packet {
            Ok(Some(packet)) => self.packet(packet),
            Ok(None) => {}
            Err(error) => {
                self.engine().counters.bad_messages.add(1);
                tracing::debug!(sid = self.session.sid(), %error, "bad Socket.IO packet");
                self.session.close(CloseReason::ForcedClose);
            }
        }
    }

    fn packet(&mut self, packet: Packet) {
        let (nsp, query) = match self.session.protocol() {
            Protocol::V4 => (packet.nsp, None),
            // Clients of that time put a query behind the namespace, in every packet.
            Protocol::V3 => match split_query(&packet.nsp) {
                (_, None) => (packet.nsp, None),
                (nsp, Some(query)) => (Text::from(nsp), Some(query.to_owned())),
            },
        };
        if let Kind::Connect(auth) = packet.kind {
            let auth = auth.or_else(|| query.and_then(|query| query_payload(&query)));
            return self.connect(nsp, auth);
        }
        let socket = match self.session.app.state.lock().find(&nsp) {
            Some(Member::Connected(socket)) => Some(socket.clone()),
            Some(Member::Connecting(_) | Member::Restoring(_)) | None => None,
        };
        match (socket, packet.kind) {
            (Some(socket), Kind::Event { id, payload }) => self.event(Event { socket, id, payload }),
            (Some(socket), Kind::Ack { id, payload }) => socket.acknowledged(id, payload),
            (Some(socket), Kind::Disconnect) => {
                socket.end(DisconnectReason::ClientNamespaceDisconnect);
                self.commands();
            }
            _ => self.invalid_state(),
        }
    }

    /// A packet that is not allowed now. Node closes the transport without a word, with a reason of its own where that
    /// has to wait for the next poll.
    fn invalid_state(&mut self) {
        self.engine().counters.invalid_states.add(1);
        tracing::debug!(sid = self.session.sid(), "packet for a namespace that is not connected");
        let waits = self.session.is_between_polls();
        self.session.close(if waits { CloseReason::ForcedServerClose } else { CloseReason::ForcedClose });
    }

    fn due(&mut self) {
        let now = Instant::now();
        let late = |by: &Option<Instant>| by.is_some_and(|by| by <= now);
        if late(&self.inbox.attachments_by) || (late(&self.inbox.connect_by) && self.has_no_namespace()) {
            self.engine().counters.late_clients.add(1);
            self.session.close(CloseReason::ForcedClose);
        }
        self.inbox.connect_by.take_if(|by| *by <= now);
        self.set_deadline();
    }

    fn has_no_namespace(&self) -> bool {
        let state = self.session.app.state.lock();
        !state.namespaces.iter().any(|member| matches!(member, Member::Connected(_)))
    }

    fn set_deadline(&self) {
        let next = self.inbox.connect_by.into_iter().chain(self.inbox.attachments_by).min();
        self.session.set_deadline(next);
    }
}

/// Joining a namespace.
impl Driver<'_> {
    fn connect(&mut self, nsp: Text, auth: Option<Payload>) {
        let engine = Arc::clone(self.engine());
        let nsp = if nsp.starts_with('/') { nsp } else { Text::from(format!("/{}", &*nsp)) };
        // The end of a former socket of this namespace may be known, but not be dealt with.
        self.commands();
        {
            let mut state = self.session.app.state.lock();
            if state.find(&nsp).is_some() {
                drop(state);
                return self.invalid_state();
            }
            if state.namespaces.len() >= engine.config.limits.namespaces {
                drop(state);
                return self.refuse_as_object(&nsp, &Refusal::new("Too many namespaces"));
            }
            state.namespaces.push(Member::Connecting(nsp.clone()));
        }
        let Some(hub) = engine.shared.enter(&engine, &nsp, auth.as_ref()) else {
            self.session.app.state.lock().remove(&nsp);
            return self.refuse_as_object(&nsp, &Refusal::new("Invalid namespace"));
        };
        let returning = self.returning(auth.as_ref());
        self.admit(hub, auth, returning);
    }

    /// Gives the client a socket: the one that it had, if it says so and that is known, else one for the middlewares.
    fn admit(&mut self, hub: Arc<Hub>, auth: Option<Payload>, returning: Option<(String, String)>) {
        let engine = Arc::clone(self.engine());
        let declared = hub.declared();
        if returning.is_none() && declared.middlewares.is_empty() {
            let socket =
                Socket::new(new_id(self.session, hub.name()), hub.clone(), Arc::clone(self.session), auth);
            return self.connected(socket);
        }
        let middlewares = declared.middlewares.clone();
        drop(declared);
        let skip = engine.config.recovery.is_some_and(|recovery| recovery.skip_middlewares);
        let session = Arc::clone(self.session);
        self.start(Job(Work::Flow(Box::pin(async move {
            let restored = match returning {
                Some((pid, offset)) => hub.adapter().restore(&pid, &offset).await,
                None => None,
            };
            // The former connection may still stand: then it is nobody's state to take.
            let restored = restored.filter(|restored| hub.socket(&restored.session.sid).is_none());
            let id = restored.as_ref().map(|restored| restored.session.sid.clone());
            let id = id.unwrap_or_else(|| new_id(&session, hub.name()));
            let socket = Socket::new(id, hub, session, auth);
            if let Some(restored) = &restored {
                socket.restore_data(restored.session.data.clone());
            }
            let verdict = if restored.is_some() && skip {
                Ok(())
            } else {
                AssertUnwindSafe(ask(middlewares, &socket)).catch_unwind().await.unwrap_or_else(|panic| {
                    socket.server().handler_failed(&socket, None, &HandlerError::panicked(panic));
                    Err(Refusal::new("Internal server error"))
                })
            };
            Done::Connect { socket, verdict, restored }
        }))));
    }

    /// The private id and the offset of a client that wants its state back.
    fn returning(&self, auth: Option<&Payload>) -> Option<(String, String)> {
        #[derive(serde::Deserialize)]
        struct Returning {
            pid: String,
            offset: String,
        }

        self.engine().config.recovery?;
        let Returning { pid, offset } = auth?.read_value().ok()?;
        Some((pid, offset))
    }

    fn verdict(&mut self, socket: Socket, verdict: Result<(), Refusal>, restored: Option<Restored>) {
        if self.session.is_closed() {
            return self.unconnected(&socket);
        }
        match verdict {
            Ok(()) => match restored {
                Some(restored) => self.rejoin(socket, restored),
                None => self.connected(socket),
            },
            Err(refusal) => {
                let nsp = socket.hub().nsp();
                self.session.app.state.lock().remove(&nsp);
                self.unconnected(&socket);
                self.refuse(&nsp, &refusal);
            }
        }
    }

    /// A socket that did not make it leaves nothing behind.
    fn unconnected(&mut self, socket: &Socket) {
        socket.hub().connecting.fetch_sub(1, Ordering::Relaxed);
        socket.clear();
        let engine = self.engine();
        engine.shared.clean_up(engine, socket.hub());
    }

    /// A client that came back gets its id, its rooms and its data.
    fn rejoin(&mut self, socket: Socket, restored: Restored) {
        let hub = Arc::clone(socket.hub());
        let own = socket.id().clone();
        socket.join(restored.session.rooms.iter().filter(|room| **room != own).cloned().collect::<Vec<_>>());
        socket.set_pid(restored.session.pid.clone());
        // Between the look at the history and the rooms is a gap: from here on it hears everything, and the history
        // is read once more for what came in between.
        socket.hold();
        if !hub.insert(&socket, true) {
            return self.begin_anew(&socket);
        }
        self.session.app.state.lock().set(Member::Restoring(socket.clone()));
        let replay = hub.adapter().replay(&restored.cursor, &hub.rooms_of(&socket));
        self.start(Job(Work::Flow(Box::pin(async move {
            let replayed = replay.await;
            Done::Replayed { socket, restored, replayed }
        }))));
    }

    fn replayed(&mut self, socket: Socket, restored: Restored, replayed: Option<Replayed>) {
        // Its connection, or somebody else, may have ended it meanwhile.
        if !socket.is_connected() {
            socket.hub().connecting.fetch_sub(1, Ordering::Relaxed);
            let engine = self.engine();
            return engine.shared.clean_up(engine, socket.hub());
        }
        let Some(replayed) = replayed else {
            return self.begin_anew(&socket);
        };
        self.joined(&socket);
        for (payload, offset) in restored.missed.into_iter().chain(replayed.missed) {
            socket.deliver_packet(Kind::Event {
                id: None,
                payload: payload.with_appended_str(offset.as_str()),
            });
        }
        self.welcome(&socket);
        socket.release(&replayed.cursor);
        self.set_up(socket);
    }

    /// A client cannot have its state back after all.
    fn begin_anew(&mut self, socket: &Socket) {
        let (hub, auth) = (Arc::clone(socket.hub()), socket.auth_payload());
        socket.withdraw();
        self.session.app.state.lock().set(Member::Connecting(hub.nsp()));
        self.admit(hub, auth, None);
    }

    fn connected(&mut self, socket: Socket) {
        if self.engine().config.recovery.is_some() && self.session.protocol() == Protocol::V4 {
            socket.set_pid(self.engine().new_id());
        }
        if !socket.hub().insert(&socket, false) {
            // The computed id of protocol 3 is taken.
            self.session.app.state.lock().remove(socket.namespace());
            self.unconnected(&socket);
            return self.session.close(CloseReason::ForcedClose);
        }
        self.joined(&socket);
        self.welcome(&socket);
        self.set_up(socket);
    }

    /// The socket is one of the connection's from now on.
    fn joined(&mut self, socket: &Socket) {
        socket.hub().connecting.fetch_sub(1, Ordering::Relaxed);
        self.session.app.state.lock().set(Member::Connected(socket.clone()));
        if self.inbox.connect_by.take().is_some() {
            self.set_deadline();
        }
    }

    /// Answers the client's CONNECT.
    fn welcome(&self, socket: &Socket) {
        let data = match self.session.protocol() {
            Protocol::V4 => {
                Payload::value(&Connected { sid: socket.id(), pid: socket.pid().as_deref() }).ok()
            }
            Protocol::V3 => None,
        };
        socket.deliver_packet(Kind::Connect(data));
        // In a write of its own: clients that look at one message at a time, as the protocol's own test suite does,
        // would miss what the connect handlers send behind it.
        self.session.write_now();
    }

    /// Runs the connect handlers.
    fn set_up(&mut self, socket: Socket) {
        let handlers = socket.hub().declared().connect.clone();
        if handlers.is_empty() {
            return;
        }
        socket.set_setup(setup::RUNNING);
        self.start(Job(Work::Flow(Box::pin(async move {
            run_all(handlers, Call::connect(socket.clone())).await;
            Done::SetUp(socket)
        }))));
    }

    /// Answers with what a middleware said, in the form of the client's protocol.
    fn refuse(&mut self, nsp: &Text, refusal: &Refusal) {
        match self.session.protocol() {
            Protocol::V4 => self.refuse_as_object(nsp, refusal),
            Protocol::V3 => self.refuse_with(nsp, refusal.to_payload_v4()),
        }
    }

    /// Answers with what the server itself says: an object in both protocols.
    fn refuse_as_object(&mut self, nsp: &Text, refusal: &Refusal) {
        self.refuse_with(nsp, refusal.to_payload());
    }

    fn refuse_with(&mut self, nsp: &Text, data: Payload) {
        self.engine().counters.refused_connects.add(1);
        let packet = Packet::new(nsp.clone(), Kind::ConnectError(data));
        let parser = self.engine().config.parser;
        let encoded = patio_proto::encode::Encoded::packet_with(parser, &packet);
        self.session.send(&Arc::new(encoded), false);
    }

    /// Whether a client that ends so may come back to its state.
    fn recoverable(&self, reason: CloseReason) -> bool {
        self.engine().config.recovery.is_some()
            && !matches!(reason, CloseReason::ParseError | CloseReason::SlowClient)
    }
}

/// The data of the CONNECT packet that answers a client.
#[derive(serde::Serialize)]
struct Connected<'a> {
    sid: &'a Room,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<&'a str>,
}

/// The id of a new socket. Clients of protocol 3 compute it themselves.
fn new_id(session: &Session<Connection>, nsp: &str) -> Room {
    match session.protocol() {
        Protocol::V4 => Room::from(session.engine().new_id()),
        Protocol::V3 if nsp == "/" => Room::from(session.sid()),
        Protocol::V3 => Room::from(format!("{nsp}#{}", session.sid())),
    }
}

/// The query behind a namespace of protocol 3, as `auth`.
fn query_payload(query: &str) -> Option<Payload> {
    let query = Query::parse(query);
    let object: serde_json::Map<_, _> =
        query.iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    Payload::value(&object).ok()
}

async fn ask(middlewares: Vec<erased::Middleware>, socket: &Socket) -> Result<(), Refusal> {
    for middleware in middlewares {
        middleware.call(Call::connect(socket.clone()))?.await?;
    }
    Ok(())
}

/// Runs handlers side by side, each on its own: one that fails or panics does not touch the others.
async fn run_all<K>(handlers: Vec<erased::Erased<K>>, call: Call)
where
    K: HandlerKind<Output = Result<(), HandlerError>>,
{
    let handlers = handlers.into_iter().map(|handler| {
        let call = call.clone();
        async move {
            let socket = call.socket.clone();
            let ran = AssertUnwindSafe(async { handler.call(call)?.await }).catch_unwind().await;
            if let Err(error) = ran.unwrap_or_else(|panic| Err(HandlerError::panicked(panic))) {
                socket.server().handler_failed(&socket, None, &error);
            }
        }
    });
    join_all(handlers).await;
}

/// Events.
impl Driver<'_> {
    fn event(&mut self, event: Event) {
        if !event.socket.is_connected() {
            self.engine().counters.dropped_events.add(1);
        } else if self.must_park(&event) {
            self.park(event);
        } else {
            self.dispatch(event);
        }
    }

    /// Whether the event must wait. While there is a place, all that is parked waits for connect handlers, and their
    /// sockets know of it: nothing has to be looked for.
    fn must_park(&self, event: &Event) -> bool {
        if !self.has_place() || event.socket.setup() == setup::AWAITED {
            return true;
        }
        let waits = event.waits_for_listeners();
        if waits {
            event.socket.set_setup(setup::AWAITED);
        }
        waits
    }

    fn park(&mut self, mut event: Event) {
        if self.session.transport() == Transport::Polling {
            // A small event must not keep the large request that it came in.
            event.payload = event.payload.detached();
        }
        self.inbox.parked_bytes += event.parked_size();
        self.inbox.parked.get_or_insert_default().push_back(event);
        self.measure();
    }

    /// Whether too much is parked, or runs: handlers of connections and of their ends have no place among the events',
    /// so a client that joins and leaves all the time is not read from while too many of them wait.
    fn measure(&mut self) {
        let limits = &self.session.engine().config.limits;
        let most = limits.handlers.saturating_add(limits.namespaces.saturating_mul(2));
        self.inbox.full = self.inbox.parked_bytes >= limits.parked_bytes || self.running() >= most;
    }

    fn forget_parked(&mut self) {
        if let Some(parked) = self.inbox.parked.take() {
            self.engine().counters.dropped_events.add(parked.len() as u64);
        }
        self.inbox.parked_bytes = 0;
        self.measure();
    }

    /// Dispatches what may go on now, in order. True: that was something.
    fn unpark(&mut self) -> bool {
        let mut went_on = self.unpark_once();
        if self.inbox.full && self.has_place() {
            // Connect handlers that go on for as long as their sockets do: nobody can wait for that.
            for event in self.inbox.parked.iter().flat_map(|parked| parked.iter()) {
                event.socket.set_setup(setup::DONE);
            }
            went_on |= self.unpark_once();
        }
        went_on
    }

    fn unpark_once(&mut self) -> bool {
        let mut went_on = false;
        let mut at = 0;
        // Sockets whose connect handlers still run: nothing of theirs overtakes what waits.
        let mut held: SmallVec<[Socket; 2]> = SmallVec::new();
        while self.has_place() {
            let Some(event) = self.inbox.parked.as_ref().and_then(|parked| parked.get(at)) else { break };
            let is_held = held.contains(&event.socket);
            if is_held || event.waits_for_listeners() {
                if !is_held {
                    event.socket.set_setup(setup::AWAITED);
                    held.push(event.socket.clone());
                }
                at += 1;
                continue;
            }
            let Some(event) = self.inbox.parked.as_mut().and_then(|parked| parked.remove(at)) else { break };
            if event.socket.setup() == setup::AWAITED {
                event.socket.set_setup(setup::RUNNING);
            }
            self.inbox.parked_bytes -= event.parked_size();
            self.dispatch(event);
            went_on = true;
        }
        self.inbox.parked.take_if(|parked| parked.is_empty());
        self.measure();
        went_on
    }

    /// Whether another handler may run.
    fn has_place(&self) -> bool {
        self.running() < self.engine().config.limits.handlers
    }

    fn running(&self) -> usize {
        self.inbox.running.as_ref().map_or(0, |running| running.len())
    }

    fn dispatch(&mut self, event: Event) {
        if !event.socket.is_connected() {
            return self.engine().counters.dropped_events.add(1);
        }
        let declared = event.socket.hub().declared();
        let mut any: SmallVec<[EventHandler; 2]> = declared.any.iter().cloned().collect();
        let mut middlewares = declared.packet_middlewares.clone();
        drop(declared);
        event.socket.with_listeners(|listeners| {
            any.extend(listeners.any.iter().cloned());
            middlewares.extend(listeners.middlewares.iter().cloned());
        });
        for handler in any {
            self.call(&handler, &event, None);
        }
        if middlewares.is_empty() {
            return self.deliver(event);
        }
        self.start(Job(Work::Flow(Box::pin(async move {
            for middleware in middlewares {
                let call = Call::event(event.socket.clone(), event.payload.clone(), None);
                let passed = async { middleware.call(call)?.await };
                match AssertUnwindSafe(passed).catch_unwind().await {
                    Ok(Ok(())) => {}
                    Ok(Err(refusal)) => {
                        event.socket.server().event_refused(&event.socket, &event.payload, &refusal);
                        return Done::Nothing;
                    }
                    Err(panic) => {
                        let name = event.name();
                        return Done::Failed {
                            socket: event.socket,
                            event: name,
                            error: HandlerError::panicked(panic),
                        };
                    }
                }
            }
            Done::Pass(event)
        }))));
    }

    /// Calls the handlers of an event.
    fn deliver(&mut self, event: Event) {
        if !event.socket.is_connected() {
            return self.engine().counters.dropped_events.add(1);
        }
        let name = event.payload.event_name().unwrap_or_default();
        let mut handlers: SmallVec<[EventHandler; 2]> =
            event.socket.hub().declared().on.get(&*name).into_iter().flatten().cloned().collect();
        event.socket.with_listeners(|listeners| listeners.take(&name, &mut handlers));
        if handlers.is_empty() {
            return self.engine().counters.unhandled_events.add(1);
        }
        // A client is acknowledged once: by its first handler.
        let mut id = event.id;
        for handler in handlers {
            self.call(&handler, &event, id.take());
        }
    }

    fn call(&mut self, handler: &EventHandler, event: &Event, ack_id: Option<u64>) {
        let call = Call::event(event.socket.clone(), event.payload.clone(), ack_id);
        let failed = match catch_unwind(AssertUnwindSafe(|| handler.call(call))) {
            Ok(Ok(future)) => {
                let socket = event.socket.clone();
                let job = Job(Work::Event { socket, event: Box::default(), future });
                return self.start_for(job, Some(event));
            }
            Ok(Err(error)) => HandlerError::from(error),
            Err(panic) => HandlerError::panicked(panic),
        };
        event.socket.server().handler_failed(&event.socket, Some(&event.name()), &failed);
    }
}

impl Event {
    /// What it costs to keep this event: its data, and what stands around it.
    fn parked_size(&self) -> usize {
        size_of::<Self>() + self.payload.size()
    }

    /// Whether the socket's connect handlers still run, and nobody listens yet.
    fn waits_for_listeners(&self) -> bool {
        self.socket.setup() != setup::DONE && !self.has_listener()
    }

    fn has_listener(&self) -> bool {
        let name = self.payload.event_name().unwrap_or_default();
        self.socket.hub().declared().on.contains_key(&*name)
            || self.socket.with_listeners(|listeners| listeners.has(&name)).unwrap_or(false)
    }
}

/// What runs.
impl Driver<'_> {
    /// Polls a job once where it stands; if it waits, it goes on in the set, with a waker of its own.
    fn start(&mut self, job: Job) {
        self.start_for(job, None);
    }

    /// Starts a job, for a handler of `event`. Its name is noted only if it may still be needed.
    fn start_for(&mut self, mut job: Job, event: Option<&Event>) {
        let mut cx = Context::from_waker(noop_waker_ref());
        match Pin::new(&mut job).poll(&mut cx) {
            Poll::Ready(Done::Failed { socket, event: _, error }) if event.is_some() => {
                let event = event.map(Event::name).unwrap_or_default();
                self.done(Done::Failed { socket, event, error });
            }
            Poll::Ready(done) => self.done(done),
            Poll::Pending => {
                if let (Work::Event { event: name, .. }, Some(event)) = (&mut job.0, event) {
                    *name = event.name();
                }
                self.inbox.running.get_or_insert_default().push(job);
                self.measure();
            }
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Nothing => {}
            Done::Failed { socket, event, error } => {
                socket.server().handler_failed(&socket, Some(&event), &error);
            }
            Done::Connect { socket, verdict, restored } => self.verdict(socket, verdict, restored),
            Done::Replayed { socket, restored, replayed } => self.replayed(socket, restored, replayed),
            Done::SetUp(socket) => {
                socket.set_setup(setup::DONE);
                self.unpark();
            }
            Done::Pass(event) => self.deliver(event),
        }
    }

    fn run(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            self.commands();
            let Some(running) = &mut self.inbox.running else { break };
            match Pin::new(&mut **running).poll_next(cx) {
                // A connect handler may listen now to what waits, and what goes on has not been polled.
                Poll::Pending if self.unpark() => {}
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(done)) => {
                    self.done(done);
                    self.unpark();
                }
                // An idle connection keeps no set.
                Poll::Ready(None) => self.inbox.running = None,
            }
        }
        Poll::Ready(())
    }

    /// Does what other tasks asked for.
    fn commands(&mut self) {
        loop {
            let commands = std::mem::take(&mut self.session.app.state.lock().commands);
            if commands.is_empty() {
                return;
            }
            for command in commands {
                match command {
                    Command::Ended(socket, reason) => self.ended(socket, reason),
                }
            }
        }
    }

    /// Runs the handlers of a socket's end; it is in no room any more.
    fn ended(&mut self, socket: Socket, reason: DisconnectReason) {
        let turn = Turn::of_connection();
        self.session.app.state.lock().namespaces.retain(|member| match member {
            Member::Connected(other) | Member::Restoring(other) => *other != socket,
            Member::Connecting(_) => true,
        });
        let declared = socket.hub().declared();
        let mut disconnecting = declared.disconnecting.clone();
        let mut disconnect = declared.disconnect.clone();
        drop(declared);
        socket.with_listeners(|listeners| {
            disconnecting.append(&mut listeners.disconnecting);
            disconnect.append(&mut listeners.disconnect);
        });
        let hub = Arc::clone(socket.hub());
        if disconnecting.is_empty() && disconnect.is_empty() {
            socket.clear();
        } else {
            self.start(Job(Work::Flow(Box::pin(async move {
                let call = Call::disconnect(socket.clone(), reason);
                let mut first = Box::pin(run_all(disconnecting, call.clone()));
                // Both have started when this returns, as in Node; only the first saw the rooms.
                let first_is_over = futures_util::poll!(&mut first).is_ready();
                socket.forget_rooms();
                let then = run_all(disconnect, call);
                if first_is_over {
                    then.await;
                } else {
                    futures_util::join!(first, then);
                }
                // Only now: a closure that holds its own socket would keep it alive for ever.
                socket.clear();
                Done::Nothing
            }))));
        }
        let engine = self.engine();
        engine.shared.clean_up(engine, &hub);
        drop(turn);
    }
}
