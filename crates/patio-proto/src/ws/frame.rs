//! Frames: their headers, written for what is sent and read for what is received.

use std::{fmt, ops::Deref};

use bytes::Bytes;

use super::{Error, Message, Role, Violation, close_frame, mask};

/// The longest header: two bytes, a length of 64 bits and a mask.
pub const MAX_HEADER: usize = 14;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Opcode {
    /// The next fragment of a message.
    Continuation = 0,
    /// A text message or its first fragment.
    Text = 1,
    /// A binary message or its first fragment.
    Binary = 2,
    /// The last frame of a connection.
    Close = 8,
    /// A ping.
    Ping = 9,
    /// A pong.
    Pong = 10,
}

impl Opcode {
    /// True for close, ping and pong: at most 125 bytes, never fragmented, allowed between fragments.
    pub const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }

    const fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }
}

/// The header of a frame as it goes on the wire; it derefs to its 2 to 14 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Header {
    bytes: [u8; MAX_HEADER],
    len: u8,
}

impl Header {
    /// The same header with the bit RSV1 set: the message is compressed (RFC 7692). For first fragments only.
    #[must_use]
    pub const fn compressed(mut self) -> Self {
        self.bytes[0] |= RSV1;
        self
    }
}

impl Deref for Header {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Header({:02x?})", &**self)
    }
}

/// The header of a frame with a payload of `len` bytes, the length in its shortest form. A server gives no mask.
///
/// `fin` is false for every fragment of a message but its last. The caller keeps control frames to 125 bytes.
pub const fn header(opcode: Opcode, fin: bool, len: usize, mask: Option<[u8; 4]>) -> Header {
    let mut bytes = [0; MAX_HEADER];
    bytes[0] = if fin { FIN | opcode as u8 } else { opcode as u8 };
    let mut at = 2;
    if len <= 125 {
        bytes[1] = len as u8;
    } else if len <= 0xffff {
        bytes[1] = LENGTH_16;
        [bytes[2], bytes[3]] = (len as u16).to_be_bytes();
        at = 4;
    } else {
        bytes[1] = LENGTH_64;
        [bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7], bytes[8], bytes[9]] =
            (len as u64).to_be_bytes();
        at = 10;
    }
    if let Some(mask) = mask {
        bytes[1] |= MASKED;
        [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]] = mask;
        at += 4;
    }
    Header { bytes, len: at as u8 }
}

/// Appends one whole frame (FIN set) to `out`; a client gives a `mask`.
pub fn encode(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>) {
    let header = header(opcode, true, payload.len(), mask);
    out.reserve(header.len() + payload.len());
    out.extend_from_slice(&header);
    let at = out.len();
    out.extend_from_slice(payload);
    if let Some(mask) = mask {
        mask::apply(&mut out[at..], mask);
    }
}

/// Appends `message` as one frame to `out`; a client gives a `mask`.
pub fn encode_message(out: &mut Vec<u8>, message: &Message, mask: Option<[u8; 4]>) {
    match message {
        Message::Text(text) => encode(out, Opcode::Text, text.as_bytes(), mask),
        Message::Binary(bytes) => encode(out, Opcode::Binary, bytes, mask),
        Message::Ping(bytes) => encode(out, Opcode::Ping, bytes, mask),
        Message::Pong(bytes) => encode(out, Opcode::Pong, bytes, mask),
        Message::Close(close) => close_frame(out, close.as_ref(), mask),
    }
}

/// One unmasked text frame, as a server sends it.
pub fn text_frame(text: &str) -> Bytes {
    let mut out = Vec::new();
    encode(&mut out, Opcode::Text, text.as_bytes(), None);
    out.into()
}

/// One unmasked binary frame, as a server sends it.
pub fn binary_frame(payload: &[u8]) -> Bytes {
    let mut out = Vec::new();
    encode(&mut out, Opcode::Binary, payload, None);
    out.into()
}

/// A header as received, checked for everything that can be told without the frames before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Received {
    pub(super) opcode: Opcode,
    pub(super) fin: bool,
    pub(super) compressed: bool,
    pub(super) mask: Option<[u8; 4]>,
    /// At most 2^53 - 1.
    pub(super) len: u64,
}

