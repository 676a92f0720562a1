//! How bytes travel: requests of a polling client, and WebSockets.

pub(crate) mod polling;
pub(crate) mod websocket;
