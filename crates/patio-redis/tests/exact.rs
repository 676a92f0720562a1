//! Servers that hear only of the rooms that they hold (`Subscriptions::Exact`): what that spares, and what it loses.

#[expect(dead_code, reason = "each test file uses a part")]
mod server;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use parking_lot::Mutex;
use patio::Server;
use patio_adapter::{
    AdapterEvent, AdapterFactory, BroadcastOptions, Local, Payload, Room, contract::namespace::Happened,
};
use patio_redis::{PubSub, Subscriptions};
use server::{Node, Redis, eventually};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};

fn exact(redis: &Redis) -> PubSub {
    PubSub::builder(redis.url()).subscriptions(Subscriptions::Exact).build().unwrap()
}

fn event(n: usize) -> Payload {
    Payload::event("event", &n).unwrap()
}

fn own(room: &str) -> BroadcastOptions {
    BroadcastOptions::to(room)
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

fn channels(redis: &Redis) -> usize {
    redis.command(&["PUBSUB", "CHANNELS"]).lines().filter(|name| !name.is_empty()).count()
}

fn patterns(redis: &Redis) -> usize {
    redis.command(&["PUBSUB", "NUMPAT"]).parse().unwrap()
}

/// How many servers are subscribed to the channel of this room.
fn subscribers(redis: &Redis, room: &str) -> usize {
    let answer = redis.command(&["PUBSUB", "NUMSUB", &format!("socket.io#/#{room}#")]);
    answer.lines().last().unwrap().parse().unwrap()
}

/// The channels of a namespace without rooms.
const CHANNELS: usize = 5;

const SOCKET: &str = "a-socket-of-20-chars";

#[tokio::test]
async fn nine_of_ten_servers_receive_nothing_for_a_room_of_the_tenth() {
    let redis = Redis::start();
    let mut nodes = Vec::new();
    let id = |n: usize| format!("tag{n}0123456789abcdef");
    for n in 0..10 {
        let node = Node::with_id_tag(&exact(&redis), "/", &format!("tag{n}"));
        node.adapter.init().await.unwrap();
        node.namespace.connect(&Room::from(id(n)), &["everywhere"]);
        node.adapter.joined(&node.namespace.rooms()).await;
        nodes.push(node);
    }
    let room = Room::from("a room");
    nodes[7].namespace.join(&own(&id(7)), std::slice::from_ref(&room));
    nodes[7].adapter.joined(&[room]).await;
    for (n, node) in nodes.iter().enumerate() {
        node.adapter.broadcast(&event(n), &own("a room")).unwrap();
        node.adapter.broadcast(&event(10 + n), &own(&id(7))).unwrap();
        node.adapter.broadcast(&event(20 + n), &BroadcastOptions::everyone()).unwrap();
    }
    eventually("all events", || {
        nodes.iter().enumerate().all(|(n, node)| got(node, &id(n)).len() == if n == 7 { 30 } else { 10 })
    })
    .await;
    // Redis says how many it has sent a message to.
    let receivers =
        |channel: &str| redis.command(&["PUBLISH", channel, "no broadcast"]).parse::<usize>().unwrap();
    assert_eq!(receivers("socket.io#/#a room#"), 1);
    assert_eq!(receivers(&format!("socket.io#/#{}#", id(7))), 1);
    assert_eq!(receivers("socket.io#/#nobody's#"), 0);
    assert_eq!(receivers("socket.io#/#everywhere#"), 10);
    assert_eq!(receivers("socket.io#/#"), 10);
    eventually("all garbage", || {
        let garbage = |n: usize| if n == 7 { 4 } else { 2 };
        nodes.iter().enumerate().all(|(n, node)| node.adapter.stats().garbage == garbage(n))
    })
    .await;
    // Of an id with the tag that is nobody's the server hears, and drops it unread.
    assert_eq!(receivers("socket.io#/#tag3fedcba9876543210#"), 1);
    assert_eq!(receivers("socket.io#/#"), 10);
    eventually("the last garbage", || nodes[3].adapter.stats().garbage == 3).await;
}

#[tokio::test]
async fn rooms_are_subscribed_to_again_before_the_application_is_told() {
    let redis = Arc::new(Redis::start());
    let factory = exact(&redis);
    let told = Arc::new(Mutex::new(Vec::new()));
    let (news, server) = (told.clone(), redis.clone());
    factory.watch(Arc::new(move |event| {
        if let AdapterEvent::Reconnected = event {
            news.lock().push((0..50).filter(|n| subscribers(&server, &n.to_string()) == 1).count());
        }
    }));
    let (node, other) = (Node::join(&factory, "/").await, Node::join(&exact(&redis), "/").await);
    let rooms: Vec<_> = (0..50).map(|n| n.to_string()).collect();
    node.namespace.connect(&Room::from(SOCKET), &rooms.iter().map(|room| &**room).collect::<Vec<_>>());
    node.adapter.joined(&node.namespace.rooms()).await;
    for round in 1..=3 {
        redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        eventually("the news", || told.lock().len() == round).await;
        assert_eq!(told.lock()[round - 1], 50);
        eventually("the other", || other.adapter.broadcast(&event(round), &own("49")).is_ok()).await;
        eventually("the event", || got(&node, SOCKET).last() == Some(&round)).await;
    }
}

#[tokio::test]
async fn who_awaits_a_join_while_redis_is_away_waits_until_it_is_back() {
    let mut redis = Redis::start();
    let (node, other) = (Node::join(&exact(&redis), "/").await, Node::join(&exact(&redis), "/").await);
    node.namespace.connect(&Room::from(SOCKET), &["held"]);
    node.adapter.joined(&["held".into()]).await;
    redis.stop();
    eventually("the loss", || other.adapter.broadcast(&event(0), &own("held")).is_err()).await;
    eventually("the loss", || node.adapter.broadcast(&event(0), &own("nobody's")).is_err()).await;
    node.namespace.join(&own(SOCKET), &["new".into()]);
    let mut joined = node.adapter.joined(&["new".into()]);
    assert!(timeout(Duration::from_millis(300), &mut joined).await.is_err());
    redis.restart();
    joined.await;
    assert_eq!(subscribers(&redis, "new"), 1);
    eventually("the other", || other.adapter.broadcast(&event(1), &own("new")).is_ok()).await;
    eventually("the event", || got(&node, SOCKET) == [1]).await;
    // Of a room that nobody is in there is nothing to wait for.
    redis.stop();
    timeout(Duration::from_secs(1), node.adapter.joined(&["nobody's".into()])).await.unwrap();
}

#[tokio::test]
async fn a_room_that_is_left_keeps_its_channel_a_little_longer() {
    let redis = Redis::start();
    let node = Node::join(&exact(&redis), "/").await;
    node.namespace.connect(&Room::from(SOCKET), &[]);
    let rooms = ["left".into(), "left and joined".into(), "contended".into(), "contended too".into()];
    node.namespace.join(&own(SOCKET), &rooms);
    node.adapter.joined(&rooms).await;
    node.namespace.leave(&own(SOCKET), &rooms[..2]);
    node.namespace.join(&own(SOCKET), &rooms[1..2]);
    assert_eq!(channels(&redis), CHANNELS + 5, "with that of the socket's id, which has no tag");

    // Threads that are in no runtime, and of which each may tell what it has done after others.
    let threads: Vec<_> = (0..4)
        .map(|n| {
            let namespace = node.namespace.clone();
            let member = format!("member-{n}-0123456789a");
            thread::spawn(move || {
                namespace.connect(&Room::from(&*member), &[]);
                for _ in 0..1_000 {
                    let contended = ["contended".into(), "contended too".into()];
                    namespace.join(&own(&member), &contended);
                    namespace.leave(&own(&member), &contended);
                }
            })
        })
        .collect();
    for _ in 0..1_000 {
        node.namespace.leave(&own(SOCKET), &rooms[2..]);
        node.namespace.join(&own(SOCKET), &rooms[2..]);
    }
    node.namespace.leave(&own(SOCKET), &rooms[3..]);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let held = || rooms.each_ref().map(|room| subscribers(&redis, room));
    eventually("only what is held", || held() == [0, 1, 1, 0]).await;
}

#[tokio::test]
async fn names_that_look_alike_do_not_take_each_others_channels() {
    let redis = Redis::start();
    let (here, there) = (exact(&redis), exact(&redis));
    let mut nodes = Vec::new();
    for name in ["/a", "/a#b", "/a#b#c"] {
        nodes.push((Node::join(&here, name).await, Node::join(&there, name).await));
    }
    for (node, _) in &nodes {
        node.namespace.connect(&Room::from(SOCKET), &["b", "b#c", "c", "", "*"]);
        node.adapter.joined(&node.namespace.rooms()).await;
    }
    let mut expected = Vec::new();
    for (n, to) in ["b", "b#c", "c", "", "*"].into_iter().enumerate() {
        nodes.iter().for_each(|(_, node)| node.adapter.broadcast(&event(n), &own(to)).unwrap());
        expected.push(n);
    }
    nodes.iter().for_each(|(_, node)| {
        node.adapter.broadcast(&event(9), &BroadcastOptions::everyone()).unwrap();
    });
    expected.push(9);
    for (node, _) in &nodes {
        eventually("all events", || got(node, SOCKET).len() >= expected.len()).await;
        assert_eq!(got(node, SOCKET), expected);
    }
    for (node, other) in nodes {
        node.adapter.close().await;
        other.adapter.close().await;
    }
    assert_eq!((channels(&redis), patterns(&redis)), (0, 0));
}

#[tokio::test]
async fn rooms_may_come_before_the_cluster_and_after_its_end() {
    let redis = Redis::start();
    let (node, other) = (Node::new(&exact(&redis), "/"), Node::join(&exact(&redis), "/").await);
    node.namespace.connect(&Room::from(SOCKET), &["early"]);
    node.adapter.init().await.unwrap();
    other.adapter.broadcast(&event(1), &own("early")).unwrap();
    other.adapter.broadcast(&event(2), &own(SOCKET)).unwrap();
    eventually("the events", || got(&node, SOCKET) == [1, 2]).await;
    node.adapter.close().await;
    node.namespace.join(&own(SOCKET), &["late".into()]);
    timeout(Duration::from_secs(1), node.adapter.joined(&["late".into()])).await.unwrap();
    assert_eq!(channels(&redis), CHANNELS, "those of the other");
}

/// A server with clients.
struct Patio {
    io: Server,
    address: SocketAddr,
    /// How many events its clients were sent.
    sent: Arc<AtomicUsize>,
}

impl Patio {
    async fn start(redis: &Redis) -> Self {
        let io = Server::builder().adapter(exact(redis)).build().unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(patio::serve(listener, io.service()).into_future());
        let sent = Arc::<AtomicUsize>::default();
        let counter = sent.clone();
        io.on_connect(async move |socket: patio::Socket| {
            socket.on_any_outgoing(move |_, _| _ = counter.fetch_add(1, SeqCst));
        });
        Self { io, address, sent }
    }

    /// Connects clients over polling, which are not heard of any more; their ids.
    async fn connect(&self, clients: usize) -> Vec<String> {
        let mut http = BufStream::new(TcpStream::connect(self.address).await.unwrap());
        let mut ids = Vec::new();
        for _ in 0..clients {
            let open = request(&mut http, "GET", "", "").await;
            let sid = format!("&sid={}", sid(&open));
            assert_eq!(request(&mut http, "POST", &sid, "40").await, "ok");
            ids.push(self::sid(&request(&mut http, "GET", &sid, "").await).to_owned());
        }
        ids
    }
}

/// The first `sid` in a packet.
fn sid(packet: &str) -> &str {
    packet.split_once(r#""sid":""#).unwrap().1.split_once('"').unwrap().0
}

async fn request(http: &mut BufStream<TcpStream>, method: &str, query: &str, body: &str) -> String {
    let head = format!("{method} /socket.io/?EIO=4&transport=polling{query} HTTP/1.1\r\nhost: x\r\n");
    let request = format!("{head}content-type: text/plain\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    http.write_all(request.as_bytes()).await.unwrap();
    http.flush().await.unwrap();
    let mut length = 0;
    loop {
        let mut line = String::new();
        http.read_line(&mut line).await.unwrap();
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(number) = line.strip_prefix("content-length:") {
            length = number.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    http.read_exact(&mut body).await.unwrap();
    String::from_utf8(body).unwrap()
}

#[tokio::test]
async fn a_thousand_sockets_have_no_channel_each() {
    let redis = Redis::start();
    let (here, there) = (Patio::start(&redis).await, Patio::start(&redis).await);
    eventually("both", || patterns(&redis) == 2).await;
    assert_eq!(channels(&redis), CHANNELS + 1, "each has one for answers to it alone");
    let ids = here.connect(1_000).await;
    assert_eq!((channels(&redis), patterns(&redis)), (CHANNELS + 1, 2));
    assert!(ids.iter().all(|id| id.len() == 20 && id[..4] == ids[0][..4]));
    let other = there.connect(1).await;
    assert_ne!(other[0][..4], ids[0][..4]);
    for id in &ids {
        there.io.to(id).emit("news", &1).unwrap();
    }
    eventually("what is sent to each", || here.sent.load(SeqCst) == 1_000).await;
    // Rooms have one each, however many are in them, and however many are joined at once.
    for (n, id) in ids.iter().enumerate() {
        let socket = here.io.of("/").socket(id).unwrap();
        socket.join(["all".to_owned(), format!("room-{}", n % 100)]);
    }
    let socket = here.io.of("/").socket(&ids[0]).unwrap();
    socket.join("another").await;
    assert_eq!((channels(&redis), patterns(&redis)), (CHANNELS + 1 + 102, 2));
    there.io.to("all").emit("news", &2).unwrap();
    eventually("what is sent to all", || here.sent.load(SeqCst) == 2_000).await;
    here.io.close().await;
    there.io.close().await;
}

#[tokio::test]
async fn a_join_in_a_middleware_is_there_when_the_socket_is_connected() {
    let redis = Redis::start();
    let (here, there) = (Patio::start(&redis).await, Patio::start(&redis).await);
    eventually("both", || patterns(&redis) == 2).await;
    here.io.middleware(async |socket: patio::Socket| socket.join("early").await);
    here.io.on_connect(async |socket: patio::Socket| socket.join(["early", "late"]).await);
    here.connect(1).await;
    eventually("the rooms", || ["early", "late"].iter().all(|room| subscribers(&redis, room) == 1)).await;
    there.io.to("early").emit("news", &1).unwrap();
    eventually("the event", || here.sent.load(SeqCst) == 1).await;
}

/// Emits to rooms that a client on another server has just joined: to how many of 200 they come.
async fn arrived(here: &Patio, there: &Patio, id: &str, prefix: &str, awaited: bool) -> usize {
    let socket = here.io.of("/").socket(id).unwrap();
    let before = here.sent.load(SeqCst);
    for n in 0..200 {
        let room = format!("{prefix}-{n}");
        let joined = socket.join(&room);
        if awaited {
            joined.await;
        }
        there.io.to(&room).emit("news", &n).unwrap();
        // Each for itself: what is subscribed at once comes at once.
        sleep(Duration::from_millis(2)).await;
    }
    if awaited {
        eventually("all", || here.sent.load(SeqCst) == before + 200).await;
    } else {
        // Nobody knows how many come; the figure is only printed.
        sleep(Duration::from_millis(200)).await;
    }
    here.sent.load(SeqCst) - before
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_at_once_to_a_new_room_may_be_lost_unless_the_join_is_awaited() {
    let redis = Redis::start();
    let (here, there) = (Patio::start(&redis).await, Patio::start(&redis).await);
    eventually("both", || patterns(&redis) == 2).await;
    let id = &here.connect(1).await[0];
    there.connect(1).await;
    let awaited = arrived(&here, &there, id, "awaited", true).await;
    let at_once = arrived(&here, &there, id, "at-once", false).await;
    println!(
        "of 200 emits to a room that was just joined {awaited} arrived if that was awaited, {at_once} if not"
    );
    assert_eq!(awaited, 200);
    // The same, if it is another server that has the client join: which nobody can await.
    let before = here.sent.load(SeqCst);
    for n in 0..200 {
        let room = format!("remote-{n}");
        there.io.to(id).sockets_join(&room).unwrap();
        there.io.to(&room).emit("news", &n).unwrap();
        sleep(Duration::from_millis(2)).await;
    }
    sleep(Duration::from_millis(200)).await;
    let remote = here.sent.load(SeqCst) - before;
    println!("of 200 emits at once after a remote join {remote} arrived");
    here.io.close().await;
    there.io.close().await;
}
