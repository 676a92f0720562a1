//! Polling payloads of both revisions and single Engine.IO packets: as the plainest reader takes them, and what was
//! read can be written and read again.
//!
//! Input: a byte for the form, the largest number of packets, then the body.

use bytes::Bytes;
use patio_proto::{
    Text,
    engine::{DecodeError, Message, Packet, Protocol, jsonp, payload, v3},
};

use crate::reference::{self, Read};

/// The target.
pub fn run(data: &[u8]) {
    let Some((&[form, limit], body)) = data.split_first_chunk() else { return };
    let limit = usize::from(limit);
    let bytes = Bytes::copy_from_slice(body);
    match form % 8 {
        0 => payload(Protocol::V4, bytes, limit),
        1 => payload(Protocol::V3, bytes, limit),
        2 => {
            let read = decode(|each| v3::decode_binary(bytes, limit, each));
            assert_eq!(read, reference::v3_binary(body, limit));
            round_trip(Protocol::V3, &read.0);
        }
        3 | 4 => {
            let protocol = if form % 8 == 3 { Protocol::V4 } else { Protocol::V3 };
            if let Ok(body) = jsonp::decode_form(body) {
                payload(protocol, body, limit);
            }
        }
        5 => {
            for protocol in [Protocol::V3, Protocol::V4] {
                let packet = Packet::decode_binary(protocol, bytes.clone()).ok();
                assert_eq!(packet, reference::binary_packet(protocol, body));
                let Ok(text) = Text::from_utf8(bytes.clone()) else { continue };
                let packet = Packet::decode_text(protocol, text.clone()).ok();
                assert_eq!(packet, reference::text_packet(protocol, &text));
            }
        }
        _ => {
            let Ok(text) = std::str::from_utf8(body) else { return };
            let response = jsonp::response("1a2", text);
            assert!(!response.contains(['\u{2028}', '\u{2029}', '\n']));
            let literal = response.strip_prefix("___eio[12](").unwrap().strip_suffix(");").unwrap();
            assert_eq!(serde_json::from_str::<String>(literal).unwrap(), text);
        }
    }
}

fn payload(protocol: Protocol, body: Bytes, limit: usize) {
    let expected = match protocol {
        Protocol::V3 => reference::v3_text(&body, limit),
        Protocol::V4 => reference::v4(&body, limit),
    };
    let read = decode(|each| payload::decode(protocol, body, limit, each));
    assert_eq!(read, expected);
    round_trip(protocol, &read.0);
}

fn decode(decode: impl FnOnce(&mut dyn FnMut(Packet)) -> Result<(), DecodeError>) -> Read {
    let mut packets = Vec::new();
    let result = decode(&mut |packet| packets.push(packet));
    (packets, result.is_ok())
}

/// Writes the packets in every form of their revision and reads them again.
fn round_trip(protocol: Protocol, packets: &[Packet]) {
    if packets.is_empty() {
        return;
    }
    let expected = (packets.to_vec(), true);
    let limit = packets.len();
    let text = write(packets, |out, packet| match (protocol, packet) {
        (Protocol::V3, Ok(text)) => v3::text_chunk(out, text),
        (Protocol::V3, Err(bytes)) => v3::base64_chunk(out, bytes),
        (Protocol::V4, packet) => {
            if !out.is_empty() {
                out.push(payload::SEPARATOR);
            }
            match packet {
                Ok(text) => out.extend_from_slice(text.as_bytes()),
                Err(bytes) => payload::base64_chunk(out, bytes),
            }
        }
    });
    assert_eq!(decode(|each| payload::decode(protocol, text, limit, each)), expected);
    if protocol == Protocol::V3 {
        let binary = write(packets, |out, packet| match packet {
            Ok(text) => v3::binary_text_chunk(out, text),
            Err(bytes) => v3::binary_chunk(out, bytes),
        });
        assert_eq!(decode(|each| v3::decode_binary(binary, limit, each)), expected);
    }
}

/// A body of packets, each written from its text with the type digit, or from the bytes of a binary message.
fn write(packets: &[Packet], mut chunk: impl FnMut(&mut Vec<u8>, Result<&str, &[u8]>)) -> Bytes {
    let mut out = Vec::new();
    for packet in packets {
        let (digit, data) = match packet {
            Packet::Open(data) => ('0', &**data),
            Packet::Close => ('1', ""),
            Packet::Ping(data) => ('2', &**data),
            Packet::Pong(data) => ('3', &**data),
            Packet::Message(Message::Text(data)) => ('4', &**data),
            Packet::Message(Message::Binary(bytes)) => {
                chunk(&mut out, Err(bytes));
                continue;
            }
            Packet::Upgrade => ('5', ""),
            Packet::Noop => ('6', ""),
        };
        chunk(&mut out, Ok(&format!("{digit}{data}")));
    }
    out.into()
}
