//! The forms of a packet beside plain WebSocket frames: built from its text and attachments when a receiver first
//! needs one.

use std::sync::OnceLock;

use bytes::Bytes;

use super::{Encoded, Form};
use crate::engine::payload;
#[cfg(feature = "deflate")]
use crate::ws::{self, deflate::Compressor};

#[derive(Default)]
pub(super) struct Forms {
    poll_v4: OnceLock<Bytes>,
    #[cfg(feature = "v3")]
    v3: super::v3::Forms,
    #[cfg(feature = "deflate")]
    compressed: OnceLock<Bytes>,
}

impl Forms {
    pub(super) fn get<'a>(&'a self, form: Form, packet: &'a Encoded) -> &'a Bytes {
        match form {
            Form::WsV4 => &packet.frames,
            Form::PollV4 => self.poll_v4.get_or_init(|| poll_v4(packet)),
            #[cfg(feature = "v3")]
            _ => self.v3.get(form, packet),
            // without that revision no session speaks it
            #[cfg(not(feature = "v3"))]
            _ => &packet.frames,
        }
    }

    #[cfg(feature = "deflate")]
    pub(super) fn compressed(
        &self,
        packet: &Encoded,
        threshold: usize,
        compressor: &mut Compressor,
    ) -> &Bytes {
        self.compressed.get_or_init(|| {
            let mut frame = |out: &mut Vec<u8>, opcode, message: &[u8]| {
                if message.len() < threshold {
                    ws::encode(out, opcode, message, None);
                } else {
                    out.extend_from_slice(&compressor.frame(opcode, message, None));
                }
            };
            let mut out = Vec::new();
            if !packet.text().is_empty() {
                frame(&mut out, ws::Opcode::Text, packet.text());
            }
            packet.binaries().iter().for_each(|bytes| frame(&mut out, ws::Opcode::Binary, bytes));
            out.into()
        })
    }
}

fn poll_v4(packet: &Encoded) -> Bytes {
    let mut out = Vec::with_capacity(packet.frames.len() / 3 * 4 + 16);
    out.extend_from_slice(packet.text());
    for bytes in packet.binaries() {
        if !out.is_empty() {
            out.push(payload::SEPARATOR);
        }
        payload::base64_chunk(&mut out, bytes);
    }
    out.into()
}
