//! A WebSocket as packets: the stream under it, its decoder, and the probe of an upgrade.

use std::{
    cell::Cell,
    future::poll_fn,
    io::{self, Read as _},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use patio_proto::{
    Text,
    encode::Form,
    engine::{Packet, session::Probe},
    ws::{self, CloseFrame, Message, Role},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
    time::{Instant, MissedTickBehavior, interval, timeout_at},
};

use crate::engine::{
    Application, control, deflate,
    session::{Session, Sink},
};
#[cfg(feature = "serve")]
use crate::http::accept::{Accepted, Place};

/// What one read may bring. One buffer a thread serves all connections: an idle one holds none.
const READ: usize = 64 * 1024;

/// How many reads of what a peer still sends behind its end go on before others run.
const READS_OF_THE_END: usize = 8;

/// The most bytes that wait to be written to a stream which only the driver may write.
const WRITE: usize = 64 * 1024;

/// The most messages of a candidate: a probe and its `5`, and some control frames of a proxy perhaps. Each costs as much
/// as all that was read with it, so thousands of tiny ones would hold a core.
const PROBE_MESSAGES: usize = 16;

/// How often a waiting poll is released while a candidate is being probed, as in Node.
const RELEASE: Duration = Duration::from_millis(100);

/// Any stream that is not a plain TCP stream: TLS, a Unix socket, a test's pipe.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A WebSocket after its handshake.
pub(crate) struct Stream {
    io: Io,
    decoder: ws::Decoder,
    /// What the peer inflates from, where the handshake agreed on permessage-deflate.
    window: Option<deflate::Window>,
    /// What the HTTP server had read already behind the request.
    early: Bytes,
    /// Its place among the connections of [`serve`](crate::serve()), held for as long as it lives.
    #[cfg(feature = "serve")]
    place: Option<Place>,
}

enum Io {
    Tcp(Arc<TcpStream>),
    Boxed { stream: Box<dyn Duplex>, out: Vec<u8>, written: usize },
}

/// What a read brought.
pub(in crate::engine) enum Read<'a> {
    Bytes(&'a mut [u8]),
    End,
}

thread_local! {
    /// The read buffer of this thread; taken while in use, so that a nested poll finds none and makes its own.
    static BUFFER: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

/// The thread's read buffer, given back when dropped.
pub(in crate::engine) struct Buffer(Option<Box<[u8]>>);

impl Buffer {
    pub(in crate::engine) fn take() -> Self {
        Self(Some(BUFFER.take().unwrap_or_else(|| vec![0; READ].into_boxed_slice())))
    }

    pub(in crate::engine) fn bytes(&mut self) -> &mut [u8] {
        self.0.as_deref_mut().unwrap_or_default()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        BUFFER.set(self.0.take());
    }
}

impl Stream {
    /// A WebSocket on a plain TCP stream.
    pub(crate) fn tcp(stream: TcpStream, early: Bytes, max_message: usize) -> Self {
        // Small packets must not wait for the peer's delayed acknowledgement: without this, a server accepts some
        // thirty WebSocket clients a second. A stream that refuses is dead, and the first read says so.
        let _ = stream.set_nodelay(true);
        Self::new(Io::Tcp(Arc::new(stream)), early, max_message)
    }

    /// A WebSocket on any other stream.
    pub(crate) fn boxed(stream: Box<dyn Duplex>, early: Bytes, max_message: usize) -> Self {
        let io = Io::Boxed { stream, out: Vec::new(), written: 0 };
        Self::new(io, early, max_message)
    }

    fn new(io: Io, early: Bytes, max_message: usize) -> Self {
        // Even an empty handle pins the HTTP server's read buffer: 8 KiB a connection.
        let early = if early.is_empty() { Bytes::new() } else { early };
        Self {
            io,
            decoder: ws::Decoder::new(Role::Server, max_message),
            window: None,
            early,
            #[cfg(feature = "serve")]
            place: None,
        }
    }

    /// The same stream, whose handshake agreed on permessage-deflate or did not.
    pub(in crate::engine) fn deflated(mut self, window: Option<deflate::Window>) -> Self {
        if window.is_some() {
            self.decoder = deflate::decoder(self.decoder);
            self.window = window;
        }
        self
    }

    /// What the peer inflates from, where the handshake agreed on permessage-deflate.
    pub(in crate::engine) fn window(&self) -> Option<deflate::Window> {
        self.window
    }

    /// The peer's address, where the stream knows it.
    pub(in crate::engine) fn peer(&self) -> Option<SocketAddr> {
        match &self.io {
            Io::Tcp(stream) => stream.peer_addr().ok(),
            Io::Boxed { .. } => None,
        }
    }

    /// Where a session's packets leave on this stream.
    pub(crate) fn sink(&self) -> Sink {
        match &self.io {
            Io::Tcp(stream) => Sink::Tcp(Arc::clone(stream)),
            Io::Boxed { .. } => Sink::Driver,
        }
    }

    /// The next bytes from the peer, in `buffer`.
    pub(in crate::engine) fn poll_read<'a>(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &'a mut [u8],
    ) -> Poll<io::Result<Read<'a>>> {
        if !self.early.is_empty() {
            let early = self.early.split_to(self.early.len().min(buffer.len()));
            let bytes = &mut buffer[..early.len()];
            bytes.copy_from_slice(&early);
            if self.early.is_empty() {
                // What is left of it is a handle that pins the HTTP server's whole buffer.
                self.early = Bytes::new();
            }
            return Poll::Ready(Ok(Read::Bytes(bytes)));
        }
        let read = match &mut self.io {
            Io::Tcp(stream) => loop {
                std::task::ready!(stream.poll_read_ready(cx))?;
                match read_tcp(stream, buffer) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    done => break done?,
                }
            },
            Io::Boxed { stream, .. } => {
                let mut target = ReadBuf::new(buffer);
                std::task::ready!(Pin::new(stream).poll_read(cx, &mut target))?;
                target.filled().len()
            }
        };
        Poll::Ready(Ok(if read == 0 { Read::End } else { Read::Bytes(&mut buffer[..read]) }))
    }

    /// The next message in `bytes`; `None` when they are used up.
    pub(in crate::engine) fn decode(&mut self, bytes: &mut &mut [u8]) -> Result<Option<Message>, ws::Error> {
        self.decoder.decode(bytes)
    }

    /// Waits until the stream takes more. Only for a stream that anyone may write.
    pub(in crate::engine) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.io {
            // An error is found by the write that follows.
            Io::Tcp(stream) => stream.poll_write_ready(cx).map(|_| ()),
            Io::Boxed { .. } => Poll::Ready(()),
        }
    }

    /// Writes what the session has for a stream that only the driver may write. Ready when there is nothing left.
    pub(in crate::engine) fn poll_write<A: Application>(
        &mut self,
        session: &Session<A>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let Io::Boxed { stream, out, written } = &mut self.io else { return Poll::Ready(Ok(())) };
        loop {
            if *written == out.len() {
                *written = 0;
                out.clear();
                session.drain_into(out, WRITE);
                if out.is_empty() {
                    // An idle connection holds no buffer.
                    *out = Vec::new();
                    return Pin::new(stream).poll_flush(cx);
                }
            }
            let took = std::task::ready!(Pin::new(&mut *stream).poll_write(cx, &out[*written..]))?;
            if took == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *written += took;
        }
    }

    /// Tells the peer that no more will come. Ready at once where the kernel does it.
    pub(in crate::engine) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.io {
            Io::Tcp(stream) => {
                // A stream that is gone already has nobody to tell.
                let _ = socket2::SockRef::from(&**stream).shutdown(std::net::Shutdown::Write);
                Poll::Ready(())
            }
            Io::Boxed { stream, .. } => Pin::new(stream).poll_shutdown(cx).map(|_| ()),
        }
    }

    /// Writes a few bytes while nobody else does: during an upgrade's probe.
    async fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        use tokio::io::AsyncWriteExt;
        match &mut self.io {
            Io::Tcp(stream) => {
                let mut left = bytes;
                while !left.is_empty() {
                    stream.writable().await?;
                    match stream.try_write(left) {
                        Ok(took) => left = &left[took..],
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok(())
            }
            Io::Boxed { stream, .. } => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
        }
    }

    /// Reads and forgets until the peer ends the stream: closing while bytes are unread would reset the connection,
    /// and the peer might lose what was written last.
    pub(in crate::engine) fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut buffer = Buffer::take();
        for _ in 0..READS_OF_THE_END {
            match std::task::ready!(self.poll_read(cx, buffer.bytes())) {
                Ok(Read::Bytes(_)) => {}
                Ok(Read::End) | Err(_) => return Poll::Ready(()),
            }
        }
        // There is more, and others run first.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Ends a WebSocket that no session uses: an empty close frame, then the end of the stream.
    pub(crate) async fn close(mut self, close: Option<CloseFrame>) {
        let frame = control::close_frame(close.as_ref());
        // A peer that does not take six bytes, or does not end its side, is not waited for.
        let _ = timeout_at(Instant::now() + Duration::from_secs(1), async {
            if self.say(&frame).await.is_ok() {
                poll_fn(|cx| self.poll_shutdown(cx)).await;
                poll_fn(|cx| self.poll_discard(cx)).await;
            }
        })
        .await;
    }
}

