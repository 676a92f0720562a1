//! What goes wrong between servers: one opaque error for every adapter.

use std::{error::Error, fmt, sync::Arc};

/// An operation that involves other servers failed. Local delivery is not affected by it.
#[derive(Clone)]
pub struct AdapterError {
    kind: Kind,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Timeout,
    Unsupported(&'static str),
    Closed,
    Overloaded,
    Disconnected,
    Failed(&'static str),
}

impl AdapterError {
    /// Nothing came in time.
    pub fn timeout() -> Self {
        Kind::Timeout.into()
    }

    /// This adapter cannot do `operation`.
    pub fn unsupported(operation: &'static str) -> Self {
        Kind::Unsupported(operation).into()
    }

    /// The adapter has been closed.
    pub fn closed() -> Self {
        Kind::Closed.into()
    }

    /// A bounded queue towards the other servers is full.
    pub fn overloaded() -> Self {
        Kind::Overloaded.into()
    }

    /// There is no connection to the other servers now.
    pub fn disconnected() -> Self {
        Kind::Disconnected.into()
    }

    /// `what` failed because of `source`, an error of the broker.
    pub fn failed(what: &'static str, source: impl Error + Send + Sync + 'static) -> Self {
        Self { kind: Kind::Failed(what), source: Some(Arc::new(source)) }
    }

    /// True when other servers did not answer in time.
    pub fn is_timeout(&self) -> bool {
        self.kind == Kind::Timeout
    }

    /// True when this adapter can never do it.
    pub fn is_unsupported(&self) -> bool {
        matches!(self.kind, Kind::Unsupported(_))
    }

    /// True while there is no connection to the other servers.
    pub fn is_disconnected(&self) -> bool {
        self.kind == Kind::Disconnected
    }

    /// True after [`Adapter::close`](crate::Adapter::close).
    pub fn is_closed(&self) -> bool {
        self.kind == Kind::Closed
    }
}

impl From<Kind> for AdapterError {
    fn from(kind: Kind) -> Self {
        Self { kind, source: None }
    }
}

impl fmt::Display for AdapterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Timeout => f.write_str("other servers did not answer in time"),
            Kind::Unsupported(operation) => write!(f, "this adapter does not support {operation}"),
            Kind::Closed => f.write_str("the adapter is closed"),
            Kind::Disconnected => f.write_str("there is no connection to the other servers"),
            Kind::Overloaded => f.write_str("the queue towards the other servers is full"),
            Kind::Failed(what) => write!(f, "{what} failed"),
        }
    }
}

impl fmt::Debug for AdapterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AdapterError({self}")?;
        if let Some(source) = &self.source {
            write!(f, ": {source}")?;
        }
        f.write_str(")")
    }
}

impl Error for AdapterError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
