//! Socket.IO packets out of received Engine.IO messages: text, and the attachments that follow it.
//!
//! Messages come from the [`engine`](crate::engine) session in order; packets go to the connection, their data as a
//! slice of the received text. An error is the end of the connection.

mod json;

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    Text,
    encode::Parser,
    engine::Message,
    packet::{Kind, Packet, PacketType, UNKNOWN_ID},
    payload::Payload,
};

/// The JSON `text` with U+FFFD for lone surrogates, which JavaScript strings may hold and UTF-8 may not. `None`: it has none.
pub fn without_lone_surrogates(text: &str) -> Option<Text> {
    json::without_lone_surrogates(text)
}

/// What a peer may send in one packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Attachments of a packet. Default 10, as in Node.
    pub max_attachments: usize,
    /// How deep arrays and objects of the data may be nested. Default 127, the most that can be read from JSON.
    pub max_depth: usize,
    /// Bytes of an event name. Default 1024.
    pub max_event_name: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_attachments: 10, max_depth: 127, max_event_name: 1024 }
    }
}

/// Event names that Socket.IO itself gives a meaning, so that no peer may send them.
pub const RESERVED_EVENTS: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// What a peer sent is no Socket.IO packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum DecodeError {
    /// A message without a type, or with an unknown one.
    #[error("unknown packet type")]
    UnknownType,
    /// The number of attachments of a binary packet is missing, 0 or no number.
    #[error("illegal number of attachments")]
    Attachments,
    /// More attachments than [`Limits::max_attachments`].
    #[error("too many attachments")]
    TooManyAttachments,
    /// The data is not JSON.
    #[error("the data is not JSON")]
    Json,
    /// More nesting than [`Limits::max_depth`].
    #[error("the data is nested too deeply")]
    TooDeep,
    /// The data does not fit the packet's type.
    #[error("the data does not fit the packet type")]
    Data,
    /// One of [`RESERVED_EVENTS`].
    #[error("reserved event name")]
    ReservedEvent,
    /// A longer name than [`Limits::max_event_name`].
    #[error("the event name is too long")]
    EventNameTooLong,
    /// A placeholder stands for no attachment.
    #[error("illegal attachment placeholder")]
    Placeholder,
    /// Text while attachments are missing.
    #[error("text instead of an attachment")]
    UnexpectedText,
    /// Binary while no attachment is missing.
    #[error("unexpected binary message")]
    UnexpectedBinary,
    /// The message is not the MessagePack map of a packet.
    #[error("malformed MessagePack packet")]
    MsgPack,
}

/// Decodes the messages of one connection.
///
/// After an error it has forgotten what it was waiting for.
#[derive(Debug, Default)]
pub struct Decoder {
    partial: Option<Box<Partial>>,
}

/// A packet whose attachments are still on their way.
#[derive(Debug)]
struct Partial {
    head: Head,
    /// As Node does, a placeholder that stands for no attachment is held against the packet when all attachments are
    /// there, and not before.
    data: Result<Option<Text>, DecodeError>,
    attachments: Vec<Bytes>,
}

impl Decoder {
    /// A decoder that waits for text.
    pub const fn new() -> Self {
        Self { partial: None }
    }

    /// Whether attachments are missing.
    pub fn is_waiting(&self) -> bool {
        self.partial.is_some()
    }

    /// Takes the next message of a client that uses `parser`. `Ok(None)`: the packet waits for its attachments. Errors: as
    /// [`text`](Self::text), [`binary`](Self::binary) and `msgpack::decode`.
    pub fn message(
        &mut self,
        parser: Parser,
        message: Message,
        limits: &Limits,
    ) -> Result<Option<Packet>, DecodeError> {
        match (parser, message) {
            (Parser::Json, Message::Text(text)) => self.text(text, limits),
            (Parser::Json, Message::Binary(bytes)) => self.binary(bytes, limits),
            #[cfg(feature = "msgpack")]
            (Parser::MsgPack, Message::Binary(bytes)) => crate::msgpack::decode(bytes, limits).map(Some),
            #[cfg(feature = "msgpack")]
            (Parser::MsgPack, Message::Text(_)) => Err(DecodeError::UnexpectedText),
        }
    }

