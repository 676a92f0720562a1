//! An echo of WebSocket messages on the transport of sessions: what the Autobahn suite talks to.
//!
//! Everything but the application is what every server has: the request, the driver, the session, its queue, the
//! stream. The application alone takes each message as it is, without Engine.IO in it, and sends it back.
//!
//! With [`SERVE`] in its environment the test below serves such echoes until its process is ended, and prints their
//! addresses; `cargo xtask test` does that. Otherwise it is a client of each by itself.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use patio_proto::{
    encode::Encoded,
    engine::{CloseReason, DecodeError, Message, Packet, Protocol},
    ws::{self, CloseCode, CloseFrame, Opcode, Role, handshake},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufStream},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    time::timeout,
};

use super::{Application, Engine, deflate, request, session::Session};
use crate::config::Config;

/// What makes the test serve: a variable of the environment, set to anything.
const SERVE: &str = "PATIO_ECHO";

/// Where an echo is found, on any of its addresses.
const TARGET: &str = "/socket.io/?EIO=4&transport=websocket";

/// The longest message: twice that of Autobahn's section 9.
const LONGEST: usize = 32 << 20;

#[test]
fn messages_come_back_as_they_are() {
    let serves = std::env::var_os(SERVE).is_some();
    Runtime::new().unwrap().block_on(async {
        for kind in KINDS {
            let address = kind.listen().await;
            if serves {
                println!("{SERVE} {} ws://{address}{TARGET}", kind.name);
            } else {
                check(kind, address).await;
            }
        }
        if serves {
            std::future::pending::<()>().await;
        }
    });
}

/// The application.
struct Echo;

impl Application for Echo {
    type Shared = ();
    type Inbox = ();

    fn new(_: &Arc<Engine<Self>>, _: &::http::Extensions) -> Self {
        Self
    }

    fn greet(_: &Arc<Session<Self>>, _: Encoded) {}

    fn packet(_: Protocol, message: Message) -> Result<Packet, DecodeError> {
        Ok(Packet::Message(message))
    }

    fn opened(_: &Arc<Session<Self>>, (): &mut ()) {}

    fn message(session: &Arc<Session<Self>>, (): &mut (), message: Message) {
        let encoded = match message {
            // No packet of Engine.IO is empty.
            Message::Text(text) if text.is_empty() => {
                Encoded::frame(ws::header(Opcode::Text, true, 0, None).to_vec().into())
            }
            Message::Text(text) => Encoded::engine(&text),
            Message::Binary(bytes) => Encoded::binary(bytes),
        };
        session.send(&Arc::new(encoded), false);
    }

    fn wants_more((): &()) -> bool {
        true
    }

    fn poll(_: &Arc<Session<Self>>, (): &mut (), _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    fn due(_: &Arc<Session<Self>>, (): &mut ()) {}

    fn closed(_: &Arc<Session<Self>>, (): &mut (), _: CloseReason) {}

    fn abandoned(_: &Arc<Session<Self>>, (): &mut ()) {}
}

/// One way to a session.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    /// From how many bytes on messages are compressed, for clients that offer it.
    deflate: Option<usize>,
    /// Whether only the driver can write to the stream.
    boxed: bool,
}

const KINDS: [Kind; 3] = [
    Kind { name: "tcp", deflate: None, boxed: false },
    Kind { name: "deflate", deflate: Some(1), boxed: false },
    Kind { name: "boxed", deflate: Some(1), boxed: true },
];

impl Kind {
    /// Serves in tasks of the runtime, for as long as it runs.
    async fn listen(self) -> SocketAddr {
        let mut config =
            Config { max_http_buffer_size: LONGEST, per_message_deflate: self.deflate, ..Config::default() };
        // No heartbeat among the messages.
        config.timing.ping_interval = Duration::MAX;
        let engine = Arc::new(Engine::<Echo>::new(config, ()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if self.boxed {
                    stream.set_nodelay(true).unwrap();
                    tokio::spawn(http(BufStream::new(stream), Arc::clone(&engine)));
                } else {
                    tokio::spawn(http(stream, Arc::clone(&engine)));
                }
            }
        });
        address
    }
}

/// A connection up to its upgrade.
async fn http(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, engine: Arc<Engine<Echo>>) {
    let service = service_fn(|request| {
        let engine = Arc::clone(&engine);
        async move { Ok::<_, Infallible>(request::handle(engine, request).await) }
    });
    // A client that breaks off early is none of our business.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
}

