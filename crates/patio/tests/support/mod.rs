//! A server on a loopback socket and raw clients for it, shared by the boundary tests.
//!
//! The clients know HTTP/1.1, WebSocket frames and Engine.IO's payloads, and nothing else: what they send and what they
//! get are the packets as they are on the wire, so that tests can send anything. Nothing is answered by itself, pings
//! neither. Every wait ends after [`PATIENCE`], so that a test fails instead of hanging.
//!
//! ```ignore
//! #[expect(dead_code, reason = "each test file uses a part")]
//! mod support;
//!
//! let server = Server::start(patio::Server::builder()).await;
//! let mut ws = server.ws(V4).await;                 // the handshake is done: ws.open
//! let sid = ws.join("/").await;                     // 40 … 40{"sid":…}
//! ws.send("42[\"hello\"]").await;
//! assert_eq!(ws.text().await, "42[\"world\"]");
//! let mut polling = server.polling(V4).await;       // the same methods, over polling
//! ```

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use patio::{DisconnectReason, ServerBuilder, Socket};
use patio_proto::{
    Text,
    ws::{self, Role, handshake::Key},
};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::{Mutex, mpsc},
    task::JoinHandle,
};

/// The longest that anything in a test is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Waits for what must happen soon.
#[track_caller]
pub(crate) fn soon<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(PATIENCE, future).await {
            Ok(output) => output,
            Err(_) => panic!("nothing happened within {PATIENCE:?} at {caller}"),
        }
    }
}

/// A revision of Engine.IO, as the query says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Eio {
    V3,
    V4,
}
pub(crate) use Eio::{V3, V4};

impl Eio {
    pub(crate) fn number(self) -> u8 {
        match self {
            V3 => 3,
            V4 => 4,
        }
    }
}

/// A server on a free port of 127.0.0.1; it ends with the test's runtime.
pub(crate) struct Server {
    pub(crate) io: patio::Server,
    pub(crate) addr: SocketAddr,
    /// Reasons of the disconnects in the main namespace, in their order.
    reasons: Mutex<mpsc::UnboundedReceiver<String>>,
    pub(crate) task: JoinHandle<std::io::Result<()>>,
}

impl Server {
    /// Builds and serves a server. `/` is there with a listener for disconnects; clients 1.x and 2.x may come.
    pub(crate) async fn start(builder: ServerBuilder) -> Self {
        Self::serve(builder.allow_eio3(true).build().unwrap()).await
    }

    /// Serves a server that is built already.
    pub(crate) async fn serve(io: patio::Server) -> Self {
        let (sender, reasons) = mpsc::unbounded_channel();
        io.on_disconnect(async move |_: Socket, reason: DisconnectReason| {
            // The test may not be interested any more.
            let _ = sender.send(reason.to_string());
        });
        let listener = patio::listen(([127, 0, 0, 1], 0).into()).unwrap();
        let addr = listener.local_addr().unwrap();
        let task = tokio::spawn(patio::serve(listener, io.service()).into_future());
        Self { io, addr, reasons: Mutex::new(reasons), task }
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

    /// One request on a connection of its own.
    pub(crate) async fn request(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        let mut http = Http::connect(self.addr).await;
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
        PollingClient::open(self.addr, eio, query, headers).await
    }

    /// A session over WebSocket, after its handshake.
    pub(crate) async fn ws(&self, eio: Eio) -> WsClient {
        self.ws_with(eio, "", &[]).await
    }

    /// The same with more in the query and headers.
    pub(crate) async fn ws_with(&self, eio: Eio, query: &str, headers: &[(&str, &str)]) -> WsClient {
        let stream = TcpStream::connect(self.addr).await.unwrap();
        WsClient::open(stream, eio, query, headers).await
    }

    /// A WebSocket for the session `sid`, before its probe.
    pub(crate) async fn candidate(&self, eio: Eio, sid: &str) -> WsClient {
        let target = target(&format!("EIO={}&transport=websocket&sid={sid}", eio.number()));
        self.upgrade(&target, &[]).await.unwrap_or_else(|answer| panic!("{answer:?}"))
    }

    /// A WebSocket handshake; the answer if it is refused.
    pub(crate) async fn upgrade(&self, target: &str, headers: &[(&str, &str)]) -> Result<WsClient, Response> {
        WsClient::handshake(TcpStream::connect(self.addr).await.unwrap(), target, headers).await
    }
}

/// The target of a request to the engine.
pub(crate) fn target(query: &str) -> String {
    format!("/socket.io/?{query}")
}

/// An HTTP/1.1 connection that stays open from request to request.
pub(crate) struct Http<S = TcpStream> {
    pub(crate) stream: S,
    buffer: Vec<u8>,
}

/// An answer with its whole body.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Names are lower-case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Status and body, for a comparison in one line.
    #[track_caller]
    pub(crate) fn brief(&self) -> (u16, &str) {
        (self.status, self.text())
    }
}

