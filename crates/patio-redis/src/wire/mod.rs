//! Bytes of messages between servers: those of Node's adapters, and one question of our own.
//!
//! Nothing here knows a connection. What is decoded is input like any other: it may be anything.

pub(crate) mod classic;
pub(crate) mod cluster;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod golden_cluster;
pub(crate) mod legacy;
mod options;

use std::borrow::Cow;

use bytes::Bytes;
pub(crate) use options::rooms;
use patio_adapter::{AdapterError, LazyJson, SocketSnapshot};
use patio_proto::{
    decode::{DecodeError, without_lone_surrogates},
    msgpack::read_value,
    payload::{ArgsError, Payload},
    value::{Object, Value},
};
use serde_json::value::RawValue;

/// The name by which emitters go among servers.
pub(crate) const EMITTER: &str = "emitter";

/// How deep messages may be nested: as deep as a client's data may be, and what servers wrap around it.
pub(crate) const MAX_DEPTH: usize = 127 + 4;

/// Why a message cannot be understood.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Garbage {
    #[error("it is no JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("it is no MessagePack: {0}")]
    MsgPack(#[from] DecodeError),
    #[error("`{0}` is missing or is not what it should be")]
    Field(&'static str),
    #[error("it is too large")]
    Size,
}

/// 6 characters, as Node's ids of servers and requests on these channels: 36 random bits.
pub(crate) fn id() -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    (0..6).map(|_| char::from(ALPHABET[fastrand::usize(..64)])).collect()
}

/// One value in JSON or MessagePack, told apart as Node does: JSON begins with `{`.
fn read(bytes: &Bytes) -> Result<Value, Garbage> {
    match bytes.first() {
        Some(b'{') => read_json(&text(bytes)),
        _ => Ok(read_value(bytes, MAX_DEPTH)?),
    }
}

fn read_json(text: &str) -> Result<Value, Garbage> {
    serde_json::from_str(text).or_else(|error| match without_lone_surrogates(text) {
        Some(text) => Ok(serde_json::from_str(&text)?),
        None => Err(error.into()),
    })
}

/// The text, with what is not UTF-8 replaced.
fn text(bytes: &Bytes) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// JSON of a value as `JSON.stringify` writes it: bytes as Node's `Buffer`, members that are `undefined` left out.
pub(crate) fn stringify(value: &Value) -> Result<Box<RawValue>, ArgsError> {
    fn plain(value: &Value) -> Value {
        match value {
            Value::Binary(bytes) => {
                let data = bytes.iter().map(|&byte| i64::from(byte)).collect();
                let members = [("type".to_owned(), "Buffer".into()), ("data".to_owned(), data)];
                Value::Object(members.into_iter().collect())
            }
            Value::Array(values) => Value::Array(values.iter().map(plain).collect()),
            Value::Object(object) => {
                let members = object.iter().filter(|(_, value)| !matches!(value, Value::Undefined));
                Value::Object(members.map(|(key, value)| (key.to_owned(), plain(value))).collect::<Object>())
            }
            other => other.clone(),
        }
    }

    let payload = Payload::value(&plain(value)).expect("a value can always be written");
    let (json, _) = payload.json().expect("a value is written as JSON");
    Ok(RawValue::from_string(json.to_string()).expect("it has just been written"))
}

fn string(out: &mut Vec<u8>, text: &str) {
    rmp::encode::write_str(out, text).expect("memory takes everything");
}

fn unreadable(error: ArgsError) -> AdapterError {
    AdapterError::failed("reading the arguments", error)
}

/// JSON that somebody gave us as JSON.
fn raw(text: &str) -> &RawValue {
    serde_json::from_str(text).unwrap_or(RawValue::NULL)
}

/// The first argument of an ack: what travels.
fn first(arguments: &Payload) -> Result<Option<Value>, AdapterError> {
    Ok(arguments.values().map_err(unreadable)?.into_iter().next())
}

/// A payload that is an event: an array that begins with a name.
fn event(payload: Payload) -> Result<Payload, Garbage> {
    if payload.event_name().is_some() { Ok(payload) } else { Err(Garbage::Field("the event's name")) }
}

/// What is told about a socket. Only the id must be there.
fn socket(value: &Value) -> Option<SocketSnapshot> {
    let id = options::room(&value["id"])?;
    let json =
        |value: &Value| stringify(value).map_or_else(|_| "{}".to_owned(), |json| json.get().to_owned());
    let handshake = Some(&value["handshake"]).filter(|handshake| handshake.as_object().is_some()).cloned();
    let data = match &value["data"] {
        Value::Null | Value::Undefined => serde_json::json!({}),
        data => serde_json::from_str(&json(data)).ok()?,
    };
    Some(SocketSnapshot {
        id,
        handshake: LazyJson::new(move || handshake.as_ref().map_or_else(|| "{}".to_owned(), json)),
        rooms: rooms(&value["rooms"]).unwrap_or_default(),
        data,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lone_surrogates_are_replaced() {
        for (text, expected) in [
            (r#"{"a":"\ud800"}"#, "\u{fffd}"),
            (r#"{"a":"\ud83d\ude00\udc00x"}"#, "\u{1f600}\u{fffd}x"),
            (r#"{"a":"\\ud800\ud800"}"#, "\\ud800\u{fffd}"),
            (r#"{"a":"\ud800\ud800\udc00é"}"#, "\u{fffd}\u{10000}é"),
        ] {
            let value = read(&Bytes::from(text)).unwrap();
            assert_eq!(value["a"].as_str(), Some(expected), "{text}");
        }
        assert!(read(&Bytes::from(r#"{"a":"\"#)).is_err());
    }
}
