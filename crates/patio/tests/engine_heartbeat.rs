//! Heartbeats of both revisions in both directions, over pipes in memory and with paused time: the
//! clock moves only when nobody has anything to do, so that moments can be compared.

#![cfg(all(feature = "serve", feature = "v3"))]

#[expect(dead_code, reason = "each test file uses a part")]
mod support;

use std::time::Duration;

use bytes::Bytes;
use patio::{ServerBuilder, Transport};
use patio_proto::ws;
use support::{Engine, Event, V3, V4, WsClient};
use tokio::time::{Instant, sleep, sleep_until};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Timers may be late by as much: they share ticks of 1 ms, and each step rounds up.
const LATE: Duration = ms(5);

fn builder() -> ServerBuilder {
    patio::Server::builder().ping_interval(ms(300)).ping_timeout(ms(200))
}

fn start() -> Engine {
    Engine::in_memory(builder(), 64 * 1024)
}

/// That it is `since + after` now.
#[track_caller]
fn is_now(since: Instant, after: Duration) {
    let now = since.elapsed();
    assert!((after..after + LATE).contains(&now), "{now:?} instead of {after:?}");
}

async fn ws(engine: &Engine, eio: support::Eio) -> WsClient {
    let ws = engine.ws(eio).await;
    engine.client().await;
    ws
}

