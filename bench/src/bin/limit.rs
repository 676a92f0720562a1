//! The limit: the least that a server can do for the work of the benchmark, if it writes each message by itself.
//!
//! One thread of epoll. The handshakes are answered from constants, a broadcast is one `write` per receiver, an ack is
//! one `write`, a room is a list of numbers; no session, no heartbeat, no JSON. It reads what `load` sends and trusts it:
//! this is a yardstick on loopback, not a server.

use std::{
    collections::HashMap,
    io::{self, ErrorKind, Read, Write},
    net::SocketAddr,
    ops::Range,
    time::Instant,
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

/// The one key that the generator sends has the one answer of RFC 6455's example.
const SWITCHED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
/// What follows the id in the open packet.
const OPEN: &str =
    "\",\"upgrades\":[\"websocket\"],\"pingInterval\":25000,\"pingTimeout\":20000,\"maxPayload\":1000000}";
/// Ids are numbers such as 00000000000000000007, from which the client can be found.
const SID_LEN: usize = 20;
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
    /// Members by room, but for the room that all are in.
    rooms: HashMap<Vec<u8>, Vec<usize>>,
}

struct Client {
    stream: TcpStream,
    speaks: Speaks,
    /// In the namespace and in the room that all are in.
    joined: bool,
    /// The text frame of a packet whose attachment comes next.
    waits: Vec<u8>,
    /// Its last poll waits for the probe.
    polls: bool,
    /// The probe came first.
    probed: bool,
    /// A WebSocket's polling connection.
    partner: Option<usize>,
    /// The begin of a request or frame whose rest has not come yet.
    input: Vec<u8>,
    /// What the kernel did not take; empty in almost every run.
    output: Vec<u8>,
}

/// What comes from a client.
#[derive(Clone, Copy)]
enum Speaks {
    /// Requests; so many have been answered.
    Http(u32),
    WebSocket,
}

impl Limit {
    fn new(mut listener: TcpListener) -> io::Result<Self> {
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            poll,
            listener,
            clients: Slab::new(),
            buffer: vec![0; 128 * 1024],
            frame: Vec::new(),
            rooms: HashMap::new(),
        })
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
                    // Rooms end with the round: leaving each would cost what no server need pay.
                    if self.clients.is_empty() {
                        self.rooms.clear();
                    }
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
                speaks: Speaks::Http(0),
                joined: false,
                waits: Vec::new(),
                polls: false,
                probed: false,
                partner: None,
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
        while let Speaks::Http(answered) = self.clients[id].speaks {
            let Some(end) = request_end(&input[used..]) else { return used };
            let head = &input[used..used + end];
            used += end;
            if head.windows(b"transport=websocket".len()).any(|bytes| bytes == b"transport=websocket") {
                let partner = partner(head);
                self.switch(id, partner);
            } else {
                self.poll(id, answered);
            }
        }
        while let Some((opcode, payload)) = unmask(&mut input[used..]) {
            let payload = used + payload.start..used + payload.end;
            used = payload.end;
            if opcode == BINARY {
                self.attachment(id, &input[payload]);
            } else {
                self.answer(id, &input[payload]);
            }
        }
        used
    }

    /// The open packet follows the answer at once, unless the client polled before: then it will probe.
    fn switch(&mut self, id: usize, partner: Option<usize>) {
        self.clients[id].speaks = Speaks::WebSocket;
        self.clients[id].partner = partner;
        self.frame.clear();
        self.frame.extend_from_slice(SWITCHED);
        if partner.is_none() {
            append_frame(&mut self.frame, TEXT, &[open(id).as_bytes()]);
        }
        self.reply(id);
    }

    /// A client polls always in the same order: open, post, the answer to CONNECT, and the poll that its probe ends.
    fn poll(&mut self, id: usize, answered: u32) {
        self.clients[id].speaks = Speaks::Http(answered + 1);
        match answered {
            0 => self.respond(id, open(id).as_bytes()),
            1 => self.respond(id, b"ok"),
            2 => self.respond(id, connected(id).as_bytes()),
            _ if self.clients[id].probed => self.respond(id, b"6"),
            _ => self.clients[id].polls = true,
        }
    }

    /// A WebSocket probes: the poll of the same client is released.
    fn probe(&mut self, id: usize) {
        frame(&mut self.frame, TEXT, &[b"3probe"]);
        self.reply(id);
        let Some(partner) = self.clients[id].partner else { return };
        let Some(polling) = self.clients.get_mut(partner) else { return };
        polling.probed = true;
        if std::mem::take(&mut polling.polls) {
            self.respond(partner, b"6");
        }
    }

    fn respond(&mut self, id: usize, body: &[u8]) {
        self.frame.clear();
        write!(self.frame, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).ok();
        self.frame.extend_from_slice(body);
        self.reply(id);
    }

    fn answer(&mut self, id: usize, packet: &[u8]) {
        if packet.starts_with(b"42[\"b\"") {
            self.broadcast(&[packet]);
        } else if packet.starts_with(b"451-") {
            self.clients[id].waits = packet.to_vec();
        } else if let Some(rest) = packet.strip_prefix(b"42[\"to\",\"")
            && let Some(end) = rest.iter().position(|byte| *byte == b'"')
        {
            frame(&mut self.frame, TEXT, &[b"42[\"b\"", &rest[end + 1..]]);
            self.emit(&rest[..end]);
        } else if let Some((ack, event)) = ack_request(packet) {
            self.event(id, ack, event);
        } else if packet.starts_with(b"40") {
            self.clients[id].joined = true;
            frame(&mut self.frame, TEXT, &[connected(id).as_bytes()]);
            self.reply(id);
        } else if packet == b"2probe" {
            self.probe(id);
        }
    }

    /// An event whose ack is asked for: `["<name>",…]`.
    fn event(&mut self, id: usize, ack: &[u8], event: &[u8]) {
        if let Some(data) = event.strip_prefix(b"[\"ack\",") {
            frame(&mut self.frame, TEXT, &[b"43", ack, b"[", data]);
        } else if let Some(data) = event.strip_prefix(b"[\"timed\",") {
            let began = Instant::now();
            self.broadcast(&[b"42[\"b\",", data]);
            let took = began.elapsed().as_nanos().to_string();
            frame(&mut self.frame, TEXT, &[b"43", ack, b"[", took.as_bytes(), b"]"]);
        } else {
            let joins = event.starts_with(b"[\"join\"");
            let name = event.split(|byte| *byte == b'"').nth(3).unwrap_or_default();
            if name == b"r" {
                self.clients[id].joined = joins;
            } else {
                let room = self.rooms.entry(name.to_vec()).or_default();
                room.retain(|member| *member != id);
                if joins {
                    room.push(id);
                }
            }
            frame(&mut self.frame, TEXT, &[b"43", ack, b"[true]"]);
        }
        self.reply(id);
    }

    fn attachment(&mut self, id: usize, data: &[u8]) {
        let packet = std::mem::take(&mut self.clients[id].waits);
        frame(&mut self.frame, TEXT, &[&packet]);
        append_frame(&mut self.frame, BINARY, &[data]);
        self.write_to_all();
    }

    fn broadcast(&mut self, packet: &[&[u8]]) {
        frame(&mut self.frame, TEXT, packet);
        self.write_to_all();
    }

    fn write_to_all(&mut self) {
        let registry = self.poll.registry();
        for (id, client) in self.clients.iter_mut().filter(|(_, client)| client.joined) {
            client.write(registry, id, &self.frame);
        }
    }

    /// To a room, or to the one socket whose id this is.
    fn emit(&mut self, room: &[u8]) {
        let own = std::str::from_utf8(room).ok().filter(|id| id.len() == SID_LEN);
        let own = own.and_then(|id| id.parse().ok());
        let members = match &own {
            Some(id) => std::slice::from_ref(id),
            None => self.rooms.get(room).map(Vec::as_slice).unwrap_or_default(),
        };
        for &id in members {
            if let Some(client) = self.clients.get_mut(id) {
                client.write(self.poll.registry(), id, &self.frame);
            }
        }
    }

    /// Writes what is in `frame`.
    fn reply(&mut self, id: usize) {
        self.clients[id].write(self.poll.registry(), id, &self.frame);
    }
}

