//! Vulnerabilities that servers of this kind have had, each as a test: what a peer did, over the wire, and what Patio
//! does instead. `grep CVE-2020-36048`, or the test's name, finds one.
//!
//! Under each stands what holds it: *Without* that line the test fails, as was seen once by removing it. Paths are
//! those of `patio-proto/src` (`proto/`) and of this crate's `src`. After each attack the server must still serve
//! others.
//!
//! What takes long is measured as the CPU time of the test's thread, on which server and client both run: as a ratio of
//! two sizes, or to something harmless of the same size, so that it does not matter what else the machine does.

#![cfg(feature = "serve")]

#[expect(dead_code, reason = "each test file uses a part")]
mod support;

use std::{
    collections::HashSet,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE};
use bytes::Bytes;
use patio::{
    Payload, Reply, Server as Patio, ServerBuilder,
    adapter::InProcess,
    engine_io::{Client, Message},
    extract::Args,
};
use patio_proto::ws::{self, handshake::Key};
#[cfg(feature = "deflate")]
use support::Engine;
use support::{Http, Net, Server, V3, V4, WsClient, soon, target};
use tokio::task::yield_now;

const POLLING: &str = "EIO=4&transport=polling";
const WEBSOCKET: &str = "EIO=4&transport=websocket";

/// A server that answers the event `fine`.
async fn start(builder: ServerBuilder) -> Server {
    with_answer(Server::start(builder).await)
}

fn with_answer(server: Server) -> Server {
    server.io.on("fine", async |Args(args): Args| Reply(args.len()));
    server
}

