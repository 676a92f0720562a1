//! Sending to one client, and to all but one.

use std::future::poll_fn;

use patio_adapter::{BroadcastOptions, IntoRooms};
use patio_proto::{packet::Packet, payload::Payload};
use serde::{Serialize, de::DeserializeOwned};

use super::{Socket, status};
use crate::{
    ack::AckRequest,
    engine::flush::Turn,
    error::{EmitError, check_event},
    operator::BroadcastOperator,
};

/// Sending.
impl Socket {
    /// Sends an event to this client; a tuple is several arguments. Queued when this returns; to a client that has
    /// gone it does nothing. Errors: a reserved name, or data that cannot be serialised.
    /// `socket.emit(event, ...args)` in Socket.IO.
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, data: &T) -> Result<(), EmitError> {
        self.only().emit(event, data)
    }

    /// Sends the event `message`. Errors: as [`Self::emit`]. `socket.send(...args)` in Socket.IO.
    pub fn send<T: Serialize + ?Sized>(&self, data: &T) -> Result<(), EmitError> {
        self.emit("message", data)
    }

    /// Sends an event and asks for an answer, of type `R`: the answer's first argument, or several for a tuple.
    /// Await the result; without [`timeout`](AckRequest::timeout) the server's ack timeout applies.
    /// `socket.emitWithAck(event, ...args)` in Socket.IO.
    pub fn emit_with_ack<R: DeserializeOwned>(
        &self,
        event: &str,
        data: &(impl Serialize + ?Sized),
    ) -> AckRequest<R> {
        self.only().emit_with_ack(event, data)
    }

    /// Emits to this client that are dropped unless they can be written at once.
    /// `socket.volatile` in Socket.IO.
    pub fn volatile(&self) -> SocketEmitter<'_> {
        SocketEmitter { volatile: true, ..self.only() }
    }

    /// Emits to this client that are, or are not, worth being compressed. `socket.compress(value)` in Socket.IO.
    pub fn compress(&self, compress: bool) -> SocketEmitter<'_> {
        SocketEmitter { compress, ..self.only() }
    }

    fn only(&self) -> SocketEmitter<'_> {
        SocketEmitter { socket: self, volatile: false, compress: true }
    }

    /// Everyone in these rooms but this client. `socket.to(rooms)` in Socket.IO.
    pub fn to(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.broadcast().to(rooms)
    }

    /// As [`Self::to`]. `socket.in(rooms)` in Socket.IO.
    #[doc(alias = "in")]
    pub fn in_room(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.to(rooms)
    }

    /// Everyone but this client and the members of these rooms. `socket.except(rooms)` in Socket.IO.
    pub fn except(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.broadcast().except(rooms)
    }

    /// Everyone in the namespace but this client. `socket.broadcast` in Socket.IO.
    pub fn broadcast(&self) -> BroadcastOperator {
        let mut options = BroadcastOptions::everyone();
        options.except.push(self.0.id.clone());
        BroadcastOperator::new(self.0.session.engine(), &self.0.hub, options)
    }

    /// Everyone on this server but this client. `socket.local` in Socket.IO.
    pub fn local(&self) -> BroadcastOperator {
        self.broadcast().local()
    }

    /// Waits until everything queued for this client was handed to the operating system, or its connection ended:
    /// the way to send much without filling its queue.
    pub async fn flushed(&self) {
        poll_fn(|cx| self.0.session.poll_flushed(cx)).await;
    }
}

/// Emits to one client with modifiers.
#[derive(Clone, Copy)]
#[must_use = "nothing is sent before `emit`"]
pub struct SocketEmitter<'a> {
    pub(crate) socket: &'a Socket,
    pub(crate) volatile: bool,
    pub(crate) compress: bool,
}

impl SocketEmitter<'_> {
    /// As [`Socket::volatile`].
    pub fn volatile(self) -> Self {
        Self { volatile: true, ..self }
    }

    /// As [`Socket::compress`].
    pub fn compress(self, compress: bool) -> Self {
        Self { compress, ..self }
    }

    /// As [`Socket::emit`].
    pub fn emit<T: Serialize + ?Sized>(self, event: &str, data: &T) -> Result<(), EmitError> {
        let socket = self.socket;
        // A middleware's socket is not known to the adapter yet.
        if socket.0.hub.records() && !self.volatile && socket.status() != status::CONNECTING {
            // A client that comes back must find it: the adapter keeps it.
            let mut options = BroadcastOptions::to(&socket.0.id);
            options.flags.compress = (!self.compress).then_some(false);
            return BroadcastOperator::new(socket.0.session.engine(), &socket.0.hub, options)
                .emit(event, data);
        }
        check_event(event)?;
        let packet = Packet::event(socket.0.hub.nsp(), Payload::event(event, data)?);
        let encoded = socket.0.hub.encode(&packet, self.compress);
        let turn = Turn::of_caller();
        socket.deliver(&encoded, &packet, self.volatile, None);
        drop(turn);
        Ok(())
    }

    /// As [`Socket::emit_with_ack`].
    pub fn emit_with_ack<R: DeserializeOwned>(
        self,
        event: &str,
        data: &(impl Serialize + ?Sized),
    ) -> AckRequest<R> {
        AckRequest::send(self, event, data)
    }

    /// As [`Socket::send`].
    pub fn send<T: Serialize + ?Sized>(self, data: &T) -> Result<(), EmitError> {
        self.emit("message", data)
    }
}
