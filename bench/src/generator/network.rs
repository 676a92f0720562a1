//! The open connections and the side of the generator that sends.

use std::{io::ErrorKind, net::SocketAddr, time::Instant};

use anyhow::{Context, ensure};
use mio::{Interest, Registry, Token, net::TcpStream};
use patio_proto::ws;
use slab::Slab;
use socket2::{Domain, Socket, Type};

use super::{
    address::Addresses,
    clip,
    connection::{Connection, Phase},
    polling::{self, Polling},
    request,
};

/// The clients of one run. Ids are handed out from 0 when all were closed before.
pub struct Network {
    registry: Registry,
    target: SocketAddr,
    /// Another server, and how many clients in turn go to the same one.
    second: Option<(SocketAddr, usize)>,
    addresses: Addresses,
    connections: Slab<Connection>,
    /// Connections with something to write at the end of this turn.
    dirty: Vec<usize>,
    ready: usize,
    request: Vec<u8>,
    /// When the bytes that are being worked on were read.
    pub now: Instant,
}

impl Network {
    pub(super) fn new(registry: Registry, target: SocketAddr) -> Self {
        Self {
            registry,
            target,
            second: None,
            addresses: Addresses::fresh(),
            connections: Slab::new(),
            dirty: Vec::new(),
            ready: 0,
            request: request::websocket(target, ""),
            now: Instant::now(),
        }
    }

    /// Has clients go to two servers, so many in turn to each.
    pub fn alternate(&mut self, second: SocketAddr, together: usize) {
        self.second = Some((second, together));
    }

    /// Connections, the unfinished ones too.
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Connections that are in the namespace.
    pub fn ready(&self) -> usize {
        self.ready
    }

    /// When this client's `connect` was called.
    pub fn begun(&self, client: usize) -> Instant {
        self.connections[client].begun
    }

    /// The socket's id.
    pub fn sid(&self, client: usize) -> &str {
        &self.connections[client].sid
    }

    /// Begins one more connection.
    pub fn open(&mut self) -> anyhow::Result<()> {
        let mut stream = self.connect(self.connections.vacant_key())?;
        let entry = self.connections.vacant_entry();
        self.registry.register(&mut stream, Token(entry.key()), Interest::READABLE | Interest::WRITABLE)?;
        let mut connection = Connection::new();
        connection.output.extend_from_slice(&self.request);
        connection.stream = Some(stream);
        entry.insert(connection);
        Ok(())
    }

    /// Begins one more client, with polling.
    pub fn open_polling(&mut self) -> anyhow::Result<()> {
        let mut stream = self.connect(self.connections.vacant_key())?;
        let entry = self.connections.vacant_entry();
        let token = polling::token(entry.key());
        self.registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        let mut connection = Connection::new();
        connection.polling = Some(Box::new(Polling::new(stream)));
        entry.insert(connection);
        Ok(())
    }

    /// The same client opens its WebSocket with this request.
    pub(super) fn upgrade(&mut self, client: usize, request: &[u8]) -> anyhow::Result<()> {
        let mut stream = self.connect(client)?;
        self.registry.register(&mut stream, Token(client), Interest::READABLE | Interest::WRITABLE)?;
        let connection = &mut self.connections[client];
        connection.output.extend_from_slice(request);
        connection.stream = Some(stream);
        Ok(())
    }

