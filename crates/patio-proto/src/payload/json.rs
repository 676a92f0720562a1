//! Writes arguments as JSON, the way `JSON.stringify` and the binary extraction of socket.io-parser do, and edits the
//! outermost array of such texts without parsing all of it.

use std::{
    any::type_name,
    borrow::Cow,
    cell::Cell,
    io::{self, Write},
};

use bytes::Bytes;
use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};

use super::{Args, EncodeError, Payload};
use crate::{Text, value::number};

/// Text up to this many bytes is written into the thread's own buffer and copied from there once, into an allocation of
/// its size. Longer text keeps the buffer that it grew.
const COPIED: usize = 4 * 1024;

thread_local! {
    /// Taken while in use: what is being serialised may serialise something else.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    /// For each thread: one count for all would be a cache line that all cores fight for.
    static SERIALIZATIONS: Cell<u64> = const { Cell::new(0) };
}

/// How many payloads this thread has serialised: for the test that a broadcast does it once.
pub fn serializations() -> u64 {
    SERIALIZATIONS.get()
}

/// A payload whose text `fill` writes.
pub(super) fn write(fill: impl FnOnce(&mut Json) -> serde_json::Result<()>) -> Result<Payload, EncodeError> {
    SERIALIZATIONS.set(SERIALIZATIONS.get() + 1);
    let mut json = Json { text: BUFFER.take(), attachments: Vec::new() };
    json.text.clear();
    fill(&mut json).map_err(EncodeError)?;
    let bytes = if json.text.len() <= COPIED {
        let copy = Bytes::copy_from_slice(&json.text);
        BUFFER.set(json.text);
        copy
    } else {
        json.text.into()
    };
    let text = Text::from_utf8(bytes)
        .map_err(|_| EncodeError(serde::ser::Error::custom("raw JSON is not UTF-8")))?;
    let attachments = if json.attachments.is_empty() { None } else { Some(json.attachments.into()) };
    Ok(Payload::json_unchecked(text, attachments))
}

/// Text that grows and the binaries that were replaced in it.
pub(super) struct Json {
    text: Vec<u8>,
    attachments: Vec<Bytes>,
}

impl Json {
    /// Opens the array of an event.
    pub(super) fn name(&mut self, name: &str) -> serde_json::Result<()> {
        self.text.push(b'[');
        serde_json::to_writer(&mut self.text, name)
    }

    /// Writes arguments into the open array, or into a new one, and closes it.
    pub(super) fn args<T: Serialize + ?Sized>(&mut self, args: &T) -> serde_json::Result<()> {
        let start = self.text.len();
        let separator = if start == 0 { b'[' } else { b',' };
        match tuple::<T>() {
            Tuple::Empty => {
                if start == 0 {
                    self.text.push(b'[');
                }
                self.text.push(b']');
                Ok(())
            }
            // `[a,b]` becomes `,a,b]`
            Tuple::Elements => {
                self.value(args)?;
                if start > 0 && self.text.len() == start + "[]".len() {
                    // Run-time arguments may be none: there is nothing to separate.
                    self.text.remove(start);
                } else {
                    self.text[start] = separator;
                }
                Ok(())
            }
            Tuple::No => {
                self.text.push(separator);
                self.value(args)?;
                self.text.push(b']');
                Ok(())
            }
        }
    }

    pub(super) fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> serde_json::Result<()> {
        let formatter = SocketIo { attachments: &mut self.attachments };
        value.serialize(&mut Serializer::with_formatter(&mut self.text, formatter))
    }
}

/// Whether a type is spread over several arguments.
pub(super) enum Tuple {
    /// `()`
    Empty,
    /// `(A,)`, `(A, B)`, …
    Elements,
    /// anything else
    No,
}

/// Whether `T` is a Rust tuple or [`Args`], or a reference to one.
///
/// Serde cannot tell tuples from arrays, and a trait of our own that holds for tuples and for everything else needs
/// specialisation; the name of the type can.
pub(super) fn tuple<T: ?Sized>() -> Tuple {
    let mut name = type_name::<T>();
    while let Some(referent) = name.strip_prefix("&mut ").or_else(|| name.strip_prefix('&')) {
        name = referent;
    }
    match name {
        "()" => Tuple::Empty,
        _ if name == type_name::<Args>() => Tuple::Elements,
        _ if name.starts_with('(') && !name.starts_with("(dyn ") => Tuple::Elements,
        _ => Tuple::No,
    }
}

/// Compact JSON with numbers as JavaScript writes them and placeholders for bytes.
struct SocketIo<'a> {
    attachments: &'a mut Vec<Bytes>,
}

