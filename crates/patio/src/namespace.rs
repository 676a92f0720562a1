//! What a user declares of a namespace: its handlers and middlewares, once for all its sockets.

use std::{collections::HashMap, sync::Arc};

use patio_adapter::Reply as ServerReply;
use patio_proto::payload::Payload;

use crate::{
    extract::{ExtensionPickers, StateMap},
    handler::{ConnectHandler, DisconnectHandler, Handler, Middleware, PacketMiddleware, erased, kind::Kind},
    rooms::RoomEvent,
};

pub(crate) type RoomListener = Arc<dyn Fn(&RoomEvent) + Send + Sync>;
pub(crate) type ServerListener = Arc<dyn Fn(&Payload, Option<ServerReply>) + Send + Sync>;

/// The declaration of a namespace, for [`ServerBuilder::namespace`](crate::ServerBuilder::namespace).
///
/// Handlers stand here once for all sockets; a socket costs nothing for them.
///
/// ```
/// use patio::{Namespace, Socket, extract::Data};
///
/// let chat = Namespace::new()
///     .on_connect(async |socket: Socket| socket.join("lobby"))
///     .on("message", async |socket: Socket, Data(text): Data<String>| {
///         socket.to("lobby").emit("message", &text)
///     });
/// # let _ = chat;
/// ```
#[derive(Clone, Default)]
pub struct Namespace {
    pub(crate) middlewares: Vec<erased::Middleware>,
    pub(crate) packet_middlewares: Vec<erased::PacketMiddleware>,
    pub(crate) connect: Vec<erased::ConnectHandler>,
    pub(crate) disconnecting: Vec<erased::DisconnectHandler>,
    pub(crate) disconnect: Vec<erased::DisconnectHandler>,
    pub(crate) any: Vec<erased::EventHandler>,
    pub(crate) on: HashMap<Box<str>, Vec<erased::EventHandler>>,
    pub(crate) fallback: Option<erased::EventHandler>,
    pub(crate) room_listeners: Vec<RoomListener>,
    pub(crate) server_listeners: HashMap<Box<str>, Vec<ServerListener>>,
}

