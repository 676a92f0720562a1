//! Three servers joined by a broker inside the process: every operation reaches all, once.

#![cfg(feature = "serve")]

#[expect(dead_code, reason = "each test file uses a part")]
mod support;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures_util::StreamExt;
use patio::{BroadcastAck, Payload, Server as Patio, Socket};
use patio_adapter::{InProcess, cluster::InProcessMembership};
use support::{Server, V4, WsClient, soon};

/// A server, its client, and the client's socket there.
struct Node {
    server: Server,
    client: WsClient,
    socket: Socket,
}

impl Node {
    async fn new(bus: &InProcess) -> Self {
        let server = Server::start(Patio::builder().adapter(bus.node())).await;
        let mut client = server.ws(V4).await;
        let id = client.join("/").await;
        let socket = server.io.of("/").socket(&id).unwrap();
        Self { server, client, socket }
    }

    fn io(&self) -> &Patio {
        &self.server.io
    }

    fn id(&self) -> &str {
        self.socket.id()
    }

    async fn text(&mut self) -> String {
        self.client.text().await
    }
}

/// Three servers that know each other, with one client each.
async fn three(bus: &InProcess) -> [Node; 3] {
    let nodes = [Node::new(bus).await, Node::new(bus).await, Node::new(bus).await];
    for node in &nodes {
        soon(async {
            while node.io().count_sockets().await.unwrap().sockets < 3 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    nodes
}

/// That the clients get these packets, and nothing else.
async fn get(nodes: &mut [Node; 3], expected: [&[&str]; 3]) {
    nodes[0].io().emit("end", &()).unwrap();
    for (node, expected) in nodes.iter_mut().zip(expected) {
        for packet in expected {
            assert_eq!(node.text().await, *packet);
        }
        assert_eq!(node.text().await, r#"42["end"]"#);
    }
}

/// Every kind of bus.
fn buses() -> [InProcess; 4] {
    [
        InProcess::new(),
        InProcess::with_membership(InProcessMembership::Count),
        InProcess::with_membership(InProcessMembership::Heartbeat(Default::default())),
        InProcess::with_loop_back(),
    ]
}

#[tokio::test]
async fn broadcasts_reach_sockets_of_all_servers_once() {
    for bus in buses() {
        let mut nodes = three(&bus).await;
        let [a, b, c] = &nodes;
        a.socket.join(["r1", "r2"]);
        b.socket.join(["r1", "r2"]);
        c.socket.join("r2");
        a.io().emit("all", &Bytes::from_static(&[1, 2])).unwrap();
        b.io().to("r1").to("r2").emit("rooms", &1).unwrap();
        c.io().to("r2").except("r1").emit("except", &2).unwrap();
        b.io().to(a.id()).emit("private", &3).unwrap();
        c.io().local().emit("local", &4).unwrap();
        a.socket.broadcast().emit("broadcast", &5).unwrap();
        soon(b.io().emit_confirmed("confirmed", &6)).await.unwrap();
        let header = r#"451-["all",{"_placeholder":true,"num":0}]"#;
        for node in &mut nodes {
            assert_eq!(node.text().await, header);
            assert_eq!(node.client.binary().await, [1, 2]);
        }
        let (rooms, confirmed) = (r#"42["rooms",1]"#, r#"42["confirmed",6]"#);
        get(
            &mut nodes,
            [
                &[rooms, r#"42["private",3]"#, confirmed],
                &[rooms, r#"42["broadcast",5]"#, confirmed],
                &[rooms, r#"42["except",2]"#, r#"42["local",4]"#, r#"42["broadcast",5]"#, confirmed],
            ],
        )
        .await;
    }
}

#[tokio::test]
async fn another_namespace_is_another_cluster() {
    let bus = InProcess::new();
    let mut nodes = three(&bus).await;
    for node in &mut nodes[..2] {
        node.io().of("/chat");
        node.client.join("/chat").await;
    }
    nodes[2].io().of("/chat").emit("hello", &1).unwrap();
    nodes[0].io().emit("main", &2).unwrap();
    let (hello, main) = (r#"42/chat,["hello",1]"#, r#"42["main",2]"#);
    get(&mut nodes, [&[hello, main], &[hello, main], &[main]]).await;
    assert_eq!(nodes[2].io().of("/chat").count_sockets().await.unwrap().sockets, 2);
}

#[tokio::test]
async fn sockets_of_all_servers_join_leave_and_are_fetched() {
    for bus in buses() {
        let mut nodes = three(&bus).await;
        let [a, b, c] = &nodes;
        b.socket.set_data("name", &"b").unwrap();
        a.io().sockets_join("r1").unwrap();
        a.io().to(b.id()).sockets_join(["r2", "r3"]).unwrap();
        c.io().in_room("r2").sockets_leave("r1").unwrap();
        // The second operation may take another way than the first, but not a longer one.
        soon(async {
            while a.io().to("r1").count_sockets().await.unwrap().sockets != 2 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let fetched = soon(a.io().fetch_sockets()).await.unwrap();
        assert_eq!((fetched.sockets.len(), fetched.missing), (3, 0));
        let snapshot = fetched.sockets.iter().find(|socket| socket.id == b.id()).unwrap();
        let mut rooms = snapshot.rooms.clone();
        rooms.sort();
        let mut expected = vec![patio::Room::from(b.id()), "r2".into(), "r3".into()];
        expected.sort();
        assert_eq!(rooms, expected);
        assert_eq!(snapshot.data, serde_json::json!({"name": "b"}));
        let handshake = support::json(snapshot.handshake.text());
        let keys: Vec<_> = handshake.as_object().unwrap().keys().map(String::as_str).collect();
        for key in ["headers", "time", "address", "xdomain", "secure", "issued", "url", "query", "auth"] {
            assert!(keys.contains(&key), "{key}");
        }
        assert_eq!(handshake["query"]["transport"], "websocket");
        assert_eq!(handshake["auth"], serde_json::json!({}));
        let ids = async |from: &Node, room: &str| {
            let sockets = soon(from.io().in_room(room).fetch_sockets()).await.unwrap().sockets;
            sockets.into_iter().map(|socket| socket.id.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(ids(c, "r3").await, [b.id()]);
        assert_eq!(ids(c, a.id()).await, [a.id()]);
        assert_eq!(soon(a.io().local().fetch_sockets()).await.unwrap().sockets.len(), 1);
        assert_eq!(a.io().local().count_sockets().await.unwrap().sockets, 1);
        a.io().to("r1").emit("r1", &()).unwrap();
        get(&mut nodes, [&[r#"42["r1"]"#], &[], &[r#"42["r1"]"#]]).await;
    }
}

#[tokio::test]
async fn sockets_of_all_servers_are_disconnected_after_what_was_sent_before() {
    for bus in buses() {
        let mut nodes = three(&bus).await;
        let [a, b, _] = &mut nodes;
        a.io().to(b.id()).emit("bye", &()).unwrap();
        a.io().to(b.id()).disconnect_sockets(false).unwrap();
        assert_eq!(b.text().await, r#"42["bye"]"#);
        assert_eq!(b.text().await, "41");
        assert_eq!(b.server.reason().await, "server namespace disconnect");
        b.client.join("/").await;
        b.io().except(a.id()).disconnect_sockets(true).unwrap();
        for node in &mut nodes[1..] {
            assert_eq!(node.text().await, "41");
            node.client.closes_silently().await;
        }
        let a = &nodes[0];
        assert!(a.socket.is_connected());
        assert_eq!(soon(a.io().count_sockets()).await.unwrap().sockets, 1);
    }
}

#[tokio::test]
async fn clients_of_all_servers_are_asked() {
    for bus in buses() {
        let mut nodes = three(&bus).await;
        let votes = nodes[0].io().emit_with_ack::<u8>("vote", &"q");
        for (n, node) in nodes.iter_mut().enumerate() {
            assert_eq!(node.text().await, r#"420["vote","q"]"#);
            node.client.send(&format!(r#"430[{n},"more"]"#)).await;
        }
        let mut answers = soon(votes.all()).await.unwrap();
        answers.sort_unstable();
        assert_eq!(answers, [0, 1, 2]);

        // One that does not answer: a number where its name is not known, a name on this server.
        let votes = nodes[0].io().timeout(Duration::from_millis(300)).emit_with_ack::<u8>("vote", &());
        let [a, b, c] = &mut nodes;
        for node in [&mut *b, &mut *c] {
            assert_eq!(node.text().await, r#"421["vote"]"#);
        }
        b.client.send("431[1]").await;
        let partial = soon(votes.all()).await.unwrap_err();
        assert_eq!(partial.answers, [1]);
        assert_eq!(partial.missing.sockets, [a.socket.id().clone()]);
        assert_eq!((partial.missing.others, partial.missing.servers), (1, 0));
        assert_eq!(a.text().await, r#"421["vote"]"#);

        // One on another server; one that leaves; nobody.
        let mut one = a.io().to(c.id()).emit_with_ack::<u8>("vote", &());
        assert!(c.text().await.ends_with(r#"["vote"]"#));
        c.client.send("432[2]").await;
        match soon(one.next()).await.unwrap() {
            BroadcastAck::Answer { value: 2, .. } => {}
            other => panic!("{other:?}"),
        }
        assert!(soon(one.next()).await.is_none());
        // The protocol between servers has no word for a socket that went: it is waited for.
        let left = b.io().to(c.id()).timeout(Duration::from_millis(50)).emit_with_ack::<u8>("vote", &());
        assert!(c.text().await.ends_with(r#"["vote"]"#));
        c.client.send("41").await;
        let partial = soon(left.all()).await.unwrap_err();
        assert!(partial.answers.is_empty());
        assert_eq!(partial.missing.others, 1);
        let nobody = a.io().to("nowhere").timeout(Duration::from_secs(3600)).emit_with_ack::<u8>("vote", &());
        assert!(soon(nobody.all()).await.unwrap().is_empty());
        for node in &nodes {
            assert_eq!(node.socket.pending_acks(), 0);
        }
    }
}

#[tokio::test]
async fn servers_talk_to_each_other() {
    let bus = InProcess::new();
    let nodes = three(&bus).await;
    let heard = Arc::new(Mutex::new(Vec::new()));
    for (n, node) in nodes.iter().enumerate() {
        let log = Arc::clone(&heard);
        node.io().on_server_side("hello", move |payload, reply| {
            let (from, bytes): (u8, Bytes) = payload.read_args(1).unwrap();
            log.lock().unwrap().push((n, from, bytes, reply.is_some()));
        });
        if n < 2 {
            node.io().on_server_side("ask", move |payload, reply| {
                let question: String = payload.read_args(1).unwrap();
                reply.unwrap().send(Payload::args(&(format!("{question} {n}"), "more")).unwrap());
            });
        }
        node.io().on_server_side("silence", |_, reply| drop(reply));
    }
    nodes[0].io().server_side_emit("hello", &(7, Bytes::from_static(&[1]))).unwrap();
    let one = Bytes::from_static(&[1]);
    let mut all = std::mem::take(&mut *heard.lock().unwrap());
    all.sort();
    assert_eq!(all, [(1, 7, one.clone(), false), (2, 7, one, false)], "the others, not itself");

    let answers = soon(nodes[2].io().server_side_emit_with_ack::<String>("ask", &"who")).await.unwrap();
    let mut texts: Vec<_> = answers.answers.into_iter().map(Result::unwrap).collect();
    texts.sort();
    assert_eq!((texts, answers.missing), (vec!["who 0".to_owned(), "who 1".to_owned()], 0));
    for name in ["connect", "connection", "new_namespace"] {
        let refused = nodes[0].io().server_side_emit(name, &()).unwrap_err();
        assert_eq!(refused.to_string(), format!("{name:?} is a reserved event name"));
    }
    // Alone there is nobody to tell, nor to wait for.
    let alone = Server::start(Patio::builder()).await;
    alone.io.server_side_emit("hello", &()).unwrap();
    let answers = soon(alone.io.server_side_emit_with_ack::<u8>("ask", &())).await.unwrap();
    assert!(answers.answers.is_empty() && answers.missing == 0);
}

#[tokio::test]
async fn servers_that_do_not_answer_are_counted() {
    let bus = InProcess::new();
    let builder = || Patio::builder().adapter(bus.node()).ack_timeout(Duration::from_millis(50));
    let (a, b, _c) =
        (Server::start(builder()).await, Server::start(builder()).await, Server::start(builder()).await);
    b.io.on_server_side("ask", |_, reply| reply.unwrap().send(Payload::args(&1).unwrap()));
    let answers = soon(a.io.server_side_emit_with_ack::<u8>("ask", &())).await.unwrap();
    assert_eq!(answers.missing, 1);
    assert_eq!(answers.answers.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [1]);
}

/// A server that closes leaves the cluster, and is not waited for.
#[tokio::test]
async fn a_server_that_closed_is_not_asked_any_more() {
    let bus = InProcess::new();
    let [a, b, c] = three(&bus).await;
    let Node { server, client, .. } = c;
    drop(client);
    soon(server.io.close()).await;
    let fetched = soon(a.io().fetch_sockets()).await.unwrap();
    assert_eq!((fetched.sockets.len(), fetched.missing), (2, 0));
    a.io().on_server_side("x", |_, reply| reply.unwrap().send(Payload::args(&1).unwrap()));
    let answers = soon(b.io().server_side_emit_with_ack::<u8>("x", &())).await.unwrap();
    assert_eq!((answers.answers.len(), answers.missing), (1, 0));
}

/// A server that was built outside a runtime joins its cluster when it is put to use.
#[test]
fn a_server_may_be_built_before_its_runtime() {
    let bus = InProcess::new();
    let build = || Patio::builder().adapter(bus.node()).build().unwrap();
    let (one, two) = (build(), build());
    one.of("/chat");
    two.of("/chat");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (one, two) = (Server::serve(one).await, Server::serve(two).await);
        for nsp in ["/", "/chat"] {
            let mut client = two.ws(V4).await;
            client.join(nsp).await;
            soon(async {
                while one.io.of(nsp).count_sockets().await.unwrap().sockets == 0 {
                    tokio::task::yield_now().await;
                }
            })
            .await;
            one.io.of(nsp).emit("hello", &()).unwrap();
            assert!(client.text().await.ends_with(r#"["hello"]"#));
            // Once, although the adapter was asked to join more than once.
            one.io.of(nsp).emit("end", &()).unwrap();
            assert!(client.text().await.ends_with(r#"["end"]"#));
        }
    });
}

#[tokio::test]
async fn a_namespace_knows_the_rooms_and_the_servers_of_its_cluster() {
    for bus in buses() {
        let nodes = three(&bus).await;
        nodes[1].socket.join("far");
        let nsp = nodes[0].io().of("/");
        assert_eq!(nsp.server_count().await.unwrap(), 3);
        let rooms = nsp.all_rooms().await.unwrap();
        assert_eq!((rooms.rooms.len(), rooms.missing), (4, 0), "three sockets' own, and one");
        assert!(rooms.rooms.iter().any(|room| *room == "far"));
        assert_eq!(nsp.adapter_stats().failed_publishes, 0);
    }
}
