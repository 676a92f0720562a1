//! Engine.IO without Socket.IO above it: messages of text and bytes over long-polling and WebSocket.
//!
//! For protocols of your own, and for tests of the transports. `new engine.Server()` of npm's `engine.io`.
//!
//! ```no_run
//! use patio::{Server, engine_io::{Client, Message}};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let echo = Server::builder()
//!     .path("/engine.io")
//!     .build_engine_io(|client: &Client, message: Message| client.send(message))?;
//! patio::serve(patio::listen("127.0.0.1:3000".parse()?)?, echo).await?;
//! # Ok(())
//! # }
//! ```

use std::{
    convert::Infallible,
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use ::http::{Request, Response};
use bytes::{Buf, Bytes};
use futures_core::future::BoxFuture;
use http_body_util::Full;
pub use patio_proto::engine::Message;
use patio_proto::{
    encode::Encoded,
    engine::{CloseReason, Protocol, Transport},
};
use tower_service::Service;

use crate::{
    config::Config,
    counters::CounterSnapshot,
    engine::{Application, Engine, Handshake, flush::Turn, request, session::Session},
    reason::DisconnectReason,
    service::NotFound,
};

/// What an application does with its clients. A closure that takes a client and a message is one.
///
/// The methods run in the client's task, one at a time; they must not block.
///
/// A panic in [`opened`](Self::opened) or [`message`](Self::message) closes that client's connection, because nobody
/// knows how far it got with what the client has sent: the reason is `forced close`, and [`closed`](Self::closed) is
/// called as for any other. It is counted in `panics`, and other clients do not notice.
pub trait Handler: Send + Sync + 'static {
    /// A client has connected. `engine.on("connection")` in Engine.IO.
    fn opened(&self, client: &Client) {
        let _ = client;
    }

    /// A client sent a message. `socket.on("message")` in Engine.IO.
    fn message(&self, client: &Client, message: Message);

    /// A client has gone. `socket.on("close")` in Engine.IO.
    fn closed(&self, client: &Client, reason: DisconnectReason) {
        let _ = (client, reason);
    }
}

impl<F: Fn(&Client, Message) + Send + Sync + 'static> Handler for F {
    fn message(&self, client: &Client, message: Message) {
        self(client, message);
    }
}

/// One client. Clones are the same client.
#[derive(Clone)]
pub struct Client(Arc<Session<Plain>>);

impl Client {
    /// The session id. It is secret: whoever knows it can take part in the session.
    pub fn id(&self) -> &str {
        self.0.sid()
    }

    /// The request with which the client connected.
    pub fn handshake(&self) -> &Handshake {
        &self.0.handshake
    }

    /// The revision of Engine.IO that the client speaks.
    pub fn protocol(&self) -> Protocol {
        self.0.protocol()
    }

    /// How packets travel at this moment.
    pub fn transport(&self) -> Transport {
        self.0.transport()
    }

    /// Queues a message; to a client that has gone it does nothing.
    pub fn send(&self, message: Message) {
        let turn = Turn::of_caller();
        self.0.send(&Arc::new(Encoded::message(&message)), false);
        drop(turn);
    }

    /// Closes the connection, after what is queued.
    pub fn close(&self) {
        self.0.close(CloseReason::ForcedClose);
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("protocol", &self.protocol()).finish_non_exhaustive()
    }
}

/// A server of Engine.IO alone, as a tower service; requests that are not for it are answered with 404.
/// Made by [`ServerBuilder::build_engine_io`](crate::ServerBuilder::build_engine_io).
#[derive(Clone)]
pub struct EngineIo(Arc<Engine<Plain>>);

impl EngineIo {
    pub(crate) fn new(config: Config, handler: impl Handler) -> Self {
        let handler: Box<dyn Handler> = Box::new(handler);
        Self(Arc::new(Engine::new(config, handler)))
    }

    /// How many clients there are. `engine.clientsCount` in Engine.IO.
    pub fn clients_count(&self) -> usize {
        self.0.clients_count()
    }

    /// What was dropped, refused or failed since the server's start, by reason.
    pub fn counters(&self) -> CounterSnapshot {
        self.0.counters.snapshot()
    }

    /// Closes all connections, with the reason `server shutting down`, and waits until they have ended, at most 10 s.
    /// New clients are refused from now on. `engine.close()` in Engine.IO.
    pub async fn close(&self) {
        self.0.close().await;
    }
}

impl<B> Service<Request<B>> for EngineIo
where
    B: http_body::Body + Send + 'static,
    B::Data: Buf + Send,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if !self.0.config.is_for_engine(request.uri().path()) {
            return Box::pin(NotFound.call(request));
        }
        let engine = Arc::clone(&self.0);
        Box::pin(async move { Ok(request::handle(engine, request).await) })
    }
}

/// The layer above a session that passes messages on.
pub(crate) struct Plain;

impl Application for Plain {
    type Shared = Box<dyn Handler>;
    type Inbox = ();

    fn new(_: &Arc<Engine<Self>>, _: &::http::Extensions) -> Self {
        Self
    }

    fn opened(session: &Arc<Session<Self>>, (): &mut ()) {
        call(session, |handler, client| handler.opened(client));
    }

    fn message(session: &Arc<Session<Self>>, (): &mut (), message: Message) {
        call(session, |handler, client| handler.message(client, message));
    }

    fn wants_more((): &()) -> bool {
        true
    }

    fn poll(_: &Arc<Session<Self>>, (): &mut (), _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    fn due(_: &Arc<Session<Self>>, (): &mut ()) {}

    fn closed(session: &Arc<Session<Self>>, (): &mut (), reason: CloseReason) {
        call(session, |handler, client| handler.closed(client, reason.into()));
    }

    fn abandoned(_: &Arc<Session<Self>>, (): &mut ()) {}
}

/// Calls the application; a panic of it closes the connection. One that is closing is not closed again.
fn call(session: &Arc<Session<Plain>>, call: impl FnOnce(&dyn Handler, &Client)) {
    let engine = session.engine();
    if engine.counters.guard(|| call(&*engine.shared, &Client(Arc::clone(session)))).is_none() {
        session.close(CloseReason::ForcedClose);
    }
}
