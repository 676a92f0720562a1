//! How many namespaces a connection may be in, with those that it asks for.

use std::sync::Arc;

use patio::{ConnectionStateRecovery, Socket};
use tokio::sync::Semaphore;

use crate::{
    Client, builder, counting,
    support::{Server, V4, json},
};

#[tokio::test]
async fn a_connection_may_be_in_so_many_namespaces() {
    let server = counting(builder().max_namespaces(2)).await;
    let neighbour = server.neighbour().await;
    for nsp in ["/a", "/b", "/c"] {
        server.io.of(nsp);
    }
    for mut client in Client::all(&server).await {
        client.send("40/a,").await;
        assert!(client.text().await.starts_with("40/a,"));
        client.send("40/b,").await;
        assert_eq!(client.text().await, r#"44/b,{"message":"Too many namespaces"}"#);
        // The transport stays, and who leaves one may join another.
        client.send("421[\"x\"]").await;
        assert_eq!(client.text().await, "431[0]");
        client.send("41/a,").await;
        client.send("40/b,").await;
        assert!(client.text().await.starts_with("40/b,"));
        client.send("40/c,").await;
        assert_eq!(client.text().await, r#"44/c,{"message":"Too many namespaces"}"#);
    }
    assert_eq!(server.io.counters().refused_connects, 8);
    neighbour.felt_nothing().await;
}

#[tokio::test]
async fn namespaces_that_are_still_asked_for_count_too() {
    // One of them is the main namespace.
    let server = Server::apart(builder().max_namespaces(3)).await;
    let neighbour = server.neighbour().await;
    let gate = Arc::new(Semaphore::new(0));
    for nsp in ["/a", "/b", "/c"] {
        let gate = Arc::clone(&gate);
        server.io.of(nsp).middleware(async move |_: Socket| {
            gate.acquire().await.unwrap().forget();
            Ok::<_, patio::Refusal>(())
        });
    }
    for mut client in Client::all(&server).await {
        for nsp in ["/a", "/b", "/c"] {
            client.send(&format!("40{nsp},")).await;
        }
        assert_eq!(client.text().await, r#"44/c,{"message":"Too many namespaces"}"#);
        gate.add_permits(2);
        assert!(client.text().await.starts_with("40/a,"));
        assert!(client.text().await.starts_with("40/b,"));
    }
    neighbour.felt_nothing().await;
}

/// Each time the history is searched. Clients of protocol 3 compute their ids, so there is nothing that they could ask for.
#[tokio::test]
async fn a_connection_may_ask_for_a_former_state_so_often() {
    const MOST: usize = 16;
    let server = Server::apart(builder().connection_state_recovery(ConnectionStateRecovery::default())).await;
    let neighbour = server.neighbour().await;
    server.io.of("/other");
    for over_websocket in [false, true] {
        for in_vain in [MOST - 1, MOST] {
            let mut lost = server.ws(V4).await;
            lost.send("40").await;
            let told = json(lost.text().await.strip_prefix("40").unwrap());
            let (sid, pid) = (told["sid"].as_str().unwrap(), told["pid"].as_str().unwrap());
            server.io.to(sid).emit("seen", &()).unwrap();
            let seen = json(lost.text().await.strip_prefix("42").unwrap());
            drop(lost);
            assert_eq!(server.reason().await, "transport close");

            let mut client = match over_websocket {
                true => Client::Ws(server.ws(V4).await),
                false => Client::Polling(server.polling(V4).await),
            };
            for _ in 0..in_vain {
                client.send(r#"40/other,{"pid":"none","offset":"none"}"#).await;
                assert!(client.text().await.starts_with("40/other,"));
                client.send("41/other,").await;
            }
            client.send(&format!(r#"40{{"pid":"{pid}","offset":{}}}"#, seen[1])).await;
            let told = json(client.text().await.strip_prefix("40").unwrap());
            assert_eq!(told["sid"] == sid, in_vain < MOST, "{told}");
        }
    }
    neighbour.felt_nothing().await;
}
