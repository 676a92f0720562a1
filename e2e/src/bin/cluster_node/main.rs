//! A Patio server of a cluster, told on stdin what to do: the words are those of `e2e/cluster/node.mjs`.

mod operations;
mod tagged;

use std::net::Ipv4Addr;

use clap::Parser as _;
use patio::{
    Namespace, Server, Socket,
    extract::{Auth, Handshake},
};
use patio_redis::{Dialect, Emitter, PubSub};
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

#[derive(clap::Parser)]
struct Flags {
    #[arg(long)]
    redis: String,
    #[arg(long)]
    key: String,
    /// Whose version it is beside: 8, "8 specific", 7, 6 or 5.
    #[arg(long)]
    adapter: String,
    /// Be an emitter, not a server.
    #[arg(long)]
    emitter: bool,
}

/// What a client says when it connects.
#[derive(Deserialize)]
struct Hello {
    who: String,
    /// Names, and a number, as rooms may be in Node.
    rooms: Vec<serde_json::Value>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    if flags.emitter {
        return emitter(&flags).await;
    }
    let redis = PubSub::builder(&flags.redis).key(flags.key);
    let redis = match &*flags.adapter {
        "8" => redis,
        "8 specific" => redis.publish_on_specific_response_channel(true),
        "7" => redis.dialect(Dialect::V7),
        "6" => redis.dialect(Dialect::V6),
        "5" => redis.dialect(Dialect::V5),
        other => anyhow::bail!("there is no adapter {other}"),
    };
    let mut builder = Server::builder().adapter(redis.connect().await?).allow_eio3(flags.adapter == "5");
    // As Node's server of that version has it.
    let other = if flags.adapter == "5" { "/chat" } else { "/chat#é" };
    for name in ["/", other] {
        let namespace = Namespace::new().on_connect(greet).on_server_side("told", move |event, reply| {
            let arguments = event.to_value().map(tagged::arguments).unwrap_or_default();
            say(&json!({ "heard": { "nsp": name, "args": tagged::tag(&arguments) } }));
            if let Some(reply) = reply {
                reply.send(patio::Payload::value_msgpack(&arguments));
            }
        });
        builder = builder.namespace(name, namespace);
    }
    let io = builder.build()?;
    let listener = patio::listen((Ipv4Addr::LOCALHOST, 0).into())?;
    say(&json!({ "listening": listener.local_addr()?.port() }));
    let serving = tokio::spawn(patio::serve(listener, io.service()).into_future());
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let io = io.clone();
        tokio::spawn(async move {
            let answer = operations::perform(&io, &line).await;
            say(&answer);
        });
    }
    serving.abort();
    io.close().await;
    Ok(())
}

async fn emitter(flags: &Flags) -> anyhow::Result<()> {
    let dialect = match &*flags.adapter {
        "7" => Dialect::V7,
        "6" => Dialect::V6,
        "5" => Dialect::V5,
        _ => Dialect::V8,
    };
    let emitter = Emitter::new(&flags.redis)?.key(&*flags.key).dialect(dialect);
    // Who waits for it waits for a port.
    say(&json!({ "listening": 1 }));
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        say(&operations::emit(&emitter, &line).await);
    }
    Ok(())
}

async fn greet(socket: Socket, handshake: Handshake, auth: Option<Auth<Hello>>) {
    // Clients of Socket.IO 2 have no `auth`.
    let query = || handshake.query().get("hello").and_then(|hello| serde_json::from_str(hello).ok());
    let Some(hello) = auth.map(|Auth(hello)| hello).or_else(query) else {
        return say(&json!({ "heard": "a client that does not say who it is" }));
    };
    if let Err(error) = socket.set_data("who", &hello.who) {
        say(&json!({ "heard": error.to_string() }));
    }
    let name = |room: serde_json::Value| room.as_str().map_or_else(|| room.to_string(), str::to_owned);
    socket.join(hello.rooms.into_iter().map(name).collect::<Vec<_>>());
}

/// One line to whoever tells us what to do.
fn say(line: &serde_json::Value) {
    println!("{line}");
}
