//! The shell around one Engine.IO session: what other tasks may do to it.
//!
//! Anyone may queue packets, have them written, or close the session. Reading, and everything that calls upwards, is
//! the [driver](super::driver)'s alone. The state that both touch stands under one lock: nothing else is locked but the
//! list of the timers, no user code runs while it is held, and the longest thing done under it is one non-blocking write.

mod driven;
mod requests;

use std::{
    cell::RefCell,
    io,
    sync::{Arc, Weak},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use patio_proto::{
    encode::{Encoded, Form},
    engine::{self, CloseReason, Packet, Protocol, Transport, session::Due},
};
use tokio::{net::TcpStream, sync::oneshot, time::Instant};

pub(crate) use self::requests::PollTurn;
use super::{
    Application, Engine, Handshake, control,
    deflate::Window,
    flush::{self, Flush, Flusher},
    outbound::{Deflate, Outbound, Wire},
    timers::Timed,
    transport::websocket::Stream,
};
use crate::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

/// One client's session, shared by its driver and by everyone who sends to it.
pub(crate) struct Session<A: Application> {
    link: Mutex<Link>,
    /// It has ended: what `link.ended` says, for who looks often.
    over: AtomicBool,
    /// Wakes the driver.
    waker: AtomicWaker,
    engine: Arc<Engine<A>>,
    sid: Box<str>,
    protocol: Protocol,
    /// The client cannot take binary frames (`b64`).
    base64: bool,
    pub(crate) handshake: Handshake,
    /// What the layer above keeps for this client.
    pub(crate) app: A,
}

/// The state of the connection itself.
struct Link {
    machine: engine::Session,
    outbound: Outbound,
    sink: Sink,
    post: Post,
    /// A WebSocket that has taken over and waits for the driver to read from it.
    handover: Option<Box<Stream>>,
    /// The earliest deadline that the timers know of.
    armed: Option<Instant>,
    /// When the layer above wants to be woken: for a namespace, or for attachments.
    app_deadline: Option<Instant>,
    /// Why the session ended. Set once.
    ended: Option<CloseReason>,
    /// What ends the WebSocket once the queue is written.
    last: Option<Bytes>,
    /// Who waits until everything queued was handed to the kernel; woken by the write that empties the queue.
    #[expect(clippy::box_collection, reason = "an idle connection pays 8 bytes for it instead of 24")]
    flush_waiters: Option<Box<Vec<Waker>>>,
    /// The WebSocket's handshake agreed on permessage-deflate; what the client inflates from.
    deflate: Option<Window>,
    /// The session is in a list of sessions to be written.
    scheduled: bool,
    /// The kernel took less than it was given; the driver waits until it takes more.
    blocked: bool,
    /// The deadline of the layer above has passed.
    app_due: bool,
    /// The driver does not read for now, so the peer's silence is ours.
    paused: bool,
    /// A candidate has been probed and no GET waited: the next one is answered with a noop.
    released: bool,
}

/// What a client sends over polling: one request at a time.
enum Post {
    None,
    /// Its body is being read. Dropped when the session ends or leaves polling: nobody would take it.
    Coming {
        _wanted: oneshot::Sender<()>,
    },
    /// The driver has not taken it yet.
    Come(Box<Posted>),
}

/// Packets of one POST, and who waits until they are taken.
pub(super) struct Posted {
    pub(super) packets: Vec<Packet>,
    /// What followed the packets could not be read.
    pub(super) broken: bool,
    pub(super) taken: oneshot::Sender<()>,
}

/// Where packets leave.
pub(crate) enum Sink {
    /// Long-polling, and the GET that waits for an answer, if one does.
    Polling(Option<oneshot::Sender<Answer>>),
    /// A WebSocket on a plain TCP stream: any task may write.
    Tcp(Arc<TcpStream>),
    /// A WebSocket on any other stream: only the driver, which owns it, can write.
    Driver,
    /// Nowhere: the connection is gone.
    Gone,
}

/// What a poll is answered with.
pub(crate) type Answer = Vec<Arc<Encoded>>;

thread_local! {
    /// Where small packets are copied together before a write.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What every thread may do.
impl<A: Application> Session<A> {
    /// A session whose timers run from now on.
    pub(crate) fn open(
        engine: &Arc<Engine<A>>,
        handshake: Handshake,
        app: A,
        sid: String,
        base64: bool,
        machine: engine::Session,
        (sink, deflate): (Sink, Option<Window>),
    ) -> Arc<Self> {
        let session = Arc::new(Self {
            protocol: machine.protocol(),
            app,
            engine: Arc::clone(engine),
            sid: sid.into(),
            base64,
            handshake,
            waker: AtomicWaker::new(),
            over: AtomicBool::new(false),
            link: Mutex::new(Link {
                machine,
                outbound: Outbound::default(),
                sink,
                post: Post::None,
                handover: None,
                armed: None,
                app_deadline: None,
                ended: None,
                last: None,
                flush_waiters: None,
                deflate,
                scheduled: false,
                blocked: false,
                app_due: false,
                paused: false,
                released: false,
            }),
        });
        session.arm(&mut session.link.lock());
        session
    }

    /// The id of the session: secret, it is all a client needs to take part in it.
    pub(crate) fn sid(&self) -> &str {
        &self.sid
    }

    pub(crate) fn protocol(&self) -> Protocol {
        self.protocol
    }

    pub(crate) fn transport(&self) -> Transport {
        self.link.lock().machine.transport()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.link.lock().machine.is_closed()
    }

    pub(crate) fn engine(&self) -> &Arc<Engine<A>> {
        &self.engine
    }

    /// Whether the client polls, and no poll waits for an answer now.
    pub(crate) fn is_between_polls(&self) -> bool {
        let link = self.link.lock();
        matches!(&link.sink, Sink::Polling(waiting) if waiting.as_ref().is_none_or(oneshot::Sender::is_closed))
    }

    /// Wakes the driver, because there is something for it in the layer above.
    pub(crate) fn wake(&self) {
        self.waker.wake();
    }

    /// Brings it into the cache, where its lock and its queue are near.
    pub(crate) fn touch(&self) {
        std::hint::black_box(self.over.load(Ordering::Relaxed));
    }

    /// Queues a packet; it is written when the turn ends. A session that ended drops it. A volatile packet is dropped
    /// unless it can be written at once. A client whose queue is full is let go.
    pub(crate) fn send(self: &Arc<Self>, packet: &Arc<Encoded>, volatile: bool) {
        let mut link = self.link.lock();
        if link.machine.is_closed() {
            drop(link);
            self.engine.counters.sent_after_close.add(1);
            return;
        }
        if volatile && !link.is_writable() {
            drop(link);
            self.engine.counters.volatile_dropped.add(1);
            return;
        }
        if link.outbound.push(packet, &self.engine.bounds).is_err() {
            drop(link);
            self.let_go_slow();
            return;
        }
        let schedule = !std::mem::replace(&mut link.scheduled, true);
        drop(link);
        if schedule {
            flush::schedule(Arc::clone(self) as Arc<dyn Flush>);
        }
    }

    /// Ends the session of a client for which too much waits, and counts it once, however many have found it so.
    pub(crate) fn let_go_slow(self: &Arc<Self>) {
        if self.close_with(CloseReason::SlowClient, Some(control::close_frame(None))) {
            self.engine.counters.slow_clients.add(1);
            tracing::debug!(sid = %self.sid, "the client reads too slowly: its queue is full");
        }
    }

    /// Writes what is queued to a WebSocket without waiting for the end of the turn.
    pub(crate) fn write_now(&self) {
        let mut link = self.link.lock();
        if !matches!(link.sink, Sink::Polling(_)) {
            self.write(&mut link);
        }
    }

    /// Ready once everything queued so far was handed to the kernel or to a poll, or the session has ended.
    pub(crate) fn poll_flushed(&self, cx: &Context<'_>) -> Poll<()> {
        let mut link = self.link.lock();
        if link.outbound.is_empty() || matches!(link.sink, Sink::Gone) {
            return Poll::Ready(());
        }
        let waiters = link.flush_waiters.get_or_insert_default();
        // Who is polled for other reasons meanwhile still waits once.
        if !waiters.iter().any(|waiter| waiter.will_wake(cx.waker())) {
            waiters.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Ends the session. What is queued is still written, as far as the peer takes it; the layer above is told by the
    /// driver. Only the first reason counts.
    pub(crate) fn close(self: &Arc<Self>, reason: CloseReason) {
        self.close_with(reason, Some(control::close_frame(None)));
    }

    /// Ends the session; a WebSocket ends with the frame `last`, if any. False: it had ended before.
    pub(super) fn close_with(self: &Arc<Self>, reason: CloseReason, last: Option<Bytes>) -> bool {
        let mut link = self.link.lock();
        if !link.machine.close() {
            return false;
        }
        self.disarm(&mut link);
        link.ended = Some(reason);
        self.over.store(true, Ordering::Release);
        link.post = Post::None;
        link.wake_flush_waiters();
        match &mut link.sink {
            Sink::Polling(waiting) => match waiting.take() {
                // Official clients read a payload's packets a moment later, but its close at once: what is queued, a
                // DISCONNECT perhaps, goes alone, and the close with the next poll.
                Some(waiting) if reason.is_graceful() && !link.outbound.is_empty() => {
                    let _ = waiting.send(link.outbound.take());
                }
                Some(waiting) => {
                    let mut answer = link.outbound.take();
                    // A client that closes by itself need not be told; its poll is just released.
                    let client_closed = reason == CloseReason::TransportClose;
                    answer.push(if client_closed { control::noop() } else { control::close() });
                    // A poll that was given up meanwhile has nobody to tell.
                    let _ = waiting.send(answer);
                    link.sink = Sink::Gone;
                }
                None if reason.is_graceful() => {}
                None => link.sink = Sink::Gone,
            },
            Sink::Tcp(_) | Sink::Driver => {
                link.last = last;
                self.write(&mut link);
            }
            Sink::Gone => {}
        }
        drop(link);
        self.wake();
        true
    }

    /// Wakes the layer above at `at`, by its `expired`.
    pub(crate) fn set_deadline(self: &Arc<Self>, at: Option<Instant>) {
        let mut link = self.link.lock();
        link.app_deadline = at;
        self.arm(&mut link);
    }

    fn arm(self: &Arc<Self>, link: &mut Link) {
        // Nobody waits for one that has ended.
        let Some(heart) = link.machine.deadline().map(Instant::from_std) else { return };
        let next = link.app_deadline.map_or(heart, |app| app.min(heart));
        if link.armed.is_none_or(|armed| next < armed) {
            self.disarm(link);
            link.armed = Some(next);
            let me = Arc::downgrade(self);
            self.engine.timers.arm(next, me);
        }
    }

    fn disarm(self: &Arc<Self>, link: &mut Link) {
        if let Some(armed) = link.armed.take() {
            let me: Weak<Self> = Arc::downgrade(self);
            self.engine.timers.disarm(armed, &(me as Weak<dyn Timed>));
        }
    }

    /// Writes what is queued, as far as the peer takes it. The lock of this connection is held around one non-blocking
    /// write, so that nobody else's bytes come between.
    fn write(&self, link: &mut Link) {
        let wire = self.wire(link.machine.transport(), link.deflate);
        match &mut link.sink {
            Sink::Polling(waiting) => {
                if !link.outbound.is_empty()
                    && let Some(waiting) = waiting.take()
                {
                    let _ = waiting.send(link.outbound.take());
                }
            }
            Sink::Tcp(stream) if !link.blocked => {
                let written = SCRATCH.with_borrow_mut(|scratch| {
                    link.outbound.drain(wire, scratch, |slices| match slices {
                        [one] => stream.try_write(one),
                        many => stream.try_write_vectored(many),
                    })?;
                    if let Some(last) = &link.last {
                        // At most a few bytes behind an emptied queue: the kernel takes all or nothing of them.
                        stream.try_write(last)?;
                        link.last = None;
                        self.waker.wake();
                    }
                    io::Result::Ok(())
                });
                match written {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        link.blocked = true;
                        self.waker.wake();
                    }
                    Err(_) => {
                        link.sink = Sink::Gone;
                        link.outbound.take();
                        self.waker.wake();
                    }
                }
            }
            Sink::Tcp(_) => {}
            Sink::Driver => self.waker.wake(),
            Sink::Gone => {
                link.outbound.take();
            }
        }
        if link.outbound.is_empty() {
            link.wake_flush_waiters();
        }
    }

    /// The bytes that this client understands.
    fn wire(&self, transport: Transport, deflate: Option<Window>) -> Wire {
        let deflate = deflate.and_then(|window| {
            let threshold = self.engine.config.per_message_deflate?;
            Some(Deflate { threshold, longest: window.longest_message() })
        });
        let form = match (transport, self.protocol, self.base64) {
            (Transport::WebSocket, Protocol::V4, _) => Form::WsV4,
            (Transport::WebSocket, Protocol::V3, false) => Form::WsV3,
            (Transport::WebSocket, Protocol::V3, true) => Form::WsV3Base64,
            (Transport::Polling, Protocol::V4, _) => Form::PollV4,
            (Transport::Polling, Protocol::V3, _) => Form::PollV3Text,
        };
        Wire { form, deflate }
    }

    /// Whether the client can be sent bytes that are not text.
    pub(super) fn takes_binary(&self) -> bool {
        !self.base64
    }
}

impl Link {
    /// Whether the session has ended and its peer need not be told any more. One that polls is told with its next poll.
    fn is_over(&self) -> bool {
        self.machine.is_closed() && !matches!(self.sink, Sink::Polling(_))
    }

    /// Whether a packet queued now would be written at once.
    fn is_writable(&self) -> bool {
        self.outbound.is_empty()
            && match &self.sink {
                Sink::Polling(waiting) => waiting.as_ref().is_some_and(|waiting| !waiting.is_closed()),
                Sink::Tcp(_) | Sink::Driver => !self.blocked,
                Sink::Gone => false,
            }
    }

    fn wake_flush_waiters(&mut self) {
        for waiter in self.flush_waiters.take().into_iter().flat_map(|waiters| *waiters) {
            waiter.wake();
        }
    }
}

impl<A: Application> Flush for Session<A> {
    fn flush(self: Arc<Self>) {
        let mut link = self.link.lock();
        link.scheduled = false;
        self.write(&mut link);
    }

    fn flusher(&self) -> &Flusher {
        &self.engine.flusher
    }
}

impl<A: Application> Timed for Session<A> {
    fn expire(self: Arc<Self>, now: Instant) {
        let timing = &self.engine.config.timing;
        let mut link = self.link.lock();
        if link.armed.is_some_and(|armed| armed > now) {
            // It was listed anew while the timers were on their way here.
            return;
        }
        link.armed = None;
        if link.paused {
            link.machine.excuse(timing, now.into_std());
        }
        let mut ping = false;
        let mut timed_out = false;
        while let Some(due) = link.machine.due(timing, now.into_std()) {
            match due {
                Due::Ping => ping = true,
                // The candidate has a timer of its own, and finds itself abandoned.
                Due::UpgradeTimeout => {}
                Due::PingTimeout => {
                    timed_out = true;
                    break;
                }
            }
        }
        if link.app_deadline.take_if(|at| *at <= now).is_some() {
            link.app_due = true;
            self.waker.wake();
        }
        self.arm(&mut link);
        drop(link);
        if timed_out {
            self.close(CloseReason::PingTimeout);
        } else if ping {
            self.send(&control::ping(), false);
        }
    }
}
