//! A whole server, fed by bytes: patio on hyper, on pipes in memory, in one thread with paused time.
//!
//! A script opens up to four connections and writes anything to them: raw bytes, requests that are nearly right, frames
//! that are nearly right, cut anywhere, while time passes, connections end and the application talks. Whatever the
//! script was, the server still answers a new client after it; when all peers are gone it forgets them all by itself;
//! and when it is dropped none of its tasks is left.
//!
//! Input: a byte of options, then steps with `ff fe` between them. A step is a byte for what happens, a byte for the
//! connection, the revision and the cut, and what is written. See [`Step`].

use std::{
    future::poll_fn,
    pin::Pin,
    sync::atomic::{AtomicU32, Ordering},
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use patio::{
    ConnectionStateRecovery, Cors, Namespace, Parser, Refusal, Reply, Server, Socket,
    extract::{Args, Auth, Data},
};
use patio_proto::ws;
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf},
    runtime::{Builder, Handle},
    task::yield_now,
    time::sleep,
};

/// Between two steps. Not in UTF-8, and rare in frames.
const SEPARATOR: [u8; 2] = [0xff, 0xfe];

/// Steps of one input. More only make it slow.
const STEPS: usize = 64;

/// Times that every task gets to run after each step. A packet passes a handful of tasks.
const TURNS: usize = 24;

/// Longer than anything is waited for: the longest time-outs are a heartbeat's 45 s and a namespace's 45 s.
const FOREVER: Duration = Duration::from_secs(300);

/// The target.
pub fn run(data: &[u8]) {
    let Some((&options, script)) = data.split_first() else { return };
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let io = server(options);
        let mut world = World::new(io.clone(), options);
        for step in steps(script).take(STEPS) {
            world.step(step).await;
            world.settle().await;
        }
        let closing = world.closing;
        if !closing {
            world.still_answers().await;
        }
        drop(world);
        sleep(FOREVER).await;
        assert_eq!(io.engine().clients_count(), 0, "a session is left");
        let counters = io.counters();
        assert_eq!(counters.opened, counters.closed);
        assert_eq!(counters.panics, 0);
        for name in io.namespaces() {
            let namespace = io.of(&name);
            assert!(namespace.is_empty(), "a socket is left in {name}");
            assert!(namespace.rooms().is_empty(), "rooms are left in {name}: {:?}", namespace.rooms());
        }
        assert!(io.namespaces().iter().all(|name| !name.starts_with("/dynamic")), "{:?}", io.namespaces());
        io.close().await;
        drop(io);
        settle().await;
        assert_eq!(Handle::current().metrics().num_alive_tasks(), 0, "a task is left");
    });
}

/// An application that does everything once.
fn server(options: u8) -> Server {
    let flag = |bit: u8| options & 1 << bit != 0;
    let ids = AtomicU32::new(0);
    let mut builder = Server::builder()
        .allow_eio3(!flag(0))
        .parser(if flag(1) { Parser::MsgPack } else { Parser::Json })
        .max_http_buffer_size(if flag(2) { 300 } else { 100_000 })
        .per_message_deflate(flag(3).then_some(10))
        .cleanup_empty_child_namespaces(true)
        .http_compression(Some(100))
        // So that a script can name its sessions.
        .generate_id(move |_| Some(format!("s{}", ids.fetch_add(1, Ordering::Relaxed))));
    if flag(4) {
        builder = builder.connection_state_recovery(ConnectionStateRecovery::default()).cors(Cors::any());
    }
    if flag(5) {
        builder = builder
            .max_handlers(1)
            .max_parked_bytes(50)
            .max_namespaces(2)
            .max_outbound_packets(5)
            .max_outbound_bytes(1_000)
            .max_packets_per_payload(3)
            .max_connections(3);
    }
    let io = builder.build().unwrap();
    declare(&io, "/");
    declare(&io, "/chat");
    let dynamic = Namespace::new().on("echo", async |args: Args| Reply(args));
    io.of_dynamic("/dynamic-{id}", dynamic);
    io.of("/chat").middleware(async |Auth(auth): Auth<patio::Value>| match auth.get("no") {
        Some(why) => Err(Refusal::new("no").with_data(why.clone())),
        None => Ok(()),
    });
    io
}

fn declare(io: &Server, namespace: &str) {
    let namespace = io.of(namespace);
    namespace.on_connect(async |socket: Socket| {
        socket.join("everyone");
        let _ = socket.emit("welcome", &Bytes::from_static(b"\x01\x02"));
        if socket.namespace() == "/chat" {
            socket.closed().await;
        }
    });
    namespace.on("echo", async |args: Args| Reply(args));
    namespace.on("join", async |socket: Socket, Data(room): Data<String>| socket.join(room));
    namespace.on("leave", async |socket: Socket, Data(room): Data<String>| socket.leave(room));
    namespace.on("tell", async |socket: Socket, Data((room, what)): Data<(String, patio::Value)>| {
        let _ = socket.to(room).emit("told", &what);
    });
    namespace.on("all", async |socket: Socket, args: Args| {
        let _ = socket.server().of(socket.namespace()).emit("all", &args);
    });
    namespace.on("ask", async |socket: Socket, args: Args| {
        Reply(socket.emit_with_ack::<patio::Value>("asked", &args).await.ok())
    });
    namespace.on("wait", async || sleep(Duration::from_secs(20)).await);
    namespace.on("hang", async |socket: Socket| socket.closed().await);
    namespace.on("bye", async |socket: Socket, Data(close): Data<bool>| socket.disconnect(close));
}

