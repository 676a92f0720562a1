//! What is special to the adapters over sharded pub/sub and over streams.

#[expect(dead_code, reason = "each test file uses a part")]
mod server;

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use patio_adapter::{
    AdapterEvent, AdapterFactory, BroadcastOptions, Payload, Restored, Room, SessionRecord,
    contract::namespace::Happened,
};
use patio_redis::{ConnectOptions, PubSub, Sharded, Streams, StreamsVersion, SubscriptionMode};
use server::{Node, Redis, cluster::Cluster, eventually, proxy::Proxy};
use tokio::task::JoinSet;

const A: &str = "a-socket-of-server-a";
const B: &str = "a-socket-of-server-b";

fn event(n: usize) -> Payload {
    Payload::event("event", &n).unwrap()
}

fn everyone() -> BroadcastOptions {
    BroadcastOptions::everyone()
}

async fn joined(factory: &dyn AdapterFactory, socket: &str, rooms: &[&str]) -> Node {
    let node = Node::join(factory, "/").await;
    node.namespace.connect(&Room::from(socket), rooms);
    node
}

/// The numbers of the events that a socket got.
fn got(node: &Node, socket: &str) -> Vec<usize> {
    let log = node.namespace.socket(&Room::from(socket)).unwrap().log;
    let event = |happened| match happened {
        Happened::Event { payload, .. } => payload.read_args(1).ok(),
        _ => None,
    };
    log.into_iter().filter_map(event).collect()
}

#[tokio::test]
async fn a_room_has_a_channel_where_it_has_members() {
    let redis = Redis::start();
    let (one, other) =
        (Sharded::connect(redis.url()).await.unwrap(), Sharded::connect(redis.url()).await.unwrap());
    let old_id = "/chat#an-older-client-s-id";
    let a = joined(&one, A, &["room", "shared"]).await;
    let b = joined(&other, B, &["shared"]).await;
    b.namespace.connect(&Room::from(old_id), &[]);
    let listeners = |name: &str| {
        let channel = format!("socket.io#/#{name}#");
        redis.command(&["PUBSUB", "SHARDNUMSUB", &channel]).rsplit('\n').next().unwrap().to_owned()
    };
    eventually("all channels", || {
        ["room", "shared", old_id, A].map(&listeners) == ["1", "2", "1", "0"].map(str::to_owned)
    })
    .await;
    b.adapter.broadcast(&event(1), &BroadcastOptions::to("room")).unwrap();
    b.adapter.broadcast(&event(2), &BroadcastOptions::to(A)).unwrap();
    a.adapter.broadcast(&event(3), &BroadcastOptions::to(old_id)).unwrap();
    eventually("what is sent to a room and to a socket", || got(&a, A) == [1, 2]).await;
    eventually("what is sent to an older client", || got(&b, old_id) == [3]).await;
    assert!(got(&b, B).is_empty());
    // It lingers, is wanted again, and lingers again.
    a.adapter.leave(&BroadcastOptions::to(A), &["room".into()]).unwrap();
    a.adapter.join(&BroadcastOptions::to(A), &["room".into()]).unwrap();
    a.adapter.leave(&BroadcastOptions::to(A), &["room".into()]).unwrap();
    assert_eq!(listeners("room"), "1");
    eventually("the end of the channel", || listeners("room") == "0").await;
    b.adapter.close().await;
    assert_eq!([listeners("shared"), listeners(old_id)], ["1", "0"]);
}

/// The channel of a room `b` in `/a` is that of all of `/a#b`, and clients may choose the name of a namespace.
#[tokio::test]
async fn a_namespace_does_not_take_a_room_s_channel_from_another() {
    let redis = Redis::start();
    let (one, other) =
        (Sharded::connect(redis.url()).await.unwrap(), Sharded::connect(redis.url()).await.unwrap());
    let room = Node::join(&one, "/a").await;
    room.namespace.connect(&Room::from(A), &["b"]);
    let whole = Node::join(&one, "/a#b").await;
    whole.namespace.connect(&Room::from(B), &[]);
    let (to_room, to_all) = (Node::join(&other, "/a").await, Node::join(&other, "/a#b").await);
    room.adapter.joined(&["b".into()]).await;
    let both = |n: usize| {
        to_room.adapter.broadcast(&event(n), &BroadcastOptions::to("b")).unwrap();
        to_all.adapter.broadcast(&event(n + 1), &everyone()).unwrap();
    };
    both(1);
    eventually("each its own", || got(&room, A) == [1] && got(&whole, B) == [2]).await;
    whole.adapter.close().await;
    both(3);
    eventually("the room's", || got(&room, A) == [1, 3]).await;
    assert_eq!(room.adapter.stats().garbage, 0);
}

