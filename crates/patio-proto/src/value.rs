//! Any value that Socket.IO carries: JSON, binary at any depth, and JavaScript's `undefined` and dates, which
//! MessagePack peers and Redis messages keep.

mod date;
mod de;
mod from;
mod json;
pub(crate) mod number;
mod object;
mod ser;

use std::ops;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::payload::ArgsError;

pub(crate) use de::NAME;
pub use de::ValueDeserializer;
pub use object::Object;

/// A value of any shape.
///
/// Through JSON, [`Undefined`](Self::Undefined) is `null` and dates are ISO strings; binary travels beside the text.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// `null`
    Null,
    /// `undefined`
    #[default]
    Undefined,
    /// `true` or `false`
    Bool(bool),
    /// An integral number in the range of `i64`.
    Int(i64),
    /// An integral number above `i64::MAX`.
    Uint(u64),
    /// Any other number.
    Float(f64),
    /// Text.
    String(String),
    /// A `Buffer`, `ArrayBuffer` or typed array.
    Binary(Bytes),
    /// A `Date`: milliseconds since 1970-01-01T00:00:00Z.
    Date(i64),
    /// An array.
    Array(Vec<Value>),
    /// An object, in the order of its keys.
    Object(Object),
}

impl Value {
    /// Whether this is `null` or `undefined`.
    pub fn is_nullish(&self) -> bool {
        matches!(self, Self::Null | Self::Undefined)
    }

    /// The boolean, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The number, if it is integral and fits; `2.0` does.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            Self::Float(value) => number::integer(*value),
            _ => None,
        }
    }

    /// The number, if it is integral, not negative and fits; `2.0` does.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Uint(value) => Some(*value),
            _ => self.as_i64().and_then(|value| value.try_into().ok()),
        }
    }

    /// The number, rounded to what JavaScript holds.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Int(value) => Some(*value as f64),
            Self::Uint(value) => Some(*value as f64),
            Self::Float(value) => Some(*value),
            _ => None,
        }
    }

    /// The text, if it is a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(value) => Some(value),
            _ => None,
        }
    }

    /// The bytes, if it is binary.
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Binary(value) => Some(value),
            _ => None,
        }
    }

    /// The elements, if it is an array.
    pub fn as_array(&self) -> Option<&[Value]> {
        match self {
            Self::Array(value) => Some(value),
            _ => None,
        }
    }

    /// The members, if it is an object.
    pub fn as_object(&self) -> Option<&Object> {
        match self {
            Self::Object(value) => Some(value),
            _ => None,
        }
    }

    /// The member `key`, if this is an object that has it.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.as_object()?.get(key)
    }

    /// Whether binary is anywhere inside: what makes an event a BINARY_EVENT.
    pub fn has_binary(&self) -> bool {
        match self {
            Self::Binary(_) => true,
            Self::Array(values) => values.iter().any(Self::has_binary),
            Self::Object(object) => object.iter().any(|(_, value)| value.has_binary()),
            _ => false,
        }
    }

    /// Reads the value into a type. Errors: it is not what `T` takes.
    pub fn read<T: DeserializeOwned>(self) -> Result<T, ArgsError> {
        T::deserialize(ValueDeserializer::new(self)).map_err(ArgsError::whole)
    }
}

/// The member of that name, `undefined` when there is none.
impl ops::Index<&str> for Value {
    type Output = Value;

    fn index(&self, key: &str) -> &Value {
        self.get(key).unwrap_or(&UNDEFINED)
    }
}

/// The element of that index, `undefined` when there is none.
impl ops::Index<usize> for Value {
    type Output = Value;

    fn index(&self, index: usize) -> &Value {
        self.as_array().and_then(|values| values.get(index)).unwrap_or(&UNDEFINED)
    }
}

static UNDEFINED: Value = Value::Undefined;
