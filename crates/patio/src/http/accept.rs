//! Accepting TCP connections, without losing any and without spinning.
//!
//! [`crate::serve()`] asks the [`Acceptor`] for the next connection and hands it to hyper. After a WebSocket upgrade
//! the engine gets the [`Accepted`] back from hyper and takes the stream out of it.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Sleep, sleep},
};

/// The first and the longest pause after a failed accept. Failures are lack of file descriptors or memory, which only
/// other connections' ends can cure.
const PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// A listener with a limit on the connections that are open at a time. Those beyond it wait in the kernel's backlog.
#[derive(Debug)]
pub(crate) struct Acceptor<L> {
    listener: L,
    write_timeout: Duration,
    /// One permit per open connection; freed by dropping its [`Place`].
    places: Arc<Semaphore>,
}

/// One of the connections that the server may have open, given back when dropped. Whoever holds the stream keeps it.
#[derive(Debug)]
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
}

/// An accepted connection, as hyper reads and writes it.
#[derive(Debug)]
pub(crate) struct Accepted<T = TcpStream> {
    io: TokioIo<T>,
    place: Place,
    /// How long the peer may take nothing of what is written to it.
    write_timeout: Duration,
    /// Runs while it takes nothing. hyper would wait for ever, with the answer and its task.
    stalled: Option<Pin<Box<Sleep>>>,
}

/// What an [`Acceptor`] needs of a listener; tests put in one that fails.
pub(crate) trait Listener {
    type Stream;

    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;
}

impl<L: Listener> Acceptor<L> {
    pub(crate) fn new(listener: L, max_connections: usize, write_timeout: Duration) -> Self {
        let permits = max_connections.clamp(1, Semaphore::MAX_PERMITS);
        Self { listener, write_timeout, places: Arc::new(Semaphore::new(permits)) }
    }

    /// The next connection. Dropping the future loses none.
    pub(crate) async fn accept(&self) -> (Accepted<L::Stream>, SocketAddr) {
        let mut pause = PAUSE.0;
        loop {
            // Never closed, so this only waits.
            let Ok(permit) = Arc::clone(&self.places).acquire_owned().await else {
                return std::future::pending().await;
            };
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    let accepted = Accepted {
                        io: TokioIo::new(stream),
                        place: Place { _permit: permit },
                        write_timeout: self.write_timeout,
                        stalled: None,
                    };
                    return (accepted, peer);
                }
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => {
                    drop(permit);
                    tracing::warn!(%error, ?pause, "cannot accept connections for now");
                    sleep(pause).await;
                    pause = PAUSE.1.min(pause * 2);
                }
            }
        }
    }
}

impl<T> Accepted<T> {
    /// The stream, and its place among the connections, to be dropped with it.
    pub(crate) fn into_parts(self) -> (T, Place) {
        (self.io.into_inner(), self.place)
    }

    /// The outcome of a write; an error when the peer has taken nothing for too long.
    fn unless_stalled<R>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let time = self.write_timeout;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(time)));
        stalled.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = TcpListener::accept(self).await?;
        // With Nagle's algorithm a server accepts some 30 WebSocket clients a second. Fails only if the peer is gone.
        let _ = stream.set_nodelay(true);
        Ok((stream, peer))
    }
}

impl<T> Read for Accepted<T>
where
    TokioIo<T>: Read + Unpin,
    T: Unpin,
{
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<T> Write for Accepted<T>
where
    TokioIo<T>: Write + Unpin,
    T: Unpin,
{
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.unless_stalled(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.unless_stalled(cx, written)
    }
}

/// The peer has left before it was accepted: the next one may be fine.
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::FutureExt;
    use tokio::time::Instant;

    use super::*;

    const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

    const LONG: Duration = Duration::from_secs(3600);

    /// Gives its answers in turn, then waits for ever.
    struct Script(Mutex<Vec<io::Result<()>>>);

    impl Script {
        fn new(answers: impl IntoIterator<Item = io::Result<()>>) -> Self {
            let mut answers: Vec<_> = answers.into_iter().collect();
            answers.reverse();
            Self(Mutex::new(answers))
        }
    }

    impl Listener for Script {
        type Stream = ();

        async fn accept(&self) -> io::Result<((), SocketAddr)> {
            let answer = self.0.lock().unwrap().pop();
            match answer {
                Some(answer) => answer.map(|()| ((), PEER)),
                None => std::future::pending().await,
            }
        }
    }

    fn no_descriptors() -> io::Result<()> {
        Err(io::Error::from_raw_os_error(24))
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_longer_and_longer_while_descriptors_lack() {
        let acceptor =
            Acceptor::new(Script::new((0..11).map(|_| no_descriptors()).chain([Ok(()), Ok(())])), 1, LONG);
        let start = Instant::now();
        let accepted = acceptor.accept().await;
        let doubling: Duration = (0..8).map(|n| PAUSE.0 * 2u32.pow(n)).sum();
        let expected = doubling + 3 * PAUSE.1;
        assert!(start.elapsed() >= expected && start.elapsed() < expected + Duration::from_millis(50));

        // Success starts anew.
        drop(accepted);
        let start = Instant::now();
        acceptor.accept().await;
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_left_delays_nobody() {
        let gone = || Err(io::Error::from(io::ErrorKind::ConnectionAborted));
        let acceptor = Acceptor::new(Script::new([gone(), gone(), Ok(())]), 1, LONG);
        let start = Instant::now();
        acceptor.accept().await;
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test]
    async fn accepts_no_more_than_its_limit() {
        let acceptor = Acceptor::new(Script::new([Ok(()), Ok(()), Ok(())]), 2, LONG);
        let (first, _) = acceptor.accept().await;
        let (_second, _) = acceptor.accept().await;
        let mut third = Box::pin(acceptor.accept());
        assert!((&mut third).now_or_never().is_none());
        let ((), place) = first.into_parts();
        assert!((&mut third).now_or_never().is_none());
        drop(place);
        third.await;
    }
}
