//! Socket.IO, Engine.IO and WebSocket as pure data.
//!
//! Bytes come in as arguments and leave as return values; so do time and randomness. There is no socket, no clock,
//! no task and no lock here, and nothing a peer sends can panic or allocate beyond the limits it is given.
//!
//! The modules in the order that received data passes them: [`ws`] frames, [`engine`] packets, payloads and the
//! session, then Socket.IO: [`decode`], [`packet`], [`payload`]. What is sent passes [`encode`] once, whatever the
//! number of receivers.

pub mod text;

pub use text::Text;

pub mod engine;
pub mod ws;

pub mod decode;
pub mod encode;
#[cfg(feature = "msgpack")]
pub mod msgpack;
pub mod packet;
pub mod payload;
pub mod sid;
pub mod value;
