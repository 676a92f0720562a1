//! Acknowledgements in both directions, of one client and of many.

#![cfg(feature = "serve")]

#[expect(dead_code, reason = "each test file uses a part")]
mod support;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use patio::{
    AckError, BroadcastAck, IntoAck, Namespace, Payload, Refusal, Reply, Server as Patio, Socket,
    extract::{Ack, Data, Event},
};
use support::{Server, V4, WsClient, soon};

const SHORT: Duration = Duration::from_millis(30);

/// A server, a client of it, and the client's socket.
async fn start() -> (Server, WsClient, Socket) {
    let server = Server::start(Patio::builder()).await;
    let (client, socket) = join(&server).await;
    (server, client, socket)
}

async fn join(server: &Server) -> (WsClient, Socket) {
    let mut client = server.ws(V4).await;
    let id = client.join("/").await;
    let socket = server.io.of("/").socket(&id).unwrap();
    (client, socket)
}

/// That the next packet answers a question that is asked now: nothing was on its way.
async fn nothing_came(client: &mut WsClient) {
    client.send(r#"4299["empty"]"#).await;
    assert_eq!(client.text().await, "4399[]");
}

#[derive(Debug)]
struct NoRoom;

impl std::fmt::Display for NoRoom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no room")
    }
}

impl IntoAck for NoRoom {
    fn into_ack(self) -> Option<Payload> {
        Payload::args(&("error", 404)).ok()
    }
}

