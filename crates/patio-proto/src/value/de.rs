//! Values as the source and as the target of deserialisation.
//!
//! A [`Value`] read from a [`Value`] keeps `undefined` and dates, which serde's data model lacks: `Value` asks for a
//! newtype struct of a private [`NAME`], and [`ValueDeserializer`] answers that name with an enum.

use std::marker::PhantomData;

use serde::{
    Deserializer,
    de::{
        DeserializeSeed, EnumAccess, Error, IntoDeserializer, Unexpected, VariantAccess, Visitor,
        value::{MapDeserializer, SeqDeserializer},
    },
    forward_to_deserialize_any,
};

use super::{Value, date, number};

/// What [`Value`] calls itself towards deserializers.
pub(crate) const NAME: &str = "$patio::Value";

/// Reads any type from a [`Value`]: dates are ISO strings, `undefined` is `null`, and `1.0` is an integer too.
pub struct ValueDeserializer<E> {
    value: Value,
    error: PhantomData<E>,
}

impl<E> ValueDeserializer<E> {
    pub(crate) fn new(value: Value) -> Self {
        Self { value, error: PhantomData }
    }
}

impl<'de, E: Error> IntoDeserializer<'de, E> for Value {
    type Deserializer = ValueDeserializer<E>;

    fn into_deserializer(self) -> ValueDeserializer<E> {
        ValueDeserializer::new(self)
    }
}

impl<'de, E: Error> Deserializer<'de> for ValueDeserializer<E> {
    type Error = E;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        match self.value {
            Value::Null | Value::Undefined => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(value),
            Value::Int(value) => visitor.visit_i64(value),
            Value::Uint(value) => visitor.visit_u64(value),
            Value::Float(value) => visitor.visit_f64(value),
            Value::String(value) => visitor.visit_string(value),
            Value::Binary(value) => visitor.visit_byte_buf(value.into()),
            Value::Date(millis) => match date::to_iso(millis) {
                Some(text) => visitor.visit_string(text),
                None => visitor.visit_unit(),
            },
            Value::Array(values) => {
                let mut seq = SeqDeserializer::new(values.into_iter());
                let read = visitor.visit_seq(&mut seq)?;
                seq.end()?;
                Ok(read)
            }
            Value::Object(object) => {
                let mut map = MapDeserializer::new(object.into_iter());
                let read = visitor.visit_map(&mut map)?;
                map.end()?;
                Ok(read)
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        if self.value.is_nullish() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, E> {
        if name != NAME {
            return visitor.visit_newtype_struct(self);
        }
        match self.value {
            Value::Undefined | Value::Date(_) => visitor.visit_enum(self),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, E> {
        match self.value {
            Value::String(variant) => visitor.visit_enum(variant.into_deserializer()),
            Value::Object(object) if object.len() == 1 => {
                let map = MapDeserializer::new(object.into_iter());
                serde::de::value::MapAccessDeserializer::new(map).deserialize_enum(name, variants, visitor)
            }
            _ => Err(E::invalid_type(self.unexpected(), &"a string or an object with one member")),
        }
    }

    // MessagePack peers may send integers as doubles
    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        self.integer().deserialize_any(visitor)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        self.integer().deserialize_any(visitor)
    }

    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        self.integer().deserialize_any(visitor)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        self.integer().deserialize_any(visitor)
    }

    fn deserialize_i16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        self.integer().deserialize_any(visitor)
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        self.integer().deserialize_any(visitor)
    }

    fn deserialize_i8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        self.integer().deserialize_any(visitor)
    }

    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        self.integer().deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i128 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}

impl<E: Error> ValueDeserializer<E> {
    fn integer(self) -> Self {
        match self.value {
            Value::Float(value) => number::integer(value).map_or(self, |value| Self::new(Value::Int(value))),
            _ => self,
        }
    }

    fn unexpected(&self) -> Unexpected<'_> {
        match &self.value {
            Value::Null | Value::Undefined => Unexpected::Unit,
            Value::Bool(value) => Unexpected::Bool(*value),
            Value::Int(value) => Unexpected::Signed(*value),
            Value::Uint(value) => Unexpected::Unsigned(*value),
            Value::Float(value) => Unexpected::Float(*value),
            Value::String(value) => Unexpected::Str(value),
            Value::Binary(value) => Unexpected::Bytes(value),
            Value::Date(_) => Unexpected::Other("date"),
            Value::Array(_) => Unexpected::Seq,
            Value::Object(_) => Unexpected::Map,
        }
    }
}

/// Variants of the enum that carries what serde's data model lacks.
pub(super) const UNDEFINED: u32 = 0;
pub(super) const DATE: u32 = 1;

impl<'de, E: Error> EnumAccess<'de> for ValueDeserializer<E> {
    type Error = E;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), E> {
        let variant = if matches!(self.value, Value::Date(_)) { DATE } else { UNDEFINED };
        Ok((seed.deserialize(variant.into_deserializer())?, self))
    }
}

impl<'de, E: Error> VariantAccess<'de> for ValueDeserializer<E> {
    type Error = E;

    fn unit_variant(self) -> Result<(), E> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, E> {
        match self.value {
            Value::Date(millis) => seed.deserialize(millis.into_deserializer()),
            _ => Err(E::invalid_type(self.unexpected(), &"a date")),
        }
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, E> {
        Err(E::invalid_type(self.unexpected(), &visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, E> {
        Err(E::invalid_type(self.unexpected(), &visitor))
    }
}
