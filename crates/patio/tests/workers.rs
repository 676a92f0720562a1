//! A large broadcast is written by every worker of the runtime (design, invariant 4): which thread writes is seen from
//! outside.
//!
//! What is written to a client that polls wakes its request, on the thread that writes. So the requests are polled here,
//! with a waker that counts. On a WebSocket nobody can look at the writes themselves: there, the worker that sent the
//! broadcast is held until all have got it.

#![cfg(feature = "serve")]

#[expect(dead_code, reason = "each test file uses a part")]
mod support;

use std::{
    collections::HashMap,
    sync::{Arc, Condvar, Mutex, mpsc},
    task::{Context, Poll, Wake, Waker},
    thread::{self, ThreadId},
    time::Duration,
};

use patio::Server as Patio;
use support::{Server, V4, direct::Direct};
use tokio::runtime::Builder;

const WORKERS: usize = 2;

/// Receivers: shares for both.
const CROWD: usize = 2_000;

/// What a worker takes at once (`engine/flush.rs`).
const SHARE: usize = 64;

/// For one thread to wait for another one, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// No ping comes between.
const QUIET: Duration = Duration::from_secs(3_600);

#[test]
fn a_broadcast_to_thousands_is_written_by_every_worker() {
    let runtime = Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build().unwrap();
    let io = Patio::builder().ping_interval(QUIET).build().unwrap();
    let crowd = runtime.block_on(async {
        let mut crowd = Vec::new();
        for _ in 0..CROWD {
            crowd.push(Direct::joined(&io, true).await);
        }
        crowd
    });
    // Not inside of a task, where tokio would let only so many of them wait at a time.
    let _entered = runtime.enter();
    for from_a_worker in [false, true] {
        let writers = Arc::new(Writers::default());
        let waker = Waker::from(Arc::clone(&writers));
        let mut polls: Vec<_> = crowd.iter().map(|client| Box::pin(client.get())).collect();
        let mut poll = |n: usize| polls[n].as_mut().poll(&mut Context::from_waker(&waker));
        assert!((0..CROWD).all(|n| poll(n).is_pending()));

        let emit = {
            let io = io.clone();
            move || io.emit("news", &from_a_worker).unwrap()
        };
        if from_a_worker {
            drop(runtime.spawn(async move { emit() }));
        } else {
            emit();
        }
        let written = writers.all_written();
        assert!(!written.contains_key(&thread::current().id()), "emit does not write: {written:?}");
        assert_eq!(written.len(), WORKERS, "threads that wrote: {written:?}");
        assert!(written.values().all(|&writes| writes >= SHARE), "{written:?}");
        assert!((0..CROWD).all(|n| matches!(poll(n), Poll::Ready(answer) if answer.status() == 200)));
    }
}

/// How many clients each thread has written to.
#[derive(Default)]
struct Writers {
    written: Mutex<Written>,
    changed: Condvar,
}

#[derive(Default)]
struct Written {
    by: HashMap<ThreadId, usize>,
    /// A thread has waited for the others in vain.
    alone: bool,
}

impl Writers {
    /// How many each thread has written when all have been written.
    fn all_written(&self) -> HashMap<ThreadId, usize> {
        let written = self.written.lock().unwrap();
        let missing = |written: &mut Written| written.by.values().sum::<usize>() < CROWD;
        let (written, late) = self.changed.wait_timeout_while(written, 2 * PATIENCE, missing).unwrap();
        assert!(!late.timed_out(), "not all were written: {:?}", written.by);
        assert!(!written.alone, "one thread waited for the others in vain: {:?}", written.by);
        written.by.clone()
    }
}

impl Wake for Writers {
    /// A thread that writes. It goes on when all workers have begun to write: so each has its share, however few cores
    /// there are and whatever else they do.
    fn wake(self: Arc<Self>) {
        let mut written = self.written.lock().unwrap();
        *written.by.entry(thread::current().id()).or_default() += 1;
        self.changed.notify_all();
        let alone = |written: &mut Written| written.by.len() < WORKERS && !written.alone;
        let (mut written, late) = self.changed.wait_timeout_while(written, PATIENCE, alone).unwrap();
        written.alone |= late.timed_out();
        self.changed.notify_all();
    }
}

/// Who emits and then computes for long holds up nobody but itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broadcast_is_written_while_its_sender_holds_a_worker() {
    let server = Server::start(Patio::builder().ping_interval(QUIET)).await;
    let mut crowd = Vec::new();
    for _ in 0..2 * SHARE {
        let mut client = server.ws(V4).await;
        client.join("/").await;
        crowd.push(client);
    }
    let (heard, all_heard) = mpsc::channel();
    let io = server.io.clone();
    let sender = tokio::spawn(async move {
        io.emit("news", &1).unwrap();
        all_heard.recv_timeout(PATIENCE)
    });
    for client in &mut crowd {
        assert_eq!(client.text().await, r#"42["news",1]"#);
    }
    heard.send(()).unwrap();
    sender.await.unwrap().expect("all have heard it in time");
}
