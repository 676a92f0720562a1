//! The limit: the least that a server can do for the work of the benchmark, if it writes each message by itself.
//!
//! One thread of epoll. The handshakes are answered from constants, a broadcast is one `write` per receiver, an ack is
//! one `write`; no session, no room, no heartbeat, no JSON. It reads what `load` sends and trusts it: this is a
//! yardstick on loopback, not a server.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::SocketAddr,
    ops::Range,
};

use anyhow::Context;
use clap::Parser;
use mio::{
    Events, Interest, Poll, Registry, Token,
    net::{TcpListener, TcpStream},
};
use slab::Slab;

/// Answers Socket.IO over WebSocket from constants.
#[derive(Parser)]
struct Cli {
    /// Address to listen on; port 0 takes a free one, which is printed.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// End when standard input ends: then the one who started it cannot leave it behind.
    #[arg(long)]
    until_eof: bool,
}

/// The one key that the generator sends has the one answer of RFC 6455's example; the open packet follows at once.
const UPGRADED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\
    \x81\x6b0{\"sid\":\"limitlimitlimitlimit\",\"upgrades\":[],\"pingInterval\":25000,\"pingTimeout\":20000,\"maxPayload\":1000000}";
const CONNECTED: &[u8] = b"\x81\x2040{\"sid\":\"limitlimitlimitlimit\"}";
const LISTENER: Token = Token(usize::MAX);

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    bench::process::raise_file_limit();
    if cli.until_eof {
        bench::process::exit_at_end_of_input();
    }
    let listener = bench::process::listen(cli.listen)?;
    bench::process::announce(listener.local_addr()?)?;
    Limit::new(TcpListener::from_std(listener))?.run()
}

struct Limit {
    poll: Poll,
    listener: TcpListener,
    clients: Slab<Client>,
    /// What one read takes: a shorter read means that the socket is empty, so that no second read is needed.
    buffer: Vec<u8>,
    frame: Vec<u8>,
}

struct Client {
    stream: TcpStream,
    upgraded: bool,
    joined: bool,
    /// The begin of a request or frame whose rest has not come yet.
    input: Vec<u8>,
    /// What the kernel did not take; empty in almost every run.
    output: Vec<u8>,
}

