//! The decoder: bytes as a socket gives them in, messages out.
//!
//! A frame that lies whole in the input is unmasked in place and copied once, into its message. Only when a frame or
//! a message is unfinished does the decoder allocate, so a connection at rest keeps a few words and no buffer.

use bytes::Bytes;

use super::{
    CloseFrame, Error, MAX_HEADER, Message, Opcode, Role, Violation,
    assembly::{Assembly, Expected, TextBuffer},
    frame::Received,
    inflate::Inflater,
    mask,
};
use crate::Text;

/// Frames of one message at most. Their payload is joined as it arrives, so this bounds work, not memory: a message of
/// empty fragments would never end otherwise. Twice what Autobahn's cases 9.3 and 9.4 send for 4 MiB.
pub const MAX_FRAGMENTS: u32 = 128 * 1024;

/// Decodes one direction of a WebSocket connection.
///
/// After an error every later call returns the same error: the connection is to be closed with its
/// [`close_code`](Error::close_code). What follows a [`Message::Close`] is to be ignored.
#[derive(Debug)]
pub struct Decoder {
    max_message: usize,
    /// Present only inside a frame or between the fragments of a message.
    partial: Option<Box<Partial>>,
    /// The first bytes of a header whose rest has not arrived.
    header: [u8; MAX_HEADER],
    header_len: u8,
    role: Role,
    /// Whether permessage-deflate was negotiated.
    pub(super) deflate: bool,
    failed: Option<Error>,
}

/// What has arrived of something unfinished.
#[derive(Debug, Default)]
struct Partial {
    /// The frame whose payload is coming.
    frame: Option<Frame>,
    /// The payload of that frame if it is a control frame: it may interrupt a message.
    control: Vec<u8>,
    /// The message whose fragments are coming.
    message: Option<Unfinished>,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    opcode: Opcode,
    fin: bool,
    compressed: bool,
    mask: Option<[u8; 4]>,
    remaining: usize,
}

#[derive(Debug)]
struct Unfinished {
    assembly: Assembly,
    /// Present when the message is compressed.
    inflater: Option<Box<Inflater>>,
    /// Payload bytes that the frames so far have declared: never above the limit.
    declared: usize,
    fragments: u32,
}

impl Decoder {
    /// A decoder for our side of a connection; a message (all its fragments) of `max_message` bytes is accepted, a
    /// longer one refused when its header says so.
    pub const fn new(role: Role, max_message: usize) -> Self {
        Self {
            max_message,
            partial: None,
            header: [0; MAX_HEADER],
            header_len: 0,
            role,
            deflate: false,
            failed: None,
        }
    }

