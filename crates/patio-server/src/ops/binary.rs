//! Arguments between JSON, where binary is `{"$base64":"…"}`, and what Socket.IO carries.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use patio::Value;
use serde_json::{Map, Value as Json};

use super::error::{Code, Error};

const BASE64: &str = "$base64";

/// A value of a request. An object with `$base64` is bytes, and has nothing else.
pub(crate) fn from_json(json: Json) -> Result<Value, Error> {
    Ok(match json {
        Json::Array(values) => {
            let read = |(n, value)| from_json(value).map_err(|error: Error| error.within(&format!("[{n}]")));
            Value::Array(values.into_iter().enumerate().map(read).collect::<Result<_, _>>()?)
        }
        Json::Object(members) if members.contains_key(BASE64) => bytes(&members)?,
        Json::Object(members) => {
            let read = |(name, value): (String, Json)| {
                let value = from_json(value).map_err(|error| error.within(&name))?;
                Ok((name, value))
            };
            Value::Object(members.into_iter().map(read).collect::<Result<_, Error>>()?)
        }
        plain => Value::from(plain),
    })
}

fn bytes(members: &Map<String, Json>) -> Result<Value, Error> {
    let wrong = |message: &str| Error::of(Code::InvalidField, BASE64, message);
    match (members.len(), &members[BASE64]) {
        (1, Json::String(text)) => {
            let bytes =
                STANDARD.decode(text).map_err(|_| wrong("must be base-64 of RFC 4648, with its padding"))?;
            Ok(Value::Binary(bytes.into()))
        }
        (1, _) => Err(wrong("must be text")),
        _ => Err(wrong("stands alone: an object with it has no other members")),
    }
}

/// A value of an answer. What JSON has not becomes what `JSON.stringify` makes of it: `undefined` is null, a date its text.
pub(crate) fn to_json(value: &Value) -> Json {
    match value {
        Value::Binary(bytes) => serde_json::json!({ BASE64: STANDARD.encode(bytes) }),
        Value::Array(values) => values.iter().map(to_json).collect(),
        Value::Object(object) => {
            let members = object.iter().filter(|(_, value)| !matches!(value, Value::Undefined));
            Json::Object(members.map(|(name, value)| (name.to_owned(), to_json(value))).collect())
        }
        plain => serde_json::to_value(plain).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn there_and_back() {
        let value = json!([1, "a", null, { "b": { "$base64": "AAH/" }, "c": [true, 1.5] }]);
        let read = from_json(value.clone()).unwrap();
        assert_eq!(read.as_array().unwrap()[3]["b"].as_bytes().unwrap()[..], [0, 1, 255]);
        assert_eq!(to_json(&read), value);
        assert_eq!(to_json(&Value::Date(0)), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn bytes_must_be_such() {
        for (value, expected) in [
            (json!([{ "$base64": 1 }]), "[0].$base64: must be text"),
            (json!({ "a": { "$base64": "AA" } }), "a.$base64: must be base-64 of RFC 4648, with its padding"),
            (
                json!({ "$base64": "", "b": 1 }),
                "$base64: stands alone: an object with it has no other members",
            ),
        ] {
            assert_eq!(from_json(value).unwrap_err().to_string(), expected);
        }
    }
}
