//! Long-polling: payloads of both revisions in all their forms, overlapping and broken requests, and the end of a
//! session that polls.

#![cfg(all(feature = "serve", feature = "v3"))]

#[expect(dead_code, reason = "each test file uses a part")]
mod support;

use std::io::Read;

use flate2::read::{GzDecoder, ZlibDecoder};
use patio::engine_io::Message;
use patio_proto::Text;
use support::{Engine, Event, Http, Packet, PollingClient, Server, V3, V4, split};

const UNKNOWN_SID: (u16, &str) = (400, r#"{"code":1,"message":"Session ID unknown"}"#);
const OCTETS: (&str, &str) = ("content-type", "application/octet-stream");

async fn start() -> Engine {
    Engine::start(patio::Server::builder()).await
}

/// A session, and its client's handle on the server.
async fn open(engine: &Engine, eio: support::Eio) -> (PollingClient, patio::engine_io::Client) {
    let polling = engine.polling(eio).await;
    (polling, engine.client().await)
}

fn text(text: &str) -> Message {
    Message::Text(Text::from(text))
}

/// That the session is over and forgotten.
async fn is_unknown(polling: &PollingClient) {
    assert_eq!(polling.other_poll().await.brief(), UNKNOWN_SID);
}

#[tokio::test]
async fn a_payload_carries_packets_in_order() {
    let engine = start().await;
    let (mut v4, _) = open(&engine, V4).await;
    assert_eq!(v4.post("4one\u{1e}4t wo\u{1e}6\u{1e}bAQID/w==\u{1e}4€").await.brief(), (200, "ok"));
    let answer = v4.poll().await;
    assert_eq!(answer.brief(), (200, "4one\u{1e}4t wo\u{1e}bAQID/w==\u{1e}4€"));
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=UTF-8"));

    let engine = start().await;
    let (mut v3, _) = open(&engine, V3).await;
    // Lengths count UTF-16 code units: one for the euro, two for the emoji. A packet without anything is skipped.
    assert_eq!(v3.post("4:4one0:3:4🦀10:b4AQID/w==2:4€").await.brief(), (200, "ok"));
    for expected in ["one", "🦀"] {
        assert_eq!(engine.message().await, expected);
    }
    assert!(matches!(engine.event().await, Event::Message(Message::Binary(_))));
    assert_eq!(engine.message().await, "€");
    let answer = v3.poll().await;
    assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
    let echoes = ["4one".into(), "4🦀".into(), Packet::Binary(vec![1, 2, 3, 255]), "4€".into()];
    assert_eq!(split(V3, &answer), echoes);
}

#[tokio::test]
async fn protocol_3_chooses_its_form_by_the_packets_and_the_client() {
    let engine = start().await;
    let (mut polling, client) = open(&engine, V3).await;
    // Text alone stays text, with clients that take binary too.
    client.send(text("héé€"));
    assert_eq!(polling.poll().await.brief(), (200, "5:4héé€"));
    for message in [text("héé€"), Message::Binary(vec![1, 2, 3, 255].into()), text("x")] {
        client.send(message);
    }
    let answer = polling.poll().await;
    assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
    let captured =
        [&[0, 9, 0xff][..], "4héé€".as_bytes(), &[1, 5, 0xff, 4, 1, 2, 3, 0xff], &[0, 2, 0xff, b'4', b'x']]
            .concat();
    assert_eq!(answer.body, captured);

    let mut base64 = engine.polling_with(V3, "&b64=1", &[]).await;
    let client = engine.client().await;
    client.send(text("x"));
    client.send(Message::Binary(vec![1, 2, 3, 255].into()));
    let answer = base64.poll().await;
    assert_eq!(answer.brief(), (200, "2:4x10:b4AQID/w=="));
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=UTF-8"));
}

#[tokio::test]
async fn protocol_3_posts_binary_bodies_too() {
    let engine = start().await;
    let (mut polling, _) = open(&engine, V3).await;
    let body = b"\x00\x04\xff4\xe2\x82\xac\x01\x05\xff\x04\x01\x02\x03\xff\x00\x01\x01\xff4123456789a";
    assert_eq!(polling.post_with(&[OCTETS], &body[..]).await.brief(), (200, "ok"));
    assert_eq!(engine.message().await, "€");
    assert!(
        matches!(engine.event().await, Event::Message(Message::Binary(bytes)) if bytes == [1, 2, 3, 255][..])
    );
    assert_eq!(engine.message().await, "123456789a");
}

#[tokio::test]
async fn a_poll_waits_and_takes_everything_queued() {
    let engine = start().await;
    let (mut polling, client) = open(&engine, V4).await;
    polling.start_poll().await;
    engine.poll_waits().await;
    client.send(text("first"));
    assert_eq!(polling.polled().await.brief(), (200, "4first"));
    for n in 0..3 {
        client.send(text(&n.to_string()));
    }
    assert_eq!(polling.poll().await.brief(), (200, "40\u{1e}41\u{1e}42"));
}

#[tokio::test]
async fn two_gets_at_once_end_the_session() {
    let engine = start().await;
    for (eio, close) in [(V4, "1"), (V3, "1:1")] {
        let (mut polling, _) = open(&engine, eio).await;
        polling.start_poll().await;
        engine.poll_waits().await;
        assert_eq!(polling.other_poll().await.brief(), (400, ""));
        assert_eq!(polling.polled().await.brief(), (200, close));
        is_unknown(&polling).await;
        assert_eq!(engine.closed().await, "transport error");
    }
}

#[tokio::test]
async fn two_posts_at_once_end_the_session() {
    let engine = start().await;
    let (mut polling, _) = open(&engine, V4).await;
    polling.start_poll().await;
    engine.poll_waits().await;
    // A POST whose body is not complete: the server has its head once it says `100 Continue`.
    let mut slow = Http::connect(engine.addr).await;
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\nexpect: 100-continue\r\n\r\n",
        polling.target()
    );
    slow.send_raw(head.as_bytes()).await;
    assert_eq!(slow.response().await.status, 100);
    assert_eq!(polling.post("4lost").await.brief(), (400, ""));
    assert_eq!(polling.polled().await.brief(), (200, "1"));
    assert_eq!(engine.closed().await, "transport error");
    // The first one is given up by the server as well.
    assert_eq!(slow.response().await.brief(), (400, ""));
    is_unknown(&polling).await;
}

