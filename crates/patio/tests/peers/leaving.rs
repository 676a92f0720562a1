//! Peers that go without saying so.

use tokio::io::AsyncWriteExt;

use crate::{
    KB, MB,
    host::{Host, SHORT},
    joined, polling,
    support::{Http, V3, V4},
};

/// How many of each.
const PEERS: usize = 25;

/// One that does so before its request was looked at has not made it: hyper drops that. To the server it is silent.
#[tokio::test]
async fn one_that_half_closes() {
    let mut host = Host::start().await;
    let mut open: Vec<Http> = Vec::new();
    let mut waits = 0;
    for eio in [V4, V3] {
        for _ in 0..PEERS {
            let mut ws = joined(&host, eio).await;
            ws.stream.shutdown().await.unwrap();
            // A poll that waits, and a body of which the server has begun to read.
            let mut waiting = polling(&host, eio).await;
            waiting.start_poll().await;
            waits += 1;
            host.polls(waits).await;
            waiting.gets.stream.shutdown().await.unwrap();
            let mut posting = polling(&host, eio).await;
            let head = format!(
                "POST {} HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\nexpect: 100-continue\r\n\r\n",
                posting.target()
            );
            posting.posts.send_raw(head.as_bytes()).await;
            assert_eq!(posting.posts.response().await.status, 100);
            posting.posts.send_raw(b"4").await;
            posting.posts.stream.shutdown().await.unwrap();
            // The half that they can still read from stays open.
            open.extend([Http::new(ws.stream), waiting.gets, posting.posts]);
        }
    }
    host.has_tasks(6 * 3 * PEERS);
    let reasons = [("transport close", 2 * PEERS as u64), ("transport error", 4 * PEERS as u64)];
    host.lets_go(SHORT, 4 * MB, &reasons).await;
    drop(open);
}

/// Without FIN or reset: to the server it is a peer that says nothing any more.
#[tokio::test]
async fn one_that_vanishes() {
    let mut host = Host::hasty(SHORT).await;
    let (mut sockets, mut polls) = (Vec::new(), Vec::new());
    for eio in [V4, V3] {
        for _ in 0..PEERS {
            sockets.push(joined(&host, eio).await);
            // One whose poll waits, one between two polls.
            for waits in [true, false] {
                let mut polling = polling(&host, eio).await;
                if waits {
                    polling.start_poll().await;
                }
                polls.push(polling);
            }
        }
    }
    host.has_tasks(2 * PEERS * 7);
    // They are waited for as long again to hear of it.
    host.lets_go(4 * SHORT, 150 * PEERS * KB, &[("ping timeout", 6 * PEERS as u64)]).await;
    drop((sockets, polls));
}

#[tokio::test]
async fn one_that_resets() {
    let host = Host::start().await;
    for eio in [V4, V3] {
        for _ in 0..PEERS {
            let stream = tokio::net::TcpStream::connect(host.addr).await.unwrap();
            socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
            let mut ws = crate::support::WsClient::open(stream, eio, "", &[]).await;
            ws.join("/").await;
        }
    }
    host.lets_go(SHORT, 2 * MB, &[("transport close", 2 * PEERS as u64)]).await;
}