/// A client of another user connects, is answered and goes: the server still serves, and has lost no task.
async fn still_serves(server: &Server) {
    let mut polling = server.polling(V4).await;
    polling.join("/").await;
    polling.send(r#"421["fine",1,2]"#).await;
    assert_eq!(polling.text().await, "431[2]");
    let mut ws = server.ws(V4).await;
    ws.join("/").await;
    ws.send(r#"421["fine",1,2,3]"#).await;
    assert_eq!(ws.text().await, "431[3]");
    server.io.emit("all", &1).unwrap();
    assert_eq!(ws.text().await, r#"42["all",1]"#);
    polling.post("1").await;
    assert_eq!(server.reason().await, "transport close");
    drop(ws);
    assert_eq!(server.reason().await, "transport close");
    assert_eq!(server.io.counters().panics, 0);
}

/// The least that `work` takes of this thread's time, in some turns.
async fn cost(mut work: impl AsyncFnMut()) -> Duration {
    let mut least = Duration::MAX;
    for _ in 0..5 {
        let start = cpu_time();
        work().await;
        least = least.min(cpu_time() - start);
    }
    least
}

/// What this thread has computed; nothing where that is not known.
fn cpu_time() -> Duration {
    // The kernel adds up when the thread gives way.
    std::thread::yield_now();
    let known = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = known.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0);
    assert!(nanos > 0 || !cfg!(target_os = "linux"), "the time of this thread is not known");
    Duration::from_nanos(nanos)
}

/// Four times as much may take eight times as long, not sixteen; and 2 ms more, for what is small is not measured well.
#[track_caller]
fn is_linear(what: &str, once: Duration, four_times: Duration) {
    println!("{what}: {once:?}, {four_times:?}");
    assert!(four_times < once * 8 + Duration::from_millis(2), "{what}: {once:?}, {four_times:?}");
}

/// Runs a test in a process of its own, for what is measured of the whole process. True: this is that process.
fn is_alone(test: &str) -> bool {
    const ALONE: &str = "PATIO_ADVISORIES_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let mut again = Command::new(std::env::current_exe().unwrap());
    let run = again.args(["--exact", test, "--nocapture"]).env(ALONE, "1").output().unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(run.status.success(), "{}\n{}", said(&run.stdout), said(&run.stderr));
    false
}

/// The resident memory of this process in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1_024
}

/// A masked frame.
fn frame(opcode: ws::Opcode, fin: bool, payload: &[u8]) -> Vec<u8> {
    let mut frame = ws::header(opcode, fin, payload.len(), Some([0; 4])).to_vec();
    frame.extend_from_slice(payload);
    frame
}

/// The bytes of a WebSocket handshake.
fn handshake(query: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut request = Vec::new();
    let key = Key::from_random(*b"not random at al");
    ws::handshake::request(&mut request, "localhost", &target(query), &key, headers).unwrap();
    request
}

// WebSocket libraries.

/// CVE-2016-10542 (`ws`): messages of any size were collected, so one client could fill the memory. Patio refuses a
/// message when its length is known, before the first byte of it; fragments count together.
///
/// Without `len > self.max_message`, or `len > self.max_message - declared`, in `proto/ws/decode.rs`: the server waits
/// for the bytes, nothing is closed. Without `size_hint().lower() > limit` in `engine/transport/polling.rs`: no answer
/// comes.
#[tokio::test]
async fn cve_2016_10542_a_message_over_the_limit() {
    let server = start(Patio::builder()).await;
    let promise = |opcode, fin, length| ws::header(opcode, fin, length, Some([0; 4])).to_vec();
    let over = [
        promise(ws::Opcode::Text, true, 1_000_001),
        promise(ws::Opcode::Binary, false, usize::MAX >> 1),
        [frame(ws::Opcode::Text, false, &[b'4'; 999_999]), promise(ws::Opcode::Continuation, true, 2)]
            .concat(),
    ];
    for bytes in over {
        let mut ws = server.ws(V4).await;
        ws.join("/").await;
        ws.send_raw(&bytes).await;
        assert_eq!(ws.closed().await, 1009);
        assert_eq!(server.reason().await, "transport error");
    }
    // The limit itself is allowed.
    let mut ws = server.ws(V4).await;
    ws.join("/").await;
    let event = format!("421[\"fine\",\"{}\"]", "x".repeat(1_000_000 - "421[\"fine\",\"\"]".len()));
    ws.send(&event).await;
    assert_eq!(ws.text().await, "431[1]");
    drop(ws);
    assert_eq!(server.reason().await, "transport close");
    // Over polling the length is told, too, and the answer does not wait for the body.
    let mut polling = server.polling(V4).await;
    polling.join("/").await;
    let head = format!("POST {} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000001\r\n\r\n", polling.target());
    polling.posts.send_raw(head.as_bytes()).await;
    assert_eq!(polling.posts.response().await.status, 413);
    polling.posts = Http::connect(server.addr).await;
    polling.post("1").await;
    assert_eq!(server.reason().await, "transport close");
    still_serves(&server).await;
}

/// GHSA-5v72-xg48-5rpm (`ws`): an extension or a parameter named like something that every JavaScript object has, such
/// as `constructor`, ended the process. In Patio names are compared with those that are known, and others are unknown.
///
/// Without `_ => self.unacceptable = true` in `proto/ws/deflate.rs` (a panic in its place): no answer comes.
#[cfg(feature = "deflate")]
#[tokio::test]
async fn ghsa_5v72_xg48_5rpm_an_extension_named_like_a_property() {
    for builder in [Patio::builder(), Patio::builder().per_message_deflate(usize::MAX)] {
        let server = start(builder).await;
        for name in ["constructor", "__proto__", "toString", "hasOwnProperty", "prototype", "length"] {
            for offer in [
                name.to_owned(),
                format!("{name}; {name}=1; {name}=\"2\", {name}"),
                format!("permessage-deflate; {name}"),
                format!("permessage-deflate; {name}=15; server_max_window_bits={name}"),
                format!("{name}, {OFFER}"),
            ] {
                let headers = [("sec-websocket-extensions", &*offer)];
                let mut ws = server.upgrade(&target(WEBSOCKET), &headers).await.ok().unwrap();
                let agreed = ws.handshake.header("sec-websocket-extensions");
                assert!(
                    agreed.is_none_or(|agreed| !agreed.contains(name) && offer.ends_with(OFFER)),
                    "{offer}"
                );
                assert!(ws.text().await.starts_with("0{"), "{offer}");
            }
        }
        // What is no list at all is refused where lists are read, and ignored elsewhere.
        for offer in ["constructor=", ";", ",", "a b", "\"", "permessage-deflate; a=\"", "=1", ";;;;"] {
            let answer = server.upgrade(&target(WEBSOCKET), &[("sec-websocket-extensions", offer)]).await;
            assert!(answer.err().is_none_or(|answer| answer.status == 400), "{offer}");
        }
        server.until(|io| io.engine().clients_count() == 0).await;
        still_serves(&server).await;
    }
}

/// What a browser offers.
#[cfg(feature = "deflate")]
const OFFER: &str = "permessage-deflate; client_max_window_bits";

/// CVE-2021-32640 (`ws`): a header `Sec-WebSocket-Protocol` with many spaces took quadratic time to be split. Patio
/// splits it in one pass, and finds a repeated name by its hash.
///
/// With a search from each space for its comma in `subprotocol` of `proto/ws/handshake.rs`: 700 times as long. Without
/// its `HashSet`, but a list of names: fifteen times as long for four times as many.
#[tokio::test]
async fn cve_2021_32640_a_slow_list_of_subprotocols() {
    let builder = Patio::builder().max_header_bytes(usize::MAX);
    let server = with_answer(Server::in_memory(builder, 64 * 1024));
    let ask = async |value: &str| {
        let headers = [("sec-websocket-protocol", value)];
        server.upgrade(&target(WEBSOCKET), &headers).await.map_err(|answer| answer.status).err()
    };
    let spaces = format!("b{}x", " ".repeat(20_000));
    let harmless = "b".repeat(20_002);
    assert_eq!((ask(&spaces).await, ask(&harmless).await), (Some(400), None));
    let harmless = cost(async || _ = ask(&harmless).await).await;
    let spaces = cost(async || _ = ask(&spaces).await).await;
    println!("spaces: {spaces:?}, harmless: {harmless:?}");
    assert!(spaces < harmless * 8, "{spaces:?}, {harmless:?}");

    let names = |count: u32| (0..count).map(|n| format!("{n:04x}")).collect::<Vec<_>>().join(",");
    let mut costs = Vec::new();
    for names in [names(2_500), names(10_000)] {
        assert_eq!(ask(&names).await, None);
        costs.push(cost(async || _ = ask(&names).await).await);
    }
    is_linear("subprotocols", costs[0], costs[1]);
    still_serves(&server).await;
}

/// CVE-2024-37890 (`ws`): of a request with more headers than Node reads, the rest was cut off, and the missing
/// `Upgrade` ended the process. Patio refuses such a request as a whole.
///
/// Without `too_many_headers` in `engine/request.rs`: what is too much gets a 101. Beyond 100 fields it is hyper that
/// refuses, in front of Patio.
#[tokio::test]
async fn cve_2024_37890_more_headers_than_are_read() {
    // Of these `handshake` writes five itself.
    let names: Vec<String> = (0..2_000).map(|n| format!("x{n}")).collect();
    let fields = |count: usize| names[..count].iter().map(|name| (name.as_str(), "x")).collect::<Vec<_>>();
    // Those of the upgrade last, and those of the upgrade first.
    type Order = fn(&[(&str, &str)]) -> Vec<u8>;
    let orders: [Order; 2] = [
        |fields| handshake(WEBSOCKET, fields),
        |fields| {
            let request = String::from_utf8(handshake(WEBSOCKET, &[])).unwrap();
            let (line, rest) = request.split_once("\r\n").unwrap();
            let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            format!("{line}\r\n{fields}{rest}").into_bytes()
        },
    ];
    for order in orders {
        // Patio's own limit, then the one in front of it.
        let server = start(Patio::builder().max_headers(20)).await;
        for (count, status) in [(15, 101), (16, 431), (95, 431), (96, 431), (2_000, 431)] {
            let mut http = server.http().await;
            http.send_raw(&order(&fields(count))).await;
            assert_eq!(http.response().await.status, status, "{count}");
        }
        assert_eq!(server.io.counters().large_heads, 2);
        server.until(|io| io.engine().clients_count() == 0).await;
        still_serves(&server).await;
    }
}

/// CVE-2023-43669 (`tungstenite`): a long head that came in pieces was parsed from its start with each of them. Here
/// the HTTP server looks for its end only; and a head that does not end within 16 KiB is refused then and there.
///
/// Without `max_header_size` in `serve.rs`: no answer comes, the head is read on.
#[tokio::test]
async fn cve_2023_43669_a_long_head_in_pieces() {
    let server = start(Patio::builder()).await;
    let begin = format!("GET {} HTTP/1.1\r\nhost: x\r\n", target(POLLING));
    let mut costs = Vec::new();
    // Few enough that a busy machine takes them within the time for a head.
    for pieces in [400, 1_600] {
        costs.push(
            cost(async || {
                let mut http = server.http().await;
                http.send_raw(begin.as_bytes()).await;
                http.send_raw(b"a: ").await;
                for _ in 0..pieces {
                    http.send_raw(b"aaaaaaaa").await;
                    // The server reads what there is.
                    yield_now().await;
                }
                http.send_raw(b"\r\n\r\n").await;
                assert_eq!(http.response().await.status, 200);
            })
            .await,
        );
    }
    is_linear("a head in pieces", costs[0], costs[1]);

    for header in ["a: ".to_owned(), "a: b\r\n".repeat(90) + "a: "] {
        let mut http = server.http().await;
        http.send_raw(begin.as_bytes()).await;
        http.send_raw(header.as_bytes()).await;
        http.send_raw("a".repeat(16 * 1024).as_bytes()).await;
        assert_eq!(http.response().await.status, 431);
        assert!(http.response_or_end().await.is_none());
    }
    server.io.close().await;
}

/// CVE-2026-48779 (`ws`): each fragment of a message was kept in a buffer of its own, so that tiny ones cost hundreds
/// of times their size. Patio joins them as they come, and takes no more than 131,072 of one message.
///
/// Without `message.fragments == MAX_FRAGMENTS` in `proto/ws/decode.rs`: nothing is closed. With a list of the chunks
/// in its `Unfinished`: 39 MB.
#[cfg(target_os = "linux")]
#[test]
fn cve_2026_48779_tiny_fragments() {
    if is_alone("cve_2026_48779_tiny_fragments") {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(tiny_fragments());
    }
}

#[cfg(target_os = "linux")]
async fn tiny_fragments() {
    let server = start(Patio::builder()).await;
    let fragments = |count, payload: &[u8]| {
        let mut frames = frame(ws::Opcode::Text, false, b"4");
        frames.extend(frame(ws::Opcode::Continuation, false, payload).repeat(count));
        frames
    };
    let send = async |ws: &mut WsClient, frames: &[u8]| {
        for piece in frames.chunks(64 * 1024) {
            ws.send_raw(piece).await;
            yield_now().await;
        }
        // The answer to a ping comes when everything before it was read.
        ws.send_message(&ws::Message::Ping(Bytes::new())).await;
        assert!(matches!(ws.message().await, Some(ws::Message::Pong(_))));
    };
    let frames = fragments(60_000, b"2");
    let mut clients = Vec::new();
    let mut before = 0;
    for n in 0..11 {
        let mut ws = server.ws(V4).await;
        send(&mut ws, &frames).await;
        clients.push(ws);
        if n == 0 {
            before = resident();
        }
    }
    let grown = resident().saturating_sub(before);
    println!("{grown} bytes for 600,000 fragments of 1 byte");
    assert!(grown < 8_000_000, "{grown} bytes for 600,000 fragments of 1 byte");
    drop(clients);

    for payload in [&b""[..], b"2"] {
        let mut ws = server.ws(V4).await;
        let frames = fragments(131_071, payload);
        send(&mut ws, &frames).await;
        ws.send_raw(&frame(ws::Opcode::Continuation, false, payload)).await;
        assert_eq!(ws.closed().await, 1008);
    }
    server.until(|io| io.engine().clients_count() == 0).await;
    still_serves(&server).await;
}

/// Decompression bombs: a few bytes on the wire that are many when they are inflated. Patio stops at the limit of the
/// message, and inflates nothing but what was agreed on: no body of a POST.
///
/// Without `piece.len() > to_come` in `proto/ws/assembly.rs`: a message of 64 MB is handled.
#[cfg(feature = "deflate")]
#[tokio::test]
async fn decompression_bombs() {
    use flate2::{Compress, Compression, FlushCompress};
    let engine = Engine::start(Patio::builder().per_message_deflate(usize::MAX)).await;
    // A megabyte, and as often as need be: the blocks refer to nothing before them.
    let mut megabyte = Vec::with_capacity(10_000);
    let mut deflate = Compress::new(Compression::best(), false);
    deflate.compress_vec(&[b'4'; 1_000_000], &mut megabyte, FlushCompress::Full).unwrap();
    let bomb = |times: usize| {
        let mut payload = megabyte.repeat(times);
        payload.truncate(payload.len() - 4);
        let mut frame = ws::header(ws::Opcode::Text, true, payload.len(), Some([0; 4])).compressed().to_vec();
        frame.extend(payload);
        frame
    };
    let headers = [("sec-websocket-extensions", OFFER)];
    for (times, fits) in [(1, true), (2, false), (64, false)] {
        let mut ws = engine.upgrade(&target(WEBSOCKET), &headers).await.ok().unwrap();
        engine.client().await;
        let bomb = bomb(times);
        assert!(bomb.len() < 200_000);
        ws.send_raw(&bomb).await;
        if fits {
            assert_eq!(engine.message().await.len(), 999_999);
            continue;
        }
        assert_eq!(engine.closed().await, "transport error");
        assert_eq!(ws.closed().await, 1009);
    }
    // Not agreed on, it is not even read as text.
    let mut ws = engine.ws(V4).await;
    engine.client().await;
    ws.send_raw(&bomb(64)).await;
    assert_eq!(engine.closed().await, "transport error");
    assert_eq!(ws.closed().await, 1002);

    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), Compression::fast());
    std::io::Write::write_all(&mut gzip, &[b'4'; 100_000]).unwrap();
    let gzip = gzip.finish().unwrap();
    for encoding in ["gzip", "deflate", "br"] {
        let mut polling = engine.polling(V4).await;
        engine.client().await;
        let headers = [("content-encoding", encoding), ("content-type", "text/plain;charset=UTF-8")];
        assert_eq!(polling.post_with(&headers, &gzip).await.brief(), (200, "ok"));
        assert_eq!(engine.closed().await, "parse error");
    }
}

