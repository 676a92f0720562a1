//! What must hold for any bytes that a peer sends: one module for each target of cargo-fuzz.
//!
//! A target is a function of bytes that panics when a promise is broken. `fuzz_targets/` gives them to libFuzzer,
//! `tests/corpus.rs` gives them the committed corpus, on any toolchain.

pub mod packets_json;
pub mod packets_msgpack;
pub mod payloads;
pub mod server;
pub mod session;
pub mod ws_frames;

mod packets;
mod reference;
