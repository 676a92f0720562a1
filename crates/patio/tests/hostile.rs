//! Clients that mean harm: what they send is cheap for them and must be cheap for the server.

#![cfg(feature = "serve")]

#[expect(dead_code, reason = "each test file uses a part")]
mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use patio::{Namespace, RoomEvent, Server as Patio, Socket};
use patio_proto::ws;
use support::{Server, V4, soon};
use tokio::sync::{Notify, Semaphore};

/// A client that goes while its connect handler awaits: what the handler adds then would hold its own socket.
#[tokio::test]
async fn listeners_of_a_socket_that_has_gone_are_not_kept() {
    let server = Server::start(Patio::builder()).await;
    let (go, added) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let kept = Arc::new(());
    let (handler_go, handler_added, handler_kept) = (go.clone(), added.clone(), kept.clone());
    server.io.on_connect(async move |socket: Socket| {
        handler_go.notified().await;
        let held = (socket.clone(), Arc::clone(&handler_kept));
        socket.on("a", async move || drop(held.clone()));
        let held = (socket.clone(), Arc::clone(&handler_kept));
        socket.on_disconnect(async move || drop(held.clone()));
        let held = (socket.clone(), Arc::clone(&handler_kept));
        socket.on_any_outgoing(move |_, _| drop(held.clone()));
        handler_added.notify_one();
    });
    let mut ws = server.ws(V4).await;
    ws.join("/").await;
    drop(ws);
    assert_eq!(server.reason().await, "transport close");
    let with_handler = Arc::strong_count(&kept);
    go.notify_one();
    soon(added.notified()).await;
    server.until(|io| io.counters().closed == 1).await;
    soon(async {
        while Arc::strong_count(&kept) > with_handler {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_candidate_that_chatters_is_let_go() {
    let server = Server::start(Patio::builder()).await;
    let mut polling = server.polling(V4).await;
    let mut candidate = server.candidate(V4, polling.sid()).await;
    let mut flood = Vec::new();
    for _ in 0..10_000 {
        ws::encode_message(&mut flood, &ws::Message::Pong(Default::default()), Some([1, 2, 3, 4]));
    }
    candidate.send_raw(&flood).await;
    assert_ne!(candidate.closed().await, 1000);
    // The session goes on, and another candidate may come.
    polling.join("/").await;
    let mut ws = server.candidate(V4, polling.sid()).await;
    ws.send("2probe").await;
    assert_eq!(ws.text().await, "3probe");
}

/// Handlers of connections and disconnections count too.
#[tokio::test]
async fn a_client_that_comes_and_goes_starts_a_bounded_number_of_handlers() {
    let server = Server::start(Patio::builder().max_handlers(10).max_namespaces(10)).await;
    let started = Arc::new(AtomicUsize::new(0));
    let end = Arc::new(Semaphore::new(0));
    let (count, wait) = (Arc::clone(&started), Arc::clone(&end));
    server.io.on_disconnect(async move || {
        count.fetch_add(1, Ordering::Relaxed);
        let _ = wait.acquire().await;
    });
    let ws = server.ws(V4).await;
    let mut flood = Vec::new();
    for packet in ["40", "41"].into_iter().cycle().take(2 * 100_000) {
        ws::encode_message(&mut flood, &ws::Message::Text(packet.into()), Some([1, 2, 3, 4]));
    }
    let (mut reads, mut writes) = tokio::io::split(ws.stream);
    let reader = tokio::spawn(async move { tokio::io::copy(&mut reads, &mut tokio::io::sink()).await });
    let writer = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        let _ = writes.write_all(&flood).await;
        writes
    });
    let settled = async {
        let mut last = 0;
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let now = started.load(Ordering::Relaxed);
            if now == last && now > 0 {
                return now;
            }
            last = now;
        }
    };
    // The limits, and what one read brought.
    let most = 10 + 2 * 10 + 64 * 1024 / 16;
    let waiting = soon(settled).await;
    assert!(waiting <= most, "{waiting}");
    // Once they end, it goes on.
    end.close();
    soon(async {
        while started.load(Ordering::Relaxed) < 100_000 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    writer.await.unwrap();
    reader.abort();
}

/// A connect handler that goes on for as long as its socket does holds back what nobody listens to, up to the limit.
#[tokio::test]
async fn a_connect_handler_that_never_ends_does_not_stop_its_client_for_ever() {
    let server = Server::start(Patio::builder().max_parked_bytes(1_000)).await;
    let heard = Arc::new(Notify::new());
    let hears = Arc::clone(&heard);
    server.io.on_connect(async move |socket: Socket| {
        let hears = Arc::clone(&hears);
        socket.on("known", async move || hears.notify_one());
        std::future::pending::<()>().await;
    });
    let mut ws = server.ws(V4).await;
    ws.join("/").await;
    for _ in 0..100 {
        ws.send(r#"42["unknown"]"#).await;
    }
    ws.send(r#"42["known"]"#).await;
    soon(heard.notified()).await;
    drop(ws);
    assert_eq!(server.reason().await, "transport close");
}

/// What waits for its listener goes on as soon as the connect handler adds it.
#[tokio::test]
async fn a_listener_that_is_added_late_hears_what_waits() {
    let server = Server::start(Patio::builder()).await;
    let (go, heard) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (goes, hears) = (Arc::clone(&go), Arc::clone(&heard));
    server.io.on_connect(async move |socket: Socket| {
        goes.notified().await;
        let hears = Arc::clone(&hears);
        socket.on("late", async move || hears.notify_one());
        std::future::pending::<()>().await;
    });
    let mut ws = server.ws(V4).await;
    ws.join("/").await;
    ws.send(r#"42["late"]"#).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    go.notify_one();
    soon(heard.notified()).await;
}

/// Who listens to rooms, as adapters do, hears of them in the order of what happened, whatever thread it happened on.
#[tokio::test]
async fn rooms_begin_and_end_in_order() {
    let there = Arc::new(AtomicUsize::new(0));
    let wrong = Arc::new(AtomicUsize::new(0));
    let (is_there, was_wrong) = (Arc::clone(&there), Arc::clone(&wrong));
    let namespace = Namespace::new().on_room_event(move |event| {
        let (expected, now) = match event {
            RoomEvent::Create(room) if &**room == "r" => (0, 1),
            RoomEvent::Delete(room) if &**room == "r" => (1, 0),
            _ => return,
        };
        if is_there.swap(now, Ordering::SeqCst) != expected {
            was_wrong.fetch_add(1, Ordering::Relaxed);
        }
    });
    let server = Server::start(Patio::builder().namespace("/", namespace)).await;
    let (mut one, mut two) = (server.ws(V4).await, server.ws(V4).await);
    let ids = [one.join("/").await, two.join("/").await];
    std::thread::scope(|scope| {
        for id in ids {
            let socket = server.io.of("/").socket(&id).unwrap();
            scope.spawn(move || {
                for _ in 0..20_000 {
                    socket.join("r");
                    socket.leave("r");
                }
            });
        }
    });
    assert_eq!((wrong.load(Ordering::Relaxed), there.load(Ordering::Relaxed)), (0, 0));
}