#[tokio::test]
async fn the_return_value_of_a_handler_is_the_ack() {
    let (server, mut client, _) = start().await;
    server
        .io
        .on("empty", async || ())
        .on("one", async |Data(n): Data<u8>| Reply(n))
        .on("several", async || Reply(("a", 2, [3, 4])))
        .on("array", async || Reply([1, 2]))
        .on("binary", async |Data(bytes): Data<Bytes>| Reply((bytes.len(), bytes)))
        .on("refused", async || Err::<(), _>(Refusal::new("no").with_data(7)))
        .on("coded", async || Err::<Reply<u8>, _>(NoRoom))
        .on("silent", async || Err::<Reply<u8>, _>("only the server knows"));
    for (event, answer) in [
        (r#"425["empty"]"#, "435[]"),
        (r#"420["one",7,"more"]"#, "430[7]"),
        (r#"4218446744073709551614["several"]"#, r#"4318446744073709551614["a",2,[3,4]]"#),
        (r#"421["array"]"#, "431[[1,2]]"),
        (r#"422["refused"]"#, r#"432[{"message":"no","data":7}]"#),
        (r#"423["coded"]"#, r#"433["error",404]"#),
    ] {
        client.send(event).await;
        assert_eq!(client.text().await, answer);
    }
    client.send(r#"451-6["binary",{"_placeholder":true,"num":0}]"#).await;
    client.send_binary(&[1, 2, 3]).await;
    assert_eq!(client.text().await, r#"461-6[3,{"_placeholder":true,"num":0}]"#);
    assert_eq!(client.binary().await, [1, 2, 3]);
    // Not asked for, an error that says nothing, arguments that cannot be read, no handler: no answer.
    for event in
        [r#"42["one",7]"#, r#"42["coded"]"#, r#"427["silent"]"#, r#"427["one","x"]"#, r#"427["nobody"]"#]
    {
        client.send(event).await;
        nothing_came(&mut client).await;
    }
    let counters = server.io.counters();
    assert_eq!((counters.handler_errors, counters.extract_errors, counters.unhandled_events), (4, 1, 1));
}

#[tokio::test]
async fn what_no_handler_is_for_falls_back() {
    let (server, mut client, socket) = start().await;
    server.io.of("/").declare(Namespace::new().fallback(async |Event(event): Event| Reply(event)));
    server.io.on("known", async || Reply("known"));
    socket.on("own", async || Reply("own"));
    for (event, answer) in [("known", "known"), ("own", "own"), ("other", "other")] {
        client.send(&format!(r#"421["{event}"]"#)).await;
        assert_eq!(client.text().await, format!(r#"431["{answer}"]"#));
    }
    assert_eq!(server.io.counters().unhandled_events, 0);
    // The last one that was declared counts.
    server.io.of("/").declare(Namespace::new().fallback(async || Reply("second")));
    client.send(r#"421["other"]"#).await;
    assert_eq!(client.text().await, r#"431["second"]"#);
    server.io.of("/").declare(Namespace::new());
    client.send(r#"421["other"]"#).await;
    assert_eq!(client.text().await, r#"431["second"]"#);
}

#[tokio::test]
async fn an_ack_may_be_sent_later_from_anywhere_and_once() {
    let (server, mut client, _) = start().await;
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&kept);
    server
        .io
        .on("empty", async || ())
        .on("later", async move |ack: Ack| keep.lock().unwrap().push(ack))
        .on("dropped", async |ack: Ack| drop(ack))
        .on("twice", async |first: Ack, second: Ack| {
            assert!(first.is_requested() && !second.is_requested());
            second.send("second").unwrap();
            first.send("first").unwrap();
        })
        .on("both", async |ack: Ack| ack.send("first handler").unwrap())
        .on("both", async || Reply("second handler"));
    client.send(r#"421["later"]"#).await;
    client.send(r#"42["later"]"#).await;
    client.send(r#"422["dropped"]"#).await;
    nothing_came(&mut client).await;
    let acks = std::mem::take(&mut *kept.lock().unwrap());
    assert_eq!(acks.iter().map(Ack::is_requested).collect::<Vec<_>>(), [true, false]);
    std::thread::spawn(|| acks.into_iter().for_each(|ack| ack.send(&("late", 1)).unwrap())).join().unwrap();
    assert_eq!(client.text().await, r#"431["late",1]"#);
    client.send(r#"423["twice"]"#).await;
    assert_eq!(client.text().await, r#"433["first"]"#);
    client.send(r#"424["both"]"#).await;
    assert_eq!(client.text().await, r#"434["first handler"]"#);
    nothing_came(&mut client).await;
    // After the end of the socket it does nothing.
    client.send(r#"421["later"]"#).await;
    nothing_came(&mut client).await;
    client.send("41").await;
    assert_eq!(server.reason().await, "client namespace disconnect");
    kept.lock().unwrap().pop().unwrap().send(&1).unwrap();
    client.join("/").await;
}

#[tokio::test]
async fn a_client_is_asked_and_answers_with_several_arguments() {
    let (_server, mut client, socket) = start().await;
    let asked = [
        socket.emit_with_ack::<u8>("a", &()),
        socket.emit_with_ack::<u8>("b", &(1, "x")),
        socket.emit_with_ack::<u8>("c", &[1, 2]),
    ];
    for packet in [r#"420["a"]"#, r#"421["b",1,"x"]"#, r#"422["c",[1,2]]"#] {
        assert_eq!(client.text().await, packet);
    }
    assert_eq!(socket.pending_acks(), 3);
    for answer in ["432[2]", "431[1,\"more\"]", "430[0]"] {
        client.send(answer).await;
    }
    for (n, asked) in asked.into_iter().enumerate() {
        assert_eq!(soon(asked.into_future()).await.unwrap(), n as u8);
    }
    let tuple = socket.emit_with_ack::<(u8, Option<String>, Option<u8>)>("t", &());
    let binary = socket.emit_with_ack::<Bytes>("bin", &Bytes::from_static(&[9]));
    assert_eq!(client.text().await, r#"423["t"]"#);
    assert_eq!(client.text().await, r#"451-4["bin",{"_placeholder":true,"num":0}]"#);
    assert_eq!(client.binary().await, [9]);
    client.send(r#"433[1,"x"]"#).await;
    client.send(r#"461-4[{"_placeholder":true,"num":0}]"#).await;
    client.send_binary(&[8, 7]).await;
    assert_eq!(soon(tuple.into_future()).await.unwrap(), (1, Some("x".into()), None));
    assert_eq!(soon(binary.into_future()).await.unwrap(), Bytes::from_static(&[8, 7]));
    assert_eq!(socket.pending_acks(), 0);
}

#[tokio::test]
async fn a_wait_ends_in_time_and_late_answers_are_ignored() {
    let server = Server::start(Patio::builder().ack_timeout(SHORT)).await;
    let (mut client, socket) = join(&server).await;
    server.io.on("empty", async || ());
    let default = socket.emit_with_ack::<u8>("a", &());
    let own = socket.emit_with_ack::<u8>("b", &()).timeout(Duration::from_millis(1));
    assert!(matches!(soon(own.into_future()).await, Err(AckError::Timeout)));
    assert!(matches!(soon(default.into_future()).await, Err(AckError::Timeout)));
    assert_eq!(socket.pending_acks(), 0);
    for packet in [r#"420["a"]"#, r#"421["b"]"#] {
        assert_eq!(client.text().await, packet);
    }
    // Late, never asked, twice, no number.
    for answer in ["430[1]", "431[1]", "437[1]", "437[1]", "43[1]"] {
        client.send(answer).await;
    }
    nothing_came(&mut client).await;
    let counters = server.io.counters();
    assert_eq!((counters.ack_timeouts, counters.unknown_acks), (2, 5));
    // Something else than was expected.
    let wrong = socket.emit_with_ack::<u8>("c", &());
    assert_eq!(client.text().await, r#"422["c"]"#);
    client.send(r#"432["text"]"#).await;
    assert!(matches!(soon(wrong.into_future()).await, Err(AckError::Decode(_))));
    let refused = socket.emit_with_ack::<u8>("connect", &()).await.unwrap_err();
    assert_eq!(refused.to_string(), r#""connect" is a reserved event name"#);
}

#[tokio::test]
async fn the_end_of_the_client_ends_the_wait() {
    let server = Server::start(Patio::builder()).await;
    for end in ["41", "close", "server"] {
        let (mut client, socket) = join(&server).await;
        let wait = socket.emit_with_ack::<u8>("a", &()).into_future();
        let _ = client.text().await;
        match end {
            "41" => client.send("41").await,
            "close" => drop(client),
            _ => socket.disconnect(false),
        }
        assert!(matches!(soon(wait).await, Err(AckError::Disconnected)), "{end}");
        server.reason().await;
        let after = socket.emit_with_ack::<u8>("b", &()).into_future().now_or_never();
        assert!(matches!(after, Some(Err(AckError::Disconnected))), "{end}");
        assert_eq!(socket.pending_acks(), 0);
    }
    assert_eq!(server.io.counters().ack_timeouts, 0);
}

#[tokio::test]
async fn a_request_that_is_dropped_is_forgotten() {
    let (server, mut client, socket) = start().await;
    server.io.on("empty", async || ());
    let request = socket.emit_with_ack::<u8>("a", &());
    let future = socket.emit_with_ack::<u8>("b", &()).into_future();
    let many = server.io.emit_with_ack::<u8>("c", &());
    assert_eq!(socket.pending_acks(), 3);
    drop(request);
    drop(future);
    drop(many);
    assert_eq!(socket.pending_acks(), 0);
    for packet in [r#"420["a"]"#, r#"421["b"]"#, r#"422["c"]"#] {
        assert_eq!(client.text().await, packet);
    }
    client.send("430[1]").await;
    nothing_came(&mut client).await;
}

#[tokio::test]
async fn many_are_asked_with_one_packet_and_all_answers_are_given() {
    let (server, mut a, first) = start().await;
    let (mut b, second) = join(&server).await;
    let (mut c, third) = join(&server).await;
    server.io.to([first.id(), second.id()]).sockets_join("r").unwrap();
    let votes = server.io.to("r").except(third.id()).emit_with_ack::<u8>("vote", &"q");
    for (client, answer) in [(&mut a, "430[1,\"more\"]"), (&mut b, "430[2]")] {
        assert_eq!(client.text().await, r#"420["vote","q"]"#);
        client.send(answer).await;
    }
    let mut answers = soon(votes.all()).await.unwrap();
    answers.sort_unstable();
    assert_eq!(answers, [1, 2]);
    // As they come, with the names of those who answered.
    let mut votes = third.broadcast().emit_with_ack::<u8>("vote", &"again");
    assert_eq!(b.text().await, r#"421["vote","again"]"#);
    b.send(r#"431["not a number"]"#).await;
    match soon(votes.next()).await.unwrap() {
        BroadcastAck::Invalid { socket, .. } => assert_eq!(socket.as_ref(), Some(second.id())),
        other => panic!("{other:?}"),
    }
    assert_eq!(a.text().await, r#"421["vote","again"]"#);
    a.send("431[5]").await;
    match soon(votes.next()).await.unwrap() {
        BroadcastAck::Answer { socket, value: 5 } => assert_eq!(socket.as_ref(), Some(first.id())),
        other => panic!("{other:?}"),
    }
    assert!(soon(votes.next()).await.is_none());
    // Nobody is asked.
    let nobody = server.io.to("nobody").emit_with_ack::<u8>("vote", &());
    assert!(soon(nobody.all()).await.unwrap().is_empty());
    let failed = server.io.emit_with_ack::<u8>("disconnect", &()).all().await.unwrap_err();
    assert!(failed.failed.is_some(), "{failed}");
    server.io.emit("end", &()).unwrap();
    assert_eq!(c.text().await, r#"42["end"]"#);
    assert_eq!(first.pending_acks() + second.pending_acks() + third.pending_acks(), 0);
}

#[tokio::test]
async fn who_does_not_answer_is_named() {
    let (server, mut a, first) = start().await;
    let (_silent, second) = join(&server).await;
    let (mut c, third) = join(&server).await;
    let votes = server.io.timeout(SHORT).emit_with_ack::<u8>("vote", &());
    assert_eq!(a.text().await, r#"420["vote"]"#);
    a.send("430[1]").await;
    assert_eq!(c.text().await, r#"420["vote"]"#);
    c.send("41").await;
    let partial = soon(votes.all()).await.unwrap_err();
    assert_eq!(partial.answers, [1]);
    let mut missing = partial.missing.sockets.clone();
    missing.sort();
    let mut expected = [second.id().clone(), third.id().clone()];
    expected.sort();
    assert_eq!(missing, expected);
    assert_eq!((partial.missing.others, partial.missing.servers, partial.invalid), (0, 0, 0));
    assert_eq!(partial.to_string(), "operation has timed out: 1 answers, 2 missing, 0 invalid");
    assert_eq!(first.pending_acks() + second.pending_acks(), 0);
    assert_eq!(server.io.counters().ack_timeouts, 1, "who left did not time out");

    // When all others have answered or gone there is nothing to wait for.
    let votes = server
        .io
        .to([first.id(), second.id()])
        .timeout(Duration::from_secs(3600))
        .emit_with_ack::<u8>("v", &());
    assert_eq!(a.text().await, r#"421["v"]"#);
    a.send("431[2]").await;
    second.disconnect(false);
    let partial = soon(votes.all()).await.unwrap_err();
    assert_eq!((partial.answers, partial.missing.sockets), (vec![2], vec![second.id().clone()]));
}

/// A handler may ask its client, whose answer comes while the handler runs.
#[tokio::test]
async fn a_handler_asks_its_own_client() {
    let (server, mut client, _) = start().await;
    server.io.on("start", async |socket: Socket| -> Result<Reply<u8>, AckError> {
        let n: u8 = socket.emit_with_ack("how many", &()).await?;
        Ok(Reply(n + 1))
    });
    client.send(r#"427["start"]"#).await;
    assert_eq!(client.text().await, r#"420["how many"]"#);
    client.send("430[4]").await;
    assert_eq!(client.text().await, "437[5]");
}

/// The client here cannot read what is compressed.
#[cfg(feature = "deflate")]
#[tokio::test]
async fn a_question_may_be_sent_uncompressed() {
    let server = Server::start(Patio::builder().per_message_deflate(200)).await;
    let headers = [("sec-websocket-extensions", "permessage-deflate")];
    let mut client = server.ws_with(V4, "", &headers).await;
    assert!(client.handshake.header("sec-websocket-extensions").is_some());
    let id = client.join("/").await;
    let socket = server.io.of("/").socket(&id).unwrap();
    let answer = socket.compress(false).emit_with_ack::<u8>("long", &"x".repeat(1_000)).into_future();
    let question = client.text().await;
    assert!(question.starts_with(r#"420["long","xxx"#) && question.len() > 1_000);
    client.send("430[7]").await;
    assert_eq!(answer.await.unwrap(), 7);
}
