//! What is sent: packets in every form of the wire.
#![cfg(feature = "v3")]

use std::collections::BTreeMap;

use bytes::Bytes;
use patio_proto::{
    Text,
    encode::{Encoded, Form},
    engine,
    packet::{Kind, Packet, PacketType},
    payload::Payload,
};
use serde::Serialize;

fn event<T: Serialize + ?Sized>(args: &T) -> Packet {
    Packet::main(Kind::Event { id: None, payload: Payload::event("e", args).unwrap() })
}

/// Bytes captured from Node.
#[test]
fn binary_at_any_depth() {
    let [a, b, c] = [&[9][..], &[7, 8], &[1, 0, 2, 0]].map(Bytes::copy_from_slice);
    let keyed = BTreeMap::from([("k", [b.clone()])]);
    let packet =
        Packet::main(Kind::Event { id: None, payload: Payload::event("b", &(&a, keyed, &c)).unwrap() });
    let json = r#"453-["b",{"_placeholder":true,"num":0},{"k":[{"_placeholder":true,"num":1}]},{"_placeholder":true,"num":2}]"#;
    assert_eq!(packet.packet_type(), PacketType::BinaryEvent);
    let encoded = Encoded::packet(&packet);
    assert_eq!(encoded.attachments(), 3);
    assert_eq!(packet.payload().unwrap().attachments(), [a, b, c]);

    let header = [0x81, json.len() as u8];
    let ws = [&header[..], json.as_bytes(), b"\x82\x01\x09\x82\x02\x07\x08\x82\x04\x01\x00\x02\x00"].concat();
    assert_eq!(encoded.bytes(Form::WsV4), ws);
    assert_eq!(encoded.len(), ws.len());
    let v3 =
        [&header[..], json.as_bytes(), b"\x82\x02\x04\x09\x82\x03\x04\x07\x08\x82\x05\x04\x01\x00\x02\x00"]
            .concat();
    assert_eq!(encoded.bytes(Form::WsV3), v3);
    let base64 = [&header[..], json.as_bytes(), b"\x81\x06b4CQ==\x81\x06b4Bwg=\x81\x0ab4AQACAA=="].concat();
    assert_eq!(encoded.bytes(Form::WsV3Base64), base64);

    let ack = Payload::args(&(Bytes::from_static(b"a"), Bytes::from_static(b"b"))).unwrap();
    let ack = Encoded::packet(&Packet::main(Kind::Ack { id: 1, payload: ack }));
    let json = r#"462-1[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
    assert_eq!(ack.bytes(Form::PollV4), format!("{json}\u{1e}bYQ==\u{1e}bYg==").as_bytes());
}

/// Bytes captured from Node.
#[test]
fn polling_forms() {
    let event = Encoded::packet(&event(&serde_bytes::Bytes::new(&[1, 2, 3])));
    let json = r#"451-["e",{"_placeholder":true,"num":0}]"#;
    assert_eq!(event.bytes(Form::PollV4), format!("{json}\u{1e}bAQID").as_bytes());
    assert_eq!(event.bytes(Form::PollV3Text), format!("{}:{json}6:b4AQID", json.len()).as_bytes());
    let binary = [&[0, 3, 9, 0xff], json.as_bytes(), &[1, 4, 0xff, 4, 1, 2, 3]].concat();
    assert_eq!(event.bytes(Form::PollV3Binary), binary);

    let text = Encoded::message(&engine::Message::Text(Text::from_static("héé€")));
    assert_eq!(text.bytes(Form::PollV3Text), "5:4héé€".as_bytes());
    assert_eq!(text.bytes(Form::PollV3Binary), b"\x00\x09\xff4h\xc3\xa9\xc3\xa9\xe2\x82\xac");
    let bytes = Encoded::message(&engine::Message::Binary(Bytes::from_static(&[1, 2, 3, 0xff])));
    assert_eq!(bytes.bytes(Form::PollV3Binary), b"\x01\x05\xff\x04\x01\x02\x03\xff");
    assert_eq!(bytes.bytes(Form::PollV3Text), b"10:b4AQID/w==");
    assert_eq!(bytes.bytes(Form::PollV4), b"bAQID/w==");
    assert_eq!(bytes.bytes(Form::WsV4), b"\x82\x04\x01\x02\x03\xff");
    assert_eq!(bytes.bytes(Form::WsV3), b"\x82\x05\x04\x01\x02\x03\xff");
    let emoji = Encoded::message(&engine::Message::Text(Text::from_static("\u{1f600}")));
    assert_eq!(emoji.bytes(Form::PollV3Text), "3:4\u{1f600}".as_bytes());
}

#[test]
fn text_shares_one_buffer() {
    for length in [1, 124, 125, 126, 65_533, 65_535, 70_000] {
        let encoded = Encoded::packet(&event("x".repeat(length).as_str()));
        let frame = encoded.wire(Form::WsV4);
        let text = encoded.wire(Form::PollV4);
        assert_eq!(frame[frame.len() - text.len()..].as_ptr(), text.as_ptr());
        assert_eq!(encoded.wire(Form::WsV3).as_ptr(), frame.as_ptr());
        assert_eq!(encoded.wire(Form::WsV3Base64).as_ptr(), frame.as_ptr());
        let expected = patio_proto::ws::text_frame(std::str::from_utf8(&text).unwrap());
        assert_eq!(frame, expected);
        assert_eq!(encoded.wire(Form::PollV3Text).as_ptr(), encoded.wire(Form::PollV3Text).as_ptr());
    }
    assert_eq!(Encoded::engine("3probe").bytes(Form::WsV4), b"\x81\x063probe");
    assert_eq!(Encoded::engine("6").bytes(Form::PollV3Text), b"1:6");
}
