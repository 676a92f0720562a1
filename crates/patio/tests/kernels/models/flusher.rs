//! Turns and the flusher alone, with more sessions than a thread writes by itself.

use std::sync::Arc;

use libtest_mimic::Trial;
use shuttle::thread;

use super::model::{Workers, trial};
use crate::{
    engine::flush::{Flush, Flusher, Turn, schedule},
    sync::Mutex,
};

pub(super) fn all() -> Vec<Trial> {
    vec![trial("flusher::whatever_is_scheduled_is_written", whatever_is_scheduled_is_written)]
}

/// One more than two chunks.
const TARGETS: usize = 129;

/// Stands for a session: what was queued, and not yet written.
struct Target {
    queued: Mutex<usize>,
    flusher: Arc<Flusher>,
}

impl Target {
    fn send(self: &Arc<Self>) {
        *self.queued.lock() += 1;
        schedule(Arc::clone(self) as Arc<dyn Flush>);
    }
}

impl Flush for Target {
    fn flush(self: Arc<Self>) {
        *self.queued.lock() = 0;
    }

    fn flusher(&self) -> &Flusher {
        &self.flusher
    }
}

/// A broadcast in a connection's turn, calls from outside, and one inside of another turn.
fn whatever_is_scheduled_is_written() {
    let flusher = Arc::<Flusher>::default();
    let workers = Workers::start(&flusher);
    let targets: Vec<_> = (0..TARGETS)
        .map(|_| Arc::new(Target { queued: Mutex::new(0), flusher: Arc::clone(&flusher) }))
        .collect();
    drop(flusher);
    let [all, few] = [targets.clone(), targets[..3].to_vec()];
    let threads = [
        thread::spawn(move || {
            let outer = Turn::of_connection();
            all.iter().for_each(Target::send);
            let inner = Turn::of_caller();
            all[0].send();
            drop(inner);
            drop(outer);
            all[1].send();
        }),
        thread::spawn(move || {
            for target in few {
                let turn = Turn::of_caller();
                target.send();
                drop(turn);
            }
        }),
    ];
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    // One that is never written is waited for in vain, and the steps of a model are bounded.
    while targets.iter().any(|target| *target.queued.lock() > 0) {
        thread::yield_now();
    }
    // The last of them ends the flusher, and that its workers.
    drop(targets);
    workers.end();
}
