//! permessage-deflate (RFC 7692): its negotiation and the compression of what is sent.
//!
//! Neither side keeps a context between messages: one compressed frame then serves every receiver, and a connection
//! holds no window. A client that can only inflate from a smaller window than 32 KiB is sent the same frames, as long as
//! a message is no longer than its window: nothing in it can then point further back. Longer ones stay uncompressed.

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress};

use std::num::NonZeroU8;

use super::{Decoder, Opcode, encode, header, inflate::TAIL, mask};

/// Messages shorter than this are not worth compressing: the `threshold` of Node's `ws`, in bytes.
pub const THRESHOLD: usize = 1024;

/// What a client offers in `Sec-WebSocket-Extensions`.
pub const OFFER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// What a server agrees to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// The value of the header `Sec-WebSocket-Extensions` in the answer.
    pub answer: &'static str,
    /// What the client inflates from.
    pub window: Window,
}

/// How much of a message a client remembers while it inflates the rest: the parameter `server_max_window_bits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window(NonZeroU8);

impl Window {
    /// The largest one, of 32 KiB: that of a client that asks for no other.
    pub const FULL: Self = Self(NonZeroU8::new(15).unwrap());

    /// The longest message, in bytes, that may be sent compressed.
    pub const fn longest_message(self) -> usize {
        // Our compressor looks back for 32 KiB at most, or to the beginning of the message.
        if self.0.get() == Self::FULL.0.get() { usize::MAX } else { 1 << self.0.get() }
    }
}

/// Answers a client's offers: `offers` are the values of its headers `Sec-WebSocket-Extensions`.
///
/// After `Some` the decoder is to be made [`with_deflate`](Decoder::with_deflate), and messages beyond
/// [`Window::longest_message`] are to be sent uncompressed. `None`: no offer can be accepted, all messages stay so.
/// Work is linear in the length of the headers, of which the first 2 KiB and 32 extensions are read.
///
/// # Errors
///
/// A header is malformed: the request is to be refused with 400, as `ws` does.
pub fn negotiate<'h>(
    offers: impl IntoIterator<Item = &'h [u8]>,
) -> Result<Option<Agreed>, InvalidExtensions> {
    let mut agreed = None;
    each_extension(offers, |extension| {
        if agreed.is_none() && extension.is_deflate && !extension.unacceptable {
            agreed = Some(match extension.server_window {
                None => Agreed { answer: OFFER, window: Window::FULL },
                Some(window) => Agreed { answer: answer_with(window), window },
            });
        }
    })?;
    Ok(agreed)
}

/// Reads a server's answer to [`OFFER`]; true when messages may be compressed.
///
/// # Errors
///
/// The answer is malformed, names another extension, or does not promise what was asked: the connection is to be
/// closed.
pub fn accepted<'h>(answers: impl IntoIterator<Item = &'h [u8]>) -> Result<bool, InvalidExtensions> {
    let mut count = 0;
    let mut all_good = true;
    each_extension(answers, |extension| {
        count += 1;
        all_good &= extension.is_deflate
            && !extension.unacceptable
            && extension.server_no_context_takeover
            && !extension.client_window;
    })?;
    if all_good && count <= 1 { Ok(count == 1) } else { Err(InvalidExtensions) }
}

/// The header `Sec-WebSocket-Extensions` is malformed or does not answer what was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Invalid or unacceptable Sec-WebSocket-Extensions header")]
pub struct InvalidExtensions;

impl Decoder {
    /// The same decoder for a connection on which permessage-deflate was negotiated.
    ///
    /// The limit of a message then holds for its compressed and for its inflated length.
    #[must_use]
    pub const fn with_deflate(mut self) -> Self {
        self.deflate = true;
        self
    }
}

/// Compresses messages, each on its own. It holds about 300 KiB: keep one for a thread, not one for a connection.
#[derive(Debug)]
pub struct Compressor(Compress);

impl Compressor {
    /// A compressor of level 0 (stores) to 9 (best); 6 is zlib's default.
    pub fn new(level: u32) -> Self {
        Self(Compress::new(Compression::new(level.min(9)), false))
    }

