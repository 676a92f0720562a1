//! What a socket knows, and who listens to it: its listeners and those of its namespace, middlewares for its events, its
//! handshake, its rooms as the application follows them (wire formats 3.4 and 3.6).

#![cfg(feature = "serve")]

#[expect(dead_code, reason = "each test file uses a part")]
mod support;

use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use patio::{
    Namespace, Protocol, Refusal, Reply, RoomEvent, Server as Patio, Socket,
    extract::{Args, Auth, Data, Event, Handshake, RawData},
};
use serde_json::{Value, json};
use support::{Server, V4, WsClient};

/// What handlers note, in their order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn note(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

async fn join(server: &Server) -> (WsClient, Socket) {
    let mut client = server.ws(V4).await;
    let id = client.join("/").await;
    let socket = server.io.of("/").socket(&id).unwrap();
    (client, socket)
}

/// Sends an event and waits until all before it were handled.
async fn send(client: &mut WsClient, event: &str) {
    client.send(&format!("42{event}")).await;
    client.send(r#"4299["done"]"#).await;
    assert_eq!(client.text().await, "4399[]");
}

#[tokio::test]
async fn listeners_are_called_in_their_order() {
    let log = Log::default();
    let noting = |what: &'static str| {
        let log = log.clone();
        async move |Event(event): Event| {
            if event != "done" {
                log.note(what);
            }
        }
    };
    let namespace = Namespace::new()
        .on_any(noting("namespace any"))
        .packet_middleware(noting("namespace middleware"))
        .on("x", noting("namespace"))
        .on("done", async || ());
    let server = Server::start(Patio::builder().namespace("/", namespace)).await;
    let (mut client, socket) = join(&server).await;
    socket.on("x", noting("socket"));
    socket.once("x", noting("once"));
    socket.on_any(noting("socket any"));
    socket.middleware(noting("socket middleware"));
    let before = ["namespace any", "socket any", "namespace middleware", "socket middleware"];
    send(&mut client, r#"["x"]"#).await;
    assert_eq!(log.take(), [&before[..], &["namespace", "socket", "once"]].concat());
    send(&mut client, r#"["x"]"#).await;
    assert_eq!(log.take(), [&before[..], &["namespace", "socket"]].concat());
    socket.off("x");
    socket.off_any();
    send(&mut client, r#"["x"]"#).await;
    assert_eq!(log.take(), ["namespace any", "namespace middleware", "socket middleware", "namespace"]);
    send(&mut client, r#"["unknown"]"#).await;
    assert_eq!(log.take(), ["namespace any", "namespace middleware", "socket middleware"]);
    // Another socket has only what its namespace has.
    let (mut other, _) = join(&server).await;
    send(&mut other, r#"["x"]"#).await;
    assert_eq!(log.take(), ["namespace any", "namespace middleware", "namespace"]);
}

#[tokio::test]
async fn a_middleware_keeps_an_event_from_its_handlers() {
    let log = Log::default();
    let server = Server::start(Patio::builder()).await;
    let noted = log.clone();
    server.io.on("done", async || ());
    server.io.on("pay", async move |Data(sum): Data<i64>| {
        noted.note(format!("paid {sum}"));
        Reply(sum)
    });
    let (mut client, socket) = join(&server).await;
    socket.middleware(async |Event(event): Event, Args(arguments): Args| {
        tokio::task::yield_now().await;
        match arguments.first() {
            Some(patio::Value::Int(sum)) if event == "pay" && *sum < 0 => Err(Refusal::new("nice try")),
            _ => Ok(()),
        }
    });
    let noted = log.clone();
    socket.middleware(async move |RawData(event): RawData| noted.note(format!("{event:?}")));
    client.send(r#"421["pay",-5]"#).await;
    client.send(r#"422["pay",5]"#).await;
    assert_eq!(client.text().await, "432[5]");
    assert_eq!(log.take(), [r#"["pay",5]"#, "paid 5"]);
    assert_eq!(server.io.counters().refused_events, 1);
}

/// Names are what JavaScript makes of them, and a name that looks odd is a name.
#[tokio::test]
async fn event_names_are_read_as_javascript_reads_them() {
    let server = Server::start(Patio::builder()).await;
    for name in
        ["a\"b\\c", "line\nbreak", "ünïcödé 🎉", "error", "__proto__", "constructor", "", "7", "message"]
    {
        server.io.on(name, async move || Reply(name));
    }
    let (mut client, _) = join(&server).await;
    for (event, name) in [
        (r#""a\"b\\c""#, r#""a\"b\\c""#),
        (r#""line\nbreak""#, r#""line\nbreak""#),
        (r#""\u00fcn\u00efc\u00f6d\u00e9 \ud83c\udf89""#, r#""ünïcödé 🎉""#),
        (r#""error""#, r#""error""#),
        (r#""__proto__""#, r#""__proto__""#),
        (r#""constructor""#, r#""constructor""#),
        (r#""""#, r#""""#),
        ("7", r#""7""#),
        (r#""message""#, r#""message""#),
    ] {
        client.send(&format!("421[{event},1]")).await;
        assert_eq!(client.text().await, format!("431[{name}]"));
    }
    for reserved in
        ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"]
    {
        let (mut client, _) = join(&server).await;
        client.send(&format!(r#"42["{reserved}"]"#)).await;
        client.closes_silently().await;
        assert_eq!(server.reason().await, "forced close");
    }
}

#[tokio::test]
async fn the_handshake_says_what_the_client_said() {
    let server = Server::start(Patio::builder()).await;
    let before = SystemTime::now() - Duration::from_secs(1);
    server.io.on_connect(async move |socket: Socket, handshake: Handshake, auth: Option<Auth<Value>>| {
        let query = handshake.query();
        let header = |name| handshake.headers().get(name).map(str::to_owned);
        assert!(handshake.time() >= before && handshake.time() <= SystemTime::now());
        assert!(handshake.issued() > 1_700_000_000_000);
        socket.emit(
            "handshake",
            &json!({
                "agent": header("user-agent"),
                "cookie": header("cookie"),
                "none": header("x-none"),
                "room": query.get("room"),
                "eio": query.get("EIO"),
                "url": handshake.url(),
                "ip": handshake.address().map(|address| address.ip().to_string()),
                "secure": handshake.secure(),
                "xdomain": handshake.xdomain(),
                "auth": auth.map(|Auth(auth)| auth),
            }),
        )
    });
    let headers = [("User-Agent", "raw"), ("Cookie", "a=b"), ("Origin", "http://example.com")];
    let mut client = server.ws_with(V4, "&room=a%20b", &headers).await;
    client.send(r#"40{"token":"t"}"#).await;
    assert!(client.text().await.starts_with("40"));
    let told = support::json(&client.text().await[2..]);
    assert_eq!(
        told[1],
        json!({
            "agent": "raw",
            "cookie": "a=b",
            "none": null,
            "room": "a b",
            "eio": "4",
            "url": "/socket.io/?EIO=4&transport=websocket&room=a%20b",
            "ip": "127.0.0.1",
            "secure": false,
            "xdomain": true,
            "auth": {"token": "t"},
        })
    );
}

#[tokio::test]
async fn the_connection_under_a_socket_is_known() {
    let server = Server::start(Patio::builder()).await;
    let mut polling = server.polling(V4).await;
    let id = polling.join("/").await;
    let socket = server.io.of("/").socket(&id).unwrap();
    assert_eq!(socket.conn().transport().as_str(), "polling");
    assert_eq!(socket.conn().id(), polling.sid());
    assert_eq!(socket.conn().protocol(), Protocol::V4);
    assert_eq!(socket.conn().remote_address().unwrap().ip().to_string(), "127.0.0.1");
    let mut ws = server.candidate(V4, polling.sid()).await;
    ws.send("2probe").await;
    assert_eq!(ws.text().await, "3probe");
    ws.send("5").await;
    server.until(|_| socket.conn().transport().as_str() == "websocket").await;
    socket.emit("upgraded", &()).unwrap();
    assert_eq!(ws.text().await, r#"42["upgraded"]"#);
    assert_eq!(socket.server().engine().clients_count(), 1);
}

#[tokio::test]
async fn rooms_are_followed_from_their_first_member_to_their_last() {
    let log = Log::default();
    let noted = log.clone();
    let namespace = Namespace::new().on_room_event(move |event| {
        noted.note(match event {
            RoomEvent::Create(room) => format!("create {}", short(room)),
            RoomEvent::Join(room, id) => format!("join {} {}", short(room), short(id)),
            RoomEvent::Leave(room, id) => format!("leave {} {}", short(room), short(id)),
            RoomEvent::Delete(room) => format!("delete {}", short(room)),
            other => format!("{other:?}"),
        });
    });
    let server = Server::start(Patio::builder().namespace("/", namespace)).await;
    let main = server.io.of("/");
    let (mut client, one) = join(&server).await;
    assert_eq!(log.take(), ["create id", "join id id"]);
    one.join(["a", "b"]);
    one.join("a");
    assert_eq!(log.take(), ["create a", "join a id", "create b", "join b id"]);
    let (_other, two) = join(&server).await;
    log.take();
    two.join("a");
    assert_eq!(log.take(), ["join a id"]);
    assert_eq!((main.room_len("a"), main.room_len("b"), main.room_len("c"), main.len()), (2, 1, 0, 2));
    let mut rooms: Vec<_> = main.rooms().iter().map(|room| short(room).to_owned()).collect();
    rooms.sort();
    assert_eq!(rooms, ["a", "b", "id", "id"]);
    one.leave("b");
    one.leave("b");
    one.leave("a");
    assert_eq!(log.take(), ["leave b id", "delete b", "leave a id"]);
    // As in Node a socket may leave its own room, and then is not reached by its id.
    one.leave(one.id());
    assert_eq!(log.take(), ["leave id id", "delete id"]);
    server.io.to(one.id()).emit("nobody", &()).unwrap();
    one.emit("itself", &()).unwrap();
    assert_eq!(client.text().await, r#"42["itself"]"#);
    one.join(one.id());
    assert_eq!(log.take(), ["create id", "join id id"]);
    client.send("41").await;
    server.reason().await;
    assert_eq!(log.take(), ["leave id id", "delete id"]);
    // A room that is named as an id, before and after its socket.
    two.join(one.id());
    assert_eq!(log.take(), ["create id", "join id id"]);
}

/// Ids are random; rooms of the test have short names.
fn short(name: &str) -> &str {
    if name.len() == 20 { "id" } else { name }
}

/// Listeners that are dropped may use their socket, as anybody.
#[tokio::test]
async fn what_listeners_hold_may_use_the_socket_when_it_is_dropped() {
    struct Farewell(Socket, Log);

    impl Drop for Farewell {
        fn drop(&mut self) {
            self.0.off("other");
            self.1.note(format!("{} {:?}", self.0.get_data("n").is_some(), self.0.rooms().len()));
        }
    }

    let log = Log::default();
    let server = Server::start(Patio::builder()).await;
    let (_client, socket) = join(&server).await;
    socket.set_data("n", &1).unwrap();
    let holding = || {
        let held = Arc::new(Farewell(socket.clone(), log.clone()));
        async move || drop(Arc::clone(&held))
    };
    socket.on("x", holding());
    socket.off("x");
    socket.on_any(holding());
    socket.off_any();
    let held = Farewell(socket.clone(), log.clone());
    socket.on_any_outgoing(move |_, _| {
        let _ = &held;
    });
    socket.off_any_outgoing();
    socket.on("y", holding());
    socket.disconnect(false);
    server.reason().await;
    server.until(|_| log.0.lock().unwrap().len() == 4).await;
    assert_eq!(log.take(), ["true 1", "true 1", "true 1", "true 0"]);
}
