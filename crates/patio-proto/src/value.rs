//! Socket.IO: value.
