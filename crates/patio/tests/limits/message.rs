//! What one message, one payload and one packet may hold.

use patio::Reply;
use patio_proto::ws;

use crate::{
    Client, builder, counting,
    support::{Eio, Http, Server, V3, V4, WsClient},
};

/// An event `x` of so many bytes, its types included: Node counts them too.
fn event(bytes: usize) -> String {
    format!("421[\"x\",\"{}\"]", "x".repeat(bytes - 11))
}

#[tokio::test]
async fn a_websocket_message_may_have_so_many_bytes() {
    let server = counting(builder().max_http_buffer_size(100)).await;
    let neighbour = server.neighbour().await;
    let is_too_large = async |mut ws: WsClient| {
        assert_eq!(ws.closed().await, 1009);
        assert_eq!(server.reason().await, "transport error");
    };
    for eio in [V4, V3] {
        let mut ws = joined(&server, eio).await;
        ws.send(&event(100)).await;
        assert_eq!(ws.text().await, "431[1]");
        ws.send(&event(101)).await;
        is_too_large(ws).await;

        let mut ws = joined(&server, eio).await;
        for bytes in [99, 101] {
            ws.send("451-2[\"x\",{\"_placeholder\":true,\"num\":0}]").await;
            ws.send_binary(&vec![7; bytes]).await;
            if bytes == 99 {
                assert_eq!(ws.text().await, "432[1]");
            }
        }
        is_too_large(ws).await;

        // A length is enough, nobody waits for the bytes; fragments count together.
        let promise = b"\x82\xff\x00\x00\x00\xff\x00\x00\x00\x00\x01\x02\x03\x04";
        for frames in [&promise[..], &fragments(&[60, 41])] {
            let mut ws = joined(&server, eio).await;
            ws.send_raw(frames).await;
            is_too_large(ws).await;
        }
    }
    assert_eq!(server.io.counters().bad_frames, 8);
    neighbour.felt_nothing().await;
}

async fn joined(server: &Server, eio: Eio) -> WsClient {
    let mut ws = server.ws(eio).await;
    ws.join("/").await;
    ws
}

/// Masked frames of one text message.
fn fragments(lengths: &[usize]) -> Vec<u8> {
    let mut frames = Vec::new();
    for (n, &length) in lengths.iter().enumerate() {
        let opcode = if n == 0 { ws::Opcode::Text } else { ws::Opcode::Continuation };
        frames.extend_from_slice(&ws::header(opcode, n + 1 == lengths.len(), length, Some([0; 4])));
        frames.extend(std::iter::repeat_n(b'4', length));
    }
    frames
}

/// Of a body that does not say how long it will be: `engine_polling`,
/// `a_body_of_the_largest_size_is_taken_and_a_larger_one_keeps_the_session`.
#[tokio::test]
async fn a_polling_payload_may_have_so_many_bytes() {
    let server = counting(builder().max_http_buffer_size(100)).await;
    let neighbour = server.neighbour().await;
    for eio in [V4, V3, V4, V3] {
        let mut polling = server.polling(eio).await;
        polling.join("/").await;
        let (fits, more) = match eio {
            V4 => (event(100), event(101)),
            V3 => (format!("97:{}", event(97)), format!("98:{}", event(98))),
        };
        assert_eq!((fits.len(), more.len()), (100, 101));
        assert_eq!(polling.post(fits).await.brief(), (200, "ok"));
        assert_eq!(polling.text().await, "431[1]");
        let answer = polling.post(more).await;
        assert_eq!((answer.brief(), answer.header("connection")), ((413, ""), Some("close")));
        polling.posts = Http::connect(server.addr).await;
        polling.send("420[\"x\"]").await;
        assert_eq!(polling.text().await, "430[0]");
    }
    assert_eq!(server.io.counters().large_bodies, 4);
    neighbour.felt_nothing().await;
}

