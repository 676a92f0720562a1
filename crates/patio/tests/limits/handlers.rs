//! What may run at once for one connection, and what may wait for it.

use std::{sync::Arc, time::Duration};

use patio::{
    Reply, Socket,
    extract::{Args, Data},
};
use patio_proto::ws;
use tokio::{
    io::AsyncWriteExt,
    sync::{Semaphore, mpsc},
    time::{Instant, sleep, timeout},
};

use crate::{
    Client, builder, ms,
    support::{Eio, Server, V3, V4, soon},
};

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
        soon(self.started.recv()).await.unwrap()
    }
}

#[tokio::test]
async fn handlers_beyond_the_limit_wait_in_order() {
    let mut holding = Holding::new(Server::apart(builder().max_handlers(2)).await);
    let neighbour = holding.server.neighbour().await;
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
    neighbour.felt_nothing().await;
}

#[tokio::test]
async fn acks_disconnects_and_heartbeats_are_taken_while_events_wait() {
    let server =
        Server::apart(builder().max_handlers(1).ping_interval(ms(300)).ping_timeout(ms(2_000))).await;
    let neighbour = server.neighbour().await;
    server.io.on("ask", async |socket: Socket| {
        let answer: String = socket.emit_with_ack("question", &()).await.unwrap();
        Reply(answer)
    });
    server.io.on("x", async |Args(args): Args| Reply(args.len()));
    server.io.of("/other");
    for (n, mut client) in Client::all(&server).await.into_iter().enumerate() {
        client.send("40/other,").await;
        assert!(text(&mut client).await.starts_with("40/other,"));
        client.send("421[\"ask\"]").await;
        let question = text(&mut client).await;
        let id = question.strip_prefix("42").unwrap().strip_suffix("[\"question\"]").unwrap();
        client.send("422[\"x\",1,2]").await;
        client.send("423[\"x\"]").await;
        client.send("41/other,").await;
        server.until(|io| io.of("/other").is_empty()).await;
        // Clients of protocol 3 ping, those of protocol 4 are pinged.
        if n < 2 {
            while client.text().await != "2" {}
            client.send("3").await;
        } else {
            client.send("2").await;
            assert_eq!(client.text().await, "3");
        }
        client.send(&format!("43{id}[\"answer\"]")).await;
        for ack in ["431[\"answer\"]", "432[2]", "433[0]"] {
            assert_eq!(text(&mut client).await, ack);
        }
    }
    neighbour.felt_nothing().await;
}

/// The next packet but pings.
async fn text(client: &mut Client) -> String {
    loop {
        match client.text().await {
            ping if ping == "2" => client.send("3").await,
            other => return other,
        }
    }
}

