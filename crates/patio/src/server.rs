//! The handle on a running server, and what all its connections share.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hashbrown::HashMap;
use parking_lot::RwLock;
use patio_adapter::{
    AdapterError, AdapterFactory, BroadcastOptions, Counted, Fetched, IntoRooms, Room, ServerAnswer,
};
use patio_proto::{
    Text,
    engine::CloseReason,
    payload::{ArgsError, Payload},
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{runtime::Handle, time::Instant};

use crate::{
    ack::BroadcastAcks,
    builder::ServerBuilder,
    connection::Connection,
    counters::CounterSnapshot,
    engine::Engine,
    error::EmitError,
    extract::{ExtensionPickers, StateMap},
    handler::{ConnectHandler, DisconnectHandler, Handler, HandlerError, Middleware, error::guard},
    http::serve_client::ServeClient,
    hub::Hub,
    namespace::Namespace,
    operator::BroadcastOperator,
    pattern::{NamespacePattern, NamespacePredicate},
    refusal::Refusal,
    service::{NotFound, SocketIoLayer, SocketIoService},
    socket::Socket,
};

/// A Socket.IO server. Clones are the same server.
///
/// ```
/// use patio::{Server, Socket, extract::Data};
///
/// let io = Server::new();
/// io.on_connect(async |socket: Socket| {
///     socket.join("lobby");
///     socket.on("message", async |socket: Socket, Data(text): Data<String>| {
///         socket.to("lobby").emit("message", &text)
///     });
/// });
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// io.emit("hi", &1)?;
/// # Ok::<_, patio::EmitError>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Server(Arc<Engine<Connection>>);

/// What all connections of a server share.
pub(crate) struct Shared {
    pub(crate) hubs: RwLock<HashMap<Text, Arc<Hub>>>,
    pub(crate) parents: RwLock<Vec<Arc<Parent>>>,
    pub(crate) adapter: Arc<dyn AdapterFactory>,
    /// Some namespace was made outside a runtime: its adapter has not joined the cluster yet.
    pub(crate) waiting: AtomicBool,
    pub(crate) state: StateMap,
    pub(crate) pickers: ExtensionPickers,
    pub(crate) client: Option<ServeClient>,
    pub(crate) hooks: Hooks,
}

/// What the application wants to hear of.
#[derive(Default)]
pub(crate) struct Hooks {
    pub(crate) handler_error: Option<HandlerErrorHook>,
    pub(crate) new_namespace: RwLock<Vec<NamespaceHook>>,
}

pub(crate) type HandlerErrorHook = Arc<dyn Fn(&FailedHandler<'_>) + Send + Sync>;
pub(crate) type NamespaceHook = Arc<dyn Fn(&NamespaceHandle) + Send + Sync>;

/// A namespace whose names are many: `io.of(/regexp/)` in Socket.IO.
pub(crate) struct Parent {
    pub(crate) matches: NamespacePredicate,
    pub(crate) declared: Namespace,
}

/// A handler that failed, or an event that a middleware refused, for [`ServerBuilder::on_handler_error`].
#[derive(Debug)]
#[non_exhaustive]
pub struct FailedHandler<'a> {
    /// Whose handler it was.
    pub socket: &'a Socket,
    /// The event, where it is known.
    pub event: Option<&'a str>,
    /// What went wrong.
    pub error: &'a HandlerError,
}

impl Shared {
    /// The namespace of this name, for a client that is about to join it: it counts as connecting. A dynamic one is
    /// made when its name is first asked for.
    pub(crate) fn enter(
        &self,
        engine: &Arc<Engine<Connection>>,
        name: &Text,
        auth: Option<&Payload>,
    ) -> Option<Arc<Hub>> {
        loop {
            if let Some(hub) = self.hubs.read().get(name) {
                // Counted under the lock, so that it is not removed as empty before the client is in it.
                hub.connecting.fetch_add(1, Ordering::Relaxed);
                return Some(Arc::clone(hub));
            }
            let declared = self.find_parent(name, auth)?.declared.clone();
            self.create(engine, name, declared, true);
        }
    }

    /// The first of the dynamic namespaces that this name belongs to. A predicate that panics says no.
    fn find_parent(&self, name: &str, auth: Option<&Payload>) -> Option<Arc<Parent>> {
        let parents = self.parents.read().clone();
        parents.into_iter().find(|parent| guard(|| (parent.matches)(name, auth)).unwrap_or(false))
    }

    /// The namespace of this name, made if there is none.
    fn create(
        &self,
        engine: &Arc<Engine<Connection>>,
        name: &Text,
        declared: Namespace,
        dynamic: bool,
    ) -> Arc<Hub> {
        let hub = {
            let mut hubs = self.hubs.write();
            if let Some(hub) = hubs.get(name) {
                return Arc::clone(hub);
            }
            let records = engine.config.recovery.is_some();
            let hub =
                Hub::new(name.clone(), engine.config.parser, records, declared, dynamic, &*self.adapter);
            hubs.insert(name.clone(), Arc::clone(&hub));
            hub
        };
        self.init(engine, &hub);
        let handle = NamespaceHandle { engine: Arc::clone(engine), hub: Arc::clone(&hub) };
        let listeners = self.hooks.new_namespace.read().clone();
        for listener in listeners {
            let _ = guard(|| listener(&handle));
        }
        hub
    }

    /// Has the adapter of a namespace join the cluster, or notes that it waits for a runtime.
    fn init(&self, engine: &Arc<Engine<Connection>>, hub: &Hub) {
        let Ok(runtime) = Handle::try_current() else {
            return self.waiting.store(true, Ordering::Release);
        };
        let Some(init) = hub.init_adapter() else { return };
        let engine = Arc::clone(engine);
        runtime.spawn(async move {
            if let Err(error) = init.await {
                engine.counters.adapter_errors.add(1);
                tracing::warn!(%error, "an adapter could not start");
            }
        });
    }

    /// Has the adapters join the cluster that waited for a runtime. Called wherever a server is put to use.
    pub(crate) fn init_waiting(&self, engine: &Arc<Engine<Connection>>) {
        if self.waiting.load(Ordering::Acquire) && Handle::try_current().is_ok() {
            self.waiting.store(false, Ordering::Release);
            let hubs: Vec<_> = self.hubs.read().values().cloned().collect();
            hubs.iter().for_each(|hub| self.init(engine, hub));
        }
    }

    /// Removes a dynamic namespace that nobody is in, if the server is to do that.
    pub(crate) fn clean_up(&self, engine: &Engine<Connection>, hub: &Arc<Hub>) {
        if !engine.config.cleanup_empty_child_namespaces || !hub.dynamic {
            return;
        }
        let mut hubs = self.hubs.write();
        // It may have been removed already, and another one made in its place.
        let stands = hubs.get(&hub.nsp()).is_some_and(|other| Arc::ptr_eq(other, hub));
        if stands && hub.len() == 0 && hub.connecting.load(Ordering::Relaxed) == 0 {
            hubs.remove(&hub.nsp());
            drop(hubs);
            let close = hub.adapter().close();
            if let Ok(runtime) = Handle::try_current() {
                runtime.spawn(close);
            }
        }
    }
}

impl Server {
    /// A server with Node's defaults and the memory adapter, at `/socket.io/`.
    pub fn new() -> Self {
        Self::builder().build().expect("the defaults are valid")
    }

    /// A server with options of your own.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }

    pub(crate) fn from_engine(engine: Arc<Engine<Connection>>) -> Self {
        Self(engine)
    }

    pub(crate) fn of_engine(engine: &Arc<Engine<Connection>>) -> Self {
        Self(Arc::clone(engine))
    }

    pub(crate) fn state(&self) -> &StateMap {
        &self.0.shared.state
    }

    /// The namespace of this name, made if there is none; a slash in front is added where it is missing.
    /// `io.of(name)` in Socket.IO.
    pub fn of(&self, name: impl AsRef<str>) -> NamespaceHandle {
        let name = name.as_ref();
        let name = if name.starts_with('/') { Text::from(name) } else { Text::from(format!("/{name}")) };
        let found = self.0.shared.hubs.read().get(&name).cloned();
        let hub = found.unwrap_or_else(|| {
            // A name that a dynamic namespace knows too is its child.
            let parent = self.0.shared.find_parent(&name, None);
            let declared = parent.map(|parent| parent.declared.clone()).unwrap_or_default();
            self.0.shared.create(&self.0, &name, declared, false)
        });
        NamespaceHandle { engine: Arc::clone(&self.0), hub }
    }

    /// Namespaces for all names of a [pattern](NamespacePattern): a template such as `"/chat-{id}"`, or a closure that
    /// gets the name and what the client sent as `auth`, and must be quick. Each is made, with the handlers of
    /// `namespace`, when a client first asks for it; where several patterns fit, the first one counts.
    /// `io.of(regexp | fn)` in Socket.IO.
    ///
    /// # Panics
    /// If a template is not well-formed, or a handler takes a [`State`](crate::extract::State) that the server has not.
    #[track_caller]
    pub fn of_dynamic(&self, pattern: impl NamespacePattern, namespace: Namespace) {
        namespace.check(self.state(), &self.0.shared.pickers);
        let parent = Parent { matches: pattern.into_predicate(), declared: namespace };
        self.0.shared.parents.write().push(Arc::new(parent));
    }

    /// Calls `listener` when a namespace is made. `io.on("new_namespace")` in Socket.IO.
    pub fn on_new_namespace(&self, listener: impl Fn(&NamespaceHandle) + Send + Sync + 'static) {
        self.0.shared.hooks.new_namespace.write().push(Arc::new(listener));
    }

    /// The names of the namespaces that there are now.
    pub fn namespaces(&self) -> Vec<String> {
        self.0.shared.hubs.read().keys().map(|name| name.to_string()).collect()
    }

    fn main(&self) -> NamespaceHandle {
        self.of("/")
    }

    /// The layer that puts this server in front of another service, such as axum's router.
    ///
    /// Under `Router::nest`, axum asks the layers of the nested router for that router's own routes only: give it a
    /// fallback of its own, or use [`Self::service`] as its `fallback_service`.
    pub fn layer(&self) -> SocketIoLayer {
        self.0.shared.init_waiting(&self.0);
        SocketIoLayer(Arc::clone(&self.0))
    }

    /// This server as a service; requests that are not for it are answered with 404.
    pub fn service(&self) -> SocketIoService<NotFound> {
        self.0.shared.init_waiting(&self.0);
        SocketIoService { engine: Arc::clone(&self.0), inner: NotFound }
    }

    /// What is under this server: `io.engine` in Socket.IO.
    pub fn engine(&self) -> EngineHandle<'_> {
        EngineHandle(&self.0)
    }

    /// The path at which the server listens, without a trailing slash.
    pub fn path(&self) -> &str {
        &self.0.config.path
    }

    /// What was dropped, refused or failed since the server's start, by reason.
    pub fn counters(&self) -> CounterSnapshot {
        self.0.counters.snapshot()
    }

    /// Releases the clients by closing their connections, spread over `window` in random order, without telling their
    /// namespaces: they come back by themselves, to another server if this one listens no more. New clients are
    /// refused from now on.
    pub async fn drain(&self, window: Duration) {
        self.0.begin_close();
        let mut sessions = self.0.sessions();
        fastrand::shuffle(&mut sessions);
        let start = Instant::now();
        let count = u32::try_from(sessions.len()).unwrap_or(u32::MAX).max(1);
        for (n, session) in sessions.into_iter().enumerate() {
            let at = start + window / count * u32::try_from(n).unwrap_or(u32::MAX);
            tokio::time::sleep_until(at).await;
            session.close(CloseReason::ServerShuttingDown);
        }
    }

    /// Closes the server: connections end with the reason `server shutting down`, and the handlers that run have 10 s
    /// to come to their end. New clients are refused from now on. `io.close()` in Socket.IO.
    pub async fn close(&self) {
        self.0.begin_close();
        for session in self.0.sessions() {
            session.close(CloseReason::ServerShuttingDown);
            // One that was saying farewell already is not waited for.
            session.wake();
        }
        let dropped = self.0.finish(Instant::now() + CLOSE).await;
        if dropped > 0 {
            tracing::warn!(connections = dropped, "handlers were still running when the server closed");
        }
        let hubs: Vec<_> = self.0.shared.hubs.read().values().cloned().collect();
        for hub in hubs {
            hub.adapter().close().await;
        }
    }

    pub(crate) fn handler_failed(&self, socket: &Socket, event: Option<&str>, error: &HandlerError) {
        let counters = &self.0.counters;
        match error {
            HandlerError::Extract(_) => counters.extract_errors.add(1),
            HandlerError::Panicked(_) => counters.panics.add(1),
            _ => counters.handler_errors.add(1),
        }
        tracing::debug!(socket = %socket.id(), event, %error, "a handler failed");
        if let Some(hook) = &self.0.shared.hooks.handler_error {
            let _ = guard(|| hook(&FailedHandler { socket, event, error }));
        }
    }

    pub(crate) fn event_refused(&self, socket: &Socket, event: &Payload, refusal: &Refusal) {
        self.0.counters.refused_events.add(1);
        let event = event.event_name();
        tracing::debug!(socket = %socket.id(), event = event.as_deref(), %refusal, "an event was refused");
        if let Some(hook) = &self.0.shared.hooks.handler_error {
            let error = HandlerError::Failed(refusal.to_string());
            let _ = guard(|| hook(&FailedHandler { socket, event: event.as_deref(), error: &error }));
        }
    }
}

