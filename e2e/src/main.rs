//! The application of `reference.mjs`, on Patio: the official clients' test server.
//!
//! Its command line and events are described at the top of `reference.mjs`, and run by `run.mjs` and `browser.mjs`.
//! Here stand the flags and the server; the handlers are in [`app`].

mod app;
mod spread;

use std::{net::Ipv4Addr, time::Duration};

use clap::Parser as _;
use patio::{ConnectionStateRecovery, Cors, Parser, Server};
use tokio::signal::unix::{SignalKind, signal};

#[derive(clap::Parser)]
struct Flags {
    /// Port on 127.0.0.1; 0 takes any free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Speak MessagePack in place of JSON.
    #[arg(long)]
    msgpack: bool,
    /// Turn connection state recovery on.
    #[arg(long)]
    recovery: bool,
    /// Allow pages of this origin.
    #[arg(long)]
    cors: Option<String>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    let mut builder = Server::builder()
        .allow_eio3(true)
        // Short, so that every longer cell sees heartbeats.
        .ping_interval(Duration::from_millis(500))
        .ping_timeout(Duration::from_secs(20))
        .state(app::Ends::default())
        .namespace("/", app::namespace())
        .namespace("/chat", app::namespace())
        .namespace("/admin", app::namespace().middleware(app::authenticate));
    if flags.msgpack {
        builder = builder.parser(Parser::MsgPack);
    }
    if flags.recovery {
        builder = builder.connection_state_recovery(ConnectionStateRecovery::default());
    }
    if let Some(origin) = &flags.cors {
        builder = builder.cors(Cors::origin(origin).credentials(true));
    }
    let io = builder.build()?;
    io.of_dynamic(|name: &str, _: Option<&patio::Payload>| is_dynamic(name), app::namespace());

    let listener = patio::listen((Ipv4Addr::LOCALHOST, flags.port).into())?;
    println!("listening on {}", listener.local_addr()?);
    let mut terminate = signal(SignalKind::terminate())?;
    patio::serve(listener, io.service())
        .with_graceful_shutdown(async move {
            terminate.recv().await;
        })
        .drain(async move { io.close().await })
        .await?;
    Ok(())
}

/// `^/dyn-\d+$`
fn is_dynamic(name: &str) -> bool {
    name.strip_prefix("/dyn-").is_some_and(|n| !n.is_empty() && n.bytes().all(|byte| byte.is_ascii_digit()))
}
