//! Values as JSON with tags for what JSON has not, as in `e2e/cluster/values.mjs`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use patio::Value;
use serde_json::{Value as Json, json};

/// All but the name of an event.
pub(crate) fn arguments(event: Value) -> Value {
    match event {
        Value::Array(values) => Value::Array(values.into_iter().skip(1).collect()),
        other => other,
    }
}

pub(crate) fn tag(value: &Value) -> Json {
    match value {
        Value::Undefined => json!({ "$undefined": true }),
        Value::Date(ms) => json!({ "$date": ms }),
        Value::Binary(bytes) => json!({ "$binary": STANDARD.encode(bytes) }),
        Value::Array(values) => values.iter().map(tag).collect(),
        Value::Object(object) => {
            Json::Object(object.iter().map(|(key, value)| (key.to_owned(), tag(value))).collect())
        }
        other => serde_json::to_value(other).unwrap_or_default(),
    }
}

pub(crate) fn untag(json: Json) -> Value {
    match json {
        Json::Array(values) => values.into_iter().map(untag).collect(),
        Json::Object(members) => {
            if members.contains_key("$undefined") {
                return Value::Undefined;
            }
            if let Some(ms) = members.get("$date").and_then(Json::as_i64) {
                return Value::Date(ms);
            }
            if let Some(text) = members.get("$binary").and_then(Json::as_str) {
                return Value::Binary(STANDARD.decode(text).unwrap_or_default().into());
            }
            Value::Object(members.into_iter().map(|(key, value)| (key, untag(value))).collect())
        }
        other => other.into(),
    }
}
