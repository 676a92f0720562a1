//! The handle on a running server.

// What all its connections share, its namespaces, and what the application hears of.
mod hooks;
mod methods;
mod namespace_handle;
mod shared;

use std::{fmt, sync::Arc, time::Duration};

use patio_adapter::AdapterError;
use patio_proto::{Text, engine::CloseReason};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;

use self::shared::Parent;
pub use self::{
    hooks::FailedHandler,
    namespace_handle::{NamespaceHandle, ServerAnswers},
};
pub(crate) use self::{hooks::Hooks, shared::Shared};
use crate::{
    builder::ServerBuilder,
    connection::Connection,
    counters::CounterSnapshot,
    engine::Engine,
    error::EmitError,
    extract::StateMap,
    namespace::Namespace,
    pattern::NamespacePattern,
    service::{NotFound, SocketIoLayer, SocketIoService},
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
            let parent = self.0.shared.find_parent(&self.0.counters, &name, None);
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

    /// Waits until other servers reach this one: until every namespace that there is now has joined the cluster. Before,
    /// what others emit is lost for this server's clients, as with Node; so a load balancer should send clients afterwards,
    /// and a probe for readiness can ask this with a deadline. Without an adapter for several servers it is at once.
    ///
    /// It waits for as long as the broker is away, and says nothing of later losses: those are
    /// [`on_adapter_error`](crate::ServerBuilder::on_adapter_error) and
    /// [`on_adapter_reconnected`](crate::ServerBuilder::on_adapter_reconnected). Errors: an adapter could not start, or the
    /// server was closed.
    ///
    /// ```no_run
    /// # async fn start(io: patio::Server) -> Result<(), Box<dyn std::error::Error>> {
    /// io.ready().await?;
    /// let listener = tokio::net::TcpListener::bind("0.0.0.0:3000").await?;
    /// # Ok(()) }
    /// ```
    pub async fn ready(&self) -> Result<(), AdapterError> {
        self.0.shared.init_waiting(&self.0);
        let hubs: Vec<_> = self.0.shared.hubs.read().values().cloned().collect();
        for hub in hubs {
            hub.joined().await?;
        }
        Ok(())
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
        self.0.close().await;
        let hubs: Vec<_> = self.0.shared.hubs.read().values().cloned().collect();
        for hub in hubs {
            hub.adapter().close().await;
        }
    }
}

impl Default for Server {
    fn default() -> Self {
        Self::new()
    }
}

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

    /// How many deadlines of connections are listed: for the tests that none is remembered for ever.
    #[doc(hidden)]
    pub fn listed_timers(&self) -> usize {
        self.0.listed_timers()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("path", &self.path()).finish_non_exhaustive()
    }
}
