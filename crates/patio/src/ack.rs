//! Answers that the server waits for: of one client, or of many.

use std::{
    fmt,
    future::IntoFuture,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_core::{Stream, stream::BoxStream};
use futures_util::StreamExt;
use patio_adapter::{AckEvent, Room};
use patio_proto::{
    packet::{Kind, Packet},
    payload::{ArgsError, Payload},
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{sync::oneshot, time::Sleep};

use crate::{
    engine::flush::Turn,
    error::{AckError, EmitError, check_event},
    socket::{Socket, SocketEmitter, Waiting},
};

/// A question that was sent to one client; await it for the answer.
///
/// It ends with the answer, at its time limit, or when the client goes away; dropping it forgets the question.
#[must_use = "the answer comes when this is awaited"]
pub struct AckRequest<R> {
    pending: Result<Pending, AckError>,
    timeout: Duration,
    answer: PhantomData<fn() -> R>,
}

/// The place in the socket's table; left when dropped.
struct Pending {
    socket: Socket,
    id: u64,
    answer: oneshot::Receiver<Payload>,
}

impl<R> AckRequest<R> {
    pub(crate) fn send(to: SocketEmitter<'_>, event: &str, data: &(impl Serialize + ?Sized)) -> Self {
        Self {
            pending: Pending::send(to, event, data),
            timeout: to.socket.session().engine().config.ack_timeout,
            answer: PhantomData,
        }
    }

    /// How long the answer may take. Default: the server's ack timeout, 5 s.
    /// `socket.timeout(ms).emitWithAck(…)` in Socket.IO.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

impl Pending {
    fn send(
        SocketEmitter { socket, volatile, compress }: SocketEmitter<'_>,
        event: &str,
        data: &(impl Serialize + ?Sized),
    ) -> Result<Self, AckError> {
        check_event(event)?;
        let payload = Payload::event(event, data).map_err(EmitError::from)?;
        let hub = socket.hub();
        let id = hub.next_ack_id();
        let (sender, answer) = oneshot::channel();
        if !socket.expect_ack(id, Waiting::One(sender)) {
            return Err(AckError::Disconnected);
        }
        let pending = Self { socket: socket.clone(), id, answer };
        let packet = Packet::new(hub.nsp(), Kind::Event { id: Some(id), payload });
        let turn = Turn::of_caller();
        socket.deliver(&hub.encode(&packet, compress), &packet, volatile, None);
        drop(turn);
        Ok(pending)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.socket.forget_ack(self.id);
    }
}

impl<R: DeserializeOwned> IntoFuture for AckRequest<R> {
    type Output = Result<R, AckError>;
    type IntoFuture = AckFuture<R>;

    fn into_future(self) -> AckFuture<R> {
        let limit = Box::pin(tokio::time::sleep(self.timeout));
        AckFuture { pending: self.pending.map_err(Some), limit, answer: PhantomData }
    }
}

/// The answer of one client, to come.
pub struct AckFuture<R> {
    pending: Result<Pending, Option<AckError>>,
    limit: Pin<Box<Sleep>>,
    answer: PhantomData<fn() -> R>,
}

impl<R: DeserializeOwned> Future for AckFuture<R> {
    type Output = Result<R, AckError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let pending = match &mut this.pending {
            Ok(pending) => pending,
            Err(error) => return Poll::Ready(Err(error.take().unwrap_or(AckError::Disconnected))),
        };
        if let Poll::Ready(answer) = Pin::new(&mut pending.answer).poll(cx) {
            return Poll::Ready(match answer {
                Ok(answer) => answer.read_args(0).map_err(AckError::Decode),
                Err(_) => Err(AckError::Disconnected),
            });
        }
        ready!(this.limit.as_mut().poll(cx));
        pending.socket.session().engine().counters.ack_timeouts.add(1);
        Poll::Ready(Err(AckError::Timeout))
    }
}

/// What comes back from a question to many clients.
#[derive(Debug)]
#[non_exhaustive]
pub enum BroadcastAck<R> {
    /// A client answered.
    Answer {
        /// Its socket, where it is known: on this server always.
        socket: Option<Room>,
        /// Its answer.
        value: R,
    },
    /// A client answered something else than was expected.
    Invalid {
        /// Its socket, where it is known.
        socket: Option<Room>,
        /// What is wrong.
        error: ArgsError,
    },
    /// Who did not answer in time. Comes last, and only if someone is missing.
    Missing(Missing),
}

/// Who did not answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Missing {
    /// Sockets of this server.
    pub sockets: Vec<Room>,
    /// How many sockets of other servers, whose names their protocol does not tell.
    pub others: usize,
    /// How many servers did not even say how many sockets they asked.
    pub servers: usize,
}

/// The answers of many clients, as they come. The stream always ends: by the last answer, or at the time limit.
#[must_use = "answers come when the stream is polled"]
pub struct BroadcastAcks<R> {
    events: BoxStream<'static, AckEvent>,
    failed: Option<EmitError>,
    answer: PhantomData<fn() -> R>,
}

impl<R: DeserializeOwned> BroadcastAcks<R> {
    pub(crate) fn new(events: Result<BoxStream<'static, AckEvent>, EmitError>) -> Self {
        match events {
            Ok(events) => Self { events, failed: None, answer: PhantomData },
            Err(error) => Self {
                events: futures_util::stream::empty().boxed(),
                failed: Some(error),
                answer: PhantomData,
            },
        }
    }

    /// All answers. Errors: someone did not answer, or answered something else; the error holds the others' answers.
    /// The callback `(err, responses)` in Socket.IO.
    pub async fn all(mut self) -> Result<Vec<R>, PartialAnswers<R>> {
        let mut partial = PartialAnswers {
            answers: Vec::new(),
            missing: Missing::default(),
            invalid: 0,
            failed: self.failed.take(),
        };
        while let Some(ack) = self.next().await {
            match ack {
                BroadcastAck::Answer { value, .. } => partial.answers.push(value),
                BroadcastAck::Invalid { .. } => partial.invalid += 1,
                BroadcastAck::Missing(missing) => partial.missing = missing,
            }
        }
        let whole = partial.failed.is_none() && partial.invalid == 0 && partial.missing == Missing::default();
        if whole { Ok(partial.answers) } else { Err(partial) }
    }
}

impl<R: DeserializeOwned> Stream for BroadcastAcks<R> {
    type Item = BroadcastAck<R>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let Some(event) = ready!(self.events.poll_next_unpin(cx)) else { return Poll::Ready(None) };
            return Poll::Ready(Some(match event {
                AckEvent::Expected { .. } => continue,
                AckEvent::Answer { sid, value } => match value.read_args(0) {
                    Ok(value) => BroadcastAck::Answer { socket: sid, value },
                    Err(error) => BroadcastAck::Invalid { socket: sid, error },
                },
                AckEvent::Missing { sids, unknown, servers } => {
                    BroadcastAck::Missing(Missing { sockets: sids, others: unknown, servers })
                }
            }));
        }
    }
}

/// Some clients did not answer as expected.
pub struct PartialAnswers<R> {
    /// The answers that came.
    pub answers: Vec<R>,
    /// Who did not answer in time.
    pub missing: Missing,
    /// How many answers were something else than was expected.
    pub invalid: usize,
    /// Why nobody was asked at all.
    pub failed: Option<EmitError>,
}

impl<R> fmt::Debug for PartialAnswers<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartialAnswers")
            .field("answers", &self.answers.len())
            .field("missing", &self.missing)
            .field("invalid", &self.invalid)
            .field("failed", &self.failed)
            .finish()
    }
}

impl<R> fmt::Display for PartialAnswers<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(failed) = &self.failed {
            return write!(f, "nobody was asked: {failed}");
        }
        let missing = self.missing.sockets.len() + self.missing.others;
        write!(
            f,
            "operation has timed out: {} answers, {missing} missing, {} invalid",
            self.answers.len(),
            self.invalid
        )
    }
}

impl<R> std::error::Error for PartialAnswers<R> {}