    /// Consumes bytes from the front of `input` (it may unmask them in place) until one message is complete.
    ///
    /// `Ok(None)`: all input is consumed and more is needed. Call again while the input is not empty.
    ///
    /// # Errors
    ///
    /// As soon as the input shows that the peer breaks the protocol or a limit.
    pub fn decode(&mut self, input: &mut &mut [u8]) -> Result<Option<Message>, Error> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.advance(input).inspect_err(|&error| {
            self.failed = Some(error);
            self.partial = None;
        })
    }

    /// True when no frame and no message is unfinished: nothing is allocated then.
    pub fn is_idle(&self) -> bool {
        self.partial.is_none() && self.header_len == 0
    }

    /// Bytes allocated for what is unfinished; 0 when idle. The fixed state of an inflater, about 50 KiB, comes on top.
    pub fn allocated(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| {
            let message = partial.message.as_ref().map_or(0, |message| message.assembly.capacity());
            size_of::<Partial>() + partial.control.capacity() + message
        })
    }

    fn advance(&mut self, input: &mut &mut [u8]) -> Result<Option<Message>, Error> {
        loop {
            let message = match self.partial.as_mut().and_then(|partial| partial.frame) {
                Some(frame) => {
                    let chunk = take(input, frame.remaining);
                    if chunk.is_empty() {
                        return Ok(None);
                    }
                    self.chunk(frame, chunk)?
                }
                None => {
                    let Some(frame) = self.read_header(input)? else { return Ok(None) };
                    let chunk = take(input, frame.remaining);
                    if chunk.len() == frame.remaining {
                        self.whole(frame, chunk)?
                    } else {
                        self.chunk(frame, chunk)?
                    }
                }
            };
            if message.is_some() {
                return Ok(message);
            }
        }
    }

    /// Reads a header, over several calls if need be, and checks it against the message it belongs to.
    fn read_header(&mut self, input: &mut &mut [u8]) -> Result<Option<Frame>, Error> {
        let had = usize::from(self.header_len);
        let header = if had == 0 {
            Received::read(input, self.role, self.deflate)?
        } else {
            let more = input.len().min(MAX_HEADER - had);
            self.header[had..had + more].copy_from_slice(&input[..more]);
            Received::read(&self.header[..had + more], self.role, self.deflate)?
        };
        let Some((header, used)) = header else {
            // A header that is cut has less than MAX_HEADER bytes, so all of the input fits.
            let rest = take(input, MAX_HEADER - had);
            self.header[had..had + rest.len()].copy_from_slice(rest);
            self.header_len += rest.len() as u8;
            return Ok(None);
        };
        take(input, used - had);
        self.header_len = 0;
        self.admit(header).map(Some)
    }

    /// Checks a header against the limits and the fragments before it, and counts it to its message.
    fn admit(&mut self, header: Received) -> Result<Frame, Error> {
        let Received { opcode, fin, compressed, mask, len } = header;
        let len = usize::try_from(len).map_err(|_| Error::TooBig)?;
        if !opcode.is_control() {
            let message = self.partial.as_mut().and_then(|partial| partial.message.as_mut());
            let declared = message.as_ref().map_or(0, |message| message.declared);
            match (opcode, message) {
                (Opcode::Continuation, None) => return Err(Violation::UnexpectedContinuation.into()),
                (Opcode::Continuation, Some(message)) => {
                    if len > self.max_message - declared {
                        return Err(Error::TooBig);
                    }
                    if message.fragments == MAX_FRAGMENTS {
                        return Err(Error::TooManyFragments);
                    }
                    message.declared += len;
                    message.fragments += 1;
                }
                (_, Some(_)) => return Err(Violation::UnfinishedMessage.into()),
                (_, None) => {
                    if len > self.max_message {
                        return Err(Error::TooBig);
                    }
                }
            }
        }
        Ok(Frame { opcode, fin, compressed, mask, remaining: len })
    }

    /// A frame whose whole payload is here: the usual case, without a buffer.
    fn whole(&mut self, frame: Frame, payload: &mut [u8]) -> Result<Option<Message>, Error> {
        let is_message = frame.fin && frame.opcode != Opcode::Continuation && !frame.compressed;
        if !is_message && !frame.opcode.is_control() {
            return self.chunk(frame, payload);
        }
        if let Some(mask) = frame.mask {
            mask::apply(payload, mask);
        }
        Ok(Some(match frame.opcode {
            Opcode::Text => Message::Text(text(payload)?),
            Opcode::Binary => Message::Binary(Bytes::copy_from_slice(payload)),
            control => self::control(control, payload)?,
        }))
    }

    /// The next bytes of a frame, the last ones perhaps.
    fn chunk(&mut self, frame: Frame, chunk: &mut [u8]) -> Result<Option<Message>, Error> {
        if let Some(mask) = frame.mask {
            mask::apply(chunk, mask);
        }
        let remaining = frame.remaining - chunk.len();
        let partial = self.partial.get_or_insert_default();
        partial.frame = (remaining > 0).then(|| Frame {
            mask: frame.mask.map(|mask| mask::advance(mask, chunk.len())),
            remaining,
            ..frame
        });
        if frame.opcode.is_control() {
            partial.control.extend_from_slice(chunk);
            if remaining > 0 {
                return Ok(None);
            }
            let message = control(frame.opcode, &std::mem::take(&mut partial.control))?;
            if partial.message.is_none() {
                self.partial = None;
            }
            return Ok(Some(message));
        }
        let message = partial.message.get_or_insert_with(|| Unfinished {
            assembly: match frame.opcode {
                Opcode::Text => Assembly::Text(TextBuffer::default()),
                _ => Assembly::Binary(Vec::new()),
            },
            inflater: Inflater::for_message(frame.compressed),
            declared: frame.remaining,
            fragments: 1,
        });
        message.push(chunk, frame, self.max_message)?;
        if !(frame.fin && remaining == 0) {
            return Ok(None);
        }
        let message = partial.message.take();
        self.partial = None;
        message.map(|message| message.finish(self.max_message)).transpose()
    }
}