/// How long handlers may go on when the server closes.
const CLOSE: Duration = Duration::from_secs(10);

impl Default for Server {
    fn default() -> Self {
        Self::new()
    }
}

/// A running namespace. `namespace` in Socket.IO.
#[derive(Clone)]
pub struct NamespaceHandle {
    engine: Arc<Engine<Connection>>,
    hub: Arc<Hub>,
}

impl NamespaceHandle {
    /// The namespace's name, such as `/chat`.
    pub fn name(&self) -> &str {
        self.hub.name()
    }

    /// The sockets of this namespace on this server. `namespace.sockets` in Socket.IO.
    pub fn sockets(&self) -> Vec<Socket> {
        self.hub.sockets()
    }

    /// The socket with this id, if it is on this server.
    pub fn socket(&self, id: impl AsRef<str>) -> Option<Socket> {
        self.hub.socket(id.as_ref())
    }

    /// The number of sockets of this namespace on this server.
    pub fn len(&self) -> usize {
        self.hub.len()
    }

    /// Whether no socket is here.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rooms of this namespace on this server, the sockets' own among them. `namespace.adapter.rooms` in Socket.IO.
    pub fn rooms(&self) -> Vec<Room> {
        use patio_adapter::Local;
        Local::rooms(&*self.hub)
    }

