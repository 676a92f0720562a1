//! What stands in for `deflate` where the feature is off: nothing is agreed, nothing is compressed.

use std::convert::Infallible;

use ::http::HeaderMap;
use patio_proto::{
    encode::{Encoded, Form},
    ws::Decoder,
};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Window {}

impl Window {
    pub(super) fn longest_message(self) -> usize {
        match self {}
    }
}

pub(super) struct Agreed {
    pub(super) answer: &'static str,
    pub(super) window: Window,
}

pub(super) fn negotiate(_: &HeaderMap) -> Result<Option<Agreed>, Infallible> {
    Ok(None)
}

pub(super) fn decoder(decoder: Decoder) -> Decoder {
    decoder
}

pub(super) fn frames(packet: &Encoded, _: usize) -> &[u8] {
    packet.bytes(Form::WsV4)
}
