//! A running namespace, for the application.

use std::{fmt, sync::Arc};

use patio_adapter::{
    AdapterError, AllRooms, BroadcastOptions, Room, ServerAnswer, cluster::message::SERVER_SIDE_RESERVED,
    counters::Stats,
};
use patio_proto::payload::{ArgsError, Payload};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    connection::Connection, engine::Engine, error::EmitError, hub::Hub, namespace::Namespace,
    operator::BroadcastOperator, socket::Socket,
};

/// A running namespace. `namespace` in Socket.IO.
#[derive(Clone)]
pub struct NamespaceHandle {
    pub(super) engine: Arc<Engine<Connection>>,
    pub(super) hub: Arc<Hub>,
}

impl NamespaceHandle {
    /// The namespace's name, such as `/chat`.
    pub fn name(&self) -> &str {
        self.hub.name()
    }

    /// The sockets of this namespace on this server. `namespace.sockets` in Socket.IO.
    pub fn sockets(&self) -> Vec<Socket> {
        self.hub.sockets()
    }

    /// The socket with this id, if it is on this server.
    pub fn socket(&self, id: impl AsRef<str>) -> Option<Socket> {
        self.hub.socket(id.as_ref())
    }

    /// The number of sockets of this namespace on this server.
    pub fn len(&self) -> usize {
        self.hub.len()
    }

    /// Whether no socket is here.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rooms of this namespace on this server, the sockets' own among them. `namespace.adapter.rooms` in Socket.IO.
    pub fn rooms(&self) -> Vec<Room> {
        use patio_adapter::Local;
        Local::rooms(&*self.hub)
    }

    /// The rooms of this namespace on all servers, and how many servers did not tell in time. Errors: the adapter cannot
    /// ask.
    pub async fn all_rooms(&self) -> Result<AllRooms, AdapterError> {
        self.hub.adapter().all_rooms().await
    }

    /// How many servers have this namespace, this one included. Errors: the adapter cannot ask.
    pub async fn server_count(&self) -> Result<usize, AdapterError> {
        self.hub.adapter().server_count().await
    }

    /// What the namespace's adapter dropped, lost or could not do, by reason.
    pub fn adapter_stats(&self) -> Stats {
        self.hub.adapter().stats()
    }

    /// How many sockets of this server are in a room.
    pub fn room_len(&self, room: impl AsRef<str>) -> usize {
        self.hub.room_len(room.as_ref())
    }

    /// Adds handlers to those that the namespace has; they count for what happens from now on. Panics: a handler
    /// takes [`State`](crate::extract::State) of a type that the server does not have.
    #[track_caller]
    pub fn declare(&self, declared: Namespace) -> &Self {
        declared.check(&self.engine.shared.state, &self.engine.shared.pickers);
        self.hub.declare(declared);
        self
    }

    /// Everyone in this namespace: where all broadcasts begin.
    pub fn operator(&self) -> BroadcastOperator {
        BroadcastOperator::new(&self.engine, &self.hub, BroadcastOptions::everyone())
    }

    /// Sends an event to the other servers of the cluster, not to clients. Errors: a name that would end a Node server,
    /// data that cannot be serialised, or an adapter that could not publish.
    /// `namespace.serverSideEmit(event, ...args)` in Socket.IO.
    pub fn server_side_emit<T: Serialize + ?Sized>(&self, event: &str, data: &T) -> Result<(), EmitError> {
        let payload = server_side_payload(event, data)?;
        Ok(self.operator().counted(self.hub.adapter().server_side_emit(&payload))?)
    }

    /// Sends an event to the other servers and asks for an answer of each, of type `R`, for as long as the server's
    /// [`ack_timeout`](crate::ServerBuilder::ack_timeout). Errors: as [`Self::server_side_emit`].
    /// `namespace.serverSideEmitWithAck(event, ...args)` in Socket.IO.
    pub async fn server_side_emit_with_ack<R: DeserializeOwned>(
        &self,
        event: &str,
        data: &(impl Serialize + ?Sized),
    ) -> Result<ServerAnswers<R>, EmitError> {
        use futures_util::StreamExt;
        let payload = server_side_payload(event, data)?;
        let timeout = self.engine.config.ack_timeout;
        let mut answers = self.hub.adapter().server_side_emit_with_ack(&payload, timeout);
        let mut all = ServerAnswers { answers: Vec::new(), missing: 0 };
        while let Some(answer) = answers.next().await {
            match answer {
                ServerAnswer::Answer { value, .. } => all.answers.push(value.read_args(0)),
                ServerAnswer::Missing(missing) => all.missing = missing,
            }
        }
        Ok(all)
    }
}

/// The answers of other servers.
#[derive(Debug)]
#[non_exhaustive]
pub struct ServerAnswers<R> {
    /// What each said, in the order of arrival.
    pub answers: Vec<Result<R, ArgsError>>,
    /// How many servers did not answer in time.
    pub missing: usize,
}

fn server_side_payload<T: Serialize + ?Sized>(event: &str, data: &T) -> Result<Payload, EmitError> {
    if SERVER_SIDE_RESERVED.contains(&event) {
        return Err(EmitError::Reserved(event.to_owned()));
    }
    Ok(Payload::event(event, data)?)
}

impl fmt::Debug for NamespaceHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NamespaceHandle").field(&self.name()).finish()
    }
}