    /// How many sockets of this server are in a room.
    pub fn room_len(&self, room: impl AsRef<str>) -> usize {
        self.hub.room_len(room.as_ref())
    }

    /// Adds handlers to those that the namespace has; they count for what happens from now on. Panics: a handler
    /// takes [`State`](crate::extract::State) of a type that the server does not have.
    #[track_caller]
    pub fn declare(&self, declared: Namespace) -> &Self {
        declared.check(&self.engine.shared.state, &self.engine.shared.pickers);
        self.hub.declare(declared);
        self
    }

    /// Everyone in this namespace: where all broadcasts begin.
    pub fn operator(&self) -> BroadcastOperator {
        BroadcastOperator::new(&self.engine, &self.hub, BroadcastOptions::everyone())
    }

    /// Sends an event to the other servers of the cluster, not to clients. Errors: a name that would end a Node server,
    /// data that cannot be serialised, or an adapter that could not publish.
    /// `namespace.serverSideEmit(event, ...args)` in Socket.IO.
    pub fn server_side_emit<T: Serialize + ?Sized>(&self, event: &str, data: &T) -> Result<(), EmitError> {
        let payload = server_side_payload(event, data)?;
        Ok(self.hub.adapter().server_side_emit(&payload)?)
    }

    /// Sends an event to the other servers and asks for an answer of each, of type `R`, for as long as the server's
    /// [`ack_timeout`](ServerBuilder::ack_timeout). Errors: as [`Self::server_side_emit`].
    /// `namespace.serverSideEmitWithAck(event, ...args)` in Socket.IO.
    pub async fn server_side_emit_with_ack<R: DeserializeOwned>(
        &self,
        event: &str,
        data: &(impl Serialize + ?Sized),
    ) -> Result<ServerAnswers<R>, EmitError> {
        use futures_util::StreamExt;
        let payload = server_side_payload(event, data)?;
        let timeout = self.engine.config.ack_timeout;
        let mut answers = self.hub.adapter().server_side_emit_with_ack(&payload, timeout);
        let mut all = ServerAnswers { answers: Vec::new(), missing: 0 };
        while let Some(answer) = answers.next().await {
            match answer {
                ServerAnswer::Answer { value, .. } => all.answers.push(value.read_args(0)),
                ServerAnswer::Missing(missing) => all.missing = missing,
            }
        }
        Ok(all)
    }
}

