//! One hot path of the server, so many times: `cargo xtask` counts its instructions.
//!
//! Everything happens in one thread, server and clients in lock-step: the clients write, the runtime runs until they
//! have read the whole answer. So the instructions of N iterations and of 2 N differ by those of N, whatever the time of
//! day, and start-up cancels. A client is a plain socket: with a write and a read of its own it adds some two hundred
//! instructions.

use std::{
    hint::black_box,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, ensure};
use clap::{Parser, ValueEnum};
use patio::{Reply, Server, Socket, extract::Data};
use patio_proto::{
    decode,
    encode::Encoded,
    engine,
    packet::Packet,
    payload::Payload,
    ws::{self, Message, Opcode, Role},
};
use tokio::{runtime, task::yield_now};

/// Performs one hot path of the server so many times.
#[derive(Parser)]
struct Cli {
    path: Path,
    times: u64,
}

#[derive(Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Path {
    /// An event with a text of 128 bytes to its WebSocket frame, as `emit` makes it.
    Frame,
    /// Such a frame of a client to the Socket.IO packet in it.
    Parse,
    /// An event from a client to a handler that does not answer.
    Dispatch,
    /// The same with a handler that sends the text back as its acknowledgement.
    Ack,
    /// An emit of 128 bytes to a room of 100 clients, none of them the sender.
    Broadcast,
    /// The same with 16 KiB.
    BroadcastLong,
    /// A client comes by WebSocket with a browser's headers, joins the namespace, and goes.
    Connect,
}

/// Receivers of a broadcast: more than one turn of the flusher writes.
const ROOM: usize = 100;

const SHORT: usize = 128;
const LONG: usize = 16 * 1024;

/// No ping comes between, however slow the machine.
const QUIET: Duration = Duration::from_secs(3_600);

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

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

fn main() -> anyhow::Result<()> {
    let Cli { path, times } = Cli::parse();
    match path {
        Path::Frame => frame(times),
        Path::Parse => parse(times),
        _ => runtime::Builder::new_current_thread().enable_all().build()?.block_on(serve(path, times)),
    }
}

fn frame(times: u64) -> anyhow::Result<()> {
    let text = "x".repeat(SHORT);
    for _ in 0..times {
        let payload = Payload::event("message", black_box(&text))?;
        black_box(Encoded::packet(&Packet::event("/", payload)));
    }
    Ok(())
}

fn parse(times: u64) -> anyhow::Result<()> {
    let frame = event(None, &"x".repeat(SHORT));
    // The decoder unmasks in place.
    let mut input = frame.clone();
    let mut frames = ws::Decoder::new(Role::Server, LONG);
    let mut packets = decode::Decoder::default();
    let limits = decode::Limits::default();
    for _ in 0..times {
        input.copy_from_slice(black_box(&frame));
        let Some(Message::Text(text)) = frames.decode(&mut &mut input[..])? else { break };
        let engine::Packet::Message(engine::Message::Text(text)) =
            engine::Packet::decode_text(engine::Protocol::V4, text)?
        else {
            break;
        };
        black_box(packets.text(text, &limits)?.context("the packet is whole")?);
    }
    Ok(())
}

/// The paths that need a server: what the benchmark's application is, without axum.
async fn serve(path: Path, times: u64) -> anyhow::Result<()> {
    let handled = Arc::new(AtomicU64::new(0));
    let ended = Arc::clone(&handled);
    let io = Server::builder().ping_interval(QUIET).build()?;
    let counter = Arc::clone(&handled);
    io.on_connect(async move |socket: Socket| {
        socket.join("room");
        let counter = Arc::clone(&counter);
        socket.on("message", async move |Data(text): Data<String>| {
            black_box(text);
            counter.fetch_add(1, Ordering::Relaxed);
        });
        socket.on("echo", async |Data(text): Data<String>| Reply(text));
    });
    io.on_disconnect(async move |_: Socket| {
        ended.fetch_add(1, Ordering::Relaxed);
    });
    let listener = patio::listen(([127, 0, 0, 1], 0).into())?;
    let address = listener.local_addr()?;
    tokio::spawn(patio::serve(listener, io.service()).into_future());

    let mut buffer = vec![0; 256 * 1024];
    match path {
        Path::Frame | Path::Parse => {}
        Path::Dispatch => {
            let mut client = Client::connect(address, &mut buffer).await?;
            let event = event(None, &"x".repeat(SHORT));
            for done in 0..times {
                client.say(&event)?;
                while handled.load(Ordering::Relaxed) == done {
                    yield_now().await;
                }
            }
        }
        Path::Ack => {
            let mut client = Client::connect(address, &mut buffer).await?;
            let event = event(Some(7), &"x".repeat(SHORT));
            for _ in 0..times {
                client.say(&event)?;
                client.hear(&mut buffer, b"\"]").await?;
            }
        }
        Path::Broadcast | Path::BroadcastLong => {
            let text = "x".repeat(if matches!(path, Path::Broadcast) { SHORT } else { LONG });
            let mut room = Vec::new();
            for _ in 0..ROOM {
                room.push(Client::connect(address, &mut buffer).await?);
            }
            for _ in 0..times {
                io.to("room").emit("message", &text)?;
                for client in &mut room {
                    client.hear(&mut buffer, b"\"]").await?;
                }
            }
        }
        Path::Connect => {
            for done in 0..times {
                drop(Client::connect(address, &mut buffer).await?);
                while handled.load(Ordering::Relaxed) == done {
                    yield_now().await;
                }
            }
        }
    }
    Ok(())
}

/// A client's frame with an event.
fn event(ack: Option<u64>, text: &str) -> Vec<u8> {
    let (name, id) = ack.map_or(("message", String::new()), |id| ("echo", id.to_string()));
    let mut frame = Vec::new();
    ws::encode(&mut frame, Opcode::Text, format!("42{id}[\"{name}\",\"{text}\"]").as_bytes(), Some(MASK));
    frame
}

/// A client in the main namespace.
struct Client(TcpStream);

impl Client {
    async fn connect(address: SocketAddr, buffer: &mut [u8]) -> anyhow::Result<Self> {
        // The kernel completes it without the server.
        let stream = TcpStream::connect(address)?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let mut client = Self(stream);
        client.say(REQUEST.as_bytes())?;
        // The answer to the request, and the open packet.
        client.hear(buffer, b"}").await?;
        let mut frame = Vec::new();
        ws::encode(&mut frame, Opcode::Text, b"40", Some(MASK));
        client.say(&frame)?;
        client.hear(buffer, b"}").await?;
        Ok(client)
    }

    /// Nothing else is on its way to the server, so the kernel takes all.
    fn say(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.0.write_all(bytes).context("the server does not read")
    }

    /// Reads until what came ends like this, which is the end of the whole answer.
    async fn hear(&mut self, buffer: &mut [u8], end: &[u8]) -> anyhow::Result<()> {
        let mut heard = 0;
        while !buffer[..heard].ends_with(end) {
            match self.0.read(&mut buffer[heard..]) {
                Ok(0) => anyhow::bail!("the server closed the connection"),
                Ok(read) => heard += read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => yield_now().await,
                Err(error) => return Err(error).context("read"),
            }
        }
        ensure!(heard > end.len(), "an empty answer");
        Ok(())
    }
}
