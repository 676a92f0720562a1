//! What waits to be published: in order, bounded in number and bytes, and never lost without somebody hearing of it. Sessions
//! wait by themselves: when many clients are cut off at once, nothing that is said is refused for them.

use std::{collections::VecDeque, mem};

use parking_lot::Mutex;
use patio_adapter::{AdapterError, cluster::broker::Inbox};
use tokio::sync::{Notify, oneshot};

use crate::{
    client::{CommandError, Post},
    throttle::Throttle,
};

/// What bounds a line.
struct Bounds {
    /// When so much waits, no more is taken. The last one may be of any size.
    most: usize,
    most_bytes: usize,
    /// The most that is handed to Redis in one go.
    batch: usize,
    batch_bytes: usize,
}

const MESSAGES: Bounds =
    Bounds { most: 65_536, most_bytes: 16 * 1024 * 1024, batch: 512, batch_bytes: 1024 * 1024 };

/// All clients of a server may be cut off at once, each with 1 KiB of data or so. Few of them go with each batch of
/// messages, which they must not make late.
const SESSIONS: Bounds =
    Bounds { most: 65_536, most_bytes: 64 * 1024 * 1024, batch: 128, batch_bytes: 256 * 1024 };

/// Something for Redis, and who hears what became of it.
pub(crate) struct Publication {
    pub(crate) post: Post,
    pub(crate) outcome: Outcome,
}

/// Who hears what became of a publication. Dropped before it was published, it has failed.
#[derive(Default)]
pub(crate) struct Outcome {
    /// Somebody waits for it.
    waiting: Option<oneshot::Sender<Result<(), AdapterError>>>,
    failure: Failure,
}

/// What comes of a failure.
#[derive(Default)]
enum Failure {
    #[default]
    Nothing,
    Counted(Inbox),
    Followed(Box<dyn FnOnce() + Send + Sync>),
}

impl Outcome {
    /// A failure is counted.
    pub(crate) fn count(inbox: Inbox) -> Self {
        Self { waiting: None, failure: Failure::Counted(inbox) }
    }

    /// Somebody waits. An error of the receiver: there was no connection any more.
    pub(crate) fn tell() -> (Self, oneshot::Receiver<Result<(), AdapterError>>) {
        let (sender, receiver) = oneshot::channel();
        (Self { waiting: Some(sender), failure: Failure::Nothing }, receiver)
    }

    /// If it fails, this is done, too.
    pub(crate) fn or_else(self, consequence: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self { waiting: self.take().0, failure: Failure::Followed(Box::new(consequence)) }
    }

    /// Whoever waits hears of a failure in another way.
    pub(crate) fn forget(self) {
        self.take();
    }

    fn settle(self, result: Result<(), AdapterError>) {
        let (waiting, failure) = self.take();
        if result.is_err() {
            failure.happen();
        }
        if let Some(waiting) = waiting {
            // Who waited may have gone.
            let _ = waiting.send(result);
        }
    }

    /// Its parts, so that nothing comes of the rest.
    fn take(mut self) -> (Option<oneshot::Sender<Result<(), AdapterError>>>, Failure) {
        (self.waiting.take(), mem::take(&mut self.failure))
    }
}

impl Failure {
    fn happen(self) {
        match self {
            Self::Nothing => {}
            Self::Counted(inbox) => inbox.publish_failed(),
            Self::Followed(consequence) => consequence(),
        }
    }
}

impl Drop for Outcome {
    fn drop(&mut self) {
        mem::take(&mut self.failure).happen();
    }
}

/// The queue of one server.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    filled: Notify,
    refusals: Mutex<Refusals>,
}

/// What Redis refuses, which may be all that comes for one key.
#[derive(Default)]
struct Refusals {
    so_far: u64,
    log: Throttle,
}

#[derive(Default)]
struct State {
    messages: Line,
    sessions: Line,
    /// Whether there is a connection.
    open: bool,
}

/// What waits, in order.
#[derive(Default)]
struct Line {
    waiting: VecDeque<Publication>,
    bytes: usize,
}

impl Line {
    fn is_full(&self, bounds: &Bounds) -> bool {
        self.waiting.len() >= bounds.most || self.bytes >= bounds.most_bytes
    }

    fn push(&mut self, publication: Publication) {
        self.bytes += publication.post.size();
        self.waiting.push_back(publication);
    }

    /// The first ones, as many as go at once.
    fn take(&mut self, bounds: &Bounds) -> impl Iterator<Item = Publication> {
        let mut bytes = 0;
        let count = self.waiting.iter().take(bounds.batch).take_while(|publication| {
            let first = bytes == 0;
            bytes += publication.post.size();
            first || bytes <= bounds.batch_bytes
        });
        let count = count.count();
        self.bytes -= self.waiting.range(..count).map(|one| one.post.size()).sum::<usize>();
        self.waiting.drain(..count)
    }
}

impl Queue {
    /// There is a connection: publications are taken.
    pub(crate) fn open(&self) {
        self.state.lock().open = true;
    }

    /// There is none: what waits has failed.
    pub(crate) fn close(&self) {
        let state = mem::take(&mut *self.state.lock());
        // Outside of the lock: their outcomes are told.
        drop(state);
    }

    /// Puts a publication at the end. Errors: there is no connection, or the queue is full; that is not counted here.
    pub(crate) fn push(&self, publication: Publication) -> Result<(), AdapterError> {
        let mut state = self.state.lock();
        let is_open = state.open;
        let (line, bounds) = match publication.post {
            Post::Keep { .. } => (&mut state.sessions, SESSIONS),
            _ => (&mut state.messages, MESSAGES),
        };
        if !is_open || line.is_full(&bounds) {
            drop(state);
            // Who called counts it.
            publication.outcome.forget();
            return Err(if is_open { AdapterError::overloaded() } else { AdapterError::disconnected() });
        }
        line.push(publication);
        drop(state);
        self.filled.notify_one();
        Ok(())
    }

