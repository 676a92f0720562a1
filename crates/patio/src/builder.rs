//! A server's options, checked when it is built.

use std::{path::PathBuf, sync::Arc, time::Duration};

use ::http::{HeaderMap, request::Parts};
use hashbrown::HashMap;
use patio_adapter::{
    AdapterError, AdapterFactory,
    memory::{Memory, MemoryRecovery},
};
use patio_proto::{encode::Parser, engine::Transport};

use crate::{
    config::{Config, ConnectionStateRecovery},
    engine::{ConnectionError, Engine},
    engine_io::{self, EngineIo},
    error::BuildError,
    extract::{ExtensionPickers, StateMap},
    http::{cookie::Cookie, cors::Cors, serve_client::ServeClient},
    namespace::Namespace,
    server::{FailedHandler, Hooks, Server, Shared},
    sync::{RwLock, atomic::AtomicBool},
};

/// The options of a server, with Node's names and defaults where Node has them.
///
/// ```
/// use std::time::Duration;
/// use patio::{Cors, Server};
///
/// let io = Server::builder()
///     .allow_eio3(true)
///     .ping_interval(Duration::from_secs(10))
///     .cors(Cors::origin("https://example.com").credentials(true))
///     .build()?;
/// # Ok::<_, patio::BuildError>(())
/// ```
#[derive(Default)]
#[must_use = "there is no server before `build`"]
pub struct ServerBuilder {
    config: Config,
    namespaces: Vec<(String, Namespace)>,
    adapter: Option<Arc<dyn AdapterFactory>>,
    state: StateMap,
    pickers: ExtensionPickers,
    hooks: Hooks,
}

