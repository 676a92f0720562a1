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
use patio_proto::{
    decode::{DecodeError, without_lone_surrogates},
    msgpack::read_value,
    payload::{ArgsError, Payload},
    value::{Object, Value},
};

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
pub(crate) fn stringify(value: &Value) -> Result<Box<serde_json::value::RawValue>, ArgsError> {
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
    Ok(serde_json::value::RawValue::from_string(json.to_string()).expect("it has just been written"))
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
