//! `patio::serve`: an HTTP/1.1 server for those who do not bring one.
//!
//! Connections come from [`Acceptor`], go through hyper with one task each, and their requests to the user's
//! service, usually a [`Server`](crate::Server) or an axum router around it. A connection that becomes a WebSocket
//! leaves here: its task ends and the service has the stream.

use std::{
    error::Error,
    fmt, io,
    net::SocketAddr,
    pin::{Pin, pin},
    time::Duration,
};

use http::{Request, Response};
use http_body::Body;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioTimer;
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::{Semaphore, watch},
    time::timeout,
};
use tower_service::Service;

use crate::http::{
    accept::{Accepted, Acceptor},
    remote_addr::RemoteAddr,
};

type BoxError = Box<dyn Error + Send + Sync>;
type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Connections that the kernel completes while we are busy. Its own limit, `net.core.somaxconn`, is usually 4096.
const BACKLOG: u32 = 4096;

/// What Node allows a request's line and headers. More than 100 headers are refused too, by hyper.
const MAX_HEADER_SIZE: usize = 16 * 1024;

/// The most that one connection's reads and writes collect, instead of hyper's 400 kB.
const MAX_BUFFER_SIZE: usize = 64 * 1024;

/// Listens on `addr` with a backlog that survives a storm of reconnecting clients (4096) and takes over an address
/// that was in use until just now (`SO_REUSEADDR`). Port 0 takes any free port.
///
/// # Errors
///
/// If the address cannot be bound.
///
/// # Panics
///
/// Outside of a tokio runtime.
pub fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = match addr {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // On Windows this would let another process take the port away.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

/// Serves `service` over HTTP/1.1 and WebSocket on `listener`, until the signal of
/// [`with_graceful_shutdown`](Serve::with_graceful_shutdown), else for ever.
///
/// Each request has a [`RemoteAddr`](crate::RemoteAddr) in its extensions. The service is cloned for every request.
/// TCP connections are set to send without delay (`TCP_NODELAY`). Headers of a request may have 16 KiB, and there may
/// be 100 of them; otherwise the answer is 431.
///
/// Nothing happens until the result is awaited. It does not fail today.
pub fn serve<S>(listener: TcpListener, service: S) -> Serve<S> {
    Serve {
        listener,
        service,
        header_read_timeout: Duration::from_secs(10),
        // As long as a session may be silent by default: a phone is without a network for some time.
        write_timeout: Duration::from_secs(45),
        max_connections: Semaphore::MAX_PERMITS,
        signal: Box::pin(std::future::pending()),
        drain: Box::pin(std::future::ready(())),
        shutdown_timeout: Duration::from_secs(10),
    }
}

/// A server that starts when it is awaited, from [`serve`].
#[must_use = "a server does nothing until it is awaited"]
pub struct Serve<S> {
    listener: TcpListener,
    service: S,
    header_read_timeout: Duration,
    write_timeout: Duration,
    max_connections: usize,
    signal: BoxFuture<()>,
    drain: BoxFuture<()>,
    shutdown_timeout: Duration,
}

/// What connection tasks are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Serving,
    /// Finish the request at hand.
    Draining,
    /// End now.
    Ending,
}

impl<S> Serve<S> {
    /// Stops when `signal` completes: accepts no more connections, closes idle ones, and waits for requests in flight
    /// and for [`drain`](Self::drain), at most for the [`shutdown_timeout`](Self::shutdown_timeout).
    pub fn with_graceful_shutdown(mut self, signal: impl Future<Output = ()> + Send + 'static) -> Self {
        self.signal = Box::pin(signal);
        self
    }

    /// What is left to do after the signal, while requests in flight end: usually to close the Socket.IO server, which
    /// ends its long polls and WebSockets. Default: nothing.
    pub fn drain(mut self, drain: impl Future<Output = ()> + Send + 'static) -> Self {
        self.drain = Box::pin(drain);
        self
    }

    /// How long a shutdown may take. Then connections are cut. Default: 10 seconds.
    pub fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.shutdown_timeout = timeout;
        self
    }

    /// How long a client may take for the headers of a request, and how long a connection may be idle before its next
    /// request. Default: 10 seconds. Requests that are being answered, such as long polls, are not limited by this.
    pub fn header_read_timeout(mut self, timeout: Duration) -> Self {
        self.header_read_timeout = timeout;
        self
    }

    /// How long a client may take nothing at all of an answer that is being sent to it. Then its connection is closed.
    /// Default: 45 seconds, as long as a session may be silent. WebSockets are not limited by this; their queues and
    /// heartbeats are.
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.write_timeout = timeout;
        self
    }

    /// How many connections may be open at a time, WebSockets included; at least 1. More are not refused, they wait
    /// for a place. Default: as many as the process may have file descriptors.
    pub fn max_connections(mut self, max_connections: usize) -> Self {
        self.max_connections = max_connections;
        self
    }
}

impl<S, B> IntoFuture for Serve<S>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Output = io::Result<()>;
    type IntoFuture = BoxFuture<io::Result<()>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(run(self))
    }
}

