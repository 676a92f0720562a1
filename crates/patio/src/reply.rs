//! Acknowledgements that are return values: from what a handler returns to the ACK packet of its client.

use std::{convert::Infallible, error::Error, fmt::Display, io};

use patio_proto::payload::{ArgsError, EncodeError, Payload};
use serde::Serialize;

use crate::{
    error::{AckError, EmitError},
    extract::Ack,
    handler::HandlerError,
    refusal::Refusal,
};

/// Answers an event: the value that a handler returns goes to the client's acknowledgement callback.
///
/// A tuple is several arguments, anything else is one. Nothing is serialised when the client did not ask for an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reply<T>(pub T);

/// What an event handler may return.
///
/// `()` answers without arguments when the handler ends: clients that are set up to send again (`retries`) wait for
/// it. [`Reply`] answers with arguments. `Err` answers only if its [`IntoAck`] says how.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be returned by an event handler",
    label = "returned here",
    note = "return `()`, `Reply(value)` to answer with a value, or `Result<_, E>` of one of these where `E: IntoAck`"
)]
pub trait IntoReply {
    /// Answers with `ack`, or drops it to leave the client without an answer. The error is counted and reported.
    fn into_reply(self, ack: Ack) -> Result<(), HandlerError>;
}

impl IntoReply for () {
    fn into_reply(self, ack: Ack) -> Result<(), HandlerError> {
        ack.send_payload(Payload::empty());
        Ok(())
    }
}

impl<T: Serialize> IntoReply for Reply<T> {
    fn into_reply(self, ack: Ack) -> Result<(), HandlerError> {
        Ok(ack.send(&self.0)?)
    }
}

impl<R: IntoReply, E: IntoAck> IntoReply for Result<R, E> {
    fn into_reply(self, ack: Ack) -> Result<(), HandlerError> {
        match self {
            Ok(reply) => reply.into_reply(ack),
            Err(error) => {
                let text = error.to_string();
                if ack.is_requested()
                    && let Some(payload) = error.into_ack()
                {
                    ack.send_payload(payload);
                }
                Err(HandlerError::Failed(text))
            }
        }
    }
}

impl IntoReply for Infallible {
    fn into_reply(self, _ack: Ack) -> Result<(), HandlerError> {
        match self {}
    }
}

/// An error that an event handler may return.
///
/// By default the client gets no answer, as in Socket.IO, where a handler that throws does not call back: what an error
/// says is the server's own business. The text reaches `on_handler_error` in any case.
///
/// Implement it for an error of your own with an empty `impl IntoAck for MyError {}`, or say what the client gets:
///
/// ```
/// use patio::{IntoAck, Payload};
///
/// #[derive(Debug, thiserror::Error)]
/// #[error("there is no room {room}")]
/// struct NoSuchRoom { room: String }
///
/// impl IntoAck for NoSuchRoom {
///     fn into_ack(self) -> Option<Payload> {
///         Payload::args(&serde_json::json!({ "error": "no such room", "room": self.room })).ok()
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the error of an event handler",
    note = "`impl patio::IntoAck for {Self} {{}}` allows it, if it is a type of yours: its `Display` text goes to \
            `on_handler_error`, and the client gets no answer",
    note = "`Box<dyn Error + Send + Sync>` takes any error"
)]
pub trait IntoAck: Display + Sized {
    /// The arguments of the answer, as [`Payload::args`] makes them. `None`: no answer.
    fn into_ack(self) -> Option<Payload> {
        None
    }
}

/// The client gets `{ message, data }`, what it gets of a refused connection.
impl IntoAck for Refusal {
    fn into_ack(self) -> Option<Payload> {
        Some(self.to_ack())
    }
}

impl IntoAck for AckError {}
impl IntoAck for ArgsError {}
impl IntoAck for Box<dyn Error + Send + Sync> {}
impl IntoAck for EmitError {}
impl IntoAck for EncodeError {}
impl IntoAck for Infallible {}
impl IntoAck for String {}
impl IntoAck for &'static str {}
impl IntoAck for io::Error {}
impl IntoAck for serde_json::Error {}