/// What is small on the wire may be large in memory: the limit is that of the message. Bodies of requests are not
/// inflated, so this cannot be crossed over polling.
#[cfg(feature = "deflate")]
#[tokio::test]
async fn a_compressed_message_may_not_be_larger() {
    let server = counting(builder().max_http_buffer_size(10_000).per_message_deflate(1_000)).await;
    let neighbour = server.neighbour().await;
    // A thousand times as much as fits, in fewer bytes than are allowed.
    let (fits, bomb) = (compressed(event(10_000).as_bytes()), compressed(&[b'4'; 5_000_000]));
    assert!(bomb.len() < 10_000);
    for eio in [V4, V3, V4, V3] {
        let headers = [("sec-websocket-extensions", "permessage-deflate")];
        let mut ws = server.ws_with(eio, "", &headers).await;
        assert!(ws.handshake.header("sec-websocket-extensions").unwrap().contains("permessage-deflate"));
        ws.join("/").await;
        ws.send_raw(&fits).await;
        assert_eq!(ws.text().await, "431[1]");
        ws.send_raw(&bomb).await;
        assert_eq!(ws.closed().await, 1009);
        assert_eq!(server.reason().await, "transport error");
    }
    neighbour.felt_nothing().await;
}

/// A frame of a compressed message.
#[cfg(feature = "deflate")]
fn compressed(message: &[u8]) -> Vec<u8> {
    use flate2::{Compress, Compression, FlushCompress};
    let mut payload = Vec::with_capacity(100_000);
    let mut deflate = Compress::new(Compression::default(), false);
    deflate.compress_vec(message, &mut payload, FlushCompress::Sync).unwrap();
    payload.truncate(payload.len() - 4);
    let mut frame = ws::header(ws::Opcode::Text, true, payload.len(), Some([0; 4])).compressed().to_vec();
    frame.extend(payload);
    frame
}

/// Polling has no frames.
#[tokio::test]
async fn a_websocket_message_may_have_so_many_frames() {
    const MOST: usize = 131_072;
    let server = counting(builder()).await;
    let neighbour = server.neighbour().await;
    // An event, and nothing more in many frames.
    let message = |frames: usize| {
        let frame = |opcode, fin, data: &[u8]| {
            [&ws::header(opcode, fin, data.len(), Some([0; 4]))[..], data].concat()
        };
        let empty = frame(ws::Opcode::Continuation, false, b"").repeat(frames - 2);
        [frame(ws::Opcode::Text, false, b"421[\"x\"]"), empty, frame(ws::Opcode::Continuation, true, b"")]
            .concat()
    };
    let (fits, more) = (message(MOST), message(MOST + 1));
    for eio in [V4, V3, V4, V3] {
        let mut ws = joined(&server, eio).await;
        ws.send_raw(&fits).await;
        assert_eq!(ws.text().await, "431[0]");
        ws.send_raw(&more).await;
        assert_eq!(ws.closed().await, 1008);
        assert_eq!(server.reason().await, "transport error");
    }
    neighbour.felt_nothing().await;
}

/// A WebSocket's message is one packet.
#[tokio::test]
async fn a_payload_may_have_so_many_packets() {
    let server = counting(builder().max_packets_per_payload(3)).await;
    let neighbour = server.neighbour().await;
    let (text, octets) = ("text/plain", "application/octet-stream");
    let bodies = [
        (V4, text, &b"420[\"x\"]\x1e421[\"x\"]\x1e422[\"x\"]"[..], &b"\x1e423[\"x\"]"[..]),
        (V3, text, b"8:420[\"x\"]8:421[\"x\"]8:422[\"x\"]", b"8:423[\"x\"]"),
        (
            V3,
            octets,
            b"\0\x08\xff420[\"x\"]\0\x08\xff421[\"x\"]\0\x08\xff422[\"x\"]",
            b"\0\x08\xff423[\"x\"]",
        ),
    ];
    for (eio, content_type, fits, more) in bodies {
        let mut polling = server.polling(eio).await;
        polling.join("/").await;
        let (acks, close) = match eio {
            V4 => ("430[0]\u{1e}431[0]\u{1e}432[0]", "\u{1e}1"),
            V3 => ("6:430[0]6:431[0]6:432[0]", "1:1"),
        };
        // What comes before the limit is taken, also of a payload that crosses it.
        for (body, end) in [(fits.to_vec(), ""), ([fits, more].concat(), close)] {
            polling.start_poll().await;
            server.poll_waits().await;
            assert_eq!(polling.post_with(&[("content-type", content_type)], body).await.brief(), (200, "ok"));
            assert_eq!(polling.polled().await.text(), format!("{acks}{end}"));
        }
        assert_eq!(server.reason().await, "parse error");
    }
    assert_eq!(server.io.counters().bad_packets, 3);
    neighbour.felt_nothing().await;
}

