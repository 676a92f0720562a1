//! Engine.IO's payloads read in the plainest way, to compare the real decoders with: Node's behaviour, without a
//! thought for speed.

use bytes::Bytes;
use patio_proto::engine::{Message, Packet, Protocol};

/// Packets until the first error, and whether there was none.
pub(crate) type Read = (Vec<Packet>, bool);

/// A text body of revision 4.
pub(crate) fn v4(body: &[u8], limit: usize) -> Read {
    let Ok(body) = std::str::from_utf8(body) else { return (Vec::new(), false) };
    let mut packets = Vec::new();
    for text in body.split('\u{1e}') {
        match text_packet(Protocol::V4, text) {
            Some(packet) if packets.len() < limit => packets.push(packet),
            _ => return (packets, false),
        }
    }
    (packets, true)
}

/// A text body of revision 3, taken apart as JavaScript does: in UTF-16.
pub(crate) fn v3_text(body: &[u8], limit: usize) -> Read {
    let Ok(body) = std::str::from_utf8(body) else { return (Vec::new(), false) };
    let mut packets = Vec::new();
    let mut rest = &body.encode_utf16().collect::<Vec<u16>>()[..];
    if rest.is_empty() {
        return (packets, false);
    }
    while !rest.is_empty() {
        let Some(colon) = rest.iter().position(|&unit| unit == u16::from(b':')) else {
            return (packets, false);
        };
        let digits = String::from_utf16_lossy(&rest[..colon]);
        let Some(length) = number(&digits).filter(|&length| length < rest.len() - colon) else {
            return (packets, false);
        };
        let text = String::from_utf16(&rest[colon + 1..colon + 1 + length]);
        rest = &rest[colon + 1 + length..];
        match text.ok().filter(|text| text.is_empty() || packets.len() < limit) {
            None => return (packets, false),
            Some(text) if text.is_empty() => {}
            Some(text) => match text_packet(Protocol::V3, &text) {
                Some(packet) => packets.push(packet),
                None => return (packets, false),
            },
        }
    }
    (packets, true)
}

/// A body of revision 3 in the form of XHR2.
pub(crate) fn v3_binary(body: &[u8], limit: usize) -> Read {
    let mut packets = Vec::new();
    let mut rest = body;
    while let [form, after @ ..] = rest {
        let end = after.iter().position(|&byte| byte == 0xff);
        let digits = end.map(|end| &after[..end]).filter(|digits| digits.iter().all(|&digit| digit < 10));
        let digits =
            digits.map(|digits| digits.iter().map(|&digit| char::from(b'0' + digit)).collect::<String>());
        let length = digits.as_deref().and_then(number);
        let (Some(end), Some(length)) = (end, length) else { return (packets, false) };
        let Some((data, others)) = after[end + 1..].split_at_checked(length) else { return (packets, false) };
        rest = others;
        let packet = match form {
            0 => std::str::from_utf8(data).ok().and_then(|text| text_packet(Protocol::V3, text)),
            1 => binary_packet(Protocol::V3, data),
            _ => None,
        };
        match packet {
            Some(packet) if packets.len() < limit => packets.push(packet),
            _ => return (packets, false),
        }
    }
    (packets, true)
}

/// A text packet.
pub(crate) fn text_packet(protocol: Protocol, text: &str) -> Option<Packet> {
    let mut rest = text.chars();
    let first = rest.next()?;
    let data = rest.as_str();
    Some(match first {
        '0' => Packet::Open(data.into()),
        '1' => Packet::Close,
        '2' => Packet::Ping(data.into()),
        '3' => Packet::Pong(data.into()),
        '4' => Packet::Message(Message::Text(data.into())),
        '5' => Packet::Upgrade,
        '6' => Packet::Noop,
        'b' if protocol == Protocol::V4 => Packet::Message(Message::Binary(base64(data))),
        'b' => {
            let kind = rest.next()?.to_digit(10)?;
            typed(kind as u8, || base64(rest.as_str()))?
        }
        _ => return None,
    })
}

/// A binary packet.
pub(crate) fn binary_packet(protocol: Protocol, bytes: &[u8]) -> Option<Packet> {
    match (protocol, bytes) {
        (Protocol::V4, _) => Some(Packet::Message(Message::Binary(Bytes::copy_from_slice(bytes)))),
        (Protocol::V3, []) => None,
        (Protocol::V3, [kind, data @ ..]) => typed(*kind, || Bytes::copy_from_slice(data)),
    }
}

/// Revision 3's packet of a type and bytes, which only a message keeps.
fn typed(kind: u8, data: impl FnOnce() -> Bytes) -> Option<Packet> {
    Some(match kind {
        0 => Packet::Open("".into()),
        1 => Packet::Close,
        2 => Packet::Ping("".into()),
        3 => Packet::Pong("".into()),
        4 => Packet::Message(Message::Binary(data())),
        5 => Packet::Upgrade,
        6 => Packet::Noop,
        _ => return None,
    })
}

/// A length of at most 310 digits; one that no body has is as good as any other.
fn number(digits: &str) -> Option<usize> {
    let valid =
        !digits.is_empty() && digits.len() <= 310 && digits.bytes().all(|digit| digit.is_ascii_digit());
    valid.then(|| digits.parse().unwrap_or(usize::MAX))
}

/// `Buffer.from(text, "base64")`: six bits for each character of either alphabet up to the first `=`.
fn base64(text: &str) -> Bytes {
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0u32, 0);
    for char in text.chars().take_while(|&char| char != '=') {
        let digit = match char {
            'A'..='Z' => u32::from(char) - u32::from('A'),
            'a'..='z' => u32::from(char) - u32::from('a') + 26,
            '0'..='9' => u32::from(char) - u32::from('0') + 52,
            '+' | '-' => 62,
            '/' | '_' => 63,
            _ => continue,
        };
        (bits, count) = (bits << 6 | digit, count + 6);
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    bytes.into()
}
