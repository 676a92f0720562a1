//! User code that panics: it ends what panicked and nothing else. One row for each place in which the server runs code
//! of the user; after each, the same client is answered, so is another one, a broadcast reaches both, and when they go
//! nothing is left of them.

#![cfg(feature = "serve")]

#[expect(dead_code, reason = "each test file uses a part")]
mod support;

use std::{
    fmt,
    future::pending,
    panic::panic_any,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use http::{HeaderValue, header};
use patio::{
    Cors, DisconnectReason, IntoAck, IntoReply, Namespace, NamespacePattern, Payload, Refusal, Reply,
    RoomEvent, Server as Patio, ServerBuilder, Socket,
    adapter::{Adapter, AdapterFactory, InProcess, Local, Memory},
    engine_io::{self, Client, Message},
    extract::{Ack, Auth, Call, Data, Event, Extension, FromParts, FromPayload},
    handler::HandlerError,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use support::{Net, Server, V4, WsClient, soon, target};
use tokio::task::yield_now;

/// Panics. With a return type, for a function that never returns is no handler.
fn boom() {
    panic!("boom")
}

/// Panics wherever it is used: read, written, extracted, copied, answered with.
#[derive(Debug)]
struct Bomb;

impl Serialize for Bomb {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("boom")
    }
}

impl<'de> Deserialize<'de> for Bomb {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("boom")
    }
}

impl FromParts for Bomb {
    type Rejection = &'static str;

    fn from_parts(_: &mut Call) -> Result<Self, &'static str> {
        panic!("boom")
    }
}

/// The same as the last argument.
struct BombPayload;

impl FromPayload for BombPayload {
    type Rejection = &'static str;

    fn from_payload(_: &mut Call) -> Result<Self, &'static str> {
        panic!("boom")
    }
}

/// An extractor whose rejection panics.
struct Rejected;

impl FromParts for Rejected {
    type Rejection = Bomb;

    fn from_parts(_: &mut Call) -> Result<Self, Bomb> {
        Err(Bomb)
    }
}

impl fmt::Display for Bomb {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("boom")
    }
}

impl Clone for Bomb {
    fn clone(&self) -> Self {
        panic!("boom")
    }
}

impl IntoReply for Bomb {
    fn into_reply(self, _: Ack) -> Result<(), HandlerError> {
        panic!("boom")
    }
}

impl IntoAck for Bomb {}

/// An error that panics when the client is to be told.
struct Unspeakable;

impl fmt::Display for Unspeakable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unspeakable")
    }
}

impl IntoAck for Unspeakable {
    fn into_ack(self) -> Option<Payload> {
        panic!("boom")
    }
}

impl From<Unspeakable> for Refusal {
    fn from(_: Unspeakable) -> Self {
        panic!("boom")
    }
}

/// Panics when it is dropped, and counts that.
struct Fuse(Arc<AtomicUsize>);

impl Fuse {
    /// Shared, so that the last one who has it sets it off.
    fn new() -> Arc<Self> {
        Arc::new(Self(Arc::default()))
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
        panic!("boom")
    }
}

type Declare = fn(Namespace) -> Namespace;

/// A place in which user code runs.
struct Place {
    name: &'static str,
    /// Puts the code that panics there.
    declare: Declare,
    when: When,
    /// How often it panics each time, and of how many of these `on_handler_error` hears.
    panics: u64,
    told: u64,
    /// What the client gets meanwhile.
    hears: &'static [&'static str],
}

/// When a place's code runs.
#[derive(Clone, Copy, PartialEq)]
enum When {
    /// For each socket, as it joins or ends.
    Socket,
    /// When the client sends the event `boom`. The client is not answered.
    Event,
}

fn socket(name: &'static str, declare: Declare) -> Place {
    Place { name, declare, when: When::Socket, panics: 1, told: 1, hears: &[] }
}

fn event(name: &'static str, declare: Declare) -> Place {
    Place { when: When::Event, ..socket(name, declare) }
}

impl Place {
    /// It panics where there is no handler that could have failed: that is counted only.
    fn untold(self) -> Self {
        Self { told: 0, ..self }
    }

