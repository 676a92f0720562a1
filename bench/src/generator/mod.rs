//! The load generator: many Socket.IO clients over WebSocket in one thread of epoll.
//!
//! A [`Generator`] polls and reads; what arrives goes to the [`Traffic`] of the scenario, which sends through the
//! [`Network`]. Pings are answered here, from the first byte on, also while a handshake is under way. One read per
//! readable socket into one shared buffer, one write per socket and turn: the server shall get the machine.
//! Clients that begin with polling have a second connection for it (`polling`) until they have upgraded.

mod address;
mod connection;
mod http;
mod network;
mod polling;
mod request;

use std::{
    io::{ErrorKind, Read},
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use mio::{Events, Poll};
use patio_proto::ws;

use connection::Phase;
pub use network::Network;

/// What a scenario does with what arrives.
pub trait Traffic {
    /// The client is connected to the namespace `/`.
    fn connected(&mut self, network: &mut Network, client: usize) -> anyhow::Result<()> {
        let _ = (network, client);
        Ok(())
    }

    /// A Socket.IO packet other than CONNECT, with the Engine.IO digit in front: `42["b",…]`.
    fn packet(&mut self, network: &mut Network, client: usize, text: &str) -> anyhow::Result<()>;

    /// An attachment of the packet before it.
    fn attachment(&mut self, _: &mut Network, client: usize, data: &[u8]) -> anyhow::Result<()> {
        bail!("client {client} got {} bytes that nobody sent", data.len())
    }
}

/// Expects nothing: a packet that nobody waits for is an error.
pub struct Silence;

impl Traffic for Silence {
    fn packet(&mut self, _: &mut Network, client: usize, text: &str) -> anyhow::Result<()> {
        bail!("client {client} got `{}` out of turn", clip(text))
    }
}

/// The clients, and the one loop that serves them.
pub struct Generator {
    poll: Poll,
    events: Events,
    /// A read that does not fill it has emptied the socket, so that one read per event suffices.
    buffer: Vec<u8>,
    network: Network,
}

/// Handshakes that are under way at any time while a scenario opens its connections.
const OPENING: usize = 64;
/// How clients come into the namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By WebSocket from the begin.
    WebSocket,
    /// By polling; they are there when they have upgraded.
    Upgrade,
}
/// Nothing at all for so long while something is awaited: it was lost.
const STALLED: Duration = Duration::from_secs(15);

impl Generator {
    /// Clients of the server at `target`; none is open yet.
    pub fn new(target: SocketAddr) -> anyhow::Result<Self> {
        let poll = Poll::new().context("epoll")?;
        let network = Network::new(poll.registry().try_clone()?, target);
        Ok(Self { poll, events: Events::with_capacity(1024), buffer: vec![0; 256 * 1024], network })
    }

    /// The connections, to send on.
    pub fn network(&mut self) -> &mut Network {
        &mut self.network
    }

    /// Opens connections until `total` are connected to the namespace, some at a time.
    pub fn open(&mut self, total: usize, way: Way, traffic: &mut impl Traffic) -> anyhow::Result<()> {
        self.open_so_many_at_once(OPENING, total, way, traffic)
    }

    /// Opens them all at once.
    pub fn open_at_once(&mut self, total: usize, traffic: &mut impl Traffic) -> anyhow::Result<()> {
        self.open_so_many_at_once(total, total, Way::WebSocket, traffic)
    }

    fn open_so_many_at_once(
        &mut self,
        many: usize,
        total: usize,
        way: Way,
        traffic: &mut impl Traffic,
    ) -> anyhow::Result<()> {
        while self.network.ready() < total {
            while self.network.len() < total && self.network.len() - self.network.ready() < many {
                match way {
                    Way::WebSocket => self.network.open()?,
                    Way::Upgrade => self.network.open_polling()?,
                }
            }
            self.step(traffic).context("while connecting")?;
        }
        Ok(())
    }