/// Whether the kernel announces again what comes after a read that did not fill its buffer: with epoll and kqueue.
const ANNOUNCES_MORE: bool =
    cfg!(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_vendor = "apple"));

/// One read. One that does not fill the buffer has emptied the socket, so the next waits for new readiness instead of
/// asking the kernel for nothing: one system call less for each message. Behind a byte of TCP's urgent data, which no
/// client sends, a read ends early: what follows waits for what comes next.
fn read_tcp(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let mut short = None;
    let read = stream.try_io(Interest::READABLE, || {
        let read = (&*socket2::SockRef::from(stream)).read(buffer)?;
        if ANNOUNCES_MORE && (1..buffer.len()).contains(&read) {
            short = Some(read);
            // What became ready since is not forgotten, nor is the end of the stream.
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(read)
    });
    short.map_or(read, Ok)
}

/// The stream of a request that was answered with 101; `None` if its connection ended before.
///
/// A plain TCP stream is taken out of what the HTTP server wrapped around it: then anyone may write to it.
pub(in crate::engine) async fn upgraded(upgrade: OnUpgrade, max_message: usize) -> Option<Stream> {
    let upgraded = upgrade.await.ok()?;
    let upgraded = match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => return Some(Stream::tcp(parts.io.into_inner(), parts.read_buf, max_message)),
        Err(upgraded) => upgraded,
    };
    #[cfg(feature = "serve")]
    let upgraded = match upgraded.downcast::<Accepted>() {
        Ok(parts) => {
            let (stream, place) = parts.io.into_parts();
            let mut stream = Stream::tcp(stream, parts.read_buf, max_message);
            stream.place = Some(place);
            return Some(stream);
        }
        Err(upgraded) => upgraded,
    };
    // `axum::serve` speaks HTTP/1 and 2 on one port, and wraps the stream once more to tell them apart.
    match hyper_util::server::conn::auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded) {
        Ok(parts) => Some(Stream::tcp(parts.io.into_inner(), parts.read_buf, max_message)),
        Err(upgraded) => Some(Stream::boxed(Box::new(TokioIo::new(upgraded)), Bytes::new(), max_message)),
    }
}

