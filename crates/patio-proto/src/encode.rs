//! Socket.IO: encode.
