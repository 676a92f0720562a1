//! MessagePack: the packets of `socket.io-msgpack-parser`, and values in the dialects that Node's encoders write.
//!
//! One packet is one binary message, a map with `type`, `nsp` and, if any, `data` and `id`; binary values stand in it,
//! so there are no attachments. The values are also what servers say to each other over Redis.

mod raw;
mod read;
mod transcode;
mod write;

use std::borrow::Cow;

use bytes::Bytes;

use crate::{
    Text,
    decode::{DecodeError, Limits, RESERVED_EVENTS},
    packet::{Kind, Packet, UNKNOWN_ID},
    payload::Payload,
    value::Value,
};

pub use raw::Raw;
pub(crate) use read::is_neutral;
pub use read::read_value;
use read::{Reader, Token};
pub(crate) use transcode::write_json;
pub use write::{Dialect, write_value};

/// The nesting that payloads are read with: as deep as JSON can be read.
pub(crate) const MAX_DEPTH: usize = 127;

/// Decodes one binary message of a client that uses this parser. A text message is an error by itself.
///
/// Errors: [`DecodeError::MsgPack`], [`DecodeError::UnknownType`], [`DecodeError::TooDeep`], and those of the data.
pub fn decode(bytes: Bytes, limits: &Limits) -> Result<Packet, DecodeError> {
    let mut reader = Reader::new(&bytes, limits.max_depth);
    let Token::Map(members) = reader.token()? else { return Err(DecodeError::MsgPack) };
    let (mut kind, mut nsp, mut id, mut data) = (None, None, None, None);
    for _ in 0..members {
        let key = reader.token()?;
        match key {
            Token::Str(b"type") => kind = integer(reader.token()?),
            Token::Str(b"nsp") => {
                let Token::Str(name) = reader.token()? else { return Err(DecodeError::MsgPack) };
                nsp = Some(Text::from(&*String::from_utf8_lossy(name)));
            }
            Token::Str(b"id") => {
                id = match reader.token()? {
                    token if token.is_undefined() => None,
                    token => Some(integer(token).ok_or(DecodeError::MsgPack)?),
                }
            }
            Token::Str(b"data") => {
                let start = reader.position();
                let is_undefined = reader.clone().token()?.is_undefined();
                reader.skip()?;
                data = (!is_undefined).then(|| bytes.slice(start..reader.position()));
            }
            key => {
                reader.finish(key)?;
                reader.skip()?;
            }
        }
    }
    reader.end()?;
    let nsp = nsp.ok_or(DecodeError::MsgPack)?;
    // what no ack can answer stays without one
    let id = id.map(|id| u64::try_from(id).unwrap_or(UNKNOWN_ID));
    let shape = data.as_ref().map(|data| Reader::new(data, MAX_DEPTH).token()).transpose()?;
    let payload = data.clone().map(Payload::msgpack_unchecked);
    let kind = match (kind, payload, shape) {
        (Some(0), None, _) => Kind::Connect(None),
        (Some(0), Some(payload), Some(Token::Map(_))) => Kind::Connect(Some(payload)),
        (Some(1), None, _) => Kind::Disconnect,
        (Some(2), Some(payload), Some(Token::Array(_))) => {
            check_name(&payload, limits)?;
            Kind::Event { id: id.filter(|&id| id != UNKNOWN_ID), payload }
        }
        (Some(3), Some(payload), Some(Token::Array(_))) => {
            Kind::Ack { id: id.unwrap_or(UNKNOWN_ID), payload }
        }
        (Some(4), Some(payload), Some(Token::Map(_) | Token::Str(_))) => Kind::ConnectError(payload),
        (Some(0..=4), ..) => return Err(DecodeError::Data),
        _ => return Err(DecodeError::UnknownType),
    };
    Ok(Packet { nsp, kind })
}

/// Encodes a packet as one binary message, with its keys in Node's order.
pub fn encode(packet: &Packet) -> Vec<u8> {
    let payload = packet.payload();
    let (kind, id) = match packet.kind {
        Kind::Connect(_) => (0, None),
        Kind::Disconnect => (1, None),
        Kind::Event { id, .. } => (2, id),
        Kind::Ack { id, .. } => (3, Some(id).filter(|&id| id != UNKNOWN_ID)),
        Kind::ConnectError(_) => (4, None),
    };
    let id = |out: &mut Vec<u8>| {
        if let Some(id) = id {
            write::string(out, "id");
            write::unsigned(out, id);
        }
    };
    let mut out = Vec::with_capacity(48 + packet.nsp.len() + payload.map_or(0, Payload::size));
    write::map(&mut out, 2 + usize::from(payload.is_some()) + usize::from(has_id(packet)));
    if kind == 3 {
        id(&mut out);
    }
    write::string(&mut out, "type");
    write::unsigned(&mut out, kind);
    if let Some(payload) = payload {
        write::string(&mut out, "data");
        match payload.msgpack() {
            Some(bytes) => out.extend_from_slice(bytes),
            None => write_value(&mut out, &payload.to_value().unwrap_or_default(), Dialect::Notepack2),
        }
    }
    if kind != 3 {
        id(&mut out);
    }
    write::string(&mut out, "nsp");
    write::string(&mut out, &packet.nsp);
    out
}

fn has_id(packet: &Packet) -> bool {
    match packet.kind {
        Kind::Event { id, .. } => id.is_some(),
        Kind::Ack { id, .. } => id != UNKNOWN_ID,
        _ => false,
    }
}

/// The name rules of the default parser, which Node's msgpack parser forgets.
fn check_name(payload: &Payload, limits: &Limits) -> Result<(), DecodeError> {
    match payload.event_name() {
        None => Err(DecodeError::Data),
        Some(name) if RESERVED_EVENTS.contains(&&*name) => Err(DecodeError::ReservedEvent),
        Some(name) if name.len() > limits.max_event_name => Err(DecodeError::EventNameTooLong),
        Some(_) => Ok(()),
    }
}

/// An integral number, however it is written.
fn integer(token: Token<'_>) -> Option<i64> {
    match token {
        Token::Int(value) => Some(value),
        Token::Uint(value) => Some(i64::try_from(value).unwrap_or(i64::MAX)),
        Token::Float(value) => Value::from(value).as_i64(),
        _ => None,
    }
}

/// The first element of an array, when it is a string or a number.
pub(crate) fn event_name(bytes: &Bytes) -> Option<Cow<'_, str>> {
    let mut reader = Reader::new(bytes, MAX_DEPTH);
    match reader.token().ok()? {
        Token::Array(1..) => reader.token().ok()?.number_or_text(),
        _ => None,
    }
}

/// The array `bytes` with the string `argument` as its last element.
pub(crate) fn append(bytes: &Bytes, argument: &str) -> Bytes {
    let mut reader = Reader::new(bytes, MAX_DEPTH);
    let Ok(Token::Array(elements)) = reader.token() else { return bytes.clone() };
    let mut out = Vec::with_capacity(bytes.len() + argument.len() + 10);
    write::array(&mut out, elements + 1);
    out.extend_from_slice(&bytes[reader.position()..]);
    write::string(&mut out, argument);
    out.into()
}
