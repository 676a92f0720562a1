//! Reads MessagePack: tokens, whole values, or just where a value ends. Work and memory follow the bytes that are
//! there, never the lengths they claim.

use std::borrow::Cow;

use bytes::Bytes;
use rmp::Marker;

use crate::{
    decode::DecodeError,
    value::{Object, Value, number},
};

/// Reads the one value in `bytes`, nested at most `max_depth` deep, in any dialect. Binary shares the buffer.
///
/// Unknown extensions are arrays of their type and their bytes, as in notepack. Errors: [`DecodeError::MsgPack`], for
/// bytes behind the value too, and [`DecodeError::TooDeep`].
pub fn read_value(bytes: &Bytes, max_depth: usize) -> Result<Value, DecodeError> {
    let mut reader = Reader::new(bytes, max_depth);
    let value = reader.value()?;
    reader.end()?;
    Ok(value)
}

/// Whether the one value in `bytes` is the same in all dialects and can be handed on as it is: it has no extensions, and
/// its text is UTF-8. Errors: as [`read_value`].
pub(crate) fn is_neutral(bytes: &Bytes, max_depth: usize) -> Result<bool, DecodeError> {
    let mut reader = Reader::new(bytes, max_depth);
    let neutral = reader.neutral()?;
    reader.end()?;
    Ok(neutral)
}

#[derive(Clone)]
pub(super) struct Reader<'a> {
    /// What binary values share.
    whole: &'a Bytes,
    bytes: &'a [u8],
    at: usize,
    depth: usize,
}

