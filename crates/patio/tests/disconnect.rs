//! The end of sockets: every reason, what handlers see of it, and that whatever fails leaves nothing behind.

#![cfg(feature = "serve")]

#[expect(dead_code, reason = "each test file uses a part")]
mod support;

use std::{
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use patio::{DisconnectReason, Namespace, Reply, Server as Patio, Socket, extract::Extension};
use patio_proto::ws;
use support::{Http, Server, V4, WsClient, direct::Direct, soon};
use tokio::sync::{Semaphore, mpsc};

async fn start() -> Server {
    Server::start(Patio::builder()).await
}

async fn join(server: &Server) -> (WsClient, Socket) {
    let mut client = server.ws(V4).await;
    let id = client.join("/").await;
    let socket = server.io.of("/").socket(&id).unwrap();
    (client, socket)
}

/// Nobody is left, in no room.
async fn everybody_left(server: &Server) {
    server.until(|io| io.of("/").is_empty()).await;
    assert!(server.io.of("/").rooms().is_empty());
}

/// Two sides of the same table: what ends a socket, and the reason that the application sees.
#[tokio::test]
async fn the_reason_says_who_ended_it_and_how() {
    let server = start().await;

    // The client leaves the namespace; the transport stays.
    let (mut client, _) = join(&server).await;
    client.send("41").await;
    assert_eq!(server.reason().await, "client namespace disconnect");
    client.join("/").await;

    // It closes: the end of the stream, a close frame, the packet of polling.
    drop(client);
    assert_eq!(server.reason().await, "transport close");
    let (mut client, _) = join(&server).await;
    client.send_message(&ws::Message::Close(None)).await;
    assert_eq!(server.reason().await, "transport close");
    client.closes_silently().await;
    let mut polling = server.polling(V4).await;
    polling.join("/").await;
    polling.post("1").await;
    assert_eq!(server.reason().await, "transport close");

    // It breaks a rule of the transport: two polls at once, a frame without a mask.
    let mut polling = server.polling(V4).await;
    polling.join("/").await;
    polling.start_poll().await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    polling.other_poll().await;
    assert_eq!(server.reason().await, "transport error");
    let (mut client, _) = join(&server).await;
    client.send_raw(b"\x81\x012").await;
    assert_eq!(server.reason().await, "transport error");

    // It sends what cannot be read: an Engine.IO packet, a Socket.IO packet, one that is not allowed now.
    for (packet, reason) in
        [("x", "parse error"), ("42[", "forced close"), ("42/other,[\"x\"]", "forced close")]
    {
        let (mut client, _) = join(&server).await;
        client.send(packet).await;
        assert_eq!(server.reason().await, reason, "{packet}");
        assert_eq!(client.closed().await, 1005);
    }

    // The server ends it.
    let (mut client, socket) = join(&server).await;
    socket.disconnect(false);
    assert_eq!(server.reason().await, "server namespace disconnect");
    assert_eq!(client.text().await, "41");
    let id = client.join("/").await;
    server.io.of("/").socket(&id).unwrap().conn().close();
    assert_eq!(server.reason().await, "forced close");
    client.closes_silently().await;
    everybody_left(&server).await;
}

#[tokio::test]
async fn a_disconnect_that_closes_ends_all_sockets_of_the_client() {
    let server = start().await;
    let reasons = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&reasons);
    server.io.of("/other").on_disconnect(async move |reason: DisconnectReason| {
        log.lock().unwrap().push(reason.to_string());
    });
    let (mut client, socket) = join(&server).await;
    client.join("/other").await;
    socket.disconnect(true);
    let mut packets = [client.text().await, client.text().await];
    packets.sort();
    assert_eq!(packets, ["41", "41/other,"]);
    client.closes_silently().await;
    assert_eq!(server.reason().await, "server namespace disconnect");
    server.until(|io| io.of("/other").is_empty()).await;
    server.until(|_| !reasons.lock().unwrap().is_empty()).await;
    assert_eq!(*reasons.lock().unwrap(), ["server namespace disconnect"]);
    socket.disconnect(true);
}

#[tokio::test]
async fn a_silent_client_and_a_slow_one_are_let_go() {
    let builder = Patio::builder()
        .ping_interval(Duration::from_millis(40))
        .ping_timeout(Duration::from_millis(40))
        .max_outbound_packets(3);
    let server = Server::start(builder).await;
    let (mut client, socket) = join(&server).await;
    assert_eq!(client.text().await, "2");
    assert_eq!(server.reason().await, "ping timeout");
    assert!(!socket.is_connected());

    Direct::joined(&server.io, false).await;
    for n in 0..4 {
        server.io.emit("n", &n).unwrap();
    }
    assert_eq!(server.reason().await, "slow client");
    assert_eq!(server.io.counters().slow_clients, 1);
}

