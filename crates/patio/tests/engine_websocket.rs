//! What a WebSocket may say to an open session, and what it is told.

#![cfg(all(feature = "serve", feature = "v3"))]

#[expect(dead_code, reason = "each test file uses a part")]
mod support;

use bytes::Bytes;
use patio::engine_io::{Client, Message};
use patio_proto::{
    Text,
    ws::{self, CloseCode, CloseFrame, Opcode},
};
use support::{Eio, Engine, Event, Packet, V3, V4, WsClient, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn start() -> Engine {
    Engine::start(patio::Server::builder()).await
}

/// A session, and its client's handle on the server.
async fn open(engine: &Engine, eio: Eio) -> (WsClient, Client) {
    let ws = engine.ws(eio).await;
    (ws, engine.client().await)
}

/// A masked frame of any kind.
fn frame(opcode: Opcode, fin: bool, payload: &[u8]) -> Vec<u8> {
    let mut frame = ws::header(opcode, fin, payload.len(), Some([0; 4])).to_vec();
    frame.extend_from_slice(payload);
    frame
}

#[tokio::test]
async fn text_and_bytes_go_both_ways() {
    let engine = start().await;
    for eio in [V4, V3] {
        let (mut ws, _) = open(&engine, eio).await;
        ws.send("4héllo 🦀").await;
        assert_eq!(engine.message().await, "héllo 🦀");
        assert_eq!(ws.text().await, "4héllo 🦀");
        ws.send_binary(&[0, 4, 255]).await;
        assert!(
            matches!(engine.event().await, Event::Message(Message::Binary(bytes)) if bytes[..] == [0, 4, 255])
        );
        assert_eq!(ws.next().await, Packet::Binary(vec![0, 4, 255]));
        // Bytes in base64, in the form of each revision, are bytes.
        ws.send(if eio == V4 { "bAQID" } else { "b4AQID" }).await;
        assert!(
            matches!(engine.event().await, Event::Message(Message::Binary(bytes)) if bytes[..] == [1, 2, 3])
        );
        assert_eq!(ws.binary().await, [1, 2, 3]);
        // A message may be empty.
        ws.send("4").await;
        assert_eq!(engine.message().await, "");
        assert_eq!(ws.text().await, "4");
    }
}

#[tokio::test]
async fn a_client_of_protocol_3_may_ask_for_base64() {
    let engine = start().await;
    let mut ws = engine.ws_with(V3, "&b64=1", &[]).await;
    engine.client().await.send(Message::Binary(Bytes::from_static(&[1, 2, 3, 255])));
    assert_eq!(ws.text().await, "b4AQID/w==");
}

#[tokio::test]
async fn other_packets_are_ignored() {
    let engine = start().await;
    for eio in [V4, V3] {
        let (mut ws, _) = open(&engine, eio).await;
        for packet in ["0", "0{}", "1", "5", "6", "6x"] {
            ws.send(packet).await;
        }
        if eio == V3 {
            for kind in [0, 1, 5, 6] {
                ws.send_message(&ws::Message::Binary(vec![kind, 1].into())).await;
            }
        }
        ws.send("4still").await;
        assert_eq!(engine.message().await, "still");
    }
}

#[tokio::test]
async fn a_bad_packet_ends_the_session() {
    let engine = start().await;
    let bad = [(V4, "7"), (V4, ""), (V4, "x"), (V4, "€"), (V3, "7"), (V3, ""), (V3, "b"), (V3, "b7AQ==")];
    for (eio, packet) in bad {
        let (mut ws, _) = open(&engine, eio).await;
        ws.send(packet).await;
        // What follows is not looked at.
        ws.send("4lost").await;
        ws.closes_silently().await;
        assert_eq!(engine.closed().await, "parse error", "{packet}");
    }
    for bytes in [&b""[..], b"\x07", b"4x"] {
        let (mut ws, _) = open(&engine, V3).await;
        ws.send_message(&ws::Message::Binary(Bytes::copy_from_slice(bytes))).await;
        ws.closes_silently().await;
        assert_eq!(engine.closed().await, "parse error", "{bytes:?}");
    }
}

#[tokio::test]
async fn a_bad_frame_ends_the_session_with_its_code() {
    let engine = start().await;
    let cases: [(u16, &[u8]); 13] = [
        (1002, b"\x81\x02hi"),
        (1002, &frame(Opcode::Continuation, true, b"4x")),
        (1002, &[frame(Opcode::Text, false, b"4x"), frame(Opcode::Text, true, b"4x")].concat()),
        (1002, b"\xc1\x82\0\0\0\x004x"),
        (1002, b"\x83\x82\0\0\0\x004x"),
        (1002, b"\x09\x80\0\0\0\0"),
        (1002, &frame(Opcode::Ping, true, &[0; 126])),
        (1002, &frame(Opcode::Close, true, &[3])),
        (1002, &frame(Opcode::Close, true, &1005_u16.to_be_bytes())),
        (1007, &frame(Opcode::Text, true, b"4\xff")),
        (
            1007,
            &[frame(Opcode::Text, false, b"4\xf0\x9f"), frame(Opcode::Continuation, true, b"\xa6")].concat(),
        ),
        // Known before the fragment has ended.
        (1007, &frame(Opcode::Text, false, b"4\xffaaaa")[..9]),
        (1009, b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0"),
    ];
    for (code, frames) in cases {
        let (mut ws, _) = open(&engine, V4).await;
        ws.send_raw(frames).await;
        assert_eq!(ws.closed().await, code, "{frames:?}");
        assert_eq!(engine.closed().await, "transport error", "{frames:?}");
    }
}

#[tokio::test]
async fn a_message_may_come_in_pieces() {
    let engine = start().await;
    let (mut ws, _) = open(&engine, V4).await;
    let frames = [
        frame(Opcode::Text, false, b"4h\xf0\x9f"),
        frame(Opcode::Ping, true, b"between"),
        frame(Opcode::Continuation, false, b""),
        frame(Opcode::Continuation, true, b"\xa6\x80!"),
    ]
    .concat();
    for byte in frames {
        ws.send_raw(&[byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(engine.message().await, "h🦀!");
    assert_eq!(ws.message().await, Some(ws::Message::Pong(Bytes::from_static(b"between"))));
    assert_eq!(ws.text().await, "4h🦀!");
}

#[tokio::test]
async fn a_close_is_answered_with_its_code() {
    let engine = start().await;
    let codes = [None, Some((1000, "")), Some((1001, "gone")), Some((4999, "bye"))];
    for close in codes {
        let close = close
            .map(|(code, reason)| CloseFrame { code: CloseCode(code), reason: Text::from_static(reason) });
        let (mut ws, _) = open(&engine, V4).await;
        ws.send_message(&ws::Message::Close(close.clone())).await;
        match (ws.message().await, close) {
            (Some(ws::Message::Close(None)), None) => {}
            (Some(ws::Message::Close(Some(answer))), Some(close)) => assert_eq!(answer.code, close.code),
            other => panic!("{other:?}"),
        }
        assert_eq!(ws.message().await, None);
        assert_eq!(engine.closed().await, "transport close");
    }
}

#[tokio::test]
async fn what_was_sent_before_a_close_arrives() {
    let engine = start().await;
    for eio in [V4, V3] {
        let (mut ws, client) = open(&engine, eio).await;
        let large = "x".repeat(900_000);
        for _ in 0..15 {
            client.send(Message::Text(Text::from(&*large)));
        }
        client.close();
        // To a session that has ended nothing is sent.
        client.send(Message::Text(Text::from_static("late")));
        for _ in 0..15 {
            assert_eq!(ws.text().await.len(), 900_001);
        }
        ws.closes_silently().await;
        assert_eq!(ws.message().await, None);
        assert_eq!(engine.closed().await, "forced close");
    }
}

/// As in Node: a client that has ended its side gets what was on its way, and no close frame.
#[tokio::test]
async fn what_was_sent_before_the_end_of_the_clients_side_arrives() {
    let on_tcp = start().await;
    let on_pipe = Engine::in_memory(patio::Server::builder(), 64 * 1024);
    for engine in [on_tcp, on_pipe] {
        for eio in [V4, V3] {
            let (ws, _) = open(&engine, eio).await;
            let message = format!("4{}", "x".repeat(900_000));
            // More than the kernel or a pipe takes, so that most of it waits.
            const MESSAGES: usize = 12;
            let (mut reads, mut writes) = tokio::io::split(ws.stream);
            let sent = tokio::spawn({
                let frame = frame(Opcode::Text, true, message.as_bytes());
                async move {
                    for _ in 0..MESSAGES {
                        writes.write_all(&frame).await.unwrap();
                    }
                    writes.shutdown().await.unwrap();
                    writes
                }
            });
            for _ in 0..MESSAGES {
                assert!(matches!(engine.event().await, Event::Message(_)));
            }
            assert_eq!(engine.closed().await, "transport close");
            let _writes = sent.await.unwrap();
            let mut came = Vec::new();
            soon(reads.read_to_end(&mut came)).await.unwrap();
            // A head of ten bytes, and the message.
            assert_eq!(came.len(), MESSAGES * (10 + message.len()));
        }
    }
}

#[tokio::test]
async fn what_the_client_sends_after_a_close_is_not_taken() {
    let engine = start().await;
    let (mut ws, client) = open(&engine, V4).await;
    client.close();
    ws.send("4late").await;
    ws.closes_silently().await;
    ws.send("4later").await;
    assert_eq!(engine.closed().await, "forced close");
    drop(ws);
    let (mut ws, _) = open(&engine, V4).await;
    ws.send("4next").await;
    assert_eq!(engine.message().await, "next");
}

#[tokio::test]
async fn frames_behind_the_request_are_taken() {
    let engine = start().await;
    let mut http = engine.http().await;
    let mut request = Vec::new();
    let key = ws::handshake::Key::from_random([0; 16]);
    let target = support::target("EIO=4&transport=websocket");
    ws::handshake::request(&mut request, "x", &target, &key, &[]).unwrap();
    for text in ["4one", "4two"] {
        request.extend(frame(Opcode::Text, true, text.as_bytes()));
    }
    http.send_raw(&request).await;
    assert_eq!(http.response().await.status, 101);
    engine.client().await;
    assert_eq!(engine.message().await, "one");
    assert_eq!(engine.message().await, "two");
}
