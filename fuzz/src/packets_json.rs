//! Socket.IO packets of the default parser: nothing panics, and what was decoded arrives again, the same, in every form.
//!
//! Input: a byte that chooses the limits, the text of a packet, and behind each byte 0xff an attachment.

use bytes::Bytes;
use patio_proto::{
    decode::{DecodeError, Decoder, Limits},
    engine,
};

use crate::packets::{arrives_in_all_forms, lacks_data, read_all, text};

/// The target.
pub fn run(data: &[u8]) {
    let Some((&options, data)) = data.split_first() else { return };
    let limits = match options & 1 {
        0 => Limits::default(),
        _ => Limits { max_attachments: 2, max_depth: 3, max_event_name: 4 },
    };
    // No UTF-8 has it.
    let mut parts = data.split(|&byte| byte == 0xff);
    let Some(engine::Message::Text(text)) = parts.next().and_then(text) else { return };
    let mut decoder = Decoder::new();
    let mut packet = match decoder.text(text.clone(), &limits) {
        Ok(packet) => packet,
        Err(_) => {
            assert!(!decoder.is_waiting(), "an error leaves nothing");
            assert!(decoder.binary(Bytes::new(), &limits).is_err());
            return;
        }
    };
    for part in parts {
        match packet {
            Some(_) => break,
            None => match decoder.binary(Bytes::copy_from_slice(part), &limits) {
                Ok(next) => packet = next,
                Err(error) => {
                    assert_eq!(error, DecodeError::Placeholder, "nothing else is held against it so late");
                    assert!(!decoder.is_waiting());
                    return;
                }
            },
        }
    }
    assert_eq!(packet.is_none(), decoder.is_waiting());
    let Some(packet) = packet else {
        assert!(decoder.text(text, &limits).is_err(), "text instead of an attachment");
        assert!(!decoder.is_waiting());
        return;
    };
    read_all(&packet);
    if !lacks_data(&packet) {
        arrives_in_all_forms(&packet, &limits);
    }
}
