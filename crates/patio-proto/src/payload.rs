//! The data of a packet, kept as it is on the wire: serialised once when it is sent, parsed only when somebody reads it.
//!
//! What is sent comes from [`Payload::event`], [`args`](Payload::args) and [`value`](Payload::value) and goes to
//! [`encode`](crate::encode); what is received comes from [`decode`](crate::decode) as a slice of the received text and
//! is read by [`Payload::read_args`].

mod args;
mod json;

use std::{borrow::Cow, fmt, sync::Arc};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::{Text, value::Value};

pub use args::{Args, ArgsError};
#[doc(hidden)]
pub use json::serializations;

/// Arguments of an event or ack, or the single value of a CONNECT or CONNECT_ERROR. Cheap to clone.
///
/// Equal are two with the same text and attachments or the same bytes; one of JSON and one of MessagePack, if their
/// values are.
#[derive(Clone)]
pub struct Payload {
    repr: Repr,
}

#[derive(Clone, PartialEq)]
enum Repr {
    /// Valid JSON whose binary values are placeholders `{"_placeholder":true,"num":N}` for `attachments[N]`.
    Json { text: Text, attachments: Option<Arc<[Bytes]>> },
    /// Valid MessagePack.
    #[cfg(feature = "msgpack")]
    MsgPack(Bytes),
}

/// A value cannot be written: its `Serialize` failed, or a map has keys that JSON cannot express.
#[derive(Debug, thiserror::Error)]
#[error("the value cannot be serialised: {0}")]
pub struct EncodeError(serde_json::Error);

impl Payload {
    /// The payload of an event: `["name", …args]`.
    ///
    /// A Rust tuple is several arguments (`()` is none), anything else is one, arrays and structs included. Values
    /// that serialise as bytes (`Bytes`, `serde_bytes`) become attachments at any depth.
    ///
    /// Errors: `args` cannot be serialised as JSON.
    pub fn event<T: Serialize + ?Sized>(name: &str, args: &T) -> Result<Self, EncodeError> {
        json::write(|json| {
            json.name(name)?;
            json.args(args)
        })
    }

    /// The payload of an ack: `[…args]`, with the same meaning of tuples, and the same errors, as in
    /// [`event`](Self::event).
    pub fn args<T: Serialize + ?Sized>(args: &T) -> Result<Self, EncodeError> {
        json::write(|json| json.args(args))
    }

    /// One value that is not wrapped in an array: the data of CONNECT and CONNECT_ERROR. A [`Value::Array`] makes the
    /// payload of an event or ack out of parsed arguments. Errors: it cannot be serialised as JSON.
    pub fn value<T: Serialize + ?Sized>(value: &T) -> Result<Self, EncodeError> {
        json::write(|json| json.value(value))
    }

    /// No arguments: `[]`.
    pub fn empty() -> Self {
        Self::json_unchecked(Text::from_static("[]"), None)
    }

    /// JSON without binary, as it came from another server. It is handed on as it is.
    pub fn from_json(json: &serde_json::value::RawValue) -> Self {
        Self::json_unchecked(Text::from(json.get()), None)
    }

    /// The same payload in memory of its own. What came in a polling request shares the memory of the whole request,
    /// and would keep it for as long as it is kept itself.
    pub fn detached(&self) -> Self {
        let copy = |bytes: &Bytes| Bytes::copy_from_slice(bytes);
        let repr = match &self.repr {
            Repr::Json { text, attachments } => Repr::Json {
                text: Text::from(&**text),
                attachments: attachments.as_ref().map(|all| all.iter().map(copy).collect()),
            },
            #[cfg(feature = "msgpack")]
            Repr::MsgPack(bytes) => Repr::MsgPack(copy(bytes)),
        };
        Self { repr }
    }

    /// The same payload as JSON. What cannot be read is no arguments.
    pub(crate) fn in_json(&self) -> Self {
        match &self.repr {
            Repr::Json { .. } => self.clone(),
            #[cfg(feature = "msgpack")]
            Repr::MsgPack(bytes) => {
                let raw = crate::msgpack::Raw::new(bytes, crate::msgpack::MAX_DEPTH);
                Self::value(&raw).unwrap_or_default()
            }
        }
    }

