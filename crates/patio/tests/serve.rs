//! `patio::serve` over real sockets: what clients get, and how it ends.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Extension, Router, routing::get};
use patio::RemoteAddr;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Notify, oneshot},
    task::JoinHandle,
};

const GET: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
const HOLD: &str = "GET /hold HTTP/1.1\r\nhost: x\r\n\r\n";

/// A service with two routes: `/` answers with the client's address, `/hold` waits to be let go.
#[derive(Clone, Default)]
struct Routes {
    /// Requests that `/hold` has got.
    held: Arc<Notify>,
    let_go: Arc<Notify>,
}

impl Routes {
    fn router(&self) -> Router {
        let Self { held, let_go } = self.clone();
        let hold = async move || {
            held.notify_one();
            let_go.notified().await;
            "held"
        };
        let address = async |Extension(RemoteAddr(peer)): Extension<RemoteAddr>| peer.to_string();
        Router::new().route("/", get(address)).route("/hold", get(hold))
    }
}

fn bind() -> (TcpListener, SocketAddr) {
    let listener = patio::listen(([127, 0, 0, 1], 0).into()).unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// Starts a server that stops when the sender is used or dropped.
fn start(
    routes: &Routes,
    timeout: Duration,
) -> (SocketAddr, oneshot::Sender<()>, JoinHandle<io::Result<()>>) {
    let (listener, addr) = bind();
    let (stop, stopped) = oneshot::channel();
    let serve = patio::serve(listener, routes.router())
        .with_graceful_shutdown(async { drop(stopped.await) })
        .shutdown_timeout(timeout);
    (addr, stop, tokio::spawn(serve.into_future()))
}

async fn open(addr: SocketAddr, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    stream.read_to_end(&mut read).await.unwrap();
    String::from_utf8(read).unwrap()
}

async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut read = String::new();
    while !read.ends_with(end) {
        read.push(stream.read_u8().await.unwrap().into());
    }
    read
}

const LONG: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn requests_know_their_clients_address() {
    let (addr, _stop, _) = start(&Routes::default(), LONG);
    let mut client = open(addr, GET).await;
    let own = client.local_addr().unwrap().to_string();
    let response = read_until(&mut client, &own).await;
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    // Again on the same connection.
    client.write_all(GET.as_bytes()).await.unwrap();
    read_until(&mut client, &own).await;
}

#[tokio::test]
async fn a_shutdown_waits_for_requests_in_flight_and_no_others() {
    let routes = Routes::default();
    let (addr, stop, server) = start(&routes, LONG);
    let mut silent = open(addr, "").await;
    let mut idle = open(addr, GET).await;
    let own = idle.local_addr().unwrap().to_string();
    read_until(&mut idle, &own).await;
    let mut held = open(addr, HOLD).await;
    routes.held.notified().await;

    stop.send(()).unwrap();
    assert_eq!(read_to_end(&mut idle).await, "");
    assert_eq!(read_to_end(&mut silent).await, "");
    assert_eq!(TcpStream::connect(addr).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    assert!(!server.is_finished());

    routes.let_go.notify_one();
    assert!(read_to_end(&mut held).await.ends_with("\r\n\r\nheld"));
    server.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_shutdown_cuts_what_outlasts_its_deadline() {
    let routes = Routes::default();
    let (addr, stop, server) = start(&routes, Duration::from_millis(50));
    let mut held = open(addr, HOLD).await;
    routes.held.notified().await;
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
    assert_eq!(read_to_end(&mut held).await, "");
}

#[tokio::test]
async fn a_shutdown_drains_the_service_once_no_more_connections_come() {
    let routes = Routes::default();
    let (listener, addr) = bind();
    let (stop, stopped) = oneshot::channel::<()>();
    let let_go = Arc::clone(&routes.let_go);
    let serve = patio::serve(listener, routes.router())
        .with_graceful_shutdown(async { drop(stopped.await) })
        .drain(async move {
            TcpStream::connect(addr).await.unwrap_err();
            let_go.notify_one();
        })
        .shutdown_timeout(LONG);
    let server = tokio::spawn(serve.into_future());
    let mut held = open(addr, HOLD).await;
    routes.held.notified().await;
    stop.send(()).unwrap();
    assert!(read_to_end(&mut held).await.ends_with("held"));
    server.await.unwrap().unwrap();
}

#[tokio::test]
async fn connections_end_after_their_request_when_the_server_is_dropped() {
    let routes = Routes::default();
    let (addr, _stop, server) = start(&routes, LONG);
    let mut held = open(addr, HOLD).await;
    routes.held.notified().await;
    server.abort();
    assert!(server.await.unwrap_err().is_cancelled());
    routes.let_go.notify_one();
    assert!(read_to_end(&mut held).await.ends_with("held"));
}

#[tokio::test]
async fn a_closed_connection_gives_its_place_to_the_next() {
    let (listener, addr) = bind();
    let answered = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&answered);
    let router =
        Router::new().route("/", get(async move || format!("n={};", count.fetch_add(1, Ordering::Relaxed))));
    tokio::spawn(patio::serve(listener, router).max_connections(1).into_future());
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(open(addr, GET).await);
    }
    for (n, mut client) in clients.into_iter().enumerate() {
        read_until(&mut client, &format!("n={n};")).await;
        assert_eq!(answered.load(Ordering::Relaxed), n + 1);
    }
}
