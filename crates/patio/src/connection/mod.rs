//! One client's connection and the namespaces it is in: Socket.IO packets in, handlers started, the end told.
//!
//! Everything here but [`Connection::command`] runs in the connection's driver. A packet enters here; [`joining`]
//! answers CONNECT, [`events`] finds the handlers of an event, [`running`] runs them and whatever else waits.

mod events;
mod joining;
mod running;

use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::stream::FuturesUnordered;
use patio_proto::{
    Text,
    decode::Decoder,
    engine::{CloseReason, Message, Protocol},
    packet::{Kind, Packet, split_query},
};
use smallvec::SmallVec;
use tokio::time::Instant;

use self::{events::Event, joining::query_payload, running::Job};
use crate::{
    engine::{Application, Engine, session::Session},
    extensions::Extensions,
    reason::DisconnectReason,
    server::Shared,
    socket::Socket,
    sync::Mutex,
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
    /// There is no driver any more.
    abandoned: bool,
}

enum Member {
    Connecting(Text),
    /// It is listed under the id and in the rooms that it had, and catches up with what it missed.
    Restoring(Socket),
    Connected(Socket),
    /// It was left in this turn: what else came in the same read was sent before the client could know.
    Left(Text),
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
    /// The connection has ended. Its handlers may still run.
    over: bool,
    /// A namespace was left in this turn.
    left: bool,
    /// How often the client asked for a former state.
    returns: u8,
    /// Until when a first namespace must be joined.
    connect_by: Option<Instant>,
    /// Until when the attachments of a packet must be here.
    attachments_by: Option<Instant>,
}

impl Connection {
    /// Asks the driver for something. It must be woken too.
    pub(crate) fn command(&self, command: Command) {
        let mut state = self.state.lock();
        if state.abandoned {
            drop(state);
            let Command::Ended(socket, _) = command;
            return socket.clear();
        }
        state.commands.push(command);
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
            Member::Connecting(_) | Member::Restoring(_) | Member::Left(_) => None,
        });
        connected.collect()
    }

    /// The sockets that were about to be restored leave again.
    fn withdraw(&self, keep: bool) {
        let restoring: Vec<_> = {
            let state = self.state.lock();
            let restoring = state.namespaces.iter().filter_map(|member| match member {
                Member::Restoring(socket) => Some(socket.clone()),
                Member::Connecting(_) | Member::Connected(_) | Member::Left(_) => None,
            });
            restoring.collect()
        };
        for socket in restoring {
            let record = socket.hub().record(&socket, socket.rooms()).filter(|_| keep);
            socket.withdraw();
            // The adapter may have given it away for good: the client has not got it.
            if let Some(record) = record {
                socket.hub().persist(record);
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
            Self::Connecting(nsp) | Self::Left(nsp) => nsp,
            Self::Restoring(socket) | Self::Connected(socket) => socket.namespace(),
        }
    }
}

impl Application for Connection {
    type Shared = Shared;
    type Inbox = Inbox;

    fn new(engine: &Arc<Engine<Self>>, request: &::http::Extensions) -> Self {
        let connection = Self::default();
        engine.shared.pickers.pick(&engine.counters, request, &connection.extensions);
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
        let polled = Driver { session, inbox }.run(cx);
        if !inbox.over && !std::mem::take(&mut inbox.left) {
            return polled;
        }
        let mut state = session.app.state.lock();
        state.namespaces.retain(|member| !matches!(member, Member::Left(_)));
        // A socket that another task is ending: that wakes this one, which runs its handlers.
        if inbox.over && !state.namespaces.is_empty() { Poll::Pending } else { polled }
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
                socket.hub().persist(record);
            }
        }
        session.app.withdraw(driver.recoverable(reason));
        driver.commands();
        let mut state = session.app.state.lock();
        // What is connected by now is being ended by another task, which has not said so yet.
        let (ending, left): (SmallVec<_>, SmallVec<[_; 1]>) = std::mem::take(&mut state.namespaces)
            .into_iter()
            .partition(|member| matches!(member, Member::Connected(_)));
        state.namespaces = ending;
        drop(state);
        // After the lock: sockets hold what is the user's.
        drop(left);
        driver.forget_parked();
        inbox.over = true;
    }

    fn abandoned(session: &Arc<Session<Self>>, inbox: &mut Inbox) {
        for socket in session.app.sockets() {
            socket.end(DisconnectReason::ServerShuttingDown);
            socket.clear();
        }
        session.app.withdraw(false);
        let over = State { abandoned: true, ..State::default() };
        let left = std::mem::replace(&mut *session.app.state.lock(), over);
        drop(left);
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
        let packet = self.inbox.decoder.message(config.parser, message, limits);
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
            let auth = match self.session.protocol() {
                Protocol::V4 => auth,
                Protocol::V3 => query.and_then(|query| query_payload(&query)),
            };
            return self.connect(nsp, auth);
        }
        let socket = match self.session.app.state.lock().find(&nsp) {
            Some(Member::Connected(socket)) => Some(socket.clone()),
            Some(Member::Left(_)) if !matches!(packet.kind, Kind::ConnectError(_)) => {
                return self.engine().counters.dropped_events.add(1);
            }
            Some(Member::Connecting(_) | Member::Restoring(_) | Member::Left(_)) | None => None,
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
