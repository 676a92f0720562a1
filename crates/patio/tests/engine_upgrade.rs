//! From long-polling to a WebSocket: the probe, what is queued meanwhile, and every candidate that does not make it.
//! Whatever happens to a candidate, the session goes on.

#![cfg(all(feature = "serve", feature = "v3"))]

#[expect(dead_code, reason = "each test file uses a part")]
mod support;

use std::{sync::mpsc, time::Duration};

use bytes::Bytes;
use patio::{
    Transport,
    engine_io::{Client, Message},
};
use patio_proto::{Text, ws};
use support::{Eio, Engine, Event, Http, Packet, PollingClient, V3, V4, WsClient};

async fn start() -> Engine {
    Engine::start(patio::Server::builder()).await
}

/// A session, and its client's handle on the server.
async fn open(engine: &Engine, eio: Eio) -> (PollingClient, Client) {
    let polling = engine.polling(eio).await;
    (polling, engine.client().await)
}

/// A WebSocket that took over the session of `polling`.
async fn upgraded(engine: &Engine, polling: &PollingClient) -> WsClient {
    let mut ws = engine.candidate(polling.eio, polling.sid()).await;
    ws.send("2probe").await;
    assert_eq!(ws.text().await, "3probe");
    ws.send("5").await;
    ws
}

/// That messages go both ways over the WebSocket.
async fn works(engine: &Engine, ws: &mut WsClient) {
    ws.send("4over").await;
    assert_eq!(engine.message().await, "over");
    assert_eq!(ws.text().await, "4over");
}

/// That messages still go both ways over polling.
async fn polls(engine: &Engine, polling: &mut PollingClient) {
    polling.send("4still").await;
    assert_eq!(engine.message().await, "still");
    assert_eq!(polling.text().await, "4still");
}

fn text(text: &str) -> Message {
    Message::Text(Text::from(text))
}

#[tokio::test]
async fn an_upgrade_probes_releases_the_poll_and_switches() {
    let engine = start().await;
    for (eio, noop) in [(V4, "6"), (V3, "1:6")] {
        let (mut polling, client) = open(&engine, eio).await;
        polling.start_poll().await;
        engine.poll_waits().await;
        let mut ws = engine.candidate(eio, polling.sid()).await;
        ws.send("2probe").await;
        assert_eq!(ws.text().await, "3probe");
        assert_eq!(polling.polled().await.brief(), (200, noop));
        assert_eq!(client.transport(), Transport::Polling);
        ws.send("5").await;
        works(&engine, &mut ws).await;
        assert_eq!(client.transport(), Transport::WebSocket);
        client.send(Message::Binary(Bytes::from_static(&[1, 2])));
        assert_eq!(ws.next().await, Packet::Binary(vec![1, 2]));
        ws.send_binary(&[3]).await;
        assert!(matches!(engine.event().await, Event::Message(Message::Binary(bytes)) if bytes[..] == [3]));
    }
}