/// What happens next.
#[derive(Clone, Copy, Debug)]
struct Step<'a> {
    what: What,
    connection: usize,
    eio: u8,
    /// What is written is written in pieces of this size.
    cut: usize,
    data: &'a [u8],
}

#[derive(Clone, Copy, Debug)]
enum What {
    /// The bytes as they are.
    Raw,
    /// A GET whose query is the data.
    Get,
    /// A GET of the session that the first byte numbers; its query goes on with the data.
    Poll,
    /// A POST of the data to the session that the first byte numbers.
    Post,
    /// The same, of bytes in the form of XHR2.
    PostBinary,
    /// A WebSocket for the session that the first byte numbers, or a new one for `-`.
    Upgrade,
    /// A text frame.
    Text,
    /// A binary frame.
    Binary,
    /// A frame whose first byte is the first of the data.
    Frame,
    /// Time passes.
    Time,
    /// The client's end is dropped.
    Drop,
    /// The client says that it writes no more.
    Shutdown,
    /// The client stops reading, or reads again.
    Read,
    /// The application emits to everyone.
    Emit,
    /// The application lets everyone go.
    Disconnect,
    /// The server is closed.
    Close,
}

impl<'a> Step<'a> {
    fn read(step: &'a [u8]) -> Option<Self> {
        let (&[what, how], data) = step.split_first_chunk()?;
        let what = match what % 16 {
            0 => What::Raw,
            1 => What::Get,
            2 => What::Poll,
            3 => What::Post,
            4 => What::PostBinary,
            5 => What::Upgrade,
            6 => What::Text,
            7 => What::Binary,
            8 => What::Frame,
            9 => What::Time,
            10 => What::Drop,
            11 => What::Shutdown,
            12 => What::Read,
            13 => What::Emit,
            14 => What::Disconnect,
            _ => What::Close,
        };
        let cut = match how >> 3 & 7 {
            0 => usize::MAX,
            cut => 4 * usize::from(cut) - 3,
        };
        let eio = if how & 4 == 0 { 4 } else { 3 };
        Some(Self { what, connection: usize::from(how & 3), eio, cut, data })
    }
}

fn steps(mut script: &[u8]) -> impl Iterator<Item = Step<'_>> {
    std::iter::from_fn(move || {
        if script.is_empty() {
            return None;
        }
        let end = script.windows(2).position(|two| two == SEPARATOR).unwrap_or(script.len());
        let step = &script[..end];
        script = script.get(end + 2..).unwrap_or_default();
        Some(step)
    })
    .filter_map(Step::read)
}

/// A server and what its peers hold.
struct World {
    io: Server,
    connections: [Option<Connection>; 4],
    /// Bytes that a peer may be ahead of another.
    pipe: usize,
    closing: bool,
}

/// The client's end.
struct Connection {
    stream: DuplexStream,
    reads: bool,
}

impl World {
    fn new(io: Server, options: u8) -> Self {
        let pipe = if options & 1 << 6 == 0 { 4096 } else { 60 };
        Self { io, connections: [const { None }; 4], pipe, closing: false }
    }

    /// Everyone runs, and who reads reads.
    async fn settle(&mut self) {
        for _ in 0..TURNS {
            yield_now().await;
            for connection in self.connections.iter_mut().flatten() {
                connection.drain();
            }
        }
    }