impl Received {
    /// Reads the header at the front of `bytes` and its own length; `None` when it is cut.
    ///
    /// Lengths that are not in their shortest form are accepted, as Node's `ws` does.
    pub(super) fn read(bytes: &[u8], role: Role, deflate: bool) -> Result<Option<(Self, usize)>, Error> {
        let Some((&[first, second], rest)) = bytes.split_first_chunk::<2>() else { return Ok(None) };
        let fin = first & FIN != 0;
        let compressed = first & RSV1 != 0;
        let code = second & LENGTH_BITS;
        if first & (RSV2 | RSV3) != 0 {
            return Err(Violation::ReservedBit.into());
        }
        let opcode = Opcode::from_bits(first & OPCODE_BITS).ok_or(Violation::ReservedOpcode)?;
        if compressed && !(deflate && matches!(opcode, Opcode::Text | Opcode::Binary)) {
            return Err(Violation::ReservedBit.into());
        }
        if opcode.is_control() {
            if !fin {
                return Err(Violation::FragmentedControl.into());
            }
            if code > 125 {
                return Err(Violation::LongControl.into());
            }
            if opcode == Opcode::Close && code == 1 {
                return Err(Violation::CutCloseCode.into());
            }
        }
        match (role, second & MASKED != 0) {
            (Role::Server, false) => return Err(Violation::Unmasked.into()),
            (Role::Client, true) => return Err(Violation::Masked.into()),
            (Role::Server, true) | (Role::Client, false) => {}
        }
        let (len, rest) = match code {
            LENGTH_16 => match rest.split_first_chunk() {
                Some((&len, rest)) => (u64::from(u16::from_be_bytes(len)), rest),
                None => return Ok(None),
            },
            LENGTH_64 => match rest.split_first_chunk() {
                Some((&len, rest)) => (u64::from_be_bytes(len), rest),
                None => return Ok(None),
            },
            _ => (u64::from(code), rest),
        };
        if len > MAX_SAFE_INTEGER {
            return Err(Error::TooBig);
        }
        let (mask, rest) = match (role, rest.split_first_chunk()) {
            (Role::Client, _) => (None, rest),
            (Role::Server, Some((&mask, rest))) => (Some(mask), rest),
            (Role::Server, None) => return Ok(None),
        };
        Ok(Some((Self { opcode, fin, compressed, mask, len }, bytes.len() - rest.len())))
    }
}

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const RSV2: u8 = 0x20;
const RSV3: u8 = 0x10;
const OPCODE_BITS: u8 = 0x0f;
const MASKED: u8 = 0x80;
const LENGTH_BITS: u8 = 0x7f;
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;
/// The longest payload that JavaScript can count, and that `ws` accepts without a limit of its own.
const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Option<(Received, usize)>, Error> {
        Received::read(bytes, Role::Client, false)
    }

    #[test]
    fn writes_lengths_in_their_shortest_form() {
        assert_eq!(*header(Opcode::Text, true, 5, None), [0x81, 5]);
        assert_eq!(*header(Opcode::Text, false, 125, None), [0x01, 125]);
        assert_eq!(*header(Opcode::Continuation, true, 126, None), [0x80, 126, 0, 126]);
        assert_eq!(*header(Opcode::Binary, true, 0xffff, None), [0x82, 126, 0xff, 0xff]);
        assert_eq!(*header(Opcode::Binary, true, 0x1_0000, None), [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(*header(Opcode::Ping, true, 0, Some([1, 2, 3, 4])), [0x89, 0x80, 1, 2, 3, 4]);
        assert_eq!(header(Opcode::Binary, true, 1 << 20, Some([0; 4])).len(), MAX_HEADER);
        assert_eq!(*header(Opcode::Text, true, 1, None).compressed(), [0xc1, 1]);
    }

    #[test]
    fn writes_the_frames_of_the_rfc() {
        assert_eq!(text_frame("Hello"), b"\x81\x05Hello"[..]);
        let mut out = Vec::new();
        encode(&mut out, Opcode::Text, b"Hello", Some([0x37, 0xfa, 0x21, 0x3d]));
        assert_eq!(out, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    }

    #[test]
    fn reads_what_it_writes_and_waits_for_the_rest() {
        for len in [0, 1, 125, 126, 0xffff, 0x1_0000, 1 << 40] {
            let written = header(Opcode::Binary, true, len, Some([9, 8, 7, 6]));
            for cut in 0..written.len() {
                assert_eq!(Received::read(&written[..cut], Role::Server, false), Ok(None));
            }
            let (header, used) = Received::read(&written, Role::Server, false).unwrap().unwrap();
            assert_eq!((header.len, used, header.mask), (len as u64, written.len(), Some([9, 8, 7, 6])));
        }
    }

    #[test]
    fn accepts_lengths_that_could_be_shorter() {
        assert_eq!(read(&[0x82, 126, 0, 3]).unwrap().unwrap().0.len, 3);
        assert_eq!(read(&[0x82, 127, 0, 0, 0, 0, 0, 0, 0, 3]).unwrap().unwrap().0.len, 3);
    }

    #[test]
    fn refuses_lengths_that_javascript_cannot_count() {
        assert_eq!(read(&[0x82, 127, 0, 0x20, 0, 0, 0, 0, 0, 0]), Err(Error::TooBig));
        assert_eq!(read(&[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0]), Err(Error::TooBig));
        assert!(read(&[0x82, 127, 0, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).is_ok());
    }

    #[test]
    fn refuses_what_breaks_the_rfc() {
        let cases = [
            ([0xa1, 0], Violation::ReservedBit),
            ([0x91, 0], Violation::ReservedBit),
            ([0xc1, 0], Violation::ReservedBit),
            ([0x83, 0], Violation::ReservedOpcode),
            ([0x87, 0], Violation::ReservedOpcode),
            ([0x8b, 0], Violation::ReservedOpcode),
            ([0x8f, 0], Violation::ReservedOpcode),
            ([0x09, 0], Violation::FragmentedControl),
            ([0x89, 126], Violation::LongControl),
            ([0x88, 127], Violation::LongControl),
            ([0x88, 1], Violation::CutCloseCode),
            ([0x81, 0x80], Violation::Masked),
        ];
        for (bytes, violation) in cases {
            assert_eq!(read(&bytes), Err(violation.into()), "{bytes:02x?}");
        }
        assert_eq!(Received::read(&[0x81, 0], Role::Server, false), Err(Violation::Unmasked.into()));
        assert!(Received::read(&[0xc1, 0], Role::Client, true).is_ok());
        assert_eq!(Received::read(&[0xc0, 0], Role::Client, true), Err(Violation::ReservedBit.into()));
        assert_eq!(Received::read(&[0xc9, 0], Role::Client, true), Err(Violation::ReservedBit.into()));
    }
}