/// The session that a request for a WebSocket names.
fn partner(head: &[u8]) -> Option<usize> {
    let (_, rest) = std::str::from_utf8(head).ok()?.split_once("&sid=")?;
    rest.get(..SID_LEN)?.parse().ok()
}

fn open(id: usize) -> String {
    format!("0{{\"sid\":\"{id:0SID_LEN$}{OPEN}")
}

fn connected(id: usize) -> String {
    format!("40{{\"sid\":\"{id:0SID_LEN$}\"}}")
}

/// Where the first request ends, its body with it.
fn request_end(input: &[u8]) -> Option<usize> {
    let end = input.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
    if !input.starts_with(b"POST") {
        return Some(end);
    }
    let head = std::str::from_utf8(&input[..end]).ok()?;
    let (_, rest) = head.split_once("Content-Length: ")?;
    let end = end + rest.split("\r\n").next()?.parse::<usize>().ok()?;
    (input.len() >= end).then_some(end)
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

const TEXT: u8 = 1;
const BINARY: u8 = 2;

/// Unmasks the first frame of `input` in place when it is complete: its opcode and where its payload lies.
fn unmask(input: &mut [u8]) -> Option<(u8, Range<usize>)> {
    let opcode = *input.first()? & 0x0f;
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
    Some((opcode, payload))
}

/// The ack id and the event of `42<id>["<name>",…]`.
fn ack_request(packet: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = packet.strip_prefix(b"42")?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (digits > 0).then(|| rest.split_at(digits))
}

/// One frame alone.
fn frame(out: &mut Vec<u8>, opcode: u8, parts: &[&[u8]]) {
    out.clear();
    append_frame(out, opcode, parts);
}

fn append_frame(out: &mut Vec<u8>, opcode: u8, parts: &[&[u8]]) {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    out.push(0x80 | opcode);
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(len @ ..126), _) => out.push(len),
        (_, Ok(len)) => {
            out.push(126);
            out.extend_from_slice(&len.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    for part in parts {
        out.extend_from_slice(part);
    }
}