#[tokio::test]
async fn a_poll_during_the_probe_is_released_again() {
    let engine = start().await;
    let (mut polling, _) = open(&engine, V4).await;
    let mut ws = engine.candidate(V4, polling.sid()).await;
    ws.send("2probe").await;
    assert_eq!(ws.text().await, "3probe");
    for _ in 0..3 {
        assert_eq!(polling.poll().await.brief(), (200, "6"));
    }
    ws.send("5").await;
    works(&engine, &mut ws).await;
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_comes_after_the_probe_is_released_at_once() {
    // Paused time goes on when everybody waits, but not while a blocking task runs: nothing here may need a timer.
    let (end, ended) = mpsc::channel::<()>();
    let standstill = tokio::task::spawn_blocking(move || ended.recv_timeout(Duration::from_secs(10)));
    let engine = start().await;
    let (mut polling, _client) = open(&engine, V4).await;
    let mut ws = engine.candidate(V4, polling.sid()).await;
    ws.send("2probe").await;
    assert_eq!(ws.text().await, "3probe");
    assert_eq!(polling.poll().await.brief(), (200, "6"));
    ws.send("5").await;
    works(&engine, &mut ws).await;
    drop(end);
    assert_eq!(standstill.await.unwrap(), Err(mpsc::RecvTimeoutError::Disconnected), "a timer was needed");
}

#[tokio::test]
async fn a_poll_is_not_released_before_the_probe() {
    let engine = start().await;
    let (mut polling, client) = open(&engine, V4).await;
    let mut ws = engine.candidate(V4, polling.sid()).await;
    polling.start_poll().await;
    engine.poll_waits().await;
    // A round trip on the candidate that is no packet: nothing was released meanwhile.
    ws.send_message(&ws::Message::Ping(Bytes::from_static(b"?"))).await;
    assert_eq!(ws.message().await, Some(ws::Message::Pong(Bytes::from_static(b"?"))));
    client.send(text("x"));
    assert_eq!(polling.polled().await.brief(), (200, "4x"));
}

#[tokio::test]
async fn what_is_queued_leaves_by_the_new_transport_in_order() {
    let engine = start().await;
    for eio in [V4, V3] {
        let (mut polling, client) = open(&engine, eio).await;
        client.send(text("polled"));
        assert_eq!(polling.text().await, "4polled");
        let mut ws = engine.candidate(eio, polling.sid()).await;
        ws.send("2probe").await;
        assert_eq!(ws.text().await, "3probe");
        for n in 0..100 {
            client.send(text(&n.to_string()));
        }
        client.send(Message::Binary(Bytes::from_static(&[7])));
        ws.send("5").await;
        for n in 0..100 {
            assert_eq!(ws.text().await, format!("4{n}"));
        }
        assert_eq!(ws.binary().await, [7]);
    }
}

#[tokio::test]
async fn what_a_poll_took_during_the_probe_does_not_come_again() {
    let engine = start().await;
    let (mut polling, client) = open(&engine, V4).await;
    let mut ws = engine.candidate(V4, polling.sid()).await;
    ws.send("2probe").await;
    assert_eq!(ws.text().await, "3probe");
    client.send(text("one"));
    assert_eq!(polling.poll().await.brief(), (200, "4one"));
    client.send(text("two"));
    ws.send("5").await;
    assert_eq!(ws.text().await, "4two");
}

#[tokio::test]
async fn what_stands_behind_the_upgrade_packet_is_taken_too() {
    let engine = start().await;
    let (polling, _) = open(&engine, V4).await;
    let mut ws = engine.candidate(V4, polling.sid()).await;
    let mut frames = Vec::new();
    for packet in ["2probe", "5", "4one", "4two"] {
        ws::encode(&mut frames, ws::Opcode::Text, packet.as_bytes(), Some([5, 6, 7, 8]));
    }
    // Half of a frame more.
    let (whole, cut) = (frames.len(), 5);
    ws::encode(&mut frames, ws::Opcode::Text, b"4three", Some([5, 6, 7, 8]));
    ws.send_raw(&frames[..whole + cut]).await;
    assert_eq!(ws.text().await, "3probe");
    assert_eq!(engine.message().await, "one");
    assert_eq!(engine.message().await, "two");
    ws.send_raw(&frames[whole + cut..]).await;
    assert_eq!(engine.message().await, "three");
    for packet in ["4one", "4two", "4three"] {
        assert_eq!(ws.text().await, packet);
    }
}

#[tokio::test]
async fn an_upgrade_without_a_probe_is_accepted() {
    let engine = start().await;
    let (mut polling, _) = open(&engine, V4).await;
    polling.start_poll().await;
    engine.poll_waits().await;
    let mut ws = engine.candidate(V4, polling.sid()).await;
    ws.send("5").await;
    // Its transport is gone: the poll that waits is told so.
    assert_eq!(polling.polled().await.brief(), (200, "1"));
    works(&engine, &mut ws).await;
}

#[tokio::test]
async fn a_wrong_packet_ends_the_candidate_only() {
    let engine = start().await;
    for packet in ["4x", "2", "2probes", "3probe", "1", "6", "0", "9", "", "bAQ=="] {
        let (mut polling, _) = open(&engine, V4).await;
        let mut ws = engine.candidate(V4, polling.sid()).await;
        ws.send(packet).await;
        ws.closes_silently().await;
        polls(&engine, &mut polling).await;
        // The next one may try.
        let mut ws = upgraded(&engine, &polling).await;
        works(&engine, &mut ws).await;
    }
    // Also behind the probe, in binary, and as a frame that breaks the protocol.
    let (mut polling, _) = open(&engine, V4).await;
    let mut ws = engine.candidate(V4, polling.sid()).await;
    ws.send("2probe").await;
    assert_eq!(ws.text().await, "3probe");
    ws.send("4x").await;
    ws.closes_silently().await;
    let mut ws = engine.candidate(V4, polling.sid()).await;
    ws.send_binary(b"2probe").await;
    ws.closes_silently().await;
    let mut ws = engine.candidate(V4, polling.sid()).await;
    ws.send_raw(b"\x81\x06unmasked").await;
    ws.closed().await;
    polls(&engine, &mut polling).await;
    let mut ws = upgraded(&engine, &polling).await;
    works(&engine, &mut ws).await;
}

#[tokio::test]
async fn a_candidate_that_goes_away_makes_room_for_the_next() {
    let engine = start().await;
    let (mut polling, _) = open(&engine, V4).await;
    let mut ws = engine.candidate(V4, polling.sid()).await;
    ws.send("2probe").await;
    assert_eq!(ws.text().await, "3probe");
    ws.send_message(&ws::Message::Close(None)).await;
    ws.closes_silently().await;
    polls(&engine, &mut polling).await;
    let mut ws = engine.candidate(V4, polling.sid()).await;
    ws.send("2probe").await;
    assert_eq!(ws.text().await, "3probe");
    drop(ws);
    polls(&engine, &mut polling).await;
    // The server hears of its end by itself; until then the next one is refused.
    support::soon(async {
        loop {
            let mut ws = engine.candidate(V4, polling.sid()).await;
            ws.send("2probe").await;
            if let Some(ws::Message::Text(_)) = ws.message().await {
                ws.send("5").await;
                return works(&engine, &mut ws).await;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_second_candidate_is_closed_and_the_first_goes_on() {
    let engine = start().await;
    let (polling, _) = open(&engine, V4).await;
    let mut first = engine.candidate(V4, polling.sid()).await;
    first.send("2probe").await;
    assert_eq!(first.text().await, "3probe");
    let mut second = engine.candidate(V4, polling.sid()).await;
    second.closes_silently().await;
    first.send("5").await;
    works(&engine, &mut first).await;
    // Nor can a session upgrade twice.
    let mut third = engine.candidate(V4, polling.sid()).await;
    third.closes_silently().await;
    works(&engine, &mut first).await;
}

#[tokio::test]
async fn a_session_that_began_on_a_websocket_takes_no_other() {
    let engine = start().await;
    let mut ws = engine.ws(V4).await;
    engine.client().await;
    let mut other = engine.candidate(V4, ws.sid()).await;
    other.closes_silently().await;
    works(&engine, &mut ws).await;
}

#[tokio::test]
async fn upgrades_can_be_forbidden() {
    let engine = Engine::start(patio::Server::builder().allow_upgrades(false)).await;
    let (mut polling, _) = open(&engine, V4).await;
    let mut ws = engine.candidate(V4, polling.sid()).await;
    ws.closes_silently().await;
    polls(&engine, &mut polling).await;
}

#[tokio::test]
async fn an_upgraded_session_polls_no_more() {
    let engine = start().await;
    let (mut polling, _) = open(&engine, V4).await;
    let mut ws = upgraded(&engine, &polling).await;
    works(&engine, &mut ws).await;
    let mismatch = (400, r#"{"code":3,"message":"Bad request"}"#);
    assert_eq!(polling.poll().await.brief(), mismatch);
    assert_eq!(polling.post("4lost").await.brief(), mismatch);
    works(&engine, &mut ws).await;
}

#[tokio::test]
async fn requests_that_the_upgrade_overtakes_do_not_end_the_session() {
    let engine = start().await;
    let (polling, client) = open(&engine, V4).await;
    // A POST whose body is on its way.
    let mut slow = Http::connect(engine.addr).await;
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\nexpect: 100-continue\r\n\r\n",
        polling.target()
    );
    slow.send_raw(head.as_bytes()).await;
    assert_eq!(slow.response().await.status, 100);
    let mut ws = upgraded(&engine, &polling).await;
    works(&engine, &mut ws).await;
    assert_eq!(slow.response().await.brief(), (400, ""));
    works(&engine, &mut ws).await;
    assert_eq!(client.transport(), Transport::WebSocket);
}

#[tokio::test]
async fn a_session_that_ends_during_the_probe_takes_its_candidate_along() {
    let engine = start().await;
    for by_server in [true, false] {
        let (mut polling, client) = open(&engine, V4).await;
        let mut ws = engine.candidate(V4, polling.sid()).await;
        ws.send("2probe").await;
        assert_eq!(ws.text().await, "3probe");
        if by_server {
            client.close();
            assert_eq!(engine.closed().await, "forced close");
            // Until the client has heard of it, it may do so over either transport.
            assert_eq!(polling.poll().await.brief(), (200, "6\u{1e}1"));
        } else {
            polling.send("1").await;
            assert_eq!(engine.closed().await, "transport close");
        }
        ws.closes_silently().await;
    }
}

#[tokio::test]
async fn a_client_that_does_not_poll_any_more_hears_the_end_over_its_candidate() {
    let engine = start().await;
    for eio in [V4, V3] {
        for probed in [false, true] {
            let (polling, client) = open(&engine, eio).await;
            let mut ws = engine.candidate(eio, polling.sid()).await;
            if probed {
                ws.send("2probe").await;
                assert_eq!(ws.text().await, "3probe");
            }
            client.send(text("last"));
            client.send(Message::Binary(Bytes::from_static(&[7])));
            client.close();
            assert_eq!(engine.closed().await, "forced close");
            if !probed {
                ws.send("2probe").await;
                assert_eq!(ws.text().await, "3probe");
            }
            ws.send("5").await;
            assert_eq!(ws.text().await, "4last");
            assert_eq!(ws.binary().await, [7]);
            ws.closes_silently().await;
        }
    }
}

#[tokio::test]
async fn the_end_of_an_upgraded_session_is_noticed() {
    let engine = start().await;
    let (polling, _) = open(&engine, V4).await;
    let ws = upgraded(&engine, &polling).await;
    drop(ws);
    assert_eq!(engine.closed().await, "transport close");
    let answer = polling.other_poll().await;
    assert_eq!(answer.brief(), (400, r#"{"code":1,"message":"Session ID unknown"}"#));
}
