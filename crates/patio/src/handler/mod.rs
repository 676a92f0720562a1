//! Handlers: from an async function of a user to an object that the hub calls.
//!
//! A [`Call`] says what happened: the hub makes one per event, connection or disconnection. The arguments of the user's
//! function are [extracted](crate::extract) from it, the function is called, and the future that it returns goes back
//! to the connection, which polls it. File `function` is about functions of any number of arguments, `arguments` about
//! what may stand in their places, `kind` about what is made of the return value; `erased` forgets all these types.
//!
//! # What can be a handler
//!
//! An `async fn`, or an async closure, that is `Clone + Send + Sync + 'static`, takes up to 12
//! [extractors](crate::extract) and returns what its kind may return:
//!
//! | trait | for | may read the payload | returns |
//! |---|---|---|---|
//! | [`Handler`] | events | yes | `()`, [`Reply`](crate::Reply), or a `Result` of these: [`IntoReply`](crate::IntoReply) |
//! | [`ConnectHandler`] | the start of a socket | no | `()` or `Result<(), E>` where `E: Display` |
//! | [`DisconnectHandler`] | the end of a socket | no | the same |
//! | [`Middleware`] | who may connect | no | `()` or `Result<(), E>` where `E: Into<Refusal>` |
//! | [`PacketMiddleware`] | what a socket may send | yes | the same |
//!
//! A closure that captures is written `async move |…| …`; each call gets a clone of what it captured, and so may move it
//! into a handler that it registers in turn.
//!
//! All five are implemented by blanket implementations alone. `M` is a marker that the compiler infers.

pub(crate) mod arguments;
pub(crate) mod call;
pub(crate) mod erased;
pub(crate) mod error;
pub(crate) mod function;
pub(crate) mod kind;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use self::{
    call::Call,
    error::{ExtractError, HandlerError, IntoOutcome, IntoVerdict},
};
use self::{kind::Handle, kind::of};

/// Handles events: what `namespace.on(event, …)` and `socket.on(event, …)` take. See the [module](self).
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot handle events",
    note = "event handlers are async functions of extractors that return `()`, `Reply(value)` or a `Result` of these"
)]
pub trait Handler<M>: Handle<of::Event, M> {}

impl<F: Handle<of::Event, M>, M> Handler<M> for F {}

/// Runs when a socket has joined its namespace: `io.on("connection", …)` in Socket.IO. See the [module](self).
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot handle connections",
    note = "connect handlers are async functions of extractors that return `()` or `Result<(), E>`"
)]
pub trait ConnectHandler<M>: Handle<of::Connect, M> {}

impl<F: Handle<of::Connect, M>, M> ConnectHandler<M> for F {}

/// Runs when a socket leaves its namespace: `socket.on("disconnect", …)` in Socket.IO. See the [module](self).
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot handle disconnections",
    note = "disconnect handlers are async functions of extractors that return `()` or `Result<(), E>`"
)]
pub trait DisconnectHandler<M>: Handle<of::Disconnect, M> {}

impl<F: Handle<of::Disconnect, M>, M> DisconnectHandler<M> for F {}

/// Decides whether a client may join a namespace: `io.use(…)` in Socket.IO. See the [module](self).
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a middleware",
    note = "middlewares are async functions of extractors that return `Result<(), Refusal>`"
)]
pub trait Middleware<M>: Handle<of::Middleware, M> {}

impl<F: Handle<of::Middleware, M>, M> Middleware<M> for F {}

/// Decides whether an event reaches its handlers: `socket.use(…)` in Socket.IO. See the [module](self).
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a middleware of packets",
    note = "middlewares are async functions of extractors that return `Result<(), Refusal>`"
)]
pub trait PacketMiddleware<M>: Handle<of::Packet, M> {}

impl<F: Handle<of::Packet, M>, M> PacketMiddleware<M> for F {}