impl Unfinished {
    /// Appends a chunk of `frame`, inflated if need be.
    fn push(&mut self, chunk: &[u8], frame: Frame, max_message: usize) -> Result<(), Error> {
        let Self { assembly, inflater, declared, .. } = self;
        if let Some(inflater) = inflater {
            return inflater.push(chunk, |piece| assembly.push_inflated(piece, max_message));
        }
        let to_come = if frame.fin { 0 } else { max_message - *declared };
        let message = frame.remaining.saturating_add(to_come);
        assembly.push(chunk, Expected { frame: frame.remaining, message })
    }

    fn finish(self, max_message: usize) -> Result<Message, Error> {
        let Self { mut assembly, inflater, .. } = self;
        if let Some(mut inflater) = inflater {
            inflater.finish(|piece| assembly.push_inflated(piece, max_message))?;
        }
        assembly.finish()
    }
}

/// Takes up to `len` bytes from the front of `input`.
fn take<'a>(input: &mut &'a mut [u8], len: usize) -> &'a mut [u8] {
    let len = len.min(input.len());
    input.split_off_mut(..len).unwrap_or_default()
}

/// Text of a whole payload: checked in place, copied once.
fn text(payload: &[u8]) -> Result<Text, Error> {
    simdutf8::basic::from_utf8(payload).map(Text::from).map_err(|_| Error::InvalidUtf8)
}

