//! Peers that send much for little.

use patio_proto::ws;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
};

use crate::{
    MB,
    host::{Host, SHORT},
    joined, payload, polling,
    support::{Eio, PATIENCE, Stream, V3, V4, WsClient},
};

const MASK: Option<[u8; 4]> = Some([1, 2, 3, 4]);

/// Sends the same again and again and reads nothing, until the server has had enough.
async fn flood(mut stream: Stream, bytes: Vec<u8>) {
    while stream.write_all(&bytes).await.is_ok() {}
}

/// Pings of the WebSocket, and those of protocol 3.
fn pings(eio: Eio) -> Vec<u8> {
    let mut pings = Vec::new();
    for _ in 0..1_000 {
        ws::encode(&mut pings, ws::Opcode::Ping, &[7; 125], MASK);
        if eio == V3 {
            ws::encode(&mut pings, ws::Opcode::Text, b"2", MASK);
        }
    }
    pings
}

/// Node has no reason `slow client`: what waits there has no bound.
#[tokio::test]
async fn one_that_pings_without_end() {
    let host = Host::start().await;
    let mut peers = JoinSet::new();
    for eio in [V4, V3] {
        let mut ws = WsClient::open(host.narrow().await.stream, eio, "", &[]).await;
        ws.join("/").await;
        peers.spawn(flood(ws.stream, pings(eio)));
    }
    peers.join_all().await;
    // As many pongs as may wait, 16,384, of each.
    host.lets_go(PATIENCE, 2 * 8 * MB, &[("slow client", 2)]).await;

    // One that reads is answered as fast as it asks.
    let mut host = Host::start().await;
    let mut peers = JoinSet::new();
    for eio in [V4, V3] {
        let stream = joined(&host, eio).await.stream;
        peers.spawn(async move {
            let (reader, mut writer) = tokio::io::split(stream);
            let writing = async {
                for _ in 0..50 {
                    writer.write_all(&pings(eio)).await.unwrap();
                }
            };
            // A pong is as long as its ping without the mask.
            let pongs = 50_000 * if eio == V4 { 127 } else { 127 + 3 };
            let mut sink = tokio::io::sink();
            let mut pongs = reader.take(pongs);
            let (read, ()) = tokio::join!(tokio::io::copy(&mut pongs, &mut sink), writing);
            read.unwrap();
        });
    }
    host.has_tasks(2);
    peers.join_all().await;
    host.lets_go(SHORT, 4 * MB, &[("transport close", 2)]).await;
}

/// Node takes them all.
#[tokio::test]
async fn one_that_posts_ten_thousand_tiny_packets() {
    let host = Host::hasty(SHORT).await;
    let mut peers = Vec::new();
    for _ in 0..10 {
        for eio in [V4, V3] {
            // Noops; and the largest body that there may be.
            for body in [payload(eio, "6", 10_000), payload(eio, "6", 300_000)] {
                let mut polling = polling(&host, eio).await;
                assert_eq!(polling.post(&body[..body.len().min(1_000_000)]).await.brief(), (200, "ok"));
                peers.push(polling);
            }
        }
    }
    host.lets_go(SHORT, 12 * MB, &[("parse error", 40)]).await;
    drop(peers);
}

#[tokio::test]
async fn one_that_sends_tiny_fragments() {
    let host = Host::start().await;
    // Empty, and of one byte.
    let empty = ws::header(ws::Opcode::Continuation, false, 0, MASK).repeat(10_000);
    let small =
        [&ws::header(ws::Opcode::Continuation, false, 1, Some([0; 4]))[..], b"x"].concat().repeat(10_000);
    let mut peers = JoinSet::new();
    for eio in [V4, V3] {
        for fragments in [&empty, &small] {
            for _ in 0..2 {
                let mut ws = joined(&host, eio).await;
                ws.send_raw(&ws::header(ws::Opcode::Text, false, 0, MASK)).await;
                let fragments = fragments.clone();
                peers.spawn(async move {
                    for _ in 0..14 {
                        ws.send_raw(&fragments).await;
                    }
                    ws.closed().await
                });
            }
        }
    }
    // 131,072 of them.
    for code in peers.join_all().await {
        assert_eq!(code, 1008);
    }
    host.lets_go(PATIENCE, 5 * MB, &[("transport error", 8)]).await;
}

/// A thousandth of what it becomes: whole, and in many small frames.
#[cfg(feature = "deflate")]
#[tokio::test]
async fn one_that_sends_deflate_bombs() {
    use flate2::{Compress, Compression, FlushCompress};
    let mut payload = Vec::with_capacity(1_000_000);
    let mut deflate = Compress::new(Compression::best(), false);
    deflate.compress_vec(&vec![b'4'; 100_000_000], &mut payload, FlushCompress::Sync).unwrap();
    assert!(payload.len() < 150_000, "{}", payload.len());
    let frame = |opcode, fin, data: &[u8]| {
        let header = ws::header(opcode, fin, data.len(), Some([0; 4]));
        let header = if opcode == ws::Opcode::Text { header.compressed() } else { header };
        [&header[..], data].concat()
    };
    let whole = frame(ws::Opcode::Text, true, &payload);
    let mut pieces = frame(ws::Opcode::Text, false, b"");
    for piece in payload.chunks(10) {
        pieces.extend(frame(ws::Opcode::Continuation, false, piece));
    }

    let host = Host::start().await;
    let mut peers = JoinSet::new();
    for eio in [V4, V3] {
        for bomb in [&whole, &pieces] {
            for _ in 0..10 {
                let headers = [("sec-websocket-extensions", "permessage-deflate")];
                let mut ws = host.ws_with(eio, "", &headers).await;
                ws.join("/").await;
                let bomb = bomb.clone();
                peers.spawn(async move {
                    ws.send_raw(&bomb).await;
                    ws.closed().await
                });
            }
        }
    }
    for code in peers.join_all().await {
        assert_eq!(code, 1009);
    }
    // Each a message of the largest size and an inflater, at most; 100 MB inflated.
    host.lets_go(PATIENCE, 40 * 11 * MB / 10, &[("transport error", 40)]).await;
}
