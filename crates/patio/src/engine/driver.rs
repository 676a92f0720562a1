//! The one task of a connection: it reads, calls the layer above, runs its handlers, and cleans up.
//!
//! Whatever ends a connection ends here, once: the layer above is told the reason, what is queued is still written,
//! and dropping the task leaves nothing behind.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use patio_proto::{
    encode::Encoded,
    engine::{self, CloseReason, Packet, session::Received},
    ws::{CloseFrame, Message},
};
use tokio::{
    task::yield_now,
    time::{Instant, Sleep, sleep_until},
};

use super::{
    Application, control,
    flush::Turn,
    session::Session,
    transport::websocket::{Buffer, Read, Stream, pong},
};

/// How many reads one connection has before others run, and how many bytes: 64 KiB may be ten thousand frames.
const READS: usize = 8;
const BYTES: usize = 64 * 1024;

/// How long a polling client that was closed may take to come and hear of it, as in Node; and no longer than it may be
/// silent anyway.
const POLLING_FAREWELL: Duration = Duration::from_secs(30);

/// How long a WebSocket may take to take the last bytes and end its side; it, too, no longer than it may be silent.
const WEBSOCKET_FAREWELL: Duration = Duration::from_secs(5);

/// The task of one connection.
pub(crate) struct Driver<A: Application> {
    session: Arc<Session<A>>,
    /// The WebSocket, once there is one.
    stream: Option<Box<Stream>>,
    inbox: A::Inbox,
    phase: Phase,
    /// What the session was told last: whether this does not read for now.
    paused: bool,
}

enum Phase {
    /// Packets come and go.
    Open,
    /// The layer above was told of the end; the peer may still take what was written before.
    Farewell(Pin<Box<Sleep>>),
    /// The connection is gone; handlers may still run.
    Gone,
}

impl<A: Application> Driver<A> {
    pub(crate) fn new(session: Arc<Session<A>>, stream: Option<Box<Stream>>) -> Self {
        Self { session, stream, inbox: A::Inbox::default(), phase: Phase::Open, paused: false }
    }

    /// Tells the layer above about a new session.
    pub(crate) fn opened(mut self) -> Self {
        let turn = Turn::of_connection();
        A::opened(&self.session, &mut self.inbox);
        drop(turn);
        self
    }

    /// Takes what came, in order. True: there is more, and others should run first.
    fn receive(&mut self, cx: &mut Context<'_>) -> bool {
        let (posted, handover) = self.session.take_come(A::wants_more(&self.inbox));
        if let Some(posted) = posted {
            for packet in posted.packets {
                self.packet(packet);
            }
            if posted.broken {
                self.session.close(CloseReason::ParseError);
            }
            // The request may have been given up.
            let _ = posted.taken.send(());
        }
        if handover.is_some() {
            self.stream = handover;
        }
        self.read(cx)
    }

    fn read(&mut self, cx: &mut Context<'_>) -> bool {
        if self.stream.is_none() {
            // A POST that waits may hold the pong.
            self.set_paused(!A::wants_more(&self.inbox));
            return false;
        }
        let mut buffer = Buffer::take();
        let mut left = BYTES;
        for _ in 0..READS {
            let reads = A::wants_more(&self.inbox);
            self.set_paused(!reads);
            let (true, Some(stream)) = (reads, &mut self.stream) else { return false };
            match stream.poll_read(cx, buffer.bytes()) {
                Poll::Pending => return false,
                Poll::Ready(Ok(Read::Bytes(bytes))) => {
                    left = left.saturating_sub(bytes.len());
                    self.decode(bytes);
                }
                // As in Node, a peer that has ended its side may still read what was said, and is told no more.
                Poll::Ready(Ok(Read::End)) => {
                    self.session.close_with(CloseReason::TransportClose, None);
                }
                // As in Node, a peer that resets its connection has closed it.
                Poll::Ready(Err(_)) => {
                    self.session.close(CloseReason::TransportClose);
                    self.session.disconnect();
                }
            }
            if self.session.has_ended() {
                return false;
            }
            if left == 0 {
                break;
            }
        }
        true
    }

    fn decode(&mut self, mut bytes: &mut [u8]) {
        while let Some(stream) = &mut self.stream {
            if !A::wants_more(&self.inbox) {
                return stream.put_back(bytes);
            }
            match stream.decode(&mut bytes) {
                Ok(None) => return,
                Ok(Some(message)) => self.frame(message),
                Err(error) => {
                    self.session.engine().counters.bad_frames.add(1);
                    tracing::debug!(sid = self.session.sid(), %error, "bad WebSocket frame");
                    let last = CloseFrame { code: error.close_code(), reason: patio_proto::Text::default() };
                    self.session
                        .close_with(CloseReason::TransportError, Some(control::close_frame(Some(&last))));
                    return;
                }
            }
            if self.session.has_ended() {
                return;
            }
        }
    }

