//! How long a client may take. With paused time, so that a neighbour's round trips must take none.

use std::time::Duration;

use patio::{
    AckError, Refusal, Reply, Socket,
    extract::{Args, Event as Name},
};
use patio_proto::ws;
use tokio::time::{Instant, sleep};

use crate::{
    Client, builder, counting, ms,
    support::{Server, V3, V4},
};

/// That so much time has passed since `start`, or a little more: deadlines have ticks.
#[track_caller]
fn took(start: Instant, time: Duration) {
    let took = start.elapsed();
    assert!((time..time + time / 2).contains(&took), "{took:?} instead of {time:?}");
}

#[tokio::test(start_paused = true)]
async fn a_client_must_join_a_namespace_in_time() {
    let server = Server::in_memory(builder().connect_timeout(ms(100)), 64 * 1024);
    let neighbour = server.timeless_neighbour().await;
    let refuse = async |_: Socket| Err::<(), _>(Refusal::new("no"));
    server.io.of("/refusing").middleware(refuse);
    // Clients of protocol 3 are in the main namespace without a word, if it takes them.
    server.io.middleware(async |socket: Socket| match socket.handshake().query().get("refused") {
        Some(_) => Err(Refusal::new("no")),
        None => Ok(()),
    });
    let start = Instant::now();
    let mut silent = server.ws(V4).await;
    let mut polling = server.polling(V4).await;
    let mut refused = server.ws(V4).await;
    let mut refused_v3 = server.ws_with(V3, "&refused=1", &[]).await;
    let mut refused_polling = server.polling_with(V3, "&refused=1", &[]).await;
    let mut joined = server.ws(V4).await;
    let mut left = server.ws(V4).await;
    let mut automatic = server.ws(V3).await;
    joined.join("/").await;
    left.join("/").await;
    left.send("41").await;
    automatic.join("/").await;
    refused.send("40/refusing,").await;
    assert_eq!(refused.text().await, "44/refusing,{\"message\":\"no\"}");
    refused.send("40/unknown,").await;
    assert!(refused.text().await.starts_with("44/unknown,"));
    assert_eq!(refused_v3.text().await, "44\"no\"");
    assert_eq!(refused_polling.text().await, "44\"no\"");
    silent.closes_silently().await;
    took(start, ms(100));
    refused.closes_silently().await;
    refused_v3.closes_silently().await;
    assert_eq!(polling.poll().await.text(), "6\u{1e}1");
    assert_eq!(refused_polling.poll().await.text(), "1:61:1");
    assert_eq!(server.io.counters().late_clients, 5);
    sleep(ms(1_000)).await;
    // Who was in a namespace may stay, even outside of any.
    left.send("40").await;
    assert!(left.text().await.starts_with("40{"));
    for ws in [&mut joined, &mut automatic] {
        ws.send("42[\"x\"]").await;
    }
    server.until(|io| io.counters().unhandled_events == 2).await;
    neighbour.felt_nothing().await;
}