/// One value, or the head of an array or a map.
#[derive(Clone, Copy)]
pub(super) enum Token<'a> {
    Nil,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Str(&'a [u8]),
    Bin(&'a [u8]),
    Array(usize),
    Map(usize),
    /// Notepack tells extensions of fixed length from those with a length.
    Ext {
        kind: i8,
        fixed: bool,
        data: &'a [u8],
    },
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a Bytes, max_depth: usize) -> Self {
        Self::within(bytes, bytes, max_depth)
    }

    /// Reads only `bytes`, a part of `whole`.
    pub(super) fn within(whole: &'a Bytes, bytes: &'a [u8], max_depth: usize) -> Self {
        Self { whole, bytes, at: 0, depth: max_depth }
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// Nothing may be left.
    pub(super) fn end(&self) -> Result<(), DecodeError> {
        if self.at == self.bytes.len() { Ok(()) } else { Err(DecodeError::MsgPack) }
    }

    pub(super) fn token(&mut self) -> Result<Token<'a>, DecodeError> {
        let [marker] = self.array()?;
        Ok(match Marker::from_u8(marker) {
            Marker::Null => Token::Nil,
            Marker::False => Token::Bool(false),
            Marker::True => Token::Bool(true),
            Marker::FixPos(value) => Token::Int(value.into()),
            Marker::FixNeg(value) => Token::Int(value.into()),
            Marker::U8 => Token::Int(u8::from_be_bytes(self.array()?).into()),
            Marker::U16 => Token::Int(u16::from_be_bytes(self.array()?).into()),
            Marker::U32 => Token::Int(u32::from_be_bytes(self.array()?).into()),
            Marker::U64 => Token::Uint(u64::from_be_bytes(self.array()?)),
            Marker::I8 => Token::Int(i8::from_be_bytes(self.array()?).into()),
            Marker::I16 => Token::Int(i16::from_be_bytes(self.array()?).into()),
            Marker::I32 => Token::Int(i32::from_be_bytes(self.array()?).into()),
            Marker::I64 => Token::Int(i64::from_be_bytes(self.array()?)),
            Marker::F32 => Token::Float(f32::from_be_bytes(self.array()?).into()),
            Marker::F64 => Token::Float(f64::from_be_bytes(self.array()?)),
            Marker::FixStr(len) => Token::Str(self.take(len.into())?),
            Marker::Str8 => Token::Str(self.len8().and_then(|len| self.take(len))?),
            Marker::Str16 => Token::Str(self.len16().and_then(|len| self.take(len))?),
            Marker::Str32 => Token::Str(self.len32().and_then(|len| self.take(len))?),
            Marker::Bin8 => Token::Bin(self.len8().and_then(|len| self.take(len))?),
            Marker::Bin16 => Token::Bin(self.len16().and_then(|len| self.take(len))?),
            Marker::Bin32 => Token::Bin(self.len32().and_then(|len| self.take(len))?),
            Marker::FixArray(len) => Token::Array(len.into()),
            Marker::Array16 => Token::Array(self.len16()?),
            Marker::Array32 => Token::Array(self.len32()?),
            Marker::FixMap(len) => Token::Map(len.into()),
            Marker::Map16 => Token::Map(self.len16()?),
            Marker::Map32 => Token::Map(self.len32()?),
            Marker::FixExt1 => self.ext(1, true)?,
            Marker::FixExt2 => self.ext(2, true)?,
            Marker::FixExt4 => self.ext(4, true)?,
            Marker::FixExt8 => self.ext(8, true)?,
            Marker::FixExt16 => self.ext(16, true)?,
            Marker::Ext8 => self.len8().and_then(|len| self.ext(len, false))?,
            Marker::Ext16 => self.len16().and_then(|len| self.ext(len, false))?,
            Marker::Ext32 => self.len32().and_then(|len| self.ext(len, false))?,
            Marker::Reserved => return Err(DecodeError::MsgPack),
        })
    }

    /// Walks over the next value.
    pub(super) fn skip(&mut self) -> Result<(), DecodeError> {
        let token = self.token()?;
        self.finish(token)
    }

    /// Walks over what belongs to `token`, which was just read.
    pub(super) fn finish(&mut self, token: Token<'a>) -> Result<(), DecodeError> {
        let (values, members) = match token {
            Token::Array(len) => (len, 1),
            Token::Map(len) => (len, 2),
            _ => return Ok(()),
        };
        self.nested(|reader| {
            for _ in 0..values {
                for _ in 0..members {
                    reader.skip()?;
                }
            }
            Ok(())
        })
    }

    /// Walks over the next value and says whether it is the same in all dialects.
    fn neutral(&mut self) -> Result<bool, DecodeError> {
        Ok(match self.token()? {
            Token::Str(text) => simdutf8::basic::from_utf8(text).is_ok(),
            Token::Ext { .. } => false,
            Token::Array(len) => self.nested(|reader| {
                let mut neutral = true;
                for _ in 0..len {
                    neutral &= reader.neutral()?;
                }
                Ok(neutral)
            })?,
            Token::Map(len) => self.nested(|reader| {
                let mut neutral = true;
                for _ in 0..len {
                    neutral &= match reader.token()? {
                        Token::Str(text) => simdutf8::basic::from_utf8(text).is_ok(),
                        key => key.key().map(|_| false).ok_or(DecodeError::MsgPack)?,
                    };
                    neutral &= reader.neutral()?;
                }
                Ok(neutral)
            })?,
            _ => true,
        })
    }

    pub(super) fn value(&mut self) -> Result<Value, DecodeError> {
        Ok(match self.token()? {
            Token::Array(len) => self.nested(|reader| {
                let values: Result<Vec<_>, _> = (0..len).map(|_| reader.value()).collect();
                values.map(Value::Array)
            })?,
            Token::Map(len) => self.nested(|reader| {
                let member = |_| {
                    let key = reader.token()?.key().ok_or(DecodeError::MsgPack)?;
                    Ok((key.into_owned(), reader.value()?))
                };
                let members: Result<Vec<_>, _> = (0..len).map(member).collect();
                Ok(Value::Object(members?.into_iter().collect()))
            })?,
            scalar => self.scalar(scalar),
        })
    }

    /// What `token` stands for. The head of a container is an empty one.
    pub(super) fn scalar(&self, token: Token<'a>) -> Value {
        match token {
            Token::Nil => Value::Null,
            Token::Bool(value) => Value::Bool(value),
            Token::Int(value) => Value::Int(value),
            Token::Uint(value) => value.into(),
            Token::Float(value) => value.into(),
            Token::Str(text) => Value::String(lossy(text)),
            Token::Bin(bytes) => self.binary(bytes),
            Token::Array(_) => Value::Array(Vec::new()),
            Token::Map(_) => Value::Object(Object::new()),
            token @ Token::Ext { kind: 0, .. } if token.is_undefined() => Value::Undefined,
            Token::Ext { kind: 0, fixed: true, data: &[a, b, c, d, e, f, g, h] } => {
                Value::Date(i64::from_be_bytes([a, b, c, d, e, f, g, h]))
            }
            Token::Ext { kind: 0, data, .. } => self.binary(data),
            Token::Ext { kind, data, .. } => match timestamp(kind, data) {
                Some(millis) => Value::Date(millis),
                None => Value::Array(vec![Value::Int(kind.into()), self.binary(data)]),
            },
        }
    }

    fn binary(&self, bytes: &'a [u8]) -> Value {
        Value::Binary(self.whole.slice_ref(bytes))
    }

    /// Runs `inside` one level deeper.
    fn nested<T>(
        &mut self,
        inside: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        self.depth = self.depth.checked_sub(1).ok_or(DecodeError::TooDeep)?;
        let result = inside(self)?;
        self.depth += 1;
        Ok(result)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let taken = self.bytes[self.at..].get(..len).ok_or(DecodeError::MsgPack)?;
        self.at += len;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        self.take(N)?.try_into().map_err(|_| DecodeError::MsgPack)
    }

    fn len8(&mut self) -> Result<usize, DecodeError> {
        self.array().map(|bytes| u8::from_be_bytes(bytes).into())
    }

    fn len16(&mut self) -> Result<usize, DecodeError> {
        self.array().map(|bytes| u16::from_be_bytes(bytes).into())
    }

    fn len32(&mut self) -> Result<usize, DecodeError> {
        self.array().map(|bytes| u32::from_be_bytes(bytes) as usize)
    }

    fn ext(&mut self, len: usize, fixed: bool) -> Result<Token<'a>, DecodeError> {
        let kind = i8::from_be_bytes(self.array()?);
        Ok(Token::Ext { kind, fixed, data: self.take(len)? })
    }
}

