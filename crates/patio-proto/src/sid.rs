//! Ids of sockets and sessions: from random bytes of the caller to 20 characters on the wire.

use std::{fmt, ops::Deref, str};

/// An Engine.IO session id, a Socket.IO socket id or a recovery `pid`: 20 characters of `A-Za-z0-9_-`.
///
/// Adapters of Node take ids of exactly this length for private rooms. Who knows a session id holds the session, so its
/// bytes come from a cryptographic source.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sid([u8; 20]);

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl Sid {
    /// The length in characters.
    pub const LEN: usize = 20;

    /// The id of 15 random bytes.
    pub fn from_random(bytes: [u8; 15]) -> Self {
        let mut id = [0; 20];
        for (three, four) in bytes.as_chunks::<3>().0.iter().zip(id.as_chunks_mut::<4>().0) {
            let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
            *four = [18, 12, 6, 0].map(|shift| ALPHABET[(bits >> shift) as usize & 63]);
        }
        Self(id)
    }

    /// The id of 12 random bytes and the low 24 bits of a counter, as Node makes them.
    pub fn numbered(random: [u8; 12], count: u32) -> Self {
        let mut bytes = [0; 15];
        bytes[..12].copy_from_slice(&random);
        bytes[12..].copy_from_slice(&count.to_be_bytes()[1..]);
        Self::from_random(bytes)
    }

    /// The id of a server's tag and 12 random bytes: it begins with the [text](Self::tag_text) of the tag.
    pub fn tagged(tag: [u8; 3], random: [u8; 12]) -> Self {
        let mut bytes = [0; 15];
        bytes[..3].copy_from_slice(&tag);
        bytes[3..].copy_from_slice(&random);
        Self::from_random(bytes)
    }

    /// The 4 characters with which all ids of this tag begin.
    pub fn tag_text(tag: [u8; 3]) -> String {
        Self::tagged(tag, [0; 12])[..4].to_owned()
    }

    /// The id in received text; `None` when it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let id = <[u8; 20]>::try_from(text.as_bytes()).ok()?;
        id.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')).then_some(Self(id))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("the alphabet is ASCII")
    }
}

impl Deref for Sid {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Sid {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_characters() {
        assert_eq!(Sid::from_random([0; 15]).as_str(), "AAAAAAAAAAAAAAAAAAAA");
        assert_eq!(Sid::from_random([255; 15]).as_str(), "____________________");
        assert_eq!(Sid::numbered([0xfb; 12], 0x0100_0001).as_str(), "-_v7-_v7-_v7-_v7AAAB");
        let tagged = Sid::tagged([0xfb, 0xff, 0xbf], [0; 12]);
        assert_eq!(tagged.as_str(), "-_-_AAAAAAAAAAAAAAAA");
        assert_eq!(Sid::tag_text([0xfb, 0xff, 0xbf]), "-_-_");
        assert_eq!(
            Sid::parse("Fb8SphpwWvLHkNrjAAAA").map(|id| id.to_string()).as_deref(),
            Some("Fb8SphpwWvLHkNrjAAAA")
        );
        assert_eq!(Sid::parse("Fb8SphpwWvLHkNrjAAA"), None);
        assert_eq!(Sid::parse("Fb8SphpwWvLHkNrjAAA/"), None);
    }
}
