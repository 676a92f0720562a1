//! How a socket comes to be connected, and its ends.

use std::{
    pin::pin,
    sync::{Arc, atomic::Ordering},
};

use patio_adapter::Room;
use patio_proto::packet::Kind;

use super::{Socket, Waiting, status};
use crate::{connection::Command, engine::flush::Turn, reason::DisconnectReason, rooms::Slot};

impl Socket {
    /// Waits for the end of this socket.
    pub async fn closed(&self) {
        if self.status() == status::DISCONNECTED {
            return;
        }
        let closed = self.with_more(|more| Arc::clone(more.closed.get_or_insert_default()));
        let mut told = pin!(closed.notified());
        told.as_mut().enable();
        // It may have ended before it could tell.
        if self.status() != status::DISCONNECTED {
            told.await;
        }
    }

    /// Disconnects the client from this namespace; with `close`, from all its namespaces, and closes the connection.
    /// Official clients do not come back by themselves. `socket.disconnect(close)` in Socket.IO.
    pub fn disconnect(&self, close: bool) {
        let turn = Turn::of_caller();
        if close {
            self.0.session.app.disconnect_all(&self.0.session);
        } else {
            self.disconnect_by_server();
        }
        drop(turn);
    }

    pub(crate) fn disconnect_by_server(&self) {
        if self.is_connected() {
            self.deliver_packet(Kind::Disconnect);
            self.end(DisconnectReason::ServerNamespaceDisconnect);
        }
    }

    /// The socket is in the index from now on. The rooms that were joined before are joined now.
    pub(crate) fn set_connected(&self, slot: Slot, recovered: bool) -> Vec<Room> {
        self.0.slot.store(slot.raw(), Ordering::Relaxed);
        let rooms =
            self.0.more.lock().as_mut().map(|more| std::mem::take(&mut more.rooms)).unwrap_or_default();
        let status = if recovered { status::RECOVERED } else { status::CONNECTED };
        self.0.status.store(status, Ordering::Release);
        rooms
    }

    pub(crate) fn set_setup(&self, setup: u8) {
        self.0.setup.store(setup, Ordering::Relaxed);
    }

    pub(crate) fn setup(&self) -> u8 {
        self.0.setup.load(Ordering::Relaxed)
    }

    /// Ends the socket here and now: it receives nothing more and is in no room. Its handlers are run by the driver.
    /// False: it had ended already, or never was connected.
    pub(crate) fn end(&self, reason: DisconnectReason) -> bool {
        let rooms = {
            let mut more = self.0.more.lock();
            let was = self.0.status.swap(status::DISCONNECTED, Ordering::AcqRel);
            if was == status::DISCONNECTED || was == status::CONNECTING {
                return false;
            }
            let closed = more.as_mut().and_then(|more| more.closed.take());
            drop(more);
            if let Some(closed) = closed {
                closed.notify_waiters();
            }
            self.0.hub.remove(self)
        };
        let acks = self.with_more(|more| {
            more.rooms = rooms;
            std::mem::take(&mut more.acks)
        });
        for (_, waiting) in acks {
            if let Waiting::Many(sink) = waiting {
                sink.gone(self.0.id.clone());
            }
        }
        self.0.session.app.command(Command::Ended(self.clone(), reason));
        self.0.session.wake();
        true
    }

    /// A restored socket whose client does not get it: it leaves, and nobody hears of it.
    pub(crate) fn withdraw(&self) {
        let more = self.0.more.lock();
        let was = self.0.status.swap(status::DISCONNECTED, Ordering::AcqRel);
        drop(more);
        // Who ended it meanwhile has taken it out, and its place may be another's by now.
        if matches!(was, status::CONNECTED | status::RECOVERED) {
            self.0.hub.remove(self);
        }
        self.clear();
    }

    /// A socket whose CONNECT was refused, or that is gone: its listeners are let go, so that a closure which holds
    /// its own socket does not keep it alive. Its data stay for handlers that still run.
    pub(crate) fn clear(&self) {
        self.0.status.store(status::DISCONNECTED, Ordering::Release);
        let gone = self.0.more.lock().as_mut().map(|more| {
            more.catching_up = None;
            (std::mem::take(&mut more.listeners), std::mem::take(&mut more.acks), more.closed.take())
        });
        if let Some((_, _, Some(closed))) = &gone {
            closed.notify_waiters();
        }
        // Dropped here, after the lock: what closures hold is user code.
        drop(gone);
    }
}