/// The next event, which must be the end of a client.
async fn closed(engine: &Engine) -> String {
    match engine.event().await {
        Event::Closed(reason) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn protocol_4_pings_after_each_pong_and_ends_without_one() {
    let engine = start();
    let mut ws = ws(&engine, V4).await;
    let mut last = Instant::now();
    for delay in [0, 100, 190, 0] {
        assert_eq!(ws.text().await, "2");
        is_now(last, ms(300));
        sleep(ms(delay)).await;
        ws.send("3").await;
        last = Instant::now();
    }
    assert_eq!(ws.text().await, "2");
    is_now(last, ms(300));
    ws.closes_silently().await;
    is_now(last, ms(500));
    assert_eq!(closed(&engine).await, "ping timeout");
}

#[tokio::test(start_paused = true)]
async fn protocol_4_pings_over_polling_too() {
    let engine = start();
    let mut polling = engine.polling(V4).await;
    engine.client().await;
    let mut last = Instant::now();
    for _ in 0..3 {
        assert_eq!(polling.poll().await.brief(), (200, "2"));
        is_now(last, ms(300));
        polling.send("3").await;
        last = Instant::now();
    }
    assert_eq!(polling.poll().await.brief(), (200, "2"));
    // The poll that waits when the time is over is told the end.
    assert_eq!(polling.poll().await.brief(), (200, "1"));
    is_now(last, ms(500));
    assert_eq!(closed(&engine).await, "ping timeout");
    assert_eq!(polling.poll().await.text(), r#"{"code":1,"message":"Session ID unknown"}"#);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_polls_is_let_go() {
    let engine = start();
    let polling = engine.polling(V4).await;
    engine.client().await;
    let start = Instant::now();
    assert_eq!(closed(&engine).await, "ping timeout");
    is_now(start, ms(500));
    assert_eq!(polling.other_poll().await.text(), r#"{"code":1,"message":"Session ID unknown"}"#);
    assert_eq!(engine.io.clients_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_busy_client_may_be_late_with_its_pong_once() {
    let engine = start();
    let mut ws = ws(&engine, V4).await;
    let start = Instant::now();
    assert_eq!(ws.text().await, "2");
    for at in [450, 600] {
        sleep_until(start + ms(at)).await;
        ws.send("4busy").await;
        assert_eq!(engine.message().await, "busy");
    }
    assert_eq!(closed(&engine).await, "ping timeout");
    // 200 ms after the first message; the second one did not count.
    is_now(start, ms(650));
}

#[tokio::test(start_paused = true)]
async fn messages_are_no_pongs() {
    let engine = start();
    let mut ws = ws(&engine, V4).await;
    let start = Instant::now();
    // Before the ping they change nothing at all.
    for _ in 0..29 {
        sleep(ms(10)).await;
        ws.send("4x").await;
        assert_eq!(engine.message().await, "x");
        assert_eq!(ws.text().await, "4x");
    }
    assert_eq!(ws.text().await, "2");
    is_now(start, ms(300));
}

#[tokio::test(start_paused = true)]
async fn a_pong_that_nobody_asked_for_moves_the_next_ping() {
    let engine = start();
    let mut ws = ws(&engine, V4).await;
    sleep(ms(100)).await;
    ws.send("3").await;
    let last = Instant::now();
    assert_eq!(ws.text().await, "2");
    is_now(last, ms(300));
}

#[tokio::test(start_paused = true)]
async fn protocol_3_answers_pings_and_ends_without_them() {
    let engine = start();
    let mut ws = ws(&engine, V3).await;
    let mut last = Instant::now();
    for (delay, ping) in [(0, "2"), (300, "2"), (490, "2data"), (490, "2probe")] {
        sleep(ms(delay)).await;
        ws.send(ping).await;
        // The pong carries no data; `probe` means something on a candidate only.
        assert_eq!(ws.text().await, "3");
        last = Instant::now();
    }
    ws.closes_silently().await;
    is_now(last, ms(500));
    assert_eq!(closed(&engine).await, "ping timeout");
}

#[tokio::test(start_paused = true)]
async fn protocol_3_answers_pings_over_polling_too() {
    let engine = start();
    let mut polling = engine.polling(V3).await;
    engine.client().await;
    sleep(ms(400)).await;
    polling.send("2").await;
    let last = Instant::now();
    assert_eq!(polling.poll().await.brief(), (200, "1:3"));
    assert_eq!(polling.poll().await.brief(), (200, "1:1"));
    is_now(last, ms(500));
    assert_eq!(closed(&engine).await, "ping timeout");
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_in_the_wrong_direction_ends_the_session() {
    let engine = start();
    for (eio, packet) in [(V4, "2"), (V4, "2probe"), (V3, "3"), (V3, "3probe")] {
        let mut ws = ws(&engine, eio).await;
        ws.send(packet).await;
        ws.closes_silently().await;
        assert_eq!(closed(&engine).await, "transport error");
    }
}

#[tokio::test(start_paused = true)]
async fn heartbeats_go_on_over_the_transport_of_the_moment() {
    let engine = start();
    let mut polling = engine.polling(V4).await;
    let client = engine.client().await;
    let mut last = Instant::now();
    // The first ping falls into the probe of an upgrade, and is answered over polling.
    let mut ws = engine.candidate(V4, polling.sid()).await;
    sleep(ms(290)).await;
    ws.send("2probe").await;
    assert_eq!(ws.text().await, "3probe");
    loop {
        let answer = polling.poll().await;
        if answer.text() == "2" {
            break;
        }
        assert_eq!(answer.text(), "6");
    }
    is_now(last, ms(300));
    polling.send("3").await;
    last = Instant::now();
    ws.send("5").await;
    assert_eq!(ws.text().await, "2");
    is_now(last, ms(300));
    assert_eq!(client.transport(), Transport::WebSocket);
    ws.send("3").await;
    // The upgrade's own time limit is over and means nothing any more.
    assert_eq!(ws.text().await, "2");
    ws.closes_silently().await;
    assert_eq!(closed(&engine).await, "ping timeout");
}

#[tokio::test(start_paused = true)]
async fn a_ping_that_waits_for_a_poll_leaves_by_the_websocket() {
    let engine = start();
    let polling = engine.polling(V4).await;
    engine.client().await;
    sleep(ms(310)).await;
    let mut ws = engine.candidate(V4, polling.sid()).await;
    ws.send("5").await;
    assert_eq!(ws.text().await, "2");
    ws.send("3").await;
    assert_eq!(ws.text().await, "2");
}

#[tokio::test(start_paused = true)]
async fn websockets_own_pings_are_answered_and_count_for_nothing() {
    let engine = start();
    let mut ws = ws(&engine, V4).await;
    let start = Instant::now();
    let ping = |data: &'static [u8]| ws::Message::Ping(Bytes::from_static(data));
    ws.send_message(&ping(b"hello")).await;
    assert_eq!(ws.message().await, Some(ws::Message::Pong(Bytes::from_static(b"hello"))));
    ws.send_message(&ws::Message::Pong(Bytes::new())).await;
    assert_eq!(ws.text().await, "2");
    is_now(start, ms(300));
    sleep(ms(100)).await;
    ws.send_message(&ping(b"")).await;
    assert_eq!(ws.message().await, Some(ws::Message::Pong(Bytes::new())));
    ws.closes_silently().await;
    is_now(start, ms(500));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_gone_is_forgotten_whether_it_closes_or_not() {
    let engine = start();
    let ws = ws(&engine, V4).await;
    let start = Instant::now();
    assert_eq!(closed(&engine).await, "ping timeout");
    // It is waited for a little, so that it can read what was written last.
    support::soon(async {
        while engine.io.clients_count() > 0 {
            sleep(ms(10)).await;
        }
    })
    .await;
    assert!(start.elapsed() < Duration::from_secs(6));
    drop(ws);
}

#[tokio::test(start_paused = true)]
async fn the_times_of_node_hold_by_default() {
    let engine = Engine::in_memory(patio::Server::builder(), 64 * 1024);
    let start = Instant::now();
    let mut first = engine.ws(V4).await;
    let _silent = engine.ws(V3).await;
    for _ in 0..2 {
        engine.client().await;
    }
    sleep_until(start + ms(24_990)).await;
    assert_eq!(first.text().await, "2");
    assert!((25_000..25_200).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    first.send("3").await;
    sleep_until(start + ms(44_990)).await;
    assert_eq!(engine.io.clients_count(), 2);
    assert_eq!(closed(&engine).await, "ping timeout");
    assert!((45_000..45_200).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_was_closed_is_waited_for_no_longer_than_it_may_be_silent() {
    for (builder, time) in [(builder(), 500), (patio::Server::builder(), 30_000)] {
        let engine = Engine::in_memory(builder, 64 * 1024);
        let polling = engine.polling(V4).await;
        let start = Instant::now();
        engine.client().await.close();
        assert_eq!(closed(&engine).await, "forced close");
        sleep_until(start + ms(time - 10)).await;
        assert_eq!(engine.io.clients_count(), 1);
        sleep(ms(20)).await;
        assert_eq!(polling.other_poll().await.text(), r#"{"code":1,"message":"Session ID unknown"}"#);
    }
}
