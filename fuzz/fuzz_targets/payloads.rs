//! See [`patio_fuzz::payloads`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| patio_fuzz::payloads::run(data));
