//! Socket.IO: sid.
