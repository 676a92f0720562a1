//! What Socket.IO users write every day, line by line as in the issue's table, and the face of the library as the design
//! shows it, compiled and run.

#![cfg(feature = "serve")]

#[expect(dead_code, reason = "each test file uses a part")]
mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use patio::{
    EmitError, Namespace, Refusal, Reply, Server as Patio, Socket,
    extract::{Auth, Data, State},
};
use patio_adapter::InProcess;
use serde::{Deserialize, Serialize};
use support::{Http, Server, V4, WsClient, soon};
use tokio::{net::TcpListener, sync::oneshot};

/// Three clients of `/`, each with its socket's id.
async fn three(server: &Server) -> [(WsClient, String); 3] {
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = server.ws(V4).await;
        let id = client.join("/").await;
        clients.push((client, id));
    }
    clients.try_into().unwrap_or_else(|_| unreachable!())
}

/// That `client` has not got anything before what is sent to it now.
async fn gets_only(server: &Server, (client, id): &mut (WsClient, String), packets: &[&str]) {
    server.io.to(&*id).emit("end", &()).unwrap();
    for packet in packets {
        assert_eq!(client.text().await, *packet);
    }
    assert_eq!(client.text().await, r#"42["end"]"#);
}

/// A server whose clients join and leave the rooms that they name.
async fn with_rooms() -> Server {
    let server = Server::start(Patio::builder()).await;
    server.io.on("join", async |socket: Socket, Data(rooms): Data<Vec<String>>| socket.join(rooms));
    server.io.on("leave", async |socket: Socket, Data(room): Data<String>| socket.leave(room));
    server
}

/// `io.on('connection', async (socket) => { const userId = await fetchUserId(socket); socket.join(userId); })`, then
/// `io.to(userId).emit('hi')`
#[tokio::test]
async fn a_connect_handler_that_awaits_joins_a_room() {
    #[derive(Deserialize)]
    struct Login {
        token: u32,
    }

    async fn fetch_user_id(socket: &Socket) -> String {
        tokio::time::sleep(Duration::from_millis(5)).await;
        format!("user-{}", socket.auth::<Login>().unwrap().token)
    }

    let server = Server::start(Patio::builder()).await;
    let io = &server.io;
    io.on_connect(async |socket: Socket| {
        let user_id = fetch_user_id(&socket).await;
        socket.join(user_id);
    });
    let mut seven = server.ws(V4).await;
    seven.send(r#"40{"token":7}"#).await;
    assert!(seven.text().await.starts_with("40"));
    let mut eight = server.ws(V4).await;
    eight.send(r#"40{"token":8}"#).await;
    assert!(eight.text().await.starts_with("40"));
    server.until(|io| io.of("/").room_len("user-7") + io.of("/").room_len("user-8") == 2).await;
    let user_id = "user-7".to_owned();
    io.to(user_id).emit("hi", &()).unwrap();
    io.to("user-8").emit("ho", &()).unwrap();
    assert_eq!(seven.text().await, r#"42["hi"]"#);
    assert_eq!(eight.text().await, r#"42["ho"]"#);
}

/// `socketServer.emit(name, data)`
#[tokio::test]
async fn io_emit_reaches_everyone() {
    let server = with_rooms().await;
    let mut clients = three(&server).await;
    let (name, data) = ("news", vec![1, 2]);
    server.io.emit(name, &data).unwrap();
    for client in &mut clients {
        gets_only(&server, client, &[r#"42["news",[1,2]]"#]).await;
    }
}

/// `socketServer.of(nsp).emit(name, data)`
#[tokio::test]
async fn a_namespace_emits_to_its_own() {
    let server = with_rooms().await;
    let nsp = "/chat";
    server.io.of(nsp);
    let [mut main, mut chat, _] = three(&server).await;
    chat.0.join(nsp).await;
    server.io.of(nsp).emit("news", &"x").unwrap();
    gets_only(&server, &mut main, &[]).await;
    gets_only(&server, &mut chat, &[r#"42/chat,["news","x"]"#]).await;
}

/// `socketServer.to(socketID).emit(…)`
#[tokio::test]
async fn an_id_is_a_room_of_one() {
    let server = with_rooms().await;
    let [mut one, mut other, _] = three(&server).await;
    let socket_id = one.1.clone();
    server.io.to(socket_id).emit("private", &"x").unwrap();
    gets_only(&server, &mut one, &[r#"42["private","x"]"#]).await;
    gets_only(&server, &mut other, &[]).await;
}

/// `socketServer.in(roomID).emit(…)`
#[tokio::test]
async fn a_room_reaches_its_members() {
    let server = with_rooms().await;
    let [mut inside, mut outside, _] = three(&server).await;
    inside.0.send(r#"42["join",["r1","r2"]]"#).await;
    server.until(|io| io.of("/").room_len("r2") == 1).await;
    server.io.in_room("r1").emit("tick", &1).unwrap();
    gets_only(&server, &mut inside, &[r#"42["tick",1]"#]).await;
    gets_only(&server, &mut outside, &[]).await;
}

/// `socket.broadcast.to(roomID).emit(…)`
#[tokio::test]
async fn a_socket_broadcasts_to_a_room_without_itself() {
    let server = with_rooms().await;
    server.io.on("say", async |socket: Socket, Data((room, text)): Data<(String, String)>| {
        socket.broadcast().to(room).emit("said", &text)
    });
    let [mut from, mut to, mut outside] = three(&server).await;
    from.0.send(r#"42["join",["r"]]"#).await;
    to.0.send(r#"42["join",["r"]]"#).await;
    server.until(|io| io.of("/").room_len("r") == 2).await;
    from.0.send(r#"420["say","r","hello"]"#).await;
    assert_eq!(from.0.text().await, "430[]");
    gets_only(&server, &mut from, &[]).await;
    gets_only(&server, &mut to, &[r#"42["said","hello"]"#]).await;
    gets_only(&server, &mut outside, &[]).await;
}

/// `io.to('room1').to('room2').to('room3').emit('some event')`
#[tokio::test]
async fn several_rooms_reach_each_socket_once() {
    let server = with_rooms().await;
    let [mut all, mut one, mut none] = three(&server).await;
    all.0.send(r#"42["join",["room1","room2","room3"]]"#).await;
    one.0.send(r#"42["join",["room2"]]"#).await;
    server.until(|io| io.of("/").room_len("room2") == 2).await;
    server.io.to("room1").to("room2").to("room3").emit("some event", &()).unwrap();
    server.io.to(["room1", "room2"]).except("room3").emit("other", &()).unwrap();
    gets_only(&server, &mut all, &[r#"42["some event"]"#]).await;
    gets_only(&server, &mut one, &[r#"42["some event"]"#, r#"42["other"]"#]).await;
    gets_only(&server, &mut none, &[]).await;
}

/// `socket.join(roomID)`, `socket.leave(roomID)`
#[tokio::test]
async fn sockets_join_and_leave() {
    let server = with_rooms().await;
    let [mut one, _, _] = three(&server).await;
    one.0.send(r#"42["join",["r"]]"#).await;
    server.until(|io| io.of("/").room_len("r") == 1).await;
    let socket = server.io.of("/").socket(&one.1).unwrap();
    assert_eq!(socket.rooms(), [one.1.as_str(), "r"]);
    one.0.send(r#"42["leave","r"]"#).await;
    server.until(|io| io.of("/").room_len("r") == 0).await;
    assert_eq!(socket.rooms(), [one.1.as_str()]);
    server.io.to("r").emit("gone", &()).unwrap();
    gets_only(&server, &mut one, &[]).await;
}

/// The rest of the operators, in one line each.
#[tokio::test]
async fn modifiers_choose_and_reserved_names_are_refused() {
    let server = with_rooms().await;
    let [mut one, mut two, mut three] = three(&server).await;
    let (io, main) = (&server.io, server.io.of("/"));
    io.except(&two.1).emit("a", &()).unwrap();
    io.local().except([&two.1, &three.1]).emit("b", &()).unwrap();
    io.to(Vec::<String>::new()).emit("nobody", &()).unwrap();
    io.compress(false).to(&one.1).send("c").unwrap();
    main.socket(&one.1).unwrap().send(&("d", 1)).unwrap();
    main.socket(&two.1).unwrap().except(&three.1).emit("e", &()).unwrap();
    io.sockets_join("all").unwrap();
    io.in_room(&three.1).sockets_leave("all").unwrap();
    io.to("all").emit("f", &()).unwrap();
    io.in_room(&two.1).disconnect_sockets(false).unwrap();
    for name in patio::RESERVED_EVENTS {
        let refused = io.emit(name, &()).unwrap_err();
        assert_eq!(refused.to_string(), format!("{name:?} is a reserved event name"));
        assert!(main.socket(&one.1).unwrap().emit(name, &()).is_err());
    }
    let unwritable = std::collections::HashMap::from([(vec![1], 1)]);
    assert!(matches!(io.emit("map", &unwritable), Err(EmitError::Encode(_))));
    let expected = [
        r#"42["a"]"#,
        r#"42["b"]"#,
        r#"42["message","c"]"#,
        r#"42["message","d",1]"#,
        r#"42["e"]"#,
        r#"42["f"]"#,
    ];
    gets_only(&server, &mut one, &expected).await;
    assert_eq!(two.0.text().await, r#"42["f"]"#);
    assert_eq!(two.0.text().await, "41");
    gets_only(&server, &mut three, &[r#"42["a"]"#]).await;
}

/// The short form of the face.
#[tokio::test]
async fn the_short_form() {
    let io = Patio::new();
    io.on_connect(async |socket: Socket| {
        socket.join("lobby");
        socket.on("message", async |socket: Socket, Data(text): Data<String>| {
            socket.to("lobby").emit("message", &text)
        });
    });
    let server = Server::serve(io).await;
    let [(mut one, _), (mut two, _), (mut three, _)] = three(&server).await;
    one.send(r#"42["message","hello"]"#).await;
    assert_eq!(two.text().await, r#"42["message","hello"]"#);
    assert_eq!(three.text().await, r#"42["message","hello"]"#);
}

/// The declared form of the face, with everything that the design shows.
#[tokio::test]
async fn the_declared_form() {
    #[derive(Clone, Default)]
    struct Db {
        ends: Arc<AtomicUsize>,
    }

    #[derive(Clone)]
    struct User(String);

    #[derive(Deserialize)]
    struct Login {
        name: String,
    }

    #[derive(Serialize)]
    struct Receipt {
        at: u64,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Pong(u8);

    #[derive(Debug, Deserialize, PartialEq)]
    struct Vote(bool);

    impl Receipt {
        fn now() -> Self {
            Self { at: 12 }
        }
    }

    impl Db {
        fn verify(&self, login: &Login) -> Result<User, &'static str> {
            if login.name.is_empty() { Err("no name") } else { Ok(User(login.name.clone())) }
        }
    }

    async fn authenticate(
        socket: Socket,
        Auth(login): Auth<Login>,
        State(db): State<Db>,
    ) -> Result<(), Refusal> {
        let user = db.verify(&login).map_err(|_| Refusal::new("not authorized"))?;
        socket.extensions().insert(user);
        Ok(())
    }

    async fn joined(socket: Socket, patio::extract::Extension(User(name)): patio::extract::Extension<User>) {
        socket.join(["r1", "room"]);
        socket.set_data("name", &name).unwrap();
    }

    async fn message(
        socket: Socket,
        Data((room, text)): Data<(String, String)>,
    ) -> Result<Reply<Receipt>, EmitError> {
        socket.to(&room).emit("message", &text)?;
        Ok(Reply(Receipt::now()))
    }

    async fn left(State(db): State<Db>) {
        db.ends.fetch_add(1, Ordering::SeqCst);
    }

    async fn index() -> &'static str {
        "the page"
    }

    let db = Db::default();
    let build = || {
        Patio::builder()
            .namespace(
                "/chat",
                Namespace::new()
                    .middleware(authenticate)
                    .on_connect(joined)
                    .on("message", message)
                    .on_disconnect(left),
            )
            .adapter(InProcess::new().node())
            .state(db.clone())
            .build()
    };
    let io = build().unwrap();
    let app = axum::Router::new().route("/", axum::routing::get(index)).layer(io.layer());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let signal = async move { drop(stopped.await) };
    let served = tokio::spawn(patio::serve(listener, app).with_graceful_shutdown(signal).into_future());

    let mut http = Http::connect(addr).await;
    http.send("GET", "/", &[], b"").await;
    assert_eq!(http.response().await.brief(), (200, "the page"));
    let connect = async || {
        let stream = tokio::net::TcpStream::connect(addr).await.unwrap();
        WsClient::open(stream, V4, "", &[]).await
    };
    let mut refused = connect().await;
    refused.send(r#"40/chat,{"name":""}"#).await;
    assert_eq!(refused.text().await, r#"44/chat,{"message":"not authorized"}"#);
    let mut clients = Vec::new();
    for name in ["ann", "bob"] {
        let mut client = connect().await;
        client.send(&format!(r#"40/chat,{{"name":"{name}"}}"#)).await;
        let answer = client.text().await;
        let sid = support::json(answer.strip_prefix("40/chat,").unwrap())["sid"].as_str().unwrap().to_owned();
        clients.push((client, sid));
    }
    let [(mut ann, ann_id), (mut bob, bob_id)] =
        <[_; 2]>::try_from(clients).unwrap_or_else(|_| unreachable!());

    ann.send(r#"42/chat,5["message","room","hello"]"#).await;
    assert_eq!(ann.text().await, r#"43/chat,5[{"at":12}]"#);
    assert_eq!(bob.text().await, r#"42/chat,["message","hello"]"#);

    let (n, id, text) = (3, &ann_id, "psst".to_owned());
    io.emit("hi", &1).unwrap();
    io.of("/chat").to("r1").to("r2").except(id).emit("tick", &n).unwrap();
    io.of("/chat").to(&bob_id).emit("private", &text).unwrap();
    assert_eq!(bob.text().await, r#"42/chat,["tick",3]"#);
    assert_eq!(bob.text().await, r#"42/chat,["private","psst"]"#);

    let chat = io.of("/chat");
    let socket = chat.socket(&ann_id).unwrap();
    let asking = async { socket.emit_with_ack("ping", &1).timeout(Duration::from_secs(2)).await };
    let answering = async {
        assert_eq!(ann.text().await, r#"42/chat,0["ping",1]"#);
        ann.send("43/chat,0[7]").await;
    };
    let (pong, ()) = soon(async { tokio::join!(asking, answering) }).await;
    let pong: Pong = pong.unwrap();
    assert_eq!(pong, Pong(7));

    let votes = chat.to("room").emit_with_ack::<Vote>("vote", &"question");
    for client in [&mut ann, &mut bob] {
        assert_eq!(client.text().await, r#"42/chat,1["vote","question"]"#);
        client.send("43/chat,1[true]").await;
    }
    assert_eq!(soon(votes.all()).await.unwrap(), [Vote(true), Vote(true)]);

    let sockets = chat.in_room("room").fetch_sockets().await.unwrap().sockets;
    let mut names: Vec<_> = sockets.iter().map(|socket| socket.data["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["ann", "bob"]);

    drop((ann, bob));
    soon(async {
        while db.ends.load(Ordering::SeqCst) < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop((http, refused));
    stop.send(()).unwrap();
    soon(served).await.unwrap().unwrap();
}
