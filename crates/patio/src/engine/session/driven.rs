//! What a session's driver does to it: it takes what came, waits for the kernel, and lets the connection go.

use std::{sync::Arc, task::Context};

use patio_proto::engine::{CloseReason, Packet, Transport, session::Received};
use tokio::time::Instant;

use super::{Link, Post, Posted, SCRATCH, Session, Sink};
use crate::{
    engine::{Application, transport::websocket::Stream},
    sync::atomic::Ordering,
};

/// A session as its driver finds it.
pub(in crate::engine) struct Look {
    /// The deadline of the layer above has passed.
    pub(in crate::engine) app_due: bool,
    /// Nothing can be written any more.
    pub(in crate::engine) is_gone: bool,
    /// Why the session ended, once it has.
    pub(in crate::engine) ended: Option<CloseReason>,
}

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

    /// What requests have brought: packets, if the driver takes any now, and a WebSocket to read from.
    pub(in crate::engine) fn take_come(
        &self,
        takes_packets: bool,
    ) -> (Option<Box<Posted>>, Option<Box<Stream>>) {
        let mut link = self.link.lock();
        let posted = match &mut link.post {
            come @ Post::Come(_) if takes_packets => match std::mem::replace(come, Post::None) {
                Post::Come(posted) => Some(posted),
                Post::None | Post::Coming { .. } => None,
            },
            _ => None,
        };
        (posted, link.handover.take())
    }

    /// Whether the session has ended, without its lock: asked between any two messages.
    pub(in crate::engine) fn has_ended(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// What others have done to the session meanwhile. That a deadline has passed is told once.
    pub(in crate::engine) fn look(&self) -> Look {
        let mut link = self.link.lock();
        let app_due = std::mem::take(&mut link.app_due);
        Look { app_due, is_gone: matches!(link.sink, Sink::Gone), ended: link.ended }
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

    /// Whether the driver reads has changed. A pause of ours never becomes a ping timeout.
    pub(in crate::engine) fn set_paused(self: &Arc<Self>, paused: bool) {
        let mut link = self.link.lock();
        link.paused = paused;
        link.machine.excuse(&self.engine.config.timing, Instant::now().into_std());
        // Where pings are frequent, the next one is nearer than the end of the wait for the last one.
        self.arm(&mut link);
    }
}