/// Lets a WebSocket take over a polling session: the client probes it, gets its last poll answered, and says `5`.
/// Whatever goes wrong ends the candidate only; the session stays on its transport.
pub(in crate::engine) async fn upgrade<A: Application>(
    session: Arc<Session<A>>,
    mut stream: Stream,
    until: Instant,
) {
    let candidate = Candidate { session: &session };
    let mut last = None;
    match timeout_at(until, candidate.probe(&mut stream)).await {
        Ok(Ok(())) => match session.switch(Box::new(stream)) {
            Ok(()) => return,
            Err((unused, said)) => {
                stream = *unused;
                // A peer that does not take it in time is let go without it.
                let _ = timeout_at(until, stream.say(&said)).await;
            }
        },
        Ok(Err(Unfit(close))) => last = close,
        Err(_) => {}
    }
    drop(candidate);
    stream.close(last).await;
}

/// A WebSocket that is being probed. Dropped before it took over, it makes room for another one.
struct Candidate<'a, A: Application> {
    session: &'a Arc<Session<A>>,
}

/// A candidate that may not take over, and the close frame that it is let go with.
struct Unfit(Option<CloseFrame>);

impl<A: Application> Candidate<'_, A> {
    /// Resolves when the candidate may take over. What the peer sent behind its `5` stays in the stream.
    async fn probe(&self, stream: &mut Stream) -> Result<(), Unfit> {
        let mut release = interval(RELEASE);
        release.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut probed = false;
        let mut messages = 0;
        loop {
            tokio::select! {
                _ = release.tick() => {
                    if self.session.is_over() {
                        return Err(Unfit(None));
                    }
                    if probed {
                        self.session.release_poll();
                    }
                }
                message = stream.next_message() => {
                    let message = message?;
                    messages += 1;
                    if messages > PROBE_MESSAGES {
                        return Err(Unfit(None));
                    }
                    let packet = match message {
                        Message::Text(text) => Packet::decode_text(self.session.protocol(), text),
                        Message::Binary(bytes) => Packet::decode_binary(self.session.protocol(), bytes),
                        Message::Ping(data) => {
                            if stream.say(&pong(&data)).await.is_err() {
                                return Err(Unfit(None));
                            }
                            continue;
                        }
                        Message::Pong(_) => continue,
                        Message::Close(close) => return Err(Unfit(close)),
                    };
                    let Ok(packet) = packet else { return Err(Unfit(None)) };
                    match self.session.probe(&packet) {
                        Probe::Answer => {
                            let answer = control::probe();
                            if stream.say(answer.bytes(Form::WsV4)).await.is_err() {
                                return Err(Unfit(None));
                            }
                            probed = true;
                            release.reset_immediately();
                        }
                        Probe::Switch => return Ok(()),
                        Probe::Abandon => return Err(Unfit(None)),
                    }
                }
            }
        }
    }
}

