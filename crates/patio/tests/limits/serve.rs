//! The limits of `patio::serve`, which hold for each TCP connection before anything is a session.

use tokio::{
    io::AsyncReadExt,
    time::{Instant, sleep, timeout},
};

use crate::{
    builder, ms,
    support::{Eio, PATIENCE, Server, V3, V4, soon, target},
};

/// A request for a session, without the empty line at its end.
fn head(eio: Eio, transport: &str) -> String {
    let target = target(&format!("EIO={}&transport={transport}", eio.number()));
    let upgrade = match transport {
        "polling" => "",
        _ => {
            "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        }
    };
    format!("GET {target} HTTP/1.1\r\nhost: x\r\n{upgrade}")
}

#[tokio::test]
async fn headers_are_limited_in_number_and_size() {
    let server = Server::apart(builder().max_headers(usize::MAX).max_header_bytes(usize::MAX)).await;
    let neighbour = server.neighbour().await;
    for eio in [V4, V3] {
        for (transport, own, done) in [("polling", 1, 200), ("websocket", 5, 101)] {
            let fields = |n: usize| -> String { (own..n).map(|n| format!("x-{n}: 1\r\n")).collect() };
            let bytes = |n: usize| format!("x: {}\r\n", "x".repeat(n));
            let cases =
                [(fields(100), done), (fields(101), 431), (bytes(15_000), done), (bytes(16 * 1024), 431)];
            for (more, status) in cases {
                let mut http = server.http().await;
                http.send_raw(format!("{}{more}\r\n", head(eio, transport)).as_bytes()).await;
                assert_eq!(http.response().await.status, status, "{eio:?} {transport} {}", more.len());
            }
        }
    }
    assert_eq!(server.io.counters().large_heads, 0);
    neighbour.felt_nothing().await;
}

#[tokio::test]
async fn clients_that_dawdle_over_their_headers_are_cut() {
    let time = ms(100);
    let server = Server::apart_with(builder(), move |serve| serve.header_read_timeout(time)).await;
    let neighbour = server.neighbour().await;
    let mut heads = vec![(String::new(), 0)];
    for eio in [V4, V3] {
        heads.extend([(head(eio, "polling"), 0), (head(eio, "websocket"), 0)]);
        // Between two requests; a WebSocket has one.
        heads.push((format!("{}\r\n", head(eio, "polling")), 200));
    }
    for (head, answered) in heads {
        let mut http = server.http().await;
        let start = Instant::now();
        http.send_raw(head.as_bytes()).await;
        if answered > 0 {
            assert_eq!(http.response().await.status, answered);
        }
        assert_eq!(soon(http.stream.read(&mut [0; 100])).await.unwrap_or(0), 0, "{head}");
        assert!((time..PATIENCE).contains(&start.elapsed()), "{:?}", start.elapsed());
    }
    neighbour.felt_nothing().await;
}

#[tokio::test]
async fn there_may_be_so_many_tcp_connections() {
    let server = Server::apart_with(builder(), |serve| serve.max_connections(2)).await;
    let neighbour = server.neighbour().await;
    for eio in [V4, V3] {
        // The one beside the neighbour: a WebSocket keeps its place, a connection for polling gives it back.
        let ws = server.ws(eio).await;
        let mut waiting = Vec::new();
        for transport in ["polling", "websocket"] {
            let mut http = server.http().await;
            http.send_raw(format!("{}\r\n", head(eio, transport)).as_bytes()).await;
            waiting.push(http);
        }
        for http in &mut waiting {
            let answer = timeout(ms(20), http.stream.read(&mut [0])).await;
            assert!(answer.is_err(), "it was not its turn");
        }
        drop(ws);
        for (mut http, status) in waiting.into_iter().zip([200, 101]) {
            assert_eq!(http.response().await.status, status);
        }
        // The WebSocket's place is free when its session has ended.
        server.until(|io| io.engine().clients_count() == if eio == V4 { 2 } else { 3 }).await;
    }
    neighbour.felt_nothing().await;
}

/// A WebSocket is no answer any more: its queue is limited, and its silence.
#[tokio::test]
async fn an_answer_must_be_taken_in_time() {
    // More than the kernel takes on the way.
    const BYTES: usize = 8_000_000;
    let server = Server::apart_with(builder(), |serve| serve.write_timeout(ms(500))).await;
    let mut pollings = Vec::new();
    for eio in [V4, V3, V4, V3] {
        let mut polling = server.polling(eio).await;
        let id = polling.join("/").await;
        polling.gets = server.narrow().await;
        polling.start_poll().await;
        server.poll_waits().await;
        server.io.to(id).emit("large", &"x".repeat(BYTES)).unwrap();
        let mut head = [0; 17];
        soon(polling.gets.stream.read_exact(&mut head)).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200 OK\r\n");
        pollings.push(polling);
    }
    // Answers of this size take a while to be made: it comes when they are.
    let neighbour = server.neighbour().await;
    // Four times as long as they may read nothing.
    sleep(ms(2_000)).await;
    let mut rests = Vec::new();
    for polling in &mut pollings {
        let mut rest = Vec::new();
        // The end may be a reset.
        let _ = soon(polling.gets.stream.read_to_end(&mut rest)).await;
        rests.push(rest.len());
    }
    assert!(rests.iter().all(|&rest| rest < BYTES), "{rests:?}");
    neighbour.felt_nothing().await;
}
