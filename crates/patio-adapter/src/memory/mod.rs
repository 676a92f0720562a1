//! The adapter of a server that stands alone: Node's in-memory adapter, with connection state recovery if wanted.
//!
//! It hands every operation to the namespace of this server. With recovery, events are recorded on their way (file
//! `history`), in the order in which they are delivered.

mod history;
mod yeast;

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use futures_core::{future::BoxFuture, stream::BoxStream};
use parking_lot::{Mutex, ReentrantMutex};

use crate::{
    AckEvent, Adapter, AdapterError, AdapterFactory, AllRooms, BroadcastOptions, Counted, Fetched, Local,
    NodeId, Offset, Payload, Replayed, Restored, Room, ServerAnswer, SessionRecord, acks,
    counters::{Counters, Stats},
};
use history::History;

/// The adapter of a server that stands alone. The default of every server.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    recovery: Option<MemoryRecovery>,
}

/// Connection state recovery in memory: how long and how much is kept, for each namespace.
#[derive(Clone, Debug)]
pub struct MemoryRecovery {
    /// How long a session and the packets it may miss are kept. Node's `maxDisconnectionDuration`; 120 s.
    pub max_disconnection: Duration,
    /// How many packets are kept at most; 100,000. Older ones leave first, and whoever needs them begins anew.
    pub max_packets: usize,
    /// How many bytes of packets are kept at most; 64 MiB.
    pub max_bytes: usize,
    /// How many sessions of disconnected sockets are kept at most; 100,000.
    pub max_sessions: usize,
}

impl Default for MemoryRecovery {
    fn default() -> Self {
        Self {
            max_disconnection: Duration::from_secs(120),
            max_packets: 100_000,
            max_bytes: 64 << 20,
            max_sessions: 100_000,
        }
    }
}

impl Memory {
    /// Without recovery.
    pub fn new() -> Self {
        Self::default()
    }

    /// With connection state recovery.
    pub fn with_recovery(recovery: MemoryRecovery) -> Self {
        Self { recovery: Some(recovery) }
    }
}

impl AdapterFactory for Memory {
    fn create(&self, _name: &str, local: Weak<dyn Local>) -> Arc<dyn Adapter> {
        let counters = Arc::<Counters>::default();
        let recorder = self.recovery.clone().map(|limits| Recorder {
            order: ReentrantMutex::new(()),
            history: Mutex::new(History::new(limits, counters.clone())),
        });
        Arc::new(MemoryAdapter { node: NodeId::random(), local, recorder, counters })
    }

    fn recovery(&self) -> bool {
        self.recovery.is_some()
    }
}

/// One namespace's adapter.
struct MemoryAdapter {
    node: NodeId,
    local: Weak<dyn Local>,
    recorder: Option<Recorder>,
    counters: Arc<Counters>,
}

struct Recorder {
    /// Held from the choice of an offset until the packet is queued for its receivers, so that no client sees a later
    /// offset before an earlier one (it would lose the earlier one on recovery). Reentrant, because delivery may make
    /// the same thread send again.
    order: ReentrantMutex<()>,
    /// Taken for moments only, inside `order`.
    history: Mutex<History>,
}

impl MemoryAdapter {
    /// The namespace, unless it has been dropped or `options` mean nobody.
    fn local_for(&self, options: &BroadcastOptions) -> Option<Arc<dyn Local>> {
        if options.is_nobody() { None } else { self.local.upgrade() }
    }
}

impl Adapter for MemoryAdapter {
    fn broadcast(&self, payload: &Payload, options: &BroadcastOptions) -> Result<(), AdapterError> {
        let Some(local) = self.local_for(options) else { return Ok(()) };
        match &self.recorder {
            Some(recorder) if !options.flags.volatile => {
                let _order = recorder.order.lock();
                let offset = recorder.history.lock().record(payload, options);
                local.broadcast(payload, options, Some(&offset));
            }
            _ => local.broadcast(payload, options, None),
        }
        Ok(())
    }

    fn broadcast_confirmed(
        &self,
        payload: &Payload,
        options: &BroadcastOptions,
    ) -> BoxFuture<'static, Result<(), AdapterError>> {
        ready(self.broadcast(payload, options))
    }

    fn broadcast_with_ack(
        &self,
        payload: &Payload,
        options: &BroadcastOptions,
    ) -> BoxStream<'static, AckEvent> {
        acks::local_only(self.local_for(options), self.node.clone(), payload, options, self.counters.clone())
    }

    fn join(&self, options: &BroadcastOptions, rooms: &[Room]) -> Result<(), AdapterError> {
        if let Some(local) = self.local_for(options) {
            local.join(options, rooms);
        }
        Ok(())
    }

    fn leave(&self, options: &BroadcastOptions, rooms: &[Room]) -> Result<(), AdapterError> {
        if let Some(local) = self.local_for(options) {
            local.leave(options, rooms);
        }
        Ok(())
    }

    fn disconnect(&self, options: &BroadcastOptions, close: bool) -> Result<(), AdapterError> {
        if let Some(local) = self.local_for(options) {
            local.disconnect(options, close);
        }
        Ok(())
    }

    fn fetch_sockets(&self, options: &BroadcastOptions) -> BoxFuture<'static, Result<Fetched, AdapterError>> {
        let sockets = self.local_for(options).map(|local| local.fetch_sockets(options)).unwrap_or_default();
        ready(Ok(Fetched { sockets, missing: 0 }))
    }

    fn count(&self, options: &BroadcastOptions) -> BoxFuture<'static, Result<Counted, AdapterError>> {
        let sockets = self.local_for(options).map_or(0, |local| local.count(options));
        ready(Ok(Counted { sockets, missing: 0 }))
    }

    fn all_rooms(&self) -> BoxFuture<'static, Result<AllRooms, AdapterError>> {
        let rooms = self.local.upgrade().map(|local| local.rooms()).unwrap_or_default();
        ready(Ok(AllRooms { rooms, missing: 0 }))
    }

    fn server_side_emit(&self, _payload: &Payload) -> Result<(), AdapterError> {
        Ok(())
    }

    fn server_side_emit_with_ack(
        &self,
        _payload: &Payload,
        _timeout: Duration,
    ) -> BoxStream<'static, ServerAnswer> {
        Box::pin(futures_util::stream::empty())
    }

    fn server_count(&self) -> BoxFuture<'static, Result<usize, AdapterError>> {
        ready(Ok(1))
    }

    fn recovery(&self) -> bool {
        self.recorder.is_some()
    }

    fn persist(&self, session: SessionRecord) {
        if let Some(recorder) = &self.recorder {
            recorder.history.lock().persist(session);
        }
    }

    fn restore(&self, pid: &str, offset: &str) -> BoxFuture<'static, Option<Restored>> {
        let restored =
            self.recorder.as_ref().and_then(|recorder| recorder.history.lock().restore(pid, offset));
        if self.recorder.is_some() && restored.is_none() {
            self.counters.failed_restores.add();
        }
        ready(restored)
    }

    fn replay(&self, cursor: &Offset, rooms: &[Room]) -> BoxFuture<'static, Option<Replayed>> {
        let replayed = self.recorder.as_ref().and_then(|recorder| {
            // What is in the history has been delivered then: else a packet could be replayed, and come live as well.
            let _order = recorder.order.lock();
            recorder.history.lock().replay(cursor, rooms)
        });
        ready(replayed)
    }

    fn stats(&self) -> Stats {
        self.counters.stats()
    }
}

/// What needs no wait.
fn ready<T: Send + 'static>(value: T) -> BoxFuture<'static, T> {
    Box::pin(std::future::ready(value))
}