    /// The value `null`: data of a CONNECT_ERROR that brought none.
    pub(crate) fn null() -> Self {
        Self::json_unchecked(Text::from_static("null"), None)
    }

    /// `text` is known to be JSON whose placeholders, if there are attachments, are in range.
    pub(crate) fn json_unchecked(text: Text, attachments: Option<Arc<[Bytes]>>) -> Self {
        Self { repr: Repr::Json { text, attachments } }
    }

    /// One value as MessagePack, which keeps `undefined` and dates for clients of that parser; JSON clients get it too.
    #[cfg(feature = "msgpack")]
    pub fn value_msgpack(value: &Value) -> Self {
        let mut bytes = Vec::new();
        crate::msgpack::write_value(&mut bytes, value, crate::msgpack::Dialect::Notepack2);
        Self::msgpack_unchecked(bytes.into())
    }

    /// The one MessagePack value in `bytes`, in any dialect: what came from another server. It shares the buffer unless it
    /// has to be written anew for clients, because of dates or `undefined`. Errors: as
    /// [`msgpack::read_value`](crate::msgpack::read_value).
    #[cfg(feature = "msgpack")]
    pub fn from_msgpack(bytes: Bytes) -> Result<Self, crate::decode::DecodeError> {
        use crate::msgpack::{MAX_DEPTH, is_neutral, read_value};
        Ok(match is_neutral(&bytes, MAX_DEPTH)? {
            true => Self::msgpack_unchecked(bytes),
            false => Self::value_msgpack(&read_value(&bytes, MAX_DEPTH)?),
        })
    }

    /// Appends the payload to `out` as MessagePack for peers that read `dialect`. Errors: as
    /// [`to_value`](Self::to_value); `out` may hold a part then.
    #[cfg(feature = "msgpack")]
    pub fn write_msgpack(
        &self,
        out: &mut Vec<u8>,
        dialect: crate::msgpack::Dialect,
    ) -> Result<(), ArgsError> {
        use crate::msgpack::{MAX_DEPTH, is_neutral, write_json, write_value};
        match &self.repr {
            Repr::Json { text, attachments: None } => write_json(out, text).map_err(ArgsError::whole)?,
            Repr::MsgPack(bytes) if is_neutral(bytes, MAX_DEPTH).unwrap_or(false) => {
                out.extend_from_slice(bytes);
            }
            _ => write_value(out, &self.to_value()?, dialect),
        }
        Ok(())
    }

    /// `bytes` is known to be one complete MessagePack value.
    #[cfg(feature = "msgpack")]
    pub(crate) fn msgpack_unchecked(bytes: Bytes) -> Self {
        Self { repr: Repr::MsgPack(bytes) }
    }

    /// The JSON text and its attachments; `None` when the payload is MessagePack.
    pub fn json(&self) -> Option<(&Text, &[Bytes])> {
        match &self.repr {
            Repr::Json { text, attachments } => Some((text, attachments.as_deref().unwrap_or_default())),
            #[cfg(feature = "msgpack")]
            Repr::MsgPack(_) => None,
        }
    }

    /// The MessagePack bytes; `None` when the payload is JSON.
    #[cfg(feature = "msgpack")]
    pub fn msgpack(&self) -> Option<&Bytes> {
        match &self.repr {
            Repr::MsgPack(bytes) => Some(bytes),
            Repr::Json { .. } => None,
        }
    }

    /// The attachments of the JSON form, in the order of their numbers.
    pub fn attachments(&self) -> &[Bytes] {
        self.json().map_or(&[], |(_, attachments)| attachments)
    }

    pub(crate) fn shared_attachments(&self) -> Option<Arc<[Bytes]>> {
        match &self.repr {
            Repr::Json { attachments, .. } => attachments.clone(),
            #[cfg(feature = "msgpack")]
            Repr::MsgPack(_) => None,
        }
    }