    /// What waits, in order, as much as is handed over in one go, and some sessions behind it; waits for the first. Cancelling takes nothing.
    pub(crate) async fn next(&self) -> Batch {
        loop {
            let filled = self.filled.notified();
            if let Some(batch) = self.try_next() {
                return batch;
            }
            filled.await;
        }
    }

    /// As [`next`](Self::next), if anything waits.
    pub(crate) fn try_next(&self) -> Option<Batch> {
        let mut state = self.state.lock();
        let State { messages, sessions, .. } = &mut *state;
        let batch: Vec<_> = messages.take(&MESSAGES).chain(sessions.take(&SESSIONS)).collect();
        (!batch.is_empty()).then_some(Batch(batch))
    }

    /// Redis has said what became of each of a batch. An error: it would say the same of all that follow.
    pub(crate) fn settle(
        &self,
        batch: Batch,
        results: Vec<Result<(), CommandError>>,
    ) -> Result<(), CommandError> {
        let mut lost = Ok(());
        for (one, result) in batch.0.into_iter().zip(results) {
            match &result {
                Err(error) if error.is_lost() => lost = Err(error.clone()),
                Err(error) => self.refusals.lock().add(error),
                Ok(()) => {}
            }
            one.outcome.settle(result.map_err(AdapterError::from));
        }
        lost
    }
}

impl Refusals {
    fn add(&mut self, error: &CommandError) {
        self.so_far += 1;
        if self.log.due() {
            tracing::warn!(%error, so_far = self.so_far, "Redis refused a message");
        }
    }
}

/// Publications that are handed to Redis together. Dropped before they were published, they have failed.
pub(crate) struct Batch(Vec<Publication>);

impl Batch {
    /// What they are.
    pub(crate) fn posts(&self) -> impl Iterator<Item = &Post> {
        self.0.iter().map(|one| &one.post)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn publication(size: usize) -> (Publication, oneshot::Receiver<Result<(), AdapterError>>) {
        let (outcome, receiver) = Outcome::tell();
        let post = Post::Publish { channel: "c".into(), payload: vec![0; size - 1].into() };
        (Publication { post, outcome }, receiver)
    }

    #[test]
    fn is_bounded_and_fails_what_it_does_not_keep() {
        let queue = Queue::default();
        assert!(queue.push(publication(1).0).is_err(), "there is no connection");
        queue.open();
        let (huge, mut outcome) = publication(2 * MESSAGES.most_bytes);
        queue.push(huge).unwrap();
        assert!(queue.push(publication(1).0).is_err(), "it is full");
        queue.close();
        assert!(matches!(outcome.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
        queue.open();
        (0..MESSAGES.most).for_each(|_| queue.push(publication(1).0).unwrap());
        assert!(queue.push(publication(1).0).is_err(), "there are many");
    }

    fn session(size: usize) -> Publication {
        let post =
            Post::Keep { key: "k".into(), value: vec![0; size - 1].into(), time: Duration::from_secs(1) };
        Publication { post, outcome: Outcome::default() }
    }

    #[test]
    fn sessions_and_messages_do_not_refuse_each_other() {
        let queue = Queue::default();
        queue.open();
        // As when 10,000 clients are cut off at once, again and again.
        let kept = (0..100_000).filter(|_| queue.push(session(1024)).is_ok()).count();
        assert_eq!(kept, SESSIONS.most_bytes / 1024, "and what does not fit is refused");
        let (one, mut outcome) = publication(1);
        queue.push(one).unwrap();
        let batch = queue.try_next().unwrap();
        assert!(matches!(batch.0[0].post, Post::Publish { .. }), "it goes first");
        assert!((2..=1 + SESSIONS.batch).contains(&batch.0.len()), "and some sessions with it");
        let results = batch.0.iter().map(|_| Ok(())).collect();
        queue.settle(batch, results).unwrap();
        assert!(matches!(outcome.try_recv(), Ok(Ok(()))));
        (0..MESSAGES.most).for_each(|_| queue.push(publication(1).0).unwrap());
        queue.push(session(1)).unwrap();
        queue.close();
        queue.open();
        let kept = (0..100_000).filter(|_| queue.push(session(10)).is_ok()).count();
        assert_eq!(kept, SESSIONS.most);
    }

    #[test]
    fn batches_are_bounded_and_in_order() {
        let queue = Queue::default();
        queue.open();
        assert!(queue.try_next().is_none());
        for size in [MESSAGES.batch_bytes * 2, 1, 2, MESSAGES.batch_bytes] {
            queue.push(publication(size).0).unwrap();
        }
        let sizes = |batch: Batch| batch.posts().map(Post::size).collect::<Vec<_>>();
        assert_eq!(sizes(queue.try_next().unwrap()), [MESSAGES.batch_bytes * 2]);
        assert_eq!(sizes(queue.try_next().unwrap()), [1, 2]);
        assert_eq!(sizes(queue.try_next().unwrap()), [MESSAGES.batch_bytes]);
        assert_eq!(queue.state.lock().messages.bytes, 0);
        (0..1000).for_each(|_| queue.push(publication(1).0).unwrap());
        assert_eq!(sizes(queue.try_next().unwrap()).len(), MESSAGES.batch);
    }

    #[test]
    fn tells_what_was_published() {
        let queue = Queue::default();
        queue.open();
        let (one, mut outcome) = publication(1);
        queue.push(one).unwrap();
        queue.settle(queue.try_next().unwrap(), vec![Ok(())]).unwrap();
        assert!(matches!(outcome.try_recv(), Ok(Ok(()))));
    }
}
