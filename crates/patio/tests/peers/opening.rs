//! Peers that begin many connections and finish none, and heads of requests without an end.

use std::{env, future::poll_fn, pin::Pin};

use tokio::{
    io::{AsyncReadExt, AsyncWrite},
    time::{Instant, sleep},
};

use crate::{
    KB, MB,
    host::{Host, SHORT},
    ms,
    support::{Http, V3, V4, process::Process, soon, target},
};

/// Marks the process in which as many files may be open as the machine allows.
const MANY: &str = "PATIO_PEERS_MANY";

/// Each is half of one: of a request, of a WebSocket, or of a session that never joins.
#[tokio::test]
async fn one_that_opens_a_thousand_half_handshakes() {
    if env::var(MANY).is_err() {
        let test = "opening::one_that_opens_a_thousand_half_handshakes";
        assert!(Process::start(test, &[(MANY, "")]).ended().success());
        return;
    }
    for whole in ["nothing", "half", "websocket", "polling"] {
        let mut host = Host::hasty(SHORT).await;
        let mut peers = Vec::new();
        for n in 0..1_000 {
            let mut http = host.http().await;
            let eio = if n % 2 == 0 { V4 } else { V3 };
            // A client of protocol 3 that never joins cannot be: it is in the main namespace. It is silent instead.
            let query = |transport| format!("EIO={}&transport={transport}", eio.number());
            match whole {
                "nothing" => {}
                "half" => http.send_raw(b"GET /socket.io/?EIO=4 HTTP/1.1\r\nhost: x\r\n").await,
                "polling" => http.send("GET", &target(&query("polling")), &[], b"").await,
                _ => {
                    let upgrade = [
                        ("connection", "upgrade"),
                        ("upgrade", "websocket"),
                        ("sec-websocket-version", "13"),
                        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
                    ];
                    http.send("GET", &target(&query("websocket")), &upgrade, b"").await;
                }
            }
            peers.push(http);
        }
        // One for the connection, one for the session, one for a moment until the WebSocket is handed over.
        host.has_tasks(3_000);
        let (most, reasons) = match whole {
            "nothing" => (12 * MB, &[][..]),
            "half" => (20 * MB, &[][..]),
            _ => (30 * MB, &[("ping timeout", 500)][..]),
        };
        println!("{whole}:");
        host.lets_go(4 * SHORT, most, reasons).await;
        drop(peers);
    }
}

/// As fast as it can, and a little at a time.
#[tokio::test]
async fn one_whose_headers_never_end() {
    let host = Host::hasty(SHORT).await;
    let mut quick: Vec<Http> = Vec::new();
    for n in 0..20 {
        let mut http = host.http().await;
        http.send_raw(format!("GET {} HTTP/1.1\r\n", target("EIO=4&transport=polling")).as_bytes()).await;
        // One line without an end, or lines without an end; the server stops reading at 16 KiB.
        let line = if n % 2 == 0 { "x".repeat(64 * KB) } else { "x: 1\r\n".repeat(10 * KB) };
        http.send_raw(line.as_bytes()).await;
        assert_eq!(http.response().await.status, 431);
        quick.push(http);
    }
    let mut slow = Vec::new();
    for _ in 0..20 {
        let mut http = host.http().await;
        http.send_raw(format!("GET {} HTTP/1.1\r\n", target("EIO=4&transport=polling")).as_bytes()).await;
        slow.push(http);
    }
    let start = Instant::now();
    let mut cut = false;
    while !cut {
        sleep(ms(20)).await;
        for http in &mut slow {
            // A server that has closed refuses it.
            let wrote = soon(poll_fn(|cx| Pin::new(&mut http.stream).poll_write(cx, b"x: 1\r\n"))).await;
            cut |= wrote.is_err();
        }
        assert!(start.elapsed() < SHORT + ms(4_000), "its headers are still read");
    }
    for http in &mut slow {
        assert_eq!(soon(http.stream.read(&mut [0; 9])).await.unwrap_or(0), 0);
    }
    host.lets_go(SHORT, 3 * MB, &[]).await;
    drop((quick, slow));
}