impl Http {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        Self::new(TcpStream::connect(addr).await.unwrap())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Http<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// Sends a request. A body comes with its `Content-Length`.
    pub(crate) async fn send(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) {
        let mut request = format!("{method} {target} HTTP/1.1\r\nhost: localhost\r\n").into_bytes();
        for (name, value) in headers {
            request.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        if !body.is_empty() || method == "POST" {
            request.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
        }
        request.extend_from_slice(b"\r\n");
        request.extend_from_slice(body);
        self.send_raw(&request).await;
    }

    /// Sends bytes as they are. A peer that has closed already is found by the next read.
    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) {
        let _ = soon(self.stream.write_all(bytes)).await;
    }

    /// The next answer.
    #[track_caller]
    pub(crate) fn response(&mut self) -> impl Future<Output = Response> {
        soon(async { self.read().await.expect("an answer") })
    }

    /// The next answer; `None` if the connection ends instead.
    pub(crate) async fn response_or_end(&mut self) -> Option<Response> {
        soon(self.read()).await
    }

    async fn read(&mut self) -> Option<Response> {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if self.more().await == 0 {
                return None;
            }
        };
        let head: Vec<u8> = self.buffer.drain(..end).collect();
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
            .collect();
        let mut response = Response { status, headers, body: Vec::new() };
        assert_eq!(response.header("transfer-encoding"), None, "the server knows its bodies' length");
        let length: usize = response.header("content-length").map_or(0, |length| length.parse().unwrap());
        while self.buffer.len() < length {
            assert_ne!(self.more().await, 0, "the body was cut");
        }
        response.body = self.buffer.drain(..length).collect();
        Some(response)
    }

    async fn more(&mut self) -> usize {
        self.stream.read_buf(&mut self.buffer).await.unwrap_or(0)
    }
}

/// What a client gets: the packet's text, its type digit included, or the bytes of a binary message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    Text(String),
    Binary(Vec<u8>),
}

impl From<&str> for Packet {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

/// What goes on over either transport.
macro_rules! packets {
    () => {
        /// The next packet, which must be text.
        #[track_caller]
        pub(crate) fn text(&mut self) -> impl Future<Output = String> {
            let caller = std::panic::Location::caller();
            async move {
                match self.next().await {
                    Packet::Text(text) => text,
                    other => panic!("{other:?} at {caller}"),
                }
            }
        }

        /// The next packet, which must be binary.
        #[track_caller]
        pub(crate) fn binary(&mut self) -> impl Future<Output = Vec<u8>> {
            let caller = std::panic::Location::caller();
            async move {
                match self.next().await {
                    Packet::Binary(bytes) => bytes,
                    other => panic!("{other:?} at {caller}"),
                }
            }
        }

        /// Connects to a namespace, or, with revision 3, to `/` without a word. Returns the socket's id.
        #[track_caller]
        pub(crate) fn join(&mut self, nsp: &str) -> impl Future<Output = String> {
            let caller = std::panic::Location::caller();
            let prefix = if nsp == "/" { "40".to_owned() } else { format!("40{nsp},") };
            async move {
                if self.eio == V4 || prefix != "40" {
                    self.send(&prefix).await;
                }
                let answer = self.text().await;
                let data = answer.strip_prefix(&prefix).unwrap_or_else(|| panic!("{answer} at {caller}"));
                match self.eio {
                    V4 => json(data)["sid"].as_str().unwrap().to_owned(),
                    V3 if prefix == "40" => self.sid().to_owned(),
                    V3 => format!("{}#{}", prefix[2..].trim_end_matches(','), self.sid()),
                }
            }
        }

        /// The session id.
        pub(crate) fn sid(&self) -> &str {
            self.open["sid"].as_str().unwrap()
        }
    };
}

/// JSON of a text.
#[track_caller]
pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A session over polling: one connection for its GETs, one for its POSTs.
pub(crate) struct PollingClient {
    pub(crate) eio: Eio,
    /// The data of the open packet.
    pub(crate) open: Value,
    /// The answer to the handshake.
    pub(crate) handshake: Response,
    addr: SocketAddr,
    query: String,
    headers: Vec<(String, String)>,
    pub(crate) gets: Http,
    pub(crate) posts: Http,
    received: VecDeque<Packet>,
}

impl PollingClient {
    async fn open(addr: SocketAddr, eio: Eio, query: &str, headers: &[(&str, &str)]) -> Self {
        let query = format!("EIO={}&transport=polling{query}", eio.number());
        let mut gets = Http::connect(addr).await;
        gets.send("GET", &target(&query), headers, b"").await;
        let handshake = gets.response().await;
        assert_eq!(handshake.status, 200, "{handshake:?}");
        let mut received: VecDeque<_> = split(eio, &handshake).into();
        let open = match received.pop_front() {
            Some(Packet::Text(open)) if open.starts_with('0') => json(&open[1..]),
            other => panic!("no open packet: {other:?}"),
        };
        let headers = headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let posts = Http::connect(addr).await;
        Self { eio, open, handshake, addr, query, headers, gets, posts, received }
    }

