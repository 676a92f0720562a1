//! The one task of a [`Cluster`](super::Cluster): heartbeats, and the end of other servers' questions.
//!
//! It is begun when there is first something to keep in time, and ends with the adapter.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::Notify,
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use super::{Inner, broker::Broker};

#[derive(Default)]
pub(super) struct Keeper {
    /// Woken when there is something earlier to do, and when the adapter ends.
    changed: Arc<Notify>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Keeper {
    /// Something is to be kept in time. Without a runtime around, it waits for the next occasion.
    pub(super) fn wake<B: Broker>(inner: &Arc<Inner<B>>) {
        let mut task = inner.keeper.task.lock();
        if task.is_some() {
            inner.keeper.changed.notify_one();
        } else if let Ok(runtime) = Handle::try_current()
            && !inner.is_closed()
        {
            let changed = inner.keeper.changed.clone();
            *task = Some(runtime.spawn(keep(Arc::downgrade(inner), changed)));
        }
    }

    /// Waits for the end of the task, when the adapter has been closed.
    pub(super) async fn stop(&self) {
        let task = self.task.lock().take();
        if let Some(task) = task {
            // It ends by itself; that it was cancelled with its runtime is as good.
            let _ = task.await;
        }
    }

    /// The adapter has been closed or is being dropped: the task ends.
    pub(super) fn let_go(&self) {
        self.changed.notify_one();
    }
}

async fn keep<B: Broker>(inner: Weak<Inner<B>>, changed: Arc<Notify>) {
    loop {
        let next = match inner.upgrade() {
            Some(inner) if !inner.is_closed() => inner.tick(Instant::now()),
            _ => return,
        };
        match next {
            Some(next) => {
                tokio::select! {
                    () = sleep_until(next) => {}
                    () = changed.notified() => {}
                }
            }
            None => changed.notified().await,
        }
    }
}
