//! Who may join which namespace, when it is made and when it goes.

#![cfg(feature = "serve")]

#[expect(dead_code, reason = "each test file uses a part")]
mod support;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use patio::{
    Namespace, Payload, Refusal, Server as Patio, Socket,
    extract::{Auth, Data, Event},
};
use serde_json::{Value, json};
use support::{Server, V4, WsClient, soon};
use tokio::sync::Semaphore;

async fn start() -> Server {
    Server::start(Patio::builder()).await
}

/// The answer to a CONNECT.
async fn ask(client: &mut WsClient, connect: &str) -> String {
    client.send(connect).await;
    client.text().await
}

const INVALID: &str = r#",{"message":"Invalid namespace"}"#;

#[tokio::test]
async fn a_client_is_in_the_namespaces_that_it_asks_for() {
    let builder = Patio::builder().namespace("chat", Namespace::new());
    let server = Server::start(builder).await;
    let mut ws = server.ws(V4).await;
    let chat = ws.join("/chat").await;
    assert_eq!(ask(&mut ws, "40/cha,").await, format!("44/cha{INVALID}"));
    assert_eq!(ask(&mut ws, "40/chat?x=1,").await, format!("44/chat?x=1{INVALID}"));
    let main = ws.join("/").await;
    assert_ne!(chat, main);
    assert_ne!(main, ws.sid(), "the session id is secret");
    assert_eq!((chat.len(), main.len()), (20, 20));
    assert_eq!((server.io.of("/chat").len(), server.io.of("chat").len()), (1, 1));
    assert_eq!(server.io.of("/chat").sockets()[0].namespace(), "/chat");
    assert_eq!(server.io.counters().refused_connects, 2);
    let mut names = server.io.namespaces();
    names.sort();
    assert_eq!(names, ["/", "/chat"]);
}

