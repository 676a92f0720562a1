//! A value that is still MessagePack: parts of it are read where they stand, and the whole is written as JSON without a tree
//! between them.

use std::{borrow::Cow, cell::RefCell};

use bytes::Bytes;
use serde::{
    Serialize, Serializer,
    ser::{Error, SerializeMap, SerializeSeq},
};

use super::read::{Reader, Token};
use crate::{decode::DecodeError, value::Value};

/// One value in MessagePack that borrows from the buffer it came in.
///
/// What is read of it is what [`read_value`](super::read_value) would give, but only that is looked at: the rest may be
/// anything.
///
/// ```
/// use patio_proto::msgpack::Raw;
///
/// let bytes = b"\x92\xa3uid\x81\xa3nsp\xa1/".as_slice().into();
/// let mut elements = Raw::new(&bytes, 16).elements().expect("it is an array");
/// assert_eq!(elements.next().and_then(Raw::as_str).as_deref(), Some("uid"));
/// let mut members = elements.next().and_then(Raw::members).expect("it is a map");
/// let (name, value) = members.next().expect("it has a member");
/// assert_eq!((&*name, value.as_str().as_deref()), ("nsp", Some("/")));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Raw<'a> {
    whole: &'a Bytes,
    bytes: &'a [u8],
    depth: usize,
}

impl<'a> Raw<'a> {
    /// The value in `bytes`. What is nested more than `max_depth` deep is as if it were cut off.
    pub fn new(bytes: &'a Bytes, max_depth: usize) -> Self {
        Self { whole: bytes, bytes, depth: max_depth }
    }

    /// Walks through all of it. Errors: as [`read_value`](super::read_value), but keys may be anything.
    pub fn check(self) -> Result<(), DecodeError> {
        let mut reader = self.reader();
        reader.skip()?;
        reader.end()
    }

    /// The elements of an array, up to where it is cut off. `None`: it is none.
    pub fn elements(self) -> Option<impl Iterator<Item = Self>> {
        let depth = self.depth.checked_sub(1)?;
        let mut reader = Reader::within(self.whole, self.bytes, depth);
        let Ok(Token::Array(len)) = reader.token() else { return None };
        Some((0..len).map_while(move |_| self.next(&mut reader, depth)))
    }

    /// The members of a map in their order, up to where it is cut off, without those whose keys are no names. `None`: it is
    /// no map.
    pub fn members(self) -> Option<impl Iterator<Item = (Cow<'a, str>, Self)>> {
        let depth = self.depth.checked_sub(1)?;
        let mut reader = Reader::within(self.whole, self.bytes, depth);
        let Ok(Token::Map(len)) = reader.token() else { return None };
        let members = (0..len).map_while(move |_| {
            let key = reader.token().ok()?;
            reader.finish(key).ok()?;
            Some((key.key(), self.next(&mut reader, depth)?))
        });
        Some(members.filter_map(|(key, value)| Some((key?, value))))
    }

    /// The text of a string; what is not UTF-8 is replaced. `None`: it is no string.
    pub fn as_str(self) -> Option<Cow<'a, str>> {
        match self.reader().token() {
            Ok(Token::Str(text)) => Some(String::from_utf8_lossy(text)),
            _ => None,
        }
    }

    /// Whether it is a map without members.
    pub fn is_empty_map(self) -> bool {
        matches!(self.reader().token(), Ok(Token::Map(0)))
    }

    /// It as a tree. Errors: as [`read_value`](super::read_value).
    pub fn to_value(self) -> Result<Value, DecodeError> {
        let mut reader = self.reader();
        let value = reader.value()?;
        reader.end()?;
        Ok(value)
    }

    /// Its bytes, which share the buffer.
    pub fn to_bytes(self) -> Bytes {
        self.whole.slice_ref(self.bytes)
    }

    fn reader(self) -> Reader<'a> {
        Reader::within(self.whole, self.bytes, self.depth)
    }

    /// The next value of a container.
    fn next(self, reader: &mut Reader<'a>, depth: usize) -> Option<Self> {
        let start = reader.position();
        reader.skip().ok()?;
        Some(Self { whole: self.whole, bytes: &self.bytes[start..reader.position()], depth })
    }
}

/// As its [`Value`] would be; of two members with the same name both are written. Errors: as [`Raw::to_value`].
impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let reader = RefCell::new(self.reader());
        let written = Next { reader: &reader, depth: self.depth }.serialize(serializer)?;
        reader.borrow().end().map_err(S::Error::custom)?;
        Ok(written)
    }
}

/// The next value of a reader, which moves on when it is written: once.
struct Next<'r, 'a> {
    reader: &'r RefCell<Reader<'a>>,
    depth: usize,
}

impl<'a> Next<'_, 'a> {
    fn token<E: Error>(&self) -> Result<Token<'a>, E> {
        self.reader.borrow_mut().token().map_err(E::custom)
    }

    fn peek<E: Error>(&self) -> Result<Token<'a>, E> {
        self.reader.borrow().clone().token().map_err(E::custom)
    }

    /// The same reader inside of a container.
    fn inside<E: Error>(&self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| E::custom(DecodeError::TooDeep))?;
        Ok(Self { depth, ..*self })
    }
}

