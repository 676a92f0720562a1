//! What a server is built of, and how it ends: state and extensions, counters, `drain`, `close`, graceful shutdown.

#![cfg(feature = "serve")]

#[expect(dead_code, reason = "each test file uses a part")]
mod support;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use patio::{
    Namespace, Refusal, Server as Patio, Socket,
    extract::{Extension, State},
};
use support::{Server, V4, WsClient, soon};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
    time::Instant,
};

/// Clients that come back by themselves: no packet 41, only the end of the transport.
#[tokio::test]
async fn a_drain_lets_clients_go_one_after_the_other() {
    const CLIENTS: u32 = 20;
    const WINDOW: Duration = Duration::from_millis(200);
    let server = Server::start(Patio::builder()).await;
    let mut clients = Vec::new();
    for n in 0..CLIENTS {
        let mut client = server.ws(V4).await;
        client.join("/").await;
        clients.push(tokio::spawn(async move {
            client.closes_silently().await;
            (Instant::now(), n)
        }));
    }
    let mut polling = server.polling(V4).await;
    polling.join("/").await;
    polling.start_poll().await;
    server.until(|io| io.engine().clients_count() == CLIENTS as usize + 1).await;
    let start = Instant::now();
    let drained = {
        let io = server.io.clone();
        tokio::spawn(async move { io.drain(WINDOW).await })
    };
    server.until(|io| io.engine().clients_count() < CLIENTS as usize + 1).await;
    // New ones are told to go elsewhere meanwhile, but those that are here work on.
    assert_ne!(server.get("EIO=4&transport=polling").await.status, 200);
    soon(drained).await.unwrap();
    assert!(start.elapsed() >= WINDOW * 9 / 10, "spread over the window");
    assert_eq!(polling.polled().await.text(), "1");
    let mut ends = Vec::new();
    for client in clients {
        ends.push(soon(client).await.unwrap());
    }
    ends.sort();
    let early = ends.iter().filter(|(at, _)| at.duration_since(start) < WINDOW / 2).count();
    assert!((5..=15).contains(&early), "{early} of {CLIENTS} in the first half");
    assert!(!ends.is_sorted_by_key(|(_, n)| *n), "not in the order in which they came");
    server.until(|io| io.engine().clients_count() == 0).await;
    for _ in 0..=CLIENTS {
        assert_eq!(server.reason().await, "server shutting down");
    }
    // With nobody there it is over at once.
    soon(server.io.drain(Duration::from_secs(3600))).await;
}

