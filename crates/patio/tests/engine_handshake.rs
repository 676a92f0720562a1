//! How a session opens, and every way in which a request for one is refused (wire formats 1.1 to 1.3).

#![cfg(all(feature = "serve", feature = "v3"))]

#[expect(dead_code, reason = "each test file uses a part")]
mod support;

use support::{Server, V3, V4};

#[tokio::test]
async fn the_open_packet_tells_what_node_tells() {
    let server = Server::start(patio::Server::builder()).await;
    for eio in [V4, V3] {
        let polling = server.polling(eio).await;
        assert_eq!(polling.sid().len(), 20);
        let ws = server.ws(eio).await;
        assert_eq!(ws.open["upgrades"], serde_json::json!([]));
    }
    let mut ws = server.ws(V4).await;
    ws.join("/").await;
    let mut polling = server.polling(V3).await;
    polling.join("/").await;
}
