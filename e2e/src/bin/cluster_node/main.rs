//! A Patio server of a cluster, told on stdin what to do: the words are those of `e2e/cluster/node.mjs`.

mod operations;
mod tagged;

use std::{net::Ipv4Addr, time::Duration};

use clap::Parser as _;
use patio::{
    ConnectionStateRecovery, Namespace, Server, ServerBuilder, Socket,
    extract::{Auth, Handshake},
};
use patio_redis::{
    Dialect, Emitter, PubSub, PubSubBuilder, Sharded, ShardedBuilder, Streams, StreamsBuilder,
    StreamsVersion, SubscriptionMode, Subscriptions,
};
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

#[derive(clap::Parser)]
struct Flags {
    #[arg(long)]
    redis: String,
    #[arg(long)]
    key: String,
    /// Whose version it is beside, as in `e2e/cluster/versions.mjs`: "8", "sharded dynamic", "streams 0.3".
    #[arg(long)]
    adapter: String,
    /// Be an emitter, not a server.
    #[arg(long)]
    emitter: bool,
}

/// What is added to a version whose servers have connection state recovery.
const RECOVERING: &str = " recovering";

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
    let mut builder = adapted(&flags).await?.allow_eio3(flags.adapter == "5");
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

/// A server that has the adapter of this version.
async fn adapted(flags: &Flags) -> anyhow::Result<ServerBuilder> {
    let mut server = Server::builder();
    if flags.adapter.ends_with(RECOVERING) {
        server = server.connection_state_recovery(ConnectionStateRecovery::default());
    }
    Ok(match builder(flags)? {
        Builder::PubSub(builder) => server.adapter(builder.connect().await?),
        Builder::Sharded(builder) => server.adapter(builder.connect().await?),
        Builder::Streams(builder) => server.adapter(builder.connect().await?),
    })
}

fn emitter_to(flags: &Flags) -> anyhow::Result<Emitter> {
    Ok(match builder(flags)? {
        Builder::PubSub(builder) => builder.emitter()?,
        Builder::Sharded(builder) => builder.emitter()?,
        Builder::Streams(builder) => builder.emitter()?,
    })
}

enum Builder {
    PubSub(PubSubBuilder),
    Sharded(ShardedBuilder),
    Streams(StreamsBuilder),
}

fn builder(Flags { redis, key, adapter, .. }: &Flags) -> anyhow::Result<Builder> {
    let classic = || PubSub::builder(redis).key(key);
    let sharded = |mode| Sharded::builder(redis).channel_prefix(key).subscription_mode(mode);
    let streams = |version| {
        let streams = Streams::builder(redis).stream_name(key).channel_prefix(key).version(version);
        let streams = streams.session_key_prefix(format!("{key}:session:"));
        streams.heartbeat(Duration::from_millis(500), Duration::from_secs(10))
    };
    Ok(match adapter.trim_end_matches(RECOVERING) {
        "8" => Builder::PubSub(classic()),
        "8 exact" => Builder::PubSub(classic().subscriptions(Subscriptions::Exact)),
        "8 specific" => Builder::PubSub(classic().publish_on_specific_response_channel(true)),
        "7" => Builder::PubSub(classic().dialect(Dialect::V7)),
        "6" => Builder::PubSub(classic().dialect(Dialect::V6)),
        "5" => Builder::PubSub(classic().dialect(Dialect::V5)),
        "sharded static" => Builder::Sharded(sharded(SubscriptionMode::Static)),
        "sharded dynamic" => Builder::Sharded(sharded(SubscriptionMode::Dynamic)),
        "sharded dynamic-private" => Builder::Sharded(sharded(SubscriptionMode::DynamicPrivate)),
        "streams 0.3" => Builder::Streams(streams(StreamsVersion::V0_3)),
        "streams 0.2" => Builder::Streams(streams(StreamsVersion::V0_2)),
        other => anyhow::bail!("there is no adapter {other}"),
    })
}

async fn emitter(flags: &Flags) -> anyhow::Result<()> {
    let emitter = emitter_to(flags)?;
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