#[tokio::test]
async fn a_packet_may_have_so_many_attachments() {
    let server = counting(builder()).await;
    let neighbour = server.neighbour().await;
    for mut client in Client::all(&server).await {
        let placeholders = |n: usize| -> String {
            (0..n).map(|n| format!(r#",{{"_placeholder":true,"num":{n}}}"#)).collect()
        };
        client.send(&format!("4510-7[\"x\"{}]", placeholders(10))).await;
        for n in 0..10 {
            client.send_binary(&[n]).await;
        }
        assert_eq!(client.text().await, "437[10]");
        client.send(&format!("4511-8[\"x\"{}]", placeholders(11))).await;
        client.is_closed().await;
        assert_eq!(server.reason().await, "forced close");
    }
    neighbour.felt_nothing().await;
    let server = counting(builder().max_attachments(1)).await;
    for mut client in Client::all(&server).await {
        client.send("452-[\"x\"]").await;
        client.is_closed().await;
        assert_eq!(server.reason().await, "forced close");
    }
}

#[tokio::test]
async fn an_event_name_may_have_so_many_bytes() {
    let server = Server::apart(builder().max_event_name(10)).await;
    let neighbour = server.neighbour().await;
    server.io.on("0123456789", async || Reply("here"));
    for mut client in Client::all(&server).await {
        client.send("421[\"0123456789\"]").await;
        assert_eq!(client.text().await, "431[\"here\"]");
        client.send("422[\"0123456789a\"]").await;
        client.is_closed().await;
        assert_eq!(server.reason().await, "forced close");
    }
    // Bytes, not characters; escapes count as what they mean.
    let mut ws = joined(&server, V4).await;
    ws.send("423[\"\\u0030123456789\"]").await;
    assert_eq!(ws.text().await, "433[\"here\"]");
    ws.send("42[\"€€€€\"]").await;
    ws.closes_silently().await;
    assert_eq!(server.io.counters().bad_messages, 5);
    neighbour.felt_nothing().await;
    // And by default.
    let server = Server::apart(builder()).await;
    server.io.on("x".repeat(1_024), async || Reply("here"));
    for mut client in Client::all(&server).await {
        client.send(&format!("421[\"{}\"]", "x".repeat(1_024))).await;
        assert_eq!(client.text().await, "431[\"here\"]");
        client.send(&format!("421[\"{}\"]", "x".repeat(1_025))).await;
        client.is_closed().await;
    }
}

#[tokio::test]
async fn json_may_be_nested_so_deep() {
    let server = counting(builder().max_depth(5)).await;
    let neighbour = server.neighbour().await;
    let nested = |depth: usize| format!("421[\"x\",{}{}]", "[".repeat(depth), "]".repeat(depth));
    for mut client in Client::all(&server).await {
        client.send(&nested(4)).await;
        assert_eq!(client.text().await, "431[1]");
        client.send(&nested(5)).await;
        client.is_closed().await;
        assert_eq!(server.reason().await, "forced close");
    }
    neighbour.felt_nothing().await;
    // Also where data is not looked at by any handler, and by default.
    let server = counting(builder()).await;
    let neighbour = server.neighbour().await;
    for packet in [nested(200_000), format!("40/x,{}", "{\"a\":".repeat(100_000))] {
        for mut client in Client::all(&server).await {
            client.send(&nested(126)).await;
            assert_eq!(client.text().await, "431[1]");
            client.send(&packet).await;
            client.is_closed().await;
            assert_eq!(server.reason().await, "forced close");
        }
    }
    neighbour.felt_nothing().await;
    // Without a limit only what looks at the data fails, and nothing else.
    let server = counting(builder().max_depth(usize::MAX)).await;
    let mut ws = joined(&server, V4).await;
    ws.send(&nested(400_000)).await;
    ws.send("422[\"x\"]").await;
    assert_eq!(ws.text().await, "432[0]");
    assert_eq!(server.io.counters().extract_errors, 1);
}
