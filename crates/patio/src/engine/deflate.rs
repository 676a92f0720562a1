//! permessage-deflate of WebSockets: what is agreed in the handshake, and the compressed form of packets.
//!
//! Without context takeover, so that a broadcast is compressed once for all receivers, and no connection keeps a
//! compressor (320 kB): each thread has one.

use std::cell::RefCell;

use ::http::{HeaderMap, header};
pub(super) use patio_proto::ws::deflate::{Agreed, Window};
use patio_proto::{
    encode::Encoded,
    ws::{Decoder, deflate},
};

/// The level that Node's zlib has when none is asked for.
const LEVEL: u32 = 6;

thread_local! {
    static COMPRESSOR: RefCell<deflate::Compressor> = RefCell::new(deflate::Compressor::new(LEVEL));
}

/// The answer to what the client offers; `None`: messages stay as they are. Errors: a malformed header.
pub(super) fn negotiate(headers: &HeaderMap) -> Result<Option<Agreed>, deflate::InvalidExtensions> {
    deflate::negotiate(headers.get_all(header::SEC_WEBSOCKET_EXTENSIONS).iter().map(|value| value.as_bytes()))
}

/// A decoder that reads compressed messages.
pub(super) fn decoder(decoder: Decoder) -> Decoder {
    decoder.with_deflate()
}

/// The frames of a packet, its messages of at least `threshold` bytes compressed.
pub(super) fn frames(packet: &Encoded, threshold: usize) -> &[u8] {
    COMPRESSOR.with_borrow_mut(|compressor| packet.compressed(threshold, compressor))
}
