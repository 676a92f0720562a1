//! See [`patio_fuzz::server`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| patio_fuzz::server::run(data));
