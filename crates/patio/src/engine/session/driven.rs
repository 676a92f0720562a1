//! What a session's driver does to it: it takes what came, waits for the kernel, and lets the connection go.

use std::{sync::Arc, task::Context};

use patio_proto::engine::{Packet, Transport, session::Received};
use tokio::time::Instant;

use super::{Link, Post, Posted, SCRATCH, Session, Sink};
use crate::engine::{Application, transport::websocket::Stream};

impl<A: Application> Session<A> {
    pub(in crate::engine) fn register(&self, cx: &Context<'_>) {
        self.waker.register(cx.waker());
    }

    /// What a packet from the peer asks for.
    pub(in crate::engine) fn receive(self: &Arc<Self>, packet: Packet) -> Received {
        let mut link = self.link.lock();
        let received = link.machine.receive(packet, &self.engine.config.timing, Instant::now().into_std());
        // Where pings are frequent, a pong brings the next one nearer than the end of the wait for it.
        self.arm(&mut link);
        received
    }

    pub(in crate::engine) fn take_posted(&self) -> Option<Box<Posted>> {
        let mut link = self.link.lock();
        match std::mem::replace(&mut link.post, Post::None) {
            Post::Come(posted) => Some(posted),
            other => {
                link.post = other;
                None
            }
        }
    }

    pub(in crate::engine) fn take_handover(&self) -> Option<Box<Stream>> {
        self.link.lock().handover.take()
    }

    /// Why the session ended, once it has.
    pub(in crate::engine) fn ended(&self) -> Option<patio_proto::engine::CloseReason> {
        self.link.lock().ended
    }

    /// Whether the deadline of the layer above has passed; tells it once.
    pub(in crate::engine) fn take_app_due(&self) -> bool {
        std::mem::take(&mut self.link.lock().app_due)
    }

    /// Whether the driver should wait for the kernel to take more.
    pub(in crate::engine) fn is_blocked(&self) -> bool {
        self.link.lock().blocked
    }

    /// The kernel takes more.
    pub(in crate::engine) fn unblock(&self) {
        let mut link = self.link.lock();
        link.blocked = false;
        self.write(&mut link);
    }

    /// Whether everything was said, the closing frame included.
    pub(in crate::engine) fn is_drained(&self) -> bool {
        let link = self.link.lock();
        matches!(link.sink, Sink::Gone) || (link.outbound.is_empty() && link.last.is_none())
    }

    pub(in crate::engine) fn is_gone(&self) -> bool {
        matches!(self.link.lock().sink, Sink::Gone)
    }

    /// Hands what is queued to a driver that owns its stream.
    pub(in crate::engine) fn drain_into(&self, out: &mut Vec<u8>, most: usize) {
        self.drain(&mut self.link.lock(), out, most);
    }

    /// Moves what is queued to `out`, in the form of a WebSocket, until that has `most` bytes.
    pub(super) fn drain(&self, link: &mut Link, out: &mut Vec<u8>, most: usize) {
        let wire = self.wire(Transport::WebSocket, link.deflate);
        SCRATCH.with_borrow_mut(|scratch| {
            // The error ends the loop; there is no other failure.
            let _ = link.outbound.drain(wire, scratch, |slices| {
                if out.len() >= most {
                    return Err(());
                }
                let before = out.len();
                for slice in slices {
                    out.extend_from_slice(slice);
                }
                Ok(out.len() - before)
            });
        });
        if link.outbound.is_empty() {
            if let Some(last) = link.last.take() {
                out.extend_from_slice(&last);
            }
            link.wake_flush_waiters();
        }
    }

    /// The connection is gone: nothing can be written any more, and its stream is let go.
    pub(in crate::engine) fn disconnect(&self) {
        let mut link = self.link.lock();
        link.sink = Sink::Gone;
        link.handover = None;
        link.last = None;
        link.post = Post::None;
        link.outbound.take();
        link.wake_flush_waiters();
    }

    /// Whether the driver reads. A pause of ours never becomes a ping timeout.
    pub(in crate::engine) fn set_paused(self: &Arc<Self>, paused: bool) {
        let mut link = self.link.lock();
        if link.paused != paused {
            link.paused = paused;
            link.machine.excuse(&self.engine.config.timing, Instant::now().into_std());
            // Where pings are frequent, the next one is nearer than the end of the wait for the last one.
            self.arm(&mut link);
        }
    }
}
