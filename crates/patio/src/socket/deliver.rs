//! What comes to a socket from emits and broadcasts, on its way to the session's queue.
//!
//! `on_any_outgoing` hears of it here. A restored socket holds back live packets here until it has what it missed.

use std::sync::Arc;

use patio_adapter::Offset;
use patio_proto::{
    encode::Encoded,
    packet::{Kind, Packet},
};

use super::{More, Socket, listeners::OutgoingListener, status};
use crate::guard::guard;

/// What a restored socket does with live packets until it has what it missed.
pub(super) struct CatchingUp {
    /// While the history is read: what comes meanwhile.
    held: Option<Vec<Held>>,
    /// Bytes of what is held: no more than may wait to be written.
    bytes: usize,
    /// How far it was read. What is not later than that is known to the client, also when it arrives late.
    cursor: Option<Offset>,
}

/// A packet that waits until its client has what it missed before.
struct Held {
    encoded: Arc<Encoded>,
    offset: Option<Offset>,
}

impl Socket {
    /// Queues an event for the client. With `offset` it is in the history, too.
    pub(crate) fn deliver(
        &self,
        encoded: &Arc<Encoded>,
        packet: &Packet,
        volatile: bool,
        offset: Option<&Offset>,
    ) {
        if self.status() == status::DISCONNECTED {
            return;
        }
        let outgoing = self.if_more(|more| {
            let goes_on = self.catch_up(more, encoded, volatile, offset);
            goes_on.then(|| more.listeners.outgoing.clone())
        });
        match outgoing {
            None => {}
            Some(None) => return,
            Some(Some(outgoing)) => self.tell_outgoing(outgoing, packet),
        }
        self.0.session.send(encoded, volatile);
    }

    /// What a restored socket does with a live packet first. False: it is held back, or the client has it already.
    fn catch_up(
        &self,
        more: &mut More,
        encoded: &Arc<Encoded>,
        volatile: bool,
        offset: Option<&Offset>,
    ) -> bool {
        let Some(catching_up) = &mut more.catching_up else { return true };
        if let Some(held) = &mut catching_up.held {
            let limits = &self.0.session.engine().config.limits;
            let bytes = catching_up.bytes + encoded.len();
            let is_full = bytes > limits.outbound_bytes || held.len() >= limits.outbound_packets;
            if is_full && !held.is_empty() {
                self.0.session.let_go_slow();
            } else if !volatile {
                catching_up.bytes = bytes;
                held.push(Held { encoded: Arc::clone(encoded), offset: offset.cloned() });
            }
            return false;
        }
        if let Some(offset) = offset {
            if Some(offset) <= catching_up.cursor.as_ref() {
                return false;
            }
            // Offsets come in order: from here on all are later.
            more.catching_up = None;
        }
        true
    }

    /// Queues a packet that is for this client only.
    pub(crate) fn deliver_packet(&self, kind: Kind) {
        let packet = Packet::new(self.0.hub.nsp(), kind);
        self.0.session.send(&self.0.hub.encode(&packet, true), false);
    }

    /// A listener that panics keeps the event from nobody.
    fn tell_outgoing(&self, outgoing: Vec<OutgoingListener>, packet: &Packet) {
        let Some(payload) = packet.payload().filter(|_| !outgoing.is_empty()) else { return };
        let name = payload.event_name().unwrap_or_default();
        for listener in outgoing {
            if let Err(error) = guard(|| listener(&name, payload)) {
                self.server().handler_failed(self, Some(&name), &error);
            }
        }
    }

    /// Keeps back what is sent to this socket from now on, until [`Self::release`].
    pub(crate) fn hold(&self) {
        let catching_up = CatchingUp { held: Some(Vec::new()), bytes: 0, cursor: None };
        self.with_more(|more| more.catching_up = Some(Box::new(catching_up)));
    }

    /// Sends what was kept back, without what the history had up to `cursor`; that is left out from now on, too.
    pub(crate) fn release(&self, cursor: &Offset) {
        loop {
            let held = {
                let mut more = self.0.more.lock();
                let Some(catching_up) = more.as_mut().and_then(|more| more.catching_up.as_mut()) else {
                    return;
                };
                catching_up.cursor = Some(cursor.clone());
                let held = catching_up.held.take().unwrap_or_default();
                if held.is_empty() {
                    return;
                }
                // What comes while these are sent comes after them.
                catching_up.held = Some(Vec::new());
                catching_up.bytes = 0;
                held
            };
            for Held { encoded, offset } in held {
                if offset.is_none_or(|offset| offset > *cursor) {
                    self.0.session.send(&encoded, false);
                }
            }
        }
    }
}
