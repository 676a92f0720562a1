//! WebSocket frames: how bytes are cut does not matter, memory is bounded, and `tungstenite` sees the same messages and
//! refuses the same bytes.
//!
//! Input: a byte of options (role, limit, permessage-deflate), the size of the chunks, then what the peer sends.
//!
//! The two differ where each is right in its own way:
//!
//! - Patio refuses as soon as bytes show an error, `tungstenite` when the frame is whole. So the frame that the input
//!   ends in is completed for `tungstenite` before refusals are compared.
//! - A close code that must not be sent ends the connection with 1002 in both, but `tungstenite` reports it as a close
//!   frame with that code. It also takes 1014 for such a one; Node's `ws` does not.
//! - A control frame whose length, at most 125, stands in the form for longer ones is refused as too long, as `ws` does;
//!   `tungstenite` takes it.
//! - `tungstenite` has no limit of fragments. Patio's, 128 Ki, is out of reach of the inputs here.
//! - `tungstenite` knows no permessage-deflate, so compressed messages are compared by nobody.

use std::io::{self, Cursor, Read, Write};

use patio_proto::ws::{CloseCode, CloseFrame, Decoder, Error, Message, Role, Violation, encode_message};
use tungstenite::{WebSocket, protocol::WebSocketConfig};

const LIMITS: [usize; 4] = [0, 100, 1_000, 70_000];

/// What a decoder may hold beyond the limit of a message: its own state and the payload of a control frame.
const SMALL: usize = 1024;

/// The most that a control frame holds, whatever the limit of messages is.
const CONTROL: usize = 125;

/// The target.
pub fn run(data: &[u8]) {
    let Some((&[options, chunk], bytes)) = data.split_first_chunk() else { return };
    let role = if options & 1 == 0 { Role::Server } else { Role::Client };
    let limit = LIMITS[usize::from(options >> 1 & 3)];
    let deflate = options & 8 != 0;

    let (messages, error) = decode(role, limit, deflate, bytes, usize::MAX);
    let cut = decode(role, limit, deflate, bytes, usize::from(chunk).max(1));
    if deflate {
        // An inflated message can be too big and broken; what is seen first depends on the chunks.
        assert_eq!((&messages, error.is_some()), (&cut.0, cut.1.is_some()));
        return;
    }
    assert_eq!((&messages, error), (&cut.0, cut.1));
    encodes_again(role, &messages);

    let mut sent = bytes.to_vec();
    if error.is_some() {
        complete(&mut sent, limit.max(CONTROL));
    }
    let (theirs, refused) = oracle(role, limit, &sent);
    let violation = CloseFrame { code: CloseCode::PROTOCOL, reason: "Protocol violation".into() };
    let mut ours = messages;
    match (&error, ours.last_mut()) {
        // Unless its reason is not UTF-8 either.
        (Some(Error::Protocol(Violation::InvalidCloseCode)), _) if !refused => {
            ours.push(Message::Close(Some(violation)));
            return assert_eq!(ours, theirs);
        }
        (Some(Error::Protocol(Violation::LongControl)), _) => {
            assert!(theirs.starts_with(&ours));
            return assert!(refused || theirs.len() > ours.len());
        }
        (None, Some(Message::Close(Some(close)))) if close.code.0 == 1014 => {
            *close = violation;
        }
        _ => {}
    }
    assert_eq!(ours, theirs);
    assert_eq!(error.is_some(), refused, "{error:?}");
}