#[tokio::test]
async fn a_close_waits_for_handlers_and_drops_them_in_the_end() {
    let server = Server::start(Patio::builder()).await;
    let log = Arc::new(Mutex::new(Vec::new()));
    let probe = Arc::new(());
    let (ends, held) = (Arc::clone(&log), Arc::clone(&probe));
    server
        .io
        .on("slow", async move || {
            tokio::time::sleep(Duration::from_secs(3)).await;
            ends.lock().unwrap().push("slow");
        })
        .on("endless", async move || {
            let _held = Arc::clone(&held);
            std::future::pending::<()>().await;
        });
    let mut client = server.ws(V4).await;
    client.join("/").await;
    client.send(r#"42["slow"]"#).await;
    client.send(r#"42["endless"]"#).await;
    server.until(|_| Arc::strong_count(&probe) == 4).await;
    let gone = async move {
        client.closes_silently().await;
        drop(client);
    };
    // From here on time passes as soon as nothing else happens.
    tokio::time::pause();
    let start = Instant::now();
    tokio::join!(server.io.close(), gone);
    assert!(start.elapsed() < Duration::from_secs(12), "{:?}", start.elapsed());
    assert_eq!(*log.lock().unwrap(), ["slow"]);
    assert_eq!(Arc::strong_count(&probe), 2, "the handler is gone, its declaration stays");
    assert_eq!(server.io.engine().clients_count(), 0);
    assert!(server.io.of("/").is_empty());
    server.io.close().await;
}

/// The whole way of a program: serve, a signal, and the end of everything.
#[tokio::test]
async fn a_graceful_shutdown_ends_polls_and_websockets() {
    let io = Patio::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (stop, signal) = oneshot::channel::<()>();
    let closing = io.clone();
    let served = patio::serve(listener, io.clone())
        .with_graceful_shutdown(async move { drop(signal.await) })
        .drain(async move { closing.close().await });
    let served = tokio::spawn(served.into_future());
    let mut ws = WsClient::open(TcpStream::connect(addr).await.unwrap(), V4, "", &[]).await;
    ws.join("/").await;
    let mut http = support::Http::connect(addr).await;
    http.send("GET", "/socket.io/?EIO=4&transport=polling", &[], b"").await;
    let open = http.response().await;
    let sid = support::json(&open.text()[1..])["sid"].as_str().unwrap().to_owned();
    http.send("GET", &format!("/socket.io/?EIO=4&transport=polling&sid={sid}"), &[], b"").await;
    let mut other = support::Http::connect(addr).await;
    other.send("GET", "/elsewhere", &[], b"").await;
    assert_eq!(other.response().await.status, 404);
    assert_eq!(io.engine().clients_count(), 2);
    stop.send(()).unwrap();
    ws.closes_silently().await;
    drop(ws);
    assert_eq!(http.response().await.text(), "1");
    soon(served).await.unwrap().unwrap();
    assert_eq!(io.engine().clients_count(), 0);
    assert!(TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn what_is_refused_dropped_or_fails_is_counted() {
    let namespace = Namespace::new()
        .packet_middleware(
            async |patio::extract::Event(event): patio::extract::Event| {
                if event == "bad" { Err(Refusal::new("no")) } else { Ok(()) }
            },
        )
        .on("fails", async || Err::<(), _>("text"));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let builder = Patio::builder().namespace("/", namespace).on_handler_error(move |failed| {
        log.lock().unwrap().push(format!("{:?} {}", failed.event, failed.error));
    });
    let server = Server::start(builder).await;
    let mut client = server.ws(V4).await;
    assert_eq!(server.io.engine().clients_count(), 1);
    client.join("/").await;
    for packet in [r#"42["bad"]"#, r#"42["fails"]"#, r#"42["unknown"]"#, "40/unknown,", "437[]", r#"42["x"]"#]
    {
        client.send(packet).await;
    }
    assert!(client.text().await.starts_with("44"));
    server.until(|io| io.counters().unhandled_events == 2).await;
    assert_eq!(
        *seen.lock().unwrap(),
        [
            r#"Some("bad") the handler failed: no"#.to_owned(),
            r#"Some("fails") the handler failed: text"#.to_owned(),
        ]
    );
    drop(client);
    server.until(|io| io.engine().clients_count() == 0).await;
    let counters = server.io.counters();
    let some: Vec<_> = counters.iter().filter(|(_, n)| *n > 0).collect();
    assert_eq!(
        some,
        [
            ("opened", 1),
            ("closed", 1),
            ("refused_connects", 1),
            ("unhandled_events", 2),
            ("refused_events", 1),
            ("handler_errors", 1),
            ("unknown_acks", 1),
        ]
    );
}

#[derive(Clone)]
struct Db(&'static str);

#[tokio::test]
async fn handlers_of_every_kind_get_the_state() {
    async fn connected(socket: Socket, State(Db(name)): State<Db>) {
        socket.emit("state", &name).unwrap();
        socket.on("x", async |socket: Socket, State(Db(name)): State<Db>, no: Option<State<u8>>| {
            socket.emit("x", &(name, no.is_none()))
        });
    }

    let server = Server::start(Patio::builder().state(Db("db")).state("text")).await;
    server.io.on_connect(connected);
    let mut client = server.ws(V4).await;
    client.join("/").await;
    assert_eq!(client.text().await, r#"42["state","db"]"#);
    client.send(r#"42["x"]"#).await;
    assert_eq!(client.text().await, r#"42["x","db",true]"#);
}

#[test]
fn a_missing_state_is_named_where_its_handler_is_declared() {
    let panics = |declare: fn()| {
        let panic = std::panic::catch_unwind(declare).unwrap_err();
        let text = panic.downcast_ref::<String>().unwrap();
        assert!(text.contains("Db") && text.contains(file!()) && text.contains(".state("), "{text}");
    };
    panics(|| {
        Patio::new().on("x", async |_: State<Db>| ());
    });
    panics(|| {
        Patio::new().of("/a").on_connect(async |_: State<Db>| ());
    });
    panics(|| {
        let _ =
            Patio::builder().namespace("/", Namespace::new().on_disconnect(async |_: State<Db>| ())).build();
    });
    panics(|| Patio::new().of_dynamic("/{n}", Namespace::new().middleware(async |_: State<Db>| ())));
}

/// What layers of tower and axum put into the extensions of a request reaches handlers.
#[tokio::test]
async fn extensions_of_the_request_are_kept_if_a_handler_wants_them() {
    #[derive(Clone)]
    struct User(&'static str);
    #[derive(Clone)]
    struct Kept(u8);
    #[derive(Clone)]
    struct NotKept;

    let namespace = Namespace::new()
        .middleware(
            async |user: Extension<User>| {
                if user.0.0 == "ann" { Ok(()) } else { Err(Refusal::new("who?")) }
            },
        )
        .on_connect(async |socket: Socket| {
            socket.on(
                "late",
                async |socket: Socket, kept: Extension<Kept>, not: Option<Extension<NotKept>>| {
                    socket.extensions().insert(2_u64);
                    socket.emit("late", &(kept.0.0, not.is_none()))
                },
            );
        })
        .on(
            "number",
            async |socket: Socket, number: Result<Extension<u64>, patio::extract::MissingExtension>| {
                socket.emit("number", &number.map_or(0, |number| number.0))
            },
        );
    let io = Patio::builder().namespace("/", namespace).keep_extension::<Kept>().build().unwrap();
    let app = axum::Router::<()>::new()
        .layer(io.layer())
        .layer(axum::Extension(User("ann")))
        .layer(axum::Extension(Kept(7)))
        .layer(axum::Extension(NotKept));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(patio::serve(listener, app).into_future());
    let mut client = WsClient::open(TcpStream::connect(addr).await.unwrap(), V4, "", &[]).await;
    client.join("/").await;
    for (event, answer) in
        [("number", r#"["number",0]"#), ("late", r#"["late",7,true]"#), ("number", r#"["number",2]"#)]
    {
        client.send(&format!(r#"42["{event}"]"#)).await;
        assert_eq!(client.text().await, format!("42{answer}"));
    }
    // What one socket stores is not another's, not even of the same client.
    io.of("/other").on("number", async |socket: Socket, number: Option<Extension<u64>>| {
        socket.emit("number", &number.is_some())
    });
    client.join("/other").await;
    client.send(r#"42/other,["number"]"#).await;
    assert_eq!(client.text().await, r#"42/other,["number",false]"#);
}
