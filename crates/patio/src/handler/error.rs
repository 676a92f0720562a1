//! What goes wrong in handlers: counted, and given to `on_handler_error`. Clients are not told.

use std::{any::Any, fmt};

use patio_proto::payload::EncodeError;

use crate::{guard::panic_text, refusal::Refusal};

/// An argument of a handler could not be extracted, so the handler was not called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtractError {
    extractor: &'static str,
    message: String,
}

impl ExtractError {
    pub(crate) fn new<T>(rejection: &impl fmt::Display) -> Self {
        Self { extractor: std::any::type_name::<T>(), message: rejection.to_string() }
    }

    /// The type of the argument, as `std::any::type_name` names it.
    pub fn extractor(&self) -> &'static str {
        self.extractor
    }

    /// Why there is no such value: the text of the extractor's rejection.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for ExtractError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot extract {}: {}", self.extractor, self.message)
    }
}

impl std::error::Error for ExtractError {}

/// What a client is told when a middleware cannot run: not which types the server has.
impl From<ExtractError> for Refusal {
    fn from(_: ExtractError) -> Self {
        Self::new("invalid handshake")
    }
}

/// Why a handler did not do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandlerError {
    /// It was not called: the client sent other arguments than it takes, or something is missing on the server.
    #[error(transparent)]
    Extract(#[from] ExtractError),
    /// It returned an `Err`, with this text.
    #[error("the handler failed: {0}")]
    Failed(String),
    /// Its reply cannot be serialised; the client got none.
    #[error("the reply was not sent: {0}")]
    Reply(#[from] EncodeError),
    /// It panicked, with this text.
    #[error("the handler panicked: {0}")]
    Panicked(String),
}

impl HandlerError {
    /// `panic` is what `catch_unwind` caught.
    pub(crate) fn panicked(panic: Box<dyn Any + Send>) -> Self {
        Self::Panicked(panic_text(panic))
    }
}

/// What the handler of a connection or disconnection may return.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be returned by a connect or disconnect handler",
    label = "returned here",
    note = "return `()`, or `Result<(), E>` where `E: Display`"
)]
pub trait IntoOutcome {
    /// Tells failure from success.
    fn into_outcome(self) -> Result<(), HandlerError>;
}

impl IntoOutcome for () {
    fn into_outcome(self) -> Result<(), HandlerError> {
        Ok(())
    }
}

impl<E: fmt::Display> IntoOutcome for Result<(), E> {
    fn into_outcome(self) -> Result<(), HandlerError> {
        self.map_err(|error| HandlerError::Failed(error.to_string()))
    }
}

/// What a middleware may return.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be returned by a middleware",
    label = "returned here",
    note = "return `Result<(), Refusal>`; `?` makes a `Refusal` of a `String`, and of types that you implement `From` for"
)]
pub trait IntoVerdict {
    /// Tells refusal from consent.
    fn into_verdict(self) -> Result<(), Refusal>;
}

/// Never refuses.
impl IntoVerdict for () {
    fn into_verdict(self) -> Result<(), Refusal> {
        Ok(())
    }
}

impl<E: Into<Refusal>> IntoVerdict for Result<(), E> {
    fn into_verdict(self) -> Result<(), Refusal> {
        self.map_err(Into::into)
    }
}