#[tokio::test]
async fn namespaces_may_be_declared_at_any_time() {
    let server = start().await;
    let made = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&made);
    server.io.on_new_namespace(move |namespace| log.lock().unwrap().push(namespace.name().to_owned()));
    let mut ws = server.ws(V4).await;
    assert_eq!(ask(&mut ws, "40/late,").await, format!("44/late{INVALID}"));
    server.io.of("/late").on("ping", async |socket: Socket| socket.emit("pong", &1));
    ws.join("/late").await;
    ws.send(r#"42/late,["ping"]"#).await;
    assert_eq!(ws.text().await, r#"42/late,["pong",1]"#);
    // Handlers that are added later are for sockets that are there already, too.
    server.io.of("/late").on("ping", async |socket: Socket| socket.emit("pong", &2));
    ws.send(r#"42/late,["ping"]"#).await;
    assert_eq!(ws.text().await, r#"42/late,["pong",1]"#);
    assert_eq!(ws.text().await, r#"42/late,["pong",2]"#);
    server.io.of("/late");
    assert_eq!(*made.lock().unwrap(), ["/late"]);
}

#[tokio::test]
async fn dynamic_namespaces_are_made_when_their_names_are_asked_for() {
    #[derive(serde::Deserialize)]
    struct Key {
        key: Option<u8>,
    }

    let server = start().await;
    let io = &server.io;
    let named = |name: &'static str| {
        Namespace::new().on_connect(async move |socket: Socket| socket.emit("from", &name))
    };
    io.of_dynamic("/chat-{id}", named("template"));
    io.of_dynamic("/{tenant}/rooms/{room}".to_owned(), named("two"));
    io.of_dynamic(
        |name: &str, auth: Option<&Payload>| {
            let key: Option<Key> = auth.and_then(|auth| auth.read_value().ok());
            name.ends_with("-7") && key.and_then(|key| key.key) == Some(7)
        },
        named("closure"),
    );
    io.of_dynamic(|_: &str, _: Option<&Payload>| panic!("a predicate"), named("never"));
    let mut ws = server.ws(V4).await;
    for (connect, nsp, from) in [
        ("40/chat-1,", "/chat-1", "template"),
        ("40/chat-7,{\"key\":7}", "/chat-7", "template"),
        ("40/acme/rooms/1,", "/acme/rooms/1", "two"),
        ("40/x-7,{\"key\":7}", "/x-7", "closure"),
    ] {
        assert!(ask(&mut ws, connect).await.starts_with(&format!("40{nsp},{{")), "{connect}");
        assert_eq!(ws.text().await, format!(r#"42{nsp},["from","{from}"]"#));
    }
    for refused in ["/chat-", "/chat-a/b", "/x-7"] {
        let mut other = server.ws(V4).await;
        // The namespace `/x-7` is there now: whoever knows its name is in it, as in Node.
        let answer = ask(&mut other, &format!("40{refused},")).await;
        assert_eq!(answer.starts_with("44"), refused != "/x-7", "{answer}");
    }
    // A static namespace whose name fits is a child.
    io.of("/chat-static");
    ws.join("/chat-static").await;
    assert_eq!(ws.text().await, r#"42/chat-static,["from","template"]"#);
}

#[test]
#[should_panic(expected = "has a `{` without `}`")]
fn a_malformed_template_is_the_programs_fault() {
    Patio::new().of_dynamic("/chat-{id", Namespace::new());
}

#[tokio::test]
async fn empty_dynamic_namespaces_go_if_they_shall() {
    let refuse = async |Auth(auth): Auth<Value>| match auth["refuse"] {
        Value::Null => Ok(()),
        _ => Err(Refusal::new("no")),
    };
    for (cleans, left) in
        [(true, vec!["/", "/dyn-static"]), (false, vec!["/", "/dyn-1", "/dyn-2", "/dyn-static"])]
    {
        let server = Server::start(Patio::builder().cleanup_empty_child_namespaces(cleans)).await;
        server.io.of_dynamic("/dyn-{n}", Namespace::new().middleware(refuse));
        server.io.of("/dyn-static");
        let (mut one, mut two) = (server.ws(V4).await, server.ws(V4).await);
        one.join("/dyn-1").await;
        two.join("/dyn-1").await;
        one.join("/dyn-static").await;
        assert_eq!(ask(&mut one, r#"40/dyn-2,{"refuse":1}"#).await, r#"44/dyn-2,{"message":"no"}"#);
        one.send("41/dyn-1,").await;
        one.send("41/dyn-static,").await;
        one.join("/").await;
        assert!(server.io.namespaces().contains(&"/dyn-1".to_owned()), "one is still in it");
        drop(two);
        server.until(|io| io.engine().clients_count() == 1).await;
        let mut names = server.io.namespaces();
        names.sort();
        assert_eq!(names, left);
        // It is made again.
        one.join("/dyn-1").await;
        assert_eq!(server.io.of("/dyn-1").len(), 1);
    }
}

/// Clients come and go in one dynamic namespace: none is ever in one that has been removed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_client_is_left_in_a_namespace_that_was_removed() {
    let server = Arc::new(Server::start(Patio::builder().cleanup_empty_child_namespaces(true)).await);
    server.io.of_dynamic("/dyn-{n}", Namespace::new());
    let clients = (0..8).map(|_| {
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            let mut ws = server.ws(V4).await;
            for n in 0..50 {
                let id = ws.join("/dyn-1").await;
                server.io.of("/dyn-1").to(&id).emit("n", &n).unwrap();
                assert_eq!(ws.text().await, format!(r#"42/dyn-1,["n",{n}]"#));
                ws.send("41/dyn-1,").await;
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    server.until(|io| io.namespaces() == ["/"]).await;
}

#[tokio::test]
async fn middlewares_decide_in_order_and_the_first_refusal_is_told() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let first = Arc::clone(&asked);
    let second = Arc::clone(&asked);
    let namespace = Namespace::new()
        .middleware(async move |socket: Socket, Auth(auth): Auth<Value>| {
            first.lock().unwrap().push(1);
            tokio::task::yield_now().await;
            assert!(!socket.is_connected());
            socket.emit("welcome", &"early").unwrap();
            match auth["token"].as_str() {
                Some("good") => Ok(()),
                Some(_) => Err(Refusal::new("not authorized").with_data(json!({"content":"retry","n":1}))),
                None => Err(Refusal::new("no token")),
            }
        })
        .middleware(async move || second.lock().unwrap().push(2));
    let server = Server::start(Patio::builder().namespace("/rej", namespace)).await;
    let mut ws = server.ws(V4).await;
    for (connect, answer) in [
        ("40/rej,", r#"44/rej,{"message":"no token"}"#),
        (
            r#"40/rej,{"token":"bad"}"#,
            r#"44/rej,{"message":"not authorized","data":{"content":"retry","n":1}}"#,
        ),
    ] {
        ws.send(connect).await;
        assert_eq!(ws.text().await, r#"42/rej,["welcome","early"]"#);
        assert_eq!(ws.text().await, answer);
    }
    assert_eq!(*asked.lock().unwrap(), [1, 1]);
    // The transport stays: it may try again.
    ws.send(r#"40/rej,{"token":"good"}"#).await;
    assert_eq!(ws.text().await, r#"42/rej,["welcome","early"]"#);
    assert!(ws.text().await.starts_with(r#"40/rej,{"sid":"#));
    assert_eq!(*asked.lock().unwrap(), [1, 1, 1, 2]);
}

#[tokio::test]
async fn a_refused_socket_leaves_nothing_behind() {
    let probe = Arc::new(());
    let held = Arc::clone(&probe);
    let (ended, mut ends) = tokio::sync::mpsc::unbounded_channel();
    let namespace = Namespace::new().middleware(async move |socket: Socket| {
        socket.join(["r1", "r2"]);
        socket.extensions().insert(Arc::clone(&held));
        socket.set_data("x", &1).unwrap();
        let (me, kept) = (socket.clone(), Arc::clone(&held));
        socket.on("never", async move || {
            let _ = (&me, &kept);
        });
        let (me, ended) = (socket.clone(), ended.clone());
        tokio::spawn(async move {
            me.closed().await;
            ended.send(()).unwrap();
        });
        tokio::task::yield_now().await;
        Err::<(), _>(Refusal::new("no"))
    });
    let server = Server::start(Patio::builder().namespace("/a", namespace)).await;
    let mut ws = server.ws(V4).await;
    let before = Arc::strong_count(&probe);
    assert_eq!(ask(&mut ws, "40/a,").await, r#"44/a,{"message":"no"}"#);
    soon(ends.recv()).await.unwrap();
    let a = server.io.of("/a");
    assert!(a.is_empty() && a.rooms().is_empty() && a.room_len("r1") == 0);
    server.until(|_| Arc::strong_count(&probe) == before).await;
}

#[tokio::test]
async fn a_second_connect_closes() {
    let gate = Arc::new(Semaphore::new(0));
    let open = Arc::clone(&gate);
    let slow = Namespace::new().middleware(async move || drop(open.acquire().await));
    let server = Server::start(Patio::builder().namespace("/slow", slow)).await;
    // Joined.
    let mut ws = server.ws(V4).await;
    ws.join("/").await;
    ws.send("40").await;
    ws.closes_silently().await;
    assert_eq!(server.reason().await, "forced close");
    drop(ws);
    // Being joined; and no other packet is allowed then.
    for second in ["40/slow,", r#"42/slow,["x"]"#, "41/slow,", "43/slow,0[]"] {
        let mut ws = server.ws(V4).await;
        ws.send("40/slow,").await;
        ws.send(second).await;
        ws.closes_silently().await;
    }
    gate.add_permits(10);
    server.until(|io| io.engine().clients_count() == 0).await;
    assert!(server.io.of("/slow").is_empty());
    assert_eq!(server.io.counters().invalid_states, 5);
}

#[tokio::test]
async fn packets_of_other_namespaces_close() {
    let server = start().await;
    server.io.of("/other");
    for packet in [r#"42/other,["x"]"#, "41/other,", "43/other,1[]", r#"42["x"]"#, r#"44{"message":"x"}"#] {
        let mut ws = server.ws(V4).await;
        ws.send(packet).await;
        ws.closes_silently().await;
    }
}

/// A client that was put out, or left, may come back over the same transport.
#[tokio::test]
async fn a_namespace_may_be_joined_again() {
    let server = start().await;
    let main = server.io.of("/");
    let mut ws = server.ws(V4).await;
    let first = ws.join("/").await;
    ws.send("41").await;
    assert_eq!(server.reason().await, "client namespace disconnect");
    let second = ws.join("/").await;
    assert_ne!(first, second);
    for _ in 0..20 {
        let socket = main.sockets().pop().unwrap();
        socket.disconnect(false);
        assert_eq!(ws.text().await, "41");
        let id = ws.join("/").await;
        assert_eq!(main.sockets()[0].id().as_str(), id);
    }
}

#[tokio::test]
async fn listeners_of_a_connect_handler_miss_nothing() {
    let server = start().await;
    server.io.on_connect(async |socket: Socket| {
        socket.on("n", async |socket: Socket, Data(n): Data<u8>| socket.emit("got", &n));
        tokio::time::sleep(Duration::from_millis(1)).await;
    });
    let mut polling = server.polling(V4).await;
    let events: Vec<_> = (0..10).map(|n| format!("42[\"n\",{n}]")).collect();
    polling.post(format!("40\u{1e}{}", events.join("\u{1e}"))).await;
    assert!(polling.text().await.starts_with("40{"));
    for n in 0..10 {
        assert_eq!(polling.text().await, format!(r#"42["got",{n}]"#));
    }
    assert_eq!(server.io.counters().unhandled_events, 0);
}

/// What has no listener while the connect handler awaits is held, and all that follows it, until the handler has ended.
#[tokio::test]
async fn events_are_held_in_order_while_a_connect_handler_awaits() {
    let gate = Arc::new(Semaphore::new(0));
    let open = Arc::clone(&gate);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&heard);
    let note = async move |Event(event): Event, Data(n): Data<u8>| {
        log.lock().unwrap().push(format!("{event} {n}"));
    };
    let server = start().await;
    let late = note.clone();
    server.io.on_connect(async move |socket: Socket| {
        socket.on("early", note);
        open.acquire().await.unwrap().forget();
        socket.on("late", late);
    });
    let mut ws = server.ws(V4).await;
    ws.join("/").await;
    for event in [r#"["early",1]"#, r#"["late",2]"#, r#"["nobody",3]"#, r#"["early",4]"#, r#"["late",5]"#] {
        ws.send(&format!("42{event}")).await;
    }
    server.until(|_| !heard.lock().unwrap().is_empty()).await;
    // Acks and other namespaces are not held.
    server.io.of("/other");
    ws.join("/other").await;
    assert_eq!(*heard.lock().unwrap(), ["early 1"]);
    gate.add_permits(1);
    server.until(|_| heard.lock().unwrap().len() == 4).await;
    assert_eq!(*heard.lock().unwrap(), ["early 1", "late 2", "early 4", "late 5"]);
    assert_eq!(server.io.counters().unhandled_events, 1);
}

#[tokio::test]
async fn one_namespace_too_many_is_refused_and_the_transport_stays() {
    let server = Server::start(Patio::builder().max_namespaces(2)).await;
    server.io.of_dynamic("/{n}", Namespace::new());
    let mut ws = server.ws(V4).await;
    ws.join("/1").await;
    ws.join("/2").await;
    assert_eq!(ask(&mut ws, "40/3,").await, r#"44/3,{"message":"Too many namespaces"}"#);
    ws.send("41/1,").await;
    ws.join("/3").await;
    assert!(!server.io.namespaces().contains(&"/4".to_owned()));
}

#[cfg(feature = "v3")]
#[tokio::test]
async fn clients_of_protocol_4_are_in_the_main_namespace_and_send_a_query() {
    use support::V3;

    let server = start().await;
    server.io.of("/a").on_connect(async |socket: Socket, auth: Option<Auth<Value>>| {
        socket.emit("auth", &auth.map(|Auth(auth)| auth))
    });
    let mut ws = server.ws(V3).await;
    let main = ws.join("/").await;
    assert_eq!(server.io.of("/").sockets()[0].id().as_str(), main);
    ws.send("40/a?x=1&y=a%20b,").await;
    assert_eq!(ws.text().await, "40/a,");
    assert_eq!(ws.text().await, r#"42/a,["auth",{"x":"1","y":"a b"}]"#);
    assert_eq!(server.io.of("/a").sockets()[0].id().as_str(), format!("/a#{}", ws.sid()));
    assert_eq!(ask(&mut ws, "40/unknown").await, format!("44/unknown{INVALID}"));
    // A CONNECT for the main namespace is one too many.
    ws.send("40").await;
    ws.closes_silently().await;
}
