//! See [`patio_fuzz::ws_frames`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| patio_fuzz::ws_frames::run(data));
