//! Packets to one socket keep their order, and so do the events of one socket (design, invariants 4 and 6).

#![cfg(feature = "serve")]

#[expect(dead_code, reason = "each test file uses a part")]
mod support;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use patio::{Server as Patio, Socket, extract::Data};
use support::{Server, V4, direct::Direct, soon};
use tokio::sync::Semaphore;

/// Receivers of the large broadcast, besides the last one.
const CROWD: usize = 9_999;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_private_emit_comes_after_the_broadcast_to_ten_thousand_before_it() {
    // None of the crowd answers a ping, and on a busy machine it takes them longer to come than one may be unanswered.
    let patient = Duration::from_secs(600);
    let server = Server::start(Patio::builder().ping_interval(patient)).await;
    for _ in 0..CROWD {
        Direct::joined(&server.io, false).await;
    }
    let mut last = server.ws(V4).await;
    let id = last.join("/").await;
    assert_eq!(server.io.of("/").len(), CROWD + 1);
    for n in 0..20 {
        server.io.emit("all", &n).unwrap();
        server.io.to(&id).emit("you", &n).unwrap();
    }
    for n in 0..20 {
        assert_eq!(last.text().await, format!(r#"42["all",{n}]"#));
        assert_eq!(last.text().await, format!(r#"42["you",{n}]"#));
    }
}

/// A socket and what its client gets, over each transport: `emit` is over when it returns.
#[tokio::test]
async fn what_follows_an_emit_changes_nothing_of_its_receivers() {
    let server = Server::start(Patio::builder()).await;
    let main = server.io.of("/");
    let mut ws = server.ws(V4).await;
    let mut polling = server.polling(V4).await;
    let sockets = [main.socket(ws.join("/").await).unwrap(), main.socket(polling.join("/").await).unwrap()];
    server.io.to("r").emit("before", &()).unwrap();
    sockets.iter().for_each(|socket| _ = socket.join("r"));
    server.io.to("r").emit("inside", &()).unwrap();
    sockets.iter().for_each(|socket| socket.leave("r"));
    server.io.to("r").emit("after", &()).unwrap();
    server.io.emit("last", &()).unwrap();
    sockets.iter().for_each(|socket| socket.disconnect(false));
    server.io.emit("gone", &()).unwrap();
    for packet in [r#"42["inside"]"#, r#"42["last"]"#, "41"] {
        assert_eq!(ws.text().await, packet);
        assert_eq!(polling.text().await, packet);
    }
    // The transports stand, and nothing more has come.
    ws.join("/").await;
    polling.join("/").await;
}

#[tokio::test]
async fn a_disconnect_that_closes_lets_go_of_what_was_emitted_before() {
    let server = Server::start(Patio::builder()).await;
    server.io.on_connect(async |socket: Socket| {
        socket.emit("last", &"words").unwrap();
        socket.disconnect(true);
        socket.emit("never", &()).unwrap();
    });
    let mut ws = server.ws(V4).await;
    ws.join("/").await;
    assert_eq!(ws.text().await, r#"42["last","words"]"#);
    assert_eq!(ws.text().await, "41");
    ws.closes_silently().await;
    assert_eq!(server.reason().await, "server namespace disconnect");
}

/// Several threads emit to one client: what each sends arrives in its order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_sender_keeps_its_order() {
    const SENDERS: usize = 4;
    const EACH: usize = 200;
    let server = Server::start(Patio::builder()).await;
    let mut ws = server.ws(V4).await;
    let id = ws.join("/").await;
    for sender in 0..SENDERS {
        let (io, id) = (server.io.clone(), id.clone());
        std::thread::spawn(move || {
            for n in 0..EACH {
                let to = if n % 2 == 0 { io.to(&id) } else { io.except("nobody") };
                to.emit("n", &(sender, n)).unwrap();
            }
        });
    }
    let mut next = [0; SENDERS];
    for _ in 0..SENDERS * EACH {
        let packet = support::json(&ws.text().await[2..]);
        let sender = packet[1].as_u64().unwrap() as usize;
        assert_eq!(packet[2], next[sender]);
        next[sender] += 1;
    }
}

/// Handlers start in the order of their events, whichever awaits.
#[tokio::test]
async fn events_of_one_socket_start_in_order() {
    let started = Arc::new(Mutex::new(Vec::new()));
    let server = Server::start(Patio::builder()).await;
    let log = Arc::clone(&started);
    server.io.on("slow", async move |Data(n): Data<u32>| {
        log.lock().unwrap().push(n);
        tokio::time::sleep(Duration::from_millis(u64::from(40 - n))).await;
    });
    let log = Arc::clone(&started);
    server.io.on("quick", async move |Data(n): Data<u32>| log.lock().unwrap().push(n));
    let expected: Vec<_> = (0..40).collect();
    let name = |n| if n % 3 == 0 { "quick" } else { "slow" };
    let events: Vec<_> = expected.iter().map(|n| format!(r#"42["{}",{n}]"#, name(n))).collect();

    let mut ws = server.ws(V4).await;
    ws.join("/").await;
    for event in &events {
        ws.send(event).await;
    }
    server.until(|_| started.lock().unwrap().len() == 40).await;
    assert_eq!(std::mem::take(&mut *started.lock().unwrap()), expected);

    let mut polling = server.polling(V4).await;
    polling.join("/").await;
    polling.post(events.join("\u{1e}")).await;
    server.until(|_| started.lock().unwrap().len() == 40).await;
    assert_eq!(*started.lock().unwrap(), expected);
}

/// At the bound of handlers events wait in order, while acks, other connections and the end are dealt with.
#[tokio::test]
async fn events_beyond_the_bound_of_handlers_wait_in_order() {
    let started = Arc::new(Mutex::new(Vec::new()));
    let gate = Arc::new(Semaphore::new(0));
    let server = Server::start(Patio::builder().max_handlers(2)).await;
    let (log, open) = (Arc::clone(&started), Arc::clone(&gate));
    server.io.on("work", async move |Data(n): Data<u32>| {
        log.lock().unwrap().push(n);
        open.acquire().await.unwrap().forget();
    });
    let mut ws = server.ws(V4).await;
    let id = ws.join("/").await;
    for n in 0..6 {
        ws.send(&format!(r#"42["work",{n}]"#)).await;
    }
    // The client's answer is taken although its events wait.
    let socket = server.io.of("/").socket(&id).unwrap();
    let question = async { socket.emit_with_ack::<u8>("question", &()).await };
    let answer = async {
        assert_eq!(ws.text().await, r#"420["question"]"#);
        ws.send("430[7]").await;
    };
    let (answer, ()) = soon(async { tokio::join!(question, answer) }).await;
    assert_eq!(answer.unwrap(), 7);
    assert_eq!(*started.lock().unwrap(), [0, 1]);
    gate.add_permits(1);
    server.until(|_| started.lock().unwrap().len() == 3).await;
    // Others are not held up.
    let mut other = server.ws(V4).await;
    other.join("/").await;
    other.send(r#"42["work",9]"#).await;
    server.until(|_| started.lock().unwrap().len() == 4).await;
    assert_eq!(*started.lock().unwrap(), [0, 1, 2, 9]);
    // What still waits when the socket ends is not handled.
    ws.send("41").await;
    assert_eq!(server.reason().await, "client namespace disconnect");
    assert_eq!(server.io.counters().dropped_events, 3);
    gate.add_permits(10);
    ws.join("/").await;
    assert_eq!(*started.lock().unwrap(), [0, 1, 2, 9]);
}

#[tokio::test]
async fn a_volatile_packet_is_dropped_behind_a_queue_or_without_a_poll() {
    let server = Server::start(Patio::builder()).await;
    let main = server.io.of("/");
    let mut ws = server.ws(V4).await;
    let mut polling = server.polling(V4).await;
    let over_ws = main.socket(ws.join("/").await).unwrap();
    let over_polling = main.socket(polling.join("/").await).unwrap();
    soon(async { tokio::join!(over_ws.flushed(), over_polling.flushed()) }).await;

    // Writable: it comes. Behind something in the queue it does not.
    over_ws.volatile().emit("first", &()).unwrap();
    over_ws.volatile().emit("second", &()).unwrap();
    over_ws.emit("kept", &()).unwrap();
    main.volatile().to(over_ws.id()).emit("third", &()).unwrap();
    assert_eq!(ws.text().await, r#"42["first"]"#);
    assert_eq!(ws.text().await, r#"42["kept"]"#);
    assert_eq!(server.io.counters().volatile_dropped, 2);

    // No poll is pending: it is dropped. With one it comes.
    over_polling.volatile().emit("nobody polls", &()).unwrap();
    assert_eq!(server.io.counters().volatile_dropped, 3);
    polling.start_poll().await;
    soon(async {
        loop {
            over_polling.volatile().emit("polled", &()).unwrap();
            if let Ok(answer) = tokio::time::timeout(Duration::from_millis(20), polling.gets.response()).await
            {
                assert_eq!(answer.text(), r#"42["polled"]"#);
                break;
            }
        }
    })
    .await;
}

/// Listeners of outgoing events and of rooms may use the server: they run under no lock of its.
#[tokio::test]
async fn listeners_inside_an_emit_may_do_anything() {
    let server = Server::start(Patio::builder()).await;
    let main = server.io.of("/");
    let mut ws = server.ws(V4).await;
    let socket = main.socket(ws.join("/").await).unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let (log, me, io) = (Arc::clone(&heard), socket.clone(), server.io.clone());
    socket.on_any_outgoing(move |event, arguments| {
        log.lock().unwrap().push(format!("{event} {arguments:?}"));
        if event == "one" {
            me.join(format!("room-{}", io.of("/").room_len("r")));
            io.emit("two", &()).unwrap();
        }
    });
    server.io.emit("one", &1).unwrap();
    server.io.to("nowhere").emit("none", &1).unwrap();
    assert_eq!(*heard.lock().unwrap(), [r#"one ["one",1]"#, r#"two ["two"]"#]);
    assert_eq!(socket.rooms().len(), 2);
    // It was sent inside the other emit, before this client's turn.
    assert_eq!(ws.text().await, r#"42["two"]"#);
    assert_eq!(ws.text().await, r#"42["one",1]"#);
    socket.off_any_outgoing();
    server.io.emit("three", &()).unwrap();
    assert_eq!(ws.text().await, r#"42["three"]"#);
    assert_eq!(heard.lock().unwrap().len(), 2);
}
