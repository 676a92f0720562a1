//! Peers that do not read what they are sent, or a little at a time.

use std::time::Duration;

use tokio::{
    io::AsyncReadExt,
    time::{Instant, sleep},
};

use crate::{
    MB,
    host::{Host, SHORT},
    joined, ms, polling,
    support::{PATIENCE, Server, V3, V4, soon},
};

/// Node has no reason `slow client`: what waits there has no bound.
#[tokio::test]
async fn one_that_stops_reading() {
    let mut host = Host::start().await;
    let (mut sockets, mut polls) = (Vec::new(), Vec::new());
    for eio in [V4, V3] {
        sockets.push(joined(&host, eio).await);
        polls.push(polling(&host, eio).await);
    }
    // 30 MB for each.
    for _ in 0..300 {
        host.emit(100_000);
    }
    // The queues of 16 MiB, and what was being sent.
    host.lets_go(PATIENCE, 4 * 17 * MB + 8 * MB, &[("slow client", 4)]).await;
    drop((sockets, polls));
}

/// A poll's answer has left the queue: the session waits for the next poll, and the connection for the peer.
#[tokio::test]
async fn one_that_stops_reading_an_answer() {
    // Longer than the answer takes to be made.
    let time = 2 * SHORT;
    let mut host = Host::hasty(time).await;
    let mut polls = Vec::new();
    for eio in [V4, V3] {
        let mut polling = polling(&host, eio).await;
        polling.gets = host.narrow().await;
        polling.start_poll().await;
        polls.push(polling);
    }
    host.emit(8 * MB);
    for polling in &mut polls {
        let mut head = [0; 17];
        soon(polling.gets.stream.read_exact(&mut head)).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200 OK\r\n");
    }
    // The event, its packet and the answer, of each, and what is made on the way.
    host.lets_go(2 * time, 2 * 4 * 8 * MB, &[("ping timeout", 2)]).await;
    drop(polls);
}

/// It answers pings, so that only its queue can tell.
#[tokio::test(start_paused = true)]
async fn one_that_reads_one_byte_a_second() {
    for eio in [V4, V3] {
        let server = Server::in_memory(patio::Server::builder(), 1_024);
        let mut ws = server.ws(eio).await;
        ws.join("/").await;
        let message = "x".repeat(100_000);
        let start = Instant::now();
        let mut seconds = 0;
        while server.io.counters().slow_clients == 0 {
            server.io.emit("flood", &message).unwrap();
            ws.stream.read_u8().await.unwrap();
            if seconds % 20 == 0 {
                ws.send(if eio == V4 { "3" } else { "2" }).await;
            }
            seconds += 1;
            sleep(Duration::from_secs(1)).await;
        }
        // 16 MiB of it.
        assert_eq!((seconds, start.elapsed().as_secs()), (169, 169));
        assert_eq!(server.reason().await, "slow client");
        let start = Instant::now();
        server.until(|io| io.engine().clients_count() == 0).await;
        assert!(start.elapsed() <= Duration::from_secs(5) + ms(10), "{:?}", start.elapsed());
    }
}
