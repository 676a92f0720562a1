//! Socket.IO for Rust.
//!
//! (to be written)

// Server and sockets name this crate's `http` module; the crate of that name is `::http`.
mod ack;
mod builder;
mod config;
mod connection;
mod counters;
mod engine;
pub mod engine_io;
mod error;
mod extensions;
pub mod extract;
pub mod handler;
mod http;
mod hub;
mod listeners;
mod namespace;
mod operator;
mod pattern;
mod reason;
mod refusal;
mod reply;
mod rooms;
#[cfg(feature = "serve")]
mod serve;
mod server;
mod service;
mod socket;

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
    remote_addr::RemoteAddr,
    serve_client::ServeClient,
};
#[cfg(feature = "serve")]
pub use self::serve::{Serve, listen, serve};
pub use self::{
    ack::{AckFuture, AckRequest, BroadcastAck, BroadcastAcks, Missing, PartialAnswers},
    builder::{ConnectionStateRecovery, ServerBuilder},
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
    socket::{Conn, Socket, SocketEmitter},
};

/// The code of README.md compiles.
#[cfg(all(doctest, feature = "serve"))]
#[doc = include_str!("../../../README.md")]
struct Readme;