impl Serialize for Next<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.token()? {
            Token::Str(text) => serializer.serialize_str(&String::from_utf8_lossy(text)),
            Token::Array(len) => {
                let element = self.inside()?;
                let mut seq = serializer.serialize_seq(Some(len))?;
                (0..len).try_for_each(|_| seq.serialize_element(&element))?;
                seq.end()
            }
            Token::Map(len) => {
                let value = self.inside()?;
                // Some may be left out.
                let mut map = serializer.serialize_map(None)?;
                for _ in 0..len {
                    let key = self.token::<S::Error>()?.key();
                    let key = key.ok_or_else(|| S::Error::custom(DecodeError::MsgPack))?;
                    if self.peek::<S::Error>()?.is_undefined() {
                        self.token::<S::Error>()?;
                    } else {
                        map.serialize_entry(&key, &value)?;
                    }
                }
                map.end()
            }
            scalar => self.reader.borrow().scalar(scalar).serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{msgpack::write_value, payload::Payload, value::Object};

    fn written(value: &Value) -> Bytes {
        let mut out = Vec::new();
        write_value(&mut out, value, crate::msgpack::Dialect::Notepack2);
        out.into()
    }

    #[test]
    fn is_read_in_place() {
        let object = Object::from([("a", 1.into()), ("b", Value::Array(vec!["x".into(), Value::Null]))]);
        let bytes = written(&Value::Array(vec!["é".into(), Value::Object(object.clone())]));
        let raw = Raw::new(&bytes, 3);
        let [text, map] = raw.elements().unwrap().collect::<Vec<_>>()[..] else { panic!() };
        assert_eq!(text.as_str().unwrap(), "é");
        assert!(text.members().is_none() && text.elements().is_none());
        assert_eq!(map.to_value().unwrap(), Value::Object(object));
        let [(a, one), (b, list)] = &map.members().unwrap().collect::<Vec<_>>()[..] else { panic!() };
        assert_eq!((&**a, &one.to_bytes()[..], &**b), ("a", &[1][..], "b"));
        assert_eq!(list.elements().unwrap().count(), 2);
        assert!(map.as_str().is_none() && !map.is_empty_map());
    }

    #[test]
    fn what_is_cut_off_or_too_deep_ends_there() {
        let bytes = Bytes::from_static(&[0x93, 1, 0x91, 0x90, 0xa3, b'a']);
        let count = |depth| Raw::new(&bytes, depth).elements().map(Iterator::count);
        assert_eq!((count(0), count(1), count(2), count(3)), (None, Some(1), Some(1), Some(2)));
        assert!(Raw::new(&bytes, 9).check().is_err() && Raw::new(&bytes.slice(2..4), 2).check().is_ok());
        assert!(Raw::new(&bytes, 9).to_value().is_err() && Payload::value(&Raw::new(&bytes, 9)).is_err());
        let [map, more] = [&[0x82, 0x90, 1, 0xc0, 2][..], &[1, 2]].map(Bytes::from_static);
        assert_eq!(Raw::new(&map, 9).members().unwrap().next().unwrap().0, "null", "an array is no name");
        for whole in [map, more] {
            let whole = Raw::new(&whole, 9);
            assert!(whole.to_value().is_err() && Payload::value(&whole).is_err());
        }
        let deep = Bytes::from_static(&[0x91, 0x91, 0x90]);
        assert!(Payload::value(&Raw::new(&deep, 2)).is_err() && Payload::value(&Raw::new(&deep, 3)).is_ok());
    }

    #[test]
    fn is_the_json_of_its_value() {
        let mut nested = Value::Array(vec![]);
        for _ in 0..20 {
            nested = Value::Array(vec![nested, Object::from([("k", Value::Undefined)]).into()]);
        }
        let numbers = [
            Value::Int(-1),
            Value::Uint(u64::MAX),
            Value::Float(1.5),
            Value::Float(1e300),
            Value::Float(-0.0),
            Value::Float(f64::NAN),
        ];
        for value in [
            Value::Array(numbers.into()),
            Value::Array(vec!["\"\\\u{1}é\u{2028}".into(), Value::Undefined, true.into(), Value::Null]),
            Value::Array(vec![Value::Binary(Bytes::from_static(b"\0")), Value::Binary(Bytes::new())]),
            Value::Array(vec![Value::Date(0), Value::Date(i64::MAX), Value::Date(-62_198_755_200_000)]),
            Object::from([("u", Value::Undefined), ("", Value::Null), ("b", Value::Binary(vec![1].into()))])
                .into(),
            nested,
        ] {
            let bytes = written(&value);
            let direct = Payload::value(&Raw::new(&bytes, 127)).unwrap();
            let by_tree = Payload::value(&crate::msgpack::read_value(&bytes, 127).unwrap()).unwrap();
            assert_eq!(direct.json(), by_tree.json());
        }
        // Not UTF-8, keys that are no strings, an extension that nobody knows.
        for bytes in [
            &[0x91, 0xa2, 0xff, b'a'][..],
            &[0x85, 0xc0, 1, 0xc2, 2, 5, 3, 0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0, 4, 0xa1, 0xff, 5],
            &[0x91, 0xd4, 5, 6],
        ] {
            let bytes = Bytes::copy_from_slice(bytes);
            let direct = Payload::value(&Raw::new(&bytes, 127)).unwrap();
            let by_tree = Payload::value(&crate::msgpack::read_value(&bytes, 127).unwrap()).unwrap();
            assert_eq!(direct.json(), by_tree.json());
        }
    }
}
