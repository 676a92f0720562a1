//! See [`patio_fuzz::session`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| patio_fuzz::session::run(data));
