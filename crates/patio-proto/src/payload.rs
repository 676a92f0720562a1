//! Socket.IO: payload.
