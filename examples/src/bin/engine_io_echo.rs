//! Engine.IO alone: messages of text and bytes over HTTP long-polling and WebSocket, without Socket.IO above them.
//!
//! ```text
//! cargo run -p examples --bin engine_io_echo
//! ```
//!
//! curl is client enough. Open a session, send the message `hello` (4 is the type of messages), and wait for what
//! comes back:
//!
//! ```text
//! $ curl 'http://127.0.0.1:3000/engine.io/?EIO=4&transport=polling'
//! 0{"sid":"…","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}
//! $ curl -d '4hello' 'http://127.0.0.1:3000/engine.io/?EIO=4&transport=polling&sid=…'
//! ok
//! $ curl 'http://127.0.0.1:3000/engine.io/?EIO=4&transport=polling&sid=…'
//! 4hello
//! ```
//!
//! The server prints who comes and goes. curl answers no ping, so it goes with the reason `ping timeout` after 45 s.

use patio::{
    DisconnectReason, Server,
    engine_io::{Client, Handler, Message},
};

/// Sends back what it gets. A closure `|client: &Client, message| client.send(message)` would do as well.
struct Echo;

impl Handler for Echo {
    fn opened(&self, client: &Client) {
        println!("{} came by {}", client.id(), client.transport().as_str());
    }

    fn message(&self, client: &Client, message: Message) {
        client.send(message);
    }

    fn closed(&self, client: &Client, reason: DisconnectReason) {
        println!("{} went: {reason}", client.id());
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let echo = Server::builder().path("/engine.io").build_engine_io(Echo)?;

    let listener = patio::listen("127.0.0.1:3000".parse()?)?;
    println!("listening on {}", listener.local_addr()?);
    patio::serve(listener, echo).await?;
    Ok(())
}
