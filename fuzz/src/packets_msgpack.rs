//! MessagePack: the packets of `socket.io-msgpack-parser`, and values in the dialects that servers speak.
//!
//! Nothing panics; a packet that was decoded arrives again as it was; a value that was written once is written alike
//! for ever.
//!
//! Input: a byte, even for a packet, odd for a value, then the MessagePack.

use bytes::Bytes;
use patio_proto::{
    decode::Limits,
    encode::{Encoded, Form, Parser},
    engine::{self, Protocol, payload},
    msgpack::{self, Dialect},
    packet::{Kind, Packet},
};

use crate::packets::{arrives_in_all_forms, lacks_data, read_all, receive};

/// Beyond it, numbers are not exact in JavaScript, and so not on the wire.
const EXACT: u64 = 1 << 53;

/// The nesting that a value is read with.
const DEPTH: usize = 100;

/// The target.
pub fn run(data: &[u8]) {
    let Some((&kind, data)) = data.split_first() else { return };
    let bytes = Bytes::copy_from_slice(data);
    if kind % 2 == 0 { packet(bytes) } else { value(bytes) }
}

fn packet(bytes: Bytes) {
    let limits = Limits::default();
    let Ok(packet) = msgpack::decode(bytes, &limits) else { return };
    read_all(&packet);
    let id = match packet.kind {
        Kind::Event { id, .. } => id,
        Kind::Ack { id, .. } => Some(id),
        _ => None,
    };
    let encoded = Encoded::packet_with(Parser::MsgPack, &packet);
    let mut received = Vec::new();
    payload::decode(Protocol::V4, encoded.wire(Form::PollV4), 1000, |packet| received.push(packet)).unwrap();
    let [engine::Packet::Message(engine::Message::Binary(bytes))] = &received[..] else {
        panic!("{received:?}")
    };
    match msgpack::decode(bytes.clone(), &limits) {
        Ok(again) if id.is_none_or(|id| id <= EXACT) => assert_eq!(again, packet),
        again => assert!(again.is_ok() || id.is_some_and(|id| id > EXACT), "{again:?}"),
    }
    in_json(&packet, &limits);
}

/// The same packet for clients of the default parser, when its namespace and its data have a form there.
fn in_json(packet: &Packet, limits: &Limits) {
    let encoded = Encoded::packet(packet);
    if !packet.nsp.starts_with('/') || packet.nsp.contains([',', '\u{1e}']) {
        return;
    }
    let mut messages = Vec::new();
    payload::decode(Protocol::V4, encoded.wire(Form::PollV4), 1000, |packet| match packet {
        engine::Packet::Message(message) => messages.push(message),
        other => panic!("{other:?}"),
    })
    .unwrap();
    if let Some(received) = receive(messages, limits).filter(|received| !lacks_data(received)) {
        arrives_in_all_forms(&received, limits);
    }
}

fn value(bytes: Bytes) {
    let Ok(value) = msgpack::read_value(&bytes, DEPTH) else { return };
    for dialect in [Dialect::Notepack2, Dialect::Notepack3, Dialect::MsgpackJs] {
        let mut first = Vec::new();
        msgpack::write_value(&mut first, &value, dialect);
        // An unknown extension is an array from now on: one level more.
        let first = Bytes::from(first);
        let again = msgpack::read_value(&first, DEPTH + 1).unwrap();
        let mut second = Vec::new();
        msgpack::write_value(&mut second, &again, dialect);
        assert_eq!(first, second, "{dialect:?}");
    }
}
