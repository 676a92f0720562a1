//! Many clients at once that come, change, misbehave and go in every way, on several threads: in the end nothing is
//! left of them, and every place is free again.

#![cfg(all(feature = "serve", feature = "v3"))]

#[expect(dead_code, reason = "each test file uses a part")]
mod support;

use std::{sync::Arc, time::Duration};

use fastrand::Rng;
use patio::{DisconnectReason, Reply, Socket, extract::Args};
use support::{Eio, Http, Server, V3, V4, WsClient, soon, target};
use tokio::{sync::mpsc, task::JoinSet};

const CLIENTS: usize = 40;
const ROUNDS: usize = 15;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_left_of_clients_that_do_what_they_like() {
    let builder = patio::Server::builder()
        .ping_interval(Duration::from_millis(40))
        .ping_timeout(Duration::from_millis(30))
        .upgrade_timeout(Duration::from_millis(50))
        .connect_timeout(Duration::from_millis(100))
        .max_http_buffer_size(10_000)
        .max_handlers(3)
        .max_parked_bytes(1_000)
        .max_outbound_bytes(100_000)
        .max_connections(CLIENTS * 2);
    let server = Arc::new(Server::start(builder).await);
    let (sender, mut ends) = mpsc::unbounded_channel::<i32>();
    let begins = sender.clone();
    server.io.of("/").on_connect(async move |socket: Socket| {
        begins.send(1).unwrap();
        socket.join(["everyone", "room"]);
    });
    server.io.on_disconnect(async move |_: Socket, _: DisconnectReason| sender.send(-1).unwrap());
    server.io.on("echo", async |args: Args| Reply(args));
    server.io.on("slow", async |socket: Socket| {
        tokio::time::sleep(Duration::from_millis(5)).await;
        socket.to("room").emit("slow", &"x".repeat(1000))
    });
    server.io.on("leave", async |socket: Socket| socket.disconnect(true));

    let mut tasks = JoinSet::new();
    for seed in 0..CLIENTS {
        let server = Arc::clone(&server);
        tasks.spawn(async move {
            let mut random = Rng::with_seed(seed as u64);
            for _ in 0..ROUNDS {
                act(&server, &mut random).await;
            }
        });
    }
    let io = server.io.clone();
    let broadcasts = tokio::spawn(async move {
        for n in 0_u32.. {
            io.to("everyone").emit("tick", &n).unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    broadcasts.abort();

    server.until(|io| io.engine().clients_count() == 0).await;
    let counters = server.io.counters();
    assert_eq!(counters.opened, counters.closed);
    assert_eq!(counters.panics, 0);
    assert!(counters.opened > 100, "{counters:?}");
    assert!(server.io.of("/").is_empty());
    assert_eq!(server.io.of("/").rooms(), Vec::<patio::Room>::new());
    // Each socket that was connected was disconnected, once.
    let mut connected = 0;
    while let Ok(one) = ends.try_recv() {
        connected += one;
    }
    assert_eq!(connected, 0);
    // Every place is free: as many clients as may come at all find one.
    let mut all = Vec::new();
    for _ in 0..CLIENTS * 2 {
        all.push(server.ws(V4).await);
    }
    drop(all);
    soon(server.io.close()).await;
    assert_eq!(server.io.engine().clients_count(), 0);
}

/// One client's life.
async fn act(server: &Server, random: &mut Rng) {
    let eio = if random.bool() { V4 } else { V3 };
    let open = target(&format!("EIO={}&transport=", eio.number()));
    if random.bool() {
        let Ok(mut ws) = server.upgrade(&format!("{open}websocket"), &[]).await else { return };
        return over_websocket(&mut ws, eio, random).await;
    }
    let mut http = Http::connect(server.addr).await;
    http.send("GET", &format!("{open}polling"), &[], b"").await;
    let Some(answer) = http.response_or_end().await else { return };
    if answer.status != 200 {
        return;
    }
    let at = answer.text().find('{').unwrap();
    let sid = support::json(&answer.text()[at..])["sid"].as_str().unwrap().to_owned();
    let session = format!("{open}polling&sid={sid}");
    let mut posts = Http::connect(server.addr).await;
    for _ in 0..random.u32(0..6) {
        match random.u32(0..12) {
            0 => http.send("GET", &session, &[], b"").await,
            1 => http = Http::connect(server.addr).await,
            2 => posts = Http::connect(server.addr).await,
            3 => {
                let half = format!("POST {session} HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n4");
                posts.send_raw(half.as_bytes()).await;
            }
            4 => {
                posts.send("POST", &session, &[], &[b'4'; 10_001]).await;
                posts.response_or_end().await;
                posts = Http::connect(server.addr).await;
            }
            5 | 6 => {
                let candidate = format!("{open}websocket&sid={sid}");
                let Ok(mut ws) = server.upgrade(&candidate, &[]).await else { return };
                match random.u32(0..4) {
                    0 => ws.send("2probe").await,
                    1 => ws.send("4wrong").await,
                    _ => {
                        ws.send("2probe").await;
                        ws.send("5").await;
                        return over_websocket(&mut ws, eio, random).await;
                    }
                }
            }
            _ => {
                let packet = packet(random);
                let body = match eio {
                    V4 => packet.to_owned(),
                    V3 => format!("{}:{packet}", packet.len()),
                };
                posts.send("POST", &session, &[], body.as_bytes()).await;
                if random.bool() {
                    posts.response_or_end().await;
                }
            }
        }
    }
}

async fn over_websocket(ws: &mut WsClient, eio: Eio, random: &mut Rng) {
    if eio == V4 && random.u32(0..8) > 0 {
        ws.send("40").await;
    }
    for _ in 0..random.u32(0..8) {
        match random.u32(0..10) {
            0 => ws.send_raw(&[0x81, 0xff, 0]).await,
            1 => ws.send_message(&patio_proto::ws::Message::Close(None)).await,
            2 => tokio::time::sleep(Duration::from_millis(random.u64(0..90))).await,
            3 => {
                let next = ws.message();
                // Whether something comes or not.
                let _ = tokio::time::timeout(Duration::from_millis(10), next).await;
            }
            _ => ws.send(packet(random)).await,
        }
    }
}

fn packet(random: &mut Rng) -> &'static str {
    let packets = [
        "40",
        "40",
        "41",
        "2",
        "3",
        "1",
        "421[\"echo\",1]",
        "42[\"slow\"]",
        "42[\"slow\"]",
        "42[\"leave\"]",
        "451-[\"echo\",{\"_placeholder\":true,\"num\":0}]",
        "bAQID",
        "40/unknown,",
        "42[",
        "x",
    ];
    packets[random.usize(0..packets.len())]
}
