//! Polling payloads of revision 3: length-prefixed text, and the binary form of XHR2.
//!
//! | form | packet | length counts |
//! | --- | --- | --- |
//! | text | `6:4h€llo` | UTF-16 code units |
//! | base64 in text | `10:b4AQID/w==` | characters, from the `b` on |
//! | binary, a text | `00`, length, `ff`, `4h€llo` | UTF-8 bytes, one length digit (0 to 9) a byte |
//! | binary, bytes | `01`, length, `ff`, `04`, data | bytes, from the type on |
//!
//! A response is in the binary form, with `Content-Type: application/octet-stream`, as soon as one of its packets is
//! binary and the client has not asked for `b64`. Chunks need no separator.

use bytes::Bytes;

use super::{
    DecodeError, Packet, Protocol,
    payload::{base64_len, push_base64},
};
use crate::Text;

/// Most digits of a length, as Node has it: longer ones could only be there to waste time.
const MAX_LENGTH_DIGITS: usize = 310;

/// Hands every packet of a text body (`6:4hello2:4€`), in order, to `each`.
///
/// Limits, order and errors are those of [`payload::decode`](super::payload::decode). Packets of length zero (`0:`)
/// are skipped; they do not count. A length that ends between the halves of a surrogate pair is
/// [`DecodeError::BadLength`].
pub fn decode_text(body: Bytes, limit: usize, mut each: impl FnMut(Packet)) -> Result<(), DecodeError> {
    let body = Text::from_utf8(body).map_err(|_| DecodeError::InvalidUtf8)?;
    if body.is_empty() {
        return Err(DecodeError::Empty);
    }
    let mut count = 0;
    let mut start = 0;
    while start < body.len() {
        let digits = body.as_bytes()[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let length = read_length(body.as_bytes()[start..start + digits].iter().map(|digit| digit - b'0'))?;
        start += digits;
        match body.as_bytes().get(start) {
            Some(b':') => start += 1,
            Some(_) => return Err(DecodeError::BadLength),
            None => return Err(DecodeError::Truncated),
        }
        let end = start + utf16_prefix(&body[start..], length)?;
        if start < end {
            if count == limit {
                return Err(DecodeError::TooManyPackets);
            }
            count += 1;
            each(Packet::decode_text(Protocol::V3, body.slice(start..end))?);
        }
        start = end;
    }
    Ok(())
}

/// Hands every packet of a body in the binary form (`Content-Type: application/octet-stream`), in order, to `each`.
///
/// Limits, order and errors are those of [`payload::decode`](super::payload::decode), but a body without any packet
/// is none.
pub fn decode_binary(body: Bytes, limit: usize, mut each: impl FnMut(Packet)) -> Result<(), DecodeError> {
    let mut count = 0;
    let mut rest = body;
    while let Some(&form) = rest.first() {
        if form > 1 {
            return Err(DecodeError::UnknownType);
        }
        let digits = rest[1..].iter().take(MAX_LENGTH_DIGITS + 1).take_while(|&&digit| digit <= 9).count();
        let length = read_length(rest[1..=digits].iter().copied())?;
        match rest.get(1 + digits) {
            Some(0xff) => {}
            Some(_) => return Err(DecodeError::BadLength),
            None => return Err(DecodeError::Truncated),
        }
        let mut packet = rest.split_off(1 + digits + 1);
        if packet.len() < length {
            return Err(DecodeError::Truncated);
        }
        rest = packet.split_off(length);
        if count == limit {
            return Err(DecodeError::TooManyPackets);
        }
        count += 1;
        each(if form == 0 {
            let text = Text::from_utf8(packet).map_err(|_| DecodeError::InvalidUtf8)?;
            Packet::decode_text(Protocol::V3, text)?
        } else {
            Packet::decode_binary(Protocol::V3, packet)?
        });
    }
    Ok(())
}

/// Appends a text packet (its type digit included) to a text payload: `6:4h€llo`.
pub fn text_chunk(out: &mut Vec<u8>, packet: &str) {
    push_length(out, utf16_len(packet), b'0');
    out.push(b':');
    out.extend_from_slice(packet.as_bytes());
}

/// Appends a binary message to a text payload: `10:b4AQID/w==`.
pub fn base64_chunk(out: &mut Vec<u8>, bytes: &[u8]) {
    push_length(out, 2 + base64_len(bytes.len()), b'0');
    out.extend_from_slice(b":b4");
    push_base64(out, bytes);
}

/// Appends a text packet (its type digit included) to a binary payload.
pub fn binary_text_chunk(out: &mut Vec<u8>, packet: &str) {
    out.push(0);
    push_length(out, packet.len(), 0);
    out.push(0xff);
    out.extend_from_slice(packet.as_bytes());
}

/// Appends a binary message to a binary payload.
pub fn binary_chunk(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(1);
    push_length(out, 1 + bytes.len(), 0);
    out.extend_from_slice(&[0xff, 4]);
    out.extend_from_slice(bytes);
}

/// The number of UTF-16 code units in `text`: its `length` in JavaScript.
pub fn utf16_len(text: &str) -> usize {
    // One unit for every first byte of a character, one more for those of four bytes.
    text.bytes().map(|byte| usize::from(byte & 0xc0 != 0x80) + usize::from(byte >= 0xf0)).sum()
}

/// The number of bytes that the first `units` UTF-16 code units of `text` take. It looks at no more of `text` than
/// that, so taking a whole payload apart stays linear.
fn utf16_prefix(text: &str, units: usize) -> Result<usize, DecodeError> {
    // A character takes at least as many bytes as units.
    let shortest = text.as_bytes().get(..units).ok_or(DecodeError::Truncated)?;
    if shortest.is_ascii() {
        return Ok(units);
    }
    let mut left = units;
    for (at, char) in text.char_indices() {
        if left == 0 {
            return Ok(at);
        }
        left = left.checked_sub(char.len_utf16()).ok_or(DecodeError::BadLength)?;
    }
    if left == 0 { Ok(text.len()) } else { Err(DecodeError::Truncated) }
}

/// The number with the given decimal digits; one beyond `usize` is longer than any payload, so it just saturates.
fn read_length(digits: impl ExactSizeIterator<Item = u8>) -> Result<usize, DecodeError> {
    if digits.len() == 0 || digits.len() > MAX_LENGTH_DIGITS {
        return Err(DecodeError::BadLength);
    }
    Ok(digits.fold(0, |length: usize, digit| length.saturating_mul(10).saturating_add(digit.into())))
}

/// Appends the decimal digits of `length`, each as a byte of its value plus `zero`.
fn push_length(out: &mut Vec<u8>, length: usize, zero: u8) {
    let digits = length.checked_ilog10().unwrap_or(0);
    out.extend((0..=digits).rev().map(|digit| (length / 10_usize.pow(digit) % 10) as u8 + zero));
}
