//! One client's connection: how far its handshake is, what is half received and half sent.

use std::{
    io::{self, ErrorKind, Write},
    time::Instant,
};

use mio::net::TcpStream;
use patio_proto::ws;

use super::polling::Polling;

pub(super) struct Connection {
    /// Nothing as long as the client only polls.
    pub(super) stream: Option<TcpStream>,
    /// Until the upgrade.
    pub(super) polling: Option<Box<Polling>>,
    pub(super) phase: Phase,
    pub(super) decoder: ws::Decoder,
    /// When `connect` was called.
    pub(super) begun: Instant,
    /// Frames of this turn, and what the kernel did not take.
    pub(super) output: Vec<u8>,
    /// The kernel's buffer is full; the next writable event goes on.
    pub(super) blocked: bool,
    /// In the list of those that have something to write.
    pub(super) dirty: bool,
    /// The socket's id, when it is known.
    pub(super) sid: Box<str>,
}

/// Where the handshake is.
pub(super) enum Phase {
    /// TCP.
    Connecting,
    /// HTTP: what came of the response.
    Upgrading(Vec<u8>),
    /// Engine.IO: the open packet is awaited.
    Opening,
    /// Engine.IO: a client that was polling has sent its probe.
    Probing,
    /// Socket.IO: the answer to CONNECT is awaited.
    Joining,
    /// In the namespace.
    Ready,
}

/// Longest message of a server.
const MAX_MESSAGE: usize = 1_000_000;

impl Connection {
    pub(super) fn new() -> Self {
        Self {
            stream: None,
            polling: None,
            phase: Phase::Connecting,
            decoder: ws::Decoder::new(ws::Role::Client, MAX_MESSAGE),
            begun: Instant::now(),
            output: Vec::new(),
            blocked: false,
            dirty: false,
            sid: Box::default(),
        }
    }

    /// Writes what is there, in one `write` when the kernel takes it.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        self.blocked = false;
        let mut written = 0;
        while written < self.output.len() {
            match stream.write(&self.output[written..]) {
                Ok(n) => written += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    self.blocked = true;
                    break;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        self.output.drain(..written);
        Ok(())
    }
}