/// It is a limit of both transports: of a session that polls, and of the WebSocket that would take it over.
#[tokio::test(start_paused = true)]
async fn an_upgrade_must_end_in_time() {
    let server = Server::in_memory(builder().upgrade_timeout(ms(100)), 64 * 1024);
    let neighbour = server.timeless_neighbour().await;
    server.io.on("x", async |Args(args): Args| Reply(args.len()));
    for (eio, probes) in [(V4, false), (V4, true), (V3, false), (V3, true)] {
        let mut polling = server.polling(eio).await;
        polling.join("/").await;
        let start = Instant::now();
        let mut ws = server.candidate(eio, polling.sid()).await;
        if probes {
            ws.send("2probe").await;
            assert_eq!(ws.text().await, "3probe");
        }
        ws.closes_silently().await;
        took(start, ms(100));
        // The session stays, and the next candidate may be quicker.
        polling.send("421[\"x\"]").await;
        assert_eq!(polling.text().await, "431[0]");
        let mut ws = server.candidate(eio, polling.sid()).await;
        ws.send("5").await;
        ws.send("422[\"x\"]").await;
        assert_eq!(ws.text().await, "432[0]");
    }
    neighbour.felt_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn attachments_must_come_in_time() {
    let server = Server::in_memory(builder().attachment_timeout(ms(100)), 64 * 1024);
    let neighbour = server.timeless_neighbour().await;
    server.io.on("x", async |Name(name): Name, Args(args): Args| Reply((name, args.len())));
    let packet = "452-1[\"x\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1}]";
    for mut client in Client::all(&server).await {
        // In time, and long after without any: nothing happens.
        for _ in 0..2 {
            client.send(packet).await;
            client.send_binary(b"1").await;
            sleep(ms(90)).await;
            client.send_binary(b"2").await;
            assert_eq!(client.text().await, "431[\"x\",2]");
            sleep(ms(500)).await;
        }
        client.send(packet).await;
        let start = Instant::now();
        sleep(ms(90)).await;
        // The time is that of the whole packet.
        client.send_binary(b"1").await;
        assert_eq!(server.reason().await, "forced close");
        took(start, ms(100));
        client.is_closed().await;
    }
    assert_eq!(server.io.counters().late_clients, 4);
    neighbour.felt_nothing().await;
}

/// A WebSocket's messages are limited in size only: while one of them comes, silence is what ends the session.
#[tokio::test(start_paused = true)]
async fn a_body_must_come_in_time() {
    let server = Server::in_memory(builder().ping_interval(ms(300)).ping_timeout(ms(200)), 64 * 1024);
    let neighbour = server.timeless_neighbour().await;
    for eio in [V4, V3, V4, V3] {
        let mut polling = server.polling(eio).await;
        polling.join("/").await;
        let head = format!("POST {} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n", polling.target());
        polling.posts.send_raw(head.as_bytes()).await;
        let start = Instant::now();
        for _ in 0..9 {
            polling.posts.send_raw(b"4").await;
            sleep(ms(50)).await;
        }
        // Its session's time and its own are over at once.
        assert!(["ping timeout", "transport error"].contains(&&*server.reason().await));
        assert_eq!(polling.posts.response().await.brief(), (400, ""));
        assert!(start.elapsed() < ms(510), "{:?}", start.elapsed());
    }
    neighbour.felt_nothing().await;
}

/// Node's default times to the millisecond: all of `engine_heartbeat`.
#[tokio::test(start_paused = true)]
async fn a_client_may_be_silent_so_long() {
    let server = Server::in_memory(builder().ping_interval(ms(300)).ping_timeout(ms(200)), 64 * 1024);
    let neighbour = server.timeless_neighbour().await;
    for eio in [V4, V3, V4, V3] {
        let start = Instant::now();
        let mut polling = server.polling(eio).await;
        polling.join("/").await;
        let mut ws = server.ws(eio).await;
        ws.join("/").await;
        // Half a frame, and nothing more.
        let mut frame = Vec::new();
        ws::encode(&mut frame, ws::Opcode::Binary, &[0; 1000], Some([1, 2, 3, 4]));
        ws.send_raw(&frame[..500]).await;
        for _ in 0..2 {
            assert_eq!(server.reason().await, "ping timeout");
            took(start, ms(500));
        }
    }
    neighbour.felt_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_is_waited_for_so_long() {
    let server = Server::in_memory(builder(), 64 * 1024);
    let neighbour = server.timeless_neighbour().await;
    for eio in [V4, V3] {
        let mut polling = server.polling(eio).await;
        let mut ws = server.ws(eio).await;
        for id in [polling.join("/").await, ws.join("/").await] {
            let socket = server.io.of("/").socket(&id).unwrap();
            let start = Instant::now();
            let answer = socket.emit_with_ack::<u8>("question", &()).await;
            assert!(matches!(answer, Err(AckError::Timeout)), "{answer:?}");
            assert_eq!((start.elapsed(), socket.pending_acks()), (Duration::from_secs(5), 0));
            assert!(socket.is_connected());
        }
    }
    assert_eq!(server.io.counters().ack_timeouts, 4);
    neighbour.felt_nothing().await;
}

#[tokio::test]
async fn times_may_have_no_end() {
    let server = counting(
        builder()
            .ping_interval(Duration::MAX)
            .ping_timeout(Duration::MAX)
            .upgrade_timeout(Duration::MAX)
            .connect_timeout(Duration::MAX)
            .attachment_timeout(Duration::MAX)
            .ack_timeout(Duration::MAX),
    )
    .await;
    server.io.on("ask", async |socket: Socket| {
        let answer: u32 = socket.emit_with_ack("question", &()).await.unwrap();
        Reply(answer)
    });
    for mut client in Client::all(&server).await {
        client.send("451-1[\"x\",{\"_placeholder\":true,\"num\":0}]").await;
        client.send_binary(b"1").await;
        assert_eq!(client.text().await, "431[1]");
        client.send("422[\"ask\"]").await;
        let question = client.text().await;
        let id = question.strip_prefix("42").unwrap().strip_suffix("[\"question\"]").unwrap();
        client.send(&format!("43{id}[7]")).await;
        assert_eq!(client.text().await, "432[7]");
        if let Client::Polling(polling) = client {
            let mut ws = server.candidate(polling.eio, polling.sid()).await;
            ws.send("2probe").await;
            assert_eq!(ws.text().await, "3probe");
            ws.send("5").await;
            ws.send("423[\"x\"]").await;
            assert_eq!(ws.text().await, "433[0]");
        }
    }
}
