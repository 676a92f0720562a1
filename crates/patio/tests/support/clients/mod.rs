//! Raw clients for any server: HTTP/1.1, WebSocket frames and Engine.IO's payloads, and nothing else.
//!
//! What they send and what they get are the packets as they are on the wire, so that tests can send anything. Nothing
//! is answered by itself, pings neither. Every wait ends after [`PATIENCE`], so that a test fails instead of hanging.
//! They know nothing of `patio` itself: the soak of `e2e` drives its server with this folder.

mod http;
mod polling;
mod websocket;

use std::time::Duration;

use serde_json::Value;

pub(crate) use self::{http::*, polling::*, websocket::*};

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

/// JSON of a text.
#[track_caller]
pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
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

use packets;
