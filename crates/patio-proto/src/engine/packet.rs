//! One Engine.IO packet, from a WebSocket frame or from a slice of a polling payload.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;

use super::{DecodeError, Message, Protocol};
use crate::Text;

/// A received packet. On the wire its type is a digit (text) or, in revision 3's binary forms, a byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// `0`, the handshake's data.
    Open(Text),
    /// `1`.
    Close,
    /// `2` and its data: `probe` during an upgrade.
    Ping(Text),
    /// `3` and its data: `probe` during an upgrade.
    Pong(Text),
    /// `4`.
    Message(Message),
    /// `5`.
    Upgrade,
    /// `6`.
    Noop,
}

impl Packet {
    /// The packet in one WebSocket text frame, or in one text packet of a payload.
    ///
    /// A leading `b` marks bytes in base64: a whole message in revision 4 (`bAQID`), after the type digit in
    /// revision 3 (`b4AQID`). The data of packets that have none by their type is dropped. Errors: [`DecodeError::Empty`],
    /// [`DecodeError::UnknownType`].
    pub fn decode_text(protocol: Protocol, text: Text) -> Result<Self, DecodeError> {
        match (text.as_bytes().first(), protocol) {
            (None, _) => Err(DecodeError::Empty),
            (Some(b'b'), Protocol::V4) => {
                Ok(Self::Message(Message::Binary(decode_base64(&text.as_bytes()[1..]))))
            }
            (Some(b'b'), Protocol::V3) => {
                let kind = *text.as_bytes().get(1).ok_or(DecodeError::Empty)?;
                Self::binary(kind.wrapping_sub(b'0'), || decode_base64(&text.as_bytes()[2..]))
            }
            (Some(b'0'), _) => Ok(Self::Open(text.slice(1..))),
            (Some(b'1'), _) => Ok(Self::Close),
            (Some(b'2'), _) => Ok(Self::Ping(text.slice(1..))),
            (Some(b'3'), _) => Ok(Self::Pong(text.slice(1..))),
            (Some(b'4'), _) => Ok(Self::Message(Message::Text(text.slice(1..)))),
            (Some(b'5'), _) => Ok(Self::Upgrade),
            (Some(b'6'), _) => Ok(Self::Noop),
            (Some(_), _) => Err(DecodeError::UnknownType),
        }
    }

    /// The packet in one WebSocket binary frame: a message in revision 4; in revision 3 the first byte is the type,
    /// as a number (`0x04`, a message). Errors, in revision 3 only: [`DecodeError::Empty`],
    /// [`DecodeError::UnknownType`].
    pub fn decode_binary(protocol: Protocol, bytes: Bytes) -> Result<Self, DecodeError> {
        match protocol {
            Protocol::V4 => Ok(Self::Message(Message::Binary(bytes))),
            Protocol::V3 => {
                let kind = *bytes.first().ok_or(DecodeError::Empty)?;
                Self::binary(kind, || bytes.slice(1..))
            }
        }
    }

    /// A packet of revision 3 whose data are bytes. Only messages have a use for them: a ping of binary `probe` is no
    /// probe in Node either, so for other types they are dropped.
    fn binary(kind: u8, data: impl FnOnce() -> Bytes) -> Result<Self, DecodeError> {
        Ok(match kind {
            0 => Self::Open(Text::default()),
            1 => Self::Close,
            2 => Self::Ping(Text::default()),
            3 => Self::Pong(Text::default()),
            4 => Self::Message(Message::Binary(data())),
            5 => Self::Upgrade,
            6 => Self::Noop,
            _ => return Err(DecodeError::UnknownType),
        })
    }
}

/// Bytes of base64 text, as forgiving as Node's `Buffer`: both alphabets, padding or none, foreign characters are
/// skipped, and everything after the first `=` or a single left-over character is ignored.
fn decode_base64(text: &[u8]) -> Bytes {
    if let Ok(bytes) = BASE64.decode(text) {
        return bytes.into();
    }
    let mut digits: Vec<u8> = text
        .iter()
        .take_while(|&&byte| byte != b'=')
        .filter_map(|&byte| match byte {
            b'-' => Some(b'+'),
            b'_' => Some(b'/'),
            b'+' | b'/' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => Some(byte),
            _ => None,
        })
        .collect();
    if digits.len() % 4 == 1 {
        digits.pop();
    }
    // What is left cannot fail: only digits of the alphabet, in a possible number.
    BASE64.decode(digits).unwrap_or_default().into()
}

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

#[cfg(test)]
mod tests {
    use super::decode_base64;

    /// Results of `Buffer.from(text, "base64")` in Node 20.
    #[test]
    fn base64_is_read_as_node_reads_it() {
        let cases: [(&str, &[u8]); 18] = [
            ("", b""),
            ("AQIDBA==", &[1, 2, 3, 4]),
            ("AQIDBA", &[1, 2, 3, 4]),
            ("QQ==QQ==", b"A"),
            ("QQ=QQ", b"A"),
            ("Q", b""),
            ("QQ", b"A"),
            ("QR", b"A"),
            ("QQ=", b"A"),
            ("QQ===", b"A"),
            ("A-_/", &[3, 0xef, 0xff]),
            ("Q Q\n==", b"A"),
            ("QU!JD", b"ABC"),
            ("QUJ%D=E", b"ABC"),
            ("=", b""),
            ("===QQ", b""),
            ("QUJDR", b"ABC"),
            ("é QUJD", b"ABC"),
        ];
        for (text, bytes) in cases {
            assert_eq!(decode_base64(text.as_bytes()), bytes, "{text:?}");
        }
    }
}
