//! A server wherever it may stand: behind axum, nested and several at once, behind bare hyper, alone, and on streams
//! that are not TCP.

#![cfg(all(feature = "serve", feature = "v3"))]

#[expect(dead_code, reason = "each test file uses a part")]
mod support;

use std::{net::SocketAddr, time::Duration};

use axum::{
    Router,
    extract::{ConnectInfo, Request},
    middleware::{Next, from_fn},
    response::Response,
    routing::get,
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use patio::{RemoteAddr, Reply, ServerBuilder, Socket, extract::Args};
use patio_proto::ws;
use support::{Http, Io, Packet, Server, Stream, V3, V4, Watched, WsClient, soon};
use tokio::{
    net::{TcpListener, TcpStream, UnixStream},
    sync::oneshot,
};

/// A server that echoes what it gets, and tells a client's address.
fn echo(builder: ServerBuilder) -> patio::Server {
    let io = builder.allow_eio3(true).build().unwrap();
    io.on("echo", async |args: Args| Reply(args));
    io.on("name", {
        let path = io.path().to_owned();
        async move || Reply(path)
    });
    io.on("address", async |socket: Socket| Reply(socket.conn().remote_address().map(|it| it.to_string())));
    io
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

async fn axum(router: Router) -> SocketAddr {
    let (listener, addr) = listen().await;
    tokio::spawn(axum::serve(listener, router).into_future());
    addr
}

/// Opens a WebSocket at `path`, and asks for the server's name.
async fn name(addr: SocketAddr, path: &str) -> String {
    let stream = TcpStream::connect(addr).await.unwrap();
    let target = format!("{path}?EIO=4&transport=websocket");
    let mut ws = WsClient::handshake(stream, &target, &[]).await.unwrap();
    assert!(ws.text().await.starts_with('0'));
    ws.join("/").await;
    ws.send("420[\"name\"]").await;
    ws.text().await
}

/// What a request on a connection of its own is answered with.
async fn status(addr: SocketAddr, path: &str) -> (u16, String) {
    let mut http = Http::connect(addr).await;
    http.send("GET", path, &[], b"").await;
    let answer = http.response().await;
    (answer.status, answer.text().to_owned())
}

/// Polling, the upgrade, text and bytes both ways, and the end, at `/socket.io/`.
async fn works<S: Io>(connect: impl AsyncFn() -> S) {
    let large = "€".repeat(20_000);
    let event = format!("451-0[\"echo\",\"{large}\",{{\"_placeholder\":true,\"num\":0}}]");
    let expected = event.replace("451-0[\"echo\",", "461-0[");
    for eio in [V4, V3] {
        let connector: support::Connector = {
            let connections = [Box::new(connect().await) as Stream, Box::new(connect().await)];
            let connections = std::sync::Mutex::new(connections.into_iter());
            std::sync::Arc::new(move || {
                Box::pin(std::future::ready(connections.lock().unwrap().next().unwrap()))
            })
        };
        let mut polling = support::PollingClient::open(&connector, eio, "", &[]).await;
        polling.join("/").await;
        polling.send(&event).await;
        polling.send_binary(&[1, 2, 3]).await;
        assert!(polling.text().await == expected);
        assert_eq!(polling.binary().await, [1, 2, 3]);

        let target =
            support::target(&format!("EIO={}&transport=websocket&sid={}", eio.number(), polling.sid()));
        let mut ws = WsClient::handshake(connect().await, &target, &[]).await.unwrap();
        ws.send("2probe").await;
        assert_eq!(ws.text().await, "3probe");
        ws.send("5").await;
        ws.send(&event).await;
        ws.send_binary(&[1, 2, 3]).await;
        assert!(ws.text().await == expected);
        assert_eq!(ws.next().await, Packet::Binary(vec![1, 2, 3]));
        ws.send_message(&ws::Message::Close(None)).await;
        ws.closes_silently().await;
        assert_eq!(ws.message().await, None);
    }
}

#[tokio::test]
async fn as_a_layer_of_an_axum_router() {
    let io = echo(patio::Server::builder());
    let router = Router::new()
        .route("/", get(async || "home"))
        .route("/fails", get(async || http::StatusCode::IM_A_TEAPOT))
        .layer(io.layer());
    let addr = axum(router).await;
    works(async || TcpStream::connect(addr).await.unwrap()).await;
    assert_eq!(status(addr, "/").await, (200, "home".into()));
    assert_eq!(status(addr, "/fails").await, (418, String::new()));
    assert_eq!(status(addr, "/other").await, (404, String::new()));
    assert_eq!(status(addr, "/socket.io").await, (404, String::new()));
}

#[tokio::test]
async fn as_a_fallback_and_as_a_route_of_an_axum_router() {
    let io = echo(patio::Server::builder());
    let home = || Router::new().route("/", get(async || "home"));
    for router in [home().fallback_service(io.service()), home().route_service("/socket.io/", io.service())] {
        let addr = axum(router).await;
        works(async || TcpStream::connect(addr).await.unwrap()).await;
        assert_eq!(status(addr, "/").await, (200, "home".into()));
        assert_eq!(status(addr, "/other").await, (404, String::new()));
    }
}

#[tokio::test]
async fn nested_in_an_axum_router() {
    let io = echo(patio::Server::builder());
    let inner = || Router::new().route("/page", get(async || "page"));
    for router in [
        // As a layer of the nested router, whose layers axum asks for its own routes and fallback only; as its
        // fallback; as a route; by itself.
        Router::new().nest("/app", inner().fallback(async || "nothing").layer(io.layer())),
        Router::new().nest("/app", inner().fallback_service(io.service())),
        Router::new().nest("/app", inner().route_service("/socket.io/", io.service())),
        Router::new().nest_service("/app", io.service()).route("/app/page", get(async || "page")),
    ] {
        let addr = axum(router).await;
        assert_eq!(name(addr, "/app/socket.io/").await, "430[\"/socket.io\"]");
        assert_eq!(status(addr, "/app/page").await, (200, "page".into()));
        assert_eq!(status(addr, "/socket.io/?EIO=4&transport=polling").await, (404, String::new()));
    }
}

#[tokio::test]
async fn several_servers_in_one_axum_router() {
    let one = echo(patio::Server::builder().path("/one"));
    let two = echo(patio::Server::builder().path("/two"));
    let three = echo(patio::Server::builder());
    let router = Router::new()
        .route("/", get(async || "home"))
        .nest("/three", Router::new().fallback_service(three.service()))
        .layer(one.layer())
        .layer(two.layer());
    let addr = axum(router).await;
    for (path, expected) in
        [("/one/", "430[\"/one\"]"), ("/two/", "430[\"/two\"]"), ("/three/socket.io/", "430[\"/socket.io\"]")]
    {
        assert_eq!(name(addr, path).await, expected);
    }
    // A session of one is unknown to another.
    let (opened, body) = status(addr, "/one/?EIO=4&transport=polling").await;
    assert_eq!(opened, 200);
    let sid = support::json(&body[1..])["sid"].as_str().unwrap().to_owned();
    let query = format!("?EIO=4&transport=polling&sid={sid}");
    assert_eq!(status(addr, &format!("/two/{query}")).await.0, 400);
    let mut http = Http::connect(addr).await;
    http.send("POST", &format!("/one/{query}"), &[], b"40").await;
    assert_eq!(http.response().await.brief(), (200, "ok"));
    assert_eq!(status(addr, "/").await, (200, "home".into()));
}

#[tokio::test]
async fn a_middleware_can_tell_the_address() {
    let io = echo(patio::Server::builder());
    let tell =
        async |ConnectInfo(addr): ConnectInfo<SocketAddr>, mut request: Request, next: Next| -> Response {
            request.extensions_mut().insert(RemoteAddr(addr));
            next.run(request).await
        };
    let router = Router::new().layer(io.layer()).fallback_service(io.service()).layer(from_fn(tell));
    let (listener, addr) = listen().await;
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(axum::serve(listener, service).into_future());
    let stream = TcpStream::connect(addr).await.unwrap();
    let own = stream.local_addr().unwrap();
    let mut ws = WsClient::open(stream, V4, "", &[]).await;
    ws.join("/").await;
    ws.send("420[\"address\"]").await;
    assert_eq!(ws.text().await, format!("430[\"{own}\"]"));
}

#[tokio::test]
async fn a_websocket_on_tcp_knows_its_address_by_itself() {
    let addr = axum(Router::new().fallback_service(echo(patio::Server::builder()).service())).await;
    let stream = TcpStream::connect(addr).await.unwrap();
    let own = stream.local_addr().unwrap();
    let mut ws = WsClient::open(stream, V4, "", &[]).await;
    ws.join("/").await;
    ws.send("420[\"address\"]").await;
    assert_eq!(ws.text().await, format!("430[\"{own}\"]"));
}

#[tokio::test]
async fn behind_bare_hyper() {
    let io = echo(patio::Server::builder());
    let (listener, addr) = listen().await;
    tokio::spawn(async move {
        let mut plain = true;
        loop {
            let stream = TokioIo::new(listener.accept().await.unwrap().0);
            let service = TowerToHyperService::new(io.service());
            // Both ways of hyper, in turn: HTTP/1 only, and whichever version the client speaks.
            plain = !plain;
            if plain {
                tokio::spawn(http1::Builder::new().serve_connection(stream, service).with_upgrades());
            } else {
                tokio::spawn(async move {
                    let both = auto::Builder::new(TokioExecutor::new());
                    // The peer's end is its own business.
                    let _ = both.serve_connection_with_upgrades(stream, service).await;
                });
            }
        }
    });
    for _ in 0..2 {
        works(async || TcpStream::connect(addr).await.unwrap()).await;
    }
    assert_eq!(status(addr, "/").await, (404, String::new()));
}

#[tokio::test]
async fn alone() {
    let io = echo(patio::Server::builder());
    let (listener, addr) = listen().await;
    tokio::spawn(patio::serve(listener, io).into_future());
    works(async || TcpStream::connect(addr).await.unwrap()).await;
    assert_eq!(status(addr, "/").await, (404, String::new()));
}

fn serve(io: &patio::Server, stream: impl Io) {
    let service = TowerToHyperService::new(io.service());
    tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades());
}

#[tokio::test]
async fn on_streams_that_are_not_tcp() {
    let io = echo(patio::Server::builder());
    works(async || {
        let (client, server) = UnixStream::pair().unwrap();
        serve(&io, server);
        client
    })
    .await;
    // Pipes that take a few bytes at a time, as a TLS stream does under pressure.
    for buffer in [7, 1000] {
        works(async || {
            let (client, server) = tokio::io::duplex(buffer);
            serve(&io, server);
            client
        })
        .await;
    }
}

#[tokio::test]
async fn the_end_of_any_stream_is_noticed() {
    for server in
        [Server::start(patio::Server::builder()).await, Server::in_memory(patio::Server::builder(), 1000)]
    {
        // With a close frame, without one, in the middle of a frame, with something left to read.
        for end in [&b"\x88\x80\0\0\0\0"[..], b"", b"\x81\x85\0\0\0\0he"] {
            let mut ws = server.ws(V4).await;
            ws.join("/").await;
            ws.send_raw(end).await;
            drop(ws);
            assert_eq!(server.reason().await, "transport close");
        }
        let mut ws = server.ws(V4).await;
        ws.join("/").await;
        server.io.emit("unread", &"x".repeat(100)).unwrap();
        server.io.emit("unread", &"x".repeat(100_000)).unwrap();
        tokio::task::yield_now().await;
        drop(ws);
        assert!(["transport close", "transport error"].contains(&&*server.reason().await));
        server.until(|io| io.engine().clients_count() == 0).await;
    }
}

#[tokio::test]
async fn a_graceful_shutdown_tells_everyone() {
    let io = echo(patio::Server::builder());
    let (listener, addr) = listen().await;
    let (stop, stopped) = oneshot::channel::<()>();
    let closing = io.clone();
    let (service, polls) = Watched::new(io.clone());
    let served = tokio::spawn(
        patio::serve(listener, service)
            .with_graceful_shutdown(async { drop(stopped.await) })
            .drain(async move { closing.close().await })
            .into_future(),
    );
    let mut ws = WsClient::open(TcpStream::connect(addr).await.unwrap(), V4, "", &[]).await;
    ws.join("/").await;
    let mut http = Http::connect(addr).await;
    http.send("GET", "/socket.io/?EIO=4&transport=polling", &[], b"").await;
    let open = http.response().await;
    let sid = support::json(&open.text()[1..])["sid"].as_str().unwrap().to_owned();
    http.send("GET", &support::target(&format!("EIO=4&transport=polling&sid={sid}")), &[], b"").await;
    soon(polls.acquire()).await.unwrap().forget();
    stop.send(()).unwrap();
    ws.closes_silently().await;
    drop(ws);
    assert_eq!(http.response().await.brief(), (200, "1"));
    soon(served).await.unwrap().unwrap();
    assert!(TcpStream::connect(addr).await.is_err());
    assert_eq!(io.engine().clients_count(), 0);
}

#[tokio::test]
async fn draining_releases_clients_one_after_the_other_without_a_packet() {
    let server = Server::start(patio::Server::builder()).await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        let mut ws = server.ws(V4).await;
        ws.join("/").await;
        clients.push(ws);
    }
    let mut polling = server.polling(V4).await;
    polling.join("/").await;
    polling.start_poll().await;
    server.poll_waits().await;
    let start = tokio::time::Instant::now();
    server.io.drain(Duration::from_millis(100)).await;
    assert!(start.elapsed() >= Duration::from_millis(80));
    for mut ws in clients {
        // No 41: official clients would not come back after it.
        ws.closes_silently().await;
    }
    assert_eq!(polling.polled().await.brief(), (200, "1"));
    for _ in 0..11 {
        assert_eq!(server.reason().await, "server shutting down");
    }
    assert_eq!(server.get("EIO=4&transport=polling").await.status, 403);
    server.until(|io| io.engine().clients_count() == 0).await;
}
