//! The calls for one socket's events, one after the other: what is repeated holds up what its socket sent later, and nothing
//! else.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::Value as Json;
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

use super::{HookError, HookUrl, Hooks, Message};

/// How much may wait for one socket: beyond, its events are refused.
const MOST: usize = 256;
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// The pause before the first repeat; twice as long each time, a random half of it.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What becomes of an answer.
type Settle = Box<dyn FnOnce(Result<Json, HookError>) -> BoxFuture<'static, ()> + Send>;

/// A call that is to be made.
pub(crate) struct Job {
    pub(crate) url: HookUrl,
    pub(crate) message: Message,
    /// Whether it is made again if it fails. Not where somebody waits for the answer.
    pub(crate) repeats: bool,
    pub(crate) settle: Settle,
}

/// The calls of one socket. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Queue(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    bytes: usize,
    /// Whether a task makes them.
    running: bool,
}

impl Queue {
    /// Puts a call at the end; never waits. If too much waits already, it fails.
    pub(crate) fn push(&self, job: Job, hooks: &Hooks, tasks: &TaskTracker) {
        let mut state = self.0.lock();
        let bytes = job.message.len();
        let full = state.waiting.len() >= MOST || state.running && state.bytes + bytes > MOST_BYTES;
        if full || !hooks.reserve(bytes) {
            drop(state);
            hooks.refused();
            tasks.spawn((job.settle)(Err(HookError::Busy)));
            return;
        }
        state.bytes += job.message.len();
        state.waiting.push_back(job);
        if !std::mem::replace(&mut state.running, true) {
            tasks.spawn(self.clone().run(hooks.clone()));
        }
    }

    async fn run(self, hooks: Hooks) {
        loop {
            let job = {
                let mut state = self.0.lock();
                let Some(job) = state.waiting.pop_front() else {
                    state.running = false;
                    return;
                };
                state.bytes -= job.message.len();
                job
            };
            let result = hooks.call_again(&job.url, &job.message, job.repeats).await;
            hooks.release(job.message.len());
            (job.settle)(result).await;
        }
    }
}

impl Hooks {
    /// One call, and the same again if it fails and may be repeated. An answer that refuses is a failure.
    pub(super) async fn call_again(
        &self,
        url: &HookUrl,
        message: &Message,
        repeats: bool,
    ) -> Result<Json, HookError> {
        use std::sync::atomic::Ordering::Relaxed;
        let mut pause = FIRST_PAUSE;
        let mut left = if repeats { self.retries() } else { 0 };
        loop {
            let error = match self.call(url, message).await {
                Ok((status, answer)) if status.is_success() => return Ok(answer),
                Ok((status, _)) => {
                    let error = HookError::Status(status);
                    self.failed(url, &error);
                    error
                }
                Err(error) => error,
            };
            if left == 0 || !error.is_temporary() {
                if repeats {
                    self.counters().dropped.fetch_add(1, Relaxed);
                }
                return Err(error);
            }
            left -= 1;
            self.counters().repeats.fetch_add(1, Relaxed);
            sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}