    /// It panics where something is dropped: that is logged only.
    fn uncounted(self) -> Self {
        Self { panics: 0, told: 0, ..self }
    }

    fn hears(self, hears: &'static [&'static str]) -> Self {
        Self { hears, ..self }
    }
}

fn places() -> Vec<Place> {
    vec![
        // Handlers, before and after their first await.
        socket("a connect handler", |n| n.on_connect(async || boom())),
        socket("a connect handler, later", |n| n.on_connect(async || later().await)),
        event("an event handler", |n| n.on("boom", async || boom())),
        event("an event handler, later", |n| n.on("boom", async || later().await)),
        event("a listener of one socket", |n| {
            n.on_connect(async |socket: Socket| socket.on("boom", async || boom()))
        }),
        event("a listener of one socket, once and later", |n| {
            n.on_connect(async |socket: Socket| socket.once("boom", async || later().await))
        }),
        event("a listener of any event", |n| {
            n.on_any(async |Event(event): Event| assert_ne!(event, "boom")).on("boom", async |_: Ack| ())
        }),
        event("a socket's listener of any event", |n| {
            let listen = async |socket: Socket| {
                socket.on_any(async |Event(event): Event| assert_ne!(event, "boom"));
            };
            n.on_connect(listen).on("boom", async |_: Ack| ())
        }),
        event("a listener of outgoing events", |n| {
            let listen = async |socket: Socket| socket.on_any_outgoing(|event, _| assert_ne!(event, "boom"));
            n.on_connect(listen).on("boom", async |socket: Socket, _: Ack| socket.emit("boom", &()))
        })
        .hears(&[r#"42["boom"]"#]),
        event("a packet middleware", |n| {
            n.packet_middleware(async |Event(event): Event| assert_ne!(event, "boom"))
        }),
        event("a packet middleware, later", |n| {
            n.packet_middleware(async |Event(event): Event| {
                yield_now().await;
                assert_ne!(event, "boom");
            })
        }),
        event("a socket's packet middleware", |n| {
            n.on_connect(async |socket: Socket| {
                socket.middleware(async |Event(event): Event| assert_ne!(event, "boom"));
            })
        }),
        socket("a disconnecting handler", |n| n.on_disconnecting(async || boom())),
        socket("a disconnecting handler, later", |n| n.on_disconnecting(async || later().await)),
        socket("a disconnect handler", |n| n.on_disconnect(async || boom())),
        socket("a disconnect handler, later", |n| n.on_disconnect(async || later().await)),
        Place {
            panics: 2,
            told: 2,
            ..socket("a socket's handlers of its end", |n| {
                n.on_connect(async |socket: Socket| {
                    socket.on_disconnecting(async || boom());
                    socket.on_disconnect(async || later().await);
                })
            })
        },
        // What handlers take.
        event("an extractor", |n| n.on("boom", async |_: Bomb| ())),
        event("an extractor of the payload", |n| n.on("boom", async |_: BombPayload| ())),
        event("the text of a rejection", |n| n.on("boom", async |_: Rejected| ())),
        event("reading data", |n| n.on("boom", async |_: Data<Bomb>| ())),
        socket("reading what the client gave as auth", |n| n.on_connect(async |_: Auth<Bomb>| ())),
        socket("an extractor of a disconnect handler", |n| n.on_disconnect(async |_: Bomb| ())),
        event("a clone of a socket's extension", |n| {
            n.on_connect(async |socket: Socket| _ = socket.extensions().insert(Bomb))
                .on("boom", async |_: Extension<Bomb>| ())
        }),
        event("a clone of what a handler captures", |n| {
            let bomb = Bomb;
            n.on("boom", async move || _ = &bomb)
        }),
        // What they return and send.
        event("serialising a reply", |n| n.on("boom", async || Reply(Bomb))),
        event("serialising an ack", |n| n.on("boom", async |ack: Ack| ack.send(&Bomb))),
        event("a reply of the user's own", |n| n.on("boom", async || Bomb)),
        event("the text of an error", |n| n.on("boom", async || Err::<(), _>(Bomb))),
        event("what an error answers", |n| n.on("boom", async || Err::<(), _>(Unspeakable))),
        socket("the text of an error at the end", |n| n.on_disconnect(async || Err::<(), _>(Bomb))),
        event("serialising an event", |n| n.on("boom", async |s: Socket| s.emit("x", &Bomb))),
        event("serialising a broadcast", |n| n.on("boom", async |s: Socket| s.to("r").emit("x", &Bomb))),
        event("serialising a question", |n| {
            n.on("boom", async |s: Socket| s.emit_with_ack::<u8>("x", &Bomb).await.map(drop))
        }),
        event("serialising a question to many", |n| {
            n.on("boom", async |s: Socket| drop(s.to("r").emit_with_ack::<u8>("x", &Bomb).all().await))
        }),
        event("serialising an event for servers", |n| {
            n.on("boom", async |s: Socket| s.server().server_side_emit("x", &Bomb))
        }),
        event("serialising a socket's data", |n| n.on("boom", async |s: Socket| s.set_data("x", &Bomb))),
        event("reading an answer", |n| {
            n.on("boom", async |s: Socket| s.emit_with_ack::<Bomb>("question", &()).await.map(drop))
        })
        .hears(&[r#"420["question"]"#]),
        // What is no handler.
        event("a listener of rooms", |n| {
            n.on_room_event(|event| assert!(!matches!(event, RoomEvent::Join(room, _) if &**room == "boom")))
                .on("boom", async |socket: Socket, _: Ack| {
                    socket.join("boom");
                    socket.leave("boom");
                })
        })
        .untold(),
        event("the value that a panic brings", |n| n.on("boom", async || panic_with_fuse())),
        // What is dropped.
        socket("dropping a socket's extension", |n| {
            n.on_connect(async |socket: Socket| _ = socket.extensions().insert(Fuse::new()))
        })
        .uncounted(),
        socket("dropping what a socket's listeners captured", |n| {
            n.on_connect(async |socket: Socket| {
                let hold = |fuse: Arc<Fuse>| async move || drop(Arc::clone(&fuse));
                socket.on("x", hold(Fuse::new()));
                socket.once("y", hold(Fuse::new()));
                socket.on_any(hold(Fuse::new()));
                socket.middleware(hold(Fuse::new()));
                let fuse = Fuse::new();
                socket.on_any_outgoing(move |_, _| _ = &fuse);
            })
        })
        .uncounted(),
        socket("dropping what a handler of the end captured", |n| {
            n.on_connect(async |socket: Socket| {
                let (first, then) = (Fuse::new(), Fuse::new());
                socket.on_disconnecting(async move || drop(Arc::clone(&first)));
                socket.on_disconnect(async move || drop(Arc::clone(&then)));
            })
        })
        .uncounted(),
        event("dropping a listener that heard its one event", |n| {
            n.on_connect(async |socket: Socket| {
                let fuse = Fuse::new();
                socket.once("boom", async move |_: Ack| drop(Arc::clone(&fuse)));
            })
        })
        .uncounted(),
        event("dropping a listener of outgoing events that removes itself", |n| {
            n.on_connect(async |socket: Socket| {
                let (fuse, own) = (Fuse::new(), socket.clone());
                socket.on_any_outgoing(move |_, _| {
                    let _ = &fuse;
                    own.off_any_outgoing();
                });
            })
            .on("boom", async |socket: Socket, _: Ack| socket.emit("x", &()))
        })
        .uncounted()
        .hears(&[r#"42["x"]"#]),
        event("dropping what a handler owns", |n| n.on("boom", async |_: Ack| drop(Fuse::new()))),
    ]
}

async fn later() {
    yield_now().await;
    boom();
}

/// Panics with a value that panics when it is dropped.
fn panic_with_fuse() {
    panic_any(Fuse::new())
}

#[tokio::test]
async fn a_panic_ends_what_panicked_and_nothing_else() {
    for place in places() {
        // The hook that hears of it is a place, too.
        for hook_panics in [false, true] {
            println!("{}, hook panics: {hook_panics}", place.name);
            check(&place, hook_panics).await;
        }
    }
}

async fn check(place: &Place, hook_panics: bool) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&told);
    // What each socket holds until it is gone.
    let held = Arc::new(());
    let hold = Arc::clone(&held);
    let namespace = (place.declare)(Namespace::new())
        .on_connect(async move |socket: Socket| {
            socket.extensions().insert(Arc::clone(&hold));
            socket.join("r");
        })
        .on("fine", async |Data(n): Data<u8>| Reply(n));
    let builder = Patio::builder().namespace("/", namespace).on_handler_error(move |failed| {
        log.lock().unwrap().push(failed.error.to_string());
        assert!(!hook_panics, "boom");
    });
    let server = Server::start(builder).await;
    let before = Arc::strong_count(&held);
    let mut client = server.ws(V4).await;
    let mut other = server.ws(V4).await;
    for client in [&mut client, &mut other] {
        // What Socket.IO sends as `auth`; most do not look at it.
        client.send(r#"40{"token":1}"#).await;
        assert!(client.text().await.starts_with("40{"));
    }
    server.until(|io| io.of("/").room_len("r") == 2).await;

    if place.when == When::Event {
        client.send(r#"421["boom",1]"#).await;
        for &expected in place.hears {
            assert_eq!(client.text().await, expected);
            if expected == r#"420["question"]"# {
                client.send("430[1]").await;
            }
        }
    }
    for client in [&mut client, &mut other] {
        client.send(r#"422["fine",7]"#).await;
        assert_eq!(client.text().await, "432[7]");
    }
    server.io.to("r").emit("all", &1).unwrap();
    for client in [&mut client, &mut other] {
        assert_eq!(client.text().await, r#"42["all",1]"#);
    }

    // One leaves and stays connected, the other one is gone at once.
    client.send("41").await;
    assert_eq!(server.reason().await, "client namespace disconnect");
    assert_eq!(server.io.of("/").room_len("r"), 1);
    other.send(r#"423["fine",8]"#).await;
    assert_eq!(other.text().await, "433[8]");
    client.send("40").await;
    assert!(client.text().await.starts_with("40{"));
    client.send("41").await;
    assert_eq!(server.reason().await, "client namespace disconnect");
    drop(other);
    assert_eq!(server.reason().await, "transport close");
    drop(client);
    server.until(|io| io.engine().clients_count() == 0).await;
    assert!(server.io.of("/").is_empty() && server.io.of("/").rooms().is_empty());
    server.until(|_| Arc::strong_count(&held) == before).await;
    // Every task has ended: a closing server waits for each of them.
    soon(server.io.close()).await;

    let times = if place.when == When::Socket { 3 } else { 1 };
    let told = told.lock().unwrap();
    assert_eq!(told.len() as u64, place.told * times, "{told:?}");
    for error in &*told {
        assert!(error.starts_with("the handler panicked: "), "{error}");
    }
    let counted = (place.panics + if hook_panics { place.told } else { 0 }) * times;
    assert_eq!(server.io.counters().panics, counted, "{}", place.name);
}

/// A middleware that cannot answer refuses; the connection goes on, and nothing of the socket is left.
#[tokio::test]
async fn a_middleware_that_panics_refuses() {
    let refusing: [(&str, Declare); 6] = [
        ("/now", |n| n.middleware(async || boom())),
        ("/later", |n| n.middleware(async || later().await)),
        ("/extract", |n| n.middleware(async |_: Bomb| ())),
        ("/auth", |n| n.middleware(async |_: Auth<Bomb>| ())),
        ("/convert", |n| n.middleware(async || Err::<(), _>(Unspeakable))),
        ("/second", |n| n.middleware(async |s: Socket| s.join("r")).middleware(async || boom())),
    ];
    let mut builder = Patio::builder();
    for (name, declare) in &refusing {
        builder = builder.namespace(*name, declare(Namespace::new()));
    }
    let server = Server::start(builder).await;
    server.io.on("fine", async |Data(n): Data<u8>| Reply(n));
    let mut client = server.ws(V4).await;
    client.join("/").await;
    for (name, _) in &refusing {
        client.send(&format!(r#"40{name},{{"token":1}}"#)).await;
        assert_eq!(client.text().await, format!(r#"44{name},{{"message":"Internal server error"}}"#));
        assert!(server.io.of(name).is_empty() && server.io.of(name).rooms().is_empty());
        client.send(r#"421["fine",7]"#).await;
        assert_eq!(client.text().await, "431[7]");
    }
    assert_eq!(server.io.counters().panics, refusing.len() as u64);
    assert_eq!(server.io.counters().refused_connects, refusing.len() as u64);
}

/// Emits from outside any handler panic where they were called, and touch nothing else.
#[tokio::test]
async fn data_that_panics_when_it_is_sent_from_outside_is_its_callers_panic() {
    let server = Server::start(Patio::builder()).await;
    let mut client = server.ws(V4).await;
    let id = client.join("/").await;
    let socket = server.io.of("/").socket(&id).unwrap();
    socket.join("r");
    let calls: [fn(&Patio, &Socket); 8] = [
        |_, socket| drop(socket.emit("x", &Bomb)),
        |_, socket| drop(socket.emit_with_ack::<u8>("x", &Bomb)),
        |_, socket| drop(socket.set_data("x", &Bomb)),
        |io, _| drop(io.emit("x", &Bomb)),
        |io, _| drop(io.to("r").emit("x", &(1, Bomb))),
        |io, _| drop(io.to("r").emit_with_ack::<u8>("x", &Bomb)),
        |io, _| drop(io.server_side_emit("x", &Bomb)),
        // The panic of a predicate or a listener is not the caller's.
        |io, _| io.of_dynamic(|_: &str, _: Option<&Payload>| -> bool { panic!("boom") }, Namespace::new()),
    ];
    for (n, call) in calls.into_iter().enumerate() {
        let (io, socket) = (server.io.clone(), socket.clone());
        let called = std::thread::spawn(move || call(&io, &socket)).join();
        assert_eq!(called.is_err(), n < 7, "call {n}");
        server.io.to("r").emit("n", &n).unwrap();
        assert_eq!(client.text().await, format!(r#"42["n",{n}]"#));
    }
    let asked = socket.emit_with_ack::<Bomb>("question", &());
    let question = client.text().await;
    client.send(&question.replace("42", "43").replace("\"question\"", "1")).await;
    assert!(tokio::spawn(async { asked.await.map(drop) }).await.unwrap_err().is_panic());
    assert_eq!(socket.pending_acks(), 0);
    assert_eq!(server.io.counters().panics, 0, "these are not the server's to count");
    server.io.of("/new");
    assert_eq!(server.io.counters().panics, 1, "but this is");
    drop(client);
    server.until(|io| io.of("/").is_empty() && io.engine().clients_count() == 0).await;
}

/// What decides about namespaces: a predicate that panics says no, a listener or an adapter that panics is passed over.
#[tokio::test]
async fn what_panics_while_a_namespace_is_made_makes_none() {
    /// Cannot make the adapter of one namespace.
    struct Factory;

    impl AdapterFactory for Factory {
        fn create(&self, name: &str, local: std::sync::Weak<dyn Local>) -> Arc<dyn Adapter> {
            assert_ne!(name, "/adapter", "boom");
            Memory::new().create(name, local)
        }
    }

    fn predicate(pattern: impl NamespacePattern) -> impl NamespacePattern {
        pattern
    }

    let server = Server::start(Patio::builder().adapter(Factory)).await;
    let io = &server.io;
    io.on("fine", async |Data(n): Data<u8>| Reply(n));
    io.of_dynamic(
        predicate(|name: &str, _: Option<&Payload>| {
            assert!(!name.starts_with("/predicate"), "boom");
            false
        }),
        Namespace::new(),
    );
    // The next one is asked all the same.
    io.of_dynamic("/predicate-{n}", Namespace::new());
    io.of_dynamic("/adapter", Namespace::new());
    io.of_dynamic("/listener", Namespace::new().on_connect(async |socket: Socket| socket.join("r")));
    io.on_new_namespace(|namespace| assert_ne!(namespace.name(), "/listener", "boom"));
    let mut client = server.ws(V4).await;
    client.join("/").await;
    for name in ["/predicate", "/adapter"] {
        client.send(&format!("40{name},")).await;
        assert_eq!(client.text().await, format!(r#"44{name},{{"message":"Invalid namespace"}}"#));
        client.send(r#"421["fine",7]"#).await;
        assert_eq!(client.text().await, "431[7]");
    }
    client.join("/listener").await;
    assert_eq!(io.of("/listener").room_len("r"), 1);
    assert_eq!(io.counters().panics, 3);
    client.join("/predicate-1").await;
    assert_eq!(io.counters().panics, 4);
    let mut names = io.namespaces();
    names.sort();
    assert_eq!(names, ["/", "/listener", "/predicate-1"]);
    drop(client);
    server.until(|io| io.of("/listener").rooms().is_empty() && io.engine().clients_count() == 0).await;
}

/// Who listens to rooms and panics at one change hears of the next, though both came of one call.
#[tokio::test]
async fn a_listener_of_rooms_hears_what_follows() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&heard);
    let namespace = Namespace::new().on_room_event(move |event| {
        let (RoomEvent::Create(room) | RoomEvent::Join(room, _)) = event else { return };
        if &**room == "boom" {
            log.lock().unwrap().push(matches!(event, RoomEvent::Create(_)));
            boom();
        }
    });
    let server = Server::start(Patio::builder().namespace("/", namespace)).await;
    let mut client = server.ws(V4).await;
    let id = client.join("/").await;
    server.io.of("/").socket(&id).unwrap().join("boom");
    assert_eq!(*heard.lock().unwrap(), [true, false]);
    assert_eq!(server.io.counters().panics, 2);
}

/// A listener of other servers' events that panics: the next one hears of it, and who asked waits no longer than usual.
#[tokio::test(start_paused = true)]
async fn a_listener_of_other_servers_may_panic() {
    let bus = InProcess::new();
    let heard = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&heard);
    let namespace = Namespace::new()
        .on_server_side("x", |_, _| boom())
        .on_server_side("x", move |_, _| _ = count.fetch_add(1, Ordering::SeqCst));
    let hearing = Server::in_memory(Patio::builder().adapter(bus.node()).namespace("/", namespace), 1024);
    let asking = Server::in_memory(Patio::builder().adapter(bus.node()), 1024);
    for server in [&hearing, &asking] {
        server.ws(V4).await.join("/").await;
    }
    asking.io.server_side_emit("x", &1).unwrap();
    let answers = asking.io.server_side_emit_with_ack::<u8>("x", &1).await.unwrap();
    assert_eq!((answers.answers.len(), answers.missing), (0, 1));
    assert_eq!(heard.load(Ordering::SeqCst), 2);
    assert_eq!(hearing.io.counters().panics, 2);
}

/// Hooks of requests: what decides refuses, what only changes or hears is passed over. The connection that the request
/// came on is answered and stays.
#[tokio::test]
async fn hooks_of_requests_may_panic() {
    type Build = fn(ServerBuilder) -> ServerBuilder;
    const FORBIDDEN: (u16, &str) = (403, r#"{"code":4,"message":"Internal server error"}"#);
    const BAD: (u16, &str) = (400, r#"{"code":3,"message":"Bad request"}"#);
    let refusing: [(&str, Build, (u16, &str)); 3] = [
        ("allow_request", |b| b.allow_request(|_| -> std::future::Ready<_> { panic!("boom") }), FORBIDDEN),
        (
            "allow_request, later",
            |b| {
                b.allow_request(|_| async {
                    later().await;
                    Ok(())
                })
            },
            FORBIDDEN,
        ),
        ("generate_id", |b| b.generate_id(|_| panic!("boom")), BAD),
    ];
    for (name, build, refusal) in refusing {
        let server = Server::start(build(Patio::builder().max_connections(1))).await;
        let mut http = server.http().await;
        // More often than there may be connections: none of these holds a place.
        for n in 1..=3 {
            http.send("GET", &target("EIO=4&transport=polling"), &[], b"").await;
            assert_eq!(http.response().await.brief(), refusal, "{name}");
            assert_eq!(server.io.counters().panics, n, "{name}");
        }
        let refused = server.upgrade(&target("EIO=4&transport=websocket"), &[]).await.err().unwrap();
        assert_eq!(refused.status, 400);
        assert_eq!(server.io.engine().clients_count(), 0);
    }

    let passed_over: [(&str, Build, u64); 4] = [
        // Answers to a handshake, a POST and a poll, and those of an upgrade and of a WebSocket.
        ("headers", |b| b.headers(|_, _| boom()), 5),
        ("initial_headers", |b| b.initial_headers(|_, _| boom()), 2),
        ("cors", |b| b.cors(Cors::matching(|_| panic!("boom"))), 5),
        ("both", |b| b.headers(set_and_panic).initial_headers(set_and_panic), 7),
    ];
    for (name, build, panics) in passed_over {
        let server = Server::start(build(Patio::builder())).await;
        server.io.on("fine", async |Data(n): Data<u8>| Reply(n));
        let origin = [("origin", "https://example.com")];
        let mut polling = server.polling_with(V4, "", &origin).await;
        assert_eq!(polling.handshake.header("access-control-allow-origin"), None);
        assert_eq!(polling.handshake.header("x-set").is_some(), name == "both");
        let target = polling.target();
        polling.posts.send("POST", &target, &origin, b"40").await;
        assert_eq!(polling.posts.response().await.brief(), (200, "ok"));
        assert_eq!(polling.poll().await.status, 200);
        // The upgrade, and a WebSocket from the start.
        let mut candidate =
            server.upgrade(&format!("{target}&transport=websocket"), &origin).await.ok().unwrap();
        candidate.send("5").await;
        let mut ws = server.ws_with(V4, "", &origin).await;
        ws.join("/").await;
        for client in [&mut ws, &mut candidate] {
            client.send(r#"421["fine",7]"#).await;
            assert_eq!(client.text().await, "431[7]");
        }
        assert_eq!(server.io.counters().panics, panics, "{name}");
        drop((ws, candidate, polling));
        server.until(|io| io.engine().clients_count() == 0).await;
    }

    let server = Server::start(Patio::builder().connection_error(|_| boom())).await;
    let mut http = server.http().await;
    for n in 1..=2 {
        http.send("GET", &target("EIO=4&transport=smoke"), &[], b"").await;
        assert_eq!(http.response().await.brief(), (400, r#"{"code":0,"message":"Transport unknown"}"#));
        assert_eq!(server.io.counters().panics, n);
    }
}

fn set_and_panic(headers: &mut http::HeaderMap, _: &http::request::Parts) {
    headers.insert(header::HeaderName::from_static("x-set"), HeaderValue::from_static("1"));
    boom();
}

/// A request's extension that cannot be cloned is not kept; the client connects all the same.
#[tokio::test]
async fn an_extension_of_a_request_may_panic() {
    use tower_service::Service;
    let io = Patio::builder().keep_extension::<Bomb>().keep_extension::<u8>().build().unwrap();
    io.on_connect(async |socket: Socket| {
        assert!(!socket.extensions().contains::<Bomb>());
        let Some(n) = socket.extensions().get::<u8>() else { return };
        socket.emit("kept", &n).unwrap();
    });
    let mut request = http::Request::get(target("EIO=4&transport=polling"))
        .body(http_body_util::Full::<bytes::Bytes>::default())
        .unwrap();
    request.extensions_mut().insert(Bomb);
    request.extensions_mut().insert(7_u8);
    let answer = io.service().call(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!((io.engine().clients_count(), io.counters().panics), (1, 1));
}

/// Engine.IO alone has no events that could fail one by one: who panics loses that client, in order, and no other.
#[tokio::test]
async fn an_engine_io_handler_that_panics_loses_that_client_only() {
    struct Panics(Arc<Mutex<Vec<String>>>);

    impl engine_io::Handler for Panics {
        fn opened(&self, client: &Client) {
            assert_eq!(client.handshake().query().get("boom"), None, "boom");
        }

        fn message(&self, client: &Client, message: Message) {
            assert!(!matches!(&message, Message::Text(text) if text.as_str() == "boom"));
            client.send(message);
        }

        fn closed(&self, _: &Client, reason: DisconnectReason) {
            self.0.lock().unwrap().push(reason.to_string());
            boom();
        }
    }

    let reasons = Arc::<Mutex<Vec<String>>>::default();
    let io = Patio::builder().build_engine_io(Panics(Arc::clone(&reasons))).unwrap();
    let net = Net::serve(io.clone()).0;
    let mut other = net.ws(V4).await;
    let mut panics = 0;
    for over_polling in [false, true] {
        for at_once in [true, false] {
            let query = if at_once { "&boom=1" } else { "" };
            if over_polling {
                let mut client = net.polling_with(V4, query, &[]).await;
                if !at_once {
                    client.send("4boom").await;
                }
                let told = client.poll().await;
                assert!(told.status == 400 || told.text().ends_with('1'), "{told:?}");
            } else {
                let mut client = net.ws_with(V4, query, &[]).await;
                if !at_once {
                    client.send("4boom").await;
                }
                client.closes_silently().await;
            }
            soon(async {
                while io.clients_count() > 1 {
                    yield_now().await;
                }
            })
            .await;
            // What panicked, and that it panics again when it hears of the end.
            panics += 2;
            assert_eq!(io.counters().panics, panics);
            other.send("4fine").await;
            assert_eq!(other.text().await, "4fine");
        }
    }
    drop(other);
    soon(io.close()).await;
    let reasons = reasons.lock().unwrap();
    assert_eq!(reasons[..4], ["forced close"; 4]);
    assert_eq!(reasons.len(), 5);
}

/// Handlers that still run when a server has closed are dropped, each of them, whatever dropping them does.
#[tokio::test(start_paused = true)]
async fn what_is_dropped_at_the_end_may_panic() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let hold = |dropped: &Arc<AtomicUsize>| {
        let dropped = Arc::clone(dropped);
        async move || {
            let _fuse = Fuse(dropped.clone());
            pending::<()>().await;
        }
    };
    let namespace = Namespace::new()
        .on_connect(hold(&dropped))
        .on_connect(hold(&dropped))
        .on("wait", hold(&dropped))
        .on_disconnecting(hold(&dropped))
        .on_disconnect(hold(&dropped))
        .packet_middleware(hold(&dropped));
    let server = Server::in_memory(Patio::builder().namespace("/", namespace), 1024);
    server.io.of("/other").on("wait", hold(&dropped));
    let held = Arc::new(());
    let mut clients: Vec<WsClient> = Vec::new();
    for n in 0..3 {
        let mut client = server.ws(V4).await;
        let id = client.join("/").await;
        server.io.of("/").socket(&id).unwrap().extensions().insert((Arc::clone(&held), Fuse::new()));
        client.join("/other").await;
        for _ in 0..2 {
            client.send(r#"42/other,["wait"]"#).await;
        }
        // Held up by the middleware, and by the connect handlers.
        client.send(r#"42["wait"]"#).await;
        client.send(&format!(r#"42/other,["last",{n}]"#)).await;
        clients.push(client);
        server.until(|io| io.counters().unhandled_events == n + 1).await;
    }
    server.io.close().await;
    drop(clients);
    // Of each client: two connect handlers, two events, one middleware, two handlers of the end.
    assert_eq!(dropped.load(Ordering::SeqCst), 3 * 7);
    assert_eq!(Arc::strong_count(&held), 1);
    assert_eq!(server.io.engine().clients_count(), 0);
}

/// The runtime may go while all this is held.
#[test]
fn what_is_dropped_with_the_runtime_may_panic() {
    let io = Patio::new();
    let dropped = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&dropped);
    io.on_connect(async move |socket: Socket| {
        socket.extensions().insert(Fuse::new());
        let fuse = Fuse::new();
        socket.on("x", async move || drop(Arc::clone(&fuse)));
        let _fuse = Fuse(Arc::clone(&count));
        pending::<()>().await;
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let clients = runtime.block_on(async {
        let server = Server::serve(io.clone()).await;
        let mut clients = Vec::new();
        for _ in 0..3 {
            let mut client = server.ws(V4).await;
            client.join("/").await;
            clients.push(client);
        }
        clients
    });
    drop(runtime);
    drop(clients);
    assert_eq!(dropped.load(Ordering::SeqCst), 3);
    assert!(io.of("/").rooms().is_empty());
    assert_eq!(io.engine().clients_count(), 0);
}