    /// The bytes of data: text or MessagePack, and attachments.
    pub fn size(&self) -> usize {
        match &self.repr {
            Repr::Json { text, attachments } => {
                text.len() + attachments.as_deref().unwrap_or_default().iter().map(Bytes::len).sum::<usize>()
            }
            #[cfg(feature = "msgpack")]
            Repr::MsgPack(bytes) => bytes.len(),
        }
    }
}

/// Reading what was received.
impl Payload {
    /// The name of an event: its first element, unescaped. A number is its decimal text, as a JavaScript property name
    /// would be. `None` when there is no such element.
    pub fn event_name(&self) -> Option<Cow<'_, str>> {
        match &self.repr {
            Repr::Json { text, .. } => json::event_name(text),
            #[cfg(feature = "msgpack")]
            Repr::MsgPack(bytes) => crate::msgpack::event_name(bytes),
        }
    }

    /// Reads arguments, leaving out the first `skip` elements: 1 for events (the name), 0 for acks.
    ///
    /// A Rust tuple takes one argument per element, `()` none, any other type the first argument. Further arguments are
    /// ignored; a missing one is `None` for an `Option`, [`Value::Undefined`] for a [`Value`], else an error.
    pub fn read_args<T: DeserializeOwned>(&self, skip: usize) -> Result<T, ArgsError> {
        match &self.repr {
            Repr::Json { text, attachments: None } => args::from_json(text, skip),
            _ => args::from_value(self.to_value()?, skip),
        }
    }

    /// Reads the single value of a CONNECT or CONNECT_ERROR. Errors: it is not what `T` takes.
    pub fn read_value<T: DeserializeOwned>(&self) -> Result<T, ArgsError> {
        match &self.repr {
            Repr::Json { text, attachments: None } => serde_json::from_str(text).map_err(ArgsError::whole),
            _ => self.to_value()?.read(),
        }
    }

    /// The whole payload as a [`Value`], with attachments in their places. Errors: the data cannot be
    /// read as one.
    pub fn to_value(&self) -> Result<Value, ArgsError> {
        match &self.repr {
            Repr::Json { text, attachments } => {
                Value::from_json(text, attachments.as_deref().unwrap_or_default()).map_err(ArgsError::whole)
            }
            #[cfg(feature = "msgpack")]
            Repr::MsgPack(bytes) => crate::msgpack::read_value(bytes, crate::msgpack::MAX_DEPTH)
                .map_err(|_| ArgsError::malformed()),
        }
    }

    /// All elements: for an event the name and its arguments. A payload that is no array is its own only element.
    /// Errors: as [`to_value`](Self::to_value).
    pub fn values(&self) -> Result<Vec<Value>, ArgsError> {
        Ok(match self.to_value()? {
            Value::Array(values) => values,
            value => vec![value],
        })
    }

    /// The payload with one more argument at its end: the offset that connection state recovery sends with events.
    pub fn with_appended_str(&self, argument: &str) -> Self {
        match &self.repr {
            Repr::Json { text, attachments } => {
                Self::json_unchecked(json::append(text, argument), attachments.clone())
            }
            #[cfg(feature = "msgpack")]
            Repr::MsgPack(bytes) => Self::msgpack_unchecked(crate::msgpack::append(bytes, argument)),
        }
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        #[cfg(feature = "msgpack")]
        if self.msgpack().is_some() != other.msgpack().is_some() {
            return matches!((self.to_value(), other.to_value()), (Ok(one), Ok(other)) if one == other);
        }
        self.repr == other.repr
    }
}

/// [`Payload::empty`].
impl Default for Payload {
    fn default() -> Self {
        Self::empty()
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.repr {
            Repr::Json { text, attachments } => {
                f.write_str(text)?;
                match attachments.as_deref() {
                    Some(attachments) => write!(f, " + {attachments:?}"),
                    None => Ok(()),
                }
            }
            #[cfg(feature = "msgpack")]
            Repr::MsgPack(bytes) => write!(f, "msgpack {bytes:?}"),
        }
    }
}
