//! Socket.IO servers that form a cluster over Redis or Valkey, with Node.js servers among them.
//!
//! [`PubSub`] is the adapter of `@socket.io/redis-adapter` 8 and 7 and of `socket.io-redis` 6 and 5: same channels, same
//! bytes, so that servers of both kinds are in one cluster and cannot tell ([`Dialect`]). Versions 8.3, 7.2, 6.1 and 5.4
//! are tested in such clusters, those between by what they send. Give one to each server:
//!
//! ```no_run
//! use patio::Server;
//! use patio_redis::PubSub;
//!
//! # async fn start() -> Result<(), Box<dyn std::error::Error>> {
//! let io = Server::builder().adapter(PubSub::connect("redis://127.0.0.1").await?).build()?;
//! io.emit("news", "for the clients of all servers")?;
//! # Ok(()) }
//! ```
//!
//! [`Emitter`] reaches the clients of such a cluster from a process that is no server.
//!
//! # What holds
//!
//! - **Clients of this server never wait for Redis**, and are served while it is away. What is to go to other servers is
//!   queued, at most 16 MiB and 65,536 messages of it, the last one of any size; when Redis is away or the queue
//!   is full, it fails at once and is counted (`adapter_stats`).
//! - **A lost connection is made again**, first after some 50 ms, then in growing steps of up to 5 s, with jitter. When all
//!   is subscribed again the application is told (`ServerBuilder::on_adapter_reconnected`): pub/sub keeps nothing, so what
//!   other servers sent meanwhile did not come here.
//! - **Messages of one server arrive in their order**, at every other server that is connected, at most once.
//! - **What cannot be understood is counted and dropped**, with one line in the log a minute at most.

mod channels;
mod client;
mod connect;
mod dialect;
mod emitter;
mod link;
mod pubsub;
mod queue;
mod sharded;
mod streams;
mod wire;

pub use patio_adapter::{AdapterError, IntoRooms};
pub use patio_proto::payload::EncodeError;

pub use client::ConnectError;
pub use connect::ConnectOptions;
pub use dialect::Dialect;
pub use emitter::{Emitter, EmitterError};
pub use pubsub::{PubSub, PubSubBuilder, Subscriptions};
pub use sharded::{Sharded, ShardedBuilder, SubscriptionMode};
pub use streams::{Streams, StreamsBuilder, StreamsVersion};