#[tokio::test]
async fn rooms_are_subscribed_to_again() {
    let redis = Redis::start();
    let proxy = Proxy::before(redis.port).await;
    let (one, other) =
        (Sharded::connect(proxy.url()).await.unwrap(), Sharded::connect(redis.url()).await.unwrap());
    let (sender, told) = std::sync::mpsc::channel();
    one.watch(Arc::new(move |event| _ = sender.send(format!("{event:?}"))));
    let rooms: Vec<_> = (0..2000).map(|n| format!("room-{n}")).collect();
    let a = joined(&one, A, &rooms.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let b = joined(&other, B, &[]).await;
    proxy.cut();
    eventually("the news", || told.try_iter().any(|event| event == "Reconnected")).await;
    for (n, room) in rooms.iter().enumerate() {
        b.adapter.broadcast(&event(n), &BroadcastOptions::to(room)).unwrap();
    }
    eventually("all", || got(&a, A).len() == rooms.len()).await;
    assert!(got(&a, A).into_iter().eq(0..rooms.len()));
}

#[tokio::test]
async fn resp2_is_refused_where_it_cannot_do() {
    let resp2 = || ConnectOptions::url("redis://127.0.0.1").resp2();
    assert!(Sharded::builder(resp2()).build().is_err_and(|error| error.is_invalid_options()));
    assert!(Streams::builder(resp2()).sharded_pub_sub(true).build().is_err());
    assert!(Streams::builder(resp2()).build().is_ok());
}

#[tokio::test]
async fn what_no_sharded_server_understands_is_counted() {
    let redis = Redis::start();
    let factory =
        Sharded::builder(redis.url()).subscription_mode(SubscriptionMode::Static).connect().await.unwrap();
    let (a, b) = (joined(&factory, A, &[]).await, Sharded::connect(redis.url()).await.unwrap());
    let b = joined(&b, B, &[]).await;
    let garbage: [&[u8]; 14] = [
        b"",
        b"{",
        b"{}",
        b" {}",
        b"\xc1",
        &[0x91; 100_000],
        br#"{"type":3,"uid":"x","nsp":"/"}"#,
        br#"{"type":3,"data":[],"uid":"x","nsp":"/"}"#,
        br#"{"type":3,"data":{"packet":{"type":2,"data":["a"]}},"uid":"x","nsp":"/"}"#,
        br#"{"type":3,"data":{"packet":{"type":2,"data":[]},"opts":{}},"uid":"x","nsp":"/"}"#,
        br#"{"type":3,"data":{"packet":{"type":5,"data":["a"]},"opts":{}},"uid":"x","nsp":"/"}"#,
        br#"{"type":3,"data":{"packet":{"type":2,"data":["a"]},"opts":{"rooms":"all"}},"uid":"x","nsp":"/"}"#,
        br#"{"type":7,"data":{"opts":{}},"uid":"x","nsp":"/"}"#,
        br#"{"type":"3","uid":"x","nsp":"/"}"#,
    ];
    for bytes in garbage {
        redis.publish_to_shard("socket.io#/#", bytes);
    }
    // Foreign, but no garbage: of another namespace, of another kind, answers that nobody waits for.
    for foreign in [
        r#"{"type":3,"uid":"x","nsp":"/other"}"#,
        r#"{"type":99,"uid":"x","nsp":"/"}"#,
        r#"{"type":8,"data":{"requestId":"x"},"uid":"x","nsp":"/"}"#,
    ] {
        redis.publish_to_shard("socket.io#/#", foreign.as_bytes());
    }
    // Forgiven as by Node: no lists, `null` for a question.
    let forgiven = r#"{"nsp":"/","data":{"opts":{"rooms":null},"requestId":null,"packet":{"data":["event",9]}},"type":3}"#;
    redis.publish_to_shard("socket.io#/#", forgiven.as_bytes());
    b.adapter.broadcast(&event(1), &everyone()).unwrap();
    eventually("what is understood", || got(&a, A) == [9, 1]).await;
    // `{}` names no namespace, and so is nobody's.
    assert_eq!(a.adapter.stats().garbage, garbage.len() as u64 - 1);
}

#[tokio::test]
async fn an_entry_that_nobody_understands_does_not_stop_the_reading() {
    let redis = Redis::start();
    for version in [StreamsVersion::V0_3, StreamsVersion::V0_2] {
        let name = format!("{version:?}");
        let streams =
            || Streams::builder(redis.url()).stream_name(&name).channel_prefix(&name).version(version);
        let (one, other) = (streams().connect().await.unwrap(), streams().connect().await.unwrap());
        let (a, b) = (joined(&one, A, &[]).await, joined(&other, B, &[]).await);
        let garbage: [&[&str]; 9] = [
            &["nsp", "/"],
            &["nsp", "/", "type", "x"],
            &["nsp", "/", "type", "3"],
            &["nsp", "/", "type", "3", "data", "{"],
            &["nsp", "/", "type", "3", "data", "{}"],
            &["nsp", "/", "type", "3", "data", "%%%"],
            &["nsp", "/", "type", "3", "data", "gA=="],
            &["nsp", "/", "type", "3", "data", r#"{"packet":{"type":2,"data":["a"]}}"#],
            &["nsp", "/", "type", "7", "data", r#"{"opts":{}}"#],
        ];
        let foreign: [&[&str]; 4] = [
            &["a", "b"],
            &["type", "3", "data", "{"],
            &["nsp", "/other", "type", "3"],
            &["nsp", "/", "type", "99", "data", "{}"],
        ];
        for fields in garbage.iter().chain(&foreign) {
            redis.command(&[&["XADD", &name, "*"], *fields].concat());
        }
        // In another order, with a field more, and without a sender.
        let forgiven = r#"{"opts":{"rooms":""},"packet":{"data":["event",9],"nsp":"/"}}"#;
        redis.command(&["XADD", &name, "*", "data", forgiven, "more", "", "type", "3", "nsp", "/"]);
        b.adapter.broadcast(&event(1), &everyone()).unwrap();
        eventually("what is understood", || got(&a, A) == [9, 1]).await;
        assert_eq!(a.adapter.stats().garbage, garbage.len() as u64);
    }
}

#[tokio::test]
async fn namespaces_that_node_loses_are_heard_among_servers_like_this_one() {
    let redis = Redis::start();
    let streams = || Streams::builder(redis.url()).stream_count(4);
    let (one, other) = (streams().connect().await.unwrap(), streams().connect().await.unwrap());
    for name in ["/", "/my-namespace", "/workspace-1", "/admin"] {
        let (a, b) = (Node::join(&one, name).await, Node::join(&other, name).await);
        a.namespace.connect(&Room::from(A), &[]);
        b.adapter.broadcast(&event(1), &everyone()).unwrap();
        eventually("it", || got(&a, A) == [1]).await;
    }
}

#[tokio::test]
async fn a_stream_that_cannot_be_read_is_that_of_some_namespaces_only() {
    let redis = Redis::start();
    redis.command(&["ACL", "SETUSER", "limited", "on", "nopass", "&*", "+@all"]);
    let limited = || ConnectOptions::url(redis.url()).username("limited").password("any");
    let readable = |names: &[&str]| {
        let reset = ["ACL", "SETUSER", "limited", "resetkeys", "~sio:*"];
        redis.command(&[&reset[..], names].concat());
    };
    for is_forbidden in [false, true] {
        redis.command(&["FLUSHALL"]);
        // Those of `/admin` and of `/`, which are read together.
        let (bad, good) = ("socket.io-0", "socket.io-3");
        readable(if is_forbidden { &["~socket.io--*", "~socket.io-3"] } else { &["~*"] });
        if !is_forbidden {
            redis.command(&["SET", bad, "no stream"]);
        }
        let streams = Streams::builder(limited()).stream_count(4).build().unwrap();
        let told = watch(&streams);
        let other = Streams::builder(redis.url()).stream_count(4).connect().await.unwrap();
        let (admin, main) = (Node::join(&streams, "/admin").await, joined(&streams, A, &[]).await);
        admin.namespace.connect(&Room::from(B), &[]);
        let (to_main, to_admin) = (Node::join(&other, "/").await, Node::join(&other, "/admin").await);
        publishes(&to_main, 1).await;
        eventually("what is readable", || got(&main, A) == [1]).await;
        eventually("the count", || admin.adapter.stats().failed_reads > 0).await;
        assert_eq!(main.adapter.stats().failed_reads, 0);

        // It can be read.
        readable(&["~*"]);
        if !is_forbidden {
            redis.command(&["DEL", bad]);
        }
        let mut n = 1;
        eventually("what can be read now", || {
            n += 1;
            to_admin.adapter.broadcast(&event(n), &everyone()).unwrap();
            !got(&admin, B).is_empty()
        })
        .await;
        // The other cannot any more, from one moment to the next.
        match is_forbidden {
            true => readable(&["~socket.io-0", "~socket.io--*"]),
            false => _ = redis.command(&["SET", good, "no stream"]),
        }
        for n in n + 1..n + 50 {
            publishes(&to_admin, n).await;
        }
        eventually("all", || got(&admin, B).ends_with(&[n + 49])).await;
        assert!(got(&admin, B).is_sorted_by(|one, next| *next == one + 1));
        assert!(main.adapter.stats().failed_reads > 0);
        assert!(told.lock().is_empty(), "the connection was good all the time");
    }
}

#[tokio::test]
async fn a_reader_that_comes_too_late_says_so() {
    let redis = Redis::start();
    let proxy = Proxy::before(redis.port).await;
    let late = Streams::builder(proxy.url()).max_len(100).connect().await.unwrap();
    let other = Streams::builder(redis.url()).max_len(100).connect().await.unwrap();
    let (a, b) = (joined(&late, A, &[]).await, joined(&other, B, &[]).await);
    b.adapter.broadcast(&event(0), &everyone()).unwrap();
    eventually("the first event", || got(&a, A) == [0]).await;
    proxy.hold();
    proxy.cut();
    for n in 1..=1000 {
        b.adapter.broadcast_confirmed(&event(n), &everyone()).await.unwrap();
    }
    proxy.release();
    eventually("the last event", || got(&a, A).ends_with(&[1000])).await;
    assert!(got(&a, A).len() < 1000);
    assert_eq!(a.adapter.stats().missed_history, 1);
    assert_eq!(b.adapter.stats().missed_history, 0);
}

#[tokio::test]
async fn a_reader_of_a_stream_that_was_empty_notices_too() {
    let redis = Redis::start();
    let proxy = Proxy::before(redis.port).await;
    for (events, missed) in [(50, 0), (1000, 1)] {
        redis.command(&["DEL", "socket.io"]);
        let late = Streams::builder(proxy.url()).max_len(100).read_count(10).connect().await.unwrap();
        let other = Streams::builder(redis.url()).max_len(100).connect().await.unwrap();
        let (a, b) = (joined(&late, A, &[]).await, joined(&other, B, &[]).await);
        proxy.hold();
        proxy.cut();
        for n in 1..=events {
            b.adapter.broadcast_confirmed(&event(n), &everyone()).await.unwrap();
        }
        proxy.release();
        eventually("the last event", || got(&a, A).ends_with(&[events])).await;
        assert_eq!(got(&a, A).len() < events, missed > 0);
        eventually("the count", || a.adapter.stats().missed_history == missed).await;
    }
}

#[tokio::test]
async fn a_reader_that_falls_behind_says_so() {
    let redis = Redis::start();
    let proxy = Proxy::before(redis.port).await;
    let late = Streams::builder(proxy.url()).max_len(1000).connect().await.unwrap();
    let told = watch(&late);
    let other = Streams::builder(redis.url()).max_len(1000).connect().await.unwrap();
    let (a, b) = (joined(&late, A, &[]).await, joined(&other, B, &[]).await);
    let publish = async |numbers: std::ops::RangeInclusive<usize>| {
        for n in numbers {
            b.adapter.broadcast(&event(n), &everyone()).unwrap();
        }
        b.adapter.broadcast_confirmed(&event(0), &everyone()).await.unwrap();
    };
    publish(1..=1).await;
    eventually("the first event", || got(&a, A).contains(&0)).await;
    // Behind, but not by so much that anything is missing.
    proxy.hold();
    publish(2..=900).await;
    proxy.release();
    eventually("the events", || got(&a, A).len() == 902).await;
    publish(901..=901).await;
    eventually("the next event", || got(&a, A).len() == 904).await;
    assert_eq!(a.adapter.stats().missed_history, 0);
    proxy.hold();
    publish(902..=5000).await;
    proxy.release();
    eventually("the last event", || got(&a, A).ends_with(&[5000, 0])).await;
    assert!(got(&a, A).len() < 5000);
    eventually("the count", || a.adapter.stats().missed_history == 1).await;
    assert!(told.lock().is_empty(), "it was connected all the time");
}

#[tokio::test]
async fn a_stream_that_was_made_anew_is_followed() {
    let mut redis = Redis::start();
    let streams = Streams::connect(redis.url()).await.unwrap();
    let other = Streams::connect(redis.url()).await.unwrap();
    let (a, b) = (joined(&streams, A, &[]).await, joined(&other, B, &[]).await);
    b.adapter.broadcast(&event(1), &everyone()).unwrap();
    eventually("the first event", || got(&a, A) == [1]).await;
    // It keeps nothing on disk.
    redis.stop();
    redis.restart();
    let again = async {
        while b.adapter.broadcast_confirmed(&event(2), &everyone()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), again).await.unwrap();
    eventually("the next event", || got(&a, A).contains(&2)).await;
}

/// What a client was told that went away from one server and comes to another.
#[tokio::test]
async fn who_cannot_have_everything_begins_anew() {
    let redis = Redis::start();
    let streams = || {
        let streams = Streams::builder(redis.url()).max_len(100).build().unwrap();
        streams.enable_recovery(Duration::from_secs(120));
        streams
    };
    let (one, other) = (streams(), streams());
    let (a, b) = (joined(&one, A, &["room"]).await, joined(&other, B, &[]).await);
    a.adapter.broadcast(&event(1), &BroadcastOptions::to("room")).unwrap();
    eventually("the first event", || got(&a, A) == [1]).await;
    let log = a.namespace.socket(&Room::from(A)).unwrap().log;
    let Some(Happened::Event { offset: Some(offset), .. }) = log.last() else { panic!("{log:?}") };
    let session = SessionRecord {
        sid: A.into(),
        pid: "private".into(),
        rooms: vec![A.into(), "room".into()],
        data: serde_json::json!({ "user": 1 }),
    };
    let kept = || redis.command(&["KEYS", "sio:session:*"]) == "sio:session:private";
    a.adapter.persist(session.clone());
    eventually("the session", kept).await;
    for nonsense in ["", "x", "1-x", "-", "$", "+", "0-0", "(1-0", "99999999999999-0"] {
        assert!(b.adapter.restore("private", nonsense).await.is_none(), "{nonsense}");
    }
    assert!(b.adapter.restore("another", offset.as_str()).await.is_none());
    assert!(kept(), "what is no offset ends nobody's session");
    let other = Node::join(&other, "/admin").await;
    other.adapter.broadcast_confirmed(&event(9), &everyone()).await.unwrap();
    let last = redis.command(&["XREVRANGE", "socket.io", "+", "-", "COUNT", "1"]);
    let place = last.lines().next().unwrap();
    assert!(
        other.adapter.restore("private", offset.as_str()).await.is_none(),
        "its place is in another namespace"
    );
    assert!(kept(), "and nobody's session ends");
    for pid in ["", "*", "../x", "private:x"] {
        assert!(b.adapter.restore(pid, offset.as_str()).await.is_none());
    }
    assert!(other.adapter.restore("private", place).await.is_none(), "a session is one namespace's");
    assert!(kept(), "and another cannot end it");
    let restored = b.adapter.restore("private", offset.as_str()).await.unwrap();
    assert_eq!(restored.session, session);
    assert!(restored.missed.is_empty() && restored.vouched);
    assert!(b.adapter.restore("private", offset.as_str()).await.is_none(), "once");

    // What a Node server keeps: {sid, pid, rooms, data}. Which namespace it is of, nobody knows.
    redis.command(&["SET", "sio:session:node", "hKNzaWShYaNwaWSkbm9kZaVyb29tc5GhYaRkYXRhgA=="]);
    let restored = b.adapter.restore("node", offset.as_str()).await.unwrap();
    assert_eq!((restored.session.sid.as_str(), restored.vouched), ("a", false));

    // Volatile events are not brought later, and those with acks cannot be.
    a.adapter.persist(session.clone());
    let mut volatile = BroadcastOptions::to("room");
    volatile.flags.volatile = true;
    a.adapter.broadcast(&event(2), &volatile).unwrap();
    a.adapter.broadcast_confirmed(&event(3), &BroadcastOptions::to(["room", "other"])).await.unwrap();
    a.adapter.broadcast_confirmed(&event(4), &BroadcastOptions::to("other")).await.unwrap();
    let restored = b.adapter.restore("private", offset.as_str()).await.unwrap();
    let missed: Vec<usize> =
        restored.missed.iter().map(|(payload, _)| payload.read_args(1).unwrap()).collect();
    assert_eq!(missed, [3]);
    assert!(restored.cursor > restored.missed[0].1, "it was read to the end");

    // When its place has left the stream, something may have been missed.
    a.adapter.persist(session);
    redis.command(&["XTRIM", "socket.io", "MAXLEN", "0"]);
    assert!(b.adapter.restore("private", offset.as_str()).await.is_none());
    assert!(b.adapter.replay(&restored.cursor, &["room".into()]).await.is_none());
    // So it is when what is kept is no session.
    redis.command(&["SET", "sio:session:broken", "gA=="]);
    a.adapter.broadcast(&event(5), &everyone()).unwrap();
    eventually("it", || got(&a, A).ends_with(&[5])).await;
    let log = a.namespace.socket(&Room::from(A)).unwrap().log;
    let Some(Happened::Event { offset: Some(offset), .. }) = log.last() else { panic!("{log:?}") };
    assert!(b.adapter.restore("broken", offset.as_str()).await.is_none());
}

/// A server whose client was sent one event and has gone.
struct Deserted {
    node: Node,
    told: Arc<Mutex<Vec<String>>>,
    session: SessionRecord,
    /// The event's.
    offset: String,
}

impl Deserted {
    async fn over(redis: &Redis, url: String) -> Self {
        let streams = Streams::builder(url).build().unwrap();
        streams.enable_recovery(Duration::from_secs(120));
        let told = Arc::<Mutex<Vec<String>>>::default();
        let telling = told.clone();
        streams.watch(Arc::new(move |event| telling.lock().push(format!("{event:?}"))));
        let node = joined(&streams, A, &[]).await;
        node.adapter.broadcast(&event(1), &everyone()).unwrap();
        eventually("the event", || got(&node, A) == [1]).await;
        let log = node.namespace.socket(&Room::from(A)).unwrap().log;
        let Some(Happened::Event { offset: Some(offset), .. }) = log.last() else { panic!("{log:?}") };
        let offset = offset.as_str().to_owned();
        let data = serde_json::json!({});
        let session = SessionRecord { sid: A.into(), pid: "private".into(), rooms: vec![A.into()], data };
        let deserted = Self { node, told, session, offset };
        deserted.persist(redis).await;
        deserted
    }

    async fn persist(&self, redis: &Redis) {
        self.node.adapter.persist(self.session.clone());
        eventually("the session", || Self::is_kept(redis)).await;
    }

    fn is_kept(redis: &Redis) -> bool {
        redis.command(&["EXISTS", "sio:session:private"]) == "1"
    }

    fn restore(&self) -> impl Future<Output = Option<Restored>> + Send + 'static {
        self.node.adapter.restore("private", &self.offset)
    }
}

#[tokio::test]
async fn a_history_that_does_not_come_holds_nothing_up() {
    let redis = Redis::start();
    let proxy = Proxy::before(redis.port).await;
    let deserted = Deserted::over(&redis, proxy.url()).await;
    proxy.swallow("XRANGE");
    let mut returning = JoinSet::new();
    (0..10).for_each(|_| _ = returning.spawn(deserted.restore()));
    let publish = |n| deserted.node.adapter.broadcast_confirmed(&event(n), &everyone());
    eventually("the first ones", || proxy.swallowed() >= 4).await;
    publish(2).await.unwrap();
    assert_eq!(proxy.swallowed(), 4, "the others wait");
    assert!(returning.join_next().await.unwrap().unwrap().is_none());
    publish(3).await.unwrap();
    assert!(deserted.told.lock().is_empty());
    assert!(Deserted::is_kept(&redis), "it can have it when its history comes");
}

#[tokio::test]
async fn a_history_without_end_is_not_read() {
    let redis = Redis::start();
    let deserted = Deserted::over(&redis, redis.url()).await;
    let others = |megabytes: &str| {
        let script = "for _ = 1, ARGV[1] do
            redis.call('XADD', KEYS[1], '*', 'nsp', '/other', 'data', string.rep('x', 1024 * 1024))
        end";
        redis.command(&["EVAL", script, "1", "socket.io", megabytes]);
    };
    others("30");
    assert!(deserted.restore().await.is_some_and(|restored| restored.missed.is_empty()));
    deserted.persist(&redis).await;
    others("40");
    assert!(deserted.restore().await.is_none());
    assert!(Deserted::is_kept(&redis));
}

#[tokio::test]
async fn a_reader_of_histories_that_redis_lets_go_is_made_again() {
    let redis = Redis::start();
    let deserted = Deserted::over(&redis, redis.url()).await;
    for _ in 0..3 {
        assert!(deserted.restore().await.is_some());
        // Taking the session is the last that it does.
        let list = redis.command(&["CLIENT", "LIST"]);
        let reader = list.lines().find(|client| client.contains(" cmd=exec ")).unwrap();
        let id = reader.split_once("id=").unwrap().1.split(' ').next().unwrap();
        assert_eq!(redis.command(&["CLIENT", "KILL", "ID", id]), "1");
        deserted.persist(&redis).await;
    }
    assert!(deserted.told.lock().is_empty());
}

/// Each of a server's events, by its name.
fn watch(factory: &dyn AdapterFactory) -> Arc<Mutex<Vec<&'static str>>> {
    let told = Arc::<Mutex<Vec<_>>>::default();
    let telling = told.clone();
    factory.watch(Arc::new(move |event| {
        telling.lock().push(if let AdapterEvent::Reconnected = event { "reconnected" } else { "failed" });
    }));
    told
}

/// Whether an event is published within the time that connecting may take.
async fn publishes(node: &Node, n: usize) {
    let publish = async {
        while node.adapter.broadcast_confirmed(&event(n), &everyone()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), publish).await.unwrap();
}

#[tokio::test]
async fn a_master_that_has_become_a_replica_is_left() {
    for resp2 in [false, true] {
        let (old, new) = (Redis::start(), Redis::start());
        let proxy = Proxy::before(old.port).await;
        let options = || match resp2 {
            false => ConnectOptions::url(proxy.url()),
            true => ConnectOptions::url(proxy.url()).resp2(),
        };
        let streams = Streams::builder(options()).build().unwrap();
        let told = watch(&streams);
        let node = joined(&streams, A, &[]).await;
        publishes(&node, 1).await;
        let emitter = Streams::builder(options()).emitter().unwrap();
        emitter.emit("event", &2).await.unwrap();
        eventually("both", || got(&node, A) == [1, 2]).await;

        old.command(&["REPLICAOF", "127.0.0.1", &new.port.to_string()]);
        assert!(node.adapter.broadcast_confirmed(&event(3), &everyone()).await.is_err());
        eventually("the news", || told.lock().contains(&"failed")).await;
        assert!(emitter.emit("event", &4).await.is_err());
        proxy.lead_to(new.port);
        publishes(&node, 5).await;
        emitter.emit("event", &6).await.unwrap();
        eventually("what follows", || got(&node, A).ends_with(&[5, 6])).await;
        if !resp2 {
            assert_eq!(*told.lock(), ["failed", "reconnected"], "a replica is not taken for a master");
        }
    }
}

/// A replica takes what is published, and nobody else hears of it.
#[tokio::test]
async fn pub_sub_leaves_a_master_that_has_become_a_replica() {
    let (old, new) = (Redis::start(), Redis::start());
    let proxy = Proxy::before(old.port).await;
    let (one, other) =
        (PubSub::connect(proxy.url()).await.unwrap(), PubSub::connect(new.url()).await.unwrap());
    let told = watch(&one);
    let (a, b) = (joined(&one, A, &[]).await, joined(&other, B, &[]).await);
    proxy.lead_to(new.port);
    old.command(&["REPLICAOF", "127.0.0.1", &new.port.to_string()]);
    eventually("the news", || *told.lock() == ["failed", "reconnected"]).await;
    publishes(&a, 1).await;
    eventually("what is sent to the new master's", || got(&b, B) == [1]).await;
    assert_eq!(a.adapter.server_count().await.unwrap(), 2);
}

#[tokio::test]
async fn a_server_that_waits_for_its_master_is_not_there_yet() {
    let redis = Redis::start();
    let nobody = server::free_port().to_string();
    redis.command(&["CONFIG", "SET", "replica-serve-stale-data", "no"]);
    redis.command(&["REPLICAOF", "127.0.0.1", &nobody]);
    assert!(redis.try_command(&["PING"]).starts_with("MASTERDOWN"));
    let pub_sub = PubSub::builder(redis.url()).build().unwrap();
    let told = Arc::<Mutex<Vec<String>>>::default();
    let telling = told.clone();
    pub_sub.watch(Arc::new(move |event| telling.lock().push(format!("{event:?}"))));
    let node = Node::new(&pub_sub, "/");
    let joining = node.adapter.init();
    eventually("the news", || told.lock().len() == 1).await;
    assert!(told.lock()[0].starts_with("Failed"));
    redis.command(&["REPLICAOF", "NO", "ONE"]);
    tokio::time::timeout(Duration::from_secs(20), joining).await.unwrap().unwrap();
    assert_eq!(told.lock().len(), 2);
}

/// Two servers in a Redis Cluster, and what they were told.
#[tokio::test]
async fn a_slot_that_moves_and_a_master_that_fails_are_told() {
    let mut cluster = Cluster::start();
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let server = || {
        let factory = Sharded::builder(ConnectOptions::cluster(cluster.urls())).build().unwrap();
        let told = told.clone();
        factory.watch(Arc::new(move |event| told.lock().push(format!("{event:?}"))));
        factory
    };
    let (one, other) = (server(), server());
    let (a, b) = (joined(&one, A, &[]).await, joined(&other, B, &[]).await);
    let mut number = 0;
    let mut numbers = |n: usize| {
        number += n;
        number - n + 1..number + 1
    };
    let channel = "socket.io#/#";

    // Nothing is lost before, and nothing after both are together again.
    for n in numbers(100) {
        b.adapter.broadcast(&event(n), &everyone()).unwrap();
    }
    eventually("the first events", || got(&a, A).len() == 100).await;
    let (from, slot) = cluster.owner(channel);
    let to = cluster.another(from);
    cluster.move_slot(&slot, from, to);
    eventually("the news of the slot", || together(&told.lock(), 2)).await;
    let before = got(&a, A).len();
    for n in numbers(100) {
        b.adapter.broadcast(&event(n), &everyone()).unwrap();
    }
    eventually("what follows", || got(&a, A).len() == before + 100).await;
    assert_eq!(a.adapter.server_count().await.unwrap(), 2);

    let (owner, _) = cluster.owner(channel);
    assert_eq!(owner, to);
    told.lock().clear();
    cluster.servers[owner].stop();
    eventually("the news of the master", || together(&told.lock(), 2)).await;
    let before = got(&a, A).len();
    for n in numbers(100) {
        b.adapter.broadcast(&event(n), &everyone()).unwrap();
    }
    eventually("what follows", || got(&a, A).len() == before + 100).await;
    assert!(got(&a, A).is_sorted_by(|one, next| one < next), "doubled, or out of order");
}

#[tokio::test]
async fn a_slot_on_its_way_to_another_master_is_followed() {
    let cluster = Cluster::start();
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let server = || {
        let streams = Streams::builder(ConnectOptions::cluster(cluster.urls())).build().unwrap();
        streams.enable_recovery(Duration::from_secs(120));
        let telling = told.clone();
        streams.watch(Arc::new(move |event| telling.lock().push(format!("{event:?}"))));
        streams
    };
    let (one, other) = (server(), server());
    let (a, b) = (joined(&one, A, &["room"]).await, joined(&other, B, &[]).await);
    publishes(&a, 1).await;
    eventually("the first event", || got(&a, A) == [1] && got(&b, B) == [1]).await;
    let log = a.namespace.socket(&Room::from(A)).unwrap().log;
    let Some(Happened::Event { offset: Some(offset), .. }) = log.last() else { panic!("{log:?}") };

    let (stream, session) = ("socket.io", "sio:session:private");
    let moves = [stream, session].map(|key| {
        let (from, slot) = cluster.owner(key);
        let to = cluster.another(from);
        cluster.begin_to_move(&slot, from, to);
        (slot, from, to)
    });
    // The entries so far go first. What is asked for now is on the other side, or not there yet.
    let [(_, from, to), (slot, _, has_session)] = &moves;
    cluster.move_key(stream, *from, *to);
    for n in 2..=100 {
        a.adapter.broadcast(&event(n), &everyone()).unwrap();
    }
    b.adapter.broadcast(&event(101), &BroadcastOptions::to("room")).unwrap();
    let data = serde_json::json!({});
    let record = SessionRecord { sid: B.into(), pid: "private".into(), rooms: vec![B.into()], data };
    b.adapter.persist(record.clone());
    let kept = || cluster.servers[*has_session].command(&["CLUSTER", "COUNTKEYSINSLOT", slot]) == "1";
    eventually("the session", kept).await;
    let restored = a.adapter.restore("private", offset.as_str()).await.unwrap();
    assert_eq!(restored.session, record);
    assert!(!kept(), "it is taken");
    assert!(b.adapter.restore("private", offset.as_str()).await.is_none(), "once");
    eventually("all events", || got(&b, B).len() == 100 && got(&a, A).contains(&101)).await;
    assert!(got(&b, B).into_iter().eq(1..=100));
    assert!(restored.missed.iter().all(|(event, _)| event.read_args::<usize>(1).unwrap() <= 100));
    let replayed = b.adapter.replay(offset, &[B.into()]).await.unwrap();
    assert_eq!(replayed.missed.len(), 99);
    assert_eq!((a.adapter.stats().failed_publishes, b.adapter.stats().failed_publishes), (0, 0));
    assert!(told.lock().is_empty(), "no connection was lost for it");

    for (slot, from, to) in &moves {
        cluster.end_the_move(slot, *from, *to);
    }
    eventually("the news", || together(&told.lock(), 2)).await;
    publishes(&b, 102).await;
    eventually("what follows", || got(&a, A).ends_with(&[102]) && got(&b, B).ends_with(&[102])).await;
    assert!(got(&b, B).is_sorted_by(|one, next| one < next), "doubled, or out of order");
}

/// Whether so many servers were told of a loss and are back.
fn together(told: &[String], servers: usize) -> bool {
    let times = |what: &str| told.iter().filter(|event| event.starts_with(what)).count();
    times("Failed") >= servers && times("Failed") == times("Reconnected")
}
