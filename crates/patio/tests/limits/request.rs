//! What a request may hold, and how many connections a server may have.

use patio::{Reply, Socket};
use patio_proto::ws;
use tokio::time::sleep;

use crate::{
    Client, builder, counting, ms,
    support::{Http, Server, V3, V4, soon, target},
};

#[tokio::test]
async fn a_request_may_have_so_many_headers() {
    let server = counting(builder().max_headers(5).max_header_bytes(200)).await;
    let neighbour = server.neighbour().await;
    // `host` is one already. A WebSocket's handshake has five.
    let few: Vec<_> = ["a", "b", "c", "d"].map(|name| (name, "1")).into();
    let many = [&few[..], &[("e", "1")]].concat();
    let large = [("a", &*"x".repeat(200))];
    for eio in [V4, V3] {
        let query = |transport| target(&format!("EIO={}&transport={transport}", eio.number()));
        let polling = query("polling");
        assert_eq!(server.request("GET", &polling, &few, b"").await.status, 200);
        for headers in [&many[..], &large[..]] {
            assert_eq!(server.request("GET", &polling, headers, b"").await.brief(), (431, ""));
            assert_eq!(server.upgrade(&query("websocket"), headers).await.err().unwrap().status, 431);
            // A session that is there already stays.
            let mut session = server.polling(eio).await;
            session.join("/").await;
            assert_eq!(session.post_with(headers, "").await.brief(), (431, ""));
            session.posts = Http::connect(server.addr).await;
            session.send("421[\"x\"]").await;
            assert_eq!(session.text().await, "431[0]");
        }
    }
    assert_eq!(server.io.counters().large_heads, 12);
    // What is not for this server is not its business.
    assert_eq!(server.request("GET", "/", &many, b"").await.status, 404);
    neighbour.felt_nothing().await;
}

#[tokio::test]
async fn so_many_parameters_of_a_query_are_read() {
    let server = Server::apart(builder()).await;
    let neighbour = server.neighbour().await;
    server.io.on("query", async |socket: Socket| {
        let query = socket.handshake().query();
        Reply((query.len(), query.get("p998").is_some(), query.get("p999").is_some()))
    });
    // `EIO` and `transport` come first.
    let many: String = (1..1_200).map(|n| format!("&p{n}")).collect();
    for eio in [V4, V3] {
        let polling = server.polling_with(eio, &many, &[]).await;
        let ws = server.ws_with(eio, &many, &[]).await;
        for mut client in [Client::Polling(polling), Client::Ws(ws)] {
            match &mut client {
                Client::Polling(polling) => polling.join("/").await,
                Client::Ws(ws) => ws.join("/").await,
            };
            client.send("421[\"query\"]").await;
            assert_eq!(client.text().await, "431[1000,true,false]");
        }
    }
    neighbour.felt_nothing().await;
}

#[tokio::test]
async fn there_may_be_so_many_connections() {
    let server = Server::apart(builder().max_connections(3)).await;
    let neighbour = server.neighbour().await;
    for eio in [V4, V3] {
        let number = eio.number();
        let mut polling = server.polling(eio).await;
        let mut ws = server.ws(eio).await;
        ws.join("/").await;
        let refused = (403, r#"{"code":4,"message":"Too many connections"}"#);
        assert_eq!(server.get(&format!("EIO={number}&transport=polling")).await.brief(), refused);
        let websocket = target(&format!("EIO={number}&transport=websocket"));
        let refused = server.upgrade(&websocket, &[]).await.err().unwrap();
        assert_eq!(refused.brief(), (400, "Too many connections"));
        // An upgrade is no connection more, and one that ends makes room.
        if eio == V3 {
            polling.join("/").await;
        }
        let mut candidate = server.candidate(eio, polling.sid()).await;
        candidate.send("5").await;
        if eio == V4 {
            candidate.join("/").await;
        }
        for ws in [ws, candidate] {
            drop(ws);
            assert_eq!(server.reason().await, "transport close");
        }
        server.until(|io| io.engine().clients_count() == 1).await;
    }
    assert_eq!(server.io.counters().refused_connections, 4);
    server.ws(V4).await.join("/").await;
    neighbour.felt_nothing().await;
}

/// Over polling a connection is complete with its first answer.
#[tokio::test]
async fn a_websocket_that_is_not_completed_gives_its_place_back() {
    let server = Server::in_memory(builder().max_connections(2).upgrade_timeout(ms(100)), 64 * 1024);
    let neighbour = server.neighbour().await;
    for eio in [V4, V3, V4, V3] {
        let mut http = server.http().await;
        let key = ws::handshake::Key::from_random([0; 16]);
        let mut request = Vec::new();
        let target = target(&format!("EIO={}&transport=websocket", eio.number()));
        ws::handshake::request(&mut request, "x", &target, &key, &[]).unwrap();
        http.send_raw(&request).await;
        drop(http);
        // Whether the server had begun to answer or not.
        soon(async {
            while server.upgrade(&target, &[]).await.is_err() {
                sleep(ms(1)).await;
            }
        })
        .await;
        server.until(|io| io.engine().clients_count() == 1).await;
    }
    neighbour.felt_nothing().await;
}
