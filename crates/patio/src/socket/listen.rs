//! Listening on one socket: handlers of its own, besides its namespace's.

use std::sync::Arc;

use patio_proto::payload::Payload;

use super::{
    Socket,
    listeners::{Listeners, OutgoingListener},
    status,
};
use crate::guard::Kept;
use crate::handler::{DisconnectHandler, Handler, PacketMiddleware, erased, kind::Kind};

/// Listening. A handler that takes [`State`](crate::extract::State) of a type that the server does not have panics where
/// it is added. A socket that has ended takes no listener.
impl Socket {
    /// Calls `handler` for each event of this name from this client. `socket.on(event, listener)` in Socket.IO.
    #[track_caller]
    pub fn on<M: 'static, H: Handler<M>>(&self, event: impl Into<String>, handler: H) {
        let handler = self.checked(erased::EventHandler::new(handler));
        let event = event.into();
        self.listen(|listeners| listeners.on(event, handler, false));
    }

    /// Calls `handler` for the next event of this name only. `socket.once(event, listener)` in Socket.IO.
    #[track_caller]
    pub fn once<M: 'static, H: Handler<M>>(&self, event: impl Into<String>, handler: H) {
        let handler = self.checked(erased::EventHandler::new(handler));
        let event = event.into();
        self.listen(|listeners| listeners.on(event, handler, true));
    }

    /// Removes the listeners that this socket has for an event; those of its namespace stay.
    /// `socket.removeAllListeners(event)` in Socket.IO.
    pub fn off(&self, event: &str) {
        // Dropped here, after the lock: what closures hold is user code.
        drop(self.with_listeners(|listeners| listeners.off(event)));
    }

    /// Calls `handler` for every event from this client, before others. `socket.onAny(listener)` in Socket.IO.
    #[track_caller]
    pub fn on_any<M: 'static, H: Handler<M>>(&self, handler: H) {
        let handler = self.checked(erased::EventHandler::new(handler));
        self.listen(|listeners| listeners.any.push(handler));
    }

    /// Removes the listeners of [`Self::on_any`]. `socket.offAny()` in Socket.IO.
    pub fn off_any(&self) {
        drop(self.with_listeners(|listeners| std::mem::take(&mut listeners.any)));
    }

    /// Calls `listener` with the name and the arguments of every event that is sent to this client, broadcasts
    /// included, acks not. It runs inside `emit`, so it must be quick. `socket.onAnyOutgoing(listener)` in Socket.IO.
    pub fn on_any_outgoing(&self, listener: impl Fn(&str, &Payload) + Send + Sync + 'static) {
        let listener: OutgoingListener = Kept::new(Arc::new(listener));
        self.listen(|listeners| listeners.outgoing.push(listener));
    }

    /// Removes the listeners of [`Self::on_any_outgoing`]. `socket.offAnyOutgoing()` in Socket.IO.
    pub fn off_any_outgoing(&self) {
        drop(self.with_listeners(|listeners| std::mem::take(&mut listeners.outgoing)));
    }

    /// Lets `middleware` look at every event from this client before its listeners do; an error keeps it from them.
    /// `socket.use(fn)` in Socket.IO.
    #[doc(alias = "use")]
    #[track_caller]
    pub fn middleware<M: 'static, H: PacketMiddleware<M>>(&self, middleware: H) {
        let middleware = self.checked(erased::PacketMiddleware::new(middleware));
        self.listen(|listeners| listeners.middlewares.push(middleware));
    }

    /// Calls `handler` when the socket is about to end; [`Self::rooms`] still tells its rooms.
    /// `socket.on("disconnecting")` in Socket.IO.
    #[track_caller]
    pub fn on_disconnecting<M: 'static, H: DisconnectHandler<M>>(&self, handler: H) {
        let handler = self.checked(erased::DisconnectHandler::new(handler));
        self.listen(|listeners| listeners.disconnecting.push(handler));
    }

    /// Calls `handler` when the socket has ended. `socket.on("disconnect")` in Socket.IO.
    #[track_caller]
    pub fn on_disconnect<M: 'static, H: DisconnectHandler<M>>(&self, handler: H) {
        let handler = self.checked(erased::DisconnectHandler::new(handler));
        self.listen(|listeners| listeners.disconnect.push(handler));
    }

    /// A handler, if the server has the state that it extracts.
    #[track_caller]
    fn checked<K: Kind>(&self, handler: erased::Erased<K>) -> erased::Erased<K> {
        handler.check(self.server().state());
        handler
    }

    /// Adds a listener. A socket that has ended takes none: nobody would call it, and one that holds its own socket, as
    /// connect handlers add them after an await, would keep it alive for ever.
    fn listen(&self, add: impl FnOnce(&mut Listeners)) {
        let mut more = self.0.more.lock();
        // Looked at under the lock, so that `clear` finds the listener or is found here.
        if self.status() != status::DISCONNECTED {
            add(&mut self.made(&mut more).listeners);
        }
    }

    /// What this socket has of its own, besides its namespace's.
    pub(crate) fn with_listeners<R>(&self, with: impl FnOnce(&mut Listeners) -> R) -> Option<R> {
        self.if_more(|more| with(&mut more.listeners))
    }
}
