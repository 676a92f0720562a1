//! Values as serde data: JSON gets placeholders for binary through [`payload`](crate::payload).

use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{Object, Value, date};

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null | Self::Undefined => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::Uint(value) => serializer.serialize_u64(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::String(value) => serializer.serialize_str(value),
            Self::Binary(value) => serializer.serialize_bytes(value),
            Self::Date(millis) => match date::to_iso(*millis) {
                Some(text) => serializer.serialize_str(&text),
                None => serializer.serialize_unit(),
            },
            Self::Array(values) => serializer.collect_seq(values),
            Self::Object(object) => object.serialize(serializer),
        }
    }
}

/// Members that are `undefined` are left out, as `JSON.stringify` does.
impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let defined = || self.iter().filter(|(_, value)| !matches!(value, Value::Undefined));
        let mut map = serializer.serialize_map(Some(defined().count()))?;
        for (key, value) in defined() {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}
