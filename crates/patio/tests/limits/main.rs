//! Every limit of a server, crossed over both transports and with both protocols; where one of these four cannot cross
//! it, the test says why. Nobody else on the server feels it: a [neighbour](support::Neighbour) measures that.
//!
//! One module for each of the layers that a packet passes. Servers run apart, in a thread that the test's clients do
//! not use, or with paused time, where a neighbour's round trips must take no time at all.

#![cfg(all(feature = "serve", feature = "v3"))]

mod handlers;
mod message;
mod namespaces;
mod outbound;
mod request;
mod serve;
#[expect(dead_code, reason = "each test file uses a part")]
#[path = "../support/mod.rs"]
mod support;
mod times;

use std::time::Duration;

use patio::{Reply, ServerBuilder, extract::Args};
use support::{Eio, PollingClient, Server, V3, V4, WsClient};

fn builder() -> ServerBuilder {
    patio::Server::builder()
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A client in the main namespace, over either transport.
enum Client {
    Polling(PollingClient),
    Ws(WsClient),
}

impl Client {
    /// One of each transport and protocol.
    async fn all(server: &Server) -> Vec<Self> {
        let mut all = Vec::new();
        for eio in [V4, V3] {
            all.extend(Self::both(server, eio).await);
        }
        all
    }

    /// One of each transport.
    async fn both(server: &Server, eio: Eio) -> [Self; 2] {
        let mut polling = server.polling(eio).await;
        polling.join("/").await;
        let mut ws = server.ws(eio).await;
        ws.join("/").await;
        [Self::Polling(polling), Self::Ws(ws)]
    }

    async fn send(&mut self, packet: &str) {
        match self {
            Self::Polling(polling) => polling.send(packet).await,
            Self::Ws(ws) => ws.send(packet).await,
        }
    }

    async fn send_binary(&mut self, bytes: &[u8]) {
        match self {
            Self::Polling(polling) => polling.send_binary(bytes).await,
            Self::Ws(ws) => ws.send_binary(bytes).await,
        }
    }

    async fn text(&mut self) -> String {
        match self {
            Self::Polling(polling) => polling.text().await,
            Self::Ws(ws) => ws.text().await,
        }
    }

    /// That the server ends the connection without another word.
    async fn is_closed(&mut self) {
        match self {
            Self::Polling(polling) => assert!(polling.poll().await.text().contains('6')),
            Self::Ws(ws) => ws.closes_silently().await,
        }
    }

    /// Leaves.
    async fn leave(self) {
        match self {
            Self::Polling(mut polling) => polling.send("1").await,
            Self::Ws(ws) => drop(ws),
        }
    }
}

/// A server apart that answers each event `x` by the number of its arguments.
async fn counting(builder: ServerBuilder) -> Server {
    let server = Server::apart(builder).await;
    server.io.on("x", async |Args(args): Args| Reply(args.len()));
    server
}
