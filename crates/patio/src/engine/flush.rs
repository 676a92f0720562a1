//! When queued packets are written: at the end of a turn, or by the flusher.
//!
//! A *turn* is what one thread does without interruption for one cause: the packets that one read brought, or one call
//! of `emit` from outside any connection. Sessions that were given packets in a turn are collected here and written
//! once when it ends, so that a burst leaves in one `write` per connection. Writing inside `emit` never coalesces:
//! the queue is always empty then (4.0 µs a delivery instead of 0.7 with eight messages in flight).
//!
//! Few sessions are written by the thread that ends the turn. Many, and those of a turn outside any connection, go to
//! the flusher: one task per worker of the runtime, so that a large broadcast uses every core and no thread is held
//! for longer than [`CHUNK`] writes.

use std::{
    cell::RefCell,
    collections::VecDeque,
    sync::{Arc, OnceLock},
};

use tokio::{runtime::Handle, sync::Notify};

use crate::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
    thread_local,
};

/// How many sessions a thread writes before it lets others run: 64 writes take about 0.3 ms.
const CHUNK: usize = 64;

/// Something whose queue can be written.
pub(crate) trait Flush: Send + Sync {
    /// Writes what is queued, as far as the peer takes it. Never blocks.
    fn flush(self: Arc<Self>);

    /// The flusher that may do it instead.
    fn flusher(&self) -> &Flusher;
}

#[derive(Default)]
struct TurnState {
    depth: u32,
    dirty: Vec<Arc<dyn Flush>>,
}

thread_local! {
    static TURN: RefCell<TurnState> = RefCell::default();
}

/// A turn of this thread; its end writes what it queued. Turns nest: the outermost counts.
pub(crate) struct Turn {
    /// Whether the end of the turn may write by itself, or hands everything to the flusher.
    writes: bool,
}

impl Turn {
    /// A turn that a connection has: its thread writes what it queued.
    pub(crate) fn of_connection() -> Self {
        Self::begin(true)
    }

    /// A call from outside: the flusher writes, so that calls in a loop coalesce and the caller is not held up.
    pub(crate) fn of_caller() -> Self {
        Self::begin(false)
    }

    fn begin(writes: bool) -> Self {
        TURN.with_borrow_mut(|turn| turn.depth += 1);
        Self { writes }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let dirty = TURN.with_borrow_mut(|turn| {
            turn.depth -= 1;
            if turn.depth > 0 { Vec::new() } else { std::mem::take(&mut turn.dirty) }
        });
        let Some(first) = dirty.first().cloned() else { return };
        if self.writes && dirty.len() <= CHUNK {
            write_all(dirty);
        } else {
            first.flusher().give(dirty);
        }
    }
}

/// Has `target` written at the end of this thread's turn.
pub(crate) fn schedule(target: Arc<dyn Flush>) {
    let alone = TURN.with_borrow_mut(|turn| {
        if turn.depth == 0 {
            return Some(target);
        }
        turn.dirty.push(target);
        None
    });
    if let Some(target) = alone {
        target.flusher().give(vec![Arc::clone(&target)]);
    }
}

/// Writes each session, and keeps the emptied list for this thread's next turn.
fn write_all(mut dirty: Vec<Arc<dyn Flush>>) {
    for target in dirty.drain(..) {
        target.flush();
    }
    TURN.with_borrow_mut(|turn| {
        if turn.dirty.capacity() == 0 {
            turn.dirty = dirty;
        }
    });
}

/// Writes for turns that are too large to write for themselves. Its workers end when it is dropped.
#[derive(Default)]
pub(crate) struct Flusher {
    queue: Arc<FlushQueue>,
    runtime: OnceLock<Handle>,
}

#[derive(Default)]
struct FlushQueue {
    /// Chunks of sessions that wait for a worker. Bounded by the number of sessions: each is listed at most once.
    chunks: Mutex<VecDeque<Vec<Arc<dyn Flush>>>>,
    /// Wakes one worker; each that finds nothing more to do waits here.
    work: Notify,
    closed: AtomicBool,
}

impl Flusher {
    /// Starts one worker for each of the current runtime's, once.
    pub(crate) fn start(&self) {
        if self.runtime.get().is_some() {
            return;
        }
        let handle = Handle::current();
        if self.runtime.set(handle.clone()).is_ok() {
            for _ in 0..handle.metrics().num_workers() {
                handle.spawn(self.worker());
            }
        }
    }

    /// One worker, which ends when the flusher is dropped.
    pub(crate) fn worker(&self) -> impl Future<Output = ()> + Send + use<> {
        work(Arc::clone(&self.queue))
    }

    fn give(&self, dirty: Vec<Arc<dyn Flush>>) {
        let mut given = 1;
        {
            let mut chunks = self.queue.chunks.lock();
            if dirty.len() <= CHUNK {
                chunks.push_back(dirty);
            } else {
                given = dirty.len().div_ceil(CHUNK);
                let mut rest = dirty.into_iter();
                chunks.extend((0..given).map(|_| rest.by_ref().take(CHUNK).collect()));
            }
        }
        let workers = self.runtime.get().map_or(1, |handle| handle.metrics().num_workers());
        for _ in 0..given.min(workers) {
            self.queue.work.notify_one();
        }
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.queue.closed.store(true, Ordering::Release);
        self.queue.work.notify_one();
    }
}

/// One worker of the flusher.
async fn work(queue: Arc<FlushQueue>) {
    loop {
        let chunk = queue.chunks.lock().pop_front();
        match chunk {
            Some(chunk) => {
                write_all(chunk);
                tokio::task::yield_now().await;
            }
            None if queue.closed.load(Ordering::Acquire) => {
                // The next worker hears of the end from this one.
                return queue.work.notify_one();
            }
            None => queue.work.notified().await,
        }
    }
}
