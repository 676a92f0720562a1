//! Socket.IO: msgpack.
