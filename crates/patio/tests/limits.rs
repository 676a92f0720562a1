//! Every limit of a server, crossed: over both transports and with both protocols where that makes a difference. What
//! one client does too much never touches another one.

#![cfg(all(feature = "serve", feature = "v3"))]

#[expect(dead_code, reason = "each test file uses a part")]
mod support;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use patio::{
    Reply, ServerBuilder, Socket,
    extract::{Args, Data, Event as Name},
};
use patio_proto::ws;
use support::{Engine, Event, Http, PollingClient, Server, V3, V4, WsClient, target};
use tokio::{
    io::AsyncWriteExt,
    sync::{Semaphore, mpsc},
    time::{Instant, sleep, timeout},
};

fn builder() -> ServerBuilder {
    patio::Server::builder()
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A client in the main namespace, over either transport.
enum Client {
    Polling(PollingClient),
    Ws(WsClient),
}

impl Client {
    /// One of each transport and protocol.
    async fn all(server: &Server) -> Vec<Self> {
        let mut all = Vec::new();
        for eio in [V4, V3] {
            let mut polling = server.polling(eio).await;
            polling.join("/").await;
            let mut ws = server.ws(eio).await;
            ws.join("/").await;
            all.extend([Self::Polling(polling), Self::Ws(ws)]);
        }
        all
    }

    async fn send(&mut self, packet: &str) {
        match self {
            Self::Polling(polling) => polling.send(packet).await,
            Self::Ws(ws) => ws.send(packet).await,
        }
    }

    async fn send_binary(&mut self, bytes: &[u8]) {
        match self {
            Self::Polling(polling) => polling.send_binary(bytes).await,
            Self::Ws(ws) => ws.send_binary(bytes).await,
        }
    }

    async fn text(&mut self) -> String {
        match self {
            Self::Polling(polling) => polling.text().await,
            Self::Ws(ws) => ws.text().await,
        }
    }

    /// That the server ends the connection without another word.
    async fn is_closed(&mut self) {
        match self {
            Self::Polling(polling) => assert!(polling.poll().await.text().contains('6')),
            Self::Ws(ws) => ws.closes_silently().await,
        }
    }
}

/// A server that answers each event by the number of its arguments, to each of several clients.
async fn counting(builder: ServerBuilder) -> Server {
    let server = Server::start(builder).await;
    server.io.on("x", async |Args(args): Args| Reply(args.len()));
    server
}

// What one message or payload may hold.

#[tokio::test]
async fn a_websocket_message_may_have_so_many_bytes() {
    let engine = Engine::start(builder().max_http_buffer_size(100)).await;
    for eio in [V4, V3] {
        let mut ws = engine.ws(eio).await;
        engine.client().await;
        // The limit counts the type, as Node does.
        let fits = format!("4{}", "x".repeat(99));
        ws.send(&fits).await;
        assert_eq!(engine.message().await, fits[1..]);
        assert_eq!(ws.text().await, fits);
        ws.send(&format!("{fits}x")).await;
        assert_eq!(ws.closed().await, 1009);
        assert_eq!(engine.closed().await, "transport error");

        let mut ws = engine.ws(eio).await;
        engine.client().await;
        ws.send_binary(&[7; 99]).await;
        assert!(matches!(engine.event().await, Event::Message(_)));
        ws.send_binary(&[7; 101]).await;
        assert_eq!(ws.closed().await, 1009);
        assert_eq!(engine.closed().await, "transport error");

        // A length is enough, nobody waits for the bytes; fragments count together.
        for frames in
            [&b"\x82\xff\x00\x00\x00\xff\x00\x00\x00\x00\x01\x02\x03\x04"[..], &fragments(&[60, 41])]
        {
            let mut ws = engine.ws(eio).await;
            engine.client().await;
            ws.send_raw(frames).await;
            assert_eq!(ws.closed().await, 1009);
            assert_eq!(engine.closed().await, "transport error");
        }
    }
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

/// What is small on the wire may be large in memory: the limit is that of the message.
#[cfg(feature = "deflate")]
#[tokio::test]
async fn a_compressed_message_may_not_be_larger() {
    use flate2::{Compress, Compression, FlushCompress};
    let engine = Engine::start(builder().max_http_buffer_size(10_000).per_message_deflate(0)).await;
    let compressed = |message: &[u8]| {
        let mut payload = Vec::with_capacity(100_000);
        let mut deflate = Compress::new(Compression::default(), false);
        deflate.compress_vec(message, &mut payload, FlushCompress::Sync).unwrap();
        payload.truncate(payload.len() - 4);
        let mut frame = ws::header(ws::Opcode::Text, true, payload.len(), Some([0; 4])).compressed().to_vec();
        frame.extend(payload);
        frame
    };
    let headers = [("sec-websocket-extensions", "permessage-deflate")];
    let mut ws = engine.upgrade(&target("EIO=4&transport=websocket"), &headers).await.ok().unwrap();
    assert!(ws.handshake.header("sec-websocket-extensions").unwrap().contains("permessage-deflate"));
    engine.client().await;
    let fits = [b"4", &[b'x'; 9_999][..]].concat();
    ws.send_raw(&compressed(&fits)).await;
    assert_eq!(engine.message().await.len(), 9_999);
    // A thousand times as much, in fewer bytes than are allowed.
    let bomb = compressed(&[b'4'; 5_000_000]);
    assert!(bomb.len() < 10_000);
    ws.send_raw(&bomb).await;
    assert_eq!(engine.closed().await, "transport error");
}

#[tokio::test]
async fn a_polling_payload_may_have_so_many_bytes() {
    let server = counting(builder().max_http_buffer_size(100)).await;
    for eio in [V4, V3] {
        let mut polling = server.polling(eio).await;
        polling.join("/").await;
        let answer = polling.post("x".repeat(101)).await;
        assert_eq!((answer.brief(), answer.header("connection")), ((413, ""), Some("close")));
        polling.posts = Http::connect(server.addr).await;
        polling.send("420[\"x\"]").await;
        assert_eq!(polling.text().await, "430[0]");
    }
    assert_eq!(server.io.counters().large_bodies, 2);
}

#[tokio::test]
async fn a_payload_may_have_so_many_packets() {
    let engine = Engine::start(builder().max_packets_per_payload(3)).await;
    let (text, octets) = ("text/plain", "application/octet-stream");
    let bodies = [
        (V4, text, &b"40\x1e41\x1e42"[..], &b"\x1e43"[..]),
        (V3, text, b"2:402:412:42", b"2:43"),
        (V3, octets, b"\0\x02\xff40\0\x02\xff41\0\x02\xff42", b"\0\x02\xff43"),
    ];
    for (eio, content_type, fits, more) in bodies {
        let mut polling = engine.polling(eio).await;
        engine.client().await;
        for body in [fits.to_vec(), [fits, more].concat()] {
            assert_eq!(polling.post_with(&[("content-type", content_type)], body).await.brief(), (200, "ok"));
            for n in 0..3 {
                assert_eq!(engine.message().await, n.to_string());
            }
        }
        assert_eq!(engine.closed().await, "parse error");
    }
}

#[tokio::test]
async fn a_packet_may_have_so_many_attachments() {
    let server = counting(builder()).await;
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
    let server = counting(builder().max_attachments(1)).await;
    for mut client in Client::all(&server).await {
        client.send("452-[\"x\"]").await;
        client.is_closed().await;
        assert_eq!(server.reason().await, "forced close");
    }
}

#[tokio::test]
async fn an_event_name_may_have_so_many_bytes() {
    let server = Server::start(builder().max_event_name(10)).await;
    server.io.on("0123456789", async || Reply("here"));
    for mut client in Client::all(&server).await {
        client.send("421[\"0123456789\"]").await;
        assert_eq!(client.text().await, "431[\"here\"]");
        client.send("422[\"0123456789a\"]").await;
        client.is_closed().await;
        assert_eq!(server.reason().await, "forced close");
    }
    // Bytes, not characters; escapes count as what they mean.
    let mut ws = server.ws(V4).await;
    ws.join("/").await;
    ws.send("423[\"\\u0030123456789\"]").await;
    assert_eq!(ws.text().await, "433[\"here\"]");
    ws.send("42[\"€€€€\"]").await;
    ws.closes_silently().await;
    assert_eq!(server.io.counters().bad_messages, 5);
}

#[tokio::test]
async fn json_may_be_nested_so_deep() {
    let server = counting(builder().max_depth(5)).await;
    let nested = |depth: usize| format!("421[\"x\",{}{}]", "[".repeat(depth), "]".repeat(depth));
    for mut client in Client::all(&server).await {
        client.send(&nested(4)).await;
        assert_eq!(client.text().await, "431[1]");
        client.send(&nested(5)).await;
        client.is_closed().await;
        assert_eq!(server.reason().await, "forced close");
    }
    // Also where data is not looked at by any handler, and by default.
    let server = counting(builder()).await;
    for packet in [nested(200_000), format!("40/x,{}", "{\"a\":".repeat(100_000))] {
        let mut ws = server.ws(V4).await;
        ws.join("/").await;
        ws.send(&nested(126)).await;
        assert_eq!(ws.text().await, "431[1]");
        ws.send(&packet).await;
        ws.closes_silently().await;
        assert_eq!(server.reason().await, "forced close");
    }
    // Without a limit only what looks at the data fails, and nothing else.
    let server = counting(builder().max_depth(usize::MAX)).await;
    let mut ws = server.ws(V4).await;
    ws.join("/").await;
    ws.send(&nested(400_000)).await;
    ws.send("422[\"x\"]").await;
    assert_eq!(ws.text().await, "432[0]");
    assert_eq!(server.io.counters().extract_errors, 1);
}

// What a request may hold, and how many connections there may be.

#[tokio::test]
async fn a_request_may_have_so_many_headers() {
    let server = Server::start(builder().max_headers(5).max_header_bytes(100)).await;
    // `host` is one already.
    let few: Vec<_> = ["a", "b", "c", "d"].map(|name| (name, "1")).into();
    let many = [&few[..], &[("e", "1")]].concat();
    let large = [("a", &*"x".repeat(100))];
    let target = target("EIO=4&transport=polling");
    assert_eq!(server.request("GET", &target, &few, b"").await.status, 200);
    for headers in [&many[..], &large[..]] {
        assert_eq!(server.request("GET", &target, headers, b"").await.brief(), (431, ""));
        assert_eq!(server.upgrade(&target, headers).await.err().unwrap().status, 431);
    }
    assert_eq!(server.io.counters().large_heads, 4);
    assert_eq!(server.io.engine().clients_count(), 1);
    // What is not for this server is not its business.
    assert_eq!(server.request("GET", "/", &many, b"").await.status, 404);
}

#[tokio::test]
async fn there_may_be_so_many_connections() {
    let server = Server::start(builder().max_connections(2)).await;
    let polling = server.polling(V4).await;
    let mut ws = server.ws(V4).await;
    ws.join("/").await;
    let refused = (403, r#"{"code":4,"message":"Too many connections"}"#);
    assert_eq!(server.get("EIO=4&transport=polling").await.brief(), refused);
    let refused = server.upgrade(&target("EIO=4&transport=websocket"), &[]).await.err().unwrap();
    assert_eq!(refused.brief(), (400, "Too many connections"));
    assert_eq!(server.io.counters().refused_connections, 2);
    // An upgrade is no connection more, and one that ends makes room.
    let mut candidate = server.candidate(V4, polling.sid()).await;
    candidate.send("5").await;
    candidate.join("/").await;
    drop(ws);
    assert_eq!(server.reason().await, "transport close");
    server.until(|io| io.engine().clients_count() == 1).await;
    server.ws(V4).await.join("/").await;
}

#[tokio::test]
async fn a_websocket_that_is_not_completed_gives_its_place_back() {
    let engine = Engine::in_memory(builder().max_connections(1).upgrade_timeout(ms(100)), 64 * 1024);
    let mut http = engine.http().await;
    let key = ws::handshake::Key::from_random([0; 16]);
    let mut request = Vec::new();
    let target = target("EIO=4&transport=websocket");
    ws::handshake::request(&mut request, "x", &target, &key, &[]).unwrap();
    http.send_raw(&request).await;
    drop(http);
    // Whether the server had begun to answer or not.
    support::soon(async {
        while engine.upgrade(&target, &[]).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_connection_may_be_in_so_many_namespaces() {
    let server = counting(builder().max_namespaces(2)).await;
    for nsp in ["/a", "/b", "/c"] {
        server.io.of(nsp);
    }
    for mut client in Client::all(&server).await {
        client.send("40/a,").await;
        assert!(client.text().await.starts_with("40/a,"));
        client.send("40/b,").await;
        assert_eq!(client.text().await, r#"44/b,{"message":"Too many namespaces"}"#);
        // The transport stays, and who leaves one may join another.
        client.send("421[\"x\"]").await;
        assert_eq!(client.text().await, "431[0]");
        client.send("41/a,").await;
        client.send("40/b,").await;
        assert!(client.text().await.starts_with("40/b,"));
        client.send("40/c,").await;
        assert_eq!(client.text().await, r#"44/c,{"message":"Too many namespaces"}"#);
    }
    assert_eq!(server.io.counters().refused_connects, 8);
}

#[tokio::test]
async fn namespaces_that_are_still_asked_for_count_too() {
    let server = Server::start(builder().max_namespaces(2)).await;
    let gate = Arc::new(Semaphore::new(0));
    for nsp in ["/a", "/b", "/c"] {
        let gate = Arc::clone(&gate);
        server.io.of(nsp).middleware(async move |_: Socket| {
            gate.acquire().await.unwrap().forget();
            Ok::<_, patio::Refusal>(())
        });
    }
    let mut ws = server.ws(V4).await;
    for nsp in ["/a", "/b", "/c"] {
        ws.send(&format!("40{nsp},")).await;
    }
    assert_eq!(ws.text().await, r#"44/c,{"message":"Too many namespaces"}"#);
    gate.add_permits(2);
    assert!(ws.text().await.starts_with("40/a,"));
    assert!(ws.text().await.starts_with("40/b,"));
}

// What may run at once for one connection.

/// A server whose handlers of `hold` wait until they are let go, and tell when they start.
struct Holding {
    server: Server,
    gate: Arc<Semaphore>,
    started: mpsc::UnboundedReceiver<u32>,
}

impl Holding {
    fn new(server: Server) -> Self {
        let gate = Arc::new(Semaphore::new(0));
        let (sender, started) = mpsc::unbounded_channel();
        let wait = Arc::clone(&gate);
        server.io.on("hold", async move |Data(n): Data<u32>| {
            // The test may not look any more.
            let _ = sender.send(n);
            wait.acquire().await.unwrap().forget();
            Reply(n)
        });
        Self { server, gate, started }
    }

    async fn started(&mut self) -> u32 {
        support::soon(self.started.recv()).await.unwrap()
    }
}

#[tokio::test]
async fn handlers_beyond_the_limit_wait_in_order() {
    let mut holding = Holding::new(Server::start(builder().max_handlers(2)).await);
    for mut client in Client::all(&holding.server).await {
        for n in 0..6 {
            client.send(&format!("42{n}[\"hold\",{n}]")).await;
        }
        for n in 0..6 {
            assert_eq!(holding.started().await, n);
            if n > 0 {
                // Two run now. A round trip through the server shows that no other one starts.
                client.send("40/unknown,").await;
                assert!(client.text().await.starts_with("44/unknown,"));
                assert!(holding.started.try_recv().is_err());
                holding.gate.add_permits(1);
                assert_eq!(client.text().await, format!("43{}[{}]", n - 1, n - 1));
            }
        }
        holding.gate.add_permits(1);
        assert_eq!(client.text().await, "435[5]");
    }
}

#[tokio::test]
async fn acks_disconnects_and_heartbeats_are_taken_while_events_wait() {
    let server =
        Server::in_memory(builder().max_handlers(1).ping_interval(ms(300)).ping_timeout(ms(200)), 64 * 1024);
    server.io.on("ask", async |socket: Socket| {
        let answer: String = socket.emit_with_ack("question", &()).await.unwrap();
        Reply(answer)
    });
    server.io.on("x", async |Args(args): Args| Reply(args.len()));
    server.io.of("/other");
    for eio in [V4, V3] {
        let mut ws = server.ws(eio).await;
        ws.join("/").await;
        ws.join("/other").await;
        ws.send("421[\"ask\"]").await;
        let question = ws.text().await;
        let id = question.strip_prefix("42").unwrap().strip_suffix("[\"question\"]").unwrap();
        ws.send("422[\"x\",1,2]").await;
        ws.send("423[\"x\"]").await;
        ws.send("41/other,").await;
        server.until(|io| io.of("/other").is_empty()).await;
        if eio == V3 {
            ws.send("2").await;
            assert_eq!(ws.text().await, "3");
        }
        ws.send(&format!("43{id}[\"answer\"]")).await;
        for ack in ["431[\"answer\"]", "432[2]", "433[0]"] {
            assert_eq!(ws.text().await, ack);
        }
    }
}

#[tokio::test]
async fn a_client_that_goes_while_events_wait_is_noticed() {
    let mut holding = Holding::new(Server::start(builder().max_handlers(1)).await);
    for mut client in Client::all(&holding.server).await {
        for n in 0..3 {
            client.send(&format!("42[\"hold\",{n}]")).await;
        }
        assert_eq!(holding.started().await, 0);
        match client {
            Client::Ws(ws) => drop(ws),
            Client::Polling(mut polling) => polling.send("1").await,
        }
        assert_eq!(holding.server.reason().await, "transport close");
        // What runs runs to its end; what waited does not begin.
        holding.gate.add_permits(1);
    }
    holding.server.until(|io| io.engine().clients_count() == 0).await;
    assert_eq!(holding.server.io.counters().dropped_events, 8);
    assert!(holding.started.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_pause_of_ours_is_no_ping_timeout() {
    let timing = || builder().ping_interval(ms(300)).ping_timeout(ms(200));
    let server = Server::in_memory(timing().max_handlers(1).max_parked_bytes(100), 64 * 1024);
    let mut holding = Holding::new(server);
    for eio in [V4, V3] {
        let mut ws = holding.server.ws(eio).await;
        ws.join("/").await;
        let mut polling = holding.server.polling(eio).await;
        polling.join("/").await;
        for n in 0..20 {
            ws.send(&format!("42{n}[\"hold\",{n}]")).await;
        }
        let events: Vec<_> = (0..20).map(|n| format!("42{n}[\"hold\",{n}]")).collect();
        let body = match eio {
            V4 => events.join("\u{1e}"),
            V3 => events.iter().map(|event| format!("{}:{event}", event.len())).collect(),
        };
        assert_eq!(polling.post(body).await.brief(), (200, "ok"));
        // From now on neither is read from. What they say to stay alive waits with all the rest.
        let heartbeat = if eio == V4 { "3" } else { "2" };
        ws.send(heartbeat).await;
        let body = if eio == V4 { "3".to_owned() } else { "1:2".to_owned() };
        let target = polling.target();
        polling.posts.send("POST", &target, &[], body.as_bytes()).await;
        sleep(Duration::from_secs(5)).await;
        assert_eq!(holding.server.io.engine().clients_count(), 2);
        holding.gate.add_permits(40);
        assert_eq!(polling.posts.response().await.brief(), (200, "ok"));
        let (mut acks, mut polled) = (0, 0);
        while acks < 20 {
            let packet = ws.text().await;
            acks += u32::from(packet == format!("43{acks}[{acks}]"));
        }
        while polled < 20 {
            let packet = polling.text().await;
            polled += u32::from(packet == format!("43{polled}[{polled}]"));
        }
        // And now their silence is their own.
        assert_eq!(holding.server.reason().await, "ping timeout");
        assert_eq!(holding.server.reason().await, "ping timeout");
        while holding.started.try_recv().is_ok() {}
    }
}

#[tokio::test(start_paused = true)]
async fn events_that_wait_have_so_many_bytes() {
    // Events without any data count too.
    for event in ["42[\"x\"]", "42", "42[\"0123456789\",\"0123456789\"]"] {
        let server = Server::in_memory(builder().max_handlers(1).max_parked_bytes(3_000), 1024);
        let mut holding = Holding::new(server);
        let mut ws = holding.server.ws(V4).await;
        ws.join("/").await;
        ws.send("42[\"hold\",0]").await;
        assert_eq!(holding.started().await, 0);
        let mut frame = Vec::new();
        ws::encode(&mut frame, ws::Opcode::Text, event.as_bytes(), Some([1, 2, 3, 4]));
        let frames = frame.repeat(100);
        let mut taken = 0;
        while timeout(ms(50), ws.stream.write_all(&frames)).await.is_ok() {
            taken += 100;
            assert!(taken <= 4000, "{event}: the server takes without end");
        }
        holding.gate.add_permits(1);
        holding.server.until(|io| io.counters().unhandled_events > taken).await;
    }
}

#[tokio::test]
async fn many_events_that_wait_cost_no_more_each() {
    let limits = builder().max_handlers(1).max_parked_bytes(usize::MAX).max_outbound_packets(usize::MAX);
    let mut holding = Holding::new(Server::start(limits).await);
    holding.server.io.on("x", async |Data(n): Data<u32>| {
        tokio::task::yield_now().await;
        Reply(n)
    });
    let mut ws = holding.server.ws(V4).await;
    ws.join("/").await;
    ws.send("42[\"hold\",0]").await;
    assert_eq!(holding.started().await, 0);
    let count = 50_000;
    let mut frames = Vec::new();
    for n in 0..count {
        let event = format!("42{n}[\"x\",{n}]");
        ws::encode(&mut frames, ws::Opcode::Text, event.as_bytes(), Some([1, 2, 3, 4]));
    }
    ws.send_raw(&frames).await;
    ws.send("40/unknown,").await;
    assert!(ws.text().await.starts_with("44/unknown,"));
    // All of them wait now.
    let start = cpu_time();
    holding.gate.add_permits(1);
    for n in 0..count {
        assert_eq!(ws.text().await, format!("43{n}[{n}]"));
    }
    // Under one second; with work that grows with the square, it would be many.
    let took = cpu_time() - start;
    assert!(took < Duration::from_secs(5), "{took:?}");
}

/// What this thread has computed, which does not depend on what else the machine does; nothing where that is not known.
fn cpu_time() -> Duration {
    let known = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(known.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0))
}

#[tokio::test(start_paused = true)]
async fn joining_and_leaving_does_not_pile_up_handlers() {
    let server = Server::in_memory(builder().max_handlers(10).max_namespaces(10), 1024);
    let (sender, mut started) = mpsc::unbounded_channel();
    server.io.on_connect(async move |_: Socket| {
        // The test may not look any more.
        let _ = sender.send(());
        std::future::pending::<()>().await;
    });
    let mut ws = server.ws(V4).await;
    let mut frames = Vec::new();
    for packet in ["40", "41"] {
        ws::encode(&mut frames, ws::Opcode::Text, packet.as_bytes(), Some([1, 2, 3, 4]));
    }
    let frames = frames.repeat(100);
    let mut count = 0;
    while timeout(ms(50), ws.stream.write_all(&frames)).await.is_ok() {
        while started.try_recv().is_ok() {
            count += 1;
        }
        assert!(count <= 30, "{count} connect handlers run for one connection");
    }
}

#[tokio::test]
async fn a_client_that_goes_while_it_is_not_read_from_is_noticed() {
    let limits = || builder().max_handlers(1).max_parked_bytes(1).ping_interval(ms(30)).ping_timeout(ms(20));
    let mut holding = Holding::new(Server::start(limits()).await);
    for eio in [V4, V3] {
        let mut polling = holding.server.polling(eio).await;
        polling.join("/").await;
        for n in 0..2 {
            polling.send(&format!("42[\"hold\",{n}]")).await;
        }
        let body = if eio == V4 { "3" } else { "1:2" };
        let target = polling.target();
        polling.posts.send("POST", &target, &[], body.as_bytes()).await;
        assert_eq!(holding.started().await, 0);
        // Longer than the client may be silent.
        sleep(ms(100)).await;
        drop(polling);
        assert_eq!(holding.server.reason().await, "transport error");
    }
    // The server pings, and finds that nobody is there. A client of protocol 3 is not pinged.
    let mut ws = holding.server.ws(V4).await;
    ws.join("/").await;
    for n in 0..3 {
        ws.send(&format!("42[\"hold\",{n}]")).await;
    }
    assert_eq!(holding.started().await, 0);
    sleep(ms(100)).await;
    drop(ws);
    assert_eq!(holding.server.reason().await, "transport error");
}

// What may wait to be written.

/// Sends to everyone until a client was let go. Returns how often.
async fn flood(server: &Server, message: &str) -> u32 {
    let mut sent = 0;
    while server.io.counters().slow_clients == 0 {
        server.io.emit("flood", &(sent, message)).unwrap();
        sent += 1;
        assert!(sent < 10_000, "nobody is let go");
        tokio::task::yield_now().await;
    }
    sent
}

#[tokio::test]
async fn a_client_that_reads_too_slowly_is_let_go() {
    // By bytes and by packets, on a stream that anyone may write and on one that only its driver may write.
    let limits: [fn() -> ServerBuilder; 2] =
        [|| builder().max_outbound_bytes(500_000), || builder().max_outbound_packets(50)];
    for limit in limits {
        for server in [Server::start(limit()).await, Server::in_memory(limit(), 1024)] {
            let mut others = Vec::new();
            for eio in [V4, V3] {
                let mut slow = server.ws(eio).await;
                slow.join("/").await;
                let mut quick = server.ws(V4).await;
                quick.join("/").await;
                let before = server.io.counters().slow_clients;
                let message = "x".repeat(20_000);
                let mut sent = 0;
                while server.io.counters().slow_clients == before {
                    server.io.emit("flood", &(sent, &message)).unwrap();
                    let expected = format!("42[\"flood\",{sent},\"{message}\"]");
                    for ws in others.iter_mut().chain([&mut quick]) {
                        assert_eq!(ws.text().await, expected);
                    }
                    sent += 1;
                    assert!(sent < 5_000, "nobody is let go");
                }
                assert_eq!(server.reason().await, "slow client");
                // Whoever reads is not touched.
                server.io.emit("still", &()).unwrap();
                for ws in others.iter_mut().chain([&mut quick]) {
                    assert_eq!(ws.text().await, "42[\"still\"]");
                }
                others.push(quick);
            }
        }
    }
}

#[tokio::test]
async fn a_client_that_polls_too_slowly_is_let_go() {
    for builder in [builder().max_outbound_bytes(10_000), builder().max_outbound_packets(10)] {
        let server = Server::start(builder).await;
        let mut polling = server.polling(V4).await;
        polling.join("/").await;
        let mut ws = server.ws(V3).await;
        ws.join("/").await;
        let sent = flood(&server, &"x".repeat(990)).await;
        assert!((10..=11).contains(&sent), "{sent}");
        assert_eq!(server.reason().await, "slow client");
        assert_eq!(polling.poll().await.text(), r#"{"code":1,"message":"Session ID unknown"}"#);
        for n in 0..sent {
            assert!(ws.text().await.starts_with(&format!("42[\"flood\",{n},")));
        }
    }
}

#[tokio::test]
async fn one_packet_of_any_size_fits_an_empty_queue() {
    let server = Server::start(builder().max_outbound_bytes(1_000)).await;
    let mut clients = Client::all(&server).await;
    let large = "x".repeat(1_000_000);
    server.io.emit("large", &large).unwrap();
    for client in &mut clients {
        assert_eq!(client.text().await, format!("42[\"large\",\"{large}\"]"));
    }
}

#[tokio::test]
async fn who_sends_much_may_wait() {
    let server = Server::start(builder().max_outbound_bytes(100_000)).await;
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

#[tokio::test]
async fn pings_of_a_client_that_does_not_read_fill_its_own_queue_only() {
    let server = Server::in_memory(builder().max_outbound_packets(100), 1024);
    let mut ws = server.ws(V4).await;
    ws.join("/").await;
    let mut frames = Vec::new();
    for _ in 0..1000 {
        ws::encode(&mut frames, ws::Opcode::Ping, &[7; 125], Some([1, 2, 3, 4]));
    }
    let (_reader, mut writer) = tokio::io::split(ws.stream);
    let flood = tokio::spawn(async move { while writer.write_all(&frames).await.is_ok() {} });
    assert_eq!(server.reason().await, "slow client");
    flood.abort();
}

// Times.

#[tokio::test(start_paused = true)]
async fn a_client_must_join_a_namespace_in_time() {
    let server = Server::in_memory(builder().connect_timeout(ms(100)), 64 * 1024);
    server.io.of("/refusing").middleware(async |_: Socket| Err::<(), _>(patio::Refusal::new("no")));
    let start = Instant::now();
    let mut silent = server.ws(V4).await;
    let mut polling = server.polling(V4).await;
    let mut refused = server.ws(V4).await;
    let mut joined = server.ws(V4).await;
    let mut left = server.ws(V4).await;
    let mut automatic = server.ws(V3).await;
    joined.join("/").await;
    left.join("/").await;
    left.send("41").await;
    automatic.join("/").await;
    refused.send("40/refusing,").await;
    assert_eq!(refused.text().await, "44/refusing,{\"message\":\"no\"}");
    refused.send("40/unknown,").await;
    assert!(refused.text().await.starts_with("44/unknown,"));
    silent.closes_silently().await;
    let took = start.elapsed();
    assert!(took >= ms(100) && took < ms(250), "{took:?}");
    refused.closes_silently().await;
    assert_eq!(polling.poll().await.text(), "6\u{1e}1");
    assert_eq!(server.io.counters().late_clients, 3);
    sleep(ms(1000)).await;
    // Who was in a namespace may stay, even outside of any.
    left.send("40").await;
    assert!(left.text().await.starts_with("40{"));
    for ws in [&mut joined, &mut automatic] {
        ws.send("42[\"x\"]").await;
    }
    server.until(|io| io.counters().unhandled_events == 2).await;
}

#[tokio::test(start_paused = true)]
async fn attachments_must_come_in_time() {
    let server = Server::in_memory(builder().attachment_timeout(ms(100)), 64 * 1024);
    server.io.on("x", async |Name(name): Name, Args(args): Args| Reply((name, args.len())));
    let packet = "452-1[\"x\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1}]";
    for eio in [V4, V3] {
        let mut ws = server.ws(eio).await;
        ws.join("/").await;
        // In time, and long after without any: nothing happens.
        for _ in 0..2 {
            ws.send(packet).await;
            ws.send_binary(b"1").await;
            sleep(ms(90)).await;
            ws.send_binary(b"2").await;
            assert_eq!(ws.text().await, "431[\"x\",2]");
            sleep(ms(500)).await;
        }
        ws.send(packet).await;
        let start = Instant::now();
        sleep(ms(90)).await;
        // The time is that of the whole packet.
        ws.send_binary(b"1").await;
        ws.closes_silently().await;
        let took = start.elapsed();
        assert!(took >= ms(100) && took < ms(250), "{took:?}");
        assert_eq!(server.reason().await, "forced close");

        let mut polling = server.polling(eio).await;
        polling.join("/").await;
        polling.send(packet).await;
        assert_eq!(server.reason().await, "forced close");
    }
    assert_eq!(server.io.counters().late_clients, 4);
}

#[tokio::test(start_paused = true)]
async fn a_body_must_come_in_time() {
    let timing = builder().ping_interval(ms(300)).ping_timeout(ms(200));
    let engine = Engine::in_memory(timing, 64 * 1024);
    for eio in [V4, V3] {
        let mut polling = engine.polling(eio).await;
        engine.client().await;
        let head = format!("POST {} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n", polling.target());
        polling.posts.send_raw(head.as_bytes()).await;
        let start = Instant::now();
        for _ in 0..9 {
            polling.posts.send_raw(b"4").await;
            sleep(ms(50)).await;
        }
        // Its session's time and its own are over at once.
        assert!(["ping timeout", "transport error"].contains(&&*engine.closed().await));
        assert_eq!(polling.posts.response().await.brief(), (400, ""));
        assert!(start.elapsed() < ms(510), "{:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_for_a_websocket_that_is_never_used_is_let_go() {
    let engine = Engine::in_memory(builder().ping_interval(ms(300)).ping_timeout(ms(200)), 64 * 1024);
    let mut ws = engine.ws(V4).await;
    engine.client().await;
    ws.send_message(&ws::Message::Text(patio_proto::Text::from_static("4"))).await;
    assert!(matches!(engine.event().await, Event::Message(message) if message.is_empty()));
    // Half a frame, and nothing more.
    let mut frame = Vec::new();
    ws::encode(&mut frame, ws::Opcode::Binary, &Bytes::from_static(&[0; 1000]), Some([1, 2, 3, 4]));
    ws.send_raw(&frame[..500]).await;
    assert_eq!(engine.closed().await, "ping timeout");
}

#[tokio::test]
async fn times_may_have_no_end() {
    let server = counting(
        builder()
            .ping_interval(Duration::MAX)
            .ping_timeout(Duration::MAX)
            .upgrade_timeout(Duration::MAX)
            .connect_timeout(Duration::MAX)
            .attachment_timeout(Duration::MAX)
            .ack_timeout(Duration::MAX),
    )
    .await;
    server.io.on("ask", async |socket: Socket| {
        let answer: u32 = socket.emit_with_ack("question", &()).await.unwrap();
        Reply(answer)
    });
    for mut client in Client::all(&server).await {
        client.send("451-1[\"x\",{\"_placeholder\":true,\"num\":0}]").await;
        client.send_binary(b"1").await;
        assert_eq!(client.text().await, "431[1]");
        client.send("422[\"ask\"]").await;
        let question = client.text().await;
        let id = question.strip_prefix("42").unwrap().strip_suffix("[\"question\"]").unwrap();
        client.send(&format!("43{id}[7]")).await;
        assert_eq!(client.text().await, "432[7]");
        if let Client::Polling(polling) = client {
            let mut ws = server.candidate(polling.eio, polling.sid()).await;
            ws.send("2probe").await;
            assert_eq!(ws.text().await, "3probe");
            ws.send("5").await;
            ws.send("423[\"x\"]").await;
            assert_eq!(ws.text().await, "433[0]");
        }
    }
}