impl Namespace {
    /// A namespace without handlers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets `middleware` decide whether a client may connect; several run in order, and the first error is sent to the
    /// client as `connect_error`. `namespace.use(fn)` in Socket.IO.
    #[doc(alias = "use")]
    #[must_use]
    #[track_caller]
    pub fn middleware<M: 'static, H: Middleware<M>>(mut self, middleware: H) -> Self {
        self.middlewares.push(erased::Middleware::new(middleware));
        self
    }

    /// Lets `middleware` look at every event of every socket before its handlers do; an error keeps it from them.
    /// `socket.use(fn)` in Socket.IO, for all sockets of the namespace.
    #[must_use]
    #[track_caller]
    pub fn packet_middleware<M: 'static, H: PacketMiddleware<M>>(mut self, middleware: H) -> Self {
        self.packet_middlewares.push(erased::PacketMiddleware::new(middleware));
        self
    }

    /// Calls `handler` for each socket that connected. Listeners that it adds before its first `await` miss nothing.
    /// `namespace.on("connection")` in Socket.IO.
    #[doc(alias = "connection")]
    #[must_use]
    #[track_caller]
    pub fn on_connect<M: 'static, H: ConnectHandler<M>>(mut self, handler: H) -> Self {
        self.connect.push(erased::ConnectHandler::new(handler));
        self
    }

    /// Calls `handler` for each event of this name, of any socket. `socket.on(event, listener)` in Socket.IO.
    #[must_use]
    #[track_caller]
    pub fn on<M: 'static, H: Handler<M>>(mut self, event: impl Into<String>, handler: H) -> Self {
        self.on.entry(event.into().into()).or_default().push(erased::EventHandler::new(handler));
        self
    }

    /// Calls `handler` for every event, before others. `socket.onAny(listener)` in Socket.IO.
    #[must_use]
    #[track_caller]
    pub fn on_any<M: 'static, H: Handler<M>>(mut self, handler: H) -> Self {
        self.any.push(erased::EventHandler::new(handler));
        self
    }

    /// Calls `handler` for events that no other handler is for. Unlike those of [`on_any`](Self::on_any) it acknowledges the
    /// event. Of several the last counts; without one such an event is counted and forgotten. Socket.IO has nothing for it.
    ///
    /// ```
    /// use patio::{Namespace, Reply, extract::Event};
    ///
    /// let chat = Namespace::new().fallback(async |Event(event): Event| Reply(format!("there is no event {event}")));
    /// # let _ = chat;
    /// ```
    #[must_use]
    #[track_caller]
    pub fn fallback<M: 'static, H: Handler<M>>(mut self, handler: H) -> Self {
        self.fallback = Some(erased::EventHandler::new(handler));
        self
    }

    /// Calls `handler` when a socket is about to end. `socket.on("disconnecting")` in Socket.IO.
    #[must_use]
    #[track_caller]
    pub fn on_disconnecting<M: 'static, H: DisconnectHandler<M>>(mut self, handler: H) -> Self {
        self.disconnecting.push(erased::DisconnectHandler::new(handler));
        self
    }

    /// Calls `handler` when a socket has ended. `socket.on("disconnect")` in Socket.IO.
    #[must_use]
    #[track_caller]
    pub fn on_disconnect<M: 'static, H: DisconnectHandler<M>>(mut self, handler: H) -> Self {
        self.disconnect.push(erased::DisconnectHandler::new(handler));
        self
    }

    /// Calls `listener` when rooms of this server are created, joined, left or deleted. It runs inside the call that
    /// caused it, so it must be quick. Events of the adapter in Socket.IO.
    #[must_use]
    pub fn on_room_event(mut self, listener: impl Fn(&RoomEvent) + Send + Sync + 'static) -> Self {
        self.room_listeners.push(Arc::new(listener));
        self
    }

    /// Calls `listener` for events that other servers send with `server_side_emit`: with the arguments, whose first
    /// is the event's name, and with the way to answer, if they want one. `namespace.on(event)` in Socket.IO.
    #[must_use]
    pub fn on_server_side(
        mut self,
        event: impl Into<String>,
        listener: impl Fn(&Payload, Option<ServerReply>) + Send + Sync + 'static,
    ) -> Self {
        self.server_listeners.entry(event.into().into()).or_default().push(Arc::new(listener));
        self
    }

    /// Adds what `other` declares.
    pub(crate) fn extend(&mut self, other: Self) {
        self.middlewares.extend(other.middlewares);
        self.packet_middlewares.extend(other.packet_middlewares);
        self.connect.extend(other.connect);
        self.disconnecting.extend(other.disconnecting);
        self.disconnect.extend(other.disconnect);
        self.any.extend(other.any);
        self.fallback = other.fallback.or(self.fallback.take());
        self.room_listeners.extend(other.room_listeners);
        for (event, handlers) in other.on {
            self.on.entry(event).or_default().extend(handlers);
        }
        for (event, listeners) in other.server_listeners {
            self.server_listeners.entry(event).or_default().extend(listeners);
        }
    }

    /// Notes which extensions of requests the handlers want, and panics when one wants state that is not there.
    #[track_caller]
    pub(crate) fn check(&self, state: &StateMap, pickers: &ExtensionPickers) {
        fn check<K: Kind>(handlers: &[erased::Erased<K>], state: &StateMap, pickers: &ExtensionPickers) {
            for handler in handlers {
                handler.check(state);
                handler.pick(pickers);
            }
        }

        check(&self.middlewares, state, pickers);
        check(&self.packet_middlewares, state, pickers);
        check(&self.connect, state, pickers);
        check(&self.disconnecting, state, pickers);
        check(&self.disconnect, state, pickers);
        check(&self.any, state, pickers);
        check(self.fallback.as_slice(), state, pickers);
        self.on.values().for_each(|handlers| check(handlers, state, pickers));
    }
}
