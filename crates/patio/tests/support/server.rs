//! Servers on loopback sockets: Socket.IO with its disconnects, and a bare Engine.IO echo.

use std::{convert::Infallible, error::Error, net::SocketAddr, ops::Deref, sync::Arc, time::Duration};

use http::Request;
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};

use patio::{
    DisconnectReason, ServerBuilder, Socket,
    engine_io::{self, Client, EngineIo, Message},
};
use tokio::{
    net::{TcpSocket, TcpStream},
    runtime::{Builder, Handle, Runtime},
    sync::{Mutex, Semaphore, mpsc},
    task::JoinHandle,
};
use tower_service::Service;

use super::{
    Connector, Eio, Http, Neighbour, PollingClient, Response, Stream, Watched, WsClient, soon, target,
};

/// A server on a free port of 127.0.0.1; it ends with the test's runtime.
pub(crate) struct Server {
    pub(crate) io: patio::Server,
    net: Net,
    /// Reasons of the disconnects in the main namespace, in their order.
    reasons: Mutex<mpsc::UnboundedReceiver<String>>,
    pub(crate) task: JoinHandle<std::io::Result<()>>,
    /// Where it runs.
    handle: Handle,
    /// Its own runtime, if it has one.
    _apart: Option<Apart>,
}

/// A runtime of one thread that ends when it is dropped, wherever that is.
struct Apart(Option<Runtime>);

impl Drop for Apart {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Server {
    /// Builds and serves a server. `/` is there with a listener for disconnects; clients 1.x and 2.x may come.
    pub(crate) async fn start(builder: ServerBuilder) -> Self {
        Self::serve(builder.allow_eio3(true).build().unwrap()).await
    }

    /// Serves a server that is built already.
    pub(crate) async fn serve(io: patio::Server) -> Self {
        Self::serve_with(io, |serve| serve).await
    }

    /// The same with options of [`patio::serve`].
    pub(crate) async fn serve_with(io: patio::Server, options: impl FnOnce(Served) -> Served) -> Self {
        let reasons = reasons(&io);
        let (net, task) = Net::serve_with(io.service(), options);
        Self { io, net, reasons, task, handle: Handle::current(), _apart: None }
    }

    /// A server in a thread of its own: what the test and its clients compute is not the server's time.
    pub(crate) async fn apart(builder: ServerBuilder) -> Self {
        Self::apart_with(builder, |serve| serve).await
    }

    /// The same with options of [`patio::serve`].
    pub(crate) async fn apart_with(
        builder: ServerBuilder,
        options: impl FnOnce(Served) -> Served + Send + 'static,
    ) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let server = async { Self::serve_with(builder.allow_eio3(true).build().unwrap(), options).await };
        let server = runtime.spawn(server).await.unwrap();
        Self { _apart: Some(Apart(Some(runtime))), ..server }
    }

    /// A server on pipes in memory, which work with paused time. A connection may be ahead of its peer by `buffer`
    /// bytes.
    pub(crate) fn in_memory(builder: ServerBuilder, buffer: usize) -> Self {
        let io = builder.allow_eio3(true).build().unwrap();
        let reasons = reasons(&io);
        let net = Net::in_memory(io.service(), buffer);
        let task = tokio::spawn(std::future::pending());
        Self { io, net, reasons, task, handle: Handle::current(), _apart: None }
    }

    /// An ordinary client, whose round trips are measured from now on.
    pub(crate) async fn neighbour(&self) -> Neighbour {
        Neighbour::of(self, false).await
    }

    /// The same with paused time: its round trips take no time at all.
    pub(crate) async fn timeless_neighbour(&self) -> Neighbour {
        Neighbour::of(self, true).await
    }

    /// The runtime that it runs on.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The reason of the next disconnect in the main namespace.
    pub(crate) async fn reason(&self) -> String {
        soon(async { self.reasons.lock().await.recv().await.unwrap() }).await
    }

    /// Waits until `done` holds; for what is announced by nothing but a counter.
    #[track_caller]
    pub(crate) fn until<'a>(
        &'a self,
        done: impl Fn(&patio::Server) -> bool + 'a,
    ) -> impl Future<Output = ()> + 'a {
        soon(async move {
            while !done(&self.io) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
    }
}

impl Deref for Server {
    type Target = Net;