impl Formatter for SocketIo<'_> {
    fn write_f64<W: ?Sized + Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        if value.fract() != 0.0 {
            return CompactFormatter.write_f64(writer, value);
        }
        match number::integer(value) {
            Some(value) => self.write_i64(writer, value),
            None => writer.write_all(number::to_string(value).as_bytes()),
        }
    }

    fn write_f32<W: ?Sized + Write>(&mut self, writer: &mut W, value: f32) -> io::Result<()> {
        // 0.1f32 is written as 0.1, not as the 0.10000000149011612 of its f64
        if value.fract() != 0.0 {
            return CompactFormatter.write_f32(writer, value);
        }
        self.write_f64(writer, value.into())
    }

    fn write_byte_array<W: ?Sized + Write>(&mut self, writer: &mut W, value: &[u8]) -> io::Result<()> {
        writer.write_all(br#"{"_placeholder":true,"num":"#)?;
        self.write_u64(writer, self.attachments.len() as u64)?;
        writer.write_all(b"}")?;
        self.attachments.push(Bytes::copy_from_slice(value));
        Ok(())
    }
}

/// The first element of the array `text`, when it is a string or a number.
pub(super) fn event_name(text: &str) -> Option<Cow<'_, str>> {
    let text = text.trim_ascii_start().strip_prefix('[')?.trim_ascii_start();
    match text.bytes().next()? {
        b'"' => {
            let end = memchr::memchr2(b'"', b'\\', &text.as_bytes()[1..])? + 1;
            if text.as_bytes()[end] == b'"' {
                return Some(Cow::Borrowed(&text[1..end]));
            }
            let mut first = serde_json::Deserializer::from_str(text).into_iter::<String>();
            first.next()?.ok().map(Cow::Owned)
        }
        b'-' | b'0'..=b'9' => {
            let end = text.find([',', ']', ' ', '\n', '\r', '\t'])?;
            let digits = &text[..end];
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.len() < 16;
            if plain {
                Some(Cow::Borrowed(digits))
            } else {
                Some(Cow::Owned(number::to_string(digits.parse().ok()?)))
            }
        }
        _ => None,
    }
}

/// The array `text` with the string `argument` as its last element.
pub(super) fn append(text: &str, argument: &str) -> Text {
    let open = text.trim_ascii_end();
    let open = open.strip_suffix(']').unwrap_or(open).trim_ascii_end();
    let mut out = Vec::with_capacity(open.len() + argument.len() + 4);
    out.extend_from_slice(open.as_bytes());
    if !open.ends_with('[') {
        out.push(b',');
    }
    serde_json::to_writer(&mut out, argument).expect("writing a string to memory succeeds");
    out.push(b']');
    Text::from_utf8(out.into()).expect("two pieces of text are text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_time_arguments_are_spread() {
        use crate::{
            payload::{Args, Payload},
            value::Value,
        };
        let text = |payload: Payload| payload.json().map(|(text, _)| text.to_string()).unwrap();
        let two = Args(vec![Value::Int(1), Value::Bool(true)]);
        assert_eq!(text(Payload::event("a", &two).unwrap()), r#"["a",1,true]"#);
        assert_eq!(text(Payload::args(&two).unwrap()), "[1,true]");
        assert_eq!(text(Payload::event("a", &Args::default()).unwrap()), r#"["a"]"#);
        assert_eq!(text(Payload::args(&&Args::default()).unwrap()), "[]");
    }

    #[test]
    fn only_tuples_are_spread() {
        fn spread<T: ?Sized>() -> Option<bool> {
            match tuple::<T>() {
                Tuple::Empty => None,
                Tuple::Elements => Some(true),
                Tuple::No => Some(false),
            }
        }
        type Generic<T> = (T,);
        assert_eq!(spread::<()>(), None);
        assert_eq!(spread::<&mut ()>(), None);
        assert_eq!(spread::<(u8,)>(), Some(true));
        assert_eq!(spread::<Generic<[u8; 2]>>(), Some(true));
        assert_eq!(spread::<(&str, Vec<()>)>(), Some(true));
        assert_eq!(spread::<&&(String, u8)>(), Some(true));
        assert_eq!(spread::<&mut (&dyn std::fmt::Debug, u8)>(), Some(true));
        assert_eq!(spread::<[u8; 2]>(), Some(false));
        assert_eq!(spread::<[(u8, u8)]>(), Some(false));
        assert_eq!(spread::<Vec<(u8, u8)>>(), Some(false));
        assert_eq!(spread::<Box<(u8, u8)>>(), Some(false));
        assert_eq!(spread::<Option<(u8, u8)>>(), Some(false));
        assert_eq!(spread::<str>(), Some(false));
        assert_eq!(spread::<&(dyn std::fmt::Debug + Send)>(), Some(false));
        assert_eq!(spread::<fn((u8, u8))>(), Some(false));
    }
}
