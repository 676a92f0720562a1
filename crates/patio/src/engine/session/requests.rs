//! What HTTP requests do to a session: poll, post, and take it over to a WebSocket.

use std::sync::Arc;

use bytes::Bytes;
use patio_proto::engine::{CloseReason, Packet, session::Probe};
use tokio::{sync::oneshot, time::Instant};

use super::{Answer, Post, Posted, Session, Sink};
use crate::engine::{Application, control, transport::websocket::Stream};

/// How a GET goes on.
pub(crate) enum PollTurn {
    /// There was something to say.
    Now(Answer),
    /// Wait for it.
    Later(oneshot::Receiver<Answer>),
    /// Another GET waits already. The session is over.
    Overlap,
}

impl<A: Application> Session<A> {
    /// A GET came.
    pub(crate) fn poll(self: &Arc<Self>) -> PollTurn {
        let mut link = self.link.lock();
        let closing = link.machine.is_closed();
        let waits = match &link.sink {
            Sink::Polling(waiting) => waiting.as_ref().is_some_and(|waiting| !waiting.is_closed()),
            _ => return PollTurn::Now(vec![control::noop(), control::close()]),
        };
        if waits {
            drop(link);
            self.close(CloseReason::TransportError);
            return PollTurn::Overlap;
        }
        if !link.outbound.is_empty() {
            let answer = link.outbound.take();
            link.wake_flush_waiters();
            return PollTurn::Now(answer);
        }
        if std::mem::take(&mut link.released) && !closing {
            return PollTurn::Now(vec![control::noop()]);
        }
        if closing {
            link.sink = Sink::Gone;
            drop(link);
            self.wake();
            return PollTurn::Now(vec![control::noop(), control::close()]);
        }
        let (answer, later) = oneshot::channel();
        link.sink = Sink::Polling(Some(answer));
        PollTurn::Later(later)
    }

    /// The body of an answer. Until the HTTP server has written it, it counts as what waits for this client.
    pub(in crate::engine) fn body(self: &Arc<Self>, body: Vec<u8>) -> Bytes {
        self.link.lock().outbound.begin_answer(body.len());
        Bytes::from_owner(Body { session: Arc::clone(self), body })
    }

    /// Answers a waiting GET with a noop, so that the client can finish its upgrade; if none waits, the next one that
    /// comes.
    pub(in crate::engine) fn release_poll(&self) {
        let mut link = self.link.lock();
        if let Sink::Polling(waiting) = &mut link.sink {
            let answered = waiting.take().is_some_and(|waiting| waiting.send(vec![control::noop()]).is_ok());
            link.released = !answered;
        }
    }

    /// A POST came. `None`: another one is on its way, or was given up before its packets were taken.
    pub(in crate::engine) fn begin_post(self: &Arc<Self>) -> Option<Posting<A>> {
        let mut link = self.link.lock();
        if !matches!(link.post, Post::None) {
            return None;
        }
        let (wanted, unwanted) = oneshot::channel();
        link.post = Post::Coming { _wanted: wanted };
        Some(Posting { session: Arc::clone(self), unwanted })
    }

    /// A WebSocket asks to take over. Until when it must have done so; `None`: it is refused.
    pub(in crate::engine) fn begin_upgrade(self: &Arc<Self>) -> Option<Instant> {
        let mut link = self.link.lock();
        if link.is_over() {
            return None;
        }
        let now = Instant::now();
        let timing = self.engine.config.timing;
        link.machine.begin_upgrade(&timing, now.into_std()).then_some(now + timing.upgrade_timeout)
    }

    /// A packet came over the candidate.
    pub(in crate::engine) fn probe(&self, packet: &Packet) -> Probe {
        let mut link = self.link.lock();
        if link.is_over() { Probe::Abandon } else { link.machine.probe(packet) }
    }

    /// Whether the session has ended and its peer need not be told any more: no candidate can take it over.
    pub(in crate::engine) fn is_over(&self) -> bool {
        self.link.lock().is_over()
    }

    /// The candidate is gone.
    pub(in crate::engine) fn abandon_upgrade(&self) {
        let mut link = self.link.lock();
        link.machine.abandon_upgrade();
        link.released = false;
    }

    /// The candidate has taken over: what is queued leaves by it, and the driver reads from it. Errors: the session has
    /// ended. What is queued, a DISCONNECT perhaps, is all that can still be said on the stream.
    pub(in crate::engine) fn switch(
        self: &Arc<Self>,
        stream: Box<Stream>,
    ) -> Result<(), (Box<Stream>, Vec<u8>)> {
        let mut link = self.link.lock();
        if link.machine.is_closed() {
            let mut last = Vec::new();
            if !link.is_over() {
                link.sink = Sink::Gone;
                link.deflate = stream.window();
                self.drain(&mut link, &mut last, usize::MAX);
                drop(link);
                self.wake();
            }
            return Err((stream, last));
        }
        if let Sink::Polling(Some(waiting)) = std::mem::replace(&mut link.sink, stream.sink()) {
            let _ = waiting.send(vec![control::close()]);
        }
        link.deflate = stream.window();
        if let Post::Coming { .. } = link.post {
            link.post = Post::None;
        }
        link.handover = Some(stream);
        self.write(&mut link);
        drop(link);
        self.wake();
        Ok(())
    }
}

/// The body of an answer; dropped when it is written, or will never be.
struct Body<A: Application> {
    session: Arc<Session<A>>,
    body: Vec<u8>,
}

impl<A: Application> AsRef<[u8]> for Body<A> {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl<A: Application> Drop for Body<A> {
    fn drop(&mut self) {
        self.session.link.lock().outbound.end_answer(self.body.len());
    }
}

/// A POST on its way; the next one may come when it is dropped.
pub(in crate::engine) struct Posting<A: Application> {
    session: Arc<Session<A>>,
    unwanted: oneshot::Receiver<()>,
}

impl<A: Application> Posting<A> {
    /// Resolves when nobody will take what the POST brings: the session has ended, or left polling.
    pub(in crate::engine) async fn unwanted(&mut self) {
        // Nothing is ever sent: what is waited for is the end of the sender.
        let _ = (&mut self.unwanted).await;
    }

    /// The POST brought packets. The answer resolves when the driver has taken them, or never will.
    pub(in crate::engine) fn finish(self, packets: Vec<Packet>, broken: bool) -> oneshot::Receiver<()> {
        let (taken, wait) = oneshot::channel();
        let mut link = self.session.link.lock();
        // A client may still post before it hears of the end: that is no mistake of its, but nobody takes it.
        if matches!(link.post, Post::Coming { .. }) && !link.machine.is_closed() {
            link.post = Post::Come(Box::new(Posted { packets, broken, taken }));
            drop(link);
            self.session.wake();
        } else if link.machine.is_closed()
            && matches!(link.sink, Sink::Polling(_))
            && packets.iter().any(|packet| matches!(packet, Packet::Close))
        {
            // As in Node, a peer that leaves before it has heard of the end need not be told any more.
            drop(link);
            self.session.disconnect();
            self.session.wake();
        }
        wait
    }
}

impl<A: Application> Drop for Posting<A> {
    fn drop(&mut self) {
        let mut link = self.session.link.lock();
        if let Post::Coming { .. } = link.post {
            link.post = Post::None;
        }
    }
}