    /// Decodes a text message, without its Engine.IO type digit. `Ok(None)`: the packet waits for its attachments.
    /// Errors: no packet, one beyond `limits`, or text where an attachment is due.
    pub fn text(&mut self, text: Text, limits: &Limits) -> Result<Option<Packet>, DecodeError> {
        if self.partial.take().is_some() {
            return Err(DecodeError::UnexpectedText);
        }
        let (head, start) = Head::parse(&text, limits)?;
        let data = match text.len() - start {
            0 => Ok(None),
            _ => json::check(text.slice(start..), head.kind, head.attachments, limits).map(Some),
        };
        if head.attachments == 0 {
            return Ok(Some(head.packet(data?, None)));
        }
        let data = match data {
            Err(DecodeError::Placeholder) => data,
            data => Ok(data?),
        };
        let attachments = Vec::with_capacity(head.attachments.min(64));
        self.partial = Some(Box::new(Partial { head, data, attachments }));
        Ok(None)
    }

    /// Takes an attachment. `Ok(None)`: the packet waits for more. Errors: none is due, or it is the last one of a packet
    /// with a placeholder that stands for none.
    pub fn binary(&mut self, bytes: Bytes, _limits: &Limits) -> Result<Option<Packet>, DecodeError> {
        let mut partial = self.partial.take().ok_or(DecodeError::UnexpectedBinary)?;
        partial.attachments.push(bytes);
        if partial.attachments.len() < partial.head.attachments {
            self.partial = Some(partial);
            return Ok(None);
        }
        let Partial { head, data, attachments } = *partial;
        Ok(Some(head.packet(data?, Some(attachments.into()))))
    }
}

/// What stands before the data.
#[derive(Debug)]
struct Head {
    kind: PacketType,
    attachments: usize,
    nsp: Text,
    id: Option<u64>,
}

impl Head {
    /// Parses `<type>[<attachments>-][<nsp>,][<id>]` and says where the data begins.
    fn parse(text: &Text, limits: &Limits) -> Result<(Self, usize), DecodeError> {
        let bytes = text.as_bytes();
        let kind = bytes.first().copied().and_then(PacketType::from_digit).ok_or(DecodeError::UnknownType)?;
        let mut at = 1;

        let mut attachments = 0;
        if matches!(kind, PacketType::BinaryEvent | PacketType::BinaryAck) {
            let (count, end) = digits(bytes, at);
            attachments = match count {
                Some(count) if count > 0 && bytes.get(end) == Some(&b'-') => {
                    usize::try_from(count).unwrap_or(usize::MAX)
                }
                _ => return Err(DecodeError::Attachments),
            };
            if attachments > limits.max_attachments {
                return Err(DecodeError::TooManyAttachments);
            }
            at = end + 1;
        }

        let mut nsp = Text::from_static("/");
        if bytes.get(at) == Some(&b'/') {
            let end = memchr::memchr(b',', &bytes[at..]).map_or(bytes.len(), |comma| at + comma);
            if end - at > 1 {
                nsp = text.slice(at..end);
            }
            at = bytes.len().min(end + 1);
        }

        let (id, end) = digits(bytes, at);
        Ok((Self { kind, attachments, nsp, id }, end))
    }

    /// The packet with its checked data, if there is any.
    fn packet(self, data: Option<Text>, attachments: Option<Arc<[Bytes]>>) -> Packet {
        let payload = data.map(|text| Payload::json_unchecked(text, attachments));
        let kind = match self.kind {
            PacketType::Connect => Kind::Connect(payload),
            PacketType::Disconnect => Kind::Disconnect,
            PacketType::Event | PacketType::BinaryEvent => {
                // Nobody can be answered under an id that does not fit.
                let id = self.id.filter(|&id| id != UNKNOWN_ID);
                Kind::Event { id, payload: payload.unwrap_or_default() }
            }
            PacketType::Ack | PacketType::BinaryAck => {
                Kind::Ack { id: self.id.unwrap_or(UNKNOWN_ID), payload: payload.unwrap_or_default() }
            }
            PacketType::ConnectError => Kind::ConnectError(payload.unwrap_or_else(Payload::null)),
        };
        Packet { nsp: self.nsp, kind }
    }
}

/// The number that the run of digits from `start` on gives, at most `u64::MAX`, and where the run ends.
fn digits(bytes: &[u8], start: usize) -> (Option<u64>, usize) {
    let run = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit());
    let (mut number, mut end) = (0u64, start);
    for digit in run {
        number = number.saturating_mul(10).saturating_add((digit - b'0').into());
        end += 1;
    }
    ((end > start).then_some(number), end)
}
