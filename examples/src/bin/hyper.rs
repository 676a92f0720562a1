//! Patio on hyper without a framework: an accept loop of your own.
//!
//! ```text
//! cargo run -p examples --bin hyper
//! ```
//!
//! In a folder where you ran `npm install socket.io-client`:
//!
//! ```text
//! $ node
//! > const socket = require("socket.io-client").io("http://127.0.0.1:3000")
//! > socket.emit("whoami", console.log)
//! ```
//!
//! prints the client's address as the server sees it, and how it is connected, such as `127.0.0.1:40312 websocket`.
//!
//! With TLS, put the TLS stream in the place of the TCP stream: anything that reads and writes will do.

use std::net::SocketAddr;

use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use patio::{RemoteAddr, Reply, Server, Socket};
use tokio::net::{TcpListener, TcpStream};
use tower_service::Service;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let io = Server::new();
    io.on("whoami", async |socket: Socket| {
        let address = socket.conn().remote_address().map_or_else(String::new, |address| address.to_string());
        Reply(format!("{address} {}", socket.conn().transport().as_str()))
    });

    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, peer) = listener.accept().await?;
        tokio::spawn(connection(io.clone(), stream, peer));
    }
}

async fn connection(io: Server, stream: TcpStream, peer: SocketAddr) {
    // Without this, small packets wait for the peer's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|mut request: Request<Incoming>| {
        // How Patio knows the peer of a polling client.
        request.extensions_mut().insert(RemoteAddr(peer));
        io.service().call(request)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        // Without this, no client gets a WebSocket.
        .with_upgrades()
        .await;
    if let Err(error) = served {
        eprintln!("{peer}: {error}");
    }
}