    packets!();

    /// The target of this session's requests.
    pub(crate) fn target(&self) -> String {
        target(&format!("{}&sid={}", self.query, self.sid()))
    }

    /// Sends a GET without waiting for its answer, which [`Self::polled`] gives.
    pub(crate) async fn start_poll(&mut self) {
        let target = self.target();
        let headers: Vec<_> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        self.gets.send("GET", &target, &headers, b"").await;
    }

    /// The answer to [`Self::start_poll`].
    #[track_caller]
    pub(crate) fn polled(&mut self) -> impl Future<Output = Response> {
        self.gets.response()
    }

    /// A GET and its answer.
    pub(crate) async fn poll(&mut self) -> Response {
        self.start_poll().await;
        self.polled().await
    }

    /// A second GET, on a connection of its own.
    pub(crate) async fn other_poll(&self) -> Response {
        let mut http = Http::connect(self.addr).await;
        http.send("GET", &self.target(), &[], b"").await;
        http.response().await
    }

    /// Gives up the GET that waits: its connection is closed, the next one uses another.
    pub(crate) async fn abort_poll(&mut self) {
        self.gets = Http::connect(self.addr).await;
    }

    /// A POST of a body as it is.
    pub(crate) async fn post(&mut self, body: impl AsRef<[u8]>) -> Response {
        self.post_with(&[("content-type", "text/plain;charset=UTF-8")], body).await
    }

