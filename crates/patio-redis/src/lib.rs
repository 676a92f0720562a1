//! Socket.IO servers that form a cluster over Redis or Valkey, with Node.js servers among them.
//!
//! An adapter carries what one server says to the others. There are three, for the three of Node:
//!
//! | | Node's | choose it |
//! |---|---|---|
//! | [`PubSub`] | `@socket.io/redis-adapter` 8 and 7, `socket.io-redis` 6 and 5 ([`Dialect`]) | by default |
//! | [`Sharded`] | `createShardedAdapter` of `@socket.io/redis-adapter` 8 | for a Redis Cluster; Redis 7 |
//! | [`Streams`] | `@socket.io/redis-streams-adapter` 0.3 and 0.2 ([`StreamsVersion`]) | when nothing may be missed: recovery across servers |
//!
//! Channels and bytes are Node's, so that servers of both kinds are in one cluster and cannot tell. All servers of a cluster
//! have the same adapter. Versions 8.3, 7.2, 6.1 and 5.4, and of streams 0.3.1 and 0.2.3, are tested in such clusters. Give one
//! to each server:
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
//! [`Emitter`] reaches the clients of a cluster from a process that is no server; the builder of each adapter makes one.
//! [`ConnectOptions`] say where Redis is: one server, behind sentinels, or a Redis Cluster.
//!
//! # What holds
//!
//! - **Clients of this server never wait for Redis**, and are served while it is away; with connection state recovery over
//!   [`Streams`] they get their own server's events from there while it is not. What is to go to other servers is
//!   queued, at most 16 MiB and 65,536 messages of it, the last one of any size; when Redis is away or the queue
//!   is full, it fails at once and is counted (`adapter_stats`). Sessions wait in a queue of their own, of 64 MiB and 65,536.
//! - **A lost connection is made again**, first after some 50 ms, then in growing steps of up to 5 s, with jitter. When all
//!   is subscribed again the application is told (`ServerBuilder::on_adapter_reconnected`): pub/sub keeps nothing, so what
//!   other servers sent meanwhile did not come here. From a stream it comes then, unless it has left the stream, which is
//!   counted (`missed_history`).
//! - **Messages of one server arrive in their order**, at every other server that is connected, at most once. Not in order with
//!   each other: in a Redis Cluster, what goes to different channels; with [`Streams`] of 0.3, events and questions.
//! - **What cannot be understood is counted and dropped**, with one line in the log a minute at most.

mod client;
mod connect;

mod link;
mod queue;
mod throttle;

mod wire;

mod channels;
mod defaults;
mod dialect;
mod pubsub;
mod sharded;
mod streams;

mod emitter;
mod store;

pub use patio_adapter::{AdapterError, IntoRooms};
pub use patio_proto::payload::EncodeError;

pub use client::ConnectError;
pub use connect::ConnectOptions;
pub use dialect::Dialect;
pub use emitter::{Emitter, EmitterError};
pub use pubsub::{PubSub, PubSubBuilder, Subscriptions};
pub use sharded::{Sharded, ShardedBuilder, SubscriptionMode};
pub use store::{Store, StoreError};
pub use streams::{Streams, StreamsBuilder, StreamsVersion};
