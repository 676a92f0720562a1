//! Checks the data of a packet without building it: depth, syntax, the shape its type wants, the event name and the
//! numbers of placeholders.

use std::{cell::Cell, fmt};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{DecodeError, Limits, RESERVED_EVENTS};
use crate::{Text, packet::PacketType};

/// Checks `data` of a packet of type `kind` with `attachments`, and returns it with U+FFFD for lone surrogates, which
/// JavaScript strings may hold and UTF-8 may not.
pub(super) fn check(
    data: Text,
    kind: PacketType,
    attachments: usize,
    limits: &Limits,
) -> Result<Text, DecodeError> {
    let lone = scan(data.as_bytes(), limits.max_depth)?;
    let data = if lone.is_empty() { data } else { replace(&data, &lone) };

    let illegal = Cell::new(false);
    let outline = Outline { attachments, max_name: limits.max_event_name, illegal: &illegal };
    let mut json = serde_json::Deserializer::from_str(&data);
    let seen = outline.deserialize(&mut json).map_err(|_| DecodeError::Json)?;
    json.end().map_err(|_| DecodeError::Json)?;

    match (kind, seen) {
        (PacketType::Connect | PacketType::ConnectError, Seen::Object) => {}
        (PacketType::ConnectError, Seen::Text(_)) => {}
        (PacketType::Event | PacketType::BinaryEvent, Seen::Array(name)) => match name {
            Name::Valid => {}
            Name::Reserved => return Err(DecodeError::ReservedEvent),
            Name::TooLong => return Err(DecodeError::EventNameTooLong),
            Name::None => return Err(DecodeError::Data),
        },
        (PacketType::Ack | PacketType::BinaryAck, Seen::Array(_)) => {}
        _ => return Err(DecodeError::Data),
    }
    if illegal.get() { Err(DecodeError::Placeholder) } else { Ok(data) }
}

/// The JSON `text` with U+FFFD for lone surrogates. `None`: it has none.
pub(super) fn without_lone_surrogates(text: &str) -> Option<Text> {
    let lone = scan(text.as_bytes(), usize::MAX).ok()?;
    (!lone.is_empty()).then(|| replace(text, &lone))
}

/// Measures the depth of `text`, which may be no JSON at all, and finds the escapes `\uXXXX` of lone surrogates.
fn scan(text: &[u8], max_depth: usize) -> Result<Vec<usize>, DecodeError> {
    let mut lone = Vec::new();
    let mut depth = 0;
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        at += 1;
        match byte {
            b'[' | b'{' => {
                depth += 1;
                if depth > max_depth {
                    return Err(DecodeError::TooDeep);
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => at = string(text, at, &mut lone),
            _ => {}
        }
    }
    Ok(lone)
}

/// Walks through a string that begins at `at`, to behind its closing quote.
fn string(text: &[u8], mut at: usize, lone: &mut Vec<usize>) -> usize {
    while let Some(next) = memchr::memchr2(b'"', b'\\', &text[at..]) {
        at += next;
        if text[at] == b'"' {
            return at + 1;
        }
        match surrogate(&text[at..]) {
            None => at = text.len().min(at + 2),
            Some(Half::High) if surrogate(&text[at + ESCAPE..]) == Some(Half::Low) => at += 2 * ESCAPE,
            Some(_) => {
                lone.push(at);
                at += ESCAPE;
            }
        }
    }
    text.len()
}

/// The length of `\uXXXX`.
const ESCAPE: usize = 6;

#[derive(PartialEq)]
enum Half {
    High,
    Low,
}

/// The half of a surrogate pair that `text` begins with as an escape.
fn surrogate(text: &[u8]) -> Option<Half> {
    match text {
        [b'\\', b'u', b'd' | b'D', half, a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => {
            match half {
                b'8'..=b'9' | b'a'..=b'b' | b'A'..=b'B' => Some(Half::High),
                b'c'..=b'f' | b'C'..=b'F' => Some(Half::Low),
                _ => None,
            }
        }
        _ => None,
    }
}

/// `text` with `\ufffd` in place of the escapes that begin at `lone`.
fn replace(text: &str, lone: &[usize]) -> Text {
    let mut bytes = text.as_bytes().to_vec();
    for &at in lone {
        bytes[at..at + ESCAPE].copy_from_slice(br"\ufffd");
    }
    Text::from_utf8(bytes.into()).expect("ASCII was replaced by ASCII")
}

/// What a value is, as far as a packet needs to know.
enum Seen {
    True,
    Number(f64),
    /// A string, judged as an event name.
    Text(Name),
    /// An array, by its first element.
    Array(Name),
    Object,
    Other,
}

enum Name {
    Valid,
    Reserved,
    TooLong,
    /// Neither a string nor a number.
    None,
}

/// Walks through a value; through all of it only when there are attachments, for the placeholders.
#[derive(Clone, Copy)]
struct Outline<'a> {
    attachments: usize,
    max_name: usize,
    /// Set when a placeholder stands for no attachment.
    illegal: &'a Cell<bool>,
}

impl<'de> DeserializeSeed<'de> for Outline<'_> {
    type Value = Seen;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Seen, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Outline<'_> {
    type Value = Seen;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Seen, E> {
        Ok(Seen::Other)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Seen, E> {
        Ok(if value { Seen::True } else { Seen::Other })
    }

    fn visit_i64<E>(self, value: i64) -> Result<Seen, E> {
        Ok(Seen::Number(value as f64))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Seen, E> {
        Ok(Seen::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Seen, E> {
        Ok(Seen::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Seen, E> {
        Ok(Seen::Text(if value.len() > self.max_name {
            Name::TooLong
        } else if RESERVED_EVENTS.contains(&value) {
            Name::Reserved
        } else {
            Name::Valid
        }))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Seen, A::Error> {
        let name = match elements.next_element_seed(self)? {
            Some(Seen::Text(name)) => name,
            Some(Seen::Number(_)) => Name::Valid,
            Some(_) | None => Name::None,
        };
        if self.attachments > 0 {
            while elements.next_element_seed(self)?.is_some() {}
        } else {
            while elements.next_element::<IgnoredAny>()?.is_some() {}
        }
        Ok(Seen::Array(name))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Seen, A::Error> {
        if self.attachments == 0 {
            while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(Seen::Object);
        }
        let (mut placeholder, mut number) = (false, None);
        let before = self.illegal.get();
        while let Some(key) = members.next_key_seed(KeySeed)? {
            let value = members.next_value_seed(self)?;
            match key {
                Key::Placeholder => placeholder = matches!(value, Seen::True),
                Key::Number => number = if let Seen::Number(number) = value { Some(number) } else { None },
                Key::Other => {}
            }
        }
        if placeholder {
            // As Node does, nothing is looked for inside of a placeholder that is one.
            let legal = number.is_some_and(|number| self.stands_for_an_attachment(number));
            self.illegal.set(before || !legal);
        }
        Ok(Seen::Object)
    }
}

impl Outline<'_> {
    fn stands_for_an_attachment(self, number: f64) -> bool {
        number.fract() == 0.0 && number >= 0.0 && number < self.attachments as f64
    }
}

/// The keys of a placeholder.
enum Key {
    Placeholder,
    Number,
    Other,
}

struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Key, E> {
        Ok(match key {
            "_placeholder" => Key::Placeholder,
            "num" => Key::Number,
            _ => Key::Other,
        })
    }
}