/// What a client sees of an echo.
async fn check(kind: Kind, address: SocketAddr) {
    let mut client = Client::connect(address, "").await;
    assert!(!client.deflates);
    let long = "héllo ".repeat(100_000);
    for message in [
        ws::Message::Text("first".into()),
        ws::Message::Text("".into()),
        ws::Message::Binary(vec![0, 4, 255].into()),
        ws::Message::Binary(Vec::new().into()),
        ws::Message::Text(long.as_str().into()),
    ] {
        client.send(&message).await;
        assert_eq!(client.next().await, Some((message, false)), "{}", kind.name);
    }
    client.send(&ws::Message::Ping("p".into())).await;
    assert_eq!(client.next().await, Some((ws::Message::Pong("p".into()), false)));
    let close = ws::Message::Close(Some(CloseFrame { code: CloseCode::NORMAL, reason: "done".into() }));
    client.send(&close).await;
    assert_eq!(client.next().await, Some((close, false)));
    assert_eq!(client.next().await, None);
    #[cfg(feature = "deflate")]
    check_deflate(kind, address, &long).await;
}

#[cfg(feature = "deflate")]
async fn check_deflate(kind: Kind, address: SocketAddr, long: &str) {
    // How many bytes of text come back compressed, by the offer, if deflate is on.
    for (offer, longest) in [
        ("permessage-deflate", long.len()),
        ("permessage-deflate; server_max_window_bits=15", long.len()),
        // A header of up to ten bytes counts.
        ("permessage-deflate; server_max_window_bits=9", 500),
    ] {
        let mut client = Client::connect(address, offer).await;
        assert_eq!(client.deflates, kind.deflate.is_some());
        for length in [500, 514, long.len()] {
            let message = ws::Message::Text(long[..length].into());
            client.send(&message).await;
            let compressed = client.deflates && length <= longest;
            assert_eq!(client.next().await, Some((message, compressed)), "{}, {offer}, {length}", kind.name);
        }
    }
}

/// A plain client.
struct Client {
    stream: TcpStream,
    decoder: ws::Decoder,
    buffer: Vec<u8>,
    deflates: bool,
}

impl Client {
    async fn connect(address: SocketAddr, extensions: &str) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let key = handshake::Key::from_random(*b"not random at al");
        let mut request = Vec::new();
        let headers = [("Sec-WebSocket-Extensions", extensions)];
        let headers = if extensions.is_empty() { &[][..] } else { &headers };
        handshake::request(&mut request, "localhost", TARGET, &key, headers).unwrap();
        stream.write_all(&request).await.unwrap();
        let mut buffer = Vec::new();
        let (head, deflates) = loop {
            assert_ne!(soon(stream.read_buf(&mut buffer)).await.unwrap(), 0);
            if let Some(response) = handshake::response(&buffer, &key).unwrap() {
                break (response.len, response.header("sec-websocket-extensions").next().is_some());
            }
        };
        buffer.drain(..head);
        let decoder = ws::Decoder::new(Role::Client, LONGEST);
        let decoder = if deflates { deflate::decoder(decoder) } else { decoder };
        Self { stream, decoder, buffer, deflates }
    }

    async fn send(&mut self, message: &ws::Message) {
        let mut frame = Vec::new();
        ws::encode_message(&mut frame, message, Some([1, 2, 3, 4]));
        soon(self.stream.write_all(&frame)).await.unwrap();
    }

    /// The next message, of one frame, and whether that was compressed; nothing at the end of the stream.
    async fn next(&mut self) -> Option<(ws::Message, bool)> {
        let mut compressed = None;
        loop {
            compressed = compressed.or(self.buffer.first().map(|first| first & 0x40 != 0));
            let mut input = &mut self.buffer[..];
            let message = self.decoder.decode(&mut input).unwrap();
            let left = input.len();
            self.buffer.drain(..self.buffer.len() - left);
            if let Some(message) = message {
                return Some((message, compressed?));
            }
            if soon(self.stream.read_buf(&mut self.buffer)).await.unwrap() == 0 {
                return None;
            }
        }
    }
}

/// What must happen; the time is that of a machine that does a lot besides.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(30), what).await.expect("it takes too long")
}
