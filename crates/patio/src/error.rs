//! What can go wrong for a caller: one type per operation that a caller can act on.
//!
//! A peer's fault is none of these: it is answered by the protocol and counted. The end of a connection is a
//! [`DisconnectReason`](crate::DisconnectReason).

use std::fmt;

use patio_adapter::AdapterError;
pub use patio_proto::decode::RESERVED_EVENTS;
use patio_proto::payload::{ArgsError, EncodeError};

/// An emit that did not happen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmitError {
    /// The event's name belongs to Socket.IO itself, as [`RESERVED_EVENTS`] lists.
    #[error("\"{0}\" is a reserved event name")]
    Reserved(String),
    /// The data could not be serialised.
    #[error("the event's data cannot be serialised: {0}")]
    Encode(#[source] EncodeError),
    /// Local sockets have the event, but the adapter could not publish it to other servers.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
}

impl From<EncodeError> for EmitError {
    fn from(error: EncodeError) -> Self {
        Self::Encode(error)
    }
}

/// Refuses the names that belong to Socket.IO itself.
pub(crate) fn check_event(name: &str) -> Result<(), EmitError> {
    if RESERVED_EVENTS.contains(&name) { Err(EmitError::Reserved(name.to_owned())) } else { Ok(()) }
}

/// An acknowledgement that did not come, or was not what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AckError {
    /// Nothing came in time.
    #[error("operation has timed out")]
    Timeout,
    /// The client went away, or had gone already.
    #[error("the client has disconnected")]
    Disconnected,
    /// The answer is not of the expected type.
    #[error("the answer is not what was expected: {0}")]
    Decode(#[source] ArgsError),
    /// The question could not be sent.
    #[error(transparent)]
    Emit(#[from] EmitError),
}

/// A configuration that cannot work.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BuildError(String);

impl BuildError {
    pub(crate) fn new(what: impl fmt::Display) -> Self {
        Self(what.to_string())
    }
}
