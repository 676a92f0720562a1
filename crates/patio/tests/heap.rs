//! What an idle connection holds on the server's heap, byte by byte and block by block.
//!
//! Clients come by WebSocket with a browser's headers, join a namespace and a room, ask something and are asked
//! something, each with its acknowledgement; then they are silent. `memory` guards what the process as a whole takes;
//! here every allocation is counted, so a field that grows is seen, and a buffer that is kept is found.
//!
//! Everything in this process is counted, but the clients hold nothing: one is a `TcpStream`, a number, in a list that
//! has its length from the beginning; what it reads and writes is gone when it has. They run on a thread that blocks, and
//! as long as it does the paused clock stands still: the server has one deadline for all of them, so that its lists of
//! deadlines are the same in each run.

#![cfg(all(feature = "serve", target_pointer_width = "64"))]

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    fs,
    future::IntoFuture,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use patio::{Reply, Server, Socket, extract::Data};
use patio_proto::ws::{self, Message, Opcode, Role};
use serde_json::Value;
use tokio::runtime::Handle;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// Connections whose cost is measured, and as many before: from one to the other each table of the server doubles once.
const CONNECTIONS: usize = 500;

/// Bytes and blocks that one may hold, its share of the tables included. 2,385 bytes were measured: who gets below
/// [`LEAST_BYTES`] brings both down.
const MOST_BYTES: f64 = 2_450.0;
const LEAST_BYTES: f64 = 2_300.0;
const MOST_BLOCKS: f64 = 11.0;

/// Callers noted for each block: enough to find one of ours.
const FRAMES: usize = 24;

/// Tasks beside those of the connections: the accept loop, the timers, a worker of the flusher, and the one that looks.
const BESIDES: usize = 4;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a browser sends to open a WebSocket: 14 headers, cookie included.
const REQUEST: &str = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n\
    Host: chat.example.com\r\n\
    Connection: Upgrade\r\n\
    Pragma: no-cache\r\n\
    Cache-Control: no-cache\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36\r\n\
    Upgrade: websocket\r\n\
    Origin: https://chat.example.com\r\n\
    Sec-WebSocket-Version: 13\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-GB,en;q=0.9,de;q=0.8,fr;q=0.7\r\n\
    DNT: 1\r\n\
    Cookie: theme=dark; session=eyJ1c2VyIjoiNjYxMmIzZjQ5YzdhIn0.Zx3k1w.mXr0s2Yw6Qk1nqgE0bVbqf8H3vU; lang=en\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn an_idle_connection_holds_few_blocks_and_no_buffer() {
    let report = Path::new(env!("CARGO_TARGET_TMPDIR")).join("heap.json");
    let profiler = dhat::Profiler::builder().trim_backtraces(Some(FRAMES)).file_name(&report).build();
    let io = Server::new();
    io.on_connect(async |socket: Socket| socket.join("room"));
    io.on("echo", async |Data(text): Data<String>| Reply(text));
    io.on("question", async |socket: Socket, Data(text): Data<String>| {
        let answer: String = socket.emit_with_ack("counter-question", &text).await.unwrap();
        Reply(answer)
    });
    let listener = patio::listen(([127, 0, 0, 1], 0).into()).unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(patio::serve(listener, io.service()).into_future());

    let runtime = Handle::current();
    let clients = tokio::task::spawn_blocking(move || clients(&runtime, addr, profiler));
    let Stages { some, all, again } = clients.await.unwrap();

    let table = table(&report);
    let (bytes, blocks) = all.more_than(some, CONNECTIONS);
    println!("{bytes:.0} bytes in {blocks:.0} blocks for each connection:\n{table}");
    assert_eq!(all.tasks - some.tasks, CONNECTIONS, "one task for each connection");
    assert!(bytes <= MOST_BYTES, "{bytes} bytes for each connection:\n{table}");
    assert!(bytes >= LEAST_BYTES, "{bytes} bytes for each connection: lower the bounds:\n{table}");
    assert!(blocks.round() <= MOST_BLOCKS, "{blocks} blocks for each connection:\n{table}");
    let (bytes, blocks) = again.more_than(all, 2 * CONNECTIONS);
    // Less than any queue, and than any block at all; the runtime's list of tasks to be run may have grown.
    assert!(
        bytes < 32.0 && blocks < 0.1,
        "who was busy holds {bytes} bytes in {blocks} blocks more than before:\n{table}"
    );
}

/// What the server holds when half of the clients are there, when all are, and when each has been busy and is silent
/// again.
struct Stages {
    some: Held,
    all: Held,
    again: Held,
}

/// What the server holds at a moment.
#[derive(Clone, Copy, Debug)]
struct Held {
    bytes: usize,
    blocks: usize,
    tasks: usize,
}

impl Held {
    /// How many bytes and blocks more than before, for each of so many. The few that a look at them takes come and go.
    fn more_than(self, before: Self, connections: usize) -> (f64, f64) {
        let each = |now: usize, before: usize| (now as f64 - before as f64) / connections as f64;
        (each(self.bytes, before.bytes), each(self.blocks, before.blocks))
    }
}

