//! The committed corpus through every target, without cargo-fuzz: `cargo test` in this folder.

use std::{fs, path::Path};

fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        println!("{}", file.display());
        run(&fs::read(file).unwrap());
        count += 1;
    }
    assert!(count > 0, "no corpus for {target}");
}

#[test]
fn ws_frames() {
    replay("ws_frames", patio_fuzz::ws_frames::run);
}

#[test]
fn payloads() {
    replay("payloads", patio_fuzz::payloads::run);
}

#[test]
fn packets_json() {
    replay("packets_json", patio_fuzz::packets_json::run);
}

#[test]
fn packets_msgpack() {
    replay("packets_msgpack", patio_fuzz::packets_msgpack::run);
}

#[test]
fn session() {
    replay("session", patio_fuzz::session::run);
}

#[test]
fn server() {
    replay("server", patio_fuzz::server::run);
}
