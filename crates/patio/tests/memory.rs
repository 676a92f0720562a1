//! A guard, not yet the goal: what a connection costs the process, with everything that a real browser brings.
//!
//! Clients open a session by polling, with the headers of a Chromium, join a namespace and a room, and go on over a
//! WebSocket. Server and clients are processes of their own, started by the test: each is this program again, with its
//! part in the environment. What is measured is the resident memory of the server.

#![cfg(all(feature = "serve", target_os = "linux"))]

#[expect(dead_code, reason = "each test file uses a part")]
mod support;

use std::{
    env,
    io::stdin,
    sync::Arc,
    time::{Duration, Instant},
};

use patio::{Server as Patio, Socket, Transport};
use support::{
    Connector, PollingClient, Stream, V4, WsClient,
    process::{Process, memory, tell},
};
use tokio::{net::TcpStream, task::JoinSet};

/// Connections whose cost is measured.
const CONNECTIONS: usize = 5_000;

/// Connections before the first measurement, so that what a server needs once is not counted.
const FIRST: usize = 100;

/// What one connection may cost.
const MOST: usize = 6_000;

/// How long all of them may take to come.
const PATIENCE: Duration = Duration::from_secs(300);

/// The only test.
const TEST: &str = "a_connection_costs_less_than_6_kb";

/// Where a process finds its part, and the server's address.
const PART: &str = "PATIO_MEMORY_PART";
const ADDR: &str = "PATIO_MEMORY_ADDR";

/// What a Chromium sends with its first poll, `Host` apart: 14 headers in all.
const CHROMIUM: [(&str, &str); 13] = [
    ("Connection", "keep-alive"),
    ("sec-ch-ua-platform", "\"Linux\""),
    (
        "User-Agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
    ),
    ("sec-ch-ua", "\"Chromium\";v=\"141\", \"Not?A_Brand\";v=\"8\", \"Google Chrome\";v=\"141\""),
    ("sec-ch-ua-mobile", "?0"),
    ("Accept", "*/*"),
    ("Sec-Fetch-Site", "same-origin"),
    ("Sec-Fetch-Mode", "cors"),
    ("Sec-Fetch-Dest", "empty"),
    ("Referer", "https://chat.example.com/rooms/lobby?from=invitation"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Accept-Language", "en-US,en;q=0.9,de;q=0.8"),
    (
        "Cookie",
        "theme=dark; session=eyJ1c2VyIjoiNjYxMmIzZjQ5YzdhIn0.Zx3k1w.mXr0s2Yw6Qk1nqgE0bVbqf8H3vU; lang=en",
    ),
];

/// What it sends with the upgrade besides the fields of the WebSocket.
const CHROMIUM_UPGRADE: [(&str, &str); 6] = [
    ("Pragma", "no-cache"),
    ("Cache-Control", "no-cache"),
    CHROMIUM[2],
    ("Origin", "https://chat.example.com"),
    CHROMIUM[11],
    CHROMIUM[12],
];

#[test]
fn a_connection_costs_less_than_6_kb() {
    match env::var(PART).as_deref() {
        Ok("server") => serve(),
        Ok(_) => connect(),
        Err(_) => guard(),
    }
}

/// The test: starts both, measures between.
fn guard() {
    let part = |part, addr| Process::start(TEST, &[(PART, part), (ADDR, addr)]);
    let mut server = part("server", "");
    let addr = server.said();
    let mut clients = part("clients", &addr);
    let measure = |clients: &mut Process, server: &mut Process, connections: usize| -> usize {
        clients.say(&connections.to_string());
        assert_eq!(clients.said(), "connected");
        server.say(&connections.to_string());
        server.said().parse().unwrap()
    };
    let before = measure(&mut clients, &mut server, FIRST);
    let after = measure(&mut clients, &mut server, FIRST + CONNECTIONS);
    let each = after.saturating_sub(before) / CONNECTIONS;
    println!("{each} bytes for each of {CONNECTIONS} connections, on top of {before}");
    assert!(each < MOST, "{each} bytes for each connection");
    assert!(each > 300, "{each} bytes for each connection: that cannot be");
}

#[tokio::main(worker_threads = 2)]
async fn serve() {
    // None of the clients answers a ping, and on a busy machine they take longer to come than a ping may be unanswered.
    let io = Patio::builder().ping_interval(PATIENCE).build().unwrap();
    io.on_connect(async |socket: Socket| socket.join("room"));
    // An address of its own, so that the ports of runs before do not matter.
    let own = 1 + (std::process::id() % 250) as u8;
    let listener = patio::listen(([127, own, 7, own], 0).into()).unwrap();
    tell(listener.local_addr().unwrap());
    tokio::spawn(patio::serve(listener, io.service()).into_future());
    tokio::task::spawn_blocking(move || {
        for line in stdin().lines() {
            let connections: usize = line.unwrap().parse().unwrap();
            let is_ready = || {
                let sockets = io.of("/").sockets();
                let upgraded =
                    sockets.iter().filter(|socket| socket.conn().transport() == Transport::WebSocket);
                upgraded.count() == connections && io.of("/").room_len("room") == connections
            };
            let end = Instant::now() + PATIENCE;
            while !is_ready() {
                assert!(Instant::now() < end, "not all of {connections} clients are there");
                std::thread::sleep(Duration::from_millis(1));
            }
            // What handshakes need is given back by tasks that end a moment later.
            std::thread::sleep(Duration::from_millis(300));
            tell(memory("VmRSS"));
        }
    })
    .await
    .unwrap();
}

#[tokio::main(worker_threads = 2)]
async fn connect() {
    let addr: std::net::SocketAddr = env::var(ADDR).unwrap().parse().unwrap();
    let connector: Connector = Arc::new(move || {
        Box::pin(async move {
            let stream = TcpStream::connect(addr).await.unwrap();
            stream.set_nodelay(true).unwrap();
            Box::new(stream) as Stream
        })
    });
    let mut connected = Vec::new();
    let mut opening = JoinSet::new();
    for line in stdin().lines() {
        let wanted: usize = line.unwrap().parse().unwrap();
        let mut left = wanted - connected.len();
        while left > 0 || !opening.is_empty() {
            // As many at once as come to a busy server, not all.
            while left > 0 && opening.len() < 32 {
                left -= 1;
                opening.spawn(open(Arc::clone(&connector)));
            }
            connected.push(opening.join_next().await.unwrap().unwrap());
        }
        tell("connected");
    }
}

/// A session that began with polling and has upgraded.
async fn open(connector: Connector) -> WsClient {
    let mut polling = PollingClient::open(&connector, V4, "", &CHROMIUM).await;
    polling.join("/").await;
    polling.start_poll().await;
    let target = support::target(&format!("EIO=4&transport=websocket&sid={}", polling.sid()));
    let mut ws = WsClient::handshake(connector().await, &target, &CHROMIUM_UPGRADE).await.ok().unwrap();
    ws.send("2probe").await;
    assert_eq!(ws.text().await, "3probe");
    assert_eq!(polling.polled().await.text(), "6");
    ws.send("5").await;
    ws
}
