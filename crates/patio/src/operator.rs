//! Whom to send to, and how: `io.to("room").except("other").emit(…)`.

use std::{sync::Arc, time::Duration};

use patio_adapter::{AdapterError, BroadcastOptions, Counted, Fetched, IntoRooms};
use patio_proto::payload::Payload;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    ack::BroadcastAcks,
    connection::Connection,
    engine::Engine,
    error::{EmitError, check_event},
    hub::Hub,
};

/// A choice of sockets of one namespace, on all servers of the cluster; each modifier gives a new one.
/// `BroadcastOperator` in Socket.IO.
#[derive(Clone)]
#[must_use = "nothing happens before `emit` or another operation"]
pub struct BroadcastOperator {
    engine: Arc<Engine<Connection>>,
    hub: Arc<Hub>,
    options: BroadcastOptions,
}

impl BroadcastOperator {
    pub(crate) fn new(engine: &Arc<Engine<Connection>>, hub: &Arc<Hub>, options: BroadcastOptions) -> Self {
        Self { engine: Arc::clone(engine), hub: Arc::clone(hub), options }
    }

    /// Adds rooms: sockets in any of them are reached, each once. An empty list reaches nobody.
    /// `to(rooms)` in Socket.IO.
    pub fn to(mut self, rooms: impl IntoRooms) -> Self {
        self.options.add_rooms(rooms);
        self
    }

    /// As [`Self::to`]. `in(rooms)` in Socket.IO.
    #[doc(alias = "in")]
    pub fn in_room(self, rooms: impl IntoRooms) -> Self {
        self.to(rooms)
    }

    /// Leaves out the sockets in any of these rooms. `except(rooms)` in Socket.IO.
    pub fn except(mut self, rooms: impl IntoRooms) -> Self {
        self.options = self.options.except(rooms);
        self
    }

    /// Drops the event for a receiver to whom it cannot be written at once. `volatile` in Socket.IO.
    pub fn volatile(mut self) -> Self {
        self.options.flags.volatile = true;
        self
    }

    /// Whether the event is worth being compressed, where that is on. `compress(value)` in Socket.IO.
    pub fn compress(mut self, compress: bool) -> Self {
        self.options.flags.compress = Some(compress);
        self
    }

    /// Sockets of this server only. `local` in Socket.IO.
    pub fn local(mut self) -> Self {
        self.options.flags.local = true;
        self
    }

    /// How long answers may take, of clients and of other servers. Default: the server's ack timeout, 5 s.
    /// `timeout(ms)` in Socket.IO.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.flags.timeout = Some(timeout);
        self
    }

    /// Sends an event to the chosen sockets; a tuple is several arguments. It is queued for those of this server when
    /// this returns. Errors: a reserved name, data that cannot be serialised, or an adapter that could not publish.
    /// `emit(event, ...args)` in Socket.IO.
    pub fn emit<T: Serialize + ?Sized>(self, event: &str, data: &T) -> Result<(), EmitError> {
        let payload = event_payload(event, data)?;
        let published = self.hub.adapter().broadcast(&payload, &self.options);
        self.counted(published).map_err(EmitError::from)
    }

    /// Sends the event `message`. Errors: as [`Self::emit`]. `send(...args)` in Socket.IO.
    pub fn send<T: Serialize + ?Sized>(self, data: &T) -> Result<(), EmitError> {
        self.emit("message", data)
    }

    /// As [`Self::emit`], and waits until the event was given to the broker that brings it to other servers.
    pub async fn emit_confirmed<T: Serialize + ?Sized>(self, event: &str, data: &T) -> Result<(), EmitError> {
        let payload = event_payload(event, data)?;
        let published = self.hub.adapter().broadcast_confirmed(&payload, &self.options).await;
        self.counted(published).map_err(EmitError::from)
    }

    /// Sends an event and asks for answers, of type `R`: a stream, or [`all`](BroadcastAcks::all) of them.
    /// `emitWithAck(event, ...args)` in Socket.IO.
    pub fn emit_with_ack<R: DeserializeOwned>(
        mut self,
        event: &str,
        data: &(impl Serialize + ?Sized),
    ) -> BroadcastAcks<R> {
        self.options.flags.timeout.get_or_insert(self.engine.config.ack_timeout);
        let payload = event_payload(event, data);
        BroadcastAcks::new(
            payload.map(|payload| self.hub.adapter().broadcast_with_ack(&payload, &self.options)),
        )
    }

    /// Makes the chosen sockets join rooms; those of this server have joined when this returns. Errors: other servers
    /// could not be told. `socketsJoin(rooms)` in Socket.IO.
    pub fn sockets_join(self, rooms: impl IntoRooms) -> Result<(), AdapterError> {
        let published = self.hub.adapter().join(&self.options, &rooms.into_rooms());
        self.counted(published)
    }

    /// Makes the chosen sockets leave rooms; those of this server have left when this returns. Errors: other servers
    /// could not be told. `socketsLeave(rooms)` in Socket.IO.
    pub fn sockets_leave(self, rooms: impl IntoRooms) -> Result<(), AdapterError> {
        let published = self.hub.adapter().leave(&self.options, &rooms.into_rooms());
        self.counted(published)
    }

    /// Disconnects the chosen sockets; with `close`, closes their connections. Errors: other servers could not be told.
    /// `disconnectSockets(close)` in Socket.IO.
    pub fn disconnect_sockets(self, close: bool) -> Result<(), AdapterError> {
        let published = self.hub.adapter().disconnect(&self.options, close);
        self.counted(published)
    }

    /// The chosen sockets, as they are now. Servers that do not answer within the [timeout](Self::timeout) are counted
    /// in [`Fetched::missing`]. Errors: other servers could not be asked. `fetchSockets()` in Socket.IO.
    pub async fn fetch_sockets(self) -> Result<Fetched, AdapterError> {
        self.hub.adapter().fetch_sockets(&self.options).await
    }

    /// How many sockets are chosen, without transferring them where that is possible. Servers that do not answer in time
    /// are counted in [`Counted::missing`]. Errors: other servers could not be asked.
    pub async fn count_sockets(self) -> Result<Counted, AdapterError> {
        self.hub.adapter().count(&self.options).await
    }

    /// Counts what an adapter could not do.
    pub(crate) fn counted<T>(&self, done: Result<T, AdapterError>) -> Result<T, AdapterError> {
        if done.is_err() {
            self.engine.counters.adapter_errors.add(1);
        }
        done
    }
}

fn event_payload<T: Serialize + ?Sized>(event: &str, data: &T) -> Result<Payload, EmitError> {
    check_event(event)?;
    Ok(Payload::event(event, data)?)
}
