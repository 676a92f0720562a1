//! What may wait to be written to one client.

use std::time::Duration;

use patio::{ServerBuilder, Socket};
use patio_proto::ws;
use tokio::io::AsyncWriteExt;

use crate::{
    Client, builder,
    support::{Server, V3, V4, WsClient},
};

/// The limits, by bytes and by packets.
const LIMITS: [fn() -> ServerBuilder; 2] =
    [|| patient().max_outbound_bytes(500_000), || patient().max_outbound_packets(50)];

/// No pings among the events.
fn patient() -> ServerBuilder {
    builder().ping_interval(Duration::from_secs(600))
}

#[tokio::test]
async fn a_client_that_reads_too_slowly_is_let_go() {
    for limit in LIMITS {
        // On a stream that anyone may write, where the kernel takes much, and on one that only its driver may write.
        let on_tcp = Server::apart(limit()).await;
        let on_pipe = Server::in_memory(limit(), 16 * 1024);
        for (server, bytes) in [(on_tcp, 100_000), (on_pipe, 20_000)] {
            let neighbour = server.neighbour().await;
            let mut quick = server.ws(V4).await;
            quick.join("/").await;
            let message = "x".repeat(bytes);
            for (slow, eio) in (1..).zip([V4, V3]) {
                // Pipes have no port.
                let stream = match server.addr.port() {
                    0 => server.connector()().await,
                    _ => server.narrow().await.stream,
                };
                let mut ws = WsClient::open(stream, eio, "", &[]).await;
                ws.join("/").await;
                let mut sent = 0;
                while server.io.counters().slow_clients < slow {
                    server.io.except("neighbour").emit("flood", &(sent, &message)).unwrap();
                    assert!(quick.text().await.starts_with(&format!("42[\"flood\",{sent},\"xxx")));
                    sent += 1;
                    assert!(sent < 1_000, "nobody is let go");
                }
                assert_eq!(server.reason().await, "slow client");
            }
            // Whoever reads is not touched.
            server.io.emit("still", &()).unwrap();
            assert_eq!(quick.text().await, "42[\"still\"]");
            neighbour.felt_nothing().await;
        }
    }
}

#[tokio::test]
async fn a_client_that_polls_too_slowly_is_let_go() {
    for limit in LIMITS {
        let server = Server::apart(limit()).await;
        let neighbour = server.neighbour().await;
        let mut quick = server.ws(V4).await;
        quick.join("/").await;
        for (slow, eio) in (1..).zip([V4, V3, V4, V3]) {
            let mut polling = server.polling(eio).await;
            polling.join("/").await;
            let message = "x".repeat(9_900);
            let mut sent = 0;
            while server.io.counters().slow_clients < slow {
                server.io.except("neighbour").emit("flood", &(sent, &message)).unwrap();
                assert_eq!(quick.text().await, format!("42[\"flood\",{sent},\"{message}\"]"));
                sent += 1;
                assert!(sent <= 51, "nobody is let go");
            }
            assert_eq!(sent, 51);
            assert_eq!(server.reason().await, "slow client");
            assert_eq!(polling.poll().await.text(), r#"{"code":1,"message":"Session ID unknown"}"#);
        }
        neighbour.felt_nothing().await;
    }
}

/// An answer that is not read waits in the HTTP server.
#[tokio::test(start_paused = true)]
async fn answers_that_are_not_read_wait_too() {
    let server = Server::in_memory(patient().max_outbound_bytes(1_000_000), 64 * 1024);
    let neighbour = server.timeless_neighbour().await;
    for (slow, eio) in (1..).zip([V4, V3]) {
        let mut polling = server.polling(eio).await;
        let id = polling.join("/").await;
        let message = "x".repeat(600_000);
        let to = server.io.to(&id);
        let say = || to.clone().emit("large", &message).unwrap();
        // One that is read costs nothing.
        for _ in 0..3 {
            say();
            assert_eq!(polling.text().await.len(), message.len() + 14);
        }
        polling.start_poll().await;
        say();
        // Until nobody has anything to do, so that the answer is on its way.
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(server.io.counters().slow_clients, slow - 1);
        say();
        assert_eq!(server.io.counters().slow_clients, slow);
        assert_eq!(server.reason().await, "slow client");
    }
    neighbour.felt_nothing().await;
}

#[tokio::test]
async fn one_packet_of_any_size_fits_an_empty_queue() {
    let server = Server::apart(builder().max_outbound_bytes(1_000)).await;
    let neighbour = server.neighbour().await;
    let mut clients = Client::all(&server).await;
    let large = "x".repeat(1_000_000);
    server.io.except("neighbour").emit("large", &large).unwrap();
    for client in &mut clients {
        assert_eq!(client.text().await, format!("42[\"large\",\"{large}\"]"));
    }
    neighbour.felt_nothing().await;
}

#[tokio::test]
async fn who_sends_much_may_wait() {
    let server = Server::apart(builder().max_outbound_bytes(100_000)).await;
    server.io.on("much", async |socket: Socket| {
        for n in 0..60 {
            socket.emit("chunk", &(n, "x".repeat(50_000))).unwrap();
            socket.flushed().await;
        }
    });
    for mut client in Client::all(&server).await {
        client.send("42[\"much\"]").await;
        for n in 0..60 {
            assert!(client.text().await.starts_with(&format!("42[\"chunk\",{n},")));
        }
    }
    assert_eq!(server.io.counters().slow_clients, 0);
}

/// Polling has no pings that the client may send as it likes, but in protocol 3, whose pongs wait for a poll.
#[tokio::test]
async fn pings_of_a_client_that_does_not_read_fill_its_own_queue_only() {
    let server = Server::in_memory(builder().max_outbound_packets(100), 1024);
    let neighbour = server.neighbour().await;
    let mut pings = Vec::new();
    for _ in 0..1_000 {
        ws::encode(&mut pings, ws::Opcode::Ping, &[7; 125], Some([1, 2, 3, 4]));
    }
    for eio in [V4, V3] {
        let mut ws = server.ws(eio).await;
        ws.join("/").await;
        let (_reader, mut writer) = tokio::io::split(ws.stream);
        let pings = pings.clone();
        let flood = tokio::spawn(async move { while writer.write_all(&pings).await.is_ok() {} });
        assert_eq!(server.reason().await, "slow client");
        flood.abort();
    }
    let mut polling = server.polling(V3).await;
    polling.join("/").await;
    polling.post("1:2".repeat(101)).await;
    assert_eq!(server.reason().await, "slow client");
    neighbour.felt_nothing().await;
}