    /// Appends the compressed `payload` to `out`, without a frame around it.
    /// False, and nothing appended, when it cannot be compressed.
    pub fn compress(&mut self, mut payload: &[u8], out: &mut Vec<u8>) -> bool {
        let start = out.len();
        self.0.reset();
        // Deflate stores what it cannot shrink in blocks of up to 64 KiB with a few bytes each.
        out.reserve(payload.len() / 2 + 64);
        loop {
            let before = self.0.total_in();
            if self.0.compress_vec(payload, out, FlushCompress::Sync).is_err() {
                out.truncate(start);
                return false;
            }
            payload = &payload[(self.0.total_in() - before) as usize..];
            if payload.is_empty() && out.len() < out.capacity() {
                break;
            }
            out.reserve(payload.len() / 2 + 64);
        }
        if !out.ends_with(&TAIL) {
            out.truncate(start);
            return false;
        }
        out.truncate(out.len() - TAIL.len());
        true
    }

    /// One frame with the compressed `payload` of a text or binary message; uncompressed if that is no longer.
    /// A client gives a `mask`.
    pub fn frame(&mut self, opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>) -> Bytes {
        let mut out = Vec::new();
        let mut compressed = Vec::new();
        if self.compress(payload, &mut compressed) && compressed.len() < payload.len() {
            let header = header(opcode, true, compressed.len(), mask).compressed();
            out.reserve_exact(header.len() + compressed.len());
            out.extend_from_slice(&header);
            if let Some(mask) = mask {
                mask::apply(&mut compressed, mask);
            }
            out.extend_from_slice(&compressed);
        } else {
            encode(&mut out, opcode, payload, mask);
        }
        out.into()
    }
}

/// The answer to an offer that names a window, which the answer must repeat.
fn answer_with(window: Window) -> &'static str {
    macro_rules! answers {
        ($($bits:literal)*) => {
            [$(concat!(
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=",
                $bits
            )),*]
        };
    }
    answers!(8 9 10 11 12 13 14 15)[usize::from(window.0.get() - 8)]
}

/// Bytes of all headers together that are read; a browser's offer has 43.
const MAX_LENGTH: usize = 2048;

/// Extensions that are read.
const MAX_EXTENSIONS: usize = 32;

/// One extension of a header, with what matters of it.
#[derive(Debug, Default)]
struct Extension {
    is_deflate: bool,
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_window: Option<Window>,
    client_window: bool,
    /// A parameter of permessage-deflate is unknown, repeated, or has an invalid value.
    unacceptable: bool,
}

impl Extension {
    fn parameter(&mut self, name: &[u8], value: Option<&[u8]>) {
        let window = value.and_then(window);
        let (seen, valid) = match name {
            b"server_no_context_takeover" => (&mut self.server_no_context_takeover, value.is_none()),
            b"client_no_context_takeover" => (&mut self.client_no_context_takeover, value.is_none()),
            b"client_max_window_bits" => (&mut self.client_window, value.is_none() || window.is_some()),
            b"server_max_window_bits" => {
                self.unacceptable |= self.server_window.is_some() || window.is_none();
                self.server_window = window;
                return;
            }
            _ => {
                self.unacceptable = true;
                return;
            }
        };
        self.unacceptable |= std::mem::replace(seen, true) || !valid;
    }
}

/// A window's size as the parameters give it: 8 to 15 bits, without a leading zero.
fn window(value: &[u8]) -> Option<Window> {
    let bits = match *value {
        [digit @ b'8'..=b'9'] => digit - b'0',
        [b'1', digit @ b'0'..=b'5'] => 10 + digit - b'0',
        _ => return None,
    };
    NonZeroU8::new(bits).map(Window)
}

/// Calls `each` for every extension of the headers, in order.
fn each_extension<'h>(
    values: impl IntoIterator<Item = &'h [u8]>,
    mut each: impl FnMut(Extension),
) -> Result<(), InvalidExtensions> {
    let (mut bytes, mut count) = (0, 0);
    for value in values {
        bytes += value.len();
        let mut rest = value.trim_ascii_start();
        while !rest.is_empty() {
            if bytes > MAX_LENGTH || count == MAX_EXTENSIONS {
                return Ok(());
            }
            count += 1;
            let name = token(&mut rest)?;
            let mut extension = Extension {
                is_deflate: name.eq_ignore_ascii_case(b"permessage-deflate"),
                ..Extension::default()
            };
            while next(&mut rest, b';') {
                let name = token(&mut rest)?;
                let value = if next(&mut rest, b'=') { Some(parameter_value(&mut rest)?) } else { None };
                extension.parameter(name, value);
            }
            each(extension);
            if !rest.is_empty() && (!next(&mut rest, b',') || rest.is_empty()) {
                return Err(InvalidExtensions);
            }
        }
    }
    Ok(())
}

