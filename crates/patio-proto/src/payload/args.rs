//! Reads arguments out of the outermost array of a payload into the type a handler asks for.

use std::{cell::Cell, fmt, marker::PhantomData};

use serde::{
    Deserializer, Serialize,
    de::{
        DeserializeOwned, DeserializeSeed, Error as _, IgnoredAny, SeqAccess, Visitor, value::SeqDeserializer,
    },
    forward_to_deserialize_any,
};

use super::json::{Tuple, tuple};
use crate::value::{self, Value, ValueDeserializer};

/// Arguments whose number is known only at run time: where they are sent, they are spread like the elements of a tuple.
///
/// What a client sent is read into it by the extractor of this name, `emit("x", &args)` sends it on.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Args(pub Vec<Value>);

/// The arguments of an event or ack are not what its reader expects.
#[derive(Debug)]
pub struct ArgsError {
    /// `None` when the payload as a whole cannot be read.
    argument: Option<Argument>,
    cause: serde_json::Error,
}

/// The argument that was being read.
#[derive(Clone, Copy, Debug)]
struct Argument {
    /// Counted without the event name.
    index: usize,
    missing: bool,
}

impl ArgsError {
    /// Which argument is missing or wrong, counted from 0 without the event name. `None`: the payload as a whole.
    pub fn index(&self) -> Option<usize> {
        self.argument.map(|argument| argument.index)
    }

    /// Whether the argument was not sent at all.
    pub fn is_missing(&self) -> bool {
        self.argument.is_some_and(|argument| argument.missing)
    }

    pub(crate) fn whole(cause: serde_json::Error) -> Self {
        Self { argument: None, cause }
    }

    #[cfg(feature = "msgpack")]
    pub(super) fn malformed() -> Self {
        Self::whole(serde_json::Error::custom("malformed MessagePack"))
    }
}

impl fmt::Display for ArgsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.argument {
            Some(Argument { index, missing: true }) => write!(f, "argument {index} is missing"),
            Some(Argument { index, missing: false }) => write!(f, "argument {index}: {}", self.cause),
            None => self.cause.fmt(f),
        }
    }
}

impl std::error::Error for ArgsError {}

pub(super) fn from_json<T: DeserializeOwned>(text: &str, skip: usize) -> Result<T, ArgsError> {
    let current = Cell::new(None);
    let visitor = Reader { skip, current: &current, wanted: PhantomData };
    let mut json = serde_json::Deserializer::from_str(text);
    json.deserialize_seq(visitor).map_err(|cause| ArgsError { argument: current.get(), cause })
}

pub(super) fn from_value<T: DeserializeOwned>(value: Value, skip: usize) -> Result<T, ArgsError> {
    let current = Cell::new(None);
    let visitor = Reader { skip, current: &current, wanted: PhantomData };
    let elements = match value {
        Value::Array(elements) => elements,
        _ => Vec::new(),
    };
    visitor
        .visit_seq(SeqDeserializer::new(elements.into_iter()))
        .map_err(|cause| ArgsError { argument: current.get(), cause })
}

/// Reads `T` from the elements of an array after the first `skip`.
struct Reader<'a, T> {
    skip: usize,
    current: &'a Cell<Option<Argument>>,
    wanted: PhantomData<T>,
}

impl<'de, T: DeserializeOwned> Visitor<'de> for Reader<'_, T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of arguments")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<T, A::Error> {
        for _ in 0..self.skip {
            elements.next_element::<IgnoredAny>()?;
        }
        let mut arguments = Arguments { elements, current: self.current, next: 0, over: false };
        let wanted = match tuple::<T>() {
            Tuple::No => arguments.read(PhantomData)?,
            Tuple::Empty | Tuple::Elements => T::deserialize(Spread(&mut arguments))?,
        };
        while arguments.elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(wanted)
    }
}

/// The arguments that are left, followed by any number of missing ones.
struct Arguments<'a, A> {
    elements: A,
    current: &'a Cell<Option<Argument>>,
    next: usize,
    over: bool,
}

impl<'de, A: SeqAccess<'de>> Arguments<'_, A> {
    fn read<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let mut argument = Argument { index: self.next, missing: false };
        self.current.set(Some(argument));
        self.next += 1;
        let mut seed = Some(seed);
        if !self.over
            && let Some(value) = self.elements.next_element_seed(Take(&mut seed))?
        {
            self.current.set(None);
            return Ok(value);
        }
        self.over = true;
        argument.missing = true;
        self.current.set(Some(argument));
        let seed = seed.take().ok_or_else(|| A::Error::custom("argument read twice"))?;
        let value = seed.deserialize(Missing(PhantomData))?;
        self.current.set(None);
        Ok(value)
    }
}

/// Leaves the seed with its owner when the sequence ends without using it.
struct Take<'a, S>(&'a mut Option<S>);

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Take<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        let seed = self.0.take().ok_or_else(|| D::Error::custom("argument read twice"))?;
        seed.deserialize(deserializer)
    }
}

/// Gives a tuple its elements from the arguments.
struct Spread<'a, 'b, A>(&'a mut Arguments<'b, A>);

impl<'de, A: SeqAccess<'de>> Deserializer<'de> for Spread<'_, '_, A> {
    type Error = A::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, A::Error> {
        visitor.visit_seq(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, A::Error> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Spread<'_, '_, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.0.read(seed).map(Some)
    }
}

/// An argument that was not sent: `undefined` in JavaScript.
struct Missing<E>(PhantomData<E>);

impl<'de, E: serde::de::Error> Deserializer<'de> for Missing<E> {
    type Error = E;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, E> {
        Err(E::custom("missing"))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        visitor.visit_none()
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, E> {
        visitor.visit_unit()
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, E> {
        if name == value::NAME {
            return ValueDeserializer::new(Value::Undefined).deserialize_newtype_struct(name, visitor);
        }
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf seq tuple tuple_struct
        map struct enum identifier
    }
}