// Engine.IO.

/// CVE-2020-36048 (`engine.io`): a POST of many tiny packets kept the server busy for minutes. Patio takes 4,096 of
/// one body, and takes it apart in one pass.
///
/// Without `count == limit` in `proto/engine/payload.rs`, or one of the two in `v3.rs`: all packets are delivered.
#[tokio::test]
async fn cve_2020_36048_a_payload_of_many_tiny_packets() {
    let messages = Arc::new(AtomicUsize::new(0));
    let serve = |builder: ServerBuilder| {
        let count = Arc::clone(&messages);
        let count = move |_: &Client, _: Message| _ = count.fetch_add(1, Ordering::SeqCst);
        Net::serve(builder.allow_eio3(true).build_engine_io(count).unwrap()).0
    };
    let tiny = |packet: &str, count: usize| packet.repeat(count).trim_end_matches('\u{1e}').to_owned();
    let net = serve(Patio::builder());
    for (eio, packet) in [(V4, "4\u{1e}"), (V3, "1:4"), (V3, "2:4é")] {
        messages.store(0, Ordering::SeqCst);
        let mut polling = net.polling(eio).await;
        polling.post(tiny(packet, 999_999 / packet.len())).await;
        assert_eq!(messages.load(Ordering::SeqCst), 4_096, "{packet}");
        // The session is over.
        assert_eq!(polling.poll().await.status, 400);
    }
    messages.store(0, Ordering::SeqCst);
    let mut polling = net.polling(V3).await;
    let octets = [("content-type", "application/octet-stream")];
    polling.post_with(&octets, b"\0\x01\xff4".repeat(249_999)).await;
    assert_eq!(messages.load(Ordering::SeqCst), 4_096);
    // Also where more are allowed.
    let net = serve(Patio::builder().max_packets_per_payload(usize::MAX));
    for (eio, packet) in [(V4, "4\u{1e}"), (V3, "1:4"), (V3, "2:4é")] {
        let mut costs = Vec::new();
        for count in [10_000, 40_000] {
            let body = tiny(packet, count);
            let mut polling = net.polling(eio).await;
            costs.push(cost(async || _ = polling.post(&body).await).await);
        }
        is_linear(packet, costs[0], costs[1]);
    }
}

