//! Events of a client: who handles them, and when.
//!
//! Handlers of one socket start in the order of their packets. At the bound of those that run, further events are
//! parked, in order, while acks, disconnects and heartbeats are still taken; when too much is parked, the driver stops
//! reading. Events without a listener wait for the connect handlers of their socket.

use std::panic::{AssertUnwindSafe, catch_unwind};

use futures_util::FutureExt;
use patio_proto::{engine::Transport, payload::Payload};
use smallvec::SmallVec;

use super::{Driver, running::Done};
use crate::{
    handler::{Call, HandlerError, erased::EventHandler},
    socket::{Socket, setup},
};

/// An event from the client.
pub(super) struct Event {
    pub(super) socket: Socket,
    pub(super) id: Option<u64>,
    pub(super) payload: Payload,
}

/// Events.
impl Driver<'_> {
    pub(super) fn event(&mut self, event: Event) {
        if !event.socket.is_connected() {
            self.engine().counters.dropped_events.add(1);
        } else if self.must_park(&event) {
            self.park(event);
        } else {
            self.dispatch(event);
        }
    }

    /// Whether the event must wait. While there is a place, all that is parked waits for connect handlers, and their
    /// sockets know of it: nothing has to be looked for.
    fn must_park(&self, event: &Event) -> bool {
        if !self.has_place() || event.socket.setup() == setup::AWAITED {
            return true;
        }
        let waits = event.waits_for_listeners();
        if waits {
            event.socket.set_setup(setup::AWAITED);
        }
        waits
    }

    fn park(&mut self, mut event: Event) {
        if self.session.transport() == Transport::Polling {
            // A small event must not keep the large request that it came in.
            event.payload = event.payload.detached();
        }
        self.inbox.parked_bytes += event.parked_size();
        self.inbox.parked.get_or_insert_default().push_back(event);
        self.measure();
    }

    /// Whether too much is parked, or runs: handlers of connections and of their ends have no place among the events',
    /// so a client that joins and leaves all the time is not read from while too many of them wait.
    pub(super) fn measure(&mut self) {
        let limits = &self.session.engine().config.limits;
        let most = limits.handlers.saturating_add(limits.namespaces.saturating_mul(2));
        self.inbox.full = self.inbox.parked_bytes >= limits.parked_bytes || self.running() >= most;
    }

    pub(super) fn forget_parked(&mut self) {
        if let Some(parked) = self.inbox.parked.take() {
            self.engine().counters.dropped_events.add(parked.len() as u64);
        }
        self.inbox.parked_bytes = 0;
        self.measure();
    }

    /// Drops the events of a socket that has ended: nobody handles them, and others may have their place.
    pub(super) fn forget_parked_of(&mut self, socket: &Socket) {
        let Some(parked) = &mut self.inbox.parked else { return };
        let before = parked.len();
        parked.retain(|event| event.socket != *socket);
        let dropped = before - parked.len();
        self.inbox.parked_bytes = parked.iter().map(Event::parked_size).sum();
        self.inbox.parked.take_if(|parked| parked.is_empty());
        if dropped > 0 {
            self.engine().counters.dropped_events.add(dropped as u64);
            self.measure();
        }
    }

    /// Dispatches what may go on now, in order. True: that was something.
    pub(super) fn unpark(&mut self) -> bool {
        let mut went_on = self.unpark_once();
        if self.inbox.full && self.has_place() {
            // Connect handlers that go on for as long as their sockets do: nobody can wait for that.
            for event in self.inbox.parked.iter().flat_map(|parked| parked.iter()) {
                event.socket.set_setup(setup::DONE);
            }
            went_on |= self.unpark_once();
        }
        went_on
    }

    fn unpark_once(&mut self) -> bool {
        let mut went_on = false;
        let mut at = 0;
        // Sockets whose connect handlers still run: nothing of theirs overtakes what waits.
        let mut held: SmallVec<[Socket; 2]> = SmallVec::new();
        while self.has_place() {
            let Some(event) = self.inbox.parked.as_ref().and_then(|parked| parked.get(at)) else { break };
            let is_held = held.contains(&event.socket);
            if is_held || event.waits_for_listeners() {
                if !is_held {
                    event.socket.set_setup(setup::AWAITED);
                    held.push(event.socket.clone());
                }
                at += 1;
                continue;
            }
            let Some(event) = self.inbox.parked.as_mut().and_then(|parked| parked.remove(at)) else { break };
            if event.socket.setup() == setup::AWAITED {
                event.socket.set_setup(setup::RUNNING);
            }
            self.inbox.parked_bytes -= event.parked_size();
            self.dispatch(event);
            went_on = true;
        }
        self.inbox.parked.take_if(|parked| parked.is_empty());
        self.measure();
        went_on
    }

    /// Whether another handler may run.
    fn has_place(&self) -> bool {
        self.running() < self.engine().config.limits.handlers
    }

    fn running(&self) -> usize {
        self.inbox.running.as_ref().map_or(0, |running| running.len())
    }

    fn dispatch(&mut self, event: Event) {
        if !event.socket.is_connected() {
            return self.engine().counters.dropped_events.add(1);
        }
        let declared = event.socket.hub().declared();
        let mut any: SmallVec<[EventHandler; 2]> = declared.any.iter().cloned().collect();
        let mut middlewares = declared.packet_middlewares.clone();
        drop(declared);
        event.socket.with_listeners(|listeners| {
            any.extend(listeners.any.iter().cloned());
            middlewares.extend(listeners.middlewares.iter().cloned());
        });
        for handler in any {
            self.call(&handler, &event, None);
        }
        if middlewares.is_empty() {
            return self.deliver(event);
        }
        self.start_flow(async move {
            for middleware in middlewares {
                let call = Call::event(event.socket.clone(), event.payload.clone(), None);
                let passed = async { middleware.call(call)?.await };
                match AssertUnwindSafe(passed).catch_unwind().await {
                    Ok(Ok(())) => {}
                    Ok(Err(refusal)) => {
                        event.socket.server().event_refused(&event.socket, &event.payload, &refusal);
                        return Done::Nothing;
                    }
                    Err(panic) => {
                        let (name, error) = (event.name(), HandlerError::panicked(panic));
                        return Done::Failed { socket: event.socket, event: name, error };
                    }
                }
            }
            Done::Pass(event)
        });
    }

    /// Calls the handlers of an event.
    pub(super) fn deliver(&mut self, event: Event) {
        if !event.socket.is_connected() {
            return self.engine().counters.dropped_events.add(1);
        }
        let name = event.payload.event_name().unwrap_or_default();
        let declared = event.socket.hub().declared();
        let of_all = declared.on.get(&*name).map(Vec::as_slice).unwrap_or_default();
        let mut own: SmallVec<[EventHandler; 2]> = SmallVec::new();
        event.socket.with_listeners(|listeners| listeners.take(&name, &mut own));
        let fallback = declared.fallback.as_ref().filter(|_| of_all.is_empty() && own.is_empty());
        if of_all.is_empty() && own.is_empty() && fallback.is_none() {
            return self.engine().counters.unhandled_events.add(1);
        }
        // A client is acknowledged once: by its first handler.
        let mut id = event.id;
        for handler in of_all.iter().chain(&own).chain(fallback) {
            self.call(handler, &event, id.take());
        }
    }

    fn call(&mut self, handler: &EventHandler, event: &Event, ack_id: Option<u64>) {
        let call = Call::event(event.socket.clone(), event.payload.clone(), ack_id);
        let failed = match catch_unwind(AssertUnwindSafe(|| handler.call(call))) {
            Ok(Ok(future)) => return self.start_handler(event, future),
            Ok(Err(error)) => HandlerError::from(error),
            Err(panic) => HandlerError::panicked(panic),
        };
        event.socket.server().handler_failed(&event.socket, Some(&event.name()), &failed);
    }
}

impl Event {
    pub(super) fn name(&self) -> Box<str> {
        self.payload.event_name().unwrap_or_default().into()
    }

    /// What it costs to keep this event: its data, and what stands around it.
    fn parked_size(&self) -> usize {
        size_of::<Self>() + self.payload.size()
    }

    /// Whether the socket's connect handlers still run, and nobody listens yet.
    fn waits_for_listeners(&self) -> bool {
        self.socket.setup() != setup::DONE && !self.has_listener()
    }

    fn has_listener(&self) -> bool {
        let name = self.payload.event_name().unwrap_or_default();
        self.socket.hub().declared().on.contains_key(&*name)
            || self.socket.with_listeners(|listeners| listeners.has(&name)).unwrap_or(false)
    }
}