    fn frame(&mut self, message: Message) {
        let message = match message {
            Message::Text(text) => engine::Message::Text(text),
            Message::Binary(bytes) => engine::Message::Binary(bytes),
            Message::Ping(data) => return self.session.send(&Arc::new(Encoded::frame(pong(&data))), false),
            Message::Pong(_) => return,
            Message::Close(close) => {
                let last = control::close_frame(close.as_ref());
                self.session.close_with(CloseReason::TransportClose, Some(last));
                return;
            }
        };
        match A::packet(self.session.protocol(), message) {
            Ok(packet) => self.packet(packet),
            Err(error) => {
                self.session.engine().counters.bad_packets.add(1);
                tracing::debug!(sid = self.session.sid(), %error, "bad Engine.IO packet");
                self.session.close(CloseReason::ParseError);
            }
        }
    }

    fn packet(&mut self, packet: Packet) {
        match self.session.receive(packet) {
            Received::Nothing => {}
            Received::Message(message) => A::message(&self.session, &mut self.inbox, message),
            Received::Pong => self.session.send(&control::pong(), false),
            Received::Close(reason) => self.session.close(reason),
        }
    }

    fn set_paused(&mut self, paused: bool) {
        if std::mem::replace(&mut self.paused, paused) != paused {
            self.session.set_paused(paused);
        }
    }

    /// Writes what only the driver can write. Ready when it waits for nothing.
    fn write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(stream) = &mut self.stream {
            match stream.poll_write(&self.session, cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => {
                    self.session.close(CloseReason::TransportError);
                    self.session.disconnect();
                }
                Poll::Pending => return Poll::Pending,
            }
            while self.session.is_blocked() {
                std::task::ready!(stream.poll_writable(cx));
                self.session.unblock();
            }
        }
        Poll::Ready(())
    }

    /// Says what is left to say, for a bounded time.
    fn farewell(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let written = self.write(cx);
        if self.session.is_gone() {
            return Poll::Ready(());
        }
        if let Phase::Farewell(until) = &mut self.phase
            && until.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(());
        }
        std::task::ready!(written);
        if !self.session.is_drained() {
            return Poll::Pending;
        }
        match &mut self.stream {
            Some(stream) => {
                std::task::ready!(stream.poll_shutdown(cx));
                stream.poll_discard(cx)
            }
            // A polling client comes for its answer, or does not. A server that closes does not wait for it.
            None if self.session.engine().is_closing() => Poll::Ready(()),
            None => Poll::Pending,
        }
    }
}

impl<A: Application> Future for Driver<A> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        this.session.register(cx);
        let turn = Turn::of_connection();
        if matches!(this.phase, Phase::Open) {
            if this.receive(cx) {
                // Not just woken again: tokio asks the kernel what came for others only after 61 tasks, and would run
                // this one 61 times until then. Whoever yields is woken when that has been asked.
                let _ = pin!(yield_now()).poll(cx);
            }
            let _ = this.write(cx);
        }
        let read = A::wants_more(&this.inbox);
        let mut running = A::poll(&this.session, &mut this.inbox, cx).is_pending();
        if !read && A::wants_more(&this.inbox) {
            // What was not read before is read now; nobody else would wake this task for it.
            cx.waker().wake_by_ref();
        }
        if matches!(this.phase, Phase::Open) {
            let mut look = this.session.look();
            while look.app_due {
                A::due(&this.session, &mut this.inbox);
                look = this.session.look();
            }
            if look.is_gone && look.ended.is_none() {
                this.session.close(CloseReason::TransportError);
                look = this.session.look();
            }
            if let Some(reason) = look.ended {
                A::closed(&this.session, &mut this.inbox, reason);
                // What the end has started may wait for something, and nothing else may be left to wait for.
                running = A::poll(&this.session, &mut this.inbox, cx).is_pending();
                let timing = &this.session.engine().config.timing;
                let time = match this.stream {
                    Some(_) => WEBSOCKET_FAREWELL,
                    None => POLLING_FAREWELL,
                };
                let time = time.min(timing.ping_interval + timing.ping_timeout);
                this.phase = Phase::Farewell(Box::pin(sleep_until(Instant::now() + time)));
            }
        }
        drop(turn);
        if matches!(this.phase, Phase::Farewell(_)) && this.farewell(cx).is_ready() {
            this.session.disconnect();
            this.session.engine().forget(&this.session);
            this.stream = None;
            this.phase = Phase::Gone;
            if running {
                this.session.engine().linger(&this.session);
            }
        }
        match this.phase {
            Phase::Gone if !running || this.session.engine().is_over() => Poll::Ready(()),
            _ => Poll::Pending,
        }
    }
}

impl<A: Application> Drop for Driver<A> {
    /// A driver that is dropped with its runtime has not cleaned up yet.
    fn drop(&mut self) {
        if matches!(self.phase, Phase::Open) {
            self.session.close(CloseReason::ServerShuttingDown);
            A::abandoned(&self.session, &mut self.inbox);
        }
        if matches!(self.phase, Phase::Gone) {
            self.session.engine().unlinger(&self.session);
        }
        self.session.disconnect();
        self.session.engine().forget(&self.session);
    }
}
