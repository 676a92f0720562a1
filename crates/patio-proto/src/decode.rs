//! Socket.IO: decode.
