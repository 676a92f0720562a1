//! See [`patio_fuzz::packets_msgpack`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| patio_fuzz::packets_msgpack::run(data));
