//! What servers tell each other about a socket: the elements of `fetchSockets()`, Node's `RemoteSocket`.

use std::{
    fmt,
    sync::{Arc, LazyLock},
};

use serde::de::DeserializeOwned;

use crate::room::Room;

/// A socket as it was when it was asked for, on this server or on another one.
#[derive(Clone, Debug)]
pub struct SocketSnapshot {
    /// The socket's id.
    pub id: Room,
    /// Its handshake: a JSON object with the keys headers, time, address, xdomain, secure, issued, url, query, auth.
    pub handshake: LazyJson,
    /// The rooms it is in, the one named by its id among them.
    pub rooms: Vec<Room>,
    /// `socket.data`: a JSON object.
    pub data: serde_json::Value,
}

/// JSON text that is written on first use, and at most once: most callers of `fetch_sockets` never look at the
/// handshake. Text, not a tree, so that the order of keys stays as it was written. Cheap to clone.
#[derive(Clone)]
pub struct LazyJson(Arc<LazyLock<String, Build>>);

type Build = Box<dyn FnOnce() -> String + Send>;

impl LazyJson {
    /// JSON that `build` writes when it is first looked at. It must be valid.
    pub fn new(build: impl FnOnce() -> String + Send + 'static) -> Self {
        Self(Arc::new(LazyLock::new(Box::new(build))))
    }

    /// JSON that is there already. It must be valid.
    pub fn from_text(text: String) -> Self {
        Self::new(move || text)
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The text read as a `T`. Errors: it is something else.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.text())
    }
}

impl fmt::Debug for LazyJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}