impl<'a> Token<'a> {
    /// Notepack's `undefined`, which counts as absent.
    pub(super) fn is_undefined(self) -> bool {
        matches!(self, Self::Ext { kind: 0, fixed: true, data: [_] })
    }

    /// Text, and numbers as theirs.
    pub(super) fn number_or_text(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Str(text) => Some(String::from_utf8_lossy(text)),
            Self::Int(value) => Some(value.to_string().into()),
            Self::Uint(value) => Some(value.to_string().into()),
            Self::Float(value) => Some(number::to_string(value).into()),
            _ => None,
        }
    }

    /// The name that a JavaScript object gives to this key; containers, bytes and extensions are refused.
    pub(super) fn key(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Nil => Some("null".into()),
            Self::Bool(value) => Some(value.to_string().into()),
            _ => self.number_or_text(),
        }
    }
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

/// The milliseconds of a timestamp extension: of 4, 8 or 12 bytes.
fn timestamp(kind: i8, data: &[u8]) -> Option<i64> {
    let (seconds, nanos) = match (kind, data) {
        (-1, &[a, b, c, d]) => (u32::from_be_bytes([a, b, c, d]).into(), 0),
        (-1, &[a, b, c, d, e, f, g, h]) => {
            let packed = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
            ((packed & ((1 << 34) - 1)) as i64, (packed >> 34) as i64)
        }
        (-1, &[n0, n1, n2, n3, a, b, c, d, e, f, g, h]) => {
            (i64::from_be_bytes([a, b, c, d, e, f, g, h]), u32::from_be_bytes([n0, n1, n2, n3]).into())
        }
        _ => return None,
    };
    // Wider than the result: the last second of `i64` begins before its first millisecond.
    let millis = i128::from(seconds) * 1000 + i128::from(nanos / 1_000_000);
    Some(i64::try_from(millis).unwrap_or(if millis < 0 { i64::MIN } else { i64::MAX }))
}
