//! Connection state recovery, as Node's in-memory adapter has it, and without its gap between history and rooms (wire
//! formats 2.7; the adapter's `restore` and `replay`).

#![cfg(feature = "serve")]

#[expect(dead_code, reason = "each test file uses a part")]
mod support;

use std::{
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use futures_core::{future::BoxFuture, stream::BoxStream};
use patio::{ConnectionStateRecovery, Refusal, Server as Patio, ServerBuilder, Socket, extract::Auth};
use patio_adapter::{
    AckEvent, Adapter, AdapterError, AdapterFactory, AllRooms, BroadcastOptions, Counted, Fetched, Local,
    Memory, Offset, Payload, Replayed, Restored, Room, ServerAnswer, SessionRecord,
};
use serde_json::Value;
use support::{Server, V4, WsClient, json, soon};
use tokio::sync::Semaphore;

fn builder() -> ServerBuilder {
    Patio::builder().connection_state_recovery(ConnectionStateRecovery::default())
}

/// A client that remembers what official clients remember.
struct Client {
    ws: WsClient,
    sid: String,
    pid: String,
    offset: Option<String>,
}

impl Client {
    /// A new one.
    async fn new(server: &Server) -> Self {
        let mut ws = server.ws(V4).await;
        ws.send("40").await;
        let mut client = Self { ws, sid: String::new(), pid: String::new(), offset: None };
        client.connected().await;
        client
    }

    /// The answer to CONNECT.
    async fn connected(&mut self) {
        let answer = self.ws.text().await;
        let data = json(answer.strip_prefix("40").unwrap_or_else(|| panic!("{answer}")));
        self.sid = data["sid"].as_str().unwrap().to_owned();
        self.pid = data["pid"].as_str().unwrap().to_owned();
    }

    /// The next event without its offset.
    async fn event(&mut self) -> String {
        let packet = self.ws.text().await;
        let Value::Array(mut event) = json(packet.strip_prefix("42").unwrap_or_else(|| panic!("{packet}")))
        else {
            panic!("{packet}")
        };
        if let Some(Value::String(offset)) = event.pop() {
            self.offset = Some(offset);
        }
        Value::Array(event).to_string()
    }

    /// The connection is lost, and the server has noticed.
    async fn lose(self, server: &Server) -> Lost {
        let Self { ws, sid, pid, offset } = self;
        drop(ws);
        // What it had not read makes the kernel say so.
        let reason = server.reason().await;
        assert!(["transport close", "transport error"].contains(&&*reason), "{reason}");
        Lost { sid, pid, offset: offset.expect("an event before") }
    }

    fn socket(&self, server: &Server) -> Socket {
        server.io.of("/").socket(&self.sid).unwrap()
    }
}

/// What is left of a client whose connection was lost.
#[derive(Clone)]
struct Lost {
    sid: String,
    pid: String,
    offset: String,
}

impl Lost {
    /// Comes back; the answer to CONNECT is still to be read.
    async fn back(&self, server: &Server) -> Client {
        let mut ws = server.ws(V4).await;
        ws.send(&format!(r#"40{{"pid":"{}","offset":"{}","token":"t"}}"#, self.pid, self.offset)).await;
        Client { ws, sid: String::new(), pid: String::new(), offset: Some(self.offset.clone()) }
    }
}

#[tokio::test]
async fn events_have_an_offset_unless_they_cannot_be_missed() {
    let server = Server::start(builder()).await;
    let mut client = Client::new(&server).await;
    assert_eq!(client.pid.len(), 20);
    assert_ne!(client.pid, client.sid);
    let socket = client.socket(&server);
    socket.emit("one", &1).unwrap();
    server.io.emit("all", &()).unwrap();
    let mut offsets = Vec::new();
    for event in [r#"["one",1]"#, r#"["all"]"#] {
        assert_eq!(client.event().await, event);
        offsets.push(client.offset.take().unwrap());
    }
    assert_ne!(offsets[0], offsets[1]);
    server.io.volatile().emit("volatile", &2).unwrap();
    assert_eq!(client.ws.text().await, r#"42["volatile",2]"#);
    drop((socket.emit_with_ack::<u8>("a", &()), server.io.emit_with_ack::<u8>("b", &())));
    assert_eq!(client.ws.text().await, r#"420["a"]"#);
    assert_eq!(client.ws.text().await, r#"421["b"]"#);
    // Without the option there is neither.
    let server = Server::start(Patio::builder()).await;
    let mut ws = server.ws(V4).await;
    ws.send("40").await;
    let answer = ws.text().await;
    assert!(json(&answer[2..]).get("pid").is_none(), "{answer}");
    server.io.emit("all", &()).unwrap();
    assert_eq!(ws.text().await, r#"42["all"]"#);
}

/// A server whose connect handler tells the client whether it was recovered, in a volatile event without offset.
async fn telling(builder: ServerBuilder) -> Server {
    let server = Server::start(builder).await;
    server.io.on_connect(async |socket: Socket| {
        let told = (socket.recovered(), socket.data()["name"].clone(), socket.rooms().len());
        socket.flushed().await;
        socket.volatile().emit("recovered", &told)
    });
    server
}

#[tokio::test]
async fn a_client_comes_back_to_its_id_rooms_data_and_what_it_missed() {
    let server = telling(builder()).await;
    let mut client = Client::new(&server).await;
    assert_eq!(client.ws.text().await, r#"42["recovered",false,null,1]"#);
    let socket = client.socket(&server);
    socket.join(["r1", "r2"]);
    socket.set_data("name", &"ann").unwrap();
    server.io.to("r1").emit("seen", &()).unwrap();
    assert_eq!(client.event().await, r#"["seen"]"#);
    let lost = client.lose(&server).await;

    server.io.to(["r1", "r2"]).emit("room", &1).unwrap();
    server.io.to("r3").emit("other room", &()).unwrap();
    server.io.except("r2").emit("not for r2", &()).unwrap();
    server.io.to(&lost.sid).emit("private", &2).unwrap();
    socket.emit("to the old handle", &3).unwrap();
    server.io.volatile().emit("volatile", &()).unwrap();
    drop(server.io.emit_with_ack::<u8>("ack", &()));
    server.io.emit("all", &vec![4]).unwrap();

    let mut client = lost.back(&server).await;
    for event in [r#"["room",1]"#, r#"["private",2]"#, r#"["to the old handle",3]"#, r#"["all",[4]]"#] {
        assert_eq!(client.event().await, event);
    }
    client.connected().await;
    assert_eq!((&client.sid, &client.pid), (&lost.sid, &lost.pid));
    assert_eq!(client.ws.text().await, r#"42["recovered",true,"ann",3]"#);
    let mut rooms = client.socket(&server).rooms();
    rooms[1..].sort();
    assert_eq!(rooms, [lost.sid.as_str(), "r1", "r2"]);
    server.io.to("r2").emit("live", &()).unwrap();
    assert_eq!(client.event().await, r#"["live"]"#);
    client.lose(&server).await;

    // An attempt that was cut off may be made again: the same offset, and the same state.
    let mut client = lost.back(&server).await;
    for _ in 0..4 {
        client.event().await;
    }
    assert_eq!(client.event().await, r#"["live"]"#);
    client.connected().await;
    assert_eq!(client.sid, lost.sid);
}

#[tokio::test]
async fn who_cannot_be_restored_begins_anew() {
    let server = telling(builder()).await;
    let mut client = Client::new(&server).await;
    client.ws.text().await;
    server.io.emit("seen", &()).unwrap();
    client.event().await;
    let lost = client.lose(&server).await;
    server.io.emit("missed", &()).unwrap();
    for auth in [
        format!(r#"{{"pid":"other","offset":"{}"}}"#, lost.offset),
        format!(r#"{{"pid":"{}","offset":"other"}}"#, lost.pid),
        format!(r#"{{"pid":"{}"}}"#, lost.pid),
        format!(r#"{{"pid":"{}","offset":7}}"#, lost.pid),
        format!(r#"{{"pid":7,"offset":"{}"}}"#, lost.offset),
        r#"{"pid":"","offset":""}"#.to_owned(),
    ] {
        let mut ws = server.ws(V4).await;
        ws.send(&format!("40{auth}")).await;
        let mut client = Client { ws, sid: String::new(), pid: String::new(), offset: None };
        client.connected().await;
        assert_ne!(client.sid, lost.sid, "{auth}");
        assert_ne!(client.pid, lost.pid, "{auth}");
        assert_eq!(client.ws.text().await, r#"42["recovered",false,null,1]"#);
    }
    // In another namespace the private id means nothing.
    server.io.of("/other");
    let mut ws = server.ws(V4).await;
    ws.send(&format!(r#"40/other,{{"pid":"{}","offset":"{}"}}"#, lost.pid, lost.offset)).await;
    assert!(!ws.text().await.contains(&lost.pid));
}

/// Only what cannot be helped is a reason to come back.
#[tokio::test]
async fn who_was_put_out_or_left_begins_anew() {
    let server = telling(builder()).await;
    for end in ["41", "server", "close", "parse error", "ping"] {
        let mut client = Client::new(&server).await;
        client.ws.text().await;
        server.io.emit("seen", &()).unwrap();
        client.event().await;
        let socket = client.socket(&server);
        match end {
            "41" => client.ws.send("41").await,
            "server" => socket.disconnect(false),
            "close" => socket.disconnect(true),
            "parse error" => client.ws.send("x").await,
            // Forced close: it may come back, as in Node.
            _ => socket.conn().close(),
        }
        server.reason().await;
        let Client { sid, pid, offset, .. } = client;
        let lost = Lost { sid, pid, offset: offset.unwrap() };
        let mut back = lost.back(&server).await;
        back.connected().await;
        assert_eq!(back.sid == lost.sid, end == "ping", "{end}");
        drop(back);
        server.reason().await;
    }
}

#[tokio::test]
async fn a_state_is_kept_for_two_minutes() {
    let server = telling(builder()).await;
    let mut client = Client::new(&server).await;
    client.ws.text().await;
    server.io.emit("seen", &()).unwrap();
    client.event().await;
    let lost = client.lose(&server).await;
    for (seconds, recovered) in [(119, true), (2, false)] {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(seconds)).await;
        tokio::time::resume();
        let mut back = lost.back(&server).await;
        back.connected().await;
        assert_eq!(back.sid == lost.sid, recovered, "after {seconds} s more");
        if recovered {
            // The state is as old as before: this one is put out, and so leaves none.
            back.socket(&server).disconnect(false);
            assert_eq!(server.reason().await, "server namespace disconnect");
        }
    }
}

#[tokio::test]
async fn middlewares_are_skipped_if_they_shall() {
    for skip_middlewares in [true, false] {
        let recovery = ConnectionStateRecovery { skip_middlewares, ..ConnectionStateRecovery::default() };
        let server = telling(Patio::builder().connection_state_recovery(recovery)).await;
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        server.io.middleware(async move |socket: Socket, auth: Option<Auth<Value>>| {
            let token = auth.and_then(|Auth(auth)| auth["token"].as_str().map(str::to_owned));
            log.lock().unwrap().push((socket.id().to_string(), token.clone()));
            match token.as_deref() {
                Some("bad") => Err(Refusal::new("no")),
                _ => Ok(()),
            }
        });
        let mut client = Client::new(&server).await;
        client.ws.text().await;
        server.io.emit("seen", &()).unwrap();
        client.event().await;
        let lost = client.lose(&server).await;
        server.io.emit("missed", &()).unwrap();
        let mut back = lost.back(&server).await;
        assert_eq!(back.event().await, r#"["missed"]"#);
        back.connected().await;
        assert_eq!(back.sid, lost.sid);
        let mut expected = vec![(lost.sid.clone(), None)];
        if !skip_middlewares {
            expected.push((lost.sid.clone(), Some("t".to_owned())));
        }
        assert_eq!(*asked.lock().unwrap(), expected);
        if !skip_middlewares {
            back.ws.text().await;
            let lost = back.lose(&server).await;
            let mut refused = server.ws(V4).await;
            refused
                .send(&format!(r#"40{{"pid":"{}","offset":"{}","token":"bad"}}"#, lost.pid, lost.offset))
                .await;
            assert_eq!(refused.text().await, r#"44{"message":"no"}"#);
            assert!(server.io.of("/").rooms().is_empty());
            // A refusal does not cost it its state.
            let mut back = lost.back(&server).await;
            back.connected().await;
            assert_eq!(back.sid, lost.sid);
        }
    }
}

/// Whose former connection still stands does not take its state: there would be two with one id.
#[tokio::test]
async fn a_state_that_is_in_use_is_not_given_away() {
    let server = telling(builder()).await;
    let mut client = Client::new(&server).await;
    client.ws.text().await;
    server.io.emit("seen", &()).unwrap();
    client.event().await;
    let lost = client.lose(&server).await;
    let mut first = lost.back(&server).await;
    first.connected().await;
    assert_eq!(first.sid, lost.sid);
    first.ws.text().await;
    let mut second = lost.back(&server).await;
    second.connected().await;
    assert_ne!(second.sid, lost.sid);
    assert_ne!(second.pid, lost.pid);
    assert_eq!(second.ws.text().await, r#"42["recovered",false,null,1]"#);
    server.io.to(&first.sid).emit("first", &()).unwrap();
    assert_eq!(first.event().await, r#"["first"]"#);
}

/// Events are sent all the time while a client loses its connection and comes back: it gets each once and in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_nothing_comes_twice() {
    const LOSSES: usize = 30;
    let server = Server::start(builder()).await;
    let mut client = Client::new(&server).await;
    client.socket(&server).join("r");
    let io = server.io.clone();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let sender = std::thread::spawn(move || {
        let mut n = 0_usize;
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            io.to("r").emit("n", &n).unwrap();
            n += 1;
            if n.is_multiple_of(16) {
                std::thread::sleep(Duration::from_micros(200));
            }
        }
        n
    });
    let mut next = 0;
    for _ in 0..LOSSES {
        for _ in 0..7 {
            assert_eq!(client.event().await, format!(r#"["n",{next}]"#));
            next += 1;
        }
        let lost = client.lose(&server).await;
        client = lost.back(&server).await;
        // Missed events, then the answer, then live ones.
        loop {
            let packet = client.ws.text().await;
            if let Some(data) = packet.strip_prefix("40") {
                assert_eq!(json(data)["sid"], lost.sid);
                (client.sid, client.pid) = (lost.sid, lost.pid);
                break;
            }
            let event = json(packet.strip_prefix("42").unwrap());
            assert_eq!(event[1], next);
            client.offset = event[2].as_str().map(str::to_owned);
            next += 1;
        }
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    for n in next..sender.join().unwrap() {
        assert_eq!(client.event().await, format!(r#"["n",{n}]"#));
    }
    assert_eq!(server.io.of("/").room_len("r"), 1);
}

/// The memory adapter, whose looks at the history can be held up, before or after they were taken.
#[derive(Clone)]
struct Gated {
    memory: Memory,
    restore: Arc<Semaphore>,
    replay: Arc<Semaphore>,
    /// The look is taken when the gate opens, not when it is asked for.
    late: bool,
    /// The history is never complete.
    incomplete: bool,
    /// Nobody knows which namespace kept a session.
    unvouched: bool,
}

impl Gated {
    fn new(late: bool) -> Self {
        Self {
            memory: Memory::with_recovery(patio_adapter::MemoryRecovery::default()),
            restore: Arc::new(Semaphore::new(0)),
            replay: Arc::new(Semaphore::new(0)),
            late,
            incomplete: false,
            unvouched: false,
        }
    }
}

impl AdapterFactory for Gated {
    fn create(&self, name: &str, local: Weak<dyn Local>) -> Arc<dyn Adapter> {
        Arc::new(GatedAdapter { inner: self.memory.create(name, local), gates: self.clone() })
    }

    fn recovery(&self) -> bool {
        true
    }
}

struct GatedAdapter {
    inner: Arc<dyn Adapter>,
    gates: Gated,
}

async fn pass(gate: &Semaphore) {
    gate.acquire().await.unwrap().forget();
}

impl Adapter for GatedAdapter {
    fn broadcast(&self, payload: &Payload, options: &BroadcastOptions) -> Result<(), AdapterError> {
        self.inner.broadcast(payload, options)
    }

    fn broadcast_confirmed(
        &self,
        payload: &Payload,
        options: &BroadcastOptions,
    ) -> BoxFuture<'static, Result<(), AdapterError>> {
        self.inner.broadcast_confirmed(payload, options)
    }

    fn broadcast_with_ack(
        &self,
        payload: &Payload,
        options: &BroadcastOptions,
    ) -> BoxStream<'static, AckEvent> {
        self.inner.broadcast_with_ack(payload, options)
    }

    fn join(&self, options: &BroadcastOptions, rooms: &[Room]) -> Result<(), AdapterError> {
        self.inner.join(options, rooms)
    }

    fn leave(&self, options: &BroadcastOptions, rooms: &[Room]) -> Result<(), AdapterError> {
        self.inner.leave(options, rooms)
    }

    fn disconnect(&self, options: &BroadcastOptions, close: bool) -> Result<(), AdapterError> {
        self.inner.disconnect(options, close)
    }

    fn fetch_sockets(&self, options: &BroadcastOptions) -> BoxFuture<'static, Result<Fetched, AdapterError>> {
        self.inner.fetch_sockets(options)
    }

    fn count(&self, options: &BroadcastOptions) -> BoxFuture<'static, Result<Counted, AdapterError>> {
        self.inner.count(options)
    }

    fn all_rooms(&self) -> BoxFuture<'static, Result<AllRooms, AdapterError>> {
        self.inner.all_rooms()
    }

    fn server_side_emit(&self, payload: &Payload) -> Result<(), AdapterError> {
        self.inner.server_side_emit(payload)
    }

    fn server_side_emit_with_ack(
        &self,
        payload: &Payload,
        timeout: Duration,
    ) -> BoxStream<'static, ServerAnswer> {
        self.inner.server_side_emit_with_ack(payload, timeout)
    }

    fn server_count(&self) -> BoxFuture<'static, Result<usize, AdapterError>> {
        self.inner.server_count()
    }

    fn recovery(&self) -> bool {
        true
    }

    fn persist(&self, session: SessionRecord) {
        self.inner.persist(session);
    }

    fn restore(&self, pid: &str, offset: &str) -> BoxFuture<'static, Option<Restored>> {
        let restored = self.inner.restore(pid, offset);
        let gates = self.gates.clone();
        Box::pin(async move {
            let restored = restored.await;
            pass(&gates.restore).await;
            restored.map(|restored| Restored { vouched: !gates.unvouched, ..restored })
        })
    }

    fn replay(&self, cursor: &Offset, rooms: &[Room]) -> BoxFuture<'static, Option<Replayed>> {
        let gates = self.gates.clone();
        if gates.late {
            let (inner, cursor, rooms) = (Arc::clone(&self.inner), cursor.clone(), rooms.to_vec());
            return Box::pin(async move {
                pass(&gates.replay).await;
                inner.replay(&cursor, &rooms).await
            });
        }
        let replayed = self.inner.replay(cursor, rooms);
        Box::pin(async move {
            let replayed = replayed.await;
            pass(&gates.replay).await;
            replayed.filter(|_| !gates.incomplete)
        })
    }
}

/// A server over such an adapter, and a client of it that was lost after a first event.
async fn gated(gates: &Gated) -> (Server, Lost) {
    let server = telling(builder().adapter(gates.clone())).await;
    let mut client = Client::new(&server).await;
    client.ws.text().await;
    client.socket(&server).join("r");
    server.io.emit("seen", &()).unwrap();
    client.event().await;
    let lost = client.lose(&server).await;
    server.io.to("r").emit("n", &0).unwrap();
    (server, lost)
}

#[tokio::test]
async fn what_comes_while_the_history_is_read_comes_once_and_in_order() {
    for late in [false, true] {
        let gates = Gated::new(late);
        let (server, lost) = gated(&gates).await;
        let mut client = lost.back(&server).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        // After the first look, before it is in its rooms.
        server.io.to("r").emit("n", &1).unwrap();
        server.io.to("nowhere").emit("x", &()).unwrap();
        gates.restore.add_permits(1);
        server.until(|io| io.of("/").room_len("r") == 1).await;
        // It is in its rooms, and the second look is taken (`late`: is about to be taken).
        server.io.to("r").emit("n", &2).unwrap();
        server.io.volatile().to("r").emit("volatile", &()).unwrap();
        let asked = server.io.to("r").emit_with_ack::<u8>("asked", &());
        server.io.to("r").emit("n", &3).unwrap();
        gates.replay.add_permits(1);
        let mut packets = Vec::new();
        while packets.len() < 5 {
            let packet = client.ws.text().await;
            if let Some(data) = packet.strip_prefix("40") {
                assert_eq!(json(data)["sid"], lost.sid);
            } else {
                packets.push(packet);
            }
        }
        let numbers: Vec<_> = packets
            .iter()
            .filter_map(|packet| packet.strip_prefix(r#"42["n","#)?.get(..1)?.parse::<u8>().ok())
            .collect();
        assert_eq!(numbers, [0, 1, 2, 3], "{packets:?}");
        assert!(packets.contains(&r#"420["asked"]"#.to_owned()), "{packets:?}");
        assert_eq!(client.ws.text().await, r#"42["recovered",true,null,2]"#);
        client.ws.send("430[7]").await;
        assert_eq!(soon(asked.all()).await.unwrap(), [7]);
        server.io.to("r").emit("n", &4).unwrap();
        assert_eq!(client.event().await, r#"["n",4]"#);
    }
}

#[tokio::test]
async fn a_history_that_is_not_complete_any_more_is_no_recovery() {
    let gates = Gated { incomplete: true, ..Gated::new(false) };
    gates.restore.add_permits(1);
    let (server, lost) = gated(&gates).await;
    let asked = Arc::new(Mutex::new(0));
    let count = Arc::clone(&asked);
    server.io.middleware(async move || *count.lock().unwrap() += 1);
    let mut client = lost.back(&server).await;
    server.until(|io| io.of("/").room_len("r") == 1).await;
    server.io.to("r").emit("n", &1).unwrap();
    gates.replay.add_permits(1);
    client.connected().await;
    assert_ne!(client.sid, lost.sid);
    assert_eq!(client.ws.text().await, r#"42["recovered",false,null,1]"#);
    assert_eq!(*asked.lock().unwrap(), 1);
    assert_eq!(server.io.of("/").rooms(), [Room::from(client.sid.as_str())]);
    assert_eq!(server.io.of("/").len(), 1);
}

/// What it missed may be more than its queue takes: Node has no such bound.
#[tokio::test]
async fn who_has_missed_more_than_half_a_queue_begins_anew() {
    for (missed, recovered) in [(4, true), (5, false)] {
        let server = telling(builder().max_outbound_packets(8)).await;
        let mut client = Client::new(&server).await;
        client.ws.text().await;
        server.io.emit("seen", &()).unwrap();
        client.event().await;
        let lost = client.lose(&server).await;
        (0..missed).for_each(|n| server.io.emit("missed", &n).unwrap());
        let mut back = lost.back(&server).await;
        for n in 0..if recovered { missed } else { 0 } {
            assert_eq!(back.event().await, format!(r#"["missed",{n}]"#));
        }
        back.connected().await;
        assert_eq!(back.sid == lost.sid, recovered, "{missed} missed");
    }
}

/// Else a client could pass by the middlewares of one namespace with the state that it had in another.
#[tokio::test]
async fn middlewares_are_asked_about_a_state_that_may_be_of_another_namespace() {
    let gates = Gated { unvouched: true, ..Gated::new(false) };
    gates.restore.add_permits(9);
    gates.replay.add_permits(9);
    let (server, lost) = gated(&gates).await;
    let allowed = Arc::new(Mutex::new(true));
    let allows = Arc::clone(&allowed);
    server.io.middleware(async move || {
        let allowed = *allows.lock().unwrap();
        allowed.then_some(()).ok_or_else(|| Refusal::new("no"))
    });
    let mut client = lost.back(&server).await;
    assert_eq!(client.event().await, r#"["n",0]"#);
    client.connected().await;
    assert_eq!(client.sid, lost.sid);
    client.ws.text().await;
    let lost = client.lose(&server).await;
    *allowed.lock().unwrap() = false;
    assert_eq!(lost.back(&server).await.ws.text().await, r#"44{"message":"no"}"#);
}

#[tokio::test]
async fn a_client_that_goes_while_it_is_restored_may_come_again() {
    let gates = Gated::new(false);
    gates.restore.add_permits(2);
    let (server, lost) = gated(&gates).await;
    let client = lost.back(&server).await;
    server.until(|io| io.of("/").room_len("r") == 1).await;
    drop(client);
    server.until(|io| io.of("/").is_empty()).await;
    assert!(server.io.of("/").rooms().is_empty());
    gates.replay.add_permits(2);
    let mut client = lost.back(&server).await;
    assert_eq!(client.event().await, r#"["n",0]"#);
    client.connected().await;
    assert_eq!(client.sid, lost.sid);
    assert_eq!(client.ws.text().await, r#"42["recovered",true,null,2]"#);
    // It is put out while it is restored: nothing of it is left, either.
    let lost = client.lose(&server).await;
    gates.restore.add_permits(1);
    gates.replay.forget_permits(2);
    let mut client = lost.back(&server).await;
    server.until(|io| io.of("/").room_len("r") == 1).await;
    server.io.disconnect_sockets(false).unwrap();
    assert_eq!(client.ws.text().await, "41");
    gates.replay.add_permits(1);
    assert!(server.io.of("/").rooms().is_empty());
    client.ws.join("/").await;
}