/// CVE-2022-21676 (`engine.io`): a frame with reserved bits, sent right behind the request for a WebSocket, ended the
/// process, because nobody listened for the error yet. In Patio what comes early is read like everything else.
///
/// Without both `Violation::ReservedBit` in `proto/ws/frame.rs`: the frame is taken for an empty message.
#[tokio::test]
async fn cve_2022_21676_a_bad_frame_behind_the_handshake() {
    let server = start(Patio::builder()).await;
    for bits in [0x10, 0x20, 0x30, 0x40, 0x70] {
        let early = [0x81 | bits, 0x80, 0, 0, 0, 0];
        let mut http = server.http().await;
        http.send_raw(&[&handshake(WEBSOCKET, &[])[..], &early].concat()).await;
        assert_eq!(http.response().await.status, 101);
        let mut ws = WsClient::after(http);
        assert_eq!(ws.closed().await, 1002);
        // The same while it probes for another session, which stays.
        let mut polling = server.polling(V4).await;
        let mut http = server.http().await;
        let query = format!("{WEBSOCKET}&sid={}", polling.sid());
        http.send_raw(&[&handshake(&query, &[])[..], &early].concat()).await;
        assert_eq!(http.response().await.status, 101);
        assert_eq!(WsClient::after(http).closed().await, 1002);
        polling.join("/").await;
        polling.post("1").await;
        assert_eq!(server.reason().await, "transport close");
    }
    server.until(|io| io.engine().clients_count() == 0).await;
    still_serves(&server).await;
}