/// The messages up to the first close frame or error, of bytes that come in chunks.
fn decode(
    role: Role,
    limit: usize,
    deflate: bool,
    bytes: &[u8],
    chunk: usize,
) -> (Vec<Message>, Option<Error>) {
    let mut decoder = Decoder::new(role, limit);
    if deflate {
        decoder = decoder.with_deflate();
    }
    let mut messages = Vec::new();
    for chunk in bytes.chunks(chunk) {
        let mut chunk = chunk.to_vec();
        let mut input = &mut chunk[..];
        while !input.is_empty() {
            match decoder.decode(&mut input) {
                Ok(Some(message)) => {
                    let last = matches!(message, Message::Close(_));
                    messages.push(message);
                    if last {
                        return (messages, None);
                    }
                }
                Ok(None) => assert!(input.is_empty()),
                Err(error) => {
                    assert_eq!(decoder.decode(&mut &mut [0; 20][..]), Err(error), "an error stays");
                    assert_eq!(decoder.allocated(), 0);
                    assert!(error.close_code().is_valid_on_the_wire());
                    return (messages, Some(error));
                }
            }
            assert!(decoder.allocated() <= limit + SMALL, "{} bytes held", decoder.allocated());
            assert!(!decoder.is_idle() || decoder.allocated() == 0);
        }
    }
    (messages, None)
}

/// What was received can be sent by the same side, and is received as it was.
fn encodes_again(role: Role, messages: &[Message]) {
    let mask = (role == Role::Server).then_some([1, 0xfe, 0, 0x80]);
    let mut out = Vec::new();
    messages.iter().for_each(|message| encode_message(&mut out, message, mask));
    assert_eq!(decode(role, usize::MAX - SMALL, false, &out, 7), (messages.to_vec(), None));
}

/// Appends zeros up to the end of the frame that `bytes` end in; only its header if it is longer than `limit`.
fn complete(bytes: &mut Vec<u8>, limit: usize) {
    let byte = |bytes: &[u8], at: usize| bytes.get(at).copied().unwrap_or_default();
    let mut at = 0;
    while at < bytes.len() {
        let second = byte(bytes, at + 1);
        let (long, short) = match second & 0x7f {
            126 => (2, 0),
            127 => (8, 0),
            len => (0, usize::from(len)),
        };
        let len = (at + 2..at + 2 + long).fold(0u64, |len, at| len << 8 | u64::from(byte(bytes, at)));
        let len = usize::try_from(len).unwrap_or(usize::MAX) + short;
        at += 2 + long + if second & 0x80 == 0 { 0 } else { 4 };
        if len > limit {
            break;
        }
        at += len;
    }
    if at > bytes.len() {
        bytes.resize(at, 0);
    }
}

/// What `tungstenite` makes of the bytes: its messages up to the first close frame, and whether it refused the rest.
fn oracle(role: Role, limit: usize, bytes: &[u8]) -> (Vec<Message>, bool) {
    let role = match role {
        Role::Server => tungstenite::protocol::Role::Server,
        Role::Client => tungstenite::protocol::Role::Client,
    };
    let config = WebSocketConfig::default()
        .read_buffer_size(512)
        .max_message_size(Some(limit))
        .max_frame_size(Some(limit.max(CONTROL)));
    let mut socket = WebSocket::from_raw_socket(Received(Cursor::new(bytes)), role, Some(config));
    let mut messages = Vec::new();
    loop {
        let message = match socket.read() {
            Ok(message) => message,
            Err(tungstenite::Error::Protocol(
                tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
            )) => return (messages, false),
            Err(tungstenite::Error::Io(error)) => panic!("{error}"),
            Err(_) => return (messages, true),
        };
        match message {
            tungstenite::Message::Text(text) => messages.push(Message::Text(text.as_str().into())),
            tungstenite::Message::Binary(bytes) => messages.push(Message::Binary(bytes)),
            tungstenite::Message::Ping(bytes) => messages.push(Message::Ping(bytes)),
            tungstenite::Message::Pong(bytes) => messages.push(Message::Pong(bytes)),
            tungstenite::Message::Frame(frame) => panic!("{frame:?} was read"),
            tungstenite::Message::Close(close) => {
                messages.push(Message::Close(close.map(|close| CloseFrame {
                    code: CloseCode(close.code.into()),
                    reason: close.reason.as_str().into(),
                })));
                return (messages, false);
            }
        }
    }
}

/// A stream whose peer has sent everything, and to which anything can be written.
struct Received<'a>(Cursor<&'a [u8]>);

impl Read for Received<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Received<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
