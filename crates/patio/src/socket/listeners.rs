//! Who listens on one socket, besides its namespace's handlers.

use std::sync::Arc;

use patio_proto::payload::Payload;

use crate::{
    guard::Kept,
    handler::erased::{DisconnectHandler, EventHandler, PacketMiddleware},
};

pub(crate) type OutgoingListener = Kept<Arc<dyn Fn(&str, &Payload) + Send + Sync>>;

/// The listeners that one socket has of its own.
#[derive(Default)]
pub(crate) struct Listeners {
    /// A list, not a map: sockets listen to a few events, and a map of few is larger and slower.
    on: Vec<(Box<str>, EventHandler, bool)>,
    pub(crate) any: Vec<EventHandler>,
    pub(crate) outgoing: Vec<OutgoingListener>,
    pub(crate) middlewares: Vec<PacketMiddleware>,
    pub(crate) disconnecting: Vec<DisconnectHandler>,
    pub(crate) disconnect: Vec<DisconnectHandler>,
}

impl Listeners {
    pub(crate) fn on(&mut self, event: String, handler: EventHandler, once: bool) {
        self.on.push((event.into(), handler, once));
    }

    /// Takes the handlers of `event` out, for the caller to drop.
    pub(crate) fn off(&mut self, event: &str) -> Vec<EventHandler> {
        let (off, on) = std::mem::take(&mut self.on).into_iter().partition(|(name, ..)| **name == *event);
        self.on = on;
        let off: Vec<(Box<str>, EventHandler, bool)> = off;
        off.into_iter().map(|(_, handler, _)| handler).collect()
    }

    /// Whether someone listens to `event`.
    pub(crate) fn has(&self, event: &str) -> bool {
        self.on.iter().any(|(name, ..)| **name == *event)
    }

    /// The handlers of `event`, in the order of registration; those of `once` leave.
    pub(crate) fn take(&mut self, event: &str, handlers: &mut impl Extend<EventHandler>) {
        self.on.retain(|(name, handler, once)| {
            let matches = **name == *event;
            if matches {
                handlers.extend([handler.clone()]);
            }
            !(matches && *once)
        });
    }
}
