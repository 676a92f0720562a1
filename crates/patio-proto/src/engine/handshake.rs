//! The data of the `open` packet.
