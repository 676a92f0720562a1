//! The message whose frames are still coming: payload in, as it is read and unmasked; a [`Message`] out.
//!
//! Memory follows what has arrived, never what a header promises, and text is checked as it arrives.

use super::{Error, Message};
use crate::Text;

/// What is allocated at most for a promise: beyond it, the buffer doubles with what has arrived.
const FIRST_CAPACITY: usize = 16 * 1024;

/// The bytes of an unfinished message.
#[derive(Debug)]
pub(super) enum Assembly {
    Text(TextBuffer),
    Binary(Vec<u8>),
}

/// How long a message may become, to size its buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    /// Bytes that the current frame promises, those already received not counted.
    pub(super) frame: usize,
    /// Bytes that the message can still get: those of the frame if it is the last one, else up to the limit.
    pub(super) message: usize,
}

impl Assembly {
    /// Appends a chunk.
    pub(super) fn push(&mut self, chunk: &[u8], expected: Expected) -> Result<(), Error> {
        match self {
            Self::Text(buffer) => return buffer.push(chunk, expected),
            Self::Binary(buffer) => {
                buffer.reserve_exact(growth(buffer.len(), buffer.capacity(), chunk.len(), expected));
                buffer.extend_from_slice(chunk);
            }
        }
        Ok(())
    }

    /// Appends a piece of a compressed message, whose frames do not say how long it is.
    pub(super) fn push_inflated(&mut self, piece: &[u8], max_message: usize) -> Result<(), Error> {
        let len = match self {
            Self::Text(buffer) => buffer.text.len() + buffer.cut_len,
            Self::Binary(buffer) => buffer.len(),
        };
        let to_come = max_message - len;
        if piece.len() > to_come {
            return Err(Error::TooBig);
        }
        self.push(piece, Expected { frame: 0, message: to_come })
    }

    /// The message, when its last byte has been pushed.
    pub(super) fn finish(self) -> Result<Message, Error> {
        match self {
            Self::Text(buffer) => buffer.finish().map(Message::Text),
            Self::Binary(buffer) => Ok(Message::Binary(buffer.into())),
        }
    }

    /// Bytes allocated.
    pub(super) fn capacity(&self) -> usize {
        match self {
            Self::Text(buffer) => buffer.text.capacity(),
            Self::Binary(buffer) => buffer.capacity(),
        }
    }
}

/// Text that arrives in chunks, which may end inside a character.
#[derive(Debug, Default)]
pub(super) struct TextBuffer {
    text: String,
    /// The first bytes of a character whose rest has not arrived: a valid start, so that errors show at once.
    cut: [u8; 4],
    cut_len: usize,
}

impl TextBuffer {
    fn push(&mut self, mut chunk: &[u8], expected: Expected) -> Result<(), Error> {
        let len = self.text.len() + self.cut_len;
        // `growth` counts from the text's own length, so the bytes of a cut character are asked for again.
        let more = growth(len, self.text.capacity(), chunk.len(), expected);
        if more > 0 {
            self.text.reserve_exact(more + self.cut_len);
        }
        while self.cut_len > 0 {
            let Some((&next, rest)) = chunk.split_first() else { return Ok(()) };
            chunk = rest;
            self.cut[self.cut_len] = next;
            self.cut_len += 1;
            match std::str::from_utf8(&self.cut[..self.cut_len]) {
                Ok(character) => {
                    self.text.push_str(character);
                    self.cut_len = 0;
                }
                // At most three bytes: four are a character or an error.
                Err(error) if error.error_len().is_none() => {}
                Err(_) => return Err(Error::InvalidUtf8),
            }
        }
        let (whole, cut) = chunk.split_at(chunk.len() - cut_suffix(chunk));
        self.text.push_str(simdutf8::basic::from_utf8(whole).map_err(|_| Error::InvalidUtf8)?);
        if !cut.is_empty() {
            if !std::str::from_utf8(cut).is_err_and(|error| error.error_len().is_none()) {
                return Err(Error::InvalidUtf8);
            }
            self.cut[..cut.len()].copy_from_slice(cut);
            self.cut_len = cut.len();
        }
        Ok(())
    }

    fn finish(self) -> Result<Text, Error> {
        if self.cut_len > 0 { Err(Error::InvalidUtf8) } else { Ok(Text::from(self.text)) }
    }
}

/// How many bytes at the end of `chunk`, at most 3, begin a character that it does not end.
fn cut_suffix(chunk: &[u8]) -> usize {
    for (n, &byte) in (1..=3).zip(chunk.iter().rev()) {
        let whole = match byte {
            0x80..=0xbf => continue,
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xff => 4,
            _ => 1,
        };
        return if whole > n { n } else { 0 };
    }
    0
}

/// Bytes to reserve beyond `len` before `extra` bytes are appended; 0 when they fit.
fn growth(len: usize, capacity: usize, extra: usize, expected: Expected) -> usize {
    if capacity - len.min(capacity) >= extra {
        return 0;
    }
    let promised = len.saturating_add(expected.frame).min(FIRST_CAPACITY);
    let most = len.saturating_add(expected.message);
    capacity.saturating_mul(2).max(promised).min(most).max(len + extra) - len
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNKNOWN: Expected = Expected { frame: 0, message: usize::MAX };

    fn text(chunks: &[&[u8]]) -> Result<Text, Error> {
        let mut buffer = TextBuffer::default();
        for chunk in chunks {
            buffer.push(chunk, UNKNOWN)?;
        }
        buffer.finish()
    }

    #[test]
    fn text_may_be_cut_anywhere() {
        let whole = "κόσμε – Hello-µ@ßöäüàá-UTF-8!! 😀";
        for at in 0..=whole.len() {
            let (head, tail) = whole.as_bytes().split_at(at);
            assert_eq!(text(&[head, b"", tail]).as_deref(), Ok(whole));
        }
        let bytes: Vec<&[u8]> = whole.as_bytes().chunks(1).collect();
        assert_eq!(text(&bytes).as_deref(), Ok(whole));
    }

    #[test]
    fn an_error_shows_with_its_first_byte() {
        let mut buffer = TextBuffer::default();
        // U+110000 would be f4 90 80 80: its second byte is the first wrong one.
        buffer.push(b"\xce\xba\xf4", UNKNOWN).unwrap();
        assert_eq!(buffer.push(b"\x90", UNKNOWN), Err(Error::InvalidUtf8));
        for wrong in [&b"a\xed\xa0"[..], b"\xc0", b"\xff", b"\x80", b"\xf4\x90", b"\xc1\xbf", b"\xf8\x88"] {
            assert_eq!(TextBuffer::default().push(wrong, UNKNOWN), Err(Error::InvalidUtf8), "{wrong:02x?}");
        }
        assert_eq!(text(&[b"\xe2\x82"]), Err(Error::InvalidUtf8));
    }

    #[test]
    fn a_promise_is_not_believed_beyond_the_first_capacity() {
        let million = Expected { frame: 1_000_000, message: 1_000_000 };
        assert_eq!(growth(0, 0, 10, million), FIRST_CAPACITY);
        assert_eq!(growth(FIRST_CAPACITY, FIRST_CAPACITY, 1, million), FIRST_CAPACITY);
        assert_eq!(growth(0, 0, 10, Expected { frame: 20, message: 1_000_000 }), 20);
        assert_eq!(growth(900, 900, 100, Expected { frame: 100, message: 100 }), 100);
        assert_eq!(growth(5, 10, 5, UNKNOWN), 0);
    }
}