/// The message of a whole control frame.
fn control(opcode: Opcode, payload: &[u8]) -> Result<Message, Error> {
    Ok(match opcode {
        Opcode::Ping => Message::Ping(Bytes::copy_from_slice(payload)),
        Opcode::Pong => Message::Pong(Bytes::copy_from_slice(payload)),
        _ => Message::Close(CloseFrame::decode(payload)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws::{encode, header};

    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    /// Decodes frames of a server, given at once.
    fn decode(bytes: &[u8]) -> Result<Vec<Message>, Error> {
        decode_with(&mut Decoder::new(Role::Client, 1000), bytes)
    }

    fn decode_with(decoder: &mut Decoder, bytes: &[u8]) -> Result<Vec<Message>, Error> {
        let mut bytes = bytes.to_vec();
        let mut input = &mut bytes[..];
        let mut messages = Vec::new();
        while let Some(message) = decoder.decode(&mut input)? {
            messages.push(message);
        }
        assert!(input.is_empty());
        Ok(messages)
    }

    fn frame(opcode: Opcode, fin: bool, payload: &[u8]) -> Vec<u8> {
        [&header(opcode, fin, payload.len(), None)[..], payload].concat()
    }

    fn text(text: &str) -> Message {
        Message::Text(text.into())
    }

    fn ping(payload: &'static [u8]) -> Message {
        Message::Ping(Bytes::from_static(payload))
    }

    #[test]
    fn is_small() {
        assert!(size_of::<Decoder>() <= 64, "{}", size_of::<Decoder>());
    }

    #[test]
    fn decodes_the_examples_of_the_rfc() {
        assert_eq!(decode(b"\x81\x05Hello"), Ok(vec![text("Hello")]));
        assert_eq!(decode(b"\x01\x03Hel\x80\x02lo"), Ok(vec![text("Hello")]));
        assert_eq!(decode(b"\x89\x05Hello"), Ok(vec![ping(b"Hello")]));
        let masked = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
        assert_eq!(decode_with(&mut Decoder::new(Role::Server, 5), masked), Ok(vec![text("Hello")]));
        let binary = frame(Opcode::Binary, true, &[7; 256]);
        assert_eq!(decode(&binary), Ok(vec![Message::Binary(vec![7; 256].into())]));
    }

    #[test]
    fn control_frames_may_interrupt_a_message() {
        let bytes = b"\x01\x03Hel\x89\x01a\x00\x01l\x89\x00\x80\x01o\x88\x00";
        let messages = vec![ping(b"a"), ping(b""), text("Hello"), Message::Close(None)];
        assert_eq!(decode(bytes), Ok(messages.clone()));
        let mut decoder = Decoder::new(Role::Client, 5);
        let one_by_one: Result<Vec<_>, _> =
            bytes.iter().map(|&byte| decode_with(&mut decoder, &[byte])).collect();
        assert_eq!(one_by_one.unwrap().concat(), messages);
        assert!(decoder.is_idle());
        assert_eq!(decoder.allocated(), 0);
    }

    #[test]
    fn a_message_may_be_as_long_as_the_limit() {
        let mut decoder = Decoder::new(Role::Client, 4);
        assert_eq!(decode_with(&mut decoder, b"\x81\x04abcd"), Ok(vec![text("abcd")]));
        assert_eq!(decode_with(&mut decoder, b"\x01\x02ab\x80\x02cd"), Ok(vec![text("abcd")]));
        // The header alone is enough.
        assert_eq!(decode_with(&mut decoder, b"\x81\x05"), Err(Error::TooBig));
        // An error stays.
        assert_eq!(decode_with(&mut decoder, b"\x81\x04abcd"), Err(Error::TooBig));
        assert_eq!(
            decode_with(&mut Decoder::new(Role::Client, 4), b"\x01\x02ab\x80\x03"),
            Err(Error::TooBig)
        );
        // Control frames have a limit of their own.
        assert_eq!(decode_with(&mut Decoder::new(Role::Client, 0), b"\x89\x01a"), Ok(vec![ping(b"a")]));
    }

    #[test]
    fn fragments_must_follow_one_another() {
        assert_eq!(decode(b"\x80\x00"), Err(Violation::UnexpectedContinuation.into()));
        assert_eq!(decode(b"\x81\x00\x80\x00"), Err(Violation::UnexpectedContinuation.into()));
        assert_eq!(decode(b"\x01\x00\x81\x00"), Err(Violation::UnfinishedMessage.into()));
        assert_eq!(decode(b"\x02\x00\x01\x00"), Err(Violation::UnfinishedMessage.into()));
        assert_eq!(decode(b"\x01\x00\x00\x00\x80\x00"), Ok(vec![text("")]));
    }

    #[test]
    fn fragments_are_counted() {
        let mut bytes = frame(Opcode::Text, false, b"");
        bytes.extend(frame(Opcode::Continuation, false, b"").repeat(MAX_FRAGMENTS as usize - 2));
        let mut decoder = Decoder::new(Role::Client, 10);
        assert_eq!(decode_with(&mut decoder, &bytes), Ok(vec![]));
        assert_eq!(decode_with(&mut decoder, b"\x80\x00"), Ok(vec![text("")]));
        assert_eq!(decode_with(&mut decoder, &bytes), Ok(vec![]));
        assert_eq!(decode_with(&mut decoder, b"\x00\x00\x80\x00"), Err(Error::TooManyFragments));
    }

    #[test]
    fn text_is_checked_inside_an_unfinished_frame() {
        // Autobahn 6.4.3: a frame of 21 bytes of which an invalid one arrives before the end.
        let mut decoder = Decoder::new(Role::Client, 100);
        assert_eq!(
            decode_with(&mut decoder, b"\x81\x15\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4"),
            Ok(vec![])
        );
        assert_eq!(decode_with(&mut decoder, b"\x90"), Err(Error::InvalidUtf8));
        assert_eq!(decoder.allocated(), 0);
        // Across fragments, and at the end of a message.
        assert_eq!(decode(b"\x01\x01\xe2\x80\x02\x82\xac"), Ok(vec![text("€")]));
        assert_eq!(decode(b"\x01\x01\xe2\x00\x01\x28"), Err(Error::InvalidUtf8));
        assert_eq!(decode(b"\x01\x01\xe2\x80\x00"), Err(Error::InvalidUtf8));
        assert_eq!(decode(b"\x81\x01\xe2"), Err(Error::InvalidUtf8));
    }

    #[test]
    fn masks_go_on_across_chunks() {
        let payload: Vec<u8> = (0..=255).collect();
        let mut bytes = Vec::new();
        encode(&mut bytes, Opcode::Binary, &payload, Some(MASK));
        let mut decoder = Decoder::new(Role::Server, 256);
        for chunk in bytes.chunks(7) {
            for message in decode_with(&mut decoder, chunk).unwrap() {
                assert_eq!(message, Message::Binary(payload.clone().into()));
            }
        }
        assert!(decoder.is_idle());
    }

    #[test]
    fn memory_follows_what_has_arrived() {
        let mut decoder = Decoder::new(Role::Client, 1 << 30);
        let promise = header(Opcode::Binary, true, 1 << 30, None);
        assert_eq!(decode_with(&mut decoder, &promise), Ok(vec![]));
        assert_eq!(decode_with(&mut decoder, b"x"), Ok(vec![]));
        assert!(decoder.allocated() < 17 * 1024, "{}", decoder.allocated());
    }
}
