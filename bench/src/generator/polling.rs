//! The begin of a client that polls, as browsers do by default, until its upgrade.
//!
//! Over one connection that is kept alive: a GET opens the session, a POST carries CONNECT, and GETs poll. As soon as
//! the session is open the WebSocket is opened beside it and probed. When the probe is answered, no further poll is
//! sent, and once none is under way the client upgrades.

use std::{
    io::{ErrorKind, Read, Write},
    mem,
};

use anyhow::{Context, bail, ensure};
use mio::{Token, net::TcpStream};

use super::{
    clip,
    connection::Phase,
    http,
    network::{Network, sid},
    request,
};

/// The client's connection for polling.
pub(super) struct Polling {
    stream: TcpStream,
    step: Step,
    /// The session's id.
    session: String,
    /// What came of an answer.
    input: Vec<u8>,
    /// The answer to CONNECT came.
    joined: bool,
    /// The answer to the probe came.
    probed: bool,
}

/// What is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Connecting,
    Opening,
    Posting,
    Polling,
}

/// Marks the event tokens of these connections.
const MARK: usize = 1 << (usize::BITS - 2);

/// The client, if the event is of its connection for polling.
pub(super) fn client(token: Token) -> Option<usize> {
    (token.0 & MARK != 0).then_some(token.0 & !MARK)
}

/// The token of the events of its connection for polling.
pub(super) fn token(client: usize) -> Token {
    Token(client | MARK)
}

impl Polling {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            step: Step::Connecting,
            session: String::new(),
            input: Vec::new(),
            joined: false,
            probed: false,
        }
    }

    pub(super) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Requests are far smaller than the kernel's buffer.
    fn send(&mut self, request: &[u8], step: Step) -> anyhow::Result<()> {
        let written = self.stream.write(request).context("write")?;
        ensure!(written == request.len(), "the kernel does not take a request of {} bytes", request.len());
        self.step = step;
        Ok(())
    }
}

/// The connection is writable or readable. Says whether the client has upgraded, and is in the namespace.
pub(super) fn ready(network: &mut Network, buffer: &mut [u8], client: usize) -> anyhow::Result<bool> {
    let target = network.target();
    let Some(polling) = network.get_mut(client).and_then(|it| it.polling.as_mut()) else { return Ok(false) };
    if polling.step == Step::Connecting {
        if let Some(error) = polling.stream.take_error()? {
            return Err(error).context("connect");
        }
        polling.send(&request::poll(target, ""), Step::Opening)?;
    }
    loop {
        let Some(polling) = network.get_mut(client).and_then(|it| it.polling.as_mut()) else {
            return Ok(false);
        };
        let is_drained = match polling.stream.read(buffer) {
            Ok(0) => bail!("the server closed the connection"),
            Ok(n) => {
                polling.input.extend_from_slice(&buffer[..n]);
                n < buffer.len()
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(e) => return Err(e).context("read"),
        };
        if let Some(body) = http::body(&polling.input)? {
            ensure!(body.end == polling.input.len(), "more than one answer to one request");
            let input = mem::take(&mut polling.input);
            let text = std::str::from_utf8(&input[body]).context("an answer that is no text")?;
            if answered(network, client, text)? {
                return Ok(true);
            }
        }
        // A server that answers at once would keep this here, while its WebSocket has long said something.
        if is_drained {
            return Ok(false);
        }
    }
}

/// An answer is complete. Says as [`ready`] does.
fn answered(network: &mut Network, client: usize, text: &str) -> anyhow::Result<bool> {
    let target = network.target();
    let connection = network.get_mut(client).context("no such client")?;
    let polling = connection.polling.as_mut().context("it does not poll")?;
    match polling.step {
        Step::Connecting => bail!("an answer to no request"),
        Step::Opening => {
            ensure!(text.starts_with('0'), "not the open packet: `{}`", clip(text));
            polling.session = sid(text)?.to_owned();
            polling.send(&request::post(target, &polling.session, "40"), Step::Posting)?;
            let upgrade = request::websocket(target, &polling.session);
            network.upgrade(client, &upgrade)?;
            return Ok(false);
        }
        Step::Posting => ensure!(text == "ok", "not `ok`: `{}`", clip(text)),
        Step::Polling => {
            let mut pinged = false;
            for packet in text.split('\u{1e}') {
                match packet.as_bytes() {
                    [b'4', b'0', ..] => {
                        polling.joined = true;
                        connection.sid = sid(packet)?.into();
                    }
                    b"2" => pinged = true,
                    b"6" => {}
                    _ => bail!("the server sent `{}`", clip(packet)),
                }
            }
            if pinged {
                let pong = request::post(target, &polling.session, "3");
                polling.send(&pong, Step::Posting)?;
                return Ok(false);
            }
        }
    }
    if polling.probed {
        return upgraded(network, client);
    }
    let poll = request::poll(target, &polling.session);
    polling.send(&poll, Step::Polling)?;
    Ok(false)
}

/// The server answered the probe. A poll that is under way comes back first.
pub(super) fn probed(network: &mut Network, client: usize) -> anyhow::Result<()> {
    let connection = network.get_mut(client).context("no such client")?;
    ensure!(matches!(connection.phase, Phase::Probing), "an answer to no probe");
    connection.polling.as_mut().context("it does not poll")?.probed = true;
    Ok(())
}

fn upgraded(network: &mut Network, client: usize) -> anyhow::Result<bool> {
    let connection = network.get_mut(client).context("no such client")?;
    let mut polling = connection.polling.take().context("it does not poll")?;
    connection.phase = Phase::Joining;
    network.deregister(polling.stream());
    network.send(client, "5");
    if polling.joined {
        network.arrived(client)?;
    }
    Ok(polling.joined)
}
