//! What must be true of every Socket.IO packet that was decoded, whichever parser it came through.

use patio_proto::{
    Text,
    decode::{Decoder, Limits},
    encode::{Encoded, Form},
    engine::{self, Protocol, payload, v3},
    packet::{Kind, Packet},
    payload::Payload,
    value::Value,
    ws::{self, Role},
};

/// Reads everything there is to read.
pub(crate) fn read_all(packet: &Packet) {
    let Some(payload) = packet.payload() else { return };
    for skip in 0..2 {
        let _ = payload.read_args::<()>(skip);
        let _ = payload.read_args::<Value>(skip);
        let _ = payload.read_args::<serde_json::Value>(skip);
        let _ = payload.read_args::<(Option<String>, Option<Vec<Value>>, Value)>(skip);
        let _ = payload.read_args::<(String, f64, bool)>(skip);
    }
    let _ = payload.read_value::<serde_json::Value>();
    let Ok(values) = payload.values() else { return };
    if matches!(packet.kind, Kind::Event { .. }) && !values.is_empty() {
        assert!(payload.event_name().is_some());
        // As text, because NaN is not equal to itself.
        let appended = payload.with_appended_str("\"o\u{e9}").values().unwrap();
        let (last, others) = appended.split_last().unwrap();
        assert_eq!(format!("{others:?}"), format!("{values:?}"));
        assert_eq!(last, &Value::from("\"o\u{e9}"));
    }
}

/// Sends a packet of the default parser in all forms; every receiver must get the same packet.
pub(crate) fn arrives_in_all_forms(packet: &Packet, limits: &Limits) {
    let encoded = Encoded::packet(packet);
    for form in [Form::WsV4, Form::WsV3, Form::WsV3Base64, Form::PollV4, Form::PollV3Text, Form::PollV3Binary]
    {
        // A payload of revision 4 cannot hold the separator; JSON never does, but a peer's own namespace may.
        if form == Form::PollV4 && packet.nsp.contains('\u{1e}') {
            continue;
        }
        assert_eq!(encoded.bytes(form), &encoded.wire(form)[..]);
        let received = receive(messages(form, &encoded), limits);
        assert_eq!(received.as_ref(), Some(packet), "{form:?}");
    }
}

/// Whether the packet is one that the decoder makes of a packet without data, and that so cannot be sent: Node takes
/// `2` for an event, but not `2[]`, and `4` for an error, but not `4null`.
pub(crate) fn lacks_data(packet: &Packet) -> bool {
    let is = |payload: &Payload, text: &str| payload.json().is_some_and(|(json, _)| &**json == text);
    match &packet.kind {
        Kind::Event { payload, .. } => is(payload, "[]"),
        Kind::ConnectError(payload) => is(payload, "null"),
        _ => false,
    }
}

/// The one packet that messages make, if they make one.
pub(crate) fn receive(messages: Vec<engine::Message>, limits: &Limits) -> Option<Packet> {
    let mut decoder = Decoder::new();
    let mut packet = None;
    for message in messages {
        assert!(packet.is_none(), "a message behind the packet");
        packet = match message {
            engine::Message::Text(text) => decoder.text(text, limits).ok()?,
            engine::Message::Binary(bytes) => decoder.binary(bytes, limits).ok()?,
        };
    }
    assert!(packet.is_some() || decoder.is_waiting());
    packet
}

/// The messages that a receiver of this form gets.
fn messages(form: Form, encoded: &Encoded) -> Vec<engine::Message> {
    let bytes = encoded.wire(form);
    let mut packets = Vec::new();
    let each = |packet| packets.push(packet);
    match form {
        Form::PollV4 => payload::decode(Protocol::V4, bytes, 1000, each).unwrap(),
        Form::PollV3Text => payload::decode(Protocol::V3, bytes, 1000, each).unwrap(),
        Form::PollV3Binary => v3::decode_binary(bytes, 1000, each).unwrap(),
        Form::WsV4 => frames(&bytes, Protocol::V4, each),
        Form::WsV3 | Form::WsV3Base64 => frames(&bytes, Protocol::V3, each),
    }
    let message = |packet| match packet {
        engine::Packet::Message(message) => message,
        other => panic!("{other:?}"),
    };
    packets.into_iter().map(message).collect()
}

fn frames(bytes: &[u8], protocol: Protocol, mut each: impl FnMut(engine::Packet)) {
    let mut bytes = bytes.to_vec();
    let mut input = &mut bytes[..];
    let mut decoder = ws::Decoder::new(Role::Client, usize::MAX);
    while let Some(message) = decoder.decode(&mut input).unwrap() {
        each(match message {
            ws::Message::Text(text) => engine::Packet::decode_text(protocol, text).unwrap(),
            ws::Message::Binary(bytes) => engine::Packet::decode_binary(protocol, bytes).unwrap(),
            other => panic!("{other:?}"),
        });
    }
    assert!(decoder.is_idle() && input.is_empty());
}

/// Text as a message of the default parser.
pub(crate) fn text(bytes: &[u8]) -> Option<engine::Message> {
    std::str::from_utf8(bytes).ok().map(|text| engine::Message::Text(Text::from(text)))
}
