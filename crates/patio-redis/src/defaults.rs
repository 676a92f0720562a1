//! What all adapters take unless they are told otherwise.

/// What the names of channels and streams begin with. Node's.
pub(crate) const KEY: &str = "socket.io";

/// The most bytes of a message that is read.
pub(crate) const MAX_MESSAGE_BYTES: usize = 64 * 1024 * 1024;
