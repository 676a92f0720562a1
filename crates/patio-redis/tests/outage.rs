//! What is promised for the time that Redis is away, and for what comes from it that nobody understands.

#[expect(dead_code, reason = "each test file uses a part")]
mod server;

use std::{
    io::{BufRead, BufReader},
    mem,
    process::Stdio,
    sync::Arc,
};

use futures_util::{FutureExt, StreamExt};
use parking_lot::Mutex;
use patio::Server;
use patio_adapter::{
    AckEvent, AdapterEvent, AdapterFactory, BroadcastOptions, Payload, Room, contract::namespace::Happened,
};
use patio_redis::{Dialect, Emitter, EmitterError, PubSub};
use server::{Node, Redis, eventually};

/// A server that notes what becomes of its connection.
struct Watched {
    node: Node,
    events: Arc<Mutex<Vec<&'static str>>>,
}

fn watch(factory: &PubSub) -> Arc<Mutex<Vec<&'static str>>> {
    let events = Arc::new(Mutex::new(Vec::new()));
    let seen = events.clone();
    factory.watch(Arc::new(move |event| {
        seen.lock().push(match event {
            AdapterEvent::Failed(_) => "failed",
            AdapterEvent::Reconnected => "reconnected",
            _ => "something else",
        });
    }));
    events
}

async fn watched(redis: &Redis, socket: &str) -> Watched {
    let factory = PubSub::connect(&redis.url()).await.unwrap();
    let events = watch(&factory);
    let node = Node::join(&factory, "/").await;
    node.namespace.connect(&Room::from(socket), &[]);
    Watched { node, events }
}

fn event(n: usize) -> Payload {
    Payload::event("event", &n).unwrap()
}

fn everyone() -> BroadcastOptions {
    BroadcastOptions::everyone()
}

/// The numbers of the events that a socket got.
fn got(node: &Node, socket: &str) -> Vec<usize> {
    let log = node.namespace.socket(&Room::from(socket)).map(|socket| socket.log).unwrap_or_default();
    let event = |happened: Happened| match happened {
        Happened::Event { payload, .. } => payload.read_args(1).ok(),
        _ => None,
    };
    log.into_iter().filter_map(event).collect()
}

const A: &str = "a-socket-of-server-a";
const B: &str = "a-socket-of-server-b";

#[tokio::test]
async fn a_server_is_ready_when_others_reach_it() {
    let mut redis = Redis::start();
    let url = redis.url();
    redis.stop();
    let server = Server::builder().adapter(PubSub::builder(url).build().unwrap()).build().unwrap();
    server.of("/chat");
    // The namespaces are told one after the other when they have joined; here none has.
    assert!(server.ready().now_or_never().is_none());
    redis.restart();
    server.ready().await.unwrap();
    for channel in ["socket.io-request#/#", "socket.io-request#/chat#"] {
        assert!(redis.command(&["PUBSUB", "NUMSUB", channel]).trim_end().ends_with('1'), "{channel}");
    }
    assert!(server.ready().now_or_never().is_some_and(|ready| ready.is_ok()), "it stays so");
    let alone = Server::new();
    assert!(alone.ready().await.is_ok());
    server.close().await;
}

#[tokio::test]
async fn clients_go_on_while_redis_is_away_and_the_application_is_told() {
    let mut redis = Redis::start();
    let (a, b) = (watched(&redis, A).await, watched(&redis, B).await);
    a.node.adapter.broadcast(&event(1), &everyone()).unwrap();
    eventually("the first event", || got(&b.node, B) == [1]).await;

    redis.stop();
    eventually("the news", || *a.events.lock() == ["failed"] && *b.events.lock() == ["failed"]).await;
    let refused = a.node.adapter.broadcast(&event(2), &everyone()).unwrap_err();
    assert!(refused.is_disconnected(), "{refused}");
    assert!(a.node.adapter.broadcast_confirmed(&event(3), &everyone()).await.is_err());
    assert_eq!(got(&a.node, A), [1, 2, 3]);
    assert_eq!(a.node.adapter.stats().failed_publishes, 2);
    assert!(a.node.adapter.fetch_sockets(&everyone()).await.is_err());
    // Whom it cannot ask is missing, at once.
    let acks: Vec<_> = a.node.adapter.broadcast_with_ack(&event(4), &everyone()).collect().await;
    assert!(matches!(
        acks[..],
        [AckEvent::Expected { n: 1, .. }, AckEvent::Answer { .. }, AckEvent::Missing { .. }]
    ));

    redis.restart();
    let together = ["failed", "reconnected"];
    eventually("the good news", || *a.events.lock() == together && *b.events.lock() == together).await;
    a.node.adapter.broadcast(&event(5), &everyone()).unwrap();
    b.node.adapter.broadcast(&event(6), &everyone()).unwrap();
    eventually("what is sent afterwards", || {
        got(&a.node, A).ends_with(&[6]) && got(&b.node, B).ends_with(&[5])
    })
    .await;
    assert_eq!(got(&b.node, B), [1, 6, 5], "what was sent meanwhile did not come");
    assert_eq!(a.node.adapter.server_count().await.unwrap(), 2);
}

