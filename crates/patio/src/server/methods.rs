//! What a namespace does, and a server for its main namespace: the same methods, written once.

use std::time::Duration;

use patio_adapter::{AdapterError, Counted, Fetched, IntoRooms};
use patio_proto::payload::Payload;
use serde::{Serialize, de::DeserializeOwned};

use super::{NamespaceHandle, Server};
use crate::{
    ack::BroadcastAcks,
    error::EmitError,
    handler::{ConnectHandler, DisconnectHandler, Handler, Middleware},
    namespace::Namespace,
    operator::BroadcastOperator,
};

/// The same methods for a namespace and, on the server, for its main namespace.
macro_rules! namespace_methods {
    ($type:ty, $self:ident => $namespace:expr) => {
        impl $type {
            /// Lets `middleware` decide whether a client may connect. `namespace.use(fn)` in Socket.IO.
            /// Panics: as [`NamespaceHandle::declare`].
            #[doc(alias = "use")]
            #[track_caller]
            pub fn middleware<M: 'static, H: Middleware<M>>(&$self, middleware: H) -> &Self {
                $namespace.declare(Namespace::new().middleware(middleware));
                $self
            }

            /// Calls `handler` for each socket that connects from now on. Listeners that it adds before its first
            /// `await` miss nothing. `namespace.on("connection")` in Socket.IO.
            /// Panics: as [`NamespaceHandle::declare`].
            #[doc(alias = "connection")]
            #[track_caller]
            pub fn on_connect<M: 'static, H: ConnectHandler<M>>(&$self, handler: H) -> &Self {
                $namespace.declare(Namespace::new().on_connect(handler));
                $self
            }

            /// Calls `handler` for each event of this name, of any socket. `socket.on(event, listener)` in Socket.IO.
            /// Panics: as [`NamespaceHandle::declare`].
            #[track_caller]
            pub fn on<M: 'static, H: Handler<M>>(&$self, event: impl Into<String>, handler: H) -> &Self {
                $namespace.declare(Namespace::new().on(event, handler));
                $self
            }

            /// Calls `handler` when a socket has ended. `socket.on("disconnect")` in Socket.IO.
            /// Panics: as [`NamespaceHandle::declare`].
            #[track_caller]
            pub fn on_disconnect<M: 'static, H: DisconnectHandler<M>>(&$self, handler: H) -> &Self {
                $namespace.declare(Namespace::new().on_disconnect(handler));
                $self
            }

            /// Calls `listener` for events of other servers. `namespace.on(event)` in Socket.IO.
            pub fn on_server_side(
                &$self,
                event: impl Into<String>,
                listener: impl Fn(&Payload, Option<patio_adapter::Reply>) + Send + Sync + 'static,
            ) -> &Self {
                $namespace.declare(Namespace::new().on_server_side(event, listener));
                $self
            }

            /// Sends an event to everyone. Errors: as [`BroadcastOperator::emit`].
            /// `namespace.emit(event, ...args)` in Socket.IO.
            pub fn emit<T: Serialize + ?Sized>(&$self, event: &str, data: &T) -> Result<(), EmitError> {
                $namespace.operator().emit(event, data)
            }

            /// Sends the event `message` to everyone. Errors: as [`BroadcastOperator::emit`].
            /// `namespace.send(...args)` in Socket.IO.
            pub fn send<T: Serialize + ?Sized>(&$self, data: &T) -> Result<(), EmitError> {
                $namespace.operator().send(data)
            }

            /// Sends an event to everyone, and waits until it was given to the broker. Errors: as
            /// [`BroadcastOperator::emit`].
            pub async fn emit_confirmed<T: Serialize + ?Sized>(&$self, event: &str, data: &T) -> Result<(), EmitError> {
                $namespace.operator().emit_confirmed(event, data).await
            }

            /// Sends an event to everyone and asks for answers, of type `R`: a stream, or [`all`](BroadcastAcks::all) of
            /// them. It ends after the server's [`ack_timeout`](crate::ServerBuilder::ack_timeout), 5 s by default;
            /// [`Self::timeout`] says otherwise. `namespace.emitWithAck(event, ...args)` in Socket.IO.
            pub fn emit_with_ack<R: DeserializeOwned>(
                &$self,
                event: &str,
                data: &(impl Serialize + ?Sized),
            ) -> BroadcastAcks<R> {
                $namespace.operator().emit_with_ack(event, data)
            }

            /// The sockets in these rooms. `namespace.to(rooms)` in Socket.IO.
            pub fn to(&$self, rooms: impl IntoRooms) -> BroadcastOperator {
                $namespace.operator().to(rooms)
            }

            /// The sockets in these rooms. `namespace.in(rooms)` in Socket.IO.
            #[doc(alias = "in")]
            pub fn in_room(&$self, rooms: impl IntoRooms) -> BroadcastOperator {
                $namespace.operator().in_room(rooms)
            }

            /// Everyone but the sockets in these rooms. `namespace.except(rooms)` in Socket.IO.
            pub fn except(&$self, rooms: impl IntoRooms) -> BroadcastOperator {
                $namespace.operator().except(rooms)
            }

            /// Emits that are dropped for receivers to whom they cannot be written at once.
            /// `namespace.volatile` in Socket.IO.
            pub fn volatile(&$self) -> BroadcastOperator {
                $namespace.operator().volatile()
            }

            /// Emits that are, or are not, worth being compressed. `namespace.compress(value)` in Socket.IO.
            pub fn compress(&$self, compress: bool) -> BroadcastOperator {
                $namespace.operator().compress(compress)
            }

            /// Sockets of this server only. `namespace.local` in Socket.IO.
            pub fn local(&$self) -> BroadcastOperator {
                $namespace.operator().local()
            }

            /// How long answers may take, of clients and of other servers. Default: the server's ack timeout, 5 s.
            /// `namespace.timeout(ms)` in Socket.IO.
            pub fn timeout(&$self, timeout: Duration) -> BroadcastOperator {
                $namespace.operator().timeout(timeout)
            }

            /// All sockets of the cluster. Errors: as [`BroadcastOperator::fetch_sockets`]. `namespace.fetchSockets()` in
            /// Socket.IO.
            pub async fn fetch_sockets(&$self) -> Result<Fetched, AdapterError> {
                $namespace.operator().fetch_sockets().await
            }

            /// How many sockets the cluster has. Errors: as [`BroadcastOperator::count_sockets`].
            pub async fn count_sockets(&$self) -> Result<Counted, AdapterError> {
                $namespace.operator().count_sockets().await
            }

            /// Makes all sockets join rooms. Errors: as [`BroadcastOperator::sockets_join`].
            /// `namespace.socketsJoin(rooms)` in Socket.IO.
            pub fn sockets_join(&$self, rooms: impl IntoRooms) -> Result<(), AdapterError> {
                $namespace.operator().sockets_join(rooms)
            }

            /// Makes all sockets leave rooms. Errors: as [`BroadcastOperator::sockets_leave`].
            /// `namespace.socketsLeave(rooms)` in Socket.IO.
            pub fn sockets_leave(&$self, rooms: impl IntoRooms) -> Result<(), AdapterError> {
                $namespace.operator().sockets_leave(rooms)
            }

            /// Disconnects all sockets. Errors: as [`BroadcastOperator::disconnect_sockets`].
            /// `namespace.disconnectSockets(close)` in Socket.IO.
            pub fn disconnect_sockets(&$self, close: bool) -> Result<(), AdapterError> {
                $namespace.operator().disconnect_sockets(close)
            }
        }
    };
}

namespace_methods!(NamespaceHandle, self => self);
namespace_methods!(Server, self => self.main());
