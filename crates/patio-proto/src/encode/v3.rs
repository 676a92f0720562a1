//! The forms for Engine.IO 3.

use std::{str, sync::OnceLock};

use bytes::Bytes;

use super::{Encoded, Form};
use crate::{engine::v3, ws};

#[derive(Default)]
pub(super) struct Forms {
    ws: OnceLock<Bytes>,
    ws_base64: OnceLock<Bytes>,
    poll_text: OnceLock<Bytes>,
    poll_binary: OnceLock<Bytes>,
}

impl Forms {
    pub(super) fn get(&self, form: Form, packet: &Encoded) -> &Bytes {
        match form {
            Form::PollV3Text => {
                self.poll_text.get_or_init(|| pieces(packet, v3::text_chunk, v3::base64_chunk))
            }
            Form::PollV3Binary => {
                self.poll_binary.get_or_init(|| pieces(packet, v3::binary_text_chunk, v3::binary_chunk))
            }
            Form::WsV3Base64 => self.ws_base64.get_or_init(|| pieces(packet, text_frame, base64_frame)),
            Form::WsV3 | Form::WsV4 | Form::PollV4 => {
                self.ws.get_or_init(|| pieces(packet, text_frame, binary_frame))
            }
        }
    }
}

/// The text, then the attachments.
fn pieces(packet: &Encoded, text: fn(&mut Vec<u8>, &str), binary: fn(&mut Vec<u8>, &[u8])) -> Bytes {
    let mut out = Vec::with_capacity(packet.frames.len() + 16);
    if !packet.text().is_empty() {
        text(&mut out, str::from_utf8(packet.text()).expect("a text packet is text"));
    }
    packet.binaries().iter().for_each(|bytes| binary(&mut out, bytes));
    out.into()
}

fn text_frame(out: &mut Vec<u8>, text: &str) {
    ws::encode(out, ws::Opcode::Text, text.as_bytes(), None);
}

fn binary_frame(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&ws::header(ws::Opcode::Binary, true, 1 + bytes.len(), None));
    out.push(4);
    out.extend_from_slice(bytes);
}

/// The packet of a polling payload, `<length>:b4…`, without its length.
fn base64_frame(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut chunk = Vec::new();
    v3::base64_chunk(&mut chunk, bytes);
    let packet = memchr::memchr(b':', &chunk).map_or(0, |colon| colon + 1);
    ws::encode(out, ws::Opcode::Text, &chunk[packet..], None);
}