    fn deref(&self) -> &Net {
        &self.net
    }
}

fn reasons(io: &patio::Server) -> Mutex<mpsc::UnboundedReceiver<String>> {
    let (sender, reasons) = mpsc::unbounded_channel();
    io.on_disconnect(async move |_: Socket, reason: DisconnectReason| {
        // The test may not be interested any more.
        let _ = sender.send(reason.to_string());
    });
    Mutex::new(reasons)
}

/// An Engine.IO server without Socket.IO. It sends every message back.
pub(crate) struct Engine {
    pub(crate) io: EngineIo,
    net: Net,
    /// What happens, in its order.
    events: Mutex<mpsc::UnboundedReceiver<Event>>,
}

/// What an application hears of its clients.
#[derive(Debug)]
pub(crate) enum Event {
    Opened(Client),
    Message(Message),
    Closed(String),
}

impl Engine {
    /// Builds and serves it; clients 1.x and 2.x may come.
    pub(crate) async fn start(builder: ServerBuilder) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let io = builder.allow_eio3(true).build_engine_io(Echo(sender)).unwrap();
        let (net, _) = Net::serve(io.clone());
        Self { io, net, events: Mutex::new(events) }
    }

    /// The same on pipes in memory, for paused time.
    pub(crate) fn in_memory(builder: ServerBuilder, buffer: usize) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let io = builder.allow_eio3(true).build_engine_io(Echo(sender)).unwrap();
        let net = Net::in_memory(io.clone(), buffer);
        Self { io, net, events: Mutex::new(events) }
    }

    /// What happens next.
    #[track_caller]
    pub(crate) fn event(&self) -> impl Future<Output = Event> {
        soon(async { self.events.lock().await.recv().await.unwrap() })
    }

    /// The next client that connects. Nothing else happens before, but that others go.
    pub(crate) async fn client(&self) -> Client {
        loop {
            match self.event().await {
                Event::Opened(client) => return client,
                Event::Closed(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The next text message, which is what happens next.
    #[track_caller]
    pub(crate) fn message(&self) -> impl Future<Output = String> {
        let caller = std::panic::Location::caller();
        async move {
            match self.event().await {
                Event::Message(Message::Text(text)) => text.as_str().to_owned(),
                other => panic!("{other:?} at {caller}"),
            }
        }
    }

    /// Why the next client goes, which is what happens next.
    #[track_caller]
    pub(crate) fn closed(&self) -> impl Future<Output = String> {
        let caller = std::panic::Location::caller();
        async move {
            match self.event().await {
                Event::Closed(reason) => reason,
                other => panic!("{other:?} at {caller}"),
            }
        }
    }
}

impl Deref for Engine {
    type Target = Net;

    fn deref(&self) -> &Net {
        &self.net
    }
}

struct Echo(mpsc::UnboundedSender<Event>);

impl Echo {
    /// The test may not be interested any more.
    fn tell(&self, event: Event) {
        let _ = self.0.send(event);
    }
}

impl engine_io::Handler for Echo {
    fn opened(&self, client: &Client) {
        self.tell(Event::Opened(client.clone()));
    }

    fn message(&self, client: &Client, message: Message) {
        self.tell(Event::Message(message.clone()));
        client.send(message);
    }

    fn closed(&self, _: &Client, reason: DisconnectReason) {
        self.tell(Event::Closed(reason.to_string()));
    }
}

/// What listens at an address, and how to reach it.
pub(crate) struct Net {
    pub(crate) addr: SocketAddr,
    connector: Connector,
    /// One permit for each GET that waits or waited in the server.
    polls: Arc<Semaphore>,
}

/// What can be served.
pub(crate) trait Serve:
    Service<Request<Incoming>, Response = http::Response<Self::Body>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static
{
    type Body: http_body::Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static;
}

impl<S, B> Serve for S
where
    S: Service<Request<Incoming>, Response = http::Response<B>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
    B: http_body::Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    type Body = B;
}

/// A server before it is awaited.
pub(crate) type Served = patio::Serve<Watched<patio::SocketIoService>>;

impl Net {
    /// Serves any service on a free port of 127.0.0.1.
    pub(crate) fn serve(service: impl Serve) -> (Self, JoinHandle<std::io::Result<()>>) {
        Self::serve_with(service, |serve| serve)
    }

    fn serve_with<S: Serve>(
        service: S,
        options: impl FnOnce(patio::Serve<Watched<S>>) -> patio::Serve<Watched<S>>,
    ) -> (Self, JoinHandle<std::io::Result<()>>) {
        let listener = patio::listen(([127, 0, 0, 1], 0).into()).unwrap();
        let addr = listener.local_addr().unwrap();
        let (service, polls) = Watched::new(service);
        let serve = options(patio::serve(listener, service));
        (Self { polls, ..Self::at(addr) }, tokio::spawn(serve.into_future()))
    }

    /// What somebody else serves there.
    pub(crate) fn at(addr: SocketAddr) -> Self {
        let connector: Connector = Arc::new(move || {
            Box::pin(async move {
                let stream = TcpStream::connect(addr).await.unwrap();
                stream.set_nodelay(true).unwrap();
                Box::new(stream) as Stream
            })
        });
        Self { addr, connector, polls: Arc::new(Semaphore::new(0)) }
    }

    /// Serves on pipes in memory, which work with paused time: all that happens is known to the runtime. A connection
    /// may be ahead of its peer by `buffer` bytes.
    fn in_memory(service: impl Serve, buffer: usize) -> Self {
        let (service, polls) = Watched::new(service);
        let connector: Connector = Arc::new(move || {
            let (client, server) = tokio::io::duplex(buffer);
            let service = TowerToHyperService::new(service.clone());
            let connection = http1::Builder::new().serve_connection(TokioIo::new(server), service);
            tokio::spawn(connection.with_upgrades());
            Box::pin(std::future::ready(Box::new(client) as Stream))
        });
        Self { addr: ([0, 0, 0, 0], 0).into(), connector, polls }
    }

    /// How connections are made.
    pub(crate) fn connector(&self) -> Connector {
        Arc::clone(&self.connector)
    }

    /// A connection for raw HTTP.
    pub(crate) async fn http(&self) -> Http {
        Http::new((self.connector)().await)
    }

    /// The same on a TCP connection for which the client's kernel keeps little.
    pub(crate) async fn narrow(&self) -> Http {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        Http::new(socket.connect(self.addr).await.unwrap())
    }

    /// Waits until the next GET waits in the server. Each is told once.
    #[track_caller]
    pub(crate) fn poll_waits(&self) -> impl Future<Output = ()> {
        soon(async { self.polls.acquire().await.unwrap().forget() })
    }

    /// One request on a connection of its own.
    pub(crate) async fn request(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        let mut http = self.http().await;
        http.send(method, target, headers, body).await;
        http.response().await
    }

    /// A GET of `/socket.io/?{query}` on a connection of its own.
    pub(crate) async fn get(&self, query: &str) -> Response {
        self.request("GET", &target(query), &[], b"").await
    }

    /// A session over polling, after its handshake.
    pub(crate) async fn polling(&self, eio: Eio) -> PollingClient {
        self.polling_with(eio, "", &[]).await
    }

    /// The same with more in the query (`&b64=1`) and headers of its requests.
    pub(crate) async fn polling_with(
        &self,
        eio: Eio,
        query: &str,
        headers: &[(&str, &str)],
    ) -> PollingClient {
        PollingClient::open(&self.connector, eio, query, headers).await
    }

    /// A session over WebSocket, after its handshake.
    pub(crate) async fn ws(&self, eio: Eio) -> WsClient {
        self.ws_with(eio, "", &[]).await
    }

    /// The same with more in the query and headers.
    pub(crate) async fn ws_with(&self, eio: Eio, query: &str, headers: &[(&str, &str)]) -> WsClient {
        WsClient::open((self.connector)().await, eio, query, headers).await
    }

    /// A WebSocket for the session `sid`, before its probe.
    pub(crate) async fn candidate(&self, eio: Eio, sid: &str) -> WsClient {
        let target = target(&format!("EIO={}&transport=websocket&sid={sid}", eio.number()));
        self.upgrade(&target, &[]).await.unwrap_or_else(|answer| panic!("{answer:?}"))
    }

    /// A WebSocket handshake; the answer if it is refused.
    pub(crate) async fn upgrade(&self, target: &str, headers: &[(&str, &str)]) -> Result<WsClient, Response> {
        WsClient::handshake((self.connector)().await, target, headers).await
    }
}