/// The answers of other servers.
#[derive(Debug)]
#[non_exhaustive]
pub struct ServerAnswers<R> {
    /// What each said, in the order of arrival.
    pub answers: Vec<Result<R, ArgsError>>,
    /// How many servers did not answer in time.
    pub missing: usize,
}

/// Names that Node's servers use themselves: an unhandled `error` ends one.
const SERVER_SIDE_RESERVED: [&str; 4] = ["connect", "connection", "new_namespace", "error"];

fn server_side_payload<T: Serialize + ?Sized>(event: &str, data: &T) -> Result<Payload, EmitError> {
    if SERVER_SIDE_RESERVED.contains(&event) {
        return Err(EmitError::Reserved(event.to_owned()));
    }
    Ok(Payload::event(event, data)?)
}

/// The same methods for a namespace and, on the server, for its main namespace.
macro_rules! namespace_methods {
    ($type:ty, $self:ident => $namespace:expr) => {
        impl $type {
            /// Lets `middleware` decide whether a client may connect. `namespace.use(fn)` in Socket.IO.
            #[doc(alias = "use")]
            #[track_caller]
            pub fn middleware<M: 'static, H: Middleware<M>>(&$self, middleware: H) -> &Self {
                $namespace.declare(Namespace::new().middleware(middleware));
                $self
            }

            /// Calls `handler` for each socket that connects from now on. Listeners that it adds before its first
            /// `await` miss nothing. `namespace.on("connection")` in Socket.IO.
            #[doc(alias = "connection")]
            #[track_caller]
            pub fn on_connect<M: 'static, H: ConnectHandler<M>>(&$self, handler: H) -> &Self {
                $namespace.declare(Namespace::new().on_connect(handler));
                $self
            }

            /// Calls `handler` for each event of this name, of any socket. `socket.on(event, listener)` in Socket.IO.
            #[track_caller]
            pub fn on<M: 'static, H: Handler<M>>(&$self, event: impl Into<String>, handler: H) -> &Self {
                $namespace.declare(Namespace::new().on(event, handler));
                $self
            }

            /// Calls `handler` when a socket has ended. `socket.on("disconnect")` in Socket.IO.
            #[track_caller]
            pub fn on_disconnect<M: 'static, H: DisconnectHandler<M>>(&$self, handler: H) -> &Self {
                $namespace.declare(Namespace::new().on_disconnect(handler));
                $self
            }

            /// Calls `listener` for events of other servers. `namespace.on(event)` in Socket.IO.
            pub fn on_server_side(
                &$self,
                event: impl Into<String>,
                listener: impl Fn(&Payload, Option<patio_adapter::Reply>) + Send + Sync + 'static,
            ) -> &Self {
                $namespace.declare(Namespace::new().on_server_side(event, listener));
                $self
            }

            /// Sends an event to everyone. Errors: as [`BroadcastOperator::emit`].
            /// `namespace.emit(event, ...args)` in Socket.IO.
            pub fn emit<T: Serialize + ?Sized>(&$self, event: &str, data: &T) -> Result<(), EmitError> {
                $namespace.operator().emit(event, data)
            }

            /// Sends the event `message` to everyone. Errors: as [`BroadcastOperator::emit`].
            /// `namespace.send(...args)` in Socket.IO.
            pub fn send<T: Serialize + ?Sized>(&$self, data: &T) -> Result<(), EmitError> {
                $namespace.operator().send(data)
            }

            /// Sends an event to everyone, and waits until it was given to the broker. Errors: as
            /// [`BroadcastOperator::emit`].
            pub async fn emit_confirmed<T: Serialize + ?Sized>(&$self, event: &str, data: &T) -> Result<(), EmitError> {
                $namespace.operator().emit_confirmed(event, data).await
            }

            /// Sends an event to everyone and asks for answers. `emitWithAck(event, ...args)` in Socket.IO.
            pub fn emit_with_ack<R: DeserializeOwned>(
                &$self,
                event: &str,
                data: &(impl Serialize + ?Sized),
            ) -> BroadcastAcks<R> {
                $namespace.operator().emit_with_ack(event, data)
            }

            /// The sockets in these rooms. `namespace.to(rooms)` in Socket.IO.
            pub fn to(&$self, rooms: impl IntoRooms) -> BroadcastOperator {
                $namespace.operator().to(rooms)
            }

            /// The sockets in these rooms. `namespace.in(rooms)` in Socket.IO.
            #[doc(alias = "in")]
            pub fn in_room(&$self, rooms: impl IntoRooms) -> BroadcastOperator {
                $namespace.operator().in_room(rooms)
            }

            /// Everyone but the sockets in these rooms. `namespace.except(rooms)` in Socket.IO.
            pub fn except(&$self, rooms: impl IntoRooms) -> BroadcastOperator {
                $namespace.operator().except(rooms)
            }

            /// Emits that are dropped for receivers to whom they cannot be written at once.
            /// `namespace.volatile` in Socket.IO.
            pub fn volatile(&$self) -> BroadcastOperator {
                $namespace.operator().volatile()
            }

            /// Emits that are, or are not, worth being compressed. `namespace.compress(value)` in Socket.IO.
            pub fn compress(&$self, compress: bool) -> BroadcastOperator {
                $namespace.operator().compress(compress)
            }

            /// Sockets of this server only. `namespace.local` in Socket.IO.
            pub fn local(&$self) -> BroadcastOperator {
                $namespace.operator().local()
            }

            /// How long answers may take. `namespace.timeout(ms)` in Socket.IO.
            pub fn timeout(&$self, timeout: Duration) -> BroadcastOperator {
                $namespace.operator().timeout(timeout)
            }

            /// All sockets of the cluster. Errors: as [`BroadcastOperator::fetch_sockets`]. `namespace.fetchSockets()` in
            /// Socket.IO.
            pub async fn fetch_sockets(&$self) -> Result<Fetched, AdapterError> {
                $namespace.operator().fetch_sockets().await
            }

            /// How many sockets the cluster has. Errors: as [`BroadcastOperator::count_sockets`].
            pub async fn count_sockets(&$self) -> Result<Counted, AdapterError> {
                $namespace.operator().count_sockets().await
            }

            /// Makes all sockets join rooms. Errors: as [`BroadcastOperator::sockets_join`].
            /// `namespace.socketsJoin(rooms)` in Socket.IO.
            pub fn sockets_join(&$self, rooms: impl IntoRooms) -> Result<(), AdapterError> {
                $namespace.operator().sockets_join(rooms)
            }

            /// Makes all sockets leave rooms. Errors: as [`BroadcastOperator::sockets_leave`].
            /// `namespace.socketsLeave(rooms)` in Socket.IO.
            pub fn sockets_leave(&$self, rooms: impl IntoRooms) -> Result<(), AdapterError> {
                $namespace.operator().sockets_leave(rooms)
            }

            /// Disconnects all sockets. Errors: as [`BroadcastOperator::disconnect_sockets`].
            /// `namespace.disconnectSockets(close)` in Socket.IO.
            pub fn disconnect_sockets(&$self, close: bool) -> Result<(), AdapterError> {
                $namespace.operator().disconnect_sockets(close)
            }
        }
    };
}

namespace_methods!(NamespaceHandle, self => self);
namespace_methods!(Server, self => self.main());

impl Server {
    /// As [`NamespaceHandle::server_side_emit`], in the main namespace.
    pub fn server_side_emit<T: Serialize + ?Sized>(&self, event: &str, data: &T) -> Result<(), EmitError> {
        self.main().server_side_emit(event, data)
    }

    /// As [`NamespaceHandle::server_side_emit_with_ack`], in the main namespace.
    pub async fn server_side_emit_with_ack<R: DeserializeOwned>(
        &self,
        event: &str,
        data: &(impl Serialize + ?Sized),
    ) -> Result<ServerAnswers<R>, EmitError> {
        self.main().server_side_emit_with_ack(event, data).await
    }
}

/// What is under a server: `io.engine` in Socket.IO.
pub struct EngineHandle<'a>(&'a Engine<Connection>);

impl EngineHandle<'_> {
    /// How many connections there are. `io.engine.clientsCount` in Socket.IO.
    pub fn clients_count(&self) -> usize {
        self.0.clients_count()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("path", &self.path()).finish_non_exhaustive()
    }
}

impl fmt::Debug for NamespaceHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NamespaceHandle").field(&self.name()).finish()
    }
}
