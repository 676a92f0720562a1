//! Socket.IO servers that form a cluster over Redis or Valkey, with Node.js servers among them.
//!
//! Three adapters speak what Node's speak, with the same bytes in the same places, so that servers of both kinds are in one
//! cluster and cannot tell. Each is tested in such clusters, with the package named first of its kind:
//!
//! - [`PubSub`]: `@socket.io/redis-adapter` 8 and 7, `socket.io-redis` 6 and 5 ([`Dialect`]). The usual one.
//! - [`Sharded`]: `createShardedAdapter` of `@socket.io/redis-adapter` 8, over sharded pub/sub, for a Redis Cluster.
//! - [`Streams`]: `@socket.io/redis-streams-adapter` 0.3 and 0.2 ([`StreamsVersion`]), with connection state recovery.
//!
//! Give one to each server:
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
//! - **Clients of this server never wait for Redis**, and are served while it is away; with connection state recovery over
//!   [`Streams`] they get their own server's events from there while it is not. What is to go to other servers is
//!   queued, at most 16 MiB and 65,536 messages of it, the last one of any size; when Redis is away or the queue
//!   is full, it fails at once and is counted (`adapter_stats`).
//! - **A lost connection is made again**, first after some 50 ms, then in growing steps of up to 5 s, with jitter. When all
//!   is subscribed again the application is told (`ServerBuilder::on_adapter_reconnected`): pub/sub keeps nothing, so what
//!   other servers sent meanwhile did not come here. From a stream it comes then, unless it has left the stream, which is
//!   counted (`missed_history`).
//! - **Messages of one server arrive in their order**, at every other server that is connected, at most once. Where rooms have
//!   channels of their own on a Redis Cluster, that holds for each channel.
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
