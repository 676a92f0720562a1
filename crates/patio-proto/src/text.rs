//! Immutable text over shared bytes: what WebSocket text frames, polling payloads and packets are made of.

use std::{fmt, ops::Deref, ops::RangeBounds};

use bytes::Bytes;
use bytestring::ByteString;

/// UTF-8 text over [`Bytes`]: cloning and slicing share one buffer.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Text(ByteString);

/// The bytes are not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("text is not valid UTF-8")]
pub struct Utf8Error;

impl Text {
    /// Text of `bytes`, without a copy. Errors: they are not UTF-8.
    pub fn from_utf8(bytes: Bytes) -> Result<Self, Utf8Error> {
        ByteString::try_from(bytes).map(Self).map_err(|_| Utf8Error)
    }

    /// Text that lives as long as the program.
    pub const fn from_static(text: &'static str) -> Self {
        Self(ByteString::from_static(text))
    }

    /// The text as `&str`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text's bytes, sharing the buffer.
    pub fn into_bytes(self) -> Bytes {
        self.0.into_bytes()
    }

    /// A part of the text, sharing the buffer. Panics when an end is out of range or inside a character.
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Self {
        let from = match range.start_bound() {
            std::ops::Bound::Included(&at) => at,
            std::ops::Bound::Excluded(&at) => at + 1,
            std::ops::Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            std::ops::Bound::Included(&at) => at + 1,
            std::ops::Bound::Excluded(&at) => at,
            std::ops::Bound::Unbounded => self.len(),
        };
        Self(self.0.slice_ref(&self.0[from..to]))
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}