/// All clients, one after the other. The report is written while they are there.
fn clients(runtime: &Handle, addr: SocketAddr, profiler: dhat::Profiler) -> Stages {
    let mut clients = Vec::with_capacity(2 * CONNECTIONS);
    let mut come = || {
        for _ in 0..CONNECTIONS {
            let mut client = Client::connect(addr);
            client.ask();
            // The first one fills what threads keep for all.
            if clients.is_empty() {
                client.say_much();
            }
            clients.push(client);
        }
        held_when(runtime, |held| held.tasks == BESIDES + clients.len())
    };
    let (some, all) = (come(), come());

    let echo = frame("421[\"echo\",\"x\"]");
    let (begin, rest) = echo.split_at(echo.len() / 2);
    for client in &mut clients {
        client.say(begin);
    }
    // Half a message takes a block at least: what is kept is seen.
    held_when(runtime, |held| held.blocks >= all.blocks + clients.len());
    for client in &mut clients {
        client.say(rest);
        client.hear(1);
        client.say_much();
    }
    let again = held_when(runtime, |_| true);
    drop(profiler);
    Stages { some, all, again }
}

/// What is held as soon as `holds` is true. Looked at from a task, while no other one is in the middle of something.
fn held_when(runtime: &Handle, holds: impl Fn(&Held) -> bool) -> Held {
    let end = Instant::now() + PATIENCE;
    loop {
        let handle = runtime.clone();
        let look = async move {
            let heap = dhat::HeapStats::get();
            Held {
                bytes: heap.curr_bytes,
                blocks: heap.curr_blocks,
                tasks: handle.metrics().num_alive_tasks(),
            }
        };
        let held = runtime.block_on(runtime.spawn(look)).unwrap();
        if holds(&held) {
            return held;
        }
        assert!(Instant::now() < end, "{held:?}");
        thread::yield_now();
    }
}

/// One client. What it needs to read and write is gone when it has.
struct Client(TcpStream);

impl Client {
    /// In the main namespace.
    fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut client = Self(stream);
        client.say(REQUEST.as_bytes());
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            client.0.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{head:?}");
        client.hear(1);
        client.say(&frame("40"));
        client.hear(1);
        client
    }

    /// Asks a question and answers the counter-question, so that there is an acknowledgement each way.
    fn ask(&mut self) {
        self.say(&frame("420[\"question\",\"how many?\"]"));
        let question = self.hear(1).remove(0);
        let id = question.strip_prefix("42").unwrap().trim_end_matches(|c: char| !c.is_ascii_digit());
        self.say(&frame(&format!("43{id}[\"many\"]")));
        assert_eq!(self.hear(1), ["430[\"many\"]"]);
    }

    /// Many events at once, whose answers wait in a queue until they leave at once.
    fn say_much(&mut self) {
        self.say(&frame("421[\"echo\",\"x\"]").repeat(9));
        assert_eq!(self.hear(9), ["431[\"x\"]"; 9]);
    }

    fn say(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    /// The next texts; nothing comes behind them.
    fn hear(&mut self, texts: usize) -> Vec<String> {
        let mut decoder = ws::Decoder::new(Role::Client, 1_000);
        let mut heard = Vec::new();
        while heard.len() < texts {
            let mut buffer = [0; 4_096];
            let read = self.0.read(&mut buffer).unwrap();
            assert_ne!(read, 0, "the server closed the connection");
            let mut bytes = &mut buffer[..read];
            while let Some(message) = decoder.decode(&mut bytes).unwrap() {
                let Message::Text(text) = message else { panic!("{message:?}") };
                heard.push(text.to_string());
            }
        }
        heard
    }
}

fn frame(text: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    ws::encode(&mut frame, Opcode::Text, text.as_bytes(), Some([1, 2, 3, 4]));
    frame
}

/// Of what dhat wrote: the blocks that every connection holds, the largest first, each with the innermost function or type
/// of ours or tokio's behind it.
fn table(report: &Path) -> String {
    let report: Value = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
    let mut rows: BTreeMap<(Reverse<u64>, &str), u64> = BTreeMap::new();
    for point in report["pps"].as_array().unwrap() {
        let (bytes, blocks) = (point["eb"].as_u64().unwrap(), point["ebk"].as_u64().unwrap());
        let frames = point["fs"].as_array().unwrap().iter();
        let mut frames =
            frames.map(|frame| report["ftbl"][frame.as_u64().unwrap() as usize].as_str().unwrap());
        let frame = frames
            .find(|frame| ["patio::", "patio_", "tokio::"].iter().any(|name| frame.contains(name)))
            .unwrap_or("?");
        let function = frame.split_once(": ").map_or(frame, |(_address, function)| function);
        if blocks > 0 {
            *rows.entry((Reverse(bytes / blocks), function)).or_default() += blocks;
        }
    }
    rows.retain(|_, blocks| *blocks > CONNECTIONS as u64 / 10);
    let row = |((Reverse(bytes), function), blocks): ((Reverse<u64>, &str), u64)| {
        format!("{:4.2} of {bytes:>4} bytes: {function}\n", blocks as f64 / (2 * CONNECTIONS) as f64)
    };
    rows.into_iter().map(row).collect()
}
