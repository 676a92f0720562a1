//! A value that is still MessagePack: parts of it are read where they stand, and the whole is written as JSON without a tree
//! between them.

use std::{borrow::Cow, cell::RefCell};

use bytes::Bytes;
use serde::{
    Serialize, Serializer,
    ser::{SerializeMap, SerializeSeq},
};

use super::read::{Reader, Token, is_neutral};
use crate::{decode::DecodeError, value::Value};

/// One value in MessagePack, complete and not nested deeper than was allowed, that borrows from the buffer it came in.
///
/// What is read of it is what [`read_value`](super::read_value) would give, without building the rest.
///
/// ```
/// use patio_proto::msgpack::Raw;
///
/// let bytes = b"\x92\xa3uid\x81\xa3nsp\xa1/".as_slice().into();
/// let message = Raw::new(&bytes, 16)?;
/// let mut elements = message.elements().expect("it is an array");
/// assert_eq!(elements.next().and_then(Raw::as_str).as_deref(), Some("uid"));
/// assert_eq!(elements.next().and_then(|packet| packet.get("nsp")?.as_str()).as_deref(), Some("/"));
/// # Ok::<_, patio_proto::decode::DecodeError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Raw<'a> {
    whole: &'a Bytes,
    bytes: &'a [u8],
}

impl<'a> Raw<'a> {
    /// The one value in `bytes`, nested at most `max_depth` deep. Errors: as [`read_value`](super::read_value).
    pub fn new(bytes: &'a Bytes, max_depth: usize) -> Result<Self, DecodeError> {
        // Looks at the keys, too.
        is_neutral(bytes, max_depth)?;
        Ok(Self { whole: bytes, bytes })
    }

    /// The elements of an array. `None`: it is none.
    pub fn elements(self) -> Option<impl Iterator<Item = Self>> {
        let mut reader = self.reader();
        let Ok(Token::Array(len)) = reader.token() else { return None };
        Some((0..len).map_while(move |_| self.next(&mut reader)))
    }

    /// The member `key` of a map; of several the last. `None`: there is none, or it is no map.
    pub fn get(self, key: &str) -> Option<Self> {
        let mut reader = self.reader();
        let Ok(Token::Map(len)) = reader.token() else { return None };
        let mut found = None;
        for _ in 0..len {
            let is_it = match reader.token().ok()? {
                Token::Str(name) => name == key.as_bytes(),
                name => name.key().is_some_and(|name| name == key),
            };
            let value = self.next(&mut reader)?;
            if is_it {
                found = Some(value);
            }
        }
        found
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

    /// It as a tree.
    pub fn to_value(self) -> Value {
        // It has been walked through before.
        self.reader().value().unwrap_or_default()
    }

    /// Its bytes, which share the buffer.
    pub fn to_bytes(self) -> Bytes {
        self.whole.slice_ref(self.bytes)
    }

    fn reader(self) -> Reader<'a> {
        // Its depth was looked at in the beginning.
        Reader::within(self.whole, self.bytes, usize::MAX)
    }

    /// The next value of a container.
    fn next(self, reader: &mut Reader<'a>) -> Option<Self> {
        let start = reader.position();
        reader.skip().ok()?;
        Some(Self { whole: self.whole, bytes: &self.bytes[start..reader.position()] })
    }
}

/// As its [`Value`] would be.
impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Next(&RefCell::new(self.reader())).serialize(serializer)
    }
}

/// The next value of a reader, which moves on when it is written: once.
struct Next<'r, 'a>(&'r RefCell<Reader<'a>>);

impl<'a> Next<'_, 'a> {
    fn token<E: serde::ser::Error>(&self) -> Result<Token<'a>, E> {
        self.0.borrow_mut().token().map_err(E::custom)
    }
}

impl Serialize for Next<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.token()? {
            Token::Str(text) => serializer.serialize_str(&String::from_utf8_lossy(text)),
            Token::Array(len) => {
                let mut seq = serializer.serialize_seq(Some(len))?;
                (0..len).try_for_each(|_| seq.serialize_element(self))?;
                seq.end()
            }
            Token::Map(len) => {
                // Some may be left out.
                let mut map = serializer.serialize_map(None)?;
                for _ in 0..len {
                    let key = self.token()?;
                    let is_undefined =
                        self.0.borrow().clone().token().map_err(serde::ser::Error::custom)?.is_undefined();
                    if is_undefined {
                        self.token()?;
                        continue;
                    }
                    match key {
                        Token::Str(text) => map.serialize_key(&*String::from_utf8_lossy(text))?,
                        key => map.serialize_key(&key.key())?,
                    }
                    map.serialize_value(self)?;
                }
                map.end()
            }
            scalar => self.0.borrow().scalar(scalar).serialize(serializer),
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
        let raw = Raw::new(&bytes, 3).unwrap();
        assert!(Raw::new(&bytes, 2).is_err(), "it is too deep");
        assert!(Raw::new(&bytes.slice(1..), 3).is_err(), "there is more than one");
        assert!(Raw::new(&bytes.slice(..bytes.len() - 1), 3).is_err(), "it is cut off");
        let [text, map] = raw.elements().unwrap().collect::<Vec<_>>()[..] else { panic!() };
        assert_eq!(text.as_str().unwrap(), "é");
        assert_eq!((text.get("a").is_none(), text.elements().is_none()), (true, true));
        assert_eq!(map.to_value(), Value::Object(object));
        assert_eq!(map.get("b").unwrap().elements().unwrap().count(), 2);
        assert_eq!(map.get("a").unwrap().to_bytes(), [1][..]);
        assert!(map.get("c").is_none() && map.as_str().is_none() && !map.is_empty_map());
    }

    #[test]
    fn the_last_of_several_members_counts() {
        // {"a": 1, "a": 2, 7: 3}
        let bytes = Bytes::from_static(&[0x83, 0xa1, b'a', 1, 0xa1, b'a', 2, 7, 3]);
        let raw = Raw::new(&bytes, 1).unwrap();
        assert_eq!(raw.get("a").unwrap().to_value(), 2.into());
        assert_eq!(raw.get("7").unwrap().to_value(), 3.into());
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
            let direct = Payload::value(&Raw::new(&bytes, 127).unwrap()).unwrap();
            let by_tree = Payload::value(&crate::msgpack::read_value(&bytes, 127).unwrap()).unwrap();
            assert_eq!(direct.json(), by_tree.json());
        }
        // A key that is an array.
        assert!(Raw::new(&Bytes::from_static(&[0x81, 0x90, 1]), 3).is_err());
        // Not UTF-8, keys that are no strings, an extension that nobody knows.
        for bytes in [
            &[0x91, 0xa2, 0xff, b'a'][..],
            &[0x85, 0xc0, 1, 0xc2, 2, 5, 3, 0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0, 4, 0xa1, 0xff, 5],
            &[0x91, 0xd4, 5, 6],
        ] {
            let bytes = Bytes::copy_from_slice(bytes);
            let direct = Payload::value(&Raw::new(&bytes, 127).unwrap()).unwrap();
            let by_tree = Payload::value(&crate::msgpack::read_value(&bytes, 127).unwrap()).unwrap();
            assert_eq!(direct.json(), by_tree.json());
        }
    }
}