/// CVE-2022-41940 (`engine.io`): a request to upgrade to something else, whose connection was reset while the server
/// closed it, ended the process. In Patio a failed read or write ends that connection.
///
/// Without `Error::OtherUpgrade` in `proto/ws/handshake.rs`: a 101. With a panic in place of `TransportClose` where
/// `engine/driver.rs` reads: no reason comes.
#[tokio::test]
async fn cve_2022_41940_an_upgrade_to_something_else_and_a_reset() {
    let server = start(Patio::builder()).await;
    let request = |target: &str, protocol: &str| {
        format!(
            "GET {target} HTTP/1.1\r\nhost: x\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: {protocol}\r\n\
             http2-settings: AAMAAABkAAQAAP__\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
    };
    for protocol in ["h2c", "TLS/1.0", "websocket2", "h2c, websocket/13"] {
        for query in [WEBSOCKET, POLLING, "", "EIO=4&transport=websocket&sid=none"] {
            let mut http = server.http().await;
            http.send_raw(request(&target(query), protocol).as_bytes()).await;
            assert_eq!(http.response().await.status, 400, "{protocol} {query}");
            // The same without waiting for the answer, and with a reset in place of an end.
            let stream = tokio::net::TcpStream::connect(server.addr).await.unwrap();
            stream.writable().await.unwrap();
            stream.try_write(request(&target(query), protocol).as_bytes()).unwrap();
            reset(stream);
        }
    }
    // A WebSocket that is reset: between frames, and inside one.
    for last in [&b""[..], b"\x81\xfe\x01\x00\0\0\0\0abc"] {
        let stream = tokio::net::TcpStream::connect(server.addr).await.unwrap();
        let socket = socket2::SockRef::from(&stream).try_clone().unwrap();
        let mut ws = WsClient::open(stream, V4, "", &[]).await;
        ws.join("/").await;
        ws.send_raw(last).await;
        socket.set_linger(Some(Duration::ZERO)).unwrap();
        drop((socket, ws));
        assert_eq!(server.reason().await, "transport close");
    }
    server.until(|io| io.engine().clients_count() == 0).await;
    still_serves(&server).await;
}

/// Ends a connection by a reset.
fn reset(stream: tokio::net::TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// CVE-2023-31125 (`engine.io`): a query with a value that nobody expected, looked up as a property, ended the
/// process. In Patio it is compared with what is known, and refused with the error that says so.
///
/// Without `ok_or(UnknownTransport)` in `engine/request.rs` (`unwrap` in its place): no answer comes.
#[tokio::test]
async fn cve_2023_31125_a_query_that_nobody_expected() {
    let server = start(Patio::builder()).await;
    let unknown = (400, r#"{"code":0,"message":"Transport unknown"}"#);
    for transport in
        ["__proto__", "constructor", "toString", "", "polling,websocket", "websocket%00", "Polling"]
    {
        for query in [format!("EIO=4&transport={transport}"), format!("transport={transport}&sid=__proto__")]
        {
            assert_eq!(server.get(&query).await.brief(), unknown, "{query}");
            let refused = server.upgrade(&target(&query), &[]).await.err().unwrap();
            assert_eq!(refused.brief(), (400, "Transport unknown"), "{query}");
        }
    }
    for query in
        ["", "&&&", "=", "EIO=4", "transport", "transport[]=websocket", "transport[length]=1", "%", "%ff=%"]
    {
        assert_eq!(server.get(query).await.brief(), unknown, "{query}");
        assert_eq!(server.upgrade(&target(query), &[]).await.err().unwrap().status, 400, "{query}");
    }
    for sid in ["__proto__", "constructor", "x", "%00", "%ff", "0&sid=1"] {
        let answer = server.get(&format!("{POLLING}&sid={sid}")).await;
        assert_eq!(answer.brief(), (400, r#"{"code":1,"message":"Session ID unknown"}"#), "{sid}");
    }
    for revision in ["", "5", "__proto__", "4.0", "NaN"] {
        let answer = server.get(&format!("EIO={revision}&transport=polling")).await;
        // As in Node, what is not 4 is 3, which is allowed here.
        assert_eq!(answer.status, 200, "{revision}");
        assert_eq!(support::split(V3, &answer).len(), 1, "the open packet");
    }
    server.io.close().await;
}

/// CVE-2026-59725 (`engine.io`): bodies of POSTs that call themselves binary and are not what is expected brought the
/// server down. Patio refuses them for clients of revision 4, which never send any, and reads those of revision 3 with
/// all bounds checked.
///
/// Without `octets && session.protocol() == Protocol::V4` in `engine/transport/polling.rs`: an answer of 200. Without
/// `packet.len() < length` in `proto/engine/v3.rs`: no answer comes.
#[tokio::test]
async fn cve_2026_59725_a_binary_post_that_is_none() {
    let server = start(Patio::builder()).await;
    let headers = [("content-type", "application/octet-stream")];
    let bodies: [&[u8]; 9] = [
        b"",
        b"4",
        b"\0",
        b"\0\xff",
        b"\x01\x09\xff",
        b"\x02\x01\xff4",
        b"\0\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\xff4",
        b"\0\x01\xff\xc3",
        b"\x01\x01\xff\x09",
    ];
    for body in bodies {
        let mut polling = server.polling(V4).await;
        polling.join("/").await;
        assert_eq!(polling.post_with(&headers, body).await.brief(), (400, ""), "{body:?}");
        assert_eq!(server.reason().await, "transport error", "{body:?}");
        let mut polling = server.polling(V3).await;
        polling.join("/").await;
        assert_eq!(polling.post_with(&headers, body).await.brief(), (200, "ok"), "{body:?}");
        if body.is_empty() {
            polling.post("1:1").await;
            assert_eq!(server.reason().await, "transport close");
        } else {
            assert_eq!(server.reason().await, "parse error", "{body:?}");
        }
    }
    still_serves(&server).await;
}

/// GHSA-cgwc-pv48-fhj5 (`python-engineio`): each pong started another heartbeat, a thread of its own, so that a client
/// could have thousands. In Patio a session has one deadline, and the timers one task for all.
///
/// With a task for each pong in `engine/driver.rs`: 100,000 more tasks. Without `next < armed` and
/// `disarm` in `engine/session/mod.rs`: each pong is one more listing of the timers, and the tick at which they come up takes 40
/// times as long.
#[tokio::test(start_paused = true)]
async fn ghsa_cgwc_pv48_fhj5_pongs_without_end() {
    let server = with_answer(Server::in_memory(Patio::builder(), 64 * 1024));
    let mut ws = server.ws(V4).await;
    ws.join("/").await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let tick = async |ws: &mut WsClient| {
        let ping = tokio::time::Instant::now();
        tokio::time::sleep(Duration::from_secs(24)).await;
        let start = cpu_time();
        assert_eq!(ws.text().await, "2");
        (cpu_time() - start, ping.elapsed())
    };
    let (quiet, _) = tick(&mut ws).await;
    let before = tasks();
    let mut flood = Vec::new();
    ws::encode_message(&mut flood, &ws::Message::Text("3".into()), Some([1, 2, 3, 4]));
    ws.send_raw(&flood.repeat(100_000)).await;
    ws.send(r#"421["fine"]"#).await;
    assert_eq!(ws.text().await, "431[0]");
    assert_eq!(tasks(), before);
    // One ping at its time, as if there had been one pong.
    let (flooded, after) = tick(&mut ws).await;
    println!("quiet: {quiet:?}, after the flood: {flooded:?}");
    assert!(after >= Duration::from_secs(25) && after < Duration::from_secs(26), "{after:?}");
    assert!(flooded < quiet * 4 + Duration::from_millis(3), "{quiet:?}, {flooded:?}");
    ws.send("3").await;
    let (_, after) = tick(&mut ws).await;
    assert!(after >= Duration::from_secs(25) && after < Duration::from_secs(26), "{after:?}");
    // Where it is the client that pings, a pong is not allowed at all.
    let mut old = server.ws(V3).await;
    old.join("/").await;
    old.send("3").await;
    assert_eq!(server.reason().await, "transport error");
}

// Socket.IO.

/// CVE-2017-16031 (`socket.io`): ids were made of `Math.random()`, so that from some of them the next could be told.
/// Patio's have 96 bits of the operating system's random numbers.
///
/// Without `getrandom::fill` in `engine/mod.rs`: a socket has the id of its session. With the time in its place: bits
/// are set in none or all.
#[tokio::test]
async fn cve_2017_16031_ids_cannot_be_guessed() {
    const IDS: usize = 2_000;
    let server = start(Patio::builder()).await;
    let mut random = Vec::new();
    let mut http = server.http().await;
    for _ in 0..IDS {
        http.send("GET", &target(POLLING), &[], b"").await;
        let open = support::json(&http.response().await.text()[1..]);
        let id = open["sid"].as_str().unwrap().to_owned();
        assert_eq!(id.len(), 20);
        random.push(BASE64_URL_SAFE.decode(id).unwrap()[..12].to_vec());
    }
    // A socket's id tells nothing of its session's.
    let mut ws = server.ws(V4).await;
    let id = ws.join("/").await;
    assert_ne!(BASE64_URL_SAFE.decode(&id).unwrap()[3..], BASE64_URL_SAFE.decode(ws.sid()).unwrap()[..12]);
    // Each bit is set in half of them, each differs from that of the id before in half of them. 1,000 of 2,000 with a
    // deviation of 22: seven of these are met once in 10^12 runs.
    let pairs: Vec<Vec<u8>> =
        random.windows(2).map(|two| two[0].iter().zip(&two[1]).map(|(a, b)| a ^ b).collect()).collect();
    for (what, bytes) in [("bit", &random), ("change of bit", &pairs)] {
        for bit in 0..96 {
            let set = bytes.iter().filter(|bytes| bytes[bit / 8] >> (bit % 8) & 1 == 1).count();
            assert!(set.abs_diff(IDS / 2) < 160, "{what} {bit} is set in {set} of {IDS}");
        }
    }
    assert_eq!(random.iter().collect::<HashSet<_>>().len(), IDS);
    // And not two servers of one process are alike.
    let other = Server::start(Patio::builder()).await;
    let open = support::json(&other.get(POLLING).await.text()[1..]);
    let first = BASE64_URL_SAFE.decode(open["sid"].as_str().unwrap()).unwrap();
    assert!(!random.contains(&first[..12].to_vec()));
    server.io.close().await;
}

/// CVE-2020-28481 (`socket.io`): every page could use the server, because `Access-Control-Allow-Origin: *` was the
/// default. Patio sends no CORS header unless it is told to.
///
/// With `cors: Some(Cors::any())` in `config.rs`: the headers are there.
#[tokio::test]
async fn cve_2020_28481_no_other_sites_unless_allowed() {
    let server = start(Patio::builder()).await;
    let origin = [("origin", "https://elsewhere.example"), ("access-control-request-method", "POST")];
    let mut polling = server.polling_with(V4, "", &origin).await;
    let sid = format!("{POLLING}&sid={}", polling.sid());
    let mut answers = vec![polling.handshake.clone(), polling.post_with(&origin, "40").await];
    answers.push(polling.poll().await);
    for (method, query) in
        [("OPTIONS", POLLING), ("OPTIONS", &sid), ("GET", "transport=x"), ("POST", POLLING)]
    {
        answers.push(server.request(method, &target(query), &origin, b"").await);
    }
    let ws = server.ws_with(V4, "", &origin).await;
    answers.push(ws.handshake.clone());
    for answer in answers {
        let cors = answer.headers.iter().find(|(name, _)| name.starts_with("access-control-"));
        assert_eq!(cors, None, "{answer:?}");
    }
    drop((ws, polling));
    server.io.close().await;
}

/// CVE-2020-36049 (`socket.io-parser`): the digits and the namespace in front of a packet's data were collected by
/// appending one character after the other, so that long ones filled the memory. Patio looks for their end.
///
/// With a copy of what was read so far for each digit, in `digits` of `proto/decode.rs`: twelve times as long for four
/// times as many.
#[tokio::test]
async fn cve_2020_36049_long_fields_of_a_packet() {
    let server = start(Patio::builder()).await;
    type Long = fn(usize) -> String;
    let packets: [(&str, Long); 5] = [
        ("id", |n| format!("42{}[\"x\"]", "9".repeat(n))),
        ("id of an ack", |n| format!("43{}[]", "9".repeat(n))),
        ("zeros", |n| format!("42{}[\"x\"]", "0".repeat(n))),
        ("namespace", |n| format!("41/{},", "n".repeat(n))),
        ("attachments", |n| format!("45{}-[\"x\"]", "9".repeat(n))),
    ];
    for (what, packet) in packets {
        let ends = ["namespace", "attachments"].contains(&what);
        let mut costs = Vec::new();
        for length in [50_000, 200_000] {
            let packet = packet(length);
            costs.push(
                cost(async || {
                    let mut ws = server.ws(V4).await;
                    ws.join("/").await;
                    ws.send(&packet).await;
                    if ends {
                        ws.closes_silently().await;
                        assert_eq!(server.reason().await, "forced close");
                    } else {
                        ws.send(r#"421["fine"]"#).await;
                        while ws.text().await != "431[0]" {}
                        drop(ws);
                        assert_eq!(server.reason().await, "transport close");
                    }
                })
                .await,
            );
        }
        is_linear(what, costs[0], costs[1]);
    }
    still_serves(&server).await;
}

/// CVE-2022-2421 (`socket.io-parser`): the number of a placeholder was not checked, so that it could stand for
/// anything that an array has, such as a function. Patio takes whole numbers of attachments that there are.
///
/// Without `illegal.get()` in `proto/decode/json.rs`: the connection stays.
#[tokio::test]
async fn cve_2022_2421_a_placeholder_that_stands_for_no_attachment() {
    let server = start(Patio::builder()).await;
    let called = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&called);
    server.io.on("x", async move |Args(args): Args| {
        count.fetch_add(1, Ordering::SeqCst);
        Reply(args.len())
    });
    let numbers = [
        "\"splice\"",
        "\"__proto__\"",
        "\"0\"",
        "\"length\"",
        "-1",
        "1",
        "0.5",
        "1e1",
        "1e999",
        "null",
        "true",
        "{}",
        "[0]",
        "{\"_placeholder\":true,\"num\":0}",
        "18446744073709551616",
    ];
    for number in numbers {
        for data in [
            format!("{{\"_placeholder\":true,\"num\":{number}}}"),
            format!("{{\"num\":{number},\"_placeholder\":true}}"),
            format!("[{{\"a\":{{\"num\":0,\"_placeholder\":true,\"num\":{number}}}}}]"),
            "{\"_placeholder\":true}".to_owned(),
        ] {
            for kind in ["451-1", "461-"] {
                let mut ws = server.ws(V4).await;
                ws.join("/").await;
                ws.send(&format!("{kind}[\"x\",{data}]")).await;
                ws.send_binary(b"1").await;
                assert_eq!(ws.closed().await, 1005, "{data}");
                assert_eq!(server.reason().await, "forced close", "{data}");
            }
        }
    }
    assert_eq!(called.load(Ordering::SeqCst), 0);
    // Without attachments it is an object like others.
    let mut ws = server.ws(V4).await;
    ws.join("/").await;
    ws.send(r#"422["x",{"_placeholder":true,"num":"splice"}]"#).await;
    assert_eq!(ws.text().await, "432[1]");
    ws.send(r#"451-3["x",{"_placeholder":true,"num":0}]"#).await;
    ws.send_binary(b"1").await;
    assert_eq!(ws.text().await, "433[1]");
    drop(ws);
    assert_eq!(server.reason().await, "transport close");
    still_serves(&server).await;
}

/// CVE-2023-32695 (`socket.io-parser`): an event whose name was an object with a `toString` of its own ended the
/// process. In Patio a name is text or a number; and one like a property of JavaScript's objects is a name like others.
///
/// Without `Name::None => Err(Data)` in `proto/decode/json.rs`: the connection stays.
#[tokio::test]
async fn cve_2023_32695_an_event_named_like_a_property() {
    let server = start(Patio::builder()).await;
    let names = [
        r#"{"toString":"x"}"#,
        r#"{"valueOf":1,"toString":null}"#,
        r#"{"__proto__":["x"]}"#,
        r#"["x"]"#,
        "[]",
        "{}",
        "null",
        "true",
        r#"{"_placeholder":true,"num":0}"#,
    ];
    for name in names {
        for packet in [format!("421[{name}]"), format!("42[{name},\"x\"]")] {
            let mut ws = server.ws(V4).await;
            ws.join("/").await;
            ws.send(&packet).await;
            ws.closes_silently().await;
            assert_eq!(server.reason().await, "forced close", "{packet}");
        }
    }
    let mut ws = server.ws(V4).await;
    ws.join("/").await;
    let before = server.io.counters().unhandled_events;
    let properties =
        ["__proto__", "constructor", "toString", "hasOwnProperty", "prototype", "valueOf", "then"];
    for name in properties {
        ws.send(&format!("421[\"{name}\"]")).await;
    }
    ws.send(r#"422["fine"]"#).await;
    assert_eq!(ws.text().await, "432[0]");
    assert_eq!(server.io.counters().unhandled_events - before, properties.len() as u64);
    for name in properties {
        server.io.on(name, async move || Reply(name));
        ws.send(&format!("423[\"{name}\"]")).await;
        assert_eq!(ws.text().await, format!("433[\"{name}\"]"));
    }
    drop(ws);
    assert_eq!(server.reason().await, "transport close");
    still_serves(&server).await;
}

/// CVE-2024-38355 (`socket.io`): an event `error` from a client, for which nobody listened, ended the process, as
/// Node's emitters do with that name. In Patio no name means anything to the server but the six that are reserved.
///
/// Without `unhandled_events` in `connection/events.rs` (a panic in its place): the connection ends.
#[tokio::test]
async fn cve_2024_38355_an_event_named_error() {
    let server = start(Patio::builder()).await;
    for eio in [V4, V3] {
        let mut ws = server.ws(eio).await;
        ws.join("/").await;
        let before = server.io.counters().unhandled_events;
        let events = [r#"42["error"]"#, r#"421["error",{"message":"x"}]"#, r#"42["connect_failed"]"#];
        for event in events {
            ws.send(event).await;
        }
        ws.send(r#"422["fine"]"#).await;
        assert_eq!(ws.text().await, "432[0]");
        assert_eq!(server.io.counters().unhandled_events - before, events.len() as u64);
        drop(ws);
        assert_eq!(server.reason().await, "transport close");
    }
    // Who listens hears of it like of any other.
    server.io.on("error", async |Args(args): Args| Reply(args.len()));
    let mut ws = server.ws(V4).await;
    ws.join("/").await;
    ws.send(r#"421["error",1]"#).await;
    assert_eq!(ws.text().await, "431[1]");
    drop(ws);
    assert_eq!(server.reason().await, "transport close");
    still_serves(&server).await;
}

/// CVE-2026-33151 (`socket.io-parser`): a packet could announce any number of attachments, and the server kept them
/// all while it waited for the last. Patio takes ten, and refuses more before the first of them comes.
///
/// Without `attachments > limits.max_attachments` in `proto/decode.rs`: the connection stays.
#[tokio::test]
async fn cve_2026_33151_more_attachments_than_ten() {
    let server = start(Patio::builder()).await;
    for count in ["11", "1000000", "18446744073709551616", "99999999999999999999999999"] {
        for packet in [format!("45{count}-[\"x\"]"), format!("46{count}-1[]")] {
            let mut ws = server.ws(V4).await;
            ws.join("/").await;
            ws.send(&packet).await;
            ws.closes_silently().await;
            assert_eq!(server.reason().await, "forced close", "{packet}");
            let mut polling = server.polling(V4).await;
            polling.join("/").await;
            polling.post(&packet).await;
            assert_eq!(server.reason().await, "forced close", "{packet}");
        }
    }
    let mut ws = server.ws(V4).await;
    ws.join("/").await;
    let placeholders = (0..10).map(|n| format!("{{\"_placeholder\":true,\"num\":{n}}}"));
    ws.send(&format!("4510-1[\"fine\",{}]", placeholders.collect::<Vec<_>>().join(","))).await;
    for n in 0..10 {
        ws.send_binary(&[n]).await;
    }
    assert_eq!(ws.text().await, "431[10]");
    drop(ws);
    assert_eq!(server.reason().await, "transport close");
    still_serves(&server).await;
}

/// CVE-2025-61765 (`python-socketio`): servers of a cluster sent each other pickled objects, so that who could write to
/// the bus could run code on all of them. What Patio's servers say to each other is a fixed set of messages whose data
/// is JSON or MessagePack; it stays as it came until somebody reads it as a type that he names.
///
/// No single line holds this, there is no code that could be removed: `adapter::cluster::Message` knows no code. What a
/// broker cannot read it drops and counts: `cve_2025_61765_garbage_on_the_bus` in `patio-adapter/tests/cluster.rs`.
/// With a listener that is not guarded, in `hub/local.rs`: the reader's panic reaches the sender.
#[tokio::test]
async fn cve_2025_61765_what_comes_over_the_bus_is_data() {
    let bus = InProcess::new();
    let (sender, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let listen = patio::Namespace::new().on_server_side("x", move |payload: &Payload, _| {
        sender.send(payload.clone()).unwrap();
        // Read as something else it is an error, and nothing happens.
        payload.read_args::<std::net::SocketAddr>(1).unwrap();
    });
    let reading = start(Patio::builder().adapter(bus.node()).namespace("/", listen)).await;
    let writing = start(Patio::builder().adapter(bus.node())).await;
    let mut client = reading.ws(V4).await;
    client.join("/").await;
    soon(async {
        while writing.io.count_sockets().await.unwrap().sockets < 1 {
            yield_now().await;
        }
    })
    .await;
    let reduce =
        serde_json::json!({ "py/reduce": [{ "py/function": "os.system" }, ["exit"]], "__proto__": 1 });
    let pickle = "cos\nsystem\n(S'exit'\ntR.";
    for text in [reduce.to_string(), serde_json::json!([pickle, "\u{80}\u{4}\u{95}"]).to_string()] {
        let data: serde_json::Value = serde_json::from_str(&text).unwrap();
        writing.io.server_side_emit("x", &data).unwrap();
        assert_eq!(soon(heard.recv()).await.unwrap().json().unwrap().0.as_str(), format!("[\"x\",{text}]"));
        writing.io.emit("x", &data).unwrap();
        assert_eq!(client.text().await, format!("42[\"x\",{text}]"));
    }
    let bytes = Bytes::from_static(b"\x80\x04\x95cos\nsystem\n(S'exit'\ntR.");
    writing.io.server_side_emit("x", &bytes).unwrap();
    assert_eq!(soon(heard.recv()).await.unwrap().attachments(), [bytes]);
    assert_eq!((reading.io.counters().panics, writing.io.counters().panics), (3, 0));
    client.send(r#"421["fine"]"#).await;
    assert_eq!(client.text().await, "431[0]");
}
