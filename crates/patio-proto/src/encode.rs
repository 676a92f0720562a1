//! Packets as bytes: encoded once, whatever the number of receivers and the transports they use.
//!
//! Packets come from emits, acks and the session; an [`Encoded`] goes into the queue of every receiver, and the
//! transports take the [`Form`] that their peer needs.

mod forms;
#[cfg(feature = "v3")]
mod v3;

use std::{
    cell::Cell,
    fmt,
    ops::Range,
    sync::{Arc, OnceLock},
};

use bytes::{Buf, Bytes};

use self::forms::Forms;
use crate::{
    engine,
    packet::{Kind, Packet, UNKNOWN_ID},
    payload::Payload,
    ws,
};

thread_local! {
    /// For each thread: one count for all would be a cache line that all cores fight for.
    static PACKETS: Cell<u64> = const { Cell::new(0) };
}

/// How many packets this thread has encoded: for the test that a broadcast does it once.
#[doc(hidden)]
pub fn packets_encoded() -> u64 {
    PACKETS.get()
}

/// Room in front of a text for its frame header: a server's header has at most 10 bytes.
const HEADROOM: usize = 10;

/// One packet in all forms that its receivers need, each built at most once. Shared as `Arc<Encoded>`.
pub struct Encoded {
    /// [`Form::WsV4`]: a text frame, if there is text, then a binary frame per attachment.
    frames: Bytes,
    /// Where in `frames` the text packet is, with its Engine.IO type digit; empty if there is none.
    text: Range<usize>,
    /// Binary messages that follow the text.
    attachments: Option<Arc<[Bytes]>>,
    /// Whether its sender wants it compressed, where the transport does that.
    compress: bool,
    /// Forms that only some transports need, built on their first demand.
    forms: OnceLock<Box<Forms>>,
}

/// How a transport wants its packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// Complete unmasked WebSocket frames; binary messages are raw.
    WsV4,
    /// WebSocket frames for Engine.IO 3: binary frames begin with the byte 4.
    WsV3,
    /// WebSocket frames for Engine.IO 3 clients that asked for base64: text only.
    WsV3Base64,
    /// Packets of a polling payload, separated by 0x1E within this packet, without one at its ends.
    PollV4,
    /// Packets of an Engine.IO 3 text payload, `<length>:<packet>` each, binary in base64.
    PollV3Text,
    /// Packets of an Engine.IO 3 binary payload.
    PollV3Binary,
}

/// How Socket.IO packets are written into Engine.IO messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Parser {
    /// The default of all clients: text with JSON, binary as attachments.
    #[default]
    Json,
    /// `socket.io-msgpack-parser`: one binary message per packet.
    #[cfg(feature = "msgpack")]
    MsgPack,
}

impl Encoded {
    /// A bare Engine.IO packet with its type digit: `2`, `6`, `3probe`, `0{…}`.
    pub fn engine(text: &str) -> Self {
        Self::build(text.len(), None, |out| out.extend_from_slice(text.as_bytes()))
    }

    /// A bare Engine.IO message.
    pub fn message(message: &engine::Message) -> Self {
        match message {
            engine::Message::Text(text) => Self::build(1 + text.len(), None, |out| {
                out.push(b'4');
                out.extend_from_slice(text.as_bytes());
            }),
            engine::Message::Binary(bytes) => Self::binary(bytes.clone()),
        }
    }

    /// A bare Engine.IO message of binary data.
    pub fn binary(bytes: Bytes) -> Self {
        Self::build(0, Some(Arc::new([bytes])), |_| ())
    }

    /// A complete WebSocket frame that carries no packet, such as a pong. Only a WebSocket can send it.
    pub fn frame(frame: Bytes) -> Self {
        Self { frames: frame, text: 0..0, attachments: None, compress: false, forms: OnceLock::new() }
    }

    /// The same packet, not worth being compressed: `compress(false)`.
    pub fn uncompressed(mut self) -> Self {
        self.compress = false;
        self
    }

    /// Whether a payload with this packet may be compressed.
    pub fn may_compress(&self) -> bool {
        self.compress
    }

    /// A Socket.IO packet in the form of the default parser.
    pub fn packet(packet: &Packet) -> Self {
        match packet.payload() {
            Some(payload) if payload.json().is_none() => Self::packet(&in_json(packet)),
            payload => {
                let attachments = payload.and_then(Payload::shared_attachments);
                Self::build(text_len(packet), attachments, |out| write_text(packet, out))
            }
        }
    }

    /// A Socket.IO packet in the form of `parser`.
    pub fn packet_with(parser: Parser, packet: &Packet) -> Self {
        match parser {
            Parser::Json => Self::packet(packet),
            #[cfg(feature = "msgpack")]
            Parser::MsgPack => Self::binary(crate::msgpack::encode(packet).into()),
        }
    }

