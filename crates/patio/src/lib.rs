//! Socket.IO for Rust: namespaces, rooms, broadcasts and acknowledgements, on tokio.
//!
//! A [`Server`] speaks to the official clients of Socket.IO, 1.7 to 4.8, by HTTP long-polling and WebSocket. It is a tower
//! service and layer: it stands in front of an axum router, on hyper, or alone.
//!
//! ```no_run
//! use patio::{Reply, Server, Socket, extract::Data};
//!
//! # #[cfg(feature = "serve")]
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let io = Server::new();
//! io.on_connect(async |socket: Socket| socket.join("lobby"));
//! io.on("message", async |socket: Socket, Data(text): Data<String>| {
//!     socket.to("lobby").emit("message", &text)
//! });
//! io.on("add", async |Data((a, b)): Data<(f64, f64)>| Reply(a + b));
//!
//! patio::serve(patio::listen("127.0.0.1:3000".parse()?)?, io).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Where to look
//!
//! | for | see |
//! |---|---|
//! | options, their defaults and limits | [`ServerBuilder`] |
//! | handlers: what may be one, what it may take and return | [`handler`], [`extract`], [`Reply`], [`Refusal`] |
//! | declaring namespaces | [`Namespace`], [`Server::of`], [`Server::of_dynamic`] |
//! | one client | [`Socket`]: its rooms, data, handshake, connection, its own listeners |
//! | sending to many | [`Server::to`], [`Server::except`] and the other ways to a [`BroadcastOperator`] |
//! | asking clients for answers | [`Socket::emit_with_ack`], [`BroadcastOperator::emit_with_ack`] |
//! | several servers as one | [`adapter`], [`ServerBuilder::adapter`], [`Server::server_side_emit`] |
//! | clients that come back to their state | [`ServerBuilder::connection_state_recovery`] |
//! | the end | [`Socket::on_disconnect`], [`DisconnectReason`], [`Server::drain`], [`Server::close`] |
//! | what was dropped, refused or failed | [`Server::counters`], [`ServerBuilder::on_handler_error`] |
//! | Engine.IO without Socket.IO | [`engine_io`] |
//!
//! # With axum, with hyper, alone
//!
//! ```
//! # use patio::Server;
//! # fn app() -> axum::Router {
//! let io = Server::new();
//! axum::Router::new()
//!     .route("/", axum::routing::get(async || "hello"))
//!     .with_state(io.clone())
//!     .layer(io.layer())
//! # }
//! ```
//!
//! [`Server::layer`] answers requests below `/socket.io/` ([`path`](ServerBuilder::path)) and passes all others on.
//! [`Server::service`] answers the others with 404. What a tower or axum layer puts into a request's extensions reaches
//! handlers by [`extract::Extension`].
//!
//! An HTTP server of your own must allow upgrades (`with_upgrades` of hyper), or no client gets a WebSocket. It should set
//! `TCP_NODELAY`, and put a [`RemoteAddr`] into each request's extensions, so that the handshake knows its client.
//! `patio::serve` does all that, and shuts down gracefully.
//!
//! # What is sent
//!
//! Data is anything that serde serialises. A tuple is several arguments, `()` is none, everything else is one: so
//! `socket.emit("move", &("e2", "e4"))` is `socket.emit("move", "e2", "e4")` in JavaScript. Bytes travel as binary, at any
//! depth, if the type serialises as bytes: [`Bytes`](bytes::Bytes), `serde_bytes`, [`Value::Binary`].
//!
//! `emit` does not wait. When it returns, the packet is queued for every receiver of this server: a packet that is sent to
//! one of them later arrives later; a socket that joins later does not get it. A client that has gone gets nothing, and
//! that is no error. Packets are delivered at most once; with connection state recovery, a client that comes back in time
//! gets what it missed.
//!
//! A client that reads too slowly does not slow down others: beyond [`max_outbound_bytes`] it is disconnected. Who sends
//! much to one client may wait for [`Socket::flushed`].
//!
//! [`max_outbound_bytes`]: ServerBuilder::max_outbound_bytes
//!
//! # What is received
//!
//! Handlers of one socket start in the order of its events. Each runs until its first `await` before the next one starts;
//! from there on they overlap, as in Node. They are polled by the task of their connection: what blocks or computes for
//! long belongs into `tokio::task::spawn_blocking`.
//!
//! What a handler returns is the acknowledgement: `()` acknowledges without arguments when the handler ends. A panic ends
//! its handler and nothing else. So it is with all that users give: a middleware, `allow_request`, `generate_id` or a
//! predicate that panics refuses, a hook or a listener is passed over, and [`Server::counters`] counts it.
//!
//! # Features
//!
//! - `serve` (default): `serve` and `listen`, an HTTP server for programs that have none.
//! - `v3` (default): clients 1.x and 2.x. They may connect with [`allow_eio3`](ServerBuilder::allow_eio3), which is off.
//! - `msgpack`: the parser of the npm package `socket.io-msgpack-parser`, `Parser::MsgPack`.
//! - `deflate`: permessage-deflate, with the option `per_message_deflate`, which is off.

// Modules in the order that data flows. Server and sockets name this crate's `http` module; the crate of that name is
// `::http`.

// Requests.
mod http;
#[cfg(feature = "serve")]
mod serve;
mod service;

// Engine.IO: sessions over polling and WebSocket.
mod engine;
pub mod engine_io;

// Packets to their namespaces and sockets.
mod connection;
mod hub;
mod namespace;
mod pattern;
mod rooms;

// One client in one namespace.
mod extensions;
mod socket;

// Your functions: what they take and return.
pub mod extract;
pub mod handler;
mod reason;
mod refusal;
mod reply;

// And out again: to whom, and who answers.
mod ack;
mod operator;

// The server as a whole.
mod builder;
mod config;
mod counters;
mod error;
mod guard;
mod server;
mod sync;

/// What adapters are made of: the crate `patio-adapter`.
pub use patio_adapter as adapter;
pub use patio_adapter::{AdapterError, Counted, Fetched, IntoRooms, Room, SocketSnapshot};
pub use patio_proto::{
    encode::Parser,
    engine::{Protocol, Transport},
    payload::Payload,
    value::Value,
};

pub use self::http::{
    cookie::{Cookie, CookieError, Priority, SameSite},
    cors::{Cors, CorsError},
    headers::CompactHeaders,
    query::Query,
    remote_addr::{RemoteAddr, Secure},
    serve_client::ServeClient,
};
#[cfg(feature = "serve")]
pub use self::serve::{Serve, listen, serve};
pub use self::{
    ack::{AckFuture, AckRequest, BroadcastAck, BroadcastAcks, Missing, PartialAnswers},
    builder::ServerBuilder,
    config::ConnectionStateRecovery,
    counters::CounterSnapshot,
    engine::{ConnectionError, Handshake},
    error::{AckError, BuildError, EmitError, RESERVED_EVENTS},
    extensions::Extensions,
    namespace::Namespace,
    operator::BroadcastOperator,
    pattern::{NamespacePattern, NamespacePredicate},
    reason::DisconnectReason,
    refusal::Refusal,
    reply::{IntoAck, IntoReply, Reply},
    rooms::RoomEvent,
    server::{EngineHandle, FailedHandler, NamespaceHandle, Server, ServerAnswers},
    service::{NotFound, SocketIoLayer, SocketIoService},
    socket::{Conn, Joined, Socket, SocketEmitter},
};

/// The code of README.md compiles.
#[cfg(all(doctest, feature = "serve"))]
#[doc = include_str!("../../../README.md")]
struct Readme;
