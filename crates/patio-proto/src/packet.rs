//! Socket.IO: packet.
