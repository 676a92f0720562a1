//! A broadcast is serialised once and framed once, whatever the number of receivers and their transports (design,
//! invariant 2). What is counted is counted by thread, so everything here happens in one.

#![cfg(all(feature = "serve", feature = "v3"))]

#[expect(dead_code, reason = "each test file uses a part")]
mod support;

use patio::Server as Patio;
use patio_proto::{encode::packets_encoded, payload::serializations};
use serde::Serialize;
use support::{Server, V3, V4, direct::Direct};
use tokio::runtime::{Handle, RuntimeFlavor};

/// Clients over each of polling, WebSocket of revision 4 and WebSocket of revision 3.
const POLLING: usize = 900;
const WEBSOCKETS: usize = 50;

#[derive(Serialize)]
struct Picture {
    name: &'static str,
    data: serde_bytes::ByteBuf,
}

#[tokio::test]
async fn a_broadcast_to_a_thousand_is_encoded_once() {
    assert_eq!(Handle::current().runtime_flavor(), RuntimeFlavor::CurrentThread);
    let server = Server::start(Patio::builder()).await;
    let mut polling = Vec::new();
    for _ in 0..POLLING {
        polling.push(Direct::joined(&server.io, true).await);
    }
    let mut websockets = Vec::new();
    for n in 0..2 * WEBSOCKETS {
        let mut client = server.ws(if n % 2 == 0 { V4 } else { V3 }).await;
        client.join("/").await;
        websockets.push(client);
    }
    assert_eq!(server.io.of("/").len(), 1_000);

    let before = (packets_encoded(), serializations());
    server.io.emit("text", &"one for all").unwrap();
    let picture = Picture { name: "p", data: serde_bytes::ByteBuf::from(vec![1, 2, 3]) };
    server.io.to("nobody").emit("text", &"none at all").unwrap();
    server.io.emit("binary", &picture).unwrap();
    let after = (packets_encoded(), serializations());
    let (text, header) = (
        r#"42["text","one for all"]"#,
        r#"451-["binary",{"name":"p","data":{"_placeholder":true,"num":0}}]"#,
    );
    for client in &mut websockets {
        assert_eq!(client.text().await, text);
        assert_eq!(client.text().await, header);
        assert_eq!(client.binary().await, [1, 2, 3]);
    }
    for client in &polling {
        assert_eq!(client.poll().await, format!("{text}\u{1e}{header}\u{1e}bAQID"));
    }
    // What nobody receives is not framed.
    assert_eq!((after.0 - before.0, after.1 - before.1), (2, 3));
    assert_eq!((packets_encoded(), serializations()), after, "not by the transports either");
}