impl Limit {
    fn new(mut listener: TcpListener) -> io::Result<Self> {
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self { poll, listener, clients: Slab::new(), buffer: vec![0; 128 * 1024], frame: Vec::new() })
    }

    fn run(&mut self) -> anyhow::Result<()> {
        let mut events = Events::with_capacity(1024);
        loop {
            match self.poll.poll(&mut events, None) {
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                done => done.context("epoll")?,
            }
            for event in &events {
                if event.token() == LISTENER {
                    self.accept()?;
                    continue;
                }
                let id = event.token().0;
                let registry = self.poll.registry();
                if event.is_writable()
                    && let Some(client) = self.clients.get_mut(id)
                {
                    client.flush(registry, id).ok();
                }
                if (event.is_readable() || event.is_read_closed() || event.is_error())
                    && self.read(id).is_err()
                    && let Some(mut client) = self.clients.try_remove(id)
                {
                    self.poll.registry().deregister(&mut client.stream).ok();
                }
            }
        }
    }

    fn accept(&mut self) -> anyhow::Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if matches!(e.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {
                    continue;
                }
                Err(e) => return Err(e).context("accept"),
            };
            stream.set_nodelay(true)?;
            let entry = self.clients.vacant_entry();
            self.poll.registry().register(&mut stream, Token(entry.key()), Interest::READABLE)?;
            entry.insert(Client {
                stream,
                upgraded: false,
                joined: false,
                input: Vec::new(),
                output: Vec::new(),
            });
        }
    }

    /// Reads until the socket is empty. An error means that the client has gone.
    fn read(&mut self, id: usize) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let result = loop {
            let Some(client) = self.clients.get_mut(id) else { break Ok(()) };
            match client.stream.read(&mut buffer) {
                Ok(0) => break Err(ErrorKind::UnexpectedEof.into()),
                Ok(n) => {
                    if client.input.is_empty() {
                        let used = self.take(id, &mut buffer[..n]);
                        self.clients[id].input.extend_from_slice(&buffer[used..n]);
                    } else {
                        client.input.extend_from_slice(&buffer[..n]);
                        let mut input = std::mem::take(&mut client.input);
                        let used = self.take(id, &mut input);
                        input.drain(..used);
                        self.clients[id].input = input;
                    }
                    if n < buffer.len() {
                        break Ok(());
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => break Ok(()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => break Err(e),
            }
        };
        self.buffer = buffer;
        result
    }

    /// Answers every complete request and frame; returns how many bytes they were.
    fn take(&mut self, id: usize, input: &mut [u8]) -> usize {
        let mut used = 0;
        if !self.clients[id].upgraded {
            let Some(end) = input.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { return 0 };
            used = end + 4;
            self.clients[id].upgraded = true;
            self.write(id, UPGRADED);
        }
        while let Some(payload) = unmask(&mut input[used..]) {
            let payload = used + payload.start..used + payload.end;
            used = payload.end;
            self.answer(id, &input[payload]);
        }
        used
    }

    fn answer(&mut self, id: usize, packet: &[u8]) {
        if packet.starts_with(b"42[\"b\"") {
            text_frame(&mut self.frame, &[packet]);
            let registry = self.poll.registry();
            for (id, client) in self.clients.iter_mut().filter(|(_, client)| client.joined) {
                client.write(registry, id, &self.frame);
            }
        } else if let Some((ack, data)) = ack_request(packet) {
            text_frame(&mut self.frame, &[b"43", ack, b"[", data]);
            let registry = self.poll.registry();
            self.clients[id].write(registry, id, &self.frame);
        } else if packet.starts_with(b"40") {
            self.clients[id].joined = true;
            self.write(id, CONNECTED);
        }
    }

    fn write(&mut self, id: usize, bytes: &[u8]) {
        self.clients[id].write(self.poll.registry(), id, bytes);
    }
}

impl Client {
    /// One `write`. A client that has gone is noticed by its next read.
    fn write(&mut self, registry: &Registry, id: usize, bytes: &[u8]) {
        let written = if self.output.is_empty() { self.stream.write(bytes).unwrap_or(0) } else { 0 };
        if written < bytes.len() {
            let waits = !self.output.is_empty();
            self.output.extend_from_slice(&bytes[written..]);
            if !waits {
                registry
                    .reregister(&mut self.stream, Token(id), Interest::READABLE | Interest::WRITABLE)
                    .ok();
            }
        }
    }

    fn flush(&mut self, registry: &Registry, id: usize) -> io::Result<()> {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(n) => drop(self.output.drain(..n)),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            }
        }
        registry.reregister(&mut self.stream, Token(id), Interest::READABLE)
    }
}

/// Unmasks the first frame of `input` in place when it is complete: where its payload lies.
fn unmask(input: &mut [u8]) -> Option<Range<usize>> {
    let (len, header) = match *input.get(1)? & 0x7f {
        126 => (usize::from(u16::from_be_bytes(input.get(2..4)?.try_into().ok()?)), 4),
        127 => (usize::try_from(u64::from_be_bytes(input.get(2..10)?.try_into().ok()?)).ok()?, 10),
        len => (usize::from(len), 2),
    };
    let key: [u8; 4] = input.get(header..header + 4)?.try_into().ok()?;
    let payload = header + 4..(header + 4).checked_add(len)?;
    let bytes = input.get_mut(payload.clone())?;
    let wide = u64::from_ne_bytes([key[0], key[1], key[2], key[3], key[0], key[1], key[2], key[3]]);
    let mut words = bytes.chunks_exact_mut(8);
    for word in &mut words {
        let masked = u64::from_ne_bytes(word.try_into().ok()?);
        word.copy_from_slice(&(masked ^ wide).to_ne_bytes());
    }
    for (byte, key) in words.into_remainder().iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
    Some(payload)
}

/// The ack id and the argument with its closing bracket of `42<id>["ack",<argument>]`.
fn ack_request(packet: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = packet.strip_prefix(b"42")?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    Some((&rest[..digits], rest[digits..].strip_prefix(b"[\"ack\",")?))
}

fn text_frame(frame: &mut Vec<u8>, parts: &[&[u8]]) {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    frame.clear();
    frame.push(0x81);
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(len @ ..126), _) => frame.push(len),
        (_, Ok(len)) => {
            frame.push(126);
            frame.extend_from_slice(&len.to_be_bytes());
        }
        _ => {
            frame.push(127);
            frame.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    for part in parts {
        frame.extend_from_slice(part);
    }
}
