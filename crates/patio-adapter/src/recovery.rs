//! Connection state recovery: what is kept of a socket that went away, and what it missed.
//!
//! The hub hands a [`SessionRecord`] to its adapter when a socket disconnects for a recoverable reason, and asks for
//! it with the private id and the offset that the returning client sends.

use std::{cmp::Ordering, fmt};

use compact_str::CompactString;

use crate::{Payload, room::Room};

/// The place of a packet in the history of its namespace: a text for the client, and an order for servers.
///
/// The text is the adapter's (a base-64 time in memory, a stream's entry id on Redis). Offsets of one adapter are
/// compared by [`Offset::position`].
#[derive(Clone)]
pub struct Offset {
    text: CompactString,
    position: (u64, u64),
}

impl Offset {
    /// An offset that clients see as `text`, ordered by milliseconds and a number within them.
    pub fn new(text: impl AsRef<str>, position: (u64, u64)) -> Self {
        Self { text: CompactString::new(text), position }
    }

    /// What the client gets as the last argument of an event.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Milliseconds, and a number within them.
    pub fn position(&self) -> (u64, u64) {
        self.position
    }
}

impl PartialEq for Offset {
    fn eq(&self, other: &Self) -> bool {
        self.position == other.position
    }
}

impl Eq for Offset {}

impl PartialOrd for Offset {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Offset {
    fn cmp(&self, other: &Self) -> Ordering {
        self.position.cmp(&other.position)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Offset({})", self.text)
    }
}

/// A socket that went away and may come back.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionRecord {
    /// The socket's id, which it gets back.
    pub sid: Room,
    /// The private session id that only this client knows.
    pub pid: String,
    /// The rooms it was in, its own one among them.
    pub rooms: Vec<Room>,
    /// `socket.data`.
    pub data: serde_json::Value,
}

/// A session that was found again, with what it missed.
#[derive(Clone, Debug)]
pub struct Restored {
    /// The session as it was persisted.
    pub session: SessionRecord,
    /// The packets after the client's offset that its rooms would have got, in order.
    pub missed: Vec<(Payload, Offset)>,
    /// How far the history was read: everything up to here is in `missed` or was not for this session.
    pub cursor: Offset,
    /// Whether it is known that this namespace kept the session. Else the namespace's middlewares are asked, even where
    /// clients that come back pass them by: they may have been those of another.
    pub vouched: bool,
}

/// More of the history: see [`Adapter::replay`](crate::Adapter::replay).
#[derive(Clone, Debug)]
pub struct Replayed {
    /// The packets after the cursor, in order.
    pub missed: Vec<(Payload, Offset)>,
    /// How far the history was read now.
    pub cursor: Offset,
}
