//! What waits to be written to one client, and how much of it there may be: the only place of back-pressure.
//!
//! Packets enter whole and shared; they leave as the bytes of the session's wire form, several in one `write`. Nothing
//! is allocated while a connection is idle, nor for a single packet in flight.

use std::{collections::VecDeque, io::IoSlice, sync::Arc};

use patio_proto::encode::{Encoded, Form};
use smallvec::SmallVec;

use super::deflate;

/// Packets up to this many bytes are copied together and written at once; more go out by a vectored write.
/// Copying eight packets of 150 bytes costs less than handing eight slices to the kernel.
const GATHER: usize = 16 * 1024;

/// The most slices of one vectored write. The kernel takes 1,024; more than this many packets rarely wait.
const SLICES: usize = 64;

/// How much may wait for one client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) bytes: usize,
    pub(crate) packets: usize,
}

/// The queue of one client.
#[derive(Debug, Default)]
pub(crate) struct Outbound {
    packets: Packets,
    /// Bytes of all packets in the queue.
    bytes: usize,
    /// Bytes of the first packet that were written already.
    written: usize,
    /// Bytes of answers to polls that the HTTP server has and the client has not.
    answered: usize,
}

#[derive(Debug, Default)]
enum Packets {
    #[default]
    None,
    One(Arc<Encoded>),
    #[expect(clippy::box_collection, reason = "an idle connection pays 8 bytes for it instead of 32")]
    Many(Box<VecDeque<Arc<Encoded>>>),
}

/// In which bytes a client gets its packets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wire {
    pub(crate) form: Form,
    pub(crate) deflate: Option<Deflate>,
}

/// Which packets a client gets compressed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deflate {
    /// Of these packets, messages from this many bytes on.
    pub(crate) threshold: usize,
    /// Packets up to this many bytes: a longer message might point beyond the client's window.
    pub(crate) longest: usize,
}

impl Wire {
    fn bytes(self, packet: &Encoded) -> &[u8] {
        match (self.form, self.deflate) {
            (form, Some(Deflate { threshold, longest }))
                if packet.may_compress() && packet.len() <= longest && has_compressed(form, packet) =>
            {
                deflate::frames(packet, threshold)
            }
            _ => packet.bytes(self.form),
        }
    }
}

/// Whether there are compressed frames of a packet: they are those of protocol 4, and text is the same in both.
fn has_compressed(form: Form, packet: &Encoded) -> bool {
    match form {
        Form::WsV4 => true,
        Form::WsV3 | Form::WsV3Base64 => !packet.is_binary(),
        Form::PollV4 | Form::PollV3Text | Form::PollV3Binary => false,
    }
}

/// The queue is full: the client reads too slowly.
#[derive(Debug)]
pub(crate) struct Full;

impl Outbound {
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self.packets, Packets::None)
    }

    fn len(&self) -> usize {
        match &self.packets {
            Packets::None => 0,
            Packets::One(_) => 1,
            Packets::Many(many) => many.len(),
        }
    }

    /// Appends a packet. One packet of any size always fits an empty queue, unless an answer is on its way: a client
    /// that polls and does not read would have one packet of any size with each poll.
    pub(crate) fn push(&mut self, packet: &Arc<Encoded>, bounds: &Bounds) -> Result<(), Full> {
        let bytes = self.bytes + packet.len();
        let waits = !self.is_empty() || self.answered > 0;
        if waits && (bytes + self.answered > bounds.bytes || self.len() >= bounds.packets) {
            return Err(Full);
        }
        self.bytes = bytes;
        match &mut self.packets {
            none @ Packets::None => *none = Packets::One(Arc::clone(packet)),
            Packets::Many(many) => many.push_back(Arc::clone(packet)),
            one @ Packets::One(_) => {
                let Packets::One(first) = std::mem::take(one) else { return Ok(()) };
                let mut many = VecDeque::with_capacity(8);
                many.extend([first, Arc::clone(packet)]);
                *one = Packets::Many(Box::new(many));
            }
        }
        Ok(())
    }

    fn iter(&self) -> impl Iterator<Item = &Arc<Encoded>> {
        let (one, many) = match &self.packets {
            Packets::None => (None, None),
            Packets::One(one) => (Some(one), None),
            Packets::Many(many) => (None, Some(many.iter())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// Hands the bytes that come next to `write`, which answers how many it took; goes on until the queue is empty or
    /// `write` fails. What was taken leaves the queue.
    pub(crate) fn drain<E>(
        &mut self,
        wire: Wire,
        scratch: &mut Vec<u8>,
        mut write: impl FnMut(&[IoSlice<'_>]) -> Result<usize, E>,
    ) -> Result<(), E> {
        while !self.is_empty() {
            let took = {
                let mut slices: SmallVec<[IoSlice<'_>; 8]> =
                    self.iter().take(SLICES).map(|packet| IoSlice::new(wire.bytes(packet))).collect();
                let total: usize = slices.iter().map(|slice| slice.len()).sum();
                if slices.len() > 1 && total <= GATHER {
                    scratch.clear();
                    for slice in &slices {
                        scratch.extend_from_slice(slice);
                    }
                    write(&[IoSlice::new(&scratch[self.written..])])?
                } else {
                    slices[0].advance(self.written);
                    write(&slices)?
                }
            };
            self.advance(wire, took);
        }
        Ok(())
    }

    fn advance(&mut self, wire: Wire, took: usize) {
        let mut left = took + self.written;
        let mut done = 0;
        for packet in self.iter() {
            let len = wire.bytes(packet).len();
            if left < len {
                break;
            }
            left -= len;
            done += 1;
        }
        self.written = left;
        for _ in 0..done {
            self.pop();
        }
    }

    fn pop(&mut self) {
        let packet = match &mut self.packets {
            Packets::None => return,
            Packets::One(_) => match std::mem::take(&mut self.packets) {
                Packets::One(packet) => packet,
                _ => return,
            },
            Packets::Many(many) => {
                let Some(packet) = many.pop_front() else { return };
                if many.is_empty() {
                    self.packets = Packets::None;
                }
                packet
            }
        };
        self.bytes -= packet.len();
    }

    /// The HTTP server has this much more of answers.
    pub(super) fn begin_answer(&mut self, bytes: usize) {
        self.answered += bytes;
    }

    /// The client has this much more of answers, or never will.
    pub(super) fn end_answer(&mut self, bytes: usize) {
        self.answered -= bytes;
    }

    /// Takes everything: what a poll's answer carries.
    pub(crate) fn take(&mut self) -> Vec<Arc<Encoded>> {
        self.bytes = 0;
        self.written = 0;
        match std::mem::take(&mut self.packets) {
            Packets::None => Vec::new(),
            Packets::One(one) => vec![one],
            Packets::Many(many) => (*many).into(),
        }
    }
}