#[tokio::test]
async fn a_get_that_is_given_up_ends_the_session() {
    let engine = start().await;
    let (mut polling, _) = open(&engine, V4).await;
    polling.start_poll().await;
    engine.poll_waits().await;
    polling.abort_poll().await;
    assert_eq!(engine.closed().await, "transport error");
    is_unknown(&polling).await;
}

#[tokio::test]
async fn a_post_that_is_given_up_ends_the_session() {
    let engine = start().await;
    let (mut polling, _) = open(&engine, V4).await;
    let head = format!("POST {} HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n4half", polling.target());
    polling.posts.send_raw(head.as_bytes()).await;
    polling.posts = Http::connect(engine.addr).await;
    assert_eq!(engine.closed().await, "transport error");
    is_unknown(&polling).await;
}

#[tokio::test]
async fn a_body_in_chunks_is_read_whole() {
    let engine = start().await;
    let (mut polling, _) = open(&engine, V4).await;
    let head = format!("POST {} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n", polling.target());
    polling.posts.send_raw(head.as_bytes()).await;
    for chunk in ["3\r\n4he\r\n", "1\r\nl\r\n", "2\r\nlo\r\n", "0\r\n\r\n"] {
        polling.posts.send_raw(chunk.as_bytes()).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(polling.posts.response().await.brief(), (200, "ok"));
    assert_eq!(engine.message().await, "hello");
}

#[tokio::test]
async fn octets_are_for_protocol_3_only() {
    let engine = start().await;
    let (mut polling, _) = open(&engine, V4).await;
    polling.start_poll().await;
    engine.poll_waits().await;
    assert_eq!(polling.post_with(&[OCTETS], b"4x").await.brief(), (400, ""));
    assert_eq!(polling.polled().await.brief(), (200, "1"));
    assert_eq!(engine.closed().await, "transport error");
    is_unknown(&polling).await;
}

#[tokio::test]
async fn garbage_is_answered_ok_and_ends_the_session() {
    let engine = start().await;
    let bodies = [
        (V4, &b""[..]),
        (V4, b"abc"),
        (V4, b"\x1e"),
        (V4, b"7"),
        (V3, b""),
        (V3, b"4x"),
        (V3, b"9:4x"),
        (V3, b":4x"),
        (V3, b"-1:4x"),
        (V3, b"99999999999999999999999999999999999999:4x"),
        (V3, "3:4🦀".as_bytes().split_at(5).0),
        (V3, "2:4🦀".as_bytes()),
        (V3, b"2:9x"),
    ];
    for (eio, body) in bodies {
        let (mut polling, _) = open(&engine, eio).await;
        assert_eq!(polling.post(body).await.brief(), (200, "ok"), "{body:?}");
        assert_eq!(engine.closed().await, "parse error", "{body:?}");
        is_unknown(&polling).await;
    }
    for body in [&b"\x02\x01\xff4"[..], b"\x00\x05\xff4x", b"\x00\x0a\xff4", b"\x01\x01\xff\x09", b"\x00"] {
        let (mut polling, _) = open(&engine, V3).await;
        assert_eq!(polling.post_with(&[OCTETS], body).await.brief(), (200, "ok"), "{body:?}");
        assert_eq!(engine.closed().await, "parse error", "{body:?}");
    }
}

#[tokio::test]
async fn what_stands_before_a_bad_packet_is_delivered_and_nothing_behind_it() {
    let engine = start().await;
    let (mut polling, _) = open(&engine, V4).await;
    polling.post("4one\u{1e}4two\u{1e}x\u{1e}4three").await;
    assert_eq!(engine.message().await, "one");
    assert_eq!(engine.message().await, "two");
    assert_eq!(engine.closed().await, "parse error");
}

#[tokio::test]
async fn a_close_packet_ends_the_session_and_releases_the_poll() {
    let engine = start().await;
    for (eio, body, noop) in [(V4, "4x\u{1e}1\u{1e}4lost", "4x\u{1e}6"), (V3, "2:4x1:16:4lost!", "2:4x1:6")] {
        let (mut polling, _) = open(&engine, eio).await;
        polling.start_poll().await;
        engine.poll_waits().await;
        assert_eq!(polling.post(body).await.brief(), (200, "ok"));
        assert_eq!(engine.message().await, "x");
        assert_eq!(engine.closed().await, "transport close");
        assert_eq!(polling.polled().await.brief(), (200, noop));
        is_unknown(&polling).await;
    }
}

#[tokio::test]
async fn a_heartbeat_in_the_wrong_direction_ends_the_session() {
    let engine = start().await;
    for (eio, body) in [(V4, "2"), (V3, "1:3")] {
        let (mut polling, _) = open(&engine, eio).await;
        assert_eq!(polling.post(body).await.brief(), (200, "ok"));
        assert_eq!(engine.closed().await, "transport error");
        is_unknown(&polling).await;
    }
}

#[tokio::test]
async fn packets_that_mean_nothing_are_ignored() {
    let engine = start().await;
    let (mut polling, _) = open(&engine, V4).await;
    polling.post("0{}\u{1e}5\u{1e}6\u{1e}3\u{1e}6xyz\u{1e}4x").await;
    assert_eq!(engine.message().await, "x");
}

#[tokio::test]
async fn a_close_by_the_server_answers_the_poll() {
    let engine = start().await;
    for (eio, body) in [(V4, "1"), (V3, "1:1")] {
        let (mut polling, client) = open(&engine, eio).await;
        polling.start_poll().await;
        engine.poll_waits().await;
        client.close();
        assert_eq!(polling.polled().await.brief(), (200, body));
        assert_eq!(engine.closed().await, "forced close");
        is_unknown(&polling).await;
    }
}

#[tokio::test]
async fn a_close_by_the_server_waits_for_the_next_poll() {
    let engine = start().await;
    for (eio, body) in [(V4, "6\u{1e}1"), (V3, "1:61:1")] {
        let (mut polling, client) = open(&engine, eio).await;
        client.close();
        assert_eq!(engine.closed().await, "forced close");
        // What the client still sends is not taken, and not waited for either.
        assert_eq!(polling.post(if eio == V4 { "4x" } else { "2:4x" }).await.brief(), (200, "ok"));
        assert_eq!(polling.poll().await.brief(), (200, body));
        is_unknown(&polling).await;
    }
    // What was queued before comes first, and alone: official clients act on a close before they read what came with
    // it. So it is too when a poll waits, and both happen in one turn of the server.
    for waits in [false, true] {
        let (mut polling, client) = open(&engine, V4).await;
        polling.start_poll().await;
        if waits {
            engine.poll_waits().await;
        }
        client.send(text("bye"));
        client.close();
        assert_eq!(engine.closed().await, "forced close");
        assert_eq!(polling.polled().await.brief(), (200, "4bye"));
        assert_eq!(polling.poll().await.brief(), (200, "6\u{1e}1"));
        is_unknown(&polling).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_before_it_has_heard_of_the_end_is_not_waited_for() {
    let engine = start().await;
    for (eio, body) in [(V4, "4x\u{1e}1"), (V3, "2:4x1:1")] {
        let (mut polling, client) = open(&engine, eio).await;
        client.close();
        assert_eq!(engine.closed().await, "forced close");
        assert_eq!(polling.post(body).await.brief(), (200, "ok"));
        is_unknown(&polling).await;
    }
}

#[tokio::test]
async fn the_reason_tells_whether_a_client_hears_of_its_mistake_at_once() {
    let server = Server::start(patio::Server::builder()).await;
    let mut polling = server.polling(V4).await;
    polling.join("/").await;
    polling.start_poll().await;
    server.poll_waits().await;
    polling.send("42/other,[\"x\"]").await;
    assert_eq!(server.reason().await, "forced close");
    assert_eq!(polling.polled().await.brief(), (200, "1"));

    let mut polling = server.polling(V4).await;
    polling.join("/").await;
    polling.send("42/other,[\"x\"]").await;
    assert_eq!(server.reason().await, "forced server close");
    assert_eq!(polling.poll().await.brief(), (200, "6\u{1e}1"));
}

#[tokio::test]
async fn a_body_of_the_largest_size_is_taken_and_a_larger_one_keeps_the_session() {
    let engine = Engine::start(patio::Server::builder().max_http_buffer_size(100)).await;
    let (mut polling, _) = open(&engine, V4).await;
    let fits = format!("4{}", "x".repeat(99));
    assert_eq!(polling.post(&fits).await.brief(), (200, "ok"));
    assert_eq!(engine.message().await, fits[1..]);
    // Known from its head, known only when it comes.
    let answer = polling.post(format!("{fits}x")).await;
    assert_eq!(answer.brief(), (413, ""));
    let mut chunked = Http::connect(engine.addr).await;
    let head = format!("POST {} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n", polling.target());
    chunked
        .send_raw(format!("{head}40\r\n{}\r\n40\r\n{}\r\n", "x".repeat(64), "x".repeat(64)).as_bytes())
        .await;
    assert_eq!(chunked.response().await.brief(), (413, ""));
    polling.posts = Http::connect(engine.addr).await;
    assert_eq!(polling.post("4still here").await.brief(), (200, "ok"));
    assert_eq!(engine.message().await, "still here");
}

#[tokio::test]
async fn jsonp_wraps_payloads_of_both_revisions() {
    let engine = start().await;
    for (eio, open_prefix) in [(V4, "0{"), (V3, "118:0{")] {
        let number = eio.number();
        let answer = engine.get(&format!("EIO={number}&transport=polling&j=a1b2")).await;
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=UTF-8"));
        let body = answer.text().strip_prefix("___eio[12](").unwrap().strip_suffix(");").unwrap();
        let payload: String = serde_json::from_str(body).unwrap();
        assert!(payload.starts_with(open_prefix), "{payload}");
        let client = engine.client().await;
        let target = support::target(&format!("EIO={number}&transport=polling&j=0&sid={}", client.id()));

        // What the client escapes: a line feed, and a backslash followed by n. `+` and `%` belong to the form.
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let body: &[u8] = if eio == V4 { b"d=4a%5Cnb%5C%5Cnc%2B+d" } else { b"d=10%3A4a%5Cnb%5C%5Cnc%2B+d" };
        assert_eq!(engine.request("POST", &target, &form, body).await.brief(), (200, "ok"));
        assert_eq!(engine.message().await, "a\nb\\nc+ d");
        client.send(text("\u{2028}\u{2029}\"</script>"));
        client.send(Message::Binary(vec![1].into()));
        let expected = match eio {
            V4 => "4a\\nb\\\\nc+ d\u{1e}4\\u2028\\u2029\\\"</script>\u{1e}bAQ==",
            V3 => "10:4a\\nb\\\\nc+ d13:4\\u2028\\u2029\\\"</script>6:b4AQ==",
        };
        let answer = engine.request("GET", &target, &[], b"").await;
        let expected = format!("___eio[0](\"{}\");", expected.replace('\u{1e}', "\\u001e"));
        assert_eq!(answer.brief(), (200, &*expected));
    }
    // A form without the field is no payload.
    let (mut polling, _) = open(&engine, V4).await;
    // A form without the field is no payload; one that is empty is a bad one.
    for body in [&b"e=4x"[..], b"d="] {
        polling.posts.send("POST", &format!("{}&j=0", polling.target()), &[], body).await;
        assert_eq!(polling.posts.response().await.brief(), (200, "ok"));
    }
    assert_eq!(engine.closed().await, "parse error");
}

#[tokio::test]
async fn answers_are_compressed_from_a_size_on() {
    let engine = start().await;
    let (mut polling, client) = open(&engine, V4).await;
    let long = "x".repeat(1023);
    let mut poll = async |accept: &str, message: &str| {
        client.send(text(message));
        polling.gets.send("GET", &polling.target(), &[("accept-encoding", accept)], b"").await;
        let answer = polling.gets.response().await;
        let encoding = answer.header("content-encoding").map(str::to_owned);
        let mut body = String::new();
        match encoding.as_deref() {
            Some("gzip") => GzDecoder::new(&answer.body[..]).read_to_string(&mut body),
            Some("deflate") => ZlibDecoder::new(&answer.body[..]).read_to_string(&mut body),
            _ => (&answer.body[..]).read_to_string(&mut body),
        }
        .unwrap();
        assert_eq!(body[1..], *message);
        encoding
    };
    assert_eq!(poll("gzip, deflate, br", &long).await.as_deref(), Some("gzip"));
    assert_eq!(poll("deflate, gzip", &long).await.as_deref(), Some("deflate"));
    assert_eq!(poll("br", &long).await, None);
    assert_eq!(poll("gzip;q=0", &long).await, None);
    assert_eq!(poll("gzip", &long[1..]).await, None);
}

#[tokio::test]
async fn compression_can_be_turned_off() {
    let engine = Engine::start(patio::Server::builder().http_compression(None)).await;
    let (polling, client) = open(&engine, V4).await;
    client.send(text(&"x".repeat(5000)));
    let accept = [("accept-encoding", "gzip")];
    let answer = engine.request("GET", &polling.target(), &accept, b"").await;
    assert_eq!((answer.header("content-encoding"), answer.body.len()), (None, 5001));
}

#[tokio::test]
async fn a_server_that_closes_does_not_wait_for_clients_between_two_polls() {
    let server = Server::start(patio::Server::builder()).await;
    let mut between = server.polling(V4).await;
    between.join("/").await;
    let mut queued = server.polling(V4).await;
    queued.join("/").await;
    server.io.emit("queued", &()).unwrap();
    let mut polling = server.polling(V4).await;
    polling.join("/").await;
    polling.start_poll().await;
    server.poll_waits().await;
    let ws = server.ws(V4).await;
    drop(ws);
    let start = tokio::time::Instant::now();
    support::soon(server.io.close()).await;
    assert!(start.elapsed().as_secs() < 2, "closing took {:?}", start.elapsed());
    assert_eq!(polling.polled().await.brief(), (200, "1"));
    is_unknown(&between).await;
    is_unknown(&queued).await;
    for _ in 0..3 {
        assert_eq!(server.reason().await, "server shutting down");
    }
    // Nobody comes in any more.
    assert_eq!(server.get("EIO=4&transport=polling").await.status, 403);
    assert_eq!(server.io.engine().clients_count(), 0);
}