#[tokio::test]
async fn a_subscriber_that_redis_has_cut_off_comes_back_once() {
    let redis = Redis::start();
    let (a, b) = (watched(&redis, A).await, watched(&redis, B).await);
    for round in 1..=5 {
        redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        eventually("both again", || [&a, &b].iter().all(|server| server.events.lock().len() == 2 * round))
            .await;
        a.node.adapter.broadcast(&event(round), &everyone()).unwrap();
        eventually("the event", || got(&b.node, B).len() == round).await;
        assert_eq!(a.node.adapter.server_count().await.unwrap(), 2);
        assert_eq!(a.node.adapter.fetch_sockets(&everyone()).await.unwrap().missing, 0);
    }
    assert_eq!(got(&b.node, B), [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn a_server_may_begin_while_redis_is_away() {
    let mut redis = Redis::start();
    redis.stop();
    assert!(PubSub::connect(&redis.url()).await.is_err());
    assert!(PubSub::builder("http://127.0.0.1").build().is_err());
    let factory = PubSub::builder(redis.url()).build().unwrap();
    let events = watch(&factory);
    let node = Node::new(&factory, "/");
    let joining = tokio::spawn(node.adapter.init());
    eventually("the news", || *events.lock() == ["failed"]).await;
    redis.restart();
    joining.await.unwrap().unwrap();
    assert_eq!(*events.lock(), ["failed", "reconnected"]);
    assert_eq!(node.adapter.server_count().await.unwrap(), 1);
}

#[tokio::test]
async fn nothing_is_left_in_redis_of_a_server_that_closed() {
    let redis = Redis::start();
    let connections = || redis.command(&["CLIENT", "LIST"]).lines().count();
    let alone = connections();
    let factory = PubSub::connect(&redis.url()).await.unwrap();
    let (main, other) = (Node::join(&factory, "/").await, Node::join(&factory, "/other").await);
    // The one that was tried first may not have ended yet.
    eventually("two connections, however many namespaces", || connections() == alone + 2).await;
    other.adapter.close().await;
    let channels = redis.command(&["PUBSUB", "CHANNELS"]);
    assert!(!channels.contains("/other") && channels.contains("socket.io-request#/#"), "{channels}");
    main.adapter.broadcast(&event(1), &everyone()).unwrap();
    main.adapter.close().await;
    eventually("the end of the connections", || connections() == alone).await;
    assert_eq!(main.adapter.stats().failed_publishes, 0, "what was queued was published");

    // One that is dropped without having been closed leaves as little, and another may begin.
    let dropped = Node::join(&factory, "/").await;
    eventually("two connections", || connections() == alone + 2).await;
    drop(dropped);
    eventually("the end of the connections", || connections() == alone).await;
    let again = Node::join(&factory, "/").await;
    assert_eq!(again.adapter.server_count().await.unwrap(), 1);
}

#[tokio::test]
async fn what_nobody_understands_is_counted_and_nothing_else_happens() {
    let redis = Redis::start();
    let (a, b) = (watched(&redis, A).await, watched(&redis, B).await);
    let broadcast = |packet: &str, opts: &str| {
        let json = format!(r#"["other",{packet},{opts}]"#);
        let mut bytes = Vec::new();
        Payload::value(&serde_json::from_str::<serde_json::Value>(&json).unwrap())
            .unwrap()
            .write_msgpack(&mut bytes, patio_proto::msgpack::Dialect::Notepack3)
            .unwrap();
        bytes
    };
    let packet = r#"{"type":2,"data":["event",9],"nsp":"/"}"#;
    let garbage: [(&str, Vec<u8>); 19] = [
        ("socket.io#/#", b"".to_vec()),
        ("socket.io#/#", b"\xc1".to_vec()),
        ("socket.io#/#", b"{}".to_vec()),
        ("socket.io#/#", vec![0x91; 100_000]),
        ("socket.io#/#", vec![0xdd, 0xff, 0xff, 0xff, 0xff]),
        ("socket.io#/#", [broadcast(packet, "{}"), vec![0]].concat()),
        ("socket.io#/#", broadcast(packet, "[]")),
        ("socket.io#/#", broadcast(packet, r#"{"rooms":"everyone"}"#)),
        ("socket.io#/#", broadcast(r#"{"type":3,"data":["event",9],"nsp":"/"}"#, "{}")),
        ("socket.io#/#", broadcast(r#"{"type":2,"data":{},"nsp":"/"}"#, "{}")),
        ("socket.io#/#", broadcast(r#"{"type":2,"data":[{}],"nsp":"/"}"#, "{}")),
        ("socket.io-request#/#", b"{".to_vec()),
        ("socket.io-request#/#", b"{}".to_vec()),
        ("socket.io-request#/#", br#"{"type":5,"requestId":"abcdef"}"#.to_vec()),
        (
            "socket.io-request#/#",
            br#"{"type":7,"requestId":"abcdef","packet":{"data":["event",9]}}"#.to_vec(),
        ),
        ("socket.io-request#/#", br#"{"type":4,"requestid":"abcdef","sid":"x","room":"y"}"#.to_vec()),
        ("socket.io-request#/#", br#"{"type":2,"opts":{"rooms":[]},"rooms":"all"}"#.to_vec()),
        ("socket.io-response#/#", b"{}".to_vec()),
        ("socket.io-patio#/#", b"{}".to_vec()),
    ];
    for (channel, bytes) in &garbage {
        redis.publish(channel, bytes);
    }
    // Foreign, but no garbage.
    redis.publish("socket.io#/#", &broadcast(r#"{"type":2,"data":["event",9],"nsp":"/other"}"#, "{}"));
    redis.publish("socket.io#/#nobody#", b"\xc1");
    redis.publish("socket.io-request#/#", br#"{"type":99}"#);
    redis.publish("socket.io-response#/#", br#"{"requestId":"abcdef","sockets":7}"#);
    a.node.adapter.broadcast(&event(1), &everyone()).unwrap();
    eventually("the event", || !got(&b.node, B).is_empty()).await;
    for server in [&a, &b] {
        let counted = || server.node.adapter.stats().garbage == garbage.len() as u64;
        eventually("the count of all garbage", counted).await;
        assert!(server.events.lock().is_empty());
    }
    // Forgiven as Node forgives: options that are absent, an array that is too long.
    redis.publish("socket.io#/#", &broadcast(packet, r#"{"rooms":"","flags":""},1"#));
    eventually("it", || got(&b.node, B) == [1, 9]).await;
}

#[tokio::test]
async fn an_older_cluster_is_not_sent_what_ends_its_servers() {
    let redis = Redis::start();
    let factory = PubSub::builder(redis.url()).dialect(Dialect::V6).connect().await.unwrap();
    let (a, _b) = (Node::join(&factory, "/").await, watched(&redis, B).await);
    assert!(a.adapter.server_side_emit(&event(1)).unwrap_err().is_unsupported());
    let acks: Vec<_> = a.adapter.broadcast_with_ack(&event(1), &everyone()).collect().await;
    assert!(
        matches!(acks[..], [AckEvent::Expected { n: 0, .. }, AckEvent::Missing { servers: 1, .. }]),
        "{acks:?}"
    );
    assert_eq!(a.adapter.fetch_sockets(&everyone()).await.unwrap().sockets.len(), 1);
}

#[tokio::test]
async fn a_cluster_of_version_5_is_told_what_it_can_be_told() {
    let redis = Redis::start();
    let spy = Foreign::subscribe(&redis, "PSUBSCRIBE", "*");
    eventually("the spy", || redis.command(&["PUBSUB", "NUMPAT"]) == "1").await;
    let join = async |socket: &str, rooms: &[&str]| {
        let factory = PubSub::builder(redis.url()).dialect(Dialect::V5).connect().await.unwrap();
        let events = watch(&factory);
        let node = Node::join(&factory, "/").await;
        node.namespace.connect(&Room::from(socket), rooms);
        Watched { node, events }
    };
    let (a, b) = (join(A, &[]).await, join(B, &["b"]).await);
    let adapter = &a.node.adapter;
    let is_in = |server: &Watched, socket: &str, room: &str| {
        let socket = server.node.namespace.socket(&Room::from(socket));
        socket.is_some_and(|socket| socket.rooms.contains(&Room::from(room)))
    };

    // By the id of a socket.
    adapter.broadcast(&event(1), &everyone().except(A)).unwrap();
    eventually("a broadcast of a socket", || got(&b.node, B) == [1]).await;
    adapter.join(&BroadcastOptions::to(B), &["c".into(), "d".into(), A.into()]).unwrap();
    eventually("all rooms", || is_in(&b, B, "c") && is_in(&b, B, "d") && is_in(&b, B, A)).await;
    adapter.leave(&BroadcastOptions::to(B), &["d".into()]).unwrap();
    eventually("one room", || !is_in(&b, B, "d")).await;
    assert!(is_in(&b, B, "c") && !is_in(&a, A, "c"));
    // By the rooms of a question.
    let counted = adapter.count(&everyone()).await.unwrap();
    assert_eq!((counted.sockets, counted.missing), (2, 0));
    let counted = adapter.count(&BroadcastOptions::to(["c", "nowhere"])).await.unwrap();
    assert_eq!((counted.sockets, counted.missing), (1, 0));
    let all = adapter.all_rooms().await.unwrap();
    assert_eq!((all.rooms.len(), all.missing), (4, 0), "{:?}", all.rooms);
    assert_eq!(adapter.server_count().await.unwrap(), 2);

    // All else is refused, and done here only.
    let refused = [
        adapter.broadcast(&event(2), &everyone().except("b")),
        adapter.join(&everyone(), &["e".into()]),
        adapter.leave(&BroadcastOptions::to("b"), &["b".into()]),
        adapter.disconnect(&BroadcastOptions::to("b"), true),
        adapter.server_side_emit(&event(2)),
        adapter.fetch_sockets(&everyone()).await.map(drop),
        adapter.count(&everyone().except("b")).await.map(drop),
    ];
    for (n, refused) in refused.into_iter().enumerate() {
        assert!(refused.unwrap_err().is_unsupported(), "{n}");
    }
    let acks: Vec<_> = adapter.broadcast_with_ack(&event(3), &everyone()).collect().await;
    assert!(matches!(acks.last(), Some(AckEvent::Missing { servers: 1, .. })), "{acks:?}");
    assert_eq!((got(&a.node, A), got(&b.node, B)), (vec![2], vec![1]));
    assert!(is_in(&a, A, "e") && !is_in(&b, B, "e") && is_in(&b, B, "b"));

    // Requests of other versions would do something else.
    let foreign: [&[u8]; 4] = [
        br#"{"uid":"yQRy5y","type":3,"opts":{"rooms":[],"except":[]},"rooms":["c"]}"#,
        br#"{"uid":"yQRy5y","type":4,"opts":{"rooms":[],"except":[]},"close":true}"#,
        br#"{"uid":"yQRy5y","requestId":"abcdef","type":1}"#,
        b"\x81\xa4type\x07",
    ];
    for request in foreign {
        redis.publish("socket.io-request#/#", request);
    }
    // Those of this one are answered by whom they are for.
    redis.publish(
        "socket.io-request#/#",
        format!(r#"{{"requestid":"roomsA","type":1,"sid":"{A}"}}"#).as_bytes(),
    );
    redis.publish("socket.io-request#/#", br#"{"requestid":"custom","type":5,"data":{"x":1}}"#);
    redis.publish(
        "socket.io-request#/#",
        format!(r#"{{"requestid":"ending","type":6,"sid":"{B}","close":false}}"#).as_bytes(),
    );
    eventually("the end of the socket", || !is_in(&b, B, B)).await;
    for server in [&a, &b] {
        let counted = || server.node.adapter.stats().garbage == foreign.len() as u64;
        eventually("the count of all garbage", counted).await;
        assert!(server.events.lock().is_empty());
    }
    assert!(is_in(&a, A, "e"));
    // Behind all answers.
    assert_eq!(adapter.count(&everyone()).await.unwrap().missing, 0);
    let heard = spy.heard_until(&redis, "socket.io-end").await;
    let times = |what: &str| heard.matches(what).count();
    assert_eq!(
        times(r#"{"requestid":"roomsA","rooms":"#),
        1,
        "a member of the room called so has no say: {heard}"
    );
    assert_eq!(times(r#"{"requestid":"custom","data":null}"#), 2, "{heard}");
    assert_eq!(times(r#"{"requestid":"ending"}"#), 1, "{heard}");
    assert_eq!((times("requestId"), times("socket.io-patio")), (1, 0), "only what was foreign: {heard}");
}

#[tokio::test]
async fn servers_like_this_one_count_without_transferring_sockets() {
    let redis = Redis::start();
    let (a, b) = (watched(&redis, A).await, watched(&redis, B).await);
    let spy = Foreign::subscribe(&redis, "PSUBSCRIBE", "socket.io-*");
    eventually("the spy", || redis.command(&["PUBSUB", "NUMPAT"]) == "2").await;
    let counted = a.node.adapter.count(&everyone()).await.unwrap();
    assert_eq!((counted.sockets, counted.missing), (2, 0));
    let heard = spy.heard_until(&redis, "socket.io-end").await;
    assert!(heard.contains("socket.io-patio#/#") && !heard.contains(r#""type":5"#), "{heard}");
    // With a server of another kind among them, they fall back to what that one knows.
    let foreign = Foreign::subscribe(&redis, "SUBSCRIBE", "socket.io-request#/#");
    eventually("the foreign server", || {
        redis.command(&["PUBSUB", "NUMSUB", "socket.io-request#/#"]).ends_with('3')
    })
    .await;
    let options = everyone().timeout(std::time::Duration::from_millis(300));
    let counted = b.node.adapter.count(&options).await.unwrap();
    assert_eq!((counted.sockets, counted.missing), (2, 1), "it was asked, and says nothing");
    let heard = foreign.heard_until(&redis, "socket.io-request#/#").await;
    assert!(heard.contains(r#""type":5"#), "{heard}");
}

/// A subscriber that is no server of ours.
struct Foreign {
    process: std::process::Child,
    heard: Arc<Mutex<String>>,
}

impl Foreign {
    fn subscribe(redis: &Redis, verb: &str, channel: &str) -> Self {
        let url = redis.url();
        let mut command = std::process::Command::new("redis-cli");
        command.args(["-u", &url, verb, channel]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).split(b'\n');
        let heard = Arc::<Mutex<String>>::default();
        let listener = heard.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                *listener.lock() += &(String::from_utf8_lossy(&line) + "\n");
            }
        });
        Self { process, heard }
    }

    /// All that it hears, up to a last message on one of its channels.
    async fn heard_until(mut self, redis: &Redis, channel: &str) -> String {
        redis.publish(channel, b"{\"the\":\"end\"}");
        eventually("the end", || self.heard.lock().contains(r#"{"the":"end"}"#)).await;
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        mem::take(&mut *self.heard.lock())
    }
}

#[tokio::test]
async fn what_is_queued_when_a_server_closes_is_still_published() {
    let redis = Redis::start();
    let (a, b) = (watched(&redis, A).await, watched(&redis, B).await);
    for n in 0..100 {
        let event = Payload::event("event", &(n, "x".repeat(100_000))).unwrap();
        a.node.adapter.broadcast(&event, &everyone()).unwrap();
    }
    a.node.adapter.close().await;
    assert_eq!(a.node.adapter.stats().failed_publishes, 0);
    // Redis has it, whatever becomes of the sender now.
    drop(a);
    eventually("the last event", || got(&b.node, B).len() == 100).await;
}

#[tokio::test]
async fn an_emitter_goes_on_after_redis_was_away() {
    let mut redis = Redis::start();
    let b = watched(&redis, B).await;
    let emitter = Emitter::new(redis.url()).unwrap();
    emitter.emit("event", &1).await.unwrap();
    redis.stop();
    assert!(emitter.emit("event", &2).await.is_err());
    assert!(emitter.emit("event", &3).await.is_err());
    redis.restart();
    eventually("the receiver", || b.events.lock().len() == 2).await;
    emitter.emit("event", &4).await.unwrap();
    eventually("what is sent afterwards", || got(&b.node, B) == [1, 4]).await;
    assert!(matches!(emitter.emit("connect", &5).await, Err(EmitterError::Reserved(_))));
    assert!(matches!(emitter.server_side_emit("error", &5).await, Err(EmitterError::Reserved(_))));
}