impl<A: Application> Drop for Candidate<'_, A> {
    fn drop(&mut self) {
        self.session.abandon_upgrade();
    }
}

impl Stream {
    /// The next message, for a stream that no driver reads yet. What was read behind it waits for the next call.
    async fn next_message(&mut self) -> Result<Message, Unfit> {
        poll_fn(|cx| {
            let mut buffer = Buffer::take();
            loop {
                let bytes = match std::task::ready!(self.poll_read(cx, buffer.bytes())) {
                    Ok(Read::Bytes(bytes)) => bytes,
                    Ok(Read::End) | Err(_) => return Poll::Ready(Err(Unfit(None))),
                };
                let mut rest = bytes;
                match self.decoder.decode(&mut rest) {
                    Ok(Some(message)) => {
                        self.put_back(rest);
                        return Poll::Ready(Ok(message));
                    }
                    Ok(None) => {}
                    Err(error) => {
                        let close = CloseFrame { code: error.close_code(), reason: Text::default() };
                        return Poll::Ready(Err(Unfit(Some(close))));
                    }
                }
            }
        })
        .await
    }

    /// Bytes that were read too early, in front of what else waits.
    pub(in crate::engine) fn put_back(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.early = [bytes, &self.early].concat().into();
        }
    }
}

/// The answer to a WebSocket's own ping.
pub(in crate::engine) fn pong(data: &[u8]) -> Bytes {
    let mut frame = Vec::with_capacity(ws::MAX_HEADER + data.len());
    ws::encode(&mut frame, ws::Opcode::Pong, data, None);
    frame.into()
}
