//! Reads a [`Value`] from JSON text or any deserializer, with attachments put in the places of their placeholders.

use std::{cell::Cell, fmt};

use bytes::Bytes;
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};

use super::{NAME, Object, Value, de};

impl Value {
    /// Parses `text`. Placeholders are looked for when there are attachments; one with a wrong number is an error.
    pub(crate) fn from_json(text: &str, attachments: &[Bytes]) -> serde_json::Result<Self> {
        let mut json = serde_json::Deserializer::from_str(text);
        let illegal = Cell::new(false);
        let value = Resolve { attachments, illegal: &illegal }.deserialize(&mut json)?;
        json.end()?;
        if illegal.get() { Err(serde_json::Error::custom("illegal attachment number")) } else { Ok(value) }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Resolve { attachments: &[], illegal: &Cell::new(false) }.deserialize(deserializer)
    }
}

#[derive(Clone, Copy)]
struct Resolve<'a> {
    attachments: &'a [Bytes],
    /// Set when a placeholder stands for nothing, unless it stands inside of another one, where nobody looks.
    illegal: &'a Cell<bool>,
}

impl<'de> DeserializeSeed<'de> for Resolve<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_newtype_struct(NAME, self)
    }
}

impl<'de> Visitor<'de> for Resolve<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<Value, A::Error> {
        match data.variant::<u32>()? {
            (de::UNDEFINED, variant) => variant.unit_variant().map(|()| Value::Undefined),
            (de::DATE, variant) => variant.newtype_variant().map(Value::Date),
            _ => Err(A::Error::custom("not a value")),
        }
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<Value, E> {
        Ok(Value::Binary(Bytes::copy_from_slice(value)))
    }

    fn visit_byte_buf<E>(self, value: Vec<u8>) -> Result<Value, E> {
        Ok(Value::Binary(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element_seed(self)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let before = self.illegal.get();
        let mut members = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            members.push((key, map.next_value_seed(self)?));
        }
        let object: Object = members.into_iter().collect();
        match self.attachment(&object) {
            None => Ok(Value::Object(object)),
            Some(Some(bytes)) => {
                self.illegal.set(before);
                Ok(Value::Binary(bytes))
            }
            Some(None) => {
                self.illegal.set(true);
                Ok(Value::Null)
            }
        }
    }
}

impl Resolve<'_> {
    /// `None`: an ordinary object. `Some(None)`: a placeholder that stands for nothing.
    fn attachment(self, object: &Object) -> Option<Option<Bytes>> {
        if self.attachments.is_empty() || object.get("_placeholder").and_then(Value::as_bool) != Some(true) {
            return None;
        }
        let number =
            object.get("num").and_then(Value::as_u64).and_then(|number| usize::try_from(number).ok());
        Some(number.and_then(|number| self.attachments.get(number)).cloned())
    }
}
