//! How Socket.IO servers form a cluster.
//!
//! A namespace on one server is a [`Local`]; what it asks of the cluster is an [`Adapter`]; an [`AdapterFactory`]
//! makes one for each namespace. [`memory`] is the adapter of a server that stands alone (with connection state
//! recovery), [`cluster`] is the adapter of many servers over a broker, with a broker inside one process.
//!
//! Users of the server crate give a factory to `Server::builder().adapter(…)` and need nothing else from here. To write an
//! adapter, implement [`cluster::Broker`] where messages are published and subscribed to, or [`Adapter`] for anything else.
//!
//! What passes is in [`options`] (for whom), [`room`] (names), [`snapshot`] (what is told about a socket) and
//! [`recovery`] (sessions and offsets). The feature `contract` brings the suite that every adapter must pass.

pub mod options;
pub mod recovery;
pub mod room;
pub mod snapshot;

pub mod adapter;
pub mod counters;
pub mod error;
pub mod local;

mod acks;
mod question;

pub mod cluster;
pub mod memory;

#[cfg(feature = "contract")]
pub mod contract;

pub use adapter::{
    AckEvent, Adapter, AdapterEvent, AdapterFactory, AllRooms, Counted, Fetched, NodeId, ServerAnswer,
    Watcher,
};
pub use cluster::{Cluster, InProcess};
pub use error::AdapterError;
pub use local::{AnswerSink, Asked, Local, Reply};
pub use memory::{Memory, MemoryRecovery};
pub use options::{BroadcastOptions, Flags};
pub use patio_proto::payload::Payload;
pub use recovery::{Offset, Replayed, Restored, SessionRecord};
pub use room::{IntoRooms, Room, RoomList};
pub use snapshot::{LazyJson, SocketSnapshot};
