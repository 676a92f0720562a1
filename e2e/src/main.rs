//! The application of `reference.mjs`, on Patio: the official clients' test server.
//!
//! Its command line and events are described at the top of `reference.mjs`, and run by `run.mjs` and `browser.mjs`.
//! Here stand the flags and the server; the handlers are in [`app`].

mod app;
mod spread;
mod told;

use std::{net::Ipv4Addr, time::Duration};

use clap::Parser as _;
use http::StatusCode;
use patio::{ConnectionStateRecovery, Cookie, Cors, Parser, Server, Transport};
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
    /// Allow pages of this origin: one, a list with commas, `*`, or `true` for any, named in the answer.
    #[arg(long)]
    cors: Option<String>,
    /// Allow some methods and headers only, and let preflights be remembered.
    #[arg(long)]
    cors_options: bool,
    #[arg(long, value_name = "MS", default_value_t = 500)]
    ping_interval: u64,
    #[arg(long, value_name = "MS", default_value_t = 20_000)]
    ping_timeout: u64,
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    upgrade_timeout: u64,
    #[arg(long, value_name = "MS", default_value_t = 45_000)]
    connect_timeout: u64,
    /// The most bytes of a message.
    #[arg(long, default_value_t = 1_000_000)]
    max_payload: usize,
    /// Refuse clients of protocol 3.
    #[arg(long)]
    no_eio3: bool,
    #[arg(long)]
    no_upgrades: bool,
    #[arg(long, value_delimiter = ',', default_value = "polling,websocket")]
    transports: Vec<String>,
    /// Send a cookie.
    #[arg(long)]
    cookie: bool,
    #[arg(long, default_value = "/socket.io")]
    path: String,
    #[arg(long)]
    no_trailing_slash: bool,
    /// Refuse connections whose query has `refuse`.
    #[arg(long)]
    allow_request: bool,
    /// Print what becomes of sockets.
    #[arg(long)]
    log: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    let ms = Duration::from_millis;
    let transports = flags.transports.iter();
    let transports = transports.filter_map(|name| Transport::from_query(Some(name)));
    let mut builder = Server::builder()
        .allow_eio3(!flags.no_eio3)
        .allow_upgrades(!flags.no_upgrades)
        .transports(transports)
        .ping_interval(ms(flags.ping_interval))
        .ping_timeout(ms(flags.ping_timeout))
        .upgrade_timeout(ms(flags.upgrade_timeout))
        .connect_timeout(ms(flags.connect_timeout))
        .max_http_buffer_size(flags.max_payload)
        .path(&flags.path)
        .add_trailing_slash(!flags.no_trailing_slash)
        .state(app::Ends::default())
        .state(app::Log(flags.log))
        .namespace("/", app::namespace())
        .namespace("/chat", app::namespace())
        .namespace("/admin", app::namespace().middleware(app::authenticate));
    if flags.msgpack {
        builder = builder.parser(Parser::MsgPack);
    }
    if flags.recovery {
        builder = builder.connection_state_recovery(ConnectionStateRecovery::default());
    }
    if flags.cookie {
        builder = builder.cookie(Cookie::new());
    }
    if flags.allow_request {
        builder = builder.allow_request(|request| std::future::ready(allow(request.uri.query())));
    }
    if let Some(origin) = &flags.cors {
        builder = builder.cors(cors(origin, flags.cors_options));
    }
    let io = builder.build()?;
    io.of_dynamic(|name: &str, _: Option<&patio::Payload>| is_dynamic(name), app::namespace());

    let listener = patio::listen((Ipv4Addr::LOCALHOST, flags.port).into())?;
    println!("listening on {}", listener.local_addr()?);
    let mut terminate = signal(SignalKind::terminate())?;
    patio::serve(listener, told::Told { inner: io.service(), log: flags.log })
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

fn cors(origin: &str, more: bool) -> Cors {
    let cors = match origin {
        "true" => Cors::reflect(),
        list if list.contains(',') => Cors::origins(list.split(',')),
        one => Cors::origin(one),
    };
    let cors = cors.credentials(true);
    if !more {
        return cors;
    }
    cors.methods(["GET", "POST"])
        .allowed_headers(["x-a", "x-b"])
        .exposed_headers(["x-c"])
        .max_age(Duration::from_secs(600))
        .options_success_status(StatusCode::OK)
}

/// Refuses a request whose query has `refuse`, with its value, which needs no decoding, as the message.
fn allow(query: Option<&str>) -> Result<(), String> {
    let mut pairs = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(name, _)| *name == "refuse").map_or(Ok(()), |(_, message)| Err(message.to_owned()))
}
