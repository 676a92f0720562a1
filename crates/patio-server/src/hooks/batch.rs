//! Who has gone, told in batches: thousands go at once when a network fails.

use std::time::Duration;

use tokio::{
    sync::mpsc::{Receiver, Sender, channel},
    time::{Instant, timeout_at},
};
use tokio_util::task::TaskTracker;

use super::{
    HookUrl, Hooks, Message,
    bodies::{Disconnect, Gone},
};

/// How many go into one call, and how long the first of them waits for others.
const MOST: usize = 100;
const WAIT: Duration = Duration::from_millis(100);

/// How many may wait. Beyond, they are counted and forgotten.
const WAITING: usize = 65_536;

/// Tells who has gone. When all clones are dropped, what waits is still told.
#[derive(Clone)]
pub(crate) struct Batches {
    sender: Sender<Gone>,
    hooks: Hooks,
}

impl Batches {
    pub(crate) fn new(url: HookUrl, hooks: Hooks, tasks: &TaskTracker) -> Self {
        let (sender, receiver) = channel(WAITING);
        tasks.spawn(tell(receiver, url, hooks.clone()));
        Self { sender, hooks }
    }

    /// Never waits.
    pub(crate) fn push(&self, gone: Gone) {
        if self.sender.try_send(gone).is_err() {
            self.hooks.refused();
        }
    }
}

async fn tell(mut gone: Receiver<Gone>, url: HookUrl, hooks: Hooks) {
    while let Some(first) = gone.recv().await {
        let mut events = vec![first];
        let deadline = Instant::now() + WAIT;
        while events.len() < MOST
            && let Ok(Some(next)) = timeout_at(deadline, gone.recv()).await
        {
            events.push(next);
        }
        let message = Message::new(&Disconnect { events });
        // Counted and logged where it fails.
        let _ = hooks.call_again(&url, &message, true).await;
    }
}
