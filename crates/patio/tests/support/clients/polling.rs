//! A client over long-polling, and its reading of payloads.

use std::collections::VecDeque;

use serde_json::Value;

use super::{Connector, Eio, Http, Packet, Response, V3, V4, json, packets, target};

/// A session over polling: one connection for its GETs, one for its POSTs.
pub(crate) struct PollingClient {
    pub(crate) eio: Eio,
    /// The data of the open packet.
    pub(crate) open: Value,
    /// The answer to the handshake.
    pub(crate) handshake: Response,
    connector: Connector,
    query: String,
    headers: Vec<(String, String)>,
    pub(crate) gets: Http,
    pub(crate) posts: Http,
    received: VecDeque<Packet>,
}

impl PollingClient {
    pub(crate) async fn open(connector: &Connector, eio: Eio, query: &str, headers: &[(&str, &str)]) -> Self {
        let query = format!("EIO={}&transport=polling{query}", eio.number());
        let mut gets = Http::new(connector().await);
        gets.send("GET", &target(&query), headers, b"").await;
        let handshake = gets.response().await;
        assert_eq!(handshake.status, 200, "{handshake:?}");
        let mut received: VecDeque<_> = split(eio, &handshake).into();
        let open = match received.pop_front() {
            Some(Packet::Text(open)) if open.starts_with('0') => json(&open[1..]),
            other => panic!("no open packet: {other:?}"),
        };
        let headers = headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let posts = Http::new(connector().await);
        Self { eio, open, handshake, connector: connector.clone(), query, headers, gets, posts, received }
    }

    packets!();

    /// The target of this session's requests.
    pub(crate) fn target(&self) -> String {
        // First: a server reads so many parameters and no more.
        target(&format!("sid={}&{}", self.sid(), self.query))
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
        let mut http = Http::new((self.connector)().await);
        http.send("GET", &self.target(), &[], b"").await;
        http.response().await
    }

    /// Gives up the GET that waits: its connection is closed, the next one uses another.
    pub(crate) async fn abort_poll(&mut self) {
        self.gets = Http::new((self.connector)().await);
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