/// Setters that only store their argument.
macro_rules! options {
    ($($(#[$doc:meta])* $name:ident: $type:ty => $($field:ident).+;)*) => {
        impl ServerBuilder {
            $($(#[$doc])* pub fn $name(mut self, $name: $type) -> Self {
                self.config.$($field).+ = $name;
                self
            })*
        }
    };
}

options! {
    /// Whether the path ends with a slash: `/socket.io/`. Default: true. `addTrailingSlash` in Socket.IO.
    add_trailing_slash: bool => add_trailing_slash;
    /// Whether a polling client may go on over a WebSocket. Default: true. `allowUpgrades` in Socket.IO.
    allow_upgrades: bool => allow_upgrades;
    /// From one answered ping to the next. Default: 25 s; as all times, at most 10 days. `pingInterval` in Socket.IO.
    ping_interval: Duration => timing.ping_interval;
    /// How long the answer to a ping may take. Default: 20 s. `pingTimeout` in Socket.IO.
    ping_timeout: Duration => timing.ping_timeout;
    /// How long an upgrade may take. Default: 10 s. `upgradeTimeout` in Socket.IO.
    upgrade_timeout: Duration => timing.upgrade_timeout;
    /// How long a client may take to join a first namespace. Default: 45 s. `connectTimeout` in Socket.IO.
    connect_timeout: Duration => connect_timeout;
    /// The most bytes of one message and of one polling payload. Default: 1,000,000. Larger ones close a WebSocket
    /// with 1009 and get 413 for an answer over polling. `maxHttpBufferSize` in Socket.IO.
    max_http_buffer_size: usize => max_http_buffer_size;
    /// Whether clients 1.x and 2.x may connect. Default: false. `allowEIO3` in Socket.IO.
    allow_eio3: bool => allow_eio3;
    /// Whether a dynamic namespace that nobody is in is removed. Default: false. `cleanupEmptyChildNamespaces` in
    /// Socket.IO.
    cleanup_empty_child_namespaces: bool => cleanup_empty_child_namespaces;
    /// How long answers of clients and servers are waited for without another word. Default: 5 s.
    ack_timeout: Duration => ack_timeout;
    /// The most packets of one polling payload. Default: 4,096. More end the session.
    max_packets_per_payload: usize => limits.packets_per_payload;
    /// The most binary attachments of one packet. Default: 10, as in Node. More end the connection.
    max_attachments: usize => limits.packet.max_attachments;
    /// How deep a packet's JSON may be nested. Default: 127, the most that can be read. More ends the connection.
    max_depth: usize => limits.packet.max_depth;
    /// The most bytes of an event's name. Default: 1,024. More end the connection.
    max_event_name: usize => limits.packet.max_event_name;
    /// The most fields of a request's head. Default: 100. More are answered with 431.
    max_headers: usize => limits.headers;
    /// The most bytes of a request's head fields. Default: 16 KiB. More are answered with 431.
    max_header_bytes: usize => limits.header_bytes;
    /// The most namespaces that one connection may be in. Default: 100. One more is refused; the connection stays.
    max_namespaces: usize => limits.namespaces;
    /// The most handlers that run at once for one connection. Default: 100. Further events wait, in order.
    max_handlers: usize => limits.handlers;
    /// The most bytes of events that wait for a handler to end, for one connection. Default: 1,000,000. More stop the
    /// reading from that client, which is not taken for its silence.
    max_parked_bytes: usize => limits.parked_bytes;
    /// The most bytes that wait to be written to one client. Default: 16 MiB. A client that reads so slowly is let go
    /// with the reason `slow client`; one packet of any size always fits an empty queue.
    max_outbound_bytes: usize => limits.outbound_bytes;
    /// The most packets that wait to be written to one client. Default: 16,384.
    max_outbound_packets: usize => limits.outbound_packets;
    /// How long the attachments of a packet may take. Default: 30 s.
    attachment_timeout: Duration => limits.attachment_timeout;
    /// The most connections of this server. Default: no limit. More are refused with error code 4.
    max_connections: usize => limits.connections;
}

impl ServerBuilder {
    /// Where the server listens. Default: `/socket.io`. `path` in Socket.IO.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        let path: String = path.into();
        let path = path.trim_end_matches('/');
        self.config.path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        self
    }

    /// The transports that clients may use. Default: polling and WebSocket. `transports` in Socket.IO.
    pub fn transports(mut self, transports: impl IntoIterator<Item = Transport>) -> Self {
        self.config.transports = transports.into_iter().collect();
        self
    }

    /// The parser, the same as that of all clients. Default: [`Parser::Json`]. `parser` in Socket.IO.
    pub fn parser(mut self, parser: Parser) -> Self {
        self.config.parser = parser;
        self
    }

    /// Sends a cookie with the session id to polling clients, for load balancers. Default: none. `cookie` in Socket.IO.
    pub fn cookie(mut self, cookie: Cookie) -> Self {
        self.config.cookie = Some(cookie);
        self
    }

    /// Lets pages of other origins use this server. Default: none. `cors` in Socket.IO.
    pub fn cors(mut self, cors: Cors) -> Self {
        self.config.cors = Some(cors);
        self
    }

    /// From how many bytes on answers to polls are compressed; `None`: never. Default: 1,024. `httpCompression` in
    /// Socket.IO.
    pub fn http_compression(mut self, threshold: impl Into<Option<usize>>) -> Self {
        self.config.http_compression = threshold.into();
        self
    }

    /// From how many bytes on WebSocket messages are compressed; `None`: never, which is the default.
    /// `perMessageDeflate` in Socket.IO.
    #[cfg(feature = "deflate")]
    pub fn per_message_deflate(mut self, threshold: impl Into<Option<usize>>) -> Self {
        self.config.per_message_deflate = threshold.into();
        self
    }

    /// Serves the browser client, `socket.io.js` and its variants, from a folder. Default: not. `serveClient` in
    /// Socket.IO, which brings the files itself.
    pub fn serve_client(mut self, folder: impl Into<PathBuf>) -> Self {
        self.config.serve_client = Some(folder.into());
        self
    }

    /// Decides about each new connection, before anything is kept of it; an error is the message that the client is
    /// told. `allowRequest` in Socket.IO.
    pub fn allow_request<F, Fut>(mut self, allow: F) -> Self
    where
        F: Fn(&Parts) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.config.allow_request = Some(Arc::new(move |parts| Box::pin(allow(parts))));
        self
    }

    /// Makes the session ids; `None`, an empty one or one that is in use refuses the request. They must not be
    /// guessable. Default: 96 random bits and a counter. `io.engine.generateId` in Socket.IO.
    pub fn generate_id(
        mut self,
        generate: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.config.generate_id = Some(Arc::new(generate));
        self
    }

    /// Changes the headers of the first answer of each session. `io.engine.on("initial_headers")` in Socket.IO.
    pub fn initial_headers(
        mut self,
        change: impl Fn(&mut HeaderMap, &Parts) + Send + Sync + 'static,
    ) -> Self {
        self.config.initial_headers = Some(Arc::new(change));
        self
    }

    /// Changes the headers of each successful answer. `io.engine.on("headers")` in Socket.IO.
    pub fn headers(mut self, change: impl Fn(&mut HeaderMap, &Parts) + Send + Sync + 'static) -> Self {
        self.config.headers = Some(Arc::new(change));
        self
    }

    /// Hears of each refused request. `io.engine.on("connection_error")` in Socket.IO.
    pub fn connection_error(mut self, listener: impl Fn(&ConnectionError) + Send + Sync + 'static) -> Self {
        self.config.connection_error = Some(Arc::new(listener));
        self
    }

    /// Hears of each handler that fails, and of arguments that are not what a handler takes.
    pub fn on_handler_error(mut self, listener: impl Fn(&FailedHandler<'_>) + Send + Sync + 'static) -> Self {
        self.hooks.handler_error = Some(Arc::new(listener));
        self
    }

    /// Hears that the connection to other servers is lost or could not be made, once each time: until
    /// [`on_adapter_reconnected`](Self::on_adapter_reconnected), clients of this server hear nothing from the others.
    pub fn on_adapter_error(mut self, listener: impl Fn(&AdapterError) + Send + Sync + 'static) -> Self {
        self.hooks.adapter_error = Some(Arc::new(listener));
        self
    }

    /// Hears that the connection to other servers is there again, with everything subscribed. What they sent meanwhile is
    /// lost, so this is the time to have clients load anew what they show.
    pub fn on_adapter_reconnected(mut self, listener: impl Fn() + Send + Sync + 'static) -> Self {
        self.hooks.adapter_reconnected = Some(Arc::new(listener));
        self
    }

    /// Keeps what a client needs to come back after a lost connection as if nothing had happened: its id, rooms and
    /// data, and what was sent to it meanwhile. Default: off. `connectionStateRecovery` in Socket.IO.
    pub fn connection_state_recovery(mut self, recovery: ConnectionStateRecovery) -> Self {
        self.config.recovery = Some(recovery);
        self
    }

    /// Declares a namespace.
    pub fn namespace(mut self, name: impl Into<String>, namespace: Namespace) -> Self {
        self.namespaces.push((name.into(), namespace));
        self
    }

    /// Connects this server with others. Default: the memory adapter, for a server that is alone. `adapter` in
    /// Socket.IO.
    ///
    /// ```
    /// use patio::{Server, adapter::InProcess};
    ///
    /// let cluster = InProcess::new();
    /// let inside = Server::builder().path("/inside").adapter(cluster.node()).build()?;
    /// let outside = Server::builder().path("/outside").adapter(cluster.node()).build()?;
    /// inside.emit("news", "for the clients of both")?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn adapter(mut self, adapter: impl AdapterFactory) -> Self {
        self.adapter = Some(Arc::new(adapter));
        self
    }

    /// A value that handlers get by [`State`](crate::extract::State), one for each type.
    pub fn state<T: Clone + Send + Sync + 'static>(mut self, state: T) -> Self {
        self.state.insert(state);
        self
    }

    /// Keeps the extension of this type of each request that opens a connection, for `socket.extensions()` and for
    /// handlers that are added to single sockets. What declared handlers take by
    /// [`Extension`](crate::extract::Extension) is kept anyway.
    pub fn keep_extension<T: Clone + Send + Sync + 'static>(self) -> Self {
        self.pickers.keep::<T>();
        self
    }

    /// Builds the server. Errors: options that contradict each other. Panics: a handler takes
    /// [`State`](crate::extract::State) of a type that was not given.
    #[track_caller]
    pub fn build(self) -> Result<Server, BuildError> {
        self.check()?;
        let Self { config, namespaces, adapter, state, pickers, hooks } = self;
        let client =
            match &config.serve_client {
                None => None,
                Some(folder) => Some(ServeClient::from_folder(folder).map_err(|error| {
                    BuildError::new(format!("serve_client: {}: {error}", folder.display()))
                })?),
            };
        let adapter: Arc<dyn AdapterFactory> = match (adapter, &config.recovery) {
            (Some(adapter), Some(_)) if !adapter.recovery() => {
                return Err(BuildError::new(
                    "connection_state_recovery: the adapter cannot restore sessions",
                ));
            }
            (Some(adapter), recovery) => {
                if let Some(recovery) = recovery {
                    adapter.enable_recovery(recovery.max_disconnection);
                }
                adapter
            }
            (None, Some(recovery)) => Arc::new(Memory::with_recovery(MemoryRecovery {
                max_disconnection: recovery.max_disconnection,
                ..MemoryRecovery::default()
            })),
            (None, None) => Arc::new(Memory::new()),
        };
        let shared = Shared {
            hubs: RwLock::new(HashMap::new()),
            parents: RwLock::default(),
            adapter: Arc::clone(&adapter),
            waiting: AtomicBool::new(false),
            state,
            pickers,
            client,
            hooks,
        };
        let server = Server::from_engine(Arc::new(Engine::new(config, shared)));
        server.watch(&*adapter);
        for (name, namespace) in namespaces {
            server.of(name).declare(namespace);
        }
        // Clients join it without being asked for it by name.
        server.of("/");
        Ok(server)
    }

    /// Builds a server of Engine.IO alone, with the options that concern it. Errors: options that contradict each
    /// other.
    pub fn build_engine_io(self, handler: impl engine_io::Handler) -> Result<EngineIo, BuildError> {
        self.check()?;
        Ok(EngineIo::new(self.config, handler))
    }

    fn check(&self) -> Result<(), BuildError> {
        let config = &self.config;
        if config.transports.is_empty() {
            return Err(BuildError::new("transports: at least one is needed"));
        }
        if config.path.len() < 2 {
            return Err(BuildError::new("path: must not be empty"));
        }
        if config.timing.ping_interval.is_zero() || config.timing.ping_timeout.is_zero() {
            return Err(BuildError::new("ping_interval, ping_timeout: must not be zero"));
        }
        if let Some(cors) = &config.cors {
            cors.check().map_err(|error| BuildError::new(format!("cors: {error}")))?;
        }
        if let Some(cookie) = &config.cookie {
            cookie.check().map_err(|error| BuildError::new(format!("cookie: {error}")))?;
        }
        Ok(())
    }
}