#[tokio::test]
async fn a_server_that_closes_says_so_to_handlers_and_not_to_clients() {
    let server = start().await;
    let (mut client, _) = join(&server).await;
    let mut polling = server.polling(V4).await;
    polling.join("/").await;
    let gone = async move {
        client.closes_silently().await;
        drop(client);
    };
    soon(async { tokio::join!(server.io.close(), gone) }).await;
    for _ in 0..2 {
        assert_eq!(server.reason().await, "server shutting down");
    }
    assert_eq!(server.io.engine().clients_count(), 0);
    let mut refused = Http::connect(server.addr).await;
    refused.send("GET", "/socket.io/?EIO=4&transport=polling", &[], b"").await;
    assert_ne!(refused.response().await.status, 200);
}

#[tokio::test]
async fn disconnecting_sees_the_rooms_and_disconnect_does_not() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let note = |what: &'static str| {
        let log = Arc::clone(&log);
        async move |socket: Socket, reason: DisconnectReason| {
            assert!(!socket.is_connected());
            let rooms: Vec<_> = socket.rooms().iter().skip(1).map(|room| room.to_string()).collect();
            log.lock().unwrap().push(format!("{what} {reason} {rooms:?}"));
            socket.to("r").emit(what, &()).unwrap();
            socket.emit("to itself", &()).unwrap();
            socket.join("too late");
        }
    };
    let namespace = Namespace::new().on_disconnect(note("gone")).on_disconnecting(note("going"));
    let server = Server::start(Patio::builder().namespace("/", namespace)).await;
    let (mut client, socket) = join(&server).await;
    let (mut other, neighbour) = join(&server).await;
    socket.on_disconnect(note("it is gone"));
    socket.on_disconnecting(note("it is going"));
    socket.join("r");
    neighbour.join("r");
    client.send("41").await;
    for event in ["going", "it is going", "gone", "it is gone"] {
        assert_eq!(other.text().await, format!(r#"42["{event}"]"#));
    }
    assert_eq!(
        *log.lock().unwrap(),
        [
            r#"going client namespace disconnect ["r"]"#,
            r#"it is going client namespace disconnect ["r"]"#,
            "gone client namespace disconnect []",
            "it is gone client namespace disconnect []",
        ]
    );
    assert_eq!(server.io.of("/").room_len("too late"), 0);
    // Nothing came but what follows.
    client.join("/").await;
}

#[tokio::test]
async fn handlers_in_flight_run_to_their_end() {
    #[derive(Clone)]
    struct User(&'static str);

    let server = start().await;
    let gate = Arc::new(Semaphore::new(0));
    let (ended, mut ends) = mpsc::unbounded_channel();
    let open = Arc::clone(&gate);
    server.io.on("work", async move |socket: Socket, Extension(user): Extension<User>| {
        open.acquire().await.unwrap().forget();
        socket.closed().await;
        // Its data are still there; what it sends goes nowhere.
        socket.emit("late", &()).unwrap();
        socket.join("late");
        let user = (user.0, socket.extensions().get::<User>().unwrap().0);
        ended.send((user, socket.get_data("n"), socket.rooms().len())).unwrap();
        Reply("nobody hears it")
    });
    let (mut client, socket) = join(&server).await;
    socket.extensions().insert(User("ann"));
    socket.set_data("n", &1).unwrap();
    client.send(r#"420["work"]"#).await;
    client.send(r#"421["work"]"#).await;
    server.until(|_| gate.available_permits() == 0).await;
    drop(client);
    assert_eq!(server.reason().await, "transport close");
    everybody_left(&server).await;
    // Also those that have been started by the last packets before the end.
    gate.add_permits(2);
    for _ in 0..2 {
        assert_eq!(soon(ends.recv()).await.unwrap(), (("ann", "ann"), Some(1.into()), 0));
    }
    server.until(|io| io.engine().clients_count() == 0).await;
    assert_eq!(server.io.of("/").room_len("late"), 0);
}

/// Also where nothing else is left of the connection, and nothing else was running.
#[tokio::test]
async fn handlers_of_the_end_run_to_their_end() {
    let namespace = Namespace::new().on_disconnecting(async || {
        tokio::time::sleep(Duration::from_millis(5)).await;
    });
    let server = Server::start(Patio::builder().namespace("/", namespace)).await;
    let (ended, mut ends) = mpsc::unbounded_channel();
    server.io.on_disconnect(async move |reason: DisconnectReason| {
        tokio::time::sleep(Duration::from_millis(10)).await;
        ended.send(reason.to_string()).unwrap();
    });
    let (client, _) = join(&server).await;
    drop(client);
    assert_eq!(soon(ends.recv()).await.unwrap(), "transport close");
    let (mut client, _) = join(&server).await;
    client.send_raw(b"\x81\x012").await;
    assert_eq!(soon(ends.recv()).await.unwrap(), "transport error");
    drop(client);
    let (mut client, socket) = join(&server).await;
    socket.conn().close();
    client.closes_silently().await;
    drop(client);
    assert_eq!(soon(ends.recv()).await.unwrap(), "forced close");
    let mut polling = server.polling(V4).await;
    polling.join("/").await;
    polling.post("1").await;
    assert_eq!(soon(ends.recv()).await.unwrap(), "transport close");
    let direct = Direct::joined(&server.io, true).await;
    drop(direct);
    soon(server.io.close()).await;
    assert_eq!(ends.try_recv().unwrap(), "server shutting down");
}

#[tokio::test]
async fn many_may_wait_for_the_end() {
    let server = start().await;
    let (client, socket) = join(&server).await;
    let waiting: Vec<_> = (0..100)
        .map(|_| {
            let socket = socket.clone();
            tokio::spawn(async move {
                // Waits that are given up leave nothing behind.
                for _ in 0..10 {
                    let _ = tokio::time::timeout(Duration::ZERO, socket.closed()).await;
                }
                socket.closed().await;
            })
        })
        .collect();
    tokio::task::yield_now().await;
    drop(client);
    for wait in waiting {
        soon(wait).await.unwrap();
    }
    soon(socket.closed()).await;
}

/// Values that closures and extensions of sockets hold are dropped with the end of the socket, even if a closure holds
/// the socket itself.
#[tokio::test]
async fn a_closure_that_holds_its_own_socket_does_not_leak() {
    let server = start().await;
    let probe: Arc<Mutex<Weak<()>>> = Arc::default();
    let watched = Arc::clone(&probe);
    server.io.on_connect(async move |socket: Socket| {
        let value = Arc::new(());
        *watched.lock().unwrap() = Arc::downgrade(&value);
        let held = (socket.clone(), value);
        let hold = |held: &(Socket, Arc<()>)| {
            let held = held.clone();
            async move || drop(held.clone())
        };
        socket.extensions().insert(Arc::clone(&held.1));
        socket.on("x", hold(&held));
        socket.once("y", hold(&held));
        socket.on_any(hold(&held));
        socket.on_disconnecting(hold(&held));
        socket.on_disconnect(hold(&held));
        socket.middleware(hold(&held));
        let kept = held.clone();
        socket.on_any_outgoing(move |_, _| {
            let _ = &kept;
        });
    });
    for clean in [true, false] {
        let (mut client, socket) = join(&server).await;
        let weak = probe.lock().unwrap().clone();
        assert!(weak.strong_count() > 6);
        drop(socket);
        if clean {
            client.send(r#"42["x"]"#).await;
            client.send("41").await;
            client.join("/").await;
            drop(weak);
            let weak = probe.lock().unwrap().clone();
            drop(client);
            server.until(|_| weak.strong_count() == 0).await;
        } else {
            drop(client);
            server.until(|_| weak.strong_count() == 0).await;
        }
    }
}

/// A socket that left while its connection stays is let go, too.
#[tokio::test]
async fn a_socket_is_let_go_before_its_connection() {
    let server = start().await;
    let (mut client, socket) = join(&server).await;
    let value = Arc::new(());
    let held = (socket.clone(), Arc::clone(&value));
    socket.on("x", async move || drop(held.clone()));
    socket.extensions().insert(Arc::clone(&value));
    drop(socket);
    client.send("41").await;
    server.until(|_| Arc::strong_count(&value) == 1).await;
    client.join("/").await;
}

/// The end of the runtime is an end, too.
#[test]
fn nothing_is_left_when_the_runtime_goes() {
    let io = Patio::new();
    let value = Arc::new(());
    let ends = Arc::new(AtomicUsize::new(0));
    let (held, count) = (Arc::clone(&value), Arc::clone(&ends));
    io.on_connect(async move |socket: Socket| {
        socket.join("r");
        let held = (socket.clone(), Arc::clone(&held));
        socket.on("x", async move || drop(held.clone()));
        std::future::pending::<()>().await;
    });
    io.on_disconnect(async move || {
        count.fetch_add(1, Ordering::SeqCst);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let clients = runtime.block_on(async {
        let server = Server::serve(io.clone()).await;
        let mut clients = Vec::new();
        for _ in 0..3 {
            let mut client = server.ws(V4).await;
            client.join("/").await;
            clients.push(client);
        }
        clients
    });
    assert_eq!((io.of("/").room_len("r"), io.engine().clients_count()), (3, 3));
    drop((clients, runtime));
    assert!(io.of("/").is_empty() && io.of("/").rooms().is_empty());
    assert_eq!(io.engine().clients_count(), 0);
    assert_eq!(ends.load(Ordering::SeqCst), 0, "there is nothing to run handlers on");
    // The handler's own clone is left.
    assert_eq!(Arc::strong_count(&value), 2);
}
