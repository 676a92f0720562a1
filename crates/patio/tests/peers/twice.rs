//! Peers that do twice at once what may be done once at a time. What each hears: `engine_polling` and `engine_upgrade`.

use tokio::io::AsyncWriteExt;

use crate::{
    MB,
    host::{Host, SHORT},
    polling,
    support::{V3, V4, WsClient},
};

/// How many of each.
const PEERS: usize = 25;

#[tokio::test]
async fn one_that_polls_and_posts_twice_at_once() {
    let mut host = Host::hasty(SHORT).await;
    let mut peers = Vec::new();
    for eio in [V4, V3] {
        for _ in 0..PEERS {
            // Both polls are open, whichever comes first.
            let mut polls = polling(&host, eio).await;
            polls.start_poll().await;
            let mut other = host.http().await;
            other.send("GET", &polls.target(), &[], b"").await;
            // The first body never ends.
            let mut posts = polling(&host, eio).await;
            let head = format!("POST {} HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n4", posts.target());
            posts.posts.send_raw(head.as_bytes()).await;
            let mut second = host.http().await;
            second.send_raw(head.as_bytes()).await;
            for http in [&mut posts.posts, &mut second] {
                assert_eq!(http.response().await.status, 400);
            }
            let mut answers = [polls.gets.response().await.status, other.response().await.status];
            answers.sort_unstable();
            assert_eq!(answers, [200, 400]);
            peers.push((polls, other, posts, second));
        }
    }
    host.has_tasks(2 * PEERS * 8);
    host.lets_go(2 * SHORT, 6 * MB, &[("transport error", 4 * PEERS as u64)]).await;
    drop(peers);
}

/// Each WebSocket of a session but the first is one too many.
#[tokio::test]
async fn one_that_upgrades_twice() {
    let mut host = Host::start().await;
    let mut peers = Vec::new();
    for eio in [V4, V3] {
        let polling = polling(&host, eio).await;
        let mut first = host.candidate(eio, polling.sid()).await;
        first.send("2probe").await;
        assert_eq!(first.text().await, "3probe");
        let mut others: Vec<WsClient> = Vec::new();
        for _ in 0..50 {
            others.push(host.candidate(eio, polling.sid()).await);
        }
        for ws in &mut others {
            ws.closes_silently().await;
        }
        first.send("5").await;
        first.send("420[\"x\"]").await;
        while first.text().await != "430[0]" {}
        // Nor may the session be taken over once more.
        host.candidate(eio, polling.sid()).await.closes_silently().await;
        peers.push((polling, first, others));
    }
    host.has_clients(2);
    // The session and its polls; for a moment a WebSocket and its request. One that was closed has a second to go.
    host.has_tasks(2 * (1 + 2 + 2 * 52));
    let mut sockets = Vec::new();
    for (_, mut first, others) in peers {
        first.stream.shutdown().await.unwrap();
        sockets.push((first, others));
    }
    host.lets_go(SHORT, 4 * MB, &[("transport close", 2)]).await;
    drop(sockets);
}
