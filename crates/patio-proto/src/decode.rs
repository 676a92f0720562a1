//! Socket.IO packets out of received Engine.IO messages.

/// What one connection may send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Attachments of one packet, 10 by default as in Node.
    pub max_attachments: usize,
}