    /// Serves the connections for this time.
    pub fn serve_for(&mut self, time: Duration, traffic: &mut impl Traffic) -> anyhow::Result<()> {
        let end = Instant::now() + time;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            self.turn(traffic, left)?;
        }
        Ok(())
    }

    /// Serves what is readable now, or waits for it; nothing at all for some time is an error.
    pub fn step(&mut self, traffic: &mut impl Traffic) -> anyhow::Result<()> {
        ensure!(self.turn(traffic, STALLED)?, "nothing came for {STALLED:?}: lost");
        Ok(())
    }

    /// Serves what is readable now, or waits for it for so long. Whether anything was.
    pub fn turn(&mut self, traffic: &mut impl Traffic, patience: Duration) -> anyhow::Result<bool> {
        match self.poll.poll(&mut self.events, Some(patience)) {
            Err(e) if e.kind() == ErrorKind::Interrupted => return Ok(true),
            done => done.context("epoll")?,
        }
        for event in &self.events {
            if let Some(client) = polling::client(event.token()) {
                if polling::ready(&mut self.network, &mut self.buffer, client)
                    .with_context(|| format!("client {client}, polling"))?
                {
                    self.network.now = Instant::now();
                    traffic.connected(&mut self.network, client)?;
                }
                self.network.flush()?;
                continue;
            }
            let client = event.token().0;
            if event.is_writable() {
                self.network.writable(client)?;
            }
            if event.is_readable() || event.is_read_closed() || event.is_error() {
                read(&mut self.network, &mut self.buffer, traffic, client, event.is_read_closed())
                    .with_context(|| format!("client {client}"))?;
                self.network.flush()?;
            }
        }
        Ok(!self.events.is_empty())
    }
}

fn read(
    network: &mut Network,
    buffer: &mut [u8],
    traffic: &mut impl Traffic,
    client: usize,
    is_closed: bool,
) -> anyhow::Result<()> {
    loop {
        let Some(connection) = network.get_mut(client) else { return Ok(()) };
        let Some(stream) = &mut connection.stream else { return Ok(()) };
        let n = match stream.read(buffer) {
            Ok(0) => bail!("the server closed the connection"),
            Ok(n) => n,
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(e) => return Err(e).context("read"),
        };
        let mut input = &mut buffer[..n];
        if let Phase::Upgrading(response) = &mut connection.phase {
            let Some(rest) = request::check_response(response, input)? else { return Ok(()) };
            let from = input.len() - rest;
            input = &mut input[from..];
            network.switched(client);
        }
        network.now = Instant::now();
        while let Some(connection) = network.get_mut(client) {
            let Some(message) = connection.decoder.decode(&mut input)? else { break };
            match message {
                ws::Message::Text(text) => take(network, traffic, client, &text)?,
                ws::Message::Binary(data) => traffic.attachment(network, client, &data)?,
                ws::Message::Ping(data) => network.send_frame(client, ws::Opcode::Pong, &data),
                ws::Message::Pong(_) => {}
                other => bail!("the server sent {other:?}"),
            }
        }
        // The end of a stream announces itself once, with what came before it.
        if n < buffer.len() && !is_closed {
            return Ok(());
        }
    }
}

/// One Engine.IO packet.
fn take(network: &mut Network, traffic: &mut impl Traffic, client: usize, text: &str) -> anyhow::Result<()> {
    match text.as_bytes() {
        [b'4', b'2' | b'3' | b'5', ..] => traffic.packet(network, client, text),
        b"3probe" => polling::probed(network, client),
        b"2" => {
            network.send(client, "3");
            Ok(())
        }
        [b'0', ..] => network.opened(client),
        [b'4', b'0', ..] => {
            network.joined(client, text)?;
            traffic.connected(network, client)
        }
        _ => bail!("the server sent `{}`", clip(text)),
    }
}

/// The begin of a text, for an error.
pub(crate) fn clip(text: &str) -> &str {
    text.get(..60).unwrap_or(text)
}