/// Takes `byte` and the white space around it from the front of `rest`, if it is there.
fn next(rest: &mut &[u8], byte: u8) -> bool {
    let found = rest.trim_ascii_start().split_first().filter(|&(&first, _)| first == byte);
    if let Some((_, after)) = found {
        *rest = after.trim_ascii_start();
    } else {
        *rest = rest.trim_ascii_start();
    }
    found.is_some()
}

/// Takes a token of at least one character from the front of `rest`.
fn token<'h>(rest: &mut &'h [u8]) -> Result<&'h [u8], InvalidExtensions> {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let (token, after) = rest.split_at(rest.iter().position(|byte| !is_token(byte)).unwrap_or(rest.len()));
    *rest = after;
    if token.is_empty() { Err(InvalidExtensions) } else { Ok(token) }
}

/// Takes a token, bare or in quotes, from the front of `rest`. (What is quoted must be a token, RFC 6455 9.1.)
fn parameter_value<'h>(rest: &mut &'h [u8]) -> Result<&'h [u8], InvalidExtensions> {
    let Some(mut quoted) = rest.strip_prefix(b"\"") else { return token(rest) };
    let value = token(&mut quoted)?;
    *rest = quoted.strip_prefix(b"\"").ok_or(InvalidExtensions)?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws::{Error, Message, Role};

    fn answer(offer: &str) -> Result<Option<&'static str>, InvalidExtensions> {
        Ok(negotiate([offer.as_bytes()])?.map(|agreed| agreed.answer))
    }

    #[test]
    fn accepts_what_browsers_and_node_offer() {
        assert_eq!(answer("permessage-deflate; client_max_window_bits"), Ok(Some(OFFER)));
        assert_eq!(answer(OFFER), Ok(Some(OFFER)));
        assert_eq!(answer("x-webkit-deflate-frame, PerMessage-Deflate"), Ok(Some(OFFER)));
        assert_eq!(answer("a; b=\"c\" ;d , permessage-deflate;client_max_window_bits = 9"), Ok(Some(OFFER)));
        assert_eq!(
            negotiate([&b"x"[..], b"permessage-deflate"]),
            Ok(Some(Agreed { answer: OFFER, window: Window::FULL }))
        );
        assert_eq!(Window::FULL.longest_message(), usize::MAX);
    }

    #[test]
    fn accepts_any_window() {
        for (offer, bits) in [
            ("permessage-deflate; server_max_window_bits=8", 8),
            ("permessage-deflate; server_max_window_bits=9, permessage-deflate", 9),
            (
                "permessage-deflate; server_max_window_bits=16, permessage-deflate; server_max_window_bits=10",
                10,
            ),
            ("permessage-deflate; server_max_window_bits=\"14\"", 14),
        ] {
            let agreed = negotiate([offer.as_bytes()]).unwrap().unwrap();
            assert_eq!(agreed.answer, format!("{OFFER}; server_max_window_bits={bits}"));
            assert_eq!(agreed.window.longest_message(), 1 << bits);
        }
        let full = negotiate([&b"permessage-deflate; server_max_window_bits=15"[..]]).unwrap().unwrap();
        assert_eq!(full.answer, format!("{OFFER}; server_max_window_bits=15"));
        assert_eq!(full.window, Window::FULL);
    }

    #[test]
    fn declines_what_it_does_not_understand() {
        for offer in [
            "",
            "x",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=7",
            "permessage-deflate; server_max_window_bits=9; server_max_window_bits=9",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=08",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; unknown",
        ] {
            assert_eq!(answer(offer), Ok(None), "{offer}");
        }
        let long = format!("{}permessage-deflate", "x,".repeat(2000));
        assert_eq!(answer(&long), Ok(None));
        assert_eq!(answer(&format!("{}permessage-deflate", "x,".repeat(MAX_EXTENSIONS))), Ok(None));
        assert_eq!(
            answer(&format!("{}permessage-deflate", "x,".repeat(MAX_EXTENSIONS - 1))),
            Ok(Some(OFFER))
        );
    }

    #[test]
    fn refuses_malformed_headers() {
        for offer in ["a,", ",a", ";", "a;", "a;b=", "a b", "a;b=\"c", "a;b=\"\"", "a;b=c d", "a;;b", "a=b"] {
            assert_eq!(answer(offer), Err(InvalidExtensions), "{offer}");
        }
    }

    #[test]
    fn a_client_checks_the_answer() {
        let check = |answer: &str| accepted([answer.as_bytes()]);
        assert_eq!(accepted([]), Ok(false));
        assert_eq!(check(OFFER), Ok(true));
        assert_eq!(check("permessage-deflate; server_no_context_takeover"), Ok(true));
        assert_eq!(check("permessage-deflate"), Err(InvalidExtensions));
        assert_eq!(check("x"), Err(InvalidExtensions));
        assert_eq!(check(&format!("{OFFER}, {OFFER}")), Err(InvalidExtensions));
        assert_eq!(check(&format!("{OFFER}; client_max_window_bits=9")), Err(InvalidExtensions));
    }

    fn decode(limit: usize, bytes: &[u8]) -> Result<Option<Message>, Error> {
        let mut decoder = Decoder::new(Role::Client, limit).with_deflate();
        let mut bytes = bytes.to_vec();
        let mut input = &mut bytes[..];
        let message = decoder.decode(&mut input);
        assert!(input.is_empty() || message.is_err());
        assert_eq!(decoder.allocated(), 0);
        message
    }

    #[test]
    fn inflates_the_examples_of_the_rfc() {
        let hello = Ok(Some(Message::Text("Hello".into())));
        assert_eq!(decode(7, b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00"), hello);
        assert_eq!(decode(10, b"\x41\x03\xf2\x48\xcd\x80\x04\xc9\xc9\x07\x00"), hello);
        // A block without compression, a block with the bit BFINAL, two blocks.
        assert_eq!(decode(11, b"\xc1\x0b\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"), hello);
        assert_eq!(decode(10, b"\xc1\x08\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), hello);
        assert_eq!(decode(20, b"\xc1\x0d\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"), hello);
        // An empty message.
        assert_eq!(decode(5, b"\xc1\x01\x00"), Ok(Some(Message::Text("".into()))));
        // The limit holds for both lengths.
        assert_eq!(decode(6, b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00"), Err(Error::TooBig));
        assert_eq!(decode(9, b"\xc1\x01\xff"), Err(Error::InvalidDeflate));
    }

    #[test]
    fn inflates_what_it_compresses() {
        let mut compressor = Compressor::new(6);
        for payload in ["".into(), "a".into(), "é".repeat(3000), "0123456789".repeat(50_000)] {
            let frame = compressor.frame(Opcode::Text, payload.as_bytes(), None);
            assert!(frame.len() < 100.max(payload.len() / 100));
            assert_eq!(decode(payload.len(), &frame), Ok(Some(Message::Text(payload.as_str().into()))));
        }
        let noise: Vec<u8> = (0..200_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let mut compressed = Vec::new();
        assert!(compressor.compress(&noise, &mut compressed));
        let mut frame = header(Opcode::Binary, true, compressed.len(), None).compressed().to_vec();
        frame.extend_from_slice(&compressed);
        let limit = noise.len().max(compressed.len());
        assert_eq!(decode(limit, &frame), Ok(Some(Message::Binary(noise.into()))));
    }

    #[test]
    fn a_bomb_is_stopped_at_the_limit() {
        let mut decoder = Decoder::new(Role::Client, 100_000).with_deflate();
        let mut bomb = Compressor::new(9).frame(Opcode::Binary, &vec![0; 50_000_000], None).to_vec();
        assert!(bomb.len() < 100_000);
        assert_eq!(decoder.decode(&mut &mut bomb[..]), Err(Error::TooBig));
    }

    #[test]
    fn compressed_text_is_checked() {
        let mut compressor = Compressor::new(6);
        let frame = compressor.frame(Opcode::Text, &[0xff; 1000], None);
        assert_eq!(decode(1000, &frame), Err(Error::InvalidUtf8));
        let mut cut = vec![b'a'; 1000];
        cut.push(0xe2);
        assert_eq!(decode(2000, &compressor.frame(Opcode::Text, &cut, None)), Err(Error::InvalidUtf8));
    }
}