#[tokio::test]
async fn a_client_that_goes_while_events_wait_is_noticed() {
    let mut holding = Holding::new(Server::apart(builder().max_handlers(1)).await);
    let neighbour = holding.server.neighbour().await;
    for mut client in Client::all(&holding.server).await {
        for n in 0..3 {
            client.send(&format!("42[\"hold\",{n}]")).await;
        }
        assert_eq!(holding.started().await, 0);
        client.leave().await;
        assert_eq!(holding.server.reason().await, "transport close");
        // What runs runs to its end; what waited does not begin.
        holding.gate.add_permits(1);
    }
    holding.server.until(|io| io.engine().clients_count() == 1).await;
    assert_eq!(holding.server.io.counters().dropped_events, 8);
    assert!(holding.started.try_recv().is_err());
    neighbour.felt_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_of_ours_is_no_ping_timeout() {
    let timing = || builder().ping_interval(ms(300)).ping_timeout(ms(200));
    let server = Server::in_memory(timing().max_handlers(1).max_parked_bytes(100), 64 * 1024);
    let mut holding = Holding::new(server);
    let neighbour = holding.server.timeless_neighbour().await;
    for eio in [V4, V3] {
        let mut ws = holding.server.ws(eio).await;
        ws.join("/").await;
        let mut polling = holding.server.polling(eio).await;
        polling.join("/").await;
        for n in 0..20 {
            ws.send(&format!("42{n}[\"hold\",{n}]")).await;
        }
        let events: Vec<_> = (0..20).map(|n| format!("42{n}[\"hold\",{n}]")).collect();
        assert_eq!(polling.post(payload(eio, &events)).await.brief(), (200, "ok"));
        // From now on neither is read from. What they say to stay alive waits with all the rest.
        let heartbeat = if eio == V4 { "3" } else { "2" };
        ws.send(heartbeat).await;
        let body = if eio == V4 { "3".to_owned() } else { "1:2".to_owned() };
        let target = polling.target();
        polling.posts.send("POST", &target, &[], body.as_bytes()).await;
        sleep(Duration::from_secs(5)).await;
        assert_eq!(holding.server.io.engine().clients_count(), 3);
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
    neighbour.felt_nothing().await;
}

/// The wait for a pong ends with the pause, and the next ping is nearer than the end of that wait was.
#[tokio::test(start_paused = true)]
async fn a_pause_of_ours_puts_off_no_ping() {
    let builder =
        builder().ping_interval(ms(1_000)).ping_timeout(ms(20_000)).max_handlers(1).max_parked_bytes(1);
    let server = Server::in_memory(builder, 64 * 1024);
    server.io.on("hang", async || std::future::pending::<()>().await);
    let mut ws = server.ws(V4).await;
    ws.join("/").await;
    assert_eq!(ws.text().await, "2");
    // One runs, one waits, and no more is read.
    ws.send("42[\"hang\"]").await;
    ws.send("42[\"hang\"]").await;
    let paused = Instant::now();
    assert_eq!(ws.text().await, "2");
    assert!(paused.elapsed() < ms(1_100), "{:?}", paused.elapsed());
}

#[tokio::test(start_paused = true)]
async fn events_that_wait_have_so_many_bytes() {
    let limits = || builder().max_handlers(1).max_parked_bytes(3_000);
    // Events without any data count too.
    for event in ["42[\"x\"]", "42", "42[\"0123456789\",\"0123456789\"]"] {
        for eio in [V4, V3] {
            let mut holding = Holding::new(Server::in_memory(limits(), 1024));
            let neighbour = holding.server.timeless_neighbour().await;
            let mut ws = holding.server.ws(eio).await;
            ws.join("/").await;
            ws.send("42[\"hold\",0]").await;
            assert_eq!(holding.started().await, 0);
            let mut frame = Vec::new();
            ws::encode(&mut frame, ws::Opcode::Text, event.as_bytes(), Some([1, 2, 3, 4]));
            let frames = frame.repeat(100);
            let mut taken = 0;
            while timeout(ms(50), ws.stream.write_all(&frames)).await.is_ok() {
                taken += 100;
                assert!(taken <= 4_000, "{event}: the server takes without end");
            }
            holding.gate.add_permits(1);
            holding.server.until(|io| io.counters().unhandled_events > taken).await;
            neighbour.felt_nothing().await;

            // A request is taken as a whole; the one behind it waits for its answer.
            let mut holding = Holding::new(Server::in_memory(limits(), 1024));
            let neighbour = holding.server.timeless_neighbour().await;
            let mut polling = holding.server.polling(eio).await;
            polling.join("/").await;
            polling.send("42[\"hold\",0]").await;
            assert_eq!(holding.started().await, 0);
            let body = payload(eio, &[event; 5]);
            let mut taken = 0;
            while let Ok(answer) = timeout(ms(50), polling.post(&body)).await {
                assert_eq!(answer.brief(), (200, "ok"));
                taken += 5;
                assert!(taken <= 100, "{event}: the server takes without end");
            }
            holding.gate.add_permits(1);
            assert_eq!(polling.posts.response().await.brief(), (200, "ok"));
            holding.server.until(|io| io.counters().unhandled_events == taken + 5).await;
            neighbour.felt_nothing().await;
        }
    }
}

/// Several packets in one body.
fn payload(eio: Eio, packets: &[impl AsRef<str>]) -> String {
    let mut packets = packets.iter().map(AsRef::as_ref);
    match eio {
        V4 => packets.collect::<Vec<_>>().join("\u{1e}"),
        V3 => packets.by_ref().map(|packet| format!("{}:{packet}", packet.len())).collect(),
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
    let neighbour = server.timeless_neighbour().await;
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
    neighbour.felt_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_while_it_is_not_read_from_is_noticed() {
    let limits = || builder().max_handlers(1).max_parked_bytes(1).ping_interval(ms(30)).ping_timeout(ms(20));
    let mut holding = Holding::new(Server::in_memory(limits(), 64 * 1024));
    let neighbour = holding.server.timeless_neighbour().await;
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
    neighbour.felt_nothing().await;
}
