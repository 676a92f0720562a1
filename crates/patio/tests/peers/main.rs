//! Peers that behave badly, each against a server in a process of its own: what the server's memory and tasks grow by
//! at most, that nothing of the peer is left in time, even if it keeps its socket, and which reason the application
//! hears. The reasons are those of Socket.IO 4.8.4 on Node.js, which was asked with the same bytes; where it differs,
//! the test says so.
//!
//! `limits` crosses one limit at a time and watches a neighbour. Here a peer does the worst that it can, and often.

#![cfg(all(feature = "serve", feature = "v3", target_os = "linux"))]

mod flooding;
mod host;
mod leaving;
mod opening;
mod reading;
#[expect(dead_code, reason = "each test file uses a part")]
#[path = "../support/mod.rs"]
mod support;
mod twice;

use std::time::Duration;

use support::{Eio, PollingClient, V4, WsClient};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

const KB: usize = 1_024;
const MB: usize = 1_024 * KB;

/// A client in the main namespace, over WebSocket.
async fn joined(host: &host::Host, eio: Eio) -> WsClient {
    let mut ws = host.ws(eio).await;
    ws.join("/").await;
    ws
}

/// The same over polling.
async fn polling(host: &host::Host, eio: Eio) -> PollingClient {
    let mut polling = host.polling(eio).await;
    polling.join("/").await;
    polling
}

/// Packets of one payload.
fn payload(eio: Eio, packet: &str, times: usize) -> String {
    match eio {
        V4 => vec![packet; times].join("\u{1e}"),
        _ => format!("{}:{packet}", packet.len()).repeat(times),
    }
}
