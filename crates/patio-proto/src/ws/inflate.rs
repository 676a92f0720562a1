//! Inflates the payload of one compressed message as it arrives (RFC 7692).
//!
//! It lives as long as its message: no context is kept, so an idle connection has no window of 32 KiB.

use flate2::{Decompress, FlushDecompress, Status};

use super::Error;

/// The state of one message.
#[derive(Debug)]
pub(super) struct Inflater {
    inflate: Decompress,
    /// A block said that it is the last one: what follows it is ignored, as Node's zlib does.
    ended: bool,
}

impl Inflater {
    /// The state for a message, if it is compressed.
    pub(super) fn for_message(compressed: bool) -> Option<Box<Self>> {
        compressed.then(|| Box::new(Self { inflate: Decompress::new(false), ended: false }))
    }

    /// Inflates a chunk of the message into `sink`, piece by piece, so that the sink can stop a bomb early.
    pub(super) fn push(
        &mut self,
        mut chunk: &[u8],
        mut sink: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut piece = [0; PIECE];
        while !self.ended {
            let (before_in, before_out) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self.inflate.decompress(chunk, &mut piece, FlushDecompress::None);
            let used = (self.inflate.total_in() - before_in) as usize;
            let made = (self.inflate.total_out() - before_out) as usize;
            self.ended = matches!(status.map_err(|_| Error::InvalidDeflate)?, Status::StreamEnd);
            chunk = &chunk[used..];
            sink(&piece[..made])?;
            if chunk.is_empty() && made < PIECE {
                break;
            }
            if used == 0 && made == 0 {
                return Err(Error::InvalidDeflate);
            }
        }
        Ok(())
    }

    /// Inflates what the sender left out at the end of the message.
    pub(super) fn finish(&mut self, sink: impl FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        self.push(&TAIL, sink)
    }
}

/// The end of a flushed deflate stream, which every message leaves out.
pub(super) const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// What is inflated at once: a buffer on the stack.
const PIECE: usize = 4096;