impl<S> fmt::Debug for Serve<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve")
            .field("listener", &self.listener)
            .field("header_read_timeout", &self.header_read_timeout)
            .field("write_timeout", &self.write_timeout)
            .field("max_connections", &self.max_connections)
            .field("shutdown_timeout", &self.shutdown_timeout)
            .finish_non_exhaustive()
    }
}

async fn run<S, B>(serve: Serve<S>) -> io::Result<()>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(serve.header_read_timeout)
        .max_header_size(MAX_HEADER_SIZE)
        .max_buf_size(MAX_BUFFER_SIZE);
    let acceptor = Acceptor::new(serve.listener, serve.max_connections, serve.write_timeout);
    // Each task has a receiver, so that the sender knows when the last one has ended.
    let phase = watch::Sender::new(Phase::Serving);

    let mut signal = serve.signal;
    loop {
        let (connection, peer) = tokio::select! {
            biased;
            () = &mut signal => break,
            accepted = acceptor.accept() => accepted,
        };
        let task = connect(http.clone(), connection, peer, serve.service.clone(), phase.subscribe());
        // Boxed, because hyper's wakers keep a finished task's own memory until the socket has another.
        tokio::spawn(Box::pin(task));
    }

    drop(acceptor);
    phase.send_replace(Phase::Draining);
    let drained = async { tokio::join!(serve.drain, phase.closed()) };
    if timeout(serve.shutdown_timeout, drained).await.is_err() {
        tracing::warn!(connections = phase.receiver_count(), "cutting connections that outlast the shutdown");
        phase.send_replace(Phase::Ending);
        phase.closed().await;
    }
    Ok(())
}

/// One connection, until it is closed or upgraded.
async fn connect<S, B>(
    http: http1::Builder,
    connection: Accepted,
    peer: SocketAddr,
    service: S,
    mut phase: watch::Receiver<Phase>,
) where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone,
    S::Error: Into<BoxError>,
    B: Body + 'static,
    B::Error: Into<BoxError>,
{
    let respond = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(RemoteAddr(peer));
        let mut service = service.clone();
        async move {
            std::future::poll_fn(|cx| service.poll_ready(cx)).await?;
            service.call(request).await
        }
    });
    let mut connection = pin!(http.serve_connection(connection, respond).with_upgrades());
    let mut may_hear_more = true;
    loop {
        let told = tokio::select! {
            biased;
            result = &mut connection => {
                if let Err(error) = result {
                    tracing::debug!(%peer, %error, "connection ended with an error");
                }
                return;
            }
            changed = phase.changed(), if may_hear_more => changed.map(|()| *phase.borrow_and_update()),
        };
        // Without a sender, the server's future was dropped before its end.
        may_hear_more = told.is_ok();
        match told {
            Ok(Phase::Serving) => {}
            Ok(Phase::Draining) | Err(_) => connection.as_mut().graceful_shutdown(),
            Ok(Phase::Ending) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::Body, routing::get};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
        sync::mpsc,
    };

    use super::*;
    use crate::http::accept::Place;

    /// Upgrades requests for `/upgrade` and sends their streams to the receiver; answers those for `/` with `ok`.
    fn upgrading() -> (Router, mpsc::UnboundedReceiver<(TcpStream, Place)>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let upgrade = async move |mut request: Request<Body>| {
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let parts = upgrade.await.unwrap().downcast::<Accepted>().ok().unwrap();
                sender.send(parts.io.into_parts()).unwrap();
            });
            let response = Response::builder().status(101).header("connection", "upgrade");
            response.header("upgrade", "test").body(Body::empty()).unwrap()
        };
        (Router::new().route("/", get(async || "ok")).route("/upgrade", get(upgrade)), receiver)
    }

    async fn read_until(stream: &mut TcpStream, end: &str) -> String {
        let mut read = String::new();
        while !read.ends_with(end) {
            read.push(stream.read_u8().await.unwrap().into());
        }
        read
    }

    #[tokio::test]
    async fn an_upgraded_connection_is_handed_over_and_keeps_its_place() {
        let listener = listen(([127, 0, 0, 1], 0).into()).unwrap();
        let addr = listener.local_addr().unwrap();
        let (service, mut upgraded) = upgrading();
        let server = tokio::spawn(serve(listener, service).max_connections(1).into_future());

        let mut client = TcpStream::connect(addr).await.unwrap();
        let request = "GET /upgrade HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: test\r\n\r\n";
        client.write_all(request.as_bytes()).await.unwrap();
        assert!(read_until(&mut client, "\r\n\r\n").await.starts_with("HTTP/1.1 101 "));
        let (mut stream, place) = upgraded.recv().await.unwrap();
        assert!(stream.nodelay().unwrap());
        stream.write_all(b"raw").await.unwrap();
        read_until(&mut client, "raw").await;

        // The second connection is open for the kernel, but nobody answers until the first one's place is free.
        let mut second = TcpStream::connect(addr).await.unwrap();
        second.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(second.try_read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop((stream, place));
        read_until(&mut second, "\r\n\r\nok").await;
        server.abort();
    }
}