    /// The one place where frames are built: a text of `text_len` bytes, if any, and attachments.
    fn build(text_len: usize, attachments: Option<Arc<[Bytes]>>, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        PACKETS.set(PACKETS.get() + 1);
        let binary: usize =
            attachments.iter().flat_map(|all| all.iter()).map(|bytes| HEADROOM + bytes.len()).sum();
        let mut out = Vec::with_capacity(HEADROOM + text_len + binary);
        out.resize(HEADROOM, 0);
        write(&mut out);
        let text = out.len() - HEADROOM;
        // the header is known only now: it ends where the text begins
        let mut start = HEADROOM;
        if text > 0 {
            let header = ws::header(ws::Opcode::Text, true, text, None);
            start -= header.len();
            out[start..HEADROOM].copy_from_slice(&header);
        }
        for bytes in attachments.iter().flat_map(|all| all.iter()) {
            out.extend_from_slice(&ws::header(ws::Opcode::Binary, true, bytes.len(), None));
            out.extend_from_slice(bytes);
        }
        let mut frames = Bytes::from(out);
        frames.advance(start);
        let text = HEADROOM - start..HEADROOM - start + text;
        Self { frames, text, attachments, compress: true, forms: OnceLock::new() }
    }

    /// The bytes of a form, to write.
    pub fn bytes(&self, form: Form) -> &[u8] {
        match form {
            Form::WsV4 => &self.frames,
            Form::PollV4 if !self.is_binary() => self.text(),
            Form::WsV3 | Form::WsV3Base64 if !self.is_binary() => &self.frames,
            _ => self.form(form),
        }
    }

    /// The bytes of a form, to share.
    pub fn wire(&self, form: Form) -> Bytes {
        match form {
            Form::WsV4 => self.frames.clone(),
            Form::PollV4 if !self.is_binary() => self.frames.slice(self.text.clone()),
            Form::WsV3 | Form::WsV3Base64 if !self.is_binary() => self.frames.clone(),
            _ => self.form(form).clone(),
        }
    }

    /// [`Form::WsV4`] with every message of at least `threshold` bytes compressed, for connections with
    /// permessage-deflate. Built on the first call, whose arguments count.
    #[cfg(feature = "deflate")]
    pub fn compressed(&self, threshold: usize, compressor: &mut ws::deflate::Compressor) -> &Bytes {
        self.forms.get_or_init(Box::default).compressed(self, threshold, compressor)
    }

    fn form(&self, form: Form) -> &Bytes {
        self.forms.get_or_init(Box::default).get(form, self)
    }

    /// The text packet with its Engine.IO type digit; empty for a bare binary message.
    fn text(&self) -> &[u8] {
        &self.frames[self.text.clone()]
    }

    fn binaries(&self) -> &[Bytes] {
        self.attachments.as_deref().unwrap_or_default()
    }

    /// Whether some of its messages are binary.
    pub fn is_binary(&self) -> bool {
        self.attachments.is_some()
    }

    /// The number of binary messages.
    pub fn attachments(&self) -> usize {
        self.binaries().len()
    }

    /// The bytes of [`Form::WsV4`]: what bounds a queue.
    #[expect(clippy::len_without_is_empty, reason = "a packet is never empty")]
    pub fn len(&self) -> usize {
        self.frames.len()
    }
}

/// The text, or `<n bytes>`.
impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} + {} attachments", String::from_utf8_lossy(self.text()), self.attachments())
    }
}

/// The same packet with a JSON payload. What cannot be read is sent as no arguments.
fn in_json(packet: &Packet) -> Packet {
    let kind = match &packet.kind {
        Kind::Connect(payload) => Kind::Connect(payload.as_ref().map(Payload::in_json)),
        Kind::Disconnect => Kind::Disconnect,
        Kind::Event { id, payload } => Kind::Event { id: *id, payload: payload.in_json() },
        Kind::Ack { id, payload } => Kind::Ack { id: *id, payload: payload.in_json() },
        Kind::ConnectError(payload) => Kind::ConnectError(payload.in_json()),
    };
    Packet { nsp: packet.nsp.clone(), kind }
}

/// The length of what [`write_text`] writes.
fn text_len(packet: &Packet) -> usize {
    let digits = |number: u64| number.checked_ilog10().unwrap_or(0) as usize + 1;
    let payload = packet.payload().and_then(Payload::json);
    let attachments = match payload {
        Some((_, attachments)) if !attachments.is_empty() => digits(attachments.len() as u64) + 1,
        _ => 0,
    };
    let nsp = if &*packet.nsp == "/" { 0 } else { packet.nsp.len() + 1 };
    2 + attachments + nsp + wire_id(packet).map_or(0, digits) + payload.map_or(0, |(text, _)| text.len())
}

/// The ack id to write, if any.
fn wire_id(packet: &Packet) -> Option<u64> {
    match packet.kind {
        Kind::Event { id, .. } => id,
        Kind::Ack { id, .. } => Some(id).filter(|&id| id != UNKNOWN_ID),
        _ => None,
    }
}

/// `4<type>[<attachments>-][<nsp>,][<id>][<JSON>]`
fn write_text(packet: &Packet, out: &mut Vec<u8>) {
    out.extend_from_slice(&[b'4', packet.packet_type().digit()]);
    let payload = packet.payload();
    let attachments = payload.map_or(0, |payload| payload.attachments().len());
    if attachments > 0 {
        decimal(attachments as u64, out);
        out.push(b'-');
    }
    if &*packet.nsp != "/" {
        out.extend_from_slice(packet.nsp.as_bytes());
        out.push(b',');
    }
    if let Some(id) = wire_id(packet) {
        decimal(id, out);
    }
    if let Some((text, _)) = payload.and_then(Payload::json) {
        out.extend_from_slice(text.as_bytes());
    }
}

/// Appends a number's decimal digits.
fn decimal(number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    let mut rest = number;
    loop {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}
