//! A client over WebSocket, on any stream.

use patio_proto::{
    Text,
    ws::{self, Role, handshake::Key},
};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Eio, Http, Io, Packet, Response, Stream, V3, V4, json, packets, soon, target};

/// A session over WebSocket, or a WebSocket that is about to take one over.
pub(crate) struct WsClient {
    pub(crate) eio: Eio,
    /// The data of the open packet; null for a candidate.
    pub(crate) open: Value,
    /// The headers of the 101.
    pub(crate) handshake: Response,
    pub(crate) stream: Stream,
    decoder: ws::Decoder,
    buffer: Vec<u8>,
}

impl WsClient {
    /// A session on a stream: WebSocket handshake and open packet.
    pub(crate) async fn open(stream: impl Io, eio: Eio, query: &str, headers: &[(&str, &str)]) -> Self {
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
        stream: impl Io,
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

    /// A WebSocket on a connection whose handshake was written and read by hand.
    pub(crate) fn after(http: Http) -> Self {
        Self {
            eio: V4,
            open: Value::Null,
            handshake: Response { status: 101, headers: Vec::new(), body: Vec::new() },
            stream: http.stream,
            decoder: ws::Decoder::new(Role::Client, usize::MAX),
            buffer: http.buffer,
        }
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
