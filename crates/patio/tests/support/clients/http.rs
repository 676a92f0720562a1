//! Raw HTTP/1.1 for tests: requests on a connection that stays open, and their answers.

use std::{net::SocketAddr, pin::Pin, sync::Arc};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

use super::soon;

/// The target of a request to the engine.
pub(crate) fn target(query: &str) -> String {
    format!("/socket.io/?{query}")
}

/// What a client's bytes travel on.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for T {}

pub(crate) type Stream = Box<dyn Io>;

/// Makes a connection.
pub(crate) type Connector = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Stream> + Send>> + Send + Sync>;

/// An HTTP/1.1 connection that stays open from request to request.
pub(crate) struct Http {
    pub(crate) stream: Stream,
    pub(super) buffer: Vec<u8>,
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

    pub(crate) fn new(stream: impl Io) -> Self {
        Self { stream: Box::new(stream), buffer: Vec::new() }
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
