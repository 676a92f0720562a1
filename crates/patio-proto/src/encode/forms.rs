//! The forms of a packet beside plain WebSocket frames: built from its text and attachments when a receiver first
//! needs one.

use std::sync::OnceLock;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;

use super::{Encoded, Form};
use crate::ws;

/// Between packets of an Engine.IO 4 polling payload.
const SEPARATOR: u8 = 0x1e;
/// The type of a message where Engine.IO 3 writes it as a byte.
const MESSAGE: u8 = 4;

#[derive(Default)]
pub(super) struct Forms {
    ws_v3: OnceLock<Bytes>,
    ws_v3_base64: OnceLock<Bytes>,
    poll_v4: OnceLock<Bytes>,
    poll_v3_text: OnceLock<Bytes>,
    poll_v3_binary: OnceLock<Bytes>,
}

impl Forms {
    pub(super) fn get<'a>(&'a self, form: Form, packet: &'a Encoded) -> &'a Bytes {
        match form {
            Form::WsV4 => &packet.frames,
            Form::WsV3 => self.ws_v3.get_or_init(|| ws_v3(packet).into()),
            Form::WsV3Base64 => self.ws_v3_base64.get_or_init(|| ws_v3_base64(packet).into()),
            Form::PollV4 => self.poll_v4.get_or_init(|| poll_v4(packet).into()),
            Form::PollV3Text => self.poll_v3_text.get_or_init(|| poll_v3_text(packet).into()),
            Form::PollV3Binary => self.poll_v3_binary.get_or_init(|| poll_v3_binary(packet).into()),
        }
    }
}

/// The text, then one piece per attachment.
fn pieces(
    packet: &Encoded,
    mut text: impl FnMut(&mut Vec<u8>, &[u8]),
    mut binary: impl FnMut(&mut Vec<u8>, &[u8]),
) -> Vec<u8> {
    let mut out = Vec::with_capacity(packet.frames.len() + 16);
    if !packet.text().is_empty() {
        text(&mut out, packet.text());
    }
    for bytes in packet.binaries() {
        binary(&mut out, bytes);
    }
    out
}

fn ws_v3(packet: &Encoded) -> Vec<u8> {
    pieces(packet, text_frame, |out, bytes| {
        out.extend_from_slice(&ws::header(ws::Opcode::Binary, true, bytes.len() + 1, None));
        out.push(MESSAGE);
        out.extend_from_slice(bytes);
    })
}

fn ws_v3_base64(packet: &Encoded) -> Vec<u8> {
    pieces(packet, text_frame, |out, bytes| {
        out.extend_from_slice(&ws::header(ws::Opcode::Text, true, 2 + base64_len(bytes), None));
        out.extend_from_slice(b"b4");
        base64(out, bytes);
    })
}

fn text_frame(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(&ws::header(ws::Opcode::Text, true, text.len(), None));
    out.extend_from_slice(text);
}

fn poll_v4(packet: &Encoded) -> Vec<u8> {
    pieces(
        packet,
        |out, text| out.extend_from_slice(text),
        |out, bytes| {
            if !out.is_empty() {
                out.push(SEPARATOR);
            }
            out.push(b'b');
            base64(out, bytes);
        },
    )
}

fn poll_v3_text(packet: &Encoded) -> Vec<u8> {
    pieces(
        packet,
        |out, text| {
            super::decimal(utf16_len(text) as u64, out);
            out.push(b':');
            out.extend_from_slice(text);
        },
        |out, bytes| {
            super::decimal(2 + base64_len(bytes) as u64, out);
            out.extend_from_slice(b":b4");
            base64(out, bytes);
        },
    )
}

fn poll_v3_binary(packet: &Encoded) -> Vec<u8> {
    pieces(
        packet,
        |out, text| {
            out.push(0);
            digits(text.len(), out);
            out.extend_from_slice(text);
        },
        |out, bytes| {
            out.push(1);
            digits(bytes.len() + 1, out);
            out.push(MESSAGE);
            out.extend_from_slice(bytes);
        },
    )
}

/// A length as one byte per digit with the values 0 to 9, then 0xff.
fn digits(len: usize, out: &mut Vec<u8>) {
    let start = out.len();
    super::decimal(len as u64, out);
    out[start..].iter_mut().for_each(|digit| *digit -= b'0');
    out.push(0xff);
}

/// The length of UTF-8 text in UTF-16 code units: one per character, two for those of four bytes.
fn utf16_len(text: &[u8]) -> usize {
    text.iter().map(|&byte| usize::from(byte & 0xc0 != 0x80) + usize::from(byte >= 0xf0)).sum()
}

fn base64_len(bytes: &[u8]) -> usize {
    bytes.len().div_ceil(3) * 4
}

/// Appends standard base64 with padding.
fn base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + base64_len(bytes), 0);
    let written = STANDARD.encode_slice(bytes, &mut out[start..]).expect("room for all digits");
    debug_assert_eq!(start + written, out.len());
}