    async fn step(&mut self, Step { what, connection, eio, cut, data }: Step<'_>) {
        let first = data.first().copied().unwrap_or_default();
        let rest = data.get(1..).unwrap_or_default();
        let session = [b"&sid=s", &[first][..]].concat();
        let websocket: &[u8] = b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
            sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nsec-websocket-extensions: permessage-deflate\r\n";
        let bytes = match what {
            What::Raw => data.to_vec(),
            What::Get => request("GET", eio, data, b"accept-encoding: gzip\r\norigin: http://x\r\n", None),
            What::Poll => {
                let query = [b"transport=polling", &session[..], rest].concat();
                request("GET", eio, &query, b"", None)
            }
            What::Post | What::PostBinary => {
                let query = [b"transport=polling", &session[..]].concat();
                let binary: &[u8] = match what {
                    What::PostBinary => b"content-type: application/octet-stream\r\n",
                    _ => b"",
                };
                request("POST", eio, &query, binary, Some(rest))
            }
            What::Upgrade => {
                let session = if first == b'-' { &b""[..] } else { &session };
                let query = [b"transport=websocket", session, rest].concat();
                request("GET", eio, &query, websocket, None)
            }
            What::Text => frame(0x80 | ws::Opcode::Text as u8, data),
            What::Binary => frame(0x80 | ws::Opcode::Binary as u8, data),
            What::Frame => frame(first, rest),
            What::Time => return self.pass(Duration::from_millis(40 * u64::from(first).pow(2))).await,
            What::Drop => return self.connections[connection] = None,
            What::Shutdown => {
                let Some(connection) = &mut self.connections[connection] else { return };
                return poll_fn(|cx| {
                    let _ = Pin::new(&mut connection.stream).poll_shutdown(cx);
                    Poll::Ready(())
                })
                .await;
            }
            What::Read => {
                let Some(connection) = &mut self.connections[connection] else { return };
                return connection.reads = !connection.reads;
            }
            What::Emit => {
                let text = String::from_utf8_lossy(data);
                let _ = self.io.emit("news", &text);
                return drop(self.io.of("/chat").emit("news", &Bytes::copy_from_slice(data)));
            }
            What::Disconnect => return drop(self.io.disconnect_sockets(first & 1 == 0)),
            What::Close => {
                if !self.closing {
                    self.closing = true;
                    let io = self.io.clone();
                    tokio::spawn(async move { io.close().await });
                }
                return;
            }
        };
        for piece in bytes.chunks(cut) {
            self.write(connection, piece).await;
        }
    }

    /// Writes to a connection, which is opened if it is not open; what the server does not take is lost.
    async fn write(&mut self, number: usize, mut bytes: &[u8]) {
        let (io, pipe) = (&self.io, self.pipe);
        self.connections[number].get_or_insert_with(|| Connection::open(io, pipe));
        for _ in 0..TURNS {
            let Some(connection) = &mut self.connections[number] else { return };
            let wrote = connection.write(bytes).await;
            bytes = &bytes[wrote..];
            // The server reads, unless it waits for the peer to read.
            for _ in 0..3 {
                yield_now().await;
            }
            self.connections.iter_mut().flatten().for_each(Connection::drain);
            if bytes.is_empty() {
                return;
            }
        }
    }

    /// Time passes in small steps, in which peers read.
    async fn pass(&mut self, time: Duration) {
        for _ in 0..8 {
            sleep(time / 8).await;
            self.connections.iter_mut().flatten().for_each(Connection::drain);
        }
    }

    /// A new client is answered, whatever others did.
    async fn still_answers(&mut self) {
        let mut client = Connection::open(&self.io, 4096);
        client.write(&request("GET", 4, b"transport=polling", b"", None)).await;
        let mut answer = Vec::new();
        for _ in 0..TURNS {
            yield_now().await;
            client.read(|bytes| answer.extend_from_slice(bytes));
        }
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let full = answer.contains("Too many connections");
        assert!(answer.contains("\r\n\r\n0{\"sid\":\"s") || full, "{answer}");
        self.connections[0] = Some(client);
    }
}

async fn settle() {
    for _ in 0..TURNS {
        yield_now().await;
    }
}

impl Connection {
    fn open(io: &Server, pipe: usize) -> Self {
        let (stream, server) = tokio::io::duplex(pipe);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(server), TowerToHyperService::new(io.service()))
            .with_upgrades();
        // What breaks HTTP is hyper's to answer.
        tokio::spawn(async move { drop(connection.await) });
        Self { stream, reads: true }
    }

    /// How many bytes the pipe takes now. All, when the server has gone.
    async fn write(&mut self, bytes: &[u8]) -> usize {
        poll_fn(|cx| {
            Poll::Ready(match Pin::new(&mut self.stream).poll_write(cx, bytes) {
                Poll::Ready(Ok(wrote)) => wrote,
                Poll::Ready(Err(_)) => bytes.len(),
                Poll::Pending => 0,
            })
        })
        .await
    }

    fn drain(&mut self) {
        if self.reads {
            self.read(|_| ());
        }
    }

    fn read(&mut self, mut each: impl FnMut(&[u8])) {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let mut buffer = [0; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut buffer);
            match Pin::new(&mut self.stream).poll_read(&mut cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => each(buffer.filled()),
                _ => return,
            }
        }
    }
}

/// A request whose query says the revision and `query`. White space would end it, so there is none.
fn request(method: &str, eio: u8, query: &[u8], headers: &[u8], body: Option<&[u8]>) -> Vec<u8> {
    let query: Vec<u8> = query.iter().map(|&byte| if byte <= b' ' { b'_' } else { byte }).collect();
    let mut out = format!("{method} /socket.io/?EIO={eio}&").into_bytes();
    out.extend_from_slice(&query);
    out.extend_from_slice(b" HTTP/1.1\r\nhost: x\r\n");
    out.extend_from_slice(headers);
    if let Some(body) = body {
        out.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
        out.extend_from_slice(body);
    } else {
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// A masked frame with any first byte.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 0x84];
    let mut out = Vec::new();
    ws::encode(&mut out, ws::Opcode::Binary, payload, Some(mask));
    out[0] = first;
    out
}