    /// A connection of this client that will be writable.
    fn connect(&mut self, client: usize) -> anyhow::Result<TcpStream> {
        let target = match self.second {
            Some((second, together)) if client / together % 2 == 1 => second,
            _ => self.target,
        };
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).context("socket")?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        let source = self.addresses.next_address();
        socket.bind(&SocketAddr::from((source, 0)).into()).with_context(|| format!("bind {source}"))?;
        match socket.connect(&target.into()) {
            // EINPROGRESS: the writable event says when.
            Err(e)
                if e.raw_os_error() != Some(nix::libc::EINPROGRESS) && e.kind() != ErrorKind::WouldBlock =>
            {
                Err(e).with_context(|| format!("connect to {target}"))
            }
            _ => Ok(TcpStream::from_std(socket.into())),
        }
    }

    /// Sends one Engine.IO packet as a text frame; it leaves at the end of the turn.
    pub fn send(&mut self, client: usize, packet: &str) {
        self.send_frame(client, ws::Opcode::Text, packet.as_bytes());
    }

    /// Sends one frame; it leaves at the end of the turn.
    pub fn send_frame(&mut self, client: usize, opcode: ws::Opcode, payload: &[u8]) {
        let Some(connection) = self.connections.get_mut(client) else { return };
        ws::encode(&mut connection.output, opcode, payload, Some(fastrand::u32(..).to_ne_bytes()));
        if !connection.dirty {
            connection.dirty = true;
            self.dirty.push(client);
        }
    }

    /// Writes what was sent outside of any turn, and at the end of each.
    pub fn flush(&mut self) -> anyhow::Result<()> {
        while let Some(id) = self.dirty.pop() {
            let Some(connection) = self.connections.get_mut(id) else { continue };
            connection.dirty = false;
            if !connection.blocked {
                connection.flush().with_context(|| format!("client {id}: write"))?;
            }
        }
        Ok(())
    }

    /// Closes all connections.
    pub fn close_all(&mut self) {
        for (_, connection) in &mut self.connections {
            if let Some(stream) = &mut connection.stream {
                self.registry.deregister(stream).ok();
            }
            if let Some(polling) = &mut connection.polling {
                self.registry.deregister(polling.stream()).ok();
            }
        }
        self.connections.clear();
        self.dirty.clear();
        self.ready = 0;
    }

    pub(super) fn get_mut(&mut self, client: usize) -> Option<&mut Connection> {
        self.connections.get_mut(client)
    }

    pub(super) fn target(&self) -> SocketAddr {
        self.target
    }

    pub(super) fn deregister(&self, stream: &mut TcpStream) {
        self.registry.deregister(stream).ok();
    }

    pub(super) fn writable(&mut self, client: usize) -> anyhow::Result<()> {
        let Some(connection) = self.connections.get_mut(client) else { return Ok(()) };
        if matches!(connection.phase, Phase::Connecting) {
            if let Some(error) = connection.stream.as_ref().and_then(|stream| stream.take_error().transpose())
            {
                return Err(error?).with_context(|| format!("client {client}: connect"));
            }
            connection.phase = Phase::Upgrading(Vec::new());
        }
        if connection.output.is_empty() {
            return Ok(());
        }
        connection.flush().with_context(|| format!("client {client}: write"))
    }

    /// The server has switched to WebSocket: a session that is open is probed, a new one sends its open packet.
    pub(super) fn switched(&mut self, client: usize) {
        let connection = &mut self.connections[client];
        if connection.polling.is_some() {
            connection.phase = Phase::Probing;
            self.send(client, "2probe");
        } else {
            connection.phase = Phase::Opening;
        }
    }

    /// The Engine.IO open packet came: asks for the namespace.
    pub(super) fn opened(&mut self, client: usize) -> anyhow::Result<()> {
        let connection = &mut self.connections[client];
        ensure!(matches!(connection.phase, Phase::Opening), "a second open packet");
        connection.phase = Phase::Joining;
        self.send(client, "40");
        Ok(())
    }

    /// The namespace answered.
    pub(super) fn joined(&mut self, client: usize, connect: &str) -> anyhow::Result<()> {
        self.connections[client].sid = sid(connect)?.into();
        self.arrived(client)
    }

    /// The client is in the namespace, by WebSocket.
    pub(super) fn arrived(&mut self, client: usize) -> anyhow::Result<()> {
        let connection = &mut self.connections[client];
        ensure!(matches!(connection.phase, Phase::Joining), "a second CONNECT");
        connection.phase = Phase::Ready;
        self.ready += 1;
        Ok(())
    }
}

/// The id in the open packet of Engine.IO and in the CONNECT of Socket.IO: `{"sid":"…"`, with which both begin.
pub(super) fn sid(packet: &str) -> anyhow::Result<&str> {
    let id = packet.split_once("{\"sid\":\"").and_then(|(_, rest)| rest.split_once('"'));
    Ok(id.with_context(|| format!("no id in `{}`", clip(packet)))?.0)
}
