//! Bodies of polling requests and responses: several packets in one text.
//!
//! Revision 4 joins packets with [`SEPARATOR`]; revision 3 puts a length in front of each (module `v3`). Packets are
//! encoded one by one, so a body to send is a mere concatenation; a received body is taken apart here.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;

use super::{DecodeError, Packet, Protocol};
use crate::Text;

/// The byte between two packets of a payload of revision 4: the ASCII record separator.
pub const SEPARATOR: u8 = 0x1e;

/// Hands every packet of a text body, in order, to `each`.
///
/// `limit` is the largest number of packets that a body may hold. Packets in front of an error have been handed over
/// when it is returned; those behind it never are. Time is linear in the body's length, and the packets' texts share
/// its buffer. Errors: all of [`DecodeError`] but `MissingField`; a body without a packet is [`DecodeError::Empty`].
pub fn decode(
    protocol: Protocol,
    body: Bytes,
    limit: usize,
    mut each: impl FnMut(Packet),
) -> Result<(), DecodeError> {
    if protocol == Protocol::V3 {
        return decode_v3(body, limit, each);
    }
    let body = Text::from_utf8(body).map_err(|_| DecodeError::InvalidUtf8)?;
    let ends = memchr::memchr_iter(SEPARATOR, body.as_bytes()).chain([body.len()]);
    let mut start = 0;
    for (count, end) in ends.enumerate() {
        if count == limit {
            return Err(DecodeError::TooManyPackets);
        }
        each(Packet::decode_text(protocol, body.slice(start..end))?);
        start = end + 1;
    }
    Ok(())
}

/// Appends a binary message as a text packet of revision 4: `b` and standard base64, without a type digit.
pub fn base64_chunk(out: &mut Vec<u8>, bytes: &[u8]) {
    out.reserve(1 + base64_len(bytes.len()));
    out.push(b'b');
    push_base64(out, bytes);
}

/// Length of padded base64 of `len` bytes.
pub(super) const fn base64_len(len: usize) -> usize {
    len.div_ceil(3) * 4
}

/// Appends padded standard base64 of `bytes`.
pub(super) fn push_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + base64_len(bytes.len()), 0);
    // Fails only when the slice is too short, and it has the exact length.
    let written = BASE64_STANDARD.encode_slice(bytes, &mut out[start..]);
    debug_assert_eq!(written, Ok(base64_len(bytes.len())));
}

#[cfg(feature = "v3")]
use super::v3::decode_text as decode_v3;

#[cfg(not(feature = "v3"))]
fn decode_v3(_: Bytes, _: usize, _: impl FnMut(Packet)) -> Result<(), DecodeError> {
    Err(DecodeError::Unsupported)
}
