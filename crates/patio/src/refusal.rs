//! The "no" of a middleware: made by user code, sent to the client as CONNECT_ERROR.

use std::{borrow::Cow, fmt};

use patio_proto::{payload::Payload, value::Value};
use serde::Serialize;

/// Why a middleware turns a connection or a packet away: the `err` of Node's `next(err)`.
///
/// A refused connection gets a `connect_error` event with `err.message` and `err.data`. A refused packet reaches no
/// handler; its client is not told.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    message: Cow<'static, str>,
    data: Option<Value>,
}

impl Refusal {
    /// A refusal that says `message` to the client.
    pub fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self { message: message.into(), data: None }
    }

    /// Adds details that the client finds in `err.data`.
    #[must_use]
    pub fn with_data(self, data: impl Into<Value>) -> Self {
        Self { data: Some(data.into()), ..self }
    }

    /// What the client finds in `err.message`.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What the client finds in `err.data`.
    pub fn data(&self) -> Option<&Value> {
        self.data.as_ref()
    }

    /// The data of CONNECT_ERROR: `{"message":…,"data":…}`.
    pub(crate) fn to_payload(&self) -> Payload {
        written(&Wire::from(self))
    }

    /// The same object as the one argument of an ack.
    pub(crate) fn to_ack(&self) -> Payload {
        Payload::args(&Wire::from(self)).unwrap_or_default()
    }

    /// The data of ERROR, as clients 1.x and 2.x know it: the details, or else the text.
    pub(crate) fn to_payload_v3(&self) -> Payload {
        match &self.data {
            // Node takes `err.data || err.message`
            Some(data) if !is_falsy(data) => written(data),
            _ => written(&self.message),
        }
    }
}

#[derive(Serialize)]
struct Wire<'a> {
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Value>,
}

impl<'a> From<&'a Refusal> for Wire<'a> {
    fn from(refusal: &'a Refusal) -> Self {
        Self { message: &refusal.message, data: refusal.data.as_ref() }
    }
}

/// Text and `Value`s can always be written.
fn written(value: &impl Serialize) -> Payload {
    Payload::value(value).unwrap_or_default()
}

fn is_falsy(value: &Value) -> bool {
    match value {
        Value::Null | Value::Undefined | Value::Bool(false) | Value::Int(0) => true,
        Value::Float(number) => *number == 0.0 || number.is_nan(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.message)
    }
}

impl std::error::Error for Refusal {}

impl From<&'static str> for Refusal {
    fn from(message: &'static str) -> Self {
        Self::new(message)
    }
}

impl From<String> for Refusal {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(payload: &Payload) -> &str {
        payload.json().map_or("", |(text, _)| text)
    }

    #[test]
    fn is_written_as_node_writes_errors() {
        let plain = Refusal::new("not authorized");
        assert_eq!(json(&plain.to_payload()), r#"{"message":"not authorized"}"#);
        assert_eq!(json(&plain.to_payload_v3()), r#""not authorized""#);
        let detailed = plain.with_data(serde_json::json!({ "code": 7 }));
        assert_eq!(json(&detailed.to_payload()), r#"{"message":"not authorized","data":{"code":7}}"#);
        assert_eq!(json(&detailed.to_payload_v3()), r#"{"code":7}"#);
        assert_eq!(json(&detailed.with_data("").to_payload_v3()), r#""not authorized""#);
    }
}