    /// A POST with headers.
    pub(crate) async fn post_with(&mut self, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Response {
        let target = self.target();
        self.posts.send("POST", &target, headers, body.as_ref()).await;
        self.posts.response().await
    }

    /// Sends one text packet, its type digit included.
    pub(crate) async fn send(&mut self, packet: &str) {
        let body = match self.eio {
            V4 => packet.to_owned(),
            V3 => format!("{}:{packet}", packet.encode_utf16().count()),
        };
        assert_eq!(self.post(body).await.brief(), (200, "ok"));
    }

    /// Sends one binary message.
    pub(crate) async fn send_binary(&mut self, bytes: &[u8]) {
        let mut body = Vec::new();
        match self.eio {
            V4 => patio_proto::engine::payload::base64_chunk(&mut body, bytes),
            V3 => patio_proto::engine::v3::base64_chunk(&mut body, bytes),
        }
        assert_eq!(self.post(body).await.brief(), (200, "ok"));
    }

    /// The next packet: polls until there is one.
    pub(crate) async fn next(&mut self) -> Packet {
        while self.received.is_empty() {
            let answer = self.poll().await;
            assert_eq!(answer.status, 200, "{answer:?}");
            self.received.extend(split(self.eio, &answer));
        }
        self.received.pop_front().unwrap()
    }
}

/// The packets of a payload, as the clients read it.
#[track_caller]
pub(crate) fn split(eio: Eio, answer: &Response) -> Vec<Packet> {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let decode = |base64: &str| Packet::Binary(BASE64_STANDARD.decode(base64).unwrap());
    if eio == V4 {
        return answer
            .text()
            .split('\u{1e}')
            .map(|packet| packet.strip_prefix('b').map_or_else(|| packet.into(), decode))
            .collect();
    }
    let mut packets = Vec::new();
    if answer.header("content-type") == Some("application/octet-stream") {
        let mut rest = &answer.body[..];
        while let [form, tail @ ..] = rest {
            let digits = tail.iter().position(|&byte| byte == 0xff).unwrap();
            let length = tail[..digits].iter().fold(0, |length, &digit| length * 10 + usize::from(digit));
            let (packet, others) = tail[digits + 1..].split_at(length);
            packets.push(match (form, packet) {
                (0, text) => std::str::from_utf8(text).unwrap().into(),
                (1, [4, bytes @ ..]) => Packet::Binary(bytes.to_vec()),
                other => panic!("{other:?}"),
            });
            rest = others;
        }
        return packets;
    }
    let mut rest: Vec<u16> = answer.text().encode_utf16().collect();
    while let Some(colon) = rest.iter().position(|&unit| unit == u16::from(b':')) {
        let length: usize = String::from_utf16(&rest[..colon]).unwrap().parse().unwrap();
        let packet = String::from_utf16(&rest[colon + 1..colon + 1 + length]).unwrap();
        packets.push(packet.strip_prefix("b4").map_or_else(|| packet.as_str().into(), decode));
        rest.drain(..colon + 1 + length);
    }
    packets
}

/// A session over WebSocket, or a WebSocket that is about to take one over.
pub(crate) struct WsClient<S = TcpStream> {
    pub(crate) eio: Eio,
    /// The data of the open packet; null for a candidate.
    pub(crate) open: Value,
    /// The headers of the 101.
    pub(crate) handshake: Response,
    pub(crate) stream: S,
    decoder: ws::Decoder,
    buffer: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WsClient<S> {
    /// A session on a stream: WebSocket handshake and open packet.
    pub(crate) async fn open(stream: S, eio: Eio, query: &str, headers: &[(&str, &str)]) -> Self {
        let target = target(&format!("EIO={}&transport=websocket{query}", eio.number()));
        let mut client =
            Self::handshake(stream, &target, headers).await.unwrap_or_else(|answer| panic!("{answer:?}"));
        client.eio = eio;
        let open = client.text().await;
        client.open = json(open.strip_prefix('0').expect("an open packet"));
        client
    }

    /// The WebSocket handshake; the answer if it is refused.
    pub(crate) async fn handshake(
        stream: S,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Result<Self, Response> {
        let mut http = Http::new(stream);
        let mut request = Vec::new();
        let key = Key::from_random(*b"not random at al");
        ws::handshake::request(&mut request, "localhost", target, &key, headers).unwrap();
        http.send_raw(&request).await;
        let handshake = http.response().await;
        if handshake.status != 101 {
            return Err(handshake);
        }
        assert_eq!(handshake.header("sec-websocket-accept"), Some(ACCEPT));
        Ok(Self {
            eio: if target.contains("EIO=4") { V4 } else { V3 },
            open: Value::Null,
            handshake,
            stream: http.stream,
            decoder: ws::Decoder::new(Role::Client, usize::MAX),
            buffer: http.buffer,
        })
    }

    packets!();

    /// Sends a text frame.
    pub(crate) async fn send(&mut self, packet: &str) {
        self.send_message(&ws::Message::Text(Text::from(packet))).await;
    }

    /// Sends a binary message: a binary frame, with the type byte of revision 3.
    pub(crate) async fn send_binary(&mut self, bytes: &[u8]) {
        let bytes = if self.eio == V3 { [&[4], bytes].concat() } else { bytes.to_vec() };
        self.send_message(&ws::Message::Binary(bytes.into())).await;
    }

    /// Sends one frame of any kind.
    pub(crate) async fn send_message(&mut self, message: &ws::Message) {
        let mut frame = Vec::new();
        ws::encode_message(&mut frame, message, Some([1, 2, 3, 4]));
        self.send_raw(&frame).await;
    }

    /// Sends bytes as they are. A peer that has closed already is found by the next read.
    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) {
        let _ = soon(self.stream.write_all(bytes)).await;
    }

    /// The next packet.
    #[track_caller]
    pub(crate) fn next(&mut self) -> impl Future<Output = Packet> {
        let caller = std::panic::Location::caller();
        async move {
            match self.message().await {
                Some(ws::Message::Text(text)) => Packet::Text(text.as_str().to_owned()),
                Some(ws::Message::Binary(bytes)) if self.eio == V3 => Packet::Binary(bytes[1..].to_vec()),
                Some(ws::Message::Binary(bytes)) => Packet::Binary(bytes.to_vec()),
                other => panic!("{other:?} at {caller}"),
            }
        }
    }

    /// The next frame of any kind; `None` at the end of the stream.
    pub(crate) async fn message(&mut self) -> Option<ws::Message> {
        soon(async {
            loop {
                let mut input = &mut self.buffer[..];
                let message = self.decoder.decode(&mut input).unwrap();
                let left = input.len();
                self.buffer.drain(..self.buffer.len() - left);
                if message.is_some() {
                    return message;
                }
                if self.stream.read_buf(&mut self.buffer).await.unwrap_or(0) == 0 {
                    return None;
                }
            }
        })
        .await
    }

    /// Skips what comes until the server closes. Returns the code as JavaScript shows it: 1005 for an empty close
    /// frame, 1006 for none.
    pub(crate) async fn closed(&mut self) -> u16 {
        loop {
            match self.message().await {
                Some(ws::Message::Close(Some(close))) => return close.code.0,
                Some(ws::Message::Close(None)) => return 1005,
                Some(_) => {}
                None => return 1006,
            }
        }
    }

    /// That the server closes, and sends nothing before.
    #[track_caller]
    pub(crate) fn closes_silently(&mut self) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let message = self.message().await;
            assert!(matches!(message, Some(ws::Message::Close(None))), "{message:?} at {caller}");
        }
    }
}

/// The answer to the key of [`WsClient::handshake`].
const ACCEPT: &str = "ZabUAhvbVxeQzbDRlF+qwM2I35k=";
